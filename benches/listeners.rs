//! Many WebSocket clients on one server: how long from the moment at which something is decided until each of them has it.
//!
//! The server is host-shim with the plugin, the clients live in this process, and both share the machine's processors, which a
//! real crowd of clients would not. A frame's `time` is when its record was decided, so what is measured holds the commit, the
//! rendering, five hundred writes and reads, and the clock's millisecond.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::Outcome;
use super::startup::{Running, artifacts, first_answer};
use super::stats::percentile;

/// WebSockets that one user may have.
const PER_USER: usize = 64;
/// Between two starts of runs.
const PACE: Duration = Duration::from_millis(100);
/// Each run makes two events that every client hears of: its start and its end.
const EVENTS_A_RUN: usize = 2;
const WORKFLOW: &str =
    "name: tick\nsteps:\n  - { id: one, type: set, config: { variables: { x: \"1\" } } }\n";

/// Prints the times of a crowd.
pub fn measure(home: &Path, clients: usize, runs: usize) -> Outcome<()> {
    let (host, module) = artifacts()?;
    let folder = tempfile::tempdir_in(home)?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let data = folder.path().join("data");
    let mut running = Running(
        Command::new(&host)
            .arg("run")
            .arg("--module")
            .arg(&module)
            .arg("--data")
            .arg(&data)
            .args(["--set", &format!("api.port={port}"), "--set", "websocket.max_connections=1000"])
            .args(["--set", "api.rate_limit_per_token=0", "--http", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?,
    );
    first_answer(port, Instant::now())?;
    let api = Api { port, token: std::fs::read_to_string(data.join("token"))?.trim().to_owned() };
    let tokens = api.tokens(clients.div_ceil(PER_USER))?;
    api.ask("POST workflows", "application/yaml", WORKFLOW)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let times = runtime.block_on(crowd(&api, &tokens, clients, runs))?;
    running.stop()?;
    let expected = clients * runs * EVENTS_A_RUN;
    println!(
        "\n{clients} WebSocket clients, {runs} runs at {} a second, {} of {expected} frames:\n",
        1_000 / PACE.as_millis(),
        times.len()
    );
    println!("| | p50 | p99 | worst |\n|---|---:|---:|---:|");
    let at = |share: f64| percentile(&times, share);
    println!("| decided to received | {:.0} ms | {:.0} ms | {:.0} ms |", at(0.5), at(0.99), at(1.0));
    Ok(())
}

/// Milliseconds from each event to each client.
async fn crowd(api: &Api, tokens: &[String], clients: usize, runs: usize) -> Outcome<Vec<f64>> {
    let (sender, mut received) = mpsc::unbounded_channel();
    let ready = Arc::new(AtomicUsize::new(0));
    for number in 0..clients {
        let (port, token) = (api.port, tokens[number / PER_USER].clone());
        let (sender, ready) = (sender.clone(), ready.clone());
        // Ends with the runtime.
        tokio::spawn(async move {
            if let Err(error) = client(port, &token, &sender, &ready).await {
                println!("client {number}: {error}");
            }
        });
    }
    drop(sender);
    let begun = Instant::now();
    while ready.load(Ordering::Relaxed) < clients {
        if begun.elapsed() > Duration::from_secs(60) {
            return Err(format!("only {} clients came in", ready.load(Ordering::Relaxed)).into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let starter = Api { port: api.port, token: api.token.clone() };
    // Joined below.
    let starting = tokio::task::spawn_blocking(move || -> Outcome<()> {
        for _ in 0..runs {
            let next = Instant::now() + PACE;
            starter.ask("POST workflows/tick/runs", "application/json", "{}")?;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(())
    });
    let mut times = Vec::with_capacity(clients * runs * EVENTS_A_RUN);
    while times.len() < clients * runs * EVENTS_A_RUN {
        match tokio::time::timeout(Duration::from_secs(30), received.recv()).await {
            Ok(Some(time)) => times.push(time),
            // What is missing shows in the line that is printed.
            _ => break,
        }
    }
    starting.await??;
    Ok(times)
}

async fn client(
    port: u16,
    token: &str,
    times: &mpsc::UnboundedSender<f64>,
    ready: &AtomicUsize,
) -> Outcome<()> {
    let mut request = format!("ws://127.0.0.1:{port}/api/chainbot/ws").into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    let subscribe = json!({ "type": "subscribe", "topics": ["run.*.started", "run.*.completed"] });
    socket.send(Message::Text(subscribe.to_string().into())).await?;
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else { continue };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3;
        let frame: Value = serde_json::from_str(&text)?;
        match frame["type"].as_str() {
            Some("subscribed") => drop(ready.fetch_add(1, Ordering::Relaxed)),
            Some("run.started" | "run.completed") => {
                let time: jiff::Timestamp = frame["time"].as_str().unwrap_or_default().parse()?;
                // A receiver that has what it wanted has left.
                let _ = times.send(now - time.as_millisecond() as f64);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The least client of the API.
pub struct Api {
    /// Where.
    pub port: u16,
    /// As whom.
    pub token: String,
}

impl Api {
    /// One request that must be answered well.
    pub fn ask(&self, line: &str, media: &str, body: &str) -> Outcome<Value> {
        let (method, path) = line.split_once(' ').ok_or("a line is a method and a path")?;
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(
            format!(
                "{method} /api/chainbot/{path} HTTP/1.0\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
                 content-type: {media}\r\ncontent-length: {}\r\n\r\n{body}",
                self.token,
                body.len()
            )
            .as_bytes(),
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or("no answer")?;
        if !head.starts_with("HTTP/1.0 20") && !head.starts_with("HTTP/1.1 20") {
            return Err(format!("{line}: {text}").into());
        }
        Ok(serde_json::from_str(body)?)
    }

    /// A token of each of so many users.
    fn tokens(&self, users: usize) -> Outcome<Vec<String>> {
        (0..users)
            .map(|number| {
                let name = format!("user{number}");
                let user = json!({ "name": name, "role": "admin", "password": "three words apart" });
                self.ask("POST users", "application/json", &user.to_string())?;
                let token = json!({ "name": "bench", "scopes": ["chainbot:read"], "user": name });
                let made = self.ask("POST tokens", "application/json", &token.to_string())?;
                Ok(made["token"].as_str().unwrap_or_default().to_owned())
            })
            .collect()
    }
}
