//! The end of an instance's work, in order: unsubscribe, hand over what was accepted, let requests end, stop the program,
//! cancel what is left, shut the runtime down, wait for its threads.
//!
//! Invariants: a step that did not end in time is taken up by the next stop, never skipped; the supervisor leaves only
//! when every thread of the instance has ended and every request is completed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::guard::panic_failure;
use crate::limits::{EVENT_RETRY, STOP_GRACE_MAX, STOP_MARGIN_MAX};
use crate::program::Running;
use crate::state::{Instance, Report};
use crate::supervisor::{offer_event, spawn_request};

/// Runs to the end, over as many calls of stop as it takes.
pub fn run(instance: &Arc<Instance>, runtime: Runtime, running: Arc<dyn Running>) {
    enter(instance, "unsubscribing");
    instance.gate.unsubscribe_all();
    let mut deadline = next_stop(instance);
    while let Err(left) = close(instance, &runtime, &running, deadline.until) {
        tell_left(instance, deadline, left);
        deadline = next_stop(instance);
    }
    drop(running);
    instance.completions.cancel_all();
    enter(instance, "shutting the runtime down");
    // Returns in time also when a blocking task hangs; that thread is then counted below.
    runtime.shutdown_timeout(remaining(deadline.until));
    while let Err(left) = wait_quiet(instance, deadline.until) {
        tell_left(instance, deadline, left);
        deadline = next_stop(instance);
    }
}

/// Everything that the program is needed for.
fn close(
    instance: &Arc<Instance>,
    runtime: &Runtime,
    running: &Arc<dyn Running>,
    deadline: Instant,
) -> Result<(), String> {
    chainbot_core::fault!("module.wind_down");
    enter(instance, "handing over accepted events");
    hand_over_events(instance, running.as_ref(), deadline)?;
    enter(instance, "answering requests");
    let requests = std::mem::take(&mut instance.lock().requests);
    for (id, request) in requests {
        spawn_request(instance, runtime, running, id, request);
    }
    instance.completions.wait_quiet((remaining(deadline) / 4).min(STOP_GRACE_MAX));
    enter(instance, "stopping the core");
    let stopped = catch_unwind(AssertUnwindSafe(|| {
        chainbot_core::fault!("module.stop");
        runtime.block_on(running.stop(remaining(deadline)))
    }));
    stopped.unwrap_or_else(|panic| {
        // A second try would meet what the first one broke; what it held is dropped with it.
        instance.panicked();
        log::error!("stopping the core failed: {}", panic_failure(&*panic).text);
        Ok(())
    })
}

fn hand_over_events(instance: &Instance, running: &dyn Running, deadline: Instant) -> Result<(), String> {
    loop {
        let Some((event, bytes)) = instance.lock().events.pop() else {
            return Ok(());
        };
        let taken = catch_unwind(AssertUnwindSafe(|| offer_event(running, &event)));
        let taken = taken.unwrap_or_else(|_| {
            instance.panicked();
            log::error!("an event of `{}` made the core panic and is given up", event.topic);
            true
        });
        if taken {
            continue;
        }
        let mut inner = instance.lock();
        inner.events.put_back(event, bytes);
        if inner.failure.is_some() {
            let count = inner.events.len();
            while inner.events.pop().is_some() {}
            drop(inner);
            log::error!("{count} accepted events are lost, because the instance has failed");
            return Ok(());
        }
        if remaining(deadline).is_zero() {
            return Err(format!("{} accepted events are not stored", inner.events.len()));
        }
        drop(instance.work.wait_timeout(inner, EVENT_RETRY).unwrap_or_else(PoisonError::into_inner));
    }
}

fn wait_quiet(instance: &Instance, deadline: Instant) -> Result<(), String> {
    enter(instance, "waiting for threads");
    if !instance.completions.wait_quiet(remaining(deadline)) {
        return Err("the host has not returned from a completion".to_owned());
    }
    let mut inner = instance.lock();
    // This thread is the one that remains.
    while inner.live_threads > 1 {
        let left = remaining(deadline);
        if left.is_zero() {
            return Err("a blocked task has not ended".to_owned());
        }
        inner = instance.work.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    Ok(())
}

/// Until when a stop may take.
#[derive(Clone, Copy)]
struct Deadline {
    asked: Instant,
    /// Less what the report needs.
    until: Instant,
}

fn tell_left(instance: &Instance, deadline: Deadline, left: String) {
    let mut inner = instance.lock();
    // A newer stop may be waiting already; what an older one left is no answer to it.
    if inner.stop == Some(deadline.asked) {
        inner.stop = None;
        inner.report = Some(Report::Left(left));
        instance.told.notify_all();
    }
}

/// Waits for a stop and gives its deadline.
fn next_stop(instance: &Instance) -> Deadline {
    let mut inner = instance.lock();
    loop {
        if let Some(asked) = inner.stop {
            let margin = (remaining(asked) / 10).min(STOP_MARGIN_MAX);
            return Deadline { asked, until: asked.checked_sub(margin).unwrap_or(asked) };
        }
        inner = instance.work.wait(inner).unwrap_or_else(PoisonError::into_inner);
    }
}

fn enter(instance: &Instance, phase: &'static str) {
    instance.lock().phase = phase;
}

fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
