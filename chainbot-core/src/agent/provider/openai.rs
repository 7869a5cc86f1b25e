//! The wire of OpenAI's chat completions, as its own servers and Ollama, llama.cpp, vLLM, LM Studio, LiteLLM and others speak it.
//!
//! Read generously: every field may be missing, null, or of another type where a server is known to send one.

use serde_json::{Map, Value, json};

use super::gather::{Gathered, Piece};
use super::wire;
use super::{
    CallLimits, DeltaSink, Endpoint, Message, ModelError, ModelErrorClass, ModelProvider, ModelReply,
    ModelRequest, Pending, Stop, ToolChoice,
};
use crate::net::{BodyLines, Events, excerpt, is_field};

/// A server that speaks it.
#[derive(Clone, Debug)]
pub struct OpenAi(Endpoint);

impl OpenAi {
    /// `base` of the endpoint ends in `/v1`, or in what the server has in its place.
    pub fn new(endpoint: Endpoint) -> Self {
        Self(endpoint)
    }

    async fn read(
        &self,
        body: &mut BodyLines,
        got: &mut Gathered,
        request: &ModelRequest,
        sink: &mut dyn DeltaSink,
    ) -> Result<(), ModelError> {
        let mut events = Events::default();
        let mut plain = String::new();
        let mut streams = false;
        loop {
            let line = body.next().await?;
            let event = match &line {
                Some(line) if !streams && !is_field(line) => {
                    // No stream after all: one document, or the text of an error.
                    plain.push_str(line);
                    plain.push('\n');
                    continue;
                }
                Some(line) => {
                    streams = true;
                    events.line(line)
                }
                None => events.end(),
            };
            if let Some(event) = event {
                if event.data.trim() == "[DONE]" {
                    return Ok(());
                }
                self.chunk(&event.data, got, request, sink)?;
            }
            if line.is_none() {
                break;
            }
        }
        if !streams && !plain.trim().is_empty() {
            self.chunk(&plain, got, request, sink)?;
        }
        Ok(())
    }

    /// One document: a chunk of a stream, or a whole reply.
    fn chunk(
        &self,
        text: &str,
        got: &mut Gathered,
        request: &ModelRequest,
        sink: &mut dyn DeltaSink,
    ) -> Result<(), ModelError> {
        let Ok(chunk) = serde_json::from_str::<Value>(text) else {
            let message = format!("a piece of the answer is no JSON: {}", excerpt(text.as_bytes()));
            return Err(ModelError::new(ModelErrorClass::Invalid, message));
        };
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            return Err(self.0.refused_inside(error, got.usage(request)));
        }
        if let Some(model) = chunk["model"].as_str().filter(|model| !model.is_empty()) {
            got.model = Some(model.to_owned());
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) {
            let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64();
            got.count(usage["prompt_tokens"].as_u64(), cached, usage["completion_tokens"].as_u64());
        }
        let Some(choice) = chunk["choices"].get(0) else { return Ok(()) };
        let said = if choice["delta"].is_object() { &choice["delta"] } else { &choice["message"] };
        got.text(&text_of(&said["content"]), sink)?;
        for call in said["tool_calls"].as_array().into_iter().flatten() {
            let function = &call["function"];
            let arguments = wire::arguments(&function["arguments"]);
            let piece = Piece {
                index: call["index"].as_u64(),
                id: call["id"].as_str(),
                name: function["name"].as_str(),
                arguments: &arguments,
            };
            got.call(&piece, sink)?;
        }
        if let Some(reason) = choice["finish_reason"].as_str().filter(|reason| !reason.is_empty()) {
            got.stop = Some(match reason {
                "length" | "max_tokens" => Stop::MaxOutput,
                "content_filter" => Stop::Filtered,
                _ => Stop::End,
            });
        }
        Ok(())
    }
}

/// Text, or a list of parts with text.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

fn message(message: &Message) -> Value {
    match message {
        Message::System(text) => json!({ "role": "system", "content": text }),
        Message::User(text) => json!({ "role": "user", "content": text }),
        Message::Assistant { text, calls } if calls.is_empty() => {
            json!({ "role": "assistant", "content": text })
        }
        Message::Assistant { text, calls } => {
            let calls: Vec<Value> = calls
                .iter()
                .map(|call| {
                    let function = json!({ "name": call.name, "arguments": call.arguments });
                    json!({ "id": call.id, "type": "function", "function": function })
                })
                .collect();
            let content = if text.is_empty() { Value::Null } else { json!(text) };
            json!({ "role": "assistant", "content": content, "tool_calls": calls })
        }
        Message::Tool { call, text, .. } => json!({ "role": "tool", "tool_call_id": call, "content": text }),
    }
}

fn body(request: &ModelRequest) -> Value {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    put("model", json!(request.model));
    put("messages", request.messages.iter().map(message).collect());
    put("stream", json!(true));
    put("stream_options", json!({ "include_usage": true }));
    put("max_tokens", json!(request.max_output));
    if !request.tools.is_empty() {
        put("tools", request.tools.iter().map(wire::function).collect());
        put(
            "tool_choice",
            match &request.tool_choice {
                ToolChoice::Auto => json!("auto"),
                ToolChoice::None => json!("none"),
                ToolChoice::Required => json!("required"),
                ToolChoice::Named(name) => json!({ "type": "function", "function": { "name": name } }),
            },
        );
    }
    if let Some(schema) = &request.schema {
        let named = json!({ "name": schema.name, "schema": schema.schema });
        put("response_format", json!({ "type": "json_schema", "json_schema": named }));
    }
    wire::sampling(&request.sampling, &mut body);
    Value::Object(body)
}

impl ModelProvider for OpenAi {
    fn call<'a>(
        &'a self,
        request: &'a ModelRequest,
        limits: &'a CallLimits,
        sink: &'a mut dyn DeltaSink,
    ) -> Pending<'a, ModelReply> {
        Box::pin(async move {
            let mut body =
                self.0.ask("/chat/completions", self.0.bearer(), &body(request), request, limits).await?;
            let mut got = Gathered::default();
            let read = self.read(&mut body, &mut got, request, sink).await;
            self.0.settled(read, got, request)
        })
    }

    fn list(&self) -> Pending<'_, Vec<String>> {
        Box::pin(async move {
            let list = self.0.get("/models", self.0.bearer()).await?;
            Ok(super::endpoint::names(&list, "data", "id"))
        })
    }
}
