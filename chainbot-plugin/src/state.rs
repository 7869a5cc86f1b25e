//! One instance: its state, its queues, and what supervisor and host tell each other.
//!
//! Invariants: everything that changes lies behind one `std` lock; `work` wakes the supervisor, `told` wakes whoever waits
//! for it. Calls that are not in the table of states get STATE and change nothing. `health` reads memory only.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chainbot_abi::{Completion, Health, Status, borrow::cut};

use crate::completion::Completions;
use crate::failure::{DRAINING, Failure, QUEUE_FULL, STATE};
use crate::gate::Gate;
use crate::limits::HEALTH_STALE;
use crate::program::{InEvent, InRequest, Program, Running};
use crate::queue::Queue;
use crate::thread::Thread;

/// Where an instance stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Initialized,
    Starting,
    Started,
    Draining,
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
            State::Draining => "draining",
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
            State::Draining => Health::STATE_DRAINING,
            State::Stopping => Health::STATE_STOPPING,
            State::Stopped => Health::STATE_STOPPED,
            State::Failed => Health::STATE_FAILED,
        }
    }
}

/// How the work of a supervisor is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// In the time there is; what is not done by then is given up.
    Stop,
    /// Nothing is given up: the next version goes on with it.
    Drain,
    /// Not at all: back to work.
    Resume,
}

/// What the supervisor tells a control call.
pub enum Report {
    /// Started, or at work again.
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
    /// An end was asked for; until when.
    pub stop: Option<Instant>,
    /// Which end.
    pub ending: Ending,
    /// While draining: store and port are let go and the supervisor is gone.
    pub is_drained: bool,
    /// What runs, for a change of the configuration.
    pub running: Option<Arc<dyn Running>>,
    /// The figures at the last look, and the text of the configuration.
    pub metrics: String,
    pub config: String,
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
            ending: Ending::Stop,
            is_drained: false,
            running: None,
            metrics: String::new(),
            config: String::new(),
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

    /// Keeps the text of the configuration for calls that may not wait. On a thread of the module.
    pub fn keep_config(&self) {
        let text = self.program.config();
        self.lock().config = text;
    }

    /// Counts a contained panic.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes an event into the queue.
    pub fn push_event(&self, event: InEvent, bytes: usize) -> Result<(), Failure> {
        let mut inner = self.lock();
        inner.expect_work("handle_event")?;
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
        inner.expect_work("handle_webhook")?;
        if !self.completions.has_room(bytes) {
            return Err(queue_full("requests"));
        }
        let id = self.completions.open(completion, bytes);
        inner.requests.push((id, request));
        self.work.notify_one();
        Ok(())
    }

    /// OpenMetrics text: what this layer knows at this moment, and what the core counted at the last look.
    pub fn metrics(&self) -> String {
        let in_flight = self.completions.in_flight();
        let panics = self.panics.load(Ordering::Relaxed);
        let inner = self.lock();
        let (score, _) = inner.score();
        let mut text = inner.metrics.clone();
        if text.is_empty() {
            // Not at work: the core has nothing to say, and the score is this layer's.
            text = format!(
                "# HELP chainbot_health_score Health from 0 to 1; the lowest component.\n\
                 # TYPE chainbot_health_score gauge\nchainbot_health_score {score}\n"
            );
        }
        let own = [
            (
                "state",
                "gauge",
                "",
                f64::from(inner.state.number()),
                "State of the instance, as the ABI numbers it.",
            ),
            ("events_queued", "gauge", "", inner.events.len() as f64, "Events of the host that wait."),
            ("requests_queued", "gauge", "", inner.requests.len() as f64, "Requests of the host that wait."),
            ("requests_in_flight", "gauge", "", in_flight as f64, "Requests of the host without an answer."),
            ("threads", "gauge", "", f64::from(inner.live_threads), "Threads of the runtime."),
            ("panics", "counter", "_total", f64::from(panics), "Panics contained since initialize."),
        ];
        drop(inner);
        for (name, kind, suffix, value, help) in own {
            let name = format!("chainbot_module_{name}");
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{suffix} {value}\n"));
        }
        text.push_str("# EOF\n");
        text
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

    /// BUSY while draining, so that the host keeps its work for the next version; else as [`Inner::expect`].
    fn expect_work(&self, call: &str) -> Result<(), Failure> {
        if self.state == State::Draining {
            let text = format!(
                "{call}: the instance hands over to another version; nothing has happened, try again"
            );
            return Err(Failure::new(Status::BUSY, DRAINING, text));
        }
        self.expect(call, &[State::Started])
    }

    fn score(&self) -> (f64, String) {
        match self.state {
            State::Initialized => (0.5, "not started".to_owned()),
            State::Draining => {
                let before = self.health.as_ref().map_or(0.5, |(score, _, _)| *score);
                let detail = if self.is_drained { "drained" } else { self.phase };
                (before.min(0.5), detail.to_owned())
            }
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
