//! What two texts or two values differ in.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::error::Result;

/// Changes that are listed; nobody reads more.
const CHANGES_MAX: usize = 500;
/// A value larger than this is named and not shown.
const VALUE_BYTES_MAX: usize = 4_096;
/// Lines of one text that are compared: the table of comparisons has this many squared bits of work at worst.
const LINES_MAX: usize = 20_000;
/// Cells of the table of comparisons, two bytes each: 32 MiB at worst.
const CELLS_MAX: usize = 16 * 1024 * 1024;
/// Lines around a change that stay the same.
const CONTEXT: usize = 3;

/// A value that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Where: `steps.fetch.output`.
    pub path: String,
    /// `added`, `removed` or `changed`.
    pub kind: &'static str,
    /// On the one side; absent when added, or too large to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a: Option<Value>,
    /// On the other side; absent when removed, or too large to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<Value>,
}

/// Changes as they are found.
#[derive(Default)]
pub(super) struct Changes {
    found: Vec<Change>,
    has_more: bool,
}

impl Changes {
    /// Compares two values, member by member.
    pub(super) fn compare(&mut self, path: &str, a: &Value, b: &Value) {
        match (a, b) {
            _ if a == b => {}
            (Value::Object(a), Value::Object(b)) => {
                let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
                for name in names {
                    let dot = if path.is_empty() { "" } else { "." };
                    self.one(&format!("{path}{dot}{name}"), a.get(name), b.get(name));
                }
            }
            (Value::Array(a), Value::Array(b)) => {
                for index in 0..a.len().max(b.len()) {
                    self.one(&format!("{path}[{index}]"), a.get(index), b.get(index));
                }
            }
            _ => self.push(path, "changed", Some(a), Some(b)),
        }
    }

    fn one(&mut self, path: &str, a: Option<&Value>, b: Option<&Value>) {
        match (a, b) {
            (Some(a), Some(b)) => self.compare(path, a, b),
            (Some(_), None) => self.push(path, "removed", a, None),
            (None, _) => self.push(path, "added", None, b),
        }
    }

    fn push(&mut self, path: &str, kind: &'static str, a: Option<&Value>, b: Option<&Value>) {
        if self.found.len() >= CHANGES_MAX {
            self.has_more = true;
            return;
        }
        let small = |value: &&Value| value.to_string().len() <= VALUE_BYTES_MAX;
        let (a, b) = (a.filter(small).cloned(), b.filter(small).cloned());
        self.found.push(Change { path: path.to_owned(), kind, a, b });
    }

    /// The changes, and whether there are more.
    pub(super) fn into_parts(self) -> (Vec<Change>, bool) {
        (self.found, self.has_more)
    }
}

/// One line of a comparison.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Line<'a> {
    Same(&'a str),
    Gone(&'a str),
    New(&'a str),
}

/// Two texts as `diff -u` shows them; empty when they are the same.
pub(super) fn unified(name_a: &str, a: &str, name_b: &str, b: &str) -> Result<String> {
    if a == b {
        return Ok(String::new());
    }
    let lines = compare_lines(&a.lines().collect::<Vec<_>>(), &b.lines().collect::<Vec<_>>())?;
    let mut out = format!("--- {name_a}\n+++ {name_b}\n");
    let is_change = |line: &Line<'_>| !matches!(line, Line::Same(_));
    let (mut from, mut at_a, mut at_b) = (0, 0, 0);
    while let Some(first) = lines[from..].iter().position(is_change).map(|offset| from + offset) {
        let begin = first.saturating_sub(CONTEXT).max(from);
        let mut end = first + 1;
        while let Some(next) = lines[end..].iter().position(is_change).filter(|gap| *gap <= 2 * CONTEXT) {
            end += next + 1;
        }
        let end = (end + CONTEXT).min(lines.len());
        let skipped = begin - from;
        (at_a, at_b) = (at_a + skipped, at_b + skipped);
        let hunk = &lines[begin..end];
        let count_a = hunk.iter().filter(|line| !matches!(line, Line::New(_))).count();
        let count_b = hunk.iter().filter(|line| !matches!(line, Line::Gone(_))).count();
        out.push_str(&format!("@@ -{},{count_a} +{},{count_b} @@\n", at_a + 1, at_b + 1));
        for line in hunk {
            let (sign, text) = match line {
                Line::Same(text) => (' ', text),
                Line::Gone(text) => ('-', text),
                Line::New(text) => ('+', text),
            };
            out.push(sign);
            out.push_str(text);
            out.push('\n');
        }
        (at_a, at_b, from) = (at_a + count_a, at_b + count_b, end);
    }
    Ok(out)
}

/// The longest common lines stay; what is between them is gone or new.
fn compare_lines<'a>(a: &[&'a str], b: &[&'a str]) -> Result<Vec<Line<'a>>> {
    let head = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let tail = a[head..].iter().rev().zip(b[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (mid_a, mid_b) = (&a[head..a.len() - tail], &b[head..b.len() - tail]);
    let longest = a.len().max(b.len());
    let width = mid_b.len() + 1;
    if longest > LINES_MAX || width.saturating_mul(mid_a.len() + 1) > CELLS_MAX {
        return Err(super::versions::too_long(longest, LINES_MAX));
    }
    // `common[i][j]`: how many lines the rests from i and j have in common.
    let mut common = vec![0u16; width * (mid_a.len() + 1)];
    for i in (0..mid_a.len()).rev() {
        for j in (0..mid_b.len()).rev() {
            common[i * width + j] = match mid_a[i] == mid_b[j] {
                true => common[(i + 1) * width + j + 1] + 1,
                false => common[(i + 1) * width + j].max(common[i * width + j + 1]),
            };
        }
    }
    let mut out: Vec<Line<'a>> = a[..head].iter().map(|line| Line::Same(line)).collect();
    let (mut i, mut j) = (0, 0);
    while i < mid_a.len() || j < mid_b.len() {
        if i < mid_a.len() && j < mid_b.len() && mid_a[i] == mid_b[j] {
            out.push(Line::Same(mid_a[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < mid_a.len()
            && (j == mid_b.len() || common[(i + 1) * width + j] >= common[i * width + j + 1])
        {
            out.push(Line::Gone(mid_a[i]));
            i += 1;
        } else {
            out.push(Line::New(mid_b[j]));
            j += 1;
        }
    }
    out.extend(a[a.len() - tail..].iter().map(|line| Line::Same(line)));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_differ_by_lines_with_their_surroundings() {
        let a = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n";
        let b = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n11\n12\n13\n14\n";
        let expected = "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n\
                        @@ -11,3 +11,4 @@\n 11\n 12\n 13\n+14\n";
        assert_eq!(unified("a", a, "b", b).unwrap(), expected);
        assert_eq!(unified("a", a, "b", a).unwrap(), "");
    }

    #[test]
    fn values_differ_by_their_places() {
        let mut changes = Changes::default();
        changes.compare("", &json!({"a": [1, {"x": 1}], "b": 1}), &json!({"a": [1, {"x": 2}, 3], "c": 1}));
        let (found, has_more) = changes.into_parts();
        let words: Vec<String> = found.iter().map(|c| format!("{} {}", c.kind, c.path)).collect();
        assert_eq!(words, ["changed a[1].x", "added a[2]", "removed b", "added c"]);
        assert!(!has_more);
    }

    #[test]
    fn more_changes_than_anybody_reads_are_cut_and_said() {
        let many = |n: u32| Value::Array((0..1_000).map(|i| json!(i + n)).collect());
        let mut changes = Changes::default();
        changes.compare("", &many(0), &many(1));
        let (found, has_more) = changes.into_parts();
        assert_eq!((found.len(), has_more), (CHANGES_MAX, true));
    }
}
