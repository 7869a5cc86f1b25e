//! `mocks`: what steps get that would call out. One reply holds for every call; a list is used up in order.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::authoring::reader::{Reader, entry, join};
use crate::error::code::{definition as code, run};
use crate::error::{Code, Pos};
use crate::model::document::{Node, NodeValue};
use crate::model::{StepError, class};

/// The replies of one step.
#[derive(Clone, Debug)]
pub struct Mock {
    /// Where it stands.
    pub pos: Pos,
    /// In order.
    pub replies: Vec<Reply>,
    /// The only reply is that of every call.
    pub repeats: bool,
}

/// What one call gets.
#[derive(Clone, Debug)]
pub struct Reply {
    /// An output, or why there is none.
    pub result: Result<Value, StepError>,
    /// How long it takes.
    pub delay: Duration,
    /// When the other side wants to be asked again.
    pub retry_after: Option<Duration>,
}

const REPLY_KEYS: &[&str] = &["output", "error", "delay"];
const ERROR_KEYS: &[&str] = &["class", "message", "code", "retry_after"];
/// Classes of error that a call may end with.
const CLASSES: &[&str] = &[
    class::TIMEOUT,
    class::CONNECT,
    class::CUT,
    class::HTTP_429,
    class::HTTP_4XX,
    class::HTTP_5XX,
    class::HTTP_STATUS,
    class::LIMIT,
    class::EGRESS,
    class::INVALID,
    class::UNCERTAIN,
    class::CHILD,
    class::CANCELLED,
    "rate_limited",
    "overloaded",
    "model_invalid",
];

/// Reads all mocks of a case or file.
pub(super) fn read(reader: &mut Reader, node: &Node, path: &str) -> BTreeMap<String, Mock> {
    let mut mocks = BTreeMap::new();
    for (name, pos, node) in reader.open_map(node, path).into_iter().flatten() {
        let path = join(path, name);
        let (replies, repeats) = match &node.value {
            NodeValue::List(items) => {
                if items.is_empty() {
                    let hint = Some("write one reply for each call".to_owned());
                    reader.error(&code::RANGE, node.pos, &path, "the list of replies is empty", hint);
                }
                let read = |(index, item)| reply(reader, item, &format!("{path}[{index}]"));
                (items.iter().enumerate().filter_map(read).collect(), false)
            }
            _ => (reply(reader, node, &path).into_iter().collect(), true),
        };
        mocks.insert(name.clone(), Mock { pos: *pos, replies, repeats });
    }
    mocks
}

fn reply(reader: &mut Reader, node: &Node, path: &str) -> Option<Reply> {
    let entries = reader.map(node, path, "a mock", REPLY_KEYS)?;
    let delay = entry(entries, "delay").and_then(|node| reader.duration(node, &join(path, "delay")));
    let (mut retry_after, delay) = (None, delay.unwrap_or_default());
    let result = match (entry(entries, "output"), entry(entries, "error")) {
        (Some(output), None) => Ok(output.to_json()),
        (None, Some(node)) => Err(error(reader, node, &join(path, "error"), &mut retry_after)?),
        (None, None) => {
            let hint = Some("write `output: {...}` or `error: {class: ..., message: ...}`".to_owned());
            reader.error(&code::MISSING_KEY, node.pos, path, "a mock needs `output` or `error`", hint);
            return None;
        }
        (Some(_), Some(_)) => {
            let message = "a mock has `output` or `error`, not both";
            reader.error(&code::EXCLUSIVE, node.pos, path, message, None);
            return None;
        }
    };
    Some(Reply { result, delay, retry_after })
}

fn error(
    reader: &mut Reader,
    node: &Node,
    path: &str,
    retry_after: &mut Option<Duration>,
) -> Option<StepError> {
    if node.as_str().is_some() {
        let class = reader.word(node, path, CLASSES)?;
        return Some(StepError::new(class, code_of(class), format!("a {class} of the test")));
    }
    let entries = reader.map(node, path, "`error`", ERROR_KEYS)?;
    let class = reader.required(entries, "class", (node.pos, path, "`error`"))?;
    let class = reader.word(class, &join(path, "class"), CLASSES)?;
    let message = match entry(entries, "message") {
        Some(node) => reader.text(node, &join(path, "message"))?,
        None => format!("a {class} of the test"),
    };
    if let Some(node) = entry(entries, "retry_after") {
        *retry_after = reader.duration(node, &join(path, "retry_after"));
    }
    let mut error = StepError::new(class, code_of(class), message);
    if let Some(node) = entry(entries, "code") {
        error.code = reader.text(node, &join(path, "code"))?;
    }
    Some(error)
}

/// The code that goes with a class, as executors have it.
fn code_of(class: &str) -> &'static Code {
    match class {
        class::TIMEOUT => &run::STEP_TIMEOUT,
        class::HTTP_429 | class::HTTP_4XX | class::HTTP_5XX | class::HTTP_STATUS => &run::STATUS,
        class::LIMIT => &run::STEP_LIMIT,
        class::UNCERTAIN => &run::UNCERTAIN,
        class::CHILD => &run::CHILD,
        _ => &run::STEP_INVALID,
    }
}
