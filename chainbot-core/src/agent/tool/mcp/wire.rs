//! JSON-RPC as MCP speaks it: a message a line. Pure.

use serde_json::{Value, json};

/// Versions of the protocol that are spoken, the one that is offered first.
pub(super) const VERSIONS: &[&str] = &["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// A line of a server.
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    /// To a request of ours: a result, or the server's words for why there is none.
    Reply { id: u64, outcome: Result<Value, String> },
    /// Something that the server wants of us, with its id.
    Request { id: Value, method: String },
    /// Needs no answer.
    Notification,
    /// No message. Some servers greet whoever starts them.
    Noise,
}

pub(super) fn read(line: &str) -> Message {
    let Ok(Value::Object(message)) = serde_json::from_str::<Value>(line) else { return Message::Noise };
    if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Message::Noise;
    }
    let method = message.get("method").and_then(Value::as_str);
    match (message.get("id"), method) {
        (Some(id), Some(method)) if !id.is_null() => {
            Message::Request { id: id.clone(), method: method.to_owned() }
        }
        (_, Some(_)) => Message::Notification,
        (Some(id), None) => {
            let Some(id) = id.as_u64() else { return Message::Noise };
            let outcome = match (message.get("result"), message.get("error")) {
                (Some(result), None) => Ok(result.clone()),
                (_, error) => Err(said(error)),
            };
            Message::Reply { id, outcome }
        }
        (None, None) => Message::Noise,
    }
}

fn said(error: Option<&Value>) -> String {
    let text = error.and_then(|error| error.get("message")).and_then(Value::as_str);
    crate::net::excerpt(text.unwrap_or("an error without words").as_bytes())
}

pub(super) fn request(id: u64, method: &str, params: Value) -> String {
    line(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
}

pub(super) fn notification(method: &str, params: Value) -> String {
    line(json!({ "jsonrpc": "2.0", "method": method, "params": params }))
}

/// Sampling, elicitation, roots: nothing that a server wants is done. A ping is answered.
pub(super) fn answer(id: &Value, method: &str) -> String {
    match method {
        "ping" => line(json!({ "jsonrpc": "2.0", "id": id, "result": {} })),
        _ => {
            let error = json!({ "code": -32601, "message": "this client does nothing for servers" });
            line(json!({ "jsonrpc": "2.0", "id": id, "error": error }))
        }
    }
}

fn line(message: Value) -> String {
    let mut text = message.to_string();
    text.push('\n');
    text
}

pub(super) fn initialize() -> Value {
    json!({
        "protocolVersion": VERSIONS[0],
        "capabilities": {},
        "clientInfo": { "name": "chainbot", "version": crate::VERSION },
    })
}

/// A result of `tools/call`, for a model: what is structured, else its text. Pictures and sounds are named, not given.
pub(super) fn outcome(result: &Value) -> (Value, bool) {
    let is_error = result.get("isError").and_then(Value::as_bool).unwrap_or(false);
    if let Some(structured) = result.get("structuredContent").filter(|_| !is_error) {
        return (structured.clone(), false);
    }
    let mut texts = Vec::new();
    for part in result.get("content").and_then(Value::as_array).into_iter().flatten() {
        let kind = part.get("type").and_then(Value::as_str).unwrap_or("nothing");
        let resource = part.get("resource").and_then(|resource| resource.get("text"));
        match part.get("text").or(resource).and_then(Value::as_str) {
            Some(text) => texts.push(text.to_owned()),
            None => texts.push(format!("[{} is left out]", kind.chars().take(32).collect::<String>())),
        }
    }
    (Value::String(texts.join("\n")), is_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        for (line, message) in [
            (
                r#"{"jsonrpc":"2.0","id":3,"result":{"a":1}}"#,
                Message::Reply { id: 3, outcome: Ok(json!({"a": 1})) },
            ),
            (
                r#"{"jsonrpc":"2.0","id":3,"error":{"code":-1,"message":"no"}}"#,
                Message::Reply { id: 3, outcome: Err("no".to_owned()) },
            ),
            (
                r#"{"jsonrpc":"2.0","id":3}"#,
                Message::Reply { id: 3, outcome: Err("an error without words".to_owned()) },
            ),
            (
                r#"{"jsonrpc":"2.0","id":"x","method":"sampling/createMessage","params":{}}"#,
                Message::Request { id: json!("x"), method: "sampling/createMessage".to_owned() },
            ),
            (r#"{"jsonrpc":"2.0","method":"notifications/message"}"#, Message::Notification),
            (r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#, Message::Notification),
            (r#"{"id":3,"result":{}}"#, Message::Noise),
            (r#"{"jsonrpc":"2.0","id":"3","result":{}}"#, Message::Noise),
            (r#"{"jsonrpc":"2.0","id":-3,"result":{}}"#, Message::Noise),
            ("Server running on stdio", Message::Noise),
            ("[]", Message::Noise),
            ("", Message::Noise),
        ] {
            assert_eq!(read(line), message, "{line}");
        }
    }

    #[test]
    fn nothing_is_done_for_a_server_but_to_answer_a_ping() {
        for method in ["sampling/createMessage", "elicitation/create", "roots/list", "x"] {
            assert!(answer(&json!(1), method).contains("-32601"), "{method}");
        }
        assert_eq!(answer(&json!("a"), "ping"), "{\"id\":\"a\",\"jsonrpc\":\"2.0\",\"result\":{}}\n");
    }

    #[test]
    fn a_result_is_what_is_structured_else_its_text() {
        for (result, value, is_error) in [
            (
                json!({ "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] }),
                json!("a\nb"),
                false,
            ),
            (
                json!({ "content": [{ "type": "text", "text": "{}" }], "structuredContent": { "t": 1 } }),
                json!({ "t": 1 }),
                false,
            ),
            (
                json!({ "content": [{ "type": "text", "text": "no" }], "structuredContent": {}, "isError": true }),
                json!("no"),
                true,
            ),
            (
                json!({ "content": [{ "type": "image", "data": "AAAA" }] }),
                json!("[image is left out]"),
                false,
            ),
            (json!({ "content": [{ "type": "resource", "resource": { "text": "r" } }] }), json!("r"), false),
            (json!({}), json!(""), false),
        ] {
            assert_eq!(outcome(&result), (value, is_error), "{result}");
        }
    }
}
