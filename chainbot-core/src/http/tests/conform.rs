//! Whether a reply is one that the document tells of: its status, its type, its headers, and exactly its fields. Every reply
//! that a test of this folder reads is held against it, so what the tests see is what the document says.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, Method};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::http::Routes;

/// The document, and validators of its answers as they are needed.
pub struct Document {
    pub value: Value,
    closed: Value,
    // A plain lock: tests of one process share the validators, and making one takes a moment.
    validators: Mutex<HashMap<String, Arc<jsonschema::Validator>>>,
}

/// The document of the routes as they are.
pub fn document() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let value: Value = serde_json::from_str(&Routes::new().unwrap().openapi).unwrap();
        let closed = closed(&value);
        Document { value, closed, validators: Mutex::default() }
    })
}

impl Document {
    /// Every operation: method, path, and what it is.
    pub fn operations(&self) -> impl Iterator<Item = (Method, &str, &Value)> {
        self.value["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, operation)| {
                (method.to_uppercase().parse().unwrap(), path.as_str(), operation)
            })
        })
    }

    /// Follows a reference.
    pub fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str().and_then(|text| text.strip_prefix('#')) {
            Some(pointer) => self.value.pointer(pointer).unwrap(),
            None => value,
        }
    }

    /// The operation of a request: a fixed name wins over a parameter.
    fn find(&self, method: &Method, path: &str) -> Option<(String, &Value)> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let matches = |pattern: &str| {
            let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
            loop {
                match (wanted.next(), given.next()) {
                    (None, None) => return true,
                    (Some(wanted), Some(given)) if wanted == given => {}
                    (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
                    _ => return false,
                }
            }
        };
        let mut found: Vec<_> = self
            .operations()
            .filter(|(one, pattern, _)| one == method && matches(pattern))
            .map(|(_, pattern, operation)| (pattern.to_owned(), operation))
            .collect();
        found.sort_by_key(|(pattern, _)| pattern.matches('{').count());
        found.into_iter().next()
    }

    /// Holds a reply against the document. What no route answers is not in it.
    pub fn check(&self, method: &Method, path: &str, status: u16, headers: &HeaderMap, body: &str) {
        let Some((pattern, operation)) = self.find(method, path) else { return };
        let line = format!("{method} {pattern}: {status}");
        let responses = &operation["responses"];
        let response = match responses.get(status.to_string()) {
            Some(response) => response,
            None if status >= 500 => &responses["default"],
            None => panic!("{line} is not in the document: {body}"),
        };
        let response = self.resolve(response);
        for name in headers.keys().filter(|name| !ALWAYS.contains(&name.as_str())) {
            let known = response["headers"].as_object().into_iter().flatten().map(|(name, _)| name);
            assert!(
                known.clone().any(|known| known.eq_ignore_ascii_case(name.as_str())),
                "{line}: the header {name} is not in the document"
            );
        }
        let Some(content) = response["content"].as_object().filter(|content| !content.is_empty()) else {
            assert!(body.is_empty(), "{line} has a body that is not in the document: {body}");
            return;
        };
        if method == Method::HEAD {
            return;
        }
        let given = headers.get("content-type").map_or("", |value| value.to_str().unwrap());
        let media = given.split(';').next().unwrap();
        let about =
            content.get(media).unwrap_or_else(|| panic!("{line}: the type {media} is not in the document"));
        if media.ends_with("json") && about.get("schema").is_some() {
            let value: Value =
                serde_json::from_str(body).unwrap_or_else(|error| panic!("{line}: {error}: {body}"));
            let validator = self.validator(&format!("{line} {media}"), &about["schema"]);
            let wrong: Vec<String> = validator
                .iter_errors(&value)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(wrong.is_empty(), "{line}: {wrong:#?} in {body}");
        }
    }

    fn validator(&self, key: &str, schema: &Value) -> Arc<jsonschema::Validator> {
        let mut all = self.validators.lock();
        let made = all.entry(key.to_owned()).or_insert_with(|| {
            let mut whole = json!({ "components": self.closed["components"] });
            for (name, value) in schema.as_object().unwrap() {
                whole[name] = value.clone();
            }
            Arc::new(jsonschema::options().should_validate_formats(true).build(&whole).unwrap())
        });
        made.clone()
    }
}

/// Headers of every reply, and those that belong to the connection or to any cookie's login.
const ALWAYS: [&str; 9] = [
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-security-policy",
    "content-type",
    "referrer-policy",
    "set-cookie",
    "x-content-type-options",
];

/// The document with every answer's object closed: a field that it does not name is found.
fn closed(document: &Value) -> Value {
    let mut document = document.clone();
    let schemas = document["components"]["schemas"].clone();
    for (_, schema) in document["components"]["schemas"].as_object_mut().unwrap() {
        if let Some(parts) = schema["allOf"].as_array().cloned() {
            *schema = merged(&parts, &schemas);
        }
        if schema.get("properties").is_some() {
            schema["additionalProperties"] = json!(false);
        }
    }
    document
}

/// Parts of one object as one schema.
fn merged(parts: &[Value], schemas: &Value) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for part in parts {
        let part = match part["$ref"].as_str() {
            Some(name) => &schemas[name.rsplit('/').next().unwrap()],
            None => part,
        };
        properties.extend(part["properties"].as_object().unwrap().clone());
        required.extend(part["required"].as_array().into_iter().flatten().cloned());
    }
    json!({ "type": "object", "properties": properties, "required": required })
}
