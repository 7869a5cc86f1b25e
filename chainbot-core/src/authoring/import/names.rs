//! What names of old expressions mean now, and text with `${ }`.

use super::python;
use super::value::text;
use super::{Fate, Importer};
use crate::error::Pos;
use crate::model::document::{Node, NodeValue};

/// Nested too deep to be written by hand.
const DEPTH_MAX: usize = 64;
/// What stayed `${` in the old text: the new language refuses it, because it was nearly always meant for an expression.
const DOLLAR: &str = "{{ '$' }}{";

impl python::Names for Importer {
    fn step(&self, name: &str) -> Option<String> {
        self.steps.get(name).map(|id| format!("steps.{id}.output"))
    }

    fn name(&mut self, name: &str) -> String {
        if let Some((_, means)) = self.locals.iter().rev().find(|(local, _)| local == name) {
            return means.clone();
        }
        if self.vars.contains(name) {
            return python::member("vars", name);
        }
        if let Some(step) = python::Names::step(self, name) {
            return step;
        }
        self.inputs.entry(name.to_owned()).or_insert(None);
        python::member("inputs", name)
    }
}

impl Importer {
    /// A bare expression, with or without `${ }` around it or parts of it. `None`: it has no equal, and the report says so.
    pub(super) fn expression(&mut self, node: &Node, path: &str) -> Option<Node> {
        let source = match &node.value {
            NodeValue::String(source) => source,
            NodeValue::Bool(_) | NodeValue::Number(_) => return Some(node.clone()),
            _ => {
                self.say(Fate::Person, node.pos, path, "this is no expression");
                return None;
            }
        };
        let bare = undressed(source);
        match python::convert(&bare, self) {
            Ok(new) => {
                if new != *source {
                    self.say(Fate::Changed, node.pos, path, format!("`{}` became `{new}`", source.trim()));
                }
                Some(text(&new))
            }
            Err(why) => {
                let message = format!("`{}` is not converted: {why}; write it anew", source.trim());
                self.say(Fate::Person, node.pos, path, message);
                None
            }
        }
    }

    /// A value whose texts may hold `${ }`.
    pub(super) fn template(&mut self, node: &Node, path: &str) -> Node {
        self.template_at(node, path, 0)
    }

    fn template_at(&mut self, node: &Node, path: &str, depth: usize) -> Node {
        let value = match &node.value {
            _ if depth > DEPTH_MAX => {
                self.say(Fate::Person, node.pos, path, "nested too deep; left as it is");
                return node.clone();
            }
            NodeValue::String(source) => NodeValue::String(self.text(source, node.pos, path)),
            NodeValue::List(items) => NodeValue::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.template_at(item, &format!("{path}[{index}]"), depth + 1))
                    .collect(),
            ),
            NodeValue::Map(entries) => NodeValue::Map(
                entries
                    .iter()
                    .map(|(key, pos, value)| {
                        (key.clone(), *pos, self.template_at(value, &format!("{path}.{key}"), depth + 1))
                    })
                    .collect(),
            ),
            other => other.clone(),
        };
        Node { pos: node.pos, value }
    }

    /// Text with `${ }` to text with `{{ }}`.
    pub(super) fn text(&mut self, source: &str, pos: Pos, path: &str) -> String {
        let mut out = String::new();
        let mut rest = source;
        while let Some(begin) = rest.find("${") {
            out.push_str(&self.literal(&rest[..begin], pos, path));
            let Some(length) = closing(&rest[begin + 2..]) else {
                self.say(Fate::Person, pos, path, "a `${` is not closed; it is text now, as it was");
                out.push_str(DOLLAR);
                rest = &rest[begin + 2..];
                continue;
            };
            let inside = &rest[begin + 2..begin + 2 + length];
            let whole = &rest[begin..begin + 3 + length];
            match python::convert(inside.trim(), self) {
                Ok(new) => {
                    let keeps = if whole == source { ", and keeps the type of its value" } else { "" };
                    let message = format!("`{whole}` became `{{{{ {new} }}}}`{keeps}");
                    self.say(Fate::Changed, pos, path, message);
                    out.push_str(&format!("{{{{ {new} }}}}"));
                }
                Err(why) => {
                    let message = format!("`{whole}` is not converted: {why}; it is text now, as it was");
                    self.say(Fate::Person, pos, path, message);
                    out.push_str(&whole.replacen("${", DOLLAR, 1));
                }
            }
            rest = &rest[begin + 3 + length..];
        }
        let end = self.literal(rest, pos, path);
        out + &end
    }

    /// Text that was nothing special stays so.
    fn literal(&mut self, source: &str, pos: Pos, path: &str) -> String {
        if !["{{", "{%", "{#"].iter().any(|mark| source.contains(mark)) {
            return source.to_owned();
        }
        self.say(
            Fate::Changed,
            pos,
            path,
            "braces that would be read as an expression now are written as text",
        );
        let mut out = source.to_owned();
        // The order matters: the replacements hold `{{` themselves.
        out = out.replace("{{", "\u{0}a").replace("{%", "\u{0}b").replace("{#", "\u{0}c");
        out.replace("\u{0}a", "{{ '{{' }}").replace("\u{0}b", "{{ '{%' }}").replace("\u{0}c", "{{ '{#' }}")
    }
}

/// Where the brace closes, counting those inside.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// `${a.b} > 1` without its braces.
fn undressed(source: &str) -> String {
    let mut out = String::new();
    let mut rest = source.trim();
    while let Some(begin) = rest.find("${") {
        let Some(length) = closing(&rest[begin + 2..]) else { break };
        out.push_str(&rest[..begin]);
        out.push_str(&rest[begin + 2..begin + 2 + length]);
        rest = &rest[begin + 3 + length..];
    }
    out + rest
}
