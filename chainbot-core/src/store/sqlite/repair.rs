//! Repair of what follows from the journal: rows of runs, timers and questions of runs that are over or not there.
//!
//! Invariants: journal and archive are never written; a run whose chain is broken is left alone, because nothing says which
//! part of it is true. A row of an unfinished run is made such that the next start reads its records and parks it again.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, params};

use super::chore::Chore;
use super::{SqliteStore, archive, journal, run};
use crate::error::Result;
use crate::id::{Lsn, RunId};
use crate::model::{RecordBody, RunCreated, RunStatus};
use crate::store::chain::Row;
use crate::store::invariants::{Violation, check};
use crate::store::places::Places;
use crate::time::Timestamp;

const PUT: &str = "INSERT INTO run (id, workflow, name, definition, status, parked, detail, created_at, finished_at, \
         first_lsn, tail_lsn, lsns, archived) VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
     ON CONFLICT (id) DO UPDATE SET workflow = excluded.workflow, name = excluded.name, definition = excluded.definition, \
         status = excluded.status, parked = 0, detail = excluded.detail, created_at = excluded.created_at, \
         finished_at = excluded.finished_at, first_lsn = excluded.first_lsn, tail_lsn = excluded.tail_lsn, \
         lsns = excluded.lsns, archived = excluded.archived";
const DROP_ROW: &str = "DELETE FROM run WHERE id = ?1";
const DROP_TIMERS: &str = "DELETE FROM timer WHERE run = ?1";
const DROP_QUESTIONS: &str = "DELETE FROM inbox WHERE run = ?1";

/// What a run's row must say.
pub struct Repair {
    run: RunId,
    /// `None` = there are no records of it, so there is no such run.
    told: Option<Told>,
}

/// What a run's records say.
struct Told {
    created: RunCreated,
    at: Timestamp,
    lsns: Vec<Lsn>,
    end: Option<(RunStatus, Timestamp, Option<String>)>,
    is_archived: bool,
}

impl SqliteStore {
    /// Makes the derived tables say what the journal says; how many runs were repaired, and what is left.
    pub fn repair(&self) -> Result<(u64, Vec<Violation>)> {
        let found = check(self)?;
        let broken: HashSet<RunId> =
            found.iter().filter(|one| one.invariant == "I1").filter_map(|one| one.run).collect();
        let affected: HashSet<RunId> = found
            .iter()
            .filter(|one| ["I3", "I5"].contains(&one.invariant))
            .filter_map(|one| one.run)
            .filter(|run| !broken.contains(run))
            .collect();
        if affected.is_empty() {
            return Ok((0, found));
        }
        let repairs = self.read(|conn| told(conn, &affected))?;
        let repaired = self.writer.chore(Chore::Repair(repairs))?;
        Ok((repaired, check(self)?))
    }
}

fn told(conn: &Connection, affected: &HashSet<RunId>) -> Result<Vec<Repair>> {
    let mut all: HashMap<RunId, Option<Told>> = affected.iter().map(|run| (*run, None)).collect();
    archive::each(conn, |run, kept| {
        if let Some(told) = all.get_mut(&run) {
            for (kept, seq) in kept?.iter().zip(0..) {
                take(told, &kept.row(run, seq), true)?;
            }
        }
        Ok(())
    })?;
    journal::each(conn, Lsn(1), |row, _| match all.get_mut(&row.run) {
        Some(told) => take(told, row, false),
        None => Ok(()),
    })?;
    Ok(all.into_iter().map(|(run, told)| Repair { run, told }).collect())
}

fn take(told: &mut Option<Told>, row: &Row<'_>, is_archived: bool) -> Result<()> {
    let record = row.decode()?;
    let end = match record.body {
        RecordBody::RunCreated(created) => {
            let (created, at) = (*created, record.at);
            *told = Some(Told { created, at, lsns: vec![row.lsn], end: None, is_archived });
            return Ok(());
        }
        RecordBody::RunCompleted { .. } => Some((RunStatus::Completed, record.at, None)),
        RecordBody::RunFailed { error, .. } => Some((RunStatus::Failed, record.at, Some(error.message))),
        RecordBody::RunCancelled { reason } => Some((RunStatus::Cancelled, record.at, Some(reason))),
        _ => None,
    };
    if let Some(told) = told {
        told.lsns.push(row.lsn);
        told.end = end;
    }
    Ok(())
}

/// Writes it.
pub fn apply(conn: &Connection, repair: &Repair) -> rusqlite::Result<()> {
    let id = repair.run.as_bytes();
    let is_open = repair.told.as_ref().is_some_and(|told| told.end.is_none());
    // A run that is taken up again sets its timers anew; its questions to people are still asked.
    conn.prepare_cached(DROP_TIMERS)?.execute([id])?;
    if !is_open {
        conn.prepare_cached(DROP_QUESTIONS)?.execute([id])?;
    }
    let Some(told) = &repair.told else {
        return conn.prepare_cached(DROP_ROW)?.execute([id]).map(drop);
    };
    let places = Places::pack(&told.lsns).unwrap_or_default();
    let first = told.lsns.first().map_or(0, |lsn| lsn.0);
    let (status, finished, detail) = match &told.end {
        Some((status, at, detail)) => (*status, Some(at.0), detail.as_deref()),
        None => (RunStatus::Pending, None, None),
    };
    let tail = match is_open {
        true => first,
        false => places.last().map_or(0, |last| last.0).saturating_add(1),
    };
    let lsns = (!is_open).then(|| places.as_bytes());
    // Its end was passed when the journal was searched for what to archive: retention finds it by the mark.
    let archived = if told.is_archived {
        1
    } else if is_open {
        0
    } else {
        2
    };
    conn.prepare_cached(PUT)?.execute(params![
        id,
        told.created.workflow.as_bytes(),
        told.created.name,
        told.created.definition.0,
        run::number(status),
        detail,
        told.at.0,
        finished,
        first,
        tail,
        lsns,
        archived
    ])?;
    Ok(())
}
