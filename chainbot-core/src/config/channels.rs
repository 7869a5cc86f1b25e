//! `notification.channels`: its normal form, what can be wrong with it, its schema and its type.

use serde_json::{Value, json};

use super::check::Problem;
use super::reference::Reference;
use crate::error::similar;
use crate::limits::CHANNELS_MAX;
use crate::model::document::NodeValue;
use crate::model::{BUILT_IN_CHANNELS, Node, Pos};
use crate::net::Broker;
use crate::step::{Channel, Way};

const KINDS: [&str; 3] = ["ntfy", "telegram", "mqtt"];

/// Fields of each kind besides `kind`; the flag: must be there.
fn fields(kind: &str) -> &'static [(&'static str, bool)] {
    match kind {
        "ntfy" => &[("topic", true), ("url", false), ("token", false), ("tags", false)],
        "telegram" => &[("token", true), ("chat", true), ("url", false)],
        _ => &[
            ("host", true),
            ("topic", true),
            ("port", false),
            ("tls", false),
            ("user", false),
            ("password", false),
            ("retain", false),
        ],
    }
}

/// The normal form of the map.
pub(super) fn channels(entries: &[(String, Pos, Node)]) -> Result<Value, Vec<Problem>> {
    let (mut out, mut problems) = (serde_json::Map::new(), Vec::new());
    if let Some((_, pos, _)) = entries.get(CHANNELS_MAX) {
        problems.push(Problem::new(*pos, format!("there are more than {CHANNELS_MAX} channels")));
    }
    for (name, pos, node) in entries.iter().take(CHANNELS_MAX) {
        let mut reading = Reading { node, problems: Vec::new() };
        if BUILT_IN_CHANNELS.contains(&name.as_str()) {
            let message = format!("`{name}` is a channel already, and cannot be another one");
            reading.problems.push(Problem::new(*pos, message).hint("choose another name"));
        } else if !is_name(name) {
            let wanted = "a channel's name is 1 to 63 lower-case letters, digits, `_` or `-`, and begins with a letter or digit";
            reading.problems.push(Problem::new(*pos, wanted));
        }
        let mut channel = reading.channel();
        if let Value::Object(fields) = &mut channel {
            // What is not said is not there, so that the normal form reads back as it is.
            fields.retain(|_, value| !value.is_null());
        }
        problems.extend(reading.problems.into_iter().map(|mut problem| {
            problem.below.insert_str(0, &format!(".{name}"));
            problem
        }));
        out.insert(name.clone(), channel);
    }
    if problems.is_empty() { Ok(Value::Object(out)) } else { Err(problems) }
}

fn is_name(name: &str) -> bool {
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.len() <= 63
        && name.chars().all(rest)
}

struct Reading<'a> {
    node: &'a Node,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn channel(&mut self) -> Value {
        let NodeValue::Map(entries) = &self.node.value else {
            let hint = "write `{ kind: ntfy, topic: my-garden }`";
            self.say("", "a channel is a map with `kind`".to_owned(), hint);
            return Value::Null;
        };
        let kind = match self.node.get("kind").map(|node| node.as_str()) {
            Some(Some(kind)) if KINDS.contains(&kind) => kind,
            Some(Some(kind)) => {
                let hint = similar(kind, KINDS).map_or_else(
                    || format!("it is one of {}", KINDS.join(", ")),
                    |meant| format!("did you mean `{meant}`?"),
                );
                self.say("kind", format!("`{kind}` is no kind of channel"), &hint);
                return Value::Null;
            }
            _ => {
                self.say(
                    "kind",
                    "a channel needs `kind`".to_owned(),
                    "write `kind: ntfy`, `telegram` or `mqtt`",
                );
                return Value::Null;
            }
        };
        let known: Vec<&str> = fields(kind).iter().map(|(name, _)| *name).collect();
        for (name, pos, _) in
            entries.iter().filter(|(name, _, _)| name != "kind" && !known.contains(&name.as_str()))
        {
            let hint = similar(name, known.iter().copied()).map_or_else(
                || format!("it has {}", known.join(", ")),
                |field| format!("did you mean `{field}`?"),
            );
            let problem = Problem::new(*pos, format!("a channel of kind {kind} has no `{name}`"));
            self.problems.push(problem.below(format!(".{name}")).hint(hint));
        }
        for (name, _) in fields(kind).iter().filter(|(name, must)| *must && self.node.get(name).is_none()) {
            self.say(name, format!("a channel of kind {kind} needs `{name}`"), "see docs/configuration.md");
        }
        match kind {
            "ntfy" => json!({
                "kind": kind, "url": self.url("https://ntfy.sh"), "topic": self.ntfy_topic(),
                "token": self.secret("token"), "tags": self.tags(),
            }),
            "telegram" => json!({
                "kind": kind, "url": self.url("https://api.telegram.org"), "token": self.secret("token"),
                "chat": self.chat(),
            }),
            _ => self.mqtt(),
        }
    }

    fn mqtt(&mut self) -> Value {
        let tls = match self.node.get("tls").map(|node| &node.value) {
            None => true,
            Some(NodeValue::Bool(tls)) => *tls,
            Some(_) => {
                self.say("tls", "`tls` takes true or false".to_owned(), "leave it out for an encrypted way");
                true
            }
        };
        let port = match self.node.get("port").map(|node| &node.value) {
            None => Some(if tls { 8_883 } else { 1_883 }),
            Some(NodeValue::Number(number)) => number.as_u64().filter(|port| (1..=65_535).contains(port)),
            Some(_) => None,
        };
        if port.is_none() {
            self.say(
                "port",
                "`port` takes a number from 1 to 65535".to_owned(),
                "8883 is usual, 1883 without TLS",
            );
        }
        let retain = match self.node.get("retain").map(|node| &node.value) {
            None => false,
            Some(NodeValue::Bool(retain)) => *retain,
            Some(_) => {
                self.say("retain", "`retain` takes true or false".to_owned(), "leave it out for false");
                false
            }
        };
        let (user, password) = (self.text("user", 256, |_| true, "who signs in"), self.secret("password"));
        if password.is_some() && user.is_none() {
            self.say("user", "a `password` needs a `user`".to_owned(), "write who signs in");
        }
        let topic = |topic: &str| !topic.contains(['+', '#', '\0']);
        json!({
            "kind": "mqtt", "host": self.text("host", 254, |host| !host.contains(['/', ' ']), "the name or address of one server"),
            "port": port, "tls": tls, "user": user, "password": password, "retain": retain,
            "topic": self.text("topic", 256, topic, "a topic without `+` and `#`"),
        })
    }

    fn text(
        &mut self,
        field: &str,
        most: usize,
        fits: impl Fn(&str) -> bool,
        wanted: &str,
    ) -> Option<String> {
        let node = self.node.get(field)?;
        let plain = |text: &&str| {
            !text.is_empty() && text.len() <= most && !text.chars().any(char::is_control) && fits(text)
        };
        let text = node.as_str().map(str::trim).filter(plain).map(str::to_owned);
        if text.is_none() {
            self.say(field, format!("`{field}` takes {wanted}"), "correct it");
        }
        text
    }

    fn secret(&mut self, field: &str) -> Option<String> {
        let word = |text: &str| {
            let is_name = text.len() <= 63
                && text.starts_with(|c: char| c.is_ascii_lowercase())
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            is_name || Reference::begins(text)
        };
        self.text(
            field,
            254,
            word,
            "the name of a secret, such as `ntfy_token`, or ${file:/path} or ${credential:name}; \
             store one with `chainbot secret set`",
        )
    }

    fn url(&mut self, usual: &str) -> String {
        let fits = |text: &str| {
            url::Url::parse(text).is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.query().is_none()
                    && url.fragment().is_none()
                    && url.username().is_empty()
                    && url.password().is_none()
            })
        };
        let url = self.text("url", 1_024, fits, "an address such as `https://ntfy.example.com`");
        url.unwrap_or_else(|| usual.to_owned()).trim_end_matches('/').to_owned()
    }

    fn ntfy_topic(&mut self) -> Option<String> {
        let fits = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        self.text("topic", 64, fits, "1 to 64 letters, digits, `_` and `-`")
    }

    fn tags(&mut self) -> Vec<String> {
        let Some(node) = self.node.get("tags") else { return Vec::new() };
        let tag = |item: &Node| {
            let text =
                item.as_str().filter(|text| !text.is_empty() && text.len() <= 64 && !text.contains(','));
            text.map(str::to_owned)
        };
        let tags = match &node.value {
            NodeValue::List(items) if items.len() <= 8 => {
                items.iter().map(tag).collect::<Option<Vec<String>>>()
            }
            _ => None,
        };
        if tags.is_none() {
            self.say("tags", "`tags` takes a list of at most 8 words".to_owned(), "write `tags: [seedling]`");
        }
        tags.unwrap_or_default()
    }

    /// A number, or `@name` of a public channel.
    fn chat(&mut self) -> Option<String> {
        let node = self.node.get("chat")?;
        let text = match &node.value {
            NodeValue::Number(number) => number.as_i64().map(|number| number.to_string()),
            NodeValue::String(text) => Some(text.clone()),
            _ => None,
        };
        let fits = |text: &String| {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let name = text.strip_prefix('@').unwrap_or_default();
            let is_number =
                !digits.is_empty() && digits.len() <= 19 && digits.bytes().all(|b| b.is_ascii_digit());
            let is_name = !name.is_empty()
                && name.len() <= 64
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            is_number || is_name
        };
        let chat = text.filter(fits);
        if chat.is_none() {
            let hint = "ask the bot's getUpdates for the chat's id";
            self.say("chat", "`chat` takes the number of a chat, or `@name`".to_owned(), hint);
        }
        chat
    }

    fn say(&mut self, field: &str, message: String, hint: &str) {
        let pos = self.node.get(field).map_or(self.node.pos, |node| node.pos);
        let below = if field.is_empty() { String::new() } else { format!(".{field}") };
        self.problems.push(Problem::new(pos, message).below(below).hint(hint));
    }
}

/// From the normal form.
pub(super) fn read(value: &Value) -> Vec<Channel> {
    let read = |(name, channel): (&String, &Value)| {
        let text = |field: &str| channel[field].as_str().map(str::to_owned);
        let way = match channel["kind"].as_str()? {
            "ntfy" => Way::Ntfy {
                url: text("url")?,
                topic: text("topic")?,
                token: text("token"),
                tags: channel["tags"]
                    .as_array()?
                    .iter()
                    .filter_map(|tag| Some(tag.as_str()?.to_owned()))
                    .collect(),
            },
            "telegram" => Way::Telegram { url: text("url")?, token: text("token")?, chat: text("chat")? },
            _ => Way::Mqtt {
                broker: Broker {
                    host: text("host")?,
                    port: u16::try_from(channel["port"].as_u64()?).ok()?,
                    is_encrypted: channel["tls"].as_bool()?,
                },
                topic: text("topic")?,
                user: text("user"),
                password: text("password"),
                retain: channel["retain"].as_bool()?,
            },
        };
        Some(Channel { name: name.clone(), way })
    };
    value.as_object().into_iter().flatten().filter_map(read).collect()
}

/// JSON Schema of the map.
pub(super) fn schema() -> Value {
    let text = |doc: &str| json!({ "type": "string", "description": doc });
    json!({ "type": "object", "maxProperties": CHANNELS_MAX, "additionalProperties": {
        "type": "object",
        "properties": {
            "kind": { "enum": KINDS },
            "topic": text("ntfy: the topic. mqtt: the topic that is published to."),
            "url": text("ntfy, telegram: another server than the usual one."),
            "token": text("ntfy, telegram: name of the secret that is the token, ${file:/path} or ${credential:name}."),
            "tags": { "type": "array", "items": { "type": "string" }, "description": "ntfy: tags of every message." },
            "chat": { "type": ["integer", "string"], "description": "telegram: the chat's number, or @name." },
            "host": text("mqtt: name or address of the broker."),
            "port": { "type": "integer", "minimum": 1, "maximum": 65_535, "description": "mqtt: 8883, or 1883 without TLS." },
            "tls": { "type": "boolean", "description": "mqtt: false only to this machine or a granted host." },
            "user": text("mqtt: who signs in."),
            "password": text("mqtt: name of the secret that is the password, ${file:/path} or ${credential:name}."),
            "retain": { "type": "boolean", "description": "mqtt: the broker keeps the last message." },
        },
        "required": ["kind"],
        "additionalProperties": false,
    } })
}
