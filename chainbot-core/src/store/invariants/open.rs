//! What a run has open, as its records say: effects that started and did not end, and waits. For I4, I5 and I6.

use std::collections::{HashMap, HashSet};

use crate::id::RunId;
use crate::model::{EffectKey, Place, Record, RecordBody, Waiting};
use crate::time::Timestamp;

/// Open effects and waits of one run.
#[derive(Default)]
pub struct Open {
    effects: HashMap<Place, EffectKey>,
    waits: HashMap<Place, Wait>,
    /// Waits for a time that are over: each ends once.
    fired: HashSet<Place>,
    /// A person holds it.
    is_paused: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Wait {
    /// A timer must end it, at this time.
    Time(Timestamp),
    /// Something outside ends it.
    Signal,
    /// A run ends it.
    Child(RunId),
}

impl Open {
    /// Takes one more record; what it breaks, and of which invariant.
    pub fn take(&mut self, record: &Record) -> Option<(&'static str, &'static str)> {
        match &record.body {
            RecordBody::StepStarted { place, key, .. } => {
                if let Some(broken) = self.time_is_over(place, record.at) {
                    return Some(broken);
                }
                let before = self.effects.insert(place.clone(), *key);
                return before
                    .is_some_and(|before| before != *key)
                    .then_some(("I4", "an effect that was in doubt was started again with another key"));
            }
            RecordBody::AttemptFailed { place, due, .. } => {
                self.effects.remove(place);
                self.waits.insert(place.clone(), Wait::Time(*due));
            }
            RecordBody::StepWaiting { place, wait } => {
                let wait = match wait {
                    Waiting::Until { due } => Wait::Time(*due),
                    Waiting::Child { run, .. } => Wait::Child(*run),
                    _ => Wait::Signal,
                };
                self.waits.insert(place.clone(), wait);
            }
            RecordBody::StepCompleted { place, .. } => {
                self.effects.remove(place);
                let waited = matches!(self.waits.get(place), Some(Wait::Time(_)));
                let early = self.time_is_over(place, record.at);
                let again = waited && !self.fired.insert(place.clone());
                return early.or(again.then_some(("I6", "a wait for a time ended twice")));
            }
            RecordBody::StepFailed { place, .. }
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
                self.fired.clear();
            }
            _ => {}
        }
        None
    }

    /// What waited for a time goes on.
    fn time_is_over(&mut self, place: &Place, at: Timestamp) -> Option<(&'static str, &'static str)> {
        match self.waits.remove(place) {
            Some(Wait::Time(due)) if at < due => Some(("I6", "a timer fired before its time")),
            _ => None,
        }
    }

    /// The first of the times that the run waits for.
    pub fn next_due(&self) -> Option<Timestamp> {
        let dues = self.waits.values().filter_map(|wait| match wait {
            Wait::Time(due) => Some(*due),
            _ => None,
        });
        dues.min().filter(|_| !self.is_paused)
    }

    /// Whether something outside may wake the run without a timer.
    pub fn waits_for_others(&self) -> bool {
        self.is_paused || self.waits.values().any(|wait| !matches!(wait, Wait::Time(_)))
    }

    /// Runs that it waits for.
    pub fn children(&self) -> impl Iterator<Item = RunId> + '_ {
        self.waits.values().filter_map(|wait| match wait {
            Wait::Child(run) => Some(*run),
            _ => None,
        })
    }
}
