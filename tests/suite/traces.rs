//! Traces at a collector that reads them: a run arrives whole, with its token, after refusals and after a crash.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Server, data};

/// Only turns a hanging test into a failing one.
const HANG: Duration = Duration::from_secs(180);
const YAML: &str = "content-type: application/yaml";
const JSON: &str = "content-type: application/json";
const CANARY: &str = "canary-of-a-trace-55d1";
const STEPS: &str = "name: steps\ninputs: { type: object, properties: { x: { type: string } } }\nsteps:\n  - { id: one, type: set, config: { variables: { x: inputs.x } } }\n  - { id: two, type: set, config: { variables: { y: \"1\" } } }\noutput: \"{{ vars.x }}\"\n";

/// One request: its head in lower case, and its body.
struct Sent {
    head: String,
    body: Value,
}

impl Sent {
    fn spans(&self) -> &Vec<Value> {
        self.body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap()
    }

    /// The run whose trace it is.
    fn run(&self) -> String {
        self.spans()[0]["traceId"].as_str().unwrap().to_owned()
    }
}

/// A collector that answers with these, and then with 200.
fn collector(answers: &[u16]) -> (String, Receiver<Sent>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (came, all) = channel();
    let mut answers: VecDeque<u16> = answers.iter().copied().collect();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                let line = line.to_lowercase();
                if let Some(bytes) = line.strip_prefix("content-length: ") {
                    length = bytes.trim().parse().unwrap();
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            if length == 0 || reader.read_exact(&mut body).is_err() {
                continue;
            }
            let status = answers.pop_front().unwrap_or(200);
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
            );
            if came.send(Sent { head, body: serde_json::from_slice(&body).unwrap() }).is_err() {
                return;
            }
        }
    });
    (format!("http://{address}"), all)
}

fn run(server: &Server) -> String {
    let body = json!({ "inputs": { "x": CANARY } }).to_string();
    let started = server.port.ask("POST workflows/steps/runs", &[JSON], &body);
    assert_eq!(started.status, 201, "{}", started.body);
    started.json()["id"].as_str().unwrap().replace('-', "")
}

#[test]
fn a_run_arrives_as_one_trace_with_the_token_of_its_collector() {
    let folder = tempfile::tempdir().unwrap();
    let (endpoint, came) = collector(&[]);
    let settings =
        [format!("monitoring.traces.endpoint={endpoint}"), "monitoring.traces.token=collector".to_owned()];
    let server = Server::start_with(&data(&folder), &settings.each_ref().map(String::as_str));
    let made = server.port.ask("POST workflows", &[YAML], STEPS);
    assert_eq!(made.status, 201, "{}", made.body);
    let id = run(&server);
    // Until the secret is there the trace waits, and then it is sent.
    let secret = json!({ "value": "token-of-it", "hosts": [endpoint] }).to_string();
    assert_eq!(server.port.ask("PUT secrets/collector", &[JSON], &secret).status, 201);
    let sent = came.recv_timeout(HANG).unwrap();
    assert!(sent.head.starts_with("post /v1/traces http/1.1\r\n"), "{}", sent.head);
    assert!(sent.head.contains("authorization: bearer token-of-it\r\n"), "{}", sent.head);
    assert_eq!(sent.run(), id, "a trace's id is its run's");
    let names: Vec<&str> = sent.spans().iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["run steps", "set one", "set two"]);
    let root = &sent.spans()[0];
    assert!(sent.spans()[1..].iter().all(|span| span["parentSpanId"] == root["spanId"]));
    let nanos = |span: &Value, key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
    for span in sent.spans() {
        let (start, end) = (nanos(span, "startTimeUnixNano"), nanos(span, "endTimeUnixNano"));
        assert!(start <= end && nanos(root, "startTimeUnixNano") <= start, "{span}");
    }
    assert!(!sent.body.to_string().contains(CANARY), "what runs are given is in no trace: {}", sent.body);
}

#[test]
fn a_collector_that_is_away_gets_its_traces_later_also_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    let (endpoint, came) = collector(&[503, 429, 400]);
    let setting = format!("monitoring.traces.endpoint={endpoint}");
    let server = Server::start_with(&data, &[&setting]);
    let made = server.port.ask("POST workflows", &[YAML], STEPS);
    assert_eq!(made.status, 201, "{}", made.body);
    let first = run(&server);
    // Refused for now: the same trace again, and once more after a crash.
    assert_eq!(came.recv_timeout(HANG).unwrap().run(), first);
    server.kill();
    let server = Server::start_with(&data, &[&setting]);
    assert_eq!(came.recv_timeout(HANG).unwrap().run(), first);
    let third = came.recv_timeout(HANG).unwrap();
    assert_eq!(third.run(), first);
    // That was a refusal for good, so the next trace is the next run's, and each comes once.
    let second = run(&server);
    loop {
        let sent = came.recv_timeout(HANG).unwrap().run();
        if sent == second {
            break;
        }
        // At least once: a crash may come between a trace and the note that it was sent.
        assert_eq!(sent, first);
    }
    server.stop();
    // A start begins where it was.
    let server = Server::start_with(&data, &[&setting]);
    let after = run(&server);
    assert_eq!(came.recv_timeout(HANG).unwrap().run(), after);
}
