//! A task of an agent as a step with steps inside: its calls.
//!
//! A call is an instance of one of the five nodes of the task's block, at the path of the task with the call's number added. So tries, doubt after a
//! crash, questions, cancel and pause are those of every other step; what is begun next is said by [`crate::task::next`].
//!
//! Invariants: the task's own state is folded here, before a record changes its step; what is sent is made of the state, and only its digest is
//! journaled, so that a journal does not grow with the square of a conversation; what is sent again after a crash has the digest of the first time,
//! or is not sent.

use serde::Deserialize;
use serde_json::Value;

use crate::error::Result;
use crate::expr::Data;
use crate::id::{NodeId, ThreadId};
use crate::limits;
use crate::model::{Approval, EffectKey, Json, Place, Plan, RecordBody, StepStatus, Waiting};
use crate::port::{AgentOp, MemoryOp, Op as StoreOp, Origin, Speaker, ThreadMessage, UsageRow, day_of};
use crate::task::{CallKind, Folded, Next, NextCall, Reply, TaskState, Whose, again, estimate_tokens, next};
use crate::time::Timestamp;

use super::decide::{Command, Execute, Outcome, Stepper, Todo, bug};
use super::program::{EffectKind, Op, Owner, Program, TaskOp};
use super::state::{Control, RunState};

impl RunState {
    /// Takes a record of a call into the state of its task.
    pub(super) fn note_task(&mut self, at: Timestamp, body: &RecordBody) {
        let Some(place) = body.place() else { return };
        let program = self.program.clone();
        let Some((control, kind, number)) = call_of(&program, place) else { return };
        let is_again = self.at(place).is_some_and(|instance| instance.input.is_some());
        // A try after a failed one is no doubt: how that one ended is known.
        let is_cut = self.at(place).is_some_and(|instance| instance.is_busy() && !instance.is_backing_off);
        let Some(Control::Task(task)) = self.at_mut(&control).and_then(|instance| instance.control.as_mut())
        else {
            return;
        };
        match body {
            RecordBody::StepStarted { input, .. } => {
                task.started(kind, number, input, is_again && is_cut, at)
            }
            RecordBody::AttemptFailed { error, .. } => task.try_failed(number, &error.class, at),
            RecordBody::StepWaiting { .. } => task.asked(number, at),
            RecordBody::StepCompleted { output, .. } => task.completed(number, output, at),
            RecordBody::StepFailed { error, .. } => task.failed(number, kind, error, at),
            RecordBody::StepCancelled { .. } => task.cancelled(number),
            _ => {}
        }
    }

    /// Where a task stands.
    pub fn task(&self, place: &Place) -> Option<&TaskState> {
        match self.at(place)?.control.as_ref()? {
            Control::Task(task) => Some(task),
            _ => None,
        }
    }
}

/// Of a call's place: its task, what sort it is, and its number.
fn call_of(program: &Program, place: &Place) -> Option<(Place, CallKind, u32)> {
    let node = program.node(place.node);
    let Owner::Task { node: task } = program.block(node.block).owner else { return None };
    let Op::Call(kind) = node.op else { return None };
    let (number, outer) = place.path.split_last()?;
    Some((Place { node: task, path: outer.to_vec() }, kind, *number))
}

fn effect_of(kind: CallKind) -> Option<EffectKind> {
    match kind {
        CallKind::Prepare => Some(EffectKind::Prepare),
        CallKind::Model | CallKind::Fold => Some(EffectKind::Model),
        CallKind::Tool | CallKind::Act => Some(EffectKind::Tool),
        CallKind::Ask => None,
    }
}

impl Stepper<'_> {
    pub(super) fn start_task(&mut self, place: Place) -> Result<()> {
        self.record(RecordBody::ControlStarted { place: place.clone(), plan: Plan::Open })?;
        self.push(Todo::Task { place });
        Ok(())
    }

    /// A call of the task at `node` is over.
    pub(super) fn task_more_after(&mut self, node: NodeId, call: &Place) -> Result<()> {
        if let Some((_, outer)) = call.path.split_last() {
            self.push(Todo::Task { place: Place { node, path: outer.to_vec() } });
        }
        Ok(())
    }

    /// Begins what follows, or ends the task.
    pub(super) fn task_more(&mut self, place: Place) -> Result<()> {
        let program = self.program;
        let Op::Task(op) = &program.node(place.node).op else { return Err(bug("not a task")) };
        let is_running = self.state.at(&place).is_some_and(|instance| instance.status == StepStatus::Running);
        if !is_running {
            return Ok(());
        }
        match self.next_of(&place, op)? {
            Next::Wait => Ok(()),
            Next::Calls(calls) => calls.into_iter().try_for_each(|call| self.begin_call(&place, op, call)),
            Next::Ask(ask) => {
                let due = self.context.now.max(self.state.last_at).after(limits::APPROVAL_TIME);
                let wait = Waiting::Approval(Box::new(Approval {
                    message: ask.message,
                    approvers: Vec::new(),
                    actions: vec!["approve".to_owned(), "deny".to_owned()],
                    default: Some("deny".to_owned()),
                    due: Some(due),
                }));
                let call = self.call_place(&place, op, CallKind::Ask, ask.number)?;
                self.out.is_durable = true;
                self.record(RecordBody::StepWaiting { place: call, wait })
            }
            Next::Done(output) => {
                self.remember(&place, &output);
                self.complete_step(place, Data::new(output))
            }
            Next::Failed(error) => self.fail_step(place, error),
        }
    }

    fn next_of(&self, place: &Place, op: &TaskOp) -> Result<Next> {
        let Some(task) = self.state.task(place) else { return Err(bug("a task that has not begun")) };
        Ok(next(task, &op.spec, self.state.inputs.json(), &self.whose()))
    }

    fn call_place(&self, task: &Place, op: &TaskOp, kind: CallKind, number: u32) -> Result<Place> {
        let nodes = &self.state.program.block(op.body).nodes;
        let is_kind =
            |node: &&NodeId| matches!(&self.state.program.node(**node).op, Op::Call(own) if *own == kind);
        let node = nodes.iter().find(is_kind).ok_or_else(|| bug("a task without such calls"))?;
        let mut path = task.path.clone();
        path.push(number);
        Ok(Place { node: *node, path })
    }

    fn begin_call(&mut self, task: &Place, op: &TaskOp, call: NextCall) -> Result<()> {
        let place = self.call_place(task, op, call.kind, call.number)?;
        let key = self.effect_key(&place);
        let journaled = Json::new(call.journaled.clone());
        self.send_call(place, 1, key, journaled, call)
    }

    /// Sends a call whose end is not known, or whose try failed, once more: just what was sent.
    pub(super) fn repeat_call(&mut self, place: Place) -> Result<()> {
        let Some((task, kind, number)) = call_of(self.program, &place) else { return Err(bug("not a call")) };
        let Op::Task(op) = &self.program.node(task.node).op else { return Err(bug("not a task")) };
        let (Some(key), Some(input), attempt) = (match self.state.at(&place) {
            Some(instance) => (instance.key, instance.input.clone(), instance.attempts + 1),
            None => return Ok(()),
        }) else {
            return Err(bug("a call without key or input"));
        };
        let Some(state) = self.state.task(&task) else { return Err(bug("a task that has not begun")) };
        let again = again(state, &op.spec, self.state.inputs.json(), &self.whose(), number, kind, &input);
        match again {
            Ok(call) => self.send_call(place, attempt, key, Json::new(Value::Null), call),
            Err(error) => self.fail_step(place, error),
        }
    }

    fn whose(&self) -> Whose {
        Whose {
            agent: self.state.created.workflow,
            depth: self.state.created.trigger.depth(),
            time: self.context.defaults.task_time,
            now: self.context.now.max(self.state.last_at),
        }
    }

    /// What was said goes into the task's conversation, with the record of its end.
    fn remember(&mut self, place: &Place, output: &Value) {
        let inputs = self.state.inputs.json().clone();
        let Some(thread) = inputs["thread"].as_str().and_then(|id| id.parse::<ThreadId>().ok()) else {
            return;
        };
        let is_tainted = self.state.task(place).is_some_and(|task| task.is_tainted);
        let at = self.context.now.max(self.state.last_at);
        let said = |speaker, value: &Value, origin| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let tokens = u32::try_from(estimate_tokens(&text)).unwrap_or(u32::MAX);
            ThreadMessage { speaker, text, calls: None, tool: None, tokens, origin, at }
        };
        let messages = vec![
            said(Speaker::User, &inputs["task"], Origin::of_task(!inputs["context"].is_null())),
            said(Speaker::Assistant, &output["result"], Origin::of_task(is_tainted)),
        ];
        let summary = self.state.task(place).and_then(|task| {
            let (fold, Folded::Text(text)) =
                (task.prepared.as_ref()?.memory.fold.as_ref()?, task.folded.as_ref()?)
            else {
                return None;
            };
            Some(fold.summary(text.clone(), at))
        });
        let append = MemoryOp::ThreadAppend { thread, run: self.state.id, messages, summary };
        self.out.ops.push(StoreOp::Memory(Box::new(append)));
    }

    /// What a reply of a model cost goes into the ledger with the record of its end.
    pub(super) fn note_usage(&mut self, place: &Place, output: &Value) {
        if !matches!(self.program.node(place.node).op, Op::Call(kind) if kind.asks_model()) {
            return;
        }
        let reply = Reply::deserialize(output).unwrap_or_default();
        let tree = reply.tree.unwrap_or(self.state.id);
        let row = UsageRow {
            day: day_of(self.context.now),
            agent: self.state.created.workflow,
            provider: reply.provider,
            model: reply.model,
            calls: u64::from(reply.tries.max(1)),
            input: reply.input,
            cached: reply.cached,
            output: reply.output,
            cost: reply.cost,
        };
        self.out.ops.push(StoreOp::Agent(Box::new(AgentOp::Used { row, tree })));
    }

    /// A run that is an agent's task counts for it.
    pub(super) fn task_over(&mut self, outcome: &Outcome) {
        let is_task = self.program.nodes.first().is_some_and(|node| matches!(node.op, Op::Task(_)));
        let failure = match outcome {
            _ if !is_task => return,
            Outcome::Cancelled => return,
            Outcome::Completed(_) => None,
            Outcome::Failed(error) => Some(format!("{}: {}", error.code, error.message)),
        };
        let at = self.context.now.max(self.state.last_at);
        let id = self.state.created.workflow;
        self.out.ops.push(StoreOp::Agent(Box::new(AgentOp::Ended { id, failure, at })));
    }

    fn send_call(
        &mut self,
        place: Place,
        attempt: u32,
        key: EffectKey,
        journaled: Json,
        call: NextCall,
    ) -> Result<()> {
        let Some(kind) = effect_of(call.kind) else { return Err(bug("a question is no effect")) };
        self.record(RecordBody::StepStarted { place: place.clone(), attempt, key, input: journaled })?;
        self.out.is_durable = true;
        let timeout = call.timeout;
        self.out.commands.push(Command::Execute(Execute {
            kind,
            place,
            attempt,
            key,
            input: Json::new(call.sent),
            timeout,
        }));
        Ok(())
    }
}
