//! A failed call: a status for the host's program and a message for its people.
//!
//! Invariants: every message starts with a code, `CB-07xx` for this layer or the core's own; each code has a page in
//! `docs/errors`.

use std::fmt::Display;

use chainbot_abi::Status;
use chainbot_core::ErrorKind;

/// An argument of a call is wrong.
pub const ARGUMENT: &str = "CB-0701";
/// The call is not allowed in this state.
pub const STATE: &str = "CB-0702";
/// The queue is full.
pub const QUEUE_FULL: &str = "CB-0703";
/// The instance is unknown or was released.
pub const NO_INSTANCE: &str = "CB-0704";
/// Not stopped by the deadline.
pub const NOT_STOPPED: &str = "CB-0705";
/// A panic was contained.
pub const PANICKED: &str = "CB-0706";
/// A thread or the runtime could not be started.
pub const NO_THREAD: &str = "CB-0707";
/// The host's table of services cannot be used.
pub const BAD_HOST: &str = "CB-0708";
/// Too many instances in one library.
pub const TOO_MANY_INSTANCES: &str = "CB-0709";
/// The host refused a service.
pub const HOST_REFUSED: &str = "CB-0710";
/// A control call came on a thread that may not make one.
pub const WRONG_THREAD: &str = "CB-0711";
/// The instance hands over and takes no new work.
pub const DRAINING: &str = "CB-0712";
/// What another version handed over cannot be read.
pub const BAD_HANDOVER: &str = "CB-0713";

/// Why a call failed.
#[derive(Debug)]
pub struct Failure {
    /// For the host's program.
    pub status: Status,
    /// For people: code, case, remedy.
    pub text: String,
}

impl Failure {
    /// A failure with a code of this layer.
    pub fn new(status: Status, code: &str, message: impl Display) -> Self {
        Self { status, text: format!("{code}: {message}") }
    }

    /// A wrong argument.
    pub fn argument(message: impl Display) -> Self {
        Self::new(Status::INVALID, ARGUMENT, message)
    }
}

impl From<chainbot_core::Error> for Failure {
    fn from(error: chainbot_core::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Invalid | ErrorKind::Malformed | ErrorKind::TooLarge => Status::INVALID,
            ErrorKind::Busy => Status::BUSY,
            ErrorKind::Unsupported => Status::UNSUPPORTED,
            ErrorKind::Timeout => Status::TIMEOUT,
            _ => Status::FAILED,
        };
        let mut text = error.to_string();
        // The host's buffer is small: the first findings help, the rest are in the log.
        for finding in error.diagnostics().iter().take(5) {
            text.push_str(&format!("; {} at {}: {}", finding.code, finding.path, finding.message));
        }
        Self { status, text }
    }
}
