//! Workflows and their versions, as the handle offers them. Changes follow each other; a run keeps the version it began with.

use std::sync::Arc;

use serde_json::json;

use crate::engine::Program;
use crate::error::code::{account, definition, general};
use crate::error::{Error, Result};
use crate::id::{DefinitionHash, WorkflowId};
use crate::limits;
use crate::model::WORKFLOW_TOOL;
use crate::port::{
    AGENT_PREFIX, Action, Idempotency, ListedWorkflow, Op, Page, Scope, StoredWorkflow, WorkflowFilter,
    WorkflowPlace,
};
use crate::validate;

use super::core::Runtime;
use super::handle::{Handle, WorkflowListed, WorkflowView};
use super::heads::Head;
use super::who::{Deed, written_down};

impl Handle {
    /// Makes a workflow from a definition's source. All its problems at once: CB-0100 with
    /// [`Error::diagnostics`]. A name that exists is CB-0191. The flag: replayed by key.
    pub async fn create_workflow(
        &self,
        source: &str,
        idempotency_key: Option<&str>,
    ) -> Result<(WorkflowView, bool)> {
        self.0.check_open()?;
        let (_guard, key) = match idempotency_key {
            None => (None, None),
            Some(key) => {
                let key = Idempotency {
                    by: self.1.user(),
                    key: format!("workflow {key}"),
                    digest: *blake3::hash(source.as_bytes()).as_bytes(),
                    at: self.0.aged(self.0.env.now()),
                };
                let guard = self.0.lock_key(&key.key).await;
                if let Some(made) = self.0.replayed(&key).await? {
                    return Ok((self.workflow(&WorkflowId::from(made).to_string()).await?, true));
                }
                (Some(guard), Some(key))
            }
        };
        let program = self.0.compile(source).await?;
        let _changes = self.0.workflows.lock().await;
        let name = program.name.clone();
        self.check_free(&name).await?;
        self.0.check_tool_name(&format!("{WORKFLOW_TOOL}{name}"), &program.publish.mcp).await?;
        let id = self.0.env.workflow_id();
        let at = self.0.env.now();
        let (changes, armed) = self.0.trigger_changes(&self.1, self.1.makes().owner, id, &program)?;
        let mut ops = vec![Op::WorkflowInsert {
            id,
            name,
            source: source.to_owned(),
            at,
            possession: self.1.makes(),
            idempotency: key,
        }];
        ops.extend(changes);
        let deed = Deed::new(Action::WorkflowCreate, "workflow", id).from_to(None, Some(program.hash.0));
        ops.extend(written_down(at, deed.with(json!({ "name": program.name }))));
        self.0.write(ops).await?;
        self.0.arm(id, armed);
        Ok((self.workflow(&id.to_string()).await?, false))
    }

    /// By id or name.
    pub async fn workflow(&self, reference: &str) -> Result<WorkflowView> {
        self.0.workflow_of(&self.1, reference).await.and_then(|stored| self.view(&stored))
    }

    /// By name, after a name; `limit` ≤ 200.
    pub async fn workflows(&self, filter: WorkflowFilter) -> Result<Page<WorkflowListed>> {
        let (scope, by) = (self.1, filter.by);
        let filter = WorkflowFilter { limit: filter.limit.min(limits::PAGE_MAX), ..filter };
        let page = self.0.read(move |runtime| runtime.store.workflows(&scope, &filter)).await?;
        let listed = |one: ListedWorkflow| {
            Ok(WorkflowListed {
                view: self.view(&one.workflow)?,
                place: WorkflowPlace::of(&one.workflow, by),
                runs: one.runs,
                last_run_at: one.last_run_at,
            })
        };
        let items = page.items.into_iter().map(listed).collect::<Result<Vec<_>>>()?;
        Ok(Page { items, total: page.total, more: page.more })
    }

    /// A new version; the name in the source must be the workflow's. `if_match`: the hash that must be current.
    pub async fn update_workflow(
        &self,
        reference: &str,
        source: &str,
        if_match: Option<&str>,
    ) -> Result<WorkflowView> {
        self.0.check_open()?;
        let program = self.0.compile(source).await?;
        let _changes = self.0.workflows.lock().await;
        let stored = self.to_change(reference).await?;
        check_match(&stored, if_match)?;
        if program.name != stored.name {
            return Err(Error::new(
                &definition::EXISTS,
                format!("the definition is named `{}` and the workflow `{}`", program.name, stored.name),
            )
            .help("keep the name, or create another workflow"));
        }
        if stored.hash != program.hash {
            self.0.check_tool_name(&format!("{WORKFLOW_TOOL}{}", stored.name), &program.publish.mcp).await?;
            let at = self.0.env.now();
            let (changes, armed) =
                self.0.trigger_changes(&self.1, stored.possession.owner, stored.id, &program)?;
            let deed = Deed::new(Action::WorkflowUpdate, "workflow", stored.id)
                .from_to(Some(stored.hash.0), Some(program.hash.0))
                .with(json!({ "name": stored.name, "version": stored.version + 1 }));
            let op = Op::WorkflowVersion { id: stored.id, name: stored.name, source: source.to_owned(), at };
            let mut ops = vec![op];
            ops.extend(changes);
            ops.extend(written_down(at, deed));
            self.0.write(ops).await?;
            self.0.arm(stored.id, armed);
        }
        self.workflow(&stored.id.to_string()).await
    }

    /// Deletes the workflow. Runs under way go on; their history stays.
    pub async fn delete_workflow(&self, reference: &str, if_match: Option<&str>) -> Result<()> {
        self.0.check_open()?;
        let _changes = self.0.workflows.lock().await;
        let stored = self.to_change(reference).await?;
        check_match(&stored, if_match)?;
        let at = self.0.env.now();
        let mut ops = vec![Op::WorkflowDelete { id: stored.id, at }];
        ops.extend(self.0.trigger_drops(stored.id));
        let deed =
            Deed::new(Action::WorkflowDelete, "workflow", stored.id).from_to(Some(stored.hash.0), None);
        ops.extend(written_down(at, deed.with(json!({ "name": stored.name }))));
        self.0.write(ops).await?;
        self.0.arm(stored.id, Vec::new());
        Ok(())
    }

    /// A workflow that they may change. Called with the right to change workflows.
    pub(super) async fn to_change(&self, reference: &str) -> Result<StoredWorkflow> {
        let stored = self.0.workflow_of(&self.1, reference).await?;
        check_owner(self.1.may_change(&stored.possession), &stored.name).map(|()| stored)
    }

    /// Names are unique among all. Whose one is that they do not see is not told.
    async fn check_free(&self, name: &str) -> Result<()> {
        let wanted = name.to_owned();
        let found = self.0.read(move |runtime| runtime.store.workflow_named(&Scope::All, &wanted)).await?;
        match found {
            None => Ok(()),
            Some(other) if self.1.sees(&other.possession) => {
                Err(Error::new(&definition::EXISTS, format!("a workflow `{name}` exists ({})", other.id))
                    .help(format!("PUT /api/chainbot/workflows/{name} makes a new version of it")))
            }
            Some(_) => Err(Error::new(&definition::EXISTS, format!("the name `{name}` is taken"))
                .help("choose another name")),
        }
    }

    fn view(&self, stored: &StoredWorkflow) -> Result<WorkflowView> {
        let status = if self.0.is_switched_on(stored.id) { "active" } else { "disabled" };
        Ok(WorkflowView { status: status.to_owned(), ..view(stored)? })
    }

    /// Every problem of a definition; executes nothing.
    pub fn validate(&self, source: &str) -> Vec<crate::model::Diagnostic> {
        validate::check_on(source, &self.0.known.read().clone()).diagnostics
    }
}

impl Runtime {
    /// The workflow that text names: an id, else a name.
    pub(super) async fn workflow_of(
        self: &Arc<Self>,
        scope: &Scope,
        reference: &str,
    ) -> Result<StoredWorkflow> {
        let (scope, reference) = (*scope, reference.to_owned());
        let missing = Error::new(&definition::NOT_FOUND, format!("there is no workflow `{reference}`"))
            .help("GET /api/chainbot/workflows lists them");
        let found = self
            .read(move |runtime| match reference.parse::<WorkflowId>() {
                Ok(id) => {
                    Ok(runtime.store.workflow(&scope, id)?.filter(|stored| stored.deleted_at.is_none()))
                }
                Err(_) => runtime.store.workflow_named(&scope, &reference),
            })
            .await?;
        // An agent is a workflow for the engine alone: people reach it by its own routes.
        found.filter(|stored| !stored.name.starts_with(AGENT_PREFIX)).ok_or(missing)
    }

    /// As [`Self::workflow_of`], from memory when it is known there.
    pub(super) async fn head_of(self: &Arc<Self>, scope: &Scope, reference: &str) -> Result<Arc<Head>> {
        if let Some(head) = self.heads.find(scope, reference) {
            return Ok(head);
        }
        let before = self.heads.before();
        let stored = self.workflow_of(scope, reference).await?;
        Ok(self.heads.keep(before, reference, &stored))
    }

    /// Checks and compiles off the async threads: a large definition takes milliseconds.
    pub(super) async fn compile(self: &Arc<Self>, source: &str) -> Result<Arc<Program>> {
        if let Some(program) = self.programs.cached(DefinitionHash::of(source)) {
            return Ok(program);
        }
        let source = source.to_owned();
        self.read(move |runtime| {
            // What is stored already stays, whatever becomes of the configuration; what is new must fit.
            let checked = validate::check_on(&source, &runtime.known.read().clone());
            if checked.definition.is_none() {
                return Err(super::programs::problems(checked.diagnostics));
            }
            runtime.programs.compile(&source)
        })
        .await
    }

    /// Runs something that may block on the disk.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Runtime>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let runtime = self.clone();
        #[cfg(test)]
        if self.is_stepped {
            return work(&runtime);
        }
        match self.tokio.spawn_blocking(move || work(&runtime)).await {
            Ok(result) => result,
            Err(error) => Err(Error::new(&general::INTERNAL, "a read was cut short").because(error)),
        }
    }

    /// Changes derived tables and waits until that is on disk.
    pub(super) async fn write(&self, ops: Vec<Op>) -> Result<()> {
        let heads = ops.iter().any(is_of_workflows).then(|| self.heads.clone());
        if let Some(heads) = &heads {
            heads.change();
        }
        crate::store::commit_then(self.store.as_ref(), ops, move |_| {
            // Here, and not by the caller, who may have gone away.
            if let Some(heads) = heads {
                heads.change();
            }
        })
        .await
    }
}

fn is_of_workflows(op: &Op) -> bool {
    matches!(
        op,
        Op::WorkflowInsert { .. }
            | Op::WorkflowShare { .. }
            | Op::WorkflowVersion { .. }
            | Op::WorkflowDelete { .. }
    )
}

/// Refuses a change of what is shared with somebody and not theirs.
pub(super) fn check_owner(may: bool, name: &str) -> Result<()> {
    match may {
        true => Ok(()),
        false => Err(Error::new(
            &account::NOT_OWNER,
            format!("the workflow `{name}` is shared with you and not yours to change"),
        )
        .help("ask its owner or an admin, or make a copy under another name")),
    }
}

pub(super) fn check_match(stored: &StoredWorkflow, if_match: Option<&str>) -> Result<()> {
    let current = stored.hash.to_string();
    match if_match {
        Some(wanted) if wanted != "*" && wanted != current => Err(Error::new(
            &general::PRECONDITION,
            format!(
                "the workflow `{}` has changed: its version is {} ({current})",
                stored.name, stored.version
            ),
        )
        .help("read it again, merge, and send the new ETag in If-Match")),
        _ => Ok(()),
    }
}

pub(super) fn view(stored: &StoredWorkflow) -> Result<WorkflowView> {
    let document = validate::document(&stored.source).map_err(|diagnostics| {
        Error::new(&definition::INVALID, format!("the stored definition of `{}` does not parse", stored.name))
            .diagnostics_of(diagnostics)
    })?;
    Ok(WorkflowView {
        id: stored.id,
        name: stored.name.clone(),
        description: document.get("description").and_then(|text| text.as_str()).map(str::to_owned),
        status: "active".to_owned(),
        version: stored.version,
        hash: stored.hash.to_string(),
        definition: document.to_json(),
        source: stored.source.clone(),
        created_at: stored.created_at,
        updated_at: stored.updated_at,
        owner: stored.possession.owner,
        shared: stored.possession.shared,
    })
}
