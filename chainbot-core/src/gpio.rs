//! Pins of the machine: what a backend must do, and [`Pins`], which holds the configured ones.
//!
//! ```text
//!   gpio step ──► Pins ──► OutputLine, InputLine of a backend
//!                  ▲ thread: ends pulses, switches pwm, holds max_on
//! ```
//!
//! Pins have Broadcom numbers or names of the configuration, and only configured pins can be used. Levels are logical:
//! a backend inverts for `active_low`. Invariants: every output is requested with its safe level, held until
//! [`Pins::close`], and safe after it, after a dropped pulse, and after `max_on` without renewal. Nothing here knows
//! steps, runs or the journal.

mod pins;
mod sim;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use tokio::sync::broadcast;

pub use pins::{Held, Keeper, Mode, PinSetup, PinView, Pins};
pub use sim::SimBackend;

use crate::time::Timestamp;

/// A pin's Broadcom number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Bcm(pub u32);

/// What holds the pins.
pub trait GpioBackend: Send + Sync {
    /// What it is.
    fn info(&self) -> BackendInfo;
    /// Every line there is.
    fn lines(&self) -> Result<Vec<LineInfo>, GpioError>;
    /// Takes a line as output. It has the initial level from its first moment on.
    fn output(&self, pin: Bcm, cfg: &OutputCfg) -> Result<Box<dyn OutputLine>, GpioError>;
    /// Puts a level on an input from outside, in volts. Only a backend without real lines can.
    fn drive(&self, pin: Bcm, level: bool) -> Result<(), GpioError>;
    /// Takes a line as input.
    fn input(&self, pin: Bcm, cfg: &InputCfg) -> Result<Box<dyn InputLine>, GpioError>;
}

/// A line that is driven. Dropping it gives it back.
pub trait OutputLine: Send {
    /// Drives it.
    fn set(&mut self, level: bool) -> Result<(), GpioError>;
}

/// A line that is watched. Dropping it gives it back.
pub trait InputLine: Send {
    /// Its level.
    fn level(&self) -> Result<bool, GpioError>;
    /// Changes from here on. A receiver that falls behind is told how many it missed.
    fn changes(&self) -> broadcast::Receiver<Change>;
}

/// A change of an input's level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// The level after it.
    pub level: bool,
    /// From 1, without gaps unless some were lost.
    pub seqno: u64,
    /// When.
    pub at: Timestamp,
}

/// What a backend is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackendInfo {
    /// `sim`.
    pub kind: &'static str,
    /// Whether [`GpioBackend::drive`] works.
    pub is_simulated: bool,
    /// What people should know before they trust it with a pump.
    pub warnings: Vec<String>,
}

/// A line as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineInfo {
    /// Its number.
    pub bcm: Bcm,
    /// Its level, before `active_low`.
    pub level: bool,
    /// Who holds it.
    pub consumer: Option<String>,
}

/// How an output is driven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutputCfg {
    /// Level from its first moment on.
    pub initial: bool,
    /// Whether on is low.
    pub active_low: bool,
}

/// How an input is watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InputCfg {
    /// What it reads when nothing drives it.
    pub bias: Bias,
    /// Whether on is low.
    pub active_low: bool,
    /// Changes within this time of the last one do not count.
    pub debounce: Duration,
}

/// A resistor inside the chip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bias {
    /// None.
    None,
    /// To high.
    PullUp,
    /// To low.
    PullDown,
}

/// Why a line cannot be used.
#[derive(Debug)]
pub enum GpioError {
    /// The chip has no such line.
    NoLine(Bcm),
    /// Somebody else holds it.
    Busy {
        /// Which.
        pin: Bcm,
        /// Who.
        consumer: String,
    },
}

impl std::fmt::Display for GpioError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            GpioError::NoLine(Bcm(number)) => write!(f, "there is no line GPIO{number}"),
            GpioError::Busy { pin: Bcm(number), consumer } => {
                write!(f, "GPIO{number} is in use by `{consumer}`")
            }
        }
    }
}

impl std::error::Error for GpioError {}
