//! A tool as it is offered to a task of an agent: pinned in the task's journal when it starts, so that what is allowed never changes under way.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What doing it twice means, and so what follows when the process dies in the middle of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectClass {
    /// Computes; nothing outside sees it.
    Pure,
    /// Looks at something outside.
    ReadOnly,
    /// Changes something; twice is once.
    Idempotent,
    /// Changes something; its receiver tells tries of one call by their key.
    Keyed,
    /// Changes something; twice is twice. After a crash in the middle nobody knows, and a person is asked.
    Unsafe,
}

impl EffectClass {
    /// Whether a call that may have happened can be made again without asking.
    pub fn is_repeatable(self) -> bool {
        self != Self::Unsafe
    }
}

/// A tool that a model may call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// What the model calls it: `[a-z0-9_-]`, 64 at most, unique in a task.
    pub name: String,
    /// Who carries it out: `http`, `workflow`, `memory`, `gpio`, `mcp:<server>`, ...
    pub family: String,
    /// Which of the family's operations, such as a workflow's name.
    pub operation: String,
    /// For the model.
    pub description: String,
    /// JSON Schema of the arguments, an object.
    pub schema: Value,
    /// What doing it twice means.
    pub class: EffectClass,
    /// Its result holds what is private to the owner (memory, data of workflows): one of the rule of two.
    pub reads_private: bool,
    /// Its result comes from outside or from another agent: it taints the task.
    pub is_untrusted: bool,
    /// It acts outward or on the physical world: one of the rule of two.
    pub is_outward: bool,
}

impl ToolSpec {
    /// Tells a tool from a changed one of the same name: of name, description and schema.
    pub fn pin(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for text in [&self.name, &self.description, &self.schema.to_string()] {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}
