//! Definitions to begin with.

use std::sync::Arc;

use axum::Json;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authoring::template::{TEMPLATES, Template};
use crate::error::Error;
use crate::error::code::definition as code;
use crate::http::Shared;
use crate::http::problem::Answer;
use crate::http::request::{Call, printable};

/// A definition to begin with, as the list shows it.
#[derive(Serialize, ToSchema)]
struct TemplateHead {
    /// Its id, which is the workflow's name in it.
    id: &'static str,
    /// What it shows.
    description: &'static str,
}

/// A definition to begin with.
#[derive(Serialize, ToSchema)]
struct TemplateView {
    /// Its id, which is the workflow's name in it.
    id: &'static str,
    /// What it shows.
    description: &'static str,
    /// The definition as YAML: send it to `POST /api/chainbot/workflows`.
    source: &'static str,
    /// Inputs that it runs with.
    #[schema(value_type = Object)]
    inputs: Value,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read))
}

/// Definitions to begin with
#[utoipa::path(get, path = "/api/chainbot/workflows/templates", tag = "workflows",
    responses((status = 200, description = "All of them, by id", body = Vec<TemplateHead>)))]
async fn list() -> Answer {
    let all = TEMPLATES.iter().map(|one| TemplateHead { id: one.id, description: one.description() });
    Ok(Json(all.collect::<Vec<_>>()).into_response())
}

/// A definition to begin with
#[utoipa::path(get, path = "/api/chainbot/workflows/templates/{id}", tag = "workflows",
    params(("id" = String, Path, description = "As the list has it")),
    responses(
        (status = 200, description = "The definition, and inputs for it", body = TemplateView),
        (status = 404, description = "There is no such template")))]
async fn read(call: Call) -> Answer {
    let id = call.path("id")?;
    let template = Template::find(id).ok_or_else(|| {
        Error::new(&code::NOT_FOUND, format!("there is no template `{}`", printable(id)))
            .help("GET /api/chainbot/workflows/templates lists them")
    })?;
    let inputs = serde_json::from_str(template.inputs).map_err(|e| {
        Error::new(&crate::error::code::general::INTERNAL, "the inputs are no JSON").because(e)
    })?;
    let (id, description, source) = (template.id, template.description(), template.source);
    Ok(Json(TemplateView { id, description, source, inputs }).into_response())
}
