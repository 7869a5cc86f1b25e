//! Schemas of a document as JSON Schema that stands by itself: references written out, words of OpenAPI 3.0 put into those of JSON Schema.
//!
//! A schema that refers to itself is written out once; inside of itself anything fits there, and the server decides.

use serde_json::{Map, Value, json};

use super::reference::target;
use crate::limits::{API_SCHEMA_NODES_MAX, JSON_DEPTH_MAX};

/// Words that describe for people, or name things outside of the schema.
const LEFT_OUT: &[&str] = &[
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$schema",
    "$vocabulary",
    "definitions",
    "deprecated",
    "discriminator",
    "example",
    "examples",
    "externalDocs",
    "readOnly",
    "writeOnly",
    "xml",
];
/// Words whose value is a schema.
const ONE: &[&str] = &[
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Words whose value is a list of schemas.
const LIST: &[&str] = &["allOf", "anyOf", "oneOf", "prefixItems"];
/// Words whose value is schemas by name.
const NAMED: &[&str] = &["dependentSchemas", "patternProperties", "properties"];

/// Writes one schema out.
pub(super) fn expanded(document: &Value, schema: &Value) -> Result<Value, String> {
    Expansion { document, nodes: 0, under_way: Vec::new() }.schema(schema, 0)
}

struct Expansion<'d> {
    document: &'d Value,
    nodes: usize,
    /// References that are being written out.
    under_way: Vec<&'d str>,
}

impl<'d> Expansion<'d> {
    fn schema(&mut self, schema: &'d Value, depth: usize) -> Result<Value, String> {
        self.nodes += 1;
        if self.nodes > API_SCHEMA_NODES_MAX || depth > JSON_DEPTH_MAX / 2 {
            return Err(format!(
                "its schema, references written out, has more than {API_SCHEMA_NODES_MAX} parts or {} levels",
                JSON_DEPTH_MAX / 2
            ));
        }
        let Value::Object(entries) = schema else {
            return match schema {
                Value::Bool(_) => Ok(schema.clone()),
                _ => Err("a schema is neither an object nor a boolean".to_owned()),
            };
        };
        let mut out = Map::new();
        for (word, value) in entries {
            if word == "$ref"
                || word == "nullable"
                || LEFT_OUT.contains(&word.as_str())
                || word.starts_with("x-")
            {
                continue;
            }
            let value = if ONE.contains(&word.as_str()) {
                self.schema(value, depth + 1)?
            } else if LIST.contains(&word.as_str()) {
                let items = value.as_array().ok_or_else(|| format!("`{word}` is no list"))?;
                Value::Array(items.iter().map(|item| self.schema(item, depth + 1)).collect::<Result<_, _>>()?)
            } else if NAMED.contains(&word.as_str()) {
                let named = value.as_object().ok_or_else(|| format!("`{word}` is no object"))?;
                let named =
                    named.iter().map(|(name, item)| Ok((name.clone(), self.schema(item, depth + 1)?)));
                Value::Object(named.collect::<Result<_, String>>()?)
            } else {
                value.clone()
            };
            out.insert(word.clone(), value);
        }
        of_3_0(&mut out, entries);
        match entries.get("$ref") {
            Some(reference) => self.referred(reference, out, depth),
            None => Ok(Value::Object(out)),
        }
    }

    /// What a reference names, with what stands beside it.
    fn referred(
        &mut self,
        reference: &'d Value,
        beside: Map<String, Value>,
        depth: usize,
    ) -> Result<Value, String> {
        let found = target(self.document, reference)?;
        let name = reference.as_str().unwrap_or_default();
        if self.under_way.contains(&name) {
            return Ok(Value::Object(beside));
        }
        self.under_way.push(name);
        let inner = self.schema(found, depth + 1);
        self.under_way.pop();
        let inner = inner?;
        // Words for people do not change what fits.
        let says_nothing =
            beside.keys().all(|word| ["description", "title", "default"].contains(&word.as_str()));
        match inner {
            Value::Object(mut inner) if says_nothing => {
                inner.extend(beside);
                Ok(Value::Object(inner))
            }
            inner if beside.is_empty() => Ok(inner),
            inner => {
                let mut out = beside;
                let mut all = match out.remove("allOf") {
                    Some(Value::Array(all)) => all,
                    _ => Vec::new(),
                };
                all.push(inner);
                out.insert("allOf".to_owned(), Value::Array(all));
                Ok(Value::Object(out))
            }
        }
    }
}

/// `nullable` and boolean exclusive bounds, which JSON Schema says otherwise.
fn of_3_0(out: &mut Map<String, Value>, entries: &Map<String, Value>) {
    for (bound, exclusive) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")] {
        match out.get(exclusive) {
            Some(Value::Bool(true)) => {
                let value = out.remove(bound);
                out.remove(exclusive);
                out.extend(value.map(|value| (exclusive.to_owned(), value)));
            }
            Some(Value::Bool(false)) => {
                out.remove(exclusive);
            }
            _ => {}
        }
    }
    if entries.get("nullable") == Some(&Value::Bool(true)) {
        if let Some(Value::String(kind)) = out.get("type") {
            let both = json!([kind, "null"]);
            out.insert("type".to_owned(), both);
        }
        if let Some(Value::Array(values)) = out.get_mut("enum")
            && !values.contains(&Value::Null)
        {
            values.push(Value::Null);
        }
    }
}
