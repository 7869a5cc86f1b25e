//! The flow of control: sequences, conditions, forks, loops, and how failure and cancellation travel through them.
//!
//! Everything here reads where it stands from the state, so doing a piece of work twice does nothing the second time;
//! recovery relies on that.

use serde_json::{Value, json};

use crate::error::Result;
use crate::error::code::run;
use crate::expr::Data;
use crate::limits;
use crate::model::{
    Join, Json, OnError, Phase, Place, Plan, RecordBody, StepError, StepStatus, Waiting, class,
};

use super::decide::{Command, Stepper, Todo, bug, prefixed};
use super::leaf::over_bound;
use super::program::{BlockId, ConditionOp, ForkOp, LoopOp, Op, OverOp, Owner, Program, Test};
use super::state::{BranchState, Control, LoopState};

impl Stepper<'_> {
    /// Begins with the node at `slot`.
    pub(super) fn enter(&mut self, block: BlockId, path: Vec<u32>, slot: usize) -> Result<()> {
        if !self.is_live(block, &path) {
            return Ok(());
        }
        let program = self.program;
        let Some(node) = program.block(block).nodes.get(slot).copied() else {
            self.push(Todo::BlockDone { block, path });
            return Ok(());
        };
        let place = Place { node, path };
        if let Some(instance) = self.state.at(&place) {
            // Begun already: a step that was failed before its turn came, or work found twice.
            if instance.status.is_terminal() {
                self.push(Todo::Ended { place });
            }
            return Ok(());
        }
        if !program.node(node).is_plain() {
            self.context.watch.entering(&place);
        }
        if program.node(node).compensate.is_some()
            && let Err(error) = self.can_be_undone()
        {
            return self.fail_step(place, error);
        }
        if let Some(when) = &program.node(node).when {
            match self.test(when, &place, b'w') {
                Ok(true) => {}
                Ok(false) => {
                    self.record(RecordBody::StepSkipped { place: place.clone() })?;
                    self.push(Todo::Ended { place });
                    return Ok(());
                }
                Err(error) => return self.fail_step(place, prefixed("`when`", error)),
            }
        }
        match &program.node(node).op {
            Op::Condition(condition) => self.start_condition(place, condition),
            Op::Loop(a_loop) => self.start_loop(place, a_loop),
            Op::Task(_) => self.start_task(place),
            Op::Fork(_) => {
                self.record(RecordBody::ControlStarted { place: place.clone(), plan: Plan::All })?;
                self.push(Todo::Fork { place });
                Ok(())
            }
            _ => self.start_leaf(place),
        }
    }

    /// Whether what a block belongs to is still at work.
    fn is_live(&self, block: BlockId, path: &[u32]) -> bool {
        let running = |node, path: &[u32]| {
            self.state.instance(node, path).is_some_and(|instance| instance.status == StepStatus::Running)
        };
        match self.state.program.block(block).owner {
            Owner::Run => self.state.phase.is_none() && !self.state.status.is_terminal(),
            Owner::Catch => self.state.phase == Some(Phase::Catch),
            Owner::Finally => self.state.phase == Some(Phase::Finally),
            Owner::Compensation { .. } => self.state.phase == Some(Phase::Compensate),
            Owner::Fork { node, .. } | Owner::Condition { node } => running(node, path),
            Owner::Task { node } => path.split_last().is_some_and(|(_, outer)| running(node, outer)),
            Owner::Loop { node } => {
                let Some((index, outer)) = path.split_last() else { return false };
                running(node, outer)
                    && matches!(
                        self.state.instance(node, outer).and_then(|instance| instance.control.as_ref()),
                        Some(Control::Loop(state)) if state.running.contains(index)
                    )
            }
        }
    }

    /// What follows a step that is over.
    pub(super) fn ended(&mut self, place: Place) -> Result<()> {
        let program = self.program;
        let node = program.node(place.node);
        if let Owner::Task { node } = program.block(node.block).owner {
            return self.task_more_after(node, &place);
        }
        let Some(instance) = self.state.at(&place) else { return Ok(()) };
        let next = Todo::Enter { block: node.block, path: place.path.clone(), slot: node.slot as usize + 1 };
        match instance.status {
            StepStatus::Completed | StepStatus::Failed
                if program.block(node.block).first_only
                    && (instance.status == StepStatus::Completed || node.on_error == OnError::Continue) =>
            {
                self.skip_rest(node.block, node.slot as usize + 1)?;
                self.push(Todo::BlockDone { block: node.block, path: place.path });
            }
            StepStatus::Completed | StepStatus::Skipped => self.push(next),
            StepStatus::Failed if node.on_error == OnError::Continue => self.push(next),
            StepStatus::Failed => {
                let error = instance.error.clone().unwrap_or_else(unknown_error);
                self.push(Todo::BlockFailed { block: node.block, path: place.path.clone(), error, place });
            }
            _ => {}
        }
        Ok(())
    }

    fn skip_rest(&mut self, block: BlockId, from: usize) -> Result<()> {
        let program = self.program;
        for node in program.block(block).nodes.iter().skip(from) {
            let place = Place { node: *node, path: Vec::new() };
            if self.state.at(&place).is_none() {
                self.record(RecordBody::StepSkipped { place })?;
            }
        }
        Ok(())
    }

    /// A block came to its end well.
    pub(super) fn block_done(&mut self, block: BlockId, path: Vec<u32>) -> Result<()> {
        if !self.is_live(block, &path) {
            return Ok(());
        }
        match self.state.program.block(block).owner {
            Owner::Run => self.complete_run(),
            Owner::Catch => self.caught(block),
            Owner::Finally => self.finally_over(None),
            Owner::Compensation { .. } => {
                self.push(Todo::Undo);
                Ok(())
            }
            Owner::Fork { node, .. } => {
                self.push(Todo::Fork { place: Place { node, path } });
                Ok(())
            }
            Owner::Condition { node } => self.complete_condition(Place { node, path }),
            // Its calls are begun by what they gave, not one after the other.
            Owner::Task { .. } => Ok(()),
            Owner::Loop { node } => {
                let mut path = path;
                let Some(index) = path.pop() else { return Err(bug("an iteration without an index")) };
                self.iteration_done(Place { node, path }, index, block)
            }
        }
    }

    /// A step failed and nothing in its block handles it.
    pub(super) fn block_failed(
        &mut self,
        block: BlockId,
        path: Vec<u32>,
        error: StepError,
        place: Place,
    ) -> Result<()> {
        if !self.is_live(block, &path) {
            return Ok(());
        }
        match self.state.program.block(block).owner {
            Owner::Run | Owner::Catch | Owner::Finally => self.fail_run(error, Some(place)),
            // It is recorded, and the others are undone all the same.
            Owner::Compensation { .. } => {
                self.push(Todo::Undo);
                Ok(())
            }
            Owner::Fork { node, .. } => {
                self.push(Todo::Fork { place: Place { node, path } });
                Ok(())
            }
            Owner::Condition { node } => self.fail_step(Place { node, path }, error),
            Owner::Task { .. } => Ok(()),
            Owner::Loop { node } => {
                let mut path = path;
                let Some(index) = path.pop() else { return Err(bug("an iteration without an index")) };
                self.iteration_failed(Place { node, path }, index, error)
            }
        }
    }

    fn start_condition(&mut self, place: Place, condition: &ConditionOp) -> Result<()> {
        let has = |name: &str| condition.branches.iter().any(|(branch, _)| branch == name);
        let taken = match &condition.test {
            Test::If(test) => {
                self.test(test, &place, b'i').map(|holds| if holds { "then" } else { "else" }.to_owned())
            }
            Test::Switch(value) => self.evaluate(value, &place, b's').map(|value| {
                let name = case_name(value.json());
                if has(&name) { name } else { "default".to_owned() }
            }),
        };
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => return self.fail_step(place, error),
        };
        let block = condition.branches.iter().find(|(name, _)| *name == taken).map(|(_, block)| *block);
        self.record(RecordBody::ControlStarted {
            place: place.clone(),
            plan: Plan::Branch { taken: Some(taken) },
        })?;
        match block {
            Some(block) => self.push(Todo::Enter { block, path: place.path, slot: 0 }),
            None => self.complete_condition(place)?,
        }
        Ok(())
    }

    fn complete_condition(&mut self, place: Place) -> Result<()> {
        let program = self.program;
        let Op::Condition(condition) = &program.node(place.node).op else {
            return Err(bug("not a condition"));
        };
        let taken = match self.state.at(&place).and_then(|instance| instance.control.as_ref()) {
            Some(Control::Branch(index)) => index.and_then(|index| condition.branches.get(index)),
            _ => None,
        };
        let branch = taken.map(|(name, _)| name.as_str());
        let result = !matches!(branch, None | Some("else" | "default"));
        let output = json!({ "condition_result": result, "branch": branch });
        self.complete_step(place, Data::new(output))
    }

    fn start_loop(&mut self, place: Place, a_loop: &LoopOp) -> Result<()> {
        let plan = match &a_loop.over {
            OverOp::Items(source) => self.items(source, &place).map(|items| Plan::Items {
                items: Json::new(Value::Array(items.iter().map(|item| (**item.json()).clone()).collect())),
            }),
            OverOp::Times(count) => self.evaluate(count, &place, b't').and_then(|count| times(&count)),
            OverOp::While(_) | OverOp::Until(_) => Ok(Plan::Open),
        };
        let plan = match plan.and_then(|plan| within_iterations(plan, a_loop.max_iterations)) {
            Ok(plan) => plan,
            Err(error) => return self.fail_step(place, error),
        };
        self.record(RecordBody::ControlStarted { place: place.clone(), plan })?;
        self.push(Todo::Loop { place });
        Ok(())
    }

    /// Begins what may begin, or ends the loop.
    pub(super) fn loop_more(&mut self, place: Place) -> Result<()> {
        let program = self.program;
        let Op::Loop(a_loop) = &program.node(place.node).op else { return Err(bug("not a loop")) };
        loop {
            let Some((next, running, total)) = self.running_loop(&place) else { return Ok(()) };
            if running >= a_loop.max_concurrency as usize {
                return Ok(());
            }
            if self.out.records.len() >= limits::DECISION_RECORDS_MAX {
                self.push(Todo::Loop { place });
                return Ok(());
            }
            let begins = match total {
                Some(total) => next < total,
                // Loops that end by an expression run one iteration at a time.
                None if running > 0 => return Ok(()),
                None => match self.open_loop_goes_on(&place, a_loop, next) {
                    Ok(goes_on) => goes_on,
                    Err(error) => return self.fail_step(place, error),
                },
            };
            if !begins {
                return if running == 0 { self.complete_loop(place) } else { Ok(()) };
            }
            self.record(RecordBody::IterationStarted { place: place.clone(), index: next })?;
            let mut path = place.path.clone();
            path.push(next);
            self.enter(a_loop.body, path, 0)?;
        }
    }

    fn running_loop(&self, place: &Place) -> Option<(u32, usize, Option<u32>)> {
        let instance = self.state.at(place).filter(|instance| instance.status == StepStatus::Running)?;
        match instance.control.as_ref()? {
            Control::Loop(LoopState { next, running, total, .. }) => Some((*next, running.len(), *total)),
            _ => None,
        }
    }

    fn open_loop_goes_on(&mut self, place: &Place, a_loop: &LoopOp, next: u32) -> Result<bool, StepError> {
        let goes_on = match &a_loop.over {
            OverOp::While(test) => {
                // `index` is that of the iteration which is about to begin.
                let mut inside = place.clone();
                inside.path.push(next);
                self.test(test, &inside, b'l')?
            }
            // Tested at the end of each iteration: getting here means it did not hold.
            _ => true,
        };
        if goes_on && next >= a_loop.max_iterations {
            return Err(too_many_iterations(u64::from(next) + 1, a_loop.max_iterations));
        }
        Ok(goes_on)
    }

    fn complete_loop(&mut self, place: Place) -> Result<()> {
        let Some(Control::Loop(state)) = self.state.at(&place).and_then(|instance| instance.control.as_ref())
        else {
            return Err(bug("a loop that has not begun"));
        };
        let count = state.next;
        let mut results: Vec<Value> = state.results.iter().map(|data| (**data.json()).clone()).collect();
        results.resize(count as usize, Value::Null);
        self.complete_step(place, Data::new(json!({ "loop_results": results, "count": count })))
    }

    fn iteration_done(&mut self, place: Place, index: u32, body: BlockId) -> Result<()> {
        let program = self.program;
        let Op::Loop(a_loop) = &program.node(place.node).op else { return Err(bug("not a loop")) };
        let mut inside = place.clone();
        inside.path.push(index);
        let result = match &a_loop.collect {
            None => Ok(self.last_output(body, &inside.path)),
            Some(collect) => self.evaluate(collect, &inside, b'c'),
        };
        let is_last = match &a_loop.over {
            OverOp::Until(test) => self.test(test, &inside, b'u'),
            _ => Ok(false),
        };
        let (result, is_last) = match (result, is_last) {
            (Ok(result), Ok(is_last)) => (result, is_last),
            (Err(error), _) => return self.iteration_failed(place, index, prefixed("`collect`", error)),
            (_, Err(error)) => return self.iteration_failed(place, index, prefixed("`until`", error)),
        };
        let held = match self.state.at(&place).and_then(|instance| instance.control.as_ref()) {
            Some(Control::Loop(state)) => state.results_bytes + result.size_bytes(),
            _ => 0,
        };
        // Not only at the loop's end: until then all results are in memory.
        if held > limits::STEP_OUTPUT_BYTES_MAX {
            let error = over_bound("the loop's results", held, limits::STEP_OUTPUT_BYTES_MAX);
            return self.fail_step(place, error);
        }
        self.record(RecordBody::IterationEnded {
            place: place.clone(),
            index,
            result: result.json().clone(),
            error: None,
        })?;
        if is_last { self.complete_loop(place) } else { self.loop_more(place) }
    }

    fn iteration_failed(&mut self, place: Place, index: u32, error: StepError) -> Result<()> {
        let program = self.program;
        let Op::Loop(a_loop) = &program.node(place.node).op else { return Err(bug("not a loop")) };
        self.cancel_iteration(&place, a_loop.body, index)?;
        self.record(RecordBody::IterationEnded {
            place: place.clone(),
            index,
            result: Json::new(Value::Null),
            error: Some(error.clone()),
        })?;
        if a_loop.continue_on_error {
            self.push(Todo::Loop { place });
            return Ok(());
        }
        self.fail_step(place, prefixed(&format!("iteration {index}"), error))
    }

    fn cancel_iteration(&mut self, place: &Place, body: BlockId, index: u32) -> Result<()> {
        let mut path = place.path.clone();
        path.push(index);
        self.cancel_block(body, path)
    }

    /// Begins branches that may begin, or ends the fork.
    pub(super) fn fork_more(&mut self, place: Place) -> Result<()> {
        let program = self.program;
        let Op::Fork(fork) = &program.node(place.node).op else { return Err(bug("not a fork")) };
        loop {
            let Some(branches) = self.branches(&place) else { return Ok(()) };
            let count = |state| branches.iter().filter(|branch| **branch == state).count();
            let (done, failed, running) =
                (count(BranchState::Done), count(BranchState::Failed), count(BranchState::Running));
            let needed = match fork.join {
                Join::All => branches.len(),
                Join::Any => 1.min(branches.len()),
                Join::Quorum(n) => (n as usize).min(branches.len()),
            };
            if done >= needed {
                return self.complete_fork(place, fork);
            }
            let out_of_reach = branches.len() - failed < needed;
            if out_of_reach && (fork.cancel_others || running == 0) {
                let error = self.branch_error(program, fork, &place);
                return self.fail_step(place, error);
            }
            let ready = branches
                .iter()
                .position(|branch| *branch == BranchState::Pending && !out_of_reach)
                .and_then(|_| next_ready(fork, &branches));
            let Some(ready) = ready.filter(|_| running < fork.max_concurrency as usize) else {
                if running == 0 && ready.is_none() {
                    // What is left depends on branches that failed.
                    let error = self.branch_error(program, fork, &place);
                    return self.fail_step(place, error);
                }
                return Ok(());
            };
            if self.out.records.len() >= limits::DECISION_RECORDS_MAX {
                self.push(Todo::Fork { place });
                return Ok(());
            }
            self.enter(fork.branches[ready].block, place.path.clone(), 0)?;
        }
    }

    fn branches(&self, place: &Place) -> Option<Vec<BranchState>> {
        let instance = self.state.at(place).filter(|instance| instance.status == StepStatus::Running)?;
        match instance.control.as_ref()? {
            Control::Fork(branches) => Some(branches.clone()),
            _ => None,
        }
    }

    fn complete_fork(&mut self, place: Place, fork: &ForkOp) -> Result<()> {
        let mut results = serde_json::Map::new();
        for branch in &fork.branches {
            let output = self.last_output(branch.block, &place.path);
            results.insert(branch.name.clone(), (**output.json()).clone());
        }
        self.cancel_children(&place)?;
        let program = self.program;
        // The fork that a parallel workflow becomes is no step of its author: its result is the bare object.
        let output = match program.node(place.node).id.is_empty() {
            true => Value::Object(results),
            false => json!({ "parallel_results": results }),
        };
        self.complete_step(place, Data::new(output))
    }

    /// Why the first failed branch failed.
    fn branch_error(&self, program: &Program, fork: &ForkOp, place: &Place) -> StepError {
        for branch in &fork.branches {
            for node in &program.block(branch.block).nodes {
                let step = program.node(*node);
                let failed = self.state.instance(*node, &place.path).filter(|instance| {
                    instance.status == StepStatus::Failed && step.on_error == OnError::Fail
                });
                if let Some(error) = failed.and_then(|instance| instance.error.clone()) {
                    return if step.id == branch.name {
                        prefixed(&format!("step `{}`", step.id), error)
                    } else {
                        prefixed(&format!("branch `{}`, step `{}`", branch.name, step.id), error)
                    };
                }
            }
        }
        unknown_error()
    }

    /// Ends everything under way in a block.
    pub(super) fn cancel_block(&mut self, block: BlockId, path: Vec<u32>) -> Result<()> {
        let program = self.program;
        for node in &program.block(block).nodes {
            let place = Place { node: *node, path: path.clone() };
            if self.state.at(&place).is_some_and(|instance| !instance.status.is_terminal()) {
                self.cancel_step(place)?;
            }
        }
        Ok(())
    }

    /// Ends a step that is not over, and everything inside of it.
    pub(super) fn cancel_step(&mut self, place: Place) -> Result<()> {
        let Some(instance) = self.state.at(&place) else { return Ok(()) };
        let is_busy = instance.is_busy();
        let child = match &instance.waiting {
            Some(Waiting::Child { run, .. }) => Some(*run),
            _ => None,
        };
        self.cancel_children(&place)?;
        if is_busy {
            self.out.commands.push(Command::Abort { place: place.clone() });
        }
        if let Some(run) = child {
            let reason = format!("its parent run {} ended", self.state.id);
            self.cancel_child(run, reason);
        }
        self.record(RecordBody::StepCancelled { place })
    }

    /// Ends everything under way inside of a control step.
    pub(super) fn cancel_children(&mut self, place: &Place) -> Result<()> {
        let program = self.program;
        let control = self.state.at(place).and_then(|instance| instance.control.clone());
        match (&program.node(place.node).op, control) {
            (Op::Condition(condition), Some(_)) => {
                for (_, block) in &condition.branches {
                    self.cancel_block(*block, place.path.clone())?;
                }
            }
            (Op::Fork(fork), Some(_)) => {
                for branch in &fork.branches {
                    self.cancel_block(branch.block, place.path.clone())?;
                }
            }
            (Op::Loop(a_loop), Some(Control::Loop(state))) => {
                for index in state.running {
                    self.cancel_iteration(place, a_loop.body, index)?;
                }
            }
            (Op::Task(task), Some(Control::Task(state))) => {
                for number in state.open.keys() {
                    self.cancel_iteration(place, task.body, *number)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The first branch that has not begun and whose predecessors are done.
fn next_ready(fork: &ForkOp, branches: &[BranchState]) -> Option<usize> {
    fork.branches.iter().enumerate().position(|(index, branch)| {
        branches[index] == BranchState::Pending
            && branch.after.iter().all(|before| branches.get(*before as usize) == Some(&BranchState::Done))
    })
}

fn case_name(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn times(count: &Data) -> Result<Plan, StepError> {
    let count = count.json();
    let whole =
        count.as_u64().or_else(|| count.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0).map(|n| n as u64));
    match whole {
        Some(whole) if whole <= u64::from(limits::LOOP_ITERATIONS_MAX) => {
            Ok(Plan::Times { count: whole as u32 })
        }
        Some(whole) => Err(too_many_iterations(whole, limits::LOOP_ITERATIONS_MAX)),
        None => Err(StepError::new(
            class::INVALID,
            &run::STEP_INVALID,
            format!("`times` must be a whole number from 0, not {count}"),
        )),
    }
}

fn within_iterations(plan: Plan, max: u32) -> Result<Plan, StepError> {
    let count = match &plan {
        Plan::Items { items } => items.as_array().map_or(0, Vec::len) as u64,
        Plan::Times { count } => u64::from(*count),
        _ => 0,
    };
    if count > u64::from(max) { Err(too_many_iterations(count, max)) } else { Ok(plan) }
}

fn too_many_iterations(count: u64, max: u32) -> StepError {
    StepError::new(
        class::LIMIT,
        &run::STEP_LIMIT,
        format!(
            "the loop would run {count} times and its bound is {max}; raise `max_iterations` or split the work"
        ),
    )
}

fn unknown_error() -> StepError {
    StepError::new(
        class::INTERNAL,
        &crate::error::code::general::INTERNAL,
        "a step failed and left no reason",
    )
}
