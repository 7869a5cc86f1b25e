//! What becomes of a message after a try: pure.
//!
//! Webhooks follow the schedule that Standard Webhooks recommends: ten tries over some three days. A notification of
//! yesterday tells nobody anything, so those of channels are given up after some hours.

use std::time::Duration;

use serde_json::Value;

use crate::engine::decide::Failure;
use crate::limits;
use crate::port::{MessageKind, MessageMark, MessageState, StoredMessage};
use crate::time::Timestamp;

/// Before each try of a webhook but the first, in seconds.
const WEBHOOK_S: &[u64] = &[5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// Before each try of a notification but the first, in seconds.
const CHANNEL_S: &[u64] = &[5, 30, 300, 1_800, 7_200];

/// What follows from a try.
#[derive(Debug, PartialEq)]
pub(super) struct Tried {
    pub(super) mark: MessageMark,
    /// The receiver wants to be left alone until then, with all that is for it.
    pub(super) rest_until: Option<Timestamp>,
}

/// `attempt`: which try it was, from 1.
pub(super) fn judge(
    stored: &StoredMessage,
    attempt: u32,
    outcome: Result<Value, Failure>,
    now: Timestamp,
    random: u64,
) -> Tried {
    let mark = |state, at, error| MessageMark { id: stored.message.id, state, attempts: attempt, at, error };
    let failure = match outcome {
        Ok(_) => return Tried { mark: mark(MessageState::Delivered, now, None), rest_until: None },
        Err(failure) => failure,
    };
    let error = Some(format!("{}: {}", failure.error.code, failure.error.message));
    let is_slow = matches!(failure.status, Some(429 | 502 | 504));
    let rest = failure.retry_after.or_else(|| is_slow.then(|| Duration::from_secs(limits::OUTBOX_SLOW_S)));
    let rest_until = rest.map(|rest| now.after(rest));
    // Gone: the receiver says that nothing is to be sent there any more.
    if failure.status == Some(410) {
        return Tried { mark: mark(MessageState::Dead, now, error), rest_until: None };
    }
    match delay(stored.message.kind, attempt, random) {
        None => Tried { mark: mark(MessageState::Dead, now, error), rest_until },
        Some(delay) => {
            let due = now.after(delay);
            let due = rest_until.map_or(due, |rest| rest.max(due));
            Tried { mark: mark(MessageState::Pending, due, error), rest_until }
        }
    }
}

/// After the try `attempt`: its delay and up to a tenth more, so that receivers that were down are not met by everything
/// at one instant. `None`: it was the last.
fn delay(kind: MessageKind, attempt: u32, random: u64) -> Option<Duration> {
    let schedule = match kind {
        MessageKind::Webhook => WEBHOOK_S,
        MessageKind::Channel => CHANNEL_S,
    };
    let seconds = *schedule.get(attempt.saturating_sub(1) as usize)?;
    Some(Duration::from_millis(seconds * 1_000 + random % (seconds * 100 + 1)))
}
