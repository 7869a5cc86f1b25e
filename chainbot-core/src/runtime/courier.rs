//! The courier: sends messages that steps left in the outbox, outside of any run.
//!
//! A message is a row that came with the completion of its step; in memory there is only when each is due. Invariants: a
//! row is marked after its try and never before, so a crash between the two sends it again, with the same id; one try of
//! a message at a time; a receiver that asks for patience is left alone with all that is for it. Messages of one receiver
//! are sent in the order in which they are due, which a failed try changes.

mod people;
mod schedule;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

use crate::engine::program::EffectKind;
use crate::error::Result;
use crate::limits;
use crate::model::EffectKey;
use crate::port::{MessageKind, MessageState, Op, OutboxRoom, PendingMessage, Scope, StoredMessage};
use crate::step::Effect;
use crate::time::Timestamp;

use super::core::Runtime;
use schedule::{Tried, judge};

/// How often the clock is looked at while something is due later: one that is set tells nobody.
const LOOK: Duration = Duration::from_secs(1);
/// After an error of the store that does not end it: a full disk.
const AGAIN: Duration = Duration::from_secs(5);

/// What there is to send.
pub(super) struct Courier {
    state: Mutex<State>,
    changed: Notify,
    slots: Arc<Semaphore>,
    closing: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    due: BTreeSet<(Timestamp, EffectKey)>,
    pending: HashMap<EffectKey, PendingMessage>,
    /// Being sent, or in the hands of a person.
    taken: HashSet<EffectKey>,
    /// Receivers that are left alone, and until when.
    resting: HashMap<String, Timestamp>,
    /// Of all that is pending, and of what is on its way to the disk.
    rows: usize,
    bytes: usize,
}

/// What to do next.
enum Next {
    Send(EffectKey),
    Wait(Option<Duration>),
}

impl State {
    fn count(&mut self, bytes: usize) {
        self.rows += 1;
        self.bytes += bytes;
    }

    fn uncount(&mut self, bytes: usize) {
        self.rows = self.rows.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Puts in one that is counted.
    fn put(&mut self, message: PendingMessage) {
        if let Some(before) = self.pending.remove(&message.id) {
            self.due.remove(&(before.due, before.id));
            self.uncount(before.bytes);
        }
        self.due.insert((message.due, message.id));
        self.pending.insert(message.id, message);
    }

    /// One that is not to be sent any more.
    fn forget(&mut self, id: EffectKey) {
        if let Some(message) = self.pending.remove(&id) {
            self.due.remove(&(message.due, id));
            self.uncount(message.bytes);
        }
    }

    fn next(&mut self, now: Timestamp) -> Next {
        self.resting.retain(|_, until| *until > now);
        let mut soonest: Option<Timestamp> = None;
        for (due, id) in &self.due {
            if self.taken.contains(id) {
                continue;
            }
            let target = self.pending.get(id).map(|message| receiver(&message.target));
            let rests = target.and_then(|target| self.resting.get(target)).copied();
            let at = rests.map_or(*due, |until| until.max(*due));
            if at <= now {
                let id = *id;
                self.taken.insert(id);
                return Next::Send(id);
            }
            soonest = Some(soonest.map_or(at, |other| other.min(at)));
            // What follows is due no earlier, and this one decides how long to wait.
            if *due > now {
                break;
            }
        }
        Next::Wait(soonest.map(|at| at.since(now)))
    }
}

impl Courier {
    pub(super) fn new(pending: Vec<PendingMessage>) -> Self {
        let mut state = State::default();
        for message in pending {
            state.count(message.bytes);
            state.put(message);
        }
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            slots: Arc::new(Semaphore::new(limits::OUTBOX_SENDS_MAX)),
            closing: watch::Sender::new(false),
            task: Mutex::default(),
        }
    }

    /// How many more are taken. Decisions of several workers at one instant may together take some more.
    pub(super) fn room(&self) -> OutboxRoom {
        let state = self.state.lock();
        OutboxRoom {
            rows: limits::OUTBOX_ROWS_MAX.saturating_sub(state.rows),
            bytes: limits::OUTBOX_BYTES_MAX.saturating_sub(state.bytes),
        }
    }

    /// Counts the messages of a batch that goes to the writer.
    pub(super) fn leaving(&self, ops: &[Op]) -> Vec<PendingMessage> {
        let messages: Vec<PendingMessage> = ops
            .iter()
            .filter_map(|op| match op {
                Op::OutboxPut(message) => Some(PendingMessage {
                    id: message.id,
                    due: message.at,
                    target: message.target.clone(),
                    bytes: message.bytes(),
                }),
                _ => None,
            })
            .collect();
        if !messages.is_empty() {
            let mut state = self.state.lock();
            messages.iter().for_each(|message| state.count(message.bytes));
        }
        messages
    }

    /// They are on disk.
    pub(super) fn made(&self, messages: Vec<PendingMessage>) {
        if messages.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        messages.into_iter().for_each(|message| state.put(message));
        drop(state);
        self.changed.notify_one();
    }

    /// They never will be.
    pub(super) fn lost(&self, messages: &[PendingMessage]) {
        let mut state = self.state.lock();
        messages.iter().for_each(|message| state.uncount(message.bytes));
    }

    /// Messages that are to be sent.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().pending.len()
    }

    /// Begins nothing more; what is under way is the stop's to wait for.
    pub(super) async fn close(&self) {
        self.closing.send_replace(true);
        let task = self.task.lock().take();
        if let Some(task) = task {
            // Cut short with the tokio runtime, it has ended as well.
            let _ = task.await;
        }
    }
}

/// What rests together: the server of a URL, or a channel.
fn receiver(target: &str) -> &str {
    match target.find("://") {
        Some(scheme) => {
            let host = &target[scheme + 3..];
            &target[..scheme + 3 + host.find('/').unwrap_or(host.len())]
        }
        None => target,
    }
}

impl Runtime {
    pub(super) fn spawn_courier(self: &Arc<Self>) {
        let runtime = self.clone();
        // Ended and awaited by `stop`.
        let task = self.tokio.spawn(async move {
            let mut closing = runtime.courier.closing.subscribe();
            tokio::select! {
                _ = closing.wait_for(|closing| *closing) => {}
                () = runtime.carry() => {}
            }
        });
        *self.courier.task.lock() = Some(task);
    }

    async fn carry(self: &Arc<Self>) {
        loop {
            // A place first, so that whoever is taken is sent at once.
            let Ok(place) = self.courier.slots.clone().acquire_owned().await else { return };
            let now = self.env.now();
            let next = match now < self.clock_floor() || self.is_stopping.load(Ordering::SeqCst) {
                // A Pi boots without a clock; a stop begins nothing.
                true => Next::Wait(Some(LOOK)),
                false => self.courier.state.lock().next(now),
            };
            match next {
                Next::Send(id) => self.send(id, place),
                Next::Wait(time) => {
                    drop(place);
                    let changed = self.courier.changed.notified();
                    match time {
                        None => changed.await,
                        // Whichever comes first; nothing is lost by either.
                        Some(time) => drop(tokio::time::timeout(time.min(LOOK), changed).await),
                    }
                }
            }
        }
    }

    fn send(self: &Arc<Self>, id: EffectKey, place: OwnedSemaphorePermit) {
        let runtime = self.clone();
        // Counted among the effects, so that a stop gives it its time.
        self.effects_running.fetch_add(1, Ordering::SeqCst);
        let running = super::effects::Running(self.clone());
        // Ends by itself within the time of a try, or with the tokio runtime at stop.
        self.tokio.spawn(async move {
            let (_running, _place) = (running, place);
            if let Err(error) = runtime.try_send(id).await {
                log::warn!("message {id} is tried again: {error}");
                runtime.courier.later(id, runtime.env.now().after(AGAIN));
            }
            runtime.courier.state.lock().taken.remove(&id);
            runtime.courier.changed.notify_one();
        });
    }

    /// One try, and what came of it on the disk.
    async fn try_send(self: &Arc<Self>, id: EffectKey) -> Result<()> {
        let Some(stored) = self.read(move |runtime| runtime.store.outbox_message(&Scope::All, id)).await?
        else {
            self.courier.state.lock().forget(id);
            return Ok(());
        };
        if stored.state != MessageState::Pending {
            self.courier.state.lock().forget(id);
            return Ok(());
        }
        let attempt = stored.attempts.saturating_add(1);
        let run = stored.message.run;
        let owner = self.read(move |runtime| Ok(runtime.owner_of_run(run))).await?;
        let effect = Effect {
            kind: match stored.message.kind {
                MessageKind::Webhook => EffectKind::Webhook,
                MessageKind::Channel => EffectKind::Channel,
            },
            input: stored.message.input.clone(),
            key: id,
            attempt,
            run,
            owner,
            shared: None,
            timeout: Some(Duration::from_secs(limits::OUTBOX_TRY_S_MAX)),
        };
        let outcome = self.executors.execute(effect).await;
        let random = u64::from_le_bytes(self.env.bytes());
        let tried = judge(&stored, attempt, outcome, self.env.now(), random);
        self.write(vec![Op::OutboxMark(tried.mark.clone())]).await?;
        self.settled(&stored, &tried);
        Ok(())
    }

    /// The mark is on disk.
    fn settled(&self, stored: &StoredMessage, tried: &Tried) {
        let mark = &tried.mark;
        {
            let mut state = self.courier.state.lock();
            if let Some(until) = tried.rest_until {
                let rest = state.resting.entry(receiver(&stored.message.target).to_owned()).or_insert(until);
                *rest = until.max(*rest);
            }
            match mark.state {
                MessageState::Pending => state.move_to(mark.id, mark.at),
                MessageState::Delivered | MessageState::Dead => state.forget(mark.id),
            }
        }
        if mark.state == MessageState::Dead {
            let why = mark.error.as_deref().unwrap_or_default();
            let target = &stored.message.target;
            log::error!("message {} to {target} was given up after {} tries: {why}", mark.id, mark.attempts);
            self.tell(
                "chainbot.message.dead",
                &json!({
                    "module_id": "chainbot", "message_id": mark.id.to_string(), "kind": stored.message.kind,
                    "target": target, "execution_id": stored.message.run, "step_id": stored.message.step,
                    "attempts": mark.attempts, "error": why,
                }),
            );
        }
    }
}

impl State {
    fn move_to(&mut self, id: EffectKey, due: Timestamp) {
        if let Some(message) = self.pending.get_mut(&id) {
            self.due.remove(&(message.due, id));
            message.due = due;
            self.due.insert((due, id));
        }
    }
}

impl Courier {
    fn later(&self, id: EffectKey, due: Timestamp) {
        self.state.lock().move_to(id, due);
    }

    /// Looks at the clock now, and not at the next look.
    #[cfg(test)]
    pub(super) fn look(&self) {
        self.changed.notify_one();
    }

    /// Whether somebody sends it, or has it in his hands.
    #[cfg(test)]
    pub(super) fn is_taken(&self, id: EffectKey) -> bool {
        self.state.lock().taken.contains(&id)
    }

    /// Takes no more.
    #[cfg(test)]
    pub(super) fn fill(&self) {
        self.state.lock().rows = limits::OUTBOX_ROWS_MAX;
    }
}
