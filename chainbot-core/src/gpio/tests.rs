//! Pins on the simulated chip. Times are waited for by events of the chip, never by sleeping.

pub(crate) mod exits;

use std::sync::Arc;

use super::*;
use crate::env::Env;
use crate::error::code::gpio as code;
use crate::model::Pin;

const PUMP: Bcm = Bcm(17);
const DOOR: Bcm = Bcm(24);
const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(2);

fn setups(safe: bool, active_low: bool, max_on: Option<Duration>) -> Vec<PinSetup> {
    let input = InputCfg { bias: Bias::PullUp, active_low: false, debounce: Duration::ZERO };
    vec![
        PinSetup { name: "pump".to_owned(), pin: PUMP, mode: Mode::Output { safe, active_low, max_on } },
        PinSetup { name: "door".to_owned(), pin: DOOR, mode: Mode::Input(input) },
    ]
}

fn open(max_on: Option<Duration>) -> (Arc<SimBackend>, Arc<Pins>) {
    let chip = Arc::new(SimBackend::new(Env::system()));
    let pins = Pins::open(chip.clone(), setups(false, false, max_on), Env::system()).unwrap();
    (chip, pins)
}

fn pump() -> Pin {
    Pin::Name("pump".to_owned())
}

/// What the pump's line did.
fn levels(chip: &SimBackend) -> Vec<bool> {
    chip.history().into_iter().filter(|(pin, _)| *pin == PUMP).map(|(_, level)| level).collect()
}

/// Waits until the pump's line did what a test is about.
async fn until(chip: &SimBackend, did: impl Fn(&[bool]) -> bool) {
    let mut changed = chip.changed();
    while !did(&levels(chip)) {
        changed.changed().await.unwrap();
    }
}

#[test]
fn outputs_are_safe_from_the_first_moment_to_the_last() {
    for (safe, active_low) in [(false, false), (true, false), (false, true), (true, true)] {
        let chip = Arc::new(SimBackend::new(Env::system()));
        let pins = Pins::open(chip.clone(), setups(safe, active_low, None), Env::system()).unwrap();
        assert_eq!(pins.read(&pump()).unwrap(), safe);
        pins.write(&pump(), !safe).unwrap();
        assert_eq!(pins.read(&Pin::Number(17)).unwrap(), !safe);
        pins.close();
        let volts = |level: bool| level != active_low;
        assert_eq!(levels(&chip), [volts(safe), volts(!safe), volts(safe)]);
        assert!(chip.lines().unwrap().iter().all(|line| line.consumer.is_none()), "pins are given back");
        assert!(pins.write(&pump(), !safe).is_err(), "a write after the stop would stay");
    }
}

#[test]
fn outputs_are_safe_when_their_holder_is_dropped() {
    let (chip, pins) = open(None);
    pins.write(&pump(), true).unwrap();
    drop(pins);
    assert_eq!(levels(&chip), [false, true, false]);
}

#[test]
fn outputs_are_safe_when_their_keeper_goes_whoever_else_has_them() {
    let (chip, pins) = open(None);
    let keeper = Keeper::of(pins.clone());
    keeper.write(&pump(), true).unwrap();
    drop(keeper);
    assert_eq!(levels(&chip), [false, true, false]);
    assert!(pins.write(&pump(), true).is_err(), "a write after it would stay");
}

#[tokio::test]
async fn a_pulse_ends_by_itself() {
    let (chip, pins) = open(None);
    pins.pulse(&pump(), true, SHORT, None).unwrap().ended().await.unwrap();
    assert_eq!(levels(&chip), [false, true, false]);
    pins.pulse(&pump(), false, SHORT, Some(true)).unwrap().ended().await.unwrap();
    assert_eq!(levels(&chip), [false, true, false, false, true]);
}

#[tokio::test]
async fn a_dropped_pulse_brings_the_pin_back_at_once() {
    let (chip, pins) = open(None);
    drop(pins.pulse(&pump(), true, LONG, None).unwrap());
    assert_eq!(levels(&chip), [false, true, false]);
}

#[tokio::test]
async fn a_write_during_a_pulse_wins_and_the_pulse_says_so() {
    let (chip, pins) = open(None);
    let held = pins.pulse(&pump(), true, LONG, None).unwrap();
    pins.write(&pump(), true).unwrap();
    assert_eq!(held.ended().await.unwrap_err().code(), &code::TAKEN);
    assert_eq!(levels(&chip), [false, true, true], "what was written stays");
}

#[tokio::test]
async fn an_output_that_nobody_renews_is_safe_after_max_on() {
    let (chip, pins) = open(Some(SHORT));
    pins.write(&pump(), true).unwrap();
    until(&chip, |levels| levels == [false, true, false]).await;
    assert!(!pins.read(&pump()).unwrap());
    // Pwm without an end is under the same bound.
    assert!(pins.pwm(&pump(), 1.0, None, None).unwrap().is_none());
    until(&chip, |levels| levels == [false, true, false, true, false]).await;
}

#[tokio::test]
async fn pwm_switches_until_its_time_is_over() {
    let (chip, pins) = open(None);
    let held = pins.pwm(&pump(), 0.5, Some(LONG), None).unwrap().unwrap();
    until(&chip, |levels| levels.starts_with(&[false, true, false, true, false])).await;
    drop(held);
    assert_eq!(levels(&chip).last(), Some(&false));
    let before = levels(&chip).len();
    for (share, level) in [(0.0, false), (1.0, true)] {
        pins.pwm(&pump(), share, Some(SHORT), Some(level)).unwrap().unwrap().ended().await.unwrap();
    }
    assert_eq!(levels(&chip)[before..], [false, false, true, true], "0 and 1 do not switch");
}

#[tokio::test]
async fn changes_of_an_input_are_told_in_order() {
    let (chip, pins) = open(None);
    let door = Pin::Name("door".to_owned());
    let mut changes = pins.changes(&door).unwrap();
    assert!(pins.read(&door).unwrap(), "the pull-up holds it");
    for level in [true, false, false, true] {
        chip.drive(DOOR, level).unwrap();
    }
    let (first, second) = (changes.recv().await.unwrap(), changes.recv().await.unwrap());
    assert_eq!([(first.level, first.seqno), (second.level, second.seqno)], [(false, 1), (true, 2)]);
}

#[test]
fn changes_within_the_debounce_time_do_not_count() {
    let chip = Arc::new(SimBackend::new(Env::system()));
    let cfg = InputCfg { bias: Bias::None, active_low: true, debounce: LONG };
    let line = chip.input(DOOR, &cfg).unwrap();
    assert!(line.level().unwrap(), "low is on");
    chip.drive(DOOR, true).unwrap();
    chip.drive(DOOR, false).unwrap();
    assert!(!line.level().unwrap());
}

#[test]
fn what_cannot_be_used_is_refused() {
    let (chip, pins) = open(None);
    let name = |name: &str| Pin::Name(name.to_owned());
    for (error, wanted, word) in [
        (pins.read(&name("pmup")).unwrap_err(), &code::NO_PIN, "did you mean `pump`?"),
        (pins.read(&Pin::Number(4)).unwrap_err(), &code::NO_PIN, "door"),
        (pins.write(&name("door"), true).unwrap_err(), &code::MODE, "mode: output"),
        (pins.changes(&pump()).unwrap_err(), &code::MODE, "mode: input"),
    ] {
        assert_eq!(error.code(), wanted, "{error}");
        assert!(error.remedy().unwrap().contains(word), "{error}");
    }
    let busy = Pins::open(chip.clone(), setups(false, false, None), Env::system()).err().unwrap();
    assert_eq!(busy.code(), &code::LINE);
    assert!(busy.message().contains("in use by `chainbot`"), "{busy}");
}
