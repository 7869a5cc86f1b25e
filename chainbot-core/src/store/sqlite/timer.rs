//! The timer table: who is to be woken, and when.

use rusqlite::{Connection, params};

use crate::id::RunId;
use crate::port::Timer;
use crate::time::Timestamp;

// A run that is over needs no waking: a child may end after its parent.
const SET: &str = "INSERT INTO timer (run, seq, due) \
     SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM run WHERE id = ?1 AND status < 4) \
     ON CONFLICT (run, seq) DO UPDATE SET due = excluded.due";
const CLEAR: &str = "DELETE FROM timer WHERE run = ?1 AND seq = ?2";
const CLEAR_RUN: &str = "DELETE FROM timer WHERE run = ?1";
const ALL: &str = "SELECT due, run, seq FROM timer ORDER BY due, run, seq";

/// Sets a timer; the same record's again moves it.
pub fn set(conn: &Connection, timer: Timer) -> rusqlite::Result<()> {
    crate::fault!("timer.set", crate::store::problem::on_purpose);
    conn.prepare_cached(SET)?.execute(params![timer.run.as_bytes(), timer.seq, timer.due.0]).map(drop)
}

/// Clears a timer; nothing when there is none.
pub fn clear(conn: &Connection, run: RunId, seq: u32) -> rusqlite::Result<()> {
    crate::fault!("timer.claim", crate::store::problem::on_purpose);
    conn.prepare_cached(CLEAR)?.execute(params![run.as_bytes(), seq]).map(drop)
}

/// Clears every timer of a run.
pub fn clear_run(conn: &Connection, run: RunId) -> rusqlite::Result<()> {
    conn.prepare_cached(CLEAR_RUN)?.execute([run.as_bytes()]).map(drop)
}

/// All timers, the next one first.
pub fn all(conn: &Connection) -> rusqlite::Result<Vec<Timer>> {
    let mut statement = conn.prepare_cached(ALL)?;
    let timers = statement.query_map([], |row| {
        Ok(Timer {
            due: Timestamp(row.get(0)?),
            run: RunId::from(row.get::<_, [u8; 16]>(1)?),
            seq: row.get(2)?,
        })
    })?;
    timers.collect()
}
