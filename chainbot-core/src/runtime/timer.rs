//! The timer thread: wakes runs when they are due, and looks after the workers and the store.
//!
//! Invariants: a run is never woken early; a run woken twice finds nothing to do the second time. While the wall clock stands
//! before what the last process has left (a Pi boots without a clock) nothing is due, for an hour at most. The heap is rebuilt from the store at start.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::engine::Input;
use crate::error::Result;
use crate::id::RunId;
use crate::time::Timestamp;

use super::cell::Mail;
use super::core::Runtime;

/// How often the wall clock and the workers are looked at when nothing is due: a clock that is set forward makes
/// timers due without telling anybody.
const LOOK: Duration = Duration::from_millis(250);

/// The heap of moments.
#[derive(Default)]
pub(super) struct Timers {
    heap: Mutex<Heap>,
    changed: Condvar,
}

#[derive(Default)]
struct Heap {
    moments: BinaryHeap<Reverse<(Timestamp, RunId)>>,
    is_closed: bool,
}

impl Timers {
    /// Wakes the run at `due`.
    pub(super) fn arm(&self, due: Timestamp, run: RunId) {
        let mut heap = self.heap.lock();
        let is_first = heap.moments.peek().is_none_or(|Reverse((first, _))| due < *first);
        heap.moments.push(Reverse((due, run)));
        if is_first {
            self.changed.notify_one();
        }
    }

    pub(super) fn close(&self) {
        self.heap.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Waits until something is due, or for one look. `None` when closed.
    fn next(&self, now: impl Fn() -> Timestamp, floor: Timestamp) -> Option<Option<(Timestamp, RunId)>> {
        let mut heap = self.heap.lock();
        if heap.is_closed {
            return None;
        }
        match heap.due(now(), floor) {
            Ok(found) => return Some(Some(found)),
            Err(wait) => self.changed.wait_for(&mut heap, wait.min(LOOK)),
        };
        if heap.is_closed { None } else { Some(None) }
    }

    /// Who is due, or how long nobody is. Waits for nothing.
    #[cfg(test)]
    pub(super) fn poll(&self, now: Timestamp, floor: Timestamp) -> std::result::Result<RunId, Duration> {
        self.heap.lock().due(now, floor).map(|(_, run)| run)
    }
}

impl Heap {
    /// Takes out who is due, and since when; else how long nobody is, as the clock stands.
    fn due(&mut self, now: Timestamp, floor: Timestamp) -> std::result::Result<(Timestamp, RunId), Duration> {
        match self.moments.peek() {
            Some(_) if now < floor => Err(floor.since(now)),
            Some(Reverse((due, run))) if *due <= now => {
                let found = (*due, *run);
                self.moments.pop();
                Ok(found)
            }
            Some(Reverse((due, _))) => Err(due.since(now)),
            None => Err(Duration::MAX),
        }
    }
}

#[cfg(feature = "fault")]
impl Runtime {
    /// The clock of a test has moved, which tells nobody.
    pub fn look_at_the_clock(&self) {
        drop(self.timers.heap.lock());
        self.timers.changed.notify_one();
        self.wake_triggers();
    }
}

impl Runtime {
    pub(super) fn spawn_timer(self: &Arc<Self>) -> Result<()> {
        self.spawn_thread("cb-timer", |runtime| {
            while let Some(due) = runtime.timers.next(|| runtime.env.now(), runtime.clock_floor()) {
                match due {
                    Some((due, run)) => {
                        crate::fault!("timer.due");
                        let late_ms = runtime.env.now().0.saturating_sub(due.0);
                        let late = Duration::from_millis(u64::try_from(late_ms).unwrap_or(0));
                        runtime.meters.timer_lateness.time(late);
                        runtime.deliver(run, Mail::Input(Input::Tick));
                    }
                    None => {
                        runtime.watch_store();
                        runtime.watch_workers();
                    }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_due_while_the_clock_stands_before_the_newest_record() {
        let timers = Timers::default();
        timers.arm(Timestamp(5), RunId::from([1; 16]));
        assert_eq!(timers.next(|| Timestamp(10), Timestamp(100)), Some(None));
        assert_eq!(
            timers.next(|| Timestamp(100), Timestamp(100)),
            Some(Some((Timestamp(5), RunId::from([1; 16]))))
        );
    }

    #[test]
    fn the_earliest_is_first_and_never_early() {
        let timers = Timers::default();
        timers.arm(Timestamp(30), RunId::from([3; 16]));
        timers.arm(Timestamp(20), RunId::from([2; 16]));
        assert_eq!(timers.next(|| Timestamp(19), Timestamp(0)), Some(None));
        assert_eq!(
            timers.next(|| Timestamp(20), Timestamp(0)),
            Some(Some((Timestamp(20), RunId::from([2; 16]))))
        );
    }
}
