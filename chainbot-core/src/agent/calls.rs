//! Carries out the calls of agents' tasks: gathers what a task begins with, asks models, uses tools.
//!
//! Invariants: nothing is decided here, what may be called was decided by `task::policy` before; a model's request is made of what was journaled and
//! of nothing else; what a tool gave is cut at its bound with a word to the model that it was, never passed on whole; the pieces of a reply go to
//! whoever watches and are not kept.
//!
//! Must not know the journal, workflows, routes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::choose::choose;
use super::ledger::{Hold, Ledger, Most, Spender, Sum};
use super::models::{AfterResult, Models, Needs, Pinned};
use super::preset::Preset;
use super::provider::{
    DeltaSink, Message, ModelErrorClass, ModelRequest, ReplySchema, Sampling, Stop, ToolCall, ToolChoice,
    ToolOffer, Usage,
};
use super::recall::Recall;
use super::tool::{ToolFamily, ToolOutcome, ToolOwner, ToolRequest};
use crate::engine::program::EffectKind;
use crate::error::code::agent as code;
use crate::id::{RunId, UserId, WorkflowId};
use crate::limits::TOOL_RESULT_BYTES_MAX;
use crate::model::{StepError, ToolSpec, class};
use crate::port::Possession;
use crate::step::{CallFuture, Calls, CheckFuture, Effect, Failure};
use crate::task::{AgentKind, AgentSpec, MemorySpec, Prepared, TaskModel};

/// Tools that one agent is granted, at most. Of more than a dozen a task is offered those that fit it.
const TOOLS_MAX: usize = 64;

/// Lets people watch replies as they come.
pub trait Watcher: Send + Sync {
    /// Somewhere for the pieces of one reply; `None` when nobody watches. It must not block, and is dropped when the reply is there, or will not be.
    fn watch(&self, of: Watched) -> Option<Box<dyn DeltaSink>>;
}

/// Whose reply comes.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// The agent.
    pub agent: WorkflowId,
    /// Whose it is, and who may watch it.
    pub possession: Possession,
    /// Its task.
    pub run: RunId,
}

/// What carries calls out.
pub struct AgentCalls {
    models: Arc<Models>,
    families: BTreeMap<&'static str, Arc<dyn ToolFamily>>,
    recall: Option<Arc<dyn Recall>>,
    watcher: Option<Arc<dyn Watcher>>,
    ledger: Option<Arc<Ledger>>,
}

impl AgentCalls {
    /// With the models, and no tools.
    pub fn new(models: Arc<Models>) -> Self {
        Self { models, families: BTreeMap::new(), recall: None, watcher: None, ledger: None }
    }

    /// With budgets beyond that of each task.
    #[must_use]
    pub fn with_ledger(mut self, ledger: Arc<Ledger>) -> Self {
        self.ledger = Some(ledger);
        self
    }

    /// With a family of tools more.
    #[must_use]
    pub fn with_family(mut self, family: Arc<dyn ToolFamily>) -> Self {
        self.families.insert(family.family(), family);
        self
    }

    /// With a memory.
    #[must_use]
    pub fn with_recall(mut self, recall: Arc<dyn Recall>) -> Self {
        self.recall = Some(recall);
        self
    }

    /// With somebody who watches.
    #[must_use]
    pub fn with_watcher(mut self, watcher: Arc<dyn Watcher>) -> Self {
        self.watcher = Some(watcher);
        self
    }

    fn family(&self, name: &str) -> Result<&Arc<dyn ToolFamily>, StepError> {
        let short = name.split(':').next().unwrap_or_default();
        self.families.get(short).ok_or_else(|| {
            let names: Vec<&str> = self.families.keys().copied().collect();
            wrong(&code::TOOL, format!("there are no tools `{name}`; there are: {}", names.join(", ")))
        })
    }
}

impl Calls for AgentCalls {
    fn check<'a>(&'a self, spec: &'a AgentSpec, agent: WorkflowId, owner: Option<UserId>) -> CheckFuture<'a> {
        Box::pin(async move {
            if let Some(name) = &spec.preset {
                self.preset(name)?;
            }
            // Of no run: nothing is called.
            let owner =
                ToolOwner { agent, name: spec.name.clone(), owner, run: RunId::from([0; 16]), depth: 0 };
            let config = spec.config.clone().unwrap_or(Value::Null);
            for (family, grant) in grants(spec.kind, &spec.tools, &config) {
                let checked = self.family(family)?.check(&grant, &owner).await;
                checked.map_err(|error| of_family(family, &spec.name, error))?;
            }
            Ok(())
        })
    }

    fn carry_out<'a>(&'a self, effect: &'a Effect) -> CallFuture<'a> {
        Box::pin(async move {
            match effect.kind {
                EffectKind::Prepare => self.prepare(effect).await,
                EffectKind::Model => self.ask(effect).await,
                _ => self.use_tool(effect).await,
            }
        })
    }
}

/// What a preparation is told.
#[derive(Deserialize)]
struct ToPrepare {
    agent: WorkflowId,
    name: String,
    #[serde(rename = "type")]
    kind: AgentKind,
    depth: u32,
    preset: Option<String>,
    instructions: Option<String>,
    model: Option<String>,
    temperature: Option<f64>,
    max_output: Option<u32>,
    #[serde(default)]
    tools: BTreeMap<String, Value>,
    config: Option<Value>,
    #[serde(default)]
    memory: MemorySpec,
    thread: Option<String>,
    task: String,
    needs_model: bool,
}

impl AgentCalls {
    async fn prepare(&self, effect: &Effect) -> Result<Value, Failure> {
        let told: ToPrepare = read(&effect.input)?;
        let preset = match &told.preset {
            None => None,
            Some(name) => Some(self.preset(name)?),
        };
        let preset = preset.as_ref();
        let owner = ToolOwner {
            agent: told.agent,
            name: told.name.clone(),
            owner: effect.owner,
            run: effect.run,
            depth: told.depth,
        };
        let tools = self.offers(&told, &owner).await?;
        let model = match told.needs_model {
            false => None,
            true => {
                let wanted = told.model.as_deref().or(preset.map(|preset| preset.model.as_str()));
                // A data processor's model is shown the result and no tool.
                let is_plain = tools.is_empty() || told.kind == AgentKind::DataProcessor;
                let needs = if is_plain { Needs::Text } else { Needs::Tools };
                let pinned =
                    self.models.resolve(wanted.unwrap_or("default"), needs).await.map_err(StepError::from)?;
                Some(task_model(&pinned, &told, preset))
            }
        };
        let memory = match &self.recall {
            Some(recall) => {
                recall.remembered(&told.memory, told.thread.as_deref(), &told.task, &owner).await?
            }
            None => crate::task::Remembered {
                blocks: told.memory.blocks.clone().into_iter().collect(),
                ..crate::task::Remembered::default()
            },
        };
        let instructions = told
            .instructions
            .clone()
            .or_else(|| preset.map(|preset| preset.instructions.clone()))
            .unwrap_or_default();
        // Without a model the task names its tool itself.
        let (tools, left_out) = match &model {
            Some(model) if told.kind != AgentKind::DataProcessor => choose(tools, &told.task, model.context),
            _ => (tools, Vec::new()),
        };
        let prepared = Prepared { instructions, model, tools, left_out, memory };
        serde_json::to_value(&prepared).map_err(|error| Failure::from(wrong(&code::TASK, error.to_string())))
    }

    fn preset(&self, name: &str) -> Result<Preset, StepError> {
        let mut presets = self.models.presets();
        let names: Vec<String> = presets.iter().map(|preset| preset.name.clone()).collect();
        let at = names.iter().position(|other| other == name);
        at.map(|at| presets.swap_remove(at)).ok_or_else(|| {
            wrong(&code::TASK, format!("there is no preset `{name}`; there are: {}", names.join(", ")))
        })
    }

    /// Every tool that the definition grants, sorted by name.
    async fn offers(&self, told: &ToPrepare, owner: &ToolOwner) -> Result<Vec<ToolSpec>, StepError> {
        let mut tools = Vec::new();
        let config = told.config.clone().unwrap_or(Value::Null);
        for (family, grant) in grants(told.kind, &told.tools, &config) {
            let offers = self.family(family)?.offers(&grant, owner).await;
            let offers = offers.map_err(|error| of_family(family, &told.name, error))?;
            tools.extend(offers);
        }
        tools.sort_by(|a: &ToolSpec, b| a.name.cmp(&b.name));
        if let Some(pair) = tools.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(wrong(&code::TOOL, format!("two tools are called `{}`", pair[0].name)));
        }
        if tools.len() > TOOLS_MAX {
            let why = format!("{} tools are granted and the bound is {TOOLS_MAX}; grant fewer", tools.len());
            return Err(wrong(&code::TOOL, why));
        }
        Ok(tools)
    }

    async fn ask(&self, effect: &Effect) -> Result<Value, Failure> {
        let (pinned, request) = request_of(effect)?;
        let hold = self.hold(effect, &pinned, &request).await?;
        let mut sink = self.watch(effect);
        let within = effect.timeout.unwrap_or(std::time::Duration::from_secs(300));
        let called = self.models.call(&pinned, &request, within, &mut *sink).await;
        let tree = hold.as_ref().map(|hold| hold.root).filter(|root| *root != effect.run);
        if let Some(hold) = hold {
            let (usage, cost) = match &called {
                Ok(answer) => (answer.usage, answer.cost_micros),
                Err(error) => {
                    let usage = error.usage.unwrap_or_default();
                    (usage, pinned.price.cost_micros(&usage))
                }
            };
            hold.settle(Sum { tokens: usage.input + usage.output, cost });
        }
        let answer = called.map_err(|error| {
            let retry_after = error.after;
            // What is not there will not be there a second later.
            let is_final = matches!(error.class, ModelErrorClass::Auth | ModelErrorClass::Refused);
            Failure {
                retry_after: retry_after.filter(|_| !is_final),
                ..Failure::from(StepError::from(error))
            }
        })?;
        let calls: Vec<Value> = answer
            .reply
            .calls
            .iter()
            .map(|call| json!({ "id": call.id, "name": call.name, "arguments": call.arguments }))
            .collect();
        let stop = match answer.reply.stop {
            Stop::End => "end",
            Stop::MaxOutput => "max_output",
            Stop::Filtered => "filtered",
        };
        Ok(json!({
            "text": answer.reply.text, "calls": calls, "stop": stop,
            "input": answer.usage.input, "cached": answer.usage.cached, "output": answer.usage.output,
            "is_reported": answer.usage.is_reported, "cost": answer.cost_micros,
            "provider": answer.provider, "model": answer.model, "tries": answer.tries,
            "fell_back_from": answer.fell_back_from, "tree": tree,
        }))
    }

    /// Holds what a call may take, where somebody keeps accounts.
    async fn hold(
        &self,
        effect: &Effect,
        pinned: &Pinned,
        request: &ModelRequest,
    ) -> Result<Option<Hold>, StepError> {
        let agent = effect.input["agent"].as_str().and_then(|id| id.parse().ok());
        let (Some(ledger), Some(agent)) = (&self.ledger, agent) else { return Ok(None) };
        let (input, output) = (request.estimated_input(), u64::from(request.max_output));
        let most = Usage { input, output, ..Usage::default() };
        let sum = Sum { tokens: input + output, cost: pinned.price.cost_micros(&most) };
        let day = &effect.input["day"];
        let day = Most { tokens: day["tokens"].as_u64(), cost: day["cost"].as_u64() };
        let who = Spender { agent, owner: effect.owner, run: effect.run, day };
        ledger.hold(who, sum).await.map(Some)
    }

    fn watch(&self, effect: &Effect) -> Box<dyn DeltaSink> {
        let possession = Possession { owner: effect.owner, shared: effect.shared };
        let agent = effect.input["agent"].as_str().and_then(|id| id.parse().ok());
        let watched = agent.map(|agent| Watched { agent, possession, run: effect.run });
        let sink = watched.and_then(|watched| self.watcher.as_ref()?.watch(watched));
        sink.unwrap_or_else(|| Box::new(()))
    }

    async fn use_tool(&self, effect: &Effect) -> Result<Value, Failure> {
        let told: ToUse = read(&effect.input)?;
        let family = self.family(&told.spec.family)?;
        // A type's own tool is granted by the agent's configuration.
        let grant = told.grant.or(told.config).unwrap_or(Value::Null);
        let request = ToolRequest {
            grant,
            arguments: told.arguments,
            key: effect.key,
            attempt: effect.attempt,
            owner: ToolOwner {
                agent: told.agent,
                name: told.name,
                owner: effect.owner,
                run: effect.run,
                depth: told.depth,
            },
            is_tainted: told.is_tainted,
            timeout: effect.timeout.unwrap_or(std::time::Duration::from_secs(30)),
            spec: told.spec,
        };
        let ToolOutcome { value, is_error, is_tainted } =
            tokio::time::timeout(request.timeout, family.call(&request)).await.unwrap_or_else(|_| {
                let why =
                    format!("`{}` did not end within {} s", request.spec.name, request.timeout.as_secs());
                Err(StepError::new(class::TIMEOUT, &crate::error::code::run::STEP_TIMEOUT, why))
            })?;
        let is_tainted = is_tainted || request.spec.is_untrusted;
        Ok(json!({ "value": bounded(value), "is_error": is_error, "is_tainted": is_tainted }))
    }
}

#[derive(Deserialize)]
struct ToUse {
    spec: ToolSpec,
    arguments: Value,
    grant: Option<Value>,
    config: Option<Value>,
    agent: WorkflowId,
    name: String,
    depth: u32,
    #[serde(default)]
    is_tainted: bool,
}

/// Families with what is granted of each: first that of the agent's type, of which its configuration is the grant.
fn grants<'a>(
    kind: AgentKind,
    tools: &'a BTreeMap<String, Value>,
    config: &'a Value,
) -> Vec<(&'a str, Cow<'a, Value>)> {
    let own = match kind {
        AgentKind::DataProcessor => Some("data_processor"),
        AgentKind::Api => Some("api"),
        AgentKind::Assistant | AgentKind::Workflow => None,
    };
    let own = own.map(|family| (family, Cow::Borrowed(config)));
    let granted = tools.iter().map(|(family, grant)| match (kind, family.as_str()) {
        // Who starts workflows for a living looks after them, too.
        (AgentKind::Workflow, "workflow") if grant.is_array() => {
            ("workflow", Cow::Owned(json!({ "allow": grant, "supervise": true })))
        }
        (_, family) => (family, Cow::Borrowed(grant)),
    });
    own.into_iter().chain(granted).collect()
}

fn of_family(family: &str, agent: &str, error: StepError) -> StepError {
    let message = format!("tools `{family}` of agent `{agent}`: {}", error.message);
    StepError { message, ..error }
}

fn task_model(pinned: &Pinned, told: &ToPrepare, preset: Option<&Preset>) -> TaskModel {
    let max_output = told.max_output.or(preset.and_then(|preset| preset.max_output));
    TaskModel {
        name: pinned.name.clone(),
        dialect: pinned.dialect.as_str().to_owned(),
        context: pinned.context,
        max_output: max_output.map_or(pinned.max_output, |own| own.min(pinned.max_output)),
        temperature: told.temperature.or(preset.and_then(|preset| preset.temperature)).or(pinned.temperature),
        input_price: pinned.price.input,
        output_price: pinned.price.output,
        withdraws: pinned.after_result == AfterResult::Withdraw,
        pinned: serde_json::to_value(pinned).unwrap_or(Value::Null),
    }
}

/// The request that a journaled prompt is.
fn request_of(effect: &Effect) -> Result<(Pinned, ModelRequest), StepError> {
    let body = &*effect.input;
    let pinned: Pinned = read(&body["pinned"])?;
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let messages =
        body["messages"].as_array().into_iter().flatten().map(|message| match message["role"].as_str() {
            Some("system") => Message::System(text(message, "text")),
            Some("assistant") => Message::Assistant {
                text: text(message, "text"),
                calls: message["calls"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|call| ToolCall {
                        id: text(call, "id"),
                        name: text(call, "name"),
                        arguments: text(call, "arguments"),
                    })
                    .collect(),
            },
            Some("tool") => Message::Tool {
                call: text(message, "call"),
                name: text(message, "name"),
                text: text(message, "text"),
                is_error: message["is_error"].as_bool().unwrap_or_default(),
            },
            _ => Message::User(text(message, "text")),
        });
    let tools = body["tools"].as_array().into_iter().flatten().map(|tool| ToolOffer {
        name: text(tool, "name"),
        description: text(tool, "description"),
        schema: tool["schema"].clone(),
    });
    let schema = body["schema"]
        .is_object()
        .then(|| ReplySchema { name: "answer".to_owned(), schema: body["schema"].clone() });
    let request = ModelRequest {
        model: pinned.model.clone(),
        messages: messages.collect(),
        tools: tools.collect(),
        tool_choice: match body["tool_choice"].as_str() {
            Some("auto") => ToolChoice::Auto,
            Some("required") => ToolChoice::Required,
            _ => ToolChoice::None,
        },
        schema,
        sampling: Sampling { temperature: body["temperature"].as_f64(), ..Sampling::default() },
        max_output: u32::try_from(body["max_output"].as_u64().unwrap_or(256)).unwrap_or(u32::MAX),
        context: Some(pinned.context),
        idempotency_key: effect.key.to_string(),
    };
    Ok((pinned, request))
}

/// A result within its bound. What is over it is cut, and says so: a model can ask for less.
fn bounded(value: Value) -> Value {
    let text = match &value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.len() <= TOOL_RESULT_BYTES_MAX {
        return value;
    }
    let mut end = TOOL_RESULT_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let all = text.len();
    Value::String(format!("{}\n(cut here: these are {end} of {all} bytes; ask for less)", &text[..end]))
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, StepError> {
    T::deserialize(value)
        .map_err(|error| wrong(&code::TASK, format!("the call's input does not read: {error}")))
}

fn wrong(code: &crate::error::Code, why: impl Into<String>) -> StepError {
    StepError::new(class::INVALID, code, why)
}
