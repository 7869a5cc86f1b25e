//! Triggers, switches and gates of the memory store.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{RunId, WorkflowId};
use crate::port::{Automation, Firing, Op, StoredGate, StoredTrigger};

/// What is stored about starting runs.
#[derive(Default)]
pub struct Rules {
    triggers: BTreeMap<(WorkflowId, String), StoredTrigger>,
    disabled: BTreeSet<WorkflowId>,
    /// In the order in which they came.
    gates: Vec<(RunId, String, usize, bool)>,
}

impl Rules {
    /// Whether the trigger is switched on and stands where the firing says.
    pub fn fits(&self, firing: &Firing) -> bool {
        let key = (firing.workflow, firing.key.clone());
        self.triggers.get(&key).is_some_and(|trigger| trigger.enabled && trigger.due == firing.from)
    }

    /// Makes the change, if it is one of these.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::TriggerPut { workflow, key, enabled, due } => {
                let new = StoredTrigger {
                    workflow: *workflow,
                    key: key.clone(),
                    enabled: *enabled,
                    due: *due,
                    fired_at: None,
                    run: None,
                    note: None,
                };
                let trigger = self.triggers.entry((*workflow, key.clone())).or_insert(new);
                (trigger.enabled, trigger.due) = (*enabled, *due);
            }
            Op::TriggerDrop { workflow, key } => drop(self.triggers.remove(&(*workflow, key.clone()))),
            Op::TriggerFire(firing) => {
                if let Some(trigger) = self.triggers.get_mut(&(firing.workflow, firing.key.clone())) {
                    (trigger.due, trigger.fired_at) = (firing.due, Some(firing.at));
                    trigger.run = firing.run.or(trigger.run);
                    trigger.note.clone_from(&firing.note);
                }
            }
            Op::WorkflowSwitch { id, on: true, .. } => drop(self.disabled.remove(id)),
            Op::WorkflowSwitch { id, on: false, .. } => drop(self.disabled.insert(*id)),
            Op::GateEnter { run, gate, max, ousts } => self.gates.push((*run, gate.clone(), *max, *ousts)),
            Op::GateLeave { run } => self.leave(*run),
            _ => {}
        }
    }

    /// The run counts for nobody any more.
    pub fn leave(&mut self, run: RunId) {
        self.gates.retain(|(of, ..)| *of != run);
    }

    /// Everything. `stands` says of runs of gates whether they are parked, and whether they are paused.
    pub fn all(&self, stands: impl Fn(RunId) -> (bool, bool)) -> Automation {
        let gate = |(run, gate, max, ousts): &(RunId, String, usize, bool)| {
            let (parked, paused) = stands(*run);
            StoredGate { run: *run, gate: gate.clone(), max: *max, ousts: *ousts, parked, paused }
        };
        Automation {
            triggers: self.triggers.values().cloned().collect(),
            disabled: self.disabled.iter().copied().collect(),
            gates: self.gates.iter().map(gate).collect(),
            restored_at: None,
        }
    }
}
