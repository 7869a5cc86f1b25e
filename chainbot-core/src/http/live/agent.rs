//! What agents do, as events: `agent.AGENT.task`, `.tool` and `.usage` of the journal's records, `.status` when one is made or ended, or is in error.
//!
//! The same record always makes the same event. Replies as they come are in `deltas.rs`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::event::{Event, Head};
use crate::engine::call_kind;
use crate::http::record::fits;
use crate::id::{RunId, UserId, WorkflowId};
use crate::limits::EVENT_VALUE_BYTES_MAX;
use crate::model::{Record, RecordBody};
use crate::port::{AGENT_PREFIX, Possession, Role};
use crate::task::CallKind;
use crate::time::Timestamp;

/// What a record of an agent's task means to those who follow the agent: topic, type and data. `event`: the record itself.
pub fn of_task(
    head: &Head,
    run: RunId,
    record: &Record,
    event: &Event,
) -> Option<(String, &'static str, Value)> {
    let name = head.workflow.strip_prefix(AGENT_PREFIX)?;
    let call = record.body.place().and_then(|place| call_kind(place.node));
    let (kind, mut data) = match (&record.body, call) {
        (RecordBody::RunCreated(created), _) => {
            ("agent.task", json!({ "status": "pending", "task": small(&created.inputs["task"]) }))
        }
        (RecordBody::RunCompleted { output }, _) => {
            ("agent.task", json!({ "status": "completed", "result": small(&output["result"]) }))
        }
        (RecordBody::RunFailed { error, .. }, _) => {
            ("agent.task", json!({ "status": "failed", "code": error.code, "error": error.message }))
        }
        (RecordBody::RunCancelled { reason }, _) => {
            ("agent.task", json!({ "status": "cancelled", "error": reason }))
        }
        (RecordBody::RunPaused { .. }, _) => ("agent.task", json!({ "status": "paused" })),
        (RecordBody::RunStarted | RecordBody::RunResumed | RecordBody::RunRetried { .. }, _) => {
            ("agent.task", json!({ "status": "running" }))
        }
        (RecordBody::StepStarted { input, .. }, Some(CallKind::Tool | CallKind::Act)) => {
            let arguments = small(&input["arguments"]);
            ("agent.tool", json!({ "status": "started", "tool": input["tool"], "arguments": arguments }))
        }
        (RecordBody::StepCompleted { output, .. }, Some(CallKind::Tool | CallKind::Act)) => {
            ("agent.tool", json!({ "status": "completed", "is_error": output["is_error"] }))
        }
        (RecordBody::StepFailed { error, .. }, Some(CallKind::Tool | CallKind::Act)) => {
            ("agent.tool", json!({ "status": "failed", "code": error.code, "error": error.message }))
        }
        (RecordBody::StepCompleted { output, .. }, Some(CallKind::Model | CallKind::Fold)) => {
            let mut data = json!({});
            for key in ["provider", "model", "input", "cached", "output", "cost", "is_reported"] {
                data[key] = output[key].clone();
            }
            ("agent.usage", data)
        }
        _ => return None,
    };
    data["agent"] = json!(name);
    data["agent_id"] = json!(head.workflow_id);
    data["run"] = json!(run.to_string());
    // Which call of the task.
    if let Some(path) = event.data.get("path") {
        data["path"] = path.clone();
    }
    let word = kind.trim_start_matches("agent.");
    Some((format!("agent.{}.{word}", head.workflow_id), kind, data))
}

/// What the host's bus is told of an agent: it was made, changed, ended, or is in error.
pub fn of_agent(at: Timestamp, data: Value) -> Option<Event> {
    #[derive(Deserialize)]
    struct Told {
        agent_id: WorkflowId,
        user_id: Option<UserId>,
        shared: Option<Role>,
    }
    let Told { agent_id, user_id, shared } = Told::deserialize(&data).ok()?;
    let mut event = Event::signal(format!("agent.{agent_id}.status"), "agent.status", at, data);
    event.of = Some(Possession { owner: user_id, shared });
    Some(event)
}

/// What is too large for an event is not in it: the run has it.
fn small(value: &Value) -> Value {
    if fits(value, EVENT_VALUE_BYTES_MAX) { value.clone() } else { Value::Null }
}
