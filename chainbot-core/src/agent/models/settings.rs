//! What the operator says of models and their servers: plain data, checked by whoever reads the file.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::{AfterResult, Price};
use crate::agent::dialect::Dialect;
use crate::limits::{MODEL_FIRST_S_MAX, MODEL_SILENCE_S_MAX, MODEL_TRIES_DEFAULT};

/// Models and their servers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelSettings {
    /// The model that `default` means; it is one of [`models`](Self::models).
    pub default: Option<String>,
    /// Servers, by name.
    pub providers: Vec<ProviderSetup>,
    /// Models, by name; each is of one of the providers.
    pub models: Vec<ModelSetup>,
    /// For a model, those that are asked in its place when its server fails.
    pub fallback: BTreeMap<String, Vec<String>>,
}

/// Which wire a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// OpenAI's chat completions.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// Ollama's own.
    Ollama,
    /// None: a script answers.
    Scripted,
}

impl ProviderKind {
    /// All of them, as the configuration spells them.
    pub const WORDS: [&'static str; 4] = ["openai", "anthropic", "ollama", "scripted"];

    /// The word in configuration and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Ollama => "ollama",
            Self::Scripted => "scripted",
        }
    }

    /// From its word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::OpenAi, Self::Anthropic, Self::Ollama, Self::Scripted]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A server of models.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderSetup {
    /// What models call it.
    pub name: String,
    /// Its wire.
    pub kind: ProviderKind,
    /// As its documentation has it; empty for a script.
    pub base_url: String,
    /// The secret that is its key: a name in the vault, or a reference.
    pub api_key: Option<String>,
    /// The turns of a script.
    pub script: Option<Value>,
    /// What it may be asked.
    pub limits: ProviderLimits,
}

/// Bounds of what one server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderLimits {
    /// Calls in a minute.
    pub requests_per_minute: Option<u32>,
    /// Tokens in a minute, prompts and replies together.
    pub tokens_per_minute: Option<u32>,
    /// Tries of one call, the first included; at least 1.
    pub tries: u32,
    /// To the head of a reply.
    pub first: Duration,
    /// Between two pieces of it.
    pub silence: Duration,
}

impl Default for ProviderLimits {
    fn default() -> Self {
        Self {
            requests_per_minute: None,
            tokens_per_minute: None,
            tries: MODEL_TRIES_DEFAULT,
            first: Duration::from_secs(MODEL_FIRST_S_MAX),
            silence: Duration::from_secs(MODEL_SILENCE_S_MAX),
        }
    }
}

/// A model of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSetup {
    /// What agents call it.
    pub name: String,
    /// Its server.
    pub provider: String,
    /// Its name as the server spells it.
    pub model: String,
    /// Tokens of prompt and reply together.
    pub context: u32,
    /// How it calls tools; `None` asks it once.
    pub dialect: Option<Dialect>,
    /// What it costs.
    pub price: Price,
    /// Tokens of one reply, at most.
    pub max_output: u32,
    /// Unless the request says.
    pub temperature: Option<f64>,
    /// What it may do once a tool gave a result.
    pub after_result: AfterResult,
    /// Calls that it prints as text are taken up.
    pub salvage: bool,
}
