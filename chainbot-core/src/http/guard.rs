//! The one guard: outside the whole service, on the port and for what a host forwards alike.
//!
//! Deny by default. [`Guard::admit`] says who calls, before anything else is looked at: only what the table of access
//! (`auth/access.txt`) calls public is answered without a credential, and a path that does not exist is denied like any
//! other, so nothing can be learnt by trying. [`authorize`] says whether that one may, next to the handlers: the router
//! has chosen the route by then, so there is one reading of a path and not two. A credential is a bearer token or a browser's cookie,
//! never both, never a query parameter, never an address.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::cookie::Cookies;
use super::live::is_socket;
use super::problem::Failure;
use super::request::is_websocket;
use super::{Served, Shared};
use crate::auth::{Accounts, Need, Seldom, Via, Who};
use crate::env::Env;
use crate::error::code::{account, general};
use crate::error::{Error, Result};

/// Refusals are logged at most this often, with their number: a flood must not fill the disk.
const REFUSALS_LOGGED_EVERY: Duration = Duration::from_secs(10);
/// Webhooks: their credential is a signature, or a token.
const HOOKS: &str = "/api/chainbot/hooks/";
/// Clients of the Model Context Protocol are programs; a page has no business there.
const MCP: &str = "/mcp";

/// Decides who gets in.
pub struct Guard {
    accounts: Arc<Accounts>,
    cookies: Cookies,
    env: Env,
    refusals: Seldom,
}

/// Whom a request comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Caller {
    /// Somebody with a credential.
    Known(Arc<Who>),
    /// Anybody, on a public route.
    Anyone,
    /// Somebody without a credential, at a webhook: the signature of the body decides, once it is read.
    Hook,
    /// Somebody without a credential who opens a WebSocket: its first frame decides.
    Socket,
}

impl Caller {
    /// Whose rate a request counts for; webhooks without a credential share one, and so do WebSockets.
    pub fn rated(&self) -> Option<Via> {
        match self {
            Caller::Known(who) => Some(who.via),
            Caller::Hook => Some(Via::Token([0; 16].into())),
            Caller::Socket => Some(Via::Token([1; 16].into())),
            Caller::Anyone => None,
        }
    }
}

impl Guard {
    /// Lets in whom the accounts know.
    pub fn new(accounts: Arc<Accounts>, cookies: Cookies, env: Env) -> Self {
        Self { accounts, cookies, env, refusals: Seldom::new(REFUSALS_LOGGED_EVERY) }
    }

    /// Who calls, or the refusal. `peer` is for the log only; an address proves nothing.
    pub fn admit(&self, method: &Method, path: &str, headers: &HeaderMap, peer: &str) -> Result<Caller> {
        if self.is_public(method, path) {
            return Ok(Caller::Anyone);
        }
        if path == MCP {
            check_page(headers)?;
        }
        match self.check(method, headers) {
            Ok(who) => Ok(Caller::Known(Arc::new(who))),
            // A wrong token is refused like anywhere; who sends none must have signed.
            Err(Refusal::Unknown(_)) if is_signed_hook(method, path, headers) => Ok(Caller::Hook),
            Err(Refusal::Unknown(_)) if self.is_bare_socket(method, path, headers) => {
                // A page of another origin has no business here, whatever token it may know.
                if headers.contains_key(header::ORIGIN) {
                    self.cookies.check_origin(headers)?;
                }
                Ok(Caller::Socket)
            }
            Err(Refusal::Unknown(why)) => {
                self.count_refusal(why, peer);
                Err(Error::new(&general::UNAUTHORIZED, why).help(
                    "send `Authorization: Bearer ...` with an access token, an API token or the token of the data folder",
                ))
            }
            Err(Refusal::Known(error)) => Err(error),
        }
    }

    /// Whether a route is served to anybody. Compares the path as it came, undecoded: another spelling is not public.
    pub fn is_public(&self, method: &Method, path: &str) -> bool {
        match self.accounts.access().need(method.as_str(), path) {
            Some(Need::Public) => true,
            Some(Need::Setup) => !self.accounts.is_set_up(),
            _ => false,
        }
    }

    fn check(&self, method: &Method, headers: &HeaderMap) -> Result<Who, Refusal> {
        let cookie = self.cookies.access(headers).map_err(Refusal::Unknown)?;
        let has_header = headers.contains_key(header::AUTHORIZATION);
        match cookie {
            Some(_) if has_header => Err(Refusal::Known(
                Error::new(&account::TWO_CREDENTIALS, "the request has a cookie and an Authorization header")
                    .help("send one of them"),
            )),
            Some(token) => {
                let who = self.accounts.admit(token).filter(|who| matches!(who.via, Via::Login(_)));
                let who = who.ok_or(Refusal::Unknown("the cookie is wrong, or its login is over"))?;
                // A page of another origin could open a WebSocket as well, and would read from it.
                if !method.is_safe() || is_websocket(headers) {
                    self.cookies.check_origin(headers).map_err(Refusal::Known)?;
                }
                Ok(who)
            }
            None => {
                let token = bearer(headers).map_err(Refusal::Unknown)?;
                self.accounts.admit(token).ok_or(Refusal::Unknown("the token is wrong, or it is over"))
            }
        }
    }

    /// Who holds the token of a first frame.
    pub fn known(&self, token: &str, peer: &str) -> Result<Who> {
        self.accounts.admit(token).ok_or_else(|| {
            let why = "the token of a WebSocket is wrong, or it is over";
            self.count_refusal(why, peer);
            Error::new(&general::UNAUTHORIZED, why)
        })
    }

    /// Whether a request opens a WebSocket and says nothing of who it is.
    fn is_bare_socket(&self, method: &Method, path: &str, headers: &HeaderMap) -> bool {
        let has_credential =
            headers.contains_key(header::AUTHORIZATION) || !matches!(self.cookies.access(headers), Ok(None));
        method == Method::GET && is_socket(path) && is_websocket(headers) && !has_credential
    }

    fn count_refusal(&self, why: &str, peer: &str) {
        let Some(count) = self.refusals.one_more(self.env.monotonic()) else { return };
        log::warn!(
            target: "chainbot::http",
            "{count} request(s) refused since the last such line; the newest from {peer}: {why}"
        );
    }
}

enum Refusal {
    /// Nobody is known by it.
    Unknown(&'static str),
    /// Somebody is, or the request is wrong in another way.
    Known(Error),
}

fn bearer(headers: &HeaderMap) -> Result<&str, &'static str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or("the request has no Authorization header")?;
    if values.next().is_some() {
        return Err("the request has more than one Authorization header");
    }
    let text = value.to_str().map_err(|_| "the Authorization header is not ASCII text")?;
    let (scheme, token) = text.split_once(' ').ok_or("the Authorization header has no token")?;
    match scheme.eq_ignore_ascii_case("bearer") {
        true => Ok(token),
        false => Err("the Authorization header is not of the scheme Bearer"),
    }
}

/// Refuses a page, whatever credential it may know, unless it is of this machine itself. Its address must be one that nobody else's name
/// server can answer for, or a page could have its own name lead here.
fn check_page(headers: &HeaderMap) -> Result<()> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_ascii_lowercase();
    let origin = text(origin);
    let own = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let host = headers.get(header::HOST).map(text).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host.as_str(),
    };
    if own == Some(host.as_str()) && ["localhost", "127.0.0.1", "[::1]"].contains(&name) {
        return Ok(());
    }
    Err(Error::new(&account::ORIGIN, "a page of another origin does not use tools")
        .help("programs send no `Origin`; a page of this machine is at localhost"))
}

fn is_signed_hook(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    method == Method::POST
        && path.starts_with(HOOKS)
        && headers.contains_key("webhook-signature")
        && !headers.contains_key(header::AUTHORIZATION)
}

/// Lets a request through to the handler of its route where the caller may use it.
pub async fn authorize(path: MatchedPath, request: Request, next: Next) -> Response {
    let mut response = match may(&path, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => Failure::from(error).into_response(),
    };
    response.extensions_mut().insert(Served(path));
    response
}

fn may(path: &MatchedPath, request: &Request) -> Result<()> {
    let shared = request.extensions().get::<Arc<Shared>>();
    let shared = shared.ok_or_else(|| Error::new(&general::INTERNAL, "a request came past the guard"))?;
    let access = shared.accounts.access();
    let caller = request.extensions().get::<Caller>();
    match (access.need(request.method().as_str(), path.as_str()), caller) {
        // Every route that is served has a row, or the API would not have started: this one gets its 405.
        (None, Some(_)) | (Some(Need::Public | Need::Setup), Some(_)) => Ok(()),
        (Some(Need::Permission(permission)), Some(Caller::Known(who))) => {
            let hook = request.uri().path().strip_prefix(HOOKS).filter(|_| path.as_str().starts_with(HOOKS));
            who.may(access, permission, hook)
        }
        (Some(Need::Permission(_)), Some(Caller::Hook)) if path.as_str().starts_with(HOOKS) => Ok(()),
        (Some(Need::Permission(_)), Some(Caller::Socket)) if is_socket(request.uri().path()) => Ok(()),
        _ => Err(Error::new(&general::UNAUTHORIZED, "the request has no credential for this route")),
    }
}
