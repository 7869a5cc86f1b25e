//! Opening connections, with the settings that durability stands on, each read back.
//!
//! Invariant: a connection that this module returns has exactly these settings. SQLite maps a value that
//! it does not know or
//! cannot have to another one without an error, so asking is the only way to know.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use super::migrate;
use crate::error::Result;
use crate::limits;
use crate::store::backup::Shelf;
use crate::store::problem;

/// Statements kept prepared: more than the store has.
const STATEMENTS_KEPT: usize = 256;

/// Opens or makes the database for writing, and brings its schema up to date; an older one is kept on the shelf first.
pub fn open_writer(path: &Path, shelf: Option<&Shelf>) -> Result<Connection> {
    make_private(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags).map_err(|error| problem::open(path, &error))?;
    let fail = |error: rusqlite::Error| problem::open(path, &error);
    conn.busy_timeout(Duration::from_millis(limits::STORE_LOCK_WAIT_MS_MAX)).map_err(fail)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // Before any setting is written: a database of a newer version or another program stays as it is.
    migrate::check(&conn, path)?;
    crate::fault!("store.open", problem::read_on_purpose);
    // Takes effect before the first table only, and must come before WAL, which writes the header.
    set(&conn, path, "auto_vacuum", "INCREMENTAL", &Value::Integer(2))?;
    set(&conn, path, "journal_mode", "WAL", &Value::Text("wal".to_owned()))?;
    set(&conn, path, "synchronous", "FULL", &Value::Integer(2))?;
    set(&conn, path, "foreign_keys", "ON", &Value::Integer(1))?;
    // SQLite would checkpoint inside a commit, before its acknowledgement; the writer does it after.
    set(&conn, path, "wal_autocheckpoint", "0", &Value::Integer(0))?;
    // After a checkpoint the log is cut to what it holds between two checkpoints, so a burst does not
    // keep room on the card forever. Pages are 4 KiB.
    set(&conn, path, "journal_size_limit", "16777216", &Value::Integer(limits::WAL_PAGES_MAX * 4_096))?;
    // What a statement sets aside stays in memory: nothing is written outside of the data folder.
    set(&conn, path, "temp_store", "MEMORY", &Value::Integer(2))?;
    // A damaged or foreign schema must not run functions, and a damaged page must be seen.
    set(&conn, path, "trusted_schema", "OFF", &Value::Integer(0))?;
    set(&conn, path, "cell_size_check", "ON", &Value::Integer(1))?;
    migrate::to_latest(&mut conn, path, shelf)?;
    Ok(conn)
}

/// Opens a connection that can only read. The writer's must be open.
pub fn open_reader(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|error| problem::open(path, &error))?;
    conn.busy_timeout(Duration::from_millis(limits::STORE_LOCK_WAIT_MS_MAX))
        .map_err(|error| problem::open(path, &error))?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    set(&conn, path, "temp_store", "MEMORY", &Value::Integer(2))?;
    set(&conn, path, "query_only", "ON", &Value::Integer(1))?;
    set(&conn, path, "trusted_schema", "OFF", &Value::Integer(0))?;
    Ok(conn)
}

/// SQLite would make the file with mode 0644; its log and index take the mode of the file.
fn make_private(path: &Path) -> Result<()> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|error| problem::open(path, &error))
}

fn set(conn: &Connection, path: &Path, name: &str, value: &str, expected: &Value) -> Result<()> {
    let fail = |error: rusqlite::Error| problem::open(path, &error);
    // Some settings answer with a row, some with none; the answer that counts is asked for below.
    match conn.pragma_update(None, name, value) {
        Ok(()) | Err(rusqlite::Error::ExecuteReturnedResults) => {}
        Err(error) => return Err(fail(error)),
    }
    let got: Value = conn.pragma_query_value(None, name, |row| row.get(0)).map_err(fail)?;
    if got == *expected { Ok(()) } else { Err(problem::setting(path, name, value, &shown(&got))) }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        other => format_args!("{other:?}").to_string(),
    }
}
