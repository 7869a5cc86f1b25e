//! What must not get through, over every route that there is: the cases are made from the document, so a new route is in them.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::conform::document;
use super::{Bench, Reply};
use crate::http::ApiLimits;
use crate::limits::DEFINITION_BODY_BYTES_MAX;

/// What a caller might try to set, or to have run, beside what a body takes.
const KEYS: &[&str] = &[
    "id",
    "owner_id",
    "role",
    "created_at",
    "is_admin",
    "is_superuser",
    "files",
    "filepath",
    "path",
    "definition",
    "nodes",
    "command",
    "args",
    "env",
    "steps",
    "code",
    "command",
    "args",
    "env",
    "zzz",
    "__proto__",
    "constructor",
    "",
];

const TYPES: &[&str] = &[
    "application/json",
    "application/yaml",
    "text/plain",
    "text/html",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/octet-stream",
    "application/xml",
];

struct Route {
    method: Method,
    path: String,
    operation: &'static Value,
}

impl Route {
    fn all() -> Vec<Route> {
        let all = document().operations();
        all.map(|(method, path, operation)| Route { method, path: path.to_owned(), operation }).collect()
    }

    /// As a request, with this for each parameter of the path.
    fn head(&self, parameter: &str) -> String {
        let parts = self.path.split('/').map(|part| match part {
            // Numbers of versions have nothing to try but numbers.
            "{v}" if parameter == "none" => "1",
            part if part.starts_with('{') => parameter,
            part => part,
        });
        format!("{} {}", self.method, parts.collect::<Vec<_>>().join("/"))
    }

    fn media(&self) -> Vec<&'static str> {
        let content = self.operation["requestBody"]["content"].as_object();
        content.into_iter().flatten().map(|(media, _)| media.as_str()).collect()
    }

    /// The JSON body's closed schema.
    fn fields(&self) -> Option<&'static Map<String, Value>> {
        let schema = &self.operation["requestBody"]["content"]["application/json"]["schema"];
        let schema = document().resolve(schema);
        (schema["additionalProperties"] == false).then(|| schema["properties"].as_object().unwrap())
    }

    /// Whether the handler reads any text as a value: what is wrong in it is for the definition's checks.
    fn is_definition(&self) -> bool {
        self.media().iter().any(|media| ["application/yaml", "application/merge-patch+json"].contains(media))
    }

    fn is_hook(&self) -> bool {
        self.path.starts_with("/api/chainbot/hooks/")
    }
}

fn unlimited() -> Bench {
    Bench::with(ApiLimits { rate_per_s: 0, ..Default::default() })
}

fn code(reply: &Reply) -> String {
    if reply.header("content-type") != "application/problem+json" {
        return String::new();
    }
    reply.json()["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_body_of_a_type_that_the_route_does_not_take_is_415_on_every_route() {
    let bench = unlimited();
    let (mut refused, mut taken) = (0, 0);
    for route in Route::all().iter().filter(|route| !route.method.is_safe()) {
        for media in TYPES {
            let essence = media.split(';').next().unwrap();
            let known = route.media().contains(&essence);
            // A route without a body takes an empty object, as many clients send one.
            let plain = route.media().is_empty() && *media == "application/json";
            let header = format!("Content-Type: {media}");
            let reply = bench.send(&route.head("none"), &[&header], "{}").await;
            if known || plain {
                assert_ne!(reply.status, 415, "{} {media}: {}", route.head("none"), reply.text);
                taken += 1;
            } else if reply.status == 415 {
                assert_eq!(code(&reply), "CB-0006");
                refused += 1;
            } else {
                // YAML is a type that is read, and none that a route without a definition takes.
                panic!("{} took {media}: {} {}", route.head("none"), reply.status, reply.text);
            }
        }
    }
    assert!(refused > 200 && taken > 40, "{refused} {taken}");
}

/// A file of chats, which is read as it comes and has bounds of its own: `agent/memory/archive/tests.rs`.
fn is_export(head: &str) -> bool {
    ["POST /api/chainbot/agents/archives", "POST /api/chainbot/agents/archives/validate"].contains(&head)
}

#[tokio::test]
async fn a_field_that_a_body_does_not_have_is_422_on_every_route() {
    let bench = unlimited();
    let json = ["Content-Type: application/json"];
    let mut refused = 0;
    for route in Route::all().iter().filter(|route| !route.method.is_safe()) {
        let head = route.head("none");
        // A report of the host is any object, passed on as it is.
        if route.is_definition() || route.is_hook() || head.contains("webhooks") || is_export(&head) {
            continue;
        }
        let nothing = Map::new();
        let fields = match route.media().is_empty() {
            true => &nothing,
            false => route.fields().unwrap_or_else(|| panic!("{head} has an open body")),
        };
        for key in KEYS.iter().filter(|key| !fields.contains_key(**key)) {
            let mut example =
                route.operation["requestBody"]["content"]["application/json"]["example"].clone();
            if !example.is_object() {
                example = json!({});
            }
            example[*key] = json!(1);
            for body in [json!({ *key: 1 }), example] {
                let reply = bench.send(&head, &json, body.to_string()).await;
                assert_eq!((reply.status.as_u16(), code(&reply).as_str()), (422, "CB-0008"), "{head} {body}");
                refused += 1;
            }
        }
        // What the document has as a field is one.
        for field in fields.keys() {
            let reply = bench.send(&head, &json, json!({ field: [[]] }).to_string()).await;
            assert_ne!(code(&reply), "CB-0008", "{head} does not know `{field}`");
        }
    }
    assert!(refused > 1_000, "{refused}");
}

#[tokio::test]
async fn a_definition_in_an_envelope_or_a_run_with_one_is_refused() {
    let bench = unlimited();
    bench.workflow("a").await;
    for key in ["definition", "nodes", "steps", "code", "source"] {
        for path in ["workflows/a/runs", "workflows/a/execute"] {
            let body = json!({ "inputs": {}, key: { "name": "b" } }).to_string();
            bench.post(path, &body).await.problem(422, "CB-0008");
        }
    }
    for path in ["workflows", "workflows/validate"] {
        for key in KEYS.iter().filter(|key| **key != "definition") {
            let body = json!({ "source": "name: b\n", *key: 1 }).to_string();
            bench.post(path, &body).await.problem(422, "CB-0008");
        }
    }
}

#[tokio::test]
async fn a_body_over_the_bound_is_413_and_a_deep_one_is_refused_on_every_route() {
    let bench = unlimited();
    let large = " ".repeat(DEFINITION_BODY_BYTES_MAX + 1);
    let deep =
        |field: &str, depth: usize| format!("{{\"{field}\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let mut seen = 0;
    for route in Route::all().iter().filter(|route| !route.method.is_safe()) {
        let head = route.head("none");
        if is_export(&head) {
            continue;
        }
        let media = if route.media().contains(&"application/json") || route.media().is_empty() {
            "Content-Type: application/json"
        } else {
            panic!("{head} takes no JSON")
        };
        let reply = bench.send(&head, &[media], large.clone()).await;
        assert_eq!((reply.status.as_u16(), code(&reply).as_str()), (413, "CB-0005"), "{head}");
        // A hook's caller is asked for a workflow first: there is none of the name.
        let field = route.fields().and_then(|fields| fields.keys().next()).map_or("name", String::as_str);
        for depth in [64, 1_000] {
            let reply = bench.send(&head, &[media], deep(field, depth)).await;
            assert!((400..500).contains(&reply.status.as_u16()), "{head}: {} {}", reply.status, reply.text);
            let told = code(&reply);
            assert!(told == "CB-0019" || route.is_hook(), "{head}: {told}");
        }
        seen += 1;
    }
    assert!(seen > 35, "{seen}");
}

#[tokio::test]
async fn a_query_parameter_that_a_route_does_not_have_is_422_on_every_route() {
    let bench = unlimited();
    for route in Route::all() {
        let head = route.head("none");
        for query in ["zzz=1", "owner_id=1", "limit%00=1", "path=..%2f"] {
            let reply = bench.send(&format!("{head}?{query}"), &[], "").await;
            assert_eq!((reply.status.as_u16(), code(&reply).as_str()), (422, "CB-0016"), "{head}?{query}");
        }
        let parameters = route.operation["parameters"].as_array().into_iter().flatten();
        for name in parameters.filter(|one| one["in"] == "query").map(|one| one["name"].as_str().unwrap()) {
            let reply = bench.send(&format!("{head}?{name}=1&{name}=1"), &[], "").await;
            assert_eq!(
                (reply.status.as_u16(), code(&reply).as_str()),
                (422, "CB-0016"),
                "{head} {name} twice"
            );
        }
    }
}

/// Ways to write a path that leads elsewhere: dots, separators, how often it is encoded, what it leads to.
const SPELLINGS: &str = include_str!("../../../../tests/data/hostile/paths.txt");

#[tokio::test]
async fn no_spelling_of_a_path_in_a_parameter_finds_anything() {
    let bench = unlimited();
    bench.user("boss", "admin").await;
    bench.workflow("a").await;
    assert!(SPELLINGS.lines().count() >= 200);
    let mut asked = 0;
    // The engine of this bench has every webhook; what a running module says of them is in the suite's `hardening`.
    for route in Route::all().iter().filter(|route| route.path.contains('{') && !route.is_hook()) {
        for spelling in SPELLINGS.lines() {
            let head = route.head(spelling);
            let body = &route.operation["requestBody"]["content"]["application/json"]["example"];
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let reply = bench.send(&head, &["Content-Type: application/json"], body).await;
            // This bench has no vault, no pins and no store for people, which says so.
            let is_absent = reply.status == 501;
            assert!(
                (400..500).contains(&reply.status.as_u16()) || is_absent,
                "{head}: {} {}",
                reply.status,
                reply.text
            );
            asked += 1;
        }
    }
    assert!(asked > 5_000, "{asked}");
}

#[tokio::test]
async fn only_a_proxy_that_the_operator_named_says_where_a_request_comes_from() {
    let bench = Bench::new();
    let token = super::accounts::bearer(&bench.token);
    let make = async |from: &str, name: &str| {
        let body = json!({ "source": format!("name: {name}\nsteps: []\n") }).to_string();
        let headers = [token.as_str(), "X-Forwarded-Prefix: /pi", "X-Forwarded-For: 198.51.100.7"];
        let reply = bench.ask("POST workflows", &headers, from, &body).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.header("location").to_owned()
    };
    assert!(make("192.0.2.1", "one").await.starts_with("/pi/api/chainbot/workflows/"));
    assert!(make("192.0.2.9", "two").await.starts_with("/api/chainbot/workflows/"));
    assert!(make("127.0.0.1", "three").await.starts_with("/api/chainbot/workflows/"));
    // Tries count for the client that the proxy saw, so that one stranger does not shut out all who come through it.
    let login = async |from: &str, client: &str| {
        let client = format!("X-Forwarded-For: {client}");
        let body = json!({ "name": format!("nobody-{client}").to_lowercase().replace([' ', ':'], ""), "password": "x" });
        bench.ask("POST auth/login", &[&client], from, &body.to_string()).await.status.as_u16()
    };
    bench.user("mia", "admin").await;
    while login("192.0.2.1", "198.51.100.7").await != 429 {}
    assert_eq!(login("192.0.2.1", "198.51.100.8").await, 401);
}
