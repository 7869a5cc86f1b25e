//! The store's errors, next to each other: each names the thing, the place and what to do.
//!
//! Text is built without `format!`, which is kept out of this folder so that no SQL can ever be built from
//! values.

use std::fmt;
use std::path::Path;

use crate::error::Error;
use crate::error::code::{account as account_code, general, memory, store};
use crate::id::{Lsn, RunId, WorkflowId};
use crate::limits;
use crate::port::AccountRefusal;

/// The database cannot be opened.
pub fn open(path: &Path, why: &dyn fmt::Display) -> Error {
    let message = format_args!("cannot open the database {}: {why}", path.display()).to_string();
    Error::new(&store::OPEN, message)
        .help("check that the path is right and the file is a ChainBot database, or restore a backup")
}

/// A setting did not take.
pub fn setting(path: &Path, name: &str, wanted: &str, got: &str) -> Error {
    let message =
        format_args!("{}: `{name}` is `{got}`, durability needs `{wanted}`", path.display()).to_string();
    Error::new(&store::SETTINGS, message)
        .help("put the data folder on a local file system (ext4, f2fs, btrfs, xfs), not on a network share")
}

/// A newer version has written the database.
pub fn newer(path: &Path, found: usize, known: usize) -> Error {
    let message = format_args!(
        "{} has schema version {found}, this ChainBot ({}) knows up to {known}",
        path.display(),
        crate::VERSION
    )
    .to_string();
    let help = format_args!(
        "start the newer ChainBot again, or put back the backup `schema-{known}`, which is the database as it was before an \
         upgrade from this version, without what has happened since; nothing was changed"
    );
    Error::new(&store::NEWER, message).help(help.to_string())
}

/// A read failed.
pub fn read(error: rusqlite::Error) -> Error {
    Error::new(&store::READ, format_args!("reading from the database failed: {error}").to_string())
        .help("check the disk and the system log; `chainbot doctor` checks the database")
        .because(error)
}

/// A write failed for good.
pub fn write(error: rusqlite::Error) -> Error {
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) {
        return Error::new(&store::FULL, "there is no room for the journal")
            .help("free space on the disk of the data folder")
            .because(error);
    }
    let message = format_args!("a commit failed and nothing more is acknowledged: {error}").to_string();
    Error::new(&store::WRITE, message)
        .help("check the disk and the system log, then start again: the journal decides what happened")
        .because(error)
}

/// A fault on purpose, as SQLite would tell it.
#[cfg(feature = "fault")]
pub fn on_purpose(what: crate::env::fault::Injected) -> rusqlite::Error {
    let code = if what.is_full { rusqlite::ffi::SQLITE_FULL } else { rusqlite::ffi::SQLITE_IOERR_FSYNC };
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(what.to_string()))
}

/// The same, as a read tells it.
#[cfg(feature = "fault")]
pub fn read_on_purpose(what: crate::env::fault::Injected) -> Error {
    read(on_purpose(what))
}

/// The same, as a write tells it.
#[cfg(feature = "fault")]
pub fn write_on_purpose(what: crate::env::fault::Injected) -> Error {
    write(on_purpose(what))
}

/// The same, as the file system tells it.
#[cfg(feature = "fault")]
pub fn io_on_purpose(what: crate::env::fault::Injected) -> std::io::Error {
    let kind = if what.is_full { std::io::ErrorKind::StorageFull } else { std::io::ErrorKind::Other };
    std::io::Error::new(kind, what.to_string())
}

/// A record is damaged.
pub fn corrupt(run: RunId, lsn: Lsn, why: &str) -> Error {
    let message = format_args!("record {} of run {run} is damaged: {why}", lsn.0).to_string();
    Error::new(&store::CORRUPT, message).help("restore a backup, and check the disk: this is not normal wear")
}

/// A run in the archive is damaged.
pub fn corrupt_archive(run: RunId, why: &str) -> Error {
    let message = format_args!("the archive of run {run} is damaged: {why}").to_string();
    Error::new(&store::CORRUPT, message).help("restore a backup, and check the disk: this is not normal wear")
}

/// There is no room for new work.
pub fn no_room() -> Error {
    Error::new(&store::FULL, "the disk is full: new work is refused until there is room")
        .help("free space on the disk of the data folder; nothing needs to be started again")
}

/// A row other than a journal record is damaged.
pub fn corrupt_row(what: &str, id: &dyn fmt::Display) -> Error {
    let message = format_args!("the stored {what} {id} is damaged").to_string();
    Error::new(&store::CORRUPT, message).help("restore a backup, and check the disk: this is not normal wear")
}

/// A batch does not fit what is stored; a mistake of the program, caught before it could do harm.
pub fn refused(run: RunId, why: &dyn fmt::Display) -> Error {
    Error::new(&store::REFUSED, format_args!("a write of run {run} was refused: {why}").to_string())
        .help("report this with the log; the journal is as it was")
}

/// A record is too large.
pub fn record_size(run: RunId, seq: u32, bytes: usize) -> Error {
    let message = format_args!(
        "record {seq} of run {run} has {bytes} bytes, at most {} are kept",
        limits::RECORD_BYTES_MAX
    )
    .to_string();
    Error::new(&store::RECORD_SIZE, message)
        .help("keep large data in a file or behind a URL and pass its place")
}

/// A record nests too deep.
pub fn record_depth(run: RunId, seq: u32) -> Error {
    let message =
        format_args!("record {seq} of run {run} holds JSON that nests deeper than can be read back")
            .to_string();
    Error::new(&store::RECORD_SIZE, message).help("flatten the data")
}

/// An idempotency key is taken.
pub fn key_used(key: &str) -> Error {
    let message = format_args!("the idempotency key `{key}` has been used").to_string();
    Error::new(&general::IDEMPOTENCY, message).help("use a new key for a new request")
}

/// The store is closed.
pub fn closed() -> Error {
    Error::new(&general::STOPPING, "the store is closed")
}

/// The data folder cannot be used.
pub fn data_dir(path: &Path, what: &str, error: std::io::Error) -> Error {
    let message = format_args!("{what} {}: {error}", path.display()).to_string();
    Error::new(&store::DATA_DIR, message)
        .help("choose a folder that this user may write, or change its owner or mode")
        .because(error)
}

/// The reserve cannot be made.
pub fn reserve(error: std::io::Error) -> Error {
    Error::new(&store::DATA_DIR, format_args!("the reserve file cannot be made: {error}").to_string())
        .help("check the data folder's disk; without the reserve a full disk stops runs sooner")
        .because(error)
}

/// An agent that is not there cannot remember.
pub fn no_agent(id: WorkflowId) -> Error {
    Error::new(&memory::NOT_FOUND, format_args!("there is no agent {id}").to_string())
        .help("it may have been removed; list the agents")
}

/// The memory takes no more.
pub fn memory_full(what: &str, max: u32) -> Error {
    Error::new(&memory::FULL, format_args!("an agent has at most {max} {what}").to_string())
        .help("remove some that are of no use any more")
}

/// A change of accounts that does not fit: two requests at once, of which the other was first.
pub fn account(refusal: AccountRefusal) -> Error {
    match refusal {
        AccountRefusal::NameTaken(name) => {
            let message = format_args!("a user named `{name}` exists").to_string();
            Error::new(&account_code::EXISTS, message).help("choose another name, or change that user")
        }
        AccountRefusal::NoUser => Error::new(&account_code::NOT_FOUND, "there is no such user")
            .help("the user may have been removed"),
        AccountRefusal::Spent => {
            Error::new(&account_code::REFRESH, "the refresh token is not good").help("sign in again")
        }
    }
}
