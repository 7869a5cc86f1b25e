//! The one place that writes: a thread, and whoever may wait for the disk.
//!
//! ```text
//! submitters ──► queue (bounded) ──► take one, drain the rest ──► one transaction ──► commit ──► acks, in
//! order
//!                                    while one fsync runs the next batches gather        └► checkpoint
//! when due
//! ```
//!
//! A thread that submits and may wait (a worker) commits by itself when nobody else is at it: the queue is the same, and so is the
//! order, but nobody need be woken first. It makes one commit; what has gathered meanwhile is the writer's thread's.
//!
//! Invariants: only who holds the desk writes or acknowledges, so both are in the order of the journal. An acknowledgement follows the commit that holds its batch. The first failure is final:
//! what is under
//! way and what is queued gets it, nothing is acknowledged after it, and the same fsync is never tried
//! again, since the
//! kernel may have dropped the pages. Acknowledgements are called with no lock held but the desk, for which nobody waits but the
//! writer's own thread. The queue's lock is held for a push or a drain only; the chains' lock only while a transaction is filled;
//! never both.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use super::transaction::{Outcome, Transaction};
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::id::Lsn;
use crate::limits;
use crate::store::batch::Work;
use crate::store::chain::Chains;
use crate::store::problem;

/// A running writer.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Something was queued, or the store closes.
    changed: Condvar,
    chains: Mutex<Chains>,
    failure: OnceLock<Arc<Error>>,
    /// Taken by who commits. Empty when the store is closed.
    desk: Mutex<Option<Desk>>,
    /// Who commits now: an acknowledgement that closes the store must not wait for its own thread.
    at_desk: Mutex<Option<ThreadId>>,
    delay: Duration,
}

/// What a commit needs.
struct Desk {
    conn: Connection,
    /// The first free place in the journal.
    next: Lsn,
    checkpoints: Checkpoints,
}

#[derive(Default)]
struct Queue {
    works: VecDeque<Work>,
    records: usize,
    bytes: usize,
    closing: bool,
}

impl Writer {
    /// Starts the thread, which owns the connection. `next` is the first free place in the journal.
    pub fn start(conn: Connection, next: Lsn, commit_delay: Duration) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            chains: Mutex::default(),
            failure: OnceLock::new(),
            desk: Mutex::new(Some(Desk {
                conn,
                next,
                checkpoints: Checkpoints { due: limits::WAL_PAGES_TARGET },
            })),
            at_desk: Mutex::default(),
            delay: commit_delay.min(Duration::from_millis(limits::COMMIT_DELAY_MS_MAX)),
        });
        let of_thread = shared.clone();
        // Joined by `close`, which dropping the store calls.
        let thread =
            std::thread::Builder::new().name("chainbot-writer".to_owned()).spawn(move || of_thread.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Queues a batch for the writer's thread.
    pub fn submit(&self, work: Work) -> Result<()> {
        self.queue(work)?;
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Queues a batch and commits it when nobody else is at it. May wait for the disk.
    pub fn commit(&self, work: Work) -> Result<()> {
        self.queue(work)?;
        // Whoever holds the desk looks into the queue again before going away.
        if !self.shared.delay.is_zero() || !self.shared.help() {
            self.shared.changed.notify_one();
        }
        Ok(())
    }

    fn queue(&self, work: Work) -> Result<()> {
        let mut queue = self.shared.queue.lock();
        if let Some(failure) = self.shared.failure.get() {
            return Err(after(failure));
        }
        if queue.closing {
            return Err(problem::closed());
        }
        let full = queue.works.len() >= limits::WRITER_QUEUE_MAX
            || (!queue.works.is_empty() && queue.bytes + work.bytes > limits::WRITER_QUEUE_BYTES_MAX);
        if full {
            return Err(
                Error::new(&general::BUSY, "the queue of writes is full").help("try again in a moment")
            );
        }
        queue.records += work.record_count;
        queue.bytes += work.bytes;
        queue.works.push_back(work);
        Ok(())
    }

    /// Why nothing can be written any more.
    pub fn failed(&self) -> Option<Arc<Error>> {
        self.shared.failure.get().cloned()
    }

    /// Where chains are held.
    pub fn chains(&self) -> &Mutex<Chains> {
        &self.shared.chains
    }

    /// Commits what is queued and ends the thread. Called by an acknowledgement, it does not wait for
    /// the thread, which is its own.
    pub fn close(&self) {
        self.shared.queue.lock().closing = true;
        self.shared.changed.notify_one();
        if *self.shared.at_desk.lock() == Some(std::thread::current().id()) {
            return;
        }
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("the writer's thread ended with a panic");
        }
    }
}

impl Shared {
    /// The writer's thread.
    fn run(&self) {
        while self.wait() {
            let mut desk = self.desk.lock();
            let works = self.queue.lock().drain();
            if !works.is_empty() && !self.work(&mut desk, works) {
                break;
            }
        }
        let Some(desk) = self.desk.lock().take() else { return };
        if let Err((_, error)) = desk.conn.close() {
            log::warn!("closing the database: {error}");
        }
    }

    /// One commit on the caller's thread. False when somebody else is at it, or when there is more to do than that.
    fn help(&self) -> bool {
        let Some(mut desk) = self.desk.try_lock() else { return false };
        let works = self.queue.lock().drain();
        if !works.is_empty() {
            self.work(&mut desk, works);
        }
        drop(desk);
        self.queue.lock().works.is_empty()
    }

    /// Commits, acknowledges, looks after the log. False when nothing can be written any more.
    fn work(&self, desk: &mut Option<Desk>, works: Vec<Work>) -> bool {
        let Some(at) = desk.as_mut() else {
            self.fail(problem::closed(), works);
            return false;
        };
        *self.at_desk.lock() = Some(std::thread::current().id());
        let worked = catch_unwind(AssertUnwindSafe(|| {
            if self.commit(&at.conn, &mut at.next, works).is_break() {
                return false;
            }
            match at.checkpoints.after_commit(&at.conn) {
                Ok(()) => true,
                Err(error) => {
                    self.fail(problem::write(error), Vec::new());
                    false
                }
            }
        }));
        *self.at_desk.lock() = None;
        worked.unwrap_or_else(|_| {
            self.fail(Error::new(&general::INTERNAL, "the writer panicked"), Vec::new());
            false
        })
    }

    /// Waits for work, and as long as work may gather. False when the store closes and all is done.
    fn wait(&self) -> bool {
        let mut queue = self.queue.lock();
        while queue.works.is_empty() {
            if queue.closing || self.failure.get().is_some() {
                return false;
            }
            self.changed.wait(&mut queue);
        }
        if !self.delay.is_zero() {
            let until = Instant::now() + self.delay;
            while !queue.closing && !queue.fills_a_commit() {
                if self.changed.wait_until(&mut queue, until).timed_out() {
                    break;
                }
            }
        }
        true
    }

    /// One transaction. Breaks when it failed; then everybody has been told.
    fn commit(&self, conn: &Connection, next: &mut Lsn, mut works: Vec<Work>) -> ControlFlow<()> {
        let committed = self.fill(conn, *next, &mut works).and_then(|filled| {
            let mut commit = conn.prepare_cached("COMMIT").map_err(problem::write)?;
            commit.execute([]).map_err(problem::write)?;
            Ok(filled)
        });
        match committed {
            Ok((outcomes, after)) => {
                *next = after;
                for (work, outcome) in works.into_iter().zip(outcomes) {
                    let result = match outcome {
                        Outcome::Stored(lsn) => Ok(lsn),
                        Outcome::Refused(error) => Err(Arc::new(error)),
                    };
                    acknowledge(work, result);
                }
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.fail(error, works);
                ControlFlow::Break(())
            }
        }
    }

    fn fill(&self, conn: &Connection, next: Lsn, works: &mut [Work]) -> Result<(Vec<Outcome>, Lsn)> {
        let mut chains = self.chains.lock();
        let mut transaction = Transaction::begin(conn, &mut chains, next).map_err(problem::write)?;
        let outcomes = works.iter_mut().map(|work| transaction.add(work)).collect::<Result<Vec<_>>>()?;
        Ok((outcomes, transaction.next()))
    }

    /// Keeps the first failure and hands it to everybody who waits.
    fn fail(&self, error: Error, works: Vec<Work>) {
        let failure = self.failure.get_or_init(|| {
            log::error!("{error:?}");
            Arc::new(error)
        });
        let mut queue = self.queue.lock();
        let queued = std::mem::take(&mut *queue);
        queue.closing = queued.closing;
        drop(queue);
        // The writer's thread has nothing more to do.
        self.changed.notify_one();
        for work in works.into_iter().chain(queued.works) {
            acknowledge(work, Err(failure.clone()));
        }
    }
}

impl Queue {
    fn fills_a_commit(&self) -> bool {
        self.records >= limits::COMMIT_RECORDS_MAX || self.bytes >= limits::COMMIT_BYTES_MAX
    }

    /// At least one batch, then as many as fit.
    fn drain(&mut self) -> Vec<Work> {
        let (mut taken, mut records, mut bytes) = (Vec::new(), 0, 0);
        while let Some(work) = self.works.front() {
            let fits = records + work.record_count <= limits::COMMIT_RECORDS_MAX
                && bytes + work.bytes <= limits::COMMIT_BYTES_MAX;
            if !fits && !taken.is_empty() {
                break;
            }
            records += work.record_count;
            bytes += work.bytes;
            taken.extend(self.works.pop_front());
        }
        self.records -= records;
        self.bytes -= bytes;
        taken
    }
}

/// A panic of one listener must not take the journal from the others.
fn acknowledge(work: Work, result: std::result::Result<Lsn, Arc<Error>>) {
    let ack = work.ack;
    if catch_unwind(AssertUnwindSafe(|| ack(result))).is_err() {
        log::error!("an acknowledgement panicked");
    }
}

/// What a submitter is told after the failure: the same code, with the first failure as its cause.
fn after(failure: &Arc<Error>) -> Error {
    let message = format_args!("nothing can be written any more: {}", failure.message()).to_string();
    let error = Error::new(failure.code(), message).because(failure.clone());
    match failure.remedy() {
        Some(remedy) => error.help(remedy),
        None => error,
    }
}

/// Moves the write-ahead log into the database when it has grown.
struct Checkpoints {
    /// In pages of the log.
    due: i64,
}

impl Checkpoints {
    /// After acknowledgements, so that nobody waits for it. An error is final like a commit's: it is the
    /// same disk.
    fn after_commit(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        // Asks for the size and does nothing.
        let pages = checkpoint(conn, "PRAGMA wal_checkpoint(NOOP)")?;
        if pages < limits::WAL_PAGES_TARGET {
            self.due = limits::WAL_PAGES_TARGET;
        } else if pages >= self.due {
            // Past the cap, readers that follow each other without a break are waited for, within the lock
            // wait; otherwise the log would never begin anew.
            let pages = if pages >= limits::WAL_PAGES_MAX {
                checkpoint(conn, "PRAGMA wal_checkpoint(RESTART)")?
            } else {
                checkpoint(conn, "PRAGMA wal_checkpoint(PASSIVE)")?
            };
            // A reader in the way is no error; the next try comes when the log has grown as much again.
            self.due = pages + limits::WAL_PAGES_TARGET;
        }
        Ok(())
    }
}

/// Runs one of the checkpoint statements; pages in the log.
fn checkpoint(conn: &Connection, sql: &'static str) -> rusqlite::Result<i64> {
    conn.prepare_cached(sql)?.query_row([], |row| row.get(1))
}
