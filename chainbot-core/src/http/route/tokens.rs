//! API tokens: made, listed, revoked. The text of one is in the answer that made it, and nowhere after.

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

use super::repeat;
use crate::auth::{NewToken, Via, Who};
use crate::error::Error;
use crate::error::code::account as code;
use crate::http::Shared;
use crate::http::page::{self, Compare};
use crate::http::problem::Answer;
use crate::http::request::Call;
use crate::limits::API_TOKEN_DAYS_DEFAULT;
use crate::port::{Role, StoredApiToken};

/// Names in a body; the accounts know what they may be.
const TEXT_BYTES_MAX: usize = 256;

/// What the list can be sorted by.
const COLUMNS: &[(&str, Compare<(StoredApiToken, String)>)] = &[
    ("name", |a, b| a.0.name.cmp(&b.0.name)),
    ("user", |a, b| a.1.cmp(&b.1)),
    ("created_at", |a, b| a.0.created_at.cmp(&b.0.created_at)),
    ("expires_at", |a, b| a.0.expires_at.cmp(&b.0.expires_at)),
    ("used_at", |a, b| a.0.used_at.cmp(&b.0.used_at)),
];

/// An API token without its text.
#[derive(Serialize, ToSchema)]
struct Token {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// For people.
    name: String,
    /// For whom it acts.
    user: String,
    /// Its first characters.
    prefix: String,
    /// What it may do, of what its user may.
    scopes: Vec<String>,
    /// When it was made.
    #[schema(format = "date-time")]
    created_at: String,
    /// From then on it is refused.
    #[schema(format = "date-time")]
    expires_at: String,
    /// When it was last used, to within an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    used_at: Option<String>,
}

impl Token {
    fn of(token: StoredApiToken, user: String) -> Self {
        Self {
            id: token.id.to_string(),
            name: token.name,
            user,
            prefix: token.prefix,
            scopes: token.scopes,
            created_at: token.created_at.to_string(),
            expires_at: token.expires_at.to_string(),
            used_at: token.used_at.map(|at| at.to_string()),
        }
    }
}

/// A token that was just made.
#[derive(Serialize, ToSchema)]
struct Made {
    /// The text: shown this once, and not in the answer to a repeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// What it is.
    #[serde(flatten)]
    about: Token,
}

/// A token to be made.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the document; the body is read field by field")]
struct NewTokenBody {
    /// What uses it.
    name: String,
    /// Permissions, or `hook:NAME` for one webhook.
    scopes: Vec<String>,
    /// How long it lives: 1 to 366; 90 unless said.
    days: Option<u64>,
    /// For whom it acts; oneself unless said. Another one only for admins.
    user: Option<String>,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(revoke))
}

/// API tokens without their text: one's own, or all for admins
#[utoipa::path(get, path = "/api/chainbot/tokens", tag = "accounts",
    params(("sort" = Option<String>, Query,
        description = "`name`, `user`, `created_at`, `expires_at` or `used_at`; turned round by a `-` before it")),
    responses((status = 200, description = "The newest first unless said; there are at most 64 of a user", body = Vec<Token>)))]
async fn list(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let who = call.who()?;
    let of = if manages(who) { None } else { who.user };
    let mut all = shared.accounts.api_tokens(of);
    page::sort_whole(&call.query(&["sort"])?, &mut all, COLUMNS)?;
    let all = all.into_iter().map(|(token, user)| Token::of(token, user));
    Ok(Json(all.collect::<Vec<_>>()).into_response())
}

/// Makes an API token
///
/// A repeat with the same key makes no second one, and is told of the first without its text: that was in the first answer alone.
/// Whoever lost it revokes the token and makes another, with another key.
#[utoipa::path(post, path = "/api/chainbot/tokens", tag = "accounts",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat of this request harmless")),
    request_body(content = NewTokenBody, example = json!({ "name": "prometheus", "scopes": ["metrics:read"], "days": 90, "user": "mia" })),
    responses(
        (status = 201, description = "Made; its text is not shown again", body = Made),
        (status = 404, description = "There is no such user"),
        (status = 409, description = "The key was used for another request"),
        (status = 422, description = "Name, scopes or life cannot be taken")))]
async fn add(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let mut fields = call.fields(&["name", "scopes", "days", "user"]).await?;
    let name = fields.needed("name", TEXT_BYTES_MAX)?;
    let scopes = fields.texts("scopes")?;
    let days = fields.count("days")?.unwrap_or(API_TOKEN_DAYS_DEFAULT);
    let who = call.who()?;
    let owner = match fields.text("user", TEXT_BYTES_MAX)? {
        Some(user) if manages(who) => shared.accounts.user(&user)?,
        Some(user) if user.eq_ignore_ascii_case(&who.name) => shared.accounts.own(who)?,
        Some(_) => {
            return Err(Error::new(&code::FORBIDDEN, "only admins make tokens for others")
                .help("leave `user` out")
                .into());
        }
        None if who.via == Via::Local => {
            return Err(Error::new(&code::VALUE, "the token's user is not named")
                .help("give `user`; `chainbot user list` shows who there is")
                .into());
        }
        None => shared.accounts.own(who)?,
    };
    let engine = call.engine(&shared)?;
    let request = json!([&name, &scopes, days, owner.id.to_string()]);
    let once = repeat::look(call.idempotency_key()?, &engine, "token", &request).await?;
    if let Some(made) = repeat::before(&once) {
        let known = shared.accounts.api_tokens(Some(owner.id)).into_iter();
        let (token, user) = known
            .into_iter()
            .find(|(token, _)| *token.id.as_bytes() == made)
            .ok_or_else(|| repeat::gone(Error::new(&code::NOT_FOUND, "the token is not kept any more")))?;
        let about = Token::of(token, user);
        return Ok(repeat::reply(StatusCode::CREATED, Json(Made { token: None, about })));
    }
    let new = NewToken { name, scopes, days };
    let (token, text) = shared.accounts.add_token(who, &owner, new, repeat::keeper(&once)).await?;
    let made = Made { token: Some(text.reveal().to_owned()), about: Token::of(token, owner.name) };
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// Revokes an API token; it is refused from the next request on
#[utoipa::path(delete, path = "/api/chainbot/tokens/{id}", tag = "accounts",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 204, description = "Revoked"),
        (status = 404, description = "There is no such token of yours")))]
async fn revoke(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let who = call.who()?;
    let of = if manages(who) { None } else { Some(shared.accounts.own(who)?.id) };
    shared.accounts.revoke_token(who, of, call.path("id")?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn manages(who: &Who) -> bool {
    who.via == Via::Local || who.role == Role::Admin
}
