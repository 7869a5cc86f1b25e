//! The events of a transcript: what the module published is kept for `wait-event` and never handed back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use chainbot_abi::Status;

use crate::host::EventPort;
use crate::limits::{SUBSCRIPTIONS_MAX, TRANSCRIPT_EVENT_WAIT, TRANSCRIPT_EVENTS_MAX, TRANSCRIPT_IDS_MAX};
use crate::module::EventOut;
use crate::pattern::Pattern;

/// Published events in order, and the module's subscriptions.
#[derive(Default)]
pub struct Kept {
    /// A std mutex with a condition variable: `wait-event` waits with a deadline. No other lock is taken under it.
    state: Mutex<State>,
    published: Condvar,
}

#[derive(Default)]
struct State {
    events: VecDeque<EventOut>,
    ids: BTreeSet<String>,
    subscriptions: BTreeMap<u64, Pattern>,
    next_subscription: u64,
}

impl Kept {
    /// Whether a live subscription matches.
    pub fn routes(&self, topic: &str) -> bool {
        self.lock().subscriptions.values().any(|pattern| pattern.matches(topic))
    }

    /// Takes the oldest event that matches: topic and payload, or none in time.
    pub fn wait(&self, pattern: &str) -> Result<Option<(String, String)>, String> {
        let pattern = Pattern::parse(pattern)?;
        let absent = |state: &mut State| !state.events.iter().any(|event| pattern.matches(&event.topic));
        let (mut state, _) = self
            .published
            .wait_timeout_while(self.lock(), TRANSCRIPT_EVENT_WAIT, absent)
            .unwrap_or_else(PoisonError::into_inner);
        let at = state.events.iter().position(|event| pattern.matches(&event.topic));
        Ok(at.and_then(|at| state.events.remove(at)).map(|event| (event.topic, event.payload)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventPort for Arc<Kept> {
    fn publish(&self, event: EventOut) -> Status {
        let mut state = self.lock();
        if state.ids.contains(&event.id) {
            return Status::OK;
        }
        let full = state.events.len() >= TRANSCRIPT_EVENTS_MAX;
        if full || (!event.id.is_empty() && state.ids.len() >= TRANSCRIPT_IDS_MAX) {
            return Status::BUSY;
        }
        if !event.id.is_empty() {
            state.ids.insert(event.id.clone());
        }
        state.events.push_back(event);
        drop(state);
        self.published.notify_all();
        Status::OK
    }

    fn subscribe(&self, pattern: &str) -> Result<u64, Status> {
        let pattern = Pattern::parse(pattern).map_err(|why| {
            log::error!("the module's `subscribe` was refused: {why} [CB-0817]");
            Status::INVALID
        })?;
        let mut state = self.lock();
        if state.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(Status::BUSY);
        }
        state.next_subscription += 1;
        let id = state.next_subscription;
        state.subscriptions.insert(id, pattern);
        Ok(id)
    }

    fn unsubscribe(&self, id: u64) -> Status {
        if self.lock().subscriptions.remove(&id).is_some() { Status::OK } else { Status::INVALID }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(topic: &str, id: &str) -> EventOut {
        let (topic, payload, id) = (topic.to_owned(), "1".to_owned(), id.to_owned());
        EventOut { topic, payload, id, trace: String::new(), unix_ns: 1 }
    }

    #[test]
    fn the_oldest_match_is_taken_and_a_repeated_id_is_kept_once() {
        let kept = Arc::new(Kept::default());
        for (topic, id) in [("a", "1"), ("b", ""), ("a", "1"), ("b", "")] {
            assert_eq!(kept.publish(event(topic, id)), Status::OK);
        }
        assert_eq!(kept.wait("b").unwrap().unwrap().0, "b");
        assert_eq!(kept.wait("#").unwrap().unwrap().0, "a");
        assert_eq!(kept.wait("*").unwrap().unwrap().0, "b");
        assert!(kept.lock().events.is_empty());
        assert!(kept.wait("a.#.b").is_err());
    }

    #[test]
    fn a_full_store_is_busy() {
        let kept = Arc::new(Kept::default());
        for _ in 0..TRANSCRIPT_EVENTS_MAX {
            assert_eq!(kept.publish(event("a", "")), Status::OK);
        }
        assert_eq!(kept.publish(event("a", "")), Status::BUSY);
    }
}
