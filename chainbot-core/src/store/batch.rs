//! A batch on its way to the writer: checked and encoded on the thread that submits it.
//!
//! Invariant: what is wrong with a batch by itself (empty, gaps in `seq`, lists that do not grow, data
//! over a bound)
//! is refused here, so it never meets the batches of other runs. What depends on stored data is the
//! writer's to check.
//! Knows nothing of SQL.

use std::collections::HashSet;

use super::codec::{self, Encoded};
use super::places::Places;
use super::problem;
use crate::error::Result;
use crate::id::{DefinitionHash, InboxId, Lsn, RunId, WorkflowId};
use crate::limits;
use crate::model::{EffectKey, Record, RecordBody, RunRow, RunStatus};
use crate::port::{
    AccountOp, Ack, AgentOp, AuditEntry, Batch, Firing, Idempotency, InboxAnswer, MemoryOp, MessageMark,
    NewMessage, Op, Possession, StoredProbe, StoredSecret,
};
use crate::time::Timestamp;

/// [`Op`] with everything encoded.
pub enum Change {
    RunInsert { row: RunRow, idempotency: Option<Idempotency>, created: Option<Encoded> },
    RunPark { run: RunId, status: RunStatus, detail: Option<String>, lsns: Places },
    RunUnpark { run: RunId },
    RunFinish { run: RunId, status: RunStatus, detail: Option<String>, at: Timestamp, lsns: Places },
    TimerSet { run: RunId, seq: u32, due: Timestamp },
    TimerClear { run: RunId, seq: u32 },
    InboxPut(Box<Question>),
    InboxCloseRun { run: RunId },
    InboxClose { id: InboxId },
    InboxAnswer(Box<InboxAnswer>),
    ListenSet { run: RunId, seq: u32, topic: String },
    ListenClear { run: RunId, seq: u32 },
    RunReopen { run: RunId, status: RunStatus, detail: String, lsns: Places },
    RunDelete { run: RunId },
    WorkflowInsert { version: Version, possession: Possession, idempotency: Option<Idempotency> },
    WorkflowShare { id: WorkflowId, possession: Possession },
    WorkflowVersion(Version),
    WorkflowDelete { id: WorkflowId, at: Timestamp },
    KeyKeep { key: Box<Idempotency>, made: [u8; 16] },
    CursorSet { name: &'static str, lsn: Lsn },
    TriggerPut { workflow: WorkflowId, key: String, enabled: bool, due: Option<Timestamp> },
    TriggerDrop { workflow: WorkflowId, key: String },
    TriggerFire(Box<Firing>),
    WorkflowSwitch { id: WorkflowId, on: bool, at: Timestamp },
    GateEnter { run: RunId, gate: String, max: usize, ousts: bool },
    GateLeave { run: RunId },
    SecretPut(Box<StoredSecret>),
    SecretRemove { name: String },
    ProbePut(Box<StoredProbe>),
    OutboxPut(Box<NewMessage>),
    OutboxMark(Box<MessageMark>),
    OutboxRemove { id: EffectKey },
    OutboxPrune { before: Timestamp, keep: u32 },
    Agent(Box<AgentOp>),
    Account(Box<AccountOp>),
    Memory(Box<MemoryOp>),
    Audit(Box<AuditEntry>),
}

/// A question to a person, as its row holds it.
pub struct Question {
    pub id: InboxId,
    pub run: RunId,
    pub node: u32,
    pub path: Vec<u8>,
    pub kind: &'static str,
    pub question: String,
    pub at: Timestamp,
}

/// A version of a workflow.
pub struct Version {
    pub id: WorkflowId,
    pub name: String,
    pub hash: DefinitionHash,
    pub source: String,
    pub at: Timestamp,
}

/// A batch that is right by itself.
pub struct Work {
    pub run: RunId,
    pub records: Vec<Encoded>,
    pub changes: Vec<Change>,
    pub ack: Ack,
    /// Records in all, those of other runs included.
    pub record_count: usize,
    /// Bytes that the queue is charged with.
    pub bytes: usize,
}

impl Work {
    /// Whether it makes something of its own, which may be refused when room is short; else it carries on what is there.
    pub fn is_new(&self) -> bool {
        let makes =
            |change: &Change| matches!(change, Change::WorkflowInsert { .. } | Change::WorkflowVersion(_));
        self.records.first().is_some_and(|first| first.seq == 0) || self.changes.iter().any(makes)
    }
}

/// Checks and encodes.
pub fn prepare(batch: Batch) -> Result<Work> {
    let Batch { run, records, ops, ack } = batch;
    check_shape(run, &records, &ops)?;
    let encoded = records.iter().map(|record| codec::encode(run, record)).collect::<Result<Vec<_>>>()?;
    let own = u32::try_from(records.len()).unwrap_or(u32::MAX);
    let changes = ops.into_iter().map(|op| change(run, own, op)).collect::<Result<Vec<_>>>()?;
    let created = |change: &Change| match change {
        Change::RunInsert { created: Some(created), .. } => created.body.len(),
        _ => 0,
    };
    let record_count = encoded.len() + changes.iter().filter(|change| created(change) > 0).count();
    let bytes = encoded.iter().map(|record| record.body.len()).sum::<usize>()
        + changes.iter().map(|change| created(change) + weight(change)).sum::<usize>();
    Ok(Work { run, records: encoded, changes, ack, record_count, bytes })
}

fn check_shape(run: RunId, records: &[Record], ops: &[Op]) -> Result<()> {
    let refused = |why: &str| Err(problem::refused(run, &why));
    if records.is_empty() && ops.is_empty() {
        return refused("it is empty");
    }
    if records.len() > limits::COMMIT_RECORDS_MAX || ops.len() > limits::COMMIT_RECORDS_MAX {
        return refused("it has more records or changes than one transaction takes");
    }
    if !records.windows(2).all(|pair| pair[0].seq.checked_add(1) == Some(pair[1].seq)) {
        return refused("its records do not follow each other");
    }
    if !records.iter().all(begins_a_run_at_zero_only) {
        return refused("`RunCreated` is the first record of a run, and only that");
    }
    let own_insert = ops.iter().any(|op| matches!(op, Op::RunInsert { row, .. } if row.id == run));
    if own_insert != records.first().is_some_and(|record| record.seq == 0) {
        return refused("a first record goes with the run's row, and only that");
    }
    if has_doubles(ops) {
        return refused("it makes the same thing twice");
    }
    ops.iter().try_for_each(|op| check_op(run, op))
}

/// The writer compares a batch with what is stored, so within itself it must not collide.
fn has_doubles(ops: &[Op]) -> bool {
    let (mut runs, mut keys, mut questions) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut blocks = HashSet::new();
    let mut workflows = 0;
    !ops.iter().all(|op| match op {
        Op::RunInsert { row, idempotency, .. } => {
            runs.insert(row.id)
                && idempotency.as_ref().is_none_or(|key| keys.insert((key.by, key.key.as_str())))
        }
        Op::WorkflowInsert { idempotency, .. } => {
            workflows += 1;
            workflows == 1 && idempotency.as_ref().is_none_or(|key| keys.insert((key.by, key.key.as_str())))
        }
        Op::WorkflowVersion { .. } => {
            workflows += 1;
            workflows == 1
        }
        Op::InboxPut { id, .. } => questions.insert(*id),
        Op::Memory(op) => match op.as_ref() {
            MemoryOp::BlockPut(put) => blocks.insert((put.agent, put.label.as_str())),
            _ => true,
        },
        _ => true,
    })
}

fn begins_a_run_at_zero_only(record: &Record) -> bool {
    (record.seq == 0) == matches!(record.body, RecordBody::RunCreated(_))
}

fn check_op(run: RunId, op: &Op) -> Result<()> {
    if let Op::Memory(op) = op {
        return op.check();
    }
    let why = match op {
        Op::RunInsert { row, .. } if row.status != RunStatus::Pending || row.finished_at.is_some() => {
            "a new run is pending"
        }
        Op::RunInsert { row, created, .. } if (row.id == run) != created.is_none() => {
            "the first record of another run comes with its row, that of the batch's run with the batch"
        }
        Op::RunInsert { created: Some(record), .. }
            if record.seq != 0 || !begins_a_run_at_zero_only(record) =>
        {
            "a run begins with `RunCreated`"
        }
        Op::RunPark { status, .. } if status.is_terminal() => "a parked run is not over",
        Op::RunFinish { status, .. } if !status.is_terminal() => "a finished run is over",
        Op::RunReopen { run: other, .. } if *other != run => "a run is taken up again by its own batch",
        Op::RunReopen { status, .. } if status.is_terminal() => "a run that is taken up again is not over",
        Op::ListenSet { run: other, .. } if *other != run => "a run listens by its own batch",
        Op::CursorSet { lsn, .. } if lsn.0 < 0 => "a cursor is a place in the journal",
        _ => return Ok(()),
    };
    Err(problem::refused(run, &why))
}

fn change(run: RunId, own: u32, op: Op) -> Result<Change> {
    let pack = |of: RunId, lsns: Vec<Lsn>| {
        Places::pack(&lsns)
            .filter(|places| own == 0 || of != run || places.count().checked_add(own).is_some())
            .ok_or_else(|| problem::refused(of, &"its list of places does not grow"))
    };
    Ok(match op {
        Op::RunInsert { row, idempotency, created } => {
            let created = created.map(|record| codec::encode(row.id, &record)).transpose()?;
            Change::RunInsert { row, idempotency, created }
        }
        Op::RunPark { run, status, detail, lsns } => {
            Change::RunPark { run, status, detail, lsns: pack(run, lsns)? }
        }
        Op::RunUnpark { run } => Change::RunUnpark { run },
        Op::RunFinish { run, status, detail, at, lsns } => {
            Change::RunFinish { run, status, detail, at, lsns: pack(run, lsns)? }
        }
        Op::TimerSet { run, seq, due } => Change::TimerSet { run, seq, due },
        Op::TimerClear { run, seq } => Change::TimerClear { run, seq },
        Op::InboxPut { id, run, place, kind, question, at } => Change::InboxPut(Box::new(Question {
            id,
            run,
            node: place.node.0,
            path: codec::pack_path(&place.path),
            kind: kind.as_str(),
            question: question.to_string(),
            at,
        })),
        Op::InboxCloseRun { run } => Change::InboxCloseRun { run },
        Op::InboxClose { id } => Change::InboxClose { id },
        Op::InboxAnswer(answer) => Change::InboxAnswer(Box::new(answer)),
        Op::ListenSet { run, seq, topic } => Change::ListenSet { run, seq, topic },
        Op::ListenClear { run, seq } => Change::ListenClear { run, seq },
        Op::RunReopen { run, status, detail, lsns } => {
            Change::RunReopen { run, status, detail, lsns: pack(run, lsns)? }
        }
        Op::RunDelete { run } => Change::RunDelete { run },
        Op::WorkflowInsert { id, name, source, at, possession, idempotency } => {
            Change::WorkflowInsert { version: version(id, name, source, at), possession, idempotency }
        }
        Op::WorkflowShare { id, possession } => Change::WorkflowShare { id, possession },
        Op::WorkflowVersion { id, name, source, at } => {
            Change::WorkflowVersion(version(id, name, source, at))
        }
        Op::WorkflowDelete { id, at } => Change::WorkflowDelete { id, at },
        Op::KeyKeep { key, made } => Change::KeyKeep { key, made },
        Op::CursorSet { name, lsn } => Change::CursorSet { name, lsn },
        Op::TriggerPut { workflow, key, enabled, due } => Change::TriggerPut { workflow, key, enabled, due },
        Op::TriggerDrop { workflow, key } => Change::TriggerDrop { workflow, key },
        Op::TriggerFire(firing) => Change::TriggerFire(Box::new(firing)),
        Op::WorkflowSwitch { id, on, at } => Change::WorkflowSwitch { id, on, at },
        Op::GateEnter { run, gate, max, ousts } => Change::GateEnter { run, gate, max, ousts },
        Op::GateLeave { run } => Change::GateLeave { run },
        Op::SecretPut(secret) => Change::SecretPut(secret),
        Op::SecretRemove { name } => Change::SecretRemove { name },
        Op::ProbePut(probe) => Change::ProbePut(probe),
        Op::OutboxPut(message) => Change::OutboxPut(message),
        Op::OutboxMark(mark) => Change::OutboxMark(Box::new(mark)),
        Op::OutboxRemove { id } => Change::OutboxRemove { id },
        Op::OutboxPrune { before, keep } => Change::OutboxPrune { before, keep },
        Op::Agent(op) => Change::Agent(op),
        Op::Account(op) => Change::Account(op),
        Op::Memory(op) => Change::Memory(op),
        Op::Audit(entry) => Change::Audit(entry),
    })
}

fn version(id: WorkflowId, name: String, source: String, at: Timestamp) -> Version {
    Version { id, name, hash: DefinitionHash::of(&source), source, at }
}

/// What a change holds besides a record.
fn weight(change: &Change) -> usize {
    match change {
        Change::RunPark { lsns, detail, .. } | Change::RunFinish { lsns, detail, .. } => {
            lsns.as_bytes().len() + detail.as_ref().map_or(0, String::len)
        }
        Change::InboxPut(question) => question.question.len(),
        Change::WorkflowInsert { version, .. } | Change::WorkflowVersion(version) => version.source.len(),
        Change::SecretPut(secret) => secret.sealed.len(),
        Change::ProbePut(probe) => probe.model.len() + probe.of.len(),
        Change::OutboxPut(message) => message.bytes(),
        Change::Memory(op) => op.bytes(),
        Change::Audit(entry) => entry.meta.as_ref().map_or(0, String::len) + entry.target_id.len(),
        _ => 0,
    }
}
