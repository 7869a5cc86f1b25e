//! The agent, model_usage and task_usage tables.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::scope::{self, Filter};
use crate::id::{DefinitionHash, RunId, UserId, WorkflowId};
use crate::limits::AGENT_FAILURES_MAX;
use crate::port::{
    AgentFilter, AgentOp, AgentState, DayUse, Page, Scope, StoredAgent, StoredWorkflow, UsageRow,
};
use crate::time::Timestamp;

const PUT: &str = "INSERT INTO agent (workflow, kind, state, last_at) VALUES (?1, ?2, 0, ?3)";
const STATE: &str = "UPDATE agent SET state = ?2, reason = ?3, last_at = ?4, failed_in_row = 0 \
     WHERE workflow = ?1 AND state < 2";
const GOOD: &str = "UPDATE agent SET done = done + 1, failed_in_row = 0, last_at = ?2 WHERE workflow = ?1";
const BAD: &str = "UPDATE agent SET failed = failed + 1, failed_in_row = failed_in_row + 1, last_at = ?2, \
     reason = CASE WHEN state = 2 THEN reason ELSE ?3 END, \
     state = CASE WHEN state = 0 AND failed_in_row + 1 >= ?4 THEN 1 ELSE state END WHERE workflow = ?1";
const USED: &str = "INSERT INTO model_usage (day, agent, provider, model, calls, input, cached, output, cost) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, \
     input = input + excluded.input, cached = cached + excluded.cached, output = output + excluded.output, \
     cost = cost + excluded.cost";
const TREE: &str = "INSERT INTO task_usage (run, tokens, cost) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET \
     tokens = tokens + excluded.tokens, cost = cost + excluded.cost";
const OF_TREE: &str = "SELECT tokens, cost FROM task_usage WHERE run = ?1";
const FORGET_TREE: &str = "DELETE FROM task_usage WHERE run = ?1";
const DAY: &str = "SELECT u.agent, w.owner, sum(u.input + u.output), sum(u.cost) FROM model_usage u \
     JOIN workflow w ON w.id = u.agent WHERE u.day = ?1 GROUP BY u.agent";
const LIST: &str = "SELECT w.id, w.name, d.hash, w.version, d.source, w.created_at, w.updated_at, w.deleted_at, \
     w.owner, w.shared, a.kind, a.state, a.reason, a.failed_in_row, a.done, a.failed, a.last_at FROM agent a \
     JOIN workflow w ON w.id = a.workflow JOIN definition d ON d.workflow = w.id AND d.version = w.version \
     WHERE w.name > ?1 AND (?6 IS NULL OR a.workflow = ?6) AND w.deleted_at IS NULL \
     AND (?3 OR w.owner IS ?4 OR w.shared <= ?5) ORDER BY w.name LIMIT ?2";
const COUNT: &str = "SELECT count(*) FROM agent a JOIN workflow w ON w.id = a.workflow \
     WHERE w.deleted_at IS NULL AND (?1 OR w.owner IS ?2 OR w.shared <= ?3)";
const BY_STATE: &str = "SELECT a.kind, a.state, count(*) FROM agent a JOIN workflow w ON w.id = a.workflow \
     WHERE w.deleted_at IS NULL GROUP BY a.kind, a.state";
const USAGE: &str = "SELECT u.day, u.agent, u.provider, u.model, u.calls, u.input, u.cached, u.output, u.cost \
     FROM model_usage u JOIN workflow w ON w.id = u.agent WHERE u.day >= ?1 AND (?2 IS NULL OR u.agent = ?2) \
     AND (?3 OR w.owner IS ?4 OR w.shared <= ?5) ORDER BY u.day DESC, u.cost DESC LIMIT ?6";

/// Applies a change.
pub fn apply(conn: &Connection, op: &AgentOp) -> rusqlite::Result<()> {
    match op {
        AgentOp::Put { id, kind, at } => {
            conn.prepare_cached(PUT)?.execute(params![id.as_bytes(), kind, at.0])
        }
        AgentOp::State { id, state, reason, at } => {
            conn.prepare_cached(STATE)?.execute(params![id.as_bytes(), number(*state), reason, at.0])
        }
        AgentOp::Ended { id, failure: None, at } => {
            conn.prepare_cached(GOOD)?.execute(params![id.as_bytes(), at.0])
        }
        AgentOp::Ended { id, failure: Some(why), at } => {
            conn.prepare_cached(BAD)?.execute(params![id.as_bytes(), at.0, why, AGENT_FAILURES_MAX])
        }
        AgentOp::Used { row, tree } => {
            conn.prepare_cached(USED)?.execute(params![
                row.day,
                row.agent.as_bytes(),
                row.provider,
                row.model,
                signed(row.calls),
                signed(row.input),
                signed(row.cached),
                signed(row.output),
                signed(row.cost)
            ])?;
            let tokens = signed(row.input.saturating_add(row.output));
            conn.prepare_cached(TREE)?.execute(params![tree.as_bytes(), tokens, signed(row.cost)])
        }
    }
    .map(drop)
}

/// What agents used on a day.
pub fn day_usage(conn: &Connection, day: u32) -> rusqlite::Result<Vec<DayUse>> {
    let mut statement = conn.prepare_cached(DAY)?;
    let rows = statement.query_map([day], |row| {
        Ok(DayUse {
            agent: WorkflowId::from(row.get::<_, [u8; 16]>(0)?),
            owner: row.get::<_, Option<[u8; 16]>>(1)?.map(UserId::from),
            tokens: row.get::<_, i64>(2)?.unsigned_abs(),
            cost: row.get::<_, i64>(3)?.unsigned_abs(),
        })
    })?;
    rows.collect()
}

/// What a tree of tasks used.
pub fn tree_usage(conn: &Connection, root: RunId) -> rusqlite::Result<(u64, u64)> {
    let read =
        |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs()));
    conn.prepare_cached(OF_TREE)?.query_row([root.as_bytes()], read).optional().map(Option::unwrap_or_default)
}

/// A run is forgotten, and what its tree cost with it.
pub fn forget_run(conn: &Connection, run: RunId) -> rusqlite::Result<()> {
    conn.prepare_cached(FORGET_TREE)?.execute([run.as_bytes()]).map(drop)
}

/// Agents that are not deleted, by name.
pub fn list(conn: &Connection, of: &Scope, filter: &AgentFilter) -> rusqlite::Result<Page<StoredAgent>> {
    let Filter { whole, user, role } = scope::filter(of);
    let mut statement = conn.prepare_cached(LIST)?;
    let (after, fetched) = (filter.after.as_deref().unwrap_or(""), i64::from(filter.limit) + 1);
    let id = filter.id.map(|id| *id.as_bytes());
    let rows = statement.query_map(params![after, fetched, whole, user, role, id], read)?;
    let mut items = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = items.len() > filter.limit as usize;
    items.truncate(filter.limit as usize);
    let total: i64 = conn.prepare_cached(COUNT)?.query_row(params![whole, user, role], |row| row.get(0))?;
    Ok(Page { items, total: total.unsigned_abs(), more })
}

/// How many agents that are not deleted there are of each type in each state.
pub fn counts(conn: &Connection) -> rusqlite::Result<Vec<(String, AgentState, u64)>> {
    let mut statement = conn.prepare_cached(BY_STATE)?;
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, state_of(row.get(1)?), row.get::<_, i64>(2)?.unsigned_abs()))
    })?;
    rows.collect()
}

/// What was used from a day on, the newest first; `limit` rows at most.
pub fn usage(
    conn: &Connection,
    of: &Scope,
    agent: Option<WorkflowId>,
    since: u32,
    limit: u32,
) -> rusqlite::Result<Vec<UsageRow>> {
    let Filter { whole, user, role } = scope::filter(of);
    let mut statement = conn.prepare_cached(USAGE)?;
    let agent = agent.map(|id| *id.as_bytes());
    let rows = statement.query_map(params![since, agent, whole, user, role, limit], |row| {
        let count = |at| row.get::<_, i64>(at).map(i64::unsigned_abs);
        Ok(UsageRow {
            day: row.get(0)?,
            agent: WorkflowId::from(row.get::<_, [u8; 16]>(1)?),
            provider: row.get(2)?,
            model: row.get(3)?,
            calls: count(4)?,
            input: count(5)?,
            cached: count(6)?,
            output: count(7)?,
            cost: count(8)?,
        })
    })?;
    rows.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredAgent> {
    let workflow = StoredWorkflow {
        id: WorkflowId::from(row.get::<_, [u8; 16]>(0)?),
        name: row.get(1)?,
        hash: DefinitionHash(row.get(2)?),
        version: row.get(3)?,
        source: row.get(4)?,
        created_at: Timestamp(row.get(5)?),
        updated_at: Timestamp(row.get(6)?),
        deleted_at: row.get::<_, Option<i64>>(7)?.map(Timestamp),
        possession: scope::read(row, 8)?,
    };
    Ok(StoredAgent {
        workflow,
        kind: row.get(10)?,
        state: state_of(row.get(11)?),
        reason: row.get(12)?,
        failed_in_row: row.get(13)?,
        done: row.get::<_, i64>(14)?.unsigned_abs(),
        failed: row.get::<_, i64>(15)?.unsigned_abs(),
        last_at: Timestamp(row.get(16)?),
    })
}

fn state_of(number: u8) -> AgentState {
    match number {
        0 => AgentState::Live,
        1 => AgentState::Error,
        _ => AgentState::Terminated,
    }
}

fn number(state: AgentState) -> u8 {
    match state {
        AgentState::Live => 0,
        AgentState::Error => 1,
        AgentState::Terminated => 2,
    }
}

/// Counts stay far below this; a bound is a bound.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
