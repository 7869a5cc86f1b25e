//! The figures that are shown: what was counted and how it stands, as Prometheus text, OpenMetrics text or JSON.
//!
//! Names are a promise: dashboards and alerts are written against them. A name is added, never changed, and every
//! one that is shown is really counted. Reading takes from memory and from `/proc/self`; nothing waits.

mod lines;
mod process;
mod text;

use serde_json::{Map, Value, json};

use crate::meter::{Buckets, Meters};
use crate::runtime::Handle;

pub use lines::{Line, Lines, note};
pub use text::Dialect;

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

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    /// A number, with a label and its value where the family has several.
    Number(Option<(&'static str, &'static str)>, f64),
    /// Values by size.
    Sizes(Buckets),
}

/// Figures of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// As dashboards know it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// One line for people.
    pub help: &'static str,
    /// At least one.
    pub figures: Vec<Figure>,
}

/// All figures at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(Vec<Family>);

impl Metrics {
    /// Takes them. `score`: of the health report; `uptime_s`: since the start; `sockets`: WebSockets that are open.
    pub fn take(handle: &Handle, meters: &Meters, score: f64, uptime_s: f64, sockets: usize) -> Self {
        use Kind::{Counter, Gauge, Histogram};
        let counts = handle.counts();
        let one = |value: f64| vec![Figure::Number(None, value)];
        let by = |label: &'static str, values: &[(&'static str, f64)]| {
            values.iter().map(|(name, value)| Figure::Number(Some((label, name)), *value)).collect::<Vec<_>>()
        };
        let components: Vec<(&'static str, f64)> =
            handle.components().into_iter().map(|(name, component)| (name, component.score)).collect();
        let ended = [
            ("completed", meters.runs_completed.get() as f64),
            ("failed", meters.runs_failed.get() as f64),
            ("cancelled", meters.runs_cancelled.get() as f64),
        ];
        let runs = [
            ("running", counts.running as f64),
            ("queued", counts.queued as f64),
            ("waiting", counts.waiting as f64),
        ];
        let mut families = vec![
            family("chainbot_health_score", Gauge, "Health from 0 to 1; the lowest component.", one(score)),
            family(
                "chainbot_component_health_score",
                Gauge,
                "Health of each component.",
                by("component", &components),
            ),
            family("chainbot_uptime_seconds", Gauge, "Since the module started.", one(uptime_s)),
            family(
                "chainbot_workflows_active",
                Gauge,
                "Runs at work or waiting.",
                one((counts.running + counts.waiting) as f64),
            ),
            family("chainbot_runs", Gauge, "Runs that are not over, by what they do.", by("state", &runs)),
            family(
                "chainbot_workflow_executions_total",
                Counter,
                "Runs that ended since the start, by how.",
                by("status", &ended),
            ),
            family(
                "chainbot_websocket_connections_active",
                Gauge,
                "WebSockets that are open.",
                one(sockets as f64),
            ),
            family("chainbot_effects_active", Gauge, "Effects under way.", one(counts.effects as f64)),
            family(
                "chainbot_effects_total",
                Counter,
                "Effects begun since the start.",
                one(meters.effects.get() as f64),
            ),
            family(
                "chainbot_threads_lost",
                Gauge,
                "Threads given up to expressions that did not end.",
                one(counts.written_off as f64),
            ),
            family(
                "chainbot_journal_commit_seconds",
                Histogram,
                "One transaction, until it is on disk.",
                vec![Figure::Sizes(meters.commit_time.get())],
            ),
            family(
                "chainbot_journal_batch_records",
                Histogram,
                "Records of one transaction.",
                vec![Figure::Sizes(meters.commit_records.get())],
            ),
            family(
                "chainbot_journal_records_total",
                Counter,
                "Records committed since the start.",
                one(meters.journal_records.get() as f64),
            ),
            family(
                "chainbot_journal_bytes_total",
                Counter,
                "Bytes of records and rows committed since the start.",
                one(meters.journal_bytes.get() as f64),
            ),
            family(
                "chainbot_timer_lateness_seconds",
                Histogram,
                "How long after its moment a timer woke its run.",
                vec![Figure::Sizes(meters.timer_lateness.get())],
            ),
            family(
                "chainbot_bus_gaps_total",
                Counter,
                "Records that a slow listener read from the journal.",
                one(meters.bus_gaps.get() as f64),
            ),
        ];
        families.extend(process::families());
        Self(families)
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
        let all = self.0.iter().map(|family| (family.name.to_owned(), family_json(family)));
        Value::Object(all.collect())
    }
}

fn family(name: &'static str, kind: Kind, help: &'static str, figures: Vec<Figure>) -> Family {
    Family { name, kind, help, figures }
}

fn family_json(family: &Family) -> Value {
    let mut labelled = Map::new();
    for figure in &family.figures {
        match figure {
            Figure::Number(None, value) => return json!(value),
            Figure::Number(Some((_, label)), value) => {
                labelled.insert((*label).to_owned(), json!(value));
            }
            Figure::Sizes(sizes) => {
                let buckets: Map<String, Value> =
                    sizes.counts.iter().map(|(bound, count)| (bound.to_string(), json!(count))).collect();
                return json!({ "count": sizes.count, "sum": sizes.sum, "buckets": buckets });
            }
        }
    }
    Value::Object(labelled)
}
