//! `transform` `hash` with `hmac_sha256`: a keyed hash, as hexadecimal text.
//!
//! Input: `{input, secret}`. Output: `{transformed}`. It reaches nothing outside; it is an effect because only effects
//! can open secrets.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Effect, Executors, Failure, config, sealed, signature};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    input: Value,
    secret: String,
}

/// Computes it.
pub(crate) fn execute(executors: &Executors, effect: &Effect) -> Result<Value, Failure> {
    let filled = sealed::fill(executors, effect, |_| {
        Err(Failure::input("a secret can only be the key of a hash, in `secret`, not its input"))
    })?;
    let input: Input = config::read(filled.input())?;
    let text = match input.input {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        _ => {
            return Err(Failure::input(
                "input: text, a number or a boolean is hashed; write a list or an object as text with `json_stringify` before",
            ));
        }
    };
    let mac = signature::hmac_sha256(input.secret.as_bytes(), &[text.as_bytes()])?;
    let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(json!({ "transformed": hex }))
}
