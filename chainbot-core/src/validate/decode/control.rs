//! Control flow: `condition`, `loop`, `parallel`.

use super::action::none_in;
use super::step::Placement;
use super::value::{ROOTS, Rule, kind};
use super::{Decoder, Map};
use crate::error::code::definition as code;
use crate::limits::{LOOP_ITERATIONS_MAX, PARALLEL_STEPS_DEFAULT};
use crate::model::document::NodeValue;
use crate::model::{Branch, Condition, Items, Join, Loop, LoopOver, Parallel, Step};
use crate::validate::findings::key_path;

impl Decoder<'_> {
    /// `condition`: two ways, or one of many.
    pub(super) fn condition(&mut self, map: &Map<'_>, level: usize) -> Condition {
        let switch = self.one_of(map, &["if", "switch"], true) == Some("switch");
        let others: [&'static str; 2] = if switch { ["then", "else"] } else { ["cases", "default"] };
        let with = if switch { "`if`" } else { "`switch`" };
        // Without `if` and `switch` the keys of both are left alone: one problem, one message.
        if map.has("if") != map.has("switch") {
            for key in others {
                self.only_for(map, key, false, with);
            }
        }
        if switch || (!map.has("if") && map.has("cases")) {
            let cases = self.step_lists(map, "cases", level);
            if cases.is_empty() && !map.has("cases") && switch {
                let message = "`switch` needs `cases`";
                let hint = "write `cases: { value: [steps] }`".to_owned();
                self.error(&code::MISSING_KEY, map.pos, &map.path, message, hint);
            }
            return Condition::Switch {
                value: self.expr(map, "switch").unwrap_or_else(|| none_in(map)),
                cases,
                default: self.steps(map, "default", Placement::Sequence, level + 1),
            };
        }
        if map.has("if") && !map.has("then") && !map.has("else") {
            let message = "`if` needs `then` or `else`";
            self.error(&code::MISSING_KEY, map.pos, &map.path, message, "write `then: [steps]`".to_owned());
        }
        Condition::If {
            condition: self.expr(map, "if").unwrap_or_else(|| none_in(map)),
            then: self.steps(map, "then", Placement::Sequence, level + 1),
            otherwise: self.steps(map, "else", Placement::Sequence, level + 1),
        }
    }

    /// A map from names to lists of steps.
    fn step_lists(&mut self, map: &Map<'_>, key: &str, level: usize) -> Vec<(String, Vec<Step>)> {
        let Some(node) = map.get(key) else { return Vec::new() };
        let path = map.path_of(key);
        let NodeValue::Map(entries) = &node.value else {
            let message =
                format!("`{key}` must be a map from names to lists of steps, this is {}", kind(node));
            self.error(
                &code::WRONG_TYPE,
                node.pos,
                &path,
                message,
                format!("write `{key}: {{ name: [steps] }}`"),
            );
            return Vec::new();
        };
        if entries.is_empty() {
            self.error(&code::RANGE, node.pos, &path, format!("`{key}` is empty"), None);
        }
        let mut out = Vec::new();
        for (name, _, steps) in entries {
            let path = key_path(&path, name);
            out.push((name.clone(), self.steps_of(steps, &path, Placement::Sequence, level + 1)));
        }
        out
    }

    /// `loop`.
    pub(super) fn loop_(&mut self, map: &Map<'_>, level: usize) -> Loop {
        let kind = self.one_of(map, &["for_each", "while", "until", "times"], true);
        let over = match kind {
            Some("while") => LoopOver::While(self.expr(map, "while").unwrap_or_else(|| none_in(map))),
            Some("until") => LoopOver::Until(self.expr(map, "until").unwrap_or_else(|| none_in(map))),
            Some("times") => LoopOver::Times(self.expr(map, "times").unwrap_or_else(|| none_in(map))),
            _ => LoopOver::ForEach(self.items(map, "for_each").unwrap_or_else(|| Items::Expr(none_in(map)))),
        };
        let max_iterations = self.number(map, "max_iterations").unwrap_or(LOOP_ITERATIONS_MAX);
        if let LoopOver::Times(times) = &over {
            self.times(map, &times.source, max_iterations);
        }
        let max_concurrency = self.number(map, "max_concurrency").unwrap_or(1);
        if max_concurrency > 1 && matches!(kind, Some("while" | "until")) {
            let message =
                format!("`max_concurrency` above 1 does not go with `{}`", kind.unwrap_or_default());
            let hint = "each iteration decides about the next; remove `max_concurrency`".to_owned();
            self.at(&code::EXCLUSIVE, map, "max_concurrency", message, Some(hint));
        }
        Loop {
            over,
            steps: self.steps(map, "steps", Placement::Sequence, level + 1),
            item_name: self.item_name(map),
            max_concurrency,
            max_iterations,
            continue_on_error: self.choice(map, "on_error") == Some("continue"),
            collect: self.expr(map, "collect"),
        }
    }

    /// A constant number of iterations must be one.
    fn times(&mut self, map: &Map<'_>, source: &str, max_iterations: u32) {
        let Ok(number) = source.trim().parse::<f64>() else { return };
        if number < 0.0 || number.fract() != 0.0 {
            let message = format!("`times` must be a whole number from 0, this is {number}");
            self.at(&code::RANGE, map, "times", message, None);
        } else if number > f64::from(max_iterations) {
            let message = format!("`times` is {number}, more than the {max_iterations} iterations allowed");
            self.at(&code::RANGE, map, "times", message, None);
        }
    }

    fn item_name(&mut self, map: &Map<'_>) -> String {
        let Some(name) = self.name(map, "as", Rule::Variable) else { return "item".to_owned() };
        if ROOTS.contains(&name.as_str()) || matches!(name.as_str(), "index" | "input" | "loop") {
            let message = format!("`as: {name}` would hide the `{name}` of every expression");
            self.at(&code::NAME, map, "as", message, Some("take another name, such as `row`".to_owned()));
        }
        name
    }

    /// `parallel`: steps side by side, or branches each in order.
    pub(super) fn parallel(&mut self, map: &Map<'_>, level: usize) -> Parallel {
        let branches: Vec<Branch> = match self.one_of(map, &["steps", "branches"], true) {
            Some("branches") => self
                .step_lists(map, "branches", level)
                .into_iter()
                .map(|(name, steps)| Branch { name, steps, depends_on: Vec::new() })
                .collect(),
            _ => self
                .steps(map, "steps", Placement::Beside, level + 1)
                .into_iter()
                .map(|step| Branch {
                    name: step.id.clone(),
                    depends_on: step.depends_on.iter().map(|(id, _)| id.clone()).collect(),
                    steps: vec![step],
                })
                .collect(),
        };
        self.branch_names(map);
        let join = self.choice(map, "join");
        let quorum = self.number(map, "quorum");
        self.only_for(map, "quorum", join == Some("quorum"), "`join: quorum`");
        if join == Some("quorum") {
            self.quorum(map, quorum, branches.len());
        }
        Parallel {
            join: match join {
                Some("any") => Join::Any,
                Some("quorum") => Join::Quorum(quorum.unwrap_or(1)),
                _ => Join::All,
            },
            max_concurrency: self.number(map, "max_concurrency").unwrap_or(PARALLEL_STEPS_DEFAULT),
            cancel_others: self.choice(map, "on_error") != Some("wait"),
            branches,
        }
    }

    /// Names of branches are keys of the result, so they are names.
    fn branch_names(&mut self, map: &Map<'_>) {
        let Some(node) = map.get("branches") else { return };
        let NodeValue::Map(entries) = &node.value else { return };
        let path = map.path_of("branches");
        for (name, pos, _) in entries {
            let at = crate::model::Node { pos: *pos, value: NodeValue::Null };
            self.check_name(&at, &key_path(&path, name), name, Rule::Variable);
        }
    }

    fn quorum(&mut self, map: &Map<'_>, quorum: Option<u32>, branches: usize) {
        match quorum {
            None if !map.has("quorum") => {
                let message = "`join: quorum` needs `quorum`, the number of branches that must succeed";
                self.error(&code::MISSING_KEY, map.pos, &map.path, message, "write `quorum: 2`".to_owned());
            }
            Some(quorum) if branches > 0 && quorum as usize > branches => {
                let message = format!("`quorum` is {quorum}, more than the number of branches, {branches}");
                let hint = Some(format!("write a number from 1 to {branches}"));
                self.at(&code::RANGE, map, "quorum", message, hint);
            }
            _ => {}
        }
    }
}
