//! The figures that are shown: what was counted and how it stands, as Prometheus text, OpenMetrics text or JSON; and how well
//! it goes, as the monitor sees it.
//!
//! Every name that is shown is in one table, and every one of the table is really counted. Reading takes from memory, from
//! `/proc` and `/sys`; nothing waits.

mod lines;
mod log_file;
mod machine;
mod monitor;
mod process;
pub mod system;
mod table;
mod text;
mod trace;

use serde_json::{Map, Value, json};

use crate::meter::{Buckets, Meters, STEP_TYPES, TOKEN_KINDS};
use crate::runtime::Handle;
use crate::task::AgentKind;
use crate::time::Timestamp;

pub use lines::{Line, Lines, note};
pub use log_file::{LogFile, LogFileOptions};
pub use machine::{Folder, Machine};
pub use monitor::{AgentsSeen, Components, HealthReport, Monitor, MonitorOptions, Rules};
pub use table::{NAMES, Name, page};
pub use text::Dialect;
pub use trace::{TraceOptions, Traces};

/// What a family of figures is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// May go up and down.
    Gauge,
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Values by size.
    Histogram,
}

impl Kind {
    /// As the text forms say it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        }
    }
}

/// One figure: the values of its family's labels, in their order, and what was counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// One a label.
    pub labels: Vec<String>,
    /// What was counted.
    pub value: Counted,
}

/// What was counted.
#[derive(Clone, Debug, PartialEq)]
pub enum Counted {
    /// A number.
    Number(f64),
    /// Values by size.
    Sizes(Buckets),
}

/// Figures of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its row of the table.
    pub name: &'static Name,
    /// At least one.
    pub figures: Vec<Figure>,
}

/// All figures at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(Vec<Family>);

/// Where figures come from.
pub struct Sources<'a> {
    /// Runs and effects.
    pub handle: &'a Handle,
    /// What was counted.
    pub meters: &'a Meters,
    /// Health and the machine.
    pub monitor: &'a Monitor,
    /// Connections to the database: in use, and all.
    pub connections: (usize, usize),
    /// When the newest backup was begun.
    pub backup: Option<Timestamp>,
    /// WebSockets that are open.
    pub sockets: usize,
    /// Since the start.
    pub uptime_s: f64,
}

/// Figures by name, as they are taken.
#[derive(Default)]
struct Taking(Vec<(&'static str, Figure)>);

impl Taking {
    fn put(&mut self, name: &'static str, labels: &[&str], value: Counted) {
        self.0
            .push((name, Figure { labels: labels.iter().map(|label| (*label).to_owned()).collect(), value }));
    }

    fn one(&mut self, name: &'static str, value: f64) {
        self.put(name, &[], Counted::Number(value));
    }

    fn maybe(&mut self, name: &'static str, value: Option<f64>) {
        if let Some(value) = value {
            self.one(name, value);
        }
    }

    fn by(&mut self, name: &'static str, label: &str, value: f64) {
        self.put(name, &[label], Counted::Number(value));
    }

    fn sizes(&mut self, name: &'static str, sizes: Buckets) {
        self.put(name, &[], Counted::Sizes(sizes));
    }

    /// In the order of the table; a name that is not in it is not shown, which a test would notice.
    fn finish(self) -> Metrics {
        let family = |name: &'static Name| {
            let figures: Vec<Figure> =
                self.0.iter().filter(|(of, _)| *of == name.name).map(|(_, figure)| figure.clone()).collect();
            (!figures.is_empty()).then_some(Family { name, figures })
        };
        Metrics(NAMES.iter().filter_map(family).collect())
    }
}

impl Metrics {
    /// Takes them.
    pub fn take(sources: &Sources<'_>) -> Self {
        let mut taking = Taking::default();
        taking.health(sources);
        taking.runs(sources);
        taking.journal(sources.meters);
        taking.models(sources.meters);
        taking.requests(sources.meters);
        taking.machine(sources.monitor);
        process::take(&mut taking);
        taking.finish()
    }

    /// By name, in the order in which they are shown.
    pub fn families(&self) -> &[Family] {
        &self.0
    }

    /// As text for a scraper.
    pub fn text(&self, dialect: Dialect) -> String {
        text::render(&self.0, dialect)
    }

    /// As JSON: a number a name, an object where there are several, sum, count and buckets of a histogram.
    pub fn to_json(&self) -> Value {
        let all = self.0.iter().map(|family| (family.name.name.to_owned(), family_json(family)));
        Value::Object(all.collect())
    }
}

impl Taking {
    fn health(&mut self, sources: &Sources<'_>) {
        let report = sources.monitor.report();
        self.one("chainbot_health_score", report.score);
        for (name, component, _) in &report.checks {
            self.by("chainbot_component_health_score", name, component.score);
        }
        self.one("chainbot_uptime_seconds", sources.uptime_s);
        self.one("chainbot_websocket_connections_active", sources.sockets as f64);
        self.one("chainbot_database_connections_active", sources.connections.0 as f64);
        self.one("chainbot_database_connections_max", sources.connections.1 as f64);
        let begun = sources.backup.map(|at| at.0 as f64 / 1_000.0);
        self.maybe("chainbot_backup_last_success_timestamp_seconds", begun);
        self.maybe("chainbot_inbox_open", sources.monitor.open_questions().map(|open| open as f64));
        if let Some(agents) = sources.monitor.agents() {
            self.one("chainbot_agents_active", agents.live as f64);
            for (kind, count) in AgentKind::ALL.iter().zip(agents.of) {
                self.by("chainbot_agents_total", kind.as_str(), count as f64);
            }
        }
        self.one("chainbot_agent_spawns_failed_total", sources.meters.agent_spawns_failed.get() as f64);
    }

    fn runs(&mut self, sources: &Sources<'_>) {
        let (counts, meters) = (sources.handle.counts(), sources.meters);
        self.one("chainbot_workflows_active", (counts.running + counts.waiting) as f64);
        for (state, count) in
            [("running", counts.running), ("queued", counts.queued), ("waiting", counts.waiting)]
        {
            self.by("chainbot_runs", state, count as f64);
        }
        let ended = [
            ("completed", &meters.runs_completed),
            ("failed", &meters.runs_failed),
            ("cancelled", &meters.runs_cancelled),
        ];
        for (status, count) in ended {
            self.by("chainbot_workflow_executions_total", status, count.get() as f64);
        }
        self.one("chainbot_effects_active", counts.effects as f64);
        self.one("chainbot_effects_total", meters.effects.get() as f64);
        for (step_type, histogram) in STEP_TYPES.iter().zip(&meters.step_time) {
            self.put("chainbot_step_duration_seconds", &[step_type], Counted::Sizes(histogram.get()));
        }
        self.one("chainbot_threads_lost", counts.written_off as f64);
    }

    fn models(&mut self, meters: &Meters) {
        for ((provider, model), counts) in meters.models.get() {
            let number = |count: u64| Counted::Number(count as f64);
            for (outcome, count) in &counts.calls {
                self.put("chainbot_model_calls_total", &[&provider, &model, outcome], number(*count));
            }
            for (kind, count) in TOKEN_KINDS.iter().zip(counts.tokens) {
                self.put("chainbot_model_tokens_total", &[&provider, &model, kind], number(count));
            }
            let of = [provider.as_str(), model.as_str()];
            let cost = counts.cost_micros as f64 / 1e6;
            self.put("chainbot_model_cost_total", &of, Counted::Number(cost));
            self.put("chainbot_model_fallbacks_total", &of, number(counts.fallbacks));
            self.put("chainbot_model_choices_ignored_total", &of, number(counts.choices_ignored));
        }
        self.sizes("chainbot_model_call_duration_seconds", meters.models.time.get());
    }

    fn journal(&mut self, meters: &Meters) {
        self.sizes("chainbot_journal_commit_seconds", meters.commit_time.get());
        self.sizes("chainbot_journal_batch_records", meters.commit_records.get());
        self.one("chainbot_journal_records_total", meters.journal_records.get() as f64);
        self.one("chainbot_journal_bytes_total", meters.journal_bytes.get() as f64);
        self.sizes("chainbot_timer_lateness_seconds", meters.timer_lateness.get());
        self.one("chainbot_bus_gaps_total", meters.bus_gaps.get() as f64);
    }

    fn requests(&mut self, meters: &Meters) {
        for (method, route, status, count) in meters.requests.get() {
            let labels = [method, route.as_ref(), &status.to_string()];
            self.put("http_requests_total", &labels, Counted::Number(count as f64));
        }
        self.sizes("http_request_duration_seconds", meters.request_time.get());
    }

    fn machine(&mut self, monitor: &Monitor) {
        let reading = monitor.reading();
        self.maybe("chainbot_temperature_celsius", reading.temperature_c);
        if let Some(bits) = reading.throttled {
            for (bit, flag) in system::THROTTLE_FLAGS {
                self.by("chainbot_throttled", flag, f64::from(bits >> bit & 1));
            }
        }
        self.maybe("chainbot_memory_available_bytes", reading.memory.map(|room| room.free as f64));
        self.maybe("chainbot_disk_free_bytes", reading.disk.map(|room| room.free as f64));
    }
}

fn family_json(family: &Family) -> Value {
    let mut labelled = Map::new();
    for figure in &family.figures {
        let value = match &figure.value {
            Counted::Number(value) => json!(value),
            Counted::Sizes(sizes) => {
                let buckets: Map<String, Value> =
                    sizes.counts.iter().map(|(bound, count)| (bound.to_string(), json!(count))).collect();
                json!({ "count": sizes.count, "sum": sizes.sum, "buckets": buckets })
            }
        };
        if figure.labels.is_empty() {
            return value;
        }
        labelled.insert(figure.labels.join(" "), value);
    }
    Value::Object(labelled)
}
