//! The store on SQLite: one writer thread, a few readers, one file of code a table family.
//!
//! [`connection`] opens with settings that are read back, [`migrate`] holds the schema's versions,
//! [`writer`] commits in
//! groups through [`transaction`], [`readers`] serves reads beside it; `journal run timer trigger workflow inbox
//! idempotency
//! cursor secret account` hold the SQL of their tables, which is static text with bound values.

pub(super) mod account;
mod agent;
pub(super) mod archive;
pub(super) mod audit;
mod checkpoint;
mod chore;
pub(super) mod connection;
pub(super) mod cursor;
mod full;
mod idempotency;
pub(super) mod inbox;
pub(super) mod journal;
mod listen;
pub(super) mod migrate;
mod outbox;
mod probe;
mod queue;
mod readers;
mod remembered;
mod repair;
pub(super) mod restored;
mod room;
pub(super) mod run;
mod scope;
pub(super) mod secret;
mod timer;
mod transaction;
mod trigger;
mod upkeep;
pub(super) mod workflow;
mod writer;

#[cfg(test)]
pub(super) use self::chore::Chore;
pub use self::migrate::schema_version;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use self::journal::History;
use self::readers::Readers;
use self::writer::Writer;
use super::backup::{self, Manifest, Order, Progress, Shelf};
use super::reserve::Reserve;
use super::{DataDir, batch, problem};
use crate::error::{Error, Result};
use crate::id::{DefinitionHash, InboxId, Lsn, RunId, UserId, WorkflowId};
use crate::meter::Meters;
use crate::model::event::Committed;
use crate::model::{EffectKey, Record, RunRow};
use crate::port::upkeep::{Room, Tidied, Upkeep};
use crate::port::{
    AgentFilter, AgentMemory, AgentState, AuditFilter, AuditRow, AuditVerdict, Automation, Batch, DayUse,
    IdempotencyHit, ListedWorkflow, MessageFilter, Page, PendingMessage, ProbeRows, Recovery, RunFilter,
    Scope, SecretRows, Store, StoredAccounts, StoredAgent, StoredListen, StoredMessage, StoredProbe,
    StoredQuestion, StoredRun, StoredSecret, StoredVersion, StoredWorkflow, UsageRow, WorkflowFilter,
};

/// How to open a store.
pub struct OpenOptions {
    /// The database file. Relative to the data folder.
    pub path: PathBuf,
    /// The folder, held as long as the store is open.
    pub data_dir: Arc<DataDir>,
    /// How long a commit waits for more work: less wear of a card for more latency. At most a second.
    pub commit_delay: Duration,
    /// Connections for reading, from 1 to 16.
    pub readers: usize,
    /// Where a database is kept before it is migrated.
    pub shelf: Shelf,
    /// Whether a reserve file is kept for the day the disk is full.
    pub reserve: bool,
    /// Where commits are counted.
    pub meters: Arc<Meters>,
}

impl OpenOptions {
    /// `chainbot.db` in the folder, commits at once, two readers, no reserve.
    pub fn new(data_dir: Arc<DataDir>) -> Self {
        Self {
            path: PathBuf::from("chainbot.db"),
            shelf: Shelf::new(data_dir.path().join("backups")),
            data_dir,
            commit_delay: Duration::ZERO,
            readers: 2,
            reserve: false,
            meters: Arc::default(),
        }
    }
}

/// A store in one SQLite file.
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    round: Mutex<upkeep::Round>,
    path: PathBuf,
    /// Outlives the connections, so that no other process opens the file while one is left.
    data_dir: Arc<DataDir>,
}

impl SqliteStore {
    /// Connections in use, the writer's included, and all there are.
    pub fn connections(&self) -> (usize, usize) {
        let (used, all) = self.readers.in_use();
        let writers = usize::from(all > 0);
        (used + writers, all + writers)
    }

    /// Opens or makes the database. CB-0400, CB-0401, CB-0402.
    pub fn open(options: OpenOptions) -> Result<Arc<SqliteStore>> {
        Self::open_limited(options, None)
    }

    /// With a database that can grow to `pages_max` only: a disk that is full at a chosen moment.
    pub(crate) fn open_limited(options: OpenOptions, pages_max: Option<u32>) -> Result<Arc<SqliteStore>> {
        let path = options.data_dir.path().join(&options.path);
        let fail = |error: rusqlite::Error| problem::open(&path, &error);
        let conn = connection::open_writer(&path, Some(&options.shelf))?;
        if let Some(pages) = pages_max {
            conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).map_err(fail)?;
        }
        let newest = journal::newest(&conn).map_err(fail)?.max(cursor::newest(&conn).map_err(fail)?);
        room::take(&conn, &path).map_err(fail)?;
        let readers = Readers::open(&path, options.readers)?;
        let reserve = options.reserve.then(|| Reserve::new(options.data_dir.path()));
        let writer = Writer::start(conn, Lsn(newest.0 + 1), options.commit_delay, reserve, options.meters)
            .map_err(|error| problem::open(&path, &error))?;
        Ok(Arc::new(SqliteStore {
            writer,
            readers,
            round: Mutex::default(),
            path,
            data_dir: options.data_dir,
        }))
    }

    /// Reads within one transaction.
    pub(super) fn read<T>(&self, read: impl FnOnce(&rusqlite::Connection) -> Result<T>) -> Result<T> {
        self.readers.read(|transaction| read(transaction))
    }

    /// Makes a backup beside the writer, which does not wait for it.
    pub fn backup(
        &self,
        shelf: &Shelf,
        order: &Order<'_>,
        on: &mut dyn FnMut(Progress) -> Result<()>,
    ) -> Result<Manifest> {
        // A connection of its own: it reads for as long as the copy takes.
        let conn = connection::open_reader(&self.path)?;
        let _pinned = self.writer.pin_log();
        backup::take(&conn, shelf, order, on)
    }

    /// Each table's content as it is at this moment, hashed.
    pub fn content(&self) -> Result<Vec<backup::TableSum>> {
        self.rows(backup::content::of)
    }

    /// A piece of upkeep of a test's own.
    #[cfg(test)]
    pub(super) fn chore(&self, chore: Chore) -> Result<u64> {
        self.writer.chore(chore)
    }

    /// Every later write fails, as on a disk that broke.
    #[cfg(test)]
    pub(crate) fn break_writes(&self) -> Result<u64> {
        self.writer.chore(Chore::BreakWrites)
    }

    /// A disk of another size.
    #[cfg(test)]
    pub(crate) fn set_pages_max(&self, pages: u32) -> Result<u64> {
        self.writer.chore(Chore::PagesMax(pages))
    }

    pub(super) fn rows<T>(
        &self,
        read: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        self.readers.read(|transaction| read(transaction).map_err(problem::read))
    }
}

impl Store for SqliteStore {
    fn submit(&self, batch: Batch) -> Result<()> {
        self.writer.submit(batch::prepare(batch)?)
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        self.writer.commit(batch::prepare(batch)?)
    }

    fn failed(&self) -> Option<Arc<Error>> {
        self.writer.failed()
    }

    fn recover(&self) -> Result<Recovery> {
        crate::fault!("store.recover", problem::read_on_purpose);
        let (recovery, tips) = self.read(|conn| {
            let live = run::live(conn)?;
            let mut histories = HashMap::with_capacity(live.len());
            for run in &live {
                let mut history = History::default();
                history.resume(conn, run.id, &run.lsns)?;
                histories.insert(run.id, history);
            }
            if let Some(from) = live.iter().map(|run| run.tail).min() {
                journal::scan(conn, from, &mut histories)?;
            }
            let mut recovery = Recovery {
                timers: timer::all(conn).map_err(problem::read)?,
                parked: run::parked(conn).map_err(problem::read)?,
                newest: journal::newest_time(conn).map_err(problem::read)?,
                live: Vec::with_capacity(live.len()),
            };
            let mut tips = Vec::with_capacity(live.len());
            for run in live {
                let history = histories.remove(&run.id).unwrap_or_default();
                if history.records.is_empty() {
                    return Err(problem::corrupt(run.id, run.tail, "it is missing"));
                }
                tips.push((run.id, history.tip));
                recovery.live.push((run.id, history.records));
            }
            Ok((recovery, tips))
        })?;
        self.writer.chains().lock().seed(tips);
        Ok(recovery)
    }

    fn run(&self, scope: &Scope, id: RunId) -> Result<Option<StoredRun>> {
        self.read(|conn| run::find(conn, scope, id))
    }

    fn records(&self, scope: &Scope, run: RunId, lsns: &[Lsn]) -> Result<Vec<(Lsn, Record)>> {
        self.read(|conn| match scope::sees_run(conn, scope, run)? {
            true => journal::records(conn, run, lsns),
            false => Ok(Vec::new()),
        })
    }

    fn runs(&self, scope: &Scope, filter: &RunFilter) -> Result<Page<RunRow>> {
        self.read(|conn| run::list(conn, scope, filter))
    }

    fn journal_after(&self, after: Lsn, limit: u32) -> Result<Vec<Committed>> {
        self.read(|conn| journal::after(conn, after, limit))
    }

    fn newest_lsn(&self) -> Result<Lsn> {
        self.rows(journal::newest)
    }

    fn workflow(&self, scope: &Scope, id: WorkflowId) -> Result<Option<StoredWorkflow>> {
        self.rows(|conn| workflow::find(conn, scope, id))
    }

    fn workflow_named(&self, scope: &Scope, name: &str) -> Result<Option<StoredWorkflow>> {
        self.rows(|conn| workflow::named(conn, scope, name))
    }

    fn workflows(&self, scope: &Scope, filter: &WorkflowFilter) -> Result<Page<ListedWorkflow>> {
        self.rows(|conn| workflow::list(conn, scope, filter))
    }

    fn definition(&self, scope: &Scope, hash: DefinitionHash) -> Result<Option<String>> {
        self.rows(|conn| workflow::source(conn, scope, hash))
    }

    fn idempotent(&self, by: Option<UserId>, key: &str) -> Result<Option<IdempotencyHit>> {
        self.rows(|conn| idempotency::find(conn, by, key))
    }

    fn inbox(&self, scope: &Scope) -> Result<Vec<StoredQuestion>> {
        self.read(|conn| inbox::all(conn, scope))
    }

    fn question(&self, scope: &Scope, id: InboxId) -> Result<Option<StoredQuestion>> {
        self.read(|conn| inbox::find(conn, scope, id))
    }

    fn listens(&self) -> Result<Vec<StoredListen>> {
        self.rows(listen::all)
    }

    fn versions(&self, scope: &Scope, id: WorkflowId) -> Result<Vec<StoredVersion>> {
        self.rows(|conn| workflow::versions(conn, scope, id))
    }

    fn agents(&self, scope: &Scope, filter: &AgentFilter) -> Result<Page<StoredAgent>> {
        self.rows(|conn| agent::list(conn, scope, filter))
    }

    fn agent_counts(&self) -> Result<Vec<(String, AgentState, u64)>> {
        self.rows(agent::counts)
    }

    fn day_usage(&self, day: u32) -> Result<Vec<DayUse>> {
        self.rows(|conn| agent::day_usage(conn, day))
    }

    fn tree_usage(&self, root: RunId) -> Result<(u64, u64)> {
        self.rows(|conn| agent::tree_usage(conn, root))
    }

    fn usage(
        &self,
        scope: &Scope,
        agent: Option<WorkflowId>,
        since: u32,
        limit: u32,
    ) -> Result<Vec<UsageRow>> {
        self.rows(|conn| agent::usage(conn, scope, agent, since, limit))
    }

    fn cursor(&self, name: &str) -> Result<Option<Lsn>> {
        self.rows(|conn| cursor::find(conn, name))
    }

    fn outbox_pending(&self) -> Result<Vec<PendingMessage>> {
        self.rows(outbox::pending)
    }

    fn outbox_message(&self, scope: &Scope, id: EffectKey) -> Result<Option<StoredMessage>> {
        self.read(|conn| outbox::find(conn, scope, id))
    }

    fn outbox(&self, scope: &Scope, filter: &MessageFilter) -> Result<Page<StoredMessage>> {
        self.read(|conn| outbox::list(conn, scope, filter))
    }

    fn automation(&self) -> Result<Automation> {
        self.rows(trigger::all)
    }

    fn accounts(&self) -> Result<StoredAccounts> {
        self.read(account::all)
    }

    fn audit(&self, filter: &AuditFilter) -> Result<Page<AuditRow>> {
        self.read(|conn| audit::list(conn, filter))
    }

    fn audit_verdict(&self) -> Result<AuditVerdict> {
        self.rows(audit::verify)
    }

    fn memory(&self) -> &dyn AgentMemory {
        self
    }

    fn tidy(&self, upkeep: &Upkeep<'_>) -> Result<Tidied> {
        self.tidy_next(upkeep)
    }

    fn room(&self) -> Room {
        self.writer.room()
    }

    fn restore_room(&self) -> Result<Room> {
        self.writer.restore_room()
    }

    fn close(&self) {
        // Readers first: the last connection to close empties the log into the database.
        self.readers.close();
        if self.writer.close() {
            // Not when the last holder of this value goes away: a task that was aborted may hold it for a while.
            self.data_dir.release();
        }
    }
}

impl SecretRows for SqliteStore {
    fn secrets(&self) -> Result<Vec<StoredSecret>> {
        self.read(secret::all)
    }
}

impl ProbeRows for SqliteStore {
    fn probes(&self) -> Result<Vec<StoredProbe>> {
        self.read(probe::all)
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close();
    }
}
