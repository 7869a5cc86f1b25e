//! Tools that act outside, against tables of hostile arguments and a real server or chip.

mod gpio;
mod http;

use std::time::Duration;

use serde_json::Value;

use super::{ToolFamily, ToolOutcome, ToolOwner, ToolRequest};
use crate::id::{RunId, WorkflowId};
use crate::model::{EffectKey, StepError, ToolSpec};

fn owner() -> ToolOwner {
    ToolOwner {
        agent: WorkflowId::from([1; 16]),
        name: "butler".to_owned(),
        owner: None,
        run: RunId::from([2; 16]),
        depth: 0,
    }
}

async fn offered(family: &dyn ToolFamily, grant: &Value) -> Result<Vec<ToolSpec>, StepError> {
    family.offers(grant, &owner()).await
}

/// A call as the loop makes it, with a spec that was offered.
async fn call(
    family: &dyn ToolFamily,
    grant: &Value,
    tool: &str,
    arguments: Value,
) -> Result<ToolOutcome, StepError> {
    let specs = offered(family, grant).await.unwrap();
    let spec = specs.into_iter().find(|spec| spec.name == tool).unwrap_or_else(|| panic!("no tool {tool}"));
    let key = EffectKey([7; 16]);
    let timeout = Duration::from_secs(60);
    let request = ToolRequest {
        spec,
        arguments,
        grant: grant.clone(),
        key,
        attempt: 1,
        owner: owner(),
        is_tainted: false,
        timeout,
    };
    family.call(&request).await
}
