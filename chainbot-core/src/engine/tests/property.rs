//! Generated definitions, replies, crashes and people: the engine with crashes gives what the reference gives without.
//!
//! 10,000 definitions in five tests; `CHAINBOT_PROOF=long` runs a million, `CHAINBOT_PROOF_PART=20` a twentieth of that; `CHAINBOT_SEED` repeats one.

use serde_json::Value;

use super::driver::Driver;
use super::generate::{Dice, Maker, yaml};
use super::interpret::{Interpreter, child, reply};
use crate::engine::decide::{Input, Outcome};
use crate::model::{Json, Phase, Place, Record, RecordBody, RunStatus, StepError, StepStatus, class};
use crate::port::Op;

/// Crashes in one run at most, so that it comes to its end.
const CRASHES_MAX: u32 = 12;

#[test]
fn crashes_change_nothing_but_the_number_of_tries() {
    let (undone, caught) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    for_each_seed(4_000, |seed| {
        let mut dice = Dice(seed);
        let workflow = Maker { dice: &mut dice, next: 0, doubts: false }.workflow();
        let source = yaml(&workflow);
        let expected = Interpreter::run(seed, &workflow);
        let program = super::driver::program(&source);
        for one_in in [0, 40, 4] {
            let driver = Driver::with(program.clone(), &source, Value::Null, 0);
            let mut world = World::over(driver, seed, one_in);
            world.run();
            assert!(world.driver.state.status.is_terminal(), "the run does not end\n{source}");
            let output = world.driver.state.output.as_ref().map(|data| without_chance(data.json()));
            assert_eq!(output, expected, "crash one in {one_in}: {:?}\n{source}", world.driver.state.error);
            undone.set(undone.get() + u32::from(world.put_right));
            let is_caught =
                |record: &Record| matches!(record.body, RecordBody::PhaseStarted { phase: Phase::Catch, .. });
            caught.set(caught.get() + u32::from(world.driver.journal.iter().any(is_caught)));
        }
    });
    let is_one = std::env::var_os("CHAINBOT_SEED").is_some();
    assert!(is_one || (undone.get() > 100 && caught.get() > 100), "too few: {undone:?} {caught:?}");
}

#[test]
fn an_effect_that_must_not_repeat_is_sent_once() {
    let asked = std::cell::Cell::new(0);
    let failed = std::cell::Cell::new(0);
    for_each_seed(1_250, |seed| {
        let mut dice = Dice(seed);
        let workflow = Maker { dice: &mut dice, next: 0, doubts: true }.workflow();
        let mut world = World::new(seed, &yaml(&workflow), 5);
        world.run();
        let driver = &world.driver;
        // A try whose failure is on disk was no doubt; only such a step is sent again.
        for (place, attempt, _) in &driver.sent {
            let rule = driver.program.node(place.node).on_uncertain;
            let failures = driver.journal.iter().filter(|record| {
                matches!(&record.body, RecordBody::AttemptFailed { place: failed, .. } if failed == place)
            });
            if rule != crate::model::OnUncertain::Retry {
                assert!(*attempt as usize <= failures.count() + 1, "{place:?} was sent again in doubt");
            }
        }
        let questions = driver.ops.iter().filter(|op| matches!(op, Op::InboxPut { .. })).count();
        asked.set(asked.get() + questions);
        let uncertain = |record: &&crate::model::Record| matches!(&record.body, RecordBody::StepFailed { error, .. } if error.class == class::UNCERTAIN);
        failed.set(failed.get() + driver.journal.iter().filter(uncertain).count());
        if !driver.state.status.is_terminal() {
            assert!(driver.state.instances().any(|(_, instance)| instance.is_uncertain), "stuck");
            assert!(questions > 0, "nobody was asked");
        }
    });
    assert!(
        std::env::var_os("CHAINBOT_SEED").is_some() || (asked.get() > 20 && failed.get() > 20),
        "too few doubts: {asked:?} {failed:?}"
    );
}

#[test]
fn a_cancelled_run_ends_wherever_it_stands() {
    for_each_seed(1_250, |seed| {
        let mut dice = Dice(seed);
        let workflow = Maker { dice: &mut dice, next: 0, doubts: false }.workflow();
        let mut world = World::new(seed, &yaml(&workflow), 10);
        world.cancel_after = Some(world.dice.below(40));
        world.run();
        let driver = &world.driver;
        assert!(driver.state.status.is_terminal(), "{:?}", driver.state.status);
        for (place, instance) in driver.state.instances() {
            assert!(instance.status.is_terminal(), "{place:?} is left {:?}", instance.status);
        }
        assert!(driver.effects.is_empty(), "an effect is left");
        assert_eq!((driver.state.next_due(), driver.state.is_idle()), (None, true));
    });
}

#[test]
fn pauses_and_early_signals_change_nothing() {
    let done = std::cell::Cell::new(Meddled::default());
    for_each_seed(1_750, |seed| {
        let workflow = Maker { dice: &mut Dice(seed), next: 0, doubts: false }.workflow();
        let source = yaml(&workflow);
        let expected = Interpreter::run(seed, &workflow);
        let mut world = World::new(seed, &source, 30);
        world.meddled = Some(Meddled { alters: false, ..Meddled::default() });
        world.run();
        let state = &world.driver.state;
        assert!(state.status.is_terminal(), "the run does not end\n{source}");
        let output = state.output.as_ref().map(|data| without_chance(data.json()));
        assert_eq!(output, expected, "{:?}\n{source}", state.error);
        done.set(done.get().and(world.meddled.unwrap_or_default()));
    });
    let Meddled { pauses, resumes, signals, .. } = done.get();
    let is_one = std::env::var_os("CHAINBOT_SEED").is_some();
    assert!(
        is_one || [pauses, resumes, signals].iter().all(|count| *count > 50),
        "too few: {:?}",
        done.get()
    );
}

#[test]
fn whatever_people_do_the_run_ends_and_nothing_completes_twice() {
    let done = std::cell::Cell::new(Meddled::default());
    for_each_seed(1_750, |seed| {
        let workflow = Maker { dice: &mut Dice(seed), next: 0, doubts: seed.is_multiple_of(2) }.workflow();
        let source = yaml(&workflow);
        let mut world = World::new(seed, &source, 8);
        world.meddled = Some(Meddled { alters: true, ..Meddled::default() });
        world.run();
        let driver = &world.driver;
        // Not only between the inputs: the journal alone tells the same, keys and completions hold in each generation.
        driver.assert_sound();
        assert!(
            driver.state.status.is_terminal(),
            "the run does not end: {:?}\n{source}",
            driver.state.waiting_for()
        );
        assert!(driver.effects.is_empty() && driver.questions().is_empty(), "something is left");
        for (place, instance) in driver.state.instances() {
            assert!(instance.status.is_terminal(), "{place:?} is left {:?}", instance.status);
        }
        done.set(done.get().and(world.meddled.unwrap_or_default()));
    });
    let Meddled { pauses, resumes, signals, answers, retries, refusals, .. } = done.get();
    let is_one = std::env::var_os("CHAINBOT_SEED").is_some();
    let all = [pauses, resumes, signals, answers, retries, refusals];
    assert!(is_one || all.iter().all(|count| *count > 20), "too few: {:?}", done.get());
}

/// What people did to a run.
#[derive(Clone, Copy, Debug, Default)]
struct Meddled {
    /// They answer and retry too, which alters what becomes of it.
    alters: bool,
    pauses: u32,
    resumes: u32,
    signals: u32,
    answers: u32,
    retries: u32,
    /// Answers to questions that are not open.
    refusals: u32,
}

impl Meddled {
    fn and(self, other: Self) -> Self {
        Self {
            alters: other.alters,
            pauses: self.pauses + other.pauses,
            resumes: self.resumes + other.resumes,
            signals: self.signals + other.signals,
            answers: self.answers + other.answers,
            retries: self.retries + other.retries,
            refusals: self.refusals + other.refusals,
        }
    }
}

/// Retries of one run at most: what failed by the reference's rules fails again.
const RETRIES_MAX: u32 = 3;

/// Runs a body with many seeds, or with the one asked for.
fn for_each_seed(cases: u64, body: impl Fn(u64)) {
    if let Some(seed) = std::env::var("CHAINBOT_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return body(seed);
    }
    let cases = crate::env::proof::size(cases, cases * 100);
    let base = u64::from_le_bytes(crate::env::Env::system().bytes()) >> 1;
    println!("{cases} definitions, the seeds from {base}");
    for seed in base..base + cases {
        // Shown when the body panics.
        let _told = Told(seed);
        body(seed);
    }
}

/// The engine in a world that replies by the reference's rules and crashes by chance.
struct World {
    driver: Driver,
    dice: Dice,
    seed: u64,
    one_in: u64,
    crashes: u32,
    cancel_after: Option<u64>,
    /// People do something to it now and then.
    meddled: Option<Meddled>,
    /// Something was undone.
    put_right: bool,
}

impl World {
    fn new(seed: u64, source: &str, one_in: u64) -> Self {
        Self::over(Driver::new(source, Value::Null, 0), seed, one_in)
    }

    fn over(driver: Driver, seed: u64, one_in: u64) -> Self {
        let dice = Dice(seed ^ one_in.wrapping_mul(0x5EED));
        Self { driver, dice, seed, one_in, crashes: 0, cancel_after: None, meddled: None, put_right: false }
    }

    fn run(&mut self) {
        self.driver.input(Input::Admit).unwrap();
        for _ in 0..100_000 {
            self.work();
            // A fold of everything at every step would make long runs quadratic.
            if self.dice.one_in(8) {
                self.driver.assert_sound();
            }
            if let Some(left) = &mut self.cancel_after {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.cancel_after = None;
                    self.driver.input(Input::Cancel { reason: "enough".to_owned() }).unwrap();
                    continue;
                }
            }
            if self.meddles() {
                continue;
            }
            if self.driver.state.status.is_terminal() || !(self.step() || self.helps()) {
                break;
            }
        }
        // Nothing is left in memory alone, and the journal tells the same.
        self.driver.assert_sound();
        if self.driver.state.generation > 0 {
            // What was put right, and which children were made, is told of one generation.
            return;
        }
        self.put_right |= super::ending::assert_put_right(&self.driver);
        let inserted = self.driver.children.iter().map(|child| &child.1);
        let mut places: Vec<&Place> = inserted.collect();
        places.sort();
        places.dedup();
        assert_eq!(places.len(), self.driver.children.len(), "a child was made twice");
    }

    /// A person does something, whatever the run is at. True when something changed.
    fn meddles(&mut self) -> bool {
        let Some(mut done) = self.meddled else { return false };
        if self.driver.state.status.is_terminal() {
            let may_retry = done.alters
                && self.driver.state.status == RunStatus::Failed
                && !self.driver.state.was_undone()
                && done.retries < RETRIES_MAX;
            if may_retry {
                done.retries += 1;
                self.meddled = Some(done);
                self.driver.retry();
            }
            return may_retry;
        }
        if !self.dice.one_in(5) {
            return false;
        }
        match self.dice.below(if done.alters { 8 } else { 5 }) {
            0 | 1 => {
                done.pauses += 1;
                // One that is about to end is not paused any more.
                let _ = self.driver.input(Input::Pause { reason: "a look".to_owned() });
            }
            2 | 3 => {
                done.resumes += 1;
                self.driver.input(Input::Unpause).unwrap();
            }
            4 => {
                done.signals += 1;
                let name = format!("go_s{}", self.dice.below(12));
                let data = Json::new(serde_json::json!({ "by": name.trim_start_matches("go_") }));
                let key = Some(format!("early-{}", done.signals));
                self.driver.input(Input::Signal { name, data, key }).unwrap();
            }
            5 => {
                done.refusals += 1;
                let question = crate::id::InboxId::from([3; 16]);
                assert!(self.answer(question, "retry").is_err(), "nobody asked");
            }
            _ => {
                let open = self.driver.questions();
                if open.is_empty() {
                    return false;
                }
                done.answers += 1;
                let (_, question) = open[self.dice.below(open.len() as u64) as usize].clone();
                let action = ["retry", "done", "fail"][self.dice.below(3) as usize];
                self.answer(question, action).unwrap();
            }
        }
        self.meddled = Some(done);
        true
    }

    fn answer(&mut self, question: crate::id::InboxId, action: &str) -> Result<(), StepError> {
        let data = match action {
            "done" => serde_json::json!({ "made": 1 }),
            _ => Value::Null,
        };
        let (action, data, by) = (action.to_owned(), Json::new(data), Some("mia".to_owned()));
        self.driver.input(Input::Answer(crate::engine::Answer { question, action, data, by }))
    }

    /// Nothing goes on by itself: the person who held the run lets it go on, or answers what it asks.
    fn helps(&mut self) -> bool {
        let Some(mut done) = self.meddled else { return false };
        let open = self.driver.questions();
        if self.driver.state.paused.is_some() {
            done.resumes += 1;
            self.driver.input(Input::Unpause).unwrap();
        } else if let Some((_, question)) = open.first().filter(|_| done.alters) {
            done.answers += 1;
            self.answer(*question, "done").unwrap();
        } else {
            return false;
        }
        self.meddled = Some(done);
        true
    }

    fn crashes_now(&mut self) -> bool {
        self.one_in > 0 && self.crashes < CRASHES_MAX && self.dice.one_in(self.one_in)
    }

    /// Until nothing happens by itself; the process dies on the way.
    fn work(&mut self) {
        loop {
            let (mut dice, one_in) = (Dice(self.dice.next()), self.one_in);
            let may_crash = one_in > 0 && self.crashes < CRASHES_MAX;
            if self.driver.settle(|_| may_crash && dice.one_in(one_in)) {
                return;
            }
            self.crashes += 1;
            self.driver.crash();
        }
    }

    /// One thing happens outside. False when nothing can.
    fn step(&mut self) -> bool {
        if self.crashes_now() {
            self.crashes += 1;
            self.driver.crash();
            return true;
        }
        let waits: Vec<String> = self.driver.awaited();
        let open: Vec<usize> = (0..self.driver.children.len())
            .filter(|index| {
                let (_, place, outcome) = &self.driver.children[*index];
                let waits = self.driver.state.at(place);
                outcome.is_none() && waits.is_some_and(|instance| instance.status == StepStatus::Waiting)
            })
            .collect();
        let effects = self.driver.effects.len();
        let choices = effects + waits.len() + open.len();
        if choices == 0 {
            return self.wait();
        }
        let choice = self.dice.below(choices as u64) as usize;
        if choice < effects {
            let place = self.driver.effects[choice].place.clone();
            let id = self.driver.program.node(place.node).id.clone();
            let failures = self.driver.state.at(&place).map_or(0, |instance| instance.failures);
            self.driver.answer(choice, reply(self.seed, &id, &place.path, failures));
        } else if choice < effects + waits.len() {
            let name = waits[choice - effects].clone();
            let data = serde_json::json!({ "by": name.trim_start_matches("go_") });
            self.driver.input(Input::Signal { name, data: Json::new(data), key: None }).unwrap();
        } else {
            let index = open[choice - effects - waits.len()];
            let place = self.driver.children[index].1.clone();
            let id = self.driver.program.node(place.node).id.clone();
            let outcome = match child(self.seed, &id, &place.path) {
                Some(output) => Outcome::Completed(Json::new(output)),
                None => {
                    let code = &crate::error::code::run::STEP_INVALID;
                    Outcome::Failed(StepError::new(class::INVALID, code, "it broke"))
                }
            };
            self.driver.end_child(index, outcome);
        }
        true
    }

    /// Time passes until something is due.
    fn wait(&mut self) -> bool {
        let Some(due) = self.driver.state.next_due() else { return false };
        assert!(self.driver.state.status == RunStatus::Running);
        self.driver.now = self.driver.now.max(due);
        self.driver.input(Input::Tick).unwrap();
        true
    }
}

/// Without what time and record numbers decide.
pub fn without_chance(value: &Value) -> Value {
    match value {
        Value::Object(entries) => Value::Object(
            entries
                .iter()
                .filter(|(key, _)| !matches!(key.as_str(), "waited" | "event_id"))
                .map(|(key, value)| (key.clone(), without_chance(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_chance).collect()),
        other => other.clone(),
    }
}

/// Names the seed when the body of a case panics.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("CHAINBOT_SEED={}", self.0);
        }
    }
}
