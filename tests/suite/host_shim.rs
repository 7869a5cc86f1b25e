//! host-shim as a person runs it: the built program, small modules compiled by `cc`, real signals and real HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::{Value, json};

/// The built program, which lies beside the folder of this test's executable.
pub fn host_shim() -> Command {
    static BUILD: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILD.lock().unwrap();
    let me = std::env::current_exe().unwrap();
    let path = me.ancestors().nth(2).unwrap().join("host-shim");
    if !path.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "-p", "host-shim"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(built.success(), "host-shim does not build");
    }
    Command::new(path)
}

/// Compiles a C file of tests/c into a shared library.
fn compile(folder: &Path, name: &str, flags: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = folder.join(format!("lib{name}{}.so", flags.concat()));
    let compiled = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-pthread"])
        .args(flags)
        .arg("-I")
        .arg(root.join("include"))
        .arg(root.join("tests/c").join(format!("{name}.c")))
        .arg("-o")
        .arg(&out)
        .status()
        .expect("a C compiler is needed as `cc`");
    assert!(compiled.success(), "{name}.c does not compile");
    out
}

/// Runs to the end and gives what was printed.
fn output(args: &[&str], module: &Path) -> Output {
    host_shim().args(args).arg("--module").arg(module).stdin(Stdio::null()).output().unwrap()
}

/// A running host with the echo module.
pub struct Host {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    address: String,
    folder: Option<tempfile::TempDir>,
}

impl Host {
    fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut host = Self::of(&compile(folder.path(), "echo", &[]), args);
        host.folder = Some(folder);
        host
    }

    /// With another module.
    pub fn of(module: &Path, args: &[&str]) -> Self {
        let mut child = host_shim()
            .args(["run", "--http", "127.0.0.1:0", "--health-interval", "10ms", "--module"])
            .arg(module)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        // Ends with the host, which closes its end of the pipe.
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut host = Self { child, lines, seen: Vec::new(), address: String::new(), folder: None };
        let line = host.line_with("http: ");
        host.address = line["http: http://".len()..].split('/').next().unwrap().to_owned();
        host.line_with("running");
        host
    }

    /// The next line of stdout, or none at its end. The bound only turns a hanging host into a failing test.
    fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(Duration::from_secs(60)) {
            Ok(line) => {
                self.seen.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the host neither prints nor ends: {:?}", self.seen),
        }
    }

    /// Reads stdout up to a line that holds `text`.
    pub fn line_with(&mut self, text: &str) -> String {
        while let Some(line) = self.line() {
            if line.contains(text) {
                return line;
            }
        }
        let stderr = self.stderr();
        panic!("the host ended before it printed {text:?}: {:?}\n{stderr}", self.seen);
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut text).unwrap();
        }
        text
    }

    /// Waits for the end: exit code and stderr.
    pub fn end(mut self) -> (i32, String) {
        while self.line().is_some() {}
        let stderr = self.stderr();
        (self.child.wait().unwrap().code().unwrap(), stderr)
    }

    pub fn stop(self) -> (i32, String) {
        self.signal("TERM");
        self.end()
    }

    /// One request on a connection of its own: status, head in lower case, body.
    pub fn request(&self, head: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = self.send(head, body);
        read_response(&mut stream)
    }

    fn send(&self, head: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        let mut text = format!("{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.contains("host:") {
            text.push_str("host: localhost\r\n");
        }
        for header in headers.lines() {
            text.push_str(&format!("{header}\r\n"));
        }
        stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        stream
    }

    pub fn json(&self, head: &str, body: &[u8]) -> (u16, Value) {
        let (status, _, body) = self.request(head, body);
        (
            status,
            serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&body))),
        )
    }

    /// The first event of a topic that the module published after `since`.
    fn event(&self, topic: &str, since: u64) -> Value {
        let (_, answer) =
            self.json(&format!("GET /host/events?since={since}&topic={topic}&wait_ms=30000"), b"");
        answer["events"][0].clone()
    }
}

/// A test that fails must not leave a host behind.
impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_response(stream: &mut TcpStream) -> (u16, String, Vec<u8>) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, bytes[end + 4..].to_vec())
}

#[test]
fn what_is_no_module_is_refused_with_a_code_and_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.so");
    std::fs::write(&text, "a text, and no library\n".repeat(10)).unwrap();
    for (module, names) in [
        (folder.path().join("none.so"), vec!["CB-0801", "none.so", "no such file"]),
        (folder.path().to_owned(), vec!["CB-0801", "not a file"]),
        (text, vec!["CB-0802", "text.so", "invalid ELF header"]),
        (compile(folder.path(), "no_symbol", &[]), vec!["CB-0803", "alex_base_module"]),
        (compile(folder.path(), "wrong_major", &[]), vec!["CB-0804", "7.3", "1.0"]),
        (compile(folder.path(), "null_function", &["-DSHORT"]), vec!["CB-0805", "struct_size is 16"]),
        (compile(folder.path(), "null_function", &[]), vec!["CB-0805", "`describe` is null"]),
    ] {
        let output = output(&["run"], &module);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        for name in names {
            assert!(stderr.contains(name), "`{name}` is not in: {stderr}");
        }
    }
}

#[test]
fn a_refused_configuration_and_a_failed_start_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let module = compile(folder.path(), "echo", &[]);
    for (set, code, text) in [
        ("mode=refuse", "CB-0808", "the configuration says refuse"),
        ("mode=unstartable", "CB-0809", "the data folder is in use"),
    ] {
        let output = output(&["run", "--set", set], &module);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(code) && stderr.contains(text), "{stderr}");
    }
}

#[test]
fn describe_prints_the_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let output = output(&["describe"], &compile(folder.path(), "echo", &[]));
    let manifest: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&manifest["name"], &manifest["version"]), (&json!("echo"), &json!("1.2.3")));
}

#[test]
fn sigterm_stops_the_module_completes_its_requests_and_exits_with_0() {
    for signal in ["TERM", "INT"] {
        let mut host = Host::start(&[]);
        let mut held = host.send("GET /hold", b"");
        // The module counts the request as under way before the signal is sent.
        while host.json("GET /host/health", b"").1["in_flight"] != 1 {}
        host.signal(signal);
        let (status, head, _) = read_response(&mut held);
        assert_eq!(status, 503, "{head}");
        assert!(head.contains("retry-after"), "{head}");
        host.line_with("health: stopped");
        host.line_with("ended");
        let (code, stderr) = host.end();
        assert_eq!(code, 0, "{stderr}");
        assert!(stderr.contains("echo: released"), "cleanup was called: {stderr}");
        assert!(!stderr.contains("CB-0814"), "{stderr}");
    }
}

#[test]
fn a_module_that_does_not_stop_ends_the_host_with_4_and_is_not_released() {
    let host = Host::start(&["--set", "mode=stuck"]);
    let (code, stderr) = host.stop();
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("CB-0811") && stderr.contains("1 request under way (POST /slow)"), "{stderr}");
    assert!(!stderr.contains("echo: released"), "a module that has not stopped is not released: {stderr}");
}

#[test]
fn a_second_signal_ends_a_module_that_hangs_in_stop() {
    let mut host = Host::start(&["--set", "mode=hang"]);
    host.signal("TERM");
    host.line_with("SIGTERM: stopping");
    host.signal("TERM");
    let (code, stderr) = host.end();
    assert_eq!(code, 128 + 15, "{stderr}");
    assert!(stderr.contains("second signal (SIGTERM)"), "{stderr}");
}

#[test]
fn a_change_of_health_is_printed_once() {
    let mut host = Host::start(&[]);
    host.request("GET /health?slow-disk", b"");
    let line = host.line_with("degraded");
    assert_eq!(line, "health: started, degraded 0.60 - slow-disk");
    host.request("GET /health?hot", b"");
    host.line_with("hot");
    let degraded = host.seen.iter().filter(|line| line.contains("slow-disk")).count();
    assert_eq!(degraded, 1, "{:?}", host.seen);
    assert_eq!(host.stop().0, 0);
}

#[test]
fn a_module_that_fails_ends_the_host_with_3_and_its_reason() {
    let host = Host::start(&[]);
    host.request("POST /fail", b"");
    let (code, stderr) = host.end();
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("CB-0813") && stderr.contains("the disk is gone"), "{stderr}");
    assert!(stderr.contains("echo: released"), "a failed module is stopped and released: {stderr}");
}

#[test]
fn requests_arrive_whole_and_forgeable_headers_do_not() {
    let host = Host::start(&["--mount", "/m"]);
    let head = "PUT /m/a%20b?x=1\nx-one: 1\nx-two: a\nx-two: b\nx-forwarded-for: 9.9.9.9\nX-Forwarded-Prefix: /evil\ntraceparent: 00-ab";
    let (status, response, body) = host.request(head, b"{}");
    let got: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, 200);
    assert!(
        response.contains("content-type: application/json") && response.matches("x-echo: ").count() == 2,
        "{response}"
    );
    for (field, expect) in [
        ("method", "PUT"),
        ("path", "/a%20b?x=1"),
        ("mount", "/m"),
        ("peer", "127.0.0.1"),
        ("trace", "00-ab"),
    ] {
        assert_eq!(got[field], expect, "{field}");
    }
    assert_eq!(got["bytes"], 2);
    assert_eq!((&got["headers"]["x-one"], &got["headers"]["x-two"]), (&json!("1"), &json!(["a", "b"])));
    for dropped in ["x-forwarded-for", "x-forwarded-prefix"] {
        assert_eq!(got["headers"][dropped], Value::Null, "{dropped}");
    }
    assert_eq!(host.json("GET /other", b"").1["code"], "CB-0823");
    assert_eq!(host.stop().0, 0);
}

#[test]
fn bodies_pass_unchanged_and_those_over_the_bound_get_413() {
    let host = Host::start(&[]);
    let bytes: Vec<u8> = (0..=255).cycle().take(65_536).collect();
    let (status, _, body) = host.request("POST /body", &bytes);
    assert_eq!(status, 200);
    assert!(body == bytes, "the bytes arrive unchanged");
    // 4,096 is the bound of `/`, 65,536 that of `/body`.
    for (path, len, expect) in [("/x", 4_096, 200), ("/x", 4_097, 413), ("/body", 65_537, 413)] {
        let (status, _, body) = host.request(&format!("POST {path}"), &vec![b'x'; len]);
        assert_eq!(status, expect, "{path} {len}");
        assert_eq!(status == 413, String::from_utf8_lossy(&body).contains("CB-0816"));
    }
    let chunked =
        "POST /x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut stream = TcpStream::connect(&host.address).unwrap();
    stream.write_all(format!("{chunked}1388\r\n{}\r\n0\r\n\r\n", "x".repeat(5_000)).as_bytes()).unwrap();
    assert_eq!(read_response(&mut stream).0, 413);
    assert_eq!(host.stop().0, 0);
}

#[test]
fn errors_of_the_module_become_http_statuses_without_its_words() {
    let host = Host::start(&[]);
    for (path, expect, retry) in [
        ("/wrong", 400, false),
        ("/busy", 503, true),
        ("/absent", 501, false),
        ("/cancelled", 503, true),
        ("/late", 504, false),
        ("/malformed", 500, false),
    ] {
        let (status, head, body) = host.request(&format!("GET {path}"), b"");
        let body = String::from_utf8(body).unwrap();
        assert_eq!(status, expect, "{path}: {body}");
        assert_eq!(head.contains("retry-after"), retry, "{path}: {head}");
        assert!(
            head.contains("application/problem+json") && body.contains("CB-0821"),
            "{path}: {head} {body}"
        );
        assert!(!body.contains("secret"), "{path}: {body}");
    }
    let (_, stderr) = host.stop();
    assert!(stderr.contains("secret detail"), "the log has the module's words: {stderr}");
}

#[test]
fn events_reach_the_module_by_pattern_and_its_own_come_back() {
    let host = Host::start(&[]);
    assert_eq!(host.event("echo.started", 0)["number"], 1);
    for (topic, routed) in [("test.one", true), ("test.one.two", false), ("other", false), ("loop", true)] {
        let (status, answer) = host.json(&format!("POST /host/events/{topic}"), b"{\"a\":[1]}");
        assert_eq!((status, &answer["routed"]), (202, &json!(routed)), "{topic}");
    }
    assert_eq!(host.event("echo.got", 1)["payload"], json!({"topic": "test.one", "payload": {"a": [1]}}));
    assert_eq!(host.event("echo.got", 2)["payload"]["topic"], "loop");
    // Two patterns match test.chain; it comes once, and what the module then publishes comes back to it.
    host.json("POST /host/events/test.chain", b"1");
    assert_eq!(host.event("echo.*", 3)["payload"]["topic"], "test.chain");
    assert_eq!(host.event("loop.back", 3)["payload"], json!({"n": 1}));
    assert_eq!(host.event("echo.got", 4)["payload"]["topic"], "loop.back");
    // Refused twice with BUSY, then taken.
    host.json("POST /host/events/test.busy", b"2");
    assert_eq!(host.event("echo.got", 6)["payload"]["topic"], "test.busy");
    let (code, stderr) = host.stop();
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn wrong_events_and_foreign_pages_are_refused() {
    let host = Host::start(&[]);
    for (head, body, status, code) in [
        ("POST /host/events/a..b", "1", 400, "CB-0817"),
        ("POST /host/events/a.*", "1", 400, "CB-0817"),
        ("POST /host/events/test.x", "{", 400, "CB-0817"),
        ("GET /host/events?since=x", "", 400, "CB-0817"),
        ("GET /host/events?sinse=1", "", 400, "CB-0817"),
        ("POST /host/events/test.x\norigin: http://evil.example", "1", 403, "CB-0822"),
        ("GET /host/health\nhost: evil.example", "", 403, "CB-0822"),
    ] {
        let (got, problem) = host.json(head, body.as_bytes());
        assert_eq!((got, &problem["code"]), (status, &json!(code)), "{head}");
    }
    assert_eq!(
        host.json("GET /host/events?topic=echo.got", b"").1["events"],
        json!([]),
        "nothing was delivered"
    );
    assert_eq!(host.stop().0, 0);
}

#[test]
fn json_logs_are_json_on_both_streams() {
    let folder = tempfile::tempdir().unwrap();
    let module = compile(folder.path(), "echo", &[]);
    let output = output(&["run", "--log-format", "json", "--set", "mode=unstartable"], &module);
    let lines = |bytes: &[u8]| -> Vec<Value> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
            .collect()
    };
    let (notices, log) = (lines(&output.stdout), lines(&output.stderr));
    assert_eq!(notices[0]["fields"]["module"], "echo");
    let configured = log.iter().find(|line| line["target"] == "echo::setup").expect("the module's line");
    assert_eq!((&configured["level"], &configured["message"]), (&json!("info"), &json!("configured")));
    assert!(configured["fields"]["bytes"].is_number());
    assert!(log.iter().any(|line| line["level"] == "error"));
}

#[test]
fn a_script_gives_its_transcript() {
    let folder = tempfile::tempdir().unwrap();
    let module = compile(folder.path(), "echo", &[]);
    let script = folder.path().join("a.script");
    std::fs::write(folder.path().join("token"), "s3cret\n").unwrap();
    let lines = "# comment\nhealth\ninitialize {\"values\":{}}\nstart\nwait-event echo.#\nevent other 1\nevent test.a {\"id\":\"x-1\"}\n\
        wait-event echo.got\nsave ID id\nforce-event test.refused 1\nwebhook POST /${ID} [a: Bearer @file:token] -- hello\n\
        webhook GET /busy\nwebhook GET /late\nhealth\nextension alex.drain/1\n";
    std::fs::write(&script, lines).unwrap();
    let output = host_shim()
        .args(["transcript", "--module"])
        .arg(&module)
        .arg("--script")
        .arg(&script)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let expect = r#"health INVALID
initialize OK
start OK
wait-event echo.# OK echo.started {}
event other UNROUTED
event test.a OK
wait-event echo.got OK echo.got {"topic":"test.a","payload":{"id":"x-1"}}
force-event test.refused INVALID not this one
webhook POST /x-1 DONE OK 200 application/json {"method":"POST","path":"/x-1","mount":"","peer":"127.0.0.1","trace":"","headers":{"a":"Bearer s3cret"},"bytes":5}
webhook GET /busy BUSY secret detail
webhook GET /late DONE TIMEOUT
health OK state=started score=1.00 label=healthy in_flight=0 queue_depth=0 panics=0 threads=some detail=ok
extension alex.drain/1 absent
stop OK
cleanup OK
"#;
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        expect,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(0));

    std::fs::write(&script, "describe\nstrat\n").unwrap();
    let output = host_shim()
        .args(["transcript", "--module"])
        .arg(&module)
        .arg("--script")
        .arg(&script)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("CB-0819") && stderr.contains("line 2") && stderr.contains("`strat`"),
        "{stderr}"
    );
}
