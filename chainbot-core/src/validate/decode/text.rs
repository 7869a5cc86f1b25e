//! Values that are evaluated in a run: text with `{{ }}`, templates, bare expressions, lists to go over.

use super::value::{NAME_CHARS_MAX, is_template, kind};
use super::{Decoder, Map};
use crate::error::code::definition as code;
use crate::model::document::{Node, NodeValue};
use crate::model::{Expr, Items, Text};
use crate::validate::findings::{index_path, key_path, shown};

impl Decoder<'_> {
    /// Text that may hold `{{ }}`.
    pub(super) fn text(&mut self, map: &Map<'_>, key: &str) -> Option<Text> {
        let node = map.get(key)?;
        let NodeValue::String(source) = &node.value else {
            self.wrong_type(map, key, node, "text", Some("put it in quotes".to_owned()));
            return None;
        };
        self.old_interpolation(node, &map.path_of(key));
        Some(Text { pos: node.pos, source: source.clone() })
    }

    /// Any value whose strings may hold `{{ }}`.
    pub(super) fn template(&mut self, map: &Map<'_>, key: &str) -> Option<Node> {
        let node = map.get(key)?;
        self.old_interpolation(node, &map.path_of(key));
        Some(node.clone())
    }

    /// A map whose values may hold `{{ }}`, or one `{{ }}` that gives it.
    pub(super) fn template_map(&mut self, map: &Map<'_>, key: &str) -> Option<Node> {
        let node = map.get(key)?;
        let whole = node.as_str().is_some_and(is_template);
        if !matches!(node.value, NodeValue::Map(_)) && !whole {
            self.wrong_type(map, key, node, "a map", Some(format!("write `{key}: {{ name: value }}`")));
            return None;
        }
        self.template(map, key)
    }

    /// A bare expression.
    pub(super) fn expr(&mut self, map: &Map<'_>, key: &str) -> Option<Expr> {
        let node = map.get(key)?;
        self.expr_of(node, &map.path_of(key), key)
    }

    /// A value read as a bare expression; `name` is what messages call it.
    pub(super) fn expr_of(&mut self, node: &Node, path: &str, name: &str) -> Option<Expr> {
        let source = match &node.value {
            NodeValue::Null => "none".to_owned(),
            NodeValue::Bool(value) => value.to_string(),
            NodeValue::Number(value) => value.to_string(),
            NodeValue::String(source) => {
                let trimmed = source.trim();
                if let Some(inner) = trimmed.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")) {
                    let inner = shown(inner.trim().trim_matches('-').trim(), 80);
                    let message = format!("`{name}` takes a bare expression, without `{{{{ }}}}`");
                    let hint = (!inner.contains("}}")).then(|| format!("write `{inner}`"));
                    self.error(&code::BARE_EXPRESSION, node.pos, path, message, hint);
                    return None;
                }
                if trimmed.is_empty() {
                    let message = format!("`{name}` is empty");
                    let hint = "write an expression, such as `steps.read.output.value > 3`";
                    self.error(&code::BARE_EXPRESSION, node.pos, path, message, hint.to_owned());
                    return None;
                }
                if self.old_interpolation(node, path) {
                    return None;
                }
                source.clone()
            }
            NodeValue::List(_) | NodeValue::Map(_) => {
                let message = format!("`{name}` takes a bare expression, this is {}", kind(node));
                let hint = "write a list or map as an expression in quotes: `\"[1, 2]\"`".to_owned();
                self.error(&code::BARE_EXPRESSION, node.pos, path, message, hint);
                return None;
            }
        };
        Some(Expr { pos: node.pos, source })
    }

    /// A list or map written out, or a bare expression or number that gives one.
    pub(super) fn items(&mut self, map: &Map<'_>, key: &str) -> Option<Items> {
        let node = map.get(key)?;
        match &node.value {
            NodeValue::List(_) | NodeValue::Map(_) => self.template(map, key).map(Items::Literal),
            NodeValue::Null | NodeValue::Bool(_) => {
                let wanted = "a list, a map, a number or an expression that gives one";
                self.wrong_type(map, key, node, wanted, None);
                None
            }
            _ => self.expr(map, key).map(Items::Expr),
        }
    }

    /// The `input` of a transform over a list: written out, or text with `{{ }}` that gives it.
    pub(super) fn rows(&mut self, map: &Map<'_>, key: &str) -> Option<Items> {
        let node = map.get(key)?;
        match &node.value {
            NodeValue::List(_) | NodeValue::Map(_) => self.template(map, key).map(Items::Literal),
            NodeValue::String(text) if is_template(text) => self.template(map, key).map(Items::Literal),
            _ => {
                let hint = match node.as_str() {
                    Some(text) => {
                        format!("write `\"{{{{ {} }}}}\"` for the value of an expression", shown(text, 80))
                    }
                    None => "write `\"{{ steps.read.output.data }}\"`, or the list itself".to_owned(),
                };
                self.wrong_type(map, key, node, "a list or a template that gives one", Some(hint));
                None
            }
        }
    }

    /// Reports `${name}`, at any depth, and keys that hold `{{ }}`; says whether there was one.
    pub(super) fn old_interpolation(&mut self, node: &Node, path: &str) -> bool {
        match &node.value {
            NodeValue::String(text) => {
                let Some(name) = dollar_name(text) else { return false };
                let message = format!("`${{{name}}}` is not replaced");
                let hint = format!("write `{{{{ vars.{name} }}}}` or `{{{{ inputs.{name} }}}}`");
                self.error(&code::OLD_NAME, node.pos, path, message, hint);
                true
            }
            NodeValue::List(items) => {
                let mut found = false;
                for (i, item) in items.iter().enumerate() {
                    found |= self.old_interpolation(item, &index_path(path, i));
                }
                found
            }
            NodeValue::Map(entries) => {
                let mut found = false;
                for (key, pos, value) in entries {
                    let path = key_path(path, key);
                    if is_template(key) {
                        let message = format!("`{}` stays as it is: keys are not templates", shown(key, 60));
                        let hint = "build the map with an expression to compute its keys".to_owned();
                        self.findings.warning(&code::WRONG_TYPE, *pos, &path, message, hint);
                    }
                    found |= self.old_interpolation(value, &path);
                }
                found
            }
            _ => false,
        }
    }
}

/// The name in the first `${name}`.
fn dollar_name(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        rest = &rest[at + 2..];
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len());
        if end > 0 && end <= NAME_CHARS_MAX && rest[end..].starts_with('}') {
            return Some(&rest[..end]);
        }
    }
    None
}
