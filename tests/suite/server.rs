//! A host with the real module: `host-shim run` on a data folder, its two HTTP doors, and a small HTTP client.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{host_shim, plugin};

/// Only turns a hanging server into a failing test.
const HANG: Duration = Duration::from_secs(60);

/// One answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// One way to the API.
#[derive(Clone, Debug)]
pub struct Door {
    pub address: String,
    pub token: String,
}

impl Door {
    /// `line` is method and path below /api/chainbot; sends the token.
    pub fn ask(&self, line: &str, headers: &[&str], body: &str) -> Reply {
        let authorization = format!("authorization: Bearer {}", self.token);
        self.bare(line, &[headers, &[authorization.as_str()]].concat(), body)
    }

    /// Without a token.
    pub fn bare(&self, line: &str, headers: &[&str], body: &str) -> Reply {
        let mut stream = self.open(line, headers, body);
        let mut bytes = Vec::new();
        // A server that refuses a body unread may reset the connection; what it said before counts.
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{line}: no answer: {text:?}"));
        let (status, headers) = head.split_once("\r\n").unwrap_or((head, ""));
        let headers = headers.lines().filter_map(|line| line.split_once(": "));
        Reply {
            status: status.split(' ').nth(1).unwrap().parse().unwrap(),
            headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
            body: body.to_owned(),
        }
    }

    /// Sends a request and leaves the answer to be read. HTTP/1.0, so that no answer comes in chunks.
    pub fn open(&self, line: &str, headers: &[&str], body: &str) -> TcpStream {
        let (method, path) = line.split_once(' ').unwrap();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/api/chainbot/{path}") };
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        let mut text =
            format!("{method} {path} HTTP/1.0\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
        for header in headers {
            text.push_str(&format!("{header}\r\n"));
        }
        stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        let _ = stream.write_all(body.as_bytes());
        stream
    }
}

/// A running host with the module started.
pub struct Server {
    child: Child,
    /// The module's own port.
    pub port: Door,
    /// The host's ingress, which calls `handle_webhook`.
    pub host: Door,
}

/// `host-shim run` with the module on a data folder.
pub fn command(data: &Path) -> Command {
    let mut command = Command::new(host_shim());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ALEX_OS_")) {
        command.env_remove(name);
    }
    command.args(["run", "--http", "127.0.0.1:0", "--set", "api.port=0", "--module"]).arg(plugin());
    // A configuration of this machine must not get in; an empty file is one that says nothing.
    let config = data.with_extension("yaml");
    std::fs::write(&config, "{}\n").unwrap();
    command.arg("--config").arg(config).arg("--data").arg(data).stdin(Stdio::null());
    command
}

impl Server {
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// With settings besides, each as `key=value`.
    pub fn start_with(data: &Path, settings: &[&str]) -> Self {
        let log = std::fs::File::create(data.with_extension("log")).unwrap();
        let mut command = command(data);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let told = || std::fs::read_to_string(data.with_extension("log")).unwrap();
        let http = lines.find(|line| line.starts_with("http: ")).unwrap_or_else(|| panic!("{}", told()));
        assert!(lines.any(|line| line.contains("running")), "{}", told());
        // Reads on so that the host never waits for a full pipe; ends with the host.
        std::thread::spawn(move || lines.for_each(drop));
        let server: Value =
            serde_json::from_str(&std::fs::read_to_string(data.join("server.json")).unwrap()).unwrap();
        let address = |url: &str| url.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
        let token = std::fs::read_to_string(data.join("token")).unwrap().trim().to_owned();
        Self {
            child,
            port: Door { address: address(server["url"].as_str().unwrap()), token: token.clone() },
            host: Door { address: address(&http), token },
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: what a power cut leaves of a process.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the end that must follow.
    pub fn stop(mut self) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }

    /// What the module published on topics of a pattern; waits until there is one.
    pub fn events(&self, pattern: &str) -> Vec<Value> {
        let reply = self.host.bare(&format!("GET /host/events?topic={pattern}&wait_ms=30000"), &[], "");
        reply.json()["events"].as_array().unwrap().clone()
    }

    /// Waits until the module has published this topic for a run.
    pub fn wait_for(&self, topic: &str, run: &str) -> Value {
        let mut since = 0;
        loop {
            let path = format!("GET /host/events?topic={topic}&since={since}&wait_ms=30000");
            let answer = self.host.bare(&path, &[], "").json();
            let events = answer["events"].as_array().unwrap();
            assert!(!events.is_empty(), "{topic} never came for {run}");
            if let Some(event) = events.iter().find(|event| event.to_string().contains(run)) {
                return event.clone();
            }
            since = answer["newest"].as_u64().unwrap();
        }
    }
}

/// A test that fails must not leave a host behind.
impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a second host to its end.
pub fn refused(data: &Path) -> Output {
    command(data).output().unwrap()
}

/// A data folder within a temporary one.
pub fn data(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("data")
}
