//! The sources of a configuration, read into one table of values: file, environment, the host's values.
//!
//! Later sources beat earlier ones key by key; a list is replaced, not joined. Every problem of every source is
//! kept. A diagnostic with a line is about the file; one without names the variable or the host in its message.

use std::collections::BTreeMap;

use serde_json::Value;

use super::check;
use super::key::{Key, Kind};
use super::known::{INSTEAD, KNOWN, RENAMED, SHORT_ENV, is_known};
use super::{reference, table};
use crate::error::code::config as code;
use crate::error::{Code, Diagnostic, Severity, similar};
use crate::model::document::NodeValue;
use crate::model::{Node, Pos};

/// The beginning of every environment variable that is read.
pub const ENV_PREFIX: &str = "ALEX_OS_CHAINBOT_";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The file.
    File,
    /// This environment variable.
    Environment(String),
    /// What the host, or a flag of the command line, decided.
    Host,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File => f.write_str("file"),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Host => f.write_str("host"),
        }
    }
}

/// A value that some source gave.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// In normal form.
    pub value: Value,
    /// By whom.
    pub origin: Origin,
    /// Where in the file.
    pub pos: Pos,
}

/// What has been read so far.
#[derive(Default)]
pub(super) struct Reading {
    /// By path of key, in normal form. Holds only keys that some source set.
    pub values: BTreeMap<&'static str, Given>,
    /// Everything to say, in order of source and place.
    pub diagnostics: Vec<Diagnostic>,
}

impl Reading {
    /// Reads a tree of sections and keys.
    pub fn tree(&mut self, root: &Node, origin: &Origin) {
        match &root.value {
            NodeValue::Null => {}
            NodeValue::Map(sections) => {
                for (section, pos, node) in sections {
                    self.section(section, *pos, node, origin);
                }
            }
            _ => self.say(&code::VALUE, root.pos, "", origin, "a configuration is a map of sections", None),
        }
    }

    fn section(&mut self, section: &str, pos: Pos, node: &Node, origin: &Origin) {
        if !table::sections().contains(&section) {
            return self.unknown(section, pos, origin, table::sections().into_iter());
        }
        match &node.value {
            // A section whose keys are all commented out.
            NodeValue::Null => {}
            NodeValue::Map(keys) => {
                for (name, pos, node) in keys {
                    self.entry(&format!("{section}.{name}"), *pos, node, origin);
                }
            }
            _ => self.say(
                &code::VALUE,
                node.pos,
                section,
                origin,
                &format!("`{section}` is a section: a map of keys"),
                None,
            ),
        }
    }

    fn entry(&mut self, path: &str, pos: Pos, node: &Node, origin: &Origin) {
        if let Some(key) = table::key(path) {
            return self.set(key, node, origin);
        }
        if is_known(path) {
            let message = format!("`{path}` is known and has no effect in this version");
            let instead = INSTEAD.iter().find(|(known, _)| *known == path);
            let hint = instead.map_or("leave it out, or keep it for a later version", |(_, hint)| hint);
            let hint = Some(hint.to_owned());
            return self.warn(&code::NO_EFFECT, pos, path, origin, &message, hint);
        }
        match &node.value {
            NodeValue::Null if table::is_group(path) => {}
            NodeValue::Map(keys) if table::is_group(path) => {
                for (name, pos, node) in keys {
                    self.entry(&format!("{path}.{name}"), *pos, node, origin);
                }
            }
            _ if table::is_group(path) => {
                self.say(&code::VALUE, node.pos, path, origin, &format!("`{path}` is a map of keys"), None);
            }
            _ => self.unknown(path, pos, origin, all_paths()),
        }
    }

    fn set(&mut self, key: &'static Key, node: &Node, origin: &Origin) {
        let wrong = reference::check(key, node);
        if !wrong.is_empty() {
            for problem in wrong {
                let path = format!("{}{}", key.path, problem.below);
                self.say(&code::REFERENCE, problem.pos, &path, origin, &problem.message, problem.hint);
            }
            return;
        }
        match check::value(key, node) {
            Ok(value) => {
                self.values.insert(key.path, Given { value, origin: origin.clone(), pos: node.pos });
            }
            Err(problems) => {
                for problem in problems {
                    let code = if problem.unsafe_setting { &code::NOT_ALLOWED } else { &code::VALUE };
                    let path = format!("{}{}", key.path, problem.below);
                    self.say(code, problem.pos, &path, origin, &problem.message, problem.hint);
                }
            }
        }
    }

    fn unknown(&mut self, path: &str, pos: Pos, origin: &Origin, among: impl Iterator<Item = &'static str>) {
        let renamed = RENAMED.iter().find(|(old, _)| *old == path).map(|(_, new)| *new);
        let hint = match renamed.or_else(|| similar(path, among)) {
            Some(word) if renamed.is_some() => format!("it is called `{word}` here"),
            Some(word) => format!("did you mean `{word}`?"),
            None => "`chainbot config default` lists every key".to_owned(),
        };
        let what = if path.contains('.') { "key" } else { "section" };
        self.say(&code::UNKNOWN_KEY, pos, path, origin, &format!("there is no {what} `{path}`"), Some(hint));
    }

    /// Reads every variable that begins with [`ENV_PREFIX`], in order of name so that reports repeat.
    pub fn environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        let ours: BTreeMap<String, String> =
            variables.filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
        // Short names first: the long form of the same key is the more deliberate one and wins.
        let (long, short): (Vec<_>, Vec<_>) = ours.into_iter().partition(|(name, _)| name.contains("__"));
        for (name, text) in short {
            let origin = Origin::Environment(name.clone());
            let rest = &name[ENV_PREFIX.len()..];
            match SHORT_ENV.iter().find(|(short, _)| *short == rest) {
                Some((_, path)) => self.variable(path, &text, &origin),
                None => self.unknown_variable(rest, &origin),
            }
        }
        for (name, text) in long {
            let origin = Origin::Environment(name.clone());
            let path = name[ENV_PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
            self.variable(&path, &text, &origin);
        }
    }

    fn variable(&mut self, path: &str, text: &str, origin: &Origin) {
        let node = match table::key(path) {
            Some(key) => from_text(key.kind, text),
            None => Node { pos: Pos::default(), value: NodeValue::Null },
        };
        self.entry(path, Pos::default(), &node, origin);
    }

    fn unknown_variable(&mut self, rest: &str, origin: &Origin) {
        let names = SHORT_ENV.iter().map(|(name, _)| *name);
        let hint = match similar(rest, names) {
            Some(name) => format!("did you mean {ENV_PREFIX}{name}?"),
            None => format!("write {ENV_PREFIX}SECTION__KEY, such as {ENV_PREFIX}API__PORT"),
        };
        self.say(&code::UNKNOWN_KEY, Pos::default(), rest, origin, "no setting has this name", Some(hint));
    }

    /// Adds an error.
    pub fn say(
        &mut self,
        code: &'static Code,
        pos: Pos,
        path: &str,
        origin: &Origin,
        message: &str,
        hint: Option<String>,
    ) {
        self.push(Severity::Error, code, pos, path, origin, message, hint);
    }

    fn warn(
        &mut self,
        code: &'static Code,
        pos: Pos,
        path: &str,
        origin: &Origin,
        message: &str,
        hint: Option<String>,
    ) {
        self.push(Severity::Warning, code, pos, path, origin, message, hint);
    }

    #[allow(clippy::too_many_arguments, reason = "these are the fields of a diagnostic, in its order")]
    fn push(
        &mut self,
        severity: Severity,
        code: &'static Code,
        pos: Pos,
        path: &str,
        origin: &Origin,
        message: &str,
        hint: Option<String>,
    ) {
        let message = match origin {
            Origin::Default | Origin::File => message.to_owned(),
            Origin::Environment(name) => format!("environment variable {name}: {message}"),
            Origin::Host => format!("value given by the host: {message}"),
        };
        let path = path.to_owned();
        self.diagnostics.push(Diagnostic { code: code.id, severity, pos: pos.into(), path, message, hint });
    }
}

/// Every path that exists, for suggestions.
fn all_paths() -> impl Iterator<Item = &'static str> {
    table::KEYS.iter().map(|key| key.path).chain(KNOWN.iter().copied().filter(|path| !path.ends_with('*')))
}

/// The text of a variable as a value of the kind its key takes. What does not fit stays text, which the check
/// then refuses.
fn from_text(kind: Kind, text: &str) -> Node {
    let text = text.trim();
    let as_text = || NodeValue::String(text.to_owned());
    let value = match kind {
        Kind::Bool => text.to_ascii_lowercase().parse().map_or_else(|_| as_text(), NodeValue::Bool),
        Kind::Int { .. } => number(text).unwrap_or_else(as_text),
        Kind::Port if text.is_empty() || text == "null" || text == "none" => NodeValue::Null,
        Kind::NameOrNone | Kind::Url | Kind::Key if text.is_empty() || text == "null" => NodeValue::Null,
        Kind::Temperature | Kind::Amount => {
            match text.parse::<f64>().ok().and_then(serde_json::Number::from_f64) {
                Some(number) => NodeValue::Number(number),
                None => as_text(),
            }
        }
        Kind::File if text.is_empty() || text == "null" => NodeValue::Null,
        Kind::Secret if text.is_empty() || text == "null" => NodeValue::Null,
        Kind::Port => number(text).unwrap_or_else(as_text),
        Kind::Prefixes | Kind::Addresses if !text.starts_with('[') => NodeValue::List(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Node { pos: Pos::default(), value: NodeValue::String(item.to_owned()) })
                .collect(),
        ),
        Kind::Prefixes
        | Kind::Addresses
        | Kind::Grants
        | Kind::Pins
        | Kind::Channels
        | Kind::McpServers
        | Kind::Constants
        | Kind::Accounts
        | Kind::Providers
        | Kind::Models
        | Kind::Fallback
        | Kind::Presets => {
            return serde_json::from_str(text).map_or_else(
                |_| Node { pos: Pos::default(), value: as_text() },
                |value: Value| from_json(&value),
            );
        }
        _ => as_text(),
    };
    Node { pos: Pos::default(), value }
}

fn number(text: &str) -> Option<NodeValue> {
    text.parse::<u64>().ok().map(|number| NodeValue::Number(number.into()))
}

/// A JSON value as a tree without places. The depth is bounded by serde_json's own limit of 128.
pub(super) fn from_json(value: &Value) -> Node {
    let value = match value {
        Value::Null => NodeValue::Null,
        Value::Bool(value) => NodeValue::Bool(*value),
        Value::Number(value) => NodeValue::Number(value.clone()),
        Value::String(value) => NodeValue::String(value.clone()),
        Value::Array(items) => NodeValue::List(items.iter().map(from_json).collect()),
        Value::Object(entries) => NodeValue::Map(
            entries.iter().map(|(key, value)| (key.clone(), Pos::default(), from_json(value))).collect(),
        ),
    };
    Node { pos: Pos::default(), value }
}
