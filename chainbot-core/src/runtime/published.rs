//! Workflows and agents that say `publish: { mcp: true }`, as whoever asks may see them.
//!
//! Invariants: what is not published is not there, by whatever name; what is somebody else's is not there either. A list is by the names of
//! definitions, so that a page begins after the last one of the page before. A tool's own name is one tool's, whoever sees it: it is looked for
//! among all before it is stored, under the lock of changes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use crate::engine::agent_in;
use crate::error::code::mcp as code;
use crate::error::{Error, Result};
use crate::id::{DefinitionHash, RunId};
use crate::limits;
use crate::model::{AGENT_TOOL, ForMcp, RunView, WORKFLOW_TOOL, is_tool_name};
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
    /// As what it is published.
    pub face: ForMcp,
    /// What it is.
    pub kind: PublishedKind,
}

/// What it is.
#[derive(Clone, Debug)]
pub enum PublishedKind {
    /// A workflow.
    Workflow {
        /// Of its inputs.
        schema: Option<Value>,
        /// How many steps it has, where none is done more than once.
        steps: Option<u32>,
    },
    /// An agent.
    Agent(AgentKind),
}

impl Published {
    /// The tool, unless it has a name of its own.
    pub fn usual_name(&self) -> String {
        let word = match self.kind {
            PublishedKind::Workflow { .. } => WORKFLOW_TOOL,
            PublishedKind::Agent(_) => AGENT_TOOL,
        };
        format!("{word}{}", self.name)
    }

    /// The tool.
    pub fn tool_name(&self) -> String {
        self.face.name.clone().unwrap_or_else(|| self.usual_name())
    }
}

/// A run of what is published.
#[derive(Clone, Debug)]
pub struct PublishedRun {
    /// The run.
    pub view: RunView,
    /// Whether it is a task of an agent.
    pub is_task: bool,
    /// Whether its output is a list of content blocks.
    pub gives_content: bool,
}

/// As what definitions are published. They never change, so what was seen once holds; when full it is emptied.
#[derive(Default)]
pub(super) struct Seen(Mutex<HashMap<DefinitionHash, ForMcp>>);

impl Runtime {
    fn face(&self, hash: DefinitionHash) -> Result<ForMcp> {
        if let Some(face) = self.published.0.lock().get(&hash) {
            return Ok(face.clone());
        }
        let face = self.programs.get(hash)?.publish.mcp.clone();
        let mut seen = self.published.0.lock();
        if seen.len() >= REMEMBERED_MAX {
            seen.clear();
        }
        seen.insert(hash, face.clone());
        Ok(face)
    }

    fn published_workflow(&self, stored: &StoredWorkflow) -> Result<Option<Published>> {
        let face = self.face(stored.hash)?;
        if !face.is_tool {
            return Ok(None);
        }
        let program = self.programs.get(stored.hash)?;
        let steps = program.steps_at_most();
        let schema = program.inputs.as_ref().map(|inputs| inputs.schema.clone());
        Ok(Some(Published {
            name: stored.name.clone(),
            description: program.description.clone(),
            face,
            kind: PublishedKind::Workflow { schema, steps },
        }))
    }

    fn published_agent(&self, stored: &StoredWorkflow) -> Result<Option<Published>> {
        let spec = agent_in(&stored.source).transpose()?.filter(|spec| spec.publish.mcp.is_tool);
        Ok(spec.map(|spec| Published {
            name: spec.name,
            description: spec.description,
            face: spec.publish.mcp,
            kind: PublishedKind::Agent(spec.kind),
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
                let Some(published) = self.published_agent(&one.workflow)? else { continue };
                if found.len() == limit {
                    return Ok((found, true));
                }
                found.push(published);
            }
            if !page.more || after.is_none() {
                return Ok((found, false));
            }
        }
    }

    /// The tool of a name: by the definition's name, else one of its own, for which all that are published are looked through.
    fn published_tool(&self, scope: &Scope, tool: &str) -> Result<Option<Published>> {
        if let Some(name) = tool.strip_prefix(WORKFLOW_TOOL).filter(|name| !name.starts_with(AGENT_PREFIX)) {
            let stored = self.store.workflow_named(scope, name)?;
            return stored.map_or(Ok(None), |stored| self.published_workflow(&stored));
        }
        if let Some(name) = tool.strip_prefix(AGENT_TOOL) {
            let stored = self.store.workflow_named(scope, &format!("{AGENT_PREFIX}{name}"))?;
            return stored.map_or(Ok(None), |stored| self.published_agent(&stored));
        }
        if !is_tool_name(tool) {
            return Ok(None);
        }
        let is_it = |one: &Published| one.face.name.as_deref() == Some(tool);
        let (workflows, _) = self.published_workflows(scope, None, usize::MAX)?;
        match workflows.into_iter().find(is_it) {
            Some(found) => Ok(Some(found)),
            None => Ok(self.published_agents(scope, None, usize::MAX)?.0.into_iter().find(is_it)),
        }
    }

    /// Whether a definition may have the tool's name that it says: CB-1287. Called with the right to change workflows; `own`: its usual name.
    pub(super) async fn check_tool_name(self: &Arc<Self>, own: &str, face: &ForMcp) -> Result<()> {
        let Some(tool) = face.name.clone() else { return Ok(()) };
        let found = self.read({
            let tool = tool.clone();
            move |runtime| runtime.published_tool(&Scope::All, &tool)
        });
        match found.await?.filter(|found| found.usual_name() != own) {
            None => Ok(()),
            // Whose it is may be nothing that they see.
            Some(_) => {
                let message = format!("`publish.mcp.name`: there is a tool `{tool}` already");
                Err(Error::new(&code::TOOL_NAME, message).help("choose another name; nothing was changed"))
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

    /// The tool of a name, as they see it.
    pub async fn published_tool(&self, tool: &str) -> Result<Option<Published>> {
        let (scope, tool) = (self.scope(), tool.to_owned());
        self.0.read(move |runtime| runtime.published_tool(&scope, &tool)).await
    }

    /// A run of a definition that is published; `None` for every other.
    pub async fn published_run(&self, id: RunId) -> Result<Option<PublishedRun>> {
        let scope = self.scope();
        let of = self
            .0
            .read(move |runtime| {
                let Some(stored) = runtime.store.run(&scope, id)? else { return Ok(None) };
                let face = runtime.face(stored.row.definition)?;
                let is_task = stored.row.name.starts_with(AGENT_PREFIX);
                Ok(face.is_tool.then_some((is_task, face.gives_content)))
            })
            .await?;
        match of {
            None => Ok(None),
            Some((is_task, gives_content)) => {
                Ok(Some(PublishedRun { view: self.run(id).await?, is_task, gives_content }))
            }
        }
    }
}
