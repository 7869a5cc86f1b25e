//! The way to a server over the pipes of a child: a message a line, replies in any order, bounds on what it sends.
//!
//! Two tasks read and write; both end with the link. Whoever waits for a reply is told when the server ends: its sender is dropped.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::child::Process;
use super::link::{Asked, Link, Lost, Pending, Reply, failed};
use super::servers::McpProgram;
use super::wire::{self, Message};
use crate::error::code::tool as code;
use crate::limits::{MCP_BYTES_MAX, MCP_CALLS_MAX, MCP_NOISE_LINES_MAX};
use crate::model::{StepError, class};
use crate::net::Lines;
use crate::port::SecretText;

/// A running server.
pub(super) struct Pipes {
    name: String,
    out: mpsc::Sender<String>,
    shared: Arc<Shared>,
    tasks: [AbortHandle; 2],
    /// Dropped after the tasks are told to end.
    _process: Process,
}

struct Shared {
    /// By id; `None` once the server has ended. One lock, held for an insert or a removal.
    pending: Mutex<Option<HashMap<u64, oneshot::Sender<Reply>>>>,
    /// Bytes since the last request.
    bytes: AtomicUsize,
}

impl Drop for Pipes {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Pipes {
    /// Starts a server.
    pub(super) fn start(
        name: &str,
        program: &McpProgram,
        env: &[(String, SecretText)],
    ) -> Result<Self, StepError> {
        let (process, reads, writes) = Process::start(program, env).map_err(|error| {
            let message = format!("the MCP server `{name}` does not start: {error}");
            StepError::new(class::CONNECT, &code::MCP_START, message)
        })?;
        // Each request under way may be given up, which is one more line.
        let (out, queue) = mpsc::channel(MCP_CALLS_MAX);
        let pending = Mutex::new(Some(HashMap::new()));
        let shared = Arc::new(Shared { pending, bytes: AtomicUsize::new(0) });
        let reader = tokio::spawn(listen(reads, shared.clone(), out.clone(), name.to_owned()));
        let writer = tokio::spawn(speak(writes, queue));
        let tasks = [reader.abort_handle(), writer.abort_handle()];
        Ok(Self { name: name.to_owned(), out, shared, tasks, _process: process })
    }

    fn send(&self, message: &Value) -> Result<(), Lost> {
        self.out.try_send(line(message)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Lost::Failed(failed(&self.name, class::LIMIT, "does not read what it is sent"))
            }
            mpsc::error::TrySendError::Closed(_) => self.ended(),
        })
    }

    fn ended(&self) -> Lost {
        Lost::Failed(failed(&self.name, class::CUT, "ended, or sent more than it may"))
    }

    fn begin(&self, id: u64, message: &Value) -> Result<oneshot::Receiver<Reply>, Lost> {
        let (sender, receiver) = oneshot::channel();
        match self.shared.pending.lock().as_mut() {
            Some(pending) => drop(pending.insert(id, sender)),
            None => return Err(self.ended()),
        }
        self.shared.bytes.store(0, Ordering::Relaxed);
        if let Err(lost) = self.send(message) {
            self.shared.pending.lock().as_mut().map(|pending| pending.remove(&id));
            return Err(lost);
        }
        Ok(receiver)
    }
}

impl Link for Pipes {
    fn ask<'a>(&'a self, asked: Asked<'a>) -> Pending<'a, Result<Reply, Lost>> {
        Box::pin(async move { self.begin(asked.id, asked.message)?.await.map_err(|_| self.ended()) })
    }

    fn tell<'a>(&'a self, message: &'a Value) -> Pending<'a, Result<(), Lost>> {
        Box::pin(async move { self.send(message) })
    }

    fn forget(&self, id: u64) {
        if let Some(pending) = self.shared.pending.lock().as_mut() {
            pending.remove(&id);
        }
        // A server that does not read it is not helped by waiting.
        let _ = self.send(&wire::cancelled(id));
    }

    fn agree(&self, _: &'static str) {}

    fn is_alive(&self) -> bool {
        self.shared.pending.lock().is_some()
    }

    fn close(&self) -> Pending<'_, ()> {
        // Its process is killed when this is dropped.
        Box::pin(std::future::ready(()))
    }

    #[cfg(test)]
    fn process_id(&self) -> Option<u32> {
        Some(self._process.id())
    }
}

fn line(message: &Value) -> String {
    let mut text = message.to_string();
    text.push('\n');
    text
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
        while let Some(text) = lines.next() {
            match wire::read(&text) {
                Message::Reply { id, outcome } => {
                    let waiting = shared.pending.lock().as_mut().and_then(|pending| pending.remove(&id));
                    // Nobody, when it was given up.
                    waiting.map(|sender| sender.send(outcome));
                }
                Message::Request { id, method } => {
                    if out.try_send(line(&wire::answer(&id, &method))).is_err() {
                        break 'reading "it asks more than it reads".to_owned();
                    }
                }
                Message::Notification => {}
                Message::Noise if text.is_empty() => {}
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
