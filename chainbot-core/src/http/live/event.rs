//! One event: a topic, a type and data, with the frame that WebSocket clients get, made once for all of them.
//!
//! A record of the journal makes several: itself on `run.RUN.WHAT`, the state of its run on `run.RUN`, and what it means to
//! others (`workflow.NAME.run`, `trigger.NAME.fired`, `inbox.added`, `event.TOPIC`). The same record always makes the same topics, live and
//! when it is told again. The list for readers is docs/websocket.md.

use std::borrow::Cow;
use std::sync::OnceLock;

use serde::Serialize;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::agent::of_task;
use crate::http::backend::Backend;
use crate::http::record::{Values, to_json, type_of};
use crate::id::{Lsn, RunId};
use crate::model::event::Committed;
use crate::model::{Record, RecordBody, RunStatus, Trigger, Waiting};
use crate::port::Possession;
use crate::time::Timestamp;

/// What everybody who may listen at all may see.
pub const READ: &str = "chainbot:read";

/// Something that happened.
#[derive(Debug)]
pub struct Event {
    /// Where it belongs.
    pub topic: String,
    /// What it is.
    pub kind: Cow<'static, str>,
    /// The record's place in the journal; none for signals.
    pub lsn: Option<Lsn>,
    /// When it happened.
    pub at: Timestamp,
    /// The run it is about.
    pub run: Option<RunId>,
    /// Which permission its listeners need besides that to listen at all.
    pub need: &'static str,
    /// Whether only those may see it who see what is anybody's: it is about something of somebody, and no record says of whom.
    pub needs_all: bool,
    /// Whose it is, where no record says so.
    pub of: Option<Possession>,
    /// Whether a newer one on the same topic makes this one pointless.
    pub is_state: bool,
    /// An object.
    pub data: Value,
    between: OnceLock<Utf8Bytes>,
    last: OnceLock<Utf8Bytes>,
}

/// Whose a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The workflow's id.
    pub workflow_id: String,
    /// The workflow's name when the run was made.
    pub workflow: String,
}

/// A server's frame. Every one has these five fields.
#[derive(Serialize)]
pub struct Frame<'a> {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// Where it belongs; null for answers.
    pub topic: Option<&'a str>,
    /// To go on after it; null where a client must not.
    pub seq: Option<i64>,
    /// When it happened.
    pub time: Timestamp,
    /// An object.
    pub data: &'a Value,
}

impl Frame<'_> {
    /// As text.
    pub fn text(&self) -> Utf8Bytes {
        // Text, numbers and a JSON value: this cannot fail.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

impl Event {
    /// What no journal holds.
    pub fn signal(topic: String, kind: impl Into<Cow<'static, str>>, at: Timestamp, data: Value) -> Self {
        Self::new(topic, kind.into(), None, at, data)
    }

    fn new(topic: String, kind: Cow<'static, str>, lsn: Option<Lsn>, at: Timestamp, data: Value) -> Self {
        let (between, last) = (OnceLock::new(), OnceLock::new());
        Self {
            topic,
            kind,
            lsn,
            at,
            run: None,
            need: READ,
            needs_all: false,
            of: None,
            is_state: false,
            data,
            between,
            last,
        }
    }

    /// The frame. Only the last event of a record that a client gets says `seq`: a client that comes back gets the record
    /// again unless it has had all of it.
    pub fn frame(&self, is_last: bool) -> Utf8Bytes {
        let cell = if is_last { &self.last } else { &self.between };
        let seq = self.lsn.filter(|_| is_last).map(|lsn| lsn.0);
        let make = || {
            Frame { kind: &self.kind, topic: Some(&self.topic), seq, time: self.at, data: &self.data }.text()
        };
        cell.get_or_init(make).clone()
    }
}

/// The events of a record, the record itself first.
pub fn of_record(backend: &dyn Backend, head: Option<&Head>, committed: &Committed) -> Vec<Event> {
    let Committed { lsn, run, record } = committed;
    let kind = type_of(&record.body);
    let new = |topic: String, kind: &'static str, data: Value| {
        let mut event = Event::new(topic, Cow::Borrowed(kind), Some(*lsn), record.at, data);
        event.run = Some(*run);
        event
    };
    let data = to_json(backend, *run, *lsn, record, Values::Small);
    let word = kind.strip_prefix("run.").unwrap_or(kind);
    let mut events = vec![new(format!("run.{run}.{word}"), kind, data)];
    let Some(head) = head else { return events };
    let state = state(backend, head, *run, record, &events[0]);
    if is_of_the_run(&record.body) {
        events.push(new(format!("workflow.{}.run", head.workflow), "run.state", state.clone()));
    }
    events.extend(meaning(head, *run, record, &events[0]).map(|(topic, kind, data)| new(topic, kind, data)));
    events.extend(of_task(head, *run, record, &events[0]).map(|(topic, kind, data)| new(topic, kind, data)));
    let mut line = new(format!("run.{run}"), "run.state", state);
    line.is_state = true;
    events.push(line);
    events
}

/// The run as a line in a list.
fn state(backend: &dyn Backend, head: &Head, run: RunId, record: &Record, event: &Event) -> Value {
    let mut state = json!({
        "run": run.to_string(), "workflow_id": head.workflow_id, "workflow": head.workflow,
        "status": status(backend, run, &record.body).as_str(), "event": event.kind,
    });
    if let Some(step) = event.data.get("step") {
        state["step"] = step.clone();
    }
    state
}

/// What the record says, else what the run does at this moment: memory is not behind the journal.
fn status(backend: &dyn Backend, run: RunId, body: &RecordBody) -> RunStatus {
    match body {
        RecordBody::RunCreated(_) => RunStatus::Pending,
        RecordBody::RunStarted | RecordBody::RunResumed | RecordBody::RunRetried { .. } => RunStatus::Running,
        RecordBody::RunCompleted { .. } => RunStatus::Completed,
        RecordBody::RunFailed { .. } => RunStatus::Failed,
        RecordBody::RunCancelled { .. } => RunStatus::Cancelled,
        RecordBody::RunPaused { .. } => RunStatus::Paused,
        body => {
            let waits = matches!(body, RecordBody::StepWaiting { .. } | RecordBody::StepUncertain { .. });
            let then = if waits { RunStatus::Waiting } else { RunStatus::Running };
            backend.status(run).filter(|status| !status.is_terminal()).unwrap_or(then)
        }
    }
}

fn is_of_the_run(body: &RecordBody) -> bool {
    matches!(
        body,
        RecordBody::RunCreated(_)
            | RecordBody::RunStarted
            | RecordBody::RunCompleted { .. }
            | RecordBody::RunFailed { .. }
            | RecordBody::RunCancelled { .. }
            | RecordBody::RunPaused { .. }
            | RecordBody::RunResumed
            | RecordBody::RunRetried { .. }
    )
}

/// What a record means to those who do not follow runs.
fn meaning(head: &Head, run: RunId, record: &Record, event: &Event) -> Option<(String, &'static str, Value)> {
    let about = |mut data: Value| {
        data["run"] = json!(run.to_string());
        data["workflow"] = json!(head.workflow);
        for key in ["step", "path"] {
            if let Some(value) = event.data.get(key) {
                data[key] = value.clone();
            }
        }
        data
    };
    Some(match &record.body {
        RecordBody::RunCreated(created) => {
            let Trigger::Trigger { by, trigger, .. } = &created.trigger else { return None };
            let data = about(json!({ "by": by, "trigger": trigger }));
            (format!("trigger.{}.fired", head.workflow), "trigger.fired", data)
        }
        RecordBody::StepWaiting { wait: Waiting::Approval(approval), .. } => {
            let data = about(json!({
                "kind": "approval", "message": approval.message, "actions": approval.actions,
                "approvers": approval.approvers, "due": approval.due,
            }));
            ("inbox.added".to_owned(), "inbox.added", data)
        }
        RecordBody::StepUncertain { .. } => {
            ("inbox.added".to_owned(), "inbox.added", about(json!({ "kind": "uncertain" })))
        }
        RecordBody::StepAnswered { question, action, by, .. } => {
            let data = about(json!({ "id": question.to_string(), "action": action, "by": by }));
            ("inbox.answered".to_owned(), "inbox.answered", data)
        }
        RecordBody::EventEmitted { topic, .. } if topic == "chainbot.notification" => {
            let data = about(json!({ "notification": event.data.get("data") }));
            ("notification".to_owned(), "notification", data)
        }
        RecordBody::EventEmitted { topic, .. } => {
            let data = about(json!({ "topic": topic, "data": event.data.get("data") }));
            (format!("event.{topic}"), "event", data)
        }
        _ => return None,
    })
}
