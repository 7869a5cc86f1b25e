//! `expect`: what must come of a case. What is not said is not looked at, but for the status, which is `completed`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::Named;
use crate::authoring::reader::{Reader, entry, join};
use crate::error::Pos;
use crate::error::code::definition as code;
use crate::model::document::{Node, NodeValue};
use crate::model::{RunStatus, StepStatus};

/// What must come of a case.
#[derive(Debug, Default)]
pub struct Expect {
    /// How the run stands at the end.
    pub status: Option<(RunStatus, Pos)>,
    /// Its result, exactly.
    pub output: Option<Node>,
    /// Why it failed.
    pub error: Option<ErrorIs>,
    /// Every step that began, in that order, and how it stands.
    pub path: Option<(Vec<Stood>, Pos)>,
    /// Every step that stands so, in order of their beginning: by status.
    pub standing: Vec<(StepStatus, Vec<Named>, Pos)>,
    /// Steps that are not in the run at all.
    pub not_run: Vec<Named>,
    /// By step: how often it called, or with what.
    pub calls: Vec<(Named, Node)>,
    /// Every event, in order.
    pub events: Option<(Vec<EventIs>, Pos)>,
    /// Variables, each exactly.
    pub variables: Option<BTreeMap<String, Node>>,
    /// From start to end on the virtual clock.
    pub duration: Option<(Duration, Pos)>,
}

/// A step and how it stands.
#[derive(Debug)]
pub struct Stood {
    /// Which.
    pub step: Named,
    /// How.
    pub status: StepStatus,
}

/// What an error must be like.
#[derive(Debug)]
pub struct ErrorIs {
    /// Where.
    pub pos: Pos,
    /// Its class.
    pub class: Option<String>,
    /// Its code.
    pub code: Option<String>,
    /// A part of its message.
    pub contains: Option<String>,
}

/// What an event must be like.
#[derive(Debug)]
pub struct EventIs {
    /// Where.
    pub pos: Pos,
    /// Its topic.
    pub topic: String,
    /// Its data, as far as given.
    pub data: Option<Value>,
}

const KEYS: &[&str] = &[
    "status",
    "output",
    "error",
    "path",
    "completed",
    "skipped",
    "failed",
    "cancelled",
    "not_run",
    "calls",
    "events",
    "variables",
    "duration",
];
const STATUSES: &[&str] = &["pending", "running", "waiting", "completed", "failed", "skipped", "cancelled"];

impl Expect {
    /// Every step that is named.
    pub fn steps(&self) -> impl Iterator<Item = &Named> {
        let path = self.path.iter().flat_map(|(steps, _)| steps.iter().map(|stood| &stood.step));
        let standing = self.standing.iter().flat_map(|(_, steps, _)| steps);
        path.chain(standing).chain(&self.not_run).chain(self.calls.iter().map(|(step, _)| step))
    }
}

/// Reads what is expected.
pub(super) fn read(reader: &mut Reader, node: &Node, path: &str) -> Expect {
    let mut expect = Expect::default();
    for (key, _, node) in reader.map(node, path, "`expect`", KEYS).into_iter().flatten() {
        let path = join(path, key);
        match key.as_str() {
            "status" => expect.status = run_status(reader, node, &path).map(|status| (status, node.pos)),
            "output" => expect.output = Some(node.clone()),
            "error" => expect.error = error(reader, node, &path),
            "path" => expect.path = Some((stood(reader, node, &path), node.pos)),
            "not_run" => expect.not_run = names(reader, node, &path),
            "calls" => expect.calls = calls(reader, node, &path),
            "events" => expect.events = Some((events(reader, node, &path), node.pos)),
            "variables" => {
                let entries = reader.open_map(node, &path).unwrap_or_default();
                let variables = entries.iter().map(|(name, _, value)| (name.clone(), value.clone()));
                expect.variables = Some(variables.collect());
            }
            "duration" => expect.duration = reader.duration(node, &path).map(|time| (time, node.pos)),
            status => {
                if let Some(status) = step_status(status) {
                    expect.standing.push((status, names(reader, node, &path), node.pos));
                }
            }
        }
    }
    expect
}

fn run_status(reader: &mut Reader, node: &Node, path: &str) -> Option<RunStatus> {
    const WORDS: &[&str] = &["waiting", "paused", "completed", "failed", "cancelled"];
    let word = reader.word(node, path, WORDS)?;
    RunStatus::ALL.into_iter().find(|status| status.as_str() == word)
}

fn step_status(word: &str) -> Option<StepStatus> {
    use StepStatus::{Cancelled, Completed, Failed, Pending, Running, Skipped, Waiting};
    [Pending, Running, Waiting, Completed, Failed, Skipped, Cancelled]
        .into_iter()
        .find(|status| status.as_str() == word)
}

fn names(reader: &mut Reader, node: &Node, path: &str) -> Vec<Named> {
    let items = reader.list(node, path).unwrap_or_default();
    let read = |item: &Node| Some(Named { name: reader.text(item, path)?, pos: item.pos });
    items.iter().filter_map(read).collect()
}

/// `fetch`, or `fetch: skipped`.
fn stood(reader: &mut Reader, node: &Node, path: &str) -> Vec<Stood> {
    let mut all = Vec::new();
    for item in reader.list(node, path).unwrap_or_default() {
        match &item.value {
            NodeValue::String(name) => {
                let step = Named { name: name.clone(), pos: item.pos };
                all.push(Stood { step, status: StepStatus::Completed });
            }
            NodeValue::Map(entries) if entries.len() == 1 => {
                let (name, pos, status) = &entries[0];
                let step = Named { name: name.clone(), pos: *pos };
                if let Some(status) = reader.word(status, &join(path, name), STATUSES).and_then(step_status) {
                    all.push(Stood { step, status });
                }
            }
            _ => {
                let hint = Some("write `- fetch` or `- fetch: skipped`".to_owned());
                reader.error(&code::WRONG_TYPE, item.pos, path, "this is not a step", hint);
            }
        }
    }
    all
}

fn error(reader: &mut Reader, node: &Node, path: &str) -> Option<ErrorIs> {
    let entries = reader.map(node, path, "`error`", &["class", "code", "contains"])?;
    let mut text = |key: &str| entry(entries, key).and_then(|node| reader.text(node, &join(path, key)));
    Some(ErrorIs { pos: node.pos, class: text("class"), code: text("code"), contains: text("contains") })
}

fn calls(reader: &mut Reader, node: &Node, path: &str) -> Vec<(Named, Node)> {
    let mut calls = Vec::new();
    for (name, pos, node) in reader.open_map(node, path).into_iter().flatten() {
        match &node.value {
            NodeValue::Number(number) if number.is_u64() => {}
            NodeValue::List(_) => {}
            _ => {
                let wanted = "how often it called, or a list with what each call was given";
                reader.wrong_type(node, &join(path, name), wanted);
                continue;
            }
        }
        calls.push((Named { name: name.clone(), pos: *pos }, node.clone()));
    }
    calls
}

fn events(reader: &mut Reader, node: &Node, path: &str) -> Vec<EventIs> {
    let mut events = Vec::new();
    for (index, item) in reader.list(node, path).unwrap_or_default().iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(entries) = reader.map(item, &path, "an event", &["topic", "data"]) else { continue };
        let topic = reader.required(entries, "topic", (item.pos, &path, "an event"));
        let Some(topic) = topic.and_then(|node| reader.text(node, &join(&path, "topic"))) else { continue };
        events.push(EventIs { pos: item.pos, topic, data: entry(entries, "data").map(Node::to_json) });
    }
    events
}
