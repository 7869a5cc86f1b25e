//! Runs as the handle shows and makes them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;
use tokio::sync::{MutexGuard, oneshot};

use crate::engine::Program;
use crate::error::code::{general, store};
use crate::error::{Error, Result};
use crate::id::{Lsn, RunId};
use crate::model::{Json, Record, RecordBody, RunRow, RunStatus, RunView, Trigger};
use crate::port::{Idempotency, Scope, StoredRun};

use super::core::Runtime;
use super::handle::no_run;
use super::heads::Head;
use super::launch::Launch;

/// Looks at a run that changes its place between memory and row meanwhile.
const LOOKS_MAX: usize = 8;
/// Runs whose program is remembered for listeners and histories.
const SHOWN_MAX: usize = 1_024;

impl Runtime {
    /// Makes a run, lets it begin, and waits until it is on disk. Gives what was stored, so that nobody need read it again.
    pub(super) async fn insert_run(
        self: &Arc<Self>,
        workflow: &Head,
        program: Arc<Program>,
        inputs: Value,
        idempotency: Option<Idempotency>,
    ) -> Result<(RunRow, Json)> {
        self.insert_run_by(workflow, program, inputs, Trigger::Api, idempotency).await
    }

    /// As [`Self::insert_run`], started by something else than a request.
    pub(super) async fn insert_run_by(
        self: &Arc<Self>,
        workflow: &Head,
        program: Arc<Program>,
        inputs: Value,
        trigger: Trigger,
        idempotency: Option<Idempotency>,
    ) -> Result<(RunRow, Json)> {
        let launch = Launch {
            workflow: workflow.id,
            name: workflow.name.clone(),
            program,
            inputs,
            trigger,
            key: idempotency,
            firing: None,
            // Here: what may follow is on another thread.
            who: super::who::Who::now(),
        };
        let (done, waits) = oneshot::channel();
        let (runtime, has_gate) = (self.clone(), launch.program.concurrency.is_some());
        let told = move |result| {
            // Nobody may be waiting any more; the run goes on all the same.
            let _ = done.send(result);
        };
        let (row, inputs) = match has_gate {
            // An expression may decide which runs count for each other, so it is no work for the async threads.
            true => self.read(move |_| runtime.launch(launch, told)).await?,
            false => self.launch(launch, told)?,
        };
        match waits.await {
            Ok(Ok(())) => Ok((row, inputs)),
            Ok(Err(error)) => Err(Error::new(error.code(), error.message())),
            Err(_) => Err(Error::new(&general::STOPPING, "ChainBot stopped before the run was on disk")
                .help("start it again after the restart, with the same Idempotency-Key")),
        }
    }

    /// A run that was made a moment ago, as its creation says; what it does since then is told by what follows.
    pub(super) fn new_view(&self, row: RunRow, inputs: Json) -> RunView {
        RunView {
            id: row.id,
            workflow_id: row.workflow,
            workflow_name: row.name,
            definition: row.definition.to_string(),
            status: row.status,
            trigger: Trigger::Api,
            inputs: (*inputs).clone(),
            output: None,
            error: None,
            waiting_for: None,
            created_at: row.created_at,
            started_at: None,
            finished_at: None,
        }
    }

    /// Tells the bus of a run's creation, on the writer's thread.
    pub(super) fn created_notifier(
        &self,
        run: RunId,
        copy: Option<Record>,
    ) -> impl FnOnce(Lsn) + Send + 'static {
        let bus = self.bus.sender();
        move |lsn| bus.created(lsn, run, copy)
    }

    /// The run's row and the places of its records, wherever it is.
    pub(super) fn places(&self, scope: &Scope, id: RunId) -> Result<(StoredRun, Vec<Lsn>)> {
        for _ in 0..LOOKS_MAX {
            let live = self.live(id);
            let Some(stored) = self.store.run(scope, id)? else { return Err(no_run(id)) };
            if let Some(lsns) = &stored.lsns {
                let lsns = lsns.clone();
                return Ok((stored, lsns));
            }
            if let Some(cell) = live {
                let lsns = cell.lsns.lock().clone();
                if !lsns.is_empty() {
                    return Ok((stored, lsns));
                }
            }
            if self.live(id).is_none() {
                // Queued and never begun: its first record is all there is.
                let first = stored.first_lsn;
                return Ok((stored, vec![first]));
            }
        }
        Err(Error::new(&store::READ, format!("run {id} changes faster than it can be read"))
            .help("try again"))
    }

    /// The program of a run, for showing it.
    pub(super) fn program_of(&self, run: RunId) -> Option<Arc<Program>> {
        if let Some(program) = self.shown.lock().get(&run) {
            return Some(program.clone());
        }
        let stored = match self.store.run(&Scope::All, run) {
            Ok(stored) => stored?,
            Err(error) => {
                log::error!("run {run} cannot be read: {error}");
                return None;
            }
        };
        let program = self.programs.get(stored.row.definition).ok()?;
        let mut shown = self.shown.lock();
        if shown.len() >= SHOWN_MAX {
            shown.clear();
        }
        shown.insert(run, program.clone());
        Some(program)
    }

    /// One run as the API shows it.
    pub(super) fn run_view(&self, scope: &Scope, id: RunId) -> Result<RunView> {
        let (stored, lsns) = self.places(scope, id)?;
        let live = self.live(id).filter(|_| !stored.row.status.is_terminal());
        // The beginning and the end say everything that a run's view holds; a list from the beginning must have no gaps.
        let mut records = self.store.records(scope, id, &lsns[..lsns.len().min(2)])?;
        if let Some(last) = lsns.get(2..).and_then(|rest| rest.last()) {
            records.extend(self.store.records(scope, id, &[*last])?);
        }
        let Some((_, Record { body: RecordBody::RunCreated(created), .. })) = records.first() else {
            return Err(Error::new(
                &store::CORRUPT,
                format!("the journal of run {id} does not begin with its creation"),
            ));
        };
        let started_at = records.iter().find_map(|(_, record)| match record.body {
            RecordBody::RunStarted => Some(record.at),
            _ => None,
        });
        let (output, error) = match records.last().map(|(_, record)| &record.body) {
            Some(RecordBody::RunCompleted { output }) => (Some((**output).clone()), None),
            Some(RecordBody::RunFailed { error, .. }) => (None, Some(error.clone())),
            _ => (None, None),
        };
        let (status, waiting_for) = match live {
            Some(cell) => (cell.status(), cell.waiting_for.lock().clone()),
            None if matches!(stored.row.status, RunStatus::Waiting | RunStatus::Paused) => {
                (stored.row.status, stored.row.detail.clone())
            }
            None => (stored.row.status, None),
        };
        // A run whose last record is on disk is over, also before its row is read again.
        let status = match records.last().map(|(_, record)| &record.body) {
            Some(RecordBody::RunCompleted { .. }) => RunStatus::Completed,
            Some(RecordBody::RunFailed { .. }) => RunStatus::Failed,
            Some(RecordBody::RunCancelled { .. }) => RunStatus::Cancelled,
            _ if status.is_terminal() => RunStatus::Running,
            _ => status,
        };
        Ok(RunView {
            id,
            workflow_id: stored.row.workflow,
            workflow_name: stored.row.name,
            definition: stored.row.definition.to_string(),
            status,
            trigger: created.trigger.clone(),
            inputs: (*created.inputs).clone(),
            output,
            error,
            waiting_for,
            created_at: stored.row.created_at,
            started_at,
            finished_at: stored.row.finished_at,
        })
    }

    /// Requests with one key follow each other.
    pub(super) async fn lock_key(&self, key: &str) -> MutexGuard<'_, ()> {
        let stripe = blake3::hash(key.as_bytes()).as_bytes()[0] as usize % self.keys.len();
        self.keys[stripe].lock().await
    }

    /// What a key has made, when it came before with the same request.
    pub(super) async fn replayed(self: &Arc<Self>, key: &Idempotency) -> Result<Option<[u8; 16]>> {
        let (by, name) = (key.by, key.key.clone());
        match self.read(move |runtime| runtime.store.idempotent(by, &name)).await? {
            None => Ok(None),
            Some(hit) if hit.digest == key.digest => Ok(Some(hit.made)),
            Some(_) => Err(Error::new(
                &general::IDEMPOTENCY,
                "this Idempotency-Key came before with another request",
            )
            .help("use a new key for a new request")),
        }
    }

    /// Whether the runtime is at its end.
    pub(super) fn is_over(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }
}
