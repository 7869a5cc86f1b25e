//! What servers say in words: the beginning of a body for a message, and when to come again. Pure.

use std::time::Duration;

use crate::limits::{EXCERPT_CHARS_MAX, RETRY_AFTER_S_MAX};
use crate::time::Timestamp;

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
pub(crate) fn read_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
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
