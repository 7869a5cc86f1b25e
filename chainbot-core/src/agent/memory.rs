//! What an agent remembers when a task begins: the newest exchanges of its thread, what stands for those before them, its blocks, and
//! what it recalls for the task.
//!
//! ```text
//! thread ──► window (newest exchanges that fit) ──► what does not fit: folded into a summary, or left out and still found by its words
//! blocks ──► always        items, thread before the window, archives ──► recall: the best few for the words of the task
//! ```
//!
//! Invariants: [`gather`] only reads; its result says everything that goes into the prompt and is journaled by whoever asked, so a prompt is
//! rebuilt without the store. An exchange is whole or not there, so a call is never without its result; what is left out of a text
//! says so in its place. One untrusted piece taints the whole. Text that is remembered is data: it is quoted, never an instruction of ours.
//!
//! Must not know the loop, runs, models.

pub mod archive;
mod block;
mod reminder;
mod summary;
pub mod tool;
mod window;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use reminder::Reminder;

use crate::agent::provider::Message;
use crate::error::{Error, Result, code::memory as code};
use crate::id::{ThreadId, WorkflowId};
use crate::port::{AgentMemory, Recall, Recalled, Scope, StoredBlock, StoredThreadMessage, Summary, Terms};
use crate::task::{ToFold, estimate_tokens};
use crate::time::Timestamp;

/// How many pieces are recalled for a task.
pub const RECALLED: u32 = 5;
/// Characters of one recalled piece that go into a prompt: a paragraph or two.
const RECALLED_CHARS: usize = 2_000;
/// Exchanges in the window, as the configuration bounds it.
const WINDOW_MAX: u32 = 1_000;

/// What an agent's definition and the configuration say of its memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// Exchanges in the prompt, at most: what a person says and all that follows until they speak again.
    pub context_window_size: u32,
    /// Messages of a thread that are read for it.
    pub conversation_history_limit: u32,
    /// Names of archives that are recalled from.
    pub archives: Vec<String>,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { context_window_size: 10, conversation_history_limit: 50, archives: Vec::new() }
    }
}

/// For which task.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// Whose memory.
    pub agent: WorkflowId,
    /// In which conversation.
    pub thread: Option<ThreadId>,
    /// What is asked; its words are recalled.
    pub task: &'a str,
    /// How.
    pub config: &'a MemoryConfig,
    /// Tokens that everything of this module and the task may take together.
    pub tokens_max: u64,
    /// What has expired is not recalled.
    pub now: Timestamp,
}

/// What is remembered for a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryContext {
    /// Always in the prompt.
    pub blocks: Vec<StoredBlock>,
    /// What stands for the beginning of the thread.
    pub summary: Option<Summary>,
    /// The newest messages of the thread, in whole exchanges.
    pub messages: Vec<StoredThreadMessage>,
    /// The best for the words of the task.
    pub recalled: Vec<Recalled>,
    /// What left the window just now and has no summary yet. Without a model for it, it stays findable by its words.
    pub fold: Option<ToFold>,
    /// Whether any of this was written by somebody outside.
    pub is_tainted: bool,
}

/// Reads what is remembered for a task. Blocks on the disk.
pub fn gather(memory: &dyn AgentMemory, scope: &Scope, asked: &Asked<'_>) -> Result<MemoryContext> {
    let mut context =
        MemoryContext { blocks: memory.blocks(scope, asked.agent)?, ..MemoryContext::default() };
    let recall_tokens = asked.tokens_max / 5;
    let mut before = None;
    if let Some(id) = asked.thread {
        let thread = memory.thread(scope, id)?.filter(|stored| stored.thread.agent == asked.agent);
        if thread.is_none() {
            return Err(Error::new(&code::NOT_FOUND, format!("there is no thread {id} with this agent"))
                .help("begin a new one"));
        }
        context.summary = memory.summary(scope, id)?;
        let taken = context.tokens() + estimate_tokens(asked.task) + recall_tokens;
        let limit = asked.config.conversation_history_limit.clamp(1, crate::limits::PAGE_MAX);
        let hand = memory.thread_messages(scope, id, None, limit)?.items;
        let folded = context.summary.as_ref().map_or(0, |summary| summary.to_seq);
        let hand = hand.into_iter().filter(|one| one.seq > folded).collect();
        let exchanges_max = asked.config.context_window_size.min(WINDOW_MAX) as usize;
        let budget = window::Budget { exchanges_max, tokens_max: asked.tokens_max, taken };
        let (window, left) = window::choose(hand, &budget);
        context.fold = ToFold::of(context.summary.as_ref(), &left, asked.tokens_max);
        before = Some((id, window.first().map_or(u32::MAX, |first| first.seq)));
        context.messages = window;
    }
    let recall = Recall {
        agent: asked.agent,
        thread: before,
        archives: asked.config.archives.clone(),
        terms: Terms::of(asked.task),
        limit: RECALLED,
        now: asked.now,
    };
    let mut left = recall_tokens;
    for mut one in memory.recall(scope, &recall)? {
        one.text = excerpt(&one.text, RECALLED_CHARS);
        let tokens = estimate_tokens(&one.text) + estimate_tokens(&one.place);
        if tokens <= left {
            left -= tokens;
            context.recalled.push(one);
        }
    }
    context.is_tainted = context.taints();
    Ok(context)
}

impl MemoryContext {
    /// What all of it costs in a prompt.
    pub fn tokens(&self) -> u64 {
        let blocks: u64 = self.blocks.iter().map(block::tokens).sum();
        let recalled: u64 =
            self.recalled.iter().map(|one| estimate_tokens(&one.text) + estimate_tokens(&one.place)).sum();
        let messages: u64 = self.messages.iter().map(|one| u64::from(one.message.tokens)).sum();
        blocks + recalled + messages + self.summary.as_ref().map_or(0, |summary| u64::from(summary.tokens))
    }

    fn taints(&self) -> bool {
        self.blocks.iter().any(|one| one.origin.taints())
            || self.summary.iter().any(|one| one.origin.taints())
            || self.messages.iter().any(|one| one.message.origin.taints())
            || self.recalled.iter().any(|one| one.origin.taints())
            || self.fold.iter().any(|one| one.origin.taints())
    }

    /// The window as a model is told it.
    pub fn conversation(&self) -> Vec<Message> {
        self.messages.iter().map(|one| window::spoken(&one.message)).collect()
    }

    /// The blocks as they stand in a prompt, with the versions to write over; empty when there are none.
    pub fn blocks_text(&self) -> String {
        block::text(&self.blocks)
    }

    /// Summary and recalled pieces as they stand in a prompt; empty when there are none.
    pub fn remembered_text(&self) -> String {
        summary::text(self.summary.as_ref(), &self.recalled)
    }
}

/// A text, or its beginning with a word of how much is missing.
fn excerpt(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some((at, _)) => format!("{} [{} more bytes]", &text[..at], text.len() - at),
    }
}
