//! `send`: what comes from outside, and when on the virtual clock.

use std::time::Duration;

use super::Named;
use crate::authoring::reader::{Reader, entry, join};
use crate::error::Pos;
use crate::error::code::definition as code;
use crate::model::document::Node;
use crate::model::{Json, inbox};

/// Something from outside.
#[derive(Clone, Debug)]
pub struct Send {
    /// Where it stands.
    pub pos: Pos,
    /// After the start of the run.
    pub at: Duration,
    /// What it is.
    pub what: Happening,
    /// The step that it is for, where it names one.
    pub step: Option<Named>,
}

/// What comes.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A signal.
    Signal {
        /// Its name.
        name: String,
        /// What it carries.
        data: Json,
    },
    /// An event.
    Event {
        /// Its topic.
        topic: String,
        /// What it carries.
        data: Json,
    },
    /// A person's answer to the step that asks.
    Answer {
        /// One of its choices.
        action: String,
        /// What goes with it.
        data: Json,
        /// Who says so.
        by: Option<String>,
    },
    /// Somebody ends the run.
    Cancel {
        /// Why.
        reason: String,
    },
    /// Somebody holds it.
    Pause,
    /// Somebody lets it go on.
    Resume,
}

/// Keys that say what it is; exactly one of them.
const KINDS: &[&str] = &["signal", "event", "answer", "cancel", "pause", "resume"];
const KEYS: &[&str] =
    &["at", "signal", "event", "answer", "cancel", "pause", "resume", "data", "action", "by"];

/// Reads the list.
pub(super) fn read(reader: &mut Reader, node: &Node, path: &str) -> Vec<Send> {
    let items = reader.list(node, path).unwrap_or_default();
    let read = |(index, item)| one(reader, item, &format!("{path}[{index}]"));
    items.iter().enumerate().filter_map(read).collect()
}

fn one(reader: &mut Reader, node: &Node, path: &str) -> Option<Send> {
    let entries = reader.map(node, path, "`send`", KEYS)?;
    let at = match entry(entries, "at") {
        Some(node) => reader.duration(node, &join(path, "at"))?,
        None => Duration::ZERO,
    };
    let kinds: Vec<&str> = KINDS.iter().copied().filter(|kind| entry(entries, kind).is_some()).collect();
    let [kind] = kinds[..] else {
        let message = "it says once what is sent: `signal`, `event`, `answer`, `cancel`, `pause` or `resume`";
        reader.error(&code::EXCLUSIVE, node.pos, path, message, None);
        return None;
    };
    let value = entry(entries, kind)?;
    let name = |reader: &mut Reader| reader.text(value, &join(path, kind));
    let data = Json::new(entry(entries, "data").map(Node::to_json).unwrap_or_default());
    let mut step = None;
    let what = match kind {
        "signal" => Happening::Signal { name: name(reader)?, data },
        "event" => Happening::Event { topic: name(reader)?, data },
        "cancel" => Happening::Cancel { reason: name(reader)? },
        "pause" => Happening::Pause,
        "resume" => Happening::Resume,
        _ => {
            step = Some(Named { name: name(reader)?, pos: value.pos });
            let text = |reader: &mut Reader, key: &str| {
                entry(entries, key).and_then(|node| reader.text(node, &join(path, key)))
            };
            let action = text(reader, "action").unwrap_or_else(|| inbox::APPROVAL_ACTIONS[0].to_owned());
            Happening::Answer { action, data, by: text(reader, "by") }
        }
    };
    Some(Send { pos: node.pos, at, what, step })
}
