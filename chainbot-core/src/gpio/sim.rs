//! Pins that exist in memory only: for machines without any, for tests, for trying an automation out.
//!
//! Has the lines of a Raspberry Pi's header. Inputs change by [`GpioBackend::drive`]; what outputs did is in
//! [`SimBackend::history`], the newest last.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

use super::{BackendInfo, Bcm, Bias, Change, GpioBackend, GpioError, InputCfg, InputLine, LineInfo};
use super::{OutputCfg, OutputLine};
use crate::env::Env;

/// GPIO0 to GPIO27 are on the header.
const LINES: u32 = 28;
/// Changes of outputs that are remembered: enough for a test or a page.
const HISTORY_MAX: usize = 1_024;
/// Changes that a slow watcher may be behind.
const CHANGES_MAX: usize = 64;

/// The simulated chip.
pub struct SimBackend {
    chip: Arc<Chip>,
}

struct Chip {
    env: Env,
    lines: Mutex<BTreeMap<Bcm, Line>>,
    /// Counts lives of holders. Taken with `lines` held, so that nobody switches between a death and its end.
    life: Mutex<u64>,
    /// Levels that outputs had, in the order in which they got them.
    history: Mutex<VecDeque<(Bcm, bool)>>,
    /// Counts changes of outputs.
    changed: watch::Sender<u64>,
}

/// One line, in volts: `active_low` is at its holder.
struct Line {
    level: bool,
    consumer: Option<String>,
    watchers: broadcast::Sender<Change>,
    seqno: u64,
    debounce: Duration,
    active_low: bool,
    last: Option<Duration>,
}

impl SimBackend {
    /// A chip whose lines are low and free.
    pub fn new(env: Env) -> Self {
        let line = |bcm| {
            let line = Line {
                level: false,
                consumer: None,
                watchers: broadcast::Sender::new(CHANGES_MAX),
                seqno: 0,
                debounce: Duration::ZERO,
                active_low: false,
                last: None,
            };
            (Bcm(bcm), line)
        };
        Self {
            chip: Arc::new(Chip {
                env,
                lines: Mutex::new((0..LINES).map(line).collect()),
                life: Mutex::new(0),
                history: Mutex::default(),
                changed: watch::Sender::new(0),
            }),
        }
    }

    /// A change within the line's debounce time of the last one does not count.
    fn drive_line(&self, pin: Bcm, level: bool) -> Result<(), GpioError> {
        let (now, at) = (self.chip.env.monotonic(), self.chip.env.now());
        let mut lines = self.chip.lines.lock();
        let line = lines.get_mut(&pin).ok_or(GpioError::NoLine(pin))?;
        if line.level == level || line.last.is_some_and(|last| now < last + line.debounce) {
            return Ok(());
        }
        (line.level, line.last) = (level, Some(now));
        line.seqno += 1;
        // Nobody may be watching.
        let _ = line.watchers.send(Change { level: level != line.active_low, seqno: line.seqno, at });
        Ok(())
    }

    /// Whoever holds lines dies: they are free, at the level that they had, and the dead switches nothing any more.
    #[cfg(test)]
    pub fn die(&self) {
        let mut lines = self.chip.lines.lock();
        *self.chip.life.lock() += 1;
        lines.values_mut().for_each(|line| line.consumer = None);
    }

    /// What outputs were set to, in volts, oldest first.
    pub fn history(&self) -> Vec<(Bcm, bool)> {
        self.chip.history.lock().iter().copied().collect()
    }

    /// Tells of every change of an output.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.chip.changed.subscribe()
    }
}

impl Chip {
    fn take(&self, pin: Bcm, with: impl FnOnce(&mut Line)) -> Result<(), GpioError> {
        let mut lines = self.lines.lock();
        let line = lines.get_mut(&pin).ok_or(GpioError::NoLine(pin))?;
        if let Some(consumer) = &line.consumer {
            return Err(GpioError::Busy { pin, consumer: consumer.clone() });
        }
        line.consumer = Some("chainbot".to_owned());
        with(line);
        Ok(())
    }

    fn give_back(&self, pin: Bcm, life: u64) {
        let mut lines = self.lines.lock();
        if let Some(line) = lines.get_mut(&pin).filter(|_| *self.life.lock() == life) {
            line.consumer = None;
        }
    }

    fn note(&self, pin: Bcm, level: bool) {
        let mut history = self.history.lock();
        if history.len() == HISTORY_MAX {
            history.pop_front();
        }
        history.push_back((pin, level));
        drop(history);
        self.changed.send_modify(|count| *count += 1);
    }
}

impl GpioBackend for SimBackend {
    fn info(&self) -> BackendInfo {
        BackendInfo {
            kind: "sim",
            is_simulated: true,
            warnings: vec!["pins are simulated: nothing is switched".to_owned()],
        }
    }

    fn lines(&self) -> Result<Vec<LineInfo>, GpioError> {
        let lines = self.chip.lines.lock();
        let info = |(bcm, line): (&Bcm, &Line)| LineInfo {
            bcm: *bcm,
            level: line.level,
            consumer: line.consumer.clone(),
        };
        Ok(lines.iter().map(info).collect())
    }

    fn drive(&self, pin: Bcm, level: bool) -> Result<(), GpioError> {
        self.drive_line(pin, level)
    }

    fn output(&self, pin: Bcm, cfg: &OutputCfg) -> Result<Box<dyn OutputLine>, GpioError> {
        let level = cfg.initial != cfg.active_low;
        self.chip.take(pin, |line| line.level = level)?;
        self.chip.note(pin, level);
        let life = *self.chip.life.lock();
        Ok(Box::new(SimOutput { chip: self.chip.clone(), pin, life, active_low: cfg.active_low }))
    }

    fn input(&self, pin: Bcm, cfg: &InputCfg) -> Result<Box<dyn InputLine>, GpioError> {
        self.chip.take(pin, |line| {
            (line.debounce, line.active_low) = (cfg.debounce, cfg.active_low);
            line.level = cfg.bias == Bias::PullUp;
        })?;
        let life = *self.chip.life.lock();
        Ok(Box::new(SimInput { chip: self.chip.clone(), pin, life, active_low: cfg.active_low }))
    }
}

struct SimOutput {
    chip: Arc<Chip>,
    pin: Bcm,
    life: u64,
    active_low: bool,
}

impl OutputLine for SimOutput {
    fn set(&mut self, level: bool) -> Result<(), GpioError> {
        let level = level != self.active_low;
        let mut lines = self.chip.lines.lock();
        if *self.chip.life.lock() != self.life {
            return Err(GpioError::NoLine(self.pin));
        }
        lines.get_mut(&self.pin).ok_or(GpioError::NoLine(self.pin))?.level = level;
        drop(lines);
        self.chip.note(self.pin, level);
        Ok(())
    }
}

impl Drop for SimOutput {
    fn drop(&mut self) {
        self.chip.give_back(self.pin, self.life);
    }
}

struct SimInput {
    chip: Arc<Chip>,
    pin: Bcm,
    life: u64,
    active_low: bool,
}

impl InputLine for SimInput {
    fn level(&self) -> Result<bool, GpioError> {
        let lines = self.chip.lines.lock();
        Ok(lines.get(&self.pin).ok_or(GpioError::NoLine(self.pin))?.level != self.active_low)
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        let lines = self.chip.lines.lock();
        match lines.get(&self.pin) {
            Some(line) => line.watchers.subscribe(),
            // A line that is held is there; a closed channel says the opposite to whoever waits.
            None => broadcast::Sender::new(1).subscribe(),
        }
    }
}

impl Drop for SimInput {
    fn drop(&mut self) {
        self.chip.give_back(self.pin, self.life);
    }
}
