//! How a run ends: `catch`, the grace of a cancel, undoing what was done, `finally`.
//!
//! ```text
//!   steps ──failed──► catch ──failed──┐
//!     │                 │             ▼
//!     │ └──cancelled──► stopping ──► compensate ──► finally ──► the end
//!     └──completed──────┴──────────────────────────►   │
//!                              ▲                       │ failed, or cancelled meanwhile
//!                              └───────────────────────┘
//! ```
//!
//! How the run is going to end stands in the record that begins each phase, so a crash between two records forgets
//! nothing. A phase that has nothing to do is left out, and with it its record. The rules:
//!
//! - `catch` takes the failure of a step, not the run's timeout and not a wrong `output`. When it ends well the run
//!   has completed with the output of its last step; when it fails the run fails with the first error, and says both.
//! - A failed or cancelled run undoes its completed steps one by one, the last one first. What undoes a step and
//!   fails is recorded, and the others go on.
//! - `finally` runs once in every run that has begun. When it fails, a run that would have completed fails.
//! - A cancel ends steps and `catch`. Undoing and `finally` are never cut short; a run that is failing stays failed,
//!   and one that has completed but for its `finally` is cancelled after it.

use serde_json::json;

use crate::error::Result;
use crate::error::code::run;
use crate::id::NodeId;
use crate::limits;
use crate::model::{
    Ending, Json, OnError, Phase, Place, RecordBody, RunStatus, StepError, StepStatus, class,
};

use super::decide::{Agenda, Outcome, Stepper, Todo, bug, prefixed};
use super::program::{BlockId, Op, Program};
use super::state::{Control, RunState};

impl RunState {
    /// Its steps, or those of `catch`, are not over.
    pub(super) fn is_before_ending(&self) -> bool {
        matches!(self.phase, None | Some(Phase::Catch | Phase::Stopping { .. }))
    }
}

impl Stepper<'_> {
    /// Somebody wants the run to end. Asked twice is asked once.
    pub(super) fn cancel_run(&mut self, reason: String) -> Result<()> {
        if self.state.cancelling.is_some() {
            return Ok(());
        }
        self.record(RecordBody::CancelRequested { reason: reason.clone() })?;
        self.out.is_durable = true;
        if !self.state.is_before_ending() {
            return Ok(());
        }
        *self.agenda = Agenda::default();
        self.end_what_is_idle()?;
        let grace = self.context.defaults.cancel_grace;
        if grace.is_zero() || self.state.is_idle() {
            return self.stopped();
        }
        let due = self.context.now.max(self.state.last_at).after(grace);
        self.record(RecordBody::PhaseStarted {
            phase: Phase::Stopping { due },
            ending: Ending::Cancelled { reason },
        })
    }

    /// Ends the run where it stands.
    pub(super) fn abandon(&mut self, reason: String) -> Result<()> {
        if self.state.cancelling.is_none() {
            self.record(RecordBody::CancelRequested { reason: reason.clone() })?;
        }
        let mut open: Vec<Place> = self.state.instances().map(|(place, _)| place).collect();
        open.sort();
        for place in open {
            if self.state.at(&place).is_some_and(|instance| !instance.status.is_terminal()) {
                self.cancel_step(place)?;
            }
        }
        self.end(Ending::Cancelled { reason })
    }

    /// The grace of a cancel runs.
    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.state.phase, Some(Phase::Stopping { .. }))
    }

    /// Nothing begins; says whether the grace is over because nothing is under way.
    pub(super) fn stop_more(&mut self) -> Result<bool> {
        *self.agenda = Agenda::default();
        let is_over = self.state.is_idle();
        if is_over {
            self.stopped()?;
        }
        Ok(is_over)
    }

    /// The grace is over: what is left is given up.
    pub(super) fn stopped(&mut self) -> Result<()> {
        let reason = self.state.cancelling.clone().unwrap_or_default();
        self.cancel_block(Program::ROOT, Vec::new())?;
        if let Some(catch) = self.state.program.catch {
            self.cancel_block(catch, Vec::new())?;
        }
        self.leave(Ending::Cancelled { reason })
    }

    /// Steps that wait for a time, a person, a child or their next try end at once.
    fn end_what_is_idle(&mut self) -> Result<()> {
        let idle: Vec<Place> = self
            .state
            .instances()
            .filter(|(place, instance)| {
                let effect = matches!(self.state.program.node(place.node).op, Op::Effect(_) | Op::Call(_));
                !instance.status.is_terminal()
                    && instance.control.is_none()
                    && !(effect && instance.is_busy())
            })
            .map(|(place, _)| place)
            .collect();
        idle.into_iter().try_for_each(|place| self.cancel_step(place))
    }

    /// The run cannot end well by its steps. `place` names the one to blame, where there is one.
    pub(super) fn fail_run(&mut self, error: StepError, place: Option<Place>) -> Result<()> {
        let program = self.program;
        match self.state.phase {
            None => {
                self.cancel_block(Program::ROOT, Vec::new())?;
                let is_caught = place.is_some();
                let ending = Ending::Failed { error, place };
                match program.catch.filter(|_| is_caught) {
                    Some(catch) => self.begin(Phase::Catch, ending, catch),
                    None => self.leave(ending),
                }
            }
            Some(Phase::Catch) => {
                let catch = program.catch.ok_or_else(|| bug("no `catch`"))?;
                self.cancel_block(catch, Vec::new())?;
                let ending = match self.state.ending.clone() {
                    Some(Ending::Failed { error: first, place: blamed }) => {
                        let message = format!("{}; then `catch` failed: {}", first.message, error.message);
                        Ending::Failed { error: StepError { message, ..first }, place: blamed }
                    }
                    _ => Ending::Failed { error, place },
                };
                self.leave(ending)
            }
            Some(Phase::Finally) => {
                let finally = program.finally.ok_or_else(|| bug("no `finally`"))?;
                self.cancel_block(finally, Vec::new())?;
                self.finally_over(Some((error, place)))
            }
            Some(Phase::Stopping { .. }) => self.stopped(),
            Some(Phase::Compensate) => {
                self.push(Todo::Undo);
                Ok(())
            }
        }
    }

    /// The steps ended well.
    pub(super) fn complete_run(&mut self) -> Result<()> {
        let program = self.program;
        let output = match &program.output {
            None => self.last_output(Program::ROOT, &[]),
            Some(template) => match self.render(template, &beginning(), b'o') {
                Ok(data) => data,
                Err(error) => return self.fail_run(prefixed("the workflow's `output`", error), None),
            },
        };
        self.leave(Ending::Completed { output: output.json().clone() })
    }

    /// `catch` ended well: the failure is handled.
    pub(super) fn caught(&mut self, catch: BlockId) -> Result<()> {
        let output = self.last_output(catch, &[]).json().clone();
        self.leave(Ending::Completed { output })
    }

    /// `finally` is over, or has failed.
    pub(super) fn finally_over(&mut self, failure: Option<(StepError, Option<Place>)>) -> Result<()> {
        let ending = self.state.ending.clone().ok_or_else(|| bug("an end without a beginning"))?;
        let ending = match (ending, failure, self.state.cancelling.clone()) {
            (Ending::Completed { .. }, Some((error, place)), _) => {
                Ending::Failed { error: prefixed("`finally`", error), place }
            }
            (Ending::Completed { .. }, None, Some(reason)) => Ending::Cancelled { reason },
            (ending, _, _) => ending,
        };
        self.leave(ending)
    }

    /// Undoes the step that completed last of those that are left.
    pub(super) fn undo_more(&mut self) -> Result<()> {
        if self.state.phase != Some(Phase::Compensate) {
            return Ok(());
        }
        match self.undoing() {
            Some(Place { node, path }) => self.enter(self.state.program.node(node).block, path, 0),
            None => {
                let ending = self.state.ending.clone().ok_or_else(|| bug("undoing without a reason"))?;
                self.leave(ending)
            }
        }
    }

    /// The step that undoes what is to be undone next.
    pub(super) fn undoing(&self) -> Option<Place> {
        let last = self.state.undo.last()?;
        let block = self.state.program.node(last.node).compensate?;
        let node = *self.state.program.block(block).nodes.first()?;
        Some(Place { node, path: last.path.clone() })
    }

    /// Whether there is room to keep another step that may have to be undone.
    pub(super) fn can_be_undone(&self) -> Result<(), StepError> {
        let message = if self.state.undo.len() >= limits::COMPENSATIONS_MAX {
            format!(
                "the run has {} completed steps with `compensate`, and more are not kept",
                self.state.undo.len()
            )
        } else if self.state.kept_bytes > limits::COMPENSATION_BYTES_MAX {
            format!(
                "the run keeps {} bytes of loops for `compensate`, and more are not kept",
                self.state.kept_bytes
            )
        } else {
            return Ok(());
        };
        let message = format!("{message}; move a part of the work to a workflow of its own");
        Err(StepError::new(class::LIMIT, &run::STEP_LIMIT, message))
    }

    /// A phase is over and the run is going to end like this: what comes before that?
    fn leave(&mut self, ending: Ending) -> Result<()> {
        *self.agenda = Agenda::default();
        // A run that has not begun has nothing to put right.
        if self.state.status != RunStatus::Running {
            return self.end(ending);
        }
        let is_bad = !matches!(ending, Ending::Completed { .. });
        if is_bad && let Some(Place { node, .. }) = self.undoing() {
            let block = self.state.program.node(node).block;
            return self.begin(Phase::Compensate, ending, block);
        }
        match self.state.program.finally.filter(|_| !self.state.finally_begun) {
            Some(finally) => self.begin(Phase::Finally, ending, finally),
            None => self.end(ending),
        }
    }

    fn begin(&mut self, phase: Phase, ending: Ending, block: BlockId) -> Result<()> {
        *self.agenda = Agenda::default();
        self.record(RecordBody::PhaseStarted { phase, ending })?;
        self.push(match phase {
            Phase::Compensate => Todo::Undo,
            _ => Todo::Enter { block, path: Vec::new(), slot: 0 },
        });
        Ok(())
    }

    fn end(&mut self, ending: Ending) -> Result<()> {
        match ending {
            Ending::Completed { output } => {
                self.record(RecordBody::RunCompleted { output: output.clone() })?;
                self.run_over(Outcome::Completed(output));
            }
            Ending::Failed { error, place } => {
                if self.state.program.notify_on_failure {
                    self.tell_failure(&error, place.clone())?;
                }
                self.record(RecordBody::RunFailed { error: error.clone(), place })?;
                self.run_over(Outcome::Failed(error));
            }
            Ending::Cancelled { reason } => {
                self.record(RecordBody::RunCancelled { reason })?;
                self.run_over(Outcome::Cancelled);
            }
        }
        Ok(())
    }

    /// `on_failure: { notify: true }`: what a `notification` step would say.
    fn tell_failure(&mut self, error: &StepError, place: Option<Place>) -> Result<()> {
        let name = &self.state.created.name;
        let data = json!({
            "message": format!("{} ({})", error.message, error.code), "title": format!("`{name}` failed"),
            "type": "error", "channels": ["gui"], "run": self.state.id, "workflow": name,
        });
        let place = place.unwrap_or_else(beginning);
        self.event(&place, "chainbot.notification".to_owned(), Json::new(data))?;
        Ok(())
    }
}

/// What `error` means in `catch`: the error, with the id of the innermost step that is still known.
pub(super) fn error_in_scope(state: &RunState) -> Option<serde_json::Value> {
    let Some(Ending::Failed { error, place }) =
        state.ending.as_ref().filter(|_| state.phase == Some(Phase::Catch))
    else {
        return None;
    };
    let step = place.as_ref().map(|place| blamed(state, place));
    Some(json!({ "step": step, "class": error.class, "code": error.code, "message": error.message }))
}

/// The failed step inside of a failed step; what happened in an iteration is forgotten, so a loop is blamed itself.
fn blamed(state: &RunState, place: &Place) -> String {
    let program = &state.program;
    let control = state.at(place).and_then(|instance| instance.control.as_ref());
    let blocks: Vec<BlockId> = match (&program.node(place.node).op, control) {
        (Op::Condition(condition), Some(Control::Branch(Some(taken)))) => {
            condition.branches.get(*taken).map(|(_, block)| *block).into_iter().collect()
        }
        (Op::Fork(fork), Some(Control::Fork(_))) => fork.branches.iter().map(|branch| branch.block).collect(),
        _ => Vec::new(),
    };
    let failed = |node: &NodeId| {
        program.node(*node).on_error == OnError::Fail
            && state.instance(*node, &place.path).is_some_and(|inner| inner.status == StepStatus::Failed)
    };
    let inner = blocks.iter().flat_map(|block| &program.block(*block).nodes).copied().find(failed);
    match inner {
        Some(node) => blamed(state, &Place { node, path: place.path.clone() }),
        None => program.node(place.node).id.clone(),
    }
}

/// Stands for the run as a whole where a record or a scope wants a place.
fn beginning() -> Place {
    Place { node: NodeId(0), path: Vec::new() }
}
