//! Topics and the patterns that match them.
//!
//! A topic is segments separated by dots. In a pattern a segment `*` stands for one segment, and a last segment
//! `#` for all that follow, none included.

use crate::limits::TOPIC_BYTES_MAX;

/// A checked pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Checks a pattern; `Err` says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        check_segments("pattern", text)?;
        let mut segments = text.split('.').peekable();
        while let Some(segment) = segments.next() {
            if segment == "#" && segments.peek().is_some() {
                return Err(format!("pattern `{text}`: `#` may only be the last segment"));
            }
            if segment.len() > 1 && segment.contains(['*', '#']) {
                return Err(format!(
                    "pattern `{text}`: `*` and `#` stand for whole segments, not within `{segment}`"
                ));
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether a topic matches.
    pub fn matches(&self, topic: &str) -> bool {
        let mut topic = topic.split('.');
        for segment in self.0.split('.') {
            if segment == "#" {
                return true;
            }
            match topic.next() {
                Some(actual) if segment == "*" || segment == actual => {}
                _ => return false,
            }
        }
        topic.next().is_none()
    }
}

/// Checks a topic; `Err` says what is wrong with it.
pub fn check_topic(topic: &str) -> Result<(), String> {
    check_segments("topic", topic)?;
    if topic.contains(['*', '#']) {
        return Err(format!("topic `{topic}`: `*` and `#` belong in patterns"));
    }
    Ok(())
}

fn check_segments(what: &str, text: &str) -> Result<(), String> {
    if text.len() > TOPIC_BYTES_MAX {
        return Err(format!("the {what} has {} bytes; at most {TOPIC_BYTES_MAX} are taken", text.len()));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!("the {what} {text:?} has white space or control characters"));
    }
    if text.split('.').any(str::is_empty) {
        return Err(format!("{what} `{text}`: a segment is empty; write segments separated by single dots"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_abi_says() {
        for (pattern, topic, expect) in [
            ("a.b", "a.b", true),
            ("a.b", "a", false),
            ("a", "a.b", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("*.b", "a.b", true),
            ("*", "a", true),
            ("*", "a.b", false),
            ("a.#", "a.b.c", true),
            ("a.#", "a", true),
            ("a.#", "b.c", false),
            ("a.#", "ab", false),
            ("#", "a", true),
            ("#", "a.b.c", true),
            ("a.*.c.#", "a.b.c", true),
            ("a.*.c.#", "a.b.c.d.e", true),
            ("a.*.c.#", "a.c.d", false),
        ] {
            let parsed = Pattern::parse(pattern).expect("valid");
            assert_eq!(parsed.matches(topic), expect, "{pattern} on {topic}");
        }
    }

    #[test]
    fn wrong_patterns_and_topics_are_refused() {
        let long = "x".repeat(TOPIC_BYTES_MAX + 1);
        for pattern in ["", ".", "a..b", "a.", "#.a", "a*", "a.b#", "**", "a b", "a\n", &long] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern:?}");
        }
        for topic in ["", "a..b", "a.*", "#", "a b", &long] {
            assert!(check_topic(topic).is_err(), "{topic:?}");
        }
        assert_eq!(check_topic("chainbot.workflow.started"), Ok(()));
    }
}
