//! Why a model gave no reply, in the words that retries, fallbacks and budgets go by.
//!
//! Invariant: the text holds no key: what a server says is cut, and the key is taken out of it.

use std::fmt;
use std::time::Duration;

use super::Usage;
use crate::error::Code;
use crate::error::code::model as code;
use crate::model::{StepError, class};
use crate::net::EgressError;

/// What sort of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelErrorClass {
    /// No connection; nothing was sent.
    Connect,
    /// Nothing came in time.
    Timeout,
    /// The connection ended before the reply did.
    Cut,
    /// The server asks to wait.
    RateLimited,
    /// The server has too much to do, or failed.
    Overloaded,
    /// The key is missing or wrong.
    Auth,
    /// The prompt does not fit into the model's context.
    ContextExceeded,
    /// The reply is over a bound of bytes.
    TooLarge,
    /// The server does not want this request, and will not want it again.
    Refused,
    /// What came is no reply.
    Invalid,
    /// Ended by who asked.
    Cancelled,
    /// No model or server of this name is configured.
    Unknown,
    /// The model was asked how it calls tools, and cannot.
    Incapable,
}

impl ModelErrorClass {
    /// The word for journals, retry rules and figures.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => class::CONNECT,
            Self::Timeout => class::TIMEOUT,
            Self::Cut => class::CUT,
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Auth => "auth",
            Self::ContextExceeded => "context_exceeded",
            Self::TooLarge => "too_large",
            Self::Refused => "refused",
            Self::Invalid => "model_invalid",
            Self::Cancelled => class::CANCELLED,
            Self::Unknown => "model_unknown",
            Self::Incapable => "model_incapable",
        }
    }

    fn code(self) -> &'static Code {
        match self {
            Self::Connect => &code::CONNECT,
            Self::Timeout => &code::TIMEOUT,
            Self::Cut => &code::CUT,
            Self::RateLimited => &code::RATE_LIMITED,
            Self::Overloaded => &code::OVERLOADED,
            Self::Auth => &code::AUTH,
            Self::ContextExceeded => &code::CONTEXT,
            Self::TooLarge => &code::TOO_LARGE,
            Self::Refused => &code::REFUSED,
            Self::Invalid => &code::INVALID,
            Self::Cancelled => &code::CANCELLED,
            Self::Unknown => &code::UNKNOWN,
            Self::Incapable => &code::INCAPABLE,
        }
    }
}

/// A call that gave no reply.
#[derive(Clone, Debug)]
pub struct ModelError {
    /// What sort of failure.
    pub class: ModelErrorClass,
    /// For people.
    pub message: String,
    /// When the server wants to be asked again.
    pub after: Option<Duration>,
    /// What it may have cost: `None` when nothing can have been computed.
    pub usage: Option<Usage>,
}

impl ModelError {
    pub(in crate::agent) fn new(class: ModelErrorClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), after: None, usage: None }
    }

    /// The code, such as `CB-1203`.
    pub fn code(&self) -> &'static Code {
        self.class.code()
    }

    /// Whether the server may have worked, and charged, for nothing.
    pub fn is_possibly_billed(&self) -> bool {
        self.usage.is_some()
    }

    pub(in crate::agent) fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code().id, self.message)
    }
}

impl std::error::Error for ModelError {}

impl From<EgressError> for ModelError {
    fn from(error: EgressError) -> Self {
        let class = match error.class {
            class::CONNECT => ModelErrorClass::Connect,
            class::TIMEOUT => ModelErrorClass::Timeout,
            class::CUT => ModelErrorClass::Cut,
            class::LIMIT => ModelErrorClass::TooLarge,
            class::INVALID => ModelErrorClass::Invalid,
            // The address policy: the operator has not granted the server.
            _ => ModelErrorClass::Refused,
        };
        Self::new(class, error.message)
    }
}

impl From<ModelError> for StepError {
    fn from(error: ModelError) -> Self {
        StepError::new(error.class.as_str(), error.code(), error.message)
    }
}

impl From<ModelError> for crate::Error {
    fn from(error: ModelError) -> Self {
        crate::Error::new(error.code(), error.message)
    }
}
