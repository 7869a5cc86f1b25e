//! One life of the process: a runtime without threads, and the pieces of work that its threads would do.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Defaults, Input};
use crate::env::{Env, SeededRandom, VirtualClock};
use crate::gpio::{Keeper, Pins};
use crate::net::testing::egress_to;
use crate::port::upkeep::Tidied;
use crate::port::{EventBus, Store};
use crate::runtime::cell::Mail;
use crate::runtime::outbox::{self, Told};
use crate::runtime::tests::{Keys, STEPPED};
use crate::runtime::trigger::watch::{self, Watch};
use crate::runtime::worker::WorkerSlot;
use crate::runtime::{Handle, Options, Runtime};
use crate::step::Executors;

use super::asks::Asks;
use super::disk::{Disk, Queue};
use super::outside::{Host, Outside};
use super::pins::Board;

/// Tasks that are ready run within so many turns of tokio.
const TOKIO_TURNS: usize = 3;

/// A running process.
pub struct Process {
    pub store: Arc<Queue>,
    pub runtime: Arc<Runtime>,
    pub handle: Handle,
    pub asks: Asks,
    pub pins: Arc<Pins>,
    keeper: Keeper,
    tokio: tokio::runtime::Runtime,
    slot: Arc<WorkerSlot>,
    watch: Watch,
    told: Told,
    round: Tidied,
}

/// What a thread would do after a piece of work.
pub enum Rest {
    /// Go on.
    No,
    /// Wait so long unless something comes.
    For(Duration),
}

impl Process {
    pub fn start(
        disk: &Arc<Disk>,
        clock: &Arc<VirtualClock>,
        outside: &Arc<Outside>,
        host: &Arc<Host>,
        board: &Board,
        seed: u64,
        runs_max: usize,
    ) -> Self {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("tokio");
        let env = Env::new(clock.clone(), Arc::new(SeededRandom::new(seed)));
        let store = disk.open();
        // Before any run or trigger, as the app does it.
        let pins = board.open(env.clone());
        let keeper = Keeper::of(pins.clone());
        let executors = Executors::new(Arc::new(egress_to(&[])), env.clone())
            .with_script(outside.clone())
            .with_pins(pins.clone());
        let host_bus: Arc<dyn EventBus> = host.clone();
        let options = Options {
            store: store.clone(),
            executors: Arc::new(executors),
            env,
            host_bus: Some(host_bus),
            defaults: Defaults::default(),
            runs_max,
            queued_max: 60,
            workers: STEPPED,
            poison_file: None,
            tokio: tokio.handle().clone(),
            signing_keys: Arc::new(Keys),
            known: Default::default(),
            pins: Some(pins.clone()),
            retention: Some(Default::default()),
            meters: Arc::default(),
        };
        let runtime = Runtime::recovered(options).expect("it starts");
        let told = runtime.outbox_left(runtime.outbox.as_ref().expect("a bus")).expect("it starts");
        runtime.spawn_ears();
        let watch = store.inline(|| runtime.triggers_left().expect("it starts"));
        let slot = runtime.worker_slot(0);
        let handle = Handle::new(runtime.clone());
        let asks = Asks::default();
        Self {
            store,
            runtime,
            handle,
            asks,
            pins,
            keeper,
            tokio,
            slot,
            watch,
            told,
            round: Tidied::default(),
        }
    }

    /// Jobs that stand in the queue of the workers.
    pub fn jobs(&self) -> usize {
        self.runtime.jobs.queue.lock().jobs.len()
    }

    /// A worker takes a job, whichever: workers overtake each other.
    pub fn job(&mut self, index: usize) {
        let job = self.runtime.jobs.queue.lock().jobs.remove(index);
        if let Some(job) = job {
            self.runtime.do_job(&self.slot, job);
        }
    }

    /// What the timer thread does: true when a run was woken.
    pub fn timer(&self) -> Result<(), Duration> {
        let (now, floor) = (self.runtime.env.now(), self.runtime.clock_floor());
        self.runtime.watch_store();
        self.runtime.watch_workers();
        let run = self.runtime.timers.poll(now, floor)?;
        self.runtime.deliver(run, Mail::Input(Input::Tick));
        Ok(())
    }

    pub fn triggers(&mut self) -> Rest {
        let (runtime, watch) = (&self.runtime, &mut self.watch);
        match self.store.inline(|| runtime.watch_once(watch)) {
            watch::Next::Go => Rest::No,
            watch::Next::Idle(time) => Rest::For(time),
            watch::Next::Later => Rest::For(Duration::from_millis(250)),
            watch::Next::End => Rest::For(Duration::MAX),
        }
    }

    pub fn outbox(&mut self) -> Rest {
        let store: Arc<dyn Store> = self.store.clone();
        let outbox = self.runtime.outbox.as_ref().expect("a bus");
        match outbox.deliver_next(&store, &mut self.told) {
            outbox::Next::Go => Rest::No,
            outbox::Next::Idle => Rest::For(Duration::MAX),
            outbox::Next::Later(time) => Rest::For(time),
            outbox::Next::End => Rest::For(Duration::MAX),
        }
    }

    pub fn upkeep(&mut self) {
        let keeper = self.runtime.keeper.as_ref().expect("a keeper");
        self.runtime.tidy_once(keeper, &mut self.round);
    }

    /// Effects and the delivery of events run until they wait.
    pub fn tasks(&self) {
        self.tokio.block_on(async {
            for _ in 0..TOKIO_TURNS {
                tokio::task::yield_now().await;
            }
        });
    }

    /// An orderly stop without patience; what is decided by then is committed.
    pub fn stop(self) {
        let _entered = self.tokio.enter();
        let mut stop = Box::pin(self.runtime.stop(Duration::ZERO));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        // The delivery of events is awaited: its task needs a turn.
        let is_over = (0..8).any(|_| {
            self.tasks();
            stop.as_mut().poll(&mut context).is_ready()
        });
        assert!(is_over, "the stop does not end");
        self.keeper.close();
        while self.store.ready() > 0 {
            self.store.commit_next();
        }
    }

    pub fn is_failed(&self) -> bool {
        self.runtime.failure().is_some()
    }
}
