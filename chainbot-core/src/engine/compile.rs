//! From a checked definition to a [`Program`].
//!
//! Numbers nodes and blocks in the order of the text, compiles every expression, and puts the default of
//! `on_uncertain` in place. It trusts that validation has passed; what it cannot compile all the same is an error, not a panic.

use crate::error::code::definition;
use crate::error::{Error, Result};
use crate::expr::{self, Expression, ItemSource, Template, Transformer};
use crate::id::{DefinitionHash, NodeId};
use crate::limits;
use crate::model::document::NodeValue;
use crate::model::{
    Action, AgentTask, ApiCall, Body, Branch, Condition, Definition, Expr, Join, Loop, LoopOver,
    Node as Tree, Notification, OnError, OnUncertain, Parallel, Pos, ResponseAs, Retry, Step, Text,
    Transform, Wait, WaitFor, Webhook, WorkflowKind,
};
use crate::port::AGENT_PREFIX;

use super::program::*;

mod gpio;
mod secret;

use gpio::gpio_input;
use secret::{auth_input, email_input, hmac_input, pages_input, secret};

/// Compiles a definition that validation has accepted.
pub fn compile(definition: &Definition, source: &str) -> Result<Program> {
    let mut compiler = Compiler { nodes: Vec::new(), blocks: Vec::new() };
    let first_only = matches!(definition.kind, WorkflowKind::Conditional { first_only: true });
    let root = compiler.reserve_block(Owner::Run, first_only);
    if definition.kind == WorkflowKind::Parallel {
        compiler.root_fork(root, definition)?;
    } else {
        compiler.fill_block(root, &definition.steps, 0, definition.retry.as_ref())?;
    }
    let catch = compiler.phase_block(Owner::Catch, &definition.catch, definition.retry.as_ref())?;
    let finally = compiler.phase_block(Owner::Finally, &definition.finally, definition.retry.as_ref())?;
    let nodes = compiler.finish()?;
    let by_id = nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| !node.id.is_empty())
        .map(|(index, node)| (node.id.clone(), NodeId(index as u32)))
        .collect();
    Ok(Program {
        hash: DefinitionHash::of(source),
        name: definition.name.clone(),
        description: definition.description.clone(),
        nodes,
        blocks: compiler.blocks,
        inputs: definition.inputs.as_ref().map(input_schema).transpose()?,
        timeout: definition.timeout,
        output: definition.output.as_ref().map(template).transpose()?,
        by_id,
        catch,
        finally,
        notify_on_failure: definition.notify_on_failure,
        keep: definition.keep,
        publish: definition.publish.clone(),
        triggers: definition
            .triggers
            .iter()
            .map(|trigger| super::Trigger::compile(trigger).map(std::sync::Arc::new))
            .collect::<Result<_>>()?,
        concurrency: definition.concurrency.as_ref().map(super::Concurrency::compile).transpose()?,
    })
}

/// Tables under construction. A node's number is taken before its inner blocks are compiled, so that numbers follow the text.
struct Compiler {
    nodes: Vec<Option<Node>>,
    blocks: Vec<Block>,
}

impl Compiler {
    fn reserve_block(&mut self, owner: Owner, first_only: bool) -> BlockId {
        self.blocks.push(Block { owner, nodes: Vec::new(), first_only });
        BlockId((self.blocks.len() - 1) as u32)
    }

    fn reserve_node(&mut self) -> NodeId {
        self.nodes.push(None);
        NodeId((self.nodes.len() - 1) as u32)
    }

    /// Every reserved number must have been filled.
    fn finish(&mut self) -> Result<Vec<Node>> {
        let nodes: Option<Vec<Node>> = std::mem::take(&mut self.nodes).into_iter().collect();
        nodes.ok_or_else(|| Error::new(&definition::INVALID, "a step was numbered and not compiled"))
    }

    /// The single node of a `type: parallel` workflow: a fork with one branch a step.
    fn root_fork(&mut self, root: BlockId, definition: &Definition) -> Result<()> {
        let parallel = Parallel {
            branches: definition
                .steps
                .iter()
                .map(|step| Branch {
                    name: step.id.clone(),
                    steps: vec![step.clone()],
                    depends_on: step.depends_on.iter().map(|(name, _)| name.clone()).collect(),
                })
                .collect(),
            max_concurrency: definition.max_parallel_steps.unwrap_or(limits::PARALLEL_STEPS_DEFAULT),
            join: Join::All,
            cancel_others: true,
        };
        let id = self.reserve_node();
        let op = self.fork(id, &parallel, 0, definition.retry.as_ref())?;
        self.blocks[root.0 as usize].nodes.push(id);
        self.nodes[id.0 as usize] = Some(Node {
            id: String::new(),
            kind: "parallel",
            pos: Pos::default(),
            block: root,
            slot: 0,
            end: self.nodes.len() as u32,
            depth: 0,
            when: None,
            timeout: None,
            retry: None,
            on_error: OnError::Fail,
            on_uncertain: OnUncertain::Retry,
            output_variable: None,
            checkpoint: false,
            op,
            compensate: None,
        });
        Ok(())
    }

    /// The steps of `catch` or `finally`, when there are some.
    fn phase_block(
        &mut self,
        owner: Owner,
        steps: &[Step],
        retry: Option<&Retry>,
    ) -> Result<Option<BlockId>> {
        if steps.is_empty() {
            return Ok(None);
        }
        let block = self.reserve_block(owner, false);
        self.fill_block(block, steps, 0, retry)?;
        Ok(Some(block))
    }

    /// The block of the single step that undoes another.
    fn compensation(
        &mut self,
        node: NodeId,
        step: &Step,
        depth: usize,
        retry: Option<&Retry>,
    ) -> Result<Option<BlockId>> {
        let Some(compensate) = &step.compensate else { return Ok(None) };
        let block = self.reserve_block(Owner::Compensation { node }, false);
        self.fill_block(block, std::slice::from_ref(&**compensate), depth, retry)?;
        Ok(Some(block))
    }

    fn fill_block(
        &mut self,
        block: BlockId,
        steps: &[Step],
        depth: usize,
        retry: Option<&Retry>,
    ) -> Result<()> {
        for (slot, step) in steps.iter().enumerate() {
            let id = self.reserve_node();
            self.blocks[block.0 as usize].nodes.push(id);
            let (kind, op) = self.op(id, step, depth, retry)?;
            let compensate = self.compensation(id, step, depth, retry)?;
            self.nodes[id.0 as usize] = Some(Node {
                id: step.id.clone(),
                kind,
                pos: step.pos,
                block,
                slot: slot as u32,
                end: self.nodes.len() as u32,
                depth,
                when: step.when.as_ref().map(expression).transpose()?,
                timeout: step.timeout,
                retry: step.retry.as_ref().or(retry).map(retry_rule),
                on_error: step.on_error,
                on_uncertain: step.on_uncertain.unwrap_or_else(|| default_uncertain(&step.action)),
                output_variable: step.output_variable.clone(),
                checkpoint: step.checkpoint,
                op,
                compensate,
            });
        }
        Ok(())
    }

    fn op(
        &mut self,
        id: NodeId,
        step: &Step,
        depth: usize,
        retry: Option<&Retry>,
    ) -> Result<(&'static str, Op)> {
        Ok(match &step.action {
            Action::Transform(Transform::Hmac { input, secret }) => (
                "transform",
                Op::Effect(EffectOp { kind: EffectKind::Hmac, input: template(&hmac_input(input, secret))? }),
            ),
            Action::Transform(transform) => (
                "transform",
                Op::Transform(Box::new(
                    Transformer::compile(transform).map_err(|all| first_of(step.pos, all))?,
                )),
            ),
            Action::Set { variables } => ("set", Op::Set(named(variables)?)),
            Action::Condition(condition) => ("condition", self.condition(id, condition, depth, retry)?),
            Action::Loop(a_loop) => ("loop", self.a_loop(id, a_loop, depth, retry)?),
            Action::Parallel(parallel) => ("parallel", self.fork(id, parallel, depth, retry)?),
            Action::Wait(wait) => ("wait", Op::Wait(wait_op(wait)?)),
            Action::ApiCall(call) => (
                "api_call",
                Op::Effect(EffectOp { kind: EffectKind::ApiCall, input: template(&api_call(call))? }),
            ),
            Action::Webhook(webhook) => {
                let effect =
                    EffectOp { kind: EffectKind::Webhook, input: template(&webhook_input(webhook))? };
                ("webhook", if webhook.is_queued { Op::Queue(effect) } else { Op::Effect(effect) })
            }
            Action::Email(email) => (
                "email",
                Op::Effect(EffectOp { kind: EffectKind::Email, input: template(&email_input(email))? }),
            ),
            Action::Gpio(gpio) => (
                "gpio",
                Op::Effect(EffectOp {
                    kind: EffectKind::Gpio,
                    input: template(&gpio_input(step.pos, gpio))?,
                }),
            ),
            Action::Emit { topic, data } => {
                ("emit", Op::Emit { topic: text(topic)?, data: data.as_ref().map(template).transpose()? })
            }
            Action::Notification(notification) => ("notification", notify(notification)?),
            Action::AgentTask(task) => {
                let agent = &task.agent;
                let name = Text { pos: agent.pos, source: format!("{AGENT_PREFIX}{}", agent.source) };
                let inputs = Some(template(&task_inputs(task))?);
                ("agent_task", Op::Child { workflow: text(&name)?, inputs, wait: true })
            }
            Action::Workflow { workflow, inputs, wait } => (
                "workflow",
                Op::Child {
                    workflow: text(workflow)?,
                    inputs: inputs.as_ref().map(template).transpose()?,
                    wait: *wait,
                },
            ),
        })
    }

    fn condition(
        &mut self,
        id: NodeId,
        condition: &Condition,
        depth: usize,
        retry: Option<&Retry>,
    ) -> Result<Op> {
        let (test, ways): (Test, Vec<(&str, &[Step])>) = match condition {
            Condition::If { condition, then, otherwise } => {
                (Test::If(expression(condition)?), vec![("then", then), ("else", otherwise)])
            }
            Condition::Switch { value, cases, default } => {
                let mut ways: Vec<(&str, &[Step])> =
                    cases.iter().map(|(name, steps)| (name.as_str(), steps.as_slice())).collect();
                ways.push(("default", default));
                (Test::Switch(expression(value)?), ways)
            }
        };
        let mut branches = Vec::with_capacity(ways.len());
        for (name, steps) in ways {
            let block = self.reserve_block(Owner::Condition { node: id }, false);
            self.fill_block(block, steps, depth, retry)?;
            branches.push((name.to_owned(), block));
        }
        Ok(Op::Condition(ConditionOp { test, branches }))
    }

    fn a_loop(&mut self, id: NodeId, a_loop: &Loop, depth: usize, retry: Option<&Retry>) -> Result<Op> {
        let body = self.reserve_block(Owner::Loop { node: id }, false);
        self.fill_block(body, &a_loop.steps, depth + 1, retry)?;
        let over = match &a_loop.over {
            LoopOver::ForEach(items) => {
                OverOp::Items(ItemSource::compile(items).map_err(|all| first_of(Pos::default(), all))?)
            }
            LoopOver::While(test) => OverOp::While(expression(test)?),
            LoopOver::Until(test) => OverOp::Until(expression(test)?),
            LoopOver::Times(count) => OverOp::Times(expression(count)?),
        };
        Ok(Op::Loop(LoopOp {
            over,
            body,
            item_name: a_loop.item_name.clone(),
            max_concurrency: a_loop.max_concurrency.max(1),
            max_iterations: a_loop.max_iterations.min(limits::LOOP_ITERATIONS_MAX),
            continue_on_error: a_loop.continue_on_error,
            collect: a_loop.collect.as_ref().map(expression).transpose()?,
        }))
    }

    fn fork(&mut self, id: NodeId, parallel: &Parallel, depth: usize, retry: Option<&Retry>) -> Result<Op> {
        let mut branches = Vec::with_capacity(parallel.branches.len());
        for (index, branch) in parallel.branches.iter().enumerate() {
            let block = self.reserve_block(Owner::Fork { node: id, branch: index as u32 }, false);
            self.fill_block(block, &branch.steps, depth, retry)?;
            let after = branch
                .depends_on
                .iter()
                .filter_map(|name| parallel.branches.iter().position(|other| other.name == *name))
                .map(|index| index as u32)
                .collect();
            branches.push(BranchOp { name: branch.name.clone(), block, after });
        }
        Ok(Op::Fork(ForkOp {
            branches,
            max_concurrency: parallel.max_concurrency.max(1),
            join: parallel.join,
            cancel_others: parallel.cancel_others,
        }))
    }
}

/// The class of the type, as the language's table has it.
fn default_uncertain(action: &Action) -> OnUncertain {
    match action {
        Action::ApiCall(call) if matches!(call.method.as_str(), "POST" | "PATCH") && !call.idempotent => {
            OnUncertain::Ask
        }
        Action::Email(_) => OnUncertain::Ask,
        // A second pulse may be a second dose; the other actions leave the same state when repeated.
        Action::Gpio(gpio) if gpio.action == "pulse" => OnUncertain::Ask,
        _ => OnUncertain::Retry,
    }
}

fn retry_rule(retry: &Retry) -> RetryRule {
    RetryRule {
        attempts: retry.attempts.clamp(1, limits::ATTEMPTS_MAX),
        backoff: retry.backoff,
        delay: retry.delay,
        max_delay: retry.max_delay,
        full_jitter: retry.full_jitter,
        on: retry.on.clone(),
    }
}

fn wait_op(wait: &Wait) -> Result<WaitOp> {
    let target = match &wait.target {
        WaitFor::Duration(duration) => WaitTarget::Duration(text(duration)?),
        WaitFor::Until(until) => WaitTarget::Until(text(until)?),
        WaitFor::Signal { name, schema } => WaitTarget::Signal {
            name: text(name)?,
            schema: schema.as_ref().map(validator).transpose()?.map(Box::new),
        },
        WaitFor::Event { topic, when } => {
            WaitTarget::Event { topic: text(topic)?, when: when.as_ref().map(expression).transpose()? }
        }
        WaitFor::Approval(approval) => WaitTarget::Approval(Box::new(ApprovalOp {
            message: text(&approval.message)?,
            approvers: approval.approvers.clone(),
            actions: approval.actions.clone(),
            default: approval.default.clone(),
        })),
    };
    Ok(WaitOp { target, continue_on_timeout: wait.continue_on_timeout })
}

fn notify(notification: &Notification) -> Result<Op> {
    Ok(Op::Notify(NotifyOp {
        message: text(&notification.message)?,
        title: notification.title.as_ref().map(text).transpose()?,
        level: notification.level.clone(),
        channels: notification.channels.clone(),
    }))
}

/// What an agent's task is given.
fn task_inputs(task: &AgentTask) -> Tree {
    let at = task.agent.pos;
    let mut entries = vec![("task", task.task.clone())];
    entries.extend(task.context.clone().map(|context| ("context", context)));
    entries.extend(task.output_schema.as_ref().map(|schema| ("output_schema", literal(at, schema))));
    entries.extend(task.budget.clone().map(|budget| ("budget", budget)));
    entries.extend(task.thread.as_ref().map(|thread| ("thread", text_node(thread))));
    map(at, entries)
}

/// The executor's input for an `api_call`, as one tree of templates.
fn api_call(call: &ApiCall) -> Tree {
    let at = call.url.pos;
    let mut entries = vec![("url", text_node(&call.url)), ("method", string(at, &call.method))];
    let mut put = |name, value: Option<Tree>| entries.extend(value.map(|value| (name, value)));
    put("query", call.query.clone());
    put("headers", call.headers.clone());
    match &call.body {
        Body::Empty => {}
        Body::Text(body) => put("body", Some(text_node(body))),
        Body::Json(body) => put("json", Some(body.clone())),
        Body::Form(body) => put("form", Some(body.clone())),
        Body::Multipart(body) => put("multipart", Some(body.clone())),
    }
    put("auth", call.auth.as_ref().map(|auth| auth_input(at, auth)));
    put("pagination", call.pagination.as_ref().map(|pages| pages_input(at, pages)));
    let mut expect = Vec::new();
    if !call.expect_status.is_empty() {
        let list = call.expect_status.iter().map(|status| string(at, status)).collect();
        expect.push(("status", Tree { pos: at, value: NodeValue::List(list) }));
    }
    if let Some(schema) = &call.expect_schema {
        expect.push(("schema", literal(at, schema)));
    }
    if !expect.is_empty() {
        put("expect", Some(map(at, expect)));
    }
    let response = match call.response {
        ResponseAs::Auto => "auto",
        ResponseAs::Json => "json",
        ResponseAs::Text => "text",
        ResponseAs::Bytes => "bytes",
    };
    put("response", Some(string(at, response)));
    put("max_bytes", call.max_bytes.map(|bytes| Tree { pos: at, value: NodeValue::Number(bytes.into()) }));
    put("follow_redirects", Some(Tree { pos: at, value: NodeValue::Bool(call.follow_redirects) }));
    put("idempotent", Some(Tree { pos: at, value: NodeValue::Bool(call.idempotent) }));
    map(at, entries)
}

fn webhook_input(webhook: &Webhook) -> Tree {
    let at = webhook.url.pos;
    let mut entries = vec![("url", text_node(&webhook.url))];
    entries.extend(webhook.payload.clone().map(|payload| ("payload", payload)));
    entries.extend(webhook.headers.clone().map(|headers| ("headers", headers)));
    if !webhook.secrets.is_empty() {
        let keys = webhook.secrets.iter().map(|name| secret(at, name)).collect();
        entries.push(("secret", Tree { pos: at, value: NodeValue::List(keys) }));
    }
    map(at, entries)
}

fn map(pos: Pos, entries: Vec<(&str, Tree)>) -> Tree {
    let entries = entries.into_iter().map(|(name, value)| (name.to_owned(), pos, value)).collect();
    Tree { pos, value: NodeValue::Map(entries) }
}

fn string(pos: Pos, value: &str) -> Tree {
    Tree { pos, value: NodeValue::String(value.to_owned()) }
}

fn text_node(text: &Text) -> Tree {
    string(text.pos, &text.source)
}

/// JSON that is taken as it is. A schema's strings hold no templates, but a template's marks in a `pattern` or
/// `description` would be taken for one, so they are written as an expression that gives the text.
fn literal(pos: Pos, value: &serde_json::Value) -> Tree {
    use serde_json::Value;
    let value = match value {
        Value::Null => NodeValue::Null,
        Value::Bool(value) => NodeValue::Bool(*value),
        Value::Number(value) => NodeValue::Number(value.clone()),
        Value::String(text) if text.contains("{{") || text.contains("{%") || text.contains("{#") => {
            NodeValue::String(format!("{{{{ {} }}}}", Value::String(text.clone())))
        }
        Value::String(text) => NodeValue::String(text.clone()),
        Value::Array(items) => NodeValue::List(items.iter().map(|item| literal(pos, item)).collect()),
        Value::Object(entries) => NodeValue::Map(
            entries.iter().map(|(key, value)| (key.clone(), pos, literal(pos, value))).collect(),
        ),
    };
    Tree { pos, value }
}

fn named(variables: &[(String, Expr)]) -> Result<Vec<(String, Expression)>> {
    variables.iter().map(|(name, value)| Ok((name.clone(), expression(value)?))).collect()
}

pub(super) fn expression(source: &Expr) -> Result<Expression> {
    Expression::compile(&source.source).map_err(|error| at(source.pos, &error))
}

pub(super) fn text(source: &Text) -> Result<Template> {
    Template::compile_text(source).map_err(|error| at(source.pos, &error))
}

pub(super) fn template(source: &Tree) -> Result<Template> {
    Template::compile(source).map_err(|all| first_of(source.pos, all))
}

fn input_schema(schema: &serde_json::Value) -> Result<InputSchema> {
    Ok(InputSchema { schema: schema.clone(), validator: validator(schema)? })
}

/// Compiles a JSON Schema that validation has accepted.
fn validator(schema: &serde_json::Value) -> Result<jsonschema::Validator> {
    crate::validate::compile_schema(schema).map_err(|(message, pointer)| {
        Error::new(&definition::INVALID, format!("schema at `{pointer}`: {message}"))
    })
}

fn first_of(fallback: Pos, errors: Vec<(Pos, expr::Error)>) -> Error {
    match errors.first() {
        Some((pos, error)) => at(*pos, error),
        None => Error::new(&definition::INVALID, format!("does not compile at {fallback}")),
    }
}

fn at(pos: Pos, error: &expr::Error) -> Error {
    Error::new(&definition::INVALID, format!("{pos}: {}", error.message))
}
