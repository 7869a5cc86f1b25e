//! JSON-RPC as MCP speaks it, for both ends.

use serde_json::{Value, json};

/// Versions of the protocol that are spoken, the one that is offered first.
pub const VERSIONS: &[&str] = &["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// JSON-RPC: no such method.
pub const NO_METHOD: i32 = -32601;
/// JSON-RPC: something inside.
pub const INTERNAL: i32 = -32603;
/// JSON-RPC: what belongs to the method is wrong.
pub const WRONG_PARAMS: i32 = -32602;

/// A message that came to a client.
#[derive(Debug, PartialEq)]
pub enum Message {
    /// To a request of ours: a result, or the server's words for why there is none.
    Reply {
        /// Of the request.
        id: u64,
        /// What it gave.
        outcome: Result<Value, Said>,
    },
    /// Something that the server wants of us, with its id.
    Request {
        /// To be given back.
        id: Value,
        /// What is wanted.
        method: String,
    },
    /// Needs no answer.
    Notification,
    /// No message. Some servers greet whoever starts them.
    Noise,
}

/// A server's words for why it gives nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Of JSON-RPC; 0 where there is none.
    pub code: i64,
    /// For people.
    pub text: String,
}

/// Tells what a line of a server is.
pub fn read(line: &str) -> Message {
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

fn said(error: Option<&Value>) -> Said {
    let field = |name: &str| error.and_then(|error| error.get(name));
    let text = field("message").and_then(Value::as_str).unwrap_or("an error without words").to_owned();
    Said { code: field("code").and_then(Value::as_i64).unwrap_or(0), text }
}

/// The error that a body is, whatever request it names.
pub fn refused(body: &[u8]) -> Option<Said> {
    let message = serde_json::from_slice::<Value>(body).ok()?;
    let error = message.get("error").filter(|error| error.is_object() && message["jsonrpc"] == "2.0");
    error.map(|error| said(Some(error)))
}

/// A question to the other end.
pub fn request(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// What needs no answer.
pub fn notification(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

/// The answer to a request.
pub fn reply(id: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

/// The answer to a request that cannot have another.
pub fn refusal(id: &Value, code: i32, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
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
                Message::Reply { id: 3, outcome: Err(Said { code: -1, text: "no".to_owned() }) },
            ),
            (
                r#"{"jsonrpc":"2.0","id":3}"#,
                Message::Reply {
                    id: 3,
                    outcome: Err(Said { code: 0, text: "an error without words".to_owned() }),
                },
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
}
