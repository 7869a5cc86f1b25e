//! What tools that act by an executor of steps have in common: the effect of a call, and a reply as the model sees it.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{ToolOutcome, ToolRequest};
use crate::model::StepError;
use crate::step::{Effect, EffectKind, Failure};

/// The effect of a call, as an `api_call` has it: any status is an answer, redirects are not followed.
pub(crate) fn effect(mut input: Map<String, Value>, request: &ToolRequest) -> Effect {
    input.insert("expect".to_owned(), json!({ "status": ["2xx", "3xx", "4xx", "5xx"] }));
    of_kind(EffectKind::ApiCall, Value::Object(input), request)
}

/// The effect of a call.
pub(crate) fn of_kind(kind: EffectKind, input: Value, request: &ToolRequest) -> Effect {
    Effect {
        kind,
        input: Arc::new(input),
        key: request.key,
        attempt: request.attempt,
        run: request.owner.run,
        owner: request.owner.owner,
        shared: None,
        timeout: Some(request.timeout),
    }
}

/// What an `api_call` gave, for the model: `{status, data}`, and when to come again where the server says so.
pub(crate) fn answered(outcome: Result<Value, Failure>) -> Result<ToolOutcome, StepError> {
    let mut output = outcome.map_err(|failure| failure.error)?;
    let status = output["status_code"].as_u64().unwrap_or_default();
    let mut value = json!({ "status": status, "data": output["data"].take() });
    for (header, name) in [("location", "location"), ("retry-after", "retry_after")] {
        if let Some(text) = output["headers"].get(header).and_then(Value::as_str) {
            value[name] = Value::from(text);
        }
    }
    Ok(ToolOutcome { value, is_error: !(200..300).contains(&status), is_tainted: true })
}
