//! The one place that writes: a thread, and whoever may wait for the disk.
//!
//! ```text
//! submitters ──► queue (bounded) ──► take one, drain the rest ──► one transaction ──► commit ──► acks, in order
//!                                    while one fsync runs the next batches gather        └► checkpoint when due
//! ```
//!
//! A thread that submits and may wait (a worker) commits by itself when nobody else is at it: the queue is the same, and so is
//! the order, but nobody need be woken first. It makes one commit; what has gathered meanwhile, upkeep, and a disk without room
//! are the writer's thread's.
//!
//! Invariants: only who holds the desk writes or acknowledges, so both are in the order of the journal. An acknowledgement
//! follows the commit that holds its batch. The first failure is final: what is under way and what is queued gets it, nothing is
//! acknowledged after it, and the same fsync is never tried again, since the kernel may have dropped the pages. A full disk
//! alone is no failure: see [`super::full`]. Acknowledgements are called with no lock held but the desk, for which nobody
//! waits but the writer's own thread. The queue's lock is held for a push or a drain only; the chains' lock only while a
//! transaction is filled; never both.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use super::checkpoint::{Checkpoints, checkpoint};
use super::chore::Chore;
use super::full::{Rooms, is_full, take_back};
use super::queue::{Errand, Queue};
use super::transaction::{Outcome, Transaction};
use crate::error::code::{general, store};
use crate::error::{Error, Result};
use crate::id::Lsn;
use crate::limits;
use crate::meter::Meters;
use crate::port::upkeep::Room;
use crate::store::batch::Work;
use crate::store::chain::Chains;
use crate::store::problem;
use crate::store::reserve::Reserve;

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
    rooms: Rooms,
    /// Taken by who commits. Empty when the store is closed.
    desk: Mutex<Option<Desk>>,
    /// Who commits now: an acknowledgement that closes the store must not wait for its own thread.
    who: Mutex<Option<ThreadId>>,
    delay: Duration,
    /// Readers that stay for long.
    pins: Arc<AtomicUsize>,
    meters: Arc<Meters>,
}

/// A reader that stays for long, until this is dropped.
pub struct Pinned(Arc<AtomicUsize>);

impl Drop for Pinned {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a commit needs.
struct Desk {
    conn: Connection,
    /// The first free place in the journal.
    next: Lsn,
    checkpoints: Checkpoints,
}

/// What became of a turn at the desk.
enum Turn {
    Done,
    /// The disk is full: the batches are in the queue again, and the writer's thread sees to it.
    NoRoom,
    /// Nothing can be written any more.
    Failed,
}

impl Writer {
    /// Starts the thread, which owns the connection. `next` is the first free place in the journal.
    pub fn start(
        conn: Connection,
        next: Lsn,
        commit_delay: Duration,
        reserve: Option<Reserve>,
        meters: Arc<Meters>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            chains: Mutex::default(),
            failure: OnceLock::new(),
            rooms: Rooms::new(reserve),
            desk: Mutex::new(Some(Desk { conn, next, checkpoints: Checkpoints::new() })),
            who: Mutex::default(),
            delay: commit_delay.min(Duration::from_millis(limits::COMMIT_DELAY_MS_MAX)),
            pins: Arc::default(),
            meters,
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
        crate::fault!("writer.submit", problem::read_on_purpose);
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
        if queue.is_full_for(&work) {
            return Err(
                Error::new(&general::BUSY, "the queue of writes is full").help("try again in a moment")
            );
        }
        queue.push(work);
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

    /// Lets the log grow, rather than commits wait, until the value is dropped.
    pub fn pin_log(&self) -> Pinned {
        self.shared.pins.fetch_add(1, Ordering::SeqCst);
        Pinned(self.shared.pins.clone())
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
    /// the thread, which is its own; the flag says whether the database is closed.
    pub fn close(&self) -> bool {
        self.shared.queue.lock().closing = true;
        self.shared.changed.notify_one();
        if *self.shared.who.lock() == Some(std::thread::current().id()) {
            return false;
        }
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("the writer's thread ended with a panic");
        }
        true
    }
}

impl Shared {
    /// The writer's thread.
    fn run(&self) {
        let mut since_chore = 0;
        while self.wait() {
            let mut desk = self.desk.lock();
            let (errand, works) = {
                let mut queue = self.queue.lock();
                // Upkeep is for idle time, and gets its turn without any as well.
                let is_its_turn = queue.works.is_empty() || since_chore >= limits::CHORE_COMMITS_MAX;
                match if is_its_turn { queue.chores.pop_front() } else { None } {
                    Some(errand) => (Some(errand), Vec::new()),
                    None => (None, queue.drain()),
                }
            };
            since_chore = if errand.is_some() { 0 } else { since_chore + 1 };
            let turn = self.at_desk(&mut desk, |desk| match errand {
                Some(errand) => self.run_errand(&desk.conn, errand).map_continue(|is_done| {
                    if is_done {
                        self.rooms.committed();
                    }
                }),
                None => self.commit(&desk.conn, &mut desk.next, works),
            });
            if matches!(turn, Turn::Failed) {
                break;
            }
        }
        let Some(desk) = self.desk.lock().take() else { return };
        crate::fault!("store.close");
        if let Err((_, error)) = desk.conn.close() {
            log::warn!("closing the database: {error}");
        }
    }

    /// One commit on the caller's thread. False when somebody else is at it, or when there is more to do than that.
    fn help(&self) -> bool {
        let Some(mut desk) = self.desk.try_lock() else { return false };
        let works = self.queue.lock().drain();
        let turn = match works.is_empty() {
            true => Turn::Done,
            false => self.commit_once(&mut desk, works),
        };
        drop(desk);
        let queue = self.queue.lock();
        matches!(turn, Turn::Done) && queue.works.is_empty() && queue.chores.is_empty()
    }

    /// One try. Without room the batches go back to where they were.
    fn commit_once(&self, desk: &mut Option<Desk>, mut works: Vec<Work>) -> Turn {
        let mut is_full = false;
        let turn = self.at_desk(desk, |desk| match self.try_commit(&desk.conn, desk.next, &mut works) {
            Ok((outcomes, after)) => {
                desk.next = after;
                self.committed(works, outcomes);
                ControlFlow::Continue(())
            }
            Err(error) if *error.code() == store::FULL => {
                let Some(works) = self.take_back(&desk.conn, works) else { return ControlFlow::Break(()) };
                is_full = true;
                self.queue.lock().put_back(works);
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.fail(error, works);
                ControlFlow::Break(())
            }
        });
        if is_full { Turn::NoRoom } else { turn }
    }

    /// Work at the desk, and then a look after the log.
    fn at_desk(&self, desk: &mut Option<Desk>, work: impl FnOnce(&mut Desk) -> ControlFlow<()>) -> Turn {
        let Some(desk) = desk.as_mut() else { return Turn::Failed };
        *self.who.lock() = Some(std::thread::current().id());
        let worked = catch_unwind(AssertUnwindSafe(|| {
            if work(desk).is_break() {
                return Turn::Failed;
            }
            match desk.checkpoints.after_commit(&desk.conn, self.pins.load(Ordering::SeqCst) > 0) {
                Ok(()) => Turn::Done,
                // The log keeps what the database has no room for.
                Err(error) if is_full(&error) => Turn::Done,
                Err(error) => {
                    self.fail(problem::write(error), Vec::new());
                    Turn::Failed
                }
            }
        }));
        *self.who.lock() = None;
        worked.unwrap_or_else(|_| {
            self.fail(Error::new(&general::INTERNAL, "the writer panicked"), Vec::new());
            Turn::Failed
        })
    }

    /// Waits for work, and as long as work may gather. False when the store closes and all is done.
    fn wait(&self) -> bool {
        let mut queue = self.queue.lock();
        while queue.works.is_empty() && queue.chores.is_empty() {
            if queue.closing || self.failure.get().is_some() {
                return false;
            }
            self.changed.wait(&mut queue);
        }
        if !self.delay.is_zero() && queue.chores.is_empty() {
            let until = Instant::now() + self.delay;
            while !queue.closing && !queue.fills_a_commit() {
                if self.changed.wait_until(&mut queue, until).timed_out() {
                    break;
                }
            }
        }
        true
    }

    /// One transaction, again and again while the disk is full. Breaks when it failed; then everybody has been told.
    fn commit(&self, conn: &Connection, next: &mut Lsn, mut works: Vec<Work>) -> ControlFlow<()> {
        while !works.is_empty() {
            let error = match self.try_commit(conn, *next, &mut works) {
                Ok((outcomes, after)) => {
                    *next = after;
                    self.committed(works, outcomes);
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

    fn committed(&self, works: Vec<Work>, outcomes: Vec<Outcome>) {
        crate::fault!("journal.commit.acknowledge");
        self.rooms.committed();
        for (work, outcome) in works.into_iter().zip(outcomes) {
            let result = match outcome {
                Outcome::Stored(lsn) => Ok(lsn),
                Outcome::Refused(error) => Err(Arc::new(error)),
            };
            acknowledge(work, result);
        }
    }

    fn try_commit(&self, conn: &Connection, next: Lsn, works: &mut [Work]) -> Result<(Vec<Outcome>, Lsn)> {
        let begun = Instant::now();
        let filled = self.fill(conn, next, works)?;
        #[cfg(feature = "fault")]
        self.acknowledge_too_early(works, &filled.0);
        let mut commit = conn.prepare_cached("COMMIT").map_err(problem::write)?;
        crate::fault!("journal.commit.before", problem::write_on_purpose);
        commit.execute([]).map_err(problem::write)?;
        // As when the last flush answers with an error: what is on the disk, only the next start can say.
        crate::fault!("journal.commit.after", problem::write_on_purpose);
        let records = works.iter().map(|work| work.record_count).sum::<usize>();
        self.meters.commit_time.time(begun.elapsed());
        self.meters.commit_records.value(records as f64);
        self.meters.journal_records.add(records as u64);
        self.meters.journal_bytes.add(works.iter().map(|work| work.bytes as u64).sum());
        Ok(filled)
    }

    /// Undoes a transaction for which there was no room. `None` when the store failed.
    fn take_back(&self, conn: &Connection, works: Vec<Work>) -> Option<Vec<Work>> {
        self.chains.lock().clear();
        match take_back(conn) {
            Ok(()) => Some(works),
            Err(error) => {
                self.fail(problem::write(error), works);
                None
            }
        }
    }

    /// The disk was full: takes the transaction back, and says what to try again. Nothing of it was written, and nothing
    /// was acknowledged, so trying again is no second fsync of the same pages. `None` when the store failed.
    fn without_room(&self, conn: &Connection, works: Vec<Work>, error: Error) -> Option<Vec<Work>> {
        let works = self.take_back(conn, works)?;
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
            crate::fault!("chore.begin", problem::on_purpose);
            conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            let count = chore.apply(conn)?;
            crate::fault!("chore.commit.before", problem::on_purpose);
            conn.prepare_cached("COMMIT")?.execute([])?;
            crate::fault!("chore.commit.after", problem::on_purpose);
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

    /// A promise that is broken on purpose, for the tests that must notice.
    #[cfg(feature = "fault")]
    fn acknowledge_too_early(&self, works: &mut [Work], outcomes: &[Outcome]) {
        if !crate::sabotaged!("acknowledge-after-commit") {
            return;
        }
        for (work, outcome) in works.iter_mut().zip(outcomes) {
            if let Outcome::Stored(lsn) = outcome {
                std::mem::replace(&mut work.ack, Box::new(|_| {}))(Ok(*lsn));
            }
        }
        // A disk that takes its time, for the others to go on meanwhile.
        std::thread::sleep(Duration::from_millis(20));
    }

    fn fill(&self, conn: &Connection, next: Lsn, works: &mut [Work]) -> Result<(Vec<Outcome>, Lsn)> {
        crate::fault!("journal.append.begin", problem::write_on_purpose);
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
