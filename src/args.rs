//! The command line: what it accepts and the help it prints.

mod account;
mod agents;
mod author;
mod examples;
mod keep;
mod live;
mod machine;
mod models;
mod people;
mod secrets;
mod stored;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use account::{OfUser, TokenCreate, TokenRevoke, TokenView, UserAdd, UserPassword, UserView};
use account::{TOKEN_HELP, USER_HELP};
use agents::{AGENT_HELP, CHAT_HELP};
pub use agents::{AgentTask, AgentView, Chat, DeployAgents, OfAgent};
pub use author::{Format, Graph, Import, ImportChats, ImportDefinition, ImportView, Test};
use author::{GRAPH_HELP, IMPORT_HELP, TEST_HELP};
#[cfg(test)]
use examples::of as examples_of;
pub use examples::{EXIT_CODES, with_examples};
use keep::{AUDIT_HELP, BACKUP_HELP, RESTORE_HELP};
pub use keep::{
    AuditExport, AuditList, AuditVerify, AuditView, Backup, BackupMake, BackupVerify, BackupView, Restore,
};
use live::EVENTS_HELP;
pub use live::Events;
use machine::{GPIO_HELP, MCP_HELP, OUTBOX_HELP};
pub use machine::{GpioSet, GpioView, McpApprove, McpView, OfMessage, OutboxList, OutboxView};
use models::MODEL_HELP;
pub use models::{ModelProbe, ModelView};
use people::{ANSWER_HELP, FORK_HELP};
pub use people::{Answer, Fork, Inbox, OfRun, Pause};
pub use secrets::{SecretExport, SecretImport};
use stored::{DEPLOY_HELP, DIFF_HELP, SHARE_HELP, TRIGGERS_HELP};
pub use stored::{Delete, Deploy, Diff, Rollback, Share, Switch, Triggers, Versions, With, Workflows};

/// Workflows that survive a pulled plug: run them here, or talk to the server that does.
#[derive(Parser, Debug)]
#[command(name = "chainbot", version, max_term_width = 110, after_help = FIRST_STEPS)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const FIRST_STEPS: &str = "\
First steps:
  chainbot validate hello.yaml     every problem of a workflow, with its line
  chainbot run hello.yaml          runs it and prints its result
  chainbot start                   a server in the background: runs go on without a terminal

`chainbot help COMMAND` shows examples of each.";

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Print the version
    Version(Json),
    /// Show every problem of workflow definitions
    #[command(after_help = VALIDATE_HELP)]
    Validate(Validate),
    /// Run a workflow and print its result
    #[command(after_help = RUN_HELP)]
    Run(Run),
    /// Store workflows under their names: new ones are created, changed ones become a new version
    #[command(after_help = DEPLOY_HELP)]
    Deploy(Deploy),
    /// Start a server in the background
    #[command(after_help = START_HELP)]
    Start(Start),
    /// Stop the server
    Stop(Stop),
    /// Show whether a server runs, and what it does
    #[command(after_help = "Exit codes: 0 a server runs, 1 none does.")]
    Status(Query),
    /// Show how well the server does, by component
    #[command(after_help = "Exit codes: 0 the score is 0.5 or more, 1 it is less, or no server runs.")]
    Health(Query),
    /// List runs, or show one
    #[command(after_help = RUNS_HELP)]
    Runs(Runs),
    /// End a run
    Cancel(Cancel),
    /// Hand a signal to a run that waits for it
    #[command(after_help = SIGNAL_HELP)]
    Signal(Signal),
    /// Show the server's log, or the journal of a run
    #[command(after_help = LOGS_HELP)]
    Logs(Logs),
    /// Show what happens on the server, as it happens
    #[command(after_help = EVENTS_HELP)]
    Events(Events),
    /// Hold a run: what is under way ends, nothing new begins
    Pause(Pause),
    /// Let a paused run go on
    Resume(OfRun),
    /// Take a failed run up again from what failed
    Retry(OfRun),
    /// Make a new run with the history of another one before a step
    #[command(after_help = FORK_HELP)]
    Fork(Fork),
    /// Show the questions that runs ask people
    Inbox(Inbox),
    /// Answer a question
    #[command(after_help = ANSWER_HELP)]
    Answer(Answer),
    /// List the stored workflows
    Workflows(Workflows),
    /// Delete a stored workflow; its runs and their history stay
    Delete(Delete),
    /// List the versions of a workflow, or print one
    Versions(Versions),
    /// Make the content of an old version of a workflow the current one
    Rollback(Rollback),
    /// Show what two versions of a workflow, or two runs, differ in
    #[command(after_help = DIFF_HELP)]
    Diff(Diff),
    /// List triggers with their next times
    #[command(after_help = TRIGGERS_HELP)]
    Triggers(Triggers),
    /// Say who sees and uses a workflow besides its owner, or give it to somebody else
    #[command(after_help = SHARE_HELP)]
    Share(Share),
    /// Let triggers start a workflow
    Enable(Switch),
    /// Let no trigger start a workflow; people and other workflows still can
    Disable(Switch),
    /// Look at folder, disk, database and clock, and say what to do
    #[command(after_help = DOCTOR_HELP)]
    Doctor(Query),
    /// Check the journal's invariants, and mend what follows from the journal
    #[command(after_help = FSCK_HELP)]
    Fsck(Fsck),
    /// Test workflows offline: mocks, a virtual clock, and what must come of it
    #[command(after_help = TEST_HELP)]
    Test(Test),
    /// Draw a workflow
    #[command(after_help = GRAPH_HELP)]
    Graph(Graph),
    /// Turn a definition of the predecessor into one of this version
    #[command(after_help = IMPORT_HELP)]
    Import(Import),
    /// Check and show the configuration, and have a server take a changed one
    #[command(subcommand_value_name = "WHAT", subcommand_help_heading = "What", after_help = CONFIG_HELP)]
    Config {
        /// Which view.
        #[command(subcommand)]
        view: ConfigView,
    },
    /// Print the JSON Schema of workflow definitions, for editors
    #[command(after_help = SCHEMA_HELP)]
    Schema,
    /// Store, list and remove secrets
    #[command(subcommand_value_name = "WHAT", subcommand_help_heading = "What", after_help = SECRET_HELP)]
    Secret {
        /// What is done.
        #[command(subcommand)]
        view: SecretView,
    },
    /// Make, list and change users: who may sign in, and what they may do
    #[command(subcommand_value_name = "WHAT", subcommand_help_heading = "What", after_help = USER_HELP)]
    User {
        /// What is done.
        #[command(subcommand)]
        view: UserView,
    },
    /// Make, list and revoke API tokens, for programs that cannot sign in
    #[command(subcommand_value_name = "WHAT", subcommand_help_heading = "What", after_help = TOKEN_HELP)]
    Token {
        /// What is done.
        #[command(subcommand)]
        view: TokenView,
    },
    /// List, resend and remove messages that leave after their steps
    #[command(subcommand_value_name = "WHAT", subcommand_help_heading = "What", after_help = OUTBOX_HELP)]
    Outbox {
        /// What is done.
        #[command(subcommand)]
        view: OutboxView,
    },
    /// Make a backup; list them, or hold one against its manifest
    #[command(after_help = BACKUP_HELP)]
    Backup(Backup),
    /// Show who changed what, and whether that log is as it was written
    #[command(subcommand_value_name = "WHAT", subcommand_help_heading = "What", after_help = AUDIT_HELP)]
    Audit {
        /// What is done.
        #[command(subcommand)]
        view: AuditView,
    },
    /// Print what a shell needs to complete commands
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// For which shell
        #[arg(value_enum, value_name = "SHELL")]
        shell: Shell,
    },
    /// Write the manual, a page a command
    #[command(after_help = MAN_HELP)]
    Man(Man),
    /// Put a backup in the place of the database
    #[command(after_help = RESTORE_HELP)]
    Restore(Restore),
    /// Agents: make them, give them tasks, end them
    #[command(subcommand_value_name = "WHAT", subcommand_help_heading = "What", after_help = AGENT_HELP)]
    Agent {
        /// What is done.
        #[command(subcommand)]
        view: AgentView,
    },
    /// Talk to an agent
    #[command(after_help = CHAT_HELP)]
    Chat(Chat),
    /// List the models of agents, and ask one how it calls tools
    #[command(subcommand_value_name = "WHAT", subcommand_help_heading = "What", after_help = MODEL_HELP)]
    Model {
        /// What is done.
        #[command(subcommand)]
        view: ModelView,
    },
    /// List the configured pins, and drive one by hand
    #[command(subcommand_value_name = "WHAT", subcommand_help_heading = "What", after_help = GPIO_HELP)]
    Gpio {
        /// What is done.
        #[command(subcommand)]
        view: GpioView,
    },
    /// Ask the MCP servers of the configuration for their tools
    #[command(subcommand_value_name = "WHAT", subcommand_help_heading = "What", after_help = MCP_HELP)]
    Mcp {
        /// What is done.
        #[command(subcommand)]
        view: McpView,
    },
}

/// Shells that completions are made for.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// GNU bash
    Bash,
    /// The Z shell
    Zsh,
    /// fish
    Fish,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  chainbot completions bash > ~/.local/share/bash-completion/completions/chainbot
  chainbot completions zsh > ~/.zfunc/_chainbot
  chainbot completions fish > ~/.config/fish/completions/chainbot.fish";

/// `chainbot man`.
#[derive(Args, Debug)]
pub struct Man {
    /// Where the pages go; it must be there
    #[arg(value_name = "DIR", required_unless_present = "markdown")]
    pub dir: Option<PathBuf>,
    /// Print all of it as one page of Markdown instead
    #[arg(long, conflicts_with = "dir")]
    pub markdown: bool,
}

const MAN_HELP: &str = "\
Example:
  chainbot man ~/.local/share/man/man1 && man chainbot-run";

/// Which data folder and which configuration.
#[derive(Args, Debug, Clone, Default)]
pub struct Place {
    /// Data folder [default: module.data_dir of the configuration, else $XDG_STATE_HOME/chainbot,
    /// else for root /var/lib/alex_os/chainbot, else ~/.local/state/chainbot]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Configuration file [default: /etc/alex_os/modules/chainbot/config.yaml if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A server instead of a data folder: https, or http on this machine. Its token is read from --token-file or
    /// from $CHAINBOT_TOKEN, never from the command line, which every process of the machine can read
    #[arg(long, value_name = "URL", conflicts_with_all = ["data", "config"])]
    pub url: Option<String>,
    /// With --url: a file that holds an API token or an access token
    #[arg(long, value_name = "FILE", requires = "url")]
    pub token_file: Option<PathBuf>,
}

/// For machines.
#[derive(Args, Debug, Clone, Copy, Default)]
pub struct Json {
    /// Print JSON, errors included, and nothing else
    #[arg(long)]
    pub json: bool,
}

/// A command without arguments of its own.
#[derive(Args, Debug)]
pub struct Query {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot validate`.
#[derive(Args, Debug)]
pub struct Validate {
    /// Definitions in YAML or JSON; `-` reads standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

const VALIDATE_HELP: &str = "\
Nothing is run and nothing is stored. A server that runs on the data folder knows its
channels, pins, mail accounts and constants; without one these names are not checked.

Examples:
  chainbot validate greenhouse.yaml
  chainbot validate workflows/*.yaml --json
  cat greenhouse.yaml | chainbot validate -

Exit codes: 0 no errors (warnings may be), 1 errors, 2 a file cannot be read.";

/// `chainbot run`.
#[derive(Args, Debug)]
pub struct Run {
    /// A definition in YAML or JSON, `-` for standard input, or the name of a stored workflow
    #[arg(value_name = "FILE|NAME")]
    pub what: PathBuf,
    /// An input; JSON if it parses as JSON, else text. Repeatable
    #[arg(long = "input", short = 'i', value_name = "NAME=VALUE")]
    pub inputs: Vec<String>,
    /// Inputs from a file of JSON or YAML; --input beats it
    #[arg(long, value_name = "FILE")]
    pub input_file: Option<PathBuf>,
    /// Follow it at most this long, such as 90s or 5m; the run goes on
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Leave when the run waits for a time, a signal or a person
    #[arg(long)]
    pub no_wait: bool,
    /// Run nothing: show each step, what it would send, and which way it would go
    #[arg(long, conflicts_with_all = ["timeout", "no_wait"])]
    pub dry: bool,
    /// With --dry: the output of a step that calls out, as JSON. Repeatable
    #[arg(long, value_name = "STEP=JSON", requires = "dry")]
    pub mock: Vec<String>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

const RUN_HELP: &str = "\
A file is stored under its name (a changed one is a new version), a run of it is started, \
its steps are shown as they go, and its result is printed. When a server works on the data folder, \
the run is its; else this process runs it, and other unfinished runs of the folder go on as well.

Ctrl-C leaves at once and harms nothing: with a server the run goes on; without, it resumes where \
it was at the next `chainbot run` or `chainbot start` on the same folder. `chainbot runs ID` shows it.

Examples:
  chainbot run hello.yaml
  chainbot run hello
  chainbot run greenhouse.yaml --input zone=north --input 'rows=[1, 2]'
  chainbot run report.yaml --input-file inputs.yaml --json | jq .run.output
  chainbot run approve.yaml --no-wait
  chainbot run report.yaml --dry --mock 'fetch={\"data\": [1, 2]}'

Exit codes: 0 completed, 1 failed, 2 wrong arguments, inputs or definition, 3 cancelled,
4 not over: it waits (--no-wait) or --timeout passed.";

/// `chainbot start`.
#[derive(Args, Debug)]
pub struct Start {
    /// Address of the API, such as 127.0.0.1:8000; port 0 takes any free one [default: api.host and api.port]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub http: Option<SocketAddr>,
    /// Stay in the foreground, for a service manager
    #[arg(long)]
    pub foreground: bool,
    /// The module [default: libchainbot_plugin.so beside this program]
    #[arg(long, value_name = "PATH")]
    pub module: Option<PathBuf>,
    /// The host program [default: host-shim beside this program]
    #[arg(long, value_name = "PATH")]
    pub host: Option<PathBuf>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

const START_HELP: &str = "\
Returns when the server answers. Its log is chainbot.log in the data folder; its address and \
process are in server.json there, and the API token in token. A server that runs already is left as it is.

Examples:
  chainbot start
  chainbot start --data ./state --http 127.0.0.1:8080
  chainbot start --foreground --config /etc/alex_os/modules/chainbot/config.yaml";

/// `chainbot stop`.
#[derive(Args, Debug)]
pub struct Stop {
    /// How long it may take
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub timeout: Duration,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot runs`.
#[derive(Args, Debug)]
pub struct Runs {
    /// A run: its id
    #[arg(value_name = "ID", conflicts_with_all = ["status", "workflow", "limit"])]
    pub id: Option<String>,
    /// The run as it stood after its record SEQ; `chainbot logs ID` numbers them
    #[arg(long, value_name = "SEQ", requires = "id")]
    pub at: Option<u32>,
    /// With what each step was given and what it gave
    #[arg(long, requires = "id")]
    pub steps: bool,
    /// Only with this status
    #[arg(long, value_parser = ["pending", "running", "waiting", "paused", "completed", "failed", "cancelled"])]
    pub status: Option<String>,
    /// Only of this workflow: its name or id
    #[arg(long, value_name = "WORKFLOW")]
    pub workflow: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

const RUNS_HELP: &str = "\
Without a server the engine is opened in this process as long as the command takes; unfinished runs go on meanwhile.

Examples:
  chainbot runs --status failed --limit 5
  chainbot runs --workflow greenhouse --json
  chainbot runs 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00
  chainbot runs 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00 --steps
  chainbot runs 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00 --at 7";

/// `chainbot cancel`.
#[derive(Args, Debug)]
pub struct Cancel {
    /// The run
    #[arg(value_name = "ID")]
    pub id: String,
    /// Why, for its history
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot signal`.
#[derive(Args, Debug)]
pub struct Signal {
    /// The run
    #[arg(value_name = "ID")]
    pub id: String,
    /// The signal's name, as the `wait` step says it
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What it carries, as JSON
    #[arg(long, value_name = "JSON")]
    pub data_json: Option<String>,
    /// A key that makes a repeat of this command harmless
    #[arg(long, value_name = "TEXT")]
    pub key: Option<String>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

const SIGNAL_HELP: &str = "\
Example:
  chainbot signal 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00 approved --data-json '{\"by\": \"mia\"}'";

/// `chainbot logs`.
#[derive(Args, Debug)]
pub struct Logs {
    /// A run, whose journal is shown instead of the server's log
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Go on as more comes; ends with the run, or with Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// Last lines of the server's log to begin with
    #[arg(long, value_name = "N", default_value_t = 200, conflicts_with = "id")]
    pub lines: usize,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

const LOGS_HELP: &str = "\
With --json every line is a JSON object.

Examples:
  chainbot logs --follow
  chainbot logs 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00";

const SCHEMA_HELP: &str = "\
Examples:
  chainbot schema > workflow.schema.json

A definition that begins with this line is completed and checked by editors with the YAML language server:
  # yaml-language-server: $schema=workflow.schema.json";

const DOCTOR_HELP: &str = "\
Reads only, beside a server or without one; a small file that measures the disk is removed again.

Exit codes: 0 all is well or only warnings, 1 something fails.";

/// `chainbot fsck`.
#[derive(Args, Debug)]
pub struct Fsck {
    /// Make the derived tables say what the journal says; no server may run. The journal itself is never written
    #[arg(long)]
    pub repair: bool,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

const FSCK_HELP: &str = "\
Each finding names the invariant, the run and the record:
  I1 records follow each other without gap or damage   I3 the tables say what the journal says
  I4 an effect in doubt keeps its key                   I5 what waits has something that wakes it
  I8 the audit log is as it was written

Exit codes: 0 everything holds, 1 something does not.";

const CONFIG_HELP: &str = "\
Examples:
  chainbot config default > config.yaml
  chainbot config check --config config.yaml
  chainbot config reload --data ./state

Exit codes of check: 0 no errors (warnings may be), 1 errors; of reload: 0 taken, 1 refused: some key needs a restart.";

/// `chainbot config`.
#[derive(Subcommand, Debug)]
pub enum ConfigView {
    /// Show every problem of the configuration
    Check(Query),
    /// Show the settings in force and who decided each
    Show(Query),
    /// Have the running server read its configuration anew, and say which keys took effect
    Reload(Query),
    /// Print the JSON Schema of the file
    Schema,
    /// Print a commented file of the defaults
    Default,
}

fn duration(text: &str) -> Result<Duration, String> {
    chainbot_core::time::parse_duration(text).ok_or_else(|| "write 90s, 5m or 1h30m".to_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let text =
        text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse().map_err(|_| "write an address and a port, such as 127.0.0.1:8000".to_owned())
}

/// `chainbot secret`.
#[derive(Subcommand, Debug)]
pub enum SecretView {
    /// Store a secret, or a new version of one; its value comes from a file, a pipe or the terminal
    Set(SecretSet),
    /// List secrets, without their values
    List(Query),
    /// Remove a secret
    Remove(SecretRemove),
    /// Seal every secret with a new key, and forget the old one
    RotateKey(Query),
    /// Write all secrets into a new file, sealed under a passphrase
    Export(SecretExport),
    /// Bring in the secrets of such a file
    Import(SecretImport),
}

impl SecretView {
    fn json(&self) -> &Json {
        match self {
            SecretView::Set(args) => &args.json,
            SecretView::List(args) | SecretView::RotateKey(args) => &args.json,
            SecretView::Remove(args) => &args.json,
            SecretView::Export(args) => &args.json,
            SecretView::Import(args) => &args.json,
        }
    }
}

/// `chainbot secret set`.
#[derive(Args, Debug)]
pub struct SecretSet {
    /// What expressions call it: `secrets.NAME`
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A host it may be sent to; may be given several times. Without any it can only sign
    #[arg(long = "host", value_name = "HOST[:PORT]")]
    pub hosts: Vec<String>,
    /// What it is for, in one line
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Read the value from a file
    #[arg(long, value_name = "FILE")]
    pub from_file: Option<PathBuf>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot secret remove`.
#[derive(Args, Debug)]
pub struct SecretRemove {
    /// Which
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

const SECRET_HELP: &str = "\
Examples:
  chainbot secret set github_token --host api.github.com       asks for the value
  pass show mail | chainbot secret set smtp_password --host smtp.example.com
  chainbot secret set heating_key --host http://192.168.1.20:8080 --from-file key.txt
  chainbot secret rotate-key
  chainbot stop && chainbot secret export secrets.sealed       asks for a passphrase
  chainbot secret import secrets.sealed --passphrase-file phrase

Export and import work on the data folder of this machine while no server does. What is exported opens with the passphrase and
nothing else; values never leave a server by its API.

Secrets in backups made before a rotation open with the old secret.key only; those made --with-secrets need none.";

impl Command {
    /// Whether a machine reads the output, errors included.
    pub fn is_json(&self) -> bool {
        match self {
            Command::Version(json) => json.json,
            Command::Validate(args) => args.json.json,
            Command::Run(args) => args.json.json,
            Command::Deploy(args) => args.json.json,
            Command::Start(args) => args.json.json,
            Command::Stop(args) => args.json.json,
            Command::Status(args) | Command::Health(args) => args.json.json,
            Command::Runs(args) => args.json.json,
            Command::Cancel(args) => args.json.json,
            Command::Signal(args) => args.json.json,
            Command::Logs(args) => args.json.json,
            Command::Events(args) => args.json.json,
            Command::Pause(args) => args.run.json.json,
            Command::Resume(args) | Command::Retry(args) => args.json.json,
            Command::Fork(args) => args.run.json.json,
            Command::Inbox(args) => args.json.json,
            Command::Answer(args) => args.json.json,
            Command::Workflows(args) => args.json.json,
            Command::Delete(args) => args.json.json,
            Command::Versions(args) => args.json.json,
            Command::Rollback(args) => args.json.json,
            Command::Diff(args) => args.json.json,
            Command::Triggers(args) => args.json.json,
            Command::Share(args) => args.json.json,
            Command::Enable(args) | Command::Disable(args) => args.json.json,
            Command::Doctor(args) => args.json.json,
            Command::Fsck(args) => args.json.json,
            Command::Config {
                view: ConfigView::Check(args) | ConfigView::Show(args) | ConfigView::Reload(args),
            } => args.json.json,
            Command::Config { .. } => false,
            Command::Schema | Command::Graph(_) => false,
            Command::Test(args) => args.json.json,
            Command::Import(Import { view: Some(ImportView::Chatgpt(args)), .. }) => args.json.json,
            Command::Import(args) => args.definition.json.json,
            Command::Secret { view } => view.json().json,
            Command::User { view } => view.json().json,
            Command::Token { view } => view.json().json,
            Command::Outbox { view: OutboxView::List(args) } => args.json.json,
            Command::Outbox { view: OutboxView::Resend(args) | OutboxView::Remove(args) } => args.json.json,
            Command::Backup(Backup { view: None, make }) => make.json.json,
            Command::Backup(Backup { view: Some(BackupView::List(args)), .. }) => args.json.json,
            Command::Backup(Backup { view: Some(BackupView::Verify(args)), .. }) => args.json.json,
            Command::Completions { .. } | Command::Man(_) => false,
            Command::Restore(args) => args.json.json,
            Command::Audit { view: AuditView::List(args) } => args.json.json,
            Command::Audit { view: AuditView::Verify(args) } => args.json.json,
            Command::Audit { view: AuditView::Export(_) } => false,
            Command::Agent { view } => view.json().json,
            Command::Chat(args) => args.json.json,
            Command::Model { view: ModelView::List(args) } => args.json.json,
            Command::Model { view: ModelView::Probe(args) } => args.json.json,
            Command::Gpio { view: GpioView::List(args) } => args.json.json,
            Command::Gpio { view: GpioView::Set(args) } => args.json.json,
            Command::Mcp { view: McpView::List(args) } => args.json.json,
            Command::Mcp { view: McpView::Approve(args) } => args.json.json,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Commands whose output is a text of its own, with the reason.
    const WITHOUT_JSON: &[(&str, &str)] = &[
        ("schema", "is JSON"),
        ("graph", "has --format json"),
        ("config schema", "is JSON"),
        ("config default", "is a file in YAML"),
        ("audit export", "is JSON lines"),
        ("completions", "is a script for a shell"),
        ("man", "is pages for people"),
    ];

    fn leaves(command: &clap::Command, path: &str, all: &mut Vec<(String, clap::Command)>) {
        let views: Vec<&clap::Command> =
            command.get_subcommands().filter(|view| view.get_name() != "help").collect();
        if views.is_empty() || !command.is_subcommand_required_set() {
            all.push((path.to_owned(), command.clone()));
        }
        for view in views {
            leaves(view, format!("{path} {}", view.get_name()).trim(), all);
        }
    }

    #[test]
    fn every_command_has_json_or_a_reason_and_an_example() {
        let mut root = Cli::command();
        root.build();
        let mut all = Vec::new();
        root.get_subcommands()
            .filter(|c| c.get_name() != "help")
            .for_each(|c| leaves(c, c.get_name(), &mut all));
        assert!(all.len() > 50, "{}", all.len());
        for (path, command) in &all {
            let has_json = command.get_arguments().any(|arg| arg.get_id() == "json");
            let is_told = WITHOUT_JSON.iter().any(|(known, _)| known == path);
            assert!(has_json != is_told, "{path}: --json {has_json}");
            assert!(command.get_about().is_some(), "{path} says nothing of itself");
            let top = path.split(' ').next().unwrap();
            assert!(examples_of(&root, top).contains(&format!("  chainbot {top}")), "{top} has no example");
        }
        for (path, _) in WITHOUT_JSON {
            assert!(all.iter().any(|(known, _)| known == path), "{path}");
        }
    }

    #[test]
    fn what_is_meant_is_read() {
        let cli = Cli::try_parse_from([
            "chainbot",
            "run",
            "a.yaml",
            "-i",
            "a=1",
            "--input",
            "b=2",
            "--timeout",
            "5m",
        ]);
        let Ok(Cli { command: Command::Run(run) }) = cli else { panic!("{cli:?}") };
        assert_eq!(run.inputs, ["a=1", "b=2"]);
        assert_eq!(run.timeout, Some(Duration::from_secs(300)));
        let cli = Cli::try_parse_from(["chainbot", "start", "--http", "localhost:0"]).unwrap();
        let Command::Start(start) = cli.command else { panic!() };
        assert_eq!(start.http.unwrap().to_string(), "127.0.0.1:0");
    }

    #[test]
    fn what_is_not_meant_is_refused() {
        for line in [
            "chainbot",
            "chainbot rnu a",
            "chainbot run",
            "chainbot validate",
            "chainbot deploy",
            "chainbot runs x --status failed",
            "chainbot runs --status broken",
            "chainbot runs --limit 0",
            "chainbot start --http here",
            "chainbot run a --timeout soon",
            "chainbot signal x",
            "chainbot config",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
