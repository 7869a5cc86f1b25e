//! The event bus: one queue to the module, and a ring of what the module published.
//!
//! An event is delivered once, however many patterns match it, in the order of publishing, by one thread that calls
//! `handle_event`: so a service that a module calls never calls the module on the same stack. Events wait from the
//! first subscription until the module has started, and none is delivered once the bus is closed. While the bus is held,
//! because another version takes over, events wait and a subscription that ends still counts: the next version will ask for
//! the same. Both queues are bounded by count and by bytes. The bus knows nothing of HTTP or of instances.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chainbot_abi::Status;
use tokio::sync::watch;

use crate::error::code::EVENT_UNDELIVERED;
use crate::limits::*;
use crate::module::{Called, EventOut};
use crate::pattern::{Pattern, check_topic};

/// Who published an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The module: its events can be read back.
    Module,
    /// A person or a test, through the ingress.
    Client,
}

/// Why an event or a subscription was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is wrong; the text says how.
    Invalid(String),
    /// No room; try again later.
    Busy,
}

/// An event of the module with its number, for reading back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    /// Counts from 1 without gaps.
    pub number: u64,
    /// The event.
    pub event: EventOut,
}

/// What happened to delivered events, for the end's report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Accepted by the module.
    pub delivered: u64,
    /// Given up: refused, or BUSY too often.
    pub given_up: u64,
    /// Still queued when the bus closed.
    pub left: u64,
}

/// The bus.
pub struct Bus {
    /// A std mutex with a condition variable, since the delivering thread waits with a deadline. Held for queue
    /// operations only, never during a call, and no other lock is taken under it.
    state: Mutex<State>,
    changed: Condvar,
    last_number: watch::Sender<u64>,
}

/// A pattern, and the version of the module that asked for it.
struct Subscription {
    owner: u64,
    pattern: Pattern,
    /// Ended while the bus was held: it counts until the hold is over.
    is_over: bool,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// Held between two versions, not before the first.
    is_handing_over: bool,
    subscriptions: BTreeMap<u64, Subscription>,
    next_subscription: u64,
    queue: VecDeque<EventOut>,
    queue_bytes: usize,
    recent: VecDeque<Recent>,
    recent_bytes: usize,
    published: u64,
    tally: Tally,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// Events are queued, since the module has not started or is being replaced.
    #[default]
    Holding,
    Delivering,
    /// The module stops or has stopped.
    Closed,
}

impl Bus {
    /// A bus that holds events until [`Bus::open`].
    pub fn new() -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), last_number: watch::Sender::new(0) }
    }

    /// Subscribes a version of the module to a pattern.
    pub fn subscribe(&self, owner: u64, pattern: &str) -> Result<u64, Refusal> {
        let pattern = Pattern::parse(pattern).map_err(Refusal::Invalid)?;
        let mut state = self.lock();
        if state.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(Refusal::Busy);
        }
        state.next_subscription += 1;
        let id = state.next_subscription;
        state.subscriptions.insert(id, Subscription { owner, pattern, is_over: false });
        Ok(id)
    }

    /// Ends a subscription; `false` when there is none of that id and owner.
    pub fn unsubscribe(&self, owner: u64, id: u64) -> bool {
        let mut state = self.lock();
        let is_held = state.is_handing_over;
        match state.subscriptions.get_mut(&id) {
            Some(found) if found.owner == owner && !found.is_over => {
                found.is_over = true;
                if !is_held {
                    state.subscriptions.remove(&id);
                }
                true
            }
            _ => false,
        }
    }

    /// Ends every subscription of a version that is gone.
    pub fn end_owner(&self, owner: u64) {
        self.lock().subscriptions.retain(|_, subscription| subscription.owner != owner);
    }

    /// Delivers nothing until [`Bus::open`]; a call under way still returns.
    pub fn hold(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Delivering {
            state.phase = Phase::Holding;
            state.is_handing_over = true;
        }
    }

    /// Publishes an event and says whether it goes to the module. On a refusal nothing has happened.
    pub fn publish(&self, origin: Origin, event: EventOut) -> Result<bool, Refusal> {
        check_event(&event).map_err(Refusal::Invalid)?;
        let mut state = self.lock();
        let routed = state.phase != Phase::Closed && state.routes(&event.topic);
        if routed {
            state.enqueue(&event)?;
        }
        if origin == Origin::Module {
            state.remember(event);
            self.last_number.send_replace(state.published);
        }
        drop(state);
        self.changed.notify_all();
        Ok(routed)
    }

    /// The module's events after `number`, and the number of the newest.
    pub fn recent(&self, number: u64) -> (Vec<Recent>, u64) {
        let state = self.lock();
        let events = state.recent.iter().filter(|recent| recent.number > number).cloned().collect();
        (events, state.published)
    }

    /// What happened to events so far, and how many wait.
    pub fn figures(&self) -> (Tally, usize) {
        let state = self.lock();
        (state.tally, state.queue.len())
    }

    /// The number of the newest event of the module, to wait for the next.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.last_number.subscribe()
    }

    /// Lets the delivering thread begin, or go on: the module has started. What nobody wants any more is dropped.
    pub fn open(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Holding {
            state.phase = Phase::Delivering;
            state.is_handing_over = false;
            state.forget_what_is_over();
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Ends delivery; a call under way still returns.
    pub fn close(&self) {
        self.lock().phase = Phase::Closed;
        self.changed.notify_all();
    }

    /// Delivers until the bus is closed. One thread runs this; whoever closes the bus joins it.
    pub fn deliver(&self, mut hand_over: impl FnMut(&EventOut) -> Called) -> Tally {
        while let Some(event) = self.next() {
            let outcome = self.hand_over_patiently(&event, &mut hand_over);
            let mut state = self.lock();
            match outcome {
                Delivery::Accepted => state.tally.delivered += 1,
                Delivery::GivenUp => state.tally.given_up += 1,
                Delivery::Closed => state.tally.left += 1,
            }
        }
        let mut state = self.lock();
        state.tally.left += state.queue.len() as u64;
        state.tally
    }

    /// The next event, or none once the bus is closed.
    fn next(&self) -> Option<EventOut> {
        let mut state = self
            .changed
            .wait_while(self.lock(), |state| match state.phase {
                Phase::Holding => true,
                Phase::Delivering => state.queue.is_empty(),
                Phase::Closed => false,
            })
            .unwrap_or_else(PoisonError::into_inner);
        if state.phase == Phase::Closed {
            return None;
        }
        let event = state.queue.pop_front()?;
        state.queue_bytes -= size_of_event(&event);
        Some(event)
    }

    /// Tries while the module is busy, with growing waits that closing the bus cuts short.
    fn hand_over_patiently(
        &self,
        event: &EventOut,
        hand_over: &mut impl FnMut(&EventOut) -> Called,
    ) -> Delivery {
        let (mut wait, mut tries) = (DELIVERY_WAIT_MIN, 0);
        while tries < DELIVERY_TRIES_MAX {
            match hand_over(event) {
                Ok(()) => return Delivery::Accepted,
                Err(error) if error.status == Status::BUSY => {}
                Err(error) => {
                    log::error!("event `{}` was not delivered: {error} [{EVENT_UNDELIVERED}]", event.topic);
                    return Delivery::GivenUp;
                }
            }
            if self.was_held() {
                // The time of a hand-over is not the module's fault.
                (wait, tries) = (DELIVERY_WAIT_MIN, 0);
                continue;
            }
            if self.closed_within(wait) {
                return Delivery::Closed;
            }
            wait = (wait * 2).min(DELIVERY_WAIT_MAX);
            tries += 1;
        }
        log::error!(
            "event `{}` was not delivered: the module stayed BUSY [{EVENT_UNDELIVERED}]",
            event.topic
        );
        Delivery::GivenUp
    }

    /// Waits while the bus is held; whether it was.
    fn was_held(&self) -> bool {
        let state = self.lock();
        if state.phase != Phase::Holding {
            return false;
        }
        drop(self.changed.wait_while(state, |state| state.phase == Phase::Holding));
        true
    }

    fn closed_within(&self, wait: Duration) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), wait, |state| state.phase != Phase::Closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.phase == Phase::Closed
    }

    /// The state is whole after every critical section, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Delivery {
    Accepted,
    GivenUp,
    Closed,
}

impl State {
    fn routes(&self, topic: &str) -> bool {
        self.subscriptions.values().any(|subscription| subscription.pattern.matches(topic))
    }

    fn forget_what_is_over(&mut self) {
        self.subscriptions.retain(|_, subscription| !subscription.is_over);
        let queue = std::mem::take(&mut self.queue);
        self.queue = queue.into_iter().filter(|event| self.routes(&event.topic)).collect();
        self.queue_bytes = self.queue.iter().map(size_of_event).sum();
    }

    fn enqueue(&mut self, event: &EventOut) -> Result<(), Refusal> {
        let bytes = size_of_event(event);
        if self.queue.len() >= BUS_EVENTS_MAX || self.queue_bytes + bytes > BUS_BYTES_MAX {
            return Err(Refusal::Busy);
        }
        self.queue_bytes += bytes;
        self.queue.push_back(event.clone());
        Ok(())
    }

    fn remember(&mut self, event: EventOut) {
        self.published += 1;
        self.recent_bytes += size_of_event(&event);
        self.recent.push_back(Recent { number: self.published, event });
        while self.recent.len() > RECENT_EVENTS_MAX || self.recent_bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.recent_bytes -= size_of_event(&oldest.event);
        }
    }
}

fn size_of_event(event: &EventOut) -> usize {
    size_of::<EventOut>() + event.topic.len() + event.payload.len() + event.id.len() + event.trace.len()
}

fn check_event(event: &EventOut) -> Result<(), String> {
    check_topic(&event.topic)?;
    if event.payload.len() > EVENT_PAYLOAD_BYTES_MAX {
        let bytes = event.payload.len();
        return Err(format!("the payload has {bytes} bytes; at most {EVENT_PAYLOAD_BYTES_MAX} are taken"));
    }
    if event.id.len().max(event.trace.len()) > EVENT_ID_BYTES_MAX {
        return Err(format!("the id or the trace has more than {EVENT_ID_BYTES_MAX} bytes"));
    }
    serde_json::from_str::<serde_json::Value>(&event.payload)
        .map(drop)
        .map_err(|error| format!("the payload of `{}` is not JSON: {error}", event.topic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::CallError;

    fn event(topic: &str, payload: &str) -> EventOut {
        let text = String::new;
        EventOut {
            topic: topic.to_owned(),
            payload: payload.to_owned(),
            id: text(),
            trace: text(),
            unix_ns: 1,
        }
    }

    fn answer(status: Status) -> Called {
        if status == Status::OK {
            return Ok(());
        }
        Err(CallError { call: "handle_event", status, message: String::new() })
    }

    /// A bus with one pattern, and its queued topics delivered by `answer`.
    fn delivered(bus: &Bus, mut answer: impl FnMut(&EventOut) -> Called) -> (Vec<String>, Tally) {
        let mut topics = Vec::new();
        let left = std::cell::Cell::new(bus.lock().queue.len());
        bus.open();
        let tally = bus.deliver(|event| {
            let result = answer(event);
            if result.as_ref().err().is_none_or(|error| error.status != Status::BUSY) {
                topics.push(event.topic.clone());
                left.set(left.get() - 1);
            }
            if left.get() == 0 {
                bus.close();
            }
            result
        });
        (topics, tally)
    }

    #[test]
    fn an_event_is_delivered_once_though_two_patterns_match() {
        let bus = Bus::new();
        bus.subscribe(1, "a.#").unwrap();
        bus.subscribe(1, "a.*").unwrap();
        assert_eq!(bus.publish(Origin::Module, event("a.b", "{}")), Ok(true));
        assert_eq!(bus.publish(Origin::Client, event("b", "{}")), Ok(false));
        let (topics, tally) = delivered(&bus, |_| Ok(()));
        assert_eq!(topics, ["a.b"]);
        assert_eq!(tally, Tally { delivered: 1, given_up: 0, left: 0 });
    }

    #[test]
    fn a_busy_module_gets_the_same_event_again_and_order_is_kept() {
        let bus = Bus::new();
        bus.subscribe(1, "#").unwrap();
        for topic in ["a", "b"] {
            bus.publish(Origin::Client, event(topic, "1")).unwrap();
        }
        let mut busy = 2;
        let (topics, tally) = delivered(&bus, |_| {
            if busy > 0 {
                busy -= 1;
                return answer(Status::BUSY);
            }
            Ok(())
        });
        assert_eq!(topics, ["a", "b"]);
        assert_eq!(tally.delivered, 2);
    }

    #[test]
    fn a_refused_event_is_given_up_and_the_next_one_comes() {
        let bus = Bus::new();
        bus.subscribe(1, "#").unwrap();
        for topic in ["a", "b"] {
            bus.publish(Origin::Client, event(topic, "1")).unwrap();
        }
        let (topics, tally) =
            delivered(&bus, |event| answer(if event.topic == "a" { Status::INVALID } else { Status::OK }));
        assert_eq!(topics, ["a", "b"]);
        assert_eq!(tally, Tally { delivered: 1, given_up: 1, left: 0 });
    }

    #[test]
    fn a_full_queue_is_busy_and_remembers_nothing() {
        let bus = Bus::new();
        bus.subscribe(1, "#").unwrap();
        for _ in 0..BUS_EVENTS_MAX {
            bus.publish(Origin::Module, event("a", "1")).unwrap();
        }
        assert_eq!(bus.publish(Origin::Module, event("a", "1")), Err(Refusal::Busy));
        assert_eq!(bus.recent(0).1, BUS_EVENTS_MAX as u64);
    }

    #[test]
    fn the_queue_is_bounded_by_bytes_too() {
        let bus = Bus::new();
        bus.subscribe(1, "#").unwrap();
        let large = format!("\"{}\"", "x".repeat(EVENT_PAYLOAD_BYTES_MAX - 2));
        let taken =
            (0..BUS_EVENTS_MAX).take_while(|_| bus.publish(Origin::Client, event("a", &large)).is_ok());
        assert_eq!(taken.count(), BUS_BYTES_MAX / EVENT_PAYLOAD_BYTES_MAX - 1);
    }

    #[test]
    fn the_ring_keeps_the_newest_and_numbers_have_no_gaps() {
        let bus = Bus::new();
        for _ in 0..RECENT_EVENTS_MAX + 3 {
            bus.publish(Origin::Module, event("a", "1")).unwrap();
        }
        let (events, newest) = bus.recent(0);
        assert_eq!(newest, RECENT_EVENTS_MAX as u64 + 3);
        assert_eq!((events[0].number, events.len()), (4, RECENT_EVENTS_MAX));
        assert_eq!(bus.recent(newest).0, []);
    }

    #[test]
    fn wrong_events_are_refused_with_the_reason() {
        let bus = Bus::new();
        for (wrong, reason) in
            [(event("a..b", "1"), "segment"), (event("a", "{"), "JSON"), (event("a", ""), "JSON")]
        {
            let Err(Refusal::Invalid(text)) = bus.publish(Origin::Module, wrong) else { panic!("taken") };
            assert!(text.contains(reason), "{text}");
        }
    }

    #[test]
    fn an_ended_subscription_gets_nothing_and_ends_once() {
        let bus = Bus::new();
        let id = bus.subscribe(1, "a").unwrap();
        assert!(bus.unsubscribe(1, id));
        assert!(!bus.unsubscribe(1, id));
        assert_eq!(bus.publish(Origin::Module, event("a", "1")), Ok(false));
    }

    #[test]
    fn what_is_queued_when_the_bus_closes_is_counted() {
        let bus = Bus::new();
        bus.subscribe(1, "#").unwrap();
        bus.publish(Origin::Client, event("a", "1")).unwrap();
        bus.close();
        assert_eq!(bus.deliver(|_| Ok(())).left, 1);
    }

    #[test]
    fn while_held_an_event_waits_and_an_ended_subscription_still_counts() {
        let bus = Bus::new();
        let old = bus.subscribe(1, "a").unwrap();
        bus.open();
        bus.hold();
        assert!(bus.unsubscribe(1, old));
        assert_eq!(
            bus.publish(Origin::Client, event("a", "1")),
            Ok(true),
            "the next version will ask for it"
        );
        bus.subscribe(2, "a").unwrap();
        bus.publish(Origin::Client, event("b", "1")).unwrap();
        bus.end_owner(1);
        let (topics, _) = delivered(&bus, |_| Ok(()));
        assert_eq!(topics, ["a"]);
    }

    #[test]
    fn what_nobody_wants_after_a_hold_is_not_delivered() {
        let bus = Bus::new();
        let id = bus.subscribe(1, "a").unwrap();
        bus.open();
        bus.hold();
        bus.publish(Origin::Client, event("a", "1")).unwrap();
        bus.unsubscribe(1, id);
        bus.open();
        assert_eq!(bus.lock().queue.len(), 0);
        assert_eq!(bus.publish(Origin::Client, event("a", "1")), Ok(false));
    }

    #[test]
    fn a_version_ends_its_own_subscriptions_only() {
        let bus = Bus::new();
        let id = bus.subscribe(1, "a").unwrap();
        assert!(!bus.unsubscribe(2, id));
        bus.end_owner(2);
        assert_eq!(bus.publish(Origin::Module, event("a", "1")), Ok(true));
    }

    #[test]
    fn an_event_that_is_being_handed_over_waits_for_the_end_of_a_hold() {
        let bus = Bus::new();
        bus.subscribe(1, "#").unwrap();
        bus.publish(Origin::Client, event("a", "1")).unwrap();
        let mut calls = 0;
        let (topics, tally) = std::thread::scope(|scope| {
            delivered(&bus, |_| {
                calls += 1;
                if calls > 1 {
                    return Ok(());
                }
                // The module drains, and many more tries than an event gets would pass until it is done.
                bus.hold();
                scope.spawn(|| bus.open());
                answer(Status::BUSY)
            })
        });
        assert_eq!((topics.len(), tally.delivered, calls), (1, 1, 2));
    }
}
