//! `chainbot runs`: a list of runs, or one with its steps.

use chainbot_core::model::{RunView, StepView};
use chainbot_core::runtime::RunSummary;
use serde_json::{Value, json};

use super::run::with_way_out;
use crate::args::Runs;
use crate::client::segment;
use crate::error::Result;
use crate::follow::STEPS_MAX;
use crate::output::{self, printable};
use crate::session::Session;

/// Shows runs.
pub async fn run(args: &Runs) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot runs").await?;
    let shown = match &args.id {
        Some(id) => one(&session, id, args).await.map_err(with_way_out),
        None => list(&session, args).await,
    };
    let closed = session.close().await;
    shown.and(closed)?;
    Ok(0)
}

async fn list(session: &Session, args: &Runs) -> Result<()> {
    let mut path = String::from("/runs");
    let filters = [("status", &args.status), ("workflow", &args.workflow)];
    for (name, value) in filters.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        let sign = if path.contains('?') { '&' } else { '?' };
        path.push_str(&format!("{sign}{name}={}", segment(value)));
    }
    if args.json.json {
        let (runs, _) = session.client.list::<Value>(&path, args.limit as usize).await?;
        return output::json(&json!(runs));
    }
    let (runs, total) = session.client.list::<RunSummary>(&path, args.limit as usize).await?;
    if runs.is_empty() {
        output::note("no runs");
        return Ok(());
    }
    let mut rows =
        vec![["ID", "WORKFLOW", "STATUS", "CREATED", "TOOK", "DETAIL"].map(str::to_owned).to_vec()];
    rows.extend(runs.iter().map(|run| {
        let took = run.finished_at.map_or_else(String::new, |to| output::duration(to.since(run.created_at)));
        vec![
            run.id.to_string(),
            printable(&run.workflow_name),
            run.status.as_str().to_owned(),
            run.created_at.to_string(),
            took,
            first_line(run.detail.as_deref().unwrap_or_default()),
        ]
    }));
    output::table(&rows)?;
    if total > runs.len() {
        output::note(&format!("{} of {total}; --limit shows more", runs.len()));
    }
    Ok(())
}

async fn one(session: &Session, id: &str, args: &Runs) -> Result<()> {
    let path = format!("/runs/{}", segment(id));
    let client = &session.client;
    let as_json = args.json.json;
    if let Some(at) = args.at {
        return stood(client.get(&format!("{path}/state?at={at}")).await?, args);
    }
    let run: Value = client.get(&path).await?;
    let steps_path = format!("{path}/steps");
    if as_json {
        let (steps, _) = client.list::<Value>(&steps_path, STEPS_MAX).await?;
        return output::json(&json!({ "run": run, "steps": steps }));
    }
    let run: RunView = serde_json::from_value(run).map_err(|error| {
        crate::error::Error::new(&crate::error::code::REPLY, format!("a run does not read: {error}"))
    })?;
    let (steps, _) = client.list::<StepView>(&steps_path, STEPS_MAX).await?;
    output::line(&format!("run       {}", run.id))?;
    output::line(&format!("workflow  {}", printable(&run.workflow_name)))?;
    output::line(&format!("status    {}", run.status.as_str()))?;
    output::line(&format!("created   {}", run.created_at))?;
    if let Some(at) = run.finished_at {
        output::line(&format!("finished  {at}"))?;
    }
    if let Some(what) = &run.waiting_for {
        output::line(&output::waits_for(what))?;
    }
    if let Some(error) = &run.error {
        output::line(&format!("error     {} {}: {}", error.code, error.class, printable(&error.message)))?;
    }
    output::line(&format!("inputs    {}", run.inputs))?;
    if let Some(value) = &run.output {
        output::line(&format!("output    {value}"))?;
    }
    list_steps(&steps, args)
}

/// A run as it stood.
fn stood(state: Value, args: &Runs) -> Result<()> {
    if args.json.json {
        return output::json(&state);
    }
    let text = |name: &str| printable(state[name].as_str().unwrap_or_default());
    output::line(&format!("run       {}", text("run")))?;
    output::line(&format!("record    {} of {}, {}", state["seq"], state["last_seq"], text("at")))?;
    output::line(&format!("status    {}", text("status")))?;
    if let Some(what) = state["waiting_for"].as_str() {
        output::line(&output::waits_for(what))?;
    }
    output::line(&format!("inputs    {}", state["inputs"]))?;
    for (name, value) in state["variables"].as_object().into_iter().flatten() {
        output::line(&format!("variable  {} = {value}", printable(name)))?;
    }
    let steps: Vec<StepView> = serde_json::from_value(state["steps"].clone()).map_err(|error| {
        crate::error::Error::new(&crate::error::code::REPLY, format!("the steps do not read: {error}"))
    })?;
    list_steps(&steps, args)
}

fn list_steps(steps: &[StepView], args: &Runs) -> Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    output::line("")?;
    if args.steps {
        for step in steps {
            output::line(row(step).join("  ").trim_end())?;
            for (name, value) in [("input", &step.input), ("output", &step.output)] {
                if let Some(value) = value {
                    output::line(&format!("    {name:<7} {value}"))?;
                }
            }
            if let Some(key) = &step.key {
                output::line(&format!("    key     {}", printable(key)))?;
            }
        }
        return Ok(());
    }
    let mut rows = vec![["STEP", "TYPE", "STATUS", "TRIES", "TOOK", "DETAIL"].map(str::to_owned).to_vec()];
    rows.extend(steps.iter().map(row));
    output::table(&rows)
}

fn row(step: &StepView) -> Vec<String> {
    let path: String = step.path.iter().map(|index| format!("[{index}]")).collect();
    let took = match (step.started_at, step.finished_at) {
        (Some(from), Some(to)) => output::duration(to.since(from)),
        _ => String::new(),
    };
    let detail = match (&step.error, &step.waiting_for) {
        (Some(error), _) => format!("{} {}: {}", error.code, error.class, error.message),
        (None, Some(what)) => output::waits_for(what),
        _ => String::new(),
    };
    vec![
        printable(&format!("{}{path}", step.id)),
        step.kind.clone(),
        step.status.as_str().to_owned(),
        step.attempts.to_string(),
        took,
        first_line(&detail),
    ]
}

/// The first line of a text, which is all that a table has room for.
fn first_line(text: &str) -> String {
    printable(text.lines().next().unwrap_or_default())
}
