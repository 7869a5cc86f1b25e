//! The command line: what it accepts and the help it prints.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A small host for ALEX OS modules: loads one by path, gives it an event bus and an HTTP ingress, and watches it.
#[derive(Parser, Debug)]
#[command(name = "host-shim", version, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a module until SIGINT or SIGTERM
    #[command(after_long_help = RUN_HELP)]
    Run(RunArgs),
    /// Put another version of the module into a running host
    #[command(after_long_help = UPGRADE_HELP)]
    Upgrade(UpgradeArgs),
    /// Have the module of a running host read its configuration anew
    Reconfigure(AskArgs),
    /// Show the module of a running host
    Status(AskArgs),
    /// Print a module's manifest
    Describe(DescribeArgs),
    /// Run a script of calls and print the transcript
    Transcript(TranscriptArgs),
    /// Check that a library keeps the contract of modules
    #[command(after_long_help = VALIDATE_HELP)]
    Validate(ValidateArgs),
}

/// `host-shim run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The module's shared library
    #[arg(long, value_name = "PATH")]
    pub module: PathBuf,
    /// Configuration file that the module reads
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder for the module's data
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Socket for `host-shim upgrade` and the like; `host-shim.sock` in the data folder unless named
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// One configuration value, such as http.port=8080; JSON if it parses as JSON, else text. Repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Address of the host's own HTTP ingress, such as 127.0.0.1:8080; port 0 takes a free one. Without it there is none
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,
    /// Path below which requests are forwarded to the module
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub mount: String,
    /// How often the module's health is read
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    pub health_interval: Duration,
    /// How long the module may take to stop
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub stop_timeout: Duration,
    /// How the log looks
    #[command(flatten)]
    pub log: LogArgs,
}

/// A running host, and how it is asked.
#[derive(Args, Debug)]
pub struct AskArgs {
    /// Data folder that the host was started with
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Socket that the host was started with
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Print the host's lines as they are: one JSON object each, the last with `result`
    #[arg(long)]
    pub json: bool,
}

/// `host-shim upgrade`.
#[derive(Args, Debug)]
pub struct UpgradeArgs {
    /// Which host
    #[command(flatten)]
    pub host: AskArgs,
    /// The new version's shared library, under a name of its own
    #[arg(long, value_name = "PATH")]
    pub module: PathBuf,
    /// How long each step may take
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Take a version that brings the store to a form which the old one cannot read
    #[arg(long)]
    pub allow_migration: bool,
}

/// How the log looks.
#[derive(Args, Debug)]
pub struct LogArgs {
    /// Form of the log on stderr and of the notices on stdout
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Least severe level that is printed
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = parse_level)]
    pub log_level: log::LevelFilter,
}

/// Form of log lines.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line each; coloured on a terminal
    Text,
    /// One JSON object a line
    Json,
}

/// `host-shim describe`.
#[derive(Args, Debug)]
pub struct DescribeArgs {
    /// The module's shared library
    #[arg(long, value_name = "PATH")]
    pub module: PathBuf,
}

/// `host-shim transcript`.
#[derive(Args, Debug)]
pub struct TranscriptArgs {
    /// The module's shared library
    #[arg(long, value_name = "PATH")]
    pub module: PathBuf,
    /// The script; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub script: PathBuf,
    /// Folder for the module's data
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// How the module's functions are found
    #[arg(long, value_enum, default_value_t = Door::C)]
    pub door: Door,
}

/// The two ways into a module. They lead to the same functions.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The symbol of the C ABI, which every module has
    C,
    /// The root module of abi_stable, which compares the layout of every type first; modules in Rust may have it
    AbiStable,
}

/// `host-shim validate`.
#[derive(Args, Clone, Debug)]
pub struct ValidateArgs {
    /// The module's shared library
    #[arg(value_name = "MODULE", required_unless_present = "list")]
    pub module: Option<PathBuf>,
    /// Make this check only. Repeatable
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Configuration file that the module reads
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One configuration value, as of `run`. Repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Start of the numbers by chance; without it a new one, which is printed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How long the fuzzers run, together
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub fuzz: Duration,
    /// Exercises that run at once
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    /// Run everything in this process, for a debugger; a crash ends it
    #[arg(long)]
    pub in_process: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Print the names of the checks
    #[arg(long)]
    pub list: bool,
    /// The exercise of a child process
    #[arg(long, value_name = "NAME", hide = true)]
    pub child: Option<String>,
}

const VALIDATE_HELP: &str = "\
Any module of this ABI can be checked; nothing is known of it but its manifest. The checks run in processes of their own, so
a crash or a hang is a result. Each runs in a folder of its own, which is the module's data folder and is removed afterwards.
What instances would get in each other's way with, such as a port, the manifest's `trial_values` set to something harmless;
--set stands over them. A module without them that opens a port needs --set http.port=0 or the like, or --jobs 1.

A finding of chance comes with its seed: --seed N makes the same calls again. In a debugger:
  gdb --args host-shim validate MODULE --in-process --only NAME --seed N

docs/abi/validator.md describes every check.
Exit codes: 0 nothing failed, 1 a check failed, 2 wrong arguments or the host could not do its part.";

const RUN_HELP: &str = "\
On the ingress everything below --mount is forwarded to the module. On a loopback address the host adds its own routes,
for people and tests:
  POST /host/events/{topic}   publish an event; JSON body, optional header Event-Id
  GET  /host/events?since=N   events the module published after number N; wait_ms=M waits for one, topic=P filters
  GET  /host/health           health of the module

  GET  /host/metrics          figures of module and host, OpenMetrics text

Signals: SIGINT or SIGTERM stops the module and exits with 0; a second one exits at once. SIGHUP upgrades when --module
is a link that names another file now, else has the module read its configuration anew.
Exit codes: 0 stopped as asked, 1 could not load, configure, start or end it, 2 wrong arguments,
3 the module failed while it ran, 4 it did not stop in time, 128+N ended at once by a second signal N.";

const UPGRADE_HELP: &str = "\
The new version is loaded, described and initialized beside the old one; then requests and events wait in the host while the
old one comes to rest and the new one starts. When anything fails, the old one goes on and the reason is told.
Exit codes: 0 the new version serves, 1 it does not, 2 wrong arguments.";

/// Reads `500ms`, `10s`, `2m`, or a plain number of seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 =
        number.parse().map_err(|_| "expected a number with a unit, such as 500ms, 10s or 2m")?;
    let ms = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        _ => return Err(format!("unknown unit `{unit}`; use ms, s or m")),
    };
    // The ABI carries milliseconds in 32 bits; a day is beyond any honest interval or deadline.
    match ms {
        Some(0) => Err("must be longer than 0".to_owned()),
        Some(ms) if ms <= 86_400_000 => Ok(Duration::from_millis(ms)),
        _ => Err("must be at most 24 hours (1440m)".to_owned()),
    }
}

/// Reads a level of the `log` crate, `off` included.
fn parse_level(text: &str) -> Result<log::LevelFilter, String> {
    text.parse().map_err(|_| "use error, warn, info, debug, trace or off".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_read_with_their_unit() {
        for (text, expect) in
            [("500ms", Some(500)), ("10s", Some(10_000)), ("2m", Some(120_000)), ("3", Some(3_000))]
        {
            assert_eq!(parse_duration(text).ok(), expect.map(Duration::from_millis), "{text}");
        }
        for text in ["", "s", "0", "1h", "-1s", "1.5s", "1441m", "99999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text} must be refused");
        }
    }
}
