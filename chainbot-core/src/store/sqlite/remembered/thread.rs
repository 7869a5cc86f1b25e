//! The thread, thread_message and summary tables.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{origin_number, origin_of, speaker_number, speaker_of};
use crate::error::Result;
use crate::id::{RunId, ThreadId, WorkflowId};
use crate::port::{
    NewThread, Page, Scope, StoredThread, StoredThreadMessage, Summary, ThreadMessage, ToolMark,
};
use crate::store::problem;
use crate::store::sqlite::scope::{self, Filter};
use crate::time::Timestamp;

const PUT: &str = "INSERT INTO thread (id, agent, owner, shared, title, created_at, updated_at, newest) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, 0) ON CONFLICT (id) DO NOTHING";
const NEWEST: &str = "SELECT newest FROM thread WHERE id = ?1";
const HAS: &str = "SELECT EXISTS (SELECT 1 FROM thread_message WHERE run = ?1 AND thread = ?2)";
const APPEND: &str = "INSERT INTO thread_message \
     (thread, seq, run, speaker, tokens, origin, at, call, tool, is_error, digest, calls, text) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
const MOVE: &str = "UPDATE thread SET newest = ?2, updated_at = max(updated_at, ?3) WHERE id = ?1";
// The one that reaches further stands for what the others do.
const SUMMARISE: &str = "INSERT INTO summary (thread, to_seq, from_seq, tokens, origin, at, text) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (thread, to_seq) DO NOTHING";
const REMOVE: [&str; 3] = [
    "DELETE FROM thread_message WHERE thread = ?1",
    "DELETE FROM summary WHERE thread = ?1",
    "DELETE FROM thread WHERE id = ?1",
];
const PURGE: [&str; 3] = [
    "DELETE FROM thread_message WHERE thread IN (SELECT id FROM thread WHERE agent = ?1)",
    "DELETE FROM summary WHERE thread IN (SELECT id FROM thread WHERE agent = ?1)",
    "DELETE FROM thread WHERE agent = ?1",
];
// The last three values of what follows are those of `scope`.
const FIND: &str = "SELECT id, agent, owner, shared, title, created_at, updated_at, newest FROM thread \
     WHERE id = ?1 AND (?2 OR owner IS ?3 OR shared <= ?4)";
const LIST: &str = "SELECT id, agent, owner, shared, title, created_at, updated_at, newest FROM thread \
     WHERE agent = ?1 AND (?2 IS NULL OR id < ?2) AND (?4 OR owner IS ?5 OR shared <= ?6) ORDER BY id DESC LIMIT ?3";
const COUNT: &str = "SELECT count(*) FROM thread WHERE agent = ?1 AND (?2 OR owner IS ?3 OR shared <= ?4)";
const MESSAGES: &str = "SELECT seq, run, speaker, tokens, origin, at, call, tool, is_error, digest, calls, text \
     FROM thread_message WHERE thread = ?1 AND (?2 IS NULL OR seq < ?2) ORDER BY seq DESC LIMIT ?3";
const SUMMARY: &str = "SELECT from_seq, to_seq, text, tokens, origin, at FROM summary WHERE thread = ?1 \
     ORDER BY to_seq DESC LIMIT 1";

/// A new thread.
pub fn put(conn: &Connection, new: &NewThread) -> rusqlite::Result<()> {
    let (owner, shared) =
        (new.possession.owner.map(|user| *user.as_bytes()), new.possession.shared.map(scope::number));
    conn.prepare_cached(PUT)?
        .execute(params![new.id.as_bytes(), new.agent.as_bytes(), owner, shared, new.title, new.at.0])
        .map(drop)
}

/// What a task adds, once.
pub fn append(
    conn: &Connection,
    id: ThreadId,
    run: RunId,
    messages: &[ThreadMessage],
    summary: Option<&Summary>,
) -> rusqlite::Result<()> {
    let newest: Option<u32> =
        conn.prepare_cached(NEWEST)?.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
    let Some(newest) = newest else { return Ok(()) };
    if conn.prepare_cached(HAS)?.query_row(params![run.as_bytes(), id.as_bytes()], |row| row.get(0))? {
        return Ok(());
    }
    let mut insert = conn.prepare_cached(APPEND)?;
    for (seq, message) in (newest + 1..).zip(messages) {
        let tool = message.tool.as_ref();
        insert.execute(params![
            id.as_bytes(),
            seq,
            run.as_bytes(),
            speaker_number(message.speaker),
            message.tokens,
            origin_number(message.origin),
            message.at.0,
            tool.map(|mark| &mark.call),
            tool.map(|mark| &mark.name),
            tool.map(|mark| mark.is_error),
            tool.map(|mark| &mark.digest),
            message.calls.as_ref().map(|calls| calls.to_string()),
            message.text
        ])?;
    }
    if let Some(last) = messages.last() {
        let newest = newest.saturating_add(u32::try_from(messages.len()).unwrap_or(u32::MAX));
        conn.prepare_cached(MOVE)?.execute(params![id.as_bytes(), newest, last.at.0])?;
    }
    let Some(one) = summary else { return Ok(()) };
    let values = params![
        id.as_bytes(),
        one.to_seq,
        one.from_seq,
        one.tokens,
        origin_number(one.origin),
        one.at.0,
        one.text
    ];
    conn.prepare_cached(SUMMARISE)?.execute(values).map(drop)
}

/// Forgets a thread.
pub fn remove(conn: &Connection, id: ThreadId) -> rusqlite::Result<()> {
    REMOVE.into_iter().try_for_each(|text| conn.prepare_cached(text)?.execute([id.as_bytes()]).map(drop))
}

/// Forgets every thread with an agent.
pub fn purge(conn: &Connection, agent: WorkflowId) -> rusqlite::Result<()> {
    PURGE.into_iter().try_for_each(|text| conn.prepare_cached(text)?.execute([agent.as_bytes()]).map(drop))
}

/// One.
pub fn find(conn: &Connection, of: &Scope, id: ThreadId) -> rusqlite::Result<Option<StoredThread>> {
    let Filter { whole, user, role } = scope::filter(of);
    conn.prepare_cached(FIND)?.query_row(params![id.as_bytes(), whole, user, role], read).optional()
}

/// Newest first.
pub fn list(
    conn: &Connection,
    of: &Scope,
    agent: WorkflowId,
    before: Option<ThreadId>,
    limit: u32,
) -> rusqlite::Result<Page<StoredThread>> {
    let Filter { whole, user, role } = scope::filter(of);
    let before = before.map(|id| *id.as_bytes());
    let mut statement = conn.prepare_cached(LIST)?;
    let values = params![agent.as_bytes(), before, i64::from(limit) + 1, whole, user, role];
    let mut items = statement.query_map(values, read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let total: i64 = conn
        .prepare_cached(COUNT)?
        .query_row(params![agent.as_bytes(), whole, user, role], |row| row.get(0))?;
    Ok(Page { items, total: total.unsigned_abs(), more })
}

/// The newest messages before a place, in order.
pub fn messages(
    conn: &Connection,
    of: &Scope,
    id: ThreadId,
    before: Option<u32>,
    limit: u32,
) -> Result<Page<StoredThreadMessage>> {
    let Some(thread) = find(conn, of, id).map_err(problem::read)? else {
        return Ok(Page { items: Vec::new(), total: 0, more: false });
    };
    let mut statement = conn.prepare_cached(MESSAGES).map_err(problem::read)?;
    let mut rows =
        statement.query(params![id.as_bytes(), before, i64::from(limit) + 1]).map_err(problem::read)?;
    let mut items = Vec::new();
    while let Some(row) = rows.next().map_err(problem::read)? {
        items.push(read_message(row, id)?);
    }
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    items.reverse();
    Ok(Page { items, total: u64::from(thread.messages), more })
}

/// What stands for the beginning.
pub fn summary(conn: &Connection, of: &Scope, id: ThreadId) -> rusqlite::Result<Option<Summary>> {
    if find(conn, of, id)?.is_none() {
        return Ok(None);
    }
    conn.prepare_cached(SUMMARY)?
        .query_row([id.as_bytes()], |row| {
            Ok(Summary {
                from_seq: row.get(0)?,
                to_seq: row.get(1)?,
                text: row.get(2)?,
                tokens: row.get(3)?,
                origin: origin_of(row.get(4)?),
                at: Timestamp(row.get(5)?),
            })
        })
        .optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredThread> {
    Ok(StoredThread {
        thread: NewThread {
            id: ThreadId::from(row.get::<_, [u8; 16]>(0)?),
            agent: WorkflowId::from(row.get::<_, [u8; 16]>(1)?),
            possession: scope::read(row, 2)?,
            title: row.get(4)?,
            at: Timestamp(row.get(5)?),
        },
        updated_at: Timestamp(row.get(6)?),
        messages: row.get(7)?,
    })
}

fn read_message(row: &Row<'_>, id: ThreadId) -> Result<StoredThreadMessage> {
    let plain = |row: &Row<'_>| -> rusqlite::Result<(StoredThreadMessage, Option<String>)> {
        let tool = match row.get::<_, Option<String>>(6)? {
            None => None,
            Some(call) => {
                Some(ToolMark { call, name: row.get(7)?, is_error: row.get(8)?, digest: row.get(9)? })
            }
        };
        let message = ThreadMessage {
            speaker: speaker_of(row, 2)?,
            text: row.get(11)?,
            calls: None,
            tool,
            tokens: row.get(3)?,
            origin: origin_of(row.get(4)?),
            at: Timestamp(row.get(5)?),
        };
        let run = RunId::from(row.get::<_, [u8; 16]>(1)?);
        Ok((StoredThreadMessage { seq: row.get(0)?, run, message }, row.get(10)?))
    };
    let (mut stored, calls) = plain(row).map_err(problem::read)?;
    if let Some(calls) = calls {
        let damaged = |error| problem::corrupt_row("thread", &id).because(error);
        stored.message.calls = Some(serde_json::from_str(&calls).map_err(damaged)?);
    }
    Ok(stored)
}
