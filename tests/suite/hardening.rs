//! Hostile text against a running module: in every place of a path, and in every filter, sort and search of a list. The routes
//! and their parameters come from its own document.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::server::{Door, Server, data};
use crate::support::{has_tool, root, skip};

const JSON: &str = "content-type: application/json";
const YAML: &str = "content-type: application/yaml";
/// Neither the rate nor the load of the machine is what this is about.
const UNLIMITED: &[&str] = &["api.rate_limit_per_token=0"];

fn lines(name: &str) -> Vec<String> {
    let path = root().join("tests/data/hostile").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(str::to_owned).collect()
}

/// Method, path and operation of every route.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation.clone()))
    });
    all.collect()
}

/// Writes down the files that a process asks the kernel for.
struct Trace {
    strace: Child,
    file: std::path::PathBuf,
}

impl Trace {
    /// `None` where processes may not be traced.
    fn of(pid: u32, folder: &std::path::Path) -> Option<Self> {
        let file = folder.join("trace");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=%file", "-o"]).arg(&file).args(["-p", &pid.to_string()]);
        let strace = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut trace = Self { strace, file };
        loop {
            let traced = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            if traced.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0")) {
                return Some(trace);
            }
            if trace.strace.try_wait().unwrap().is_some() {
                return None;
            }
            std::thread::yield_now();
        }
    }

    /// Every path that was named since.
    fn end(mut self) -> BTreeSet<String> {
        let pid = self.strace.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
        self.strace.wait().unwrap();
        let text = std::fs::read_to_string(&self.file).unwrap();
        let quoted = |line: &str| Some(line.split('"').nth(1)?.to_owned());
        text.lines().filter_map(quoted).collect()
    }
}

#[test]
fn no_spelling_of_a_path_opens_a_file_outside_of_the_data_folder() {
    const NAME: &str = "no_spelling_of_a_path_opens_a_file_outside_of_the_data_folder";
    if !has_tool("strace") {
        skip!(NAME, "strace is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    let server = Server::start_with(&data, UNLIMITED);
    let document = server.port.ask("GET openapi.json", &[], "").json();
    let Some(trace) = Trace::of(server.pid(), folder.path()) else {
        skip!(NAME, "strace may not trace here");
    };
    let spellings = lines("paths.txt");
    let mut asked = 0;
    for (method, path, operation) in operations(&document).iter().filter(|(_, path, _)| path.contains('{')) {
        let example = &operation["requestBody"]["content"]["application/json"]["example"];
        let body = if example.is_null() { String::new() } else { example.to_string() };
        for spelling in &spellings {
            let parts = path.split('/').map(|part| if part.starts_with('{') { spelling } else { part });
            let line = format!("{method} {}", parts.collect::<Vec<_>>().join("/"));
            let reply = server.port.ask(&line, &[JSON], &body);
            assert!((400..500).contains(&reply.status), "{line}: {reply:?}");
            asked += 1;
        }
    }
    assert!(asked > 5_000, "{asked}");
    // That it is traced at all: a backup writes files.
    assert_eq!(server.port.ask("POST backup", &[JSON], r#"{"name":"seen"}"#).status, 202);
    while server.port.ask("GET backups/seen", &[], "").json()["status"] == "running" {
        std::thread::yield_now();
    }
    let opened = trace.end();
    let own = data.to_str().unwrap();
    assert!(opened.iter().any(|path| path.starts_with(own) && path.contains("seen")), "{opened:?}");
    // What a process of this machine reads by itself, whoever asks what.
    let usual = ["/proc/", "/sys/", "/etc/localtime", "/usr/share/zoneinfo", "/dev/"];
    let outside: Vec<&String> = opened
        .iter()
        .filter(|path| path.starts_with('/') && !path.starts_with(own))
        .filter(|path| !usual.iter().any(|usual| path.starts_with(usual)))
        .collect();
    assert!(outside.is_empty(), "{outside:?}");
}

/// Percent-encodes everything that a query may not hold as it is.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Lists with something in them.
fn filled(door: &Door) {
    for name in ["alpha", "beta"] {
        let source = format!(
            "name: {name}\nsteps:\n  - {{ id: ask, type: wait, config: {{ approval: {{ message: Shall I go on, actions: [approve, reject] }} }} }}\n"
        );
        let made = door.ask("POST workflows", &[YAML], &source);
        assert_eq!(made.status, 201, "{made:?}");
        assert_eq!(door.ask(&format!("POST workflows/{name}/runs"), &[JSON], "{}").status, 201);
    }
    let user = json!({ "name": "mia", "role": "admin", "password": "three words apart" }).to_string();
    assert_eq!(door.ask("POST users", &[JSON], &user).status, 201);
}

#[test]
fn sql_in_a_filter_a_sort_or_a_cursor_finds_nothing_more_and_breaks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(&data(&folder), UNLIMITED);
    let door = &server.port;
    filled(door);
    let document = door.ask("GET openapi.json", &[], "").json();
    let injections = lines("sql.txt");
    assert!(injections.len() >= 200, "{}", injections.len());
    let ids = |path: &str| door.ask(&format!("GET {path}"), &[], "").json().as_array().unwrap().len();
    let before = (ids("workflows"), ids("runs"), ids("users"));
    let (mut asked, mut answered) = (0, 0);
    for (method, path, operation) in operations(&document) {
        // A stream of events is no list, and does not end.
        if method != "GET" || path.ends_with("/events") {
            continue;
        }
        let concrete = path
            .replace("{id}", "alpha")
            .replace("{v}", "1")
            .replace("{name}", "none")
            .replace("{key}", "none");
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        for parameter in parameters.filter(|one| one["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            for text in &injections {
                let line = format!("GET {concrete}?{name}={}", escaped(text));
                let reply = door.ask(&line, &[], "");
                asked += 1;
                assert!(reply.status == 200 || (400..500).contains(&reply.status), "{line}: {reply:?}");
                assert!(!reply.body.to_lowercase().contains("sqlite"), "{line}: {reply:?}");
                if reply.status == 200 && reply.header("content-type") == "application/json" {
                    answered += 1;
                    let rows = reply.json().as_array().map_or(0, Vec::len);
                    // A filter that names nothing finds nothing; a cursor is a place in a list and never all of another.
                    assert!(
                        rows == 0 || name == "cursor" || name == "limit" || name == "since",
                        "{line}: {reply:?}"
                    );
                }
            }
        }
    }
    assert!(asked > 2_500 && answered > 400, "{asked} {answered}");
    assert_eq!((ids("workflows"), ids("runs"), ids("users")), before);
    assert_eq!(door.ask("GET audit/verify", &[], "").json()["ok"], true);
}
