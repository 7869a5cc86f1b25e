//! A small pool of read-only connections.
//!
//! Invariants: never more connections than asked for at opening; a read waits for one at most as long as
//! `limits` says.
//! The lock guards a list only and is never held while a read runs.

use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, Transaction};

use super::connection;
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::limits;
use crate::store::problem;

/// The pool.
pub struct Readers {
    idle: Mutex<Idle>,
    returned: Condvar,
    count: usize,
}

struct Idle {
    connections: Vec<Connection>,
    closed: bool,
}

impl Readers {
    /// Opens all connections at once, so that a later read cannot fail for want of one.
    pub fn open(path: &Path, count: usize) -> Result<Self> {
        let count = count.clamp(1, limits::STORE_READERS_MAX);
        let connections = (0..count).map(|_| connection::open_reader(path)).collect::<Result<_>>()?;
        Ok(Self { idle: Mutex::new(Idle { connections, closed: false }), returned: Condvar::new(), count })
    }

    /// Runs `read` in one transaction: all it reads is of one moment.
    pub fn read<T>(&self, read: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        crate::fault!("store.read", problem::read_on_purpose);
        let mut lease = Lease { readers: self, connection: Some(self.take()?) };
        let connection = lease.connection.as_mut().expect("it is taken out on drop only");
        let transaction = connection.transaction().map_err(problem::read)?;
        read(&transaction)
    }

    /// Connections in use, and all there are.
    pub fn in_use(&self) -> (usize, usize) {
        let idle = self.idle.lock();
        match idle.closed {
            true => (0, 0),
            false => (self.count.saturating_sub(idle.connections.len()), self.count),
        }
    }

    /// Closes what is idle; a connection in use closes when it is returned.
    pub fn close(&self) {
        let mut idle = self.idle.lock();
        idle.closed = true;
        let connections = std::mem::take(&mut idle.connections);
        drop(idle);
        drop(connections);
        self.returned.notify_all();
    }

    fn take(&self) -> Result<Connection> {
        let until = Instant::now() + Duration::from_millis(limits::STORE_READ_WAIT_MS_MAX);
        let mut idle = self.idle.lock();
        loop {
            if idle.closed {
                return Err(problem::closed());
            }
            if let Some(connection) = idle.connections.pop() {
                return Ok(connection);
            }
            if self.returned.wait_until(&mut idle, until).timed_out() && idle.connections.is_empty() {
                return Err(Error::new(&general::BUSY, "all connections for reading are in use")
                    .help("try again later, or allow more readers"));
            }
        }
    }
}

/// Gives the connection back, also when a read panics.
struct Lease<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut idle = self.readers.idle.lock();
        if !idle.closed {
            idle.connections.extend(self.connection.take());
        }
        drop(idle);
        self.readers.returned.notify_one();
    }
}
