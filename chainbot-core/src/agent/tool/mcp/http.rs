//! The way to a server over streamable HTTP: a request a POST, whose reply is a document or a stream of events.
//!
//! ```text
//! POST request ─► JSON: the reply
//!              └► events ─► the reply
//!                   └─ ended or broke without it ─► wait as the server said ─► GET from the last event on ─► events ...
//! ```
//!
//! Invariants: the token and what else is sent goes to the address of the operator's file, and to another path of that place at most; what a
//! server sends for one request is bounded over all the streams that it is cut into; nothing is sent twice but the question for the rest of
//! a stream. A server that forgot the session says so by 404 before it looks at the request, so that one may be asked again.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::hearing::{Heard, Hearing};
use super::link::{Asked, Link, Lost, Pending, Reply, failed};
use super::wire::{self, Message};
use crate::error::Code;
use crate::error::code::tool as code;
use crate::limits::{
    EGRESS_TOTAL_S_DEFAULT, MCP_BYTES_MAX, MCP_CALLS_MAX, MCP_LEAVE_S_MAX, MCP_REFUSAL_BYTES_MAX,
};
use crate::mcp::alone;
use crate::mcp::wire::Said;
use crate::model::{StepError, class};
use crate::net::{BodyLines, Egress, EgressError, Request, Stream, excerpt, same_place};
use crate::port::SecretText;

const BOTH: &str = "application/json, text/event-stream";
const EVENTS: &str = "text/event-stream";
/// Bytes of a session's id, which goes into a header of every request.
const SESSION_BYTES_MAX: usize = 1_024;

/// Later than the end of a request's time.
const AFTER: Duration = Duration::from_secs(5);

/// A server at an address.
pub(super) struct Http(Arc<Inner>);

struct Inner {
    name: String,
    token: Option<SecretText>,
    egress: Arc<Egress>,
    /// Held for a look or a change, never over an await.
    state: Mutex<State>,
    /// Places for telling that a reply is not waited for.
    notices: Arc<Semaphore>,
}

struct State {
    /// Another path than the configured one after a redirect.
    url: String,
    session: Option<String>,
    version: Option<&'static str>,
    is_gone: bool,
}

impl Http {
    /// Calls nobody yet.
    pub(super) fn new(name: &str, url: &str, token: Option<SecretText>, egress: Arc<Egress>) -> Self {
        let state = State { url: url.to_owned(), session: None, version: None, is_gone: false };
        let notices = Arc::new(Semaphore::new(MCP_CALLS_MAX));
        Self(Arc::new(Inner { name: name.to_owned(), token, egress, state: Mutex::new(state), notices }))
    }
}

impl Link for Http {
    fn ask<'a>(&'a self, asked: Asked<'a>) -> Pending<'a, Result<Reply, Lost>> {
        Box::pin(self.0.ask(asked))
    }

    fn tell<'a>(&'a self, message: &'a Value) -> Pending<'a, Result<(), Lost>> {
        Box::pin(self.0.tell(message))
    }

    fn forget(&self, id: u64) {
        // A greeting is not cancelled, and who speaks without one hears it by the end of the connection; without a runtime the process is ending.
        let version = self.0.state.lock().version;
        let is_greeted = version.is_some_and(|version| version != alone::VERSION);
        let (Ok(place), Ok(runtime), true) =
            (self.0.notices.clone().try_acquire_owned(), Handle::try_current(), is_greeted)
        else {
            return;
        };
        let inner = self.0.clone();
        // Joined by nobody: it ends by its own bound.
        runtime.spawn(async move {
            let told = wire::cancelled(id);
            if timeout(Duration::from_secs(MCP_LEAVE_S_MAX), inner.tell(&told)).await.is_err() {
                log::debug!("the MCP server `{}` was not told in time that a call is over", inner.name);
            }
            drop(place);
        });
    }

    fn agree(&self, version: &'static str) {
        self.0.state.lock().version = Some(version);
    }

    fn is_alive(&self) -> bool {
        !self.0.state.lock().is_gone
    }

    fn close(&self) -> Pending<'_, ()> {
        Box::pin(self.0.close())
    }

    #[cfg(test)]
    fn process_id(&self) -> Option<u32> {
        None
    }
}

impl Inner {
    async fn ask(&self, asked: Asked<'_>) -> Result<Reply, Lost> {
        let Asked { id, message, headers, limit } = asked;
        // Whoever asks keeps the time, and drops this when it is up; the client's own clock only must not be before that.
        let limit = limit + AFTER;
        let mut stream = self.post(message, headers, limit).await?;
        let kind = content_type(&stream);
        match kind.as_str() {
            EVENTS => self.hear(stream.lines(limit), id, limit).await,
            "application/json" => {
                let body = stream.whole(limit).await.map_err(|error| self.lost(error))?;
                match wire::read(&String::from_utf8_lossy(&body)) {
                    Message::Reply { id: of, outcome } if of == id => {
                        Ok(outcome.map_err(|said| self.clean(said)))
                    }
                    _ => Err(self.failed(
                        class::INVALID,
                        &format!("answers with what is no reply to the request: {}", self.words(&body)),
                    )),
                }
            }
            _ => {
                let status = stream.status;
                let kind = excerpt(kind.as_bytes());
                Err(self.failed(
                    class::INVALID,
                    &format!("answers {status} with neither JSON nor events but `{kind}`"),
                ))
            }
        }
    }

    async fn tell(&self, message: &Value) -> Result<(), Lost> {
        self.post(message, &[], Duration::from_secs(EGRESS_TOTAL_S_DEFAULT)).await.map(drop)
    }

    /// Reads events until the reply, over as many streams as the server cuts them into.
    async fn hear(&self, first: BodyLines, id: u64, limit: Duration) -> Result<Reply, Lost> {
        let mut hearing = Hearing::default();
        let mut lines = Some(first);
        loop {
            // The connection is closed before the wait for the next one.
            if let Some(mut lines) = lines.take()
                && let Some(reply) = self.listen(&mut lines, &mut hearing, id).await?
            {
                return Ok(reply.map_err(|said| self.clean(said)));
            }
            if self.state.lock().version == Some(alone::VERSION) {
                return Err(self.failed(class::CUT, "ended its answer before the reply"));
            }
            let last = hearing.next_stream().map_err(|what| self.failed(class::CUT, &what))?;
            sleep(hearing.pause()).await;
            lines = self.resume(&last, limit, hearing.left()).await?;
        }
    }

    /// Reads one stream; `None` when it is over without the reply.
    async fn listen(
        &self,
        lines: &mut BodyLines,
        hearing: &mut Hearing,
        id: u64,
    ) -> Result<Option<Reply>, Lost> {
        loop {
            let line = match lines.next().await {
                Ok(line) => line,
                // What broke is gone on with as what ended.
                Err(error) if error.class == class::CUT => return Ok(None),
                Err(error) => return Err(self.lost(error)),
            };
            let is_over = line.is_none();
            match hearing.take(line.as_deref(), id) {
                Ok(Heard::Nothing) => {}
                Ok(Heard::Reply(reply)) => return Ok(Some(reply)),
                // A server whose question cannot be answered is waited for like one that did not ask.
                Ok(Heard::Asked(answer)) => match self.tell(&answer).await {
                    Err(Lost::Gone(error)) => return Err(Lost::Failed(error)),
                    Err(Lost::Failed(error) | Lost::Refused(_, error)) => {
                        log::debug!("the MCP server `{}` was not answered: {}", self.name, error.message);
                    }
                    Ok(()) => {}
                },
                Err(what) => return Err(self.failed(class::LIMIT, &what)),
            }
            if is_over {
                return Ok(None);
            }
        }
    }

    /// Asks for the rest of a stream. `None` when nobody answers, which may pass.
    async fn resume(&self, last: &str, limit: Duration, left: usize) -> Result<Option<BodyLines>, Lost> {
        let mut call = self.request("GET", EVENTS);
        call.headers.push(("last-event-id".into(), last.to_owned()));
        (call.timeout, call.max_bytes) = (Some(limit), Some(left));
        let stream = match self.egress.open(call).await {
            Ok(stream) => stream,
            Err(error) if matches!(error.class, class::CONNECT | class::CUT) => return Ok(None),
            Err(error) => return Err(self.lost(error)),
        };
        match stream.status {
            200 if content_type(&stream) == EVENTS => Ok(Some(stream.lines(limit))),
            500..=599 => Ok(None),
            // Also when it has forgotten the session: it may have done what it was asked.
            status => Err(self.failed(
                class::CUT,
                &format!("ended its answer before the reply, and does not go on with it ({status})"),
            )),
        }
    }

    /// Sends a message; gives what is no refusal.
    async fn post(
        &self,
        message: &Value,
        headers: &[(String, String)],
        limit: Duration,
    ) -> Result<Stream, Lost> {
        let method = message.get("method").and_then(Value::as_str).unwrap_or("an answer");
        let mut is_moved = false;
        loop {
            let mut call = self.request("POST", BOTH);
            call.headers.push(("content-type".into(), "application/json".into()));
            if self.state.lock().version == Some(alone::VERSION) {
                call.headers.extend(alone::headers(message));
                call.headers.extend_from_slice(headers);
            }
            call.body = message.to_string().into_bytes();
            (call.timeout, call.max_bytes) = (Some(limit), Some(MCP_BYTES_MAX));
            let (from, had_session) = (call.url.clone(), self.state.lock().session.is_some());
            let stream = self.egress.open(call).await.map_err(|error| self.lost(error))?;
            match stream.status {
                200..=299 => {
                    if method == "initialize" {
                        self.state.lock().session = self.session_of(&stream)?;
                    }
                    return Ok(stream);
                }
                // A server with a slash too many or too few at the end of its path is common.
                307 | 308 if !is_moved && self.moved(&from, &stream) => is_moved = true,
                _ => return Err(self.refusal(stream, method, had_session, limit).await),
            }
        }
    }

    /// Whether the server names another path of the same place, which is kept.
    fn moved(&self, from: &str, stream: &Stream) -> bool {
        let to = stream.header("location").and_then(|location| same_place(from, location));
        if let Some(to) = &to {
            self.state.lock().url.clone_from(to);
        }
        to.is_some()
    }

    fn session_of(&self, stream: &Stream) -> Result<Option<String>, Lost> {
        let Some(id) = stream.header("mcp-session-id") else { return Ok(None) };
        let is_good = (1..=SESSION_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
        match is_good {
            true => Ok(Some(id.to_owned())),
            false => Err(self.failed(class::INVALID, "names its session by what is no id")),
        }
    }

    fn request(&self, method: &str, accept: &str) -> Request {
        let state = self.state.lock();
        let mut request = Request::new(method, &state.url);
        let mut add = |name: &str, value: &str| request.headers.push((name.into(), value.to_owned()));
        add("accept", accept);
        if let Some(version) = state.version {
            add("mcp-protocol-version", version);
        }
        if let Some(session) = &state.session {
            add("mcp-session-id", session);
        }
        if let Some(token) = &self.token {
            add("authorization", &format!("Bearer {}", token.reveal()));
        }
        request.has_secrets = self.token.is_some();
        request
    }

    async fn refusal(&self, mut stream: Stream, method: &str, had_session: bool, limit: Duration) -> Lost {
        let status = stream.status;
        let body = stream.excerpt(MCP_REFUSAL_BYTES_MAX, limit).await;
        let (said, refused) = (self.words(&body), wire::refused(&body).map(|said| self.clean(said)));
        let answered = format!("answered {status} to `{method}`");
        let is_forgotten = status == 404 && had_session;
        if let (400 | 402 | 404..=499, Some(said)) = (status, refused)
            && !is_forgotten
        {
            let what = format!("refuses `{method}`: {}", excerpt(said.text.as_bytes()));
            return Lost::Refused(said.code, failed(&self.name, class::INVALID, &what));
        }
        match status {
            401 | 403 => {
                let what = match &self.token {
                    Some(_) => "does not take the token, or the token gives no access",
                    None => "wants a token, and its entry has none",
                };
                let remedy =
                    "put one that the server gave you into its `token`; signing in by OAuth is not spoken";
                self.error(class::INVALID, &code::MCP_AUTH, &format!("{what} ({status}: {said}); {remedy}"))
            }
            404 if is_forgotten => {
                self.state.lock().is_gone = true;
                Lost::Gone(failed(&self.name, class::CUT, "has forgotten the session"))
            }
            300..=399 => {
                let to = stream.header("location").unwrap_or("nowhere");
                let to = excerpt(to.split(['?', '#']).next().unwrap_or_default().as_bytes());
                self.failed(
                    class::EGRESS,
                    &format!(
                        "{answered} with a redirect to `{to}`, which is not followed; \
                         write that address as its `url` if it is right"
                    ),
                )
            }
            404 | 405 | 410 if method == "initialize" => {
                let what = format!(
                    "{answered}: {said}; nothing at its `url` speaks the protocol over streamable HTTP"
                );
                self.error(class::INVALID, &code::MCP_START, &what)
            }
            429 => self.failed(class::HTTP_429, &format!("{answered}: {said}")),
            400..=499 => self.failed(class::HTTP_4XX, &format!("{answered}: {said}")),
            500..=599 => self.failed(class::HTTP_5XX, &format!("{answered}: {said}")),
            _ => self.failed(class::HTTP_STATUS, &format!("{answered}: {said}")),
        }
    }

    async fn close(&self) {
        let is_open = self.state.lock().session.is_some();
        if is_open {
            let mut call = self.request("DELETE", BOTH);
            (call.timeout, call.max_bytes) =
                (Some(Duration::from_secs(MCP_LEAVE_S_MAX)), Some(MCP_REFUSAL_BYTES_MAX));
            // A server may keep its sessions as it likes; whatever it answers, ours is over.
            if let Err(error) = self.egress.send(call).await {
                log::debug!("the MCP server `{}` was not taken leave of: {}", self.name, error.message);
            }
        }
    }

    fn failed(&self, class: &str, what: &str) -> Lost {
        self.error(class, &code::MCP_CALL, what)
    }

    fn lost(&self, error: EgressError) -> Lost {
        self.error(error.class, error.code, &format!("cannot be asked: {}", error.message))
    }

    fn error(&self, class: &str, code: &'static Code, what: &str) -> Lost {
        let message = format!("the MCP server `{}` {what}", self.name);
        Lost::Failed(StepError::new(class, code, self.masked(message)))
    }

    /// The beginning of a body, without the token: taken out before the text is cut, for half of it would not be found.
    fn words(&self, body: &[u8]) -> String {
        excerpt(self.masked(String::from_utf8_lossy(body).into_owned()).as_bytes())
    }

    fn clean(&self, said: Said) -> Said {
        Said { text: self.masked(said.text), ..said }
    }

    /// Servers repeat a wrong token in their answers.
    fn masked(&self, text: String) -> String {
        match &self.token {
            Some(token) => text.replace(token.reveal(), "***"),
            None => text,
        }
    }
}

/// Without what follows a semicolon.
fn content_type(stream: &Stream) -> String {
    let kind = stream.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}
