//! Why a request did not give a reply, in the words that retry rules name.
//!
//! Invariant: the text holds no header value, no query and no body, so it may be journaled and shown.

use std::fmt;

use super::Reply;
use crate::error::Code;
use crate::model::StepError;

/// A request that gave no reply.
#[derive(Clone, Debug)]
pub struct EgressError {
    /// One of [`crate::model::class`]: `connect`, `cut`, `timeout`, `egress`, `limit`, `invalid`.
    pub class: &'static str,
    /// The code, such as `CB-0601`.
    pub code: &'static Code,
    /// What happened, where, and what to do.
    pub message: String,
    /// Status and headers, without a body, when the failure came after them: an error status whose page is over
    /// the bound is still that status.
    pub head: Option<Box<Reply>>,
}

impl EgressError {
    pub(crate) fn new(class: &'static str, code: &'static Code, message: impl Into<String>) -> Self {
        Self { class, code, message: message.into(), head: None }
    }

    pub(crate) fn after(mut self, head: &Reply) -> Self {
        let Reply { status, headers, .. } = head;
        self.head = Some(Box::new(Reply { status: *status, headers: headers.clone(), body: Vec::new() }));
        self
    }
}

impl fmt::Display for EgressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.id, self.message)
    }
}

impl std::error::Error for EgressError {}

impl From<EgressError> for StepError {
    fn from(error: EgressError) -> Self {
        StepError::new(error.class, error.code, error.message)
    }
}

impl From<EgressError> for crate::Error {
    fn from(error: EgressError) -> Self {
        crate::Error::new(error.code, error.message)
    }
}
