//! The OpenAPI document: collected from the handlers, completed with what holds for every route.

use serde_json::{Value, json};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::problem::{Problem, ProblemItem};
use crate::auth::{Access, Need};
use crate::error::code::general;
use crate::error::{Error, Result};

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

/// Adds the credentials and the problem documents, and gives the text that is served. Refuses a route without a row in the table of
/// access, and a row without a route: the document is made of the routes that are served.
pub fn finish(document: &OpenApi, access: &Access) -> Result<String> {
    let failed =
        |error| Error::new(&general::INTERNAL, "the OpenAPI document cannot be written").because(error);
    let mut document = serde_json::to_value(document).map_err(failed)?;
    document["openapi"] = json!("3.1.0");
    document["components"]["securitySchemes"] = json!({
        "token": {
            "type": "http", "scheme": "bearer",
            "description": "An access token from `/api/chainbot/auth/login`, an API token, or the token of the data folder" },
        "cookie": {
            "type": "apiKey", "in": "cookie", "name": "__Host-cb",
            "description": "Of a login in a browser; requests that change something need `Origin` and `Sec-Fetch-Site` as well" },
    });
    document["security"] = json!([{ "token": [] }, { "cookie": [] }]);
    let mut served = Vec::new();
    for (path, method, operation) in operations_mut(&mut document) {
        let method = method.to_uppercase();
        let need = access.need(&method, &path);
        let need = need.ok_or_else(|| mismatch(&method, &path, "is served and has no row"))?;
        complete(operation, need);
        served.push((method, path));
    }
    for (method, path, _) in access.routes() {
        if !served.iter().any(|(m, p)| m == method && p == path) {
            return Err(mismatch(method, path, "has a row and is not served"));
        }
    }
    serde_json::to_string(&document).map_err(failed)
}

fn mismatch(method: &str, path: &str, what: &str) -> Error {
    Error::new(&general::INTERNAL, format!("{method} {path} {what} in auth/access.txt"))
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

fn complete(operation: &mut Value, need: Need) {
    let is_public = need == Need::Public;
    let content =
        json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, response) in responses.iter_mut() {
        if status.starts_with(['4', '5']) {
            response["content"] = content.clone();
        }
    }
    let problem = |description: &str| json!({ "description": description, "content": content });
    if !is_public {
        responses.insert("401".to_owned(), problem("The credential is missing or wrong"));
    }
    if let Need::Permission(permission) = need {
        let why = format!("The caller has no `{permission}`");
        responses.entry("403".to_owned()).or_insert_with(|| problem(&why));
    }
    responses.insert("default".to_owned(), problem("Any other error; `code` says which"));
    if is_public {
        operation["security"] = json!([]);
    }
}
