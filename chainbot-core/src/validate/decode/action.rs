//! The `config` of each type of step, except for control flow, HTTP and transforms, which have files of
//! their own.

use std::time::Duration;

use super::gpio::gpio_timeout;
use super::value::{Rule, constant};
use super::{Decoder, Map};
use crate::error::code::definition as code;
use crate::limits::CHANNELS_MAX;
use crate::model::document::{Node, NodeValue};
use crate::model::{Action, AgentTask, Expr, Notification, Text, Wait, WaitFor};
use crate::time::{Timestamp, parse_duration};
use crate::validate::findings::{index_path, key_path, shown};
use crate::validate::keys;

/// An action, and what its `config` says about the step.
pub(super) struct Configured {
    pub(super) action: Action,
    /// As `config` says.
    pub(super) timeout: Option<Duration>,
    /// Of a step that does not say, here or beside `config`.
    pub(super) timeout_default: Option<Duration>,
}

impl Decoder<'_> {
    /// Reads the `config` of a type that has a table.
    pub(super) fn action(&mut self, type_name: &str, map: &Map<'_>, level: usize) -> Configured {
        let (mut timeout, mut timeout_default) = (None, None);
        let action = match type_name {
            "api_call" => Action::ApiCall(self.api_call(map)),
            "condition" => Action::Condition(self.condition(map, level)),
            "emit" => self.emit(map),
            "loop" => Action::Loop(self.loop_(map, level)),
            "notification" => self.notification(map),
            "parallel" => Action::Parallel(self.parallel(map, level)),
            "transform" => Action::Transform(self.transform(map)),
            "wait" => {
                timeout = self.duration(map, "timeout");
                self.wait(map)
            }
            "webhook" => Action::Webhook(self.webhook(map)),
            "email" => Action::Email(self.email(map)),
            "gpio" => {
                let gpio = self.gpio(map);
                timeout_default = gpio_timeout(&gpio);
                Action::Gpio(gpio)
            }
            "workflow" => self.workflow(map),
            "agent_task" => self.agent_task(map),
            _ => self.set(map),
        };
        Configured { action, timeout, timeout_default }
    }

    fn set(&mut self, map: &Map<'_>) -> Action {
        let mut variables = Vec::new();
        let path = map.path_of("variables");
        match map.get("variables") {
            Some(Node { value: NodeValue::Map(entries), .. }) => {
                for (name, pos, value) in entries {
                    let path = key_path(&path, name);
                    let at = Node { pos: *pos, value: NodeValue::Null };
                    self.check_name(&at, &path, name, Rule::Variable);
                    // A variable whose value is wrong is still set, so that its users are not blamed.
                    let expr = self.expr_of(value, &path, name).unwrap_or_else(|| none_at(value));
                    variables.push((name.clone(), expr));
                }
            }
            Some(node) => {
                let message = "`variables` must be a map from names to expressions".to_owned();
                let hint = "write `variables: { count: \"vars.count + 1\" }`".to_owned();
                self.error(&code::WRONG_TYPE, node.pos, &path, message, hint);
            }
            None => {}
        }
        Action::Set { variables }
    }

    fn emit(&mut self, map: &Map<'_>) -> Action {
        let topic = self.text(map, "topic");
        if let Some(topic) = &topic {
            self.topic(map, topic);
        }
        Action::Emit { topic: topic.unwrap_or_else(|| nothing(map)), data: self.template(map, "data") }
    }

    /// A topic must be a user's, or a workflow could speak in the name of the system.
    fn topic(&mut self, map: &Map<'_>, topic: &Text) {
        const PREFIXES: [&str; 2] = ["user.", "chainbot.user."];
        let source = &topic.source;
        let fixed = source.split("{{").next().unwrap_or(source);
        let whole = constant(topic).is_some();
        let fits = |prefix: &str| fixed.starts_with(prefix) || (!whole && prefix.starts_with(fixed));
        if !PREFIXES.iter().any(|prefix| fits(prefix)) {
            let message =
                format!("the topic `{}` does not start with `user.` or `chainbot.user.`", shown(source, 80));
            let hint = whole.then(|| format!("write `user.{}`", shown(source.trim_start_matches('.'), 80)));
            return self.at(&code::TOPIC, map, "topic", message, hint);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let broken = whole && (source.split('.').any(str::is_empty) || !source.chars().all(allowed));
        if broken {
            let message = format!("`{}` is not a topic", shown(source, 80));
            let hint = "use letters, digits, `_` or `-`, in parts separated by single dots".to_owned();
            self.at(&code::TOPIC, map, "topic", message, Some(hint));
        }
    }

    fn notification(&mut self, map: &Map<'_>) -> Action {
        let mut channels = self.channels(map);
        if channels.is_empty() {
            channels.push("gui".to_owned());
        }
        Action::Notification(Notification {
            message: self.text(map, "message").unwrap_or_else(|| nothing(map)),
            title: self.text(map, "title"),
            level: self.choice(map, "type").unwrap_or("info").to_owned(),
            channels,
        })
    }

    fn channels(&mut self, map: &Map<'_>) -> Vec<String> {
        let names = self.names_of(map, "channels", Rule::Safe, CHANNELS_MAX);
        let Some(Node { value: NodeValue::List(items), .. }) = map.get("channels") else { return names };
        let path = map.path_of("channels");
        for (index, item) in items.iter().enumerate().take(CHANNELS_MAX) {
            if let Some(name) = item.as_str().filter(|name| names.iter().any(|known| known == name)) {
                self.known_channel(item.pos, &index_path(&path, index), name);
            }
        }
        names
    }

    fn workflow(&mut self, map: &Map<'_>) -> Action {
        let workflow = self.text(map, "workflow");
        if let (Some(name), Some(node)) = (workflow.as_ref().and_then(constant), map.get("workflow")) {
            self.check_name(node, &map.path_of("workflow"), name, Rule::Safe);
        }
        let inputs = map.has("inputs").then(|| self.template_map(map, "inputs")).flatten();
        Action::Workflow {
            workflow: workflow.unwrap_or_else(|| nothing(map)),
            inputs,
            wait: self.flag(map, "wait").unwrap_or(true),
        }
    }

    fn agent_task(&mut self, map: &Map<'_>) -> Action {
        let agent = self.text(map, "agent");
        if let (Some(name), Some(node)) = (agent.as_ref().and_then(constant), map.get("agent")) {
            self.check_name(node, &map.path_of("agent"), name, Rule::Safe);
        }
        Action::AgentTask(AgentTask {
            agent: agent.unwrap_or_else(|| nothing(map)),
            task: self.template(map, "task").unwrap_or(Node { pos: map.pos, value: NodeValue::Null }),
            context: map.has("context").then(|| self.template(map, "context")).flatten(),
            output_schema: self.schema(map, "output_schema"),
            budget: map.has("budget").then(|| self.template_map(map, "budget")).flatten(),
            thread: map.has("thread").then(|| self.text(map, "thread")).flatten(),
        })
    }

    fn wait(&mut self, map: &Map<'_>) -> Action {
        let target = match self.one_of(map, &["duration", "until", "signal", "event", "approval"], true) {
            Some("event") => self.wait_event(map),
            Some("approval") => self.wait_approval(map),
            Some("duration") => WaitFor::Duration(self.wait_duration(map)),
            Some("until") => WaitFor::Until(self.wait_until(map)),
            Some(_) => self.wait_signal(map),
            None => WaitFor::Duration(nothing(map)),
        };
        let continue_on_timeout = self.choice(map, "on_timeout") == Some("continue");
        Action::Wait(Wait { target, continue_on_timeout })
    }

    fn wait_duration(&mut self, map: &Map<'_>) -> Text {
        // A bare number of seconds is the only place where text may be a number.
        if let Some(Node { pos, value: NodeValue::Number(number) }) = map.get("duration") {
            let text = Text { pos: *pos, source: number.to_string() };
            self.duration_text(map, &text);
            return text;
        }
        let text = self.text(map, "duration").unwrap_or_else(|| nothing(map));
        if !text.source.is_empty() || map.get("duration").and_then(Node::as_str) == Some("") {
            self.duration_text(map, &text);
        }
        text
    }

    fn duration_text(&mut self, map: &Map<'_>, text: &Text) {
        if constant(text).is_some_and(|text| parse_duration(text).is_none()) {
            let message = format!("`{}` is not a duration", shown(&text.source, 60));
            let hint = "write it as `250ms`, `30s`, `5m`, `1h30m`, `2d`, a number of seconds, or a template; \
                        at most 366 days";
            self.at(&code::DURATION, map, "duration", message, Some(hint.to_owned()));
        }
    }

    fn wait_until(&mut self, map: &Map<'_>) -> Text {
        let Some(text) = self.text(map, "until") else { return nothing(map) };
        if constant(&text).is_some_and(|text| Timestamp::parse(text).is_none()) {
            let message = format!("`{}` is not a time", shown(&text.source, 80));
            let hint =
                "write it as `2026-05-01T06:30:00Z`, or as a template `\"{{ steps.plan.output.at }}\"`";
            self.at(&code::DURATION, map, "until", message, Some(hint.to_owned()));
        }
        text
    }

    fn wait_signal(&mut self, map: &Map<'_>) -> WaitFor {
        let broken = WaitFor::Signal { name: nothing(map), schema: None };
        let Some(node) = map.get("signal") else { return broken };
        let (signal, key) = match &node.value {
            NodeValue::Map(_) => match self.map(node, &map.path_of("signal"), &keys::SIGNAL, None) {
                Some(signal) => (signal, "name"),
                None => return broken,
            },
            _ => (map.clone(), "signal"),
        };
        let Some(name) = self.text(&signal, key) else { return broken };
        if let (Some(text), Some(node)) = (constant(&name), signal.get(key)) {
            self.check_name(node, &signal.path_of(key), text, Rule::Safe);
        }
        let schema = if key == "name" { self.schema(&signal, "schema") } else { None };
        WaitFor::Signal { name, schema }
    }
}

/// Stands in for text that could not be read.
pub(super) fn nothing(map: &Map<'_>) -> Text {
    Text { pos: map.pos, source: String::new() }
}

/// Stands in for an expression that could not be read.
pub(super) fn none_at(node: &Node) -> Expr {
    Expr { pos: node.pos, source: "none".to_owned() }
}

/// Stands in for an expression that is missing.
pub(super) fn none_in(map: &Map<'_>) -> Expr {
    Expr { pos: map.pos, source: "none".to_owned() }
}
