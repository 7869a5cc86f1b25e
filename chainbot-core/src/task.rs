//! The loop of an agent's task, without IO: what follows from what has happened.
//!
//! ```text
//! prepare ─► model ─► tool, tool ─► model ─► ... ─► the answer
//!                 └─► ask a person ─► tool
//! ```
//!
//! A task is a run whose steps are its calls, so that journal, retries, doubt after a crash, pause, cancel, questions to people and views are the
//! engine's. Here is what is the task's own: [`TaskState`] takes in what calls gave, and [`next`] says what is called next. Both are pure:
//! the prompt of a call is made of the journal alone, so that after a crash the very same one is sent.
//!
//! Invariants: what `next` says depends on the state and the definition, and asking it twice says the same; a model's word reaches nothing but
//! through [`policy`]; bounds (turns, calls, tokens, cost) are checked before a call, never after.
//!
//! Must not know models' servers, the store, or how a tool does its work.

mod guard;
mod next;
mod policy;
mod prepared;
mod prompt;
mod reply;
mod schema;
mod spec;
mod state;
#[cfg(test)]
mod tests;
mod tokens;

pub use next::{Ask, Next, NextCall, Whose, again, next};
pub use policy::{Verdict, judge};
pub use prepared::{Prepared, Recalled, Remembered, TaskModel, ToFold};
pub use reply::{Call, Reply, ToolResult};
pub use schema::schema;
pub use spec::{AgentKind, AgentSpec, Approve, Budget, MemorySpec, Per, TaskInput, UseTools};
pub use state::{CallKind, Folded, Spent, TaskState, Turn};
pub use tokens::estimate_tokens;
