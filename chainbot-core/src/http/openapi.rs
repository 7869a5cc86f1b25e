//! The OpenAPI document: collected from the handlers, completed with what holds for every route.

use serde_json::{Value, json};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::guard::PUBLIC;
use super::problem::{Problem, ProblemItem};

const METHODS: [&str; 7] = ["get", "put", "post", "delete", "patch", "head", "options"];

/// What the router starts from.
pub fn base() -> OpenApi {
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("ChainBot")
                .version(crate::VERSION)
                .description(Some("Workflows that survive a pulled plug."))
                .build(),
        )
        .components(Some(
            ComponentsBuilder::new()
                .schema(Problem::name(), Problem::schema())
                .schema(ProblemItem::name(), ProblemItem::schema())
                .build(),
        ))
        .build()
}

/// Adds the credential and the problem documents, and gives the text that is served.
pub fn finish(document: &OpenApi) -> serde_json::Result<String> {
    let mut document = serde_json::to_value(document)?;
    document["openapi"] = json!("3.1.0");
    document["components"]["securitySchemes"] = json!({ "token": {
        "type": "http", "scheme": "bearer",
        "description": "The access token from the data folder: `cb_` and 64 hexadecimal digits" } });
    document["security"] = json!([{ "token": [] }]);
    for (path, method, operation) in operations_mut(&mut document) {
        let public = PUBLIC.contains(&(method.to_uppercase().as_str(), path.as_str()));
        complete(operation, public);
    }
    serde_json::to_string(&document)
}

fn operations_mut(document: &mut Value) -> Vec<(String, &'static str, &mut Value)> {
    let Some(paths) = document["paths"].as_object_mut() else { return Vec::new() };
    paths
        .iter_mut()
        .filter_map(|(path, item)| item.as_object_mut().map(|item| (path, item)))
        .flat_map(|(path, item)| {
            item.iter_mut().filter_map(|(name, operation)| {
                let method = METHODS.into_iter().find(|method| method == name)?;
                Some((path.clone(), method, operation))
            })
        })
        .collect()
}

fn complete(operation: &mut Value, public: bool) {
    let content =
        json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, response) in responses.iter_mut() {
        if status.starts_with(['4', '5']) {
            response["content"] = content.clone();
        }
    }
    let problem = |description: &str| json!({ "description": description, "content": content });
    if !public {
        responses.insert("401".to_owned(), problem("The credential is missing or wrong"));
    }
    responses.insert("default".to_owned(), problem("Any other error; `code` says which"));
    if public {
        operation["security"] = json!([]);
    }
}
