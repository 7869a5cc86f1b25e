//! Steps without steps inside: variables, data, waits, effects, events, children.
//!
//! Invariant: entering a leaf leaves at least one record, so that counts of what is under way can be taken from the
//! state alone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::error::Result;
use crate::error::code::run;
use crate::expr::{self, Data, Expression, ItemSource, Marker, Template, Transformer};
use crate::limits;
use crate::model::{
    EffectKey, Json, Place, Record, RecordBody, RunCreated, RunRow, RunStatus, StepError, StepStatus,
    Trigger, Waiting, class,
};
use crate::port::Op as StoreOp;
use crate::time::{Timestamp, parse_duration};

use super::decide::{Command, Execute, NewChild, Outcome, Stepper, Todo, bug, child_timer_seq, prefixed};
use super::program::{EffectOp, Op, SECRETS_KEY, WaitOp, WaitTarget};
use super::scope::{PlaceScope, volatile};

impl Stepper<'_> {
    /// Begins a step that has no steps inside.
    pub(super) fn start_leaf(&mut self, place: Place) -> Result<()> {
        let program = self.program;
        let begun = match &program.node(place.node).op {
            Op::Set(variables) => self.set(variables, &place).map(Begun::Done),
            Op::Transform(transformer) => self.transform(transformer, &place).map(Begun::Done),
            Op::Emit { topic, data } => return self.emit(place, topic, data.as_ref()),
            Op::Notify(notify) => return self.notify(place, notify),
            Op::Queue(effect) => return self.queue(place, effect),
            Op::Wait(wait) => self.wait(wait, &place),
            Op::Effect(effect) => self.effect_input(&effect.input, &place).map(Begun::Effect),
            Op::Child { workflow, inputs, wait } => {
                self.child_input(&place, workflow, inputs.as_ref(), *wait)
            }
            _ => return Err(bug("a control step taken for a leaf")),
        };
        match begun {
            Ok(Begun::Done(output)) => self.complete_step(place, output),
            Ok(Begun::Waiting(wait)) => self.start_wait(place, wait),
            Ok(Begun::Effect(input)) => self.start_effect(place, input),
            Ok(Begun::Child(input)) => self.start_child(place, input),
            Err(error) => self.fail_step(place, error),
        }
    }

    /// Ends a step well and goes on.
    pub(super) fn complete_step(&mut self, place: Place, output: Data) -> Result<()> {
        if output.size_bytes() > limits::STEP_OUTPUT_BYTES_MAX {
            let error = over_bound("the step's output", output.size_bytes(), limits::STEP_OUTPUT_BYTES_MAX);
            return self.fail_step(place, error);
        }
        let attempt = self.state.at(&place).map_or(1, |instance| instance.attempts.max(1));
        let program = self.program;
        let node = program.node(place.node);
        if node.output_variable.is_some() || matches!(node.op, Op::Set(_)) {
            // What is replaced goes as the new comes.
            let is_replaced = |name: &String| match &node.op {
                Op::Set(_) => {
                    output.json().get(name.as_str()).is_some() || node.output_variable.as_ref() == Some(name)
                }
                _ => node.output_variable.as_ref() == Some(name),
            };
            let kept = self.state.vars.iter().filter(|(name, _)| !is_replaced(name));
            let held: usize = kept.map(|(_, value)| value.size_bytes()).sum();
            if held + output.size_bytes() > limits::RUN_VARS_BYTES_MAX {
                let error =
                    over_bound("the run's variables", held + output.size_bytes(), limits::RUN_VARS_BYTES_MAX);
                return self.fail_step(place, error);
            }
        }
        self.record(RecordBody::StepCompleted {
            place: place.clone(),
            attempt,
            output: output.json().clone(),
        })?;
        if node.checkpoint {
            self.out.is_durable = true;
            self.agenda.after_commit.push(Todo::Ended { place });
        } else {
            self.push(Todo::Ended { place });
        }
        Ok(())
    }

    /// Ends a step badly and goes on as its `on_error` says.
    pub(super) fn fail_step(&mut self, place: Place, error: StepError) -> Result<()> {
        self.cancel_children(&place)?;
        let attempt = self.state.at(&place).map_or(1, |instance| instance.attempts.max(1));
        self.record(RecordBody::StepFailed { place: place.clone(), attempt, error })?;
        self.push(Todo::Ended { place });
        Ok(())
    }

    fn set(&mut self, variables: &[(String, Expression)], place: &Place) -> Result<Data, StepError> {
        let mut values = serde_json::Map::new();
        for (index, (name, value)) in variables.iter().enumerate() {
            let value = match value.constant() {
                Some(constant) => constant.clone(),
                None => {
                    let scope = Ahead {
                        inner: PlaceScope::new(self.state, place, &self.context.defaults.constants),
                        set: &values,
                    };
                    let volatile = volatile(self.state, place, self.context.now, index as u8);
                    value
                        .evaluate(&scope, &volatile)
                        .map_err(|error| prefixed(&format!("`{name}`"), expression_error(&error)))?
                }
            };
            values.insert(name.clone(), (**value.json()).clone());
        }
        Ok(Data::new(Value::Object(values)))
    }

    fn transform(&mut self, transformer: &Transformer, place: &Place) -> Result<Data, StepError> {
        let scope = PlaceScope::new(self.state, place, &self.context.defaults.constants);
        let volatile = volatile(self.state, place, self.context.now, b'x');
        let output = transformer.run(&scope, &volatile).map_err(|error| expression_error(&error))?;
        Ok(Data::object(vec![("transformed", output)]))
    }

    fn wait(&mut self, wait: &WaitOp, place: &Place) -> Result<Begun, StepError> {
        let now = self.context.now;
        let timeout = self.state.program.node(place.node).timeout.map(|timeout| now.after(timeout));
        let waiting = match &wait.target {
            WaitTarget::Duration(duration) => {
                Waiting::Until { due: now.after(as_duration(&self.render(duration, place, b'd')?)?) }
            }
            WaitTarget::Until(until) => Waiting::Until { due: as_time(&self.render(until, place, b'd')?)? },
            WaitTarget::Signal { name, .. } => {
                Waiting::Signal { name: self.render_text(name, place, b'd')?, due: timeout }
            }
            WaitTarget::Event { topic, .. } => {
                self.event_wait(self.render_text(topic, place, b'd')?, timeout)?
            }
            WaitTarget::Approval(approval) => self.approval(approval, place)?,
        };
        Ok(Begun::Waiting(waiting))
    }

    fn start_wait(&mut self, place: Place, wait: Waiting) -> Result<()> {
        let over = matches!(&wait, Waiting::Until { due } if *due <= self.context.now);
        let signal = match &wait {
            Waiting::Signal { name, .. } => Some(name.clone()),
            _ => None,
        };
        self.record(RecordBody::StepWaiting { place: place.clone(), wait })?;
        self.out.is_durable = true;
        if over {
            return self.wait_over(place);
        }
        match signal {
            Some(name) => self.deliver_signal(&name),
            None => Ok(()),
        }
    }

    /// Gives buffered signals of a name to the steps that wait for them, in order of the steps.
    pub(super) fn deliver_signal(&mut self, name: &str) -> Result<()> {
        while let Some(data) =
            self.state.signals.iter().find(|(signal, _)| signal == name).map(|(_, data)| data.clone())
        {
            let Some(place) = self.first_waiting(name) else { return Ok(()) };
            if let Err(error) = self.check_signal(&place, data.json()) {
                self.fail_step(place, error)?;
                continue;
            }
            let output =
                json!({ "waited": self.waited(&place), "signal": **data.json(), "timed_out": false });
            self.complete_step(place, Data::new(output))?;
        }
        Ok(())
    }

    /// The first step that waits for a signal, in order of the text and of iterations.
    pub(super) fn first_waiting(&self, name: &str) -> Option<Place> {
        let waits = |waiting: &Option<Waiting>| matches!(waiting, Some(Waiting::Signal { name: wanted, .. }) if wanted == name);
        self.state.instances().filter(|(_, instance)| waits(&instance.waiting)).map(|(place, _)| place).min()
    }

    /// Whether a waiting step takes this data.
    pub(super) fn check_signal(&self, place: &Place, data: &Value) -> Result<(), StepError> {
        let Op::Wait(WaitOp { target: WaitTarget::Signal { schema: Some(schema), name: _ }, .. }) =
            &self.state.program.node(place.node).op
        else {
            return Ok(());
        };
        match crate::validate::misfits(schema, data, 1).pop() {
            None => Ok(()),
            Some(misfit) => {
                let why = format!("the signal's data does not fit the schema: {misfit}");
                Err(StepError::new(class::INVALID, &run::SIGNAL, why))
            }
        }
    }

    /// Seconds since the step began.
    pub(super) fn waited(&self, place: &Place) -> f64 {
        let since = self.state.at(place).map_or(self.context.now, |instance| instance.since);
        self.context.now.since(since).as_millis() as f64 / 1000.0
    }

    fn wait_over(&mut self, place: Place) -> Result<()> {
        let output = json!({ "waited": self.waited(&place), "timed_out": false });
        self.complete_step(place, Data::new(output))
    }

    fn emit(&mut self, place: Place, topic: &Template, data: Option<&Template>) -> Result<()> {
        let rendered = self.render_text(topic, &place, b'm').and_then(|topic| {
            check_topic(&topic, &self.context.defaults.emit_prefixes)?;
            let data = match data {
                Some(data) => self.render(data, &place, b'n')?,
                None => Data::null(),
            };
            Ok((topic, data))
        });
        match rendered {
            Ok((topic, data)) => {
                let event_id = self.event(&place, topic, data.json().clone())?;
                self.complete_step(place, Data::new(json!({ "event_id": event_id })))
            }
            Err(error) => self.fail_step(place, error),
        }
    }

    pub(super) fn event(&mut self, place: &Place, topic: String, data: Json) -> Result<String> {
        let id = format!("{}-{}", self.state.id, self.state.next_seq);
        self.record(RecordBody::EventEmitted { place: place.clone(), topic, data })?;
        Ok(id)
    }

    pub(super) fn effect_key(&self, place: &Place) -> EffectKey {
        let step = &self.state.program.node(place.node).id;
        effect_key(self.state.id.as_bytes(), self.state.generation, step, &place.path)
    }

    /// Sends an effect for the first time.
    fn start_effect(&mut self, place: Place, input: Json) -> Result<()> {
        let key = self.effect_key(&place);
        self.attempt_effect(place, 1, key, input.clone(), input)
    }

    /// Sends an effect again, with the input and key of the first time.
    pub(super) fn repeat_effect(&mut self, place: Place) -> Result<()> {
        if matches!(self.program.node(place.node).op, Op::Call(_)) {
            return self.repeat_call(place);
        }
        let Some(instance) = self.state.at(&place) else { return Ok(()) };
        let (Some(key), Some(input)) = (instance.key, instance.input.clone()) else {
            return Err(bug("an effect without key or input"));
        };
        let attempt = instance.attempts + 1;
        let key = match crate::sabotaged!("one-key-for-all-attempts") {
            true => EffectKey([attempt as u8; 16]),
            false => key,
        };
        self.attempt_effect(place, attempt, key, Json::new(Value::Null), input)
    }

    fn attempt_effect(
        &mut self,
        place: Place,
        attempt: u32,
        key: EffectKey,
        journaled: Json,
        input: Json,
    ) -> Result<()> {
        let program = self.program;
        let node = program.node(place.node);
        let Op::Effect(EffectOp { kind, .. }) = &node.op else { return Err(bug("not an effect")) };
        self.record(RecordBody::StepStarted { place: place.clone(), attempt, key, input: journaled })?;
        self.out.is_durable = true;
        let timeout = node.timeout.unwrap_or(self.context.defaults.effect_timeout);
        self.out.commands.push(Command::Execute(Execute {
            kind: *kind,
            place,
            attempt,
            key,
            input,
            timeout,
        }));
        Ok(())
    }

    fn child_input(
        &mut self,
        place: &Place,
        workflow: &Template,
        inputs: Option<&Template>,
        wait: bool,
    ) -> Result<Begun, StepError> {
        let workflow = self.render_text(workflow, place, b'k')?;
        let inputs = match inputs {
            Some(inputs) => (**self.render(inputs, place, b'j')?.json()).clone(),
            None => json!({}),
        };
        Ok(Begun::Child(Json::new(json!({ "workflow": workflow, "inputs": inputs, "wait": wait }))))
    }

    fn start_child(&mut self, place: Place, input: Json) -> Result<()> {
        let key = self.effect_key(&place);
        self.record(RecordBody::StepStarted { place: place.clone(), attempt: 1, key, input: input.clone() })?;
        self.out.is_durable = true;
        self.resolve_child(place, &input);
        Ok(())
    }

    /// Asks which version a child will be of.
    pub(super) fn resolve_child(&mut self, place: Place, input: &Json) {
        let workflow = input["workflow"].as_str().unwrap_or_default().to_owned();
        self.out.commands.push(Command::ResolveChild {
            place,
            workflow,
            inputs: Json::new(input["inputs"].clone()),
        });
    }

    /// Makes the child, in the transaction in which this run begins to wait for it.
    pub(super) fn child_ready(&mut self, place: Place, child: Result<NewChild, StepError>) -> Result<()> {
        let program = self.program;
        if self.state.at(&place).is_none_or(|instance| !instance.is_busy()) {
            return Ok(());
        }
        let node = program.node(place.node);
        let Op::Child { wait, .. } = &node.op else { return Err(bug("not a child step")) };
        let depth = self.state.created.trigger.depth() + 1;
        let child = match child {
            Ok(_) if depth > limits::RUN_DEPTH_MAX => Err(StepError::new(
                class::LIMIT,
                &run::STEP_LIMIT,
                format!(
                    "workflows start one another more than {} deep; is there a circle?",
                    limits::RUN_DEPTH_MAX
                ),
            )),
            other => other,
        };
        let child = match child {
            Ok(child) => child,
            Err(error) => return self.fail_step(place, error),
        };
        let run = child.run;
        self.out.ops.push(self.insert_child(&place, child, depth, *wait));
        self.out.commands.push(Command::AdmitChild { run });
        self.out.is_durable = true;
        if !*wait {
            return self.complete_step(place, Data::new(json!({ "run_id": run, "status": "pending" })));
        }
        let due = node.timeout.map(|timeout| self.context.now.after(timeout));
        self.record(RecordBody::StepWaiting { place, wait: Waiting::Child { run, due } })
    }

    fn insert_child(&self, place: &Place, child: NewChild, depth: u32, wait: bool) -> StoreOp {
        let parent = crate::model::ParentStep { run: self.state.id, place: place.clone() };
        let at = self.context.now.max(self.state.last_at);
        let created = Record {
            seq: 0,
            at,
            body: RecordBody::RunCreated(Box::new(RunCreated {
                workflow: child.workflow,
                name: child.name.clone(),
                definition: child.definition,
                inputs: child.inputs,
                trigger: Trigger::Parent { run: self.state.id, depth },
                parent: wait.then_some(parent),
            })),
        };
        StoreOp::RunInsert {
            row: RunRow {
                id: child.run,
                workflow: child.workflow,
                name: child.name,
                definition: child.definition,
                status: RunStatus::Pending,
                detail: None,
                created_at: at,
                finished_at: None,
            },
            idempotency: None,
            created: Some(Box::new(created)),
        }
    }

    pub(super) fn child_ended(&mut self, child: crate::id::RunId, outcome: Outcome) -> Result<()> {
        let place = self.state.instances().find_map(|(place, instance)| match &instance.waiting {
            Some(Waiting::Child { run, .. }) if *run == child => Some(place),
            _ => None,
        });
        self.out.ops.push(StoreOp::TimerClear { run: self.state.id, seq: child_timer_seq(child) });
        let Some(place) = place else { return Ok(()) };
        let failed = |message: String| StepError::new(class::CHILD, &run::CHILD, message);
        match outcome {
            Outcome::Completed(output) => self.complete_step(place, Data::from_json(output)),
            Outcome::Failed(error) => self
                .fail_step(place, failed(format!("run {child} failed: {} ({})", error.message, error.code))),
            Outcome::Cancelled => self.fail_step(place, failed(format!("run {child} was cancelled"))),
        }
    }

    /// Everything that is due by now.
    pub(super) fn tick(&mut self) -> Result<()> {
        if self.state.paused.is_some() {
            return Ok(());
        }
        while let Some((due, what)) = self.state.dues.first().cloned() {
            if due > self.context.now || self.state.status.is_terminal() {
                break;
            }
            match what {
                super::state::Due::Run => {
                    let error =
                        StepError::new(class::TIMEOUT, &run::STEP_TIMEOUT, "the run's `timeout` is over");
                    self.fail_run(error, None)?;
                }
                super::state::Due::Step(place) => self.step_due(place)?,
                super::state::Due::Grace => self.stopped()?,
            }
        }
        Ok(())
    }

    fn step_due(&mut self, place: Place) -> Result<()> {
        let program = self.program;
        let Some(instance) = self.state.at(&place) else {
            return Err(bug("a moment of a step that is not there"));
        };
        if instance.is_backing_off {
            return self.repeat_effect(place);
        }
        let child = match &instance.waiting {
            Some(Waiting::Until { .. }) => return self.wait_over(place),
            Some(Waiting::Child { run, .. }) => Some(*run),
            _ => None,
        };
        if self.default_answer(&place)? {
            return Ok(());
        }
        if let Op::Wait(WaitOp { continue_on_timeout: true, .. }) = &program.node(place.node).op {
            let mut output = json!({ "waited": self.waited(&place), "timed_out": true });
            let gives = match &self.state.at(&place).and_then(|instance| instance.waiting.as_ref()) {
                Some(Waiting::Event { .. }) => "event",
                Some(Waiting::Approval(_)) => "approval",
                _ => "signal",
            };
            output[gives] = Value::Null;
            return self.complete_step(place, Data::new(output));
        }
        if let Some(run) = child {
            let reason = "its parent's step is over its timeout".to_owned();
            self.cancel_child(run, reason);
        }
        let error = StepError::new(class::TIMEOUT, &run::STEP_TIMEOUT, "the step's `timeout` is over");
        self.fail_step(place, error)
    }

    pub(super) fn effect_done(
        &mut self,
        place: Place,
        attempt: u32,
        result: std::result::Result<Value, super::decide::Failure>,
    ) -> Result<()> {
        let current = self.state.at(&place).is_some_and(|instance| {
            instance.status == StepStatus::Running && !instance.is_backing_off && instance.attempts == attempt
        });
        if !current {
            return Ok(());
        }
        match result {
            Ok(output) => {
                self.note_usage(&place, &output);
                self.complete_step(place, Data::new(output))
            }
            // Nothing begins any more, so no other try either.
            Err(failure) if self.is_stopping() => self.fail_step(place, failure.error),
            Err(failure) => self.attempt_failed(place, attempt, failure),
        }
    }

    pub(super) fn evaluate(&self, what: &Expression, place: &Place, purpose: u8) -> Result<Data, StepError> {
        if let Some(constant) = what.constant() {
            return Ok(constant.clone());
        }
        let scope = PlaceScope::new(self.state, place, &self.context.defaults.constants);
        let volatile = volatile(self.state, place, self.context.now, purpose);
        what.evaluate(&scope, &volatile).map_err(|error| expression_error(&error))
    }

    pub(super) fn test(&self, what: &Expression, place: &Place, purpose: u8) -> Result<bool, StepError> {
        let scope = PlaceScope::new(self.state, place, &self.context.defaults.constants);
        let volatile = volatile(self.state, place, self.context.now, purpose);
        what.test(&scope, &volatile).map_err(|error| expression_error(&error))
    }

    pub(super) fn render(&self, what: &Template, place: &Place, purpose: u8) -> Result<Data, StepError> {
        if let Some(constant) = what.constant() {
            return Ok(constant.clone());
        }
        let scope = PlaceScope::new(self.state, place, &self.context.defaults.constants);
        let volatile = volatile(self.state, place, self.context.now, purpose);
        what.render(&scope, &volatile).map_err(|error| expression_error(&error))
    }

    /// An effect's input, with secrets as places and names beside it: what is journaled and shown holds none.
    pub(super) fn effect_input(&self, what: &Template, place: &Place) -> Result<Json, StepError> {
        let volatile = volatile(self.state, place, self.context.now, b'e');
        if !what.names().iter().any(|name| name.root == "secrets") {
            return self.render(what, place, b'e').map(|input| input.json().clone());
        }
        let marker = Marker::new(&self.context.defaults.marker_key, &volatile.seed);
        let scope =
            PlaceScope::new(self.state, place, &self.context.defaults.constants).with_secrets(&marker);
        let input = what.render(&scope, &volatile).map_err(|error| expression_error(&error))?;
        let (mut shown, fills) = marker.split(input.json());
        if let Value::Object(entries) = &mut shown {
            // The top level is the compiler's own, so nothing from outside can stand under this name.
            entries.insert(SECRETS_KEY.to_owned(), Value::Array(fills));
        }
        Ok(Json::new(shown))
    }

    pub(super) fn render_text(
        &self,
        what: &Template,
        place: &Place,
        purpose: u8,
    ) -> Result<String, StepError> {
        let scope = PlaceScope::new(self.state, place, &self.context.defaults.constants);
        let volatile = volatile(self.state, place, self.context.now, purpose);
        what.render_text(&scope, &volatile).map_err(|error| expression_error(&error))
    }

    pub(super) fn items(&self, source: &ItemSource, place: &Place) -> Result<Vec<Data>, StepError> {
        let scope = PlaceScope::new(self.state, place, &self.context.defaults.constants);
        let volatile = volatile(self.state, place, self.context.now, b'f');
        source.evaluate(&scope, &volatile).map_err(|error| expression_error(&error))
    }
}

/// How a leaf began.
enum Begun {
    Done(Data),
    Waiting(Waiting),
    Effect(Json),
    Child(Json),
}

/// A scope in which the variables of the same `set` step that come before are set already.
struct Ahead<'a> {
    inner: PlaceScope<'a>,
    set: &'a serde_json::Map<String, Value>,
}

impl expr::Scope for Ahead<'_> {
    fn value(&self, name: &str) -> Option<Data> {
        self.inner.value(name)
    }
    fn is_container(&self, name: &str) -> bool {
        self.inner.is_container(name)
    }
    fn member(&self, container: &str, member: &str) -> Option<Data> {
        match self.set.get(member).filter(|_| container == "vars") {
            Some(value) => Some(Data::new(value.clone())),
            None => self.inner.member(container, member),
        }
    }
    fn members(&self, container: &str) -> Vec<String> {
        let mut members = self.inner.members(container);
        if container == "vars" {
            members
                .extend(self.set.keys().filter(|name| !self.inner.members("vars").contains(name)).cloned());
        }
        members
    }
    fn names(&self) -> Vec<String> {
        self.inner.names()
    }
}

/// The key of an effect: the same on every try and after every crash, different for every other effect.
/// `generation` counts a person's "retry from the failed step".
fn effect_key(run: &[u8; 16], generation: u32, step: &str, path: &[u32]) -> EffectKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(run).update(&generation.to_le_bytes()).update(step.as_bytes());
    for index in path {
        hasher.update(&index.to_le_bytes());
    }
    let mut key = [0; 16];
    hasher.finalize_xof().fill(&mut key);
    EffectKey(key)
}

fn as_duration(value: &Data) -> Result<Duration, StepError> {
    let read = match &**value.json() {
        Value::String(text) => parse_duration(text),
        Value::Number(seconds) => parse_duration(&seconds.to_string()),
        _ => None,
    };
    read.ok_or_else(|| {
        StepError::new(
            class::INVALID,
            &run::STEP_INVALID,
            format!("`duration` must be seconds or text such as `90s` or `1h30m`, not {}", value.json()),
        )
    })
}

fn as_time(value: &Data) -> Result<Timestamp, StepError> {
    let read = match &**value.json() {
        Value::String(text) => Timestamp::parse(text),
        Value::Number(seconds) => seconds.as_f64().map(|seconds| Timestamp((seconds * 1000.0) as i64)),
        _ => None,
    };
    read.ok_or_else(|| {
        StepError::new(
            class::INVALID,
            &run::STEP_INVALID,
            format!("`until` must be a time such as `2026-01-31T18:00:00Z`, not {}", value.json()),
        )
    })
}

/// Whether an event may be emitted on a topic.
pub fn check_topic(topic: &str, prefixes: &[String]) -> Result<(), StepError> {
    let segment = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    let formed = topic.len() <= 200 && topic.split('.').all(segment);
    if formed && prefixes.iter().any(|prefix| topic.starts_with(prefix.as_str())) {
        return Ok(());
    }
    Err(StepError::new(
        class::INVALID,
        &run::TOPIC,
        format!("topic `{topic}` must be words joined by dots and begin with {}", prefixes.join(" or ")),
    ))
}

pub(super) fn expression_error(error: &expr::Error) -> StepError {
    let mut message = error.message.clone();
    if let Some(hint) = &error.hint {
        message.push_str("; ");
        message.push_str(hint);
    }
    StepError::new(class::EXPRESSION, error.code, message)
}

pub(super) fn over_bound(what: &str, size: usize, max: usize) -> StepError {
    StepError::new(
        class::LIMIT,
        &run::STATE_LIMIT,
        format!("{what} would be {size} bytes and the bound is {max}; keep less, or keep it behind a URL"),
    )
}
