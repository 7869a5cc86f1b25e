//! Brings events to the runs that wait for them: events of the host's bus, and those that our own runs emit.
//!
//! An event of the host is taken in memory, for the waits that are there when it comes. An event of a run is a record
//! of its journal: it comes through the same queue once it is on disk, and what a crash or a full queue left behind is
//! read from the journal, from the oldest wait on. A wait that took its event is over, so to be told twice is harmless.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::engine::{Heard, Input};
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::id::{Lsn, RunId};
use crate::limits;
use crate::model::{Json, Record, RecordBody};
use crate::time::Timestamp;

use super::cell::{Answer, Mail};
use super::core::Runtime;
use super::handle::Handle;

/// Runs that are told of one event at once: each may be read from the store for it.
const TOLD_AT_ONCE: usize = 64;
/// Records read from the journal at once when catching up.
const PAGE: u32 = 512;

/// Events on their way.
#[derive(Default)]
pub(super) struct Inbound {
    queue: VecDeque<Delivery>,
    /// One was taken out and is not on disk with everybody it is for.
    in_hand: bool,
    /// The journal must be read from after this place.
    behind: Option<Lsn>,
}

/// An event and the waits that it is for.
struct Delivery {
    event: Heard,
    waits: Vec<(RunId, Vec<u32>)>,
}

/// Between two tries to read what was emitted.
const READ_AGAIN: Duration = Duration::from_millis(250);

impl Handle {
    /// Takes an event of the host's bus: for the steps that wait for it at this moment. Never blocks; CB-0005 when too
    /// many are on their way.
    pub fn hear(&self, topic: &str, id: &str, payload: Value, at: Timestamp) -> Result<()> {
        let waits = self.0.ears.wanting(topic, None);
        if waits.is_empty() {
            return Ok(());
        }
        self.0.check_open()?;
        let data = Json::new(unwrapped(payload));
        let event = Heard { topic: topic.to_owned(), id: id.to_owned(), data, at };
        let mut state = self.0.ears.state.lock();
        if state.inbound.queue.len() >= limits::EVENTS_KEPT_MAX {
            return Err(Error::new(&general::BUSY, "too many events are on their way to steps")
                .help("deliver it again later, with the same id"));
        }
        state.inbound.queue.push_back(Delivery { event, waits });
        drop(state);
        self.0.ears.changed.notify_one();
        Ok(())
    }
}

/// The data of an event that came in the envelope of CloudEvents.
fn unwrapped(payload: Value) -> Value {
    match payload {
        Value::Object(mut envelope) if envelope.contains_key("specversion") => {
            envelope.remove("data").unwrap_or(Value::Null)
        }
        other => other,
    }
}

/// The event that a record is, if it is one.
fn event_of(run: RunId, record: &Record) -> Option<Heard> {
    match &record.body {
        RecordBody::EventEmitted { topic, data, .. } => Some(Heard {
            topic: topic.clone(),
            id: format!("{run}-{}", record.seq),
            data: data.clone(),
            at: record.at,
        }),
        _ => None,
    }
}

impl Inbound {
    /// The place after which the journal is still to be read.
    pub(super) fn behind(&self) -> Option<Lsn> {
        self.behind
    }

    /// Whether every event that was taken has reached whom it is for.
    pub(super) fn is_delivered(&self) -> bool {
        self.queue.is_empty() && !self.in_hand
    }
}

impl Runtime {
    /// The events among records that are about to be written, by their index; none while nobody waits.
    pub(super) fn events_in(&self, run: RunId, records: &[Record]) -> Vec<(u32, Heard)> {
        let indexed = (0..).zip(records);
        let mut events =
            indexed.filter_map(|(index, record)| Some((index, event_of(run, record)?))).peekable();
        match events.peek().is_some() && self.ears.has_listeners() {
            true => events.collect(),
            false => Vec::new(),
        }
    }

    /// On the writer's thread: they are on disk.
    pub(super) fn emitted(&self, first: Lsn, events: Vec<(u32, Heard)>) {
        for (index, event) in events {
            let lsn = Lsn(first.0 + i64::from(index));
            let waits = self.ears.wanting(&event.topic, Some(lsn));
            if waits.is_empty() {
                continue;
            }
            let mut state = self.ears.state.lock();
            if state.inbound.queue.len() >= limits::EVENTS_KEPT_MAX {
                let before = Lsn(lsn.0 - 1);
                state.inbound.behind = Some(state.inbound.behind.map_or(before, |other| other.min(before)));
            } else {
                state.inbound.queue.push_back(Delivery { event, waits });
            }
            drop(state);
            self.ears.changed.notify_one();
        }
    }

    /// Starts the task that delivers, beginning with what the last process may have left.
    pub(super) fn spawn_ears(self: &Arc<Self>) {
        self.ears.state.lock().inbound.behind = self.ears.oldest();
        for topic in self.ears.topics() {
            self.want(&topic);
        }
        let runtime = self.clone();
        // Ended and awaited by `stop`.
        let task = self.tokio.spawn(async move {
            let mut closing = runtime.ears.closing.subscribe();
            tokio::select! {
                _ = closing.wait_for(|closing| *closing) => {}
                ended = AssertUnwindSafe(runtime.deliver_events()).catch_unwind() => {
                    if ended.is_err() {
                        // Runs would wait for events that nobody brings, and the engine would look well.
                        let message = "the task that delivers events panicked; this is a bug in ChainBot";
                        let error = Error::new(&general::INTERNAL, message).help("see the log, and start again");
                        runtime.fail(Arc::new(error));
                    }
                }
            }
        });
        *self.ears.task.lock() = Some(task);
    }

    /// Asks the host for events of a topic.
    pub(super) fn want(&self, topic: &str) {
        if let Some(outbox) = &self.outbox
            && let Err(error) = outbox.subscribe(topic)
        {
            log::error!("the host does not give events of `{topic}`: {error}");
        }
    }

    async fn deliver_events(self: &Arc<Self>) {
        loop {
            let (next, behind) = {
                let mut state = self.ears.state.lock();
                let next = state.inbound.queue.pop_front();
                state.inbound.in_hand = next.is_some();
                (next, state.inbound.behind)
            };
            match (next, behind) {
                (Some(delivery), _) => self.deliver_heard(delivery).await,
                (None, Some(from)) => self.catch_up_events(from).await,
                (None, None) => self.ears.changed.notified().await,
            }
        }
    }

    /// Gives an event to its waits, and waits until that is on disk.
    async fn deliver_heard(self: &Arc<Self>, delivery: Delivery) {
        crate::fault!("event.deliver");
        let Delivery { event, waits } = delivery;
        for some in waits.chunks(TOLD_AT_ONCE) {
            let mut answers = Vec::with_capacity(some.len());
            for (run, waits) in some {
                let (answer, answered) = oneshot::channel();
                let input = Input::Heard { event: event.clone(), waits: waits.clone() };
                self.deliver(*run, Mail::Asked(input, Answer::new(answer, None)));
                answers.push(answered);
            }
            for answered in answers {
                // A run that is over meanwhile needs no event.
                let _ = answered.await;
            }
        }
    }

    async fn catch_up_events(self: &Arc<Self>, from: Lsn) {
        let page = self.read(move |runtime| runtime.store.journal_after(from, PAGE)).await;
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                // Nothing is passed over; the wait ends with the task.
                log::error!("events for waiting steps cannot be read and are tried again: {error}");
                tokio::time::sleep(READ_AGAIN).await;
                return;
            }
        };
        {
            let mut state = self.ears.state.lock();
            // What was left behind meanwhile is after this page.
            if state.inbound.behind == Some(from) {
                state.inbound.behind =
                    page.last().filter(|_| page.len() == PAGE as usize).map(|last| last.lsn);
            }
        }
        for committed in &page {
            let Some(event) = event_of(committed.run, &committed.record) else { continue };
            let waits = self.ears.wanting(&event.topic, Some(committed.lsn));
            self.deliver_heard(Delivery { event, waits }).await;
        }
    }
}
