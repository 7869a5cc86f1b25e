//! The lane: one effect at a time, on a thread that also works on the effect's run.
//!
//! ```text
//! on the lane's thread:   reply ──► turn ──► commit ──► next request
//! the usual way:          reply (async thread) ──► turn, commit (worker) ──► next request (async thread)
//! ```
//!
//! A run alone spends much of the time between two effects on waking threads that sleep. The lane has a small async runtime
//! that nobody else uses, so it may wait for the disk; the stack of a worker, and the same watch over it.
//!
//! Invariants: at most one effect is on the lane. It keeps its seat until the turn that its reply makes is over, so a turn
//! on the lane delays no other run's effect, and an expression that does not end takes none with it. When others wait for a
//! worker, the reply stands in line with them. Connections of the lane are its own, because their tasks live on its runtime.

use std::sync::Arc;
use std::thread::ThreadId;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::error::code::general;
use crate::error::{Error, Result};
use crate::step::Executors;

use super::cell::{Cell, Mail};
use super::core::{Job, Runtime, Slot};
use super::effects::Running;
use super::worker::{STACK_BYTES, WorkerSlot};

/// What waits for the lane's thread: the reply of the one effect, and the wish that the thread ends.
const WORDS_MAX: usize = 2;

/// Whether there may be a lane, and where it is. It is made for the first effect.
#[derive(Default)]
pub(super) enum Door {
    /// The runtime does not take work, or not yet.
    #[default]
    Shut,
    Open,
    Behind(Arc<Lane>),
}

/// The lane as the others see it.
pub(super) struct Lane {
    pub(super) tokio: Handle,
    pub(super) executors: Executors,
    thread: ThreadId,
    slot: Arc<WorkerSlot>,
    is_taken: Mutex<bool>,
    /// The seat of the effect whose reply is worked on: the next effect of the same run may have it.
    spare: Mutex<Option<Seat>>,
    words: mpsc::Sender<Word>,
}

/// The right to be on the lane.
pub(super) struct Seat(Arc<Lane>);

enum Word {
    Reply { cell: Arc<Cell>, mail: Mail, seat: Seat, running: Running },
    End,
}

#[cfg(test)]
impl Lane {
    pub(super) fn is_taken(&self) -> bool {
        *self.is_taken.lock()
    }
}

impl Seat {
    pub(super) fn lane(&self) -> &Arc<Lane> {
        &self.0
    }

    /// The effect is over: the lane's thread works on its run.
    pub(super) fn reply(self, cell: Arc<Cell>, mail: Mail, running: Running) {
        let words = self.0.words.clone();
        // Without a thread there is nobody to tell: the engine has stopped.
        let _ = words.try_send(Word::Reply { cell, mail, seat: self, running });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *self.0.is_taken.lock() = false;
    }
}

impl Runtime {
    /// From here on effects may take the lane.
    pub(super) fn open_lane(&self) {
        *self.lane.lock() = Door::Open;
    }

    /// Ends the lane's thread, and the effect that is on it.
    pub(super) fn close_lane(&self) {
        if let Door::Behind(lane) = std::mem::take(&mut *self.lane.lock()) {
            // It was told already, or has ended.
            let _ = lane.words.try_send(Word::End);
        }
    }

    /// The lane's thread did not come back. True when this worker was it; the next effect makes another one.
    pub(super) fn lane_is_lost(&self, worker: &Arc<WorkerSlot>) -> bool {
        let mut door = self.lane.lock();
        let is_lane = matches!(&*door, Door::Behind(lane) if Arc::ptr_eq(&lane.slot, worker));
        if is_lane {
            *door = Door::Open;
        }
        is_lane
    }

    /// A seat on the lane, when it is free.
    pub(super) fn seat(self: &Arc<Self>) -> Option<Seat> {
        let mut door = self.lane.lock();
        if matches!(&*door, Door::Open) {
            match self.make_lane() {
                Ok(lane) => *door = Door::Behind(lane),
                Err(error) => log::warn!("effects go the usual way: {error}"),
            }
        }
        let Door::Behind(lane) = &*door else { return None };
        if lane.thread == std::thread::current().id() {
            return lane.spare.lock().take();
        }
        let was_taken = std::mem::replace(&mut *lane.is_taken.lock(), true);
        (!was_taken).then(|| Seat(lane.clone()))
    }

    fn make_lane(self: &Arc<Self>) -> Result<Arc<Lane>> {
        let fail = |error: std::io::Error| {
            Error::new(&general::INTERNAL, "no thread for effects can be started").because(error)
        };
        let tokio = tokio::runtime::Builder::new_current_thread()
            .thread_name("cb-lane-blocking")
            .enable_all()
            .build()
            .map_err(fail)?;
        let handle = tokio.handle().clone();
        let (words, heard) = mpsc::channel(WORDS_MAX);
        let mut workers = self.workers.lock();
        let slot = self.worker_slot(workers.len());
        let (runtime, own) = (self.clone(), slot.clone());
        let thread = std::thread::Builder::new()
            .name("cb-lane".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || runtime.work_lane(&own, tokio, heard))
            .map_err(fail)?;
        workers.push(slot.clone());
        let lane = Lane {
            tokio: handle,
            executors: self.executors.apart(),
            thread: thread.thread().id(),
            slot,
            is_taken: Mutex::new(false),
            spare: Mutex::new(None),
            words,
        };
        // Joined by `stop`, unless it is written off.
        self.threads.lock().push(thread);
        Ok(Arc::new(lane))
    }

    fn work_lane(
        self: &Arc<Self>,
        slot: &WorkerSlot,
        tokio: tokio::runtime::Runtime,
        mut heard: mpsc::Receiver<Word>,
    ) {
        // Connections and effects go on while this waits, and stand still while a turn is made.
        while let Some(Word::Reply { cell, mail, seat, running }) = tokio.block_on(heard.recv()) {
            let lane = seat.lane().clone();
            *lane.spare.lock() = Some(seat);
            self.post_here(slot, &cell, mail, running);
            drop(lane.spare.lock().take());
            if slot.is_lost() {
                break;
            }
        }
        // A look-up of a name may take its time, and nobody waits for it any more.
        tokio.shutdown_background();
    }

    /// Puts mail into a run's mailbox and works on it, unless somebody does or others wait for a worker.
    fn post_here(self: &Arc<Self>, slot: &WorkerSlot, cell: &Arc<Cell>, mail: Mail, running: Running) {
        {
            // The map stays locked until the mail is in the mailbox: a run whose thread is lost changes its place in between.
            let cells = self.cells.lock();
            if !matches!(cells.get(&cell.id), Some(Slot::Live(live)) if Arc::ptr_eq(live, cell)) {
                drop(cells);
                self.post_wherever(cell, mail);
                return;
            }
            let mut mailbox = cell.mailbox.lock();
            mailbox.mail.push_back(mail);
            drop(cells);
            // After the reply is in the mailbox, so that a stop sees the one or the other.
            drop(running);
            if mailbox.is_scheduled || !self.wants_worker(cell, &mailbox) {
                return;
            }
            mailbox.is_scheduled = true;
            if !self.jobs.is_empty() {
                return self.jobs.push(Job::Turn(cell.clone()));
            }
        }
        self.turn_contained(slot, cell);
    }
}
