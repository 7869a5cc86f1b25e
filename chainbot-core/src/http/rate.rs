//! How many requests of one token in a second: a bucket of permits that fills at a steady rate.

use std::time::Duration;

use parking_lot::Mutex;

use crate::env::Env;

/// The bucket of one token.
pub struct Rate {
    per_s: f64,
    burst: f64,
    env: Env,
    // A plain lock: held for a few instructions.
    state: Mutex<(f64, Duration)>,
}

impl Rate {
    /// `per_s` over a longer time, `burst` at once. `None` when `per_s` is 0: no limit.
    pub fn new(per_s: u32, burst: u32, env: Env) -> Option<Self> {
        let (per_s, burst) = (f64::from(per_s), f64::from(burst.max(1)));
        let state = Mutex::new((burst, env.monotonic()));
        (per_s > 0.0).then_some(Self { per_s, burst, env, state })
    }

    /// Takes a permit, or says in how many seconds there is one.
    pub fn take(&self) -> Result<(), u64> {
        let now = self.env.monotonic();
        let mut state = self.state.lock();
        let (permits, at) = *state;
        let permits = (permits + now.saturating_sub(at).as_secs_f64() * self.per_s).min(self.burst);
        if permits >= 1.0 {
            *state = (permits - 1.0, now);
            return Ok(());
        }
        *state = (permits, now);
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
        assert_eq!((0..3).filter(|_| rate.take().is_ok()).count(), 3);
        assert_eq!(rate.take(), Err(1));
        clock.advance(Duration::from_millis(500));
        assert_eq!(rate.take(), Ok(()));
        assert!(rate.take().is_err());
        clock.advance(Duration::from_secs(3_600));
        assert_eq!((0..10).filter(|_| rate.take().is_ok()).count(), 3);
    }

    #[test]
    fn a_rate_of_nothing_is_no_limit() {
        assert!(Rate::new(0, 10, Env::system()).is_none());
    }
}
