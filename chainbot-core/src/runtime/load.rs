//! Brings a run into memory: reads its journal, folds it, and puts what came meanwhile into its mailbox.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::engine::decide::{NewChild, Outcome};
use crate::engine::{Input, RunState, inputs};
use crate::error::code::{definition, general, store};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Lsn, RunId, WorkflowId};
use crate::model::{Json, Place, Record, RecordBody, RunStatus, StepError, class};
use crate::port::{AGENT_PREFIX, Possession, Scope};

use super::cell::{Cell, Mail, Mailbox, Parked, Refusal};
use super::core::{Job, Runtime, Slot};
use super::poison::Held;

/// Between two tries to read a run.
const READ_AGAIN: Duration = Duration::from_millis(250);

impl Runtime {
    /// A worker's job: the run is in the map as loading. Gives the run when there is something to do on it, which is the
    /// caller's then.
    pub(super) fn load(self: &Arc<Self>, run: RunId, source: Source) -> Option<Arc<Cell>> {
        let read = std::panic::AssertUnwindSafe(|| self.read_run(run, source));
        let read = std::panic::catch_unwind(read).unwrap_or_else(|_| {
            Err(Error::new(&general::INTERNAL, "reading it panicked; this is a bug in ChainBot"))
        });
        let mut cells = self.cells.lock();
        let Some(Slot::Loading { mail, has_permit, effects }) = cells.remove(&run) else { return None };
        match read {
            Ok(Some(loaded)) => {
                let body_mail = if let Some(held) = self.poison.holds(run) {
                    let is_end = |mail: &Mail| {
                        matches!(
                            mail,
                            Mail::Input(Input::Cancel { .. }) | Mail::Asked(Input::Cancel { .. }, _)
                        )
                    };
                    if !mail.iter().any(is_end) {
                        drop(cells);
                        self.refuse_held(held, loaded.lsns, mail, has_permit);
                        return None;
                    }
                    // Nothing of it is evaluated any more: it ends without being taken up.
                    mail.into_iter().filter(is_end).map(abandoning).collect()
                } else {
                    in_order(mail, effects.places())
                };
                // It was held before it began: whoever takes it up again lets it begin as a start does.
                let is_fresh = loaded.state.status == RunStatus::Pending
                    && loaded.state.paused.is_none()
                    && loaded.parked.is_some();
                let cell = Arc::new(Cell::new(loaded.state, loaded.lsns, loaded.parked, has_permit));
                let mut mailbox = Mailbox::default();
                mailbox.mail.extend(body_mail);
                mailbox.is_scheduled = self.wants_worker(&cell, &mailbox);
                let is_scheduled = mailbox.is_scheduled;
                *cell.mailbox.lock() = mailbox;
                *cell.effects.lock() = effects;
                cells.insert(run, Slot::Live(cell.clone()));
                drop(cells);
                if is_fresh && self.gates.lets_in(run) {
                    self.admit(run, Source::Anywhere);
                }
                is_scheduled.then_some(cell)
            }
            Ok(None) => {
                drop(cells);
                self.turn_away(mail, has_permit, || Refusal::Over);
                None
            }
            Err(error) => {
                let refuse = || Refusal::Failed(Error::new(error.code(), error.message()));
                if !is_passing(&error) || self.store.failed().is_some() {
                    drop(cells);
                    log::error!("run {run} cannot be taken up: {error}");
                    self.turn_away(mail, has_permit, refuse);
                    return None;
                }
                log::error!("run {run} cannot be read and is tried again: {error}");
                // Who asked is told at once; what happened to the run is kept for it, or it would sleep on.
                let (asked, kept) = mail.into_iter().partition(|mail| matches!(mail, Mail::Asked(..)));
                cells.insert(run, Slot::Loading { mail: kept, has_permit, effects });
                drop(cells);
                self.turn_away(asked, false, refuse);
                self.load_later(run);
                None
            }
        }
    }

    /// A run that stands in the map as loading is read in a while.
    pub(super) fn load_later(self: &Arc<Self>, run: RunId) {
        let runtime = self.clone();
        // Ended with the tokio runtime; the queue takes nothing that a stop would wait for.
        self.tokio.spawn(async move {
            tokio::time::sleep(READ_AGAIN).await;
            runtime.jobs.push(Job::Load(run, Source::Anywhere));
        });
    }

    /// A run over which processes died twice: whatever wakes it, it stays where it is until a person ends it.
    fn refuse_held(self: &Arc<Self>, held: Held, lsns: Vec<Lsn>, mail: Vec<Mail>, has_permit: bool) {
        let Held { run, node, reason } = held;
        self.hold(run, &Place { node, path: Vec::new() }, &reason, lsns);
        self.turn_away(mail, has_permit, || {
            Refusal::Failed(
                Error::new(&general::INTERNAL, format!("run {run} is held: {reason}"))
                    .help("answer its question in the inbox, or cancel it"),
            )
        });
    }

    fn turn_away(self: &Arc<Self>, mail: Vec<Mail>, has_permit: bool, why: impl Fn() -> Refusal) {
        for mail in mail {
            if let Mail::Asked(_, answer) = mail {
                let _ = answer.send(Err(why()));
            }
        }
        if has_permit {
            self.release_permit();
        }
    }

    /// Reads and folds; `None` when the run is over or was never there.
    fn read_run(&self, run: RunId, source: Source) -> Result<Option<Loaded>> {
        crate::fault!("run.load", crate::error::Error::on_purpose);
        let source = match source {
            Source::New(lsn, record) => return self.fold(run, vec![(lsn, *record)], None).map(Some),
            other => other,
        };
        let Some(stored) = self.store.run(&Scope::All, run)? else { return Ok(None) };
        if stored.row.status.is_terminal() {
            return Ok(None);
        }
        let lsns = match (stored.lsns, source) {
            (Some(lsns), _) => lsns,
            // Should it have more, the writer refuses what follows: nothing is repeated.
            (None, Source::Queue) => vec![stored.first_lsn],
            (None, _) => self.scan(run, stored.first_lsn)?,
        };
        let records = self.store.records(&Scope::All, run, &lsns)?;
        let parked = match stored.row.status {
            RunStatus::Waiting | RunStatus::Paused => Some(Parked { timer_seq: None }),
            _ => None,
        };
        self.fold(run, records, parked).map(Some)
    }

    /// The places of a run's records when no row keeps them: it was at work when its thread was lost, or never began.
    fn scan(&self, run: RunId, first: Lsn) -> Result<Vec<Lsn>> {
        const PAGE: u32 = 4_096;
        let (mut after, mut found) = (Lsn(first.0 - 1), Vec::new());
        loop {
            let page = self.store.journal_after(after, PAGE)?;
            found.extend(page.iter().filter(|committed| committed.run == run).map(|committed| committed.lsn));
            match page.last() {
                Some(last) if page.len() == PAGE as usize => after = last.lsn,
                _ => return Ok(found),
            }
        }
    }

    /// Folds records that were read.
    pub(super) fn fold(
        &self,
        run: RunId,
        records: Vec<(Lsn, Record)>,
        parked: Option<Parked>,
    ) -> Result<Loaded> {
        let Some((_, Record { body: RecordBody::RunCreated(created), .. })) = records.first() else {
            return Err(Error::new(
                &store::CORRUPT,
                format!("the journal of run {run} does not begin with its creation"),
            )
            .help("restore the newest backup"));
        };
        crate::fault!("run.fold", crate::error::Error::on_purpose);
        let program = self.programs.get(created.definition)?;
        let state = RunState::fold(run, program, records.iter().map(|(_, record)| record))?;
        let parked = parked.map(|_| Parked { timer_seq: state.next_due().map(|_| state.next_seq) });
        if parked.is_some() {
            log::debug!("run {run} is taken up from its wait");
        }
        Ok(Loaded { state, lsns: records.into_iter().map(|(lsn, _)| lsn).collect(), parked })
    }

    /// Which version a child of `parent` will be of, and whether its inputs fit. What the parent's owner does not see is not
    /// there. Blocks on the disk.
    pub(super) fn resolve_child(
        &self,
        parent: WorkflowId,
        workflow: &str,
        given: &Json,
    ) -> std::result::Result<NewChild, StepError> {
        let resolve = || -> Result<NewChild> {
            crate::fault!("child.resolve", crate::error::Error::on_purpose);
            let parent = self.store.workflow(&Scope::All, parent)?.map(|parent| parent.possession);
            let scope = Scope::of_workflow(&parent.unwrap_or(Possession::HOUSE));
            if let Some(agent) = workflow.strip_prefix(AGENT_PREFIX) {
                return self.task_of(&scope, agent, given);
            }
            let stored = self.store.workflow_named(&scope, workflow)?.ok_or_else(|| {
                Error::new(&definition::NOT_FOUND, format!("there is no workflow `{workflow}`"))
                    .help("create it, or mend the step's `workflow`")
            })?;
            let program = self.programs.get(stored.hash)?;
            let inputs = inputs::prepare(&program, (**given).clone())?;
            Ok(NewChild {
                run: self.env.run_id(),
                workflow: stored.id,
                name: stored.name,
                definition: stored.hash,
                inputs: Json::new(inputs),
            })
        };
        resolve().map_err(|error| StepError::from_error(class::INVALID, &error))
    }

    /// Tells a parent whose child may have ended while the parent was not in memory.
    pub(super) fn check_child(self: &Arc<Self>, parent: &Arc<Cell>, child: RunId) {
        crate::fault!("child.check");
        match self.outcome(child) {
            Ok(Some(outcome)) => self.post(parent, Mail::Input(Input::ChildEnded { run: child, outcome })),
            Ok(None) => {}
            Err(error) => log::error!("run {}: its child {child} cannot be read: {error}", parent.id),
        }
    }

    fn outcome(&self, child: RunId) -> Result<Option<Outcome>> {
        let Some(stored) =
            self.store.run(&Scope::All, child)?.filter(|stored| stored.row.status.is_terminal())
        else {
            return Ok(None);
        };
        let last = stored.lsns.as_deref().and_then(|lsns| lsns.last().copied());
        let records = match last {
            Some(last) => self.store.records(&Scope::All, child, &[last])?,
            None => Vec::new(),
        };
        Ok(match records.into_iter().next().map(|(_, record)| record.body) {
            Some(RecordBody::RunCompleted { output }) => Some(Outcome::Completed(output)),
            Some(RecordBody::RunFailed { error, .. }) => Some(Outcome::Failed(error)),
            _ => Some(Outcome::Cancelled),
        })
    }

    /// A run was parked outside of memory; it is counted off when it is taken up.
    pub(super) fn count_parked(&self) {
        self.parked.fetch_add(1, Ordering::Relaxed);
    }

    /// Parked runs, for the health report.
    pub(super) fn parked_count(&self) -> usize {
        self.parked.load(Ordering::Relaxed)
    }
}

/// What a run's mailbox begins with. A step whose thread was lost fails before the run is taken up, or it would be entered
/// again; an effect that ended meanwhile, or is still under way, is not in doubt.
fn in_order(mail: Vec<Mail>, under_way: Vec<Place>) -> Vec<Mail> {
    let is_first = |mail: &Mail| matches!(mail, Mail::Settled(_) | Mail::Input(Input::EffectDone { .. }));
    let (first, rest): (Vec<Mail>, Vec<Mail>) = mail.into_iter().partition(is_first);
    let settled = |mail| match mail {
        Mail::Input(input) => Mail::Settled(input),
        other => other,
    };
    let mut all: Vec<Mail> = first.into_iter().map(settled).collect();
    all.push(Mail::Input(Input::Resume { under_way }));
    all.extend(rest);
    all
}

/// Whether reading may succeed later: the disk or its connections were the reason, not what is stored.
pub(super) fn is_passing(error: &Error) -> bool {
    *error.code() != store::CORRUPT
        && matches!(error.kind(), ErrorKind::Busy | ErrorKind::Storage | ErrorKind::Timeout)
}

/// Where a run was before it is read.
pub(super) enum Source {
    /// It was made a moment ago: its only record, which is on disk, and its place.
    New(Lsn, Box<Record>),
    /// In the queue for its first permit since it was made: there is nothing but its creation, and the rest of the
    /// journal, which may be long, need not be searched.
    Queue,
    /// Parked, or given up by a worker.
    Anywhere,
}

/// A run that was read.
pub(super) struct Loaded {
    pub(super) state: RunState,
    pub(super) lsns: Vec<Lsn>,
    pub(super) parked: Option<Parked>,
}

/// A cancel of a run that is held: what would undo its steps may be what ended two processes.
fn abandoning(mail: Mail) -> Mail {
    let instead = |input| match input {
        Input::Cancel { reason } => Input::Abandon { reason },
        other => other,
    };
    match mail {
        Mail::Input(input) => Mail::Input(instead(input)),
        Mail::Asked(input, answer) => Mail::Asked(instead(input), answer),
        settled => settled,
    }
}
