//! Model servers behind one face: a request of ours goes in, one whole reply of ours comes out, or an error with a class.
//!
//! ```text
//! ModelRequest ─► kind (openai, anthropic, ollama: its own wire types) ─► egress ─► server
//! ModelReply  ◄─ gather (text, calls, usage put together) ◄─ lines ◄─ stream
//! ```
//!
//! Invariants: every call streams, so dropping its future closes the connection and the server stops; a stream that ends before the server
//! said that it is done is `cut`, never a short answer; calls are acted on whatever the reason to stop is called; a schema and a model's name are
//! sent as they are; nothing is read from the environment; the key is in a header and in no message. Bounds: time to the first byte, silence
//! between bytes, bytes of the whole reply, bytes of a line.
//!
//! Must not know agents, tools' meaning, budgets, journals. Retries belong to the caller, who reads class and `after` of the error.

mod anthropic;
mod endpoint;
mod error;
mod gather;
mod ollama;
mod openai;
mod reply;
mod request;
mod scripted;
#[cfg(test)]
mod tests;
mod wire;

use std::future::Future;
use std::pin::Pin;

pub use anthropic::Anthropic;
pub use endpoint::{CallLimits, Endpoint};
pub use error::{ModelError, ModelErrorClass};
pub use ollama::Ollama;
pub use openai::OpenAi;
pub use reply::{Delta, ModelReply, Stop, ToolCall, Usage};
pub use request::{Message, ModelRequest, ReplySchema, Sampling, ToolChoice, ToolOffer};
pub use scripted::Scripted;

/// An answer under way. Dropping it closes the connection.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, ModelError>> + Send + 'a>>;

/// Takes the pieces of a reply as they come. They are for people who watch; the reply has everything once more.
pub trait DeltaSink: Send {
    /// One piece. `Break` ends the call with class `cancelled`, as a budget does in the middle.
    fn delta(&mut self, delta: &Delta) -> std::ops::ControlFlow<()>;
}

/// Nobody watches.
impl DeltaSink for () {
    fn delta(&mut self, _: &Delta) -> std::ops::ControlFlow<()> {
        std::ops::ControlFlow::Continue(())
    }
}

/// A server of models.
pub trait ModelProvider: Send + Sync {
    /// Sends one request and gathers its reply.
    fn call<'a>(
        &'a self,
        request: &'a ModelRequest,
        limits: &'a CallLimits,
        sink: &'a mut dyn DeltaSink,
    ) -> Pending<'a, ModelReply>;

    /// The names of the models that the server has, as it spells them.
    fn list(&self) -> Pending<'_, Vec<String>>;
}
