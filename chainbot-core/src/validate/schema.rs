//! The JSON Schema of a definition, made of the tables of keys, for editors and for programs that write definitions.
//!
//! It says what can be said of one value at a time: keys, types, words and ranges. References, expressions and what
//! goes together are the validator's. Invariant: what the validator accepts, the schema accepts.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::keys::{self, DEFINITION, Key, STEP, STEP_TYPES, Shape, Standing, TRANSFORM_TYPES, Table};

/// A name that is used in the schema's own address; the document is not fetched from there.
const ID: &str = "urn:chainbot:schema:workflow";

/// A number of seconds, or amounts with units.
const DURATION: &str = r"^\s*(\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|([0-9]+(d|h|ms|m|s))+)\s*$";

/// The schema of a definition (JSON Schema 2020-12).
pub fn schema() -> Value {
    let mut maker = Maker::default();
    let mut root = Map::new();
    root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("$id".to_owned(), json!(ID));
    root.insert("title".to_owned(), json!("ChainBot workflow"));
    root.insert(
        "description".to_owned(),
        json!("A workflow definition. `chainbot validate` checks more than this."),
    );
    root.extend(maker.object(&DEFINITION));
    maker.step();
    root.insert("$defs".to_owned(), Value::Object(maker.defs.into_iter().collect()));
    Value::Object(root)
}

/// The same as text, as it is committed, served and printed.
pub fn schema_text() -> String {
    format!("{:#}\n", schema())
}

#[derive(Default)]
struct Maker {
    /// By name; a table is entered before its keys are, so that tables may hold each other.
    defs: BTreeMap<String, Value>,
}

impl Maker {
    /// An object with exactly the keys of a table.
    fn object(&mut self, table: &'static Table) -> Map<String, Value> {
        let taken = |key: &&Key| matches!(key.standing, Standing::Required | Standing::Optional);
        let properties: Map<String, Value> = table
            .keys
            .iter()
            .filter(taken)
            .map(|key| {
                let mut schema = self.value(table, key);
                schema["description"] = json!(key.doc);
                (key.name.to_owned(), schema)
            })
            .collect();
        let required: Vec<&str> =
            table.keys.iter().filter(|key| key.standing == Standing::Required).map(|key| key.name).collect();
        let mut object = Map::new();
        object.insert("type".to_owned(), json!("object"));
        object.insert("properties".to_owned(), Value::Object(properties));
        if !required.is_empty() {
            object.insert("required".to_owned(), json!(required));
        }
        object.insert("additionalProperties".to_owned(), json!(false));
        object
    }

    /// A reference to the schema of a table.
    fn reference(&mut self, table: &'static Table) -> Value {
        let name = slug(table.what);
        if !self.defs.contains_key(&name) {
            self.defs.insert(name.clone(), Value::Null);
            let object = Value::Object(self.object(table));
            self.defs.insert(name.clone(), object);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    fn value(&mut self, table: &'static Table, key: &Key) -> Value {
        let steps = || json!({ "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/step" } });
        match key.shape {
            Shape::Literal => json!({ "type": "string" }),
            Shape::Name => name(table, key.name),
            Shape::Text if std::ptr::eq(table, &keys::WAIT) => match key.name {
                "duration" => json!({ "type": ["string", "number"] }),
                "event" => json!({ "anyOf": [{ "type": "string" }, self.reference(&keys::WAIT_EVENT)] }),
                "signal" => json!({ "anyOf": [{ "type": "string" }, self.reference(&keys::SIGNAL)] }),
                _ => json!({ "type": "string" }),
            },
            Shape::Text => json!({ "type": "string" }),
            Shape::Template | Shape::Config => json!({}),
            Shape::TemplateMap => json!({ "type": ["object", "string"] }),
            Shape::Expr => expression(),
            Shape::ExprMap => json!({ "type": "object", "additionalProperties": expression() }),
            Shape::Items => json!({ "type": ["array", "object", "string", "number"] }),
            Shape::Choice(words) => json!({ "enum": words }),
            Shape::Choices(words) => json!({ "type": "array", "items": { "enum": words } }),
            Shape::Number(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
            Shape::Flag => json!({ "type": "boolean" }),
            Shape::FlagOr(inner) => json!({ "anyOf": [{ "type": "boolean" }, self.reference(inner)] }),
            Shape::Duration => json!({
                "anyOf": [
                    { "type": "number", "exclusiveMinimum": 0 },
                    { "type": "string", "pattern": DURATION },
                ],
            }),
            Shape::Names => json!({ "type": "array", "items": { "type": "string" } }),
            Shape::Secrets => {
                json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
            }
            Shape::Statuses => {
                let status = json!({ "type": ["integer", "string"] });
                json!({ "anyOf": [status, { "type": "array", "items": status }] })
            }
            Shape::Steps => steps(),
            Shape::StepsMap => {
                json!({ "type": "object", "minProperties": 1, "additionalProperties": steps() })
            }
            Shape::Schema => json!({ "type": "object" }),
            Shape::Object(inner) => self.reference(inner),
            Shape::Objects(inner) => {
                let item = json!({ "anyOf": [{ "type": "string" }, self.reference(inner)] });
                json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": item }] })
            }
            Shape::Step => json!({ "$ref": "#/$defs/step" }),
            Shape::Triggers => json!({ "type": "array", "items": self.reference(&keys::TRIGGER) }),
            Shape::Pin => json!({ "type": ["integer", "string"] }),
        }
    }

    /// A step: what all have in common, and `config` by its type.
    fn step(&mut self) {
        self.defs.insert("step".to_owned(), Value::Null);
        let mut step = self.object(&STEP);
        let types: Vec<&str> = STEP_TYPES.iter().map(|(name, _)| *name).collect();
        step["properties"]["type"]["enum"] = json!(types);
        let mut by_type = Vec::new();
        for (name, table) in STEP_TYPES {
            let config = if *name == "transform" { self.transform() } else { self.reference(table) };
            by_type
                .push(when_type(name, json!({ "properties": { "config": config }, "required": ["config"] })));
        }
        step.insert("allOf".to_owned(), Value::Array(by_type));
        self.defs.insert("step".to_owned(), Value::Object(step));
    }

    /// The `config` of a transform, by its own type.
    fn transform(&mut self) -> Value {
        let types: Vec<&str> = TRANSFORM_TYPES.iter().map(|(name, _)| *name).collect();
        let mut by_type = Vec::new();
        for (name, table) in TRANSFORM_TYPES {
            let reference = self.reference(table);
            by_type.push(when_type(name, reference));
        }
        let transform = json!({
            "type": "object",
            "properties": { "type": { "enum": types } },
            "required": ["type"],
            "allOf": by_type,
        });
        self.defs.insert("transform".to_owned(), transform);
        json!({ "$ref": "#/$defs/transform" })
    }
}

/// A bare expression, or a literal that is its own.
fn expression() -> Value {
    json!({ "type": ["string", "number", "boolean", "null"] })
}

fn when_type(name: &str, then: Value) -> Value {
    json!({ "if": { "properties": { "type": { "const": name } }, "required": ["type"] }, "then": then })
}

/// Names by the rule of each key; the type of a step or transform is listed where it stands.
fn name(table: &'static Table, key: &str) -> Value {
    let pattern = match key {
        "type" => return json!({ "type": "string" }),
        "name" if std::ptr::eq(table, &DEFINITION) => "^[a-z0-9][a-z0-9_-]{0,62}$",
        // As `is_tool_name` has it, but for the words that are taken.
        "name" if std::ptr::eq(table, &keys::PUBLISH_MCP) => "^[A-Za-z][A-Za-z0-9_-]{0,63}$",
        "webhook" | "workflow" if std::ptr::eq(table, &keys::TRIGGER) => "^[a-z0-9][a-z0-9_-]{0,62}$",
        "id" => "^[a-z][a-z0-9_]{0,62}$",
        _ => "^[A-Za-z_][A-Za-z0-9_]{0,62}$",
    };
    json!({ "type": "string", "pattern": pattern })
}

/// The name of a table in the schema: "`config` of `emit`" is `config_of_emit`.
fn slug(what: &str) -> String {
    let words = what.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}
