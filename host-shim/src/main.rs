//! host-shim: a small host for ALEX OS modules.
//!
//! It knows the ABI (`chainbot-abi`) and nothing else of any module: what works here works in every host that
//! keeps the contract. `run` drives one module; `describe` and `transcript` look at one; `validate` checks one.
//!
//! | file | holds |
//! |---|---|
//! | `args` `error` `limits` `logging` `signals` | the command's face and the process |
//! | `load` `module` `instance` `extension` `wire` `manifest` | the way into a module |
//! | `host` `guard` `completion` | the way back: services and answers |
//! | `bus` `pattern` `ingress` `forward` `problem` `health` `config` | what a running module is given |
//! | `current` `images` `upgrade` `within` `control` | one version of a module in place of another |
//! | `run` `transcript` `validate` | the commands |

mod args;
mod bus;
mod completion;
mod config;
mod control;
mod current;
mod error;
mod extension;
mod forward;
mod guard;
mod health;
mod host;
mod images;
mod ingress;
mod instance;
mod limits;
mod load;
mod logging;
mod manifest;
mod module;
mod pattern;
mod problem;
mod run;
mod signals;
mod transcript;
mod upgrade;
mod validate;
mod wire;
mod within;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command, DescribeArgs};
use error::{Error, Result, code};

fn main() -> ExitCode {
    let (command, result) = match Cli::parse().command {
        Command::Run(args) => {
            // First of all: the log's thread must inherit the mask too.
            let prepared = signals::block().and_then(|signals| {
                logging::start(args.log.log_format, args.log.log_level)?;
                Ok(signals)
            });
            ("run", prepared.and_then(|signals| run::run(&args, signals)))
        }
        Command::Upgrade(args) => ("upgrade", success(control::upgrade(&args))),
        Command::Reconfigure(args) => ("reconfigure", success(control::reconfigure(&args))),
        Command::Status(args) => ("status", success(control::status(&args))),
        Command::Describe(args) => ("describe", describe(&args)),
        Command::Transcript(args) => return transcript::command(&args),
        Command::Validate(args) => return validate::command(&args),
    };
    let Err(error) = result else {
        logging::flush();
        return ExitCode::SUCCESS;
    };
    // Both: a supervisor reads the log, and a person without one still sees why.
    if command == "run" {
        log::error!("{error}")
    } else {
        eprintln!("host-shim {command}: {error}")
    }
    logging::flush();
    end_at_once(error.exit as i32)
}

/// A request that was carried out and gave no: with `--json` its last line has said why.
fn success(result: Result<bool>) -> Result<()> {
    match result {
        Ok(true) => Ok(()),
        Ok(false) => end_at_once(1),
        Err(error) => Err(error),
    }
}

/// Ends the process without the destructors of static objects: threads of a module that has not stopped may still
/// use what those destroy.
fn end_at_once(code: i32) -> ! {
    // SAFETY: `_exit` has no precondition.
    unsafe { libc::_exit(code) }
}

/// Prints a module's manifest.
fn describe(args: &DescribeArgs) -> Result<()> {
    let manifest = manifest::Manifest::of(&load::load(&args.module)?)?;
    say(&format!("{:#}", manifest.document))
}

/// A line on standard output.
fn say(text: &str) -> Result<()> {
    match std::io::stdout().write_all(format!("{text}\n").as_bytes()) {
        // A reader such as `head` has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| Error::new(code::HOST_SETUP, format!("standard output: {error}"))),
    }
}
