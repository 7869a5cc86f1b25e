//! A workflow agent in the shipped module looks after runs: failed ones are taken up again, late ones are cancelled, and what is not its is left alone.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::crash::client::Client;
use crate::crash::host::Host;

const JSON: &str = "content-type: application/json\r\n";
const YAML: &str = "content-type: application/yaml\r\n";

/// A server that answers so many requests with 500, and then well.
fn serve(bad: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let left = Arc::new(AtomicUsize::new(bad));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that went away is its own affair.
            let _ = stream.and_then(|stream| answer(stream, &left));
        }
    });
    port
}

fn answer(mut stream: TcpStream, left: &AtomicUsize) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        line.clear();
    }
    let is_bad = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    let status = if is_bad { "500 Internal Server Error" } else { "200 OK" };
    stream.write_all(
        format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}").as_bytes(),
    )
}

fn made(client: &Client, path: &str, kind: &str, body: &str) -> Value {
    let reply = client.send("POST", path, kind, body).unwrap();
    assert_eq!(reply.status, 201, "{path}: {}", reply.body);
    reply.body
}

#[test]
fn failed_runs_are_taken_up_again_late_ones_cancelled_and_others_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let port = serve(5);
    let grant = json!([{ "host": "127.0.0.1", "ports": [port], "why": "the test's server" }]);
    let mut host = Host::with(&data, &["api.port=0".to_owned(), format!("egress.grants={grant}")]);
    let Some(client) = host.ready(&data) else { panic!("{}", host.end().1) };
    for name in ["flaky", "strange"] {
        let source = format!(
            "name: {name}\nsteps:\n  - {{ id: ask, type: api_call, retry: {{ attempts: 1 }}, config: {{ url: \"http://127.0.0.1:{port}/\" }} }}\n"
        );
        made(&client, "/api/chainbot/workflows", YAML, &source);
    }
    made(
        &client,
        "/api/chainbot/workflows",
        YAML,
        "name: sleeper\nsteps:\n  - { id: nap, type: wait, config: { signal: never } }\n",
    );
    let foreman =
        json!({ "name": "foreman", "type": "workflow", "tools": { "workflow": ["flaky", "sleeper"] } });
    made(&client, "/api/chainbot/agents", JSON, &foreman.to_string());
    let start = |name: &str| {
        let run = made(&client, &format!("/api/chainbot/workflows/{name}/runs"), JSON, "{}");
        format!("/api/chainbot/runs/{}", run["id"].as_str().unwrap())
    };
    let flaky: Vec<String> = (0..3).map(|_| start("flaky")).collect();
    let strange = start("strange");
    client.wait_until(|| flaky.iter().chain([&strange]).all(|run| client.get(run)["status"] == "failed"));
    let sleeper = start("sleeper");

    let order = json!({ "on_failed": "retry", "retries": 2, "late": "1s", "on_late": "cancel" });
    let task = json!({ "task": { "supervise": order } });
    let run = made(&client, "/api/chainbot/agents/foreman/tasks?wait=50", JSON, &task.to_string());
    let report = &run["output"]["result"];
    assert_eq!(run["status"], "completed", "{run}");
    // Four failures are used up by the starts, so one run needs a second time.
    assert_eq!(
        (&report["completed"], &report["failed"], &report["cancelled"]),
        (&json!(3), &json!(0), &json!(1)),
        "{run}"
    );
    assert_eq!(
        (&report["workflows_managed"], &report["total"], &report["open"]),
        (&json!(2), &json!(4), &json!(0))
    );
    let retried: u64 =
        report["runs"].as_array().unwrap().iter().filter_map(|one| one["retried"].as_u64()).sum();
    assert_eq!(retried, 4, "{report}");
    assert_eq!(client.get(&sleeper)["status"], "cancelled");
    assert_eq!(client.get(&strange)["status"], "failed", "it is none of its business");

    // A workflow that was not granted cannot be named.
    let task = json!({ "task": { "supervise": { "workflows": ["strange"], "on_failed": "retry" } } });
    let run = made(&client, "/api/chainbot/agents/foreman/tasks?wait=50", JSON, &task.to_string());
    assert_eq!((&run["status"], &run["error"]["code"]), (&json!("failed"), &json!("CB-1225")), "{run}");
    host.terminate();
    assert_eq!(host.end().0, Some(0));
}
