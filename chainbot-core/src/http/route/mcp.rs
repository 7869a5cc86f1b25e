//! Published workflows and agents as tools of the Model Context Protocol: a message a request, no sessions. The answer is JSON, and events
//! where a client wants to know how far a call is.
//!
//! Invariants: a tool is what says `publish: { mcp: true }` and what the caller may start by its own route: the same permission, the same
//! owner. What is not both is not there. A call with a key is the same run as the first with that key. The text of a task comes from a
//! model that nobody here knows, so the task is tainted. Nothing here answers questions to people.

mod progress;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::code::{general, mcp as code};
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::engine::Asked as AskedEngine;
use crate::http::problem::{self, Answer};
use crate::http::request::{Call, idempotency_key, printable};
use crate::id::RunId;
use crate::limits::{MCP_LISTED_MAX, MCP_SERVED_BYTES_MAX, MCP_WAIT_S_MAX};
use crate::mcp::alone::{self, Headers, Manner};
use crate::mcp::blocks::blocks;
use crate::mcp::serve::{self, Asked, Tool, ToolCall, Turn};
use crate::mcp::wire::{VERSIONS, WRONG_PARAMS, refusal, reply};
use crate::model::{AGENT_TOOL, RunStatus, RunView, STATUS_TOOL, WORKFLOW_TOOL};
use crate::runtime::{Handle, NewRun, NewTask, Published, PublishedKind, PublishedRun, StartedRun};
use crate::task::{AgentKind, TaskInput};

const ABOUT: &str = "Workflows and agents that somebody published. A tool that takes longer gives a run_id: ask run_status for its result. \
    Where a run waits for a person, that person answers in ChainBot.";
const ABOUT_STATUS: &str = "How a run stands that another tool of this server began, and its result. `wait`: seconds to wait for its end.";

/// A message of a client.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the fields are read one by one")]
struct McpMessage {
    /// `2.0`
    jsonrpc: String,
    /// Text or a number; absent where no answer is wanted.
    id: Option<Value>,
    /// `initialize`, `ping`, `tools/list` or `tools/call`.
    method: String,
    /// Of the method.
    #[schema(value_type = Option<Object>)]
    params: Option<Value>,
}

/// The answer to a message.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; answers are made as JSON")]
struct McpAnswer {
    /// `2.0`
    jsonrpc: String,
    /// Of the message.
    id: Value,
    /// What it gave.
    #[schema(value_type = Option<Object>)]
    result: Option<Value>,
    /// Why it gave nothing.
    #[schema(value_type = Option<Object>)]
    error: Option<Value>,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(take))
}

/// Published workflows and agents as tools of the Model Context Protocol
///
/// The transport is streamable HTTP without sessions: an answer is JSON, or events where a call has a `progressToken` and the client accepts them. Tools are `workflow_NAME`, `agent_NAME`, those with names of their own, and `run_status`, of what the caller may start.
#[utoipa::path(post, path = "/mcp", tag = "mcp",
    params(
        ("MCP-Protocol-Version" = Option<String>, Header, description = "As it was agreed on, or that of `_meta`"),
        ("Mcp-Method" = Option<String>, Header, description = "Of 2026-07-28: the method of the body"),
        ("Mcp-Name" = Option<String>, Header, description = "Of 2026-07-28: the tool's name"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat of a call harmless; `_meta` may have it as `chainbot/idempotency-key`")),
    request_body(content = McpMessage, example = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} })),
    responses(
        (status = 200, content((McpAnswer = "application/json"), (String = "text/event-stream")), description = "The answer; with a \
            `progressToken` and `Accept: text/event-stream` notices of progress before it, as events"),
        (status = 202, description = "Taken; there is nothing to answer"),
        (status = 400, description = "A request of 2026-07-28 whose `_meta` or headers are not as they must be; or the version is not spoken"),
        (status = 404, description = "A request of 2026-07-28 has a method that is not known")))]
async fn take(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let header_key = call.idempotency_key()?;
    let asked = read(&mut call).await?;
    let headers = Headers {
        version: call.header("mcp-protocol-version")?,
        method: call.header("mcp-method")?,
        name: call.header("mcp-name")?,
    };
    let manner = match alone::manner(&asked, headers) {
        Ok(Manner::Greeted) => check_version(&call).map(|()| Manner::Greeted)?,
        Ok(manner) => manner,
        Err(refused) => return Ok((StatusCode::BAD_REQUEST, Json(refused)).into_response()),
    };
    let id = asked.id.clone();
    let answer = match manner.turn(&asked, ABOUT) {
        Turn::Taken => return Ok(StatusCode::ACCEPTED.into_response()),
        Turn::Say(answer) => answer,
        Turn::List(after) => list(&Door::of(&shared, &call)?, &id, after).await?,
        Turn::Call(mut tool) => {
            let key = tool.key.take().map(|key| idempotency_key(key.as_bytes())).transpose()?;
            tool.key = match (key, header_key) {
                (Some(one), Some(other)) if one != other => {
                    return Err(Error::new(
                        &general::MALFORMED,
                        "the header Idempotency-Key and `_meta` differ",
                    )
                    .help("give the key at one place")
                    .into());
                }
                (one, other) => one.or(other),
            };
            let door = Door { manner, ..Door::of(&shared, &call)? };
            // Over the host's door a request has one reply; and where there are as many streams as may be, the reply alone is given.
            let wants = tool.progress.take().filter(|_| call.via_host().is_none());
            let place = match wants {
                Some(token) if call.wants_events()? => {
                    shared.streams.clone().try_acquire_owned().ok().map(|place| (token, place))
                }
                _ => None,
            };
            match use_tool(&door, &id, tool, place).await? {
                Used::Done(answer) => answer,
                Used::Watched(watch) => return Ok(watch.into_response()),
            }
        }
    };
    let (status, answer) = manner.given(answer);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    Ok((status, Json(answer)).into_response())
}

fn check_version(call: &Call) -> Result<()> {
    match call.header("mcp-protocol-version")? {
        Some(version) if !VERSIONS.contains(&version) => {
            let message = format!("the protocol's version `{}` is not spoken here", printable(version));
            Err(Error::new(&code::VERSION, message)
                .help(format!("speak one of {}", alone::versions().join(", "))))
        }
        _ => Ok(()),
    }
}

async fn read(call: &mut Call) -> Result<Asked> {
    let mut fields = call.fields(&["jsonrpc", "id", "method", "params"]).await?;
    let wrong = |what: &str| {
        Error::new(&general::FIELD, format!("the body is no message: {what}"))
            .help("send a JSON-RPC 2.0 request or notification, one at a time")
    };
    let (version, id, method) = (fields.any("jsonrpc"), fields.any("id"), fields.any("method"));
    if version != "2.0" {
        return Err(wrong("`jsonrpc` must be \"2.0\""));
    }
    if !(id.is_null() || id.is_string() || id.is_i64() || id.is_u64()) {
        return Err(wrong("`id` must be text or a whole number"));
    }
    let Value::String(method) = method else { return Err(wrong("`method` must be text")) };
    let params = match fields.object("params")? {
        Some(Value::Object(params)) => params,
        _ => Map::new(),
    };
    Ok(Asked { id, method, params })
}

/// The runtime for whoever calls, and what that one may.
struct Door {
    engine: AskedEngine,
    starts: bool,
    gives_tasks: bool,
    patience: Duration,
    /// How the message is spoken.
    manner: Manner,
}

impl Door {
    fn of(shared: &Shared, call: &Call) -> Result<Self> {
        let (who, access) = (call.who()?, shared.accounts.access());
        let may = |permission| who.may(access, permission, None).is_ok();
        let left = call.budget().saturating_sub(Duration::from_millis(500));
        Ok(Self {
            engine: call.engine(shared)?,
            starts: may("chainbot:workflow:execute"),
            gives_tasks: may("chainbot:agent:execute"),
            patience: Duration::from_secs(MCP_WAIT_S_MAX).min(left),
            manner: Manner::Greeted,
        })
    }

    fn people(&self) -> Result<&Handle> {
        self.engine.people()
    }
}

/// A page: agents, then `run_status`, then workflows, each by the names of definitions. The cursor is the usual name of the last one.
async fn list(door: &Door, id: &Value, after: Option<String>) -> Result<Value> {
    let people = door.people()?;
    let (mut tools, mut more, mut last) = (Vec::new(), false, None);
    let name_after =
        |prefix: &str| after.as_deref().and_then(|name| name.strip_prefix(prefix)).map(str::to_owned);
    let (agent, workflow) = (name_after(AGENT_TOOL), name_after(WORKFLOW_TOOL));
    let is_past_status = workflow.is_some() || after.as_deref() == Some(STATUS_TOOL);
    if after.is_some() && agent.is_none() && !is_past_status {
        return Ok(refusal(id, WRONG_PARAMS, "`cursor` is none of this server"));
    }
    if door.gives_tasks && !is_past_status {
        let (agents, rest) = people.published_agents(agent, MCP_LISTED_MAX).await?;
        last = agents.last().map(Published::usual_name);
        tools.extend(agents.into_iter().map(tool));
        more = rest;
    }
    if !more && !is_past_status && (door.gives_tasks || door.starts) {
        last = Some(STATUS_TOOL.to_owned());
        tools.push(status_tool());
    }
    if !more && door.starts {
        let room = MCP_LISTED_MAX.saturating_sub(tools.len());
        let (workflows, rest) = people.published_workflows(workflow, room).await?;
        last = workflows.last().map(Published::usual_name).or(last);
        tools.extend(workflows.into_iter().map(tool));
        more = rest;
    }
    Ok(reply(id, serve::listed(tools, last.filter(|_| more))))
}

fn tool(published: Published) -> Tool {
    let tool = published.tool_name();
    let Published { name, description, kind, .. } = published;
    let (schema, otherwise) = match kind {
        PublishedKind::Workflow { schema, .. } => {
            (inputs(schema), format!("Runs the workflow `{name}` and gives its output."))
        }
        PublishedKind::Agent(kind) => (task_schema(kind), format!("Gives the agent `{name}` a task.")),
    };
    Tool { name: tool, description: description.unwrap_or(otherwise), schema, is_read_only: false }
}

/// The protocol wants an object's schema to say that it is one.
fn inputs(schema: Option<Value>) -> Value {
    let mut schema = schema.unwrap_or_else(|| json!({ "properties": {}, "additionalProperties": false }));
    if let Value::Object(fields) = &mut schema {
        fields.entry("type").or_insert_with(|| json!("object"));
    }
    schema
}

fn task_schema(kind: AgentKind) -> Value {
    let about = "What is to be done";
    let task = match kind {
        AgentKind::Assistant => json!({ "type": "string", "description": about }),
        _ => json!({ "type": ["string", "object"], "description": about }),
    };
    json!({
        "type": "object",
        "properties": { "task": task, "context": { "type": "string", "description": "What belongs to it" } },
        "required": ["task"],
        "additionalProperties": false,
    })
}

fn status_tool() -> Tool {
    Tool {
        name: STATUS_TOOL.to_owned(),
        description: ABOUT_STATUS.to_owned(),
        schema: json!({
            "type": "object",
            "properties": {
                "run_id": { "type": "string" },
                "wait": { "type": "integer", "minimum": 0, "maximum": MCP_WAIT_S_MAX },
            },
            "required": ["run_id"],
            "additionalProperties": false,
        }),
        is_read_only: true,
    }
}

/// A call as its client sees it.
enum Used {
    /// This is the answer.
    Done(Value),
    /// It comes, with notices before it.
    Watched(Box<progress::Watch>),
}

/// `place`: where notices of progress are wanted, what they are to name, and the place of their stream.
async fn use_tool(
    door: &Door,
    id: &Value,
    call: ToolCall,
    place: Option<(Value, OwnedSemaphorePermit)>,
) -> Result<Used> {
    let ToolCall { name, arguments, key, .. } = call;
    let done = if name == STATUS_TOOL && (door.starts || door.gives_tasks) {
        status(door, arguments).await.map(|run| Used::Done(reply(id, shown(&run.view, run.gives_content))))
    } else {
        let found = door.people()?.published_tool(&name).await?.filter(|found| match found.kind {
            PublishedKind::Workflow { .. } => door.starts,
            PublishedKind::Agent(_) => door.gives_tasks,
        });
        let Some(found) = found else {
            let message = format!("there is no tool `{}`; tools/list has them", printable(&name));
            return Ok(Used::Done(refusal(id, WRONG_PARAMS, &message)));
        };
        begin(door, id, found, arguments, key, place).await
    };
    match done {
        // Ours, not the caller's: what is inside stays inside.
        Err(error) if problem::status(error.kind()).is_server_error() => Err(error),
        Err(error) => Ok(Used::Done(reply(id, serve::failed(&told(&error))))),
        used => used,
    }
}

async fn begin(
    door: &Door,
    id: &Value,
    found: Published,
    arguments: Map<String, Value>,
    key: Option<String>,
    place: Option<(Value, OwnedSemaphorePermit)>,
) -> Result<Used> {
    let people = door.people()?;
    // Before the run begins, so that nothing of it is missed.
    let watched = match place {
        Some((token, place)) => Some((token, place, people.subscribe(None).await?)),
        None => None,
    };
    let (started, steps) = match found.kind {
        PublishedKind::Workflow { steps, .. } => {
            let inputs = Value::Object(arguments);
            let new = NewRun { workflow: found.name, inputs, idempotency_key: key };
            (people.start_run(new).await?, steps)
        }
        PublishedKind::Agent(_) => (work(people, found.name, arguments, key).await?, None),
    };
    let gives_content = found.face.gives_content;
    // Of a repeat nothing more comes than its end.
    let Some((token, place, events)) = watched.filter(|_| !started.replayed) else {
        let view = waited(door, started.run, door.patience).await?;
        return Ok(Used::Done(reply(id, shown(&view, gives_content))));
    };
    Ok(Used::Watched(Box::new(progress::Watch::new(progress::Watched {
        people: people.clone(),
        events,
        run: started.run.id,
        id: id.clone(),
        token,
        steps,
        gives_content,
        patience: door.patience,
        manner: door.manner,
        _place: place,
    }))))
}

async fn work(
    people: &Handle,
    agent: String,
    mut arguments: Map<String, Value>,
    key: Option<String>,
) -> Result<StartedRun> {
    let task = arguments.remove("task").unwrap_or_default();
    let context = arguments.remove("context").unwrap_or_default();
    if task.is_null() || task.as_str().is_some_and(|text| text.trim().is_empty()) {
        return Err(
            Error::new(&crate::error::code::agent::TASK, "`task` is empty").help("say what is to be done")
        );
    }
    if let Some(other) = arguments.keys().next() {
        let message = format!("unknown argument `{}`", printable(other));
        return Err(Error::new(&general::FIELD, message).help("give `task`, and `context` if there is some"));
    }
    // Some model wrote the task, so nothing of it counts as the owner's word: what has a context is tainted.
    let context = json!({ "asked_by": "a client of the Model Context Protocol", "context": context });
    let input = TaskInput { task, context, ..TaskInput::default() };
    people.start_task(NewTask { agent, input, idempotency_key: key }).await
}

async fn status(door: &Door, mut arguments: Map<String, Value>) -> Result<PublishedRun> {
    let field = |what: &str| {
        Error::new(&general::FIELD, what)
            .help("give `run_id` as a tool gave it, and `wait` in seconds, 30 at most")
    };
    let (id, wait) = (arguments.remove("run_id").unwrap_or_default(), arguments.remove("wait"));
    if let Some(other) = arguments.keys().next() {
        return Err(field(&format!("unknown argument `{}`", printable(other))));
    }
    let seconds = match wait {
        None => 0,
        Some(wait) => wait
            .as_u64()
            .filter(|s| *s <= MCP_WAIT_S_MAX)
            .ok_or_else(|| field("`wait` is no number of seconds"))?,
    };
    let text = id.as_str().ok_or_else(|| field("`run_id` must be text"))?;
    let missing = || {
        Error::new(&crate::error::code::run::NOT_FOUND, format!("there is no run `{}`", printable(text)))
            .help("give the run_id of an earlier call")
    };
    let id: RunId = text.parse().map_err(|_| missing())?;
    let run = door.people()?.published_run(id).await?.ok_or_else(missing)?;
    let is_allowed = if run.is_task { door.gives_tasks } else { door.starts };
    if !is_allowed {
        return Err(missing());
    }
    let view = waited(door, run.view, door.patience.min(Duration::from_secs(seconds))).await?;
    Ok(PublishedRun { view, ..run })
}

/// The run as it stands when it is over, a person is asked, or the time is.
async fn waited(door: &Door, run: RunView, within: Duration) -> Result<RunView> {
    let people = door.people()?;
    match tokio::time::timeout(within, people.settled(run.id)).await {
        Ok(view) => view,
        Err(_) => people.run(run.id).await,
    }
}

fn told(error: &Error) -> String {
    let help = error.remedy().map(|help| format!("; {help}")).unwrap_or_default();
    format!("{}: {}{help}", error.code().id, error.message())
}

/// The result of a call. `gives_content`: its output is a list of content blocks.
fn shown(view: &RunView, gives_content: bool) -> Value {
    let mut value = json!({ "run_id": view.id, "status": view.status.as_str() });
    let is_error = matches!(view.status, RunStatus::Failed | RunStatus::Cancelled);
    match (view.status, &view.output, &view.error) {
        (RunStatus::Completed, Some(output), _) => {
            let bytes = output.to_string().len();
            if bytes > MCP_SERVED_BYTES_MAX {
                value["next"] = json!(format!(
                    "the output has {bytes} bytes, over the {MCP_SERVED_BYTES_MAX} that are given here; \
                     GET /api/chainbot/runs/{} has it",
                    view.id
                ));
                return serve::called(value, is_error);
            }
            match gives_content.then(|| blocks(output)) {
                Some(Ok(blocks)) => return serve::given(blocks, value),
                Some(Err(why)) => {
                    value["next"] = json!(format!("the output is to be a list of content blocks: {why}"));
                }
                None => {}
            }
            value["output"] = output.clone();
        }
        (_, _, Some(error)) => value["error"] = json!({ "code": error.code, "message": error.message }),
        (status, _, _) if !status.is_terminal() => {
            if let Some(waiting) = &view.waiting_for {
                value["waiting_for"] = json!(waiting);
            }
            value["next"] = json!("it goes on; ask run_status with this run_id");
        }
        _ => {}
    }
    serve::called(value, is_error)
}
