//! How long a read of the API takes while a hundred come in a second, over two credentials: host-shim with the plugin, 1,000 finished runs.
//!
//! Requests are sent at fixed moments, whether the answer before came or not, and timed from the moment they were due: a server that stalls
//! shows it in every request that waited. The rate limit is the shipped one, 60 a second for each credential.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::startup::{Running, artifacts};
use super::stats::percentile;
use super::{Outcome, machine};

/// Runs that the lists are read from.
const RUNS: usize = 1_000;
/// Between two requests of one credential: 50 a second.
const PACE: Duration = Duration::from_millis(20);
/// What is read in turn.
const READS: [&str; 6] = ["runs", "runs?limit=200&status=completed", "workflows", "inbox", "health", "info"];
const WORKFLOW: &str = "name: read\nsteps: [{ id: a, type: set, config: { variables: { x: \"1\" } } }]\n";

/// Prints one row a kind of read.
pub fn measure(home: &Path, seconds: usize) -> Outcome<()> {
    let (host, module) = artifacts()?;
    let folder = tempfile::tempdir_in(home)?;
    let data = folder.path().join("data");
    let start = |more: &[&str]| -> Outcome<(Running, Door)> {
        let mut command = Command::new(&host);
        command
            .arg("run")
            .arg("--module")
            .arg(&module)
            .arg("--data")
            .arg(&data)
            .args(["--set", "api.port=0"])
            .args(more);
        let mut running = Running(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
        let out = running.0.stdout.take().ok_or("a pipe")?;
        let mut lines = BufReader::new(out).lines().map_while(Result::ok);
        if !lines.any(|line| line.starts_with("running")) {
            return Err("host-shim does not start".into());
        }
        // Reads on, so that the host never meets a closed pipe; ends with it.
        std::thread::spawn(move || lines.for_each(drop));
        let server: Value = serde_json::from_slice(&std::fs::read(data.join("server.json"))?)?;
        let address =
            server["url"].as_str().and_then(|url| url.strip_prefix("http://")).ok_or("an address")?;
        let token = std::fs::read_to_string(data.join("token"))?.trim().to_owned();
        Ok((running, Door { address: address.trim_end_matches('/').to_owned(), token }))
    };
    let (mut filling, door) = start(&["--set", "api.rate_limit_per_token=0"])?;
    door.connect()?.ask("POST", "workflows", "application/yaml", WORKFLOW)?;
    let mut connection = door.connect()?;
    for _ in 0..RUNS {
        connection.ask("POST", "workflows/read/runs", "application/json", "{}")?;
    }
    connection.ask(
        "POST",
        "users",
        "application/json",
        &json!({ "name": "mia", "role": "admin", "password": "a long word of nobody's" }).to_string(),
    )?;
    let token = json!({ "name": "bench", "user": "mia", "days": 1, "scopes": ["chainbot:read"] }).to_string();
    let made: Value = serde_json::from_str(&connection.ask("POST", "tokens", "application/json", &token)?)?;
    let second = made["token"].as_str().ok_or("a token")?.to_owned();
    drop(connection);
    filling.stop()?;

    let (mut running, door) = start(&[])?;
    let doors =
        [Door { address: door.address.clone(), token: door.token.clone() }, Door { token: second, ..door }];
    let timed = std::thread::scope(|scope| {
        let threads: Vec<_> = doors.iter().map(|door| scope.spawn(move || paced(door, seconds))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a client panicked")?)
            .collect::<Outcome<Vec<_>>>()
    })?;
    println!(
        "\nReads of the API, 100 a second over two credentials for {seconds} s, {RUNS} finished runs; from the moment each was due:\n"
    );
    println!("| read | requests | p50 ms | p99 ms | worst ms |\n|---|---:|---:|---:|---:|");
    let all: Vec<(usize, f64)> = timed.into_iter().flatten().collect();
    let row = |name: &str, times: &[f64]| {
        let worst = times.iter().copied().fold(0.0, f64::max);
        println!(
            "| {name} | {} | {:.2} | {:.2} | {worst:.2} |",
            times.len(),
            percentile(times, 0.5),
            percentile(times, 0.99)
        );
    };
    for (which, name) in READS.iter().enumerate() {
        let times: Vec<f64> = all.iter().filter(|(read, _)| *read == which).map(|(_, ms)| *ms).collect();
        row(&format!("`{name}`"), &times);
    }
    row("all", &all.iter().map(|(_, ms)| *ms).collect::<Vec<_>>());
    let status = format!("/proc/{}/status", running.0.id());
    println!("(RSS {:.1} MiB)", machine::field(&status, "VmRSS:")? as f64 / 1_024.0);
    running.stop()
}

/// One credential's requests: which read, and its milliseconds.
fn paced(door: &Door, seconds: usize) -> Outcome<Vec<(usize, f64)>> {
    let mut connection = door.connect()?;
    let (begun, count) = (Instant::now(), seconds as u32 * 50);
    let mut times = Vec::with_capacity(count as usize);
    for number in 0..count {
        let due = begun + PACE * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let which = number as usize % READS.len();
        connection.ask("GET", READS[which], "", "")?;
        times.push((which, due.elapsed().as_secs_f64() * 1e3));
    }
    Ok(times)
}

/// Where the API is, and a credential.
struct Door {
    address: String,
    token: String,
}

impl Door {
    fn connect(&self) -> Outcome<Connection> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Connection {
            stream: BufReader::new(stream),
            head: format!("host: {}\r\nauthorization: Bearer {}\r\n", self.address, self.token),
        })
    }
}

/// One connection that is kept.
struct Connection {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Connection {
    /// The body of an answer of 2xx.
    fn ask(&mut self, method: &str, path: &str, kind: &str, body: &str) -> Outcome<String> {
        let kind = if kind.is_empty() { String::new() } else { format!("content-type: {kind}\r\n") };
        let request = format!(
            "{method} /api/chainbot/{path} HTTP/1.1\r\n{}{kind}content-length: {}\r\n\r\n{body}",
            self.head,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err("the connection ended".into());
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let body = String::from_utf8(body)?;
        if status.starts_with('2') {
            Ok(body)
        } else {
            Err(format!("{method} {path}: {status} {body}").into())
        }
    }
}
