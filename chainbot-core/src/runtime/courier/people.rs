//! What people do with messages: look at them, send one again, forget one.

use crate::error::code::outbox as code;
use crate::error::{Error, Result};
use crate::limits;
use crate::model::EffectKey;
use crate::port::{
    Action, MessageFilter, MessageMark, MessageState, Op, Page, PendingMessage, StoredMessage,
};

use super::super::core::Runtime;
use super::super::handle::Handle;
use crate::runtime::{Deed, written_down};

/// A message in the hands of a person: nobody sends it meanwhile.
struct Taken<'a>(&'a Runtime, EffectKey);

impl<'a> Taken<'a> {
    fn take(runtime: &'a Runtime, id: EffectKey) -> Result<Self> {
        if runtime.courier.state.lock().taken.insert(id) {
            return Ok(Self(runtime, id));
        }
        Err(Error::new(&code::UNDER_WAY, format!("message {id} is being sent at this moment"))
            .help("look at it again in half a minute"))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.courier.state.lock().taken.remove(&self.1);
        self.0.courier.changed.notify_one();
    }
}

impl Handle {
    /// Messages, newest first; `limit` ≤ 200.
    pub async fn outbox(&self, filter: MessageFilter) -> Result<Page<StoredMessage>> {
        let filter = MessageFilter { limit: filter.limit.min(limits::PAGE_MAX), ..filter };
        let scope = self.1;
        self.0.read(move |runtime| runtime.store.outbox(&scope, &filter)).await
    }

    /// Sends a message at once, with a new schedule and the same id. Also one that was delivered.
    pub async fn resend_message(&self, id: EffectKey) -> Result<StoredMessage> {
        self.0.check_open()?;
        // Before it is taken: whether one that is not theirs is under way is not told.
        self.message(id).await?;
        let taken = Taken::take(&self.0, id)?;
        let stored = self.message(id).await?;
        let message = PendingMessage {
            id,
            due: self.0.env.now(),
            target: stored.message.target.clone(),
            bytes: stored.message.bytes(),
        };
        {
            let state = self.0.courier.state.lock();
            let is_new = !state.pending.contains_key(&id);
            if is_new
                && (state.rows >= limits::OUTBOX_ROWS_MAX
                    || state.bytes + message.bytes > limits::OUTBOX_BYTES_MAX)
            {
                return Err(Error::new(&code::FULL, "the outbox is full")
                    .help("remove messages that nobody wants any more: DELETE /api/chainbot/outbox/{id}"));
            }
        }
        let mark = MessageMark {
            id,
            state: MessageState::Pending,
            attempts: 0,
            at: message.due,
            error: stored.error.clone(),
        };
        let deed = Deed::new(Action::OutboxResend, "message", id)
            .with(serde_json::json!({ "target": stored.message.target, "run": stored.message.run }));
        let ops = [Some(Op::OutboxMark(mark)), written_down(message.due, deed)];
        self.0.write(ops.into_iter().flatten().collect()).await?;
        let again = self.message(id).await?;
        {
            let mut state = self.0.courier.state.lock();
            // Somebody asks for it now: a receiver that rests is tried.
            state.resting.remove(super::receiver(&message.target));
            state.count(message.bytes);
            state.put(message);
        }
        drop(taken);
        Ok(again)
    }

    /// Forgets a message. One that is pending is not sent any more.
    pub async fn remove_message(&self, id: EffectKey) -> Result<()> {
        self.0.check_open()?;
        self.message(id).await?;
        let _taken = Taken::take(&self.0, id)?;
        self.message(id).await?;
        let deed = Deed::new(Action::OutboxRemove, "message", id);
        let ops = [Some(Op::OutboxRemove { id }), written_down(self.0.env.now(), deed)];
        self.0.write(ops.into_iter().flatten().collect()).await?;
        self.0.courier.state.lock().forget(id);
        Ok(())
    }

    async fn message(&self, id: EffectKey) -> Result<StoredMessage> {
        let scope = self.1;
        let found = self.0.read(move |runtime| runtime.store.outbox_message(&scope, id)).await?;
        found.ok_or_else(|| {
            Error::new(&code::NOT_FOUND, format!("there is no message {id}"))
                .help("GET /api/chainbot/outbox lists them")
        })
    }
}
