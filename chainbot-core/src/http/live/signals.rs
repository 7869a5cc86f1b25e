//! What no journal holds, as events: what the host's bus is told besides runs, changes of workflows, health, the log.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Live;
use super::agent::of_agent;
use super::event::Event;
use crate::error::Result;
use crate::observe::Line;
use crate::port::{EventBus, Published};
use crate::time::Timestamp;

/// Who may read the log.
pub const LOG: &str = "chainbot:admin";
/// Beginnings of what the host's bus is told and no journal holds.
const OUTSIDE: [&str; 5] =
    ["chainbot.workflow.", "chainbot.agent.", "chainbot.message.", "chainbot.backup.", "chainbot.module."];
/// What of it the journal does hold: those who listen to runs have it from there.
const OF_RUNS: [&str; 5] = ["started", "completed", "failed", "cancelled", "waiting"];

/// Tells the host, and whoever listens, what the host is told.
pub struct Tee {
    /// The host.
    pub host: Arc<dyn EventBus>,
    /// Who listens.
    pub live: Arc<Live>,
}

impl EventBus for Tee {
    fn publish(&self, topic: &str, payload: &str, id: &str, at: Timestamp) -> Published {
        if OUTSIDE.iter().any(|prefix| topic.starts_with(prefix)) && !is_of_a_run(topic) {
            self.live.signal(|| of_the_bus(topic, payload, at));
        }
        self.host.publish(topic, payload, id, at)
    }

    fn subscribe(&self, pattern: &str) -> Result<()> {
        self.host.subscribe(pattern)
    }
}

fn is_of_a_run(topic: &str) -> bool {
    topic.strip_prefix("chainbot.workflow.").is_some_and(|word| OF_RUNS.contains(&word))
}

fn of_the_bus(topic: &str, payload: &str, at: Timestamp) -> Event {
    // What is published is our own JSON, so this reads it.
    let mut payload: Value = serde_json::from_str(payload).unwrap_or_default();
    let data = payload["data"].take();
    let word = topic.strip_prefix("chainbot.").unwrap_or(topic);
    if word.starts_with("agent.")
        && let Some(event) = of_agent(at, data.clone())
    {
        return event;
    }
    let name = data["workflow_name"].as_str().map(str::to_owned);
    let topic = match (word.strip_prefix("workflow."), name) {
        (Some("skipped"), Some(name)) => format!("trigger.{name}.skipped"),
        (Some(word), Some(name)) => format!("workflow.{name}.{word}"),
        _ => word.to_owned(),
    };
    let is_ones = !["backup.", "module."].iter().any(|own| word.starts_with(own));
    let mut event = Event::signal(topic, word.to_owned(), at, data);
    event.needs_all = is_ones;
    event
}

/// A definition was made, changed or deleted.
pub fn of_workflow(name: &str, id: &str, version: Option<u32>, word: &'static str, at: Timestamp) -> Event {
    let data = json!({ "workflow": name, "workflow_id": id, "version": version });
    let mut event = Event::signal(format!("workflow.{name}.{word}"), format!("workflow.{word}"), at, data);
    event.needs_all = true;
    event
}

/// What somebody emitted by hand.
pub fn of_emitted(topic: &str, data: &Value, id: &str, at: Timestamp) -> Event {
    Event::signal(format!("event.{topic}"), "event", at, json!({ "topic": topic, "data": data, "id": id }))
}

/// A line of the log.
pub fn of_line(line: &Line) -> Event {
    let mut event = Event::signal(format!("log.{}", word(line.level)), "log", line.at, line_json(line));
    event.need = LOG;
    event
}

/// A line as readers get it.
pub fn line_json(line: &Line) -> Value {
    json!({
        "seq": line.seq, "time": line.at, "level": word(line.level), "target": line.target, "message": line.text,
    })
}

fn word(level: log::Level) -> &'static str {
    match level {
        log::Level::Error => "error",
        log::Level::Warn => "warn",
        log::Level::Info => "info",
        log::Level::Debug => "debug",
        log::Level::Trace => "trace",
    }
}

/// The health report says something else than before.
pub fn of_health(status: &str, score: f64, detail: &str, at: Timestamp) -> Event {
    let data = json!({ "status": status, "health_score": score, "detail": detail });
    Event::signal("health".to_owned(), "health.changed", at, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_bus_is_told_has_a_topic_of_its_own() {
        let payload = json!({ "data": { "workflow_name": "greet", "status": "enabled" } }).to_string();
        let of = |topic: &str| of_the_bus(topic, &payload, Timestamp(0)).topic;
        assert_eq!(of("chainbot.workflow.enabled"), "workflow.greet.enabled");
        assert_eq!(of("chainbot.workflow.skipped"), "trigger.greet.skipped");
        assert_eq!(of("chainbot.backup.completed"), "backup.completed");
        assert!(is_of_a_run("chainbot.workflow.started") && !is_of_a_run("chainbot.workflow.enabled"));
    }
}
