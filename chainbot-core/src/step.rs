//! Executors of effects: one file for each type of step that leaves the process.
//!
//! The engine decides and journals an effect's input as plain JSON; [`Executors::execute`] carries one attempt out
//! and gives its output, or why there is none in the words that retry rules name. Invariants: every attempt carries
//! the effect's key; an executor keeps nothing between attempts; dropping the future ends the effect and closes
//! its connection. Nothing here knows runs' states, retries or the journal.
//!
//! An effect whose future is dropped, or that ends as `cut` or `timeout`, may have happened at its receiver; whether
//! it is tried again is the engine's decision.

mod api_call;
mod auth;
mod channel;
#[cfg(test)]
mod channel_tests;
mod config;
mod email;
mod failure;
mod gpio;
#[cfg(test)]
mod gpio_tests;
mod hmac;
mod multipart;
mod pagination;
mod reply;
mod sealed;
#[cfg(test)]
mod secret_tests;
mod signature;
#[cfg(test)]
mod tests;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

pub use crate::engine::program::EffectKind;
pub use channel::{Channel, Way};
pub use email::MailAccount;
pub use failure::Failure;

use crate::env::Env;
use crate::gpio::Pins;
use crate::id::{RunId, UserId, WorkflowId};
use crate::model::{EffectKey, Json, StepError};
use crate::net::{Egress, Endpoint, Stream};
use crate::port::{Role, Secrets};
use crate::task::AgentSpec;

/// How ChainBot names itself to servers, unless a step's own header does.
const USER_AGENT: &str = concat!("ChainBot/", env!("CARGO_PKG_VERSION"));

/// One attempt of one effect.
#[derive(Clone, Debug)]
pub struct Effect {
    /// Which executor.
    pub kind: EffectKind,
    /// As journaled.
    pub input: Json,
    /// The same on every attempt.
    pub key: EffectKey,
    /// From 1.
    pub attempt: u32,
    /// Whose effect it is.
    pub run: RunId,
    /// Whom that run's workflow belongs to; `None` is the operator.
    pub owner: Option<UserId>,
    /// The least role that sees what belongs to them; `None` is nobody else.
    pub shared: Option<Role>,
    /// For this attempt; `None` = 30 s for the exchange.
    pub timeout: Option<Duration>,
}

/// Carries effects out. Cheap to share behind an `Arc`.
pub struct Executors {
    egress: Arc<Egress>,
    env: Env,
    secrets: Option<Arc<dyn Secrets>>,
    accounts: Vec<MailAccount>,
    channels: Vec<Channel>,
    pins: Option<Arc<Pins>>,
    calls: Option<Arc<dyn Calls>>,
    #[cfg(test)]
    script: Option<Arc<dyn Script>>,
}

/// Answers in place of the world outside, for tests of those who ask for effects.
#[cfg(test)]
pub(crate) trait Script: Send + Sync {
    /// Carries one attempt out.
    fn execute(&self, effect: Effect) -> Answer;

    /// An attempt at a pin, which the real executor carries out, begins.
    fn begins(&self, _: &Effect) {}
}

/// The answer of a script, when it comes.
#[cfg(test)]
pub(crate) type Answer = std::pin::Pin<Box<dyn Future<Output = Result<serde_json::Value, Failure>> + Send>>;

impl Executors {
    /// With the way out and the clock.
    pub fn new(egress: Arc<Egress>, env: Env) -> Self {
        Self {
            egress,
            env,
            secrets: None,
            accounts: Vec::new(),
            channels: Vec::new(),
            pins: None,
            calls: None,
            #[cfg(test)]
            script: None,
        }
    }

    /// With a script for everything but pins.
    #[cfg(test)]
    pub(crate) fn with_script(mut self, script: Arc<dyn Script>) -> Self {
        self.script = Some(script);
        self
    }

    /// With a vault to take secrets from, and to take them out of what attempts give.
    pub fn with_secrets(mut self, secrets: Arc<dyn Secrets>) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// With accounts that mail is sent over.
    pub fn with_mail(mut self, accounts: Vec<MailAccount>) -> Self {
        self.accounts = accounts;
        self
    }

    /// With channels that notifications go over.
    pub fn with_channels(mut self, channels: Vec<Channel>) -> Self {
        self.channels = channels;
        self
    }

    /// With pins of the machine.
    pub fn with_pins(mut self, pins: Arc<Pins>) -> Self {
        self.pins = Some(pins);
        self
    }

    /// Whether an agent's preset and tools are there; without agents, they are.
    pub async fn check_agent(
        &self,
        spec: &AgentSpec,
        agent: WorkflowId,
        owner: Option<UserId>,
    ) -> Result<(), StepError> {
        match &self.calls {
            Some(calls) => calls.check(spec, agent, owner).await,
            None => Ok(()),
        }
    }

    /// With what carries the calls of agents' tasks out.
    pub fn with_calls(mut self, calls: Arc<dyn Calls>) -> Self {
        self.calls = Some(calls);
        self
    }

    /// Sends the request of an `api_call` and gives its reply as it comes, for whoever reads more than fits into memory. Secrets are put in as
    /// for any attempt, and taken out of what is said of a failure; the reply's own bytes come as they are.
    pub async fn stream(&self, effect: &Effect, bytes_max: usize) -> Result<Stream, Failure> {
        let opened = api_call::stream(self, effect, bytes_max).await;
        opened.map_err(|failure| match self.redacted(Err(failure.clone())) {
            Err(clean) => clean,
            Ok(_) => failure,
        })
    }

    /// Takes secrets out of what came of an attempt, as every attempt does; for whoever read a [`stream`](Self::stream).
    pub fn redacted(
        &self,
        outcome: Result<serde_json::Value, Failure>,
    ) -> Result<serde_json::Value, Failure> {
        sealed::redacted(self, outcome)
    }

    /// Carries one attempt out. Dropping the future cancels it.
    pub async fn execute(&self, effect: Effect) -> Result<serde_json::Value, Failure> {
        #[cfg(test)]
        if let Some(script) = &self.script {
            match effect.kind {
                EffectKind::Gpio => script.begins(&effect),
                _ => return script.execute(effect).await,
            }
        }
        let outcome = match effect.kind {
            EffectKind::ApiCall => api_call::execute(self, &effect).await,
            EffectKind::Webhook => webhook::execute(self, &effect).await,
            EffectKind::Email => email::execute(self, &effect).await,
            EffectKind::Hmac => hmac::execute(self, &effect),
            EffectKind::Gpio => gpio::execute(self, &effect).await,
            EffectKind::Channel => channel::execute(self, &effect).await,
            EffectKind::Prepare | EffectKind::Model | EffectKind::Tool => match &self.calls {
                Some(calls) => calls.carry_out(&effect).await,
                None => Err(Failure::from(no_agents())),
            },
        };
        let outcome = self.redacted(outcome);
        let Effect { run, key, attempt, kind, .. } = effect;
        match &outcome {
            Ok(_) => log::debug!("run {run}: {kind:?} {key} attempt {attempt} succeeded"),
            Err(Failure { error, .. }) => {
                log::debug!(
                    "run {run}: {kind:?} {key} attempt {attempt} failed: {}: {}",
                    error.code,
                    error.message
                );
            }
        }
        outcome
    }
}

/// Carries out the calls of agents' tasks: of a model, of a tool, and what a task begins with.
pub trait Calls: Send + Sync {
    /// Carries one attempt out. Dropping the future cancels it.
    fn carry_out<'a>(&'a self, effect: &'a Effect) -> CallFuture<'a>;

    /// Whether an agent can be carried out as it is defined: its preset and its tools are there. Starts nothing outside.
    fn check<'a>(&'a self, spec: &'a AgentSpec, agent: WorkflowId, owner: Option<UserId>) -> CheckFuture<'a>;
}

/// A check under way.
pub type CheckFuture<'a> = std::pin::Pin<Box<dyn Future<Output = Result<(), StepError>> + Send + 'a>>;

/// A call under way.
pub type CallFuture<'a> =
    std::pin::Pin<Box<dyn Future<Output = Result<serde_json::Value, Failure>> + Send + 'a>>;

fn no_agents() -> crate::model::StepError {
    let message = "there are no agents here: this program runs workflows alone";
    crate::model::StepError::new(crate::model::class::INVALID, &crate::error::code::agent::TASK, message)
}

/// Whom the effect's `url` calls.
fn endpoint(input: &serde_json::Value) -> Result<Endpoint, Failure> {
    let url = input.get("url").and_then(serde_json::Value::as_str).unwrap_or_default();
    Ok(Endpoint::of_url(url)?)
}
