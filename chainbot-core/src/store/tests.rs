//! Tests of the store through its face, on real files.
//!
//! [`Bench`] is a data folder with a store in it; it submits and waits for the acknowledgement, reopens,
//! and copies the
//! files as a power cut would leave them. Every test that ends well also leaves a store without violations.

mod audit;
mod backup;
mod codec;
mod conformance;
pub(crate) mod dying;
mod failing;
mod folder;
mod full;
mod history;
mod journal;
mod opening;
mod remembered;
mod repair;
mod runs;
mod tables;
pub(crate) mod through;
mod upkeep;

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::{DataDir, OpenOptions, SqliteStore, check};
use crate::error::Error;
use crate::id::{DefinitionHash, Lsn, NodeId, RunId, WorkflowId};
use crate::model::{EffectKey, Place, Record, RecordBody, RunCreated, RunRow, RunStatus, Trigger};
use crate::port::{Batch, Op, Possession, Scope, Store};
use crate::time::Timestamp;

/// Catches hangs only; nothing is expected to take long.
const HANG: Duration = Duration::from_secs(60);

type Acked = Result<Lsn, Arc<Error>>;

struct Bench {
    folder: TempDir,
    store: Arc<SqliteStore>,
}

impl Bench {
    fn new() -> Self {
        Self::limited(None)
    }

    fn limited(pages_max: Option<u32>) -> Self {
        let folder = TempDir::new().unwrap();
        let store = open(folder.path(), pages_max).unwrap();
        Self { folder, store }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("chainbot.db")
    }

    fn send(&self, run: RunId, records: Vec<Record>, ops: Vec<Op>) -> mpsc::Receiver<Acked> {
        let (ack, acked) = mpsc::channel();
        // Whoever sends many does not wait for each.
        let ack = Box::new(move |result| drop(ack.send(result)));
        self.store.submit(Batch { run, records, ops, ack }).unwrap();
        acked
    }

    fn try_write(&self, run: RunId, records: Vec<Record>, ops: Vec<Op>) -> Acked {
        self.send(run, records, ops).recv_timeout(HANG).expect("an acknowledgement")
    }

    fn write(&self, run: RunId, records: Vec<Record>, ops: Vec<Op>) -> Lsn {
        self.try_write(run, records, ops).unwrap()
    }

    /// Makes a run; the place of its first record.
    fn start(&self, run: RunId) -> Lsn {
        self.write(run, vec![created(run)], vec![insert(run)])
    }

    fn reopen(&mut self) {
        self.store.close();
        let (folder, nothing) = (self.folder.path().to_owned(), TempDir::new().unwrap());
        // The lock ends with the old store, which must be gone before the new one opens.
        let other = open(nothing.path(), None).unwrap();
        drop(std::mem::replace(&mut self.store, other));
        self.store = open(&folder, None).unwrap();
    }

    /// Runs SQL beside the store, as damage or an intruder would.
    fn tamper(&self, sql: &str) {
        let conn = rusqlite::Connection::open(self.database()).unwrap();
        conn.busy_timeout(HANG).unwrap();
        assert!(conn.execute(sql, []).unwrap() > 0, "nothing was changed by {sql}");
    }

    fn assert_sound(&self) {
        assert_eq!(violations(&self.store), []);
    }
}

/// What does not hold, but for I5: these tests park runs that nothing will ever wake.
fn violations(store: &SqliteStore) -> Vec<crate::store::Violation> {
    let mut found = check(store).unwrap();
    found.retain(|violation| violation.invariant != "I5");
    found
}

fn open(folder: &Path, pages_max: Option<u32>) -> crate::Result<Arc<SqliteStore>> {
    let folder = Arc::new(DataDir::open(folder, "test")?);
    SqliteStore::open_limited(OpenOptions::new(folder), pages_max)
}

/// The files as they are on disk at this moment, opened as after a power cut.
fn open_copy(database: &Path) -> (TempDir, Arc<SqliteStore>) {
    let copy = TempDir::new().unwrap();
    for suffix in ["", "-wal"] {
        let mut from = database.as_os_str().to_owned();
        from.push(suffix);
        let name = Path::new(&from).file_name().unwrap();
        std::fs::copy(&from, copy.path().join(name)).unwrap();
    }
    let store = open(copy.path(), None).unwrap();
    (copy, store)
}

fn run_id(number: u128) -> RunId {
    RunId::from((0x0190_0000_0000_7000_8000_0000_0000_0000u128 + number).to_be_bytes())
}

fn workflow_id(number: u128) -> WorkflowId {
    WorkflowId::from(number.to_be_bytes())
}

fn at(seq: u32) -> Timestamp {
    Timestamp(1_700_000_000_000 + i64::from(seq))
}

fn row(run: RunId) -> RunRow {
    RunRow {
        id: run,
        workflow: workflow_id(7),
        name: "water".to_owned(),
        definition: DefinitionHash::of("steps: []"),
        status: RunStatus::Pending,
        detail: None,
        created_at: at(0),
        finished_at: None,
    }
}

fn insert(run: RunId) -> Op {
    Op::RunInsert { row: row(run), idempotency: None, created: None }
}

fn created(run: RunId) -> Record {
    let row = row(run);
    let body = RecordBody::RunCreated(Box::new(RunCreated {
        workflow: row.workflow,
        name: row.name,
        definition: row.definition,
        inputs: Arc::new(json!({ "litres": 2.5 })),
        trigger: Trigger::Api,
        parent: None,
    }));
    Record { seq: 0, at: at(0), body }
}

fn place(node: u32) -> Place {
    Place { node: NodeId(node), path: Vec::new() }
}

fn step(seq: u32) -> Record {
    let body = RecordBody::StepStarted {
        place: place(seq),
        attempt: 1,
        key: EffectKey([seq as u8; 16]),
        input: Arc::new(json!({ "seq": seq })),
    };
    Record { seq, at: at(seq), body }
}

fn steps(from: u32, to: u32) -> Vec<Record> {
    (from..to).map(step).collect()
}

fn completed(seq: u32) -> Record {
    Record { seq, at: at(seq), body: RecordBody::RunCompleted { output: Arc::new(json!(null)) } }
}

fn finish(run: RunId, lsns: Vec<Lsn>) -> Op {
    Op::RunFinish { run, status: RunStatus::Completed, detail: None, at: at(99), lsns }
}

fn park(run: RunId, lsns: Vec<Lsn>) -> Op {
    Op::RunPark { run, status: RunStatus::Waiting, detail: Some("the sun".to_owned()), lsns }
}

fn places(first: Lsn, count: i64) -> Vec<Lsn> {
    (first.0..first.0 + count).map(Lsn).collect()
}
