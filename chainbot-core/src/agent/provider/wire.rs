//! What two kinds of servers spell alike. Pure.

use serde_json::{Map, Value, json};

use super::{Sampling, ToolOffer};

/// A tool as a function with its schema.
pub(super) fn function(tool: &ToolOffer) -> Value {
    let function = json!({ "name": tool.name, "description": tool.description, "parameters": tool.schema });
    json!({ "type": "function", "function": function })
}

/// The arguments of a call as raw text; some servers send the object that the text would be.
pub(super) fn arguments(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Adds what is set; what is not stays the server's own default.
pub(super) fn sampling(sampling: &Sampling, into: &mut Map<String, Value>) {
    let Sampling { temperature, top_p, seed, stop } = sampling;
    let stop = (!stop.is_empty()).then(|| json!(stop));
    let values = [
        ("temperature", temperature.map(|value| json!(value))),
        ("top_p", top_p.map(|value| json!(value))),
        ("seed", seed.map(|value| json!(value))),
        ("stop", stop),
    ];
    into.extend(values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
}
