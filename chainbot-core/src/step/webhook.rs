//! `webhook`: posts JSON to a URL under the header names of Standard Webhooks, unsigned.
//!
//! Input: `{url, payload?, headers?}`. Output: `{status_code, response}`; only 2xx is a success. `webhook-id` is the
//! effect's key and so the same on every attempt; `webhook-timestamp` is the time of the attempt.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::reply::{self, Mode};
use super::{Effect, Executors, Failure, config};
use crate::net::Request;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    url: String,
    #[serde(default)]
    payload: Value,
    headers: Option<Map<String, Value>>,
}

/// Carries one attempt out.
pub(crate) async fn execute(executors: &Executors, effect: &Effect) -> Result<Value, Failure> {
    let input: Input = config::read(effect)?;
    let own = input.headers.unwrap_or_default();
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

    let mut request = Request::new("POST", input.url.as_str());
    request.headers = headers;
    request.body = input.payload.to_string().into_bytes();
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
