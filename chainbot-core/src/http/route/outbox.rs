//! Messages that leave after their steps: looked at, sent again, forgotten.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::code::outbox as code;
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::page::{self, Pager};
use crate::http::problem::Answer;
use crate::http::request::{Call, wrong};
use crate::model::EffectKey;
use crate::port::{MessageFilter, MessageState, StoredMessage, Way};

const PATH: &str = "/api/chainbot/outbox";

/// A message.
#[derive(Serialize, ToSchema)]
struct Message {
    /// Its id; receivers see it as `webhook-id`.
    id: String,
    /// `webhook`, or `channel` for a notification.
    kind: &'static str,
    /// `pending`, `delivered` or `dead`.
    status: &'static str,
    /// The run whose step made it.
    #[schema(format = "uuid")]
    run: String,
    /// That step.
    step: String,
    /// The URL without its query, or the channel.
    target: String,
    /// What is sent; secrets are `***`.
    content: Value,
    /// Tries so far.
    attempts: u32,
    /// When it was made.
    #[schema(format = "date-time")]
    created_at: String,
    /// Of one that is pending: the next try.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    next_at: Option<String>,
    /// Of one that is not: since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    finished_at: Option<String>,
    /// Why the last try failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<StoredMessage> for Message {
    fn from(stored: StoredMessage) -> Self {
        let StoredMessage { message, state, attempts, due, finished_at, error, .. } = stored;
        let mut content = (*message.input).clone();
        if let Value::Object(entries) = &mut content {
            // Places and names, for the executor.
            entries.remove(crate::engine::program::SECRETS_KEY);
        }
        Self {
            id: message.id.to_string(),
            kind: message.kind.as_str(),
            status: state.as_str(),
            run: message.run.to_string(),
            step: message.step,
            target: message.target,
            content,
            attempts,
            created_at: message.at.to_string(),
            next_at: (state == MessageState::Pending).then(|| due.to_string()),
            finished_at: finished_at.map(|at| at.to_string()),
            error,
        }
    }
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(resend)).routes(routes!(remove))
}

/// Messages of the outbox, newest first unless said
#[utoipa::path(get, path = "/api/chainbot/outbox", tag = "outbox",
    params(
        ("status" = Option<String>, Query, description = "Only `pending`, `delivered` or `dead` ones"),
        ("sort" = Option<String>, Query, description = "`-made_at`, which is how they come without it, or `made_at`"),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 unless said"),
        ("cursor" = Option<String>, Query, description = "From the Link header of an earlier page")),
    responses((status = 200, description = "A page",
        body = Vec<Message>)))]
async fn list(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["status", "sort", "limit", "cursor"])?;
    let limit = page::limit(&query)?;
    let state = query.text("status").map(|word| {
        MessageState::parse(word)
            .ok_or_else(|| wrong("status", "is no state of a message", "give pending, delivered or dead"))
    });
    let state = state.transpose()?;
    let ((), way) = page::sort(&query, &[("made_at", ())], ((), Way::Down))?;
    let past = page::number_cursor(&query)?.map(i64::from);
    let page = call.engine(&shared)?.people()?.outbox(MessageFilter { state, way, past, limit }).await?;
    let pager = Pager::of(page.items, |stored| (stored.seq.to_string(), Message::from(stored)))?;
    pager.reply(
        &call,
        PATH,
        page.total,
        page.more,
        limit,
        &["status", "sort"].map(|name| (name, query.text(name))),
    )
}

/// Sends a message at once, with its whole schedule before it again and the same id
#[utoipa::path(post, path = "/api/chainbot/outbox/{id}/resend", tag = "outbox",
    params(("id" = String, Path, description = "The message")),
    responses(
        (status = 200, description = "It is pending and due", body = Message),
        (status = 404, description = "There is no such message"),
        (status = 409, description = "It is being sent at this moment")))]
async fn resend(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let stored = call.engine(&shared)?.people()?.resend_message(message_id(&call)?).await?;
    Ok(Json(Message::from(stored)).into_response())
}

/// Forgets a message; one that is pending is not sent any more
#[utoipa::path(delete, path = "/api/chainbot/outbox/{id}", tag = "outbox",
    params(("id" = String, Path, description = "The message")),
    responses(
        (status = 204, description = "Forgotten"),
        (status = 404, description = "There is no such message"),
        (status = 409, description = "It is being sent at this moment")))]
async fn remove(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    call.engine(&shared)?.people()?.remove_message(message_id(&call)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn message_id(call: &Call) -> Result<EffectKey> {
    call.path("id")?.parse().map_err(|()| {
        Error::new(&code::NOT_FOUND, "that is no message's id").help("GET /api/chainbot/outbox lists them")
    })
}
