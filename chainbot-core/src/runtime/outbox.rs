//! Tells the host's bus what runs do: at least once, in the order of the journal, each with an id that stays the same.
//!
//! The journal itself is the outbox; a cursor in the store says how far the host has been told. What is committed now comes
//! through a bounded queue; what the queue could not hold, and what was left at the last stop, is read from the journal.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use serde::Serialize;

use crate::engine::RunState;
use crate::error::{Error, Result};
use crate::id::{Lsn, RunId, WorkflowId};
use crate::limits;
use crate::model::event::Committed;
use crate::model::{Record, RecordBody, StepError, Waiting};
use crate::port::{Batch, EventBus, Op, Published, Scope, Store};
use crate::time::Timestamp;

use super::core::Runtime;

/// Name of the cursor in the store.
const CURSOR: &str = "host_bus";
/// Between two tries when the host has no room.
const RETRY: Duration = Duration::from_millis(50);
/// Between two tries to read what the host was not told.
const READ_AGAIN: Duration = Duration::from_millis(250);
/// How long the cursor may stay behind: what was told in that time is told again after a crash.
const CURSOR_EVERY: Duration = Duration::from_secs(1);
/// Records read from the journal at once when catching up.
const PAGE: u32 = 512;

/// The queue towards the host.
pub(super) struct Outbox {
    host: Arc<dyn EventBus>,
    queue: Mutex<Queue>,
    changed: Condvar,
    refused: AtomicU32,
}

#[derive(Default)]
struct Queue {
    /// Decided, at the writer: with the record's index in its batch.
    staged: HashMap<RunId, Vec<(i64, Announcement)>>,
    ready: VecDeque<(Lsn, Announcement)>,
    /// Up to here everything was delivered or is in `ready`; behind it the journal must be read.
    newest: Lsn,
    is_behind: bool,
    /// How far the cursor in the store says that the host was told.
    saved: Lsn,
    is_closed: bool,
}

/// An event for the host.
#[derive(Clone, Debug)]
struct Announcement {
    topic: String,
    payload: String,
    id: String,
    at: Timestamp,
}

/// Whom an event of a run is about.
struct Subject<'a> {
    run: RunId,
    workflow: WorkflowId,
    name: &'a str,
    created_at: Timestamp,
    steps: Option<(u32, usize)>,
}

/// What an event of a run says.
#[derive(Serialize)]
struct RunData<'a> {
    module_id: &'static str,
    workflow_id: WorkflowId,
    workflow_name: &'a str,
    execution_id: RunId,
    status: &'static str,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps_completed: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_steps: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a StepError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<String>,
}

/// CloudEvents 1.0 as JSON.
#[derive(Serialize)]
struct CloudEvent<'a, D> {
    specversion: &'static str,
    id: &'a str,
    source: &'static str,
    #[serde(rename = "type")]
    topic: &'a str,
    time: Timestamp,
    datacontenttype: &'static str,
    data: &'a D,
}

impl Outbox {
    pub(super) fn new(host: Arc<dyn EventBus>) -> Self {
        // Behind from the first moment: workers may commit before it is known what was left untold, and what they make ready
        // would be told, and the cursor set, past that.
        let queue = Queue { is_behind: true, ..Queue::default() };
        Self { host, queue: Mutex::new(queue), changed: Condvar::new(), refused: AtomicU32::new(0) }
    }

    /// Before a batch is handed to the writer.
    pub(super) fn prepare(&self, state: &RunState, records: &[Record], parks: bool) {
        let subject = Subject {
            run: state.id,
            workflow: state.created.workflow,
            name: &state.created.name,
            created_at: state.created_at,
            steps: Some((state.steps_completed, state.program.step_count())),
        };
        let mut staged: Vec<(i64, Announcement)> = records
            .iter()
            .zip(0..)
            .filter_map(|(record, index)| Some((index, announcement(&subject, record)?)))
            .collect();
        if parks {
            // Told when it happens and not again: after a restart the run's own state says it. One that waits for an event is
            // parked without a record, once its ear is set; then this follows whatever is on disk already.
            let (last, at) = (state.next_seq.saturating_sub(1), state.last_at);
            let mut data = subject.data("waiting", at);
            data.waiting_for = state.waiting_for();
            let id = format!("{}-{last}-waiting", state.id);
            let event = cloud_event("chainbot.workflow.waiting", id, at, &data);
            staged.extend(event.map(|event| (records.len() as i64 - 1, event)));
        }
        if !staged.is_empty() {
            self.queue.lock().staged.insert(state.id, staged);
        }
    }

    /// On the writer's thread: a batch is on disk.
    pub(super) fn committed(&self, run: RunId, first: Lsn, count: u32) {
        let mut queue = self.queue.lock();
        queue.newest = queue.newest.max(Lsn(first.0 + i64::from(count) - 1));
        let Some(staged) = queue.staged.remove(&run) else { return };
        if queue.is_behind || queue.ready.len() + staged.len() > limits::EVENTS_KEPT_MAX {
            queue.is_behind = true;
        } else {
            queue.ready.extend(staged.into_iter().map(|(index, what)| (Lsn(first.0 + index), what)));
        }
        self.changed.notify_one();
    }

    /// Tells the host at once, outside of the journal's order. What it has no room for is lost.
    pub(super) fn tell(&self, topic: &str, id: &str, at: Timestamp, data: &serde_json::Value) {
        let Some(event) = cloud_event(topic, id.to_owned(), at, data) else { return };
        let told = self.host.publish(&event.topic, &event.payload, &event.id, event.at);
        log::debug!("event {topic}: {told:?}");
    }

    /// Asks the host for the events of a pattern.
    pub(super) fn subscribe(&self, pattern: &str) -> Result<()> {
        self.host.subscribe(pattern)
    }

    /// How far the host was told, as the next process would find it.
    pub(super) fn told(&self) -> Lsn {
        self.queue.lock().saved
    }

    pub(super) fn close(&self) {
        self.queue.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// The thread's work: deliver until closed.
    fn run(&self, store: &Arc<dyn Store>, told: &mut Told) {
        loop {
            let next = self.deliver_next(store, told);
            let mut queue = self.queue.lock();
            match next {
                Next::Go => {}
                Next::Idle if queue.is_closed || queue.is_behind || !queue.ready.is_empty() => {}
                Next::Idle => drop(self.changed.wait_for(&mut queue, CURSOR_EVERY)),
                Next::Later(_) if queue.is_closed => {}
                Next::Later(wait) => drop(self.changed.wait_for(&mut queue, wait)),
                Next::End => return,
            }
        }
    }

    /// Tells the host one thing, or a page of the journal. Waits for nothing.
    pub(super) fn deliver_next(&self, store: &Arc<dyn Store>, told: &mut Told) -> Next {
        let next = match self.next_work() {
            Work::One(lsn, what) => match self.deliver(&what) {
                true => {
                    told.delivered = told.delivered.max(lsn);
                    Next::Go
                }
                false => {
                    let mut queue = self.queue.lock();
                    // At the end it is left to the journal, from which the next start takes it.
                    if queue.is_closed {
                        queue.ready.clear();
                    } else {
                        queue.ready.push_front((lsn, what));
                    }
                    Next::Later(RETRY)
                }
            },
            Work::CatchUp => {
                let (reached, next) = self.catch_up(store, told.delivered);
                told.delivered = told.delivered.max(reached);
                next
            }
            Work::Idle => Next::Idle,
            Work::End => Next::End,
        };
        if told.delivered > told.saved && (next == Next::End || self.queue.lock().ready.is_empty()) {
            told.saved = told.delivered;
            self.save(store, told.saved);
        }
        next
    }

    fn next_work(&self) -> Work {
        let mut queue = self.queue.lock();
        if let Some((lsn, what)) = queue.ready.pop_front() {
            return Work::One(lsn, what);
        }
        match (queue.is_closed, queue.is_behind) {
            (true, _) => Work::End,
            (false, true) => Work::CatchUp,
            (false, false) => Work::Idle,
        }
    }

    /// True when the host has it, or will never have it; false when it has no room.
    fn deliver(&self, what: &Announcement) -> bool {
        match self.publish(what) {
            Published::Sent => {
                self.refused.store(0, Ordering::Relaxed);
                true
            }
            Published::Refused => {
                log::warn!("the host refused event {} on {}", what.id, what.topic);
                true
            }
            Published::Busy => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }

    /// Tries in a row that found the host without room.
    pub(super) fn refused(&self) -> u32 {
        self.refused.load(Ordering::Relaxed)
    }

    fn publish(&self, what: &Announcement) -> Published {
        crate::fault!("host.publish" => return Published::Busy);
        self.host.publish(&what.topic, &what.payload, &what.id, what.at)
    }

    /// Reads what the queue could not hold. How far the host has been told, and what next.
    fn catch_up(&self, store: &Arc<dyn Store>, from: Lsn) -> (Lsn, Next) {
        crate::fault!("outbox.catch_up");
        // Read before the page: what is committed from here on may be missing from it.
        let newest = self.queue.lock().newest;
        let page = match store.journal_after(from, PAGE) {
            Ok(page) => page,
            Err(error) => {
                // Going on without them would move the cursor past what nobody was told.
                return (from, cannot_read(&error));
            }
        };
        let mut told = from;
        for committed in &page {
            let what = match from_journal(store, committed) {
                Ok(what) => what,
                Err(error) => {
                    return (told, cannot_read(&error));
                }
            };
            if what.is_some_and(|what| !self.deliver(&what)) {
                return (told, Next::Later(RETRY));
            }
            told = committed.lsn;
        }
        if page.is_empty() {
            told = told.max(newest);
        }
        let mut queue = self.queue.lock();
        if told >= queue.newest {
            queue.is_behind = false;
        }
        (told, Next::Go)
    }

    fn save(&self, store: &Arc<dyn Store>, lsn: Lsn) {
        crate::fault!("outbox.save" => return);
        let batch = Batch {
            run: RunId::from([0; 16]),
            records: Vec::new(),
            ops: vec![Op::CursorSet { name: CURSOR, lsn }],
            // Lost with a crash, and then some events are told twice, with the same ids.
            ack: Box::new(|_| {}),
        };
        match store.submit(batch) {
            // Whatever is handed to the writer after it finds it there.
            Ok(()) => self.queue.lock().saved = lsn,
            Err(error) => log::debug!("the cursor of the host's bus was not saved: {error}"),
        }
    }
}

enum Work {
    One(Lsn, Announcement),
    CatchUp,
    Idle,
    End,
}

/// What the thread does after one delivery.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Go,
    /// There is nothing to tell.
    Idle,
    /// The host has no room, or the journal cannot be read: the same again after this time.
    Later(Duration),
    End,
}

/// How far the host has been told, and how far the cursor in the store says so.
pub(super) struct Told {
    delivered: Lsn,
    saved: Lsn,
}

impl Runtime {
    /// Where the last process left the host's bus.
    pub(super) fn outbox_left(&self, outbox: &Outbox) -> Result<Told> {
        let newest = self.store.newest_lsn()?;
        let from = self.store.cursor(CURSOR)?.unwrap_or(Lsn(0));
        {
            let mut queue = outbox.queue.lock();
            queue.newest = queue.newest.max(newest);
            queue.saved = from;
        }
        Ok(Told { delivered: from, saved: from })
    }

    /// Starts the thread that tells the host, from where it was left.
    pub(super) fn spawn_outbox(self: &Arc<Self>) -> Result<()> {
        let Some(outbox) = &self.outbox else { return Ok(()) };
        let mut told = self.outbox_left(outbox)?;
        self.spawn_thread("cb-outbox", move |runtime| {
            if let Some(outbox) = &runtime.outbox {
                outbox.run(&runtime.store, &mut told);
            }
        })
    }
}

impl<'a> Subject<'a> {
    fn data(&self, status: &'static str, at: Timestamp) -> RunData<'a> {
        RunData {
            module_id: "chainbot",
            workflow_id: self.workflow,
            workflow_name: self.name,
            execution_id: self.run,
            status,
            duration_ms: at.since(self.created_at).as_millis() as u64,
            steps_completed: self.steps.map(|(completed, _)| completed),
            total_steps: self.steps.map(|(_, total)| total),
            error: None,
            reason: None,
            waiting_for: None,
        }
    }
}

/// The event that a record makes, if it makes one.
fn announcement(subject: &Subject<'_>, record: &Record) -> Option<Announcement> {
    let (topic, status) = match &record.body {
        RecordBody::RunStarted => ("chainbot.workflow.started", "running"),
        RecordBody::RunCompleted { .. } => ("chainbot.workflow.completed", "completed"),
        RecordBody::RunFailed { .. } => ("chainbot.workflow.failed", "failed"),
        RecordBody::RunCancelled { .. } => ("chainbot.workflow.cancelled", "cancelled"),
        RecordBody::StepUncertain { .. } | RecordBody::StepWaiting { wait: Waiting::Approval(_), .. } => {
            ("chainbot.inbox.added", "waiting")
        }
        RecordBody::EventEmitted { topic, data, .. } => {
            return cloud_event(topic, format!("{}-{}", subject.run, record.seq), record.at, &**data);
        }
        _ => return None,
    };
    let mut data = subject.data(status, record.at);
    match &record.body {
        // Told in the batch of what followed, so the count would be that of a later moment.
        RecordBody::RunStarted => data.steps_completed = data.steps_completed.map(|_| 0),
        RecordBody::RunFailed { error, .. } => data.error = Some(error),
        RecordBody::RunCancelled { reason } => data.reason = Some(reason),
        _ => {}
    }
    cloud_event(topic, format!("{}-{}", subject.run, record.seq), record.at, &data)
}

/// The event that a record makes, as triggers see it: topic, id, time and data.
pub(super) fn event_of(
    store: &Arc<dyn Store>,
    committed: &Committed,
) -> Result<Option<(String, String, Timestamp, serde_json::Value)>> {
    Ok(from_journal(store, committed)?.and_then(|made| {
        let mut payload: serde_json::Value = serde_json::from_str(&made.payload).ok()?;
        Some((made.topic, made.id, made.at, payload["data"].take()))
    }))
}

fn from_journal(store: &Arc<dyn Store>, committed: &Committed) -> Result<Option<Announcement>> {
    let is_told = matches!(
        committed.record.body,
        RecordBody::RunStarted
            | RecordBody::RunCompleted { .. }
            | RecordBody::RunFailed { .. }
            | RecordBody::RunCancelled { .. }
            | RecordBody::StepUncertain { .. }
            | RecordBody::StepWaiting { wait: Waiting::Approval(_), .. }
            | RecordBody::EventEmitted { .. }
    );
    if !is_told {
        return Ok(None);
    }
    // Deleted meanwhile, there is nothing to tell of it.
    let Some(row) = store.run(&Scope::All, committed.run)?.map(|stored| stored.row) else { return Ok(None) };
    let subject = Subject {
        run: committed.run,
        workflow: row.workflow,
        name: &row.name,
        created_at: row.created_at,
        steps: None,
    };
    Ok(announcement(&subject, &committed.record))
}

fn cloud_event<D: Serialize>(topic: &str, id: String, at: Timestamp, data: &D) -> Option<Announcement> {
    let event = CloudEvent {
        specversion: "1.0",
        id: &id,
        source: "/chainbot",
        topic,
        time: at,
        datacontenttype: "application/json",
        data,
    };
    match serde_json::to_string(&event) {
        Ok(payload) => Some(Announcement { topic: topic.to_owned(), payload, id, at }),
        Err(error) => {
            log::error!("event {id} on {topic} cannot be told to the host: {error}");
            None
        }
    }
}

/// Nothing is told out of turn: what cannot be read is tried again.
fn cannot_read(error: &Error) -> Next {
    log::error!("events for the host cannot be read and are tried again: {error}");
    Next::Later(READ_AGAIN)
}
