//! Whom a run, a trigger or an event is there for: by the workflow that it belongs to.
//!
//! Invariant: what cannot be read is there for nobody but those who see everything. Reads block on the disk where the cache of
//! [`super::heads`] does not know the answer; a change of whose a workflow is empties that cache.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;

use crate::error::Result;
use crate::id::{RunId, UserId, WorkflowId};
use crate::port::{Action, Op, Possession, Role, Scope, StoredWorkflow};

use super::agents::AgentView;
use super::core::Runtime;
use super::handle::{Handle, WorkflowView};
use super::who::{Deed, written_down};
use super::workflows::check_owner;

impl Handle {
    /// Says whose a workflow is from here on, and who sees it besides. Its runs go with it. For its owner and for admins; only
    /// an admin gives it to somebody else.
    pub async fn share_workflow(&self, reference: &str, change: Sharing) -> Result<WorkflowView> {
        self.0.check_open()?;
        let _changes = self.0.workflows.lock().await;
        let stored = self.0.workflow_of(&self.1, reference).await?;
        self.share(&stored, change, (Action::WorkflowShare, "workflow")).await?;
        // By one who sees it still, whoever asked.
        self.of(Scope::All).workflow(&stored.id.to_string()).await
    }

    /// The same of an agent, with its tasks.
    pub async fn share_agent(&self, reference: &str, change: Sharing) -> Result<AgentView> {
        self.0.check_open()?;
        let _changes = self.0.workflows.lock().await;
        let stored = self.0.agent_of(&self.1, reference).await?.workflow;
        self.share(&stored, change, (Action::AgentUpdate, "agent")).await?;
        self.of(Scope::All).agent(&stored.id.to_string()).await
    }

    async fn share(
        &self,
        stored: &StoredWorkflow,
        change: Sharing,
        deed: (Action, &'static str),
    ) -> Result<()> {
        let gives = change.owner.is_some_and(|owner| owner != stored.possession.owner);
        check_owner(self.1.may_share(&stored.possession) && (!gives || self.1.is_whole()), &stored.name)?;
        let possession = Possession {
            owner: change.owner.unwrap_or(stored.possession.owner),
            shared: change.shared.unwrap_or(stored.possession.shared),
        };
        if possession != stored.possession {
            let said = |of: &Possession| json!({ "owner": of.owner, "shared": of.shared });
            let deed = Deed::new(deed.0, deed.1, stored.id).with(json!({
                "name": stored.name, "from": said(&stored.possession), "to": said(&possession),
            }));
            let ops =
                [Some(Op::WorkflowShare { id: stored.id, possession }), written_down(self.0.env.now(), deed)];
            self.0.write(ops.into_iter().flatten().collect()).await?;
        }
        Ok(())
    }
}

/// What changes of whose a workflow is. What is `None` stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sharing {
    /// Another owner; `Some(None)` is the operator.
    pub owner: Option<Option<UserId>>,
    /// Another least role; `Some(None)` is nobody but the owner and admins.
    pub shared: Option<Option<Role>>,
}

impl Runtime {
    /// Whose a workflow is, deleted or not.
    fn possession_of(&self, workflow: WorkflowId) -> Result<Option<Possession>> {
        if let Some(known) = self.heads.possession(workflow) {
            return Ok(known);
        }
        let before = self.heads.before();
        let found = self.store.workflow(&Scope::All, workflow)?.map(|stored| stored.possession);
        self.heads.keep_possession(before, workflow, found);
        Ok(found)
    }

    /// Whom a workflow acts for. Where that cannot be read it is the operator, whose secrets every workflow uses, and nobody
    /// else's.
    pub(super) fn owner_of(&self, workflow: WorkflowId) -> Option<UserId> {
        self.acts_for(workflow).owner
    }

    /// Whom a workflow acts for, and who sees that besides.
    pub(super) fn acts_for(&self, workflow: WorkflowId) -> Possession {
        let nobodys = Possession { owner: None, shared: None };
        match self.possession_of(workflow) {
            Ok(of) => of.unwrap_or(nobodys),
            Err(error) => {
                log::error!("whose workflow {workflow} is cannot be read: {error}");
                nobodys
            }
        }
    }

    /// Whom a run acts for. A forgotten one acts for the operator.
    pub(super) fn owner_of_run(&self, run: RunId) -> Option<UserId> {
        match self.workflow_of_run(run) {
            Ok(workflow) => workflow.and_then(|workflow| self.owner_of(workflow)),
            Err(error) => {
                log::error!("whose run {run} is cannot be read: {error}");
                None
            }
        }
    }

    /// Whether a workflow is there for them.
    pub(super) fn sees_workflow(&self, scope: &Scope, workflow: WorkflowId) -> Result<bool> {
        if scope.is_whole() {
            return Ok(true);
        }
        Ok(self.possession_of(workflow)?.is_some_and(|of| scope.sees(&of)))
    }

    /// Whether a run is there for them. A forgotten one is not.
    pub(super) fn sees_run(&self, scope: &Scope, run: RunId) -> Result<bool> {
        if scope.is_whole() {
            return Ok(true);
        }
        match self.workflow_of_run(run)? {
            Some(workflow) => self.sees_workflow(scope, workflow),
            None => Ok(false),
        }
    }

    /// Whose run it is, which never changes; `None` when there is no such run, or it is forgotten.
    pub(super) fn workflow_of_run(&self, run: RunId) -> Result<Option<WorkflowId>> {
        match self.live(run) {
            Some(cell) => Ok(Some(cell.workflow)),
            None => Ok(self.store.run(&Scope::All, run)?.map(|stored| stored.row.workflow)),
        }
    }

    /// Whether a workflow is told what becomes of a run: where its owner sees that.
    pub(super) fn may_hear(&self, workflow: WorkflowId, run: RunId) -> Result<bool> {
        let of = self.possession_of(workflow)?.unwrap_or(Possession::HOUSE);
        self.sees_run(&Scope::of_workflow(&of), run)
    }

    /// Of the workflows with triggers, those that are there for them; `None` is all.
    pub(super) async fn seen_workflows(
        self: &Arc<Self>,
        scope: &Scope,
    ) -> Result<Option<HashSet<WorkflowId>>> {
        let scope = *scope;
        if scope.is_whole() {
            return Ok(None);
        }
        self.read(move |runtime| {
            let all: HashSet<WorkflowId> = runtime.triggers.workflows();
            let mut seen = HashSet::new();
            for workflow in all {
                if runtime.sees_workflow(&scope, workflow)? {
                    seen.insert(workflow);
                }
            }
            Ok(Some(seen))
        })
        .await
    }
}
