//! Conversations with agents. A message is a task of the agent that goes on with the thread; `/runs/{id}` of the task shows each call.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::agents::{begun, finished, wait_of};
use super::events::{place, poll, stream, topics_of};
use crate::error::code::memory as code;
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::page::{self, Pager};
use crate::http::problem::Answer;
use crate::http::request::Call;
use crate::http::sse::{Listener, Place, Wanted};
use crate::http::view::Run;
use crate::id::ThreadId;
use crate::limits::TASK_TEXT_BYTES_MAX;
use crate::port::{StoredThread, StoredThreadMessage};
use crate::runtime::{Handle, NewTask};
use crate::task::TaskInput;

const PATH: &str = "/api/chainbot/chat/threads";

/// A conversation with an agent.
#[derive(Serialize, ToSchema)]
struct Thread {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// With which agent.
    #[schema(format = "uuid")]
    agent_id: String,
    /// For people.
    title: String,
    /// Messages in it.
    messages: u32,
    /// When it was made.
    #[schema(format = "date-time")]
    created_at: String,
    /// When something was last said.
    #[schema(format = "date-time")]
    updated_at: String,
}

impl From<StoredThread> for Thread {
    fn from(stored: StoredThread) -> Self {
        Self {
            id: stored.thread.id.to_string(),
            agent_id: stored.thread.agent.to_string(),
            title: stored.thread.title,
            messages: stored.messages,
            created_at: stored.thread.at.to_string(),
            updated_at: stored.updated_at.to_string(),
        }
    }
}

/// Something that was said.
#[derive(Serialize, ToSchema)]
struct ThreadSaid {
    /// From 1 within the conversation.
    seq: u32,
    /// `user` or `assistant`.
    role: &'static str,
    /// What.
    text: String,
    /// The task, which is a run.
    #[schema(format = "uuid")]
    task: String,
    /// When.
    #[schema(format = "date-time")]
    at: String,
}

impl From<StoredThreadMessage> for ThreadSaid {
    fn from(stored: StoredThreadMessage) -> Self {
        Self {
            seq: stored.seq,
            role: stored.message.speaker.as_str(),
            text: stored.message.text,
            task: stored.run.to_string(),
            at: stored.message.at.to_string(),
        }
    }
}

/// With whom.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the fields are read one by one")]
struct NewThread {
    /// The agent: name or id.
    agent: String,
    /// For people.
    title: Option<String>,
}

/// What is said.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the fields are read one by one")]
struct NewMessage {
    /// The message.
    text: String,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, delete))
        .routes(routes!(messages, say))
}

/// Conversations with an agent, the newest first
#[utoipa::path(get, path = "/api/chainbot/chat/threads", tag = "agents",
    params(
        ("agent" = String, Query, description = "Name or id"),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 unless said"),
        ("cursor" = Option<String>, Query, description = "From the Link header of an earlier page")),
    responses(
        (status = 200, description = "A page", body = Vec<Thread>),
        (status = 404, description = "There is no such agent")))]
async fn list(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["agent", "limit", "cursor"])?;
    let limit = page::limit(&query)?;
    let agent = query.text("agent").ok_or_else(|| {
        Error::new(&crate::error::code::general::FIELD, "`agent` is missing").help("write ?agent=NAME")
    })?;
    let before =
        query.text("cursor").map(|text| text.parse().map_err(|_| page::bad_cursor(text))).transpose()?;
    let page = call.engine(&shared)?.people()?.threads(agent, before, limit).await?;
    let pager = Pager::of(page.items, |row| (row.thread.id.to_string(), Thread::from(row)))?;
    pager.reply(&call, PATH, page.total, page.more, limit, &[("agent", Some(agent))])
}

/// Begins a conversation with an agent
#[utoipa::path(post, path = "/api/chainbot/chat/threads", tag = "agents",
    request_body(content = NewThread, example = json!({ "agent": "butler", "title": "The garden" })),
    responses(
        (status = 201, description = "Made", body = Thread, headers(("Location", description = "The conversation"))),
        (status = 404, description = "There is no such agent")))]
async fn create(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let mut fields = call.fields(&["agent", "title"]).await?;
    let (agent, title) = (fields.needed("agent", 64)?, fields.text("title", 800)?);
    let stored = call.engine(&shared)?.people()?.create_thread(&agent, title.as_deref()).await?;
    let location = call.location(&format!("{PATH}/{}", stored.thread.id));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(Thread::from(stored))).into_response())
}

/// A conversation
#[utoipa::path(get, path = "/api/chainbot/chat/threads/{id}", tag = "agents",
    params(("id" = String, Path, description = "The conversation")),
    responses(
        (status = 200, description = "The conversation", body = Thread),
        (status = 404, description = "There is no such conversation")))]
async fn read(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    call.query(&[])?;
    let stored = call.engine(&shared)?.people()?.thread(thread_id(&call)?).await?;
    Ok(Json(Thread::from(stored)).into_response())
}

/// Forgets a conversation; its tasks stay until retention takes them
#[utoipa::path(delete, path = "/api/chainbot/chat/threads/{id}", tag = "agents",
    params(("id" = String, Path, description = "The conversation")),
    responses(
        (status = 204, description = "Forgotten"),
        (status = 404, description = "There is no such conversation")))]
async fn delete(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    call.query(&[])?;
    call.engine(&shared)?.people()?.delete_thread(thread_id(&call)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What was said, in order; the newest page first
#[utoipa::path(get, path = "/api/chainbot/chat/threads/{id}/messages", tag = "agents",
    params(
        ("id" = String, Path, description = "The conversation"),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 unless said"),
        ("cursor" = Option<String>, Query, description = "From the Link header of an earlier page: what was said before")),
    responses(
        (status = 200, description = "A page", body = Vec<ThreadSaid>),
        (status = 404, description = "There is no such conversation")))]
async fn messages(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["limit", "cursor"])?;
    let limit = page::limit(&query)?;
    let before =
        query.text("cursor").map(|text| text.parse().map_err(|_| page::bad_cursor(text))).transpose()?;
    let id = thread_id(&call)?;
    let page = call.engine(&shared)?.people()?.thread_messages(id, before, limit).await?;
    // The cursor is the oldest message of the page: what comes before it is next.
    let oldest = page.items.first().map(|first| first.seq.to_string()).unwrap_or_default();
    let pager = Pager::of(page.items, |row| (oldest.clone(), ThreadSaid::from(row)))?;
    pager.reply(&call, &format!("{PATH}/{id}/messages"), page.total, page.more, limit, &[])
}

/// Says something, as a task of the agent
#[utoipa::path(post, path = "/api/chainbot/chat/threads/{id}/messages", tag = "agents",
    params(
        ("id" = String, Path, description = "The conversation"),
        ("wait" = Option<u32>, Query, description = "Seconds to wait for the answer, 60 at most; 0 unless said"),
        ("Accept" = Option<String>, Header, description = "`text/event-stream` to hear the answer as it comes"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat of this request harmless")),
    request_body(content = NewMessage, example = json!({ "text": "Is it warm enough for tomatoes?" })),
    responses(
        (status = 200, content_type = "text/event-stream", body = String, description = "With `Accept: text/event-stream`: first \
            `task` with the run, then `agent.delta`, `agent.tool`, `agent.usage` and `agent.task` as they happen; ends with the task"),
        (status = 201, description = "The task, done if it was waited for", body = Run, headers(("Location", description = "The task, as a run"))),
        (status = 404, description = "There is no such conversation"),
        (status = 409, description = "The agent takes no task, or the key was used for another request")))]
async fn say(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let wait = wait_of(&call)?;
    let idempotency_key = call.idempotency_key()?;
    let mut fields = call.fields(&["text"]).await?;
    let text = fields.needed("text", TASK_TEXT_BYTES_MAX)?;
    let id = thread_id(&call)?;
    let agent = call.engine(&shared)?.people()?.thread(id).await?.thread.agent.to_string();
    let input = TaskInput { task: Value::String(text), thread: Some(id.to_string()), ..TaskInput::default() };
    let new = NewTask { agent, input, idempotency_key };
    if call.wants_events()? {
        let (people, place, poll) =
            (call.engine(&shared)?.people()?.clone(), place(&shared, &call)?, poll(&call));
        return Ok(as_events(people, place, poll, new).await?);
    }
    let started = call.engine(&shared)?.people()?.start_task(new).await?;
    let run = finished(call.engine(&shared)?, call.budget(), started.run, wait).await?;
    Ok(begun(&call, run, started.replayed))
}

/// The answer as it comes: what the agent does on its topics, until the task is over or asks a person.
async fn as_events(people: Handle, place: Place, poll: Option<Duration>, new: NewTask) -> Result<Response> {
    let topics = Some(topics_of("agent.*.*,inbox.added")?);
    let wanted = Wanted { since: None, run: None, topics, until_over: true };
    // Before the task begins, so that nothing of it is missed.
    let mut listener = Listener::open(place, wanted).await?;
    let started = people.start_task(new).await?;
    let run = started.run;
    listener.of_run(run.id);
    listener.say_first("task", &json!({ "run": run.id, "status": run.status }));
    if run.status.is_terminal() {
        // A repeat of a request whose task is over: nothing more comes.
        listener.end();
    }
    Ok(stream(listener, poll).await)
}

fn thread_id(call: &Call) -> Result<ThreadId> {
    let text = call.path("id")?;
    text.parse().map_err(|_| {
        Error::new(&code::NOT_FOUND, "there is no such conversation")
            .help("GET /api/chainbot/chat/threads?agent=NAME lists them")
    })
}
