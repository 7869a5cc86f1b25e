//! What is known of a run: a fold over its records.
//!
//! Invariants: changed only by `apply` (in `fold.rs`); equal journals give equal states. Steps inside a loop are kept
//! only while their iteration runs, so a loop of 100,000 iterations holds what its concurrency needs.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use crate::expr::Data;
use crate::id::{InboxId, NodeId, RunId};
use crate::model::{
    Approval, EffectKey, Ending, Json, Phase, Place, RunCreated, RunStatus, StepError, StepStatus, Waiting,
};
use crate::time::Timestamp;

use super::program::Program;

/// Why a run is paused that was taken up again and is not let in yet. A restart knows it by this.
pub const FOR_ITS_TURN: &str = "it waits for its turn (`concurrency`)";

/// A run, as its journal tells it.
#[derive(Debug)]
pub struct RunState {
    /// Which run.
    pub id: RunId,
    /// Its definition.
    pub program: Arc<Program>,
    /// What it was made from.
    pub created: RunCreated,
    /// When it was made.
    pub created_at: Timestamp,
    /// `Pending`, `Running` or terminal; whether a running one waits is in [`RunState::is_idle`].
    pub status: RunStatus,
    /// Inputs, in the form that expressions read.
    pub inputs: Data,
    /// What a trigger saw; null when none started it.
    pub event: Data,
    /// Variables.
    pub vars: BTreeMap<String, Data>,
    /// Signals that no step has taken.
    pub signals: VecDeque<(String, Data)>,
    /// Keys of all signals that came.
    pub signal_keys: HashSet<String>,
    /// Why somebody asked to end it.
    pub cancelling: Option<String>,
    /// Since when a person holds it.
    pub paused: Option<Timestamp>,
    /// Nobody holds it: it goes on by itself when its workflow's `concurrency` lets it in.
    pub waits_turn: bool,
    /// How often a person took it up again after it had failed.
    pub generation: u32,
    /// The record that did so last.
    pub retried: Option<u32>,
    /// Ids of events that steps have taken.
    pub event_ids: HashSet<String>,
    /// Number of the next record.
    pub next_seq: u32,
    /// Time of the newest record.
    pub last_at: Timestamp,
    /// When it got its first permit.
    pub started_at: Option<Timestamp>,
    /// Result of a completed run.
    pub output: Option<Data>,
    /// Why it failed.
    pub error: Option<StepError>,
    /// Steps that completed, iterations counted each.
    pub steps_completed: u32,
    /// Moments at which something happens by itself.
    pub(super) dues: BTreeSet<(Timestamp, Due)>,
    /// Effects and unresolved children under way.
    pub(super) busy: usize,
    /// Instances outside of loops, by node.
    pub(super) root: Vec<Option<Instance>>,
    /// Instances inside of running iterations, by path; of ended ones where a step may have to be undone.
    pub(super) inner: BTreeMap<Vec<u32>, BTreeMap<NodeId, Instance>>,
    /// Where it stands after its steps; `None` while they run.
    pub phase: Option<Phase>,
    /// How it is going to end, as soon as that is known and something still comes before.
    pub ending: Option<Ending>,
    /// `finally` has begun, which it does once.
    pub(super) finally_begun: bool,
    /// Completed steps that can be undone and are not, in the order of their completion.
    pub(super) undo: Vec<Place>,
    /// Outputs held of iterations that are over.
    pub(super) kept_bytes: usize,
}

/// What happens at a moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// The run's timeout.
    Run,
    /// A wait's end, a retry, or a control step's timeout.
    Step(Place),
    /// A cancelled run waits no longer for its effects.
    Grace,
}

/// A step in one iteration.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Where it stands.
    pub status: StepStatus,
    /// Tries so far.
    pub attempts: u32,
    /// Tries that failed; a try that a crash cut short is none.
    pub failures: u32,
    /// What it gave.
    pub output: Option<Data>,
    /// Why it failed.
    pub error: Option<StepError>,
    /// Of the effect.
    pub key: Option<EffectKey>,
    /// What the effect was given, while it is not over: every try sends the same.
    pub input: Option<Json>,
    /// What it waits for.
    pub waiting: Option<Waiting>,
    /// Between two tries.
    pub is_backing_off: bool,
    /// It is unknown whether the effect happened, and a person is asked.
    pub is_uncertain: bool,
    /// The question to a person that is open.
    pub question: Option<InboxId>,
    /// The record by which it listens for events.
    pub listens: Option<u32>,
    /// When something happens by itself.
    pub due: Option<Timestamp>,
    /// When it began.
    pub since: Timestamp,
    /// Of control steps.
    pub control: Option<Control>,
}

impl Instance {
    pub(super) fn new(status: StepStatus, since: Timestamp) -> Self {
        Self {
            status,
            attempts: 0,
            failures: 0,
            output: None,
            error: None,
            key: None,
            input: None,
            waiting: None,
            is_backing_off: false,
            is_uncertain: false,
            question: None,
            listens: None,
            due: None,
            since,
            control: None,
        }
    }

    /// An effect, or the start of a child, is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.status == StepStatus::Running && !self.is_backing_off && self.control.is_none()
    }
}

/// Where a control step stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Control {
    /// A condition: which branch, by index.
    Branch(Option<usize>),
    /// A fork.
    Fork(Vec<BranchState>),
    /// A loop.
    Loop(LoopState),
    /// A task of an agent.
    Task(Box<crate::task::TaskState>),
}

/// Where a branch of a fork stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchState {
    /// Not begun.
    Pending,
    /// Begun.
    Running,
    /// Ended well.
    Done,
    /// Ended badly.
    Failed,
    /// Ended by its fork.
    Cancelled,
}

/// Where a loop stands.
#[derive(Clone, Debug, PartialEq)]
pub struct LoopState {
    /// Items of a `for_each`.
    pub items: Option<Arc<Vec<Data>>>,
    /// How many iterations, where that is known.
    pub total: Option<u32>,
    /// Next index to begin.
    pub next: u32,
    /// Begun and not ended.
    pub running: BTreeSet<u32>,
    /// Failed, and the loop with them: what a retry takes up again.
    pub failed: BTreeSet<u32>,
    /// Results by index; null where an iteration failed or has not ended.
    pub results: Vec<Data>,
    /// Of all results together.
    pub results_bytes: usize,
}

impl RunState {
    /// An instance.
    pub fn instance(&self, node: NodeId, path: &[u32]) -> Option<&Instance> {
        if path.is_empty() {
            self.root.get(node.0 as usize)?.as_ref()
        } else {
            self.inner.get(path)?.get(&node)
        }
    }

    /// An instance by place.
    pub fn at(&self, place: &Place) -> Option<&Instance> {
        self.instance(place.node, &place.path)
    }

    pub(super) fn at_mut(&mut self, place: &Place) -> Option<&mut Instance> {
        if place.path.is_empty() {
            self.root.get_mut(place.node.0 as usize)?.as_mut()
        } else {
            self.inner.get_mut(&place.path)?.get_mut(&place.node)
        }
    }

    pub(super) fn put(&mut self, place: &Place, instance: Instance) {
        if place.path.is_empty() {
            if let Some(slot) = self.root.get_mut(place.node.0 as usize) {
                *slot = Some(instance);
            }
        } else {
            self.inner.entry(place.path.clone()).or_default().insert(place.node, instance);
        }
    }

    /// Every instance, in no particular order.
    pub fn instances(&self) -> impl Iterator<Item = (Place, &Instance)> {
        let root = self.root.iter().enumerate().filter_map(|(index, instance)| {
            Some((Place { node: NodeId(index as u32), path: Vec::new() }, instance.as_ref()?))
        });
        let inner = self.inner.iter().flat_map(|(path, nodes)| {
            nodes.iter().map(|(node, instance)| (Place { node: *node, path: path.clone() }, instance))
        });
        root.chain(inner)
    }

    /// Nothing is under way: what comes next is a time, a signal, a child's end or a person.
    pub fn is_idle(&self) -> bool {
        self.busy == 0
    }

    /// The next moment at which something happens by itself.
    pub fn next_due(&self) -> Option<Timestamp> {
        if self.paused.is_some() {
            return None;
        }
        self.dues.first().map(|(due, _)| *due)
    }

    /// What it waits for, in words; for people.
    pub fn waiting_for(&self) -> Option<String> {
        if self.paused.is_some() {
            let waits = if self.waits_turn { FOR_ITS_TURN } else { "a person to resume it" };
            return Some(waits.to_owned());
        }
        let mut words: Vec<String> = self
            .instances()
            .filter_map(|(place, instance)| Some((place.node, waiting_words(instance)?)))
            .map(|(node, words)| format!("{}: {words}", self.program.node(node).id))
            .collect();
        words.sort();
        let more = words.len().saturating_sub(3);
        words.truncate(3);
        if more > 0 {
            words.push(format!("and {more} more"));
        }
        (!words.is_empty()).then(|| words.join("; "))
    }
}

/// What an instance waits for.
pub fn waiting_words(instance: &Instance) -> Option<String> {
    if instance.is_uncertain {
        return Some("a person must say whether the effect happened".to_owned());
    }
    if instance.is_backing_off {
        return instance.due.map(|due| format!("next try at {due}"));
    }
    Some(match instance.waiting.as_ref()? {
        Waiting::Until { due } => format!("until {due}"),
        Waiting::Signal { name, due: None } => format!("signal `{name}`"),
        Waiting::Signal { name, due: Some(due) } => format!("signal `{name}` until {due}"),
        Waiting::Child { run, .. } => format!("run {run}"),
        Waiting::Event { topic, due: None } => format!("event `{topic}`"),
        Waiting::Event { topic, due: Some(due) } => format!("event `{topic}` until {due}"),
        Waiting::Approval(approval) => approval_words(approval),
    })
}

/// What a person is waited for.
pub fn approval_words(approval: &Approval) -> String {
    let until = approval.due.map_or_else(String::new, |due| format!(" until {due}"));
    format!("a person's answer ({}){until}: {}", approval.actions.join(", "), approval.message)
}
