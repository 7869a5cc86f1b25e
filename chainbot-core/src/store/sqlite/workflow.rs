//! The workflow and definition tables: names, and every version's source for good.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::scope::{self, Filter};
use crate::id::{DefinitionHash, UserId, WorkflowId};
use crate::port::{
    ListedWorkflow, Page, Possession, Scope, StoredVersion, StoredWorkflow, Way, WorkflowFilter,
    WorkflowOrder, WorkflowPlace,
};
use crate::store::batch::Version;
use crate::time::Timestamp;

const INSERT: &str = "INSERT INTO workflow (id, name, version, created_at, updated_at, owner, shared) VALUES (?1, ?2, 1, ?3, ?3, ?4, ?5)";
const INSERT_VERSION: &str = "INSERT INTO definition (workflow, version, hash, source, created_at) \
     VALUES (?1, ?2, ?3, ?4, ?5)";
const UPDATE: &str = "UPDATE workflow SET name = ?2, version = ?3, updated_at = ?4 WHERE id = ?1";
const SHARE: &str = "UPDATE workflow SET owner = ?2, shared = ?3 WHERE id = ?1";
const GIVE_BACK: &str = "UPDATE workflow SET owner = NULL WHERE owner = ?1";
const DELETE: &str = "UPDATE workflow SET deleted_at = ?2 WHERE id = ?1 AND deleted_at IS NULL";
const CURRENT: &str = "SELECT w.version, d.hash, w.deleted_at FROM workflow w \
     JOIN definition d ON d.workflow = w.id AND d.version = w.version WHERE w.id = ?1";
const NAMED: &str = "SELECT id FROM workflow WHERE name = ?1 AND deleted_at IS NULL";
// The last three values of what follows are those of `scope`.
const BY_ID: &str = "SELECT w.id, w.name, d.hash, w.version, d.source, w.created_at, w.updated_at, w.deleted_at, \
     w.owner, w.shared FROM workflow w JOIN definition d ON d.workflow = w.id AND d.version = w.version \
     WHERE w.id = ?1 AND (?2 OR w.owner IS ?3 OR w.shared <= ?4)";
const BY_NAME: &str = "SELECT w.id, w.name, d.hash, w.version, d.source, w.created_at, w.updated_at, w.deleted_at, \
     w.owner, w.shared FROM workflow w JOIN definition d ON d.workflow = w.id AND d.version = w.version \
     WHERE w.name = ?1 AND w.deleted_at IS NULL AND (?2 OR w.owner IS ?3 OR w.shared <= ?4)";
// One text an order: the column and the direction are no values that could be bound.
macro_rules! list {
    ($past:literal, $order:literal) => {
        concat!(
            "SELECT w.id, w.name, d.hash, w.version, d.source, w.created_at, w.updated_at, w.deleted_at, \
             w.owner, w.shared, (SELECT count(*) FROM run r WHERE r.workflow = w.id), \
             (SELECT created_at FROM run WHERE id = (SELECT max(r.id) FROM run r WHERE r.workflow = w.id)) \
             FROM workflow w JOIN definition d ON d.workflow = w.id AND d.version = w.version WHERE ",
            $past,
            " AND substr(w.name, 1, 6) <> 'agent:' AND w.deleted_at IS NULL AND (?3 OR w.owner IS ?4 OR w.shared <= ?5) ORDER BY ",
            $order,
            " LIMIT ?2"
        )
    };
}
const BY_NAME_UP: &str = list!("w.name > ?1", "w.name");
const BY_NAME_DOWN: &str = list!("(?1 IS NULL OR w.name < ?1)", "w.name DESC");
const MADE_UP: &str = list!("(w.created_at, w.id) > (?1, ?6)", "w.created_at, w.id");
const MADE_DOWN: &str = list!("(w.created_at, w.id) < (?1, ?6)", "w.created_at DESC, w.id DESC");
const CHANGED_UP: &str = list!("(w.updated_at, w.id) > (?1, ?6)", "w.updated_at, w.id");
const CHANGED_DOWN: &str = list!("(w.updated_at, w.id) < (?1, ?6)", "w.updated_at DESC, w.id DESC");
const COUNT: &str = "SELECT count(*) FROM workflow w \
     WHERE substr(w.name, 1, 6) <> 'agent:' AND w.deleted_at IS NULL AND (?1 OR w.owner IS ?2 OR w.shared <= ?3)";
const SOURCE: &str = "SELECT d.source FROM definition d WHERE d.hash = ?1 AND (?2 OR EXISTS \
     (SELECT 1 FROM workflow w WHERE w.id = d.workflow AND (w.owner IS ?3 OR w.shared <= ?4))) LIMIT 1";
const VERSIONS: &str = "SELECT d.version, d.hash, d.created_at FROM definition d WHERE d.workflow = ?1 AND (?2 OR EXISTS \
     (SELECT 1 FROM workflow w WHERE w.id = d.workflow AND (w.owner IS ?3 OR w.shared <= ?4))) \
     ORDER BY d.version DESC";

/// A workflow's newest version.
pub struct Current {
    /// Its number.
    pub version: u32,
    /// Its hash.
    pub hash: DefinitionHash,
    /// Whether the workflow is deleted.
    pub deleted: bool,
}

/// A new workflow with its first version.
pub fn insert(conn: &Connection, first: &Version, of: &Possession) -> rusqlite::Result<()> {
    crate::fault!("workflow.insert", crate::store::problem::on_purpose);
    let (owner, shared) = columns(of);
    let mut statement = conn.prepare_cached(INSERT)?;
    statement.execute(params![first.id.as_bytes(), first.name, first.at.0, owner, shared])?;
    insert_version(conn, first, 1)
}

/// Says whose a workflow is.
pub fn share(conn: &Connection, id: WorkflowId, of: &Possession) -> rusqlite::Result<()> {
    let (owner, shared) = columns(of);
    conn.prepare_cached(SHARE)?.execute(params![id.as_bytes(), owner, shared]).map(drop)
}

/// What was a user's is the operator's: shared with whom it was, so that nothing private comes to light.
pub fn give_back(conn: &Connection, user: UserId) -> rusqlite::Result<()> {
    conn.prepare_cached(GIVE_BACK)?.execute([user.as_bytes()]).map(drop)
}

fn columns(of: &Possession) -> (Option<[u8; 16]>, Option<u8>) {
    (of.owner.map(|user| *user.as_bytes()), of.shared.map(scope::number))
}

/// A new version; nothing when it is the current one.
pub fn update(conn: &Connection, next: &Version) -> rusqlite::Result<()> {
    match current(conn, next.id)? {
        Some(current) if current.hash != next.hash => {
            let number = current.version + 1;
            insert_version(conn, next, number)?;
            conn.prepare_cached(UPDATE)?
                .execute(params![next.id.as_bytes(), next.name, number, next.at.0])
                .map(drop)
        }
        _ => Ok(()),
    }
}

/// Marks a workflow as gone.
pub fn delete(conn: &Connection, id: WorkflowId, at: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached(DELETE)?.execute(params![id.as_bytes(), at.0]).map(drop)
}

/// The newest version of a workflow.
pub fn current(conn: &Connection, id: WorkflowId) -> rusqlite::Result<Option<Current>> {
    conn.prepare_cached(CURRENT)?
        .query_row([id.as_bytes()], |row| {
            Ok(Current {
                version: row.get(0)?,
                hash: DefinitionHash(row.get(1)?),
                deleted: row.get::<_, Option<i64>>(2)?.is_some(),
            })
        })
        .optional()
}

/// Which workflow has a name.
pub fn owner(conn: &Connection, name: &str) -> rusqlite::Result<Option<WorkflowId>> {
    conn.prepare_cached(NAMED)?
        .query_row([name], |row| row.get::<_, [u8; 16]>(0))
        .optional()
        .map(|id| id.map(WorkflowId::from))
}

/// By id, deleted ones too.
pub fn find(conn: &Connection, of: &Scope, id: WorkflowId) -> rusqlite::Result<Option<StoredWorkflow>> {
    let Filter { whole, user, role } = scope::filter(of);
    conn.prepare_cached(BY_ID)?.query_row(params![id.as_bytes(), whole, user, role], read).optional()
}

/// By name, not deleted.
pub fn named(conn: &Connection, of: &Scope, name: &str) -> rusqlite::Result<Option<StoredWorkflow>> {
    let Filter { whole, user, role } = scope::filter(of);
    conn.prepare_cached(BY_NAME)?.query_row(params![name, whole, user, role], read).optional()
}

/// Not deleted, with their runs.
pub fn list(
    conn: &Connection,
    of: &Scope,
    filter: &WorkflowFilter,
) -> rusqlite::Result<Page<ListedWorkflow>> {
    let Filter { whole, user, role } = scope::filter(of);
    let limit = filter.limit as usize;
    let fetched = i64::from(filter.limit) + 1;
    let (by, way) = (filter.by, filter.way);
    let mut items = if by == WorkflowOrder::Name {
        let past = match &filter.past {
            Some(WorkflowPlace::Name(name)) => Some(name.as_str()),
            _ if way == Way::Up => Some(""),
            _ => None,
        };
        let sql = if way == Way::Up { BY_NAME_UP } else { BY_NAME_DOWN };
        fetch(conn, sql, params![past, fetched, whole, user, role])?
    } else {
        let (at, id) = match (&filter.past, way) {
            (Some(WorkflowPlace::At(at, id)), _) => (at.0, *id.as_bytes()),
            (_, Way::Up) => (i64::MIN, [0; 16]),
            (_, Way::Down) => (i64::MAX, [0xff; 16]),
        };
        let sql = match (by, way) {
            (WorkflowOrder::UpdatedAt, Way::Up) => CHANGED_UP,
            (WorkflowOrder::UpdatedAt, Way::Down) => CHANGED_DOWN,
            (_, Way::Up) => MADE_UP,
            (_, Way::Down) => MADE_DOWN,
        };
        fetch(conn, sql, params![at, fetched, whole, user, role, id])?
    };
    let more = items.len() > limit;
    items.truncate(limit);
    let total: i64 = conn.prepare_cached(COUNT)?.query_row(params![whole, user, role], |row| row.get(0))?;
    Ok(Page { items, total: total.unsigned_abs(), more })
}

fn fetch(
    conn: &Connection,
    sql: &'static str,
    params: impl rusqlite::Params,
) -> rusqlite::Result<Vec<ListedWorkflow>> {
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map(params, |row| {
        Ok(ListedWorkflow {
            workflow: read(row)?,
            runs: row.get::<_, i64>(10)?.unsigned_abs(),
            last_run_at: row.get::<_, Option<i64>>(11)?.map(Timestamp),
        })
    })?;
    rows.collect()
}

/// Every version, newest first.
pub fn versions(conn: &Connection, of: &Scope, id: WorkflowId) -> rusqlite::Result<Vec<StoredVersion>> {
    let Filter { whole, user, role } = scope::filter(of);
    let mut statement = conn.prepare_cached(VERSIONS)?;
    let rows = statement.query_map(params![id.as_bytes(), whole, user, role], |row| {
        Ok(StoredVersion {
            version: row.get(0)?,
            hash: DefinitionHash(row.get(1)?),
            created_at: Timestamp(row.get(2)?),
        })
    })?;
    rows.collect()
}

/// One version's source.
pub fn source(conn: &Connection, of: &Scope, hash: DefinitionHash) -> rusqlite::Result<Option<String>> {
    let Filter { whole, user, role } = scope::filter(of);
    let mut statement = conn.prepare_cached(SOURCE)?;
    statement.query_row(params![hash.0, whole, user, role], |row| row.get(0)).optional()
}

fn insert_version(conn: &Connection, version: &Version, number: u32) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached(INSERT_VERSION)?;
    statement
        .execute(params![version.id.as_bytes(), number, version.hash.0, version.source, version.at.0])
        .map(drop)
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredWorkflow> {
    Ok(StoredWorkflow {
        id: WorkflowId::from(row.get::<_, [u8; 16]>(0)?),
        name: row.get(1)?,
        hash: DefinitionHash(row.get(2)?),
        version: row.get(3)?,
        source: row.get(4)?,
        created_at: Timestamp(row.get(5)?),
        updated_at: Timestamp(row.get(6)?),
        deleted_at: row.get::<_, Option<i64>>(7)?.map(Timestamp),
        possession: scope::read(row, 8)?,
    })
}
