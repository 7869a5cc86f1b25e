//! What follows a run's steps: the grace of a cancel, `catch`, undoing, `finally`, and how the run is going to end.
//!
//! Invariant: these are part of the journal; a variant's meaning never changes.

use super::{Json, Place, StepError};
use crate::time::Timestamp;

/// A part of a run after its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Cancelled: effects under way may end until `due`; nothing begins.
    Stopping {
        /// When they are given up.
        due: Timestamp,
    },
    /// The steps of `catch`.
    Catch,
    /// Completed steps are undone, the last one first.
    Compensate,
    /// The steps of `finally`.
    Finally,
}

impl Phase {
    /// The word, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Stopping { .. } => "stopping",
            Phase::Catch => "catch",
            Phase::Compensate => "compensate",
            Phase::Finally => "finally",
        }
    }
}

/// How a run is going to end.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// Well.
    Completed {
        /// Its result.
        output: Json,
    },
    /// Badly.
    Failed {
        /// Why.
        error: StepError,
        /// Because of this step, where one is to blame.
        place: Option<Place>,
    },
    /// By somebody's wish.
    Cancelled {
        /// Why.
        reason: String,
    },
}
