//! The live side over the real module: a WebSocket that is cut by SIGKILL goes on where it was, what is emitted reaches a waiting
//! run and whoever listens, and `chainbot events` shows it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use crate::server::{Door, Server, data};
use crate::support::chainbot;

/// Only turns a hanging test into a failing one.
const HANG: Duration = Duration::from_secs(120);

const TICKS: &str = "name: ticks\nsteps:\n  - id: many\n    type: loop\n    config:\n      times: 20\n      steps: [{ id: tick, type: set, checkpoint: true, config: { variables: { n: index } } }]\n";
const DOOR: &str = "name: door\nsteps:\n  - { id: open, type: wait, config: { event: user.door.open } }\n  - { id: say, type: notification, config: { message: opened } }\n";

struct Socket(WebSocket<TcpStream>);

impl Socket {
    fn open(door: &Door) -> Self {
        let stream = TcpStream::connect(&door.address).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        let mut request = format!("ws://{}/api/chainbot/ws", door.address).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", door.token).parse().unwrap());
        let mut socket = Self(client(request, stream).unwrap().0);
        assert_eq!(socket.frame().unwrap()["type"], "welcome");
        socket
    }

    fn subscribe(&mut self, topics: &[&str], since: Option<i64>) {
        let mut frame = json!({ "type": "subscribe", "topics": topics });
        if let Some(since) = since {
            frame["since"] = json!(since);
        }
        self.0.send(Message::Text(frame.to_string().into())).unwrap();
        assert_eq!(self.frame().unwrap()["type"], "subscribed");
    }

    /// The next frame; `None` when the connection is gone.
    fn frame(&mut self) -> Option<Value> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

fn deploy(server: &Server, source: &str) {
    let reply = server.port.ask("POST workflows", &["content-type: application/yaml"], source);
    assert_eq!(reply.status, 201, "{}", reply.body);
}

fn start(server: &Server, name: &str) -> String {
    let line = format!("POST workflows/{name}/runs");
    let reply = server.port.ask(&line, &["content-type: application/json"], "{}");
    assert_eq!(reply.status, 201, "{}", reply.body);
    reply.json()["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_socket_that_dies_with_its_server_goes_on_and_has_missed_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    let mut server = Server::start(&data);
    deploy(&server, TICKS);
    let (mut cursor, mut heard) = (0i64, BTreeSet::new());
    let mut runs = Vec::new();
    for round in 0..3 {
        let mut socket = Socket::open(&server.port);
        socket.subscribe(&["run.#"], Some(cursor));
        runs.push(start(&server, "ticks"));
        runs.push(start(&server, "ticks"));
        // Some frames, and then the plug.
        for _ in 0..10 + 25 * round {
            let frame = socket.frame().expect("the server is there");
            cursor = frame["seq"].as_i64().unwrap_or(cursor);
            heard.extend(frame["data"]["lsn"].as_i64());
        }
        server.kill();
        server = Server::start(&data);
    }
    let mut socket = Socket::open(&server.port);
    socket.subscribe(&["run.#"], Some(cursor));
    runs.push(start(&server, "ticks"));
    let is_over =
        |run: &String| server.port.ask(&format!("GET runs/{run}"), &[], "").json()["status"] == "completed";
    loop {
        let frame = socket.frame().expect("the server is there");
        heard.extend(frame["data"]["lsn"].as_i64());
        if frame["type"] == "run.completed" && runs.iter().all(is_over) {
            break;
        }
    }
    // Ask the journal what there was, and hold what was heard against it.
    let mut journal = BTreeSet::new();
    for run in &runs {
        let mut path = format!("GET runs/{run}/journal?limit=200");
        loop {
            let reply = server.port.ask(&path, &[], "");
            journal.extend(reply.json().as_array().unwrap().iter().filter_map(|one| one["lsn"].as_i64()));
            let Some(next) = reply.header("link").split(['<', '>']).nth(1).map(str::to_owned) else { break };
            path = format!("GET {next}");
        }
    }
    // What was committed behind the last frame is still on its way.
    while let Some(newest) = journal.last().filter(|newest| !heard.contains(*newest)).copied() {
        let frame = socket.frame().expect("the server is there");
        heard.extend(frame["data"]["lsn"].as_i64());
        assert!(heard.last().is_some_and(|lsn| *lsn <= newest));
    }
    let missed: Vec<_> = journal.difference(&heard).collect();
    assert!(missed.is_empty(), "missed {missed:?} of {}", journal.len());
    server.stop();
}

#[test]
fn what_is_emitted_wakes_a_run_and_is_told_and_the_log_and_notifications_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&data(&folder));
    let mut socket = Socket::open(&server.port);
    socket.subscribe(&["event.#", "notification", "workflow.door.*", "log.#", "run.*"], None);
    deploy(&server, DOOR);
    let run = start(&server, "door");
    while socket.frame().expect("the server is there")["data"]["event"] != "step.waiting" {}
    // A refusal is a line of the log.
    assert_eq!(server.port.bare("GET runs", &[], "").status, 401);
    let json_type = ["content-type: application/json"];
    let emit = |body: &str| server.port.ask("POST events", &json_type, body);
    assert_eq!(emit(r#"{"topic":"alex_os.door"}"#).json()["code"], "CB-0331");
    assert_eq!(emit(r#"{"topic":"user.door.open","data":{},"more":1}"#).status, 422);
    let reply = emit(r#"{"topic":"user.door.open","data":{"by":"mia"},"id":"e1"}"#);
    assert_eq!((reply.status, reply.json()["id"].as_str().unwrap().to_owned()), (202, "e1".to_owned()));
    server.wait_for("chainbot.workflow.completed", &run);
    assert!(server.events("user.door.open").iter().any(|event| event.to_string().contains("mia")));
    let mut kinds = BTreeSet::new();
    while !["event", "notification", "log"].iter().all(|kind| kinds.contains(*kind)) {
        let frame = socket.frame().expect("the server is there");
        if frame["type"] == "notification" {
            assert_eq!(frame["data"]["notification"]["message"], "opened");
        }
        kinds.insert(frame["type"].as_str().unwrap().to_owned());
    }
    let notifications = server.port.ask("GET notifications", &[], "").json();
    assert_eq!(
        (&notifications[0]["run"], &notifications[0]["notification"]["message"]),
        (&json!(run), &json!("opened"))
    );
    let lines = server.port.ask("GET logs?level=info", &[], "").json();
    let lines = lines.as_array().unwrap();
    assert!(!lines.is_empty() && lines.iter().all(|line| line["level"] != "debug"), "{lines:?}");
    assert_eq!(server.port.ask("GET logs?level=loud", &[], "").json()["code"], "CB-0016");
    // The same over the host's door, where a WebSocket is none.
    let upgrade = ["connection: upgrade", "upgrade: websocket"];
    assert_eq!(server.host.ask("GET ws", &upgrade, "").status, 501);
    assert_eq!(server.host.ask("GET notifications", &[], "").json(), notifications);
    server.stop();
}

#[test]
fn chainbot_events_follows_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    let server = Server::start(&data);
    deploy(&server, TICKS);
    let first = start(&server, "ticks");
    let mut follower = Command::new(chainbot())
        .args(["events", "--topic", "workflow.*.run", "--since", "0", "--count", "6", "--json", "--data"])
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    assert_eq!((&line["type"], &line["data"]["event"]), (&json!("run.state"), &json!("run.created")));
    server.wait_for("chainbot.workflow.completed", &first);
    server.kill();
    let server = Server::start(&data);
    let second = start(&server, "ticks");
    let rest: Vec<Value> = lines.map(|line| serde_json::from_str(&line).unwrap()).collect();
    assert!(follower.wait().unwrap().success());
    let ends: Vec<&Value> = rest.iter().filter(|one| one["data"]["status"] == "completed").collect();
    assert_eq!(
        ends.iter().map(|one| one["data"]["run"].as_str().unwrap()).collect::<Vec<_>>(),
        [&first, &second]
    );
    server.stop();
}
