//! The memory of the store, as the preparation of a task asks it.
//!
//! A thread that is not there, or is another agent's, is a conversation that has not begun. A block of the definition stands until somebody writes one of
//! its label; the model is told its version, to write over it. Results of tools are not told again: the answer says what became of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Asked, MemoryConfig, MemoryContext, gather};
use crate::agent::recall::Recall;
use crate::agent::tool::{ToolFuture, ToolOwner};
use crate::env::Env;
use crate::error::{Result, code::general};
use crate::id::ThreadId;
use crate::limits::MEMORY_TOKENS_DEFAULT;
use crate::model::{StepError, class};
use crate::port::{Origin, RecallSource, Scope, Speaker, Store};
use crate::task::{self, MemorySpec, Remembered};

/// Reads what an agent remembers.
pub struct Reminder {
    store: Arc<dyn Store>,
    env: Env,
    /// Exchanges in a prompt, and messages that are read for them.
    window: (u32, u32),
}

impl Reminder {
    /// Over the store that keeps the memory. `window`: exchanges in a prompt, and messages that are read for them.
    pub fn new(store: Arc<dyn Store>, env: Env, window: (u32, u32)) -> Self {
        Self { store, env, window }
    }
}

impl Recall for Reminder {
    fn remembered<'a>(
        &'a self,
        memory: &'a MemorySpec,
        thread: Option<&'a str>,
        task: &'a str,
        owner: &'a ToolOwner,
    ) -> ToolFuture<'a, Remembered> {
        let (store, now, agent, window) = (self.store.clone(), self.env.now(), owner.agent, self.window);
        let (memory, task) = (memory.clone(), task.to_owned());
        let thread = thread.and_then(|id| id.parse::<ThreadId>().ok());
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || -> Result<Remembered> {
                let known = match thread {
                    Some(id) => store.memory().thread(&Scope::All, id)?,
                    None => None,
                };
                let thread = thread.filter(|_| known.is_some_and(|stored| stored.thread.agent == agent));
                let config = MemoryConfig {
                    archives: memory.archives,
                    context_window_size: window.0,
                    conversation_history_limit: window.1,
                };
                let asked = Asked {
                    agent,
                    thread,
                    task: &task,
                    config: &config,
                    tokens_max: MEMORY_TOKENS_DEFAULT,
                    now,
                };
                gather(store.memory(), &Scope::All, &asked).map(|context| told(context, memory.blocks))
            });
            let ended =
                |_| StepError::new(class::INTERNAL, &general::INTERNAL, "reading the memory ended early");
            read.await.map_err(ended)?.map_err(|error| StepError::from_error(class::INTERNAL, &error))
        })
    }
}

fn told(context: MemoryContext, defined: BTreeMap<String, String>) -> Remembered {
    // Version 0: what a block of the definition is written over with.
    let mut blocks: BTreeMap<String, (u32, String)> =
        defined.into_iter().map(|(label, text)| (label, (0, text))).collect();
    for block in context.blocks {
        blocks.insert(block.label, (block.version, block.value));
    }
    let said = |speaker| match speaker {
        Speaker::User => Some("user"),
        Speaker::Assistant => Some("assistant"),
        Speaker::Tool => None,
    };
    let spoken = context.messages.into_iter().filter(|one| !one.message.text.is_empty());
    Remembered {
        blocks: blocks
            .into_iter()
            .map(|(label, (version, text))| (format!("memory block {label}, version {version}"), text))
            .collect(),
        summary: context.summary.map(|summary| summary.text),
        messages: spoken
            .filter_map(|one| said(one.message.speaker).map(|role| (role.to_owned(), one.message.text)))
            .collect(),
        recalled: context
            .recalled
            .into_iter()
            .map(|one| {
                let from = match one.from {
                    RecallSource::Item => "saved",
                    RecallSource::Thread => "message",
                    RecallSource::Archive => "old chat",
                };
                let doubt = if one.origin == Origin::Untrusted { ", from outside" } else { "" };
                task::Recalled { text: one.text, source: format!("{from} {}{doubt}", one.place) }
            })
            .collect(),
        is_tainted: context.is_tainted,
        fold: context.fold,
    }
}
