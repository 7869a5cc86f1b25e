//! Why an attempt gave no output, and when the receiver asks to be tried again.

use std::time::Duration;

use crate::env::Env;
use crate::error::code::run as code;
use crate::limits::{EXCERPT_CHARS_MAX, RETRY_AFTER_S_MAX};
use crate::model::{StepError, class};
use crate::net::{EgressError, Reply};
use crate::time::Timestamp;

pub use crate::engine::decide::Failure;

impl Failure {
    /// The step's rendered configuration cannot be carried out.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        StepError::new(class::INVALID, &code::EFFECT_INPUT, message).into()
    }

    /// A status that is not a success.
    pub(crate) fn status(what: &str, reply: &Reply, env: &Env) -> Self {
        let status = reply.status;
        let word = match status {
            429 => class::HTTP_429,
            400..=499 => class::HTTP_4XX,
            500..=599 => class::HTTP_5XX,
            _ => class::HTTP_STATUS,
        };
        let mut message = format!("{what} answered {status}");
        if let 300..=399 = status
            && let Some(location) = reply.header("location")
        {
            // Without its query, which may hold a credential.
            let location = location.split(['?', '#']).next().unwrap_or_default();
            message.push_str(&format!(", a redirect to `{}`", excerpt(location.as_bytes())));
        }
        if !reply.body.is_empty() {
            message.push_str(&format!(": {}", excerpt(&reply.body)));
        }
        let retry_after = reply.header("retry-after").and_then(|text| read_retry_after(text, env.now()));
        Self { error: StepError::new(word, &code::STATUS, message), retry_after, status: Some(status) }
    }
}

#[cfg(feature = "fault")]
impl Failure {
    /// A fault on purpose: the connection ended, and nobody knows what the receiver did.
    pub(crate) fn on_purpose(what: crate::env::fault::Injected) -> Self {
        StepError::new(class::CUT, &code::STATUS, what.to_string()).into()
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        Self { error, retry_after: None, status: None }
    }
}

impl From<EgressError> for Failure {
    fn from(error: EgressError) -> Self {
        StepError::from(error).into()
    }
}

/// The beginning of a body, fit for a message: one line, no control characters.
pub(crate) fn excerpt(body: &[u8]) -> String {
    // Four bytes a character at most; the rest of a large body need not be decoded.
    let head = &body[..body.len().min(4 * EXCERPT_CHARS_MAX + 4)];
    let text = String::from_utf8_lossy(head);
    let mut out = String::new();
    let mut words = text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty());
    if let Some(first) = words.next() {
        out.push_str(first);
    }
    for word in words {
        out.push(' ');
        out.push_str(word);
    }
    match out.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => {
            out.truncate(end);
            out.push('…');
        }
        None if head.len() < body.len() => out.push('…'),
        None => {}
    }
    out
}

/// Seconds, or a date as HTTP writes it. Anything else counts as absent, as RFC 9110 has it for hints.
fn read_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let most = Duration::from_secs(RETRY_AFTER_S_MAX);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number too long for u64 is a very long time.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)).min(most));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp(date.timestamp().as_millisecond()).since(now).min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_reads_seconds_and_dates() {
        let now = Timestamp::parse("2026-11-22T12:00:00Z").unwrap();
        let check = |text: &str| read_retry_after(text, now).map(|d| d.as_secs());
        assert_eq!(check("120"), Some(120));
        assert_eq!(check("Sun, 22 Nov 2026 12:01:30 GMT"), Some(90));
        assert_eq!(check("Sun, 22 Nov 2026 11:00:00 GMT"), Some(0));
        assert_eq!(check("99999999999999999999999999"), Some(RETRY_AFTER_S_MAX));
        assert_eq!(check("soon"), None);
        assert_eq!(check("-1"), None);
        assert_eq!(check(""), None);
    }

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(excerpt(b"a\r\n\x1b[31m  b"), "a [31m b");
        assert_eq!(excerpt("ä".repeat(10_000).as_bytes()).chars().count(), EXCERPT_CHARS_MAX + 1);
        assert_eq!(excerpt(b""), "");
    }
}
