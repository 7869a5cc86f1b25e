//! Times of a cron expression in a zone, and what is due after a while without looking. Pure: reads no clock.
//!
//! Summer time follows what cron users know: a fixed time that the clock jumps over happens at the first moment after the
//! gap; one that comes twice happens once, the first time; an interval (`*/30`) follows the clock as it stands.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;

use crate::limits::{CRON_BYTES_MAX, MISSED_LATE_MS, MISSED_RUNS_MAX};
use crate::model::Missed;
use crate::time::Timestamp;

/// A cron expression in a zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Times for which a run is to be started, oldest first.
    pub fire: Vec<Timestamp>,
    /// When to look again; `None` when no time follows.
    pub next: Option<Timestamp>,
    /// Whether times before `fire` were let go.
    pub dropped: bool,
}

impl Schedule {
    /// Five fields, or six with seconds first; `Err` says what is wrong.
    pub fn parse(cron: &str, zone: &str) -> Result<Self, String> {
        Ok(Self { cron: Self::parse_cron(cron)?, zone: Self::parse_zone(zone)? })
    }

    /// The expression alone.
    pub fn parse_cron(text: &str) -> Result<Cron, String> {
        if text.len() > CRON_BYTES_MAX {
            return Err(format!("it is longer than {CRON_BYTES_MAX} bytes"));
        }
        let fields = text.split_whitespace().count();
        if !(5..=6).contains(&fields) && !text.trim_start().starts_with('@') {
            return Err(format!("it has {fields} fields; five are wanted, or six with seconds first"));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        parser.parse(text.trim()).map_err(|error| error.to_string())
    }

    /// The zone alone.
    pub fn parse_zone(name: &str) -> Result<TimeZone, String> {
        TimeZone::get(name).map_err(|_| "it is no time zone of the IANA database".to_owned())
    }

    /// The first time after `after`.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let from = self.zoned(after)?;
        let found = self.cron.find_next_occurrence(&from, false).ok()?;
        Some(Timestamp(found.timestamp().as_millisecond())).filter(|found| *found > after)
    }

    /// The last time at or before `until`.
    fn last(&self, until: Timestamp) -> Option<Timestamp> {
        let from = self.zoned(until)?;
        let found = self.cron.find_previous_occurrence(&from, true).ok()?;
        Some(Timestamp(found.timestamp().as_millisecond())).filter(|found| *found <= until)
    }

    fn zoned(&self, at: Timestamp) -> Option<jiff::Zoned> {
        Some(jiff::Timestamp::from_millisecond(at.0).ok()?.to_zoned(self.zone.clone()))
    }

    /// What is due at `now` of a schedule whose next time was `due`. The work is bounded, however long ago that is.
    pub fn due(&self, due: Timestamp, now: Timestamp, missed: Missed) -> Due {
        if due > now {
            return Due { fire: Vec::new(), next: Some(due), dropped: false };
        }
        let most = if missed == Missed::All { MISSED_RUNS_MAX } else { 1 };
        let (mut fire, mut until, mut dropped) = (Vec::new(), now, false);
        while let Some(time) = self.last(until).filter(|time| *time >= due) {
            if fire.len() == most {
                dropped = true;
                break;
            }
            fire.push(time);
            until = Timestamp(time.0 - 1);
        }
        if missed == Missed::Skip {
            // A busy second is no reason to let a time go; a night without power is.
            let is_fresh = |time: &Timestamp| now.0.saturating_sub(time.0) <= MISSED_LATE_MS;
            let before = fire.len();
            fire.retain(is_fresh);
            dropped |= fire.len() < before;
        }
        fire.reverse();
        Due { fire, next: self.next(now), dropped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    /// The times after `from`, as UTC.
    fn check(cron: &str, zone: &str, from: &str, expect: &[&str]) {
        let schedule = Schedule::parse(cron, zone).unwrap();
        let mut now = at(from);
        for expect in expect {
            let next = schedule.next(now).unwrap();
            assert_eq!(next.to_string(), at(expect).to_string(), "{cron} in {zone} after {now}");
            assert_eq!(schedule.last(next), Some(next), "{cron}: the way back is the same");
            now = next;
        }
    }

    #[test]
    fn a_time_in_the_gap_of_spring_happens_right_after_it() {
        let from = "2026-03-28T12:00:00Z";
        // 02:30 does not exist on the 29th; 03:00 CEST is 01:00 UTC.
        check("30 2 * * *", "Europe/Berlin", from, &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        let from = "2026-03-29T00:20:00Z";
        check("*/30 * * * *", "Europe/Berlin", from, &["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"]);
    }

    #[test]
    fn a_time_that_comes_twice_in_autumn_happens_once() {
        let from = "2026-10-24T12:00:00Z";
        check("30 2 * * *", "Europe/Berlin", from, &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        let from = "2026-10-25T00:10:00Z";
        let half_hours =
            ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"];
        check("*/30 * * * *", "Europe/Berlin", from, &half_hours);
    }

    #[test]
    fn zones_and_seconds_are_kept() {
        check("0 9 * * MON", "America/New_York", "2026-07-01T00:00:00Z", &["2026-07-06T13:00:00Z"]);
        check("*/10 * * * * *", "UTC", "2026-07-01T00:00:05Z", &["2026-07-01T00:00:10Z"]);
    }

    #[test]
    fn what_was_missed_follows_the_policy_and_is_bounded() {
        let schedule = Schedule::parse("0 * * * *", "UTC").unwrap();
        let due = at("2026-01-01T01:00:00Z");
        let now = at("2026-01-01T05:10:00Z");
        let next = Some(at("2026-01-01T06:00:00Z"));
        let five = at("2026-01-01T05:00:00Z");
        assert_eq!(schedule.due(due, now, Missed::Skip), Due { fire: vec![], next, dropped: true });
        assert_eq!(schedule.due(due, now, Missed::One), Due { fire: vec![five], next, dropped: true });
        let all = schedule.due(due, now, Missed::All);
        assert_eq!((all.fire.len(), all.fire[0], all.dropped), (5, due, false));
        let late = schedule.due(due, due.after(std::time::Duration::from_secs(59)), Missed::Skip);
        assert_eq!(late.fire, [due], "a minute late is not missed");
        let decade = at("2036-01-01T00:30:00Z");
        let all = schedule.due(due, decade, Missed::All);
        assert_eq!((all.fire.len(), all.dropped), (MISSED_RUNS_MAX, true));
        assert_eq!(all.fire.last(), Some(&at("2036-01-01T00:00:00Z")), "the latest are kept");
        assert_eq!(schedule.due(decade, now, Missed::All).fire, [], "nothing is early");
    }

    #[test]
    fn what_cannot_be_a_schedule_is_refused() {
        for cron in ["", "* * * *", "61 * * * *", "* * * * * * *", "a b c d e"] {
            assert!(Schedule::parse(cron, "UTC").is_err(), "{cron}");
        }
        assert!(Schedule::parse("* * * * *", "Europe/Berln").is_err());
        let never = Schedule::parse("0 0 30 2 *", "UTC").unwrap();
        assert_eq!(never.next(at("2026-01-01T00:00:00Z")), None);
    }
}
