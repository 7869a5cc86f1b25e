//! `chainbot run`: stores the workflow, starts a run of it, shows it, prints its result.

use std::path::Path;
use std::time::Duration;

use chainbot_core::model::{Definition, RunStatus, RunView, StepStatus, StepView};
use chainbot_core::runtime::WorkflowView;
use serde_json::{Value, json};

use super::deploy::store;
use super::workflows::unknown;
use crate::args::Run;
use crate::client::{Client, segment};
use crate::error::{Error, Finding, Result};
use crate::follow::{End, STEPS_MAX, Until, follow};
use crate::output::{self, Stream, Tone, counted, printable, tally};
use crate::progress::Progress;
use crate::session::Session;
use crate::{inputs, snippet};

/// Exit code of a run that failed.
const FAILED: u8 = 1;
/// Exit code of a wrong definition or input.
const INVALID: u8 = 2;
/// Exit code of a run that was cancelled.
const CANCELLED: u8 = 3;
/// Exit code of a run that is not over.
const UNFINISHED: u8 = 4;

/// What the argument means.
pub(super) enum What<'a> {
    /// A file, or standard input.
    File,
    /// No such file, and it may be the name or id of a stored workflow.
    Stored(&'a str),
}

impl<'a> What<'a> {
    /// A file that exists comes first. What has a slash or an ending is no name.
    pub(super) fn of(given: &'a Path) -> Self {
        match given.to_str() {
            Some(name) if !inputs::is_stdin(given) && !name.contains(['/', '.']) && !given.exists() => {
                What::Stored(name)
            }
            _ => What::File,
        }
    }
}

enum Given<'a> {
    File { name: String, source: String },
    Stored(&'a str),
}

/// A stored workflow.
pub(super) async fn stored(client: &Client, name: &str) -> Result<WorkflowView> {
    let reply = client.send("GET", &format!("/workflows/{}", segment(name)), &[], None).await?;
    if reply.status == 404 {
        let why = "there is no such file here, and the data folder has no workflow of this name";
        return Err(unknown(client, name, why).await?);
    }
    reply.read()
}

/// Runs a workflow.
pub async fn run(args: &Run) -> Result<u8> {
    let given = match What::of(&args.what) {
        What::Stored(name) => Given::Stored(name),
        What::File => {
            let source = inputs::source(&args.what)?;
            let Some(definition) = checked(args, &source)? else { return Ok(INVALID) };
            Given::File { name: definition.name, source }
        }
    };
    let inputs = inputs::read(&args.inputs, args.input_file.as_deref())?;
    let session = Session::open(&args.place, "chainbot run").await?;
    let outcome = with_session(&session, args, &given, &inputs).await;
    // The engine is closed in order also when something failed, and the first failure is the one to tell.
    let closed = session.close().await;
    let code = outcome?;
    closed?;
    Ok(code)
}

/// The definition; `None` when it has errors, which are shown then.
pub(super) fn checked(args: &Run, source: &str) -> Result<Option<Definition>> {
    let checked = chainbot_core::validate::check(source);
    let findings: Vec<Finding> = checked.diagnostics.iter().map(Finding::from).collect();
    let file = inputs::shown(&args.what);
    if checked.definition.is_none() && args.json.json {
        let message = format!("{file} has {}", counted(tally(&findings).0, "error"));
        let error = json!({ "code": "CB-0100", "message": message, "help": null, "errors": findings });
        output::json(&json!({ "error": error }))?;
        return Ok(None);
    }
    if !args.json.json {
        for finding in &findings {
            output::note(&(snippet::render(finding, &file, source, Stream::Stderr.is_coloured()) + "\n"));
        }
    }
    if checked.definition.is_none() {
        let (errors, _) = tally(&findings);
        output::note(&format!("{file} has {}; nothing was run", counted(errors, "error")));
    }
    Ok(checked.definition)
}

async fn with_session(session: &Session, args: &Run, given: &Given<'_>, inputs: &Value) -> Result<u8> {
    let client = &session.client;
    let quiet = args.json.json;
    if !quiet {
        session.announce_unfinished().await?;
    }
    let workflow = match given {
        Given::File { name, source } => store(client, name, source).await?.0,
        Given::Stored(name) => stored(client, name).await?,
    };
    let path = format!("/workflows/{}/runs", workflow.id);
    let run: RunView = client.post(&path, &json!({ "inputs": inputs })).await?;
    let id = run.id.to_string();
    if !quiet {
        announce(session, &format!("run {id} of {} (version {})", workflow.name, workflow.version));
    }
    let mut progress = if quiet { Progress::silent() } else { Progress::for_people() };
    let until = Until { waiting: args.no_wait, timeout: args.timeout };
    let end = follow(client, &id, &mut progress, &until).await;
    progress.finish();
    finish(session, quiet, end?).await
}

/// Says what has begun, and what leaving does.
pub(super) fn announce(session: &Session, head: &str) {
    let leave = if session.is_embedded() {
        "Ctrl-C leaves it; the next `chainbot run` or `chainbot start` goes on with it"
    } else {
        "Ctrl-C leaves it to the server"
    };
    output::note(&Stream::Stderr.paint(Tone::Strong, head));
    output::note(&Stream::Stderr.paint(Tone::Faint, leave));
}

/// Shows how following ended; the exit code.
pub(super) async fn finish(session: &Session, quiet: bool, end: End) -> Result<u8> {
    if quiet { print_json(&session.client, end).await } else { print(session, end).await }
}

async fn print_json(client: &Client, end: End) -> Result<u8> {
    let (End::Over(run) | End::Waits(run) | End::TimeUp(run)) = end;
    let (steps, total) = client.list::<Value>(&format!("/runs/{}/steps", run.id), STEPS_MAX).await?;
    let code = exit_code(run.status);
    let mut body = json!({ "run": run, "steps": steps });
    if total > steps.len() {
        body["steps_total"] = json!(total);
    }
    output::json(&body)?;
    Ok(code)
}

fn exit_code(status: RunStatus) -> u8 {
    match status {
        RunStatus::Completed => 0,
        RunStatus::Failed => FAILED,
        RunStatus::Cancelled => CANCELLED,
        RunStatus::Pending | RunStatus::Running | RunStatus::Waiting | RunStatus::Paused => UNFINISHED,
    }
}

async fn print(session: &Session, end: End) -> Result<u8> {
    match end {
        End::Over(run) => {
            let code = exit_code(run.status);
            match run.status {
                RunStatus::Completed => completed(&run)?,
                RunStatus::Failed => failed(&session.client, &run).await?,
                _ => cancelled(&run),
            }
            Ok(code)
        }
        End::Waits(run) => {
            let what = run
                .waiting_for
                .as_deref()
                .map_or_else(String::new, |what| format!(" for {}", printable(what)));
            output::note(&format!("run {} waits{what}", run.id));
            continues(session, &run);
            Ok(UNFINISHED)
        }
        End::TimeUp(run) => {
            output::note(&format!("run {} is {} after the time of --timeout", run.id, run.status.as_str()));
            continues(session, &run);
            Ok(UNFINISHED)
        }
    }
}

fn completed(run: &RunView) -> Result<()> {
    let mark = Stream::Stderr.paint(Tone::Good, "✓");
    output::note(&format!("{mark} {} completed{}", run.workflow_name, took(run)));
    match &run.output {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(text)) => output::line(text),
        Some(value) => output::json(value),
    }
}

async fn failed(client: &Client, run: &RunView) -> Result<()> {
    let (steps, _) = client.list::<StepView>(&format!("/runs/{}/steps", run.id), STEPS_MAX).await?;
    let message = run.error.as_ref().map(|error| &error.message);
    let failed = || steps.iter().rev().filter(|step| step.status == StepStatus::Failed);
    let culprit = failed()
        .find(|step| step.error.as_ref().map(|error| &error.message) == message)
        .or_else(|| failed().next());
    let place = culprit.map_or_else(String::new, |step| {
        let path: String = step.path.iter().map(|index| format!("[{index}]")).collect();
        format!(" at step `{}{path}`", printable(&step.id))
    });
    let mark = Stream::Stderr.paint(Tone::Bad, "✗");
    output::note(&format!("{mark} {} failed{place}{}", run.workflow_name, took(run)));
    if let Some(error) = &run.error {
        let head = Stream::Stderr.paint(Tone::Bad, &format!("error[{}]", error.code));
        output::note(&format!("{head} {}: {}", error.class, printable(&error.message)));
    }
    let help = Stream::Stderr.paint(Tone::Strong, "help");
    output::note(&format!("  {help}: `chainbot logs {}` shows every attempt", run.id));
    Ok(())
}

fn cancelled(run: &RunView) {
    let why = run.error.as_ref().map_or_else(String::new, |error| format!(": {}", printable(&error.message)));
    let mark = Stream::Stderr.paint(Tone::Warn, "–");
    output::note(&format!("{mark} {} was cancelled{}{why}", run.workflow_name, took(run)));
}

fn continues(session: &Session, run: &RunView) {
    let how = if session.is_embedded() {
        "it goes on with the next `chainbot run` or `chainbot start` on this folder"
    } else {
        "it goes on in the server"
    };
    output::note(&format!("{how}; `chainbot runs {}` shows it", run.id));
}

fn took(run: &RunView) -> String {
    let from = run.started_at.unwrap_or(run.created_at);
    let time: Option<Duration> = run.finished_at.map(|to| to.since(from));
    time.map_or_else(String::new, |time| format!(" after {}", output::duration(time)))
}

/// A run that the API does not know under this id, told with the way to find others.
pub fn with_way_out(error: Error) -> Error {
    match error {
        // The API's own help speaks of routes; here people type commands.
        Error::Api(mut problem) if problem.status == 404 => {
            problem.help = Some("`chainbot runs` lists the runs of this data folder".to_owned());
            Error::Api(problem)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_exit_code() {
        let codes = RunStatus::ALL.map(exit_code);
        assert_eq!(codes, [4, 4, 4, 4, 0, 1, 3]);
    }
}
