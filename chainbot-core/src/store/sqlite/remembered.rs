//! What agents remember: changes of the tables of memory, and the question whether somebody may ask about an agent's.
//!
//! [`thread`] holds threads, messages and summaries, [`item`] blocks, items and recall, [`chat`] archives of chats. The full-text indexes
//! are kept by triggers, so nothing here writes to them. Invariant: what an agent remembers is found through the agent's row, whose owner
//! says whose it is.

mod ask;
pub mod chat;
pub mod item;
pub mod thread;

use rusqlite::{Connection, OptionalExtension, params};

use super::scope::{self, Filter};
use crate::error::Error;
use crate::id::{UserId, WorkflowId};
use crate::limits;
use crate::port::{MemoryOp, Origin, Scope, Speaker};
use crate::store::problem;

const AGENT: &str = "SELECT EXISTS (SELECT 1 FROM workflow WHERE id = ?1)";
const OWNER: &str = "SELECT owner FROM workflow WHERE id = ?1";
// The rule of `Scope::may_change`.
const MAY_ASK: &str = "SELECT EXISTS (SELECT 1 FROM workflow w WHERE w.id = ?1 \
     AND (?2 OR w.owner IS ?3 OR (w.owner IS NULL AND w.shared <= ?4)))";
// Threads and archives are given back as workflows are; what was for all agents of a user was for nobody else.
const GIVE_BACK_THREADS: &str = "UPDATE thread SET owner = NULL WHERE owner = ?1";
const GIVE_BACK_ARCHIVES: &str = "UPDATE OR IGNORE chat_archive SET owner = NULL WHERE owner = ?1";
const FORGET_OWNERS_ITEMS: &str = "DELETE FROM memory_item WHERE agent IS NULL AND owner = ?1";

/// Whether they may ask what an agent remembers.
pub fn may_ask(conn: &Connection, of: &Scope, agent: WorkflowId) -> rusqlite::Result<bool> {
    let Filter { whole, user, role } = scope::filter(of);
    conn.prepare_cached(MAY_ASK)?.query_row(params![agent.as_bytes(), whole, user, role], |row| row.get(0))
}

/// Why a change does not fit what is stored.
pub fn check(conn: &Connection, op: &MemoryOp) -> rusqlite::Result<Option<Error>> {
    let agent = match op {
        MemoryOp::ThreadPut(new) => new.agent,
        MemoryOp::BlockPut(put) => put.agent,
        MemoryOp::ItemSave { agent, .. } => *agent,
        _ => return Ok(None),
    };
    if !conn.prepare_cached(AGENT)?.query_row([agent.as_bytes()], |row| row.get(0))? {
        return Ok(Some(problem::no_agent(agent)));
    }
    match op {
        MemoryOp::BlockPut(put) => {
            let stored = item::block(conn, agent, &put.label)?;
            if stored.is_none() && item::count_blocks(conn, agent)? >= limits::MEMORY_BLOCKS_MAX {
                return Ok(Some(problem::memory_full("blocks", limits::MEMORY_BLOCKS_MAX)));
            }
            Ok(item::written(put, stored.as_ref()).err())
        }
        MemoryOp::ItemSave { item, .. } => {
            let is_full = !item::exists(conn, item.id)?
                && item::count(conn, agent)? >= u64::from(limits::MEMORY_ITEMS_MAX);
            Ok(is_full.then(|| problem::memory_full("items", limits::MEMORY_ITEMS_MAX)))
        }
        _ => Ok(None),
    }
}

/// Makes a change that was checked.
pub fn apply(conn: &Connection, op: &MemoryOp) -> rusqlite::Result<()> {
    match op {
        MemoryOp::ThreadPut(new) => thread::put(conn, new),
        MemoryOp::ThreadAppend { thread, run, messages, summary } => {
            thread::append(conn, *thread, *run, messages, summary.as_ref())
        }
        MemoryOp::ThreadRemove(id) => thread::remove(conn, *id),
        MemoryOp::BlockPut(put) => item::put_block(conn, put),
        MemoryOp::BlockRemove { agent, label } => item::remove_block(conn, *agent, label),
        MemoryOp::ItemSave { agent, item } => item::save(conn, *agent, item),
        MemoryOp::ItemRemove { agent, id } => item::remove(conn, *agent, *id),
        MemoryOp::Purge(agent) => purge(conn, *agent),
        MemoryOp::ArchivePut(new) => chat::put(conn, new),
        MemoryOp::ArchiveAdd { archive, messages, at } => chat::add(conn, *archive, messages, *at),
        MemoryOp::ArchiveRemove(id) => chat::remove(conn, *id),
    }
}

/// Forgets everything of an agent.
pub fn purge(conn: &Connection, agent: WorkflowId) -> rusqlite::Result<()> {
    thread::purge(conn, agent)?;
    item::purge(conn, agent)
}

/// What was a user's.
pub fn give_back(conn: &Connection, user: UserId) -> rusqlite::Result<()> {
    for text in [GIVE_BACK_THREADS, GIVE_BACK_ARCHIVES, FORGET_OWNERS_ITEMS] {
        conn.prepare_cached(text)?.execute([user.as_bytes()])?;
    }
    Ok(())
}

fn origin_number(origin: Origin) -> u8 {
    u8::from(origin.taints())
}

/// What is no trusted one is not.
fn origin_of(number: i64) -> Origin {
    if number == 0 { Origin::Trusted } else { Origin::Untrusted }
}

fn speaker_number(speaker: Speaker) -> u8 {
    match speaker {
        Speaker::User => 0,
        Speaker::Assistant => 1,
        Speaker::Tool => 2,
    }
}

fn speaker_of(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Speaker> {
    let number = row.get::<_, i64>(column)?;
    let found = usize::try_from(number).ok().and_then(|number| Speaker::ALL.get(number));
    found.copied().ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// The owner of an agent, who may be the operator; `None` when there is no agent.
fn owner_of(conn: &Connection, agent: WorkflowId) -> rusqlite::Result<Option<Option<[u8; 16]>>> {
    conn.prepare_cached(OWNER)?.query_row([agent.as_bytes()], |row| row.get(0)).optional()
}
