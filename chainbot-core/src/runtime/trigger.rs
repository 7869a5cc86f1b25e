//! Starts runs by themselves: at times, on events, on requests, on edges, at the end of other runs.
//!
//! ```text
//!  the clock ──────────► schedules ──┐
//!  host's bus, edges ──► inbound ────┼──► table: who asks for this? ──► fire: when, inputs ──► launch ──► writer
//!  the journal ────────► own events ─┘          (an index)               one transaction with the trigger's row
//!  requests ─────────────────────────► hook ────────────────────────────►┘
//! ```
//!
//! Invariants: what a trigger starts carries a key made of the trigger and the occasion (a time, an event's id), and the
//! trigger's row moves in the transaction that makes the run, so an occasion starts one run however often it is told and
//! whenever the power fails. Events of our own runs are read from the journal behind a cursor and are never lost;
//! an event of the host is accepted in memory, as the host is told. One thread does all this; it may block on the
//! disk, and no other thread waits for it; an expression that does not end costs it the limit of one evaluation.

mod edge;
mod evaluate;
mod fire;
pub(super) mod hook;
mod own;
mod switch;
mod table;
pub(super) mod watch;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};
use tokio::sync::watch as watch_channel;

use crate::error::code::general;
use crate::error::{Error, Result};
use crate::id::{Lsn, RunId, WorkflowId};
use crate::limits;
use crate::model::{Record, RecordBody};
use crate::port::SigningKeys;
use crate::time::Timestamp;

use super::core::Runtime;
use super::handle::Handle;
use edge::Watched;
use evaluate::Evaluators;
use table::{Id, Table};

pub use hook::{HookCall, HookReply};
pub use switch::{TriggerView, WorkflowSwitched};

/// Name of the cursor in the store: up to there own events were offered to the triggers.
const CURSOR: &str = "triggers";

/// Everything about triggers that is in memory.
pub(super) struct Triggers {
    table: Mutex<Table>,
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Whether any trigger may ask for events of our own runs: else nobody looks for them.
    listens: AtomicBool,
    keys: Arc<dyn SigningKeys>,
    /// How often the clock was looked at: a test waits for a look rather than for time.
    looks: watch_channel::Sender<u64>,
    /// Patterns that the host was asked for.
    subscribed: Mutex<HashSet<String>>,
    /// Pins that are watched.
    watched: Mutex<Watched>,
    /// Where expressions are evaluated.
    pub(super) evaluators: Evaluators,
}

/// What the thread has to look at. Locked for some instructions; never together with the table.
#[derive(Default)]
struct Queue {
    inbound: VecDeque<Inbound>,
    own: VecDeque<(Lsn, RunId)>,
    /// The journal has events that `own` could not hold.
    is_behind: bool,
    /// How far the cursor in the store says that own events were offered.
    saved: Lsn,
    /// The newest record that was told of.
    newest: Lsn,
    is_closed: bool,
    /// The table changed.
    is_changed: bool,
}

/// Something that came in, and for which trigger, when it is not for all that ask for its topic.
struct Inbound {
    event: Event,
    to: Option<Id>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The same on every delivery.
    pub id: String,
    /// Segments with dots.
    pub topic: String,
    /// When.
    pub at: Timestamp,
    /// JSON.
    pub data: Value,
}

impl Event {
    /// As expressions see it.
    fn to_json(&self) -> Value {
        json!({ "id": self.id, "type": self.topic, "time": self.at, "data": self.data })
    }
}

impl Triggers {
    /// The workflows that have some.
    pub(super) fn workflows(&self) -> HashSet<WorkflowId> {
        self.table.lock().all.keys().map(|id| id.workflow).collect()
    }

    pub(super) fn new(keys: Arc<dyn SigningKeys>) -> Self {
        Self {
            table: Mutex::default(),
            queue: Mutex::default(),
            changed: Condvar::new(),
            listens: AtomicBool::new(false),
            keys,
            looks: watch_channel::Sender::new(0),
            subscribed: Mutex::default(),
            watched: Mutex::default(),
            evaluators: Evaluators::default(),
        }
    }

    /// How far own events were offered to whoever asks for any, as the next process would find it.
    pub(super) fn told(&self) -> Lsn {
        match self.listens.load(Ordering::SeqCst) {
            true => self.queue.lock().saved,
            false => Lsn(i64::MAX),
        }
    }

    /// Which records of a batch may start runs, by their index: before the batch goes to the writer.
    pub(super) fn interesting(&self, records: &[Record]) -> Vec<u32> {
        if !self.listens.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let indexes = records.iter().enumerate().filter(|(_, record)| is_event(&record.body));
        indexes.map(|(index, _)| index as u32).collect()
    }

    /// They are on disk. On the writer's thread, in the order of the journal.
    pub(super) fn committed(&self, run: RunId, first: Lsn, indexes: &[u32]) {
        if indexes.is_empty() {
            return;
        }
        let mut queue = self.queue.lock();
        for index in indexes {
            let lsn = Lsn(first.0 + i64::from(*index));
            queue.newest = queue.newest.max(lsn);
            if queue.is_behind || queue.own.len() >= limits::EVENTS_KEPT_MAX {
                queue.is_behind = true;
            } else {
                queue.own.push_back((lsn, run));
            }
        }
        self.changed.notify_one();
    }

    /// The thread ends when it has offered what was accepted.
    pub(super) fn close(&self) {
        self.watched.lock().clear();
        self.evaluators.close();
        self.queue.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Whether every event of the host that was taken has been matched, or is being matched.
    pub(super) fn is_matched(&self) -> bool {
        self.queue.lock().inbound.is_empty()
    }

    fn wake(&self) {
        self.queue.lock().is_changed = true;
        self.changed.notify_one();
    }
}

/// Whether a record is an event of our own.
fn is_event(body: &RecordBody) -> bool {
    matches!(
        body,
        RecordBody::EventEmitted { .. }
            | RecordBody::RunStarted
            | RecordBody::RunCompleted { .. }
            | RecordBody::RunFailed { .. }
            | RecordBody::RunCancelled { .. }
    )
}

impl Handle {
    /// Takes an event of the host's bus. Never blocks; OK means accepted in memory. One that no trigger asks for costs a
    /// look into the index.
    pub fn take_event(&self, event: Event) -> Result<()> {
        self.0.take_event(event)
    }

    /// Takes an event from outside, for the steps that wait for it and the triggers that ask for it. Never blocks.
    pub fn offer(&self, event: Event) -> Result<()> {
        self.hear(&event.topic, &event.id, event.data.clone(), event.at)?;
        self.take_event(event)
    }
}

impl Runtime {
    fn take_event(&self, mut event: Event) -> Result<()> {
        self.check_open()?;
        let is_wanted = !self.triggers.table.lock().topics.matches(&event.topic).is_empty();
        if !is_wanted {
            return Ok(());
        }
        if let Err(error) = crate::expr::check_json(&event.data, limits::EVENT_BYTES_MAX) {
            let message = format!("event {} on {}: {}", event.id, event.topic, error.message);
            return Err(Error::new(&general::BODY_TOO_LARGE, message)
                .help(format!("send at most {} bytes", limits::EVENT_BYTES_MAX)));
        }
        if event.id.is_empty() {
            // Without an id of its own a repeat cannot be told from another event.
            event.id = uuid::Builder::from_random_bytes(self.env.bytes()).into_uuid().to_string();
        }
        // A CloudEvent has its data inside.
        if event.data.get("specversion").is_some()
            && let Some(inner) = event.data.get_mut("data").map(Value::take)
        {
            let source = event.data["source"].as_str().unwrap_or_default().to_owned();
            if source == "/chainbot" && event.topic.starts_with("chainbot.")
                || self.is_own(&source, &event.id)
            {
                return Ok(());
            }
            event.data = inner;
        }
        let mut queue = self.triggers.queue.lock();
        if queue.inbound.len() >= limits::EVENTS_QUEUED_MAX {
            return Err(Error::new(&general::BUSY, "too many events wait to be matched")
                .help("send the event again in a moment"));
        }
        queue.inbound.push_back(Inbound { event, to: None });
        self.triggers.changed.notify_one();
        Ok(())
    }

    /// Whether an event is one of ours that the host hands back. Ours are read from the journal, with the depth of the run
    /// that made them; taken from the host they would have none and could go in circles for ever.
    fn is_own(&self, source: &str, id: &str) -> bool {
        source == "/chainbot" && id.get(..36).is_some_and(|run| run.parse::<RunId>().is_ok())
    }
}

#[cfg(feature = "fault")]
impl Runtime {
    pub(super) fn wake_triggers(&self) {
        self.triggers.wake();
    }
}

#[cfg(test)]
impl Runtime {
    /// Resolves when the clock was looked at so often from here on, and what was due has fired.
    pub(super) async fn looks_at_the_clock(&self, times: u64) {
        let mut looks = self.triggers.looks.subscribe();
        let until = *looks.borrow_and_update() + times;
        looks.wait_for(|looks| *looks >= until).await.map(drop).unwrap_or_default();
    }
}
