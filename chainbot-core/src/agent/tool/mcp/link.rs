//! A way to a server: what a session needs of a transport, and the words for what went wrong with one.

use std::pin::Pin;
use std::time::Duration;

use serde_json::Value;

use crate::error::code::tool as code;
use crate::mcp::wire::Said;
use crate::model::StepError;

/// Something under way.
pub(super) type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// To a request: what it gave, or the server's words for why it gave nothing.
pub(super) type Reply = Result<Value, Said>;

/// A request to be sent.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// Its id.
    pub id: u64,
    /// All of it.
    pub message: &'a Value,
    /// What of it is told beside it, where the transport has a place for that.
    pub headers: &'a [(String, String)],
    /// When it will be dropped.
    pub limit: Duration,
}

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum Lost {
    /// The server knows nothing of the conversation, so it did not look at the request: a new one may ask again.
    Gone(StepError),
    /// It refuses, with a code of JSON-RPC.
    Refused(i64, StepError),
    /// It may have done something.
    Failed(StepError),
}

impl Lost {
    pub(super) fn into_error(self) -> StepError {
        match self {
            Self::Gone(error) | Self::Refused(_, error) | Self::Failed(error) => error,
        }
    }
}

/// A way to a server. Dropping it ends the conversation, without a word where that needs waiting.
pub(super) trait Link: Send + Sync {
    /// Sends a request and waits for its reply. Who drops the future says so by [`forget`](Self::forget).
    fn ask<'a>(&'a self, asked: Asked<'a>) -> Pending<'a, Result<Reply, Lost>>;

    /// Sends what needs no reply.
    fn tell<'a>(&'a self, message: &'a Value) -> Pending<'a, Result<(), Lost>>;

    /// Nobody waits for a reply any more; the server is told, without waiting for it.
    fn forget(&self, id: u64);

    /// A version was agreed on, which messages name from here on where the transport has a place for it.
    fn agree(&self, version: &'static str);

    /// Whether it can still be used.
    fn is_alive(&self) -> bool;

    /// Says goodbye, where the server wants to be told.
    fn close(&self) -> Pending<'_, ()>;

    /// Of the process behind it.
    #[cfg(test)]
    fn process_id(&self) -> Option<u32>;
}

/// What a server did wrong.
pub(super) fn failed(name: &str, class: &str, what: &str) -> StepError {
    StepError::new(class, &code::MCP_CALL, format!("the MCP server `{name}` {what}"))
}
