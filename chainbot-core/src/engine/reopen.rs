//! Taking up a run again: after a failure (a retry), or under another id from a copied history (a fork).
//!
//! Both are a record whose fold puts back what did not end well: a failed or cut off step has not begun, and a control
//! step around it is at work. What was completed or skipped stays, so the agenda that follows is the one that
//! recovery would derive. Invariant: afterwards no instance is failed without being handled, and none is busy or waits.

use std::time::Duration;

use crate::error::Result;
use crate::expr::Data;
use crate::id::NodeId;
use crate::model::{Json, OnError, Place, Record, RunStatus, StepStatus};
use crate::time::Timestamp;

use super::fold::damaged;
use super::program::{BlockId, Op, Owner, Program};
use super::state::{BranchState, Control, Due, RunState};

impl RunState {
    /// A person takes up the failed run.
    pub(super) fn retried(&mut self, record: &Record, generation: u32) -> Result<()> {
        if self.status != RunStatus::Failed || generation != self.generation + 1 {
            return Err(damaged(self.id, record.seq, "it takes up a run that has not failed"));
        }
        self.status = RunStatus::Running;
        self.error = None;
        self.generation = generation;
        self.retried = Some(record.seq);
        self.put_back(record.at);
        if let Some(timeout) = self.program.timeout {
            self.dues.insert((record.at.after(timeout), Due::Run));
        }
        Ok(())
    }

    /// The copied history ends here.
    pub(super) fn forked(&mut self, at: Timestamp, variables: &Json) {
        if let serde_json::Value::Object(variables) = &**variables {
            for (name, value) in variables {
                self.vars.insert(name.clone(), Data::new(value.clone()));
            }
        }
        self.put_back(at);
    }

    /// Whether something that was done has been undone, so that going on would rest on what is no more.
    pub fn was_undone(&self) -> bool {
        self.instances()
            .any(|(place, _)| matches!(self.program.phase_of(place.node), Owner::Compensation { .. }))
    }

    fn put_back(&mut self, at: Timestamp) {
        self.dues.clear();
        self.busy = 0;
        self.forget_ending();
        self.reopen_block(Program::ROOT, &[], at);
    }

    /// What came after the steps has not been: `catch` and `finally` run again when it comes to that again.
    fn forget_ending(&mut self) {
        self.phase = None;
        self.ending = None;
        self.finally_begun = false;
        self.cancelling = None;
        let program = self.program.clone();
        let is_of_steps = |node: NodeId| program.phase_of(node) == Owner::Run;
        for (index, slot) in self.root.iter_mut().enumerate() {
            if !is_of_steps(NodeId(index as u32)) {
                *slot = None;
            }
        }
        self.inner.retain(|_, nodes| {
            nodes.retain(|node, _| is_of_steps(*node));
            !nodes.is_empty()
        });
    }

    /// Moves what a person's pause held back by as long as it took: a timeout counts time at work.
    pub(super) fn unpause(&mut self, at: Timestamp) {
        let Some(since) = self.paused.take() else { return };
        self.waits_turn = false;
        let held = at.since(since);
        let moved: Vec<(Timestamp, Due)> =
            self.dues.iter().filter(|(_, due)| self.counts_work(due)).cloned().collect();
        for (due, what) in moved {
            self.dues.remove(&(due, what.clone()));
            self.delay(due, what, held);
        }
    }

    fn delay(&mut self, due: Timestamp, what: Due, held: Duration) {
        let later = due.after(held);
        if let Due::Step(place) = &what
            && let Some(instance) = self.at_mut(place)
        {
            instance.due = Some(later);
        }
        self.dues.insert((later, what));
    }

    fn counts_work(&self, due: &Due) -> bool {
        match due {
            Due::Run => true,
            // A pause and a cancel do not meet: whoever cancels a paused run lets it go on.
            Due::Grace => false,
            Due::Step(place) => self.at(place).is_some_and(|instance| instance.control.is_some()),
        }
    }

    fn reopen_block(&mut self, block: BlockId, path: &[u32], at: Timestamp) {
        let program = self.program.clone();
        for node in &program.block(block).nodes {
            let place = Place { node: *node, path: path.to_vec() };
            let Some(instance) = self.at(&place) else { return };
            let is_handled =
                instance.status == StepStatus::Failed && program.node(*node).on_error == OnError::Continue;
            match instance.status {
                StepStatus::Completed | StepStatus::Skipped => {}
                _ if is_handled => {}
                _ if instance.control.is_some() => self.reopen_control(&place, at),
                _ => self.take_out(&place),
            }
        }
    }

    fn reopen_control(&mut self, place: &Place, at: Timestamp) {
        let program = self.program.clone();
        let node = program.node(place.node);
        let due = node.timeout.map(|timeout| at.after(timeout));
        let Some(instance) = self.at_mut(place) else { return };
        instance.status = StepStatus::Running;
        instance.error = None;
        instance.due = due;
        if let Some(Control::Loop(state)) = &mut instance.control {
            let failed = std::mem::take(&mut state.failed);
            state.running.extend(failed);
        }
        let control = instance.control.clone();
        if let Some(due) = due {
            self.dues.insert((due, Due::Step(place.clone())));
        }
        match (&node.op, control) {
            (Op::Condition(condition), Some(Control::Branch(Some(taken)))) => {
                if let Some((_, block)) = condition.branches.get(taken) {
                    self.reopen_block(*block, &place.path, at);
                }
            }
            (Op::Fork(fork), Some(Control::Fork(states))) => {
                let states: Vec<BranchState> = fork
                    .branches
                    .iter()
                    .zip(states)
                    .map(|(branch, state)| match state {
                        BranchState::Done => state,
                        _ => {
                            self.reopen_block(branch.block, &place.path, at);
                            self.branch_state(branch.block, &place.path)
                        }
                    })
                    .collect();
                if let Some(instance) = self.at_mut(place) {
                    instance.control = Some(Control::Fork(states));
                }
            }
            (Op::Loop(a_loop), Some(Control::Loop(state))) => {
                for index in state.running {
                    let mut path = place.path.clone();
                    path.push(index);
                    self.reopen_block(a_loop.body, &path, at);
                }
            }
            (Op::Task(task), Some(Control::Task(mut state))) => {
                // What did not end well has not begun: it is called again, under a number of its own.
                let calls: Vec<Place> = self
                    .inner
                    .iter()
                    .filter(|(path, _)| path.split_last().is_some_and(|(_, outer)| outer == place.path))
                    .flat_map(|(path, nodes)| {
                        let own = nodes.iter().filter(|(node, instance)| {
                            program.node(**node).block == task.body
                                && instance.status != StepStatus::Completed
                        });
                        own.map(|(node, _)| Place { node: *node, path: path.clone() }).collect::<Vec<_>>()
                    })
                    .collect();
                calls.iter().for_each(|call| self.take_out(call));
                state.reopened();
                if let Some(instance) = self.at_mut(place) {
                    instance.control = Some(Control::Task(state));
                }
            }
            _ => {}
        }
    }

    /// Where a branch stands by its steps.
    fn branch_state(&self, block: BlockId, path: &[u32]) -> BranchState {
        let nodes = &self.program.block(block).nodes;
        match nodes.first() {
            Some(first) if self.instance(*first, path).is_none() => BranchState::Pending,
            Some(_) => BranchState::Running,
            None => BranchState::Done,
        }
    }

    /// The step has not begun.
    fn take_out(&mut self, place: &Place) {
        if place.path.is_empty() {
            if let Some(slot) = self.root.get_mut(place.node.0 as usize) {
                *slot = None;
            }
        } else if let Some(nodes) = self.inner.get_mut(&place.path) {
            nodes.remove(&place.node);
            if nodes.is_empty() {
                self.inner.remove(&place.path);
            }
        }
    }
}
