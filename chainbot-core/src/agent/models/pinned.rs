//! A model as a task has it from its start to its end, and what a call of it gives.
//!
//! Invariant: what is pinned is enough to rebuild every request; a later change of the configuration never changes it. The server's address
//! and key are not in it: they are the operator's to change under a task.

use serde::{Deserialize, Serialize};

use crate::agent::dialect::Dialect;
use crate::agent::provider::{ModelReply, Usage};

/// A model, pinned. Its shape is in journals: fields are added, never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pinned {
    /// As the configuration calls it.
    pub name: String,
    /// Its server.
    pub provider: String,
    /// As the server spells it.
    pub model: String,
    /// How it calls tools.
    pub dialect: Dialect,
    /// Tokens of prompt and reply together.
    pub context: u32,
    /// Tokens of one reply, at most.
    pub max_output: u32,
    /// What it costs.
    pub price: Price,
    /// Unless the request says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// What it may do once a tool gave a result.
    #[serde(default)]
    pub after_result: AfterResult,
}

/// What a model may do once a tool gave a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterResult {
    /// Call more tools.
    #[default]
    Continue,
    /// Answer: small models cannot stop calling.
    Withdraw,
}

/// Millionths of the currency for a million tokens, so that a cost is a whole number of millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Of the prompt.
    pub input: u64,
    /// Of what of it the server had already.
    pub cached: u64,
    /// Of the reply.
    pub output: u64,
}

impl Price {
    /// What tokens cost, in millionths of the currency, rounded up.
    pub fn cost_micros(&self, usage: &Usage) -> u64 {
        let cached = usage.cached.min(usage.input);
        let part = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
        let sum = part(usage.input - cached, self.input)
            + part(cached, self.cached)
            + part(usage.output, self.output);
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// What a call may cost at most: the hold that a budget takes before it.
    pub fn hold_micros(&self, input: u64, max_output: u32) -> u64 {
        let usage = Usage { input, cached: 0, output: max_output.into(), is_reported: false };
        self.cost_micros(&usage)
    }
}

/// What a call gave.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelAnswer {
    /// The reply, its calls in our words whatever the dialect.
    pub reply: ModelReply,
    /// The server that answered.
    pub provider: String,
    /// The model that answered, as the configuration calls it.
    pub model: String,
    /// Tokens of all tries together; [`ModelReply::usage`] are those of the last.
    pub usage: Usage,
    /// Of all tries together, in millionths of the currency.
    pub cost_micros: u64,
    /// Requests that were sent, at least 1.
    pub tries: u32,
    /// The model that was asked for, where another one answered.
    pub fell_back_from: Option<String>,
    /// The server was told that a tool must be called and ignored it, so the call was made again, held to a schema.
    pub choice_ignored: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cost_is_a_whole_number_of_millionths_and_rounds_up() {
        let price = Price { input: 3_000_000, cached: 300_000, output: 15_000_000 };
        let usage =
            |input, cached, output| price.cost_micros(&Usage { input, cached, output, is_reported: true });
        assert_eq!(usage(1_000_000, 0, 0), 3_000_000);
        assert_eq!(usage(100, 0, 10), 300 + 150);
        assert_eq!(usage(100, 90, 0), 30 + 27);
        assert_eq!(usage(1, 1, 0), 1, "0.3 millionths are one");
        assert_eq!(usage(0, 9, 0), 0, "a server that counts more cached tokens than it read");
        assert_eq!(usage(u64::MAX, 0, u64::MAX), u64::MAX);
        assert_eq!(
            Price::default().cost_micros(&Usage { input: 5, cached: 0, output: 5, is_reported: true }),
            0
        );
        assert_eq!(price.hold_micros(100, 10), 450);
    }

    #[test]
    fn a_pinned_model_has_the_shape_that_journals_hold() {
        let shape = json!({
            "name": "home", "provider": "local", "model": "qwen2.5-3b", "dialect": "schema", "context": 8192, "max_output": 1024,
            "price": { "input": 0, "cached": 0, "output": 0 }, "temperature": 0.2, "after_result": "withdraw",
        });
        let pinned: Pinned = serde_json::from_value(shape.clone()).unwrap();
        assert_eq!((pinned.dialect, pinned.after_result), (Dialect::Schema, AfterResult::Withdraw));
        assert_eq!(serde_json::to_value(&pinned).unwrap(), shape);
    }
}
