//! Steps side by side: their `depends_on` names siblings and makes no circle; what comes before what.

use std::collections::{HashMap, HashSet};

use super::Report;
use super::index::Index;
use super::set::Set;
use crate::error::code::definition as code;
use crate::error::{Pos, similar};
use crate::model::{Action, Definition, Step, WorkflowKind};

/// Steps that come before, by the number of a step that stands side by side with others.
pub(super) struct Graphs(HashMap<usize, Set>);

impl Graphs {
    /// Checks every group of steps that stand side by side. `written` are ids that stand somewhere, even
    /// where a step could not be read.
    pub(super) fn new(
        definition: &Definition,
        index: &Index<'_>,
        written: &HashSet<String>,
        report: &mut Report<'_>,
    ) -> Self {
        let mut graphs = Self(HashMap::new());
        if definition.kind == WorkflowKind::Parallel {
            let steps: Vec<&Step> = definition.steps.iter().collect();
            graphs.group(&steps, index, written, report);
        }
        for entry in &index.entries {
            if let Action::Parallel(parallel) = &entry.step.action {
                // Steps of a written branch have no `depends_on`: decoding has refused it.
                let steps: Vec<&Step> = parallel.branches.iter().filter_map(|b| b.steps.first()).collect();
                if parallel.branches.iter().all(|branch| branch.steps.len() == 1) {
                    graphs.group(&steps, index, written, report);
                }
            }
        }
        graphs
    }

    /// What comes before a step because it, or a step around it, depends on it.
    pub(super) fn before(&self, number: usize) -> Option<&Set> {
        self.0.get(&number)
    }

    fn group(
        &mut self,
        steps: &[&Step],
        index: &Index<'_>,
        written: &HashSet<String>,
        report: &mut Report<'_>,
    ) {
        let mut by_id: HashMap<&str, usize> = HashMap::new();
        for (i, step) in steps.iter().enumerate() {
            by_id.entry(&step.id).or_insert(i);
        }
        let mut needs: Vec<Vec<(usize, Pos)>> = Vec::with_capacity(steps.len());
        for (i, step) in steps.iter().enumerate() {
            let mut edges: Vec<(usize, Pos)> = Vec::new();
            for (id, pos) in &step.depends_on {
                match by_id.get(id.as_str()) {
                    Some(other) if *other == i => {
                        let message = format!("step `{id}` depends on itself");
                        report.error(
                            &code::CYCLE,
                            *pos,
                            message,
                            Some("remove it from its `depends_on`".to_owned()),
                        );
                    }
                    Some(other) if edges.iter().any(|(known, _)| known == other) => {
                        report.warning(&code::DEPENDS_ON, *pos, format!("`{id}` is named twice"), None);
                    }
                    Some(other) => edges.push((*other, *pos)),
                    None => unknown(id, *pos, &by_id, index, written, report),
                }
            }
            needs.push(edges);
        }
        let order = self.reach(steps, &needs, index);
        circles(steps, &needs, &order, report);
    }

    /// Notes what comes before each step. Says which steps are in no circle and after none.
    fn reach(&mut self, steps: &[&Step], needs: &[Vec<(usize, Pos)>], index: &Index<'_>) -> Vec<bool> {
        let bound = index.entries.len();
        let mut waits: Vec<usize> = needs.iter().map(Vec::len).collect();
        let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
        for (i, edges) in needs.iter().enumerate() {
            edges.iter().for_each(|(other, _)| needed_by[*other].push(i));
        }
        let mut ready: Vec<usize> = (0..steps.len()).filter(|i| waits[*i] == 0).collect();
        let mut sorted = vec![false; steps.len()];
        while let Some(i) = ready.pop() {
            sorted[i] = true;
            let mut before = Set::new(bound);
            for (other, _) in &needs[i] {
                let number = index.number(steps[*other]);
                before.extend(index.range(number));
                if let Some(more) = self.0.get(&number) {
                    before.union(more);
                }
            }
            self.0.insert(index.number(steps[i]), before);
            for next in &needed_by[i] {
                waits[*next] -= 1;
                if waits[*next] == 0 {
                    ready.push(*next);
                }
            }
        }
        // In a circle nothing can be said about order, and the circle is reported; so all is let pass.
        for (i, step) in steps.iter().enumerate().filter(|(i, _)| !sorted[*i]) {
            let mut before = Set::new(bound);
            let others = steps.iter().enumerate().filter(|(other, _)| *other != i);
            others.for_each(|(_, other)| before.extend(index.range(index.number(other))));
            self.0.insert(index.number(step), before);
        }
        sorted
    }
}

fn unknown(
    id: &str,
    pos: Pos,
    siblings: &HashMap<&str, usize>,
    index: &Index<'_>,
    written: &HashSet<String>,
    report: &mut Report<'_>,
) {
    if let Some(number) = index.by_id(id) {
        let place = index.entries[number].step.pos;
        let message = format!("step `{id}` at {place} is not beside this one");
        let hint = "`depends_on` names steps of the same list; name the step beside this one that holds it";
        return report.error(&code::DEPENDS_ON, pos, message, Some(hint.to_owned()));
    }
    if written.contains(id) {
        return;
    }
    // The order of a hash map must not choose the guess.
    let mut names: Vec<&str> = siblings.keys().copied().collect();
    names.sort_unstable();
    let hint = similar(id, names).map(|meant| format!("did you mean `{meant}`?"));
    report.error(
        &code::DEPENDS_ON,
        pos,
        format!("`depends_on` names a step `{id}`, which is not there"),
        hint,
    );
}

/// Reports each circle once, with its steps.
fn circles(steps: &[&Step], needs: &[Vec<(usize, Pos)>], sorted: &[bool], report: &mut Report<'_>) {
    /// A longer circle is told by its first steps.
    const SHOWN: usize = 12;
    let mut seen = vec![false; steps.len()];
    for start in (0..steps.len()).filter(|i| !sorted[*i]) {
        let mut way: Vec<(usize, Pos)> = Vec::new();
        let mut at = start;
        while !seen[at] {
            seen[at] = true;
            // Every step that is not sorted needs another one that is not.
            let Some((next, pos)) = needs[at].iter().find(|(other, _)| !sorted[*other]).copied() else {
                break;
            };
            way.push((at, pos));
            at = next;
        }
        let Some(first) = way.iter().position(|(step, _)| *step == at) else { continue };
        let circle = &way[first..];
        let mut names: Vec<&str> = circle.iter().map(|(step, _)| steps[*step].id.as_str()).collect();
        let pos = circle[0].1;
        if names.len() > SHOWN {
            names.truncate(SHOWN);
            names.push("…");
        }
        names.push(&steps[at].id);
        let message = format!("steps depend on each other in a circle: {}", names.join(" needs "));
        report.error(&code::CYCLE, pos, message, Some("remove one of these dependencies".to_owned()));
    }
}
