//! One instance: its state, its queues, and what supervisor and host tell each other.
//!
//! Invariants: everything that changes lies behind one `std` lock; `work` wakes the supervisor, `told` wakes whoever waits
//! for it. Calls that are not in the table of states get STATE and change nothing. `health` reads memory only.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chainbot_abi::{Completion, Health, Status, borrow::cut};

use crate::completion::Completions;
use crate::failure::{Failure, QUEUE_FULL, STATE};
use crate::gate::Gate;
use crate::limits::HEALTH_STALE;
use crate::program::{InEvent, InRequest, Program};
use crate::queue::Queue;
use crate::thread::Thread;

/// Where an instance stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Initialized,
    Starting,
    Started,
    Stopping,
    Stopped,
    Failed,
}

impl State {
    /// The word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            State::Initialized => "initialized",
            State::Starting => "starting",
            State::Started => "started",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
            State::Failed => "failed",
        }
    }

    fn number(self) -> u32 {
        match self {
            State::Initialized => Health::STATE_INITIALIZED,
            State::Starting => Health::STATE_STARTING,
            State::Started => Health::STATE_STARTED,
            State::Stopping => Health::STATE_STOPPING,
            State::Stopped => Health::STATE_STOPPED,
            State::Failed => Health::STATE_FAILED,
        }
    }
}

/// What the supervisor tells a control call.
pub enum Report {
    /// Started.
    Up,
    /// Not started; the supervisor leaves.
    Refused(Failure),
    /// The stop's time is over and this is left.
    Left(String),
    /// Stopped; the supervisor leaves.
    Down,
}

/// What the lock protects.
pub struct Inner {
    pub state: State,
    /// A control call is under way.
    pub control: bool,
    pub events: Queue<InEvent>,
    /// Their room is accounted for by the completions.
    pub requests: Vec<(u64, InRequest)>,
    /// A stop was asked for; until when.
    pub stop: Option<Instant>,
    pub report: Option<Report>,
    /// What the supervisor is at, for a stop that times out.
    pub phase: &'static str,
    pub failure: Option<String>,
    pub health: Option<(f64, String, Instant)>,
    pub started: Option<Instant>,
    pub thread: Option<Thread>,
    pub live_threads: u32,
}

/// One instance.
pub struct Instance {
    pub program: Arc<dyn Program>,
    pub gate: Arc<Gate>,
    pub completions: Completions,
    pub panics: AtomicU32,
    inner: Mutex<Inner>,
    pub work: Condvar,
    pub told: Condvar,
}

impl Instance {
    /// An initialized instance.
    pub fn new(program: Arc<dyn Program>, gate: Arc<Gate>) -> Self {
        let bounds = program.queue_bounds();
        let inner = Inner {
            state: State::Initialized,
            control: false,
            events: Queue::new(bounds),
            requests: Vec::new(),
            stop: None,
            report: None,
            phase: "at work",
            failure: None,
            health: None,
            started: None,
            thread: None,
            live_threads: 0,
        };
        Self {
            program,
            gate,
            completions: Completions::new(bounds),
            panics: AtomicU32::new(0),
            inner: Mutex::new(inner),
            work: Condvar::new(),
            told: Condvar::new(),
        }
    }

    /// The lock. Poison is ignored: every critical section leaves the data whole.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a contained panic.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes an event into the queue.
    pub fn push_event(&self, event: InEvent, bytes: usize) -> Result<(), Failure> {
        let mut inner = self.lock();
        inner.expect("handle_event", &[State::Started])?;
        inner.events.push(event, bytes).map_err(|_| queue_full("events"))?;
        self.work.notify_one();
        Ok(())
    }

    /// Takes a request into the queue.
    pub fn push_request(
        &self,
        request: InRequest,
        bytes: usize,
        completion: Completion,
    ) -> Result<(), Failure> {
        let mut inner = self.lock();
        inner.expect("handle_webhook", &[State::Started])?;
        if !self.completions.has_room(bytes) {
            return Err(queue_full("requests"));
        }
        let id = self.completions.open(completion, bytes);
        inner.requests.push((id, request));
        self.work.notify_one();
        Ok(())
    }

    /// Fills all of `out` but its `struct_size`.
    pub fn health(&self, out: &mut Health) {
        let in_flight = self.completions.in_flight();
        let inner = self.lock();
        let (score, detail) = inner.score();
        let detail = cut(&detail, out.detail.len());
        out.state = inner.state.number();
        out.score = if score.is_nan() { 0.0 } else { score.clamp(0.0, 1.0) };
        out.uptime_ms =
            inner.started.map_or(0, |at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX));
        out.in_flight = u32::try_from(in_flight).unwrap_or(u32::MAX);
        out.queue_depth = u32::try_from(inner.events.len() + inner.requests.len()).unwrap_or(u32::MAX);
        out.panics = self.panics.load(Ordering::Relaxed);
        out.live_threads = inner.live_threads;
        out.detail_len = detail.len() as u32;
        out.detail.fill(0);
        out.detail[..detail.len()].copy_from_slice(detail.as_bytes());
    }
}

impl Inner {
    /// STATE, unless the instance is in one of `allowed`.
    pub fn expect(&self, call: &str, allowed: &[State]) -> Result<(), Failure> {
        if allowed.contains(&self.state) {
            return Ok(());
        }
        let words: Vec<_> = allowed.iter().map(|state| state.word()).collect();
        let now = self.state.word();
        let text =
            format!("{call} is not allowed while the instance is {now}, only while {}", words.join(" or "));
        Err(Failure::new(Status::STATE, STATE, text))
    }

    fn score(&self) -> (f64, String) {
        match self.state {
            State::Initialized => (0.5, "not started".to_owned()),
            State::Started => match &self.health {
                Some((_, _, at)) if at.elapsed() > HEALTH_STALE => {
                    let text = format!("the supervisor has not answered for {} s", at.elapsed().as_secs());
                    (0.0, text)
                }
                Some((score, detail, _)) => (*score, detail.clone()),
                None => (0.0, "no check has run yet".to_owned()),
            },
            State::Failed => (0.0, self.failure.clone().unwrap_or_else(|| "failed".to_owned())),
            other => (0.0, other.word().to_owned()),
        }
    }
}

fn queue_full(what: &str) -> Failure {
    let text = format!("the queue of {what} is full; nothing has happened, try again later");
    Failure::new(Status::BUSY, QUEUE_FULL, text)
}
