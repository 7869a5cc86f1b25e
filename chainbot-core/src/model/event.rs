//! What has happened, as clients and hosts are told: a committed record with its place in the journal.

use super::Record;
use crate::id::{Lsn, RunId};

/// A record that is on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// Its place; the cursor of streams.
    pub lsn: Lsn,
    /// Whose it is.
    pub run: RunId,
    /// What happened.
    pub record: Record,
}
