//! What may be asked of a run under way: to end, and to take a signal.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::Shared;
use crate::http::problem::Answer;
use crate::http::request::Call;
use crate::http::view::Run;
use crate::limits::REASON_BYTES_MAX;

/// Recorded when nobody says why.
const NO_REASON: &str = "asked over the API";

/// Why a run is cancelled.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the fields are read one by one")]
struct Cancel {
    /// For people; at most 1,024 bytes.
    reason: Option<String>,
}

/// What a signal carries.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the fields are read one by one")]
struct Signal {
    /// Any JSON; null unless given. At most 64 KiB.
    #[schema(value_type = Option<Value>)]
    data: Option<Value>,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(cancel)).routes(routes!(signal))
}

/// Asks a run to end
#[utoipa::path(post, path = "/api/chainbot/runs/{id}/cancel", tag = "runs",
    params(("id" = String, Path, description = "The run")),
    request_body(content = Cancel, example = json!({ "reason": "rain" })),
    responses(
        (status = 200, description = "The run as it stands; it ends at its next durable point", body = Run),
        (status = 404, description = "There is no such run"),
        (status = 409, description = "The run is over")))]
async fn cancel(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let reason = call.fields(&["reason"]).await?.text("reason", REASON_BYTES_MAX)?;
    let reason = reason.unwrap_or_else(|| NO_REASON.to_owned());
    let view = call.engine(&shared)?.cancel(call.run_id()?, &reason).await?;
    Ok(Json(Run::from(view)).into_response())
}

/// Hands a signal to a run
#[utoipa::path(post, path = "/api/chainbot/runs/{id}/signal/{name}", tag = "runs",
    params(
        ("id" = String, Path, description = "The run"),
        ("name" = String, Path, description = "The name that a `wait` step waits for"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat of this request harmless")),
    request_body(content = Signal, example = json!({ "data": { "by": "mia" } })),
    responses(
        (status = 200, description = "Taken, and durable; the run as it stands", body = Run),
        (status = 404, description = "There is no such run"),
        (status = 409, description = "The run is over"),
        (status = 422, description = "The data does not match what the step asks for")))]
async fn signal(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let key = call.idempotency_key()?;
    let data = call.fields(&["data"]).await?.any("data");
    let view = call.engine(&shared)?.signal(call.run_id()?, call.path("name")?, data, key.as_deref()).await?;
    Ok(Json(Run::from(view)).into_response())
}
