//! A queue bounded by count and by bytes.
//!
//! Invariants: what does not fit is handed back and nothing has happened. An item that is put back at the front keeps
//! its room, so an event that the core had no room for is never lost to a newer one.

use std::collections::VecDeque;

use crate::limits::QueueBounds;

/// First in, first out, within bounds.
pub struct Queue<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    bounds: QueueBounds,
}

impl<T> Queue<T> {
    /// An empty queue.
    pub const fn new(bounds: QueueBounds) -> Self {
        Self { items: VecDeque::new(), bytes: 0, bounds }
    }

    /// Whether an item of `bytes` has room.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.items.len() < self.bounds.items && self.bytes.saturating_add(bytes) <= self.bounds.bytes
    }

    /// Appends, if there is room.
    pub fn push(&mut self, item: T, bytes: usize) -> Result<(), T> {
        if !self.has_room(bytes) {
            return Err(item);
        }
        self.bytes += bytes;
        self.items.push_back((item, bytes));
        Ok(())
    }

    /// Takes the oldest, with its size.
    pub fn pop(&mut self) -> Option<(T, usize)> {
        let (item, bytes) = self.items.pop_front()?;
        self.bytes -= bytes;
        Some((item, bytes))
    }

    /// Puts the oldest back. It may go over the bounds by this one item.
    pub fn put_back(&mut self, item: T, bytes: usize) {
        self.bytes += bytes;
        self.items.push_front((item, bytes));
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: QueueBounds = QueueBounds { items: 3, bytes: 100 };

    #[test]
    fn the_count_is_bounded_and_what_does_not_fit_comes_back() {
        let mut queue = Queue::new(BOUNDS);
        for number in 0..BOUNDS.items {
            queue.push(number, 1).unwrap();
        }
        assert_eq!(queue.push(9_999, 1), Err(9_999));
        assert_eq!(queue.pop(), Some((0, 1)));
        assert_eq!(queue.push(9_999, 1), Ok(()));
    }

    #[test]
    fn the_bytes_are_bounded() {
        let mut queue = Queue::new(BOUNDS);
        queue.push('a', BOUNDS.bytes - 1).unwrap();
        assert_eq!(queue.push('b', 2), Err('b'));
        queue.push('c', 1).unwrap();
        let (oldest, bytes) = queue.pop().unwrap();
        queue.put_back(oldest, bytes);
        assert_eq!(queue.pop(), Some(('a', BOUNDS.bytes - 1)), "the order is kept");
        assert_eq!(queue.len(), 1);
    }
}
