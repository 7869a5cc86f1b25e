//! Messages that leave after the step that made them is done: plain data between the engine, which makes them in the
//! transaction of the step, the store, which keeps them, and the courier, which sends them.

use serde::{Deserialize, Serialize};

use crate::id::RunId;
use crate::model::{EffectKey, Json};
use crate::time::Timestamp;

use super::list::Way;

/// How a message leaves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// As a `webhook` step would send it.
    Webhook,
    /// Over a channel of the configuration.
    Channel,
}

impl MessageKind {
    /// The word in store and API.
    pub fn as_str(self) -> &'static str {
        match self {
            MessageKind::Webhook => "webhook",
            MessageKind::Channel => "channel",
        }
    }

    /// From that word.
    pub fn parse(word: &str) -> Option<Self> {
        [MessageKind::Webhook, MessageKind::Channel].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Where a message stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// It is to be sent, now or later.
    Pending,
    /// The receiver took it.
    Delivered,
    /// It was given up; a person can send it again.
    Dead,
}

impl MessageState {
    /// All of them.
    pub const ALL: [MessageState; 3] = [MessageState::Pending, MessageState::Delivered, MessageState::Dead];

    /// The word in store and API.
    pub fn as_str(self) -> &'static str {
        match self {
            MessageState::Pending => "pending",
            MessageState::Delivered => "delivered",
            MessageState::Dead => "dead",
        }
    }

    /// From that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A message in the making; it becomes a row with the completion of its step.
#[derive(Clone, PartialEq, Debug)]
pub struct NewMessage {
    /// The key of the effect, so that it is the same on every try: `webhook-id`.
    pub id: EffectKey,
    /// How it leaves.
    pub kind: MessageKind,
    /// Whose step made it.
    pub run: RunId,
    /// That step.
    pub step: String,
    /// Where to, for people: a URL without its query, or a channel's name. What is slowed down together.
    pub target: String,
    /// What the executor gets; secrets stand in it as names.
    pub input: Json,
    /// When.
    pub at: Timestamp,
}

impl NewMessage {
    /// What it weighs against the bound of the outbox.
    pub fn bytes(&self) -> usize {
        self.input.to_string().len() + self.target.len() + self.step.len()
    }
}

/// A message as stored.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredMessage {
    /// Order of making.
    pub seq: i64,
    /// What was put in.
    pub message: NewMessage,
    /// Where it stands.
    pub state: MessageState,
    /// Tries so far, since it was made or sent again.
    pub attempts: u32,
    /// Of one that is pending: the next try.
    pub due: Timestamp,
    /// Of one that is not: since when.
    pub finished_at: Option<Timestamp>,
    /// Why the last try failed.
    pub error: Option<String>,
}

/// What the courier keeps in memory of a pending message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PendingMessage {
    /// Its id.
    pub id: EffectKey,
    /// The next try.
    pub due: Timestamp,
    /// See [`NewMessage::target`].
    pub target: String,
    /// See [`NewMessage::bytes`].
    pub bytes: usize,
}

/// A change of where a message stands.
#[derive(Clone, PartialEq, Debug)]
pub struct MessageMark {
    /// Which.
    pub id: EffectKey,
    /// From here on.
    pub state: MessageState,
    /// Tries so far.
    pub attempts: u32,
    /// The next try; of one that is over, when it ended.
    pub at: Timestamp,
    /// Why the last try failed.
    pub error: Option<String>,
}

/// Which messages a list shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessageFilter {
    /// In this state.
    pub state: Option<MessageState>,
    /// By when they were made.
    pub way: Way,
    /// Past this place of [`StoredMessage::seq`], in that order.
    pub past: Option<i64>,
    /// At most.
    pub limit: u32,
}

/// How much more the outbox takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutboxRoom {
    /// Messages.
    pub rows: usize,
    /// Bytes of their inputs.
    pub bytes: usize,
}

impl OutboxRoom {
    /// Of an outbox with nothing in it.
    pub const EMPTY: OutboxRoom =
        OutboxRoom { rows: crate::limits::OUTBOX_ROWS_MAX, bytes: crate::limits::OUTBOX_BYTES_MAX };
}
