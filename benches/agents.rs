//! What the loop of a task costs over its model's own time, and what an agent at work costs in memory.
//!
//! The model is a server in this process that answers at once, so that the gap between the end of one answer and the arrival of the next request is
//! the loop's: gather the reply, commit it, use the tool it asked for, commit that, build the next prompt, commit that it is asked, connect. The server
//! is host-shim with the plugin, and both share the machine's processors.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::listeners::Api;
use super::startup::{Running, artifacts, first_answer};
use super::stats::{median, percentile};
use super::{Outcome, machine};

/// Turns of a task that use a tool; one more answers.
const TOOL_TURNS: usize = 8;
/// How long all agents may take to reach their model.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Seen {
    /// When the last answer was written.
    answered: Option<Instant>,
    /// Milliseconds.
    gaps: Vec<f64>,
    /// Requests that are not answered.
    stalled: usize,
}

#[derive(Default)]
struct Model {
    seen: Mutex<Seen>,
    changed: Condvar,
}

/// Prints both.
pub fn measure(home: &Path, tasks: usize, agents: usize) -> Outcome<()> {
    let (host, module) = artifacts()?;
    let folder = tempfile::tempdir_in(home)?;
    let model = Arc::new(Model::default());
    let model_port = serve(model.clone())?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let data = folder.path().join("data");
    let providers =
        json!({ "here": { "kind": "openai", "base_url": format!("http://127.0.0.1:{model_port}/v1") } });
    let models = json!({ "m": { "provider": "here", "model": "m", "context": 32_768, "dialect": "native" } });
    let room = agents + 1;
    let mut running = Running(
        Command::new(&host)
            .arg("run")
            .arg("--module")
            .arg(&module)
            .arg("--data")
            .arg(&data)
            .args(["--set", &format!("api.port={port}"), "--set", "api.rate_limit_per_token=0"])
            .args(["--set", &format!("models.providers={providers}")])
            .args(["--set", &format!("models.models={models}"), "--set", "models.default=\"m\""])
            .args(["--set", &format!("agent_management.max_agents={room}")])
            .args(["--set", &format!("agent_management.agent_types.assistant.max_instances={room}")])
            .args(["--set", &format!("workflow_engine.max_concurrent_workflows={room}")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?,
    );
    first_answer(port, Instant::now())?;
    let api = Api { port, token: std::fs::read_to_string(data.join("token"))?.trim().to_owned() };

    let worker = json!({
        "name": "worker", "instructions": "You look things up.", "tools": { "memory": {} },
        "budget": { "turns": TOOL_TURNS + 2, "tool_calls": TOOL_TURNS + 2 },
    });
    api.ask("POST agents", "application/json", &worker.to_string())?;
    let before = machine::fsyncs(home, 100)?;
    for _ in 0..tasks {
        model.seen.lock().map_err(|_| "the model's server panicked")?.answered = None;
        let run = api.ask("POST agents/worker/tasks?wait=20", "application/json", r#"{"task":"Look."}"#)?;
        if run["status"] != "completed" {
            return Err(format!("a task did not end: {run}").into());
        }
    }
    let seconds = [before, machine::fsyncs(home, 100)?].concat();
    let fsyncs: Vec<f64> = seconds.iter().map(|second| second * 1e3).collect();
    let gaps = std::mem::take(&mut model.seen.lock().map_err(|_| "the model's server panicked")?.gaps);
    println!(
        "\nAn agent's loop: {tasks} tasks of {TOOL_TURNS} turns with a tool each, from the end of a model's answer to the next request:\n"
    );
    println!("| | p50 | p99 |\n|---|---:|---:|");
    println!("| gap, with all its commits | {:.2} ms | {:.2} ms |", median(&gaps), percentile(&gaps, 0.99));
    println!("| one fsync of this disk | {:.3} ms | {:.3} ms |", median(&fsyncs), percentile(&fsyncs, 0.99));
    println!("({} gaps)", gaps.len());

    let status = format!("/proc/{}/status", running.0.id());
    for number in 0..agents {
        let agent = json!({ "name": format!("agent-{number}"), "instructions": "You wait." });
        api.ask("POST agents", "application/json", &agent.to_string())?;
    }
    let rest = machine::field(&status, "VmRSS:")?;
    for number in 0..agents {
        let task = r#"{"task":"Think about it."}"#;
        api.ask(&format!("POST agents/agent-{number}/tasks"), "application/json", task)?;
    }
    let seen = model.seen.lock().map_err(|_| "the model's server panicked")?;
    let (seen, late) = model
        .changed
        .wait_timeout_while(seen, PATIENCE, |seen| seen.stalled < agents)
        .map_err(|_| "the model's server panicked")?;
    if late.timed_out() {
        return Err(format!("only {} agents are at work", seen.stalled).into());
    }
    let work = machine::field(&status, "VmRSS:")?;
    let mib = |kib: u64| kib as f64 / 1_024.0;
    println!(
        "\n{agents} agents: {:.1} MiB resident at rest, {:.1} MiB when all wait for their model, {:.0} KiB each",
        mib(rest),
        mib(work),
        work.saturating_sub(rest) as f64 / agents as f64
    );
    running.0.kill()?;
    Ok(())
}

fn serve(model: Arc<Model>) -> Outcome<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let model = model.clone();
            std::thread::spawn(move || drop(answer(&model, stream)));
        }
    });
    Ok(port)
}

fn answer(model: &Model, mut stream: TcpStream) -> Outcome<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let arrived = Instant::now();
    let body: Value = serde_json::from_slice(&body)?;
    let messages = body["messages"].as_array().ok_or("no messages")?;
    if body.to_string().contains("You wait.") {
        model.seen.lock().map_err(|_| "poisoned")?.stalled += 1;
        model.changed.notify_all();
        // Until the other side goes away.
        let _ = reader.read(&mut [0])?;
        return Ok(());
    }
    let results = messages.iter().filter(|message| message["role"] == "tool").count();
    let (delta, reason) = if results < TOOL_TURNS {
        // Not the same question twice: that would be a loop.
        let arguments = json!({ "query": format!("thing number {results}") }).to_string();
        let call = json!({ "name": "memory_search", "arguments": arguments });
        let calls =
            json!([{ "index": 0, "id": format!("c{results}"), "type": "function", "function": call }]);
        (json!({ "role": "assistant", "content": null, "tool_calls": calls }), "tool_calls")
    } else {
        (json!({ "role": "assistant", "content": "Found." }), "stop")
    };
    let chunk = |value: Value| format!("data: {value}\n\n");
    let events = [
        chunk(json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })),
        chunk(json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })),
        chunk(json!({ "choices": [], "usage": { "prompt_tokens": 100, "completion_tokens": 10 } })),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    {
        let mut seen = model.seen.lock().map_err(|_| "poisoned")?;
        if let Some(answered) = seen.answered {
            seen.gaps.push(arrived.duration_since(answered).as_secs_f64() * 1e3);
        }
    }
    stream.write_all(format!("{head}{events}").as_bytes())?;
    model.seen.lock().map_err(|_| "poisoned")?.answered = Some(Instant::now());
    Ok(())
}
