//! What a run has open, as its records say: effects that started and did not end, and waits. For I4 and I5.

use std::collections::HashMap;

use crate::id::RunId;
use crate::model::{EffectKey, Place, RecordBody, Waiting};

/// Open effects and waits of one run.
#[derive(Default)]
pub struct Open {
    effects: HashMap<Place, EffectKey>,
    waits: HashMap<Place, Wait>,
    /// A person holds it.
    is_paused: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Wait {
    /// A timer must end it.
    Time,
    /// Something outside ends it.
    Signal,
    /// A run ends it.
    Child(RunId),
}

impl Open {
    /// Takes one more record; what it breaks of I4.
    pub fn take(&mut self, body: &RecordBody) -> Option<&'static str> {
        match body {
            RecordBody::StepStarted { place, key, .. } => {
                self.waits.remove(place);
                let before = self.effects.insert(place.clone(), *key);
                return before
                    .is_some_and(|before| before != *key)
                    .then_some("an effect that was in doubt was started again with another key");
            }
            RecordBody::AttemptFailed { place, .. } => {
                self.effects.remove(place);
                self.waits.insert(place.clone(), Wait::Time);
            }
            RecordBody::StepWaiting { place, wait } => {
                let wait = match wait {
                    Waiting::Until { .. } => Wait::Time,
                    Waiting::Child { run, .. } => Wait::Child(*run),
                    _ => Wait::Signal,
                };
                self.waits.insert(place.clone(), wait);
            }
            RecordBody::StepCompleted { place, .. }
            | RecordBody::StepFailed { place, .. }
            | RecordBody::StepSkipped { place }
            | RecordBody::StepCancelled { place } => {
                self.effects.remove(place);
                self.waits.remove(place);
            }
            RecordBody::RunPaused { .. } => self.is_paused = true,
            RecordBody::RunResumed | RecordBody::CancelRequested { .. } => self.is_paused = false,
            // What was open is put back, and begins again under new keys.
            RecordBody::RunRetried { .. } => {
                self.effects.clear();
                self.waits.clear();
            }
            _ => {}
        }
        None
    }

    /// Whether something outside may wake the run without a timer.
    pub fn waits_for_others(&self) -> bool {
        self.is_paused || self.waits.values().any(|wait| *wait != Wait::Time)
    }

    /// Runs that it waits for.
    pub fn children(&self) -> impl Iterator<Item = RunId> + '_ {
        self.waits.values().filter_map(|wait| match wait {
            Wait::Child(run) => Some(*run),
            _ => None,
        })
    }
}
