//! Runs the engine: takes what it decides to disk, to effects and to timers, and tells whoever listens.
//!
//! ```text
//!   Handle ──► mailbox of a run ──► worker thread: decide ──► writer (group commit) ──┐
//!      ▲              ▲  ▲                                                            │ acknowledged
//!      │              │  └── timer thread, effects (tokio), ends of children          ▼
//!      └── answers    └───────────────────────────── mailbox, bus, the host's bus ◄───┘
//! ```
//!
//! A run in memory is a [`cell`]: a mailbox and a body that one worker at a time may touch. Workers are OS threads
//! with large stacks, because expressions are evaluated on them; a worker never waits for a socket on behalf of a run, and
//! for the disk when nobody else commits. A run that only waits is parked: its row keeps what wakes it, and it costs a heap entry.
//!
//! Invariants: effects are sent after their `StepStarted` is on disk; a run has at most one batch at the writer; nothing is
//! acknowledged to anybody before it is on disk. After a failed commit everything stops.
//!
//! [`Handle`] is the whole face.

mod admission;
mod again;
mod agents;
mod announce;
mod aside;
mod bus;
mod cell;
mod core;
mod courier;
mod diff;
mod ears;
mod effects;
mod emit;
mod gates;
pub mod handle;
mod heads;
mod hear;
mod history;
mod keeper;
mod launch;
mod listen;
mod load;
mod once;
mod outbox;
mod owners;
mod people;
mod poison;
mod programs;
mod published;
mod remember;
mod runs;
mod start;
mod supervise;
#[cfg(test)]
mod tests;
mod threads;
mod timer;
mod trigger;
mod tune;
mod turn;
mod versions;
mod who;
mod worker;
mod workflow_tools;
mod workflows;

pub use self::core::{Options, Runtime};
pub use self::history::StateView;
pub use again::NewFork;
pub use agents::{AgentView, NewTask, UsageView};
pub use announce::announce;
pub use aside::{NewDryRun, NewPreview, PreviewNames};
pub use diff::Change;
pub use handle::{
    Component, Counts, Gap, Handle, NewRun, RunQuery, RunSummary, StartedRun, Subscription, WorkflowListed,
    WorkflowView,
};
pub use once::{Held, Once};
pub use owners::Sharing;
pub use people::NewAnswer;
pub use published::{Published, PublishedKind, PublishedRun};
pub use remember::{NewBlock, Remembered, no_archive};
pub use trigger::{Event, HookCall, HookReply, TriggerView, WorkflowSwitched};
pub use tune::Tuning;
pub use versions::{RunDiff, RunHeadline, VersionDiff, VersionView};
pub use who::{Deed, Who, acting, written_down};
pub use workflow_tools::WorkflowTools;
