//! `chainbot mcp`: the MCP servers of the configuration, asked here and now for their tools.
//!
//! It changes nothing here: which tools are approved is a line of the operator's file, and this shows the line.

use std::path::PathBuf;
use std::sync::Arc;

use chainbot_core::agent::tool::mcp::{Approval, McpServer, McpServers, McpToolView};
use chainbot_core::config::{CREDENTIALS_DIRECTORY, Reference};
use chainbot_core::env::Env;
use chainbot_core::error::code::config as config_code;
use chainbot_core::model::StepError;
use serde_json::{Map, Value, json};

use crate::args::{McpApprove, McpView, Query};
use crate::error::{Error, Result, code};
use crate::folder::Folder;
use crate::output::{self, printable};

/// Carries the command out.
pub async fn run(view: &McpView) -> Result<u8> {
    match view {
        McpView::List(args) => list(args).await,
        McpView::Approve(args) => approve(args).await,
    }
}

/// A server, and its tools or why there are none.
type Asked = (McpServer, std::result::Result<Vec<McpToolView>, StepError>);

/// Asks servers for their tools, and ends them again.
async fn asked(servers: &[McpServer]) -> Result<Vec<Asked>> {
    let folder = std::env::var_os(CREDENTIALS_DIRECTORY).map(PathBuf::from);
    let open = Arc::new(move |text: &str| match Reference::parse(text) {
        Ok(reference) => reference.read(folder.as_deref()),
        Err(why) => Err(chainbot_core::Error::new(&config_code::REFERENCE, why)),
    });
    let all = McpServers::new(servers.to_vec(), Env::system(), Vec::new())?.with_references(open);
    let mut out = Vec::with_capacity(servers.len());
    for server in servers {
        out.push((server.clone(), all.tools(&server.name).await));
    }
    all.stop().await;
    Ok(out)
}

/// 1 when a server cannot be asked, or a tool that was approved is another one now.
async fn list(args: &Query) -> Result<u8> {
    let folder = Folder::choose(&args.place)?;
    let (mut all, mut is_good) = (Vec::new(), true);
    for (server, tools) in asked(&folder.config().mcp.servers).await? {
        all.push(match tools {
            Ok(tools) => {
                is_good &= tools.iter().all(|tool| tool.approval != Approval::Changed);
                let tools: Vec<Value> = tools.iter().map(|tool| shown(&server, tool)).collect();
                json!({ "name": server.name, "tools": tools })
            }
            Err(error) => {
                is_good = false;
                let error = json!({ "code": error.code, "message": error.message });
                json!({ "name": server.name, "tools": [], "error": error })
            }
        });
    }
    if args.json.json {
        output::json(&json!({ "servers": all }))?;
    } else if all.is_empty() {
        output::note("no MCP servers are configured; see mcp.servers");
    } else {
        table(&all)?;
    }
    Ok(u8::from(!is_good))
}

fn shown(server: &McpServer, tool: &McpToolView) -> Value {
    let approval = match tool.approval {
        Approval::Approved => "approved",
        Approval::New => "new",
        Approval::Changed => "changed",
    };
    let class = server.classes.get(&tool.name).map_or(json!("unsafe"), |class| json!(class));
    json!({
        "name": tool.name, "approval": approval, "class": class, "pin": tool.pin,
        "description": tool.description, "schema": tool.schema,
    })
}

fn text(value: &Value) -> String {
    value.as_str().map(printable).unwrap_or_default()
}

fn table(all: &[Value]) -> Result<()> {
    let mut rows = vec![["SERVER", "TOOL", "APPROVAL", "CLASS", "DESCRIPTION"].map(str::to_owned).to_vec()];
    for server in all {
        let name = text(&server["name"]);
        if let Some(error) = server.get("error") {
            output::note(&format!("{name}: {}: {}", text(&error["code"]), text(&error["message"])));
        }
        for tool in server["tools"].as_array().into_iter().flatten() {
            let first: String = text(&tool["description"]).chars().take(60).collect();
            rows.push(vec![
                name.clone(),
                text(&tool["name"]),
                text(&tool["approval"]),
                text(&tool["class"]),
                first,
            ]);
        }
    }
    output::table(&rows)
}

/// Shows what the tools say of themselves, and the lines that approve them.
async fn approve(args: &McpApprove) -> Result<u8> {
    let folder = Folder::choose(&args.place)?;
    let known = &folder.config().mcp.servers;
    let Some(server) = known.iter().find(|server| server.name == args.server) else {
        let names: Vec<&str> = known.iter().map(|server| server.name.as_str()).collect();
        let message = format!("there is no MCP server `{}`", printable(&args.server));
        return Err(Error::new(&code::INPUT, message).help(match names.is_empty() {
            true => "the operator adds it under mcp.servers".to_owned(),
            false => format!("there are: {}", names.join(", ")),
        }));
    };
    let mut tools = Vec::new();
    for (_, answer) in asked(std::slice::from_ref(server)).await? {
        tools =
            answer.map_err(|error| Error::new(&code::INPUT, format!("{}: {}", error.code, error.message)))?;
    }
    if let Some(missing) = args.tools.iter().find(|name| tools.iter().all(|tool| tool.name != **name)) {
        let message = format!("`{}` has no tool `{}`", server.name, printable(missing));
        return Err(Error::new(&code::INPUT, message).help("`chainbot mcp list` shows what it has"));
    }
    tools.retain(|tool| args.tools.is_empty() || args.tools.contains(&tool.name));
    if args.json.json {
        let pins: Map<String, Value> =
            tools.iter().map(|tool| (tool.name.clone(), json!(tool.pin))).collect();
        let tools: Vec<Value> = tools.iter().map(|tool| shown(server, tool)).collect();
        output::json(&json!({ "server": server.name, "pins": pins, "tools": tools }))?;
        return Ok(0);
    }
    for tool in &tools {
        output::note(&format!("{}: {}", printable(&tool.name), printable(&tool.description)));
        output::note(&format!("  takes {}", printable(&tool.schema.to_string())));
    }
    output::note(
        "Read this as what a model will read. If it is right, put this into the configuration and start again:",
    );
    output::line(&format!("mcp:\n  servers:\n    {}:\n      tools:", server.name))?;
    for tool in &tools {
        // Both are JSON texts, which YAML takes, so no name of a server's becomes anything but a name.
        output::line(&format!("        {}: {}", json!(tool.name), json!(tool.pin)))?;
    }
    Ok(0)
}
