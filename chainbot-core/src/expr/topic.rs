//! Topics of events and patterns of them: segments joined by dots, `*` for one segment, a last `#` for the rest.

/// Whether text is a pattern; a topic without wildcards is one too.
pub fn is_pattern(text: &str) -> bool {
    let count = text.split('.').count();
    text.split('.').enumerate().all(|(index, segment)| match segment {
        "*" => true,
        "#" => index + 1 == count,
        word => is_segment(word),
    })
}

fn is_segment(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '/'))
}

/// Whether a pattern matches a topic. `#` also matches no segment at all.
pub fn matches(pattern: &str, topic: &str) -> bool {
    let mut segments = topic.split('.');
    for wanted in pattern.split('.') {
        if wanted == "#" {
            return true;
        }
        match segments.next() {
            Some(segment) if wanted == "*" || wanted == segment => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_segments() {
        let cases = [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.b.c", "a.b", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.b.d", false),
            ("a.#", "a", true),
            ("a.#", "a.b.c", true),
            ("a.#", "ab", false),
            ("#", "anything.at.all", true),
        ];
        for (pattern, topic, expected) in cases {
            assert_eq!(matches(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for text in ["a", "a.b", "*.b", "a.#", "#", "host:1.x/y"] {
            assert!(is_pattern(text), "{text}");
        }
        for text in ["", ".", "a..b", "#.a", "a.b*", "a b", "a.{{ x }}"] {
            assert!(!is_pattern(text), "{text}");
        }
    }
}
