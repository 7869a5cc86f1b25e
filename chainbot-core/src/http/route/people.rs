//! What people do with runs: hold one, let it go on, answer what it asks, take it up again, fork it, forget it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::workflows::REPLAYED;
use crate::auth::Via;
use crate::error::code::{general, run as run_code};
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::problem::Answer;
use crate::http::request::Call;
use crate::http::view::{Question, Run};
use crate::id::InboxId;
use crate::limits::{ANSWERED_BY_BYTES_MAX, REASON_BYTES_MAX};
use crate::runtime::{NewAnswer, NewFork};

/// Longest word that an answer's `action` or a fork's `from` may be; names are shorter.
const WORD_BYTES_MAX: usize = 64;

/// Why a run is held.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the fields are read one by one")]
struct Pause {
    /// For people; at most 1,024 bytes.
    reason: Option<String>,
}

/// A person's answer.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the fields are read one by one")]
struct NewAnswerBody {
    /// One of the question's `choices`.
    #[schema(example = "approve")]
    action: String,
    /// What goes with it: a remark; for `done` the output of the step; for `fail` the reason as text.
    #[schema(value_type = Option<Value>)]
    data: Option<Value>,
    /// Who answers; needed when the question has `approvers`. A name, not a proof.
    by: Option<String>,
}

/// From where a run is forked, and with what.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the fields are read one by one")]
struct Fork {
    /// The step that runs again, and all that follows it.
    from: String,
    /// Loop indexes of the step; its first iteration unless given.
    path: Option<Vec<u32>>,
    /// Instead of the run's inputs.
    #[schema(value_type = Option<Object>)]
    inputs: Option<Value>,
    /// Variables that are set before the step begins.
    #[schema(value_type = Option<Object>)]
    variables: Option<Value>,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(question))
        .routes(routes!(answer))
        .routes(routes!(retry))
        .routes(routes!(fork))
        .routes(routes!(delete))
}

/// Holds a run: what is under way ends, nothing new begins
#[utoipa::path(post, path = "/api/chainbot/runs/{id}/pause", tag = "runs",
    params(("id" = String, Path, description = "The run")),
    request_body(content = Pause, example = json!({ "reason": "maintenance" })),
    responses(
        (status = 200, description = "The run as it stands; `paused` once nothing is under way", body = Run),
        (status = 404, description = "There is no such run"),
        (status = 409, description = "The run is over, or about to end")))]
async fn pause(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let reason = call.fields(&["reason"]).await?.text("reason", REASON_BYTES_MAX)?;
    let reason = reason.unwrap_or_else(|| "asked over the API".to_owned());
    let view = call.engine(&shared)?.people()?.pause(call.run_id()?, &reason).await?;
    Ok(Json(Run::from(view)).into_response())
}

/// Lets a paused run go on
#[utoipa::path(post, path = "/api/chainbot/runs/{id}/resume", tag = "runs",
    params(("id" = String, Path, description = "The run")),
    responses(
        (status = 200, description = "The run as it stands", body = Run),
        (status = 404, description = "There is no such run"),
        (status = 409, description = "The run is over")))]
async fn resume(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let view = call.engine(&shared)?.people()?.resume(call.run_id()?).await?;
    Ok(Json(Run::from(view)).into_response())
}

/// A question, answered or not
#[utoipa::path(get, path = "/api/chainbot/inbox/{id}", tag = "inbox",
    params(("id" = String, Path, description = "The question")),
    responses(
        (status = 200, description = "The question", body = Question),
        (status = 404, description = "There is no such question")))]
async fn question(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let question = call.engine(&shared)?.people()?.question(question_id(&call)?).await?;
    Ok(Json(Question::from(question)).into_response())
}

/// Answers a question; the same answer may come twice
#[utoipa::path(post, path = "/api/chainbot/inbox/{id}/answer", tag = "inbox",
    params(("id" = String, Path, description = "The question")),
    request_body(content = NewAnswerBody, example = json!({ "action": "approve" })),
    responses(
        (status = 200, description = "Taken, and durable", body = Question),
        (status = 404, description = "There is no such question, or it is no longer asked"),
        (status = 409, description = "It was answered otherwise"),
        (status = 422, description = "The question does not take this answer")))]
async fn answer(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let mut fields = call.fields(&["action", "data", "by"]).await?;
    let action = fields.text("action", WORD_BYTES_MAX)?.ok_or_else(|| {
        Error::new(&run_code::ANSWER, "`action` is missing").help("give one of the question's `choices`")
    })?;
    let (data, by) = (fields.any("data"), fields.text("by", ANSWERED_BY_BYTES_MAX)?);
    let by = match call.who()? {
        // The operator speaks for people who have no account.
        who if who.via == Via::Local => by,
        who if by.as_ref().is_none_or(|by| *by == who.name) => Some(who.name.clone()),
        who => {
            return Err(Error::new(
                &general::FIELD,
                format!("`by` must be `{}`: nobody answers for another", who.name),
            )
            .help("leave it out")
            .into());
        }
    };
    let answered =
        call.engine(&shared)?.people()?.answer(question_id(&call)?, NewAnswer { action, data, by }).await?;
    Ok(Json(Question::from(answered)).into_response())
}

/// Takes a failed run up again from what failed, with new keys
#[utoipa::path(post, path = "/api/chainbot/runs/{id}/retry", tag = "runs",
    params(("id" = String, Path, description = "The run")),
    responses(
        (status = 200, description = "The run as it stands", body = Run),
        (status = 404, description = "There is no such run"),
        (status = 409, description = "The run has not failed")))]
async fn retry(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let view = call.engine(&shared)?.people()?.retry(call.run_id()?).await?;
    Ok(Json(Run::from(view)).into_response())
}

/// Makes a new run with the history of this one before a step
#[utoipa::path(post, path = "/api/chainbot/runs/{id}/fork", tag = "runs",
    params(
        ("id" = String, Path, description = "The run whose history is taken"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat of this request harmless")),
    request_body(content = Fork, example = json!({ "from": "fetch", "inputs": { "who": "Tom" } })),
    responses(
        (status = 201, description = "Made", body = Run, headers(("Location", description = "The run"))),
        (status = 404, description = "There is no such run"),
        (status = 422, description = "The run cannot be forked there, or the inputs do not fit")))]
async fn fork(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let idempotency_key = call.idempotency_key()?;
    let mut fields = call.fields(&["from", "path", "inputs", "variables"]).await?;
    let refuse = |message: &str, help: &str| Error::new(&run_code::FORK, message).help(help);
    let from = fields
        .text("from", WORD_BYTES_MAX)?
        .ok_or_else(|| refuse("`from` is missing", "name the step that runs again"))?;
    let path = match fields.any("path") {
        Value::Null => Vec::new(),
        value => serde_json::from_value(value)
            .map_err(|_| refuse("`path` must be a list of loop indexes", "take it from the run's steps"))?,
    };
    let inputs = fields.object("inputs")?.unwrap_or_default();
    let variables = fields.object("variables")?.unwrap_or_default();
    let new = NewFork { from, path, inputs, variables, idempotency_key };
    let started = call.engine(&shared)?.people()?.fork(call.run_id()?, new).await?;
    let location = call.location(&format!("/api/chainbot/runs/{}", started.run.id));
    let mut response =
        (StatusCode::CREATED, [(header::LOCATION, location)], Json(Run::from(started.run))).into_response();
    if started.replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Forgets a run that is over, with its history
#[utoipa::path(delete, path = "/api/chainbot/runs/{id}", tag = "runs",
    params(("id" = String, Path, description = "The run")),
    responses(
        (status = 204, description = "Forgotten"),
        (status = 404, description = "There is no such run"),
        (status = 409, description = "The run is not over")))]
async fn delete(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    call.engine(&shared)?.people()?.delete_run(call.run_id()?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn question_id(call: &Call) -> Result<InboxId> {
    let text = call.path("id")?;
    text.parse().map_err(|_| {
        Error::new(&run_code::QUESTION, "that is no question's id")
            .help("GET /api/chainbot/inbox lists those that are open")
    })
}
