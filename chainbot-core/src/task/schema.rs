//! The JSON Schema of an agent's definition, for editors and people: of the type that reads it.

use serde_json::{Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::spec::AgentSpec;

/// JSON Schema 2020-12.
pub fn schema() -> Value {
    let mut parts = Vec::new();
    AgentSpec::schemas(&mut parts);
    // Parts of a description are plain data, so nothing of them can fail.
    let mut schema = serde_json::to_value(AgentSpec::schema()).unwrap_or_default();
    let defs =
        parts.iter().map(|(name, part)| (name.clone(), serde_json::to_value(part).unwrap_or_default()));
    let defs: serde_json::Map<String, Value> = defs.collect();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Agent");
    schema["$defs"] = Value::Object(defs);
    pointed_inside(&mut schema);
    schema
}

/// What refers to components of an API's description refers to definitions of this schema.
fn pointed_inside(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            for (key, inner) in entries {
                match (key.as_str(), &*inner) {
                    ("$ref", Value::String(at)) => {
                        *inner = json!(at.replace("#/components/schemas/", "#/$defs/"));
                    }
                    _ => pointed_inside(inner),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(pointed_inside),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_what_the_reader_takes() {
        let schema = jsonschema::validator_for(&schema()).unwrap();
        let good = json!({ "name": "butler", "type": "assistant", "tools": { "http": { "hosts": ["a.example"] } },
            "budget": { "tokens": 10, "per": "day" }, "memory": { "blocks": { "user": "x" } }, "after_result": "withdraw" });
        assert!(schema.is_valid(&good) && AgentSpec::read(good.clone()).is_ok());
        for (key, value) in [
            ("instruction", json!("x")),
            ("type", json!("robot")),
            ("budget", json!({ "token": 1 })),
            ("name", json!(7)),
        ] {
            let mut bad = good.clone();
            bad[key] = value;
            assert!(!schema.is_valid(&bad) && AgentSpec::read(bad.clone()).is_err(), "{bad}");
        }
    }
}
