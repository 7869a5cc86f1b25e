//! Pieces that the inputs of several effects share: headers, pairs, and the headers every request carries.
//!
//! Inputs come out of templates, so numbers and booleans stand where text is meant, and null where nothing is.

use serde_json::{Map, Value};

use super::{Effect, Failure, USER_AGENT};

/// Reads an input. A key that is not known is an error: leaving it out would be another effect than the one asked for.
pub(crate) fn read<T: serde::de::DeserializeOwned>(input: &Value) -> Result<T, Failure> {
    T::deserialize(input).map_err(|error| Failure::input(format!("the input of this step is wrong: {error}")))
}

/// Keeps an explicit null apart from an absent key.
pub(crate) fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    serde::Deserialize::deserialize(deserializer).map(Some)
}

/// Pairs of a query or a form: scalars as text, a list as its items under one name, null as nothing.
pub(crate) fn pairs(map: &Map<String, Value>, what: &str) -> Result<Vec<(String, String)>, Failure> {
    let mut out = Vec::new();
    for (name, value) in map {
        let items = match value {
            Value::Array(items) => items.as_slice(),
            other => std::slice::from_ref(other),
        };
        for item in items.iter().filter(|item| !item.is_null()) {
            out.push((name.clone(), scalar(item, &format!("{what}.{name}"))?));
        }
    }
    Ok(out)
}

/// The step's own headers (null leaves one out) and those that every request carries. A user's `Idempotency-Key` or
/// `User-Agent` is written on purpose and wins; without one, the effect's key and ChainBot's name are sent.
pub(crate) fn headers(
    own: &Map<String, Value>,
    content_type: Option<&str>,
    effect: &Effect,
) -> Result<Vec<(String, String)>, Failure> {
    let mut out = Vec::new();
    for (name, value) in own.iter().filter(|(_, value)| !value.is_null()) {
        if has(&out, name) {
            return Err(Failure::input(format!(
                "headers.{name}: the name is given twice, in upper and lower case"
            )));
        }
        out.push((name.clone(), scalar(value, &format!("headers.{name}"))?));
    }
    let key = effect.key.to_string();
    let ours = [
        ("Idempotency-Key", Some(key.as_str())),
        ("User-Agent", Some(USER_AGENT)),
        ("Content-Type", content_type),
    ];
    for (name, value) in ours {
        if let Some(value) = value
            && !has(&out, name)
        {
            out.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(out)
}

fn has(headers: &[(String, String)], name: &str) -> bool {
    headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name))
}

pub(crate) fn scalar(value: &Value, place: &str) -> Result<String, Failure> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        _ => Err(Failure::input(format!(
            "{place} is a list or an object; only text, numbers and booleans fit there"
        ))),
    }
}
