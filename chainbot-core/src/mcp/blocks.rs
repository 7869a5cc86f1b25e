//! Content blocks of a result: text, pictures, sounds, resources, as a definition's output may list them. Pure.
//!
//! Nothing is fetched and nothing guessed: a block is taken as it is when all of it is what the protocol has, else the list is none.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use serde_json::{Map, Value};

use crate::limits::MCP_BLOCKS_MAX;

/// The blocks of an output, or why it is no list of them.
pub fn blocks(output: &Value) -> Result<&[Value], String> {
    let Value::Array(items) = output else { return Err("it is no list".to_owned()) };
    if items.is_empty() || items.len() > MCP_BLOCKS_MAX {
        return Err(format!("it has {} blocks, and may have 1 to {MCP_BLOCKS_MAX}", items.len()));
    }
    for (index, item) in items.iter().enumerate() {
        check(item).map_err(|why| format!("block {}: {why}", index + 1))?;
    }
    Ok(items)
}

fn check(block: &Value) -> Result<(), &'static str> {
    let fields = block.as_object().ok_or("is no object")?;
    match fields.get("type").and_then(Value::as_str) {
        Some("text") => only(fields, &["type", "text"], &["text"]),
        Some(kind @ ("image" | "audio")) => {
            only(fields, &["type", "data", "mimeType"], &["data", "mimeType"])?;
            let is_of_kind = fields["mimeType"].as_str().is_some_and(|mime| {
                mime.split_once('/').is_some_and(|(main, rest)| main == kind && !rest.is_empty())
            });
            match is_of_kind {
                true => base64(&fields["data"]),
                false => Err("has a `mimeType` that is none of its type"),
            }
        }
        Some("resource") => {
            only(fields, &["type", "resource"], &[])?;
            let resource = fields.get("resource").and_then(Value::as_object).ok_or("needs `resource`")?;
            match (resource.contains_key("text"), resource.contains_key("blob")) {
                (true, false) => only(resource, &["uri", "mimeType", "text"], &["uri", "text"]),
                (false, true) => {
                    only(resource, &["uri", "mimeType", "blob"], &["uri", "blob"])?;
                    base64(&resource["blob"])
                }
                _ => Err("needs either `text` or `blob`"),
            }
        }
        _ => Err("has a `type` that is none of text, image, audio, resource"),
    }
}

/// All of them texts, none but the known ones, and those that must be.
fn only(fields: &Map<String, Value>, known: &[&str], must: &[&str]) -> Result<(), &'static str> {
    let is_good = |(name, value): (&String, &Value)| {
        known.contains(&name.as_str()) && (value.is_string() || name == "resource")
    };
    if !fields.iter().all(is_good) {
        return Err("has a field that is unknown or no text");
    }
    match must.iter().all(|name| fields.contains_key(*name)) {
        true => Ok(()),
        false => Err("lacks a field"),
    }
}

fn base64(data: &Value) -> Result<(), &'static str> {
    match data.as_str().filter(|text| !text.is_empty()).and_then(decoded) {
        Some(_) => Ok(()),
        None => Err("has data that is no base64"),
    }
}

/// Bytes as base64.
pub(super) fn base64_of(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// What base64 stands for.
pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_of_blocks_is_taken_whole_or_not_at_all() {
        let good = json!([
            { "type": "text", "text": "a" },
            { "type": "image", "data": "AAAA", "mimeType": "image/png" },
            { "type": "audio", "data": "AA==", "mimeType": "audio/wav" },
            { "type": "resource", "resource": { "uri": "house://plan", "mimeType": "text/plain", "text": "t" } },
            { "type": "resource", "resource": { "uri": "house://plan", "blob": "AAA=" } },
        ]);
        assert_eq!(blocks(&good).unwrap(), good.as_array().unwrap().as_slice());
        for (wrong, said) in [
            (json!({}), "no list"),
            (json!([]), "0 blocks"),
            (json!(vec![json!({ "type": "text", "text": "a" }); MCP_BLOCKS_MAX + 1]), "33 blocks"),
            (json!([{ "type": "text", "text": "a" }, 1]), "block 2: is no object"),
            (json!([{ "type": "video" }]), "none of text"),
            (json!([{ "type": "text" }]), "lacks"),
            (json!([{ "type": "text", "text": 1 }]), "no text"),
            (json!([{ "type": "text", "text": "a", "_meta": {} }]), "unknown"),
            (json!([{ "type": "image", "data": "AAAA", "mimeType": "text/html" }]), "mimeType"),
            (json!([{ "type": "image", "data": "AAAA", "mimeType": "image/" }]), "mimeType"),
            (json!([{ "type": "image", "data": "https://evil.example", "mimeType": "image/png" }]), "base64"),
            (json!([{ "type": "image", "data": "", "mimeType": "image/png" }]), "base64"),
            (json!([{ "type": "image", "data": "A===", "mimeType": "image/png" }]), "base64"),
            (json!([{ "type": "resource" }]), "needs `resource`"),
            (json!([{ "type": "resource", "resource": { "uri": "a" } }]), "either"),
            (
                json!([{ "type": "resource", "resource": { "uri": "a", "text": "a", "blob": "AAAA" } }]),
                "either",
            ),
            (json!([{ "type": "resource", "resource": { "text": "a" } }]), "lacks"),
            (json!([{ "type": "resource_link", "uri": "a", "name": "a" }]), "none of text"),
        ] {
            let why = blocks(&wrong).unwrap_err();
            assert!(why.contains(said), "{wrong}: {why}");
        }
    }
}
