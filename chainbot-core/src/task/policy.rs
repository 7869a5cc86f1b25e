//! What may become of a call that a model made. Decided here, outside of the model, of the call's typed arguments alone.
//!
//! In this order: the tool was offered when the task began; the arguments fit its schema; the bound on calls; the same call again; the rule of two
//! (of private data, content from outside and an act outward, at most two without a person, and private is every task: its instructions and memory
//! are); the operator's own list. The model is taken for the
//! attacker: nothing it writes changes what is decided, other than which of the granted tools it names with which arguments.

use serde_json::Value;

use crate::model::ToolSpec;

use super::guard;
use super::reply::{Call, ToolResult};
use super::spec::{AgentSpec, Approve};
use super::state::{TaskState, Word};

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is answered without being made.
    Answer(ToolResult),
    /// It is made.
    Make {
        /// With which tool.
        tool: Box<ToolSpec>,
        /// With what.
        arguments: Value,
    },
    /// A person is asked first.
    Ask {
        /// With which tool.
        tool: Box<ToolSpec>,
        /// With what.
        arguments: Value,
        /// Why a person must say.
        why: &'static str,
    },
}

/// What becomes of call `index` of reply `turn`. `is_offered`: tools were offered for that reply at all.
pub fn judge(state: &TaskState, spec: &AgentSpec, max_calls: u32, turn: usize, index: usize) -> Verdict {
    let refused = |why: String| {
        Verdict::Answer(ToolResult { value: Value::String(why), is_error: true, is_tainted: false })
    };
    let Some(at) = state.turns.get(turn) else { return refused("there is no such reply".to_owned()) };
    let Some(call) = at.reply.calls.get(index) else { return refused("there is no such call".to_owned()) };
    let tools = state.prepared.as_ref().map(|prepared| prepared.tools.as_slice()).unwrap_or_default();
    let Some(tool) = tools.iter().find(|tool| tool.name == call.name) else {
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        return refused(format!(
            "there is no tool `{}`; there are: {}",
            cut(&call.name, 64),
            names.join(", ")
        ));
    };
    let arguments = match arguments_of(call, tool) {
        Ok(arguments) => arguments,
        Err(why) => return refused(why),
    };
    if guard::made_before(state, turn, index) >= max_calls {
        return refused(format!("no more than {max_calls} calls of tools; answer with what you know"));
    }
    if let Some(result) = guard::repeated(state, turn, index, &arguments) {
        return Verdict::Answer(result);
    }
    let Some(why) = asks(state, spec, tool) else {
        return Verdict::Make { tool: Box::new(tool.clone()), arguments };
    };
    match (&at.words[index], spec.approve) {
        (Some(Word::Approved), _) => Verdict::Make { tool: Box::new(tool.clone()), arguments },
        (Some(Word::Denied(Some(by))), _) => {
            refused(format!("{by} said no to this call; do not make it again"))
        }
        (Some(Word::Denied(None)), _) => {
            refused("nobody allowed this call in time; do not make it again".to_owned())
        }
        (None, Approve::Never) => {
            refused(format!("this call needs a person's word ({why}), and this agent asks nobody"))
        }
        (None, _) => Verdict::Ask { tool: Box::new(tool.clone()), arguments, why },
    }
}

/// Why a person must be asked before this tool is used now.
fn asks(state: &TaskState, spec: &AgentSpec, tool: &ToolSpec) -> Option<&'static str> {
    if spec.approve_tools.contains(&tool.name) {
        return Some("the agent's definition says so");
    }
    if !tool.is_outward {
        return None;
    }
    if spec.approve == Approve::Outward {
        return Some("it acts outward");
    }
    state.is_tainted.then_some("it acts outward, and the task has read what came from outside")
}

/// The arguments, when they are JSON that fits.
fn arguments_of(call: &Call, tool: &ToolSpec) -> Result<Value, String> {
    let text = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    let arguments: Value = serde_json::from_str(text).map_err(|error| {
        format!("the arguments of `{}` are no JSON ({error}); call it again with valid ones", tool.name)
    })?;
    let validator = crate::validate::compile_schema(&tool.schema)
        .map_err(|(why, at)| format!("the schema of `{}` is wrong at `{at}`: {why}", tool.name))?;
    let problems = crate::validate::misfits(&validator, &arguments, 3);
    match problems.is_empty() {
        true => Ok(arguments),
        false => {
            Err(format!("the arguments of `{}` do not fit its schema: {}", tool.name, problems.join("; ")))
        }
    }
}

/// The beginning of a text, at a character's border.
fn cut(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}
