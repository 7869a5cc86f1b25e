//! Event streams and the long poll.

use std::time::Duration;

use axum::body::BodyDataStream;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};

use super::{Bench, Reply};
use crate::http::{ApiLimits, ViaHost};
use crate::id::{NodeId, RunId};
use crate::model::{Place, RecordBody};

/// A stream under way, frame by frame.
struct Stream {
    body: BodyDataStream,
    buffer: String,
}

impl Stream {
    async fn open(bench: &Bench, path: &str, headers: &[&str]) -> Self {
        let response = bench.api.call(bench.request(&format!("GET {path}"), headers, "")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), buffer: String::new() }
    }

    /// The next frame, without its blank line; `None` at the end.
    async fn frame(&mut self) -> Option<String> {
        loop {
            if let Some((frame, rest)) = self.buffer.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.buffer = rest;
                return Some(frame);
            }
            let chunk = self.body.next().await?.unwrap();
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

fn done(bench: &Bench, run: RunId, node: u32, output: Value) {
    let place = Place { node: NodeId(node), path: vec![2] };
    bench.engine.record(run, RecordBody::StepCompleted { place, attempt: 1, output: output.into() });
}

async fn poll(bench: &Bench, path: &str, headers: &[&str], timeout_ms: u32) -> Reply {
    let mut request = bench.request(&format!("GET {path}"), headers, "");
    request.extensions_mut().insert(ViaHost { timeout_ms });
    bench.call(request).await
}

#[tokio::test]
async fn a_stream_tells_what_happens_in_this_form() {
    let bench = Bench::new();
    let run = bench.run("a").await;
    let mut stream = Stream::open(&bench, "events", &[]).await;
    assert_eq!(stream.frame().await.unwrap(), "retry: 1000\nid: 1");
    done(&bench, run.parse().unwrap(), 3, json!({"text": "a\nb"}));
    let frame = stream.frame().await.unwrap();
    let (head, data) = frame.split_once("\ndata: ").unwrap();
    assert_eq!(head, "id: 2\nevent: step.completed");
    let expect = json!({ "type": "step.completed", "run": run, "seq": 1, "lsn": 2,
        "time": "2026-01-01T00:00:00.000Z", "step": "step_3", "path": [2], "attempt": 1,
        "output": {"text": "a\nb"} });
    assert_eq!(serde_json::from_str::<Value>(data).unwrap(), expect);
}

#[tokio::test]
async fn a_reconnecting_client_goes_on_where_it_was() {
    let bench = Bench::new();
    let run = bench.run("a").await.parse().unwrap();
    for node in 1..4 {
        done(&bench, run, node, json!(node));
    }
    // The header is newer than the parameter.
    let mut stream = Stream::open(&bench, "events?since=0", &["Last-Event-ID: 2"]).await;
    assert_eq!(stream.frame().await.unwrap(), "retry: 1000\nid: 2");
    assert!(stream.frame().await.unwrap().starts_with("id: 3\n"));
    assert!(stream.frame().await.unwrap().starts_with("id: 4\n"));
    let mut stream = Stream::open(&bench, "events?since=0", &[]).await;
    stream.frame().await;
    assert!(stream.frame().await.unwrap().starts_with("id: 1\nevent: run.created\n"));
    bench.send("GET events", &["Last-Event-ID: x"], "").await.problem(400, "CB-0007");
}

#[tokio::test]
async fn a_stream_of_one_run_tells_of_no_other() {
    let bench = Bench::new();
    let (a, b) = (bench.run("a").await, bench.run("b").await);
    let mut stream = Stream::open(&bench, &format!("events?since=0&run={b}"), &[]).await;
    stream.frame().await;
    done(&bench, a.parse().unwrap(), 1, json!(1));
    done(&bench, b.parse().unwrap(), 1, json!(2));
    assert!(stream.frame().await.unwrap().starts_with("id: 2\nevent: run.created\n"));
    assert!(stream.frame().await.unwrap().starts_with("id: 4\nevent: step.completed\n"));
}

#[tokio::test]
async fn a_large_value_is_named_and_left_to_the_journal() {
    let bench = Bench::new();
    let run = bench.run("a").await;
    done(&bench, run.parse().unwrap(), 1, json!("x".repeat(20_000)));
    let mut stream = Stream::open(&bench, "events?since=1", &[]).await;
    stream.frame().await;
    let frame = stream.frame().await.unwrap();
    assert!(frame.contains("\"omitted\":[\"output\"]") && frame.len() < 500, "{frame}");
    let journal = bench.get(&format!("runs/{run}/journal")).await.json();
    assert_eq!(journal[1]["output"].as_str().unwrap().len(), 20_000);
}

#[tokio::test]
async fn silence_is_broken_by_a_comment() {
    let bench = Bench::with(ApiLimits { heartbeat: Duration::from_millis(5), ..Default::default() });
    let mut stream = Stream::open(&bench, "events", &[]).await;
    stream.frame().await;
    assert_eq!(stream.frame().await.unwrap(), ": heartbeat");
}

#[tokio::test]
async fn a_slow_listener_is_taken_up_again_without_loss() {
    // Were the record lost, the comment would come in its place.
    let bench = Bench::with(ApiLimits { heartbeat: Duration::from_millis(500), ..Default::default() });
    let run = bench.run("a").await.parse().unwrap();
    let mut stream = Stream::open(&bench, "events", &[]).await;
    stream.frame().await;
    bench.engine.gaps(2);
    done(&bench, run, 1, json!(1));
    assert!(stream.frame().await.unwrap().starts_with("id: 2\n"));
}

#[tokio::test]
async fn a_listener_that_cannot_be_taken_up_is_told_of_the_gap() {
    let bench = Bench::new();
    let mut stream = Stream::open(&bench, "events", &[]).await;
    stream.frame().await;
    bench.engine.gaps(10);
    let expect = "event: gap\ndata: {\"detail\":\"events were missed\",\"since\":0,\"type\":\"gap\"}";
    assert_eq!(stream.frame().await.unwrap(), expect);
    assert_eq!(stream.frame().await, None);
}

#[tokio::test]
async fn a_cursor_from_another_journal_is_a_gap() {
    let bench = Bench::new();
    bench.run("a").await;
    let mut stream = Stream::open(&bench, "events?since=900", &[]).await;
    assert_eq!(stream.frame().await.unwrap(), "retry: 1000\nid: 1");
    assert!(stream.frame().await.unwrap().starts_with("event: gap\n"));
}

#[tokio::test]
async fn one_listener_too_many_is_refused_and_a_gone_one_makes_room() {
    let bench = Bench::with(ApiLimits { streams: 1, ..Default::default() });
    let stream = Stream::open(&bench, "events", &[]).await;
    bench.get("events").await.problem(429, "CB-0009");
    drop(stream);
    Stream::open(&bench, "events", &[]).await;
}

#[tokio::test]
async fn streams_end_when_the_api_closes() {
    let bench = Bench::new();
    let mut stream = Stream::open(&bench, "events", &[]).await;
    stream.frame().await;
    bench.api.close();
    assert_eq!(stream.frame().await, None);
    bench.get("health/ready").await.problem(503, "CB-0012");
}

#[tokio::test]
async fn over_the_hosts_door_events_are_a_long_poll() {
    let bench = Bench::new();
    let run = bench.run("a").await.parse().unwrap();
    done(&bench, run, 1, json!(1));
    let reply = poll(&bench, "events?since=0", &[], 5_000).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "text/event-stream"));
    assert_eq!(reply.text.matches("\ndata: ").count(), 2);
    assert!(reply.text.ends_with("\n\nid: 2\n\n"), "{}", reply.text);
}

#[tokio::test]
async fn a_long_poll_waits_for_the_first_event_and_answers_with_it() {
    let bench = Bench::new();
    let run = bench.run("a").await.parse().unwrap();
    let mut waiting = Box::pin(poll(&bench, "events", &["Last-Event-ID: 1"], 600_000));
    assert!((&mut waiting).now_or_never().is_none());
    done(&bench, run, 1, json!(1));
    assert!(waiting.await.text.contains("id: 2\nevent: step.completed\n"));
}

#[tokio::test]
async fn a_long_poll_without_events_ends_in_time_and_keeps_the_cursor() {
    let bench = Bench::new();
    let (_, other) = (bench.run("a").await, bench.run("b").await);
    let reply = poll(&bench, "events?since=1", &[], 120).await;
    assert_eq!(reply.text.matches("\ndata: ").count(), 1);
    let reply = poll(&bench, "events", &[], 120).await;
    assert_eq!(reply.text, "retry: 1000\nid: 2\n\nid: 2\n\n");
    // What was passed by is not read again by the next poll.
    let run = other.parse().unwrap();
    done(&bench, run, 1, json!(1));
    let none = "0190b5a0-0000-7000-8000-000000000000";
    let reply = poll(&bench, &format!("events?since=0&run={none}"), &[], 120).await;
    assert!(reply.text.ends_with("id: 3\n\n"), "{}", reply.text);
}

#[tokio::test]
async fn a_long_backlog_comes_in_pieces() {
    let bench = Bench::new();
    let run = bench.run("a").await.parse().unwrap();
    for node in 0..400 {
        done(&bench, run, node, json!(node));
    }
    let first = poll(&bench, "events?since=0", &[], 5_000).await;
    assert_eq!(first.text.matches("\ndata: ").count(), 256);
    assert!(first.text.ends_with("id: 256\n\n"));
    assert!(first.text.contains("\"step\":\"step_99\"") && first.text.contains("\"step\":\"#100\""));
    let second = poll(&bench, "events", &["Last-Event-ID: 256"], 5_000).await;
    assert_eq!(second.text.matches("\ndata: ").count(), 145);
}

#[tokio::test]
async fn a_stream_ends_with_the_login_that_opened_it() {
    let bench = Bench::new();
    bench.user("boss", "admin").await;
    bench.user("mia", "viewer").await;
    let run: RunId = bench.run("a").await.parse().unwrap();
    let access = format!("Authorization: Bearer {}", bench.access_of("mia").await);
    let mut stream = Stream::open(&bench, "events", &[&access]).await;
    assert_eq!(stream.frame().await.unwrap(), "retry: 1000\nid: 1");
    done(&bench, run, 1, json!(1));
    assert!(stream.frame().await.unwrap().contains("event: step.completed"));
    let token = format!("Authorization: Bearer {}", bench.token);
    bench.ask("DELETE users/mia/sessions", &[&token], "", "").await;
    done(&bench, run, 2, json!(2));
    assert_eq!(stream.frame().await, None, "what comes after the end of the login is not told");
}
