//! `chainbot triggers`, `chainbot enable`, `chainbot disable`: what starts workflows by itself, and whether it does.

use chainbot_core::runtime::{TriggerView, WorkflowSwitched};
use serde_json::{Value, json};

use crate::args::{Switch, Triggers};
use crate::client::segment;
use crate::error::Result;
use crate::output::{self, printable};
use crate::session::Session;

/// Lists triggers.
pub async fn list(args: &Triggers) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot triggers").await?;
    let path = match &args.workflow {
        Some(workflow) => format!("/workflows/{}/triggers", segment(workflow)),
        None => "/schedules".to_owned(),
    };
    let found = session.client.get::<Vec<TriggerView>>(&path).await;
    let closed = session.close().await;
    let triggers = found?;
    closed?;
    if args.json.json {
        output::json(&json!(triggers))?;
    } else if triggers.is_empty() {
        output::note("no triggers");
    } else {
        show(&triggers)?;
    }
    Ok(0)
}

fn show(triggers: &[TriggerView]) -> Result<()> {
    let mut rows =
        vec![["WORKFLOW", "KEY", "LISTENS TO", "STATE", "NEXT", "LAST", "NOTE"].map(str::to_owned).to_vec()];
    rows.extend(triggers.iter().map(|one| {
        let state = match (one.active, one.enabled) {
            (true, _) => "on",
            (false, false) => "off",
            (false, true) => "workflow off",
        };
        vec![
            printable(&one.workflow_name),
            one.key.clone(),
            printable(&one.listens_to),
            state.to_owned(),
            one.next_at.map_or_else(String::new, |at| at.to_string()),
            one.last_run.map_or_else(String::new, |run| run.to_string()),
            one.note.as_deref().map(printable).unwrap_or_default(),
        ]
    }));
    output::table(&rows)
}

/// Switches a workflow or one of its triggers. Durable when this returns.
pub async fn switch(args: &Switch, on: bool) -> Result<u8> {
    let word = if on { "enable" } else { "disable" };
    let session = Session::open(&args.place, &format!("chainbot {word}")).await?;
    let workflow = segment(&args.workflow);
    let switched: Result<Value> = match &args.trigger {
        Some(key) => {
            let path = format!("/workflows/{workflow}/triggers/{}/{word}", segment(key));
            session.client.post(&path, &json!({})).await
        }
        None => session.client.post(&format!("/workflows/{workflow}/{word}"), &json!({})).await,
    };
    let closed = session.close().await;
    let switched = switched?;
    closed?;
    if args.json.json {
        output::json(&switched)?;
        return Ok(0);
    }
    match serde_json::from_value::<WorkflowSwitched>(switched) {
        Ok(workflow) => {
            let count = workflow.triggers.len();
            output::line(&format!(
                "{} is {}; it has {count} triggers",
                printable(&workflow.name),
                workflow.status
            ))?;
        }
        Err(_) => output::line(&format!("the trigger is {}", if on { "on" } else { "off" }))?,
    }
    Ok(0)
}
