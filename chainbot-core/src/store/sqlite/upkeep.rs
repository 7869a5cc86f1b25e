//! Upkeep on the reading side: finds what is to be archived, deleted and given back, one bounded piece at a time.
//!
//! ```text
//! archive ──► retention, workflow by workflow ──► keys ──► memory ──► audit log ──► deleted workflows ──► free pages ──► done, and from the start
//! ```
//!
//! Invariants: only ends of runs older than the newest record are archived, so the journal never becomes empty and no
//! place is given out twice; a run whose parent is not over is not deleted, because the parent may still ask how it ended;
//! nor is one of which the host or the triggers were not told everything, or the key of one that an event may start again.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::archive::{self, Packed};
use super::chore::{CURSOR, Chore};
use super::{SqliteStore, cursor, journal, run};
use crate::error::Result;
use crate::id::{Lsn, RunId, WorkflowId};
use crate::limits;
use crate::model::{RecordBody, RunStatus};
use crate::port::Scope;
use crate::port::upkeep::{Retention, Tidied, Upkeep};
use crate::store::problem;
use crate::time::Timestamp;

const ENDS: &str = "SELECT lsn, run, ts, kind BETWEEN 2 AND 4 FROM journal WHERE lsn > ?1 AND lsn < ?2 ORDER BY lsn LIMIT ?3";
const NEXT_WORKFLOW: &str = "SELECT min(workflow) FROM run WHERE workflow > ?1";
const OLD: &str = "SELECT r.id FROM run r WHERE r.workflow = ?1 AND r.status = ?2 AND r.archived > 0 AND r.finished_at < ?3 \
     AND r.tail_lsn <= ?5 + 1 AND NOT EXISTS (SELECT 1 FROM archive a JOIN run p ON p.id = a.parent \
         WHERE a.first_lsn = r.first_lsn AND p.status < 4) \
     ORDER BY r.finished_at LIMIT ?4";
const OLDEST: &str = "SELECT r.finished_at, r.id FROM run r WHERE r.workflow = ?1 AND r.status = ?2 AND r.archived > 0 \
     AND r.tail_lsn <= ?4 + 1 AND NOT EXISTS (SELECT 1 FROM archive a JOIN run p ON p.id = a.parent \
         WHERE a.first_lsn = r.first_lsn AND p.status < 4) \
     ORDER BY r.finished_at LIMIT ?3";
const COUNT: &str = "SELECT count(*) FROM run WHERE workflow = ?1 AND status = ?2 AND archived > 0";
const OLD_KEY: &str = "SELECT EXISTS (SELECT 1 FROM idempotency WHERE at < ?1 AND NOT EXISTS \
     (SELECT 1 FROM run WHERE run.id = made AND first_lsn > ?2))";
const EXPIRED: &str = "SELECT EXISTS (SELECT 1 FROM memory_item WHERE expires_at <= ?1)";
const GONE: &str = "SELECT id FROM workflow w WHERE deleted_at < ?1 \
     AND NOT EXISTS (SELECT 1 FROM run r WHERE r.workflow = w.id) LIMIT ?2";

/// Statuses that retention deletes.
const ENDED: [RunStatus; 3] = [RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled];
/// How far the wall clock is believed beyond the newest record: a store without new records does not age further.
const CLOCK_LEAD_MAX: Duration = Duration::from_secs(86_400);
/// Workflows looked at in one call without finding anything.
const WORKFLOWS_AT_ONCE: usize = 64;

/// Where a round of upkeep stands.
#[derive(Default)]
pub struct Round {
    stage: Stage,
    /// The journal was searched up to here; behind the stored cursor only as long as nothing was found.
    searched: Lsn,
}

#[derive(Default, Clone, Copy)]
enum Stage {
    #[default]
    Archive,
    /// Workflows up to this one are done.
    Retain([u8; 16]),
    Keys,
    Memory,
    Audit,
    Workflows,
    Vacuum,
}

/// What the search of the journal found.
struct Found {
    packed: Vec<Packed>,
    upto: Lsn,
    more: bool,
}

impl SqliteStore {
    /// One piece of the round.
    pub(super) fn tidy_next(&self, upkeep: &Upkeep<'_>) -> Result<Tidied> {
        // A clock that jumped ahead must not make everything old at once.
        let newest = self.rows(journal::newest_time)?.unwrap_or(upkeep.now);
        // No place is beyond this one, and one can be added to it.
        let told = Lsn(upkeep.told.0.min(i64::MAX - 1));
        let upkeep = &Upkeep { now: upkeep.now.min(newest.after(CLOCK_LEAD_MAX)), told, ..*upkeep };
        let mut round = self.round.lock();
        let mut done = Tidied { more: true, ..Tidied::default() };
        match round.stage {
            Stage::Archive => {
                let found = self.read(|conn| find_ended(conn, round.searched, upkeep))?;
                round.searched = found.upto;
                if !found.packed.is_empty() {
                    done.archived = self.writer.chore(Chore::Archive(found.packed, found.upto))?;
                }
                if !found.more {
                    round.stage = Stage::Retain([0; 16]);
                }
            }
            Stage::Retain(after) => {
                let old = self.read(|conn| find_old(conn, after, upkeep))?;
                round.stage = match old {
                    Old::Runs(workflow, runs) => {
                        done.deleted = self.writer.chore(Chore::Delete(runs))?;
                        // The same workflow again, in which there may be more.
                        Stage::Retain(if done.deleted > 0 { after } else { workflow })
                    }
                    Old::NoneUpTo(workflow) => Stage::Retain(workflow),
                    Old::None => Stage::Keys,
                };
            }
            Stage::Keys => {
                let before = ago(upkeep.now, upkeep.rules.keys);
                let any = self.rows(|conn| {
                    conn.prepare_cached(OLD_KEY)?.query_row([before.0, upkeep.told.0], |row| row.get(0))
                })?;
                match any {
                    true => done.keys = self.writer.chore(Chore::Keys(before, upkeep.told))?,
                    false => round.stage = Stage::Memory,
                }
            }
            Stage::Memory => {
                let any = self
                    .rows(|conn| conn.prepare_cached(EXPIRED)?.query_row([upkeep.now.0], |row| row.get(0)))?;
                if any {
                    done.forgotten = self.writer.chore(Chore::Expired(upkeep.now))?;
                }
                if done.forgotten == 0 {
                    round.stage = Stage::Audit;
                }
            }
            Stage::Audit => {
                let before = ago(upkeep.now, upkeep.rules.audit);
                if self.rows(|conn| super::audit::has_before(conn, before))? {
                    done.audit = self.writer.chore(Chore::Audit(before, upkeep.now))?;
                }
                if done.audit == 0 {
                    round.stage = Stage::Workflows;
                }
            }
            Stage::Workflows => {
                let before = ago(upkeep.now, upkeep.rules.archive_after);
                let gone = self.rows(|conn| gone(conn, before))?;
                if !gone.is_empty() {
                    done.workflows = self.writer.chore(Chore::Workflows(gone))?;
                }
                if done.workflows == 0 {
                    round.stage = Stage::Vacuum;
                }
            }
            Stage::Vacuum => {
                let free: i64 =
                    self.rows(|conn| conn.pragma_query_value(None, "freelist_count", |row| row.get(0)))?;
                if free > limits::VACUUM_PAGES_KEPT {
                    done.pages = self.writer.chore(Chore::Vacuum)?;
                }
                if done.pages == 0 {
                    round.stage = Stage::Archive;
                    done.more = false;
                }
            }
        }
        Ok(done)
    }
}

/// Runs that ended long enough ago, or so many records ago that the journal would grow without them.
fn find_ended(conn: &Connection, searched: Lsn, upkeep: &Upkeep<'_>) -> Result<Found> {
    let newest = journal::newest(conn).map_err(problem::read)?;
    let from = cursor::find(conn, CURSOR).map_err(problem::read)?.unwrap_or(Lsn(0)).max(searched);
    let before = ago(upkeep.now, upkeep.rules.archive_after);
    let mut found = Found { packed: Vec::new(), upto: from, more: false };
    let (mut records, mut bytes, mut looked) = (0, 0, 0);
    let mut statement = conn.prepare_cached(ENDS).map_err(problem::read)?;
    let mut rows =
        statement.query(params![from.0, newest.0, limits::ARCHIVE_SCAN_MAX]).map_err(problem::read)?;
    while let Some(row) = rows.next().map_err(problem::read)? {
        let read = |row: &rusqlite::Row<'_>| -> rusqlite::Result<(Lsn, RunId, Timestamp, bool)> {
            let id = RunId::from(row.get::<_, [u8; 16]>(1)?);
            Ok((Lsn(row.get(0)?), id, Timestamp(row.get(2)?), row.get(3)?))
        };
        let (lsn, id, at, is_end) = read(row).map_err(problem::read)?;
        let is_young = at >= before && newest.0 - lsn.0 < limits::JOURNAL_RECORDS_TARGET;
        if is_end && is_young {
            return Ok(found);
        }
        looked += 1;
        if is_end && let Some(packed) = pack(conn, id, lsn)? {
            records += packed.lsns.len();
            bytes += packed.body.as_ref().map_or(0, Vec::len);
            found.packed.push(packed);
        }
        found.upto = lsn;
        let is_full = found.packed.len() >= limits::ARCHIVE_RUNS_MAX
            || records >= limits::ARCHIVE_RECORDS_MAX
            || bytes >= limits::COMMIT_BYTES_MAX;
        if is_full {
            found.more = true;
            return Ok(found);
        }
    }
    found.more = looked == limits::ARCHIVE_SCAN_MAX;
    Ok(found)
}

/// A run that is over with the record at `end`; `None` when it went on after it.
fn pack(conn: &Connection, id: RunId, end: Lsn) -> Result<Option<Packed>> {
    let Some(stored) = run::find(conn, &Scope::All, id)?.filter(|stored| stored.row.status.is_terminal())
    else {
        return Ok(None);
    };
    let lsns = stored.lsns.unwrap_or_default();
    if lsns.last() != Some(&end) {
        return Ok(None);
    }
    let parent = match journal::records(conn, id, &lsns[..1]) {
        Ok(first) => first.into_iter().find_map(|(_, record)| match record.body {
            RecordBody::RunCreated(created) => created.parent.map(|parent| parent.run),
            _ => None,
        }),
        Err(error) => return damaged(id, error),
    };
    archive::pack(conn, id, parent, lsns).map(Some).or_else(|error| damaged(id, error))
}

/// A damaged run stays where it is, for `fsck` and for people, and does not keep the others from moving.
fn damaged(id: RunId, error: crate::Error) -> Result<Option<Packed>> {
    if *error.code() != crate::error::code::store::CORRUPT {
        return Err(error);
    }
    log::error!("run {id} is not archived: {error}");
    Ok(None)
}

/// What the search for runs past their time found.
enum Old {
    /// Runs of this workflow.
    Runs([u8; 16], Vec<RunId>),
    /// None of any workflow up to this one.
    NoneUpTo([u8; 16]),
    /// None, and there are no more workflows.
    None,
}

/// Finished runs of the next workflows that are past their time or too many.
fn find_old(conn: &Connection, mut after: [u8; 16], upkeep: &Upkeep<'_>) -> Result<Old> {
    for _ in 0..WORKFLOWS_AT_ONCE {
        let next: Option<[u8; 16]> = conn
            .prepare_cached(NEXT_WORKFLOW)
            .and_then(|mut statement| statement.query_row([after], |row| row.get(0)))
            .map_err(problem::read)?;
        let Some(workflow) = next else { return Ok(Old::None) };
        let rules = upkeep.rules.with((upkeep.keep)(WorkflowId::from(workflow)));
        let runs = old_of(conn, &workflow, &rules, upkeep).map_err(problem::read)?;
        if !runs.is_empty() {
            return Ok(Old::Runs(workflow, runs));
        }
        after = workflow;
    }
    Ok(Old::NoneUpTo(after))
}

fn old_of(
    conn: &Connection,
    workflow: &[u8; 16],
    rules: &Retention,
    &Upkeep { now, told, .. }: &Upkeep<'_>,
) -> rusqlite::Result<Vec<RunId>> {
    let mut kept = 0;
    for status in ENDED {
        let time = match status {
            RunStatus::Completed => rules.completed,
            RunStatus::Failed => rules.failed,
            _ => rules.cancelled,
        };
        let number = run::number(status);
        let mut statement = conn.prepare_cached(OLD)?;
        let found = statement.query_map(
            params![workflow, number, ago(now, time).0, limits::RETENTION_ROWS_MAX, told.0],
            |row| row.get::<_, [u8; 16]>(0).map(RunId::from),
        )?;
        let found = found.collect::<rusqlite::Result<Vec<_>>>()?;
        if !found.is_empty() {
            return Ok(found);
        }
        kept +=
            conn.prepare_cached(COUNT)?.query_row(params![workflow, number], |row| row.get::<_, i64>(0))?;
    }
    let over = (kept - i64::from(rules.runs_max)).min(i64::from(limits::RETENTION_ROWS_MAX));
    if over <= 0 {
        return Ok(Vec::new());
    }
    let mut oldest: Vec<(i64, RunId)> = Vec::new();
    for status in ENDED {
        let mut statement = conn.prepare_cached(OLDEST)?;
        let found = statement.query_map(params![workflow, run::number(status), over, told.0], |row| {
            Ok((row.get(0)?, RunId::from(row.get::<_, [u8; 16]>(1)?)))
        })?;
        oldest.extend(found.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    oldest.sort_unstable();
    Ok(oldest.into_iter().take(over.unsigned_abs() as usize).map(|(_, id)| id).collect())
}

fn gone(conn: &Connection, before: Timestamp) -> rusqlite::Result<Vec<WorkflowId>> {
    let mut statement = conn.prepare_cached(GONE)?;
    let found = statement.query_map(params![before.0, limits::RETENTION_ROWS_MAX], |row| {
        row.get::<_, [u8; 16]>(0).map(WorkflowId::from)
    })?;
    found.collect()
}

fn ago(now: Timestamp, time: Duration) -> Timestamp {
    Timestamp(now.0.saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
}
