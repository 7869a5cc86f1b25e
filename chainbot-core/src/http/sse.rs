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

use super::backend::Backend;
use super::live::{Event, Live, Sight, Source, Told, Topics, is_foreign};
use crate::error::Result;
use crate::id::{Lsn, RunId};
use crate::limits::{POLL_BYTES_MAX, POLL_EVENTS_MAX};

/// A client of EventSource reconnects after this; short, because a long poll reconnects all the time.
const RECONNECT_MS: u32 = 1_000;
/// How long a long poll that has something waits for more of the same burst.
const BURST: Duration = Duration::from_millis(20);

/// What a client wants to hear.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// From after this place.
    pub since: Option<Lsn>,
    /// Only of this run.
    pub run: Option<RunId>,
    /// On these topics; without them every record, and nothing else.
    pub topics: Option<Topics>,
    /// Until the run is over, or asks a person.
    pub until_over: bool,
}

/// Where a client listens.
pub struct Place {
    /// The source of all.
    pub live: Arc<Live>,
    /// The runtime.
    pub backend: Arc<dyn Backend>,
    /// Whether the service closes.
    pub closing: watch::Receiver<bool>,
    /// Silence before a comment.
    pub heartbeat: Duration,
    /// Counts this client until it goes.
    pub permit: OwnedSemaphorePermit,
    /// What the client may see.
    pub sight: Sight,
}

/// One client.
pub struct Listener {
    source: Source,
    wanted: Wanted,
    closing: watch::Receiver<bool>,
    heartbeat: Duration,
    over: bool,
    waiting: VecDeque<String>,
    sight: Sight,
    _permit: OwnedSemaphorePermit,
}

enum Next {
    Frame(String),
    Silence,
    End,
}

impl Listener {
    /// Asks for one run alone from here on.
    pub fn of_run(&mut self, run: RunId) {
        self.wanted.run = Some(run);
    }

    /// Nothing more comes.
    pub fn end(&mut self) {
        self.over = true;
    }

    /// Tells something of its own before what comes.
    pub fn say_first(&mut self, kind: &str, data: &Value) {
        self.waiting.push_back(frame(None, kind, data));
    }

    /// Subscribes.
    pub async fn open(place: Place, wanted: Wanted) -> Result<Self> {
        let Place { live, backend, closing, heartbeat, permit, sight } = place;
        let foreign = is_foreign(&*backend, wanted.since);
        let source = Source::open(&live, backend, foreign.or(wanted.since)).await?;
        let mut waiting = VecDeque::new();
        let mut first = format!("retry: {RECONNECT_MS}\n");
        if let Some(lsn) = source.position() {
            first.push_str(&format!("id: {}\n", lsn.0));
        }
        waiting.push_back(first + "\n");
        if foreign.is_some() {
            waiting.push_back(gap(foreign, "the cursor is newer than the journal"));
        }
        Ok(Self { source, wanted, closing, heartbeat, over: false, waiting, sight, _permit: permit })
    }

    /// The body of a stream: ends when the client goes, the module stops or records are out of reach.
    pub fn into_stream(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut listener| async move {
            let next = listener.next(Instant::now() + listener.heartbeat).await;
            // After the wait, so that nothing is told to somebody who was let out meanwhile.
            if !listener.sight.is_current() {
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
        // Records of other runs were passed by; the next poll need not read them again. What waits was not told.
        if let Some(lsn) = self.source.position().filter(|_| self.waiting.is_empty()) {
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
            let told = tokio::select! {
                biased;
                _ = self.closing.wait_for(|closing| *closing) => return Next::End,
                told = self.source.next() => told,
                () = tokio::time::sleep_until(deadline) => return Next::Silence,
            };
            match told {
                Told::Record(group) => {
                    let some = if self.wanted.topics.is_some() { &group[..] } else { &group[..1] };
                    let wanted: Vec<&Event> = some.iter().filter(|event| self.wants(event)).collect();
                    let last = wanted.len().saturating_sub(1);
                    // Whoever comes back gets a record again unless it has had all of it.
                    let frames = wanted.iter().enumerate().map(|(index, event)| {
                        frame(event.lsn.filter(|_| index == last), &event.kind, &event.data)
                    });
                    self.waiting.extend(frames);
                    self.over |= self.wanted.until_over && self.ends(&group);
                }
                Told::Signal(event) => {
                    if self.wanted.topics.is_some() && self.wants(&event) {
                        self.waiting.push_back(frame(None, &event.kind, &event.data));
                    }
                }
                Told::SignalsLost(_) => {}
                Told::Gap(since, why) => {
                    self.waiting.push_back(gap(since, why));
                    self.over = true;
                }
                Told::End => return Next::End,
            }
        }
    }

    /// Whether a record is the last one that is of interest to who waits for its run.
    fn ends(&self, group: &[Event]) -> bool {
        const LAST: [&str; 5] = ["run.completed", "run.failed", "run.cancelled", "run.paused", "inbox.added"];
        let is_of_it = |event: &Event| self.wanted.run.is_some() && event.run == self.wanted.run;
        group.iter().any(|event| is_of_it(event) && LAST.contains(&event.kind.as_ref()))
    }

    fn wants(&self, event: &Event) -> bool {
        self.wanted.run.is_none_or(|run| event.run == Some(run))
            && self.wanted.topics.as_ref().is_none_or(|topics| topics.want(event))
            && self.sight.sees(event)
    }
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
