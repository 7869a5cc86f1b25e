//! How a list is asked for: by what it is sorted, which way, and past which of its items it goes on.
//!
//! What a list goes by is a closed set, so no text from outside becomes part of a question. Whatever it goes by, the id decides
//! between equals; so an order is total, and a page that begins past an item neither repeats nor leaves out another.

use crate::id::WorkflowId;
use crate::time::Timestamp;

use super::StoredWorkflow;

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Way {
    /// The least first.
    Up,
    /// The greatest first, so of what has a time the newest; most lists go so.
    #[default]
    Down,
}

impl Way {
    /// The order of two items this way, from their order upwards.
    pub fn turn(self, up: std::cmp::Ordering) -> std::cmp::Ordering {
        match self {
            Way::Up => up,
            Way::Down => up.reverse(),
        }
    }
}

/// What workflows are listed by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WorkflowOrder {
    /// Their names, which are unique.
    Name,
    /// When the first version was made.
    CreatedAt,
    /// When the current version was made.
    UpdatedAt,
}

/// An item's place in a list of workflows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum WorkflowPlace {
    /// By name.
    Name(String),
    /// By a time; the id decides between equals.
    At(Timestamp, WorkflowId),
}

impl WorkflowPlace {
    /// Where a workflow stands.
    pub fn of(workflow: &StoredWorkflow, by: WorkflowOrder) -> Self {
        match by {
            WorkflowOrder::Name => Self::Name(workflow.name.clone()),
            WorkflowOrder::CreatedAt => Self::At(workflow.created_at, workflow.id),
            WorkflowOrder::UpdatedAt => Self::At(workflow.updated_at, workflow.id),
        }
    }
}

/// Which workflows: those that are not deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkflowFilter {
    /// By what.
    pub by: WorkflowOrder,
    /// Which way.
    pub way: Way,
    /// Past this place, which is one of `by`.
    pub past: Option<WorkflowPlace>,
    /// At most.
    pub limit: u32,
}

impl Default for WorkflowFilter {
    /// None of all, by name.
    fn default() -> Self {
        Self { by: WorkflowOrder::Name, way: Way::Up, past: None, limit: 0 }
    }
}

/// A workflow of a list.
#[derive(Clone, PartialEq, Debug)]
pub struct ListedWorkflow {
    /// Itself.
    pub workflow: StoredWorkflow,
    /// Runs of it that are kept.
    pub runs: u64,
    /// When the newest of them was made.
    pub last_run_at: Option<Timestamp>,
}
