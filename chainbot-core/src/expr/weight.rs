//! [`Weight`]: a bound of what fuel does not see.
//!
//! The engine charges for what it makes, not for what sharing makes it visit: `{% for a in [[v, v]] %}` around
//! `{% for a in [[a, a]] %}` doubles per line and costs next to nothing until somebody prints or compares it. So every
//! tag gets a weight, a sum of "this many times the size of that name". It bounds the size of any value in the tag when
//! all sharing is written out; the caller compares it with [`crate::limits::EXPRESSION_DATA_BYTES_MAX`] as soon as the
//! sizes are known. The same goes for depth: literals and filters within each other, through loop variables too, are
//! counted here.
//!
//! It holds as long as no filter puts one value into many places; `map`, `batch` and `slice`, which could, take short
//! plain arguments only.

/// Bound of the data in one tag: names with how often each counts, and the bytes of literals.
#[derive(Clone, Debug, Default)]
pub(super) struct Weight {
    pub names: Vec<(usize, u64)>,
    pub constant: u64,
    pub depth: usize,
}

impl Weight {
    pub(super) fn constant(bytes: usize) -> Self {
        Self { constant: bytes as u64, ..Self::default() }
    }

    pub(super) fn add(&mut self, other: Weight) {
        self.names.extend(other.names);
        self.constant = self.constant.saturating_add(other.constant);
        self.depth = self.depth.max(other.depth);
    }

    /// Sums up what is there twice.
    pub(super) fn settle(&mut self) {
        self.names.sort_unstable();
        let names = std::mem::take(&mut self.names);
        for (name, count) in names {
            match self.names.last_mut() {
                Some(last) if last.0 == name => last.1 = last.1.saturating_add(count),
                _ => self.names.push((name, count)),
            }
        }
    }
}
