//! The command line for people: holding runs, answering them, taking them up again, and versions of workflows.

use clap::Args;

use super::{Json, Place};

/// A command about one run.
#[derive(Args, Debug)]
pub struct OfRun {
    /// The run
    #[arg(value_name = "ID")]
    pub id: String,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot pause`.
#[derive(Args, Debug)]
pub struct Pause {
    /// The run.
    #[command(flatten)]
    pub run: OfRun,
    /// Why, for its history
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `chainbot fork`.
#[derive(Args, Debug)]
pub struct Fork {
    /// The run.
    #[command(flatten)]
    pub run: OfRun,
    /// The step that runs again, and all that follows it
    #[arg(long, value_name = "STEP")]
    pub from: String,
    /// An input instead of the run's; JSON if it parses as JSON, else text. Repeatable; the others stay
    #[arg(long = "input", short = 'i', value_name = "NAME=VALUE")]
    pub inputs: Vec<String>,
    /// A variable to set before the step begins. Repeatable
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
    /// A key that makes a repeat of this command harmless
    #[arg(long, value_name = "TEXT")]
    pub key: Option<String>,
}

/// Examples of `fork`.
pub const FORK_HELP: &str = "\
The new run has the history of the old one before the step, and its version of the workflow. The old run stays.

Example:
  chainbot fork 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00 --from decide --input zone=south --var tries=0";

/// `chainbot inbox`.
#[derive(Args, Debug)]
pub struct Inbox {
    /// A question, answered or not
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot answer`.
#[derive(Args, Debug)]
pub struct Answer {
    /// The question
    #[arg(value_name = "ID")]
    pub id: String,
    /// One of its choices, such as approve, retry, done or fail
    #[arg(long, value_name = "WORD")]
    pub action: String,
    /// What goes with it, as JSON: a remark, or for `done` the step's output
    #[arg(long, value_name = "JSON", conflicts_with = "with")]
    pub data_json: Option<String>,
    /// The same, one value at a time; JSON if it parses as JSON, else text. Repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    pub with: Vec<String>,
    /// Who answers; needed when the question names its approvers
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// Examples of `answer`.
pub const ANSWER_HELP: &str = "\
The same answer may be given twice; another one is refused.

Examples:
  chainbot answer 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00 --action approve --by mia --with remark='go on'
  chainbot answer 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00 --action done --data-json '{\"status_code\": 201}'";

/// `chainbot versions`.
#[derive(Args, Debug)]
pub struct Versions {
    /// The workflow: its name or id
    #[arg(value_name = "WORKFLOW")]
    pub workflow: String,
    /// One version, whose source is printed
    #[arg(value_name = "VERSION")]
    pub version: Option<u32>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot rollback`.
#[derive(Args, Debug)]
pub struct Rollback {
    /// The workflow: its name or id
    #[arg(value_name = "WORKFLOW")]
    pub workflow: String,
    /// The version whose content becomes the current one, as a new version
    #[arg(value_name = "VERSION")]
    pub version: u32,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot diff`.
#[derive(Args, Debug)]
pub struct Diff {
    /// A workflow with two version numbers, or two runs
    #[arg(required = true, num_args = 2..=3, value_name = "WORKFLOW FROM TO|RUN RUN")]
    pub what: Vec<String>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// Examples of `diff`.
pub const DIFF_HELP: &str = "\
Examples:
  chainbot diff greenhouse 3 4
  chainbot diff 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00 01932b70-1c11-7d20-8000-0a2b3c4d5e6f

Exit codes: 0 they are the same, 1 they differ, 2 there is no such version or run.";
