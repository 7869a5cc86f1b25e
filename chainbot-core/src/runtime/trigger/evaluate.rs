//! Expressions of triggers and gates, each on a thread that may be lost: one that does not end costs its own firing only.
//!
//! Fuel and bounds end almost every expression, and not one that compares large values again and again. Whoever evaluates
//! waits for the limit, then goes on without the answer. The thread cannot be ended, so while it does not come back the same
//! expression is not evaluated again: else each minute of a schedule would cost a processor more.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::code::{expression, general};
use crate::error::{Error, Result};
use crate::id::DefinitionHash;
use crate::limits;

use super::super::core::Runtime;
use super::super::worker::STACK_BYTES;

/// Between two looks whether the limit is over.
const LOOK: Duration = Duration::from_millis(20);
/// Threads that wait for the next expression; more at once are made and end.
const IDLE_MAX: usize = 4;

/// The threads. Locked for some instructions, with no other lock held.
#[derive(Default)]
pub(in crate::runtime) struct Evaluators(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    idle: Vec<Thread>,
    /// What has not come back after its limit, by a digest of what it is.
    lost: HashSet<[u8; 32]>,
    is_closed: bool,
}

type Work = Box<dyn FnOnce() + Send>;

struct Thread {
    works: mpsc::Sender<Work>,
    handle: JoinHandle<()>,
}

impl Thread {
    fn spawn() -> Result<Self> {
        let (works, todo) = mpsc::channel::<Work>();
        // Joined by `end`, unless it is lost.
        let handle = std::thread::Builder::new()
            .name("cb-evaluate".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || todo.into_iter().for_each(|work| work()))
            .map_err(|error| Error::new(&general::INTERNAL, "no thread can be started").because(error))?;
        Ok(Self { works, handle })
    }

    /// One that has nothing to do.
    fn end(self) {
        drop(self.works);
        // It contains the panics of its work.
        let _ = self.handle.join();
    }
}

impl Evaluators {
    /// Threads that have not come back.
    pub(in crate::runtime) fn lost(&self) -> usize {
        self.0.lock().lost.len()
    }

    /// Idle threads end, and those at work after it.
    pub(in crate::runtime) fn close(&self) {
        let idle = {
            let mut state = self.0.lock();
            state.is_closed = true;
            std::mem::take(&mut state.idle)
        };
        idle.into_iter().for_each(Thread::end);
    }

    fn keep(&self, thread: Thread) {
        let mut state = self.0.lock();
        if !state.is_closed && state.idle.len() < IDLE_MAX {
            return state.idle.push(thread);
        }
        drop(state);
        thread.end();
    }
}

impl Runtime {
    /// Evaluates within the limit. `what` names it within its definition.
    pub(in crate::runtime) fn evaluated<T: Send + 'static>(
        &self,
        definition: DefinitionHash,
        what: &str,
        evaluate: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        #[cfg(test)]
        if self.is_stepped {
            return evaluate();
        }
        let digest = *blake3::hash(format!("{definition} {what}").as_bytes()).as_bytes();
        let state = &self.triggers.evaluators.0;
        let idle = {
            let mut state = state.lock();
            if state.lost.contains(&digest) {
                return Err(endless(what));
            }
            state.idle.pop()
        };
        let thread = idle.map_or_else(Thread::spawn, Ok)?;
        let (done, waits) = mpsc::channel();
        let back = state.clone();
        let work: Work = Box::new(move || {
            let result = std::panic::catch_unwind(AssertUnwindSafe(evaluate));
            // Under the lock, so that whoever gives it up has either the result or the mark that it is lost.
            let mut back = back.lock();
            back.lost.remove(&digest);
            let _ = done.send(result);
        });
        let gone =
            || Error::new(&general::INTERNAL, "an expression's thread is gone; this is a bug in ChainBot");
        thread.works.send(work).map_err(|_| gone())?;
        let begun = self.env.monotonic();
        let result = loop {
            match waits.recv_timeout(LOOK) {
                Ok(result) => break result,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(gone()),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            let passed = self.env.monotonic().saturating_sub(begun);
            if passed <= Duration::from_millis(limits::EVALUATION_MS_MAX) {
                continue;
            }
            let mut state = state.lock();
            if let Ok(result) = waits.try_recv() {
                break result;
            }
            state.lost.insert(digest);
            log::error!("{what} does not end; its thread is given up");
            return Err(endless(what));
        };
        self.triggers.evaluators.keep(thread);
        result.unwrap_or_else(|_| {
            Err(Error::new(&general::INTERNAL, format!("{what} panicked; this is a bug in ChainBot")))
        })
    }
}

fn endless(what: &str) -> Error {
    let message = format!("{what} does not end: more than {} ms", limits::EVALUATION_MS_MAX);
    Error::new(&expression::ENDLESS, message)
        .help("let it work on less; it is not evaluated again before it has come to its end")
}
