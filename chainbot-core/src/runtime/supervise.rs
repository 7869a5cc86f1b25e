//! The tool `supervise` of workflow agents: looks after the runs of the workflows that the agent's definition names, until they are over or its time is
//! up, and reports.
//!
//! Invariants: it sees and steers no run but those of granted workflows, as its agent's owner may; it answers no question and changes no definition; a
//! run is taken up again a bounded number of times. After a crash it begins anew: what it did before is in the runs themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::agent::tool::ToolOutcome;
use crate::error::Result;
use crate::error::code::agent as code;
use crate::id::RunId;
use crate::limits::{PAGE_MAX, SUPERVISED_TOLD_MAX};
use crate::model::{EffectClass, RunStatus, StepError, ToolSpec, class};
use crate::time::parse_duration;

use super::handle::{Handle, RunQuery, RunSummary};

/// Between two looks, should no event wake us: a run gets late without one.
const LOOK: Duration = Duration::from_secs(1);
/// Runs from so long ago are looked after, unless the order says.
const SINCE: Duration = Duration::from_secs(86_400);

/// What is done with a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Deed {
    /// It is in the report.
    #[default]
    Report,
    /// And the host's bus is told.
    Notify,
    /// A failed one is taken up again from what failed.
    Retry,
    /// A late one is cancelled.
    Cancel,
}

/// What is asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    workflows: Option<Vec<String>>,
    since: Option<String>,
    #[serde(default)]
    on_failed: Deed,
    #[serde(default = "one")]
    retries: u32,
    late: Option<String>,
    #[serde(default)]
    on_late: Deed,
    #[serde(default = "yes")]
    wait: bool,
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

/// What became of a run under supervision.
#[derive(Default)]
struct Seen {
    retried: u32,
    is_late: bool,
    is_told: bool,
    /// What was tried and refused.
    refused: Option<String>,
}

/// The tool. `names`: the workflows that are granted.
pub(super) fn spec(names: &[String]) -> ToolSpec {
    let duration = json!({ "type": "string", "description": "such as 30m or 2h" });
    ToolSpec {
        name: "supervise".to_owned(),
        family: "workflow".to_owned(),
        operation: "supervise".to_owned(),
        description: "Looks after runs of workflows until they are over: takes failed ones up again, cancels late ones, and reports."
            .to_owned(),
        schema: json!({
            "type": "object", "additionalProperties": false,
            "properties": {
                "workflows": { "type": "array", "items": { "enum": names }, "description": "All of them unless said" },
                "since": duration, "late": duration,
                "on_failed": { "enum": ["report", "notify", "retry"] },
                "retries": { "type": "integer", "minimum": 0, "maximum": 3 },
                "on_late": { "enum": ["report", "notify", "cancel"] },
                "wait": { "type": "boolean", "description": "false: one look" },
            },
        }),
        // Again, it finds the runs as they are then.
        class: EffectClass::Idempotent,
        reads_private: true,
        is_untrusted: false,
        is_outward: true,
    }
}

/// Carries an order out. `names`: the workflows that are granted.
pub(super) async fn supervise(
    handle: &Handle,
    names: &[String],
    arguments: &Value,
    within: Duration,
) -> Result<ToolOutcome, StepError> {
    let wrong = |why: String| StepError::new(class::INVALID, &code::TASK, why);
    let order = Order::deserialize(arguments).map_err(|error| wrong(error.to_string()))?;
    let time = |text: &Option<String>, key: &str| {
        let read = |text: &String| {
            parse_duration(text).ok_or_else(|| wrong(format!("`{key}`: `{text}` is no duration")))
        };
        text.as_ref().map(read).transpose()
    };
    let (since, late) = (time(&order.since, "since")?.unwrap_or(SINCE), time(&order.late, "late")?);
    let of: Vec<&String> = match &order.workflows {
        None => names.iter().collect(),
        Some(some) => names.iter().filter(|name| some.contains(name)).collect(),
    };
    let begun = handle.0.env.now();
    let from = begun.0.saturating_sub(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let mut seen: BTreeMap<RunId, Seen> = BTreeMap::new();
    let failed = |error: crate::Error| StepError::from_error(class::INVALID, &error);
    let mut events = handle.subscribe(None).await.map_err(failed)?;
    let end = tokio::time::Instant::now() + within;
    loop {
        let runs = runs_of(handle, &of, from).await.map_err(failed)?;
        let mut acted = false;
        for run in &runs {
            acted |= look(handle, run, &order, late, seen.entry(run.id).or_default()).await;
        }
        let is_open = |run: &RunSummary| !run.status.is_terminal();
        let goes_on = order.wait && (acted || runs.iter().any(is_open));
        if !goes_on || tokio::time::Instant::now() >= end {
            return Ok(report(&of, &runs, &seen));
        }
        // What is done is decided by looking. Events of other runs do not wake: in a busy house that would be a look after the other.
        let pause = tokio::time::sleep_until(end.min(tokio::time::Instant::now() + LOOK));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                event = events.next() => match event {
                    Some(Ok(event)) if seen.contains_key(&event.run) => break,
                    Some(Ok(_)) => {}
                    _ => {
                        events = handle.subscribe(None).await.map_err(failed)?;
                        break;
                    }
                },
            }
        }
    }
}

/// The newest runs of each workflow, made after a moment.
async fn runs_of(handle: &Handle, names: &[&String], from: i64) -> Result<Vec<RunSummary>> {
    let mut runs = Vec::new();
    for name in names {
        let page = handle.runs(RunQuery::newest(Some(name), PAGE_MAX)).await?;
        runs.extend(page.items.into_iter().filter(|run| run.created_at.0 >= from));
    }
    Ok(runs)
}

/// Does what is to be done with a run; whether it did something that changes it.
async fn look(
    handle: &Handle,
    run: &RunSummary,
    order: &Order,
    late: Option<Duration>,
    seen: &mut Seen,
) -> bool {
    if run.status == RunStatus::Failed {
        match order.on_failed {
            Deed::Retry if seen.retried < order.retries && seen.refused.is_none() => {
                match handle.retry(run.id).await {
                    Ok(_) => {
                        seen.retried += 1;
                        return true;
                    }
                    // Undone, or taken up by somebody else meanwhile.
                    Err(error) => seen.refused = Some(error.to_string()),
                }
            }
            Deed::Notify => tell(handle, run, "failed", seen),
            _ => {}
        }
        return false;
    }
    let age = handle.0.env.now().since(run.created_at);
    if run.status.is_terminal() || late.is_none_or(|late| age < late) {
        return false;
    }
    seen.is_late = true;
    match order.on_late {
        Deed::Cancel if seen.refused.is_none() => {
            let reason = format!("it was not over after {} s", age.as_secs());
            match handle.cancel(run.id, &reason).await {
                Ok(_) => return true,
                Err(error) => seen.refused = Some(error.to_string()),
            }
        }
        Deed::Notify => tell(handle, run, "late", seen),
        _ => {}
    }
    false
}

/// Tells the host's bus once.
fn tell(handle: &Handle, run: &RunSummary, why: &str, seen: &mut Seen) {
    if !std::mem::replace(&mut seen.is_told, true) {
        let data = json!({
            "module_id": "chainbot", "workflow_id": run.workflow_id, "workflow_name": run.workflow_name,
            "execution_id": run.id, "status": run.status.as_str(), "why": why, "detail": run.detail,
        });
        handle.0.tell("chainbot.workflow.attention", &data);
    }
}

fn report(of: &[&String], runs: &[RunSummary], seen: &BTreeMap<RunId, Seen>) -> ToolOutcome {
    let count = |status: RunStatus| runs.iter().filter(|run| run.status == status).count();
    let managed: BTreeSet<&str> = runs.iter().map(|run| run.workflow_name.as_str()).collect();
    let told: Vec<Value> = runs
        .iter()
        .take(SUPERVISED_TOLD_MAX)
        .map(|run| {
            let seen = seen.get(&run.id);
            json!({
                "run_id": run.id, "workflow": run.workflow_name, "status": run.status.as_str(), "detail": run.detail,
                "retried": seen.map_or(0, |seen| seen.retried), "late": seen.is_some_and(|seen| seen.is_late),
                "refused": seen.and_then(|seen| seen.refused.clone()),
            })
        })
        .collect();
    ToolOutcome::good(json!({
        "workflows_managed": managed.len(), "workflows": of, "total": runs.len(),
        "completed": count(RunStatus::Completed), "failed": count(RunStatus::Failed),
        "cancelled": count(RunStatus::Cancelled),
        "open": runs.iter().filter(|run| !run.status.is_terminal()).count(),
        "runs": told,
    }))
}
