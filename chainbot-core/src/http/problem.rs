//! Errors as clients see them: RFC 9457 `application/problem+json`.
//!
//! A handler returns a [`Failure`]; it travels as an extension of an empty response and becomes a body at one
//! place, [`render`], where the request's id is known. Causes, and whole messages of failures that are not the
//! caller's, go to the log under that id and never outside.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Diagnostic, Error, ErrorKind};

/// What every handler returns.
pub type Answer = Result<Response, Failure>;

/// An error on its way out.
#[derive(Clone, Debug)]
pub struct Failure(pub Arc<Error>);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(Arc::new(error))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = status(self.0.kind()).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The body of every answer that is an error.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Where this code is explained.
    #[serde(rename = "type")]
    #[schema(example = "/docs/errors/CB-0300")]
    kind: String,
    /// One line, the same for every case of this code.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// This particular case.
    detail: String,
    /// The request's id, as in `X-Request-Id` and in the log.
    #[schema(example = "urn:uuid:0190b5a0-0000-7000-8000-000000000000")]
    instance: String,
    /// The error code.
    #[schema(example = "CB-0300")]
    code: &'static str,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    /// Every single problem, when there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ProblemItem>,
}

/// One of several problems, also an entry of `diagnostics` when a definition is checked.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemItem {
    /// Where, in the structure: `steps[2].config.url`.
    path: String,
    /// Line in the source, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    /// Column in the source, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    /// `error` or `warning`.
    #[schema(value_type = String, example = "error")]
    severity: crate::error::Severity,
    /// What is wrong.
    message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The error code.
    code: &'static str,
}

impl From<&Diagnostic> for ProblemItem {
    fn from(diagnostic: &Diagnostic) -> Self {
        let known = |number: u32| (number > 0).then_some(number);
        Self {
            path: diagnostic.path.clone(),
            line: known(diagnostic.pos.line),
            column: known(diagnostic.pos.column),
            severity: diagnostic.severity,
            message: diagnostic.message.clone(),
            hint: diagnostic.hint.clone(),
            code: diagnostic.code,
        }
    }
}

/// The status of a kind of failure.
pub fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Malformed => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Method => StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Precondition => StatusCode::PRECONDITION_FAILED,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorKind::Busy => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Full => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Network => StatusCode::BAD_GATEWAY,
        ErrorKind::Storage | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Gives a response that carries a [`Failure`] its body and headers; leaves others as they are.
pub fn render(mut response: Response, request_id: &str) -> Response {
    let Some(Failure(error)) = response.extensions_mut().remove::<Failure>() else {
        return response;
    };
    log_cause(&error, response.status(), request_id);
    let problem = Problem::new(&error, response.status(), request_id);
    // The struct holds text and numbers only, so this cannot fail.
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    match error.kind() {
        ErrorKind::Busy | ErrorKind::Unavailable => {
            // A rate limit knows its exact wait.
            headers.insert(header::RETRY_AFTER, HeaderValue::from(error.retry_after_s().unwrap_or(1)));
        }
        ErrorKind::Unauthorized => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"chainbot\""));
        }
        _ => {}
    }
    *response.body_mut() = Body::from(body);
    response
}

impl Problem {
    fn new(error: &Error, status: StatusCode, request_id: &str) -> Self {
        let ours = is_ours(error.kind());
        Self {
            kind: format!("/docs/errors/{}", error.code().id),
            title: error.code().title,
            status: status.as_u16(),
            detail: if ours {
                format!("the log has the cause under request id {request_id}")
            } else {
                error.message().to_owned()
            },
            instance: format!("urn:uuid:{request_id}"),
            code: error.code().id,
            help: error.remedy().filter(|_| !ours).map(str::to_owned),
            errors: error.diagnostics().iter().map(ProblemItem::from).collect(),
        }
    }
}

/// Failures whose message may name files, statements or addresses of the machine.
fn is_ours(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Internal | ErrorKind::Storage | ErrorKind::Network)
}

fn log_cause(error: &Error, status: StatusCode, request_id: &str) {
    if status.is_server_error() && error.kind() != ErrorKind::Unsupported {
        log::error!(target: "chainbot::http", "request {request_id}: {status}: {error:?}");
    } else if std::error::Error::source(error).is_some() {
        log::info!(target: "chainbot::http", "request {request_id}: {status}: {error:?}");
    }
}
