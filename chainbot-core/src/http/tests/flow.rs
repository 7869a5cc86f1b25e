//! Requests that belong together: ETags, pages, keys, limits, the two doors.

use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;

use super::{Bench, Reply};
use crate::http::{ApiLimits, ViaHost};
use crate::id::NodeId;
use crate::model::{Place, RecordBody, RunView};
use crate::runtime::{RunSummary, WorkflowView};

const YAML: &str = "Content-Type: application/yaml";

#[tokio::test]
async fn an_etag_guards_a_change_against_one_that_came_between() {
    let bench = Bench::new();
    let made = bench.workflow("a").await;
    let first = format!("If-Match: {}", made.header("etag"));
    assert_eq!(made.header("etag"), format!("\"{}\"", made.json()["hash"].as_str().unwrap()));
    let changed = bench.send("PUT workflows/a", &[YAML, &first], "name: a\nsteps: [1]\n").await;
    assert_eq!((changed.status.as_u16(), &changed.json()["version"]), (200, &json!(2)));
    bench.send("PUT workflows/a", &[YAML, &first], "name: a\n").await.problem(412, "CB-0011");
    bench.send("DELETE workflows/a", &[&first], "").await.problem(412, "CB-0011");
    bench.send("PUT workflows/a", &[YAML, "If-Match: a"], "name: a\n").await.problem(400, "CB-0007");
    let weak = format!("If-Match: W/{}", changed.header("etag"));
    bench.send("PUT workflows/a", &[YAML, &weak], "name: a\n").await.problem(412, "CB-0011");
    let several = format!("If-Match: \"x\", {}", changed.header("etag"));
    assert_eq!(bench.send("PUT workflows/a", &[YAML, &several], "name: a\n").await.status, 200);
    assert_eq!(bench.send("DELETE workflows/a", &["If-Match: *"], "").await.status, 204);
    bench.get("workflows/a").await.problem(404, "CB-0190");
}

#[tokio::test]
async fn an_unchanged_workflow_is_not_sent_again() {
    let bench = Bench::new();
    let tag = format!("If-None-Match: {}", bench.workflow("a").await.header("etag"));
    let reply = bench.send("GET workflows/a", &[&tag], "").await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (304, ""));
}

/// Follows the links of a list to its end; gives the pages' sizes and all values of `field`.
async fn walk(bench: &Bench, path: &str, field: &str, total: &str) -> (Vec<usize>, Vec<String>) {
    let (mut sizes, mut seen, mut next) = (Vec::new(), Vec::new(), path.to_owned());
    loop {
        let reply = bench.get(&next).await;
        assert_eq!(reply.header("x-total-count"), total, "{next}: {}", reply.text);
        let page = reply.json();
        let items = page.as_array().unwrap();
        sizes.push(items.len());
        seen.extend(items.iter().map(|item| item[field].to_string()));
        match reply.header("link").strip_prefix('<').and_then(|l| l.strip_suffix(">; rel=\"next\"")) {
            Some(link) => next = link.to_owned(),
            None => return (sizes, seen),
        }
    }
}

#[tokio::test]
async fn links_lead_through_every_list_without_loss_or_repeat() {
    let bench = Bench::new();
    let run = bench.run("wf-0").await.parse().unwrap();
    for n in 1..5 {
        bench.workflow(&format!("wf-{n}")).await;
        bench.post("workflows/wf-0/runs", "{}").await;
        let (place, output) = (Place { node: NodeId(n), path: vec![] }, json!(n).into());
        bench.engine.record(run, RecordBody::StepCompleted { place, attempt: 1, output });
        bench.engine.question(run);
    }
    let (sizes, names) = walk(&bench, "workflows?limit=2", "name", "5").await;
    assert_eq!((sizes, names.len()), (vec![2, 2, 1], 5));
    let filtered = "runs?limit=2&workflow=wf-0&status=pending";
    let (sizes, mut ids) = walk(&bench, filtered, "id", "5").await;
    ids.dedup();
    assert_eq!((sizes, ids.len()), (vec![2, 2, 1], 5));
    let (sizes, seqs) = walk(&bench, &format!("runs/{run}/journal?limit=2"), "seq", "5").await;
    assert_eq!((sizes, seqs), (vec![2, 2, 1], ["0", "1", "2", "3", "4"].map(String::from).to_vec()));
    let (sizes, steps) = walk(&bench, &format!("runs/{run}/steps?limit=3"), "id", "4").await;
    assert_eq!((sizes, steps.len()), (vec![3, 1], 4));
    let (sizes, mut ids) = walk(&bench, "inbox?limit=3", "id", "4").await;
    ids.sort();
    ids.dedup();
    assert_eq!((sizes, ids.len()), (vec![3, 1], 4));
}

#[tokio::test]
async fn a_list_of_large_outputs_comes_in_pieces() {
    let bench = Bench::new();
    let run = bench.run("a").await.parse().unwrap();
    for n in 0..6 {
        let output = json!("x".repeat(1024 * 1024)).into();
        let place = Place { node: NodeId(n), path: vec![] };
        bench.engine.record(run, RecordBody::StepCompleted { place, attempt: 1, output });
    }
    let (sizes, _) = walk(&bench, &format!("runs/{run}/steps"), "id", "6").await;
    assert_eq!(sizes, [3, 3]);
    let (sizes, seqs) = walk(&bench, &format!("runs/{run}/journal"), "seq", "7").await;
    assert_eq!((sizes, seqs.len()), (vec![4, 3], 7));
}

#[tokio::test]
async fn a_repeat_with_the_same_key_makes_nothing_twice() {
    let bench = Bench::new();
    let key = ["Idempotency-Key: k1", YAML];
    let first = bench.send("POST workflows", &key, "name: a\n").await;
    let again = bench.send("POST workflows", &key, "name: a\n").await;
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (201, "true"));
    assert_eq!((&again.text, again.header("location")), (&first.text, first.header("location")));
    assert_eq!(first.header("idempotency-replayed"), "");
    bench.send("POST workflows", &key, "name: b\n").await.problem(409, "CB-0010");
    for (path, status, key) in [
        ("workflows/a/runs", 201, "Idempotency-Key: k2"),
        ("workflows/a/execute", 200, "Idempotency-Key: k3"),
    ] {
        let headers = [key, "Content-Type: application/json"];
        let head = format!("POST {path}");
        let first = bench.send(&head, &headers, r#"{"inputs": {"n": 1}}"#).await;
        let again = bench.send(&head, &headers, r#"{"inputs": {"n": 1}}"#).await;
        assert_eq!((first.status.as_u16(), again.status.as_u16()), (status, status));
        assert_eq!((&again.text, again.header("idempotency-replayed")), (&first.text, "true"));
        bench.send(&head, &headers, r#"{"inputs": {"n": 2}}"#).await.problem(409, "CB-0010");
    }
    assert_eq!(bench.get("runs").await.header("x-total-count"), "2");
}

#[tokio::test]
async fn a_run_is_started_looked_at_signalled_and_cancelled() {
    let bench = Bench::new();
    let workflow = bench.workflow("a").await.json();
    let reply = bench.post("workflows/a/runs", r#"{"inputs": {"n": 1}}"#).await;
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        (reply.status.as_u16(), reply.header("location")),
        (201, &*format!("/api/chainbot/runs/{id}"))
    );
    assert_eq!(bench.get(reply.header("location")).await.text, reply.text);
    let executed = bench.post("workflows/a/execute", r#"{"inputs":{}}"#).await.json();
    assert_eq!(executed["workflow_id"], workflow["id"]);
    let mut keys: Vec<_> = executed.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    assert_eq!(keys, ["execution_id", "started_at", "status", "workflow_id"]);
    let signalled = bench.post(&format!("runs/{id}/signal/go"), r#"{"data": [1]}"#).await;
    assert_eq!(signalled.status, 200);
    let cancelled = bench.send(&format!("POST runs/{id}/cancel"), &[], "").await;
    assert_eq!(cancelled.json()["status"], "cancelled");
    bench.post(&format!("runs/{id}/cancel"), "{}").await.problem(409, "CB-0303");
    let journal = bench.get(&format!("runs/{id}/journal")).await.json();
    let types: Vec<_> = journal.as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["run.created", "signal.received", "run.cancelled"]);
    assert_eq!((&journal[1]["name"], &journal[1]["data"]), (&json!("go"), &json!([1])));
}

#[tokio::test]
async fn what_leaves_reads_back_as_the_models_types() {
    let bench = Bench::new();
    let id = bench.run("a").await;
    let run: RunView = serde_json::from_str(&bench.get(&format!("runs/{id}")).await.text).unwrap();
    assert_eq!(serde_json::to_value(&run).unwrap(), bench.get(&format!("runs/{id}")).await.json());
    let rows: Vec<RunSummary> = serde_json::from_str(&bench.get("runs").await.text).unwrap();
    assert_eq!(serde_json::to_value(&rows).unwrap(), bench.get("runs").await.json());
    let workflow: WorkflowView = serde_json::from_str(&bench.get("workflows/a").await.text).unwrap();
    assert_eq!(serde_json::to_value(&workflow).unwrap(), bench.get("workflows/a").await.json());
}

#[tokio::test]
async fn over_the_rate_a_token_is_told_when_to_come_back_and_probes_go_on() {
    let bench = Bench::with(ApiLimits { rate_per_s: 1, rate_burst: 2, ..Default::default() });
    assert_eq!(bench.get("health").await.status, 200);
    assert_eq!(bench.get("health").await.status, 200);
    let refused = bench.get("health").await;
    refused.problem(429, "CB-0009");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(bench.get("health/live").await.status, 200);
}

#[tokio::test]
async fn over_the_bound_of_requests_one_more_is_refused_and_probes_go_on() {
    let bench = Bench::with(ApiLimits { requests: 1, ..Default::default() });
    let mut stuck = Box::pin(bench.get("workflows/stuck"));
    assert!((&mut stuck).now_or_never().is_none());
    bench.get("health").await.problem(429, "CB-0009");
    assert_eq!(bench.get("health/live").await.status, 200);
    drop(stuck);
    assert_eq!(bench.get("health").await.status, 200);
}

#[tokio::test]
async fn a_request_that_does_not_end_is_given_up() {
    let bench = Bench::with(ApiLimits { request_time: Duration::from_millis(20), ..Default::default() });
    bench.get("workflows/stuck").await.problem(504, "CB-0013");
}

async fn via_host(bench: &Bench, head: &str, headers: &[&str], body: &str) -> Reply {
    let mut request = bench.request(head, headers, body.to_owned());
    request.extensions_mut().insert(ViaHost { timeout_ms: 5_000 });
    bench.call(request).await
}

#[tokio::test]
async fn a_prefix_counts_over_the_hosts_door_alone() {
    let bench = Bench::new();
    let prefix = "X-Forwarded-Prefix: /modules/chainbot/";
    let headers = [prefix, "Content-Type: application/json"];
    bench.workflow("a").await;
    let reply = via_host(&bench, "POST workflows/a/runs", &headers, "{}").await;
    assert!(reply.header("location").starts_with("/modules/chainbot/api/chainbot/runs/"));
    via_host(&bench, "POST workflows/a/runs", &headers, "{}").await;
    let list = via_host(&bench, "GET runs?limit=1", &[prefix], "").await;
    assert!(list.header("link").starts_with("</modules/chainbot/api/chainbot/runs?limit=1&cursor="));
    let direct = bench.send("POST workflows/a/runs", &headers, "{}").await;
    assert!(direct.header("location").starts_with("/api/chainbot/runs/"));
    for wrong in ["//evil.example", "evil", "/a b", "/a/../b", "/<x>"] {
        let header = format!("X-Forwarded-Prefix: {wrong}");
        via_host(&bench, "GET runs", &[&header], "").await.problem(400, "CB-0007");
        assert_eq!(bench.send("GET runs", &[&header], "").await.status, 200);
    }
}

#[tokio::test]
async fn the_hosts_door_gives_no_rights() {
    let bench = Bench::new();
    via_host(&bench, "GET runs", &["Authorization: Bearer cb_x"], "").await.problem(401, "CB-0004");
}

#[tokio::test]
async fn over_the_hosts_door_a_websocket_upgrade_is_sent_to_the_event_stream() {
    let bench = Bench::new();
    let upgrade = ["Connection: Upgrade", "Upgrade: websocket"];
    for path in ["ws", "events", "nothing"] {
        let reply = via_host(&bench, &format!("GET {path}"), &upgrade, "").await;
        let problem = reply.problem(501, "CB-0014");
        assert!(problem["help"].as_str().unwrap().contains("/api/chainbot/events"));
    }
}
