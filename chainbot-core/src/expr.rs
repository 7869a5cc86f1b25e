//! Expressions: everything between `{{` and `}}`, and the bare expressions of conditions and loops.
//!
//! Jinja's expression language by MiniJinja, behind one face that the rest of the core sees: compile once, evaluate often
//! against a [`Scope`]. The folder is the only place that names the engine. It is pure: no IO, no clock, no
//! randomness; what differs on every call comes in as [`Volatile`].
//!
//! An expression's author may be hostile and can waste their own budget, nothing else:
//!
//! ```text
//! source ──► token: the lexer counts bytes, tags, tokens, blocks     before anything recurses
//!        ──► shape: the syntax tree against allow-lists; names and the weight of each tag
//!        ──► engine: strict undefined, fuel, listed functions only
//! scope  ──► scope: a context of the names in use, weights against real sizes
//! result ──► data: bounded conversion to JSON
//! ```
//!
//! Time is bounded by fuel but for comparing large nested values, which whoever evaluates bounds by
//! [`crate::limits::EVALUATION_MS_MAX`].

mod convert;
mod csv;
mod data;
mod engine;
mod error;
mod expression;
mod function;
mod items;
mod jsonpath;
mod marker;
mod pattern;
mod reshape;
mod rows;
mod scope;
mod shape;
mod template;
mod time;
mod token;
pub mod topic;
mod transform;
mod weight;

#[cfg(test)]
mod tests;

pub(crate) use self::csv::{CsvForm, CsvRows, stringify as csv_text};
pub use data::{Data, check_json};
pub(crate) use data::{json_kind, size_bytes};
pub use error::Error;
pub use expression::Expression;
pub use items::ItemSource;
pub use marker::Marker;
pub(crate) use reshape::{compare, merge_patch};
pub(crate) use rows::{Grouped, PerRow, Sorted};
pub use scope::{Scope, Volatile};
pub use shape::Name;
pub use template::Template;
pub use transform::Transformer;
