//! Pipelines: a table of cases in files, and what a file cannot show: many rows, bounds, sources on the network, an end in the middle.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::env::{Env, SeededRandom, VirtualClock};
use crate::expr::Volatile;
use crate::id::RunId;
use crate::model::EffectKey;
use crate::net::testing::{Act, Server, egress_to, reply};
use crate::step::{Executors, Failure};
use crate::time::Timestamp;

/// As the configuration says unless it says otherwise.
const HELD_BYTES: usize = 128 * 1024 * 1024;

fn executors(server: Option<&Server>) -> Executors {
    let clock = VirtualClock::at(Timestamp::parse("2026-11-22T12:00:00Z").unwrap());
    let env = Env::new(Arc::new(clock), Arc::new(SeededRandom::new(1)));
    let grants: Vec<_> = server.iter().map(|server| ("127.0.0.1", server.address)).collect();
    Executors::new(Arc::new(egress_to(&grants)), env)
}

fn task(input: Value, held_bytes: usize) -> Task {
    Task {
        input: Arc::new(input),
        run: RunId::from([1; 16]),
        owner: None,
        key: EffectKey([7; 16]),
        attempt: 1,
        volatile: Volatile { now: Timestamp(0), seed: [7; 32] },
        bounds: Bounds { held_bytes },
    }
}

async fn done(config: Value, input: Value, held: usize, at: &Executors) -> Result<Value, Failure> {
    let pipeline = Arc::new(Pipeline::compile(&config).unwrap());
    run(pipeline, task(input, held), at).await
}

fn pipeline(operations: Value) -> Value {
    json!({ "pipeline": operations })
}

async fn outcome(case: &Value) -> Value {
    let pipeline = match Pipeline::compile(&case["config"]) {
        Ok(pipeline) => Arc::new(pipeline),
        Err(problems) => return json!({ "problems": serde_json::to_value(problems).unwrap() }),
    };
    match run(pipeline, task(case["input"].clone(), HELD_BYTES), &executors(None)).await {
        Ok(result) => json!({ "result": result }),
        Err(failure) => json!({ "error": serde_json::to_value(failure.error).unwrap() }),
    }
}

#[tokio::test]
async fn every_case_gives_what_its_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/agent/kind/data_processor/tests/cases");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 60, "the cases were not found");
    let mut wrong = Vec::new();
    for file in files {
        let mut case: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let found = outcome(&case).await;
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            case["expect"] = found;
            std::fs::write(&file, format!("{case:#}\n")).unwrap();
        } else if case["expect"] != found {
            wrong.push(format!("{}: {found:#}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "other than expected:\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_examples_of_the_page_give_what_it_shows() {
    let page = include_str!("../../../../../docs/agents/data_processor.md");
    let blocks: Vec<&str> =
        page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(blocks.len() >= 4, "the examples were not found");
    for block in blocks {
        let example = crate::validate::document(block).unwrap().to_json();
        let found =
            done(example["config"].clone(), example["input"].clone(), 1 << 20, &executors(None)).await;
        assert_eq!(found.unwrap()["data"], example["data"], "{block}");
    }
}

/// Text made of many rows.
fn table(rows: usize, row: impl Fn(usize) -> String) -> String {
    (0..rows).map(row).collect()
}

const FIGURES: &str = "item.n % 2 == 0";

fn figures() -> Value {
    json!([
        { "filter": FIGURES },
        { "aggregate": { "by": ["zone"], "values": { "n": "count", "sum": { "sum": "item.n" }, "max": { "max": "item.n" } } } },
        { "sort": "item.zone" },
    ])
}

fn check_figures(result: &Value, rows: u64) {
    assert_eq!(result["data_points"], rows);
    let data = result["data"].as_array().unwrap();
    assert_eq!(data.len(), 5);
    let counted: u64 = data.iter().map(|row| row["n"].as_u64().unwrap()).sum();
    assert_eq!(counted, rows / 2);
    let sum: u64 = data.iter().map(|row| row["sum"].as_u64().unwrap()).sum();
    assert_eq!(sum, (0..rows).filter(|n| n % 2 == 0).sum::<u64>());
    // Five groups, whatever the number of rows: nothing of a row is kept.
    let held = result["stats"]["held_bytes"].as_u64().unwrap();
    assert!((1..10_000).contains(&held), "{held} bytes were held");
}

#[tokio::test]
async fn a_hundred_thousand_rows_of_csv_pass_by_without_being_held() {
    let text =
        table(100_000, |n| if n == 0 { "n,zone\n0,z0\n".into() } else { format!("{n},z{}\n", n / 2 % 5) });
    let server = Server::start(move |_, _| Act::Reply(reply(200, "", &text))).await;
    let mut operations = vec![json!({ "read": { "url": server.url("/t.csv"), "format": "csv" } })];
    operations.extend(figures().as_array().unwrap().clone());
    let result = done(pipeline(json!(operations)), json!({}), 64 * 1024, &executors(Some(&server))).await;
    check_figures(&result.unwrap(), 100_000);
}

#[tokio::test]
async fn a_hundred_thousand_rows_of_json_pass_by_without_being_held() {
    let rows = table(100_000, |n| {
        format!("{}{{\"n\":{n},\"zone\":\"z{}\"}}", if n == 0 { "" } else { "," }, n / 2 % 5)
    });
    let text = format!("{{\"more\":[1,2],\"rows\":[{rows}]}}");
    let server = Server::start(move |_, _| Act::Reply(reply(200, "", &text))).await;
    let read = json!({ "read": { "url": server.url("/t.json"), "format": "json", "at": "rows" } });
    let mut operations = vec![read];
    operations.extend(figures().as_array().unwrap().clone());
    let result = done(pipeline(json!(operations)), json!({}), 64 * 1024, &executors(Some(&server))).await;
    check_figures(&result.unwrap(), 100_000);
}

#[tokio::test]
async fn what_holds_rows_is_bounded_and_says_so() {
    let text = table(2_000, |n| if n == 0 { "n,text\n".into() } else { format!("{n},{}\n", "x".repeat(50)) });
    let beds = json!({ "read": { "input": "data" }, "on": ["n"] });
    let all = json!({ "values": { "all": { "quantile": "item.n", "q": 0.5 } } });
    for (operation, word, enough) in [
        (json!({ "sort": "item.text" }), "sort", 1 << 20),
        (json!({ "group": "item.n % 3" }), "group", 1 << 20),
        (json!({ "join": beds }), "join", 1 << 20),
        (json!({ "dedupe": null }), "dedupe", 1 << 17),
        (json!({ "aggregate": all }), "quantile", 1 << 15),
    ] {
        let config = || pipeline(json!([{ "read": {} }, operation.clone(), { "limit": 0 }]));
        let input = || json!({ "data": text });
        let result = done(config(), input(), enough, &executors(None)).await.unwrap();
        assert_eq!(result["data_points"], 1_999, "{word}");
        let highest = result["stats"]["held_bytes"].as_u64().unwrap() as usize;
        assert!(highest <= enough && highest > 10_000, "{word}: {highest}");
        let failure = done(config(), input(), highest - 1, &executors(None)).await.unwrap_err();
        assert_eq!(
            (failure.error.class.as_str(), failure.error.code.as_str()),
            ("limit", "CB-1272"),
            "{word}"
        );
        assert!(failure.error.message.contains(word), "{}", failure.error.message);
    }
}

#[tokio::test]
async fn a_result_over_its_bound_is_an_error_and_not_cut() {
    let rows: Vec<Value> = (0..2_000).map(|n| json!({ "n": n, "text": "x".repeat(500) })).collect();
    for format in ["value", "csv", "json", "jsonl"] {
        let config = |rows: usize| pipeline(json!([{ "read": {} }, { "limit": rows }, { "write": format }]));
        let input = || json!({ "data": rows });
        let failure = done(config(2_000), input(), 1 << 20, &executors(None)).await.unwrap_err();
        assert_eq!(
            (failure.error.class.as_str(), failure.error.code.as_str()),
            ("limit", "CB-1273"),
            "{format}"
        );
        let result = done(config(1_000), input(), 1 << 20, &executors(None)).await.unwrap();
        assert_eq!(result["stats"]["rows"]["written"], 1_000, "{format}");
    }
}

#[tokio::test]
async fn a_row_without_an_end_is_not_held() {
    let long = "x".repeat(2 << 20);
    for (format, text) in [
        ("csv", format!("a,b\n1,\"{long}\n")),
        ("jsonl", format!("\"{long}")),
        ("json", format!("[\"{long}")),
    ] {
        let config = pipeline(json!([{ "read": { "format": format } }]));
        let failure = done(config, json!({ "data": text }), 1 << 20, &executors(None)).await.unwrap_err();
        assert_eq!(failure.error.code, "CB-1273", "{format}: {}", failure.error.message);
    }
}

#[tokio::test]
async fn the_source_of_a_url_fails_as_a_request_does() {
    let server = Server::start(|_, request| match request.split(' ').nth(1).unwrap() {
        "/404" => Act::Reply(reply(404, "", "no such file")),
        _ => Act::Close(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\na,b\n1,2\n".to_vec()),
    })
    .await;
    let get = async |path: &str| {
        let read = json!({ "url": server.url(path), "format": "csv", "headers": { "X-Of": "us" } });
        let config = pipeline(json!([{ "read": read }]));
        done(config, json!({}), 1 << 20, &executors(Some(&server))).await.unwrap_err().error
    };
    let missing = get("/404").await;
    assert_eq!((missing.class.as_str(), missing.code.as_str()), ("http_4xx", "CB-0310"));
    assert!(missing.message.contains("no such file"), "{}", missing.message);
    assert_eq!(get("/cut").await.class, "cut");
    assert!(server.requests()[0].contains("x-of: us\r\n"), "{}", server.requests()[0]);
    // Nothing but the configured host: the policy's word, before any connection.
    let read = json!({ "url": "http://127.0.0.1:9/", "format": "csv" });
    let refused =
        done(pipeline(json!([{ "read": read }])), json!({}), 1 << 20, &executors(Some(&server))).await;
    assert_eq!(refused.unwrap_err().error.class, "egress");
}

#[tokio::test]
async fn a_dropped_task_closes_its_connection_and_ends() {
    let head = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n8\r\na,b\n1,2\n\r\n".to_vec();
    let server = Server::start(move |_, _| Act::Hang(head.clone())).await;
    let read = json!({ "url": server.url("/"), "format": "csv" });
    let pipeline = Arc::new(Pipeline::compile(&pipeline(json!([{ "read": read }]))).unwrap());
    let at = executors(Some(&server));
    {
        let work = run(pipeline.clone(), task(json!({}), 1 << 20), &at);
        tokio::pin!(work);
        tokio::select! {
            _ = &mut work => panic!("the server does not end"),
            () = server.until(|counts| counts.in_flight == 1) => {}
        }
    }
    server.until(|counts| counts.abandoned == 1).await;
    // The thread has let go of what it worked with.
    while Arc::strong_count(&pipeline) > 1 {
        tokio::task::yield_now().await;
    }
}
