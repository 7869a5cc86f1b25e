//! The command line for people: holding runs, answering them, and taking them up again.

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
