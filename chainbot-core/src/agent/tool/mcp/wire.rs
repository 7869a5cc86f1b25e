//! What this client says and refuses, and how results are read. Pure.

use serde_json::{Value, json};

pub(super) use crate::mcp::wire::{Message, VERSIONS, notification, read, refused, request};
use crate::mcp::wire::{NO_METHOD, refusal, reply};

/// Sampling, elicitation, roots: nothing that a server wants is done. A ping is answered.
pub(super) fn answer(id: &Value, method: &str) -> Value {
    match method {
        "ping" => reply(id, json!({})),
        _ => refusal(id, NO_METHOD, "this client does nothing for servers"),
    }
}

/// Tells a server that nobody waits for a reply.
pub(super) fn cancelled(id: u64) -> Value {
    notification("notifications/cancelled", json!({ "requestId": id, "reason": "nobody waits for it" }))
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
    fn nothing_is_done_for_a_server_but_to_answer_a_ping() {
        for method in ["sampling/createMessage", "elicitation/create", "roots/list", "x"] {
            assert_eq!(answer(&json!(1), method)["error"]["code"], -32601, "{method}");
        }
        assert_eq!(answer(&json!("a"), "ping"), json!({ "jsonrpc": "2.0", "id": "a", "result": {} }));
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
