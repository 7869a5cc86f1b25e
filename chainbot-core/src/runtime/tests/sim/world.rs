//! What goes on next, and what goes wrong, by the dice.

mod people;
mod plan;

pub use plan::{Plan, Wrong};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::engine::decide::Failure;
use crate::engine::tests::driver::START;
use crate::engine::tests::generate::Dice;
use crate::engine::tests::interpret::{child, reply};
use crate::engine::{Input, RunState};
use crate::env::{Clock, VirtualClock};
use crate::id::RunId;
use crate::model::{EffectKey, Place, Record, RecordBody, RunCreated, StepError, StepStatus, Waiting};
use crate::port::Scope;
use crate::runtime::NewRun;
use crate::runtime::cell::Mail;
use crate::step::Effect;
use crate::time::Timestamp;

use super::asks::Done;
use super::disk::Disk;
use super::flows::{CHILD, Flows, MAIN, WATCHES};
use super::outside::{Host, Outside, Sent};
use super::pins::Board;
use super::process::{Process, Rest};
use super::service::Service;

/// A Pi without a clock, or with a wrong one.
pub const TEN_YEARS: i64 = 10 * 365 * 24 * 3_600 * 1_000;
/// Steps after which a case that does not come to rest is wrong.
const STEPS_MAX: usize = 60_000;

/// What goes wrong in a case. Not all of it in each: faults hide each other.
#[derive(Default)]
pub struct Faults {
    dies: bool,
    breaks: bool,
    fills: bool,
    jumps: bool,
    meddles: bool,
    doubles: bool,
    slow_disk: bool,
}

macro_rules! report {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// What happened in a case, or in many.
        #[derive(Default)]
        pub struct Report {
            pub trace: String,
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Report {
            pub fn add(&mut self, other: &Report) {
                $(self.$name += other.$name;)+
            }

            pub fn counts(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),+]
            }

            pub fn figures(&self) -> String {
                self.counts().iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
            }
        }
    };
}

report! {
    runs, records, effects, sent_again, deaths, stops, broken_commits, full_disks, clock_jumps, requests, refusals,
    cancels, pauses, retries, updates, outlived, answers, signals, doubled_answers, compared, compared_failures, triggered, told,
    /// What was done to pins, and what they did.
    switches, hands, edges,
    /// Outputs that were not at their safe level: when a process was killed, stopped, was dropped, and when its disk broke.
    left_on, stopped_on, dropped_on, broken_on,
}

pub struct World {
    pub seed: u64,
    pub dice: Dice,
    pub clock: Arc<VirtualClock>,
    pub disk: Arc<Disk>,
    pub outside: Arc<Outside>,
    pub host: Arc<Host>,
    pub board: Board,
    pub flows: Flows,
    pub process: Option<Process>,
    pub faults: Faults,
    /// Runs whose making was acknowledged.
    pub acked: BTreeMap<RunId, String>,
    pub acked_signals: Vec<(RunId, String)>,
    /// A person changed what becomes of it.
    pub touched: BTreeSet<RunId>,
    /// Attempts that were sent, by effect.
    pub ledger: std::collections::HashMap<(RunId, EffectKey), Vec<u32>>,
    /// Answers that were given, which may come again.
    given: Vec<(RunId, Place, u32, Result<Value, Failure>)>,
    pub report: Report,
    /// Who answers instead of the reference.
    pub service: Option<Service>,
    pub plan: Option<Plan>,
    pub signal_data: Option<Value>,
    /// What went wrong by plan: the step, its place and the effect.
    wronged: Vec<(RunId, Place)>,
    steps_sent: BTreeSet<String>,
    runs_max: usize,
    lives: u64,
    /// How long the threads would sleep.
    nap: Duration,
    is_calm: bool,
    number: u64,
    /// Runs that were taken up again when everything was over.
    retried: BTreeSet<RunId>,
    /// The run that was acknowledged last.
    pub last_started: Option<RunId>,
}

impl World {
    pub fn new(seed: u64, traced: bool, is_sqlite: bool) -> Self {
        let mut dice = Dice(seed ^ 0x5EED);
        let mut some = |n| dice.one_in(n);
        let faults = Faults {
            dies: some(2),
            breaks: some(3),
            fills: some(3),
            jumps: some(3),
            meddles: some(2),
            doubles: some(2),
            slow_disk: some(3),
        };
        let flows = Flows::new(seed, &mut dice);
        let runs_max = 1 + dice.below(4) as usize;
        Self::begin(seed, Disk::new(is_sqlite, traced), flows, faults, dice, runs_max)
    }

    /// A world in which nothing goes wrong by chance.
    pub fn over(seed: u64, flows: Flows, runs_max: usize) -> Self {
        Self::begin(seed, Disk::new(false, false), flows, Faults::default(), Dice(seed), runs_max)
    }

    fn begin(seed: u64, disk: Arc<Disk>, flows: Flows, faults: Faults, dice: Dice, runs_max: usize) -> Self {
        let clock = Arc::new(VirtualClock::at(START));
        let (outside, host, board) = (Arc::default(), Host::new(seed), Board::new(seed, &clock));
        let mut world = Self {
            seed,
            dice,
            clock,
            disk,
            outside,
            host,
            board,
            flows,
            process: None,
            faults,
            acked: BTreeMap::new(),
            acked_signals: Vec::new(),
            touched: BTreeSet::new(),
            ledger: Default::default(),
            given: Vec::new(),
            report: Report::default(),
            service: None,
            plan: None,
            signal_data: None,
            wronged: Vec::new(),
            steps_sent: BTreeSet::new(),
            runs_max,
            lives: 0,
            nap: Duration::ZERO,
            is_calm: true,
            number: 0,
            retried: BTreeSet::new(),
            last_started: None,
        };
        world.live();
        for source in world.flows.sources.clone() {
            let handle = world.process().handle.clone();
            world.process_mut().asks.push("deploy".to_owned(), false, async move {
                handle.create_workflow(&source, None).await.map(|_| Done::Other)
            });
            world.settle();
        }
        assert_eq!(world.report.refusals, 0, "a definition was refused");
        world
    }

    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    pub fn process_mut(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    pub fn say(&self, line: impl FnOnce() -> String) {
        self.disk.history.lock().say(line);
    }

    /// The next life of the process.
    fn live(&mut self) {
        self.lives += 1;
        let seed = self.seed.wrapping_mul(31).wrapping_add(self.lives);
        let (disk, clock, board) = (&self.disk, &self.clock, &self.board);
        self.process =
            Some(Process::start(disk, clock, &self.outside, &self.host, board, seed, self.runs_max));
        // Recovered runs go on after this.
        self.judge_pins("at a start");
        for (run, name) in &self.acked {
            let found = self.process().store.inner.run(&Scope::All, *run).expect("it can be read");
            assert!(found.is_some(), "I2: run {run} of {name} was acknowledged and is lost");
        }
    }

    /// The process is gone, with everything that was not on the disk.
    pub fn die(&mut self) {
        self.say(|| "dies".to_owned());
        self.report.deaths += 1;
        self.board.die();
        self.report.left_on += self.board.not_safe().len() as u64;
        drop(self.process.take());
        self.between();
    }

    /// Its parts are dropped, as after a panic of what holds them all.
    fn unwind(&mut self) {
        self.say(|| "unwinds".to_owned());
        self.report.deaths += 1;
        self.report.dropped_on += self.board.not_safe().len() as u64;
        drop(self.process.take());
        self.judge_pins("after an unwinding");
        self.between();
    }

    fn stop(&mut self) {
        self.say(|| "stops".to_owned());
        self.report.stops += 1;
        if let Some(process) = self.process.take() {
            process.store.free();
            self.report.stopped_on += self.board.not_safe().len() as u64;
            process.stop();
        }
        self.judge_pins("after a stop");
        self.between();
    }

    fn between(&mut self) {
        self.disk.release();
        self.outside.waiting.lock().clear();
        self.outside.at_pins.lock().clear();
        self.live();
    }

    /// One piece of work, whichever. False when nothing can be done before time passes.
    pub fn step(&mut self) -> bool {
        if self.process().is_failed() {
            self.judge_pins("when the engine cannot go on");
            self.die();
            return true;
        }
        self.process().tasks();
        self.see_sent();
        self.see_pins();
        let now = self.clock.monotonic();
        let is_ready = |sent: &Sent| sent.ready_at.is_some_and(|at| at <= now);
        let ready: Vec<usize> = {
            let waiting = self.outside.waiting.lock();
            waiting.iter().enumerate().filter(|(_, sent)| is_ready(sent)).map(|(index, _)| index).collect()
        };
        let process = self.process();
        let (jobs, commits, woken) = (process.jobs(), process.store.ready(), process.asks.woken());
        let weights = [
            if jobs > 0 { 4 } else { 0 },
            if commits > 0 { if self.faults.slow_disk && !self.is_calm { 1 } else { 4 } } else { 0 },
            if ready.is_empty() { 0 } else { 1 },
            if woken.is_empty() { 0 } else { 2 },
        ];
        let all: u64 = weights.iter().sum();
        if all == 0 || self.dice.one_in(12) {
            return self.threads() || all > 0;
        }
        let mut choice = self.dice.below(all);
        let kind = weights.iter().position(|weight| {
            let is_it = choice < *weight;
            choice = choice.saturating_sub(*weight);
            is_it
        });
        match kind {
            Some(0) => {
                let index = self.dice.below(jobs as u64) as usize;
                self.process_mut().job(index);
            }
            Some(1) => self.process().store.commit_next(),
            Some(2) => {
                let index = ready[self.dice.below(ready.len() as u64) as usize];
                self.answer_effect(index);
            }
            _ => {
                let index = woken[self.dice.below(woken.len() as u64) as usize];
                self.poll(index);
            }
        }
        true
    }

    /// What the threads of timers, triggers and the host's bus would do.
    fn threads(&mut self) -> bool {
        let mut nap = Duration::MAX;
        let mut did = false;
        match self.process().timer() {
            Ok(()) => did = true,
            Err(wait) => nap = nap.min(wait),
        }
        for rest in [self.process_mut().triggers(), self.process_mut().outbox()] {
            match rest {
                Rest::No => did = true,
                Rest::For(time) => nap = nap.min(time),
            }
        }
        let (rest, switched) = self.board.round(&self.process().pins);
        self.nap = nap.min(rest);
        did || switched
    }

    /// Until nothing can be done before time passes.
    pub fn settle(&mut self) {
        for _ in 0..STEPS_MAX {
            if !self.step() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// Time passes until something may happen; false when nothing is ever going to.
    fn pass_time(&mut self) -> bool {
        let now = self.clock.monotonic();
        let ready = self.outside.waiting.lock().iter().filter_map(|sent| sent.ready_at).min();
        let wait = self.nap.min(ready.map_or(Duration::MAX, |at| at.saturating_sub(now)));
        if wait == Duration::MAX {
            return false;
        }
        let wait = wait.max(Duration::from_millis(1));
        self.say(|| format!("{wait:?} pass"));
        self.clock.advance(wait);
        true
    }

    /// New effects get the moment of their answer; who sent them had the right to.
    fn see_sent(&mut self) {
        let mut waiting = std::mem::take(&mut *self.outside.waiting.lock());
        waiting.retain(|sent| !sent.is_given_up());
        let now = self.clock.monotonic();
        for sent in waiting.iter_mut().filter(|sent| sent.ready_at.is_none()) {
            let seconds = if self.dice.one_in(3) { self.dice.below(25) } else { 0 };
            sent.ready_at = Some(now + Duration::from_secs(seconds));
            let Effect { run, key, attempt, .. } = sent.effect;
            self.say(|| format!("sent {run} {key} try {attempt}"));
            self.check_sent(run, key, attempt);
        }
        *self.outside.waiting.lock() = waiting;
    }

    fn answer_effect(&mut self, index: usize) {
        let sent = self.outside.waiting.lock().remove(index);
        let Some(sent) = self.go_wrong(sent) else { return };
        let result = self.reply_to(&sent.effect);
        let Effect { run, key, attempt, .. } = sent.effect;
        self.say(|| {
            format!("answered {run} {key} try {attempt} {}", if result.is_ok() { "well" } else { "badly" })
        });
        if self.faults.doubles {
            let (place, _) = self.started(run, key);
            self.given.push((run, place, attempt, result.clone()));
        }
        sent.answer(result);
    }

    fn step_id(&self, run: RunId, place: &Place) -> String {
        let program = self.process().runtime.programs.get(self.created(run).definition);
        program.expect("its definition").node(place.node).id.clone()
    }

    /// Steps of which an effect was sent.
    pub fn steps_sent(&self) -> BTreeSet<String> {
        self.steps_sent.clone()
    }

    /// How often something went wrong by plan.
    pub fn wrongs(&self) -> usize {
        self.wronged.len()
    }

    /// Starts a run and works until nothing is left to do at once.
    pub fn start_and_wait(&mut self, name: &str, inputs: Value) -> RunId {
        let run = self.start_run(name, inputs);
        self.settle();
        run
    }

    /// Starts a run; it is on disk and may have begun.
    pub fn start_run(&mut self, name: &str, inputs: Value) -> RunId {
        self.start_keyed(name, inputs, None)
    }

    /// The same with an `Idempotency-Key`, which may have made a run before.
    pub fn start_keyed(&mut self, name: &str, inputs: Value, key: Option<&str>) -> RunId {
        let (handle, workflow) = (self.process().handle.clone(), name.to_owned());
        let idempotency_key = key.map(str::to_owned);
        self.process_mut().asks.push(format!("start {name}"), false, async move {
            let new = NewRun { workflow: workflow.clone(), inputs, idempotency_key };
            handle.start_run(new).await.map(|started| Done::Started(started.run.id, workflow))
        });
        while !self.process().asks.is_empty() {
            self.step();
        }
        self.last_started.expect("it is made")
    }

    /// The place of an effect whose start is on disk, and how often it failed there.
    fn started(&self, run: RunId, key: EffectKey) -> (Place, u32) {
        let history = self.disk.history.lock();
        let records = &history.runs[&run];
        let place = records.iter().find_map(|record| match &record.body {
            RecordBody::StepStarted { place, key: of, .. } if *of == key => Some(place.clone()),
            _ => None,
        });
        let place =
            place.unwrap_or_else(|| panic!("run {run}: effect {key} was sent before its start was on disk"));
        let failures = generation(records).iter().filter(
            |record| matches!(&record.body, RecordBody::AttemptFailed { place: of, .. } if *of == place),
        );
        let failures = failures.count() as u32;
        (place, failures)
    }

    fn created(&self, run: RunId) -> RunCreated {
        match &self.disk.history.lock().runs[&run][0].body {
            RecordBody::RunCreated(created) => (**created).clone(),
            other => panic!("run {run} does not begin with its creation: {other:?}"),
        }
    }

    fn reply_to(&mut self, effect: &Effect) -> Result<Value, Failure> {
        if let Some(service) = &mut self.service {
            return service.answer(effect);
        }
        let (place, failures) = self.started(effect.run, effect.key);
        let created = self.created(effect.run);
        if let (CHILD, Some(parent)) = (created.name.as_str(), &created.parent) {
            let id = self.step_id(parent.run, &parent.place);
            let code = &crate::error::code::run::STEP_INVALID;
            return child(self.seed, &id, &parent.place.path)
                .ok_or_else(|| StepError::new("http_4xx", code, "it broke").into());
        }
        let id = self.step_id(effect.run, &place);
        let chance = if created.name == MAIN { self.seed } else { self.dice.next() };
        reply(chance, &id, &place.path, failures).result().expect("an answer")
    }

    fn poll(&mut self, index: usize) {
        let process = self.process.as_mut().expect("it runs");
        let asks = &mut process.asks;
        let answered = match asks.blocks(index) {
            true => process.store.inline(|| asks.poll(index)),
            false => asks.poll(index),
        };
        let Some((label, result)) = answered else { return };
        self.say(|| match &result {
            Ok(done) => format!("{label}: {done:?}"),
            Err(error) => format!("{label}: {error}"),
        });
        self.report.requests += 1;
        match result {
            Ok(Done::Started(run, name)) => {
                self.last_started = Some(run);
                self.acked.insert(run, name);
            }
            Ok(Done::Signalled(run, key)) => {
                self.report.signals += 1;
                self.acked_signals.push((run, key));
            }
            Ok(Done::Cancelled) => self.report.cancels += 1,
            Ok(Done::Retried) => self.report.retries += 1,
            Ok(Done::Updated) => self.report.updates += 1,
            Ok(Done::Other) => {}
            Err(_) => self.report.refusals += 1,
        }
    }

    /// A time in which everything may happen.
    pub fn chaos(&mut self) {
        self.is_calm = false;
        for _ in 0..15 + self.dice.below(40) {
            for _ in 0..self.dice.below(24) {
                if !self.step() {
                    if self.dice.one_in(2) {
                        self.pass_time();
                    }
                    break;
                }
            }
            self.happen();
        }
    }

    fn happen(&mut self) {
        match self.dice.below(28) {
            27 => self.by_hand(),
            26 => self.door(),
            25 if self.faults.dies && self.dice.one_in(3) => self.unwind(),
            24 => self.update(),
            0..=5 => self.start(),
            6 | 7 => self.early_signal(),
            8 => self.host_event(),
            9 => drop(self.answer_question()),
            10 if self.faults.meddles => self.meddle(),
            11 if self.faults.dies => self.die(),
            12 if self.faults.dies && self.dice.one_in(2) => self.stop(),
            13 if self.faults.breaks && self.dice.one_in(2) => {
                let written = self.dice.below(3) as usize;
                self.say(|| format!("the disk breaks, {written} are on it"));
                self.report.broken_commits += 1;
                self.report.broken_on += self.board.not_safe().len() as u64;
                self.process().store.fail(written);
            }
            14 if self.faults.fills => {
                self.say(|| "the disk is full".to_owned());
                self.report.full_disks += 1;
                self.process().store.fill();
            }
            15 | 16 => self.process().store.free(),
            17 if self.faults.jumps => self.jump(),
            18 if self.faults.doubles => self.answer_again(),
            19 => {
                if let Some(run) = self.any_run() {
                    self.process().runtime.deliver(run, Mail::Input(Input::Tick));
                }
            }
            20 if self.clock.monotonic() < Duration::from_secs(86_400) => self.process_mut().upkeep(),
            _ => drop(self.pass_time()),
        }
    }

    fn any_run(&mut self) -> Option<RunId> {
        let history = self.disk.history.lock();
        let count = history.runs.len() as u64;
        (count > 0).then(|| *history.runs.keys().nth(self.dice.below(count) as usize).expect("it is there"))
    }

    fn jump(&mut self) {
        self.report.clock_jumps += 1;
        let now = self.clock.now().0;
        let to = match self.dice.below(3) {
            0 => now + TEN_YEARS,
            1 => now - TEN_YEARS,
            _ => self.true_time().0,
        };
        self.say(|| format!("the clock jumps to {}", Timestamp(to)));
        self.clock.jump_to(Timestamp(to));
    }

    fn true_time(&self) -> Timestamp {
        START.after(self.clock.monotonic())
    }

    /// An answer that was given comes again.
    fn answer_again(&mut self) {
        if self.given.is_empty() {
            return;
        }
        let index = self.dice.below(self.given.len() as u64) as usize;
        let (run, place, attempt, result) = self.given[index].clone();
        let runtime = &self.process().runtime;
        if let Some(cell) = runtime.live(run) {
            self.say(|| format!("again: {run} {place:?} try {attempt}"));
            runtime.post(&cell, Mail::Input(Input::EffectDone { place, attempt, result }));
            self.report.doubled_answers += 1;
        }
    }

    /// Everything outside works, people answer, and every run comes to its end.
    pub fn calm(&mut self) {
        self.say(|| "calm".to_owned());
        self.is_calm = true;
        *self.host.is_moody.lock() = false;
        self.clock.jump_to(self.true_time());
        // What a fault has put aside goes on at the next start.
        self.die();
        if self.flows.startable.contains(&"tick") {
            let handle = self.process().handle.clone();
            self.process_mut().asks.push("no ticks".to_owned(), false, async move {
                handle.switch_workflow("tick", false).await.map(|_| Done::Other)
            });
        }
        for _ in 0..600 {
            self.settle();
            assert!(self.process().asks.is_empty(), "a request is not answered");
            let open = self.open_runs();
            // A schedule goes on for ever; what is tried again soon is waited for.
            if open.is_empty() && self.retry_failed() {
                continue;
            }
            if open.is_empty() && self.nap > Duration::from_secs(1) {
                return;
            }
            if self.help(&open) || self.pass_time() {
                continue;
            }
            assert!(open.is_empty(), "I5: stuck: {:?}", self.told_of(&open));
            return;
        }
        panic!("I5: the runs do not end: {:?}", self.told_of(&self.open_runs()));
    }

    fn told_of(&self, runs: &[RunId]) -> Vec<String> {
        let history = self.disk.history.lock();
        let told = |run: &RunId| {
            let records = &history.runs[run];
            let tail: Vec<_> = records.iter().rev().take(3).map(|record| &record.body).collect();
            let row = self
                .process()
                .store
                .inner
                .run(&Scope::All, *run)
                .expect("it can be read")
                .map(|stored| stored.row);
            format!("run {run}: {tail:?}; {row:?}")
        };
        runs.iter().map(told).collect()
    }

    /// Runs that are not over.
    fn open_runs(&self) -> Vec<RunId> {
        let history = self.disk.history.lock();
        let open = history.runs.iter().filter(|(_, records)| !is_over(records));
        open.map(|(run, _)| *run).collect()
    }

    /// Somebody does what runs wait for; false when they wait for nobody.
    fn help(&mut self, open: &[RunId]) -> bool {
        let mut helped = self.answer_question();
        for run in open {
            let state = self.fold(*run);
            let is_at_work = state.instances().any(|(_, instance)| instance.status == StepStatus::Running);
            if is_at_work && self.created(*run).name == WATCHES {
                self.door();
                helped = true;
            }
            if self.process().runtime.gates.holds(*run) {
                // It goes on by itself when it is let in.
                continue;
            }
            if state.paused.is_some() {
                self.resume(*run);
                helped = true;
                continue;
            }
            let awaited: BTreeSet<String> = state
                .instances()
                .filter(|(_, instance)| instance.status == StepStatus::Waiting)
                .filter_map(|(_, instance)| match &instance.waiting {
                    Some(Waiting::Signal { name, .. }) => Some(name.clone()),
                    _ => None,
                })
                .collect();
            for name in awaited {
                self.signal(*run, name);
                helped = true;
            }
        }
        helped
    }

    /// A run's state as its records tell it.
    pub fn fold(&self, run: RunId) -> RunState {
        let history = self.disk.history.lock();
        let records = &history.runs[&run];
        let RecordBody::RunCreated(created) = &records[0].body else { panic!("no creation") };
        let program = self.process().runtime.programs.get(created.definition).expect("its definition");
        RunState::fold(run, program, records).expect("it can be folded")
    }

    pub fn report(mut self) -> Report {
        drop(self.process.take());
        self.judge_pins("after the end");
        self.disk.release();
        let mut report = std::mem::take(&mut self.report);
        report.trace = self.disk.history.lock().trace.take().unwrap_or_default();
        report
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(trace) = &self.disk.history.lock().trace
        {
            println!("{trace}");
        }
    }
}

/// The records since a person took the run up again.
pub fn generation(records: &[Record]) -> &[Record] {
    let last = records.iter().rposition(|record| matches!(record.body, RecordBody::RunRetried { .. }));
    &records[last.unwrap_or(0)..]
}

/// Whether a run's last record is its end.
pub fn is_over(records: &[Record]) -> bool {
    matches!(
        records.last().map(|record| &record.body),
        Some(
            RecordBody::RunCompleted { .. } | RecordBody::RunFailed { .. } | RecordBody::RunCancelled { .. }
        )
    )
}
