//! What SQLite itself does with the same bytes: the rows that the engine has just written, written again.
//!
//! Two loops, each on a new file with the engine's schema and settings. [`submitters`] has as many tasks as there
//! were runs in parallel, each waiting for its commit, and one writer thread that commits whatever has gathered:
//! a group commit with nothing around it. [`one_loop`] has no tasks and no queue: one thread whose transactions hold
//! one batch of each run in parallel, which no engine that waits for its commits can reach.

use std::collections::{BTreeSet, VecDeque};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use rusqlite::{Connection, Statement, params};
use tokio::sync::oneshot;

use super::Outcome;
use super::load::{Done, STEPS};

const INSERT: &str = "INSERT INTO journal (lsn, run, seq, kind, node, path, ts, body) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const CREATE: &str = "INSERT INTO run (id, workflow, name, definition, status, parked, created_at, first_lsn, tail_lsn) \
     VALUES (?1, ?2, ?3, ?4, 0, 0, ?5, ?6, ?6)";
const FINISH: &str =
    "UPDATE run SET status = ?2, parked = 0, finished_at = ?3, tail_lsn = ?4, lsns = ?5 WHERE id = ?1";

/// Everything that a load has written, by run, cut into the batches in which a run's records were committed.
pub struct Script {
    schema: Vec<String>,
    runs: Vec<Arc<Run>>,
}

struct Run {
    id: Vec<u8>,
    workflow: Vec<u8>,
    name: String,
    definition: Vec<u8>,
    status: i64,
    created_at: i64,
    finished_at: Option<i64>,
    lsns: Option<Vec<u8>>,
    batches: Vec<Vec<Record>>,
}

struct Record {
    seq: i64,
    kind: i64,
    node: Option<i64>,
    path: Option<Vec<u8>>,
    ts: i64,
    body: Vec<u8>,
}

/// Numbers of records that began a batch. Seen from outside: records of one batch are neighbours in the journal, and
/// where other runs' records ever came between two records of a run, a commit was between them. So it takes a load
/// with several runs in parallel.
pub fn beginnings(done: &Done) -> Outcome<BTreeSet<i64>> {
    let conn = Connection::open(done.database())?;
    let mut statement = conn.prepare(
        "SELECT DISTINCT seq FROM (SELECT seq, lsn - lag(lsn) OVER (PARTITION BY run ORDER BY lsn) AS gap FROM journal) \
         WHERE gap IS NULL OR gap > 1",
    )?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

impl Script {
    /// Reads a load's database.
    pub fn of(done: &Done, beginnings: &BTreeSet<i64>) -> Outcome<Self> {
        let conn = Connection::open(done.database())?;
        let mut schema = conn.prepare(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name IN ('journal', 'run')",
        )?;
        let schema = schema.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        conn.execute_batch("CREATE INDEX bench_by_run ON journal(run)")?;
        let mut rows = conn.prepare(
            "SELECT id, workflow, name, definition, status, created_at, finished_at, lsns FROM run ORDER BY first_lsn",
        )?;
        let mut records =
            conn.prepare("SELECT seq, kind, node, path, ts, body FROM journal WHERE run = ?1 ORDER BY lsn")?;
        let read = rows.query_map([], |row| {
            Ok(Run {
                id: row.get(0)?,
                workflow: row.get(1)?,
                name: row.get(2)?,
                definition: row.get(3)?,
                status: row.get(4)?,
                created_at: row.get(5)?,
                finished_at: row.get(6)?,
                lsns: row.get(7)?,
                batches: Vec::new(),
            })
        })?;
        let mut runs = Vec::new();
        for run in read {
            let mut run = run?;
            for record in records.query_map([&run.id], record)? {
                let record = record?;
                if beginnings.contains(&record.seq) || run.batches.is_empty() {
                    run.batches.push(Vec::new());
                }
                run.batches.last_mut().ok_or("no batch")?.push(record);
            }
            runs.push(Arc::new(run));
        }
        Ok(Self { schema, runs })
    }

    /// Commits that one run waits for.
    pub fn batches_per_run(&self) -> usize {
        self.runs.first().map_or(0, |run| run.batches.len())
    }

    fn open(&self, folder: &Path) -> Outcome<Connection> {
        let conn = Connection::open(folder.join("raw.db"))?;
        conn.execute_batch(
            "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
             PRAGMA wal_autocheckpoint = 2048; PRAGMA foreign_keys = ON;",
        )?;
        for sql in &self.schema {
            conn.execute_batch(sql)?;
        }
        // As the engine does: commits go into blocks that the log's file has already.
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        let mut log = std::fs::OpenOptions::new().write(true).open(folder.join("raw.db-wal"))?;
        for _ in 0..1_024 {
            log.write_all(&[0; 4_096])?;
        }
        Ok(conn)
    }

    fn steps_per_s(&self, begun: Instant) -> f64 {
        (self.runs.len() * STEPS) as f64 / begun.elapsed().as_secs_f64()
    }
}

fn record(row: &rusqlite::Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        seq: row.get(0)?,
        kind: row.get(1)?,
        node: row.get(2)?,
        path: row.get(3)?,
        ts: row.get(4)?,
        body: row.get(5)?,
    })
}

/// One thread, one batch of each run in parallel per transaction. Steps in a second.
pub fn one_loop(home: &Path, script: &Script, parallel: usize) -> Outcome<f64> {
    let folder = tempfile::tempdir_in(home)?;
    let conn = script.open(folder.path())?;
    let mut sink = Sink::new(&conn)?;
    let begun = Instant::now();
    let mut waiting: VecDeque<&Arc<Run>> = script.runs.iter().collect();
    let mut at_work: Vec<(&Arc<Run>, usize)> = Vec::new();
    loop {
        at_work.retain(|(run, batch)| *batch < run.batches.len());
        while at_work.len() < parallel
            && let Some(run) = waiting.pop_front()
        {
            at_work.push((run, 0));
        }
        if at_work.is_empty() {
            return Ok(script.steps_per_s(begun));
        }
        sink.begin()?;
        for (run, batch) in &mut at_work {
            sink.batch(run, *batch)?;
            *batch += 1;
        }
        sink.commit()?;
    }
}

/// Times of commits of two records each, one after another, with the engine's schema and settings.
pub fn commits(home: &Path, count: usize) -> Outcome<Vec<f64>> {
    let done = super::load::run(
        home,
        &super::load::Load { shape: super::load::Shape::Journaled, runs: 2, parallel: 1 },
    )?;
    let script = Script::of(&done, &BTreeSet::new())?;
    let folder = tempfile::tempdir_in(home)?;
    let conn = script.open(folder.path())?;
    let mut sink = Sink::new(&conn)?;
    let run = script.runs.first().ok_or("no run")?;
    let records = run.batches.first().ok_or("no records")?;
    let pair = records.get(1..3).ok_or("too few records")?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        sink.begin()?;
        sink.records(&run.id, pair)?;
        sink.commit()?;
        times.push(begun.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// As many tasks as runs in parallel, one writer thread. Steps in a second.
pub fn submitters(home: &Path, script: &Script, parallel: usize) -> Outcome<f64> {
    let folder = tempfile::tempdir_in(home)?;
    let conn = script.open(folder.path())?;
    let queue = Arc::new(Queue::default());
    let writer = {
        let queue = queue.clone();
        std::thread::spawn(move || write(&conn, &queue))
    };
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let waiting = Arc::new(Mutex::new(script.runs.iter().cloned().collect::<VecDeque<_>>()));
    let begun = Instant::now();
    let submitted = tokio.block_on(async {
        let tasks: Vec<_> =
            (0..parallel).map(|_| tokio::spawn(submit(waiting.clone(), queue.clone()))).collect();
        for task in tasks {
            task.await??;
        }
        Outcome::Ok(())
    });
    let rate = script.steps_per_s(begun);
    queue.close()?;
    writer.join().map_err(|_| "the raw writer panicked")??;
    submitted.map(|()| rate)
}

async fn submit(waiting: Arc<Mutex<VecDeque<Arc<Run>>>>, queue: Arc<Queue>) -> Outcome<()> {
    loop {
        let next = waiting.lock().map_err(|_| "a task panicked")?.pop_front();
        let Some(run) = next else { return Ok(()) };
        for batch in 0..run.batches.len() {
            let (ack, committed) = oneshot::channel();
            queue.push((run.clone(), batch, ack))?;
            committed.await?;
        }
    }
}

type Submitted = (Arc<Run>, usize, oneshot::Sender<()>);

/// What waits for the writer.
#[derive(Default)]
struct Queue {
    inner: Mutex<(Vec<Submitted>, bool)>,
    more: Condvar,
}

impl Queue {
    fn push(&self, submitted: Submitted) -> Outcome<()> {
        self.inner.lock().map_err(|_| "the writer panicked")?.0.push(submitted);
        self.more.notify_one();
        Ok(())
    }

    fn close(&self) -> Outcome<()> {
        self.inner.lock().map_err(|_| "the writer panicked")?.1 = true;
        self.more.notify_one();
        Ok(())
    }

    /// Everything that has gathered; `None` when closed.
    fn take(&self) -> Outcome<Option<Vec<Submitted>>> {
        let mut inner = self.inner.lock().map_err(|_| "a submitter panicked")?;
        while inner.0.is_empty() {
            if inner.1 {
                return Ok(None);
            }
            inner = self.more.wait(inner).map_err(|_| "a submitter panicked")?;
        }
        Ok(Some(std::mem::take(&mut inner.0)))
    }
}

fn write(conn: &Connection, queue: &Queue) -> Outcome<()> {
    let mut sink = Sink::new(conn)?;
    while let Some(gathered) = queue.take()? {
        sink.begin()?;
        for (run, batch, _) in &gathered {
            sink.batch(run, *batch)?;
        }
        sink.commit()?;
        for (_, _, ack) in gathered {
            // A submitter that is gone has failed, and says so itself.
            let _ = ack.send(());
        }
    }
    Ok(())
}

/// Prepared statements, and the next free place.
struct Sink<'a> {
    begin: Statement<'a>,
    commit: Statement<'a>,
    insert: Statement<'a>,
    create: Statement<'a>,
    finish: Statement<'a>,
    next: i64,
}

impl<'a> Sink<'a> {
    fn new(conn: &'a Connection) -> Outcome<Self> {
        Ok(Self {
            begin: conn.prepare("BEGIN IMMEDIATE")?,
            commit: conn.prepare("COMMIT")?,
            insert: conn.prepare(INSERT)?,
            create: conn.prepare(CREATE)?,
            finish: conn.prepare(FINISH)?,
            next: 1,
        })
    }

    fn begin(&mut self) -> Outcome<()> {
        self.begin.execute([])?;
        Ok(())
    }

    fn commit(&mut self) -> Outcome<()> {
        self.commit.execute([])?;
        Ok(())
    }

    fn records(&mut self, run: &[u8], records: &[Record]) -> Outcome<()> {
        for record in records {
            let Record { seq, kind, node, path, ts, body } = record;
            self.insert.execute(params![self.next, run, seq, kind, node, path, ts, body])?;
            self.next += 1;
        }
        Ok(())
    }

    fn batch(&mut self, run: &Run, batch: usize) -> Outcome<()> {
        let first = self.next;
        self.records(&run.id, &run.batches[batch])?;
        if batch == 0 {
            self.create.execute(params![
                run.id,
                run.workflow,
                run.name,
                run.definition,
                run.created_at,
                first
            ])?;
        }
        if batch + 1 == run.batches.len() {
            self.finish.execute(params![run.id, run.status, run.finished_at, self.next, run.lsns])?;
        }
        Ok(())
    }
}
