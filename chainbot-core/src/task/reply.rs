//! What calls gave, as the journal keeps it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::RunId;

/// A call that a model made. Nobody has checked it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Unique in its reply.
    pub id: String,
    /// What the model wrote.
    pub name: String,
    /// Raw text.
    pub arguments: String,
}

/// A model's reply: the output of the step that asked for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reply {
    /// As it came.
    pub text: String,
    /// In order.
    pub calls: Vec<Call>,
    /// `end`, `max_output` or `filtered`.
    pub stop: String,
    /// Tokens of the prompt, cached ones included.
    pub input: u64,
    /// Of those, the ones that the server had already.
    pub cached: u64,
    /// Tokens of the reply.
    pub output: u64,
    /// Whether the server said so.
    pub is_reported: bool,
    /// In millionths of the currency.
    pub cost: u64,
    /// Which server.
    pub provider: String,
    /// The model as the server named it.
    pub model: String,
    /// Tries that it took, 1 when the first went well.
    pub tries: u32,
    /// The first task of its tree, when that is another one: its budget pays too.
    pub tree: Option<RunId>,
}

/// A tool's result: the output of the step that used it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ToolResult {
    /// For the model.
    pub value: Value,
    /// It failed, and the model may do something else.
    pub is_error: bool,
    /// It holds what came from outside.
    pub is_tainted: bool,
}

impl ToolResult {
    /// As the model reads it.
    pub fn text(&self) -> String {
        match &self.value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}
