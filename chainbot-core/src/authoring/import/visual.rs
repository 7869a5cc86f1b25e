//! The visual form: nodes and edges become steps with `depends_on`, or a sequence where they are a chain.

use std::collections::{BTreeMap, BTreeSet};

use super::step::{Config, Entries, id_text, safe_id};
use super::value::{list, map, number, object, text};
use super::{Fate, Importer, refused};
use crate::error::Result;
use crate::model::document::{Node, NodeValue};

/// Steps of a visual workflow that ran at once.
const AT_ONCE: u64 = 10;
/// Keys of a node that only the editor read, or that are read elsewhere.
const EDITOR: &[&str] = &[
    "id",
    "type",
    "position",
    "data",
    "name",
    "label",
    "input_sources",
    "width",
    "height",
    "selected",
    "dragging",
    "style",
    "positionAbsolute",
];

/// A node of the old form: its keys stood at the top, or below `data`.
struct Old<'n> {
    node: &'n Node,
    id: String,
    kind: &'n str,
    path: String,
}

impl<'n> Old<'n> {
    fn get(&self, key: &str) -> Option<&'n Node> {
        self.node.get(key).or_else(|| self.node.get("data")?.get(key))
    }

    fn config(&self) -> Config<'n> {
        let mut entries: Vec<(&str, &Node)> = Vec::new();
        for node in [Some(self.node), self.node.get("data"), self.get("config")].into_iter().flatten() {
            let NodeValue::Map(own) = &node.value else { continue };
            for (key, _, value) in own {
                let known = entries.iter().any(|(name, _)| name == key);
                if !known && key != "config" && !EDITOR.contains(&key.as_str()) {
                    entries.push((key, value));
                }
            }
        }
        Config { entries, path: self.path.clone(), pos: self.node.pos }
    }
}

/// Which node comes before which.
struct Wires {
    before: BTreeMap<String, BTreeSet<String>>,
}

impl Wires {
    fn before(&self, id: &str) -> impl Iterator<Item = &String> {
        self.before.get(id).into_iter().flatten()
    }

    fn after(&self, id: &str) -> usize {
        self.before.values().filter(|before| before.contains(id)).count()
    }
}

impl Importer {
    pub(super) fn visual(&mut self, record: Option<&Node>, definition: &Node) -> Result<Node> {
        let mut out = self.head(record, definition);
        let olds = self.olds(definition)?;
        for old in olds.iter().filter(|old| old.kind != "output") {
            let id = self.free_id(&safe_id(&old.id));
            self.steps.insert(old.id.clone(), id);
        }
        let wires = self.wires(definition, &olds);
        let order = order(&olds, &wires).map_err(|circle| {
            let message = format!("the nodes {} are wired in a circle", circle.join(", "));
            refused(definition.pos, "edges", message, "take one of the edges out")
        })?;
        let steps: Vec<&Old<'_>> =
            order.iter().map(|at| &olds[*at]).filter(|old| old.kind != "output").collect();
        if steps.is_empty() {
            let message = "there is no node that does something".to_owned();
            return Err(refused(definition.pos, "nodes", message, "a definition has at least one step"));
        }
        let ids: Vec<&str> = steps.iter().map(|old| old.id.as_str()).collect();
        let is_step = |id: &str| ids.contains(&id);
        let is_chain = steps.iter().enumerate().all(|(at, old)| {
            let before: Vec<&String> = wires.before(&old.id).filter(|id| is_step(id)).collect();
            match at {
                0 => before.is_empty(),
                _ => before.len() == 1 && before[0] == ids[at - 1],
            }
        });
        if !is_chain {
            out.push(("type".to_owned(), text("parallel")));
            out.push(("max_parallel_steps".to_owned(), number(AT_ONCE)));
        }
        let mut made = Vec::new();
        for old in &steps {
            let before: Vec<String> = wires.before(&old.id).filter(|id| is_step(id)).cloned().collect();
            made.push(self.node_step(old, &before, is_chain, wires.after(&old.id)));
        }
        let output = self.output(&olds, &wires);
        self.close(out, made, output)
    }

    fn olds<'n>(&mut self, definition: &'n Node) -> Result<Vec<Old<'n>>> {
        let Some(NodeValue::List(items)) = definition.get("nodes").map(|nodes| &nodes.value) else {
            let message = "`nodes` must be a list".to_owned();
            return Err(refused(definition.pos, "nodes", message, "write one node below the other"));
        };
        let mut olds: Vec<Old<'n>> = Vec::new();
        for (index, node) in items.iter().enumerate() {
            let path = format!("nodes[{index}]");
            let id = node.get("id").map(id_text).unwrap_or_default();
            if id.is_empty() || olds.iter().any(|old| old.id == id) {
                let message = "a node needs an id of its own; it was left out";
                self.say(Fate::Person, node.pos, &path, message);
                continue;
            }
            let kind = node.get("type").and_then(Node::as_str).unwrap_or_default();
            olds.push(Old { node, id, kind, path });
        }
        Ok(olds)
    }

    fn wires(&mut self, definition: &Node, olds: &[Old<'_>]) -> Wires {
        let mut before: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let Some(NodeValue::List(edges)) = definition.get("edges").map(|edges| &edges.value) else {
            return Wires { before };
        };
        for (index, edge) in edges.iter().enumerate() {
            let end = |key: &str| edge.get(key).map(id_text).unwrap_or_default();
            let (from, to) = (end("source"), end("target"));
            if [&from, &to].iter().all(|id| olds.iter().any(|old| old.id == **id)) {
                before.entry(to).or_default().insert(from);
            } else {
                let message = format!("the edge from `{from}` to `{to}` ends nowhere, and was left out");
                self.say(Fate::Person, edge.pos, &format!("edges[{index}]"), message);
            }
        }
        Wires { before }
    }

    fn node_step(&mut self, old: &Old<'_>, before: &[String], is_chain: bool, after: usize) -> Node {
        let id = self.steps.get(&old.id).cloned().unwrap_or_default();
        if id != old.id {
            self.say(
                Fate::Changed,
                old.node.pos,
                &format!("{}.id", old.path),
                format!("`{}` became `{id}`", old.id),
            );
        }
        let sources = self.sources(old);
        let (kind, config) = self.node_action(old, &sources, after, &id);
        let mut out: Entries = vec![("id".to_owned(), text(&id)), ("type".to_owned(), text(kind))];
        let name = ["name", "label"].iter().find_map(|key| old.get(key)?.as_str());
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            out.push(("name".to_owned(), text(name)));
        }
        if !is_chain && !before.is_empty() {
            let names = before.iter().map(|old| text(self.steps.get(old).unwrap_or(old)));
            out.push(("depends_on".to_owned(), list(names.collect())));
        }
        out.push(("config".to_owned(), map(config)));
        map(out)
    }

    fn node_action(
        &mut self,
        old: &Old<'_>,
        sources: &[String],
        after: usize,
        id: &str,
    ) -> (&'static str, Entries) {
        let pos = old.node.pos;
        match old.kind {
            "condition" => {
                if after > 0 {
                    let message = "what came after ran in either case, and does so now: a condition gated nothing; \
                                   give those steps `when: steps.… .output.condition_result`";
                    self.say(Fate::Person, pos, &old.path, message);
                }
                self.action("condition", old.config(), &[])
            }
            "transform" => ("transform", self.node_transform(old, sources)),
            "user_input" => {
                let prompt = old.get("prompt").and_then(Node::as_str).unwrap_or_default();
                let message = format!(
                    "it did not wait and took the variable `user_input`; now it waits for the signal `{id}` ({prompt})"
                );
                self.say(Fate::Person, pos, &old.path, message);
                self.locals.push(("user_input".to_owned(), format!("steps.{id}.output.signal")));
                ("wait", vec![("signal".to_owned(), text(id))])
            }
            "api_call" => {
                let (kind, mut config) = self.action("api_call", old.config(), &[]);
                let status = list(vec![number(200)]);
                config.push(("expect".to_owned(), object([("status", status)])));
                self.unread(old, sources);
                (kind, config)
            }
            "ai_agent" => {
                let (kind, mut config) = self.action("agent_task", old.config(), &[]);
                let given = sources
                    .iter()
                    .enumerate()
                    .map(|(at, source)| (format!("input_{}", at + 1), text(&format!("{{{{ {source} }}}}"))));
                let given: Entries = given.collect();
                if !given.is_empty() {
                    config.retain(|(key, _)| key != "context");
                    config.push(("context".to_owned(), map(given)));
                }
                (kind, config)
            }
            other => {
                self.unread(old, sources);
                self.action(other, old.config(), &[])
            }
        }
    }

    fn unread(&mut self, old: &Old<'_>, sources: &[String]) {
        if !sources.is_empty() {
            let message = format!("its inputs were {}; say where each belongs", sources.join(", "));
            self.say(Fate::Person, old.node.pos, &format!("{}.input_sources", old.path), message);
        }
    }

    /// `input_sources` as expressions.
    fn sources(&mut self, old: &Old<'_>) -> Vec<String> {
        let Some(NodeValue::List(items)) = old.get("input_sources").map(|node| &node.value) else {
            return Vec::new();
        };
        let mut sources = Vec::new();
        for item in items {
            let id = item.get("node_id").map(id_text).unwrap_or_default();
            let Some(step) = self.steps.get(&id) else {
                let message = format!("there is no node `{id}`");
                self.say(Fate::Person, item.pos, &format!("{}.input_sources", old.path), message);
                continue;
            };
            let of = format!("steps.{step}.output");
            match item.get("key").and_then(Node::as_str).filter(|key| !key.is_empty()) {
                Some(key) => {
                    let message = format!("`{key}` of node `{id}`: look whether the new output calls it so");
                    self.say(Fate::Person, item.pos, &format!("{}.input_sources", old.path), message);
                    sources.push(super::python::member(&of, key));
                }
                None => sources.push(of),
            }
        }
        sources
    }

    fn node_transform(&mut self, old: &Old<'_>, sources: &[String]) -> Entries {
        let input = match (sources.first(), old.get("input")) {
            (Some(source), _) => text(&format!("{{{{ {source} }}}}")),
            (None, Some(node)) => self.template(node, &format!("{}.input", old.path)),
            (None, None) => {
                self.say(
                    Fate::Person,
                    old.node.pos,
                    &old.path,
                    "it had no input; an empty text stands there",
                );
                text("")
            }
        };
        let word = |key: &str| old.get(key).and_then(Node::as_str).unwrap_or_default();
        let by_template = |filter: &str| {
            vec![("type", text("template")), ("template", text(&format!("{{{{ input | {filter} }}}}")))]
        };
        let as_it_is = || vec![("type", text("expression")), ("expr", text("input"))];
        let (kind, operation) = (word("transform_type"), word("operation"));
        let mut made = match (kind, operation) {
            ("text", "uppercase") => by_template("upper"),
            ("text", "lowercase") => by_template("lower"),
            ("text", "capitalize") => by_template("capitalize"),
            ("text", "trim") => by_template("trim"),
            ("json", "extract") => {
                vec![("type", text("jsonpath")), ("path", text(&format!("$.{}", word("path"))))]
            }
            ("format", _) if word("format_type") == "json" => vec![("type", text("json_stringify"))],
            _ => {
                let message =
                    format!("the transform `{kind} {operation}` has no equal; its input is given on");
                self.say(Fate::Person, old.node.pos, &old.path, message);
                as_it_is()
            }
        };
        made.push(("input", input));
        made.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// An output node is what the run gives.
    fn output(&mut self, olds: &[Old<'_>], wires: &Wires) -> Option<Node> {
        let ends: Vec<&Old<'_>> = olds.iter().filter(|old| old.kind == "output").collect();
        let first = ends.first()?;
        for other in ends.iter().skip(1) {
            let message = "a run has one output; this one was left out";
            self.say(Fate::Person, other.node.pos, &other.path, message);
        }
        let mut sources = self.sources(first);
        if sources.is_empty() {
            let before = wires.before(&first.id).filter_map(|id| self.steps.get(id));
            sources = before.map(|id| format!("steps.{id}.output")).collect();
        }
        let message = "became the `output` of the workflow".to_owned();
        self.say(Fate::Changed, first.node.pos, &first.path, message);
        let shown = |source: &String| text(&format!("{{{{ {source} }}}}"));
        match sources.len() {
            0 => None,
            1 => sources.first().map(shown),
            _ => Some(list(sources.iter().map(shown).collect())),
        }
    }
}

/// Indexes so that every node comes after those before it; else the ids of a circle.
fn order(olds: &[Old<'_>], wires: &Wires) -> std::result::Result<Vec<usize>, Vec<String>> {
    let mut done: Vec<usize> = Vec::new();
    while done.len() < olds.len() {
        let is_done = |id: &str| done.iter().any(|at| olds[*at].id == id);
        let next = (0..olds.len())
            .find(|at| !done.contains(at) && wires.before(&olds[*at].id).all(|before| is_done(before)));
        match next {
            Some(at) => done.push(at),
            None => {
                let left = (0..olds.len()).filter(|at| !done.contains(at));
                return Err(left.map(|at| olds[at].id.clone()).collect());
            }
        }
    }
    Ok(done)
}
