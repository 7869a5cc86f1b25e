//! Start and stop: takes up everything unfinished, and lets go of it in order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde_json::json;
use tokio::sync::{Semaphore, watch};

use crate::engine::{CANCEL_TIMER_SEQ, Input};
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::id::{InboxId, Lsn, RunId};
use crate::limits;
use crate::model::{Place, Record, RunStatus};
use crate::port::{Batch, InboxKind, Op, Recovery, Scope};
use crate::store::note::NoteFile;

use super::admission::Admission;
use super::bus::Bus;
use super::cell::{Cell, Mail};
use super::core::{Jobs, Options, Runtime, Slot, default_workers};
use super::ears::Ears;
use super::gates::Stood;
use super::heads::Heads;
use super::keeper::Keeper;
use super::load::Source;
use super::outbox::Outbox;
use super::poison::{Held, Poison};
use super::programs::Programs;
use super::timer::Timers;

/// At stop, what is left of the deadline for the threads after the effects had their time.
const STOP_RESERVE: Duration = Duration::from_millis(1_000);
/// Why a run is cancelled whose cancel the last process had decided and not carried out.
const GIVEN_UP: &str = "whoever made it gave it up before the process ended";

impl Runtime {
    /// Recovers and begins to work. Blocks on the disk.
    pub fn start(options: Options) -> Result<Arc<Self>> {
        let workers = if options.workers == 0 { default_workers() } else { options.workers };
        let runtime = Self::recovered(options)?;
        // Whatever of the rest fails or panics, no thread of a runtime that nobody has stays behind.
        let mut unfinished = Unfinished(Some(runtime.clone()));
        for _ in 0..workers {
            runtime.spawn_worker()?;
        }
        runtime.spawn_timer()?;
        runtime.spawn_outbox()?;
        runtime.spawn_ears();
        runtime.spawn_courier();
        runtime.spawn_triggers()?;
        runtime.spawn_keeper()?;
        crate::fault!("start.begun", crate::error::Error::on_purpose);
        unfinished.0 = None;
        Ok(runtime)
    }

    /// Everything that was left is taken up, and nobody works on it yet.
    pub(super) fn recovered(options: Options) -> Result<Arc<Self>> {
        let note_file = options.poison_file.as_deref().map(NoteFile::open).transpose()?.map(Arc::new);
        crate::fault!("start.recover", crate::error::Error::on_purpose);
        let recovery = options.store.recover()?;
        let listens = options.store.listens()?;
        let (wall, monotonic) = (options.env.now(), options.env.monotonic());
        let witnessed = super::keeper::witnessed(&*options.store)?;
        let keeper = options.retention.map(|rules| Keeper::new(rules, witnessed.unwrap_or(wall), monotonic));
        // One record from a time when the clock stood ahead proves nothing.
        let newest = recovery.newest.unwrap_or_default();
        let floor = witnessed.map_or(newest, |witnessed| newest.min(witnessed));
        if wall < floor {
            log::warn!(
                "the clock says {wall}, which is before {floor}: timers wait until it is set, or for an hour"
            );
        }
        let messages = options.store.outbox_pending()?;
        let held = options.store.inbox(&Scope::All)?.iter().filter_map(Held::of).collect();
        let runtime = Arc::new(Self {
            programs: Programs::new(options.store.clone()),
            published: super::published::Seen::default(),
            known: RwLock::new(Arc::new(options.known)),
            pins: options.pins,
            heads: Arc::new(Heads::default()),
            store: options.store,
            executors: options.executors,
            env: options.env,
            defaults: RwLock::new(Arc::new(options.defaults)),
            meters: options.meters,
            tokio: options.tokio,
            admission: Admission::new(options.runs_max, options.queued_max),
            bus: Bus::new(),
            outbox: options.host_bus.map(Outbox::new),
            timers: Timers::default(),
            triggers: super::trigger::Triggers::new(options.signing_keys),
            gates: super::gates::Gates::default(),
            poison: Poison::new(note_file, held),
            ears: Ears::new(listens),
            effects: Arc::new(Semaphore::new(limits::EFFECTS_MAX)),
            asides: Arc::new(Semaphore::new(limits::ASIDES_MAX)),
            effects_running: AtomicUsize::new(0),
            parked: AtomicUsize::new(recovery.parked),
            written_off: AtomicUsize::new(0),
            cells: Mutex::new(HashMap::new()),
            jobs: Jobs::default(),
            workers: Mutex::default(),
            threads: Mutex::default(),
            is_stopping: AtomicBool::new(false),
            failure: watch::Sender::new(None),
            keys: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
            shown: Mutex::default(),
            workflows: tokio::sync::Mutex::new(()),
            keeper,
            courier: super::courier::Courier::new(messages),
            floor,
            began: monotonic,
            #[cfg(test)]
            is_stepped: options.workers == super::tests::STEPPED,
        });
        let automation = runtime.store.automation()?;
        let live: HashSet<RunId> = recovery.live.iter().map(|(run, _)| *run).collect();
        let begun: HashSet<RunId> =
            recovery.live.iter().filter(|(_, all)| has_begun(all)).map(|(run, _)| *run).collect();
        let waiting: HashSet<RunId> = automation
            .gates
            .iter()
            .filter(|row| row.paused)
            .filter_map(|row| {
                runtime.waits_for_its_turn(row.run).map(|waits| waits.then_some(row.run)).transpose()
            })
            .collect::<Result<_>>()?;
        let (ousted, let_in) = runtime.gates.recover(automation.gates, |row| {
            if waiting.contains(&row.run) {
                Stood::Held
            } else if row.parked || !live.contains(&row.run) || begun.contains(&row.run) {
                Stood::Begun
            } else {
                Stood::Waited
            }
        });
        runtime.load_triggers(automation.triggers, automation.disabled, automation.restored_at)?;
        runtime.recover(recovery, ousted);
        let_in.into_iter().for_each(|run| runtime.deliver(run, Mail::Input(Input::Unpause)));
        crate::fault!("start.recovered", crate::error::Error::on_purpose);
        Ok(runtime)
    }

    /// Takes up what the last process left. `ousted`: whose place another has taken.
    fn recover(self: &Arc<Self>, recovery: Recovery, ousted: Vec<RunId>) {
        let mut ending: HashMap<RunId, &'static str> =
            ousted.into_iter().map(|run| (run, super::launch::OUSTED)).collect();
        let given_up = recovery.timers.iter().filter(|timer| timer.seq == CANCEL_TIMER_SEQ);
        ending.extend(given_up.map(|timer| (timer.run, GIVEN_UP)));
        if !recovery.live.is_empty() || recovery.parked > 0 {
            log::info!("{} unfinished runs go on, {} more wait", recovery.live.len(), recovery.parked);
        }
        for timer in recovery.timers.iter().filter(|timer| timer.seq != CANCEL_TIMER_SEQ) {
            self.timers.arm(timer.due, timer.run);
        }
        for (run, records) in recovery.live {
            let lsns = records.iter().map(|(lsn, _)| *lsn).collect();
            if let Err(error) = self.take_up(run, records, ending.remove(&run)) {
                let place = Place { node: crate::id::NodeId(0), path: Vec::new() };
                self.hold(run, &place, &error.to_string(), lsns);
                self.parked.fetch_add(1, Ordering::Relaxed);
            }
        }
        // The others are parked.
        for (run, reason) in ending {
            self.deliver(run, Mail::Input(Input::Cancel { reason: reason.to_owned() }));
        }
    }

    /// `ending`: why it is to be cancelled.
    fn take_up(
        self: &Arc<Self>,
        run: RunId,
        records: Vec<(Lsn, Record)>,
        ending: Option<&'static str>,
    ) -> Result<()> {
        if let Some(reason) = ending {
            return self.take_up_ending(run, records, reason.to_owned());
        }
        if let Some(Held { node, reason, .. }) = self.poison.holds(run) {
            let lsns = records.iter().map(|(lsn, _)| *lsn).collect();
            self.hold(run, &Place { node, path: Vec::new() }, &reason, lsns);
            self.parked.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        crate::fault!("start.take_up", crate::error::Error::on_purpose);
        let loaded = self.fold(run, records, None)?;
        if loaded.state.status == RunStatus::Pending {
            // It never began: its row is enough until there is a permit, unless signals came already.
            if loaded.lsns.len() > 1 {
                let cell = Arc::new(Cell::new(loaded.state, loaded.lsns, None, false));
                self.cells.lock().insert(run, Slot::Live(cell));
            }
            if self.gates.lets_in(run) {
                self.admit(run, Source::Queue);
            }
            return Ok(());
        }
        let has_permit = self.admission.try_take();
        let cell = Arc::new(Cell::new(loaded.state, loaded.lsns, None, has_permit));
        self.cells.lock().insert(run, Slot::Live(cell.clone()));
        self.post(&cell, Mail::Input(Input::Resume { under_way: Vec::new() }));
        Ok(())
    }

    /// A run that the last process was to cancel: it begins nothing first, and what was under way is not sent again.
    fn take_up_ending(
        self: &Arc<Self>,
        run: RunId,
        records: Vec<(Lsn, Record)>,
        reason: String,
    ) -> Result<()> {
        let is_held = self.poison.holds(run).is_some();
        let loaded = self.fold(run, records, None)?;
        let has_begun = loaded.state.status != RunStatus::Pending;
        let cell = Arc::new(Cell::new(loaded.state, loaded.lsns, None, false));
        self.cells.lock().insert(run, Slot::Live(cell.clone()));
        if is_held {
            self.post(&cell, Mail::Input(Input::Abandon { reason }));
            return Ok(());
        }
        self.post(&cell, Mail::Input(Input::Cancel { reason }));
        if has_begun {
            self.post(&cell, Mail::Input(Input::Resume { under_way: Vec::new() }));
        }
        Ok(())
    }

    /// Parks a run for a person.
    pub(super) fn hold(self: &Arc<Self>, run: RunId, place: &Place, reason: &str, lsns: Vec<Lsn>) {
        log::error!("run {run} is held: {reason}");
        let runtime = self.clone();
        let at = self.env.now();
        let question = json!({
            "message": format!("run {run} is held: {reason}"), "node": place.node, "reason": reason,
            "choices": ["retry", "fail"],
        });
        let id = InboxId::from(*run.as_bytes());
        let park =
            Op::RunPark { run, status: RunStatus::Waiting, detail: Some(format!("held: {reason}")), lsns };
        let mut ops = Vec::with_capacity(2);
        // Each try to wake it holds it again, and a person is asked once.
        match self.store.inbox(&Scope::All) {
            Ok(open) if open.iter().any(|other| other.id == id) => {}
            Ok(_) => ops.push(Op::InboxPut {
                id,
                run,
                place: place.clone(),
                kind: InboxKind::Poison,
                question,
                at,
            }),
            Err(error) => return log::error!("run {run}: the inbox cannot be read: {error}"),
        }
        ops.push(park);
        let batch = Batch {
            run,
            records: Vec::new(),
            ops,
            ack: Box::new(move |result| {
                if let Err(error) = result {
                    runtime.not_held(run, error);
                }
            }),
        };
        if let Err(error) = self.store.submit(batch) {
            self.not_held(run, Arc::new(error));
        }
    }

    /// A run that is held is nowhere in memory, so a refused write about it stops nobody.
    fn not_held(&self, run: RunId, error: Arc<Error>) {
        if self.store.failed().is_some() {
            return self.fail(error);
        }
        log::error!("run {run} is held, and its row does not say so: {error}");
    }

    /// Refuses new work, gives effects under way their time, and ends every thread. Runs go on at the next start from their
    /// last durable record. `Err` names what was left.
    pub async fn stop(&self, deadline: Duration) -> Result<()> {
        crate::fault!("stop.begin");
        self.is_stopping.store(true, Ordering::SeqCst);
        let begun = self.env.monotonic();
        let reserve = STOP_RESERVE.min(deadline / 2);
        let patience = deadline.saturating_sub(reserve);
        while self.failure().is_none() && self.env.monotonic() - begun < patience && self.is_busy() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Effects that still wait for their turn are not sent any more.
        self.effects.close();
        let left = self.effects_running.load(Ordering::SeqCst);
        self.end_threads();
        self.ears.close().await;
        self.courier.close().await;
        let rest = deadline.saturating_sub(self.env.monotonic() - begun).max(reserve);
        crate::fault!("stop.join");
        let joined = self.join_threads(rest);
        self.abort_effects();
        self.cells.lock().clear();
        if let Err(threads) = joined {
            return Err(Error::new(
                &general::TIMEOUT,
                format!("{threads} threads of the engine did not end"),
            )
            .help("stop again, or end the process: no acknowledged work is lost"));
        }
        if left > 0 {
            log::warn!(
                "{left} effects were under way at the end of the stop; the next start decides about them"
            );
        }
        Ok(())
    }

    /// Tells every thread to end.
    fn end_threads(&self) {
        self.triggers.close();
        self.timers.close();
        self.jobs.close();
        if let Some(outbox) = &self.outbox {
            outbox.close();
        }
        if let Some(keeper) = &self.keeper {
            keeper.close();
        }
    }

    /// Whether an effect is under way or its outcome is not on disk. Looked at on both sides of the count: an outcome goes
    /// from the count to a mailbox, and a commit that was under way may have sent an effect.
    pub(super) fn is_busy(&self) -> bool {
        self.is_committing() || self.effects_running.load(Ordering::SeqCst) > 0 || self.is_committing()
    }

    /// Whether a run's mail or records are on their way to the disk.
    fn is_committing(&self) -> bool {
        let cells: Vec<Arc<Cell>> = self
            .cells
            .lock()
            .values()
            .filter_map(|slot| match slot {
                Slot::Live(cell) => Some(cell.clone()),
                Slot::Loading { .. } => None,
            })
            .collect();
        cells.iter().any(|cell| {
            cell.mailbox.lock().is_scheduled
                || cell.body.try_lock().is_none_or(|body| body.committing.is_some())
        })
    }

    fn abort_effects(&self) {
        for slot in self.cells.lock().values_mut() {
            match slot {
                Slot::Live(cell) => cell.abort_effects(),
                Slot::Loading { effects, .. } => effects.abort_all(),
            }
        }
    }
}

/// A runtime that is not whole yet.
struct Unfinished(Option<Arc<Runtime>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(runtime) = self.0.take() else { return };
        runtime.is_stopping.store(true, Ordering::SeqCst);
        runtime.effects.close();
        runtime.ears.abandon();
        runtime.end_threads();
        if let Err(left) = runtime.join_threads(STOP_RESERVE) {
            log::error!("{left} threads of a start that failed did not end");
        }
        runtime.abort_effects();
        runtime.cells.lock().clear();
    }
}

/// Whether a run had its permit before.
fn has_begun(records: &[(Lsn, Record)]) -> bool {
    records.iter().any(|(_, record)| matches!(record.body, crate::model::RecordBody::RunStarted))
}
