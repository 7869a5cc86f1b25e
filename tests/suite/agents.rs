//! Agents in the shipped module, with a server of models that counts: killed at every boundary of a task's journal.
//!
//! A task asks its model four times and uses tools three times: a workflow that looks (`look`), one that acts (`act`), one that looks again. The server
//! ends the process before or after each of its own answers, and so does the receiver of the tools' requests. After the restart the task ends as it
//! would have, each call has been asked for once, at most one was sent twice, and the receiver has seen each tool's request under its key once or, where
//! it was under way, twice with the same key.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::crash::client::Client;
use crate::crash::host::{Host, Killer};

/// Requests of one kind, by their `Idempotency-Key`.
type Seen = BTreeMap<String, usize>;

#[derive(Default)]
struct World {
    models: Mutex<Seen>,
    tools: Mutex<Seen>,
    /// Boundaries that have passed; at `kill_at` the process is ended.
    passed: AtomicUsize,
    kill_at: AtomicUsize,
    killer: Mutex<Option<Killer>>,
    is_over: AtomicBool,
}

impl World {
    /// A boundary; says whether the process has just been ended here.
    fn boundary(&self) -> bool {
        let at = self.passed.fetch_add(1, Ordering::SeqCst);
        if at != self.kill_at.load(Ordering::SeqCst) {
            return false;
        }
        match self.killer.lock().unwrap().take() {
            Some(killer) => {
                killer.kill();
                true
            }
            None => false,
        }
    }
}

/// A server of models and of what tools call, on one port.
fn serve(world: Arc<World>) -> (u16, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        for stream in listener.incoming() {
            if world.is_over.load(Ordering::SeqCst) {
                return;
            }
            let world = world.clone();
            std::thread::spawn(move || {
                // A process that dies takes its connections along.
                let _ = stream.and_then(|stream| answer(&world, stream));
            });
        }
    });
    (port, thread)
}

fn answer(world: &World, stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let is_model = line.contains("/chat/completions");
    let (mut length, mut key) = (0, String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        } else if let Some(value) = lower.strip_prefix("idempotency-key:") {
            key = value.trim().to_owned();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let seen = if is_model { &world.models } else { &world.tools };
    *seen.lock().unwrap().entry(key).or_insert(0) += 1;
    if world.boundary() {
        return Ok(());
    }
    let mut stream = stream;
    match is_model {
        true => stream.write_all(model(&body).as_bytes())?,
        false => {
            let text = json!({ "moisture": 31 }).to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                text.len()
            );
            stream.write_all(head.as_bytes())?;
            stream.write_all(text.as_bytes())?;
        }
    }
    stream.flush()?;
    drop(stream);
    world.boundary();
    Ok(())
}

/// What the model says next: which it tells from the results that it is shown.
fn model(body: &Value) -> String {
    let results =
        body["messages"].as_array().into_iter().flatten().filter(|message| message["role"] == "tool").count();
    let call = |name: &str| {
        json!({ "role": "assistant", "content": null, "tool_calls": [
            { "index": 0, "id": format!("call_{results}"), "type": "function", "function": { "name": name, "arguments": format!("{{\"zone\":\"{results}\"}}") } },
        ] })
    };
    let (delta, reason) = match results {
        0 => (call("run_look"), "tool_calls"),
        1 => (call("run_act"), "tool_calls"),
        2 => (call("run_look"), "tool_calls"),
        _ => (json!({ "role": "assistant", "content": "Zone 1 was watered." }), "stop"),
    };
    let chunk = |value: Value| format!("data: {value}\n\n");
    let events = [
        chunk(json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })),
        chunk(json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })),
        chunk(json!({ "choices": [], "usage": { "prompt_tokens": 100, "completion_tokens": 10 } })),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{events}")
}

fn settings(port: u16) -> Vec<String> {
    let grant = json!([{ "host": "127.0.0.1", "ports": [port], "why": "the test's receiver" }]);
    let models = json!({ "local": { "kind": "openai", "base_url": format!("http://127.0.0.1:{port}/v1") } });
    let model =
        json!({ "home": { "provider": "local", "model": "m", "context": 8192, "dialect": "native" } });
    vec![
        "api.port=0".to_owned(),
        "api.rate_limit_per_token=0".to_owned(),
        format!("egress.grants={grant}"),
        format!("models.providers={models}"),
        format!("models.models={model}"),
        "models.default=\"home\"".to_owned(),
    ]
}

/// The two workflows and the agent.
fn define(client: &Client, port: u16) {
    let inputs = "inputs: { type: object, properties: { zone: { type: string } }, required: [zone], additionalProperties: false }";
    for (name, method) in [("look", "GET"), ("act", "POST")] {
        let source = format!(
            "name: {name}\n{inputs}\nsteps:\n  - id: ask\n    type: api_call\n    config: {{ url: \"http://127.0.0.1:{port}/{name}/{{{{ inputs.zone }}}}\", method: {method}, idempotency: key }}\n\
             output: \"{{{{ steps.ask.output.data }}}}\"\n"
        );
        let made = client
            .send("POST", "/api/chainbot/workflows", "Content-Type: application/yaml\r\n", &source)
            .unwrap();
        assert_eq!(made.status, 201, "{}", made.body);
    }
    let agent = json!({ "name": "gardener", "instructions": "You keep a garden.", "tools": { "workflow": ["look", "act"] } });
    let made = client
        .send("POST", "/api/chainbot/agents", "Content-Type: application/json\r\n", &agent.to_string())
        .unwrap();
    assert_eq!(made.status, 201, "{}", made.body);
}

/// Waits, woken by every event, until `done` holds or the process has ended.
fn wait(client: &Client, mut done: impl FnMut() -> bool) {
    let Ok(stream) = client.open("GET", "/api/chainbot/events", "", "") else { return };
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while !done() {
        line.clear();
        match lines.read_line(&mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// One task, ended at one boundary; says whether that boundary was reached.
fn case(kill_at: usize) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let world = Arc::new(World::default());
    world.kill_at.store(kill_at, Ordering::SeqCst);
    let (port, server) = serve(world.clone());
    let set = settings(port);
    let mut host = Host::with(&data, &set);
    let Some(client) = host.ready(&data) else { panic!("{}", host.end().1) };
    define(&client, port);
    *world.killer.lock().unwrap() = Some(host.killer());
    let task = json!({ "task": "Water what needs it." }).to_string();
    let headers = "Content-Type: application/json\r\nIdempotency-Key: one\r\n";
    let started = client.send("POST", "/api/chainbot/agents/gardener/tasks", headers, &task).unwrap();
    assert_eq!(started.status, 201, "{}", started.body);
    let run = format!("/api/chainbot/runs/{}", started.body["id"].as_str().unwrap());
    let is_over = |client: &Client| {
        let Ok(reply) = client.send("GET", &run, "", "") else { return true };
        matches!(reply.body["status"].as_str(), Some("completed" | "failed" | "cancelled"))
    };
    wait(&client, || is_over(&client));
    let was_killed = world.killer.lock().unwrap().take().is_none();
    let (host, client) = if was_killed {
        host.end();
        let mut next = Host::with(&data, &set);
        let Some(client) = next.ready(&data) else { panic!("{}", next.end().1) };
        wait(&client, || is_over(&client));
        (next, client)
    } else {
        (host, client)
    };
    let view = client.get(&run);
    let steps = client.get(&format!("{run}/steps"));
    assert_eq!(view["status"], "completed", "killed at {kill_at}: {view}\n{steps}");
    assert_eq!(view["output"]["result"], "Zone 1 was watered.", "{view}");
    assert_eq!((&view["output"]["turns"], &view["output"]["tool_calls"]), (&json!(4), &json!(3)), "{view}");
    let models = world.models.lock().unwrap().clone();
    let tools = world.tools.lock().unwrap().clone();
    let again = |seen: &Seen| seen.values().map(|count| count - 1).sum::<usize>();
    assert_eq!((models.len(), tools.len()), (4, 3), "killed at {kill_at}: {models:?} {tools:?}");
    assert!(again(&models) + again(&tools) <= 1, "killed at {kill_at}: {models:?} {tools:?}");
    let billed = view["output"]["usage"]["possibly_billed"].as_u64().unwrap() as usize;
    assert!(billed >= again(&models) && billed <= 1, "what may be paid twice is said: {view}");
    // Each workflow was started once for each call.
    let runs = client.get("/api/chainbot/runs?limit=50");
    assert_eq!(runs.as_array().unwrap().len(), 4, "killed at {kill_at}: {runs}");
    host.terminate();
    host.end();
    world.is_over.store(true, Ordering::SeqCst);
    let _ = TcpStream::connect(("127.0.0.1", port));
    server.join().unwrap();
    was_killed
}

#[test]
fn a_task_that_is_killed_at_any_boundary_ends_as_if_it_had_not_been() {
    let mut kills = 0;
    // Two boundaries for each of seven requests; one more passes without a kill.
    for kill_at in 0..15 {
        let was_killed = case(kill_at);
        assert_eq!(was_killed, kill_at < 14, "boundary {kill_at}");
        kills += usize::from(was_killed);
    }
    println!("{kills} kills");
}

#[test]
fn agents_that_nobody_needs_are_terminated_where_the_operator_wants_that() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut set = settings(9);
    set.extend(
        ["agent_idle_timeout=1", "agent_cleanup_interval=1"].map(|key| format!("agent_management.{key}")),
    );
    let mut host = Host::with(&data, &set);
    let Some(client) = host.ready(&data) else { panic!("{}", host.end().1) };
    let stream = client.open("GET", "/api/chainbot/events?topics=agent.*.status", "", "").unwrap();
    for agent in [json!({ "name": "forgotten" }), json!({ "name": "kept", "persistent": true })] {
        let made = client.send(
            "POST",
            "/api/chainbot/agents",
            "Content-Type: application/json\r\n",
            &agent.to_string(),
        );
        assert_eq!(made.unwrap().status, 201);
    }
    let mut told = BufReader::new(stream)
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    let end = told.find(|event| event["status"] == "terminated").expect("it is told");
    assert_eq!(end["agent_name"], "forgotten", "{end}");
    assert!(end["reason"].as_str().unwrap().contains("idle for 1 s"), "{end}");
    assert_eq!(client.get("/api/chainbot/agents/kept")["status"], "idle");
    host.terminate();
    assert_eq!(host.end().0, Some(0));
}

#[test]
fn what_an_agent_is_granted_must_be_there_when_it_is_made_or_changed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut host = Host::with(&data, &settings(9));
    let Some(client) = host.ready(&data) else { panic!("{}", host.end().1) };
    let send = |method: &str, path: &str, body: Value| {
        let headers = "Content-Type: application/json\r\n";
        client.send(method, &format!("/api/chainbot/agents{path}"), headers, &body.to_string()).unwrap()
    };
    let wrong = [
        (json!({ "tools": { "telepathy": {} } }), "telepathy"),
        (json!({ "tools": { "workflow": ["nowhere"] } }), "nowhere"),
        (json!({ "tools": { "mcp": { "nowhere": ["echo"] } } }), "nowhere"),
        (json!({ "tools": { "gpio": { "pins": ["nowhere"] } } }), "nowhere"),
        (json!({ "preset": "nobody" }), "nobody"),
        (json!({ "type": "data_processor", "config": { "pipeline": [{ "explode": 1 }] } }), "explode"),
    ];
    for (number, (mut body, word)) in wrong.clone().into_iter().enumerate() {
        body["name"] = json!(format!("agent-{number}"));
        let reply = send("POST", "", body);
        assert_eq!((reply.status, &reply.body["code"]), (422, &json!("CB-1230")), "{}", reply.body);
        assert!(reply.body["detail"].as_str().unwrap().contains(word), "{}", reply.body);
    }
    assert_eq!(send("POST", "", json!({ "name": "good", "tools": { "memory": {} } })).status, 201);
    let before = client.get("/api/chainbot/agents/good");
    let (patch, _) = wrong[0].clone();
    assert_eq!(send("PATCH", "/good", patch).body["code"], "CB-1230");
    assert_eq!(client.get("/api/chainbot/agents/good")["hash"], before["hash"], "nothing was changed");
    assert_eq!(client.get("/api/chainbot/agents").as_array().unwrap().len(), 1);
    host.terminate();
    assert_eq!(host.end().0, Some(0));
}
