//! A small program on SQLite, to see whether the rig tells a setting that forgets from one that does not. Not the product.

use std::path::Path;

use rusqlite::Connection;

use super::cut::{Replay, choose};
use super::disk::{self, Disk, Mounted};
use super::log::Log;
use crate::crash::Random;

const COMMITS: u32 = 100;
/// Enough to see a difference; the right setting alone flushes at some two hundred instants.
const POINTS_MAX: usize = 100;

/// What the cuts showed.
pub struct Seen {
    pub points: usize,
    pub points_that_lost: usize,
    /// Acknowledged commits that were gone, at the worst point.
    pub lost_most: u32,
    pub damaged: Vec<String>,
}

/// A hundred commits with WAL and this `synchronous`, and a look at the disk at its flushes.
pub fn check(random: &mut Random, synchronous: &str) -> Seen {
    let folder = disk::folder();
    let disk = Disk::start(folder.path());
    let from = disk.logged();
    // The log's length after each commit.
    let acknowledged = write(&disk, synchronous);
    let log = Log::read(&disk.end());
    let cuts = choose(&log, from, POINTS_MAX, random);
    let image = folder.path().join("image");
    let mut replay = Replay::new(&log, disk::BYTES);
    let mut seen = Seen { points: cuts.len(), points_that_lost: 0, lost_most: 0, damaged: Vec::new() };
    for cut in &cuts {
        let wanted = acknowledged.iter().filter(|length| **length <= cut.at).count() as u32;
        replay.write(cut, random, &image).expect("an image");
        let found = Mounted::new(folder.path(), &image).and_then(|(mounted, _)| rows(mounted.path()));
        match found {
            Ok(found) => {
                seen.points_that_lost += usize::from(found < wanted);
                seen.lost_most = seen.lost_most.max(wanted.saturating_sub(found));
            }
            Err(error) => seen.damaged.push(format!("{cut:?}: {error}")),
        }
    }
    println!(
        "power_cut: WAL + {synchronous}, {COMMITS} commits: {} points, {} damaged, {} lost acknowledged commits, {} at most",
        seen.points,
        seen.damaged.len(),
        seen.points_that_lost,
        seen.lost_most
    );
    seen
}

fn write(disk: &Disk, synchronous: &str) -> Vec<u64> {
    let conn = Connection::open(disk.mount().join("toy.db")).expect("a database");
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).expect("a mode");
    conn.pragma_update(None, "synchronous", synchronous).expect("a setting");
    let level: i64 = conn.query_row("PRAGMA synchronous", [], |row| row.get(0)).expect("a setting");
    // SQLite takes a word it does not know for NORMAL.
    assert_eq!((mode.as_str(), level), ("wal", if synchronous == "FULL" { 2 } else { 1 }));
    conn.execute_batch("CREATE TABLE toy (n INTEGER PRIMARY KEY, body BLOB) STRICT").expect("a table");
    let commit = |n| {
        conn.execute("INSERT INTO toy VALUES (?1, zeroblob(300))", [n]).expect("a commit");
        disk.logged()
    };
    (0..COMMITS).map(commit).collect()
}

/// How many rows there are, in a database that must be whole.
fn rows(folder: &Path) -> Result<u32, String> {
    let conn = open_whole(&folder.join("toy.db"))?;
    let count = |sql| conn.query_row(sql, [], |row| row.get(0)).map_err(|error| error.to_string());
    match count("SELECT count(*) FROM sqlite_master WHERE name = 'toy'")? {
        0 => Ok(0),
        _ => count("SELECT count(*) FROM toy"),
    }
}

/// Opens a database after a cut; an error says what SQLite's own check found.
pub fn open_whole(file: &Path) -> Result<Connection, String> {
    let open = || {
        let conn = Connection::open(file)?;
        let answer: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        Ok((conn, answer))
    };
    let (conn, answer) = open().map_err(|error: rusqlite::Error| error.to_string())?;
    if answer == "ok" { Ok(conn) } else { Err(answer) }
}
