//! Every name that is shown, with what it is, its labels and what it means: the text forms, the JSON and
//! `docs/metrics.md` come from here.
//!
//! Names are a promise: dashboards and alerts are written against them. One is added, never changed. Label values come from
//! fixed sets: a route is a path with its names in braces, never what somebody called.

use super::Kind::{self, Counter, Gauge, Histogram};

/// A family of figures.
#[derive(Debug, PartialEq, Eq)]
pub struct Name {
    /// As dashboards know it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// One line for people.
    pub help: &'static str,
}

const fn name(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Name {
    Name { name, kind, labels, help }
}

/// All of them, in the order in which they are shown.
pub const NAMES: &[Name] = &[
    name("chainbot_health_score", Gauge, &[], "Health from 0 to 1; the lowest component."),
    name("chainbot_component_health_score", Gauge, &["component"], "Health of each component."),
    name("chainbot_uptime_seconds", Gauge, &[], "Since the module started."),
    name("chainbot_workflows_active", Gauge, &[], "Runs at work or waiting."),
    name("chainbot_runs", Gauge, &["state"], "Runs that are not over, by what they do."),
    name(
        "chainbot_workflow_executions_total",
        Counter,
        &["status"],
        "Runs that ended since the start, by how.",
    ),
    name("chainbot_inbox_open", Gauge, &[], "Questions to people that are open, at the monitor's last look."),
    name("chainbot_agents_active", Gauge, &[], "Agents that take tasks, at the monitor's last look."),
    name(
        "chainbot_agents_total",
        Gauge,
        &["type"],
        "Agents that are not terminated, those in error included, at the monitor's last look.",
    ),
    name(
        "chainbot_agent_spawns_failed_total",
        Counter,
        &[],
        "Agents that were not made since the start, for whatever reason.",
    ),
    name("chainbot_websocket_connections_active", Gauge, &[], "WebSockets that are open."),
    name("chainbot_effects_active", Gauge, &[], "Effects under way."),
    name("chainbot_effects_total", Counter, &[], "Effects begun since the start."),
    name(
        "chainbot_step_duration_seconds",
        Histogram,
        &["type"],
        "One attempt of a step that reaches outside.",
    ),
    name(
        "chainbot_model_calls_total",
        Counter,
        &["provider", "model", "outcome"],
        "Requests to models since the start, every try; `ok` or the class of the error.",
    ),
    name(
        "chainbot_model_tokens_total",
        Counter,
        &["provider", "model", "kind"],
        "Tokens of models since the start: `input` without what was `cached`, and `output`.",
    ),
    name(
        "chainbot_model_cost_total",
        Counter,
        &["provider", "model"],
        "What models cost since the start, in the currency of their prices.",
    ),
    name(
        "chainbot_model_fallbacks_total",
        Counter,
        &["provider", "model"],
        "How often another model was asked in the place of this one.",
    ),
    name(
        "chainbot_model_choices_ignored_total",
        Counter,
        &["provider", "model"],
        "How often a server ignored that a tool must be called, and was held to a schema.",
    ),
    name(
        "chainbot_model_call_duration_seconds",
        Histogram,
        &[],
        "One request to a model, to the end of its answer.",
    ),
    name("chainbot_threads_lost", Gauge, &[], "Threads given up to expressions that did not end."),
    name("chainbot_journal_commit_seconds", Histogram, &[], "One transaction, until it is on disk."),
    name("chainbot_journal_batch_records", Histogram, &[], "Records of one transaction."),
    name("chainbot_journal_records_total", Counter, &[], "Records committed since the start."),
    name(
        "chainbot_journal_bytes_total",
        Counter,
        &[],
        "Bytes of records and rows committed since the start.",
    ),
    name(
        "chainbot_timer_lateness_seconds",
        Histogram,
        &[],
        "How long after its moment a timer woke its run.",
    ),
    name("chainbot_bus_gaps_total", Counter, &[], "Records that a slow listener read from the journal."),
    name(
        "chainbot_database_connections_active",
        Gauge,
        &[],
        "Connections to the database in use; one of them writes.",
    ),
    name("chainbot_database_connections_max", Gauge, &[], "Connections to the database that there are."),
    name(
        "chainbot_backup_last_success_timestamp_seconds",
        Gauge,
        &[],
        "When the newest whole backup was begun; absent without one.",
    ),
    name(
        "http_requests_total",
        Counter,
        &["method", "route", "status"],
        "Requests that were answered; route `none` matched no path.",
    ),
    name(
        "http_request_duration_seconds",
        Histogram,
        &[],
        "From the head of a request to the head of its answer.",
    ),
    name("chainbot_temperature_celsius", Gauge, &[], "Of the processor; absent where there is no sensor."),
    name(
        "chainbot_throttled",
        Gauge,
        &["flag"],
        "1 where the firmware says so, now or since boot; absent but on a Pi.",
    ),
    name("chainbot_memory_available_bytes", Gauge, &[], "Memory of the machine that could be had."),
    name("chainbot_disk_free_bytes", Gauge, &[], "Room on the disk of the data folder."),
    name(
        "chainbot_disk_written_bytes_total",
        Counter,
        &[],
        "Bytes that this process had written to disks, its host's included.",
    ),
    name("process_cpu_seconds_total", Counter, &[], "Time of processors that this process took."),
    name("process_resident_memory_bytes", Gauge, &[], "Memory of the process that is in RAM."),
    name("process_virtual_memory_bytes", Gauge, &[], "Addresses that the process has reserved."),
    name("process_threads", Gauge, &[], "Threads of the process."),
    name("process_open_fds", Gauge, &[], "Open descriptors of the process."),
    name("process_max_fds", Gauge, &[], "Descriptors that the process may have open."),
    name("process_start_time_seconds", Gauge, &[], "When the process began, since the Unix epoch."),
];

/// The table of `docs/metrics.md`.
pub fn page() -> String {
    let mut out = String::from("| name | kind | labels | what |\n|---|---|---|---|\n");
    for Name { name, kind, labels, help } in NAMES {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        out.push_str(&format!("| `{name}` | {} | {} | {help} |\n", kind.word(), labels.join(", ")));
    }
    out
}
