//! From an agent's definition to a [`Program`]: one step, the task, with a step inside for each sort of call.

use crate::error::Result;
use crate::id::{DefinitionHash, NodeId};
use crate::model::{Backoff, Keep, OnError, OnUncertain, Pos, class};
use crate::task::{AgentSpec, CallKind};

use super::program::{Block, BlockId, Node, Op, Owner, Program, RetryRule, TaskOp};

/// The calls, in the order of their nodes after the task's own.
const CALLS: [(&str, &str, CallKind, OnUncertain); 6] = [
    ("prepare", "prepare", CallKind::Prepare, OnUncertain::Retry),
    // Sent again once; what the first may have cost is counted.
    ("model", "model_call", CallKind::Model, OnUncertain::Retry),
    ("tool", "tool_call", CallKind::Tool, OnUncertain::Retry),
    // Nobody knows whether it did something: a person is asked.
    ("act", "tool_call", CallKind::Act, OnUncertain::Ask),
    ("approve", "wait", CallKind::Ask, OnUncertain::Ask),
    ("fold", "model_call", CallKind::Fold, OnUncertain::Retry),
];

/// Which sort of call a node of an agent's program is; `None` is the task itself.
pub fn call_kind(node: NodeId) -> Option<CallKind> {
    CALLS.get((node.0 as usize).checked_sub(1)?).map(|(_, _, kind, _)| *kind)
}

/// How the source of an agent begins, which is kept as JSON; no definition of a workflow can.
const BEGINNING: &str = "{\"agent\":";

/// The source that is stored of a definition.
pub fn agent_source(definition: &serde_json::Value) -> String {
    format!("{BEGINNING}{definition}}}")
}

/// The definition in a source; `None` when it is a workflow's.
pub fn agent_in(source: &str) -> Option<Result<AgentSpec>> {
    let definition = source.strip_prefix(BEGINNING)?.strip_suffix('}')?;
    let value = serde_json::from_str(definition).map_err(|error| {
        crate::Error::new(&crate::error::code::agent::INVALID, format!("the definition is no JSON: {error}"))
    });
    Some(value.and_then(AgentSpec::read))
}

/// The program of an agent's tasks. `source`: the definition as it is stored.
pub fn compile_agent(spec: AgentSpec, name: &str, source: &str) -> Result<Program> {
    let body = BlockId(1);
    let end = CALLS.len() as u32 + 1;
    let (description, publish) = (spec.description.clone(), spec.publish.clone());
    let node = |id: &str, kind, block, slot, end, depth, on_uncertain, retry, op| Node {
        id: id.to_owned(),
        kind,
        pos: Pos::default(),
        block,
        slot,
        end,
        depth,
        when: None,
        timeout: None,
        retry,
        on_error: OnError::Fail,
        on_uncertain,
        output_variable: None,
        checkpoint: false,
        op,
        compensate: None,
    };
    let task = Op::Task(Box::new(TaskOp { spec, body }));
    let mut nodes =
        vec![node("task", "agent_task", Program::ROOT, 0, end, 0, OnUncertain::Retry, None, task)];
    for (slot, (id, kind, call, on_uncertain)) in CALLS.into_iter().enumerate() {
        let slot = slot as u32;
        nodes.push(node(id, kind, body, slot, slot + 2, 1, on_uncertain, rule(call), Op::Call(call)));
    }
    let by_id =
        nodes.iter().enumerate().map(|(index, node)| (node.id.clone(), NodeId(index as u32))).collect();
    let block = |owner, nodes: std::ops::Range<u32>| Block {
        owner,
        nodes: nodes.map(NodeId).collect(),
        first_only: false,
    };
    Ok(Program {
        hash: DefinitionHash::of(source),
        name: name.to_owned(),
        description,
        nodes,
        blocks: vec![block(Owner::Run, 0..1), block(Owner::Task { node: NodeId(0) }, 1..end)],
        inputs: None,
        timeout: None,
        output: None,
        by_id,
        catch: None,
        finally: None,
        notify_on_failure: false,
        keep: Keep::default(),
        publish,
        triggers: Vec::new(),
        concurrency: None,
    })
}

/// Tools are tried once: the model is told, and decides. Models are also tried again by their registry, within one call; an answer that is cut again and
/// again may be paid each time, so it is asked for no more.
fn rule(call: CallKind) -> Option<RetryRule> {
    let attempts = match call {
        CallKind::Prepare | CallKind::Model => 3,
        CallKind::Tool | CallKind::Act | CallKind::Ask | CallKind::Fold => 1,
    };
    let is_worth_another = |class: &&&str| **class != class::CUT;
    let on = match call {
        CallKind::Model => {
            class::TRANSIENT.iter().filter(is_worth_another).map(|class| (*class).to_owned()).collect()
        }
        _ => Vec::new(),
    };
    Some(RetryRule {
        attempts,
        backoff: Backoff::Exponential,
        delay: std::time::Duration::from_secs(2),
        max_delay: std::time::Duration::from_secs(60),
        full_jitter: true,
        on,
    })
}
