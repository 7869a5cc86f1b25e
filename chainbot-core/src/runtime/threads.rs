//! Conversations with agents, as the handle offers them. A message is a task of the agent with the thread in its inputs; what was said is appended in
//! the transaction of the task's end.
//!
//! Invariant: a thread is its maker's: whoever does not see it can neither read it nor speak in it, whosever the agent is.

use crate::error::code::memory as code;
use crate::error::{Error, Result};
use crate::id::ThreadId;
use crate::limits;
use crate::port::{MemoryOp, NewThread, Op, Page, StoredThread, StoredThreadMessage};

use super::handle::Handle;

/// Characters of a title.
const TITLE_CHARS_MAX: usize = 200;

impl Handle {
    /// A new conversation with an agent.
    pub async fn create_thread(&self, agent: &str, title: Option<&str>) -> Result<StoredThread> {
        self.0.check_open()?;
        let stored = self.0.agent_of(&self.1, agent).await?;
        let title: String = title.unwrap_or("Conversation").chars().take(TITLE_CHARS_MAX).collect();
        let (id, at) = (self.0.env.thread_id(), self.0.env.now());
        let new = NewThread { id, agent: stored.workflow.id, possession: self.1.makes(), title, at };
        self.0.write(vec![Op::Memory(Box::new(MemoryOp::ThreadPut(new)))]).await?;
        self.thread(id).await
    }

    /// One conversation.
    pub async fn thread(&self, id: ThreadId) -> Result<StoredThread> {
        let scope = self.1;
        let found = self.0.read(move |runtime| runtime.store.memory().thread(&scope, id)).await?;
        found.ok_or_else(|| unknown(id))
    }

    /// Conversations with an agent, the newest first.
    pub async fn threads(
        &self,
        agent: &str,
        before: Option<ThreadId>,
        limit: u32,
    ) -> Result<Page<StoredThread>> {
        let stored = self.0.agent_of(&self.1, agent).await?;
        let (scope, limit) = (self.1, limit.clamp(1, limits::PAGE_MAX));
        self.0
            .read(move |runtime| runtime.store.memory().threads(&scope, stored.workflow.id, before, limit))
            .await
    }

    /// What was said last before a place, in order.
    pub async fn thread_messages(
        &self,
        id: ThreadId,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Page<StoredThreadMessage>> {
        self.thread(id).await?;
        let (scope, limit) = (self.1, limit.clamp(1, limits::PAGE_MAX));
        self.0.read(move |runtime| runtime.store.memory().thread_messages(&scope, id, before, limit)).await
    }

    /// Forgets a conversation.
    pub async fn delete_thread(&self, id: ThreadId) -> Result<()> {
        self.0.check_open()?;
        let stored = self.thread(id).await?;
        if !self.1.may_change(&stored.thread.possession) {
            return Err(unknown(id));
        }
        self.0.write(vec![Op::Memory(Box::new(MemoryOp::ThreadRemove(id)))]).await
    }

    /// The conversation that a task names must be theirs, and with this agent.
    pub(super) async fn check_thread(&self, named: &str, agent: crate::id::WorkflowId) -> Result<()> {
        let missing =
            || Error::new(&code::NOT_FOUND, format!("there is no conversation `{named}` with this agent"));
        let id: ThreadId = named.parse().map_err(|_| missing())?;
        let stored = self.thread(id).await.map_err(|_| missing())?;
        (stored.thread.agent == agent).then_some(()).ok_or_else(missing)
    }
}

fn unknown(id: ThreadId) -> Error {
    Error::new(&code::NOT_FOUND, format!("there is no conversation {id}"))
        .help("GET /api/chainbot/chat/threads?agent=NAME lists them")
}
