//! The one guard: outside the whole service, on the port and for what a host forwards alike.
//!
//! Deny by default: only the rows of [`PUBLIC`] are served without a credential, and a path that does not exist is
//! denied like any other, so nothing can be learnt by trying. The credential is a bearer token in
//! the `Authorization` header and nowhere else: no cookie, no query parameter, no address.

use std::time::Duration;

use axum::http::{HeaderMap, Method, header};
use parking_lot::Mutex;

use super::token::TokenDigest;
use crate::env::Env;
use crate::error::code::general;
use crate::error::{Error, Result};

/// What is served without a credential: two answers that say only `ok`. `HEAD` is `GET` without its body.
pub const PUBLIC: &[(&str, &str)] =
    &[("GET", "/api/chainbot/health/live"), ("GET", "/api/chainbot/health/ready")];

/// Refusals are logged at most this often, with their number: a flood must not fill the disk.
const REFUSALS_LOGGED_EVERY: Duration = Duration::from_secs(10);

/// Decides who gets in.
pub struct Guard {
    token: TokenDigest,
    env: Env,
    // A plain lock: held for a few instructions, on refusals only.
    refusals: Mutex<Refusals>,
}

#[derive(Default)]
struct Refusals {
    unlogged: u64,
    logged_at: Option<Duration>,
}

/// Whom a request comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    /// Somebody who holds the token.
    Token,
    /// Anybody, on a public route.
    Anyone,
    /// Somebody without the token, at a webhook: the signature of the body decides, once it is read.
    Hook,
}

/// Webhooks: their credential is a signature, or the token.
const HOOKS: &str = "/api/chainbot/hooks/";

impl Guard {
    /// Lets in who holds `token`.
    pub fn new(token: TokenDigest, env: Env) -> Self {
        Self { token, env, refusals: Mutex::new(Refusals::default()) }
    }

    /// Who calls, or the refusal. `peer` is for the log only; an address proves nothing.
    pub fn admit(&self, method: &Method, path: &str, headers: &HeaderMap, peer: &str) -> Result<Caller> {
        if is_public(method, path) {
            return Ok(Caller::Anyone);
        }
        match self.check(headers) {
            Ok(()) => Ok(Caller::Token),
            // A wrong token is refused like anywhere; who sends none must have signed.
            Err(_) if is_signed_hook(method, path, headers) => Ok(Caller::Hook),
            Err(why) => {
                self.count_refusal(why, peer);
                Err(Error::new(&general::UNAUTHORIZED, why)
                    .help("send `Authorization: Bearer cb_…` with the token from the data folder"))
            }
        }
    }

    fn check(&self, headers: &HeaderMap) -> std::result::Result<(), &'static str> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let value = values.next().ok_or("the request has no Authorization header")?;
        if values.next().is_some() {
            return Err("the request has more than one Authorization header");
        }
        let text = value.to_str().map_err(|_| "the Authorization header is not ASCII text")?;
        let (scheme, token) = text.split_once(' ').ok_or("the Authorization header has no token")?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err("the Authorization header is not of the scheme Bearer");
        }
        if self.token.matches(&TokenDigest::of(token)) { Ok(()) } else { Err("the token is wrong") }
    }

    fn count_refusal(&self, why: &str, peer: &str) {
        let now = self.env.monotonic();
        let mut refusals = self.refusals.lock();
        refusals.unlogged += 1;
        if refusals.logged_at.is_some_and(|at| now.saturating_sub(at) < REFUSALS_LOGGED_EVERY) {
            return;
        }
        let count = std::mem::take(&mut refusals.unlogged);
        refusals.logged_at = Some(now);
        drop(refusals);
        log::warn!(
            target: "chainbot::http",
            "{count} request(s) refused since the last such line; the newest from {peer}: {why}"
        );
    }
}

fn is_signed_hook(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    method == Method::POST
        && path.starts_with(HOOKS)
        && headers.contains_key("webhook-signature")
        && !headers.contains_key(header::AUTHORIZATION)
}

/// Whether a route is served to anybody. Compares the path as it came, undecoded: another spelling is not public.
pub fn is_public(method: &Method, path: &str) -> bool {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    PUBLIC.contains(&(method, path))
}
