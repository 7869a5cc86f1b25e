//! What follows a run's steps: `catch`, `finally`, `compensate`, `on_failure`, `keep`; and `publish`, which is beside them.

use super::step::Placement;
use super::value::Rule;
use super::{Decoder, Map};
use crate::error::code::definition as code;
use crate::limits::STEPS_MAX;
use crate::model::document::{Node, NodeValue};
use crate::model::{ForMcp, Keep, Publish, Step};
use crate::validate::findings::key_path;
use crate::validate::keys;

impl Decoder<'_> {
    /// The steps of `catch` or `finally`. What runs in `finally` is not undone: nothing comes after it.
    pub(super) fn phase(&mut self, map: &Map<'_>, key: &str) -> Vec<Step> {
        if key == "finally"
            && let Some(node) = map.get(key)
        {
            self.nothing_undone(node, &map.path_of(key));
        }
        self.steps(map, key, Placement::Sequence, 1)
    }

    fn nothing_undone(&mut self, node: &Node, path: &str) {
        match &node.value {
            NodeValue::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.nothing_undone(item, &crate::validate::findings::index_path(path, index));
                }
            }
            NodeValue::Map(entries) => {
                let is_step = node.get("id").is_some() && node.get("type").is_some();
                for (key, pos, value) in entries {
                    let path = key_path(path, key);
                    if is_step && key == "compensate" {
                        let message = "`compensate` has no meaning in `finally`: these steps put things right themselves";
                        let hint = "move the step to `steps`, or remove `compensate`".to_owned();
                        self.error(&code::EXCLUSIVE, *pos, &path, message, hint);
                    } else {
                        self.nothing_undone(value, &path);
                    }
                }
            }
            _ => {}
        }
    }

    /// The step that undoes another.
    pub(super) fn compensate(&mut self, map: &Map<'_>, kind: Option<&str>, level: usize) -> Option<Step> {
        let node = map.get("compensate")?;
        let (pos, path) = (map.key_pos("compensate"), map.path_of("compensate"));
        if let Some(kind) = kind.filter(|kind| {
            !keys::COMPENSABLE.contains(kind) && keys::STEP_TYPES.iter().any(|(name, _)| name == kind)
        }) {
            let message = format!("`compensate` has no meaning on a step of type `{kind}`");
            let hint = match kind {
                "condition" | "loop" | "parallel" => {
                    "write it on the steps inside that leave something behind"
                }
                _ => "such a step leaves nothing behind that could be undone; remove `compensate`",
            };
            self.error(&code::EXCLUSIVE, pos, &path, message, hint.to_owned());
        }
        let own = node.get("type").and_then(Node::as_str);
        if let Some(own) = own.filter(|own| keys::NOT_COMPENSATING.contains(own)) {
            let message = format!("a step of type `{own}` cannot undo another: it must be a single action");
            let hint = "start a workflow that does it: `type: workflow`".to_owned();
            self.error(&code::EXCLUSIVE, node.pos, &path, message, hint);
            return None;
        }
        let unread = [
            ("compensate", "what undoes a step is not undone itself; remove it"),
            ("on_error", "the other steps are undone in any case; remove it"),
        ];
        for (key, hint) in unread {
            if let NodeValue::Map(entries) = &node.value
                && let Some((_, pos, _)) = entries.iter().find(|(name, _, _)| name == key)
            {
                let message = format!("`{key}` has no meaning in `compensate`");
                self.error(&code::EXCLUSIVE, *pos, &key_path(&path, key), message, hint.to_owned());
                if key == "compensate" {
                    return None;
                }
            }
        }
        self.steps += 1;
        if self.steps > STEPS_MAX {
            self.too_many_steps(node.pos, &path);
            return None;
        }
        self.step(node, &path, Placement::Sequence, level)
    }

    /// `on_failure: { notify: true }`.
    pub(super) fn on_failure(&mut self, map: &Map<'_>) -> bool {
        let path = map.path_of("on_failure");
        let Some(node) = map.get("on_failure") else { return false };
        let read = self.map(node, &path, &keys::ON_FAILURE, None);
        read.and_then(|read| self.flag(&read, "notify")).unwrap_or(false)
    }

    /// `keep`.
    pub(super) fn keep(&mut self, map: &Map<'_>) -> Keep {
        let path = map.path_of("keep");
        let Some(node) = map.get("keep") else { return Keep::default() };
        let Some(keep) = self.map(node, &path, &keys::KEEP, None) else { return Keep::default() };
        Keep {
            completed: self.duration(&keep, "completed"),
            failed: self.duration(&keep, "failed"),
            max_runs: self.number(&keep, "max_runs"),
        }
    }

    /// `publish: { mcp: true }`, or `{ mcp: { name, content } }`.
    pub(super) fn publish(&mut self, map: &Map<'_>) -> Publish {
        let path = map.path_of("publish");
        let Some(node) = map.get("publish") else { return Publish::default() };
        let Some(read) = self.map(node, &path, &keys::PUBLISH, None) else { return Publish::default() };
        let mcp = match read.get("mcp") {
            Some(node) if matches!(node.value, NodeValue::Map(_)) => {
                self.tool(node, &read.path_of("mcp")).unwrap_or_default()
            }
            _ => ForMcp { is_tool: self.flag(&read, "mcp").unwrap_or(false), ..ForMcp::default() },
        };
        Publish { mcp }
    }

    fn tool(&mut self, node: &Node, path: &str) -> Option<ForMcp> {
        let face = self.map(node, path, &keys::PUBLISH_MCP, None)?;
        let name = self.name(&face, "name", Rule::Tool);
        Some(ForMcp { is_tool: true, name, gives_content: self.flag(&face, "content").unwrap_or(false) })
    }
}
