//! Clocks that stand years behind or ahead, and a thousand timers.

use std::time::Duration;

use serde_json::{Value, json};

use super::flows::Flows;
use super::world::{TEN_YEARS, World};
use crate::engine::tests::driver::START;
use crate::engine::tests::generate::Dice;
use crate::env::Clock;
use crate::id::RunId;
use crate::model::{RecordBody, RunStatus};
use crate::port::Scope;
use crate::time::Timestamp;

const QUICK: &str = "name: quick\nsteps:\n  - { id: a, type: set, config: { variables: { n: 1 } } }\n";
const NAPS: &str =
    "name: naps\nsteps:\n  - { id: a, type: wait, config: { duration: \"{{ inputs.s }}s\" } }\n";
const HOUR: Duration = Duration::from_secs(3_600);

impl World {
    fn of(sources: &[&str]) -> Self {
        Self::over(7, Flows::of(sources.iter().map(|source| (*source).to_owned()).collect()), 4)
    }

    /// How far the clock is wrong from here on.
    fn wrong_by(&self, ms: i64) {
        self.clock.jump_to(Timestamp(START.after(self.clock.monotonic()).0 + ms));
    }

    fn has(&self, run: RunId) -> bool {
        self.process().store.inner.run(&Scope::All, run).expect("it can be read").is_some()
    }

    /// Upkeep until there is nothing more to do, hour by hour.
    fn tidy_for(&mut self, hours: u32) {
        for _ in 0..hours {
            self.clock.advance(HOUR);
            self.settle();
            for _ in 0..20 {
                self.process_mut().upkeep();
                self.settle();
            }
        }
    }
}

#[test]
fn what_ends_while_the_clock_stands_years_back_is_not_old_when_the_clock_is_set() {
    let mut world = World::of(&[QUICK]);
    let before = world.start_and_wait("quick", Value::Null);
    world.wrong_by(-TEN_YEARS);
    world.die();
    let run = world.start_keyed("quick", Value::Null, Some("once"));
    world.settle();
    assert!(world.fold(run).created_at < START, "the clock stands back");
    world.wrong_by(0);
    world.start_and_wait("quick", Value::Null);
    world.tidy_for(3);
    assert!(world.has(before) && world.has(run), "nothing is older than hours");
    assert_eq!(world.start_keyed("quick", Value::Null, Some("once")), run, "its key is known still");
    // What is old indeed goes: the bound is a month.
    world.tidy_for(24 * 31);
    assert!(!world.has(run), "it is kept for ever");
}

#[test]
fn a_record_from_a_time_when_the_clock_stood_ahead_holds_no_timer_back() {
    let mut world = World::of(&[QUICK, NAPS]);
    let nap = world.start_and_wait("naps", json!({ "s": 3_600 }));
    world.wrong_by(TEN_YEARS);
    // It is late by then, and the newest record lies ten years ahead.
    world.settle();
    world.start_and_wait("quick", Value::Null);
    world.wrong_by(0);
    let next = world.start_and_wait("naps", json!({ "s": 60 }));
    world.wrong_by(TEN_YEARS);
    world.start_and_wait("quick", Value::Null);
    world.wrong_by(0);
    world.die();
    world.clock.advance(Duration::from_secs(61));
    world.settle();
    for run in [nap, next] {
        assert_eq!(world.fold(run).status, RunStatus::Completed);
    }
}

#[test]
fn a_store_that_knows_only_wrong_times_holds_timers_back_for_an_hour() {
    let mut world = World::of(&[QUICK, NAPS]);
    world.wrong_by(TEN_YEARS);
    world.start_and_wait("quick", Value::Null);
    world.wrong_by(0);
    world.die();
    let nap = world.start_and_wait("naps", json!({ "s": 60 }));
    world.clock.advance(HOUR / 2);
    world.settle();
    // Its run is newer by its place, and older by its time than the clock of the start.
    let is_over = world.fold(nap).status == RunStatus::Completed;
    world.clock.advance(HOUR / 2);
    world.settle();
    assert!(!is_over, "the clock stood ten years before everything that was known");
    assert_eq!(world.fold(nap).status, RunStatus::Completed, "it waits for a clock that nobody sets");
}

#[test]
fn a_thousand_timers_fire_once_each_and_in_order_over_a_restart() {
    let mut world = World::of(&[NAPS]);
    let mut dice = Dice(7);
    let mut naps: Vec<(Timestamp, RunId)> = (0..1_000)
        .map(|_| {
            let run = world.start_and_wait("naps", json!({ "s": 60 + dice.below(100_000) }));
            let due = world.fold(run).next_due().expect("it is armed");
            (due, run)
        })
        .collect();
    naps.sort_unstable();
    let fired = |world: &World| {
        let history = world.disk.history.lock();
        let mut ends = Vec::new();
        for (run, records) in &history.runs {
            let mut of_run =
                records.iter().filter(|record| matches!(record.body, RecordBody::StepCompleted { .. }));
            ends.extend(of_run.next().map(|record| (record.at, *run)));
            assert!(of_run.next().is_none(), "run {run} was woken twice");
        }
        ends.sort_unstable();
        ends
    };
    for (index, (due, _)) in naps.iter().enumerate().take(900) {
        if index == 450 {
            world.die();
        }
        let left = Duration::from_millis((due.0 - world.clock.now().0).max(0) as u64);
        world.clock.advance(left.saturating_sub(Duration::from_millis(1)));
        world.settle();
        let has_company = index > 0 && naps[index - 1].0 == *due;
        assert!(has_company || !fired(&world).iter().any(|(_, run)| *run == naps[index].1), "{due} is early");
        world.clock.advance(Duration::from_millis(1).min(left));
        world.settle();
    }
    assert_eq!(fired(&world), naps[..fired(&world).len()], "each at its time, in order");
    assert!(fired(&world).len() >= 900);
    // The rest at once, also those that were due while nothing ran.
    world.clock.advance(Duration::from_secs(200_000));
    world.die();
    world.settle();
    let all = fired(&world);
    assert_eq!(all.len(), 1_000);
    assert!(all.iter().zip(&naps).skip(900).all(|((at, _), (due, _))| at >= due));
    assert!(naps.iter().all(|(_, run)| world.fold(*run).status == RunStatus::Completed));
}
