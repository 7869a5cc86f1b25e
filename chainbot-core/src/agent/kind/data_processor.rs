//! `data_processor`: a pipeline over rows, without a model.
//!
//! ```text
//! read (csv, json, jsonl, value) ─► filter, map, select ... ─► sort, group, aggregate, join, dedupe ─► write
//!        a row at a time              a row at a time             hold what they need, counted          bounded
//! ```
//!
//! [`Pipeline::compile`] reads the configuration and finds everything that is wrong with it; it evaluates nothing. [`run()`] carries one task
//! out: rows are read, worked on and dropped one after another on a thread of the blocking pool, which ends at the next row once the
//! future is dropped.
//!
//! Invariants: what is held at once (rows in a sort, groups, the other side of a join, keys that were seen, what is written) is counted and
//! bounded, and over the bound is an error, never a truncation; a row that does not read is an error with its line; expressions
//! are those of the `transform` step, its operations are its own code in [`crate::expr`], with fuel. A source on the network goes the way of
//! an `api_call`: egress, secrets for their hosts alone.
//!
//! Must not know agents' stores, runs, models.

mod aggregate;
mod chain;
mod column;
mod compile;
mod family;
mod guard;
mod held;
mod join;
mod json;
mod read;
mod ready;
mod run;
#[cfg(test)]
mod tests;
mod write;

pub use compile::{Pipeline, Processing, Summary};
pub use family::DataTools;
pub use run::{Bounds, Task, run};
