//! How a model is brought to call tools: in its own words, or held to a schema. Pure.
//!
//! Small models print calls as text, ignore that one is wanted, or invent tools; the same models keep to a schema that the server enforces. So a
//! call has two spellings here, and what is above knows neither: [`Dialect::prepare`] makes of a request what is sent, [`Dialect::interpret`]
//! makes of the answer a reply with calls.
//!
//! The arguments are under `with`, not `arguments`: servers write the properties of an object in the schema's order, which is that of the
//! alphabet here, and a model must say which tool before it says with what.
//!
//! Invariant: a call that comes out of here names a tool that was offered, except in [`Dialect::Native`], where the model's word stands as it came
//! and the caller tells the model what is wrong.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::provider::{
    Message, ModelError, ModelErrorClass, ModelReply, ModelRequest, ReplySchema, Stop, ToolCall, ToolChoice,
    ToolOffer,
};

/// A way to call tools.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// As the server's interface has it.
    Native,
    /// The answer is JSON held to a schema: `{"tool", "with"}` or `{"final"}`.
    Schema,
    /// As [`Native`](Self::Native), and calls that the model prints as text are taken up.
    Text,
}

impl Dialect {
    /// The word in configuration, journal and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Schema => "schema",
            Self::Text => "text",
        }
    }

    /// From its word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Native, Self::Schema, Self::Text].into_iter().find(|dialect| dialect.as_str() == word)
    }

    /// What is sent for a request.
    pub fn prepare(self, request: &ModelRequest) -> Cow<'_, ModelRequest> {
        match self {
            Self::Schema if !request.tools.is_empty() => Cow::Owned(held_to_a_schema(request)),
            _ => Cow::Borrowed(request),
        }
    }

    /// What an answer to [`prepare`](Self::prepare) of this request means. Class `model_invalid` when it means nothing.
    pub fn interpret(self, request: &ModelRequest, reply: ModelReply) -> Result<ModelReply, ModelError> {
        match self {
            Self::Schema if !request.tools.is_empty() => read_answer(request, reply),
            Self::Text if reply.calls.is_empty() && request.tool_choice != ToolChoice::None => {
                Ok(salvage(request, reply))
            }
            _ => Ok(reply),
        }
    }
}

/// The tools that may be called at all.
fn offered(request: &ModelRequest) -> impl Iterator<Item = &ToolOffer> {
    request.tools.iter().filter(|tool| match &request.tool_choice {
        ToolChoice::None => false,
        ToolChoice::Named(name) => tool.name == *name,
        ToolChoice::Auto | ToolChoice::Required => true,
    })
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn held_to_a_schema(request: &ModelRequest) -> ModelRequest {
    let mut ways: Vec<Value> = offered(request)
        .map(|tool| object(json!({ "tool": { "const": tool.name }, "with": tool.schema }), &["tool", "with"]))
        .collect();
    if matches!(request.tool_choice, ToolChoice::Auto | ToolChoice::None) || ways.is_empty() {
        let answer = request
            .schema
            .as_ref()
            .map_or_else(|| json!({ "type": "string" }), |schema| schema.schema.clone());
        ways.push(object(json!({ "final": answer }), &["final"]));
    }
    let schema = match &mut ways[..] {
        [only] => only.take(),
        _ => json!({ "anyOf": ways }),
    };
    let mut said = request.clone();
    said.tools.clear();
    said.tool_choice = ToolChoice::None;
    said.schema = Some(ReplySchema { name: "next".to_owned(), schema });
    said.messages = request.messages.iter().map(as_text).collect();
    let at = usize::from(matches!(said.messages.first(), Some(Message::System(_))));
    said.messages.insert(at, Message::System(explained(request)));
    said
}

/// What the model must know to answer in JSON. The same for the same tools, so that a prompt's beginning stays the same.
fn explained(request: &ModelRequest) -> String {
    let mut text = String::from(
        "Answer with one JSON object and nothing else. To use a tool: {\"tool\": its name, \"with\": {its arguments}}. \
         To answer: {\"final\": your answer}. Use a tool whenever it can find out or do what is asked; answer once you know.\nTools:\n",
    );
    for tool in &request.tools {
        text.push_str(&format!("- {}: {} Arguments: {}\n", tool.name, tool.description, tool.schema));
    }
    text
}

/// A message of before in the words of this dialect.
fn as_text(message: &Message) -> Message {
    match message {
        Message::Assistant { text, calls } if !calls.is_empty() => {
            // One call at a time is what the schema lets through; more come from another dialect.
            let calls = calls.iter().map(|call| {
                let arguments: Value =
                    serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!(call.arguments));
                json!({ "tool": call.name, "with": arguments }).to_string()
            });
            let lines: Vec<String> =
                Some(text.clone()).filter(|text| !text.is_empty()).into_iter().chain(calls).collect();
            Message::Assistant { text: lines.join("\n"), calls: Vec::new() }
        }
        Message::Tool { name, text, is_error, .. } => {
            let what = if *is_error { "Error of" } else { "Result of" };
            Message::User(format!("{what} {name}: {text}"))
        }
        other => other.clone(),
    }
}

fn read_answer(request: &ModelRequest, mut reply: ModelReply) -> Result<ModelReply, ModelError> {
    let wrong = |why: String| {
        let mut error = ModelError::invalid(why);
        error.usage = Some(reply.usage);
        error
    };
    let mut answer: Map<String, Value> = match serde_json::from_str(reply.text.trim()) {
        Ok(Value::Object(answer)) => answer,
        _ if reply.stop == Stop::MaxOutput => {
            return Err(wrong(format!("the answer was not done within {} tokens", request.max_output)));
        }
        _ => return Err(wrong("the answer is not the JSON object that was asked for".to_owned())),
    };
    if let Some(last) = answer.remove("final") {
        reply.text = match last {
            Value::String(text) if request.schema.is_none() => text,
            other => other.to_string(),
        };
        return Ok(reply);
    }
    let name = answer.get("tool").and_then(Value::as_str).map(str::to_owned);
    let Some(name) = name.filter(|name| offered(request).any(|tool| tool.name == *name)) else {
        return Err(wrong("the answer names no tool that was offered".to_owned()));
    };
    let arguments = answer.remove("with").unwrap_or_else(|| json!({})).to_string();
    reply.calls = vec![ToolCall { id: "call_1".to_owned(), name, arguments }];
    reply.text.clear();
    Ok(reply)
}

/// Takes up calls that stand in the text: between `<tool_call>` tags, in a fenced block, or as the whole text. Only those of offered tools.
fn salvage(request: &ModelRequest, mut reply: ModelReply) -> ModelReply {
    let text = reply.text.trim();
    let mut found = Vec::new();
    for (open, close) in [("<tool_call>", "</tool_call>"), ("```json", "```"), ("```", "```")] {
        let mut rest = text;
        while let Some((_, after)) = rest.split_once(open) {
            let (inside, after) = after.split_once(close).unwrap_or((after, ""));
            found.extend(printed(request, inside));
            rest = after;
        }
        if !found.is_empty() {
            break;
        }
    }
    if found.is_empty() {
        found.extend(printed(request, text));
    }
    if found.is_empty() {
        return reply;
    }
    for (number, call) in found.iter_mut().enumerate() {
        call.id = format!("call_{}", number + 1);
    }
    reply.calls = found;
    reply.text.clear();
    reply
}

/// A call as models print it: `{"name", "arguments"}`, or with `parameters`.
fn printed(request: &ModelRequest, text: &str) -> Option<ToolCall> {
    let value: Value = serde_json::from_str(text.trim()).ok()?;
    let name = value["name"].as_str().or(value["tool"].as_str())?;
    let tool = offered(request).find(|tool| tool.name == name)?;
    let arguments = value.get("arguments").or(value.get("parameters")).cloned().unwrap_or_else(|| json!({}));
    let arguments = match arguments {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Some(ToolCall { id: String::new(), name: tool.name.clone(), arguments })
}

impl ModelError {
    /// What came means nothing.
    fn invalid(message: String) -> Self {
        Self { class: ModelErrorClass::Invalid, message, after: None, usage: None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::provider::Usage;
    use super::*;

    fn request(choice: ToolChoice) -> ModelRequest {
        let tool = |name: &str| ToolOffer {
            name: name.into(),
            description: "d.".into(),
            schema: object(json!({ "room": { "enum": ["kitchen", "cellar"] } }), &["room"]),
        };
        let mut request = ModelRequest::new("m", "How warm is the kitchen?", 64);
        request.tools = vec![tool("get_light"), tool("get_temp")];
        request.tool_choice = choice;
        request
    }

    fn reply(text: &str) -> ModelReply {
        ModelReply {
            text: text.into(),
            calls: Vec::new(),
            stop: Stop::End,
            usage: Usage::default(),
            model: "m".into(),
        }
    }

    /// Name and arguments of each call, or the text.
    fn meant(
        dialect: Dialect,
        choice: ToolChoice,
        text: &str,
    ) -> Result<(Vec<(String, String)>, String), String> {
        let reply = dialect.interpret(&request(choice), reply(text)).map_err(|error| error.message)?;
        Ok((reply.calls.into_iter().map(|call| (call.name, call.arguments)).collect(), reply.text))
    }

    #[test]
    fn the_schema_lets_through_just_what_may_be_said() {
        for (choice, ways) in [
            (ToolChoice::Auto, vec!["get_light", "get_temp", "final"]),
            (ToolChoice::Required, vec!["get_light", "get_temp"]),
            (ToolChoice::Named("get_temp".into()), vec!["get_temp"]),
            (ToolChoice::None, vec!["final"]),
            // Whoever asks for a tool that there is not gets an answer all the same.
            (ToolChoice::Named("gone".into()), vec!["final"]),
        ] {
            let request = request(choice.clone());
            let sent = Dialect::Schema.prepare(&request);
            let schema = &sent.schema.as_ref().unwrap().schema;
            let way =
                |schema: &Value| schema["properties"]["tool"]["const"].as_str().unwrap_or("final").to_owned();
            let found: Vec<String> = match schema["anyOf"].as_array() {
                Some(all) => all.iter().map(way).collect(),
                None => vec![way(schema)],
            };
            assert_eq!(found, ways, "{choice:?}");
            assert!(sent.tools.is_empty());
            let check = jsonschema::validator_for(schema).unwrap();
            let call = json!({ "tool": "get_temp", "with": { "room": "kitchen" } });
            assert_eq!(check.is_valid(&call), ways.contains(&"get_temp"), "{choice:?}");
            assert!(!check.is_valid(&json!({ "tool": "rm", "with": {} })));
            assert!(!check.is_valid(&json!({ "tool": "get_temp", "with": { "room": "garden" } })));
        }
    }

    #[test]
    fn answers_of_the_schema_are_calls_or_text() {
        let call =
            |name: &str, arguments: &str| Ok((vec![(name.to_owned(), arguments.to_owned())], String::new()));
        let said = |text: &str| Ok((Vec::new(), text.to_owned()));
        let check = |text: &str| meant(Dialect::Schema, ToolChoice::Auto, text);
        assert_eq!(
            check(r#"{"tool":"get_temp","with":{"room":"kitchen"}}"#),
            call("get_temp", r#"{"room":"kitchen"}"#)
        );
        assert_eq!(check(" {\"final\": \"21 degrees\"}\n"), said("21 degrees"));
        assert_eq!(check(r#"{"final": 21}"#), said("21"));
        for wrong in [
            "",
            "21 degrees",
            "[1]",
            r#"{"tool":"rm","with":{}}"#,
            r#"{"tool":5}"#,
            "{}",
            r#"{"tool":"get_temp","wi"#,
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        let mut request = request(ToolChoice::Auto);
        request.schema = Some(ReplySchema { name: "n".into(), schema: json!({ "type": "object" }) });
        let got = Dialect::Schema.interpret(&request, reply(r#"{"final": {"degrees": 21}}"#)).unwrap();
        assert_eq!(got.text, r#"{"degrees":21}"#);
        let unfinished = ModelReply { stop: Stop::MaxOutput, ..reply(r#"{"final": "and so"#) };
        let error = Dialect::Schema.interpret(&request, unfinished).expect_err("unfinished");
        assert!(error.message.contains("64 tokens") && error.is_possibly_billed(), "{error}");
    }

    #[test]
    fn what_was_said_before_is_told_in_the_words_of_the_dialect() {
        let mut request = request(ToolChoice::Auto);
        request.messages.insert(0, Message::System("Be brief.".into()));
        let call =
            ToolCall { id: "1".into(), name: "get_temp".into(), arguments: r#"{"room":"kitchen"}"#.into() };
        request.messages.push(Message::Assistant { text: String::new(), calls: vec![call] });
        request.messages.push(Message::Tool {
            call: "1".into(),
            name: "get_temp".into(),
            text: "21".into(),
            is_error: false,
        });
        let sent = Dialect::Schema.prepare(&request);
        let [
            Message::System(first),
            Message::System(tools),
            Message::User(_),
            Message::Assistant { text, calls },
            Message::User(result),
        ] = &sent.messages[..]
        else {
            panic!("{:?}", sent.messages)
        };
        assert_eq!(first, "Be brief.");
        assert!(tools.contains("get_light: d.") && tools.contains("get_temp: d."), "{tools}");
        assert_eq!((text.as_str(), calls.len()), (r#"{"tool":"get_temp","with":{"room":"kitchen"}}"#, 0));
        assert_eq!(result, "Result of get_temp: 21");
    }

    #[test]
    fn printed_calls_are_taken_up_where_the_dialect_says_so() {
        let call = |count: usize| vec![("get_temp".to_owned(), r#"{"room":"kitchen"}"#.to_owned()); count];
        let one = r#"{"name": "get_temp", "arguments": {"room": "kitchen"}}"#;
        for (text, count) in [
            (one.to_owned(), 1),
            (format!("<tool_call>\n{one}\n</tool_call>"), 1),
            (format!("I will look.\n<tool_call>{one}</tool_call>\n<tool_call>{one}</tool_call>"), 2),
            (format!("<tool_call>{one}"), 1),
            (format!("```json\n{one}\n```"), 1),
            (format!("```\n{one}\n```"), 1),
            (one.replace("arguments", "parameters"), 1),
            (r#"{"name": "get_temp", "arguments": "{\"room\":\"kitchen\"}"}"#.to_owned(), 1),
        ] {
            assert_eq!(
                meant(Dialect::Text, ToolChoice::Auto, &text),
                Ok((call(count), String::new())),
                "{text}"
            );
            // In its own words a model has said what it has said.
            assert_eq!(meant(Dialect::Native, ToolChoice::Auto, &text), Ok((Vec::new(), text.clone())));
            assert_eq!(meant(Dialect::Text, ToolChoice::None, &text), Ok((Vec::new(), text.clone())));
        }
        for text in [
            r#"{"name": "rm", "arguments": {}}"#,
            "21 degrees",
            "{}",
            "<tool_call>nonsense</tool_call>",
            "```json\n[1]\n```",
        ] {
            assert_eq!(
                meant(Dialect::Text, ToolChoice::Auto, text),
                Ok((Vec::new(), text.to_owned())),
                "{text}"
            );
        }
    }
}
