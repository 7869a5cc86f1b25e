//! I9: whatever was done to outputs, after any exit each is at its safe level: by the module's own end when that is orderly or an
//! unwinding, else by the next start, before anything else is done.

use std::sync::Arc;
use std::time::Duration;

use super::super::*;
use crate::engine::tests::generate::Dice;
use crate::env::{Env, SeededRandom, VirtualClock};
use crate::model::Pin;
use crate::time::Timestamp;

const CASES: u64 = 500;
const CASES_LONG: u64 = 50_000;

/// How a life ends.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Exit {
    /// It stops.
    Orderly,
    /// Its parts are dropped.
    Dropped,
    /// It is killed.
    Killed,
}

#[derive(Default)]
struct Seen {
    /// Outputs that a death left at another level than the safe one.
    left_on: u64,
    orderly: u64,
}

fn setups(dice: &mut Dice) -> Vec<PinSetup> {
    let output = |number: u32, dice: &mut Dice| PinSetup {
        name: format!("p{number}"),
        pin: Bcm(number),
        mode: Mode::Output {
            safe: dice.one_in(2),
            active_low: dice.one_in(2),
            max_on: dice.one_in(3).then(|| Duration::from_millis(dice.below(50) + 1)),
        },
    };
    (2..2 + 1 + dice.below(5) as u32).map(|number| output(number, dice)).collect()
}

/// One thing that steps and people do to an output. What a pulse gives is kept, dropped, or left to itself.
fn act(pins: &Pins, setups: &[PinSetup], dice: &mut Dice, held: &mut Vec<Held>) {
    let setup = &setups[dice.below(setups.len() as u64) as usize];
    let pin = Pin::Name(setup.name.clone());
    let (level, time) = (dice.one_in(2), Duration::from_millis(dice.below(40)));
    let back = dice.one_in(3).then(|| dice.one_in(2));
    match dice.below(5) {
        0 | 1 => pins.write(&pin, level).unwrap(),
        2 => held.push(pins.pulse(&pin, level, time, back).unwrap()),
        3 => held.extend(
            pins.pwm(&pin, dice.below(11) as f64 / 10.0, dice.one_in(2).then_some(time), back).unwrap(),
        ),
        _ => drop(held.pop()),
    }
}

/// Each output's level is its safe one, in volts.
fn assert_safe(chip: &SimBackend, setups: &[PinSetup], when: &str) {
    assert_eq!(unsafe_outputs(chip, setups), Vec::<String>::new(), "I9: {when}");
}

/// Outputs that are not at their safe level, seen from the chip.
pub(crate) fn unsafe_outputs(chip: &SimBackend, setups: &[PinSetup]) -> Vec<String> {
    let lines = chip.lines().unwrap();
    let is_unsafe = |setup: &&PinSetup| {
        let Mode::Output { safe, active_low, .. } = setup.mode else { return false };
        lines.iter().any(|line| line.bcm == setup.pin && line.level != (safe != active_low))
    };
    setups.iter().filter(is_unsafe).map(|setup| setup.name.clone()).collect()
}

fn live(seed: u64, seen: &mut Seen) {
    let mut dice = Dice(seed);
    let clock = Arc::new(VirtualClock::at(Timestamp(1_800_000_000_000)));
    let env = Env::new(clock.clone(), Arc::new(SeededRandom::new(seed)));
    let chip = Arc::new(SimBackend::new(env.clone()));
    let setups = setups(&mut dice);
    for life in 0..1 + dice.below(4) {
        let before = chip.history().len();
        let pins = Pins::open(chip.clone(), setups.clone(), env.clone()).unwrap();
        assert_safe(&chip, &setups, &format!("at the start of life {life}"));
        // Nothing was at another level on the way there.
        let first: Vec<(Bcm, bool)> = chip.history()[before..].to_vec();
        assert_eq!(first.len(), setups.len(), "each is set once: {first:?}");
        let mut held = Vec::new();
        for _ in 0..dice.below(20) {
            act(&pins, &setups, &mut dice, &mut held);
            if dice.one_in(3) {
                clock.advance(Duration::from_millis(dice.below(60)));
            }
        }
        let exit = [Exit::Orderly, Exit::Dropped, Exit::Killed][dice.below(3) as usize];
        match exit {
            Exit::Orderly => pins.close(),
            Exit::Dropped => drop(pins),
            Exit::Killed => {
                chip.die();
                seen.left_on += unsafe_outputs(&chip, &setups).len() as u64;
                continue;
            }
        }
        seen.orderly += 1;
        assert_safe(&chip, &setups, &format!("after life {life}, {exit:?}"));
        // What still hangs over switches nothing any more.
        drop(held);
        assert_safe(&chip, &setups, &format!("after what hung over from life {life}, {exit:?}"));
        assert!(chip.lines().unwrap().iter().all(|line| line.consumer.is_none()), "every line is given back");
    }
}

#[test]
fn outputs_are_safe_after_any_exit_whatever_was_done_to_them() {
    let mut seen = Seen::default();
    if let Some(seed) = std::env::var("CHAINBOT_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return live(seed, &mut seen);
    }
    for seed in 0..crate::env::proof::size(CASES, CASES_LONG) {
        let _told = Told(seed);
        live(seed, &mut seen);
    }
    println!("{} orderly exits, {} outputs left on by deaths", seen.orderly, seen.left_on);
    // A death that leaves nothing on proves nothing of the start after it.
    assert!(seen.left_on > 50 && seen.orderly > 50);
}

/// Names the seed when its case panics.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("CHAINBOT_SEED={}", self.0);
        }
    }
}
