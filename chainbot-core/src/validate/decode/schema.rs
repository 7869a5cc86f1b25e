//! JSON Schemas within a definition: of the inputs, of a reply, of a signal.
//!
//! References to other documents are never followed, and patterns are compiled by a linear-time engine within
//! a bound, so a schema can neither reach the network nor hold up the engine.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use super::{Decoder, Map};
use crate::error::code::definition as code;
use crate::limits::{SCHEMA_PATTERN_BYTES_MAX, SCHEMA_PATTERNS_MAX};
use crate::model::document::{Node, NodeValue};
use crate::validate::findings::{index_path, key_path, shown};

/// Characters of one misfit: the error repeats the value.
const MISFIT_CHARS: usize = 200;

/// Compiles a schema the way all of ChainBot does. The error says what is wrong and where (a JSON pointer).
pub fn compile(schema: &Value) -> Result<Validator, (String, String)> {
    if patterns(schema) > SCHEMA_PATTERNS_MAX {
        let message = format!("it has more than {SCHEMA_PATTERNS_MAX} patterns; share them with `$ref`");
        return Err((message, String::new()));
    }
    let patterns = PatternOptions::regex().size_limit(SCHEMA_PATTERN_BYTES_MAX);
    let options = jsonschema::options().offline().with_pattern_options(patterns);
    options.build(schema).map_err(|error| (error.to_string(), error.instance_path().to_string()))
}

/// Where a value does not fit, and how, for people and models; at most so many places.
pub fn misfits(validator: &Validator, value: &Value, most: usize) -> Vec<String> {
    let told = |error: jsonschema::ValidationError<'_>| {
        let why: String = error.to_string().chars().take(MISFIT_CHARS).collect();
        match error.instance_path().as_str() {
            "" => why,
            place => format!("at `{place}`: {why}"),
        }
    };
    validator.iter_errors(value).take(most).map(told).collect()
}

/// Patterns that a schema would compile, at most; a property called `pattern` may count as one.
fn patterns(schema: &Value) -> usize {
    match schema {
        Value::Array(items) => items.iter().map(patterns).sum(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| match (key.as_str(), value) {
                ("pattern", Value::String(_)) => 1,
                ("patternProperties", Value::Object(inner)) => inner.len() + patterns(value),
                _ => patterns(value),
            })
            .sum(),
        _ => 0,
    }
}

impl Decoder<'_> {
    /// A schema at a key.
    pub(super) fn schema(&mut self, map: &Map<'_>, key: &str) -> Option<Value> {
        let node = map.get(key)?;
        self.schema_of(node, &map.path_of(key)).then(|| node.to_json())
    }

    /// Reports a schema that does not compile; says whether it does.
    fn schema_of(&mut self, node: &Node, path: &str) -> bool {
        if !matches!(node.value, NodeValue::Map(_)) {
            let message = format!("a JSON Schema must be a map, this is {}", super::value::kind(node));
            self.error(&code::SCHEMA, node.pos, path, message, "write `{ type: object, ... }`".to_owned());
            return false;
        }
        let Err((message, pointer)) = compile(&node.to_json()) else { return true };
        let (at, path) = follow(node, path, &pointer);
        let message = format!("the JSON Schema is wrong: {}", shown(&message, 200));
        self.error(&code::SCHEMA, at.pos, &path, message, None);
        false
    }

    /// The schema of a workflow's inputs: it describes an object, and its defaults match it.
    pub(super) fn inputs(&mut self, node: &Node, path: &str) {
        if !self.schema_of(node, path) {
            if node.get("type").is_none() && node.get("properties").is_none() {
                self.inputs_hint(node, path);
            }
            return;
        }
        match node.get("type") {
            Some(kind) if kind.as_str() != Some("object") => {
                let message = "the inputs of a workflow are an object";
                let hint = "write `type: object`".to_owned();
                self.error(&code::SCHEMA, kind.pos, &key_path(path, "type"), message, hint);
            }
            None if node.get("properties").is_none() => self.inputs_hint(node, path),
            _ => {}
        }
        self.defaults(node, path, &node.to_json());
    }

    /// People list their inputs directly; the schema would then say nothing about them.
    fn inputs_hint(&mut self, node: &Node, path: &str) {
        const SCHEMA_WORDS: [&str; 7] =
            ["$ref", "allOf", "anyOf", "oneOf", "required", "additionalProperties", "$schema"];
        let NodeValue::Map(entries) = &node.value else { return };
        let lists_inputs = entries.iter().any(|(_, _, value)| matches!(value.value, NodeValue::Map(_)));
        if lists_inputs && !entries.iter().any(|(key, _, _)| SCHEMA_WORDS.contains(&key.as_str())) {
            let message = "`inputs` is a JSON Schema, and this one has no `properties`";
            let hint = "write `inputs: { type: object, properties: { ... } }`".to_owned();
            self.error(&code::SCHEMA, node.pos, path, message, hint);
        }
    }

    /// Checks every `default` below `properties` by validating the object that they make together. What is
    /// wrong with the object itself (a property without default is missing) is no fault of a default.
    fn defaults(&mut self, node: &Node, path: &str, schema: &Value) {
        let Some(instance) = defaults_of(node) else { return };
        let Ok(validator) = compile(schema) else { return };
        let mut told = Vec::new();
        for error in validator.iter_errors(&instance) {
            let Some((default, path)) = default_at(node, path, error.instance_path().as_str()) else {
                continue;
            };
            if self.findings.is_full() {
                return;
            }
            if !told.contains(&default.pos) {
                told.push(default.pos);
                let message =
                    format!("the default does not match its schema: {}", shown(&error.to_string(), 200));
                self.error(&code::SCHEMA_DEFAULT, default.pos, &path, message, None);
            }
        }
    }
}

/// The value that a schema's defaults make: its own, or an object of those of its properties.
fn defaults_of(node: &Node) -> Option<Value> {
    if let Some(default) = node.get("default") {
        return Some(default.to_json());
    }
    let NodeValue::Map(entries) = &node.get("properties")?.value else { return None };
    let filled: serde_json::Map<_, _> = entries
        .iter()
        .filter_map(|(name, _, property)| Some((name.clone(), defaults_of(property)?)))
        .collect();
    (!filled.is_empty()).then_some(Value::Object(filled))
}

/// The default that holds the value at a pointer into what [`defaults_of`] made.
fn default_at<'n>(node: &'n Node, path: &str, pointer: &str) -> Option<(&'n Node, String)> {
    let (mut at, mut path) = (node, path.to_owned());
    for token in pointer.split('/').skip(1) {
        if at.get("default").is_some() {
            break;
        }
        let token = unescaped(token);
        at = at.get("properties")?.get(&token)?;
        path = key_path(&key_path(&path, "properties"), &token);
    }
    Some((at.get("default")?, key_path(&path, "default")))
}

/// A part of a JSON pointer as the key that it names.
fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// The node at a JSON pointer, or the last one on the way, and its path.
fn follow<'n>(node: &'n Node, path: &str, pointer: &str) -> (&'n Node, String) {
    let (mut at, mut path) = (node, path.to_owned());
    for token in pointer.split('/').skip(1) {
        let token = unescaped(token);
        let (next, next_path) = match &at.value {
            NodeValue::List(items) => {
                match token.parse::<usize>().ok().and_then(|i| Some((i, items.get(i)?))) {
                    Some((i, item)) => (item, index_path(&path, i)),
                    None => break,
                }
            }
            _ => match at.get(&token) {
                Some(value) => (value, key_path(&path, &token)),
                None => break,
            },
        };
        (at, path) = (next, next_path);
    }
    (at, path)
}
