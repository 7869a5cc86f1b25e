//! The table of what models were found to be able to do.

use rusqlite::{Connection, params};

use crate::error::Result;
use crate::port::StoredProbe;
use crate::store::problem;
use crate::time::Timestamp;

const PUT: &str = "INSERT INTO model_probe \
     (model, of, at, native, native_required, required_ignored, schema, counts_tokens) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (model) DO UPDATE SET \
     of = excluded.of, at = excluded.at, native = excluded.native, native_required = excluded.native_required, \
     required_ignored = excluded.required_ignored, schema = excluded.schema, counts_tokens = excluded.counts_tokens";
const ALL: &str = "SELECT model, of, at, native, native_required, required_ignored, schema, counts_tokens \
     FROM model_probe ORDER BY model";

/// Stores one in place of the model's last.
pub fn put(conn: &Connection, probe: &StoredProbe) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached(PUT)?;
    statement.execute(params![
        probe.model,
        probe.of,
        probe.at.0,
        probe.native,
        probe.native_required,
        probe.required_ignored,
        probe.schema,
        probe.counts_tokens
    ])?;
    Ok(())
}

/// All, by model.
pub fn all(conn: &Connection) -> Result<Vec<StoredProbe>> {
    let mut statement = conn.prepare_cached(ALL).map_err(problem::read)?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(StoredProbe {
            model: row.get(0)?,
            of: row.get(1)?,
            at: Timestamp(row.get(2)?),
            native: row.get(3)?,
            native_required: row.get(4)?,
            required_ignored: row.get(5)?,
            schema: row.get(6)?,
            counts_tokens: row.get(7)?,
        })
    };
    let rows = statement.query_map([], read).map_err(problem::read)?;
    rows.collect::<rusqlite::Result<_>>().map_err(problem::read)
}
