//! Triggers over HTTP, and the door of webhooks.

use serde_json::json;

use super::Bench;
use crate::runtime::TriggerView;
use crate::time::Timestamp;

fn water(bench: &Bench) -> TriggerView {
    let view = TriggerView {
        key: "cron-0011223344".to_owned(),
        workflow_id: crate::id::WorkflowId::from([1; 16]),
        workflow_name: "water".to_owned(),
        kind: "cron".to_owned(),
        listens_to: "0 6 * * * (UTC)".to_owned(),
        enabled: true,
        active: true,
        next_at: Some(Timestamp(0)),
        last_at: None,
        last_run: None,
        note: None,
    };
    bench.engine.trigger(view.clone());
    view
}

#[tokio::test]
async fn triggers_are_listed_and_switched() {
    let bench = Bench::new();
    let view = water(&bench);
    let all = bench.get("schedules").await.json();
    assert_eq!(all[0]["next_at"], "1970-01-01T00:00:00.000Z");
    assert_eq!(all[0]["listens_to"], "0 6 * * * (UTC)");
    assert_eq!(all[0].get("note"), None);
    let off = bench.post(&format!("workflows/water/triggers/{}/disable", view.key), "").await.json();
    assert_eq!((&off["enabled"], &off["active"]), (&json!(false), &json!(false)));
    bench.post("workflows/water/triggers/cron-1/enable", "").await.problem(404, "CB-0197");
    bench.get("workflows/nothing/triggers").await.problem(404, "CB-0190");
    bench.post("workflows/nothing/disable", "").await.problem(404, "CB-0190");
}

#[tokio::test]
async fn a_webhook_takes_a_signature_or_the_token_and_nothing_else() {
    let bench = Bench::new();
    let path = "POST /api/chainbot/hooks/water";
    let send = async |headers: &[&str], body: &str, keeps_token: bool| {
        let mut request = bench.request(path, headers, body.to_owned());
        if !keeps_token {
            request.headers_mut().remove("authorization");
        }
        bench.call(request).await
    };
    let right = "webhook-signature: v1,right";
    let reply = send(&[right, "webhook-id: again"], "abc", false).await;
    assert_eq!((reply.status.as_u16(), reply.header("idempotency-replayed")), (202, "true"));
    assert_eq!(reply.json()["workflow"], "water got 3 bytes");
    assert_eq!(send(&[], "abc", true).await.status, 202);
    send(&["webhook-signature: v1,wrong"], "abc", false).await.problem(401, "CB-0004");
    send(&[], "abc", false).await.problem(401, "CB-0004");
    let large = "x".repeat(crate::limits::EVENT_BYTES_MAX + 1);
    send(&[right], &large, false).await.problem(413, "CB-0005");
    let other = bench.request("POST /api/chainbot/workflows", &[right], "");
    let mut other = other;
    other.headers_mut().remove("authorization");
    bench.call(other).await.problem(401, "CB-0004");
}
