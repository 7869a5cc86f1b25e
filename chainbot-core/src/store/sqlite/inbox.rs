//! The inbox table: open questions to people. An answered one is in the journal and its row is gone.

use rusqlite::{Connection, params};

use crate::error::Result;
use crate::id::{InboxId, RunId};
use crate::port::StoredQuestion;
use crate::store::batch::Question;
use crate::store::problem;
use crate::time::Timestamp;

const PUT: &str = "INSERT INTO inbox (id, run, node, path, kind, question, at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM inbox WHERE id = ?1)";
const CLOSE_RUN: &str = "DELETE FROM inbox WHERE run = ?1";
const ALL: &str = "SELECT id, run, kind, question, at FROM inbox ORDER BY at, id";

/// Asks.
pub fn put(conn: &Connection, question: &Question) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached(PUT)?;
    statement.execute(params![
        question.id.as_bytes(),
        question.run.as_bytes(),
        question.node,
        question.path,
        question.kind,
        question.question,
        question.at.0
    ])?;
    Ok(())
}

/// Whether a question of this id is open.
pub fn exists(conn: &Connection, id: InboxId) -> rusqlite::Result<bool> {
    conn.prepare_cached(EXISTS)?.query_row([id.as_bytes()], |row| row.get(0))
}

/// Closes every question of a run.
pub fn close_run(conn: &Connection, run: RunId) -> rusqlite::Result<()> {
    conn.prepare_cached(CLOSE_RUN)?.execute([run.as_bytes()]).map(drop)
}

/// Open questions, oldest first.
pub fn all(conn: &Connection) -> Result<Vec<StoredQuestion>> {
    let mut statement = conn.prepare_cached(ALL).map_err(problem::read)?;
    let mut rows = statement.query([]).map_err(problem::read)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().map_err(problem::read)? {
        let id = InboxId::from(row.get::<_, [u8; 16]>(0).map_err(problem::read)?);
        let text = row.get_ref(3).and_then(|text| Ok(text.as_str()?)).map_err(problem::read)?;
        out.push(StoredQuestion {
            id,
            run: RunId::from(row.get::<_, [u8; 16]>(1).map_err(problem::read)?),
            kind: row.get(2).map_err(problem::read)?,
            question: serde_json::from_str(text)
                .map_err(|error| problem::corrupt_row("question", &id).because(error))?,
            at: Timestamp(row.get(4).map_err(problem::read)?),
        });
    }
    Ok(out)
}
