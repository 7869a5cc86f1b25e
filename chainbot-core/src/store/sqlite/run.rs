//! The run table: one row a run, changed when it starts, parks, goes on and ends, never by a step.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::scope::{self, Filter};
use crate::error::Result;
use crate::id::{DefinitionHash, Lsn, RunId, WorkflowId};
use crate::model::{RunRow, RunStatus};
use crate::port::{Page, RunFilter, Scope, StoredRun, Way};
use crate::store::places::Places;
use crate::store::problem;
use crate::time::Timestamp;

const INSERT: &str = "INSERT INTO run (id, workflow, name, definition, status, parked, detail, created_at, \
     first_lsn, tail_lsn) VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?8)";
const PARK: &str =
    "UPDATE run SET status = ?2, parked = 1, detail = ?3, tail_lsn = ?4, lsns = ?5 WHERE id = ?1";
const UNPARK: &str = "UPDATE run SET status = 0, parked = 0, detail = NULL, tail_lsn = ?2 \
     WHERE id = ?1 AND parked = 1";
const FINISH: &str = "UPDATE run SET status = ?2, parked = 0, detail = ?3, finished_at = ?4, tail_lsn = ?5, lsns = ?6 \
     WHERE id = ?1";
const REOPEN: &str = "UPDATE run SET status = ?5, parked = 1, detail = ?2, finished_at = NULL, tail_lsn = ?3, \
     lsns = ?4 WHERE id = ?1";
const STATE: &str = "SELECT status, parked, tail_lsn, lsns FROM run WHERE id = ?1";
const BY_ID: &str = "SELECT id, workflow, name, definition, status, detail, created_at, finished_at, \
     first_lsn, parked, lsns FROM run WHERE id = ?1 AND (?2 OR EXISTS \
     (SELECT 1 FROM workflow w WHERE w.id = run.workflow AND (w.owner IS ?3 OR w.shared <= ?4)))";
const LIVE: &str = "SELECT id, tail_lsn, lsns FROM run WHERE status < 4 AND parked = 0 ORDER BY first_lsn";
const PARKED: &str = "SELECT count(*) FROM run WHERE status < 4 AND parked = 1";

// Whoever sees everything has texts without a scope, so that they pay nothing for it. Both ways, the newest first and the oldest.
macro_rules! list {
    ($($which:literal),*) => {
        [list!(@ "id > ?1", "id", $($which),*), list!(@ "id < ?1", "id DESC", $($which),*)]
    };
    (@ $past:literal, $order:literal, $($which:literal),*) => {
        concat!(
            "SELECT id, workflow, name, definition, status, detail, created_at, finished_at FROM run WHERE ",
            $($which,)*
            $past,
            " ORDER BY ",
            $order,
            " LIMIT ?2"
        )
    };
}
const LIST: [&str; 2] = list!("");
const LIST_STATUS: [&str; 2] = list!("status = ?3 AND ");
const LIST_WORKFLOW: [&str; 2] = list!("workflow = ?4 AND status = ?3 AND ");
const LIST_OF: [&str; 2] =
    list!("workflow IN (SELECT id FROM workflow WHERE owner IS ?3 OR shared <= ?4) AND ");
const LIST_STATUS_OF: [&str; 2] =
    list!("status = ?3 AND workflow IN (SELECT id FROM workflow WHERE owner IS ?4 OR shared <= ?5) AND ");
const LIST_WORKFLOW_OF: [&str; 2] = list!(
    "workflow = ?4 AND status = ?3 AND workflow IN ",
    "(SELECT id FROM workflow WHERE owner IS ?5 OR shared <= ?6) AND "
);
const COUNT: &str = "SELECT count(*) FROM run";
const COUNT_STATUS: &str = "SELECT count(*) FROM run WHERE status = ?1";
const COUNT_WORKFLOW: &str = "SELECT count(*) FROM run WHERE workflow = ?2 AND status = ?1";

const COUNT_OF: &str = "SELECT count(*) FROM run \
     WHERE workflow IN (SELECT id FROM workflow WHERE owner IS ?1 OR shared <= ?2)";
const COUNT_STATUS_OF: &str = "SELECT count(*) FROM run \
     WHERE status = ?1 AND workflow IN (SELECT id FROM workflow WHERE owner IS ?2 OR shared <= ?3)";
const COUNT_WORKFLOW_OF: &str = "SELECT count(*) FROM run WHERE workflow = ?2 AND status = ?1 AND workflow IN \
     (SELECT id FROM workflow WHERE owner IS ?3 OR shared <= ?4)";

/// What the writer must know of a run that it does not hold in memory.
pub struct State {
    /// Whether it is over.
    pub terminal: bool,
    /// Whether it failed: it may be taken up again.
    pub failed: bool,
    /// Whether it waits: all its records are before `tail`.
    pub parked: bool,
    /// Records from here on are in the journal only.
    pub tail: Lsn,
    /// The place of the last record before `tail`.
    pub last: Option<Lsn>,
}

/// A run that was at work when the process ended.
pub struct Live {
    /// Its id.
    pub id: RunId,
    /// Records from here on are in the journal only.
    pub tail: Lsn,
    /// Records before that.
    pub lsns: Vec<Lsn>,
}

/// A new run.
pub fn insert(conn: &Connection, row: &RunRow, first: Lsn) -> rusqlite::Result<()> {
    crate::fault!("run.insert", crate::store::problem::on_purpose);
    let mut statement = conn.prepare_cached(INSERT)?;
    statement.execute(params![
        row.id.as_bytes(),
        row.workflow.as_bytes(),
        row.name,
        row.definition.0,
        number(row.status),
        row.detail,
        row.created_at.0,
        first.0
    ])?;
    Ok(())
}

/// The run waits; `lsns` are all its records.
pub fn park(
    conn: &Connection,
    run: RunId,
    status: RunStatus,
    detail: Option<&str>,
    lsns: &Places,
) -> rusqlite::Result<()> {
    crate::fault!("run.park", crate::store::problem::on_purpose);
    let mut statement = conn.prepare_cached(PARK)?;
    statement.execute(params![run.as_bytes(), number(status), detail, tail(lsns), lsns.as_bytes()]).map(drop)
}

/// The run goes on. Its list stays as a starting point for recovery, which then need not read the
/// journal from the run's beginning but from `next` on.
pub fn unpark(conn: &Connection, run: RunId, next: Lsn) -> rusqlite::Result<()> {
    crate::fault!("run.unpark", crate::store::problem::on_purpose);
    conn.prepare_cached(UNPARK)?.execute(params![run.as_bytes(), next.0]).map(drop)
}

/// The run is over; `lsns` are all its records.
pub fn finish(
    conn: &Connection,
    run: RunId,
    status: RunStatus,
    detail: Option<&str>,
    at: Timestamp,
    lsns: &Places,
) -> rusqlite::Result<()> {
    crate::fault!("run.finish", crate::store::problem::on_purpose);
    let mut statement = conn.prepare_cached(FINISH)?;
    statement
        .execute(params![run.as_bytes(), number(status), detail, at.0, tail(lsns), lsns.as_bytes()])
        .map(drop)
}

/// A failed run is taken up again: parked, with all its records, until it is woken.
pub fn reopen(
    conn: &Connection,
    run: RunId,
    status: RunStatus,
    detail: &str,
    lsns: &Places,
) -> rusqlite::Result<()> {
    crate::fault!("run.reopen", crate::store::problem::on_purpose);
    conn.prepare_cached(REOPEN)?
        .execute(params![run.as_bytes(), detail, tail(lsns), lsns.as_bytes(), number(status)])
        .map(drop)
}

fn tail(lsns: &Places) -> i64 {
    lsns.last().map_or(0, |last| last.0).saturating_add(1)
}

/// What the writer must know of a run.
pub fn state(conn: &Connection, run: RunId) -> Result<Option<State>> {
    let mut statement = conn.prepare_cached(STATE).map_err(problem::read)?;
    let found = statement
        .query_row([run.as_bytes()], |row| {
            Ok((row.get::<_, u8>(0)?, row.get(1)?, row.get(2)?, row.get::<_, Option<Vec<u8>>>(3)?))
        })
        .optional()
        .map_err(problem::read)?;
    let Some((number, parked, tail, packed)) = found else { return Ok(None) };
    let status = status(number).ok_or_else(|| problem::corrupt_row("run", &run))?;
    let (terminal, failed) = (status.is_terminal(), status == RunStatus::Failed);
    Ok(Some(State { terminal, failed, parked, tail: Lsn(tail), last: unpack(run, packed)?.last().copied() }))
}

/// One run.
pub fn find(conn: &Connection, of: &Scope, run: RunId) -> Result<Option<StoredRun>> {
    let Filter { whole, user, role } = scope::filter(of);
    let mut statement = conn.prepare_cached(BY_ID).map_err(problem::read)?;
    let found = statement
        .query_row(params![run.as_bytes(), whole, user, role], |row| {
            let parts: (i64, bool, Option<Vec<u8>>) = (row.get(8)?, row.get(9)?, row.get(10)?);
            Ok((read(row)?, parts))
        })
        .optional()
        .map_err(problem::read)?;
    let Some((row, (first, parked, packed))) = found else { return Ok(None) };
    let row = row.ok_or_else(|| problem::corrupt_row("run", &run))?;
    let kept = parked || row.status.is_terminal();
    let lsns = if kept { Some(unpack(run, packed)?) } else { None };
    Ok(Some(StoredRun { row, lsns, first_lsn: Lsn(first) }))
}

/// Unfinished runs that are not parked, oldest first.
pub fn live(conn: &Connection) -> Result<Vec<Live>> {
    let mut statement = conn.prepare_cached(LIVE).map_err(problem::read)?;
    let mut rows = statement.query([]).map_err(problem::read)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().map_err(problem::read)? {
        let id = RunId::from(row.get::<_, [u8; 16]>(0).map_err(problem::read)?);
        let tail = Lsn(row.get(1).map_err(problem::read)?);
        let packed = row.get(2).map_err(problem::read)?;
        out.push(Live { id, tail, lsns: unpack(id, packed)? });
    }
    Ok(out)
}

/// How many are parked.
pub fn parked(conn: &Connection) -> rusqlite::Result<usize> {
    let count: i64 = conn.prepare_cached(PARKED)?.query_row([], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// A page of a list.
pub fn list(conn: &Connection, of: &Scope, filter: &RunFilter) -> Result<Page<RunRow>> {
    let Filter { whole, user, role } = scope::filter(of);
    let limit = filter.limit as usize;
    let fetched = i64::from(filter.limit) + 1;
    // No id is before the one or behind the other, and neither is a UUIDv7.
    let (way, end) = match filter.way {
        Way::Up => (0, [0; 16]),
        Way::Down => (1, [0xff; 16]),
    };
    let past = filter.past.map_or(end, |run| *run.as_bytes());
    let (mut items, mut total) = (Vec::new(), 0u64);
    if filter.workflow.is_none() && filter.statuses.is_empty() {
        if whole {
            fetch(conn, LIST[way], params![past, fetched], &mut items)?;
            total = count(conn, COUNT, [])?;
        } else {
            fetch(conn, LIST_OF[way], params![past, fetched, user, role], &mut items)?;
            total = count(conn, COUNT_OF, params![user, role])?;
        }
    } else {
        // Each status is a range of an index; their first rows together hold the first of all.
        let statuses: &[RunStatus] =
            if filter.statuses.is_empty() { &RunStatus::ALL } else { &filter.statuses };
        for status in RunStatus::ALL.into_iter().filter(|status| statuses.contains(status)) {
            let status = number(status);
            match (filter.workflow.as_ref().map(WorkflowId::as_bytes), whole) {
                (Some(workflow), true) => {
                    fetch(conn, LIST_WORKFLOW[way], params![past, fetched, status, workflow], &mut items)?;
                    total += count(conn, COUNT_WORKFLOW, params![status, workflow])?;
                }
                (Some(workflow), false) => {
                    let values = params![past, fetched, status, workflow, user, role];
                    fetch(conn, LIST_WORKFLOW_OF[way], values, &mut items)?;
                    total += count(conn, COUNT_WORKFLOW_OF, params![status, workflow, user, role])?;
                }
                (None, true) => {
                    fetch(conn, LIST_STATUS[way], params![past, fetched, status], &mut items)?;
                    total += count(conn, COUNT_STATUS, params![status])?;
                }
                (None, false) => {
                    let values = params![past, fetched, status, user, role];
                    fetch(conn, LIST_STATUS_OF[way], values, &mut items)?;
                    total += count(conn, COUNT_STATUS_OF, params![status, user, role])?;
                }
            }
        }
        items.sort_unstable_by(|a, b| filter.way.turn(a.id.cmp(&b.id)));
    }
    let more = items.len() > limit;
    items.truncate(limit);
    Ok(Page { items, total, more })
}

fn fetch(
    conn: &Connection,
    sql: &'static str,
    params: impl rusqlite::Params,
    into: &mut Vec<RunRow>,
) -> Result<()> {
    let mut statement = conn.prepare_cached(sql).map_err(problem::read)?;
    let mut rows = statement.query(params).map_err(problem::read)?;
    while let Some(row) = rows.next().map_err(problem::read)? {
        let id = RunId::from(row.get::<_, [u8; 16]>(0).map_err(problem::read)?);
        let row = read(row).map_err(problem::read)?;
        into.push(row.ok_or_else(|| problem::corrupt_row("run", &id))?);
    }
    Ok(())
}

fn count(conn: &Connection, sql: &'static str, params: impl rusqlite::Params) -> Result<u64> {
    let count: i64 = conn
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row(params, |row| row.get(0)))
        .map_err(problem::read)?;
    Ok(count.unsigned_abs())
}

/// The first eight columns; `None` when the status is no status.
fn read(row: &Row<'_>) -> rusqlite::Result<Option<RunRow>> {
    let Some(status) = status(row.get(4)?) else { return Ok(None) };
    Ok(Some(RunRow {
        id: RunId::from(row.get::<_, [u8; 16]>(0)?),
        workflow: WorkflowId::from(row.get::<_, [u8; 16]>(1)?),
        name: row.get(2)?,
        definition: DefinitionHash(row.get(3)?),
        status,
        detail: row.get(5)?,
        created_at: Timestamp(row.get(6)?),
        finished_at: row.get::<_, Option<i64>>(7)?.map(Timestamp),
    }))
}

fn unpack(run: RunId, packed: Option<Vec<u8>>) -> Result<Vec<Lsn>> {
    Places::unpack(&packed.unwrap_or_default()).ok_or_else(|| problem::corrupt_row("list of run", &run))
}

/// A status as its column holds it.
pub fn number(status: RunStatus) -> u8 {
    match status {
        RunStatus::Pending => 0,
        RunStatus::Running => 1,
        RunStatus::Waiting => 2,
        RunStatus::Paused => 3,
        RunStatus::Completed => 4,
        RunStatus::Failed => 5,
        RunStatus::Cancelled => 6,
    }
}

fn status(number: u8) -> Option<RunStatus> {
    RunStatus::ALL.get(usize::from(number)).copied()
}
