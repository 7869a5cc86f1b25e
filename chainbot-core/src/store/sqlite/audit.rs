//! The audit tables: rows are appended, and dropped by whole segments; none is ever changed.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::error::Result;
use crate::limits::{AUDIT_SEGMENT_ROWS, PAGE_MAX};
use crate::port::{AuditEntry, AuditFilter, AuditHead, AuditRow, AuditSegment, AuditVerdict, Page, Way};
use crate::store::{audit, problem};
use crate::time::Timestamp;

const HEAD: &str = "SELECT seq, link FROM audit_head";
const SET_HEAD: &str = "INSERT INTO audit_head (only, seq, link) VALUES (1, ?1, ?2) \
     ON CONFLICT (only) DO UPDATE SET seq = excluded.seq, link = excluded.link";
const INSERT: &str = "INSERT INTO audit (seq, at, action, actor, target, target_id, request, before_hash, after_hash, \
     meta, link) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
const SEAL: &str =
    "INSERT INTO audit_segment (number, first_at, last_at, last_link, link) VALUES (?1, ?2, ?3, ?4, ?5)";
const LAST_SEAL: &str = "SELECT link FROM audit_segment WHERE number = ?1";
const FIRST_AT: &str = "SELECT at FROM audit WHERE seq = ?1";
const LINK: &str = "SELECT link FROM audit WHERE seq = ?1";
const LAST_LINK: &str = "SELECT last_link FROM audit_segment WHERE number = ?1";
const SEGMENTS: &str =
    "SELECT number, first_at, last_at, last_link, link, is_dropped FROM audit_segment ORDER BY number";
const OLD: &str = "SELECT max(number) FROM (SELECT number FROM audit_segment WHERE is_dropped = 0 AND last_at < ?1 \
     ORDER BY number LIMIT ?2)";
const DROP_ROWS: &str = "DELETE FROM audit WHERE seq <= ?1";
const DROPPED: &str = "UPDATE audit_segment SET is_dropped = 1 WHERE number <= ?1";
const EACH: &str = "SELECT seq, at, action, actor, target, target_id, request, before_hash, after_hash, meta, link \
     FROM audit ORDER BY seq";
// A direction is no value that could be bound.
macro_rules! list {
    ($past:literal, $order:literal) => {
        concat!(
            "SELECT seq, at, action, actor, target, target_id, request, before_hash, after_hash, meta, link \
             FROM audit WHERE ",
            $past,
            " AND (?2 IS NULL OR action = ?2) AND (?3 IS NULL OR actor = ?3) AND (?4 IS NULL OR target = ?4) \
             AND (?5 IS NULL OR target_id = ?5) AND at >= ?6 AND at <= ?7 ORDER BY ",
            $order,
            " LIMIT ?8"
        )
    };
}
const LIST_UP: &str = list!("seq > ?1", "seq");
const LIST_DOWN: &str = list!("seq < ?1", "seq DESC");
const COUNT: &str = "SELECT count(*) FROM audit WHERE (?1 IS NULL OR action = ?1) AND (?2 IS NULL OR actor = ?2) \
     AND (?3 IS NULL OR target = ?3) AND (?4 IS NULL OR target_id = ?4) AND at >= ?5 AND at <= ?6";
/// Segments dropped in one transaction, so that a commit of work does not wait long behind it.
const DROPPED_AT_ONCE: i64 = 2;

/// The newest row.
pub fn head(conn: &Connection) -> rusqlite::Result<AuditHead> {
    let found = conn
        .prepare_cached(HEAD)?
        .query_row([], |row| Ok(AuditHead { seq: row.get(0)?, link: row.get(1)? }))
        .optional()?;
    Ok(found.unwrap_or_else(|| AuditHead { seq: 0, link: audit::NOTHING.to_vec() }))
}

/// Writes an entry behind the newest row, and seals the segment that it fills.
pub fn append(conn: &Connection, entry: &AuditEntry) -> rusqlite::Result<()> {
    crate::fault!("audit.append", crate::store::problem::on_purpose);
    let row = audit::row(&head(conn)?, entry);
    conn.prepare_cached(INSERT)?.execute(params![
        row.seq,
        row.at.0,
        row.action,
        row.actor,
        row.target,
        row.target_id,
        row.request,
        row.before,
        row.after,
        row.meta,
        row.link
    ])?;
    conn.prepare_cached(SET_HEAD)?.execute(params![row.seq, row.link])?;
    if audit::fills(row.seq) {
        seal(conn, &row)?;
    }
    Ok(())
}

fn seal(conn: &Connection, last: &AuditRow) -> rusqlite::Result<()> {
    let number = audit::segment_of(last.seq);
    let first = last.seq - AUDIT_SEGMENT_ROWS + 1;
    let first_at = conn.prepare_cached(FIRST_AT)?.query_row([first], |row| row.get(0)).optional()?;
    let before =
        conn.prepare_cached(LAST_SEAL)?.query_row([number - 1], |row| row.get::<_, Vec<u8>>(0)).optional()?;
    let mut segment = AuditSegment {
        number,
        // A row that is gone is found by who looks at the log; the seal says what there is.
        first_at: Timestamp(first_at.unwrap_or(last.at.0)),
        last_at: last.at,
        last_link: last.link.clone(),
        link: Vec::new(),
        is_dropped: false,
    };
    segment.link = audit::seal_link(&before.unwrap_or_else(|| audit::NOTHING.to_vec()), &segment);
    log::info!(
        "the audit log has a segment more, up to row {}; its newest link is {}",
        last.seq,
        hex(&last.link)
    );
    conn.prepare_cached(SEAL)?
        .execute(params![
            segment.number,
            segment.first_at.0,
            segment.last_at.0,
            segment.last_link,
            segment.link
        ])
        .map(drop)
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// Whether a segment can be dropped.
pub fn has_before(conn: &Connection, before: Timestamp) -> rusqlite::Result<bool> {
    let last: Option<i64> =
        conn.prepare_cached(OLD)?.query_row(params![before.0, DROPPED_AT_ONCE], |row| row.get(0))?;
    Ok(last.is_some())
}

/// Drops segments whose last row is older, some at a time; how many rows went. The log says so itself.
pub fn drop_before(conn: &Connection, before: Timestamp, now: Timestamp) -> rusqlite::Result<u64> {
    let last: Option<i64> =
        conn.prepare_cached(OLD)?.query_row(params![before.0, DROPPED_AT_ONCE], |row| row.get(0))?;
    let Some(last) = last else { return Ok(0) };
    let rows = conn.prepare_cached(DROP_ROWS)?.execute([(last + 1) * AUDIT_SEGMENT_ROWS])?;
    conn.prepare_cached(DROPPED)?.execute([last])?;
    append(conn, &AuditEntry::of_dropped(last, now))?;
    Ok(rows as u64)
}

/// The link of a row, or of the last row of a segment that was dropped.
pub fn link_of(conn: &Connection, seq: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    let found = conn.prepare_cached(LINK)?.query_row([seq], |row| row.get(0)).optional()?;
    match found {
        None if audit::fills(seq) => {
            conn.prepare_cached(LAST_LINK)?.query_row([audit::segment_of(seq)], |row| row.get(0)).optional()
        }
        found => Ok(found),
    }
}

/// A page, newest first.
pub fn list(conn: &Connection, filter: &AuditFilter) -> Result<Page<AuditRow>> {
    let AuditFilter { action, actor, target, target_id, since, until, way, past, limit } = filter;
    let (since, until) = (since.map_or(i64::MIN, |at| at.0), until.map_or(i64::MAX, |at| at.0));
    let limit = (*limit).clamp(1, PAGE_MAX);
    let read = problem::read;
    let (sql, end) = match way {
        Way::Up => (LIST_UP, i64::MIN),
        Way::Down => (LIST_DOWN, i64::MAX),
    };
    let mut statement = conn.prepare_cached(sql).map_err(read)?;
    let found = statement
        .query_map(
            params![past.unwrap_or(end), action, actor, target, target_id, since, until, limit + 1],
            from_row,
        )
        .map_err(read)?;
    let mut items = found.collect::<rusqlite::Result<Vec<_>>>().map_err(read)?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let total: i64 = conn
        .prepare_cached(COUNT)
        .and_then(|mut count| {
            count.query_row(params![action, actor, target, target_id, since, until], |row| row.get(0))
        })
        .map_err(read)?;
    Ok(Page { items, total: total.unsigned_abs(), more })
}

/// Looks at all of it.
pub fn verify(conn: &Connection) -> rusqlite::Result<AuditVerdict> {
    let mut statement = conn.prepare_cached(SEGMENTS)?;
    let segments = statement.query_map([], |row| {
        Ok(AuditSegment {
            number: row.get(0)?,
            first_at: Timestamp(row.get(1)?),
            last_at: Timestamp(row.get(2)?),
            last_link: row.get(3)?,
            link: row.get(4)?,
            is_dropped: row.get(5)?,
        })
    })?;
    let mut check = audit::Check::new(segments.collect::<rusqlite::Result<Vec<_>>>()?);
    let mut statement = conn.prepare_cached(EACH)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        check.row(&from_row(row)?);
    }
    Ok(check.end(head(conn)?))
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow {
        seq: row.get(0)?,
        at: Timestamp(row.get(1)?),
        action: row.get(2)?,
        actor: row.get(3)?,
        target: row.get(4)?,
        target_id: row.get(5)?,
        request: row.get(6)?,
        before: row.get(7)?,
        after: row.get(8)?,
        meta: row.get(9)?,
        link: row.get(10)?,
    })
}
