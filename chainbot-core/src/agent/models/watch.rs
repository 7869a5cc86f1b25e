//! Stands between a stream and who watches it: counts what comes, and ends a stream that goes on beyond every bound.

use std::ops::ControlFlow;

use crate::agent::provider::{Delta, DeltaSink};

/// Bytes of one token, at most: a bound that a server which minds the bound of a reply never meets.
const TOKEN_BYTES_MAX: usize = 32;
/// Beside it: a name, brackets.
const BYTES_BESIDE: usize = 4_096;

/// Counts one try.
pub(super) struct Watch<'a> {
    inner: &'a mut dyn DeltaSink,
    /// Bytes that came.
    pub bytes: usize,
    max: usize,
    /// The server went on beyond the bound.
    pub is_over: bool,
}

impl<'a> Watch<'a> {
    /// For a reply of so many tokens.
    pub fn new(inner: &'a mut dyn DeltaSink, max_output: u32) -> Self {
        let max = (max_output as usize).saturating_mul(TOKEN_BYTES_MAX).saturating_add(BYTES_BESIDE);
        Self { inner, bytes: 0, max, is_over: false }
    }
}

impl DeltaSink for Watch<'_> {
    fn delta(&mut self, delta: &Delta) -> ControlFlow<()> {
        self.bytes += match delta {
            Delta::Text(text) | Delta::Call(text) => text.len(),
            Delta::Arguments(bytes) => *bytes,
            Delta::Again => 0,
        };
        if self.bytes > self.max {
            self.is_over = true;
            return ControlFlow::Break(());
        }
        self.inner.delta(delta)
    }
}
