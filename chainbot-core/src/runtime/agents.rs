//! Agents as the handle offers them. An agent is a workflow with one step and a row of its own beside; a task is a run of it.
//!
//! Invariants: names are unique among agents; a terminated agent takes no task, ever; a task keeps the definition that it began with. How an agent
//! stands (idle, working, waiting) is not stored: it is that of its runs.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::engine::decide::NewChild;
use crate::engine::{agent_in, agent_source, inputs};
use crate::error::code::{agent as code, general};
use crate::error::{Error, Result};
use crate::id::{RunId, UserId, WorkflowId};
use crate::limits;
use crate::model::{AGENT_TOOL, Json, RunStatus, RunView};
use crate::port::{
    AGENT_PREFIX, Action, AgentFilter, AgentOp, AgentState, Op, Page, Role, RunFilter, Scope, StoredAgent,
    UsageRow,
};
use crate::task::{AgentSpec, TaskInput};
use crate::time::Timestamp;

use super::core::Runtime;
use super::handle::{Handle, NewRun, RunSummary, StartedRun};
use super::heads::Head;
use super::who::{Deed, written_down};

/// An agent as the API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct AgentView {
    /// Its id.
    pub id: WorkflowId,
    /// Its name.
    pub name: String,
    /// `assistant`, `data_processor`, `api` or `workflow`.
    #[serde(rename = "type")]
    pub kind: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `idle`, `working`, `waiting`, `error` or `terminated`.
    pub status: String,
    /// Why it is in error, or terminated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of the current definition, from 1.
    pub version: u32,
    /// blake3 of the definition, in hex. The ETag.
    pub hash: String,
    /// As it was given.
    pub definition: Value,
    /// Tasks that ended well.
    pub tasks_completed: u64,
    /// Tasks that failed.
    pub tasks_failed: u64,
    /// Tasks at work or waiting.
    pub tasks_active: usize,
    /// When it was made.
    pub created_at: Timestamp,
    /// When something of it last changed.
    pub last_activity: Timestamp,
    /// Whose it is; `None` is the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserId>,
    /// The least role that sees and uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<Role>,
}

/// A task to begin.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// Which agent: id or name.
    pub agent: String,
    /// What is to be done.
    pub input: TaskInput,
    /// The `Idempotency-Key`, when one came.
    pub idempotency_key: Option<String>,
}

/// What agents used of models.
#[derive(Clone, Debug, Serialize)]
pub struct UsageView {
    /// The day, of UTC.
    pub day: String,
    /// Which agent.
    pub agent_id: WorkflowId,
    /// Which server.
    pub provider: String,
    /// Which model.
    pub model: String,
    /// Calls.
    pub calls: u64,
    /// Tokens of prompts, cached ones included.
    pub input_tokens: u64,
    /// Of those, cached ones.
    pub cached_tokens: u64,
    /// Tokens of replies.
    pub output_tokens: u64,
    /// In the currency of the prices.
    pub cost: f64,
}

impl Handle {
    /// Makes an agent of a definition. CB-1220 when it is wrong, CB-1222 when the name is taken, CB-1224 when there are too many.
    pub async fn create_agent(&self, definition: Value) -> Result<AgentView> {
        let made = self.make_agent(definition).await;
        if made.is_err() {
            self.0.meters.agent_spawns_failed.one();
        }
        made
    }

    async fn make_agent(&self, definition: Value) -> Result<AgentView> {
        self.0.check_open()?;
        let spec = AgentSpec::read(definition.clone())?;
        let source = agent_source(&definition);
        let name = format!("{AGENT_PREFIX}{}", spec.name);
        let kind = spec.kind.as_str();
        let _changes = self.0.workflows.lock().await;
        self.check_agent_room(&name, kind).await?;
        self.0.check_tool_name(&format!("{AGENT_TOOL}{}", spec.name), &spec.publish.mcp).await?;
        let (id, at) = (self.0.env.workflow_id(), self.0.env.now());
        let possession = self.1.makes();
        self.check_tools(&spec, id, possession.owner).await?;
        let mut ops = vec![
            Op::WorkflowInsert { id, name, source, at, possession, idempotency: None },
            Op::Agent(Box::new(AgentOp::Put { id, kind: kind.to_owned(), at })),
        ];
        let deed =
            Deed::new(Action::AgentCreate, "agent", id).with(json!({ "name": spec.name, "type": kind }));
        ops.extend(written_down(at, deed));
        self.0.write(ops).await?;
        let view = self.agent(&id.to_string()).await?;
        self.tell("spawned", &view);
        Ok(view)
    }

    /// What an agent is granted must be there when it is made: at its first task nobody looks.
    async fn check_tools(&self, spec: &AgentSpec, id: WorkflowId, owner: Option<UserId>) -> Result<()> {
        self.0.executors.check_agent(spec, id, owner).await.map_err(|error| {
            Error::new(&code::TOOL, format!("{}: {}", error.code, error.message))
                .help("GET /api/chainbot/agents/types and docs/agents/tools.md say what there is; nothing was changed")
        })
    }

    /// Tells the host's bus what became of an agent.
    fn tell(&self, word: &str, view: &AgentView) {
        let Some(outbox) = &self.0.outbox else { return };
        let at = self.0.env.now();
        let data = json!({
            "module_id": "chainbot", "agent_id": view.id, "agent_name": view.name, "agent_type": view.kind,
            "status": view.status, "reason": view.reason, "user_id": view.owner, "shared": view.shared, "timestamp": at,
        });
        outbox.tell(&format!("chainbot.agent.{word}"), &format!("{}-{}-{word}", view.id, at.0), at, &data);
    }

    async fn check_agent_room(&self, name: &str, kind: &str) -> Result<()> {
        let rules = self.0.defaults.read().agents.clone();
        let (wanted, all) =
            (name.to_owned(), AgentFilter { limit: limits::PAGE_MAX, ..AgentFilter::default() });
        let (named, page) = self
            .0
            .read(move |runtime| {
                let named = runtime.store.workflow_named(&Scope::All, &wanted)?;
                Ok((named, runtime.store.agents(&Scope::All, &all)?))
            })
            .await?;
        if let Some(other) = named {
            let short = name.trim_start_matches(AGENT_PREFIX);
            return Err(match self.1.sees(&other.possession) {
                true => Error::new(&code::EXISTS, format!("an agent `{short}` exists ({})", other.id))
                    .help("PATCH it, or choose another name"),
                false => Error::new(&code::EXISTS, format!("the name `{short}` is taken"))
                    .help("choose another name"),
            });
        }
        let live = |stored: &&StoredAgent| stored.state != AgentState::Terminated;
        let count = page.items.iter().filter(live).count();
        let of_kind = page.items.iter().filter(live).filter(|stored| stored.kind == kind).count();
        let max = rules.max_agents.min(limits::PAGE_MAX as usize);
        let max_of_kind = rules.max_of(kind);
        let full = if count >= max {
            Some(("agent_management.max_agents".to_owned(), max))
        } else if of_kind >= max_of_kind {
            Some((format!("agent_management.agent_types.{kind}.max_instances"), max_of_kind))
        } else {
            None
        };
        match full {
            None => Ok(()),
            Some((key, max)) => {
                Err(Error::new(&code::LIMIT, format!("there are {max} already, as many as `{key}` lets be"))
                    .help("delete or terminate one, or raise the limit"))
            }
        }
    }

    /// By id or name.
    pub async fn agent(&self, reference: &str) -> Result<AgentView> {
        let stored = self.0.agent_of(&self.1, reference).await?;
        self.agent_view(stored).await
    }

    /// By name, after a name; `limit` ≤ 200.
    pub async fn agents(&self, after: Option<&str>, limit: u32) -> Result<Page<AgentView>> {
        let filter = AgentFilter {
            id: None,
            after: after.map(|name| format!("{AGENT_PREFIX}{name}")),
            limit: limit.clamp(1, limits::PAGE_MAX),
        };
        let scope = self.1;
        let page = self.0.read(move |runtime| runtime.store.agents(&scope, &filter)).await?;
        let mut items = Vec::with_capacity(page.items.len());
        for stored in page.items {
            items.push(self.agent_view(stored).await?);
        }
        Ok(Page { items, total: page.total, more: page.more })
    }

    /// Another definition from here on; tasks under way keep theirs. `if_match`: the hash that must be current.
    pub async fn update_agent(
        &self,
        reference: &str,
        definition: Value,
        if_match: Option<&str>,
    ) -> Result<AgentView> {
        self.0.check_open()?;
        let spec = AgentSpec::read(definition.clone())?;
        let source = agent_source(&definition);
        let _changes = self.0.workflows.lock().await;
        let stored = self.agent_to_change(reference).await?;
        if if_match.is_some_and(|tag| tag != "*" && tag != stored.workflow.hash.to_string()) {
            return Err(Error::new(&general::PRECONDITION, "the agent has changed since it was read")
                .help("read it again and repeat the change on top of it"));
        }
        if format!("{AGENT_PREFIX}{}", spec.name) != stored.workflow.name || spec.kind.as_str() != stored.kind
        {
            return Err(Error::new(&code::INVALID, "an agent's name and type stay as they are")
                .help("make another agent"));
        }
        self.0.check_tool_name(&format!("{AGENT_TOOL}{}", spec.name), &spec.publish.mcp).await?;
        self.check_tools(&spec, stored.workflow.id, stored.workflow.possession.owner).await?;
        let at = self.0.env.now();
        let mut ops = vec![Op::WorkflowVersion {
            id: stored.workflow.id,
            name: stored.workflow.name.clone(),
            source,
            at,
        }];
        if stored.state == AgentState::Error {
            ops.push(self.state_op(stored.workflow.id, AgentState::Live, None));
        }
        let deed =
            Deed::new(Action::AgentUpdate, "agent", stored.workflow.id).with(json!({ "name": spec.name }));
        ops.extend(written_down(at, deed));
        self.0.write(ops).await?;
        self.agent(&stored.workflow.id.to_string()).await
    }

    /// Out of error, or terminated for good: then its tasks are cancelled.
    pub async fn set_agent_state(
        &self,
        reference: &str,
        state: AgentState,
        reason: Option<String>,
    ) -> Result<AgentView> {
        self.0.check_open()?;
        let _changes = self.0.workflows.lock().await;
        let stored = self.agent_to_change(reference).await?;
        if stored.state == AgentState::Terminated && state != AgentState::Terminated {
            return Err(Error::new(&code::TERMINATED, "a terminated agent does not come back")
                .help("make another one"));
        }
        let (id, at) = (stored.workflow.id, self.0.env.now());
        let mut ops = vec![self.state_op(id, state, reason)];
        let word = if state == AgentState::Terminated { "terminated" } else { "idle" };
        let deed = Deed::new(Action::AgentState, "agent", id).with(json!({ "status": word }));
        ops.extend(written_down(at, deed));
        self.0.write(ops).await?;
        if state == AgentState::Terminated {
            self.cancel_tasks(id, "its agent was terminated").await?;
        }
        let view = self.agent(&id.to_string()).await?;
        if state == AgentState::Terminated {
            self.tell("terminated", &view);
        }
        Ok(view)
    }

    /// Terminates the agents that had no task for so long and are not `persistent`; their names.
    pub async fn reap_agents(&self, idle: std::time::Duration) -> Result<Vec<String>> {
        let before = self.0.env.now().0.saturating_sub(i64::try_from(idle.as_millis()).unwrap_or(i64::MAX));
        let (mut after, mut reaped) = (None, Vec::new());
        loop {
            let page = self.agents(after.as_deref(), limits::PAGE_MAX).await?;
            after = page.items.last().map(|view| view.name.clone());
            let is_idle = |view: &AgentView| {
                view.status == "idle"
                    && view.last_activity.0 < before
                    && view.definition["persistent"] != true
            };
            for view in page.items.into_iter().filter(is_idle) {
                let reason = format!("it was idle for {} s", idle.as_secs());
                self.set_agent_state(&view.id.to_string(), AgentState::Terminated, Some(reason)).await?;
                reaped.push(view.name);
            }
            if !page.more {
                return Ok(reaped);
            }
        }
    }

    fn state_op(&self, id: WorkflowId, state: AgentState, reason: Option<String>) -> Op {
        Op::Agent(Box::new(AgentOp::State { id, state, reason, at: self.0.env.now() }))
    }

    async fn cancel_tasks(&self, id: WorkflowId, why: &str) -> Result<()> {
        let mut before = None;
        loop {
            let page = self.tasks_of(id, before, limits::PAGE_MAX).await?;
            before = page.items.last().map(|run| run.id);
            for run in page.items.into_iter().filter(|run| !run.status.is_terminal()) {
                self.cancel(run.id, why).await?;
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Deletes it and cancels its tasks; their history stays until retention takes it.
    pub async fn delete_agent(&self, reference: &str) -> Result<()> {
        self.0.check_open()?;
        let _changes = self.0.workflows.lock().await;
        let stored = self.agent_to_change(reference).await?;
        let (id, at) = (stored.workflow.id, self.0.env.now());
        let mut view = self.agent_view(stored).await?;
        let mut ops = vec![
            self.state_op(id, AgentState::Terminated, Some("deleted".to_owned())),
            Op::WorkflowDelete { id, at },
        ];
        ops.extend(written_down(at, Deed::new(Action::AgentDelete, "agent", id)));
        self.0.write(ops).await?;
        self.cancel_tasks(id, "its agent was deleted").await?;
        (view.status, view.reason) = ("terminated".to_owned(), Some("deleted".to_owned()));
        self.tell("terminated", &view);
        Ok(())
    }

    async fn agent_to_change(&self, reference: &str) -> Result<StoredAgent> {
        let stored = self.0.agent_of(&self.1, reference).await?;
        match self.1.may_change(&stored.workflow.possession) {
            true => Ok(stored),
            false => Err(Error::new(&crate::error::code::account::FORBIDDEN, "the agent is somebody else's")
                .help("ask its owner, or an admin")),
        }
    }

    /// Begins a task; durable when this returns.
    pub async fn start_task(&self, new: NewTask) -> Result<StartedRun> {
        self.0.check_open()?;
        let stored = self.0.agent_of(&self.1, &new.agent).await?;
        check_state(&stored)?;
        if let Some(thread) = &new.input.thread {
            self.check_thread(thread, stored.workflow.id).await?;
        }
        let inputs = serde_json::to_value(&new.input)
            .map_err(|error| Error::new(&code::TASK, "the task is no JSON").because(error))?;
        let workflow = stored.workflow;
        let head = Head {
            id: workflow.id,
            name: workflow.name,
            hash: workflow.hash,
            possession: workflow.possession,
        };
        let run = NewRun { workflow: String::new(), inputs, idempotency_key: new.idempotency_key };
        self.begin_run(Arc::new(head), run).await
    }

    /// How many agents there may be.
    pub fn agent_rules(&self) -> crate::engine::decide::AgentRules {
        self.0.defaults.read().agents.clone()
    }

    /// A run as soon as it is over, or waits for a person, a time or an event. Ends with the runtime.
    pub async fn settled(&self, run: RunId) -> Result<RunView> {
        let mut events = self.subscribe(None).await?;
        loop {
            let view = self.run(run).await?;
            if self.is_settled(&view).await? {
                return Ok(view);
            }
            loop {
                match events.next().await {
                    Some(Ok(event)) if event.run == run => break,
                    Some(Ok(_)) => {}
                    // What was missed is seen by looking.
                    Some(Err(_)) => {
                        events = self.subscribe(None).await?;
                        break;
                    }
                    None => {
                        return Err(
                            Error::new(&general::STOPPING, "ChainBot stops").help("look at the run later")
                        );
                    }
                }
            }
        }
    }

    /// Whether a run is over, or waits for a person.
    pub async fn is_settled(&self, view: &RunView) -> Result<bool> {
        Ok(match view.status {
            RunStatus::Paused => true,
            // For a moment, for another try, or for a run that it began: that ends by itself.
            RunStatus::Waiting => self.inbox().await?.iter().any(|question| question.run == view.id),
            status => status.is_terminal(),
        })
    }

    /// Its tasks, the newest first.
    pub async fn tasks(
        &self,
        reference: &str,
        before: Option<RunId>,
        limit: u32,
    ) -> Result<Page<RunSummary>> {
        let stored = self.0.agent_of(&self.1, reference).await?;
        self.tasks_of(stored.workflow.id, before, limit).await
    }

    async fn tasks_of(&self, id: WorkflowId, before: Option<RunId>, limit: u32) -> Result<Page<RunSummary>> {
        let filter = RunFilter {
            workflow: Some(id),
            past: before,
            limit: limit.clamp(1, limits::PAGE_MAX),
            ..RunFilter::default()
        };
        let scope = self.1;
        let page = self.0.read(move |runtime| runtime.store.runs(&scope, &filter)).await?;
        let items = page.items.into_iter().map(|row| self.summary(row)).collect();
        Ok(Page { items, total: page.total, more: page.more })
    }

    /// What agents, or one of them, used of models within so many days.
    pub async fn usage(&self, reference: Option<&str>, days: u32) -> Result<Vec<UsageView>> {
        let agent = match reference {
            Some(reference) => Some(self.0.agent_of(&self.1, reference).await?.workflow.id),
            None => None,
        };
        let since = crate::port::day_of(self.0.env.now()).saturating_sub(days.saturating_sub(1));
        let scope = self.1;
        let rows =
            self.0.read(move |runtime| runtime.store.usage(&scope, agent, since, limits::PAGE_MAX)).await?;
        Ok(rows.into_iter().map(usage_view).collect())
    }

    async fn agent_view(&self, stored: StoredAgent) -> Result<AgentView> {
        let StoredAgent { workflow, kind, state, reason, done, failed, last_at, .. } = stored;
        let open = RunFilter {
            workflow: Some(workflow.id),
            statuses: vec![RunStatus::Pending, RunStatus::Waiting, RunStatus::Paused],
            limit: limits::PAGE_MAX,
            ..RunFilter::default()
        };
        let runs = self.0.read(move |runtime| runtime.store.runs(&Scope::All, &open)).await?;
        let runs: Vec<RunSummary> = runs.items.into_iter().map(|row| self.summary(row)).collect();
        let works = runs.iter().any(|run| matches!(run.status, RunStatus::Running | RunStatus::Pending));
        let status = match state {
            AgentState::Terminated => "terminated",
            AgentState::Error => "error",
            AgentState::Live if works => "working",
            AgentState::Live if !runs.is_empty() => "waiting",
            AgentState::Live => "idle",
        };
        let spec = agent_in(&workflow.source).transpose()?;
        let definition =
            workflow.source.find(':').and_then(|at| workflow.source.get(at + 1..workflow.source.len() - 1));
        Ok(AgentView {
            id: workflow.id,
            name: workflow.name.trim_start_matches(AGENT_PREFIX).to_owned(),
            kind,
            description: spec.and_then(|spec| spec.description),
            status: status.to_owned(),
            reason: reason.filter(|_| state != AgentState::Live),
            version: workflow.version,
            hash: workflow.hash.to_string(),
            definition: definition.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null),
            tasks_completed: done,
            tasks_failed: failed,
            tasks_active: runs.len(),
            created_at: workflow.created_at,
            last_activity: last_at,
            owner: workflow.possession.owner,
            shared: workflow.possession.shared,
        })
    }
}

/// The agent whose task has failed with these changes.
pub(super) fn failed_in(ops: &[Op]) -> Option<WorkflowId> {
    ops.iter().find_map(|op| match op {
        Op::Agent(op) => match &**op {
            AgentOp::Ended { id, failure: Some(_), .. } => Some(*id),
            _ => None,
        },
        _ => None,
    })
}

impl Runtime {
    /// Once that is on disk: whoever listens is told of an agent that takes no more tasks. Each failed task of one in error tells it again.
    pub(super) fn look_at_agent(self: &Arc<Self>, id: WorkflowId) {
        let handle = Handle(self.clone(), Scope::All);
        self.tokio.spawn(async move {
            match handle.agent(&id.to_string()).await {
                Ok(view) if view.status == "error" => handle.tell("error", &view),
                Ok(_) => {}
                Err(error) => log::warn!("whether agent {id} is in error cannot be read: {error}"),
            }
        });
    }

    /// The agent that text names: an id, else a name.
    pub(super) async fn agent_of(self: &Arc<Self>, scope: &Scope, reference: &str) -> Result<StoredAgent> {
        let (scope, reference) = (*scope, reference.to_owned());
        self.read(move |runtime| runtime.find_agent(&scope, &reference)).await
    }

    fn find_agent(&self, scope: &Scope, reference: &str) -> Result<StoredAgent> {
        let missing = || {
            Error::new(&code::NOT_FOUND, format!("there is no agent `{reference}`"))
                .help("GET /api/chainbot/agents lists them")
        };
        let id = match reference.parse::<WorkflowId>() {
            Ok(id) => id,
            Err(_) => {
                let name = format!("{AGENT_PREFIX}{reference}");
                self.store.workflow_named(scope, &name)?.ok_or_else(missing)?.id
            }
        };
        let filter = AgentFilter { id: Some(id), after: None, limit: 1 };
        self.store.agents(scope, &filter)?.items.pop().ok_or_else(missing)
    }

    /// The child that an `agent_task` step starts.
    pub(super) fn task_of(&self, scope: &Scope, agent: &str, given: &Json) -> Result<NewChild> {
        let stored = self.find_agent(scope, agent)?;
        check_state(&stored)?;
        TaskInput::read(given).map_err(|why| Error::new(&code::TASK, why))?;
        let program = self.programs.get(stored.workflow.hash)?;
        let inputs = inputs::prepare(&program, (**given).clone())?;
        Ok(NewChild {
            run: self.env.run_id(),
            workflow: stored.workflow.id,
            name: stored.workflow.name,
            definition: stored.workflow.hash,
            inputs: Json::new(inputs),
        })
    }
}

fn check_state(stored: &StoredAgent) -> Result<()> {
    let name = stored.workflow.name.trim_start_matches(AGENT_PREFIX);
    let why = stored.reason.as_deref().unwrap_or("no reason was given");
    match stored.state {
        AgentState::Live => Ok(()),
        AgentState::Error => Err(Error::new(&code::TERMINATED, format!("agent `{name}` is in error: {why}"))
            .help("mend what is wrong, then PATCH it with {\"status\": \"idle\"}")),
        AgentState::Terminated => {
            Err(Error::new(&code::TERMINATED, format!("agent `{name}` was terminated: {why}"))
                .help("make another one"))
        }
    }
}

fn usage_view(row: UsageRow) -> UsageView {
    let at = Timestamp(i64::from(row.day) * 86_400_000).to_string();
    UsageView {
        day: at.chars().take(10).collect(),
        agent_id: row.agent,
        provider: row.provider,
        model: row.model,
        calls: row.calls,
        input_tokens: row.input,
        cached_tokens: row.cached,
        output_tokens: row.output,
        cost: row.cost as f64 / 1e6,
    }
}
