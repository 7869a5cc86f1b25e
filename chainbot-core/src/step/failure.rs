//! Why an attempt gave no output, and when the receiver asks to be tried again.

use crate::env::Env;
use crate::error::code::run as code;
use crate::model::{StepError, class};
use crate::net::{EgressError, Reply, excerpt, read_retry_after};

pub use crate::engine::decide::Failure;

impl Failure {
    /// The step's rendered configuration cannot be carried out.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        StepError::new(class::INVALID, &code::EFFECT_INPUT, message).into()
    }

    /// A status that is not a success.
    pub(crate) fn status(what: &str, reply: &Reply, env: &Env) -> Self {
        let status = reply.status;
        let word = match status {
            429 => class::HTTP_429,
            400..=499 => class::HTTP_4XX,
            500..=599 => class::HTTP_5XX,
            _ => class::HTTP_STATUS,
        };
        let mut message = format!("{what} answered {status}");
        if let 300..=399 = status
            && let Some(location) = reply.header("location")
        {
            // Without its query, which may hold a credential.
            let location = location.split(['?', '#']).next().unwrap_or_default();
            message.push_str(&format!(", a redirect to `{}`", excerpt(location.as_bytes())));
        }
        if !reply.body.is_empty() {
            message.push_str(&format!(": {}", excerpt(&reply.body)));
        }
        let retry_after = reply.header("retry-after").and_then(|text| read_retry_after(text, env.now()));
        Self { error: StepError::new(word, &code::STATUS, message), retry_after, status: Some(status) }
    }
}

#[cfg(feature = "fault")]
impl Failure {
    /// A fault on purpose: the connection ended, and nobody knows what the receiver did.
    pub(crate) fn on_purpose(what: crate::env::fault::Injected) -> Self {
        StepError::new(class::CUT, &code::STATUS, what.to_string()).into()
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        Self { error, retry_after: None, status: None }
    }
}

impl From<EgressError> for Failure {
    fn from(error: EgressError) -> Self {
        StepError::from(error).into()
    }
}
