//! The archive table: finished runs, each one compressed blob, found by the run's first place.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::journal;
use crate::error::Result;
use crate::id::{Lsn, RunId};
use crate::model::event::Committed;
use crate::store::archive::{self, Kept, Packer};
use crate::store::chain::LINK_BYTES;
use crate::store::{codec, problem};

const INSERT: &str =
    "INSERT OR REPLACE INTO archive (first_lsn, last_lsn, run, parent, body) VALUES (?1, ?2, ?3, ?4, ?5)";
const MARK: &str = "UPDATE run SET archived = ?2 WHERE id = ?1 AND status >= 4";
const FIRST: &str = "SELECT first_lsn FROM run WHERE id = ?1 AND archived = 1";
const DELETE: &str = "DELETE FROM archive WHERE first_lsn = ?1 AND run = ?2";
const UNMARK: &str = "UPDATE run SET archived = 0 WHERE id = ?1";
const TAKE_OUT: &str = "DELETE FROM journal WHERE lsn = ?1 AND run = ?2";
const OF_RUN: &str =
    "SELECT a.body FROM archive a JOIN run r ON r.first_lsn = a.first_lsn WHERE r.id = ?1 AND a.run = ?1";
const BLOB: &str = "SELECT run, body FROM archive WHERE first_lsn = ?1";
const NEXT: &str = "SELECT first_lsn FROM archive WHERE first_lsn > ?1 ORDER BY first_lsn LIMIT 1";
const ENDS_AFTER: &str = "SELECT last_lsn, first_lsn FROM archive WHERE last_lsn > ?1 ORDER BY last_lsn";

/// A run on its way into the archive.
pub struct Packed {
    /// Which run.
    pub run: RunId,
    /// Whose step made it.
    pub parent: Option<RunId>,
    /// Its places.
    pub lsns: Vec<Lsn>,
    /// Its records; `None` when they are too large together and stay in the journal.
    pub body: Option<Vec<u8>>,
}

/// Moves a run. Nothing happens to one that is not over any more.
pub fn put(conn: &Connection, packed: &Packed) -> rusqlite::Result<bool> {
    crate::fault!("archive.put", crate::store::problem::on_purpose);
    let state = if packed.body.is_some() { 1 } else { 2 };
    if conn.prepare_cached(MARK)?.execute(params![packed.run.as_bytes(), state])? == 0 {
        return Ok(false);
    }
    let (Some(body), Some(first), Some(last)) = (&packed.body, packed.lsns.first(), packed.lsns.last())
    else {
        return Ok(true);
    };
    let parent = packed.parent.as_ref().map(RunId::as_bytes);
    conn.prepare_cached(INSERT)?.execute(params![first.0, last.0, packed.run.as_bytes(), parent, body])?;
    let mut take_out = conn.prepare_cached(TAKE_OUT)?;
    for lsn in &packed.lsns {
        take_out.execute(params![lsn.0, packed.run.as_bytes()])?;
    }
    Ok(true)
}

/// Moves a run back to the journal: it is taken up again. Nothing happens to one that is not in the archive.
pub fn bring_back(conn: &Connection, run: RunId) -> rusqlite::Result<()> {
    crate::fault!("archive.bring_back", crate::store::problem::on_purpose);
    let Some(first) = conn.prepare_cached(FIRST)?.query_row([run.as_bytes()], |row| row.get(0)).optional()?
    else {
        return Ok(());
    };
    let damaged = |error: crate::error::Error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
    let (of, blob) = blob(conn, first).map_err(damaged)?;
    let mut insert = journal::inserter(conn)?;
    for (kept, seq) in unpack(of, &blob).map_err(damaged)?.into_iter().zip(0..) {
        let row = kept.row(run, seq);
        let mut encoded = codec::encode(run, &row.decode().map_err(damaged)?).map_err(damaged)?;
        let Some((body, link)) = kept.body.split_last_chunk::<LINK_BYTES>() else { continue };
        // As it was written, whatever this version would write.
        encoded.body = body.to_vec();
        journal::insert(&mut insert, kept.lsn, run, &mut encoded, *link)?;
    }
    conn.prepare_cached(DELETE)?.execute(params![first, run.as_bytes()])?;
    conn.prepare_cached(UNMARK)?.execute([run.as_bytes()]).map(drop)
}

/// Packs a run from wherever its records are; also how many records it has.
pub fn pack(conn: &Connection, run: RunId, parent: Option<RunId>, lsns: Vec<Lsn>) -> Result<Packed> {
    crate::fault!("archive.pack", problem::read_on_purpose);
    let mut packer = Packer::default();
    let mut fits = true;
    journal::each_at(conn, run, &lsns, |row| {
        fits = fits && packer.push(row.lsn, row.at, row.body);
        Ok(fits)
    })?;
    let body = match fits {
        true => Some(packer.finish().map_err(|error| problem::corrupt_row("run", &run).because(error))?),
        false => None,
    };
    Ok(Packed { run, parent, lsns, body })
}

/// A run's records in the archive, if it is there.
pub fn find(conn: &Connection, run: RunId) -> Result<Option<HashMap<Lsn, (u32, Kept)>>> {
    let mut statement = conn.prepare_cached(OF_RUN).map_err(problem::read)?;
    let blob: Option<Vec<u8>> =
        statement.query_row([run.as_bytes()], |row| row.get(0)).optional().map_err(problem::read)?;
    let Some(blob) = blob else { return Ok(None) };
    let kept = unpack(run, &blob)?;
    Ok(Some(kept.into_iter().zip(0..).map(|(kept, seq)| (kept.lsn, (seq, kept))).collect()))
}

/// Visits every run of the archive.
pub fn each(conn: &Connection, mut visit: impl FnMut(RunId, Result<Vec<Kept>>) -> Result<()>) -> Result<()> {
    let mut next = conn.prepare_cached(NEXT).map_err(problem::read)?;
    let mut at = i64::MIN;
    loop {
        let found: Option<i64> = next.query_row([at], |row| row.get(0)).optional().map_err(problem::read)?;
        let Some(first) = found else { return Ok(()) };
        at = first;
        let (run, blob) = blob(conn, first)?;
        visit(run, unpack(run, &blob))?;
    }
}

/// Records after a place that are in the archive and not in the journal any more, up to `until`, unordered. At least all
/// that are among the first `limit` of them.
pub fn after(conn: &Connection, after: Lsn, until: Lsn, limit: u32) -> Result<Vec<Committed>> {
    let mut statement = conn.prepare_cached(ENDS_AFTER).map_err(problem::read)?;
    let mut rows = statement.query([after.0]).map_err(problem::read)?;
    // Each of the first `limit` runs has a record here, so what is wanted does not go beyond the last one's end.
    let (mut bound, mut ends, mut firsts) = (until.0, 0, Vec::new());
    while let Some(row) = rows.next().map_err(problem::read)? {
        let (last, first): (i64, i64) =
            row.get(0).and_then(|last| Ok((last, row.get(1)?))).map_err(problem::read)?;
        ends += 1;
        if ends == limit {
            bound = bound.min(last);
        }
        firsts.push(first);
    }
    drop(rows);
    let mut out = Vec::new();
    for first in firsts.into_iter().filter(|first| *first <= bound) {
        let (run, blob) = blob(conn, first)?;
        for (kept, seq) in unpack(run, &blob)?.into_iter().zip(0..) {
            if kept.lsn > after && kept.lsn.0 <= bound {
                out.push(Committed { lsn: kept.lsn, run, record: kept.row(run, seq).decode()? });
            }
        }
    }
    Ok(out)
}

fn blob(conn: &Connection, first: i64) -> Result<(RunId, Vec<u8>)> {
    conn.prepare_cached(BLOB)
        .and_then(|mut statement| {
            statement.query_row([first], |row| Ok((RunId::from(row.get::<_, [u8; 16]>(0)?), row.get(1)?)))
        })
        .map_err(problem::read)
}

fn unpack(run: RunId, blob: &[u8]) -> Result<Vec<Kept>> {
    archive::unpack(blob).map_err(|why| problem::corrupt_archive(run, why))
}
