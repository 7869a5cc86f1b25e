//! Backups: ordered, listed, followed. A request gives a name and never a path; putting one back is the command line's, because
//! no server may work on the data folder then.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::repeat;
use crate::backup::{Backup, Backups};
use crate::error::code::{backup as code, general};
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::page::{self, Compare};
use crate::http::problem::Answer;
use crate::http::request::Call;
use crate::id::SafeName;
use crate::runtime::Once;

const PATH: &str = "/api/chainbot/backups";
/// A name is shorter; what is longer is refused as one.
const NAME_BYTES_MAX: usize = 256;

/// What the list can be sorted by.
const COLUMNS: &[(&str, Compare<Backup>)] = &[
    ("name", |a, b| a.name().cmp(b.name())),
    ("created_at", |a, b| a.at().cmp(&b.at())),
    ("bytes", |a, b| a.bytes().cmp(&b.bytes())),
];

/// A backup.
#[derive(Serialize, ToSchema)]
struct BackupView {
    /// Its name.
    name: String,
    /// `complete`, `running`, `failed`, or `damaged` when its manifest does not read.
    status: &'static str,
    /// `manual`, `scheduled`, `before_restore` or `before_migration`.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// Of when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    created_at: Option<String>,
    /// The ChainBot that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Of its database.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<usize>,
    /// Length of the copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// One hash over all tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    /// Whether it has the secrets under a passphrase.
    #[serde(skip_serializing_if = "Option::is_none")]
    with_secrets: Option<bool>,
    /// Of one that is being made: pages that are copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pages_done: Option<u64>,
    /// Of one that is being made: pages in all; 0 at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pages: Option<u64>,
    /// Why it failed, or does not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The error's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
}

impl From<Backup> for BackupView {
    fn from(backup: Backup) -> Self {
        let bare = |name: SafeName, status| Self {
            name: name.to_string(),
            status,
            kind: None,
            created_at: None,
            version: None,
            schema: None,
            bytes: None,
            content: None,
            with_secrets: None,
            pages_done: None,
            pages: None,
            error: None,
            code: None,
        };
        match backup {
            Backup::UnderWay { name, kind, at, progress } => Self {
                kind: Some(kind.as_str()),
                created_at: Some(at.to_string()),
                pages_done: Some(progress.done),
                pages: Some(progress.pages),
                ..bare(name, "running")
            },
            Backup::Made(manifest) => Self {
                kind: Some(manifest.kind.as_str()),
                created_at: Some(manifest.created_at.to_string()),
                version: Some(manifest.version),
                schema: Some(manifest.schema),
                bytes: Some(manifest.database.bytes),
                content: Some(manifest.content),
                with_secrets: Some(manifest.secrets.is_some()),
                ..bare(manifest.name, "complete")
            },
            Backup::Unreadable(name, error) => Self {
                error: Some(error.message().to_owned()),
                code: Some(error.code().id),
                ..bare(name, "damaged")
            },
            Backup::Failed(failed) => Self {
                kind: Some(failed.kind.as_str()),
                created_at: Some(failed.at.to_string()),
                error: Some(failed.message),
                code: Some(failed.code),
                ..bare(failed.name, "failed")
            },
        }
    }
}

/// What a backup is ordered with.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the document; the body is read field by field")]
struct NewBackupBody {
    /// Lower-case letters, digits, `_` and `-`; the moment unless said.
    name: Option<String>,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(make)).routes(routes!(list)).routes(routes!(read))
}

/// Begins a backup
#[utoipa::path(post, path = "/api/chainbot/backup", tag = "backups",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat of this request harmless")),
    request_body(content = NewBackupBody, example = json!({ "name": "before-upgrade" })),
    responses(
        (status = 202, description = "It is being made", body = BackupView,
            headers(("Location", description = "How far it is"))),
        (status = 409, description = "The name is taken, another one is being made, or the key was used for another request"),
        (status = 422, description = "That cannot be a name")))]
async fn make(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let mut fields = call.fields(&["name"]).await?;
    let name = fields.text("name", NAME_BYTES_MAX)?.map(|text| safe_name(&text)).transpose()?;
    let backups = backups(&shared)?;
    let who = crate::runtime::Who::now();
    let engine = call.engine(&shared)?;
    let once = repeat::look(
        call.idempotency_key()?,
        &engine,
        "backup",
        &json!([name.as_ref().map(SafeName::as_str)]),
    )
    .await?;
    let before = repeat::before(&once);
    let name = match before {
        Some(made) => blocking(move || named(&backups, made)).await?,
        None => blocking(move || backups.order(name, who)).await?,
    };
    if let Some(Once::New(held)) = &once {
        engine.people()?.keep_key(held, mark(&name)).await?;
    }
    let view = shown(&shared, name.clone()).await?;
    let location = HeaderValue::try_from(call.location(&format!("{PATH}/{name}")))
        .map_err(|e| Error::new(&general::INTERNAL, "the location is no header").because(e))?;
    let reply = ([(header::LOCATION, location)], Json(view));
    Ok(match before {
        Some(_) => repeat::reply(StatusCode::ACCEPTED, reply),
        None => (StatusCode::ACCEPTED, reply).into_response(),
    })
}

/// All backups, newest first unless said
#[utoipa::path(get, path = "/api/chainbot/backups", tag = "backups",
    params(("sort" = Option<String>, Query,
        description = "`name`, `created_at` or `bytes`; turned round by a `-` before it")),
    responses((status = 200, description = "All of them; one that is being made, and the last one that failed, come first",
        body = Vec<BackupView>)))]
async fn list(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["sort"])?;
    let backups = backups(&shared)?;
    let mut all = blocking(move || backups.list()).await?;
    page::sort_whole(&query, &mut all, COLUMNS)?;
    Ok(Json(all.into_iter().map(BackupView::from).collect::<Vec<_>>()).into_response())
}

/// One backup
#[utoipa::path(get, path = "/api/chainbot/backups/{name}", tag = "backups",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "It, in whatever state", body = BackupView),
        (status = 404, description = "There is none")))]
async fn read(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let name = call.path("name")?;
    let missing = || {
        Error::new(&code::NOT_FOUND, "that is no backup's name").help("GET /api/chainbot/backups lists them")
    };
    let name: SafeName = name.parse().map_err(|_| missing())?;
    Ok(Json(shown(&shared, name).await?).into_response())
}

/// What a key keeps of a backup.
fn mark(name: &SafeName) -> [u8; 16] {
    let mut mark = [0; 16];
    mark.copy_from_slice(&blake3::hash(name.as_str().as_bytes()).as_bytes()[..16]);
    mark
}

fn named(backups: &Backups, made: [u8; 16]) -> Result<SafeName> {
    let known = backups.list()?.into_iter().map(|one| one.name().clone()).find(|name| mark(name) == made);
    known.ok_or_else(|| repeat::gone(Error::new(&code::NOT_FOUND, "the backup is not kept any more")))
}

async fn shown(shared: &Shared, name: SafeName) -> Result<BackupView> {
    let backups = backups(shared)?;
    blocking(move || backups.find(&name)).await.map(BackupView::from)
}

fn safe_name(text: &str) -> Result<SafeName> {
    text.parse().map_err(|why: &str| {
        let message = format!("`{}` cannot be a backup's name", crate::http::request::printable(text));
        Error::new(&code::NAME, message).help(why)
    })
}

fn backups(shared: &Shared) -> Result<Arc<Backups>> {
    shared.backups.clone().ok_or_else(|| {
        Error::new(&general::NOT_HERE, "nobody makes backups here").help("ask the server of the data folder")
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::new(&general::INTERNAL, "looking at the backups was cut short").because(e))?
}
