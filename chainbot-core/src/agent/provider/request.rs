//! What a model is asked, in our words.

use serde_json::Value;

use super::ToolCall;
use crate::task::estimate_tokens;

/// One request. Everything that a server could fill in by itself is said: a default of somebody else is no bound.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRequest {
    /// The name as the server spells it; sent verbatim.
    pub model: String,
    /// In order; at least one.
    pub messages: Vec<Message>,
    /// Sorted by the caller, so that the beginning of a prompt stays the same.
    pub tools: Vec<ToolOffer>,
    /// Whether tools may or must be called.
    pub tool_choice: ToolChoice,
    /// What the text of the reply must be; servers that can hold the model to it do.
    pub schema: Option<ReplySchema>,
    /// How words are drawn.
    pub sampling: Sampling,
    /// Tokens of the reply, at most.
    pub max_output: u32,
    /// Size of the context in tokens, for servers that must be told.
    pub context: Option<u32>,
    /// The same for every try of one call.
    pub idempotency_key: String,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// What the model is and may.
    System(String),
    /// Of a person, or of what stands for one.
    User(String),
    /// Of the model.
    Assistant {
        /// May be empty beside calls.
        text: String,
        /// The calls that it made.
        calls: Vec<ToolCall>,
    },
    /// What a call gave.
    Tool {
        /// [`ToolCall::id`] of the call.
        call: String,
        /// The tool's name.
        name: String,
        /// The result as text.
        text: String,
        /// Whether the call failed.
        is_error: bool,
    },
}

/// A tool that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolOffer {
    /// `[a-z0-9_-]`, 64 at most.
    pub name: String,
    /// For the model.
    pub description: String,
    /// JSON Schema of the arguments; sent verbatim.
    pub schema: Value,
}

/// Whether tools may or must be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// No call.
    None,
    /// Some call. Servers are known to accept this and to ignore it.
    Required,
    /// This tool. As above.
    Named(String),
}

/// The schema of a reply's text.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplySchema {
    /// A name that servers want to see.
    pub name: String,
    /// JSON Schema; sent verbatim.
    pub schema: Value,
}

/// How words are drawn; what is `None` is the server's own default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    /// For repeatable replies, where the server can.
    pub seed: Option<u64>,
    /// Texts that end the reply.
    pub stop: Vec<String>,
}

impl ModelRequest {
    /// A request with a text and the bound of its reply.
    pub fn new(model: impl Into<String>, text: impl Into<String>, max_output: u32) -> Self {
        Self {
            model: model.into(),
            messages: vec![Message::User(text.into())],
            tools: Vec::new(),
            tool_choice: ToolChoice::Auto,
            schema: None,
            sampling: Sampling::default(),
            max_output,
            context: None,
            idempotency_key: String::new(),
        }
    }

    /// Tokens of the prompt, by an estimate that errs high.
    pub fn estimated_input(&self) -> u64 {
        let messages = self.messages.iter().map(|message| match message {
            Message::System(text) | Message::User(text) | Message::Tool { text, .. } => estimate_tokens(text),
            Message::Assistant { text, calls } => {
                let calls =
                    calls.iter().map(|call| estimate_tokens(&call.name) + estimate_tokens(&call.arguments));
                estimate_tokens(text) + calls.sum::<u64>()
            }
        });
        // Roles, separators and ids around each message and tool.
        const AROUND: u64 = 8;
        let tools = self.tools.iter().map(|tool| {
            estimate_tokens(&tool.name)
                + estimate_tokens(&tool.description)
                + estimate_tokens(&tool.schema.to_string())
        });
        messages.chain(tools).map(|tokens| tokens + AROUND).sum()
    }
}
