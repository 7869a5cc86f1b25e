//! Secrets by the command line, with a server and without; and one whole run after which the value is nowhere but where it was
//! sent.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli;
use crate::server::{Door, Server, data};

/// Only turns a command that waits for input into a failing test.
const HANG: Duration = Duration::from_secs(60);
/// Looked for afterwards, as it is and as it would look in base64.
const CANARY: &str = "canary-5f0c-9b1e-value";
const CANARY_BASE64: &str = "Y2FuYXJ5LTVmMGMtOWIxZS12YWx1Z";
const JSON: &str = "content-type: application/json";

/// A command with this on its standard input, which ends there. Whoever reads on gets the end, and whoever hangs is killed.
fn with_input(folder: &Path, line: &str, input: &str) -> Output {
    let words: Vec<&str> = line.split(' ').chain(["--data", "data"]).collect();
    let mut command = cli::command(folder, &words);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    // A command that reads nothing may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let pid = child.id().to_string();
    let (sender, ended) = channel();
    let waits = std::thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    let output = ended.recv_timeout(HANG).unwrap_or_else(|_| {
        let _ = std::process::Command::new("kill").args(["-s", "KILL", &pid]).status();
        panic!("`chainbot {line}` does not end");
    });
    waits.join().unwrap().unwrap();
    output
}

fn said(output: &Output) -> (i32, String) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8(text).unwrap())
}

/// Every file below a folder that holds the value, and what was said that does.
fn leaks(folder: &Path, told: &[String]) -> Vec<String> {
    let mut found: Vec<String> = told.iter().filter(|text| holds(text.as_bytes())).cloned().collect();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            match path.is_dir() {
                true => open.push(path),
                // A socket of the host holds nothing.
                false if path.is_file() && holds(&std::fs::read(&path).unwrap()) => {
                    found.push(path.display().to_string());
                }
                false => {}
            }
        }
    }
    found
}

fn holds(bytes: &[u8]) -> bool {
    [CANARY, CANARY_BASE64]
        .iter()
        .any(|text| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

/// The same lines on a data folder, whoever serves it.
fn set_list_and_remove(folder: &Path) {
    let mut told = Vec::new();
    let mut check = |line: &str, input: &str, code: i32, wanted: &str| {
        let (got, text) = said(&with_input(folder, line, input));
        assert_eq!(got, code, "{line}: {text}");
        assert!(text.contains(wanted), "{line}: {wanted:?} is not in {text:?}");
        told.push(text);
    };
    check("secret list", "", 0, "no secrets");
    let set = "secret set api_key --host api.example.com";
    check(set, &format!("{CANARY}\n"), 0, "secret `api_key` is stored (version 1)");
    check(&format!("{set} --json"), CANARY, 0, "\"version\": 2");
    check("secret set signs --json", CANARY, 0, "\"hosts\": []");
    check("secret list", "", 0, "api.example.com");
    check("secret list --json", "", 0, "\"readable\": true");
    // Nothing on standard input: refused at once, not waited for.
    check(set, "", 2, "CB-");
    check("secret set Not-A-Name", CANARY, 2, "CB-");
    check("secret set api_key --host http://", CANARY, 2, "CB-");
    check("secret remove nobody", "", 2, "CB-");
    check("secret remove signs", "", 0, "secret `signs` is removed");
    check("secret remove api_key --json", "", 0, "\"removed\": \"api_key\"");
    check("secret list", "", 0, "no secrets");
    assert_eq!(leaks(folder, &told), [] as [String; 0]);
}

#[test]
fn secrets_are_set_listed_and_removed_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    set_list_and_remove(folder.path());
}

#[test]
fn secrets_are_set_listed_and_removed_beside_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&data(&folder));
    set_list_and_remove(folder.path());
    server.stop();
    assert_eq!(leaks(folder.path(), &[]), [] as [String; 0]);
}

/// Answers with what it was sent, so that an answer has the secret too; `/fail` fails with it.
fn echo() -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, requests) = channel();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            std::thread::spawn(move || answer(stream, &sender));
        }
    });
    (port, requests)
}

fn answer(mut stream: TcpStream, sender: &std::sync::mpsc::Sender<String>) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    let whole = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head.to_lowercase().lines().find_map(|line| {
            line.strip_prefix("content-length:").and_then(|length| length.trim().parse::<usize>().ok())
        });
        (body.len() >= length.unwrap_or(0)).then(|| text.clone())
    };
    let text = loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(read) => bytes.extend(&buffer[..read]),
        }
        if let Some(text) = whole(&bytes) {
            break text;
        }
    };
    let status = if text.contains(" /fail") { "500 Oops" } else { "200 OK" };
    let body = json!({ "you_sent": text }).to_string();
    let _ = sender.send(text);
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-echo: {CANARY}\r\n");
    let _ = stream.write_all(
        format!("{head}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).as_bytes(),
    );
}

#[test]
fn a_secret_is_nowhere_but_where_it_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let place = data(&folder);
    let (port, requests) = echo();
    let grant = json!([{ "host": "127.0.0.1", "ports": [port], "why": "the test's echo" }]);
    let server = Server::start_with(
        &place,
        &[
            "--log-level",
            "debug",
            "--set",
            "logging.level=DEBUG",
            "--set",
            "retention.archive_after=0",
            "--set",
            &format!("egress.grants={grant}"),
        ],
    );
    let set = format!("secret set token --host http://127.0.0.1:{port}");
    assert_eq!(said(&with_input(folder.path(), &set, CANARY)).0, 0);
    let signing = "whsec_Y2FuYXJ5LTVmMGMtOWIxZS12YWx1ZS1vZi0zMmI=";
    let (code, text) = said(&with_input(folder.path(), "secret set signs", signing));
    assert_eq!(code, 0, "{text}");
    let mut told = vec![text];
    let base = format!("http://127.0.0.1:{port}");
    let source = format!(
        "name: sends\nretry: {{ attempts: 1 }}\nsteps:\n  \
         - {{ id: bearer, type: api_call, config: {{ url: \"{base}/bearer\", auth: {{ bearer: token }} }} }}\n  \
         - {{ id: body, type: api_call, config: {{ url: \"{base}/body\", method: POST, json: {{ key: \"{{{{ secrets.token }}}}\" }} }} }}\n  \
         - {{ id: keep, type: set, config: {{ variables: {{ said: \"steps.body.output\" }} }} }}\n  \
         - {{ id: hook, type: webhook, config: {{ url: \"{base}/hook\", payload: {{ said: \"{{{{ vars.said }}}}\" }}, secret: signs }} }}\n  \
         - {{ id: tell, type: emit, config: {{ topic: user.told, data: \"{{{{ steps.bearer.output }}}}\" }} }}\n  \
         - {{ id: wrong, type: api_call, config: {{ url: \"{base}/fail\", auth: {{ bearer: token }} }} }}\n"
    );
    let door = &server.port;
    let mut ask = |door: &Door, line: &str, headers: &[&str], body: &str, status: u16| -> Value {
        let reply = door.ask(line, headers, body);
        assert_eq!(reply.status, status, "{line}: {}", reply.body);
        told.push(format!("{line}: {:?} {}", reply.headers, reply.body));
        serde_json::from_str(&reply.body).unwrap_or(Value::Null)
    };
    ask(door, "POST workflows", &["content-type: application/yaml"], &source, 201);
    let run = ask(door, "POST workflows/sends/runs", &[JSON], "{}", 201)["id"].as_str().unwrap().to_owned();
    server.wait_for("chainbot.workflow.failed", &run);
    for line in ["", "/steps", "/journal", "/state?at=3"] {
        for door in [&server.port, &server.host] {
            ask(door, &format!("GET runs/{run}{line}"), &[], "", 200);
        }
    }
    for line in ["workflows/sends", "runs", "secrets", "health", "metrics", "schedules", "inbox"] {
        let reply = server.port.ask(&format!("GET {line}"), &[], "");
        told.push(format!("{line}: {:?} {}", reply.headers, reply.body));
    }
    told.push(stream(&server.port, &run));
    told.extend(server.events("%23").iter().map(Value::to_string));
    // It was really sent: to the bearer, in the body, and with the failing call.
    let sent: Vec<String> = requests.try_iter().collect();
    assert_eq!(sent.iter().filter(|request| request.contains(CANARY)).count(), 3, "{sent:#?}");
    assert!(sent.iter().any(|request| request.contains("webhook-signature")), "the webhook is signed");
    // As the folder is while the module works, its WAL included; then as a stop leaves it, and a copy of it.
    assert!(place.join("chainbot.db-wal").exists());
    assert_eq!(leaks(folder.path(), &told), [] as [String; 0]);
    server.stop();
    assert_eq!(leaks(folder.path(), &[]), [] as [String; 0]);
    let log = std::fs::read_to_string(place.with_extension("log")).unwrap();
    assert!(log.contains("debug") || log.contains("DEBUG"), "the log has its debug lines");
}

/// What the stream of events tells of a run that is over: read up to its end record.
fn stream(door: &Door, run: &str) -> String {
    let authorization = format!("authorization: Bearer {}", door.token);
    let mut stream = door.open("GET events", &["last-event-id: 0", &authorization], "");
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the stream ended");
        bytes.extend(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes);
        if text.contains("run.failed") && text.contains(run) {
            return text.into_owned();
        }
    }
}
