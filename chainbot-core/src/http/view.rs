//! The shapes that leave over HTTP: workflows, runs, steps, questions, health.
//!
//! They are their own types, so that a change inside does not change the API by accident; a test holds that what
//! leaves reads back as the model's types. Records and events are in [`super::record`].

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::problem::ProblemItem;
use crate::error::Diagnostic;
use crate::model::{RunStatus, RunView, StepError, StepView};
use crate::port::{Role, StoredQuestion};
use crate::runtime::{Counts, RunSummary, WorkflowListed, WorkflowView};

/// A workflow with its definition.
#[derive(Serialize, ToSchema)]
pub struct Workflow {
    #[serde(flatten)]
    head: WorkflowHead,
    /// The definition as JSON.
    definition: Value,
    /// The definition as its author wrote it.
    source: String,
}

/// A workflow as lists show it.
#[derive(Serialize, ToSchema)]
pub struct WorkflowHead {
    /// Stays the same over all versions.
    #[schema(format = "uuid")]
    id: String,
    /// Unique; usable wherever the id is.
    name: String,
    /// From the definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// `active`, or `disabled`: then no trigger starts it.
    status: String,
    /// Of the current version, from 1.
    version: u32,
    /// blake3 of the source in hex, the same as the ETag.
    hash: String,
    /// When the first version was made.
    #[schema(format = "date-time")]
    created_at: String,
    /// When the current version was made.
    #[schema(format = "date-time")]
    updated_at: String,
    /// The user whose it is; null is the operator.
    #[schema(format = "uuid")]
    owner: Option<String>,
    /// The least role that sees and uses it: `viewer`, `operator` or `editor`; null is nobody but the owner and admins.
    shared: Option<&'static str>,
}

/// A workflow as the list of all shows it: what the sibling dashboard reads of it, all fields always.
#[derive(Serialize, ToSchema)]
pub struct WorkflowEntry {
    /// Stays the same over all versions.
    #[schema(format = "uuid")]
    id: String,
    /// Unique; usable wherever the id is.
    name: String,
    /// From the definition; empty where it has none.
    description: String,
    /// `active`, or `disabled`: then no trigger starts it.
    status: String,
    /// Of the current version, from 1.
    version: u32,
    /// blake3 of the source in hex, the same as the ETag.
    hash: String,
    /// The definition as JSON.
    definition: Value,
    /// When the first version was made.
    #[schema(format = "date-time")]
    created_at: String,
    /// When the current version was made.
    #[schema(format = "date-time")]
    updated_at: String,
    /// Runs that are kept.
    execution_count: u64,
    /// When the newest of them was made.
    #[schema(format = "date-time")]
    last_executed: Option<String>,
    /// More: the version.
    metadata: Value,
    /// The user whose it is; null is the operator.
    #[schema(format = "uuid")]
    owner: Option<String>,
    /// The least role that sees and uses it; null is nobody but the owner and admins.
    shared: Option<&'static str>,
}

impl WorkflowEntry {
    /// Of an item of a list.
    pub fn new(listed: WorkflowListed) -> Self {
        let WorkflowListed { view, runs, last_run_at, .. } = listed;
        Self {
            id: view.id.to_string(),
            name: view.name,
            description: view.description.unwrap_or_default(),
            status: view.status,
            metadata: serde_json::json!({ "version": view.version }),
            version: view.version,
            hash: view.hash,
            definition: view.definition,
            created_at: view.created_at.to_string(),
            updated_at: view.updated_at.to_string(),
            execution_count: runs,
            owner: view.owner.map(|user| user.to_string()),
            shared: view.shared.map(Role::as_str),
            last_executed: last_run_at.map(|at| at.to_string()),
        }
    }
}

impl From<WorkflowView> for Workflow {
    fn from(mut view: WorkflowView) -> Self {
        let definition = view.definition.take();
        let source = std::mem::take(&mut view.source);
        Self { head: view.into(), definition, source }
    }
}

impl From<WorkflowView> for WorkflowHead {
    fn from(view: WorkflowView) -> Self {
        Self {
            id: view.id.to_string(),
            name: view.name,
            description: view.description,
            status: view.status,
            version: view.version,
            hash: view.hash,
            created_at: view.created_at.to_string(),
            updated_at: view.updated_at.to_string(),
            owner: view.owner.map(|user| user.to_string()),
            shared: view.shared.map(Role::as_str),
        }
    }
}

/// What a check of a definition found.
#[derive(Serialize, ToSchema)]
pub struct Validation {
    /// Whether the definition can be saved: no diagnostic is an error.
    pub valid: bool,
    /// Everything that was found, in order of place.
    pub diagnostics: Vec<ProblemItem>,
}

impl From<Vec<Diagnostic>> for Validation {
    fn from(found: Vec<Diagnostic>) -> Self {
        Self {
            valid: !found.iter().any(|one| one.severity == crate::error::Severity::Error),
            diagnostics: found.iter().map(ProblemItem::from).collect(),
        }
    }
}

/// What started a run.
#[derive(Serialize, ToSchema)]
pub struct Trigger {
    /// `api`, `parent`, `fork` or `trigger`.
    kind: &'static str,
    /// The run whose `workflow` step started this one, or whose history it took over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    run: Option<String>,
    /// How deep below the first run.
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<u32>,
    /// The step from which on a fork is its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    /// Of a trigger: `cron`, `event`, `webhook`, `gpio` or `workflow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// Of a trigger: which of the workflow's.
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger: Option<String>,
    /// Of a trigger: what happened. Expressions see it as `event`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    event: Option<serde_json::Value>,
}

impl From<&crate::model::Trigger> for Trigger {
    fn from(trigger: &crate::model::Trigger) -> Self {
        let none =
            Self { kind: "api", run: None, depth: None, step: None, by: None, trigger: None, event: None };
        match trigger {
            crate::model::Trigger::Api => none,
            crate::model::Trigger::Parent { run, depth } => {
                Self { kind: "parent", run: Some(run.to_string()), depth: Some(*depth), ..none }
            }
            crate::model::Trigger::Fork { run, step } => {
                Self { kind: "fork", run: Some(run.to_string()), step: Some(step.clone()), ..none }
            }
            crate::model::Trigger::Trigger { by, trigger, depth, event } => Self {
                kind: "trigger",
                depth: Some(*depth),
                by: Some(by.clone()),
                trigger: Some(trigger.clone()),
                event: Some(event.clone()),
                ..none
            },
        }
    }
}

/// Why a run or a step failed.
#[derive(Serialize, ToSchema)]
pub struct Failed {
    /// A stable word that retry rules name.
    #[schema(example = "timeout")]
    class: String,
    /// The error code.
    code: String,
    /// For people.
    message: String,
}

impl From<StepError> for Failed {
    fn from(error: StepError) -> Self {
        Self { class: error.class, code: error.code, message: error.message }
    }
}

/// A run.
#[derive(Serialize, ToSchema)]
pub struct Run {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// The workflow's id.
    #[schema(format = "uuid")]
    workflow_id: String,
    /// The workflow's name when the run was made.
    workflow_name: String,
    /// Hash of the version it stays with.
    definition: String,
    /// `pending`, `running`, `waiting`, `paused`, `completed`, `failed` or `cancelled`.
    status: &'static str,
    /// What started it.
    trigger: Trigger,
    /// With defaults filled in.
    inputs: Value,
    /// The result, when completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Value>,
    /// Why it failed, or why it was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failed>,
    /// What it waits for, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<String>,
    /// When it was made.
    #[schema(format = "date-time")]
    created_at: String,
    /// When it got its permit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    started_at: Option<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    finished_at: Option<String>,
}

impl From<RunView> for Run {
    fn from(view: RunView) -> Self {
        Self {
            id: view.id.to_string(),
            workflow_id: view.workflow_id.to_string(),
            workflow_name: view.workflow_name,
            definition: view.definition,
            status: view.status.as_str(),
            trigger: Trigger::from(&view.trigger),
            inputs: view.inputs,
            output: view.output,
            error: view.error.map(Failed::from),
            waiting_for: view.waiting_for,
            created_at: view.created_at.to_string(),
            started_at: view.started_at.map(|at| at.to_string()),
            finished_at: view.finished_at.map(|at| at.to_string()),
        }
    }
}

/// What `execute` answers, in the words of older clients.
#[derive(Serialize, ToSchema)]
pub struct Execution {
    /// The run's id.
    #[schema(format = "uuid")]
    execution_id: String,
    /// The workflow's id.
    #[schema(format = "uuid")]
    workflow_id: String,
    /// As a run's status.
    status: &'static str,
    /// When it got its permit, else when it was made.
    #[schema(format = "date-time")]
    started_at: String,
}

impl From<RunView> for Execution {
    fn from(view: RunView) -> Self {
        Self {
            execution_id: view.id.to_string(),
            workflow_id: view.workflow_id.to_string(),
            status: view.status.as_str(),
            started_at: view.started_at.unwrap_or(view.created_at).to_string(),
        }
    }
}

/// A run as lists show it.
#[derive(Serialize, ToSchema)]
pub struct RunHead {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// The workflow's id.
    #[schema(format = "uuid")]
    workflow_id: String,
    /// The workflow's name when the run was made.
    workflow_name: String,
    /// As a run's status.
    status: &'static str,
    /// What it waits for or why it failed, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// When it was made.
    #[schema(format = "date-time")]
    created_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    finished_at: Option<String>,
}

impl From<RunSummary> for RunHead {
    fn from(row: RunSummary) -> Self {
        Self {
            id: row.id.to_string(),
            workflow_id: row.workflow_id.to_string(),
            workflow_name: row.workflow_name,
            status: row.status.as_str(),
            detail: row.detail,
            created_at: row.created_at.to_string(),
            finished_at: row.finished_at.map(|at| at.to_string()),
        }
    }
}

/// A step of a run, once for every iteration of the loops around it.
#[derive(Serialize, ToSchema)]
pub struct Step {
    /// Its id in the definition.
    id: String,
    /// Its type.
    #[serde(rename = "type")]
    kind: String,
    /// Loop indexes, outermost first; empty outside of loops.
    path: Vec<u32>,
    /// `pending`, `running`, `waiting`, `completed`, `failed`, `skipped` or `cancelled`.
    status: &'static str,
    /// Tries so far.
    attempts: u32,
    /// What the effect was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Value>,
    /// What it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Value>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failed>,
    /// The key that every attempt carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// What it waits for, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<String>,
    /// First record.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    started_at: Option<String>,
    /// Last record, when over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    finished_at: Option<String>,
}

impl From<StepView> for Step {
    fn from(view: StepView) -> Self {
        Self {
            id: view.id,
            kind: view.kind,
            path: view.path,
            status: view.status.as_str(),
            attempts: view.attempts,
            input: view.input,
            output: view.output,
            error: view.error.map(Failed::from),
            key: view.key,
            waiting_for: view.waiting_for,
            started_at: view.started_at.map(|at| at.to_string()),
            finished_at: view.finished_at.map(|at| at.to_string()),
        }
    }
}

/// A question to a person.
#[derive(Serialize, ToSchema)]
pub struct Question {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// The run that is parked.
    #[schema(format = "uuid")]
    run: String,
    /// `approval`: a step asks for a decision. `uncertain`: it is unknown whether an effect happened. `poison`: the run
    /// stopped the process twice.
    kind: String,
    /// What is asked.
    question: Value,
    /// Since when.
    #[schema(format = "date-time")]
    created_at: String,
    /// What was answered; open questions have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<QuestionAnswer>,
}

/// A person's answer.
#[derive(Serialize, ToSchema)]
pub struct QuestionAnswer {
    /// One of the question's choices.
    action: String,
    /// What went with it.
    data: Value,
    /// Who said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// When.
    #[schema(format = "date-time")]
    at: String,
}

impl From<StoredQuestion> for Question {
    fn from(stored: StoredQuestion) -> Self {
        Self {
            id: stored.id.to_string(),
            run: stored.run.to_string(),
            kind: stored.kind,
            question: stored.question,
            created_at: stored.at.to_string(),
            answer: stored.answer.map(|answer| QuestionAnswer {
                action: answer.action,
                data: (*answer.data).clone(),
                by: answer.by,
                at: answer.at.to_string(),
            }),
        }
    }
}

/// What a public probe says.
#[derive(Serialize, ToSchema)]
pub struct Alive {
    /// `ok`.
    pub status: &'static str,
}

/// How many there are, from memory.
#[derive(Serialize, ToSchema)]
pub struct Numbers {
    /// Runs with a permit.
    running: usize,
    /// Runs waiting for a permit.
    queued: usize,
    /// Runs parked on a time, a signal, a child or a person.
    waiting: usize,
    /// Effects under way.
    effects: usize,
    /// Threads given up because an evaluation did not end.
    written_off: usize,
}

impl From<Counts> for Numbers {
    fn from(counts: Counts) -> Self {
        Self {
            running: counts.running,
            queued: counts.queued,
            waiting: counts.waiting,
            effects: counts.effects,
            written_off: counts.written_off,
        }
    }
}

/// The status that a word names.
pub fn status_named(word: &str) -> Option<RunStatus> {
    RunStatus::ALL.into_iter().find(|status| status.as_str() == word)
}
