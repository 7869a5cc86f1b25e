//! Tools that start workflows: `run_<name>` for each workflow that an agent's definition names, and nothing else.
//!
//! Invariants: a call starts its run exactly once, because the run's key is the call's; what is started is what the agent's owner sees; a workflow
//! that starts an agent that starts a workflow comes to an end at the bound on depth. The result is the run's output, or its id when it is not
//! over in time.

use std::sync::{Arc, Weak};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::agent::tool::{ToolFamily, ToolFuture, ToolOutcome, ToolOwner, ToolRequest};
use crate::engine::inputs;
use crate::error::code::{agent as code, run as run_code};
use crate::limits;
use crate::model::{EffectClass, RunStatus, RunView, StepError, ToolSpec, Trigger, class};
use crate::port::{Idempotency, Role, Scope};

use super::core::Runtime;
use super::handle::Handle;
use super::supervise;
use super::supervise::supervise;

/// Names in one grant.
const NAMES_MAX: usize = 32;
/// How long a call waits for its run before it gives the id: half of the usual time of a task.
const WAIT: std::time::Duration = std::time::Duration::from_secs(120);

/// How long a call waits for the runtime: what a restart takes up may call before all has started.
const START: std::time::Duration = std::time::Duration::from_secs(30);

/// The family. It has its runtime as soon as that has started, and does not hold it.
pub struct WorkflowTools(watch::Sender<Option<Weak<Runtime>>>);

impl Default for WorkflowTools {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl WorkflowTools {
    /// From here on calls are carried out by this runtime.
    pub fn attach(&self, runtime: &Arc<Runtime>) {
        self.0.send_replace(Some(Arc::downgrade(runtime)));
    }

    async fn handle(&self, owner: &ToolOwner) -> Result<Handle, StepError> {
        let mut there = self.0.subscribe();
        let runtime = match tokio::time::timeout(START, there.wait_for(Option::is_some)).await {
            Ok(Ok(runtime)) => runtime.as_ref().and_then(Weak::upgrade),
            _ => None,
        };
        let runtime = runtime.ok_or_else(|| {
            StepError::new(
                class::CUT,
                &crate::error::code::general::STOPPING,
                "the engine has not started, or stops",
            )
        })?;
        // What an agent may use is what its owner's workflows may.
        let scope = Scope::Of { user: owner.owner, role: Role::Editor };
        Ok(Handle(runtime, scope))
    }

    async fn offered(&self, grant: &Value, owner: &ToolOwner) -> Result<Vec<ToolSpec>, StepError> {
        let handle = self.handle(owner).await?;
        let mut tools = Vec::new();
        for name in names(grant)? {
            let stored = handle
                .0
                .workflow_of(&handle.1, &name)
                .await
                .map_err(|error| StepError::from_error(class::INVALID, &error))?;
            let hash = stored.hash;
            let program = handle
                .0
                .read(move |runtime| runtime.programs.get(hash))
                .await
                .map_err(|error| StepError::from_error(class::INVALID, &error))?;
            let schema = program.inputs.as_ref().map(|inputs| inputs.schema.clone());
            tools.push(ToolSpec {
                name: format!("run_{name}"),
                family: "workflow".to_owned(),
                operation: name.clone(),
                description: program
                    .description
                    .clone()
                    .unwrap_or_else(|| format!("Runs the workflow `{name}` and gives its output.")),
                schema: schema.unwrap_or_else(
                    || json!({ "type": "object", "properties": {}, "additionalProperties": false }),
                ),
                // The key makes a repeat of the start harmless.
                class: EffectClass::Keyed,
                reads_private: true,
                is_untrusted: false,
                // Nobody knows what a workflow does, so it counts as acting.
                is_outward: true,
            });
        }
        if grant["supervise"] == true {
            tools.push(supervise::spec(&names(grant)?));
        }
        tools.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tools)
    }

    async fn run(&self, request: &ToolRequest) -> Result<ToolOutcome, StepError> {
        if request.owner.depth + 1 > limits::RUN_DEPTH_MAX {
            let why =
                format!("workflows and agents start one another more than {} deep", limits::RUN_DEPTH_MAX);
            return Err(StepError::new(class::LIMIT, &run_code::STEP_LIMIT, why));
        }
        let handle = self.handle(&request.owner).await?;
        if request.spec.name == "supervise" {
            let within = request.timeout.mul_f32(0.9);
            return supervise(&handle, &names(&request.grant)?, &request.arguments, within).await;
        }
        let run = match started(&handle, request).await {
            Ok(run) => run,
            // Its inputs, its state: the model may do something else.
            Err(error) => return Ok(ToolOutcome::error(format!("{}: {}", error.code().id, error.message()))),
        };
        let within = WAIT.min(request.timeout.mul_f32(0.9));
        let settled = tokio::time::timeout(within, handle.settled(run.id)).await;
        let view = match settled {
            Ok(view) => view,
            Err(_) => handle.run(run.id).await,
        };
        Ok(outcome(&view.map_err(|error| StepError::from_error(class::INVALID, &error))?))
    }
}

async fn started(handle: &Handle, request: &ToolRequest) -> crate::Result<RunView> {
    let runtime = &handle.0;
    let workflow = runtime.head_of(&handle.1, &request.spec.operation).await?;
    let key = Idempotency {
        by: handle.1.user(),
        key: format!("tool {}", request.key),
        digest: *blake3::hash(request.arguments.to_string().as_bytes()).as_bytes(),
        at: runtime.aged(runtime.env.now()),
    };
    let _guard = runtime.lock_key(&key.key).await;
    if let Some(made) = runtime.replayed(&key).await? {
        return handle.run(crate::id::RunId::from(made)).await;
    }
    runtime.check_room()?;
    let hash = workflow.hash;
    let program = runtime.read(move |runtime| runtime.programs.get(hash)).await?;
    let inputs = inputs::prepare(&program, request.arguments.clone())?;
    let trigger = Trigger::Parent { run: request.owner.run, depth: request.owner.depth + 1 };
    let (row, inputs) = runtime.insert_run_by(&workflow, program, inputs, trigger, Some(key)).await?;
    Ok(runtime.new_view(row, inputs))
}

fn outcome(view: &RunView) -> ToolOutcome {
    let value = match (view.status, &view.output, &view.error) {
        (RunStatus::Completed, output, _) => {
            json!({ "run_id": view.id, "status": "completed", "output": output })
        }
        (RunStatus::Failed, _, Some(error)) => {
            json!({ "run_id": view.id, "status": "failed", "error": format!("{}: {}", error.code, error.message) })
        }
        (status, _, _) => {
            json!({ "run_id": view.id, "status": status.as_str(), "waiting_for": view.waiting_for })
        }
    };
    ToolOutcome { is_error: view.status == RunStatus::Failed, ..ToolOutcome::good(value) }
}

/// The names in a grant: a list, or `{allow: [...]}`.
fn names(grant: &Value) -> Result<Vec<String>, StepError> {
    let wrong = |why: &str| {
        StepError::new(class::INVALID, &code::TOOL, format!("{why}; write `workflow: [name, name]`"))
    };
    let list = grant
        .as_array()
        .or_else(|| grant.get("allow")?.as_array())
        .ok_or_else(|| wrong("it is no list of workflows"))?;
    if list.len() > NAMES_MAX {
        return Err(wrong(&format!("it names more than {NAMES_MAX} workflows")));
    }
    list.iter()
        .map(|name| name.as_str().map(str::to_owned).ok_or_else(|| wrong("a workflow is named by text")))
        .collect()
}

impl ToolFamily for WorkflowTools {
    fn family(&self) -> &'static str {
        "workflow"
    }

    fn offers<'a>(&'a self, grant: &'a Value, owner: &'a ToolOwner) -> ToolFuture<'a, Vec<ToolSpec>> {
        Box::pin(self.offered(grant, owner))
    }

    fn call<'a>(&'a self, request: &'a ToolRequest) -> ToolFuture<'a, ToolOutcome> {
        Box::pin(self.run(request))
    }
}
