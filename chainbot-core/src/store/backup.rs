//! Backups: whole copies of the database in folders of their own, and the way back.
//!
//! ```text
//! database ──► one read transaction: hash every table, copy every page ──► .NAME.partial ──► sync ──► rename ──► NAME/
//!                                                                            chainbot.db, manifest.json
//! NAME/ ──► verify ──► copy beside the database, migrate, check ──► the old log folded in ──► rename
//! ```
//!
//! Invariants: what has its name is whole, because it gets the name last; a backup is read again before it gets its name, and
//! what was read there hashes to what was read in the database; the key of the secrets is never in it. A restore replaces one
//! file by one rename, so at every moment the old state or the new one is there, whole.
//!
//! The copy is SQLite's own ([`take`]); [`content`] hashes, [`manifest`] says what a backup is, [`shelf`] is the folder of
//! backups, [`verify`] and [`restore`] are the way back. Nothing here knows of schedules, secrets' values or requests.

pub(super) mod content;
mod manifest;
pub mod restore;
mod shelf;
mod take;
mod verify;

pub use manifest::{DATABASE, FileSum, Kind, Manifest, SECRETS, TableSum};
pub use restore::{Prepared, Restore, Stage};
pub use shelf::{Entry, Shelf};
pub use take::{Order, Progress, take, take_file};
pub use verify::{Checked, verify};

/// Sealed secrets of a backup.
pub fn secrets_in(folder: &Path) -> crate::Result<Vec<crate::port::StoredSecret>> {
    super::sqlite::secret::all(&super::sqlite::connection::open_reader(&folder.join(DATABASE))?)
}

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::error::code::backup as code;

/// A file or folder of a backup cannot be worked with.
pub(crate) fn failed(what: &str, path: &Path, error: std::io::Error) -> Error {
    let message = format_args!("{what} {}: {error}", path.display()).to_string();
    let code = if error.kind() == ErrorKind::StorageFull { &code::NO_ROOM } else { &code::FAILED };
    Error::new(code, message)
        .help("look at the disk and at who may write there; nothing that was there before was changed")
        .because(error)
}

/// SQLite cannot make or read a copy.
fn copy_failed(path: &Path, error: rusqlite::Error) -> Error {
    let code = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => &code::NO_ROOM,
        _ => &code::FAILED,
    };
    Error::new(code, format_args!("the copy {}: {error}", path.display()).to_string())
        .help("look at the disk; `chainbot doctor` checks the database")
        .because(error)
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

/// A file that is not there yet, for its owner alone.
fn new_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).read(true).create_new(true).mode(0o600).open(path)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
