//! The runtime's parts in one place, and the ways between them: to a run's mailbox, to the workers, to a halt.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::{Semaphore, watch};

use crate::engine::{Command, Defaults, Input};
use crate::env::Env;
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::gpio::Pins;
use crate::id::RunId;
use crate::limits;
use crate::meter::Meters;
use crate::port::upkeep::Retention;
use crate::port::{EventBus, Store, StoredListen};
use crate::step::Executors;
use crate::time::Timestamp;
use crate::validate::Known;

use super::admission::{Admission, Queued};
use super::bus::Bus;
use super::cell::{Cell, Effects, Mail};
use super::courier::Courier;
use super::ears::Ears;
use super::heads::Heads;
use super::keeper::Keeper;
use super::load::Source;
use super::outbox::Outbox;
use super::poison::Poison;
use super::programs::Programs;
use super::timer::Timers;
use super::worker::WorkerSlot;

/// What a runtime is made from.
pub struct Options {
    /// The journal.
    pub store: Arc<dyn Store>,
    /// Effects.
    pub executors: Arc<Executors>,
    /// Clock and randomness.
    pub env: Env,
    /// The host's bus; `None` when there is none.
    pub host_bus: Option<Arc<dyn EventBus>>,
    /// What definitions leave open.
    pub defaults: Defaults,
    /// Runs at work at once.
    pub runs_max: usize,
    /// Runs waiting for a permit.
    pub queued_max: usize,
    /// Threads that decide; 0 = one for each processor, at least two.
    pub workers: usize,
    /// Where the note of a step under evaluation is kept.
    pub poison_file: Option<PathBuf>,
    /// Where effects run.
    pub tokio: tokio::runtime::Handle,
    /// What signs incoming webhooks.
    pub signing_keys: Arc<dyn crate::port::SigningKeys>,
    /// What this machine has, for definitions that name it.
    pub known: Known,
    /// The configured pins, for triggers that watch them.
    pub pins: Option<Arc<Pins>>,
    /// What is kept for how long; `None` = everything, for good.
    pub retention: Option<Retention>,
    /// Where work is counted.
    pub meters: Arc<Meters>,
}

/// A running runtime. Ends by [`Runtime::stop`].
pub struct Runtime {
    pub(super) store: Arc<dyn Store>,
    pub(super) executors: Arc<Executors>,
    pub(super) env: Env,
    /// Replaced as a whole when the configuration changes; who decides takes what is there.
    pub(super) defaults: RwLock<Arc<Defaults>>,
    pub(super) meters: Arc<Meters>,
    pub(super) tokio: tokio::runtime::Handle,
    pub(super) programs: Programs,
    pub(super) published: super::published::Seen,
    /// Replaced as a whole when the constants change.
    pub(super) known: RwLock<Arc<Known>>,
    pub(super) pins: Option<Arc<Pins>>,
    pub(super) heads: Arc<Heads>,
    pub(super) admission: Admission,
    pub(super) bus: Bus,
    pub(super) outbox: Option<Outbox>,
    pub(super) timers: Timers,
    pub(super) triggers: super::trigger::Triggers,
    pub(super) gates: super::gates::Gates,
    pub(super) poison: Poison,
    pub(super) ears: Ears,
    pub(super) effects: Arc<Semaphore>,
    /// Previews and dry runs at once.
    pub(super) asides: Arc<Semaphore>,
    pub(super) effects_running: AtomicUsize,
    pub(super) parked: AtomicUsize,
    pub(super) written_off: AtomicUsize,
    pub(super) cells: Mutex<HashMap<RunId, Slot>>,
    pub(super) jobs: Jobs,
    pub(super) workers: Mutex<Vec<Arc<WorkerSlot>>>,
    pub(super) threads: Mutex<Vec<JoinHandle<()>>>,
    /// No new run, signal or cancellation is taken.
    pub(super) is_stopping: AtomicBool,
    /// Why nothing goes on; the value is set once.
    pub(super) failure: watch::Sender<Option<Arc<Error>>>,
    /// Idempotency keys under way, striped, so that two requests with one key follow each other.
    pub(super) keys: [tokio::sync::Mutex<()>; 64],
    /// Programs of runs that were shown lately.
    pub(super) shown: Mutex<HashMap<RunId, Arc<crate::engine::Program>>>,
    /// Changes of workflows follow each other.
    pub(super) workflows: tokio::sync::Mutex<()>,
    /// Upkeep of the store.
    pub(super) keeper: Option<Keeper>,
    /// Messages that leave after their steps.
    pub(super) courier: Courier,
    /// What the last process has left says that it is at least so late.
    pub(super) floor: Timestamp,
    /// Monotonic: when this process began.
    pub(super) began: Duration,
    /// Nothing has a thread of its own: a test takes every step.
    #[cfg(test)]
    pub(super) is_stepped: bool,
}

/// A run's place in the map.
pub(super) enum Slot {
    /// In memory.
    Live(Arc<Cell>),
    /// A worker is to read it; this came meanwhile. The flag: it has a permit. `effects` go on while it is read.
    Loading { mail: Vec<Mail>, has_permit: bool, effects: Effects },
}

impl Slot {
    pub(super) fn loading(mail: Vec<Mail>, has_permit: bool) -> Self {
        Self::Loading { mail, has_permit, effects: Effects::default() }
    }
}

/// What workers do next.
pub(super) enum Job {
    /// Work on a run's mail.
    Turn(Arc<Cell>),
    /// Read a run from the store.
    Load(RunId, Source),
}

/// The queue of the workers. Bounded by the runs in memory: each stands in it at most once.
#[derive(Default)]
pub(super) struct Jobs {
    pub(super) queue: Mutex<JobQueue>,
    more: Condvar,
}

#[derive(Default)]
pub(super) struct JobQueue {
    pub(super) jobs: VecDeque<Job>,
    is_closed: bool,
}

impl Jobs {
    pub(super) fn push(&self, job: Job) {
        self.queue.lock().jobs.push_back(job);
        self.more.notify_one();
    }

    /// Whether nobody waits for a worker. False once the workers are to end.
    pub(super) fn is_empty(&self) -> bool {
        let queue = self.queue.lock();
        queue.jobs.is_empty() && !queue.is_closed
    }

    /// Waits for a job; `None` when the workers are to end.
    pub(super) fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            if queue.is_closed {
                return None;
            }
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            self.more.wait(&mut queue);
        }
    }

    pub(super) fn close(&self) {
        self.queue.lock().is_closed = true;
        self.more.notify_all();
    }
}

impl Runtime {
    /// Puts mail into a run's mailbox; reads the run from the store first when it is not in memory.
    pub(super) fn deliver(self: &Arc<Self>, run: RunId, mail: Mail) {
        let mut cells = self.cells.lock();
        match cells.get_mut(&run) {
            Some(Slot::Live(cell)) => {
                let cell = cell.clone();
                self.post(&cell, mail);
            }
            Some(Slot::Loading { mail: waiting, .. }) => waiting.push(mail),
            None => {
                cells.insert(run, Slot::loading(vec![mail], false));
                self.jobs.push(Job::Load(run, Source::Anywhere));
            }
        }
    }

    /// Gives mail to a run wherever it is in memory: in this cell, or in the place that it has after its thread was lost. A
    /// run that left memory needs it no more.
    pub(super) fn post_wherever(&self, cell: &Arc<Cell>, mail: Mail) {
        match self.cells.lock().get_mut(&cell.id) {
            Some(Slot::Live(live)) => {
                let live = live.clone();
                self.post(&live, mail);
            }
            Some(Slot::Loading { mail: waiting, .. }) => waiting.push(mail),
            None => {}
        }
    }

    /// Puts mail into the mailbox of a run in memory.
    pub(super) fn post(&self, cell: &Arc<Cell>, mail: Mail) {
        let mut mailbox = cell.mailbox.lock();
        mailbox.mail.push_back(mail);
        self.schedule(cell, &mut mailbox);
    }

    /// Brings a run before the workers unless it stands there already.
    pub(super) fn schedule(&self, cell: &Arc<Cell>, mailbox: &mut super::cell::Mailbox) {
        if !mailbox.is_scheduled && self.wants_worker(cell, mailbox) {
            mailbox.is_scheduled = true;
            self.jobs.push(Job::Turn(cell.clone()));
        }
    }

    /// Whether a worker would find something to do.
    pub(super) fn wants_worker(&self, cell: &Cell, mailbox: &super::cell::Mailbox) -> bool {
        match cell.is_dead.load(Ordering::SeqCst) {
            // A run that was given up has nothing to do but to give back a permit that it still waited for.
            true => mailbox.permits > 0,
            false => mailbox.wants_worker(),
        }
    }

    /// A permit was given back: hands it to the next in the queue.
    pub(super) fn release_permit(self: &Arc<Self>) {
        match self.admission.release() {
            None => {}
            Some(next) => self.grant(next, Source::Queue),
        }
    }

    /// Whoever it is has a permit from here on. `source`: where a run is that is not in memory.
    pub(super) fn grant(self: &Arc<Self>, who: Queued, source: Source) {
        match who {
            Queued::Known(cell) => {
                let mut mailbox = cell.mailbox.lock();
                mailbox.permits += 1;
                mailbox.is_queued = false;
                self.schedule(&cell, &mut mailbox);
            }
            Queued::Fresh(run) => {
                let mut cells = self.cells.lock();
                match cells.get_mut(&run) {
                    Some(Slot::Live(cell)) => {
                        let mut mailbox = cell.mailbox.lock();
                        mailbox.permits += 1;
                        mailbox.mail.push_back(Mail::Input(Input::Admit));
                        self.schedule(cell, &mut mailbox);
                    }
                    Some(Slot::Loading { mail, has_permit, .. }) => {
                        mail.push(Mail::Input(Input::Admit));
                        if *has_permit {
                            drop(cells);
                            self.release_permit();
                        } else {
                            *has_permit = true;
                        }
                    }
                    None => {
                        let mail = vec![Mail::Input(Input::Admit)];
                        cells.insert(run, Slot::loading(mail, true));
                        self.jobs.push(Job::Load(run, source));
                    }
                }
            }
        }
    }

    /// A run exists on disk and wants to begin. `source` serves when it may do so at once.
    pub(super) fn admit(self: &Arc<Self>, run: RunId, source: Source) {
        if let Some(who) = self.admission.queue(Queued::Fresh(run)) {
            self.grant(who, source);
        }
    }

    /// A run in memory, or `None`.
    pub(super) fn live(&self, run: RunId) -> Option<Arc<Cell>> {
        match self.cells.lock().get(&run) {
            Some(Slot::Live(cell)) => Some(cell.clone()),
            _ => None,
        }
    }

    /// No timer or schedule fires while the wall clock stands before this: a machine without a clock of its own boots years
    /// back. Not for ever: what the last process has left may have been written while the clock stood years ahead, and
    /// nothing becomes due early by a clock that is behind.
    pub(super) fn clock_floor(&self) -> Timestamp {
        let runs = self.env.monotonic().saturating_sub(self.began);
        if runs >= Duration::from_secs(limits::CLOCK_WAIT_S) { Timestamp(i64::MIN) } else { self.floor }
    }

    /// Nothing goes on from here: a commit failed, or threads were lost.
    pub(super) fn fail(&self, error: Arc<Error>) {
        self.is_stopping.store(true, Ordering::SeqCst);
        let first = self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(error.clone());
            }
            first
        });
        if first {
            log::error!("the engine stops: {error}");
            self.jobs.close();
            // Nobody drives them any more, and the end of the process may be long in coming.
            if let Some(pins) = &self.pins {
                pins.close();
            }
        }
    }

    /// Ends everything when the store has failed, also when what failed belonged to no run in memory: a new run, a
    /// workflow, a cursor. Called by the timer thread several times a second.
    pub(super) fn watch_store(&self) {
        if self.failure().is_none()
            && let Some(error) = self.store.failed()
        {
            self.fail(error);
        }
    }

    /// Why nothing goes on.
    pub fn failure(&self) -> Option<Arc<Error>> {
        self.failure.borrow().clone()
    }

    /// Resolves when nothing can go on.
    pub async fn failed(&self) -> Arc<Error> {
        let mut failure = self.failure.subscribe();
        loop {
            if let Some(error) = failure.borrow_and_update().clone() {
                return error;
            }
            if failure.changed().await.is_err() {
                // The sender lives in `self`: this arm ends the wait only while `self` is going away.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Refuses new work while stopping.
    pub(super) fn check_open(&self) -> Result<()> {
        if let Some(failure) = self.failure() {
            return Err(Error::new(&general::STOPPING, format!("the engine has stopped: {failure}"))
                .help("see the log, mend the cause and start again"));
        }
        if self.is_stopping.load(Ordering::SeqCst) {
            return Err(
                Error::new(&general::STOPPING, "ChainBot is stopping").help("try again after the restart")
            );
        }
        Ok(())
    }

    /// Carries out what a decision asked for; its records are on disk.
    pub(super) fn command(self: &Arc<Self>, cell: &Arc<Cell>, command: Command) {
        match command {
            Command::Execute(execute) => self.execute(cell, execute),
            Command::Abort { place } => cell.effects.lock().abort(&place),
            Command::ResolveChild { place, workflow, inputs } => {
                let child = self.resolve_child(cell.workflow, &workflow, &inputs);
                self.post(cell, Mail::Input(Input::ChildReady { place, child }));
            }
            Command::Listen { topic, seq } => {
                let since = cell.lsns.lock().get(seq as usize).copied().unwrap_or_default();
                self.want(&topic);
                self.ears.listen(StoredListen { run: cell.id, seq, lsn: since, topic });
            }
            Command::Unlisten { seq } => self.ears.unlisten(cell.id, seq),

            Command::AdmitChild { run } => {
                crate::fault!("child.admit");
                self.entered(run, Source::Queue);
            }
            Command::CheckChild { run } => self.check_child(cell, run),
            Command::CancelChild { run, reason } => self.deliver(run, Mail::Input(Input::Cancel { reason })),
            Command::NotifyParent { parent, outcome } => {
                crate::fault!("child.notify");
                self.deliver(parent.run, Mail::Input(Input::ChildEnded { run: cell.id, outcome }));
            }
        }
    }
}

/// How many threads decide when nothing is said.
pub(super) fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, limits::WORKERS_MAX)
}
