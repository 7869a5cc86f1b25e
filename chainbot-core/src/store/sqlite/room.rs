//! Room for the write-ahead log, taken once at the start.
//!
//! A commit that makes the log longer writes the file's length and its map of blocks besides the data, and a file system with a
//! journal writes those twice. A commit into blocks that the file has already writes its data and nothing else. So an empty log
//! is filled with zeros before the first commit; what SQLite finds there is no frame, as after any checkpoint. Only a log that
//! nobody reads is touched: the data folder is held, and the readers are not open yet.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use rusqlite::Connection;

use crate::limits;

/// Fills the log. Commits are as safe without it, so a disk that is too full for it is no error: the log is left empty.
pub fn take(conn: &Connection, database: &Path) -> rusqlite::Result<()> {
    crate::fault!("start.room", crate::store::problem::on_purpose);
    let (is_busy, in_log): (bool, i64) =
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if is_busy || in_log != 0 {
        return Ok(());
    }
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    let path = Path::new(&path);
    let filled = OpenOptions::new().write(true).open(path).and_then(|mut file| {
        if file.metadata()?.len() != 0 {
            return Ok(());
        }
        // A page at a time: written in larger pieces, each commit would later be accounted as one of those.
        let zeros = [0; 4_096];
        let mut left = limits::WAL_BYTES_TAKEN;
        while left > 0 {
            let part = left.min(zeros.len());
            if let Err(error) = file.write_all(&zeros[..part]) {
                file.set_len(0)?;
                return Err(error);
            }
            left -= part;
        }
        Ok(())
    });
    if let Err(error) = filled {
        log::debug!("no room is taken for {}: {error}", path.display());
    }
    Ok(())
}
