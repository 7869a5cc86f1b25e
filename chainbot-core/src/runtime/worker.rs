//! Worker threads: they decide, and evaluate expressions while they do.
//!
//! An expression that does not end takes its thread with it: after the limit the thread is written off, another takes its
//! place, and the step fails. Two such losses mean that something is wrong beyond one definition, and the engine stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::engine::Input;
use crate::engine::decide::Watch;
use crate::error::code::{expression, general};
use crate::error::{Error, Result};
use crate::limits;
use crate::model::Place;

use super::cell::{Cell, Mail};
use super::core::{Job, Runtime, Slot};
use super::load::Source;
use super::poison::Poison;

/// Deep values and long expressions recurse; see the shape check of expressions.
pub(super) const STACK_BYTES: usize = 8 * 1024 * 1024;
/// Threads that may be lost before the engine stops.
const WRITTEN_OFF_MAX: usize = 2;

/// What is known of a worker from outside.
pub(super) struct WorkerSlot {
    number: usize,
    /// Monotonic milliseconds plus one at which the present step was entered; 0 when none is.
    entered_ms: AtomicU64,
    is_written_off: AtomicBool,
    now: Mutex<Now>,
    env: crate::env::Env,
    poison: Poison,
    /// For delays between tries, whose only need is to differ; a call of the system for each decision would cost more
    /// than the decision.
    random: AtomicU64,
}

#[derive(Default)]
struct Now {
    cell: Option<Arc<Cell>>,
    place: Option<Place>,
}

impl WorkerSlot {
    /// A turn on a run begins.
    pub(super) fn begin(&self, cell: &Arc<Cell>) {
        self.now.lock().cell = Some(cell.clone());
    }

    /// When the present step was entered; 0 in none.
    pub(super) fn entered(&self) -> u64 {
        self.entered_ms.load(Ordering::Acquire)
    }

    /// The thread was given up: somebody else goes on with its run.
    pub(super) fn is_lost(&self) -> bool {
        self.is_written_off.load(Ordering::Acquire)
    }

    /// The next number of this worker's sequence (SplitMix64). Called by its own thread.
    pub(super) fn random(&self) -> u64 {
        let state = self.random.load(Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.store(state, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The turn is over.
    pub(super) fn end(&self) {
        let mut now = self.now.lock();
        self.entered_ms.store(0, Ordering::Release);
        if let (Some(cell), Some(place)) = (now.cell.take(), now.place.take()) {
            self.poison.survived(self.number, cell.id, &place);
        }
    }
}

impl Watch for WorkerSlot {
    fn entering(&self, place: &Place) {
        let mut now = self.now.lock();
        if let Some(cell) = &now.cell {
            self.poison.entering(self.number, cell.id, place);
        }
        now.place = Some(place.clone());
        self.entered_ms.store(self.env.monotonic().as_millis() as u64 + 1, Ordering::Release);
    }
}

impl Runtime {
    /// Starts one more worker.
    pub(super) fn spawn_worker(self: &Arc<Self>) -> Result<()> {
        let mut workers = self.workers.lock();
        let slot = self.worker_slot(workers.len());
        let (runtime, own) = (self.clone(), slot.clone());
        let thread = std::thread::Builder::new()
            .name(format!("cb-worker-{}", slot.number))
            .stack_size(STACK_BYTES)
            .spawn(move || runtime.work(&own))
            .map_err(|error| Error::new(&general::INTERNAL, "no thread can be started").because(error))?;
        workers.push(slot);
        // Joined by `stop`, written off ones excepted.
        self.threads.lock().push(thread);
        Ok(())
    }

    pub(super) fn worker_slot(&self, number: usize) -> Arc<WorkerSlot> {
        Arc::new(WorkerSlot {
            number,
            entered_ms: AtomicU64::new(0),
            is_written_off: AtomicBool::new(false),
            now: Mutex::default(),
            env: self.env.clone(),
            poison: self.poison.clone(),
            random: AtomicU64::new(self.env.below(u64::MAX)),
        })
    }

    fn work(self: &Arc<Self>, slot: &WorkerSlot) {
        while let Some(job) = self.jobs.next() {
            self.do_job(slot, job);
            if slot.is_written_off.load(Ordering::Acquire) {
                return;
            }
        }
    }

    pub(super) fn do_job(self: &Arc<Self>, slot: &WorkerSlot, job: Job) {
        match job {
            Job::Turn(cell) => self.turn_contained(slot, &cell),
            Job::Load(run, source) => {
                if let Some(cell) = self.load(run, source) {
                    self.turn_contained(slot, &cell);
                }
            }
        }
    }

    /// A panic ends one run's turn, not the worker.
    fn turn_contained(self: &Arc<Self>, slot: &WorkerSlot, cell: &Arc<Cell>) {
        let turn = std::panic::AssertUnwindSafe(|| self.turn(slot, cell));
        if std::panic::catch_unwind(turn).is_err() {
            slot.end();
            let error = Error::new(&general::INTERNAL, "a turn on it panicked; this is a bug in ChainBot");
            let mut body = cell.body.lock();
            if body.committing.is_none() {
                self.give_up(cell, &mut body, &error);
            } else {
                // Its row cannot be written while a batch is on its way; the next start takes it up.
                drop(body);
                self.not_committed(cell, Arc::new(error));
            }
            cell.mailbox.lock().is_scheduled = false;
        }
    }

    /// Looks for workers that do not come back from a step. Called by the timer thread several times a second.
    pub(super) fn watch_workers(self: &Arc<Self>) {
        let now = self.env.monotonic().as_millis() as u64 + 1;
        let workers: Vec<Arc<WorkerSlot>> = self.workers.lock().clone();
        for worker in workers {
            let entered = worker.entered();
            if entered != 0
                && now.saturating_sub(entered) > limits::EVALUATION_MS_MAX
                && let Some(cell) = self.write_off(&worker, entered)
            {
                self.replace_lost(&cell);
            }
        }
    }

    /// Gives up a thread that is in the step it entered then, and moves its run out of its reach. `None`: it came back meanwhile.
    pub(super) fn write_off(self: &Arc<Self>, worker: &WorkerSlot, entered: u64) -> Option<Arc<Cell>> {
        let mut cells = self.cells.lock();
        // While this is locked, the thread does not leave its step, so it either was here in time or finds its run gone.
        let now = worker.now.lock();
        let (cell, place) = (now.cell.clone()?, now.place.clone()?);
        if worker.entered() != entered || worker.is_written_off.swap(true, Ordering::AcqRel) {
            return None;
        }
        cell.is_dead.store(true, Ordering::SeqCst);
        let effects = std::mem::take(&mut *cell.effects.lock());
        // What the lost thread had taken is told again: ends of effects before its step fails, and events after it, for the
        // `when` of a wait may be what did not end.
        let is_end = |input: &Input| matches!(input, Input::EffectDone { .. });
        let (ends, events): (Vec<Input>, Vec<Input>) = cell.taken.lock().drain(..).partition(is_end);
        let settled = ends.into_iter().chain([Input::Stuck { place }]).chain(events);
        let mut mail: Vec<Mail> = settled.map(Mail::Settled).collect();
        mail.extend(cell.mailbox.lock().mail.drain(..));
        // The permit of the lost turn goes with the run.
        cells.insert(cell.id, Slot::Loading { mail, has_permit: true, effects });
        drop(now);
        Some(cell)
    }

    fn replace_lost(self: &Arc<Self>, cell: &Cell) {
        log::error!("run {}: an expression did not end; its thread is given up and the step fails", cell.id);
        let lost = self.written_off.fetch_add(1, Ordering::SeqCst) + 1;
        if lost >= WRITTEN_OFF_MAX {
            let message = format!("{lost} threads were lost to expressions that did not end");
            self.fail(Arc::new(
                Error::new(&expression::LOST, message).help("see the log for the runs and steps"),
            ));
            return;
        }
        if let Err(error) = self.spawn_worker() {
            self.fail(Arc::new(error));
            return;
        }
        self.jobs.push(Job::Load(cell.id, Source::Anywhere));
    }

    /// Starts a thread of the engine that `stop` joins. Without it the engine would be deaf or dumb and look well, so a panic of it
    /// ends the engine: whoever supervises the module starts it again.
    pub(super) fn spawn_thread(
        self: &Arc<Self>,
        name: &'static str,
        work: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) -> Result<()> {
        let runtime = self.clone();
        let contained = move || {
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&runtime))).is_err() {
                let message = format!("the thread {name} panicked; this is a bug in ChainBot");
                runtime.fail(Arc::new(
                    Error::new(&general::INTERNAL, message).help("see the log, and start again"),
                ));
            }
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK_BYTES)
            .spawn(contained)
            .map_err(|error| Error::new(&general::INTERNAL, "no thread can be started").because(error))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Ends the workers and joins those that still come back.
    pub(super) fn join_threads(&self, deadline: Duration) -> std::result::Result<(), usize> {
        // The machine's own time: threads of the system do not wait for a clock that a test holds still.
        let give_up = std::time::Instant::now() + deadline;
        let mut threads = std::mem::take(&mut *self.threads.lock());
        while !threads.is_empty() {
            let (ended, running): (Vec<_>, Vec<_>) =
                threads.drain(..).partition(|thread| thread.is_finished());
            for thread in ended {
                // A worker contains its panics, so there is nothing to learn from the result.
                let _ = thread.join();
            }
            threads = running;
            let lost = self.written_off.load(Ordering::SeqCst);
            if threads.len() <= lost {
                return Ok(());
            }
            if std::time::Instant::now() >= give_up {
                let left = threads.len() - lost;
                // The next stop joins them.
                self.threads.lock().append(&mut threads);
                return Err(left);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}
