//! Forwards an HTTP request to the module's `handle_webhook` and makes the answer of its completion.
//!
//! Forwarding adds no rights: the module authenticates. What only this host can know (the mount, the client's
//! address) is passed in the request's own fields, and the headers that could forge it are dropped.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chainbot_abi::Status;
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::completion::{self, Outcome, Reply};
use crate::current::Current;
use crate::error::code;
use crate::limits::{BODY_DISCARD_BYTES_MAX, BODY_READ_MAX, REQUEST_GRACE, REQUEST_TIMEOUT, REQUESTS_MAX};
use crate::module::{CallError, RequestOut};
use crate::problem::{Problem, completion_status, refusal_status};

/// Headers about one connection, which end at the host. `connection` and `upgrade` are passed on: a module
/// answers an upgrade itself, with the way that works through a host.
const PER_CONNECTION: [&str; 6] =
    ["keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer", "transfer-encoding"];
/// Headers that tell where a request came through; only a host may say that.
const FORGEABLE: [&str; 2] = ["x-forwarded-for", "x-forwarded-prefix"];

/// What forwarding needs.
pub struct Forwarder {
    current: Arc<Current>,
    mount: String,
    /// A permit is held until the module has completed, not until the client has left: what a module still
    /// works on counts.
    permits: Arc<Semaphore>,
}

impl Forwarder {
    /// Forwards what lies below `mount`, a checked prefix (see [`check_mount`]).
    pub fn new(current: Arc<Current>, mount: String) -> Self {
        Self { current, mount, permits: Arc::new(Semaphore::new(REQUESTS_MAX)) }
    }

    /// Answers one request.
    pub async fn forward(&self, peer: String, request: Request<Body>) -> Response {
        match self.try_forward(peer, request).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        }
    }

    async fn try_forward(&self, peer: String, request: Request<Body>) -> Result<Response, Problem> {
        let (parts, body) = request.into_parts();
        let full = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let path = below_mount(&self.mount, full).ok_or_else(|| {
            let mount = if self.mount.is_empty() { "/" } else { &self.mount };
            Problem::new(
                StatusCode::NOT_FOUND,
                code::OUTSIDE_MOUNT,
                format!("the module is mounted at `{mount}`"),
            )
        })?;
        let headers = header_document(&parts.headers)?;
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| {
            let detail = format!("{REQUESTS_MAX} requests are under way; try again later");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, code::NO_ROOM, detail)
        })?;
        let limit = self.current.get().manifest.body_bytes_max(parts.method.as_str(), &path);
        let body = read_body(&parts.headers, body, limit).await?;
        let trace =
            parts.headers.get("traceparent").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let out = RequestOut {
            method: parts.method.as_str().to_owned(),
            path,
            mount: self.mount.clone(),
            peer,
            headers,
            body,
            trace: trace.to_owned(),
            timeout_ms: REQUEST_TIMEOUT.as_millis() as u32,
        };
        let answered = self.hand_over(&out, &Arc::new(permit)).await?;
        match timeout(REQUEST_TIMEOUT + REQUEST_GRACE, answered).await {
            Ok(Ok(outcome)) => answer_of(outcome, &out),
            // The sender is dropped only by a waiter that panicked before it sent.
            Ok(Err(_)) => Err(not_answered(StatusCode::INTERNAL_SERVER_ERROR, "the answer was lost")),
            Err(_) => {
                log::warn!("{} {} was not completed in time by the module [CB-0814]", out.method, out.path);
                Err(not_answered(
                    StatusCode::GATEWAY_TIMEOUT,
                    "the module did not complete the request in time",
                ))
            }
        }
    }
}

/// The permit goes with the request to whatever version takes it.
type Permit = Arc<tokio::sync::OwnedSemaphorePermit>;

impl Forwarder {
    /// Gives the request to the version that serves. One that is replaced at this moment refuses it, and nothing has happened
    /// then: the request goes to the next.
    async fn hand_over(
        &self,
        out: &RequestOut,
        permit: &Permit,
    ) -> Result<oneshot::Receiver<Outcome>, Problem> {
        loop {
            if !self.current.open_within(REQUEST_TIMEOUT).await {
                let detail = "the module is being replaced; try again in a moment";
                return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, code::NO_ROOM, detail));
            }
            let version = self.current.get();
            let (answer, answered) = oneshot::channel();
            let kept = Arc::clone(permit);
            let (ticket, completion) = completion::open(move |outcome| {
                drop(kept);
                // The client may have left: then nobody waits, and the outcome is not needed.
                let _ = answer.send(outcome);
            });
            let Err(error) = version.instance.handle_webhook(out, completion) else {
                return Ok(answered);
            };
            if !completion::withdraw(ticket) {
                log::error!("the module refused a request and completed it all the same [CB-0814]");
                return Err(refused(&error));
            }
            let is_passing = matches!(error.status, Status::BUSY | Status::STATE);
            if !is_passing || !self.current.is_handing_over(&version) {
                return Err(refused(&error));
            }
        }
    }
}

/// The prefix of a `--mount`: empty for `/`, else `/a/b` without a slash at the end. `Err` says what is wrong.
pub fn check_mount(mount: &str) -> Result<String, String> {
    let prefix = mount.strip_suffix('/').unwrap_or(mount);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if !mount.starts_with('/') || mount.contains("//") || !mount.chars().all(allowed) {
        return Err(format!("--mount `{mount}`: write a path such as / or /chainbot"));
    }
    if prefix == "/host" || prefix.starts_with("/host/") {
        return Err(format!("--mount `{mount}`: /host is the host's own; choose another path"));
    }
    Ok(prefix.to_owned())
}

/// Path and query as the module's own port would see them; `None` when the path does not lie below the mount.
fn below_mount(mount: &str, full: &str) -> Option<String> {
    let rest = full.strip_prefix(mount)?;
    match rest.as_bytes().first() {
        Some(b'/') => Some(rest.to_owned()),
        None | Some(b'?') => Some(format!("/{rest}")),
        Some(_) => None,
    }
}

/// The headers as the ABI's JSON object.
fn header_document(headers: &HeaderMap) -> Result<String, Problem> {
    let mut object = Map::new();
    for name in headers.keys() {
        if PER_CONNECTION.contains(&name.as_str()) || FORGEABLE.contains(&name.as_str()) {
            continue;
        }
        let mut values = Vec::new();
        for value in headers.get_all(name) {
            let text = std::str::from_utf8(value.as_bytes()).map_err(|_| {
                let detail = format!("the value of the header `{name}` is not UTF-8");
                Problem::new(StatusCode::BAD_REQUEST, code::REQUEST_UNREADABLE, detail)
            })?;
            values.push(Value::String(text.to_owned()));
        }
        let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
        object.insert(name.as_str().to_owned(), value);
    }
    Ok(Value::Object(object).to_string())
}

/// Reads a body up to `limit`. A larger one is answered 413 here and the request is not passed on: without its body
/// it could mean something else to the module. What the client still sends is read and dropped up to a bound,
/// because a connection closed in mid-body often loses the answer.
async fn read_body(headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        let detail = format!("the body is larger than the {limit} bytes that this path takes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, code::BODY_TOO_LARGE, detail)
    };
    let unreadable = |detail: String, status| Problem::new(status, code::REQUEST_UNREADABLE, detail);
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    // A client that waits for "100 Continue" has sent nothing yet, and need not.
    if headers.contains_key(header::EXPECT) && announced.is_some_and(|bytes| bytes > limit as u64) {
        return Err(too_large());
    }
    let read = async {
        let (mut bytes, mut total) = (Vec::new(), 0_usize);
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let frame = frame.map_err(|error| {
                unreadable(format!("the body broke off: {error}"), StatusCode::BAD_REQUEST)
            })?;
            let Some(data) = frame.data_ref() else { continue };
            total += data.len();
            if total <= limit {
                bytes.extend_from_slice(data);
            } else if total > limit + BODY_DISCARD_BYTES_MAX {
                break;
            }
        }
        if total > limit { Err(too_large()) } else { Ok(bytes) }
    };
    timeout(BODY_READ_MAX, read).await.unwrap_or_else(|_| {
        Err(unreadable("the body came too slowly".to_owned(), StatusCode::REQUEST_TIMEOUT))
    })
}

/// The answer when `handle_webhook` returned an error. Its message may hold inner detail: it goes to the log.
fn refused(error: &CallError) -> Problem {
    log::warn!("a request was not taken: {error}");
    let detail = format!("the module did not take the request ({})", crate::wire::status_name(error.status));
    not_answered(refusal_status(error.status), &detail)
}

fn not_answered(status: StatusCode, detail: &str) -> Problem {
    Problem::new(status, code::NOT_ANSWERED, detail)
}

/// The answer when the module completed the request.
fn answer_of(outcome: Outcome, request: &RequestOut) -> Result<Response, Problem> {
    let malformed = |why: &str| {
        log::error!("the reply to {} {} is malformed: {why} [CB-0814]", request.method, request.path);
        not_answered(StatusCode::INTERNAL_SERVER_ERROR, "the module's reply is malformed")
    };
    match outcome {
        Outcome::Reply(reply) => response_of(reply, request.method == "HEAD").map_err(|why| malformed(&why)),
        Outcome::Malformed(why) => Err(malformed(why)),
        Outcome::Error(status) => {
            let detail = format!("the module gave the request up ({})", crate::wire::status_name(status));
            Err(not_answered(completion_status(status), &detail))
        }
    }
}

/// The module's reply as a response. The length of the body is the server's business, but for HEAD, whose
/// reply has the length of a body that is not there.
fn response_of(reply: Reply, head: bool) -> Result<Response, String> {
    // 1xx would leave the client waiting for the real answer.
    let status = u16::try_from(reply.http_status).ok().filter(|status| (200..=599).contains(status));
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.ok_or_else(|| format!("http_status is {}", reply.http_status))?;
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = status;
    if reply.headers.is_empty() {
        return Ok(response);
    }
    let document: Value = serde_json::from_slice(&reply.headers)
        .map_err(|error| format!("the headers are not JSON: {error}"))?;
    let Value::Object(object) = document else { return Err("the headers are no JSON object".to_owned()) };
    for (name, value) in object {
        let name: HeaderName = name.parse().map_err(|_| format!("`{name}` is no header name"))?;
        let length = name == header::CONTENT_LENGTH && !head;
        if length || name == header::CONNECTION || PER_CONNECTION.contains(&name.as_str()) {
            continue;
        }
        let values = if let Value::Array(values) = value { values } else { vec![value] };
        for value in values {
            let text = value.as_str().ok_or_else(|| format!("the header `{name}` is no text"))?;
            let value = HeaderValue::from_str(text)
                .map_err(|_| format!("the header `{name}` has control characters"))?;
            response.headers_mut().append(&name, value);
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(http_status: u32, headers: &str) -> Result<Response, String> {
        response_of(Reply { http_status, headers: headers.as_bytes().to_vec(), body: b"x".to_vec() }, false)
    }

    #[test]
    fn the_mount_is_cut_off_at_a_whole_segment() {
        for (mount, full, expect) in [
            ("", "/a?b=/c", Some("/a?b=/c")),
            ("/m", "/m/a%2Fb?c", Some("/a%2Fb?c")),
            ("/m", "/m", Some("/")),
            ("/m", "/m?q", Some("/?q")),
            ("/m", "/mm/a", None),
            ("/m", "/a", None),
            ("", "*", None),
        ] {
            assert_eq!(below_mount(mount, full).as_deref(), expect, "{mount} {full}");
        }
    }

    #[test]
    fn mounts_are_checked() {
        for (mount, prefix) in [("/", ""), ("/a", "/a"), ("/a/b/", "/a/b"), ("/hosts", "/hosts")] {
            assert_eq!(check_mount(mount).as_deref(), Ok(prefix));
        }
        for mount in ["", "a", "//", "/a//b", "/a?b", "/a b", "/host", "/host/x", "/{a}"] {
            assert!(check_mount(mount).is_err(), "{mount}");
        }
    }

    #[test]
    fn forgeable_and_connection_headers_are_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-forwarded-for", "1.2.3.4"),
            ("X-Forwarded-Prefix", "/evil"),
            ("te", "trailers"),
            ("a", "1"),
            ("a", "2"),
            ("b", "ä"),
        ] {
            headers.append(
                HeaderName::try_from(name).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        let document: Value = serde_json::from_str(&header_document(&headers).unwrap()).unwrap();
        assert_eq!(document, serde_json::json!({"a": ["1", "2"], "b": "ä"}));
        headers.append("c", HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(header_document(&headers).is_err());
    }

    #[test]
    fn replies_become_responses_and_malformed_ones_are_named() {
        let response = reply(201, r#"{"x-a":["1","2"],"content-length":"99","connection":"close"}"#).unwrap();
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers().get_all("x-a").iter().count(), 2);
        assert!(
            !response.headers().contains_key("content-length")
                && !response.headers().contains_key("connection")
        );
        for (status, headers) in [
            (0, "{}"),
            (101, "{}"),
            (600, "{}"),
            (70_000, "{}"),
            (200, "{"),
            (200, "[]"),
            (200, r#"{"a":1}"#),
            (200, r#"{"a b":"1"}"#),
            (200, "{\"a\":\"\\n\"}"),
        ] {
            assert!(reply(status, headers).is_err(), "{status} {headers}");
        }
    }
}
