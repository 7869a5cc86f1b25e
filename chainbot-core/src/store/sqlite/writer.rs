//! The one thread that writes.
//!
//! ```text
//! submitters ──► queue (bounded) ──► take one, drain the rest ──► one transaction ──► commit ──► acks, in
//! order
//!                                    while one fsync runs the next batches gather        └► checkpoint
//! when due
//! ```
//!
//! Invariants: an acknowledgement follows the commit that holds its batch. The first failure is final:
//! what is under
//! way and what is queued gets it, nothing is acknowledged after it, and the same fsync is never tried
//! again, since the
//! kernel may have dropped the pages. A full disk alone is no failure: see [`super::full`]. Acknowledgements are called with no lock held. The queue's lock is
//! held for a push
//! or a drain only; the chains' lock only while a transaction is filled; never both.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use super::chore::Chore;
use super::full::{Rooms, is_full, take_back};
use super::transaction::{Outcome, Transaction};
use crate::error::code::{general, store};
use crate::error::{Error, Result};
use crate::id::Lsn;
use crate::limits;
use crate::port::upkeep::Room;
use crate::store::batch::Work;
use crate::store::chain::Chains;
use crate::store::problem;
use crate::store::reserve::Reserve;

/// A running writer.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    id: ThreadId,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Something was queued, or the store closes.
    changed: Condvar,
    chains: Mutex<Chains>,
    failure: OnceLock<Arc<Error>>,
    rooms: Rooms,
}

#[derive(Default)]
struct Queue {
    works: VecDeque<Work>,
    records: usize,
    bytes: usize,
    /// Upkeep, each with who waits for it.
    chores: VecDeque<Errand>,
    closing: bool,
}

struct Errand {
    chore: Chore,
    done: mpsc::SyncSender<Result<u64>>,
}

/// What the thread does next.
enum Next {
    Commit(Vec<Work>),
    Chore(Errand),
}

impl Writer {
    /// Starts the thread, which owns the connection. `next` is the first free place in the journal.
    pub fn start(
        conn: Connection,
        next: Lsn,
        commit_delay: Duration,
        reserve: Option<Reserve>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            chains: Mutex::default(),
            failure: OnceLock::new(),
            rooms: Rooms::new(reserve),
        });
        let delay = commit_delay.min(Duration::from_millis(limits::COMMIT_DELAY_MS_MAX));
        let of_thread = shared.clone();
        // Joined by `close`, which dropping the store calls.
        let thread = std::thread::Builder::new()
            .name("chainbot-writer".to_owned())
            .spawn(move || of_thread.run(conn, next, delay))?;
        let id = thread.thread().id();
        Ok(Self { shared, thread: Mutex::new(Some(thread)), id })
    }

    /// Queues a batch.
    pub fn submit(&self, work: Work) -> Result<()> {
        let mut queue = self.shared.queue.lock();
        if let Some(failure) = self.shared.failure.get() {
            return Err(after(failure));
        }
        if queue.closing {
            return Err(problem::closed());
        }
        if self.shared.rooms.get() != Room::Enough && work.is_new() {
            return Err(problem::no_room());
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
        drop(queue);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Has a piece of upkeep done, and waits for it. Must not be called by an acknowledgement.
    pub fn chore(&self, chore: Chore) -> Result<u64> {
        let (done, waits) = mpsc::sync_channel(1);
        {
            let mut queue = self.shared.queue.lock();
            if let Some(failure) = self.shared.failure.get() {
                return Err(after(failure));
            }
            if queue.closing {
                return Err(problem::closed());
            }
            if queue.chores.len() >= limits::CHORES_QUEUED_MAX {
                return Err(
                    Error::new(&general::BUSY, "other upkeep is under way").help("try again in a moment")
                );
            }
            queue.chores.push_back(Errand { chore, done });
        }
        self.shared.changed.notify_one();
        waits.recv().unwrap_or_else(|_| Err(problem::closed()))
    }

    /// How much room the disk has.
    pub fn room(&self) -> Room {
        self.shared.rooms.get()
    }

    /// Makes the reserve again when there is room for it.
    pub fn restore_room(&self) -> Result<Room> {
        if self.shared.rooms.get() == Room::None {
            // When nobody writes, nobody finds out that there is room again.
            match self.chore(Chore::Probe) {
                Err(error) if *error.code() == store::FULL => return Ok(Room::None),
                tried => tried?,
            };
        }
        self.shared.rooms.restore()
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
        if std::thread::current().id() == self.id {
            return;
        }
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("the writer's thread ended with a panic");
        }
    }
}

impl Shared {
    fn run(&self, conn: Connection, mut next: Lsn, delay: Duration) {
        let mut checkpoints = Checkpoints { due: limits::WAL_PAGES_TARGET };
        let worked = catch_unwind(AssertUnwindSafe(|| {
            let mut since_chore = 0;
            while let Some(task) = self.take(delay, since_chore) {
                let done = match task {
                    Next::Commit(works) => {
                        since_chore += 1;
                        self.commit(&conn, &mut next, works)
                    }
                    Next::Chore(errand) => {
                        since_chore = 0;
                        self.run_errand(&conn, errand).map_continue(|is_done| {
                            if is_done {
                                self.rooms.committed();
                            }
                        })
                    }
                };
                if done.is_break() {
                    return;
                }
                match checkpoints.after_commit(&conn) {
                    // The log keeps what the database has no room for.
                    Err(error) if is_full(&error) => {}
                    Err(error) => {
                        self.fail(problem::write(error), Vec::new());
                        return;
                    }
                    Ok(()) => {}
                }
            }
        }));
        if worked.is_err() {
            self.fail(Error::new(&general::INTERNAL, "the writer's thread panicked"), Vec::new());
        }
        if let Err((_, error)) = conn.close() {
            log::warn!("closing the database: {error}");
        }
    }

    /// Waits for work and takes as much as one transaction holds. `None` when the store closes and all is
    /// done.
    fn take(&self, delay: Duration, since_chore: u32) -> Option<Next> {
        let mut queue = self.queue.lock();
        loop {
            // Upkeep is for idle time, and gets its turn without any as well.
            if (queue.works.is_empty() || since_chore >= limits::CHORE_COMMITS_MAX)
                && let Some(errand) = queue.chores.pop_front()
            {
                return Some(Next::Chore(errand));
            }
            if !queue.works.is_empty() {
                break;
            }
            if queue.closing {
                return None;
            }
            self.changed.wait(&mut queue);
        }
        if !delay.is_zero() {
            let until = Instant::now() + delay;
            while !queue.closing && !queue.fills_a_commit() {
                if self.changed.wait_until(&mut queue, until).timed_out() {
                    break;
                }
            }
        }
        Some(Next::Commit(queue.drain()))
    }

    /// One transaction, again and again while the disk is full. Breaks when it failed; then everybody has been told.
    fn commit(&self, conn: &Connection, next: &mut Lsn, mut works: Vec<Work>) -> ControlFlow<()> {
        while !works.is_empty() {
            let error = match self.try_commit(conn, *next, &mut works) {
                Ok((outcomes, after)) => {
                    *next = after;
                    self.rooms.committed();
                    for (work, outcome) in works.into_iter().zip(outcomes) {
                        let result = match outcome {
                            Outcome::Stored(lsn) => Ok(lsn),
                            Outcome::Refused(error) => Err(Arc::new(error)),
                        };
                        acknowledge(work, result);
                    }
                    return ControlFlow::Continue(());
                }
                Err(error) => error,
            };
            if *error.code() != store::FULL {
                self.fail(error, works);
                return ControlFlow::Break(());
            }
            works = match self.without_room(conn, works, error) {
                Some(works) => works,
                None => return ControlFlow::Break(()),
            };
        }
        ControlFlow::Continue(())
    }

    fn try_commit(&self, conn: &Connection, next: Lsn, works: &mut [Work]) -> Result<(Vec<Outcome>, Lsn)> {
        let filled = self.fill(conn, next, works)?;
        let mut commit = conn.prepare_cached("COMMIT").map_err(problem::write)?;
        commit.execute([]).map_err(problem::write)?;
        Ok(filled)
    }

    /// The disk was full: takes the transaction back, and says what to try again. Nothing of it was written, and nothing
    /// was acknowledged, so trying again is no second fsync of the same pages. `None` when the store failed.
    fn without_room(&self, conn: &Connection, works: Vec<Work>, error: Error) -> Option<Vec<Work>> {
        self.chains.lock().clear();
        if let Err(error) = take_back(conn) {
            self.fail(problem::write(error), works);
            return None;
        }
        if self.rooms.give_up_reserve() {
            return Some(works);
        }
        let (new, works): (Vec<Work>, Vec<Work>) = works.into_iter().partition(Work::is_new);
        let refused = Arc::new(problem::no_room());
        for work in new.into_iter().chain(self.queue.lock().take_new()) {
            acknowledge(work, Err(refused.clone()));
        }
        let mut errands = {
            let mut queue = self.queue.lock();
            if queue.chores.is_empty() && !queue.closing {
                self.changed.wait_for(&mut queue, Duration::from_millis(limits::ROOM_LOOK_MS));
            }
            if queue.closing {
                drop(queue);
                self.fail(error, works);
                return None;
            }
            std::mem::take(&mut queue.chores)
        };
        // Deleting may be what makes room, and the log may be where the room is.
        while let Some(errand) = errands.pop_front() {
            if self.run_errand(conn, errand).is_break() {
                return None;
            }
        }
        match checkpoint(conn, "PRAGMA wal_checkpoint(RESTART)") {
            Err(error) if !is_full(&error) => {
                self.fail(problem::write(error), works);
                None
            }
            _ => Some(works),
        }
    }

    /// A piece of upkeep in a transaction of its own. What it cannot do is taken back and told to who asked; only a
    /// transaction that cannot be ended is a failure of the store. Continues with whether it was done.
    fn run_errand(&self, conn: &Connection, errand: Errand) -> ControlFlow<(), bool> {
        let Errand { chore, done } = errand;
        let result = (|| {
            conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            let count = chore.apply(conn)?;
            conn.prepare_cached("COMMIT")?.execute([])?;
            Ok(count)
        })();
        let Err(error) = result else {
            // Whoever asked may have gone.
            let _ = done.send(result.map_err(problem::write));
            return ControlFlow::Continue(true);
        };
        if is_full(&error) {
            self.rooms.give_up_reserve();
        }
        // After an error of the disk nothing more can be said of what is on it.
        let is_final = matches!(
            error.sqlite_error_code(),
            Some(rusqlite::ErrorCode::SystemIoFailure | rusqlite::ErrorCode::DatabaseCorrupt)
        );
        let taken_back = take_back(conn);
        if is_final || taken_back.is_err() {
            self.fail(problem::write(taken_back.err().unwrap_or(error)), Vec::new());
            return ControlFlow::Break(());
        }
        let _ = done.send(Err(problem::write(error)));
        ControlFlow::Continue(false)
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
        for work in works.into_iter().chain(queued.works) {
            acknowledge(work, Err(failure.clone()));
        }
    }
}

impl Queue {
    /// What may be refused while there is no room.
    fn take_new(&mut self) -> Vec<Work> {
        let (new, rest): (VecDeque<Work>, VecDeque<Work>) =
            std::mem::take(&mut self.works).into_iter().partition(Work::is_new);
        self.works = rest;
        self.records = self.works.iter().map(|work| work.record_count).sum();
        self.bytes = self.works.iter().map(|work| work.bytes).sum();
        new.into()
    }

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
