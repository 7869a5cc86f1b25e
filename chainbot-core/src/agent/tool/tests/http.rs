//! `http`: nothing but the listed hosts is reached, whatever the arguments are.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{call, offered};
use crate::agent::tool::http::HttpTools;
use crate::env::Env;
use crate::model::EffectClass;
use crate::net::testing::{Act, Server, egress_to, reply};
use crate::step::Executors;

/// `other` may be reached by the policy, and is not in the grant.
async fn setup() -> (HttpTools, Server, Server) {
    let answer = |_: usize, request: &str| match request.split(' ').nth(1).unwrap() {
        "/json" => Act::Reply(reply(200, "Content-Type: application/json\r\n", r#"{"t":21}"#)),
        "/away" => Act::Reply(reply(307, "Location: http://127.0.0.1:1/x\r\n", "")),
        "/busy" => Act::Reply(reply(429, "Retry-After: 7\r\n", "slow down")),
        "/long" => Act::Reply(reply(200, "", "x".repeat(70_000))),
        _ => Act::Reply(reply(200, "", "text")),
    };
    let (server, other) = (Server::start(answer).await, Server::start(answer).await);
    let egress = egress_to(&[("127.0.0.1", server.address), ("127.0.0.1", other.address)]);
    (HttpTools::new(Arc::new(Executors::new(Arc::new(egress), Env::system()))), server, other)
}

fn grant(server: &Server, more: Value) -> Value {
    let mut grant = json!({ "hosts": [server.url("")] });
    grant.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    grant
}

#[tokio::test]
async fn reading_is_offered_and_writing_where_it_is_granted() {
    let (tools, server, _) = setup().await;
    let faces = async |more: Value| -> Vec<(String, EffectClass, bool)> {
        let specs = offered(&tools, &grant(&server, more)).await.unwrap();
        specs.into_iter().map(|spec| (spec.name, spec.class, spec.is_outward)).collect()
    };
    let get = ("http_get".to_owned(), EffectClass::ReadOnly, false);
    let request = ("http_request".to_owned(), EffectClass::Unsafe, true);
    assert_eq!(faces(json!({})).await, std::slice::from_ref(&get));
    assert_eq!(faces(json!({ "methods": ["GET", "POST"] })).await, [get, request.clone()]);
    assert_eq!(faces(json!({ "methods": ["DELETE"] })).await, [request]);
}

#[tokio::test]
async fn a_wrong_grant_is_refused_with_the_remedy() {
    let (tools, ..) = setup().await;
    for (grant, said) in [
        (json!({}), "hosts"),
        (json!({ "hosts": [] }), "names 1 to"),
        (json!({ "hosts": ["*.example.com"] }), "no patterns"),
        (json!({ "hosts": ["https://a.example/path"] }), "names no host"),
        (json!({ "hosts": ["user@a.example"] }), "names no host"),
        (json!({ "hosts": ["a.example"], "methods": ["TRACE"] }), "no method"),
        (json!({ "hosts": ["a.example"], "methods": ["get"] }), "no method"),
        (json!({ "hosts": ["a.example"], "auth": { "bearer": "sk-Value" } }), "no name of a secret"),
        (json!({ "hosts": ["a.example"], "max_bytes": 0 }), "max_bytes"),
        (json!({ "hosts": ["a.example"], "command": "x" }), "unknown field"),
        (json!("a.example"), "tools.http"),
    ] {
        let error = offered(&tools, &grant).await.expect_err(&grant.to_string());
        assert_eq!(error.code, "CB-1280");
        assert!(error.message.contains(said), "{grant}: {}", error.message);
    }
}

#[tokio::test]
async fn an_answer_is_for_the_model_whatever_its_status() {
    let (tools, server, _) = setup().await;
    let grant = grant(&server, json!({}));
    let found = call(&tools, &grant, "http_get", json!({ "url": server.url("/json") })).await.unwrap();
    assert_eq!(found.value, json!({ "status": 200, "data": { "t": 21 } }));
    assert!(found.is_tainted && !found.is_error);
    let found = call(&tools, &grant, "http_get", json!({ "url": server.url("/busy") })).await.unwrap();
    assert_eq!(found.value, json!({ "status": 429, "data": "slow down", "retry_after": "7" }));
    assert!(found.is_error && found.is_tainted);
    // Told, and not followed.
    let found = call(&tools, &grant, "http_get", json!({ "url": server.url("/away") })).await.unwrap();
    assert_eq!(found.value["location"], "http://127.0.0.1:1/x");
    let error = call(&tools, &grant, "http_get", json!({ "url": server.url("/long") })).await.unwrap_err();
    assert_eq!(error.class, "limit");
    assert_eq!(server.counts().requests, 4);
}

#[tokio::test]
async fn a_granted_method_carries_body_and_key() {
    let (tools, server, _) = setup().await;
    let grant = grant(&server, json!({ "methods": ["POST"] }));
    let arguments = json!({ "method": "POST", "url": server.url("/x"), "query": { "a": "b c" }, "json": { "on": true }, "headers": { "Accept": "text/plain" } });
    call(&tools, &grant, "http_request", arguments).await.unwrap();
    let seen = &server.requests()[0];
    assert!(seen.starts_with("POST /x?a=b+c HTTP/1.1\r\n") && seen.ends_with("{\"on\":true}"), "{seen}");
    assert!(seen.contains("idempotency-key: 07070707070707070707070707070707\r\n"), "{seen}");
    assert!(seen.contains("accept: text/plain\r\n"), "{seen}");
}

#[tokio::test]
async fn hostile_arguments_reach_nobody() {
    let (tools, server, other) = setup().await;
    let grant = grant(&server, json!({ "methods": ["GET", "POST"] }));
    let (own, port) = (server.url("/"), server.address.port());
    let away = other.url("/");
    let urls = [
        away.clone(),
        "http://169.254.169.254/latest/meta-data".into(),
        "http://localhost:1/".into(),
        format!("http://localhost:{port}/"),
        format!("http://127.0.0.2:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("https://127.0.0.1.evil.example:{port}/"),
        format!("http://user:pw@127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}@evil.example/"),
        format!("http://evil.example/#http://127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{}/", port.wrapping_add(1).max(1)),
        "file:///etc/passwd".into(),
        "gopher://127.0.0.1/".into(),
        "javascript:alert(1)".into(),
        "/relative".into(),
        String::new(),
        "http://".into(),
        format!("http://127.0.0.1:{port}\r\nHost: evil/"),
        "{{ secrets.key }}".into(),
    ];
    for url in urls {
        let found = call(&tools, &grant, "http_get", json!({ "url": url })).await.unwrap();
        assert!(found.is_error, "{url}: {:?}", found.value);
    }
    for arguments in [
        json!({ "url": own, "method": "POST" }),
        json!({ "url": own, "method": "CONNECT" }),
        json!({ "url": own, "method": "GET / HTTP/1.1\r\nX: y" }),
        json!({ "url": own, "headers": { "Host": "evil" } }),
        json!({ "url": own, "headers": { "Authorization": "Bearer x" } }),
        json!({ "url": own, "headers": { "Cookie": "a=b" } }),
        json!({ "url": own, "headers": { "Idempotency-Key": "mine" } }),
        json!({ "url": own, "headers": { "Content-Length": "3" } }),
        json!({ "url": own, "headers": { "X-Forwarded-For": "1.1.1.1" } }),
        json!({ "url": own, "headers": { "accept\r\nEvil": "1" } }),
        json!({ "url": own, "json": {} }),
        json!({ "url": own, "body": "x" }),
        json!({ "url": own, "auth": { "bearer": "key" } }),
        json!({ "url": own, "secrets": [{ "at": "/url", "parts": [{ "secret": "key" }] }] }),
        json!({ "url": own, "follow_redirects": true }),
        json!({ "url": own, "max_bytes": 999_999_999 }),
        json!({ "url": [own] }),
        json!({}),
        json!(null),
        json!("http://127.0.0.1/"),
    ] {
        let found = call(&tools, &grant, "http_get", arguments.clone()).await.unwrap();
        assert!(found.is_error, "{arguments}: {:?}", found.value);
    }
    for arguments in [
        json!({ "url": own, "method": "GET" }),
        json!({ "url": own, "method": "DELETE" }),
        json!({ "url": own }),
        json!({ "url": away, "method": "POST" }),
    ] {
        let found = call(&tools, &grant, "http_request", arguments.clone()).await.unwrap();
        assert!(found.is_error, "{arguments}: {:?}", found.value);
    }
    // What only the request itself finds: still nobody is asked.
    for arguments in [
        json!({ "url": own, "headers": { "Accept": "a\r\nEvil: 1" } }),
        json!({ "url": own, "query": { "a": { "b": 1 } } }),
    ] {
        let error =
            call(&tools, &grant, "http_get", arguments.clone()).await.expect_err(&arguments.to_string());
        assert_eq!(error.class, "invalid", "{arguments}");
    }
    assert_eq!((server.counts().connections, other.counts().connections), (0, 0));
}
