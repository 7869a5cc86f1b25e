//! A dry run: the engine runs the definition, and every effect is shown instead of sent.
//!
//! What an effect would give is unknown; unless a mock says it, a placeholder stands for it: a value made from the schema
//! that the step expects, else of the shape in which the definition reads it ([`reads`]), with texts such as `‹id of fetch›`. A step that fails on a placeholder is told as unknown, not as broken. Waits
//! end at once on the virtual clock, by the first thing that ends them.

mod reads;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::compare::shown;
use super::drive::{Drive, step_name};
use super::player::{Call, Outside, play};
use super::suite::{Happening, Reply, START};
use crate::engine::{Defaults, Program, inputs, view};
use crate::error::Result;
use crate::model::document::{Document, Node, NodeValue};
use crate::model::{Json, Plan, Record, RecordBody, RunStatus, StepError, StepStatus, Waiting, class};

/// Schemas within schemas that a placeholder follows.
const SCHEMA_DEPTH_MAX: usize = 8;
/// Waits that are ended for the run; beyond it is a loop of waits.
const WAITS_MAX: usize = 1_000;

/// What would happen.
#[derive(Debug, Serialize)]
pub struct DryRun {
    /// The workflow.
    pub workflow: String,
    /// With defaults filled in.
    pub inputs: Value,
    /// How the run would stand.
    pub status: RunStatus,
    /// Steps in the order of their beginning.
    pub steps: Vec<DryStep>,
    /// Steps of the definition that this way does not reach.
    pub not_reached: Vec<String>,
    /// The result, with placeholders.
    pub output: Option<Value>,
    /// Why it would fail.
    pub error: Option<StepError>,
    /// On the virtual clock, where nothing but waits and retries takes time.
    pub duration_ms: u64,
}

/// One step of the plan.
#[derive(Debug, Serialize)]
pub struct DryStep {
    /// `fetch`, or `fetch[0]` in a loop.
    pub step: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// How it would stand.
    pub status: StepStatus,
    /// After the start.
    pub at_ms: u64,
    /// What it would send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sends: Option<Value>,
    /// Which branch, how many iterations, what it waits for, what it emits; in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What it gave: computed, mocked, or a placeholder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// The output is a placeholder.
    pub is_placeholder: bool,
    /// Why it would fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
    /// It failed on a value that only a real run has.
    pub is_unknown: bool,
}

/// Outputs that are known, by step.
pub type Known = BTreeMap<String, Value>;

struct Placeholders<'a> {
    known: &'a Known,
    source: &'a str,
    document: Option<Document>,
    waits: usize,
}

impl Outside for Placeholders<'_> {
    fn reply(&mut self, call: &Call) -> std::result::Result<Reply, String> {
        let exact = step_name(&call.step, &call.path);
        let known = self.known.get(&exact).or_else(|| self.known.get(&call.step));
        let result = Ok(known.cloned().unwrap_or_else(|| self.placeholder(call)));
        Ok(Reply { result, delay: Duration::ZERO, retry_after: None })
    }

    fn idle(&mut self, drive: &Drive) -> Option<Happening> {
        self.waits += 1;
        if self.waits > WAITS_MAX {
            return None;
        }
        let mut waiting: Vec<_> =
            drive.state.instances().filter(|(_, instance)| instance.waiting.is_some()).collect();
        waiting.sort_by(|a, b| a.0.cmp(&b.0));
        waiting.into_iter().find_map(|(place, instance)| {
            let id = &drive.program.node(place.node).id;
            let read = |key: &str| Json::new(self.what_comes(id, key));
            match instance.waiting.as_ref()? {
                Waiting::Signal { name, .. } => {
                    Some(Happening::Signal { name: name.clone(), data: read("signal") })
                }
                Waiting::Event { topic, .. } => {
                    let topic = topic.replace(['*', '#'], "any");
                    let data = read("event").get("data").cloned().unwrap_or(Value::Null);
                    Some(Happening::Event { topic, data: Json::new(data) })
                }
                Waiting::Approval(approval) => {
                    let action = approval.actions.first()?.clone();
                    Some(Happening::Answer { action, data: Json::new(Value::Null), by: None })
                }
                Waiting::Until { .. } | Waiting::Child { .. } => None,
            }
        })
    }

    fn is_eager(&self) -> bool {
        true
    }
}

impl Placeholders<'_> {
    /// What a signal or event brings: by its schema, else by how the definition reads it.
    fn what_comes(&self, id: &str, key: &str) -> Value {
        let step = self.document.as_ref().and_then(|document| find_step(document, id, 0));
        let schema = step.and_then(|step| step.get("config")?.get(key)?.get("schema"));
        match schema {
            Some(schema) => sample(&schema.to_json(), &format!("{key} of {id}"), 0),
            None => {
                let read = reads::shape(self.source, id);
                read.get(key).cloned().unwrap_or_else(|| mark(&format!("{key} of {id}")))
            }
        }
    }

    fn placeholder(&self, call: &Call) -> Value {
        let name = step_name(&call.step, &call.path);
        let read = reads::shape(self.source, &call.step);
        let part = |key: &str| read.get(key).cloned().unwrap_or_else(|| mark(&format!("{key} of {name}")));
        match call.kind {
            "api_call" => {
                let schema = call.input.get("expect").and_then(|expect| expect.get("schema"));
                let data = schema
                    .map_or_else(|| part("data"), |schema| sample(schema, &format!("data of {name}"), 0));
                json!({ "data": data })
            }
            "webhook" => json!({ "response": part("response") }),
            _ if read.is_object() => read,
            _ => mark(&format!("output of {name}")),
        }
    }
}

/// The step of this id, wherever it stands.
fn find_step<'n>(node: &'n Node, id: &str, depth: usize) -> Option<&'n Node> {
    if depth > crate::limits::DOCUMENT_DEPTH_MAX {
        return None;
    }
    match &node.value {
        NodeValue::Map(_)
            if node.get("id").and_then(Node::as_str) == Some(id) && node.get("type").is_some() =>
        {
            Some(node)
        }
        NodeValue::Map(entries) => entries.iter().find_map(|(_, _, inner)| find_step(inner, id, depth + 1)),
        NodeValue::List(items) => items.iter().find_map(|inner| find_step(inner, id, depth + 1)),
        _ => None,
    }
}

/// A value that says that it is none.
fn mark(what: &str) -> Value {
    Value::String(format!("‹{what}›"))
}

/// A value that fits the usual parts of a schema.
fn sample(schema: &Value, what: &str, depth: usize) -> Value {
    if let Some(given) = schema.get("const").or_else(|| schema.get("default")) {
        return given.clone();
    }
    if let Some(first) = schema.get("enum").and_then(|all| all.get(0)) {
        return first.clone();
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
        Some(kind) => kind.as_str(),
        None => schema.get("properties").map(|_| "object"),
    };
    match kind {
        Some("object") if depth < SCHEMA_DEPTH_MAX => Value::Object(sample_object(schema, what, depth)),
        Some("array") if depth < SCHEMA_DEPTH_MAX => {
            let item = schema.get("items").map_or_else(|| mark(what), |items| sample(items, what, depth + 1));
            json!([item])
        }
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(0)),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        _ => mark(what),
    }
}

fn sample_object(schema: &Value, what: &str, depth: usize) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        object.insert(name.clone(), sample(property, &format!("{name} in {what}"), depth + 1));
    }
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if let Some(name) = name.as_str() {
            object.entry(name).or_insert_with(|| mark(&format!("{name} in {what}")));
        }
    }
    object
}

/// Plans a run.
pub fn dry_run(program: &Arc<Program>, source: &str, given: Value, known: &Known) -> Result<DryRun> {
    dry_run_until(program, source, given, known, &Arc::default())
}

/// The same, given up when `stop` says so: CB-0382.
pub fn dry_run_until(
    program: &Arc<Program>,
    source: &str,
    given: Value,
    known: &Known,
    stop: &Arc<AtomicBool>,
) -> Result<DryRun> {
    let inputs = inputs::prepare(program, given)?;
    let drive = Drive::begin(program.clone(), inputs.clone(), START, Defaults::default())?;
    let document = crate::validate::document(source).ok();
    let played =
        play(drive.until(stop.clone()), &mut Placeholders { known, source, document, waits: 0 }, &[])?;
    let journal = &played.drive.journal;
    let steps: Vec<DryStep> = view::steps(program, journal)
        .into_iter()
        .map(|view| {
            let name = step_name(&view.id, &view.path);
            let call = played.calls.iter().find(|call| call.step == view.id && call.path == view.path);
            let is_known = known.contains_key(&name) || known.contains_key(&view.id);
            let depends = view.error.as_ref().is_some_and(|error| {
                [class::EXPRESSION, class::INVALID, class::LIMIT].contains(&error.class.as_str())
            });
            DryStep {
                detail: detail(program, journal, &view.id, &view.path),
                kind: view.kind,
                status: view.status,
                at_ms: view
                    .started_at
                    .map_or(0, |at| u64::try_from(at.since(START).as_millis()).unwrap_or(u64::MAX)),
                sends: call.map(|call| (*call.input).clone()),
                is_placeholder: view.output.as_ref().is_some_and(holds_mark) && !is_known,
                output: view.output,
                is_unknown: depends && !played.calls.is_empty(),
                error: view.error,
                step: name,
            }
        })
        .collect();
    let reached = |id: &str| steps.iter().any(|step| step.step.split('[').next() == Some(id));
    let nodes = program.nodes.iter().filter(|node| !node.id.is_empty() && !reached(&node.id));
    Ok(DryRun {
        workflow: program.name.clone(),
        inputs,
        status: played.status,
        not_reached: nodes.map(|node| node.id.clone()).collect(),
        output: played.drive.state.output.as_ref().map(|output| (**output.json()).clone()),
        error: played.drive.state.error.clone(),
        duration_ms: u64::try_from(played.took.as_millis()).unwrap_or(u64::MAX),
        steps,
    })
}

fn holds_mark(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('‹'),
        Value::Array(items) => items.iter().any(holds_mark),
        Value::Object(entries) => entries.values().any(holds_mark),
        _ => false,
    }
}

/// What the step's records say of its way.
fn detail(program: &Program, journal: &[Record], id: &str, path: &[u32]) -> Option<String> {
    let node = *program.by_id.get(id)?;
    let own = journal
        .iter()
        .filter(|record| record.body.place().is_some_and(|place| place.node == node && place.path == path));
    let told = own.filter_map(|record| match &record.body {
        RecordBody::ControlStarted { plan, .. } => Some(match plan {
            Plan::Branch { taken: Some(branch) } => format!("goes to `{branch}`"),
            Plan::Branch { taken: None } => "no branch fits".to_owned(),
            Plan::Items { items } => format!("goes over {} items", items.as_array().map_or(0, Vec::len)),
            Plan::Times { count } => format!("repeats {count} times"),
            Plan::Open => "repeats as long as its expression says".to_owned(),
            Plan::All => "starts its branches".to_owned(),
        }),
        RecordBody::StepWaiting { wait, .. } => Some(match wait {
            Waiting::Until { due } => format!("waits {}", super::player::spoken(due.since(record.at))),
            Waiting::Signal { name, .. } => format!("waits for signal `{name}`"),
            Waiting::Event { topic, .. } => format!("waits for an event `{topic}`"),
            Waiting::Approval(approval) => format!("asks: {}", approval.message),
            Waiting::Child { .. } => "waits for its run".to_owned(),
        }),
        RecordBody::EventEmitted { topic, data, .. } => Some(format!("emits `{topic}` {}", shown(data))),
        _ => None,
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join("; "))
}
