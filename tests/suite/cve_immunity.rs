//! Holes that were published in other products of this field, tried on the real module; a test is named after its row.
//!
//! `tests/data/cve_immunity.txt` has all rows, also those whose test lies elsewhere; the first test here checks that each test is there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};

use crate::crash::client::Client;
use crate::crash::host::{Host, Module};
use crate::server::{Door, Server, data};
use crate::support::root;

const JSON: &str = "content-type: application/json";
const YAML: &str = "content-type: application/yaml";

#[test]
fn every_row_has_its_test() {
    let table = std::fs::read_to_string(root().join("tests/data/cve_immunity.txt")).unwrap();
    let (mut rows, mut files): (usize, BTreeMap<String, String>) = (0, BTreeMap::new());
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut parts = line.split(" | ");
        let row = parts.next().unwrap();
        rows += 1;
        let tests: Vec<_> = parts.collect();
        assert!(!tests.is_empty(), "{row} has no test");
        for test in tests {
            let (file, name) = test.split_once(' ').unwrap();
            let text = files.entry(file.to_owned()).or_insert_with(|| {
                std::fs::read_to_string(root().join(file))
                    .unwrap_or_else(|error| panic!("{row}: {file}: {error}"))
            });
            assert!(text.contains(&format!("fn {name}(")), "{row}: {file} has no test `{name}`");
        }
    }
    assert!(rows >= 33, "{rows}");
}

/// The corpus of escapes, as sources.
fn escapes() -> Vec<String> {
    let corpus =
        std::fs::read_to_string(root().join("chainbot-core/src/expr/tests/data/escapes.txt")).unwrap();
    let lines = corpus.lines().filter(|line| !line.is_empty() && !line.starts_with("## "));
    lines.map(|line| line.strip_prefix("T ").or(line.strip_prefix("L ")).unwrap_or(line).to_owned()).collect()
}

/// A workflow that hands its inputs, or the event that started it, through every kind of place.
const PASSES_ON: &str = r#"
name: passes-on
inputs: { type: object, properties: { all: { type: array } } }
triggers: [{ webhook: passes-on, inputs: { all: "{{ event.data.all }}" } }]
steps:
  - { id: kept, type: set, config: { variables: { all: inputs.all, first: "inputs.all[0]" } } }
  - id: each
    type: loop
    config:
      for_each: inputs.all
      steps:
        - { id: text, type: transform, config: { type: template, template: "{{ item }}" } }
        - { id: value, type: transform, config: { type: expression, expr: "input ~ ''", input: "{{ item }}" } }
        - { id: told, type: emit, when: "item != 'x'", config: { topic: user.escape, data: { it: "{{ item }}" } } }
output: "{{ vars.all }}"
"#;

fn deploy(door: &Door, definition: &str) {
    let made = door.ask("POST workflows", &[YAML], definition);
    assert_eq!(made.status, 201, "{}", made.body);
}

/// Waits for the run's end; its view.
fn ended(server: &Server, run: &str) -> Value {
    server.wait_for("chainbot.workflow.completed", run);
    server.port.ask(&format!("GET runs/{run}"), &[], "").json()
}

#[test]
fn n8n_2026_1470_escapes_in_inputs_and_webhooks_stay_text() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&data(&folder));
    deploy(&server.port, PASSES_ON);
    let all = escapes();
    assert!(all.len() >= 300, "{}", all.len());
    for batch in all.chunks(100) {
        let body = json!({ "inputs": { "all": batch } }).to_string();
        let by_person = server.port.ask("POST workflows/passes-on/runs", &[JSON], &body);
        assert_eq!(by_person.status, 201, "{}", by_person.body);
        let by_hook = server.port.ask("POST hooks/passes-on", &[JSON], &json!({ "all": batch }).to_string());
        assert_eq!(by_hook.status, 202, "{}", by_hook.body);
        for started in [by_person, by_hook] {
            let started = started.json();
            let run =
                started["id"].as_str().or(started["run_id"].as_str()).unwrap_or_else(|| panic!("{started}"));
            let view = ended(&server, run);
            assert_eq!(view["status"], "completed", "{view}");
            assert_eq!(view["output"], json!(batch), "what came in is not what came out");
            let steps = server.port.ask(&format!("GET runs/{run}/steps?limit=200"), &[], "").json();
            let each = steps.as_array().unwrap().iter().find(|step| step["id"] == "each").unwrap();
            assert_eq!(each["status"], "completed", "{each}");
        }
    }
    // What left through `emit` is the text as well.
    let told: BTreeSet<String> = server
        .events("user.escape")
        .iter()
        .filter_map(|event| event["payload"]["data"]["it"].as_str().map(str::to_owned))
        .collect();
    let known: BTreeSet<String> = all.into_iter().collect();
    assert!(told.is_subset(&known), "{:?}", told.difference(&known).next());
}

#[test]
fn n8n_2025_68668_there_is_no_step_that_runs_code() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&data(&folder));
    let kinds = [
        "code",
        "function",
        "functionItem",
        "javascript",
        "python",
        "pythonCode",
        "script",
        "exec",
        "execute_command",
        "executeCommand",
        "shell",
        "bash",
        "command",
        "eval",
        "lua",
        "wasm",
        "sql",
        "file",
        "read_file",
        "write_file",
        "ssh",
        "git",
        "plugin",
        "SET",
        "set ",
        "n8n-nodes-base.code",
    ];
    for kind in kinds {
        let definition = json!({ "name": "coded", "steps": [{ "id": "a", "type": kind, "config": { "code": "1", "command": "id" } }] });
        for route in ["POST workflows", "POST workflows/validate"] {
            let reply = server.port.ask(route, &[JSON], &definition.to_string());
            let refused = reply.status == 422 || (reply.status == 200 && reply.json()["valid"] == false);
            assert!(
                refused && reply.body.contains("CB-0"),
                "{route} with {kind}: {} {}",
                reply.status,
                reply.body
            );
        }
    }
    assert_eq!(server.port.ask("GET workflows", &[], "").json(), json!([]));
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for engine in [
        "boa_engine",
        "rquickjs",
        "deno_core",
        "rhai",
        "mlua",
        "rlua",
        "pyo3",
        "wasmtime",
        "wasmer",
        "v8",
        "starlark",
    ] {
        assert!(!lock.contains(&format!("name = \"{engine}\"")), "{engine} is in the tree");
    }
}

#[test]
fn n8n_2026_21894_a_webhook_with_a_secret_wants_a_signature() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&data(&folder));
    let key = [7u8; 32];
    let secret = json!({ "value": format!("whsec_{}", STANDARD.encode(key)), "hosts": [] }).to_string();
    let signed = "name: signed\ntriggers: [{ webhook: signed, secret: hook_key }]\nsteps: [{ id: a, type: set, config: { variables: { x: \"1\" } } }]\n";
    assert_eq!(server.port.ask("POST workflows", &[YAML], signed).status, 422, "deployed without its secret");
    assert_eq!(server.port.ask("PUT secrets/hook_key", &[JSON], &secret).status / 100, 2);
    deploy(&server.port, signed);
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string();
    let sign = |id: &str, at: &str, body: &str| {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{id}.{at}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    };
    let call = |id: &str, at: &str, signature: &str, body: &str| {
        let headers = [
            format!("webhook-id: {id}"),
            format!("webhook-timestamp: {at}"),
            format!("webhook-signature: {signature}"),
        ];
        let headers: Vec<&str> = headers.iter().map(String::as_str).chain([JSON]).collect();
        server.port.bare("POST hooks/signed", &headers, body)
    };
    let body = r#"{"a":1}"#;
    // Without its secret a webhook cannot check, so it refuses.
    assert_eq!(server.port.ask("DELETE secrets/hook_key", &[], "").status / 100, 2);
    let closed = call("msg_0", &now, &sign("msg_0", &now, body), body);
    assert!((400..600).contains(&closed.status) && closed.status != 404, "{closed:?}");
    assert_eq!(server.port.ask("PUT secrets/hook_key", &[JSON], &secret).status / 100, 2);
    // The token of the folder may everything, but not sign.
    assert_eq!(server.port.ask("POST hooks/signed", &[JSON], body).status, 401);
    assert_eq!(server.port.bare("POST hooks/signed", &[JSON], body).status, 401);
    let right = sign("msg_1", &now, body);
    let negatives: Vec<(String, String, String, String)> = {
        let old = (now.parse::<u64>().unwrap() - 400).to_string();
        let ahead = (now.parse::<u64>().unwrap() + 400).to_string();
        let with = |id: &str, at: &str, signature: &str, body: &str| {
            (id.to_owned(), at.to_owned(), signature.to_owned(), body.to_owned())
        };
        vec![
            with("msg_2", &now, &right, body),
            with("msg_1", &old, &right, body),
            with("msg_1", &old, &sign("msg_1", &old, body), body),
            with("msg_1", &ahead, &sign("msg_1", &ahead, body), body),
            with("msg_1", &now, "", body),
            with("msg_1", &now, "v1,", body),
            with("msg_1", &now, "v1", body),
            with("msg_1", &now, &right[3..], body),
            with("msg_1", &now, &right.replace("v1,", "v2,"), body),
            with("msg_1", &now, &right.replace("v1,", "v1a,"), body),
            with("msg_1", &now, &right[..right.len() - 4], body),
            with("msg_1", &now, &right.to_lowercase(), body),
            with("msg_1", &now, &format!("{right}AAAA"), body),
            with("msg_1", &now, "v1,AAAA v1,BBBB v1a,CCCC", body),
            with("msg_1", &now, &right, r#"{"a":2}"#),
            with("msg_1", &now, &right, r#"{"a": 1}"#),
            with("msg_1", &now, &right, ""),
            with("", &now, &right, body),
            with("msg_1", "", &right, body),
            with("msg_1", "now", &right, body),
            with("msg_1", &format!("{now}.0"), &right, body),
            with("msg_1", &format!("-{now}"), &right, body),
            with("msg.1", &now, &sign("msg.1", &now, body), body),
        ]
    };
    assert!(negatives.len() >= 20);
    for (id, at, signature, body) in &negatives {
        let reply = call(id, at, signature, body);
        assert_eq!(reply.status, 401, "{id:?} {at:?} {signature:?} {body:?}: {}", reply.body);
    }
    assert_eq!(
        server.port.ask("GET runs", &[], "").json(),
        json!([]),
        "a call that was refused started a run"
    );
    // The same delivery a hundred times is one run; one right signature among several is enough.
    let answers: BTreeSet<String> = (0..100)
        .map(|n| {
            let signature = if n % 2 == 0 { right.clone() } else { format!("v1,AAAA {right} v1a,BBBB") };
            let reply = call("msg_1", &now, &signature, body);
            assert_eq!(reply.status, 202, "{}", reply.body);
            reply.body
        })
        .collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(server.port.ask("GET runs", &[], "").json().as_array().unwrap().len(), 1);
}

#[test]
fn n8n_mcp_2026_45707_probes_say_nothing_but_ok() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&data(&folder));
    for door in [&server.port, &server.host] {
        for probe in ["GET health/live", "GET health/ready"] {
            let reply = door.bare(probe, &[], "");
            assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"status":"ok"}"#), "{probe}");
        }
    }
}

#[test]
fn langflow_2026_33017_nobody_brings_a_definition_along() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&data(&folder));
    deploy(&server.port, PASSES_ON);
    let before = server.port.ask("GET workflows/passes-on", &[], "").json();
    for field in
        ["definition", "nodes", "edges", "steps", "code", "workflow", "data", "tweaks", "flow", "command"]
    {
        let body = json!({ "inputs": { "all": [] }, field: { "steps": [{ "id": "a", "type": "set", "config": {} }] } }).to_string();
        for route in ["runs", "execute"] {
            let reply = server.port.ask(&format!("POST workflows/passes-on/{route}"), &[JSON], &body);
            assert_eq!(reply.status, 422, "{route} with {field}: {}", reply.body);
        }
    }
    assert_eq!(server.port.ask("GET runs", &[], "").json(), json!([]));
    // The body of a webhook is what somebody else sends: data, whatever its fields are called.
    let body = json!({ "all": ["x"], "definition": PASSES_ON, "nodes": [], "steps": [{ "id": "a", "type": "set" }], "code": "1" });
    let reply = server.port.ask("POST hooks/passes-on", &[JSON], &body.to_string());
    assert_eq!(reply.status, 202, "{}", reply.body);
    let started = reply.json();
    let run = started["id"].as_str().or(started["run_id"].as_str()).unwrap().to_owned();
    let view = ended(&server, &run);
    assert_eq!(view["output"], json!(["x"]));
    assert_eq!(view["definition"], before["hash"], "{view} ran something else than {before}");
    assert!(before["hash"].is_string(), "{before}");
    assert_eq!(server.port.ask("GET workflows/passes-on", &[], "").json(), before);
}

#[test]
fn flowise_2025_59528_the_text_of_a_configuration_is_inert() {
    let folder = tempfile::tempdir().unwrap();
    let all = escapes();
    // What is in the file is shown as it is, or the file is refused; it is never worth anything else.
    let shown = |batch: &[String]| -> Option<Value> {
        let server = json!({ "command": "/usr/bin/clock", "args": batch });
        let file = json!({ "mcp": { "servers": { "clock": server } } }).to_string();
        std::fs::write(folder.path().join("config.yaml"), file).unwrap();
        let words = ["config", "show", "--json", "--config", "config.yaml", "--data", "data"];
        let outcome = crate::cli::chainbot(folder.path(), &words);
        let said: Value = serde_json::from_str(&outcome.stdout).unwrap();
        match outcome.code {
            0 => Some(said["mcp"]["servers"]["clock"]["args"].clone()),
            _ => {
                assert!(said["error"]["code"].as_str().is_some_and(|code| code.starts_with("CB-")), "{said}");
                None
            }
        }
    };
    let (mut inert, mut refused) = (0, 0);
    for batch in all.chunks(16) {
        match shown(batch) {
            Some(args) => {
                assert_eq!(args, json!(batch));
                inert += batch.len();
            }
            None => {
                for one in batch {
                    match shown(std::slice::from_ref(one)) {
                        Some(args) => {
                            assert_eq!(args, json!([one]));
                            inert += 1;
                        }
                        None => refused += 1,
                    }
                }
            }
        }
    }
    assert!(inert + refused == all.len() && inert > 250, "{inert} inert, {refused} refused");
}

/// The children that a process has, and theirs.
fn children(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let of_task = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    of_task.flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn flowise_2026_40933_nobody_brings_a_command_along() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(&data(&folder), &["api.rate_limit_per_token=0"]);
    let made = folder.path().join("made");
    let touch = format!("touch {}", made.display());
    let parts = json!({ "command": "/bin/sh", "args": ["-c", touch], "env": { "A": "1" } });
    let agent = json!({ "name": "butler", "instructions": "You keep a house." });
    let with = |key: &str, value: &Value| {
        let mut body = agent.clone();
        body[key] = value.clone();
        body.to_string()
    };
    for (key, value) in [
        ("command", &parts["command"]),
        ("args", &parts["args"]),
        ("env", &parts["env"]),
        ("mcp", &parts),
        ("mcp_servers", &json!({ "x": parts })),
        ("tools", &json!({ "mcp": { "x": parts } })),
        ("tools", &json!({ "mcp": [parts] })),
    ] {
        let reply = server.port.ask("POST agents", &[JSON], &with(key, value));
        assert_eq!(reply.status, 422, "{key}: {}", reply.body);
    }
    // Imports carry it in every place where other products keep it.
    let mut imports = 0;
    for step in [
        "mcp",
        "stdio",
        "customMCP",
        "execute_command",
        "n8n-nodes-base.executeCommand",
        "api_call",
        "agent_task",
        "set",
    ] {
        for place in ["config", "parameters", "data", "mcpServerConfig", "settings"] {
            for value in [parts.clone(), json!(parts.to_string()), json!({ "mcpServers": { "x": parts } })] {
                let flow = json!({ "name": format!("x{imports}"), "type": "sequential", "nodes": [{ "id": "a", "type": step, place: value }],
                    "steps": [{ "id": "a", "type": step, place: value, "mcp": value, "command": parts["command"] }] });
                let reply = server.port.ask("POST workflows/import", &[JSON], &flow.to_string());
                assert!(reply.status < 500, "{flow}: {}", reply.body);
                let stored = server.port.ask("POST workflows", &[JSON], &flow.to_string());
                assert_eq!(stored.status, 422, "{flow}: {}", stored.body);
                imports += 1;
            }
        }
    }
    assert!(imports >= 100, "{imports}");
    assert!(!made.exists());
    assert_eq!(children(server.pid()), Vec::<String>::new());
}

#[test]
fn fuxa_2026_25938_nothing_that_is_mounted_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&data(&folder));
    deploy(&server.port, PASSES_ON);
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let upgrade = format!("sec-websocket-key: {key}");
    let socket = ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13", upgrade.as_str()];
    for prefix in [
        "/docs",
        "/docs/docs.js",
        "/docs/docs.css",
        "/metrics",
        "/api/chainbot/openapi.json",
        "/api/chainbot/schemas/workflow",
        "/api/chainbot/events",
        "/api/chainbot/hooks/passes-on",
        "/api/chainbot/webhooks/status",
        "/api/webhooks/chainbot/status",
        "/api/chainbot/mcp",
        "/mcp",
        "/health",
        "/api/health",
        "/api/chainbot/health",
        "/api/chainbot/alex-agents",
    ] {
        for path in [
            prefix.to_owned(),
            format!("{prefix}/"),
            format!("{prefix}/x"),
            format!("/.{prefix}"),
            format!("/{prefix}"),
        ] {
            for method in ["GET", "POST", "OPTIONS", "HEAD"] {
                for door in [&server.port, &server.host] {
                    let reply = door.bare(&format!("{method} {path}"), &[JSON], "{}");
                    assert_eq!(reply.status, 401, "{method} {path}: {}", reply.body);
                }
            }
        }
    }
    for path in ["/api/chainbot/ws", "/api/ws/watchtower", "/api/ws/x"] {
        for origin in ["origin: https://evil.example", "origin: http://localhost", "x: y"] {
            // Without anything that says who asks, a socket may be opened only to say so in its first frame; which windows there are is
            // the same everywhere.
            let reply = head_of(&server.port, path, &[&socket[..], &[origin]].concat());
            let expected = if path.ends_with("/x") { [401, 403, 404] } else { [401, 403, 101] };
            assert!(expected.contains(&reply), "{path} {origin}: {reply}");
        }
    }
}

/// The status of an answer that may not end.
fn head_of(door: &Door, path: &str, headers: &[&str]) -> u16 {
    let mut stream = TcpStream::connect(&door.address).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n{}\r\n\r\n", headers.join("\r\n")).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()
}

#[test]
fn flowise_2026_41276_an_empty_token_matches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&data(&folder));
    let long = "0".repeat(10_000);
    let values = [
        json!(null),
        json!(""),
        json!([]),
        json!({}),
        json!(0),
        json!(true),
        json!([""]),
        json!("null"),
        json!(long),
    ];
    let fields: &[(&str, &str, Value)] = &[
        ("auth/refresh", "refresh_token", json!({})),
        ("auth/login", "password", json!({ "name": "mia" })),
        ("auth/login", "name", json!({ "password": "a good long password" })),
        ("setup", "token", json!({ "name": "mia", "password": "a good long password" })),
    ];
    for (route, field, rest) in fields {
        let mut bodies: Vec<Value> = values
            .iter()
            .map(|value| {
                let mut body = rest.clone();
                body[*field] = value.clone();
                body
            })
            .collect();
        bodies.push(rest.clone());
        for body in bodies {
            let reply = server.port.bare(&format!("POST {route}"), &[JSON], &body.to_string());
            let shown: String = body.to_string().chars().take(80).collect();
            assert!(
                matches!(reply.status, 400 | 401 | 409 | 413 | 422 | 429),
                "{route} {shown}: {} {}",
                reply.status,
                reply.body
            );
        }
    }
    for value in ["", "null", "undefined", "[]", "{}", "Bearer", " ", &long] {
        let reply = server.port.bare("GET runs", &[&format!("authorization: Bearer {value}")], "");
        assert!(matches!(reply.status, 401 | 431), "{}", reply.status);
    }
    assert!(!data(&folder).join("chainbot.db").metadata().unwrap().permissions().readonly());
    assert_eq!(server.port.ask("GET users", &[], "").json(), json!([]), "an account came to be");
}

/// The addresses on which a process listens, from the kernel's own tables.
fn listening(pid: u32) -> BTreeSet<String> {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    let sockets: BTreeSet<String> = links
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
        .collect();
    let mut found = BTreeSet::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            // 0A is LISTEN; a socket of UDP that is bound has 07.
            let is_open = words[3] == "0A" || (table.starts_with("udp") && words[3] == "07");
            if is_open && sockets.contains(words[9]) {
                found.insert(format!("{table} {}", words[1].split(':').next().unwrap()));
            }
        }
    }
    found
}

/// One GET from an address of this machine, with headers that claim to be somebody.
fn get_from(address: &str, path: &str, headers: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n{headers}\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn home_assistant_2026_34205_an_address_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&data(&folder));
    // 127.0.0.1 as the kernel writes it: nobody on the network can even connect.
    assert_eq!(listening(server.pid()), BTreeSet::from(["tcp 0100007F".to_owned()]));
    let paths = [
        "/api/chainbot/runs",
        "/api/chainbot/info",
        "/metrics",
        "/api/chainbot/users",
        "/api/chainbot/openapi.json",
    ];
    let claims = [
        "",
        "x-forwarded-for: 127.0.0.1\r\n",
        "x-real-ip: 127.0.0.1\r\nforwarded: for=127.0.0.1;by=127.0.0.1\r\n",
        "x-forwarded-for: ::1\r\nx-forwarded-host: localhost\r\nx-forwarded-prefix: /\r\n",
        "x-remote-user: admin\r\nremote-user: admin\r\nx-webauth-user: admin\r\nx-forwarded-user: admin\r\n",
        "x-ingress-path: /\r\nx-hassio-key: 1\r\n",
    ];
    for path in paths {
        for claim in claims {
            assert_eq!(get_from(&server.port.address, path, claim), 401, "{path} with {claim}");
        }
    }
    drop(server);
    // Opened to the network by the operator's own line, it asks everybody all the same.
    let open = folder.path().join("open");
    let set = ["api.port=0", "api.host=0.0.0.0", "api.insecure_lan=true"];
    let mut host = Host::spawn(&Module::shipped(), &open, &set, &[]);
    let Some(_) = host.ready(&open) else { panic!("{}", host.end().1) };
    let port = port_of(&open);
    for address in addresses_of_this_machine() {
        for path in paths {
            for claim in claims {
                assert_eq!(
                    get_from(&format!("{address}:{port}"), path, claim),
                    401,
                    "{address} {path} with {claim}"
                );
            }
        }
    }
    assert!(Client::of(&open).is_some());
}

fn port_of(data: &Path) -> String {
    let server: Value =
        serde_json::from_str(&std::fs::read_to_string(data.join("server.json")).unwrap()).unwrap();
    server["url"].as_str().unwrap().rsplit(':').next().unwrap().trim_end_matches('/').to_owned()
}

/// Loopback, another address of its net, and what the kernel's table of local routes has besides.
fn addresses_of_this_machine() -> BTreeSet<String> {
    let mut found = BTreeSet::from(["127.0.0.1".to_owned(), "127.0.0.2".to_owned()]);
    let trie = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let mut last = "";
    for line in trie.lines() {
        if let Some((_, address)) = line.split_once("|-- ") {
            last = address;
        } else if line.contains("host LOCAL") {
            found.insert(last.to_owned());
        }
    }
    found
}
