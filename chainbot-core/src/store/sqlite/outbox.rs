//! The outbox table: messages on their way, delivered, and given up.

use rusqlite::{Connection, Row, params};

use super::scope::{self, Filter};
use crate::error::Result;
use crate::id::RunId;
use crate::model::EffectKey;
use crate::port::{
    MessageFilter, MessageKind, MessageMark, MessageState, NewMessage, Page, PendingMessage, Scope,
    StoredMessage, Way,
};
use crate::store::problem;
use crate::time::Timestamp;

// A step makes a message once; whoever hands in the same again changes nothing.
const PUT: &str = "INSERT INTO outbox (id, kind, run, step, target, bytes, state, attempts, at, made_at, input) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7, ?7, ?8) ON CONFLICT (id) DO NOTHING";
const MARK: &str = "UPDATE outbox SET state = ?2, attempts = ?3, at = ?4, error = ?5 WHERE id = ?1";
const REMOVE: &str = "DELETE FROM outbox WHERE id = ?1";
const PRUNE_OLD: &str = "DELETE FROM outbox WHERE seq IN \
     (SELECT seq FROM outbox WHERE state = ?1 AND at < ?2 ORDER BY at LIMIT ?3)";
const PRUNE_MANY: &str = "DELETE FROM outbox WHERE seq IN \
     (SELECT seq FROM outbox WHERE state = ?1 ORDER BY at DESC, seq DESC LIMIT ?3 OFFSET ?2)";
const PENDING: &str = "SELECT id, at, target, bytes FROM outbox WHERE state = 0 ORDER BY at, seq";
// The last three values of what follows are those of `scope`.
const BY_ID: &str = "SELECT seq, id, kind, run, step, target, state, attempts, at, made_at, error, input \
     FROM outbox WHERE id = ?1 AND (?2 OR EXISTS (SELECT 1 FROM run r JOIN workflow w ON w.id = r.workflow \
     WHERE r.id = outbox.run AND (w.owner IS ?3 OR w.shared <= ?4)))";
// A direction is no value that could be bound.
macro_rules! list {
    ($past:literal, $order:literal) => {
        concat!(
            "SELECT seq, id, kind, run, step, target, state, attempts, at, made_at, error, input \
             FROM outbox WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR ",
            $past,
            ") AND (?4 OR EXISTS (SELECT 1 FROM run r JOIN workflow w ON w.id = r.workflow \
             WHERE r.id = outbox.run AND (w.owner IS ?5 OR w.shared <= ?6))) ORDER BY ",
            $order,
            " LIMIT ?3"
        )
    };
}
const LIST_UP: &str = list!("seq > ?2", "seq");
const LIST_DOWN: &str = list!("seq < ?2", "seq DESC");
const COUNT: &str = "SELECT count(*) FROM outbox WHERE (?1 IS NULL OR state = ?1) AND (?2 OR EXISTS \
     (SELECT 1 FROM run r JOIN workflow w ON w.id = r.workflow \
     WHERE r.id = outbox.run AND (w.owner IS ?3 OR w.shared <= ?4)))";

fn number(state: MessageState) -> u8 {
    match state {
        MessageState::Pending => 0,
        MessageState::Delivered => 1,
        MessageState::Dead => 2,
    }
}

/// Puts one in.
pub fn put(conn: &Connection, message: &NewMessage) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached(PUT)?;
    statement.execute(params![
        message.id.0,
        message.kind.as_str(),
        message.run.as_bytes(),
        message.step,
        message.target,
        message.bytes() as i64,
        message.at.0,
        message.input.to_string()
    ])?;
    Ok(())
}

/// Says where one stands.
pub fn mark(conn: &Connection, mark: &MessageMark) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached(MARK)?;
    statement.execute(params![mark.id.0, number(mark.state), mark.attempts, mark.at.0, mark.error])?;
    Ok(())
}

/// Forgets one.
pub fn remove(conn: &Connection, id: EffectKey) -> rusqlite::Result<()> {
    conn.prepare_cached(REMOVE)?.execute([id.0]).map(drop)
}

/// Forgets what ended before a time, and all but the newest `keep` of each state; so many rows at most.
pub fn prune(conn: &Connection, before: Timestamp, keep: u32, rows_max: u32) -> rusqlite::Result<()> {
    for state in [MessageState::Delivered, MessageState::Dead] {
        conn.prepare_cached(PRUNE_OLD)?.execute(params![number(state), before.0, rows_max])?;
        conn.prepare_cached(PRUNE_MANY)?.execute(params![number(state), keep, rows_max])?;
    }
    Ok(())
}

/// All that are to be sent, the next first.
pub fn pending(conn: &Connection) -> rusqlite::Result<Vec<PendingMessage>> {
    let mut statement = conn.prepare_cached(PENDING)?;
    let rows = statement.query_map([], |row| {
        Ok(PendingMessage {
            id: EffectKey(row.get(0)?),
            due: Timestamp(row.get(1)?),
            target: row.get(2)?,
            bytes: usize::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
        })
    })?;
    rows.collect()
}

/// One, with its content.
pub fn find(conn: &Connection, of: &Scope, id: EffectKey) -> Result<Option<StoredMessage>> {
    let Filter { whole, user, role } = scope::filter(of);
    let mut statement = conn.prepare_cached(BY_ID).map_err(problem::read)?;
    let mut rows = statement.query(params![id.0, whole, user, role]).map_err(problem::read)?;
    rows.next().map_err(problem::read)?.map(read).transpose()
}

/// A page, newest first.
pub fn list(conn: &Connection, of: &Scope, filter: &MessageFilter) -> Result<Page<StoredMessage>> {
    let Filter { whole, user, role } = scope::filter(of);
    let state = filter.state.map(number);
    let total: i64 = conn
        .prepare_cached(COUNT)
        .and_then(|mut count| count.query_row(params![state, whole, user, role], |row| row.get(0)))
        .map_err(problem::read)?;
    let sql = match filter.way {
        Way::Up => LIST_UP,
        Way::Down => LIST_DOWN,
    };
    let mut statement = conn.prepare_cached(sql).map_err(problem::read)?;
    let values = params![state, filter.past, i64::from(filter.limit) + 1, whole, user, role];
    let mut rows = statement.query(values).map_err(problem::read)?;
    let mut items = Vec::new();
    while let Some(row) = rows.next().map_err(problem::read)? {
        items.push(read(row)?);
    }
    let more = items.len() > filter.limit as usize;
    items.truncate(filter.limit as usize);
    Ok(Page { items, total: u64::try_from(total).unwrap_or(0), more })
}

fn read(row: &Row<'_>) -> Result<StoredMessage> {
    let id = EffectKey(row.get(1).map_err(problem::read)?);
    let damaged = || problem::corrupt_row("message", &id);
    let kind: String = row.get(2).map_err(problem::read)?;
    let state = match row.get::<_, i64>(6).map_err(problem::read)? {
        0 => MessageState::Pending,
        1 => MessageState::Delivered,
        2 => MessageState::Dead,
        _ => return Err(damaged()),
    };
    let input = row.get_ref(11).and_then(|text| Ok(text.as_str()?)).map_err(problem::read)?;
    let input = serde_json::from_str(input).map_err(|error| damaged().because(error))?;
    let at = Timestamp(row.get(8).map_err(problem::read)?);
    Ok(StoredMessage {
        seq: row.get(0).map_err(problem::read)?,
        message: NewMessage {
            id,
            kind: MessageKind::parse(&kind).ok_or_else(damaged)?,
            run: RunId::from(row.get::<_, [u8; 16]>(3).map_err(problem::read)?),
            step: row.get(4).map_err(problem::read)?,
            target: row.get(5).map_err(problem::read)?,
            input: crate::model::Json::new(input),
            at: Timestamp(row.get(9).map_err(problem::read)?),
        },
        state,
        attempts: row.get(7).map_err(problem::read)?,
        due: at,
        finished_at: (state != MessageState::Pending).then_some(at),
        error: row.get(10).map_err(problem::read)?,
    })
}
