//! Bytes that a pipeline holds at once, as we count them: values in memory, not the process.

use serde_json::Value;

use crate::error::code::data as code;
use crate::model::{StepError, class};

/// What a value itself takes, besides what it points to.
const VALUE_BYTES: usize = 32;
/// What an entry of an object takes besides its key's text and its value: the key, and its share of the tree.
const ENTRY_BYTES: usize = 40;

/// Counts what is held, with a bound.
#[derive(Debug)]
pub(super) struct Held {
    bytes: usize,
    highest: usize,
    bytes_max: usize,
}

impl Held {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes: 0, highest: 0, bytes_max }
    }

    /// Holds more. `what` is the operation that does.
    pub(super) fn take(&mut self, bytes: usize, what: &str) -> Result<(), StepError> {
        self.bytes += bytes;
        self.highest = self.highest.max(self.bytes);
        if self.bytes <= self.bytes_max {
            return Ok(());
        }
        let message = format!(
            "{what} holds more than {} bytes of rows in memory; filter or select before it, or work on less at once",
            self.bytes_max
        );
        Err(StepError::new(class::LIMIT, &code::HELD, message))
    }

    /// Holds less.
    pub(super) fn give(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// The most that was held.
    pub(super) fn highest(&self) -> usize {
        self.highest
    }
}

/// What a value takes in memory. Does not recurse.
pub(super) fn held_bytes(value: &Value) -> usize {
    let (mut bytes, mut rest) = (0, vec![value]);
    while let Some(value) = rest.pop() {
        bytes += VALUE_BYTES;
        match value {
            Value::String(text) => bytes += text.len(),
            Value::Array(items) => rest.extend(items),
            Value::Object(entries) => {
                bytes += entries.keys().map(|key| key.len() + ENTRY_BYTES).sum::<usize>();
                rest.extend(entries.values());
            }
            _ => {}
        }
    }
    bytes
}
