//! Upkeep on the writer's side: pieces of work on finished things, each one transaction of its own.
//!
//! Invariant: a chore checks what it is told against what is stored, because it was planned beside the writer; what has
//! changed since is left alone.

use rusqlite::{Connection, OptionalExtension, params};

use super::archive::{self, Packed};
use super::repair::{self, Repair};
use super::{agent, audit, cursor, inbox, remembered};
use crate::id::{Lsn, RunId, WorkflowId};
use crate::limits;
use crate::store::places::Places;
use crate::time::Timestamp;

/// How far the journal was searched for ended runs: every end up to here is settled.
pub const CURSOR: &str = "archive";

const ENDED: &str = "SELECT first_lsn, archived, lsns FROM run WHERE id = ?1 AND status >= 4";
const DELETE_RUN: &str = "DELETE FROM run WHERE id = ?1";
const DELETE_BLOB: &str = "DELETE FROM archive WHERE first_lsn = ?1 AND run = ?2";
const DELETE_RECORD: &str = "DELETE FROM journal WHERE lsn = ?1 AND run = ?2";
const DELETE_KEYS: &str = "DELETE FROM idempotency WHERE key IN \
     (SELECT key FROM idempotency i WHERE at < ?1 AND NOT EXISTS \
         (SELECT 1 FROM run WHERE run.id = i.made AND first_lsn > ?3) ORDER BY at LIMIT ?2)";
const DELETE_VERSIONS: &str = "DELETE FROM definition WHERE workflow = ?1";
const DELETE_WORKFLOW: &str = "DELETE FROM workflow WHERE id = ?1 AND deleted_at IS NOT NULL \
     AND NOT EXISTS (SELECT 1 FROM run WHERE run.workflow = ?1)";
const IS_GONE: &str = "SELECT EXISTS (SELECT 1 FROM workflow WHERE id = ?1 AND deleted_at IS NOT NULL \
     AND NOT EXISTS (SELECT 1 FROM run WHERE run.workflow = ?1))";

/// A piece of upkeep.
pub enum Chore {
    /// Moves finished runs to the archive; every end up to the place is settled after it.
    Archive(Vec<Packed>, Lsn),
    /// Deletes finished runs.
    Delete(Vec<RunId>),
    /// Deletes idempotency keys made before a time, unless what they made is after a place.
    Keys(Timestamp, Lsn),
    /// Deletes what is left of deleted workflows without a run.
    Workflows(Vec<WorkflowId>),
    /// Deletes what agents remembered until this time.
    Expired(Timestamp),
    /// Drops segments of the audit log whose rows are all older than the first time; the second is now.
    Audit(Timestamp, Timestamp),
    /// Gives free pages back to the disk.
    Vacuum,
    /// Makes rows say what the journal says.
    Repair(Vec<Repair>),
    /// Writes something small, to find out whether that is possible.
    Probe,
    /// Sets how large the database may grow: a disk with a chosen size.
    #[cfg(test)]
    PagesMax(u32),
    /// Lets every later write fail.
    #[cfg(test)]
    BreakWrites,
}

impl Chore {
    /// Does it, within a transaction; how many there were.
    pub fn apply(&self, conn: &Connection) -> rusqlite::Result<u64> {
        match self {
            Chore::Archive(packed, upto) => {
                let mut moved = 0;
                for run in packed {
                    moved += u64::from(archive::put(conn, run)?);
                }
                cursor::set(conn, CURSOR, *upto)?;
                Ok(moved)
            }
            Chore::Delete(runs) => {
                let mut deleted = 0;
                for run in runs {
                    deleted += u64::from(delete(conn, *run)?);
                }
                Ok(deleted)
            }
            Chore::Keys(before, told) => {
                let limit = limits::RETENTION_ROWS_MAX;
                conn.prepare_cached(DELETE_KEYS)?
                    .execute(params![before.0, limit, told.0])
                    .map(|rows| rows as u64)
            }
            Chore::Workflows(ids) => {
                let mut deleted = 0;
                for id in ids {
                    if conn.prepare_cached(IS_GONE)?.query_row([id.as_bytes()], |row| row.get(0))? {
                        remembered::purge(conn, *id)?;
                        conn.prepare_cached(DELETE_VERSIONS)?.execute([id.as_bytes()])?;
                        deleted += conn.prepare_cached(DELETE_WORKFLOW)?.execute([id.as_bytes()])? as u64;
                    }
                }
                Ok(deleted)
            }
            Chore::Expired(now) => remembered::item::expire(conn, *now, limits::RETENTION_ROWS_MAX),
            Chore::Audit(before, now) => audit::drop_before(conn, *before, *now),
            Chore::Vacuum => vacuum(conn),
            Chore::Repair(repairs) => {
                repairs.iter().try_for_each(|repair| repair::apply(conn, repair))?;
                Ok(repairs.len() as u64)
            }
            Chore::Probe => cursor::set(conn, "probe", Lsn(0)).map(|()| 1),
            #[cfg(test)]
            Chore::BreakWrites => conn.pragma_update(None, "query_only", "ON").map(|()| 1),
            #[cfg(test)]
            Chore::PagesMax(pages) => {
                conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).map(|()| 1)
            }
        }
    }
}

/// Forgets a run that is over, wherever its records are.
pub fn delete(conn: &Connection, run: RunId) -> rusqlite::Result<bool> {
    crate::fault!("retention.delete", crate::store::problem::on_purpose);
    let found: Option<(i64, u8, Option<Vec<u8>>)> = conn
        .prepare_cached(ENDED)?
        .query_row([run.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((first, archived, lsns)) = found else { return Ok(false) };
    if archived == 1 {
        conn.prepare_cached(DELETE_BLOB)?.execute(params![first, run.as_bytes()])?;
    } else {
        let mut record = conn.prepare_cached(DELETE_RECORD)?;
        for lsn in Places::unpack(&lsns.unwrap_or_default()).unwrap_or_default() {
            record.execute(params![lsn.0, run.as_bytes()])?;
        }
    }
    inbox::forget_run(conn, run)?;
    agent::forget_run(conn, run)?;
    conn.prepare_cached(DELETE_RUN)?.execute([run.as_bytes()]).map(|rows| rows > 0)
}

fn vacuum(conn: &Connection) -> rusqlite::Result<u64> {
    let free =
        |conn: &Connection| conn.pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0));
    let before = free(conn)?;
    let pages = (before - limits::VACUUM_PAGES_KEPT).clamp(0, i64::from(limits::VACUUM_PAGES_MAX));
    // Each row it answers with is a page; its argument cannot be bound, so the bound is a loop.
    let mut statement = conn.prepare_cached("PRAGMA incremental_vacuum(1)")?;
    for _ in 0..pages {
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok((before - free(conn)?).unsigned_abs())
}
