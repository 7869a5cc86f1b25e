//! The control calls: start, stop and the check before cleanup. They run on the host's thread and only wait.
//!
//! Invariants: one control call at a time, a second one gets STATE; a failed start leaves the state it came from; when stop
//! has returned, with whatever status, no completion is left.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use chainbot_abi::Status;

use crate::failure::{Failure, NOT_STOPPED, STATE};
use crate::limits::STOP_MARGIN_MAX;
use crate::state::{Inner, Instance, Report, State};
use crate::supervisor;
use crate::thread::Thread;

/// Marks that a control call runs; gives the mark back however the call ends.
struct Control<'a>(&'a Instance);

impl<'a> Control<'a> {
    fn claim(instance: &'a Instance, call: &str, allowed: &[State]) -> Result<Control<'a>, Failure> {
        let mut inner = instance.lock();
        if inner.control {
            let text = format!("{call} while another control call runs on the instance; make one at a time");
            return Err(Failure::new(Status::STATE, STATE, text));
        }
        inner.expect(call, allowed)?;
        inner.control = true;
        Ok(Control(instance))
    }
}

impl Drop for Control<'_> {
    fn drop(&mut self) {
        self.0.lock().control = false;
    }
}

/// Starts the instance and returns when it serves.
pub fn start(instance: &Arc<Instance>) -> Result<(), Failure> {
    let _control = Control::claim(instance, "start", &[State::Initialized, State::Stopped])?;
    let before = {
        let mut inner = instance.lock();
        inner.stop = None;
        inner.report = None;
        inner.failure = None;
        inner.health = None;
        std::mem::replace(&mut inner.state, State::Starting)
    };
    let supervised = Arc::clone(instance);
    let thread = match Thread::spawn(Box::new(move || supervisor::run(&supervised))) {
        Ok(thread) => thread,
        Err(failure) => {
            instance.lock().state = before;
            return Err(failure);
        }
    };
    // No bound: giving up here would leave a supervisor behind, and the state could not be as before.
    let mut inner = instance.lock();
    let report = loop {
        match inner.report.take() {
            Some(report) => break report,
            None => inner = instance.told.wait(inner).unwrap_or_else(PoisonError::into_inner),
        }
    };
    if let Report::Refused(failure) = report {
        drop(inner);
        thread.join();
        instance.lock().state = before;
        return Err(failure);
    }
    inner.thread = Some(thread);
    Ok(())
}

/// Stops the instance within `deadline_ms`, or says what is left.
pub fn stop(instance: &Instance, deadline_ms: u32) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_millis(u64::from(deadline_ms));
    let _control = Control::claim(instance, "stop", &[State::Started, State::Stopping, State::Failed])?;
    let mut inner = instance.lock();
    inner.state = State::Stopping;
    // A supervisor that has left since the last stop timed out has reported it already.
    if !matches!(inner.report, Some(Report::Down)) {
        inner.report = None;
        inner.stop = Some(deadline);
        instance.work.notify_all();
    }
    while inner.report.is_none() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        inner = instance.told.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    match inner.report.take() {
        Some(Report::Down) => {
            let thread = inner.thread.take();
            drop(inner);
            // It has said that it leaves, so this wait is short.
            if let Some(thread) = thread {
                thread.join();
            }
            let mut inner = instance.lock();
            inner.state = State::Stopped;
            inner.started = None;
            inner.failure = None;
            Ok(())
        }
        Some(Report::Left(what)) => Err(not_stopped(instance, inner, deadline_ms, &what)),
        _ => {
            let phase = inner.phase;
            Err(not_stopped(instance, inner, deadline_ms, phase))
        }
    }
}

fn not_stopped(
    instance: &Instance,
    inner: std::sync::MutexGuard<'_, Inner>,
    deadline_ms: u32,
    what: &str,
) -> Failure {
    let threads = inner.live_threads;
    drop(inner);
    // The promise that none is left holds on a timeout too: whoever wakes later finds its entry gone.
    let cancelled = instance.completions.cancel_all();
    let mut text = format!("not stopped within {deadline_ms} ms: {what}; {threads} threads are left");
    if cancelled > 0 {
        text.push_str(&format!("; {cancelled} requests were cancelled"));
    }
    if !instance.completions.wait_quiet(STOP_MARGIN_MAX) {
        text.push_str("; the host has not returned from a completion");
    }
    text.push_str("; call stop again");
    Failure::new(Status::TIMEOUT, NOT_STOPPED, text)
}

/// Whether the instance may be released.
pub fn check_cleanup(instance: &Instance) -> Result<(), Failure> {
    Control::claim(instance, "cleanup", &[State::Initialized, State::Stopped]).map(drop)
}
