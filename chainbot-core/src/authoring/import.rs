//! From a definition of the predecessor to one of this version, with a report of every line that is not as it was.
//!
//! ```text
//!   source ──► tree ──► orchestrator form (step.rs) or visual form (visual.rs) ──► YAML (yaml.rs) ──► validate
//!                          expressions: python.rs reads them, names.rs says what a name means now
//! ```
//!
//! Invariants: nothing is guessed. What has no equal is dropped or kept as it was, and the report says which, and why. The report is in
//! order of the old lines. The new text is checked as any definition is.

mod names;
mod python;
mod step;
pub(super) mod value;
mod visual;
pub(super) mod yaml;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::reader::{kind, listed};
use crate::error::code::authoring as own;
use crate::error::code::definition as code;
use crate::error::{Diagnostic, Error, Pos, PosJson, Result, Severity};
use crate::model::document::{Node, NodeValue};

use value::{map, text};

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It says the same in another way, or nearly.
    Changed,
    /// It has no effect any more.
    Dropped,
    /// A person must look at it.
    Person,
}

impl Fate {
    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Changed => "changed",
            Fate::Dropped => "dropped",
            Fate::Person => "needs you",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// In the old source; 0 for what is about no single line.
    pub line: u32,
    /// What became of it.
    pub fate: Fate,
    /// Where, in the old structure.
    pub path: String,
    /// What, and why.
    pub message: String,
}

/// What came of an import.
#[derive(Debug, Serialize)]
pub struct Imported {
    /// The new definition, in YAML.
    pub definition: String,
    /// In order of the old lines.
    pub report: Vec<Entry>,
    /// The new definition has no problem.
    pub valid: bool,
    /// Problems of the new definition, with places in it.
    pub diagnostics: Vec<Diagnostic>,
}

/// Keys of the definition that have no meaning here.
const ABOUT: &[&str] = &[
    "id",
    "user_id",
    "session_id",
    "entanglement_id",
    "tags",
    "created_by",
    "created_at",
    "updated_at",
    "version",
    "author",
    "metadata",
    "workflow_id",
];

/// What is known while a definition is turned.
pub(super) struct Importer {
    report: Vec<Entry>,
    /// Old step ids with the new ones.
    steps: BTreeMap<String, String>,
    /// Variables that steps before have set.
    vars: BTreeSet<String>,
    /// Names that must come from outside, with a default where there is one.
    inputs: BTreeMap<String, Option<Value>>,
    /// What a name means that is neither step nor variable: in loops, in transforms.
    locals: Vec<(String, String)>,
    /// Numbers steps that had no id.
    unnamed: usize,
}

/// Turns a definition. An error says why there is nothing to turn.
pub fn import(source: &str) -> Result<Imported> {
    let document = crate::validate::document(source).map_err(|problems| {
        let first = problems.first().map_or_else(String::new, |problem| {
            format!("line {}, column {}: {}", problem.pos.line, problem.pos.column, problem.message)
        });
        Error::new(&own::IMPORT, format!("the file does not parse: {first}"))
            .help("it must be YAML or JSON in UTF-8")
            .diagnostics_of(problems)
    })?;
    let (record, definition) = find(&document)?;
    let mut importer = Importer {
        report: Vec::new(),
        steps: BTreeMap::new(),
        vars: BTreeSet::new(),
        inputs: BTreeMap::new(),
        locals: Vec::new(),
        unnamed: 0,
    };
    let is_visual =
        definition.get("nodes").is_some() || definition.get("type").and_then(Node::as_str) == Some("visual");
    let tree = if is_visual {
        importer.visual(record, definition)?
    } else {
        importer.orchestrated(record, definition)?
    };
    Ok(importer.finish(&tree))
}

/// The record around a definition, when there is one, and the definition.
fn find(document: &Node) -> Result<(Option<&Node>, &Node)> {
    let NodeValue::Map(_) = &document.value else {
        let message = format!("a definition is a map with keys, this is {}", kind(document));
        return Err(refused(document.pos, "", message, "hand over one definition at a time"));
    };
    let inner = ["definition", "workflow"].iter().find_map(|key| document.get(key));
    let (record, definition) = match inner {
        Some(inner) if matches!(inner.value, NodeValue::Map(_)) => (Some(document), inner),
        _ => (None, document),
    };
    if definition.get("steps").is_none() && definition.get("nodes").is_none() {
        let message = "there are neither `steps` nor `nodes`".to_owned();
        let help = "the old form has `steps`, or `nodes` and `edges`, at the top or below `definition`";
        return Err(refused(definition.pos, "", message, help));
    }
    Ok((record, definition))
}

fn refused(pos: Pos, path: &str, message: String, help: &str) -> Error {
    let problem = Diagnostic {
        code: own::IMPORT.id,
        severity: Severity::Error,
        pos: PosJson::from(pos),
        path: path.to_owned(),
        message: message.clone(),
        hint: Some(help.to_owned()),
    };
    Error::new(&own::IMPORT, message).help(help).diagnostics_of(vec![problem])
}

impl Importer {
    pub(super) fn say(&mut self, fate: Fate, pos: Pos, path: &str, message: impl Into<String>) {
        let entry = Entry { line: pos.line, fate, path: path.to_owned(), message: message.into() };
        if !self.report.contains(&entry) {
            self.report.push(entry);
        }
    }

    fn finish(mut self, tree: &Node) -> Imported {
        let definition = yaml::write(tree);
        let checked = crate::validate::check(&definition);
        for problem in &checked.diagnostics {
            let message = if problem.code == code::NOT_YET.id {
                format!("{}; the definition is right and waits for it", problem.message)
            } else {
                let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
                let at = format!("line {} of the new definition", problem.pos.line);
                format!("{at}: {} ({}){hint}", problem.message, problem.code)
            };
            self.say(Fate::Person, Pos::default(), &problem.path, message);
        }
        self.report.sort_by(|a, b| {
            (a.line == 0, a.line, &a.path, a.fate).cmp(&(b.line == 0, b.line, &b.path, b.fate))
        });
        Imported {
            definition,
            valid: checked.definition.is_some(),
            diagnostics: checked.diagnostics,
            report: self.report,
        }
    }

    /// The orchestrator form.
    fn orchestrated(&mut self, record: Option<&Node>, definition: &Node) -> Result<Node> {
        let mut out = self.head(record, definition);
        let kind = match definition.get("type") {
            None => "sequential",
            Some(node) => match node.as_str() {
                Some("parallel") => "parallel",
                Some("conditional") => "conditional",
                Some("sequential") => "sequential",
                _ => {
                    let message = "an unknown type ran as `sequential`, and does so now";
                    self.say(Fate::Changed, node.pos, "type", message);
                    "sequential"
                }
            },
        };
        if kind != "sequential" {
            out.push(("type".to_owned(), text(kind)));
        }
        let steps = definition.get("steps").map(|steps| (steps.pos, &steps.value));
        let Some((_, NodeValue::List(items))) = steps else {
            let message = "`steps` must be a list".to_owned();
            return Err(refused(definition.pos, "steps", message, "write one step below the other"));
        };
        if items.is_empty() {
            let message = "`steps` is empty, so there is nothing to import".to_owned();
            return Err(refused(definition.pos, "steps", message, "a definition has at least one step"));
        }
        self.declare(items);
        let steps = self.steps(items, "steps", kind);
        self.close(out, steps, None)
    }

    /// Name, description, timeout; and what is said of the rest.
    fn head(&mut self, record: Option<&Node>, definition: &Node) -> Vec<(String, Node)> {
        let mut out = Vec::new();
        let both = |key: &str| record.and_then(|record| record.get(key)).or_else(|| definition.get(key));
        let name = both("name").and_then(Node::as_str).unwrap_or_default();
        let safe = safe_name(name);
        let pos = both("name").map_or(definition.pos, |node| node.pos);
        if safe.is_empty() {
            self.say(Fate::Person, pos, "name", "there was no name; give it one in place of `imported`");
        } else if safe != name {
            self.say(
                Fate::Changed,
                pos,
                "name",
                format!("`{name}` became `{safe}`: names are lower-case words"),
            );
        }
        out.push(("name".to_owned(), text(if safe.is_empty() { "imported" } else { &safe })));
        let description = both("description").and_then(Node::as_str).filter(|text| !text.is_empty());
        match description {
            Some(description) => out.push(("description".to_owned(), text(description))),
            None if safe != name && !name.is_empty() => out.push(("description".to_owned(), text(name))),
            None => {}
        }
        self.timeout(&mut out, both("timeout_hours"), definition.pos);
        for node in [record, Some(definition)].into_iter().flatten() {
            self.rest_of_head(node);
        }
        out
    }

    fn timeout(&mut self, out: &mut Vec<(String, Node)>, hours: Option<&Node>, pos: Pos) {
        let Some(node) = hours else {
            let message = "the predecessor ended every run after one hour; write `timeout: 1h` to keep that";
            return self.say(Fate::Dropped, pos, "timeout_hours", message);
        };
        let hours = node.to_json().as_f64().filter(|hours| *hours > 0.0);
        match hours.map(|hours| (hours * 60.0).round()) {
            Some(minutes) if minutes >= 1.0 => {
                let written = match minutes % 60.0 == 0.0 {
                    true => format!("{}h", minutes / 60.0),
                    false => format!("{minutes}m"),
                };
                let message = format!("became `timeout: {written}`, which counts waits too");
                self.say(Fate::Changed, node.pos, "timeout_hours", message);
                out.push(("timeout".to_owned(), text(&written)));
            }
            _ => self.say(
                Fate::Person,
                node.pos,
                "timeout_hours",
                "this is no number of hours; write `timeout`",
            ),
        }
    }

    fn rest_of_head(&mut self, node: &Node) {
        const READ: &[&str] = &[
            "name",
            "description",
            "type",
            "steps",
            "nodes",
            "edges",
            "timeout_hours",
            "definition",
            "workflow",
        ];
        let NodeValue::Map(entries) = &node.value else { return };
        for (key, pos, value) in entries.iter().filter(|(key, _, _)| !READ.contains(&key.as_str())) {
            match key.as_str() {
                "status" => match value.as_str() {
                    Some("draft" | "inactive" | "stopped" | "failed") => {
                        let message = "it was not active; a deployed workflow is";
                        self.say(Fate::Person, *pos, "status", message);
                    }
                    _ => self.say(Fate::Dropped, *pos, "status", "a deployed workflow is active"),
                },
                "variables" | "inputs" | "parameters" => self.given(key, value),
                key if ABOUT.contains(&key) => {
                    self.say(Fate::Dropped, *pos, key, "not a part of a definition any more");
                }
                key => {
                    let message =
                        format!("`{key}` is not known; it had no effect, or one that is not known here");
                    self.say(Fate::Person, *pos, key, message);
                }
            }
        }
    }

    /// Variables with their first values: inputs with defaults.
    fn given(&mut self, key: &str, node: &Node) {
        let NodeValue::Map(entries) = &node.value else {
            return self.say(Fate::Person, node.pos, key, "this is not a map of names and values");
        };
        for (name, pos, value) in entries {
            self.inputs.insert(name.clone(), Some(value.to_json()));
            let message = "became an input with a default";
            self.say(Fate::Changed, *pos, &format!("{key}.{name}"), message);
        }
    }

    /// The definition as a whole, keys in the order in which people write them.
    fn close(
        &mut self,
        mut out: Vec<(String, Node)>,
        steps: Vec<Node>,
        output: Option<Node>,
    ) -> Result<Node> {
        if !self.inputs.is_empty() {
            let properties = self.inputs.iter().map(|(name, default)| {
                let schema = match default {
                    Some(default) => map(vec![("default".to_owned(), value::from_json(default))]),
                    None => map(Vec::new()),
                };
                (name.clone(), schema)
            });
            let schema = map(vec![
                ("type".to_owned(), text("object")),
                ("properties".to_owned(), map(properties.collect())),
            ]);
            out.push(("inputs".to_owned(), schema));
            let open: Vec<&str> = self
                .inputs
                .iter()
                .filter(|(_, default)| default.is_none())
                .map(|(name, _)| name.as_str())
                .collect();
            if !open.is_empty() {
                let message = format!(
                    "{} must come from outside; give each a type, and a default where one is known",
                    listed(&open)
                );
                self.say(Fate::Person, Pos::default(), "inputs", message);
            }
        }
        out.push(("steps".to_owned(), value::list(steps)));
        out.extend(output.map(|output| ("output".to_owned(), output)));
        Ok(map(out))
    }
}

/// A workflow's name by the rules of names.
fn safe_name(name: &str) -> String {
    let mut safe = String::new();
    for c in step::plain(name).chars() {
        match c {
            'a'..='z' | '0'..='9' | '_' => safe.push(c),
            _ if !safe.ends_with('-') && !safe.is_empty() => safe.push('-'),
            _ => {}
        }
    }
    safe.truncate(63);
    safe.trim_end_matches('-').trim_start_matches('_').to_owned()
}
