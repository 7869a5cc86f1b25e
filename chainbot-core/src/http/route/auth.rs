//! Coming in, going out, and one's own account.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::users::User;
use crate::auth::{Pair, SignIn, Via};
use crate::error::code::account as code;
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::problem::Answer;
use crate::http::request::{Call, printable};
use crate::limits::{PASSWORD_BYTES_MAX, STRANGER_BODY_BYTES_MAX};
use crate::port::{LoginKind, SecretText, StoredLogin};

/// Names and tokens in a body; the accounts know what they may be.
const TEXT_BYTES_MAX: usize = 256;

/// Name and password.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the document; the body is read field by field")]
struct Login {
    /// A user's name, in any case.
    name: String,
    /// The password.
    password: String,
    /// Whether the tokens go into cookies, as a browser needs, and not into the answer.
    cookies: Option<bool>,
}

/// The first account.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the document; the body is read field by field")]
struct SetUp {
    /// From the log of the start, or the file `setup-token`.
    token: String,
    /// The admin's name.
    name: String,
    /// The admin's password.
    password: String,
}

/// A refresh token, where it is in no cookie.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the document; the body is read field by field")]
struct Refresh {
    /// As the last login or renewal gave it.
    refresh_token: Option<String>,
}

/// Another password.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the document; the body is read field by field")]
struct NewPassword {
    /// The password until then.
    current: String,
    /// The password from then on.
    new: String,
}

/// A login's tokens.
#[derive(Serialize, ToSchema)]
struct Tokens {
    /// `bearer`.
    token_type: &'static str,
    /// For the header Authorization. Not here when it is in a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    /// Its life in seconds.
    expires_in: i64,
    /// Good once, for `/api/chainbot/auth/refresh`. Not here when it is in a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// Its life in seconds, unless it is used before.
    refresh_expires_in: i64,
    /// The login.
    #[schema(format = "uuid")]
    session: String,
    /// Who.
    user: User,
}

/// Who the caller is.
#[derive(Serialize, ToSchema)]
struct Me {
    /// A user's name; `local` for the token of the data folder.
    name: String,
    /// `viewer`, `operator`, `editor` or `admin`.
    role: &'static str,
    /// `login`, `token` or `local`.
    credential: &'static str,
    /// What the caller may do.
    permissions: Vec<String>,
    /// Whether nothing but a new password is taken.
    must_change_password: bool,
}

/// A login.
#[derive(Serialize, ToSchema)]
pub struct Session {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// `browser` or `client`.
    kind: &'static str,
    /// When it began.
    #[schema(format = "date-time")]
    created_at: String,
    /// When its tokens were last renewed.
    #[schema(format = "date-time")]
    seen_at: String,
    /// When it ends unless its tokens are renewed.
    #[schema(format = "date-time")]
    idle_until: String,
    /// When it ends whatever happens.
    #[schema(format = "date-time")]
    expires_at: String,
    /// Where it came from.
    address: String,
    /// What the client called itself.
    agent: String,
    /// Whether it is the caller's.
    current: bool,
}

impl Session {
    /// As it is shown to somebody.
    pub fn of(login: StoredLogin, call: &Call) -> Result<Self> {
        Ok(Self {
            current: call.who()?.via == Via::Login(login.id),
            id: login.id.to_string(),
            kind: login.kind.as_str(),
            created_at: login.created_at.to_string(),
            seen_at: login.seen_at.to_string(),
            idle_until: login.idle_until.to_string(),
            expires_at: login.expires_at.to_string(),
            address: login.address,
            agent: login.agent,
        })
    }
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(rotate))
        .routes(routes!(set_up))
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(me))
        .routes(routes!(password))
        .routes(routes!(sessions, end_sessions))
        .routes(routes!(end_session))
}

/// Makes the first account, an admin (public until then)
#[utoipa::path(post, path = "/api/chainbot/setup", tag = "accounts",
    request_body(content = SetUp, example = json!({ "token": "cbs_...", "name": "mia", "password": "three words apart" })),
    responses(
        (status = 201, description = "Made; sign in with it", body = User),
        (status = 409, description = "There is an account already"),
        (status = 422, description = "Name or password cannot be taken"),
        (status = 429, description = "Too many tries")))]
async fn set_up(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let mut fields = call.fields_within(&["token", "name", "password"], STRANGER_BODY_BYTES_MAX).await?;
    let token = fields.needed("token", TEXT_BYTES_MAX)?;
    let name = fields.needed("name", TEXT_BYTES_MAX)?;
    let password = SecretText::new(fields.needed("password", STRANGER_BODY_BYTES_MAX)?);
    let user = shared.accounts.set_up(&token, &name, password, &call.client()).await?;
    Ok((StatusCode::CREATED, Json(User::from(user))).into_response())
}

/// Signs in (public)
#[utoipa::path(post, path = "/api/chainbot/auth/login", tag = "accounts",
    request_body(content = Login, example = json!({ "name": "mia", "password": "three words apart" })),
    responses(
        (status = 200, description = "A login; with `cookies` the tokens are in cookies alone", body = Tokens),
        (status = 401, description = "Name or password is wrong, or the user is disabled"),
        (status = 403, description = "With `cookies`: the request does not come from a page of this address"),
        (status = 409, description = "There is no account yet"),
        (status = 429, description = "Too many tries of this account or address")))]
async fn login(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let mut fields = call.fields_within(&["name", "password", "cookies"], STRANGER_BODY_BYTES_MAX).await?;
    let kind = match fields.flag("cookies")? {
        Some(true) => LoginKind::Browser,
        _ => LoginKind::Client,
    };
    if kind == LoginKind::Browser {
        shared.cookies.check_origin(call.headers())?;
    }
    let name = fields.needed("name", TEXT_BYTES_MAX)?;
    let password = SecretText::new(fields.needed("password", PASSWORD_BYTES_MAX)?);
    let pair = shared.accounts.sign_in(SignIn { name, password, kind, client: call.client() }).await?;
    tokens(&shared, &call, pair)
}

/// Gives new tokens for a refresh token, which is spent then (public: the refresh token is the credential)
#[utoipa::path(post, path = "/api/chainbot/auth/refresh", tag = "accounts",
    request_body(content = Refresh, description = "May be left out where the token is in the cookie",
        example = json!({ "refresh_token": "cbr_..." })),
    responses(
        (status = 200, description = "New tokens, where the old ones were", body = Tokens),
        (status = 400, description = "A token in the cookie and another in the body"),
        (status = 401, description = "The token is not good; one that was spent before ends its login"),
        (status = 403, description = "A cookie, and the request does not come from a page of this address"),
        (status = 409, description = "The token was used within the last ten seconds")))]
async fn refresh(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let mut fields = call.fields_within(&["refresh_token"], STRANGER_BODY_BYTES_MAX).await?;
    let given = fields.text("refresh_token", TEXT_BYTES_MAX)?;
    let wrong = |why: &str| Error::new(&code::REFRESH, why).help("sign in again");
    let cookie = shared.cookies.refresh(call.headers()).map_err(wrong)?;
    let (token, kind) = match (given, cookie) {
        (Some(_), Some(_)) => {
            return Err(Error::new(
                &code::TWO_CREDENTIALS,
                "a refresh token is in the cookie and in the body",
            )
            .help("send one of them")
            .into());
        }
        (Some(token), None) => (token, LoginKind::Client),
        (None, Some(token)) => {
            shared.cookies.check_origin(call.headers())?;
            (token.to_owned(), LoginKind::Browser)
        }
        (None, None) => return Err(wrong("the refresh token is missing").into()),
    };
    let pair = shared.accounts.renew(&token, kind).await?;
    tokens(&shared, &call, pair)
}

/// Signs access tokens with a new key
#[utoipa::path(post, path = "/api/chainbot/auth/rotate-key", tag = "accounts",
    responses(
        (status = 204, description = "From now on; tokens of the key before are read until they are over"),
        (status = 500, description = "The operator gives the key: change security.secret_key")))]
async fn rotate(State(shared): State<Arc<Shared>>) -> Answer {
    shared.accounts.rotate_signing_key().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Ends the login by which the request comes; its access tokens end with it
#[utoipa::path(post, path = "/api/chainbot/auth/logout", tag = "accounts",
    responses(
        (status = 204, description = "Ended; cookies are deleted"),
        (status = 409, description = "The credential is no login")))]
async fn logout(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    shared.accounts.sign_out(call.who()?).await?;
    Ok(with_cookies(StatusCode::NO_CONTENT.into_response(), shared.cookies.clear(&call)?))
}

/// Who the caller is, and what the caller may do
#[utoipa::path(get, path = "/api/chainbot/auth/me", tag = "accounts",
    responses((status = 200, description = "The caller", body = Me)))]
async fn me(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let who = call.who()?;
    let access = shared.accounts.access();
    let me = Me {
        name: who.name.clone(),
        role: who.role.as_str(),
        credential: match who.via {
            Via::Local => "local",
            Via::Login(_) => "login",
            Via::Token(_) => "token",
        },
        permissions: who.permissions(access),
        must_change_password: who.must_change,
    };
    Ok(Json(me).into_response())
}

/// Changes one's own password; all other logins end
#[utoipa::path(post, path = "/api/chainbot/auth/password", tag = "accounts",
    request_body(content = NewPassword, example = json!({ "current": "three words apart", "new": "four other words apart" })),
    responses(
        (status = 204, description = "Changed"),
        (status = 401, description = "The current password is wrong"),
        (status = 409, description = "The credential is no login"),
        (status = 422, description = "The new password cannot be taken"),
        (status = 429, description = "Too many tries")))]
async fn password(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let mut fields = call.fields_within(&["current", "new"], STRANGER_BODY_BYTES_MAX).await?;
    let current = SecretText::new(fields.needed("current", PASSWORD_BYTES_MAX)?);
    let new = SecretText::new(fields.needed("new", STRANGER_BODY_BYTES_MAX)?);
    let address = call.client().address;
    shared.accounts.change_password(call.who()?, current, new, &address).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// One's own logins, the newest first
#[utoipa::path(get, path = "/api/chainbot/auth/sessions", tag = "accounts",
    responses(
        (status = 200, description = "Those that are not over; at most 32", body = Vec<Session>),
        (status = 409, description = "The credential is no login of a user")))]
async fn sessions(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let user = shared.accounts.own(call.who()?)?;
    let all = shared.accounts.logins(user.id).into_iter().map(|login| Session::of(login, &call));
    Ok(Json(all.collect::<Result<Vec<_>>>()?).into_response())
}

/// Ends all one's own logins, this one too
#[utoipa::path(delete, path = "/api/chainbot/auth/sessions", tag = "accounts",
    responses(
        (status = 204, description = "Ended; cookies are deleted"),
        (status = 409, description = "The credential is no login of a user")))]
async fn end_sessions(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let user = shared.accounts.own(call.who()?)?;
    shared.accounts.end_logins(call.who()?, user.id).await?;
    Ok(with_cookies(StatusCode::NO_CONTENT.into_response(), shared.cookies.clear(&call)?))
}

/// Ends one of one's own logins
#[utoipa::path(delete, path = "/api/chainbot/auth/sessions/{id}", tag = "accounts",
    params(("id" = String, Path, description = "The login")),
    responses(
        (status = 204, description = "Ended"),
        (status = 404, description = "There is no such login of yours"),
        (status = 409, description = "The credential is no login of a user")))]
async fn end_session(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let user = shared.accounts.own(call.who()?)?;
    let text = call.path("id")?;
    let id = text.parse().map_err(|_| {
        Error::new(&code::NO_TOKEN, format!("there is no login `{}`", printable(text)))
            .help("GET /api/chainbot/auth/sessions lists them")
    })?;
    shared.accounts.end_login(call.who()?, user.id, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn tokens(shared: &Shared, call: &Call, pair: Pair) -> Answer {
    let is_client = pair.kind == LoginKind::Client;
    let cookies = if is_client { None } else { Some(shared.cookies.set(call, &pair)?) };
    let body = Tokens {
        token_type: "bearer",
        access_token: is_client.then(|| pair.access.clone()),
        expires_in: pair.access_s,
        refresh_token: is_client.then(|| pair.refresh.reveal().to_owned()),
        refresh_expires_in: pair.refresh_s,
        session: pair.login.to_string(),
        user: User::from(pair.user),
    };
    let response = Json(body).into_response();
    Ok(match cookies {
        Some(cookies) => with_cookies(response, cookies),
        None => response,
    })
}

fn with_cookies(mut response: Response, cookies: [HeaderValue; 2]) -> Response {
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
