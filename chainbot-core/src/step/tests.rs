//! The executors against a server on loopback.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::*;
use crate::env::{SeededRandom, VirtualClock};
use crate::model::class;
use crate::net::testing::{Act, Server, egress_to, reply};
use crate::time::Timestamp;

const KEY: &str = "07070707070707070707070707070707";

fn executors(server: &Server) -> Executors {
    let clock = VirtualClock::at(Timestamp::parse("2026-11-22T12:00:00Z").unwrap());
    let env = Env::new(Arc::new(clock), Arc::new(SeededRandom::new(1)));
    Executors::new(Arc::new(egress_to(&[("127.0.0.1", server.address)])), env)
}

fn effect(kind: EffectKind, input: Value) -> Effect {
    Effect {
        kind,
        input: Arc::new(input),
        key: EffectKey([7; 16]),
        attempt: 1,
        run: RunId::from([1; 16]),
        owner: None,
        shared: None,
        timeout: None,
    }
}

/// Carries out an `api_call` on `/` with further input.
async fn call(server: &Server, more: Value) -> Result<Value, Failure> {
    let mut input = json!({ "url": server.url("/"), "method": "GET", "response": "auto", "follow_redirects": false, "idempotent": false });
    for (key, value) in more.as_object().unwrap() {
        input[key] = value.clone();
    }
    executors(server).execute(effect(EffectKind::ApiCall, input)).await
}

fn failed(outcome: Result<Value, Failure>) -> (String, String, Failure) {
    let failure = outcome.expect_err("the attempt must fail");
    (failure.error.class.clone(), failure.error.code.clone(), failure)
}

async fn json_server(body: &'static str) -> Server {
    Server::start(move |_, _| Act::Reply(reply(200, "Content-Type: application/json\r\n", body))).await
}

#[tokio::test]
async fn an_api_call_gives_status_headers_and_data() {
    let server = json_server(r#"{"a":[1,null]}"#).await;
    let output = call(&server, json!({})).await.unwrap();
    assert_eq!(output["status_code"], 200);
    assert_eq!(output["data"], json!({"a": [1, null]}));
    assert_eq!(output["headers"], json!({"content-type": "application/json", "content-length": "14"}));
    assert_eq!(call(&server, json!({"response": "bytes"})).await.unwrap()["data"], "eyJhIjpbMSxudWxsXX0=");
    assert_eq!(
        call(&server, json!({"method": "HEAD", "response": "json"})).await.unwrap()["data"],
        Value::Null
    );
}

#[tokio::test]
async fn every_attempt_carries_the_key_unless_the_step_names_its_own() {
    let server = json_server("{}").await;
    for _ in 0..2 {
        call(&server, json!({"method": "POST"})).await.unwrap();
    }
    call(&server, json!({"headers": {"IDEMPOTENCY-KEY": "mine", "user-agent": "me/1"}})).await.unwrap();
    let seen = server.requests();
    let key = format!("idempotency-key: {}\r\n", KEY);
    assert!(seen[0].contains(&key) && seen[1].contains(&key), "{}", seen[0]);
    assert!(seen[0].contains(&format!("user-agent: {USER_AGENT}\r\n")), "{}", seen[0]);
    assert!(seen[2].contains("idempotency-key: mine\r\n") && !seen[2].contains(&key), "{}", seen[2]);
    assert!(seen[2].contains("user-agent: me/1\r\n") && !seen[2].contains("ChainBot/"), "{}", seen[2]);
}

#[tokio::test]
async fn bodies_and_queries_are_encoded_as_asked_for() {
    let server = json_server("{}").await;
    let post = |more: Value| {
        let mut input = json!({"method": "POST"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    for (more, content_type, body) in [
        (json!({"json": {"a": 1}}), "application/json", r#"{"a":1}"#),
        (json!({"json": null}), "application/json", "null"),
        (json!({"body": "text"}), "text/plain; charset=utf-8", "text"),
        (json!({"body": "<a/>", "headers": {"content-type": "text/xml"}}), "text/xml", "<a/>"),
        (
            json!({"form": {"a": "b c&d", "n": [1, true]}}),
            "application/x-www-form-urlencoded",
            "a=b+c%26d&n=1&n=true",
        ),
    ] {
        call(&server, post(more)).await.unwrap();
        let seen = server.requests().pop().unwrap();
        assert!(seen.contains(&format!("content-type: {content_type}\r\n")), "{seen}");
        assert!(seen.ends_with(&format!("\r\n\r\n{body}")), "{seen}");
    }
    call(&server, json!({"query": {"q": "ä=", "n": [1, 2], "none": null}})).await.unwrap();
    let seen = server.requests().pop().unwrap();
    assert!(seen.starts_with("GET /?n=1&n=2&q=%C3%A4%3D HTTP/1.1\r\n"), "{seen}");
}

#[tokio::test]
async fn a_status_that_is_not_expected_has_its_class_and_a_short_excerpt() {
    let page = "reason ".repeat(10_000);
    for (status, word) in [
        (429, class::HTTP_429),
        (400, class::HTTP_4XX),
        (404, class::HTTP_4XX),
        (500, class::HTTP_5XX),
        (503, class::HTTP_5XX),
        (302, class::HTTP_STATUS),
    ] {
        let page = page.clone();
        let server = Server::start(move |_, _| Act::Reply(reply(status, "Retry-After: 7\r\n", &page))).await;
        // The page is over the bound; the status counts all the same.
        for more in [json!({}), json!({"max_bytes": 10})] {
            let (class, code, failure) = failed(call(&server, more).await);
            assert_eq!((class.as_str(), code.as_str()), (word, "CB-0310"));
            assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
            let message = failure.error.message;
            assert!(message.contains(&status.to_string()) && message.chars().count() < 700, "{message}");
        }
    }
}

#[tokio::test]
async fn expected_statuses_are_what_the_step_says() {
    let server = Server::start(|_, _| Act::Reply(reply(404, "", "gone"))).await;
    for (expected, ok) in
        [(json!(["404"]), true), (json!([404]), true), (json!(["4xx"]), true), (json!(["200", "5xx"]), false)]
    {
        let outcome = call(&server, json!({"expect": {"status": expected}})).await;
        assert_eq!(outcome.is_ok(), ok, "{expected}");
    }
    let before = server.counts().requests;
    for wrong in ["4", "4xxx", "9xx", "", "ok", "20"] {
        let (class, code, _) = failed(call(&server, json!({"expect": {"status": ["2xx", wrong]}})).await);
        assert_eq!((class.as_str(), code.as_str()), (class::INVALID, "CB-0314"), "{wrong}");
    }
    assert_eq!(server.counts().requests, before, "a wrong rule is found before anything is sent");
}

#[tokio::test]
async fn a_reply_is_held_against_its_schema() {
    let server = json_server(r#"{"id": "x"}"#).await;
    let schema = |kind: &str| json!({"expect": {"schema": {"properties": {"id": {"type": kind}}}}});
    assert!(call(&server, schema("string")).await.is_ok());
    let (class, code, failure) = failed(call(&server, schema("integer")).await);
    assert_eq!((class.as_str(), code.as_str()), (class::INVALID, "CB-0312"));
    assert!(failure.error.message.contains("/id"), "{}", failure.error.message);
    let before = server.counts().requests;
    for schema in
        [json!({"type": "nonsense"}), json!({"$ref": "http://example.com/s.json"}), json!({"pattern": "("})]
    {
        let (class, code, _) = failed(call(&server, json!({"expect": {"schema": schema}})).await);
        assert_eq!((class.as_str(), code.as_str()), (class::INVALID, "CB-0314"));
    }
    assert_eq!(server.counts().requests, before, "a wrong schema is found before anything is sent");
}

#[tokio::test]
async fn json_that_is_too_deep_is_a_limit() {
    let server = Server::start(|_, _| {
        Act::Reply(reply(
            200,
            "Content-Type: application/json\r\n",
            ["[".repeat(100), "]".repeat(100)].concat(),
        ))
    })
    .await;
    let (class, code, _) = failed(call(&server, json!({})).await);
    assert_eq!((class.as_str(), code.as_str()), (class::LIMIT, "CB-0313"));
}

#[tokio::test]
async fn a_wrong_input_names_what_is_wrong_and_sends_nothing() {
    let server = json_server("{}").await;
    for (more, named) in [
        (json!({"unknown": 1}), "unknown"),
        (json!({"body": "a", "json": 1}), "body"),
        (json!({"query": {"a": {"b": 1}}}), "query.a"),
        (json!({"headers": {"X": [1]}}), "headers.X"),
        (json!({"headers": {"X": "1", "x": "2"}}), "headers.x"),
        (json!({"max_bytes": 100_000_000}), "max_bytes"),
        (json!({"response": "xml"}), "xml"),
    ] {
        let (class, code, failure) = failed(call(&server, more).await);
        assert_eq!((class.as_str(), code.as_str()), (class::INVALID, "CB-0314"), "{named}");
        assert!(failure.error.message.contains(named), "{}", failure.error.message);
    }
    assert_eq!(server.counts().connections, 0);
}

#[tokio::test]
async fn the_policy_and_the_timeout_hold_for_steps() {
    let server = Server::start(|_, _| Act::Hang(Vec::new())).await;
    let (class, code, _) = failed(call(&server, json!({"url": "http://127.0.0.2/"})).await);
    assert_eq!((class.as_str(), code.as_str()), (class::EGRESS, "CB-0601"));
    for kind in [EffectKind::ApiCall, EffectKind::Webhook] {
        let mut input = json!({"url": server.url("/?token=hidden")});
        if kind == EffectKind::ApiCall {
            input["method"] = json!("GET");
        }
        let mut effect = effect(kind, input);
        effect.timeout = Some(Duration::from_millis(50));
        let (class, code, failure) = failed(executors(&server).execute(effect).await);
        assert_eq!((class.as_str(), code.as_str()), (class::TIMEOUT, "CB-0608"));
        assert!(!failure.error.message.contains("hidden"), "{}", failure.error.message);
    }
}

#[tokio::test]
async fn dropping_an_attempt_closes_its_connection() {
    let server = Server::start(|_, _| Act::Hang(Vec::new())).await;
    tokio::select! {
        _ = call(&server, json!({})) => panic!("the server never answers"),
        () = server.until(|counts| counts.requests == 1) => {}
    }
    server.until(|counts| counts.abandoned == 1).await;
}

#[tokio::test]
async fn a_webhook_posts_its_payload_under_the_key() {
    let server = Server::start(|number, _| {
        Act::Reply(reply(
            if number == 0 { 202 } else { 503 },
            "Content-Type: application/json\r\n",
            r#"{"ok":true}"#,
        ))
    })
    .await;
    let input = json!({"url": server.url("/hook"), "payload": {"a": 1}, "headers": {"X-A": 1}});
    let output = executors(&server).execute(effect(EffectKind::Webhook, input.clone())).await.unwrap();
    assert_eq!(output, json!({"status_code": 202, "response": {"ok": true}}));
    assert_eq!(
        failed(executors(&server).execute(effect(EffectKind::Webhook, input)).await).0,
        class::HTTP_5XX
    );
    let seen = server.requests();
    let key = KEY;
    for request in &seen {
        assert!(request.starts_with("POST /hook ") && request.ends_with("\r\n\r\n{\"a\":1}"), "{request}");
        assert!(request.contains(&format!("webhook-id: {key}\r\n")), "{request}");
        assert!(request.contains(&format!("idempotency-key: {key}\r\n")), "{request}");
        assert!(request.contains("webhook-timestamp: 1795348800\r\n"), "{request}");
        assert!(
            request.contains("content-type: application/json\r\n") && request.contains("x-a: 1\r\n"),
            "{request}"
        );
    }
    let forged = json!({"url": server.url("/"), "headers": {"Webhook-Id": "x"}});
    let (class, code, _) = failed(executors(&server).execute(effect(EffectKind::Webhook, forged)).await);
    assert_eq!((class.as_str(), code.as_str(), server.counts().requests), (class::INVALID, "CB-0314", 2));
}

#[tokio::test]
async fn a_webhook_follows_no_redirect() {
    let server = Server::start(|_, _| Act::Reply(reply(307, "Location: /else?token=hidden\r\n", ""))).await;
    let input = json!({"url": server.url("/hook")});
    let (class, _, failure) = failed(executors(&server).execute(effect(EffectKind::Webhook, input)).await);
    assert_eq!((class.as_str(), server.counts().requests), (class::HTTP_STATUS, 1));
    let message = failure.error.message;
    assert!(message.contains("/else") && !message.contains("hidden"), "{message}");
}

#[tokio::test]
async fn waiting_for_a_place_ends_with_the_timeout() {
    let permits = Arc::new(Semaphore::new(0));
    let server = {
        let permits = permits.clone();
        Server::start(move |_, _| Act::Await(permits.clone(), reply(200, "", ""))).await
    };
    let executors = Arc::new(executors(&server));
    let start = |timeout: Option<Duration>| {
        let (executors, url) = (executors.clone(), server.url("/"));
        let mut effect = effect(EffectKind::ApiCall, json!({"url": url, "method": "GET"}));
        effect.timeout = timeout;
        tokio::spawn(async move { executors.execute(effect).await })
    };
    let held: Vec<_> = (0..crate::limits::EGRESS_PER_HOST_MAX).map(|_| start(None)).collect();
    server.until(|counts| counts.in_flight >= crate::limits::EGRESS_PER_HOST_MAX).await;
    let (class, ..) = failed(start(Some(Duration::from_millis(30))).await.unwrap());
    assert_eq!(class, class::TIMEOUT);
    permits.add_permits(10);
    for attempt in held {
        assert!(attempt.await.unwrap().is_ok());
    }
    assert_eq!(server.counts().requests, crate::limits::EGRESS_PER_HOST_MAX);
}
