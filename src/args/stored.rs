//! The command line for what is stored: workflows, their versions and their triggers.

use std::path::PathBuf;

use clap::Args;

use super::{Json, Place};

/// `chainbot deploy`.
#[derive(Args, Debug)]
pub struct Deploy {
    /// Definitions, or folders of them: every *.yaml and *.yml in a folder and below it
    #[arg(required = true, value_name = "DIR|FILE")]
    pub paths: Vec<PathBuf>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

pub const DEPLOY_HELP: &str = "\
All files are checked first; when one has an error nothing is stored. Runs under way keep the version they
started with. Nothing is deleted: a workflow whose file is gone stays.

Examples:
  chainbot deploy workflows/
  chainbot deploy greenhouse.yaml report.yaml --data ./state --json

Exit codes: 0 all are stored, 1 the server refused one, 2 a definition or an argument is wrong.";

/// `chainbot workflows`.
#[derive(Args, Debug)]
pub struct Workflows {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot delete`.
#[derive(Args, Debug)]
pub struct Delete {
    /// Its name or id
    #[arg(value_name = "WORKFLOW")]
    pub workflow: String,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot triggers`.
#[derive(Args, Debug)]
pub struct Triggers {
    /// Only of this workflow: its name or id
    #[arg(value_name = "WORKFLOW")]
    pub workflow: Option<String>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

pub const TRIGGERS_HELP: &str = "\
Schedules come first, the next time at the top. LAST is the run that the trigger started last; NOTE says why
the last occasion started none.

Examples:
  chainbot triggers
  chainbot triggers greenhouse --json
  chainbot disable greenhouse --trigger cron-3f2a9c01de";

/// After the help of `chainbot share`.
pub const SHARE_HELP: &str = "\
Its runs, questions and messages go with it. Sharing is to see and to use, as the role lets one;
to change it is for its owner and for admins.

Examples:
  chainbot share greenhouse --with viewer
  chainbot share greenhouse --with nobody
  chainbot share greenhouse --owner mia";

/// With whom a workflow is shared.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum With {
    /// Everybody
    Viewer,
    /// Operators, editors and admins
    Operator,
    /// Editors and admins
    Editor,
    /// Its owner and admins only
    Nobody,
}

/// `chainbot share`.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["with", "owner"]))]
pub struct Share {
    /// The workflow: its name or id
    #[arg(value_name = "WORKFLOW")]
    pub workflow: String,
    /// The least role that sees and uses it
    #[arg(long, value_name = "ROLE")]
    pub with: Option<With>,
    /// Give it to this user; `local` is the operator
    #[arg(long, value_name = "USER")]
    pub owner: Option<String>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot enable` and `chainbot disable`.
#[derive(Args, Debug)]
pub struct Switch {
    /// The workflow: its name or id
    #[arg(value_name = "WORKFLOW")]
    pub workflow: String,
    /// Only this trigger, by its key as `chainbot triggers` shows it
    #[arg(long, value_name = "KEY")]
    pub trigger: Option<String>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

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
