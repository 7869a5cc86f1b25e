//! Runs that are over: taken up again after a failure, continued under another id, forgotten.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::engine::program::Owner;
use crate::engine::{FOR_ITS_TURN, Input, Program, RunState, inputs};
use crate::error::code::{general, run as run_code};
use crate::error::{Error, Result};
use crate::expr;
use crate::id::{Lsn, RunId, WorkflowId};
use crate::limits;
use crate::model::{Json, Place, Record, RecordBody, RunCreated, RunRow, RunStatus, RunView, Trigger};
use crate::port::{Action, Batch, Idempotency, Op, Scope, StoredRun};

use super::cell::{Cell, Mail};
use super::core::{Runtime, Slot};
use super::gates::{GateSpec, Moves};
use super::handle::{Handle, StartedRun};
use super::launch::no_room;
use super::load::Source;
use super::who::{Deed, written_down};
use super::workflows::check_owner;

/// A fork: a new run with the history of another up to a step.
#[derive(Clone, Debug)]
pub struct NewFork {
    /// The step that runs again, and everything after it.
    pub from: String,
    /// Loop indexes of the step; empty for its first iteration.
    pub path: Vec<u32>,
    /// Instead of the run's; null keeps them.
    pub inputs: Value,
    /// Set before the step begins; null changes none.
    pub variables: Value,
    /// The `Idempotency-Key`, when one came.
    pub idempotency_key: Option<String>,
}

impl Handle {
    /// Takes a failed run up again from what failed: with new keys, and with everything that was completed. Durable when
    /// this returns. CB-0343 for a run that has not failed. It passes its workflow's `concurrency` as a start does: where
    /// it has to wait, it is paused until its turn.
    pub async fn retry(&self, id: RunId) -> Result<RunView> {
        self.0.check_open()?;
        let _guard = self.0.lock_key(&format!("retry {id}")).await;
        let (stored, records) = self.history(id).await?;
        if stored.row.status != RunStatus::Failed {
            let status = self.run(id).await?.status;
            return Err(Error::new(&run_code::NOT_FAILED, format!("run {id} is {}", status.as_str()))
                .help("fork it from a step, or start a new run"));
        }
        let (program, lsns) = (self.0.program(stored.row.definition).await?, places(&records));
        let records: Vec<Record> = records.into_iter().map(|(_, record)| record).collect();
        let state = RunState::fold(id, program, &records)?;
        if state.was_undone() {
            let message = format!("run {id} has undone its completed steps");
            return Err(Error::new(&run_code::NOT_FAILED, message).help("start a new run"));
        }
        let (done, waits) = oneshot::channel();
        let audit = written_down(self.0.env.now(), Deed::new(Action::RunRetry, "run", id));
        // An expression may decide which runs count for each other, so it is no work for the async threads.
        self.0.read(move |runtime| runtime.take_up_again(state, lsns, audit, done)).await?;
        on_disk(waits).await?;
        self.run(id).await
    }

    /// Makes a new run with the history of `id` before a step, pinned to the same version. Durable when this returns.
    pub async fn fork(&self, id: RunId, fork: NewFork) -> Result<StartedRun> {
        self.0.check_open()?;
        let (_guard, key) = match &fork.idempotency_key {
            None => (None, None),
            Some(key) => {
                let request = format!("{} {:?} {} {}", fork.from, fork.path, fork.inputs, fork.variables);
                let digest = *blake3::hash(request.as_bytes()).as_bytes();
                let at = self.0.aged(self.0.env.now());
                let by = self.1.user();
                let key = Idempotency { by, key: format!("fork {id} {key}"), digest, at };
                let guard = self.0.lock_key(&key.key).await;
                if let Some(made) = self.0.replayed(&key).await? {
                    return Ok(StartedRun { run: self.run(RunId::from(made)).await?, replayed: true });
                }
                (Some(guard), Some(key))
            }
        };
        let (stored, records) = self.history(id).await?;
        let program = self.0.program(stored.row.definition).await?;
        let records: Vec<Record> = records.into_iter().map(|(_, record)| record).collect();
        let new = self.0.env.run_id();
        let at = self.0.env.now();
        let copied = forked_history(&program, &records, id, &fork, at)?;
        // What cannot be folded must not be stored.
        let state = RunState::fold(new, program, &copied)?;
        let row = RunRow {
            id: new,
            status: RunStatus::Pending,
            detail: None,
            created_at: at,
            finished_at: None,
            ..stored.row
        };
        let deed = Deed::new(Action::RunFork, "run", new)
            .with(serde_json::json!({ "of": id, "from": fork.from, "workflow": row.name }));
        let audit = written_down(at, deed);
        let (done, waits) = oneshot::channel();
        self.0.read(move |runtime| runtime.make_fork(state, copied, row, key, audit, done)).await?;
        on_disk(waits).await?;
        Ok(StartedRun { run: self.run(new).await?, replayed: false })
    }

    /// Forgets a run that is over, with its history. CB-0344 while it is not.
    pub async fn delete_run(&self, id: RunId) -> Result<()> {
        self.0.check_open()?;
        let _guard = self.0.lock_key(&format!("retry {id}")).await;
        let view = self.run(id).await?;
        self.check_workflow_owner(&view).await?;
        if !view.status.is_terminal() {
            return Err(Error::new(&run_code::NOT_FINISHED, format!("run {id} is {}", view.status.as_str()))
                .help("cancel it first"));
        }
        let deed = Deed::new(Action::RunDelete, "run", id);
        self.0.write(with(vec![Op::RunDelete { run: id }], written_down(self.0.env.now(), deed))).await
    }

    /// Whoever was given a workflow to use does not make its runs forgotten.
    async fn check_workflow_owner(&self, view: &RunView) -> Result<()> {
        let (scope, id) = (self.1, view.workflow_id);
        let stored = self.0.read(move |runtime| runtime.store.workflow(&scope, id)).await?;
        let may = stored.as_ref().is_some_and(|stored| scope.may_change(&stored.possession));
        check_owner(may || scope.is_whole(), &view.workflow_name)
    }

    async fn history(&self, id: RunId) -> Result<(StoredRun, Vec<(Lsn, Record)>)> {
        let scope = self.1;
        self.0
            .read(move |runtime| {
                let (stored, lsns) = runtime.places(&scope, id)?;
                let records = runtime.store.records(&scope, id, &lsns)?;
                Ok((stored, records))
            })
            .await
    }
}

impl Runtime {
    async fn program(
        self: &std::sync::Arc<Self>,
        hash: crate::id::DefinitionHash,
    ) -> Result<std::sync::Arc<Program>> {
        self.read(move |runtime| runtime.programs.get(hash)).await
    }

    /// Hands the failed run to the writer as one that goes on, now or when its gate lets it in.
    fn take_up_again(
        self: &Arc<Self>,
        mut state: RunState,
        lsns: Vec<Lsn>,
        audit: Option<Op>,
        done: Done,
    ) -> Result<()> {
        let (run, at, created) = (state.id, self.env.now().max(state.last_at), state.created.clone());
        let gate = self.enter_gate(&state.program, created.workflow, &created.name, run, &created.inputs)?;
        let generation = state.generation + 1;
        let mut records = Vec::new();
        let mut tell = |body| {
            let record = Record { seq: state.next_seq, at, body };
            state.apply(&record).map(|()| records.push(record))
        };
        let retried = tell(RecordBody::RunRetried { generation });
        let is_held = gate.is_some() && !self.gates.lets_in(run);
        if let Err(error) = retried.and_then(|()| match is_held {
            true => tell(RecordBody::RunPaused { reason: FOR_ITS_TURN.to_owned() }),
            false => Ok(()),
        }) {
            self.leave_gate(run);
            return Err(error);
        }
        let mut ops = Vec::new();
        if is_held {
            self.gates.hold(run);
            ops.push(Op::RunReopen { run, status: RunStatus::Paused, detail: FOR_ITS_TURN.to_owned(), lsns });
        } else {
            let detail = "taken up again".to_owned();
            ops.push(Op::RunReopen { run, status: RunStatus::Waiting, detail, lsns });
            // Wakes it after a crash; cleared when it is taken up.
            ops.push(Op::TimerSet { run, seq: records[0].seq, due: at });
        }
        ops.extend(gate.map(|gate| gate.op(run)));
        ops.extend(audit);
        self.write_run(run, records, ops, done, move |runtime, _| {
            runtime.count_parked();
            let mut moves = runtime.gates.stored(run);
            let count = moves.admit.len();
            moves.admit.retain(|other| *other != run);
            if moves.admit.len() < count {
                let goes_on = if runtime.gates.let_go(run) { Input::Unpause } else { Input::Tick };
                runtime.deliver(run, Mail::Input(goes_on));
            }
            runtime.make(moves);
        })
    }

    /// Hands a new run that has a history already to the writer. It waits for its permit in memory, since its row does not
    /// know its records.
    fn make_fork(
        self: &Arc<Self>,
        state: RunState,
        records: Vec<Record>,
        row: RunRow,
        idempotency: Option<Idempotency>,
        audit: Option<Op>,
        done: Done,
    ) -> Result<()> {
        let (run, count) = (row.id, records.len() as i64);
        let gate = self.enter_gate(&state.program, row.workflow, &row.name, run, &state.created.inputs)?;
        let mut ops = vec![Op::RunInsert { row, idempotency, created: None }];
        ops.extend(gate.map(|gate| gate.op(run)));
        ops.extend(audit);
        self.write_run(run, records, ops, done, move |runtime, first| {
            let lsns = (0..count).map(|index| Lsn(first.0 + index)).collect();
            let cell = Arc::new(Cell::new(state, lsns, None, false));
            runtime.cells.lock().insert(run, Slot::Live(cell));
            runtime.entered(run, Source::Queue);
        })
    }

    /// Counts a run at its workflow's gate, when it has one. Whoever calls it hands the run to the writer next.
    fn enter_gate(
        self: &Arc<Self>,
        program: &Arc<Program>,
        workflow: WorkflowId,
        name: &str,
        run: RunId,
        inputs: &Value,
    ) -> Result<Option<GateSpec>> {
        let gate = self.gate_of(program, workflow, run, inputs)?;
        if let Some(gate) = &gate {
            let admit = self.gates.enter(run, gate).map_err(|taken| no_room(name, &taken))?;
            self.make(Moves { admit, oust: Vec::new() });
        }
        Ok(gate)
    }

    /// Hands records of a run that is nowhere in memory to the writer. `then`: what follows when they are on disk, whether or not
    /// anybody still waits.
    fn write_run(
        self: &Arc<Self>,
        run: RunId,
        records: Vec<Record>,
        ops: Vec<Op>,
        done: Done,
        then: impl FnOnce(&Arc<Self>, Lsn) + Send + 'static,
    ) -> Result<()> {
        let (runtime, bus, count) = (self.clone(), self.bus.sender(), records.len() as i64);
        let submitted = self.store.submit(Batch {
            run,
            records,
            ops,
            ack: Box::new(move |result| {
                match &result {
                    Ok(first) => {
                        // Listeners read them from the journal.
                        bus.created(Lsn(first.0 + count - 1), run, None);
                        then(&runtime, *first);
                    }
                    Err(_) => runtime.leave_gate(run),
                }
                // Nobody may be waiting any more.
                let _ = done.send(result);
            }),
        });
        submitted.inspect_err(|_| self.leave_gate(run))
    }

    /// Whether a paused run was taken up again and has waited at its gate since then.
    pub(super) fn waits_for_its_turn(&self, run: RunId) -> Result<bool> {
        let Some(lsns) = self.store.run(&Scope::All, run)?.and_then(|stored| stored.lsns) else {
            return Ok(false);
        };
        let records = self.store.records(&Scope::All, run, &lsns)?;
        let last = records.iter().rev().find_map(|(_, record)| match &record.body {
            RecordBody::RunPaused { reason } => Some(reason == FOR_ITS_TURN),
            RecordBody::RunResumed => Some(false),
            _ => None,
        });
        Ok(last.unwrap_or(false))
    }
}

/// Told when a run is on disk, or never will be.
type Done = oneshot::Sender<std::result::Result<Lsn, Arc<Error>>>;

async fn on_disk(waits: oneshot::Receiver<std::result::Result<Lsn, Arc<Error>>>) -> Result<()> {
    match waits.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Error::new(error.code(), error.message())),
        Err(_) => Err(Error::new(&general::STOPPING, "ChainBot stopped before the run was on disk")
            .help("look after the restart whether it is there")),
    }
}

fn with(mut ops: Vec<Op>, audit: Option<Op>) -> Vec<Op> {
    ops.extend(audit);
    ops
}

fn places(records: &[(Lsn, Record)]) -> Vec<Lsn> {
    records.iter().map(|(lsn, _)| *lsn).collect()
}

fn refused(message: String, help: &str) -> Error {
    Error::new(&run_code::FORK, message).help(help)
}

/// The first records of a fork: its creation, what led to the step, and the mark behind which it is on its own.
fn forked_history(
    program: &Program,
    records: &[Record],
    source: RunId,
    fork: &NewFork,
    at: crate::time::Timestamp,
) -> Result<Vec<Record>> {
    let end = end_of_prefix(program, records, fork)?;
    let Some(Record { body: RecordBody::RunCreated(created), .. }) = records.first() else {
        return Err(refused("its history does not begin with its creation".to_owned(), "start a new run"));
    };
    let inputs = match &fork.inputs {
        Value::Null => created.inputs.clone(),
        given => Json::new(inputs::prepare(program, given.clone())?),
    };
    let variables = match &fork.variables {
        Value::Null => Value::Object(Map::new()),
        Value::Object(_) => fork.variables.clone(),
        _ => return Err(refused("`variables` must be an object".to_owned(), "send {\"name\": value}")),
    };
    expr::check_json(&variables, limits::RUN_VARS_BYTES_MAX)
        .map_err(|error| refused(format!("the variables: {}", error.message), "send less"))?;
    let created = RunCreated {
        inputs,
        trigger: Trigger::Fork { run: source, step: fork.from.clone() },
        parent: None,
        ..(**created).clone()
    };
    let prefix = &records[1..end];
    let ended: BTreeSet<&Place> = prefix
        .iter()
        .filter(|record| matches!(record.body, RecordBody::StepCompleted { .. }))
        .filter_map(|record| record.body.place())
        .collect();
    let bodies = std::iter::once(RecordBody::RunCreated(Box::new(created)))
        .chain(prefix.iter().map(|record| &record.body).filter(|body| is_copied(body, &ended)).cloned())
        .chain([RecordBody::RunForked { run: source, variables: Json::new(variables) }]);
    let copied: Vec<Record> =
        bodies.enumerate().map(|(seq, body)| Record { seq: seq as u32, at, body }).collect();
    if copied.len() > limits::COMMIT_RECORDS_MAX {
        let message = format!(
            "the history before `{}` has {} records, and {} can be copied",
            fork.from,
            copied.len(),
            limits::COMMIT_RECORDS_MAX
        );
        return Err(refused(message, "fork from an earlier step, or start a new run"));
    }
    Ok(copied)
}

/// The number of the record with which the step begins.
fn end_of_prefix(program: &Program, records: &[Record], fork: &NewFork) -> Result<usize> {
    let Some(node) = program.by_id.get(&fork.from).copied() else {
        let known = program.by_id.keys().map(String::as_str);
        let hint = crate::error::similar(&fork.from, known)
            .map_or_else(|| "look at the run's steps".to_owned(), |meant| format!("did you mean `{meant}`?"));
        return Err(refused(format!("the workflow has no step `{}`", fork.from), &hint));
    };
    if program.phase_of(node) != Owner::Run {
        return Err(refused(
            format!("step `{}` is part of `catch`, `finally` or `compensate`", fork.from),
            "take one of the workflow's `steps`",
        ));
    }
    let begins = |record: &Record| {
        record
            .body
            .place()
            .filter(|_| !matches!(record.body, RecordBody::RunFailed { .. }))
            .is_some_and(|place| place.node == node && (fork.path.is_empty() || place.path == fork.path))
    };
    records.iter().position(begins).ok_or_else(|| {
        refused(format!("step `{}` has not run in that run", fork.from), "take a step that has a record")
    })
}

/// Whether a record of another run's history belongs to the fork: what was reached, not how, and nothing that would be
/// done or told again.
fn is_copied(body: &RecordBody, ended: &BTreeSet<&Place>) -> bool {
    match body {
        RecordBody::StepStarted { place, .. } => ended.contains(place),
        RecordBody::StepCompleted { .. }
        | RecordBody::StepFailed { .. }
        | RecordBody::StepSkipped { .. }
        | RecordBody::StepCancelled { .. }
        | RecordBody::ControlStarted { .. }
        | RecordBody::IterationStarted { .. }
        | RecordBody::IterationEnded { .. }
        | RecordBody::SignalReceived { .. } => true,
        _ => false,
    }
}
