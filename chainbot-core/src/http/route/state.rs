//! A run as it stood at any of its records.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::Shared;
use crate::http::problem::Answer;
use crate::http::request::Call;
use crate::http::view::{Failed, Step};
use crate::runtime::StateView;

/// A run as it stood.
#[derive(Serialize, ToSchema)]
struct RunAt {
    /// The run.
    #[schema(format = "uuid")]
    run: String,
    /// The record after which it stood so.
    seq: u32,
    /// The run's newest record.
    last_seq: u32,
    /// When that record was decided.
    #[schema(format = "date-time")]
    at: String,
    /// As a run's status.
    status: &'static str,
    /// With defaults filled in.
    inputs: Value,
    /// Its variables then.
    variables: BTreeMap<String, Value>,
    /// The result, when it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Value>,
    /// Why it had failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failed>,
    /// What it waited for, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<String>,
    /// Steps that had a record, in order of their first one.
    steps: Vec<Step>,
}

impl From<StateView> for RunAt {
    fn from(view: StateView) -> Self {
        Self {
            run: view.run.to_string(),
            seq: view.seq,
            last_seq: view.last_seq,
            at: view.at.to_string(),
            status: view.status.as_str(),
            inputs: view.inputs,
            variables: view.variables,
            output: view.output,
            error: view.error.map(Failed::from),
            waiting_for: view.waiting_for,
            steps: view.steps.into_iter().map(Step::from).collect(),
        }
    }
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(state))
}

/// A run as it stood after one of its records: status, variables, steps
#[utoipa::path(get, path = "/api/chainbot/runs/{id}/state", tag = "runs",
    params(
        ("id" = String, Path, description = "The run"),
        ("at" = Option<u32>, Query, description = "A record's `seq`; the newest one unless said")),
    responses(
        (status = 200, description = "The run as it stood", body = RunAt),
        (status = 404, description = "There is no such run"),
        (status = 422, description = "The run has no such record")))]
async fn state(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["at"])?;
    let at = query.parsed("at", "a record's number within the run, from 0")?;
    let view = call.engine(&shared)?.state_at(call.run_id()?, at).await?;
    Ok(Json(RunAt::from(view)).into_response())
}
