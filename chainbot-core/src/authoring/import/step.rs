//! Steps of the orchestrator form.

mod action;

use super::value::{map, number, object, text};
use super::{Fate, Importer};
use crate::error::Pos;
use crate::model::document::{Node, NodeValue};

/// Keys of a step that are not its type's.
const COMMON: &[&str] = &[
    "id",
    "type",
    "name",
    "config",
    "condition",
    "when",
    "output_variable",
    "on_failure",
    "timeout",
    "timeout_seconds",
    "retry_count",
    "max_retries",
    "depends_on",
    "description",
    "true_steps",
    "false_steps",
];

/// Entries of a map under construction.
pub(super) type Entries = Vec<(String, Node)>;

/// The keys of a step's type, from `config` and from the step itself.
pub(super) struct Config<'n> {
    pub(super) entries: Vec<(&'n str, &'n Node)>,
    pub(super) path: String,
    pub(super) pos: Pos,
}

impl<'n> Config<'n> {
    /// Takes a key out.
    pub(super) fn take(&mut self, key: &str) -> Option<&'n Node> {
        let at = self.entries.iter().position(|(name, _)| *name == key)?;
        Some(self.entries.remove(at).1)
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }
}

impl Importer {
    /// Gives every step its new id before anything refers to it.
    pub(super) fn declare(&mut self, items: &[Node]) {
        for item in items {
            if let Some(old) = item.get("id").map(id_text).filter(|old| !old.is_empty()) {
                let new = self.free_id(&safe_id(&old));
                self.steps.entry(old).or_insert(new);
            }
            let inner = [item.get("steps"), item.get("config").and_then(|config| config.get("steps"))];
            for list in inner.into_iter().flatten() {
                if let NodeValue::List(items) = &list.value {
                    self.declare(items);
                }
            }
        }
    }

    /// An id that no step has yet.
    pub(super) fn free_id(&self, wanted: &str) -> String {
        let taken = |id: &str| self.steps.values().any(|known| known == id);
        if !taken(wanted) {
            return wanted.to_owned();
        }
        (2..).map(|n| format!("{wanted}_{n}")).find(|id| !taken(id)).unwrap_or_default()
    }

    /// Steps of a list. `kind` is the type of the workflow or step that they are in.
    pub(super) fn steps(&mut self, items: &[Node], path: &str, kind: &str) -> Vec<Node> {
        // Steps that a condition names run inside of it, so they are not in the list any more.
        let named: Vec<String> = items.iter().flat_map(branches_of).collect();
        let mut seen: Vec<String> = Vec::new();
        let mut out = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let old = item.get("id").map(id_text).unwrap_or_default();
            if named.contains(&old) {
                continue;
            }
            let is_twice = !old.is_empty() && seen.contains(&old);
            seen.push(old);
            if let Some(step) = self.step(item, &path, kind, items, is_twice) {
                out.push(step);
            }
        }
        out
    }

    pub(super) fn step(
        &mut self,
        node: &Node,
        path: &str,
        kind: &str,
        beside: &[Node],
        is_twice: bool,
    ) -> Option<Node> {
        let NodeValue::Map(entries) = &node.value else {
            self.say(Fate::Person, node.pos, path, "this is no step, and was left out");
            return None;
        };
        let id = self.id(node, path, is_twice);
        let old_type = node.get("type").and_then(Node::as_str).unwrap_or("agent_task");
        if node.get("type").is_none() {
            self.say(
                Fate::Changed,
                node.pos,
                path,
                "a step without `type` was an `agent_task`, and says so now",
            );
        }
        let mut out: Entries = vec![("id".to_owned(), text(&id))];
        let mut config = self.config(entries, path, node.pos);
        let mut guard = None;
        for key in ["condition", "when"] {
            // The condition of a condition step is what it decides by.
            let own = old_type == "condition"
                && key == "condition"
                && config.entries.iter().all(|(k, _)| !is_test(k));
            let Some(found) = node.get(key) else { continue };
            if own {
                config.entries.push(("condition", found));
            } else {
                let path = format!("{path}.{key}");
                guard = self.expression(found, &path);
                if guard.is_none() {
                    // To run what was meant to be guarded would be the worse guess.
                    let message =
                        "`when: false` stands there, so the step is skipped until you write it anew";
                    self.say(Fate::Person, found.pos, &path, message);
                    guard = Some(super::value::from_json(&false.into()));
                } else if key == "condition" {
                    self.say(Fate::Changed, found.pos, &path, "is called `when` now");
                }
            }
        }
        let (new_type, new_config) = self.action(old_type, config, beside);
        out.push(("type".to_owned(), text(new_type)));
        if let Some(name) = node.get("name").and_then(Node::as_str).filter(|name| !name.is_empty()) {
            out.push(("name".to_owned(), text(name)));
        }
        match guard {
            Some(guard) => out.push(("when".to_owned(), guard)),
            None if kind == "conditional" => {
                self.say(Fate::Changed, node.pos, path, "it had no condition: `when: true`");
                out.push(("when".to_owned(), super::value::from_json(&true.into())));
            }
            None => {}
        }
        self.manners(node, path, kind, &mut out);
        out.push(("config".to_owned(), map(new_config)));
        if let Some(name) = node.get("output_variable").and_then(Node::as_str) {
            self.vars.insert(name.to_owned());
        }
        Some(map(out))
    }

    fn id(&mut self, node: &Node, path: &str, is_twice: bool) -> String {
        let old = node.get("id").map(id_text).unwrap_or_default();
        if old.is_empty() {
            self.unnamed += 1;
            let id = self.free_id(&format!("step_{}", self.unnamed));
            self.steps.insert(id.clone(), id.clone());
            self.say(
                Fate::Changed,
                node.pos,
                &format!("{path}.id"),
                format!("it had no id, and is `{id}` now"),
            );
            return id;
        }
        if is_twice {
            let id = self.free_id(&safe_id(&old));
            self.steps.insert(id.clone(), id.clone());
            let message =
                format!("a second step `{old}`, now `{id}`; what refers to `{old}` means the first");
            self.say(Fate::Person, node.pos, &format!("{path}.id"), message);
            return id;
        }
        let id = self.steps.get(&old).cloned().unwrap_or_else(|| safe_id(&old));
        if id != old {
            self.say(Fate::Changed, node.pos, &format!("{path}.id"), format!("`{old}` became `{id}`"));
        }
        id
    }

    /// `config` with the keys that old examples put beside it; where both have one, `config` wins.
    fn config<'n>(&mut self, entries: &'n [(String, Pos, Node)], path: &str, pos: Pos) -> Config<'n> {
        let given = entries.iter().find(|(key, _, _)| key == "config").map(|(_, _, node)| node);
        let mut all: Vec<(&str, &Node)> = Vec::new();
        let path = format!("{path}.config");
        match given.map(|node| (&node.value, node.pos)) {
            Some((NodeValue::Map(inner), _)) => {
                all.extend(inner.iter().map(|(key, _, node)| (key.as_str(), node)));
            }
            Some((NodeValue::Null, _)) | None => {}
            Some((_, pos)) => self.say(Fate::Person, pos, &path, "`config` is not a map, and was left out"),
        }
        for (key, key_pos, node) in entries.iter().filter(|(key, _, _)| !COMMON.contains(&key.as_str())) {
            match all.iter().find(|(known, _)| known == key) {
                Some((_, known)) if known.to_json() == node.to_json() => {}
                Some(_) => {
                    let message = format!("`{key}` is in `config` too, with another value; that one counts");
                    self.say(Fate::Person, *key_pos, &path, message);
                }
                None => {
                    self.say(Fate::Changed, *key_pos, &path, format!("`{key}` moved into `config`"));
                    all.push((key, node));
                }
            }
        }
        for key in ["true_steps", "false_steps"] {
            if let Some((_, _, node)) = entries.iter().find(|(name, _, _)| name == key) {
                all.push((key, node));
            }
        }
        Config { entries: all, path, pos }
    }

    /// How a step fails, is tried again, and where its output goes.
    fn manners(&mut self, node: &Node, path: &str, kind: &str, out: &mut Entries) {
        for key in ["timeout", "timeout_seconds"] {
            let Some(found) = node.get(key) else { continue };
            match found.to_json() {
                serde_json::Value::Number(number) => {
                    let time = seconds(&number);
                    self.say(
                        Fate::Changed,
                        found.pos,
                        &format!("{path}.{key}"),
                        format!("became `timeout: {time}`"),
                    );
                    out.push(("timeout".to_owned(), text(&time)));
                }
                _ => out.push(("timeout".to_owned(), found.clone())),
            }
        }
        let retries = ["retry_count", "max_retries"].iter().find_map(|key| Some((*key, node.get(key)?)));
        if let Some(found) = node.get("on_failure") {
            self.on_failure(found, &format!("{path}.on_failure"), out);
        } else if let Some((key, found)) = retries {
            self.retry(found.to_json().as_u64().unwrap_or(3), found.pos, &format!("{path}.{key}"), out);
        }
        if let Some(found) = node.get("output_variable") {
            out.push(("output_variable".to_owned(), found.clone()));
        }
        let Some(found) = node.get("depends_on") else { return };
        if kind != "parallel" {
            let message = "steps run in the order of the list, so it has no effect";
            return self.say(Fate::Dropped, found.pos, &format!("{path}.depends_on"), message);
        }
        let names: Vec<String> = match &found.value {
            NodeValue::List(items) => items.iter().map(id_text).collect(),
            _ => vec![id_text(found)],
        };
        let names = names.iter().map(|old| text(self.steps.get(old).unwrap_or(old)));
        out.push(("depends_on".to_owned(), super::value::list(names.collect())));
    }

    fn on_failure(&mut self, node: &Node, path: &str, out: &mut Entries) {
        let action = node.get("action").or(Some(node)).and_then(Node::as_str).unwrap_or("fail");
        match action {
            "continue" => {
                self.say(Fate::Changed, node.pos, path, "became `on_error: continue`");
                out.push(("on_error".to_owned(), text("continue")));
            }
            "retry" => {
                let retries = node.get("max_retries").and_then(|node| node.to_json().as_u64()).unwrap_or(3);
                self.retry(retries, node.pos, path, out);
            }
            "fail" => {
                self.say(Fate::Changed, node.pos, path, "a failed step fails the run; that need not be said")
            }
            other => {
                let message = format!("`{other}` was not known, and failed the run; so it does now");
                self.say(Fate::Person, node.pos, path, message);
            }
        }
    }

    fn retry(&mut self, retries: u64, pos: Pos, path: &str, out: &mut Entries) {
        let attempts = retries.saturating_add(1).clamp(1, 100);
        let message = format!(
            "became `retry: {{attempts: {attempts}}}`, which counts the first try too, after any error"
        );
        self.say(Fate::Changed, pos, path, message);
        let on = super::value::list(vec![text("any")]);
        out.push(("retry".to_owned(), object([("attempts", number(attempts)), ("on", on)])));
    }
}

/// Whether a key of a condition step holds its test.
fn is_test(key: &str) -> bool {
    matches!(key, "condition" | "expression" | "if")
}

/// Ids of steps that a condition names as its branches.
fn branches_of(node: &Node) -> Vec<String> {
    let config = node.get("config").into_iter().chain([node]);
    let lists = config.flat_map(|node| ["true_steps", "false_steps"].iter().filter_map(|key| node.get(key)));
    let mut ids = Vec::new();
    for list in lists {
        if let NodeValue::List(items) = &list.value {
            ids.extend(items.iter().map(id_text).filter(|id| !id.is_empty()));
        }
    }
    ids
}

/// An id may have been a number.
pub(super) fn id_text(node: &Node) -> String {
    match &node.value {
        NodeValue::String(text) => text.clone(),
        NodeValue::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// Seconds as a duration: `30s`, `1500ms`.
pub(super) fn seconds(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(seconds) if seconds.fract() != 0.0 => format!("{:.0}ms", seconds * 1000.0),
        Some(seconds) => format!("{seconds:.0}s"),
        None => format!("{number}s"),
    }
}

/// Letters that a name has in plain ones.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.trim().chars().flat_map(char::to_lowercase) {
        match c {
            'ä' | 'æ' => plain.push_str("ae"),
            'ö' | 'œ' => plain.push_str("oe"),
            'ü' => plain.push_str("ue"),
            'ß' => plain.push_str("ss"),
            'á' | 'à' | 'â' | 'å' | 'ã' => plain.push('a'),
            'é' | 'è' | 'ê' | 'ë' => plain.push('e'),
            'í' | 'ì' | 'î' => plain.push('i'),
            'ó' | 'ò' | 'ô' | 'ø' | 'õ' => plain.push('o'),
            'ú' | 'ù' | 'û' => plain.push('u'),
            'ç' => plain.push('c'),
            'ñ' => plain.push('n'),
            c => plain.push(c),
        }
    }
    plain
}

/// A step's id by the rules of names.
pub(super) fn safe_id(old: &str) -> String {
    const WORDS: &[&str] =
        &["true", "false", "none", "null", "not", "and", "or", "in", "is", "if", "else", "for", "self"];
    let mut safe = String::new();
    for c in plain(old).chars() {
        match c {
            'a'..='z' | '0'..='9' => safe.push(c),
            _ if !safe.ends_with('_') => safe.push('_'),
            _ => {}
        }
    }
    let mut safe = safe.trim_matches('_').to_owned();
    if !safe.starts_with(|c: char| c.is_ascii_lowercase()) || WORDS.contains(&safe.as_str()) {
        safe = format!("s_{safe}");
    }
    safe.truncate(56);
    safe.trim_end_matches('_').to_owned()
}
