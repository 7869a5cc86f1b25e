//! What happens, as it happens: server-sent events.
//!
//! On the port the answer is a stream; over the host's door, where one request has one reply, it is a long poll
//! with the same text. This and the WebSocket are the only differences between the two ways in.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::code::general;
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::live::{Sight, Topics, of_emitted};
use crate::http::problem::Answer;
use crate::http::request::{Call, wrong};
use crate::http::sse::{Listener, Place, Wanted};
use crate::id::Lsn;
use crate::limits::{IDEMPOTENCY_KEY_BYTES_MAX, TOPIC_BYTES_MAX};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(events, emit))
}

/// Events of runs and steps
#[utoipa::path(get, path = "/api/chainbot/events", tag = "events",
    params(
        ("Last-Event-ID" = Option<i64>, Header, description = "Goes on after this event; wins over `since`"),
        ("since" = Option<i64>, Query, description = "Goes on after this event; without it, from now on"),
        ("run" = Option<String>, Query, description = "Only of this run"),
        ("topics" = Option<String>, Query, description = "Patterns of topics with commas between them, as a WebSocket \
            subscribes to; without it every record, and nothing else")),
    responses(
        (status = 200, content_type = "text/event-stream", body = String,
            headers(("X-Accel-Buffering", description = "Always `no`")),
            description = "`id` is the `lsn`, `event` the `type`, `data` a record as in a run's journal, without \
                values over 16 KiB (they are named in `omitted`). An event `gap` says that records were missed. \
                Over a host that forwards requests this is a long poll"),
        (status = 422, description = "A topic is no pattern"),
        (status = 429, description = "Too many listeners")))]
async fn events(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let wanted = wanted(&call)?;
    let (place, poll) = (place(&shared, &call)?, poll(&call));
    Ok(stream(Listener::open(place, wanted).await?, poll).await)
}

/// Where a request listens, as far as there is room.
pub fn place(shared: &Shared, call: &Call) -> Result<Place> {
    let permit = shared.streams.clone().try_acquire_owned().map_err(|_| {
        Error::new(&general::BUSY, "as many event streams are open as there may be")
            .help("close one, or ask again later")
    })?;
    Ok(Place {
        live: shared.live.clone(),
        backend: call.engine(shared)?.shared(),
        closing: shared.closing.subscribe(),
        heartbeat: shared.limits.heartbeat,
        permit,
        sight: Sight::new(shared.accounts.clone(), Arc::new(call.who()?.clone())),
    })
}

/// For how long a request over the host's door may listen; `None` on the port, where it is a stream.
pub fn poll(call: &Call) -> Option<Duration> {
    call.via_host().map(|_| poll_time(call.budget()))
}

/// What is heard, as an answer: a stream, or over the host's door a long poll.
pub async fn stream(listener: Listener, poll: Option<Duration>) -> Response {
    let body = match poll {
        Some(time) => Body::from(listener.into_poll(time).await),
        None => listener.into_stream(),
    };
    let stream = HeaderValue::from_static("text/event-stream");
    // Proxies that buffer answers would hold events back.
    let unbuffered = HeaderValue::from_static("no");
    let headers =
        [(header::CONTENT_TYPE, stream), (header::HeaderName::from_static("x-accel-buffering"), unbuffered)];
    (headers, body).into_response()
}

/// An event to emit.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the fields are read one by one")]
struct Emit {
    /// Words joined by dots, beginning with one of `alex_os.emit_prefixes`.
    topic: String,
    /// Anything.
    data: Option<serde_json::Value>,
    /// Makes a repeat harmless to triggers; made unless given.
    id: Option<String>,
}

/// What was emitted.
#[derive(Serialize, ToSchema)]
struct Emitted {
    /// The event's id.
    id: String,
    /// Its topic.
    topic: String,
    /// When.
    #[schema(format = "date-time")]
    time: String,
}

/// Emits an event: to the host's bus, to triggers and to waiting steps
#[utoipa::path(post, path = "/api/chainbot/events", tag = "events",
    request_body(content = Emit, example = json!({ "topic": "user.door.open", "data": { "by": "mia" } })),
    responses(
        (status = 202, description = "Taken. What it starts is on disk when it is seen", body = Emitted),
        (status = 413, description = "The data is too large"),
        (status = 422, description = "The topic is not allowed")))]
async fn emit(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let mut fields = call.fields(&["topic", "data", "id"]).await?;
    let topic = fields.needed("topic", TOPIC_BYTES_MAX)?;
    let id = fields.text("id", IDEMPOTENCY_KEY_BYTES_MAX)?.filter(|id| !id.is_empty());
    let event = call.engine(&shared)?.people()?.emit(&topic, fields.any("data"), id)?;
    shared.live.signal(|| of_emitted(&event.topic, &event.data, &event.id, event.at));
    let emitted = Emitted { id: event.id, topic: event.topic, time: event.at.to_string() };
    Ok((StatusCode::ACCEPTED, Json(emitted)).into_response())
}

fn wanted(call: &Call) -> Result<Wanted> {
    let query = call.query(&["since", "run", "topics"])?;
    // A client reconnects with the URL it began with, so the header is newer than the parameter. An empty one is
    // what some send before the first event.
    let resumed = call.header("last-event-id")?.filter(|text| !text.is_empty());
    let resumed = resumed
        .map(|text| {
            text.parse().ok().filter(|lsn| *lsn >= 0).ok_or_else(|| {
                Error::new(&general::MALFORMED, "the header Last-Event-ID is not the id of an event")
                    .help("send the `id` of the last event, or leave it out to begin with what comes")
            })
        })
        .transpose()?;
    let since = query.parsed::<i64>("since", "the id of an event")?;
    if since.is_some_and(|since| since < 0) {
        return Err(wrong("since", "is negative", "give the id of an event"));
    }
    let run = query.parsed("run", "a run's id")?;
    let topics = query.text("topics").map(topics_of).transpose()?;
    Ok(Wanted { since: resumed.or(since).map(Lsn), run, topics, until_over: false })
}

pub fn topics_of(text: &str) -> Result<Topics> {
    let mut topics = Topics::default();
    topics.add(text.split(',').map(str::to_owned).collect(), None)?;
    Ok(topics)
}

/// A little less than the time the host gives, so that the reply is there before its patience ends.
fn poll_time(budget: Duration) -> Duration {
    budget.saturating_sub((budget / 10).max(Duration::from_millis(100)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_poll_ends_before_the_host_gives_up() {
        for (budget_ms, wait_ms) in [(30_000, 27_000), (500, 400), (100, 0), (0, 0)] {
            assert_eq!(poll_time(Duration::from_millis(budget_ms)), Duration::from_millis(wait_ms));
        }
    }
}
