//! Schema versions: each migration is one file of SQL, run once, in one transaction.
//!
//! Invariants: a released migration never changes; a new one is appended. A database of a newer version, or of another
//! program, is refused before anything is written to it. A database with something in it is kept as a backup before the first
//! migration, because the version before refuses the migrated one.

use std::path::Path;

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::{Batch, Connection};

use crate::env::{Clock, SystemClock};
use crate::error::Result;
use crate::error::code::backup as code;
use crate::limits;
use crate::store::backup::{Kind, Order, Shelf, content, take};
use crate::store::problem;

/// "CBOT": set by the first migration.
const APPLICATION_ID: i64 = 1_128_419_156;

const STEPS: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_journal.sql"),
    include_str!("../../../migrations/sqlite/0002_secrets.sql"),
    include_str!("../../../migrations/sqlite/0003_triggers.sql"),
    include_str!("../../../migrations/sqlite/0004_people.sql"),
    include_str!("../../../migrations/sqlite/0005_archive.sql"),
    include_str!("../../../migrations/sqlite/0006_outbox.sql"),
    include_str!("../../../migrations/sqlite/0007_accounts.sql"),
    include_str!("../../../migrations/sqlite/0008_keep.sql"),
    include_str!("../../../migrations/sqlite/0009_owners.sql"),
    include_str!("../../../migrations/sqlite/0010_agents.sql"),
    include_str!("../../../migrations/sqlite/0011_memory.sql"),
    include_str!("../../../migrations/sqlite/0012_model_probe.sql"),
    include_str!("../../../migrations/sqlite/0013_task_usage.sql"),
];

/// The schema of the databases that this version writes. It reads older ones, and refuses newer ones.
pub fn schema_version() -> usize {
    steps().len()
}

/// The migrations of this version.
#[cfg(not(feature = "fault"))]
fn steps() -> &'static [&'static str] {
    STEPS
}

/// A process that a test starts may be one version ahead.
#[cfg(feature = "fault")]
fn steps() -> &'static [&'static str] {
    use crate::env::fault::{NextSchema, next_schema};
    static NEXT: std::sync::LazyLock<Option<Vec<&'static str>>> = std::sync::LazyLock::new(|| {
        let more = match next_schema()? {
            NextSchema::Good => include_str!("../../../migrations/next/good.sql"),
            NextSchema::Broken => include_str!("../../../migrations/next/broken.sql"),
        };
        Some(STEPS.iter().copied().chain([more]).collect())
    });
    NEXT.as_deref().unwrap_or(STEPS)
}

/// Refuses what this version must not touch. Reads only.
pub fn check(conn: &Connection, path: &Path) -> Result<()> {
    let fail = |error: rusqlite::Error| problem::open(path, &error);
    let tables: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fail)?;
    let application: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(fail)?;
    let version = version(conn).map_err(fail)?;
    let ours = application == APPLICATION_ID;
    if !ours && (tables > 0 || version != 0 || application != 0) {
        return Err(problem::open(path, &"it is the database of another program"));
    }
    if version > schema_version() {
        return Err(problem::newer(path, version, schema_version()));
    }
    Ok(())
}

/// Of the schema; 0 when there is none.
pub fn version(conn: &Connection) -> rusqlite::Result<usize> {
    conn.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).map(|version| version as usize)
}

/// Keeps the database as it is, on a shelf that holds the last few such backups.
fn keep(conn: &Connection, path: &Path, shelf: &Shelf, version: usize) -> Result<()> {
    if content::is_empty(conn).map_err(|error| problem::open(path, &error))? {
        return Ok(());
    }
    let name = ["schema-", &version.to_string()].concat();
    let name = name.parse().map_err(|why| crate::Error::new(&code::NAME, why))?;
    // Of a start that did not come to its end, or of an upgrade that was taken back: the database is as it is now.
    shelf.delete(&name)?;
    let order = Order { name: &name, kind: Kind::BeforeMigration, at: SystemClock::default().now() };
    take(conn, shelf, &order, &mut |_| Ok(()))?;
    log::info!(
        "the database has schema {version} and goes to {}; it is kept as the backup {}",
        schema_version(),
        shelf.path(&name).display()
    );
    shelf.prune(Kind::BeforeMigration, limits::BACKUPS_BEFORE_MIGRATION).map(drop)
}

/// Runs the migrations that have not run. Without a shelf nothing is kept: the database is a copy.
pub fn to_latest(conn: &mut Connection, path: &Path, shelf: Option<&Shelf>) -> Result<()> {
    let done = version(conn).map_err(|error| problem::open(path, &error))?;
    if let Some(shelf) = shelf.filter(|_| (1..schema_version()).contains(&done)) {
        keep(conn, path, shelf, done)?;
    }
    for (step, version) in steps().iter().zip(1..).skip(done) {
        crate::fault!("migrate.before", problem::read_on_purpose);
        run(conn, step, version).map_err(|error| match error.sqlite_error_code() {
            // A step is one transaction, so nothing of the schema is half there.
            Some(rusqlite::ErrorCode::DiskFull) => problem::write(error),
            _ => problem::open(path, &error),
        })?;
        crate::fault!("migrate.after", problem::read_on_purpose);
    }
    Ok(())
}

/// One migration, its number included, in one transaction.
fn run(conn: &mut Connection, step: &str, version: i64) -> rusqlite::Result<()> {
    let transaction = conn.transaction()?;
    let mut statements = Batch::new(&transaction, step);
    while let Some(mut statement) = statements.next()? {
        crate::fault!("migrate.statement", problem::on_purpose);
        #[cfg(test)]
        crate::store::tests::dying::pass();
        // Some settings answer with a row.
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
    }
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}
