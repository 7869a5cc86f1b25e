//! `wait` for what comes from outside on its own account: an event, or a person's decision.

use super::action::nothing;
use super::value::{Rule, constant, kind};
use super::{Decoder, Map};
use crate::error::code::definition as code;
use crate::expr::topic;
use crate::limits::{ACTIONS_MAX, APPROVERS_MAX};
use crate::model::document::{Node, NodeValue};
use crate::model::inbox::APPROVAL_ACTIONS;
use crate::model::{WaitApproval, WaitFor};
use crate::validate::findings::{index_path, shown};
use crate::validate::keys;

impl Decoder<'_> {
    pub(super) fn wait_event(&mut self, map: &Map<'_>) -> WaitFor {
        let broken = WaitFor::Event { topic: nothing(map), when: None };
        let Some(node) = map.get("event") else { return broken };
        let (event, key) = match &node.value {
            NodeValue::Map(_) => match self.map(node, &map.path_of("event"), &keys::WAIT_EVENT, None) {
                Some(event) => (event, "topic"),
                None => return broken,
            },
            _ => (map.clone(), "event"),
        };
        let Some(topic) = self.text(&event, key) else { return broken };
        if constant(&topic).is_some_and(|text| !topic::is_pattern(text)) {
            let message = format!("`{}` is not a topic", shown(&topic.source, 80));
            let hint =
                "write words joined by dots: `garden.rain`; `*` stands for one word, a last `#` for the rest";
            self.at(&code::TOPIC, &event, key, message, Some(hint.to_owned()));
        }
        let when = if key == "topic" { self.expr(&event, "when") } else { None };
        WaitFor::Event { topic, when }
    }

    pub(super) fn wait_approval(&mut self, map: &Map<'_>) -> WaitFor {
        let broken = || WaitApproval {
            message: nothing(map),
            approvers: Vec::new(),
            actions: APPROVAL_ACTIONS.map(str::to_owned).to_vec(),
            default: None,
        };
        let approval = map
            .get("approval")
            .and_then(|node| self.map(node, &map.path_of("approval"), &keys::APPROVAL, None));
        let Some(approval) = approval else { return WaitFor::Approval(broken()) };
        let mut actions = self.names_of(&approval, "actions", Rule::Safe, ACTIONS_MAX);
        if actions.is_empty() {
            actions = broken().actions;
        }
        let default = self.name(&approval, "default", Rule::Safe);
        if let Some(default) = default.as_ref().filter(|default| !actions.contains(default)) {
            let message = format!("`default` is `{default}`, which is not one of the `actions`");
            let hint = format!("take one of {}", actions.join(", "));
            self.at(&code::RANGE, &approval, "default", message, Some(hint));
        }
        if default.is_some() && map.has("on_timeout") {
            let message = "`on_timeout` and the approval's `default` both say what running out of time does";
            let hint = "keep one of them".to_owned();
            self.at(&code::EXCLUSIVE, map, "on_timeout", message.to_owned(), Some(hint));
        }
        WaitFor::Approval(WaitApproval {
            message: self.text(&approval, "message").unwrap_or_else(|| nothing(map)),
            approvers: self.names_of(&approval, "approvers", Rule::Person, APPROVERS_MAX),
            actions,
            default,
        })
    }

    /// A list of names, each once; empty when the key is missing.
    pub(super) fn names_of(&mut self, map: &Map<'_>, key: &str, rule: Rule, most: usize) -> Vec<String> {
        let Some(node) = map.get(key) else { return Vec::new() };
        let path = map.path_of(key);
        let NodeValue::List(items) = &node.value else {
            let message = format!("`{key}` must be a list of names, this is {}", kind(node));
            self.error(&code::WRONG_TYPE, node.pos, &path, message, format!("write `{key}: [name]`"));
            return Vec::new();
        };
        if items.is_empty() || items.len() > most {
            let message = format!("`{key}` has {} names, it takes 1 to {most}", items.len());
            self.error(&code::RANGE, node.pos, &path, message, None);
        }
        let mut names: Vec<String> = Vec::new();
        for (index, item) in items.iter().enumerate().take(most) {
            names.extend(self.name_in(item, &index_path(&path, index), key, rule, &names));
        }
        names
    }

    fn name_in(
        &mut self,
        item: &Node,
        path: &str,
        key: &str,
        rule: Rule,
        earlier: &[String],
    ) -> Option<String> {
        let NodeValue::String(name) = &item.value else {
            let message = format!("`{key}` holds names, this is {}", kind(item));
            self.error(&code::WRONG_TYPE, item.pos, path, message, "put it in quotes".to_owned());
            return None;
        };
        if !self.check_name(item, path, name, rule) {
            return None;
        }
        if earlier.contains(name) {
            let message = format!("`{name}` is in `{key}` twice");
            self.error(&code::RANGE, item.pos, path, message, "keep one of them".to_owned());
            return None;
        }
        Some(name.clone())
    }
}
