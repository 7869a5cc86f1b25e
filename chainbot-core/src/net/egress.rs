//! Sends one request under the policy and reads its reply under bounds.
//!
//! Every hop of a redirect goes the whole way: URL, policy, gate, resolver, address table. The reply's body is
//! counted as it comes out of decompression, so a bomb is stopped within one chunk of the bound. Dropping the
//! future closes the connection.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION};
use tokio::time::timeout;

use super::client::{Clients, Pooling};
use super::error::EgressError;
use super::gate::Gates;
use super::policy::{InForce, Policy, Rules};
use super::resolve::{Resolver, SystemResolver, is_this_machine};
use super::url::Target;
use super::{cause, header};
use crate::Result;
use crate::env::Env;
use crate::error::code::net as code;
use crate::limits::{
    EGRESS_BODY_BYTES_MAX, EGRESS_PER_HOST_MAX, EGRESS_REDIRECTS_MAX, EGRESS_REPLY_BYTES_DEFAULT,
    EGRESS_TOTAL_S_DEFAULT, EGRESS_WAIT_S_MAX,
};
use crate::model::class;

/// What is sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// In capitals: GET HEAD POST PUT PATCH DELETE OPTIONS.
    pub method: String,
    /// Absolute, http or https.
    pub url: String,
    /// Added to the URL's query, encoded.
    pub query: Vec<(String, String)>,
    /// Names and values; checked for what may not be set.
    pub headers: Vec<(String, String)>,
    /// Empty = none.
    pub body: Vec<u8>,
    /// Everything together, waiting for a place at the host included. `None`: 30 s for the exchange, and up to
    /// five minutes of waiting for a place before it.
    pub timeout: Option<Duration>,
    /// Of the reply's body after decompression; `None` = 1 MiB.
    pub max_bytes: Option<usize>,
    /// At most 3 hops.
    pub follow_redirects: bool,
    /// Whether a secret is in it: then nothing of it but its URL goes to another origin, and its headers are not
    /// shown anywhere.
    pub has_secrets: bool,
}

impl Request {
    /// A request with nothing but method and URL, and the defaults.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
            max_bytes: None,
            follow_redirects: false,
            has_secrets: false,
        }
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub status: u16,
    /// Names in lower case; repeated ones stay repeated.
    pub headers: Vec<(String, String)>,
    /// Decompressed and whole.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// The only HTTP client of ChainBot. Cheap to share behind an `Arc`.
pub struct Egress {
    rules: InForce,
    clients: Clients,
    gates: Gates,
    env: Env,
}

/// A request as the next hop sends it.
pub(super) struct Hop {
    pub(super) method: Method,
    pub(super) target: Target,
    headers: HeaderMap,
    body: Vec<u8>,
    has_secrets: bool,
}

impl Egress {
    /// Under a policy. CB-0613 names a wrong grant.
    pub fn new(policy: Policy, env: Env) -> Result<Self> {
        Self::with_resolver(policy, env, Arc::new(SystemResolver))
    }

    /// With another way from names to addresses.
    pub fn with_resolver(policy: Policy, env: Env, resolver: Arc<dyn Resolver>) -> Result<Self> {
        Ok(Self::with_rules(Rules::new(&policy)?, env, resolver))
    }

    pub(crate) fn with_rules(rules: Rules, env: Env, resolver: Arc<dyn Resolver>) -> Self {
        let rules = InForce::new(rules);
        Self {
            clients: Clients::new(resolver, rules.clone()),
            rules,
            gates: Gates::with_places(EGRESS_PER_HOST_MAX),
            env,
        }
    }

    /// With so many places at each host instead of the usual few.
    #[must_use]
    pub fn with_places(mut self, places: usize) -> Self {
        self.gates = Gates::with_places(places);
        self
    }

    pub(super) fn rules(&self) -> Arc<Rules> {
        self.rules.get()
    }

    /// Another policy for every request from here on. CB-0613 names a wrong grant; then the old one stays.
    pub fn set_policy(&self, policy: &Policy) -> Result<()> {
        self.rules.set(Rules::new(policy)?);
        Ok(())
    }

    pub(super) fn resolver(&self) -> &dyn Resolver {
        self.clients.resolver()
    }

    /// TLS as requests use it.
    pub(super) async fn tls_config(&self) -> std::result::Result<rustls::ClientConfig, EgressError> {
        self.clients.tls().await.cloned()
    }

    #[cfg(test)]
    pub(crate) fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Whether a URL would be called at all, as far as its text tells: no look-up, no connection.
    pub fn check(&self, url: &str) -> std::result::Result<(), EgressError> {
        self.rules.get().check_target(&Target::parse(url)?, is_this_machine)
    }

    /// Sends a request and reads the whole reply, whatever its status.
    pub async fn send(&self, request: Request) -> std::result::Result<Reply, EgressError> {
        let max_bytes = request.max_bytes.unwrap_or(EGRESS_REPLY_BYTES_DEFAULT);
        let follow = request.follow_redirects;
        let limit = request.timeout;
        let hop = first_hop(request)?;
        let shown = format!("`{} {}`", hop.method, hop.target);
        match limit {
            Some(limit) => {
                let sent = timeout(limit, self.follow(hop, follow, max_bytes, limit));
                sent.await.unwrap_or_else(|_| Err(late(&shown, limit)))
            }
            None => self.follow(hop, follow, max_bytes, Duration::from_secs(EGRESS_TOTAL_S_DEFAULT)).await,
        }
    }

    /// `budget`: for all exchanges together, without the waits for a place.
    async fn follow(
        &self,
        mut hop: Hop,
        follow: bool,
        max_bytes: usize,
        budget: Duration,
    ) -> std::result::Result<Reply, EgressError> {
        let mut left = budget;
        for hops in 0..=EGRESS_REDIRECTS_MAX {
            self.rules.get().check_target(&hop.target, is_this_machine)?;
            let host = hop.target.host().to_string();
            let place = self.enter(&host).await?;
            let before = self.env.monotonic();
            let shown = format!("`{} {}`", hop.method, hop.target);
            let exchanged = timeout(left, self.exchange(&hop, follow, max_bytes)).await;
            drop(place);
            match exchanged.unwrap_or_else(|_| Err(late(&shown, budget)))? {
                Answer::Whole(reply) => return Ok(reply),
                Answer::Redirect { status, location } => {
                    if hops == EGRESS_REDIRECTS_MAX {
                        break;
                    }
                    hop = self.next_hop(hop, status, &location)?;
                }
            }
            left = left.saturating_sub(self.env.monotonic().saturating_sub(before));
        }
        let message = format!(
            "{} redirects once more after {EGRESS_REDIRECTS_MAX} hops; call the last URL directly",
            hop.target
        );
        Err(EgressError::new(class::LIMIT, &code::REDIRECT, message))
    }

    async fn exchange(
        &self,
        hop: &Hop,
        follow: bool,
        max_bytes: usize,
    ) -> std::result::Result<Answer, EgressError> {
        let response = self.dispatch(hop).await?;
        let status = response.status().as_u16();
        let from = hop.target.to_string();
        let headers = header::of_reply(response.headers(), &from)?;
        let head = Reply { status, headers, body: Vec::new() };
        if follow
            && matches!(status, 301 | 302 | 303 | 307 | 308)
            && let Some(location) = response.headers().get(LOCATION)
        {
            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            return Ok(Answer::Redirect { status, location });
        }
        let body = read_body(response, max_bytes, &hop.target).await.map_err(|error| error.after(&head))?;
        Ok(Answer::Whole(Reply { body, ..head }))
    }

    /// Sends one hop, up to the head of its reply.
    pub(super) async fn dispatch(&self, hop: &Hop) -> std::result::Result<reqwest::Response, EgressError> {
        let repeatable = !matches!(hop.method, Method::POST | Method::PATCH);
        let pooling = if repeatable { Pooling::Reuse } else { Pooling::Fresh };
        let client = self.clients.get(&hop.target, pooling).await?;
        let mut request =
            client.request(hop.method.clone(), hop.target.url().clone()).headers(hop.headers.clone());
        if !hop.body.is_empty() {
            request = request.body(hop.body.clone());
        } else if matches!(hop.method, Method::POST | Method::PUT | Method::PATCH) {
            // Some servers answer 411 to such a method without a length.
            request = request.header(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        request.send().await.map_err(|error| cause::of(&error, &hop.target))
    }

    /// Waits for a place at a host, which is held as long as the value.
    pub(super) async fn enter(
        &self,
        host: &str,
    ) -> std::result::Result<tokio::sync::OwnedSemaphorePermit, EgressError> {
        let wait = Duration::from_secs(EGRESS_WAIT_S_MAX);
        timeout(wait, self.gates.enter(host)).await.map_err(|_| crowded(host, wait))
    }

    /// What a redirect asks for: 303, and 301 and 302 to a POST, become a GET, as browsers do.
    fn next_hop(&self, hop: Hop, status: u16, location: &str) -> std::result::Result<Hop, EgressError> {
        let Hop { mut method, target: from, mut headers, mut body, mut has_secrets } = hop;
        let target = from.join(location).map_err(|error| {
            let message = format!("{from} redirects, and {}", error.message);
            EgressError::new(class::EGRESS, &code::REDIRECT, message)
        })?;
        self.rules.get().check_redirect(&from, &target)?;
        if status == 303 && method != Method::HEAD || matches!(status, 301 | 302) && method == Method::POST {
            method = Method::GET;
            body.clear();
            header::drop_body(&mut headers);
        }
        if !from.same_origin(&target) {
            header::drop_credentials(&mut headers);
            if has_secrets {
                if !body.is_empty() {
                    let message = format!(
                        "{from} redirects to {target} and wants the body there too, which holds a secret; call the \
                         last URL directly"
                    );
                    return Err(EgressError::new(class::EGRESS, &code::REDIRECT, message));
                }
                // A secret may stand in any header.
                headers.clear();
                has_secrets = false;
            }
        }
        Ok(Hop { method, target, headers, body, has_secrets })
    }
}

enum Answer {
    Whole(Reply),
    Redirect { status: u16, location: String },
}

pub(super) fn first_hop(request: Request) -> std::result::Result<Hop, EgressError> {
    let method = match request.method.as_str() {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "PATCH" => Method::PATCH,
        "DELETE" => Method::DELETE,
        "OPTIONS" => Method::OPTIONS,
        other => {
            let message = format!(
                "the method `{}` is not one of GET HEAD POST PUT PATCH DELETE OPTIONS",
                other.chars().filter(|c| !c.is_control()).take(20).collect::<String>()
            );
            return Err(EgressError::new(class::INVALID, &code::REQUEST, message));
        }
    };
    let target = Target::parse(&request.url)?.with_query(&request.query)?;
    if request.body.len() > EGRESS_BODY_BYTES_MAX {
        let message = format!(
            "the body of `{method} {target}` has {} bytes and may have {EGRESS_BODY_BYTES_MAX}; send it in parts",
            request.body.len()
        );
        return Err(EgressError::new(class::LIMIT, &code::REQUEST, message));
    }
    let mut headers = header::read(&request.headers)?;
    if request.has_secrets {
        headers.values_mut().for_each(|value| value.set_sensitive(true));
    }
    Ok(Hop { method, target, headers, body: request.body, has_secrets: request.has_secrets })
}

async fn read_body(
    mut response: reqwest::Response,
    max_bytes: usize,
    from: &Target,
) -> std::result::Result<Vec<u8>, EgressError> {
    let too_large = || {
        let message =
            format!("the reply of {from} is over {max_bytes} bytes; ask for less or raise `max_bytes`");
        EgressError::new(class::LIMIT, &code::REPLY_TOO_LARGE, message)
    };
    let announced = response.content_length().unwrap_or(0);
    if usize::try_from(announced).is_ok_and(|bytes| bytes > max_bytes) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| cause::of(&error, from))? {
        if chunk.len() > max_bytes - body.len() {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

pub(super) fn late(what: &str, limit: Duration) -> EgressError {
    let message = format!(
        "{what} was not done within {} ms; raise the step's `timeout` or ask for less",
        limit.as_millis()
    );
    EgressError::new(class::TIMEOUT, &code::TIMEOUT, message)
}

fn crowded(host: &str, wait: Duration) -> EgressError {
    let message = format!(
        "no place came free at {host} within {} s: too many requests go there at once; lower `max_concurrency`",
        wait.as_secs()
    );
    EgressError::new(class::TIMEOUT, &code::TIMEOUT, message)
}
