//! One server of models: how it is asked, what it lets through in a minute, and whether it works.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::breaker::{Breaker, Pass};
use super::bucket::Bucket;
use super::{Models, ProviderKind, ProviderSetup};
use crate::Result;
use crate::agent::provider::{
    Anthropic, Endpoint, ModelError, ModelErrorClass, ModelProvider, Ollama, OpenAi, Scripted,
};
use crate::net::Endpoint as FarEnd;

/// A server.
pub(super) struct Server {
    pub setup: ProviderSetup,
    pub breaker: Breaker,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    script: Option<Arc<Scripted>>,
    /// What the last failure was that counts against it. A plain lock: held for a copy, never with another.
    failure: Mutex<String>,
}

impl Server {
    /// One that nobody has asked.
    pub fn new(setup: ProviderSetup, now: Duration) -> Result<Self> {
        let script = match (setup.kind, &setup.script) {
            (ProviderKind::Scripted, Some(turns)) => Some(Arc::new(Scripted::new(turns)?)),
            _ => None,
        };
        let bucket = |per_minute: Option<u32>| per_minute.map(|per_minute| Bucket::new(per_minute, now));
        let (requests, tokens) =
            (bucket(setup.limits.requests_per_minute), bucket(setup.limits.tokens_per_minute));
        Ok(Self { setup, breaker: Breaker::new(), requests, tokens, script, failure: Mutex::default() })
    }

    /// How long to wait before a call of so many tokens; class `rate_limited` when that is longer than `most`.
    pub fn reserve(
        &self,
        tokens: u64,
        now: Duration,
        most: Duration,
    ) -> std::result::Result<Duration, ModelError> {
        let over = |wait: Duration, what: &str| {
            let message = format!(
                "`{}` is asked for no more {what} in a minute than its limit; the next is due in {} s",
                self.setup.name,
                wait.as_secs_f64().ceil()
            );
            let mut error = ModelError::new(ModelErrorClass::RateLimited, message);
            error.after = Some(wait);
            error
        };
        let requests = self.requests.as_ref().map_or(Ok(Duration::ZERO), |bucket| bucket.take(1, now, most));
        let requests = requests.map_err(|wait| over(wait, "requests"))?;
        let tokens = self.tokens.as_ref().map_or(Ok(Duration::ZERO), |bucket| bucket.take(tokens, now, most));
        match tokens {
            Ok(tokens) => Ok(requests.max(tokens)),
            Err(wait) => {
                self.give_back(1, 0);
                Err(over(wait, "tokens"))
            }
        }
    }

    /// Gives back what a call did not use.
    pub fn give_back(&self, requests: u64, tokens: u64) {
        if let Some(bucket) = self.requests.as_ref().filter(|_| requests > 0) {
            bucket.give_back(requests);
        }
        if let Some(bucket) = self.tokens.as_ref().filter(|_| tokens > 0) {
            bucket.give_back(tokens);
        }
    }

    /// Lets a call through unless the server has failed too often.
    pub fn enter(&self, now: Duration) -> std::result::Result<Pass<'_>, ModelError> {
        self.breaker.enter(now).map_err(|wait| {
            let message = format!(
                "`{}` failed again and again and is left alone for {} s more; the last time: {}",
                self.setup.name,
                wait.as_secs_f64().ceil(),
                self.failure.lock()
            );
            let mut error = ModelError::new(ModelErrorClass::Overloaded, message);
            error.after = Some(wait);
            error
        })
    }

    /// A call that it let through failed, and that is its fault.
    pub fn failed(&self, pass: Pass<'_>, now: Duration, error: &ModelError) {
        self.failure.lock().clone_from(&error.message);
        pass.bad(now);
    }

    /// The way to ask it, with its key for one try.
    pub fn provider(&self, models: &Models) -> std::result::Result<Arc<dyn ModelProvider>, ModelError> {
        let ProviderSetup { kind, base_url, .. } = &self.setup;
        if let Some(script) = &self.script {
            return Ok(script.clone());
        }
        let endpoint =
            Endpoint::new(base_url.clone(), self.key(models)?, models.egress.clone(), models.env.clone());
        Ok(match kind {
            ProviderKind::OpenAi => Arc::new(OpenAi::new(endpoint)),
            ProviderKind::Anthropic => Arc::new(Anthropic::new(endpoint)),
            ProviderKind::Ollama => Arc::new(Ollama::new(endpoint)),
            ProviderKind::Scripted => {
                let message = format!("`{}` is a script, and has none", self.setup.name);
                return Err(ModelError::new(ModelErrorClass::Unknown, message));
            }
        })
    }

    fn key(&self, models: &Models) -> std::result::Result<Option<Zeroizing<String>>, ModelError> {
        let Some(secret) = &self.setup.api_key else { return Ok(None) };
        let refused = |message: String| ModelError::new(ModelErrorClass::Auth, message);
        let opened = models.secrets.open_of_operator(secret).map_err(|error| {
            let remedy = error.remedy().map_or_else(String::new, |remedy| format!("; {remedy}"));
            refused(format!("the key of `{}`: {}{remedy}", self.setup.name, error.message()))
        })?;
        let far = FarEnd::of_url(&self.setup.base_url).map_err(ModelError::from)?;
        if !far.is_allowed_by(&opened.hosts) {
            let message = format!(
                "the key of `{}` may not be sent to {}; add `{}` to the hosts of the secret `{secret}`",
                self.setup.name,
                far.host,
                far.entry()
            );
            return Err(refused(message));
        }
        Ok(Some(Zeroizing::new(opened.value.reveal().to_owned())))
    }
}
