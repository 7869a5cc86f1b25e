//! Runs the engine: takes what it decides to disk, to effects and to timers, and tells whoever listens.
//!
//! [`Handle`] is the whole face. Every `async fn` returns only after what it acknowledges is durable.

pub mod handle;

pub use handle::{
    Component, Counts, Gap, Handle, NewRun, RunSummary, StartedRun, Subscription, WorkflowView,
};
