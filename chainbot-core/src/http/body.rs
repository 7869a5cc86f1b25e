//! Bodies of requests: read within a bound, checked for type, depth and unknown fields, all before they mean anything.
//!
//! A JSON body is an object whose fields are all known to the route; every unknown one is named. A definition
//! arrives as YAML text, as JSON, or as text inside JSON; its source stays as its author wrote it, because the
//! order of keys counts and places in messages refer to it.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use futures_util::StreamExt;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::suggest;
use crate::error::code::general;
use crate::error::{Diagnostic, Error, Pos, Result, Severity};
use crate::limits::{DEFINITION_BYTES_MAX, JSON_DEPTH_MAX};

/// What a body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Media {
    /// `application/json`
    Json,
    /// `application/yaml`, `text/yaml` and the older spellings.
    Yaml,
}

/// The body's media type; `None` when there is no header.
pub fn media(headers: &HeaderMap) -> Result<Option<Media>> {
    if let Some(coding) = headers.get(header::CONTENT_ENCODING).filter(|v| *v != "identity") {
        return Err(Error::new(
            &general::MEDIA_TYPE,
            format!("the content encoding {coding:?} is not taken"),
        )
        .help("send the body uncompressed"));
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let parameters = text.split_once(';').map_or("", |(_, rest)| rest);
    let charset = parameters.split(';').find_map(|p| p.trim().strip_prefix("charset="));
    let utf8 = charset.is_none_or(|c| matches!(c.trim_matches('"'), "utf-8" | "utf8" | "us-ascii"));
    match essence(value).as_str() {
        "application/json" if utf8 => Ok(Some(Media::Json)),
        "application/yaml" if utf8 => Ok(Some(Media::Yaml)),
        _ => Err(Error::new(&general::MEDIA_TYPE, format!("the content type {value:?} is not taken here"))
            .help("send application/json in UTF-8; for a definition, application/yaml works too")),
    }
}

/// The type of a content type without its parameters, in lower case; the older spellings of YAML as the one that was registered.
pub fn essence(value: &HeaderValue) -> String {
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "text/yaml" | "application/x-yaml" | "text/x-yaml" => "application/yaml".to_owned(),
        _ => essence,
    }
}

/// Reads a whole body of at most `bytes_max`.
pub async fn read(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Vec<u8>> {
    let too_large = || {
        Error::new(&general::BODY_TOO_LARGE, format!("the body is over {bytes_max} bytes"))
            .help("send less; large data belongs in a file or behind a URL")
    };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<u64>().ok())
        .unwrap_or(0);
    if announced > bytes_max as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|e| Error::new(&general::MALFORMED, "the body ended early").because(e))?;
        if bytes.len() + chunk.len() > bytes_max {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Reads an object with any keys. No body at all is an empty one.
pub fn object(media: Option<Media>, bytes: &[u8]) -> Result<Map<String, Value>> {
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    if media != Some(Media::Json) {
        return Err(Error::new(&general::MEDIA_TYPE, "the body is not marked as JSON")
            .help("send it with `Content-Type: application/json`"));
    }
    check_depth(bytes)?;
    match serde_json::from_slice(bytes).map_err(not_json)? {
        Value::Object(fields) => Ok(fields),
        other => Err(wrong_type("", "an object", &other)),
    }
}

/// The fields of a JSON object, taken out one by one.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Reads an object whose keys are all in `known`. No body at all is an empty object.
    pub fn parse(media: Option<Media>, bytes: &[u8], known: &[&str]) -> Result<Self> {
        let fields = object(media, bytes)?;
        check_known(fields.keys(), known)?;
        Ok(Self(fields))
    }

    /// A field as it came; null is not absent.
    pub fn given(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Any value; null when absent.
    pub fn any(&mut self, name: &str) -> Value {
        self.0.remove(name).unwrap_or(Value::Null)
    }

    /// An object; null and absent are both `None`.
    pub fn object(&mut self, name: &str) -> Result<Option<Value>> {
        match self.any(name) {
            Value::Null => Ok(None),
            value @ Value::Object(_) => Ok(Some(value)),
            other => Err(wrong_type(name, "an object", &other)),
        }
    }

    /// True or false; null and absent are both `None`.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        match self.any(name) {
            Value::Null => Ok(None),
            Value::Bool(flag) => Ok(Some(flag)),
            other => Err(wrong_type(name, "true or false", &other)),
        }
    }

    /// A whole number from 0; null and absent are both `None`.
    pub fn count(&mut self, name: &str) -> Result<Option<u64>> {
        match self.any(name) {
            Value::Null => Ok(None),
            Value::Number(number) if number.is_u64() => Ok(number.as_u64()),
            other => Err(wrong_type(name, "a whole number", &other)),
        }
    }

    /// A list of text; null and absent are both empty.
    pub fn texts(&mut self, name: &str) -> Result<Vec<String>> {
        match self.any(name) {
            Value::Null => Ok(Vec::new()),
            Value::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text),
                    other => Err(wrong_type(name, "a list of text", &other)),
                })
                .collect(),
            other => Err(wrong_type(name, "a list of text", &other)),
        }
    }

    /// Text that must be there.
    pub fn needed(&mut self, name: &str, bytes_max: usize) -> Result<String> {
        self.text(name, bytes_max)?
            .ok_or_else(|| field(name, format!("`{name}` is missing"), "give it as text"))
    }

    /// Text of at most `bytes_max`; null and absent are both `None`.
    pub fn text(&mut self, name: &str, bytes_max: usize) -> Result<Option<String>> {
        match self.any(name) {
            Value::Null => Ok(None),
            Value::String(text) if text.len() <= bytes_max => Ok(Some(text)),
            Value::String(text) => Err(field(
                name,
                format!("`{name}` has {} bytes, at most {bytes_max} are taken", text.len()),
                "shorten it",
            )),
            other => Err(wrong_type(name, "text", &other)),
        }
    }
}

/// The source of a definition: the body itself, or what its envelope `{"source": text}` or
/// `{"definition": object}` holds.
pub fn definition_source(media: Option<Media>, bytes: Vec<u8>) -> Result<String> {
    let text = definition_text(media, bytes)?;
    let source = if media == Some(Media::Json) { unwrap_envelope(text)? } else { text };
    if source.len() > DEFINITION_BYTES_MAX {
        return Err(Error::new(
            &general::BODY_TOO_LARGE,
            format!("the definition has {} bytes, at most {DEFINITION_BYTES_MAX} are taken", source.len()),
        )
        .help("split it into workflows that call each other"));
    }
    Ok(source)
}

/// The body itself: text in YAML or JSON.
pub fn definition_text(media: Option<Media>, bytes: Vec<u8>) -> Result<String> {
    let text = String::from_utf8(bytes)
        .map_err(|e| Error::new(&general::MALFORMED, "the body is not UTF-8").because(e))?;
    match media {
        Some(Media::Yaml) => {}
        Some(Media::Json) => check_depth(text.as_bytes())?,
        None => {
            return Err(Error::new(&general::MEDIA_TYPE, "the body has no content type")
                .help("send application/yaml, or application/json for a definition written as JSON"));
        }
    }
    Ok(text)
}

/// A JSON value of any shape.
pub fn json(bytes: &[u8]) -> Result<Value> {
    check_depth(bytes)?;
    serde_json::from_slice(bytes).map_err(not_json)
}

fn unwrap_envelope(text: String) -> Result<String> {
    let first = text.trim_start().bytes().next();
    if first != Some(b'{') {
        let value: Value = serde_json::from_str(&text).map_err(not_json)?;
        return Err(wrong_type("", "an object", &value));
    }
    // Raw values: the inner source keeps its order of keys and its spelling of numbers.
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(&text).map_err(not_json)?;
    let (definition, source) = (fields.get("definition"), fields.get("source"));
    if definition.is_none() && source.is_none() {
        return Ok(text);
    }
    check_known(fields.keys(), &["definition", "source"])?;
    match (definition, source) {
        (Some(_), Some(_)) => Err(field(
            "source",
            "`definition` and `source` are both given".to_owned(),
            "give the one or the other",
        )),
        (Some(raw), None) if raw.get().starts_with('{') => Ok(raw.get().to_owned()),
        (Some(raw), None) => Err(wrong_raw("definition", "an object", raw)),
        (None, Some(raw)) => serde_json::from_str(raw.get()).map_err(|_| wrong_raw("source", "text", raw)),
        (None, None) => Ok(text),
    }
}

fn wrong_raw(name: &str, wanted: &str, raw: &RawValue) -> Error {
    let value = serde_json::from_str(raw.get()).unwrap_or(Value::Null);
    wrong_type(name, wanted, &value)
}

/// Refuses nesting over the bound before a parser recurses into it.
fn check_depth(bytes: &[u8]) -> Result<()> {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > JSON_DEPTH_MAX {
            return Err(Error::new(
                &general::TOO_DEEP,
                format!("the body is nested more than {JSON_DEPTH_MAX} levels deep"),
            )
            .help("flatten it, or send the inner part as text"));
        }
    }
    Ok(())
}

fn check_known<'a>(names: impl Iterator<Item = &'a String>, known: &[&str]) -> Result<()> {
    let unknown: Vec<Diagnostic> = names
        .filter(|name| !known.contains(&name.as_str()))
        .map(|name| {
            let message = format!("unknown field `{name}`");
            diagnostic(&general::UNKNOWN_FIELD, name, message, suggest::hint(name, known))
        })
        .collect();
    let Some(first) = unknown.first() else { return Ok(()) };
    Err(Error::new(&general::UNKNOWN_FIELD, first.message.clone())
        .help(first.hint.clone().unwrap_or_default())
        .diagnostics_of(unknown))
}

fn not_json(error: serde_json::Error) -> Error {
    // The parser's message names the line and column, and shows nothing of the body's text.
    Error::new(&general::MALFORMED, format!("the body is not JSON: {error}"))
}

fn wrong_type(name: &str, wanted: &str, got: &Value) -> Error {
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    let what = if name.is_empty() { "the body".to_owned() } else { format!("`{name}`") };
    field(name, format!("{what} must be {wanted} and is {got}"), "see /api/chainbot/openapi.json")
}

fn field(name: &str, message: String, hint: &str) -> Error {
    let one = diagnostic(&general::FIELD, name, message.clone(), hint.to_owned());
    Error::new(&general::FIELD, message).help(hint).diagnostics_of(vec![one])
}

fn diagnostic(code: &'static crate::error::Code, path: &str, message: String, hint: String) -> Diagnostic {
    Diagnostic {
        code: code.id,
        severity: Severity::Error,
        pos: Pos::default().into(),
        path: path.to_owned(),
        message,
        hint: Some(hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(json: &str) -> Result<String> {
        definition_source(Some(Media::Json), json.as_bytes().to_vec())
    }

    #[test]
    fn a_definition_in_an_envelope_keeps_its_order_and_its_numbers() {
        let inner = r#"{"z": 1.10, "a": {"y": 1, "b": 2}}"#;
        assert_eq!(source(&format!("{{\"definition\": {inner}}}")).unwrap(), inner);
        assert_eq!(source(inner).unwrap(), inner);
        assert_eq!(source(r#"{"source": "name: a\n"}"#).unwrap(), "name: a\n");
    }

    #[test]
    fn a_wrong_envelope_is_named() {
        for (json, code) in [
            (r#"{"source": 1}"#, "CB-0017"),
            (r#"{"definition": "x"}"#, "CB-0017"),
            (r#"{"definition": {}, "source": ""}"#, "CB-0017"),
            (r#"{"source": "", "nmae": 1}"#, "CB-0008"),
            (r#"[1]"#, "CB-0017"),
            (r#"{"#, "CB-0007"),
            ("", "CB-0007"),
        ] {
            assert_eq!(source(json).unwrap_err().code().id, code, "{json}");
        }
    }

    #[test]
    fn depth_counts_brackets_and_not_text() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(check_depth(nested(JSON_DEPTH_MAX).as_bytes()).is_ok());
        assert!(check_depth(nested(JSON_DEPTH_MAX + 1).as_bytes()).is_err());
        let text = format!("{{\"a\": \"\\\"{}\"}}", "[".repeat(100));
        assert!(check_depth(text.as_bytes()).is_ok());
    }
}
