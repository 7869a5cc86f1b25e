//! The bytes of a source, counted: a byte order mark is left out, and no single row may be endless.
//!
//! A parser sees a broken source as an I/O error of its own; why it broke is kept here, and said in its place.

use std::cell::{Cell, RefCell};
use std::io::{self, Cursor, Read};
use std::rc::Rc;

use crate::error::code::data as code;
use crate::limits::{DATA_BYTES_MAX, DATA_ROW_BYTES_MAX};
use crate::model::{StepError, class};

const MARK: &[u8] = b"\xef\xbb\xbf";
/// What parsers read before they give a row: their buffers.
const READ_AHEAD: usize = 64 * 1024;

/// What a reader and whoever takes its rows both know.
#[derive(Clone, Default)]
pub(super) struct Watch {
    total: Rc<Cell<u64>>,
    since_row: Rc<Cell<usize>>,
    broken: Rc<RefCell<Option<StepError>>>,
}

impl Watch {
    /// A row is whole.
    pub(super) fn row(&self) {
        self.since_row.set(0);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.total.get()
    }

    /// Why the source broke, if it did.
    pub(super) fn broken(&self) -> Option<StepError> {
        self.broken.borrow_mut().take()
    }

    /// Keeps the reason; the parser sees an error without one.
    pub(super) fn breaks(&self, error: StepError) -> io::Error {
        self.broken.borrow_mut().get_or_insert(error);
        io::Error::other("the source ended early")
    }
}

/// A reader with both bounds.
pub(super) struct Guard<R> {
    inner: R,
    watch: Watch,
    at: At,
}

enum At {
    Start,
    /// The first bytes, which were read to see whether they are a mark.
    Head(Cursor<Vec<u8>>),
    Body,
}

impl<R: Read> Guard<R> {
    pub(super) fn new(inner: R, watch: Watch) -> Self {
        Self { inner, watch, at: At::Start }
    }

    /// Reads until three bytes are there or the source ends; gives those that are no mark.
    fn begin(&mut self) -> io::Result<Vec<u8>> {
        let mut head = [0; MARK.len()];
        let mut have = 0;
        while have < head.len() {
            match self.inner.read(&mut head[have..])? {
                0 => break,
                count => have += count,
            }
        }
        Ok(if head[..have] == *MARK { Vec::new() } else { head[..have].to_vec() })
    }

    fn count(&self, count: usize) -> io::Result<usize> {
        let total = self.watch.total.get() + count as u64;
        self.watch.total.set(total);
        if total > DATA_BYTES_MAX {
            let message = format!("the data has more than {DATA_BYTES_MAX} bytes; work on it in parts");
            return Err(self.watch.breaks(StepError::new(class::LIMIT, &code::BOUND, message)));
        }
        let row = self.watch.since_row.get() + count;
        self.watch.since_row.set(row);
        if row > DATA_ROW_BYTES_MAX + READ_AHEAD {
            let message = format!(
                "one row has more than {DATA_ROW_BYTES_MAX} bytes; a quote or a bracket is not closed, or `format` is another"
            );
            return Err(self.watch.breaks(StepError::new(class::LIMIT, &code::BOUND, message)));
        }
        Ok(count)
    }
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let At::Start = self.at {
            self.at = At::Head(Cursor::new(self.begin()?));
        }
        if let At::Head(head) = &mut self.at {
            match head.read(buffer)? {
                0 => self.at = At::Body,
                count => return self.count(count),
            }
        }
        let count = self.inner.read(buffer)?;
        self.count(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives at most so many bytes at once.
    struct Drips<'a>(&'a [u8], usize);

    impl Read for Drips<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len()).min(self.0.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn a_mark_is_left_out_however_the_bytes_come() {
        for size in 1..6 {
            for (given, wanted) in [
                (&b"\xef\xbb\xbfa,b"[..], &b"a,b"[..]),
                (b"a,b", b"a,b"),
                (b"\xef\xbb", b"\xef\xbb"),
                (b"\xef\xbb\xbf", b""),
                (b"", b""),
                (b"a\xef\xbb\xbf", b"a\xef\xbb\xbf"),
            ] {
                let mut found = Vec::new();
                Guard::new(Drips(given, size), Watch::default()).read_to_end(&mut found).unwrap();
                assert_eq!(found, wanted, "{size} at once");
            }
        }
    }

    #[test]
    fn a_row_without_an_end_is_an_error_that_says_so() {
        let watch = Watch::default();
        let text = vec![b'x'; DATA_ROW_BYTES_MAX + READ_AHEAD + 1];
        Guard::new(text.as_slice(), watch.clone()).read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(watch.broken().unwrap().code, "CB-1273");
        let watch = Watch::default();
        let mut guard = Guard::new(text.as_slice(), watch.clone());
        let mut half = vec![0; text.len() / 2 + 1];
        guard.read_exact(&mut half).unwrap();
        watch.row();
        guard.read_to_end(&mut half).unwrap();
        assert_eq!(watch.bytes(), text.len() as u64);
    }
}
