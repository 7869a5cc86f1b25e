//! What each type of step becomes.

use super::{Config, Entries, id_text, seconds};
use crate::authoring::import::value::{list, map, text};
use crate::authoring::import::{Fate, Importer};
use crate::model::document::{Node, NodeValue};

impl Importer {
    /// The new type and its `config`.
    pub(in crate::authoring::import) fn action(
        &mut self,
        old: &str,
        mut config: Config<'_>,
        beside: &[Node],
    ) -> (&'static str, Entries) {
        let mut out = Entries::new();
        let kind = match old {
            "api_call" | "api" | "http" => self.api_call(&mut config, &mut out),
            "condition" => self.condition(&mut config, &mut out, beside),
            "loop" => self.a_loop(&mut config, &mut out),
            "parallel" => self.parallel(&mut config, &mut out),
            "wait" | "delay" => self.wait(&mut config, &mut out),
            "transform" => self.transform(&mut config, &mut out),
            "webhook" => {
                self.copy(&mut config, &mut out, &["url", "payload", "headers"]);
                self.need(&config, &mut out, "url", "https://example.org/");
                "webhook"
            }
            "email" => {
                self.copy(&mut config, &mut out, &["to", "subject", "body"]);
                let message = "mail was only logged; it will really be sent";
                self.say(Fate::Person, config.pos, &config.path, message);
                "email"
            }
            "notification" => {
                self.copy(&mut config, &mut out, &["message", "title", "type"]);
                self.need(&config, &mut out, "message", "...");
                "notification"
            }
            _ => {
                if old != "agent_task" {
                    let message = format!("the type `{old}` was not known and ran as `agent_task`");
                    self.say(Fate::Person, config.pos, &config.path, message);
                }
                self.agent_task(&mut config, &mut out)
            }
        };
        for (key, node) in std::mem::take(&mut config.entries) {
            let message = format!("`{key}` has no meaning for `{kind}`");
            self.say(Fate::Dropped, node.pos, &config.path_of(key), message);
        }
        (kind, out)
    }

    /// Keys that are called the same.
    fn copy(&mut self, config: &mut Config<'_>, out: &mut Entries, keys: &[&str]) {
        for key in keys {
            if let Some(node) = config.take(key) {
                let value = self.template(node, &config.path_of(key));
                out.push(((*key).to_owned(), value));
            }
        }
    }

    /// A key that must be there and was not.
    fn need(&mut self, config: &Config<'_>, out: &mut Entries, key: &str, stand_in: &str) {
        if !out.iter().any(|(name, _)| name == key) {
            let message = format!("`{key}` was missing; `{stand_in}` stands there until you say it");
            self.say(Fate::Person, config.pos, &config.path_of(key), message);
            out.push((key.to_owned(), text(stand_in)));
        }
    }

    fn api_call(&mut self, config: &mut Config<'_>, out: &mut Entries) -> &'static str {
        self.copy(config, out, &["url"]);
        self.need(config, out, "url", "https://example.org/");
        if let Some(node) = config.take("method") {
            let method = node.as_str().unwrap_or("GET").to_uppercase();
            if method != "GET" {
                out.push(("method".to_owned(), text(&method)));
            }
        }
        if let Some(node) = config.take("params") {
            self.say(Fate::Changed, node.pos, &config.path_of("params"), "`params` is called `query` now");
            let value = self.template(node, &config.path_of("params"));
            out.push(("query".to_owned(), value));
        }
        self.copy(config, out, &["headers"]);
        for key in ["data", "body", "json"] {
            let Some(node) = config.take(key) else { continue };
            let empty = matches!(&node.value, NodeValue::Null) || node.to_json() == serde_json::json!({});
            if empty || out.iter().any(|(name, _)| name == "json") {
                self.say(
                    Fate::Dropped,
                    node.pos,
                    &config.path_of(key),
                    format!("`{key}` was empty or there twice"),
                );
                continue;
            }
            if key != "json" {
                self.say(
                    Fate::Changed,
                    node.pos,
                    &config.path_of(key),
                    format!("`{key}` is called `json` now"),
                );
            }
            let value = self.template(node, &config.path_of(key));
            out.push(("json".to_owned(), value));
        }
        let message = "any status was a success; now 2xx are, and others fail the step: see `expect`";
        self.say(Fate::Person, config.pos, &config.path, message);
        "api_call"
    }

    fn condition(&mut self, config: &mut Config<'_>, out: &mut Entries, beside: &[Node]) -> &'static str {
        let test = ["if", "condition", "expression"].iter().find_map(|key| Some((*key, config.take(key)?)));
        let converted = match test {
            Some((key, node)) => self.expression(node, &config.path_of(key)),
            None => {
                self.say(
                    Fate::Person,
                    config.pos,
                    &config.path,
                    "there was no condition; `false` stands there",
                );
                None
            }
        };
        let test = converted.unwrap_or_else(|| super::super::value::from_json(&false.into()));
        let mut ways = Entries::new();
        for (old, new) in
            [("true_steps", "then"), ("false_steps", "else"), ("then", "then"), ("else", "else")]
        {
            let Some(node) = config.take(old) else { continue };
            let NodeValue::List(items) = &node.value else { continue };
            let path = config.path_of(old);
            let mut steps = Vec::new();
            for (index, item) in items.iter().enumerate() {
                let id = id_text(item);
                let named = beside
                    .iter()
                    .find(|step| !id.is_empty() && step.get("id").map(id_text) == Some(id.clone()));
                let path = format!("{path}[{index}]");
                match (named, &item.value) {
                    (Some(step), _) => {
                        self.say(
                            Fate::Changed,
                            item.pos,
                            &path,
                            format!("step `{id}` moved into the branch"),
                        );
                        steps.extend(self.step(step, &path, "sequential", beside, false));
                    }
                    (None, NodeValue::Map(_)) => {
                        self.declare(std::slice::from_ref(item));
                        steps.extend(self.step(item, &path, "sequential", items, false));
                    }
                    _ => self.say(Fate::Person, item.pos, &path, format!("there is no step `{id}`")),
                }
            }
            if steps.is_empty() {
                continue;
            }
            ways.push((new.to_owned(), list(steps)));
        }
        if ways.is_empty() {
            let message = "a condition without branches gated nothing and gates nothing now: it sets its result; \
                           move the steps that it was meant for into `then` of a `condition`";
            self.say(Fate::Person, config.pos, &config.path, message);
            out.push(("variables".to_owned(), map(vec![("condition_result".to_owned(), test)])));
            return "set";
        }
        out.push(("if".to_owned(), test));
        out.extend(ways);
        "condition"
    }

    fn a_loop(&mut self, config: &mut Config<'_>, out: &mut Entries) -> &'static str {
        if let Some(node) = config.take("items") {
            let path = config.path_of("items");
            let value = match &node.value {
                NodeValue::String(_) => self.expression(node, &path),
                _ => Some(self.template(node, &path)),
            };
            self.say(Fate::Changed, node.pos, &path, "`items` is called `for_each` now");
            out.push(("for_each".to_owned(), value.unwrap_or_else(|| list(Vec::new()))));
        } else if let Some(node) = config.take("iterations") {
            let value = self.expression(node, &config.path_of("iterations"));
            self.say(
                Fate::Changed,
                node.pos,
                &config.path_of("iterations"),
                "`iterations` is called `times` now",
            );
            out.push(("times".to_owned(), value.unwrap_or_else(|| super::super::value::number(1))));
        } else {
            self.say(
                Fate::Person,
                config.pos,
                &config.path,
                "it had neither `items` nor `iterations`; it runs once",
            );
            out.push(("times".to_owned(), super::super::value::number(1)));
        }
        let names = [("loop_item", "item"), ("item", "item"), ("loop_index", "index"), ("index", "index")];
        let outer = self.locals.len();
        self.locals.extend(names.map(|(old, new)| (old.to_owned(), new.to_owned())));
        self.inner_steps(config, out, "loop");
        self.locals.truncate(outer);
        "loop"
    }

    fn parallel(&mut self, config: &mut Config<'_>, out: &mut Entries) -> &'static str {
        self.inner_steps(config, out, "parallel");
        if let Some(node) = config.take("max_concurrency") {
            out.push(("max_concurrency".to_owned(), node.clone()));
        }
        let message =
            "a failed branch was a value among the results; now the step waits for all and then fails";
        self.say(Fate::Person, config.pos, &config.path, message);
        out.push(("on_error".to_owned(), text("wait")));
        "parallel"
    }

    fn inner_steps(&mut self, config: &mut Config<'_>, out: &mut Entries, kind: &str) {
        let path = config.path_of("steps");
        let steps = match config.take("steps").map(|node| &node.value) {
            Some(NodeValue::List(items)) if !items.is_empty() => self.steps(items, &path, kind),
            _ => {
                let message = "it had no steps and needs some; a step that does nothing stands there";
                self.say(Fate::Person, config.pos, &path, message);
                vec![self.nothing()]
            }
        };
        out.push(("steps".to_owned(), list(steps)));
    }

    /// A step that does nothing, where one must be.
    fn nothing(&mut self) -> Node {
        let id = self.free_id("nothing");
        self.steps.insert(id.clone(), id.clone());
        let variables = map(vec![("nothing".to_owned(), text("none"))]);
        let config = map(vec![("variables".to_owned(), variables)]);
        let step = [("id", text(&id)), ("type", text("set")), ("config", config)];
        map(step.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    fn wait(&mut self, config: &mut Config<'_>, out: &mut Entries) -> &'static str {
        let found = ["duration", "seconds"].iter().find_map(|key| Some((*key, config.take(key)?)));
        let value = match found {
            Some((key, node)) => match &node.value {
                NodeValue::Number(number) => {
                    let time = seconds(number);
                    let message = format!("`{number}` became `{time}`");
                    self.say(Fate::Changed, node.pos, &config.path_of(key), message);
                    text(&time)
                }
                _ => self.template(node, &config.path_of(key)),
            },
            None => {
                self.say(Fate::Person, config.pos, &config.path, "it had no `duration`; `1s` stands there");
                text("1s")
            }
        };
        out.push(("duration".to_owned(), value));
        "wait"
    }

    fn transform(&mut self, config: &mut Config<'_>, out: &mut Entries) -> &'static str {
        let old = config.take("type").or_else(|| config.take("transform_type"));
        let kind = match old.and_then(Node::as_str) {
            Some(kind @ ("json_parse" | "json_stringify" | "template")) => kind,
            other => {
                let message = match other {
                    Some(other) => {
                        format!("the transform `{other}` was not known and gave its input; so it does now")
                    }
                    None => "it had no `type`, and gave its input; so it does now".to_owned(),
                };
                self.say(Fate::Person, config.pos, &config.path, message);
                "expression"
            }
        };
        out.push(("type".to_owned(), text(kind)));
        let input = config.take("input").map(|node| self.template(node, &config.path_of("input")));
        match (&input, kind) {
            (None, "json_parse" | "json_stringify" | "expression") => {
                self.say(
                    Fate::Person,
                    config.pos,
                    &config.path_of("input"),
                    "`input` was missing; an empty text stands there",
                );
                out.push(("input".to_owned(), text("")));
            }
            (None, _) => {}
            (Some(input), _) => out.push(("input".to_owned(), input.clone())),
        }
        if kind == "expression" {
            out.push(("expr".to_owned(), text("input")));
        }
        if kind == "template" {
            // In a template `${input}` was the step's own input.
            let outer = self.locals.len();
            if input.is_some() {
                self.locals.push(("input".to_owned(), "input".to_owned()));
            }
            self.copy(config, out, &["template"]);
            self.locals.truncate(outer);
            self.need(config, out, "template", "...");
        }
        "transform"
    }

    fn agent_task(&mut self, config: &mut Config<'_>, out: &mut Entries) -> &'static str {
        let agent =
            ["agent_id", "agent", "agent_type"].iter().find_map(|key| Some((*key, config.take(key)?)));
        match agent {
            Some((key, node)) => {
                if key == "agent_type" {
                    self.say(Fate::Changed, node.pos, &config.path_of(key), "an agent of that type: `agent`");
                }
                let value = self.template(node, &config.path_of(key));
                out.push(("agent".to_owned(), value));
            }
            None => {
                self.say(
                    Fate::Person,
                    config.pos,
                    &config.path,
                    "it named no agent; `assistant` stands there",
                );
                out.push(("agent".to_owned(), text("assistant")));
            }
        }
        self.copy(config, out, &["task"]);
        if let Some(node) = config.take("message") {
            self.say(Fate::Changed, node.pos, &config.path_of("message"), "`message` is called `task` now");
            let value = self.template(node, &config.path_of("message"));
            out.push(("task".to_owned(), value));
        }
        self.need(config, out, "task", "...");
        let mut context = Entries::new();
        for (key, node) in std::mem::take(&mut config.entries) {
            if key != "context" {
                self.say(
                    Fate::Changed,
                    node.pos,
                    &config.path_of(key),
                    format!("`{key}` moved into `context`"),
                );
            }
            let value = self.template(node, &config.path_of(key));
            match (key, value.value) {
                ("context", NodeValue::Map(entries)) => {
                    context.extend(entries.into_iter().map(|(key, _, node)| (key, node)));
                }
                (key, value) => context.push((key.to_owned(), Node { pos: node.pos, value })),
            }
        }
        if !context.is_empty() {
            out.push(("context".to_owned(), map(context)));
        }
        "agent_task"
    }
}
