//! One call: tries at the pinned model, then at those in its place.
//!
//! | class | another try | another model |
//! |---|---|---|
//! | connect, overloaded, rate_limited | yes, after a wait | yes, when no try is left or the wait is too long |
//! | cut | yes, after a wait | no |
//! | timeout, a server that is left alone | no | yes |
//! | others | no | no |
//!
//! A wait is the server's own wish with a random part on top, or a random part of a bound that doubles from try to try.

use std::time::Duration;

use super::server::Server;
use super::watch::Watch;
use super::{ModelAnswer, Models, Needs, Pinned};
use crate::agent::dialect::Dialect;
use crate::agent::provider::{
    CallLimits, Delta, DeltaSink, ModelError, ModelErrorClass as Class, ModelReply, ModelRequest, ToolChoice,
    Usage,
};
use crate::limits::{MODEL_RETRY_MS, MODEL_WAIT_S_MAX};

/// A call under way.
struct Work<'a> {
    models: &'a Models,
    request: &'a ModelRequest,
    sink: &'a mut dyn DeltaSink,
    /// When the caller's time is over.
    until: Duration,
    tries: u32,
    /// Of all tries.
    usage: Usage,
    cost_micros: u64,
    /// Something was shown that another try makes void.
    is_shown: bool,
    choice_ignored: bool,
}

/// Why a try gave nothing, and whether another may.
struct Failed {
    error: ModelError,
    is_final: bool,
}

impl Models {
    /// Calls a model and gives one whole answer within a time. The request's model, context and what it leaves out of sampling are the pinned ones; its
    /// bound of the reply is the smaller of the two. An error's usage is that of all tries. Dropping the future ends the call.
    pub async fn call(
        &self,
        pinned: &Pinned,
        request: &ModelRequest,
        within: Duration,
        sink: &mut dyn DeltaSink,
    ) -> Result<ModelAnswer, ModelError> {
        let mut work = Work {
            models: self,
            request,
            sink,
            until: self.env.monotonic() + within,
            tries: 0,
            usage: Usage { is_reported: true, ..Usage::default() },
            cost_micros: 0,
            is_shown: false,
            choice_ignored: false,
        };
        let mut first = match work.at(pinned).await {
            Ok(reply) => return Ok(work.answer(pinned, reply, None)),
            Err(error) => error,
        };
        if falls_back(first.class) {
            let others = self.table().settings.fallback.get(&pinned.name).cloned().unwrap_or_default();
            for name in others {
                let left = work.left();
                if left.is_zero() {
                    break;
                }
                self.meters.models.fell_back(&pinned.provider, &pinned.name);
                log::info!(
                    "model `{}` failed ({}); `{name}` is asked in its place",
                    pinned.name,
                    first.class.as_str()
                );
                match work.in_place(&name, left).await {
                    Ok((other, reply)) => return Ok(work.answer(&other, reply, Some(pinned.name.clone()))),
                    Err(error) if error.class == Class::Cancelled => return Err(work.failed(error)),
                    Err(error) => {
                        first.message.push_str(&format!("; in its place `{name}`: {}", error.message));
                    }
                }
            }
        }
        Err(work.failed(first))
    }
}

impl Work<'_> {
    fn left(&self) -> Duration {
        self.until.saturating_sub(self.models.env.monotonic())
    }

    fn answer(self, pinned: &Pinned, reply: ModelReply, fell_back_from: Option<String>) -> ModelAnswer {
        ModelAnswer {
            reply,
            provider: pinned.provider.clone(),
            model: pinned.name.clone(),
            usage: self.usage,
            cost_micros: self.cost_micros,
            tries: self.tries,
            fell_back_from,
            choice_ignored: self.choice_ignored,
        }
    }

    fn failed(&self, mut error: ModelError) -> ModelError {
        let is_spent = self.usage.input > 0 || self.usage.output > 0;
        error.usage = is_spent.then_some(self.usage);
        error
    }

    async fn in_place(&mut self, name: &str, left: Duration) -> Result<(Pinned, ModelReply), ModelError> {
        let needs = if self.request.tools.is_empty() { Needs::Text } else { Needs::Tools };
        let other = tokio::time::timeout(left, self.models.resolve(name, needs)).await;
        let other = other.unwrap_or_else(|_| Err(late(left)))?;
        self.void()?;
        let reply = self.at(&other).await?;
        Ok((other, reply))
    }

    /// One model, in its dialect; once more held to a schema when its server ignores that a tool must be called.
    async fn at(&mut self, pinned: &Pinned) -> Result<ModelReply, ModelError> {
        let table = self.models.table();
        let server = table.server(&pinned.provider)?;
        let reply = self.in_dialect(server, pinned, pinned.dialect).await?;
        if pinned.dialect == Dialect::Schema || !is_ignored(self.request, &reply) {
            return Ok(reply);
        }
        self.choice_ignored = true;
        self.models.meters.models.choice_ignored(&pinned.provider, &pinned.name);
        log::debug!("model `{}` was to call a tool and did not; it is held to a schema", pinned.name);
        self.void()?;
        self.in_dialect(server, pinned, Dialect::Schema).await
    }

    async fn in_dialect(
        &mut self,
        server: &Server,
        pinned: &Pinned,
        dialect: Dialect,
    ) -> Result<ModelReply, ModelError> {
        let mut request = self.request.clone();
        request.model.clone_from(&pinned.model);
        request.context = Some(pinned.context);
        request.max_output = request.max_output.min(pinned.max_output).max(1);
        request.sampling.temperature = request.sampling.temperature.or(pinned.temperature);
        if !request.idempotency_key.is_empty() {
            // A server that knows a key answers as before, so another question has another key.
            request.idempotency_key =
                format!("{}-{}-{}", request.idempotency_key, pinned.name, dialect.as_str());
        }
        let prepared = dialect.prepare(&request);
        let input = fits(pinned, &prepared)?;
        let mut number = 1;
        loop {
            let Failed { error, is_final } = match self.once(server, pinned, &prepared, input).await {
                Ok(reply) => return dialect.interpret(&request, reply),
                Err(failed) => failed,
            };
            if is_final || number >= server.setup.limits.tries || !is_worth_another(error.class) {
                return Err(error);
            }
            let wait = self.wait(number, error.after);
            let Some(wait) = wait.filter(|wait| *wait < self.left()) else { return Err(error) };
            log::debug!("model `{}`: {}; another try in {} ms", pinned.name, error.message, wait.as_millis());
            (self.models.pause)(wait).await;
            self.void()?;
            number += 1;
        }
    }

    /// How long before the next try; `None`: longer than anybody waits.
    fn wait(&self, number: u32, after: Option<Duration>) -> Option<Duration> {
        let bound = MODEL_RETRY_MS.saturating_mul(1 << (number - 1).min(16)).min(MODEL_WAIT_S_MAX * 1_000);
        let drawn = Duration::from_millis(self.models.env.below(bound + 1));
        let most = Duration::from_secs(MODEL_WAIT_S_MAX);
        match after {
            Some(after) => (after <= most).then(|| after + drawn),
            None => Some(drawn),
        }
    }

    /// Tells who watches that what was shown is void.
    fn void(&mut self) -> Result<(), ModelError> {
        if std::mem::take(&mut self.is_shown) && self.sink.delta(&Delta::Again).is_break() {
            return Err(ModelError::new(Class::Cancelled, "the call was ended between two tries"));
        }
        Ok(())
    }

    /// One try.
    async fn once(
        &mut self,
        server: &Server,
        pinned: &Pinned,
        request: &ModelRequest,
        input: u64,
    ) -> Result<ModelReply, Failed> {
        let last = |error| Failed { error, is_final: true };
        let env = &self.models.env;
        let provider = server.provider(self.models).map_err(last)?;
        let reserved = input + u64::from(request.max_output);
        let most = self.left().min(Duration::from_secs(MODEL_WAIT_S_MAX));
        let wait = server.reserve(reserved, env.monotonic(), most).map_err(last)?;
        if !wait.is_zero() {
            (self.models.pause)(wait).await;
        }
        let pass = server.enter(env.monotonic()).map_err(|error| {
            server.give_back(1, reserved);
            last(error)
        })?;
        let left = self.left();
        if left.is_zero() {
            server.give_back(1, reserved);
            return Err(last(late(left)));
        }
        self.tries += 1;
        let begun = env.monotonic();
        let limits = CallLimits {
            first: server.setup.limits.first,
            silence: server.setup.limits.silence,
            ..CallLimits::default()
        };
        let mut watch = Watch::new(&mut *self.sink, request.max_output);
        let called = tokio::time::timeout(left, provider.call(request, &limits, &mut watch)).await;
        let (bytes, is_over) = (watch.bytes, watch.is_over);
        self.is_shown |= bytes > 0;
        let came = Usage { input, cached: 0, output: bytes.div_ceil(3) as u64, is_reported: false };
        let is_late = called.is_err();
        let mut outcome = called.unwrap_or_else(|_| Err(late(left).with_usage(came)));
        if let Err(error) = &mut outcome
            && is_over
        {
            let message = format!("the answer goes on beyond its bound of {} tokens", request.max_output);
            *error = ModelError::new(Class::TooLarge, message).with_usage(error.usage.unwrap_or(came));
        }
        let now = env.monotonic();
        match &outcome {
            Ok(_) => pass.good(),
            // The caller's time was over, which says nothing of the server.
            Err(_) if is_late => drop(pass),
            Err(error) => match error.class {
                Class::Connect | Class::Timeout | Class::Overloaded | Class::Cut => {
                    server.failed(pass, now, error);
                }
                Class::RateLimited | Class::Cancelled => drop(pass),
                _ => pass.good(),
            },
        }
        let usage = match &outcome {
            Ok(reply) => Some(reply.usage),
            Err(error) => error.usage,
        };
        let spent = usage.unwrap_or_default();
        server.give_back(0, reserved.saturating_sub(spent.input + spent.output));
        self.spend(usage, pinned.price.cost_micros(&spent));
        let of = (pinned.provider.as_str(), pinned.name.as_str());
        self.models.count(of, &pinned.price, &outcome, now.saturating_sub(begun));
        outcome.map_err(|error| Failed { error, is_final: false })
    }

    fn spend(&mut self, usage: Option<Usage>, cost: u64) {
        let Some(usage) = usage else { return };
        self.usage.input += usage.input;
        self.usage.cached += usage.cached;
        self.usage.output += usage.output;
        self.usage.is_reported &= usage.is_reported;
        self.cost_micros = self.cost_micros.saturating_add(cost);
    }
}

/// Tokens of the prompt; class `context_exceeded` with the sizes when there is no room for it.
fn fits(pinned: &Pinned, request: &ModelRequest) -> Result<u64, ModelError> {
    let input = request.estimated_input();
    let whole = input + u64::from(request.max_output);
    if whole <= pinned.context.into() {
        return Ok(input);
    }
    let message = format!(
        "the prompt has about {input} tokens and its answer may have {}, and the context of `{}` has {}",
        request.max_output, pinned.name, pinned.context
    );
    Err(ModelError::new(Class::ContextExceeded, message))
}

/// Whether a tool had to be called, and was not.
fn is_ignored(request: &ModelRequest, reply: &ModelReply) -> bool {
    match &request.tool_choice {
        _ if request.tools.is_empty() => false,
        ToolChoice::Required => reply.calls.is_empty(),
        ToolChoice::Named(name) => !reply.calls.iter().any(|call| call.name == *name),
        ToolChoice::Auto | ToolChoice::None => false,
    }
}

fn is_worth_another(class: Class) -> bool {
    matches!(class, Class::Connect | Class::Overloaded | Class::RateLimited | Class::Cut)
}

fn falls_back(class: Class) -> bool {
    matches!(class, Class::Connect | Class::Timeout | Class::Overloaded | Class::RateLimited)
}

fn late(within: Duration) -> ModelError {
    let message = format!("the answer was not there when the time of {} s was over", within.as_secs());
    ModelError::new(Class::Timeout, message)
}
