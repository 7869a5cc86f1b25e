//! From the tree of a document to a [`Definition`], by the tables of [`super::keys`].
//!
//! Decoding is total: what is wrong is reported and replaced by something harmless, so one mistake never
//! hides another. The result is therefore handed out only when no error was found. What can be judged from
//! one value alone (words, ranges, durations, URLs, schemas) is judged here; what needs other steps or the
//! compiled expressions is judged in [`super::check`].

mod action;
mod ask;
mod control;
mod convert;
mod ending;
mod gpio;
mod http;
mod schema;
mod secret;
mod step;
mod text;
mod transform;
mod trigger;
mod value;

use std::collections::HashSet;

use super::findings::{Findings, key_path, shown};
use super::keys::{self, Key, Standing, Table};
use super::known::Known;
use crate::error::code::definition as code;
use crate::error::{Code, Pos, similar};
use crate::limits::RETRY_MAX_DELAY_DEFAULT;
use crate::limits::{RETRY_ATTEMPTS_DEFAULT, RETRY_DELAY_DEFAULT};
use crate::model::document::{Node, NodeValue};
use crate::model::{Backoff, Definition, Retry, WorkflowKind};

pub use schema::{compile as compile_schema, misfits};
pub(super) use value::ROOTS;

/// What decoding found besides problems.
pub(super) struct Decoded {
    /// With placeholders where there were errors.
    pub(super) definition: Definition,
    /// Ids of steps that stand somewhere in the source, decoded or not: no use saying they do not exist.
    pub(super) ids_written: HashSet<String>,
    /// The same for variables.
    pub(super) variables_written: HashSet<String>,
    /// What `config` has, where that is known.
    pub(super) constants: Option<Vec<String>>,
}

/// Decodes a document. `None` when it is not even a map.
pub(super) fn decode(document: &Node, known: &Known, findings: &mut Findings) -> Option<Decoded> {
    let mut decoder = Decoder { findings, known, steps: 0, step_bound_told: false };
    let definition = decoder.definition(document)?;
    let (mut ids_written, mut variables_written) = (HashSet::new(), HashSet::new());
    written(document, &mut ids_written, &mut variables_written);
    Some(Decoded { definition, ids_written, variables_written, constants: known.constants.clone() })
}

/// Collects the ids and variables that stand anywhere in a tree.
fn written(node: &Node, ids: &mut HashSet<String>, variables: &mut HashSet<String>) {
    match &node.value {
        NodeValue::List(items) => items.iter().for_each(|item| written(item, ids, variables)),
        NodeValue::Map(entries) => {
            for (key, _, value) in entries {
                match (key.as_str(), &value.value) {
                    ("id", NodeValue::String(id)) => drop(ids.insert(id.clone())),
                    ("output_variable", NodeValue::String(name)) => drop(variables.insert(name.clone())),
                    ("variables", NodeValue::Map(entries)) => {
                        variables.extend(entries.iter().map(|(name, _, _)| name.clone()));
                    }
                    _ => {}
                }
                written(value, ids, variables);
            }
        }
        _ => {}
    }
}

/// Decodes and reports.
pub(super) struct Decoder<'f> {
    pub(super) findings: &'f mut Findings,
    /// What the machine has.
    pub(super) known: &'f Known,
    /// Steps so far, nested ones included.
    steps: usize,
    /// The bound on steps is reported once.
    step_bound_told: bool,
}

/// A map of the document that is read by a table.
#[derive(Clone)]
struct Map<'d> {
    table: &'static Table,
    entries: &'d [(String, Pos, Node)],
    pos: Pos,
    path: String,
}

impl<'d> Map<'d> {
    /// The value of a key that this version takes.
    fn get(&self, key: &str) -> Option<&'d Node> {
        debug_assert!(self.table.key(key).is_some(), "`{key}` is not in the table of {}", self.table.what);
        self.entries.iter().find(|(name, _, _)| name == key).map(|(_, _, node)| node)
    }

    fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Where a key stands; the map's own place when it is not there.
    fn key_pos(&self, key: &str) -> Pos {
        self.entries.iter().find(|(name, _, _)| name == key).map_or(self.pos, |(_, pos, _)| *pos)
    }

    fn path_of(&self, key: &str) -> String {
        key_path(&self.path, key)
    }
}

impl Decoder<'_> {
    fn error(
        &mut self,
        code: &Code,
        pos: Pos,
        path: &str,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.findings.error(code, pos, path, message, hint);
    }

    /// Reads a map by its table and reports every key that should or should not be there. `beside` is the
    /// table of the neighbour where a misplaced key may belong, and how to say so.
    fn map<'d>(
        &mut self,
        node: &'d Node,
        path: &str,
        table: &'static Table,
        beside: Option<(&'static Table, &'static str)>,
    ) -> Option<Map<'d>> {
        let NodeValue::Map(entries) = &node.value else {
            let hint = self.known_keys(table);
            let message = format!("{} must be a map with keys, this is {}", table.what, value::kind(node));
            self.error(&code::WRONG_TYPE, node.pos, path, message, hint);
            return None;
        };
        let map = Map { table, entries, pos: node.pos, path: path.to_owned() };
        // Of a transform without a known type nothing is known but that.
        let judged = if std::ptr::eq(table, &keys::TRANSFORM) { &[] } else { entries.as_slice() };
        for (name, pos, _) in judged {
            self.key(&map, name, *pos, beside);
        }
        for key in table.keys.iter().filter(|key| key.standing == Standing::Required) {
            if !map.has(key.name) {
                let message = format!("`{}` is missing in {}", key.name, table.what);
                self.error(&code::MISSING_KEY, node.pos, &map.path, message, key.doc.to_owned());
            }
        }
        Some(map)
    }

    /// Reports a key that is not to be here.
    fn key(&mut self, map: &Map<'_>, name: &str, pos: Pos, beside: Option<(&'static Table, &'static str)>) {
        if self.findings.is_full() {
            return;
        }
        let path = map.path_of(name);
        let what = map.table.what;
        match map.table.key(name) {
            Some(Key { standing: Standing::Old(instead), .. }) => {
                let message = format!("`{name}` in {what} is an old or foreign spelling");
                self.error(&code::OLD_NAME, pos, &path, message, (*instead).to_owned());
            }
            Some(_) => {}
            None => {
                let key = shown(name, 60);
                if let Some((table, place)) = beside
                    && table.key(name).is_some()
                {
                    let message = format!("`{key}` does not belong into {what}");
                    return self.error(&code::MISPLACED_KEY, pos, &path, message, place.to_owned());
                }
                let hint = match similar(name, map.table.names()) {
                    Some(meant) => Some(format!("did you mean `{meant}`?")),
                    None => self.known_keys(map.table),
                };
                self.error(&code::UNKNOWN_KEY, pos, &path, format!("unknown key `{key}` in {what}"), hint);
            }
        }
    }

    fn known_keys(&self, table: &Table) -> Option<String> {
        let names: Vec<_> = table.names().collect();
        Some(format!("it takes {}", listed(&names)))
    }

    fn definition(&mut self, document: &Node) -> Option<Definition> {
        let map = self.map(document, "", &keys::DEFINITION, None)?;
        let name = self.name(&map, "name", value::Rule::Safe).unwrap_or_default();
        let kind = match self.choice(&map, "type") {
            Some("parallel") => WorkflowKind::Parallel,
            Some("conditional") => {
                WorkflowKind::Conditional { first_only: self.choice(&map, "match") == Some("first") }
            }
            _ => WorkflowKind::Sequential,
        };
        self.only_for(&map, "match", matches!(kind, WorkflowKind::Conditional { .. }), "`type: conditional`");
        self.only_for(&map, "max_parallel_steps", kind == WorkflowKind::Parallel, "`type: parallel`");
        if let Some(node) = map.get("inputs") {
            self.inputs(node, &map.path_of("inputs"));
        }
        let placement = match kind {
            WorkflowKind::Parallel => step::Placement::Beside,
            WorkflowKind::Conditional { .. } => step::Placement::Conditional,
            WorkflowKind::Sequential => step::Placement::Sequence,
        };
        Some(Definition {
            name,
            description: self.literal(&map, "description"),
            kind,
            inputs: map.get("inputs").map(Node::to_json),
            timeout: self.duration(&map, "timeout"),
            retry: self.retry(&map),
            max_parallel_steps: self.number(&map, "max_parallel_steps"),
            steps: self.steps(&map, "steps", placement, 1),
            output: self.template(&map, "output"),
            catch: self.phase(&map, "catch"),
            finally: self.phase(&map, "finally"),
            notify_on_failure: self.on_failure(&map),
            keep: self.keep(&map),
            publish: self.publish(&map),
            triggers: self.triggers(&map),
            concurrency: self.concurrency(&map),
        })
    }

    /// Reports a key that has a meaning only together with another.
    fn only_for(&mut self, map: &Map<'_>, key: &str, fits: bool, with: &str) {
        if map.has(key) && !fits {
            let message = format!("`{key}` has a meaning only with {with}");
            let hint = Some(format!("remove `{key}`, or set {with}"));
            self.error(&code::EXCLUSIVE, map.key_pos(key), &map.path_of(key), message, hint);
        }
    }

    /// Reports two or more keys of a group in which only one may stand, and with `needed` none at all.
    /// Says which one stands.
    fn one_of(&mut self, map: &Map<'_>, group: &[&'static str], needed: bool) -> Option<&'static str> {
        let there: Vec<&'static str> = group.iter().copied().filter(|key| map.has(key)).collect();
        if let [first, others @ ..] = &there[..] {
            for other in others {
                let message = format!("`{other}` and `{first}` do not go together in {}", map.table.what);
                let hint = Some(format!("keep one of {}", listed(group)));
                self.error(&code::EXCLUSIVE, map.key_pos(other), &map.path_of(other), message, hint);
            }
        } else if needed {
            let message = format!("{} needs one of {}", map.table.what, listed(group));
            self.error(&code::MISSING_KEY, map.pos, &map.path, message, None);
        }
        there.first().copied()
    }

    fn retry(&mut self, map: &Map<'_>) -> Option<Retry> {
        let node = map.get("retry")?;
        let path = map.path_of("retry");
        let retry = self.map(node, &path, &keys::RETRY, None)?;
        let delay = self.duration(&retry, "delay");
        let max_delay = self.duration(&retry, "max_delay");
        if let (Some(delay), Some(max_delay)) = (delay, max_delay)
            && delay > max_delay
        {
            let message = "`delay` is longer than `max_delay`";
            let hint = Some("make `max_delay` the longer one".to_owned());
            self.error(&code::RANGE, retry.key_pos("max_delay"), &retry.path_of("max_delay"), message, hint);
        }
        let delay =
            delay.unwrap_or_else(|| RETRY_DELAY_DEFAULT.min(max_delay.unwrap_or(RETRY_DELAY_DEFAULT)));
        Some(Retry {
            attempts: self.number(&retry, "attempts").unwrap_or(RETRY_ATTEMPTS_DEFAULT),
            backoff: match self.choice(&retry, "backoff") {
                Some("fixed") => Backoff::Fixed,
                _ => Backoff::Exponential,
            },
            delay,
            max_delay: max_delay.unwrap_or(RETRY_MAX_DELAY_DEFAULT).max(delay),
            full_jitter: self.choice(&retry, "jitter") != Some("none"),
            on: self.choices(&retry, "on", keys::RETRY_CLASSES_LATER),
        })
    }
}

/// Words as a list for people: `a`, `b`, `c`.
fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
