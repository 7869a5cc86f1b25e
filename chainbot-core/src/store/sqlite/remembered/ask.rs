//! The questions about what agents remember, each in one read transaction.

use super::{chat, item, thread};
use crate::error::Result;
use crate::id::{ArchiveId, ThreadId, WorkflowId};
use crate::port::{
    AgentMemory, ArchiveFilter, ArchivedMessage, MemoryItem, Page, Recall, Recalled, Scope, StoredArchive,
    StoredBlock, StoredThread, StoredThreadMessage, Summary,
};
use crate::store::sqlite::SqliteStore;
use crate::time::Timestamp;

impl AgentMemory for SqliteStore {
    fn thread(&self, scope: &Scope, id: ThreadId) -> Result<Option<StoredThread>> {
        self.rows(|conn| thread::find(conn, scope, id))
    }

    fn threads(
        &self,
        scope: &Scope,
        agent: WorkflowId,
        before: Option<ThreadId>,
        limit: u32,
    ) -> Result<Page<StoredThread>> {
        self.rows(|conn| thread::list(conn, scope, agent, before, limit))
    }

    fn thread_messages(
        &self,
        scope: &Scope,
        id: ThreadId,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Page<StoredThreadMessage>> {
        self.read(|conn| thread::messages(conn, scope, id, before, limit))
    }

    fn summary(&self, scope: &Scope, id: ThreadId) -> Result<Option<Summary>> {
        self.rows(|conn| thread::summary(conn, scope, id))
    }

    fn blocks(&self, scope: &Scope, agent: WorkflowId) -> Result<Vec<StoredBlock>> {
        self.rows(|conn| item::blocks(conn, scope, agent))
    }

    fn items(
        &self,
        scope: &Scope,
        agent: WorkflowId,
        skip: u32,
        limit: u32,
        now: Timestamp,
    ) -> Result<Page<MemoryItem>> {
        self.rows(|conn| item::list(conn, scope, agent, (skip, limit), now))
    }

    fn recall(&self, scope: &Scope, recall: &Recall) -> Result<Vec<Recalled>> {
        self.rows(|conn| item::recall(conn, scope, recall))
    }

    fn archives(&self, scope: &Scope) -> Result<Vec<StoredArchive>> {
        self.rows(|conn| chat::list(conn, scope))
    }

    fn archive(&self, scope: &Scope, id: ArchiveId) -> Result<Option<StoredArchive>> {
        self.rows(|conn| chat::find(conn, scope, id))
    }

    fn archived(&self, scope: &Scope, id: ArchiveId, filter: &ArchiveFilter) -> Result<Vec<ArchivedMessage>> {
        self.rows(|conn| chat::search(conn, scope, id, filter))
    }
}
