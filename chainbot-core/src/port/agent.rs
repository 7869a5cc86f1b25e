//! What is stored of agents beside their definitions and tasks, which are a workflow's and its runs.

use crate::id::{RunId, UserId, WorkflowId};
use crate::time::Timestamp;

use super::StoredWorkflow;

/// Names of the workflows that agents are begin with this; no workflow of a person can.
pub const AGENT_PREFIX: &str = "agent:";

/// Whether an agent takes tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentState {
    /// It does.
    Live,
    /// Not until somebody says so, or it has no usable configuration.
    Error,
    /// Never again.
    Terminated,
}

/// A change of what is stored of an agent.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentOp {
    /// A new one, with the workflow of the same batch.
    Put {
        /// Its workflow.
        id: WorkflowId,
        /// `assistant`, `data_processor`, `api` or `workflow`.
        kind: String,
        /// When.
        at: Timestamp,
    },
    /// Whether it takes tasks from here on.
    State {
        /// Which.
        id: WorkflowId,
        /// From here on.
        state: AgentState,
        /// Why.
        reason: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// A task of it ended. After [`crate::limits::AGENT_FAILURES_MAX`] failed ones in a row it is in error.
    Ended {
        /// Which.
        id: WorkflowId,
        /// Why it failed; `None` when it did not.
        failure: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// It used a model.
    Used {
        /// What it cost.
        row: UsageRow,
        /// The first task of its tree.
        tree: RunId,
    },
}

/// What an agent used of a model on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// Days since 1970, of UTC.
    pub day: u32,
    /// Which agent.
    pub agent: WorkflowId,
    /// Which server.
    pub provider: String,
    /// Which model, as the server names it.
    pub model: String,
    /// So many.
    pub calls: u64,
    /// Tokens of prompts.
    pub input: u64,
    /// Of those, cached ones.
    pub cached: u64,
    /// Tokens of replies.
    pub output: u64,
    /// Millionths of the currency.
    pub cost: u64,
}

/// What an agent used on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayUse {
    /// Which.
    pub agent: WorkflowId,
    /// Whose it is.
    pub owner: Option<UserId>,
    /// Tokens of prompts and replies.
    pub tokens: u64,
    /// Millionths of the currency.
    pub cost: u64,
}

/// An agent as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAgent {
    /// Its definition and whose it is.
    pub workflow: StoredWorkflow,
    /// Its type.
    pub kind: String,
    /// Whether it takes tasks.
    pub state: AgentState,
    /// Why not.
    pub reason: Option<String>,
    /// Failed tasks since the last good one.
    pub failed_in_row: u32,
    /// Tasks that ended well.
    pub done: u64,
    /// Tasks that failed.
    pub failed: u64,
    /// When something of it last changed.
    pub last_at: Timestamp,
}

/// Which agents.
#[derive(Clone, Debug, Default)]
pub struct AgentFilter {
    /// This one alone.
    pub id: Option<WorkflowId>,
    /// After this name.
    pub after: Option<String>,
    /// At most.
    pub limit: u32,
}

/// The day of a moment.
pub fn day_of(at: Timestamp) -> u32 {
    u32::try_from(at.0.div_euclid(86_400_000)).unwrap_or_default()
}
