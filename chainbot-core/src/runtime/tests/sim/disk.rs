//! The disk of a simulation: a store behind a queue that is committed when the world says so, and that fails as disks do.
//!
//! [`Disk`] outlives processes; a [`Queue`] is what one process has of it, and is lost with it.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use parking_lot::Mutex;
use tempfile::TempDir;

use crate::error::code::store as code;
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::model::{Record, RecordBody};
use crate::port::upkeep::Room;
use crate::port::{Batch, Op, Store};
use crate::store::memory::MemoryStore;
use crate::store::tests::through::Through;
use crate::store::{DataDir, OpenOptions, SqliteStore, check};

/// What is on it, and what was seen to be written.
pub struct Disk {
    kind: Kind,
    pub history: Mutex<History>,
}

enum Kind {
    Memory(Arc<MemoryStore>),
    Sqlite(TempDir, Mutex<Option<Arc<SqliteStore>>>),
}

/// Every record that was committed, seen from outside of the store.
#[derive(Default)]
pub struct History {
    pub runs: BTreeMap<RunId, Vec<Record>>,
    /// When anybody wants to read it.
    pub trace: Option<String>,
    pub commits: u64,
}

impl History {
    pub fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push_str(&line());
            trace.push('\n');
        }
    }

    fn take(&mut self, run: RunId, record: &Record) {
        let records = self.runs.entry(run).or_default();
        assert_eq!(record.seq as usize, records.len(), "I1: run {run} has a gap: {record:?}");
        records.push(record.clone());
        self.say(|| {
            let mut text = format!("  {run} {} {} {:?}", record.seq, record.at, record.body);
            let end = text.floor_char_boundary(text.len().min(400));
            text.truncate(end);
            text
        });
    }
}

impl Disk {
    pub fn new(is_sqlite: bool, traced: bool) -> Arc<Self> {
        let kind = match is_sqlite {
            false => Kind::Memory(MemoryStore::without_thread()),
            // In memory where there is such a folder: what a disk forgets is not the question here.
            true => {
                let shm = PathBuf::from("/dev/shm");
                let folder = if shm.is_dir() { TempDir::new_in(shm) } else { TempDir::new() };
                Kind::Sqlite(folder.expect("a folder"), Mutex::new(None))
            }
        };
        let history = History { trace: traced.then(String::new), ..History::default() };
        Arc::new(Self { kind, history: Mutex::new(history) })
    }

    /// What a new process finds.
    pub fn open(self: &Arc<Self>) -> Arc<Queue> {
        let inner: Arc<dyn Store> = match &self.kind {
            Kind::Memory(store) => store.clone(),
            Kind::Sqlite(folder, open) => {
                let mut open = open.lock();
                if let Some(old) = open.take() {
                    old.close();
                }
                let data_dir = Arc::new(DataDir::open(folder.path(), "test").expect("the folder"));
                let store = SqliteStore::open(OpenOptions::new(data_dir)).expect("the database");
                *open = Some(store.clone());
                store
            }
        };
        Arc::new(Queue {
            disk: self.clone(),
            inner,
            batches: Mutex::default(),
            is_inline: AtomicBool::new(false),
            is_at_desk: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            failed: Mutex::default(),
        })
    }

    /// A process is gone, and with it its lock of the folder.
    pub fn release(&self) {
        if let Kind::Sqlite(_, open) = &self.kind
            && let Some(store) = open.lock().take()
        {
            store.close();
        }
    }

    /// What the store itself says of its invariants.
    pub fn violations(&self) -> Vec<String> {
        match &self.kind {
            Kind::Memory(_) => Vec::new(),
            Kind::Sqlite(_, open) => {
                let open = open.lock();
                let found = check(open.as_ref().expect("it is open")).expect("it can be read");
                found.iter().map(ToString::to_string).collect()
            }
        }
    }
}

/// One process's side of the disk.
pub struct Queue {
    disk: Arc<Disk>,
    pub inner: Arc<dyn Store>,
    batches: Mutex<VecDeque<Batch>>,
    /// Whoever submits waits for the disk: everything is committed at once.
    is_inline: AtomicBool,
    /// Somebody commits at this moment.
    is_at_desk: AtomicBool,
    is_full: AtomicBool,
    failed: Mutex<Option<Arc<Error>>>,
}

impl Queue {
    /// How many batches could be committed.
    pub fn ready(&self) -> usize {
        match self.is_full.load(Ordering::SeqCst) {
            true => 0,
            false => self.batches.lock().len(),
        }
    }

    /// Commits the oldest batch and acknowledges it.
    pub fn commit_next(&self) {
        let batch = self.batches.lock().pop_front();
        if let Some(batch) = batch {
            self.write(batch);
        }
    }

    /// The thread that runs `work` waits for its own commits.
    pub fn inline<T>(&self, work: impl FnOnce() -> T) -> T {
        self.is_inline.store(true, Ordering::SeqCst);
        let done = work();
        self.is_inline.store(false, Ordering::SeqCst);
        done
    }

    /// The first commit that fails is the last. `written`: so many batches are on the disk all the same.
    pub fn fail(&self, written: usize) {
        let error = Arc::new(Error::new(&code::WRITE, "the simulated disk broke"));
        *self.failed.lock() = Some(error.clone());
        let batches = std::mem::take(&mut *self.batches.lock());
        for (index, batch) in batches.into_iter().enumerate() {
            if index < written {
                let Batch { run, records, ops, ack } = batch;
                self.write(Batch { run, records, ops, ack: Box::new(|_| {}) });
                ack(Err(error.clone()));
            } else {
                (batch.ack)(Err(error.clone()));
            }
        }
    }

    /// There is no room: what is new is refused, what is under way waits.
    pub fn fill(&self) {
        self.is_full.store(true, Ordering::SeqCst);
        let (new, rest): (VecDeque<Batch>, VecDeque<Batch>) =
            std::mem::take(&mut *self.batches.lock()).into_iter().partition(is_new);
        *self.batches.lock() = rest;
        for batch in new {
            (batch.ack)(Err(Arc::new(no_room())));
        }
    }

    /// There is room again.
    pub fn free(&self) {
        self.is_full.store(false, Ordering::SeqCst);
    }

    fn write(&self, batch: Batch) {
        let Batch { run, records, ops, ack } = batch;
        let seen: Vec<(RunId, Record)> = records
            .iter()
            .map(|record| (run, record.clone()))
            .chain(ops.iter().filter_map(|op| match op {
                Op::RunInsert { row, created: Some(created), .. } => Some((row.id, (**created).clone())),
                _ => None,
            }))
            .collect();
        let asked = self.disk.history.lock().trace.is_some().then(|| format!("{records:?} {ops:?}"));
        let (done, waits) = mpsc::channel();
        let disk = self.disk.clone();
        let written = self.inner.commit(Batch {
            run,
            records,
            ops,
            ack: Box::new(move |result| {
                {
                    let mut history = disk.history.lock();
                    history.commits += 1;
                    match &result {
                        Ok(first) => {
                            history.say(|| format!("commit {}", first.0));
                            seen.iter().for_each(|(run, record)| history.take(*run, record));
                        }
                        Err(error) => {
                            history.say(|| format!("not committed: {error}: {}", asked.unwrap_or_default()))
                        }
                    }
                }
                ack(result);
                // Whoever waits is the one who called.
                let _ = done.send(());
            }),
        });
        match written {
            Ok(()) => waits.recv().expect("every batch is acknowledged"),
            Err(error) => panic!("a batch was not taken: {error}"),
        }
    }
}

fn is_new(batch: &Batch) -> bool {
    let makes = |op: &Op| matches!(op, Op::WorkflowInsert { .. } | Op::WorkflowVersion { .. });
    batch.records.first().is_some_and(|first| matches!(first.body, RecordBody::RunCreated(_)))
        || batch.ops.iter().any(makes)
}

fn no_room() -> Error {
    Error::new(&code::FULL, "the simulated disk is full")
}

impl Through for Queue {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }

    fn submit(&self, batch: Batch) -> Result<()> {
        if let Some(failed) = &*self.failed.lock() {
            return Err(Error::new(failed.code(), failed.message()));
        }
        let is_full = self.is_full.load(Ordering::SeqCst);
        if is_full && is_new(&batch) {
            return Err(no_room());
        }
        // Nobody can wait here for what waits for room, so a full disk turns away whoever would.
        let is_inline = self.is_inline.load(Ordering::SeqCst);
        if is_full && is_inline {
            return Err(no_room());
        }
        self.batches.lock().push_back(batch);
        // What an acknowledgement submits is committed after it, by the same loop.
        if is_inline && !self.is_at_desk.swap(true, Ordering::SeqCst) {
            while self.ready() > 0 {
                self.commit_next();
            }
            self.is_at_desk.store(false, Ordering::SeqCst);
        }
        Ok(())
    }

    fn failed(&self) -> Option<Arc<Error>> {
        self.failed.lock().clone()
    }

    fn close(&self) {}

    fn room(&self) -> Room {
        if self.is_full.load(Ordering::SeqCst) { Room::None } else { Room::Enough }
    }

    fn restore_room(&self) -> Result<Room> {
        Ok(Through::room(self))
    }
}
