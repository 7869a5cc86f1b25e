//! Who may do what: every route with every wrong credential, every role, every scope, through both doors.

use axum::http::Request;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Bench;
use super::accounts::{PASSWORD, bearer};
use super::routes::{PUBLIC, ROUTES};
use crate::http::{ApiLimits, ViaHost};

/// A route as a request.
fn head(route: &str) -> String {
    let names = ["{id}", "{name}", "{v}", "{key}", "{pin}", "{window}", "{user}", "{kind}", "{event}"];
    names
        .iter()
        .fold(route.to_owned(), |head, name| head.replace(name, if *name == "{v}" { "1" } else { "none" }))
}

fn unlimited() -> Bench {
    Bench::with(ApiLimits { rate_per_s: 0, ..Default::default() })
}

/// Headers that let nobody in, each with its name.
async fn wrong_credentials(bench: &Bench) -> Vec<(&'static str, Option<String>)> {
    for name in ["mia", "tom", "ida"] {
        bench.user(name, "admin").await;
    }
    let scopes = json!(["chainbot:read"]);
    let mut out = vec![("none", None)];
    let expired = bench.sign_in("mia").await.0;
    let token_of_the_disabled = bench.api_token("tom", &scopes, 9).await.0;
    let old_token = bench.api_token("mia", &scopes, 1).await.0;
    let login_of_the_disabled = bench.sign_in("tom").await.0;
    bench.clock.advance(std::time::Duration::from_secs(86_400));
    let ended = bench.sign_in("ida").await.0;
    bench.ask("POST auth/logout", &[&bearer(&ended)], "10.9.9.1", "{}").await;
    let (revoked, id) = bench.api_token("mia", &scopes, 9).await;
    bench.ask(&format!("DELETE tokens/{id}"), &[&bearer(&bench.token)], "", "").await;
    bench.ask("PATCH users/tom", &[&bearer(&bench.token)], "", r#"{"active":false}"#).await;
    out.push(("an access token past its time", Some(bearer(&expired))));
    out.push(("an access token of a login that was ended", Some(bearer(&ended))));
    out.push(("an access token of a user that was disabled", Some(bearer(&login_of_the_disabled))));
    out.push(("an API token past its time", Some(bearer(&old_token))));
    out.push(("an API token that was revoked", Some(bearer(&revoked))));
    out.push(("an API token of a user that was disabled", Some(bearer(&token_of_the_disabled))));
    for text in ["", "x", "cb_", "a.b.c", &format!("cb_{}", "0".repeat(64)), &bench.token[1..]] {
        out.push(("a malformed token", Some(bearer(text))));
    }
    out.push(("a scheme of another kind", Some(format!("Authorization: Basic {}", bench.token))));
    out.push(("an ended login in the cookie", Some(format!("Cookie: __Host-cb={ended}"))));
    out.push(("the local token in the cookie", Some(format!("Cookie: __Host-cb={}", bench.token))));
    out
}

#[tokio::test]
async fn every_route_refuses_every_wrong_credential_through_both_doors() {
    let bench = unlimited();
    let credentials = wrong_credentials(&bench).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let api = bench.api.clone();
    let served = tokio::spawn(async move { api.serve(listener, async { drop(stopped.await) }).await });
    let mut refused = 0;
    for route in ROUTES {
        let head = head(route);
        let (method, path) = head.split_once(' ').unwrap();
        // The first account exists, so setting up is not for strangers any more.
        if PUBLIC.contains(&(method, path)) && path != "/api/chainbot/setup" {
            continue;
        }
        for (name, credential) in &credentials {
            let mut request = Request::builder().method(method).uri(path);
            if let Some((key, value)) = credential.as_ref().and_then(|line| line.split_once(": ")) {
                request = request.header(key, value);
            }
            let mut request = request.body(axum::body::Body::empty()).unwrap();
            request.extensions_mut().insert(ViaHost { timeout_ms: 5_000 });
            let reply = bench.call(request).await;
            assert_eq!(reply.status, 401, "host: {route} with {name}: {}", reply.text);
            reply.problem(401, "CB-0004");

            let credential = credential.as_ref().map_or_else(String::new, |line| format!("{line}\r\n"));
            let mut stream = TcpStream::connect(address).await.unwrap();
            let text =
                format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{credential}Content-Length: 0\r\n\r\n");
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply).await.unwrap();
            let reply = String::from_utf8_lossy(&reply);
            assert!(
                reply.starts_with("HTTP/1.1 401 ") && reply.contains("CB-0004"),
                "port: {route} with {name}: {reply}"
            );
            refused += 2;
        }
    }
    assert!(refused > 2_000, "{refused}");
    stop.send(()).unwrap();
    served.await.unwrap();
}

#[tokio::test]
async fn roles_reach_exactly_the_routes_of_the_golden_table() {
    let bench = unlimited();
    let roles = ["admin", "editor", "operator", "viewer"];
    for role in roles {
        bench.user(&format!("one-{role}"), role).await;
    }
    // Another one, so that nothing below is about the last admin.
    bench.user("other", "admin").await;
    let mut table = String::new();
    for route in ROUTES {
        let mut line = format!("{route:<68}");
        for role in roles {
            let access = bench.access_of(&format!("one-{role}")).await;
            let request = bench.request(&head(route), &[&bearer(&access)], "");
            let response = bench.api.call(request).await;
            let status = response.status().as_u16();
            assert!(status != 401 || route.ends_with("/auth/refresh"), "{route} as {role}");
            assert!(status < 500 || status == 501, "{route} as {role}: {status}");
            line.push_str(if status == 403 { " -" } else { " +" });
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/tests/roles.golden");
    let text = format!("{:<68} admin editor operator viewer\n{table}", "# route");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(golden).unwrap_or_default(), "UPDATE_GOLDEN=1 writes it anew");
    // Whoever looks changes nothing.
    for line in table.lines().filter(|line| line.ends_with('+')) {
        let own = ["/auth/", "/setup", "/tokens"].iter().any(|part| line.contains(part));
        assert!(line.starts_with("GET ") || own, "a viewer may {line}");
    }
}

#[tokio::test]
async fn an_api_token_has_its_scopes_and_nothing_more() {
    let bench = unlimited();
    bench.user("boss", "admin").await;
    bench.user("eve", "editor").await;
    let may = |token: String, route: &'static str| {
        let bench = &bench;
        async move {
            let request = bench.request(&head(route), &[&bearer(&token)], "");
            let reply = bench.api.call(request).await;
            assert_ne!(reply.status(), 401, "{route}");
            reply.status() != 403
        }
    };
    let cases: &[(&[&str], &[&str], &[&str])] = &[
        (
            &["chainbot:read"],
            &["GET /api/chainbot/runs", "GET /api/chainbot/workflows/{id}"],
            &[
                "POST /api/chainbot/workflows",
                "GET /metrics",
                "DELETE /api/chainbot/runs/{id}",
                "GET /api/chainbot/secrets",
                "GET /api/chainbot/tokens",
                "POST /api/chainbot/tokens",
                "GET /api/chainbot/auth/me",
                "GET /api/chainbot/users",
            ],
        ),
        (&["metrics:read"], &["GET /metrics", "GET /api/chainbot/metrics"], &["GET /api/chainbot/health"]),
        (&["hook:none"], &["POST /api/chainbot/hooks/{name}"], &["POST /api/chainbot/workflows/{id}/runs"]),
        (&["hook:other"], &[], &["POST /api/chainbot/hooks/{name}", "GET /api/chainbot/runs"]),
        (&["chainbot:hook"], &["POST /api/chainbot/hooks/{name}"], &["GET /api/chainbot/runs"]),
        (
            &["chainbot:workflow:create", "chainbot:read"],
            &["POST /api/chainbot/workflows"],
            &["DELETE /api/chainbot/workflows/{id}", "POST /api/chainbot/workflows/{id}/runs"],
        ),
    ];
    for (scopes, allowed, denied) in cases {
        let token = bench.api_token("eve", &json!(scopes), 9).await.0;
        for route in *allowed {
            assert!(may(token.clone(), route).await, "{scopes:?} {route}");
        }
        for route in *denied {
            assert!(!may(token.clone(), route).await, "{scopes:?} {route}");
        }
    }
    // A scope is never more than the user's role.
    let token = bench.api_token("eve", &json!(["chainbot:workflow:create"]), 9).await.0;
    bench.ask("PATCH users/eve", &[&bearer(&bench.token)], "", r#"{"role":"viewer"}"#).await;
    assert!(!may(token, "POST /api/chainbot/workflows").await);
    for (scopes, days) in [
        (json!([]), 1),
        (json!(["chainbot:account"]), 1),
        (json!(["chainbot:local"]), 1),
        (json!(["chainbot:admin"]), 1),
        (json!(["hook:bell"]), 1),
        (json!(["chainbot:red"]), 1),
        (json!(["chainbot:read"]), 0),
        (json!(["chainbot:read"]), 367),
    ] {
        let body = json!({ "name": "t", "scopes": scopes, "days": days, "user": "eve" }).to_string();
        let reply = bench.ask("POST tokens", &[&bearer(&bench.token)], "", &body).await;
        reply.problem(422, "CB-0350");
    }
}

#[tokio::test]
async fn a_token_of_another_is_not_there_and_its_text_is_shown_once() {
    let bench = unlimited();
    for (name, role) in [("boss", "admin"), ("mia", "operator"), ("tom", "operator")] {
        bench.user(name, role).await;
    }
    let (text, id) = bench.api_token("mia", &json!(["chainbot:read"]), 9).await;
    let (mia, tom) = (bench.access_of("mia").await, bench.access_of("tom").await);
    let list = |access: String| async { bench.ask("GET tokens", &[&bearer(&{ access })], "", "").await };
    let own = list(mia.clone()).await;
    assert_eq!(
        (own.json()[0]["id"].as_str(), own.json()[0]["prefix"].as_str()),
        (Some(id.as_str()), Some(&text[..9]))
    );
    assert!(!own.text.contains(&text) && !own.text.contains("digest"), "{}", own.text);
    assert_eq!(list(tom.clone()).await.json(), json!([]));
    assert_eq!(list(bench.token.clone()).await.json().as_array().unwrap().len(), 1);
    let revoke = format!("DELETE tokens/{id}");
    bench.ask(&revoke, &[&bearer(&tom)], "", "").await.problem(404, "CB-0349");
    let body = r#"{"name":"t","scopes":["chainbot:read"],"user":"mia"}"#;
    bench.ask("POST tokens", &[&bearer(&tom)], "", body).await.problem(403, "CB-0840");
    let session = bench.ask("GET auth/sessions", &[&bearer(&mia)], "", "").await.json()[0]["id"].clone();
    let end = format!("DELETE auth/sessions/{}", session.as_str().unwrap());
    bench.ask(&end, &[&bearer(&tom)], "", "").await.problem(404, "CB-0349");
    assert_eq!(bench.ask(&revoke, &[&bearer(&mia)], "", "").await.status, 204);
    assert_eq!(bench.ask("GET runs", &[&bearer(&text)], "", "").await.status, 401);
}

#[tokio::test]
async fn a_body_that_says_more_than_its_route_takes_is_refused() {
    let bench = unlimited();
    bench.user("mia", "admin").await;
    let access = bench.access_of("mia").await;
    let heads = [
        "POST users",
        "PATCH users/mia",
        "PUT users/mia/password",
        "POST tokens",
        "POST auth/password",
        "POST auth/login",
        "POST auth/refresh",
        "POST setup",
        "POST auth/logout",
    ];
    for head in heads {
        for field in ["id", "owner_id", "is_admin", "is_superuser", "created_at", "must_change", "digest"] {
            let local = bearer(if head.starts_with("PUT") { &bench.token } else { &access });
            let reply = bench.ask(head, &[&local], "", &json!({ field: "1" }).to_string()).await;
            reply.problem(422, "CB-0008");
        }
    }
    assert!(PASSWORD.len() > 8);
}

#[tokio::test]
async fn nobody_answers_for_another() {
    let bench = unlimited();
    bench.user("mia", "admin").await;
    let access = bench.access_of("mia").await;
    let ask = |by: &'static str| {
        let (bench, access) = (&bench, access.clone());
        async move {
            let body = json!({ "action": "approve", "by": by }).to_string();
            bench.ask("POST inbox/none/answer", &[&bearer(&access)], "", &body).await
        }
    };
    ask("tom").await.problem(422, "CB-0017");
    // Refused later, and for another reason.
    assert_ne!(ask("mia").await.json()["code"], "CB-0017");
}
