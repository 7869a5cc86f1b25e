//! Topics, the patterns that match them, and an index that finds the matching ones without trying all.
//!
//! A topic is segments separated by dots. In a pattern a segment `*` stands for one segment, and a last segment `#` for all
//! that follow, none included. The index is a tree of segments: a topic costs its matches and its depth, not the
//! number of patterns.

use std::collections::HashMap;

use crate::limits::TOPIC_BYTES_MAX;

/// Checks a pattern; `Err` says what is wrong with it.
pub fn check_pattern(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > TOPIC_BYTES_MAX {
        return Err(format!("it has {} bytes; 1 to {TOPIC_BYTES_MAX} are taken", text.len()));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("it has white space or control characters".to_owned());
    }
    let mut segments = text.split('.').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() {
            return Err("a segment between dots is empty".to_owned());
        }
        if segment == "#" && segments.peek().is_some() {
            return Err("`#` may only be the last segment".to_owned());
        }
        if segment.len() > 1 && segment.contains(['*', '#']) {
            return Err(format!("`*` and `#` stand for whole segments, not within `{segment}`"));
        }
    }
    Ok(())
}

/// Patterns by their segments.
pub struct Index<T> {
    root: Node<T>,
    len: usize,
}

struct Node<T> {
    next: HashMap<String, Node<T>>,
    here: Vec<T>,
    /// Of patterns whose last segment is `#` at this place.
    rest: Vec<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { next: HashMap::new(), here: Vec::new(), rest: Vec::new() }
    }
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { root: Node::default(), len: 0 }
    }
}

impl<T: Clone> Index<T> {
    /// Adds what a checked pattern leads to.
    pub fn insert(&mut self, pattern: &str, value: T) {
        self.len += 1;
        let mut node = &mut self.root;
        for segment in pattern.split('.') {
            if segment == "#" {
                node.rest.push(value);
                return;
            }
            node = node.next.entry(segment.to_owned()).or_default();
        }
        node.here.push(value);
    }

    /// Whether no pattern was added.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What the patterns that match a topic lead to.
    pub fn matches(&self, topic: &str) -> Vec<T> {
        let mut found = Vec::new();
        // A topic over the bound matches nothing: its depth would be ours to walk.
        if self.len > 0 && topic.len() <= TOPIC_BYTES_MAX {
            let segments: Vec<&str> = topic.split('.').collect();
            self.root.collect(&segments, &mut found);
        }
        found
    }
}

impl<T: Clone> Node<T> {
    fn collect(&self, segments: &[&str], found: &mut Vec<T>) {
        found.extend(self.rest.iter().cloned());
        let Some((first, rest)) = segments.split_first() else {
            found.extend(self.here.iter().cloned());
            return;
        };
        // A topic's own `*` is no wildcard, and would find the pattern's twice.
        let exact = if *first == "*" { None } else { self.next.get(*first) };
        for node in [exact, self.next.get("*")].into_iter().flatten() {
            node.collect(rest, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_finds_what_matches_and_nothing_else() {
        let patterns = ["a.b", "a.*", "a.#", "#", "*.b", "a.*.c", "a.b.c", "b"];
        let mut index = Index::default();
        for pattern in patterns {
            check_pattern(pattern).unwrap();
            index.insert(pattern, pattern);
        }
        for (topic, expect) in [
            ("a.b", vec!["a.b", "a.*", "a.#", "#", "*.b"]),
            ("a", vec!["a.#", "#"]),
            ("a.x.c", vec!["a.#", "#", "a.*.c"]),
            ("a.b.c", vec!["a.#", "#", "a.*.c", "a.b.c"]),
            ("b", vec!["#", "b"]),
            ("*.b", vec!["#", "*.b"]),
        ] {
            let (mut found, mut expect) = (index.matches(topic), expect);
            found.sort_unstable();
            expect.sort_unstable();
            assert_eq!(found, expect, "{topic}");
        }
        assert!(Index::<u8>::default().matches("a").is_empty());
    }

    #[test]
    fn a_pattern_that_cannot_match_is_refused() {
        for pattern in ["", "a..b", "#.a", "a.b*", ".a", "a b"] {
            assert!(check_pattern(pattern).is_err(), "{pattern}");
        }
    }
}
