//! A store in memory with the contract of the durable one: for tests that need a store and no disk, and as the second
//! opinion of the conformance suite. Not shipped: there is no in-memory mode beside the durable one.
//!
//! Invariants: a batch is refused before its first change or applied whole; acknowledgements come from one thread, after
//! the change can be read, in order. Without a thread of its own that thread is the caller's.

mod agent;
mod audit;
mod automation;
mod outbox;
mod remembered;
mod tables;

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use self::tables::Tables;
use super::{batch, problem};
use crate::error::{Error, Result};
use crate::id::{ArchiveId, DefinitionHash, InboxId, Lsn, RunId, ThreadId, UserId, WorkflowId};
use crate::model::event::Committed;
use crate::model::{EffectKey, Record, RunRow};
use crate::port::upkeep::{Room, Tidied, Upkeep};
use crate::port::{
    AgentFilter, AgentMemory, ArchiveFilter, ArchivedMessage, AuditFilter, AuditRow, AuditVerdict,
    Automation, Batch, DayUse, IdempotencyHit, ListedWorkflow, MemoryItem, MessageFilter, Page,
    PendingMessage, Recall, Recalled, Recovery, RunFilter, Scope, Store, StoredAccounts, StoredAgent,
    StoredArchive, StoredBlock, StoredListen, StoredMessage, StoredQuestion, StoredRun, StoredThread,
    StoredThreadMessage, StoredVersion, StoredWorkflow, Summary, UsageRow, WorkflowFilter,
};
use crate::time::Timestamp;

/// The store.
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
    queue: Mutex<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Who commits.
enum Queue {
    /// The thread.
    Thread(mpsc::Sender<Batch>),
    /// Whoever submits, at once.
    Caller,
    Closed,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        let tables = Arc::new(Mutex::new(Tables::default()));
        let (queue, queued) = mpsc::channel::<Batch>();
        let of_thread = tables.clone();
        // Joined by `close`.
        let thread = std::thread::spawn(move || {
            for batch in queued {
                let result = of_thread.lock().commit(batch.run, &batch.records, &batch.ops);
                (batch.ack)(result.map_err(Arc::new));
            }
        });
        Arc::new(Self { tables, queue: Mutex::new(Queue::Thread(queue)), thread: Mutex::new(Some(thread)) })
    }

    /// An empty one that whoever submits commits and acknowledges: for one thread alone.
    pub fn without_thread() -> Arc<Self> {
        Arc::new(Self { tables: Arc::default(), queue: Mutex::new(Queue::Caller), thread: Mutex::default() })
    }

    fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> Result<T> {
        match *self.queue.lock() {
            Queue::Closed => Err(problem::closed()),
            _ => Ok(read(&self.tables.lock())),
        }
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl AgentMemory for MemoryStore {
    fn thread(&self, scope: &Scope, id: ThreadId) -> Result<Option<StoredThread>> {
        self.read(|tables| tables.remembered.thread(scope, id))
    }

    fn threads(
        &self,
        scope: &Scope,
        agent: WorkflowId,
        before: Option<ThreadId>,
        limit: u32,
    ) -> Result<Page<StoredThread>> {
        self.read(|tables| tables.remembered.threads(scope, agent, before, limit))
    }

    fn thread_messages(
        &self,
        scope: &Scope,
        id: ThreadId,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Page<StoredThreadMessage>> {
        self.read(|tables| tables.remembered.thread_messages(scope, id, before, limit))
    }

    fn summary(&self, scope: &Scope, id: ThreadId) -> Result<Option<Summary>> {
        self.read(|tables| tables.remembered.summary(scope, id))
    }

    fn blocks(&self, scope: &Scope, agent: WorkflowId) -> Result<Vec<StoredBlock>> {
        self.read(|tables| tables.remembered.blocks(scope, agent, &|id| tables.possession(id)))
    }

    fn items(
        &self,
        scope: &Scope,
        agent: WorkflowId,
        skip: u32,
        limit: u32,
        now: Timestamp,
    ) -> Result<Page<MemoryItem>> {
        self.read(|tables| {
            tables.remembered.items(scope, agent, (skip, limit), now, &|id| tables.possession(id))
        })
    }

    fn recall(&self, scope: &Scope, recall: &Recall) -> Result<Vec<Recalled>> {
        self.read(|tables| tables.remembered.recall(scope, recall, &|id| tables.possession(id)))
    }

    fn archives(&self, scope: &Scope) -> Result<Vec<StoredArchive>> {
        self.read(|tables| tables.remembered.archives(scope))
    }

    fn archive(&self, scope: &Scope, id: ArchiveId) -> Result<Option<StoredArchive>> {
        self.read(|tables| tables.remembered.archive(scope, id))
    }

    fn archived(&self, scope: &Scope, id: ArchiveId, filter: &ArchiveFilter) -> Result<Vec<ArchivedMessage>> {
        self.read(|tables| tables.remembered.archived(scope, id, filter))
    }
}

impl Store for MemoryStore {
    fn submit(&self, batch: Batch) -> Result<()> {
        // What is wrong with a batch by itself is found by the same code as in the durable store.
        let (records, ops) = (batch.records.clone(), batch.ops.clone());
        batch::prepare(Batch { run: batch.run, records, ops, ack: Box::new(|_| {}) })?;
        match &*self.queue.lock() {
            Queue::Closed => return Err(problem::closed()),
            Queue::Thread(queue) => return queue.send(batch).map_err(|_| problem::closed()),
            Queue::Caller => {}
        }
        let result = self.tables.lock().commit(batch.run, &batch.records, &batch.ops);
        (batch.ack)(result.map_err(Arc::new));
        Ok(())
    }

    fn failed(&self) -> Option<Arc<Error>> {
        None
    }

    fn recover(&self) -> Result<Recovery> {
        self.read(Tables::recover)
    }

    fn run(&self, scope: &Scope, id: RunId) -> Result<Option<StoredRun>> {
        self.read(|tables| tables.run(scope, id))
    }

    fn records(&self, scope: &Scope, run: RunId, lsns: &[Lsn]) -> Result<Vec<(Lsn, Record)>> {
        self.read(|tables| tables.records(scope, run, lsns))?
    }

    fn runs(&self, scope: &Scope, filter: &RunFilter) -> Result<Page<RunRow>> {
        self.read(|tables| tables.runs(scope, filter))
    }

    fn journal_after(&self, after: Lsn, limit: u32) -> Result<Vec<Committed>> {
        self.read(|tables| tables.journal_after(after, limit))
    }

    fn newest_lsn(&self) -> Result<Lsn> {
        self.read(Tables::newest)
    }

    fn workflow(&self, scope: &Scope, id: WorkflowId) -> Result<Option<StoredWorkflow>> {
        self.read(|tables| tables.workflow(scope, id))
    }

    fn workflow_named(&self, scope: &Scope, name: &str) -> Result<Option<StoredWorkflow>> {
        self.read(|tables| tables.workflow_named(scope, name))
    }

    fn workflows(&self, scope: &Scope, filter: &WorkflowFilter) -> Result<Page<ListedWorkflow>> {
        self.read(|tables| tables.workflows(scope, filter))
    }

    fn definition(&self, scope: &Scope, hash: DefinitionHash) -> Result<Option<String>> {
        self.read(|tables| tables.definition(scope, hash))
    }

    fn idempotent(&self, by: Option<UserId>, key: &str) -> Result<Option<IdempotencyHit>> {
        self.read(|tables| tables.idempotent(by, key))
    }

    fn inbox(&self, scope: &Scope) -> Result<Vec<StoredQuestion>> {
        self.read(|tables| tables.inbox(scope))
    }

    fn question(&self, scope: &Scope, id: InboxId) -> Result<Option<StoredQuestion>> {
        self.read(|tables| tables.question(scope, id))
    }

    fn listens(&self) -> Result<Vec<StoredListen>> {
        self.read(Tables::listens)
    }

    fn versions(&self, scope: &Scope, id: WorkflowId) -> Result<Vec<StoredVersion>> {
        self.read(|tables| tables.versions(scope, id))
    }

    fn outbox_pending(&self) -> Result<Vec<PendingMessage>> {
        self.read(|tables| tables.messages.pending())
    }

    fn outbox_message(&self, scope: &Scope, id: EffectKey) -> Result<Option<StoredMessage>> {
        self.read(|tables| tables.message(scope, id))
    }

    fn outbox(&self, scope: &Scope, filter: &MessageFilter) -> Result<Page<StoredMessage>> {
        self.read(|tables| tables.messages.list(filter, |run| tables.sees_run(scope, run)))
    }

    fn automation(&self) -> Result<Automation> {
        self.read(Tables::automation)
    }

    fn audit(&self, filter: &AuditFilter) -> Result<Page<AuditRow>> {
        self.read(|tables| tables.audit.list(filter))
    }

    fn audit_verdict(&self) -> Result<AuditVerdict> {
        self.read(|tables| tables.audit.verdict())
    }

    fn accounts(&self) -> Result<StoredAccounts> {
        self.read(|tables| tables.accounts())
    }

    fn agents(&self, scope: &Scope, filter: &AgentFilter) -> Result<Page<StoredAgent>> {
        self.read(|tables| tables.agents(scope, filter))
    }

    fn day_usage(&self, day: u32) -> Result<Vec<DayUse>> {
        self.read(|tables| tables.day_usage(day))
    }

    fn tree_usage(&self, root: RunId) -> Result<(u64, u64)> {
        self.read(|tables| tables.agents.trees.get(&root).copied().unwrap_or_default())
    }

    fn usage(
        &self,
        scope: &Scope,
        agent: Option<WorkflowId>,
        since: u32,
        limit: u32,
    ) -> Result<Vec<UsageRow>> {
        self.read(|tables| tables.usage(scope, agent, since, limit))
    }

    fn cursor(&self, name: &str) -> Result<Option<Lsn>> {
        self.read(|tables| tables.cursor(name))
    }

    fn tidy(&self, upkeep: &Upkeep<'_>) -> Result<Tidied> {
        // Whoever says what is kept may read from here.
        let workflows = self.read(Tables::workflows_with_runs)?;
        let keep: BTreeMap<_, _> = workflows.into_iter().map(|id| (id, (upkeep.keep)(id))).collect();
        let keep = |id| keep.get(&id).copied().unwrap_or_default();
        Ok(self.tables.lock().tidy(&Upkeep { keep: &keep, ..*upkeep }))
    }

    fn memory(&self) -> &dyn AgentMemory {
        self
    }

    fn room(&self) -> Room {
        Room::Enough
    }

    fn restore_room(&self) -> Result<Room> {
        Ok(Room::Enough)
    }

    fn close(&self) {
        *self.queue.lock() = Queue::Closed;
        let thread = self.thread.lock().take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            // A listener's panic is the listener's.
            let _ = thread.join();
        }
    }
}
