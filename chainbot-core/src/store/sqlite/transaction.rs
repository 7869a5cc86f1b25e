//! One transaction of the writer: each batch is checked against what is stored, then applied.
//!
//! Invariant: a batch is either refused before its first write, or applied whole. So a wrong batch never
//! takes others with
//! it, and no savepoint is needed: an error while applying is an error of the disk, and ends the store.

use rusqlite::{CachedStatement, Connection};

use super::{
    account, agent, archive, audit, chore, cursor, idempotency, inbox, journal, listen, outbox, probe,
    remembered, run, secret, timer, trigger, workflow,
};
use crate::error::code::{definition, run as run_code, store};
use crate::error::{Error, Result};
use crate::id::{Lsn, RunId, WorkflowId};
use crate::port::{Idempotency, StoredListen, Timer};
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
        crate::fault!("journal.append.check", problem::read_on_purpose);
        let mut tip = Tip::default();
        if let Some(first) = work.records.first().filter(|first| first.seq > 0) {
            match self.tip_in(work, work.run)? {
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
            Change::RunPark { run, lsns, .. }
            | Change::RunFinish { run, lsns, .. }
            | Change::RunReopen { run, lsns, .. } => {
                let Some(tip) = self.tip_in(work, *run)? else { return Ok(Some(no_such_run(*run))) };
                let own = created_in(work, *run);
                let listed = lsns.count().saturating_add(own);
                let known = tip.next_seq.saturating_add(own);
                let why = format_args!("its list has {listed} places, it has {known} records").to_string();
                Ok((listed != known).then(|| problem::refused(*run, &why)))
            }
            // A child that ends may find its parent over, or forgotten, already; a parent its child. Then nobody is woken.
            Change::TimerSet { run, .. } if *run != work.run => Ok(None),
            Change::RunDelete { run } => match run::state(self.conn, *run)? {
                Some(state) if state.terminal => Ok(None),
                Some(_) => Ok(Some(problem::refused(*run, &"it is not over"))),
                None => Ok(Some(no_such_run(*run))),
            },
            Change::RunUnpark { run } | Change::TimerSet { run, .. } | Change::ListenSet { run, .. } => {
                Ok(self.tip_in(work, *run)?.is_none().then(|| no_such_run(*run)))
            }
            Change::InboxPut(question) => {
                if self.tip_in(work, question.run)?.is_none() {
                    return Ok(Some(no_such_run(question.run)));
                }
                let exists = inbox::exists(self.conn, question.id).map_err(problem::read)?;
                Ok(exists.then(|| problem::refused(question.run, &"a question of this id is open")))
            }
            Change::WorkflowInsert { version, idempotency, .. } => {
                self.check_new_workflow(work, version, idempotency.as_ref())
            }
            Change::WorkflowVersion(version) => self.check_version(version),
            Change::WorkflowDelete { id, .. } | Change::WorkflowShare { id, .. } => {
                let exists = workflow::current(self.conn, *id).map_err(problem::read)?.is_some();
                Ok((!exists).then(|| no_such_workflow(*id)))
            }
            // To clear what is not there is no mistake: a timer may fire while it is being cleared.
            Change::TimerClear { .. }
            | Change::InboxCloseRun { .. }
            | Change::InboxClose { .. }
            | Change::InboxAnswer(_)
            | Change::ListenClear { .. }
            | Change::CursorSet { .. } => Ok(None),
            Change::TriggerDrop { .. } | Change::GateLeave { .. } => Ok(None),
            Change::TriggerPut { workflow: id, .. } | Change::WorkflowSwitch { id, .. } => {
                let made = |change: &Change| matches!(change, Change::WorkflowInsert { version, .. } if version.id == *id);
                let exists = work.changes.iter().any(made)
                    || workflow::current(self.conn, *id).map_err(problem::read)?.is_some();
                Ok((!exists).then(|| no_such_workflow(*id)))
            }
            Change::TriggerFire(firing) => {
                let fits = trigger::fits(self.conn, firing).map_err(problem::read)?;
                Ok((!fits).then(|| not_fired(&firing.key)))
            }
            Change::GateEnter { run, .. } => {
                Ok(self.tip_in(work, *run)?.is_none().then(|| no_such_run(*run)))
            }
            Change::KeyKeep { key, .. } => self.check_key(Some(key)),
            // The vault is their only writer and keeps their order.
            Change::SecretPut(_) | Change::SecretRemove { .. } => Ok(None),
            // The models are, too.
            Change::ProbePut(_) => Ok(None),
            // It says what the others of the batch do, and stands or falls with them.
            Change::Audit(_) => Ok(None),
            // A message is known by its id, whatever becomes of its run; the courier is the only one that marks.
            Change::OutboxPut(_)
            | Change::OutboxMark(_)
            | Change::OutboxRemove { .. }
            | Change::OutboxPrune { .. } => Ok(None),
            // It goes with the workflow or the run of the batch, which is checked.
            Change::Agent(_) => Ok(None),
            Change::Memory(op) => remembered::check(self.conn, op).map_err(problem::read),
            Change::Account(op) => {
                let refusal = account::check(self.conn, op).map_err(problem::read)?;
                Ok(refusal.map(problem::account))
            }
        }
    }

    fn check_key(&self, key: Option<&Idempotency>) -> Result<Option<Error>> {
        let Some(key) = key else { return Ok(None) };
        let used = idempotency::find(self.conn, key.by, &key.key).map_err(problem::read)?.is_some();
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
        if work.changes.iter().any(|change| matches!(change, Change::RunReopen { run: of, .. } if *of == run))
        {
            return self.tip_of_failed(run);
        }
        if work.changes.iter().any(made) { Ok(Some(Tip::default())) } else { self.tip(run) }
    }

    /// Where the chain of a failed run stands; `None` when there is no such run, or it has not failed.
    fn tip_of_failed(&self, run: RunId) -> Result<Option<Tip>> {
        let Some(state) = run::state(self.conn, run)?.filter(|state| state.failed) else { return Ok(None) };
        let Some(last) = state.last else { return Err(problem::corrupt(run, state.tail, "it is missing")) };
        let tip = journal::tip_at(self.conn, run, last)?;
        tip.map(Some).ok_or_else(|| problem::corrupt(run, last, "it is missing"))
    }

    /// A run that is over, and all that was said of it.
    fn forget(&mut self, run: RunId) -> rusqlite::Result<()> {
        // Places are never given twice, also when the newest ones are gone.
        cursor::set(self.conn, "journal_end", Lsn(self.next.0 - 1))?;
        chore::delete(self.conn, run).map(drop)
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
        let first_seq = work.records.first().map_or(0, |record| record.seq);
        let own = Own { run: work.run, first, first_seq, count: work.records.len(), others };
        for change in &work.changes {
            self.change(change, &own)?;
        }
        // A batch without records stands where the journal ends.
        Ok(if self.next == first { Lsn(first.0 - 1) } else { first })
    }

    fn append(&mut self, run: RunId, tip: &mut Tip, record: &mut Encoded) -> rusqlite::Result<()> {
        crate::fault!("journal.append.record", problem::on_purpose);
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
                keep_key(conn, idempotency.as_ref(), row.id.as_bytes())
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
                listen::clear_run(conn, *run)?;
                run::finish(conn, *run, *status, detail.as_deref(), *at, &own.added_to(*run, lsns))
            }
            Change::TimerSet { run, seq, due } => timer::set(conn, Timer { due: *due, run: *run, seq: *seq }),
            Change::TimerClear { run, seq } => timer::clear(conn, *run, *seq),
            Change::InboxPut(question) => inbox::put(conn, question),
            Change::InboxCloseRun { run } => inbox::close_run(conn, *run),
            Change::InboxClose { id } => inbox::close(conn, *id),
            Change::InboxAnswer(answer) => inbox::answer(conn, answer),
            Change::ListenSet { run, seq, topic } => {
                let lsn = own.place_of(*seq);
                listen::set(conn, &StoredListen { run: *run, seq: *seq, lsn, topic: topic.clone() })
            }
            Change::ListenClear { run, seq } => listen::clear(conn, *run, *seq),
            Change::RunReopen { run, status, detail, lsns } => {
                self.chains.forget(*run);
                archive::bring_back(conn, *run)?;
                run::reopen(conn, *run, *status, detail, &own.added_to(*run, lsns))
            }
            Change::RunDelete { run } => self.forget(*run),
            Change::WorkflowInsert { version, possession, idempotency } => {
                workflow::insert(conn, version, possession)?;
                keep_key(conn, idempotency.as_ref(), version.id.as_bytes())
            }
            Change::WorkflowVersion(version) => workflow::update(conn, version),
            Change::WorkflowShare { id, possession } => workflow::share(conn, *id, possession),
            Change::WorkflowDelete { id, at } => workflow::delete(conn, *id, *at),
            Change::KeyKeep { key, made } => keep_key(conn, Some(key), made),
            Change::CursorSet { name, lsn } => cursor::set(conn, name, *lsn),
            Change::TriggerPut { workflow, key, enabled, due } => {
                trigger::put(conn, *workflow, key, *enabled, *due)
            }
            Change::TriggerDrop { workflow, key } => trigger::drop_one(conn, *workflow, key),
            Change::TriggerFire(firing) => trigger::fire(conn, firing),
            Change::WorkflowSwitch { id, on, at } => trigger::switch(conn, *id, *on, *at),
            Change::GateEnter { run, gate, max, ousts } => trigger::enter(conn, *run, gate, *max, *ousts),
            Change::GateLeave { run } => trigger::leave(conn, *run),
            Change::SecretPut(secret) => secret::put(conn, secret),
            Change::SecretRemove { name } => secret::remove(conn, name),
            Change::ProbePut(found) => probe::put(conn, found),
            Change::OutboxPut(message) => outbox::put(conn, message),
            Change::OutboxMark(mark) => outbox::mark(conn, mark),
            Change::OutboxRemove { id } => outbox::remove(conn, *id),
            Change::OutboxPrune { before, keep } => {
                outbox::prune(conn, *before, *keep, crate::limits::OUTBOX_PRUNE_ROWS_MAX)
            }
            Change::Agent(op) => agent::apply(conn, op),
            Change::Account(op) => account::apply(conn, op),
            Change::Memory(op) => remembered::apply(conn, op),
            Change::Audit(entry) => audit::append(conn, entry),
        }
    }
}

/// The places that a batch has taken.
struct Own {
    run: RunId,
    first: Lsn,
    first_seq: u32,
    count: usize,
    others: Vec<(RunId, Lsn)>,
}

impl Own {
    fn first_of(&self, run: RunId) -> Lsn {
        self.others.iter().find(|(other, _)| *other == run).map_or(self.first, |(_, lsn)| *lsn)
    }

    /// Where a record of the batch's own run is.
    fn place_of(&self, seq: u32) -> Lsn {
        Lsn(self.first.0 + i64::from(seq.saturating_sub(self.first_seq)))
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

fn keep_key(conn: &Connection, key: Option<&Idempotency>, made: &[u8; 16]) -> rusqlite::Result<()> {
    key.map_or(Ok(()), |key| idempotency::insert(conn, key, made))
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

fn not_fired(key: &str) -> Error {
    let message = format_args!("the trigger {key} is gone, switched off, or has fired meanwhile").to_string();
    Error::new(&run_code::NOT_FIRED, message).help("list the triggers of the workflow")
}

fn no_such_workflow(id: WorkflowId) -> Error {
    Error::new(&definition::NOT_FOUND, format_args!("there is no workflow {id}").to_string())
        .help("it may have been deleted; list the workflows")
}

fn name_taken(name: &str) -> Error {
    Error::new(&definition::EXISTS, format_args!("a workflow named `{name}` exists").to_string())
        .help("update it, or choose another name")
}
