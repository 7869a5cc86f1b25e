//! Every expression and template: it compiles, and each name in it can have a value where it stands.
//!
//! The walk follows the order of a run. It carries the set of steps that can have run before; a list run in
//! order adds to it, the branches of a condition each start from the same set, steps side by side see what
//! they depend on, and a loop's steps are seen only inside of it.

use std::collections::HashMap;

use super::Report;
use super::graph::Graphs;
use super::index::Index;
use super::scope::{Scope, why_not};
use crate::error::code::definition as code;
use crate::error::{Pos, similar};
use crate::expr::{Expression, Name, Template, Transformer};
use crate::limits::DIAGNOSTICS_MAX;
use crate::model::document::{Node, NodeValue};
use crate::model::{
    Action, Body, Condition, Definition, Expr, Items, Loop, LoopOver, Parallel, Step, Text, Transform,
    WaitFor, WorkflowKind,
};
use crate::validate::decode::{Decoded, ROOTS};

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
    match definition.kind {
        WorkflowKind::Sequential | WorkflowKind::Conditional { first_only: false } => {
            walker.sequence(&definition.steps, &mut scope);
        }
        WorkflowKind::Conditional { first_only: true } => {
            definition.steps.iter().for_each(|step| walker.step(step, &scope));
        }
        WorkflowKind::Parallel => walker.beside(definition.steps.iter().map(std::slice::from_ref), &scope),
    }
    scope.done.extend(0..index.entries.len());
    if let Some(output) = &definition.output {
        walker.template(output, &scope);
    }
}

/// What the schema of the inputs says about names.
struct Inputs {
    properties: Vec<String>,
    /// Whether other properties are refused.
    closed: bool,
}

impl Inputs {
    fn new(schema: Option<&serde_json::Value>) -> Option<Self> {
        let schema = schema?;
        // These can bring properties that are not listed.
        let open =
            ["$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "patternProperties", "dependentSchemas"];
        if open.iter().any(|word| schema.get(word).is_some()) {
            return None;
        }
        let properties = schema.get("properties")?.as_object()?.keys().cloned().collect();
        let closed = schema.get("additionalProperties") == Some(&serde_json::Value::Bool(false));
        Some(Self { properties, closed })
    }
}

struct Walker<'w, 'r> {
    decoded: &'w Decoded,
    index: &'w Index<'w>,
    graphs: &'w Graphs,
    report: &'w mut Report<'r>,
    /// Which steps set a variable.
    setters: HashMap<&'w str, Vec<usize>>,
    inputs: Option<Inputs>,
}

impl Walker<'_, '_> {
    fn definition(&self) -> &Definition {
        &self.decoded.definition
    }

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
            },
            Action::ApiCall(call) => {
                self.text(&call.url, scope);
                [&call.query, &call.headers]
                    .into_iter()
                    .flatten()
                    .for_each(|node| self.template(node, scope));
                match &call.body {
                    Body::Empty => {}
                    Body::Text(text) => self.text(text, scope),
                    Body::Json(node) | Body::Form(node) => self.template(node, scope),
                }
            }
            Action::Webhook(webhook) => {
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
            | Transform::Hash { input, .. } => self.template(input, scope),
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

    /// `required` is false where `default(...)` gives a value to what is undefined.
    fn name(&mut self, name: &Name, required: bool, at: (Pos, &str), scope: &Scope) {
        let member = name.path.first().map(String::as_str);
        match name.root.as_str() {
            local if scope.locals.iter().any(|known| known == local) => {}
            "steps" => self.step_name(name, required, at, scope),
            "vars" | "inputs" if !required => {}
            "vars" => member.into_iter().for_each(|variable| self.variable(variable, name, at, scope)),
            "inputs" => member.into_iter().for_each(|input| self.input(input, name, at)),
            "run" => {
                let known = ["id", "workflow", "started_at", "attempt"];
                let unknown = member.filter(|member| !known.contains(member));
                unknown.into_iter().for_each(|member| self.member("run", member, &known, name, at));
            }
            "config" => {}
            "secrets" => {
                let message = "`secrets` is not in this version yet".to_owned();
                let hint = "there is no secret store to take it from".to_owned();
                self.report.error_within(&code::NOT_YET, at, Some(name.offset), message, Some(hint));
            }
            root => self.unknown_root(root, name, at, scope),
        }
    }

    fn step_name(&mut self, name: &Name, required: bool, at: (Pos, &str), scope: &Scope) {
        let Some(id) = name.path.first() else { return };
        let offset = Some(name.offset);
        let Some(target) = self.index.by_id(id) else {
            if !self.decoded.ids_written.contains(id) {
                let hint =
                    similar(id, self.index.ids()).map(|meant| format!("did you mean `steps.{meant}`?"));
                self.report.error_within(
                    &code::UNKNOWN_STEP,
                    at,
                    offset,
                    format!("there is no step `{id}`"),
                    hint,
                );
            }
            return;
        };
        let entry = &self.index.entries[target];
        if let Some(outer) = entry.loops.iter().find(|around| !scope.loops.contains(around)) {
            let outer = &self.index.entries[*outer].step.id;
            let message = format!("step `{id}` is inside the loop `{outer}` and cannot be seen from here");
            let hint =
                format!("use `steps.{outer}.output.loop_results`; `collect` in the loop says what they hold");
            return self.report.error_within(&code::OUT_OF_LOOP, at, offset, message, Some(hint));
        }
        if !scope.done.contains(target) {
            if scope.done_later.as_ref().is_some_and(|later| later.contains(target)) {
                if !required {
                    return;
                }
                let message = format!("step `{id}` has not run when `while` is tested for the first time");
                let hint = "use `until`, which is tested after, or keep the value in `vars`".to_owned();
                return self.report.warning_within(&code::NOT_RUN_YET, at, offset, message, Some(hint));
            }
            let (message, hint) = why_not(self.definition(), self.index, target, scope);
            return self.report.error_within(&code::NOT_RUN_YET, at, offset, message, Some(hint));
        }
        self.step_members(name, at, entry.step);
    }

    /// `steps.x.output.data`: the second part is one of four, the third what the type puts out.
    fn step_members(&mut self, name: &Name, at: (Pos, &str), step: &Step) {
        let Some(member) = name.path.get(1) else { return };
        let known = ["output", "status", "error", "attempts"];
        if !known.contains(&member.as_str()) {
            let message = format!("a step has no `{member}`");
            let hint = match similar(member, known) {
                Some(meant) => format!("did you mean `steps.{}.{meant}`?", step.id),
                None => format!("what it puts out is at `steps.{}.output`", step.id),
            };
            return self.report.error_within(
                &code::UNKNOWN_MEMBER,
                at,
                Some(name.offset),
                message,
                Some(hint),
            );
        }
        let (Some(member), Some(outputs)) = (name.path.get(2), outputs(&step.action)) else { return };
        if name.path[1] == "output" && !outputs.contains(&member.as_str()) {
            let message = format!("the output of step `{}` has no `{member}`", step.id);
            let listed = outputs.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let hint = match similar(member, outputs.iter().copied()) {
                Some(meant) => format!("did you mean `steps.{}.output.{meant}`?", step.id),
                None => format!("it has {listed}"),
            };
            self.report.warning_within(&code::UNKNOWN_MEMBER, at, Some(name.offset), message, Some(hint));
        }
    }

    fn variable(&mut self, variable: &str, name: &Name, at: (Pos, &str), scope: &Scope) {
        if scope.variables.iter().any(|known| known == variable) {
            return;
        }
        let offset = Some(name.offset);
        match self.setters.get(variable) {
            None if self.decoded.variables_written.contains(variable) => {}
            None => {
                // The order of a hash map must not choose the guess.
                let mut names: Vec<&str> = self.setters.keys().copied().collect();
                names.sort_unstable();
                let hint = match similar(variable, names) {
                    Some(meant) => format!("did you mean `vars.{meant}`?"),
                    None => format!("set it in a `set` step, or with `output_variable: {variable}`"),
                };
                let message = format!("no step sets the variable `{variable}`");
                self.report.error_within(&code::UNSET_VARIABLE, at, offset, message, Some(hint));
            }
            Some(setters) if !setters.iter().any(|setter| scope.done.contains(*setter)) => {
                let by = &self.index.entries[setters[0]].step.id;
                let message =
                    format!("the variable `{variable}` is set by step `{by}`, which may not have run here");
                let hint = format!("set it before, or write `vars.{variable}|default(0)`");
                self.report.warning_within(&code::UNSET_VARIABLE, at, offset, message, Some(hint));
            }
            Some(_) => {}
        }
    }

    fn input(&mut self, input: &str, name: &Name, at: (Pos, &str)) {
        let Some(Inputs { properties, closed }) = &self.inputs else { return };
        if properties.iter().any(|known| known == input) {
            return;
        }
        let hint = match similar(input, properties.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `inputs.{meant}`?"),
            None => "add it to `inputs.properties`".to_owned(),
        };
        if *closed {
            let message = format!("the inputs have no `{input}`, and `additionalProperties` is false");
            self.report.error_within(&code::UNKNOWN_INPUT, at, Some(name.offset), message, Some(hint));
        } else {
            let message = format!("the schema of the inputs does not list `{input}`");
            self.report.warning_within(&code::UNKNOWN_INPUT, at, Some(name.offset), message, Some(hint));
        }
    }

    fn member(&mut self, of: &str, member: &str, known: &[&str], name: &Name, at: (Pos, &str)) {
        let hint = match similar(member, known.iter().copied()) {
            Some(meant) => format!("did you mean `{of}.{meant}`?"),
            None => {
                format!("it has {}", known.iter().map(|m| format!("`{m}`")).collect::<Vec<_>>().join(", "))
            }
        };
        let message = format!("`{of}` has no `{member}`");
        self.report.error_within(&code::UNKNOWN_MEMBER, at, Some(name.offset), message, Some(hint));
    }

    /// A name that is not in scope, with the best guess at what was meant.
    fn unknown_root(&mut self, root: &str, name: &Name, at: (Pos, &str), scope: &Scope) {
        let message = format!("the name `{root}` is not known here");
        let known = ROOTS.iter().copied().filter(|root| !matches!(*root, "event" | "error" | "secrets"));
        let locals = scope.locals.iter().map(String::as_str);
        let hint = match root {
            "item" | "index" => "it has a value only inside a `loop` or a transform over a list".to_owned(),
            "input" => "it has a value only inside a transform; the run's inputs are `inputs`".to_owned(),
            "error" => "the error of a step is `steps.<id>.error`".to_owned(),
            "event" => "this version has no triggers; a run is started with `inputs`".to_owned(),
            "env" => "the environment is not readable; use `inputs` or `config`".to_owned(),
            _ if self.index.by_id(root).is_some() => format!("write `steps.{root}.output`"),
            _ if self.setters.contains_key(root) => format!("write `vars.{root}`"),
            _ if self.inputs.as_ref().is_some_and(|inputs| inputs.properties.iter().any(|p| p == root)) => {
                format!("write `inputs.{root}`")
            }
            _ => match similar(root, known.chain(locals)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("write text in quotes: `'{root}'`"),
            },
        };
        self.report.error_within(&code::OUT_OF_SCOPE, at, Some(name.offset), message, Some(hint));
    }
}

/// The members of an output whose shape is the same for every step of the type.
fn outputs(action: &Action) -> Option<Vec<&str>> {
    Some(match action {
        Action::ApiCall(_) => vec!["status_code", "headers", "data"],
        Action::Webhook(_) => vec!["status_code", "response"],
        Action::Condition(_) => vec!["condition_result", "branch"],
        Action::Loop(_) => vec!["loop_results", "count"],
        Action::Parallel(_) => vec!["parallel_results"],
        Action::Transform(_) => vec!["transformed"],
        Action::Notification(_) => vec!["notification_sent", "channels"],
        Action::Emit { .. } => vec!["event_id"],
        Action::Set { variables } if !variables.is_empty() => {
            variables.iter().map(|(name, _)| name.as_str()).collect()
        }
        // A signal's data and a child's output have any shape.
        _ => return None,
    })
}
