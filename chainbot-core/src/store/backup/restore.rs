//! Puts a backup in the place of the database.
//!
//! Everything is done beside it first: the copy, its migration, the check of its journal. Then the old database takes its log in
//! and is closed, so that it is one file; and one rename replaces one file by one file. A restore that ends at any moment leaves
//! the old state or the new one, whole; what it had prepared is made anew by the next one.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::manifest::{DATABASE, Kind, Manifest};
use super::shelf::Shelf;
use super::take::{Order, take};
use super::verify::verify;
use super::{content, failed, new_file, sync_folder, with_suffix};
use crate::error::code::backup as code;
use crate::error::{Error, Result};
use crate::id::{Lsn, SafeName};
use crate::port::{Action, Actor, AuditEntry, StoredSecret};
use crate::store::data_dir::DataDir;
use crate::store::sqlite::{account, audit, connection, cursor, journal, restored, secret};
use crate::store::{invariants, problem};
use crate::time::Timestamp;

/// Notes of evaluations under way, which belong to the runs of the old state.
const NOTES: &str = "evaluating";

/// What is to be put where.
pub struct Restore<'a> {
    /// The folder of the backup.
    pub from: &'a Path,
    /// Held by the caller: no server works on it.
    pub data_dir: &'a DataDir,
    /// Relative to the data folder.
    pub database: &'a Path,
    /// Where the old state is kept.
    pub shelf: &'a Shelf,
    /// When. Times of schedules up to here are let go.
    pub at: Timestamp,
    /// What the backup of the old state is called.
    pub keep_as: &'a SafeName,
    /// A database that cannot be read any more is put aside instead of being kept as a backup.
    pub is_damaged: bool,
}

/// How far it is. Told before each stage; an error ends the restore there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The backup is read.
    Verify,
    /// The old state is kept.
    Keep,
    /// The copy is written beside the old state.
    Copy,
    /// It is brought up to date and checked.
    Prepare,
    /// The old database takes its log in.
    Fold,
    /// The new one takes its place.
    Replace,
    /// Done but for what is left over.
    Tidy,
}

impl Stage {
    /// All, in order.
    pub const ALL: [Stage; 7] =
        [Stage::Verify, Stage::Keep, Stage::Copy, Stage::Prepare, Stage::Fold, Stage::Replace, Stage::Tidy];
}

/// Told before each stage.
pub type OnStage<'a> = &'a mut dyn FnMut(Stage) -> Result<()>;

/// A restored database that waits beside the old one.
pub struct Prepared {
    new: PathBuf,
    target: PathBuf,
    folder: PathBuf,
    is_damaged: bool,
    at: Timestamp,
    /// What the backup is.
    pub manifest: Manifest,
    /// The backup of the old state, when there was one.
    pub kept: Option<SafeName>,
}

impl Restore<'_> {
    /// Everything but the exchange. Nothing of the old state is changed.
    pub fn prepare(&self, on: OnStage<'_>) -> Result<Prepared> {
        on(Stage::Verify)?;
        let checked = verify(self.from)?;
        if let Some(first) = checked.violations.first() {
            log::warn!("the backup was made of a database with findings; the first: {first}");
        }
        let folder = self.data_dir.path().to_owned();
        let target = folder.join(self.database);
        on(Stage::Keep)?;
        let old = self.keep(&target)?;
        on(Stage::Copy)?;
        let new = with_suffix(&target, ".restoring");
        copy_in(&self.from.join(DATABASE), &new)?;
        on(Stage::Prepare)?;
        let prepared = Prepared {
            new,
            target,
            folder,
            is_damaged: self.is_damaged,
            at: self.at,
            manifest: checked.manifest,
            kept: old.as_ref().map(|_| self.keep_as.clone()),
        };
        prepared.bring_up(old.map_or(Lsn(0), |manifest| manifest.newest_lsn))?;
        Ok(prepared)
    }

    /// The old state as a backup. `None` when there is none, or nothing in it.
    fn keep(&self, target: &Path) -> Result<Option<Manifest>> {
        if self.is_damaged || !target.exists() {
            return Ok(None);
        }
        let read = || {
            let conn = connection::open_reader(target)?;
            if content::is_empty(&conn).map_err(problem::read)? {
                return Ok(None);
            }
            let order = Order { name: self.keep_as, kind: Kind::BeforeRestore, at: self.at };
            take(&conn, self.shelf, &order, &mut |_| Ok(())).map(Some)
        };
        read().map_err(|error: Error| {
            let message =
                format_args!("the database as it is cannot be kept: {}", error.message()).to_string();
            let help = match *error.code() == code::NO_ROOM {
                true => error.remedy().unwrap_or_default().to_owned(),
                false => "if it is damaged, repeat with --damaged: it is put aside as it is then".to_owned(),
            };
            Error::new(&code::RESTORE, message).help(help).because(error)
        })
    }
}

impl Prepared {
    /// The schema of this version, places that were never given, the time from which schedules count; and the check.
    fn bring_up(&self, newest: Lsn) -> Result<()> {
        let conn = connection::open_writer(&self.new, None)?;
        let fail = problem::write;
        // Numbers of records are never given twice, so that who follows the events misses none.
        let end = journal::newest(&conn).map_err(fail)?.max(cursor::newest(&conn).map_err(fail)?);
        if newest > end {
            cursor::set(&conn, "journal_end", newest).map_err(fail)?;
        }
        restored::set(&conn, self.at).map_err(fail)?;
        // Whoever signed out after the backup would be in again.
        account::end_logins(&conn).map_err(fail)?;
        let entry = AuditEntry {
            at: self.at,
            action: Action::BackupRestore,
            actor: Actor::Local,
            target: "backup",
            target_id: self.manifest.name.to_string(),
            request: None,
            before: None,
            after: None,
            meta: Some(["{\"created_at\":\"", &self.manifest.created_at.to_string(), "\"}"].concat()),
        };
        audit::append(&conn, &entry).map_err(fail)?;
        let found = invariants::check_in(&conn)?;
        if let Some(first) = found.first() {
            log::warn!("{} findings in the restored journal; the first: {first}", found.len());
        }
        close(conn, &self.new)
    }

    /// Sealed secrets of the restored database.
    pub fn secrets(&self) -> Result<Vec<StoredSecret>> {
        secret::all(&connection::open_reader(&self.new)?)
    }

    /// Puts others in their place, in one transaction.
    pub fn set_secrets(&self, secrets: &[StoredSecret]) -> Result<()> {
        let conn = connection::open_writer(&self.new, None)?;
        let written = (|| {
            let transaction = conn.unchecked_transaction()?;
            secrets.iter().try_for_each(|one| secret::put(&transaction, one))?;
            transaction.commit()
        })();
        written.map_err(problem::write)?;
        close(conn, &self.new)
    }

    /// The exchange.
    pub fn put_in_place(self, on: OnStage<'_>) -> Result<Manifest> {
        let io = |error| restore_failed(&self.target, error);
        File::open(&self.new).and_then(|file| file.sync_all()).map_err(io)?;
        on(Stage::Fold)?;
        match self.is_damaged {
            true => self.put_aside().map_err(io)?,
            false => self.fold()?,
        }
        on(Stage::Replace)?;
        fs::rename(&self.new, &self.target).and_then(|()| sync_folder(&self.folder)).map_err(io)?;
        on(Stage::Tidy)?;
        // Its log was folded in or put aside; the index of a log is made anew.
        for name in [with_suffix(&self.target, "-shm"), self.folder.join(NOTES)] {
            match fs::remove_file(&name) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
                _ => {}
            }
        }
        Ok(self.manifest)
    }

    /// The old database becomes one file: a log that is left would be applied to the new one.
    fn fold(&self) -> Result<()> {
        if !self.target.exists() {
            return Ok(());
        }
        let fail = |error: &dyn std::fmt::Display| {
            let message =
                format_args!("{} cannot take in its log: {error}", self.target.display()).to_string();
            Error::new(&code::RESTORE, message).help(
                "end other programs that have it open; if it is damaged, repeat with --damaged. Nothing was changed",
            )
        };
        let conn = Connection::open(&self.target).map_err(|error| fail(&error))?;
        let is_busy: bool = conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(|error| fail(&error))?;
        if is_busy {
            return Err(fail(&"another program reads it"));
        }
        conn.close().map_err(|(_, error)| fail(&error))?;
        let log = with_suffix(&self.target, "-wal");
        match fs::metadata(&log) {
            Ok(found) if found.len() > 0 => Err(fail(&"its log stays")),
            _ => Ok(()),
        }
    }

    /// A database that does not read keeps its bytes under another name, and the restored one takes its place in one rename.
    fn put_aside(&self) -> std::io::Result<()> {
        let aside = with_suffix(&self.target, &[".damaged-", &self.at.0.to_string()].concat());
        match fs::rename(with_suffix(&self.target, "-wal"), with_suffix(&aside, "-wal")) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match fs::hard_link(&self.target, &aside) {
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => {
                Err(error)
            }
            _ => sync_folder(&self.folder),
        }
    }
}

fn close(conn: Connection, path: &Path) -> Result<()> {
    let fail = |error: rusqlite::Error| restore_failed(path, std::io::Error::other(error));
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(fail)?;
    conn.close().map_err(|(_, error)| fail(error))
}

/// A copy beside the old database. What an earlier restore left is gone first.
fn copy_in(from: &Path, new: &Path) -> Result<()> {
    let copied = (|| {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            match fs::remove_file(with_suffix(new, suffix)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if let Some(folder) = new.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut to = new_file(new)?;
        std::io::copy(&mut File::open(from)?, &mut to)?;
        to.sync_all()
    })();
    copied.map_err(|error| failed("cannot write", new, error))
}

fn restore_failed(path: &Path, error: std::io::Error) -> Error {
    Error::new(&code::RESTORE, format_args!("{}: {error}", path.display()).to_string())
        .help("look at the disk and at who may write to the data folder, and repeat; the old state is there, or the new one, whole")
        .because(error)
}
