//! The engine: decides what a run does next, and nothing else.
//!
//! ```text
//!   definition ──compile──► Program (flat nodes and blocks, pinned by content hash)
//!
//!   journal ──fold──► RunState ──decide(input)──► Decision { records, ops, commands }
//!                        ▲                            │
//!                        └────────── apply ◄──────────┘
//! ```
//!
//! A [`state::RunState`] changes in one way only: by [`state::RunState::apply`] of a record. So recovery, history
//! and the running engine all use the same fold, and what was decided can be told again from the journal alone.
//!
//! Structure: a *block* is a sequence of nodes. Control nodes own blocks: a condition one for each branch, a loop one
//! that is repeated, a fork (`parallel`, and the whole of a `type: parallel` workflow) one for each branch. A step in one
//! iteration is a [`Place`](crate::model::Place): the node and the index of every loop around it.
//!
//! Invariants: nothing here does IO, reads a clock or draws randomness; the moment and the defaults come in with
//! every call. An effect's command comes only together with its `StepStarted` record, and is carried out after that
//! record is on disk. Every entered leaf leaves at least one record in the same decision.

pub mod compile;
mod compile_agent;
pub mod decide;
mod ending;
mod flow;
mod fold;
mod hear;
pub mod inputs;
mod leaf;
mod people;
mod preview;
pub mod program;
mod queue;
mod reopen;
mod resume;
mod retry;
mod scope;
pub mod state;
mod task;
#[cfg(test)]
pub(crate) mod tests;
mod trigger;
pub mod view;

pub use compile::compile;
pub use compile_agent::{agent_in, agent_source, call_kind, compile_agent};
pub use decide::{
    Agenda, CANCEL_TIMER_SEQ, Command, Constants, Context, Decision, Defaults, Input, decide, settle,
};
pub use hear::Heard;
pub use leaf::check_topic;
pub use people::Answer;
pub use preview::{Names, Previewed, preview};
pub use program::Program;
pub use state::{FOR_ITS_TURN, RunState};
pub use trigger::{Concurrency, Trigger};
