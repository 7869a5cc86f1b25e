//! `mcp.servers`: its normal form, what can be wrong with it, its schema and its type.
//!
//! Here alone is written which programs ChainBot starts and which servers it calls. A path is absolute: a search along `PATH` would start what
//! somebody put there. An entry has a program or an address, never both: what is approved of one says nothing of the other.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::check::Problem;
use super::fields::is_base_url;
use super::reference::Reference;
use crate::agent::tool::mcp::{McpAddress, McpProgram, McpServer, McpWay};
use crate::error::similar;
use crate::limits::{MCP_SERVERS_MAX, MCP_TIMEOUT_S_DEFAULT, MCP_TOOLS_MAX};
use crate::model::document::NodeValue;
use crate::model::{EffectClass, Node, Pos};
use crate::time::parse_duration;

const FIELDS: [&str; 8] = ["command", "args", "env", "url", "token", "tools", "classes", "timeout"];
/// Of an address alone.
const OF_URL: [&str; 2] = ["url", "token"];
/// Of a program alone.
const OF_COMMAND: [&str; 3] = ["command", "args", "env"];
const CLASSES: [&str; 5] = ["pure", "read_only", "idempotent", "keyed", "unsafe"];
/// Arguments and variables of one server. Each is written by a person.
const ITEMS_MAX: usize = 64;
/// Characters of one of them.
const TEXT_MAX: usize = 4_096;
/// An hour: a tool that takes longer is a workflow.
const TIMEOUT_S_MAX: u64 = 3_600;

/// The normal form of the map.
pub(super) fn servers(entries: &[(String, Pos, Node)]) -> Result<Value, Vec<Problem>> {
    let (mut out, mut problems) = (Map::new(), Vec::new());
    if let Some((_, pos, _)) = entries.get(MCP_SERVERS_MAX) {
        problems.push(Problem::new(*pos, format!("there are more than {MCP_SERVERS_MAX} servers")));
    }
    for (name, pos, node) in entries.iter().take(MCP_SERVERS_MAX) {
        let mut reading = Reading { node, problems: Vec::new() };
        if !is_name(name) {
            let wanted =
                "a server's name is 1 to 32 lower-case letters, digits, `_` or `-`, and begins with a letter";
            reading.problems.push(Problem::new(*pos, wanted));
        }
        let server = reading.server();
        problems.extend(reading.problems.into_iter().map(|mut problem| {
            problem.below.insert_str(0, &format!(".{name}"));
            problem
        }));
        out.insert(name.clone(), server);
    }
    if problems.is_empty() { Ok(Value::Object(out)) } else { Err(problems) }
}

fn is_name(name: &str) -> bool {
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() <= 32 && name.chars().all(rest)
}

struct Reading<'a> {
    node: &'a Node,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn server(&mut self) -> Value {
        let NodeValue::Map(entries) = &self.node.value else {
            self.say(
                "",
                self.node.pos,
                "a server is a map with `command` or `url`",
                "write `{ command: /usr/bin/clock-mcp, args: [] }` or `{ url: \"https://...\" }`",
            );
            return Value::Null;
        };
        for (name, pos, _) in entries.iter().filter(|(name, _, _)| !FIELDS.contains(&name.as_str())) {
            let hint = similar(name, FIELDS).map_or_else(
                || format!("it has {}", FIELDS.join(", ")),
                |field| format!("did you mean `{field}`?"),
            );
            self.say(&format!(".{name}"), *pos, &format!("a server has no `{name}`"), &hint);
        }
        let mut server = match (self.node.get("command"), self.node.get("url")) {
            (Some(_), None) => {
                self.has_none(&OF_URL, "it is for a server with a `url`");
                json!({ "command": self.command(), "args": self.args(), "env": self.env() })
            }
            (None, Some(_)) => {
                self.has_none(&OF_COMMAND, "it is for a server with a `command`");
                json!({ "url": self.url(), "token": self.token() })
            }
            (command, _) => {
                let has = if command.is_some() { "both" } else { "neither" };
                self.say(
                    "",
                    self.node.pos,
                    &format!("a server has `command` or `url`, and this one has {has}"),
                    "write `command` for a program that is started, or `url` for a server that runs already",
                );
                json!({})
            }
        };
        server["tools"] = Value::Object(self.tools());
        server["classes"] = Value::Object(self.classes());
        server["timeout"] = self.timeout().into();
        server
    }

    fn has_none(&mut self, fields: &[&str], why: &str) {
        for field in fields {
            if let Some(node) = self.node.get(field) {
                let message = format!("`{field}` has no meaning here: {why}");
                self.say(&format!(".{field}"), node.pos, &message, "leave it out");
            }
        }
    }

    fn command(&mut self) -> Option<String> {
        let node = self.node.get("command")?;
        let command = node.as_str().filter(|text| fits(text) && Path::new(text).is_absolute());
        if command.is_none() {
            self.say(
                ".command",
                node.pos,
                "`command` takes the absolute path of a program",
                "write `/usr/bin/...`; no shell reads it, so arguments go into `args`",
            );
        }
        command.map(str::to_owned)
    }

    fn url(&mut self) -> Option<String> {
        let node = self.node.get("url")?;
        let url = node.as_str().map(str::trim).filter(|text| fits(text) && is_base_url(text));
        if url.is_none() {
            // Not repeated: some write a key into an address.
            self.say(
                ".url",
                node.pos,
                "`url` takes an address such as `https://house.example/mcp`, without query, user or password",
                "what the server must be shown goes into `token`",
            );
        }
        url.map(str::to_owned)
    }

    fn token(&mut self) -> Option<String> {
        let node = self.node.get("token")?;
        let problem = match node.as_str() {
            Some(text) => Reference::parse(text).err(),
            None => Some("it is no text".to_owned()),
        };
        if let Some(why) = &problem {
            self.say(
                ".token",
                node.pos,
                &format!("`token` takes a reference to a secret: {why}"),
                "write ${credential:name} or ${file:/path}; the configuration is shown, so it can hold no secret",
            );
        }
        problem.is_none().then(|| node.as_str().unwrap_or_default().trim().to_owned())
    }

    fn args(&mut self) -> Vec<String> {
        let Some(node) = self.node.get("args") else { return Vec::new() };
        let args = match &node.value {
            NodeValue::List(items) if items.len() <= ITEMS_MAX => {
                items.iter().map(|item| item.as_str().filter(|text| fits(text)).map(str::to_owned)).collect()
            }
            _ => None,
        };
        if args.is_none() {
            self.say(
                ".args",
                node.pos,
                &format!("`args` takes a list of at most {ITEMS_MAX} texts"),
                "put numbers in quotes",
            );
        }
        args.unwrap_or_default()
    }

    /// Texts by name, each checked by what says why it does not fit.
    fn texts(
        &mut self,
        field: &str,
        most: usize,
        why: impl Fn(&str, &str) -> Option<String>,
    ) -> Map<String, Value> {
        let mut out = Map::new();
        let Some(node) = self.node.get(field) else { return out };
        let NodeValue::Map(entries) = &node.value else {
            self.say(
                &format!(".{field}"),
                node.pos,
                &format!("`{field}` takes a map from names to texts"),
                "leave it out for none",
            );
            return out;
        };
        if entries.len() > most {
            self.say(
                &format!(".{field}"),
                node.pos,
                &format!("`{field}` has more than {most} entries"),
                "leave some out",
            );
        }
        for (name, _, node) in entries {
            let problem = match node.as_str() {
                Some(text) => why(name, text),
                None => Some("takes a text".to_owned()),
            };
            match problem {
                Some(why) => {
                    self.say(&format!(".{field}.{name}"), node.pos, &format!("`{name}` {why}"), "correct it")
                }
                None => drop(out.insert(name.clone(), Value::from(node.as_str()))),
            }
        }
        out
    }

    fn env(&mut self) -> Map<String, Value> {
        self.texts("env", ITEMS_MAX, |name, text| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let is_name = !name.is_empty()
                && name.len() <= 128
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(plain);
            match (is_name, Reference::begins(text)) {
                (false, _) => Some("is no name of a variable".to_owned()),
                (true, true) => Reference::parse(text).err().map(|why| format!("does not read: {why}")),
                (true, false) => (!fits(text)).then(|| "takes a text without line breaks".to_owned()),
            }
        })
    }

    fn tools(&mut self) -> Map<String, Value> {
        self.texts("tools", MCP_TOOLS_MAX, |_, text| {
            let digits = text.strip_prefix("sha256:").unwrap_or_default();
            let is_pin =
                digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            (!is_pin).then(|| "takes the pin that CB-1284 shows: sha256: and 64 digits".to_owned())
        })
    }

    fn classes(&mut self) -> Map<String, Value> {
        self.texts("classes", MCP_TOOLS_MAX, |_, text| {
            (!CLASSES.contains(&text)).then(|| format!("is one of {}", CLASSES.join(", ")))
        })
    }

    fn timeout(&mut self) -> u64 {
        let Some(node) = self.node.get("timeout") else { return MCP_TIMEOUT_S_DEFAULT };
        let seconds = match &node.value {
            NodeValue::Number(number) => number.as_u64(),
            NodeValue::String(text) => parse_duration(text).map(|length| length.as_secs()),
            _ => None,
        };
        let seconds = seconds.filter(|seconds| (1..=TIMEOUT_S_MAX).contains(seconds));
        if seconds.is_none() {
            self.say(
                ".timeout",
                node.pos,
                &format!("`timeout` takes seconds from 1 to {TIMEOUT_S_MAX}"),
                "write `30s` or `2m`",
            );
        }
        seconds.unwrap_or(MCP_TIMEOUT_S_DEFAULT)
    }

    fn say(&mut self, below: &str, pos: Pos, message: &str, hint: &str) {
        self.problems.push(Problem::new(pos, message).below(below).hint(hint));
    }
}

fn fits(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_MAX && !text.chars().any(char::is_control)
}

/// From the normal form.
pub(super) fn read(value: &Value) -> Vec<McpServer> {
    let texts = |value: &Value| -> Vec<(String, String)> {
        let pairs = value.as_object().into_iter().flatten();
        pairs.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
    };
    let class = |word: String| match word.as_str() {
        "pure" => EffectClass::Pure,
        "read_only" => EffectClass::ReadOnly,
        "idempotent" => EffectClass::Idempotent,
        "keyed" => EffectClass::Keyed,
        _ => EffectClass::Unsafe,
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let read = |(name, server): (&String, &Value)| {
        let way = match text(&server["url"]) {
            Some(url) => McpWay::Address(McpAddress { url, token: text(&server["token"]) }),
            None => McpWay::Program(McpProgram {
                command: text(&server["command"])?,
                args: server["args"].as_array()?.iter().filter_map(text).collect(),
                env: texts(&server["env"]),
            }),
        };
        Some(McpServer {
            name: name.clone(),
            way,
            tools: texts(&server["tools"]).into_iter().collect(),
            classes: texts(&server["classes"]).into_iter().map(|(tool, word)| (tool, class(word))).collect(),
            timeout: Duration::from_secs(server["timeout"].as_u64()?),
        })
    };
    value.as_object().into_iter().flatten().filter_map(read).collect()
}

/// JSON Schema of the map.
pub(super) fn schema() -> Value {
    let texts = |doc: &str| json!({ "type": "object", "additionalProperties": { "type": "string" }, "description": doc });
    json!({ "type": "object", "maxProperties": MCP_SERVERS_MAX, "additionalProperties": {
        "type": "object",
        "properties": {
            "command": { "type": "string", "pattern": "^/", "description": "Absolute path of the program. No shell reads it." },
            "args": { "type": "array", "items": { "type": "string" }, "description": "Given to the program as they are." },
            "env": texts("The program's whole environment; a value may be ${file:/path} or ${credential:name}."),
            "url": { "type": "string", "pattern": "^https?://", "description": "Where a server that runs already answers, in place of `command`." },
            "token": { "type": "string", "pattern": "^\\$\\{", "description": "What the server at `url` is shown: ${file:/path} or ${credential:name}." },
            "tools": texts("Approved tools with the pin that CB-1284 shows; no other is offered."),
            "classes": { "type": "object", "additionalProperties": { "enum": CLASSES }, "description": "What doing a tool twice means; unsafe without one." },
            "timeout": { "type": ["integer", "string"], "description": "For its greeting and each answer, 60 s unless said." },
        },
        "oneOf": [{ "required": ["command"] }, { "required": ["url"] }],
        "additionalProperties": false,
    } })
}
