//! `chainbot run --dry`: the plan of a run, with every effect shown instead of sent. Nothing is stored.

use std::sync::Arc;
use std::time::Duration;

use chainbot_core::authoring::dry::{DryRun, DryStep, Known, dry_run};
use chainbot_core::engine::compile;
use chainbot_core::model::{RunStatus, StepStatus};
use serde_json::{Value, json};

use super::run::{What, stored};
use crate::args::Run;
use crate::error::{Error, Result, code};
use crate::inputs;
use crate::output::{self, Stream, Tone, printable};
use crate::session::Session;

/// Exit code of a wrong definition.
const INVALID: u8 = 2;
/// Exit code of a plan that fails.
const FAILED: u8 = 1;
/// Longest value in the table; `--json` has all of it.
const SHOWN_CHARS: usize = 100;

/// Shows the plan.
pub async fn run(args: &Run) -> Result<u8> {
    let source = source(args).await?;
    let Some(definition) = super::run::checked(args, &source)? else { return Ok(INVALID) };
    let inputs = inputs::read(&args.inputs, args.input_file.as_deref())?;
    let program = Arc::new(compile(&definition, &source)?);
    let known = known(&args.mock)?;
    if let Some(name) = known.keys().find(|name| !program.by_id.contains_key(step_id(name))) {
        let message = format!("--mock names `{name}`, and the workflow has no such step");
        let steps = program.by_id.keys().map(String::as_str);
        let hint = chainbot_core::error::similar(step_id(name), steps);
        let help = hint.map_or_else(
            || "name a step that calls out".to_owned(),
            |meant| format!("did you mean `{meant}`?"),
        );
        return Err(Error::new(&code::INPUT, message).help(help));
    }
    let plan = dry_run(&program, &source, inputs, &known)?;
    if args.json.json {
        output::json(&json!(plan))?;
    } else {
        print(&plan)?;
    }
    Ok(if plan.status == RunStatus::Failed && !plan.steps.iter().any(|step| step.is_unknown) {
        FAILED
    } else {
        0
    })
}

/// Of the file, or of the stored workflow's current version.
async fn source(args: &Run) -> Result<String> {
    let What::Stored(name) = What::of(&args.what) else { return inputs::source(&args.what) };
    let session = Session::open(&args.place, "chainbot run").await?;
    let found = stored(&session.client, name).await;
    let closed = session.close().await;
    let workflow = found?;
    closed?;
    Ok(workflow.source)
}

fn step_id(name: &str) -> &str {
    name.split('[').next().unwrap_or(name)
}

fn known(pairs: &[String]) -> Result<Known> {
    let mut known = Known::new();
    for pair in pairs {
        let wrong = |why: &str| {
            Error::new(&code::INPUT, format!("--mock `{pair}` {why}"))
                .help("write --mock 'fetch={\"data\": [1, 2]}'")
        };
        let (name, text) = pair.split_once('=').ok_or_else(|| wrong("is not step=JSON"))?;
        let value: Value =
            serde_json::from_str(text).map_err(|error| wrong(&format!("is not JSON: {error}")))?;
        known.insert(name.to_owned(), value);
    }
    Ok(known)
}

fn print(plan: &DryRun) -> Result<()> {
    let mut rows = vec![["STEP", "TYPE", "WOULD", "AT", "DETAIL"].map(str::to_owned).to_vec()];
    rows.extend(plan.steps.iter().map(row));
    output::table(&rows)?;
    for step in &plan.not_reached {
        output::line(&Stream::Stdout.paint(Tone::Faint, &format!("{step}  is not reached this way")))?;
    }
    output::line("")?;
    let took = output::duration(Duration::from_millis(plan.duration_ms));
    output::line(&format!(
        "nothing was sent; the run would be {} after {took} of waits",
        plan.status.as_str()
    ))?;
    if let Some(value) = &plan.output {
        output::line(&format!("output: {}", printable(&value.to_string())))?;
    }
    if let Some(error) = &plan.error {
        output::line(&format!("{} {}: {}", error.code, error.class, printable(&error.message)))?;
    }
    if let Some(step) = plan.steps.iter().find(|step| step.is_unknown) {
        let help = Stream::Stdout.paint(Tone::Strong, "help");
        output::line(&format!(
            "{help}: from `{}` on the plan depends on what a real call gives; say it with --mock 'STEP={{...}}'",
            printable(&step.step)
        ))?;
    }
    Ok(())
}

fn row(step: &DryStep) -> Vec<String> {
    let would = match (step.status, step.is_unknown) {
        (_, true) => "unknown".to_owned(),
        (StepStatus::Completed, _) if step.sends.is_some() => "send".to_owned(),
        (StepStatus::Completed, _) => "run".to_owned(),
        (StepStatus::Skipped, _) => "skip".to_owned(),
        (StepStatus::Failed, _) => "fail".to_owned(),
        (status, _) => status.as_str().to_owned(),
    };
    let detail = match (&step.error, &step.sends, &step.detail, &step.output) {
        (Some(error), ..) => format!("{} {}", error.code, error.message),
        (None, Some(sends), ..) => sent(sends),
        (None, None, Some(detail), _) => detail.clone(),
        (None, None, None, Some(output)) => output.to_string(),
        _ => String::new(),
    };
    let at = output::duration(Duration::from_millis(step.at_ms));
    vec![printable(&step.step), step.kind.clone(), would, at, cut(&detail)]
}

/// What would be sent, the important first.
fn sent(sends: &Value) -> String {
    let mut words: Vec<String> = Vec::new();
    let text = |key: &str| sends[key].as_str().map(str::to_owned);
    match (text("method"), text("url"), text("workflow")) {
        (method, Some(url), _) => words.extend([method.unwrap_or_else(|| "POST".to_owned()), url]),
        (_, _, Some(workflow)) => words.extend(["workflow".to_owned(), workflow]),
        _ => return sends.to_string(),
    }
    for key in ["query", "json", "form", "body", "payload", "inputs"] {
        if let Some(value) = sends.get(key) {
            words.push(format!("{key}={value}"));
        }
    }
    words.join(" ")
}

/// One line, not too long.
fn cut(text: &str) -> String {
    let text = printable(text).replace('\n', " ");
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
