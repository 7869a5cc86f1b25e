//! A compiled definition: flat tables of nodes and blocks, every expression ready to run.
//!
//! Invariants: a [`NodeId`] indexes `nodes`, a [`BlockId`] indexes `blocks`; both are stable for one source, because
//! compilation numbers steps in the order of the text. Journals refer to nodes by these numbers.

use std::collections::HashMap;
use std::time::Duration;

use crate::expr::{Expression, ItemSource, Template, Transformer};
use crate::id::{DefinitionHash, NodeId};
use crate::model::{Backoff, Join, Keep, OnError, OnUncertain, Pos, Publish};

/// A sequence of nodes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BlockId(pub u32);

/// A compiled definition.
pub struct Program {
    /// Of the source.
    pub hash: DefinitionHash,
    /// The workflow's name.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Every node, in the order of the text; the fork of a `type: parallel` workflow comes first.
    pub nodes: Vec<Node>,
    /// Every block. The first is the root.
    pub blocks: Vec<Block>,
    /// What inputs must be like.
    pub inputs: Option<InputSchema>,
    /// The whole run.
    pub timeout: Option<Duration>,
    /// The run's result.
    pub output: Option<Template>,
    /// Nodes by step id.
    pub by_id: HashMap<String, NodeId>,
    /// Runs when a step failed and nothing else handled it.
    pub catch: Option<BlockId>,
    /// Runs at the end in every case.
    pub finally: Option<BlockId>,
    /// People are told when a run fails.
    pub notify_on_failure: bool,
    /// How long runs are kept.
    pub keep: Keep,
    /// For whom it is a tool besides.
    pub publish: Publish,
    /// What starts a run by itself.
    pub triggers: Vec<std::sync::Arc<super::Trigger>>,
    /// How many runs at once.
    pub concurrency: Option<super::Concurrency>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Program({} {})", self.name, self.hash)
    }
}

impl Program {
    /// The block that a run begins with.
    pub const ROOT: BlockId = BlockId(0);

    /// How many steps a run has at most; `None` where a loop does some more than once.
    pub fn steps_at_most(&self) -> Option<u32> {
        let is_loop = |node: &Node| matches!(node.op, Op::Loop(_));
        (!self.nodes.iter().any(is_loop)).then_some(self.nodes.len() as u32)
    }

    /// A node of this program.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// A block of this program.
    pub fn block(&self, id: BlockId) -> &Block {
        &self.blocks[id.0 as usize]
    }

    /// Whether the node is in this program; a journal of another definition would not.
    pub fn has(&self, id: NodeId) -> bool {
        (id.0 as usize) < self.nodes.len()
    }

    /// In which part of a run a node is: [`Owner::Run`], [`Owner::Catch`], [`Owner::Finally`] or [`Owner::Compensation`].
    pub fn phase_of(&self, node: NodeId) -> Owner {
        let mut block = self.node(node).block;
        loop {
            block = match self.block(block).owner {
                Owner::Fork { node, .. }
                | Owner::Condition { node }
                | Owner::Loop { node }
                | Owner::Task { node } => self.node(node).block,
                outermost => return outermost,
            };
        }
    }

    /// Steps that people wrote, without what compilation added.
    pub fn step_count(&self) -> usize {
        self.by_id.len()
    }
}

/// The schema of a workflow's inputs.
pub struct InputSchema {
    /// As written.
    pub schema: serde_json::Value,
    /// Compiled.
    pub validator: jsonschema::Validator,
}

/// A sequence of nodes.
pub struct Block {
    /// Whose it is.
    pub owner: Owner,
    /// In order.
    pub nodes: Vec<NodeId>,
    /// Of a conditional workflow with `match: first`: the first node that runs is the last.
    pub first_only: bool,
}

/// Whose block it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The run's.
    Run,
    /// Branch `branch` of a fork.
    Fork { node: NodeId, branch: u32 },
    /// The body of a loop.
    Loop { node: NodeId },
    /// A branch of a condition.
    Condition { node: NodeId },
    /// The run's, after its steps failed.
    Catch,
    /// The run's, at the end.
    Finally,
    /// The single step that undoes another.
    Compensation { node: NodeId },
    /// The calls of an agent's task.
    Task { node: NodeId },
}

/// A step.
pub struct Node {
    /// The step's id; empty for the fork that a `type: parallel` workflow becomes.
    pub id: String,
    /// The step's type, as written.
    pub kind: &'static str,
    /// Where it stands in the source.
    pub pos: Pos,
    /// The block it is in.
    pub block: BlockId,
    /// Its index in that block.
    pub slot: u32,
    /// The number after the last step inside of it: what it owns is a range of numbers.
    pub end: u32,
    /// How many loops are around it.
    pub depth: usize,
    /// False = skipped.
    pub when: Option<Expression>,
    /// One try, or the whole of a control step or wait.
    pub timeout: Option<Duration>,
    /// What was written; defaults come from the context of a decision.
    pub retry: Option<RetryRule>,
    /// When the last try failed.
    pub on_error: OnError,
    /// When it is unknown whether the effect happened.
    pub on_uncertain: OnUncertain,
    /// Where the output goes besides.
    pub output_variable: Option<String>,
    /// Its completion is durable before the run goes on.
    pub checkpoint: bool,
    /// What it does.
    pub op: Op,
    /// The step that undoes it.
    pub compensate: Option<BlockId>,
}

impl Node {
    /// Whether beginning it only looks values up: there is nothing in it that could end the process or never end.
    pub fn is_plain(&self) -> bool {
        let is_plain = |template: &Option<Template>| template.as_ref().is_none_or(Template::is_plain);
        self.when.as_ref().is_none_or(Expression::is_plain)
            && match &self.op {
                Op::Set(variables) => variables.iter().all(|(_, value)| value.is_plain()),
                Op::Effect(effect) | Op::Queue(effect) => effect.input.is_plain(),
                Op::Emit { topic, data } => topic.is_plain() && is_plain(data),
                Op::Notify(notify) => notify.message.is_plain() && is_plain(&notify.title),
                Op::Child { workflow, inputs, .. } => workflow.is_plain() && is_plain(inputs),
                Op::Wait(wait) => match &wait.target {
                    WaitTarget::Duration(what) | WaitTarget::Until(what) => what.is_plain(),
                    WaitTarget::Signal { name, .. } => name.is_plain(),
                    WaitTarget::Event { topic, .. } => topic.is_plain(),
                    WaitTarget::Approval(_) => false,
                },
                // Their work goes on after they were entered, and so does the note.
                Op::Condition(_) | Op::Loop(_) | Op::Fork(_) | Op::Transform(_) => false,
                // What it evaluates is schemas, which end.
                Op::Task(_) | Op::Call(_) => true,
            }
    }
}

/// How an effect is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryRule {
    /// All tries.
    pub attempts: u32,
    /// How the delay grows.
    pub backoff: Backoff,
    /// Before the second try.
    pub delay: Duration,
    /// The delay grows no further.
    pub max_delay: Duration,
    /// Drawn between 0 and its value.
    pub full_jitter: bool,
    /// Classes of error; empty = those that may pass by themselves.
    pub on: Vec<String>,
}

/// What a node does.
pub enum Op {
    /// Sets variables, in order.
    Set(Vec<(String, Expression)>),
    /// Changes data.
    Transform(Box<Transformer>),
    /// Takes one way.
    Condition(ConditionOp),
    /// Repeats a block.
    Loop(LoopOp),
    /// Runs blocks side by side.
    Fork(ForkOp),
    /// Waits.
    Wait(WaitOp),
    /// Leaves the process.
    Effect(EffectOp),
    /// Leaves the process later: the step is done with the message on disk.
    Queue(EffectOp),
    /// Tells the bus.
    Emit { topic: Template, data: Option<Template> },
    /// Tells people, through the same bus.
    Notify(NotifyOp),
    /// Starts another workflow.
    Child { workflow: Template, inputs: Option<Template>, wait: bool },
    /// Works on a task of an agent, call by call.
    Task(Box<TaskOp>),
    /// One call of a task: its input is made by the task.
    Call(crate::task::CallKind),
}

/// The task of an agent.
pub struct TaskOp {
    /// What the agent is.
    pub spec: crate::task::AgentSpec,
    /// Its calls.
    pub body: BlockId,
}

/// `condition`.
pub struct ConditionOp {
    /// What decides.
    pub test: Test,
    /// Names with their blocks: `then` and `else`, or the cases and `default`.
    pub branches: Vec<(String, BlockId)>,
}

/// What decides a condition.
pub enum Test {
    /// `then` when true, else `else`.
    If(Expression),
    /// The case that equals the value as text, else `default`.
    Switch(Expression),
}

/// `loop`.
pub struct LoopOp {
    /// What it goes over.
    pub over: OverOp,
    /// What is repeated.
    pub body: BlockId,
    /// Name of the item in scope.
    pub item_name: String,
    /// At once.
    pub max_concurrency: u32,
    /// A bound for loops that end by an expression.
    pub max_iterations: u32,
    /// A failed iteration leaves the others running.
    pub continue_on_error: bool,
    /// An iteration's result.
    pub collect: Option<Expression>,
}

/// What a loop goes over.
pub enum OverOp {
    /// Items.
    Items(ItemSource),
    /// Tested before each iteration.
    While(Expression),
    /// Tested after each iteration.
    Until(Expression),
    /// A number.
    Times(Expression),
}

/// `parallel`.
pub struct ForkOp {
    /// One a branch.
    pub branches: Vec<BranchOp>,
    /// At once.
    pub max_concurrency: u32,
    /// When it is done.
    pub join: Join,
    /// The first failure cancels the others.
    pub cancel_others: bool,
}

/// A branch of a fork.
pub struct BranchOp {
    /// Key of its result.
    pub name: String,
    /// Its steps.
    pub block: BlockId,
    /// Branches that come before, by index.
    pub after: Vec<u32>,
}

/// `wait`.
pub struct WaitOp {
    /// What for.
    pub target: WaitTarget,
    /// Running out of `timeout` ends the wait well.
    pub continue_on_timeout: bool,
}

/// What a wait waits for.
pub enum WaitTarget {
    /// Some time.
    Duration(Template),
    /// A time.
    Until(Template),
    /// A signal.
    Signal { name: Template, schema: Option<Box<jsonschema::Validator>> },
    /// An event.
    Event { topic: Template, when: Option<Expression> },
    /// A person.
    Approval(Box<ApprovalOp>),
}

/// `approval` of `wait`.
pub struct ApprovalOp {
    /// The question.
    pub message: Template,
    /// Who may answer; empty = anybody.
    pub approvers: Vec<String>,
    /// What may be answered.
    pub actions: Vec<String>,
    /// What counts when the time is over.
    pub default: Option<String>,
}

/// An effect outside of the process.
pub struct EffectOp {
    /// Which executor.
    pub kind: EffectKind,
    /// Its configuration; rendered once a try and journaled as the step's input.
    pub input: Template,
}

/// Beside an effect's input: which of its texts hold secrets, `[{"at": pointer, "parts": [text, {"secret": name}]}]`.
pub const SECRETS_KEY: &str = "secrets";

/// Which executor carries an effect out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EffectKind {
    /// An HTTP request.
    ApiCall,
    /// A JSON message to a URL.
    Webhook,
    /// A mail over SMTP.
    Email,
    /// A keyed hash; no effect outside, but only where secrets can be opened.
    Hmac,
    /// A pin of the machine.
    Gpio,
    /// A notification over a channel of the configuration.
    Channel,
    /// What an agent's task begins with: its tools, its model, its memory.
    Prepare,
    /// A call of a model.
    Model,
    /// A call of an agent's tool.
    Tool,
}

impl EffectKind {
    /// The type of the step, as definitions write it.
    pub fn step_type(self) -> &'static str {
        match self {
            Self::ApiCall => "api_call",
            Self::Webhook => "webhook",
            Self::Email => "email",
            Self::Hmac => "transform",
            Self::Gpio => "gpio",
            Self::Channel => "notification",
            Self::Prepare => "prepare",
            Self::Model => "model_call",
            Self::Tool => "tool_call",
        }
    }
}

/// `notification`.
pub struct NotifyOp {
    /// What it says.
    pub message: Template,
    /// Above it.
    pub title: Option<Template>,
    /// `info`, `success`, `warning` or `error`.
    pub level: String,
    /// `gui`, `event_bus`, and names of the configuration.
    pub channels: Vec<String>,
}
