//! Conversations in the shipped module: an answer is heard while the model still writes it, by who may hear it and by nobody else; what was said is in
//! the next prompt; and `chainbot chat` talks.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::chainbot;
use crate::crash::client::Client;
use crate::crash::host::Host;
use crate::model_server::{self, piece};

/// Turns a hang into a failure.
const HANG: Duration = Duration::from_secs(60);
const JSON: &str = "content-type: application/json\r\n";

/// A server of one model, which says how many messages of people it was shown, and stops in the middle until it is told to go on.
fn serve(go_on: Receiver<()>) -> u16 {
    model_server::serve(move |stream| answer(stream, &go_on))
}

fn answer(mut stream: TcpStream, go_on: &Receiver<()>) -> std::io::Result<()> {
    let body = model_server::body(&stream)?;
    let said = body["messages"].as_array().into_iter().flatten().filter(|message| message["role"] == "user");
    let said = said.count();
    let text = body.to_string();
    let rest = if text.contains("Summarise the conversation below") {
        "They counted.".to_owned()
    } else {
        let more = if text.contains("They counted.") { " More was said before." } else { "" };
        format!("{said} things.{more}")
    };
    model_server::head(&mut stream)?;
    let first = json!({ "role": "assistant", "content": "You have said " });
    stream.write_all(piece(&first, &Value::Null).as_bytes())?;
    stream.flush()?;
    go_on.recv_timeout(HANG).map_err(std::io::Error::other)?;
    stream.write_all(piece(&json!({ "content": rest }), &Value::Null).as_bytes())?;
    stream.write_all(piece(&json!({}), &json!("stop")).as_bytes())?;
    stream.write_all(b"data: [DONE]\n\n")
}

fn settings(port: u16) -> Vec<String> {
    model_server::settings(port, &json!({}))
}

/// Server-sent events of an answer.
pub struct Heard(BufReader<TcpStream>);

impl Heard {
    pub fn of(stream: TcpStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// The next event that is one: its type and its data. `None` at the end.
    pub fn next(&mut self) -> Option<(String, Value)> {
        let (mut kind, mut line) = (String::new(), String::new());
        loop {
            line.clear();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(word) = line.strip_prefix("event: ") {
                kind = word.trim().to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((kind, serde_json::from_str(data.trim()).unwrap()));
            }
        }
    }

    /// Skips to an event of a type.
    pub fn until(&mut self, kind: &str) -> Value {
        loop {
            let (other, data) = self.next().unwrap_or_else(|| panic!("no `{kind}` comes"));
            if other == kind {
                return data;
            }
        }
    }
}

pub fn made(client: &Client, path: &str, body: &Value) -> Value {
    let reply = client.send("POST", path, JSON, &body.to_string()).unwrap();
    assert_eq!(reply.status, 201, "{path}: {}", reply.body);
    reply.body
}

/// Somebody with an account, by a token of their own.
fn somebody(client: &Client, name: &str, role: &str) -> Client {
    made(
        client,
        "/api/chainbot/users",
        &json!({ "name": name, "password": "a long pass phrase", "role": role }),
    );
    let login = json!({ "name": name, "password": "a long pass phrase" });
    let reply = client.send("POST", "/api/chainbot/auth/login", JSON, &login.to_string()).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    client.with_token(reply.body["access_token"].as_str().unwrap())
}

#[test]
fn an_answer_is_heard_while_it_is_written_and_by_nobody_else_and_the_next_prompt_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (go_on, told) = channel();
    let mut host = Host::with(&data, &settings(serve(told)));
    let Some(client) = host.ready(&data) else { panic!("{}", host.end().1) };
    somebody(&client, "ann", "admin");
    let (mia, tom) = (somebody(&client, "mia", "editor"), somebody(&client, "tom", "editor"));
    made(&mia, "/api/chainbot/agents", &json!({ "name": "butler", "instructions": "You keep a house." }));
    let thread =
        made(&mia, "/api/chainbot/chat/threads", &json!({ "agent": "butler", "title": "The garden" }));
    let path = format!("/api/chainbot/chat/threads/{}/messages", thread["id"].as_str().unwrap());
    let mut stranger =
        Heard::of(tom.open("GET", "/api/chainbot/events?topics=agent.*.*,event.user.*", "", "").unwrap());

    let headers = format!("{JSON}accept: text/event-stream\r\n");
    let mut heard = Heard::of(mia.open("POST", &path, &headers, r#"{"text":"One."}"#).unwrap());
    let (kind, task) = heard.next().unwrap();
    assert_eq!(kind, "task", "{task}");
    let delta = heard.until("agent.delta");
    assert_eq!(delta["text"], "You have said ", "{delta}");
    assert_eq!(
        mia.get(&format!("/api/chainbot/runs/{}", task["run"].as_str().unwrap()))["status"],
        "running"
    );
    go_on.send(()).unwrap();
    assert_eq!(heard.until("agent.delta")["text"], "1 things.");
    assert_eq!(heard.until("agent.usage")["run"], task["run"]);
    let end = heard.until("agent.task");
    assert_eq!((&end["status"], &end["result"]), (&json!("completed"), &json!("You have said 1 things.")));
    assert_eq!(heard.next(), None, "it ends with the task");

    // What was said before is in the next prompt.
    go_on.send(()).unwrap();
    let run = made(&mia, &format!("{path}?wait=30"), &json!({ "text": "Two." }));
    assert_eq!(run["output"]["result"], "You have said 2 things.", "{run}");
    let said = mia.get(&path);
    let texts: Vec<&str> = said.as_array().unwrap().iter().filter_map(|one| one["text"].as_str()).collect();
    assert_eq!(texts, ["One.", "You have said 1 things.", "Two.", "You have said 2 things."], "{said}");

    // All of it has passed the other listener by.
    let reply = client.send("POST", "/api/chainbot/events", JSON, r#"{"topic":"user.end"}"#).unwrap();
    assert_eq!(reply.status, 202, "{}", reply.body);
    let (kind, data) = stranger.next().unwrap();
    assert_eq!((kind.as_str(), &data["topic"]), ("event", &json!("user.end")), "{data}");
    host.terminate();
    assert_eq!(host.end().0, Some(0));
}

#[test]
fn what_leaves_the_window_is_put_in_short_and_stays_known() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (go_on, told) = channel();
    let mut host = Host::with(&data, &settings(serve(told)));
    let Some(client) = host.ready(&data) else { panic!("{}", host.end().1) };
    made(&client, "/api/chainbot/agents", &json!({ "name": "butler" }));
    let thread = made(&client, "/api/chainbot/chat/threads", &json!({ "agent": "butler" }));
    let path = format!("/api/chainbot/chat/threads/{}/messages?wait=50", thread["id"].as_str().unwrap());
    let mut folded = 0;
    for number in 1..=6 {
        // One for the answer, and one for the summary where there is one.
        go_on.send(()).unwrap();
        go_on.send(()).unwrap();
        let text = format!("Thing {number}: {}", "word ".repeat(500));
        let run = made(&client, &path, &json!({ "text": text }));
        assert_eq!(run["status"], "completed", "{run}");
        let steps = client.get(&format!("/api/chainbot/runs/{}/steps", run["id"].as_str().unwrap()));
        let is_fold = |step: &&Value| step["step_id"] == "fold" || step["id"] == "fold";
        let fold = steps.as_array().unwrap().iter().find(is_fold);
        folded += usize::from(fold.is_some());
        let result = run["output"]["result"].as_str().unwrap();
        assert_eq!(result.ends_with("More was said before."), folded > usize::from(fold.is_some()), "{run}");
    }
    assert!(folded >= 1, "nothing left the window");
    host.terminate();
    assert_eq!(host.end().0, Some(0));
}

#[test]
fn the_command_talks_and_goes_on_with_a_conversation() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (go_on, told) = channel();
    let mut host = Host::with(&data, &settings(serve(told)));
    let Some(client) = host.ready(&data) else { panic!("{}", host.end().1) };
    made(&client, "/api/chainbot/agents", &json!({ "name": "butler" }));
    go_on.send(()).unwrap();
    let place = data.to_str().unwrap();
    let first = chainbot(folder.path(), &["chat", "butler", "Hello.", "--data", place, "--json"]);
    let report: Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!(report["run"]["output"]["result"], "You have said 1 things.", "{report}");
    go_on.send(()).unwrap();
    let thread = report["thread"].as_str().unwrap();
    let second = chainbot(folder.path(), &["chat", "butler", "Again.", "--data", place, "--thread", thread]);
    assert_eq!((second.code, second.stdout.as_str()), (0, "You have said 2 things.\n"), "{}", second.stderr);
    host.terminate();
    assert_eq!(host.end().0, Some(0));
}
