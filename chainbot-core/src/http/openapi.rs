//! The OpenAPI document: collected from the handlers, completed with what holds for every route.
//!
//! Handlers tell what is theirs: parameters, bodies with an example, answers, problems of their own. What follows from how
//! requests are read and answered (credentials, bounds, headers, names of operations) is added here by rule in [`complete`], so
//! that no handler can forget it. A document with a gap is refused when the routes are made, and so by every test.

use serde_json::{Value, json};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::problem::{Problem, ProblemItem};
use crate::auth::Access;
use crate::error::code::general;
use crate::error::{Error, Result};

mod complete;
mod shared;

const METHODS: [&str; 7] = ["get", "put", "post", "delete", "patch", "head", "options"];

const ABOUT: &str = "Workflows that survive a pulled plug.

A body is an object without unknown fields, at most 64 levels deep; an unknown query parameter is refused. Answers may get \
further fields in a later version: leave aside what you do not know. Times are RFC 3339 in UTC. An error is a problem document \
(RFC 9457) with a `code`, which has a page in docs/errors.";

/// What the router starts from.
pub fn base() -> OpenApi {
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("ChainBot")
                .version(crate::VERSION)
                .description(Some(ABOUT))
                .license(Some(LicenseBuilder::new().name("Apache-2.0 OR MIT").build()))
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

/// The document as it is served. Refuses a route without a row in the table of access, and a row without a route: the document is
/// made of the routes that are served.
pub fn finish(document: &OpenApi, access: &Access) -> Result<Value> {
    let failed =
        |error| Error::new(&general::INTERNAL, "the OpenAPI document cannot be written").because(error);
    let mut document = serde_json::to_value(document).map_err(failed)?;
    document["openapi"] = json!("3.1.0");
    shared::add(&mut document);
    complete::wide_numbers(&mut document);
    complete::request_schemas(&mut document);
    let required = complete::bodies_that_are_needed(&document);
    let mut served = Vec::new();
    for (path, method, operation) in operations_mut(&mut document) {
        let method = method.to_uppercase();
        let need = access.need(&method, &path);
        let need = need.ok_or_else(|| mismatch(&method, &path, "is served and has no row"))?;
        complete::operation(operation, &method, &path, need, &required).map_err(|what| {
            Error::new(&general::INTERNAL, format!("{method} {path} {what} in the document"))
        })?;
        served.push((method, path));
    }
    for (method, path, _) in access.routes() {
        if !served.iter().any(|(m, p)| m == method && p == path) {
            return Err(mismatch(method, path, "has a row and is not served"));
        }
    }
    Ok(document)
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
