//! What agents remember: threads of messages, summaries, blocks, items and archives of chats. Plain data between the domain in
//! `agent/memory`, which decides what is remembered and recalled, and the store, which keeps it.
//!
//! Invariants: a thread or an archive is somebody's and is found by whoever sees it; an agent's blocks and items are there for those who
//! may change the agent, because they hold what its owner told it. What an agent recalls is its own, its owner's, or in an archive of its owner
//! or the operator: whose that is, the store reads from the agent's row and nobody can say otherwise. Nothing here does IO.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Possession, Scope};
use crate::error::{Error, Result, code::memory as code};
use crate::id::{ArchiveId, MemoryId, RunId, ThreadId, WorkflowId};
use crate::limits;
use crate::model::EffectKey;
use crate::time::Timestamp;

/// Whether a text may have been written by somebody outside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Of a person who may use the agent, or of a model that had seen nothing from outside.
    Trusted,
    /// Of anybody else: whoever recalls it is tainted.
    Untrusted,
}

impl Origin {
    /// Of what a task writes.
    pub fn of_task(is_tainted: bool) -> Self {
        if is_tainted { Self::Untrusted } else { Self::Trusted }
    }

    /// Whether it taints.
    pub fn taints(self) -> bool {
        self == Self::Untrusted
    }
}

/// Who speaks in a thread.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// A person, or what stands for one.
    User,
    /// The model.
    Assistant,
    /// A tool, with what a call gave.
    Tool,
}

impl Speaker {
    /// All of them, in the order of their numbers in the store.
    pub const ALL: [Speaker; 3] = [Speaker::User, Speaker::Assistant, Speaker::Tool];

    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Speaker::User => "user",
            Speaker::Assistant => "assistant",
            Speaker::Tool => "tool",
        }
    }
}

/// A conversation with an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct NewThread {
    /// Its id.
    pub id: ThreadId,
    /// With which agent.
    pub agent: WorkflowId,
    /// Whose it is: who talks to the agent, which may be somebody else's.
    pub possession: Possession,
    /// For people.
    pub title: String,
    /// When.
    pub at: Timestamp,
}

/// A thread as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredThread {
    /// As it was made.
    pub thread: NewThread,
    /// When something was last said.
    pub updated_at: Timestamp,
    /// How many messages it has, which is the number of the newest.
    pub messages: u32,
}

/// What a message with the result of a call says of it, whatever becomes of the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolMark {
    /// The model's id of the call.
    pub call: String,
    /// The tool.
    pub name: String,
    /// Whether it failed.
    pub is_error: bool,
    /// Of the whole result.
    pub digest: String,
}

/// A message of a thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadMessage {
    /// Who says it.
    pub speaker: Speaker,
    /// What.
    pub text: String,
    /// Of the model: the calls it made, `[{id, name, arguments}]`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub calls: Option<Value>,
    /// Of a tool.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tool: Option<ToolMark>,
    /// What it costs in a prompt.
    pub tokens: u32,
    /// Whether it taints.
    pub origin: Origin,
    /// When.
    pub at: Timestamp,
}

/// A message with its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredThreadMessage {
    /// From 1, without gaps.
    pub seq: u32,
    /// The task that appended it.
    pub run: RunId,
    /// What it is.
    pub message: ThreadMessage,
}

/// What stands for the beginning of a thread in prompts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The first message that it stands for.
    pub from_seq: u32,
    /// The last one.
    pub to_seq: u32,
    /// In words.
    pub text: String,
    /// What it costs in a prompt.
    pub tokens: u32,
    /// Untrusted when a message in it was, or the summary before it.
    pub origin: Origin,
    /// When.
    pub at: Timestamp,
}

/// A block: text that is always in the prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredBlock {
    /// Which, such as `user`.
    pub label: String,
    /// For the model.
    pub description: String,
    /// The text.
    pub value: String,
    /// Characters of the value, at most.
    pub chars_max: u32,
    /// From 1; grows with every write.
    pub version: u32,
    /// Whether it taints.
    pub origin: Origin,
    /// When it was last written.
    pub updated_at: Timestamp,
}

/// A write of a block, by compare-and-set.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockPut {
    /// Whose.
    pub agent: WorkflowId,
    /// Which.
    pub label: String,
    /// `None` leaves it.
    pub description: Option<String>,
    /// The text from here on.
    pub value: String,
    /// `None` leaves it.
    pub chars_max: Option<u32>,
    /// The version it replaces, 0 for a block that is not there; `None` is whichever.
    pub if_version: Option<u32>,
    /// Of the call that writes: the same key again changes nothing and is no conflict.
    pub key: Option<EffectKey>,
    /// Whether it taints.
    pub origin: Origin,
    /// When.
    pub at: Timestamp,
}

/// What a block is as long as nobody says otherwise.
pub const BLOCK_CHARS_DEFAULT: u32 = 2_000;

impl BlockPut {
    /// Refuses what fits no block, whatever is stored.
    pub fn check(&self) -> Result<()> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if self.label.is_empty() || self.label.len() > 64 || !self.label.chars().all(is_plain) {
            let message = format_args!("`{}` cannot be a block's label", self.label).to_string();
            return Err(
                Error::new(&code::BLOCK, message).help("use 1 to 64 lower-case letters, digits, `_` and `-`")
            );
        }
        if self.chars_max.is_some_and(|max| max == 0 || max > limits::MEMORY_BLOCK_CHARS_MAX) {
            let message = format_args!("a block holds 1 to {} characters", limits::MEMORY_BLOCK_CHARS_MAX);
            return Err(Error::new(&code::BLOCK, message.to_string()).help("give a bound within that"));
        }
        if self.description.as_ref().is_some_and(|text| text.len() > limits::MEMORY_DESCRIPTION_BYTES_MAX) {
            return Err(Error::new(&code::BLOCK, "the description is too long")
                .help("say in a sentence what the block is for"));
        }
        Ok(())
    }

    /// The block after the write. Refuses another version, and text over the bound.
    pub fn over(&self, stored: Option<&StoredBlock>) -> Result<StoredBlock> {
        let version = stored.map_or(0, |block| block.version);
        if let Some(wanted) = self.if_version.filter(|wanted| *wanted != version) {
            let message =
                format_args!("the block `{}` has version {version}, not {wanted}", self.label).to_string();
            return Err(
                Error::new(&code::CHANGED, message).help("read it again, and write with the version it has")
            );
        }
        let chars_max = self.chars_max.or(stored.map(|block| block.chars_max)).unwrap_or(BLOCK_CHARS_DEFAULT);
        let chars = self.value.chars().count();
        if chars > chars_max as usize {
            let message =
                format_args!("the block `{}` holds {chars_max} characters, the text has {chars}", self.label)
                    .to_string();
            return Err(Error::new(&code::BLOCK, message).help("shorten it, or save parts of it as items"));
        }
        let description = self.description.clone().or(stored.map(|block| block.description.clone()));
        Ok(StoredBlock {
            label: self.label.clone(),
            description: description.unwrap_or_default(),
            value: self.value.clone(),
            chars_max,
            version: version + 1,
            origin: self.origin,
            updated_at: self.at,
        })
    }
}

/// Who recalls an item.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemScope {
    /// The agent that saved it.
    Agent,
    /// Every agent of that agent's owner.
    Owner,
}

/// Something saved to be recalled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryItem {
    /// Of the call that saved it, so that the same call saves once.
    pub id: MemoryId,
    /// Who recalls it.
    pub scope: ItemScope,
    /// `fact`, `preference`, `event`, or another plain word.
    pub kind: String,
    /// What.
    pub text: String,
    /// Where it comes from, for people: a task, a person.
    pub source: String,
    /// Whether it taints.
    pub origin: Origin,
    /// When it is forgotten.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expires_at: Option<Timestamp>,
    /// When it was saved.
    pub at: Timestamp,
}

impl MemoryItem {
    /// Refuses what is no item.
    pub fn check(&self) -> Result<()> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if self.kind.is_empty() || self.kind.len() > 32 || !self.kind.chars().all(is_plain) {
            let message = format_args!("`{}` cannot be an item's kind", self.kind).to_string();
            return Err(
                Error::new(&code::ITEM, message).help("use a plain word such as fact, preference or event")
            );
        }
        if self.text.trim().is_empty() || self.text.len() > limits::MEMORY_ITEM_BYTES_MAX {
            let message = format_args!("an item has 1 to {} bytes of text", limits::MEMORY_ITEM_BYTES_MAX);
            return Err(Error::new(&code::ITEM, message.to_string()).help("save one fact at a time"));
        }
        Ok(())
    }
}

/// An archive of chats in the making; importing again finds it by owner and name.
#[derive(Clone, Debug, PartialEq)]
pub struct NewArchive {
    /// Its id, when there is none of this name.
    pub id: ArchiveId,
    /// What agents attach.
    pub name: String,
    /// Whose it is.
    pub possession: Possession,
    /// When.
    pub at: Timestamp,
}

/// An archive as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredArchive {
    /// As it was made.
    pub archive: NewArchive,
    /// When something was last added.
    pub updated_at: Timestamp,
    /// Conversations with a message.
    pub conversations: u64,
    /// Messages.
    pub messages: u64,
    /// Of the oldest message that has a time.
    pub first_at: Option<Timestamp>,
    /// Of the newest.
    pub last_at: Option<Timestamp>,
}

/// A message of an archive. Always untrusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchivedMessage {
    /// The conversation's id in the export.
    pub conversation: String,
    /// The message's id in the export, or its place: the same in every export.
    pub message: String,
    /// The conversation's title.
    pub title: String,
    /// Place in the conversation, from 0.
    pub position: u32,
    /// Who says it.
    pub speaker: Speaker,
    /// When, where the export says so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub at: Option<Timestamp>,
    /// Not on the way to the conversation's last message.
    pub is_branch: bool,
    /// What.
    pub text: String,
}

/// What to look for in an archive.
#[derive(Clone, Debug, Default)]
pub struct ArchiveFilter {
    /// Words; none is everything, oldest first.
    pub terms: Terms,
    /// Not older.
    pub since: Option<Timestamp>,
    /// Not newer.
    pub until: Option<Timestamp>,
    /// In the title, in any case.
    pub title: Option<String>,
    /// At most.
    pub limit: u32,
}

/// Words to search for; never a query of the index's own language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms(Vec<String>);

impl Terms {
    /// The words of a text, each once, a bounded number: the rest hardly changes what is found.
    pub fn of(text: &str) -> Self {
        let mut words: Vec<String> = Vec::new();
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            let word: String = word.to_lowercase().chars().take(limits::MEMORY_TERM_CHARS_MAX).collect();
            if words.len() < limits::MEMORY_TERMS_MAX && !words.contains(&word) {
                words.push(word);
            }
        }
        Self(words)
    }

    /// The words.
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Terms {
    /// As the full-text index reads it: each word in quotes, any of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            let or = if index == 0 { "" } else { " OR " };
            // A word is letters and digits, so no quote can end it.
            write!(f, "{or}\"{word}\"")?;
        }
        Ok(())
    }
}

/// What an agent recalls from.
#[derive(Clone, Debug)]
pub struct Recall {
    /// Whose memory.
    pub agent: WorkflowId,
    /// Messages of this thread before a place, which left the window.
    pub thread: Option<(ThreadId, u32)>,
    /// Names of archives that are attached.
    pub archives: Vec<String>,
    /// Words.
    pub terms: Terms,
    /// At most.
    pub limit: u32,
    /// What has expired is not recalled.
    pub now: Timestamp,
}

/// Something recalled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recalled {
    /// What it is: `item`, `thread` or `archive`.
    pub from: RecallSource,
    /// Where exactly, for people: an item's kind, a message's place, a conversation's title.
    pub place: String,
    /// The text.
    pub text: String,
    /// Whether it taints.
    pub origin: Origin,
    /// When it was said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub at: Option<Timestamp>,
}

/// Where something is recalled from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecallSource {
    /// A saved item.
    Item,
    /// An earlier message of the thread.
    Thread,
    /// A message of an archive.
    Archive,
}

/// A change of what is remembered, in the transaction of what caused it.
#[derive(Clone, Debug, PartialEq)]
pub enum MemoryOp {
    /// A new thread. Does nothing when there is one of this id.
    ThreadPut(NewThread),
    /// What a task adds at its end, once: the same run again adds nothing. Nor does it to a thread that is gone, because
    /// the task ended all the same.
    ThreadAppend {
        /// To which.
        thread: ThreadId,
        /// The task's run.
        run: RunId,
        /// In order.
        messages: Vec<ThreadMessage>,
        /// Made on the way.
        summary: Option<Summary>,
    },
    /// A thread is forgotten, with its messages and summaries.
    ThreadRemove(ThreadId),
    /// A block is written. Refuses the batch when its version is another, unless the same key wrote that one.
    BlockPut(BlockPut),
    /// A block is forgotten.
    BlockRemove {
        /// Whose.
        agent: WorkflowId,
        /// Which.
        label: String,
    },
    /// Something is saved. Does nothing when there is an item of this id.
    ItemSave {
        /// By whom.
        agent: WorkflowId,
        /// What.
        item: MemoryItem,
    },
    /// An item that an agent recalls is forgotten.
    ItemRemove {
        /// By whom.
        agent: WorkflowId,
        /// Which.
        id: MemoryId,
    },
    /// Everything of an agent is forgotten: threads, blocks, its own items.
    Purge(WorkflowId),
    /// An archive. Does nothing when its owner has one of this name.
    ArchivePut(NewArchive),
    /// Messages of an archive; those that are there already are left alone.
    ArchiveAdd {
        /// To which.
        archive: ArchiveId,
        /// Which.
        messages: Vec<ArchivedMessage>,
        /// When.
        at: Timestamp,
    },
    /// So many messages of an archive are forgotten, and the archive when it has none left: repeated until it is gone.
    ArchiveRemove(ArchiveId),
}

impl MemoryOp {
    /// Refuses what is over a bound, whatever is stored.
    pub fn check(&self) -> Result<()> {
        match self {
            MemoryOp::BlockPut(put) => put.check(),
            MemoryOp::ItemSave { item, .. } => item.check(),
            _ => Ok(()),
        }
    }

    /// What it weighs in the queue of the writer.
    pub fn bytes(&self) -> usize {
        let said = |message: &ThreadMessage| {
            message.text.len() + message.calls.as_ref().map_or(0, |calls| calls.to_string().len())
        };
        match self {
            MemoryOp::ThreadAppend { messages, summary, .. } => {
                messages.iter().map(said).sum::<usize>() + summary.as_ref().map_or(0, |one| one.text.len())
            }
            MemoryOp::BlockPut(put) => put.value.len(),
            MemoryOp::ItemSave { item, .. } => item.text.len(),
            MemoryOp::ArchiveAdd { messages, .. } => {
                messages.iter().map(|one| one.text.len() + one.title.len()).sum()
            }
            _ => 0,
        }
    }
}

/// Questions about what is remembered.
pub trait AgentMemory: Send + Sync {
    /// A thread.
    fn thread(&self, scope: &Scope, id: ThreadId) -> Result<Option<StoredThread>>;
    /// Threads with an agent, newest first, before an id.
    fn threads(
        &self,
        scope: &Scope,
        agent: WorkflowId,
        before: Option<ThreadId>,
        limit: u32,
    ) -> Result<super::Page<StoredThread>>;
    /// The newest messages of a thread before a place, in order; `more` says whether there are older ones.
    fn thread_messages(
        &self,
        scope: &Scope,
        id: ThreadId,
        before: Option<u32>,
        limit: u32,
    ) -> Result<super::Page<StoredThreadMessage>>;
    /// What stands for the beginning of a thread.
    fn summary(&self, scope: &Scope, id: ThreadId) -> Result<Option<Summary>>;
    /// The blocks of an agent, by label.
    fn blocks(&self, scope: &Scope, agent: WorkflowId) -> Result<Vec<StoredBlock>>;
    /// The items that an agent recalls and that have not expired, newest first, after so many.
    fn items(
        &self,
        scope: &Scope,
        agent: WorkflowId,
        skip: u32,
        limit: u32,
        now: Timestamp,
    ) -> Result<super::Page<MemoryItem>>;
    /// What fits the words best.
    fn recall(&self, scope: &Scope, recall: &Recall) -> Result<Vec<Recalled>>;
    /// Archives by name.
    fn archives(&self, scope: &Scope) -> Result<Vec<StoredArchive>>;
    /// An archive.
    fn archive(&self, scope: &Scope, id: ArchiveId) -> Result<Option<StoredArchive>>;
    /// Messages of an archive, the best first.
    fn archived(&self, scope: &Scope, id: ArchiveId, filter: &ArchiveFilter) -> Result<Vec<ArchivedMessage>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_quoted_words_whatever_the_text_tries() {
        let check = |text: &str, wanted: &str| assert_eq!(Terms::of(text).to_string(), wanted, "{text}");
        check("Red tomatoes, red!", "\"red\" OR \"tomatoes\"");
        check(
            "a\" OR text:* NEAR(b c) -d ^e",
            "\"a\" OR \"or\" OR \"text\" OR \"near\" OR \"b\" OR \"c\" OR \"d\" OR \"e\"",
        );
        check("\0\"'*:()-^", "");
        assert!(Terms::of(&"w1 w2 w3 ".repeat(1_000)).words().len() == 3);
        let many: String = (0..1_000).map(|n| format!("w{n} ")).collect();
        assert_eq!(Terms::of(&many).words().len(), limits::MEMORY_TERMS_MAX);
    }

    #[test]
    fn a_block_is_written_over_the_version_that_was_read() {
        let put = |value: &str, if_version| BlockPut {
            agent: [1; 16].into(),
            label: "user".to_owned(),
            description: None,
            value: value.to_owned(),
            chars_max: Some(4),
            if_version,
            key: None,
            origin: Origin::Trusted,
            at: Timestamp(1),
        };
        let first = put("abcd", Some(0)).over(None).unwrap();
        assert_eq!((first.version, first.value.as_str()), (1, "abcd"));
        assert_eq!(put("x", Some(0)).over(Some(&first)).unwrap_err().code(), &code::CHANGED);
        assert_eq!(put("äöüßé", Some(1)).over(Some(&first)).unwrap_err().code(), &code::BLOCK);
        assert_eq!(put("äöüß", Some(1)).over(Some(&first)).unwrap().version, 2);
        assert!(BlockPut { label: "No".to_owned(), ..put("", None) }.check().is_err());
    }
}
