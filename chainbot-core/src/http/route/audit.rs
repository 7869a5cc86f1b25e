//! The audit log: searched, checked, exported. Nothing here changes it.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::Result;
use crate::http::Shared;
use crate::http::page::{self, Pager};
use crate::http::problem::Answer;
use crate::http::request::{Call, Query, wrong};
use crate::limits::PAGE_MAX;
use crate::port::{AuditFilter, AuditRow, Way};
use crate::runtime::Handle;
use crate::time::Timestamp;

const PATH: &str = "/api/chainbot/audit";
const FILTERS: [&str; 6] = ["action", "actor", "target", "target_id", "since", "until"];

/// A row of the audit log.
#[derive(Serialize, ToSchema)]
struct AuditView {
    /// From 1, without a gap.
    seq: i64,
    /// When.
    #[schema(format = "date-time")]
    at: String,
    /// What was done: `workflow.create`, `run.cancel`, `secret.set`.
    action: String,
    /// Who did it: `local` for the token of the data folder.
    actor: String,
    /// On what sort of thing: `workflow`, `run`, `secret`.
    target: String,
    /// On which.
    target_id: String,
    /// The id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    /// blake3 of the thing before, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    /// blake3 of it after.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// More.
    #[serde(skip_serializing_if = "Value::is_null")]
    meta: Value,
    /// Over the row before and all of this one, in hex.
    link: String,
}

impl From<AuditRow> for AuditView {
    fn from(row: AuditRow) -> Self {
        Self {
            seq: row.seq,
            at: row.at.to_string(),
            action: row.action,
            actor: row.actor,
            target: row.target,
            target_id: row.target_id,
            request: row.request,
            before: row.before.as_deref().map(hex),
            after: row.after.as_deref().map(hex),
            meta: row
                .meta
                .map_or(Value::Null, |text| serde_json::from_str(&text).unwrap_or(Value::String(text))),
            link: hex(&row.link),
        }
    }
}

/// What a look at the whole log found.
#[derive(Serialize, ToSchema)]
struct Verdict {
    /// Whether the log is as it was written, as far as can be seen from it.
    ok: bool,
    /// Rows that are there.
    rows: u64,
    /// Rows that were dropped with their segments.
    dropped: u64,
    /// The newest row's number.
    head_seq: i64,
    /// The newest row's link: noted elsewhere, it also finds a log that was made anew.
    head_link: String,
    /// What does not hold.
    broken: Vec<Broken>,
}

/// Something that does not hold.
#[derive(Serialize, ToSchema)]
struct Broken {
    /// At which row.
    seq: i64,
    /// What.
    what: &'static str,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(verify)).routes(routes!(export))
}

/// Who changed what, newest first unless said
#[utoipa::path(get, path = "/api/chainbot/audit", tag = "audit",
    params(
        ("action" = Option<String>, Query, description = "Only this action"),
        ("actor" = Option<String>, Query, description = "Only by this one"),
        ("target" = Option<String>, Query, description = "Only on this sort of thing"),
        ("target_id" = Option<String>, Query, description = "Only on this one"),
        ("since" = Option<String>, Query, description = "From this time on, RFC 3339"),
        ("until" = Option<String>, Query, description = "Up to this time, RFC 3339"),
        ("sort" = Option<String>, Query, description = "`-at`, which is how they come without it, or `at`"),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 unless said"),
        ("cursor" = Option<String>, Query, description = "From the Link header of an earlier page")),
    responses((status = 200, description = "A page",
        body = Vec<AuditView>)))]
async fn list(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query =
        call.query(&["action", "actor", "target", "target_id", "since", "until", "sort", "limit", "cursor"])?;
    let limit = page::limit(&query)?;
    let ((), way) = page::sort(&query, &[("at", ())], ((), Way::Down))?;
    let past = page::number_cursor(&query)?.map(i64::from);
    let filter = AuditFilter { limit, way, past, ..filter(&query)? };
    let page = call.engine(&shared)?.people()?.audit(filter).await?;
    let pager = Pager::of(page.items, |row| (row.seq.to_string(), AuditView::from(row)))?;
    let kept: Vec<(&str, Option<&str>)> =
        FILTERS.into_iter().chain(["sort"]).map(|name| (name, query.text(name))).collect();
    pager.reply(&call, PATH, page.total, page.more, limit, &kept)
}

/// Whether the log is as it was written
#[utoipa::path(get, path = "/api/chainbot/audit/verify", tag = "audit",
    responses((status = 200, description = "What was found, also when it is broken", body = Verdict)))]
async fn verify(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let found = call.engine(&shared)?.people()?.audit_verdict().await?;
    let broken = found.broken.iter().map(|one| Broken { seq: one.seq, what: one.what }).collect();
    Ok(Json(Verdict {
        ok: found.broken.is_empty(),
        rows: found.rows,
        dropped: found.dropped,
        head_seq: found.head.seq,
        head_link: hex(&found.head.link),
        broken,
    })
    .into_response())
}

/// All of it as JSON lines, newest first
#[utoipa::path(get, path = "/api/chainbot/audit/export", tag = "audit",
    params(
        ("action" = Option<String>, Query, description = "Only this action"),
        ("actor" = Option<String>, Query, description = "Only by this one"),
        ("target" = Option<String>, Query, description = "Only on this sort of thing"),
        ("target_id" = Option<String>, Query, description = "Only on this one"),
        ("since" = Option<String>, Query, description = "From this time on, RFC 3339"),
        ("until" = Option<String>, Query, description = "Up to this time, RFC 3339")),
    responses((status = 200, description = "A row a line", body = AuditView, content_type = "application/x-ndjson")))]
async fn export(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&FILTERS)?;
    let handle = call.engine(&shared)?.people()?.clone();
    let first = AuditFilter { limit: PAGE_MAX, ..filter(&query)? };
    // Errors before the first line are an answer of their own; later ones cut the body.
    let begun = lines(&handle, first.clone()).await?;
    let pages = futures_util::stream::unfold(Some((begun, handle, first)), |state| async move {
        let ((text, next), handle, filter) = state?;
        let Some(past) = next else { return Some((Ok(text), None)) };
        let filter = AuditFilter { past: Some(past), ..filter };
        match lines(&handle, filter.clone()).await {
            Ok(page) => Some((Ok::<_, std::io::Error>(text), Some((page, handle, filter)))),
            Err(error) => Some((Err(std::io::Error::other(error.message().to_owned())), None)),
        }
    });
    let mut response = Response::new(Body::from_stream(pages));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// A page as lines, and where the next one begins.
async fn lines(handle: &Handle, filter: AuditFilter) -> Result<(Bytes, Option<i64>)> {
    let page = handle.audit(filter).await?;
    let next = page.items.last().map(|row| row.seq).filter(|_| page.more);
    let mut text = String::new();
    for row in page.items {
        let line = serde_json::to_string(&AuditView::from(row)).map_err(|error| {
            crate::Error::new(&crate::error::code::general::INTERNAL, "a row cannot be written")
                .because(error)
        })?;
        text.push_str(&line);
        text.push('\n');
    }
    Ok((text.into(), next))
}

fn filter(query: &Query) -> Result<AuditFilter> {
    let text = |name: &str| query.text(name).map(str::to_owned);
    let time = |name: &'static str| match query.text(name) {
        None => Ok(None),
        Some(text) => Timestamp::parse(text)
            .map(Some)
            .ok_or_else(|| wrong(name, "is no time", "write it as 2027-01-15T03:17:00Z")),
    };
    Ok(AuditFilter {
        action: text("action"),
        actor: text("actor"),
        target: text("target"),
        target_id: text("target_id"),
        since: time("since")?,
        until: time("until")?,
        way: Way::Down,
        past: None,
        limit: 0,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
