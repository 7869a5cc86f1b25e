//! The command line for authors: tests, dry runs, pictures, imports.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Json, Place};

/// `chainbot test`.
#[derive(Args, Debug)]
pub struct Test {
    /// Test files
    #[arg(required = true, value_name = "FILE.test.yaml")]
    pub files: Vec<PathBuf>,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// Also write a report in JUnit's format, for a build server
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// Help of `chainbot test`.
pub const TEST_HELP: &str = "\
A test file names a workflow and has cases: inputs, mocks of what would leave the machine, what is sent when, and what \
must come of it. The real engine runs them on a virtual clock: a wait of a week takes no time, and nothing ever leaves \
the process. See docs/workflows/testing.md.

Examples:
  chainbot test greenhouse.test.yaml
  chainbot test workflows/*.test.yaml --junit report.xml
  chainbot test greenhouse.test.yaml --only frost --json

Exit codes: 0 all cases passed, 1 one failed, 2 a file is broken.";

/// `chainbot graph`.
#[derive(Args, Debug)]
pub struct Graph {
    /// A definition in YAML or JSON; `-` reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Mermaid)]
    pub format: Format,
    /// Colour the steps by how they stand in this run
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Where the run is.
    #[command(flatten)]
    pub place: Place,
}

/// What `chainbot graph` prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// Text that many programs draw
    Mermaid,
    /// A picture
    Svg,
    /// Nodes and edges
    Json,
}

/// Help of `chainbot graph`.
pub const GRAPH_HELP: &str = "\
Examples:
  chainbot graph greenhouse.yaml
  chainbot graph greenhouse.yaml --format svg > greenhouse.svg
  chainbot graph greenhouse.yaml --format svg --run 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00 > run.svg";

/// `chainbot import`, and what else can be imported.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    subcommand_value_name = "WHAT",
    subcommand_help_heading = "What"
)]
pub struct Import {
    /// What is imported; a definition when nothing is said.
    #[command(subcommand)]
    pub view: Option<ImportView>,
    /// How a definition is.
    #[command(flatten)]
    pub definition: ImportDefinition,
}

/// What else can be imported.
#[derive(Subcommand, Debug)]
pub enum ImportView {
    /// Import an export of ChatGPT, or an older file of chats, into an archive that agents recall from
    #[command(after_help = IMPORT_CHATGPT_HELP)]
    Chatgpt(ImportChats),
}

/// `chainbot import chatgpt`.
#[derive(Args, Debug)]
pub struct ImportChats {
    /// `conversations.json` of an export, at most 1 GiB
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The archive it goes into, which is made when there is none
    #[arg(long, value_name = "NAME", default_value = "chatgpt")]
    pub name: String,
    /// Say what is in the file and store nothing
    #[arg(long)]
    pub check: bool,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// Help of `chainbot import chatgpt`.
pub const IMPORT_CHATGPT_HELP: &str = "\
Messages that are in the archive already are left alone, so an import can be repeated, and a later export adds what is new. See \
docs/agents/memory.md.

Examples:
  chainbot import chatgpt conversations.json --check
  chainbot import chatgpt conversations.json --name chatgpt-2026

Exit codes: 0 it is in the archive, 2 the file is no export; what was read before the place in the message is in the archive.";

/// `chainbot import` of a definition.
#[derive(Args, Debug)]
pub struct ImportDefinition {
    /// A definition of the predecessor in YAML or JSON; `-` reads standard input
    #[arg(value_name = "FILE", required = true)]
    pub file: Option<PathBuf>,
    /// Where to write the new definition [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// Help of `chainbot import`.
pub const IMPORT_HELP: &str = "\
The report says for every line what was changed, what was dropped, and what a person must decide; it goes to standard \
error. A file that exists is not overwritten. See docs/workflows/import.md.

Examples:
  chainbot import old-workflow.json --out workflow.yaml
  chainbot import old-workflow.json --json | jq .report

Exit codes: 0 the result is valid, 1 it needs a person before it is, 2 the file cannot be imported.";
