//! Single values: names, words, numbers, durations. Each reader takes its bounds from the table, reports what is wrong, and gives `None` for what is missing or wrong.

use std::time::Duration;

use super::{Decoder, Map, listed};
use crate::error::code::definition as code;
use crate::error::{Code, similar};
use crate::model::document::{Node, NodeValue};
use crate::model::{TOOL_NAME, Text, is_tool_name};
use crate::time::parse_duration;
use crate::validate::findings::{index_path, shown};
use crate::validate::keys::Shape;

/// How a name may be formed.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Rule {
    /// `[a-z0-9][a-z0-9_-]{0,62}`: what may be named from outside.
    Safe,
    /// `[a-z][a-z0-9_]{0,62}`: step ids, which expressions name.
    Step,
    /// `[A-Za-z_][A-Za-z0-9_]{0,62}`: variables and items.
    Variable,
    /// `[A-Za-z0-9][A-Za-z0-9_.@+-]{0,62}`: people.
    Person,
    /// As [`is_tool_name`] has it: tools of clients of MCP.
    Tool,
}

/// Longest name of any kind, as `SafeName` has it.
pub(super) const NAME_CHARS_MAX: usize = 63;

/// Words of the expression language that no step, variable or item can be called by.
const WORDS: &[&str] =
    &["true", "false", "none", "null", "not", "and", "or", "in", "is", "if", "else", "for", "self"];

/// Names in scope everywhere, which an item must not hide.
pub(in crate::validate) const ROOTS: &[&str] =
    &["inputs", "vars", "steps", "run", "config", "secrets", "event", "error"];

impl Rule {
    fn fits(self, name: &str) -> bool {
        if self == Rule::Tool {
            return is_tool_name(name);
        }
        let letter = |c: char| match self {
            Rule::Safe | Rule::Step => c.is_ascii_lowercase(),
            Rule::Variable => c.is_ascii_alphabetic() || c == '_',
            Rule::Person | Rule::Tool => c.is_ascii_alphanumeric(),
        };
        let first = |c: char| letter(c) || (self == Rule::Safe && c.is_ascii_digit());
        let rest = |c: char| {
            (self == Rule::Person && matches!(c, '_' | '.' | '@' | '+' | '-'))
                || letter(c)
                || c.is_ascii_digit()
                || c == '_'
                || (self == Rule::Safe && c == '-')
        };
        let mut chars = name.chars();
        chars.next().is_some_and(first) && chars.all(rest) && name.len() <= NAME_CHARS_MAX
    }

    fn words(self) -> &'static str {
        match self {
            Rule::Safe => {
                "use 1 to 63 lower-case letters, digits, `_` or `-`, and start with a letter or digit"
            }
            Rule::Step => "use 1 to 63 lower-case letters, digits or `_`, and start with a letter",
            Rule::Person => {
                "use 1 to 63 letters, digits, `_`, `.`, `@`, `+` or `-`, and start with a letter or digit"
            }
            Rule::Variable => "use 1 to 63 letters, digits or `_`, and do not start with a digit",
            Rule::Tool => TOOL_NAME,
        }
    }
}

/// The type of a value, for messages.
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

/// Whether text holds a template.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// The value of text that is certainly the same in every run.
pub(super) fn constant(text: &Text) -> Option<&str> {
    (!is_template(&text.source)).then_some(&text.source)
}

impl Decoder<'_> {
    /// Reports a value of the wrong type.
    pub(super) fn wrong_type(
        &mut self,
        map: &Map<'_>,
        key: &str,
        node: &Node,
        wanted: &str,
        hint: Option<String>,
    ) {
        let message = format!("`{key}` in {} must be {wanted}, this is {}", map.table.what, kind(node));
        self.error(&code::WRONG_TYPE, node.pos, &map.path_of(key), message, hint);
    }

    /// Reports something about the value of a key.
    pub(super) fn at(
        &mut self,
        code: &Code,
        map: &Map<'_>,
        key: &str,
        message: String,
        hint: Option<String>,
    ) {
        let pos = map.get(key).map_or(map.pos, |node| node.pos);
        self.error(code, pos, &map.path_of(key), message, hint);
    }

    /// Text for people.
    pub(super) fn literal(&mut self, map: &Map<'_>, key: &str) -> Option<String> {
        let node = map.get(key)?;
        if let NodeValue::String(text) = &node.value {
            return Some(text.clone());
        }
        self.wrong_type(map, key, node, "text", Some("put it in quotes".to_owned()));
        None
    }

    /// A name by a rule.
    pub(super) fn name(&mut self, map: &Map<'_>, key: &str, rule: Rule) -> Option<String> {
        let node = map.get(key)?;
        let NodeValue::String(name) = &node.value else {
            self.wrong_type(map, key, node, "a name", Some(rule.words().to_owned()));
            return None;
        };
        self.check_name(node, &map.path_of(key), name, rule).then(|| name.clone())
    }

    /// Reports a name that breaks its rule; says whether it is good.
    pub(super) fn check_name(&mut self, node: &Node, path: &str, name: &str, rule: Rule) -> bool {
        let fits = rule.fits(name);
        let reserved = !matches!(rule, Rule::Safe | Rule::Person | Rule::Tool) && WORDS.contains(&name);
        if !fits {
            let message = format!("`{}` is not a name", shown(name, 80));
            self.error(&code::NAME, node.pos, path, message, rule.words().to_owned());
        } else if reserved {
            let message = format!("`{name}` is a word of the expression language");
            self.error(&code::NAME, node.pos, path, message, "take another name".to_owned());
        }
        fits && !reserved
    }

    /// One of the words that the table lists.
    pub(super) fn choice(&mut self, map: &Map<'_>, key: &str) -> Option<&'static str> {
        let node = map.get(key)?;
        let Some(Shape::Choice(words)) = map.table.key(key).map(|key| key.shape) else {
            debug_assert!(false, "`{key}` is not a choice");
            return None;
        };
        if let NodeValue::String(text) = &node.value {
            return self.word(node, &map.path_of(key), &format!("`{key}`"), text, words, &[]);
        }
        self.wrong_type(map, key, node, &format!("one of {}", listed(words)), None);
        None
    }

    /// A word among those known. `later` are words that this version does not have.
    pub(super) fn word(
        &mut self,
        node: &Node,
        path: &str,
        what: &str,
        text: &str,
        words: &[&'static str],
        later: &[&str],
    ) -> Option<&'static str> {
        if let Some(word) = words.iter().find(|word| **word == text) {
            return Some(word);
        }
        if later.contains(&text) {
            let message = format!("`{text}` for {what} is not in this version yet");
            let hint = format!("this version has {}", listed(words));
            self.error(&code::NOT_YET, node.pos, path, message, hint);
            return None;
        }
        let hint = match similar(text, words.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("it is one of {}", listed(words)),
        };
        let message = format!("`{}` is not known for {what}", shown(text, 60));
        self.error(&code::UNKNOWN_VALUE, node.pos, path, message, hint);
        None
    }

    /// A list of words that the table lists.
    pub(super) fn choices(&mut self, map: &Map<'_>, key: &str, later: &[&str]) -> Vec<String> {
        let Some(node) = map.get(key) else { return Vec::new() };
        let Some(Shape::Choices(words)) = map.table.key(key).map(|key| key.shape) else {
            debug_assert!(false, "`{key}` is not a list of choices");
            return Vec::new();
        };
        let NodeValue::List(items) = &node.value else {
            let hint = Some(format!("write `{key}: [{}]`", words[0]));
            self.wrong_type(map, key, node, "a list", hint);
            return Vec::new();
        };
        let path = map.path_of(key);
        let mut out: Vec<String> = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let path = index_path(&path, i);
            let Some(text) = item.as_str() else {
                let message = format!("`{key}` lists words, this is {}", kind(item));
                self.error(
                    &code::WRONG_TYPE,
                    item.pos,
                    &path,
                    message,
                    format!("it takes {}", listed(words)),
                );
                continue;
            };
            if let Some(word) = self.word(item, &path, &format!("`{key}`"), text, words, later)
                && !out.iter().any(|known| known == word)
            {
                out.push(word.to_owned());
            }
        }
        out
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, map: &Map<'_>, key: &str) -> Option<bool> {
        let node = map.get(key)?;
        match &node.value {
            NodeValue::Bool(value) => return Some(*value),
            NodeValue::String(text) => {
                let hint = match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "y" | "true" => Some("write `true`, without quotes"),
                    "no" | "off" | "n" | "false" => Some("write `false`, without quotes"),
                    _ => None,
                };
                self.wrong_type(map, key, node, "`true` or `false`", hint.map(str::to_owned));
            }
            _ => self.wrong_type(map, key, node, "`true` or `false`", None),
        }
        None
    }

    /// A whole number in the range of the table.
    pub(super) fn number(&mut self, map: &Map<'_>, key: &str) -> Option<u32> {
        let node = map.get(key)?;
        let Some(Shape::Number(least, most)) = map.table.key(key).map(|key| key.shape) else {
            debug_assert!(false, "`{key}` is not a number");
            return None;
        };
        let range = format!("a whole number from {least} to {most}");
        let NodeValue::Number(number) = &node.value else {
            let hint =
                node.as_str().is_some_and(is_template).then(|| "templates are not read here".to_owned());
            self.wrong_type(map, key, node, &range, hint);
            return None;
        };
        let fits = number.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| (least..=most).contains(n));
        if fits.is_none() {
            self.at(&code::RANGE, map, key, format!("`{key}` must be {range}, this is {number}"), None);
        }
        fits
    }

    /// A duration above zero.
    pub(super) fn duration(&mut self, map: &Map<'_>, key: &str) -> Option<Duration> {
        let node = map.get(key)?;
        let text = match &node.value {
            NodeValue::String(text) => text.clone(),
            NodeValue::Number(number) => number.to_string(),
            _ => {
                let hint = Some("write it as `30s`, `5m`, `1h30m`, or a number of seconds".to_owned());
                self.wrong_type(map, key, node, "a duration", hint);
                return None;
            }
        };
        let duration = parse_duration(&text);
        match duration {
            None => {
                let message = format!("`{}` is not a duration", shown(&text, 60));
                let hint = if is_template(&text) {
                    "templates are not read here; write it as `30s`, `5m`, `1h30m`"
                } else {
                    "write it as `250ms`, `30s`, `5m`, `1h30m`, `2d`, or a number of seconds; at most 366 days"
                };
                self.at(&code::DURATION, map, key, message, Some(hint.to_owned()));
            }
            Some(Duration::ZERO) => {
                self.at(&code::RANGE, map, key, format!("`{key}` must be longer than zero"), None);
            }
            Some(_) => {}
        }
        duration.filter(|duration| !duration.is_zero())
    }
}
