//! The timer thread: wakes runs when they are due, and looks after the workers and the store.
//!
//! Invariants: a run is never woken early; a run woken twice finds nothing to do the second time. While the wall clock stands
//! before the newest record (a Pi boots without a clock) nothing is due. The heap is rebuilt from the store at start.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::engine::Input;
use crate::error::code::general;
use crate::error::{Error, Result};
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
        let now_is = now();
        let wait = match heap.moments.peek() {
            Some(_) if now_is < floor => LOOK,
            Some(Reverse((due, run))) if *due <= now_is => {
                let found = (*due, *run);
                heap.moments.pop();
                return Some(Some(found));
            }
            Some(Reverse((due, _))) => due.since(now_is).min(LOOK),
            None => LOOK,
        };
        self.changed.wait_for(&mut heap, wait);
        if heap.is_closed { None } else { Some(None) }
    }
}

impl Runtime {
    pub(super) fn spawn_timer(self: &Arc<Self>) -> Result<()> {
        let runtime = self.clone();
        let thread = std::thread::Builder::new()
            .name("cb-timer".to_owned())
            .spawn(move || {
                while let Some(due) = runtime.timers.next(|| runtime.env.now(), runtime.clock_floor) {
                    match due {
                        Some((due, run)) => {
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
            .map_err(|error| Error::new(&general::INTERNAL, "no thread can be started").because(error))?;
        // Joined by `stop`.
        self.threads.lock().push(thread);
        Ok(())
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
