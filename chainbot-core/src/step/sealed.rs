//! Secrets of an effect's input, put in for one attempt and wiped after it.
//!
//! The journaled input has `***` where secrets go, and beside it the places and names (see
//! [`crate::engine::program::SECRETS_KEY`]). [`fill`] opens them for the one host that the attempt calls: a secret
//! that does not allow that host fails the step before anything is sent. What stands under `secret` signs and is
//! not sent, so any receiver may have such a signature.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroize;

use super::{Effect, Executors, Failure};
use crate::engine::program::SECRETS_KEY;
use crate::error::code::secret as code;
use crate::id::UserId;
use crate::model::{Json, StepError, class};
use crate::net::{Endpoint, percent_encoded};
use crate::port::{OpenSecret, Secrets};

/// What is sent in no way: keys of signatures.
const KEYS_AT: &str = "/secret";
/// Where text must not move into another part of what it is in.
const URL_AT: &str = "/url";

#[derive(Deserialize)]
struct Fill {
    at: String,
    parts: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Part {
    Text(String),
    Secret { secret: String },
}

/// An input with its secrets in. Wiped when dropped.
pub(crate) struct Filled {
    input: Json,
    places: Vec<String>,
    /// Whether a secret is among what is sent.
    pub(crate) sends_secrets: bool,
}

impl Filled {
    pub(crate) fn input(&self) -> &Value {
        &self.input
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        let Some(input) = Arc::get_mut(&mut self.input) else { return };
        for place in &self.places {
            if let Some(Value::String(text)) = input.pointer_mut(place) {
                text.zeroize();
            }
        }
    }
}

/// Puts the secrets in. `to` is asked for only when something is sent to it.
pub(crate) fn fill(
    executors: &Executors,
    effect: &Effect,
    to: impl Fn(&Value) -> Result<Endpoint, Failure>,
) -> Result<Filled, Failure> {
    let Some(fills) = effect.input.get(SECRETS_KEY) else {
        return Ok(Filled { input: effect.input.clone(), places: Vec::new(), sends_secrets: false });
    };
    let broken = || Failure::input("the places of this step's secrets do not read; start the run anew");
    let fills = Vec::<Fill>::deserialize(fills).map_err(|_| broken())?;
    let mut input = (*effect.input).clone();
    if let Value::Object(entries) = &mut input {
        entries.remove(SECRETS_KEY);
    }
    let is_key = |fill: &Fill| fill.at == KEYS_AT || fill.at.starts_with("/secret/");
    let sends_secrets = !fills.iter().all(is_key);
    let endpoint = if sends_secrets { Some(to(&input)?) } else { None };
    let mut filled = Filled { input: Arc::new(Value::Null), places: Vec::new(), sends_secrets };
    for fill in &fills {
        let mut text = String::new();
        for part in &fill.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Secret { secret } => {
                    let opened = open(executors, effect.owner, secret)?;
                    if let (Some(endpoint), false) = (&endpoint, is_key(fill)) {
                        check_host(secret, &opened, endpoint)?;
                    }
                    match fill.at == URL_AT {
                        true => text.push_str(&percent_encoded(opened.value.reveal())),
                        false => text.push_str(opened.value.reveal()),
                    }
                }
            }
        }
        *input.pointer_mut(&fill.at).ok_or_else(broken)? = Value::String(text);
        filled.places.push(fill.at.clone());
    }
    if filled.places.iter().any(|place| place == URL_AT) && endpoint != Some(to(&input)?) {
        return Err(refused(
            "a secret cannot be a part of the URL's host; use it in the path, query or headers",
        ));
    }
    filled.input = Arc::new(input);
    Ok(filled)
}

/// Opens one secret for what belongs to `owner`, for whatever host.
pub(crate) fn open(executors: &Executors, owner: Option<UserId>, name: &str) -> Result<OpenSecret, Failure> {
    opened(executors, name, |secrets| secrets.open(owner, name))
}

/// Opens one that the operator's configuration names, for whatever host: channels and mail accounts are the operator's.
pub(crate) fn open_of_operator(executors: &Executors, name: &str) -> Result<OpenSecret, Failure> {
    opened(executors, name, |secrets| secrets.open_of_operator(name))
}

fn opened(
    executors: &Executors,
    name: &str,
    open: impl FnOnce(&dyn Secrets) -> crate::error::Result<OpenSecret>,
) -> Result<OpenSecret, Failure> {
    let Some(secrets) = &executors.secrets else {
        let error =
            StepError::new(class::INVALID, &code::NOT_FOUND, format!("there is no secret `{name}` here"));
        return Err(error.into());
    };
    open(secrets.as_ref()).map_err(|error| {
        let message = match error.remedy() {
            Some(remedy) => format!("{}; {remedy}", error.message()),
            None => error.message().to_owned(),
        };
        StepError::new(class::INVALID, error.code(), message).into()
    })
}

/// Refuses a host that the secret does not name.
pub(crate) fn check_host(name: &str, secret: &OpenSecret, to: &Endpoint) -> Result<(), Failure> {
    if to.is_allowed_by(&secret.hosts) {
        return Ok(());
    }
    let entry = to.entry();
    let allowed = match secret.hosts.as_slice() {
        [] => "it allows no host".to_owned(),
        hosts => format!("it allows {}", hosts.join(", ")),
    };
    Err(refused(&format!(
        "the secret `{name}` may not be sent to `{entry}`: {allowed}; if it belongs there, set it again with \
         `--host {entry}`"
    )))
}

fn refused(message: &str) -> Failure {
    StepError::new(class::EGRESS, &code::HOST, message).into()
}

/// Takes secrets out of what an attempt gave, whatever it was: the one door to journal, log and events.
pub(crate) fn redacted(executors: &Executors, outcome: Result<Value, Failure>) -> Result<Value, Failure> {
    let Some(secrets) = &executors.secrets else { return outcome };
    let redact = |text: &str| secrets.redact(text);
    match outcome {
        Ok(mut output) => {
            clean(&mut output, &redact);
            Ok(output)
        }
        Err(mut failure) => {
            if let Some(message) = redact(&failure.error.message) {
                failure.error.message = message;
            }
            Err(failure)
        }
    }
}

/// Recurses as deep as the output, which its reader has bounded.
fn clean(value: &mut Value, redact: &impl Fn(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            if let Some(clean) = redact(text) {
                *text = clean;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| clean(item, redact)),
        Value::Object(entries) => {
            let keys: Vec<(String, String)> =
                entries.keys().filter_map(|key| Some((key.clone(), redact(key)?))).collect();
            for (key, clean) in keys {
                if let Some(value) = entries.remove(&key) {
                    entries.insert(clean, value);
                }
            }
            entries.values_mut().for_each(|value| clean(value, redact));
        }
        // A number as text: a secret of digits may come back as one.
        Value::Number(number) => {
            if let Some(clean) = redact(&number.to_string()) {
                *value = Value::String(clean);
            }
        }
        _ => {}
    }
}
