//! At most so many requests in a time, for each agent. In memory: a restart forgets, and the server has limits of its own.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::id::WorkflowId;
use crate::limits::API_RATES_MAX;

/// What an agent may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) requests: u32,
    pub(super) per: Duration,
}

/// The windows under way. One lock, for it is held for a look-up.
#[derive(Default)]
pub(super) struct Rates(Mutex<HashMap<WorkflowId, (Duration, u32)>>);

impl Rates {
    /// Takes one request; `Err` is the time until there may be another.
    pub(super) fn take(&self, agent: WorkflowId, rate: Rate, now: Duration) -> Result<(), Duration> {
        let mut windows = self.0.lock();
        if windows.len() >= API_RATES_MAX && !windows.contains_key(&agent) {
            // No window is longer than a day, so what began before has ended.
            windows.retain(|_, (begun, _)| now.saturating_sub(*begun) < rate.per);
        }
        let (begun, count) = windows.entry(agent).or_insert((now, 0));
        if now.saturating_sub(*begun) >= rate.per {
            (*begun, *count) = (now, 0);
        }
        if *count >= rate.requests {
            return Err((*begun + rate.per).saturating_sub(now));
        }
        *count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_over_the_rate_wait_for_the_next_window() {
        let (rates, rate) = (Rates::default(), Rate { requests: 2, per: Duration::from_secs(60) });
        let (one, other) = (WorkflowId::from([1; 16]), WorkflowId::from([2; 16]));
        let at = Duration::from_secs;
        assert_eq!(rates.take(one, rate, at(0)), Ok(()));
        assert_eq!(rates.take(one, rate, at(10)), Ok(()));
        assert_eq!(rates.take(one, rate, at(20)), Err(at(40)));
        assert_eq!(rates.take(other, rate, at(20)), Ok(()));
        assert_eq!(rates.take(one, rate, at(60)), Ok(()));
        assert_eq!(rates.take(one, rate, at(61)), Ok(()));
        assert_eq!(rates.take(one, rate, at(62)), Err(at(58)));
    }
}
