//! The exercises: what is done with a module so that the checks can judge it.
//!
//! An exercise runs in a process of its own. It writes findings down as it meets them and never gives up at the first.

pub mod arguments;
mod chance;
pub mod completions;
pub mod extensions;
pub mod fuzz;
pub mod fuzz_extensions;
pub mod hosting;
pub mod life;
pub mod shape;
pub mod states;
pub mod stopping;
