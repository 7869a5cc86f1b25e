//! Cuts a stream of bytes into lines. Pure.
//!
//! Invariant: no byte is looked at twice, so many small chunks of one long line cost no more than one large chunk.

use crate::limits::STREAM_LINE_BYTES_MAX;

/// Bytes that came and are not yet a line.
#[derive(Default)]
pub(crate) struct Lines {
    buffer: Vec<u8>,
    searched: usize,
}

impl Lines {
    /// Adds what came.
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole line without its end. What is not UTF-8 shows as U+FFFD.
    pub(crate) fn next(&mut self) -> Option<String> {
        let Some(found) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let end = self.searched + found;
        let rest = self.buffer.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.buffer, rest);
        self.searched = 0;
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    /// Whether what is left without an end is over the bound of a line.
    pub(crate) fn is_over(&self) -> bool {
        self.searched > STREAM_LINE_BYTES_MAX
    }

    /// What is left without an end, once the stream is over.
    pub(crate) fn rest(self) -> Option<String> {
        (!self.buffer.is_empty()).then(|| String::from_utf8_lossy(&self.buffer).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_wherever_the_chunks_are_cut() {
        let text = "one\r\n\ntwo: ü\nrest".as_bytes();
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for chunk in text.chunks(size) {
                lines.push(chunk);
                found.extend(std::iter::from_fn(|| lines.next()));
            }
            assert_eq!(found, ["one", "", "two: ü"], "chunks of {size}");
            assert_eq!(lines.rest().as_deref(), Some("rest"));
        }
    }

    #[test]
    fn a_line_that_does_not_end_is_over_its_bound() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; STREAM_LINE_BYTES_MAX + 1]);
        assert_eq!(lines.next(), None);
        assert!(lines.is_over());
    }
}
