//! Servers of models that do what they should not, at the shipped module: each task ends within its bound, with an answer all the same or with an
//! error that says what happened, and nobody else is the worse for it.
//!
//! Every fault has a server of its own (one port, told apart by path), so that a breaker that opens for one says nothing of the next.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Result, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::budgets::made;
use crate::crash::client::Client;
use crate::crash::host::Host;
use crate::model_server::{self, piece};
use crate::support::rss_kib;

const JSON: &str = "content-type: application/json\r\n";
/// What the module may have grown by after all of them.
const GROWTH_KIB_MAX: u64 = 20 * 1024;

/// How a task ends.
enum End {
    /// With this answer, after so many uses of a tool.
    Answer(&'static str, u64),
    /// With this class, and these words in its error.
    Error(&'static str, &'static str),
}

use End::{Answer, Error};

/// Each fault: how the task ends, and how often the server was asked at most.
const FAULTS: &[(&str, End, usize)] = &[
    ("cut", Error("cut", "before it was done"), 3),
    ("cut-once", Answer("Whole.", 0), 2),
    ("no-json", Error("model_invalid", "JSON"), 3),
    ("empty-choice", Error("cut", "before it was done"), 3),
    ("call-and-stop", Answer("Looked.", 1), 2),
    ("text-and-calls", Answer("Fine.", 0), 1),
    ("printed-call", Answer("{\"name\":\"run_look\",\"arguments\":{}}", 0), 1),
    ("salvaged-call", Answer("Looked.", 1), 2),
    ("endless", Error("too_large", "its bound of 64 tokens"), 1),
    ("large", Error("too_large", "over 4194304 bytes"), 1),
    ("silent", Error("timeout", "did not begin to answer within 1 s"), 3),
    ("pings", Error("timeout", "8 s"), 3),
    ("no-http", Error("model_invalid", "proper HTTP"), 1),
    ("closes", Error("cut", "before the reply was whole"), 3),
    ("fails", Error("overloaded", "500"), 6),
    ("error-inside", Error("overloaded", "it broke"), 6),
    ("limited-once", Answer("Whole.", 0), 2),
];

type Asked = Arc<Mutex<BTreeMap<String, usize>>>;

fn said(stream: &mut TcpStream, delta: &Value, reason: &str) -> Result<()> {
    model_server::head(stream)?;
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 100, "completion_tokens": 10 } });
    let ends = [piece(delta, &Value::Null), piece(&json!({}), &json!(reason))].concat();
    stream.write_all(format!("{ends}data: {usage}\n\ndata: [DONE]\n\n").as_bytes())
}

fn text(text: &str) -> Value {
    json!({ "role": "assistant", "content": text })
}

fn answer(asked: &Asked, mut stream: TcpStream) -> Result<()> {
    let (path, body) = model_server::request(&stream)?;
    let fault = path.split('/').nth(1).unwrap_or_default().to_owned();
    let count = {
        let mut asked = asked.lock().unwrap();
        let count = asked.entry(fault.clone()).or_insert(0);
        *count += 1;
        *count
    };
    let has_result = body.to_string().contains("\"role\":\"tool\"");
    let printed = "{\"name\":\"run_look\",\"arguments\":{}}";
    let out = &mut stream;
    match fault.as_str() {
        "cut" | "cut-once" if fault == "cut" || count == 1 => {
            model_server::head(out)?;
            out.write_all(piece(&text("Half an "), &Value::Null).as_bytes())
        }
        "cut-once" | "limited-once" if count > 1 => said(out, &text("Whole."), "stop"),
        "limited-once" => out.write_all(
            b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        ),
        "no-json" => {
            model_server::head(out)?;
            out.write_all(b"data: {\"choices\": [{\"delta\"\n\ndata: [DONE]\n\n")
        }
        "empty-choice" => {
            model_server::head(out)?;
            out.write_all(b"data: {\"choices\": []}\n\ndata: [DONE]\n\n")
        }
        "call-and-stop" | "salvaged-call" if has_result => said(out, &text("Looked."), "stop"),
        "call-and-stop" => {
            let call = json!({ "name": "run_look", "arguments": "{}" });
            let calls = json!([{ "index": 0, "id": "c1", "type": "function", "function": call }]);
            said(out, &json!({ "role": "assistant", "content": null, "tool_calls": calls }), "stop")
        }
        "text-and-calls" => said(out, &text("Fine."), "tool_calls"),
        "printed-call" | "salvaged-call" => said(out, &text(printed), "stop"),
        "endless" => {
            model_server::head(out)?;
            // Until the other end has had enough.
            loop {
                out.write_all(piece(&text("word "), &Value::Null).as_bytes())?;
            }
        }
        "large" => {
            model_server::head(out)?;
            let long = "x".repeat(10 * 1024 * 1024);
            out.write_all(piece(&text(&long), &json!("stop")).as_bytes())
        }
        // Both hold the line until the other end leaves.
        "silent" => std::io::copy(out, &mut std::io::sink()).map(drop),
        "pings" => {
            model_server::head(out)?;
            loop {
                out.write_all(b": still here\n\n")?;
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        }
        "no-http" => out.write_all(b"220 mail.example ESMTP\r\n"),
        "closes" => Ok(()),
        "fails" => out.write_all(b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"),
        "error-inside" => {
            model_server::head(out)?;
            out.write_all(b"data: {\"error\":{\"message\":\"it broke\",\"code\":\"x\"}}\n\n")
        }
        _ => said(out, &text("Well."), "stop"),
    }
}

fn settings(port: u16) -> Vec<String> {
    let (mut providers, mut models) = (json!({}), json!({}));
    for name in FAULTS.iter().map(|(name, ..)| *name).chain(["well"]) {
        // A small machine has minutes; whoever never says a word is left after one second here.
        providers[name] = json!({
            "kind": "openai", "base_url": format!("http://127.0.0.1:{port}/{name}/v1"),
            "first_token": "1s", "between_chunks": "2s",
        });
        models[name] = json!({
            "provider": name, "model": "m", "context": 8192, "dialect": "native", "max_output": 64, "salvage": name == "salvaged-call",
        });
    }
    vec![
        "api.port=0".to_owned(),
        "api.rate_limit_per_token=0".to_owned(),
        format!("models.providers={providers}"),
        format!("models.models={models}"),
        "models.default=\"well\"".to_owned(),
    ]
}

fn task(client: &Client, agent: &str) -> Value {
    let body = json!({ "task": "Look.", "budget": { "time": "8s" } });
    let run = made(client, &format!("/api/chainbot/agents/{agent}/tasks?wait=50"), JSON, &body.to_string());
    client.get(&format!("/api/chainbot/runs/{}", run["id"].as_str().unwrap()))
}

fn ends(run: &Value, end: &End) -> bool {
    let result = run["output"]["result"].as_str().unwrap_or_default();
    match end {
        Answer(text, uses) => {
            run["status"] == "completed" && result == *text && run["output"]["tool_calls"] == *uses
        }
        Error(class, words) => {
            let message = run["error"]["message"].as_str().unwrap_or_default();
            run["status"] == "failed"
                && run["error"]["class"] == *class
                && message.contains(words)
                && !message.is_empty()
        }
    }
}

#[test]
fn whatever_a_model_server_does_each_task_ends_within_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let asked = Asked::default();
    let seen = asked.clone();
    let port = model_server::serve(move |stream| {
        let asked = asked.clone();
        // One that never ends must not keep the next from being heard.
        std::thread::spawn(move || drop(answer(&asked, stream)));
        Ok(())
    });
    let mut host = Host::with(&data, &settings(port));
    let Some(client) = host.ready(&data) else { panic!("{}", host.end().1) };
    let look =
        "name: look\nsteps:\n  - { id: a, type: set, config: { variables: { a: 1 } } }\noutput: done\n";
    made(&client, "/api/chainbot/workflows", "content-type: application/yaml\r\n", look);
    for name in FAULTS.iter().map(|(name, ..)| *name).chain(["well"]) {
        let agent = json!({ "name": name, "model": name, "tools": { "workflow": ["look"] } });
        made(&client, "/api/chainbot/agents", JSON, &agent.to_string());
    }
    assert_eq!(task(&client, "well")["output"]["result"], "Well.");
    let before = rss_kib(host.pid());
    let mut wrong = Vec::new();
    for (name, end, most) in FAULTS {
        let run = task(&client, name);
        let count = seen.lock().unwrap().get(*name).copied().unwrap_or(0);
        println!("{name}: {} after {count} requests; {}", run["status"], run["error"]);
        if !ends(&run, end) || !(1..=*most).contains(&count) {
            wrong.push(format!("{name}, asked {count} times: {run:#}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Whoever is well is not the worse for it.
    assert_eq!(task(&client, "well")["output"]["result"], "Well.");
    let grown = rss_kib(host.pid()).saturating_sub(before);
    println!("grown by {grown} KiB");
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB");
    host.terminate();
    assert_eq!(host.end().0, Some(0));
}

#[test]
fn an_agent_whose_tasks_keep_failing_takes_no_more_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let asked = Asked::default();
    let port = model_server::serve(move |stream| answer(&asked, stream));
    let mut host = Host::with(&data, &settings(port));
    let Some(client) = host.ready(&data) else { panic!("{}", host.end().1) };
    let agent = made(
        &client,
        "/api/chainbot/agents",
        JSON,
        r#"{"name":"butler","model":"no-json","instructions":"You help."}"#,
    );
    let topics = format!("/api/chainbot/events?topics=agent.{}.status", agent["id"].as_str().unwrap());
    let heard = BufReader::new(client.open("GET", &topics, "", "").unwrap());
    for _ in 0..3 {
        assert_eq!(task(&client, "butler")["status"], "failed");
    }
    let told = heard.lines().map_while(Result::ok).find(|line| line.contains("\"status\":\"error\""));
    let told = told.expect("the stream goes on until it is told");
    assert!(
        told.contains("\"agent_name\":\"butler\"") && told.contains("model_invalid") | told.contains("CB-"),
        "{told}"
    );
    let view = client.get("/api/chainbot/agents/butler");
    assert_eq!((&view["status"], &view["tasks_failed"]), (&json!("error"), &json!(3)), "{view}");
    let refused = client.send("POST", "/api/chainbot/agents/butler/tasks", JSON, r#"{"task":"x"}"#).unwrap();
    assert_eq!(refused.status, 409, "{}", refused.body);
    // Somebody has looked at it.
    let idle = client.send("PATCH", "/api/chainbot/agents/butler", JSON, r#"{"status":"idle"}"#).unwrap();
    assert_eq!((idle.status, &idle.body["status"]), (200, &json!("idle")), "{}", idle.body);
    host.terminate();
    assert_eq!(host.end().0, Some(0));
}
