//! The memory_block and memory_item tables, and recall over the full-text indexes.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{may_ask, origin_number, origin_of, owner_of};
use crate::error::Error;
use crate::id::{MemoryId, WorkflowId};
use crate::model::EffectKey;
use crate::port::{
    BlockPut, ItemScope, MemoryItem, Page, Recall, RecallSource, Recalled, Scope, StoredBlock,
};
use crate::store::sqlite::scope::{self, Filter};
use crate::time::Timestamp;

const BLOCK: &str = "SELECT label, description, value, chars_max, version, origin, updated_at, key FROM memory_block \
     WHERE agent = ?1 AND label = ?2";
const BLOCKS: &str = "SELECT label, description, value, chars_max, version, origin, updated_at, key FROM memory_block \
     WHERE agent = ?1 ORDER BY label";
const COUNT_BLOCKS: &str = "SELECT count(*) FROM memory_block WHERE agent = ?1";
const PUT_BLOCK: &str = "INSERT INTO memory_block (agent, label, description, value, chars_max, version, origin, updated_at, key) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (agent, label) DO UPDATE SET description = excluded.description, \
     value = excluded.value, chars_max = excluded.chars_max, version = excluded.version, origin = excluded.origin, \
     updated_at = excluded.updated_at, key = excluded.key";
const REMOVE_BLOCK: &str = "DELETE FROM memory_block WHERE agent = ?1 AND label = ?2";
const EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM memory_item WHERE id = ?1)";
const COUNT: &str = "SELECT (SELECT count(*) FROM memory_item WHERE agent = ?1) + \
     (SELECT count(*) FROM memory_item WHERE agent IS NULL AND owner IS ?2)";
const SAVE: &str = "INSERT INTO memory_item (id, agent, owner, kind, source, origin, at, expires_at, text) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING";
const REMOVE: &str =
    "DELETE FROM memory_item WHERE id = ?1 AND (agent = ?2 OR (agent IS NULL AND owner IS ?3))";
const EXPIRE: &str = "DELETE FROM memory_item WHERE seq IN \
     (SELECT seq FROM memory_item WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";
const PURGE: [&str; 2] =
    ["DELETE FROM memory_block WHERE agent = ?1", "DELETE FROM memory_item WHERE agent = ?1"];
const LIST: &str = "SELECT id, agent, kind, source, origin, at, expires_at, text FROM memory_item \
     WHERE (agent = ?1 OR (agent IS NULL AND owner IS ?2)) AND (expires_at IS NULL OR expires_at > ?3) \
     ORDER BY seq DESC LIMIT ?4 OFFSET ?5";
const LISTED: &str = "SELECT count(*) FROM memory_item \
     WHERE (agent = ?1 OR (agent IS NULL AND owner IS ?2)) AND (expires_at IS NULL OR expires_at > ?3)";
const RECALL_ITEMS: &str = "SELECT bm25(memory_item_index), i.kind, i.text, i.origin, i.at FROM memory_item_index \
     JOIN memory_item i ON i.seq = memory_item_index.rowid WHERE memory_item_index MATCH ?1 \
     AND (i.agent = ?2 OR (i.agent IS NULL AND i.owner IS ?3)) AND (i.expires_at IS NULL OR i.expires_at > ?4) \
     ORDER BY 1, i.seq DESC LIMIT ?5";
const RECALL_THREAD: &str = "SELECT bm25(thread_message_index), CAST(m.seq AS TEXT), m.text, m.origin, m.at \
     FROM thread_message_index JOIN thread_message m ON m.id = thread_message_index.rowid \
     JOIN thread t ON t.id = m.thread WHERE thread_message_index MATCH ?1 AND m.thread = ?2 AND m.seq < ?3 \
     AND t.agent = ?4 AND (?6 OR t.owner IS ?7 OR t.shared <= ?8) ORDER BY 1, m.seq DESC LIMIT ?5";
// An archive is there for an agent as for its workflow: `Scope::of_workflow`, whose role is that of an editor.
const RECALL_ARCHIVES: &str = "SELECT bm25(chat_archive_message_index), m.title, m.text, 1, m.at \
     FROM chat_archive_message_index JOIN chat_archive_message m ON m.seq = chat_archive_message_index.rowid \
     JOIN chat_archive a ON a.id = m.archive WHERE chat_archive_message_index MATCH ?1 \
     AND a.name IN (SELECT value FROM json_each(?2)) AND (a.owner IS ?3 OR a.shared <= 2) ORDER BY 1, m.seq DESC LIMIT ?4";

/// A block, and the key of the call that wrote it.
pub struct Written {
    pub block: StoredBlock,
    pub key: Option<EffectKey>,
}

/// The block after a write; the stored one when the same call wrote it already.
pub fn written(put: &BlockPut, stored: Option<&Written>) -> crate::Result<StoredBlock, Error> {
    match stored {
        Some(stored) if put.key.is_some() && stored.key == put.key => Ok(stored.block.clone()),
        _ => put.over(stored.map(|stored| &stored.block)),
    }
}

/// One block.
pub fn block(conn: &Connection, agent: WorkflowId, label: &str) -> rusqlite::Result<Option<Written>> {
    conn.prepare_cached(BLOCK)?.query_row(params![agent.as_bytes(), label], read_block).optional()
}

/// All of an agent, for those who may ask.
pub fn blocks(conn: &Connection, of: &Scope, agent: WorkflowId) -> rusqlite::Result<Vec<StoredBlock>> {
    if !may_ask(conn, of, agent)? {
        return Ok(Vec::new());
    }
    let mut statement = conn.prepare_cached(BLOCKS)?;
    let rows = statement.query_map([agent.as_bytes()], read_block)?;
    rows.map(|row| row.map(|written| written.block)).collect()
}

/// How many an agent has.
pub fn count_blocks(conn: &Connection, agent: WorkflowId) -> rusqlite::Result<u32> {
    conn.prepare_cached(COUNT_BLOCKS)?.query_row([agent.as_bytes()], |row| row.get(0))
}

/// Writes one that was checked.
pub fn put_block(conn: &Connection, put: &BlockPut) -> rusqlite::Result<()> {
    let stored = block(conn, put.agent, &put.label)?;
    // It was checked against what was there before the batch, which writes a block once.
    let Ok(next) = written(put, stored.as_ref()) else { return Ok(()) };
    let values = params![
        put.agent.as_bytes(),
        next.label,
        next.description,
        next.value,
        next.chars_max,
        next.version,
        origin_number(next.origin),
        next.updated_at.0,
        put.key.map(|key| key.0)
    ];
    conn.prepare_cached(PUT_BLOCK)?.execute(values).map(drop)
}

/// Forgets one.
pub fn remove_block(conn: &Connection, agent: WorkflowId, label: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(REMOVE_BLOCK)?.execute(params![agent.as_bytes(), label]).map(drop)
}

/// Whether there is an item of this id.
pub fn exists(conn: &Connection, id: MemoryId) -> rusqlite::Result<bool> {
    conn.prepare_cached(EXISTS)?.query_row([id.as_bytes()], |row| row.get(0))
}

/// Items that an agent recalls.
pub fn count(conn: &Connection, agent: WorkflowId) -> rusqlite::Result<u64> {
    let owner = owner_of(conn, agent)?.flatten();
    let count: i64 =
        conn.prepare_cached(COUNT)?.query_row(params![agent.as_bytes(), owner], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// Saves one.
pub fn save(conn: &Connection, agent: WorkflowId, item: &MemoryItem) -> rusqlite::Result<()> {
    let owner = owner_of(conn, agent)?.flatten();
    let (agent, owner) = match item.scope {
        ItemScope::Agent => (Some(*agent.as_bytes()), None),
        ItemScope::Owner => (None, owner),
    };
    let values = params![
        item.id.as_bytes(),
        agent,
        owner,
        item.kind,
        item.source,
        origin_number(item.origin),
        item.at.0,
        item.expires_at.map(|at| at.0),
        item.text
    ];
    conn.prepare_cached(SAVE)?.execute(values).map(drop)
}

/// Forgets one that the agent recalls.
pub fn remove(conn: &Connection, agent: WorkflowId, id: MemoryId) -> rusqlite::Result<()> {
    let owner = owner_of(conn, agent)?.flatten();
    conn.prepare_cached(REMOVE)?.execute(params![id.as_bytes(), agent.as_bytes(), owner]).map(drop)
}

/// Forgets so many that have expired.
pub fn expire(conn: &Connection, now: Timestamp, rows_max: u32) -> rusqlite::Result<u64> {
    conn.prepare_cached(EXPIRE)?.execute(params![now.0, rows_max]).map(|rows| rows as u64)
}

/// Forgets blocks and items of an agent.
pub fn purge(conn: &Connection, agent: WorkflowId) -> rusqlite::Result<()> {
    PURGE.into_iter().try_for_each(|text| conn.prepare_cached(text)?.execute([agent.as_bytes()]).map(drop))
}

/// What an agent recalls, newest first.
pub fn list(
    conn: &Connection,
    of: &Scope,
    agent: WorkflowId,
    (skip, limit): (u32, u32),
    now: Timestamp,
) -> rusqlite::Result<Page<MemoryItem>> {
    if !may_ask(conn, of, agent)? {
        return Ok(Page { items: Vec::new(), total: 0, more: false });
    }
    let owner = owner_of(conn, agent)?.flatten();
    let mut statement = conn.prepare_cached(LIST)?;
    let values = params![agent.as_bytes(), owner, now.0, i64::from(limit) + 1, skip];
    let mut items = statement.query_map(values, read_item)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let total: i64 =
        conn.prepare_cached(LISTED)?.query_row(params![agent.as_bytes(), owner, now.0], |row| row.get(0))?;
    Ok(Page { items, total: total.unsigned_abs(), more })
}

/// What fits the words best, over items, the thread and archives.
pub fn recall(conn: &Connection, of: &Scope, recall: &Recall) -> rusqlite::Result<Vec<Recalled>> {
    if recall.terms.is_empty() || !may_ask(conn, of, recall.agent)? {
        return Ok(Vec::new());
    }
    let owner = owner_of(conn, recall.agent)?.flatten();
    let (agent, terms, limit) = (recall.agent.as_bytes(), recall.terms.to_string(), recall.limit);
    let mut found: Vec<(f64, Recalled)> = Vec::new();
    let mut items = conn.prepare_cached(RECALL_ITEMS)?;
    let rows =
        items.query_map(params![terms, agent, owner, recall.now.0, limit], ranked(RecallSource::Item))?;
    found.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
    if let Some((thread, before)) = recall.thread {
        let Filter { whole, user, role } = scope::filter(of);
        let mut messages = conn.prepare_cached(RECALL_THREAD)?;
        let values = params![terms, thread.as_bytes(), before, agent, limit, whole, user, role];
        let rows = messages.query_map(values, ranked(RecallSource::Thread))?;
        found.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    if !recall.archives.is_empty() {
        let names = serde_json::Value::from(recall.archives.clone()).to_string();
        let mut archives = conn.prepare_cached(RECALL_ARCHIVES)?;
        let rows = archives.query_map(params![terms, names, owner, limit], ranked(RecallSource::Archive))?;
        found.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    // The lower the better; a stable sort keeps the order of the sources among equals.
    found.sort_by(|one, other| one.0.total_cmp(&other.0));
    found.truncate(limit as usize);
    Ok(found.into_iter().map(|(_, one)| one).collect())
}

fn ranked(from: RecallSource) -> impl FnMut(&Row<'_>) -> rusqlite::Result<(f64, Recalled)> {
    move |row| {
        let recalled = Recalled {
            from,
            place: row.get(1)?,
            text: row.get(2)?,
            origin: origin_of(row.get(3)?),
            at: row.get::<_, Option<i64>>(4)?.map(Timestamp),
        };
        Ok((row.get(0)?, recalled))
    }
}

fn read_block(row: &Row<'_>) -> rusqlite::Result<Written> {
    let block = StoredBlock {
        label: row.get(0)?,
        description: row.get(1)?,
        value: row.get(2)?,
        chars_max: row.get(3)?,
        version: row.get(4)?,
        origin: origin_of(row.get(5)?),
        updated_at: Timestamp(row.get(6)?),
    };
    Ok(Written { block, key: row.get::<_, Option<[u8; 16]>>(7)?.map(EffectKey) })
}

fn read_item(row: &Row<'_>) -> rusqlite::Result<MemoryItem> {
    Ok(MemoryItem {
        id: MemoryId::from(row.get::<_, [u8; 16]>(0)?),
        scope: match row.get::<_, Option<[u8; 16]>>(1)? {
            Some(_) => ItemScope::Agent,
            None => ItemScope::Owner,
        },
        kind: row.get(2)?,
        source: row.get(3)?,
        origin: origin_of(row.get(4)?),
        at: Timestamp(row.get(5)?),
        expires_at: row.get::<_, Option<i64>>(6)?.map(Timestamp),
        text: row.get(7)?,
    })
}
