//! When the write-ahead log moves into the database.

use rusqlite::Connection;

use crate::limits;

/// Moves the write-ahead log into the database when it has grown.
pub(super) struct Checkpoints {
    /// In pages of the log.
    due: i64,
}

impl Checkpoints {
    pub(super) fn new() -> Self {
        Self { due: limits::WAL_PAGES_TARGET }
    }

    /// After acknowledgements, so that nobody waits for it. An error is final like a commit's: it is the
    /// same disk. While the log is pinned by a backup no reader is waited for: it stays as long as the copy takes.
    pub(super) fn after_commit(&mut self, conn: &Connection, is_pinned: bool) -> rusqlite::Result<()> {
        // Asks for the size and does nothing.
        let pages = checkpoint(conn, "PRAGMA wal_checkpoint(NOOP)")?;
        if pages < limits::WAL_PAGES_TARGET {
            self.due = limits::WAL_PAGES_TARGET;
        } else if pages >= self.due {
            // Past the cap, readers that follow each other without a break are waited for, within the lock
            // wait; otherwise the log would never begin anew.
            let pages = if pages >= limits::WAL_PAGES_MAX && !is_pinned {
                checkpoint(conn, "PRAGMA wal_checkpoint(RESTART)")?
            } else {
                checkpoint(conn, "PRAGMA wal_checkpoint(PASSIVE)")?
            };
            // A reader in the way is no error; the next try comes when the log has grown as much again.
            self.due = pages + limits::WAL_PAGES_TARGET;
        }
        Ok(())
    }
}

/// Runs one of the checkpoint statements; pages in the log.
pub(super) fn checkpoint(conn: &Connection, sql: &'static str) -> rusqlite::Result<i64> {
    crate::fault!("journal.checkpoint", crate::store::problem::on_purpose);
    conn.prepare_cached(sql)?.query_row([], |row| row.get(1))
}
