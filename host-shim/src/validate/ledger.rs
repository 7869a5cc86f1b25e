//! The books of completions: each accepted request exactly once, none refused, none on the caller's stack, none after
//! stop.
//!
//! The context is a number into a table that never shrinks during an exercise, so that a late or second answer finds
//! its entry and is told apart.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chainbot_abi::{Completion, Status, WebhookReply};
use serde_json::Value;

use super::record::{expect, fail};
use crate::guard;
use crate::wire::status_name;

/// Contexts begin here, so that a made-up small number is none of ours.
const FIRST: usize = 0x5eed_0000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    /// `handle_webhook` has not returned.
    Open,
    Accepted,
    Refused,
}

struct Entry {
    given: Given,
    done: u32,
    is_cancelled: bool,
    life: u64,
}

/// A std mutex, held for a table operation; completions come from every thread of the module.
static ENTRIES: Mutex<Vec<Entry>> = Mutex::new(Vec::new());
static CHANGED: Condvar = Condvar::new();
/// Counts the stops that have returned: an entry of an earlier life must not be completed any more.
static LIVES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread is inside `handle_webhook`.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

fn entries() -> MutexGuard<'static, Vec<Entry>> {
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request that is being handed over.
pub struct Open(usize);

/// Makes a completion; the calling thread is inside `handle_webhook` until [`Open::returned`].
pub fn open() -> (Open, Completion) {
    let mut entries = entries();
    entries.push(Entry {
        given: Given::Open,
        done: 0,
        is_cancelled: false,
        life: LIVES.load(Ordering::Acquire),
    });
    let number = entries.len() - 1;
    INSIDE.set(true);
    (Open(number), Completion { ctx: std::ptr::without_provenance_mut(FIRST + number), done: Some(done) })
}

impl Open {
    /// `handle_webhook` has returned.
    pub fn returned(self, status: Status) {
        INSIDE.set(false);
        let mut entries = entries();
        let entry = &mut entries[self.0];
        entry.given = if status == Status::OK { Given::Accepted } else { Given::Refused };
        if entry.given == Given::Refused && entry.done > 0 {
            fail(
                "completion-refused",
                format!(
                    "`handle_webhook` returned {} and the request was completed all the same",
                    status_name(status)
                ),
            );
        }
        CHANGED.notify_all();
    }
}

/// Accepted requests that were not completed.
pub fn open_count() -> usize {
    entries().iter().filter(|entry| entry.given == Given::Accepted && entry.done == 0).count()
}

/// Accepted requests so far.
pub fn accepted_count() -> usize {
    entries().iter().filter(|entry| entry.given == Given::Accepted).count()
}

/// Requests that were completed with CANCELLED so far.
pub fn cancelled_count() -> usize {
    entries().iter().filter(|entry| entry.is_cancelled).count()
}

/// Waits until at most `left` are open; gives how many are.
pub fn wait(left: usize, limit: Duration) -> usize {
    let until = Instant::now() + limit;
    let mut guard = entries();
    loop {
        let open = guard.iter().filter(|entry| entry.given == Given::Accepted && entry.done == 0).count();
        let rest = until.saturating_duration_since(Instant::now());
        if open <= left || rest.is_zero() {
            return open;
        }
        guard = CHANGED.wait_timeout(guard, rest).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// `stop` has returned: nothing may be open, and nothing may come any more.
pub fn stopped() {
    let open = open_count();
    LIVES.fetch_add(1, Ordering::AcqRel);
    expect("completion-at-stop", open == 0, || {
        format!("`stop` has returned and {open} accepted requests were not completed")
    });
    // Told once; a later check of the same exercise begins with clean books.
    for entry in entries().iter_mut().filter(|entry| entry.given == Given::Accepted && entry.done == 0) {
        entry.done = u32::MAX / 2;
    }
}

unsafe extern "C" fn done(ctx: *mut c_void, status: Status, reply: *const WebhookReply) {
    guard::contained("done", || {
        if INSIDE.get() {
            fail("completion-stack", "`done` was called on the stack of `handle_webhook`".to_owned());
        }
        let Some(number) = ctx.addr().checked_sub(FIRST) else {
            return fail("completion-once", "`done` was called with a context that is none".to_owned());
        };
        let mut guard = entries();
        let Some(entry) = guard.get_mut(number) else {
            drop(guard);
            return fail("completion-once", "`done` was called with a context that is none".to_owned());
        };
        entry.done = entry.done.saturating_add(1);
        entry.is_cancelled |= status == Status::CANCELLED;
        let late = entry.life != LIVES.load(Ordering::Acquire);
        let (given, count) = (entry.given, entry.done);
        drop(guard);
        if late {
            fail("completion-at-stop", "a request was completed after `stop` had returned".to_owned());
        } else if given == Given::Refused {
            fail("completion-refused", "a request that was refused was completed".to_owned());
        } else if count > 1 {
            fail("completion-once", "a request was completed a second time".to_owned());
        }
        // SAFETY: the module lends the reply for this call.
        if let Err(why) = unsafe { check(status, reply) } {
            fail("reply", why);
        }
        CHANGED.notify_all();
    });
}

/// # Safety
/// `reply` is null or lent for the running call.
unsafe fn check(status: Status, reply: *const WebhookReply) -> Result<(), String> {
    if status != Status::OK {
        return if reply.is_null() {
            Ok(())
        } else {
            Err(format!("a completion with {} has a reply; it must be null", status_name(status)))
        };
    }
    if reply.is_null() || !reply.is_aligned() {
        return Err("a completion with OK has no reply".to_owned());
    }
    // SAFETY: not null and aligned; the size stands first.
    let size = unsafe { (*reply).struct_size } as usize;
    if size < size_of::<WebhookReply>() {
        return Err(format!("the reply's struct_size is {size}, it needs {}", size_of::<WebhookReply>()));
    }
    // SAFETY: the size covers it.
    let reply = unsafe { &*reply };
    if !(100..=599).contains(&reply.http_status) {
        return Err(format!("the reply's http_status is {}", reply.http_status));
    }
    // SAFETY: both fields are lent for this call.
    let (headers, body) = unsafe { (reply.headers.text(), reply.body.bytes()) };
    body.map_err(|why| format!("the reply's body {why}"))?;
    let headers = headers.map_err(|why| format!("the reply's headers {why}"))?;
    if headers.is_empty() {
        return Ok(());
    }
    let Ok(Value::Object(headers)) = serde_json::from_str(headers) else {
        return Err(format!("the reply's headers are no JSON object: {headers:.80}"));
    };
    let is_text = |value: &Value| value.is_string();
    let is_value =
        |value: &Value| is_text(value) || value.as_array().is_some_and(|all| all.iter().all(is_text));
    match headers.iter().find(|(name, value)| name.to_lowercase() != **name || !is_value(value)) {
        Some((name, _)) => {
            Err(format!("the reply's header `{name}` is not a lower-case name with a text or texts"))
        }
        None => Ok(()),
    }
}
