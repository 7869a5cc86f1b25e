//! What the parts of the core count of themselves: plain atomics, shared by whoever counts and whoever shows.
//!
//! Invariants: counting costs a few atomic additions and never waits; nothing here is remembered over a restart; a
//! counter only grows. Knows neither names nor formats: see [`crate::observe`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bounds of durations, in seconds: from a flush into a cache to a card that is at its end.
pub const SECONDS: [f64; 12] =
    [0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
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
    /// Effects that were begun.
    pub effects: Counter,
    /// Events that listeners inside missed and were told to read from the journal.
    pub bus_gaps: Counter,
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
            effects: Counter::default(),
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
}
