//! Events as server-sent events: a stream on the port, a long poll over the host's door.
//!
//! Both begin with the cursor they start from, so a client that reconnects before the first event misses nothing.
//! A listener that was too slow is taken up again from its last cursor, out of the journal; only where that is
//! impossible it is told with an event `gap` and the stream ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::backend::{Backend, Events};
use super::record::{Values, to_json, type_of};
use crate::error::Result;
use crate::id::{Lsn, RunId};
use crate::limits::{POLL_BYTES_MAX, POLL_EVENTS_MAX};
use crate::model::event::Committed;

/// A client of EventSource reconnects after this; short, because a long poll reconnects all the time.
const RECONNECT_MS: u32 = 1_000;
/// How often a listener is taken up again without one record in between, before it is told to come back.
const RESUBSCRIBES_MAX: u32 = 3;
/// How long a long poll that has something waits for more of the same burst.
const BURST: Duration = Duration::from_millis(20);

/// Whether the client may still listen: logins end and roles change while a stream is open.
pub type Allowed = Box<dyn Fn() -> bool + Send + Sync>;

/// What a client wants to hear.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// From after this place.
    pub since: Option<Lsn>,
    /// Only of this run.
    pub run: Option<RunId>,
}

/// One client.
pub struct Listener {
    backend: Arc<dyn Backend>,
    events: Box<dyn Events>,
    run: Option<RunId>,
    last: Option<Lsn>,
    resubscribes: u32,
    closing: watch::Receiver<bool>,
    heartbeat: Duration,
    over: bool,
    waiting: VecDeque<String>,
    allowed: Allowed,
    _permit: OwnedSemaphorePermit,
}

enum Next {
    Frame(String),
    Silence,
    End,
}

impl Listener {
    /// Subscribes. The permit counts this client until it goes.
    pub async fn open(
        backend: Arc<dyn Backend>,
        wanted: Wanted,
        closing: watch::Receiver<bool>,
        heartbeat: Duration,
        permit: OwnedSemaphorePermit,
        allowed: Allowed,
    ) -> Result<Self> {
        let newest = backend.newest_lsn();
        // A cursor from the future belongs to another journal, such as one from before a restore.
        let foreign = matches!((wanted.since, newest), (Some(since), Some(newest)) if since > newest);
        let since = if foreign { newest } else { wanted.since.or(newest) };
        let events = backend.subscribe(since).await?;
        let mut waiting = VecDeque::new();
        let mut first = format!("retry: {RECONNECT_MS}\n");
        if let Some(lsn) = since {
            first.push_str(&format!("id: {}\n", lsn.0));
        }
        waiting.push_back(first + "\n");
        if foreign {
            waiting.push_back(gap(since, "the cursor is newer than the journal"));
        }
        let run = wanted.run;
        Ok(Self {
            backend,
            events,
            run,
            last: since,
            resubscribes: 0,
            closing,
            heartbeat,
            over: false,
            waiting,
            allowed,
            _permit: permit,
        })
    }

    /// The body of a stream: ends when the client goes, the module stops or records are out of reach.
    pub fn into_stream(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut listener| async move {
            let next = listener.next(Instant::now() + listener.heartbeat).await;
            // After the wait, so that nothing is told to somebody who was let out meanwhile.
            if !(listener.allowed)() {
                return None;
            }
            let frame = match next {
                Next::Frame(frame) => frame,
                Next::Silence => ": heartbeat\n\n".to_owned(),
                Next::End => return None,
            };
            Some((Ok::<_, std::convert::Infallible>(frame), listener))
        }))
    }

    /// The body of one long poll: waits up to `wait` for the first event and takes those that come with it.
    pub async fn into_poll(mut self, wait: Duration) -> String {
        let end = Instant::now() + wait;
        let (mut body, mut events) = (String::new(), 0);
        while events < POLL_EVENTS_MAX && body.len() < POLL_BYTES_MAX {
            let deadline = if events == 0 { end } else { end.min(Instant::now() + BURST) };
            match self.next(deadline).await {
                Next::Frame(frame) => {
                    events += usize::from(frame.contains("data: "));
                    body.push_str(&frame);
                }
                Next::Silence | Next::End => break,
            }
        }
        // Records of other runs were passed by; the next poll need not read them again.
        if let Some(lsn) = self.events.passed().max(self.last) {
            body.push_str(&format!("id: {}\n\n", lsn.0));
        }
        body
    }

    async fn next(&mut self, deadline: Instant) -> Next {
        loop {
            if let Some(frame) = self.waiting.pop_front() {
                return Next::Frame(frame);
            }
            if self.over {
                return Next::End;
            }
            // A backlog in memory never waits; without this it would keep a worker of the runtime to itself.
            tokio::task::consume_budget().await;
            let item = tokio::select! {
                biased;
                _ = self.closing.wait_for(|closing| *closing) => return Next::End,
                item = self.events.next() => item,
                () = tokio::time::sleep_until(deadline) => return Next::Silence,
            };
            match item {
                None => return Next::End,
                Some(Ok(committed)) => {
                    self.last = Some(committed.lsn);
                    self.resubscribes = 0;
                    if self.run.is_none_or(|run| run == committed.run) {
                        return Next::Frame(event(&*self.backend, &committed));
                    }
                }
                Some(Err(_)) => self.resubscribe().await,
            }
        }
    }

    async fn resubscribe(&mut self) {
        self.resubscribes += 1;
        let Some(last) = self.last.filter(|_| self.resubscribes <= RESUBSCRIBES_MAX) else {
            self.waiting.push_back(gap(self.last, "events were missed"));
            self.over = true;
            return;
        };
        match self.backend.subscribe(Some(last)).await {
            Ok(events) => self.events = events,
            Err(error) => {
                log::warn!(target: "chainbot::http", "an event stream cannot go on: {error:?}");
                self.waiting.push_back(gap(Some(last), "the journal could not be read"));
                self.over = true;
            }
        }
    }
}

fn event(backend: &dyn Backend, committed: &Committed) -> String {
    let data = to_json(backend, committed.run, committed.lsn, &committed.record, Values::Small);
    frame(Some(committed.lsn), type_of(&committed.record.body), &data)
}

/// Tells that records are missing after `since`; reading the journal gives them.
fn gap(since: Option<Lsn>, why: &str) -> String {
    let data = json!({ "type": "gap", "since": since.map(|lsn| lsn.0), "detail": why });
    frame(None, "gap", &data)
}

fn frame(id: Option<Lsn>, kind: &str, data: &Value) -> String {
    // JSON has no line break outside of its white space, and `to_string` writes none, so one data line is enough.
    let id = id.map(|lsn| format!("id: {}\n", lsn.0)).unwrap_or_default();
    format!("{id}event: {kind}\ndata: {data}\n\n")
}
