//! Figures for scrapers and for people who look.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::Shared;
use crate::http::problem::Answer;
use crate::observe::Dialect;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(summary)).routes(routes!(scrape))
}

/// The figures as JSON
#[utoipa::path(get, path = "/api/chainbot/metrics", tag = "health",
    responses((status = 200, description = "A value a name; histograms have count, sum and buckets", body = Object)))]
async fn summary(State(shared): State<Arc<Shared>>) -> Answer {
    Ok(Json((shared.metrics)().to_json()).into_response())
}

/// The figures for Prometheus, and as OpenMetrics for who accepts that
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, description = "Prometheus text", content_type = "text/plain")))]
async fn scrape(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Answer {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (dialect, media) = match accepts.contains("application/openmetrics-text") {
        true => (Dialect::OpenMetrics, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        false => (Dialect::Prometheus, "text/plain; version=0.0.4; charset=utf-8"),
    };
    Ok(([(header::CONTENT_TYPE, media)], (shared.metrics)().text(dialect)).into_response())
}
