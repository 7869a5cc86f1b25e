//! Every expression and template: it compiles, and each name in it can have a value where it stands.
//!
//! The walk follows the order of a run. It carries the set of steps that can have run before; a list run in
//! order adds to it, the branches of a condition each start from the same set, steps side by side see what
//! they depend on, and a loop's steps are seen only inside of it.

use std::collections::HashMap;

use super::Report;
use super::graph::Graphs;
use super::index::Index;
use super::reference::Inputs;
use super::scope::Scope;
use crate::expr::{Expression, Template, Transformer};
use crate::limits::DIAGNOSTICS_MAX;
use crate::model::document::{Node, NodeValue};
use crate::model::{
    Action, Auth, Body, Condition, DateMode, Expr, Items, Loop, LoopOver, Parallel, Step, Text, Transform,
    WaitFor, WorkflowKind,
};
use crate::validate::decode::Decoded;

/// Checks all names of a definition.
pub(super) fn check(decoded: &Decoded, index: &Index<'_>, graphs: &Graphs, report: &mut Report<'_>) {
    let definition = &decoded.definition;
    let mut setters: HashMap<&str, Vec<usize>> = HashMap::new();
    for (number, entry) in index.entries.iter().enumerate() {
        if let Some(name) = &entry.step.output_variable {
            setters.entry(name).or_default().push(number);
        }
        if let Action::Set { variables } = &entry.step.action {
            variables.iter().for_each(|(name, _)| setters.entry(name).or_default().push(number));
        }
    }
    let inputs = Inputs::new(definition.inputs.as_ref());
    let mut walker = Walker { decoded, index, graphs, report, setters, inputs };
    let mut scope = Scope::start(index.entries.len());
    let start = Scope { before_run: Some(("event", "a trigger")), ..scope.clone() };
    for trigger in &definition.triggers {
        trigger.when.iter().for_each(|when| walker.expr(when, &start));
        trigger.inputs.iter().for_each(|inputs| walker.template(inputs, &start));
    }
    if let Some(key) = definition.concurrency.as_ref().and_then(|concurrency| concurrency.key.as_ref()) {
        let before_run = Some(("inputs", "`concurrency.key`"));
        walker.text(key, &Scope { before_run, ..scope.clone() });
    }
    match definition.kind {
        WorkflowKind::Sequential | WorkflowKind::Conditional { first_only: false } => {
            walker.sequence(&definition.steps, &mut scope);
        }
        WorkflowKind::Conditional { first_only: true } => {
            definition.steps.iter().for_each(|step| walker.step(step, &scope));
        }
        WorkflowKind::Parallel => walker.beside(definition.steps.iter().map(std::slice::from_ref), &scope),
    }
    scope.done.extend(index.steps.clone());
    if let Some(output) = &definition.output {
        walker.template(output, &scope);
    }
    walker.sequence(&definition.catch, &mut scope.with(&["error"]));
    scope.done.extend(0..index.entries.len());
    index.finally.clone().for_each(|number| scope.done.remove(number));
    walker.sequence(&definition.finally, &mut scope);
}

/// The walk, and all that judging a name needs.
pub(super) struct Walker<'w, 'r> {
    pub(super) decoded: &'w Decoded,
    pub(super) index: &'w Index<'w>,
    graphs: &'w Graphs,
    pub(super) report: &'w mut Report<'r>,
    /// Which steps set a variable.
    pub(super) setters: HashMap<&'w str, Vec<usize>>,
    pub(super) inputs: Option<Inputs>,
}

impl Walker<'_, '_> {
    /// Steps one after another; `scope` moves along.
    fn sequence(&mut self, steps: &[Step], scope: &mut Scope) {
        for step in steps {
            self.step(step, scope);
            scope.done.extend(self.index.range(self.index.number(step)));
        }
    }

    /// Branches side by side. The first step of a branch may depend on steps beside it.
    fn beside<'s>(&mut self, branches: impl Iterator<Item = &'s [Step]>, scope: &Scope) {
        for steps in branches {
            let mut scope = scope.clone();
            let before = steps.first().and_then(|step| self.graphs.before(self.index.number(step)));
            if let Some(before) = before {
                scope.done.union(before);
            }
            self.sequence(steps, &mut scope);
        }
    }

    fn step(&mut self, step: &Step, around: &Scope) {
        let mut scope = around.clone();
        scope.step = Some(self.index.number(step));
        if let Some(when) = &step.when {
            self.expr(when, &scope);
        }
        self.action(step, &scope);
        if let Some(compensate) = &step.compensate {
            // It runs after the step, as long as the run has not ended well.
            scope.done.extend(self.index.range(self.index.number(step)));
            self.step(compensate, &scope);
        }
    }

    fn action(&mut self, step: &Step, scope: &Scope) {
        match &step.action {
            Action::Transform(transform) => self.transform(transform, scope),
            Action::Set { variables } => {
                let mut scope = scope.clone();
                for (name, expr) in variables {
                    self.expr(expr, &scope);
                    scope.variables.push(name.clone());
                }
            }
            Action::Condition(Condition::If { condition, then, otherwise }) => {
                self.expr(condition, scope);
                self.sequence(then, &mut scope.clone());
                self.sequence(otherwise, &mut scope.clone());
            }
            Action::Condition(Condition::Switch { value, cases, default }) => {
                self.expr(value, scope);
                cases.iter().for_each(|(_, steps)| self.sequence(steps, &mut scope.clone()));
                self.sequence(default, &mut scope.clone());
            }
            Action::Loop(inner) => self.loop_(inner, scope),
            Action::Parallel(Parallel { branches, .. }) => {
                self.beside(branches.iter().map(|branch| branch.steps.as_slice()), scope);
            }
            Action::Wait(wait) => match &wait.target {
                WaitFor::Duration(text) | WaitFor::Until(text) | WaitFor::Signal { name: text, .. } => {
                    self.text(text, scope);
                }
                WaitFor::Event { topic, when } => {
                    self.text(topic, scope);
                    when.iter().for_each(|when| self.expr(when, &scope.with(&["event"])));
                }
                WaitFor::Approval(approval) => self.text(&approval.message, scope),
            },
            Action::ApiCall(call) => {
                let scope = &scope.with_secrets();
                if let Some(Auth::Basic { user: Some(user), .. }) = &call.auth {
                    self.text(user, scope);
                }
                self.text(&call.url, scope);
                [&call.query, &call.headers]
                    .into_iter()
                    .flatten()
                    .for_each(|node| self.template(node, scope));
                match &call.body {
                    Body::Empty => {}
                    Body::Text(text) => self.text(text, scope),
                    Body::Json(node) | Body::Form(node) | Body::Multipart(node) => self.template(node, scope),
                }
            }
            Action::Webhook(webhook) => {
                let scope = &scope.with_secrets();
                self.text(&webhook.url, scope);
                let parts = [&webhook.payload, &webhook.headers];
                parts.into_iter().flatten().for_each(|node| self.template(node, scope));
            }
            Action::Emit { topic, data } => {
                self.text(topic, scope);
                data.iter().for_each(|node| self.template(node, scope));
            }
            Action::Notification(notification) => {
                self.text(&notification.message, scope);
                notification.title.iter().for_each(|text| self.text(text, scope));
            }
            Action::Workflow { workflow, inputs, .. } => {
                self.text(workflow, scope);
                inputs.iter().for_each(|node| self.template(node, scope));
            }
            Action::AgentTask(task) => {
                self.text(&task.agent, scope);
                self.template(&task.task, scope);
                [&task.context, &task.budget]
                    .into_iter()
                    .flatten()
                    .for_each(|node| self.template(node, scope));
                task.thread.iter().for_each(|text| self.text(text, scope));
            }
            Action::Gpio(gpio) => gpio.value.iter().for_each(|node| self.template(node, scope)),
            Action::Email(email) => {
                let nodes =
                    [Some(&email.to), email.cc.as_ref(), email.bcc.as_ref(), email.attachments.as_ref()];
                nodes.into_iter().flatten().for_each(|node| self.template(node, scope));
                let texts =
                    [Some(&email.subject), email.reply_to.as_ref(), email.body.as_ref(), email.html.as_ref()];
                texts.into_iter().flatten().for_each(|text| self.text(text, scope));
            }
        }
    }

    fn loop_(&mut self, inner: &Loop, scope: &Scope) {
        let Some(number) = scope.step else { return };
        let body = number + 1..self.index.entries[number].end;
        let counts = matches!(inner.over, LoopOver::ForEach(_) | LoopOver::Times(_));
        let names: &[&str] = if counts { &[&inner.item_name, "index"] } else { &["index"] };
        let mut inside = scope.with(names);
        inside.loops.push(number);
        let mut after = inside.clone();
        after.done.extend(body);
        match &inner.over {
            LoopOver::ForEach(items) => self.items(items, scope),
            LoopOver::Times(expr) => self.expr(expr, scope),
            LoopOver::While(expr) => {
                let test = Scope { done_later: Some(after.done.clone()), ..inside.clone() };
                self.expr(expr, &test);
            }
            LoopOver::Until(expr) => self.expr(expr, &after),
        }
        self.sequence(&inner.steps, &mut inside);
        inner.collect.iter().for_each(|expr| self.expr(expr, &after));
    }

    fn transform(&mut self, transform: &Transform, scope: &Scope) {
        let before = self.report.findings.len();
        let each = scope.with(&["item", "index", "input"]);
        match transform {
            Transform::Template { template, input } => {
                input.iter().for_each(|node| self.template(node, scope));
                self.text(template, &scope.with(&["input"]));
            }
            Transform::Expression { expr, input } => {
                input.iter().for_each(|node| self.template(node, scope));
                self.expr(expr, &scope.with(&["input"]));
            }
            Transform::JsonParse { input }
            | Transform::JsonStringify { input, .. }
            | Transform::Hash { input, .. }
            | Transform::Hmac { input, .. }
            | Transform::CsvParse { input, .. }
            | Transform::Base64 { input, .. } => self.template(input, scope),
            Transform::CsvStringify { input, .. } => self.items(input, scope),
            Transform::JsonPath { input, path, .. } => {
                self.template(input, scope);
                self.text(path, scope);
            }
            Transform::Date { input, mode } => {
                self.template(input, scope);
                match mode {
                    DateMode::Parse { format } => format.iter().for_each(|text| self.text(text, scope)),
                    DateMode::Format { format, timezone } => {
                        format.iter().chain(timezone).for_each(|text| self.text(text, scope));
                    }
                    DateMode::Add { amount } => self.text(amount, scope),
                    DateMode::Diff => {}
                }
            }
            Transform::Filter { input, condition: expr } | Transform::Map { input, expr } => {
                self.items(input, scope);
                self.expr(expr, &each);
            }
            Transform::Sort { input, by, .. } => {
                self.items(input, scope);
                by.iter().for_each(|expr| self.expr(expr, &each));
            }
            Transform::Group { input, by, collect } => {
                self.items(input, scope);
                self.expr(by, &each);
                collect.iter().for_each(|expr| self.expr(expr, &each));
            }
            Transform::Merge { inputs, .. } => self.items(inputs, scope),
            Transform::Regex { input, pattern, replacement, .. } => {
                self.template(input, scope);
                self.text(pattern, scope);
                replacement.iter().for_each(|text| self.text(text, scope));
            }
        }
        // What only the whole transform can tell, such as a pattern that does not compile.
        if self.report.findings.len() == before
            && before < DIAGNOSTICS_MAX
            && let Err(errors) = Transformer::compile(transform)
        {
            for (pos, error) in errors {
                self.report.error(error.code, pos, error.message, error.hint);
            }
        }
    }

    fn items(&mut self, items: &Items, scope: &Scope) {
        match items {
            Items::Expr(expr) => self.expr(expr, scope),
            Items::Literal(node) => self.template(node, scope),
        }
    }

    fn expr(&mut self, expr: &Expr, scope: &Scope) {
        if self.report.findings.is_full() {
            return;
        }
        let at = (expr.pos, expr.source.as_str());
        match Expression::compile(&expr.source) {
            Ok(compiled) => {
                for name in compiled.names() {
                    let required = compiled.required_names().any(|other| std::ptr::eq(other, name));
                    self.name(name, required, at, scope);
                }
            }
            Err(error) => self.report.error_within(error.code, at, error.offset, error.message, error.hint),
        }
    }

    /// Strings are compiled one by one, because only then an offset belongs to a known place.
    fn template(&mut self, node: &Node, scope: &Scope) {
        match &node.value {
            NodeValue::String(source) => self.text(&Text { pos: node.pos, source: source.clone() }, scope),
            NodeValue::List(items) => items.iter().for_each(|item| self.template(item, scope)),
            NodeValue::Map(entries) => entries.iter().for_each(|(_, _, value)| self.template(value, scope)),
            _ => {}
        }
    }

    fn text(&mut self, text: &Text, scope: &Scope) {
        if self.report.findings.is_full() {
            return;
        }
        let at = (text.pos, text.source.as_str());
        match Template::compile_text(text) {
            Ok(compiled) => {
                for (name, _, required) in compiled.names_with_places() {
                    self.name(name, required, at, scope);
                }
            }
            Err(error) => self.report.error_within(error.code, at, error.offset, error.message, error.hint),
        }
    }
}
