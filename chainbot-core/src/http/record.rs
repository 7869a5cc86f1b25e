//! A record of the journal as JSON: for the journal's pages, and as an event of a stream.
//!
//! Types are words with a dot (`step.completed`), a place is the step's id and its loop indexes. In an event a
//! value over [`EVENT_VALUE_BYTES_MAX`] is left out and named in `omitted`: a stream tells what happened, the
//! journal holds it.

use serde_json::{Map, Value, json};

use super::backend::Backend;
use crate::id::{Lsn, RunId};
use crate::limits::EVENT_VALUE_BYTES_MAX;
use crate::model::{Ending, Phase, Place, Plan, Record, RecordBody, StepError, Trigger, Waiting};

/// Whether a value of any size is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Values {
    /// As it is.
    Whole,
    /// Left out when large.
    Small,
}

/// The type of a record.
pub fn type_of(body: &RecordBody) -> &'static str {
    match body {
        RecordBody::RunCreated(_) => "run.created",
        RecordBody::RunStarted => "run.started",
        RecordBody::RunCompleted { .. } => "run.completed",
        RecordBody::RunFailed { .. } => "run.failed",
        RecordBody::RunCancelled { .. } => "run.cancelled",
        RecordBody::CancelRequested { .. } => "run.cancel_requested",
        RecordBody::StepStarted { .. } => "step.started",
        RecordBody::StepCompleted { .. } => "step.completed",
        RecordBody::AttemptFailed { .. } => "step.attempt_failed",
        RecordBody::StepFailed { .. } => "step.failed",
        RecordBody::StepSkipped { .. } => "step.skipped",
        RecordBody::StepCancelled { .. } => "step.cancelled",
        RecordBody::StepWaiting { .. } => "step.waiting",
        RecordBody::ControlStarted { .. } => "step.control_started",
        RecordBody::IterationStarted { .. } => "iteration.started",
        RecordBody::IterationEnded { .. } => "iteration.ended",
        RecordBody::SignalReceived { .. } => "signal.received",
        RecordBody::StepUncertain { .. } => "step.uncertain",
        RecordBody::EventEmitted { .. } => "event.emitted",
        RecordBody::PhaseStarted { .. } => "run.phase_started",
        RecordBody::RunPaused { .. } => "run.paused",
        RecordBody::RunResumed => "run.resumed",
        RecordBody::StepAnswered { .. } => "step.answered",
        RecordBody::EventReceived { .. } => "event.received",
        RecordBody::RunRetried { .. } => "run.retried",
        RecordBody::RunForked { .. } => "run.forked",
    }
}

/// The record as JSON.
pub fn to_json(backend: &dyn Backend, run: RunId, lsn: Lsn, record: &Record, values: Values) -> Value {
    let mut shape = Shape { backend, run, values, fields: Map::new(), omitted: Vec::new() };
    shape.put("type", json!(type_of(&record.body)));
    shape.put("run", json!(run.to_string()));
    shape.put("seq", json!(record.seq));
    shape.put("lsn", json!(lsn.0));
    shape.put("time", json!(record.at.to_string()));
    shape.body(&record.body);
    if !shape.omitted.is_empty() {
        let omitted = std::mem::take(&mut shape.omitted);
        shape.put("omitted", json!(omitted));
    }
    Value::Object(shape.fields)
}

struct Shape<'a> {
    backend: &'a dyn Backend,
    run: RunId,
    values: Values,
    fields: Map<String, Value>,
    omitted: Vec<&'static str>,
}

impl Shape<'_> {
    fn put(&mut self, name: &str, value: Value) {
        self.fields.insert(name.to_owned(), value);
    }

    fn body(&mut self, body: &RecordBody) {
        match body {
            RecordBody::RunCreated(created) => self.created(created),
            RecordBody::RunStarted | RecordBody::RunResumed => {}
            RecordBody::RunCompleted { output } => self.value("output", output),
            RecordBody::RunFailed { error, place } => {
                if let Some(place) = place {
                    self.place(place);
                }
                self.error(error);
            }
            RecordBody::RunCancelled { reason }
            | RecordBody::CancelRequested { reason }
            | RecordBody::RunPaused { reason } => {
                self.put("reason", json!(reason));
            }
            RecordBody::SignalReceived { name, data, key } => {
                self.put("name", json!(name));
                self.value("data", data);
                if let Some(key) = key {
                    self.put("key", json!(key));
                }
            }
            RecordBody::EventEmitted { place, topic, data } => {
                self.place(place);
                self.put("topic", json!(topic));
                self.value("data", data);
            }
            RecordBody::IterationStarted { place, index } => {
                self.place(place);
                self.put("index", json!(index));
            }
            RecordBody::IterationEnded { place, index, result, error } => {
                self.place(place);
                self.put("index", json!(index));
                self.value("result", result);
                if let Some(error) = error {
                    self.error(error);
                }
            }
            RecordBody::PhaseStarted { phase, ending } => self.phase(*phase, ending),
            RecordBody::EventReceived { place, topic, id } => {
                self.place(place);
                self.put("topic", json!(topic));
                self.put("id", json!(id));
            }
            RecordBody::RunRetried { generation } => self.put("generation", json!(generation)),
            RecordBody::RunForked { run, variables } => {
                self.put("from_run", json!(run.to_string()));
                self.value("variables", variables);
            }
            RecordBody::StepAnswered { place, question, action, data, by } => {
                self.place(place);
                self.put("question", json!(question.to_string()));
                self.put("action", json!(action));
                self.value("data", data);
                self.put("by", json!(by));
            }
            step => self.step(step),
        }
    }

    fn phase(&mut self, phase: Phase, ending: &Ending) {
        self.put("phase", json!(phase.as_str()));
        if let Phase::Stopping { due } = phase {
            self.put("due", json!(due.to_string()));
        }
        match ending {
            Ending::Completed { output } => self.value("output", output),
            Ending::Failed { error, place } => {
                if let Some(place) = place {
                    self.place(place);
                }
                self.error(error);
            }
            Ending::Cancelled { reason } => self.put("reason", json!(reason)),
        }
    }

    fn step(&mut self, body: &RecordBody) {
        match body {
            RecordBody::StepStarted { place, attempt, key, input } => {
                self.attempt(place, *attempt);
                self.put("key", json!(key.to_string()));
                self.value("input", input);
            }
            RecordBody::StepCompleted { place, attempt, output } => {
                self.attempt(place, *attempt);
                self.value("output", output);
            }
            RecordBody::AttemptFailed { place, attempt, error, due } => {
                self.attempt(place, *attempt);
                self.error(error);
                self.put("due", json!(due.to_string()));
            }
            RecordBody::StepFailed { place, attempt, error } => {
                self.attempt(place, *attempt);
                self.error(error);
            }
            RecordBody::StepUncertain { place, attempt, key } => {
                self.attempt(place, *attempt);
                self.put("key", json!(key.to_string()));
            }
            RecordBody::StepSkipped { place } | RecordBody::StepCancelled { place } => self.place(place),
            RecordBody::StepWaiting { place, wait } => {
                self.place(place);
                self.put("wait", waiting(wait));
            }
            RecordBody::ControlStarted { place, plan } => {
                self.place(place);
                self.plan(plan);
            }
            // The others have no step of their own; `body` has shown them.
            _ => {}
        }
    }

    fn created(&mut self, created: &crate::model::RunCreated) {
        self.put("workflow", json!(created.name));
        self.put("workflow_id", json!(created.workflow.to_string()));
        self.put("definition", json!(created.definition.to_string()));
        let trigger = match &created.trigger {
            Trigger::Api => json!({ "kind": "api" }),
            Trigger::Parent { run, depth } => {
                json!({ "kind": "parent", "run": run.to_string(), "depth": depth })
            }
            Trigger::Fork { run, step } => {
                json!({ "kind": "fork", "run": run.to_string(), "step": step })
            }
            Trigger::Trigger { by, trigger, depth, .. } => {
                json!({ "kind": "trigger", "by": by, "trigger": trigger, "depth": depth })
            }
        };
        self.put("trigger", trigger);
        if let Trigger::Trigger { event, .. } = &created.trigger {
            self.value("event", event);
        }
        self.value("inputs", &created.inputs);
    }

    fn attempt(&mut self, place: &Place, attempt: u32) {
        self.place(place);
        self.put("attempt", json!(attempt));
    }

    fn place(&mut self, place: &Place) {
        // The number stands in where the program is not at hand; ids cannot begin with `#`.
        let step = self.backend.step_id(self.run, place.node).unwrap_or_else(|| format!("#{}", place.node.0));
        self.put("step", json!(step));
        self.put("path", json!(place.path));
    }

    fn error(&mut self, error: &StepError) {
        self.put("error", json!({ "class": error.class, "code": error.code, "message": error.message }));
    }

    fn plan(&mut self, plan: &Plan) {
        match plan {
            Plan::Branch { taken } => self.put("plan", json!({ "kind": "branch", "taken": taken })),
            Plan::Items { items } => {
                self.put("plan", json!({ "kind": "items" }));
                self.value("items", items);
            }
            Plan::Times { count } => self.put("plan", json!({ "kind": "times", "count": count })),
            Plan::Open => self.put("plan", json!({ "kind": "open" })),
            Plan::All => self.put("plan", json!({ "kind": "all" })),
        }
    }

    fn value(&mut self, name: &'static str, value: &Value) {
        if self.values == Values::Whole || fits(value, EVENT_VALUE_BYTES_MAX) {
            self.put(name, value.clone());
        } else {
            self.omitted.push(name);
        }
    }
}

fn waiting(wait: &Waiting) -> Value {
    let mut shape = match wait {
        Waiting::Until { .. } => json!({ "kind": "until" }),
        Waiting::Signal { name, .. } => json!({ "kind": "signal", "name": name }),
        Waiting::Child { run, .. } => json!({ "kind": "child", "run": run.to_string() }),
        Waiting::Event { topic, .. } => json!({ "kind": "event", "topic": topic }),
        Waiting::Approval(approval) => json!({
            "kind": "approval", "message": approval.message, "approvers": approval.approvers,
            "actions": approval.actions, "default": approval.default,
        }),
    };
    if let Some(due) = wait.due() {
        shape["due"] = json!(due.to_string());
    }
    shape
}

/// Whether a value's JSON has at most `bytes_max` bytes; stops counting when it has more.
pub fn fits(value: &Value, bytes_max: usize) -> bool {
    struct Room(usize);
    impl std::io::Write for Room {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::WriteZero)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Room(bytes_max), value).is_ok()
}

/// A record of a run's journal. Which fields there are besides the first five depends on `type`.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; `to_json` writes it")]
pub struct Entry {
    /// What happened.
    #[schema(example = "step.completed")]
    #[serde(rename = "type")]
    kind: String,
    /// The run.
    #[schema(format = "uuid")]
    run: String,
    /// Its number within the run, from 0.
    seq: u32,
    /// Its place in the journal; the cursor of event streams.
    lsn: i64,
    /// When it was decided.
    #[schema(format = "date-time")]
    time: String,
    /// The step's id in the definition.
    step: Option<String>,
    /// Loop indexes, outermost first.
    path: Option<Vec<u32>>,
    /// Which try, from 1.
    attempt: Option<u32>,
    /// The key that every attempt of an effect carries; of a signal, what made its repeat harmless.
    key: Option<String>,
    /// What an effect was given.
    #[schema(value_type = Option<Value>)]
    input: Option<Value>,
    /// What a step or the run gave.
    #[schema(value_type = Option<Value>)]
    output: Option<Value>,
    /// Why it failed.
    error: Option<super::view::Failed>,
    /// When a timer is due.
    #[schema(format = "date-time")]
    due: Option<String>,
    /// Why a person did it.
    reason: Option<String>,
    /// The name of a signal.
    name: Option<String>,
    /// The topic of an event.
    topic: Option<String>,
    /// The id of an event.
    id: Option<String>,
    /// What a signal, an event or an answer carried.
    #[schema(value_type = Option<Value>)]
    data: Option<Value>,
    /// Which iteration, from 0.
    index: Option<u32>,
    /// What an iteration gave.
    #[schema(value_type = Option<Value>)]
    result: Option<Value>,
    /// How a loop or a branch goes on.
    plan: Option<PlanShape>,
    /// What a loop goes over.
    #[schema(value_type = Option<Value>)]
    items: Option<Value>,
    /// What a step waits for.
    wait: Option<Wait>,
    /// Where a run is that is about to end.
    phase: Option<String>,
    /// How often a run was taken up again.
    generation: Option<u32>,
    /// The run whose history a fork took over.
    #[schema(format = "uuid")]
    from_run: Option<String>,
    /// Variables that a fork set.
    #[schema(value_type = Option<Value>)]
    variables: Option<Value>,
    /// The question that was answered.
    #[schema(format = "uuid")]
    question: Option<String>,
    /// What was answered.
    action: Option<String>,
    /// Who answered.
    by: Option<String>,
    /// The workflow's name.
    workflow: Option<String>,
    /// The workflow's id.
    #[schema(format = "uuid")]
    workflow_id: Option<String>,
    /// Hash of the version.
    definition: Option<String>,
    /// What started the run.
    trigger: Option<super::view::Trigger>,
    /// What happened, as the trigger's expressions see it.
    #[schema(value_type = Option<Value>)]
    event: Option<Value>,
    /// The run's inputs.
    #[schema(value_type = Option<Value>)]
    inputs: Option<Value>,
    /// Values that were left out of an event.
    omitted: Option<Vec<String>>,
}

/// How a loop or a branch goes on.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "as `Entry`")]
pub struct PlanShape {
    /// `branch`, `items`, `times`, `open` or `all`.
    kind: String,
    /// Which branch is taken.
    #[schema(value_type = Option<Value>)]
    taken: Option<Value>,
    /// How often.
    count: Option<u32>,
}

/// What a step waits for.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "as `Entry`")]
pub struct Wait {
    /// `until`, `signal`, `child`, `event` or `approval`.
    kind: String,
    /// The name of the signal.
    name: Option<String>,
    /// The run of the child.
    #[schema(format = "uuid")]
    run: Option<String>,
    /// The topic of the event.
    topic: Option<String>,
    /// What a person is asked.
    message: Option<String>,
    /// Who may answer.
    approvers: Option<Vec<String>>,
    /// What may be answered.
    actions: Option<Vec<String>>,
    /// What counts when nobody answers in time.
    default: Option<String>,
    /// When the wait ends by itself.
    #[schema(format = "date-time")]
    due: Option<String>,
}
