//! The bridge contract, as the sibling dashboard calls it: a bearer key, only 200 counts, exact fields, ids as text.

use serde_json::{Value, json};

use super::Bench;
use super::accounts::bearer;
use crate::http::ApiLimits;

/// What the dashboard does with an answer: anything but 200 is none.
async fn call(bench: &Bench, head: &str, body: &str) -> Value {
    let reply = bench.ask(head, &[&bearer(&bench.token)], "10.0.0.9", body).await;
    assert_eq!(reply.status, 200, "{head}: {}", reply.text);
    assert!(reply.header("content-type").starts_with("application/json"));
    reply.json()
}

fn fields(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn health_is_healthy_when_all_is_well() {
    let bench = Bench::new();
    let health = call(&bench, "GET /api/health", "").await;
    assert_eq!(health["status"], "healthy");
    for key in ["status", "health_score", "timestamp", "checks", "version"] {
        assert!(health.get(key).is_some(), "{key}: {health}");
    }
    assert_eq!(health["checks"]["websocket"]["status"], "healthy");
    let simple = call(&bench, "GET health/simple", "").await;
    assert_eq!(fields(&simple), ["health_score", "status", "timestamp"]);
    assert_eq!(call(&bench, "GET /health", "").await["status"], "healthy");
    let status = call(&bench, "GET status", "").await;
    assert_eq!((&status["status"], &status["module"]), (&json!("running"), &json!("chainbot")));
}

#[tokio::test]
async fn an_unhealthy_module_is_503_at_the_root_and_200_where_people_look() {
    let bench = Bench::scored(ApiLimits::default(), 0.2);
    assert_eq!(call(&bench, "GET /api/health", "").await["status"], "unhealthy");
    bench.get("/health").await.problem(503, "CB-0012");
    let degraded = Bench::scored(ApiLimits::default(), 0.6);
    assert_eq!(call(&degraded, "GET /health", "").await["status"], "degraded");
    // An address proves nothing: a load balancer has a token as well.
    for path in ["/health", "/api/health"] {
        bench.ask(&format!("GET {path}"), &[], "127.0.0.1", "").await.problem(401, "CB-0004");
    }
}

#[tokio::test]
async fn workflows_have_the_fields_that_the_dashboard_reads() {
    let bench = Bench::new();
    for number in 0..60 {
        bench.workflow(&format!("w-{number:02}")).await;
    }
    let run = bench.post("workflows/w-07/runs", "{}").await.json();
    let all = call(&bench, "GET workflows", "").await;
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 60, "it follows no links");
    let expect = [
        "created_at",
        "definition",
        "description",
        "execution_count",
        "hash",
        "id",
        "last_executed",
        "metadata",
        "name",
        "owner",
        "shared",
        "status",
        "updated_at",
        "version",
    ];
    for workflow in all {
        assert_eq!(fields(workflow), expect);
        assert!(
            workflow["id"].is_string()
                && workflow["metadata"].is_object()
                && workflow["definition"].is_object()
        );
        assert!(workflow["description"].is_string() && workflow["execution_count"].is_u64());
    }
    assert_eq!((&all[7]["execution_count"], &all[7]["last_executed"]), (&json!(1), &run["created_at"]));
    assert_eq!((&all[8]["execution_count"], &all[8]["last_executed"]), (&json!(0), &Value::Null));
    assert_eq!(call(&bench, "GET workflows?limit=5", "").await.as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn execute_takes_inputs_under_each_of_its_names_and_answers_200() {
    let bench = Bench::new();
    let id = bench.workflow("greet").await.json()["id"].as_str().unwrap().to_owned();
    for body in [r#"{"inputs":{}}"#, r#"{"input_data":{}}"#, r#"{"parameters":{}}"#, "{}", ""] {
        let done = call(&bench, &format!("POST workflows/{id}/execute"), body).await;
        assert_eq!(fields(&done), ["execution_id", "started_at", "status", "workflow_id"], "{body}");
        assert_eq!(done["workflow_id"], id);
        let run = done["execution_id"].as_str().unwrap();
        let execution = call(&bench, &format!("GET executions/{run}"), "").await;
        assert_eq!(execution, call(&bench, &format!("GET runs/{run}"), "").await);
    }
    let refused = async |body: &str| bench.post(&format!("workflows/{id}/execute"), body).await;
    refused(r#"{"inputs":{},"parameters":{}}"#).await.problem(422, "CB-0017");
    // The oldest form, the inputs alone, could not be told from a mistyped field.
    refused(r#"{"who":"Mia"}"#).await.problem(422, "CB-0008");
    bench.post(&format!("workflows/{id}/runs"), r#"{"parameters":{}}"#).await.problem(422, "CB-0008");
    bench.get("executions/none").await.problem(404, "CB-0300");
}

#[tokio::test]
async fn what_the_host_reports_is_taken_at_both_paths_and_passed_on() {
    let bench = Bench::new();
    for (index, prefix) in ["/api/chainbot/webhooks", "/api/webhooks/chainbot"].into_iter().enumerate() {
        let post = async |path: &str, body: &str| call(&bench, &format!("POST {prefix}/{path}"), body).await;
        let taken = post("workflow/failed", r#"{"workflow_name":"report","error":"no paper"}"#).await;
        assert_eq!((fields(&taken), &taken["status"]), (vec!["message", "status"], &json!("success")));
        let standing = call(&bench, &format!("GET {prefix}/status"), "").await;
        assert_eq!(fields(&standing), ["data", "status", "timestamp"]);
        assert_eq!(standing["data"]["requires_attention"], true);
        assert_eq!(standing["data"]["attention_reason"], "report failed: no paper");
        post("agent/spawned", r#"{"agent_id":7}"#).await;
        post("entanglement/created", "{}").await;
        post("status", r#"{"active_workflows":2}"#).await;
        post("event", r#"{"event_type":"code_change","user_id":1}"#).await;
        assert_eq!(call(&bench, &format!("GET {prefix}"), "").await["data"]["last_health_report"], {
            if index == 0 { Value::Null } else { json!("2026-01-01T00:00:00.000Z") }
        });
        post("health", r#"{"requires_attention":false}"#).await;
        let standing = call(&bench, &format!("GET {prefix}/health"), "").await;
        assert_eq!(standing["data"]["requires_attention"], false);
        let offered = bench.engine.offered();
        let topics: Vec<&str> = offered.iter().skip(index * 6).map(|(topic, _)| topic.as_str()).collect();
        let expect = [
            "alex_os.workflow.failed",
            "alex_os.agent.spawned",
            "alex_os.entanglement.created",
            "alex_os.system.status",
            "alex_os.event.code_change",
            "alex_os.module.health",
        ];
        assert_eq!(topics, expect);
        assert_eq!(offered[0].1, json!({ "workflow_name": "report", "error": "no paper" }));
        bench.post(&format!("{prefix}/workflow/exploded"), "{}").await.problem(422, "CB-0017");
        bench.post(&format!("{prefix}/event"), r#"{"event_type":"a.b"}"#).await.problem(422, "CB-0017");
        bench.post(&format!("{prefix}/health"), "[]").await.problem(422, "CB-0017");
    }
}
