//! How a module's answer finds the request that waits for it.
//!
//! The context handed to the module is a number, not an address: a module that completes twice, or much too late,
//! meets an empty place in the table instead of freed memory. The table is one for the process, because
//! `done` is given nothing but that number. An entry stays until `done` was called, also when the client left.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use chainbot_abi::{Completion, Status, WebhookReply};

use crate::guard;

/// A reply, copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The number that the module gave; not checked.
    pub http_status: u32,
    /// A JSON object as the module wrote it; not checked.
    pub headers: Vec<u8>,
    /// Any bytes.
    pub body: Vec<u8>,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a reply.
    Reply(Reply),
    /// With a status other than OK.
    Error(Status),
    /// With OK but something that is no reply; the text says what is wrong.
    Malformed(&'static str),
}

type Waiter = Box<dyn FnOnce(Outcome) + Send>;

/// A std mutex, held for a map operation only: waiters run after it was let go.
static OPEN: LazyLock<Mutex<HashMap<usize, Waiter>>> = LazyLock::new(Mutex::default);
/// Starts at 1, so that a null context is never a live one.
static NEXT: AtomicUsize = AtomicUsize::new(1);
/// Completions that nobody waited for: a second one, or one after an error.
static STRAY: AtomicUsize = AtomicUsize::new(0);

/// A completion that was made but not yet handed over for good.
pub struct Ticket(usize);

/// Opens a place in the table; `waiter` is called at most once, on a thread of the module, and must not block.
pub fn open(waiter: impl FnOnce(Outcome) + Send + 'static) -> (Ticket, Completion) {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    OPEN.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Box::new(waiter));
    (Ticket(number), Completion { ctx: std::ptr::without_provenance_mut(number), done: Some(done) })
}

/// Takes the place back, because the module refused the request. `false`: it had completed all the same.
pub fn withdraw(ticket: Ticket) -> bool {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket.0).is_some()
}

/// Requests that were accepted and not completed.
pub fn open_count() -> usize {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner).len()
}

/// Completions that nobody waited for.
pub fn stray_count() -> usize {
    STRAY.load(Ordering::Relaxed)
}

/// The `done` of every completion.
unsafe extern "C" fn done(ctx: *mut c_void, status: Status, reply: *const WebhookReply) {
    guard::contained("done", || {
        let number = ctx.addr();
        let Some(waiter) = OPEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&number) else {
            STRAY.fetch_add(1, Ordering::Relaxed);
            log::error!(
                "the module completed a request that is not open (completed twice, or refused) [CB-0814]"
            );
            return;
        };
        // SAFETY: the module lends the reply for this call.
        waiter(unsafe { outcome(status, reply) });
    });
}

/// # Safety
/// `reply` must be null or valid as the ABI says.
unsafe fn outcome(status: Status, reply: *const WebhookReply) -> Outcome {
    if status != Status::OK {
        return Outcome::Error(status);
    }
    if reply.is_null() || !reply.is_aligned() {
        return Outcome::Malformed("OK without a reply");
    }
    // SAFETY: not null and aligned; the size stands first, before anything else is read.
    if (unsafe { (*reply).struct_size } as usize) < size_of::<WebhookReply>() {
        return Outcome::Malformed("the reply's struct_size is too small");
    }
    // SAFETY: the size covers the struct as this host knows it.
    let reply = unsafe { &*reply };
    // SAFETY: both fields are lent for this call.
    match unsafe { (reply.headers.bytes(), reply.body.bytes()) } {
        (Ok(headers), Ok(body)) => Outcome::Reply(Reply {
            http_status: reply.http_status,
            headers: headers.to_vec(),
            body: body.to_vec(),
        }),
        _ => Outcome::Malformed("a field of the reply has a length but no address"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicUsize};

    use super::*;

    fn complete(completion: Completion, status: Status) {
        let done = completion.done.expect("always set");
        // SAFETY: a number of this table and no reply.
        unsafe { done(completion.ctx, status, std::ptr::null()) };
    }

    #[test]
    fn a_second_completion_reaches_nobody_and_is_counted() {
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        let (_ticket, completion) = open(move |outcome| {
            assert_eq!(outcome, Outcome::Error(Status::CANCELLED));
            count.fetch_add(1, Ordering::Relaxed);
        });
        let stray = stray_count();
        complete(completion, Status::CANCELLED);
        complete(completion, Status::CANCELLED);
        assert_eq!(seen.load(Ordering::Relaxed), 1);
        assert!(stray_count() > stray);
    }

    #[test]
    fn a_withdrawn_request_cannot_be_completed() {
        let (ticket, completion) = open(|_| panic!("withdrawn"));
        assert!(withdraw(ticket));
        complete(completion, Status::OK);
    }

    #[test]
    fn ok_without_a_reply_is_malformed() {
        // SAFETY: null is what the function must withstand.
        assert!(matches!(unsafe { outcome(Status::OK, std::ptr::null()) }, Outcome::Malformed(_)));
    }
}
