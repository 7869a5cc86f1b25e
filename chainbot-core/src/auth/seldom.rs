//! Counts what strangers cause, and lets it be told seldom: a flood must not fill the disk.

use std::time::Duration;

use parking_lot::Mutex;

/// The count.
pub struct Seldom {
    every: Duration,
    // Held for a few instructions.
    count: Mutex<Count>,
}

#[derive(Default)]
struct Count {
    untold: u64,
    told_at: Option<Duration>,
}

impl Seldom {
    /// Told at once, and then at most once in this time.
    pub fn new(every: Duration) -> Self {
        Self { every, count: Mutex::default() }
    }

    /// One more. `Some` when it is to be told: how many there were since it was told last.
    pub fn one_more(&self, now: Duration) -> Option<u64> {
        let mut count = self.count.lock();
        count.untold += 1;
        if count.told_at.is_some_and(|at| now.saturating_sub(at) < self.every) {
            return None;
        }
        count.told_at = Some(now);
        Some(std::mem::take(&mut count.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_with_their_number() {
        let seldom = Seldom::new(Duration::from_secs(10));
        let at = Duration::from_secs;
        assert_eq!(seldom.one_more(at(100)), Some(1));
        assert_eq!((seldom.one_more(at(101)), seldom.one_more(at(109))), (None, None));
        assert_eq!((seldom.one_more(at(110)), seldom.one_more(at(111))), (Some(3), None));
    }
}
