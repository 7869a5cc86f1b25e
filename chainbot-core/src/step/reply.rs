//! From a reply's bytes to JSON.
//!
//! Invariant: nothing is cut or guessed away: a body that does not fit the mode asked for is an error, and JSON is
//! measured before it is parsed, so no parser ever recurses deeper than [`JSON_DEPTH_MAX`].

use base64::Engine;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::code::run as code;
use crate::limits::JSON_DEPTH_MAX;
use crate::model::{StepError, class};
use crate::net::Reply;
use crate::net::excerpt;

/// How a reply is read.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// JSON when the content type says so and it parses, else text when it is UTF-8, else base64; null when empty.
    #[default]
    Auto,
    Json,
    Text,
    Bytes,
}

/// Reads a body in a mode. `what` names the request for messages.
pub(crate) fn data(reply: &Reply, mode: Mode, what: &str) -> Result<Value, StepError> {
    let body = reply.body.as_slice();
    let not = |format: &str, why: String| {
        let message = format!("{what} answered with no {format}: {why}; the body begins: {}", excerpt(body));
        StepError::new(class::INVALID, &code::REPLY_FORMAT, message)
    };
    match mode {
        Mode::Json => parse_json(body, what)?.map_err(|why| not("JSON", why)),
        Mode::Text => match std::str::from_utf8(body) {
            Ok(text) => Ok(Value::from(text)),
            Err(error) => Err(not("UTF-8 text", format!("{error}; use `response: bytes`"))),
        },
        Mode::Bytes => Ok(base64(body)),
        Mode::Auto if body.is_empty() => Ok(Value::Null),
        Mode::Auto => {
            if is_json(reply)
                && let Ok(value) = parse_json(body, what)?
            {
                return Ok(value);
            }
            Ok(std::str::from_utf8(body).map_or_else(|_| base64(body), Value::from))
        }
    }
}

/// Headers as an object, repeated ones joined as RFC 9110 allows.
pub(crate) fn headers(reply: &Reply) -> Value {
    let mut out = Map::new();
    for (name, value) in &reply.headers {
        match out.get_mut(name) {
            Some(Value::String(before)) => {
                before.push_str(", ");
                before.push_str(value);
            }
            _ => {
                out.insert(name.clone(), Value::from(value.as_str()));
            }
        }
    }
    Value::Object(out)
}

/// The outer error is a bound, the inner one a body that is not JSON.
fn parse_json(body: &[u8], what: &str) -> Result<Result<Value, String>, StepError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if depth(body) > JSON_DEPTH_MAX {
        let message = format!(
            "{what} answered with JSON of more than {JSON_DEPTH_MAX} levels; ask for a flatter reply"
        );
        return Err(StepError::new(class::LIMIT, &code::REPLY_DEPTH, message));
    }
    Ok(serde_json::from_slice(body).map_err(|error| error.to_string()))
}

/// The deepest nesting of brackets outside of strings. Of text that is not JSON it is an upper guess.
fn depth(body: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in body {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'[' | b'{') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn is_json(reply: &Reply) -> bool {
    let content_type = reply.header("content-type").unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

fn base64(body: &[u8]) -> Value {
    Value::from(base64::engine::general_purpose::STANDARD.encode(body))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(mode: Mode, content_type: &str, body: &[u8]) -> Result<Value, &'static str> {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        let reply = Reply { status: 200, headers, body: body.to_vec() };
        data(&reply, mode, "the server").map_err(|error| match error.code.as_str() {
            "CB-0311" => "format",
            "CB-0313" => "depth",
            _ => "other",
        })
    }

    #[test]
    fn auto_follows_the_content_type_and_then_the_bytes() {
        assert_eq!(check(Mode::Auto, "application/json; charset=utf-8", b"{\"a\":1}"), Ok(json!({"a": 1})));
        assert_eq!(check(Mode::Auto, "application/problem+json", b"[1]"), Ok(json!([1])));
        assert_eq!(check(Mode::Auto, "application/json", b"\xef\xbb\xbf[1]"), Ok(json!([1])));
        assert_eq!(check(Mode::Auto, "application/json", b"nope"), Ok(json!("nope")));
        assert_eq!(check(Mode::Auto, "text/plain", b"{\"a\":1}"), Ok(json!("{\"a\":1}")));
        assert_eq!(check(Mode::Auto, "image/png", b"\xff\x00"), Ok(json!("/wA=")));
        assert_eq!(check(Mode::Auto, "application/json", b""), Ok(Value::Null));
    }

    #[test]
    fn a_mode_that_was_asked_for_is_kept_or_fails() {
        assert_eq!(check(Mode::Json, "text/plain", b"[1]"), Ok(json!([1])));
        assert_eq!(check(Mode::Json, "application/json", b""), Err("format"));
        assert_eq!(check(Mode::Json, "application/json", b"{]"), Err("format"));
        assert_eq!(check(Mode::Text, "application/json", b"[1]"), Ok(json!("[1]")));
        assert_eq!(check(Mode::Text, "text/plain", b"\xff"), Err("format"));
        assert_eq!(check(Mode::Bytes, "text/plain", b"abc"), Ok(json!("YWJj")));
        assert_eq!(check(Mode::Bytes, "text/plain", b""), Ok(json!("")));
    }

    #[test]
    fn deep_json_is_refused_before_it_is_parsed() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        for mode in [Mode::Auto, Mode::Json] {
            assert!(check(mode, "application/json", &nested(JSON_DEPTH_MAX)).is_ok());
            assert_eq!(check(mode, "application/json", &nested(JSON_DEPTH_MAX + 1)), Err("depth"));
            assert_eq!(check(mode, "application/json", &nested(200_000)), Err("depth"));
        }
        let in_text = format!("\"{}\\\"[[\"", "[".repeat(100));
        assert!(check(Mode::Json, "application/json", in_text.as_bytes()).is_ok());
    }

    #[test]
    fn repeated_headers_are_joined() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers_in = vec![pair("a", "1"), pair("b", "2"), pair("a", "3")];
        let reply = Reply { status: 200, headers: headers_in, body: Vec::new() };
        assert_eq!(headers(&reply), json!({"a": "1, 3", "b": "2"}));
    }
}
