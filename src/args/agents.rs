//! The command line for agents.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Json, Place, Query};

/// `chainbot agent`.
#[derive(Subcommand, Debug)]
pub enum AgentView {
    /// List the agents: type, status, tasks
    List(Query),
    /// Show an agent with its definition and what it used
    Show(OfAgent),
    /// Make agents of definitions, or give those that exist a new one
    Deploy(DeployAgents),
    /// Give an agent a task and show what it does until it is done
    Task(AgentTask),
    /// List an agent's tasks, which are runs
    Tasks(OfAgent),
    /// Take an agent out of error
    Wake(OfAgent),
    /// End an agent for good and cancel its tasks
    Terminate(OfAgent),
    /// Delete an agent and cancel its tasks
    Delete(OfAgent),
}

/// One agent.
#[derive(Args, Debug)]
pub struct OfAgent {
    /// The agent: name or id
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot agent deploy`.
#[derive(Args, Debug)]
pub struct DeployAgents {
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

/// `chainbot agent task`.
#[derive(Args, Debug)]
pub struct AgentTask {
    /// The agent: name or id
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What is to be done: text, or JSON for types that take an object
    #[arg(value_name = "TASK")]
    pub task: String,
    /// What belongs to it, as JSON or text; it taints the task
    #[arg(long, value_name = "JSON")]
    pub context: Option<String>,
    /// Narrow the agent's budget: tokens, cost, turns, tool_calls, time
    #[arg(long = "budget", value_name = "KEY=VALUE")]
    pub budget: Vec<String>,
    /// Leave when a person is asked, or the task waits otherwise
    #[arg(long)]
    pub no_wait: bool,
    /// Leave after this time; the task goes on
    #[arg(long, value_name = "TIME", value_parser = super::duration)]
    pub timeout: Option<Duration>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot chat`.
#[derive(Args, Debug)]
pub struct Chat {
    /// The agent: name or id
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Say this and leave with the answer; without it, each line of standard input is said
    #[arg(value_name = "TEXT")]
    pub text: Option<String>,
    /// Go on with this conversation; a new one unless given
    #[arg(long, value_name = "ID")]
    pub thread: Option<String>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

impl AgentView {
    /// Whether the answer is JSON.
    pub fn json(&self) -> &Json {
        match self {
            Self::List(args) => &args.json,
            Self::Show(args)
            | Self::Tasks(args)
            | Self::Wake(args)
            | Self::Terminate(args)
            | Self::Delete(args) => &args.json,
            Self::Deploy(args) => &args.json,
            Self::Task(args) => &args.json,
        }
    }
}

/// Examples of `chat`.
pub const CHAT_HELP: &str = "\
Examples:
  chainbot chat butler
  chainbot chat butler 'Is it warm?' --thread 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00";

/// Examples of `agent`.
pub const AGENT_HELP: &str = "\
Examples:
  chainbot agent deploy butler.yaml
  chainbot agent task butler 'Is it warm enough for tomatoes?' --budget turns=4
  chainbot agent show butler";
