//! What the parts of the core count of themselves: plain atomics, shared by whoever counts and whoever shows.
//!
//! Invariants: counting costs a few atomic additions, or a short lock for requests, and never waits; nothing here is remembered over a restart; a
//! counter only grows. Knows neither names nor formats: see [`crate::observe`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::limits::{HTTP_SERIES_MAX, MODEL_SERIES_MAX};

/// Bounds of durations, in seconds: from a flush into a cache to a card that is at its end.
pub const SECONDS: [f64; 12] =
    [0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// Bounds of durations of what is done elsewhere, in seconds: from a pin to a report that takes minutes.
pub const LONG_SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0];
/// Bounds of numbers of things done together.
pub const NUMBERS: [f64; 12] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 4_096.0];

/// Counts up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, many: u64) {
        self.0.fetch_add(many, Ordering::Relaxed);
    }

    /// So far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often values fell below which bound.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64; 12],
    /// Not cumulative; the last one is for what lies over every bound.
    buckets: [AtomicU64; 13],
    /// In millionths, so that one atomic holds it.
    sum_micros: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    /// Upper bounds with the number of values at or below each.
    pub counts: Vec<(f64, u64)>,
    /// All values.
    pub count: u64,
    /// Of all values.
    pub sum: f64,
}

impl Histogram {
    /// Nothing seen.
    pub const fn new(bounds: &'static [f64; 12]) -> Self {
        Self { bounds, buckets: [const { AtomicU64::new(0) }; 13], sum_micros: AtomicU64::new(0) }
    }

    /// A duration.
    pub fn time(&self, took: Duration) {
        self.value(took.as_secs_f64());
    }

    /// A value that is not negative.
    pub fn value(&self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        // The cast takes what is out of range to the nearest number.
        self.sum_micros.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    /// As it is now. Values that come meanwhile may be in one number and not in the other.
    pub fn get(&self) -> Buckets {
        let mut count = 0;
        let mut counts = Vec::with_capacity(self.bounds.len());
        for (bound, bucket) in self.bounds.iter().zip(&self.buckets) {
            count += bucket.load(Ordering::Relaxed);
            counts.push((*bound, count));
        }
        count += self.buckets[self.bounds.len()].load(Ordering::Relaxed);
        Buckets { counts, count, sum: self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6 }
    }
}

/// Method, route and status.
type RequestKind = (&'static str, Arc<str>, u16);

/// Requests that were answered, by method, route and status.
#[derive(Debug, Default)]
pub struct Requests {
    /// A plain lock, held for a look into a map of some hundred entries.
    by: Mutex<BTreeMap<RequestKind, u64>>,
    answered: Counter,
    failed: Counter,
}

impl Requests {
    /// One more. `route` is a path with its names in braces, never what a caller wrote, so there are only so many.
    pub fn one(&self, method: &'static str, route: &str, status: u16) {
        self.answered.one();
        if status >= 500 {
            self.failed.one();
        }
        let mut by = self.by.lock();
        let is_full = by.len() >= HTTP_SERIES_MAX;
        let key = (method, Arc::from(route), status);
        match by.get_mut(&key) {
            Some(count) => *count += 1,
            None if is_full => *by.entry(("other", Arc::from("other"), 0)).or_default() += 1,
            None => drop(by.insert(key, 1)),
        }
    }

    /// All, in order.
    pub fn get(&self) -> Vec<(&'static str, Arc<str>, u16, u64)> {
        self.by
            .lock()
            .iter()
            .map(|((method, route, status), count)| (*method, route.clone(), *status, *count))
            .collect()
    }

    /// Answered so far, and how many of those with 5xx.
    pub fn totals(&self) -> (u64, u64) {
        (self.answered.get(), self.failed.get())
    }
}

/// What one model was asked and gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelCounts {
    /// Requests by how they ended: `ok`, or the class of the error.
    pub calls: BTreeMap<&'static str, u64>,
    /// Tokens, in the order of [`TOKEN_KINDS`].
    pub tokens: [u64; TOKEN_KINDS.len()],
    /// In millionths of the currency.
    pub cost_micros: u64,
    /// How often another model was asked in its place.
    pub fallbacks: u64,
    /// How often its server ignored that a tool must be called.
    pub choices_ignored: u64,
}

/// Kinds of tokens, as they are shown.
pub const TOKEN_KINDS: [&str; 3] = ["input", "cached", "output"];

/// Calls of models, by server and model: names of the configuration, so there are only so many, of one configuration after another.
#[derive(Debug)]
pub struct ModelCalls {
    /// A plain lock, held for a look into a map of some entries.
    by: Mutex<BTreeMap<(String, String), ModelCounts>>,
    /// From the request to the end of its answer.
    pub time: Histogram,
}

impl ModelCalls {
    fn with(&self, provider: &str, model: &str, count: impl FnOnce(&mut ModelCounts)) {
        let mut by = self.by.lock();
        let key = (provider.to_owned(), model.to_owned());
        if by.len() >= MODEL_SERIES_MAX && !by.contains_key(&key) {
            return count(by.entry(("other".to_owned(), "other".to_owned())).or_default());
        }
        count(by.entry(key).or_default());
    }

    /// One request that ended.
    pub fn called(
        &self,
        provider: &str,
        model: &str,
        outcome: &'static str,
        took: Duration,
        tokens: &[u64; TOKEN_KINDS.len()],
        cost_micros: u64,
    ) {
        self.time.time(took);
        self.with(provider, model, |counts| {
            *counts.calls.entry(outcome).or_default() += 1;
            for (sum, more) in counts.tokens.iter_mut().zip(tokens) {
                *sum = sum.saturating_add(*more);
            }
            counts.cost_micros = counts.cost_micros.saturating_add(cost_micros);
        });
    }

    /// Another model was asked in the place of this one.
    pub fn fell_back(&self, provider: &str, model: &str) {
        self.with(provider, model, |counts| counts.fallbacks += 1);
    }

    /// A server ignored that a tool must be called.
    pub fn choice_ignored(&self, provider: &str, model: &str) {
        self.with(provider, model, |counts| counts.choices_ignored += 1);
    }

    /// All, in order.
    pub fn get(&self) -> Vec<((String, String), ModelCounts)> {
        self.by.lock().iter().map(|(key, counts)| (key.clone(), counts.clone())).collect()
    }
}

/// Types of steps that reach outside, as their durations are shown.
pub const STEP_TYPES: [&str; 6] = ["api_call", "email", "gpio", "notification", "transform", "webhook"];

/// Everything that is counted.
#[derive(Debug)]
pub struct Meters {
    /// From the begin of a transaction until it is on disk.
    pub commit_time: Histogram,
    /// Records of one transaction.
    pub commit_records: Histogram,
    /// Bytes of records and rows that were committed.
    pub journal_bytes: Counter,
    /// Records that were committed.
    pub journal_records: Counter,
    /// How long after its moment a timer woke its run.
    pub timer_lateness: Histogram,
    /// Runs that ended well.
    pub runs_completed: Counter,
    /// Runs that failed.
    pub runs_failed: Counter,
    /// Runs that were cancelled.
    pub runs_cancelled: Counter,
    /// Agents that were to be made and were not.
    pub agent_spawns_failed: Counter,
    /// Effects that were begun.
    pub effects: Counter,
    /// How long attempts took, in the order of [`STEP_TYPES`].
    pub step_time: [Histogram; STEP_TYPES.len()],
    /// Requests that were answered.
    pub requests: Requests,
    /// From the head of a request to that of its answer.
    pub request_time: Histogram,
    /// Calls of models.
    pub models: ModelCalls,
    /// Events that listeners inside missed and were told to read from the journal.
    pub bus_gaps: Counter,
}

impl Meters {
    /// The durations of a type of steps.
    pub fn step_time(&self, step_type: &str) -> Option<&Histogram> {
        STEP_TYPES.iter().position(|known| *known == step_type).map(|at| &self.step_time[at])
    }
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            commit_time: Histogram::new(&SECONDS),
            commit_records: Histogram::new(&NUMBERS),
            journal_bytes: Counter::default(),
            journal_records: Counter::default(),
            timer_lateness: Histogram::new(&SECONDS),
            runs_completed: Counter::default(),
            runs_failed: Counter::default(),
            runs_cancelled: Counter::default(),
            agent_spawns_failed: Counter::default(),
            effects: Counter::default(),
            step_time: [const { Histogram::new(&LONG_SECONDS) }; STEP_TYPES.len()],
            requests: Requests::default(),
            request_time: Histogram::new(&LONG_SECONDS),
            models: ModelCalls { by: Mutex::default(), time: Histogram::new(&LONG_SECONDS) },
            bus_gaps: Counter::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_every_bucket_that_holds_it() {
        let histogram = Histogram::new(&SECONDS);
        for ms in [0, 1, 7, 9_000] {
            histogram.time(Duration::from_millis(ms));
        }
        let got = histogram.get();
        let below = |bound: f64| got.counts.iter().find(|(own, _)| *own == bound).unwrap().1;
        assert_eq!((below(0.000_1), below(0.001), below(0.01), below(5.0)), (1, 2, 3, 3));
        assert_eq!(got.count, 4);
        assert!((got.sum - 9.008).abs() < 1e-6, "{}", got.sum);
    }

    #[test]
    fn requests_are_counted_by_what_they_were_and_only_so_many_kinds() {
        let requests = Requests::default();
        requests.one("GET", "/a/{id}", 200);
        requests.one("GET", "/a/{id}", 200);
        requests.one("POST", "/a", 503);
        let of = |requests: &Requests| {
            requests.get().iter().map(|(m, r, s, n)| format!("{m} {r} {s} {n}")).collect::<Vec<_>>()
        };
        assert_eq!(of(&requests), ["GET /a/{id} 200 2", "POST /a 503 1"]);
        assert_eq!(requests.totals(), (3, 1));
        for route in 0..HTTP_SERIES_MAX + 50 {
            requests.one("GET", &route.to_string(), 200);
        }
        let all = requests.get();
        assert_eq!(all.len(), HTTP_SERIES_MAX + 1);
        assert!(
            all.iter().any(|(m, r, s, n)| (*m, r.as_ref(), *s, *n) == ("other", "other", 0, 52)),
            "{all:?}"
        );
    }
}
