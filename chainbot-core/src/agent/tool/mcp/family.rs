//! The family `mcp`: approved tools of granted servers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::servers::{Approval, McpServers, McpToolView};
use super::{mirror, wire};
use crate::agent::tool::{ToolFamily, ToolFuture, ToolOutcome, ToolOwner, ToolRequest};
use crate::error::code::tool as code;
use crate::limits::{MCP_RESULT_BYTES_MAX, MCP_TOOLS_MAX};
use crate::model::{EffectClass, StepError, ToolSpec, class};
use crate::step::Executors;

/// The family `mcp`. Its grant is `{server: [tool, ...]}`.
pub struct McpTools {
    servers: Arc<McpServers>,
    executors: Arc<Executors>,
}

fn grant_of(grant: &Value) -> Result<BTreeMap<String, Vec<String>>, StepError> {
    let wrong = |what: String| StepError::new(class::INVALID, &code::GRANT, format!("tools.mcp: {what}"));
    let grant = BTreeMap::<String, Vec<String>>::deserialize(grant)
        .map_err(|error| wrong(format!("{error}; write `mcp: {{ SERVER: [TOOL, ...] }}`")))?;
    match grant.values().map(Vec::len).sum::<usize>() {
        0 => Err(wrong("it names no tool; write `mcp: { SERVER: [TOOL, ...] }`".to_owned())),
        1..=MCP_TOOLS_MAX => Ok(grant),
        _ => Err(wrong(format!("it names more than {MCP_TOOLS_MAX} tools"))),
    }
}

impl McpTools {
    /// `executors` takes secrets out of what servers say.
    pub fn new(servers: Arc<McpServers>, executors: Arc<Executors>) -> Self {
        Self { servers, executors }
    }

    async fn specs(&self, grant: &Value) -> Result<Vec<ToolSpec>, StepError> {
        let mut specs = Vec::new();
        for (server, wanted) in grant_of(grant)? {
            let listed = self.servers.tools(&server).await?;
            let classes = &self.servers.server(&server)?.classes;
            for name in wanted {
                let tool = approved(&server, &name, &listed)?;
                let class = classes.get(&name).copied().unwrap_or(EffectClass::Unsafe);
                specs.push(spec(&server, tool, class)?);
            }
        }
        specs.sort_by(|a, b| a.name.cmp(&b.name));
        match specs.windows(2).find(|pair| pair[0].name == pair[1].name) {
            None => Ok(specs),
            Some(pair) => {
                let message = format!("tools.mcp: two tools are called `{}`; leave one out", pair[0].name);
                Err(StepError::new(class::INVALID, &code::GRANT, message))
            }
        }
    }

    async fn carry_out(&self, request: &ToolRequest) -> Result<ToolOutcome, StepError> {
        let server = request.spec.family.strip_prefix("mcp:").unwrap_or_default();
        let tool = &request.spec.operation;
        let is_granted = grant_of(&request.grant)?.get(server).is_some_and(|granted| granted.contains(tool));
        if !is_granted {
            return Ok(ToolOutcome::error(format!("the tool `{tool}` of `{server}` is not granted")));
        }
        // Asked anew: a tool may have changed since the task began, and what is called is what was approved.
        let listed = self.servers.tools(server).await?;
        let listed = approved(server, tool, &listed)?;
        if listed.schema != request.spec.schema {
            return Err(changed(server, listed));
        }
        let params = json!({ "name": tool, "arguments": request.arguments });
        let headers = mirror::headers(&listed.schema, &request.arguments);
        let result = self.servers.ask(server, "tools/call", params, &headers, request.timeout).await?;
        let (value, is_error) = wire::outcome(&result);
        if value.to_string().len() > MCP_RESULT_BYTES_MAX {
            let message =
                format!("the result of `{tool}` of `{server}` has more than {MCP_RESULT_BYTES_MAX} bytes");
            return Err(StepError::new(class::LIMIT, &code::MCP_CALL, message));
        }
        let value = self.executors.redacted(Ok(value)).map_err(|failure| failure.error)?;
        Ok(ToolOutcome { value, is_error, is_tainted: true })
    }
}

fn approved<'t>(server: &str, name: &str, listed: &'t [McpToolView]) -> Result<&'t McpToolView, StepError> {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    match listed.iter().find(|tool| tool.name == name) {
        Some(tool) => match tool.approval {
            Approval::Approved => Ok(tool),
            Approval::Changed => Err(changed(server, tool)),
            Approval::New => {
                let message = format!(
                    "the tool `{shown}` of the MCP server `{server}` is not approved; the operator adds `{shown}: {}` to \
                     mcp.servers.{server}.tools",
                    tool.pin
                );
                Err(StepError::new(class::INVALID, &code::MCP_PIN, message))
            }
        },
        None => {
            let message = format!("the MCP server `{server}` has no tool `{shown}`");
            Err(StepError::new(class::INVALID, &code::GRANT, message))
        }
    }
}

fn changed(server: &str, tool: &McpToolView) -> StepError {
    let message = format!(
        "the tool `{}` of the MCP server `{server}` is another one than was approved: its description or schema has changed; if it \
         is right, its pin is {}",
        tool.name, tool.pin
    );
    StepError::new(class::INVALID, &code::MCP_PIN, message)
}

fn spec(server: &str, tool: &McpToolView, class: EffectClass) -> Result<ToolSpec, StepError> {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' => c,
        _ => '_',
    };
    let name: String = format!("mcp_{server}_{}", tool.name).chars().map(plain).collect();
    if name.len() > 64 {
        let message = format!("tools.mcp: `{name}` is longer than a tool's name may be");
        return Err(StepError::new(class::INVALID, &code::GRANT, message));
    }
    Ok(ToolSpec {
        name,
        family: format!("mcp:{server}"),
        operation: tool.name.clone(),
        description: tool.description.clone(),
        schema: tool.schema.clone(),
        class,
        // Nobody knows what it sees; the pessimistic word.
        reads_private: true,
        is_untrusted: true,
        is_outward: !matches!(class, EffectClass::Pure | EffectClass::ReadOnly),
    })
}

impl ToolFamily for McpTools {
    fn family(&self) -> &'static str {
        "mcp"
    }

    fn offers<'a>(&'a self, grant: &'a Value, _: &'a ToolOwner) -> ToolFuture<'a, Vec<ToolSpec>> {
        Box::pin(self.specs(grant))
    }

    fn check<'a>(&'a self, grant: &'a Value, _: &'a ToolOwner) -> ToolFuture<'a, ()> {
        // A server is a program, which is started for a task and not for a look.
        Box::pin(async move {
            grant_of(grant)?.keys().try_for_each(|server| self.servers.server(server).map(drop))
        })
    }

    fn call<'a>(&'a self, request: &'a ToolRequest) -> ToolFuture<'a, ToolOutcome> {
        Box::pin(self.carry_out(request))
    }
}
