//! The one tool of a `data_processor`: its task.

use std::sync::Arc;

use serde_json::{Value, json};

use super::compile::Pipeline;
use super::run::{Bounds, Task, run};
use crate::agent::tool::{ToolFamily, ToolFuture, ToolOutcome, ToolOwner, ToolRequest};
use crate::env::Env;
use crate::error::code::data as code;
use crate::expr::{Volatile, size_bytes};
use crate::limits::TOOL_RESULT_BYTES_MAX;
use crate::model::{EffectClass, StepError, ToolSpec, class};
use crate::step::Executors;

/// The family `data_processor`; its grant is the agent's configuration. Its tool `process` takes `{task, context}`; expressions see the
/// context as `input`, or the task where there is none and the task is an object.
pub struct DataTools {
    executors: Arc<Executors>,
    env: Env,
    held_bytes: usize,
}

fn compiled(config: &Value) -> Result<Pipeline, StepError> {
    Pipeline::compile(config).map_err(|problems| {
        let said: Vec<String> = problems
            .iter()
            .take(3)
            .map(|problem| match &problem.hint {
                Some(hint) => format!("{}: {}; {hint}", problem.path, problem.message),
                None => format!("{}: {}", problem.path, problem.message),
            })
            .collect();
        StepError::new(class::INVALID, &code::PIPELINE, said.join("; "))
    })
}

impl DataTools {
    /// Sources on the network are read through the executors. `held_bytes`: of rows that one task holds, at most.
    pub fn new(executors: Arc<Executors>, env: Env, held_bytes: usize) -> Self {
        Self { executors, env, held_bytes }
    }

    async fn carry_out(&self, request: &ToolRequest) -> Result<ToolOutcome, StepError> {
        let pipeline = Arc::new(compiled(&request.grant)?);
        let given = |key: &str| request.arguments.get(key).filter(|value| value.is_object());
        let task = Task {
            input: Arc::new(given("context").or_else(|| given("task")).cloned().unwrap_or_else(|| json!({}))),
            run: request.owner.run,
            owner: request.owner.owner,
            key: request.key,
            attempt: request.attempt,
            volatile: Volatile { now: self.env.now(), seed: self.env.bytes() },
            bounds: Bounds { held_bytes: self.held_bytes },
        };
        let value = run(pipeline, task, &self.executors).await.map_err(|failure| failure.error)?;
        let bytes = size_bytes(&value);
        if bytes > TOOL_RESULT_BYTES_MAX {
            // It would be cut behind this, and half a table is none.
            let message = format!(
                "the result has {bytes} bytes, and a task's may have {TOOL_RESULT_BYTES_MAX}; aggregate, select fewer columns, or `limit` the rows"
            );
            return Err(StepError::new(class::LIMIT, &code::BOUND, message));
        }
        Ok(ToolOutcome { value, is_error: false, is_tainted: true })
    }
}

impl ToolFamily for DataTools {
    fn family(&self) -> &'static str {
        "data_processor"
    }

    fn offers<'a>(&'a self, grant: &'a Value, _: &'a ToolOwner) -> ToolFuture<'a, Vec<ToolSpec>> {
        Box::pin(async move {
            compiled(grant)?;
            Ok(vec![ToolSpec {
                name: "process".to_owned(),
                family: "data_processor".to_owned(),
                operation: "process".to_owned(),
                description:
                    "Runs the agent's pipeline over the context, or over the task when it is an object."
                        .to_owned(),
                schema: json!({ "type": "object", "properties": { "task": {}, "context": { "type": ["object", "null"] } } }),
                // It looks at sources and changes nothing.
                class: EffectClass::ReadOnly,
                reads_private: true,
                is_untrusted: true,
                is_outward: false,
            }])
        })
    }

    fn call<'a>(&'a self, request: &'a ToolRequest) -> ToolFuture<'a, ToolOutcome> {
        Box::pin(self.carry_out(request))
    }
}
