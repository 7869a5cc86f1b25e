//! Where a model server is, how it is asked, and what its refusals mean: the same for every kind.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use zeroize::Zeroizing;

use super::gather::Gathered;
use super::{ModelError, ModelErrorClass, ModelReply, ModelRequest, Usage};
use crate::env::Env;
use crate::limits::{
    MODEL_FIRST_S_MAX, MODEL_LIST_BYTES_MAX, MODEL_REFUSAL_BYTES_MAX, MODEL_REPLY_BYTES_MAX,
    MODEL_SILENCE_S_MAX,
};
use crate::net::{BodyLines, Egress, Request, Stream, excerpt, read_retry_after};

/// How long and how much.
#[derive(Clone, Debug)]
pub struct CallLimits {
    /// To the head of the reply: a small machine needs minutes for a long prompt.
    pub first: Duration,
    /// Between two pieces.
    pub silence: Duration,
    /// Bytes of the whole reply as it travels.
    pub bytes: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(MODEL_FIRST_S_MAX),
            silence: Duration::from_secs(MODEL_SILENCE_S_MAX),
            bytes: MODEL_REPLY_BYTES_MAX,
        }
    }
}

/// A server: its base URL and its key, if it wants one.
#[derive(Clone)]
pub struct Endpoint {
    base: String,
    key: Option<Zeroizing<String>>,
    egress: Arc<Egress>,
    env: Env,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("base", &self.base).field("has_key", &self.key.is_some()).finish()
    }
}

impl Endpoint {
    /// `base` as the server's documentation has it, such as `http://127.0.0.1:8080/v1`. Without a key no credential is sent.
    pub fn new(
        base: impl Into<String>,
        key: Option<Zeroizing<String>>,
        egress: Arc<Egress>,
        env: Env,
    ) -> Self {
        let base: String = base.into();
        Self { base: base.trim_end_matches('/').to_owned(), key, egress, env }
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_ref().map(|key| key.as_str())
    }

    /// The credential as most servers want it.
    pub(super) fn bearer(&self) -> Vec<(String, String)> {
        self.key().map(|key| ("authorization".to_owned(), format!("Bearer {key}"))).into_iter().collect()
    }

    /// Sends a request of a model and gives its reply's stream. A status that is no success is an error with its class.
    pub(super) async fn ask(
        &self,
        path: &str,
        headers: Vec<(String, String)>,
        body: &Value,
        request: &ModelRequest,
        limits: &CallLimits,
    ) -> Result<BodyLines, ModelError> {
        let mut call = Request::new("POST", format!("{}{path}", self.base));
        call.headers = headers;
        call.headers.push(("content-type".into(), "application/json".into()));
        call.headers.push(("accept".into(), "text/event-stream, application/json".into()));
        if !request.idempotency_key.is_empty() {
            call.headers.push(("idempotency-key".into(), request.idempotency_key.clone()));
        }
        call.body = body.to_string().into_bytes();
        call.timeout = Some(limits.first);
        call.max_bytes = Some(limits.bytes);
        call.has_secrets = self.key.is_some();
        let stream =
            self.egress.open(call).await.map_err(|error| self.masked(unheard(error.into(), limits.first)))?;
        if (200..300).contains(&stream.status) {
            return Ok(stream.lines(limits.silence));
        }
        Err(self.refusal(stream, limits.silence).await)
    }

    /// A list that the server gives as JSON.
    pub(super) async fn get(&self, path: &str, headers: Vec<(String, String)>) -> Result<Value, ModelError> {
        let mut call = Request::new("GET", format!("{}{path}", self.base));
        call.headers = headers;
        call.max_bytes = Some(MODEL_LIST_BYTES_MAX);
        call.has_secrets = self.key.is_some();
        let mut stream = self.egress.open(call).await.map_err(|error| self.masked(error.into()))?;
        let silence = Duration::from_secs(MODEL_SILENCE_S_MAX);
        if !(200..300).contains(&stream.status) {
            return Err(self.refusal(stream, silence).await);
        }
        let body = stream.whole(silence).await.map_err(|error| self.masked(error.into()))?;
        serde_json::from_slice(&body).map_err(|error| {
            let message = format!("the list of models is no JSON: {error}: {}", excerpt(&body));
            self.masked(ModelError::new(ModelErrorClass::Invalid, message))
        })
    }

    async fn refusal(&self, mut stream: Stream, silence: Duration) -> ModelError {
        let after = stream.header("retry-after").and_then(|text| read_retry_after(text, self.env.now()));
        let body = stream.excerpt(MODEL_REFUSAL_BYTES_MAX, silence).await;
        let status = stream.status;
        let said = serde_json::from_slice(&body).ok().as_ref().and_then(said);
        let said = said.unwrap_or_else(|| excerpt(&body));
        let mut error =
            ModelError::new(class_of(status, &said), format!("the model server answered {status}: {said}"));
        error.after = after;
        self.masked(error)
    }

    /// An `error` object in an answer that was announced as a success.
    pub(super) fn refused_inside(&self, error: &Value, usage: Usage) -> ModelError {
        let whole = Value::Object([("error".to_owned(), error.clone())].into_iter().collect());
        let said = said(&whole).unwrap_or_else(|| excerpt(error.to_string().as_bytes()));
        let status = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        let class = match (status, error.get("type").and_then(Value::as_str).unwrap_or_default()) {
            (Some(status), _) if status >= 400 => class_of(status, &said),
            (_, kind) if kind.contains("rate_limit") => ModelErrorClass::RateLimited,
            (_, kind) if kind.contains("authentication") || kind.contains("permission") => {
                ModelErrorClass::Auth
            }
            (_, kind) if kind.contains("invalid_request") || kind.contains("not_found") => {
                class_of(400, &said)
            }
            _ if is_context(&said) => ModelErrorClass::ContextExceeded,
            _ => ModelErrorClass::Overloaded,
        };
        self.masked(
            ModelError::new(class, format!("the model server failed while it answered: {said}"))
                .with_usage(usage),
        )
    }

    /// The reply once its stream was read, or why there is none: after the server took the request it may have worked for nothing.
    pub(super) fn settled(
        &self,
        read: Result<(), ModelError>,
        got: Gathered,
        request: &ModelRequest,
    ) -> Result<ModelReply, ModelError> {
        match read {
            Ok(()) => got.finish(request),
            Err(mut error) => {
                error.usage.get_or_insert_with(|| got.usage(request));
                Err(self.masked(error))
            }
        }
    }

    /// Servers repeat a wrong key in their answers.
    pub(super) fn masked(&self, mut error: ModelError) -> ModelError {
        if let Some(key) = self.key().filter(|key| !key.is_empty()) {
            error.message = error.message.replace(key, "***");
        }
        error
    }
}

/// Of a server that never began to answer: what helps is another key than that of a step's request.
fn unheard(mut error: ModelError, first: Duration) -> ModelError {
    if error.class == ModelErrorClass::Timeout {
        error.message = format!(
            "the model server did not begin to answer within {} s; a small machine may need longer for a long prompt: raise `first_token` of the provider",
            first.as_secs_f64()
        );
    }
    error
}

/// The text of an error document, as servers write them: `{"error": {"message"}}`, `{"error": "text"}`, `{"message"}`, `{"detail"}`.
fn said(document: &Value) -> Option<String> {
    let error = document.get("error");
    let text = error
        .and_then(|error| error.get("message"))
        .or(error)
        .or(document.get("message"))
        .or(document.get("detail"))?;
    let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
    Some(excerpt(text.as_bytes()))
}

/// Servers say it as a plain 400 with prose.
fn is_context(said: &str) -> bool {
    let said = said.to_lowercase();
    [
        "context length",
        "context window",
        "context size",
        "context_length",
        "maximum context",
        "contextwindowexceeded",
        "exceed_context",
        "prompt is too long",
        "too many tokens",
        "exceeds the available context",
    ]
    .iter()
    .any(|words| said.contains(words))
}

/// The names in a list such as `{"data": [{"id": "a"}]}`, without what is none.
pub(super) fn names(list: &Value, field: &str, name: &str) -> Vec<String> {
    let items = list[field].as_array().into_iter().flatten();
    items.filter_map(|item| item[name].as_str().map(str::to_owned)).collect()
}

fn class_of(status: u16, said: &str) -> ModelErrorClass {
    match status {
        401 | 403 => ModelErrorClass::Auth,
        408 => ModelErrorClass::Timeout,
        400 | 413 | 422 | 500 if is_context(said) => ModelErrorClass::ContextExceeded,
        429 => ModelErrorClass::RateLimited,
        500..=599 => ModelErrorClass::Overloaded,
        _ => ModelErrorClass::Refused,
    }
}
