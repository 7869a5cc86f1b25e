//! Every step of a definition, numbered in the order of the source, with what encloses it.

use std::collections::HashMap;
use std::ops::Range;

use super::Report;
use crate::error::code::definition as code;
use crate::model::{Action, Condition, Definition, Step};

/// All steps.
pub(super) struct Index<'d> {
    pub(super) entries: Vec<Entry<'d>>,
    by_id: HashMap<&'d str, usize>,
    by_address: HashMap<*const Step, usize>,
    /// Those of `steps`, `catch` and `finally`; the others undo one of them.
    pub(super) steps: Range<usize>,
    pub(super) catch: Range<usize>,
    pub(super) finally: Range<usize>,
}

/// A step.
pub(super) struct Entry<'d> {
    pub(super) step: &'d Step,
    /// The number after that of its last nested step: its nested steps are `number + 1..end`.
    pub(super) end: usize,
    pub(super) parent: Option<usize>,
    /// Which list of its parent it is in: `then` or `else`, this branch or that.
    pub(super) list: usize,
    /// Loops around it, the outermost first.
    pub(super) loops: Vec<usize>,
}

impl<'d> Index<'d> {
    pub(super) fn new(definition: &'d Definition) -> Self {
        let mut index = Self {
            entries: Vec::new(),
            by_id: HashMap::new(),
            by_address: HashMap::new(),
            steps: 0..0,
            catch: 0..0,
            finally: 0..0,
        };
        index.add(&definition.steps, None, 0, &[]);
        index.steps = 0..index.entries.len();
        index.add(&definition.catch, None, 1, &[]);
        index.catch = index.steps.end..index.entries.len();
        index.add(&definition.finally, None, 2, &[]);
        index.finally = index.catch.end..index.entries.len();
        // After all others: what undoes a step does not run where it stands.
        for number in 0..index.entries.len() {
            let Entry { step, ref loops, .. } = index.entries[number];
            let loops = loops.clone();
            if let Some(compensate) = &step.compensate {
                index.add(std::slice::from_ref(&**compensate), Some(number), 0, &loops);
            }
        }
        index
    }

    fn add(&mut self, steps: &'d [Step], parent: Option<usize>, list: usize, loops: &[usize]) {
        for step in steps {
            let number = self.entries.len();
            self.entries.push(Entry { step, end: 0, parent, list, loops: loops.to_vec() });
            self.by_address.insert(step, number);
            if !step.id.is_empty() {
                self.by_id.entry(&step.id).or_insert(number);
            }
            let mut inner = loops.to_vec();
            if matches!(step.action, Action::Loop(_)) {
                inner.push(number);
            }
            for (list, steps) in lists(&step.action).into_iter().enumerate() {
                self.add(steps, Some(number), list, &inner);
            }
            self.entries[number].end = self.entries.len();
        }
    }

    /// The number of the first step with an id.
    pub(super) fn by_id(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// The number of a step of this definition.
    pub(super) fn number(&self, step: &Step) -> usize {
        self.by_address.get(&std::ptr::from_ref(step)).copied().unwrap_or_default()
    }

    /// A step and all steps nested in it.
    pub(super) fn range(&self, number: usize) -> Range<usize> {
        number..self.entries[number].end
    }

    /// A step and what encloses it, the innermost first.
    pub(super) fn ancestry(&self, number: usize) -> Vec<usize> {
        let mut out = vec![number];
        let mut at = number;
        while let Some(parent) = self.entries[at].parent {
            out.push(parent);
            at = parent;
        }
        out
    }

    /// All ids.
    pub(super) fn ids(&self) -> impl Iterator<Item = &'d str> {
        self.entries.iter().map(|entry| entry.step.id.as_str()).filter(|id| !id.is_empty())
    }

    /// Reports ids that are there twice.
    pub(super) fn unique(&self, report: &mut Report<'_>) {
        for (number, Entry { step, .. }) in self.entries.iter().enumerate() {
            let Some(first) = self.by_id(&step.id).filter(|first| *first != number) else { continue };
            let place = self.entries[first].step.pos;
            let message = format!("the id `{}` is there twice; the first is the step at {place}", step.id);
            let hint = "ids are unique in the whole definition, nested steps included".to_owned();
            report.error(&code::DUPLICATE_STEP, step.pos, message, Some(hint));
        }
    }
}

/// The lists of steps within an action, in the order of the source.
pub(super) fn lists(action: &Action) -> Vec<&[Step]> {
    match action {
        Action::Condition(Condition::If { then, otherwise, .. }) => vec![then, otherwise],
        Action::Condition(Condition::Switch { cases, default, .. }) => {
            cases.iter().map(|(_, steps)| steps.as_slice()).chain([default.as_slice()]).collect()
        }
        Action::Loop(inner) => vec![&inner.steps],
        Action::Parallel(parallel) => {
            parallel.branches.iter().map(|branch| branch.steps.as_slice()).collect()
        }
        _ => Vec::new(),
    }
}
