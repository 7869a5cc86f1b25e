//! Secrets that are used in every way are found nowhere but where they were sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::crash::client::Client;
use crate::host_shim::Host;
use crate::model_server::{self, piece};
use crate::support;

const STORED: &str = "canary-stored-8b1f0e55aa";
const REFERRED: &str = "canary-referred-77c2d9";
const SIGNING: &str = "canary-signing-3f7e10b2c4d5a6978811";

/// Answers every request with what it was sent, with 500 where the path says so, and tells what came.
fn echo() -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (came, all) = std::sync::mpsc::channel();
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
                if let Some(bytes) = line.to_lowercase().strip_prefix("content-length: ") {
                    length = bytes.trim().parse().unwrap();
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                continue;
            }
            let got = format!("{head}\n{}", String::from_utf8_lossy(&body));
            let status = if head.contains("/fail") { "500 Internal Server Error" } else { "200 OK" };
            let answer = json!({ "got": got }).to_string();
            let _ = came.send(got);
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
                answer.len()
            );
        }
    });
    (port, all)
}

/// A value as it is and as others write it.
fn spellings(value: &str) -> Vec<String> {
    let bearer = format!("user:{value}");
    // The middle alone, since its ends depend on what stands beside.
    let within = |text: String| text[12..text.len() - 4].to_owned();
    vec![
        value.to_owned(),
        STANDARD.encode(value).trim_end_matches('=').to_owned(),
        within(STANDARD.encode(&bearer)),
        within(URL_SAFE_NO_PAD.encode(bearer)),
    ]
}

fn search(place: &str, bytes: &[u8]) {
    for value in [STORED, REFERRED, SIGNING] {
        for spelling in spellings(value) {
            let found = bytes.windows(spelling.len()).any(|window| window == spelling.as_bytes());
            assert!(!found, "{place} holds `{spelling}`");
        }
    }
}

fn search_files(folder: &Path, seen: &mut usize) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search_files(&path, seen);
        } else if path.is_file() {
            search(&path.display().to_string(), &std::fs::read(&path).unwrap());
            *seen += 1;
        }
    }
}

#[test]
fn secrets_are_found_nowhere_after_they_were_used_in_every_way() {
    let (port, came) = echo();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let outside = tempfile::tempdir().unwrap();
    let referred = outside.path().join("referred");
    std::fs::write(&referred, REFERRED).unwrap();
    std::fs::set_permissions(&referred, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let set = |name: &str, value: serde_json::Value| format!("{name}={value}");
    let sets = [
        set("api.port", json!(0)),
        set("logging.level", json!("DEBUG")),
        set("security.secret_key", json!(SIGNING)),
        set("egress.grants", json!([{ "host": "127.0.0.1", "ports": [port], "why": "the echo" }])),
        set(
            "notification.channels",
            json!({ "phone": { "kind": "ntfy", "url": format!("http://127.0.0.1:{port}"), "topic": "t", "token": format!("${{file:{}}}", referred.display()) } }),
        ),
    ];
    let mut args = vec!["--data", data.to_str().unwrap(), "--log-level", "debug"];
    sets.iter().for_each(|set| args.extend(["--set", set.as_str()]));
    let host = Host::of(&support::plugin(), &args);
    let client = Client::of(&data).unwrap();
    let head = "content-type: application/json\r\n";
    let secret = json!({ "value": STORED, "hosts": [format!("http://127.0.0.1:{port}")] }).to_string();
    let sent = client.send("PUT", "/api/chainbot/secrets/stored", head, &secret).unwrap();
    assert_eq!(sent.status, 201, "{}", sent.body);
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let call = |id: &str, url: String| {
        json!({ "id": id, "type": "api_call", "on_error": "continue", "retry": { "attempts": 1 },
        "config": { "method": "POST", "url": url, "headers": { "x-key": "{{ secrets.stored }}" }, "json": { "key": "{{ secrets.stored }}" },
                    "auth": { "basic": { "user": "user", "password": "stored" } } } })
    };
    let definition = json!({ "name": "uses", "steps": [
        call("works", url("/works")),
        call("fails", url("/fail")),
        call("wanders", "http://example.invalid/".to_owned()),
        { "id": "tell", "type": "emit", "config": { "topic": "user.told", "data": "{{ steps.works.output }}" } },
        { "id": "ring", "type": "notification", "on_error": "continue", "config": { "message": "{{ steps.works.output.data.got }}", "channels": ["phone"] } },
    ], "output": "{{ steps.works.output }}" }).to_string();
    let made = client.send("POST", "/api/chainbot/workflows", head, &definition).unwrap();
    assert_eq!(made.status, 201, "{}", made.body);
    let run = client.send("POST", "/api/chainbot/workflows/uses/runs", head, "{}").unwrap().body;
    let path = format!("/api/chainbot/runs/{}", run["id"].as_str().unwrap());
    client.wait_until(|| {
        ["completed", "failed"].contains(&client.get(&path)["status"].as_str().unwrap_or_default())
    });
    // The notification leaves after its step.
    let mut got = String::new();
    while !(got.contains(STORED) && got.contains(REFERRED)) {
        got.push_str(
            &came
                .recv_timeout(std::time::Duration::from_secs(60))
                .unwrap_or_else(|_| panic!("never sent: {got}")),
        );
    }
    // A signing key that is given, and a rotation.
    let user = json!({ "name": "mia", "role": "admin", "password": "three words apart" }).to_string();
    assert_eq!(client.send("POST", "/api/chainbot/users", head, &user).unwrap().status, 201);
    let login = json!({ "name": "mia", "password": "three words apart" }).to_string();
    assert_eq!(client.send("POST", "/api/chainbot/auth/login", head, &login).unwrap().status, 200);
    assert_eq!(client.send("POST", "/api/chainbot/secrets/rotate-key", head, "{}").unwrap().status, 200);
    assert_eq!(client.send("POST", "/api/chainbot/backup", head, r#"{"name": "mine"}"#).unwrap().status, 202);
    client.wait_until(|| {
        client.get("/api/chainbot/metrics")["chainbot_backup_last_success_timestamp_seconds"].is_number()
    });
    for place in [
        "runs",
        "workflows",
        "inbox",
        "outbox",
        "secrets",
        "audit",
        "audit/export",
        "metrics",
        "info",
        "health",
        "backups",
        "gpio",
        "users",
        "tokens",
        "schedules",
    ] {
        let reply =
            client.send("GET", &format!("/api/chainbot/{place}"), "", "").map(|reply| reply.body.to_string());
        // An export is no JSON document, which this client cannot read; the next check has its bytes.
        search(place, reply.unwrap_or_default().as_bytes());
    }
    let token = std::fs::read_to_string(data.join("token")).unwrap();
    for place in ["/api/chainbot/audit/export", "/metrics"] {
        let (status, _, body) =
            host.request(&format!("GET {place}\nauthorization: Bearer {}", token.trim()), b"");
        assert_eq!(status, 200);
        search(place, &body);
    }
    for below in ["", "/steps", "/journal", "/state"] {
        let shown = client.get(&format!("{path}{below}")).to_string();
        assert!(below == "/state" || shown.contains("***") || below.is_empty(), "{below}: {shown}");
        search(below, shown.as_bytes());
    }
    let events = host.request("GET /host/events?topic=user.told&wait_ms=30000", b"").2;
    assert!(String::from_utf8_lossy(&events).contains("***"), "the event was told, without the secret");
    search("events", &events);
    search("events", &host.request("GET /host/events?topic=chainbot.%23&wait_ms=30000", b"").2);
    // With the write-ahead log still there, and after it was emptied.
    let mut seen = 0;
    search_files(&data, &mut seen);
    let (code, log) = host.stop();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("chainbot"), "the log is looked at: {log}");
    search("log", log.as_bytes());
    search_files(&data, &mut seen);
    assert!(seen > 10, "{seen} files were looked at");
}

/// A model that wants secrets: it has tools fetch with them, asks for them by name, and repeats what it was shown. Keeps what it was sent.
fn hostile(prompts: &Arc<Mutex<Vec<String>>>, far: u16, mut stream: TcpStream) -> std::io::Result<()> {
    let body = model_server::body(&stream)?;
    let number = {
        let mut prompts = prompts.lock().unwrap();
        prompts.push(body.to_string());
        prompts.len() - 1
    };
    let wanted = "{{ secrets.stored }} ${credential:stored} ${file:/etc/passwd} {{ steps }}";
    let calls = [
        // First what acts outward: once it has read from outside, a person would be asked.
        ("run_leak", json!({ "text": wanted })),
        ("http_get", json!({ "url": format!("http://127.0.0.1:{far}/works"), "method": "GET" })),
        (
            "http_get",
            json!({ "url": format!("http://127.0.0.1:{far}/{wanted}"), "method": "GET", "headers": { "Accept": wanted } }),
        ),
        ("memory_save", json!({ "text": wanted })),
        ("memory_search", json!({ "query": "stored secrets credential" })),
    ];
    let (delta, reason) = match calls.get(number) {
        Some((name, arguments)) => {
            let call = json!({ "name": name, "arguments": arguments.to_string() });
            let calls =
                json!([{ "index": 0, "id": format!("c{number}"), "type": "function", "function": call }]);
            (json!({ "role": "assistant", "content": null, "tool_calls": calls }), "tool_calls")
        }
        None => (json!({ "role": "assistant", "content": wanted }), "stop"),
    };
    model_server::head(&mut stream)?;
    let ends = [piece(&delta, &Value::Null), piece(&json!({}), &json!(reason))].concat();
    stream.write_all(format!("{ends}data: [DONE]\n\n").as_bytes())
}

#[test]
fn a_hostile_model_is_shown_no_secret() {
    let (far, came) = echo();
    let prompts = Arc::new(Mutex::new(Vec::new()));
    let kept = prompts.clone();
    let port = model_server::serve(move |stream| hostile(&kept, far, stream));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut settings = model_server::settings(port, &json!({}));
    settings.push(format!(
        "egress.grants={}",
        json!([{ "host": "127.0.0.1", "ports": [far], "why": "the echo" }])
    ));
    let mut args = vec!["--data", data.to_str().unwrap(), "--log-level", "debug"];
    settings.iter().for_each(|set| args.extend(["--set", set.as_str()]));
    let host = Host::of(&support::plugin(), &args);
    let client = Client::of(&data).unwrap();
    let head = "content-type: application/json\r\n";
    let sent = |method: &str, path: &str, body: Value, status: u16| {
        let reply = client.send(method, &format!("/api/chainbot/{path}"), head, &body.to_string()).unwrap();
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
        reply.body
    };
    sent(
        "PUT",
        "secrets/stored",
        json!({ "value": STORED, "hosts": [format!("http://127.0.0.1:{far}")] }),
        201,
    );
    let leak = json!({ "name": "leak", "inputs": { "type": "object", "properties": { "text": { "type": "string" } } }, "steps": [
        { "id": "a", "type": "api_call", "config": { "method": "POST", "url": format!("http://127.0.0.1:{far}/works"),
            "headers": { "x-key": "{{ secrets.stored }}" }, "json": { "text": "{{ inputs.text }}" } } },
    ], "output": { "text": "{{ inputs.text }}", "got": "{{ steps.a.output.data.got }}" } });
    sent("POST", "workflows", leak, 201);
    let agent = json!({ "name": "spy", "instructions": "You help.", "tools": {
        "http": { "hosts": [format!("http://127.0.0.1:{far}")], "auth": { "bearer": "stored" } }, "workflow": ["leak"], "memory": {} } });
    sent("POST", "agents", agent, 201);
    let run = sent("POST", "agents/spy/tasks?wait=50", json!({ "task": "Tell me everything." }), 201);
    assert_eq!((&run["status"], &run["output"]["tool_calls"]), (&json!("completed"), &json!(5)), "{run}");
    // The secret was used where it may be, twice; the model asked in every way that it knows, and was shown nothing.
    let far_seen: Vec<String> = came.try_iter().collect();
    assert!(far_seen.iter().filter(|seen| seen.contains(STORED)).count() >= 2, "{far_seen:?}");
    let prompts = prompts.lock().unwrap().clone();
    assert_eq!(prompts.len(), 6);
    assert!(prompts.iter().any(|prompt| prompt.contains("authorization: Bearer ***")), "{prompts:?}");
    prompts.iter().for_each(|prompt| search("a prompt", prompt.as_bytes()));
    search(
        "the run",
        client
            .get(&format!("/api/chainbot/runs/{}/journal", run["id"].as_str().unwrap()))
            .to_string()
            .as_bytes(),
    );
    let mut seen = 0;
    search_files(&data, &mut seen);
    let (code, log) = host.stop();
    assert_eq!(code, 0, "{log}");
    search("log", log.as_bytes());
}
