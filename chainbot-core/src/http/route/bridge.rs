//! What the sibling dashboard and older clients call: paths and words of the previous system, answered from the same sources.
//!
//! The dashboard polls, takes nothing but 200 for an answer, follows no links and compares ids as text. So every list here is a
//! bare array, and ids are JSON strings.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::health::{self, Health};
use crate::error::Error;
use crate::error::code::general;
use crate::http::Shared;
use crate::http::problem::Answer;
use crate::http::request::Call;
use crate::http::view::{Numbers, Run};
use crate::runtime::AgentView;
use crate::task::AgentKind;

/// An agent, as the dashboard shows it.
#[derive(Serialize, ToSchema)]
struct BridgeAgent {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
    /// `idle`, `working`, `waiting`, `error` or `terminated`.
    status: String,
    /// What it can do.
    capabilities: Vec<String>,
    /// When it was made.
    #[schema(format = "date-time")]
    created_at: String,
    /// When it last did something.
    #[schema(format = "date-time")]
    last_active: Option<String>,
    /// More.
    #[schema(value_type = Object)]
    metadata: serde_json::Map<String, serde_json::Value>,
}

/// How well it goes, in few words.
#[derive(Serialize, ToSchema)]
struct Simple {
    /// `healthy`, `degraded` or `unhealthy`.
    status: &'static str,
    /// 0.0 to 1.0.
    health_score: f64,
    /// Now.
    #[schema(format = "date-time")]
    timestamp: String,
}

/// How the module stands.
#[derive(Serialize, ToSchema)]
struct Status {
    /// `running`, or `stopping`.
    status: &'static str,
    /// The module's name.
    module: &'static str,
    /// Its version.
    version: &'static str,
    /// 0.0 to 1.0.
    health_score: f64,
    /// When it started.
    #[schema(format = "date-time")]
    started_at: String,
    /// Since the start, in seconds.
    uptime_s: u64,
    /// WebSockets that are open.
    websocket_connections: usize,
    /// Runs and effects.
    counts: Numbers,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(alex_agents))
        .routes(routes!(ai_agents))
        .routes(routes!(all_agents))
        .routes(routes!(api_health))
        .routes(routes!(root_health))
        .routes(routes!(simple_health))
        .routes(routes!(status))
        .routes(routes!(execution))
}

/// Which agents.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Without a model.
    Alex,
    /// With a model.
    Ai,
    /// Both; none is in both of the others.
    All,
}

/// Agents that they see; a page is as much as the dashboard shows.
async fn agents(shared: &Shared, call: Call, which: Which) -> Answer {
    call.query(&[])?;
    let page = call.engine(shared)?.people()?.agents(None, crate::limits::PAGE_MAX).await?;
    let has_model = |view: &AgentView| {
        view.kind == AgentKind::Assistant.as_str() || view.definition.get("model").is_some()
    };
    let wanted = |view: &AgentView| match which {
        Which::Alex => !has_model(view),
        Which::Ai => has_model(view),
        Which::All => true,
    };
    let agents: Vec<BridgeAgent> = page.items.into_iter().filter(wanted).map(BridgeAgent::from).collect();
    Ok(Json(agents).into_response())
}

impl From<AgentView> for BridgeAgent {
    fn from(view: AgentView) -> Self {
        let tools = view.definition.get("tools").and_then(|tools| tools.as_object());
        let mut metadata = serde_json::Map::new();
        metadata.insert("type".to_owned(), view.kind.clone().into());
        metadata.insert("tasks_completed".to_owned(), view.tasks_completed.into());
        metadata.insert("tasks_failed".to_owned(), view.tasks_failed.into());
        Self {
            id: view.id.to_string(),
            name: view.name,
            status: view.status,
            capabilities: std::iter::once(view.kind)
                .chain(tools.into_iter().flatten().map(|(name, _)| name.clone()))
                .collect(),
            created_at: view.created_at.to_string(),
            last_active: Some(view.last_activity.to_string()),
            metadata,
        }
    }
}

/// Agents without a model, for the sibling dashboard
#[utoipa::path(get, path = "/api/chainbot/alex-agents", tag = "bridge",
    responses((status = 200, description = "A bare array", body = Vec<BridgeAgent>)))]
async fn alex_agents(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    agents(&shared, call, Which::Alex).await
}

/// Agents with a model, for the sibling dashboard
#[utoipa::path(get, path = "/api/chainbot/ai-agents", tag = "bridge",
    responses((status = 200, description = "A bare array", body = Vec<BridgeAgent>)))]
async fn ai_agents(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    agents(&shared, call, Which::Ai).await
}

/// All agents, for the sibling dashboard
#[utoipa::path(get, path = "/api/chainbot/agents/all", tag = "bridge",
    responses((status = 200, description = "A bare array", body = Vec<BridgeAgent>)))]
async fn all_agents(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    agents(&shared, call, Which::All).await
}

/// How well each component does, where older clients ask
#[utoipa::path(get, path = "/api/health", tag = "bridge",
    responses((status = 200, description = "As `/api/chainbot/health`, also when unhealthy", body = Health)))]
async fn api_health(State(shared): State<Arc<Shared>>) -> Answer {
    Ok(Json(health::report(&shared)).into_response())
}

/// How well each component does, for load balancers
#[utoipa::path(get, path = "/health", tag = "bridge",
    responses(
        (status = 200, description = "Healthy or degraded", body = Health),
        (status = 503, description = "Unhealthy")))]
async fn root_health(State(shared): State<Arc<Shared>>) -> Answer {
    let health = health::report(&shared);
    if health.is_unhealthy() {
        return Err(Error::new(&general::STOPPING, "the module is unhealthy")
            .help("GET /api/chainbot/health says which component, and why")
            .into());
    }
    Ok(Json(health).into_response())
}

/// How well it goes, in few words
#[utoipa::path(get, path = "/api/chainbot/health/simple", tag = "bridge",
    responses((status = 200, description = "Label and score", body = Simple)))]
async fn simple_health(State(shared): State<Arc<Shared>>) -> Answer {
    let score = (shared.health)().score;
    let timestamp = shared.env.now().to_string();
    Ok(Json(Simple { status: health::label(score), health_score: score, timestamp }).into_response())
}

/// How the module stands, in the words of older clients
#[utoipa::path(get, path = "/api/chainbot/status", tag = "bridge",
    responses((status = 200, description = "State, version, uptime and counts", body = Status)))]
async fn status(State(shared): State<Arc<Shared>>) -> Answer {
    let status = Status {
        status: if shared.is_closing() { "stopping" } else { "running" },
        module: "chainbot",
        version: crate::VERSION,
        health_score: (shared.health)().score,
        started_at: shared.started_at.to_string(),
        uptime_s: shared.uptime_s(),
        websocket_connections: shared.live.seats.open(),
        counts: shared.engine.machine().counts().into(),
    };
    Ok(Json(status).into_response())
}

/// A run, where older clients ask
#[utoipa::path(get, path = "/api/chainbot/executions/{id}", tag = "bridge",
    params(("id" = String, Path, description = "The run")),
    responses(
        (status = 200, description = "As `/api/chainbot/runs/{id}`", body = Run),
        (status = 404, description = "There is no such run")))]
async fn execution(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let view = call.engine(&shared)?.run(call.run_id()?).await?;
    Ok(Json(Run::from(view)).into_response())
}
