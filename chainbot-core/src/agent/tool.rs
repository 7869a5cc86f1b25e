//! Families of tools: each offers what an agent's grant allows and carries calls out.
//!
//! Invariants: a family decides nothing about policy, taint, approval or budget, all of which were decided before it is asked; it offers nothing that the
//! grant does not name; the key is the same on every try of one call; dropping a future ends the call. A result is data for the model, never
//! an instruction to us.
//!
//! Must not know the loop, the journal, models.

pub mod gpio;
pub mod http;
pub mod mcp;
pub(crate) mod request;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde_json::Value;

use crate::id::{RunId, UserId, WorkflowId};
use crate::model::{EffectKey, StepError, ToolSpec};

/// Whose tools are asked for.
#[derive(Clone, Debug)]
pub struct ToolOwner {
    /// The agent.
    pub agent: WorkflowId,
    /// Its name.
    pub name: String,
    /// Whom it belongs to; `None` is the operator.
    pub owner: Option<UserId>,
    /// The task's run.
    pub run: RunId,
    /// How many runs and tasks started one another before this one.
    pub depth: u32,
}

/// One try of one call.
#[derive(Clone, Debug)]
pub struct ToolRequest {
    /// Which tool, as pinned.
    pub spec: ToolSpec,
    /// They fit the tool's schema.
    pub arguments: Value,
    /// What the agent's definition says of the family.
    pub grant: Value,
    /// The same on every try.
    pub key: EffectKey,
    /// From 1.
    pub attempt: u32,
    /// Whose call.
    pub owner: ToolOwner,
    /// The task has seen what comes from outside: what this call writes down is not trusted.
    pub is_tainted: bool,
    /// For this try.
    pub timeout: Duration,
}

/// What a call gave.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolOutcome {
    /// For the model.
    pub value: Value,
    /// The tool says that it failed; the model is told so and may do something else.
    pub is_error: bool,
    /// It holds what came from outside, whatever the spec says.
    pub is_tainted: bool,
}

impl ToolOutcome {
    /// A good result.
    pub fn good(value: Value) -> Self {
        Self { value, is_error: false, is_tainted: false }
    }

    /// A result that says what went wrong and the remedy, for the model.
    pub fn error(message: impl Into<String>) -> Self {
        Self { value: Value::String(message.into()), is_error: true, is_tainted: false }
    }
}

/// A call or question under way. An error is one of ours (timeout, connection), not the tool's answer.
pub type ToolFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StepError>> + Send + 'a>>;

/// One family of tools.
pub trait ToolFamily: Send + Sync {
    /// Its key in an agent's `tools`.
    fn family(&self) -> &'static str;

    /// What an agent with this grant may call, sorted by name. `Err`: the grant names what is not there, with the remedy.
    fn offers<'a>(&'a self, grant: &'a Value, owner: &'a ToolOwner) -> ToolFuture<'a, Vec<ToolSpec>>;

    /// Whether a grant can be given at all, asked when an agent is made: as far as that shows without starting or asking anything outside.
    fn check<'a>(&'a self, grant: &'a Value, owner: &'a ToolOwner) -> ToolFuture<'a, ()> {
        Box::pin(async move { self.offers(grant, owner).await.map(drop) })
    }

    /// Carries one try out.
    fn call<'a>(&'a self, request: &'a ToolRequest) -> ToolFuture<'a, ToolOutcome>;
}
