//! Making trees: nodes without a place.

use serde_json::Value;

use crate::error::Pos;
use crate::model::document::{Node, NodeValue};

fn node(value: NodeValue) -> Node {
    Node { pos: Pos::default(), value }
}

pub(super) fn text(text: &str) -> Node {
    node(NodeValue::String(text.to_owned()))
}

pub(super) fn map(entries: Vec<(String, Node)>) -> Node {
    node(NodeValue::Map(entries.into_iter().map(|(key, value)| (key, Pos::default(), value)).collect()))
}

/// A map with keys that are written in the code.
pub(super) fn object<const N: usize>(entries: [(&str, Node); N]) -> Node {
    map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

pub(super) fn list(items: Vec<Node>) -> Node {
    node(NodeValue::List(items))
}

pub(super) fn number(n: u64) -> Node {
    node(NodeValue::Number(n.into()))
}

pub(in crate::authoring) fn from_json(value: &Value) -> Node {
    match value {
        Value::Null => node(NodeValue::Null),
        Value::Bool(value) => node(NodeValue::Bool(*value)),
        Value::Number(value) => node(NodeValue::Number(value.clone())),
        Value::String(value) => text(value),
        Value::Array(items) => list(items.iter().map(from_json).collect()),
        Value::Object(entries) => {
            map(entries.iter().map(|(key, value)| (key.clone(), from_json(value))).collect())
        }
    }
}
