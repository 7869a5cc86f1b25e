//! The command line for what keeps: backups, and the way back.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Json, Place, Query};

/// `chainbot backup`.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_value_name = "WHAT",
    subcommand_help_heading = "What"
)]
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

/// `chainbot audit`.
#[derive(Subcommand, Debug)]
pub enum AuditView {
    /// List who changed what, newest first
    List(AuditList),
    /// Look whether the log is as it was written
    Verify(AuditVerify),
    /// Print all of it as JSON lines, newest first
    Export(AuditExport),
}

/// `chainbot audit list`.
#[derive(Args, Debug)]
pub struct AuditList {
    /// Only this action, such as workflow.update
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// Only by this one
    #[arg(long, value_name = "ACTOR")]
    pub actor: Option<String>,
    /// Only on this sort of thing: workflow, run, secret, question, message, backup
    #[arg(long, value_name = "SORT")]
    pub target: Option<String>,
    /// Only on the thing of this id
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// From this time on, such as 2027-01-15T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Up to this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot audit verify`.
#[derive(Args, Debug)]
pub struct AuditVerify {
    /// A head that was noted elsewhere, as this command printed it: it finds a log that was made anew
    #[arg(long, value_name = "SEQ:LINK")]
    pub head: Option<String>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot audit export`.
#[derive(Args, Debug)]
pub struct AuditExport {
    /// A new file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
}

/// Examples of `audit`.
pub const AUDIT_HELP: &str = "\
Examples:
  chainbot audit list --action secret.set
  chainbot audit list --target run --since 2027-01-15T00:00:00Z
  chainbot audit verify --head 120:7f3a…
  chainbot audit export --to audit-2027.jsonl

Exit codes of verify: 0 the log is as it was written, 1 it is not.";
