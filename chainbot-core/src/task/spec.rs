//! An agent's definition, as the loop needs it, and what a task is given.
//!
//! Invariants: read once, when the task's program is compiled; an unknown key is an error. Bounds have a default, and none can be switched off.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::code::agent;
use crate::error::{Error, Result};
use crate::id::SafeName;
use crate::limits;
use crate::model::Publish;

/// What an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentKind {
    /// Talks, and uses tools.
    #[default]
    Assistant,
    /// Works rows of data through a pipeline.
    DataProcessor,
    /// Speaks to one HTTP interface.
    Api,
    /// Starts and watches workflows.
    Workflow,
}

impl AgentKind {
    /// All of them, in the order of lists.
    pub const ALL: [Self; 4] = [Self::Assistant, Self::DataProcessor, Self::Api, Self::Workflow];

    /// The word in definitions, API and figures.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::DataProcessor => "data_processor",
            Self::Api => "api",
            Self::Workflow => "workflow",
        }
    }
}

/// When a person is asked before a tool is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Approve {
    /// Before what acts outward, once the task has seen what came from outside.
    #[default]
    Tainted,
    /// Before everything that acts outward.
    Outward,
    /// Nobody is asked: where a person would be, the call is denied.
    Never,
}

/// Over what time a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each task has it.
    #[default]
    Task,
    /// All tasks of a day (UTC) share it.
    Day,
}

/// What a task, or an agent's day, may use up.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Tokens of prompts and replies together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// In the currency of the models' prices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// Calls of the model; 10 unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<u32>,
    /// Calls of tools; 25 unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<u32>,
    /// Working time, such as `5m`; waiting for people does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub time: Option<Value>,
    /// Over what time `tokens` and `cost` count.
    #[serde(skip_serializing_if = "is_task")]
    pub per: Per,
}

fn is_task(per: &Per) -> bool {
    *per == Per::Task
}

impl Budget {
    /// In millionths of the currency.
    pub fn cost_micros(&self) -> Option<u64> {
        self.cost.map(|cost| (cost.max(0.0) * 1_000_000.0).round() as u64)
    }

    fn time(&self) -> Option<Duration> {
        match self.time.as_ref()? {
            Value::String(text) => crate::time::parse_duration(text),
            Value::Number(seconds) => crate::time::parse_duration(&seconds.to_string()),
            _ => None,
        }
    }
}

impl AgentSpec {
    /// Tokens of a day, at most; `None` is no bound.
    pub fn day_tokens(&self) -> Option<u64> {
        self.budget.tokens.filter(|_| self.budget.per == Per::Day)
    }

    /// Cost of a day in millionths, at most.
    pub fn day_cost_micros(&self) -> Option<u64> {
        self.budget.cost_micros().filter(|_| self.budget.per == Per::Day)
    }
}

/// What an agent remembers.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemorySpec {
    /// Texts that are always in the prompt, by label.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub blocks: BTreeMap<String, String>,
    /// Imported conversations that it may recall.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub archives: Vec<String>,
}

/// An agent's definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentSpec {
    /// Unique among agents: `[a-z0-9][a-z0-9_-]{0,62}`.
    pub name: String,
    /// What it is.
    #[serde(rename = "type", default)]
    pub kind: AgentKind,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A persona of the configuration; what is given here goes before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// A model of the configuration; its default when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What it is told first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// How words are drawn, 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Tokens of one reply, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u32>,
    /// What it may use: a family of tools with what is granted of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, Value>,
    /// What it remembers.
    #[serde(default)]
    pub memory: MemorySpec,
    /// What a task, or its day, may use up.
    #[serde(default)]
    pub budget: Budget,
    /// JSON Schema that every answer must fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// When a person is asked.
    #[serde(default)]
    pub approve: Approve,
    /// Tools before which a person is asked in any case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approve_tools: Vec<String>,
    /// `required`: a tool is used before the answer, for small models that would rather guess.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<UseTools>,
    /// `withdraw`: after the first result no tool is offered any more, for small models that never stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_result: Option<AfterResult>,
    /// Of the type: `pipeline` of a data processor, `openapi` and `base_url` of an api agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// Idle time does not end it.
    #[serde(default)]
    pub persistent: bool,
    /// For whom it is a tool.
    #[serde(default, skip_serializing_if = "is_nobody")]
    pub publish: Publish,
}

fn is_nobody(publish: &Publish) -> bool {
    *publish == Publish::default()
}

/// Whether a tool must be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UseTools {
    /// The model decides.
    Auto,
    /// Before it answers, once.
    Required,
}

/// What follows the first result of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AfterResult {
    /// Tools are offered as before.
    Keep,
    /// No tool is offered any more.
    Withdraw,
}

impl AgentSpec {
    /// Reads a definition. CB-1220 names what is wrong with it, and where.
    pub fn read(value: Value) -> Result<Self> {
        let wrong = |why: String| {
            Error::new(&agent::INVALID, why)
                .help("GET /api/chainbot/schemas/agent.json says what a definition may hold")
        };
        let spec: Self = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
        let is_name = spec.name.parse::<SafeName>().is_ok();
        if !is_name {
            return Err(wrong(format!(
                "`name` must be small letters, digits, `-` and `_`, 63 at most, not `{}`",
                spec.name
            )));
        }
        if spec.tools.get("mcp").is_some_and(|grant| !is_grant_of_mcp(grant)) {
            return Err(wrong(
                "`tools.mcp` takes names of servers, each with a list of its tools, such as `{ clock: [now] }`".to_owned(),
            ));
        }
        if spec.temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
            return Err(wrong("`temperature` must be between 0 and 2".to_owned()));
        }
        if spec.budget.time.is_some() && spec.budget.time().is_none() {
            return Err(wrong("`budget.time` must be seconds or text such as `90s` or `5m`".to_owned()));
        }
        if spec.budget.cost.is_some_and(|cost| !(0.0..=1e9).contains(&cost)) {
            return Err(wrong("`budget.cost` must be between 0 and a billion".to_owned()));
        }
        let texts = [spec.instructions.as_deref(), spec.description.as_deref()];
        let size: usize = texts.into_iter().flatten().map(str::len).sum::<usize>()
            + spec.memory.blocks.values().map(String::len).sum::<usize>();
        if size > limits::AGENT_TEXT_BYTES_MAX {
            return Err(wrong(format!(
                "instructions, description and blocks are {size} bytes and the bound is {}",
                limits::AGENT_TEXT_BYTES_MAX
            )));
        }
        if let Some(schema) = &spec.output_schema {
            crate::validate::compile_schema(schema)
                .map_err(|(message, pointer)| wrong(format!("`output_schema` at `{pointer}`: {message}")))?;
        }
        Ok(spec)
    }

    /// Calls of the model in one task, at most.
    pub fn max_turns(&self) -> u32 {
        self.budget.turns.unwrap_or(limits::TASK_TURNS_DEFAULT).clamp(1, limits::TASK_TURNS_MAX)
    }

    /// Calls of tools in one task, at most.
    pub fn max_tool_calls(&self) -> u32 {
        self.budget.tool_calls.unwrap_or(limits::TASK_TOOL_CALLS_DEFAULT).min(limits::TASK_TOOL_CALLS_MAX)
    }
}

/// What a task is given: the inputs of its run.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskInput {
    /// What is to be done: text, or what the agent's type takes.
    pub task: Value,
    /// What belongs to it. It may come from anywhere, so it taints the task.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub context: Value,
    /// JSON Schema of the answer, before the agent's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// Narrows the agent's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// The conversation that it goes on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}

/// Which programs there are is for the operator's file to say: a grant has names, and no place for a command, an argument or a variable.
fn is_grant_of_mcp(grant: &Value) -> bool {
    let are_names = |tools: &Value| tools.as_array().is_some_and(|tools| tools.iter().all(Value::is_string));
    grant.as_object().is_some_and(|servers| servers.values().all(are_names))
}

impl TaskInput {
    /// Of a run's inputs.
    pub fn read(inputs: &Value) -> Result<Self, String> {
        serde_json::from_value(inputs.clone()).map_err(|error| error.to_string())
    }

    /// The task as text for a model.
    pub fn text(&self) -> String {
        match &self.task {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// The narrower of this task's and the agent's bound.
    pub fn turns(&self, spec: &AgentSpec) -> u32 {
        let own = self.budget.as_ref().and_then(|budget| budget.turns);
        own.map_or(spec.max_turns(), |own| own.clamp(1, spec.max_turns()))
    }

    /// As above, of tools.
    pub fn tool_calls(&self, spec: &AgentSpec) -> u32 {
        let own = self.budget.as_ref().and_then(|budget| budget.tool_calls);
        own.map_or(spec.max_tool_calls(), |own| own.min(spec.max_tool_calls()))
    }

    /// Tokens of this task, at most; `None` is no bound of its own.
    pub fn tokens(&self, spec: &AgentSpec) -> Option<u64> {
        let agents = spec.budget.tokens.filter(|_| spec.budget.per == Per::Task);
        least(agents, self.budget.as_ref().and_then(|budget| budget.tokens))
    }

    /// Cost of this task in millionths, at most.
    pub fn cost_micros(&self, spec: &AgentSpec) -> Option<u64> {
        let agents = spec.budget.cost_micros().filter(|_| spec.budget.per == Per::Task);
        least(agents, self.budget.as_ref().and_then(Budget::cost_micros))
    }

    /// Working time of this task, at most.
    pub fn time(&self, spec: &AgentSpec, default: Duration) -> Duration {
        let agents = spec.budget.time().unwrap_or(default);
        let own = self.budget.as_ref().and_then(Budget::time);
        own.map_or(agents, |own| own.min(agents))
    }

    /// The schema of the answer.
    pub fn schema<'a>(&'a self, spec: &'a AgentSpec) -> Option<&'a Value> {
        self.output_schema.as_ref().or(spec.output_schema.as_ref())
    }
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
