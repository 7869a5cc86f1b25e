//! The chat_archive and chat_archive_message tables.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{speaker_number, speaker_of};
use crate::id::ArchiveId;
use crate::limits;
use crate::port::{ArchiveFilter, ArchivedMessage, NewArchive, Scope, StoredArchive};
use crate::store::sqlite::scope::{self, Filter};
use crate::time::Timestamp;

const PUT: &str = "INSERT OR IGNORE INTO chat_archive (id, name, owner, shared, created_at, updated_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?5)";
const IS_THERE: &str = "SELECT EXISTS (SELECT 1 FROM chat_archive WHERE id = ?1)";
const HAS: &str =
    "SELECT EXISTS (SELECT 1 FROM chat_archive_message WHERE archive = ?1 AND conversation = ?2)";
const ADD: &str = "INSERT INTO chat_archive_message (archive, conversation, message, position, speaker, at, is_branch, title, text) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (archive, conversation, message) DO NOTHING";
const COUNTED: &str = "UPDATE chat_archive SET conversations = conversations + ?2, messages = messages + ?3, updated_at = ?4, \
     first_at = min(ifnull(first_at, ?5), ifnull(?5, first_at)), last_at = max(ifnull(last_at, ?6), ifnull(?6, last_at)) \
     WHERE id = ?1";
const REMOVE_SOME: &str = "DELETE FROM chat_archive_message WHERE seq IN \
     (SELECT seq FROM chat_archive_message WHERE archive = ?1 LIMIT ?2)";
const REMOVE: &str = "DELETE FROM chat_archive WHERE id = ?1 \
     AND NOT EXISTS (SELECT 1 FROM chat_archive_message WHERE archive = ?1)";
// The last three values of what follows are those of `scope`.
const FIND: &str = "SELECT id, name, owner, shared, created_at, updated_at, conversations, messages, first_at, last_at \
     FROM chat_archive WHERE id = ?1 AND (?2 OR owner IS ?3 OR shared <= ?4)";
const LIST: &str = "SELECT id, name, owner, shared, created_at, updated_at, conversations, messages, first_at, last_at \
     FROM chat_archive WHERE ?1 OR owner IS ?2 OR shared <= ?3 ORDER BY name, id LIMIT ?4";
const SEARCH: &str = "SELECT m.conversation, m.message, m.title, m.position, m.speaker, m.at, m.is_branch, m.text \
     FROM chat_archive_message_index JOIN chat_archive_message m ON m.seq = chat_archive_message_index.rowid \
     WHERE chat_archive_message_index MATCH ?1 AND m.archive = ?2 AND (?3 IS NULL OR m.at >= ?3) AND (?4 IS NULL OR m.at <= ?4) \
     AND (?5 IS NULL OR instr(lower(m.title), ?5) > 0) ORDER BY bm25(chat_archive_message_index), m.seq LIMIT ?6";
const BROWSE: &str = "SELECT m.conversation, m.message, m.title, m.position, m.speaker, m.at, m.is_branch, m.text \
     FROM chat_archive_message m WHERE m.archive = ?1 AND (?2 IS NULL OR m.at >= ?2) AND (?3 IS NULL OR m.at <= ?3) \
     AND (?4 IS NULL OR instr(lower(m.title), ?4) > 0) ORDER BY m.seq LIMIT ?5";

/// A new one, unless its owner has one of this name.
pub fn put(conn: &Connection, new: &NewArchive) -> rusqlite::Result<()> {
    let (owner, shared) =
        (new.possession.owner.map(|user| *user.as_bytes()), new.possession.shared.map(scope::number));
    conn.prepare_cached(PUT)?.execute(params![new.id.as_bytes(), new.name, owner, shared, new.at.0]).map(drop)
}

/// Adds what is not there.
pub fn add(
    conn: &Connection,
    id: ArchiveId,
    messages: &[ArchivedMessage],
    at: Timestamp,
) -> rusqlite::Result<()> {
    if !conn.prepare_cached(IS_THERE)?.query_row([id.as_bytes()], |row| row.get(0))? {
        return Ok(());
    }
    let (mut insert, mut has) = (conn.prepare_cached(ADD)?, conn.prepare_cached(HAS)?);
    let (mut conversations, mut added) = (0, 0);
    let mut times: Option<(i64, i64)> = None;
    for one in messages {
        let was_there: bool = has.query_row(params![id.as_bytes(), one.conversation], |row| row.get(0))?;
        let is_new = insert.execute(params![
            id.as_bytes(),
            one.conversation,
            one.message,
            one.position,
            speaker_number(one.speaker),
            one.at.map(|at| at.0),
            one.is_branch,
            one.title,
            one.text
        ])? > 0;
        if is_new {
            added += 1;
            conversations += i64::from(!was_there);
            if let Some(at) = one.at {
                times = Some(times.map_or((at.0, at.0), |(first, last)| (first.min(at.0), last.max(at.0))));
            }
        }
    }
    if added == 0 {
        return Ok(());
    }
    let (first, last) = (times.map(|times| times.0), times.map(|times| times.1));
    conn.prepare_cached(COUNTED)?
        .execute(params![id.as_bytes(), conversations, added, at.0, first, last])
        .map(drop)
}

/// Forgets so many messages, and the archive with the last.
pub fn remove(conn: &Connection, id: ArchiveId) -> rusqlite::Result<()> {
    conn.prepare_cached(REMOVE_SOME)?.execute(params![id.as_bytes(), limits::ARCHIVE_FORGET_ROWS_MAX])?;
    conn.prepare_cached(REMOVE)?.execute([id.as_bytes()]).map(drop)
}

/// One.
pub fn find(conn: &Connection, of: &Scope, id: ArchiveId) -> rusqlite::Result<Option<StoredArchive>> {
    let Filter { whole, user, role } = scope::filter(of);
    conn.prepare_cached(FIND)?.query_row(params![id.as_bytes(), whole, user, role], read).optional()
}

/// By name.
pub fn list(conn: &Connection, of: &Scope) -> rusqlite::Result<Vec<StoredArchive>> {
    let Filter { whole, user, role } = scope::filter(of);
    let mut statement = conn.prepare_cached(LIST)?;
    let rows = statement.query_map(params![whole, user, role, limits::ARCHIVES_LISTED_MAX], read)?;
    rows.collect()
}

/// Messages of one.
pub fn search(
    conn: &Connection,
    of: &Scope,
    id: ArchiveId,
    filter: &ArchiveFilter,
) -> rusqlite::Result<Vec<ArchivedMessage>> {
    if find(conn, of, id)?.is_none() {
        return Ok(Vec::new());
    }
    let (since, until) = (filter.since.map(|at| at.0), filter.until.map(|at| at.0));
    let title = filter.title.as_ref().map(|title| title.to_lowercase());
    if filter.terms.is_empty() {
        let mut statement = conn.prepare_cached(BROWSE)?;
        let rows =
            statement.query_map(params![id.as_bytes(), since, until, title, filter.limit], read_message)?;
        return rows.collect();
    }
    let mut statement = conn.prepare_cached(SEARCH)?;
    let values = params![filter.terms.to_string(), id.as_bytes(), since, until, title, filter.limit];
    let rows = statement.query_map(values, read_message)?;
    rows.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredArchive> {
    Ok(StoredArchive {
        archive: NewArchive {
            id: ArchiveId::from(row.get::<_, [u8; 16]>(0)?),
            name: row.get(1)?,
            possession: scope::read(row, 2)?,
            at: Timestamp(row.get(4)?),
        },
        updated_at: Timestamp(row.get(5)?),
        conversations: row.get::<_, i64>(6)?.unsigned_abs(),
        messages: row.get::<_, i64>(7)?.unsigned_abs(),
        first_at: row.get::<_, Option<i64>>(8)?.map(Timestamp),
        last_at: row.get::<_, Option<i64>>(9)?.map(Timestamp),
    })
}

fn read_message(row: &Row<'_>) -> rusqlite::Result<ArchivedMessage> {
    Ok(ArchivedMessage {
        conversation: row.get(0)?,
        message: row.get(1)?,
        title: row.get(2)?,
        position: row.get(3)?,
        speaker: speaker_of(row, 4)?,
        at: row.get::<_, Option<i64>>(5)?.map(Timestamp),
        is_branch: row.get(6)?,
        text: row.get(7)?,
    })
}
