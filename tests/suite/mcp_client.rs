//! Our client as the conformance suite starts it: this binary once more, told the scenario by its environment and the address of a server by its
//! last argument. It does what an agent with all tools of that server would do: looks at them, approves them, and calls each once.

use std::sync::Arc;
use std::time::Duration;

use chainbot_core::agent::tool::mcp::{McpAddress, McpServer, McpServers, McpToolView, McpTools, McpWay};
use chainbot_core::agent::tool::{ToolFamily, ToolOutcome, ToolOwner, ToolRequest};
use chainbot_core::env::Env;
use chainbot_core::id::{RunId, WorkflowId};
use chainbot_core::model::{EffectKey, StepError};
use chainbot_core::net::{Egress, Policy};
use chainbot_core::step::Executors;
use serde_json::{Map, Value, json};

/// What the suite says that is to be done.
const SCENARIO: &str = "MCP_CONFORMANCE_SCENARIO";
/// What it says besides.
const CONTEXT: &str = "MCP_CONFORMANCE_CONTEXT";
/// The test that is the client.
pub const SELF: &str = "mcp_client::a_test_that_is_a_client_when_it_is_told_so";
const TIMEOUT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_test_that_is_a_client_when_it_is_told_so() {
    let told = std::env::var(SCENARIO).ok();
    let Some((_, url)) = told.zip(std::env::args().next_back()) else {
        // Not told: what it would say.
        let listed =
            view(json!({ "properties": { "a": { "type": "number" }, "b": { "type": "string" }, "c": {} } }));
        assert_eq!(calls(&[listed], None), [("t".to_owned(), json!({ "a": 5, "b": "x" }))]);
        return;
    };
    let context: Option<Value> =
        std::env::var(CONTEXT).ok().map(|context| serde_json::from_str(&context).unwrap());
    assert!(talk(&url, context.as_ref()).await, "a call failed");
}

fn view(schema: Value) -> McpToolView {
    use chainbot_core::agent::tool::mcp::Approval;
    McpToolView {
        name: "t".into(),
        description: String::new(),
        schema,
        pin: String::new(),
        approval: Approval::New,
    }
}

/// What an agent gets of a server's tool that it is granted.
pub async fn used(
    tools: &McpTools,
    server: &str,
    name: &str,
    arguments: Value,
    timeout: Duration,
) -> Result<ToolOutcome, StepError> {
    let owner = ToolOwner {
        agent: WorkflowId::from([1; 16]),
        name: "butler".to_owned(),
        owner: None,
        run: RunId::from([2; 16]),
        depth: 0,
    };
    let grant = json!({ server: [name] });
    let spec = tools.offers(&grant, &owner).await?.remove(0);
    let (key, attempt, is_tainted) = (EffectKey([7; 16]), 1, false);
    tools.call(&ToolRequest { spec, arguments, grant, key, attempt, owner, is_tainted, timeout }).await
}

/// Whether every call gave a result.
async fn talk(url: &str, context: Option<&Value>) -> bool {
    let way = McpWay::Address(McpAddress { url: url.to_owned(), token: None });
    let (tools, classes) = Default::default();
    let mut own = McpServer { name: "suite".to_owned(), way, tools, classes, timeout: TIMEOUT };
    let servers = |own: &McpServer| McpServers::new(vec![own.clone()], Env::system(), Vec::new()).unwrap();
    let first = servers(&own);
    let listed = first.tools("suite").await.unwrap();
    first.stop().await;
    own.tools = listed.iter().map(|tool| (tool.name.clone(), tool.pin.clone())).collect();
    let policy = Policy { grants: Vec::new(), public: false, own_addresses: Vec::new() };
    let egress = Arc::new(Egress::new(policy, Env::system()).unwrap());
    let servers = Arc::new(servers(&own));
    let tools = McpTools::new(servers.clone(), Arc::new(Executors::new(egress, Env::system())));
    let mut is_good = true;
    for (name, arguments) in calls(&listed, context) {
        // A tool's own error is a result.
        is_good &= used(&tools, "suite", &name, arguments, TIMEOUT).await.is_ok();
    }
    servers.stop().await;
    is_good
}

/// What is called with what: as the suite says, else each tool with what fits its schema.
fn calls(listed: &[McpToolView], context: Option<&Value>) -> Vec<(String, Value)> {
    if let Some(told) = context.and_then(|context| context["toolCalls"].as_array()) {
        return told
            .iter()
            .map(|call| (call["name"].as_str().unwrap().to_owned(), call["arguments"].clone()))
            .collect();
    }
    listed.iter().map(|tool| (tool.name.clone(), arguments(&tool.schema, listed))).collect()
}

fn arguments(schema: &Value, listed: &[McpToolView]) -> Value {
    let value = |(name, about): (&String, &Value)| {
        let value = match about["type"].as_str()? {
            "number" | "integer" => json!(5),
            "string" => json!("x"),
            "boolean" => json!(true),
            // A tool that gives back the schema of another one.
            "object" if name == "schema" => {
                listed.iter().find(|tool| !tool.name.contains("echo"))?.schema.clone()
            }
            _ => return None,
        };
        Some((name.clone(), value))
    };
    let properties = schema["properties"].as_object();
    Value::Object(properties.into_iter().flatten().filter_map(value).collect::<Map<_, _>>())
}
