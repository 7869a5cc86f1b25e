//! `api_call`: sends one HTTP request and reads its reply.
//!
//! Input: `{url, method, query?, headers?, body?|json?|form?|multipart?, auth?, expect?: {status, schema?}, response,
//! max_bytes?, follow_redirects, pagination?, idempotent}`. Output: `{status_code, headers, data}`, of several pages
//! also `pages`. Every attempt carries `Idempotency-Key: <key>` unless the step's own headers name one.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::auth::Auth;
use super::pagination::{Bounds, Pagination};
use super::reply::{self, Mode};
use super::{Effect, Executors, Failure, config, multipart, sealed};
use crate::error::code::run as code;
use crate::limits::{
    EGRESS_REPLY_BYTES_DEFAULT, EGRESS_TOTAL_S_DEFAULT, EXCERPT_CHARS_MAX, STEP_OUTPUT_BYTES_MAX,
};
use crate::model::{StepError, class};
use crate::net::{Reply, Request, Stream};

/// Problems of a reply against its schema that a message names; the rest repeat them.
const PROBLEMS_SHOWN: usize = 3;
/// Memory of one compiled pattern of a schema; patterns are written by hand.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    url: String,
    method: String,
    query: Option<Map<String, Value>>,
    headers: Option<Map<String, Value>>,
    body: Option<String>,
    #[serde(default, deserialize_with = "config::present")]
    json: Option<Value>,
    form: Option<Map<String, Value>>,
    multipart: Option<Map<String, Value>>,
    auth: Option<Auth>,
    pagination: Option<Pagination>,
    #[serde(default)]
    expect: Option<Expect>,
    #[serde(default)]
    response: Mode,
    max_bytes: Option<usize>,
    #[serde(default)]
    follow_redirects: bool,
    /// Whether a repeat is harmless: the engine's affair; the key is sent in any case.
    #[serde(default, rename = "idempotent")]
    _idempotent: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    #[serde(default)]
    status: Vec<Status>,
    schema: Option<Value>,
}

/// A status code or a class of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Status {
    Number(u16),
    Text(String),
}

impl Status {
    fn holds(&self, status: u16) -> Result<bool, Failure> {
        let text = match self {
            Status::Number(number) => return Ok(*number == status),
            Status::Text(text) => text.trim(),
        };
        let (class, rest) = text.split_at_checked(1).unwrap_or((text, ""));
        match (class.parse::<u16>(), rest) {
            (Ok(class @ 1..=5), "xx" | "XX") => Ok(status / 100 == class),
            (Ok(1..=5), _) if text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(text.parse() == Ok(status))
            }
            _ => Err(Failure::input(format!(
                "expect.status: `{text}` is neither a status such as 200 nor a class such as 2xx"
            ))),
        }
    }
}

/// What every page of a call has in common.
pub(crate) struct Call<'a> {
    input: &'a Input,
    validator: Option<jsonschema::Validator>,
    /// For messages.
    pub(crate) what: String,
}

/// Carries one attempt out.
pub(crate) async fn execute(executors: &Executors, effect: &Effect) -> Result<Value, Failure> {
    // With `***` in it where a secret goes.
    let shown_url = effect.input.get("url").and_then(Value::as_str).unwrap_or_default();
    let filled = sealed::fill(executors, effect, super::endpoint)?;
    let input: Input = config::read(filled.input())?;
    let expect = input.expect.as_ref();
    // Read before anything is sent: a wrong rule found afterwards would fail an effect that has happened.
    let validator = expect.and_then(|expect| expect.schema.as_ref()).map(compile).transpose()?;
    if let Some(expect) = expect {
        expect.status.iter().try_for_each(|status| status.holds(0).map(drop))?;
    }
    let what = format!("`{} {}`", input.method, without_query(shown_url));
    let mut request = request(&input, effect, executors)?;
    request.has_secrets = filled.sends_secrets;
    let call = Call { input: &input, validator, what };
    if let Some(pagination) = &input.pagination {
        let bounds = Bounds {
            bytes_max: input.max_bytes.unwrap_or(EGRESS_REPLY_BYTES_DEFAULT),
            time: effect.timeout.unwrap_or(Duration::from_secs(EGRESS_TOTAL_S_DEFAULT)),
        };
        return pagination.fetch(executors, &call, request, bounds).await;
    }
    let reply = call.send(executors, request).await?;
    let data = call.data(&reply)?;
    Ok(json!({ "status_code": reply.status, "headers": reply::headers(&reply), "data": data }))
}

/// Sends one request and gives its reply as it comes, `bytes_max` at most. A status that is no success is a failure.
pub(crate) async fn stream(
    executors: &Executors,
    effect: &Effect,
    bytes_max: usize,
) -> Result<Stream, Failure> {
    let shown_url = effect.input.get("url").and_then(Value::as_str).unwrap_or_default();
    let filled = sealed::fill(executors, effect, super::endpoint)?;
    let input: Input = config::read(filled.input())?;
    let mut request = request(&input, effect, executors)?;
    request.has_secrets = filled.sends_secrets;
    request.max_bytes = Some(bytes_max);
    let mut stream = executors.egress.open(request).await?;
    if (200..300).contains(&stream.status) {
        return Ok(stream);
    }
    let body = stream.excerpt(EXCERPT_CHARS_MAX, Duration::from_secs(EGRESS_TOTAL_S_DEFAULT)).await;
    let reply = Reply { status: stream.status, headers: std::mem::take(&mut stream.headers), body };
    let what = format!("`{} {}`", input.method, without_query(shown_url));
    Err(Failure::status(&what, &reply, &executors.env))
}

impl Call<'_> {
    /// Sends one request; a status that is not expected is a failure.
    pub(crate) async fn send(&self, executors: &Executors, request: Request) -> Result<Reply, Failure> {
        let expect = self.input.expect.as_ref();
        let reply = match executors.egress.send(request).await {
            Ok(reply) => reply,
            // The body did not come through, but the status did, and it says more.
            Err(error) => match &error.head {
                Some(head) if !is_expected(expect, head.status)? => {
                    return Err(Failure::status(&self.what, head, &executors.env));
                }
                _ => return Err(error.into()),
            },
        };
        match is_expected(expect, reply.status)? {
            true => Ok(reply),
            false => Err(Failure::status(&self.what, &reply, &executors.env)),
        }
    }

    /// The data of a reply, checked.
    pub(crate) fn data(&self, reply: &Reply) -> Result<Value, Failure> {
        // These have no body by definition, so none can be missing.
        let bodiless = self.input.method == "HEAD" || matches!(reply.status, 204 | 304);
        let data = if bodiless && reply.body.is_empty() {
            Value::Null
        } else {
            reply::data(reply, self.input.response, &self.what)?
        };
        if let Some(validator) = &self.validator {
            check_schema(validator, &data, &self.what)?;
        }
        Ok(data)
    }
}

fn request(input: &Input, effect: &Effect, executors: &Executors) -> Result<Request, Failure> {
    let (content_type, body) = body(input, executors)?;
    if let Some(max_bytes) = input.max_bytes
        && !(1..=STEP_OUTPUT_BYTES_MAX).contains(&max_bytes)
    {
        let message = format!("max_bytes is {max_bytes}; it must be between 1 and {STEP_OUTPUT_BYTES_MAX}");
        return Err(Failure::input(message));
    }
    let none = Map::new();
    let mut request = Request::new(input.method.as_str(), input.url.as_str());
    request.query = config::pairs(input.query.as_ref().unwrap_or(&none), "query")?;
    request.headers =
        config::headers(input.headers.as_ref().unwrap_or(&none), content_type.as_deref(), effect)?;
    if let Some(auth) = &input.auth {
        auth.add_to(&mut request.headers)?;
    }
    request.body = body;
    request.timeout = effect.timeout;
    request.max_bytes = input.max_bytes;
    request.follow_redirects = input.follow_redirects;
    Ok(request)
}

fn body(input: &Input, executors: &Executors) -> Result<(Option<String>, Vec<u8>), Failure> {
    let typed = |content_type: &str, body: Vec<u8>| Ok((Some(content_type.to_owned()), body));
    match (&input.body, &input.json, &input.form, &input.multipart) {
        (None, None, None, None) => Ok((None, Vec::new())),
        (Some(text), None, None, None) => typed("text/plain; charset=utf-8", text.clone().into_bytes()),
        (None, Some(json), None, None) => typed("application/json", json.to_string().into_bytes()),
        (None, None, Some(form), None) => {
            let pairs = config::pairs(form, "form")?;
            typed("application/x-www-form-urlencoded", crate::net::form(&pairs).into_bytes())
        }
        (None, None, None, Some(parts)) => {
            let (content_type, body) = multipart::encode(parts, &executors.env)?;
            typed(&content_type, body)
        }
        _ => Err(Failure::input(
            "a request has one body; give only one of `body`, `json`, `form` and `multipart`",
        )),
    }
}

fn is_expected(expect: Option<&Expect>, status: u16) -> Result<bool, Failure> {
    match expect {
        Some(expect) if !expect.status.is_empty() => {
            for rule in &expect.status {
                if rule.holds(status)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => Ok((200..300).contains(&status)),
    }
}

fn compile(schema: &Value) -> Result<jsonschema::Validator, Failure> {
    // The linear engine: a reply must not be able to make a pattern run for ever. References to other documents
    // are not fetched, for that would be a way out beside the policy.
    let patterns = jsonschema::PatternOptions::regex().size_limit(PATTERN_BYTES_MAX);
    jsonschema::options().with_pattern_options(patterns).build(schema).map_err(|error| {
        Failure::input(format!("expect.schema is not a JSON Schema that can be used: {error}"))
    })
}

fn check_schema(validator: &jsonschema::Validator, data: &Value, what: &str) -> Result<(), Failure> {
    let mut errors = validator.iter_errors(data);
    let shown: Vec<String> = errors
        .by_ref()
        .take(PROBLEMS_SHOWN)
        .map(|error| {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { "/".to_owned() } else { place };
            format!("{place}: {}", crate::net::excerpt(error.to_string().as_bytes()))
        })
        .collect();
    if shown.is_empty() {
        return Ok(());
    }
    let more = if errors.next().is_some() { "; and more" } else { "" };
    let message = format!("the data of {what} does not match expect.schema: {}{more}", shown.join("; "));
    Err(StepError::new(class::INVALID, &code::REPLY_SCHEMA, message).into())
}

/// For messages: a query may hold a credential.
pub(crate) fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}
