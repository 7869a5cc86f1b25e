//! The API through both of its doors: the module's own port, and the host's ingress, which calls `handle_webhook`.
//!
//! The doors differ in two things alone: an event stream is a long poll through the host, and a WebSocket is
//! refused there. Every other request of the table gives the same status, headers and body.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::server::{Door, Reply, Server, data, refused};

const JSON: &str = "content-type: application/json";
const YAML: &str = "content-type: application/yaml";
const DOOR: &str = "\
name: door
inputs: { type: object, properties: { who: { type: string } } }
steps:
  - { id: knock, type: emit, config: { topic: user.door.knock, data: { who: \"{{ inputs.who }}\" } } }
  - { id: opened, type: wait, config: { signal: open } }
  - { id: greet, type: set, config: { variables: { text: \"'Hello, ' ~ inputs.who\" } } }
output: \"{{ vars.text }}\"
";
const STRANGER: &str = r#"{"inputs":{"who":"a stranger"}}"#;
const WRONG: &str = "\
name: wrong
steps:
  - { id: a, type: wiat, config: { signal: x } }
  - { id: b, type: set, config: { variables: { x: \"{{ steps.nobody.y }}\" } }, retires: 3 }
  - { id: b, type: set, config: { variables: {} } }
";

/// Ids and times differ from server to server; what follows from them does too.
pub fn normalised(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let id = shaped(rest, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
        let time = shaped(rest, "dddd-dd-ddTdd:dd:dd");
        if id || time {
            out.push_str(if id { "<id>" } else { "<time>" });
            let len = if id { 36 } else { 19 };
            rest = rest[len..]
                .trim_start_matches(|c: char| time && (c == '.' || c == 'Z' || c.is_ascii_digit()));
            continue;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
        if out.ends_with("_ms\":") || out.ends_with("uptime_s\":") {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            out.push_str("<ms>");
        }
    }
    out
}

fn shaped(text: &str, shape: &str) -> bool {
    text.len() >= shape.len()
        && shape.bytes().zip(text.bytes()).all(|(shape, byte)| match shape {
            b'x' => byte.is_ascii_hexdigit(),
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

/// What must be the same through both doors.
fn essence(reply: &Reply) -> String {
    let names = [
        "content-type",
        "etag",
        "location",
        "link",
        "x-total-count",
        "idempotency-replayed",
        "www-authenticate",
        "allow",
        "retry-after",
        "cache-control",
    ];
    let headers: Vec<String> = names
        .iter()
        .filter(|name| reply.headers.contains_key(**name))
        .map(|name| format!("{name}: {}", reply.header(name)))
        .collect();
    normalised(&format!("{}\n{}\n{}", reply.status, headers.join("\n"), reply.body))
}

/// One server's answers to the whole table.
fn table(server: &Server, door: &Door) -> Vec<(String, String, u16)> {
    let mut answers = Vec::new();
    let mut run = String::new();
    let key = "idempotency-key: first";
    let big = "x".repeat(2 * 1024 * 1024);
    // What is over the bound of the manifest the host refuses itself, in its own words.
    const OVER: &str = "POST workflows/validate";
    let requests: &[(&str, &[&str], &str)] = &[
        ("GET health/live", &[], ""),
        ("GET health/ready", &[], ""),
        ("GET info", &[], ""),
        ("GET workflows", &[], ""),
        ("POST workflows", &[YAML], DOOR),
        ("POST workflows", &[YAML], DOOR),
        ("POST workflows", &[YAML], WRONG),
        ("POST workflows", &[YAML], "a: [1"),
        ("POST workflows", &["content-type: text/html"], DOOR),
        ("POST workflows", &[YAML], &big[..1_060_000]),
        (OVER, &[YAML], &big),
        ("POST workflows/validate", &[YAML], WRONG),
        ("POST workflows/validate", &[JSON], "{"),
        ("GET workflows?limit=1", &[], ""),
        ("GET workflows?limit=0", &[], ""),
        ("GET workflows?lmiit=1", &[], ""),
        ("GET workflows/door", &[], ""),
        ("PUT workflows/door", &[YAML], &DOOR.replace("Hello", "Good day")),
        ("PUT workflows/door", &[YAML, "if-match: \"stale\""], DOOR),
        ("DELETE workflows/nobody", &[], ""),
        ("PATCH workflows", &[], ""),
        ("POST workflows/door/runs", &[JSON, key], r#"{"inputs":{"who":"Zoë"}}"#),
        ("GET runs", &[], ""),
        ("GET runs/{run}", &[], ""),
        ("GET runs/{run}/steps", &[], ""),
        ("POST workflows/door/runs", &[JSON, key], r#"{"inputs":{"who":"Zoë"}}"#),
        ("POST workflows/door/runs", &[JSON, key], r#"{"inputs":{"who":"Tom"}}"#),
        ("POST workflows/door/runs", &[JSON], r#"{"inputs":{"who":5}}"#),
        ("POST workflows/door/runs", &[JSON], r#"{"inptus":{}}"#),
        ("POST runs/{run}/cancel", &[JSON], r#"{"reason":"rain"}"#),
        ("POST runs/{run}/signal/open", &[JSON], "{}"),
        ("GET runs/no-id", &[], ""),
        ("GET runs/01932b6e-0f2a-7c40-8000-3c1f4b1d2a00", &[], ""),
        ("GET nothing", &[], ""),
        ("GET /", &[], ""),
    ];
    for (line, headers, body) in requests {
        let reply = door.ask(&line.replace("{run}", &run), headers, body);
        if reply.status == 201 && line.ends_with("/runs") && run.is_empty() {
            run = reply.json()["id"].as_str().unwrap().to_owned();
            // The next requests meet a run at rest.
            server.wait_for("chainbot.workflow.waiting", &run);
        }
        if line.ends_with("/cancel") {
            server.wait_for("chainbot.workflow.cancelled", &run);
        }
        let shown = if body.len() > 200 { "(large)" } else { body };
        let essence = match *line == OVER && body.len() == big.len() {
            true => reply.status.to_string(),
            // How far a run has come by the time its start is answered is the scheduler's affair.
            false
                if reply.status == 201
                    && line.ends_with("/runs")
                    && reply.header("idempotency-replayed") != "true" =>
            {
                normalised(&format!("{} {}", reply.status, reply.header("location")))
            }
            false => essence(&reply).replace(&server.port.address, "<own port>"),
        };
        answers.push((format!("{line} {shown}"), essence, reply.status));
    }
    answers
}

#[test]
fn both_doors_give_the_same_answers() {
    let folder = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, two) = (Server::start(&data(&folder.0)), Server::start(&data(&folder.1)));
    let by_port = table(&one, &one.port);
    let by_host = table(&two, &two.host);
    for ((line, port, _), (_, host, _)) in by_port.iter().zip(&by_host) {
        // Documents are long, so what is shown begins where they part.
        let at = port.bytes().zip(host.bytes()).take_while(|(port, host)| port == host).count();
        let rest = |text: &str| text.get(at..).unwrap_or(text).chars().take(300).collect::<String>();
        assert!(port == host, "{line}\nport: {}\nhost: {}", rest(port), rest(host));
    }
    let seen: BTreeSet<u16> = by_port.iter().map(|(_, _, status)| *status).collect();
    for status in [200, 201, 400, 404, 405, 409, 412, 413, 415, 422] {
        assert!(seen.contains(&status), "the table lost its {status}: {seen:?}");
    }
}

#[test]
fn a_wrong_definition_lists_every_problem_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&data(&folder));
    let reply = server.host.ask("POST workflows", &[YAML], WRONG);
    assert_eq!((reply.status, reply.header("content-type")), (422, "application/problem+json"));
    let problem = reply.json();
    let errors = problem["errors"].as_array().unwrap();
    for (line, word) in [(3, "wiat"), (4, "retires"), (4, "nobody"), (5, "`b`")] {
        let found = errors.iter().any(|error| error["line"] == line && error.to_string().contains(word));
        assert!(found, "line {line}, {word}: {problem:#}");
    }
}

#[test]
fn nothing_is_open_without_a_credential_but_the_public_routes() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    let server = Server::start(&data);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join("token"))), (0o700, 0o600));
    let document = server.port.ask("GET openapi.json", &[], "").json();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let line = format!("{} {}", method.to_uppercase(), path.replace(['{', '}'], ""));
            // Signing in and setting up take their credential in the body, which has none here.
            let expected = match path.rsplit('/').next() {
                Some("live" | "ready") => 200,
                Some("login" | "setup") => 422,
                _ => 401,
            };
            for door in [&server.port, &server.host] {
                assert_eq!(door.bare(&line, &[JSON], "{}").status, expected, "{line} {door:?}");
                let other = Door { token: format!("cb_{}", "0".repeat(64)), ..door.clone() };
                assert_eq!(other.ask(&line, &[JSON], "{}").status, expected, "{line} with a foreign token");
            }
            asked += 1;
        }
    }
    assert!(asked >= 70, "the document names {asked} routes only");
    assert_eq!(
        server.port.bare("GET /anything", &[], "").status,
        401,
        "what is not served is not told either"
    );
}

#[test]
fn accounts_are_the_same_through_both_doors_and_the_first_is_set_up_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    let server = Server::start(&data);
    let setup = data.join("setup-token");
    let mode = std::fs::metadata(&setup).unwrap().permissions().mode() & 0o777;
    let token = std::fs::read_to_string(&setup).unwrap().trim().to_owned();
    assert_eq!((mode, token.len()), (0o600, 68));
    let first = json!({ "token": token, "name": "mia", "password": "three words apart" }).to_string();
    let login = json!({ "name": "mia", "password": "three words apart" }).to_string();
    assert_eq!(server.host.bare("POST auth/login", &[JSON], &login).status, 409, "nobody is there yet");
    assert_eq!(server.host.bare("POST setup", &[JSON], &first).status, 201);
    assert!(!setup.exists());
    assert_eq!(server.port.bare("POST setup", &[JSON], &first).status, 401);
    let body = json!({ "name": "tom", "role": "viewer", "password": "three words apart" }).to_string();
    assert_eq!(server.port.ask("POST users", &[JSON], &body).status, 201);
    for (door, name) in [(&server.port, "tom"), (&server.host, "mia")] {
        let login = login.replace("mia", name);
        let signed = door.bare("POST auth/login", &[JSON], &login).json();
        let access = format!("authorization: Bearer {}", signed["access_token"].as_str().unwrap());
        let refresh = json!({ "refresh_token": signed["refresh_token"] }).to_string();
        // A login of one door is one of the other.
        for other in [&server.port, &server.host] {
            let me = other.bare("GET auth/me", &[&access], "").json();
            assert_eq!(me["name"], name);
            let made = other.bare("POST workflows/validate", &[&access, YAML], DOOR).status;
            assert_eq!(made, if name == "tom" { 403 } else { 200 });
        }
        assert_eq!(door.bare("POST auth/refresh", &[JSON], &refresh).status, 200);
        assert_eq!(door.bare("POST auth/refresh", &[JSON], &refresh).status, 409);
        assert_eq!(door.bare("POST auth/logout", &[&access], "").status, 204);
        for other in [&server.port, &server.host] {
            assert_eq!(other.bare("GET auth/me", &[&access], "").status, 401);
        }
    }
    // The operator's token is as good as before.
    assert_eq!(server.port.ask("GET users", &[], "").json().as_array().unwrap().len(), 2);
}

/// Reads events of a stream until one of this type came: pairs of id and type.
fn until(stream: impl std::io::Read, last: &str) -> Vec<(u64, String)> {
    let (mut id, mut found) = (0, Vec::new());
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if let Some(text) = line.strip_prefix("id: ") {
            id = text.parse().unwrap();
        }
        if let Some(kind) = line.strip_prefix("event: ") {
            found.push((id, kind.to_owned()));
            if kind == last {
                break;
            }
        }
    }
    found
}

#[test]
fn events_arrive_in_order_as_a_stream_on_the_port_and_as_a_long_poll_through_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&data(&folder));
    assert_eq!(server.port.ask("POST workflows", &[YAML], DOOR).status, 201);
    let authorization = format!("authorization: Bearer {}", server.port.token);
    let stream = server.port.open("GET events", &[&authorization], "");
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    // The stream has begun, so it will tell what comes.
    while !line.starts_with("retry: ") {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended before it began");
    }
    let run = server.port.ask("POST workflows/door/runs", &[JSON], STRANGER).json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    server.wait_for("chainbot.workflow.waiting", &run);
    assert_eq!(server.port.ask(&format!("POST runs/{run}/signal/open"), &[JSON], "{}").status / 100, 2);
    let events = until(stream, "run.completed");
    assert_eq!(events.first().unwrap().1, "run.created", "{events:?}");
    assert!(events.windows(2).all(|pair| pair[0].0 < pair[1].0), "{events:?}");
    assert!(events.iter().any(|(_, kind)| kind == "signal.received"), "{events:?}");

    let first = events[0].0 - 1;
    let poll = server.host.ask("GET events", &[&format!("last-event-id: {first}")], "");
    assert_eq!((poll.status, poll.header("content-type")), (200, "text/event-stream"));
    assert_eq!(until(poll.body.as_bytes(), "run.completed"), events, "{}", poll.body);
}

#[test]
fn a_waiting_run_survives_a_kill_its_key_still_counts_and_a_signal_completes_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    let key = "idempotency-key: only-once";
    let start = |server: &Server| {
        server.host.ask("POST workflows/door/runs", &[JSON, key], r#"{"inputs":{"who":"Mia"}}"#)
    };
    let topics = ["chainbot.workflow.started", "chainbot.workflow.waiting", "user.door.knock"];

    let server = Server::start(&data);
    assert_eq!(server.host.ask("POST workflows", &[YAML], DOOR).status, 201);
    let made = start(&server);
    assert_eq!((made.status, made.header("idempotency-replayed")), (201, ""));
    let run = made.json()["id"].as_str().unwrap().to_owned();
    let before: Vec<Value> = topics.iter().map(|topic| server.wait_for(topic, &run)).collect();
    server.kill();

    let server = Server::start(&data);
    let again = start(&server);
    assert_eq!(
        (again.header("idempotency-replayed"), again.json()["id"].as_str()),
        ("true", Some(run.as_str()))
    );
    assert_eq!(server.host.ask("GET runs", &[], "").json().as_array().unwrap().len(), 1);
    assert_eq!(server.port.ask(&format!("GET runs/{run}"), &[], "").json()["status"], "waiting");
    let signal =
        server.host.ask(&format!("POST runs/{run}/signal/open"), &[JSON], r#"{"data":{"by":"hand"}}"#);
    assert_eq!(signal.status / 100, 2, "{signal:?}");
    server.wait_for("chainbot.workflow.completed", &run);
    let view = server.port.ask(&format!("GET runs/{run}"), &[], "").json();
    assert_eq!((&view["status"], &view["output"]), (&json!("completed"), &json!("Hello, Mia")));
    // What the first life may not have ticked off in time comes again, and then under the same id.
    let after = server.events("%23");
    for old in &before {
        let same: Vec<_> = after
            .iter()
            .filter(|new| new["topic"] == old["topic"] && new.to_string().contains(&run))
            .collect();
        assert!(same.iter().all(|new| new["id"] == old["id"]), "{old} came again as {same:?}");
        assert!(same.len() <= 1, "{same:?}");
    }
    let ids: BTreeSet<&str> = before
        .iter()
        .chain(&after)
        .filter(|e| e.to_string().contains(&run))
        .map(|e| e["id"].as_str().unwrap())
        .collect();
    assert!(!ids.contains("") && ids.len() >= 4, "{ids:?}");
    server.stop();

    // After an orderly end nothing is told twice: the events of a new run come without those of the old.
    let server = Server::start(&data);
    let other = server.host.ask("POST workflows/door/runs", &[JSON], STRANGER).json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    server.wait_for("chainbot.workflow.waiting", &other);
    let repeated: Vec<Value> =
        server.events("%23").into_iter().filter(|event| event.to_string().contains(&run)).collect();
    assert!(repeated.is_empty(), "{repeated:?}");
}

#[test]
fn an_event_of_the_host_is_taken_by_its_topic() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&data(&folder));
    let published =
        server.host.bare("POST /host/events/kitchen.light", &[JSON, "event-id: e-1"], r#"{"on":true}"#);
    assert_eq!(published.status / 100, 2, "{published:?}");
    let refused = server.host.bare("POST /host/events/kitchen..light", &[JSON], "{}");
    assert_eq!(refused.status, 400, "{refused:?}");
    assert_eq!(server.host.bare("GET /host/health", &[], "").json()["state"], "started");
}

#[test]
fn a_second_process_on_the_same_folder_is_refused_and_told_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    let server = Server::start(&data);
    let output = refused(&data);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for word in [format!("{}", server.pid()), "CB-0809".to_owned(), data.display().to_string()] {
        assert!(stderr.contains(&word), "`{word}` is not in: {stderr}");
    }
    assert_eq!(server.port.bare("GET health/live", &[], "").status, 200, "the first goes on");
}
