//! The face of the runtime: what the API, the CLI and the plugin may ask of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::engine::{Input, inputs, view};
use crate::error::code::{definition, general, run as run_code};
use crate::error::{Error, Result};
use crate::expr;
use crate::id::{Lsn, RunId, UserId, WorkflowId};
use crate::limits;
use crate::model::{Json, Record, RunRow, RunStatus, RunView, StepView};
use crate::port::upkeep::Room;
use crate::port::{
    AGENT_PREFIX, Action, AuditEntry, AuditFilter, AuditRow, AuditVerdict, Batch, Idempotency, Op, Page,
    Role, RunFilter, Scope, StoredQuestion, Way, WorkflowPlace,
};
use crate::time::Timestamp;

use super::cell::{Answer, Mail, Refusal};
use super::core::Runtime;
pub use super::listen::{Gap, Subscription};
use super::who::{Deed, written_down};

/// Tries in a row, twenty a second, after which the host's bus is called stuck: a second.
const BUS_TRIES: u32 = 20;

/// A cheap, cloneable handle on a running runtime, for somebody: what is outside of their scope is not there.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Runtime>, pub(super) Scope);

/// A run to start.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// Which workflow: its id or its name, as text.
    pub workflow: String,
    /// The input object; null counts as `{}`.
    pub inputs: serde_json::Value,
    /// The `Idempotency-Key`, when one came.
    pub idempotency_key: Option<String>,
}

/// What a start gave.
#[derive(Clone, Debug)]
pub struct StartedRun {
    /// The run.
    pub run: RunView,
    /// Whether the key had made it before.
    pub replayed: bool,
}

/// A run as lists show it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunSummary {
    /// Its id.
    pub id: RunId,
    /// The workflow's id.
    pub workflow_id: WorkflowId,
    /// The workflow's name when the run was made.
    pub workflow_name: String,
    /// Where it stands.
    pub status: RunStatus,
    /// What it waits for or why it failed, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub finished_at: Option<Timestamp>,
}

/// Which runs are asked for.
#[derive(Clone, Debug)]
pub struct RunQuery {
    /// Of this workflow only, by id or name.
    pub workflow: Option<String>,
    /// Only with this status, as it is shown.
    pub status: Option<RunStatus>,
    /// By when they were made.
    pub way: Way,
    /// Past this run, in that order.
    pub past: Option<RunId>,
    /// At most.
    pub limit: u32,
}

impl RunQuery {
    /// The newest ones.
    pub fn newest(workflow: Option<&str>, limit: u32) -> Self {
        Self { workflow: workflow.map(str::to_owned), status: None, way: Way::Down, past: None, limit }
    }
}

/// A workflow of a list: with how often it ran.
#[derive(Clone, Debug)]
pub struct WorkflowListed {
    /// Itself.
    pub view: WorkflowView,
    /// Its place in the list, past which the next page begins.
    pub place: WorkflowPlace,
    /// Runs of it that are kept.
    pub runs: u64,
    /// When the newest of them was made.
    pub last_run_at: Option<Timestamp>,
}

/// A workflow as the API shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkflowView {
    /// Its id.
    pub id: WorkflowId,
    /// Its name.
    pub name: String,
    /// From the definition.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// `active`, or `disabled`: then no trigger starts it.
    pub status: String,
    /// Of the current version, from 1.
    pub version: u32,
    /// blake3 of the source, in hex. The ETag.
    pub hash: String,
    /// The definition as JSON.
    pub definition: serde_json::Value,
    /// The definition as written.
    pub source: String,
    /// Of the first version.
    pub created_at: Timestamp,
    /// Of the current version.
    pub updated_at: Timestamp,
    /// Whose it is; `None` is the operator.
    #[serde(default)]
    pub owner: Option<UserId>,
    /// The least role that sees and uses it; `None` is nobody but its owner and admins.
    #[serde(default)]
    pub shared: Option<Role>,
}

/// What a check of the runtime says.
#[derive(Clone, Debug, Serialize)]
pub struct Component {
    /// 0.0 to 1.0.
    pub score: f64,
    /// `healthy`, `degraded`, `unhealthy`.
    pub status: &'static str,
    /// Why, when not healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Counts of the runtime, from memory.
#[derive(Clone, Debug, Serialize)]
pub struct Counts {
    /// Runs with a permit.
    pub running: usize,
    /// Runs waiting for a permit.
    pub queued: usize,
    /// Runs parked on a time, a signal, a child or a person.
    pub waiting: usize,
    /// Effects under way.
    pub effects: usize,
    /// Threads given up because an evaluation did not end.
    pub written_off: usize,
}

impl Handle {
    /// Of a running runtime, for the operator: who holds it has everything.
    pub fn new(runtime: Arc<Runtime>) -> Self {
        Self(runtime, Scope::All)
    }

    /// The same for somebody.
    #[must_use]
    pub fn of(&self, scope: Scope) -> Self {
        Self(self.0.clone(), scope)
    }

    /// For whom.
    pub fn scope(&self) -> Scope {
        self.1
    }

    /// Starts a run; durable when this returns.
    pub async fn start_run(&self, new: NewRun) -> Result<StartedRun> {
        self.0.check_open()?;
        if new.workflow.starts_with(AGENT_PREFIX) {
            let why = format!("there is no workflow `{}`", new.workflow);
            return Err(Error::new(&definition::NOT_FOUND, why)
                .help("POST /api/chainbot/agents/{id}/tasks gives an agent a task"));
        }
        let workflow = self.0.head_of(&self.1, &new.workflow).await?;
        self.begin_run(workflow, new).await
    }

    /// Starts a run of a workflow, or a task of an agent.
    pub(super) async fn begin_run(
        &self,
        workflow: Arc<super::heads::Head>,
        new: NewRun,
    ) -> Result<StartedRun> {
        let (_guard, key) = match &new.idempotency_key {
            None => (None, None),
            Some(key) => {
                let (digest, at) = (digest(&new.inputs), self.0.aged(self.0.env.now()));
                let by = self.1.user();
                let key = Idempotency { by, key: format!("run {} {key}", workflow.id), digest, at };
                let guard = self.0.lock_key(&key.key).await;
                if let Some(made) = self.0.replayed(&key).await? {
                    let run = self.run(RunId::from(made)).await.map_err(|error| forgotten(made, error))?;
                    return Ok(StartedRun { run, replayed: true });
                }
                (Some(guard), Some(key))
            }
        };
        self.0.check_room()?;
        let program = match self.0.programs.cached(workflow.hash) {
            Some(program) => program,
            None => {
                let hash = workflow.hash;
                self.0.read(move |runtime| runtime.programs.get(hash)).await?
            }
        };
        let inputs = inputs::prepare(&program, new.inputs)?;
        let (row, inputs) = self.0.insert_run(&workflow, program, inputs, key).await?;
        Ok(StartedRun { run: self.0.new_view(row, inputs), replayed: false })
    }

    /// One run.
    pub async fn run(&self, id: RunId) -> Result<RunView> {
        let scope = self.1;
        self.0.read(move |runtime| runtime.run_view(&scope, id)).await
    }

    /// A page of a list of runs.
    pub async fn runs(&self, query: RunQuery) -> Result<Page<RunSummary>> {
        let RunQuery { workflow, status, way, past, limit } = query;
        let workflow = match workflow {
            Some(reference) => Some(self.0.workflow_of(&self.1, &reference).await?.id),
            None => None,
        };
        // A row of a run at work says pending; what it does is known in memory.
        let statuses = match status {
            None => Vec::new(),
            Some(RunStatus::Pending | RunStatus::Running) => vec![RunStatus::Pending],
            Some(RunStatus::Waiting) => vec![RunStatus::Pending, RunStatus::Waiting],
            Some(other) => vec![other],
        };
        let filter = RunFilter { workflow, statuses, way, past, limit: limit.clamp(1, limits::PAGE_MAX) };
        let scope = self.1;
        let page = self.0.read(move |runtime| runtime.store.runs(&scope, &filter)).await?;
        let items = page.items.into_iter().map(|row| self.summary(row));
        let items = items.filter(|run| status.is_none_or(|status| run.status == status)).collect();
        Ok(Page { items, total: page.total, more: page.more })
    }

    pub(super) fn summary(&self, row: RunRow) -> RunSummary {
        let live = self.0.live(row.id);
        let (status, detail) = match &live {
            Some(cell) => (cell.status(), cell.waiting_for.lock().clone()),
            None => (row.status, row.detail),
        };
        // Memory is ahead of the disk, and an end is told only when it cannot be lost.
        let is_ahead = status.is_terminal() && !row.status.is_terminal();
        let status = if is_ahead { RunStatus::Running } else { status };
        RunSummary {
            id: row.id,
            workflow_id: row.workflow,
            workflow_name: row.name,
            status,
            detail,
            created_at: row.created_at,
            finished_at: row.finished_at,
        }
    }

    /// Every step instance that has a record, in order of its first one.
    pub async fn steps(&self, id: RunId) -> Result<Vec<StepView>> {
        let scope = self.1;
        self.0
            .read(move |runtime| {
                let (stored, lsns) = runtime.places(&scope, id)?;
                let records = runtime.store.records(&scope, id, &lsns)?;
                let program = runtime.programs.get(stored.row.definition)?;
                Ok(view::steps(&program, records.iter().map(|(_, record)| record)))
            })
            .await
    }

    /// Records from `after_seq` (exclusive; `None` = from the start), at most `limit`.
    pub async fn journal(
        &self,
        id: RunId,
        after_seq: Option<u32>,
        limit: u32,
    ) -> Result<Page<(Lsn, Record)>> {
        let scope = self.1;
        self.0
            .read(move |runtime| {
                let (_, lsns) = runtime.places(&scope, id)?;
                let from = after_seq.map_or(0, |seq| seq as usize + 1).min(lsns.len());
                let to = (from + limit.clamp(1, limits::PAGE_MAX) as usize).min(lsns.len());
                let items = runtime.store.records(&scope, id, &lsns[from..to])?;
                Ok(Page { items, total: lsns.len() as u64, more: to < lsns.len() })
            })
            .await
    }

    /// The id of a step by its node, for showing records; read from disk the first time.
    pub fn step_id(&self, run: RunId, node: crate::id::NodeId) -> Option<String> {
        let program = self.0.program_of(run)?;
        program.has(node).then(|| program.node(node).id.clone()).filter(|id| !id.is_empty())
    }

    /// What a run does at this moment, when it is in memory.
    pub fn status(&self, run: RunId) -> Option<RunStatus> {
        self.0.live(run).map(|cell| cell.status())
    }

    /// The newest committed place.
    pub fn newest_lsn(&self) -> Option<Lsn> {
        match self.0.store.newest_lsn() {
            Ok(lsn) => Some(lsn),
            Err(error) => {
                log::error!("the newest place of the journal cannot be read: {error}");
                None
            }
        }
    }

    /// Asks the run to end. A finished run gives CB-0303.
    pub async fn cancel(&self, id: RunId, reason: &str) -> Result<RunView> {
        self.ask(id, Input::Cancel { reason: reason.to_owned() }).await
    }

    /// Hands a signal to a run. `key` makes a repeat harmless.
    pub async fn signal(&self, id: RunId, name: &str, data: Value, key: Option<&str>) -> Result<RunView> {
        expr::check_json(&data, limits::SIGNAL_BYTES_MAX).map_err(|error| {
            Error::new(&run_code::SIGNAL, format!("the signal's data: {}", error.message))
        })?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.len() > 128 || !name.chars().all(is_name) {
            return Err(Error::new(&run_code::SIGNAL, format!("`{name}` cannot be a signal's name"))
                .help("use at most 128 letters, digits, `_`, `-` and `.`"));
        }
        let input =
            Input::Signal { name: name.to_owned(), data: Json::new(data), key: key.map(str::to_owned) };
        self.ask(id, input).await
    }

    /// Holds that a run is there for them.
    pub(super) async fn check_run(&self, id: RunId) -> Result<()> {
        let scope = self.1;
        self.0.read(move |runtime| runtime.store.run(&scope, id)?.ok_or_else(|| no_run(id)).map(|_| ())).await
    }

    /// Sends an input to a run and waits until what follows is on disk.
    pub(super) async fn ask(&self, id: RunId, input: Input) -> Result<RunView> {
        self.0.check_open()?;
        self.check_run(id).await?;
        let (answer, answered) = oneshot::channel();
        let audit = deed_of(id, &input).and_then(|deed| written_down(self.0.env.now(), deed));
        self.0.deliver(id, Mail::Asked(input, Answer::new(answer, audit)));
        match answered.await {
            Ok(Ok(())) => self.run(id).await,
            Ok(Err(Refusal::Over)) => {
                let view = self.run(id).await?;
                Err(Error::new(
                    &run_code::FINISHED,
                    format!("run {id} is over: it is {}", view.status.as_str()),
                )
                .help("start a new run"))
            }
            Ok(Err(Refusal::Refused(error))) => {
                let codes = [&run_code::ANSWERED, &run_code::FINISHED];
                let code = codes.into_iter().find(|code| code.id == error.code).unwrap_or(&run_code::SIGNAL);
                Err(Error::new(code, error.message))
            }
            Ok(Err(Refusal::Failed(error))) => Err(error),
            Err(_) => Err(Error::new(&general::STOPPING, "ChainBot stopped before the answer was on disk")
                .help("ask again after the restart; a repeat with the same key is harmless")),
        }
    }

    /// A page of the audit log, newest first.
    pub async fn audit(&self, filter: AuditFilter) -> Result<Page<AuditRow>> {
        self.0.read(move |runtime| runtime.store.audit(&filter)).await
    }

    /// Looks at all of the audit log.
    pub async fn audit_verdict(&self) -> Result<AuditVerdict> {
        self.0.read(|runtime| runtime.store.audit_verdict()).await
    }

    /// Writes down what changes nothing else. Waits for nothing: what cannot be written is told in the log.
    pub fn write_down(&self, entry: AuditEntry) {
        let batch = Batch {
            run: RunId::from([0; 16]),
            records: Vec::new(),
            ops: vec![Op::Audit(Box::new(entry))],
            ack: Box::new(|result| {
                if let Err(error) = result {
                    log::warn!("a row of the audit log was not written: {error}");
                }
            }),
        };
        if let Err(error) = self.0.store.submit(batch) {
            log::warn!("a row of the audit log was not written: {error}");
        }
    }

    /// Open questions to people.
    pub async fn inbox(&self) -> Result<Vec<StoredQuestion>> {
        let scope = self.1;
        self.0.read(move |runtime| runtime.store.inbox(&scope)).await
    }

    /// Records from now on, or from after `since` on.
    pub async fn subscribe(&self, since: Option<Lsn>) -> Result<Subscription> {
        let receiver = self.0.bus.listen();
        let from = match since {
            Some(since) => since,
            None => self.0.read(|runtime| runtime.store.newest_lsn()).await?,
        };
        Ok(Subscription::new(self.clone(), receiver, from))
    }

    /// Components by name: `database`, `workflow_engine`, `event_bus`.
    pub fn components(&self) -> Vec<(&'static str, Component)> {
        let failure = self.0.failure().or_else(|| self.0.store.failed());
        let database = match (&failure, self.0.store.room()) {
            (Some(error), _) => Component::new(0.0, Some(error.to_string())),
            (None, Room::None) => {
                Component::new(0.2, Some("the disk is full: runs wait for room".to_owned()))
            }
            (None, Room::Low) => {
                Component::new(0.5, Some("the disk was full: new work is refused".to_owned()))
            }
            (None, Room::Enough) => Component::new(1.0, None),
        };
        let counts = self.counts();
        let engine = match (&failure, counts.written_off) {
            (Some(error), _) => Component::new(0.0, Some(error.to_string())),
            (None, 0) => Component::new(1.0, None),
            (None, lost) => {
                Component::new(0.6, Some(format!("{lost} threads were lost to expressions that did not end")))
            }
        };
        let refused = self.0.outbox.as_ref().map_or(0, super::outbox::Outbox::refused);
        let bus = match refused {
            0..BUS_TRIES => Component::new(1.0, None),
            tries => Component::new(0.6, Some(format!("the host's bus took no event in {tries} tries"))),
        };
        let mut all = vec![("database", database), ("workflow_engine", engine), ("event_bus", bus)];
        if let Some(pins) = &self.0.pins {
            let pins = match pins.list() {
                Ok(_) => Component::new(1.0, None),
                Err(error) => Component::new(0.6, Some(format!("the pins cannot be read: {error}"))),
            };
            all.push(("gpio", pins));
        }
        all
    }

    /// Counts, from memory.
    pub fn counts(&self) -> Counts {
        let (running, queued) = self.0.admission.counts();
        Counts {
            running,
            queued: queued + self.0.gates.waiting(),
            waiting: self.0.parked_count(),
            effects: self.0.effects_running.load(Ordering::Relaxed),
            written_off: self.0.written_off.load(Ordering::Relaxed) + self.0.triggers.evaluators.lost(),
        }
    }
}

impl Component {
    /// Of a score, with the reason where it is not 1.
    pub fn new(score: f64, reason: Option<String>) -> Self {
        let status = match score {
            score if score >= 0.8 => "healthy",
            score if score >= 0.5 => "degraded",
            _ => "unhealthy",
        };
        Self { score, status, reason }
    }
}

/// What a person does to a run by an input. Reasons and data may hold anything, so they are in the run's journal only.
fn deed_of(run: RunId, input: &Input) -> Option<Deed> {
    let on_run = |action, meta| Deed::new(action, "run", run).with(meta);
    Some(match input {
        Input::Cancel { .. } => on_run(Action::RunCancel, Value::Null),
        Input::Pause { .. } => on_run(Action::RunPause, Value::Null),
        Input::Unpause => on_run(Action::RunResume, Value::Null),
        Input::Signal { name, .. } => on_run(Action::RunSignal, json!({ "signal": name })),
        Input::Answer(answer) => Deed::new(Action::InboxAnswer, "question", answer.question)
            .with(json!({ "run": run, "action": answer.action, "by": answer.by })),
        _ => return None,
    })
}

/// What makes two starts the same request.
fn digest(inputs: &Value) -> [u8; 32] {
    *blake3::hash(inputs.to_string().as_bytes()).as_bytes()
}

/// A key that is remembered longer than what it made.
fn forgotten(made: [u8; 16], error: Error) -> Error {
    if *error.code() != run_code::NOT_FOUND {
        return error;
    }
    let message = format!("this Idempotency-Key made run {}, which is not kept any more", RunId::from(made));
    Error::new(&general::IDEMPOTENCY, message).help("use a new key to start another run")
}

pub(super) fn no_run(id: RunId) -> Error {
    Error::new(&run_code::NOT_FOUND, format!("there is no run {id}"))
        .help("GET /api/chainbot/runs lists them")
}
