//! `multipart` of an `api_call`: values as `multipart/form-data`. Nothing is read from a disk.
//!
//! A part is a scalar, or `{value | base64 | json, filename?, content_type?}`. Names are quoted as browsers do, so none can
//! end its header.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{Failure, config};
use crate::env::Env;

/// The content type with its boundary, and the body.
pub(crate) fn encode(parts: &Map<String, Value>, env: &Env) -> Result<(String, Vec<u8>), Failure> {
    let random = env.bytes::<16>();
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let boundary = format!("chainbot-{hex}");
    let mut body = Vec::new();
    for (name, value) in parts {
        let items = match value {
            Value::Array(items) => items.as_slice(),
            other => std::slice::from_ref(other),
        };
        for item in items.iter().filter(|item| !item.is_null()) {
            part(name, item, &boundary, &mut body)?;
        }
    }
    // The boundary is drawn after the values, so none can hold it.
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok((format!("multipart/form-data; boundary={boundary}"), body))
}

fn part(name: &str, value: &Value, boundary: &str, body: &mut Vec<u8>) -> Result<(), Failure> {
    let place = format!("multipart.{name}");
    let Value::Object(fields) = value else {
        let text = config::scalar(value, &place)?;
        head(name, None, None, boundary, body);
        body.extend_from_slice(text.as_bytes());
        body.extend_from_slice(b"\r\n");
        return Ok(());
    };
    let text =
        |key: &str| fields.get(key).map(|value| config::scalar(value, &format!("{place}.{key}"))).transpose();
    let known = ["value", "base64", "json", "filename", "content_type"];
    if let Some(unknown) = fields.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Failure::input(format!(
            "{place}: `{unknown}` is not known; a part has {}",
            known.join(", ")
        )));
    }
    let content = match (text("value")?, fields.get("json"), text("base64")?) {
        (Some(text), None, None) => text.into_bytes(),
        (None, Some(json), None) => json.to_string().into_bytes(),
        (None, None, Some(text)) => STANDARD
            .decode(text.trim())
            .map_err(|error| Failure::input(format!("{place}.base64 is not base64: {error}")))?,
        _ => return Err(Failure::input(format!("{place} needs one of `value`, `json` and `base64`"))),
    };
    let content_type =
        text("content_type")?.or_else(|| fields.contains_key("json").then(|| "application/json".to_owned()));
    if content_type.as_ref().is_some_and(|text| !text.bytes().all(|byte| (b' '..=b'~').contains(&byte))) {
        return Err(Failure::input(format!(
            "{place}.content_type holds a line break or a letter that is not ASCII"
        )));
    }
    head(name, text("filename")?.as_deref(), content_type.as_deref(), boundary, body);
    body.extend_from_slice(&content);
    body.extend_from_slice(b"\r\n");
    Ok(())
}

fn head(name: &str, filename: Option<&str>, content_type: Option<&str>, boundary: &str, body: &mut Vec<u8>) {
    let mut head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"", quoted(name));
    if let Some(filename) = filename {
        head.push_str(&format!("; filename=\"{}\"", quoted(filename)));
    }
    if let Some(content_type) = content_type {
        head.push_str(&format!("\r\nContent-Type: {content_type}"));
    }
    head.push_str("\r\n\r\n");
    body.extend_from_slice(head.as_bytes());
}

/// As HTML has it: quotes and line breaks percent-encoded; other control characters are left out.
fn quoted(text: &str) -> String {
    let escaped = text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
    escaped.chars().filter(|c| !c.is_control()).collect()
}
