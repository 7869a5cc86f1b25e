//! Runs: started, listed, looked into.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::workflows::REPLAYED;
use crate::error::code::general;
use crate::http::Shared;
use crate::http::page::{self, Pager};
use crate::http::problem::Answer;
use crate::http::record::{self, Values};
use crate::http::request::{Call, printable, wrong};
use crate::http::suggest;
use crate::http::view::{Execution, Run, RunHead, Step, status_named};
use crate::limits::PAGE_MAX;
use crate::model::RunStatus;
use crate::port::Way;
use crate::runtime::{NewRun, RunQuery, StartedRun};

const PATH: &str = "/api/chainbot/runs";

/// What a run is started with.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the fields are read one by one")]
struct Start {
    /// As the workflow's schema asks; `{}` unless given.
    #[schema(value_type = Option<Object>)]
    inputs: Option<Value>,
}

/// What older clients start one with: one of the three.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the fields are read one by one")]
struct Execute {
    /// As the workflow's schema asks; `{}` unless given.
    #[schema(value_type = Option<Object>)]
    inputs: Option<Value>,
    /// The same.
    #[schema(value_type = Option<Object>)]
    input_data: Option<Value>,
    /// The same.
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(start))
        .routes(routes!(execute))
        .routes(routes!(list))
        .routes(routes!(read))
        .routes(routes!(steps))
        .routes(routes!(journal))
}

/// Starts a run; it is durable when this answers
#[utoipa::path(post, path = "/api/chainbot/workflows/{id}/runs", tag = "runs",
    params(
        ("id" = String, Path, description = "Id or name of the workflow"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat of this request harmless")),
    request_body(content = Start, example = json!({ "inputs": { "who": "Mia" } })),
    responses(
        (status = 201, description = "Started. A repeat shows the run as it stands", body = Run, headers(("Location", description = "The run"))),
        (status = 404, description = "There is no such workflow"),
        (status = 409, description = "The key was used for another request"),
        (status = 422, description = "The inputs do not match the workflow's schema")))]
async fn start(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let started = begin(&shared, &mut call, &["inputs"]).await?;
    let location = call.location(&format!("{PATH}/{}", started.run.id));
    let mut response =
        (StatusCode::CREATED, [(header::LOCATION, location)], Json(Run::from(started.run))).into_response();
    if started.replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Starts a run, in the words of older clients
#[utoipa::path(post, path = "/api/chainbot/workflows/{id}/execute", tag = "runs",
    params(
        ("id" = String, Path, description = "Id or name of the workflow"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat of this request harmless")),
    request_body(content = Execute, example = json!({ "inputs": { "who": "Mia" } })),
    responses(
        (status = 200, description = "Started", body = Execution),
        (status = 404, description = "There is no such workflow"),
        (status = 409, description = "The key was used for another request"),
        (status = 422, description = "The inputs do not match the workflow's schema")))]
async fn execute(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let started = begin(&shared, &mut call, &["inputs", "input_data", "parameters"]).await?;
    let mut response = Json(Execution::from(started.run)).into_response();
    if started.replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The inputs may stand under one of `names`.
async fn begin(shared: &Shared, call: &mut Call, names: &[&'static str]) -> crate::Result<StartedRun> {
    let idempotency_key = call.idempotency_key()?;
    let mut fields = call.fields(names).await?;
    let mut given = Vec::new();
    for name in names {
        given.extend(fields.object(name)?.map(|value| (*name, value)));
    }
    if let [(one, _), (other, _), ..] = given.as_slice() {
        return Err(crate::Error::new(&general::FIELD, format!("`{one}` and `{other}` are the same thing"))
            .help("send one of them"));
    }
    let inputs = given.pop().map_or_else(|| Value::Object(serde_json::Map::new()), |(_, value)| value);
    let workflow = call.path("id")?.to_owned();
    call.engine(shared)?.start_run(NewRun { workflow, inputs, idempotency_key }).await
}

/// Runs, newest first unless said
#[utoipa::path(get, path = "/api/chainbot/runs", tag = "runs",
    params(
        ("workflow" = Option<String>, Query, description = "Only of this workflow: id or name"),
        ("status" = Option<String>, Query, description = "Only with this status"),
        ("sort" = Option<String>, Query, description = "`-created_at`, which is how they come without it, or `created_at`"),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 unless said"),
        ("cursor" = Option<String>, Query, description = "From the Link header of an earlier page")),
    responses(
        (status = 200, description = "A page", body = Vec<RunHead>),
        (status = 404, description = "There is no such workflow")))]
async fn list(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["workflow", "status", "sort", "limit", "cursor"])?;
    let limit = page::limit(&query)?;
    let status = query.text("status").map(status_of).transpose()?;
    let ((), way) = page::sort(&query, &[("created_at", ())], ((), Way::Down))?;
    let past =
        query.text("cursor").map(|text| text.parse().map_err(|_| page::bad_cursor(text))).transpose()?;
    let workflow = query.text("workflow").map(str::to_owned);
    let page = call.engine(&shared)?.runs(RunQuery { workflow, status, way, past, limit }).await?;
    let pager = Pager::of(page.items, |row| (row.id.to_string(), RunHead::from(row)))?;
    let filters = ["workflow", "status", "sort"].map(|name| (name, query.text(name)));
    pager.reply(&call, PATH, page.total, page.more, limit, &filters)
}

fn status_of(word: &str) -> crate::Result<RunStatus> {
    status_named(word).ok_or_else(|| {
        let known = RunStatus::ALL.map(RunStatus::as_str);
        wrong("status", &format!("is `{}`", printable(word)), &suggest::hint(word, &known))
    })
}

/// A run
#[utoipa::path(get, path = "/api/chainbot/runs/{id}", tag = "runs",
    params(("id" = String, Path, description = "The run")),
    responses(
        (status = 200, description = "The run", body = Run),
        (status = 404, description = "There is no such run")))]
async fn read(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let view = call.engine(&shared)?.run(call.run_id()?).await?;
    Ok(Json(Run::from(view)).into_response())
}

/// The steps of a run that have a record, in order of their first one
#[utoipa::path(get, path = "/api/chainbot/runs/{id}/steps", tag = "runs",
    params(
        ("id" = String, Path, description = "The run"),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 unless said"),
        ("cursor" = Option<String>, Query, description = "From the Link header of an earlier page")),
    responses(
        (status = 200, description = "A page", body = Vec<Step>),
        (status = 404, description = "There is no such run")))]
async fn steps(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["limit", "cursor"])?;
    let limit = page::limit(&query)?;
    let id = call.run_id()?;
    // Steps only ever join at the end, so a number is a stable cursor.
    let from = page::number_cursor(&query)?.unwrap_or(0) as usize;
    let all = call.engine(&shared)?.steps(id).await?;
    let total = all.len();
    let some = all.into_iter().enumerate().skip(from).take(limit as usize);
    let pager = Pager::of(some, |(index, view)| ((index + 1).to_string(), Step::from(view)))?;
    let more = from.saturating_add(limit as usize) < total;
    pager.reply(&call, &format!("{PATH}/{id}/steps"), total as u64, more, limit, &[])
}

/// The records of a run, in order
#[utoipa::path(get, path = "/api/chainbot/runs/{id}/journal", tag = "runs",
    params(
        ("id" = String, Path, description = "The run"),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 unless said"),
        ("cursor" = Option<u32>, Query, description = "A `seq`: the page begins with the record after it")),
    responses(
        (status = 200, description = "A page. The fields besides \
            `type`, `run`, `seq`, `lsn` and `time` depend on `type`", body = Vec<record::Entry>),
        (status = 404, description = "There is no such run")))]
async fn journal(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["limit", "cursor"])?;
    let limit = page::limit(&query)?.min(PAGE_MAX);
    let id = call.run_id()?;
    let engine = call.engine(&shared)?;
    let page = engine.journal(id, page::number_cursor(&query)?, limit).await?;
    let pager = Pager::of(page.items, |(lsn, one)| {
        (one.seq.to_string(), record::to_json(&*engine, id, lsn, &one, Values::Whole))
    })?;
    pager.reply(&call, &format!("{PATH}/{id}/journal"), page.total, page.more, limit, &[])
}
