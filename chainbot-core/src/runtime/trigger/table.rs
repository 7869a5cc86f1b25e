//! All triggers of the current versions, and who asks for what.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::engine::{Program, Trigger};
use crate::id::{RunId, WorkflowId};
use crate::model::{Missed, RunEnd, TriggerSource};
use crate::port::StoredTrigger;
use crate::time::Timestamp;
use crate::topic::Index;

/// A trigger among all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::runtime) struct Id {
    pub(super) workflow: WorkflowId,
    pub(super) key: String,
}

/// A trigger and where it stands.
#[derive(Clone)]
pub(in crate::runtime) struct Armed {
    pub(super) id: Id,
    /// The workflow's name.
    pub(super) name: String,
    pub(super) program: Arc<Program>,
    pub(super) trigger: Arc<Trigger>,
    pub(super) enabled: bool,
    pub(super) due: Option<Timestamp>,
    pub(super) fired_at: Option<Timestamp>,
    pub(super) run: Option<RunId>,
    pub(super) note: Option<String>,
}

/// The triggers.
#[derive(Default)]
pub(super) struct Table {
    pub(super) all: BTreeMap<Id, Armed>,
    pub(super) disabled: HashSet<WorkflowId>,
    /// Times of schedules up to here are let go.
    pub(super) restored_at: Option<Timestamp>,
    pub(super) topics: Index<Id>,
    hooks: HashMap<String, Id>,
    ends: HashMap<String, Vec<(RunEnd, Id)>>,
}

impl Armed {
    /// As its row says; switched on and without a past when there is none.
    pub(super) fn new(
        workflow: WorkflowId,
        program: &Arc<Program>,
        trigger: &Arc<Trigger>,
        row: Option<StoredTrigger>,
    ) -> Self {
        let id = Id { workflow, key: trigger.key.clone() };
        let (name, program, trigger) = (program.name.clone(), program.clone(), trigger.clone());
        match row {
            Some(row) => Self {
                id,
                name,
                program,
                trigger,
                enabled: row.enabled,
                due: row.due,
                fired_at: row.fired_at,
                run: row.run,
                note: row.note,
            },
            None => Self {
                id,
                name,
                program,
                trigger,
                enabled: true,
                due: None,
                fired_at: None,
                run: None,
                note: None,
            },
        }
    }

    /// The next time, when it has one and may fire.
    pub(super) fn next(&self, now: Timestamp, is_on: bool) -> Option<Timestamp> {
        let schedule = self.trigger.schedule.as_ref().filter(|_| self.enabled && is_on)?;
        schedule.next(now)
    }

    /// What becomes of missed times.
    pub(super) fn missed(&self) -> Missed {
        match &self.trigger.source {
            TriggerSource::Cron { missed, .. } => *missed,
            _ => Missed::Skip,
        }
    }
}

impl Table {
    /// Puts the triggers of a workflow in place of those it had.
    pub(super) fn replace(&mut self, workflow: WorkflowId, armed: Vec<Armed>) {
        self.all.retain(|id, _| id.workflow != workflow);
        self.all.extend(armed.into_iter().map(|armed| (armed.id.clone(), armed)));
        self.index();
    }

    /// The triggers of a workflow.
    pub(super) fn of(&self, workflow: WorkflowId) -> impl Iterator<Item = &Armed> {
        self.all.values().filter(move |armed| armed.id.workflow == workflow)
    }

    /// Whether the workflow's triggers may fire.
    pub(super) fn is_on(&self, workflow: WorkflowId) -> bool {
        !self.disabled.contains(&workflow)
    }

    /// A trigger that may fire.
    pub(super) fn live(&self, id: &Id) -> Option<Armed> {
        self.all.get(id).filter(|armed| armed.enabled && self.is_on(id.workflow)).cloned()
    }

    /// Schedules whose time has come, and the earliest time of the others.
    pub(super) fn due(&self, now: Timestamp) -> (Vec<Armed>, Option<Timestamp>) {
        let (mut due, mut next) = (Vec::new(), None::<Timestamp>);
        for armed in self.all.values() {
            match armed.due {
                Some(time) if time <= now => due.push(armed.clone()),
                Some(time) => next = Some(next.map_or(time, |next| next.min(time))),
                None => {}
            }
        }
        (due, next)
    }

    /// Who listens to a webhook.
    pub(super) fn hook(&self, name: &str) -> Option<&Armed> {
        self.hooks.get(name).and_then(|id| self.all.get(id))
    }

    /// Who asks for this end of a run of this workflow.
    pub(super) fn ends(&self, workflow: &str, end: RunEnd) -> Vec<Id> {
        let asking = self.ends.get(workflow).into_iter().flatten();
        asking.filter(|(on, _)| *on == RunEnd::Any || *on == end).map(|(_, id)| id.clone()).collect()
    }

    /// Whether anybody may ask for events of our own runs.
    pub(super) fn listens(&self) -> bool {
        !self.topics.is_empty() || !self.ends.is_empty()
    }

    /// Patterns that are asked for.
    pub(super) fn patterns(&self) -> Vec<String> {
        let pattern = |armed: &Armed| match &armed.trigger.source {
            TriggerSource::Event { pattern } => Some(pattern.clone()),
            _ => None,
        };
        self.all.values().filter_map(pattern).collect()
    }

    /// Changes are rare and triggers few, so the indexes are made anew.
    pub(super) fn index(&mut self) {
        (self.topics, self.hooks, self.ends) = (Index::default(), HashMap::new(), HashMap::new());
        for (id, armed) in &self.all {
            match &armed.trigger.source {
                TriggerSource::Event { pattern } => self.topics.insert(pattern, id.clone()),
                TriggerSource::Webhook { name, .. } => drop(self.hooks.insert(name.clone(), id.clone())),
                TriggerSource::Workflow { workflow, on } => {
                    self.ends.entry(workflow.clone()).or_default().push((*on, id.clone()));
                }
                TriggerSource::Cron { .. } | TriggerSource::Gpio { .. } => {}
            }
        }
    }
}
