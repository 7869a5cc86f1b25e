//! What authors of workflows use before anything runs: tests, a dry run, a picture, and the import of old definitions.
//!
//! ```text
//!   suite ── what a test file says        drive ── the engine with a clock of its own and no outside
//!     └──► player ── one run on mocks ──────┘
//!            ├──► case ── compares with what is expected        dry ── shows what would be sent
//!   graph ── a definition as nodes and edges: Mermaid, SVG       import ── the predecessor's form to this one
//! ```
//!
//! Invariants: nothing here does IO or reads a clock, so nothing can leave the process. Tests and dry runs are decided by the
//! same `compile` and `decide` as real runs; there is no second interpreter.

pub mod case;
mod compare;
mod drive;
pub mod dry;
pub mod graph;
pub mod import;
mod mock;
pub mod patch;
mod player;
mod reader;
pub mod suite;
pub mod template;
#[cfg(test)]
mod tests;

pub use case::{CaseReport, Coverage, coverage, run};
pub use suite::{Suite, read};
