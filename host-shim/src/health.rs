//! Reads the module's health and prints a line when it changes.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use chainbot_abi::Health;
use serde_json::{Value, json};

use crate::current::Current;
use crate::error::{Error, Result, code};
use crate::instance::Instance;
use crate::logging;
use crate::module::HealthNow;
use crate::wire::state_name;

/// Prints changes of health, whoever reads it.
#[derive(Default)]
pub struct Reporter {
    /// The last line printed. Held while a line is queued, so that two readers cannot print out of order.
    last: Mutex<Option<String>>,
}

impl Reporter {
    /// Reads the health, prints a line if state, label or detail changed, and gives what was read.
    pub fn observe(&self, instance: &Instance) -> Option<HealthNow> {
        let health = match instance.health() {
            Ok(health) => health,
            Err(error) => {
                self.print(
                    format!("health unknown: {error}"),
                    json!({"error": error.to_string()}),
                    String::new(),
                );
                return None;
            }
        };
        let (key, line) = lines(&health);
        self.print(key, document(&health), line);
        Some(health)
    }

    fn print(&self, key: String, fields: Value, line: String) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_deref() != Some(key.as_str()) {
            logging::notice(if line.is_empty() { &key } else { &line }, fields);
            *last = Some(key);
        }
    }
}

/// What makes a change, and the line that is printed for it. The score is printed but is no change by itself:
/// it wavers, and its label says when it matters.
fn lines(health: &HealthNow) -> (String, String) {
    let state = state_name(health.state);
    let label = Health::label(health.score);
    let detail = if health.detail.is_empty() { String::new() } else { format!(" - {}", health.detail) };
    (format!("{state} {label}{detail}"), format!("health: {state}, {label} {:.2}{detail}", health.score))
}

/// Health as JSON, for the ingress and for JSON logs.
pub fn document(health: &HealthNow) -> Value {
    json!({
        "state": state_name(health.state),
        "label": Health::label(health.score),
        "score": health.score,
        "detail": health.detail,
        "uptime_ms": health.uptime_ms,
        "in_flight": health.in_flight,
        "queue_depth": health.queue_depth,
        "panics": health.panics,
        "live_threads": health.live_threads,
    })
}

/// The thread that reads the health.
pub struct Poller {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Poller {
    /// Reads the health every `interval`; calls `failed` once for a version whose state is failed.
    pub fn start(
        current: Arc<Current>,
        reporter: Arc<Reporter>,
        interval: Duration,
        failed: impl Fn(u64, String) + Send + 'static,
    ) -> Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("health".to_owned())
            .spawn(move || poll(&current, &reporter, interval, &stopped, failed))
            .map_err(|error| {
                Error::new(code::HOST_SETUP, format!("the health thread cannot start: {error}"))
            })?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread if it returns by itself; a module that blocks in `health` keeps it, which the instance's gate
    /// then reports.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.is_finished() && self.thread.join().is_err() {
            log::error!("the health thread panicked");
        }
    }
}

fn poll(
    current: &Current,
    reporter: &Reporter,
    interval: Duration,
    stopped: &Receiver<()>,
    failed: impl Fn(u64, String),
) {
    let mut told = 0;
    loop {
        let version = current.get();
        if let Some(health) = reporter.observe(&version.instance)
            && health.state == Health::STATE_FAILED
            && told != version.number
        {
            told = version.number;
            failed(version.number, health.detail);
        }
        match stopped.recv_timeout(interval) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(state: u32, score: f64, detail: &str) -> HealthNow {
        HealthNow {
            state,
            score,
            uptime_ms: 0,
            in_flight: 0,
            queue_depth: 0,
            panics: 0,
            live_threads: 0,
            detail: detail.to_owned(),
        }
    }

    #[test]
    fn a_change_is_one_of_state_label_or_detail_but_not_of_score() {
        let base = health(Health::STATE_STARTED, 0.95, "ok");
        let key = |health: &HealthNow| lines(health).0;
        assert_eq!(key(&base), key(&HealthNow { score: 0.85, ..base.clone() }));
        assert_eq!(key(&base), key(&HealthNow { uptime_ms: 5, ..base.clone() }));
        for other in [
            health(Health::STATE_DRAINING, 0.95, "ok"),
            health(Health::STATE_STARTED, 0.7, "ok"),
            health(Health::STATE_STARTED, 0.95, "disk"),
        ] {
            assert_ne!(key(&base), key(&other));
        }
        assert_eq!(lines(&base).1, "health: started, healthy 0.95 - ok");
    }

    #[test]
    fn a_score_that_is_not_a_number_is_unhealthy() {
        assert!(lines(&health(Health::STATE_STARTED, f64::NAN, "")).1.contains("unhealthy"));
    }
}
