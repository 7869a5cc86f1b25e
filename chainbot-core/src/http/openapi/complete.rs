//! What every operation has, by rule: a name, bounds of paging, headers and problems that follow from how requests are read.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::shared::{HEADERS, PROBLEMS, TAGS, header, problem};
use crate::auth::{HOOK, Need};
use crate::limits::{IDEMPOTENCY_KEY_BYTES_MAX, PAGE_DEFAULT, PAGE_MAX};

const REFERENCE: &str = "#/components/schemas/";

/// Takes `int32` from numbers that are whole and never below 0: they go on to twice as far.
pub fn wide_numbers(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("format") == Some(&json!("int32")) && fields.get("minimum") == Some(&json!(0)) {
                fields.remove("format");
                fields.insert("maximum".to_owned(), json!(u32::MAX));
            }
            fields.values_mut().for_each(wide_numbers);
        }
        Value::Array(items) => items.iter_mut().for_each(wide_numbers),
        _ => {}
    }
}

/// Closes the schemas of bodies: an unknown field is refused, see [`crate::http::body`].
pub fn request_schemas(document: &mut Value) {
    for name in body_schemas(document) {
        document["components"]["schemas"][&name]["additionalProperties"] = json!(false);
    }
}

/// The schemas of bodies with a field that must be there. No body at all is an empty object, so the others may be left out.
pub fn bodies_that_are_needed(document: &Value) -> BTreeSet<String> {
    let schemas = &document["components"]["schemas"];
    let has_needed = |name: &String| schemas[name]["required"].as_array().is_some_and(|all| !all.is_empty());
    body_schemas(document).into_iter().filter(has_needed).collect()
}

fn body_schemas(document: &Value) -> BTreeSet<String> {
    let items = document["paths"].as_object().into_iter().flatten().filter_map(|(_, item)| item.as_object());
    items.flatten().filter_map(|(_, operation)| body_schema(operation)).collect()
}

fn body_schema(operation: &Value) -> Option<String> {
    let reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str()?;
    reference.strip_prefix(REFERENCE).map(str::to_owned)
}

/// Completes one operation, or says what it lacks.
pub fn operation(
    operation: &mut Value,
    method: &str,
    path: &str,
    need: Need,
    needed_bodies: &BTreeSet<String>,
) -> Result<(), String> {
    let summary = operation["summary"].as_str().unwrap_or_default();
    if summary.is_empty() {
        return Err("has no summary".to_owned());
    }
    let tag = operation["tags"][0].as_str().unwrap_or_default();
    if !TAGS.iter().any(|(known, _)| *known == tag) {
        return Err(format!("has the unknown tag `{tag}`"));
    }
    operation["operationId"] = json!(name(method, path));
    security(operation, need);
    parameters(operation, path)?;
    body(operation, needed_bodies)?;
    responses(operation, method, need)
}

/// `GET /api/chainbot/runs/{id}/steps` is `get_runs_id_steps`: one name a route, and it says which.
fn name(method: &str, path: &str) -> String {
    let path = path.strip_prefix("/api/chainbot").map_or_else(|| format!("root{path}"), str::to_owned);
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(method.to_lowercase(), |name, word| format!("{name}_{word}"))
}

fn security(operation: &mut Value, need: Need) {
    match need {
        Need::Public => operation["security"] = json!([]),
        // The token is in the body, and once it was used there is no way in.
        Need::Setup => operation["security"] = json!([]),
        Need::Permission(permission) => {
            operation["x-permission"] = json!(permission);
            if permission == HOOK {
                operation["security"] = json!([{ "token": [] }, { "cookie": [] }, { "signature": [] }]);
            }
        }
    }
}

fn parameters(operation: &mut Value, path: &str) -> Result<(), String> {
    let given = operation.get_mut("parameters").and_then(Value::as_array_mut);
    let mut named = Vec::new();
    for parameter in given.into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default().to_owned();
        if parameter["description"].as_str().unwrap_or_default().is_empty() {
            return Err(format!("has no description of `{name}`"));
        }
        let place = parameter["in"].as_str().unwrap_or_default().to_owned();
        let schema = &mut parameter["schema"];
        // An optional parameter is left out; there is no null in a URL or a header.
        let kind =
            schema["type"].as_array().and_then(|kinds| kinds.iter().find(|kind| *kind != "null").cloned());
        if let Some(kind) = kind {
            schema["type"] = kind;
        }
        match (place.as_str(), name.as_str()) {
            ("query", "limit") => {
                *schema =
                    json!({ "type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE_DEFAULT });
            }
            ("header", "Idempotency-Key") => {
                *schema = json!({
                    "type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_BYTES_MAX, "pattern": "^[!-~]+$",
                });
            }
            ("path", _) if schema["type"] == "string" => {
                schema["minLength"] = json!(1);
                named.push(name);
            }
            ("path", _) => named.push(name),
            _ => {}
        }
    }
    let wanted = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    for one in wanted {
        if !named.iter().any(|name| name == one) {
            return Err(format!("says nothing of `{one}`"));
        }
    }
    Ok(())
}

fn body(operation: &mut Value, needed: &BTreeSet<String>) -> Result<(), String> {
    let schema = body_schema(operation);
    let Some(body) = operation.get_mut("requestBody") else { return Ok(()) };
    if let Some(schema) = schema {
        body["required"] = json!(needed.contains(&schema));
    }
    for (media, content) in body["content"].as_object().into_iter().flatten() {
        if content.get("example").is_none() && content.get("examples").is_none() {
            return Err(format!("has no example of {media}"));
        }
    }
    Ok(())
}

fn responses(operation: &mut Value, method: &str, need: Need) -> Result<(), String> {
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let has =
        |place: &str, name: &str| parameters.iter().any(|one| one["in"] == place && one["name"] == name);
    let is_paged = has("query", "limit") && has("query", "cursor");
    let is_repeatable = has("header", "Idempotency-Key");
    // Where none is asked for, a body that says something is refused like any other that is wrong.
    let may_have_body = method != "GET";
    let Some(responses) = operation["responses"].as_object_mut() else {
        return Err("has no responses".to_owned());
    };
    for (status, response) in responses.iter_mut() {
        let about = response["description"].as_str().unwrap_or_default().to_owned();
        if status.starts_with(['4', '5']) {
            *response = problem(status, &about);
            continue;
        }
        let mut headers = named(response)?;
        headers.insert("X-Request-Id".to_owned(), header("RequestId"));
        if is_paged {
            headers.insert("X-Total-Count".to_owned(), header("TotalCount"));
            headers.insert("Link".to_owned(), header("Link"));
        }
        if is_repeatable {
            headers.insert("Idempotency-Replayed".to_owned(), header("Replayed"));
        }
        response["headers"] = Value::Object(headers);
    }
    for (status, name, _) in PROBLEMS {
        let applies = match status {
            // What is public is never refused for a missing credential; the handler tells of a wrong one. Setting up is public once.
            "401" | "403" => need != Need::Public,
            "413" | "415" => may_have_body,
            _ => true,
        };
        if applies && !responses.contains_key(status) {
            responses.insert(status.to_owned(), json!({ "$ref": format!("#/components/responses/{name}") }));
        }
    }
    Ok(())
}

/// The headers that a handler names, as references to what they are.
fn named(response: &mut Value) -> Result<Map<String, Value>, String> {
    let mut headers = Map::new();
    for (name, _) in response["headers"].as_object().into_iter().flatten() {
        let known = HEADERS.iter().find(|(_, known, _, _)| known == name);
        let (key, ..) = known.ok_or_else(|| format!("names the unknown header `{name}`"))?;
        headers.insert(name.clone(), header(key));
    }
    Ok(headers)
}
