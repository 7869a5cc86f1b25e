//! A set of small numbers as bits.

/// Numbers from zero to a bound given at the start.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Set(Vec<u64>);

impl Set {
    /// An empty set of numbers below `bound`.
    pub(super) fn new(bound: usize) -> Self {
        Self(vec![0; bound.div_ceil(64)])
    }

    /// Adds every number of a range.
    pub(super) fn extend(&mut self, range: std::ops::Range<usize>) {
        for number in range {
            self.0[number / 64] |= 1 << (number % 64);
        }
    }

    /// Takes a number out.
    pub(super) fn remove(&mut self, number: usize) {
        self.0[number / 64] &= !(1 << (number % 64));
    }

    /// Adds all of another set of the same bound.
    pub(super) fn union(&mut self, other: &Set) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    /// Whether a number is in it.
    pub(super) fn contains(&self, number: usize) -> bool {
        self.0[number / 64] & (1 << (number % 64)) != 0
    }
}
