//! Plain data: definitions as read, records of the journal, what API and engine say about runs.
//!
//! No module here does IO, reads a clock or knows how data is stored or sent.

pub mod definition;
pub mod document;
pub mod event;
pub mod inbox;
pub mod phase;
mod publish;
pub mod record;
pub mod run;
pub mod tool;
pub mod trigger;

pub use crate::error::{Diagnostic, Severity};
pub use definition::*;
pub use document::{Document, Node, Pos};
pub use phase::{Ending, Phase};
pub use publish::{AGENT_TOOL, ForMcp, Publish, STATUS_TOOL, TOOL_NAME, WORKFLOW_TOOL, is_tool_name};
pub use record::*;
pub use run::*;
pub use tool::*;
pub use trigger::*;

/// A JSON value that many places hold at once: step outputs, inputs, items.
pub type Json = std::sync::Arc<serde_json::Value>;
