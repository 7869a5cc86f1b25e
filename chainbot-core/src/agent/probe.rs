//! Which dialect a model speaks, found out once by asking it: four fixed requests, each with one right call.
//!
//! Measured, for what a small model makes of them: with its own template 0 of 4 calls in its own words, with a schema 4 of 4.

use serde_json::{Value, json};

use super::dialect::Dialect;
use super::provider::{
    CallLimits, Message, ModelError, ModelProvider, ModelRequest, Sampling, ToolChoice, ToolOffer,
};

/// Right answers that make a dialect usable.
const RIGHT_MIN: u8 = 3;
/// Tokens of an answer; a call has some thirty.
const OUTPUT: u32 = 96;

/// What the probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Right calls of 4 in its own words, where it may call.
    pub native: u8,
    /// Right calls of 4 in its own words, where it must call.
    pub native_required: u8,
    /// How often it must call and did not at all: the server takes the wish and ignores it.
    pub required_ignored: u8,
    /// Right calls of 4 held to a schema.
    pub schema: u8,
    /// Whether the server counts tokens.
    pub counts_tokens: bool,
}

/// Requests that were asked, each way.
pub const ASKED: u8 = 4;

impl Probe {
    /// The dialect to use; `None` when the model cannot call tools.
    pub fn dialect(&self) -> Option<Dialect> {
        if self.native >= RIGHT_MIN {
            Some(Dialect::Native)
        } else if self.schema >= RIGHT_MIN {
            Some(Dialect::Schema)
        } else {
            None
        }
    }
}

/// Question, tool, and what its arguments must hold.
fn questions() -> [(&'static str, &'static str, Value); ASKED as usize] {
    [
        ("What is the temperature in the kitchen?", "get_temperature", json!({ "room": "kitchen" })),
        ("How warm is it in the cellar?", "get_temperature", json!({ "room": "cellar" })),
        ("Switch the light in the cellar on.", "set_light", json!({ "room": "cellar", "on": true })),
        ("Turn off the light in the kitchen.", "set_light", json!({ "room": "kitchen", "on": false })),
    ]
}

fn tools() -> Vec<ToolOffer> {
    let tool = |name: &str, description: &str, properties: Value, required: &[&str]| ToolOffer {
        name: name.to_owned(),
        description: description.to_owned(),
        schema: json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false }),
    };
    let room = json!({ "type": "string", "enum": ["kitchen", "cellar"] });
    vec![
        tool("get_temperature", "Reads the temperature of a room.", json!({ "room": room }), &["room"]),
        tool(
            "set_light",
            "Switches the light of a room on or off.",
            json!({ "room": room, "on": { "type": "boolean" } }),
            &["room", "on"],
        ),
    ]
}

/// Asks a model; twelve short calls. An error is one of the server: what the model says is never one.
pub async fn probe(
    provider: &dyn ModelProvider,
    model: &str,
    limits: &CallLimits,
) -> Result<Probe, ModelError> {
    let mut found =
        Probe { native: 0, native_required: 0, required_ignored: 0, schema: 0, counts_tokens: true };
    for (number, (question, name, arguments)) in questions().into_iter().enumerate() {
        for (dialect, choice) in [
            (Dialect::Native, ToolChoice::Auto),
            (Dialect::Native, ToolChoice::Required),
            (Dialect::Schema, ToolChoice::Required),
        ] {
            let mut request = ModelRequest::new(model, question, OUTPUT);
            request.messages.insert(0, Message::System("You control a house. Use the tools.".to_owned()));
            request.tools = tools();
            request.tool_choice = choice.clone();
            request.sampling = Sampling { temperature: Some(0.0), ..Sampling::default() };
            request.idempotency_key = format!("probe-{number}-{}-{choice:?}", dialect.as_str());
            let reply = provider.call(&dialect.prepare(&request), limits, &mut ()).await?;
            found.counts_tokens &= reply.usage.is_reported;
            // An answer that means nothing is a wrong one.
            let calls = dialect.interpret(&request, reply).map(|reply| reply.calls).unwrap_or_default();
            let is_right = matches!(&calls[..], [call] if call.name == name
                && serde_json::from_str::<Value>(&call.arguments).is_ok_and(|given| given == arguments));
            match (dialect, choice) {
                (Dialect::Schema, _) => found.schema += u8::from(is_right),
                (_, ToolChoice::Required) => {
                    found.native_required += u8::from(is_right);
                    found.required_ignored += u8::from(calls.is_empty());
                }
                _ => found.native += u8::from(is_right),
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::provider::Scripted;
    use super::*;

    /// A model that answers each of the twelve calls as told: in its own words, where it must, by the schema.
    fn model(native: bool, required: bool, schema: bool) -> Scripted {
        let turns: Vec<Value> = questions()
            .into_iter()
            .flat_map(|(_, name, arguments)| {
                let call = json!({ "calls": [{ "name": name, "arguments": arguments }], "input": 1, "output": 1 });
                let talk = json!({ "text": "I am a model.", "input": 1, "output": 1 });
                let held = json!({ "text": json!({ "tool": name, "with": arguments }).to_string(), "input": 1, "output": 1 });
                [if native { call.clone() } else { talk.clone() }, if required { call } else { talk.clone() }, if schema { held } else { talk }]
            })
            .collect();
        Scripted::new(&json!(turns)).unwrap()
    }

    #[tokio::test]
    async fn the_dialect_is_the_one_that_the_model_speaks() {
        for (native, required, schema, dialect) in [
            (true, true, true, Some(Dialect::Native)),
            (true, true, false, Some(Dialect::Native)),
            (false, false, true, Some(Dialect::Schema)),
            (false, true, true, Some(Dialect::Schema)),
            (false, false, false, None),
        ] {
            let model = model(native, required, schema);
            let found = probe(&model, "m", &CallLimits::default()).await.unwrap();
            let right = |is: bool| if is { ASKED } else { 0 };
            let expected = Probe {
                native: right(native),
                native_required: right(required),
                required_ignored: right(!required),
                schema: right(schema),
                counts_tokens: true,
            };
            assert_eq!((found.dialect(), &found), (dialect, &expected));
            assert_eq!(model.requests().len(), 12);
        }
    }

    #[tokio::test]
    async fn a_server_that_fails_is_no_finding_about_the_model() {
        let model = Scripted::new(&json!([{ "error": "auth" }])).unwrap();
        let error = probe(&model, "m", &CallLimits::default()).await.expect_err("auth");
        assert_eq!(error.code().id, "CB-1205");
    }
}
