//! Threads of the module, made with `pthread_create` and all signals blocked.
//!
//! Why not `std::thread::spawn`: on a host's thread it leaves a thread-local destructor behind that lies in this
//! library. Why blocked: a signal of the host must not land on a thread that knows nothing of its handlers, and SIGPIPE
//! must not kill the host. Threads made by these threads inherit the mask.
//!
//! Invariants: every thread is joined by whoever holds its [`Thread`]; a panic ends the body, never the process.

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use chainbot_abi::Status;

use crate::failure::{Failure, NO_THREAD};
use crate::guard::panic_failure;

type Body = Box<dyn FnOnce() + Send>;

/// A thread to join.
pub struct Thread(libc::pthread_t);

impl Thread {
    /// Starts a thread.
    pub fn spawn(body: Body) -> Result<Thread, Failure> {
        let argument = Box::into_raw(Box::new(body));
        match with_signals_blocked(|| create(argument.cast())) {
            Ok(thread) => Ok(thread),
            Err(error) => {
                // SAFETY: no thread was made, so nobody else owns the box.
                drop(unsafe { Box::from_raw(argument) });
                let text = format!("cannot start a thread: {error}; look at the limits of the process");
                Err(Failure::new(Status::FAILED, NO_THREAD, text))
            }
        }
    }

    /// Waits until the thread has ended.
    pub fn join(self) {
        // SAFETY: `self` is the only handle, so the thread is joined once. The result is always null, and an
        // error would say that it was joined before.
        unsafe { libc::pthread_join(self.0, std::ptr::null_mut()) };
    }
}

/// Runs `body` on a short-lived thread of the module and waits for it.
pub fn run<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let result = Arc::new(Mutex::new(None));
    let there = Arc::clone(&result);
    let thread = Thread::spawn(Box::new(move || {
        let made = catch_unwind(AssertUnwindSafe(body)).map_err(|panic| panic_failure(&*panic));
        *there.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
    }))?;
    thread.join();
    let made = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    made.unwrap_or_else(|| Err(Failure::new(Status::FAILED, NO_THREAD, "the thread left no result")))
}

extern "C" fn trampoline(argument: *mut c_void) -> *mut c_void {
    // SAFETY: `spawn` passed the box on and gave it up.
    let body = unsafe { Box::from_raw(argument.cast::<Body>()) };
    // The bodies report their panics themselves; this one only keeps the process alive.
    let _ = catch_unwind(AssertUnwindSafe(body));
    std::ptr::null_mut()
}

fn create(argument: *mut c_void) -> io::Result<Thread> {
    let mut thread = MaybeUninit::uninit();
    // SAFETY: default attributes; the trampoline takes the argument over when the call succeeds.
    let code = unsafe { libc::pthread_create(thread.as_mut_ptr(), std::ptr::null(), trampoline, argument) };
    if code == 0 {
        // SAFETY: filled, as the call succeeded.
        Ok(Thread(unsafe { thread.assume_init() }))
    } else {
        Err(io::Error::from_raw_os_error(code))
    }
}

fn with_signals_blocked<T>(body: impl FnOnce() -> T) -> T {
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: both sets are ours; sigfillset fills the first and pthread_sigmask the second. Neither can fail
    // with these arguments.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let result = body();
    // SAFETY: `before` was filled above; this gives the host's thread its own mask back.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(signal: i32) -> bool {
        let mut mask = MaybeUninit::uninit();
        // SAFETY: asks for the mask of this thread and changes nothing.
        unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr());
            libc::sigismember(mask.as_ptr(), signal) == 1
        }
    }

    #[test]
    fn a_module_thread_has_its_signals_blocked_and_the_caller_keeps_its_mask() {
        let before = blocked(libc::SIGTERM);
        assert!(run(|| blocked(libc::SIGTERM) && blocked(libc::SIGPIPE)).unwrap());
        assert_eq!(blocked(libc::SIGTERM), before);
    }

    #[test]
    fn a_panic_on_a_module_thread_comes_back_as_a_failure() {
        let failure = run(|| -> u8 { panic!("planted") }).unwrap_err();
        assert_eq!(failure.status, Status::PANIC);
        assert!(failure.text.contains("planted"), "{}", failure.text);
    }
}
