//! The thread of the triggers: looks at the clock, at what came in, and at what the journal tells.
//!
//! A schedule never fires early: nothing is due while the clock stands before what the last process has left (a Pi
//! boots without a clock; see [`Runtime::clock_floor`]). A clock that goes back moves every schedule to its next time from there; a time that had
//! its run before is known by its key and has no second one.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::id::{Lsn, RunId};
use crate::time::Timestamp;

use super::super::core::Runtime;
use super::fire::{Fired, Occasion};
use super::own::time_event;
use super::table::Armed;
use super::{CURSOR, Inbound, Triggers};

/// How often the clock is looked at when nothing is due: one that is set tells nobody.
const LOOK: Duration = Duration::from_millis(250);
/// A wall clock that loses this much against the monotonic one was set back.
const SET_BACK_MS: i64 = 1_500;
/// How long the cursor may stay behind: what was offered in that time is offered again after a crash.
const CURSOR_EVERY: Duration = Duration::from_secs(1);

/// What there is to do.
enum Work {
    Own(Lsn, RunId),
    CatchUp,
    Inbound(Inbound),
    Look,
    End,
}

/// What the thread does after one piece of work.
pub(in crate::runtime) enum Next {
    Go,
    /// Nothing is left to do; something is due after this time.
    Idle(Duration),
    /// What was tried cannot be done now.
    Later,
    End,
}

/// Where the thread stands.
pub(in crate::runtime) struct Watch {
    /// Own events up to here were offered.
    offered: Lsn,
    saved: Lsn,
    saved_at: Duration,
    /// The wall clock stood where it may be believed once: from then on it is, also backwards.
    is_plausible: bool,
    /// The clocks at the last look.
    wall: Timestamp,
    monotonic: Duration,
}

impl Triggers {
    /// Waits until something comes, or for one look.
    fn rest(&self, time: Duration) {
        let mut queue = self.queue.lock();
        let has_work =
            !queue.inbound.is_empty() || !queue.own.is_empty() || queue.is_behind || queue.is_closed;
        if !std::mem::take(&mut queue.is_changed) && !has_work {
            self.changed.wait_for(&mut queue, time.clamp(Duration::from_millis(1), LOOK));
        }
    }

    /// Waits although there is something to do.
    fn pause(&self) {
        let mut queue = self.queue.lock();
        if !queue.is_closed {
            self.changed.wait_for(&mut queue, LOOK);
        }
    }
}

impl Runtime {
    /// Where the last process was.
    pub(in crate::runtime) fn triggers_left(self: &Arc<Self>) -> Result<Watch> {
        let newest = self.store.newest_lsn()?;
        let from = match self.store.cursor(CURSOR)? {
            Some(from) => from,
            None => newest,
        };
        {
            let mut queue = self.triggers.queue.lock();
            queue.newest = newest;
            queue.saved = from;
            queue.is_behind =
                self.triggers.listens.load(std::sync::atomic::Ordering::SeqCst) && from < newest;
        }
        let (wall, monotonic) = (self.env.now(), self.env.monotonic());
        let is_plausible = wall >= self.clock_floor();
        // At the first look too: the clock may have been set while nothing ran.
        if is_plausible {
            self.re_anchor(wall);
        }
        Ok(Watch { offered: from, saved: from, saved_at: monotonic, is_plausible, wall, monotonic })
    }

    /// Starts the thread, from where the last one was.
    pub(in crate::runtime) fn spawn_triggers(self: &Arc<Self>) -> Result<()> {
        let mut watch = self.triggers_left()?;
        self.spawn_thread("cb-triggers", move |runtime| {
            loop {
                match runtime.watch_once(&mut watch) {
                    Next::Go => {}
                    Next::Idle(time) => runtime.triggers.rest(time),
                    Next::Later => runtime.triggers.pause(),
                    Next::End => return,
                }
            }
        })
    }

    /// One piece of work; waits for nothing but the disk.
    pub(in crate::runtime) fn watch_once(self: &Arc<Self>, watch: &mut Watch) -> Next {
        match self.next_work() {
            Work::Own(lsn, run) => match self.offer_own(lsn, run) {
                Ok(true) => {
                    watch.offered = watch.offered.max(lsn);
                    Next::Go
                }
                Ok(false) => self.put_back(Some((lsn, run)), None),
                Err(error) => self.cannot_read(&error),
            },
            Work::CatchUp => match self.catch_up_own(watch.offered) {
                Ok((reached, more)) => {
                    let is_stuck = reached == watch.offered && more;
                    watch.offered = reached;
                    let mut queue = self.triggers.queue.lock();
                    queue.is_behind = more || reached < queue.newest;
                    if is_stuck { Next::Later } else { Next::Go }
                }
                Err(error) => self.cannot_read(&error),
            },
            Work::Inbound(inbound) => self.offer_inbound(inbound),
            Work::Look => self.look(watch),
            Work::End => {
                self.save_progress(watch, Duration::ZERO);
                Next::End
            }
        }
    }

    fn next_work(&self) -> Work {
        let is_over = self.failure().is_some();
        let mut queue = self.triggers.queue.lock();
        if is_over {
            return Work::End;
        }
        if let Some(inbound) = queue.inbound.pop_front() {
            return Work::Inbound(inbound);
        }
        if queue.is_closed {
            return Work::End;
        }
        if queue.is_behind {
            queue.own.clear();
            return Work::CatchUp;
        }
        match queue.own.pop_front() {
            Some((lsn, run)) => Work::Own(lsn, run),
            None => Work::Look,
        }
    }

    /// Not now: room has to be made first.
    fn put_back(&self, own: Option<(Lsn, RunId)>, inbound: Option<Inbound>) -> Next {
        let mut queue = self.triggers.queue.lock();
        if let Some(own) = own {
            queue.own.push_front(own);
        }
        if let Some(inbound) = inbound {
            let event = &inbound.event;
            if queue.is_closed {
                log::error!(
                    "event {} on {} was accepted and found no room until the stop",
                    event.id,
                    event.topic
                );
                return Next::Go;
            }
            queue.inbound.push_front(inbound);
        }
        Next::Later
    }

    fn cannot_read(&self, error: &Error) -> Next {
        log::error!("triggers cannot be told what happened: {error}");
        self.triggers.queue.lock().is_behind = true;
        Next::Later
    }

    /// Every trigger gets its own try; those that fired are known by their key when the event is put back for the others.
    fn offer_inbound(self: &Arc<Self>, inbound: Inbound) -> Next {
        let event = &inbound.event;
        let asking = match &inbound.to {
            Some(id) => vec![id.clone()],
            None => self.triggers.table.lock().topics.matches(&event.topic),
        };
        for id in asking {
            let Some(armed) = self.triggers.table.lock().live(&id) else { continue };
            if let Fired::Later(error) = self.fire(&armed, Occasion::of(event.clone(), 0)) {
                log::debug!("event {} waits: {error}", event.id);
                return self.put_back(None, Some(inbound));
            }
        }
        Next::Go
    }

    fn look(self: &Arc<Self>, watch: &mut Watch) -> Next {
        crate::fault!("trigger.look");
        let (now, monotonic) = (self.env.now(), self.env.monotonic());
        let passed =
            i64::try_from((monotonic.saturating_sub(watch.monotonic)).as_millis()).unwrap_or(i64::MAX);
        let was_set_back = now.0 < watch.wall.0.saturating_add(passed).saturating_sub(SET_BACK_MS);
        let became_plausible = !watch.is_plausible && now >= self.clock_floor();
        watch.is_plausible |= became_plausible;
        (watch.wall, watch.monotonic) = (now, monotonic);
        if was_set_back {
            log::warn!("the clock was set back; schedules go on from {now}");
        }
        if watch.is_plausible && (was_set_back || became_plausible) {
            self.re_anchor(now);
        }
        let (due, next) = self.triggers.table.lock().due(now);
        if watch.is_plausible && !due.is_empty() {
            let fired = due.iter().map(|armed| self.fire_due(armed, now)).filter(|fired| *fired).count();
            if fired > 0 {
                return Next::Go;
            }
        }
        self.save_progress(watch, CURSOR_EVERY);
        self.triggers.looks.send_modify(|looks| *looks += 1);
        Next::Idle(next.map_or(Duration::MAX, |next| next.since(now)))
    }

    /// Fires a schedule for what is due. False: not now.
    fn fire_due(self: &Arc<Self>, armed: &Armed, now: Timestamp) -> bool {
        let (Some(schedule), Some(mut from)) = (&armed.trigger.schedule, armed.due) else { return false };
        let restored = self.triggers.table.lock().restored_at.filter(|restored| from <= *restored);
        if let Some(restored) = restored {
            // Whether they had their runs after the backup was made, nobody knows here; so none is started twice.
            let note = Some(format!("times since {from} were before a backup was put in place"));
            return self.pass(armed, (Some(from), schedule.next(restored)), note).is_ok();
        }
        let due = schedule.due(from, now, armed.missed());
        if due.dropped {
            log::warn!(
                "workflow `{}`: times of `{}` were missed since {from}",
                armed.name,
                armed.trigger.source.describe()
            );
        }
        if due.fire.is_empty() {
            let note = Some(format!("times since {from} were missed"));
            return self.pass(armed, (Some(from), due.next), note).is_ok();
        }
        for (index, time) in due.fire.iter().enumerate() {
            let then = due.fire.get(index + 1).copied().or(due.next);
            let event = time_event(&armed.id.key, *time, now);
            let occasion = Occasion { moves: (Some(from), then), ..Occasion::of(event, 0) };
            if let Fired::Later(error) = self.fire(armed, occasion) {
                log::debug!("workflow `{}`: its time waits: {error}", armed.name);
                return false;
            }
            let Some(then) = then else { break };
            from = then;
        }
        true
    }

    /// Moves schedules whose next time is not the next one of the clock as it stands.
    fn re_anchor(self: &Arc<Self>, now: Timestamp) {
        let all: Vec<Armed> = self.triggers.table.lock().all.values().cloned().collect();
        for armed in all {
            let Some(due) = armed.due.filter(|due| *due > now) else { continue };
            let next = armed.trigger.schedule.as_ref().and_then(|schedule| schedule.next(now));
            if next.is_some_and(|next| next < due)
                && let Err(error) =
                    self.pass(&armed, (Some(due), next), Some("the clock was set back".to_owned()))
            {
                log::error!("workflow `{}`: its schedule cannot be moved: {error}", armed.name);
            }
        }
    }

    /// Keeps how far own events were offered, when the last time is `every` ago.
    fn save_progress(&self, watch: &mut Watch, every: Duration) {
        let queue = self.triggers.queue.lock();
        if queue.own.is_empty() && !queue.is_behind {
            watch.offered = watch.offered.max(queue.newest);
        }
        drop(queue);
        let now = self.env.monotonic();
        if watch.offered > watch.saved && now.saturating_sub(watch.saved_at) >= every {
            (watch.saved, watch.saved_at) = (watch.offered, now);
            self.save_cursor(watch.saved);
        }
    }
}
