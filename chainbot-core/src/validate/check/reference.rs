//! One name of an expression: whether it can have a value where it stands, and what was meant if not.

use super::names::Walker;
use super::scope::{Scope, why_not};
use crate::error::code::definition as code;
use crate::error::{Pos, similar};
use crate::expr::Name;
use crate::model::{Action, Step};
use crate::validate::decode::ROOTS;

/// What the schema of the inputs says about names.
pub(super) struct Inputs {
    properties: Vec<String>,
    /// Whether other properties are refused.
    closed: bool,
}

impl Inputs {
    pub(super) fn new(schema: Option<&serde_json::Value>) -> Option<Self> {
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

impl Walker<'_, '_> {
    /// Judges a name; `at` is the text that holds it.
    ///
    /// `required` is false where `default(...)` gives a value to what is undefined.
    pub(super) fn name(&mut self, name: &Name, required: bool, at: (Pos, &str), scope: &Scope) {
        let member = name.path.first().map(String::as_str);
        if let Some((known, what)) = scope.before_run
            && name.root != known
        {
            let message = format!("the name `{}` is not known in {what}", name.root);
            let hint = Some(format!("only `{known}` is: there is no run yet"));
            return self.report.error_within(&code::OUT_OF_SCOPE, at, Some(name.offset), message, hint);
        }
        match name.root.as_str() {
            "event" if scope.before_run.is_some() || !self.decoded.definition.triggers.is_empty() => {
                let known = ["id", "type", "time", "data"];
                let unknown = member.filter(|member| !known.contains(member));
                unknown.into_iter().for_each(|member| self.member("event", member, &known, name, at));
            }
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
            "config" => {
                let (Some(all), Some(member)) = (&self.decoded.constants, member.filter(|_| required)) else {
                    return;
                };
                if !all.iter().any(|known| known == member) {
                    let known: Vec<&str> = all.iter().map(String::as_str).collect();
                    self.member("config", member, &known, name, at);
                }
            }
            "secrets" => {
                if scope.secrets {
                    return;
                }
                let message = "a secret cannot be used here".to_owned();
                let hint =
                    "secrets are for `api_call` and `webhook`: there their value is put in when it is sent";
                let code = &crate::error::code::secret::PLACE;
                self.report.error_within(code, at, Some(name.offset), message, Some(hint.to_owned()));
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
            let (message, hint) = why_not(&self.decoded.definition, self.index, target, scope);
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
            "error" => "it has a value in `catch` only; the error of a step is `steps.<id>.error`".to_owned(),
            "event" => "this workflow has no `triggers`; a run is started with `inputs`".to_owned(),
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
        Action::Webhook(webhook) if webhook.is_queued => vec!["queued", "message_id"],
        Action::Webhook(_) => vec!["status_code", "response"],
        Action::Condition(_) => vec!["condition_result", "branch"],
        Action::Loop(_) => vec!["loop_results", "count"],
        Action::Parallel(_) => vec!["parallel_results"],
        Action::Transform(_) => vec!["transformed"],
        Action::Notification(_) => vec!["notification_sent", "channels", "queued"],
        Action::Emit { .. } => vec!["event_id"],
        Action::Email(_) => vec!["message_id", "accepted", "rejected"],
        Action::Gpio(_) => vec!["value", "edge", "at", "missed"],
        Action::Set { variables } if !variables.is_empty() => {
            variables.iter().map(|(name, _)| name.as_str()).collect()
        }
        // A signal's data and a child's output have any shape.
        _ => return None,
    })
}
