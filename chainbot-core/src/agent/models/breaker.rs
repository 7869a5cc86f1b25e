//! Leaves a server alone that fails again and again, and lets one call try it after a while. Pure; the caller brings the time.
//!
//! ```text
//! closed ──failures in a row──► open ──time──► half open: one call ──good──► closed
//!                                 ▲                          └──bad──┘ back, for longer
//! ```

use std::time::Duration;

use parking_lot::Mutex;

use crate::limits::{MODEL_BREAK_S_MAX, MODEL_BREAK_S_MIN, MODEL_FAILURES_MAX};

/// Where a breaker stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// None does, for so long.
    Open(Duration),
    /// One tries.
    HalfOpen,
}

impl BreakerState {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open(_) => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

#[derive(Clone, Copy)]
enum State {
    Closed {
        failures: u32,
    },
    /// `times`: how often in a row it opened.
    Open {
        until: Duration,
        times: u32,
    },
    HalfOpen {
        times: u32,
    },
}

/// One server's.
pub(super) struct Breaker {
    // A plain lock: held for a few instructions, never with another.
    state: Mutex<State>,
}

/// A call that was let through. Dropped without a word, it has said nothing of the server.
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    is_said: bool,
}

impl Breaker {
    /// Closed.
    pub fn new() -> Self {
        Self { state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Lets a call through, or says for how long none is.
    pub fn enter(&self, now: Duration) -> Result<Pass<'_>, Duration> {
        let mut state = self.state.lock();
        match *state {
            State::Closed { .. } => {}
            State::Open { until, times } if now >= until => *state = State::HalfOpen { times },
            State::Open { until, .. } => return Err(until - now),
            State::HalfOpen { .. } => return Err(Duration::from_secs(MODEL_BREAK_S_MIN)),
        }
        Ok(Pass { breaker: self, is_said: false })
    }

    /// For people.
    pub fn state(&self, now: Duration) -> BreakerState {
        match *self.state.lock() {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until, .. } if now < until => BreakerState::Open(until - now),
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }
}

impl Pass<'_> {
    /// The server works.
    pub fn good(mut self) {
        self.is_said = true;
        *self.breaker.state.lock() = State::Closed { failures: 0 };
    }

    /// It does not.
    pub fn bad(mut self, now: Duration) {
        self.is_said = true;
        let mut state = self.breaker.state.lock();
        *state = match *state {
            State::Closed { failures } if failures + 1 < MODEL_FAILURES_MAX => {
                State::Closed { failures: failures + 1 }
            }
            State::Closed { .. } => opened(now, 0),
            State::HalfOpen { times } => opened(now, times.saturating_add(1)),
            // Of a call that began before it opened.
            open @ State::Open { .. } => open,
        };
    }
}

fn opened(now: Duration, times: u32) -> State {
    let seconds = MODEL_BREAK_S_MIN.saturating_mul(1 << times.min(16)).min(MODEL_BREAK_S_MAX);
    State::Open { until: now + Duration::from_secs(seconds), times }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.is_said {
            let mut state = self.breaker.state.lock();
            if let State::HalfOpen { times } = *state {
                // The next call tries.
                *state = State::Open { until: Duration::ZERO, times };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn open(breaker: &Breaker) {
        for _ in 0..MODEL_FAILURES_MAX {
            breaker.enter(S(0)).ok().unwrap().bad(S(0));
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_call_tries_later() {
        let breaker = Breaker::new();
        for _ in 0..3 {
            for _ in 1..MODEL_FAILURES_MAX {
                breaker.enter(S(0)).ok().unwrap().bad(S(0));
            }
            breaker.enter(S(0)).ok().unwrap().good();
        }
        assert_eq!(breaker.state(S(0)), BreakerState::Closed, "not in a row");
        open(&breaker);
        assert_eq!(breaker.state(S(1)), BreakerState::Open(S(MODEL_BREAK_S_MIN - 1)));
        assert_eq!(breaker.enter(S(1)).err(), Some(S(MODEL_BREAK_S_MIN - 1)));
        let now = S(MODEL_BREAK_S_MIN);
        let trial = breaker.enter(now).ok().unwrap();
        assert!(breaker.enter(now).is_err(), "one tries, not all");
        trial.bad(now);
        assert_eq!(breaker.state(now), BreakerState::Open(S(2 * MODEL_BREAK_S_MIN)), "for longer");
        let now = now + S(2 * MODEL_BREAK_S_MIN);
        breaker.enter(now).ok().unwrap().good();
        assert_eq!(breaker.state(now), BreakerState::Closed);
    }

    #[test]
    fn a_trial_that_is_dropped_leaves_the_place_to_the_next() {
        let breaker = Breaker::new();
        open(&breaker);
        let now = S(MODEL_BREAK_S_MIN);
        drop(breaker.enter(now).ok().unwrap());
        assert_eq!(breaker.state(now), BreakerState::HalfOpen);
        breaker.enter(now).ok().unwrap().good();
        assert_eq!(breaker.state(now), BreakerState::Closed);
    }

    #[test]
    fn it_is_never_left_alone_for_ever() {
        let breaker = Breaker::new();
        open(&breaker);
        let mut now = S(0);
        for _ in 0..40 {
            let Err(wait) = breaker.enter(now) else { panic!("open") };
            assert!(wait <= S(MODEL_BREAK_S_MAX));
            now += wait;
            breaker.enter(now).ok().unwrap().bad(now);
        }
    }
}
