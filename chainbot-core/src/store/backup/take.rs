//! Makes a backup beside a writer at work.
//!
//! Everything is read in one transaction, so it is of one moment, and commits go on meanwhile into the log. The copy is SQLite's
//! own, page by page; its bytes are flushed every few megabytes, so that a commit's flush never waits behind more than
//! that on a slow card.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::manifest::{DATABASE, FileSum, Kind, Manifest};
use super::shelf::{Shelf, taken};
use super::{content, copy_failed, failed, new_file, sync_folder};
use crate::error::code::backup as code;
use crate::error::{Error, Result};
use crate::id::SafeName;
use crate::limits;
use crate::store::problem;
use crate::store::reserve::free_bytes;
use crate::store::sqlite::{connection, journal, migrate};
use crate::time::Timestamp;

/// What is to be made.
pub struct Order<'a> {
    /// Its name on the shelf.
    pub name: &'a SafeName,
    /// Why.
    pub kind: Kind,
    /// When.
    pub at: Timestamp,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Pages that are copied.
    pub done: u64,
    /// Pages in all.
    pub pages: u64,
}

/// Told how far it is; an error ends the backup.
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress) -> Result<()>;

/// The same of a database file that no server of this process holds.
pub fn take_file(database: &Path, shelf: &Shelf, order: &Order<'_>, on: OnProgress<'_>) -> Result<Manifest> {
    take(&connection::open_reader(database)?, shelf, order, on)
}

/// Makes a backup of what a connection sees. CB-0851 when the name is taken, CB-0854 when there is no room.
pub fn take(conn: &Connection, shelf: &Shelf, order: &Order<'_>, on: OnProgress<'_>) -> Result<Manifest> {
    shelf.make()?;
    let target = shelf.path(order.name);
    if target.exists() {
        return Err(taken(order.name, shelf.dir()));
    }
    let transaction = conn.unchecked_transaction().map_err(problem::read)?;
    check_room(&transaction, shelf)?;
    let partial = shelf.partial(order.name);
    let begun = (|| {
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        DirBuilder::new().mode(0o700).create(&partial)
    })();
    begun.map_err(|error| failed("cannot make", &partial, error))?;
    let made = fill(&transaction, &partial, order, on).and_then(|manifest| {
        crate::fault!("backup.rename", problem::read_on_purpose);
        fs::rename(&partial, &target)
            .and_then(|()| sync_folder(shelf.dir()))
            .map_err(|error| failed("cannot name", &target, error))?;
        Ok(manifest)
    });
    if made.is_err() {
        // Its room is wanted, and a later one of the same name begins anew anyway.
        let _ = fs::remove_dir_all(&partial);
    }
    made
}

/// All of it, into a folder that has not its name yet.
fn fill(conn: &Connection, folder: &Path, order: &Order<'_>, on: OnProgress<'_>) -> Result<Manifest> {
    let tables = content::of(conn).map_err(problem::read)?;
    let newest_lsn = journal::newest(conn).map_err(problem::read)?;
    let schema = migrate::version(conn).map_err(problem::read)?;
    let path = folder.join(DATABASE);
    crate::fault!("backup.copy", problem::read_on_purpose);
    copy(conn, &path, on)?;
    let copied = read_again(&path)?;
    if copied != tables {
        let message = format_args!("the copy {} differs from the database", path.display()).to_string();
        return Err(
            Error::new(&code::DAMAGED, message).help("check the disk: it does not keep what is written")
        );
    }
    let manifest = Manifest {
        format: Manifest::FORMAT,
        name: order.name.clone(),
        kind: order.kind,
        version: crate::VERSION.to_owned(),
        schema,
        created_at: order.at,
        newest_lsn,
        database: sum(&path)?,
        content: content::digest(&tables),
        tables,
        secrets: None,
    };
    crate::fault!("backup.manifest", problem::read_on_purpose);
    manifest.write(folder)?;
    Ok(manifest)
}

fn check_room(conn: &Connection, shelf: &Shelf) -> Result<()> {
    let number = |name: &str| {
        conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
            .map_err(problem::read)
    };
    let wanted = number("page_count")?.saturating_mul(number("page_size")?);
    let free =
        free_bytes(shelf.dir()).map_err(|error| failed("cannot look at the disk of", shelf.dir(), error))?;
    // What is under way, and the reserve, need room as well.
    if free >= wanted.saturating_add(2 * limits::RESERVE_BYTES) {
        return Ok(());
    }
    let message = format_args!(
        "a backup takes {} MiB, and {} MiB are free on the disk of {}",
        wanted.div_ceil(1 << 20),
        free >> 20,
        shelf.dir().display()
    );
    Err(Error::new(&code::NO_ROOM, message.to_string())
        .help("free space there, delete old backups, or set backup.dir to another disk"))
}

fn copy(conn: &Connection, path: &Path, on: OnProgress<'_>) -> Result<()> {
    let io = |error| failed("cannot write", path, error);
    let sql = |error| copy_failed(path, error);
    // Open until the end: closing any file descriptor of a database drops the locks that SQLite has on it.
    let file = new_file(path).map_err(io)?;
    let mut to = Connection::open(path).map_err(sql)?;
    // The file has no name of its own yet, so nothing must be undone in it, and it is flushed here.
    to.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(())).map_err(sql)?;
    to.pragma_update(None, "synchronous", "OFF").map_err(sql)?;
    {
        let backup = Backup::new(conn, &mut to).map_err(sql)?;
        let mut since_sync = 0;
        loop {
            let step = backup.step(limits::BACKUP_PAGES_STEP).map_err(sql)?;
            let progress = backup.progress();
            let number = |pages: i32| u64::try_from(pages).unwrap_or(0);
            let (pages, left) = (number(progress.pagecount), number(progress.remaining));
            on(Progress { done: pages.saturating_sub(left), pages })?;
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => {
                    return Err(Error::new(&code::FAILED, "the database is locked by another program")
                        .help("end the program that keeps it open, and repeat"));
                }
            }
            since_sync += limits::BACKUP_PAGES_STEP;
            if since_sync >= limits::BACKUP_PAGES_SYNC {
                since_sync = 0;
                file.sync_data().map_err(io)?;
            }
        }
    }
    to.close().map_err(|(_, error)| sql(error))?;
    drop(file);
    // The copied header asks for a log beside the file; a backup is one file, which any SQLite opens.
    let one = Connection::open(path).map_err(sql)?;
    one.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(())).map_err(sql)?;
    one.close().map_err(|(_, error)| sql(error))?;
    crate::fault!("backup.sync", problem::read_on_purpose);
    File::open(path).and_then(|file| file.sync_all()).map_err(io)
}

/// What the copy says, and whether its pages are sound.
fn read_again(path: &Path) -> Result<Vec<super::TableSum>> {
    let conn = connection::open_reader(path)?;
    let sound: String = conn
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|error| copy_failed(path, error))?;
    if sound != "ok" {
        let message = format_args!("the copy {} is damaged: {sound}", path.display()).to_string();
        return Err(Error::new(&code::DAMAGED, message).help(
            "`chainbot doctor` says whether the database itself is damaged; restore an earlier backup then",
        ));
    }
    content::of(&conn).map_err(|error| copy_failed(path, error))
}

/// Length and hash of a file, read from the disk.
pub(super) fn sum(path: &Path) -> Result<FileSum> {
    let mut hasher = blake3::Hasher::new();
    let bytes = File::open(path)
        .and_then(|mut file| std::io::copy(&mut file, &mut hasher))
        .map_err(|error| failed("cannot read", path, error))?;
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(FileSum { file, bytes, blake3: hasher.finalize().to_hex().to_string() })
}
