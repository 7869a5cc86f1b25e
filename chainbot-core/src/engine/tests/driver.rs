//! A pure driver: feeds `decide` and plays disk, effects, clock and children. No threads; a crash is a choice.
//!
//! Decisions gather in `pending` and are committed as the runtime does it: when something outside depends on them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::engine::decide::{
    Agenda, Command, Context, Decision, Defaults, Execute, Failure, Input, NewChild, NoWatch, Outcome,
};
use crate::engine::program::Owner;
use crate::engine::{Program, RunState, compile, decide};
use crate::id::{DefinitionHash, RunId, WorkflowId};
use crate::limits;
use crate::model::{
    EffectKey, Json, Place, Record, RecordBody, RunCreated, RunStatus, StepError, StepStatus, Trigger,
    Waiting, class,
};
use crate::port::Op;
use crate::time::Timestamp;

/// When every test begins.
pub const START: Timestamp = Timestamp(1_800_000_000_000);
/// The run under test.
pub fn run_id() -> RunId {
    RunId::from([9; 16])
}

/// Checks and compiles a definition; panics with its diagnostics.
pub fn program(source: &str) -> Arc<Program> {
    let checked = crate::validate::check(source);
    let Some(definition) = checked.definition else {
        panic!("the definition is wrong: {:#?}\n{source}", checked.diagnostics)
    };
    Arc::new(compile(&definition, source).unwrap())
}

/// What an effect's try gives.
#[derive(Clone, Debug)]
pub enum Reply {
    Ok(Value),
    Err(String, Option<Duration>),
    /// Nothing, until the test says otherwise.
    Hang,
}

impl Reply {
    /// As an executor gives it; `None` while there is none.
    pub fn result(self) -> Option<Result<Value, Failure>> {
        match self {
            Reply::Ok(value) => Some(Ok(value)),
            Reply::Err(class, retry_after) => {
                let code = &crate::error::code::run::STEP_INVALID;
                let error = StepError::new(&class, code, format!("a {class}"));
                Some(Err(Failure { error, retry_after, status: None }))
            }
            Reply::Hang => None,
        }
    }
}

/// A run, its disk, and what is under way outside.
pub struct Driver {
    pub program: Arc<Program>,
    pub state: RunState,
    pub agenda: Agenda,
    pub now: Timestamp,
    pub defaults: Defaults,
    /// On disk.
    pub journal: Vec<Record>,
    pub ops: Vec<Op>,
    /// Decided and not on disk.
    pending: Decision,
    /// Sent and not answered, in order.
    pub effects: Vec<Execute>,
    /// Every try that was sent.
    pub sent: Vec<(Place, u32, EffectKey)>,
    /// Children that exist on disk, by the order of their making; whether they are over.
    pub children: Vec<(RunId, Place, Option<Outcome>)>,
    /// Answers to `ResolveChild`.
    resolved: Vec<(Place, Result<NewChild, StepError>)>,
    places_of_children: HashMap<RunId, Place>,
    /// What happened outside, in words.
    pub log: Vec<String>,
    /// Wants an effect's input kept: the last one sent for a place.
    pub inputs: BTreeMap<Place, Json>,
    child_number: u8,
    source: String,
}

impl Driver {
    pub fn new(source: &str, inputs: Value, depth: u32) -> Self {
        Self::with(program(source), source, inputs, depth)
    }

    /// Of a definition that is compiled already.
    pub fn with(program: Arc<Program>, source: &str, inputs: Value, depth: u32) -> Self {
        let inputs = crate::engine::inputs::prepare(&program, inputs).unwrap();
        let trigger = match depth {
            0 => Trigger::Api,
            depth => Trigger::Parent { run: RunId::from([8; 16]), depth },
        };
        let created = RunCreated {
            workflow: WorkflowId::from([7; 16]),
            name: program.name.clone(),
            definition: program.hash,
            inputs: Json::new(inputs),
            trigger,
            parent: None,
        };
        let first = Record { seq: 0, at: START, body: RecordBody::RunCreated(Box::new(created)) };
        let state = RunState::begin(run_id(), program.clone(), &first).unwrap();
        Self {
            program,
            state,
            agenda: Agenda::default(),
            now: START,
            defaults: Defaults::default(),
            journal: vec![first],
            ops: Vec::new(),
            pending: Decision::default(),
            effects: Vec::new(),
            sent: Vec::new(),
            children: Vec::new(),
            resolved: Vec::new(),
            places_of_children: HashMap::new(),
            log: Vec::new(),
            inputs: BTreeMap::new(),
            child_number: 100,
            source: source.to_owned(),
        }
    }

    /// One decision and, when it must be, its commit. `Err` is a refusal.
    pub fn input(&mut self, input: Input) -> Result<(), StepError> {
        let context = Context {
            watch: &NoWatch,
            now: self.now,
            random: u64::MAX,
            defaults: &self.defaults,
            outbox: crate::port::OutboxRoom::EMPTY,
        };
        let decision = decide(&mut self.state, &mut self.agenda, input, &context).unwrap();
        if let Some(refused) = decision.refused {
            assert!(decision.records.is_empty() && decision.commands.is_empty());
            return Err(refused);
        }
        self.pending.records.extend(decision.records);
        self.pending.ops.extend(decision.ops);
        self.pending.commands.extend(decision.commands);
        self.pending.is_durable |= decision.is_durable;
        Ok(())
    }

    /// Whether the runtime would hand what is decided to the disk by now.
    pub fn wants_commit(&self) -> bool {
        self.pending.is_durable
            || !self.pending.commands.is_empty()
            || self.agenda.awaits_commit()
            || self.pending.records.len() >= limits::DECISION_RECORDS_MAX
            || (self.state.status.is_terminal() && !self.pending.records.is_empty())
            // A run that is held is parked as soon as nothing is under way.
            || (self.state.paused.is_some() && self.effects.is_empty() && !self.pending.records.is_empty())
    }

    /// The disk has what was decided; what waited for that goes out.
    pub fn commit(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        self.journal.extend(pending.records);
        for op in &pending.ops {
            if let Op::RunInsert { row, created: Some(created), .. } = op {
                let RecordBody::RunCreated(created) = &created.body else { panic!("no creation") };
                let Trigger::Parent { run, depth } = &created.trigger else { panic!("no parent") };
                assert_eq!(*run, run_id());
                let place = self.places_of_children[&row.id].clone();
                let id = self.step_name(&place);
                self.log.push(format!("child of {id} made, depth {depth}, inputs {}", created.inputs));
                self.children.push((row.id, place, None));
            }
        }
        self.ops.extend(pending.ops);
        self.agenda.committed();
        for command in pending.commands {
            self.command(command);
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Execute(execute) => {
                let id = self.step_name(&execute.place);
                self.log.push(format!("sent {id} try {}", execute.attempt));
                self.sent.push((execute.place.clone(), execute.attempt, execute.key));
                self.inputs.insert(execute.place.clone(), execute.input.clone());
                self.effects.push(execute);
            }
            Command::Abort { place } => {
                self.effects.retain(|effect| effect.place != place);
                let id = self.step_name(&place);
                self.log.push(format!("aborted {id}"));
            }
            Command::ResolveChild { place, workflow, inputs } => {
                let child = if workflow == "missing" {
                    let code = &crate::error::code::definition::NOT_FOUND;
                    Err(StepError::new(class::INVALID, code, "there is no workflow `missing`"))
                } else {
                    self.child_number += 1;
                    let run = RunId::from([self.child_number; 16]);
                    self.places_of_children.insert(run, place.clone());
                    Ok(NewChild {
                        run,
                        workflow: WorkflowId::from([6; 16]),
                        name: workflow,
                        definition: DefinitionHash::of("child"),
                        inputs,
                    })
                };
                self.resolved.push((place, child));
            }
            Command::AdmitChild { run } => {
                assert!(self.children.iter().any(|child| child.0 == run), "admitted before it is on disk");
            }
            Command::CheckChild { run } => {
                let over =
                    self.children.iter().find(|child| child.0 == run).and_then(|child| child.2.clone());
                if let Some(outcome) = over {
                    self.input(Input::ChildEnded { run, outcome }).unwrap();
                }
            }
            Command::CancelChild { run, reason } => {
                let place = self.places_of_children[&run].clone();
                let id = self.step_name(&place);
                self.log.push(format!("child of {id} cancelled: {}", reason.split(' ').next().unwrap()));
            }
            Command::NotifyParent { .. } => self.log.push("parent told".to_owned()),
            Command::Listen { topic, .. } => self.log.push(format!("listens for {topic}")),
            Command::Unlisten { .. } => {}
        }
    }

    /// Works until nothing happens by itself; commits on the way. `stop` is asked before every commit and after every
    /// decision: true leaves everything as it is.
    pub fn settle(&mut self, mut stop: impl FnMut(&Driver) -> bool) -> bool {
        for _ in 0..1_000_000 {
            if stop(self) {
                return false;
            }
            if self.wants_commit() {
                self.commit();
            } else if let Some((place, child)) = self.resolved.pop() {
                self.input(Input::ChildReady { place, child }).unwrap();
            } else if !self.agenda.is_empty() && self.state.paused.is_none() {
                self.input(Input::Continue).unwrap();
            } else {
                return true;
            }
        }
        panic!("the run does not settle: {:?}", self.journal.last());
    }

    /// Answers the effect at `index` of those under way.
    pub fn answer(&mut self, index: usize, reply: Reply) {
        let Some(result) = reply.result() else { return };
        let Execute { place, attempt, .. } = self.effects.remove(index);
        self.input(Input::EffectDone { place, attempt, result }).unwrap();
    }

    /// A child is over. The parent is told unless it crashes first.
    pub fn end_child(&mut self, index: usize, outcome: Outcome) {
        self.children[index].2 = Some(outcome.clone());
        let run = self.children[index].0;
        self.input(Input::ChildEnded { run, outcome }).unwrap();
    }

    /// The process dies: what is not on disk is gone. Then another takes the run up.
    pub fn crash(&mut self) {
        self.pending = Decision::default();
        self.effects.clear();
        self.resolved.clear();
        self.state = self.folded();
        let input = if self.state.status == RunStatus::Pending && self.state.paused.is_none() {
            Input::Admit
        } else {
            Input::Resume { under_way: Vec::new() }
        };
        self.agenda = Agenda::default();
        self.input(input).unwrap();
    }

    /// The state that the disk tells.
    pub fn folded(&self) -> RunState {
        RunState::fold(run_id(), self.program.clone(), &self.journal).unwrap()
    }

    /// Everything on disk and in memory agrees, and nothing is stuck.
    pub fn assert_sound(&self) {
        let dense = self.journal.iter().enumerate().all(|(index, record)| record.seq == index as u32);
        assert!(dense, "seq is not dense");
        if self.pending.records.is_empty() {
            assert_eq!(
                fingerprint(&self.folded()),
                fingerprint(&self.state),
                "fold(journal) is not the state"
            );
        }
        // A retry is a new generation with new keys; what was completed stays.
        let mut completed = std::collections::HashSet::new();
        let mut keys: HashMap<&Place, EffectKey> = HashMap::new();
        for record in &self.journal {
            match &record.body {
                // `catch` and `finally` belong to an end, and the run has another one before it.
                RecordBody::RunRetried { .. } => {
                    keys.clear();
                    completed.retain(|place: &&Place| self.program.phase_of(place.node) == Owner::Run);
                }
                RecordBody::StepCompleted { place, .. } => {
                    assert!(completed.insert(place), "{place:?} completed twice");
                }
                RecordBody::StepStarted { place, key, .. } => {
                    assert!(!completed.contains(place), "{place:?} started after its completion");
                    assert_eq!(*keys.entry(place).or_insert(*key), *key, "{place:?} has two keys");
                }
                RecordBody::ControlStarted { place, .. } | RecordBody::StepWaiting { place, .. } => {
                    assert!(!completed.contains(place), "{place:?} began after its completion");
                }
                _ => {}
            }
        }
        assert!(
            self.state.status.is_terminal() || self.is_waiting(),
            "the run is stuck: {:#?}\n{:#?}\n{}",
            self.state
                .instances()
                .map(|(place, i)| (self.step_name(&place), i.status, i.control.clone()))
                .collect::<Vec<_>>(),
            self.journal.iter().rev().take(8).collect::<Vec<_>>(),
            self.source,
        );
    }

    /// Something will wake the run, and it says what.
    fn is_waiting(&self) -> bool {
        !self.effects.is_empty()
            || !self.resolved.is_empty()
            || !self.agenda.is_empty()
            || self.wants_commit()
            || self.state.next_due().is_some()
            || self.state.waiting_for().is_some()
    }

    /// The id of a step with the indexes of its loops.
    pub fn step_name(&self, place: &Place) -> String {
        let indexes: String = place.path.iter().map(|index| format!("[{index}]")).collect();
        format!("{}{indexes}", self.program.node(place.node).id)
    }

    /// A person takes the failed run up again, as the runtime does it.
    pub fn retry(&mut self) {
        assert_eq!(self.state.status, RunStatus::Failed);
        let body = RecordBody::RunRetried { generation: self.state.generation + 1 };
        self.journal.push(Record { seq: self.state.next_seq, at: self.now, body });
        self.crash();
    }

    /// The questions that are open, with the names of their steps.
    pub fn questions(&self) -> Vec<(String, crate::id::InboxId)> {
        let open = self.state.instances().filter_map(|(place, instance)| Some((place, instance.question?)));
        let mut open: Vec<_> = open.map(|(place, id)| (self.step_name(&place), id)).collect();
        open.sort();
        open
    }

    /// Names of signals that steps wait for.
    pub fn awaited(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .state
            .instances()
            .filter(|(_, instance)| instance.status == StepStatus::Waiting)
            .filter_map(|(_, instance)| match &instance.waiting {
                Some(Waiting::Signal { name, .. }) => Some(name.clone()),
                _ => None,
            })
            .collect();
        names.sort();
        names
    }
}

/// All of a state that a fold must give, as text.
pub fn fingerprint(state: &RunState) -> String {
    let mut instances: Vec<_> = state.instances().collect();
    instances.sort_by(|a, b| a.0.cmp(&b.0));
    let instances: Vec<String> = instances
        .iter()
        .map(|(place, instance)| {
            format!("{place:?} {:?} {:?}", instance, instance.output.as_ref().map(|data| data.json().clone()))
        })
        .collect();
    let vars: Vec<_> = state.vars.iter().map(|(name, data)| (name, data.json().clone())).collect();
    let signals: Vec<_> = state.signals.iter().map(|(name, data)| (name, data.json().clone())).collect();
    format!(
        "{:?} {} {:?} {:?} {:?} {:?} {} {signals:?} {vars:?} {:?} {} {instances:?}",
        state.status,
        state.next_seq,
        state.last_at,
        state.started_at,
        state.cancelling,
        state.paused,
        state.generation,
        state.dues,
        state.busy,
    )
}
