//! Which runs of a workflow are let in at once, by its `concurrency`.
//!
//! A gate is a name that runs share; its members are unfinished runs in the order in which they came. The first `max` are
//! active and ask for a permit like any other; the rest only have their row. Members are rows of the store too, written and
//! removed in the transactions that make and end the run, so a restart finds the same gates. A run that is taken up again
//! after its failure comes last; one that has to wait is paused until it is let in.
//!
//! Invariant: a member is counted from before its creation is handed to the writer, so two starts never both find room
//! that is there for one. Lock: a plain one, for some instructions, taken with no other held.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::id::RunId;
use crate::model::ConcurrencyMode;
use crate::port::StoredGate;

/// All gates.
#[derive(Default)]
pub(super) struct Gates {
    state: Mutex<State>,
    /// Members in all: most processes have none, and then nobody takes the lock.
    members: AtomicUsize,
}

#[derive(Default)]
struct State {
    gates: HashMap<String, Gate>,
    of: HashMap<RunId, String>,
    /// Were taken up again and are paused until they are let in.
    held: HashSet<RunId>,
}

struct Gate {
    max: usize,
    members: VecDeque<Member>,
}

struct Member {
    run: RunId,
    is_active: bool,
    /// Its creation is on disk.
    is_stored: bool,
    /// It takes the place of those before it, once it is on disk: one that never will be takes nobody's.
    ousts: bool,
    /// Another took its place.
    is_ousted: bool,
}

/// A gate as a run finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GateSpec {
    pub(super) name: String,
    pub(super) mode: ConcurrencyMode,
    pub(super) max: usize,
}

/// What others are to be told.
#[derive(Default, Debug, PartialEq, Eq)]
pub(super) struct Moves {
    /// Ask for a permit from here on.
    pub(super) admit: Vec<RunId>,
    /// Are cancelled, because another took their place.
    pub(super) oust: Vec<RunId>,
}

/// A run that is in the way of a start in mode `single`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken(pub(super) RunId);

/// Where a run at a gate stood when a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stood {
    /// It was let in.
    Begun,
    /// It waited, and was not let in before.
    Waited,
    /// It was taken up again, and paused until it is let in.
    Held,
}

impl Gate {
    /// Those that another on disk has come after to take their place, and that were not told yet.
    fn oust(&mut self) -> Vec<RunId> {
        let Some(last) = self.members.iter().rposition(|member| member.ousts && member.is_stored) else {
            return Vec::new();
        };
        let others = self.members.iter_mut().take(last);
        others
            .filter(|member| member.is_stored && !member.is_ousted)
            .map(|member| {
                member.is_ousted = true;
                member.run
            })
            .collect()
    }

    /// Lets in as many as there is room for; gives those whose creation is on disk.
    fn promote(&mut self) -> Vec<RunId> {
        let active = self.members.iter().filter(|member| member.is_active).count();
        let room = self.max.saturating_sub(active);
        let waiting = self.members.iter_mut().filter(|member| !member.is_active).take(room);
        waiting
            .filter_map(|member| {
                member.is_active = true;
                member.is_stored.then_some(member.run)
            })
            .collect()
    }
}

impl Gates {
    /// Counts a run whose creation goes to the writer next. Gives others that are let in, because there is more room than there
    /// was: they are let in whatever becomes of the run.
    pub(super) fn enter(&self, run: RunId, spec: &GateSpec) -> Result<Vec<RunId>, Taken> {
        let mut state = self.state.lock();
        let gate = state
            .gates
            .entry(spec.name.clone())
            .or_insert_with(|| Gate { max: spec.max, members: VecDeque::new() });
        // The newest version of the workflow says how many.
        gate.max = spec.max;
        if let (ConcurrencyMode::Single, Some(other)) = (spec.mode, gate.members.back()) {
            return Err(Taken(other.run));
        }
        let ousts = spec.mode == ConcurrencyMode::Restart;
        gate.members.push_back(Member { run, is_active: false, is_stored: false, ousts, is_ousted: false });
        let admit = gate.promote();
        state.of.insert(run, spec.name.clone());
        self.members.fetch_add(1, Ordering::SeqCst);
        Ok(admit)
    }

    /// A run's creation is on disk. What it may do next; a run without a gate is admitted.
    pub(super) fn stored(&self, run: RunId) -> Moves {
        let mut moves = Moves::default();
        let mut state = self.state.lock();
        let State { gates, of, .. } = &mut *state;
        let Some((gate, index)) = of.get(&run).and_then(|name| gates.get_mut(name)).and_then(|gate| {
            let index = gate.members.iter().rposition(|member| member.run == run)?;
            Some((gate, index))
        }) else {
            moves.admit.push(run);
            return moves;
        };
        gate.members[index].is_stored = true;
        if gate.members[index].is_active {
            moves.admit.push(run);
        }
        // Those before it, if it takes their place; itself, if one after it was on disk first.
        moves.oust = gate.oust();
        moves
    }

    /// A run that waits here is paused until it is let in.
    pub(super) fn hold(&self, run: RunId) {
        self.state.lock().held.insert(run);
    }

    /// Whether a run is paused until it is let in.
    pub(super) fn holds(&self, run: RunId) -> bool {
        self.is_used() && self.state.lock().held.contains(&run)
    }

    /// Whether a run that is let in was paused for that; it is not any more.
    pub(super) fn let_go(&self, run: RunId) -> bool {
        self.is_used() && self.state.lock().held.remove(&run)
    }

    /// A run is over, or was never made. Whom that lets in.
    pub(super) fn leave(&self, run: RunId) -> Vec<RunId> {
        if !self.is_used() {
            return Vec::new();
        }
        let mut state = self.state.lock();
        let Some(name) = state.of.remove(&run) else { return Vec::new() };
        state.held.remove(&run);
        self.members.fetch_sub(1, Ordering::SeqCst);
        let Some(gate) = state.gates.get_mut(&name) else { return Vec::new() };
        if let Some(index) = gate.members.iter().position(|member| member.run == run) {
            gate.members.remove(index);
        }
        let admit = gate.promote();
        if gate.members.is_empty() {
            state.gates.remove(&name);
        }
        admit
    }

    /// Whether a run is a member of a gate.
    pub(super) fn has(&self, run: RunId) -> bool {
        self.is_used() && self.state.lock().of.contains_key(&run)
    }

    /// Whether a run that has not begun may ask for a permit.
    pub(super) fn lets_in(&self, run: RunId) -> bool {
        let state = self.state.lock();
        let Some(gate) = state.of.get(&run).and_then(|name| state.gates.get(name)) else { return true };
        gate.members.iter().any(|member| member.run == run && member.is_active)
    }

    /// Members that are not let in yet.
    pub(super) fn waiting(&self) -> usize {
        if !self.is_used() {
            return 0;
        }
        let waiting = |gate: &Gate| gate.members.iter().filter(|member| !member.is_active).count();
        self.state.lock().gates.values().map(waiting).sum()
    }

    /// Takes up what the store has, in its order. `stands` tells where a run stood when the last process ended. Gives the
    /// runs whose place another had taken by then, and those that are let in and were paused until then.
    pub(super) fn recover(
        &self,
        rows: Vec<StoredGate>,
        stands: impl Fn(&StoredGate) -> Stood,
    ) -> (Vec<RunId>, Vec<RunId>) {
        let mut state = self.state.lock();
        for row in rows {
            let gate = state
                .gates
                .entry(row.gate.clone())
                .or_insert_with(|| Gate { max: row.max, members: VecDeque::new() });
            gate.max = row.max;
            let stood = stands(&row);
            let is_active = stood == Stood::Begun;
            gate.members.push_back(Member {
                run: row.run,
                is_active,
                is_stored: true,
                ousts: row.ousts,
                is_ousted: false,
            });
            if stood == Stood::Held {
                state.held.insert(row.run);
            }
            state.of.insert(row.run, row.gate);
            self.members.fetch_add(1, Ordering::SeqCst);
        }
        let State { gates, held, .. } = &mut *state;
        // Whoever asks for a permit at the start asks `lets_in`; one that is paused asks for nothing.
        let let_in = gates.values_mut().flat_map(Gate::promote).filter(|run| held.remove(run)).collect();
        (gates.values_mut().flat_map(Gate::oust).collect(), let_in)
    }

    fn is_used(&self) -> bool {
        self.members.load(Ordering::SeqCst) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> RunId {
        RunId::from([n; 16])
    }

    fn spec(mode: ConcurrencyMode, max: usize) -> GateSpec {
        GateSpec { name: "w".to_owned(), mode, max }
    }

    #[test]
    fn queued_runs_are_let_in_in_order_and_only_when_they_are_on_disk() {
        let gates = Gates::default();
        let queued = spec(ConcurrencyMode::Queued, 1);
        for n in 1..=3 {
            assert_eq!(gates.enter(id(n), &queued), Ok(Vec::new()));
        }
        assert_eq!(gates.stored(id(1)).admit, [id(1)]);
        assert_eq!(gates.stored(id(3)), Moves::default());
        assert_eq!(gates.leave(id(1)), [], "the second is next, and not on disk yet");
        assert_eq!(gates.stored(id(2)).admit, [id(2)]);
        assert_eq!(gates.waiting(), 1);
        assert_eq!(gates.leave(id(2)), [id(3)]);
        assert_eq!(gates.leave(id(3)), []);
        assert!(!gates.has(id(3)) && gates.waiting() == 0);
    }

    #[test]
    fn single_refuses_and_restart_takes_the_place() {
        let gates = Gates::default();
        gates.enter(id(1), &spec(ConcurrencyMode::Single, 1)).unwrap();
        assert_eq!(gates.enter(id(2), &spec(ConcurrencyMode::Single, 1)), Err(Taken(id(1))));
        let restart = spec(ConcurrencyMode::Restart, 1);
        gates.enter(id(3), &restart).unwrap();
        assert_eq!(
            gates.stored(id(1)),
            Moves { admit: vec![id(1)], oust: vec![] },
            "the other is not on disk yet"
        );
        assert_eq!(gates.stored(id(3)).oust, [id(1)]);
        gates.enter(id(4), &restart).unwrap();
        assert_eq!(gates.stored(id(4)).oust, [id(3)], "a queued one is taken over as well");
        assert_eq!(gates.leave(id(3)), []);
        assert_eq!(gates.leave(id(1)), [id(4)]);
    }

    #[test]
    fn a_run_that_never_came_to_be_takes_nobodys_place() {
        let gates = Gates::default();
        let restart = spec(ConcurrencyMode::Restart, 1);
        gates.enter(id(1), &restart).unwrap();
        assert_eq!(gates.stored(id(1)).admit, [id(1)]);
        gates.enter(id(2), &restart).unwrap();
        assert_eq!(gates.leave(id(2)), [], "its creation was refused");
        gates.enter(id(3), &restart).unwrap();
        gates.enter(id(4), &restart).unwrap();
        assert_eq!(gates.stored(id(4)).oust, [id(1)]);
        assert_eq!(gates.stored(id(3)), Moves { admit: vec![], oust: vec![id(3)] }, "one after it was first");
    }

    #[test]
    fn a_bound_that_was_raised_lets_more_in_and_keys_do_not_meet() {
        let gates = Gates::default();
        for n in 1..=3 {
            gates.enter(id(n), &spec(ConcurrencyMode::Parallel, 1)).unwrap();
            gates.stored(id(n));
        }
        assert_eq!(gates.enter(id(4), &spec(ConcurrencyMode::Parallel, 3)), Ok(vec![id(2), id(3)]));
        let other = GateSpec { name: "w other".to_owned(), ..spec(ConcurrencyMode::Single, 1) };
        gates.enter(id(9), &other).unwrap();
        assert_eq!(gates.stored(id(9)).admit, [id(9)]);
    }

    #[test]
    fn a_restart_finds_the_same_gates() {
        let row = |n, parked, ousts| {
            let paused = n == 9;
            StoredGate { run: id(n), gate: "w".to_owned(), max: 2, parked, ousts, paused }
        };
        let stands = |row: &StoredGate| match (row.parked, row.paused) {
            (_, true) => Stood::Held,
            (true, false) => Stood::Begun,
            (false, false) => Stood::Waited,
        };
        let gates = Gates::default();
        let rows =
            vec![row(1, false, false), row(2, true, false), row(3, false, false), row(4, false, false)];
        assert_eq!(gates.recover(rows, stands), (vec![], vec![]));
        assert!(gates.lets_in(id(1)) && gates.lets_in(id(2)) && !gates.lets_in(id(3)));
        assert_eq!(gates.leave(id(2)), [id(3)]);
        let gates = Gates::default();
        let rows = vec![row(1, true, false), row(2, false, true)];
        assert_eq!(gates.recover(rows, stands), (vec![id(1)], vec![]));
        let gates = Gates::default();
        let rows = vec![row(1, true, false), row(2, false, false), row(9, true, false)];
        assert_eq!(gates.recover(rows, stands), (vec![], vec![]));
        assert!(gates.holds(id(9)), "it was taken up again, and waits for its turn");
        assert_eq!(gates.leave(id(1)), [id(9)]);
        assert!(gates.let_go(id(9)) && !gates.holds(id(9)));
        let gates = Gates::default();
        assert_eq!(
            gates.recover(vec![row(1, true, false), row(9, true, false)], stands),
            (vec![], vec![id(9)])
        );
    }
}
