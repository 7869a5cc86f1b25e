//! Runs that are over: taken up again after a failure, continued under another id, forgotten.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::engine::program::Owner;
use crate::engine::{Input, Program, RunState, inputs};
use crate::error::code::{general, run as run_code};
use crate::error::{Error, Result};
use crate::expr;
use crate::id::{Lsn, RunId};
use crate::limits;
use crate::model::{Json, Place, Record, RecordBody, RunCreated, RunRow, RunStatus, RunView, Trigger};
use crate::port::{Batch, Idempotency, Op, StoredRun};

use super::cell::Mail;
use super::core::Runtime;
use super::handle::{Handle, StartedRun};

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
    /// this returns. CB-0343 for a run that has not failed.
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
        let mut state = RunState::fold(id, program, &records)?;
        if state.was_undone() {
            let message = format!("run {id} has undone its completed steps");
            return Err(Error::new(&run_code::NOT_FAILED, message).help("start a new run"));
        }
        let body = RecordBody::RunRetried { generation: state.generation + 1 };
        let record = Record { seq: state.next_seq, at: self.0.env.now().max(state.last_at), body };
        state.apply(&record)?;
        let ops = vec![
            Op::RunReopen { run: id, lsns },
            // Wakes it after a crash; cleared when it is taken up.
            Op::TimerSet { run: id, seq: record.seq, due: record.at },
        ];
        self.0.write_run(id, vec![record], ops).await?;
        self.0.count_parked();
        self.0.deliver(id, Mail::Input(Input::Tick));
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
                let key = Idempotency { key: format!("fork {id} {key}"), digest };
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
        RunState::fold(new, program, &copied)?;
        let row = RunRow {
            id: new,
            status: RunStatus::Pending,
            detail: None,
            created_at: at,
            finished_at: None,
            ..stored.row
        };
        let lsns_of = copied.len() as i64;
        let first = self
            .0
            .write_run(new, copied, vec![Op::RunInsert { row, idempotency: key, created: None }])
            .await?;
        self.0.admit_with_history(new, (0..lsns_of).map(|index| Lsn(first.0 + index)).collect());
        Ok(StartedRun { run: self.run(new).await?, replayed: false })
    }

    /// Forgets a run that is over, with its history. CB-0344 while it is not.
    pub async fn delete_run(&self, id: RunId) -> Result<()> {
        self.0.check_open()?;
        let _guard = self.0.lock_key(&format!("retry {id}")).await;
        let view = self.run(id).await?;
        if !view.status.is_terminal() {
            return Err(Error::new(&run_code::NOT_FINISHED, format!("run {id} is {}", view.status.as_str()))
                .help("cancel it first"));
        }
        self.0.write(vec![Op::RunDelete { run: id }]).await
    }

    async fn history(&self, id: RunId) -> Result<(StoredRun, Vec<(Lsn, Record)>)> {
        self.0
            .read(move |runtime| {
                let (stored, lsns) = runtime.places(id)?;
                let records = runtime.store.records(id, &lsns)?;
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

    /// Writes records of a run that is nowhere in memory; gives the place of the first.
    async fn write_run(&self, run: RunId, records: Vec<Record>, ops: Vec<Op>) -> Result<Lsn> {
        let (done, waits) = oneshot::channel();
        let (bus, count) = (self.bus.sender(), records.len() as i64);
        self.store.submit(Batch {
            run,
            records,
            ops,
            ack: Box::new(move |result| {
                if let Ok(first) = &result {
                    // Listeners read them from the journal.
                    bus.created(Lsn(first.0 + count - 1), run, None);
                }
                // Nobody may be waiting any more; what is on disk is taken up at the next start.
                let _ = done.send(result);
            }),
        })?;
        match waits.await {
            Ok(Ok(first)) => Ok(first),
            Ok(Err(error)) => Err(Error::new(error.code(), error.message())),
            Err(_) => Err(Error::new(&general::STOPPING, "ChainBot stopped before the run was on disk")
                .help("look after the restart whether it is there")),
        }
    }
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
