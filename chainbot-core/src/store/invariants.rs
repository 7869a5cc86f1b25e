//! The invariants of a store that can be tested from the store alone.
//!
//! I1: `seq` is dense and the checksum chain unbroken in every run. I3: the run's row says what its
//! journal says, its list of
//! places is the list of its records, open questions and waits for events are those of its journal, and only unfinished
//! runs have timers, open questions and waits. I4: an effect that started and did not end starts again with the same key
//! only. I5: what is parked has something that wakes it. I6: what waits for a time ends once and not before it, and a parked
//! run's timer is not later. I7: a journal folds over the definition that it names, to the state that the row says. I8: the
//! audit log is as it was written. One pass over archive and journal within one read transaction, so
//! it can run beside a writer; memory grows with the unfinished runs only.

mod folded;
mod open;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rusqlite::{Connection, params};

use self::folded::{Folded, Programs};
use self::open::Open;

use super::archive::Kept;
use super::chain::Tip;
use super::problem;
use super::sqlite::{SqliteStore, archive, audit, connection, journal, run};
use crate::error::Result;
use crate::id::{InboxId, Lsn, RunId};
use crate::model::inbox::question_id;
use crate::model::{Place, Record, RecordBody, RunCreated, RunStatus, Waiting};
use crate::port::Scope;
use crate::time::Timestamp;

const ROWS: &str = "SELECT count(*) FROM run";
const ORPHAN_TIMERS: &str = "SELECT run, seq FROM timer t \
     WHERE NOT EXISTS (SELECT 1 FROM run r WHERE r.id = t.run AND r.status < 4)";
const ORPHAN_LISTENS: &str = "SELECT run, seq FROM listen l \
     WHERE NOT EXISTS (SELECT 1 FROM run r WHERE r.id = l.run AND r.status < 4)";
// What a person is asked about a poisoned run is in no journal: nothing of the run may be evaluated.
const QUESTIONS: &str = "SELECT id FROM inbox WHERE run = ?1 AND answered_at IS NULL AND kind <> 'poison'";
const LISTENS: &str = "SELECT seq FROM listen WHERE run = ?1";
const ORPHAN_QUESTIONS: &str = "SELECT run, 0 FROM inbox i WHERE i.answered_at IS NULL \
     AND NOT EXISTS (SELECT 1 FROM run r WHERE r.id = i.run AND r.status < 4)";

const IDS: &str = "SELECT id FROM run";
// A row that wakes a run at each start has a number that no record has; a person who is asked about a poisoned run wakes it.
const TIMER: &str = "SELECT EXISTS (SELECT 1 FROM timer WHERE run = ?1 AND (due <= ?2 OR seq >= 4294967294)) \
     OR EXISTS (SELECT 1 FROM inbox WHERE run = ?1 AND answered_at IS NULL AND kind = 'poison')";
const WAKES: &str = "SELECT EXISTS (SELECT 1 FROM timer WHERE run = ?1) OR EXISTS (SELECT 1 FROM inbox WHERE run = ?1 AND answered_at IS NULL)";

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// `I1` or `I3` to `I8`.
    pub invariant: &'static str,
    /// Which run.
    pub run: Option<RunId>,
    /// Which record, where it is about one.
    pub lsn: Option<Lsn>,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.invariant)?;
        if let Some(run) = self.run {
            write!(f, " run {run}")?;
        }
        if let Some(lsn) = self.lsn {
            write!(f, " record {}", lsn.0)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// What a run's journal has said so far.
struct Seen {
    tip: Tip,
    lsns: Vec<Lsn>,
    created: Option<(RunCreated, Timestamp)>,
    /// Its last end, until a retry takes it up again.
    ended: Option<RunStatus>,
    asks: HashMap<Place, InboxId>,
    listens: HashMap<Place, u32>,
    open: Open,
    folded: Folded,
}

/// Everything that does not hold; empty when all is well.
pub fn check(store: &SqliteStore) -> Result<Vec<Violation>> {
    store.read(check_in)
}

/// The same of a database file, beside whoever works on it.
pub fn check_file(path: &Path) -> Result<Vec<Violation>> {
    let conn = connection::open_reader(path)?;
    let transaction = conn.unchecked_transaction().map_err(problem::read)?;
    check_in(&transaction)
}

/// The same on a connection, within one transaction.
pub fn check_in(conn: &Connection) -> Result<Vec<Violation>> {
    let mut checker =
        Checker { conn, seen: HashMap::new(), programs: Programs::default(), ended: 0, found: Vec::new() };
    archive::each(conn, |run, kept| checker.archived(run, kept))?;
    journal::each(conn, Lsn(1), |row, columns| checker.record(row, Some(columns)))?;
    checker.rest()?;
    checker.orphans(ORPHAN_TIMERS, "a timer waits for a run that is not unfinished")?;
    checker.orphans(ORPHAN_LISTENS, "events are waited for by a run that is not unfinished")?;
    checker.audit()?;
    checker.orphans(ORPHAN_QUESTIONS, "a question is open for a run that is not unfinished")?;
    Ok(checker.found)
}

struct Checker<'a> {
    conn: &'a Connection,
    seen: HashMap<RunId, Seen>,
    programs: Programs,
    ended: u64,
    found: Vec<Violation>,
}

impl Checker<'_> {
    fn report(&mut self, invariant: &'static str, run: RunId, lsn: Option<Lsn>, message: impl Into<String>) {
        self.found.push(Violation { invariant, run: Some(run), lsn, message: message.into() });
    }

    /// A run of the archive, which holds it whole.
    fn archived(&mut self, run: RunId, kept: Result<Vec<Kept>>) -> Result<()> {
        match kept {
            Ok(kept) => {
                kept.iter().zip(0..).try_for_each(|(kept, seq)| self.record(&kept.row(run, seq), None))
            }
            Err(error) => {
                self.report("I1", run, None, error.message());
                Ok(())
            }
        }
    }

    fn record(&mut self, row: &super::chain::Row<'_>, columns: Option<&journal::Columns>) -> Result<()> {
        let (run, lsn) = (row.run, row.lsn);
        let begun = Seen {
            tip: Tip::default(),
            lsns: Vec::new(),
            created: None,
            ended: None,
            asks: HashMap::new(),
            listens: HashMap::new(),
            open: Open::default(),
            folded: Folded::default(),
        };
        let seen = self.seen.entry(run).or_insert(begun);
        seen.lsns.push(lsn);
        let broken = row.verify(&mut seen.tip).err();
        if broken.is_some() {
            // Goes on from what the row says, so that one damage is one violation.
            seen.tip = row.tip().unwrap_or(seen.tip);
        }
        let decoded = row.decode();
        if let Some(error) =
            broken.or(decoded.as_ref().err().map(|_| problem::corrupt(run, lsn, "it does not decode")))
        {
            self.report("I1", run, Some(lsn), error.message());
        }
        let Ok(record) = decoded else { return Ok(()) };
        if columns.is_some_and(|columns| !columns.fit(row, &record.body)) {
            self.report("I3", run, Some(lsn), "its columns are not those of its body");
        }
        let broken = self.seen.get_mut(&run).and_then(|seen| seen.open.take(&record));
        if let Some((invariant, what)) = broken {
            self.report(invariant, run, Some(lsn), what);
        }
        self.fold(run, lsn, &record)?;
        if let Some(seen) = self.seen.get_mut(&run) {
            follow_asked(seen, run, &record);
        }
        match record.body {
            RecordBody::RunRetried { .. } => {
                if let Some(seen) = self.seen.get_mut(&run) {
                    seen.ended = None;
                }
                Ok(())
            }
            RecordBody::RunCreated(created) => {
                if let Some(seen) = self.seen.get_mut(&run) {
                    seen.created = Some((*created, record.at));
                }
                Ok(())
            }
            RecordBody::RunCompleted { .. } => self.end(run, RunStatus::Completed),
            RecordBody::RunFailed { .. } => self.end(run, RunStatus::Failed),
            RecordBody::RunCancelled { .. } => self.end(run, RunStatus::Cancelled),
            _ => Ok(()),
        }
    }

    /// One more record in the fold of its run.
    fn fold(&mut self, run: RunId, lsn: Lsn, record: &Record) -> Result<()> {
        let Some(seen) = self.seen.get_mut(&run) else { return Ok(()) };
        if let Err(error) = seen.folded.take(self.conn, &mut self.programs, run, record)? {
            self.report("I7", run, Some(lsn), error.message());
        }
        Ok(())
    }

    /// The run is over. It is forgotten, so a later record of it shows as a gap.
    fn end(&mut self, run: RunId, status: RunStatus) -> Result<()> {
        if status == RunStatus::Failed
            && let Some(seen) = self.seen.get_mut(&run)
            && run::find(self.conn, &Scope::All, run)?
                .is_some_and(|stored| stored.lsns.as_ref() != Some(&seen.lsns))
        {
            // Taken up again later, or damaged; either is seen at the end.
            seen.ended = Some(status);
            return Ok(());
        }
        let Some(seen) = self.seen.remove(&run) else { return Ok(()) };
        self.ended += 1;
        self.compare(run, &seen, Some(status))
    }

    fn compare(&mut self, run: RunId, seen: &Seen, ended: Option<RunStatus>) -> Result<()> {
        let Some(stored) = run::find(self.conn, &Scope::All, run)? else {
            self.report("I3", run, seen.lsns.first().copied(), "it has records and no row");
            return Ok(());
        };
        let status = stored.row.status;
        if ended.is_some_and(|ended| ended != status) || (ended.is_none() && status.is_terminal()) {
            let expected = ended.map_or("unfinished", RunStatus::as_str);
            let message =
                format_args!("its row says {}, its journal {expected}", status.as_str()).to_string();
            self.report("I3", run, None, message);
        }
        if status.is_terminal() != stored.row.finished_at.is_some() {
            self.report("I3", run, None, "its row has an end without a time, or a time without an end");
        }
        if ended.is_none() && stored.lsns.is_some() && status == RunStatus::Waiting {
            self.parked(run, seen)?;
        }
        if let Some(folded) = seen.folded.status().filter(|folded| {
            folded.is_terminal() != ended.is_some() || ended.is_some_and(|ended| ended != *folded)
        }) {
            let expected = ended.map_or("unfinished", RunStatus::as_str);
            let message =
                format_args!("its fold says {}, its last record {expected}", folded.as_str()).to_string();
            self.report("I7", run, seen.lsns.last().copied(), message);
        }
        if stored.lsns.is_some_and(|lsns| lsns != seen.lsns) {
            self.report("I3", run, None, "its row lists other records than its journal has");
        }
        if seen.lsns.first() != Some(&stored.first_lsn) {
            self.report("I3", run, Some(stored.first_lsn), "its row names another first record");
        }
        let Some((created, at)) = &seen.created else { return Ok(()) };
        let row = &stored.row;
        let same = row.workflow == created.workflow
            && row.name == created.name
            && row.definition == created.definition
            && row.created_at == *at;
        if !same {
            self.report("I3", run, Some(stored.first_lsn), "its row differs from its first record");
        }
        Ok(())
    }

    /// A parked run, which nobody looks at until something wakes it.
    fn parked(&mut self, run: RunId, seen: &Seen) -> Result<()> {
        let wakes: bool = self
            .conn
            .prepare_cached(WAKES)
            .and_then(|mut statement| statement.query_row([run.as_bytes()], |row| row.get(0)))
            .map_err(problem::read)?;
        if !wakes && !seen.open.waits_for_others() {
            self.report("I5", run, seen.lsns.last().copied(), "it is parked, and nothing wakes it");
        }
        if let Some(due) = seen.open.next_due()
            && wakes
        {
            let is_armed: bool = self
                .conn
                .prepare_cached(TIMER)
                .and_then(|mut statement| {
                    statement.query_row(params![run.as_bytes(), due.0], |row| row.get(0))
                })
                .map_err(problem::read)?;
            if !is_armed {
                self.report(
                    "I6",
                    run,
                    seen.lsns.last().copied(),
                    "no timer wakes it at the time that it waits for",
                );
            }
        }
        for child in seen.open.children() {
            if run::find(self.conn, &Scope::All, child)?.is_none() {
                let message = format_args!("it waits for run {child}, which is not there").to_string();
                self.report("I5", run, None, message);
            }
        }
        Ok(())
    }

    /// Unfinished runs, and rows that no record has made.
    fn rest(&mut self) -> Result<()> {
        let seen = std::mem::take(&mut self.seen);
        let runs = self.ended + seen.len() as u64;
        for (run, seen) in &seen {
            self.compare(*run, seen, seen.ended)?;
            if seen.ended.is_none() {
                self.compare_asked(*run, seen)?;
            }
        }
        let rows: i64 = self.conn.query_row(ROWS, [], |row| row.get(0)).map_err(problem::read)?;
        if rows.unsigned_abs() != runs {
            let message =
                format_args!("there are {rows} rows of runs, and {runs} runs in the journal").to_string();
            self.found.push(Violation { invariant: "I3", run: None, lsn: None, message });
            self.without_records()?;
        }
        Ok(())
    }

    /// Names the rows that no record has made. A second pass, which is needed only where something is wrong.
    fn without_records(&mut self) -> Result<()> {
        let mut made = HashSet::new();
        archive::each(self.conn, |run, _| {
            made.insert(run);
            Ok(())
        })?;
        journal::each(self.conn, Lsn(1), |row, _| {
            made.insert(row.run);
            Ok(())
        })?;
        let mut statement = self.conn.prepare_cached(IDS).map_err(problem::read)?;
        let mut rows = statement.query([]).map_err(problem::read)?;
        while let Some(row) = rows.next().map_err(problem::read)? {
            match row.get::<_, [u8; 16]>(0).map(RunId::from) {
                Ok(run) if made.contains(&run) => {}
                Ok(run) => self.report("I3", run, None, "its row has no records"),
                Err(_) => self.found.push(Violation {
                    invariant: "I3",
                    run: None,
                    lsn: None,
                    message: "a row's id is no id".to_owned(),
                }),
            }
        }
        Ok(())
    }

    /// What an unfinished run asks and listens for.
    fn compare_asked(&mut self, run: RunId, seen: &Seen) -> Result<()> {
        let read = |error| problem::read(error);
        let mut statement = self.conn.prepare_cached(QUESTIONS).map_err(read)?;
        let ids = statement.query_map([run.as_bytes()], |row| row.get::<_, [u8; 16]>(0)).map_err(read)?;
        let open: HashSet<InboxId> =
            ids.map(|id| id.map(InboxId::from)).collect::<Result<_, _>>().map_err(read)?;
        if open != seen.asks.values().copied().collect() {
            self.report("I3", run, None, "its open questions are not those of its journal");
        }
        let mut statement = self.conn.prepare_cached(LISTENS).map_err(read)?;
        let seqs = statement.query_map([run.as_bytes()], |row| row.get::<_, u32>(0)).map_err(read)?;
        let listens: HashSet<u32> = seqs.collect::<Result<_, _>>().map_err(read)?;
        if listens != seen.listens.values().copied().collect() {
            self.report("I3", run, None, "its waits for events are not those of its journal");
        }
        Ok(())
    }

    /// The audit log's chain.
    fn audit(&mut self) -> Result<()> {
        for broken in audit::verify(self.conn).map_err(problem::read)?.broken {
            let message = format_args!("row {} of the audit log: {}", broken.seq, broken.what).to_string();
            self.found.push(Violation { invariant: "I8", run: None, lsn: None, message });
        }
        Ok(())
    }

    fn orphans(&mut self, sql: &'static str, what: &str) -> Result<()> {
        let mut statement = self.conn.prepare_cached(sql).map_err(problem::read)?;
        let mut rows = statement.query([]).map_err(problem::read)?;
        while let Some(row) = rows.next().map_err(problem::read)? {
            let run = RunId::from(row.get::<_, [u8; 16]>(0).map_err(problem::read)?);
            self.report("I3", run, None, what);
        }
        Ok(())
    }
}

/// Keeps what the run's steps ask and listen for, as its records say.
fn follow_asked(seen: &mut Seen, run: RunId, record: &Record) {
    let asked = |place: &Place| (place.clone(), question_id(run, record.seq, record.at));
    match &record.body {
        RecordBody::StepUncertain { place, .. }
        | RecordBody::StepWaiting { place, wait: Waiting::Approval(_) } => seen.asks.extend([asked(place)]),
        RecordBody::StepWaiting { place, wait: Waiting::Event { .. } } => {
            seen.listens.insert(place.clone(), record.seq);
        }
        RecordBody::StepStarted { place, .. }
        | RecordBody::StepCompleted { place, .. }
        | RecordBody::StepFailed { place, .. }
        | RecordBody::StepCancelled { place }
        | RecordBody::StepAnswered { place, .. } => {
            seen.asks.remove(place);
            seen.listens.remove(place);
        }
        _ => {}
    }
}
