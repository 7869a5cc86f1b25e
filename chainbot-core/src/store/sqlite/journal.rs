//! The journal table: append, read by place, read from a place on.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row as SqlRow, params};

use super::{archive, chore, cursor};
use crate::error::Result;
use crate::id::{Lsn, RunId};
use crate::model::event::Committed;
use crate::model::{Record, RecordBody};
use crate::store::chain::{Link, Row, Tip};
use crate::store::codec::{self, Encoded};
use crate::store::problem;
use crate::time::Timestamp;

const INSERT: &str = "INSERT INTO journal (lsn, run, seq, kind, node, path, ts, body) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const BY_LSN: &str = "SELECT lsn, run, seq, ts, body FROM journal WHERE lsn = ?1";
const AFTER: &str = "SELECT lsn, run, seq, ts, body FROM journal WHERE lsn > ?1 ORDER BY lsn LIMIT ?2";
const FROM: &str = "SELECT lsn, run, seq, ts, body FROM journal WHERE lsn >= ?1 ORDER BY lsn";
const FULL_FROM: &str = "SELECT lsn, run, seq, ts, body, kind, node, path FROM journal \
     WHERE lsn >= ?1 ORDER BY lsn";
const LAST_OF_RUN: &str = "SELECT lsn, run, seq, ts, body FROM journal WHERE lsn >= ?1 AND run = ?2 \
     ORDER BY lsn DESC LIMIT 1";
const NEWEST: &str = "SELECT max(lsn) FROM journal";
const NEWEST_TIME: &str = "SELECT ts FROM journal ORDER BY lsn DESC LIMIT 1";

/// The statement that a transaction appends with.
pub fn inserter(conn: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    conn.prepare_cached(INSERT)
}

/// Appends one record, its link behind its body.
pub fn insert(
    statement: &mut CachedStatement<'_>,
    lsn: Lsn,
    run: RunId,
    record: &mut Encoded,
    link: Link,
) -> rusqlite::Result<()> {
    let body = record.body.len();
    record.body.extend_from_slice(&link);
    let inserted = statement.execute(params![
        lsn.0,
        run.as_bytes(),
        record.seq,
        record.kind,
        record.node,
        record.path,
        record.at.0,
        record.body
    ]);
    // The whole transaction may have to be tried again, when the disk was full.
    record.body.truncate(body);
    inserted.map(drop)
}

/// The newest place, 0 when empty.
pub fn newest(conn: &Connection) -> rusqlite::Result<Lsn> {
    let lsn: Option<i64> = conn.prepare_cached(NEWEST)?.query_row([], |row| row.get(0))?;
    Ok(Lsn(lsn.unwrap_or(0)))
}

/// The newest record's time.
pub fn newest_time(conn: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    conn.prepare_cached(NEWEST_TIME)?.query_row([], |row| row.get(0)).optional().map(|ts| ts.map(Timestamp))
}

/// Where the chain of a run stands after its record at `lsn`.
pub fn tip_at(conn: &Connection, run: RunId, lsn: Lsn) -> Result<Option<Tip>> {
    let mut tip = None;
    each_at(conn, run, &[lsn], |row| {
        tip = Some(row.tip()?);
        Ok(true)
    })?;
    Ok(tip)
}

/// Where the chain of a run stands, looking no further back than `from`. Reads backwards from the end,
/// since there is no
/// index by run: for a run at work whose tip was forgotten, which is rare.
pub fn tip_since(conn: &Connection, run: RunId, from: Lsn) -> Result<Option<Tip>> {
    tip(conn, LAST_OF_RUN, params![from.0, run.as_bytes()])
}

fn tip(conn: &Connection, sql: &'static str, params: impl rusqlite::Params) -> Result<Option<Tip>> {
    let mut statement = conn.prepare_cached(sql).map_err(problem::read)?;
    let mut rows = statement.query(params).map_err(problem::read)?;
    rows.next().map_err(problem::read)?.map(|row| view(row)?.tip()).transpose()
}

/// Records by place, in the order given, checked against the run's chain as far as the list goes.
pub fn records(conn: &Connection, run: RunId, lsns: &[Lsn]) -> Result<Vec<(Lsn, Record)>> {
    let mut out = Vec::with_capacity(lsns.len());
    let (mut tip, mut whole) = (None, false);
    each_at(conn, run, lsns, |row| {
        follow(&mut tip, &mut whole, row)?;
        out.push((row.lsn, row.decode()?));
        Ok(true)
    })?;
    Ok(out)
}

/// Visits rows by place, in the order given, wherever they are: in the journal, or with their run in the archive. Ends
/// when the visitor says so.
pub fn each_at(
    conn: &Connection,
    run: RunId,
    lsns: &[Lsn],
    mut visit: impl FnMut(&Row<'_>) -> Result<bool>,
) -> Result<()> {
    let mut statement = conn.prepare_cached(BY_LSN).map_err(problem::read)?;
    let mut archived = None;
    for lsn in lsns {
        let mut rows = statement.query([lsn.0]).map_err(problem::read)?;
        let goes_on = match rows.next().map_err(problem::read)? {
            Some(row) => {
                let row = view(row)?;
                if row.run != run {
                    return Err(problem::corrupt(run, *lsn, "it belongs to another run"));
                }
                visit(&row)?
            }
            None => {
                if archived.is_none() {
                    archived = Some(archive::find(conn, run)?.unwrap_or_default());
                }
                let kept = archived.as_ref().and_then(|kept| kept.get(lsn));
                let (seq, kept) = kept.ok_or_else(|| problem::corrupt(run, *lsn, "it is missing"))?;
                visit(&kept.row(run, *seq))?
            }
        };
        if !goes_on {
            break;
        }
    }
    Ok(())
}

/// Checks a row against the one before it in a list. A list that begins with the run's first record must
/// go on without a
/// gap; another one may leave records out, and is checked where its records are neighbours.
fn follow(tip: &mut Option<Tip>, whole: &mut bool, row: &Row<'_>) -> Result<()> {
    match tip {
        None if row.seq == 0 => {
            *whole = true;
            row.verify(tip.insert(Tip::default()))
        }
        Some(tip) if *whole || tip.next_seq == row.seq => row.verify(tip),
        _ => {
            *tip = Some(row.tip()?);
            Ok(())
        }
    }
}

/// Records of all runs after a place.
pub fn after(conn: &Connection, after: Lsn, limit: u32) -> Result<Vec<Committed>> {
    let mut statement = conn.prepare_cached(AFTER).map_err(problem::read)?;
    let mut rows = statement.query(params![after.0, limit]).map_err(problem::read)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().map_err(problem::read)? {
        let row = view(row)?;
        out.push(Committed { lsn: row.lsn, run: row.run, record: row.decode()? });
    }
    let settled = cursor::find(conn, chore::CURSOR).map_err(problem::read)?;
    if settled.is_some_and(|settled| after < settled) {
        let is_full = out.len() >= limit as usize;
        let until = out.last().filter(|_| is_full).map_or(Lsn(i64::MAX), |last| last.lsn);
        out.extend(archive::after(conn, after, until, limit)?);
        out.sort_unstable_by_key(|committed| committed.lsn);
        out.truncate(limit as usize);
    }
    Ok(out)
}

/// A run that is being read again.
#[derive(Default)]
pub struct History {
    /// Its records so far.
    pub records: Vec<(Lsn, Record)>,
    /// Its chain so far.
    pub tip: Tip,
}

impl History {
    /// Reads what a list of places names.
    pub fn resume(&mut self, conn: &Connection, run: RunId, lsns: &[Lsn]) -> Result<()> {
        self.records = records(conn, run, lsns)?;
        if let Some(last) = lsns.last() {
            self.tip =
                tip_at(conn, run, *last)?.ok_or_else(|| problem::corrupt(run, *last, "it is missing"))?;
        }
        Ok(())
    }
}

/// The columns that repeat what a body says, for people who look into the database.
pub struct Columns {
    kind: u8,
    node: Option<u32>,
    path: Option<Vec<u8>>,
}

impl Columns {
    /// Whether they say the same as the body, in bytes and decoded.
    pub fn fit(&self, row: &Row<'_>, body: &RecordBody) -> bool {
        let place = body.place();
        let path = place.filter(|place| !place.path.is_empty()).map(|place| codec::pack_path(&place.path));
        Some(&self.kind) == row.body.get(1)
            && self.node == place.map(|place| place.node.0)
            && self.path == path
    }
}

/// Visits every record from `from` on, with all its columns.
pub fn each(
    conn: &Connection,
    from: Lsn,
    mut visit: impl FnMut(&Row<'_>, &Columns) -> Result<()>,
) -> Result<()> {
    let mut statement = conn.prepare_cached(FULL_FROM).map_err(problem::read)?;
    let mut rows = statement.query([from.0]).map_err(problem::read)?;
    while let Some(row) = rows.next().map_err(problem::read)? {
        let columns = Columns {
            kind: row.get(5).map_err(problem::read)?,
            node: row.get(6).map_err(problem::read)?,
            path: row.get(7).map_err(problem::read)?,
        };
        visit(&view(row)?, &columns)?;
    }
    Ok(())
}

/// Reads the journal once from `from` on and gives each run of `runs` its records, each checked against
/// the chain.
pub fn scan(conn: &Connection, from: Lsn, runs: &mut HashMap<RunId, History>) -> Result<()> {
    let mut statement = conn.prepare_cached(FROM).map_err(problem::read)?;
    let mut rows = statement.query([from.0]).map_err(problem::read)?;
    while let Some(row) = rows.next().map_err(problem::read)? {
        let row = view(row)?;
        let Some(history) = runs.get_mut(&row.run) else { continue };
        // A record before `from` of this run was read by its list of places already.
        if history.records.last().is_some_and(|(last, _)| *last >= row.lsn) {
            continue;
        }
        row.verify(&mut history.tip)?;
        history.records.push((row.lsn, row.decode()?));
    }
    Ok(())
}

/// The columns as they are in SQLite's page, without a copy.
fn view<'a>(row: &'a SqlRow<'_>) -> Result<Row<'a>> {
    let read = |row: &'a SqlRow<'_>| -> rusqlite::Result<Row<'a>> {
        let body = row.get_ref(4)?.as_blob()?;
        Ok(Row {
            lsn: Lsn(row.get(0)?),
            run: RunId::from(row.get::<_, [u8; 16]>(1)?),
            seq: row.get(2)?,
            at: Timestamp(row.get(3)?),
            body,
        })
    };
    read(row).map_err(problem::read)
}
