//! What this module is, and the API's own description.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::Shared;
use crate::http::problem::Answer;
use crate::http::view::Numbers;

/// What this module is.
#[derive(Serialize, ToSchema)]
struct Info {
    /// What hosts read about the module.
    #[schema(value_type = Object)]
    manifest: serde_json::Value,
    /// Version of the module.
    version: &'static str,
    /// When it started.
    #[schema(format = "date-time")]
    started_at: String,
    /// Since the start, in seconds.
    uptime_s: u64,
    /// The address of the module's own port, when it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// Runs and effects.
    counts: Numbers,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(info)).routes(routes!(openapi)).routes(routes!(workflow_schema))
}

/// Manifest, version, uptime and counts
#[utoipa::path(get, path = "/api/chainbot/info", tag = "health",
    responses((status = 200, description = "What this module is", body = Info)))]
async fn info(State(shared): State<Arc<Shared>>) -> Answer {
    let info = Info {
        manifest: shared.manifest.clone(),
        version: crate::VERSION,
        started_at: shared.started_at.to_string(),
        uptime_s: shared.uptime_s(),
        address: shared.own_port.map(|address| address.to_string()),
        counts: shared.engine.machine().counts().into(),
    };
    Ok(Json(info).into_response())
}

/// This description
#[utoipa::path(get, path = "/api/chainbot/openapi.json", tag = "health",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
async fn openapi(State(shared): State<Arc<Shared>>) -> Answer {
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], shared.openapi.to_string()).into_response())
}

/// The JSON Schema of workflow definitions
#[utoipa::path(get, path = "/api/chainbot/schemas/workflow.json", tag = "workflows",
    responses((status = 200, description = "JSON Schema 2020-12", content_type = "application/schema+json")))]
async fn workflow_schema() -> Answer {
    let json = HeaderValue::from_static("application/schema+json");
    Ok(([(header::CONTENT_TYPE, json)], crate::validate::schema_text()).into_response())
}
