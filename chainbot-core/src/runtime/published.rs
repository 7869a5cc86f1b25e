//! Workflows and agents that say `publish: { mcp: true }`, as whoever asks may see them.
//!
//! Invariants: what is not published is not there, by whatever name; what is somebody else's is not there either. A list is by name, so that
//! a page begins after the last name of the one before.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use crate::engine::agent_in;
use crate::error::Result;
use crate::id::{DefinitionHash, RunId};
use crate::limits;
use crate::model::RunView;
use crate::port::{
    AGENT_PREFIX, AgentFilter, AgentState, Scope, StoredWorkflow, WorkflowFilter, WorkflowPlace,
};
use crate::task::AgentKind;

use super::core::Runtime;
use super::handle::Handle;

/// Definitions of which it is remembered whether they are published: 33 bytes each.
const REMEMBERED_MAX: usize = 4_096;

/// What is published.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its name.
    pub name: String,
    /// What its author says of it.
    pub description: Option<String>,
    /// What it is.
    pub kind: PublishedKind,
}

/// What it is.
#[derive(Clone, Debug)]
pub enum PublishedKind {
    /// A workflow, with the schema of its inputs.
    Workflow(Option<Value>),
    /// An agent.
    Agent(AgentKind),
}

/// Which definitions are published. They never change, so what was seen once holds; when full it is emptied.
#[derive(Default)]
pub(super) struct Seen(Mutex<HashMap<DefinitionHash, bool>>);

impl Runtime {
    fn published_workflow(&self, stored: &StoredWorkflow) -> Result<Option<Published>> {
        let known = self.published.0.lock().get(&stored.hash).copied();
        if known == Some(false) {
            return Ok(None);
        }
        let program = self.programs.get(stored.hash)?;
        if known.is_none() {
            let mut seen = self.published.0.lock();
            if seen.len() >= REMEMBERED_MAX {
                seen.clear();
            }
            seen.insert(stored.hash, program.publish.mcp);
        }
        Ok(program.publish.mcp.then(|| Published {
            name: stored.name.clone(),
            description: program.description.clone(),
            kind: PublishedKind::Workflow(program.inputs.as_ref().map(|inputs| inputs.schema.clone())),
        }))
    }

    /// Up to so many after a name, and whether there are more.
    fn published_workflows(
        &self,
        scope: &Scope,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Published>, bool)> {
        let (mut found, mut past) = (Vec::new(), after.map(WorkflowPlace::Name));
        loop {
            let filter = WorkflowFilter { past, limit: limits::PAGE_MAX, ..WorkflowFilter::default() };
            let page = self.store.workflows(scope, &filter)?;
            past = page.items.last().map(|last| WorkflowPlace::of(&last.workflow, filter.by));
            for one in &page.items {
                let Some(published) = self.published_workflow(&one.workflow)? else { continue };
                if found.len() == limit {
                    return Ok((found, true));
                }
                found.push(published);
            }
            if !page.more || past.is_none() {
                return Ok((found, false));
            }
        }
    }

    fn published_agents(
        &self,
        scope: &Scope,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Published>, bool)> {
        let (mut found, mut after) = (Vec::new(), after.map(|name| format!("{AGENT_PREFIX}{name}")));
        loop {
            let page = self.store.agents(scope, &AgentFilter { id: None, after, limit: limits::PAGE_MAX })?;
            after = page.items.last().map(|last| last.workflow.name.clone());
            for one in page.items.iter().filter(|one| one.state != AgentState::Terminated) {
                let Some(spec) = agent_in(&one.workflow.source).transpose()?.filter(|spec| spec.publish.mcp)
                else {
                    continue;
                };
                if found.len() == limit {
                    return Ok((found, true));
                }
                let kind = PublishedKind::Agent(spec.kind);
                found.push(Published { name: spec.name, description: spec.description, kind });
            }
            if !page.more || after.is_none() {
                return Ok((found, false));
            }
        }
    }
}

impl Handle {
    /// Published workflows after a name, and whether there are more.
    pub async fn published_workflows(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Published>, bool)> {
        let scope = self.scope();
        self.0.read(move |runtime| runtime.published_workflows(&scope, after, limit)).await
    }

    /// Published agents after a name, and whether there are more.
    pub async fn published_agents(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Published>, bool)> {
        let scope = self.scope();
        self.0.read(move |runtime| runtime.published_agents(&scope, after, limit)).await
    }

    /// Whether there is such a workflow for them, and it is published.
    pub async fn is_published_workflow(&self, name: &str) -> Result<bool> {
        let (scope, name) = (self.scope(), name.to_owned());
        let found = move |runtime: &Arc<Runtime>| match runtime.store.workflow_named(&scope, &name)? {
            Some(stored) if !name.starts_with(AGENT_PREFIX) => runtime.published_workflow(&stored),
            _ => Ok(None),
        };
        Ok(self.0.read(move |runtime| found(runtime)).await?.is_some())
    }

    /// Of which type an agent is, if there is such a one for them and it is published.
    pub async fn published_agent(&self, name: &str) -> Result<Option<AgentKind>> {
        let (scope, name) = (self.scope(), format!("{AGENT_PREFIX}{name}"));
        self.0
            .read(move |runtime| {
                let Some(stored) = runtime.store.workflow_named(&scope, &name)? else { return Ok(None) };
                let spec = agent_in(&stored.source).transpose()?;
                Ok(spec.filter(|spec| spec.publish.mcp).map(|spec| spec.kind))
            })
            .await
    }

    /// A run of a definition that is published, and whether it is a task of an agent; `None` for every other.
    pub async fn published_run(&self, id: RunId) -> Result<Option<(RunView, bool)>> {
        let scope = self.scope();
        let of = self
            .0
            .read(move |runtime| {
                let Some(stored) = runtime.store.run(&scope, id)? else { return Ok(None) };
                let program = runtime.programs.get(stored.row.definition)?;
                Ok(program.publish.mcp.then(|| stored.row.name.starts_with(AGENT_PREFIX)))
            })
            .await?;
        match of {
            Some(is_task) => Ok(Some((self.run(id).await?, is_task))),
            None => Ok(None),
        }
    }
}
