//! Looks at a data folder from outside: folder, disk, database, clock. Reads only, but for a small file that measures the
//! disk and is removed; works beside a server and without one.
//!
//! Each finding says what was looked at, how it stands, and what to do. A check that cannot be made is a finding too.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::invariants;
use super::reserve::{Reserve, free_bytes};
use super::sqlite::{connection, journal};
use crate::limits;
use crate::time::Timestamp;

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, and a person should know.
    Warn,
    /// Does not work, or data are at risk.
    Fail,
}

/// What one check found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it stands.
    pub level: Level,
    /// What was found.
    pub message: String,
    /// What to do, where it is not well.
    pub remedy: Option<&'static str>,
}

/// Writes of the probe: enough for a median that one slow write does not move.
const PROBES: usize = 32;
/// A flush below this is faster than flash can be programmed: memory answered, not the card.
const FLUSH_PLAUSIBLE: Duration = Duration::from_micros(80);
/// A flush above this makes every effect slow to see.
const FLUSH_SLOW: Duration = Duration::from_millis(50);
/// This version was not written before: 2026-01-01.
const CLOCK_FLOOR: Timestamp = Timestamp(1_767_225_600_000);
/// Nobody's clock is right beyond: 2100-01-01.
const CLOCK_CEILING: Timestamp = Timestamp(4_102_444_800_000);
/// Violations that are told one by one.
const VIOLATIONS_SHOWN: usize = 20;

/// Everything about a data folder and the database in it.
pub fn examine(folder: &Path, database: &Path, now: Timestamp) -> Vec<Finding> {
    let mut doctor = Doctor { folder, found: Vec::new() };
    if !doctor.folder() {
        return doctor.found;
    }
    doctor.disk();
    doctor.flush();
    doctor.clock(now, None);
    let path = folder.join(database);
    if !path.exists() {
        doctor.ok("database", "there is none yet: the first start makes it");
        return doctor.found;
    }
    doctor.mode(&path);
    match connection::open_reader(&path) {
        Ok(conn) => doctor.database(&conn, &path, now),
        Err(error) => {
            doctor.fail("database", error.message(), "restore a backup, or mend what the message names")
        }
    }
    doctor.found
}

struct Doctor<'a> {
    folder: &'a Path,
    found: Vec<Finding>,
}

impl Doctor<'_> {
    fn ok(&mut self, check: &'static str, message: impl ToString) {
        self.found.push(Finding { check, level: Level::Ok, message: message.to_string(), remedy: None });
    }

    fn warn(&mut self, check: &'static str, message: impl ToString, remedy: &'static str) {
        let (level, message) = (Level::Warn, message.to_string());
        self.found.push(Finding { check, level, message, remedy: Some(remedy) });
    }

    fn fail(&mut self, check: &'static str, message: impl ToString, remedy: &'static str) {
        let (level, message) = (Level::Fail, message.to_string());
        self.found.push(Finding { check, level, message, remedy: Some(remedy) });
    }

    /// False when nothing more can be said.
    fn folder(&mut self) -> bool {
        match fs::metadata(self.folder) {
            Err(error) => {
                self.fail(
                    "folder",
                    format_args!("{}: {error}", self.folder.display()),
                    "name the data folder with --data, or start ChainBot once",
                );
                return false;
            }
            Ok(found) if !found.is_dir() => {
                self.fail("folder", format_args!("{} is no folder", self.folder.display()), "name a folder");
                return false;
            }
            Ok(found) => match found.permissions().mode() & 0o077 {
                0 => self.ok("folder", self.folder.display()),
                mode if mode & 0o022 != 0 => {
                    self.fail(
                        "folder",
                        "others may write to it and replace the database",
                        "chmod 700 the data folder",
                    );
                }
                _ => self.warn(
                    "folder",
                    "others may list it; its files are private",
                    "chmod 700 the data folder",
                ),
            },
        }
        true
    }

    fn mode(&mut self, path: &Path) {
        match fs::metadata(path) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                self.fail(
                    "permissions",
                    "others may read the database",
                    "chmod 600 the database and its -wal and -shm",
                );
            }
            Ok(_) => self.ok("permissions", "the database is its owner's only"),
            Err(error) => self.fail("permissions", error, "use the account that the server runs as"),
        }
    }

    fn disk(&mut self) {
        match free_bytes(self.folder) {
            Ok(free) => {
                let message = format_args!("{} MiB are free", free >> 20).to_string();
                if free < limits::RESERVE_BYTES {
                    self.fail("space", message, "free space on the disk of the data folder, soon");
                } else if free < 16 * limits::RESERVE_BYTES {
                    self.warn(
                        "space",
                        message,
                        "free space on the disk of the data folder, or shorten retention",
                    );
                } else {
                    self.ok("space", message);
                }
            }
            Err(error) => self.fail("space", error, "check that the disk is mounted"),
        }
        if Reserve::new(self.folder).is_there() {
            self.ok("reserve", "the reserve for a full disk is there");
        } else {
            self.warn(
                "reserve",
                "there is no reserve for a full disk",
                "a server makes it soon after its start; give it room",
            );
        }
    }

    /// How long a flush takes: a card that lies about it is faster than flash can be.
    fn flush(&mut self) {
        let took = match probe(self.folder) {
            Ok(took) => took,
            Err(error) => {
                let message = format_args!("nothing can be written: {error}");
                return self.fail(
                    "flush",
                    message,
                    "mount the disk read-write, and use the server's account",
                );
            }
        };
        let message = format_args!("a flush takes {} µs (median of {PROBES})", took.as_micros()).to_string();
        if took < FLUSH_PLAUSIBLE {
            self.warn(
                "flush",
                message,
                "faster than flash is: without a drive that guards against power loss, a power cut may lose what was confirmed",
            );
        } else if took > FLUSH_SLOW {
            self.warn(
                "flush",
                message,
                "set workflow_engine.commit_delay_ms, or use a faster card (A2) or an SSD",
            );
        } else {
            self.ok("flush", message);
        }
    }

    fn clock(&mut self, now: Timestamp, newest: Option<Timestamp>) {
        const SET: &str = "set the clock (timedatectl); waits and cron stand still until it is right";
        match newest {
            Some(newest) if now < newest => {
                self.fail("clock", format_args!("it is {now}, the newest record is of {newest}"), SET);
            }
            Some(_) => {}
            None if now < CLOCK_FLOOR || now > CLOCK_CEILING => {
                self.fail("clock", format_args!("it is {now}"), SET)
            }
            None => self.ok("clock", now),
        }
    }

    fn database(&mut self, conn: &Connection, path: &Path, now: Timestamp) {
        const RESTORE: &str =
            "stop the server, keep a copy of the folder, restore a backup, and check the disk";
        match settings(conn) {
            Ok(wrong) if wrong.is_empty() => self.ok("settings", "those that durability needs"),
            Ok(wrong) => {
                self.fail("settings", wrong, "start ChainBot once: it sets them, or says why it cannot")
            }
            Err(error) => self.fail("settings", error, RESTORE),
        }
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        let wal = fs::metadata(wal).map_or(0, |file| file.len());
        let message = format_args!("the write-ahead log has {} KiB", wal >> 10).to_string();
        match wal > 4 * limits::RESERVE_BYTES {
            true => self.warn("log", message, "a reader holds it: end programs that keep the database open"),
            false => self.ok("log", message),
        }
        match integrity(conn) {
            Ok(problems) if problems.is_empty() => self.ok("integrity", "every page is sound"),
            Ok(problems) => self.fail("integrity", problems.join("; "), RESTORE),
            Err(error) => self.fail("integrity", error, RESTORE),
        }
        if let Ok(newest) = journal::newest_time(conn) {
            self.clock(now, newest);
        }
        self.invariants(conn);
    }

    fn invariants(&mut self, conn: &Connection) {
        const REMEDY: &str = "`chainbot fsck` names each; `--repair` mends what follows from the journal";
        let found = conn
            .unchecked_transaction()
            .map_err(super::problem::read)
            .and_then(|transaction| invariants::check_in(&transaction));
        match found {
            Ok(found) if found.is_empty() => {
                self.ok("journal", "I1, I3, I4 and I5 hold for every run, and I8 for the audit log")
            }
            Ok(found) => {
                let count = found.len();
                for violation in found.into_iter().take(VIOLATIONS_SHOWN) {
                    self.fail("journal", violation, REMEDY);
                }
                if count > VIOLATIONS_SHOWN {
                    self.fail("journal", format_args!("{} more", count - VIOLATIONS_SHOWN), REMEDY);
                }
            }
            Err(error) => self.fail("journal", error.message(), "restore a backup"),
        }
    }
}

/// The median of some flushes of one page.
fn probe(folder: &Path) -> std::io::Result<Duration> {
    let path = folder.join("doctor.probe");
    let measured = (|| {
        let mut file: File =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let mut took = Vec::with_capacity(PROBES);
        for number in 0..PROBES {
            let begun = Instant::now();
            file.write_all(&[number as u8; 4_096])?;
            file.sync_all()?;
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        Ok(took[PROBES / 2])
    })();
    // Not there when it could not be made.
    let _ = fs::remove_file(&path);
    measured
}

/// Settings of the file that are not as durability needs them. Those of connections are the server's own.
fn settings(conn: &Connection) -> rusqlite::Result<String> {
    let mode: String = conn.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let vacuum: i64 = conn.pragma_query_value(None, "auto_vacuum", |row| row.get(0))?;
    let mut wrong = Vec::new();
    if mode != "wal" {
        wrong.push("journal_mode is not WAL");
    }
    if vacuum != 2 {
        wrong.push("auto_vacuum is not INCREMENTAL");
    }
    Ok(wrong.join(", "))
}

fn integrity(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare("PRAGMA integrity_check(20)")?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut problems = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    problems.retain(|problem| problem != "ok");
    Ok(problems)
}
