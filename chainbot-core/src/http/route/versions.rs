//! Versions of a workflow, and what two versions or two runs differ in.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::workflows::{expected, show};
use crate::error::Result;
use crate::http::Shared;
use crate::http::page::{self, Pager};
use crate::http::problem::Answer;
use crate::http::request::{Call, Query, wrong};
use crate::http::view::Workflow;
use crate::port::Way;

/// A version of a workflow.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the runtime's view is what is sent")]
struct Version {
    /// From 1.
    version: u32,
    /// blake3 of the source in hex: the ETag while it is current.
    hash: String,
    /// When it was made.
    #[schema(format = "date-time")]
    created_at: String,
    /// Whether new runs are of this one.
    is_current: bool,
}

/// A value that differs.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the runtime's view is what is sent")]
struct Change {
    /// Where.
    #[schema(example = "steps.fetch.output.data")]
    path: String,
    /// `added`, `removed` or `changed`.
    kind: String,
    /// On the one side; absent when added, or over 4 KiB.
    a: Option<serde_json::Value>,
    /// On the other side; absent when removed, or over 4 KiB.
    b: Option<serde_json::Value>,
}

/// What two versions differ in.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the runtime's view is what is sent")]
struct VersionDiff {
    from: u32,
    to: u32,
    /// Whether the sources are the same.
    is_same: bool,
    /// Lines, as `diff -u` shows them.
    text: String,
    /// Values of the definitions; at most 500.
    changes: Vec<Change>,
    /// Whether there are more.
    has_more: bool,
}

/// What two runs differ in.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the runtime's view is what is sent")]
struct RunDiff {
    /// `id`, `workflow`, `definition`, `status` of the one.
    a: serde_json::Value,
    /// And of the other.
    b: serde_json::Value,
    /// Whether nothing but ids, keys and times differs.
    is_same: bool,
    /// Inputs, output, error and steps; at most 500.
    changes: Vec<Change>,
    /// Whether there are more.
    has_more: bool,
}

/// The version to go back to.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the fields are read one by one")]
struct Rollback {
    /// Its number.
    version: u32,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read))
        .routes(routes!(rollback))
        .routes(routes!(diff))
        .routes(routes!(diff_runs))
}

/// The versions of a workflow, newest first unless said
#[utoipa::path(get, path = "/api/chainbot/workflows/{id}/versions", tag = "workflows",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("sort" = Option<String>, Query, description = "`-version`, which is how they come without it, or `version`"),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 unless said"),
        ("cursor" = Option<u32>, Query, description = "A number: the page begins with the version past it")),
    responses(
        (status = 200, description = "A page", body = Vec<Version>),
        (status = 404, description = "There is no such workflow")))]
async fn list(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["sort", "limit", "cursor"])?;
    let ((), way) = page::sort(&query, &[("version", ())], ((), Way::Down))?;
    let limit = page::limit(&query)?;
    let past = page::number_cursor(&query)?;
    let reference = call.path("id")?;
    let all = call.engine(&shared)?.people()?.versions(reference).await?;
    let total = all.len() as u64;
    let mut rest: Vec<_> = all
        .into_iter()
        .filter(|one| past.is_none_or(|past| way.turn(one.version.cmp(&past)).is_gt()))
        .collect();
    rest.sort_by(|a, b| way.turn(a.version.cmp(&b.version)));
    let more = rest.len() > limit as usize;
    rest.truncate(limit as usize);
    let pager = Pager::of(rest, |one| (one.version.to_string(), one))?;
    let path = format!("/api/chainbot/workflows/{}/versions", crate::http::page::escape(reference));
    pager.reply(&call, &path, total, more, limit, &[("sort", query.text("sort"))])
}

/// A version of a workflow with its definition
#[utoipa::path(get, path = "/api/chainbot/workflows/{id}/versions/{v}", tag = "workflows",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("v" = u32, Path, description = "The version's number")),
    responses(
        (status = 200, description = "The workflow as it was", body = Workflow, headers(("ETag", description = "Of this version"))),
        (status = 404, description = "There is no such workflow or version")))]
async fn read(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let text = call.path("v")?;
    let number = text.parse().map_err(|_| {
        crate::error::Error::new(&crate::error::code::definition::NOT_FOUND, "a version is a number from 1")
            .help("GET /api/chainbot/workflows/{id}/versions lists them")
    })?;
    Ok(show(call.engine(&shared)?.people()?.version(call.path("id")?, number).await?)?)
}

/// Makes the content of an old version the current one, as a new version
#[utoipa::path(post, path = "/api/chainbot/workflows/{id}/rollback", tag = "workflows",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("If-Match" = Option<String>, Header, description = "The ETag that must be current")),
    request_body(content = Rollback, example = json!({ "version": 1 })),
    responses(
        (status = 200, description = "The workflow as it is from here on", body = Workflow, headers(("ETag", description = "Of this version"))),
        (status = 404, description = "There is no such workflow or version"),
        (status = 412, description = "The workflow has changed since"),
        (status = 422, description = "The old content is no longer valid")))]
async fn rollback(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let number = call.fields(&["version"]).await?.any("version");
    let number = number.as_u64().and_then(|number| u32::try_from(number).ok()).ok_or_else(|| {
        crate::error::Error::new(&crate::error::code::general::FIELD, "`version` must be a number from 1")
            .help("send {\"version\": 3}")
    })?;
    let reference = call.path("id")?;
    let expected = expected(&call.engine(&shared)?, call.tags("if-match")?, reference).await?;
    let view = call.engine(&shared)?.people()?.rollback(reference, number, expected.as_deref()).await?;
    shared.tell_workflow(&view, "updated");
    Ok(show(view)?)
}

/// What two versions of a workflow differ in
#[utoipa::path(get, path = "/api/chainbot/workflows/{id}/diff", tag = "workflows",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("from" = u32, Query, description = "A version's number"),
        ("to" = u32, Query, description = "Another's")),
    responses(
        (status = 200, description = "The differences", body = VersionDiff),
        (status = 404, description = "There is no such workflow or version")))]
async fn diff(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["from", "to"])?;
    let (from, to) =
        (needed(&query, "from", "a version's number")?, needed(&query, "to", "a version's number")?);
    Ok(Json(call.engine(&shared)?.people()?.diff_versions(call.path("id")?, from, to).await?).into_response())
}

/// What two runs differ in
#[utoipa::path(get, path = "/api/chainbot/runs/diff", tag = "runs",
    params(
        ("a" = String, Query, description = "A run"),
        ("b" = String, Query, description = "Another")),
    responses(
        (status = 200, description = "The differences", body = RunDiff),
        (status = 404, description = "There is no such run")))]
async fn diff_runs(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["a", "b"])?;
    let (a, b) = (needed(&query, "a", "a run's id")?, needed(&query, "b", "a run's id")?);
    Ok(Json(call.engine(&shared)?.people()?.diff_runs(a, b).await?).into_response())
}

fn needed<T: std::str::FromStr>(query: &Query, name: &str, wanted: &str) -> Result<T> {
    query.parsed(name, wanted)?.ok_or_else(|| wrong(name, "is missing", &format!("give {wanted}")))
}
