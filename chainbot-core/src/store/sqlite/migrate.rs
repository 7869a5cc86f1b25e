//! Schema versions: each migration is one file of SQL, run once, in one transaction.
//!
//! Invariants: a released migration never changes; a new one is appended. A database of a newer version,
//! or of another
//! program, is refused before anything is written to it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

use crate::error::Result;
use crate::store::problem;

/// "CBOT": set by the first migration.
const APPLICATION_ID: i64 = 1_128_419_156;

/// Of the databases that this version writes. It reads older ones, and refuses newer ones.
pub const SCHEMA_VERSION: usize = STEPS.len();

const STEPS: &[M<'static>] = &[
    M::up(include_str!("../../../migrations/sqlite/0001_journal.sql")),
    M::up(include_str!("../../../migrations/sqlite/0002_secrets.sql")),
    M::up(include_str!("../../../migrations/sqlite/0003_triggers.sql")),
    M::up(include_str!("../../../migrations/sqlite/0004_people.sql")),
    M::up(include_str!("../../../migrations/sqlite/0005_archive.sql")),
    M::up(include_str!("../../../migrations/sqlite/0006_outbox.sql")),
    M::up(include_str!("../../../migrations/sqlite/0007_accounts.sql")),
];

/// Refuses what this version must not touch. Reads only.
pub fn check(conn: &Connection, path: &Path) -> Result<()> {
    let fail = |error: rusqlite::Error| problem::open(path, &error);
    let tables: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fail)?;
    let application: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(fail)?;
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fail)?;
    let ours = application == APPLICATION_ID;
    if !ours && (tables > 0 || version != 0 || application != 0) {
        return Err(problem::open(path, &"it is the database of another program"));
    }
    if version > STEPS.len() as i64 {
        return Err(problem::newer(path, version, STEPS.len()));
    }
    Ok(())
}

/// Where the database is kept as it was before it was brought up from `version`.
pub fn kept(path: &Path, version: i64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".schema-");
    name.push(version.to_string());
    PathBuf::from(name)
}

/// Puts a whole copy aside before the first migration of an older database: the version before refuses the migrated one,
/// so without it there would be no way back.
fn keep(conn: &Connection, path: &Path) -> Result<()> {
    let fail = |error: rusqlite::Error| problem::open(path, &error);
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fail)?;
    if version == 0 || version >= STEPS.len() as i64 {
        return Ok(());
    }
    let copy = kept(path, version);
    let io = |error: std::io::Error| problem::open(&copy, &error);
    match fs::remove_file(&copy) {
        // Of a start that did not come to its end: the database is still the same.
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    super::connection::make_private(&copy)?;
    conn.execute("VACUUM INTO ?1", [copy.to_string_lossy()]).map_err(fail)?;
    File::open(&copy).and_then(|file| file.sync_all()).map_err(io)?;
    if let Some(folder) = copy.parent() {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
    }
    log::info!(
        "the database has schema {version} and goes to {}; it is kept as it was in {}",
        STEPS.len(),
        copy.display()
    );
    Ok(())
}

/// Runs the migrations that have not run.
pub fn to_latest(conn: &mut Connection, path: &Path) -> Result<()> {
    keep(conn, path)?;
    let fail = |error| match error {
        // Each step is one transaction, so nothing of the schema is half there.
        rusqlite_migration::Error::RusqliteError { err, .. }
            if err.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) =>
        {
            problem::write(err)
        }
        other => problem::open(path, &other),
    };
    let migrations = Migrations::from_slice(STEPS);
    let done: i64 = conn
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| problem::open(path, &error))?;
    for version in usize::try_from(done).unwrap_or(0) + 1..=STEPS.len() {
        crate::fault!("migrate.before", problem::read_on_purpose);
        migrations.to_version(conn, version).map_err(fail)?;
        crate::fault!("migrate.after", problem::read_on_purpose);
    }
    Ok(())
}
