//! Waits for a call that may never return: it runs on a thread of its own, which is left behind when its time is over.
//!
//! Invariant: what the call gives is either returned or handed to `late`, never both and never lost.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result, code};

enum State<T> {
    Running,
    Done(T),
    /// Nobody waits any more.
    Left,
}

/// Runs `work` and waits for it at most `limit`. `None` when it was not done by then; should it end after all, `late` gets
/// what it gave, on the same thread. That thread is joined by nobody: it may be stuck in foreign code for ever.
pub fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
    late: impl FnOnce(T) + Send + 'static,
) -> Result<Option<T>> {
    // A std mutex with a condition variable: the wait has a deadline. Held for a look only.
    let shared = Arc::new((Mutex::new(State::Running), Condvar::new()));
    let there = Arc::clone(&shared);
    std::thread::Builder::new()
        .name("trial".to_owned())
        .spawn(move || {
            let made = work();
            let (state, changed) = &*there;
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*state, State::Left) {
                drop(state);
                late(made);
            } else {
                *state = State::Done(made);
                changed.notify_all();
            }
        })
        .map_err(|error| Error::new(code::HOST_SETUP, format!("no thread can be started: {error}")))?;
    let (state, changed) = &*shared;
    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut state, _) = changed
        .wait_timeout_while(state, limit, |state| matches!(state, State::Running))
        .unwrap_or_else(PoisonError::into_inner);
    match std::mem::replace(&mut *state, State::Left) {
        State::Done(made) => Ok(Some(made)),
        State::Running | State::Left => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_call_in_time_is_returned_and_a_late_one_goes_to_whom_it_may_concern() {
        let never = |_: u8| panic!("it was in time");
        assert_eq!(within(Duration::from_secs(60), || 7, never).unwrap(), Some(7));
        let ((let_go, wait), (tell, told)) = (channel::<()>(), channel());
        let stuck = move || {
            let _ = wait.recv();
            9
        };
        let made = within(Duration::from_millis(1), stuck, move |made| tell.send(made).unwrap());
        assert_eq!(made.unwrap(), None);
        let_go.send(()).unwrap();
        assert_eq!(told.recv_timeout(Duration::from_secs(60)), Ok(9));
    }
}
