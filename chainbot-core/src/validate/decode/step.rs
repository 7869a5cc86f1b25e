//! Lists of steps, and the keys that every step has.

use super::action::Configured;
use super::value::{Rule, kind};
use super::{Decoder, Map};
use crate::error::code::definition as code;
use crate::error::{Pos, similar};
use crate::limits::{NESTING_MAX, STEPS_MAX};
use crate::model::document::{Node, NodeValue};
use crate::model::{Action, OnError, OnUncertain, Step};
use crate::validate::findings::{index_path, shown};
use crate::validate::keys::{self, Table};

/// How the steps of a list go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// One after another.
    Sequence,
    /// Each as its `when` says, which it must have.
    Conditional,
    /// Side by side; `depends_on` is read.
    Beside,
}

impl Decoder<'_> {
    /// The list of steps at a key; empty when it is not there. `level` counts from 1.
    pub(super) fn steps(
        &mut self,
        map: &Map<'_>,
        key: &str,
        placement: Placement,
        level: usize,
    ) -> Vec<Step> {
        match map.get(key) {
            Some(node) => self.steps_of(node, &map.path_of(key), placement, level),
            None => Vec::new(),
        }
    }

    /// A list of steps.
    pub(super) fn steps_of(
        &mut self,
        node: &Node,
        path: &str,
        placement: Placement,
        level: usize,
    ) -> Vec<Step> {
        let NodeValue::List(items) = &node.value else {
            let hint = "write `- id: ...` for each step".to_owned();
            let message = format!("steps must be a list, this is {}", kind(node));
            self.error(&code::WRONG_TYPE, node.pos, path, message, hint);
            return Vec::new();
        };
        if items.is_empty() {
            self.error(
                &code::RANGE,
                node.pos,
                path,
                "the list of steps is empty",
                "add a step or remove the key".to_owned(),
            );
        }
        if level > NESTING_MAX {
            let message = format!("steps are nested more than {NESTING_MAX} deep");
            let hint = "move the inner steps to a workflow of their own".to_owned();
            self.error(&code::TOO_MANY_STEPS, node.pos, path, message, hint);
            return Vec::new();
        }
        let mut steps = Vec::new();
        for (i, item) in items.iter().enumerate() {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                self.too_many_steps(item.pos, path);
                break;
            }
            steps.extend(self.step(item, &index_path(path, i), placement, level));
        }
        steps
    }

    pub(super) fn too_many_steps(&mut self, pos: Pos, path: &str) {
        if !self.step_bound_told {
            self.step_bound_told = true;
            let message = format!("the definition has more than {STEPS_MAX} steps");
            let hint = "split it into several workflows, or use a loop".to_owned();
            self.error(&code::TOO_MANY_STEPS, pos, path, message, hint);
        }
    }

    pub(super) fn step(
        &mut self,
        node: &Node,
        path: &str,
        placement: Placement,
        level: usize,
    ) -> Option<Step> {
        let type_name = node.get("type").and_then(Node::as_str);
        let table = type_name.and_then(|name| config_table(name, node.get("config")));
        let beside = table.map(|table| (table, "move it under `config`"));
        let map = self.map(node, path, &keys::STEP, beside)?;
        let id = self.name(&map, "id", Rule::Step).unwrap_or_default();
        let configured = match type_name {
            Some(name) => self.configured(&map, name, table, level),
            None => {
                self.name(&map, "type", Rule::Step);
                Configured::broken()
            }
        };
        if placement == Placement::Conditional && !map.has("when") {
            let message = "`when` is missing: in a workflow of `type: conditional` every step needs it";
            let hint = "add `when: true` for a step that always runs".to_owned();
            self.error(&code::MISSING_KEY, map.pos, &map.path, message, hint);
        }
        if matches!(&configured.action, Action::Webhook(webhook) if webhook.is_queued) {
            self.without_tries(&map);
        }
        let timeout = self.duration(&map, "timeout");
        Some(Step {
            id,
            pos: node.pos,
            name: self.literal(&map, "name"),
            when: self.expr(&map, "when"),
            timeout: self.one_timeout(&map, timeout, configured.timeout).or(configured.timeout_default),
            retry: self.retry(&map),
            on_error: match self.choice(&map, "on_error") {
                Some("continue") => OnError::Continue,
                _ => OnError::Fail,
            },
            on_uncertain: self.choice(&map, "on_uncertain").map(|word| match word {
                "retry" => OnUncertain::Retry,
                "ask" => OnUncertain::Ask,
                _ => OnUncertain::Fail,
            }),
            output_variable: self.name(&map, "output_variable", Rule::Variable),
            depends_on: self.depends_on(&map, placement),
            checkpoint: self.flag(&map, "checkpoint").unwrap_or(false),
            action: configured.action,
            compensate: self.compensate(&map, type_name, level).map(Box::new),
        })
    }

    /// A step that only hands its message over tries nothing, so what is said of tries would have no effect.
    fn without_tries(&mut self, map: &Map<'_>) {
        for key in ["retry", "timeout"].into_iter().filter(|key| map.has(key)) {
            let hint = "remove it: the outbox has its own schedule of tries, over days; `delivery: step` tries as `retry` says";
            let message = format!("`{key}` has no effect beside `delivery: outbox`");
            self.error(&code::EXCLUSIVE, map.key_pos(key), &map.path_of(key), message, hint.to_owned());
        }
    }

    /// `wait` may have its `timeout` in `config`; both at once would leave open which one counts.
    fn one_timeout(
        &mut self,
        map: &Map<'_>,
        step: Option<std::time::Duration>,
        config: Option<std::time::Duration>,
    ) -> Option<std::time::Duration> {
        if step.is_some() && config.is_some() {
            let hint = Some("keep one of them".to_owned());
            let message = "`timeout` is both on the step and in its `config`";
            self.error(&code::EXCLUSIVE, map.key_pos("timeout"), &map.path_of("timeout"), message, hint);
        }
        step.or(config)
    }

    fn configured(
        &mut self,
        map: &Map<'_>,
        type_name: &str,
        table: Option<&'static Table>,
        level: usize,
    ) -> Configured {
        let Some(table) = table else {
            self.unknown_type(map, type_name);
            return Configured::broken();
        };
        let path = map.path_of("config");
        let Some(node) = map.get("config") else {
            let moved = map
                .entries
                .iter()
                .any(|(key, _, _)| keys::STEP.key(key).is_none() && table.key(key).is_some());
            if !moved {
                let message = format!("`config` is missing: a step of type `{type_name}` needs it");
                let hint = self.known_keys(table);
                self.error(&code::MISSING_KEY, map.pos, &map.path, message, hint);
            }
            return Configured::broken();
        };
        let step_only = (&keys::STEP, "move it to the step, beside `config`");
        match self.map(node, &path, table, Some(step_only)) {
            Some(config) => self.action(type_name, &config, level),
            None => Configured::broken(),
        }
    }

    fn unknown_type(&mut self, map: &Map<'_>, type_name: &str) {
        let Some(node) = map.get("type") else { return };
        let words: Vec<&'static str> = keys::STEP_TYPES.iter().map(|(name, _)| *name).collect();
        let path = map.path_of("type");
        // Announced types take part in guessing, or `emial` would be explained by something far off.
        if !keys::STEP_TYPES_LATER.contains(&type_name)
            && similar(type_name, words.iter().copied()).is_none()
            && let Some(meant) = similar(type_name, keys::STEP_TYPES_LATER.iter().copied())
        {
            let message = format!("unknown type of step `{}`", shown(type_name, 60));
            let hint = format!("did you mean `{meant}`? It is not in this version yet");
            return self.error(&code::UNKNOWN_VALUE, node.pos, &path, message, hint);
        }
        self.word(node, &path, "the type of a step", type_name, &words, keys::STEP_TYPES_LATER);
    }

    fn depends_on(&mut self, map: &Map<'_>, placement: Placement) -> Vec<(String, Pos)> {
        let Some(node) = map.get("depends_on") else { return Vec::new() };
        let path = map.path_of("depends_on");
        if placement != Placement::Beside {
            let message = "`depends_on` is read only in a workflow of `type: parallel` and in `parallel`";
            let hint = "remove it: these steps run in the order written".to_owned();
            self.error(&code::DEPENDS_ON, map.key_pos("depends_on"), &path, message, hint);
            return Vec::new();
        }
        let items = match &node.value {
            NodeValue::List(items) => items.as_slice(),
            _ => {
                let message = format!("`depends_on` must be a list of step ids, this is {}", kind(node));
                let hint = node.as_str().map(|id| format!("write `depends_on: [{}]`", shown(id, 60)));
                self.error(&code::WRONG_TYPE, node.pos, &path, message, hint);
                &[]
            }
        };
        let mut out = Vec::new();
        for (i, item) in items.iter().enumerate() {
            match item.as_str() {
                Some(id) => out.push((id.to_owned(), item.pos)),
                None => {
                    let message = format!("`depends_on` lists step ids, this is {}", kind(item));
                    self.error(&code::WRONG_TYPE, item.pos, &index_path(&path, i), message, None);
                }
            }
        }
        out
    }
}

impl Configured {
    /// Stands in for an action that could not be read.
    fn broken() -> Self {
        Self { action: Action::Set { variables: Vec::new() }, timeout: None, timeout_default: None }
    }
}

/// The table of a type's `config`; that of a transform depends on its own type.
fn config_table(type_name: &str, config: Option<&Node>) -> Option<&'static Table> {
    let (_, table) = keys::STEP_TYPES.iter().find(|(name, _)| *name == type_name)?;
    if type_name != "transform" {
        return Some(table);
    }
    let kind = config.and_then(|config| config.get("type")).and_then(Node::as_str);
    let known = keys::TRANSFORM_TYPES.iter().find(|(name, _)| Some(*name) == kind);
    Some(known.map_or(table, |(_, table)| table))
}
