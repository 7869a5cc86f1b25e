//! The control calls: start, stop, drain and its way back, and the check before cleanup. They run on the host's thread and
//! only wait.
//!
//! Invariants: one control call at a time, a second one gets STATE; a failed start leaves the state it came from; when stop
//! has returned, with whatever status, no completion is left; a drain gives nothing up, so it completes or stays draining.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chainbot_abi::Status;

use crate::failure::{Failure, NOT_STOPPED, STATE};
use crate::limits::{CANCEL_MAX, STOP_MARGIN_MAX};
use crate::state::{Ending, Inner, Instance, Report, State};
use crate::supervisor;
use crate::thread::Thread;

/// Marks that a control call runs; gives the mark back however the call ends.
pub struct Control<'a>(&'a Instance);

impl<'a> Control<'a> {
    pub fn claim(instance: &'a Instance, call: &str, allowed: &[State]) -> Result<Control<'a>, Failure> {
        instance.gate.check_control_thread(call);
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
    begin(instance)
}

/// The body of start, from whatever state there is.
fn begin(instance: &Arc<Instance>) -> Result<(), Failure> {
    let before = {
        let mut inner = instance.lock();
        inner.stop = None;
        inner.ending = Ending::Stop;
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
    inner.is_drained = false;
    Ok(())
}

/// Stops the instance within `deadline_ms`, or says what is left.
pub fn stop(instance: &Instance, deadline_ms: u32) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_millis(u64::from(deadline_ms));
    let allowed = [State::Started, State::Draining, State::Stopping, State::Failed];
    let _control = Control::claim(instance, "stop", &allowed)?;
    let mut inner = instance.lock();
    inner.state = State::Stopping;
    if !std::mem::take(&mut inner.is_drained) {
        inner = end(instance, inner, Ending::Stop, deadline);
        match inner.report.take() {
            Some(Report::Down) => inner = joined(instance, inner),
            Some(Report::Left(what)) => return Err(not_stopped(instance, inner, deadline_ms, &what)),
            _ => {
                let phase = inner.phase;
                return Err(not_stopped(instance, inner, deadline_ms, phase));
            }
        }
    }
    inner.state = State::Stopped;
    inner.started = None;
    inner.failure = None;
    inner.metrics.clear();
    drop(inner);
    // Kept while draining, so that no event was missed between two versions.
    instance.gate.unsubscribe_all();
    Ok(())
}

/// Asks the supervisor to end its work and waits for its report until the deadline.
fn end<'a>(
    instance: &'a Instance,
    mut inner: MutexGuard<'a, Inner>,
    ending: Ending,
    deadline: Instant,
) -> MutexGuard<'a, Inner> {
    // A supervisor that has left since the last call timed out has reported it already.
    if !matches!(inner.report, Some(Report::Down)) {
        inner.report = None;
        inner.stop = Some(deadline);
        inner.ending = ending;
        instance.work.notify_all();
    }
    while inner.report.is_none() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        inner = instance.told.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    inner
}

/// Joins a supervisor that has said that it leaves, so this wait is short.
fn joined<'a>(instance: &'a Instance, mut inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
    let thread = inner.thread.take();
    drop(inner);
    if let Some(thread) = thread {
        thread.join();
    }
    instance.lock()
}

/// Brings everything to rest and lets store and port go, or says what is not at rest yet.
pub fn drain(instance: &Instance, deadline_ms: u32) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_millis(u64::from(deadline_ms));
    let _control = Control::claim(instance, "drain.begin", &[State::Started, State::Draining])?;
    let mut inner = instance.lock();
    if inner.is_drained {
        return Ok(());
    }
    inner.state = State::Draining;
    inner = end(instance, inner, Ending::Drain, deadline);
    let what = match inner.report.take() {
        Some(Report::Down) => {
            inner = joined(instance, inner);
            if let Some(reason) = inner.failure.clone() {
                inner.state = State::Stopped;
                drop(inner);
                instance.gate.unsubscribe_all();
                return Err(Failure::new(
                    Status::FAILED,
                    NOT_STOPPED,
                    format!("the instance failed: {reason}"),
                ));
            }
            inner.is_drained = true;
            return Ok(());
        }
        Some(Report::Left(what)) => what,
        _ => inner.phase.to_owned(),
    };
    let text = format!("not drained within {deadline_ms} ms: {what}; call begin again, or cancel");
    Err(Failure::new(Status::TIMEOUT, NOT_STOPPED, text))
}

/// From draining back to work. What was let go is taken again, so this may fail as a start does; then the state is
/// draining and it may be called again.
pub fn cancel(instance: &Arc<Instance>) -> Result<(), Failure> {
    let _control = Control::claim(instance, "drain.cancel", &[State::Draining])?;
    let mut inner = instance.lock();
    if !inner.is_drained {
        inner = end(instance, inner, Ending::Resume, Instant::now() + CANCEL_MAX);
        match inner.report.take() {
            // It had let nothing go.
            Some(Report::Up) => return Ok(()),
            Some(Report::Down) => {
                inner = joined(instance, inner);
                inner.is_drained = true;
            }
            Some(Report::Left(what)) => return Err(not_back(&what)),
            _ => return Err(not_back(inner.phase)),
        }
    }
    drop(inner);
    // Those of before end when those of the new start are there.
    let before = instance.gate.take_subscriptions();
    begin(instance)?;
    instance.gate.unsubscribe(before);
    Ok(())
}

fn not_back(what: &str) -> Failure {
    let text = format!("not back at work within {} s: {what}; call cancel again", CANCEL_MAX.as_secs());
    Failure::new(Status::TIMEOUT, NOT_STOPPED, text)
}

/// Whether what the next version needs may be written.
pub fn check_export(instance: &Instance) -> Result<(), Failure> {
    let _control = Control::claim(instance, "drain.export_state", &[State::Draining])?;
    if instance.lock().is_drained {
        return Ok(());
    }
    let text =
        "drain.export_state while the instance is still draining; call drain.begin until it returns OK";
    Err(Failure::new(Status::STATE, STATE, text))
}

fn not_stopped(instance: &Instance, inner: MutexGuard<'_, Inner>, deadline_ms: u32, what: &str) -> Failure {
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
