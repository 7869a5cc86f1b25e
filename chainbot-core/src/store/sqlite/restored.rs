//! When the database was put in place from a backup.

use rusqlite::{Connection, OptionalExtension};

use crate::time::Timestamp;

const SET: &str =
    "INSERT INTO restored (only, at) VALUES (1, ?1) ON CONFLICT (only) DO UPDATE SET at = excluded.at";
const GET: &str = "SELECT at FROM restored";

/// It was, at this time.
pub fn set(conn: &Connection, at: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached(SET)?.execute([at.0]).map(drop)
}

/// When, if ever.
pub fn find(conn: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    conn.prepare_cached(GET)?.query_row([], |row| row.get(0)).optional().map(|at| at.map(Timestamp))
}
