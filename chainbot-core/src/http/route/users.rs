//! Users, for admins. A password is set anew by the token of the data folder alone: on the machine itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Session;
use super::repeat;
use crate::auth::{Credential, NewUser, UserChange};
use crate::error::code::account as code;
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::page::{self, Compare};
use crate::http::problem::Answer;
use crate::http::request::{Call, printable};
use crate::id::UserId;
use crate::limits::BODY_BYTES_MAX;
use crate::port::{Role, SecretText, StoredUser};

/// Names and hashes in a body; the accounts know what they may be.
const TEXT_BYTES_MAX: usize = 256;

/// What the list can be sorted by.
const COLUMNS: &[(&str, Compare<StoredUser>)] = &[
    ("name", |a, b| a.name.cmp(&b.name)),
    ("role", |a, b| a.role.cmp(&b.role)),
    ("created_at", |a, b| a.created_at.cmp(&b.created_at)),
    ("updated_at", |a, b| a.updated_at.cmp(&b.updated_at)),
    ("seen_at", |a, b| a.seen_at.cmp(&b.seen_at)),
];

/// A user.
#[derive(Serialize, ToSchema)]
pub struct User {
    /// Stays when the name changes hands.
    #[schema(format = "uuid")]
    id: String,
    /// In lower case.
    name: String,
    /// `viewer`, `operator`, `editor` or `admin`.
    role: &'static str,
    /// Whether the user may come in.
    active: bool,
    /// Whether nothing but a new password is taken.
    must_change_password: bool,
    /// When it was made.
    #[schema(format = "date-time")]
    created_at: String,
    /// When it was last changed.
    #[schema(format = "date-time")]
    updated_at: String,
    /// When the user last signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    seen_at: Option<String>,
}

impl From<StoredUser> for User {
    fn from(user: StoredUser) -> Self {
        Self {
            id: user.id.to_string(),
            name: user.name,
            role: user.role.as_str(),
            active: user.is_active,
            must_change_password: user.must_change,
            created_at: user.created_at.to_string(),
            updated_at: user.updated_at.to_string(),
            seen_at: user.seen_at.map(|at| at.to_string()),
        }
    }
}

/// A user to be made.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the document; the body is read field by field")]
struct NewUserBody {
    /// 1 to 63 of `a-z 0-9 . _ @ -`.
    name: String,
    /// `viewer`, `operator`, `editor` or `admin`; the first user must be an admin.
    role: String,
    /// At least 8 characters. Either this or `password_hash`.
    password: Option<String>,
    /// A bcrypt hash that is taken over, of a cost up to 14; it becomes argon2id at the first sign-in.
    password_hash: Option<String>,
}

/// What changes of a user.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the document; the body is read field by field")]
struct ChangeBody {
    /// `viewer`, `operator`, `editor` or `admin`.
    role: Option<String>,
    /// Whether the user may come in; `false` ends all logins, and tokens are refused.
    active: Option<bool>,
}

/// Another password.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the document; the body is read field by field")]
struct PasswordBody {
    /// At least 8 characters.
    password: String,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(show, change, remove))
        .routes(routes!(reset))
        .routes(routes!(sessions, end_sessions))
}

/// All users, by name unless said
#[utoipa::path(get, path = "/api/chainbot/users", tag = "accounts",
    params(("sort" = Option<String>, Query,
        description = "`name`, `role`, `created_at`, `updated_at` or `seen_at`; turned round by a `-` before it")),
    responses((status = 200, description = "All of them; there are at most 256", body = Vec<User>)))]
async fn list(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["sort"])?;
    let mut all = shared.accounts.users();
    page::sort_whole(&query, &mut all, COLUMNS)?;
    Ok(Json(all.into_iter().map(User::from).collect::<Vec<_>>()).into_response())
}

/// Makes a user
///
/// A repeat with the same key is told of the user that the first request made, whatever its password.
#[utoipa::path(post, path = "/api/chainbot/users", tag = "accounts",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat of this request harmless")),
    request_body(content = NewUserBody, example = json!({ "name": "tom", "role": "viewer", "password": "three words apart" })),
    responses(
        (status = 201, description = "Made", body = User),
        (status = 409, description = "A user has the name, or the key was used for another request"),
        (status = 422, description = "Name, role, password or hash cannot be taken")))]
async fn add(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let mut fields = call.fields(&["name", "role", "password", "password_hash"]).await?;
    let name = fields.needed("name", TEXT_BYTES_MAX)?;
    let role = role(&fields.needed("role", TEXT_BYTES_MAX)?)?;
    let engine = call.engine(&shared)?;
    let once = repeat::look(call.idempotency_key()?, &engine, "user", &json!([&name, role.as_str()])).await?;
    if let Some(made) = repeat::before(&once) {
        let user = shared.accounts.user(&UserId::from(made).to_string()).map_err(repeat::gone)?;
        return Ok(repeat::reply(StatusCode::CREATED, Json(User::from(user))));
    }
    let password = fields.text("password", BODY_BYTES_MAX)?.map(SecretText::new);
    let credential = match (password, fields.text("password_hash", TEXT_BYTES_MAX)?) {
        (Some(password), None) => Credential::Password(password),
        (None, Some(hash)) => Credential::Bcrypt(hash),
        _ => {
            return Err(Error::new(&code::PASSWORD, "a user comes with a password or a hash of one")
                .help("give either `password` or `password_hash`")
                .into());
        }
    };
    let new = NewUser { name, role, credential };
    let user = shared.accounts.add_user(call.who()?, new, repeat::keeper(&once)).await?;
    Ok((StatusCode::CREATED, Json(User::from(user))).into_response())
}

/// A user
#[utoipa::path(get, path = "/api/chainbot/users/{id}", tag = "accounts",
    params(("id" = String, Path, description = "Id or name")),
    responses(
        (status = 200, description = "The user", body = User),
        (status = 404, description = "There is no such user")))]
async fn show(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    Ok(Json(User::from(shared.accounts.user(call.path("id")?)?)).into_response())
}

/// Gives a user another role, or lets the user in or out; counts at the next request
#[utoipa::path(patch, path = "/api/chainbot/users/{id}", tag = "accounts",
    params(("id" = String, Path, description = "Id or name")),
    request_body(content = ChangeBody, example = json!({ "role": "operator" })),
    responses(
        (status = 200, description = "The user as it is then", body = User),
        (status = 404, description = "There is no such user"),
        (status = 409, description = "It is the last active admin"),
        (status = 422, description = "There is no such role")))]
async fn change(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let mut fields = call.fields(&["role", "active"]).await?;
    let role = fields.text("role", TEXT_BYTES_MAX)?.map(|word| role(&word)).transpose()?;
    let change = UserChange { role, is_active: fields.flag("active")? };
    let user = shared.accounts.change_user(call.who()?, call.path("id")?, change).await?;
    Ok(Json(User::from(user)).into_response())
}

/// Removes a user with all logins and tokens
#[utoipa::path(delete, path = "/api/chainbot/users/{id}", tag = "accounts",
    params(("id" = String, Path, description = "Id or name")),
    responses(
        (status = 204, description = "Removed"),
        (status = 404, description = "There is no such user"),
        (status = 409, description = "It is the last active admin")))]
async fn remove(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    shared.accounts.remove_user(call.who()?, call.path("id")?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Gives a user a new password, with the token of the data folder only; all logins end
#[utoipa::path(put, path = "/api/chainbot/users/{id}/password", tag = "accounts",
    params(("id" = String, Path, description = "Id or name")),
    request_body(content = PasswordBody, example = json!({ "password": "three words apart" })),
    responses(
        (status = 204, description = "Changed"),
        (status = 404, description = "There is no such user"),
        (status = 422, description = "The password cannot be taken")))]
async fn reset(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let mut fields = call.fields(&["password"]).await?;
    let password = SecretText::new(fields.needed("password", BODY_BYTES_MAX)?);
    shared.accounts.reset_password(call.who()?, call.path("id")?, password).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The logins of a user, the newest first
#[utoipa::path(get, path = "/api/chainbot/users/{id}/sessions", tag = "accounts",
    params(("id" = String, Path, description = "Id or name")),
    responses(
        (status = 200, description = "Those that are not over; at most 32", body = Vec<Session>),
        (status = 404, description = "There is no such user")))]
async fn sessions(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let user = shared.accounts.user(call.path("id")?)?;
    let all = shared.accounts.logins(user.id).into_iter().map(|login| Session::of(login, &call));
    Ok(Json(all.collect::<Result<Vec<_>>>()?).into_response())
}

/// Ends all logins of a user
#[utoipa::path(delete, path = "/api/chainbot/users/{id}/sessions", tag = "accounts",
    params(("id" = String, Path, description = "Id or name")),
    responses(
        (status = 204, description = "Ended"),
        (status = 404, description = "There is no such user")))]
async fn end_sessions(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let user = shared.accounts.user(call.path("id")?)?;
    shared.accounts.end_logins(call.who()?, user.id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn role(word: &str) -> Result<Role> {
    Role::parse(word).ok_or_else(|| {
        Error::new(&code::VALUE, format!("there is no role `{}`", printable(word)))
            .help("take `viewer`, `operator`, `editor` or `admin`")
    })
}
