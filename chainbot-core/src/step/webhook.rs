//! `webhook`: posts JSON to a URL as Standard Webhooks has it, signed when the step names a secret.
//!
//! Input: `{url, payload?, headers?, secret?}`; several secrets give several signatures. Output: `{status_code, response}`; only 2xx is a success. `webhook-id` is the
//! effect's key and so the same on every attempt; `webhook-timestamp` is the time of the attempt.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::reply::{self, Mode};
use super::{Effect, Executors, Failure, config, sealed, signature};
use crate::net::Request;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    url: String,
    #[serde(default)]
    payload: Value,
    headers: Option<Map<String, Value>>,
    /// The keys that sign.
    #[serde(default)]
    secret: Vec<String>,
}

/// Carries one attempt out.
pub(crate) async fn execute(executors: &Executors, effect: &Effect) -> Result<Value, Failure> {
    let filled = sealed::fill(executors, effect, super::endpoint)?;
    let mut input: Input = config::read(filled.input())?;
    let own = input.headers.take().unwrap_or_default();
    if let Some(name) = own.keys().find(|name| name.to_ascii_lowercase().starts_with("webhook-")) {
        let message = format!(
            "headers.{name}: receivers recognise repeats by the webhook- headers, which ChainBot sets"
        );
        return Err(Failure::input(message));
    }
    let mut headers = config::headers(&own, Some("application/json"), effect)?;
    headers.push(("webhook-id".to_owned(), effect.key.to_string()));
    let seconds = executors.env.now().0.div_euclid(1_000);
    headers.push(("webhook-timestamp".to_owned(), seconds.to_string()));
    let body = input.payload.to_string().into_bytes();
    if !input.secret.is_empty() {
        let keys = std::mem::take(&mut input.secret).into_iter().map(Zeroizing::new).collect::<Vec<_>>();
        let keys: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
        let signature = signature::webhook(&keys, &effect.key.to_string(), &seconds.to_string(), &body)?;
        headers.push(("webhook-signature".to_owned(), signature));
    }

    let mut request = Request::new("POST", input.url.as_str());
    request.headers = headers;
    request.body = body;
    request.has_secrets = filled.sends_secrets;
    request.timeout = effect.timeout;
    let what = format!("`POST {}`", super::api_call::without_query(&input.url));
    let is_success = |status: u16| (200..300).contains(&status);
    let reply = match executors.egress.send(request).await {
        Ok(reply) => reply,
        // The body did not come through, but the status did, and it says more.
        Err(error) => match &error.head {
            Some(head) if !is_success(head.status) => {
                return Err(Failure::status(&what, head, &executors.env));
            }
            _ => return Err(error.into()),
        },
    };
    if !is_success(reply.status) {
        return Err(Failure::status(&what, &reply, &executors.env));
    }
    let response = reply::data(&reply, Mode::Auto, &what)?;
    Ok(json!({ "status_code": reply.status, "response": response }))
}
