//! Triggers: shown, switched on and off; and the webhooks that are some of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::workflows::REPLAYED;
use crate::http::Shared;
use crate::http::guard::Caller;
use crate::http::page::{self, Compare};
use crate::http::problem::Answer;
use crate::http::request::Call;
use crate::limits::EVENT_BYTES_MAX;
use crate::runtime::{HookCall, TriggerView, WorkflowSwitched};

/// What the list can be sorted by. One that never comes is behind those that do.
const COLUMNS: &[(&str, Compare<TriggerView>)] = &[
    ("workflow", |a, b| a.workflow_name.cmp(&b.workflow_name)),
    ("next_at", |a, b| (a.next_at.is_none(), a.next_at).cmp(&(b.next_at.is_none(), b.next_at))),
    ("last_at", |a, b| a.last_at.cmp(&b.last_at)),
];

/// A trigger of a workflow.
#[derive(Serialize, ToSchema)]
#[schema(as = WorkflowTrigger)] // `Trigger` is what started a run
struct Trigger {
    /// Names it among the triggers of its workflow, over all versions.
    key: String,
    /// The workflow's id.
    #[schema(format = "uuid")]
    workflow_id: String,
    /// The workflow's name.
    workflow_name: String,
    /// `cron`, `event`, `webhook`, `gpio` or `workflow`.
    kind: String,
    /// What it listens to, in words.
    listens_to: String,
    /// Whether it is switched on itself.
    enabled: bool,
    /// Whether it fires: it and its workflow are switched on.
    active: bool,
    /// Of a schedule that fires: the next time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    next_at: Option<String>,
    /// When it last started a run or let an occasion go.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    last_at: Option<String>,
    /// The run that it started last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    last_run: Option<String>,
    /// Why it started none the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl From<TriggerView> for Trigger {
    fn from(view: TriggerView) -> Self {
        Self {
            key: view.key,
            workflow_id: view.workflow_id.to_string(),
            workflow_name: view.workflow_name,
            kind: view.kind,
            listens_to: view.listens_to,
            enabled: view.enabled,
            active: view.active,
            next_at: view.next_at.map(|at| at.to_string()),
            last_at: view.last_at.map(|at| at.to_string()),
            last_run: view.last_run.map(|run| run.to_string()),
            note: view.note,
        }
    }
}

/// A workflow, switched.
#[derive(Serialize, ToSchema)]
struct Switched {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// Its name.
    name: String,
    /// `active` or `disabled`.
    status: String,
    /// Its triggers.
    triggers: Vec<Trigger>,
}

impl From<WorkflowSwitched> for Switched {
    fn from(view: WorkflowSwitched) -> Self {
        let triggers = view.triggers.into_iter().map(Trigger::from).collect();
        Self { id: view.id.to_string(), name: view.name, status: view.status, triggers }
    }
}

/// What a webhook started.
#[derive(Serialize, ToSchema)]
struct Accepted {
    /// The run.
    #[schema(format = "uuid")]
    run_id: String,
    /// The workflow's name.
    workflow: String,
    /// Always `accepted`: the run is on disk.
    status: &'static str,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(schedules))
        .routes(routes!(list))
        .routes(routes!(enable))
        .routes(routes!(disable))
        .routes(routes!(enable_one))
        .routes(routes!(disable_one))
        .routes(routes!(hook))
}

/// The triggers of all workflows, the next times first unless said
#[utoipa::path(get, path = "/api/chainbot/schedules", tag = "triggers",
    params(("sort" = Option<String>, Query,
        description = "`workflow`, `next_at` or `last_at`; turned round by a `-` before it")),
    responses((status = 200, description = "All of them", body = Vec<Trigger>)))]
async fn schedules(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["sort"])?;
    let mut all = call.engine(&shared)?.schedules().await?;
    page::sort_whole(&query, &mut all, COLUMNS)?;
    Ok(Json(all.into_iter().map(Trigger::from).collect::<Vec<_>>()).into_response())
}

/// The triggers of a workflow
#[utoipa::path(get, path = "/api/chainbot/workflows/{id}/triggers", tag = "triggers",
    params(("id" = String, Path, description = "Id or name")),
    responses(
        (status = 200, description = "Its triggers, with their next and last times", body = Vec<Trigger>),
        (status = 404, description = "There is no such workflow")))]
async fn list(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let all = call.engine(&shared)?.triggers(call.path("id")?).await?;
    Ok(Json(all.into_iter().map(Trigger::from).collect::<Vec<_>>()).into_response())
}

/// Lets triggers start a workflow
#[utoipa::path(post, path = "/api/chainbot/workflows/{id}/enable", tag = "triggers",
    params(("id" = String, Path, description = "Id or name")),
    responses(
        (status = 200, description = "Its triggers fire; times that passed meanwhile are not caught up", body = Switched),
        (status = 404, description = "There is no such workflow")))]
async fn enable(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let switched = call.engine(&shared)?.switch_workflow(call.path("id")?, true).await?;
    Ok(Json(Switched::from(switched)).into_response())
}

/// Lets no trigger start a workflow; people and other workflows still can
#[utoipa::path(post, path = "/api/chainbot/workflows/{id}/disable", tag = "triggers",
    params(("id" = String, Path, description = "Id or name")),
    responses(
        (status = 200, description = "No trigger starts it; runs under way go on", body = Switched),
        (status = 404, description = "There is no such workflow")))]
async fn disable(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let switched = call.engine(&shared)?.switch_workflow(call.path("id")?, false).await?;
    Ok(Json(Switched::from(switched)).into_response())
}

/// Switches a trigger on
#[utoipa::path(post, path = "/api/chainbot/workflows/{id}/triggers/{key}/enable", tag = "triggers",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("key" = String, Path, description = "As the list of triggers has it")),
    responses(
        (status = 200, description = "The trigger", body = Trigger),
        (status = 404, description = "There is no such workflow or trigger")))]
async fn enable_one(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let view = call.engine(&shared)?.switch_trigger(call.path("id")?, call.path("key")?, true).await?;
    Ok(Json(Trigger::from(view)).into_response())
}

/// Switches a trigger off
#[utoipa::path(post, path = "/api/chainbot/workflows/{id}/triggers/{key}/disable", tag = "triggers",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("key" = String, Path, description = "As the list of triggers has it")),
    responses(
        (status = 200, description = "The trigger", body = Trigger),
        (status = 404, description = "There is no such workflow or trigger")))]
async fn disable_one(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let view = call.engine(&shared)?.switch_trigger(call.path("id")?, call.path("key")?, false).await?;
    Ok(Json(Trigger::from(view)).into_response())
}

/// Calls a webhook of a workflow
#[utoipa::path(post, path = "/api/chainbot/hooks/{name}", tag = "triggers",
    params(
        ("name" = String, Path, description = "The name in the trigger `webhook`"),
        ("webhook-id" = Option<String>, Header, description = "Standard Webhooks: a repeat with the same id answers the first run"),
        ("webhook-timestamp" = Option<String>, Header, description = "Standard Webhooks: seconds since 1970, at most 5 minutes away"),
        ("webhook-signature" = Option<String>, Header, description = "Standard Webhooks: `v1,` and the base64 of the HMAC-SHA256; needed when the trigger names a `secret`, and then instead of the token"),
        ("Idempotency-Key" = Option<String>, Header, description = "For calls with the token: makes a repeat harmless")),
    request_body(content(
        (serde_json::Value = "application/json", example = json!({ "zone": "lawn" })),
        (serde_json::Value = "application/cloudevents+json", example = json!({ "specversion": "1.0", "data": { "zone": "lawn" } })),
        (String = "application/x-www-form-urlencoded", example = json!("zone=lawn")),
        (String = "text/plain", example = json!("lawn"))),
        description = "At most 256 KiB; expressions see it as `event.data`"),
    responses(
        (status = 202, description = "The run is on disk", body = Accepted),
        (status = 404, description = "With the token: no workflow has this webhook"),
        (status = 409, description = "It is switched off, its `when` does not hold, or the workflow runs already"),
        (status = 413, description = "The body is too large"),
        (status = 422, description = "The inputs that it makes do not match the workflow's schema")))]
async fn hook(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let text = |call: &Call, name: &str| call.header(name).map(|value| value.map(str::to_owned));
    let key = call.idempotency_key()?;
    let made = HookCall {
        name: call.path("name")?.to_owned(),
        content_type: text(&call, "content-type")?,
        id: text(&call, "webhook-id")?.or(key),
        timestamp: text(&call, "webhook-timestamp")?,
        signature: text(&call, "webhook-signature")?,
        has_token: matches!(call.caller(), Some(Caller::Known(_))),
        body: call.raw(EVENT_BYTES_MAX).await?,
    };
    let reply = call.engine(&shared)?.hook(made).await?;
    let accepted = Accepted { run_id: reply.run.to_string(), workflow: reply.workflow, status: "accepted" };
    let mut response = (StatusCode::ACCEPTED, Json(accepted)).into_response();
    if reply.replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}
