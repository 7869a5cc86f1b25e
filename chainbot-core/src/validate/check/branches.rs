//! Branches that can never run because what decides is constant.

use super::Report;
use super::index::lists;
use crate::error::code::definition as code;
use crate::model::document::NodeValue;
use crate::model::{Action, Condition, Definition, Expr, Items, LoopOver, Step};

/// Reports them, in every list of steps.
pub(super) fn check(definition: &Definition, report: &mut Report<'_>) {
    list(&definition.steps, report);
    list(&definition.catch, report);
    list(&definition.finally, report);
}

fn list(steps: &[Step], report: &mut Report<'_>) {
    for step in steps {
        if let Some(when) = &step.when
            && truth(when) == Some(false)
        {
            let message = format!("step `{}` never runs: `when` is always false", step.id);
            report.warning(&code::UNREACHABLE, when.pos, message, None);
        }
        action(&step.action, report);
        step.compensate.iter().for_each(|step| list(std::slice::from_ref(&**step), report));
        lists(&step.action).into_iter().for_each(|steps| list(steps, report));
    }
}

fn action(action: &Action, report: &mut Report<'_>) {
    match action {
        Action::Condition(Condition::If { condition, then, otherwise }) => {
            let (branch, always) = match truth(condition) {
                Some(true) if !otherwise.is_empty() => ("else", "true"),
                Some(false) if !then.is_empty() => ("then", "false"),
                _ => return,
            };
            let message = format!("`{branch}` never runs: `if` is always {always}");
            report.warning(&code::UNREACHABLE, condition.pos, message, None);
        }
        Action::Condition(Condition::Switch { value, cases, default }) => {
            let Some(value_text) = literal(value) else { return };
            for (name, steps) in cases {
                if let Some(first) = steps.first().filter(|_| *name != value_text) {
                    let message = format!("case `{name}` never runs: `switch` is always `{value_text}`");
                    report.warning(&code::UNREACHABLE, first.pos, message, None);
                }
            }
            if let Some(first) = default.first().filter(|_| cases.iter().any(|(name, _)| *name == value_text))
            {
                let message = format!("`default` never runs: `switch` is always `{value_text}`");
                report.warning(&code::UNREACHABLE, first.pos, message, None);
            }
        }
        Action::Loop(inner) => {
            let (pos, why) = match &inner.over {
                LoopOver::While(expr) if truth(expr) == Some(false) => (expr.pos, "`while` is always false"),
                LoopOver::Times(expr) if truth(expr) == Some(false) => (expr.pos, "`times` is 0"),
                LoopOver::ForEach(Items::Literal(node)) => match &node.value {
                    NodeValue::List(items) if items.is_empty() => (node.pos, "the list is empty"),
                    NodeValue::Map(entries) if entries.is_empty() => (node.pos, "the map is empty"),
                    _ => return,
                },
                LoopOver::ForEach(Items::Expr(expr)) if truth(expr) == Some(false) => {
                    (expr.pos, "there is nothing to go over")
                }
                _ => return,
            };
            report.warning(&code::UNREACHABLE, pos, format!("the loop never runs: {why}"), None);
        }
        _ => {}
    }
}

/// Whether a literal holds; `None` for what must be evaluated.
fn truth(expr: &Expr) -> Option<bool> {
    match expr.source.trim() {
        "true" | "True" | "1" => Some(true),
        // `none` also stands for what could not be read, about which nothing more is to be said.
        "false" | "False" | "0" | "\"\"" | "''" | "[]" => Some(false),
        _ => None,
    }
}

/// A literal as the text that cases are compared with.
fn literal(expr: &Expr) -> Option<String> {
    let source = expr.source.trim();
    let number = source.parse::<i64>().is_ok();
    if number || matches!(source, "true" | "false") {
        return Some(source.to_owned());
    }
    let inner = ['"', '\''].iter().find_map(|quote| source.strip_prefix(*quote)?.strip_suffix(*quote))?;
    (!inner.contains(['"', '\'', '\\'])).then(|| inner.to_owned())
}
