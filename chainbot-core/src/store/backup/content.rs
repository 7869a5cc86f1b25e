//! What a database says, as one hash a table: the same for every copy, whatever its pages look like.
//!
//! Rows are taken in the order of their key, each value with its type and length before it, so no two contents give the same
//! bytes.

use blake3::Hasher;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::TableSum;

// Full-text indexes and their parts say nothing of their own, and are never empty.
const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_' \
     AND instr(name, '_index') = 0 ORDER BY name";
const SCHEMA: &str = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name";
/// What the schema is called among the tables.
const SCHEMA_NAME: &str = "(schema)";

/// Every table, and the schema first.
pub fn of(conn: &Connection) -> rusqlite::Result<Vec<TableSum>> {
    let mut sums = vec![sum(conn, SCHEMA_NAME, SCHEMA)?];
    for table in tables(conn)? {
        let sql = ["SELECT * FROM ", &table, " NOT INDEXED"].concat();
        sums.push(sum(conn, &table, &sql)?);
    }
    Ok(sums)
}

/// One hash over all tables.
pub fn digest(sums: &[TableSum]) -> String {
    let mut hasher = Hasher::new();
    for sum in sums {
        hasher.update(sum.name.as_bytes()).update(b"\0").update(&sum.rows.to_le_bytes());
        hasher.update(sum.hash.as_bytes()).update(b"\n");
    }
    hasher.finalize().to_hex().to_string()
}

/// Whether no table has a row.
pub fn is_empty(conn: &Connection) -> rusqlite::Result<bool> {
    for table in tables(conn)? {
        let sql = ["SELECT EXISTS (SELECT 1 FROM ", &table, ")"].concat();
        if conn.query_row(&sql, [], |row| row.get::<_, bool>(0))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The tables. Their names cannot be bound to a statement, so one that is more than a plain word, which ours never is, is refused
/// before it could become a part of one.
fn tables(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare(TABLES)?;
    let names =
        statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let is_plain = |name: &String| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    match names.iter().find(|name| !is_plain(name)) {
        Some(name) => Err(rusqlite::Error::InvalidColumnName(name.clone())),
        None => Ok(names),
    }
}

fn sum(conn: &Connection, name: &str, sql: &str) -> rusqlite::Result<TableSum> {
    let mut statement = conn.prepare(sql)?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    let (mut hasher, mut count) = (Hasher::new(), 0);
    while let Some(row) = rows.next()? {
        count += 1;
        for column in 0..columns {
            add(&mut hasher, row.get_ref(column)?);
        }
    }
    Ok(TableSum { name: name.to_owned(), rows: count, hash: hasher.finalize().to_hex().to_string() })
}

fn add(hasher: &mut Hasher, value: ValueRef<'_>) {
    let mut bytes = |kind: u8, bytes: &[u8]| {
        hasher.update(&[kind]).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    match value {
        ValueRef::Null => bytes(0, &[]),
        ValueRef::Integer(number) => bytes(1, &number.to_le_bytes()),
        ValueRef::Real(number) => bytes(2, &number.to_bits().to_le_bytes()),
        ValueRef::Text(text) => bytes(3, text),
        ValueRef::Blob(blob) => bytes(4, blob),
    }
}
