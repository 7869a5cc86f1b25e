//! Traces: one a run, made of what is committed, so that it is whole after a crash as well.
//!
//! ```text
//! journal ──► a run has ended ──► its view and its steps ──► OTLP as JSON ──► the collector ──► the cursor moves on
//! ```
//!
//! Invariants: a trace's id is its run's, and a span's follows from the run and the step, so a trace that is sent twice is the same one;
//! inputs, outputs and messages of errors are in no trace; nothing waits for a collector. What a trace is called is here, what models
//! and tools are called is in [`gen_ai`], and [`exporter`] sends.

mod exporter;
mod gen_ai;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

pub use exporter::{TraceOptions, Traces};

use crate::id::RunId;
use crate::limits::TRACE_SPANS_MAX;
use crate::model::{RunStatus, RunView, StepStatus, StepView, Trigger};
use crate::time::Timestamp;

/// OTLP's numbers.
const INTERNAL: u8 = 1;
const CLIENT: u8 = 3;
const OK: u8 = 1;
const ERROR: u8 = 2;

/// The request that carries a run's trace: `ExportTraceServiceRequest`, as OTLP writes it in JSON.
fn request(run: &RunView, steps: &[StepView]) -> Value {
    let root = span_id(run.id, "");
    let mut spans = vec![of_run(run, &root)];
    // A run of ten thousand iterations is one trace, and no collector wants it whole.
    spans.extend(steps.iter().filter_map(|step| of_step(run.id, step, &root)).take(TRACE_SPANS_MAX));
    let dropped = steps.len().saturating_sub(TRACE_SPANS_MAX);
    if dropped > 0 {
        spans[0]["attributes"].as_array_mut().into_iter().for_each(|all| {
            all.push(attribute("chainbot.run.steps_left_out", json!(dropped)));
        });
    }
    let resource =
        [attribute("service.name", json!("chainbot")), attribute("service.version", json!(crate::VERSION))];
    json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{ "scope": { "name": "chainbot", "version": crate::VERSION }, "spans": spans }],
    }] })
}

fn of_run(run: &RunView, id: &str) -> Value {
    let mut attributes = vec![
        attribute("chainbot.run.id", json!(run.id.to_string())),
        attribute("chainbot.run.status", json!(run.status.as_str())),
        attribute("chainbot.workflow.id", json!(run.workflow_id.to_string())),
        attribute("chainbot.workflow.name", json!(run.workflow_name)),
        attribute("chainbot.workflow.version", json!(run.definition)),
    ];
    let name = match gen_ai::agent_of(&run.workflow_name) {
        Some(agent) => {
            attributes.extend(gen_ai::of_task(agent, run.output.as_ref()));
            gen_ai::task_name(agent)
        }
        None => format!("run {}", run.workflow_name),
    };
    if let Some(error) = &run.error {
        attributes.push(attribute("error.type", json!(error.code)));
    }
    let status = match run.status {
        RunStatus::Completed => OK,
        _ => ERROR,
    };
    let mut span = json!({
        "traceId": trace_id(run.id), "spanId": id, "name": name, "kind": INTERNAL,
        "startTimeUnixNano": nanos(run.created_at), "endTimeUnixNano": nanos(run.finished_at.unwrap_or(run.created_at)),
        "attributes": attributes, "status": { "code": status },
    });
    // Each run has its own trace; who started it is a link, so that a run of weeks does not hold its children back.
    let other = match &run.trigger {
        Trigger::Parent { run, .. } => Some((*run, "parent")),
        Trigger::Fork { run, .. } => Some((*run, "fork")),
        Trigger::Api | Trigger::Trigger { .. } => None,
    };
    if let Some((other, what)) = other {
        span["links"] = json!([{
            "traceId": trace_id(other), "spanId": span_id(other, ""),
            "attributes": [attribute("chainbot.link", json!(what))],
        }]);
    }
    span
}

/// None of a step that never began.
fn of_step(run: RunId, step: &StepView, root: &str) -> Option<Value> {
    let started = step.started_at.filter(|_| step.status != StepStatus::Skipped)?;
    let path: String = step.path.iter().map(|index| format!("[{index}]")).collect();
    let place = format!("{}{path}", step.id);
    let mut attributes = vec![
        attribute("chainbot.step.id", json!(step.id)),
        attribute("chainbot.step.type", json!(step.kind)),
        attribute("chainbot.step.status", json!(step.status.as_str())),
        attribute("chainbot.step.attempts", json!(step.attempts)),
    ];
    if !step.path.is_empty() {
        attributes.push(attribute("chainbot.step.path", json!(path)));
    }
    if let Some(error) = &step.error {
        attributes.push(attribute("error.type", json!(error.code)));
    }
    let call = gen_ai::of_call(step);
    let name = call.as_ref().map_or_else(|| format!("{} {place}", step.kind), |call| call.name.clone());
    // What leaves the process is a client's span; a key is there for effects alone.
    let kind = if step.key.is_some() { CLIENT } else { INTERNAL };
    attributes.extend(call.into_iter().flat_map(|call| call.attributes));
    let status = match step.status {
        StepStatus::Completed => json!({ "code": OK }),
        StepStatus::Failed => json!({ "code": ERROR }),
        _ => json!({}),
    };
    Some(json!({
        "traceId": trace_id(run), "spanId": span_id(run, &place), "parentSpanId": root, "name": name, "kind": kind,
        "startTimeUnixNano": nanos(started), "endTimeUnixNano": nanos(step.finished_at.unwrap_or(started)),
        "attributes": attributes, "status": status,
    }))
}

/// A run's id has the sixteen bytes that a trace's has.
fn trace_id(run: RunId) -> String {
    hex(run.as_bytes())
}

fn span_id(run: RunId, place: &str) -> String {
    let hash = blake3::hash(&[run.as_bytes().as_slice(), place.as_bytes()].concat());
    hex(&hash.as_bytes()[..8])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// OTLP's JSON has 64-bit numbers as text.
fn nanos(at: Timestamp) -> String {
    (i128::from(at.0) * 1_000_000).to_string()
}

fn attribute(key: &str, value: Value) -> Value {
    let value = match value {
        Value::Number(number) if number.is_f64() => json!({ "doubleValue": number }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::Bool(flag) => json!({ "boolValue": flag }),
        Value::String(text) => json!({ "stringValue": text }),
        other => json!({ "stringValue": other.to_string() }),
    };
    json!({ "key": key, "value": value })
}
