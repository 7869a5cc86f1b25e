//! `publish` of a workflow or an agent: for whom it is a tool besides those who may start it, and as what. Pure.
//!
//! A tool is called after its definition, with a word before it, or has a name of its own. The two sorts of names never meet: one of its own
//! has none of the words.

use serde_json::{Value, json};

/// Before the name of an agent.
pub const AGENT_TOOL: &str = "agent_";
/// Before the name of a workflow.
pub const WORKFLOW_TOOL: &str = "workflow_";
/// The tool that tells of runs.
pub const STATUS_TOOL: &str = "run_status";
/// What models' servers take as the name of a tool.
const NAME_CHARS_MAX: usize = 64;
/// How a tool's own name is formed, for people.
pub const TOOL_NAME: &str = "use 1 to 64 letters, digits, `_` or `-`, start with a letter, and with neither `workflow_` nor `agent_`; `run_status` is taken";

/// Nobody unless it says so.
#[derive(Clone, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Publish {
    /// For clients of the Model Context Protocol, at `/mcp`: `true`, or `{name, content}`.
    #[schema(value_type = PublishMcp)]
    pub mcp: ForMcp,
}

/// For clients of the Model Context Protocol.
#[derive(Clone, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct ForMcp {
    /// Whether it is a tool.
    pub is_tool: bool,
    /// Its own name.
    pub name: Option<String>,
    /// Whether the output is a list of content blocks as the protocol has them.
    pub gives_content: bool,
}

/// As it is written.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "the shape in the OpenAPI document")]
enum PublishMcp {
    /// Under the name of its definition.
    Flag(bool),
    /// Under a name of its own, or with more than that.
    Face {
        /// Of the tool.
        name: Option<String>,
        /// The output is a list of content blocks.
        content: Option<bool>,
    },
}

/// Whether a tool may be called so.
pub fn is_tool_name(name: &str) -> bool {
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() <= NAME_CHARS_MAX
        && name.chars().all(rest)
        && !name.starts_with(AGENT_TOOL)
        && !name.starts_with(WORKFLOW_TOOL)
        && name != STATUS_TOOL
}

impl TryFrom<Value> for ForMcp {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let wanted = "`publish.mcp` takes true, false or {name, content}";
        let fields = match value {
            Value::Bool(is_tool) => return Ok(Self { is_tool, ..Self::default() }),
            Value::Object(fields) => fields,
            _ => return Err(wanted.to_owned()),
        };
        let mut face = Self { is_tool: true, ..Self::default() };
        for (field, value) in fields {
            match (field.as_str(), value) {
                ("name", Value::String(name)) if is_tool_name(&name) => face.name = Some(name),
                ("name", _) => return Err(format!("`publish.mcp.name` is no name of a tool; {TOOL_NAME}")),
                ("content", Value::Bool(content)) => face.gives_content = content,
                _ => return Err(wanted.to_owned()),
            }
        }
        Ok(face)
    }
}

impl From<ForMcp> for Value {
    fn from(face: ForMcp) -> Self {
        match face {
            ForMcp { is_tool, name: None, gives_content: false } => json!(is_tool),
            ForMcp { name: None, gives_content, .. } => json!({ "content": gives_content }),
            ForMcp { name: Some(name), gives_content: false, .. } => json!({ "name": name }),
            ForMcp { name: Some(name), gives_content, .. } => {
                json!({ "name": name, "content": gives_content })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_read_as_it_is_written() {
        for written in
            [json!(true), json!(false), json!({ "name": "waterPlants" }), json!({ "content": true })]
        {
            let face: ForMcp = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(
                (face.is_tool, serde_json::to_value(&face).unwrap()),
                (written != json!(false), written)
            );
        }
        for wrong in [
            json!(null),
            json!(1),
            json!("yes"),
            json!([]),
            json!({ "name": "" }),
            json!({ "name": 1 }),
            json!({ "name": "run_status" }),
            json!({ "name": "workflow_x" }),
            json!({ "name": "agent_x" }),
            json!({ "name": "a b" }),
            json!({ "name": "1a" }),
            json!({ "name": "a".repeat(65) }),
            json!({ "content": 1 }),
            json!({ "command": "/bin/sh" }),
        ] {
            assert!(serde_json::from_value::<ForMcp>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
