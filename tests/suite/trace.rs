//! What the running module asks of the kernel, seen by strace: it starts no program, opens nothing and connects to nothing but what
//! `tests/golden/trace.txt` names, whatever definitions, inputs and requests say.
//!
//! The whole run of each test is traced: every case of every type of step, hostile text in every place that takes text, names that climb out of
//! folders in every route, a backup, a stop. A path that is asked for and not there counts like one that is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::crash::client::Client;
use crate::crash::host::Module;
use crate::steps::{CHILDREN, Case, How, JSON, World, cases, is_over};
use crate::support::{chainbot, has_tool, plugin, root, skip};

/// What is traced: programs, files by name, sockets. Reads, writes and what only looks at names are not.
const CALLS: &str = "trace=execve,execveat,open,openat,openat2,creat,mknod,mknodat,mkdir,mkdirat,link,linkat,symlink,symlinkat,\
                     rename,renameat,renameat2,unlink,unlinkat,rmdir,chmod,fchmodat,chown,fchownat,truncate,socket,connect,bind";
const YAML: &str = "content-type: application/yaml\r\n";
const KINDS: [&str; 8] = ["api_call", "control", "email", "gpio", "transform", "wait", "webhook", "workflow"];

/// One system call.
struct Call<'a> {
    name: &'a str,
    /// Everything after the bracket.
    rest: &'a str,
}

impl Call<'_> {
    /// The paths it names, relative ones behind the folder they are relative to.
    fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut rest = self.rest;
        let mut folder = "";
        // With -y a descriptor is shown as `3</folder>`.
        while let Some(at) = rest.find(['"', '<']) {
            let (close, from) = if rest[at..].starts_with('"') { ('"', at + 1) } else { ('>', at + 1) };
            let Some(len) = rest[from..].find(close) else { break };
            let text = &rest[from..from + len];
            match close {
                '>' => folder = text,
                _ if text.starts_with('/') => found.push(text.to_owned()),
                _ => found.push(format!("{folder}/{text}")),
            }
            rest = &rest[from + len + 1..];
            if self.name.starts_with("exec") {
                break; // the rest are arguments
            }
        }
        found
    }

    /// Whether it can change a file.
    fn changes(&self) -> bool {
        !self.name.starts_with("open")
            || ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| self.rest.contains(flag))
    }
}

/// A trace: a line a call, `PID NAME(...`.
struct Trace(PathBuf);

impl Trace {
    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }

    /// strace writes a call down before the call is over, so whoever got an answer finds all that led to it.
    fn len(&self) -> usize {
        self.text().len()
    }
}

fn calls(text: &str) -> impl Iterator<Item = Call<'_>> {
    text.lines().filter_map(|line| {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        let (name, rest) = call.split_once('(')?;
        name.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(Call { name, rest })
    })
}

/// The golden list: what may be opened, changed, connected to and listened on.
struct Allowed(Vec<(String, String)>);

impl Allowed {
    fn read() -> Self {
        let text = std::fs::read_to_string(root().join("tests/golden/trace.txt")).unwrap();
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(
            lines
                .map(|line| {
                    let mut words = line.split_whitespace();
                    (words.next().unwrap().to_owned(), words.next().unwrap().to_owned())
                })
                .collect(),
        )
    }

    /// `read`, `write`, `connect`, `bind`. What may be changed may be read.
    fn has(&self, verb: &str, what: &str) -> bool {
        self.0.iter().any(|(allowed, prefix)| {
            (allowed == verb || (verb == "read" && allowed == "write"))
                && if prefix.ends_with('/') || verb == "connect" || verb == "bind" {
                    what.starts_with(prefix.as_str())
                } else {
                    what == prefix
                }
        })
    }
}

/// Everything of a trace that the list does not have; `names` are put in place of this run's own paths and ports.
fn strangers(text: &str, names: &[(String, &str)]) -> BTreeSet<String> {
    let allowed = Allowed::read();
    let shown = |text: &str| names.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    let mut found = BTreeSet::new();
    let mut programs = 0;
    for call in calls(text) {
        match call.name {
            "execve" | "execveat" => {
                programs += 1;
                if programs > 1 {
                    found.insert(format!("starts {}", call.rest));
                }
            }
            "socket" => {
                let known =
                    ["AF_INET,", "AF_INET6,", "AF_UNIX,"].iter().any(|family| call.rest.starts_with(family));
                if !known {
                    found.insert(format!("socket({}", call.rest));
                }
            }
            verb @ ("connect" | "bind") => {
                let target = shown(&target(call.rest));
                if !allowed.has(verb, &target) {
                    found.insert(format!("{verb} {target}"));
                }
            }
            _ => {
                let verb = if call.changes() { "write" } else { "read" };
                for path in call.paths().iter().map(|path| shown(path)) {
                    if path.contains("/../") || path.ends_with("/..") || !allowed.has(verb, &path) {
                        found.insert(format!("{verb} {path}"));
                    }
                }
            }
        }
    }
    assert!(programs > 0, "strace saw nothing");
    found
}

/// `127.0.0.1:80`, `[::1]:80`, or `unix:/path`.
fn target(rest: &str) -> String {
    let between = |from: &str, to: &str| {
        rest.split_once(from).and_then(|(_, rest)| rest.split_once(to)).map(|(text, _)| text)
    };
    if let Some(path) = between("sun_path=\"", "\"").or_else(|| between("sun_path=@\"", "\"")) {
        return format!("unix:{path}");
    }
    let port = between("_port=htons(", ")").unwrap_or("?");
    match (between("inet_addr(\"", "\""), between("inet_pton(AF_INET6, \"", "\"")) {
        (Some(v4), _) => format!("{v4}:{port}"),
        (_, Some(v6)) => format!("[{v6}]:{port}"),
        _ => format!("? {rest}"),
    }
}

fn strace(trace: &Path) -> Vec<String> {
    let words = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "-y",
        "-s",
        "4096",
        "--seccomp-bpf",
        "-e",
        CALLS,
        "-e",
        "signal=none",
        "-o",
    ];
    words.iter().map(|&word| word.to_owned()).chain([trace.to_str().unwrap().to_owned()]).collect()
}

/// Whether a traced program runs at all here: a sandbox may forbid it.
fn can_trace() -> Result<(), String> {
    if !has_tool("strace") {
        return Err("strace is not installed".to_owned());
    }
    let tried = Command::new("strace")
        .args(["-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "true"])
        .output()
        .unwrap();
    if tried.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned())
    }
}

/// Text that wants to be a path, a command or a program. `{out}` is a folder that nobody has a reason to look into.
const HOSTILE: &[&str] = &[
    "{out}/made",
    "file://{out}/secret",
    "../../../../../../../..{out}/made",
    "..\\\\..\\\\..{out}",
    "$(touch {out}/made)",
    "`touch {out}/made`",
    "; touch {out}/made #",
    "| tee {out}/made",
    "{{ open('{out}/secret').read() }}",
    "{% include '{out}/secret' %}",
    "require('fs').writeFileSync('{out}/made','x')",
    "__import__('os').system('touch {out}/made')",
    "!!python/object/apply:os.system ['touch {out}/made']",
    "\\u0000{out}/made",
];

/// Each type of step with hostile text in the places that take text.
fn hostile_steps(text: &str, http: &str) -> Vec<Value> {
    let quoted = json!(text).to_string();
    let step = |kind: &str, config: Value| json!({ "id": "it", "type": kind, "config": config });
    let inner = |text: &str| json!({ "id": "inner", "type": "transform", "config": { "type": "template", "template": text } });
    vec![
        step(
            "api_call",
            json!({ "method": "POST", "url": format!("http://127.0.0.1:{http}/x/json"), "headers": { "X-Test": text }, "body": text }),
        ),
        step("api_call", json!({ "url": text })),
        step(
            "api_call",
            json!({ "url": format!("http://127.0.0.1:{http}/x/json"), "query": { "q": text }, "multipart": [{ "name": text, "filename": text, "content": text }] }),
        ),
        step("webhook", json!({ "url": text, "payload": text })),
        step(
            "webhook",
            json!({ "url": format!("http://127.0.0.1:{http}/x/json"), "payload": { "file": text }, "delivery": "outbox" }),
        ),
        step("email", json!({ "to": text, "subject": text, "body": text })),
        step(
            "email",
            json!({ "to": "trace.ok@example.com", "subject": text, "body": text, "attachments": [{ "filename": text, "content": text }] }),
        ),
        step("notification", json!({ "title": text, "message": text })),
        step("notification", json!({ "message": text, "channels": [text] })),
        step("emit", json!({ "topic": format!("user.{text}"), "data": { "path": text } })),
        step("emit", json!({ "topic": "user.trace", "data": text })),
        step("set", json!({ "variables": { "x": text, "y": quoted } })),
        step("condition", json!({ "if": text, "then": [inner(text)], "else": [inner(text)] })),
        step(
            "condition",
            json!({ "switch": text, "cases": { "a": [inner(text)] }, "default": [inner(text)] }),
        ),
        step("loop", json!({ "for_each": [text], "steps": [inner(text)] })),
        step("loop", json!({ "for_each": text, "steps": [inner(text)] })),
        step("parallel", json!({ "branches": { "a": [inner(text)] } })),
        step("transform", json!({ "type": "template", "template": text })),
        step("transform", json!({ "type": "expression", "expr": text })),
        step("transform", json!({ "type": "jsonpath", "input": { "a": 1 }, "path": text })),
        step("transform", json!({ "type": "regex", "input": text, "pattern": text })),
        step("transform", json!({ "type": "csv_parse", "input": text })),
        step(
            "transform",
            json!({ "type": "date", "input": text, "mode": "parse", "format": text, "timezone": text }),
        ),
        step("wait", json!({ "signal": text })),
        step("wait", json!({ "until": text })),
        step("wait", json!({ "event": text, "timeout": "1s" })),
        step("workflow", json!({ "workflow": text, "inputs": { "x": text } })),
        step("gpio", json!({ "action": "read", "pin": text })),
    ]
}

/// A name that climbs out of its folder.
fn climbing(out: &str) -> Vec<String> {
    let bare = out.trim_start_matches('/');
    let encoded = out.replace('/', "%2f");
    let mut names = vec![
        format!("..%2f..%2f..%2f..%2f..{encoded}%2fsecret"),
        format!("%2e%2e%2f%2e%2e%2f%2e%2e{encoded}%2fsecret"),
        format!("..%5c..%5c..%5c{bare}"),
        format!("..%252f..%252f..{encoded}"),
        format!("..%c0%af..%c0%af{encoded}"),
        format!("{encoded}%2fsecret"),
        format!("%2fproc%2fself%2fenviron%00{encoded}"),
        "..".to_owned(),
        "%2e%2e".to_owned(),
        "%2e".to_owned(),
        "....%2f%2f....%2f%2fetc%2fpasswd".to_owned(),
        "%2fetc%2fpasswd".to_owned(),
        "%2fetc%2fshadow".to_owned(),
        "con%00.txt".to_owned(),
        "%ff%fe".to_owned(),
        "file:%2f%2f%2fetc%2fpasswd".to_owned(),
    ];
    names.extend([1, 3, 8].map(|depth| format!("{}etc%2fpasswd", "..%2f".repeat(depth))));
    let spellings = std::fs::read_to_string(root().join("tests/data/hostile/paths.txt")).unwrap();
    names.extend(spellings.lines().map(str::to_owned));
    names
}

/// The rows of the table of access that have a name in them, with the name in place.
fn named_routes() -> Vec<(String, String)> {
    let table = std::fs::read_to_string(root().join("chainbot-core/src/auth/access.txt")).unwrap();
    let rows = table.lines().filter(|line| {
        ["GET ", "POST ", "PUT ", "DELETE ", "PATCH "].iter().any(|verb| line.starts_with(verb))
    });
    rows.filter(|line| line.contains('{'))
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap().to_owned(), words.next().unwrap().to_owned())
        })
        .collect()
}

/// Puts a name into every `{place}` of a path.
fn filled(path: &str, name: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { name } else { part }).collect::<Vec<_>>().join("/")
}

/// Deploys a definition and runs it to its end or its first wait. A definition that is refused has ended too.
fn play(client: &Client, name: &str, step: &Value, wait: bool) {
    let definition = json!({ "name": name, "steps": [step] }).to_string();
    let made = client.send("POST", "/api/chainbot/workflows", JSON, &definition).unwrap();
    assert!(made.status < 500, "{definition}: {}", made.body);
    if made.status != 201 {
        // It must be the text that is refused, not the shape around it.
        let shape = ["CB-0110", "CB-0111", "CB-0112"]
            .iter()
            .any(|code| made.body["errors"].to_string().contains(code));
        assert!(!shape, "{definition}: {}", made.body["errors"]);
        return;
    }
    let started = client.send("POST", &format!("/api/chainbot/workflows/{name}/runs"), JSON, "{}").unwrap();
    assert!(started.status < 500, "{definition}: {}", started.body);
    if let (true, Some(run)) = (wait, started.body["id"].as_str()) {
        client.wait_until(|| is_over(client, run, true));
    }
}

/// Every case of every type of step, to its end.
fn every_step(client: &Client, world: &World) {
    for child in CHILDREN {
        assert_eq!(client.send("POST", "/api/chainbot/workflows", YAML, child).unwrap().status, 201);
    }
    let all: Vec<Case> =
        KINDS.iter().flat_map(|kind| cases(kind)).filter(|case| case.how == How::Ends).collect();
    assert!(all.len() >= 140, "{}", all.len());
    for case in &all {
        println!("{}", case.name);
        let Ok(run) = case.start(client, world) else { continue };
        case.direct(client, &run);
        client.wait_until(|| is_over(client, &run, true));
    }
}

/// Validating 400 escapes of other languages in every place that takes an expression.
fn validate_escapes(client: &Client) {
    let corpus =
        std::fs::read_to_string(root().join("chainbot-core/src/expr/tests/data/escapes.txt")).unwrap();
    let lines: Vec<&str> =
        corpus.lines().filter(|line| !line.is_empty() && !line.starts_with("## ")).collect();
    assert!(lines.len() >= 400, "{}", lines.len());
    let source = |line: &str| line.strip_prefix("T ").or(line.strip_prefix("L ")).unwrap_or(line).to_owned();
    for (number, batch) in lines.chunks(20).enumerate() {
        let steps = batch.iter().enumerate().flat_map(|(place, line)| {
            let text = source(line);
            [
                json!({ "id": format!("a{place}"), "type": "set", "when": text, "config": { "variables": { "x": text } } }),
                json!({ "id": format!("b{place}"), "type": "api_call", "config": { "url": text, "headers": { "X-A": text }, "body": { "b": text } } }),
                json!({ "id": format!("c{place}"), "type": "loop", "config": { "items": text, "steps": [{ "id": format!("d{place}"), "type": "transform", "config": { "type": "template", "template": text } }] } }),
            ]
        });
        let definition = json!({ "name": format!("escapes-{number}"), "output": source(batch[0]), "steps": steps.collect::<Vec<_>>() });
        let reply =
            client.send("POST", "/api/chainbot/workflows/validate", JSON, &definition.to_string()).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
}

#[test]
fn a_run_starts_no_program_and_opens_and_reaches_only_what_the_list_names() {
    let name = "a_run_starts_no_program_and_opens_and_reaches_only_what_the_list_names";
    if let Err(why) = can_trace() {
        skip!(name, "{why}");
    }
    let Some(world) = World::start() else { skip!(name, "python3 is not installed") };
    let folder = tempfile::tempdir().unwrap();
    let (data, outside) = (folder.path().join("data"), folder.path().join("outside"));
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "canary-of-a-file-outside").unwrap();
    let trace = Trace(folder.path().join("trace"));
    let strace = strace(&trace.0);
    let module = Module::shipped().watched(&strace.iter().map(String::as_str).collect::<Vec<_>>());
    let (host, client) = world.host_of(&module, &data, &["--set", "egress.public=false"]);

    let before = trace.len();
    validate_escapes(&client);
    let text = trace.text();
    let validating: Vec<_> = calls(&text[before..])
        .filter(|call| ["execve", "execveat", "socket", "connect"].contains(&call.name))
        .collect();
    assert!(
        validating.is_empty(),
        "validating does more than read: {} {}",
        validating[0].name,
        validating[0].rest
    );

    every_step(&client, &world);
    let out = outside.to_str().unwrap();
    for (number, text) in HOSTILE.iter().enumerate() {
        let text = text.replace("{out}", out);
        let steps = hostile_steps(&text, &world.http);
        let last = steps.len() - 1;
        for (place, step) in steps.iter().enumerate() {
            play(&client, &format!("hostile-{number}-{place}"), step, place % 5 == 0 || place == last);
        }
    }
    let mut asked = 0;
    for (method, path) in named_routes() {
        for name in climbing(out) {
            let reply = client.send(&method, &filled(&path, &name), JSON, "{}").unwrap();
            assert!(
                (400..500).contains(&reply.status),
                "{method} {path} with {name}: {} {}",
                reply.status,
                reply.body
            );
            assert!(
                !reply.body.to_string().contains("canary-of-a-file-outside"),
                "{method} {path} with {name}"
            );
            asked += 1;
        }
    }
    assert!(asked >= 8_000, "{asked}");
    assert!(client.send("POST", "/api/chainbot/backup", JSON, r#"{"name":"traced"}"#).unwrap().status == 202);
    client.wait_until(|| client.get("/api/chainbot/backups/traced")["status"] != "running");
    host.terminate();
    // strace holds the other end of the pipes that this reads to their end, so the trace is whole.
    let (code, said) = host.end();
    assert_eq!(code, Some(0), "{said}");

    let left: Vec<_> = std::fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["secret"], "something was made where nothing may be made");
    let names = [
        (data.to_str().unwrap().to_owned(), "DATA"),
        (folder.path().to_str().unwrap().to_owned(), "AROUND"),
        (plugin().parent().unwrap().to_str().unwrap().to_owned(), "BUILT"),
        (format!("127.0.0.1:{}", world.http), "WORLD"),
        (format!("127.0.0.1:{}", world.mail), "WORLD"),
        (format!("127.0.0.1:{}", world.refused), "WORLD"),
    ];
    let strangers = strangers(&trace.text(), &names);
    assert!(strangers.is_empty(), "{strangers:#?}\nare not in tests/golden/trace.txt");
}

#[test]
fn commands_that_only_look_start_nothing_and_connect_to_nothing() {
    let name = "commands_that_only_look_start_nothing_and_connect_to_nothing";
    if let Err(why) = can_trace() {
        skip!(name, "{why}");
    }
    let folder = tempfile::tempdir().unwrap();
    let example = root().join("examples/workflows/fetch-and-summarise/workflow.yaml");
    let example = example.to_str().unwrap();
    let hostile = folder.path().join("hostile.json");
    let steps: Vec<Value> = hostile_steps("$(touch /tmp/made); {{ open('/etc/passwd') }}", "1");
    let visual = json!({ "name": "old", "nodes": steps, "edges": [{ "from": "../../etc/passwd", "to": "`id`" }], "steps": steps });
    std::fs::write(&hostile, visual.to_string()).unwrap();
    let hostile = hostile.to_str().unwrap();
    for args in [
        vec!["validate", example],
        vec!["validate", hostile],
        vec!["graph", example],
        vec!["import", hostile],
        vec!["run", "--dry", example],
        vec!["schema"],
        vec!["config", "default"],
    ] {
        let trace = Trace(folder.path().join("trace"));
        let strace = strace(&trace.0);
        let mut command = Command::new(&strace[0]);
        command.args(strace[1..].iter().filter(|word| *word != "-D")).arg(chainbot()).args(&args);
        let output = command.env("HOME", folder.path()).current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0..=4)), "{args:?}: {said}");
        let text = trace.text();
        let bad: Vec<String> = calls(&text)
            .filter(|call| ["connect", "bind"].contains(&call.name))
            .map(|call| format!("{}({}", call.name, call.rest))
            .collect();
        let programs = calls(&text).filter(|call| call.name.starts_with("exec")).count();
        assert!(bad.is_empty() && programs == 1, "{args:?}: {bad:?}, {programs} programs");
    }
}

#[test]
fn the_reader_of_traces_reads_them() {
    let names = [("/tmp/x/data".to_owned(), "DATA")];
    let start = "1 execve(\"/usr/bin/host\", [\"host\"], 0x7ffe) = 0\n";
    let read = |line: &str| strangers(&format!("{start}{line}\n"), &names).into_iter().next();
    for (line, found) in [
        ("12 openat(AT_FDCWD</tmp/x>, \"/tmp/x/data/chainbot.db\", O_RDWR|O_CREAT, 0600) = 3", None),
        (
            "12 openat(AT_FDCWD</tmp/x>, \"/tmp/x/data-of-another/a\", O_RDONLY) = 3",
            Some("read DATA-of-another/a"),
        ),
        ("12 openat(4</tmp/x/data>, \"token\", O_RDONLY) = 3", None),
        ("12 openat(4</tmp/x/data>, \"../token\", O_RDONLY) = 3", Some("read DATA/../token")),
        ("12 openat(AT_FDCWD</tmp/x>, \"/etc/shadow\", O_RDONLY <unfinished ...>", Some("read /etc/shadow")),
        ("12 openat(AT_FDCWD</tmp/x>, \"/etc/hosts\", O_WRONLY) = -1 EACCES", Some("write /etc/hosts")),
        ("12 mkdir(\"/tmp/made\", 0777) = 0", Some("write /tmp/made")),
        ("12 execve(\"/bin/sh\", [\"sh\"], 0x7ffe) = 0", Some("starts \"/bin/sh\", [\"sh\"], 0x7ffe) = 0")),
        (
            "12 connect(9<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr(\"8.8.8.8\")}, 16) = 0",
            Some("connect 8.8.8.8:53"),
        ),
        (
            "12 bind(9<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr(\"0.0.0.0\")}, 16) = 0",
            Some("bind 0.0.0.0:0"),
        ),
        ("12 socket(AF_PACKET, SOCK_RAW, 0) = 3", Some("socket(AF_PACKET, SOCK_RAW, 0) = 3")),
    ] {
        assert_eq!(read(line).as_deref(), found, "{line}");
    }
}
