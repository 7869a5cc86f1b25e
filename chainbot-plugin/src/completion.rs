//! Open completions: one table from which each is taken exactly once.
//!
//! Invariants: whoever takes an entry out completes it, so a stuck task that wakes after a stop finds nothing; `done` is
//! called without the lock; [`Completions::wait_quiet`] returns only when no `done` is under way.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chainbot_abi::{Completion, Status, Str, WebhookReply};

use crate::limits::QueueBounds;
use crate::program::OutReply;

/// A completion with its request's size.
struct Open {
    completion: Completion,
    bytes: usize,
}

// SAFETY: the contract lets `done` be called on any thread of the module, with the context it came with.
unsafe impl Send for Open {}

#[derive(Default)]
struct Inner {
    open: BTreeMap<u64, Open>,
    last_id: u64,
    bytes: usize,
    /// Calls of `done` under way.
    under_way: usize,
}

/// The table.
pub struct Completions {
    inner: Mutex<Inner>,
    quiet: Condvar,
    bounds: QueueBounds,
}

impl Completions {
    /// An empty table.
    pub fn new(bounds: QueueBounds) -> Self {
        Self { inner: Mutex::default(), quiet: Condvar::new(), bounds }
    }

    /// Whether a request of `bytes` may be opened.
    pub fn has_room(&self, bytes: usize) -> bool {
        let inner = self.lock();
        inner.open.len() < self.bounds.items && inner.bytes.saturating_add(bytes) <= self.bounds.bytes
    }

    /// Enters a completion. `done` must not be null; the caller has checked that and the room.
    pub fn open(&self, completion: Completion, bytes: usize) -> u64 {
        let mut inner = self.lock();
        inner.last_id += 1;
        inner.bytes += bytes;
        let id = inner.last_id;
        inner.open.insert(id, Open { completion, bytes });
        id
    }

    /// Completes the request, unless somebody did before.
    pub fn finish(&self, id: u64, status: Status, reply: Option<&OutReply>) {
        let Some(open) = self.take(id) else {
            return;
        };
        call_done(&open.completion, status, reply);
        self.lock().under_way -= 1;
        self.quiet.notify_all();
    }

    /// Completes all that are open with CANCELLED and says how many they were.
    pub fn cancel_all(&self) -> usize {
        let ids: Vec<u64> = self.lock().open.keys().copied().collect();
        for id in &ids {
            self.finish(*id, Status::CANCELLED, None);
        }
        ids.len()
    }

    /// Requests whose answer the host does not have yet.
    pub fn in_flight(&self) -> usize {
        let inner = self.lock();
        inner.open.len() + inner.under_way
    }

    /// Waits until none is open and no `done` is under way; says whether that came about within `wait`.
    pub fn wait_quiet(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        let mut inner = self.lock();
        while !inner.open.is_empty() || inner.under_way > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            inner = self.quiet.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn take(&self, id: u64) -> Option<Open> {
        let mut inner = self.lock();
        let open = inner.open.remove(&id)?;
        inner.bytes -= open.bytes;
        inner.under_way += 1;
        Some(open)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn call_done(completion: &Completion, status: Status, reply: Option<&OutReply>) {
    let Some(done) = completion.done else {
        return;
    };
    let reply = reply.map(|reply| WebhookReply {
        struct_size: size_of::<WebhookReply>() as u32,
        http_status: u32::from(reply.status),
        headers: Str::of_text(&reply.headers),
        body: Str::of(&reply.body),
    });
    let pointer = reply.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the host keeps `ctx` valid until this call, which the table makes the only one; the reply and what it
    // points to outlive it.
    unsafe { done(completion.ctx, status, pointer) };
}

#[cfg(test)]
mod tests {
    use std::ffi::c_void;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const BOUNDS: QueueBounds = QueueBounds { items: 50, bytes: 1_000 };

    unsafe extern "C" fn count(ctx: *mut c_void, _: Status, _: *const WebhookReply) {
        // SAFETY: every test passes a counter that outlives the table.
        unsafe { &*ctx.cast::<AtomicU32>() }.fetch_add(1, Ordering::SeqCst);
    }

    fn completion(counter: &AtomicU32) -> Completion {
        Completion { ctx: std::ptr::from_ref(counter).cast_mut().cast(), done: Some(count) }
    }

    #[test]
    fn a_request_is_completed_once_whoever_comes_first() {
        let (table, counter) = (Completions::new(BOUNDS), AtomicU32::new(0));
        let id = table.open(completion(&counter), 10);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| table.finish(id, Status::TIMEOUT, None));
            }
            scope.spawn(|| table.cancel_all());
        });
        assert_eq!(counter.load(Ordering::SeqCst), 1);
        assert!(table.wait_quiet(Duration::ZERO));
    }

    #[test]
    fn room_comes_back_with_the_completion() {
        let (table, counter) = (Completions::new(BOUNDS), AtomicU32::new(0));
        let id = table.open(completion(&counter), BOUNDS.bytes);
        assert!(!table.has_room(1));
        table.finish(id, Status::OK, None);
        assert!(table.has_room(1));
        for _ in 0..BOUNDS.items {
            table.open(completion(&counter), 0);
        }
        assert!(!table.has_room(0));
        assert_eq!(table.cancel_all(), BOUNDS.items);
        assert_eq!(counter.load(Ordering::SeqCst), 1 + BOUNDS.items as u32);
    }
}
