//! Ollama's own wire: lines of JSON, a schema in `format`, and the size of the context in every request, since its default cuts prompts silently.

use serde_json::{Map, Value, json};

use super::gather::{Gathered, Piece};
use super::wire;
use super::{
    CallLimits, DeltaSink, Endpoint, Message, ModelError, ModelErrorClass, ModelProvider, ModelReply,
    ModelRequest, Pending, Stop, ToolChoice,
};
use crate::limits::MODEL_CONTEXT_DEFAULT;
use crate::net::{BodyLines, excerpt};

/// A server that speaks it.
#[derive(Clone, Debug)]
pub struct Ollama(Endpoint);

impl Ollama {
    /// `base` of the endpoint is the server's root, such as `http://127.0.0.1:11434`.
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
        let mut calls = 0;
        while let Some(line) = body.next().await? {
            if line.trim().is_empty() {
                continue;
            }
            let Ok(part) = serde_json::from_str::<Value>(&line) else {
                let message = format!("a line of the answer is no JSON: {}", excerpt(line.as_bytes()));
                return Err(ModelError::new(ModelErrorClass::Invalid, message));
            };
            if let Some(error) = part.get("error").filter(|error| !error.is_null()) {
                return Err(self.0.refused_inside(error, got.usage(request)));
            }
            if let Some(model) = part["model"].as_str() {
                got.model = Some(model.to_owned());
            }
            got.text(part["message"]["content"].as_str().unwrap_or_default(), sink)?;
            for call in part["message"]["tool_calls"].as_array().into_iter().flatten() {
                let function = &call["function"];
                let arguments = wire::arguments(&function["arguments"]);
                // Calls come whole, each its own, with or without an id.
                let piece = Piece {
                    index: Some(calls),
                    id: call["id"].as_str(),
                    name: function["name"].as_str(),
                    arguments: &arguments,
                };
                got.call(&piece, sink)?;
                calls += 1;
            }
            if part["done"] == true {
                got.count(part["prompt_eval_count"].as_u64(), None, part["eval_count"].as_u64());
                got.stop = Some(if part["done_reason"] == "length" { Stop::MaxOutput } else { Stop::End });
                return Ok(());
            }
        }
        Ok(())
    }
}

fn message(message: &Message) -> Value {
    match message {
        Message::System(text) => json!({ "role": "system", "content": text }),
        Message::User(text) => json!({ "role": "user", "content": text }),
        Message::Assistant { text, calls } => {
            let calls: Vec<Value> = calls
                .iter()
                .map(|call| {
                    // What nobody could read travels as an empty object; the result beside it says what was wrong.
                    let arguments: Value =
                        serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
                    json!({ "function": { "name": call.name, "arguments": arguments } })
                })
                .collect();
            let mut said = json!({ "role": "assistant", "content": text });
            if !calls.is_empty() {
                said["tool_calls"] = json!(calls);
            }
            said
        }
        Message::Tool { name, text, .. } => json!({ "role": "tool", "tool_name": name, "content": text }),
    }
}

fn body(request: &ModelRequest) -> Value {
    let mut options = Map::new();
    options.insert("num_ctx".to_owned(), json!(request.context.unwrap_or(MODEL_CONTEXT_DEFAULT)));
    options.insert("num_predict".to_owned(), json!(request.max_output));
    wire::sampling(&request.sampling, &mut options);
    let messages: Vec<Value> = request.messages.iter().map(message).collect();
    let mut body =
        json!({ "model": request.model, "messages": messages, "stream": true, "options": options });
    // The wire has no choice of tools: none are offered where none may be called, one where it must be that one.
    let offered: Vec<&super::ToolOffer> = match &request.tool_choice {
        ToolChoice::None => Vec::new(),
        ToolChoice::Named(name) => request.tools.iter().filter(|tool| tool.name == *name).collect(),
        ToolChoice::Auto | ToolChoice::Required => request.tools.iter().collect(),
    };
    if !offered.is_empty() {
        body["tools"] = offered.into_iter().map(wire::function).collect();
    }
    if let Some(schema) = &request.schema {
        body["format"] = schema.schema.clone();
    }
    body
}

impl ModelProvider for Ollama {
    fn call<'a>(
        &'a self,
        request: &'a ModelRequest,
        limits: &'a CallLimits,
        sink: &'a mut dyn DeltaSink,
    ) -> Pending<'a, ModelReply> {
        Box::pin(async move {
            let mut body = self.0.ask("/api/chat", self.0.bearer(), &body(request), request, limits).await?;
            let mut got = Gathered::default();
            let read = self.read(&mut body, &mut got, request, sink).await;
            self.0.settled(read, got, request)
        })
    }

    fn list(&self) -> Pending<'_, Vec<String>> {
        Box::pin(async move {
            let list = self.0.get("/api/tags", self.0.bearer()).await?;
            Ok(super::endpoint::names(&list, "models", "name"))
        })
    }
}
