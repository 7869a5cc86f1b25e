//! Blocks in a prompt: each with its label, what it is for, its version and its text.

use std::fmt::Write;

use crate::port::StoredBlock;
use crate::task::estimate_tokens;

/// Tokens of the lines around a block.
const AROUND: u64 = 16;

/// What a block costs.
pub fn tokens(block: &StoredBlock) -> u64 {
    estimate_tokens(&block.label)
        + estimate_tokens(&block.description)
        + estimate_tokens(&block.value)
        + AROUND
}

/// All blocks.
pub fn text(blocks: &[StoredBlock]) -> String {
    let mut out = String::new();
    for StoredBlock { label, description, value, version, .. } in blocks {
        // Writing to a text cannot fail.
        let _ = writeln!(
            out,
            "[memory block {label}, version {version}: {description}]\n{value}\n[end of {label}]"
        );
    }
    out
}
