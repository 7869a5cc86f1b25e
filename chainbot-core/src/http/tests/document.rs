//! The OpenAPI document: valid, complete, committed as it is.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::conform::document;

/// As the OpenAPI Initiative publishes it (Apache-2.0).
const META: &str = include_str!("data/openapi-3.1.schema.json");

fn wrong(validator: &jsonschema::Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn the_document_is_valid_openapi_3_1() {
    let meta = jsonschema::validator_for(&serde_json::from_str(META).unwrap()).unwrap();
    assert_eq!(wrong(&meta, &document().value), Vec::<String>::new());
    assert_eq!(document().value["openapi"], "3.1.0");
    // The published schema leaves schemas aside; they are JSON Schema 2020-12.
    for (name, schema) in document().value["components"]["schemas"].as_object().unwrap() {
        assert!(jsonschema::draft202012::meta::is_valid(schema), "{name}: {schema}");
    }
    // What is not OpenAPI is found.
    let mut broken = document().value.clone();
    broken["paths"]["/api/chainbot/runs"]["get"]["responses"]["200"] = json!({ "body": "a run" });
    assert_ne!(wrong(&meta, &broken), Vec::<String>::new());
}

#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schemas/openapi.json");
    let text = format!("{:#}\n", document().value);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == text, "docs/schemas/openapi.json is stale: `make openapi` writes it anew");
}

#[test]
fn every_operation_tells_what_it_takes_and_what_it_gives() {
    let mut names = BTreeSet::new();
    for (method, path, operation) in document().operations() {
        let line = format!("{method} {path}");
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "{line} shares its operationId");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with(['1', '2', '3'])), "{line} never succeeds");
        for (status, response) in responses {
            let response = document().resolve(response);
            let content = response["content"].as_object();
            match status.as_str() {
                "101" | "204" | "304" => assert!(content.is_none(), "{line}: {status} has a body"),
                // The protocol wants a message without an answer to be taken so.
                "202" if path == "/mcp" => assert!(content.is_none(), "{line}: {status} has a body"),
                _ => assert!(content.is_some_and(|all| !all.is_empty()), "{line}: {status} has no body"),
            }
            if status.starts_with(['4', '5']) || status == "default" {
                let schema = &content.unwrap()["application/problem+json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Problem", "{line}: {status}");
            }
            assert!(response["headers"].get("X-Request-Id").is_some(), "{line}: {status}");
        }
        let in_query = |name: &str| {
            operation["parameters"].as_array().into_iter().flatten().any(|one| one["name"] == name)
        };
        if in_query("limit") {
            for header in ["Link", "X-Total-Count"] {
                assert!(responses["200"]["headers"].get(header).is_some(), "{line} has no {header}");
            }
        }
        if operation.get("requestBody").is_some() {
            for status in ["413", "415", "422"] {
                assert!(responses.contains_key(status), "{line} has no {status}");
            }
        }
    }
    assert!(names.len() > 70, "{}", names.len());
}

#[test]
fn every_body_has_an_example_that_fits_its_schema() {
    let mut seen = 0;
    for (method, path, operation) in document().operations() {
        for (media, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
            let mut schema = content["schema"].clone();
            schema["components"] = document().value["components"].clone();
            let validator = jsonschema::validator_for(&schema).unwrap();
            let found = wrong(&validator, &content["example"]);
            assert!(
                content.get("example").is_some() && found.is_empty(),
                "{method} {path} {media}: {found:?}"
            );
            seen += 1;
            let Some(name) = content["schema"]["$ref"].as_str() else { continue };
            let mut more = content["example"].clone();
            more["owner_id"] = json!(1);
            assert!(!validator.is_valid(&more), "{method} {path}: {name} is open");
        }
    }
    assert!(seen > 25, "{seen}");
}
