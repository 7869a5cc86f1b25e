//! Writes a tree as YAML that people like to read, and that reads back as the same tree.

use crate::model::document::{Node, NodeValue};

/// Values of this many characters may stand on one line in `{ }` or `[ ]`.
const FLOW_CHARS_MAX: usize = 60;

pub(in crate::authoring) fn write(tree: &Node) -> String {
    let mut out = String::new();
    block(&mut out, tree, 0);
    out
}

fn block(out: &mut String, node: &Node, indent: usize) {
    match &node.value {
        NodeValue::Map(entries) if !entries.is_empty() => {
            for (key, _, value) in entries {
                out.push_str(&" ".repeat(indent));
                entry(out, key, value, indent);
            }
        }
        NodeValue::List(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&" ".repeat(indent));
                out.push_str("- ");
                match &item.value {
                    NodeValue::Map(entries) if !entries.is_empty() && flow(item).is_none() => {
                        for (index, (key, _, value)) in entries.iter().enumerate() {
                            if index > 0 {
                                out.push_str(&" ".repeat(indent + 2));
                            }
                            entry(out, key, value, indent + 2);
                        }
                    }
                    NodeValue::List(inner) if !inner.is_empty() && flow(item).is_none() => {
                        out.push('\n');
                        block(out, item, indent + 2);
                    }
                    _ => inline(out, item, indent),
                }
            }
        }
        _ => inline(out, node, indent),
    }
}

/// `key: value`, or the value below.
fn entry(out: &mut String, key: &str, value: &Node, indent: usize) {
    out.push_str(&scalar(key));
    out.push(':');
    let is_nested = match &value.value {
        NodeValue::Map(entries) => !entries.is_empty(),
        NodeValue::List(items) => !items.is_empty(),
        _ => false,
    };
    // Steps are always below each other, however short.
    let is_steps = ["steps", "then", "else"].contains(&key);
    if is_nested && (is_steps || flow(value).is_none()) {
        out.push('\n');
        block(out, value, indent + 2);
    } else {
        out.push(' ');
        inline(out, value, indent);
    }
}

fn inline(out: &mut String, node: &Node, indent: usize) {
    match &node.value {
        NodeValue::String(text) if is_literal(text) => {
            out.push_str(if text.ends_with('\n') { "|\n" } else { "|-\n" });
            for line in text.trim_end_matches('\n').split('\n') {
                if !line.is_empty() {
                    out.push_str(&" ".repeat(indent + 2));
                    out.push_str(line);
                }
                out.push('\n');
            }
        }
        _ => {
            out.push_str(&flow(node).unwrap_or_else(|| json(node)));
            out.push('\n');
        }
    }
}

/// Whether text of several lines can stand as it is.
fn is_literal(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\n', '\t'])
        && !body.chars().any(|c| c.is_control() && c != '\n')
        && !body.contains(['\u{2028}', '\u{2029}', '\u{85}', '\u{feff}'])
}

/// On one line, when that is short.
fn flow(node: &Node) -> Option<String> {
    let written = match &node.value {
        NodeValue::String(text) if is_literal(text) => return None,
        NodeValue::String(text) => return Some(scalar(text)),
        NodeValue::List(items) => {
            let items: Option<Vec<String>> = items.iter().map(in_flow).collect();
            format!("[{}]", items?.join(", "))
        }
        NodeValue::Map(entries) if entries.is_empty() => "{}".to_owned(),
        NodeValue::Map(entries) => {
            let entries: Option<Vec<String>> = entries
                .iter()
                .map(|(key, _, value)| Some(format!("{}: {}", quoted_in_flow(key), in_flow(value)?)))
                .collect();
            format!("{{ {} }}", entries?.join(", "))
        }
        _ => return Some(json(node)),
    };
    (written.chars().count() <= FLOW_CHARS_MAX).then_some(written)
}

fn in_flow(node: &Node) -> Option<String> {
    match &node.value {
        NodeValue::String(text) => Some(quoted_in_flow(text)),
        _ => flow(node),
    }
}

fn json(node: &Node) -> String {
    node.to_json().to_string()
}

/// Inside of brackets a comma ends a plain scalar.
fn quoted_in_flow(text: &str) -> String {
    if text.contains([',', '[', ']', '{', '}']) { quoted(text) } else { scalar(text) }
}

/// Plain where that reads back as this text, else in quotes.
fn scalar(text: &str) -> String {
    let first = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '(');
    let rest = |c: char| {
        c.is_ascii_alphanumeric()
            || " _/.,()+-*=<>'|;?$%~^".contains(c)
            || (c.is_alphabetic() && !c.is_control())
    };
    let is_plain = text.starts_with(first)
        && text.chars().all(rest)
        && !text.ends_with(' ')
        && crate::validate::document(&format!("- {text}")).is_ok_and(|read| match read.value {
            NodeValue::List(items) => items.len() == 1 && items[0].as_str() == Some(text),
            _ => false,
        });
    if is_plain { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
