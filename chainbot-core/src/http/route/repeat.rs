//! `Idempotency-Key` of requests that make something besides runs and workflows.
//!
//! What must be the same in a repeat is told as JSON without anything secret; a digest of it is kept with the key.

use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::workflows::REPLAYED;
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::http::engine::Asked;
use crate::port::Op;
use crate::runtime::Once;

/// Looks the request's key up, when it has one.
pub async fn look<'a>(
    key: Option<String>,
    engine: &'a Asked,
    kind: &str,
    request: &Value,
) -> Result<Option<Once<'a>>> {
    match key {
        Some(key) => engine.people()?.once(kind, &key, &request.to_string()).await.map(Some),
        None => Ok(None),
    }
}

/// What an earlier request with the key made.
pub fn before(once: &Option<Once<'_>>) -> Option<[u8; 16]> {
    match once {
        Some(Once::Before(made)) => Some(*made),
        _ => None,
    }
}

/// Makes the change that keeps a new key.
pub fn keeper<'a>(once: &'a Option<Once<'_>>) -> Option<impl FnOnce([u8; 16]) -> Op + 'a> {
    match once {
        Some(Once::New(held)) => Some(move |made| held.op(made)),
        _ => None,
    }
}

/// The answer to a repeat.
pub fn reply(status: StatusCode, body: impl IntoResponse) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// A key is remembered longer than what it made.
pub fn gone(error: Error) -> Error {
    Error::new(&general::IDEMPOTENCY, "what this Idempotency-Key made is not kept any more")
        .help("use a new key for a new request")
        .because(error)
}
