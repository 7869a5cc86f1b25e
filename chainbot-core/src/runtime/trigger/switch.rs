//! Triggers as they are deployed, shown, switched on and off.
//!
//! A deploy keeps the rows of triggers that it does not change, so a schedule's next time survives an edit of the steps.
//! Switching on makes the next time from the clock: times in between were not wanted, so they were not missed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::engine::Program;
use crate::error::code::definition;
use crate::error::{Error, Result};
use crate::id::{RunId, UserId, WorkflowId};
use crate::model::TriggerSource;
use crate::port::{Action, Op, Scope, StoredTrigger, StoredWorkflow};
use crate::time::Timestamp;

use super::super::core::Runtime;
use super::super::handle::Handle;
use super::CURSOR;
use super::table::{Armed, Id};
use crate::runtime::{Deed, written_down};

/// A trigger as the API shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TriggerView {
    /// Names it among the triggers of its workflow, over all versions.
    pub key: String,
    /// The workflow's id.
    pub workflow_id: WorkflowId,
    /// The workflow's name.
    pub workflow_name: String,
    /// `cron`, `event`, `webhook`, `gpio` or `workflow`.
    pub kind: String,
    /// What it listens to, in words.
    pub listens_to: String,
    /// Whether it is switched on itself.
    pub enabled: bool,
    /// Whether it fires: it and its workflow are switched on.
    pub active: bool,
    /// Of a schedule that fires: the next time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_at: Option<Timestamp>,
    /// When it last started a run or let an occasion go.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_at: Option<Timestamp>,
    /// The run that it started last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_run: Option<RunId>,
    /// Why it started none the last time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
}

/// Whether triggers start a workflow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkflowSwitched {
    /// Its id.
    pub id: WorkflowId,
    /// Its name.
    pub name: String,
    /// `active` or `disabled`.
    pub status: String,
    /// Its triggers.
    pub triggers: Vec<TriggerView>,
}

impl Handle {
    /// The triggers of a workflow.
    pub async fn triggers(&self, reference: &str) -> Result<Vec<TriggerView>> {
        let stored = self.0.workflow_of(&self.1, reference).await?;
        let table = self.0.triggers.table.lock();
        Ok(table.of(stored.id).map(|armed| view(armed, table.is_on(stored.id))).collect())
    }

    /// The triggers of all workflows: the next times first, then the others by workflow.
    pub async fn schedules(&self) -> Result<Vec<TriggerView>> {
        let theirs = self.0.seen_workflows(&self.1).await?;
        let table = self.0.triggers.table.lock();
        let of = |armed: &&Armed| theirs.as_ref().is_none_or(|ids| ids.contains(&armed.id.workflow));
        let mut all: Vec<TriggerView> =
            table.all.values().filter(of).map(|armed| view(armed, table.is_on(armed.id.workflow))).collect();
        all.sort_by(|a, b| {
            let key = |view: &TriggerView| (view.next_at.is_none(), view.next_at, view.workflow_name.clone());
            key(a).cmp(&key(b))
        });
        Ok(all)
    }

    /// Lets triggers start a workflow, or not. A person and other workflows' steps can start it all the same.
    pub async fn switch_workflow(&self, reference: &str, on: bool) -> Result<WorkflowSwitched> {
        self.0.check_open()?;
        let _changes = self.0.workflows.lock().await;
        let stored = self.to_change(reference).await?;
        if self.0.is_switched_on(stored.id) != on {
            let now = self.0.env.now();
            let mut armed: Vec<Armed> = self.0.triggers.table.lock().of(stored.id).cloned().collect();
            armed.iter_mut().for_each(|armed| armed.due = armed.next(now, on));
            let mut ops = vec![Op::WorkflowSwitch { id: stored.id, on, at: now }];
            ops.extend(armed.iter().map(put));
            let action = if on { Action::WorkflowEnable } else { Action::WorkflowDisable };
            let deed =
                Deed::new(action, "workflow", stored.id).with(serde_json::json!({ "name": stored.name }));
            ops.extend(written_down(now, deed));
            self.0.write(ops).await?;
            {
                let mut table = self.0.triggers.table.lock();
                if on {
                    table.disabled.remove(&stored.id)
                } else {
                    table.disabled.insert(stored.id)
                };
                table.replace(stored.id, armed);
            }
            self.0.triggers.wake();
            self.0.tell_switched(&stored, on, None);
        }
        Ok(WorkflowSwitched {
            id: stored.id,
            name: stored.name,
            status: if on { "active" } else { "disabled" }.to_owned(),
            triggers: self.triggers(&stored.id.to_string()).await?,
        })
    }

    /// Switches one trigger.
    pub async fn switch_trigger(&self, reference: &str, key: &str, on: bool) -> Result<TriggerView> {
        self.0.check_open()?;
        let _changes = self.0.workflows.lock().await;
        let stored = self.to_change(reference).await?;
        let id = Id { workflow: stored.id, key: key.to_owned() };
        let (armed, is_on) = {
            let table = self.0.triggers.table.lock();
            (table.all.get(&id).cloned(), table.is_on(stored.id))
        };
        let Some(mut armed) = armed else {
            let message = format!("the workflow `{}` has no trigger `{key}`", stored.name);
            return Err(Error::new(&definition::NO_TRIGGER, message)
                .help(format!("GET /api/chainbot/workflows/{}/triggers lists them", stored.name)));
        };
        if armed.enabled != on {
            armed.enabled = on;
            let now = self.0.env.now();
            armed.due = armed.next(now, is_on);
            let action = if on { Action::TriggerEnable } else { Action::TriggerDisable };
            let deed = Deed::new(action, "workflow", stored.id)
                .with(serde_json::json!({ "name": stored.name, "trigger": key }));
            let ops = [Some(put(&armed)), written_down(now, deed)];
            self.0.write(ops.into_iter().flatten().collect()).await?;
            self.0.triggers.table.lock().all.insert(id, armed.clone());
            self.0.triggers.wake();
            self.0.tell_switched(&stored, on, Some(key));
        }
        Ok(view(&armed, is_on))
    }
}

impl Runtime {
    /// What a deploy of this version changes in the rows of its triggers, and the triggers as they are then.
    pub(in crate::runtime) fn trigger_changes(
        &self,
        scope: &Scope,
        owner: Option<UserId>,
        workflow: WorkflowId,
        program: &Arc<Program>,
    ) -> Result<(Vec<Op>, Vec<Armed>)> {
        let now = self.env.now();
        let table = self.triggers.table.lock();
        let (mut ops, mut all) = (Vec::new(), Vec::new());
        for trigger in &program.triggers {
            if let TriggerSource::Webhook { name, secret } = &trigger.source {
                if let Some(other) = table.hook(name).filter(|other| other.id.workflow != workflow) {
                    // Whose it is says something only to those who see everything.
                    let message = match scope.is_whole() {
                        true => format!("the webhook `{name}` belongs to the workflow `{}`", other.name),
                        false => format!("the name of the webhook `{name}` is taken"),
                    };
                    return Err(Error::new(&definition::HOOK_EXISTS, message).help("choose another name"));
                }
                if let Some(secret) = secret {
                    super::hook::check_key(&*self.triggers.keys, owner, secret)?;
                }
            }
            if let TriggerSource::Gpio { pin, .. } = &trigger.source {
                // A trigger that could never fire would be taken for one that works.
                self.check_pin(pin)?;
            }
            let mut armed = Armed::new(workflow, program, trigger, None);
            match table.all.get(&armed.id) {
                Some(old) => {
                    (armed.enabled, armed.due) = (old.enabled, old.due);
                    (armed.fired_at, armed.run, armed.note) = (old.fired_at, old.run, old.note.clone());
                }
                None => {
                    armed.due = armed.next(now, table.is_on(workflow));
                    ops.push(put(&armed));
                }
            }
            all.push(armed);
        }
        let gone = table.of(workflow).filter(|old| !all.iter().any(|armed| armed.id == old.id));
        ops.extend(gone.map(drop_of));
        let is_first = !table.listens() && all.iter().any(listens);
        drop(table);
        if is_first {
            // Events before there was a listener are nobody's.
            ops.push(Op::CursorSet { name: CURSOR, lsn: self.store.newest_lsn()? });
        }
        Ok((ops, all))
    }

    /// What the end of a workflow changes.
    pub(in crate::runtime) fn trigger_drops(&self, workflow: WorkflowId) -> Vec<Op> {
        self.triggers.table.lock().of(workflow).map(drop_of).collect()
    }

    /// A deploy is on disk: its triggers count from here on.
    pub(in crate::runtime) fn arm(self: &Arc<Self>, workflow: WorkflowId, armed: Vec<Armed>) {
        if armed.is_empty() && self.triggers.table.lock().of(workflow).next().is_none() {
            return;
        }
        {
            let mut table = self.triggers.table.lock();
            table.replace(workflow, armed);
            self.triggers.listens.store(table.listens(), Ordering::SeqCst);
        }
        self.subscribe_patterns();
        self.watch_pins();
        self.triggers.wake();
    }

    /// Takes up the rows at start. A row whose trigger its workflow does not have is left alone: it does nothing.
    pub(in crate::runtime) fn load_triggers(
        self: &Arc<Self>,
        rows: Vec<StoredTrigger>,
        disabled: Vec<WorkflowId>,
        restored_at: Option<crate::time::Timestamp>,
    ) -> Result<()> {
        let mut by_workflow: HashMap<WorkflowId, Vec<StoredTrigger>> = HashMap::new();
        for row in rows {
            by_workflow.entry(row.workflow).or_default().push(row);
        }
        let mut table = self.triggers.table.lock();
        table.disabled.extend(disabled);
        table.restored_at = restored_at;
        for (workflow, rows) in by_workflow {
            let Some(stored) =
                self.store.workflow(&Scope::All, workflow)?.filter(|stored| stored.deleted_at.is_none())
            else {
                continue;
            };
            // One definition that cannot be read any more is no reason for the others not to start.
            let program = match self.programs.get(stored.hash) {
                Ok(program) => program,
                Err(error) => {
                    log::error!("the triggers of `{}` are off: {error}", stored.name);
                    continue;
                }
            };
            for row in rows {
                if let Some(trigger) = program.triggers.iter().find(|trigger| trigger.key == row.key) {
                    let armed = Armed::new(workflow, &program, trigger, Some(row));
                    table.all.insert(armed.id.clone(), armed);
                }
            }
        }
        table.index();
        self.triggers.listens.store(table.listens(), Ordering::SeqCst);
        drop(table);
        self.subscribe_patterns();
        self.watch_pins();
        Ok(())
    }

    /// Whether triggers start the workflow.
    pub(in crate::runtime) fn is_switched_on(&self, workflow: WorkflowId) -> bool {
        self.triggers.table.lock().is_on(workflow)
    }

    /// Asks the host for what triggers ask for, once each.
    fn subscribe_patterns(&self) {
        let Some(outbox) = &self.outbox else { return };
        let patterns = self.triggers.table.lock().patterns();
        for pattern in patterns {
            // Our own are read from the journal.
            if pattern.starts_with("chainbot.") || !self.triggers.subscribed.lock().insert(pattern.clone()) {
                continue;
            }
            if let Err(error) = outbox.subscribe(&pattern) {
                log::error!("the host does not give the events of `{pattern}`: {error}");
                self.triggers.subscribed.lock().remove(&pattern);
            }
        }
    }

    fn tell_switched(&self, stored: &StoredWorkflow, on: bool, trigger: Option<&str>) {
        let word = if on { "enabled" } else { "disabled" };
        log::info!("workflow `{}`: {} {word}", stored.name, trigger.unwrap_or("its triggers are"));
        let mut data = json!({
            "module_id": "chainbot", "workflow_id": stored.id, "workflow_name": stored.name, "status": word,
        });
        if let Some(trigger) = trigger {
            data["trigger"] = trigger.into();
        }
        self.tell(&format!("chainbot.workflow.{word}"), &data);
    }
}

fn put(armed: &Armed) -> Op {
    Op::TriggerPut {
        workflow: armed.id.workflow,
        key: armed.id.key.clone(),
        enabled: armed.enabled,
        due: armed.due,
    }
}

fn drop_of(armed: &Armed) -> Op {
    Op::TriggerDrop { workflow: armed.id.workflow, key: armed.id.key.clone() }
}

fn listens(armed: &Armed) -> bool {
    matches!(armed.trigger.source, TriggerSource::Event { .. } | TriggerSource::Workflow { .. })
}

fn view(armed: &Armed, is_on: bool) -> TriggerView {
    TriggerView {
        key: armed.id.key.clone(),
        workflow_id: armed.id.workflow,
        workflow_name: armed.name.clone(),
        kind: armed.trigger.source.kind().to_owned(),
        listens_to: armed.trigger.source.describe(),
        enabled: armed.enabled,
        active: armed.enabled && is_on,
        next_at: armed.due,
        last_at: armed.fired_at,
        last_run: armed.run,
        note: armed.note.clone(),
    }
}
