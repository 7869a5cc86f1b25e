//! How many requests of one credential in a second: a bucket of permits that fills at a steady rate.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::auth::Via;
use crate::env::Env;
use crate::limits::RATES_MAX;

/// The buckets, one a credential.
pub struct Rate {
    per_s: f64,
    burst: f64,
    env: Env,
    // A plain lock: held for a few instructions.
    buckets: Mutex<HashMap<Via, (f64, Duration)>>,
}

impl Rate {
    /// `per_s` over a longer time, `burst` at once. `None` when `per_s` is 0: no limit.
    pub fn new(per_s: u32, burst: u32, env: Env) -> Option<Self> {
        let (per_s, burst) = (f64::from(per_s), f64::from(burst.max(1)));
        (per_s > 0.0).then_some(Self { per_s, burst, env, buckets: Mutex::default() })
    }

    /// Takes a permit of a credential, or says in how many seconds there is one.
    pub fn take(&self, of: Via) -> Result<(), u64> {
        let now = self.env.monotonic();
        let filled = |(permits, at): (f64, Duration)| {
            (permits + now.saturating_sub(at).as_secs_f64() * self.per_s).min(self.burst)
        };
        let mut buckets = self.buckets.lock();
        if buckets.len() >= RATES_MAX {
            // A full bucket is one that was never there.
            buckets.retain(|_, bucket| filled(*bucket) < self.burst);
        }
        let bucket = buckets.entry(of).or_insert((self.burst, now));
        let permits = filled(*bucket);
        if permits >= 1.0 {
            *bucket = (permits - 1.0, now);
            return Ok(());
        }
        *bucket = (permits, now);
        // Between 1 and the time of one permit, so the cast loses nothing.
        Err(((1.0 - permits) / self.per_s).ceil().max(1.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::env::{SeededRandom, VirtualClock};

    #[test]
    fn a_burst_is_let_through_and_then_the_rate_counts() {
        let clock = Arc::new(VirtualClock::default());
        let rate = Rate::new(2, 3, Env::new(clock.clone(), Arc::new(SeededRandom::new(1)))).unwrap();
        let take = || rate.take(Via::Local);
        assert_eq!((0..3).filter(|_| take().is_ok()).count(), 3);
        assert_eq!(take(), Err(1));
        // Another credential has a bucket of its own.
        assert_eq!(rate.take(Via::Token([1; 16].into())), Ok(()));
        clock.advance(Duration::from_millis(500));
        assert_eq!(take(), Ok(()));
        assert!(take().is_err());
        clock.advance(Duration::from_secs(3_600));
        assert_eq!((0..10).filter(|_| take().is_ok()).count(), 3);
    }

    #[test]
    fn a_rate_of_nothing_is_no_limit() {
        assert!(Rate::new(0, 10, Env::system()).is_none());
    }
}
