//! The pins of the simulated machine: a chip that outlives processes, and what hands and workflows do with it.
//!
//! Each process holds the real [`Pins`], without their thread: its rounds are pieces of work like any other.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::tests::generate::Dice;
use crate::env::{Env, VirtualClock};
use crate::gpio::tests::exits::unsafe_outputs;
use crate::gpio::{Bcm, Bias, InputCfg, Mode, PinSetup, Pins, SimBackend};
use crate::model::Pin;

use super::flows::Flows;
use super::world::World;

/// The input.
const DOOR: &str = "door";
/// The outputs.
const OUTPUTS: [(&str, u32); 3] = [("valve", 17), ("lamp", 18), ("fan", 22)];
/// The longest `max_on` of an output.
pub const MAX_ON: Duration = Duration::from_secs(40);

/// The chip and what the configuration says of it.
pub struct Board {
    chip: Arc<SimBackend>,
    setups: Vec<PinSetup>,
    /// Changes of outputs that were looked at.
    seen: u64,
}

impl Board {
    /// Safe levels, polarities and bounds are by chance.
    pub fn new(seed: u64, clock: &Arc<VirtualClock>) -> Self {
        let dice = &mut Dice(seed ^ 0x9105);
        let env = Env::new(clock.clone(), Arc::new(crate::env::SeededRandom::new(seed)));
        let output = |(name, pin): (&str, u32)| {
            let max_on = dice.one_in(3).then(|| Duration::from_secs(1 + dice.below(MAX_ON.as_secs())));
            let mode = Mode::Output { safe: dice.one_in(2), active_low: dice.one_in(2), max_on };
            PinSetup { name: name.to_owned(), pin: Bcm(pin), mode }
        };
        let mut setups: Vec<PinSetup> = OUTPUTS.into_iter().map(output).collect();
        let door = InputCfg { bias: Bias::PullUp, active_low: false, debounce: Duration::ZERO };
        setups.push(PinSetup { name: DOOR.to_owned(), pin: Bcm(24), mode: Mode::Input(door) });
        Self { chip: Arc::new(SimBackend::new(env)), setups, seen: 0 }
    }

    /// What a new process holds of it. Every output goes to its safe level and nowhere else.
    pub fn open(&self, env: Env) -> Arc<Pins> {
        let before = self.changes();
        let pins = Pins::stepped(self.chip.clone(), self.setups.clone(), env).expect("the pins are free");
        assert_eq!(self.changes() - before, OUTPUTS.len() as u64, "I9: each output is set once by a start");
        pins
    }

    /// The process that holds it is killed: levels stay as they are.
    pub fn die(&self) {
        self.chip.die();
    }

    /// Outputs that are not at their safe level.
    pub fn not_safe(&self) -> Vec<String> {
        unsafe_outputs(&self.chip, &self.setups)
    }

    /// Outputs that are not at their safe level although nothing may be at another one for ever.
    pub fn outlasted(&self) -> Vec<String> {
        let bounded = |name: &String| {
            let setup = self.setups.iter().find(|setup| setup.name == *name);
            setup.is_some_and(|setup| matches!(setup.mode, Mode::Output { max_on: Some(_), .. }))
        };
        self.not_safe().into_iter().filter(bounded).collect()
    }

    /// A round of the thread that keeps the times: how long it would sleep, and whether something was switched.
    pub fn round(&self, pins: &Pins) -> (Duration, bool) {
        let before = self.changes();
        let rest = pins.round().unwrap_or(Duration::MAX);
        (rest, self.changes() != before)
    }

    fn changes(&self) -> u64 {
        *self.chip.changed().borrow()
    }

    /// What outputs did since the last look.
    fn news(&mut self) -> Vec<(Bcm, bool)> {
        let count = self.changes();
        let new = usize::try_from(count - self.seen).expect("a few");
        self.seen = count;
        let history = self.chip.history();
        // More than it remembers at once would be lost to the trace alone.
        history[history.len().saturating_sub(new)..].to_vec()
    }
}

impl World {
    /// Attempts at pins that began had the right to; what outputs did is told.
    pub fn see_pins(&mut self) {
        let begun = std::mem::take(&mut *self.outside.at_pins.lock());
        for effect in begun {
            self.say(|| format!("at a pin: {} {} try {}", effect.run, effect.key, effect.attempt));
            self.check_sent(effect.run, effect.key, effect.attempt);
        }
        for (Bcm(pin), level) in self.board.news() {
            self.report.switches += 1;
            self.say(|| format!("GPIO{pin} {}", u8::from(level)));
        }
    }

    /// A hand drives an output, as the API lets it.
    pub(super) fn by_hand(&mut self) {
        if self.process().is_failed() {
            return;
        }
        let (name, _) = OUTPUTS[self.dice.below(OUTPUTS.len() as u64) as usize];
        let level = self.dice.one_in(2);
        self.say(|| format!("by hand: {name} {}", u8::from(level)));
        let driven = self.process().pins.set_by_hand(&Pin::Name(name.to_owned()), level, true);
        assert_eq!(driven.expect("it is an output").level, level);
        self.report.hands += 1;
    }

    /// Somebody opens the door, or closes it.
    pub(super) fn door(&mut self) {
        if self.process().is_failed() {
            return;
        }
        let (pins, door) = (&self.process().pins, Pin::Name(DOOR.to_owned()));
        let level = !pins.read(&door).expect("it is an input");
        self.say(|| format!("the door: {}", u8::from(level)));
        pins.set_by_hand(&door, level, false).expect("it is simulated");
        self.report.edges += 1;
    }
}

#[test]
fn outputs_are_safe_as_soon_as_the_engine_cannot_go_on() {
    let waters = "name: waters\nsteps:\n  - { id: on, type: gpio, config: { pin: valve, action: pwm, value: LEVEL } }\n\
                  \x20 - { id: nap, type: wait, config: { duration: 1h } }\n";
    for seed in 0..20 {
        for level in ["0", "1"] {
            let mut world = World::over(seed, Flows::of(vec![waters.replace("LEVEL", level)]), 1);
            let run = world.start_and_wait("waters", serde_json::Value::Null);
            let is_on = !world.board.not_safe().is_empty();
            world.process().store.fail(0);
            while !world.process().is_failed() {
                world.step();
            }
            world.judge_pins("when the engine cannot go on");
            // By its journal the run waits on, and nothing says that the valve is to be on.
            world.settle();
            assert_eq!(world.fold(run).status, crate::model::RunStatus::Running, "on: {is_on}");
            world.judge_pins("after the next start");
        }
    }
}
