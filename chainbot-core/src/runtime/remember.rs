//! What people do with what agents remember: look at it, correct it, forget it; and archives of chats.
//!
//! An agent is found by its id or its name. Its memory is for those who may change it: whoever merely sees a shared agent finds the agent
//! and nothing that it remembers.

use serde_json::json;

use crate::error::code::memory as code;
use crate::error::{Error, Result};
use crate::id::{ArchiveId, MemoryId, WorkflowId};
use crate::port::{
    AGENT_PREFIX, Action, ArchiveFilter, ArchivedMessage, BlockPut, MemoryItem, MemoryOp, NewArchive, Op,
    Origin, Page, Recall, Recalled, Scope, StoredArchive, StoredBlock, StoredWorkflow, Terms,
};

use super::handle::Handle;
use super::who::{Deed, written_down};

/// What an agent remembers, a page of it.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// All of its blocks.
    pub blocks: Vec<StoredBlock>,
    /// Items, newest first.
    pub items: Page<MemoryItem>,
    /// What fits the words that were given; the best first.
    pub found: Option<Vec<Recalled>>,
}

/// A block as a person writes it.
#[derive(Clone, Debug)]
pub struct NewBlock {
    /// The text.
    pub value: String,
    /// `None` leaves it.
    pub description: Option<String>,
    /// Characters at most; `None` leaves it.
    pub chars_max: Option<u32>,
    /// The version that was read, 0 for none; `None` is whichever.
    pub if_version: Option<u32>,
}

fn op(op: MemoryOp) -> Op {
    Op::Memory(Box::new(op))
}

impl Handle {
    /// The hidden workflow of an agent that is there for them, by its id or the agent's name. For those who may change it.
    async fn agent_of_memory(&self, reference: &str) -> Result<StoredWorkflow> {
        let (scope, wanted) = (self.1, reference.to_owned());
        let missing = || {
            Error::new(&code::NOT_FOUND, format!("there is no agent `{}`", reference.escape_debug()))
                .help("list the agents; an agent's memory is for those who may change it")
        };
        let found = self
            .0
            .read(move |runtime| match wanted.parse::<WorkflowId>() {
                Ok(id) => runtime.store.workflow(&scope, id),
                Err(_) => runtime.store.workflow_named(&scope, &[AGENT_PREFIX, &wanted].concat()),
            })
            .await?;
        let is_agent = |stored: &StoredWorkflow| stored.name.starts_with(AGENT_PREFIX);
        found.filter(|stored| is_agent(stored) && self.1.may_change(&stored.possession)).ok_or_else(missing)
    }

    /// What an agent remembers; `search` are words to look for.
    pub async fn remembered(
        &self,
        reference: &str,
        search: Option<&str>,
        skip: u32,
        limit: u32,
    ) -> Result<Remembered> {
        let agent = self.agent_of_memory(reference).await?.id;
        let (scope, now) = (self.1, self.0.env.now());
        let terms = search.map(Terms::of);
        self.0
            .read(move |runtime| {
                let memory = runtime.store.memory();
                let found = match terms {
                    None => None,
                    Some(terms) => {
                        let recall = Recall { agent, thread: None, archives: Vec::new(), terms, limit, now };
                        Some(memory.recall(&scope, &recall)?)
                    }
                };
                let (blocks, items) =
                    (memory.blocks(&scope, agent)?, memory.items(&scope, agent, skip, limit, now)?);
                Ok(Remembered { blocks, items, found })
            })
            .await
    }

    /// Forgets an item.
    pub async fn forget_item(&self, reference: &str, id: MemoryId) -> Result<()> {
        self.0.check_open()?;
        let agent = self.agent_of_memory(reference).await?.id;
        let deed = Deed::new(Action::MemoryForget, "agent", agent).with(json!({ "item": id }));
        self.remember(MemoryOp::ItemRemove { agent, id }, deed).await
    }

    /// Writes a block, as a person: what they write is trusted.
    pub async fn write_block(&self, reference: &str, label: &str, new: NewBlock) -> Result<StoredBlock> {
        self.0.check_open()?;
        let agent = self.agent_of_memory(reference).await?.id;
        let put = BlockPut {
            agent,
            label: label.to_owned(),
            description: new.description,
            value: new.value,
            chars_max: new.chars_max,
            if_version: new.if_version,
            key: None,
            origin: Origin::Trusted,
            at: self.0.env.now(),
        };
        let deed = Deed::new(Action::MemoryWrite, "agent", agent).with(json!({ "block": label }));
        self.remember(MemoryOp::BlockPut(put), deed).await?;
        let (scope, wanted) = (self.1, label.to_owned());
        let blocks = self.0.read(move |runtime| runtime.store.memory().blocks(&scope, agent)).await?;
        blocks.into_iter().find(|block| block.label == wanted).ok_or_else(|| {
            Error::new(&code::NOT_FOUND, format!("the block `{wanted}` was removed meanwhile"))
        })
    }

    /// Forgets a block.
    pub async fn forget_block(&self, reference: &str, label: &str) -> Result<()> {
        self.0.check_open()?;
        let agent = self.agent_of_memory(reference).await?.id;
        let deed = Deed::new(Action::MemoryForget, "agent", agent).with(json!({ "block": label }));
        self.remember(MemoryOp::BlockRemove { agent, label: label.to_owned() }, deed).await
    }

    /// Forgets everything of an agent: threads, blocks, its own items.
    pub async fn forget_all(&self, reference: &str) -> Result<()> {
        self.0.check_open()?;
        let agent = self.agent_of_memory(reference).await?.id;
        self.remember(MemoryOp::Purge(agent), Deed::new(Action::MemoryForget, "agent", agent)).await
    }

    async fn remember(&self, change: MemoryOp, deed: Deed) -> Result<()> {
        let ops = [Some(op(change)), written_down(self.0.env.now(), deed)];
        self.0.write(ops.into_iter().flatten().collect()).await
    }

    /// Archives that are there for them, by name.
    pub async fn archives(&self) -> Result<Vec<StoredArchive>> {
        let scope = self.1;
        self.0.read(move |runtime| runtime.store.memory().archives(&scope)).await
    }

    /// One archive.
    pub async fn archive(&self, id: ArchiveId) -> Result<StoredArchive> {
        let scope = self.1;
        let found = self.0.read(move |runtime| runtime.store.memory().archive(&scope, id)).await?;
        found.ok_or_else(|| no_archive(&id))
    }

    /// Messages of an archive.
    pub async fn archived(&self, id: ArchiveId, filter: ArchiveFilter) -> Result<Vec<ArchivedMessage>> {
        self.archive(id).await?;
        let scope = self.1;
        self.0.read(move |runtime| runtime.store.memory().archived(&scope, id, &filter)).await
    }

    /// Opens the archive of this name that belongs to whoever asks, or makes it.
    pub async fn open_archive(&self, name: &str) -> Result<StoredArchive> {
        self.0.check_open()?;
        self.0.check_room()?;
        let at = self.0.env.now();
        // What somebody imports is their own life: an admin's goes to the house, and to nobody else of it.
        let possession = crate::port::Possession { shared: None, ..self.1.makes() };
        let new = NewArchive { id: self.0.env.archive_id(), name: name.to_owned(), possession, at };
        let deed = Deed::new(Action::ArchiveImport, "archive", name);
        self.remember(MemoryOp::ArchivePut(new), deed).await?;
        let all = self.0.read(|runtime| runtime.store.memory().archives(&Scope::All)).await?;
        let is_it = |one: &StoredArchive| {
            one.archive.name == name && one.archive.possession.owner == possession.owner
        };
        all.into_iter().find(is_it).ok_or_else(|| no_archive(&name))
    }

    /// Adds messages to an archive that was opened; those that are there already are left alone.
    pub async fn add_to_archive(&self, archive: ArchiveId, messages: Vec<ArchivedMessage>) -> Result<()> {
        self.0.check_open()?;
        self.0.check_room()?;
        let at = self.0.env.now();
        self.0.write(vec![op(MemoryOp::ArchiveAdd { archive, messages, at })]).await
    }

    /// Forgets an archive of theirs, piece by piece.
    pub async fn forget_archive(&self, id: ArchiveId) -> Result<()> {
        self.0.check_open()?;
        let stored = self.archive(id).await?;
        if !self.1.may_change(&stored.archive.possession) {
            return Err(no_archive(&id));
        }
        let deed =
            Deed::new(Action::ArchiveForget, "archive", id).with(json!({ "name": stored.archive.name }));
        self.remember(MemoryOp::ArchiveRemove(id), deed).await?;
        let is_there = move |runtime: &std::sync::Arc<super::core::Runtime>| {
            runtime.store.memory().archive(&Scope::All, id).map(|found| found.is_some())
        };
        // Each turn takes a number of messages away, and nothing is added to what is being forgotten but by another import.
        while self.0.read(is_there).await? {
            self.0.write(vec![op(MemoryOp::ArchiveRemove(id))]).await?;
        }
        Ok(())
    }
}

/// There is none, or it is not theirs.
pub fn no_archive(id: &dyn std::fmt::Display) -> Error {
    Error::new(&code::ARCHIVE, format!("there is no archive {id}"))
        .help("GET /api/chainbot/agents/archives lists them")
}
