//! `chainbot`: the command line. Every command that concerns runs goes over the API, to the server of the data
//! folder or to an engine in this process; so there is one code path for both.
//!
//! ```text
//! args      what is accepted           session   server or embedded engine
//! command/  one file a command         client    the API, over either
//! output    the only place that prints folder    data folder, server.json
//! ```
//!
//! Ctrl-C has its default meaning: the process ends at once. That is safe at any instant, because a run's state is
//! its journal on disk and nothing else.

mod args;
mod client;
mod command;
mod error;
mod folder;
mod follow;
mod hidden;
mod inputs;
mod logging;
mod output;
mod progress;
mod session;
mod snippet;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

fn main() -> ExitCode {
    let line = args::with_examples(args::Cli::command());
    let read = line.try_get_matches().and_then(|matches| args::Cli::from_arg_matches(&matches));
    let cli = match read {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too. Nobody listening is no failure.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let as_json = cli.command.is_json();
    match command::run(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::error(&error, as_json);
            ExitCode::from(error.exit_code())
        }
    }
}
