//! The one client of the API. It talks to a server over loopback, or to the engine inside this process; whatever
//! uses it cannot tell which.

use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::http::Request;
use chainbot_core::app::App;
use chainbot_core::net::{EventLines, LocalClient};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Problem, Result, code};

/// Below this every route of the API lies.
pub const BASE: &str = "/api/chainbot";
/// The largest answer that is read: a page of the API is far smaller, and an output is at most a megabyte.
const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Pages of one list that are read in a row, which is more than any command asks for.
const PAGES_MAX: usize = 10_000;
/// Items of a page.
pub const PAGE: usize = 200;

/// A way to the API.
pub struct Client {
    transport: Transport,
}

enum Transport {
    Remote(Box<LocalClient>),
    Embedded { app: Arc<App>, token: String },
}

/// An answer of any status.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As sent.
    pub body: Vec<u8>,
}

/// A body and its content type.
pub type Content<'a> = (&'a str, Vec<u8>);

impl Client {
    /// To a server on this machine.
    pub fn remote(url: &str, token: &str) -> Result<Self> {
        let client = LocalClient::new(url, token).map_err(|error| Error::Core(error.into()))?;
        Ok(Self { transport: Transport::Remote(Box::new(client)) })
    }

    /// To a server on this machine, or over TLS elsewhere.
    pub fn elsewhere(url: &str, token: &str) -> Result<Self> {
        let client = LocalClient::elsewhere(url, token).map_err(|error| Error::Core(error.into()))?;
        Ok(Self { transport: Transport::Remote(Box::new(client)) })
    }

    /// To the engine in this process.
    pub fn embedded(app: Arc<App>, token: String) -> Self {
        Self { transport: Transport::Embedded { app, token } }
    }

    /// Sends a request; `path` is below [`BASE`]. Any status is a reply.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: Option<Content<'_>>,
    ) -> Result<Reply> {
        let path = format!("{BASE}{path}");
        match &self.transport {
            Transport::Remote(client) => {
                let sent = client.request_with(method, &path, headers, body).await.map_err(gone)?;
                Ok(Reply { status: sent.0, headers: sent.1, body: sent.2 })
            }
            Transport::Embedded { app, token } => {
                let response = app.call(request(method, &path, token, headers, body)?).await;
                let status = response.status().as_u16();
                let headers = response
                    .headers()
                    .iter()
                    .map(|(name, value)| {
                        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                    })
                    .collect();
                let body = axum::body::to_bytes(response.into_body(), REPLY_BYTES_MAX)
                    .await
                    .map_err(|error| Error::new(&code::REPLY, format!("the answer to {path}: {error}")))?;
                Ok(Reply { status, headers, body: body.to_vec() })
            }
        }
    }

    /// Asks for JSON. A status that is no success is the error it describes.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.send("GET", path, &[], None).await?.read()
    }

    /// Sends JSON and reads JSON.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        let content = ("application/json", body.to_string().into_bytes());
        self.send("POST", path, &[], Some(content)).await?.read()
    }

    /// The same, to change what is named only.
    pub async fn patch<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        let content = ("application/json", body.to_string().into_bytes());
        self.send("PATCH", path, &[], Some(content)).await?.read()
    }

    /// Reads a list page by page until it ends or `most` items are there. The number: of all items together.
    pub async fn list<T: DeserializeOwned>(&self, path: &str, most: usize) -> Result<(Vec<T>, usize)> {
        self.list_after(path, None, most).await
    }

    /// As [`list`](Self::list), from after a cursor of an earlier page.
    pub async fn list_after<T: DeserializeOwned>(
        &self,
        path: &str,
        mut cursor: Option<String>,
        most: usize,
    ) -> Result<(Vec<T>, usize)> {
        let (mut items, mut total) = (Vec::new(), 0);
        for _ in 0..PAGES_MAX {
            let sign = if path.contains('?') { '&' } else { '?' };
            let limit = (most - items.len()).clamp(1, PAGE);
            let after = cursor.as_ref().map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
            let reply = self.send("GET", &format!("{path}{sign}limit={limit}{after}"), &[], None).await?;
            let next = reply.header("link").and_then(next_cursor);
            let count = reply.header("x-total-count").and_then(|text| text.parse().ok());
            let page: Vec<T> = reply.read()?;
            items.extend(page);
            total = count.unwrap_or(items.len());
            match next {
                Some(next) if items.len() < most => cursor = Some(next),
                _ => break,
            }
        }
        Ok((items, total))
    }

    /// Opens the stream of a run's events.
    pub async fn events(&self, run: &str) -> Result<Events> {
        self.stream(&format!("run={run}")).await
    }

    /// Opens a stream of events; `query` says of which.
    pub async fn stream(&self, query: &str) -> Result<Events> {
        let path = format!("{BASE}/events?{query}");
        match &self.transport {
            Transport::Remote(client) => match client.events(&path, &[]).await.map_err(gone)? {
                Ok(lines) => Ok(Events(Source::Remote(Box::new(lines)))),
                Err((status, headers, body)) => Err(Reply { status, headers, body }.failure()),
            },
            Transport::Embedded { app, token } => {
                let response = app.call(request("GET", &path, token, &[], None)?).await;
                if response.status().as_u16() == 200 {
                    let lines = BodyLines { body: Box::pin(response.into_body()), rest: Vec::new() };
                    return Ok(Events(Source::Embedded(lines)));
                }
                let status = response.status().as_u16();
                let body =
                    axum::body::to_bytes(response.into_body(), REPLY_BYTES_MAX).await.unwrap_or_default();
                Err(Reply { status, headers: Vec::new(), body: body.to_vec() }.failure())
            }
        }
    }

    /// Resolves when the engine in this process cannot go on; never for a server.
    pub async fn failed(&self) -> Error {
        match &self.transport {
            Transport::Remote(_) => std::future::pending().await,
            Transport::Embedded { app, .. } => {
                let reason = app.failed().await;
                Error::new(&code::ENGINE, format!("the engine cannot go on: {reason}"))
                    .help("nothing that was acknowledged is lost; mend the cause and run the command again")
            }
        }
    }
}

impl Reply {
    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON of the expected shape, or the error that the status and the body describe.
    pub fn read<T: DeserializeOwned>(self) -> Result<T> {
        if !(200..300).contains(&self.status) {
            return Err(self.failure());
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::new(&code::REPLY, format!("an answer of status {} does not read: {error}", self.status))
                .help("command line and server may be of different versions; see `chainbot status`")
        })
    }

    /// Nothing, or the error that the status and the body describe.
    pub fn done(self) -> Result<()> {
        if (200..300).contains(&self.status) { Ok(()) } else { Err(self.failure()) }
    }

    /// The error that this reply is.
    pub fn failure(self) -> Error {
        match serde_json::from_slice::<Problem>(&self.body) {
            Ok(mut problem) if !problem.code.is_empty() => {
                // The API names its own route, which is no help at a prompt.
                if problem.code == chainbot_core::error::code::run::NOT_FOUND.id {
                    problem.help = Some("`chainbot runs` lists them".to_owned());
                }
                Error::Api(Box::new(problem))
            }
            _ => Error::new(
                &code::REPLY,
                format!("the server answered with status {} and no reason", self.status),
            )
            .help("another program may have taken the port; see `chainbot status`"),
        }
    }
}

/// A stream of a run's events.
pub struct Events(Source);

enum Source {
    Remote(Box<EventLines>),
    Embedded(BodyLines),
}

/// An event of a stream.
#[derive(Debug, Default)]
pub struct Happened {
    /// Where to go on after it; none where that is not after this one.
    pub id: Option<String>,
    /// Its type; empty for what only says where the stream is.
    pub kind: String,
    /// JSON.
    pub data: String,
}

impl Events {
    /// The next event, whole. `None` when the stream has ended.
    pub async fn next(&mut self) -> Result<Option<Happened>> {
        let mut happened = Happened::default();
        loop {
            let Some(line) = self.line().await? else { return Ok(None) };
            match line.split_once(": ") {
                Some(("id", id)) => happened.id = Some(id.to_owned()),
                Some(("event", kind)) => kind.clone_into(&mut happened.kind),
                Some(("data", data)) => data.clone_into(&mut happened.data),
                None if line.is_empty() && (happened.id.is_some() || !happened.kind.is_empty()) => {
                    return Ok(Some(happened));
                }
                _ => {}
            }
        }
    }

    /// Waits until something has happened. False when the stream has ended. What happened is asked of the API,
    /// which has it whole; so an event that is cut or repeated here does no harm.
    pub async fn happened(&mut self) -> Result<bool> {
        loop {
            match self.line().await? {
                Some(line) if line.starts_with("event:") => return Ok(true),
                Some(_) => {}
                None => return Ok(false),
            }
        }
    }

    async fn line(&mut self) -> Result<Option<String>> {
        match &mut self.0 {
            Source::Remote(lines) => lines.next().await.map_err(gone),
            Source::Embedded(lines) => lines.next().await,
        }
    }
}

/// The lines of a body of the engine in this process.
struct BodyLines {
    body: Pin<Box<Body>>,
    /// What came and is no whole line yet.
    rest: Vec<u8>,
}

impl BodyLines {
    async fn next(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).take(end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            if self.rest.len() > REPLY_BYTES_MAX {
                return Err(Error::new(&code::ENGINE, "an event of the engine is too long"));
            }
            let frame = std::future::poll_fn(|context| self.body.as_mut().poll_frame(context)).await;
            let Some(Ok(frame)) = frame else { return Ok(None) };
            self.rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        }
    }
}

fn request(
    method: &str,
    path: &str,
    token: &str,
    headers: &[(String, String)],
    body: Option<Content<'_>>,
) -> Result<Request<Body>> {
    let mut request =
        Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let built = match body {
        Some((content_type, bytes)) => request.header("content-type", content_type).body(Body::from(bytes)),
        None => request.body(Body::empty()),
    };
    built.map_err(|error| Error::new(&code::USAGE, format!("{path} cannot be asked for: {error}")))
}

/// A request that got no answer.
fn gone(error: chainbot_core::net::EgressError) -> Error {
    Error::new(&code::SERVER_GONE, error.message)
        .help("see `chainbot status` and `chainbot logs`; runs go on when the server is back")
}

/// The cursor of the `next` link.
fn next_cursor(link: &str) -> Option<String> {
    let (target, relation) = link.split_once('>')?;
    if !relation.contains("rel=\"next\"") {
        return None;
    }
    let from = target.find("cursor=")? + "cursor=".len();
    Some(target[from..].split('&').next().unwrap_or_default().to_owned())
}

/// A name as a segment of a path: everything but unreserved characters is escaped.
pub fn segment(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => char::from(byte).to_string(),
            // A lone dot or two would be resolved away by whoever normalises the path.
            b'.' if text.bytes().any(|other| other != b'.') => ".".to_owned(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_segment() {
        let cases = [("a-b_c.1", "a-b_c.1"), ("..", "%2E%2E"), ("a/b?c#d", "a%2Fb%3Fc%23d"), ("ä", "%C3%A4")];
        for (text, expected) in cases {
            assert_eq!(segment(text), expected);
        }
    }

    #[test]
    fn the_next_page_is_read_from_the_link() {
        let link = "</api/chainbot/runs?limit=2&cursor=0190-a&status=failed>; rel=\"next\"";
        assert_eq!(next_cursor(link).as_deref(), Some("0190-a"));
        assert_eq!(next_cursor("</x?cursor=1>; rel=\"prev\""), None);
        assert_eq!(next_cursor("nonsense"), None);
    }

    #[test]
    fn an_answer_without_a_problem_is_still_an_error_with_a_code() {
        let reply = Reply { status: 502, headers: Vec::new(), body: b"<html>".to_vec() };
        assert_eq!(reply.failure().code(), "CB-0908");
        let body = br#"{"status":404,"code":"CB-0300","title":"t","detail":"there is no run x"}"#.to_vec();
        let failure = Reply { status: 404, headers: Vec::new(), body }.failure();
        assert_eq!((failure.code(), failure.message().as_str()), ("CB-0300", "there is no run x"));
    }
}
