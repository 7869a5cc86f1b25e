//! One turn of a worker on one run: read the mail, decide, hand the records to the writer.
//!
//! Records that nothing outside depends on wait in memory for the next batch; a batch is made when an effect is to be
//! sent, a checkpoint or an end is reached, the run is parked, somebody waits for an answer, or too much has gathered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::engine::{Agenda, Context, Decision, Input, RunState, decide, settle};
use crate::error::{Error, Result};
use crate::id::{Lsn, NodeId};
use crate::limits;
use crate::model::event::Committed;
use crate::model::{Place, Record, RecordBody, RunStatus};
use crate::port::{Batch, Op};
use crate::time::Timestamp;

use super::agents::failed_in;
use super::bus::Note;
use super::cell::{Answer, Body, Cell, Committing, Mail, Parked, Refusal};
use super::core::{Job, Runtime, Slot};
use super::load::is_passing;
use super::worker::WorkerSlot;

/// [`decide`], or [`settle`] where nothing may begin.
type Decide = fn(&mut RunState, &mut Agenda, Input, &Context<'_>) -> Result<Decision>;

/// A run that sleeps for less than this stays in memory: parking writes two rows.
const PARK_AFTER: Duration = Duration::from_secs(2);

impl Runtime {
    /// Works on a run until it has nothing to do, its batch is at the writer, or others wait for a worker.
    pub(super) fn turn(self: &Arc<Self>, worker: &WorkerSlot, cell: &Arc<Cell>) {
        while self.one_turn(worker, cell) && !worker.is_lost() {}
    }

    /// True when the run has more to do and nobody else has: then it need not go through the queue.
    fn one_turn(self: &Arc<Self>, worker: &WorkerSlot, cell: &Arc<Cell>) -> bool {
        let mut body = cell.body.lock();
        worker.begin(cell);
        self.read_mail(worker, cell, &mut body);
        worker.end();
        if !cell.is_dead.load(Ordering::SeqCst) {
            self.after_turn(cell, &mut body);
        }
        if cell.is_dead.load(Ordering::SeqCst) {
            cell.abort_effects();
        }
        // The permit of a lost thread's turn went with the run to its new place in memory.
        let gives_back =
            !worker.is_lost() && Self::needs_no_permit(cell, &body) && std::mem::take(&mut body.has_permit);
        let is_committing = body.committing.is_some();
        drop(body);
        let mut mailbox = cell.mailbox.lock();
        mailbox.is_committing = is_committing;
        let goes_on =
            !gives_back && !worker.is_lost() && self.wants_worker(cell, &mailbox) && self.jobs.is_empty();
        if !goes_on {
            mailbox.is_scheduled = false;
            self.schedule(cell, &mut mailbox);
        }
        drop(mailbox);
        if gives_back {
            self.release_permit();
        }
        goes_on
    }

    /// Whether a run has nothing left for which it may hold a permit: it left memory while it stood in the queue, it is over, or
    /// it has not begun and only answered somebody.
    fn needs_no_permit(cell: &Cell, body: &Body) -> bool {
        let status = body.state.status;
        cell.is_dead.load(Ordering::SeqCst)
            || ((status.is_terminal() || status == RunStatus::Pending)
                && body.committing.is_none()
                && body.pending.records.is_empty()
                && cell.mailbox.lock().mail.is_empty())
    }

    fn read_mail(self: &Arc<Self>, worker: &WorkerSlot, cell: &Arc<Cell>, body: &mut Body) {
        loop {
            let (committed, permits, mail) = {
                let mut mailbox = cell.mailbox.lock();
                let committed = mailbox.committed.take();
                let permits = std::mem::take(&mut mailbox.permits);
                (committed, permits, mailbox.mail.len())
            };
            for _ in 0..permits {
                if std::mem::replace(&mut body.has_permit, true) {
                    self.release_permit();
                }
            }
            if cell.is_dead.load(Ordering::SeqCst) {
                return;
            }
            if let Some(first) = committed {
                self.on_committed(cell, body, first);
            }
            let is_full = body.pending.records.len() >= limits::DECISION_RECORDS_MAX;
            // Whoever asks a run that has just ended is told so when its end is on disk.
            let is_ending = body.state.status.is_terminal() && !body.pending.records.is_empty();
            if body.committing.is_some() || is_full || is_ending || cell.is_dead.load(Ordering::SeqCst) {
                return;
            }
            let is_stopping = self.is_stopping.load(Ordering::SeqCst);
            let rests = body.agenda.is_empty() || is_stopping || body.state.paused.is_some();
            if mail == 0 && rests {
                return;
            }
            if !body.has_permit && !self.get_permit(cell, body) {
                return;
            }
            let next = cell.mailbox.lock().mail.pop_front();
            let (input, answer, begins) = match next {
                Some(Mail::Input(input)) => (input, None, true),
                Some(Mail::Asked(input, answer)) => (input, Some(answer), true),
                Some(Mail::Settled(input)) => (input, None, false),
                None => (Input::Continue, None, true),
            };
            // An effect begun now might not end in time, and a step that began without an end may need a person.
            let decide = if begins && !self.is_stopping.load(Ordering::SeqCst) { decide } else { settle };
            self.decide(worker, cell, body, input, answer, decide);
        }
    }

    fn get_permit(self: &Arc<Self>, cell: &Arc<Cell>, body: &mut Body) -> bool {
        let mut mailbox = cell.mailbox.lock();
        if mailbox.mail.iter().any(Mail::is_urgent) {
            // It has what it stood in the queue for: as one that waits it would not be told of its own effects' ends.
            if std::mem::take(&mut mailbox.is_queued) {
                self.admission.leave(cell);
            }
            self.admission.force();
            body.has_permit = true;
            return true;
        }
        if mailbox.is_queued {
            return false;
        }
        match self.admission.queue(super::admission::Queued::Known(cell.clone())) {
            Some(_) => {
                body.has_permit = true;
                true
            }
            None => {
                mailbox.is_queued = true;
                false
            }
        }
    }

    fn decide(
        self: &Arc<Self>,
        worker: &WorkerSlot,
        cell: &Arc<Cell>,
        body: &mut Body,
        input: Input,
        answer: Option<Answer>,
        decide: Decide,
    ) {
        if body.state.status.is_terminal() {
            if let Some(answer) = answer {
                // Nobody may be waiting any more.
                let _ = answer.send(Err(Refusal::Over));
            } else if matches!(input, Input::Tick | Input::Unpause) {
                // A retry takes it up as soon as its end is on disk, which may be before this cell knows of that. Out of
                // memory by now, it is read again; one that is over indeed is found to be so there.
                self.deliver(cell.id, Mail::Input(input));
            }
            return;
        }
        if let Input::EffectDone { place, attempt, .. } = &input {
            cell.effects.lock().ended(place, *attempt);
        }
        if matches!(input, Input::EffectDone { .. } | Input::Heard { .. }) {
            cell.taken.lock().push(input.clone());
        }
        crate::fault!("turn.decide");
        let defaults = self.defaults.read().clone();
        let context = Context {
            watch: worker,
            now: self.env.now(),
            random: worker.random(),
            defaults: &defaults,
            outbox: self.courier.room(),
        };
        match decide(&mut body.state, &mut body.agenda, input, &context) {
            Ok(decision) => take(body, decision, answer),
            Err(error) => {
                if let Some(answer) = answer {
                    let _ = answer.send(Err(Refusal::Failed(Error::new(error.code(), error.message()))));
                }
                self.give_up(cell, body, &error);
            }
        }
    }

    /// Sends what must be on disk, parks what only waits, and arms the timer.
    fn after_turn(self: &Arc<Self>, cell: &Arc<Cell>, body: &mut Body) {
        // Again when there was nothing to write: what only asked something may be parked right after.
        while body.committing.is_none() && !cell.is_dead.load(Ordering::SeqCst) {
            let is_over = body.state.status.is_terminal() && !body.pending.records.is_empty();
            let parks = !is_over && self.can_park(cell, body);
            let wants_commit = body.pending.is_durable
                || !body.pending.commands.is_empty()
                || !body.pending.answers.is_empty()
                || body.agenda.awaits_commit()
                || body.pending.records.len() >= limits::DECISION_RECORDS_MAX;
            if !(is_over || parks || wants_commit) {
                break;
            }
            self.flush(cell, body, parks);
        }
        // A run that waits for nothing but its own commit is at work.
        let idle = body.state.is_idle()
            && body.agenda.is_empty()
            && !body.agenda.awaits_commit()
            && body.state.status == RunStatus::Running;
        let held = is_held(cell, body);
        cell.show(match (held, idle) {
            (true, _) => RunStatus::Paused,
            (false, true) => RunStatus::Waiting,
            (false, false) => body.state.status,
        });
        *cell.waiting_for.lock() = if idle || held { body.state.waiting_for() } else { None };
        let due = body.state.next_due();
        if due != body.armed {
            body.armed = due;
            if let Some(due) = due {
                self.timers.arm(due, cell.id);
            }
        }
        let is_parked_still =
            body.parked.is_some() && body.committing.is_none() && body.pending.records.is_empty();
        if is_parked_still && (idle || held) && cell.mailbox.lock().mail.is_empty() {
            // Woken for nothing: its row is still right.
            if std::mem::take(&mut body.has_permit) {
                self.release_permit();
            }
            self.evict(cell);
        }
    }

    /// Nothing is under way and nothing will be soon.
    fn can_park(&self, cell: &Arc<Cell>, body: &Body) -> bool {
        let waits_long = match body.state.next_due() {
            None => true,
            Some(due) => due.since(self.env.now()) >= PARK_AFTER,
        };
        waits_long
            // At a stop the agenda is not worked off, so an idle run may still have something to do.
            && !self.is_stopping.load(Ordering::SeqCst)
            && (is_held(cell, body)
                || (body.state.status == RunStatus::Running
                    && body.state.is_idle()
                    && body.agenda.is_empty()
                    && !body.agenda.awaits_commit()))
            && body.pending.commands.is_empty()
            && (body.parked.is_none() || !body.pending.records.is_empty())
            && cell.mailbox.lock().mail.is_empty()
    }

    /// Hands everything decided to the writer in one batch.
    fn flush(self: &Arc<Self>, cell: &Arc<Cell>, body: &mut Body, parks: bool) {
        crate::fault!("turn.flush");
        let mut pending = std::mem::take(&mut body.pending);
        if crate::sabotaged!("start-before-effect") {
            // Kept back until the next batch, so that an effect is sent before its start is on disk.
            let is_start = |record: &Record| matches!(record.body, RecordBody::StepStarted { .. });
            let kept = pending.records.iter().rev().take_while(|record| is_start(record)).count();
            body.pending.records = pending.records.split_off(pending.records.len() - kept);
        }
        cell.taken.lock().clear();
        if pending.records.is_empty() && pending.ops.is_empty() && !parks {
            body.committing = Some(Committing {
                records: 0,
                commands: pending.commands,
                answers: pending.answers,
                parks: None,
                unparks: false,
            });
            return self.on_committed(cell, body, Lsn(0));
        }
        let unparks = body.parked.is_some();
        if let Some(Parked { timer_seq: Some(seq) }) = body.parked {
            pending.ops.push(Op::TimerClear { run: cell.id, seq });
        }
        let is_over = body.state.status.is_terminal();
        let parked = parks.then(|| self.park_ops(cell, body, &mut pending.ops));
        if is_over {
            pending.ops.push(finish_op(cell, body, &pending.records, self.aged(body.state.last_at)));
        } else if unparks && !parks {
            pending.ops.push(Op::RunUnpark { run: cell.id });
        }
        if is_over && self.gates.has(cell.id) {
            pending.ops.push(Op::GateLeave { run: cell.id });
        }
        let children = self.enter_children(&mut pending.ops);
        let interesting = self.triggers.interesting(&pending.records);
        let count = pending.records.len() as u32;
        let copies = self.bus.has_listeners().then(|| pending.records.clone());
        if let Some(outbox) = &self.outbox {
            outbox.prepare(&body.state, &pending.records, parks);
        }
        body.committing = Some(Committing {
            records: count,
            commands: pending.commands,
            answers: pending.answers,
            parks: parked,
            unparks,
        });
        let events = self.events_in(cell.id, &pending.records);
        let messages = self.courier.leaving(&pending.ops);
        let failed_agent = failed_in(&pending.ops);
        let (runtime, owner) = (self.clone(), cell.clone());
        let batch = Batch {
            run: cell.id,
            records: pending.records,
            ops: pending.ops,
            ack: Box::new(move |result| match result {
                Ok(first) => {
                    runtime.triggers.committed(owner.id, first, &interesting);
                    runtime.children_made(children);
                    if is_over {
                        // Before anybody is told: who sees the end may start the next.
                        runtime.leave_gate(owner.id);
                    }
                    runtime.acknowledged(&owner, first, count, copies);
                    runtime.emitted(first, events);
                    runtime.courier.made(messages);
                    failed_agent.into_iter().for_each(|agent| runtime.look_at_agent(agent));
                }
                Err(error) => {
                    runtime.children_lost(children);
                    runtime.courier.lost(&messages);
                    runtime.not_committed(&owner, error);
                }
            }),
        };
        if let Err(error) = self.store.commit(batch) {
            self.not_committed(cell, Arc::new(error));
        }
    }

    /// A batch is not on disk: everything ends when the store has failed, else this run alone.
    pub(super) fn not_committed(self: &Arc<Self>, cell: &Arc<Cell>, error: Arc<Error>) {
        if self.store.failed().is_some() {
            return self.fail(error);
        }
        cell.is_dead.store(true, Ordering::SeqCst);
        let mut cells = self.cells.lock();
        if is_passing(&error) && !self.is_stopping.load(Ordering::SeqCst) {
            // From what is on disk, as after a restart.
            log::error!("run {} is taken up again, because a write of it failed: {error}", cell.id);
            let (asked, kept): (Vec<_>, Vec<_>) =
                cell.mailbox.lock().mail.drain(..).partition(|mail| matches!(mail, Mail::Asked(..)));
            cells.insert(cell.id, Slot::loading(kept, false));
            drop(cells);
            for mail in asked {
                if let Mail::Asked(_, answer) = mail {
                    let _ = answer.send(Err(Refusal::Failed(Error::new(error.code(), error.message()))));
                }
            }
            self.load_later(cell.id);
        } else {
            log::error!("run {} is held until the next start: {error}", cell.id);
            cells.remove(&cell.id);
            drop(cells);
        }
        // One more turn gives back the permit and ends the effects.
        let mut mailbox = cell.mailbox.lock();
        if !std::mem::replace(&mut mailbox.is_scheduled, true) {
            self.jobs.push(Job::Turn(cell.clone()));
        }
    }

    fn park_ops(&self, cell: &Cell, body: &Body, ops: &mut Vec<Op>) -> Parked {
        let timer_seq = body.state.next_due().map(|due| {
            let seq = body.state.next_seq;
            ops.push(Op::TimerSet { run: cell.id, seq, due });
            seq
        });
        ops.push(Op::RunPark {
            run: cell.id,
            status: if is_held(cell, body) { RunStatus::Paused } else { RunStatus::Waiting },
            detail: body.state.waiting_for(),
            lsns: cell.lsns.lock().clone(),
        });
        Parked { timer_seq }
    }

    /// By whoever commits, in the order of the journal; no body of a run may be locked here.
    fn acknowledged(&self, cell: &Arc<Cell>, first: Lsn, count: u32, copies: Option<Vec<Record>>) {
        match copies {
            Some(records) => {
                for (index, record) in records.into_iter().enumerate() {
                    let lsn = Lsn(first.0 + index as i64);
                    self.bus.publish(Note::Record(Arc::new(Committed { lsn, run: cell.id, record })));
                }
            }
            None if count > 0 => self.bus.publish(Note::Uncopied(Lsn(first.0 + i64::from(count) - 1))),
            None => {}
        }
        if let Some(outbox) = &self.outbox {
            outbox.committed(cell.id, first, count);
        }
        let mut mailbox = cell.mailbox.lock();
        mailbox.committed = Some(first);
        self.schedule(cell, &mut mailbox);
    }

    /// Back on a worker: what waited for the disk goes on.
    fn on_committed(self: &Arc<Self>, cell: &Arc<Cell>, body: &mut Body, first: Lsn) {
        crate::fault!("turn.committed");
        let Some(committing) = body.committing.take() else { return };
        cell.lsns.lock().extend((0..i64::from(committing.records)).map(|offset| Lsn(first.0 + offset)));
        if committing.unparks {
            body.parked = None;
            self.parked.fetch_sub(1, Ordering::Relaxed);
        }
        for answer in committing.answers {
            // Nobody may be waiting any more; the record is on disk all the same.
            let _ = answer.send(Ok(()));
        }
        body.agenda.committed();
        let is_over = body.state.status.is_terminal();
        for command in committing.commands {
            self.command(cell, command);
        }
        if is_over {
            self.forget(cell, body);
        } else if let Some(parked) = committing.parks {
            body.parked = Some(parked);
            self.parked.fetch_add(1, Ordering::Relaxed);
            if std::mem::take(&mut body.has_permit) {
                self.release_permit();
            }
            self.evict(cell);
        }
    }

    /// A run that is over leaves memory.
    fn forget(self: &Arc<Self>, cell: &Arc<Cell>, body: &mut Body) {
        cell.show(body.state.status);
        self.count_end(body.state.status);
        cell.abort_effects();
        self.cells.lock().remove(&cell.id);
        let mail = std::mem::take(&mut cell.mailbox.lock().mail);
        for mail in mail {
            match mail {
                Mail::Asked(_, answer) => drop(answer.send(Err(Refusal::Over))),
                // As in `decide`: it may have been taken up again meanwhile.
                Mail::Input(input @ (Input::Tick | Input::Unpause)) => {
                    self.deliver(cell.id, Mail::Input(input));
                }
                Mail::Input(_) | Mail::Settled(_) => {}
            }
        }
        if std::mem::take(&mut body.has_permit) {
            self.release_permit();
        }
    }

    fn count_end(&self, status: RunStatus) {
        match status {
            RunStatus::Completed => self.meters.runs_completed.one(),
            RunStatus::Failed => self.meters.runs_failed.one(),
            RunStatus::Cancelled => self.meters.runs_cancelled.one(),
            _ => {}
        }
    }

    /// A parked run leaves memory unless something came meanwhile.
    fn evict(&self, cell: &Arc<Cell>) {
        let mut cells = self.cells.lock();
        if cell.mailbox.lock().mail.is_empty() && matches!(cells.get(&cell.id), Some(Slot::Live(_))) {
            cells.remove(&cell.id);
            cell.is_dead.store(true, Ordering::SeqCst);
        }
    }

    /// The run cannot go on in this process: parks it with the reason, so that it is seen.
    pub(super) fn give_up(self: &Arc<Self>, cell: &Arc<Cell>, body: &mut Body, error: &Error) {
        cell.is_dead.store(true, Ordering::SeqCst);
        self.cells.lock().remove(&cell.id);
        if std::mem::take(&mut body.has_permit) {
            self.release_permit();
        }
        cell.abort_effects();
        // Nothing else would ever wake it, so a person is asked; taking it up again counts it off.
        if body.parked.is_none() {
            self.count_parked();
        }
        let place = Place { node: NodeId(0), path: Vec::new() };
        let lsns = cell.lsns.lock().clone();
        self.hold(cell.id, &place, &error.to_string(), lsns);
    }
}

/// Whether a person holds the run and what was under way has ended. Its agenda stays as it is: whoever takes the run up
/// again derives it anew.
fn is_held(cell: &Cell, body: &Body) -> bool {
    body.state.paused.is_some()
        && matches!(body.state.status, RunStatus::Running | RunStatus::Pending)
        && cell.effects.lock().is_empty()
        && !body.agenda.awaits_commit()
}

/// Adds a decision to what is pending.
fn take(body: &mut Body, decision: Decision, answer: Option<Answer>) {
    let mut decision = decision;
    match (decision.refused.take(), answer) {
        (Some(refused), Some(answer)) => {
            // Nobody may be waiting any more; nothing has happened.
            let _ = answer.send(Err(Refusal::Refused(refused)));
        }
        (None, Some(mut answer)) => {
            // What has changed nothing, such as the same answer again, is not written down.
            let audit = answer.audit.take().filter(|_| !decision.records.is_empty());
            body.pending.ops.extend(audit.map(|op| *op));
            body.pending.answers.push(answer);
        }
        (_, None) => {}
    }
    body.pending.records.extend(decision.records);
    body.pending.ops.extend(decision.ops);
    body.pending.commands.extend(decision.commands);
    body.pending.is_durable |= decision.is_durable;
}

/// `at`: from when it becomes old.
fn finish_op(cell: &Cell, body: &Body, records: &[Record], at: Timestamp) -> Op {
    let reason = records.iter().rev().find_map(|record| match &record.body {
        RecordBody::RunFailed { error, .. } => Some(error.message.clone()),
        RecordBody::RunCancelled { reason } => Some(reason.clone()),
        _ => None,
    });
    let detail = body.state.error.as_ref().map(|error| error.message.clone()).or(reason);
    Op::RunFinish { run: cell.id, status: body.state.status, detail, at, lsns: cell.lsns.lock().clone() }
}
