//! What is kept for how long, and what a store says of its room: plain data between the runtime, which decides when, and
//! the store, which does it. Nothing here does IO.

use std::time::Duration;

use crate::id::{Lsn, WorkflowId};
use crate::time::Timestamp;

/// How long finished runs and used keys are kept, unless a definition says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Completed runs.
    pub completed: Duration,
    /// Failed runs.
    pub failed: Duration,
    /// Cancelled runs.
    pub cancelled: Duration,
    /// Finished runs of one workflow, the newest ones.
    pub runs_max: u32,
    /// How long after its end a run's records move from the journal to the archive.
    pub archive_after: Duration,
    /// Idempotency keys.
    pub keys: Duration,
    /// Messages that were delivered or given up.
    pub outbox: Duration,
    /// Rows of the audit log.
    pub audit: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: u64 = 86_400;
        Self {
            completed: Duration::from_secs(30 * DAY),
            failed: Duration::from_secs(90 * DAY),
            cancelled: Duration::from_secs(30 * DAY),
            runs_max: 10_000,
            archive_after: Duration::from_secs(600),
            keys: Duration::from_secs(7 * DAY),
            outbox: Duration::from_secs(30 * DAY),
            audit: Duration::from_secs(365 * DAY),
        }
    }
}

/// What a definition says in `keep`; what it leaves out is the configuration's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Completed runs.
    pub completed: Option<Duration>,
    /// Runs that failed or were cancelled.
    pub failed: Option<Duration>,
    /// Finished runs, the newest ones.
    pub runs_max: Option<u32>,
}

impl Retention {
    /// With what a definition says.
    #[must_use]
    pub fn with(self, keep: Keep) -> Self {
        Self {
            completed: keep.completed.unwrap_or(self.completed),
            failed: keep.failed.unwrap_or(self.failed),
            cancelled: keep.failed.unwrap_or(self.cancelled),
            runs_max: keep.runs_max.unwrap_or(self.runs_max),
            ..self
        }
    }
}

/// One call of [`super::Store::tidy`].
pub struct Upkeep<'a> {
    /// Wall-clock time.
    pub now: Timestamp,
    /// What holds where no definition says otherwise.
    pub rules: Retention,
    /// Everybody who is told of the journal was told up to here: a run with a later record is kept.
    pub told: Lsn,
    /// What a workflow's definition says.
    pub keep: &'a dyn Fn(WorkflowId) -> Keep,
}

/// What one call did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Runs whose records moved to the archive.
    pub archived: u64,
    /// Runs that were deleted.
    pub deleted: u64,
    /// Idempotency keys that expired.
    pub keys: u64,
    /// Deleted workflows, without a run, whose versions went.
    pub workflows: u64,
    /// What agents remembered until a time that has come.
    pub forgotten: u64,
    /// Rows of the audit log that were dropped.
    pub audit: u64,
    /// Pages that went back to the disk.
    pub pages: u64,
    /// Whether there may be more to do at once.
    pub more: bool,
}

/// How much room the disk of the store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Enough.
    Enough,
    /// The disk was full and the reserve file was given up: what is under way goes on, new work is refused.
    Low,
    /// Nothing can be written: what is under way waits, new work is refused.
    None,
}
