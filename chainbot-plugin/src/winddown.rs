//! The end of an instance's work, in order: unsubscribe, hand over what was accepted, let requests end, stop the program,
//! cancel what is left, shut the runtime down, wait for its threads.
//!
//! A drain comes to rest first ([`quiesce`], which can be taken back, then [`settle`]), so that the rest of the way has
//! nothing to give up; and it keeps the subscriptions, so that the host misses no event for the next version.
//!
//! Invariants: a step that did not end in time is taken up by the next call, never skipped; the supervisor leaves only
//! when every thread of the instance has ended and every request is completed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::guard::panic_failure;
use crate::limits::{EVENT_RETRY, STOP_GRACE_MAX, STOP_MARGIN_MAX};
use crate::program::Running;
use crate::state::{Ending, Instance, Report, State};
use crate::supervisor::{offer_event, spawn_request};

/// Whether the end goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// To the end.
    End,
    /// Back to work.
    Work,
}

/// First part of a drain: everything that was accepted is handed over and every request is answered, while the program still
/// takes all that these need.
pub fn quiesce(instance: &Arc<Instance>, runtime: &Runtime, running: &Arc<dyn Running>) -> Next {
    loop {
        let deadline = next_stop(instance);
        match instance.lock().ending {
            Ending::Drain => {}
            Ending::Stop => return Next::End,
            Ending::Resume => break,
        }
        match try_quiesce(instance, runtime, running, deadline.until) {
            Ok(()) => return Next::End,
            Err(left) => tell_left(instance, deadline, left),
        }
    }
    running.resume();
    let mut inner = instance.lock();
    inner.stop = None;
    inner.state = State::Started;
    inner.phase = "at work";
    inner.report = Some(Report::Up);
    instance.told.notify_all();
    Next::Work
}

fn try_quiesce(
    instance: &Arc<Instance>,
    runtime: &Runtime,
    running: &Arc<dyn Running>,
    deadline: Instant,
) -> Result<(), String> {
    enter(instance, "handing over accepted events");
    hand_over_events(instance, running.as_ref(), deadline)?;
    let quiet = catch_unwind(AssertUnwindSafe(|| runtime.block_on(running.quiesce(remaining(deadline)))));
    quiet.unwrap_or_else(|panic| {
        instance.panicked();
        Err(panic_failure(&*panic).text)
    })?;
    enter(instance, "answering requests");
    let requests = std::mem::take(&mut instance.lock().requests);
    for (id, request) in requests {
        spawn_request(instance, runtime, running, id, request);
    }
    if !instance.completions.wait_quiet(remaining(deadline)) {
        return Err(format!("{} requests are not answered", instance.completions.in_flight()));
    }
    Ok(())
}

/// Second part of a drain: what is under way comes to its next durable point. A stop that comes meanwhile has its own way.
fn settle(instance: &Instance, runtime: &Runtime, running: &Arc<dyn Running>) {
    loop {
        let deadline = next_stop(instance);
        if instance.lock().ending == Ending::Stop {
            return;
        }
        enter(instance, "letting effects end");
        let settled =
            catch_unwind(AssertUnwindSafe(|| runtime.block_on(running.settle(remaining(deadline.until)))));
        match settled {
            Ok(Ok(())) => return,
            Ok(Err(left)) => tell_left(instance, deadline, left),
            Err(panic) => {
                // What it held is given up by the stop that comes next.
                instance.panicked();
                log::error!("coming to rest failed: {}", panic_failure(&*panic).text);
                return;
            }
        }
    }
}

/// Runs to the end, over as many calls of stop as it takes.
pub fn run(instance: &Arc<Instance>, runtime: Runtime, running: Arc<dyn Running>) {
    if instance.lock().ending == Ending::Stop {
        enter(instance, "unsubscribing");
        instance.gate.unsubscribe_all();
    } else {
        settle(instance, &runtime, &running);
    }
    let mut deadline = next_stop(instance);
    while let Err(left) = close(instance, &runtime, &running, deadline.until) {
        tell_left(instance, deadline, left);
        deadline = next_stop(instance);
    }
    instance.lock().running = None;
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

/// Until when a call may take.
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

/// Waits for a call and gives its deadline.
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
