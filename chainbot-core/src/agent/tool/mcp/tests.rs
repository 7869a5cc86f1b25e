//! MCP servers as real child processes: what they are given, what they may say, and that none is left. Those over HTTP are below.

mod http;
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::agent::tool::{ToolFamily, ToolOutcome, ToolOwner, ToolRequest};
use crate::env::Env;
use crate::id::{RunId, WorkflowId};
use crate::model::{EffectClass, EffectKey, StepError};
use crate::net::testing::egress_to;
use crate::step::Executors;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(120);

fn started(mode: &str) -> McpWay {
    McpWay::Program(McpProgram {
        command: std::env::current_exe().unwrap().display().to_string(),
        args: [server::SELF, "--exact", "--nocapture"].map(str::to_owned).to_vec(),
        env: vec![(server::MODE.to_owned(), mode.to_owned())],
    })
}

fn program(command: &str) -> McpWay {
    McpWay::Program(McpProgram { command: command.to_owned(), ..McpProgram::default() })
}

fn servers_of(server: McpServer) -> McpServers {
    McpServers::new(vec![server], Env::system(), Vec::new()).unwrap()
}

fn server(mode: &str) -> McpServer {
    McpServer {
        name: "clock".to_owned(),
        way: started(mode),
        tools: BTreeMap::new(),
        classes: BTreeMap::new(),
        timeout: LONG,
    }
}

/// A server all of whose tools are approved as they are.
async fn approved(mode: &str) -> McpServer {
    let mut own = server(mode);
    let servers = servers_of(own.clone());
    own.tools = servers.tools("clock").await.unwrap().into_iter().map(|tool| (tool.name, tool.pin)).collect();
    servers.stop().await;
    own
}

struct Setup {
    servers: Arc<McpServers>,
    tools: McpTools,
}

fn setup(server: McpServer, idle: Duration) -> Setup {
    let servers = Arc::new(servers_of(server).with_idle(idle));
    let executors = Arc::new(Executors::new(Arc::new(egress_to(&[])), Env::system()));
    Setup { tools: McpTools::new(servers.clone(), executors), servers }
}

fn owner() -> ToolOwner {
    let agent = WorkflowId::from([1; 16]);
    ToolOwner { agent, name: "butler".to_owned(), owner: None, run: RunId::from([2; 16]), depth: 0 }
}

fn grant(tool: &str) -> Value {
    json!({ "clock": [tool] })
}

async fn call_within(
    tools: &McpTools,
    tool: &str,
    arguments: Value,
    timeout: Duration,
) -> Result<ToolOutcome, StepError> {
    let spec = tools.offers(&grant(tool), &owner()).await?.remove(0);
    let key = EffectKey([7; 16]);
    tools
        .call(&ToolRequest {
            spec,
            arguments,
            grant: grant(tool),
            key,
            attempt: 1,
            owner: owner(),
            is_tainted: false,
            timeout,
        })
        .await
}

async fn call(tools: &McpTools, tool: &str, arguments: Value) -> Result<ToolOutcome, StepError> {
    call_within(tools, tool, arguments, LONG).await
}

/// Waits until a process is gone, or is dead and nobody has asked how it ended.
async fn until_gone(pid: u32) {
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    while state()
        .is_some_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
    {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_tool_is_called_and_its_result_is_tainted() {
    let mut own = approved("plain").await;
    own.classes.insert("echo".to_owned(), EffectClass::ReadOnly);
    let Setup { tools, .. } = setup(own, LONG);
    let specs = tools.offers(&json!({ "clock": ["echo", "wait"] }), &owner()).await.unwrap();
    let faces: Vec<_> = specs
        .iter()
        .map(|spec| (spec.name.as_str(), spec.family.as_str(), spec.class, spec.is_outward))
        .collect();
    // The server calls both read-only, which is not believed.
    assert_eq!(
        faces,
        [
            ("mcp_clock_echo", "mcp:clock", EffectClass::ReadOnly, false),
            ("mcp_clock_wait", "mcp:clock", EffectClass::Unsafe, true)
        ]
    );
    let found = call(&tools, "echo", json!({ "a": "ü\n" })).await.unwrap();
    assert_eq!(found, ToolOutcome { value: json!("{\"a\":\"ü\\n\"}"), is_error: false, is_tainted: true });
    let failed = call(&tools, "fails", json!({})).await.unwrap();
    assert_eq!(failed, ToolOutcome { value: json!("out of paper"), is_error: true, is_tainted: true });
}

#[tokio::test]
async fn a_server_sees_nothing_of_ours() {
    let Setup { tools, .. } = setup(approved("plain").await, LONG);
    assert!(std::env::vars().count() > 1, "this process has an environment");
    let found = call(&tools, "env", json!({})).await.unwrap().value;
    assert_eq!(found, json!({ "names": [server::MODE], "mask": "0000000000000000", "folder": "/" }));
    // And is given nothing that it asks for.
    let asked = call(&tools, "asks", json!({})).await.unwrap().value;
    assert!(asked.as_str().unwrap().contains("-32601"), "{asked}");
}

#[tokio::test]
async fn a_changed_or_new_tool_is_not_offered() {
    let mut own = approved("plain").await;
    own.way = started("changed");
    let Setup { servers, tools } = setup(own, LONG);
    assert_eq!(servers.tools("clock").await.unwrap()[0].approval, Approval::Changed);
    let error = tools.offers(&grant("echo"), &owner()).await.unwrap_err();
    assert_eq!(error.code, "CB-1284");
    let Setup { servers, tools } = setup(server("plain"), LONG);
    let listed = servers.tools("clock").await.unwrap();
    assert!(listed.len() == 12 && listed.iter().all(|tool| tool.approval == Approval::New));
    let error = tools.offers(&grant("echo"), &owner()).await.unwrap_err();
    assert_eq!(error.code, "CB-1284");
    let echo = listed.iter().find(|tool| tool.name == "echo").unwrap();
    assert!(error.message.contains(&format!("echo: {}", echo.pin)), "{}", error.message);
}

#[tokio::test]
async fn a_tool_that_changes_under_a_task_is_not_called() {
    let own = approved("plain").await;
    let spec = setup(own.clone(), LONG).tools.offers(&grant("echo"), &owner()).await.unwrap().remove(0);
    let mut other = own;
    other.way = started("changed");
    let Setup { tools, .. } = setup(other, LONG);
    let request = |spec, grant| ToolRequest {
        spec,
        arguments: json!({}),
        grant,
        key: EffectKey([7; 16]),
        attempt: 1,
        owner: owner(),
        is_tainted: false,
        timeout: LONG,
    };
    assert_eq!(tools.call(&request(spec.clone(), grant("echo"))).await.unwrap_err().code, "CB-1284");
    // Nor one that the grant does not name any more.
    assert!(tools.call(&request(spec, grant("wait"))).await.unwrap().is_error);
}

#[tokio::test]
async fn a_wrong_grant_is_refused_with_the_remedy() {
    let Setup { tools, .. } = setup(approved("plain").await, LONG);
    for (grant, said) in [
        (json!({}), "names no tool"),
        (json!({ "clock": [] }), "names no tool"),
        (json!({ "clok": ["echo"] }), "did you mean `clock`?"),
        (json!({ "clock": ["ecko"] }), "no tool `ecko`"),
        (json!({ "clock": "echo" }), "tools.mcp"),
        (json!({ "clock": { "command": "/bin/sh", "args": ["-c", "id"] } }), "tools.mcp"),
        (json!({ "command": "/bin/sh" }), "tools.mcp"),
        (json!({ "/bin/sh": ["-c"] }), "no MCP server"),
        (json!(null), "tools.mcp"),
    ] {
        let error = tools.offers(&grant, &owner()).await.expect_err(&grant.to_string());
        assert!(error.message.contains(said), "{grant}: {}", error.message);
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_is_cancelled_at_the_server() {
    let Setup { tools, .. } = setup(approved("plain").await, LONG);
    let late = call_within(&tools, "wait", json!({}), Duration::from_millis(1)).await.unwrap_err();
    assert_eq!((late.class.as_str(), late.code.as_str()), ("timeout", "CB-1283"));
    // Messages come in order, so the server knows by now.
    assert_eq!(call(&tools, "cancelled", json!({})).await.unwrap().value, json!("1"));
}

#[tokio::test]
async fn what_a_server_says_is_bounded() {
    for (tool, class) in
        [("flood", "cut"), ("line", "cut"), ("noise", "cut"), ("large", "limit"), ("exit", "cut")]
    {
        let Setup { servers, tools } = setup(approved("plain").await, LONG);
        let pid = servers.session("clock").await.unwrap().process_id();
        let error = call(&tools, tool, json!({})).await.expect_err(tool);
        assert_eq!(
            (error.class.as_str(), error.code.as_str()),
            (class, "CB-1283"),
            "{tool}: {}",
            error.message
        );
        // The next call has a server again, another one where that one went too far.
        assert_eq!(call(&tools, "echo", json!({})).await.unwrap().value, json!("{}"), "{tool}");
        let next = servers.session("clock").await.unwrap().process_id();
        assert_eq!(next == pid, class == "limit", "{tool}");
        if next != pid {
            until_gone(pid).await;
        }
    }
    let Setup { servers, .. } = setup(server("endless"), LONG);
    assert_eq!(servers.tools("clock").await.unwrap_err().class, "limit");
}

#[tokio::test]
async fn a_server_that_cannot_be_spoken_to_is_an_error() {
    let start = async |own: McpServer| servers_of(own).tools("clock").await.unwrap_err();
    let future = start(server("future")).await;
    assert_eq!(future.code, "CB-1282");
    assert!(future.message.contains("2999-01-01"), "{}", future.message);
    let mute = McpServer { timeout: Duration::from_millis(1), ..server("mute") };
    assert_eq!(start(mute).await.class, "timeout");
    let missing = McpServer { way: program("/nowhere/mcp"), ..server("plain") };
    assert_eq!((start(missing).await.code, "CB-1282".to_owned()).0, "CB-1282");
    let ends = McpServer { way: program("/bin/true"), ..server("plain") };
    assert_eq!(start(ends).await.class, "cut");
}

#[tokio::test]
async fn nothing_is_left_at_stop_or_when_idle() {
    let own = approved("plain").await;
    let Setup { servers, tools } = setup(own.clone(), LONG);
    let child: u32 = call(&tools, "child", json!({})).await.unwrap().value.as_str().unwrap().parse().unwrap();
    let pid = servers.session("clock").await.unwrap().process_id();
    assert!(std::fs::exists(format!("/proc/{child}")).unwrap());
    servers.stop().await;
    until_gone(pid).await;
    until_gone(child).await;
    // Dropped without a word.
    let pid = servers.session("clock").await.unwrap().process_id();
    drop((servers, tools));
    until_gone(pid).await;
    // Idle.
    let Setup { servers, .. } = setup(own, Duration::from_millis(1));
    let session = servers.session("clock").await.unwrap();
    let pid = session.process_id();
    assert!(std::fs::exists(format!("/proc/{pid}")).unwrap());
    // Who uses it holds it.
    drop(session);
    until_gone(pid).await;
}
