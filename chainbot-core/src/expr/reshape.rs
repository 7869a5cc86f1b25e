//! Pure operations of transforms on JSON: order, merge, regular expressions, digests.
//!
//! Recursion is bounded by the depth of JSON, which is checked where values enter a run.

use std::cmp::Ordering;
use std::fmt::Write as _;

use regex_lite::Regex;
use serde_json::{Map, Value as JsonValue, json};
use sha2::Digest as _;

use super::data::{Budget, json_kind};
use super::error::Error;
use super::pattern;
use crate::error::code::expression as code;
use crate::limits;
use crate::model::{HashAlgorithm, MergeStrategy, RegexMode};

/// Order of any two values: null, booleans, numbers, text, lists, objects; within a kind by value. Never fails, so
/// that a sort is stable and total.
pub(crate) fn compare(a: &JsonValue, b: &JsonValue) -> Ordering {
    fn rank(value: &JsonValue) -> u8 {
        match value {
            JsonValue::Null => 0,
            JsonValue::Bool(_) => 1,
            JsonValue::Number(_) => 2,
            JsonValue::String(_) => 3,
            JsonValue::Array(_) => 4,
            JsonValue::Object(_) => 5,
        }
    }
    match (a, b) {
        (JsonValue::Bool(a), JsonValue::Bool(b)) => a.cmp(b),
        (JsonValue::Number(a), JsonValue::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().unwrap_or(0.0).total_cmp(&b.as_f64().unwrap_or(0.0)),
        },
        (JsonValue::String(a), JsonValue::String(b)) => a.cmp(b),
        (JsonValue::Array(a), JsonValue::Array(b)) => {
            let unequal = a.iter().zip(b).map(|(a, b)| compare(a, b)).find(|order| order.is_ne());
            unequal.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (JsonValue::Object(a), JsonValue::Object(b)) => {
            let pairs = a.iter().zip(b).map(|((ka, va), (kb, vb))| ka.cmp(kb).then_with(|| compare(va, vb)));
            pairs.into_iter().find(|order| order.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

/// Objects into one, the later over the earlier.
pub(super) fn merge<'a>(
    inputs: impl Iterator<Item = &'a JsonValue>,
    strategy: MergeStrategy,
) -> Result<JsonValue, Error> {
    let mut out = JsonValue::Object(Map::new());
    for (index, input) in inputs.enumerate() {
        let JsonValue::Object(entries) = input else {
            let message = format!("item {index} is {} and cannot be merged", json_kind(input));
            return Err(Error::new(&code::TRANSFORM, message).hint("`merge` takes a list of objects"));
        };
        match (strategy, &mut out) {
            (MergeStrategy::Shallow, JsonValue::Object(out)) => out.extend(entries.clone()),
            (MergeStrategy::Deep, out) => merge_deep(out, input),
            (_, out) => merge_patch(out, input),
        }
    }
    Ok(out)
}

fn merge_deep(target: &mut JsonValue, from: &JsonValue) {
    match (target, from) {
        (JsonValue::Object(target), JsonValue::Object(from)) => {
            for (key, value) in from {
                merge_deep(target.entry(key.clone()).or_insert(JsonValue::Null), value);
            }
        }
        (target, from) => *target = from.clone(),
    }
}

/// RFC 7396.
pub fn merge_patch(target: &mut JsonValue, patch: &JsonValue) {
    let JsonValue::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = JsonValue::Object(Map::new());
    }
    if let JsonValue::Object(target) = target {
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                merge_patch(target.entry(key.clone()).or_insert(JsonValue::Null), value);
            }
        }
    }
}

/// A regular expression over text.
pub(super) fn regex(
    regex: &Regex,
    text: &str,
    mode: RegexMode,
    replacement: &str,
) -> Result<JsonValue, Error> {
    pattern::check_text(text)?;
    let mut budget = Budget::new();
    let mut list = |parts: &mut dyn Iterator<Item = &str>| -> Result<JsonValue, Error> {
        let mut out = Vec::new();
        for part in parts {
            budget.pay(part.len() + 3)?;
            out.push(JsonValue::from(part));
        }
        Ok(JsonValue::Array(out))
    };
    match mode {
        RegexMode::Match => Ok(regex.captures(text).map_or(JsonValue::Null, |captures| {
            let groups: Vec<_> =
                captures.iter().skip(1).map(|group| group.map(|group| group.as_str())).collect();
            let named: Map<String, JsonValue> = regex
                .capture_names()
                .flatten()
                .map(|name| (name.to_owned(), json!(captures.name(name).map(|group| group.as_str()))))
                .collect();
            json!({ "match": pattern::whole(&captures).as_str(), "groups": groups, "named": named })
        })),
        RegexMode::FindAll => list(&mut regex.find_iter(text).map(|found| found.as_str())),
        RegexMode::Split => list(&mut regex.split(text)),
        RegexMode::Replace => {
            let out = pattern::replace(regex, text, replacement, limits::EXPRESSION_RESULT_BYTES_MAX)?;
            Ok(JsonValue::String(out))
        }
    }
}

/// Hex digest.
pub(super) fn hash(text: &str, algorithm: HashAlgorithm) -> String {
    match algorithm {
        HashAlgorithm::Blake3 => blake3::hash(text.as_bytes()).to_hex().to_string(),
        HashAlgorithm::Sha256 => {
            let mut out = String::with_capacity(64);
            for byte in sha2::Sha256::digest(text.as_bytes()) {
                // Writing to a `String` does not fail.
                let _ = write!(out, "{byte:02x}");
            }
            out
        }
    }
}
