//! The secret table: sealed values with what is bound to them. Nothing here can open one.

use rusqlite::{Connection, params};

use crate::error::Result;
use crate::port::StoredSecret;
use crate::store::problem;
use crate::time::Timestamp;

const PUT: &str = "INSERT INTO secret \
     (name, owner, version, key_id, nonce, sealed, hosts, description, created_at, updated_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (name) DO UPDATE SET \
     owner = excluded.owner, version = excluded.version, key_id = excluded.key_id, nonce = excluded.nonce, \
     sealed = excluded.sealed, hosts = excluded.hosts, description = excluded.description, \
     updated_at = excluded.updated_at";
const REMOVE: &str = "DELETE FROM secret WHERE name = ?1";
const ALL: &str = "SELECT name, owner, version, key_id, nonce, sealed, hosts, description, created_at, \
     updated_at FROM secret ORDER BY name";

/// Stores a version.
pub fn put(conn: &Connection, secret: &StoredSecret) -> rusqlite::Result<()> {
    crate::fault!("secret.put", crate::store::problem::on_purpose);
    // A list of text always encodes.
    let hosts = serde_json::Value::from(secret.hosts.clone()).to_string();
    let mut statement = conn.prepare_cached(PUT)?;
    statement.execute(params![
        secret.name,
        secret.owner,
        secret.version,
        secret.key_id,
        secret.nonce,
        secret.sealed,
        hosts,
        secret.description,
        secret.created_at.0,
        secret.updated_at.0
    ])?;
    Ok(())
}

/// Forgets one.
pub fn remove(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    crate::fault!("secret.remove", crate::store::problem::on_purpose);
    conn.prepare_cached(REMOVE)?.execute([name]).map(drop)
}

/// All, by name.
pub fn all(conn: &Connection) -> Result<Vec<StoredSecret>> {
    let mut statement = conn.prepare_cached(ALL).map_err(problem::read)?;
    let mut rows = statement.query([]).map_err(problem::read)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().map_err(problem::read)? {
        let name: String = row.get(0).map_err(problem::read)?;
        let hosts: String = row.get(6).map_err(problem::read)?;
        let hosts = serde_json::from_str(&hosts)
            .map_err(|error| problem::corrupt_row("secret", &name).because(error))?;
        out.push(StoredSecret {
            owner: row.get(1).map_err(problem::read)?,
            version: row.get(2).map_err(problem::read)?,
            key_id: row.get(3).map_err(problem::read)?,
            nonce: row.get(4).map_err(problem::read)?,
            sealed: row.get(5).map_err(problem::read)?,
            hosts,
            description: row.get(7).map_err(problem::read)?,
            created_at: Timestamp(row.get(8).map_err(problem::read)?),
            updated_at: Timestamp(row.get(9).map_err(problem::read)?),
            name,
        });
    }
    Ok(out)
}
