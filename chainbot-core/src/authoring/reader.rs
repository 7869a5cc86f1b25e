//! Reads a tree with places, and reports what is wrong in it with line, column and remedy.

use std::time::Duration;

use crate::error::code::definition as code;
use crate::error::{Code, Diagnostic, Pos, Severity, similar};
use crate::limits::DIAGNOSTICS_MAX;
use crate::model::document::{Node, NodeValue};
use crate::time::parse_duration;

/// Collects problems while a tree is read.
#[derive(Default)]
pub(super) struct Reader {
    /// In the order of their finding.
    pub(super) problems: Vec<Diagnostic>,
}

impl Reader {
    /// Adds a problem, unless there are too many already.
    pub(super) fn error(
        &mut self,
        code: &Code,
        pos: Pos,
        path: &str,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        if self.problems.len() < DIAGNOSTICS_MAX {
            self.problems.push(Diagnostic {
                code: code.id,
                severity: Severity::Error,
                pos: pos.into(),
                path: path.to_owned(),
                message: message.into(),
                hint,
            });
        }
    }

    /// A value of the wrong type.
    pub(super) fn wrong_type(&mut self, node: &Node, path: &str, wanted: &str) {
        let message = format!("`{}` must be {wanted}, this is {}", last(path), kind(node));
        self.error(&code::WRONG_TYPE, node.pos, path, message, None);
    }

    /// The entries of a map whose keys are known; unknown ones are reported.
    pub(super) fn map<'n>(
        &mut self,
        node: &'n Node,
        path: &str,
        what: &str,
        keys: &[&str],
    ) -> Option<&'n [(String, Pos, Node)]> {
        let entries = self.open_map(node, path)?;
        for (key, pos, _) in entries.iter().filter(|(key, _, _)| !keys.contains(&key.as_str())) {
            let hint = match similar(key, keys.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("it takes {}", listed(keys)),
            };
            let message = format!("`{key}` is not known in {what}");
            self.error(&code::UNKNOWN_KEY, *pos, &join(path, key), message, Some(hint));
        }
        Some(entries)
    }

    /// The entries of a map with any keys.
    pub(super) fn open_map<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n [(String, Pos, Node)]> {
        match &node.value {
            NodeValue::Map(entries) => Some(entries),
            _ => {
                self.wrong_type(node, path, "a map with keys");
                None
            }
        }
    }

    /// The items of a list.
    pub(super) fn list<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n [Node]> {
        match &node.value {
            NodeValue::List(items) => Some(items),
            _ => {
                self.wrong_type(node, path, "a list");
                None
            }
        }
    }

    /// Text.
    pub(super) fn text(&mut self, node: &Node, path: &str) -> Option<String> {
        let text = node.as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong_type(node, path, "text");
        }
        text
    }

    /// A span of time, such as `90s`.
    pub(super) fn duration(&mut self, node: &Node, path: &str) -> Option<Duration> {
        let read = match &node.value {
            NodeValue::String(text) => parse_duration(text),
            NodeValue::Number(number) => parse_duration(&number.to_string()),
            _ => None,
        };
        if read.is_none() {
            let message = format!("`{}` is not a duration", last(path));
            let hint = "write `250ms`, `30s`, `1h30m`, `2d`, or a number of seconds".to_owned();
            self.error(&code::DURATION, node.pos, path, message, Some(hint));
        }
        read
    }

    /// One of the words.
    pub(super) fn word(&mut self, node: &Node, path: &str, words: &[&'static str]) -> Option<&'static str> {
        let text = self.text(node, path)?;
        let found = words.iter().find(|word| **word == text).copied();
        if found.is_none() {
            let hint = match similar(&text, words.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("it is one of {}", listed(words)),
            };
            let message = format!("`{text}` is not known for `{}`", last(path));
            self.error(&code::UNKNOWN_VALUE, node.pos, path, message, Some(hint));
        }
        found
    }

    /// A key that must be there.
    pub(super) fn required<'n>(
        &mut self,
        entries: &'n [(String, Pos, Node)],
        key: &str,
        at: (Pos, &str, &str),
    ) -> Option<&'n Node> {
        let (pos, path, what) = at;
        let found = entry(entries, key);
        if found.is_none() {
            let message = format!("{what} needs `{key}`");
            self.error(&code::MISSING_KEY, pos, path, message, Some(format!("add `{key}: ...`")));
        }
        found
    }
}

/// The value of a key.
pub(super) fn entry<'n>(entries: &'n [(String, Pos, Node)], key: &str) -> Option<&'n Node> {
    entries.iter().find(|(name, _, _)| name == key).map(|(_, _, node)| node)
}

/// A path and a key below it.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// What a value is, for messages.
pub(super) fn kind(node: &Node) -> &'static str {
    match &node.value {
        NodeValue::Null => "empty",
        NodeValue::Bool(_) => "a boolean",
        NodeValue::Number(_) => "a number",
        NodeValue::String(_) => "text",
        NodeValue::List(_) => "a list",
        NodeValue::Map(_) => "a map",
    }
}

/// Words in a sentence.
pub(super) fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
