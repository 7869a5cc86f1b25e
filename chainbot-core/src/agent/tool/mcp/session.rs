//! A conversation with one server: requests with their replies, bounds on what it sends.
//!
//! Two tasks read and write; both end with the session. Whoever waits for a reply is told when the server ends: its sender is dropped.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::child::Process;
use super::servers::McpServer;
use super::wire::{self, Message};
use crate::error::code::tool as code;
use crate::limits::{MCP_BYTES_MAX, MCP_CALLS_MAX, MCP_NOISE_LINES_MAX};
use crate::model::{StepError, class};
use crate::net::Lines;
use crate::port::SecretText;

type Reply = Result<Value, String>;

/// A server that has been greeted.
pub(super) struct Session {
    name: String,
    out: mpsc::Sender<String>,
    shared: Arc<Shared>,
    tasks: [AbortHandle; 2],
    /// Dropped after the tasks are told to end.
    _process: Process,
}

struct Shared {
    /// By id. One lock, held for an insert or a removal.
    pending: Mutex<Option<HashMap<u64, oneshot::Sender<Reply>>>>,
    next: AtomicU64,
    /// Bytes since the last request.
    bytes: AtomicUsize,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Session {
    /// Starts a server and greets it.
    pub(super) async fn start(server: &McpServer, env: &[(String, SecretText)]) -> Result<Self, StepError> {
        let (process, reads, writes) = Process::start(server, env).map_err(|error| {
            let message = format!("the MCP server `{}` does not start: {error}", server.name);
            StepError::new(class::CONNECT, &code::MCP_START, message)
        })?;
        let (out, queue) = mpsc::channel(MCP_CALLS_MAX);
        let pending = Mutex::new(Some(HashMap::new()));
        let shared = Arc::new(Shared { pending, next: AtomicU64::new(1), bytes: AtomicUsize::new(0) });
        let reader = tokio::spawn(listen(reads, shared.clone(), out.clone(), server.name.clone()));
        let writer = tokio::spawn(speak(writes, queue));
        let tasks = [reader.abort_handle(), writer.abort_handle()];
        let session = Self { name: server.name.clone(), out, shared, tasks, _process: process };
        let greeted = session.request("initialize", wire::initialize(), server.timeout).await?;
        let version = greeted.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
        if !wire::VERSIONS.contains(&version) {
            let shown: String = version.chars().take(32).collect();
            let known = wire::VERSIONS.join(", ");
            let message = format!(
                "the MCP server `{}` speaks version `{shown}`, and {known} are spoken here",
                server.name
            );
            return Err(StepError::new(class::INVALID, &code::MCP_START, message));
        }
        session.send(wire::notification("notifications/initialized", json!({})))?;
        Ok(session)
    }

    /// Whether it still talks.
    pub(super) fn is_alive(&self) -> bool {
        self.shared.pending.lock().is_some()
    }

    #[cfg(test)]
    pub(super) fn process_id(&self) -> u32 {
        self._process.id()
    }

    /// Asks and waits for the reply. Dropping the future tells the server to stop its work.
    pub(super) async fn request(
        &self,
        method: &str,
        params: Value,
        limit: Duration,
    ) -> Result<Value, StepError> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        match self.shared.pending.lock().as_mut() {
            Some(pending) if pending.len() < MCP_CALLS_MAX => drop(pending.insert(id, sender)),
            Some(_) => return Err(self.failed(class::LIMIT, "has as many calls under way as it may")),
            None => return Err(self.ended()),
        }
        let mut waiting = Waiting { session: self, id, is_done: false };
        self.shared.bytes.store(0, Ordering::Relaxed);
        self.send(wire::request(id, method, params))?;
        let reply = timeout(limit, receiver).await;
        waiting.is_done = reply.is_ok();
        match reply {
            Err(_) => {
                let what = format!("did not answer `{method}` within {} ms", limit.as_millis());
                Err(self.failed(class::TIMEOUT, &what))
            }
            Ok(Err(_)) => Err(self.ended()),
            Ok(Ok(Err(said))) => {
                let said = crate::net::excerpt(said.as_bytes());
                Err(self.failed(class::INVALID, &format!("refuses `{method}`: {said}")))
            }
            Ok(Ok(Ok(result))) => Ok(result),
        }
    }

    fn send(&self, line: String) -> Result<(), StepError> {
        self.out.try_send(line).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => self.failed(class::LIMIT, "does not read what it is sent"),
            mpsc::error::TrySendError::Closed(_) => self.ended(),
        })
    }

    fn ended(&self) -> StepError {
        self.failed(class::CUT, "ended, or sent more than it may")
    }

    fn failed(&self, class: &str, what: &str) -> StepError {
        StepError::new(class, &code::MCP_CALL, format!("the MCP server `{}` {what}", self.name))
    }
}

/// A request under way; when it is given up, the server is told.
struct Waiting<'a> {
    session: &'a Session,
    id: u64,
    is_done: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(pending) = self.session.shared.pending.lock().as_mut() {
            pending.remove(&self.id);
        }
        if !self.is_done {
            let params = json!({ "requestId": self.id, "reason": "nobody waits for it" });
            // A server that does not read it is not helped by waiting.
            let _ = self.session.send(wire::notification("notifications/cancelled", params));
        }
    }
}

/// Reads until the server ends or goes over a bound; then nobody waits for it any more.
async fn listen(mut reads: pipe::Receiver, shared: Arc<Shared>, out: mpsc::Sender<String>, name: String) {
    let (mut lines, mut chunk, mut noise) = (Lines::default(), vec![0; 8 * 1024], 0usize);
    let why = 'reading: loop {
        let count = match reads.read(&mut chunk).await {
            Ok(0) => break "it ended".to_owned(),
            Ok(count) => count,
            Err(error) => break error.to_string(),
        };
        if shared.bytes.fetch_add(count, Ordering::Relaxed) + count > MCP_BYTES_MAX {
            break format!("it sent more than {MCP_BYTES_MAX} bytes for one request");
        }
        lines.push(&chunk[..count]);
        while let Some(line) = lines.next() {
            match wire::read(&line) {
                Message::Reply { id, outcome } => {
                    let waiting = shared.pending.lock().as_mut().and_then(|pending| pending.remove(&id));
                    // Nobody, when it was given up.
                    waiting.map(|sender| sender.send(outcome));
                }
                Message::Request { id, method } => {
                    if out.try_send(wire::answer(&id, &method)).is_err() {
                        break 'reading "it asks more than it reads".to_owned();
                    }
                }
                Message::Notification => {}
                Message::Noise if line.is_empty() => {}
                Message::Noise => {
                    noise += 1;
                    if noise > MCP_NOISE_LINES_MAX {
                        break 'reading "it writes what is no message".to_owned();
                    }
                }
            }
        }
        if lines.is_over() {
            break "a line of it is over its bound".to_owned();
        }
    };
    log::info!("the MCP server `{name}` is left: {why}");
    shared.pending.lock().take();
}

async fn speak(mut writes: pipe::Sender, mut queue: mpsc::Receiver<String>) {
    while let Some(line) = queue.recv().await {
        if writes.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}
