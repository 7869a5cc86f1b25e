//! The command line for what happens at this moment.

use clap::Args;

use super::{Json, Place};

/// `chainbot events`.
#[derive(Args, Debug)]
pub struct Events {
    /// Only on topics of this pattern; `*` is one segment, a last `#` the rest. May be given several times
    #[arg(long = "topic", value_name = "PATTERN", default_value = "run.*")]
    pub topics: Vec<String>,
    /// Begin after this place of the journal; without it, with what comes
    #[arg(long, value_name = "SEQ")]
    pub since: Option<u64>,
    /// End after so many
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// Shown below the help.
pub const EVENTS_HELP: &str = "\
The topics are in docs/websocket.md. With --json every line is a JSON object.

Examples:
  chainbot events
  chainbot events --topic 'inbox.*' --topic notification
  chainbot events --topic 'run.#' --since 0 --json";
