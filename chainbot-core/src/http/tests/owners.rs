//! Two people, the operator's house, and every route that names something: what belongs to one is not there for the other,
//! whatever the verb and the credential. The cases come from the table of access: a new row without one fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::accounts::{PASSWORD, bearer};
use super::{Reply, read};
use crate::auth::{Access, Accounts, AccountsOptions, Need, Rules};
use crate::engine::Defaults;
use crate::env::{Env, SeededRandom, VirtualClock};
use crate::http::{AccessToken, Api, ApiLimits, ApiOptions, HealthReport, Routes, ViaHost};
use crate::id::{Lsn, RunId};
use crate::model::{EffectKey, RecordBody};
use crate::port::{ItemScope, MemoryItem, MemoryOp, MessageKind, NewMessage, Op, Origin, Store};
use crate::runtime::{Handle, Options, Runtime};
use crate::secret::Vault;
use crate::step::Executors;
use crate::store::{DataDir, OpenOptions, SqliteStore, commit};
use crate::time::Timestamp;

/// Catches hangs only.
const HANG: Duration = Duration::from_secs(60);
/// Steps that end at once.
const STEPS: &str = "steps:\n  - { id: a, type: set, config: { variables: { a: \"1\" } } }\n";
const VERBS: [&str; 5] = ["GET", "PATCH", "PUT", "POST", "DELETE"];

/// A house with people, over a real runtime and a real database.
pub(super) struct House {
    api: Api,
    accounts: Arc<Accounts>,
    runtime: Arc<Runtime>,
    handle: Handle,
    pub(super) store: Arc<SqliteStore>,
    pub(super) local: String,
    pub(super) clock: Arc<VirtualClock>,
    _folder: TempDir,
}

/// What somebody has.
pub(super) struct Things {
    workflow: String,
    name: String,
    trigger: String,
    /// Waits for an answer.
    asking: String,
    /// Waits as well, and is steered.
    steered: String,
    question: String,
    message: String,
    secret: String,
    hook: String,
    pub(super) agent: String,
    /// A conversation with that agent.
    thread: String,
    /// With [`House::remembers`].
    pub(super) archive: String,
}

impl House {
    pub(super) async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(VirtualClock::at(Timestamp(1_767_225_600_000)));
        let env = Env::new(clock.clone(), Arc::new(SeededRandom::new(7)));
        let data = Arc::new(DataDir::open(folder.path(), "test").unwrap());
        let store = SqliteStore::open(OpenOptions::new(data.clone())).unwrap();
        let vault = Arc::new(Vault::open(store.clone(), data, env.clone()).unwrap());
        let egress = Arc::new(crate::net::testing::egress_to(&[]));
        let runtime = Runtime::start(Options {
            store: store.clone(),
            executors: Arc::new(Executors::new(egress, env.clone()).with_secrets(vault.clone())),
            env: env.clone(),
            host_bus: None,
            defaults: Defaults::default(),
            runs_max: 8,
            queued_max: 100,
            workers: 2,
            poison_file: None,
            tokio: tokio::runtime::Handle::current(),
            signing_keys: Arc::new(NoKeys),
            known: crate::validate::Known::default(),
            pins: None,
            retention: None,
            meters: Arc::default(),
        })
        .unwrap();
        let handle = Handle::new(runtime.clone());
        let token = AccessToken::generate(&env);
        let accounts = Accounts::open(AccountsOptions {
            secret_key: None,
            store: store.clone(),
            folder: None,
            env: env.clone(),
            local: token.clone(),
            rules: Rules::default(),
            pause: Arc::new(|_| Box::pin(std::future::ready(()))),
            is_served: true,
        })
        .unwrap();
        let options = ApiOptions {
            live: crate::http::live::Live::new(Default::default(), env.clone()),
            backend: Arc::new(handle.clone()),
            accounts: accounts.clone(),
            env,
            health: Arc::new(|| HealthReport { score: 1.0, detail: "ok".to_owned(), checks: Vec::new() }),
            metrics: Arc::new(crate::observe::Metrics::default),
            machine: Arc::new(crate::observe::Machine::default),
            config: Arc::new(|_| serde_json::json!({})),
            meters: Arc::default(),
            manifest: json!({ "name": "chainbot" }),
            own_port: None,
            insecure_lan: false,
            trusted_proxies: vec!["192.0.2.1".parse().unwrap()],
            limits: ApiLimits { rate_per_s: 0, ..ApiLimits::default() },
            secrets: Some(vault),
            pins: None,
            models: None,
            backups: None,
        };
        let api = Api::new(Routes::new().unwrap(), options);
        let local = token.reveal().to_owned();
        let house = Self { api, accounts, runtime, handle, store, local, clock, _folder: folder };
        for (name, role) in [("ada", "admin"), ("mia", "editor"), ("tom", "editor"), ("vic", "viewer")] {
            let body = json!({ "name": name, "role": role, "password": PASSWORD });
            assert_eq!(house.ask(&house.local, "POST users", body).await.status, 201);
        }
        house
    }

    pub(super) async fn ask(&self, token: &str, head: &str, body: Value) -> Reply {
        self.ask_if(token, head, "", body).await
    }

    /// With `If-Match`, unless that is empty.
    pub(super) async fn ask_if(&self, token: &str, head: &str, if_match: &str, body: Value) -> Reply {
        let (method, path) = head.split_once(' ').unwrap();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/api/chainbot/{path}") };
        let mut request = Request::builder().method(method).uri(path);
        let (header, credential) =
            bearer(token).split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        request = request.header(header, credential);
        if !if_match.is_empty() {
            request = request.header("If-Match", if_match);
        }
        let body = match &body {
            Value::Null => Body::empty(),
            Value::String(yaml) => {
                request = request.header("Content-Type", "application/yaml");
                Body::from(yaml.clone())
            }
            json => {
                request = request.header("Content-Type", "application/json");
                Body::from(json.to_string())
            }
        };
        // With the host's patience, so that an event stream is a long poll.
        self.send(request.body(body).unwrap()).await
    }

    pub(super) async fn send(&self, mut request: Request<Body>) -> Reply {
        request.extensions_mut().insert(ViaHost { timeout_ms: 30_000 });
        let reply = tokio::time::timeout(HANG, self.api.call(request)).await.expect("an answer");
        read(reply).await
    }

    /// The same on the port, where answers may be streams.
    pub(super) async fn send_to_port(&self, request: Request<Body>) -> Reply {
        let reply = tokio::time::timeout(HANG, self.api.call(request)).await.expect("an answer");
        read(reply).await
    }

    pub(super) async fn get(&self, token: &str, path: &str) -> Reply {
        self.ask(token, &format!("GET {path}"), Value::Null).await
    }

    pub(super) async fn login(&self, name: &str) -> String {
        self.accounts.login_for_tests(name).await
    }

    /// An API token with everything that an editor's can have.
    pub(super) async fn api_token(&self, name: &str) -> (String, String) {
        let scopes: Vec<&str> = Access::load().unwrap().scopes(crate::port::Role::Editor);
        let body = json!({ "name": "t", "scopes": scopes, "days": 9, "user": name });
        let reply = self.ask(&self.local, "POST tokens", body).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        let text = |key: &str| reply.json()[key].as_str().unwrap().to_owned();
        (text("token"), text("id"))
    }

    /// Makes one of everything, by somebody.
    pub(super) async fn things(&self, token: &str, name: &str, number: u8) -> Things {
        let made = self.ask(token, "POST workflows", source(name, "one")).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let workflow = made.json()["id"].as_str().unwrap().to_owned();
        let next = self.ask(token, &format!("PUT workflows/{name}"), source(name, "two")).await;
        assert_eq!(next.status, 200, "{}", next.text);
        let triggers = self.get(token, &format!("workflows/{name}/triggers")).await.json();
        let trigger = triggers.as_array().unwrap().iter().find(|one| one["kind"] == "cron").unwrap();
        let trigger = trigger["key"].as_str().unwrap().to_owned();
        let mut runs = Vec::new();
        for _ in 0..2 {
            let started = self.ask(token, &format!("POST workflows/{name}/runs"), json!({})).await;
            assert_eq!(started.status, 201, "{}", started.text);
            runs.push(started.json()["id"].as_str().unwrap().to_owned());
        }
        for run in &runs {
            self.until_waiting(run.parse().unwrap()).await;
        }
        let open = self.get(token, "inbox").await.json();
        let question = open.as_array().unwrap().iter().find(|one| one["run"] == runs[0].as_str());
        let question = question.unwrap_or_else(|| panic!("{open}"))["id"].as_str().unwrap().to_owned();
        let id = EffectKey([number; 16]);
        let message = NewMessage {
            id,
            kind: MessageKind::Webhook,
            run: runs[1].parse().unwrap(),
            step: "tell".to_owned(),
            target: "https://example.com/hook".to_owned(),
            input: Arc::new(json!({ "url": "https://example.com/hook", "payload": {} })),
            at: Timestamp(0),
        };
        commit(self.store.as_ref(), vec![Op::OutboxPut(Box::new(message))]).await.unwrap();
        let secret = format!("{name}_key");
        let body = json!({ "value": format!("the value of {name}"), "hosts": [] });
        let set = self.ask(token, &format!("PUT secrets/{secret}"), body).await;
        assert_eq!(set.status, 201, "{}", set.text);
        let (asking, steered) = (runs[0].clone(), runs[1].clone());
        let (message, hook) = (id.to_string(), format!("{name}-hook"));
        let made = self.ask(token, "POST agents", json!({ "name": name, "instructions": "d" })).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let agent = made.json()["id"].as_str().unwrap().to_owned();
        let made = self.ask(token, "POST chat/threads", json!({ "agent": name })).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let thread = made.json()["id"].as_str().unwrap().to_owned();
        Things {
            workflow,
            name: name.to_owned(),
            trigger,
            asking,
            steered,
            question,
            message,
            secret,
            hook,
            agent,
            thread,
            archive: String::new(),
        }
    }

    /// Has somebody's agent remember something, and gives them an archive of chats.
    pub(super) async fn remembers(&self, token: &str, things: &mut Things) {
        let agent = things.agent.parse().unwrap();
        let item = MemoryItem {
            id: [78; 16].into(),
            scope: ItemScope::Agent,
            kind: "fact".to_owned(),
            text: "the value of a memory".to_owned(),
            source: "a test".to_owned(),
            origin: Origin::Trusted,
            expires_at: None,
            at: Timestamp(0),
        };
        let save = Op::Memory(Box::new(MemoryOp::ItemSave { agent, item }));
        commit(self.store.as_ref(), vec![save]).await.unwrap();
        let imported = self.ask(token, "POST agents/archives", json!({ "conversations": [] })).await;
        assert_eq!(imported.status, 200, "{}", imported.text);
        things.archive = imported.json()["archive"]["id"].as_str().unwrap().to_owned();
    }

    async fn until_waiting(&self, run: RunId) {
        let seen = async {
            let mut records = self.handle.subscribe(Some(Lsn(0))).await.unwrap();
            while let Some(next) = records.next().await {
                let next = next.unwrap();
                if next.run == run && matches!(next.record.body, RecordBody::StepWaiting { .. }) {
                    return;
                }
            }
            panic!("the runtime stopped");
        };
        tokio::time::timeout(HANG, seen).await.expect("it waits");
    }

    /// Waits until a run is over.
    pub(super) async fn until_over(&self, run: &str) {
        let over = async {
            while self.get(&self.local, &format!("runs/{run}")).await.json()["finished_at"].is_null() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(HANG, over).await.expect("it ends")
    }

    /// Starts a workflow, and says why its run failed.
    async fn failure(&self, token: &str, name: &str) -> String {
        let run = self.ask(token, &format!("POST workflows/{name}/runs"), json!({})).await.json();
        let id = run["id"].as_str().unwrap_or_else(|| panic!("{run}")).to_owned();
        let ended = async {
            loop {
                let view = self.get(token, &format!("runs/{id}")).await.json();
                match view["status"].as_str() {
                    Some("failed") => return view["error"].to_string(),
                    Some("completed") => panic!("{view}"),
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(HANG, ended).await.expect("it fails")
    }

    /// All that is stored, but for when tokens were used last.
    fn content(&self) -> String {
        let sums = self.store.content().unwrap();
        let kept = sums.iter().map(|sum| format!("{sum:?}")).filter(|text| !text.contains("api_token"));
        kept.collect::<Vec<_>>().join("\n")
    }

    pub(super) async fn end(self) {
        self.runtime.stop(Duration::from_secs(20)).await.unwrap();
        self.store.close();
    }
}

/// A definition that has one of everything.
fn source(name: &str, more: &str) -> Value {
    Value::String(format!(
        "name: {name}\ndescription: {more}\ntriggers:\n  - {{ cron: \"0 6 * * *\" }}\n  - {{ webhook: {name}-hook }}\n\
         steps:\n  - {{ id: ok, type: wait, config: {{ approval: {{ message: Go? }} }} }}\n"
    ))
}

struct NoKeys;

impl crate::port::SigningKeys for NoKeys {
    fn signing_key(&self, _: Option<crate::id::UserId>, name: &str) -> crate::Result<String> {
        Err(crate::Error::new(&crate::error::code::definition::NO_SECRET, name))
    }
}

/// What a row of the table is about.
enum Case {
    /// Something of somebody: these paths name it.
    Somebodys(Vec<String>),
    /// Only roles decide: it is for admins, or for the token of the data folder.
    Admins,
    /// It belongs to the machine, and roles decide.
    Machines,
}

/// The case of a row whose path names something. `login` and `token` are of the same person.
fn case(pattern: &str, need: Need, things: &Things, login: &str, token: &str) -> Case {
    let admins = ["chainbot:admin", "chainbot:backup", "chainbot:audit", "chainbot:local"];
    if matches!(need, Need::Permission(name) if admins.contains(&name)) {
        return Case::Admins;
    }
    let path =
        pattern.replace("{v}", "1").replace("{key}", &things.trigger).replace("/signal/{name}", "/signal/go");
    let path =
        path.replace("{label}", "user").replace("{item}", &uuid::Uuid::from_bytes([78; 16]).to_string());
    let with = |name: &str, values: &[&str]| {
        let query = if path.ends_with("/diff") { "?from=1&to=2" } else { "" };
        Case::Somebodys(values.iter().map(|value| format!("{}{query}", path.replace(name, value))).collect())
    };
    let rest = pattern.strip_prefix("/api/chainbot/").unwrap_or(pattern);
    let family = rest.split("/{").next().unwrap_or_default();
    match family {
        "workflows" => with("{id}", &[&things.workflow, &things.name]),
        "agents" => with("{id}", &[&things.agent, &things.name]),
        "chat/threads" => with("{id}", &[&things.thread]),
        "runs" | "executions" => with("{id}", &[&things.steered]),
        "runs/diff" => Case::Somebodys(vec![format!("{path}?a={}&b={}", things.asking, things.steered)]),
        "inbox" => with("{id}", &[&things.question]),
        "outbox" => with("{id}", &[&things.message]),
        "secrets" => with("{name}", &[&things.secret]),
        "hooks" => with("{name}", &[&things.hook]),
        "tokens" => with("{id}", &[token]),
        "auth/sessions" => with("{id}", &[login]),
        "agents/archives" => with("{id}", &[&things.archive]),
        // What is the same for everybody.
        "gpio" | "models" | "schemas" | "/docs" | "workflows/templates" => Case::Machines,
        // What a window tells is what is theirs: `events_are_those_of_runs_that_are_theirs`.
        "webhooks" | "/api/webhooks/chainbot" | "/api/ws" | "/api/workflows/ws" => Case::Machines,
        other => panic!("no case for {pattern} ({other}): say here whose it is"),
    }
}

/// A body that the row takes.
fn body(method: &str, pattern: &str, things: &Things) -> Value {
    let tail = pattern.rsplit('/').next().unwrap_or_default();
    match (method, tail) {
        ("GET" | "DELETE", _) => Value::Null,
        ("PUT", "{id}") => source(&things.name, "three"),
        ("PUT", "{label}") => json!({ "value": "likes beans" }),
        ("PUT", "{name}") => json!({ "value": "another value", "hosts": [] }),
        ("PATCH", "sharing") => json!({ "shared": "viewer" }),
        (_, "tasks" | "execute") if pattern.contains("/agents/") => json!({ "task": "hello" }),
        (_, "messages") => json!({ "text": "hello" }),
        (_, "answer") => json!({ "action": "approve" }),
        (_, "fork") => json!({ "from": "ok" }),
        (_, "rollback") => json!({ "version": 1 }),
        _ => json!({}),
    }
}

/// The rows whose path or query names something, in an order in which their owner can ask for all of them.
fn rows() -> Vec<(&'static str, &'static str, Need)> {
    let access: &'static Access = Box::leak(Box::new(Access::load().unwrap()));
    let mut rows: Vec<_> =
        access.routes().filter(|(_, path, _)| path.contains('{') || path.ends_with("/diff")).collect();
    let rank = |method: &str| VERBS.iter().position(|verb| *verb == method).unwrap();
    // What ends a login comes last, and what takes others with it after those.
    rows.sort_by_key(|(method, path, _)| {
        let takes_more = ["/api/chainbot/agents/{id}", "/api/chainbot/agents/{id}/memory"].contains(path);
        (rank(method), path.contains("sessions"), takes_more, *path)
    });
    rows
}

async fn session_of(house: &House, login: &str) -> String {
    let all = house.get(login, "auth/sessions").await.json();
    let own = all.as_array().unwrap().iter().find(|one| one["current"] == true).unwrap();
    own["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_to_another_is_not_there_on_any_route_by_any_verb_with_any_credential() {
    let house = House::new().await;
    let (hers, his) = (house.login("mia").await, house.login("tom").await);
    let mut things = house.things(&hers, "hers", 1).await;
    house.remembers(&hers, &mut things).await;
    let (session, token) = (session_of(&house, &hers).await, house.api_token("mia").await.1);
    let credentials = [("login", his), ("API token", house.api_token("tom").await.0)];
    let before = house.content();
    let (mut refused, mut paths) = (0, BTreeMap::<&str, BTreeSet<&str>>::new());
    for (method, pattern, need) in rows() {
        paths.entry(pattern).or_default().insert(method);
        for (kind, credential) in &credentials {
            // No token of any kind does what is only for the own account.
            let is_account = need == Need::Permission("chainbot:account") && *kind == "API token";
            let wanted = match case(pattern, need, &things, &session, &token) {
                Case::Somebodys(paths) => {
                    paths.into_iter().map(|path| (path, if is_account { 403 } else { 404 })).collect()
                }
                Case::Admins => vec![(pattern.replace("{id}", "mia").replace("{name}", "x"), 403)],
                Case::Machines => continue,
            };
            for (path, status) in wanted {
                let reply =
                    house.ask(credential, &format!("{method} {path}"), body(method, pattern, &things)).await;
                assert_eq!(reply.status, status, "{method} {path} with a {kind}: {}", reply.text);
                assert!(!reply.text.contains("the value of"), "{}", reply.text);
                refused += 1;
            }
        }
    }
    // Verbs that a path does not have find nothing either.
    for (pattern, methods) in &paths {
        let need = rows().into_iter().find(|(_, path, _)| path == pattern).unwrap().2;
        let Case::Somebodys(paths) = case(pattern, need, &things, &session, &token) else { continue };
        for method in VERBS.into_iter().filter(|verb| !methods.contains(verb)) {
            let reply = house.ask(&credentials[0].1, &format!("{method} {}", paths[0]), Value::Null).await;
            // Another row may have the same shape: `runs/diff` is a run's id to it.
            assert!([404, 405].contains(&reply.status.as_u16()), "{method} {pattern}: {}", reply.text);
        }
    }
    assert_eq!(house.content(), before, "whoever asks for what is not theirs changes nothing");
    println!("{refused} requests refused");
    assert!(refused > 70, "{refused}");
    // Her own requests show that each of the cases is of something that is there.
    for (method, pattern, need) in rows() {
        if let Case::Somebodys(paths) = case(pattern, need, &things, &session, &token) {
            let reply =
                house.ask(&hers, &format!("{method} {}", paths[0]), body(method, pattern, &things)).await;
            let status = reply.status.as_u16();
            assert!(
                ![401, 403, 404, 405].contains(&status) && status < 500,
                "{method} {pattern}: {status} {}",
                reply.text
            );
        }
    }
    house.end().await;
}

/// The lists of what belongs to somebody, with what in an entry says what it is.
const LISTS: &[(&str, &str)] = &[
    ("/api/chainbot/workflows", "id"),
    ("/api/chainbot/runs", "id"),
    ("/api/chainbot/inbox", "id"),
    ("/api/chainbot/outbox", "id"),
    ("/api/chainbot/secrets", "name"),
    ("/api/chainbot/schedules", "workflow_id"),
    ("/api/chainbot/agents", "id"),
    ("/api/chainbot/agents/all", "id"),
    ("/api/chainbot/ai-agents", "id"),
];
/// What is nobody's, or has tests of its own.
const NOBODYS: &[&str] = &[
    "/metrics",
    "/api/chainbot/metrics",
    "/api/chainbot/system",
    "/api/chainbot/health",
    "/api/chainbot/info",
    "/api/chainbot/openapi.json",
    "/api/chainbot/workflows/templates",
    "/docs",
    "/api/chainbot/events",
    "/api/chainbot/gpio",
    "/api/chainbot/models",
    "/api/chainbot/agents/personas",
    "/api/chainbot/runs/diff",
    "/api/chainbot/health/live",
    "/api/chainbot/health/ready",
    "/api/chainbot/auth/me",
    "/api/chainbot/auth/sessions",
    "/api/chainbot/tokens",
    "/health",
    "/api/health",
    "/api/chainbot/health/simple",
    "/api/chainbot/status",
    "/api/chainbot/alex-agents",
    "/api/chainbot/agents/types",
    // It wants an agent: a conversation with another's agent is not there, which `{id}` shows.
    "/api/chainbot/chat/threads",
    // An operator's archive is no house's: `http/tests/remembered.rs`.
    "/api/chainbot/agents/archives",
    // Those without a model; these here all have one.
    "/api/chainbot/webhooks",
    "/api/chainbot/webhooks/health",
    "/api/chainbot/webhooks/status",
    "/api/webhooks/chainbot",
    "/api/webhooks/chainbot/health",
    "/api/webhooks/chainbot/status",
    // As event streams: by run.
    "/api/chainbot/ws",
    "/api/chainbot/notifications",
];

/// What a list says of these things.
fn listed(path: &str, things: &Things) -> Vec<String> {
    match path.rsplit('/').next().unwrap_or_default() {
        "workflows" | "schedules" => vec![things.workflow.clone()],
        "runs" => vec![things.asking.clone(), things.steered.clone()],
        // Both runs ask.
        "inbox" => vec![things.question.clone()],
        "outbox" => vec![things.message.clone()],
        "secrets" => vec![things.secret.clone()],
        "agents" | "all" | "ai-agents" => vec![things.agent.clone()],
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_shows_exactly_what_is_theirs_and_the_houses() {
    let house = House::new().await;
    let (hers, his) = (house.login("mia").await, house.login("tom").await);
    let mias = house.things(&hers, "hers", 1).await;
    let toms = house.things(&his, "his", 2).await;
    let houses = house.things(&house.local, "house", 3).await;
    let admins = ["chainbot:admin", "chainbot:backup", "chainbot:audit", "chainbot:local"];
    let access = Access::load().unwrap();
    for (method, path, need) in access.routes().filter(|(_, path, _)| !path.contains('{')) {
        let is_for_admins = matches!(need, Need::Permission(name) if admins.contains(&name));
        let is_known = NOBODYS.contains(&path) || LISTS.iter().any(|(list, _)| *list == path);
        assert!(method != "GET" || is_for_admins || is_known, "no case for GET {path}: say here whose it is");
    }
    let all = [&mias, &toms, &houses];
    let mut seen = 0;
    for (name, theirs) in [
        ("mia", vec![&mias, &houses]),
        ("tom", vec![&toms, &houses]),
        ("vic", vec![&houses]),
        ("ada", all.to_vec()),
    ] {
        let mut credentials = vec![house.login(name).await];
        if name != "vic" {
            credentials.push(house.api_token(name).await.0);
        }
        for credential in credentials {
            for (path, key) in LISTS.iter().filter(|(path, _)| name != "vic" || !path.ends_with("secrets")) {
                let reply = house.get(&credential, path).await;
                assert_eq!(reply.status, 200, "{path}: {}", reply.text);
                let entries: BTreeSet<String> = reply
                    .json()
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|one| one[key].as_str().unwrap().to_owned())
                    .collect();
                let wanted: BTreeSet<String> =
                    theirs.iter().flat_map(|things| listed(path, things)).collect();
                let others = all.iter().filter(|things| !theirs.iter().any(|own| own.name == things.name));
                let foreign: BTreeSet<String> = others.flat_map(|things| listed(path, things)).collect();
                match path.ends_with("inbox") {
                    // The other run of each asks as well.
                    true => assert!(
                        entries.is_superset(&wanted)
                            && entries.is_disjoint(&foreign)
                            && entries.len() == 2 * theirs.len()
                    ),
                    false => assert_eq!(entries, wanted, "{path} as {name}"),
                }
                let total = reply.header("x-total-count");
                let count = reply.json().as_array().unwrap().len().to_string();
                assert!(total.is_empty() || total == count, "{path} as {name}: {total} of {count}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 62);
    // A filter finds nothing either, and the name of a workflow as a filter is as unknown as any.
    let tom = house.login("tom").await;
    house.get(&tom, "runs?workflow=hers").await.problem(404, "CB-0190");
    house.get(&tom, "runs?workflow=none").await.problem(404, "CB-0190");
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_those_of_runs_that_are_theirs() {
    let house = House::new().await;
    let (hers, his) = (house.login("mia").await, house.login("tom").await);
    let mias = house.things(&hers, "hers", 1).await;
    let toms = house.things(&his, "his", 2).await;
    let houses = house.things(&house.local, "house", 3).await;
    let newest = house.handle.newest_lsn().unwrap().0;
    for (name, theirs, others) in [
        ("mia", vec![&mias, &houses], vec![&toms]),
        ("vic", vec![&houses], vec![&mias, &toms]),
        ("ada", vec![&mias, &toms, &houses], vec![]),
    ] {
        let login = house.login(name).await;
        let text = house.get(&login, "events?since=0").await.text;
        for things in theirs {
            assert!(text.contains(&things.asking) && text.contains(&things.steered), "{name}: {text}");
        }
        for things in others {
            assert!(!text.contains(&things.asking) && !text.contains(&things.workflow), "{name}: {text}");
            let text = house.get(&login, "events?since=0&topics=%23").await.text;
            assert!(text.contains("run.state") && !text.contains(&things.asking), "{name}: {text}");
            assert!(!text.contains(&things.workflow) && !text.contains(&things.name), "{name}: {text}");
        }
        // What was passed by need not be read again.
        assert!(text.trim_end().ends_with(&format!("id: {newest}")), "{name}: {text}");
    }
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_stream_follows_a_change_of_hands() {
    let house = House::new().await;
    let (hers, boss) = (house.login("mia").await, house.login("ada").await);
    let things = house.things(&hers, "hers", 1).await;
    let (run, theirs): (RunId, RunId) = (things.steered.parse().unwrap(), things.asking.parse().unwrap());
    let tom = house.accounts.user("tom").unwrap().id;
    let scope = crate::port::Scope::Of { user: Some(tom), role: crate::port::Role::Editor };
    let mut events = house.handle.of(scope).subscribe(Some(Lsn(0))).await.unwrap();
    let mut next = async || {
        let next = tokio::time::timeout(HANG, events.next()).await.expect("a record");
        next.unwrap().unwrap().run
    };
    // Nothing of what was there comes; then it is given to him, what happens to the one run does, and then no more.
    let give = async |owner: &str| {
        let reply = house.ask(&boss, "PATCH workflows/hers/sharing", json!({ "owner": owner })).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    };
    let his = house.things(&house.login("tom").await, "his", 2).await;
    assert_eq!(next().await, his.asking.parse::<RunId>().unwrap());
    give("tom").await;
    house.handle.cancel(run, "enough").await.unwrap();
    while next().await != run {}
    give("mia").await;
    house.handle.cancel(theirs, "enough").await.unwrap();
    let last: RunId = his.steered.parse().unwrap();
    house.handle.cancel(last, "enough").await.unwrap();
    let mut seen = Vec::new();
    while let Ok(Some(Ok(one))) = tokio::time::timeout(HANG, events.next()).await {
        seen.push(one.run);
        if one.run == last && matches!(one.record.body, RecordBody::RunCancelled { .. }) {
            break;
        }
    }
    assert!(!seen.contains(&theirs), "{seen:?}");
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shared_is_used_and_changed_by_its_owner_alone() {
    let house = House::new().await;
    let (hers, his, boss) = (house.login("mia").await, house.login("tom").await, house.login("ada").await);
    let things = house.things(&hers, "hers", 1).await;
    let run = format!("runs/{}", things.steered);
    let share = |body: Value| house.ask(&hers, "PATCH workflows/hers/sharing", body);
    assert_eq!(house.get(&hers, "workflows/hers").await.json()["shared"], Value::Null);
    let shared = share(json!({ "shared": "operator" })).await;
    assert_eq!(
        (shared.status.as_u16(), &shared.json()["shared"]),
        (200, &json!("operator")),
        "{}",
        shared.text
    );
    let vic = house.login("vic").await;
    // A viewer is less than an operator; a run is where its workflow is.
    house.get(&vic, "workflows/hers").await.problem(404, "CB-0190");
    house.get(&vic, &run).await.problem(404, "CB-0300");
    assert_eq!(house.get(&his, &run).await.status, 200);
    assert_eq!(house.ask(&his, "POST workflows/hers/runs", json!({})).await.status, 201);
    assert_eq!(house.ask(&his, &format!("POST {run}/cancel"), json!({})).await.status, 200);
    for (head, body) in [
        ("PUT workflows/hers".to_owned(), Value::String(format!("name: hers\n{STEPS}"))),
        ("POST workflows/hers/rollback".to_owned(), json!({ "version": 1 })),
        ("POST workflows/hers/disable".to_owned(), json!({})),
        ("PATCH workflows/hers/sharing".to_owned(), json!({ "shared": "viewer" })),
        ("PATCH workflows/hers/sharing".to_owned(), json!({ "owner": "tom" })),
        ("PATCH workflows/hers/sharing".to_owned(), json!({ "owner": "nobody-of-this-name" })),
        ("DELETE workflows/hers".to_owned(), Value::Null),
        (format!("DELETE {run}"), Value::Null),
    ] {
        house.ask(&his, &head, body).await.problem(403, "CB-0363");
    }
    share(json!({ "shared": "admin" })).await.problem(422, "CB-0350");
    share(json!({ "owner": "tom" })).await.problem(403, "CB-0363");
    assert_eq!(share(json!({ "shared": null })).await.status, 200);
    house.get(&his, &run).await.problem(404, "CB-0300");
    // An admin gives it away, and then it is not there for her.
    let given = house.ask(&boss, "PATCH workflows/hers/sharing", json!({ "owner": "Tom" })).await;
    assert_eq!(given.status, 200, "{}", given.text);
    house.get(&hers, "workflows/hers").await.problem(404, "CB-0190");
    house.get(&hers, &run).await.problem(404, "CB-0300");
    assert_eq!(house.get(&his, &run).await.status, 200);
    house
        .ask(&boss, "PATCH workflows/hers/sharing", json!({ "owner": "nobody" }))
        .await
        .problem(404, "CB-0346");
    // What he leaves behind is the operator's, and stays as private as it was.
    assert_eq!(house.ask(&boss, "DELETE users/tom", Value::Null).await.status, 204);
    let left = house.get(&boss, "workflows/hers").await.json();
    assert_eq!((&left["owner"], &left["shared"]), (&Value::Null, &Value::Null));
    house.get(&hers, "workflows/hers").await.problem(404, "CB-0190");
    let audit = house.get(&boss, "audit?action=workflow.share").await;
    assert_eq!(audit.json().as_array().unwrap().len(), 3, "{}", audit.text);
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_keys_and_children_of_another_are_not_told() {
    let house = House::new().await;
    let (hers, his) = (house.login("mia").await, house.login("tom").await);
    let things = house.things(&hers, "hers", 1).await;
    let houses = house.things(&house.local, "house", 3).await;
    let source = |name: &str| Value::String(format!("name: {name}\n{STEPS}"));
    let taken = house.ask(&his, "POST workflows", source("hers")).await;
    taken.problem(409, "CB-0191");
    assert!(!taken.text.contains(&things.workflow) && !taken.text.contains("PUT"), "{}", taken.text);
    let hook = format!("name: other\ntriggers:\n  - {{ webhook: hers-hook }}\n{STEPS}");
    let taken = house.ask(&his, "POST workflows", Value::String(hook)).await;
    assert!(taken.status == 409 && !taken.text.contains("`hers`"), "{}", taken.text);
    // One key of two people makes two runs, and neither sees what the other's has made.
    let start = |token: String, inputs: Value| {
        let house = &house;
        async move {
            let mut request = Request::builder().method("POST").uri("/api/chainbot/workflows/house/runs");
            request =
                request.header("Authorization", format!("Bearer {token}")).header("Idempotency-Key", "k");
            let request = request
                .header("Content-Type", "application/json")
                .body(Body::from(inputs.to_string()))
                .unwrap();
            read(house.api.call(request).await).await
        }
    };
    let one = start(hers.clone(), json!({})).await;
    let two = start(his.clone(), json!({ "inputs": {} })).await;
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (201, 201), "{}", two.text);
    assert_ne!(one.json()["id"], two.json()["id"]);
    assert_eq!(start(hers.clone(), json!({})).await.json()["id"], one.json()["id"]);
    // A step that starts another's workflow finds none, as if there were none.
    let child = |name: &str, of: &str| {
        Value::String(format!(
            "name: {name}\nsteps:\n  - {{ id: a, type: workflow, config: {{ workflow: {of} }} }}\n"
        ))
    };
    let mut errors = Vec::new();
    for (name, of) in [("calls-hers", "hers"), ("calls-none", "nope")] {
        assert_eq!(house.ask(&his, "POST workflows", child(name, of)).await.status, 201);
        errors.push(house.failure(&his, name).await.replace(of, "X"));
    }
    assert_eq!(errors[0], errors[1]);
    assert!(errors[0].contains("there is no workflow"), "{}", errors[0]);
    // The house's is everybody's to use.
    assert_eq!(house.ask(&his, "POST workflows", child("calls-house", "house")).await.status, 201);
    drop(houses);
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_hears_of_the_runs_that_its_owner_sees() {
    let house = House::new().await;
    let (hers, his) = (house.login("mia").await, house.login("tom").await);
    let source = |name: &str, of: &str| {
        Value::String(format!(
            "name: {name}\ntriggers:\n  - {{ workflow: {of}, on: any }}\n  - {{ event: chainbot.workflow.completed, when: \
             \"event.data.workflow_name == '{of}'\" }}\n{STEPS}"
        ))
    };
    let plain = |name: &str| Value::String(format!("name: {name}\n{STEPS}"));
    for (token, name) in [(&hers, "private"), (&house.local, "open")] {
        assert_eq!(house.ask(token, "POST workflows", plain(name)).await.status, 201);
    }
    // Everybody listens to both; the last one ends after all that may hear have started.
    for (token, name, of) in [
        (&his, "his-of-private", "private"),
        (&house.local, "houses-of-private", "private"),
        (&hers, "hers-of-private", "private"),
        (&his, "his-of-open", "open"),
    ] {
        let made = house.ask(token, "POST workflows", source(name, of)).await;
        assert_eq!(made.status, 201, "{}", made.text);
    }
    for (token, name) in [(&hers, "private"), (&house.local, "open")] {
        assert_eq!(house.ask(token, &format!("POST workflows/{name}/runs"), json!({})).await.status, 201);
    }
    let count = async |name: &str| {
        let reply = house.get(&house.local, &format!("runs?workflow={name}")).await;
        reply.json().as_array().unwrap().len()
    };
    // Events are offered in their order, so whoever hears of the second has been passed by at the first.
    let heard = async {
        while count("his-of-open").await < 2 || count("hers-of-private").await < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, heard).await.expect("they hear");
    assert_eq!((count("his-of-private").await, count("houses-of-private").await), (0, 0));
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_uses_the_secrets_of_its_owner_and_of_the_house() {
    let house = House::new().await;
    let (hers, his) = (house.login("mia").await, house.login("tom").await);
    for (token, name) in [(&hers, "hers_key"), (&house.local, "house_key")] {
        let body = json!({ "value": format!("the value of {name}"), "hosts": [] });
        assert_eq!(house.ask(token, &format!("PUT secrets/{name}"), body).await.status, 201);
    }
    // None of them may be sent anywhere, so whoever has one is told that, and whoever has none that there is none.
    let cases = [
        (&hers, "a", "hers_key", "may not be sent"),
        (&hers, "b", "house_key", "may not be sent"),
        (&his, "c", "house_key", "may not be sent"),
        (&his, "d", "hers_key", "there is no secret"),
        (&his, "e", "no_key", "there is no secret"),
        (&house.local, "f", "hers_key", "there is no secret"),
    ];
    let mut errors = Vec::new();
    for (token, name, secret, wanted) in cases {
        let source = format!(
            "name: {name}\nsteps:\n  - {{ id: a, type: api_call, config: {{ url: \"https://example.com/\", method: GET, \
             headers: {{ X-Key: \"{{{{ secrets.{secret} }}}}\" }} }} }}\n"
        );
        let made = house.ask(token, "POST workflows", Value::String(source)).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let error = house.failure(token, name).await;
        assert!(error.contains(wanted) && !error.contains("the value of"), "{name} with {secret}: {error}");
        errors.push(error.replace(secret, "X"));
    }
    // Another's is in every word as if there were none.
    assert_eq!(errors[3], errors[4]);
    // Given to him, her workflow has her secret no more.
    let given = json!({ "owner": "tom" });
    assert_eq!(house.ask(&house.local, "PATCH workflows/a/sharing", given).await.status, 200);
    assert!(house.failure(&his, "a").await.contains("there is no secret"));
    house.end().await;
}
