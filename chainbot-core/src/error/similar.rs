//! Did-you-mean: the one word among those known that was most likely meant.
//!
//! A leaf: configuration, expressions and definitions all ask here, so they all guess alike. It offers a
//! word only when it is near enough to be a slip of the hand; a wrong guess is worse than none.

use crate::limits::SIMILAR_CHARS_MAX;

/// The word among `among` nearest to `word`, when one is near enough: at most one edit for words up to
/// five characters, two up to eleven, three beyond. An edit is a character added, dropped or replaced,
/// or two swapped; case, `-` and `_` count nothing.
///
/// ```
/// use chainbot_core::error::similar;
/// assert_eq!(similar("fetsh", ["read", "fetch"]), Some("fetch"));
/// assert_eq!(similar("store", ["read", "fetch"]), None);
/// ```
pub fn similar<'a>(word: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = folded(word)?;
    let far = match wanted.len() {
        0..=5 => 1,
        6..=11 => 2,
        _ => 3,
    };
    let mut best: Option<(usize, &'a str)> = None;
    for candidate in among {
        let Some(letters) = folded(candidate) else { continue };
        if letters.len().abs_diff(wanted.len()) > far {
            continue;
        }
        let distance = distance(&wanted, &letters);
        // A word of two letters is one edit away from most others, so at least half must agree.
        if distance <= far && 2 * distance <= letters.len() && best.is_none_or(|(least, _)| distance < least)
        {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Lower-case letters without separators; `None` when there are none or far too many.
fn folded(word: &str) -> Option<Vec<char>> {
    let mut letters = Vec::new();
    for c in word.chars().filter(|c| !matches!(c, '-' | '_' | ' ')) {
        letters.extend(c.to_lowercase());
        if letters.len() > SIMILAR_CHARS_MAX {
            return None;
        }
    }
    (!letters.is_empty()).then_some(letters)
}

/// Edits between two words (optimal string alignment), three rows at a time.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let mut least = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::similar;

    #[test]
    fn a_slip_of_the_hand_is_recognised_and_another_word_is_not() {
        let known = ["method", "url", "headers", "follow_redirects", "on_error", "if"];
        let cases = [
            ("metod", Some("method")),
            ("mehtod", Some("method")),
            ("METHOD", Some("method")),
            ("header", Some("headers")),
            ("followRedirects", Some("follow_redirects")),
            ("on-error", Some("on_error")),
            ("rul", Some("url")),
            ("it", Some("if")),
            ("zz", None),
            ("payload", None),
            ("", None),
        ];
        for (word, expected) in cases {
            assert_eq!(similar(word, known), expected, "{word}");
        }
    }

    #[test]
    fn a_word_of_a_million_letters_is_not_compared() {
        assert_eq!(similar(&"a".repeat(1_000_000), ["a"]), None);
    }
}
