//! References within a document: `#/components/...`, followed a bounded number of times, never out of it.

use serde_json::Value;

/// References behind one another. Documents have one or two.
const CHAIN_MAX: usize = 16;

/// What a value is once its reference is followed; `Err` says why it cannot be.
pub(super) fn followed<'d>(document: &'d Value, mut value: &'d Value) -> Result<&'d Value, String> {
    for _ in 0..CHAIN_MAX {
        let Some(reference) = value.get("$ref") else { return Ok(value) };
        value = target(document, reference)?;
    }
    Err(format!("more than {CHAIN_MAX} references follow one another"))
}

/// What one reference names.
pub(super) fn target<'d>(document: &'d Value, reference: &Value) -> Result<&'d Value, String> {
    let Some(text) = reference.as_str() else { return Err("a `$ref` is no text".to_owned()) };
    let shown: String = text.chars().filter(|c| !c.is_control()).take(120).collect();
    let Some(pointer) = text.strip_prefix('#') else {
        return Err(format!("`{shown}` leads out of the document; put what it names into `components`"));
    };
    // Only what URLs escape in names of components.
    let pointer = pointer.replace("%7B", "{").replace("%7D", "}").replace("%20", " ");
    document.pointer(&pointer).ok_or_else(|| format!("there is nothing at `{shown}`"))
}
