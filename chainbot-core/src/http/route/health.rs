//! How well it goes: the report for people, and two public probes that say only `ok`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::Error;
use crate::error::code::general;
use crate::http::Shared;
use crate::http::problem::Answer;
use crate::http::view::{Alive, Numbers};

/// From here on a score is `healthy`.
const HEALTHY_MIN: f64 = 0.8;
/// From here on a score is `degraded`; below, `unhealthy`.
const DEGRADED_MIN: f64 = 0.5;

/// The whole report.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `healthy` from 0.8, `degraded` from 0.5, else `unhealthy`.
    status: &'static str,
    /// 0.0 to 1.0.
    score: f64,
    /// The same, as older clients call it.
    health_score: f64,
    /// Now.
    #[schema(format = "date-time")]
    timestamp: String,
    /// The component that lowers the score most, and why; `ok` when none does.
    detail: String,
    /// Version of the module.
    version: &'static str,
    /// Since the start, in seconds.
    uptime_s: u64,
    /// Components by name.
    checks: BTreeMap<&'static str, Check>,
    /// Runs and effects.
    counts: Numbers,
}

/// One component.
#[derive(Serialize, ToSchema)]
struct Check {
    /// 0.0 to 1.0.
    score: f64,
    /// `healthy`, `degraded` or `unhealthy`.
    status: &'static str,
    /// Why, when not healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// How long the component took to answer when it was last asked, in milliseconds; absent where nothing is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(live)).routes(routes!(ready))
}

/// How well each component does
#[utoipa::path(get, path = "/api/chainbot/health", tag = "health",
    responses((status = 200, description = "The report, also when unhealthy", body = Health)))]
async fn health(State(shared): State<Arc<Shared>>) -> Answer {
    Ok(Json(report(&shared)).into_response())
}

impl Health {
    /// Whether a load balancer should send nothing here.
    pub fn is_unhealthy(&self) -> bool {
        self.status == label(0.0)
    }
}

/// The whole report.
pub fn report(shared: &Shared) -> Health {
    let report = (shared.health)();
    let checks = report.checks.into_iter().map(|(name, component, latency)| {
        let latency_ms = latency.map(|latency| latency.as_secs_f64() * 1_000.0);
        let check =
            Check { score: component.score, status: component.status, reason: component.reason, latency_ms };
        (name, check)
    });
    Health {
        status: label(report.score),
        score: report.score,
        health_score: report.score,
        timestamp: shared.env.now().to_string(),
        detail: report.detail,
        version: crate::VERSION,
        uptime_s: shared.uptime_s(),
        checks: checks.collect(),
        counts: shared.engine.machine().counts().into(),
    }
}

/// The process answers (public)
#[utoipa::path(get, path = "/api/chainbot/health/live", tag = "health",
    responses((status = 200, description = "It does", body = Alive)))]
async fn live() -> Answer {
    Ok(Json(Alive { status: "ok" }).into_response())
}

/// The module takes work (public)
#[utoipa::path(get, path = "/api/chainbot/health/ready", tag = "health",
    responses((status = 200, description = "It does", body = Alive)))]
async fn ready(State(shared): State<Arc<Shared>>) -> Answer {
    // The reason stays inside: this answer goes to anybody.
    if (shared.health)().score < DEGRADED_MIN || shared.is_closing() {
        return Err(Error::new(&general::STOPPING, "not ready").help("ask again in some seconds").into());
    }
    Ok(Json(Alive { status: "ok" }).into_response())
}

/// `healthy`, `degraded` or `unhealthy`.
pub fn label(score: f64) -> &'static str {
    if score >= HEALTHY_MIN {
        "healthy"
    } else if score >= DEGRADED_MIN {
        "degraded"
    } else {
        "unhealthy"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_follows_the_score() {
        let labels = [1.0, 0.8, 0.79, 0.5, 0.49, 0.0, f64::NAN].map(label);
        let expect = ["healthy", "healthy", "degraded", "degraded", "unhealthy", "unhealthy", "unhealthy"];
        assert_eq!(labels, expect);
    }
}
