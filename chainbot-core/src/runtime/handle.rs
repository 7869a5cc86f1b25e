//! The face of the runtime: what the API, the CLI and the plugin may ask of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::id::{Lsn, RunId, WorkflowId};
use crate::model::event::Committed;
use crate::model::{Diagnostic, Record, RunStatus, RunView, StepView};
use crate::port::{Page, StoredQuestion};
use crate::time::Timestamp;

/// A cheap, cloneable handle on a running runtime.
#[derive(Clone)]
pub struct Handle {
    _inner: Arc<()>,
}

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
    /// Always `active` until workflows can be disabled.
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
}

/// Committed records as they come, after those missed since a cursor.
pub struct Subscription {
    _private: (),
}

impl Subscription {
    /// The next record. `None` when the runtime stops. `Some(Err(gap))` when this listener was too slow and
    /// records between are only in the journal: subscribe again from the last cursor seen.
    pub async fn next(&mut self) -> Option<std::result::Result<Arc<Committed>, Gap>> {
        None
    }
}

/// Records were missed.
#[derive(Clone, Copy, Debug)]
pub struct Gap;

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

#[allow(unused_variables, clippy::unused_async)]
impl Handle {
    /// Makes a workflow from a definition's source. All its problems at once: CB-0100 with
    /// [`Error::diagnostics`](crate::Error::diagnostics). A name that exists is CB-0191. The flag: replayed by key.
    pub async fn create_workflow(
        &self,
        source: &str,
        idempotency_key: Option<&str>,
    ) -> Result<(WorkflowView, bool)> {
        unimplemented_here()
    }
    /// By id or name.
    pub async fn workflow(&self, reference: &str) -> Result<WorkflowView> {
        unimplemented_here()
    }
    /// By name, after a name; `limit` ≤ 200.
    pub async fn workflows(&self, after: Option<&str>, limit: u32) -> Result<Page<WorkflowView>> {
        unimplemented_here()
    }
    /// A new version; the name in the source must be the workflow's. `if_match`: the hash that must be current.
    pub async fn update_workflow(
        &self,
        reference: &str,
        source: &str,
        if_match: Option<&str>,
    ) -> Result<WorkflowView> {
        unimplemented_here()
    }
    /// Deletes the workflow. Runs under way go on; their history stays.
    pub async fn delete_workflow(&self, reference: &str, if_match: Option<&str>) -> Result<()> {
        unimplemented_here()
    }
    /// Every problem of a definition; executes nothing.
    pub fn validate(&self, source: &str) -> Vec<Diagnostic> {
        Vec::new()
    }
    /// Starts a run; durable when this returns.
    pub async fn start_run(&self, new: NewRun) -> Result<StartedRun> {
        unimplemented_here()
    }
    /// One run.
    pub async fn run(&self, id: RunId) -> Result<RunView> {
        unimplemented_here()
    }
    /// Newest first.
    pub async fn runs(
        &self,
        workflow: Option<&str>,
        status: Option<RunStatus>,
        before: Option<RunId>,
        limit: u32,
    ) -> Result<Page<RunSummary>> {
        unimplemented_here()
    }
    /// Every step instance that has a record, in order of its first one.
    pub async fn steps(&self, id: RunId) -> Result<Vec<StepView>> {
        unimplemented_here()
    }
    /// Records from `after_seq` (exclusive; `None` = from the start), at most `limit`.
    pub async fn journal(
        &self,
        id: RunId,
        after_seq: Option<u32>,
        limit: u32,
    ) -> Result<Page<(Lsn, Record)>> {
        unimplemented_here()
    }
    /// Asks the run to end. Idempotent; a finished run gives CB-0303.
    pub async fn cancel(&self, id: RunId, reason: &str) -> Result<RunView> {
        unimplemented_here()
    }
    /// Hands a signal to a run. `key` makes a repeat harmless.
    pub async fn signal(
        &self,
        id: RunId,
        name: &str,
        data: serde_json::Value,
        key: Option<&str>,
    ) -> Result<RunView> {
        unimplemented_here()
    }
    /// Open questions to people.
    pub async fn inbox(&self) -> Result<Vec<StoredQuestion>> {
        unimplemented_here()
    }
    /// Records from now on, or from after `since` on (from memory, else from the journal).
    pub async fn subscribe(&self, since: Option<Lsn>) -> Result<Subscription> {
        unimplemented_here()
    }
    /// Components by name: `database`, `workflow_engine`, `event_bus`.
    pub fn components(&self) -> Vec<(&'static str, Component)> {
        Vec::new()
    }
    /// Counts, from memory.
    pub fn counts(&self) -> Counts {
        Counts { running: 0, queued: 0, waiting: 0, effects: 0, written_off: 0 }
    }
}

fn unimplemented_here<T>() -> Result<T> {
    Err(crate::Error::new(&crate::error::code::general::STOPPING, "not wired"))
}
