//! The table of routes: what is served, who gets in, what the document says.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::Value;

use super::Bench;

/// What is served to anybody. At most six: two answers that say `ok`, and three that take a credential in their body.
pub const PUBLIC: &[(&str, &str)] = &[
    ("GET", "/api/chainbot/health/live"),
    ("GET", "/api/chainbot/health/ready"),
    ("POST", "/api/chainbot/auth/login"),
    ("POST", "/api/chainbot/auth/refresh"),
    ("POST", "/api/chainbot/setup"),
];

/// Every route there is. A new one is a line here, and an entry of the guard if it is public.
pub const ROUTES: &[&str] = &[
    "DELETE /api/chainbot/agents/archives/{id}",
    "DELETE /api/chainbot/agents/{id}",
    "DELETE /api/chainbot/agents/{id}/memory",
    "DELETE /api/chainbot/agents/{id}/memory/blocks/{label}",
    "DELETE /api/chainbot/agents/{id}/memory/items/{item}",
    "DELETE /api/chainbot/auth/sessions",
    "DELETE /api/chainbot/auth/sessions/{id}",
    "DELETE /api/chainbot/chat/threads/{id}",
    "DELETE /api/chainbot/outbox/{id}",
    "DELETE /api/chainbot/runs/{id}",
    "DELETE /api/chainbot/secrets/{name}",
    "DELETE /api/chainbot/tokens/{id}",
    "DELETE /api/chainbot/users/{id}",
    "DELETE /api/chainbot/users/{id}/sessions",
    "DELETE /api/chainbot/workflows/{id}",
    "GET /api/chainbot/agents",
    "GET /api/chainbot/agents/all",
    "GET /api/chainbot/agents/archives",
    "GET /api/chainbot/agents/archives/{id}",
    "GET /api/chainbot/agents/archives/{id}/search",
    "GET /api/chainbot/agents/personas",
    "GET /api/chainbot/agents/types",
    "GET /api/chainbot/agents/{id}",
    "GET /api/chainbot/agents/{id}/memory",
    "GET /api/chainbot/agents/{id}/tasks",
    "GET /api/chainbot/agents/{id}/usage",
    "GET /api/chainbot/ai-agents",
    "GET /api/chainbot/alex-agents",
    "GET /api/chainbot/audit",
    "GET /api/chainbot/audit/export",
    "GET /api/chainbot/audit/verify",
    "GET /api/chainbot/auth/me",
    "GET /api/chainbot/auth/sessions",
    "GET /api/chainbot/backups",
    "GET /api/chainbot/backups/{name}",
    "GET /api/chainbot/chat/threads",
    "GET /api/chainbot/chat/threads/{id}",
    "GET /api/chainbot/chat/threads/{id}/messages",
    "GET /api/chainbot/config",
    "GET /api/chainbot/events",
    "GET /api/chainbot/executions/{id}",
    "GET /api/chainbot/gpio",
    "GET /api/chainbot/health",
    "GET /api/chainbot/health/live",
    "GET /api/chainbot/health/ready",
    "GET /api/chainbot/health/simple",
    "GET /api/chainbot/inbox",
    "GET /api/chainbot/inbox/{id}",
    "GET /api/chainbot/info",
    "GET /api/chainbot/logs",
    "GET /api/chainbot/metrics",
    "GET /api/chainbot/models",
    "GET /api/chainbot/notifications",
    "GET /api/chainbot/openapi.json",
    "GET /api/chainbot/outbox",
    "GET /api/chainbot/runs",
    "GET /api/chainbot/runs/diff",
    "GET /api/chainbot/runs/{id}",
    "GET /api/chainbot/runs/{id}/journal",
    "GET /api/chainbot/runs/{id}/state",
    "GET /api/chainbot/runs/{id}/steps",
    "GET /api/chainbot/schedules",
    "GET /api/chainbot/schemas/{name}",
    "GET /api/chainbot/secrets",
    "GET /api/chainbot/status",
    "GET /api/chainbot/system",
    "GET /api/chainbot/tokens",
    "GET /api/chainbot/users",
    "GET /api/chainbot/users/{id}",
    "GET /api/chainbot/users/{id}/sessions",
    "GET /api/chainbot/webhooks",
    "GET /api/chainbot/webhooks/health",
    "GET /api/chainbot/webhooks/status",
    "GET /api/chainbot/workflows",
    "GET /api/chainbot/workflows/templates",
    "GET /api/chainbot/workflows/templates/{id}",
    "GET /api/chainbot/workflows/{id}",
    "GET /api/chainbot/workflows/{id}/diff",
    "GET /api/chainbot/workflows/{id}/graph",
    "GET /api/chainbot/workflows/{id}/triggers",
    "GET /api/chainbot/workflows/{id}/versions",
    "GET /api/chainbot/workflows/{id}/versions/{v}",
    "GET /api/chainbot/ws",
    "GET /api/health",
    "GET /api/webhooks/chainbot",
    "GET /api/webhooks/chainbot/health",
    "GET /api/webhooks/chainbot/status",
    "GET /api/workflows/ws/{user}",
    "GET /api/ws/{window}",
    "GET /api/ws/{window}/{user}",
    "GET /docs",
    "GET /docs/{name}",
    "GET /health",
    "GET /metrics",
    "PATCH /api/chainbot/agents/{id}",
    "PATCH /api/chainbot/agents/{id}/sharing",
    "PATCH /api/chainbot/users/{id}",
    "PATCH /api/chainbot/workflows/{id}",
    "PATCH /api/chainbot/workflows/{id}/sharing",
    "POST /api/chainbot/agents",
    "POST /api/chainbot/agents/archives",
    "POST /api/chainbot/agents/archives/validate",
    "POST /api/chainbot/agents/{id}/execute",
    "POST /api/chainbot/agents/{id}/tasks",
    "POST /api/chainbot/agents/{id}/terminate",
    "POST /api/chainbot/auth/login",
    "POST /api/chainbot/auth/logout",
    "POST /api/chainbot/auth/password",
    "POST /api/chainbot/auth/refresh",
    "POST /api/chainbot/auth/rotate-key",
    "POST /api/chainbot/backup",
    "POST /api/chainbot/chat/threads",
    "POST /api/chainbot/chat/threads/{id}/messages",
    "POST /api/chainbot/events",
    "POST /api/chainbot/expressions/preview",
    "POST /api/chainbot/gpio/{pin}",
    "POST /api/chainbot/hooks/{name}",
    "POST /api/chainbot/inbox/{id}/answer",
    "POST /api/chainbot/models/{id}/probe",
    "POST /api/chainbot/outbox/{id}/resend",
    "POST /api/chainbot/runs/{id}/cancel",
    "POST /api/chainbot/runs/{id}/fork",
    "POST /api/chainbot/runs/{id}/pause",
    "POST /api/chainbot/runs/{id}/resume",
    "POST /api/chainbot/runs/{id}/retry",
    "POST /api/chainbot/runs/{id}/signal/{name}",
    "POST /api/chainbot/secrets/rotate-key",
    "POST /api/chainbot/setup",
    "POST /api/chainbot/tokens",
    "POST /api/chainbot/users",
    "POST /api/chainbot/webhooks/event",
    "POST /api/chainbot/webhooks/health",
    "POST /api/chainbot/webhooks/status",
    "POST /api/chainbot/webhooks/{kind}/{event}",
    "POST /api/chainbot/workflows",
    "POST /api/chainbot/workflows/import",
    "POST /api/chainbot/workflows/validate",
    "POST /api/chainbot/workflows/{id}/disable",
    "POST /api/chainbot/workflows/{id}/dry-run",
    "POST /api/chainbot/workflows/{id}/enable",
    "POST /api/chainbot/workflows/{id}/execute",
    "POST /api/chainbot/workflows/{id}/rollback",
    "POST /api/chainbot/workflows/{id}/runs",
    "POST /api/chainbot/workflows/{id}/triggers/{key}/disable",
    "POST /api/chainbot/workflows/{id}/triggers/{key}/enable",
    "POST /api/webhooks/chainbot/event",
    "POST /api/webhooks/chainbot/health",
    "POST /api/webhooks/chainbot/status",
    "POST /api/webhooks/chainbot/{kind}/{event}",
    "POST /mcp",
    "PUT /api/chainbot/agents/{id}/memory/blocks/{label}",
    "PUT /api/chainbot/secrets/{name}",
    "PUT /api/chainbot/users/{id}/password",
    "PUT /api/chainbot/workflows/{id}",
];

fn documented(document: &Value) -> Vec<String> {
    let paths = document["paths"].as_object().unwrap();
    let mut routes: Vec<String> = paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |m| format!("{} {path}", m.to_uppercase()))
        })
        .collect();
    routes.sort();
    routes
}

#[tokio::test]
async fn the_document_lists_exactly_the_golden_routes() {
    let bench = Bench::new();
    let document = bench.get("openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(documented(&document), ROUTES);
}

#[tokio::test]
async fn every_documented_route_is_served() {
    let bench = Bench::new();
    for route in ROUTES {
        let head = route
            .replace("{id}", "none")
            .replace("{name}", "none")
            .replace("{v}", "1")
            .replace("{key}", "none")
            .replace("{pin}", "none");
        let reply = bench.api.call(bench.request(&head, &[], "")).await;
        let code = reply.status().as_u16();
        assert_ne!(code, 405, "{route}");
        if code == 404 {
            let problem = super::read(reply).await.json();
            assert_ne!(problem["code"], "CB-0002", "{route}");
        }
    }
}

#[tokio::test]
async fn every_route_but_the_public_ones_refuses_every_wrong_credential() {
    let bench = Bench::with(crate::http::ApiLimits { rate_per_s: 0, ..Default::default() });
    let wrong_token = format!("Authorization: Bearer cb_{}", "0".repeat(64));
    let basic = format!("Authorization: Basic {}", bench.token);
    let bare = format!("Authorization: {}", bench.token);
    let longer = format!("Authorization: Bearer {}0", bench.token);
    let credentials =
        ["", "Authorization: Bearer", "Authorization: Bearer ", &wrong_token, &basic, &bare, &longer];
    let unknown = [
        "GET /",
        "GET /api/chainbot/nothing",
        "GET /api/chainbot/health/live/",
        "POST /api/chainbot/health/live",
    ];
    for route in ROUTES.iter().chain(&unknown) {
        let head = route
            .replace("{id}", "none")
            .replace("{name}", "none")
            .replace("{v}", "1")
            .replace("{key}", "none")
            .replace("{pin}", "none");
        let (method, path) = head.split_once(' ').unwrap();
        for credential in credentials {
            let mut request = bench.request(&head, &["Authorization: x"], "");
            request.headers_mut().remove("authorization");
            if let Some((name, value)) = credential.split_once(": ") {
                request.headers_mut().insert(
                    axum::http::HeaderName::try_from(name.to_lowercase()).unwrap(),
                    value.parse().unwrap(),
                );
            }
            let reply = bench.call(request).await;
            if PUBLIC.contains(&(method, path)) {
                assert_eq!(reply.status == 200, method == "GET", "{head}");
                assert!(!reply.text.contains("CB-0004"), "{head}: {}", reply.text);
                continue;
            }
            reply.problem(401, "CB-0004");
            assert!(reply.header("www-authenticate").starts_with("Bearer"), "{head}");
            assert!(!reply.text.contains("cb_0"), "{head}");
        }
    }
}

#[test]
fn nothing_but_the_golden_routes_is_public_in_any_spelling() {
    assert!(PUBLIC.len() <= 6);
    let bench = Bench::new();
    let guard = &bench.api.shared.guard;
    let is_public = |method: &Method, path: &str| guard.is_public(method, path);
    for route in ROUTES {
        let (method, path) = route.split_once(' ').unwrap();
        let expected = PUBLIC.contains(&(method, path));
        assert_eq!(is_public(&method.parse().unwrap(), path), expected, "{route}");
    }
    assert!(is_public(&Method::HEAD, "/api/chainbot/health/live"));
    for path in [
        "/api/chainbot/health",
        "/api/chainbot/health/live/",
        "/api/chainbot/health//live",
        "/api/chainbot/Health/live",
        "/api/chainbot/health/%6cive",
        "/api/chainbot/runs/../health/live",
    ] {
        assert!(!is_public(&Method::GET, path), "{path}");
        assert!(!is_public(&Method::POST, &path.replace("health/live", "auth/login")), "{path}");
    }
}

#[tokio::test]
async fn a_token_in_the_query_or_a_cookie_is_no_credential() {
    let bench = Bench::new();
    let mut request = bench.request(&format!("GET health?token={0}&access_token={0}", bench.token), &[], "");
    let cookie = format!("token={}", bench.token).parse().unwrap();
    request.headers_mut().remove("authorization");
    request.headers_mut().insert("cookie", cookie);
    bench.call(request).await.problem(401, "CB-0004");
}

#[tokio::test]
async fn two_credentials_are_refused_even_when_one_is_right() {
    let bench = Bench::new();
    let mut request = bench.request("GET health", &[], "");
    request.headers_mut().append("authorization", "Bearer cb_x".parse().unwrap());
    bench.call(request).await.problem(401, "CB-0004");
}

#[tokio::test]
async fn a_probe_says_nothing_but_ok_and_is_not_ready_when_unhealthy() {
    let bench = Bench::scored(Default::default(), 0.3);
    let live = bench.get("health/live").await;
    assert_eq!((live.status.as_u16(), live.text.as_str()), (200, "{\"status\":\"ok\"}"));
    let ready = bench.get("health/ready").await;
    ready.problem(503, "CB-0012");
    assert_eq!(bench.get("health").await.json()["status"], "unhealthy");
}

#[tokio::test]
async fn every_reply_has_a_request_id_and_the_security_headers() {
    let bench = Bench::new();
    let mut ids = BTreeSet::new();
    for head in ["GET health", "GET nothing", "PATCH runs", "HEAD health", "OPTIONS runs", "GET runs?x=1"] {
        let reply = bench.send(head, &[], "").await;
        assert_eq!(reply.header("cache-control"), "no-store", "{head}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{head}");
        assert_eq!(reply.header("access-control-allow-origin"), "", "{head}");
        assert!(ids.insert(reply.header("x-request-id").to_owned()), "{head}");
        assert_eq!(reply.header("x-request-id").len(), 36, "{head}");
    }
}

#[tokio::test]
async fn a_wrong_method_says_what_the_path_takes() {
    let bench = Bench::new();
    let reply = bench.send("PATCH workflows", &[], "").await;
    reply.problem(405, "CB-0003");
    assert_eq!(reply.header("allow"), "GET,HEAD,POST");
    let options = bench.send("OPTIONS workflows", &[], "").await;
    assert_eq!((options.status.as_u16(), options.header("allow")), (204, "GET,HEAD,POST"));
    let head = bench.send("HEAD workflows", &[], "").await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
    let head = bench.send("HEAD nothing", &[], "").await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (404, ""));
}

#[tokio::test]
async fn the_document_shows_the_credential_of_every_route() {
    let document = Bench::new().get("openapi.json").await.json();
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    for route in ROUTES {
        let (method, path) = route.split_once(' ').unwrap();
        let operation = &document["paths"][path][method.to_lowercase()];
        let is_public = PUBLIC.contains(&(method, path));
        // Those that take a password or a token in the body can refuse it.
        assert!(operation["responses"].get("401").is_none() == (is_public && method == "GET"), "{route}");
        assert_eq!(operation["security"] == serde_json::json!([]), is_public, "{route}");
        assert_eq!(operation["x-permission"].is_null(), is_public, "{route}");
    }
    check_references(&document, &document);
}

/// Every `$ref` leads somewhere.
fn check_references(document: &Value, value: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            fields.values().for_each(|inner| check_references(document, inner));
        }
        Value::Array(items) => items.iter().for_each(|inner| check_references(document, inner)),
        _ => {}
    }
}
