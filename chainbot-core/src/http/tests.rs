//! The HTTP face through its own service, against an engine in memory.

mod access;
mod accounts;
mod bodies;
mod bridge;
mod browser;
mod conform;
mod document;
mod events;
mod flow;
mod hardening;
mod mcp;
mod memory;
mod order;
mod owners;
mod port;
mod preview;
mod remembered;
mod repeat;
mod routes;
mod socket;
mod socket_ends;
mod triggers;
mod windows;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::Response;
use serde_json::Value;

use super::live::{Live, SocketLimits};
use super::{AccessToken, Api, ApiLimits, ApiOptions, HealthReport, Peer, Routes};
use crate::auth::{Accounts, AccountsOptions, Rules};
use crate::env::{Env, SeededRandom, VirtualClock};
use crate::store::memory::MemoryStore;
use crate::time::Timestamp;
use memory::Memory;

/// An API over an engine in memory, with a clock that stands still.
struct Bench {
    api: Api,
    engine: Arc<Memory>,
    token: String,
    accounts: Arc<Accounts>,
    clock: Arc<VirtualClock>,
    live: Arc<Live>,
    /// How long each answer to a sign-in was held back.
    pauses: Arc<parking_lot::Mutex<Vec<std::time::Duration>>>,
}

/// A reply in full.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Bench {
    fn new() -> Self {
        Self::with(ApiLimits::default())
    }

    fn with(limits: ApiLimits) -> Self {
        Self::scored(limits, 1.0)
    }

    fn scored(limits: ApiLimits, score: f64) -> Self {
        Self::made(limits, score, SocketLimits::default())
    }

    fn made(limits: ApiLimits, score: f64, sockets: SocketLimits) -> Self {
        let clock = Arc::new(VirtualClock::at(Timestamp(1_767_225_600_000)));
        let env = Env::new(clock.clone(), Arc::new(SeededRandom::new(7)));
        let engine = Arc::new(Memory::new(env.clone()));
        let token = AccessToken::generate(&env);
        let pauses = Arc::<parking_lot::Mutex<Vec<_>>>::default();
        let accounts = Accounts::open(AccountsOptions {
            secret_key: None,
            store: MemoryStore::without_thread(),
            folder: None,
            env: env.clone(),
            local: token.clone(),
            rules: Rules::default(),
            pause: {
                let (clock, pauses) = (clock.clone(), pauses.clone());
                Arc::new(move |time| {
                    clock.advance(time);
                    pauses.lock().push(time);
                    Box::pin(std::future::ready(()))
                })
            },
            is_served: true,
        })
        .unwrap();
        let live = Live::new(sockets, env.clone());
        let options = ApiOptions {
            backend: engine.clone(),
            accounts: accounts.clone(),
            env,
            health: {
                let live = live.clone();
                Arc::new(move || HealthReport {
                    score,
                    detail: "ok".to_owned(),
                    checks: vec![
                        ("database", crate::runtime::Component::new(1.0, None), None),
                        ("websocket", live.seats.component(), None),
                    ],
                })
            },
            metrics: Arc::new(crate::observe::Metrics::default),
            machine: Arc::new(crate::observe::Machine::default),
            config: Arc::new(|part| serde_json::json!({ "part": format!("{part:?}") })),
            meters: Arc::default(),
            manifest: serde_json::json!({ "name": "chainbot" }),
            own_port: None,
            insecure_lan: false,
            trusted_proxies: vec!["192.0.2.1".parse().unwrap()],
            limits,
            secrets: None,
            pins: None,
            models: None,
            backups: None,
            live: live.clone(),
        };
        let api = Api::new(Routes::new().unwrap(), options);
        Self { api, engine, token: token.reveal().to_owned(), accounts, clock, live, pauses }
    }

    /// A request with the token; `head` is like `POST /path`, each header `Name: value`.
    fn request(&self, head: &str, headers: &[&str], body: impl Into<Body>) -> Request<Body> {
        let (method, path) = head.split_once(' ').unwrap();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/api/chainbot/{path}") };
        let mut request = Request::builder().method(method).uri(path);
        for header in headers {
            let (name, value) = header.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        if !headers.iter().any(|header| header.starts_with("Authorization")) {
            request = request.header("Authorization", format!("Bearer {}", self.token));
        }
        request.body(body.into()).unwrap()
    }

    async fn send(&self, head: &str, headers: &[&str], body: impl Into<Body>) -> Reply {
        self.call(self.request(head, headers, body)).await
    }

    /// The reply to a request; it must be one that the document tells of.
    async fn call(&self, request: Request<Body>) -> Reply {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let reply = read(self.api.call(request).await).await;
        conform::document().check(&method, &path, reply.status.as_u16(), &reply.headers, &reply.text);
        reply
    }

    /// A request from an address, with no credential but what `headers` say.
    async fn ask(&self, head: &str, headers: &[&str], from: &str, json: &str) -> Reply {
        let mut all = vec!["Content-Type: application/json"];
        all.extend(headers);
        let mut request = self.request(head, &all, json.to_owned());
        if !headers.iter().any(|header| header.starts_with("Authorization")) {
            request.headers_mut().remove("authorization");
        }
        request.extensions_mut().insert(Peer(from.to_owned()));
        self.call(request).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {path}"), &[], "").await
    }

    async fn post(&self, path: &str, json: &str) -> Reply {
        self.send(&format!("POST {path}"), &["Content-Type: application/json"], json.to_owned()).await
    }

    /// A workflow of this name.
    async fn workflow(&self, name: &str) -> Reply {
        let source = format!("name: {name}\nsteps: []\n");
        let reply = self.send("POST workflows", &["Content-Type: application/yaml"], source).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply
    }

    /// The id of a new run of a new workflow.
    async fn run(&self, name: &str) -> String {
        self.workflow(name).await;
        let reply = self.post(&format!("workflows/{name}/runs"), "{}").await;
        reply.json()["id"].as_str().unwrap().to_owned()
    }
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Holds that this is a problem document of that status and code, and gives it.
    fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("/docs/errors/{code}"));
        assert_eq!(problem["instance"], format!("urn:uuid:{}", self.header("x-request-id")));
        problem
    }
}

async fn read(response: Response) -> Reply {
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Reply { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.into()).unwrap() }
}
