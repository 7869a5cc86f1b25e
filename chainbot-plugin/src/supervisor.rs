//! The supervisor: the thread that owns the runtime, starts what is supervised, feeds it and ends it.
//!
//! ```text
//! run ─► start ─► serve (events in order, requests at once, health each second) ─► wind down
//!          │         └─ a panic here: state failed, then wait for stop
//!          └─ refused: undo, tell, leave
//! ```
//!
//! Invariants: only this thread and the runtime's own call into the program; a panic in a request fails that request, a
//! panic in the supervisor makes the state failed; the runtime outlives every panic, so that it can be shut down in order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use chainbot_abi::Status;
use tokio::runtime::Runtime;

use crate::failure::{Failure, NO_THREAD};
use crate::guard::panic_failure;
use crate::limits::{EVENT_RETRY, HEALTH_EVERY, START_UNDO, WORKERS_MAX};
use crate::program::{InEvent, InRequest, Running, Taken};
use crate::state::{Ending, Instance, Report, State};
use crate::winddown::{self, Next};

/// The body of the supervisor's thread.
pub fn run(instance: &Arc<Instance>) {
    instance.lock().live_threads += 1;
    let runtime = match build_runtime(instance) {
        Ok(runtime) => runtime,
        Err(failure) => return leave(instance, Report::Refused(failure)),
    };
    let running = match start(instance, &runtime) {
        Ok(running) => running,
        Err(failure) => {
            instance.gate.unsubscribe_all();
            runtime.shutdown_timeout(START_UNDO);
            return leave(instance, Report::Refused(failure));
        }
    };
    watch(instance, &runtime, &running);
    {
        let mut inner = instance.lock();
        inner.running = Some(Arc::clone(&running));
        inner.state = State::Started;
        inner.started = Some(Instant::now());
        inner.phase = "at work";
        inner.report = Some(Report::Up);
        instance.told.notify_all();
    }
    loop {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| serve(instance, &runtime, &running))) {
            instance.panicked();
            fail(instance, panic_failure(&*panic).text);
            wait_for_stop(instance);
        }
        let is_drain = instance.lock().ending == Ending::Drain;
        if !is_drain || winddown::quiesce(instance, &runtime, &running) == Next::End {
            break;
        }
    }
    winddown::run(instance, runtime, running);
    leave(instance, Report::Down);
}

/// The last thing a supervisor does: after this it only returns.
fn leave(instance: &Instance, report: Report) {
    let mut inner = instance.lock();
    inner.live_threads -= 1;
    inner.report = Some(report);
    instance.told.notify_all();
}

fn build_runtime(instance: &Arc<Instance>) -> Result<Runtime, Failure> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, WORKERS_MAX);
    let (born, gone) = (Arc::clone(instance), Arc::clone(instance));
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name("chainbot")
        .enable_all()
        .on_thread_start(move || born.lock().live_threads += 1)
        .on_thread_stop(move || {
            gone.lock().live_threads -= 1;
            gone.work.notify_all();
        })
        .build()
        .map_err(|error| {
            let text = format!("cannot start the runtime: {error}; look at the limits of the process");
            Failure::new(Status::FAILED, NO_THREAD, text)
        })
}

fn start(instance: &Arc<Instance>, runtime: &Runtime) -> Result<Arc<dyn Running>, Failure> {
    let gate = Arc::clone(&instance.gate);
    let started = catch_unwind(AssertUnwindSafe(|| {
        chainbot_core::fault!("module.start" => return Err(Failure::new(Status::FAILED, NO_THREAD, "a fault on purpose at module.start")));
        let running = runtime.block_on(instance.program.start(gate))?;
        look(instance, running.as_ref());
        Ok(running)
    }));
    // Counted by the guard of the call that waits for this start.
    started.unwrap_or_else(|panic| Err(panic_failure(&*panic)))
}

/// Makes the state failed when the program says that it cannot work on.
fn watch(instance: &Arc<Instance>, runtime: &Runtime, running: &Arc<dyn Running>) {
    let (instance, running) = (Arc::clone(instance), Arc::clone(running));
    runtime.spawn(async move {
        let reason = running.failed().await;
        fail(&instance, reason);
    });
}

fn fail(instance: &Instance, reason: String) {
    log::error!("the instance cannot work on: {reason}");
    let mut inner = instance.lock();
    if inner.state == State::Started {
        inner.state = State::Failed;
    }
    inner.failure = Some(reason);
}

fn wait_for_stop(instance: &Instance) {
    let mut inner = instance.lock();
    while inner.stop.is_none() {
        inner = instance.work.wait(inner).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Feeds the program until a stop is asked for.
fn serve(instance: &Arc<Instance>, runtime: &Runtime, running: &Arc<dyn Running>) {
    let mut next_health = Instant::now() + HEALTH_EVERY;
    let mut next_event = Instant::now();
    loop {
        chainbot_core::fault!("module.serve");
        let (event, requests) = {
            let mut inner = instance.lock();
            loop {
                let now = Instant::now();
                let offer = !inner.events.is_empty() && now >= next_event;
                if inner.stop.is_some() {
                    return;
                }
                if offer || !inner.requests.is_empty() || now >= next_health {
                    let event = if offer { inner.events.pop() } else { None };
                    break (event, std::mem::take(&mut inner.requests));
                }
                let wake = if inner.events.is_empty() { next_health } else { next_health.min(next_event) };
                let wait = wake.saturating_duration_since(now);
                inner = instance.work.wait_timeout(inner, wait).unwrap_or_else(PoisonError::into_inner).0;
            }
        };
        for (id, request) in requests {
            spawn_request(instance, runtime, running, id, request);
        }
        if let Some((event, bytes)) = event
            && !offer_event(running.as_ref(), &event)
        {
            instance.lock().events.put_back(event, bytes);
            next_event = Instant::now() + EVENT_RETRY;
        }
        if Instant::now() >= next_health {
            look(instance, running.as_ref());
            next_health = Instant::now() + HEALTH_EVERY;
        }
    }
}

/// Asks how well it goes and takes the figures, for calls that may not wait.
fn look(instance: &Instance, running: &dyn Running) {
    let ((score, detail), metrics) = (running.health(), running.metrics());
    let mut inner = instance.lock();
    inner.health = Some((score, detail, Instant::now()));
    inner.metrics = metrics;
}

/// Whether the event is dealt with; `false` means that it must be offered again.
pub fn offer_event(running: &dyn Running, event: &InEvent) -> bool {
    match running.handle_event(event) {
        Taken::Yes => true,
        Taken::Busy => false,
        Taken::Refused(reason) => {
            log::warn!("an event of `{}` was refused: {reason}", event.topic);
            true
        }
    }
}

/// Completes its request when it is dropped without an answer: the task panicked, or the runtime ended it.
struct Answer {
    instance: Arc<Instance>,
    id: u64,
}

impl Drop for Answer {
    fn drop(&mut self) {
        let status = if std::thread::panicking() {
            self.instance.panicked();
            Status::PANIC
        } else {
            Status::CANCELLED
        };
        // Finds nothing when the request was answered.
        self.instance.completions.finish(self.id, status, None);
    }
}

/// Answers a request on the runtime, within its time.
pub fn spawn_request(
    instance: &Arc<Instance>,
    runtime: &Runtime,
    running: &Arc<dyn Running>,
    id: u64,
    request: InRequest,
) {
    let (running, answer) = (Arc::clone(running), Answer { instance: Arc::clone(instance), id });
    let left = request.due.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    runtime.spawn(async move {
        let reply = tokio::time::timeout(left, running.call(request)).await;
        let completions = &answer.instance.completions;
        match &reply {
            Ok(reply) => completions.finish(id, Status::OK, Some(reply)),
            Err(_) => completions.finish(id, Status::TIMEOUT, None),
        }
    });
}
