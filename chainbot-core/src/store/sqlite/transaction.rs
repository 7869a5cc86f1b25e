//! One transaction of the writer: each batch is checked against what is stored, then applied.
//!
//! Invariant: a batch is either refused before its first write, or applied whole. So a wrong batch never
//! takes others with
//! it, and no savepoint is needed: an error while applying is an error of the disk, and ends the store.

use rusqlite::{CachedStatement, Connection};

use super::{cursor, idempotency, inbox, journal, run, timer, workflow};
use crate::error::code::{definition, store};
use crate::error::{Error, Result};
use crate::id::{Lsn, RunId, WorkflowId};
use crate::port::{Idempotency, Timer};
use crate::store::batch::{Change, Version, Work};
use crate::store::chain::{Chains, Tip};
use crate::store::codec::Encoded;
use crate::store::places::Places;
use crate::store::problem;

/// What became of a batch.
pub enum Outcome {
    /// In the transaction; its first record is here.
    Stored(Lsn),
    /// Nothing of it was written.
    Refused(Error),
}

/// An open transaction.
pub struct Transaction<'a> {
    conn: &'a Connection,
    insert: CachedStatement<'a>,
    chains: &'a mut Chains,
    next: Lsn,
}

impl<'a> Transaction<'a> {
    /// Begins. `next` is the first free place in the journal.
    pub fn begin(conn: &'a Connection, chains: &'a mut Chains, next: Lsn) -> rusqlite::Result<Self> {
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self { conn, insert: journal::inserter(conn)?, chains, next })
    }

    /// The first free place.
    pub fn next(&self) -> Lsn {
        self.next
    }

    /// Checks and applies a batch. An error is final for the whole store.
    pub fn add(&mut self, work: &mut Work) -> Result<Outcome> {
        match self.check(work) {
            Ok(Ok(tip)) => self.apply(work, tip).map(Outcome::Stored).map_err(problem::write),
            Ok(Err(refusal)) => Ok(Outcome::Refused(refusal)),
            // Damage of one run is no reason to stop the others.
            Err(error) if *error.code() == store::CORRUPT => Ok(Outcome::Refused(error)),
            Err(error) => Err(error),
        }
    }

    /// Where the batch's records go on, or why it does not fit what is stored. Reads only.
    fn check(&self, work: &Work) -> Result<std::result::Result<Tip, Error>> {
        let mut tip = Tip::default();
        if let Some(first) = work.records.first().filter(|first| first.seq > 0) {
            match self.tip(work.run)? {
                Some(found) => tip = found,
                None => return Ok(Err(no_such_run(work.run))),
            }
            if tip.next_seq != first.seq {
                let why =
                    format_args!("its record is {}, the next one is {}", first.seq, tip.next_seq).to_string();
                return Ok(Err(problem::refused(work.run, &why)));
            }
        }
        for change in &work.changes {
            if let Some(refusal) = self.check_change(work, change)? {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(tip))
    }

    fn check_change(&self, work: &Work, change: &Change) -> Result<Option<Error>> {
        match change {
            Change::RunInsert { row, idempotency, .. } => {
                if let Some(refusal) = self.check_key(idempotency.as_ref())? {
                    return Ok(Some(refusal));
                }
                let exists = run::state(self.conn, row.id)?.is_some();
                Ok(exists.then(|| problem::refused(row.id, &"a run of this id exists")))
            }
            Change::RunPark { run, lsns, .. } | Change::RunFinish { run, lsns, .. } => {
                let Some(tip) = self.tip_in(work, *run)? else { return Ok(Some(no_such_run(*run))) };
                let own = created_in(work, *run);
                let listed = lsns.count().saturating_add(own);
                let known = tip.next_seq.saturating_add(own);
                let why = format_args!("its list has {listed} places, it has {known} records").to_string();
                Ok((listed != known).then(|| problem::refused(*run, &why)))
            }
            Change::RunUnpark { run } | Change::TimerSet { run, .. } => {
                Ok(self.tip_in(work, *run)?.is_none().then(|| no_such_run(*run)))
            }
            Change::InboxPut(question) => {
                if self.tip_in(work, question.run)?.is_none() {
                    return Ok(Some(no_such_run(question.run)));
                }
                let exists = inbox::exists(self.conn, question.id).map_err(problem::read)?;
                Ok(exists.then(|| problem::refused(question.run, &"a question of this id is open")))
            }
            Change::WorkflowInsert { version, idempotency } => {
                self.check_new_workflow(work, version, idempotency.as_ref())
            }
            Change::WorkflowVersion(version) => self.check_version(version),
            Change::WorkflowDelete { id, .. } => {
                let exists = workflow::current(self.conn, *id).map_err(problem::read)?.is_some();
                Ok((!exists).then(|| no_such_workflow(*id)))
            }
            // To clear what is not there is no mistake: a timer may fire while it is being cleared.
            Change::TimerClear { .. } | Change::InboxCloseRun { .. } | Change::CursorSet { .. } => Ok(None),
        }
    }

    fn check_key(&self, key: Option<&Idempotency>) -> Result<Option<Error>> {
        let Some(key) = key else { return Ok(None) };
        let used = idempotency::find(self.conn, &key.key).map_err(problem::read)?.is_some();
        Ok(used.then(|| problem::key_used(&key.key)))
    }

    fn check_new_workflow(
        &self,
        work: &Work,
        version: &Version,
        key: Option<&Idempotency>,
    ) -> Result<Option<Error>> {
        if let Some(refusal) = self.check_key(key)? {
            return Ok(Some(refusal));
        }
        if workflow::current(self.conn, version.id).map_err(problem::read)?.is_some() {
            return Ok(Some(problem::refused(work.run, &"a workflow of this id exists")));
        }
        let owner = workflow::owner(self.conn, &version.name).map_err(problem::read)?;
        Ok(owner.map(|_| name_taken(&version.name)))
    }

    fn check_version(&self, version: &Version) -> Result<Option<Error>> {
        match workflow::current(self.conn, version.id).map_err(problem::read)? {
            Some(current) if !current.deleted => {}
            _ => return Ok(Some(no_such_workflow(version.id))),
        }
        let owner = workflow::owner(self.conn, &version.name).map_err(problem::read)?;
        Ok(owner.filter(|owner| *owner != version.id).map(|_| name_taken(&version.name)))
    }

    /// Where the chain of an unfinished run stands; `None` when there is no such run.
    fn tip(&self, run: RunId) -> Result<Option<Tip>> {
        if let Some(tip) = self.chains.get(run) {
            return Ok(Some(tip));
        }
        let Some(state) = run::state(self.conn, run)?.filter(|state| !state.terminal) else {
            return Ok(None);
        };
        if !state.parked
            && let Some(tip) = journal::tip_since(self.conn, run, state.tail)?
        {
            return Ok(Some(tip));
        }
        let Some(last) = state.last else { return Err(problem::corrupt(run, state.tail, "it is missing")) };
        let tip = journal::tip_at(self.conn, run, last)?;
        tip.map(Some).ok_or_else(|| problem::corrupt(run, last, "it is missing"))
    }

    /// As [`Self::tip`], before the batch; a run that the batch makes stands at its beginning.
    fn tip_in(&self, work: &Work, run: RunId) -> Result<Option<Tip>> {
        let made = |change: &Change| matches!(change, Change::RunInsert { row, .. } if row.id == run);
        if work.changes.iter().any(made) { Ok(Some(Tip::default())) } else { self.tip(run) }
    }

    fn apply(&mut self, work: &mut Work, mut tip: Tip) -> rusqlite::Result<Lsn> {
        let first = self.next;
        for record in &mut work.records {
            self.append(work.run, &mut tip, record)?;
        }
        if !work.records.is_empty() {
            self.chains.put(work.run, tip);
        }
        let mut others = Vec::new();
        for change in &mut work.changes {
            if let Change::RunInsert { row, created: Some(created), .. } = change {
                let mut tip = Tip::default();
                others.push((row.id, self.next));
                self.append(row.id, &mut tip, created)?;
                self.chains.put(row.id, tip);
            }
        }
        let own = Own { run: work.run, first, count: work.records.len(), others };
        for change in &work.changes {
            self.change(change, &own)?;
        }
        // A batch without records stands where the journal ends.
        Ok(if self.next == first { Lsn(first.0 - 1) } else { first })
    }

    fn append(&mut self, run: RunId, tip: &mut Tip, record: &mut Encoded) -> rusqlite::Result<()> {
        let link = tip.extend(run, record.at, &record.digest);
        journal::insert(&mut self.insert, self.next, run, record, link)?;
        self.next.0 += 1;
        Ok(())
    }

    fn change(&mut self, change: &Change, own: &Own) -> rusqlite::Result<()> {
        let conn = self.conn;
        match change {
            Change::RunInsert { row, idempotency, .. } => {
                run::insert(conn, row, own.first_of(row.id))?;
                keep_key(conn, idempotency.as_ref(), row.id.as_bytes(), row.created_at)
            }
            Change::RunPark { run, status, detail, lsns } => {
                self.chains.forget(*run);
                run::park(conn, *run, *status, detail.as_deref(), &own.added_to(*run, lsns))
            }
            Change::RunUnpark { run } => run::unpark(conn, *run, own.first),
            Change::RunFinish { run, status, detail, at, lsns } => {
                self.chains.forget(*run);
                // Whatever still waits for the run would wake it in vain.
                timer::clear_run(conn, *run)?;
                inbox::close_run(conn, *run)?;
                run::finish(conn, *run, *status, detail.as_deref(), *at, &own.added_to(*run, lsns))
            }
            Change::TimerSet { run, seq, due } => timer::set(conn, Timer { due: *due, run: *run, seq: *seq }),
            Change::TimerClear { run, seq } => timer::clear(conn, *run, *seq),
            Change::InboxPut(question) => inbox::put(conn, question),
            Change::InboxCloseRun { run } => inbox::close_run(conn, *run),
            Change::WorkflowInsert { version, idempotency } => {
                workflow::insert(conn, version)?;
                keep_key(conn, idempotency.as_ref(), version.id.as_bytes(), version.at)
            }
            Change::WorkflowVersion(version) => workflow::update(conn, version),
            Change::WorkflowDelete { id, at } => workflow::delete(conn, *id, *at),
            Change::CursorSet { name, lsn } => cursor::set(conn, name, *lsn),
        }
    }
}

/// The places that a batch has taken.
struct Own {
    run: RunId,
    first: Lsn,
    count: usize,
    others: Vec<(RunId, Lsn)>,
}

impl Own {
    fn first_of(&self, run: RunId) -> Lsn {
        self.others.iter().find(|(other, _)| *other == run).map_or(self.first, |(_, lsn)| *lsn)
    }

    /// A run's list with its places of this batch. They are after all earlier ones, so the list grows. The batch keeps the
    /// list as it was, for another try.
    fn added_to(&self, run: RunId, lsns: &Places) -> Places {
        let mut lsns = lsns.clone();
        if run == self.run {
            for lsn in self.first.0..self.first.0 + self.count as i64 {
                lsns.push(Lsn(lsn));
            }
        }
        for (_, lsn) in self.others.iter().filter(|(other, _)| *other == run) {
            lsns.push(*lsn);
        }
        lsns
    }
}

fn keep_key(
    conn: &Connection,
    key: Option<&Idempotency>,
    made: &[u8; 16],
    at: crate::time::Timestamp,
) -> rusqlite::Result<()> {
    key.map_or(Ok(()), |key| idempotency::insert(conn, key, made, at))
}

/// Records that a batch adds to a run.
fn created_in(work: &Work, run: RunId) -> u32 {
    let others = work
        .changes
        .iter()
        .filter(|change| matches!(change, Change::RunInsert { row, created: Some(_), .. } if row.id == run));
    let own = if run == work.run { work.records.len() } else { 0 };
    u32::try_from(own + others.count()).unwrap_or(u32::MAX)
}

fn no_such_run(run: RunId) -> Error {
    problem::refused(run, &"there is no such run, or it is over")
}

fn no_such_workflow(id: WorkflowId) -> Error {
    Error::new(&definition::NOT_FOUND, format_args!("there is no workflow {id}").to_string())
        .help("it may have been deleted; list the workflows")
}

fn name_taken(name: &str) -> Error {
    Error::new(&definition::EXISTS, format_args!("a workflow named `{name}` exists").to_string())
        .help("update it, or choose another name")
}
