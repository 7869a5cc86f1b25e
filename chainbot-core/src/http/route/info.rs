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

use crate::error::Error;
use crate::error::code::general;
use crate::http::problem::Answer;
use crate::http::request::{Call, printable};
use crate::http::view::Numbers;
use crate::http::{ConfigPart, Shared};

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

/// The configuration as it counts.
#[derive(Serialize, ToSchema)]
struct Configuration {
    /// In the shape of the file.
    #[schema(value_type = Object)]
    values: serde_json::Value,
    /// Who decided each setting, by its path.
    #[schema(value_type = Object)]
    origins: serde_json::Value,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(info))
        .routes(routes!(openapi))
        .routes(routes!(schema))
        .routes(routes!(config))
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
#[utoipa::path(get, path = "/api/chainbot/openapi.json", tag = "system",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
async fn openapi(State(shared): State<Arc<Shared>>) -> Answer {
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], shared.openapi.to_string()).into_response())
}

/// A schema: of workflow definitions, of agents' definitions, of the configuration, or this description
#[utoipa::path(get, path = "/api/chainbot/schemas/{name}", tag = "system",
    params(("name" = String, Path, description = "`workflow.json`, `agent.json`, `config.json` or `openapi.json`")),
    responses(
        (status = 200, description = "JSON Schema 2020-12; for `openapi.json` OpenAPI 3.1", body = Object),
        (status = 404, description = "There is no such schema")))]
async fn schema(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let text = match call.path("name")? {
        "workflow.json" => crate::validate::schema_text(),
        "config.json" => (shared.config)(ConfigPart::Schema).to_string(),
        "agent.json" => crate::task::schema().to_string(),
        "openapi.json" => shared.openapi.to_string(),
        other => {
            return Err(Error::new(&general::DOCUMENT, format!("there is no schema `{}`", printable(other)))
                .help("there are workflow.json, agent.json, config.json and openapi.json")
                .into());
        }
    };
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response())
}

/// The configuration as it counts, without secrets
#[utoipa::path(get, path = "/api/chainbot/config", tag = "system",
    responses((status = 200, description = "Every setting and who decided it", body = Configuration)))]
async fn config(State(shared): State<Arc<Shared>>) -> Answer {
    let (values, origins) = ((shared.config)(ConfigPart::Values), (shared.config)(ConfigPart::Origins));
    Ok(Json(Configuration { values, origins }).into_response())
}
