//! Permits: how many runs are at work at once. A run that waits holds none; a queued run is an id.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::id::RunId;

use super::cell::Cell;

/// The permits and the queue for them, first come first served; runs that were at work before go first.
pub(super) struct Admission {
    state: Mutex<State>,
}

struct State {
    max: usize,
    queued_max: usize,
    active: usize,
    queue: VecDeque<Queued>,
}

/// Who waits for a permit.
pub(super) enum Queued {
    /// A run that never worked; only its row exists.
    Fresh(RunId),
    /// A run in memory.
    Known(Arc<Cell>),
}

impl Admission {
    pub(super) fn new(max: usize, queued_max: usize) -> Self {
        let state = State { max: max.max(1), queued_max, active: 0, queue: VecDeque::new() };
        Self { state: Mutex::new(state) }
    }

    /// Other bounds from here on. Whoever is returned has a permit at once; who has one over a lower bound keeps it until
    /// its work rests.
    pub(super) fn set_bounds(&self, max: usize, queued_max: usize) -> Vec<Queued> {
        let mut state = self.state.lock();
        (state.max, state.queued_max) = (max.max(1), queued_max);
        let free = state.max.saturating_sub(state.active).min(state.queue.len());
        state.active += free;
        state.queue.drain(..free).collect()
    }

    /// Takes a permit if one is free and nobody waits.
    pub(super) fn try_take(&self) -> bool {
        let mut state = self.state.lock();
        let free = state.active < state.max && state.queue.is_empty();
        state.active += usize::from(free);
        free
    }

    /// Takes a permit over the bound: for the short work that a signal or a cancellation makes.
    pub(super) fn force(&self) {
        self.state.lock().active += 1;
    }

    /// A run in memory does not wait any more.
    pub(super) fn leave(&self, cell: &Arc<Cell>) {
        let is_it = |who: &Queued| matches!(who, Queued::Known(known) if Arc::ptr_eq(known, cell));
        self.state.lock().queue.retain(|who| !is_it(who));
    }

    /// Whether one more may queue; `besides`: those that wait elsewhere.
    pub(super) fn has_room(&self, besides: usize) -> bool {
        let state = self.state.lock();
        state.queue.len() + besides < state.queued_max
    }

    /// Queues; true when a permit was free after all and is taken.
    pub(super) fn queue(&self, who: Queued) -> Option<Queued> {
        let mut state = self.state.lock();
        if state.active < state.max && state.queue.is_empty() {
            state.active += 1;
            return Some(who);
        }
        match who {
            Queued::Fresh(_) => state.queue.push_back(who),
            Queued::Known(_) => state.queue.push_front(who),
        }
        None
    }

    /// Gives a permit back; whoever is returned has it.
    pub(super) fn release(&self) -> Option<Queued> {
        let mut state = self.state.lock();
        if state.active > state.max {
            state.active -= 1;
            return None;
        }
        match state.queue.pop_front() {
            Some(next) => Some(next),
            None => {
                state.active = state.active.saturating_sub(1);
                None
            }
        }
    }

    /// At work, and waiting for a permit.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.active, state.queue.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> RunId {
        RunId::from([n; 16])
    }

    #[test]
    fn a_permit_given_back_goes_to_the_first_in_the_queue() {
        let admission = Admission::new(1, 10);
        assert!(admission.try_take());
        assert!(admission.queue(Queued::Fresh(id(1))).is_none());
        assert!(admission.queue(Queued::Fresh(id(2))).is_none());
        assert!(!admission.try_take(), "nobody overtakes the queue");
        assert!(matches!(admission.release(), Some(Queued::Fresh(run)) if run == id(1)));
        assert_eq!(admission.counts(), (1, 1));
    }

    #[test]
    fn a_higher_bound_lets_in_who_waits_and_a_lower_one_lets_nobody_in() {
        let admission = Admission::new(1, 10);
        assert!(admission.try_take());
        for n in 1..=3 {
            assert!(admission.queue(Queued::Fresh(id(n))).is_none());
        }
        assert_eq!(admission.set_bounds(3, 3).len(), 2);
        assert_eq!(admission.counts(), (3, 1));
        assert!(admission.has_room(1) && !admission.has_room(2));
        assert!(admission.set_bounds(1, 10).is_empty());
        assert!(admission.release().is_none());
        assert!(admission.release().is_none());
        assert!(admission.release().is_some(), "the last permit goes to who waits");
    }

    #[test]
    fn a_forced_permit_is_paid_back_before_the_queue_moves() {
        let admission = Admission::new(1, 10);
        assert!(admission.try_take());
        admission.force();
        assert!(admission.queue(Queued::Fresh(id(1))).is_none());
        assert!(admission.release().is_none());
        assert!(admission.release().is_some());
    }
}
