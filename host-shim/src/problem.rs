//! Answers that the host gives itself: problem documents of RFC 9457 with the host's codes.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chainbot_abi::Status;
use serde_json::json;

use crate::error::Code;

/// An answer of the host in place of the module's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: Code,
    detail: String,
}

impl Problem {
    /// A problem with a status.
    pub fn new(status: StatusCode, code: Code, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = json!({
            "type": "about:blank",
            "title": self.code.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code.id,
        });
        let kind = (header::CONTENT_TYPE, "application/problem+json");
        let mut response = (self.status, [kind], document.to_string()).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The HTTP status when `handle_webhook` returned an error.
pub fn refusal_status(status: Status) -> StatusCode {
    match status {
        Status::INVALID => StatusCode::BAD_REQUEST,
        Status::BUSY | Status::STATE => StatusCode::SERVICE_UNAVAILABLE,
        Status::UNSUPPORTED => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The HTTP status when the completion brought an error.
pub fn completion_status(status: Status) -> StatusCode {
    match status {
        Status::TIMEOUT => StatusCode::GATEWAY_TIMEOUT,
        Status::CANCELLED => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::code;

    #[test]
    fn every_status_has_its_http_status() {
        for (status, refused, completed) in [
            (Status::INVALID, 400, 500),
            (Status::STATE, 503, 500),
            (Status::BUSY, 503, 500),
            (Status::UNSUPPORTED, 501, 500),
            (Status::CANCELLED, 500, 503),
            (Status::TIMEOUT, 500, 504),
            (Status::PANIC, 500, 500),
            (Status::FAILED, 500, 500),
            (Status { code: -99 }, 500, 500),
        ] {
            let got = (refusal_status(status).as_u16(), completion_status(status).as_u16());
            assert_eq!(got, (refused, completed), "{status:?}");
        }
    }

    #[test]
    fn only_a_503_says_when_to_retry() {
        let retry = |status| {
            Problem::new(status, code::NO_ROOM, "").into_response().headers().contains_key("retry-after")
        };
        assert!(retry(StatusCode::SERVICE_UNAVAILABLE));
        assert!(!retry(StatusCode::GATEWAY_TIMEOUT));
    }
}
