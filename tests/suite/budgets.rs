//! Budgets beyond one task in the shipped module: what a task has others do is paid from its own, and what an agent may use in a day is still used up
//! after the process was killed.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::crash::client::Client;
use crate::crash::host::Host;
use crate::model_server::{self, piece};

const JSON: &str = "content-type: application/json\r\n";

/// A model: who is told to lead begins the workflow `helpers` once, everybody else is done at once. A call costs 110 tokens.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let body = model_server::body(&stream)?;
    let text = body.to_string();
    let leads = text.contains("You lead.") && !text.contains("\"role\":\"tool\"");
    let (delta, reason) = if leads {
        let call = json!({ "name": "run_helpers", "arguments": "{}" });
        let calls = json!([{ "index": 0, "id": "c1", "type": "function", "function": call }]);
        (json!({ "role": "assistant", "content": null, "tool_calls": calls }), "tool_calls")
    } else {
        (json!({ "role": "assistant", "content": "Done." }), "stop")
    };
    model_server::head(&mut stream)?;
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 100, "completion_tokens": 10 } });
    let ends = [piece(&delta, &Value::Null), piece(&json!({}), &json!(reason))].concat();
    stream.write_all(format!("{ends}data: {usage}\n\ndata: [DONE]\n\n").as_bytes())
}

fn settings() -> Vec<String> {
    model_server::settings(model_server::serve(answer), &json!({ "max_output": 64 }))
}

pub fn made(client: &Client, path: &str, kind: &str, body: &str) -> Value {
    let reply = client.send("POST", path, kind, body).unwrap();
    assert_eq!(reply.status, 201, "{path}: {}", reply.body);
    reply.body
}

fn task(client: &Client, agent: &str, body: Value) -> Value {
    made(client, &format!("/api/chainbot/agents/{agent}/tasks?wait=50"), JSON, &body.to_string())
}

fn used(client: &Client, agent: &str) -> u64 {
    let usage = client.get(&format!("/api/chainbot/agents/{agent}/usage"));
    let rows = usage["days"].as_array().unwrap();
    rows.iter()
        .map(|row| row["input_tokens"].as_u64().unwrap() + row["output_tokens"].as_u64().unwrap())
        .sum()
}

#[test]
fn what_a_task_has_others_do_is_paid_from_its_own_budget() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut host = Host::with(&data, &settings());
    let Some(client) = host.ready(&data) else { panic!("{}", host.end().1) };
    made(&client, "/api/chainbot/agents", JSON, r#"{"name":"helper","instructions":"You help."}"#);
    let helpers = "name: helpers\nsteps:\n  - id: all\n    type: loop\n    config:\n      times: 40\n      steps:\n        \
        - { id: one, type: agent_task, config: { agent: helper, task: Help. } }\n";
    made(&client, "/api/chainbot/workflows", "content-type: application/yaml\r\n", helpers);
    let leader =
        json!({ "name": "leader", "instructions": "You lead.", "tools": { "workflow": ["helpers"] } });
    made(&client, "/api/chainbot/agents", JSON, &leader.to_string());

    let run = task(&client, "leader", json!({ "task": "Go.", "budget": { "tokens": 2500 } }));
    let (led, helped) = (used(&client, "leader"), used(&client, "helper"));
    assert!(helped >= 550, "some of them could help: {helped}");
    assert!(led + helped <= 2500, "{led} and {helped}: {run}");
    // Forty would have cost 4,400.
    let runs = client.get("/api/chainbot/runs?limit=200");
    let helpers = runs.as_array().unwrap().iter().find(|run| run["workflow_name"] == "helpers").unwrap();
    assert_eq!(helpers["status"], "failed", "{helpers}");
    let whole = client.get(&format!("/api/chainbot/runs/{}", helpers["id"].as_str().unwrap()));
    let why = whole["error"].to_string();
    assert!(why.contains("for which this one works"), "{why}");

    // Without a budget of its own it may have all of them work.
    let run = task(&client, "leader", json!({ "task": "Go." }));
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(used(&client, "helper") - helped, 40 * 110);
    host.terminate();
    assert_eq!(host.end().0, Some(0));
}

#[test]
fn what_was_used_today_is_still_used_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let set = settings();
    let mut host = Host::with(&data, &set);
    let Some(client) = host.ready(&data) else { panic!("{}", host.end().1) };
    let budget = json!({ "tokens": 350, "per": "day" });
    made(&client, "/api/chainbot/agents", JSON, &json!({ "name": "thrifty", "budget": budget }).to_string());
    assert_eq!(task(&client, "thrifty", json!({ "task": "One." }))["status"], "completed");
    host.killer().kill();
    host.end();
    let mut host = Host::with(&data, &set);
    let Some(client) = host.ready(&data) else { panic!("{}", host.end().1) };
    let mut ended = Vec::new();
    for _ in 0..3 {
        let run = task(&client, "thrifty", json!({ "task": "More." }));
        ended.push((run["status"].as_str().unwrap().to_owned(), run["error"]["code"].clone()));
    }
    let last = ended.last().unwrap();
    assert_eq!((last.0.as_str(), &last.1), ("failed", &json!("CB-1233")), "{ended:?}");
    assert!(used(&client, "thrifty") <= 350);
    host.terminate();
    assert_eq!(host.end().0, Some(0));
}
