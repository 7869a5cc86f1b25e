//! The versions of a workflow: listed, read, compared, and an old one made the current one again.

use serde::Serialize;
use serde_json::Value;

use crate::error::code::{definition, general};
use crate::error::{Error, Result};
use crate::id::DefinitionHash;
use crate::model::{RunStatus, RunView, StepView, WORKFLOW_TOOL};
use crate::port::{Action, Op, StoredWorkflow};
use crate::time::Timestamp;
use crate::validate;

use super::diff::{Change, Changes, unified};
use super::handle::{Handle, WorkflowView};
use super::who::{Deed, written_down};
use super::workflows::check_match;

/// A version as lists show it.
#[derive(Clone, Debug, Serialize)]
pub struct VersionView {
    /// From 1.
    pub version: u32,
    /// blake3 of the source, in hex.
    pub hash: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether new runs are of this one.
    pub is_current: bool,
}

/// What two versions differ in.
#[derive(Clone, Debug, Serialize)]
pub struct VersionDiff {
    /// The one.
    pub from: u32,
    /// The other.
    pub to: u32,
    /// Whether their sources are the same.
    pub is_same: bool,
    /// Lines of the sources, as `diff -u` shows them; empty when they are the same.
    pub text: String,
    /// Values of the definitions that differ.
    pub changes: Vec<Change>,
    /// Whether there are more changes than are listed.
    pub has_more: bool,
}

/// What two runs differ in.
#[derive(Clone, Debug, Serialize)]
pub struct RunDiff {
    /// The one.
    pub a: RunHeadline,
    /// The other.
    pub b: RunHeadline,
    /// Whether nothing but ids and times differs.
    pub is_same: bool,
    /// Inputs, output, error, and each step's status, tries, input, output and error.
    pub changes: Vec<Change>,
    /// Whether there are more changes than are listed.
    pub has_more: bool,
}

/// A run in a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct RunHeadline {
    /// Its id.
    pub id: String,
    /// Its workflow.
    pub workflow: String,
    /// Its version's hash.
    pub definition: String,
    /// Where it stands.
    pub status: RunStatus,
}

impl Handle {
    /// Every version of a workflow, newest first.
    pub async fn versions(&self, reference: &str) -> Result<Vec<VersionView>> {
        let stored = self.0.workflow_of(&self.1, reference).await?;
        let (scope, id, current) = (self.1, stored.id, stored.version);
        let versions = self.0.read(move |runtime| runtime.store.versions(&scope, id)).await?;
        Ok(versions
            .into_iter()
            .map(|version| VersionView {
                version: version.version,
                hash: version.hash.to_string(),
                created_at: version.created_at,
                is_current: version.version == current,
            })
            .collect())
    }

    /// One version of a workflow, with its definition.
    pub async fn version(&self, reference: &str, number: u32) -> Result<WorkflowView> {
        let stored = self.0.workflow_of(&self.1, reference).await?;
        let old = self.version_of(&stored, number).await?;
        super::workflows::view(&old)
    }

    /// Makes the content of an old version the current one, as a new version. `if_match`: the hash that must be current.
    pub async fn rollback(
        &self,
        reference: &str,
        number: u32,
        if_match: Option<&str>,
    ) -> Result<WorkflowView> {
        self.0.check_open()?;
        let _changes = self.0.workflows.lock().await;
        let stored = self.to_change(reference).await?;
        check_match(&stored, if_match)?;
        let old = self.version_of(&stored, number).await?;
        // An older ChainBot may have taken what this one does not.
        let program = self.0.compile(&old.source).await?;
        if old.hash != stored.hash {
            self.0.check_tool_name(&format!("{WORKFLOW_TOOL}{}", stored.name), &program.publish.mcp).await?;
            let at = self.0.env.now();
            let deed = Deed::new(Action::WorkflowRollback, "workflow", stored.id)
                .from_to(Some(stored.hash.0), Some(old.hash.0))
                .with(serde_json::json!({ "name": stored.name, "version": number }));
            let op = Op::WorkflowVersion { id: stored.id, name: stored.name, source: old.source, at };
            self.0.write([Some(op), written_down(at, deed)].into_iter().flatten().collect()).await?;
        }
        self.workflow(&stored.id.to_string()).await
    }

    /// What two versions of a workflow differ in.
    pub async fn diff_versions(&self, reference: &str, from: u32, to: u32) -> Result<VersionDiff> {
        let stored = self.0.workflow_of(&self.1, reference).await?;
        let (old, new) = (self.version_of(&stored, from).await?, self.version_of(&stored, to).await?);
        let mut changes = Changes::default();
        changes.compare("", &document(&old)?, &document(&new)?);
        let (changes, has_more) = changes.into_parts();
        let name = |number| format!("{} version {number}", stored.name);
        let text = unified(&name(from), &old.source, &name(to), &new.source)?;
        Ok(VersionDiff { from, to, is_same: old.source == new.source, text, changes, has_more })
    }

    /// What two runs differ in.
    pub async fn diff_runs(&self, a: crate::id::RunId, b: crate::id::RunId) -> Result<RunDiff> {
        let (view_a, view_b) = (self.run(a).await?, self.run(b).await?);
        let (steps_a, steps_b) = (self.steps(a).await?, self.steps(b).await?);
        let mut changes = Changes::default();
        changes.compare("", &run_value(&view_a, &steps_a), &run_value(&view_b, &steps_b));
        let (changes, has_more) = changes.into_parts();
        let is_same = changes.is_empty();
        Ok(RunDiff { a: headline(view_a), b: headline(view_b), is_same, changes, has_more })
    }

    async fn version_of(&self, stored: &StoredWorkflow, number: u32) -> Result<StoredWorkflow> {
        let (scope, id) = (self.1, stored.id);
        let found = self
            .0
            .read(move |runtime| {
                let versions = runtime.store.versions(&scope, id)?;
                let found = versions.into_iter().find(|version| version.version == number);
                let Some(version) = found else { return Ok(None) };
                Ok(runtime.store.definition(&scope, version.hash)?.map(|source| (version, source)))
            })
            .await?;
        let Some((version, source)) = found else {
            let message = format!("the workflow `{}` has no version {number}", stored.name);
            return Err(Error::new(&definition::NOT_FOUND, message)
                .help(format!("it has versions up to {}", stored.version)));
        };
        let hash: DefinitionHash = version.hash;
        let updated_at = version.created_at;
        Ok(StoredWorkflow { version: number, hash, source, updated_at, ..stored.clone() })
    }
}

fn document(stored: &StoredWorkflow) -> Result<Value> {
    validate::document(&stored.source).map(|document| document.to_json()).map_err(|diagnostics| {
        Error::new(
            &definition::INVALID,
            format!("version {} of `{}` does not parse", stored.version, stored.name),
        )
        .diagnostics_of(diagnostics)
    })
}

fn headline(view: RunView) -> RunHeadline {
    let RunView { id, workflow_name, definition, status, .. } = view;
    RunHeadline { id: id.to_string(), workflow: workflow_name, definition, status }
}

/// A run without what differs between any two: ids, keys and times.
fn run_value(view: &RunView, steps: &[StepView]) -> Value {
    let steps: serde_json::Map<String, Value> = steps
        .iter()
        .map(|step| {
            let path: String = step.path.iter().map(|index| format!("[{index}]")).collect();
            let value = serde_json::json!({
                "type": step.kind, "status": step.status, "attempts": step.attempts, "input": step.input,
                "output": step.output, "error": step.error,
            });
            (format!("{}{path}", step.id), value)
        })
        .collect();
    serde_json::json!({
        "workflow": view.workflow_name, "definition": view.definition, "status": view.status,
        "inputs": view.inputs, "output": view.output, "error": view.error, "steps": steps,
    })
}

/// A text that is too long to compare.
pub(super) fn too_long(lines: usize, most: usize) -> Error {
    Error::new(&general::BODY_TOO_LARGE, format!("the texts have {lines} lines, at most {most} are compared"))
        .help("read both versions and compare them yourself")
}
