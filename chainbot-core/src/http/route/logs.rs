//! The newest lines of the log, and the newest notifications.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::Result;
use crate::http::Shared;
use crate::http::live::Sight;
use crate::http::page;
use crate::http::problem::Answer;
use crate::http::request::{Call, printable, wrong};
use crate::http::suggest;
use crate::id::RunId;
use crate::limits::{PAGE_DEFAULT, PAGE_MAX};
use crate::model::RecordBody;

/// Levels, the most important first.
const LEVELS: [(&str, log::Level); 6] = [
    ("error", log::Level::Error),
    ("warn", log::Level::Warn),
    ("warning", log::Level::Warn),
    ("info", log::Level::Info),
    ("debug", log::Level::Debug),
    ("trace", log::Level::Trace),
];

/// A line of the log.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the same JSON is told live")]
struct LogLine {
    /// Counts up from 1 since the start.
    seq: u64,
    /// When.
    #[schema(format = "date-time")]
    time: String,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    level: String,
    /// Which part of the program.
    target: String,
    /// What.
    message: String,
}

/// A notification of a run.
#[derive(Serialize, ToSchema)]
struct Notification {
    /// Its record's place in the journal.
    seq: i64,
    /// When.
    #[schema(format = "date-time")]
    time: String,
    /// The run.
    #[schema(format = "uuid")]
    run: String,
    /// Its workflow.
    workflow: Value,
    /// Its step.
    step: Value,
    /// What the step says: `message`, `title`, `type`, `channels`.
    notification: Value,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(logs)).routes(routes!(notifications))
}

/// The newest lines of the log, oldest first, without secrets
#[utoipa::path(get, path = "/api/chainbot/logs", tag = "events",
    params(
        ("level" = Option<String>, Query, description = "This important or more: `error`, `warn`, `info`, `debug`, `trace`"),
        ("run" = Option<String>, Query, description = "Only lines that name this run"),
        ("since" = Option<u64>, Query, description = "Only lines after this `seq`"),
        ("count" = Option<u32>, Query, description = "1 to 200; 200 unless said")),
    responses((status = 200, description = "Of the last 1024 lines since the start; live on the topics `log.LEVEL`",
        body = Vec<LogLine>)))]
async fn logs(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["level", "run", "since", "count"])?;
    let least = query.text("level").map(level_of).transpose()?.unwrap_or(log::Level::Trace);
    let run = query.parsed::<RunId>("run", "a run's id")?.map(|run| run.to_string());
    let since = query.parsed::<i64>("since", "the `seq` of a line")?.unwrap_or(0);
    let since =
        u64::try_from(since).map_err(|_| wrong("since", "is negative", "give the `seq` of a line"))?;
    let count = page::number_of(&query, "count", PAGE_MAX)?;
    shared.settle_log();
    let lines = shared.live.lines.newest(count as usize, |line| {
        line.level <= least
            && line.seq > since
            && run.as_ref().is_none_or(|run| line.text.contains(run.as_str()))
    });
    let lines: Vec<Value> = lines.iter().map(crate::http::live::line_json).collect();
    Ok(Json(lines).into_response())
}

fn level_of(word: &str) -> Result<log::Level> {
    let found = LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    found.map(|(_, level)| *level).ok_or_else(|| {
        let names = LEVELS.map(|(name, _)| name);
        wrong("level", &format!("is `{}`", printable(word)), &suggest::hint(word, &names))
    })
}

/// The newest notifications of runs, newest first
#[utoipa::path(get, path = "/api/chainbot/notifications", tag = "events",
    params(("count" = Option<u32>, Query, description = "1 to 200; 50 unless said")),
    responses((status = 200, description = "Of the newest 20,000 records of the journal; live on the topic `notification`",
        body = Vec<Notification>)))]
async fn notifications(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["count"])?;
    let count = page::number_of(&query, "count", PAGE_DEFAULT)?;
    let is_one = |body: &RecordBody| matches!(body, RecordBody::EventEmitted { topic, .. } if topic == "chainbot.notification");
    let engine = call.engine(&shared)?;
    let found = engine.people()?.newest(is_one, count as usize).await?;
    let sight = Sight::new(shared.accounts.clone(), Arc::new(call.who()?.clone()));
    let mut all = Vec::with_capacity(found.len());
    for committed in &found {
        let group = shared.live.events_of(&*engine, committed).await;
        let seen = group.iter().find(|event| event.topic == "notification" && sight.sees(event));
        all.extend(seen.map(|event| Notification {
            seq: committed.lsn.0,
            time: event.at.to_string(),
            run: committed.run.to_string(),
            workflow: event.data["workflow"].clone(),
            step: event.data["step"].clone(),
            notification: event.data["notification"].clone(),
        }));
    }
    Ok(Json(all).into_response())
}
