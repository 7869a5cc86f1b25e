//! Definitions of the predecessor: turned into ones of this version, and stored when that is asked for. Nothing of them is executed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::workflows::REPLAYED;
use crate::authoring::import::{Imported, import};
use crate::error::Error;
use crate::error::code::{definition, general};
use crate::http::Shared;
use crate::http::problem::{Answer, ProblemItem};
use crate::http::request::{Call, wrong};
use crate::http::view::WorkflowHead;

/// A definition of the predecessor, as the document shows one.
const EXAMPLE: &str = "\
name: old one
type: sequential
steps:
  - id: fetch
    type: api_call
    config: { url: \"https://api.example.com/items\", method: GET }
";

/// What came of an import.
#[derive(Serialize, ToSchema)]
struct ImportView {
    /// The new definition, in YAML.
    definition: String,
    /// What is not as it was, in order of the old lines.
    report: Vec<ImportLine>,
    /// Whether the new definition has no problem.
    valid: bool,
    /// Problems of the new definition, with places in it.
    diagnostics: Vec<ProblemItem>,
    /// With `create`: the workflow that was made of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow: Option<WorkflowHead>,
}

/// One line of the report.
#[derive(Serialize, ToSchema)]
struct ImportLine {
    /// In the old source; 0 for what is about no single line.
    line: u32,
    /// `changed`, `dropped` or `needs you`: a person must look at it.
    fate: &'static str,
    /// Where, in the old structure.
    path: String,
    /// What, and why.
    message: String,
}

impl From<&Imported> for ImportView {
    fn from(imported: &Imported) -> Self {
        let report = imported.report.iter().map(|entry| ImportLine {
            line: entry.line,
            fate: entry.fate.as_str(),
            path: entry.path.clone(),
            message: entry.message.clone(),
        });
        Self {
            definition: imported.definition.clone(),
            report: report.collect(),
            valid: imported.valid,
            diagnostics: imported.diagnostics.iter().map(ProblemItem::from).collect(),
            workflow: None,
        }
    }
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(turn))
}

/// Turns a definition of the predecessor, orchestrated or visual, into one of this version
#[utoipa::path(post, path = "/api/chainbot/workflows/import", tag = "workflows",
    params(
        ("create" = Option<bool>, Query, description = "Whether a workflow is made of it; it is only shown unless `true`"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat of this request harmless")),
    request_body(content(
        (String = "application/yaml", example = json!(EXAMPLE)),
        (Object = "application/json", example = json!({
            "name": "old one", "definition": { "steps": [{ "id": "rest", "type": "wait", "config": { "duration": 5 } }] } }))),
        description = "The old definition, or the record around it, as YAML or JSON"),
    responses(
        (status = 200, description = "The new definition, and what is not as it was", body = ImportView),
        (status = 201, description = "And a workflow was made of it", body = ImportView,
            headers(("Location", description = "The workflow"))),
        (status = 409, description = "A workflow has the name, or the key was used for another request"),
        (status = 422, description = "There is nothing to turn; with `create`, also: the new definition has problems")))]
async fn turn(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let creates = match call.query(&["create"])?.text("create") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            return Err(wrong("create", "is neither true nor false", "give `true` to make a workflow").into());
        }
    };
    let key = call.idempotency_key()?;
    let source = call.definition_text().await?;
    // A definition of a megabyte takes a while; other requests go on meanwhile.
    let imported = tokio::task::spawn_blocking(move || import(&source))
        .await
        .map_err(|e| Error::new(&general::INTERNAL, "an import ended early").because(e))??;
    let mut view = ImportView::from(&imported);
    if !creates {
        return Ok(Json(view).into_response());
    }
    if !imported.valid {
        return Err(Error::new(&definition::INVALID, "the new definition has problems")
            .help("import it without `create`, repair what comes back, and make a workflow of that")
            .diagnostics_of(imported.diagnostics)
            .into());
    }
    let (made, replayed) =
        call.engine(&shared)?.create_workflow(&imported.definition, key.as_deref()).await?;
    let location = HeaderValue::try_from(call.location(&format!("/api/chainbot/workflows/{}", made.id)))
        .map_err(|e| Error::new(&general::INTERNAL, "the location is no header").because(e))?;
    view.workflow = Some(made.into());
    let mut response = (StatusCode::CREATED, [(header::LOCATION, location)], Json(view)).into_response();
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}
