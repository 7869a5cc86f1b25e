//! What the engine and the runtime need from outside, as traits: the store below, the host beside.
//!
//! Nothing here does IO. Implementations: `store/` for [`Store`], the plugin and the CLI for [`EventBus`].

mod account;
mod agent;
mod audit;
mod list;
mod memory;
mod outbox;
mod probe;
mod scope;
mod secret;
pub mod upkeep;

use std::sync::Arc;

pub use account::{
    AccountOp, AccountRefusal, Digest, HashText, LoginKind, Role, SpentRefresh, StoredAccounts,
    StoredApiToken, StoredLogin, StoredUser,
};
pub use agent::{AGENT_PREFIX, AgentFilter, AgentOp, AgentState, DayUse, StoredAgent, UsageRow, day_of};
pub use audit::{
    Action, Actor, AuditBreak, AuditEntry, AuditFilter, AuditHead, AuditRow, AuditSegment, AuditVerdict,
};
pub use list::{ListedWorkflow, Way, WorkflowFilter, WorkflowOrder, WorkflowPlace};
pub use memory::{
    AgentMemory, ArchiveFilter, ArchivedMessage, BlockPut, ItemScope, MemoryItem, MemoryOp, NewArchive,
    NewThread, Origin, Recall, RecallSource, Recalled, Speaker, StoredArchive, StoredBlock, StoredThread,
    StoredThreadMessage, Summary, Terms, ThreadMessage, ToolMark,
};
pub use outbox::{
    MessageFilter, MessageKind, MessageMark, MessageState, NewMessage, OutboxRoom, PendingMessage,
    StoredMessage,
};
pub use probe::{ProbeRows, StoredProbe};
pub use scope::{Possession, Scope};
pub use secret::{OpenSecret, SecretRows, SecretText, Secrets, StoredSecret};

use self::upkeep::{Room, Tidied, Upkeep};
use crate::error::{Error, Result};
use crate::id::{DefinitionHash, InboxId, Lsn, RunId, UserId, WorkflowId};
use crate::model::event::Committed;
use crate::model::{EffectKey, Json, Place, Record, RunRow, RunStatus};
use crate::time::Timestamp;

/// Called once, by whoever commits, in the order of the journal, when the batch is on disk (with the place of its first record;
/// the others follow without gaps) or when it never will be. Must not block.
pub type Ack = Box<dyn FnOnce(std::result::Result<Lsn, Arc<Error>>) + Send>;

/// What one run adds to the store in one transaction.
pub struct Batch {
    /// Whose records they are.
    pub run: RunId,
    /// In order of `seq`.
    pub records: Vec<Record>,
    /// Changes of derived tables.
    pub ops: Vec<Op>,
    /// Told when it is durable.
    pub ack: Ack,
}

/// A change of a derived table, in the transaction of the records it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A new run; goes with its `RunCreated` record in the same batch. May belong to another run than the
    /// batch's (a child): then `created` is that run's first record.
    RunInsert { row: RunRow, idempotency: Option<Idempotency>, created: Option<Box<Record>> },
    /// The run waits. `lsns`: all its records but those of this batch, which the store adds.
    RunPark { run: RunId, status: RunStatus, detail: Option<String>, lsns: Vec<Lsn> },
    /// The run goes on: its row says pending and keeps no list.
    RunUnpark { run: RunId },
    /// The run is over. `lsns` as in `RunPark`.
    RunFinish { run: RunId, status: RunStatus, detail: Option<String>, at: Timestamp, lsns: Vec<Lsn> },
    /// Wake the run at `due`. `seq`: the record that asked for it.
    TimerSet { run: RunId, seq: u32, due: Timestamp },
    /// No longer.
    TimerClear { run: RunId, seq: u32 },
    /// A question to a person.
    InboxPut {
        id: InboxId,
        run: RunId,
        place: Place,
        kind: InboxKind,
        question: serde_json::Value,
        at: Timestamp,
    },
    /// Answered, or no longer asked: every open question of the run.
    InboxCloseRun { run: RunId },
    /// No longer asked.
    InboxClose { id: InboxId },
    /// Answered. The row stays, so that the same answer may come twice.
    InboxAnswer(InboxAnswer),
    /// The wait that record `seq` of the run began wants events of topics that match.
    ListenSet { run: RunId, seq: u32, topic: String },
    /// It no longer does.
    ListenClear { run: RunId, seq: u32 },
    /// A failed run is taken up again: its row says that it waits, or that it is paused, as if it were parked. Goes with
    /// its `RunRetried` record.
    RunReopen { run: RunId, status: RunStatus, detail: String, lsns: Vec<Lsn> },
    /// A run that is over is forgotten, with its records.
    RunDelete { run: RunId },
    /// A new workflow with its first version.
    WorkflowInsert {
        id: WorkflowId,
        name: String,
        source: String,
        at: Timestamp,
        possession: Possession,
        idempotency: Option<Idempotency>,
    },
    /// Whose a workflow is from here on, and who sees it besides; its runs with it.
    WorkflowShare { id: WorkflowId, possession: Possession },
    /// A new version of a workflow. Does nothing when the source is the current one's.
    WorkflowVersion { id: WorkflowId, name: String, source: String, at: Timestamp },
    /// The workflow is gone; its versions stay while runs need them.
    WorkflowDelete { id: WorkflowId, at: Timestamp },
    /// What a request with a key has made, where it is neither a run nor a workflow: those come with their key.
    KeyKeep { key: Box<Idempotency>, made: [u8; 16] },
    /// How far a reader of the journal has come.
    CursorSet { name: &'static str, lsn: Lsn },
    /// A trigger, new or with another next time.
    TriggerPut { workflow: WorkflowId, key: String, enabled: bool, due: Option<Timestamp> },
    /// A trigger is gone.
    TriggerDrop { workflow: WorkflowId, key: String },
    /// A trigger has fired; goes with the run that it starts. Refuses the whole batch unless the trigger is switched on
    /// and its next time is `from`, so that nothing fires twice and nothing fires that was switched off.
    TriggerFire(Firing),
    /// Triggers start the workflow, or do not.
    WorkflowSwitch { id: WorkflowId, on: bool, at: Timestamp },
    /// The run counts for others of the same gate until it is over.
    GateEnter { run: RunId, gate: String, max: usize, ousts: bool },
    /// It does not any more.
    GateLeave { run: RunId },
    /// A new secret, or a new version of one.
    SecretPut(Box<StoredSecret>),
    /// The secret is gone. Does nothing when there is none.
    SecretRemove { name: String },
    /// What a model was found to be able to do, in place of what was known of it.
    ProbePut(Box<StoredProbe>),
    /// A message for the courier, pending and due at once. Does nothing when it is there already.
    OutboxPut(Box<NewMessage>),
    /// Where a message stands.
    OutboxMark(MessageMark),
    /// A message is forgotten.
    OutboxRemove { id: EffectKey },
    /// Forgets messages that ended before a time, and all but the newest `keep` delivered and given up; a bounded number.
    OutboxPrune { before: Timestamp, keep: u32 },
    /// Of agents.
    Agent(Box<AgentOp>),
    /// Of users, logins and API tokens.
    Account(Box<AccountOp>),
    /// Of what agents remember.
    Memory(Box<MemoryOp>),
    /// Who did what of the others in the batch.
    Audit(Box<AuditEntry>),
}

/// What a trigger did.
#[derive(Clone, Debug, PartialEq)]
pub struct Firing {
    /// Whose trigger.
    pub workflow: WorkflowId,
    /// Which.
    pub key: String,
    /// The next time that the row says; `None` for what is no schedule.
    pub from: Option<Timestamp>,
    /// The next time from here on.
    pub due: Option<Timestamp>,
    /// When.
    pub at: Timestamp,
    /// The run that was started; `None` when none was.
    pub run: Option<RunId>,
    /// Why none was.
    pub note: Option<String>,
}

/// A trigger as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTrigger {
    /// Whose.
    pub workflow: WorkflowId,
    /// See [`crate::model::TriggerDef::key`].
    pub key: String,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Of a schedule that is switched on: the next time.
    pub due: Option<Timestamp>,
    /// When it last fired or let an occasion go.
    pub fired_at: Option<Timestamp>,
    /// The run that it started last.
    pub run: Option<RunId>,
    /// Why it did not start one the last time.
    pub note: Option<String>,
}

/// A run that counts for others.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredGate {
    /// The run.
    pub run: RunId,
    /// The name that they share.
    pub gate: String,
    /// So many of them at once.
    pub max: usize,
    /// Whether it takes the place of those before it.
    pub ousts: bool,
    /// Whether its row says that it waits, so that it has begun.
    pub parked: bool,
    /// Whether its row says that it is paused.
    pub paused: bool,
}

/// What is stored about starting runs.
#[derive(Clone, Debug, Default)]
pub struct Automation {
    /// Of all workflows.
    pub triggers: Vec<StoredTrigger>,
    /// Workflows that no trigger starts.
    pub disabled: Vec<WorkflowId>,
    /// Unfinished runs that count for each other, in the order in which they came.
    pub gates: Vec<StoredGate>,
    /// When the database was put in place from a backup: times of schedules up to here were another life's.
    pub restored_at: Option<Timestamp>,
}

/// Secrets that sign incoming webhooks, by name.
pub trait SigningKeys: Send + Sync {
    /// The text of a secret for what belongs to `owner`. `Err` says why it cannot be had, and the remedy.
    fn signing_key(&self, owner: Option<UserId>, name: &str) -> Result<String>;
}

/// Why a person is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InboxKind {
    /// It is unknown whether an effect happened.
    Uncertain,
    /// The run stopped the process twice.
    Poison,
    /// A step waits for a person's decision.
    Approval,
}

/// A person's answer, as its row keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct InboxAnswer {
    /// To which question.
    pub id: InboxId,
    /// One of its choices.
    pub action: String,
    /// What goes with it.
    pub data: Json,
    /// Who said so.
    pub by: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl InboxKind {
    /// The word in store and API.
    pub fn as_str(self) -> &'static str {
        match self {
            InboxKind::Uncertain => "uncertain",
            InboxKind::Poison => "poison",
            InboxKind::Approval => "approval",
        }
    }
}

/// An `Idempotency-Key` with a digest of the request it came with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Idempotency {
    /// Whose key it is: two people with the same one do not meet.
    pub by: Option<UserId>,
    /// The key, prefixed by the route it was sent to.
    pub key: String,
    /// blake3 of the request that matters, so that a reused key with another request is refused.
    pub digest: [u8; 32],
    /// From when it counts, by the time of upkeep: a wall clock that stands years behind must not make it old at once.
    pub at: Timestamp,
}

impl Idempotency {
    /// Names the key of somebody among those of all. No route's prefix begins like this.
    pub fn kept_as(by: Option<UserId>, key: &str) -> String {
        by.map_or_else(|| key.to_owned(), |user| format!("of {user} {key}"))
    }
}

/// What an idempotency key has made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdempotencyHit {
    /// Digest of the first request.
    pub digest: [u8; 32],
    /// What it made: the 16 bytes of an id, or of a name's hash.
    pub made: [u8; 16],
}

/// A stored run.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRun {
    /// Its row.
    pub row: RunRow,
    /// Where its records are, when parked or finished.
    pub lsns: Option<Vec<Lsn>>,
    /// Its first record.
    pub first_lsn: Lsn,
}

/// A timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// When.
    pub due: Timestamp,
    /// Whom.
    pub run: RunId,
    /// The record that asked for it.
    pub seq: u32,
}

/// What a start has to take up again.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Unfinished runs that were not parked, oldest first, each with all its records.
    pub live: Vec<(RunId, Vec<(Lsn, Record)>)>,
    /// All timers.
    pub timers: Vec<Timer>,
    /// Parked runs.
    pub parked: usize,
    /// The newest record's time: the wall clock is not trusted before it.
    pub newest: Option<Timestamp>,
}

/// A workflow with its current version.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredWorkflow {
    /// Its id.
    pub id: WorkflowId,
    /// Its name.
    pub name: String,
    /// Of the current version.
    pub hash: DefinitionHash,
    /// From 1.
    pub version: u32,
    /// The definition as written.
    pub source: String,
    /// Of the first version.
    pub created_at: Timestamp,
    /// Of the current version.
    pub updated_at: Timestamp,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
    /// Whose it is.
    pub possession: Possession,
}

/// A question to a person, as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredQuestion {
    /// Its id.
    pub id: InboxId,
    /// The run that is parked.
    pub run: RunId,
    /// `uncertain` or `poison`.
    pub kind: String,
    /// What is asked.
    pub question: serde_json::Value,
    /// Since when.
    pub at: Timestamp,
    /// What was answered.
    pub answer: Option<InboxAnswer>,
}

/// A wait for events, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredListen {
    /// Whose.
    pub run: RunId,
    /// The record that began it.
    pub seq: u32,
    /// That record's place.
    pub lsn: Lsn,
    /// A topic or a pattern.
    pub topic: String,
}

/// A version of a workflow, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredVersion {
    /// From 1.
    pub version: u32,
    /// Of the source.
    pub hash: DefinitionHash,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which runs a list shows.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Of this workflow.
    pub workflow: Option<WorkflowId>,
    /// With one of these statuses in the row; empty = all.
    pub statuses: Vec<RunStatus>,
    /// By when they were made.
    pub way: Way,
    /// Past this run, in that order.
    pub past: Option<RunId>,
    /// At most.
    pub limit: u32,
}

/// One page and the size of the whole.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In order.
    pub items: Vec<T>,
    /// Of all pages together.
    pub total: u64,
    /// Whether there are more.
    pub more: bool,
}

/// The journal and its derived tables.
///
/// Every question about what belongs to somebody begins with whose it may be, and what is outside of that is not there. The
/// others are the machine's own, and those of routes that only admins reach: the journal as a whole, timers, waits, triggers,
/// accounts, the audit log.
///
/// `submit` returns at once; everything else may block on the disk. Reads see every acknowledged write.
/// After one failed commit nothing is acknowledged any more: `failed` says so and stays.
pub trait Store: Send + Sync {
    /// Queues a batch. BUSY when the queue is full, UNAVAILABLE after a failed commit; then `ack` was dropped
    /// without being called.
    fn submit(&self, batch: Batch) -> Result<()>;
    /// Like `submit`, by a thread that may wait for the disk: it may do the commit itself, and call acknowledgements, its own
    /// and others', before this returns.
    fn commit(&self, batch: Batch) -> Result<()> {
        self.submit(batch)
    }
    /// Why nothing can be written any more.
    fn failed(&self) -> Option<Arc<Error>>;
    /// Everything unfinished.
    fn recover(&self) -> Result<Recovery>;
    /// One run.
    fn run(&self, scope: &Scope, id: RunId) -> Result<Option<StoredRun>>;
    /// Records by place, in the order given. None of a run that is not there for them.
    fn records(&self, scope: &Scope, run: RunId, lsns: &[Lsn]) -> Result<Vec<(Lsn, Record)>>;
    /// A list of runs.
    fn runs(&self, scope: &Scope, filter: &RunFilter) -> Result<Page<RunRow>>;
    /// Committed records after a place, oldest first.
    fn journal_after(&self, after: Lsn, limit: u32) -> Result<Vec<Committed>>;
    /// The newest place, `Lsn(0)` when the journal is empty.
    fn newest_lsn(&self) -> Result<Lsn>;
    /// A workflow by id, deleted ones too.
    fn workflow(&self, scope: &Scope, id: WorkflowId) -> Result<Option<StoredWorkflow>>;
    /// A workflow by name, not deleted.
    fn workflow_named(&self, scope: &Scope, name: &str) -> Result<Option<StoredWorkflow>>;
    /// A list of workflows, each with how often it ran.
    fn workflows(&self, scope: &Scope, filter: &WorkflowFilter) -> Result<Page<ListedWorkflow>>;
    /// One version's source.
    fn definition(&self, scope: &Scope, hash: DefinitionHash) -> Result<Option<String>>;
    /// What a key of somebody has made.
    fn idempotent(&self, by: Option<UserId>, key: &str) -> Result<Option<IdempotencyHit>>;
    /// Open questions, oldest first.
    fn inbox(&self, scope: &Scope) -> Result<Vec<StoredQuestion>>;
    /// A question, answered or not.
    fn question(&self, scope: &Scope, id: InboxId) -> Result<Option<StoredQuestion>>;
    /// Every wait for events.
    fn listens(&self) -> Result<Vec<StoredListen>>;
    /// The versions of a workflow, newest first.
    fn versions(&self, scope: &Scope, id: WorkflowId) -> Result<Vec<StoredVersion>>;
    /// Agents that are not deleted, by name.
    fn agents(&self, _scope: &Scope, _filter: &AgentFilter) -> Result<Page<StoredAgent>> {
        Err(no_agents())
    }
    /// How many agents that are not deleted there are of each type in each state.
    fn agent_counts(&self) -> Result<Vec<(String, AgentState, u64)>> {
        Err(no_agents())
    }
    /// What agents used of models from a day on, the newest first; `limit` rows at most.
    fn usage(
        &self,
        _scope: &Scope,
        _agent: Option<WorkflowId>,
        _since: u32,
        _limit: u32,
    ) -> Result<Vec<UsageRow>> {
        Err(no_agents())
    }
    /// What agents used of models on a day, a row for each.
    fn day_usage(&self, _day: u32) -> Result<Vec<DayUse>> {
        Err(no_agents())
    }
    /// What the tasks of a tree used: tokens, and millionths of the currency.
    fn tree_usage(&self, _root: RunId) -> Result<(u64, u64)> {
        Err(no_agents())
    }
    /// How far a reader of the journal has come.
    fn cursor(&self, name: &str) -> Result<Option<Lsn>>;
    /// Messages that are to be sent, the next first.
    fn outbox_pending(&self) -> Result<Vec<PendingMessage>>;
    /// A message, with its content. One whose run is forgotten is there for those alone who see everything.
    fn outbox_message(&self, scope: &Scope, id: EffectKey) -> Result<Option<StoredMessage>>;
    /// A list of messages.
    fn outbox(&self, scope: &Scope, filter: &MessageFilter) -> Result<Page<StoredMessage>>;
    /// Triggers, switches and gates.
    fn automation(&self) -> Result<Automation>;
    /// Users, logins and API tokens.
    fn accounts(&self) -> Result<StoredAccounts>;
    /// A page of the audit log.
    fn audit(&self, filter: &AuditFilter) -> Result<Page<AuditRow>>;
    /// Looks at all of the audit log.
    fn audit_verdict(&self) -> Result<AuditVerdict>;
    /// What agents remember.
    fn memory(&self) -> &dyn AgentMemory;
    /// Commits what is queued, then closes. Later calls fail.
    fn close(&self);
    /// Does one bounded piece of upkeep: moves finished runs to the archive, deletes what is past its time, gives room back.
    /// Blocks. Called by one thread, again and again.
    fn tidy(&self, upkeep: &Upkeep<'_>) -> Result<Tidied>;
    /// How much room the disk has.
    fn room(&self) -> Room;
    /// Makes the reserve again when there is room for it. Blocks.
    fn restore_room(&self) -> Result<Room>;
}

fn no_agents() -> Error {
    Error::new(&crate::error::code::general::NOT_HERE, "this store keeps no agents")
        .help("use a store with them")
}

/// What became of an event handed to the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Published {
    /// Taken.
    Sent,
    /// No room; try again later.
    Busy,
    /// Refused for good; it is logged and not tried again.
    Refused,
}

/// The host's event bus.
pub trait EventBus: Send + Sync {
    /// Hands over an event. `payload` is CloudEvents JSON, `id` is the same on every delivery.
    fn publish(&self, topic: &str, payload: &str, id: &str, at: Timestamp) -> Published;
    /// Asks for the events of a topic pattern (`*` one segment, a last `#` the rest).
    fn subscribe(&self, pattern: &str) -> Result<()>;
}
