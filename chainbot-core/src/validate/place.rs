//! From an offset inside a decoded scalar back to its line and column in the source.
//!
//! Quotes, escapes, folding and block indentation change the text, but no style adds, drops or reorders
//! what is not white space, except escapes. So the place of a character is found by counting the visible
//! characters before it in the decoded text, and walking as many in the source. One rule serves all styles.

use crate::error::Pos;

/// The lines of a source.
pub(super) struct Places<'s> {
    source: &'s str,
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
}

impl<'s> Places<'s> {
    /// Finds the lines.
    pub(super) fn new(source: &'s str) -> Self {
        let bytes = source.as_bytes();
        let mut lines = vec![0];
        for (i, byte) in bytes.iter().enumerate() {
            let is_break = *byte == b'\n' || (*byte == b'\r' && bytes.get(i + 1) != Some(&b'\n'));
            if is_break {
                lines.push(i + 1);
            }
        }
        Self { source, lines }
    }

    /// Where the byte `offset` of `text` stands, when the scalar that holds `text` begins at `start`.
    /// Falls back to `start` when source and text do not agree.
    pub(super) fn within(&self, start: Pos, text: &str, offset: usize) -> Pos {
        self.find(start, text, offset).unwrap_or(start)
    }

    fn find(&self, start: Pos, text: &str, offset: usize) -> Option<Pos> {
        let before = text.get(..offset)?;
        let visible = before.chars().filter(|c| !c.is_whitespace()).count();
        let line_start = *self.lines.get((start.line as usize).checked_sub(1)?)?;
        let skipped = (start.column as usize).checked_sub(1)?;
        let begin =
            line_start + self.source.get(line_start..)?.char_indices().nth(skipped).map_or(0, |(i, _)| i);
        let rest = self.source.get(begin..)?;
        let mut walk = Walk::over(self.source.get(..begin)?, rest)?;
        for _ in 0..visible {
            walk.visible()?;
        }
        // The place of white space is that of what follows it, unless nothing does.
        let at = walk.clone().visible().map_or(walk.at, |at| at);
        Some(self.pos(begin + at))
    }

    /// Line and column of a byte of the source.
    fn pos(&self, at: usize) -> Pos {
        let line = self.lines.partition_point(|start| *start <= at);
        let start = self.lines[line.saturating_sub(1)];
        let column = self.source.get(start..at).map_or(0, |text| text.chars().count());
        Pos { line: number(line), column: number(column + 1) }
    }
}

/// Whether what follows is the first line of a block scalar: only white space since a line that ends with
/// `|` or `>` and its indicators.
fn in_block(before: &str) -> bool {
    let (above, indent) = before.rsplit_once(['\n', '\r']).unwrap_or(("", before));
    let header = above.trim_end().rsplit(['\n', '\r']).next().unwrap_or_default();
    let header = header.split(" #").next().unwrap_or_default();
    indent.trim().is_empty()
        && header
            .trim_end()
            .trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'))
            .ends_with(['|', '>'])
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// A walk over the visible characters of a scalar in the source.
#[derive(Clone)]
struct Walk<'s> {
    rest: &'s str,
    at: usize,
    style: Style,
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    AsIs,
    Single,
    Double,
}

impl<'s> Walk<'s> {
    /// A walk from where a scalar begins; that of a block scalar is its first line, below the `|`.
    fn over(before: &str, rest: &'s str) -> Option<Self> {
        Some(match rest.chars().next()? {
            _ if in_block(before) => Self { rest, at: 0, style: Style::AsIs },
            '"' => Self { rest, at: 1, style: Style::Double },
            '\'' => Self { rest, at: 1, style: Style::Single },
            _ => Self { rest, at: 0, style: Style::AsIs },
        })
    }

    /// Goes past the next visible character and says where it began.
    fn visible(&mut self) -> Option<usize> {
        loop {
            let at = self.at;
            let c = self.rest.get(at..)?.chars().next()?;
            self.at += c.len_utf8();
            match (self.style, c) {
                (_, c) if c.is_whitespace() => {}
                (Style::Single, '\'') => {
                    self.rest.get(self.at..)?.starts_with('\'').then_some(())?;
                    self.at += 1;
                    return Some(at);
                }
                (Style::Double, '"') => return None,
                (Style::Double, '\\') => {
                    if self.escape()? {
                        return Some(at);
                    }
                }
                _ => return Some(at),
            }
        }
    }

    /// Goes past an escape, of which the backslash was read; says whether it stands for something visible.
    fn escape(&mut self) -> Option<bool> {
        let c = self.rest.get(self.at..)?.chars().next()?;
        self.at += c.len_utf8();
        let digits = match c {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => {
                return Some(
                    !(c.is_whitespace() || matches!(c, 't' | 'n' | 'v' | 'f' | 'r' | 'N' | '_' | 'L' | 'P')),
                );
            }
        };
        let code = u32::from_str_radix(self.rest.get(self.at..self.at + digits)?, 16).ok()?;
        self.at += digits;
        if (0xD800..0xDC00).contains(&code) {
            // The other half of the pair is one character with it.
            self.at += 6;
        }
        Some(!char::from_u32(code).is_some_and(char::is_whitespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds the place of `needle` through the decoded value of `key: <scalar>` and compares.
    fn check(source: &str, needle: &str, expected: (u32, u32)) {
        let document = super::super::document(source).unwrap();
        let node = document.get("key").unwrap();
        let text = node.as_str().unwrap();
        let pos = Places::new(source).within(node.pos, text, text.find(needle).unwrap());
        assert_eq!((pos.line, pos.column), expected, "{source:?} at {:?}", node.pos);
    }

    #[test]
    fn an_offset_is_found_in_every_style_of_scalar() {
        check("key: a + bad", "bad", (1, 10));
        check("key: ü + bad", "bad", (1, 10));
        check("key: 'it''s bad'", "bad", (1, 13));
        check(r#"key: "a\u00e9\n\tb\"bad""#, "bad", (1, 21));
        check(r#"key: "\ud83d\ude00 bad""#, "bad", (1, 20));
        check("key: |\n  one\n  two bad\n", "bad", (3, 7));
        check("key: >-\n  one\n\n  two bad\n", "bad", (4, 7));
        check("key: one\n  two\n  bad", "bad", (3, 3));
        check("key: \"one\n  two \\\n  bad\"", "bad", (3, 3));
        check("key: >- # a comment\n  \"one\" 'two' bad\n", "bad", (2, 15));
        check("key:\n  \"\\u0041 bad\"", "bad", (2, 11));
        check("key: |2\r\n   one\r\n  bad\r\n", "bad", (3, 3));
    }
}
