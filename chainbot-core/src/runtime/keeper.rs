//! The keeper: a thread that has the store tidied in idle time, and looks whether a full disk has room again.
//!
//! Invariants: one piece of upkeep at a time, each bounded, so that commits of work never wait long; an error of upkeep is
//! logged and tried again later, and stops nobody. What is deleted for its age is old by a time that does not leap, and
//! nothing is deleted of which somebody was not told yet.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::Result;
use crate::id::{DefinitionHash, Lsn, RunId, WorkflowId};
use crate::limits;
use crate::port::upkeep::{Keep, Retention, Room, Tidied, Upkeep};
use crate::port::{Batch, Op, RunFilter, Scope, Store};
use crate::time::Timestamp;

use super::core::Runtime;
use super::outbox::Outbox;

/// Between two pieces when there is more to do: others shall have the disk as well.
const PAUSE: Duration = Duration::from_millis(2);

/// How often the store is asked what time it is at least, while the wall clock is far ahead.
const CLOCK_ASK_EVERY: Duration = Duration::from_secs(3_600);

/// Between two looks for messages of the outbox that are kept long enough; the first comes a minute after a start.
const MESSAGES_EVERY: Duration = Duration::from_secs(3_600);

/// The thread's side of things.
pub(super) struct Keeper {
    rules: Mutex<Retention>,
    clock: Mutex<Believed>,
    /// When old messages are looked for again.
    messages_at: Mutex<Duration>,
    is_closed: Mutex<bool>,
    closed: Condvar,
}

/// The time by which things become old. It follows the wall clock, which may be wrong by years until somebody sets it, at
/// no more than a bounded speed; so a clock that is wrong for an hour makes nothing older than a day.
struct Believed {
    at: Timestamp,
    /// When that was looked at.
    monotonic: Duration,
    /// When the store was asked.
    asked: Duration,
}

impl Believed {
    /// Looks at the clocks.
    fn look(&mut self, wall: Timestamp, monotonic: Duration) -> Timestamp {
        let passed = monotonic.saturating_sub(self.monotonic);
        let reach = self.at.after(passed.saturating_mul(limits::UPKEEP_CLOCK_SPEED_MAX));
        self.at = self.at.max(wall.min(reach));
        self.monotonic = monotonic;
        wall.min(self.at)
    }

    /// Whether the store may be asked again.
    fn may_ask(&mut self) -> bool {
        let is_time = self.monotonic.saturating_sub(self.asked) >= CLOCK_ASK_EVERY;
        if is_time {
            self.asked = self.monotonic;
        }
        is_time
    }

    /// A run some way back says that it is at least so late.
    fn witness(&mut self, at: Timestamp) {
        self.at = self.at.max(at);
    }
}

impl Keeper {
    /// `since`: a time that has certainly come.
    pub(super) fn new(rules: Retention, since: Timestamp, monotonic: Duration) -> Self {
        let clock = Mutex::new(Believed { at: since, monotonic, asked: monotonic });
        let messages_at = Mutex::new(monotonic + MESSAGES_EVERY / 60);
        Self {
            rules: Mutex::new(rules),
            clock,
            messages_at,
            is_closed: Mutex::new(false),
            closed: Condvar::new(),
        }
    }

    pub(super) fn close(&self) {
        *self.is_closed.lock() = true;
        self.closed.notify_all();
    }

    /// Other rules from the next piece on.
    pub(super) fn set_rules(&self, rules: Retention) {
        *self.rules.lock() = rules;
    }

    /// Waits; false when it is to end.
    fn wait(&self, time: Duration) -> bool {
        let mut is_closed = self.is_closed.lock();
        if !*is_closed {
            self.closed.wait_for(&mut is_closed, time);
        }
        !*is_closed
    }
}

/// From where a new process believes the wall clock: when a run some way back was made, so that a clock that was wrong lately
/// is no witness of its own. `None` while there are no runs, which then cannot be old either.
pub(super) fn witnessed(store: &dyn Store) -> Result<Option<Timestamp>> {
    let filter = RunFilter { limit: limits::UPKEEP_CLOCK_RUNS, ..RunFilter::default() };
    let newest = store.runs(&Scope::All, &filter)?;
    Ok(newest.items.last().map(|run| run.created_at))
}

impl Runtime {
    /// From when something becomes old that happens at `at` by the wall clock, which may stand years behind: not before the
    /// latest time that has certainly come.
    pub(super) fn aged(&self, at: Timestamp) -> Timestamp {
        self.keeper.as_ref().map_or(at, |keeper| at.max(keeper.clock.lock().at))
    }

    /// Everybody who is told of the journal was told up to here.
    fn told(&self) -> Lsn {
        let host = self.outbox.as_ref().map_or(Lsn(i64::MAX), Outbox::told);
        host.min(self.triggers.told()).min(self.ears.told())
    }

    pub(super) fn spawn_keeper(self: &Arc<Self>) -> Result<()> {
        if self.keeper.is_none() {
            return Ok(());
        }
        self.spawn_thread("cb-keeper", |runtime| runtime.keep_house())
    }

    fn keep_house(&self) {
        let Some(keeper) = &self.keeper else { return };
        let look = Duration::from_secs(limits::UPKEEP_LOOK_S);
        // Not at once: a start has better things to do.
        let mut pause = look;
        let mut round = Tidied::default();
        while keeper.wait(pause) && self.failure().is_none() {
            pause = if self.tidy_once(keeper, &mut round) { PAUSE } else { look };
        }
    }

    /// One piece of upkeep; true when there is more to do.
    pub(super) fn tidy_once(&self, keeper: &Keeper, round: &mut Tidied) -> bool {
        let room = self.look_for_room();
        let keep = |workflow| self.keep_of(workflow);
        let now = self.believed_now(keeper);
        let upkeep = Upkeep { now, rules: *keeper.rules.lock(), told: self.told(), keep: &keep };
        let more = match self.store.tidy(&upkeep) {
            Ok(done) => {
                add(round, done);
                done.more
            }
            Err(error) => {
                match room {
                    // That is said once, where it is found.
                    Room::None => log::debug!("upkeep: {error}"),
                    _ => log::warn!("upkeep of the database failed and is tried again: {error}"),
                }
                false
            }
        };
        if !more {
            told(&std::mem::take(round));
            self.forget_messages(keeper, now);
        }
        more
    }

    /// Messages that ended long enough ago go, some at a time.
    fn forget_messages(&self, keeper: &Keeper, now: Timestamp) {
        let monotonic = self.env.monotonic();
        {
            let mut next = keeper.messages_at.lock();
            if monotonic < *next {
                return;
            }
            *next = monotonic + MESSAGES_EVERY;
        }
        let kept = i64::try_from(keeper.rules.lock().outbox.as_millis()).unwrap_or(i64::MAX);
        let op =
            Op::OutboxPrune { before: Timestamp(now.0.saturating_sub(kept)), keep: limits::OUTBOX_KEPT_MAX };
        let batch = Batch {
            run: RunId::from([0; 16]),
            records: Vec::new(),
            ops: vec![op],
            // What could not be forgotten now is forgotten later.
            ack: Box::new(|_| {}),
        };
        if let Err(error) = self.store.submit(batch) {
            log::debug!("old messages are forgotten later: {error}");
        }
    }

    fn believed_now(&self, keeper: &Keeper) -> Timestamp {
        let (wall, monotonic) = (self.env.now(), self.env.monotonic());
        let mut clock = keeper.clock.lock();
        let now = clock.look(wall, monotonic);
        // Far behind, as after the first start of a machine whose clock was set later.
        let is_behind = wall.since(now) > Duration::from_secs(limits::UPKEEP_CLOCK_BEHIND_S);
        if is_behind
            && clock.may_ask()
            && let Ok(Some(at)) = witnessed(&*self.store)
        {
            clock.witness(at);
            return clock.look(wall, monotonic);
        }
        now
    }

    /// What the current version of a workflow's definition says.
    fn keep_of(&self, workflow: WorkflowId) -> Keep {
        match self
            .current_hash(workflow)
            .and_then(|hash| hash.map(|hash| self.programs.get(hash).map(|program| program.keep)).transpose())
        {
            Ok(keep) => keep.map_or_else(Keep::default, |keep| Keep {
                completed: keep.completed,
                failed: keep.failed,
                runs_max: keep.max_runs,
            }),
            Err(error) => {
                log::warn!(
                    "`keep` of workflow {workflow} cannot be read, so the configuration counts: {error}"
                );
                Keep::default()
            }
        }
    }

    /// From memory when it is known there: upkeep asks for every workflow again and again.
    fn current_hash(&self, workflow: WorkflowId) -> Result<Option<DefinitionHash>> {
        let reference = workflow.to_string();
        if let Some(head) = self.heads.find(&Scope::All, &reference) {
            return Ok(Some(head.hash));
        }
        let before = self.heads.before();
        let stored = self.store.workflow(&Scope::All, workflow)?;
        // What is kept there can be started, and a deleted one cannot.
        if let Some(stored) = stored.as_ref().filter(|stored| stored.deleted_at.is_none()) {
            self.heads.keep(before, &reference, stored);
        }
        Ok(stored.map(|stored| stored.hash))
    }

    fn look_for_room(&self) -> Room {
        self.store.restore_room().unwrap_or_else(|error| {
            log::warn!("{error}");
            self.store.room()
        })
    }
}

fn add(round: &mut Tidied, done: Tidied) {
    round.archived += done.archived;
    round.deleted += done.deleted;
    round.keys += done.keys;
    round.forgotten += done.forgotten;
    round.audit += done.audit;
    round.workflows += done.workflows;
    round.pages += done.pages;
}

fn told(round: &Tidied) {
    if *round != Tidied::default() {
        log::info!(
            "upkeep: {} runs archived, {} deleted, {} keys, {} workflows, {} rows of the audit log and {} memories of agents removed, {} pages given back",
            round.archived,
            round.deleted,
            round.keys,
            round.workflows,
            round.audit,
            round.forgotten,
            round.pages
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

    #[test]
    fn a_clock_that_leaps_ten_years_makes_nothing_old() {
        let start = Timestamp(1_800_000_000_000);
        let mut clock = Believed { at: start, monotonic: Duration::ZERO, asked: Duration::ZERO };
        assert_eq!(
            clock.look(start.after(HOUR), HOUR),
            start.after(HOUR),
            "it follows a clock that is right"
        );
        let leapt = start.after(TEN_YEARS);
        let after = clock.look(leapt, 2 * HOUR);
        assert_eq!(after.since(start.after(HOUR)), 24 * HOUR, "an hour makes a day at most");
        let right = start.after(3 * HOUR);
        assert_eq!(clock.look(right, 3 * HOUR), right, "a clock that was set right is believed at once");
        let early = Timestamp(0);
        assert_eq!(clock.look(early, 4 * HOUR), early, "and nothing is older than the clock says");
    }

    #[test]
    fn a_month_without_power_is_caught_up_in_days() {
        let start = Timestamp(1_800_000_000_000);
        let mut clock = Believed { at: start, monotonic: Duration::ZERO, asked: Duration::ZERO };
        let month = 720 * HOUR;
        for hour in 1..=32 {
            clock.look(start.after(month + hour * HOUR), hour * HOUR);
        }
        let wall = start.after(month + 33 * HOUR);
        assert_eq!(clock.look(wall, 33 * HOUR), wall);
    }
}
