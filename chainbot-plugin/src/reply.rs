//! Turns the core's HTTP response into a reply for the host.
//!
//! Invariants: a reply is one piece and bounded; a stream of events is answered with what came so far, so that an
//! `EventSource` client can go on with `Last-Event-ID` (long polling).

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, TRANSFER_ENCODING};
use axum::http::{HeaderMap, Response, StatusCode};
use chainbot_core::error::Code;
use chainbot_core::error::code::general;
use futures_util::StreamExt;

use crate::limits::{REPLY_BYTES_MAX, STREAM_GATHER, STREAM_MARGIN_MAX};
use crate::program::OutReply;

/// Collects the response. `due` is when the host's patience ends.
pub async fn collect(response: Response<Body>, due: Instant) -> OutReply {
    let (head, body) = response.into_parts();
    let is_stream = head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.starts_with("text/event-stream"));
    let body = if is_stream {
        Ok(collect_events(body, due).await)
    } else {
        axum::body::to_bytes(body, REPLY_BYTES_MAX).await.map(Vec::from)
    };
    match body {
        Ok(body) => OutReply { status: head.status.as_u16(), headers: headers(&head.headers), body },
        Err(error) => {
            log::error!("a reply could not be collected: {error}");
            problem(&general::INTERNAL, StatusCode::INTERNAL_SERVER_ERROR, "the reply could not be collected")
        }
    }
}

/// Events until a short silence after the first one, or until shortly before `due`.
async fn collect_events(body: Body, due: Instant) -> Vec<u8> {
    let left = due.saturating_duration_since(Instant::now());
    let until = Instant::now() + left.saturating_sub((left / 4).min(STREAM_MARGIN_MAX));
    let mut pieces = body.into_data_stream();
    let mut collected = Vec::new();
    while collected.len() < REPLY_BYTES_MAX {
        let left = until.saturating_duration_since(Instant::now());
        // Comments keep a connection alive; only a data line is news worth answering with.
        let has_news = collected.starts_with(b"data:") || collected.windows(6).any(|at| at == b"\ndata:");
        let wait = if has_news { left.min(STREAM_GATHER) } else { left };
        match tokio::time::timeout(wait.max(Duration::from_millis(1)), pieces.next()).await {
            Ok(Some(Ok(piece))) => collected.extend_from_slice(&piece),
            Ok(Some(Err(error))) => {
                log::warn!("a stream of events broke off: {error}");
                break;
            }
            Ok(None) | Err(_) => break,
        }
    }
    // Half an event would reach the client as a wrong one.
    let end = collected.windows(2).rposition(|at| at == b"\n\n").map_or(0, |at| at + 2);
    collected.truncate(end);
    collected
}

/// A problem document of the plugin itself.
pub fn problem(code: &Code, status: StatusCode, detail: &str) -> OutReply {
    let document = serde_json::json!({
        "type": format!("/docs/errors/{}", code.id), "title": code.title, "status": status.as_u16(),
        "detail": detail, "code": code.id,
    });
    OutReply {
        status: status.as_u16(),
        headers: r#"{"content-type":"application/problem+json"}"#.to_owned(),
        body: document.to_string().into_bytes(),
    }
}

fn headers(map: &HeaderMap) -> String {
    let mut object = serde_json::Map::new();
    for name in map.keys() {
        // These are about one connection, and the host has its own.
        if name == CONNECTION || name == TRANSFER_ENCODING {
            continue;
        }
        let mut values: Vec<serde_json::Value> = map
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned().into())
            .collect();
        let value = if values.len() == 1 { values.swap_remove(0) } else { values.into() };
        object.insert(name.as_str().to_owned(), value);
    }
    serde_json::Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: &str, body: Body) -> OutReply {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let response = Response::builder().header("content-type", kind).header("connection", "close");
        let response = response.header("set-cookie", "a=1").header("set-cookie", "b=2").body(body).unwrap();
        runtime.unwrap().block_on(collect(response, Instant::now() + Duration::from_secs(60)))
    }

    #[test]
    fn repeated_headers_become_an_array_and_those_of_the_connection_are_dropped() {
        let reply = check("text/plain", Body::from("hello"));
        assert_eq!(reply.body, b"hello");
        assert_eq!(reply.headers, r#"{"content-type":"text/plain","set-cookie":["a=1","b=2"]}"#);
    }

    #[test]
    fn an_endless_stream_of_events_is_answered_with_whole_events() {
        let first = futures_util::stream::iter([
            Ok::<_, std::io::Error>(": hello\n\n"),
            Ok("id: 1\ndata: one\n\n"),
            Ok("id: 2\ndata: tw"),
        ]);
        let reply =
            check("text/event-stream", Body::from_stream(first.chain(futures_util::stream::pending())));
        assert_eq!(String::from_utf8(reply.body).unwrap(), ": hello\n\nid: 1\ndata: one\n\n");
    }
}
