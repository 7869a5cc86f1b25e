//! Incoming webhooks: who may call one, and the run that a call starts.
//!
//! The credential is a signature of Standard Webhooks, over the bytes as they came, when the trigger names a secret; else the
//! API token. A caller without any learns nothing: a hook that is not there is refused like one whose signature is
//! wrong. The id of a signed call is kept in the transaction that makes the run, so a repeat answers the first run.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::error::code::{definition, general, run as run_code};
use crate::error::{Error, Result};
use crate::id::{RunId, UserId};
use crate::model::TriggerSource;
use crate::net::hook as signature;
use crate::port::{Scope, SigningKeys};

use super::super::core::Runtime;
use super::super::handle::Handle;
use super::Event;
use super::fire::{Fired, Occasion};
use super::table::Armed;

/// A call of a webhook.
#[derive(Clone, Debug)]
pub struct HookCall {
    /// The hook, from the path.
    pub name: String,
    /// As it came.
    pub body: Vec<u8>,
    /// Its media type.
    pub content_type: Option<String>,
    /// `webhook-id`; for a call with the token `Idempotency-Key`.
    pub id: Option<String>,
    /// `webhook-timestamp`.
    pub timestamp: Option<String>,
    /// `webhook-signature`.
    pub signature: Option<String>,
    /// Whether the API token came with it.
    pub has_token: bool,
}

/// What a call started.
#[derive(Clone, Debug)]
pub struct HookReply {
    /// The run.
    pub run: RunId,
    /// The workflow's name.
    pub workflow: String,
    /// Whether an earlier call with this id had started it.
    pub replayed: bool,
}

impl Handle {
    /// Takes a call of a webhook; the run is durable when this returns.
    pub async fn hook(&self, call: HookCall) -> Result<HookReply> {
        self.0.check_open()?;
        let scope = self.1;
        self.0.read(move |runtime| runtime.called(&scope, call)).await
    }
}

impl Runtime {
    fn called(self: &Arc<Self>, scope: &Scope, call: HookCall) -> Result<HookReply> {
        let (armed, is_on) = {
            let table = self.triggers.table.lock();
            let armed = table.hook(&call.name).cloned();
            let is_on = armed.as_ref().is_some_and(|armed| armed.enabled && table.is_on(armed.id.workflow));
            (armed, is_on)
        };
        let armed = match armed {
            Some(armed) if !self.sees_workflow(scope, armed.id.workflow)? => None,
            other => other,
        };
        let Some(armed) = armed else {
            // With the token one may know what there is.
            return Err(if call.has_token { no_hook(&call.name) } else { refused("there is no such hook") });
        };
        self.check_caller(&armed, &call)?;
        if !is_on {
            let message = format!("the webhook `{}` of `{}` is switched off", call.name, armed.name);
            return Err(Error::new(&run_code::NOT_FIRED, message)
                .help(format!("POST /api/chainbot/workflows/{}/enable switches it on", armed.name)));
        }
        let digest = *blake3::hash(&call.body).as_bytes();
        let has_id = call.id.is_some();
        let event = Event {
            id: call.id.clone().unwrap_or_else(|| {
                uuid::Builder::from_random_bytes(self.env.bytes()).into_uuid().to_string()
            }),
            topic: format!("chainbot.hook.{}", call.name),
            at: self.env.now(),
            data: body_data(&call)?,
        };
        let occasion = Occasion { digest, has_id, ..Occasion::of(event, 0) };
        let reply = |run, replayed| HookReply { run, workflow: armed.name.clone(), replayed };
        match self.fire(&armed, occasion) {
            Fired::Started(run) => Ok(reply(run, false)),
            Fired::Before(run) => Ok(reply(run, true)),
            Fired::Unwanted => {
                Err(Error::new(&run_code::NOT_FIRED, "the trigger's `when` does not hold for this call")
                    .help("nothing was started; change the call, or the `when` of the trigger"))
            }
            Fired::Refused(error) | Fired::Later(error) => Err(error),
        }
    }

    fn check_caller(&self, armed: &Armed, call: &HookCall) -> Result<()> {
        let TriggerSource::Webhook { secret, .. } = &armed.trigger.source else {
            return Err(Error::new(&general::INTERNAL, "the trigger is no webhook"));
        };
        let Some(secret) = secret else {
            return if call.has_token { Ok(()) } else { Err(refused("the hook takes the API token")) };
        };
        // A secret that was removed since the deploy refuses; there is no other way in.
        let key = self.triggers.keys.signing_key(self.owner_of(armed.id.workflow), secret)?;
        let (Some(id), Some(timestamp), Some(signature)) = (&call.id, &call.timestamp, &call.signature)
        else {
            return Err(refused("a header webhook-id, webhook-timestamp or webhook-signature is missing"));
        };
        signature::verify(&key, id, timestamp, signature, &call.body, self.env.now()).map_err(refused)
    }
}

/// Whether a definition may name a secret; what is no key is said at the deploy and not at the first call.
pub(super) fn check_key(keys: &dyn SigningKeys, owner: Option<UserId>, secret: &str) -> Result<()> {
    let key = keys.signing_key(owner, secret)?;
    signature::check_key(&key).map_err(|why| {
        Error::new(&definition::NO_SECRET, format!("the secret `{secret}` cannot sign webhooks: {why}"))
            .help("store `whsec_` and the base64 of 24 to 64 random bytes under this name")
    })
}

fn refused(why: &'static str) -> Error {
    log::warn!("a call of a webhook was refused: {why}");
    // The same for every reason: a stranger is told none.
    Error::new(&general::UNAUTHORIZED, "the webhook's credential is missing or wrong")
        .help("sign the request by Standard Webhooks, or send the API token if the hook has no secret")
}

fn no_hook(name: &str) -> Error {
    Error::new(&definition::NO_TRIGGER, format!("no workflow has a webhook `{name}`"))
        .help("GET /api/chainbot/schedules lists all triggers")
}

/// JSON as it is, a form as an object, text as text; nothing as null.
fn body_data(call: &HookCall) -> Result<Value> {
    if call.body.is_empty() {
        return Ok(Value::Null);
    }
    let media = call.content_type.as_deref().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_json =
        media.eq_ignore_ascii_case("application/json") || media.to_ascii_lowercase().ends_with("+json");
    let malformed = |why: String| Error::new(&general::MALFORMED, why);
    if is_json {
        let data: Value = serde_json::from_slice(&call.body)
            .map_err(|error| malformed(format!("the body is not JSON: {error}")))?;
        crate::expr::check_json(&data, crate::limits::EVENT_BYTES_MAX)
            .map_err(|error| malformed(format!("the body is over a bound: {}", error.message)))?;
        return Ok(data);
    }
    if media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let pairs = url::form_urlencoded::parse(&call.body);
        return Ok(Value::Object(pairs.map(|(key, value)| (key.into_owned(), json!(value))).collect()));
    }
    match std::str::from_utf8(&call.body) {
        Ok(text) => Ok(json!(text)),
        Err(_) => {
            use base64::Engine;
            Ok(json!({ "base64": base64::engine::general_purpose::STANDARD.encode(&call.body) }))
        }
    }
}
