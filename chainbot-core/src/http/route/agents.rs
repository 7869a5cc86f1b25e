//! Agents: made, listed, changed, ended; their tasks and what they cost.
//!
//! A task is a run: its steps, journal, state at any record, pause, cancel, retry and fork are those of `/runs/{id}` with the task's id. The ETag of
//! an agent is the hash of its definition.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::workflows::REPLAYED;
use crate::error::code::{agent as code, general};
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::engine::Asked;
use crate::http::page::{self, Pager};
use crate::http::problem::Answer;
use crate::http::request::{Call, Tags, wrong};
use crate::http::view::{Run, RunHead};
use crate::limits::{BODY_BYTES_MAX, PAGE_MAX};
use crate::model::RunView;
use crate::port::AgentState;
use crate::runtime::{AgentView, NewTask, UsageView};
use crate::task::{AgentKind, TaskInput};

const PATH: &str = "/api/chainbot/agents";
/// Seconds that a request may wait for its task.
const WAIT_MAX: u64 = 60;

/// An agent.
#[derive(Serialize, ToSchema)]
pub struct Agent {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// Its name.
    name: String,
    /// `assistant`, `data_processor`, `api` or `workflow`.
    #[serde(rename = "type")]
    kind: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// `idle`, `working`, `waiting`, `error` or `terminated`.
    status: String,
    /// Why it is in error, or terminated.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Of the current definition, from 1.
    version: u32,
    /// blake3 of the definition: the ETag.
    hash: String,
    /// As it was given.
    #[schema(value_type = Object)]
    definition: Value,
    /// Tasks that ended well.
    tasks_completed: u64,
    /// Tasks that failed.
    tasks_failed: u64,
    /// Tasks at work or waiting.
    tasks_active: u64,
    /// When it was made.
    #[schema(format = "date-time")]
    created_at: String,
    /// When something of it last changed.
    #[schema(format = "date-time")]
    last_activity: String,
}

impl From<AgentView> for Agent {
    fn from(view: AgentView) -> Self {
        Self {
            id: view.id.to_string(),
            name: view.name,
            kind: view.kind,
            description: view.description,
            status: view.status,
            reason: view.reason,
            version: view.version,
            hash: view.hash,
            definition: view.definition,
            tasks_completed: view.tasks_completed,
            tasks_failed: view.tasks_failed,
            tasks_active: view.tasks_active as u64,
            created_at: view.created_at.to_string(),
            last_activity: view.last_activity.to_string(),
        }
    }
}

/// The types of agents.
#[derive(Serialize, ToSchema)]
struct AgentTypes {
    /// All four.
    types: Vec<AgentType>,
}

/// A type of agent.
#[derive(Serialize, ToSchema)]
struct AgentType {
    /// Its name.
    #[serde(rename = "type")]
    kind: &'static str,
    /// What it does.
    description: &'static str,
    /// Whether every task of it needs a model.
    needs_model: bool,
    /// Live ones, at most.
    max_instances: u64,
}

/// What an agent used of models.
#[derive(Serialize, ToSchema)]
struct AgentUsage {
    /// A row for each day, server and model.
    days: Vec<Usage>,
}

/// What an agent used of a model on a day.
#[derive(Serialize, ToSchema)]
struct Usage {
    /// The day, of UTC.
    #[schema(format = "date")]
    day: String,
    /// Which server.
    provider: String,
    /// Which model.
    model: String,
    /// Calls.
    calls: u64,
    /// Tokens of prompts, cached ones included.
    input_tokens: u64,
    /// Of those, cached ones.
    cached_tokens: u64,
    /// Tokens of replies.
    output_tokens: u64,
    /// In the currency of the prices.
    cost: f64,
}

impl From<UsageView> for Usage {
    fn from(view: UsageView) -> Self {
        Self {
            day: view.day,
            provider: view.provider,
            model: view.model,
            calls: view.calls,
            input_tokens: view.input_tokens,
            cached_tokens: view.cached_tokens,
            output_tokens: view.output_tokens,
            cost: view.cost,
        }
    }
}

/// A task.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the fields are read one by one")]
struct Task {
    /// What is to be done: text, or what the agent's type takes.
    task: Value,
    /// What belongs to it. It taints the task.
    context: Option<Value>,
    /// JSON Schema of the answer.
    #[schema(value_type = Option<Object>)]
    output_schema: Option<Value>,
    /// Narrows the agent's.
    #[schema(value_type = Option<Object>)]
    budget: Option<Value>,
    /// The conversation that it goes on with.
    thread: Option<String>,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(types))
        .routes(routes!(read, change, delete))
        .routes(routes!(tasks, begin))
        .routes(routes!(execute))
        .routes(routes!(terminate))
        .routes(routes!(usage))
}

/// All agents, by name
#[utoipa::path(get, path = "/api/chainbot/agents", tag = "agents",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 200; 200 unless said"),
        ("cursor" = Option<String>, Query, description = "From the Link header of an earlier page")),
    responses((status = 200, description = "A page", body = Vec<Agent>)))]
async fn list(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["limit", "cursor"])?;
    let limit = page::limit_or(&query, PAGE_MAX)?;
    let page = call.engine(&shared)?.people()?.agents(query.text("cursor"), limit).await?;
    let entries: Vec<_> = page.items.into_iter().map(|view| (view.name.clone(), Agent::from(view))).collect();
    let pager = Pager::of(entries, |entry| entry)?;
    pager.reply(&call, PATH, page.total, page.more, limit, &[])
}

/// Makes an agent
///
/// The body is its definition, as JSON or YAML; `/api/chainbot/schemas/agent.json` says what it may hold. Nothing of it is called before its first task.
#[utoipa::path(post, path = "/api/chainbot/agents", tag = "agents",
    request_body(content(
        (Object = "application/json", example = json!({ "name": "butler", "type": "assistant", "instructions": "You keep a house.", "budget": { "tokens": 20000 } })),
        (String = "application/yaml", example = json!("name: butler\ntype: assistant\ninstructions: You keep a house.\n"))),
        description = "The definition"),
    responses(
        (status = 201, description = "Made", body = Agent,
            headers(("Location", description = "The agent"), ("ETag", description = "Of this definition"))),
        (status = 409, description = "The name exists"),
        (status = 422, description = "The definition is wrong"),
        (status = 429, description = "There are as many as may be")))]
async fn create(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let definition = definition(&mut call).await?;
    let view = call.engine(&shared)?.people()?.create_agent(definition).await?;
    let location = HeaderValue::try_from(call.location(&format!("{PATH}/{}", view.id)))
        .map_err(|e| Error::new(&general::INTERNAL, "the location is no header").because(e))?;
    let mut response = show(view)?;
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// The types of agents
#[utoipa::path(get, path = "/api/chainbot/agents/types", tag = "agents",
    responses((status = 200, description = "All four", body = AgentTypes)))]
async fn types(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    call.query(&[])?;
    let rules = call.engine(&shared)?.people()?.agent_rules();
    let of = |kind: AgentKind| {
        let description = match kind {
            AgentKind::Assistant => "Talks, uses tools, remembers",
            AgentKind::DataProcessor => "Works rows of data through a pipeline",
            AgentKind::Api => "Speaks to one HTTP interface that an OpenAPI document describes",
            AgentKind::Workflow => "Starts and watches workflows",
        };
        let max_instances = rules.max_of(kind.as_str()) as u64;
        AgentType {
            kind: kind.as_str(),
            description,
            needs_model: kind == AgentKind::Assistant,
            max_instances,
        }
    };
    Ok(Json(AgentTypes { types: AgentKind::ALL.map(of).into() }).into_response())
}

/// An agent
#[utoipa::path(get, path = "/api/chainbot/agents/{id}", tag = "agents",
    params(("id" = String, Path, description = "Id or name")),
    responses(
        (status = 200, description = "The agent", body = Agent, headers(("ETag", description = "Of this definition"))),
        (status = 404, description = "There is no such agent")))]
async fn read(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    call.query(&[])?;
    Ok(show(call.engine(&shared)?.people()?.agent(call.path("id")?).await?)?)
}

/// Another definition, or another status
///
/// The body is a JSON merge patch (RFC 7396) of the definition; tasks under way keep the one that they began with. `{"status": "idle"}` alone takes an
/// agent out of error.
#[utoipa::path(patch, path = "/api/chainbot/agents/{id}", tag = "agents",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("If-Match" = Option<String>, Header, description = "The ETag that must be current")),
    request_body(content(
        (Object = "application/merge-patch+json", example = json!({ "instructions": "You keep a garden." })),
        (Object = "application/json", example = json!({ "status": "idle" }))),
        description = "Keys of the definition, or a status"),
    responses(
        (status = 200, description = "The agent", body = Agent, headers(("ETag", description = "Of this definition"))),
        (status = 404, description = "There is no such agent"),
        (status = 409, description = "It was terminated"),
        (status = 412, description = "The agent has changed since"),
        (status = 422, description = "The definition would be wrong")))]
async fn change(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let patch = call.json(BODY_BYTES_MAX).await?;
    let tag = one_tag(call.tags("if-match")?)?;
    let engine = call.engine(&shared)?;
    let (people, reference) = (engine.people()?, call.path("id")?);
    let Value::Object(fields) = &patch else {
        return Err(Error::new(&general::FIELD, "the patch must be an object").into());
    };
    if let Some(status) = fields.get("status") {
        if fields.len() > 1 || status != "idle" {
            return Err(Error::new(&general::FIELD, "`status` stands alone and may only become `idle`")
                .help("POST /api/chainbot/agents/{id}/terminate ends an agent for good")
                .into());
        }
        return Ok(show(people.set_agent_state(reference, AgentState::Live, None).await?)?);
    }
    let view = people.agent(reference).await?;
    if tag.as_ref().is_some_and(|tag| *tag != view.hash) {
        return Err(Error::new(&general::PRECONDITION, "the agent has changed since it was read")
            .help("read it again and repeat the change on top of it")
            .into());
    }
    let mut definition = view.definition;
    crate::expr::merge_patch(&mut definition, &patch);
    Ok(show(people.update_agent(reference, definition, Some(&view.hash)).await?)?)
}

/// Deletes an agent and cancels its tasks; their history stays until retention takes it
#[utoipa::path(delete, path = "/api/chainbot/agents/{id}", tag = "agents",
    params(("id" = String, Path, description = "Id or name")),
    responses((status = 204, description = "Deleted"), (status = 404, description = "There is no such agent")))]
async fn delete(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    call.query(&[])?;
    call.engine(&shared)?.people()?.delete_agent(call.path("id")?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// An agent's tasks, the newest first
#[utoipa::path(get, path = "/api/chainbot/agents/{id}/tasks", tag = "agents",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 unless said"),
        ("cursor" = Option<String>, Query, description = "From the Link header of an earlier page")),
    responses(
        (status = 200, description = "Its runs", body = Vec<RunHead>),
        (status = 404, description = "There is no such agent")))]
async fn tasks(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["limit", "cursor"])?;
    let limit = page::limit(&query)?;
    let before =
        query.text("cursor").map(|text| text.parse().map_err(|_| page::bad_cursor(text))).transpose()?;
    let agent = call.path("id")?;
    let page = call.engine(&shared)?.people()?.tasks(agent, before, limit).await?;
    let pager = Pager::of(page.items, |row| (row.id.to_string(), RunHead::from(row)))?;
    pager.reply(&call, &format!("{PATH}/{agent}/tasks"), page.total, page.more, limit, &[])
}

/// Gives an agent a task; it is durable when this answers
#[utoipa::path(post, path = "/api/chainbot/agents/{id}/tasks", tag = "agents",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("wait" = Option<u32>, Query, description = "Seconds to wait for the result, 60 at most; 0 unless said"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat of this request harmless")),
    request_body(content = Task, example = json!({ "task": "Is it warm enough for tomatoes?", "budget": { "turns": 4 } })),
    responses(
        (status = 201, description = "Begun, and done if it was waited for", body = Run, headers(("Location", description = "The task, as a run"))),
        (status = 404, description = "There is no such agent"),
        (status = 409, description = "The agent takes no task, or the key was used for another request"),
        (status = 422, description = "The task does not read")))]
async fn begin(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let wait = wait_of(&call)?;
    let started = start(&shared, &mut call).await?;
    let run = finished(call.engine(&shared)?, call.budget(), started.run, wait).await?;
    Ok(begun(&call, run, started.replayed))
}

/// Seconds to wait, of the query.
pub fn wait_of(call: &Call) -> Result<u64> {
    let wait = call.query(&["wait"])?.parsed("wait", "a number of seconds, 60 at most")?.unwrap_or(0);
    if wait > WAIT_MAX {
        return Err(wrong("wait", "is more than 60", "ask again for the run that comes back"));
    }
    Ok(wait)
}

/// A task that was begun, now or by an earlier request.
pub fn begun(call: &Call, run: RunView, replayed: bool) -> Response {
    let location = call.location(&format!("/api/chainbot/runs/{}", run.id));
    let mut response =
        (StatusCode::CREATED, [(header::LOCATION, location)], Json(Run::from(run))).into_response();
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// Gives an agent a task and waits for its result, in the words of older clients
#[utoipa::path(post, path = "/api/chainbot/agents/{id}/execute", tag = "agents",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat of this request harmless")),
    request_body(content = Task, example = json!({ "task": "Is it warm enough for tomatoes?" })),
    responses(
        (status = 200, description = "As it stands after at most 60 seconds", body = Run),
        (status = 404, description = "There is no such agent"),
        (status = 409, description = "The agent takes no task, or the key was used for another request"),
        (status = 422, description = "The task does not read")))]
async fn execute(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    call.query(&[])?;
    let started = start(&shared, &mut call).await?;
    let run = finished(call.engine(&shared)?, call.budget(), started.run, WAIT_MAX).await?;
    let mut response = Json(Run::from(run)).into_response();
    if started.replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Ends an agent for good and cancels its tasks
#[utoipa::path(post, path = "/api/chainbot/agents/{id}/terminate", tag = "agents",
    params(("id" = String, Path, description = "Id or name")),
    responses(
        (status = 200, description = "The agent", body = Agent, headers(("ETag", description = "Of this definition"))),
        (status = 404, description = "There is no such agent")))]
async fn terminate(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    call.query(&[])?;
    let engine = call.engine(&shared)?;
    let reason = Some("a person ended it".to_owned());
    Ok(show(engine.people()?.set_agent_state(call.path("id")?, AgentState::Terminated, reason).await?)?)
}

/// What an agent used of models, a row for each day, server and model
#[utoipa::path(get, path = "/api/chainbot/agents/{id}/usage", tag = "agents",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("days" = Option<u32>, Query, description = "So many, today included; 30 unless said")),
    responses(
        (status = 200, description = "The newest first, 200 at most", body = AgentUsage),
        (status = 404, description = "There is no such agent")))]
async fn usage(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["days"])?;
    let days: u32 = query.parsed("days", "a number of days, 1 to 3660")?.unwrap_or(30);
    let rows = call.engine(&shared)?.people()?.usage(Some(call.path("id")?), days.clamp(1, 3660)).await?;
    Ok(Json(AgentUsage { days: rows.into_iter().map(Usage::from).collect() }).into_response())
}

async fn start(shared: &Shared, call: &mut Call) -> Result<crate::runtime::StartedRun> {
    let idempotency_key = call.idempotency_key()?;
    let mut fields = call.fields(&["task", "context", "output_schema", "budget", "thread"]).await?;
    let mut body = serde_json::Map::new();
    for name in ["task", "context", "output_schema", "budget", "thread"] {
        body.extend(fields.given(name).map(|value| (name.to_owned(), value)));
    }
    let input = TaskInput::read(&Value::Object(body)).map_err(|why| {
        Error::new(&code::TASK, format!("the task does not read: {why}"))
            .help("send {\"task\": \"what is to be done\"}")
    })?;
    if input.task.is_null() || input.task.as_str().is_some_and(|text| text.trim().is_empty()) {
        return Err(
            Error::new(&code::TASK, "`task` is empty").help("send {\"task\": \"what is to be done\"}")
        );
    }
    let agent = call.path("id")?.to_owned();
    call.engine(shared)?.people()?.start_task(NewTask { agent, input, idempotency_key }).await
}

/// The run, as soon as it is over or waits for somebody, or after so many seconds.
pub async fn finished(engine: Asked, budget: Duration, run: RunView, seconds: u64) -> Result<RunView> {
    if seconds == 0 {
        return Ok(run);
    }
    let people = engine.people()?;
    let within = Duration::from_secs(seconds).min(budget.saturating_sub(Duration::from_millis(500)));
    match tokio::time::timeout(within, people.settled(run.id)).await {
        Ok(settled) => settled,
        Err(_) => people.run(run.id).await,
    }
}

/// The definition in the body.
async fn definition(call: &mut Call) -> Result<Value> {
    let source = call.definition().await?;
    let tree = crate::validate::document(&source).map_err(|problems| {
        Error::new(&code::INVALID, "the definition does not parse").diagnostics_of(problems)
    })?;
    Ok(tree.to_json())
}

fn one_tag(tags: Option<Tags>) -> Result<Option<String>> {
    match tags {
        Some(Tags::These(tags)) => match <[String; 1]>::try_from(tags) {
            Ok([tag]) => Ok(Some(tag)),
            Err(_) => Err(Error::new(&general::MALFORMED, "If-Match takes one tag here")),
        },
        _ => Ok(None),
    }
}

/// An agent with its tag.
pub fn show(view: AgentView) -> Result<Response> {
    let tag = HeaderValue::try_from(format!("\"{}\"", view.hash))
        .map_err(|e| Error::new(&general::INTERNAL, "the hash is no header").because(e))?;
    Ok(([(header::ETAG, tag)], Json(Agent::from(view))).into_response())
}
