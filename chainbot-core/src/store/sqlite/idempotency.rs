//! The idempotency table: which request has made what.

use rusqlite::{Connection, OptionalExtension, params};

use crate::id::UserId;
use crate::port::{Idempotency, IdempotencyHit};

const INSERT: &str = "INSERT INTO idempotency (key, digest, made, at) VALUES (?1, ?2, ?3, ?4)";
const BY_KEY: &str = "SELECT digest, made FROM idempotency WHERE key = ?1";

/// Keeps what a key has made.
pub fn insert(conn: &Connection, key: &Idempotency, made: &[u8; 16]) -> rusqlite::Result<()> {
    crate::fault!("idempotency.keep", crate::store::problem::on_purpose);
    if crate::sabotaged!("key-of-a-start-is-kept") {
        return Ok(());
    }
    let kept_as = Idempotency::kept_as(key.by, &key.key);
    conn.prepare_cached(INSERT)?.execute(params![kept_as, key.digest, made, key.at.0]).map(drop)
}

/// What a key of somebody has made.
pub fn find(conn: &Connection, by: Option<UserId>, key: &str) -> rusqlite::Result<Option<IdempotencyHit>> {
    conn.prepare_cached(BY_KEY)?
        .query_row([Idempotency::kept_as(by, key)], |row| {
            Ok(IdempotencyHit { digest: row.get(0)?, made: row.get(1)? })
        })
        .optional()
}
