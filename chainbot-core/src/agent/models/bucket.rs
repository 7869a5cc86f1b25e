//! How much of something a minute lets through: a bucket that fills steadily. Pure; the caller brings the time.

use std::time::Duration;

use parking_lot::Mutex;

const MINUTE_S: f64 = 60.0;

/// A bucket that holds what a minute gives.
pub(super) struct Bucket {
    per_minute: f64,
    // A plain lock: held for a few instructions, never with another.
    level: Mutex<Level>,
}

struct Level {
    /// Below zero is debt: what was taken in advance.
    left: f64,
    at: Duration,
}

impl Bucket {
    /// Full.
    pub fn new(per_minute: u32, now: Duration) -> Self {
        let per_minute = f64::from(per_minute.max(1));
        Self { per_minute, level: Mutex::new(Level { left: per_minute, at: now }) }
    }

    /// Takes so many, and says how long to wait before they may be used; takes nothing when that is longer than `most`. More than a minute
    /// gives is let through once the bucket is full, for it never could be otherwise.
    pub fn take(&self, many: u64, now: Duration, most: Duration) -> Result<Duration, Duration> {
        let many = (many as f64).min(self.per_minute);
        let mut level = self.level.lock();
        let passed = now.saturating_sub(level.at).as_secs_f64();
        let left = (level.left + passed * self.per_minute / MINUTE_S).min(self.per_minute);
        *level = Level { left, at: now };
        let lacks = (many - left).max(0.0);
        let wait = Duration::from_secs_f64(lacks * MINUTE_S / self.per_minute);
        if wait > most {
            return Err(wait);
        }
        level.left -= many;
        Ok(wait)
    }

    /// Gives back what was taken and not used.
    pub fn give_back(&self, many: u64) {
        let mut level = self.level.lock();
        level.left = (level.left + many as f64).min(self.per_minute);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn a_minute_gives_what_it_gives_and_more_waits() {
        let bucket = Bucket::new(60, S(0));
        assert_eq!(bucket.take(60, S(0), S(0)), Ok(S(0)));
        assert_eq!(bucket.take(1, S(0), S(0)), Err(S(1)), "nothing is taken by a wait that is too long");
        assert_eq!(bucket.take(2, S(0), S(9)), Ok(S(2)));
        assert_eq!(bucket.take(1, S(0), S(9)), Ok(S(3)), "in turn");
        assert_eq!(bucket.take(1, S(4), S(0)), Ok(S(0)));
        assert_eq!(bucket.take(60, S(1_000), S(0)), Ok(S(0)), "it holds no more than a minute's");
        assert_eq!(bucket.take(1, S(1_000), S(0)), Err(S(1)));
        bucket.give_back(5);
        assert_eq!(bucket.take(5, S(1_000), S(0)), Ok(S(0)));
    }

    #[test]
    fn what_is_larger_than_a_minute_waits_for_a_full_bucket() {
        let bucket = Bucket::new(60, S(0));
        assert_eq!(bucket.take(1_000, S(0), S(0)), Ok(S(0)));
        assert_eq!(bucket.take(1_000, S(0), S(100)), Ok(S(60)));
    }
}
