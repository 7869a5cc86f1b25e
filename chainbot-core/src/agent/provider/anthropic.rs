//! The wire of Anthropic's messages, as its own servers, LiteLLM and llama.cpp speak it.
//!
//! It has no schema for the text of a reply that all of them know, so a schema travels as the one tool that must be called, and what that
//! tool is called with becomes the text.

use serde_json::{Map, Value, json};

use super::gather::{Gathered, Piece};
use super::wire;
use super::{
    CallLimits, DeltaSink, Endpoint, Message, ModelError, ModelErrorClass, ModelProvider, ModelReply,
    ModelRequest, Pending, Stop, ToolChoice,
};
use crate::net::{BodyLines, Events, excerpt, is_field};

/// The version of the interface that is spoken.
const VERSION: &str = "2023-06-01";

/// A server that speaks it.
#[derive(Clone, Debug)]
pub struct Anthropic(Endpoint);

impl Anthropic {
    /// `base` of the endpoint ends in `/v1`.
    pub fn new(endpoint: Endpoint) -> Self {
        Self(endpoint)
    }

    fn headers(&self) -> Vec<(String, String)> {
        let version = ("anthropic-version".to_owned(), VERSION.to_owned());
        let key = self.0.key().map(|key| ("x-api-key".to_owned(), key.to_owned()));
        std::iter::once(version).chain(key).collect()
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
                    // No stream after all: one document.
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
                let data = parsed(&event.data)?;
                if data["type"] == "message_stop" {
                    return Ok(());
                }
                self.event(&data, got, request, sink)?;
            }
            if line.is_none() {
                break;
            }
        }
        if !streams && !plain.trim().is_empty() {
            self.event(&parsed(&plain)?, got, request, sink)?;
        }
        Ok(())
    }

    fn event(
        &self,
        data: &Value,
        got: &mut Gathered,
        request: &ModelRequest,
        sink: &mut dyn DeltaSink,
    ) -> Result<(), ModelError> {
        match data["type"].as_str().unwrap_or_default() {
            "message_start" => {
                let message = &data["message"];
                got.model = message["model"].as_str().map(str::to_owned);
                count(&message["usage"], got);
            }
            "content_block_start" => {
                let block = &data["content_block"];
                got.text(block["text"].as_str().unwrap_or_default(), sink)?;
                if block["type"] == "tool_use" {
                    let piece = Piece {
                        index: data["index"].as_u64(),
                        id: block["id"].as_str(),
                        name: block["name"].as_str(),
                        arguments: "",
                    };
                    got.call(&piece, sink)?;
                }
            }
            "content_block_delta" => {
                let delta = &data["delta"];
                got.text(delta["text"].as_str().unwrap_or_default(), sink)?;
                if let Some(arguments) = delta["partial_json"].as_str() {
                    got.call(&Piece { index: data["index"].as_u64(), arguments, ..Piece::default() }, sink)?;
                }
            }
            "message_delta" => {
                count(&data["usage"], got);
                got.stop = data["delta"]["stop_reason"].as_str().map(stop).or(got.stop);
            }
            // The whole of it, from a server that does not stream.
            "message" => {
                got.model = data["model"].as_str().map(str::to_owned);
                count(&data["usage"], got);
                for (index, block) in data["content"].as_array().into_iter().flatten().enumerate() {
                    got.text(block["text"].as_str().unwrap_or_default(), sink)?;
                    if block["type"] == "tool_use" {
                        let arguments = wire::arguments(&block["input"]);
                        let piece = Piece {
                            index: Some(index as u64),
                            id: block["id"].as_str(),
                            name: block["name"].as_str(),
                            arguments: &arguments,
                        };
                        got.call(&piece, sink)?;
                    }
                }
                got.stop = data["stop_reason"].as_str().map(stop);
            }
            "error" => return Err(self.0.refused_inside(&data["error"], got.usage(request))),
            // `ping`, `content_block_stop`, and what is to come.
            _ => {}
        }
        Ok(())
    }
}

fn parsed(text: &str) -> Result<Value, ModelError> {
    serde_json::from_str(text).map_err(|_| {
        let message = format!("a piece of the answer is no JSON: {}", excerpt(text.as_bytes()));
        ModelError::new(ModelErrorClass::Invalid, message)
    })
}

fn stop(reason: &str) -> Stop {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => Stop::MaxOutput,
        "refusal" => Stop::Filtered,
        _ => Stop::End,
    }
}

/// The server counts cached tokens beside the others; ours are of the whole prompt.
fn count(usage: &Value, got: &mut Gathered) {
    let part = |name: &str| usage[name].as_u64();
    let cached = part("cache_read_input_tokens");
    let input = part("input_tokens")
        .map(|input| input + cached.unwrap_or(0) + part("cache_creation_input_tokens").unwrap_or(0));
    got.count(input, cached, part("output_tokens"));
}

/// Arguments as the object that the wire wants; what a model wrote and nobody could read travels as text.
fn input(arguments: &str) -> Value {
    match serde_json::from_str(arguments) {
        Ok(Value::Object(object)) => Value::Object(object),
        _ => json!({ "unreadable": arguments }),
    }
}

/// Turns of the user and of the model must alternate, and results of calls are the user's: neighbours of one role become one message.
fn messages(request: &ModelRequest) -> Vec<Value> {
    let mut out: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in &request.messages {
        let (role, parts) = match message {
            Message::System(_) => continue,
            Message::User(text) => ("user", vec![json!({ "type": "text", "text": text })]),
            Message::Tool { call, text, is_error, .. } => (
                "user",
                vec![
                    json!({ "type": "tool_result", "tool_use_id": call, "content": text, "is_error": is_error }),
                ],
            ),
            Message::Assistant { text, calls } => {
                let said = (!text.trim().is_empty()).then(|| json!({ "type": "text", "text": text }));
                let used = calls.iter().map(|call| {
                    json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input(&call.arguments) })
                });
                ("assistant", said.into_iter().chain(used).collect())
            }
        };
        if parts.is_empty() {
            continue;
        }
        match out.last_mut() {
            Some((last, all)) if *last == role => all.extend(parts),
            _ => out.push((role, parts)),
        }
    }
    out.into_iter().map(|(role, parts)| json!({ "role": role, "content": parts })).collect()
}

fn body(request: &ModelRequest) -> Value {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    put("model", json!(request.model));
    put("max_tokens", json!(request.max_output));
    put("stream", json!(true));
    let system: Vec<&str> = request
        .messages
        .iter()
        .filter_map(|message| match message {
            Message::System(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    if !system.is_empty() {
        // The stable part of a prompt: the server keeps it for the next call.
        let kept =
            json!({ "type": "text", "text": system.join("\n\n"), "cache_control": { "type": "ephemeral" } });
        put("system", json!([kept]));
    }
    put("messages", json!(messages(request)));
    let mut tools: Vec<Value> = request
        .tools
        .iter()
        .map(
            |tool| json!({ "name": tool.name, "description": tool.description, "input_schema": tool.schema }),
        )
        .collect();
    if let Some(schema) = &request.schema {
        tools = vec![
            json!({ "name": schema.name, "description": "Give the answer.", "input_schema": schema.schema }),
        ];
        put("tool_choice", json!({ "type": "tool", "name": schema.name }));
    } else if !tools.is_empty() {
        put(
            "tool_choice",
            match &request.tool_choice {
                ToolChoice::Auto => json!({ "type": "auto" }),
                ToolChoice::None => json!({ "type": "none" }),
                ToolChoice::Required => json!({ "type": "any" }),
                ToolChoice::Named(name) => json!({ "type": "tool", "name": name }),
            },
        );
    }
    if !tools.is_empty() {
        put("tools", json!(tools));
    }
    let sampling = &request.sampling;
    sampling.temperature.into_iter().for_each(|value| put("temperature", json!(value.min(1.0))));
    sampling.top_p.into_iter().for_each(|value| put("top_p", json!(value)));
    if !sampling.stop.is_empty() {
        put("stop_sequences", json!(sampling.stop));
    }
    Value::Object(body)
}

impl ModelProvider for Anthropic {
    fn call<'a>(
        &'a self,
        request: &'a ModelRequest,
        limits: &'a CallLimits,
        sink: &'a mut dyn DeltaSink,
    ) -> Pending<'a, ModelReply> {
        Box::pin(async move {
            let mut body = self.0.ask("/messages", self.headers(), &body(request), request, limits).await?;
            let mut got = Gathered::default();
            let read = self.read(&mut body, &mut got, request, sink).await;
            let mut reply = self.0.settled(read, got, request)?;
            if let Some(schema) = &request.schema
                && let Some(at) = reply.calls.iter().position(|call| call.name == schema.name)
            {
                reply.text = reply.calls.remove(at).arguments;
            }
            Ok(reply)
        })
    }

    fn list(&self) -> Pending<'_, Vec<String>> {
        Box::pin(async move {
            let list = self.0.get("/models", self.headers()).await?;
            Ok(super::endpoint::names(&list, "data", "id"))
        })
    }
}
