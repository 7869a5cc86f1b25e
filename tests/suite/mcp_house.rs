//! One ChainBot's agent uses what another one publishes: over HTTP, with a token, its pin approved by the lines that the program prints.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::cli::chainbot;
use crate::server::{Server, data};

const GREENHOUSE: &str = "name: greenhouse-report\ndescription: Says how warm a bed is.\npublish: { mcp: { name: greenhouse } }\n\
    inputs:\n  type: object\n  properties: { bed: { type: string } }\n  required: [bed]\n\
    steps:\n  - { id: a, type: set, config: { variables: { degrees: \"21\" } } }\noutput: { bed: \"{{ inputs.bed }}\", degrees: 21 }\n";
/// What the model of the other one says.
const TURNS: &str = "- { calls: [{ name: mcp_house_greenhouse, arguments: { bed: tomatoes } }] }\n- { expect: { contains: \"21\" }, text: \"21 degrees.\" }\n";

fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn an_agent_of_one_chainbot_uses_a_tool_of_another() {
    let (house_folder, desk_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let house = Server::start(&data(&house_folder));
    let made = house.port.ask("POST workflows", &["content-type: application/yaml"], GREENHOUSE);
    assert_eq!(made.status, 201, "{}", made.body);
    let desk = desk_folder.path();
    let token = desk.join("house-token");
    private(&token, &house.port.token);
    std::fs::write(desk.join("turns.yaml"), TURNS).unwrap();
    let url = format!("http://{}/mcp", house.port.address);
    let servers = |tools: Value| {
        let token = format!("${{file:{}}}", token.display());
        json!({ "house": { "url": url, "token": token, "tools": tools, "classes": { "greenhouse": "read_only" } } })
    };
    let ask = |line: &str, tools: Value| {
        let config = json!({ "mcp": { "servers": servers(tools) } }).to_string();
        std::fs::write(desk.join("config.yaml"), config).unwrap();
        let mut words: Vec<&str> = line.split(' ').collect();
        words.extend(["--data", "data", "--config", "config.yaml"]);
        chainbot(desk, &words)
    };
    let approve = ask("mcp approve house greenhouse --json", json!({}));
    assert_eq!(approve.code, 0, "{}{}", approve.stdout, approve.stderr);
    let pins = serde_json::from_str::<Value>(&approve.stdout).unwrap()["pins"].clone();
    let listed = ask("mcp list --json", pins.clone());
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let tools = listed["servers"][0]["tools"].as_array().unwrap();
    let seen: Vec<_> = tools
        .iter()
        .map(|tool| (tool["name"].as_str().unwrap(), tool["approval"].as_str().unwrap()))
        .collect();
    assert_eq!(seen, [("greenhouse", "approved"), ("run_status", "new")]);
    // The agent of the other one.
    let providers = json!({ "stage": { "kind": "scripted", "script": desk.join("turns.yaml") } });
    let settings = [
        format!("mcp.servers={}", servers(pins)),
        format!("models.providers={providers}"),
        format!("models.models={}", json!({ "actor": { "provider": "stage", "model": "any" } })),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let other = Server::start_with(&data(&desk_folder), &settings);
    let send = |line: &str, body: Value| {
        let reply = other.port.ask(line, &["content-type: application/json"], &body.to_string());
        assert!(reply.status < 300, "{line}: {}", reply.body);
        reply.json()
    };
    send(
        "POST agents",
        json!({ "name": "butler", "instructions": "You look after a garden.", "tools": { "mcp": { "house": ["greenhouse"] } } }),
    );
    let done = send("POST agents/butler/tasks?wait=60", json!({ "task": "How warm is it?" }));
    assert_eq!(
        (done["status"].as_str(), done["output"]["result"].as_str()),
        (Some("completed"), Some("21 degrees.")),
        "{done}"
    );
    let runs = house.port.ask("GET runs", &[], "").json();
    assert_eq!(runs.as_array().unwrap().len(), 1, "{runs}");
    assert_eq!(
        (runs[0]["workflow_name"].as_str(), runs[0]["status"].as_str()),
        (Some("greenhouse-report"), Some("completed")),
        "{runs}"
    );
    other.stop();
    // A token that is none gets nothing, and is not repeated.
    private(&token, "cb_canary-of-the-house-0123456789");
    let refused = ask("mcp list --json", json!({}));
    assert_eq!(refused.code, 1, "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stdout.contains("CB-1286") && !refused.stdout.contains("canary"), "{}", refused.stdout);
    house.stop();
}
