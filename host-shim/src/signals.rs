//! SIGINT, SIGTERM and SIGHUP, taken by one thread.
//!
//! They are blocked before any other thread starts, so that every thread, the module's included, inherits the
//! mask and only this thread sees them. No handler is installed. SIGPIPE stays ignored, as the Rust runtime sets it: a
//! reader of the log that goes away must not end the module.

use std::mem::MaybeUninit;

use crate::error::{Error, Result, code};

/// The signals of a run, blocked in the calling thread and in all it starts.
pub struct Blocked(libc::sigset_t);

/// Blocks the signals. Called while the process has one thread.
pub fn block() -> Result<Blocked> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set; the other calls get an initialised set and valid numbers.
    let (set, failed) = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        let mut set = set.assume_init();
        libc::sigaddset(&mut set, libc::SIGINT);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::sigaddset(&mut set, libc::SIGHUP);
        (set, libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()))
    };
    match failed {
        0 => Ok(Blocked(set)),
        errno => {
            Err(setup(format!("signals cannot be blocked: {}", std::io::Error::from_raw_os_error(errno))))
        }
    }
}

/// Calls `first` for the first signal to end, and `hangup` for each SIGHUP; the second signal to end ends the process at
/// once with 128 + its number. Nobody joins the thread: it waits for signals as long as the process lives.
pub fn watch(
    blocked: Blocked,
    first: impl FnOnce(&'static str) + Send + 'static,
    hangup: impl Fn() + Send + 'static,
) -> Result<()> {
    let run = move || {
        let next = || loop {
            match wait(&blocked)? {
                libc::SIGHUP => hangup(),
                signal => return Some(signal),
            }
        };
        let Some(signal) = next() else { return };
        first(name(signal));
        let Some(signal) = next() else { return };
        let message = format!(
            "host-shim: second signal ({}): ending at once, without stopping the module\n",
            name(signal)
        );
        // SAFETY: the buffer is valid for its length; `_exit` ends the process without running destructors, which
        // is what is asked for: the module's threads still run.
        unsafe {
            libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
            libc::_exit(128 + signal);
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(run)
        .map(drop)
        .map_err(|error| setup(format!("the signal thread cannot start: {error}")))
}

fn wait(blocked: &Blocked) -> Option<i32> {
    let mut signal = 0;
    // SAFETY: the set is initialised and `signal` is a valid place.
    let failed = unsafe { libc::sigwait(&blocked.0, &mut signal) };
    if failed != 0 {
        // The set is valid, so this cannot happen; without the thread the default is lost, and that must be said.
        log::error!("signals can no longer be received: {}", std::io::Error::from_raw_os_error(failed));
        return None;
    }
    Some(signal)
}

fn name(signal: i32) -> &'static str {
    match signal {
        libc::SIGINT => "SIGINT",
        libc::SIGTERM => "SIGTERM",
        _ => "a signal",
    }
}

fn setup(message: String) -> Error {
    Error::new(code::HOST_SETUP, message)
}
