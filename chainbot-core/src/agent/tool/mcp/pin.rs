//! A tool's face by its digest: name, description and schema, as the server lists them.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// `sha256:` and 64 digits. Each part with its length before it, so that nothing moves from one into another.
pub(super) fn pin(name: &str, description: &str, schema: &Value) -> String {
    let mut hasher = Sha256::new();
    for text in [name, description, &schema.to_string()] {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    let mut out = String::from("sha256:");
    for byte in hasher.finalize() {
        // Writing to a `String` does not fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_byte_anywhere_is_another_pin() {
        let own = pin("now", "The time", &json!({ "type": "object" }));
        assert_eq!(own, pin("now", "The time", &json!({ "type": "object" })));
        for other in [
            pin("nox", "The time", &json!({ "type": "object" })),
            pin("now", "The time.", &json!({ "type": "object" })),
            pin("now", "The time", &json!({ "type": "objects" })),
            pin("nowT", "he time", &json!({ "type": "object" })),
        ] {
            assert_ne!(own, other);
        }
        assert_eq!(own.len(), 71);
    }
}
