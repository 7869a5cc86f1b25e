//! The HTTP face: one service for the module's own port and for requests that a host forwards.
//!
//! ```text
//! port ──► serve ──┐                          ┌─► route/*  ──► backend (the runtime)
//!                  ├──► Api::call ─► guard ─► rate ─► slot ─► deadline
//! host ──► App ────┘        └─ request id, problem documents, security headers, panics
//! ```
//!
//! Every request takes this way, whatever its door. What a handler returns as an error becomes a problem
//! document at one place, [`problem::render`]. Nothing here knows of hosts but that some requests carry a
//! [`ViaHost`]; nothing knows of the store. Limits are in [`ApiLimits`], their defaults in [`crate::limits`].

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

use crate::agent::models::Models;
use crate::auth::{Access, Accounts};
use crate::backup::Backups;
use crate::env::Env;
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::gpio::Pins;
use crate::limits;
use crate::meter::Meters;
use crate::port::{Actor, Secrets};
use crate::runtime::{Who, acting};
use crate::secret::Vault;
use crate::time::Timestamp;

pub mod backend;
mod body;
mod contract;
mod cookie;
mod engine;
mod forwarded;
mod guard;
pub mod live;
mod openapi;
mod page;
mod problem;
mod rate;
mod record;
mod refused;
mod request;
mod route;
mod serve;
mod sse;
mod suggest;
#[cfg(test)]
mod tests;
mod view;

use cookie::Cookies;
use engine::Engine;
use guard::{Caller, Guard};
use problem::Failure;
use rate::Rate;

pub use crate::auth::AccessToken;
pub use crate::observe::HealthReport;
pub use backend::Backend;
pub use route::label;

/// Marks a request that came over the host's door; an extension of the request. It gives no rights.
#[derive(Clone, Copy, Debug)]
pub struct ViaHost {
    /// How long the host waits for the reply.
    pub timeout_ms: u32,
}

/// Who sent the request, as an address; an extension of the request. For the log only.
#[derive(Clone, Debug)]
pub struct Peer(pub String);

/// The prefix at which the host mounts the module, checked.
#[derive(Clone, Debug)]
struct Prefix(String);

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
struct Budget(Duration);

/// Tells how well it goes. Called often; answers from memory.
pub type HealthSource = Arc<dyn Fn() -> HealthReport + Send + Sync>;

/// Takes the figures that `/metrics` shows.
pub type MetricsSource = Arc<dyn Fn() -> crate::observe::Metrics + Send + Sync>;

/// What is asked of the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigPart {
    /// Every setting in the shape of the file, without secrets.
    Values,
    /// Who decided each, by path.
    Origins,
    /// The JSON Schema of the file.
    Schema,
}

/// Looks at the machine and the data folder.
pub type MachineSource = Arc<dyn Fn() -> crate::observe::Machine + Send + Sync>;

/// Shows the configuration that counts at the moment.
pub type ConfigSource = Arc<dyn Fn(ConfigPart) -> serde_json::Value + Send + Sync>;

/// What the API needs.
pub struct ApiOptions {
    /// The runtime: `Arc::new(handle)`.
    pub backend: Arc<dyn Backend>,
    /// Who gets in.
    pub accounts: Arc<Accounts>,
    /// Clock and randomness.
    pub env: Env,
    /// The score of `/health` and `/health/ready`.
    pub health: HealthSource,
    /// The figures.
    pub metrics: MetricsSource,
    /// The machine.
    pub machine: MachineSource,
    /// The configuration.
    pub config: ConfigSource,
    /// Where requests are counted.
    pub meters: Arc<Meters>,
    /// What `/info` shows of the module.
    pub manifest: serde_json::Value,
    /// The address of the module's own port, when it has one.
    pub own_port: Option<SocketAddr>,
    /// Whether the operator allows plain HTTP beyond this machine.
    pub insecure_lan: bool,
    /// Who is believed about where a request comes from.
    pub trusted_proxies: Vec<IpAddr>,
    /// Bounds.
    pub limits: ApiLimits,
    /// The vault, where there is one.
    pub secrets: Option<Arc<Vault>>,
    /// The configured pins, where there are some.
    pub pins: Option<Arc<Pins>>,
    /// The models of agents, where there are some.
    pub models: Option<Arc<Models>>,
    /// Who makes backups, where somebody does.
    pub backups: Option<Arc<Backups>>,
    /// Where events come from.
    pub live: Arc<live::Live>,
}

/// Bounds of the API.
#[derive(Clone, Copy, Debug)]
pub struct ApiLimits {
    /// Requests in a second, over a longer time; 0 = no limit.
    pub rate_per_s: u32,
    /// Requests at once before the rate counts.
    pub rate_burst: u32,
    /// Requests under way at once.
    pub requests: usize,
    /// Connections of the port at once.
    pub connections: usize,
    /// Event streams at once.
    pub streams: usize,
    /// From the head of a request to its reply.
    pub request_time: Duration,
    /// For the head of a request; an idle connection is kept as long.
    pub head_time: Duration,
    /// Silence on a stream before a comment.
    pub heartbeat: Duration,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            rate_per_s: limits::REQUESTS_PER_S_DEFAULT,
            rate_burst: limits::REQUESTS_BURST_DEFAULT,
            requests: limits::REQUESTS_MAX,
            connections: limits::CONNECTIONS_MAX,
            streams: limits::STREAMS_MAX,
            request_time: Duration::from_secs(limits::REQUEST_S_MAX),
            head_time: Duration::from_secs(limits::REQUEST_HEAD_S_MAX),
            heartbeat: Duration::from_secs(limits::HEARTBEAT_S),
        }
    }
}

/// The routes, and the document that describes them. They are the same for every service and hold nothing of one. Making them
/// takes longer than most of a start, so a host that prepares a version beside another one has them made before.
#[derive(Clone)]
pub struct Routes {
    router: Router<Arc<Shared>>,
    openapi: Arc<str>,
}

impl Routes {
    /// Makes them.
    pub fn new() -> Result<Self> {
        let (router, document) = utoipa_axum::router::OpenApiRouter::with_openapi(openapi::base())
            .merge(route::all())
            .split_for_parts();
        let document = openapi::finish(&document, &Access::load()?)?;
        let contracts = Arc::new(contract::Contracts::of(&document));
        // The last layer is the outer one: nobody is told what a route takes who may not use it.
        let router = router
            .route_layer(axum::middleware::from_fn_with_state(contracts, contract::hold))
            .route_layer(axum::middleware::from_fn(guard::authorize));
        Ok(Self { router, openapi: document.to_string().into() })
    }
}

/// The API. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Api {
    shared: Arc<Shared>,
    router: Router,
}

/// What handlers have in common.
struct Shared {
    engine: Engine,
    guard: Guard,
    accounts: Arc<Accounts>,
    cookies: Cookies,
    strangers: Semaphore,
    rate: Option<Rate>,
    refused: refused::Refused,
    slots: Semaphore,
    streams: Arc<Semaphore>,
    closing: watch::Sender<bool>,
    env: Env,
    health: HealthSource,
    metrics: MetricsSource,
    machine: MachineSource,
    config: ConfigSource,
    meters: Arc<Meters>,
    manifest: serde_json::Value,
    own_port: Option<SocketAddr>,
    openapi: Arc<str>,
    started: Duration,
    started_at: Timestamp,
    trusted_proxies: Vec<IpAddr>,
    limits: ApiLimits,
    secrets: Option<Arc<Vault>>,
    pins: Option<Arc<Pins>>,
    models: Option<Arc<Models>>,
    backups: Option<Arc<Backups>>,
    live: Arc<live::Live>,
    reports: route::reports::Reports,
}

impl Shared {
    fn uptime_s(&self) -> u64 {
        self.env.monotonic().saturating_sub(self.started).as_secs()
    }

    /// Tells those who listen that a definition was made, changed or deleted.
    fn tell_workflow(&self, view: &crate::runtime::WorkflowView, word: &'static str) {
        let (id, version) = (view.id.to_string(), Some(view.version));
        self.live.signal(|| live::of_workflow(&view.name, &id, version, word, self.env.now()));
    }

    /// Takes up what was logged, without secrets.
    fn settle_log(&self) {
        self.live.settle_log(|text| self.secrets.as_ref().and_then(|vault| vault.redact(text)));
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }
}

impl Api {
    /// Makes the service. Opens nothing.
    pub fn new(routes: Routes, options: ApiOptions) -> Self {
        let ApiOptions {
            backend,
            accounts,
            env,
            health,
            metrics,
            machine,
            config,
            meters,
            manifest,
            own_port,
            insecure_lan,
            trusted_proxies,
            limits,
            secrets,
            pins,
            models,
            backups,
            live,
        } = options;
        let Routes { router, openapi } = routes;
        let cookies = Cookies { insecure_lan };
        let shared = Arc::new(Shared {
            engine: Engine::new(backend),
            guard: Guard::new(accounts.clone(), cookies, env.clone()),
            accounts,
            cookies,
            strangers: Semaphore::new(limits::STRANGERS_MAX),
            rate: Rate::new(limits.rate_per_s, limits.rate_burst, env.clone()),
            refused: refused::Refused::default(),
            slots: Semaphore::new(limits.requests),
            streams: Arc::new(Semaphore::new(limits.streams)),
            closing: watch::Sender::new(false),
            started: env.monotonic(),
            started_at: env.now(),
            env,
            health,
            metrics,
            machine,
            config,
            meters,
            manifest,
            own_port,
            openapi,
            trusted_proxies,
            limits,
            secrets,
            pins,
            models,
            backups,
            live,
            reports: route::reports::Reports::default(),
        });
        let router =
            router.method_not_allowed_fallback(no_method).fallback(no_route).with_state(shared.clone());
        Self { shared, router }
    }

    /// Answers one request, whatever its door. Never fails and never panics; dropping the future is safe.
    pub async fn call(&self, mut request: Request) -> Response {
        let request_id = uuid::Builder::from_random_bytes(self.shared.env.bytes()).into_uuid().to_string();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let began = self.shared.env.monotonic();
        let answered = match self.prepare(&mut request) {
            Ok(()) => AssertUnwindSafe(self.answer(request, &request_id)).catch_unwind().await,
            Err(error) => Ok(Failure::from(error).into_response()),
        };
        let response = answered.unwrap_or_else(|panic| Failure::from(panicked(&*panic)).into_response());
        let route = response.extensions().get::<Served>().map(|served| served.0.clone());
        let response = finish(response, &method, &request_id);
        let took = self.shared.env.monotonic().saturating_sub(began);
        let meters = &self.shared.meters;
        meters.requests.one(
            word(&method),
            route.as_ref().map_or("none", |route| route.as_str()),
            response.status().as_u16(),
        );
        meters.request_time.time(took);
        log::debug!(
            target: "chainbot::http",
            "request {request_id}: {method} {} {} in {} ms",
            request::printable(&path),
            response.status().as_u16(),
            took.as_millis()
        );
        response
    }

    /// Takes event streams again, after [`Api::close`].
    pub fn reopen(&self) {
        self.shared.closing.send_replace(false);
    }

    /// Ends every event stream, and says "not ready" from now on. Requests are still answered, for as long as the
    /// runtime answers.
    pub fn close(&self) {
        self.shared.closing.send_replace(true);
    }

    /// Sets what handlers may believe about the request's way.
    fn prepare(&self, request: &mut Request) -> Result<()> {
        let via_host = request.extensions().get::<ViaHost>().copied();
        let given = request.headers_mut().remove("x-forwarded-prefix");
        let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0.parse::<IpAddr>().ok());
        let trusted = &self.shared.trusted_proxies;
        let is_proxy = peer.is_some_and(|peer| trusted.contains(&peer.to_canonical()));
        if let Some(client) = forwarded::client(request.headers_mut(), peer, trusted) {
            request.extensions_mut().insert(Peer(client.to_string()));
        }
        let mut budget = match is_long(request) {
            true => Duration::from_secs(limits::ARCHIVE_IMPORT_S_MAX),
            false => self.shared.limits.request_time,
        };
        if let Some(via) = via_host {
            budget = budget.min(Duration::from_millis(u64::from(via.timeout_ms)));
        }
        // On the port anybody could send it, so it counts over the host's door and from the operator's proxies alone.
        if let Some(prefix) = given.filter(|_| via_host.is_some() || is_proxy) {
            request.extensions_mut().insert(checked_prefix(&prefix)?);
        }
        request.extensions_mut().insert(Budget(budget));
        Ok(())
    }

    async fn answer(&self, request: Request, request_id: &str) -> Response {
        let shared = &self.shared;
        let via_host = request.extensions().get::<ViaHost>().is_some();
        let peer = request.extensions().get::<Peer>().map_or("an unknown address", |peer| &peer.0);
        let caller = match shared.guard.admit(request.method(), request.uri().path(), request.headers(), peer)
        {
            Ok(caller) => caller,
            Err(error) => {
                let handle = shared.engine.machine().audit();
                shared.refused.note(handle, &shared.env, request_id, error.message(), peer);
                let mut response = Failure::from(error).into_response();
                // A stranger does not keep a connection; hyper reads this header. A host has its own.
                if !via_host {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                return response;
            }
        };
        if let (Some(rate), Some(via)) = (&shared.rate, caller.rated())
            && let Err(seconds) = rate.take(via)
        {
            return busy("this token has sent too many requests", seconds).into_response();
        }
        if via_host && request::is_websocket(request.headers()) {
            return Failure::from(no_websocket()).into_response();
        }
        let slot = match self.slot(&caller, &request) {
            Ok(slot) => slot,
            Err(failure) => return failure.into_response(),
        };
        let mut request = request;
        let actor = actor(&caller);
        request.extensions_mut().insert(caller);
        // For the guard next to the handlers, which is part of the routes and so of no service.
        request.extensions_mut().insert(shared.clone());
        let budget = request.extensions().get::<Budget>().map_or(shared.limits.request_time, |b| b.0);
        let work = self.router.clone().oneshot(request);
        let answered = match actor {
            Some(actor) => {
                let who = Who { actor, request: Some(request_id.to_owned()) };
                tokio::time::timeout(budget, acting(who, work)).await
            }
            None => tokio::time::timeout(budget, work).await,
        };
        drop(slot);
        match answered {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => Failure::from(too_late(budget)).into_response(),
        }
    }

    /// A place among the requests under way. Event streams have their own bound: they wait most of the time.
    fn slot(
        &self,
        caller: &Caller,
        request: &Request,
    ) -> Result<Option<tokio::sync::SemaphorePermit<'_>>, Failure> {
        let slots = match caller {
            // Probes must answer when everything is busy, and they hold nothing.
            Caller::Anyone if request.method().is_safe() => return Ok(None),
            // Strangers who sign in have places of their own, so that they take none from anybody.
            Caller::Anyone | Caller::Socket => &self.shared.strangers,
            Caller::Known(_) | Caller::Hook if request.uri().path() == "/api/chainbot/events" => {
                return Ok(None);
            }
            Caller::Known(_) | Caller::Hook => &self.shared.slots,
        };
        slots.try_acquire().map(Some).map_err(|_| busy("too many requests are under way", 1))
    }
}

/// Whether a request carries a file that may take long to come. Its handler bounds how long it may be silent.
fn is_long(request: &Request) -> bool {
    const PATHS: [&str; 2] = ["/api/chainbot/agents/archives", "/api/chainbot/agents/archives/validate"];
    request.method() == Method::POST && PATHS.contains(&request.uri().path())
}

/// The route that answered; an extension of its response.
#[derive(Clone)]
struct Served(axum::extract::MatchedPath);

/// A method as a label. Callers may send any word as one.
fn word(method: &Method) -> &'static str {
    const WORDS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    WORDS.into_iter().find(|word| method == word).unwrap_or("other")
}

/// Whom changes are put down to. A signed webhook is a machine's doing, which the journal tells of.
fn actor(caller: &Caller) -> Option<Actor> {
    match caller {
        Caller::Known(who) => Some(who.user.map_or(Actor::Local, |user| Actor::User(user.to_string()))),
        Caller::Anyone | Caller::Hook | Caller::Socket => None,
    }
}

fn busy(what: &str, seconds: u64) -> Failure {
    Error::new(&general::BUSY, what).help(format!("send it again in {seconds} s")).retry_after(seconds).into()
}

fn no_websocket() -> Error {
    Error::new(&general::NOT_HERE, "a host forwards no WebSockets")
        .help("GET /api/chainbot/events has the same events as server-sent events")
}

fn too_late(budget: Duration) -> Error {
    Error::new(&general::TIMEOUT, format!("the request was not done in {} ms", budget.as_millis()))
        .help("whether it took effect is unknown; repeat it with the same Idempotency-Key")
}

/// What a panic becomes. Its text may hold anything, so it goes to the log only.
fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without text".to_owned());
    Error::new(&general::INTERNAL, format!("a handler panicked: {text}"))
}

async fn no_route(request: Request) -> Response {
    let path = request::printable(request.uri().path());
    Failure::from(
        Error::new(&general::NO_ROUTE, format!("there is no `{path}`"))
            .help("GET /api/chainbot/openapi.json lists every path"),
    )
    .into_response()
}

/// axum adds `Allow` to what this returns.
async fn no_method(request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    Failure::from(
        Error::new(&general::METHOD, format!("the path does not take {}", request.method()))
            .help("the header Allow lists what it takes"),
    )
    .into_response()
}

/// A prefix that is safe inside `Location` and `Link`. Only the host sets it, so a wrong one is its mistake and
/// is named rather than ignored: links would lead nowhere.
fn checked_prefix(value: &HeaderValue) -> Result<Prefix> {
    let text = value.to_str().unwrap_or_default().trim_end_matches('/');
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~".contains(&b));
    let rooted = text.is_empty() || (text.starts_with('/') && !text.contains("//") && !text.contains(".."));
    if plain && rooted && text.len() <= limits::PREFIX_BYTES_MAX && value.to_str().is_ok() {
        return Ok(Prefix(text.to_owned()));
    }
    Err(Error::new(&general::MALFORMED, "the header X-Forwarded-Prefix is not a plain path")
        .help("mount the module at a path such as /modules/chainbot"))
}

/// What every reply has: a problem document where it is an error, the request's id, headers that keep browsers
/// from guessing, storing and framing.
fn finish(response: Response, method: &Method, request_id: &str) -> Response {
    let mut response = problem::render(response, request_id);
    let set = |headers: &mut HeaderMap, name: &'static str, value: &'static str| {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    };
    let headers = response.headers_mut();
    set(headers, "cache-control", "no-store");
    // A page says itself what it may load; what is none may load nothing.
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        set(headers, "content-security-policy", "default-src 'none'; frame-ancestors 'none'");
    }
    set(headers, "referrer-policy", "no-referrer");
    set(headers, "x-content-type-options", "nosniff");
    if let Ok(value) = HeaderValue::try_from(request_id) {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
    if method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    response
}
