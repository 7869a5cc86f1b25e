//! What happens when the disk is full: the reserve is given up, new work is refused, what is under way goes on or waits.
//!
//! ```text
//!             full                    full                        a commit succeeds
//! Enough ──────────────► Low ──────────────────────► None ─────────────────────────────► Low
//!    ▲   (reserve freed)  │   (nothing left to free)                                       │
//!    └────────────────────┴──── the reserve is made again ◄────────────────────────────────┘
//! ```
//!
//! A full disk is found while pages are written, before the transaction's fsync; SQLite takes the transaction back and the
//! database is as it was. So trying again is safe, unlike after a failed fsync.

use parking_lot::Mutex;
use rusqlite::Connection;

use crate::error::Result;
use crate::port::upkeep::Room;
use crate::store::problem;
use crate::store::reserve::Reserve;

/// How much room there is, and what is left to give up.
pub struct Rooms {
    /// Held while the reserve is made or given up, which are calls of the file system.
    room: Mutex<Room>,
    reserve: Option<Reserve>,
}

impl Rooms {
    pub fn new(reserve: Option<Reserve>) -> Self {
        Self { room: Mutex::new(Room::Enough), reserve }
    }

    pub fn get(&self) -> Room {
        *self.room.lock()
    }

    /// The disk is full. True when the reserve could be given up, so that another try has a chance.
    pub fn give_up_reserve(&self) -> bool {
        let mut room = self.room.lock();
        let freed = self.reserve.as_ref().is_some_and(Reserve::release);
        if *room == Room::Enough {
            log::error!("the disk is full: new work is refused until there is room");
        }
        *room = if freed { Room::Low } else { Room::None };
        freed
    }

    /// There was room for a commit.
    pub fn committed(&self) {
        let mut room = self.room.lock();
        if *room == Room::None {
            log::warn!("there is room on the disk again: what waited goes on");
            *room = if self.reserve.is_some() { Room::Low } else { Room::Enough };
        }
    }

    /// Makes the reserve when it is not there and there is room for it; with it, new work is taken again.
    pub fn restore(&self) -> Result<Room> {
        let mut room = self.room.lock();
        // While commits fail, free room elsewhere on the disk is not ours to use: a quota may be what is full.
        if let Some(reserve) = self.reserve.as_ref().filter(|_| *room != Room::None)
            && reserve.make().map_err(problem::reserve)?
            && *room != Room::Enough
        {
            log::warn!("the disk has room again: new work is taken");
            *room = Room::Enough;
        }
        Ok(*room)
    }
}

/// Whether an error says that there is no room.
pub fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
}

/// Ends a transaction that failed, unless SQLite has done so.
pub fn take_back(conn: &Connection) -> rusqlite::Result<()> {
    crate::fault!("journal.take_back", crate::store::problem::on_purpose);
    if conn.is_autocommit() { Ok(()) } else { conn.execute_batch("ROLLBACK") }
}
