//! Secrets: set, listed without their values, removed. No route gives a value back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::code::general;
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::engine::scope_of;
use crate::http::page::{self, Compare};
use crate::http::problem::Answer;
use crate::http::request::Call;
use crate::limits::BODY_BYTES_MAX;
use crate::port::SecretText;
use crate::secret::{NewSecret, Rotated, SecretInfo, Vault};

/// What the list can be sorted by.
const COLUMNS: &[(&str, Compare<SecretInfo>)] = &[
    ("name", |a, b| a.name.cmp(&b.name)),
    ("created_at", |a, b| a.created_at.cmp(&b.created_at)),
    ("updated_at", |a, b| a.updated_at.cmp(&b.updated_at)),
];

/// A secret without its value.
#[derive(Serialize, ToSchema)]
struct Secret {
    /// What expressions call it: `secrets.<name>`.
    name: String,
    /// Where it may be sent.
    hosts: Vec<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// From 1.
    version: u32,
    /// When it was first set.
    #[schema(format = "date-time")]
    created_at: String,
    /// When it was last set.
    #[schema(format = "date-time")]
    updated_at: String,
    /// Whether the key of the data folder opens it.
    readable: bool,
    /// The user whose it is; null is the operator, whose secrets everybody's workflows use.
    #[schema(format = "uuid")]
    owner: Option<String>,
}

impl From<SecretInfo> for Secret {
    fn from(info: SecretInfo) -> Self {
        Self {
            name: info.name,
            hosts: info.hosts,
            description: info.description,
            version: info.version,
            created_at: info.created_at.to_string(),
            updated_at: info.updated_at.to_string(),
            readable: info.is_readable,
            owner: info.owner.map(|user| user.to_string()),
        }
    }
}

/// What a secret is set from.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the document; the body is read field by field")]
struct NewSecretBody {
    /// The value; 6 bytes to 16 KiB.
    value: String,
    /// Where it may be sent: `api.example.com`, `api.example.com:8443`, `http://192.168.1.5:8123`.
    hosts: Option<Vec<String>>,
    /// For people.
    description: Option<String>,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(rotate)).routes(routes!(set, remove))
}

/// All secrets without their values, by name unless said
#[utoipa::path(get, path = "/api/chainbot/secrets", tag = "secrets",
    params(("sort" = Option<String>, Query,
        description = "`name`, `created_at` or `updated_at`; turned round by a `-` before it")),
    responses((status = 200, description = "One's own and the operator's, all for an admin; there are at most 256", body = Vec<Secret>)))]
async fn list(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let scope = scope_of(call.who()?);
    let mut all = vault(&shared)?.list(&scope);
    page::sort_whole(&call.query(&["sort"])?, &mut all, COLUMNS)?;
    Ok(Json(all.into_iter().map(Secret::from).collect::<Vec<_>>()).into_response())
}

/// Stores a secret, or a new version of one
#[utoipa::path(put, path = "/api/chainbot/secrets/{name}", tag = "secrets",
    params(("name" = String, Path, description = "Lower-case letters, digits and `_`")),
    request_body(content = NewSecretBody, example = json!({ "value": "s3cret-value", "hosts": ["api.example.com"] })),
    responses(
        (status = 200, description = "A new version; it replaces value, hosts and description", body = Secret),
        (status = 201, description = "There was none of this name", body = Secret),
        (status = 404, description = "The name is that of a secret which is not there for the caller"),
        (status = 422, description = "Name, value or a host cannot be taken")))]
async fn set(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let mut fields = call.fields(&["value", "hosts", "description"]).await?;
    let Some(value) = fields.text("value", BODY_BYTES_MAX)?.map(SecretText::new) else {
        return Err(wrong("`value` is missing", "send the secret's value as text").into());
    };
    let hosts = fields.texts("hosts")?;
    let description = fields.text("description", BODY_BYTES_MAX)?;
    let new = NewSecret { value, hosts, description };
    let (info, is_new) = vault(&shared)?.set(&scope_of(call.who()?), call.path("name")?, new).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Secret::from(info))).into_response())
}

/// What a rotation did.
#[derive(Serialize, ToSchema)]
struct RotatedKey {
    /// Secrets that were sealed anew.
    secrets: usize,
    /// The keys are a credential of the service: take its second line away.
    credential: bool,
}

/// Seals every secret with a new key, and forgets the one before
#[utoipa::path(post, path = "/api/chainbot/secrets/rotate-key", tag = "secrets",
    responses(
        (status = 200, description = "Done; repeated after an interruption, it goes on", body = RotatedKey),
        (status = 500, description = "A secret does not open, so nothing was begun; or the key is a credential with one line")))]
async fn rotate(State(shared): State<Arc<Shared>>) -> Answer {
    let Rotated { secrets, is_credential } = vault(&shared)?.rotate_key().await?;
    Ok(Json(RotatedKey { secrets, credential: is_credential }).into_response())
}

/// Removes a secret
#[utoipa::path(delete, path = "/api/chainbot/secrets/{name}", tag = "secrets",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 204, description = "Removed"),
        (status = 404, description = "There is no such secret")))]
async fn remove(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    vault(&shared)?.remove(&scope_of(call.who()?), call.path("name")?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn vault(shared: &Shared) -> Result<&Vault> {
    shared.secrets.as_deref().ok_or_else(|| {
        Error::new(&general::NOT_HERE, "there is no vault here").help("ask the server of the data folder")
    })
}

fn wrong(message: &str, help: &str) -> Error {
    Error::new(&general::FIELD, message).help(help)
}
