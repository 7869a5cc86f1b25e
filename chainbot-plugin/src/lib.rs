//! ChainBot as a module: `libchainbot_plugin.so`, the C ABI of `chainbot-abi` over `chainbot-core`.
//!
//! The plugin adapts and knows nothing of workflows. Its rule is **owned threads**: on a thread of the host it only
//! checks arguments, copies, pushes to a bounded queue under a `std::sync` lock, notifies, waits where the call may
//! block, and returns. Everything else runs on threads it started, so that nothing of this library stays behind on
//! a thread that the host ends later.
//!
//! ```text
//!  host's threads                     module's threads
//!  entry ─► guard ─► slots ─► state ──queue──► supervisor ─► tokio ─► bridge ─► chainbot_core::app
//!                       ▲                          │
//!                       └────── completion ◄───────┘        gate, hostlog ─► host services
//! ```
//!
//! Forbidden on a host's thread: tokio (channel sends included), `parking_lot`, `std::thread::{spawn, current}`, random
//! numbers. Locks are taken in the order slots, state, completions; the gate's lock is innermost.

#[cfg(panic = "abort")]
compile_error!("a panic must unwind to the guard of each entry, or it takes the host down");

#[cfg(test)]
mod boundary_tests;
mod bridge;
mod completion;
mod control;
mod copy;
mod entry;
mod extension;
#[cfg(test)]
mod extension_tests;
mod failure;
mod gate;
mod guard;
mod hostlog;
#[cfg(test)]
mod lifecycle_tests;
mod limits;
mod manifest;
mod program;
mod queue;
mod reply;
mod slots;
mod state;
mod supervisor;
#[cfg(test)]
mod testing;
mod thread;
mod winddown;
