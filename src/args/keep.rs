//! The command line for what keeps: backups, and the way back.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Json, Place, Query};

/// `chainbot backup`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_value_name = "WHAT", subcommand_help_heading = "What")]
pub struct Backup {
    /// What is done; a backup is made when nothing is said.
    #[command(subcommand)]
    pub view: Option<BackupView>,
    /// How one is made.
    #[command(flatten)]
    pub make: BackupMake,
}

/// What else can be done with backups.
#[derive(Subcommand, Debug)]
pub enum BackupView {
    /// List backups, newest first
    List(Query),
    /// Read all of a backup and hold it against its manifest
    Verify(BackupVerify),
}

/// `chainbot backup`.
#[derive(Args, Debug)]
pub struct BackupMake {
    /// A folder in which the backup gets a folder of its own, such as a disk of another machine [default: backup.dir]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// What it is called: lower-case letters, digits, `_` and `-` [default: the moment]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Add the secrets, sealed under a passphrase, so that they can be restored on another machine
    #[arg(long)]
    pub with_secrets: bool,
    /// Read the passphrase from a file; else it is asked for, or read from a pipe
    #[arg(long, value_name = "FILE", requires = "with_secrets")]
    pub passphrase_file: Option<PathBuf>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot backup verify`.
#[derive(Args, Debug)]
pub struct BackupVerify {
    /// A backup's name, or its folder
    #[arg(value_name = "NAME|DIR")]
    pub backup: String,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot restore`.
#[derive(Args, Debug)]
pub struct Restore {
    /// A backup's name, or its folder
    #[arg(value_name = "NAME|DIR")]
    pub backup: String,
    /// Bring the secrets of `backup --with-secrets`; asks for the passphrase
    #[arg(long)]
    pub with_secrets: bool,
    /// Read the passphrase from a file; else it is asked for, or read from a pipe
    #[arg(long, value_name = "FILE", requires = "with_secrets")]
    pub passphrase_file: Option<PathBuf>,
    /// The database that is there cannot be read any more: put it aside as it is
    #[arg(long)]
    pub damaged: bool,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// Examples of `backup`.
pub const BACKUP_HELP: &str = "\
Works beside a server, which makes it, and without one. The key of the secrets is never in a backup.

Examples:
  chainbot backup
  chainbot backup --to /media/usb --with-secrets
  chainbot backup list
  chainbot backup verify 20270115-031700

Exit codes: 0 done, 1 it failed or the backup is damaged.";

/// Examples of `restore`.
pub const RESTORE_HELP: &str = "\
No server may work on the data folder. The database that is there is kept as a backup first, so the way back is another restore.
Runs that were under way in the backup go on; what they did after it may be done again.

Examples:
  chainbot stop && chainbot restore 20270115-031700 && chainbot start
  chainbot restore /media/usb/20270115-031700 --data ./state --with-secrets";
