//! What a task began with: gathered once by an effect, journaled as its output, and the same until the task's end whatever is edited meanwhile.

use serde::{Deserialize, Serialize};

use crate::model::ToolSpec;
use crate::port::{Origin, Summary};
use crate::time::Timestamp;

use super::tokens::estimate_tokens;

/// The model of a task, pinned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskModel {
    /// Its name in the configuration.
    pub name: String,
    /// How it is brought to call tools: `native`, `schema` or `text`.
    pub dialect: String,
    /// Tokens that prompt and reply may have together.
    pub context: u32,
    /// Tokens of one reply, at most.
    pub max_output: u32,
    /// How words are drawn.
    pub temperature: Option<f64>,
    /// Millionths of the currency for a million tokens of prompts.
    pub input_price: u64,
    /// As above, of replies.
    pub output_price: u64,
    /// No tool is offered after the first result.
    #[serde(default)]
    pub withdraws: bool,
    /// What its registry needs to call it; not looked into here.
    #[serde(default)]
    pub pinned: serde_json::Value,
}

impl TaskModel {
    /// What so many tokens cost, in millionths of the currency.
    pub fn cost(&self, input: u64, output: u64) -> u64 {
        let million = 1_000_000;
        let sum = u128::from(input) * u128::from(self.input_price)
            + u128::from(output) * u128::from(self.output_price);
        u64::try_from(sum.div_ceil(million)).unwrap_or(u64::MAX)
    }
}

/// Something remembered that may help.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recalled {
    /// What it says.
    pub text: String,
    /// Where it is from, for the model and for people.
    pub source: String,
}

/// What a conversation brings along.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remembered {
    /// Label and text of each block, in order.
    pub blocks: Vec<(String, String)>,
    /// What was said before the window, in short.
    pub summary: Option<String>,
    /// What was said last: role (`user`, `assistant`) and text.
    pub messages: Vec<(String, String)>,
    /// What may help.
    pub recalled: Vec<Recalled>,
    /// Some of it came from outside.
    pub is_tainted: bool,
    /// What leaves the window, to be put in short once the task has its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fold: Option<ToFold>,
}

/// Messages that a summary is to stand for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToFold {
    /// The first of them.
    pub from_seq: u32,
    /// The last one.
    pub to_seq: u32,
    /// What the model is asked, as the only message.
    pub prompt: String,
    /// Of the summary.
    pub origin: Origin,
}

impl ToFold {
    /// The summary that the model made of it.
    pub fn summary(&self, text: String, at: Timestamp) -> Summary {
        let tokens = u32::try_from(estimate_tokens(&text)).unwrap_or(u32::MAX);
        Summary { from_seq: self.from_seq, to_seq: self.to_seq, text, tokens, origin: self.origin, at }
    }
}

/// What a task began with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Prepared {
    /// What the agent is told first: its own, else its persona's.
    pub instructions: String,
    /// `None` for an agent that works without one.
    pub model: Option<TaskModel>,
    /// Sorted by name.
    pub tools: Vec<ToolSpec>,
    /// Tools that are granted and not offered: others fit the task better.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// What the conversation brings along.
    pub memory: Remembered,
}
