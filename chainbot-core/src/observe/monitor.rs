//! Looks at the machine and the components every so often, says how well it goes, and tells the host when that changes.
//!
//! ```text
//! every interval: system ─┐                       ┌─► report: /health, the host's health
//!                 store ──┼─► trends (hysteresis) ┤
//!                 requests┘                       └─► chainbot.health.changed, once a change
//! ```
//!
//! Invariants: an alert is raised after [`ALERT_LOOKS`] looks in a row at or over its threshold, and cleared after as many
//! below it by a margin, so that a value at the threshold does not flutter; each change is told once; a value that cannot be
//! read raises nothing. The lowest component is the whole: a chain is as strong as that.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};

use super::machine::Machine;
use super::system::{Reading, System};
use crate::env::Env;
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::limits::ALERT_LOOKS;
use crate::meter::Meters;
use crate::port::{AgentState, EventBus, Scope, Store};
use crate::runtime::{Component, announce};
use crate::task::AgentKind;

/// The event of a change.
const TOPIC: &str = "chainbot.health.changed";
/// So far below its threshold, as a part of it, a value must fall before its alert is cleared.
const MARGIN: f64 = 0.05;
/// Requests within one interval below which a rate of errors says nothing.
const REQUESTS_MIN: u64 = 20;
/// A component with a high load works, and somebody should look: still healthy.
const LOADED: f64 = 0.8;
/// A component that will fail if nobody looks.
const STRAINED: f64 = 0.7;
/// A database that does not answer a read.
const UNREADABLE: f64 = 0.3;

/// Agents that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentsSeen {
    /// Those that take tasks.
    pub live: u64,
    /// Of each type, in the order of [`AgentKind::ALL`]: those that take tasks, and those in error.
    pub of: [u64; AgentKind::ALL.len()],
}

/// What the operator decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Between two looks.
    pub every: Duration,
    /// Whether alerts are raised.
    pub is_alerting: bool,
    /// Whether temperature and throttling are looked at.
    pub has_sensors: bool,
    /// Work of the processors.
    pub cpu_percent: f64,
    /// Memory in use.
    pub memory_percent: f64,
    /// Disk in use.
    pub disk_percent: f64,
    /// Answers with 5xx.
    pub error_percent: f64,
    /// Of the processor.
    pub temperature_c: f64,
}

/// What alerts are about, in the order of [`Seen::trends`].
const ALERTS: [(&str, &str, f64); 5] = [
    ("cpu", "%", LOADED),
    ("memory", "%", LOADED),
    ("disk", "%", STRAINED),
    ("errors", "%", STRAINED),
    ("temperature", " °C", STRAINED),
];

/// How well it goes.
#[derive(Clone, Debug, Default)]
pub struct HealthReport {
    /// 0.0 to 1.0.
    pub score: f64,
    /// The component that lowers the score most, and why; `ok` when none does.
    pub detail: String,
    /// Each component, with how long a look at it took where it was asked something.
    pub checks: Vec<(&'static str, Component, Option<Duration>)>,
}

/// Components that others answer for. From memory.
pub type Components = Box<dyn Fn() -> Vec<(&'static str, Component)> + Send + Sync>;

/// What a monitor needs.
pub struct MonitorOptions {
    /// Asked for its open questions, which shows whether it answers.
    pub store: Arc<dyn Store>,
    /// The machine.
    pub system: System,
    /// Where requests are counted.
    pub meters: Arc<Meters>,
    /// What the operator decides.
    pub rules: Rules,
    /// The clock.
    pub env: Env,
    /// Who is told of changes.
    pub bus: Option<Arc<dyn EventBus>>,
    /// What others answer for.
    pub components: Components,
}

/// Watches until it is closed.
pub struct Monitor {
    store: Arc<dyn Store>,
    system: System,
    meters: Arc<Meters>,
    env: Env,
    bus: Option<Arc<dyn EventBus>>,
    components: Components,
    /// A plain lock, held for some instructions; never while something is read or told.
    seen: Mutex<Seen>,
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Seen {
    rules: Rules,
    trends: [Trend; ALERTS.len()],
    /// Answered and failed at the look before.
    requests: (u64, u64),
    /// How long the store took, or why it did not answer.
    database: Option<std::result::Result<Duration, String>>,
    questions: Option<usize>,
    agents: Option<AgentsSeen>,
    cpu_percent: Option<f64>,
    status: Option<&'static str>,
    is_closing: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Trend {
    is_raised: bool,
    /// Looks in a row that speak against `is_raised`.
    against: u32,
    value: Option<f64>,
}

impl Trend {
    /// Takes a look's value; whether the alert changed.
    fn take(&mut self, value: Option<f64>, threshold: f64) -> bool {
        self.value = value;
        let is_over = value.is_some_and(|value| value >= threshold);
        let is_under = value.is_none_or(|value| value < threshold * (1.0 - MARGIN));
        let speaks_against = if self.is_raised { is_under } else { is_over };
        self.against = if speaks_against { self.against + 1 } else { 0 };
        if self.against < ALERT_LOOKS {
            return false;
        }
        (self.is_raised, self.against) = (!self.is_raised, 0);
        true
    }
}

impl Monitor {
    /// Begins to watch. The first look is at once.
    pub fn start(options: MonitorOptions) -> Result<Arc<Self>> {
        let monitor = Self::idle(options);
        let of_thread = monitor.clone();
        let thread = std::thread::Builder::new()
            .name("cb-monitor".to_owned())
            .spawn(move || of_thread.run())
            .map_err(|error| Error::new(&general::INTERNAL, "no thread for the monitor").because(error))?;
        *monitor.thread.lock() = Some(thread);
        Ok(monitor)
    }

    /// Without a thread: whoever calls looks.
    fn idle(options: MonitorOptions) -> Arc<Self> {
        let MonitorOptions { store, system, meters, rules, env, bus, components } = options;
        let seen = Seen {
            rules,
            trends: [Trend::default(); ALERTS.len()],
            requests: meters.requests.totals(),
            database: None,
            questions: None,
            agents: None,
            cpu_percent: None,
            status: None,
            is_closing: false,
        };
        Arc::new(Self {
            store,
            system,
            meters,
            env,
            bus,
            components,
            seen: Mutex::new(seen),
            changed: Condvar::new(),
            thread: Mutex::new(None),
        })
    }

    /// Other rules from here on.
    pub fn set_rules(&self, rules: Rules) {
        let mut seen = self.seen.lock();
        seen.rules = rules;
        if !rules.is_alerting {
            seen.trends = [Trend::default(); ALERTS.len()];
        }
        drop(seen);
        self.changed.notify_all();
    }

    /// The machine as it is now.
    pub fn reading(&self) -> Reading {
        let has_sensors = self.seen.lock().rules.has_sensors;
        self.system.read(has_sensors)
    }

    /// The machine as it is now, for people.
    pub fn machine(&self) -> Machine {
        let cpu_percent = self.seen.lock().cpu_percent;
        self.system.machine(self.reading(), cpu_percent)
    }

    /// The agents at the last look.
    pub fn agents(&self) -> Option<AgentsSeen> {
        self.seen.lock().agents
    }

    /// Questions to people that were open at the last look.
    pub fn open_questions(&self) -> Option<usize> {
        self.seen.lock().questions
    }

    /// How well it goes. From memory.
    pub fn report(&self) -> HealthReport {
        let mut checks: Vec<(&'static str, Component, Option<Duration>)> =
            (self.components)().into_iter().map(|(name, component)| (name, component, None)).collect();
        let seen = self.seen.lock();
        if let Some((_, component, latency)) = checks.iter_mut().find(|(name, _, _)| *name == "database") {
            match &seen.database {
                Some(Ok(took)) => *latency = Some(*took),
                Some(Err(why)) if component.score > UNREADABLE => {
                    *component = Component::new(UNREADABLE, Some(format!("it does not answer: {why}")));
                }
                _ => {}
            }
        }
        checks.push(("system", seen.system(), None));
        drop(seen);
        let lowest = checks.iter().min_by(|(_, a, _), (_, b, _)| a.score.total_cmp(&b.score));
        let (score, detail) = match lowest {
            Some((name, component, _)) if component.score < 1.0 => (
                component.score,
                format!("{name}: {}", component.reason.as_deref().unwrap_or(component.status)),
            ),
            _ => (1.0, "ok".to_owned()),
        };
        HealthReport { score, detail, checks }
    }

    /// Ends the thread.
    pub fn close(&self) {
        self.seen.lock().is_closing = true;
        self.changed.notify_all();
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread of the monitor ended with a panic");
        }
    }

    fn run(&self) {
        loop {
            self.look();
            let mut seen = self.seen.lock();
            if !seen.is_closing {
                let every = seen.rules.every;
                self.changed.wait_for(&mut seen, every);
            }
            if seen.is_closing {
                return;
            }
        }
    }

    /// `None` when they cannot be read, of which the health report tells.
    fn count_agents(&self) -> Option<AgentsSeen> {
        let mut seen = AgentsSeen::default();
        for (kind, state, count) in self.store.agent_counts().ok()? {
            let place = AgentKind::ALL.iter().position(|known| known.as_str() == kind);
            if let Some(place) = place.filter(|_| state != AgentState::Terminated) {
                seen.of[place] += count;
                seen.live += if state == AgentState::Live { count } else { 0 };
            }
        }
        Some(seen)
    }

    /// One look, and word of what changed.
    fn look(&self) {
        let rules = self.seen.lock().rules;
        let reading = self.system.read(rules.has_sensors);
        let cpu = self.system.cpu_percent();
        let begun = self.env.monotonic();
        let questions = self.store.inbox(&Scope::All);
        let took = self.env.monotonic().saturating_sub(begun);
        let agents = self.count_agents();
        let requests = self.meters.requests.totals();
        let changed = {
            let mut seen = self.seen.lock();
            let errors = error_percent(seen.requests, requests);
            seen.requests = requests;
            seen.cpu_percent = cpu;
            seen.agents = agents;
            (seen.database, seen.questions) = match &questions {
                Ok(open) => (Some(Ok(took)), Some(open.len())),
                Err(error) => (Some(Err(error.to_string())), None),
            };
            let values = [
                (cpu, rules.cpu_percent),
                (reading.memory.map(|room| room.used_percent()), rules.memory_percent),
                (reading.disk.map(|room| room.used_percent()), rules.disk_percent),
                (errors, rules.error_percent),
                (reading.temperature_c, rules.temperature_c),
            ];
            let mut changed = Vec::new();
            if rules.is_alerting {
                for (index, (value, threshold)) in values.into_iter().enumerate() {
                    if seen.trends[index].take(value, threshold) {
                        changed.push((index, value, threshold, seen.trends[index].is_raised));
                    }
                }
            }
            changed
        };
        let report = self.report();
        let status = Component::new(report.score, None).status;
        let before = self.seen.lock().status.replace(status);
        for (index, value, threshold, is_raised) in &changed {
            let (alert, unit, _) = ALERTS[*index];
            let state = if *is_raised { "raised" } else { "cleared" };
            log::warn!("alert {state}: {alert}, threshold {threshold}{unit}");
            let alert = json!({ "alert": alert, "state": state, "value": value, "threshold": threshold });
            self.tell(&report, status, &alert);
        }
        if changed.is_empty() && before.is_some_and(|before| before != status) {
            log::warn!("health is {status}: {}", report.detail);
            self.tell(&report, status, &json!({ "before": before }));
        }
    }

    fn tell(&self, report: &HealthReport, status: &str, more: &Value) {
        let mut data =
            json!({ "module": "chainbot", "score": report.score, "status": status, "detail": report.detail });
        for (name, value) in more.as_object().into_iter().flatten() {
            data[name] = value.clone();
        }
        announce(self.bus.as_deref(), &self.env, TOPIC, &data);
    }
}

impl Seen {
    fn system(&self) -> Component {
        let raised: Vec<usize> = (0..ALERTS.len()).filter(|index| self.trends[*index].is_raised).collect();
        let score = raised.iter().map(|index| ALERTS[*index].2).fold(1.0, f64::min);
        let told = raised.iter().map(|index| {
            let (alert, unit, _) = ALERTS[*index];
            self.trends[*index]
                .value
                .map_or_else(|| alert.to_owned(), |value| format!("{alert} {value:.0}{unit}"))
        });
        let told = told.collect::<Vec<_>>().join(", ");
        Component::new(score, (!raised.is_empty()).then_some(told))
    }
}

/// The part of the answers since the look before that were failures of ours.
fn error_percent(before: (u64, u64), now: (u64, u64)) -> Option<f64> {
    let answered = now.0.saturating_sub(before.0);
    (answered >= REQUESTS_MIN).then(|| 100.0 * now.1.saturating_sub(before.1) as f64 / answered as f64)
}

#[cfg(test)]
mod tests;
