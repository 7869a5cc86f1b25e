//! Who listens for which events: every wait for an event, found by the event's topic.
//!
//! A tree by the segments of patterns, so that an event costs a look at its own topic and not at the waits: 100,000
//! waits for other topics cost it nothing. The store keeps the same rows; this is rebuilt from them at start.
//!
//! Invariant: a wait is here from the moment its record is on disk until the record of its end is. Delivery of an event
//! ([`super::hear`]) names the place of the event where it has one, so a wait that began later does not get it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::id::{Lsn, RunId};
use crate::port::StoredListen;

use super::hear::Inbound;

/// The waits and the events on their way to them. One lock, held for a look or a change, never while anything is delivered.
pub(super) struct Ears {
    pub(super) state: Mutex<State>,
    /// Something came, or the end.
    pub(super) changed: Notify,
    pub(super) closing: watch::Sender<bool>,
    pub(super) task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
pub(super) struct State {
    root: Branch,
    topics: HashMap<(RunId, u32), String>,
    pub(super) inbound: Inbound,
}

#[derive(Default)]
struct Branch {
    next: HashMap<String, Branch>,
    /// Waits whose pattern ends here.
    waits: BTreeMap<(RunId, u32), Lsn>,
}

impl Ears {
    pub(super) fn new(listens: Vec<StoredListen>) -> Self {
        let mut state = State::default();
        listens.into_iter().for_each(|listen| state.add(listen));
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            closing: watch::Sender::new(false),
            task: Mutex::new(None),
        }
    }

    /// A wait has begun.
    pub(super) fn listen(&self, listen: StoredListen) {
        self.state.lock().add(listen);
    }

    /// A wait is over.
    pub(super) fn unlisten(&self, run: RunId, seq: u32) {
        self.state.lock().remove(run, seq);
    }

    /// Whether anybody waits for an event.
    pub(super) fn has_listeners(&self) -> bool {
        !self.state.lock().topics.is_empty()
    }

    /// Runs with a wait that an event on this topic is for. `at`: the event's place in the journal, when it has one.
    pub(super) fn wanting(&self, topic: &str, at: Option<Lsn>) -> Vec<(RunId, Vec<u32>)> {
        let mut found = Vec::new();
        let segments: Vec<&str> = topic.split('.').collect();
        self.state.lock().root.find(&segments, at, &mut found);
        let mut by_run: BTreeMap<RunId, Vec<u32>> = BTreeMap::new();
        found.into_iter().for_each(|(run, seq)| by_run.entry(run).or_default().push(seq));
        by_run.into_iter().collect()
    }

    /// Nobody waits for an event from before this place that was not brought yet.
    pub(super) fn told(&self) -> Lsn {
        self.state.lock().inbound.behind().unwrap_or(Lsn(i64::MAX))
    }

    /// The place of the oldest wait.
    pub(super) fn oldest(&self) -> Option<Lsn> {
        self.state.lock().root.oldest()
    }

    /// Every pattern, once.
    pub(super) fn topics(&self) -> BTreeSet<String> {
        self.state.lock().topics.values().cloned().collect()
    }

    /// Ends the delivery without waiting for it.
    pub(super) fn abandon(&self) {
        self.closing.send_replace(true);
    }

    /// Ends the delivery. What is on its way is told again from the journal, or by the host.
    pub(super) async fn close(&self) {
        self.closing.send_replace(true);
        let task = self.task.lock().take();
        if let Some(task) = task {
            // Cut short with the tokio runtime, it has ended as well.
            let _ = task.await;
        }
    }
}

impl State {
    fn add(&mut self, listen: StoredListen) {
        let StoredListen { run, seq, lsn, topic } = listen;
        let mut branch = &mut self.root;
        for segment in topic.split('.') {
            branch = branch.next.entry(segment.to_owned()).or_default();
        }
        branch.waits.insert((run, seq), lsn);
        self.topics.insert((run, seq), topic);
    }

    fn remove(&mut self, run: RunId, seq: u32) {
        let Some(topic) = self.topics.remove(&(run, seq)) else { return };
        let segments: Vec<&str> = topic.split('.').collect();
        self.root.remove(&segments, (run, seq));
    }
}

impl Branch {
    fn find(&self, topic: &[&str], at: Option<Lsn>, found: &mut Vec<(RunId, u32)>) {
        if let Some(rest) = self.next.get("#") {
            rest.take(at, found);
        }
        match topic.split_first() {
            None => self.take(at, found),
            Some((segment, rest)) => {
                for wanted in [*segment, "*"] {
                    if let Some(branch) = self.next.get(wanted) {
                        branch.find(rest, at, found);
                    }
                }
            }
        }
    }

    fn take(&self, at: Option<Lsn>, found: &mut Vec<(RunId, u32)>) {
        let is_for = |since: &Lsn| at.is_none_or(|at| *since < at);
        found.extend(self.waits.iter().filter(|(_, since)| is_for(since)).map(|(wait, _)| *wait));
    }

    fn oldest(&self) -> Option<Lsn> {
        let inner = self.next.values().filter_map(Branch::oldest).min();
        self.waits.values().copied().min().into_iter().chain(inner).min()
    }

    /// Branches that nobody needs go with their last wait.
    fn remove(&mut self, topic: &[&str], wait: (RunId, u32)) {
        let Some((segment, rest)) = topic.split_first() else {
            self.waits.remove(&wait);
            return;
        };
        let Some(branch) = self.next.get_mut(*segment) else { return };
        branch.remove(rest, wait);
        if branch.waits.is_empty() && branch.next.is_empty() {
            self.next.remove(*segment);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(n: u8, topic: &str) -> StoredListen {
        StoredListen {
            run: RunId::from([n; 16]),
            seq: 3,
            lsn: Lsn(i64::from(n) * 10),
            topic: topic.to_owned(),
        }
    }

    fn heard(ears: &Ears, topic: &str, at: Option<i64>) -> Vec<u8> {
        ears.wanting(topic, at.map(Lsn)).iter().map(|(run, _)| run.as_bytes()[0]).collect()
    }

    #[test]
    fn an_event_is_for_those_whose_pattern_matches_and_who_waited_before_it() {
        let topics = ["a.b", "a.*", "a.#", "#", "a.b.c", "*.b"];
        let ears = Ears::new(topics.iter().zip(1..).map(|(topic, n)| listen(n, topic)).collect());
        assert_eq!(heard(&ears, "a.b", None), [1, 2, 3, 4, 6]);
        assert_eq!(heard(&ears, "a", None), [3, 4]);
        assert_eq!(heard(&ears, "a.b.c", None), [3, 4, 5]);
        assert_eq!(heard(&ears, "x.b", None), [4, 6]);
        assert_eq!(heard(&ears, "a.b", Some(25)), [1, 2], "a wait that began later does not get it");
        assert_eq!(ears.oldest(), Some(Lsn(10)));
    }

    #[test]
    fn a_wait_that_is_over_leaves_nothing() {
        let ears = Ears::new(vec![listen(1, "a.b.c"), listen(2, "a.b")]);
        ears.unlisten(RunId::from([1; 16]), 3);
        assert_eq!(heard(&ears, "a.b.c", None), [] as [u8; 0]);
        assert_eq!(heard(&ears, "a.b", None), [2]);
        ears.unlisten(RunId::from([2; 16]), 3);
        assert!(ears.state.lock().root.next.is_empty() && !ears.has_listeners());
        ears.unlisten(RunId::from([2; 16]), 3);
    }
}
