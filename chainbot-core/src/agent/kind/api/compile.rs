//! From an agent's configuration and its OpenAPI document to a [`Client`], or everything that is wrong. Pure.
//!
//! ```yaml
//! base_url: https://api.example.com/v1
//! auth: { bearer: example_key }
//! document: { openapi: 3.1.0, paths: { ... } }      # or its text, YAML or JSON
//! operations: [listPets, "GET /pets/{id}"]
//! rate_limit: { requests: 60, per: minute }
//! ```

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::operation::{Argument, At, Body, Form, Operation, Style, class_of};
use super::rate::Rate;
use super::reference::followed;
use super::schema::expanded;
use crate::agent::credential::Credential;
use crate::error::code::tool as code;
use crate::error::{Diagnostic, Pos, Severity, similar};
use crate::limits::{API_OPERATIONS_MAX, STEP_OUTPUT_BYTES_MAX, TOOL_REPLY_BYTES_DEFAULT};
use crate::model::{EffectClass, ToolSpec};
use crate::net::Endpoint;

/// A client of one API.
#[derive(Debug)]
pub struct Client {
    pub(super) base_url: String,
    pub(super) credential: Option<Credential>,
    pub(super) headers: Map<String, Value>,
    pub(super) rate: Option<Rate>,
    pub(super) max_bytes: usize,
    operations: Vec<Operation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    base_url: String,
    auth: Option<Value>,
    #[serde(default)]
    headers: Map<String, Value>,
    document: Value,
    operations: Vec<String>,
    /// Operations whose server honours the `Idempotency-Key` that every request carries.
    #[serde(default)]
    keyed: Vec<String>,
    rate_limit: Option<RateLimit>,
    max_bytes: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateLimit {
    requests: u32,
    per: Period,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Period {
    Second,
    Minute,
    Hour,
    Day,
}

const METHODS: &[(&str, &str)] = &[
    ("get", "GET"),
    ("head", "HEAD"),
    ("put", "PUT"),
    ("delete", "DELETE"),
    ("post", "POST"),
    ("patch", "PATCH"),
    ("options", "OPTIONS"),
];
/// Headers that the document may describe and that are not the caller's to set.
const NOT_ARGUMENTS: &[&str] = &[
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

impl Client {
    /// Reads a configuration and reports everything that is wrong. Sends nothing.
    pub fn compile(config: &Value) -> Result<Self, Vec<Diagnostic>> {
        let mut problems = Problems::default();
        match problems.client(config) {
            Some(client) if problems.0.is_empty() => Ok(client),
            _ => Err(problems.0),
        }
    }

    /// The operations as tools, sorted by name.
    pub fn tools(&self) -> Vec<ToolSpec> {
        self.operations.iter().map(|operation| operation.tool.clone()).collect()
    }

    /// One of the allow-list, by its id or its tool's name.
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.id == name || operation.tool.name == name)
    }
}

#[derive(Default)]
struct Problems(Vec<Diagnostic>);

impl Problems {
    fn wrong(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.say(path, message, None);
    }

    fn say(&mut self, path: impl Into<String>, message: impl Into<String>, hint: Option<String>) {
        let (pos, path, message) = (Pos::default().into(), path.into(), message.into());
        self.0.push(Diagnostic { code: code::API.id, severity: Severity::Error, pos, path, message, hint });
    }

    fn client(&mut self, config: &Value) -> Option<Client> {
        let config =
            Config::deserialize(config).map_err(|error| self.wrong("config", error.to_string())).ok()?;
        let base_url = self.base_url(&config.base_url);
        let credential = config.auth.as_ref().map(Credential::read).transpose();
        let credential = credential.map_err(|message| self.wrong("config.auth", message)).ok();
        for name in config.headers.keys().filter(|name| NOT_ARGUMENTS.contains(&name.to_lowercase().as_str()))
        {
            if !["accept", "user-agent"].contains(&name.to_lowercase().as_str()) {
                self.wrong(
                    format!("config.headers.{}", shown(name)),
                    "this header is set by ChainBot, or by `auth`",
                );
            }
        }
        let max_bytes = config.max_bytes.unwrap_or(TOOL_REPLY_BYTES_DEFAULT);
        if !(1..=STEP_OUTPUT_BYTES_MAX).contains(&max_bytes) {
            self.wrong("config.max_bytes", format!("it is from 1 to {STEP_OUTPUT_BYTES_MAX}"));
        }
        let rate = config.rate_limit.map(|RateLimit { requests, per }| {
            let seconds = match per {
                Period::Second => 1,
                Period::Minute => 60,
                Period::Hour => 3_600,
                Period::Day => 86_400,
            };
            Rate { requests, per: Duration::from_secs(seconds) }
        });
        if rate.is_some_and(|rate| rate.requests == 0) {
            self.wrong("config.rate_limit.requests", "0 requests are none; leave the operations out instead");
        }
        let document = self.document(config.document)?;
        let operations = self.operations(&document, &config.operations, &config.keyed);
        Some(Client {
            base_url: base_url?,
            credential: credential?,
            headers: config.headers,
            rate,
            max_bytes,
            operations,
        })
    }

    fn base_url(&mut self, text: &str) -> Option<String> {
        if let Err(error) = Endpoint::of_url(text) {
            self.wrong("config.base_url", error.message);
            return None;
        }
        let has_dots = text
            .split('/')
            .any(|part| matches!(part.to_lowercase().replace("%2e", ".").as_str(), "." | ".."));
        if text.contains(['?', '#', '{']) || has_dots {
            self.wrong("config.base_url", "a base URL has no query, no fragment, no `{}` and no `..`");
            return None;
        }
        Some(text.trim_end_matches('/').to_owned())
    }

    /// The document as JSON, when it is one of a version that is read.
    fn document(&mut self, document: Value) -> Option<Value> {
        let document = match document {
            Value::String(text) => match crate::validate::document(&text) {
                Ok(document) => document.to_json(),
                Err(found) => {
                    let first = found.into_iter().next().map(|problem| (problem.pos, problem.message));
                    let (pos, message) = first.unwrap_or((Pos::default().into(), String::new()));
                    self.wrong(
                        "config.document",
                        format!("line {}, column {}: {message}", pos.line, pos.column),
                    );
                    return None;
                }
            },
            document => document,
        };
        let version = document.get("openapi").and_then(Value::as_str).unwrap_or_default();
        if !(version.starts_with("3.0") || version.starts_with("3.1")) {
            let message = match document.get("swagger") {
                Some(_) => "the document is of Swagger 2; convert it to OpenAPI 3".to_owned(),
                None => "the document says no `openapi: 3.0.x` or `3.1.x`".to_owned(),
            };
            self.wrong("config.document", message);
            return None;
        }
        if !document.get("paths").is_some_and(Value::is_object) {
            self.wrong("config.document", "the document has no `paths`");
            return None;
        }
        Some(document)
    }

    fn operations(&mut self, document: &Value, wanted: &[String], keyed: &[String]) -> Vec<Operation> {
        if wanted.is_empty() || wanted.len() > API_OPERATIONS_MAX {
            self.wrong(
                "config.operations",
                format!("it names 1 to {API_OPERATIONS_MAX} operations of the document"),
            );
            return Vec::new();
        }
        let all = found(document);
        let mut out: Vec<Operation> = Vec::new();
        for (at, name) in wanted.iter().enumerate() {
            let path = format!("config.operations[{at}]");
            let named: Vec<&Found> =
                all.iter().filter(|found| found.id == *name || found.line() == *name).collect();
            let [found] = named.as_slice() else {
                let known = all.iter().map(|found| found.id.as_str());
                let hint = similar(name, known).map(|known| format!("did you mean `{known}`?"));
                let message = match named.len() {
                    0 => format!("the document has no operation `{}`", shown(name)),
                    _ => format!("the document has several operations `{}`; write `GET /path`", shown(name)),
                };
                self.say(path, message, hint);
                continue;
            };
            let is_keyed = keyed.iter().any(|key| *key == found.id || *key == found.line());
            match operation(document, found, is_keyed) {
                Err(message) => self.wrong(path, format!("`{}`: {message}", found.id)),
                Ok(operation) if out.iter().any(|known| known.tool.name == operation.tool.name) => {
                    let message =
                        format!("two operations make the tool `{}`; leave one out", operation.tool.name);
                    self.wrong(path, message);
                }
                Ok(operation) => out.push(operation),
            }
        }
        for (at, key) in keyed.iter().enumerate().filter(|(_, key)| !wanted.contains(key)) {
            self.wrong(
                format!("config.keyed[{at}]"),
                format!("`{}` is not among the operations", shown(key)),
            );
        }
        out.sort_by(|a, b| a.tool.name.cmp(&b.tool.name));
        out
    }
}

/// An operation as the document has it.
struct Found<'d> {
    id: String,
    method: &'static str,
    path: &'d str,
    item: &'d Value,
    operation: &'d Value,
}

impl Found<'_> {
    fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

fn found(document: &Value) -> Vec<Found<'_>> {
    let mut out = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        let Ok(item) = followed(document, item) else { continue };
        for (word, method) in METHODS {
            let Some(operation) = item.get(word).filter(|operation| operation.is_object()) else { continue };
            let mut found = Found { id: String::new(), method, path, item, operation };
            found.id = match operation.get("operationId").and_then(Value::as_str) {
                Some(id) => id.to_owned(),
                None => found.line(),
            };
            out.push(found);
        }
    }
    out
}

fn operation(document: &Value, found: &Found<'_>, is_keyed: bool) -> Result<Operation, String> {
    if !found.path.starts_with('/') || found.path.contains(['?', '#']) {
        return Err(format!("its path `{}` is no path", shown(found.path)));
    }
    let parameters = parameters(document, found)?;
    let mut arguments = Vec::new();
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (name, place, parameter) in &parameters {
        let is_twice = parameters.iter().filter(|(other, _, _)| other == name).count() > 1;
        let key = match is_twice || name == "body" {
            true => format!("{name}_{place}"),
            false => name.clone(),
        };
        let schema = schema_of(document, parameter).map_err(|error| format!("`{name}`: {error}"))?;
        let mut argument = argument(key.clone(), name, place, parameter)?;
        argument.is_object = is_object(&schema);
        if argument.at == At::Path && !found.path.contains(&format!("{{{name}}}")) {
            return Err(format!("its path has no `{{{name}}}`"));
        }
        properties.insert(key.clone(), schema);
        if argument.is_required {
            required.push(key);
        }
        arguments.push(argument);
    }
    let unfilled = holes(found.path)
        .find(|hole| !arguments.iter().any(|argument| argument.at == At::Path && argument.name == *hole));
    if let Some(hole) = unfilled {
        return Err(format!("`{{{hole}}}` of its path is described nowhere"));
    }
    let body = body(document, found.operation)?;
    let body = body.map(|(body, schema)| {
        properties.insert(body.key.clone(), schema);
        required.extend(body.is_required.then(|| body.key.clone()));
        body
    });
    let schema = json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    let class = class_of(found.method, is_keyed);
    let tool = ToolSpec {
        name: tool_name(&found.id)?,
        family: "api".to_owned(),
        operation: found.id.clone(),
        description: description(found),
        schema,
        class,
        reads_private: true,
        is_untrusted: true,
        is_outward: class != EffectClass::ReadOnly,
    };
    Ok(Operation {
        id: found.id.clone(),
        tool,
        method: found.method,
        path: found.path.to_owned(),
        arguments,
        body,
    })
}

/// Those of the path, and those of the operation over them; without what is not the caller's to say.
fn parameters<'d>(
    document: &'d Value,
    found: &Found<'d>,
) -> Result<Vec<(String, String, &'d Value)>, String> {
    let mut out: Vec<(String, String, &Value)> = Vec::new();
    for list in [found.item, found.operation] {
        for parameter in list.get("parameters").and_then(Value::as_array).into_iter().flatten() {
            let parameter = followed(document, parameter)?;
            let text = |key: &str| parameter.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (name, place) = (text("name"), text("in"));
            if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
                return Err("one of its parameters has no name".to_owned());
            }
            let is_ours = place == "header" && NOT_ARGUMENTS.contains(&name.to_lowercase().as_str());
            if is_ours || (place == "cookie" && parameter.get("required") != Some(&Value::Bool(true))) {
                continue;
            }
            out.retain(|(known, at, _)| (known, at) != (&name, &place));
            out.push((name, place, parameter));
        }
    }
    Ok(out)
}

fn argument(key: String, name: &str, place: &str, parameter: &Value) -> Result<Argument, String> {
    let explodes = parameter.get("explode").and_then(Value::as_bool);
    let at = match place {
        "path" => At::Path,
        "header" => At::Header,
        "query" => At::Query(match parameter.get("style").and_then(Value::as_str).unwrap_or("form") {
            "form" if explodes.unwrap_or(true) => Style::Each,
            "form" => Style::Joined(','),
            "spaceDelimited" if explodes != Some(true) => Style::Joined(' '),
            "pipeDelimited" if explodes != Some(true) => Style::Joined('|'),
            "spaceDelimited" | "pipeDelimited" => Style::Each,
            "deepObject" => Style::Deep,
            other => return Err(format!("`{name}` is of the style `{}`, which is not sent", shown(other))),
        }),
        other => return Err(format!("`{name}` goes into `{}`, where nothing is sent", shown(other))),
    };
    let style = parameter.get("style").and_then(Value::as_str).unwrap_or("simple");
    if matches!(at, At::Path | At::Header) && style != "simple" {
        return Err(format!("`{name}` is of the style `{}`, which is not sent", shown(style)));
    }
    let is_required = at == At::Path || parameter.get("required") == Some(&Value::Bool(true));
    Ok(Argument { key, name: name.to_owned(), at, is_required, is_object: false })
}

fn is_object(schema: &Value) -> bool {
    match schema.get("type") {
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        _ => schema.get("properties").is_some(),
    }
}

/// A parameter's schema, with what is said of it.
fn schema_of(document: &Value, parameter: &Value) -> Result<Value, String> {
    let schema = match (parameter.get("schema"), parameter.get("content")) {
        (Some(schema), _) => schema,
        (None, Some(_)) => return Err("it is sent as a document of its own, which is not done".to_owned()),
        (None, None) => return Ok(json!({ "type": "string" })),
    };
    let mut schema = expanded(document, schema)?;
    if let (Value::Object(schema), Some(text)) =
        (&mut schema, parameter.get("description").and_then(Value::as_str))
    {
        schema.insert("description".to_owned(), Value::String(cut(text, 300)));
    }
    Ok(schema)
}

fn body(document: &Value, operation: &Value) -> Result<Option<(Body, Value)>, String> {
    let Some(body) = operation.get("requestBody") else { return Ok(None) };
    let body = followed(document, body)?;
    let empty = Map::new();
    let content = body.get("content").and_then(Value::as_object).unwrap_or(&empty);
    let essence = |kind: &str| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let find = |fits: &dyn Fn(&str) -> bool| content.iter().find(|(kind, _)| fits(&essence(kind)));
    let (form, media) = if let Some((_, media)) = find(&|kind| kind == "application/json") {
        (Form::Json(None), media)
    } else if let Some((kind, media)) = find(&|kind| kind.ends_with("+json")) {
        (Form::Json(Some(kind.clone())), media)
    } else if let Some((_, media)) = find(&|kind| kind == "application/x-www-form-urlencoded") {
        (Form::Pairs, media)
    } else if let Some((kind, media)) = find(&|kind| kind.starts_with("text/") || kind.ends_with("/yaml")) {
        (Form::Text(kind.clone()), media)
    } else {
        let kinds: Vec<&str> = content.keys().map(String::as_str).collect();
        return Err(format!("its body is {}; JSON, forms and text are sent", shown(&kinds.join(", "))));
    };
    let is_required = body.get("required") == Some(&Value::Bool(true));
    let schema = match media.get("schema") {
        Some(schema) => expanded(document, schema).map_err(|error| format!("its body: {error}"))?,
        None => json!({}),
    };
    let schema = if matches!(form, Form::Text(_)) { json!({ "type": "string" }) } else { schema };
    Ok(Some((Body { key: "body".to_owned(), is_required, form }, schema)))
}

/// Names between braces.
fn holes(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

/// `[a-z0-9_-]`, 64 at most: `getPet` is `get_pet`, `GET /pets/{id}` is `get_pets_id`.
fn tool_name(id: &str) -> Result<String, String> {
    let mut name = String::new();
    let mut was_small = false;
    for c in id.chars() {
        if c.is_ascii_uppercase() && was_small {
            name.push('_');
        }
        was_small = c.is_ascii_lowercase() || c.is_ascii_digit();
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() || c == '-' => name.push(c),
            _ if name.ends_with('_') || name.is_empty() => {}
            _ => name.push('_'),
        }
    }
    let name = name.trim_end_matches('_').to_owned();
    match name.len() {
        1..=64 => Ok(name),
        _ => {
            Err("its name makes no tool's name of 1 to 64 letters; give it a shorter `operationId`"
                .to_owned())
        }
    }
}

fn description(found: &Found<'_>) -> String {
    let text = |key: &str| found.operation.get(key).and_then(Value::as_str).unwrap_or_default().trim();
    let (summary, more) = (text("summary"), text("description"));
    let said = if summary.is_empty() || more.is_empty() {
        format!("{summary}{more}")
    } else {
        format!("{summary}: {more}")
    };
    format!("{}. {}", found.line(), cut(&said, 600)).trim_end().to_owned()
}

fn cut(text: &str, chars: usize) -> String {
    let mut out: String = text.chars().filter(|c| !c.is_control() || *c == '\n').take(chars).collect();
    if text.chars().count() > chars {
        out.push('…');
    }
    out
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
