//! Taking up a run that was read from its journal: derives the agenda from the state.
//!
//! An effect that began and has no end is in doubt. Its `on_uncertain` decides: again with the same key, fail, or park for
//! a person. A person is asked through the inbox, in the transaction of the record.

use crate::error::Result;
use crate::error::code::run;
use crate::model::{
    OnError, OnUncertain, Phase, Place, RecordBody, RunStatus, StepError, StepStatus, Waiting, class,
};
use crate::port::Op as StoreOp;

use super::decide::{Agenda, Command, Stepper, Todo, bug};
use super::program::{BlockId, Op, Program};
use super::state::{BranchState, Control, Instance};

impl Stepper<'_> {
    /// `under_way`: effects whose end is still to come.
    pub(super) fn resume(&mut self, under_way: &[Place]) -> Result<()> {
        *self.agenda = Agenda::default();
        self.under_way = under_way.to_vec();
        if let Some(seq) = self.state.retried {
            // It was woken by this once, and is no more.
            self.out.ops.push(StoreOp::TimerClear { run: self.state.id, seq });
        }
        if self.state.cancelling.is_some() && self.state.is_before_ending() {
            // What was under way ended with the process, so there is nothing to wait for.
            return if under_way.is_empty() { self.stopped() } else { Ok(()) };
        }
        if self.state.status != RunStatus::Running {
            return Ok(());
        }
        let program = self.program;
        let block = match self.state.phase {
            None => Some(Program::ROOT),
            Some(Phase::Catch) => program.catch,
            Some(Phase::Finally) => program.finally,
            Some(Phase::Compensate) => return self.resume_undo(),
            Some(Phase::Stopping { .. }) => return self.stopped(),
        };
        match block {
            Some(block) => self.resume_block(block, Vec::new()),
            None => Err(bug("a phase without steps")),
        }
    }

    fn resume_undo(&mut self) -> Result<()> {
        if let Some(place) = self.undoing()
            && let Some(instance) = self.state.at(&place).cloned()
        {
            return self.resume_step(place, &instance);
        }
        self.push(Todo::Undo);
        Ok(())
    }

    pub(super) fn resume_block(&mut self, block: BlockId, path: Vec<u32>) -> Result<()> {
        let program = self.program;
        for (slot, node) in program.block(block).nodes.iter().enumerate() {
            let place = Place { node: *node, path: path.clone() };
            let Some(instance) = self.state.at(&place).cloned() else {
                self.push(Todo::Enter { block, path, slot });
                return Ok(());
            };
            match instance.status {
                StepStatus::Completed | StepStatus::Failed if program.block(block).first_only => {
                    self.push(Todo::Ended { place });
                    return Ok(());
                }
                StepStatus::Completed | StepStatus::Skipped => {}
                StepStatus::Failed if program.node(*node).on_error == OnError::Continue => {}
                StepStatus::Failed => {
                    self.push(Todo::Ended { place });
                    return Ok(());
                }
                StepStatus::Cancelled => return Ok(()),
                _ => return self.resume_step(place, &instance),
            }
        }
        self.push(Todo::BlockDone { block, path });
        Ok(())
    }

    /// A step that is not over.
    fn resume_step(&mut self, place: Place, instance: &Instance) -> Result<()> {
        if let Some(control) = &instance.control {
            return self.resume_control(place, control);
        }
        if let Some(Waiting::Child { run, .. }) = &instance.waiting {
            self.out.commands.push(Command::CheckChild { run: *run });
            self.out.is_durable = true;
        }
        if !instance.is_busy() {
            return Ok(());
        }
        let program = self.program;
        match &program.node(place.node).op {
            Op::Child { .. } => self.repeat(place),
            _ if self.under_way.contains(&place) => Ok(()),
            _ => self.in_doubt(place, instance),
        }
    }

    fn resume_control(&mut self, place: Place, control: &Control) -> Result<()> {
        let program = self.program;
        match (&program.node(place.node).op, control) {
            (Op::Condition(condition), Control::Branch(taken)) => {
                match taken.and_then(|index| condition.branches.get(index)) {
                    Some((_, block)) => self.resume_block(*block, place.path),
                    None => Ok(()),
                }
            }
            (Op::Fork(fork), Control::Fork(states)) => {
                for (branch, state) in fork.branches.iter().zip(states) {
                    if *state == BranchState::Running {
                        self.resume_block(branch.block, place.path.clone())?;
                    }
                }
                self.push(Todo::Fork { place });
                Ok(())
            }
            (Op::Loop(a_loop), Control::Loop(state)) => {
                for index in &state.running {
                    let mut path = place.path.clone();
                    path.push(*index);
                    self.resume_block(a_loop.body, path)?;
                }
                self.push(Todo::Loop { place });
                Ok(())
            }
            (Op::Task(task), Control::Task(state)) => {
                for number in state.open.keys() {
                    let mut path = place.path.clone();
                    path.push(*number);
                    for node in &program.block(task.body).nodes {
                        let place = Place { node: *node, path: path.clone() };
                        if let Some(instance) = self.state.at(&place).cloned()
                            && !instance.status.is_terminal()
                        {
                            self.resume_step(place, &instance)?;
                        }
                    }
                }
                self.push(Todo::Task { place });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The process ended between the effect's start and its end.
    fn in_doubt(&mut self, place: Place, instance: &Instance) -> Result<()> {
        let program = self.program;
        let node = program.node(place.node);
        match node.on_uncertain {
            _ if crate::sabotaged!("doubt-is-respected") => self.repeat(place),
            OnUncertain::Retry => self.repeat(place),
            OnUncertain::Fail => {
                let message =
                    "the process ended while this effect was under way; whether it happened is unknown";
                self.fail_step(place, StepError::new(class::UNCERTAIN, &run::UNCERTAIN, message))
            }
            OnUncertain::Ask => {
                let Some(key) = instance.key else { return Ok(()) };
                self.out.is_durable = true;
                self.record(RecordBody::StepUncertain { place, attempt: instance.attempts, key })
            }
        }
    }
}
