//! The configured pins, held from start to stop, and the thread that keeps their times.
//!
//! The thread does what must happen whatever the engine does: it ends a pulse, switches pwm, and takes an output back to
//! its safe level when it was on for `max_on`. It sleeps while there is nothing of that kind.
//!
//! One lock guards all outputs: there are a few, and a switch takes microseconds. It is never held over an await.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{broadcast, oneshot};

use super::{Bcm, Change, GpioBackend, InputCfg, InputLine, OutputCfg, OutputLine};
use crate::env::Env;
use crate::error::code::{general, gpio as code};
use crate::error::{Error, Result, similar};
use crate::model::Pin;

/// One period of pwm: 100 Hz is what software keeps up with, for lamps and slow heaters.
const PERIOD: Duration = Duration::from_millis(10);
/// When a line that could not be switched is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// One configured pin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PinSetup {
    /// What steps may call it.
    pub name: String,
    /// Its number.
    pub pin: Bcm,
    /// What it is for.
    pub mode: Mode,
}

/// What a pin is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mode {
    /// It is driven.
    Output {
        /// Level at start, at stop, and whenever nobody drives it.
        safe: bool,
        /// Whether on is low.
        active_low: bool,
        /// Longest time at the other level without a new write.
        max_on: Option<Duration>,
    },
    /// It is watched.
    Input(InputCfg),
}

/// A pin as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PinView {
    /// What steps may call it.
    pub name: String,
    /// Its number.
    pub pin: Bcm,
    /// Whether it is driven; else it is watched.
    pub is_output: bool,
    /// Its level, after `active_low`.
    pub level: bool,
    /// What holds it.
    pub backend: &'static str,
    /// Whether an input can be driven by hand.
    pub is_simulated: bool,
}

/// The configured pins.
pub struct Pins {
    backend: Arc<dyn GpioBackend>,
    setups: Vec<PinSetup>,
    inputs: Mutex<Vec<(Bcm, Box<dyn InputLine>)>>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    env: Env,
    outputs: Mutex<Outputs>,
    changed: Condvar,
}

#[derive(Default)]
struct Outputs {
    all: Vec<Output>,
    /// Who drives, counted.
    holds: u64,
    is_closed: bool,
}

struct Output {
    pin: Bcm,
    safe: bool,
    max_on: Option<Duration>,
    line: Box<dyn OutputLine>,
    level: bool,
    /// When it is safe again unless somebody writes.
    off_at: Option<Duration>,
    hold: Option<Hold>,
}

/// A pulse or pwm under way.
struct Hold {
    id: u64,
    until: Option<Duration>,
    back: bool,
    /// Share of the period at the level 1, and when the level changes next.
    pwm: Option<(f64, Duration)>,
    done: Option<oneshot::Sender<()>>,
}

/// A pulse or pwm that ends by itself. Dropping this ends it early.
pub struct Held {
    shared: Arc<Shared>,
    pin: Bcm,
    id: u64,
    done: oneshot::Receiver<()>,
}

impl Pins {
    /// Takes every configured pin; outputs have their safe level before anything else happens.
    pub fn open(backend: Arc<dyn GpioBackend>, setups: Vec<PinSetup>, env: Env) -> Result<Arc<Self>> {
        let pins = Self::take(backend, setups, env)?;
        let keeper = pins.shared.clone();
        let thread = std::thread::Builder::new()
            .name("cb-pins".to_owned())
            .spawn(move || keeper.keep())
            .map_err(|error| Error::new(&general::INTERNAL, "no thread can be started").because(error))?;
        // Joined by `close`.
        *pins.thread.lock() = Some(thread);
        Ok(Arc::new(pins))
    }

    /// The same without the thread: a test with a clock of its own does its [`rounds`](Self::round).
    #[cfg(test)]
    pub(crate) fn stepped(
        backend: Arc<dyn GpioBackend>,
        setups: Vec<PinSetup>,
        env: Env,
    ) -> Result<Arc<Self>> {
        Self::take(backend, setups, env).map(Arc::new)
    }

    /// What the thread does whenever it wakes. Gives how long it would sleep; `None` is until somebody switches.
    #[cfg(test)]
    pub(crate) fn round(&self) -> Option<Duration> {
        self.shared.outputs.lock().round(self.shared.env.monotonic())
    }

    fn take(backend: Arc<dyn GpioBackend>, setups: Vec<PinSetup>, env: Env) -> Result<Self> {
        let (mut outputs, mut inputs) = (Outputs::default(), Vec::new());
        if !setups.is_empty() {
            backend.info().warnings.iter().for_each(|warning| log::warn!("{warning}"));
        }
        for PinSetup { name, pin, mode } in &setups {
            let failed = |error: super::GpioError| {
                Error::new(&code::LINE, format!("the pin `{name}`: {error}"))
                    .help("correct gpio.pins, or stop whatever else uses the pin")
            };
            match mode {
                Mode::Output { safe, active_low, max_on } => {
                    let cfg = OutputCfg { initial: *safe, active_low: *active_low };
                    outputs.all.push(Output {
                        pin: *pin,
                        safe: *safe,
                        max_on: *max_on,
                        line: backend.output(*pin, &cfg).map_err(failed)?,
                        level: *safe,
                        off_at: None,
                        hold: None,
                    });
                }
                Mode::Input(cfg) => inputs.push((*pin, backend.input(*pin, cfg).map_err(failed)?)),
            }
        }
        let shared = Arc::new(Shared { env, outputs: Mutex::new(outputs), changed: Condvar::new() });
        Ok(Self { backend, setups, inputs: Mutex::new(inputs), shared, thread: Mutex::default() })
    }

    /// Brings every output to its safe level and gives all pins back. Whoever calls later is refused.
    pub fn close(&self) {
        {
            let mut outputs = self.shared.outputs.lock();
            outputs.is_closed = true;
            for output in &mut outputs.all {
                output.rest(output.safe);
            }
            outputs.all.clear();
        }
        self.shared.changed.notify_all();
        self.inputs.lock().clear();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            log::error!("the thread of the pins had panicked; the outputs are safe");
        }
    }

    /// All of them, by name.
    pub fn list(&self) -> Result<Vec<PinView>> {
        let mut all = self
            .setups
            .iter()
            .map(|setup| self.view(&Pin::Name(setup.name.clone())))
            .collect::<Result<Vec<_>>>()?;
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// One, as it stands.
    pub fn view(&self, pin: &Pin) -> Result<PinView> {
        let setup = self.setup(pin)?;
        let info = self.backend.info();
        Ok(PinView {
            name: setup.name.clone(),
            pin: setup.pin,
            is_output: matches!(setup.mode, Mode::Output { .. }),
            level: self.read(pin)?,
            backend: info.kind,
            is_simulated: info.is_simulated,
        })
    }

    /// Drives a pin for a person. `means_output`: an output is meant, though workflows drive it too.
    pub fn set_by_hand(&self, pin: &Pin, level: bool, means_output: bool) -> Result<PinView> {
        let setup = self.setup(pin)?;
        match &setup.mode {
            Mode::Output { .. } if means_output => self.write(pin, level)?,
            Mode::Output { .. } => {
                return Err(Error::new(
                    &code::BY_HAND,
                    format!("the pin `{pin}` is an output, which workflows drive"),
                )
                .help(
                    "say that you mean it: `\"output\": true`, or `chainbot gpio set PIN LEVEL --output`",
                ));
            }
            Mode::Input(_) if !self.backend.info().is_simulated => {
                return Err(Error::new(&code::BY_HAND, format!("the pin `{pin}` is a real input"))
                    .help("change its level at the pin"));
            }
            Mode::Input(cfg) => {
                let volts = level != cfg.active_low;
                self.backend.drive(setup.pin, volts).map_err(|error| unusable(pin, &error))?;
            }
        }
        self.view(pin)
    }

    /// The level of a pin.
    pub fn read(&self, pin: &Pin) -> Result<bool> {
        let setup = self.setup(pin)?;
        if let Mode::Input(_) = setup.mode {
            let inputs = self.inputs.lock();
            let (_, line) = inputs.iter().find(|(bcm, _)| *bcm == setup.pin).ok_or_else(closed)?;
            return line.level().map_err(|error| unusable(pin, &error));
        }
        let outputs = self.shared.outputs.lock();
        outputs
            .all
            .iter()
            .find(|output| output.pin == setup.pin)
            .map(|output| output.level)
            .ok_or_else(closed)
    }

    /// Drives an output until somebody else does, or `max_on`.
    pub fn write(&self, pin: &Pin, level: bool) -> Result<()> {
        self.with_output(pin, |output, now, _| {
            output.hold = None;
            output.set(level).map_err(|error| unusable(pin, &error))?;
            output.watch(now);
            Ok(())
        })
    }

    /// Drives an output for a time; then it is at `back`.
    pub fn pulse(&self, pin: &Pin, level: bool, time: Duration, back: Option<bool>) -> Result<Held> {
        self.hold(pin, Some(time), back, None, level)
    }

    /// Switches an output on and off, on for `share` of the time. Without a time it goes on until somebody writes.
    pub fn pwm(
        &self,
        pin: &Pin,
        share: f64,
        time: Option<Duration>,
        back: Option<bool>,
    ) -> Result<Option<Held>> {
        let held = self.hold(pin, time, back, Some(share), share > 0.0)?;
        match time {
            Some(_) => Ok(Some(held)),
            None => {
                held.leave();
                Ok(None)
            }
        }
    }

    /// Changes of an input from here on.
    pub fn changes(&self, pin: &Pin) -> Result<broadcast::Receiver<Change>> {
        let setup = self.setup(pin)?;
        if let Mode::Output { .. } = setup.mode {
            return Err(direction(pin, "an output", "input"));
        }
        let inputs = self.inputs.lock();
        inputs.iter().find(|(bcm, _)| *bcm == setup.pin).map(|(_, line)| line.changes()).ok_or_else(closed)
    }

    /// The level at which an output rests.
    pub fn safe(&self, pin: &Pin) -> Result<bool> {
        match self.setup(pin)?.mode {
            Mode::Output { safe, .. } => Ok(safe),
            Mode::Input(_) => Err(direction(pin, "an input", "output")),
        }
    }

    fn hold(
        &self,
        pin: &Pin,
        time: Option<Duration>,
        back: Option<bool>,
        share: Option<f64>,
        level: bool,
    ) -> Result<Held> {
        let (sender, done) = oneshot::channel();
        let (id, bcm) = self.with_output(pin, |output, now, id| {
            // Whoever held it before is told by the end of its channel.
            output.hold = Some(Hold {
                id,
                until: time.map(|time| now + time),
                back: back.unwrap_or(output.safe),
                pwm: share.map(|share| (share, now + PERIOD.mul_f64(share))),
                done: Some(sender),
            });
            output.set(level).map_err(|error| unusable(pin, &error))?;
            output.watch(now);
            Ok((id, output.pin))
        })?;
        Ok(Held { shared: self.shared.clone(), pin: bcm, id, done })
    }

    fn with_output<T>(
        &self,
        pin: &Pin,
        act: impl FnOnce(&mut Output, Duration, u64) -> Result<T>,
    ) -> Result<T> {
        let setup = self.setup(pin)?;
        if let Mode::Input(_) = setup.mode {
            return Err(direction(pin, "an input", "output"));
        }
        let now = self.shared.env.monotonic();
        let mut outputs = self.shared.outputs.lock();
        outputs.holds += 1;
        let id = outputs.holds;
        let output = outputs.all.iter_mut().find(|output| output.pin == setup.pin).ok_or_else(closed)?;
        let done = act(output, now, id);
        drop(outputs);
        self.shared.changed.notify_all();
        done
    }

    fn setup(&self, pin: &Pin) -> Result<&PinSetup> {
        let found = self.setups.iter().find(|setup| match pin {
            Pin::Number(number) => setup.pin.0 == *number,
            Pin::Name(name) => setup.name == *name,
        });
        found.ok_or_else(|| {
            let names = self.setups.iter().map(|setup| setup.name.as_str());
            let error = Error::new(&code::NO_PIN, format!("the pin `{pin}` is not configured"));
            match similar(&pin.to_string(), names.clone()) {
                Some(meant) => error.help(format!("did you mean `{meant}`?")),
                None if self.setups.is_empty() => error.help("add it under gpio.pins of the configuration"),
                None => error.help(format!(
                    "add it under gpio.pins; there are {}",
                    names.collect::<Vec<_>>().join(", ")
                )),
            }
        })
    }
}

/// Whoever has this answers for the pins: they are safe and given back when it goes, also by an unwinding, however many can
/// still reach them.
pub struct Keeper(Arc<Pins>);

impl Keeper {
    /// Of pins that were just taken.
    pub fn of(pins: Arc<Pins>) -> Self {
        Self(pins)
    }
}

impl std::ops::Deref for Keeper {
    type Target = Pins;

    fn deref(&self) -> &Pins {
        &self.0
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// The thread.
    fn keep(&self) {
        let mut outputs = self.outputs.lock();
        while !outputs.is_closed {
            match outputs.round(self.env.monotonic()) {
                Some(rest) => {
                    self.changed.wait_for(&mut outputs, rest);
                }
                None => self.changed.wait(&mut outputs),
            }
        }
    }
}

impl Outputs {
    /// Does what is due; says how long nothing is.
    fn round(&mut self, now: Duration) -> Option<Duration> {
        let next = self.all.iter_mut().filter_map(|output| output.due(now)).min();
        next.map(|next| next.saturating_sub(now))
    }
}

impl Output {
    fn set(&mut self, level: bool) -> Result<(), super::GpioError> {
        self.line.set(level)?;
        self.level = level;
        Ok(())
    }

    /// Ends whatever is under way.
    fn rest(&mut self, level: bool) {
        self.hold = None;
        match self.set(level) {
            Ok(()) => self.off_at = None,
            Err(error) => log::error!("GPIO{} cannot be brought to {}: {error}", self.pin.0, u8::from(level)),
        }
    }

    /// Begins to count the time at a level that is not safe.
    fn watch(&mut self, now: Duration) {
        let is_on = self.level != self.safe || self.hold.as_ref().is_some_and(|hold| hold.pwm.is_some());
        self.off_at = self.max_on.filter(|_| is_on).map(|max| now + max);
    }

    /// Does what is due; says when to look again.
    fn due(&mut self, now: Duration) -> Option<Duration> {
        if self.off_at.is_some_and(|at| at <= now) {
            log::warn!("GPIO{} was on for its max_on and is safe again", self.pin.0);
            self.rest(self.safe);
            // Still there when the line could not be switched.
            self.off_at = self.off_at.map(|_| now + AGAIN);
        }
        if let Some(mut hold) = self.hold.take_if(|hold| hold.until.is_some_and(|until| until <= now)) {
            match self.set(hold.back) {
                Ok(()) => {
                    self.watch(now);
                    // Nobody waits for one that was left to itself.
                    let _ = hold.done.map(|done| done.send(()));
                }
                Err(error) => {
                    log::error!("GPIO{}: a pulse cannot be ended: {error}", self.pin.0);
                    hold.until = Some(now + AGAIN);
                    self.hold = Some(hold);
                }
            }
        }
        self.switch(now);
        let hold = self.hold.as_ref();
        let pwm = hold.and_then(|hold| hold.pwm).filter(|(share, _)| *share > 0.0 && *share < 1.0);
        [self.off_at, hold.and_then(|hold| hold.until), pwm.map(|(_, at)| at)].into_iter().flatten().min()
    }

    /// Changes the level when pwm asks for it.
    fn switch(&mut self, now: Duration) {
        let level = self.level;
        let Some((share, at)) = self.hold.as_mut().and_then(|hold| hold.pwm.as_mut()) else { return };
        if *at > now || *share <= 0.0 || *share >= 1.0 {
            return;
        }
        let part = if level { 1.0 - *share } else { *share };
        *at = now + PERIOD.mul_f64(part);
        if let Err(error) = self.set(!level) {
            log::error!("GPIO{}: pwm stands still: {error}", self.pin.0);
        }
    }
}

impl Held {
    /// Resolves when it has ended and the output is back.
    pub async fn ended(mut self) -> Result<()> {
        match (&mut self.done).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Error::new(
                &code::TAKEN,
                format!("GPIO{} was taken over, or on for its max_on", self.pin.0),
            )
            .help("let one workflow at a time drive a pin: `concurrency: { mode: queued, max: 1 }`")),
        }
    }

    /// Lets it go on without anybody.
    fn leave(mut self) {
        // No hold has this number.
        self.id = 0;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut outputs = self.shared.outputs.lock();
        let id = self.id;
        if let Some(output) = outputs.all.iter_mut().find(|output| output.pin == self.pin)
            && let Some(back) = output.hold.as_ref().filter(|hold| hold.id == id).map(|hold| hold.back)
        {
            output.rest(back);
            output.watch(self.shared.env.monotonic());
        }
    }
}

fn closed() -> Error {
    Error::new(&general::STOPPING, "the pins are given back: ChainBot is stopping")
        .help("try again after the restart")
}

fn direction(pin: &Pin, is: &str, wanted: &str) -> Error {
    Error::new(&code::MODE, format!("the pin `{pin}` is {is}"))
        .help(format!("set its `mode: {wanted}` under gpio.pins, or use another pin"))
}

fn unusable(pin: &Pin, error: &super::GpioError) -> Error {
    Error::new(&code::LINE, format!("the pin `{pin}`: {error}")).help("see the log")
}
