//! `http`: requests to the hosts of an agent's allow-list.
//!
//! ```yaml
//! http: { hosts: [api.weather.example, "http://192.168.1.20:8080"], methods: [GET, POST], auth: { bearer: weather_key }, max_bytes: 65536 }
//! ```
//!
//! Two tools: `http_get` for GET and HEAD, which only read, and `http_request` for the other methods of the grant. Invariants: a URL goes to a
//! listed host or nowhere, redirects included (they are not followed); the policy of egress holds besides; what the model writes is
//! never a credential, a framing header or a host's name; a reply is capped and tainted.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::request::{answered, effect};
use super::{ToolFamily, ToolFuture, ToolOutcome, ToolOwner, ToolRequest};
use crate::agent::credential::Credential;
use crate::error::code::tool as code;
use crate::limits::{SECRET_HOSTS_MAX, STEP_OUTPUT_BYTES_MAX, TOOL_REPLY_BYTES_DEFAULT};
use crate::model::{EffectClass, StepError, ToolSpec, class};
use crate::net::{Endpoint, allowed_host};
use crate::step::Executors;

/// Methods that only read.
const READS: &[&str] = &["GET", "HEAD"];
/// Methods that a grant may name besides.
const WRITES: &[&str] = &["POST", "PUT", "PATCH", "DELETE"];
/// Headers that a model may set: those that say what is wanted and what is sent, none that says who asks.
const HEADERS: &[&str] = &[
    "accept",
    "accept-language",
    "content-type",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "prefer",
];

/// The family `http`.
pub struct HttpTools {
    executors: Arc<Executors>,
}

/// What an agent may do.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    hosts: Vec<String>,
    #[serde(default)]
    methods: Vec<String>,
    auth: Option<Value>,
    max_bytes: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    method: Option<String>,
    url: String,
    query: Option<Map<String, Value>>,
    headers: Option<Map<String, Value>>,
    json: Option<Value>,
    body: Option<String>,
}

impl Grant {
    fn read(grant: &Value) -> Result<Self, StepError> {
        let wrong =
            |message: String| StepError::new(class::INVALID, &code::GRANT, format!("tools.http: {message}"));
        let mut grant = Self::deserialize(grant).map_err(|error| wrong(error.to_string()))?;
        if grant.hosts.is_empty() || grant.hosts.len() > SECRET_HOSTS_MAX {
            return Err(wrong(format!(
                "`hosts` names 1 to {SECRET_HOSTS_MAX} hosts, such as `api.example.com`"
            )));
        }
        for host in &mut grant.hosts {
            let normal = allowed_host(host);
            *host = normal.ok_or_else(|| {
                wrong(format!("`{}` names no host; there are no patterns: write `api.example.com` or `http://192.168.1.5:8123`", shown(host)))
            })?;
        }
        if let Some(method) = grant
            .methods
            .iter()
            .find(|method| !READS.contains(&method.as_str()) && !WRITES.contains(&method.as_str()))
        {
            return Err(wrong(format!(
                "`{}` is no method; there are {}, {}",
                shown(method),
                READS.join(", "),
                WRITES.join(", ")
            )));
        }
        if let Some(auth) = &grant.auth {
            Credential::read(auth).map_err(|message| wrong(format!("auth: {message}")))?;
        }
        if grant.max_bytes.is_some_and(|bytes| !(1..=STEP_OUTPUT_BYTES_MAX).contains(&bytes)) {
            return Err(wrong(format!("`max_bytes` is from 1 to {STEP_OUTPUT_BYTES_MAX}")));
        }
        Ok(grant)
    }

    /// Methods that are granted of these; without a list only reading ones are.
    fn of(&self, methods: &[&'static str]) -> Vec<&'static str> {
        let is_granted = |method: &&str| match self.methods.is_empty() {
            true => READS.contains(method),
            false => self.methods.iter().any(|granted| granted == method),
        };
        methods.iter().copied().filter(is_granted).collect()
    }
}

impl HttpTools {
    /// Requests go out through the executors.
    pub fn new(executors: Arc<Executors>) -> Self {
        Self { executors }
    }

    async fn carry_out(&self, request: &ToolRequest) -> Result<ToolOutcome, StepError> {
        let grant = Grant::read(&request.grant)?;
        match input(&grant, request) {
            Ok(input) => answered(self.executors.execute(effect(input, request)).await),
            Err(message) => Ok(ToolOutcome::error(message)),
        }
    }
}

/// The input of an `api_call`; `Err` says to the model what it may not do.
fn input(grant: &Grant, request: &ToolRequest) -> Result<Map<String, Value>, String> {
    let arguments = Arguments::deserialize(&request.arguments)
        .map_err(|error| format!("the arguments are wrong: {error}"))?;
    let methods = grant.of(if request.spec.operation == "get" { READS } else { WRITES });
    let method = match (&arguments.method, request.spec.operation.as_str()) {
        (None, "get") => "GET",
        (Some(method), _) if methods.contains(&method.as_str()) => method,
        _ => return Err(format!("`method` is one of {}", methods.join(", "))),
    };
    let to = Endpoint::of_url(&arguments.url).map_err(|error| error.message)?;
    if !to.is_allowed_by(&grant.hosts) {
        return Err(format!(
            "`{}` is not among the hosts that may be called: {}",
            to.entry(),
            grant.hosts.join(", ")
        ));
    }
    let headers = arguments.headers.unwrap_or_default();
    if let Some(name) = headers.keys().find(|name| !HEADERS.contains(&name.to_ascii_lowercase().as_str())) {
        return Err(format!(
            "the header `{}` cannot be set; those that can: {}",
            shown(name),
            HEADERS.join(", ")
        ));
    }
    if READS.contains(&method) && (arguments.json.is_some() || arguments.body.is_some()) {
        return Err("a request that reads has no body".to_owned());
    }
    let mut input = Map::new();
    input.insert("url".to_owned(), Value::String(arguments.url));
    input.insert("method".to_owned(), Value::from(method));
    input.insert("query".to_owned(), Value::Object(arguments.query.unwrap_or_default()));
    input.insert("headers".to_owned(), Value::Object(headers));
    input.extend(arguments.json.map(|json| ("json".to_owned(), json)));
    input.extend(arguments.body.map(|body| ("body".to_owned(), Value::String(body))));
    input.insert("max_bytes".to_owned(), json!(grant.max_bytes.unwrap_or(TOOL_REPLY_BYTES_DEFAULT)));
    if let Some(auth) = &grant.auth {
        Credential::read(auth)?.add_to(&mut input);
    }
    Ok(input)
}

fn specs(grant: &Grant) -> Vec<ToolSpec> {
    let hosts = grant.hosts.join(", ");
    let spec = |name: &str, operation: &str, what: &str, schema: Value, class: EffectClass| ToolSpec {
        name: name.to_owned(),
        family: "http".to_owned(),
        operation: operation.to_owned(),
        description: format!("{what} Hosts that may be called: {hosts}."),
        schema,
        class,
        reads_private: grant.auth.is_some(),
        is_untrusted: true,
        is_outward: class != EffectClass::ReadOnly,
    };
    let properties = |methods: &[&str]| {
        json!({
            "url": { "type": "string", "description": "Absolute, with https unless the host is listed with http://." },
            "method": { "type": "string", "enum": methods },
            "query": { "type": "object", "description": "Added to the URL, encoded.", "additionalProperties": { "type": ["string", "number", "boolean", "null"] } },
            "headers": { "type": "object", "description": HEADERS.join(", "), "additionalProperties": { "type": "string" } },
        })
    };
    let mut specs = Vec::new();
    let reads = grant.of(READS);
    if !reads.is_empty() {
        let schema = json!({ "type": "object", "properties": properties(&reads), "required": ["url"], "additionalProperties": false });
        specs.push(spec("http_get", "get", "Gets what is at a URL.", schema, EffectClass::ReadOnly));
    }
    let writes = grant.of(WRITES);
    if !writes.is_empty() {
        let mut properties = properties(&writes);
        properties["json"] = json!({ "description": "The body, sent as JSON." });
        properties["body"] =
            json!({ "type": "string", "description": "The body as text, in place of json." });
        let schema = json!({ "type": "object", "properties": properties, "required": ["url", "method"], "additionalProperties": false });
        specs.push(spec(
            "http_request",
            "request",
            "Sends a request that changes something.",
            schema,
            EffectClass::Unsafe,
        ));
    }
    specs
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

impl ToolFamily for HttpTools {
    fn family(&self) -> &'static str {
        "http"
    }

    fn offers<'a>(&'a self, grant: &'a Value, _: &'a ToolOwner) -> ToolFuture<'a, Vec<ToolSpec>> {
        Box::pin(async move { Ok(specs(&Grant::read(grant)?)) })
    }

    fn call<'a>(&'a self, request: &'a ToolRequest) -> ToolFuture<'a, ToolOutcome> {
        Box::pin(self.carry_out(request))
    }
}
