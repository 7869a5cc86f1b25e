//! The fold: how each record changes a [`RunState`]. Total: a record that does not fit is an error that names it, because
//! it means a journal of another definition or a damaged one.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use crate::error::code::store;
use crate::error::{Error, Result};
use crate::expr::Data;
use crate::id::{NodeId, RunId};
use crate::limits;
use crate::model::inbox::{self, question_id};
use crate::model::{
    Ending, Json, OnError, Phase, Place, Plan, Record, RecordBody, RunStatus, StepStatus, Waiting,
};
use crate::time::Timestamp;

use super::program::{Op, Owner, Program};
use super::state::{BranchState, Control, Due, FOR_ITS_TURN, Instance, LoopState, RunState};

impl RunState {
    /// Folds a whole journal. The first record must be `RunCreated`.
    pub fn fold<'a>(
        id: RunId,
        program: Arc<Program>,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<Self> {
        let mut records = records.into_iter();
        let first = records.next().ok_or_else(|| damaged(id, 0, "the journal is empty"))?;
        let mut state = Self::begin(id, program, first)?;
        for record in records {
            state.apply(record)?;
        }
        Ok(state)
    }

    /// The state after the first record.
    pub fn begin(id: RunId, program: Arc<Program>, first: &Record) -> Result<Self> {
        let RecordBody::RunCreated(created) = &first.body else {
            return Err(damaged(id, first.seq, "it does not begin with the run's creation"));
        };
        if first.seq != 0 || created.definition != program.hash {
            return Err(damaged(id, first.seq, "its first record is of another definition"));
        }
        let root = (0..program.nodes.len()).map(|_| None).collect();
        Ok(Self {
            id,
            program,
            created: (**created).clone(),
            created_at: first.at,
            status: RunStatus::Pending,
            inputs: Data::from_json(created.inputs.clone()),
            event: Data::new(created.trigger.event()),
            vars: BTreeMap::new(),
            signals: VecDeque::new(),
            signal_keys: HashSet::new(),
            cancelling: None,
            paused: None,
            waits_turn: false,
            generation: 0,
            retried: None,
            event_ids: HashSet::new(),
            next_seq: 1,
            last_at: first.at,
            started_at: None,
            output: None,
            error: None,
            steps_completed: 0,
            dues: BTreeSet::new(),
            busy: 0,
            root,
            inner: BTreeMap::new(),
            phase: None,
            ending: None,
            finally_begun: false,
            undo: Vec::new(),
            kept_bytes: 0,
        })
    }

    /// Takes one more record.
    pub fn apply(&mut self, record: &Record) -> Result<()> {
        if record.seq != self.next_seq {
            return Err(damaged(self.id, record.seq, "its number does not follow the one before"));
        }
        if let Some(place) = record.body.place()
            && !self.program.has(place.node)
        {
            return Err(damaged(self.id, record.seq, "it names a step that the definition does not have"));
        }
        self.next_seq += 1;
        self.last_at = self.last_at.max(record.at);
        match &record.body {
            RecordBody::RunCreated(_) => {
                return Err(damaged(self.id, record.seq, "the run is created twice"));
            }
            RecordBody::RunStarted => {
                self.status = RunStatus::Running;
                self.started_at = Some(record.at);
                if let Some(timeout) = self.program.timeout {
                    self.dues.insert((record.at.after(timeout), Due::Run));
                }
            }
            RecordBody::RunCompleted { output } => {
                self.output = Some(Data::from_json(output.clone()));
                self.end(RunStatus::Completed);
            }
            RecordBody::RunFailed { error, .. } => {
                self.error = Some(error.clone());
                self.end(RunStatus::Failed);
            }
            RecordBody::RunCancelled { .. } => self.end(RunStatus::Cancelled),
            RecordBody::CancelRequested { reason } => {
                self.cancelling = Some(reason.clone());
                self.unpause(record.at);
            }
            RecordBody::RunPaused { reason } => {
                self.paused = Some(record.at);
                self.waits_turn = reason == FOR_ITS_TURN;
            }
            RecordBody::RunResumed => self.unpause(record.at),
            RecordBody::RunRetried { generation } => self.retried(record, *generation)?,
            RecordBody::RunForked { variables, .. } => self.forked(record.at, variables),
            RecordBody::SignalReceived { name, data, key } => {
                self.signals.push_back((name.clone(), Data::from_json(data.clone())));
                self.signal_keys.extend(key.clone());
            }
            RecordBody::EventEmitted { .. } => {}
            RecordBody::PhaseStarted { phase, ending } => self.phase_started(*phase, ending),
            body => self.apply_step(record.at, record.seq, body)?,
        }
        Ok(())
    }

    fn end(&mut self, status: RunStatus) {
        self.status = status;
        self.dues.clear();
        self.busy = 0;
    }

    fn phase_started(&mut self, phase: Phase, ending: &Ending) {
        // The timeout bounds the steps and `catch`; what puts things right afterwards must not be cut short by it.
        if phase != Phase::Catch {
            self.dues.retain(|(_, due)| !matches!(due, Due::Run | Due::Grace));
        }
        if let Phase::Stopping { due } = phase {
            self.dues.insert((due, Due::Grace));
        }
        self.finally_begun |= phase == Phase::Finally;
        self.phase = Some(phase);
        self.ending = Some(ending.clone());
    }

    fn apply_step(&mut self, at: Timestamp, seq: u32, body: &RecordBody) -> Result<()> {
        self.note_task(at, body);
        match body {
            RecordBody::StepStarted { place, attempt, key, input } => self.change(at, place, |instance| {
                instance.status = StepStatus::Running;
                if !input.is_null() {
                    instance.input = Some(input.clone());
                }
                instance.attempts = *attempt;
                instance.key = Some(*key);
                instance.is_backing_off = false;
                instance.is_uncertain = false;
                instance.question = None;
            }),
            RecordBody::StepCompleted { place, attempt, output } => {
                self.completed(at, place, *attempt, output)
            }
            RecordBody::AttemptFailed { place, attempt, error, due } => self.change(at, place, |instance| {
                instance.status = StepStatus::Running;
                instance.attempts = *attempt;
                instance.failures += 1;
                instance.error = Some(error.clone());
                instance.is_backing_off = true;
                instance.due = Some(*due);
            }),
            RecordBody::StepFailed { place, attempt, error } => self.change(at, place, |instance| {
                instance.status = StepStatus::Failed;
                instance.attempts = *attempt;
                instance.error = Some(error.clone());
            }),
            RecordBody::StepSkipped { place } => {
                self.change(at, place, |instance| instance.status = StepStatus::Skipped)
            }
            RecordBody::StepCancelled { place } => {
                self.change(at, place, |instance| instance.status = StepStatus::Cancelled)
            }
            RecordBody::StepWaiting { place, wait } => {
                let question = question_id(self.id, seq, at);
                self.change(at, place, |instance| {
                    instance.status = StepStatus::Waiting;
                    instance.attempts = instance.attempts.max(1);
                    instance.due = wait.due();
                    instance.waiting = Some(wait.clone());
                    instance.question = matches!(wait, Waiting::Approval(_)).then_some(question);
                    instance.listens = matches!(wait, Waiting::Event { .. }).then_some(seq);
                });
            }
            RecordBody::StepUncertain { place, attempt, key } => {
                let question = question_id(self.id, seq, at);
                self.change(at, place, |instance| {
                    instance.status = StepStatus::Waiting;
                    instance.attempts = *attempt;
                    instance.key = Some(*key);
                    instance.is_uncertain = true;
                    instance.question = Some(question);
                });
            }
            RecordBody::StepAnswered { place, action, .. } => self.change(at, place, |instance| {
                instance.question = None;
                if instance.is_uncertain && action == inbox::RETRY {
                    // As after a failed try whose delay is over: it is sent as soon as the run goes on.
                    instance.status = StepStatus::Running;
                    instance.is_uncertain = false;
                    instance.is_backing_off = true;
                    instance.due = Some(at);
                }
            }),
            RecordBody::EventReceived { id, .. } if !id.is_empty() => {
                self.event_ids.insert(id.clone());
            }
            RecordBody::ControlStarted { place, plan } => return self.control_started(at, seq, place, plan),
            RecordBody::IterationStarted { place, index } => {
                let state = self.loop_state(place, seq)?;
                state.next = state.next.max(index + 1);
                state.running.insert(*index);
            }
            RecordBody::IterationEnded { place, index, result, error } => {
                let program = self.program.clone();
                let ends_loop = error.is_some()
                    && matches!(&program.node(place.node).op, Op::Loop(a_loop) if !a_loop.continue_on_error);
                let state = self.loop_state(place, seq)?;
                state.running.remove(index);
                if ends_loop {
                    // Its steps stay, so that a retry finds those that were done.
                    state.failed.insert(*index);
                    return Ok(());
                }
                state.failed.remove(index);
                let slot = *index as usize;
                if slot >= limits::LOOP_ITERATIONS_MAX as usize {
                    return Err(damaged(self.id, seq, "its iteration is over the bound"));
                }
                if state.results.len() <= slot {
                    state.results.resize_with(slot + 1, Data::null);
                }
                let result = Data::from_json(result.clone());
                state.results_bytes += result.size_bytes();
                state.results[slot] = result;
                self.forget_iteration(place, *index);
            }
            _ => {}
        }
        Ok(())
    }

    /// Changes an instance, and keeps the counts and moments that are derived from it.
    fn change(&mut self, at: Timestamp, place: &Place, change: impl FnOnce(&mut Instance)) {
        if self.at(place).is_none() {
            self.put(place, Instance::new(StepStatus::Pending, at));
        }
        let Some(instance) = self.at_mut(place) else { return };
        let (was_busy, old_due) = (instance.is_busy(), instance.due);
        let is_control = instance.control.is_some();
        if !is_control {
            instance.due = None;
        }
        change(instance);
        if instance.status.is_terminal() {
            instance.due = None;
            instance.waiting = None;
            instance.input = None;
            instance.is_backing_off = false;
            instance.is_uncertain = false;
            instance.question = None;
            instance.listens = None;
        }
        let (is_busy, new_due, status) = (instance.is_busy(), instance.due, instance.status);
        self.busy = (self.busy + usize::from(is_busy)).saturating_sub(usize::from(was_busy));
        if old_due != new_due {
            if let Some(due) = old_due {
                self.dues.remove(&(due, Due::Step(place.clone())));
            }
            if let Some(due) = new_due {
                self.dues.insert((due, Due::Step(place.clone())));
            }
        }
        self.note_branch(place, status);
        self.note_undone(place, status);
    }

    fn completed(&mut self, at: Timestamp, place: &Place, attempt: u32, output: &Json) {
        let data = Data::from_json(output.clone());
        if let Some(Waiting::Signal { name, .. }) =
            self.at(place).and_then(|instance| instance.waiting.as_ref())
            && let Some(index) = self.signals.iter().position(|(signal, _)| signal == name)
        {
            self.signals.remove(index);
        }
        let node = self.program.node(place.node);
        if matches!(node.op, Op::Set(_))
            && let serde_json::Value::Object(variables) = &**output
        {
            for (name, value) in variables {
                self.vars.insert(name.clone(), Data::new(value.clone()));
            }
        }
        if let Some(name) = &node.output_variable {
            self.vars.insert(name.clone(), data.clone());
        }
        self.steps_completed += u32::from(!node.id.is_empty());
        if node.compensate.is_some() {
            self.undo.push(place.clone());
        }
        self.change(at, place, |instance| {
            instance.status = StepStatus::Completed;
            instance.attempts = attempt.max(instance.attempts);
            instance.error = None;
            instance.output = Some(data);
        });
    }

    fn control_started(&mut self, at: Timestamp, seq: u32, place: &Place, plan: &Plan) -> Result<()> {
        let program = self.program.clone();
        let node = program.node(place.node);
        let control = match (&node.op, plan) {
            (Op::Condition(condition), Plan::Branch { taken }) => Control::Branch(
                taken
                    .as_ref()
                    .and_then(|taken| condition.branches.iter().position(|(name, _)| name == taken)),
            ),
            (Op::Fork(fork), Plan::All) => Control::Fork(
                fork.branches
                    .iter()
                    .map(|branch| match program.block(branch.block).nodes.is_empty() {
                        true => BranchState::Done,
                        false => BranchState::Pending,
                    })
                    .collect(),
            ),
            (Op::Loop(_), Plan::Items { items }) => {
                let serde_json::Value::Array(list) = &**items else {
                    return Err(damaged(self.id, seq, "the items of a loop are no list"));
                };
                let items: Vec<Data> = list.iter().map(|item| Data::new(item.clone())).collect();
                Control::Loop(new_loop(Some(items.len() as u32), Some(Arc::new(items))))
            }
            (Op::Loop(_), Plan::Times { count }) => Control::Loop(new_loop(Some(*count), None)),
            (Op::Loop(_), Plan::Open) => Control::Loop(new_loop(None, None)),
            (Op::Task(_), Plan::Open) => Control::Task(Box::default()),
            _ => return Err(damaged(self.id, seq, "its plan does not fit the step")),
        };
        let due = node.timeout.map(|timeout| at.after(timeout));
        self.change(at, place, |instance| {
            instance.status = StepStatus::Running;
            instance.attempts = 1;
            instance.control = Some(control);
            instance.due = due;
        });
        Ok(())
    }

    fn loop_state(&mut self, place: &Place, seq: u32) -> Result<&mut LoopState> {
        let id = self.id;
        match self.at_mut(place).and_then(|instance| instance.control.as_mut()) {
            Some(Control::Loop(state)) => Ok(state),
            _ => Err(damaged(id, seq, "it names an iteration of a loop that has not begun")),
        }
    }

    /// What undoes a step is over, well or not: that step is not undone again.
    fn note_undone(&mut self, place: &Place, status: StepStatus) {
        let Owner::Compensation { node } = self.program.block(self.program.node(place.node).block).owner
        else {
            return;
        };
        let is_next = self.undo.last().is_some_and(|last| last.node == node && last.path == place.path);
        if status.is_terminal() && is_next {
            self.undo.pop();
        }
    }

    /// Drops the steps of an iteration that has ended: nothing outside can see them. They stay when one of them may
    /// have to be undone, because what undoes it sees them.
    fn forget_iteration(&mut self, place: &Place, index: u32) {
        let mut path = place.path.clone();
        path.push(index);
        // Loops side by side have the same indexes, so only what is inside of this one goes.
        let own = NodeId(place.node.0 + 1)..NodeId(self.program.node(place.node).end);
        if let Some(bytes) = self.bytes_to_keep(&path, &own) {
            self.kept_bytes += bytes;
            return;
        }
        let mut emptied = Vec::new();
        for (inner, nodes) in self.inner.range_mut(path.clone()..) {
            if !inner.starts_with(&path) {
                break;
            }
            nodes.retain(|node, _| !own.contains(node));
            if nodes.is_empty() {
                emptied.push(inner.clone());
            }
        }
        for inner in emptied {
            self.inner.remove(&inner);
        }
    }

    /// The size of an iteration's outputs, when a step of it may have to be undone.
    fn bytes_to_keep(&self, path: &[u32], own: &std::ops::Range<NodeId>) -> Option<usize> {
        let (mut bytes, mut keeps) = (0, false);
        for (_, nodes) in self.inner.range(path.to_vec()..).take_while(|(inner, _)| inner.starts_with(path)) {
            for (node, instance) in nodes.iter().filter(|(node, _)| own.contains(node)) {
                let completed = instance.status == StepStatus::Completed;
                keeps |= completed && self.program.node(*node).compensate.is_some();
                bytes += instance.output.as_ref().map_or(0, Data::size_bytes);
            }
        }
        keeps.then_some(bytes)
    }

    /// A fork's branch stands where its steps stand. One that failed stays so, whatever is said of its other steps: only
    /// taking the run up again puts it back.
    fn note_branch(&mut self, place: &Place, status: StepStatus) {
        let node = self.program.node(place.node);
        let block = self.program.block(node.block);
        let Owner::Fork { node: fork, branch } = block.owner else { return };
        let is_last = node.slot as usize + 1 == block.nodes.len();
        let now = match status {
            StepStatus::Failed if node.on_error == OnError::Fail => BranchState::Failed,
            StepStatus::Cancelled => BranchState::Cancelled,
            status if status.is_terminal() && is_last => BranchState::Done,
            _ => BranchState::Running,
        };
        let fork = Place { node: fork, path: place.path.clone() };
        if let Some(Control::Fork(branches)) =
            self.at_mut(&fork).and_then(|instance| instance.control.as_mut())
            && let Some(state) = branches.get_mut(branch as usize)
            && *state != BranchState::Failed
        {
            *state = now;
        }
    }
}

fn new_loop(total: Option<u32>, items: Option<Arc<Vec<Data>>>) -> LoopState {
    LoopState {
        items,
        total,
        next: 0,
        running: BTreeSet::new(),
        failed: BTreeSet::new(),
        results: Vec::new(),
        results_bytes: 0,
    }
}

pub(super) fn damaged(run: RunId, seq: u32, why: &str) -> Error {
    Error::new(&store::CORRUPT, format!("record {seq} of run {run}: {why}"))
        .help("run `chainbot health` and restore the newest backup if the database is damaged")
}
