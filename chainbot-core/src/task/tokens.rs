//! Tokens of a text, without the model's own tokenizer.

/// By an estimate that errs high: three bytes a token. English has about four, other scripts about three.
pub fn estimate_tokens(text: &str) -> u64 {
    text.len().div_ceil(3) as u64
}
