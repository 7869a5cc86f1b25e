//! Bodies, headers and queries that are wrong, and the problems that say so.

use axum::body::Body;
use futures_util::stream;
use serde_json::json;

use super::Bench;
use crate::limits::{BODY_BYTES_MAX, DEFINITION_BODY_BYTES_MAX, DEFINITION_BYTES_MAX};

#[tokio::test]
async fn a_problem_document_has_this_shape() {
    let bench = Bench::new();
    bench.workflow("a").await;
    let reply = bench.post("workflows/a/runs", r#"{"inptus": {}}"#).await;
    let mut problem = reply.problem(422, "CB-0008");
    problem["instance"] = json!("urn:uuid:…");
    assert_eq!(
        problem,
        json!({
            "type": "/docs/errors/CB-0008",
            "title": "The body has a field that is not known here",
            "status": 422,
            "detail": "unknown field `inptus`",
            "instance": "urn:uuid:…",
            "code": "CB-0008",
            "help": "did you mean `inputs`?",
            "errors": [{
                "path": "inptus",
                "severity": "error",
                "message": "unknown field `inptus`",
                "hint": "did you mean `inputs`?",
                "code": "CB-0008"
            }]
        })
    );
}

#[tokio::test]
async fn every_problem_of_a_definition_comes_with_its_place() {
    let bench = Bench::new();
    let reply = bench.post("workflows", r#"{"steps": []}"#).await;
    let problem = reply.problem(422, "CB-0100");
    let expect = json!({ "path": "name", "line": 1, "column": 1, "severity": "error",
        "message": "a workflow needs a name", "hint": "add `name: my-workflow`", "code": "CB-0100" });
    assert_eq!(problem["errors"], json!([expect]));
    let reply = bench.post("workflows/validate", r#"{"steps": []}"#).await;
    assert_eq!(reply.json(), json!({ "valid": false, "diagnostics": [expect] }));
    let reply = bench.post("workflows/validate", r#"{"name": "x"}"#).await;
    assert_eq!(reply.json(), json!({ "valid": true, "diagnostics": [] }));
}

#[tokio::test]
async fn a_wrong_json_body_is_refused_by_every_route_that_takes_one() {
    let bench = Bench::new();
    let run = bench.run("a").await;
    let deep = format!("{{\"FIELD\": {}{}}}", "[".repeat(64), "]".repeat(64));
    let cases: [(&str, u16, &str); 6] = [
        ("{", 400, "CB-0007"),
        ("[]", 422, "CB-0017"),
        ("1", 422, "CB-0017"),
        (r#"{"owner_id": 1}"#, 422, "CB-0008"),
        (r#"{"FIELD": 1, "is_admin": true}"#, 422, "CB-0008"),
        (&deep, 422, "CB-0019"),
    ];
    let routes = [
        ("workflows/a/runs".to_owned(), "inputs"),
        ("workflows/a/execute".to_owned(), "inputs"),
        (format!("runs/{run}/cancel"), "reason"),
        (format!("runs/{run}/signal/go"), "data"),
    ];
    for (path, field) in &routes {
        for (body, status, code) in cases {
            bench.post(path, &body.replace("FIELD", field)).await.problem(status, code);
        }
        let plain = bench.send(&format!("POST {path}"), &["Content-Type: text/plain"], "x").await;
        plain.problem(415, "CB-0006");
        let untyped = bench.send(&format!("POST {path}"), &[], "{}").await;
        untyped.problem(415, "CB-0006");
    }
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_named() {
    let bench = Bench::new();
    let run = bench.run("a").await;
    let problem = bench.post("workflows/a/runs", r#"{"inputs": [1]}"#).await.problem(422, "CB-0017");
    assert_eq!(problem["detail"], "`inputs` must be an object and is a list");
    assert_eq!(problem["errors"][0]["path"], "inputs");
    let problem = bench.post(&format!("runs/{run}/cancel"), r#"{"reason": 5}"#).await.problem(422, "CB-0017");
    assert_eq!(problem["detail"], "`reason` must be text and is a number");
    let long = json!({ "reason": "x".repeat(2_000) }).to_string();
    bench.post(&format!("runs/{run}/cancel"), &long).await.problem(422, "CB-0017");
}

#[tokio::test]
async fn a_large_body_is_refused_whether_it_is_announced_or_not() {
    let bench = Bench::new();
    let json = ["Content-Type: application/json"];
    let exact = format!("{{\"inputs\": {{\"a\": \"{}\"}}}}", "x".repeat(BODY_BYTES_MAX - 22));
    assert_eq!(bench.send("POST workflows/a/runs", &json, exact).await.status, 404);
    let over = "x".repeat(BODY_BYTES_MAX + 1);
    bench.send("POST workflows/a/runs", &json, over.clone()).await.problem(413, "CB-0005");
    let chunks = stream::iter(
        over.into_bytes().chunks(1 << 16).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>(),
    );
    bench.send("POST workflows/a/runs", &json, Body::from_stream(chunks)).await.problem(413, "CB-0005");
    let announced = ["Content-Type: application/json", "Content-Length: 99999999999"];
    bench.send("POST workflows/a/runs", &announced, "{}").await.problem(413, "CB-0005");
    let yaml = ["Content-Type: application/yaml"];
    for size in [DEFINITION_BYTES_MAX + 1, DEFINITION_BODY_BYTES_MAX + 1] {
        bench.send("POST workflows", &yaml, "#".repeat(size)).await.problem(413, "CB-0005");
    }
}

#[tokio::test]
async fn a_definition_comes_as_yaml_as_json_or_in_an_envelope() {
    let bench = Bench::new();
    let cases = [
        ("application/yaml", "name: a\n", "name: a\n"),
        ("text/yaml; charset=utf-8", "name: b\n", "name: b\n"),
        ("application/json", r#"{"name": "c"}"#, r#"{"name": "c"}"#),
        ("application/json", r#"{"definition": {"name": "d"}}"#, r#"{"name": "d"}"#),
        ("application/json; charset=UTF-8", r#"{"source": "name: e\n"}"#, "name: e\n"),
    ];
    for (media, body, source) in cases {
        let media = format!("Content-Type: {media}");
        let reply = bench.send("POST workflows", &[&media], body).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        assert_eq!(reply.json()["source"], source);
    }
    for headers in [
        vec![],
        vec!["Content-Type: text/plain"],
        vec!["Content-Type: application/yaml; charset=latin1"],
        vec!["Content-Type: application/yaml", "Content-Encoding: gzip"],
    ] {
        bench.send("POST workflows", &headers, "name: z\n").await.problem(415, "CB-0006");
    }
    let reply = bench.send("POST workflows", &["Content-Type: text/yaml"], vec![0xff, 0xfe]).await;
    reply.problem(400, "CB-0007");
}

#[tokio::test]
async fn a_wrong_query_is_named_with_what_was_meant() {
    let bench = Bench::new();
    let run = bench.run("a").await;
    let cases = [
        ("runs?limt=3", "did you mean `limit`?"),
        ("runs?status=runing", "did you mean `running`?"),
        ("runs?limit=0", "give a number from 1 to 200"),
        ("runs?limit=201", "give a number from 1 to 200"),
        ("runs?limit=-1", "give a number from 1 to 200"),
        ("runs?limit=1&limit=2", "give it once"),
        ("runs?cursor=x", "take it from an earlier page's Link header"),
        ("inbox?cursor=x", "take it from an earlier page's Link header"),
        ("events?since=-1", "give the id of an event"),
        ("events?run=x", "give a run's id"),
        (&format!("runs/{run}/journal?cursor=x"), "give the cursor of an earlier page's Link header"),
    ];
    for (path, help) in cases {
        let problem = bench.get(path).await.problem(422, "CB-0016");
        assert_eq!(problem["help"], help, "{path}");
    }
}

#[tokio::test]
async fn a_wrong_idempotency_key_is_refused() {
    let bench = Bench::new();
    bench.workflow("a").await;
    let long = format!("Idempotency-Key: {}", "k".repeat(257));
    for key in ["Idempotency-Key: ", "Idempotency-Key: a b", "Idempotency-Key: ä", &long] {
        for path in ["workflows", "workflows/a/runs", "workflows/a/execute"] {
            let reply = bench.send(&format!("POST {path}"), &[key], "").await;
            reply.problem(400, "CB-0007");
        }
    }
}

#[tokio::test]
async fn an_unknown_run_or_path_is_a_problem_of_its_own() {
    let bench = Bench::new();
    bench.get("runs/abc").await.problem(404, "CB-0300");
    bench.get("runs/0190b5a0-0000-7000-8000-000000000000").await.problem(404, "CB-0300");
    bench.get("workflows/none").await.problem(404, "CB-0190");
    bench.get("workflows/%ff").await.problem(400, "CB-0007");
    bench.get("/").await.problem(404, "CB-0002");
    bench.get("/api/chainbot").await.problem(404, "CB-0002");
    bench.get("runs/").await.problem(404, "CB-0002");
}

#[tokio::test]
async fn what_went_wrong_inside_stays_inside() {
    let bench = Bench::new();
    let reply = bench.get("workflows/broken-disk").await;
    reply.problem(500, "CB-0405");
    assert!(!reply.text.contains("SELECT") && !reply.text.contains("/var/lib"), "{}", reply.text);
}

#[tokio::test]
async fn a_panic_is_a_problem_document_and_the_next_request_is_answered() {
    let bench = Bench::new();
    let reply = bench.send("POST workflows", &["Content-Type: text/yaml"], "panic").await;
    reply.problem(500, "CB-0001");
    assert!(!reply.text.contains("secret"), "{}", reply.text);
    assert_eq!(bench.get("health").await.status, 200);
}
