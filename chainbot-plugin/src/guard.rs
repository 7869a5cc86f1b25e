//! The guard around every entry: a panic becomes the status PANIC and never crosses into the host.
//!
//! Invariants: `*err` is written exactly once for each call; on success it is emptied.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chainbot_abi::{ErrorBuf, Status};

use crate::failure::{Failure, PANICKED};

/// Runs `body` and writes its failure to `err`. `count` is called when it panicked, here or on a thread that it waited for.
///
/// # Safety
/// `err` as for [`ErrorBuf::write`].
#[inline]
pub unsafe fn guarded(
    err: *mut ErrorBuf,
    count: impl FnOnce(),
    body: impl FnOnce() -> Result<(), Failure>,
) -> Status {
    // What a broken body leaves behind is behind std mutexes, which are read in spite of poison: every critical
    // section leaves its data whole.
    let body = || {
        #[cfg(test)]
        crate::testing::panic_if_planted();
        body()
    };
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => {
            // SAFETY: the caller's promise.
            unsafe { ErrorBuf::clear(err) };
            return Status::OK;
        }
        Ok(Err(failure)) => failure,
        Err(panic) => panic_failure(&*panic),
    };
    if failure.status == Status::PANIC {
        count();
    }
    // SAFETY: the caller's promise.
    unsafe { ErrorBuf::write(err, &failure.text) };
    failure.status
}

/// A contained panic as a failure, with its words.
pub fn panic_failure(panic: &(dyn Any + Send)) -> Failure {
    let words = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Failure::new(Status::PANIC, PANICKED, format!("a panic was contained: {words}; please report it"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn call(body: impl FnOnce() -> Result<(), Failure>) -> (Status, String, u32) {
        let (mut room, counted) = ([0u8; 256], Cell::new(0));
        let mut err = ErrorBuf::over(&mut room);
        // SAFETY: the buffer is ours.
        let status = unsafe { guarded(&mut err, || counted.set(counted.get() + 1), body) };
        let len = err.len;
        (status, String::from_utf8_lossy(&room[..len]).into_owned(), counted.get())
    }

    #[test]
    fn a_panic_becomes_a_status_and_is_counted() {
        let (status, text, counted) = call(|| panic!("planted {}", 7));
        assert_eq!(status, Status::PANIC);
        assert!(text.starts_with("CB-0706: ") && text.contains("planted 7"), "{text}");
        assert_eq!(counted, 1);
        let (status, _, counted) = call(|| Err(panic_failure(&"on a thread that was waited for")));
        assert_eq!((status, counted), (Status::PANIC, 1));
    }

    #[test]
    fn a_failure_is_written_and_success_empties_the_buffer() {
        let (status, text, counted) = call(|| Err(Failure::argument("`topic` is empty")));
        assert_eq!((status, text.as_str(), counted), (Status::INVALID, "CB-0701: `topic` is empty", 0));
        assert_eq!(call(|| Ok(())), (Status::OK, String::new(), 0));
    }
}
