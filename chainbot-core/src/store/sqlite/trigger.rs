//! The tables of triggers, of workflows that are switched off, and of runs that count for each other.

use rusqlite::{Connection, OptionalExtension, params};

use crate::id::{RunId, WorkflowId};
use crate::port::{Automation, Firing, StoredGate, StoredTrigger};
use crate::time::Timestamp;

const PUT: &str = "INSERT INTO workflow_trigger (workflow, key, enabled, due) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT (workflow, key) DO UPDATE SET enabled = excluded.enabled, due = excluded.due";
const DROP: &str = "DELETE FROM workflow_trigger WHERE workflow = ?1 AND key = ?2";
const FIRE: &str = "UPDATE workflow_trigger SET due = ?3, fired_at = ?4, run = coalesce(?5, run), note = ?6 \
     WHERE workflow = ?1 AND key = ?2";
const FITS: &str =
    "SELECT 1 FROM workflow_trigger WHERE workflow = ?1 AND key = ?2 AND due IS ?3 AND enabled = 1";
const ALL: &str =
    "SELECT workflow, key, enabled, due, fired_at, run, note FROM workflow_trigger ORDER BY workflow, key";
const SWITCH_OFF: &str = "INSERT OR IGNORE INTO workflow_disabled (workflow, at) VALUES (?1, ?2)";
const SWITCH_ON: &str = "DELETE FROM workflow_disabled WHERE workflow = ?1";
const DISABLED: &str = "SELECT workflow FROM workflow_disabled";
const ENTER: &str = "INSERT INTO run_gate (run, gate, max, ousts) VALUES (?1, ?2, ?3, ?4)";
const LEAVE: &str = "DELETE FROM run_gate WHERE run = ?1";
const GATES: &str = "SELECT g.run, g.gate, g.max, r.parked, g.ousts, r.status = 3 FROM run_gate g JOIN run r ON r.id = g.run ORDER BY g.seq";

/// A trigger, new or with another next time.
pub fn put(
    conn: &Connection,
    workflow: WorkflowId,
    key: &str,
    enabled: bool,
    due: Option<Timestamp>,
) -> rusqlite::Result<()> {
    let due = due.map(|due| due.0);
    conn.prepare_cached(PUT)?.execute(params![workflow.as_bytes(), key, enabled, due]).map(drop)
}

/// A trigger is gone.
pub fn drop_one(conn: &Connection, workflow: WorkflowId, key: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(DROP)?.execute(params![workflow.as_bytes(), key]).map(drop)
}

/// Whether the trigger is switched on and stands where the firing says.
pub fn fits(conn: &Connection, firing: &Firing) -> rusqlite::Result<bool> {
    let from = firing.from.map(|from| from.0);
    conn.prepare_cached(FITS)?
        .query_row(params![firing.workflow.as_bytes(), firing.key, from], |_| Ok(()))
        .optional()
        .map(|found| found.is_some())
}

/// A trigger has fired, or has let an occasion go.
pub fn fire(conn: &Connection, firing: &Firing) -> rusqlite::Result<()> {
    crate::fault!("trigger.fire", crate::store::problem::on_purpose);
    let (due, run) = (firing.due.map(|due| due.0), firing.run.map(|run| *run.as_bytes()));
    conn.prepare_cached(FIRE)?
        .execute(params![firing.workflow.as_bytes(), firing.key, due, firing.at.0, run, firing.note])
        .map(drop)
}

/// No trigger starts the workflow from here on, or triggers do again.
pub fn switch(conn: &Connection, workflow: WorkflowId, on: bool, at: Timestamp) -> rusqlite::Result<()> {
    let id = workflow.as_bytes();
    if on {
        conn.prepare_cached(SWITCH_ON)?.execute(params![id]).map(drop)
    } else {
        conn.prepare_cached(SWITCH_OFF)?.execute(params![id, at.0]).map(drop)
    }
}

/// A run counts for others of its gate.
pub fn enter(conn: &Connection, run: RunId, gate: &str, max: usize, ousts: bool) -> rusqlite::Result<()> {
    crate::fault!("gate.enter", crate::store::problem::on_purpose);
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    conn.prepare_cached(ENTER)?.execute(params![run.as_bytes(), gate, max, ousts]).map(drop)
}

/// It does not any more.
pub fn leave(conn: &Connection, run: RunId) -> rusqlite::Result<()> {
    crate::fault!("gate.leave", crate::store::problem::on_purpose);
    conn.prepare_cached(LEAVE)?.execute([run.as_bytes()]).map(drop)
}

/// All three tables.
pub fn all(conn: &Connection) -> rusqlite::Result<Automation> {
    let mut statement = conn.prepare_cached(ALL)?;
    let triggers = statement.query_map([], |row| {
        Ok(StoredTrigger {
            workflow: WorkflowId::from(row.get::<_, [u8; 16]>(0)?),
            key: row.get(1)?,
            enabled: row.get(2)?,
            due: row.get::<_, Option<i64>>(3)?.map(Timestamp),
            fired_at: row.get::<_, Option<i64>>(4)?.map(Timestamp),
            run: row.get::<_, Option<[u8; 16]>>(5)?.map(RunId::from),
            note: row.get(6)?,
        })
    })?;
    let triggers = triggers.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut statement = conn.prepare_cached(DISABLED)?;
    let disabled = statement.query_map([], |row| Ok(WorkflowId::from(row.get::<_, [u8; 16]>(0)?)))?;
    let disabled = disabled.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut statement = conn.prepare_cached(GATES)?;
    let gates = statement.query_map([], |row| {
        Ok(StoredGate {
            run: RunId::from(row.get::<_, [u8; 16]>(0)?),
            gate: row.get(1)?,
            max: usize::try_from(row.get::<_, i64>(2)?).unwrap_or(usize::MAX),
            parked: row.get(3)?,
            ousts: row.get(4)?,
            paused: row.get(5)?,
        })
    })?;
    let gates = gates.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Automation { triggers, disabled, gates, restored_at: super::restored::find(conn)? })
}
