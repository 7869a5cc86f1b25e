//! What can be named at a place: the steps that can have run before it, and the names that its loop or
//! transform brings.

use super::index::Index;
use super::set::Set;
use crate::model::{Action, Definition, WorkflowKind};

/// A place in the order of a run.
#[derive(Clone)]
pub(super) struct Scope {
    /// Steps that can have run before.
    pub(super) done: Set,
    /// Steps that have run before from the second iteration on: the body of a `while`, for its test.
    pub(super) done_later: Option<Set>,
    /// Names beside the usual ones: `item`, `index`, `input`.
    pub(super) locals: Vec<String>,
    /// The step that this is part of; none for the definition's `output`.
    pub(super) step: Option<usize>,
    /// Loops whose iteration this is part of, the outermost first.
    pub(super) loops: Vec<usize>,
    /// Variables set before in the same step.
    pub(super) variables: Vec<String>,
    /// Before there is a run: the one name that has a value, and what is being decided.
    pub(super) before_run: Option<(&'static str, &'static str)>,
    /// Whether secrets may be written out here.
    pub(super) secrets: bool,
}

impl Scope {
    /// The beginning of a run.
    pub(super) fn start(steps: usize) -> Self {
        Self {
            done: Set::new(steps),
            done_later: None,
            locals: Vec::new(),
            step: None,
            loops: Vec::new(),
            variables: Vec::new(),
            before_run: None,
            secrets: false,
        }
    }

    /// The same place where what is rendered is sent, and secrets are put in.
    pub(super) fn with_secrets(&self) -> Self {
        Self { secrets: true, ..self.clone() }
    }

    /// The same place with more names.
    pub(super) fn with(&self, names: &[&str]) -> Self {
        let mut scope = self.clone();
        scope.locals.extend(names.iter().map(|name| (*name).to_owned()));
        scope
    }
}

/// Why a step cannot have run, and what to do.
pub(super) fn why_not(
    definition: &Definition,
    index: &Index<'_>,
    target: usize,
    scope: &Scope,
) -> (String, String) {
    let id = &index.entries[target].step.id;
    let Some(here) = scope.step else {
        let message = format!("step `{id}` has not run when `output` is made");
        return (
            message,
            "name one of `steps`; a run that is caught ends with what `catch` puts out".to_owned(),
        );
    };
    let is_elsewhere = !index.steps.contains(&target) && !index.finally.contains(&target);
    if here != target && is_elsewhere && !index.catch.contains(&here) {
        let (place, runs) = match index.catch.contains(&target) {
            true => ("in `catch`", "when the steps have failed"),
            false => ("what undoes a step", "when the run fails or is cancelled"),
        };
        if !index.finally.contains(&here) {
            let message = format!("step `{id}` is {place} and runs only {runs}");
            return (message, "name one of `steps`; values can be passed on in `vars`".to_owned());
        }
    }
    if index.finally.contains(&target) && !index.finally.contains(&here) {
        let message = format!("step `{id}` is in `finally` and runs at the end");
        return (message, "name a step that runs before".to_owned());
    }
    if here == target {
        return (
            format!("step `{id}` is this step itself, which has no output yet"),
            "name a step that runs before; a value kept over runs of the step belongs into `vars`".to_owned(),
        );
    }
    let around = index.ancestry(here);
    if around.contains(&target) {
        return (
            format!("step `{id}` holds this step, so it is not finished here"),
            "name a step inside of it that runs before this one, or use it after".to_owned(),
        );
    }
    let other = index.ancestry(target);
    // The innermost step that holds both, and the step directly below it on either side.
    let shared = around.iter().find(|step| other.contains(step)).copied();
    let below = |line: &[usize]| line.iter().copied().find(|step| index.entries[*step].parent == shared);
    let (Some(mine), Some(theirs)) = (below(&around), below(&other)) else {
        return (format!("step `{id}` cannot have run yet"), "name a step that runs before".to_owned());
    };
    let same_list = index.entries[mine].list == index.entries[theirs].list;
    match shared.map(|step| &index.entries[step].step.action) {
        Some(Action::Parallel(parallel)) => beside(id, &parallel_hint(parallel, index, theirs)),
        None if definition.kind == WorkflowKind::Parallel => {
            beside(id, &format!("add `depends_on: [{}]`", index.entries[theirs].step.id))
        }
        None if definition.kind == (WorkflowKind::Conditional { first_only: true }) && theirs < mine => (
            format!("step `{id}` has not run when this one does: with `match: first` only one step runs"),
            "use `match: all`, or compute the value in this step".to_owned(),
        ),
        Some(Action::Condition(_)) if !same_list => (
            format!("step `{id}` is in another branch of the same condition; only one of them runs"),
            "set a variable in each branch (`output_variable`), or use the step after the condition"
                .to_owned(),
        ),
        Some(Action::Loop(_)) => (
            format!("step `{id}` runs after this one"),
            "move it before; a value of the iteration before belongs into `vars`".to_owned(),
        ),
        _ => (format!("step `{id}` runs after this one"), "move it before this step".to_owned()),
    }
}

fn beside(id: &str, hint: &str) -> (String, String) {
    (format!("step `{id}` runs beside this one and may not be done"), hint.to_owned())
}

fn parallel_hint(parallel: &crate::model::Parallel, index: &Index<'_>, theirs: usize) -> String {
    let id = &index.entries[theirs].step.id;
    let by_step = parallel.branches.iter().any(|branch| branch.steps.len() == 1 && branch.name == *id);
    if by_step {
        format!("add `depends_on: [{id}]` to the step of this `parallel` that needs it")
    } else {
        "branches do not see each other; use it after the `parallel` step".to_owned()
    }
}
