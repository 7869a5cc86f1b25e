//! The windows of the previous system: its frames, told from the same events.
//!
//! A frame is `{type, window_type, timestamp, data}` both ways; the first is `window_open`. What a window is for decides what it hears without
//! asking; executions, workflows and agents are asked for one by one. Frames have no place in the journal: an old
//! client that comes back asks for the state instead.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::dialect::{Dialect, Said, Stand, Wish};
use super::event::Event;
use super::topics::Topics;
use crate::auth::Who;
use crate::error::code::{general, live as code};
use crate::error::{Error, Result};
use crate::http::body::{Fields, Media};
use crate::http::request::printable;
use crate::http::suggest;
use crate::id::Lsn;
use crate::time::Timestamp;

/// A name of an execution, a workflow or an agent.
const NAME_BYTES_MAX: usize = 128;
/// What a client may ask for.
const TYPES: [&str; 8] = [
    "subscribe_execution",
    "unsubscribe_execution",
    "subscribe_workflow",
    "unsubscribe_workflow",
    "subscribe_agent",
    "unsubscribe_agent",
    "window_focus",
    "ping",
];

/// Which window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Agents and their states.
    AgentMap,
    /// Talking to an assistant.
    Chat,
    /// Everything at a glance.
    Watchtower,
    /// Workflows and their runs.
    WorkflowBuilder,
    /// Chats of elsewhere.
    DataImporter,
}

impl Window {
    /// All of them, as they stand in a path and in a frame.
    const ALL: [(Window, &str, &str); 5] = [
        (Window::AgentMap, "agent-map", "agent_map"),
        (Window::Chat, "chat", "chat"),
        (Window::Watchtower, "watchtower", "watchtower"),
        (Window::WorkflowBuilder, "workflow-builder", "workflow_builder"),
        (Window::DataImporter, "data-importer", "data_importer"),
    ];

    /// By its name in a path.
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|(_, path, _)| *path == name).map(|(window, ..)| window);
        found.ok_or_else(|| {
            let names = Self::ALL.map(|(_, path, _)| path);
            Error::new(&code::WINDOW, format!("there is no window `{}`", printable(name)))
                .help(suggest::hint(name, &names))
        })
    }

    fn word(self) -> &'static str {
        Self::ALL.into_iter().find(|(window, ..)| *window == self).map_or("", |(_, _, word)| word)
    }

    /// What it hears without asking.
    fn topics(self) -> &'static [&'static str] {
        match self {
            Window::Watchtower => &["notification", "inbox.added", "workflow.*.run", "health", "log.#"],
            Window::WorkflowBuilder => &["notification", "workflow.*.run"],
            Window::AgentMap => &["notification", "agent.*.status", "agent.*.task"],
            Window::Chat | Window::DataImporter => &["notification"],
        }
    }

    fn capabilities(self) -> &'static [&'static str] {
        match self {
            Window::Watchtower => &["real_time_monitoring", "workflow_orchestration"],
            Window::WorkflowBuilder => &["workflow_orchestration", "real_time_monitoring"],
            Window::AgentMap | Window::Chat => &["agent_management", "real_time_monitoring"],
            Window::DataImporter => &["real_time_monitoring"],
        }
    }
}

/// What is spoken in a window.
pub struct Old {
    window: Window,
    connection: String,
    own: Topics,
    runs: Topics,
    /// By id or name.
    workflows: Vec<String>,
    /// By id or name.
    agents: Vec<String>,
}

impl Old {
    /// Of a window that opens.
    pub fn new(window: Window, connection: String) -> Self {
        let mut own = Topics::default();
        // The patterns are constants, and a test adds them all.
        let _ = own.add(window.topics().iter().map(|topic| (*topic).to_owned()).collect(), None);
        Self { window, connection, own, runs: Topics::default(), workflows: Vec::new(), agents: Vec::new() }
    }

    fn frame(&self, kind: &str, at: Timestamp, data: &Value) -> Utf8Bytes {
        json!({ "type": kind, "window_type": self.window.word(), "timestamp": at, "data": data })
            .to_string()
            .into()
    }

    fn wants_workflow(&self, event: &Event) -> bool {
        let is =
            |key: &str, name: &String| event.data.get(key).and_then(Value::as_str) == Some(name.as_str());
        event.topic.starts_with("workflow.")
            && self.workflows.iter().any(|name| is("workflow_id", name) || is("workflow", name))
    }

    fn wants_agent(&self, event: &Event) -> bool {
        let is =
            |key: &str, name: &String| event.data.get(key).and_then(Value::as_str) == Some(name.as_str());
        ["agent.task", "agent.status"].contains(&event.kind.as_ref())
            && self
                .agents
                .iter()
                .any(|name| ["agent_id", "agent", "agent_name"].iter().any(|key| is(key, name)))
    }

    /// Does what a client asks for of one execution, workflow or agent.
    fn ask(&mut self, verb: &str, what: &str, id: String) -> Result<()> {
        let is_new = verb == "subscribe";
        match what {
            "execution" => {
                let id =
                    id.parse::<crate::id::RunId>().map_err(|_| missing("execution_id", "is no run's id"))?;
                let topics = vec![format!("run.{id}"), format!("run.{id}.step.*")];
                if is_new { self.runs.add(topics, None)? } else { self.runs.remove(&topics) }
            }
            _ => {
                let names = if what == "workflow" { &mut self.workflows } else { &mut self.agents };
                names.retain(|name| *name != id);
                if is_new && names.len() >= crate::limits::TOPICS_MAX {
                    return Err(Error::new(
                        &code::TOPIC,
                        format!("as many {what}s are subscribed to as may be"),
                    )
                    .help("unsubscribe from some"));
                }
                if is_new {
                    names.push(id);
                }
            }
        }
        Ok(())
    }
}

fn missing(name: &str, what: &str) -> Error {
    Error::new(&general::FIELD, format!("`data.{name}` {what}")).help("give it as text")
}

impl Dialect for Old {
    fn welcome(&self, who: &Who, _: u64) -> Said {
        let data = json!({
            "connection_id": self.connection, "window_type": self.window.word(),
            "capabilities": self.window.capabilities(), "user": who.name,
        });
        Said { kind: "window_open", data }
    }

    fn listens_at_once(&self) -> bool {
        true
    }

    fn hear(&mut self, text: &str, _: Stand) -> Result<Wish> {
        let known = ["type", "window_type", "timestamp", "data", "execution_id", "workflow_id", "agent_id"];
        let mut fields = Fields::parse(Some(Media::Json), text.as_bytes(), &known)?;
        let kind = fields.needed("type", NAME_BYTES_MAX)?;
        let data = fields.object("data")?.unwrap_or_default();
        let Some(kind) = TYPES.into_iter().find(|known| *known == kind) else {
            return Err(Error::new(&code::FRAME, format!("there is no `{}`", printable(&kind)))
                .help(suggest::hint(&kind, &TYPES)));
        };
        let said = |kind, data| Ok(Wish::Answer(Said { kind, data }));
        match kind.split_once('_') {
            Some((verb @ ("subscribe" | "unsubscribe"), what)) => {
                let key = format!("{what}_id");
                // Clients send it in `data`, and some beside it. Ids of the previous system were numbers.
                let id = match data.get(&key).cloned().unwrap_or_else(|| fields.any(&key)) {
                    Value::String(id) if id.len() <= NAME_BYTES_MAX => id,
                    Value::Number(id) => id.to_string(),
                    _ => return Err(missing(&key, "is missing, or is no text")),
                };
                self.ask(verb, what, id.clone())?;
                said(if verb == "subscribe" { "subscribed" } else { "unsubscribed" }, json!({ key: id }))
            }
            Some(_) => said("window_focus", json!({})),
            None => said("pong", json!({})),
        }
    }

    fn say(&self, said: &Said, _: Option<Lsn>, now: Timestamp) -> Utf8Bytes {
        self.frame(said.kind, now, &said.data)
    }

    fn wants(&self, event: &Event) -> bool {
        self.own.want(event) || self.runs.want(event) || self.wants_workflow(event) || self.wants_agent(event)
    }

    fn tell(&self, event: &Event, _: bool) -> Utf8Bytes {
        let (kind, data) = in_old_words(event);
        self.frame(kind, event.at, &data)
    }
}

/// An event as the previous system told it.
fn in_old_words(event: &Event) -> (&'static str, Value) {
    let get = |key: &str| event.data.get(key).cloned().unwrap_or(Value::Null);
    let first = event.topic.split('.').next().unwrap_or_default();
    let what = event.data.get("event").and_then(Value::as_str).unwrap_or_default();
    match (first, &*event.kind) {
        ("run" | "workflow", "run.state") => {
            let kind = match (first, what) {
                ("run", "run.started") => "workflow_execution_started",
                ("run", _) => "workflow_execution_updated",
                (_, "run.started") => "workflow_start",
                (_, "run.completed") => "workflow_complete",
                (_, "run.failed") => "workflow_error",
                _ => "workflow_update",
            };
            let data = json!({
                "execution_id": get("run"), "workflow_id": get("workflow_id"), "workflow_name": get("workflow"),
                "status": get("status"), "current_step": get("step"), "timestamp": event.at,
            });
            (kind, data)
        }
        ("run", kind) => {
            let status = match kind {
                "step.completed" => "completed",
                "step.failed" => "failed",
                "step.skipped" => "skipped",
                "step.cancelled" => "cancelled",
                "step.waiting" | "step.uncertain" => "waiting",
                _ => "running",
            };
            let data = json!({
                "execution_id": get("run"), "step_id": get("step"), "status": status, "results": get("output"),
                "error": get("error"), "timestamp": event.at,
            });
            ("workflow_step_updated", data)
        }
        ("agent", "agent.task") if what_of(event) == Some("completed") => {
            let data = json!({
                "agent_id": get("agent_id"), "agent_name": get("agent"), "response": get("result"),
                "execution_id": get("run"), "timestamp": event.at,
            });
            ("agent_response", data)
        }
        ("agent", "agent.task") => {
            let status = match what_of(event) {
                Some("pending" | "running") => "working",
                Some("paused") => "waiting",
                _ => "idle",
            };
            let data = json!({
                "agent_id": get("agent_id"), "agent_name": get("agent"), "status": status, "task": get("task"),
                "execution_id": get("run"), "error": get("error"), "timestamp": event.at,
            });
            ("agent_status_update", data)
        }
        ("agent", _) => {
            let kind = match what_of(event) {
                Some("terminated") => "agent_kill",
                Some("idle") => "agent_spawn",
                _ => "agent_status_update",
            };
            (kind, event.data.clone())
        }
        ("log", _) => ("log_update", event.data.clone()),
        ("health", _) => ("alert", event.data.clone()),
        _ => ("notification", event.data.clone()),
    }
}

fn what_of(event: &Event) -> Option<&str> {
    event.data.get("status").and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_told_in_old_words_to_who_subscribed_by_id_or_name() {
        let task = |status: &str| {
            let data = json!({ "agent": "butler", "agent_id": "7", "run": "r", "status": status, "result": "Done." });
            Event::signal("agent.7.task".to_owned(), "agent.task", Timestamp(0), data)
        };
        let mut chat = Old::new(Window::Chat, "c".to_owned());
        assert!(!chat.wants(&task("completed")));
        for name in ["7", "butler"] {
            chat.ask("subscribe", "agent", name.to_owned()).unwrap();
            assert!(chat.wants(&task("completed")), "{name}");
            chat.ask("unsubscribe", "agent", name.to_owned()).unwrap();
            assert!(!chat.wants(&task("completed")), "{name}");
        }
        let told = |event: &Event| {
            let (kind, data) = in_old_words(event);
            (kind, data["status"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(told(&task("running")), ("agent_status_update", "working".to_owned()));
        assert_eq!(in_old_words(&task("completed")).1["response"], "Done.");
        let ended = json!({ "agent_id": "7", "agent_name": "butler", "status": "terminated" });
        let ended = Event::signal("agent.7.status".to_owned(), "agent.status", Timestamp(0), ended);
        assert_eq!(told(&ended).0, "agent_kill");
        assert!(Old::new(Window::AgentMap, "c".to_owned()).wants(&ended));
    }

    #[test]
    fn every_window_opens_with_what_it_hears_and_code_windows_are_gone() {
        for (window, path, _) in Window::ALL {
            assert_eq!(Window::named(path).unwrap(), window);
            assert_eq!(Old::new(window, "c".to_owned()).own.names(), window.topics());
        }
        for name in ["code-agent", "agent_map", "", "watchtowe"] {
            assert_eq!(Window::named(name).unwrap_err().code().id, "CB-0829");
        }
        assert_eq!(Window::named("watchtowe").unwrap_err().remedy(), Some("did you mean `watchtower`?"));
    }
}
