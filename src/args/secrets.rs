//! The command line for secrets that go to another machine.

use std::path::PathBuf;

use clap::Args;

use super::{Json, Place};

/// `chainbot secret export`.
#[derive(Args, Debug)]
pub struct SecretExport {
    /// A file that is not there yet
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Read the passphrase from a file; else it is asked for, or read from a pipe
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot secret import`.
#[derive(Args, Debug)]
pub struct SecretImport {
    /// A file of `chainbot secret export`
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Read the passphrase from a file; else it is asked for, or read from a pipe
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Make new versions of secrets that are here under the same name
    #[arg(long)]
    pub replace: bool,
    /// Whose those become whose owner is no user here; `local` is the operator
    #[arg(long, value_name = "USER")]
    pub owner: Option<String>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}
