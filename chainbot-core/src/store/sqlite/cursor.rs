//! The cursor table: how far each reader of the journal has come.

use rusqlite::{Connection, OptionalExtension, params};

use crate::id::Lsn;

const SET: &str = "INSERT INTO cursor (name, lsn) VALUES (?1, ?2) \
     ON CONFLICT (name) DO UPDATE SET lsn = excluded.lsn";
const GET: &str = "SELECT lsn FROM cursor WHERE name = ?1";
const NEWEST: &str = "SELECT max(lsn) FROM cursor";

/// Moves a cursor.
pub fn set(conn: &Connection, name: &str, lsn: Lsn) -> rusqlite::Result<()> {
    crate::fault!("cursor.set", crate::store::problem::on_purpose);
    conn.prepare_cached(SET)?.execute(params![name, lsn.0]).map(drop)
}

/// Where a cursor stands.
pub fn find(conn: &Connection, name: &str) -> rusqlite::Result<Option<Lsn>> {
    conn.prepare_cached(GET)?.query_row([name], |row| row.get(0)).optional().map(|lsn| lsn.map(Lsn))
}

/// The furthest cursor: no place up to it may be given out again.
pub fn newest(conn: &Connection) -> rusqlite::Result<Lsn> {
    let lsn: Option<i64> = conn.prepare_cached(NEWEST)?.query_row([], |row| row.get(0))?;
    Ok(Lsn(lsn.unwrap_or(0)))
}
