//! Agents and what they used, in memory. The rules are those of `store/sqlite/agent.rs`.

use std::collections::BTreeMap;

use crate::id::{RunId, WorkflowId};
use crate::limits::AGENT_FAILURES_MAX;
use crate::port::{AgentOp, AgentState, UsageRow};
use crate::time::Timestamp;

/// What is said of an agent beside its workflow.
#[derive(Clone)]
pub struct AgentRow {
    pub kind: String,
    pub state: AgentState,
    pub reason: Option<String>,
    pub failed_in_row: u32,
    pub done: u64,
    pub failed: u64,
    pub last_at: Timestamp,
}

/// The three tables.
#[derive(Clone, Default)]
pub struct Agents {
    pub rows: BTreeMap<WorkflowId, AgentRow>,
    pub usage: Vec<UsageRow>,
    /// By the first task: tokens and cost.
    pub trees: BTreeMap<RunId, (u64, u64)>,
}

impl Agents {
    pub fn apply(&mut self, op: &AgentOp) {
        match op {
            AgentOp::Put { id, kind, at } => {
                let row = AgentRow {
                    kind: kind.clone(),
                    state: AgentState::Live,
                    reason: None,
                    failed_in_row: 0,
                    done: 0,
                    failed: 0,
                    last_at: *at,
                };
                self.rows.insert(*id, row);
            }
            AgentOp::State { id, state, reason, at } => {
                if let Some(row) = self.rows.get_mut(id).filter(|row| row.state != AgentState::Terminated) {
                    (row.state, row.last_at, row.failed_in_row) = (*state, *at, 0);
                    row.reason.clone_from(reason);
                }
            }
            AgentOp::Ended { id, failure, at } => {
                let Some(row) = self.rows.get_mut(id) else { return };
                row.last_at = *at;
                match failure {
                    None => (row.done, row.failed_in_row) = (row.done + 1, 0),
                    Some(why) => {
                        (row.failed, row.failed_in_row) = (row.failed + 1, row.failed_in_row + 1);
                        if row.state != AgentState::Terminated {
                            row.reason = Some(why.clone());
                        }
                        if row.state == AgentState::Live && row.failed_in_row >= AGENT_FAILURES_MAX {
                            row.state = AgentState::Error;
                        }
                    }
                }
            }
            AgentOp::Used { row: used, tree } => {
                let sum = self.trees.entry(*tree).or_default();
                *sum = (sum.0 + used.input + used.output, sum.1 + used.cost);
                let same = |row: &&mut UsageRow| {
                    (row.day, row.agent, &row.provider, &row.model)
                        == (used.day, used.agent, &used.provider, &used.model)
                };
                match self.usage.iter_mut().find(same) {
                    Some(row) => {
                        row.calls += used.calls;
                        row.input += used.input;
                        row.cached += used.cached;
                        row.output += used.output;
                        row.cost += used.cost;
                    }
                    None => self.usage.push(used.clone()),
                }
            }
        }
    }
}
