//! The listen table: which waits want events of which topics.

use rusqlite::{Connection, params};

use crate::id::{Lsn, RunId};
use crate::port::StoredListen;

const SET: &str = "INSERT INTO listen (run, seq, lsn, topic) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT (run, seq) DO UPDATE SET lsn = excluded.lsn, topic = excluded.topic";
const CLEAR: &str = "DELETE FROM listen WHERE run = ?1 AND seq = ?2";
const CLEAR_RUN: &str = "DELETE FROM listen WHERE run = ?1";
const ALL: &str = "SELECT run, seq, lsn, topic FROM listen";

/// Notes a wait.
pub fn set(conn: &Connection, listen: &StoredListen) -> rusqlite::Result<()> {
    crate::fault!("listen.set", crate::store::problem::on_purpose);
    conn.prepare_cached(SET)?
        .execute(params![listen.run.as_bytes(), listen.seq, listen.lsn.0, listen.topic])
        .map(drop)
}

/// Forgets a wait; nothing when it is not there.
pub fn clear(conn: &Connection, run: RunId, seq: u32) -> rusqlite::Result<()> {
    crate::fault!("listen.clear", crate::store::problem::on_purpose);
    conn.prepare_cached(CLEAR)?.execute(params![run.as_bytes(), seq]).map(drop)
}

/// Forgets every wait of a run.
pub fn clear_run(conn: &Connection, run: RunId) -> rusqlite::Result<()> {
    conn.prepare_cached(CLEAR_RUN)?.execute([run.as_bytes()]).map(drop)
}

/// All waits.
pub fn all(conn: &Connection) -> rusqlite::Result<Vec<StoredListen>> {
    let mut statement = conn.prepare_cached(ALL)?;
    let listens = statement.query_map([], |row| {
        Ok(StoredListen {
            run: RunId::from(row.get::<_, [u8; 16]>(0)?),
            seq: row.get(1)?,
            lsn: Lsn(row.get(2)?),
            topic: row.get(3)?,
        })
    })?;
    listens.collect()
}
