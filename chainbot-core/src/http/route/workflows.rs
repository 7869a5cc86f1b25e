//! Definitions: made, read, changed, deleted, checked.
//!
//! The ETag of a workflow is the hash of its source; `If-Match` with it guards a change against one that came
//! between. A body is a definition as YAML or JSON, see [`crate::http::body::definition_source`].

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authoring::patch::patch;
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::engine::Asked;
use crate::http::page::{self, Pager};
use crate::http::problem::Answer;
use crate::http::request::{Call, Tags};
use crate::http::view::{Validation, Workflow, WorkflowEntry};
use crate::limits::{DEFINITION_BODY_BYTES_MAX, PAGE_MAX};
use crate::port::{Way, WorkflowFilter, WorkflowOrder, WorkflowPlace};
use crate::runtime::WorkflowView;
use crate::time::Timestamp;

const PATH: &str = "/api/chainbot/workflows";
/// What the list can be sorted by.
const COLUMNS: &[(&str, WorkflowOrder)] = &[
    ("name", WorkflowOrder::Name),
    ("created_at", WorkflowOrder::CreatedAt),
    ("updated_at", WorkflowOrder::UpdatedAt),
];
/// A definition as the document shows one.
const EXAMPLE: &str = "\
name: greet
inputs: { type: object, properties: { who: { type: string, default: world } } }
steps:
  - { id: hello, type: set, config: { variables: { text: \"'Hello, ' ~ inputs.who\" } } }
output: \"{{ vars.text }}\"
";
/// Says that an answer is that of an earlier request with the same key.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(validate))
        .routes(routes!(read, update, change, delete))
}

/// All workflows, by name unless said
#[utoipa::path(get, path = "/api/chainbot/workflows", tag = "workflows",
    params(
        ("sort" = Option<String>, Query, description = "`name`, `created_at` or `updated_at`; turned round by a `-` before it"),
        ("limit" = Option<u32>, Query, description = "1 to 200; 200 unless said"),
        ("cursor" = Option<String>, Query, description = "From the Link header of an earlier page")),
    responses((status = 200, description = "A page",
        body = Vec<WorkflowEntry>)))]
async fn list(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["sort", "limit", "cursor"])?;
    // The sibling dashboard gives no limit and follows no links.
    let limit = page::limit_or(&query, PAGE_MAX)?;
    let (by, way) = page::sort(&query, COLUMNS, (WorkflowOrder::Name, Way::Up))?;
    let past = query.text("cursor").map(|text| past(text, by)).transpose()?;
    let page = call.engine(&shared)?.workflows(WorkflowFilter { by, way, past, limit }).await?;
    let pager = Pager::of(page.items, |one| (cursor(&one.place), WorkflowEntry::new(one)))?;
    pager.reply(&call, PATH, page.total, page.more, limit, &[("sort", query.text("sort"))])
}

/// A place as a cursor: the name, or the time and the id.
fn cursor(place: &WorkflowPlace) -> String {
    match place {
        WorkflowPlace::Name(name) => name.clone(),
        WorkflowPlace::At(at, id) => format!("{}.{id}", at.0),
    }
}

fn past(text: &str, by: WorkflowOrder) -> Result<WorkflowPlace> {
    if by == WorkflowOrder::Name {
        return Ok(WorkflowPlace::Name(text.to_owned()));
    }
    let read = || {
        let (at, id) = text.split_once('.')?;
        Some(WorkflowPlace::At(Timestamp(at.parse().ok()?), id.parse().ok()?))
    };
    read().ok_or_else(|| page::bad_cursor(text))
}

/// Makes a workflow from a definition
#[utoipa::path(post, path = "/api/chainbot/workflows", tag = "workflows",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat of this request harmless")),
    request_body(content(
        (String = "application/yaml", example = json!(EXAMPLE)),
        (Object = "application/json", example = json!({ "source": EXAMPLE }))),
        description = "The definition as YAML or JSON, or an object with one of the fields \
            `definition` (the definition as an object) and `source` (its text)"),
    responses(
        (status = 201, description = "Made", body = Workflow,
            headers(("Location", description = "The workflow"), ("ETag", description = "Of this version"))),
        (status = 409, description = "The name exists, or the key was used for another definition"),
        (status = 422, description = "The definition has problems; all are listed")))]
async fn create(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let key = call.idempotency_key()?;
    let source = call.definition().await?;
    let (view, replayed) = call.engine(&shared)?.create_workflow(&source, key.as_deref()).await?;
    let location = HeaderValue::try_from(call.location(&format!("{PATH}/{}", view.id)))
        .map_err(|e| Error::new(&general::INTERNAL, "the location is no header").because(e))?;
    if !replayed {
        shared.tell_workflow(&view, "created");
    }
    let mut response = show(view)?;
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(header::LOCATION, location);
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Checks a definition and executes nothing
#[utoipa::path(post, path = "/api/chainbot/workflows/validate", tag = "workflows",
    request_body(content(
        (serde_json::Value = "application/yaml", example = json!(EXAMPLE)),
        (Object = "application/json", example = json!({ "source": EXAMPLE }))),
        description = "As for making a workflow"),
    responses((status = 200, description = "What was found, also when it is not valid", body = Validation)))]
async fn validate(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let source = call.definition().await?;
    let backend = call.engine(&shared)?.shared();
    // A definition of a megabyte takes a while; other requests go on meanwhile.
    let found = tokio::task::spawn_blocking(move || backend.validate(&source))
        .await
        .map_err(|e| Error::new(&general::INTERNAL, "the check of a definition ended early").because(e))?;
    Ok(Json(Validation::from(found)).into_response())
}

/// A workflow with its definition
#[utoipa::path(get, path = "/api/chainbot/workflows/{id}", tag = "workflows",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("If-None-Match" = Option<String>, Header, description = "An ETag: 304 when it still holds")),
    responses(
        (status = 200, description = "The workflow", body = Workflow, headers(("ETag", description = "Of this version"))),
        (status = 304, description = "Not changed", headers(("ETag", description = "Of this version"))),
        (status = 404, description = "There is no such workflow")))]
async fn read(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let held = call.tags("if-none-match")?;
    let view = call.engine(&shared)?.workflow(call.path("id")?).await?;
    if held.is_some_and(|tags| tags.contains(&view.hash)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag(&view)?)]).into_response());
    }
    Ok(show(view)?)
}

/// A new version of a workflow
#[utoipa::path(put, path = "/api/chainbot/workflows/{id}", tag = "workflows",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("If-Match" = Option<String>, Header, description = "The ETag that must be current")),
    request_body(content(
        (String = "application/yaml", example = json!(EXAMPLE)),
        (Object = "application/json", example = json!({ "source": EXAMPLE }))),
        description = "As for making a workflow; the name inside must be the workflow's"),
    responses(
        (status = 200, description = "The new version", body = Workflow, headers(("ETag", description = "Of this version"))),
        (status = 404, description = "There is no such workflow"),
        (status = 409, description = "The name inside is another one"),
        (status = 412, description = "The workflow has changed since"),
        (status = 422, description = "The definition has problems; all are listed")))]
async fn update(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let source = call.definition().await?;
    let reference = call.path("id")?;
    let expected = expected(&call.engine(&shared)?, call.tags("if-match")?, reference).await?;
    let view = call.engine(&shared)?.update_workflow(reference, &source, expected.as_deref()).await?;
    shared.tell_workflow(&view, "updated");
    Ok(show(view)?)
}

/// A new version that differs in what the body names
///
/// The body is a JSON merge patch (RFC 7396) of the definition: what it names is replaced, null removes, the rest stays. The new source is
/// YAML without the old one's comments, which the version before keeps.
#[utoipa::path(patch, path = "/api/chainbot/workflows/{id}", tag = "workflows",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("If-Match" = Option<String>, Header, description = "The ETag that must be current")),
    request_body(content(
        (Object = "application/merge-patch+json", example = json!({ "description": "Greets", "timeout": "1h" })),
        (Object = "application/json", example = json!({ "description": null }))),
        description = "Keys of the definition"),
    responses(
        (status = 200, description = "The new version", body = Workflow, headers(("ETag", description = "Of this version"))),
        (status = 404, description = "There is no such workflow"),
        (status = 409, description = "It would change the name"),
        (status = 412, description = "The workflow has changed since"),
        (status = 422, description = "The definition has problems then; all are listed")))]
async fn change(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let changes = call.json(DEFINITION_BODY_BYTES_MAX).await?;
    if !changes.is_object() {
        return Err(Error::new(&general::FIELD, "the patch must be an object")
            .help("name the keys of the definition that change")
            .into());
    }
    let reference = call.path("id")?;
    let engine = call.engine(&shared)?;
    let view = engine.workflow(reference).await?;
    let expected = expected(&engine, call.tags("if-match")?, reference).await?;
    // What is patched must be what is replaced, whether the client knew it or not.
    if expected.is_some_and(|tag| tag != view.hash) {
        return Err(Error::new(&general::PRECONDITION, "the workflow has changed since it was read")
            .help("read the workflow again and repeat the change on top of it")
            .into());
    }
    let source = patch(&view.source, &changes)?;
    Ok(show(engine.update_workflow(reference, &source, Some(&view.hash)).await?)?)
}

/// Deletes a workflow; its runs and their history stay
#[utoipa::path(delete, path = "/api/chainbot/workflows/{id}", tag = "workflows",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("If-Match" = Option<String>, Header, description = "The ETag that must be current")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "There is no such workflow"),
        (status = 412, description = "The workflow has changed since")))]
async fn delete(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let reference = call.path("id")?;
    let expected = expected(&call.engine(&shared)?, call.tags("if-match")?, reference).await?;
    let view = call.engine(&shared)?.workflow(reference).await?;
    call.engine(&shared)?.delete_workflow(reference, expected.as_deref()).await?;
    shared.tell_workflow(&view, "deleted");
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The one hash that `If-Match` asks for. With several the current one is looked up; the runtime then still
/// compares it within the change, so nothing can come between.
pub async fn expected(engine: &Asked, tags: Option<Tags>, reference: &str) -> Result<Option<String>> {
    let Some(Tags::These(tags)) = tags else { return Ok(None) };
    match tags.as_slice() {
        [one] => Ok(Some(one.clone())),
        _ => {
            let current = engine.workflow(reference).await?.hash;
            if tags.contains(&current) {
                return Ok(Some(current));
            }
            Err(Error::new(&general::PRECONDITION, "no tag of If-Match is the workflow's current one")
                .help("read the workflow again and repeat the change on top of it"))
        }
    }
}

pub fn show(view: WorkflowView) -> Result<Response> {
    Ok(([(header::ETAG, etag(&view)?)], Json(Workflow::from(view))).into_response())
}

fn etag(view: &WorkflowView) -> Result<HeaderValue> {
    HeaderValue::try_from(format!("\"{}\"", view.hash))
        .map_err(|e| Error::new(&general::INTERNAL, "the hash is no header").because(e))
}
