//! What ALEX OS posts to the module: what happened to workflows, agents and entanglements elsewhere, its health, its status.
//!
//! A report is written down in the audit log, offered to triggers and waiting steps as an event, and answered. `failed` and what
//! asks for it set the attention that `/webhooks/status` shows, until a report says otherwise. The same at the path that older hosts know.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::health::label;
use crate::error::Error;
use crate::error::code::general;
use crate::http::Shared;
use crate::http::engine::Asked;
use crate::http::problem::Answer;
use crate::http::request::{Call, printable};
use crate::limits::EVENT_BYTES_MAX;
use crate::port::Action;
use crate::runtime::{Deed, Event, Who};

/// Events that are known of each kind of object.
const KNOWN: &[(&str, &[&str])] = &[
    ("workflow", &["started", "completed", "failed"]),
    ("agent", &["spawned", "terminated"]),
    ("entanglement", &["created", "destroyed"]),
];
/// A word of a report that becomes part of a topic.
const WORD_BYTES_MAX: usize = 64;

/// What reports said last, from memory: they come again every minute.
#[derive(Default)]
pub struct Reports(Mutex<Told>);

#[derive(Clone, Default)]
struct Told {
    requires_attention: bool,
    attention_reason: Option<String>,
    last_health_report: Option<String>,
    count: u64,
}

/// A report was taken.
#[derive(Serialize, ToSchema)]
struct Taken {
    /// `success`.
    status: &'static str,
    /// For people.
    message: String,
}

/// What reports said.
#[derive(Serialize, ToSchema)]
struct Standing {
    /// `success`.
    status: &'static str,
    /// How it stands.
    data: Attention,
    /// Now.
    #[schema(format = "date-time")]
    timestamp: String,
}

/// How it stands.
#[derive(Serialize, ToSchema)]
struct Attention {
    /// `running` or `stopping`.
    status: &'static str,
    /// `healthy`, `degraded` or `unhealthy`.
    health_status: &'static str,
    /// Reports since the start.
    reports: u64,
    /// When the host last reported its health.
    #[schema(format = "date-time")]
    last_health_report: Option<String>,
    /// Whether a report asked for a person.
    requires_attention: bool,
    /// Why.
    attention_reason: Option<String>,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(standing))
        .routes(routes!(health_of, health))
        .routes(routes!(status_of, status))
        .routes(routes!(event))
        .routes(routes!(object))
        .routes(routes!(old_standing))
        .routes(routes!(old_health_of, old_health))
        .routes(routes!(old_status_of, old_status))
        .routes(routes!(old_event))
        .routes(routes!(old_object))
}

/// Each route at our path and at the one that older hosts know.
macro_rules! both {
    ($($(#[doc = $doc:literal])* $verb:ident $name:ident $old:ident $path:literal { $($spec:tt)* } $run:expr;)*) => {
        $(
            $(#[doc = $doc])*
            #[utoipa::path($verb, path = concat!("/api/chainbot/webhooks", $path), tag = "bridge", $($spec)*)]
            async fn $name(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
                $run(shared, call).await
            }

            $(#[doc = $doc])*
            #[utoipa::path($verb, path = concat!("/api/webhooks/chainbot", $path), tag = "bridge", $($spec)*)]
            async fn $old(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
                $run(shared, call).await
            }
        )*
    };
}

both! {
    /// What reports of the host said last
    get standing old_standing "" { responses((status = 200, description = "How it stands", body = Standing)) } show;
    /// What reports of the host said last
    get health_of old_health_of "/health" {
        responses((status = 200, description = "How it stands", body = Standing)) } show;
    /// What reports of the host said last
    get status_of old_status_of "/status" {
        responses((status = 200, description = "How it stands", body = Standing)) } show;
    /// Takes the host's report of its health; triggers see it as `alex_os.module.health`
    post health old_health "/health" { request_body(content = Option<serde_json::Value>, example = json!({ "event_type": "code_change", "workflow_id": "7" })),
        responses((status = 200, description = "Taken", body = Taken)) } take_health;
    /// Takes the host's report of its status; triggers see it as `alex_os.system.status`
    post status old_status "/status" { request_body(content = Option<serde_json::Value>, example = json!({ "event_type": "code_change", "workflow_id": "7" })),
        responses((status = 200, description = "Taken", body = Taken)) } take_status;
    /// Takes an event of the host; triggers see it as `alex_os.event.` and its `event_type`
    post event old_event "/event" { request_body(content = serde_json::Value, example = json!({ "event_type": "code_change", "workflow_id": "7" })),
        responses(
            (status = 200, description = "Taken", body = Taken),
            (status = 422, description = "There is no `event_type`")) } take_event;
    /// Takes what happened to a workflow, an agent or an entanglement; triggers see it as `alex_os.KIND.EVENT`
    post object old_object "/{kind}/{event}" { request_body(content = Option<serde_json::Value>, example = json!({ "event_type": "code_change", "workflow_id": "7" })),
        params(
            ("kind" = String, Path, description = "`workflow`, `agent` or `entanglement`"),
            ("event" = String, Path, description = "Such as `started` or `terminated`")),
        responses(
            (status = 200, description = "Taken", body = Taken),
            (status = 422, description = "There is no such event")) } take_object;
}

async fn show(shared: Arc<Shared>, call: Call) -> Answer {
    call.query(&[])?;
    let told = shared.reports.0.lock().clone();
    let data = Attention {
        status: if shared.is_closing() { "stopping" } else { "running" },
        health_status: label((shared.health)().score),
        reports: told.count,
        last_health_report: told.last_health_report,
        requires_attention: told.requires_attention,
        attention_reason: told.attention_reason,
    };
    let timestamp = shared.env.now().to_string();
    Ok(Json(Standing { status: "success", data, timestamp }).into_response())
}

async fn take_health(shared: Arc<Shared>, call: Call) -> Answer {
    take(&shared, call, "alex_os.module.health").await
}

async fn take_status(shared: Arc<Shared>, call: Call) -> Answer {
    take(&shared, call, "alex_os.system.status").await
}

async fn take_event(shared: Arc<Shared>, mut call: Call) -> Answer {
    let report = call.object(EVENT_BYTES_MAX).await?;
    let word =
        report.get("event_type").and_then(Value::as_str).filter(|word| is_word(word)).ok_or_else(|| {
            Error::new(&general::FIELD, "`event_type` is missing, or is no word")
                .help("give it as letters, digits, `_` and `-`")
        })?;
    let topic = format!("alex_os.event.{word}");
    note(&shared, &call.engine(&shared)?, &topic, report)
}

async fn take_object(shared: Arc<Shared>, mut call: Call) -> Answer {
    let report = call.object(EVENT_BYTES_MAX).await?;
    let (kind, event) = (call.path("kind")?, call.path("event")?);
    let known = KNOWN.iter().find(|(name, events)| *name == kind && events.contains(&event));
    let Some((kind, events)) = known else {
        let shown = printable(&format!("{kind}/{event}"));
        return Err(Error::new(&general::FIELD, format!("there is no report `{shown}`"))
            .help("workflow/started, completed, failed; agent/spawned, terminated; entanglement/created, destroyed")
            .into());
    };
    let event = events.iter().find(|name| **name == event).copied().unwrap_or_default();
    let topic = format!("alex_os.{kind}.{event}");
    note(&shared, &call.engine(&shared)?, &topic, report)
}

async fn take(shared: &Arc<Shared>, mut call: Call, topic: &str) -> Answer {
    let report = call.object(EVENT_BYTES_MAX).await?;
    note(shared, &call.engine(shared)?, topic, report)
}

fn is_word(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= WORD_BYTES_MAX
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// Writes it down, passes it on, and keeps what it says of attention.
fn note(shared: &Shared, engine: &Asked, topic: &str, report: serde_json::Map<String, Value>) -> Answer {
    let now = shared.env.now();
    let told = attention(topic, &report);
    // First: what is not taken is not written down.
    let id = String::new();
    engine.offer(Event { id, topic: topic.to_owned(), at: now, data: Value::Object(report) })?;
    if let (Some(who), Some(handle)) = (Who::now(), engine.handle()) {
        handle.write_down(Deed::new(Action::HostReport, "event", topic).by(who, now));
    }
    let mut state = shared.reports.0.lock();
    state.count += 1;
    if topic == "alex_os.module.health" {
        state.last_health_report = Some(now.to_string());
    }
    if let Some((requires_attention, reason)) = told {
        state.requires_attention = requires_attention;
        state.attention_reason = reason.filter(|_| requires_attention);
    }
    let message = format!("taken as {topic}");
    Ok(Json(Taken { status: "success", message }).into_response())
}

/// Whether a report asks for a person, and why; `None` when it says nothing of it.
fn attention(topic: &str, report: &serde_json::Map<String, Value>) -> Option<(bool, Option<String>)> {
    let text = |key: &str| report.get(key).and_then(Value::as_str).map(printable);
    if topic == "alex_os.workflow.failed" {
        let name = text("workflow_name").or(text("workflow_id")).unwrap_or_else(|| "a workflow".to_owned());
        let why = text("error").unwrap_or_else(|| "no reason was given".to_owned());
        return Some((true, Some(format!("{name} failed: {why}"))));
    }
    let asks = report.get("requires_attention")?.as_bool()?;
    Some((asks, text("attention_reason")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_failed_workflow_and_whoever_asks_gets_attention() {
        let of = |topic: &str, report: Value| attention(topic, report.as_object().unwrap());
        let failed = of("alex_os.workflow.failed", json!({ "workflow_name": "report", "error": "no paper" }));
        assert_eq!(failed, Some((true, Some("report failed: no paper".to_owned()))));
        assert_eq!(of("alex_os.module.health", json!({ "requires_attention": false })), Some((false, None)));
        assert_eq!(of("alex_os.module.health", json!({ "active_workflows": 3 })), None);
        assert!(is_word("code_change") && !is_word("a.b") && !is_word("") && !is_word(&"x".repeat(65)));
    }
}
