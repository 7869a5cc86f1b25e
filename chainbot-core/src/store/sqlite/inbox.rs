//! The inbox table: questions to people. An answered one keeps its row, which says what the journal says of it.

use rusqlite::{Connection, Row, params};

use super::scope::{self, Filter};
use crate::error::Result;
use crate::id::{InboxId, RunId};
use crate::port::{InboxAnswer, Scope, StoredQuestion};
use crate::store::batch::Question;
use crate::store::problem;
use crate::time::Timestamp;

const PUT: &str = "INSERT INTO inbox (id, run, node, path, kind, question, at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM inbox WHERE id = ?1 AND answered_at IS NULL)";
const ANSWER: &str = "UPDATE inbox SET action = ?2, answer = ?3, answered_by = ?4, answered_at = ?5 \
     WHERE id = ?1 AND answered_at IS NULL";
const CLOSE: &str = "DELETE FROM inbox WHERE id = ?1 AND answered_at IS NULL";
const CLOSE_RUN: &str = "DELETE FROM inbox WHERE run = ?1 AND answered_at IS NULL";
const FORGET_ANSWERED: &str = "DELETE FROM inbox WHERE id = ?1 AND answered_at IS NOT NULL";
const FORGET_RUN: &str = "DELETE FROM inbox WHERE run = ?1";
// The last three values of what follows are those of `scope`.
const OPEN: &str = "SELECT id, run, kind, question, at, action, answer, answered_by, answered_at FROM inbox \
     WHERE answered_at IS NULL AND (?1 OR EXISTS (SELECT 1 FROM run r JOIN workflow w ON w.id = r.workflow \
     WHERE r.id = inbox.run AND (w.owner IS ?2 OR w.shared <= ?3))) ORDER BY at, id";
const BY_ID: &str = "SELECT id, run, kind, question, at, action, answer, answered_by, answered_at FROM inbox \
     WHERE id = ?1 AND (?2 OR EXISTS (SELECT 1 FROM run r JOIN workflow w ON w.id = r.workflow \
     WHERE r.id = inbox.run AND (w.owner IS ?3 OR w.shared <= ?4)))";

/// Asks. A question that was answered and is asked again is open again.
pub fn put(conn: &Connection, question: &Question) -> rusqlite::Result<()> {
    crate::fault!("inbox.put", crate::store::problem::on_purpose);
    conn.prepare_cached(FORGET_ANSWERED)?.execute([question.id.as_bytes()])?;
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

/// Keeps an answer.
pub fn answer(conn: &Connection, answer: &InboxAnswer) -> rusqlite::Result<()> {
    crate::fault!("inbox.answer", crate::store::problem::on_purpose);
    conn.prepare_cached(ANSWER)?
        .execute(params![
            answer.id.as_bytes(),
            answer.action,
            answer.data.to_string(),
            answer.by,
            answer.at.0
        ])
        .map(drop)
}

/// A question that nobody need answer any more.
pub fn close(conn: &Connection, id: InboxId) -> rusqlite::Result<()> {
    conn.prepare_cached(CLOSE)?.execute([id.as_bytes()]).map(drop)
}

/// Closes every question of a run.
pub fn close_run(conn: &Connection, run: RunId) -> rusqlite::Result<()> {
    conn.prepare_cached(CLOSE_RUN)?.execute([run.as_bytes()]).map(drop)
}

/// Forgets everything that was asked about a run.
pub fn forget_run(conn: &Connection, run: RunId) -> rusqlite::Result<()> {
    conn.prepare_cached(FORGET_RUN)?.execute([run.as_bytes()]).map(drop)
}

/// Open questions, oldest first.
pub fn all(conn: &Connection, of: &Scope) -> Result<Vec<StoredQuestion>> {
    let Filter { whole, user, role } = scope::filter(of);
    let mut statement = conn.prepare_cached(OPEN).map_err(problem::read)?;
    let mut rows = statement.query(params![whole, user, role]).map_err(problem::read)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().map_err(problem::read)? {
        out.push(read(row)?);
    }
    Ok(out)
}

/// A question, answered or not.
pub fn find(conn: &Connection, of: &Scope, id: InboxId) -> Result<Option<StoredQuestion>> {
    let Filter { whole, user, role } = scope::filter(of);
    let mut statement = conn.prepare_cached(BY_ID).map_err(problem::read)?;
    let mut rows = statement.query(params![id.as_bytes(), whole, user, role]).map_err(problem::read)?;
    rows.next().map_err(problem::read)?.map(read).transpose()
}

fn read(row: &Row<'_>) -> Result<StoredQuestion> {
    let id = InboxId::from(row.get::<_, [u8; 16]>(0).map_err(problem::read)?);
    let json = |column: usize| {
        let text = row.get_ref(column).and_then(|text| Ok(text.as_str()?)).map_err(problem::read)?;
        serde_json::from_str(text).map_err(|error| problem::corrupt_row("question", &id).because(error))
    };
    let answered_at: Option<i64> = row.get(8).map_err(problem::read)?;
    let answer = match answered_at {
        None => None,
        Some(at) => Some(InboxAnswer {
            id,
            action: row.get(5).map_err(problem::read)?,
            data: std::sync::Arc::new(json(6)?),
            by: row.get(7).map_err(problem::read)?,
            at: Timestamp(at),
        }),
    };
    Ok(StoredQuestion {
        id,
        run: RunId::from(row.get::<_, [u8; 16]>(1).map_err(problem::read)?),
        kind: row.get(2).map_err(problem::read)?,
        question: json(3)?,
        at: Timestamp(row.get(4).map_err(problem::read)?),
        answer,
    })
}
