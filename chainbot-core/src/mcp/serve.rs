//! What a server makes of a message: an answer at once, or a question for whoever has the tools. Pure.
//!
//! Invariants: no sessions, so nothing is remembered between two messages; a server asks nothing of its clients, so what they send
//! is a request or a notification. Tools are all that there is: no resources, prompts, sampling, elicitation.

use serde_json::{Map, Value, json};

use super::wire::{self, NO_METHOD, VERSIONS, WRONG_PARAMS};

/// In `_meta` of a call: what `Idempotency-Key` is as a header.
pub const KEY: &str = "chainbot/idempotency-key";

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Text or a number; null for a notification.
    pub id: Value,
    /// What is wanted.
    pub method: String,
    /// Of the method.
    pub params: Map<String, Value>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn {
    /// This is the answer.
    Say(Value),
    /// Nothing is answered.
    Taken,
    /// Tools are asked for, after this cursor.
    List(Option<String>),
    /// A tool is to be used.
    Call(ToolCall),
}

/// A tool to be used.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// Its name.
    pub name: String,
    /// As they came.
    pub arguments: Map<String, Value>,
    /// Makes a repeat harmless.
    pub key: Option<String>,
    /// What notices of progress are to name, where they are wanted: text or a whole number.
    pub progress: Option<Value>,
}

/// A tool as it is listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// For the model.
    pub description: String,
    /// Of its arguments; an object's.
    pub schema: Value,
    /// It changes nothing.
    pub is_read_only: bool,
}

/// What a message asks for. `about`: whom clients are told that they talk to.
pub fn turn(asked: &Asked, about: &str) -> Turn {
    let refuse = |code, message: &str| Turn::Say(wire::refusal(&asked.id, code, message));
    // Whatever is told needs no answer, known or not.
    if asked.id.is_null() {
        return Turn::Taken;
    }
    let text = |name: &str| asked.params.get(name).and_then(Value::as_str);
    match asked.method.as_str() {
        "initialize" => match text("protocolVersion") {
            Some(version) => Turn::Say(wire::reply(&asked.id, welcome(version, about))),
            None => refuse(WRONG_PARAMS, "`protocolVersion` is missing"),
        },
        "ping" => Turn::Say(wire::reply(&asked.id, json!({}))),
        "tools/list" => match asked.params.get("cursor") {
            None | Some(Value::Null) => Turn::List(None),
            Some(Value::String(cursor)) => Turn::List(Some(cursor.clone())),
            Some(_) => refuse(WRONG_PARAMS, "`cursor` must be text"),
        },
        "tools/call" => match call(&asked.params) {
            Ok(call) => Turn::Call(call),
            Err(why) => refuse(WRONG_PARAMS, why),
        },
        _ => refuse(NO_METHOD, "this server has tools, and no such method"),
    }
}

/// Who answers.
pub fn server_info() -> Value {
    json!({ "name": "chainbot", "title": "ChainBot", "version": crate::VERSION })
}

fn welcome(version: &str, about: &str) -> Value {
    // Another version is answered with ours; the client says whether it speaks that.
    let version = VERSIONS.iter().find(|known| **known == version).unwrap_or(&VERSIONS[0]);
    json!({
        "protocolVersion": version,
        "capabilities": { "tools": { "listChanged": false } },
        "serverInfo": server_info(),
        "instructions": about,
    })
}

fn call(params: &Map<String, Value>) -> Result<ToolCall, &'static str> {
    let name = params.get("name").and_then(Value::as_str).ok_or("`name` must be text")?;
    let arguments = match params.get("arguments") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(arguments)) => arguments.clone(),
        Some(_) => return Err("`arguments` must be an object"),
    };
    let key = match params.get("_meta").and_then(|meta| meta.get(KEY)) {
        None => None,
        Some(Value::String(key)) => Some(key.clone()),
        Some(_) => return Err("`_meta.chainbot/idempotency-key` must be text"),
    };
    let progress = params.get("_meta").and_then(|meta| meta.get("progressToken"));
    if progress.is_some_and(|token| !(token.is_string() || token.is_i64() || token.is_u64())) {
        return Err("`_meta.progressToken` must be text or a whole number");
    }
    Ok(ToolCall { name: name.to_owned(), arguments, key, progress: progress.cloned() })
}

/// The result of a list of tools.
pub fn listed(tools: Vec<Tool>, next: Option<String>) -> Value {
    let shown = |tool: Tool| {
        json!({
            "name": tool.name, "description": tool.description, "inputSchema": tool.schema,
            "annotations": { "readOnlyHint": tool.is_read_only },
        })
    };
    let mut result = json!({ "tools": tools.into_iter().map(shown).collect::<Vec<_>>() });
    if let Some(next) = next {
        result["nextCursor"] = Value::String(next);
    }
    result
}

/// The result of a call that gave an object.
pub fn called(value: Value, is_error: bool) -> Value {
    let text = value.to_string();
    json!({ "content": [{ "type": "text", "text": text }], "structuredContent": value, "isError": is_error })
}

/// The result of a call that gave content blocks. What is known of its run is beside them, where no client shows it in their place.
pub fn given(blocks: &[Value], run: Value) -> Value {
    json!({ "content": blocks, "isError": false, "_meta": { "chainbot/run": run } })
}

/// Tells how far a call is. `total`: where it is known.
pub fn progress(token: &Value, done: u32, total: Option<u32>) -> Value {
    let mut params = json!({ "progressToken": token, "progress": done });
    if let Some(total) = total.filter(|total| *total >= done) {
        params["total"] = total.into();
    }
    wire::notification("notifications/progress", params)
}

/// The result of a call that could not be begun: the model reads why, and may do something else.
pub fn failed(why: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": why }], "isError": true })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, params: Value) -> Turn {
        let Value::Object(params) = params else { panic!("{params}") };
        turn(&Asked { id: json!(7), method: method.to_owned(), params }, "a house")
    }

    fn said(method: &str, params: Value) -> Value {
        match asked(method, params) {
            Turn::Say(message) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_client_is_met_in_its_version_or_told_ours() {
        for version in VERSIONS {
            let result = said("initialize", json!({ "protocolVersion": version }))["result"].clone();
            assert_eq!(result["protocolVersion"], *version);
        }
        let other = said("initialize", json!({ "protocolVersion": "1999-01-01" }));
        assert_eq!(other["result"]["protocolVersion"], VERSIONS[0]);
        assert_eq!(
            (other["id"].clone(), other["result"]["instructions"].clone()),
            (json!(7), json!("a house"))
        );
        assert_eq!(said("initialize", json!({}))["error"]["code"], -32602);
    }

    #[test]
    fn what_is_no_tool_is_no_method() {
        for method in ["resources/list", "prompts/list", "logging/setLevel", "completion/complete", "x"] {
            assert_eq!(said(method, json!({}))["error"]["code"], -32601, "{method}");
        }
        assert_eq!(said("ping", json!({})), json!({ "jsonrpc": "2.0", "id": 7, "result": {} }));
        let told =
            Asked { id: Value::Null, method: "notifications/initialized".to_owned(), params: Map::new() };
        assert_eq!(turn(&told, ""), Turn::Taken);
    }

    #[test]
    fn a_list_and_a_call_are_read_strictly() {
        assert_eq!(asked("tools/list", json!({})), Turn::List(None));
        assert_eq!(asked("tools/list", json!({ "cursor": "a" })), Turn::List(Some("a".to_owned())));
        assert_eq!(said("tools/list", json!({ "cursor": 1 }))["error"]["code"], -32602);
        let good = json!({ "name": "a", "arguments": { "x": 1 }, "_meta": { KEY: "k" } });
        let Turn::Call(call) = asked("tools/call", good) else { panic!() };
        assert_eq!(
            (call.name.as_str(), call.key.as_deref(), call.arguments["x"].clone()),
            ("a", Some("k"), json!(1))
        );
        for wrong in [
            json!({}),
            json!({ "name": 1 }),
            json!({ "name": "a", "arguments": [] }),
            json!({ "name": "a", "_meta": { KEY: 1 } }),
            json!({ "name": "a", "_meta": { "progressToken": {} } }),
            json!({ "name": "a", "_meta": { "progressToken": 0.5 } }),
        ] {
            assert_eq!(said("tools/call", wrong.clone())["error"]["code"], -32602, "{wrong}");
        }
    }
}
