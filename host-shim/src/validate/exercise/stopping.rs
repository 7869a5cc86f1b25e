//! Ends and new beginnings.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chainbot_abi::{Health, Status};

use super::life::GRACE;
use crate::validate::arguments::EventArgs;
use crate::validate::bench::Bench;
use crate::validate::ledger;
use crate::validate::random::Random;
use crate::validate::record::{expect, fail};
use crate::validate::routes;
use crate::validate::surroundings::{descriptors, settles, thread_names, threads};

/// Times that a stop meets requests under way.
const STOPS: usize = 5;
/// Lives of the exercise about leaks; small leaks show as growth.
const CYCLES: usize = 10;
/// How long threads may take to vanish after they were joined.
const SETTLE: Duration = Duration::from_secs(1);

/// Stops at a random moment while two threads hand over requests and events.
pub fn stop(bench: &Bench) {
    let mut random = Random::new(bench.seed, "stop");
    let requests = routes::requests(bench);
    let topic = routes::topics(bench).swap_remove(0);
    let Some(subject) = bench.started("stop-deadline") else { return };
    for round in 0..STOPS {
        if round > 0 {
            let answer = subject.start();
            if !expect("restart", answer.is_ok(), || format!("`start` after `stop`: {}", answer.show())) {
                break;
            }
        }
        let over = AtomicBool::new(false);
        let (handle, before) = (subject.handle, ledger::accepted_count());
        let stopped = std::thread::scope(|scope| {
            for _ in 0..2 {
                let (over, requests, topic) = (&over, &requests, &topic);
                scope.spawn(move || {
                    let calls = bench.on(handle);
                    for at in 0.. {
                        let answer = calls.webhook(&requests[at % requests.len()]);
                        if answer.status == Status::STATE || over.load(Ordering::Acquire) {
                            return;
                        }
                        calls.event(&EventArgs::new(topic, "{}"));
                    }
                });
            }
            let some = random.below(200);
            settles(GRACE, || ledger::accepted_count() >= before + some);
            let answer = subject.calls().stop(crate::validate::bench::STOP_MS);
            ledger::stopped();
            over.store(true, Ordering::Release);
            answer
        });
        if !expect("stop-deadline", stopped.is_ok(), || format!("`stop` under load: {}", stopped.show())) {
            break;
        }
    }
    short_deadline(bench, subject);
}

/// A deadline that cannot be kept gives TIMEOUT and what is left, or the stop was quick.
fn short_deadline(bench: &Bench, subject: crate::validate::bench::Subject<'_>) {
    let answer = subject.start();
    if answer.is_ok() {
        for request in routes::requests(bench) {
            subject.calls().webhook(&request);
        }
        let calls = subject.calls();
        let answer = calls.stop(1);
        ledger::stopped();
        match answer.status {
            Status::OK => {}
            Status::TIMEOUT => {
                let state = calls.state();
                expect("stop-deadline", state == Health::STATE_STOPPING, || {
                    format!("the state is {state} after `stop` gave TIMEOUT, not stopping")
                });
                let answer = subject.cleanup();
                expect("stop-deadline", answer.status == Status::STATE, || {
                    format!("`cleanup` while stopping returned {}, not STATE", answer.show())
                });
                let answer = subject.stop();
                expect("stop-deadline", answer.is_ok(), || {
                    format!("a second `stop` after TIMEOUT: {}", answer.show())
                });
            }
            _ => fail("stop-deadline", format!("`stop` within 1 ms: {}", answer.show())),
        }
    }
    subject.cleanup();
}

/// Lives one after another, and starts within a life: nothing is left, nothing grows.
pub fn cycles(bench: &Bench) {
    let before = threads();
    // What is opened once in a process and kept is no leak, so the first life is not counted.
    if !one_life(bench, &before) {
        return;
    }
    let open = descriptors();
    for _ in 0..CYCLES {
        if !one_life(bench, &before) {
            return;
        }
    }
    let left: Vec<_> = descriptors().difference(&open).cloned().collect();
    expect("descriptors", left.is_empty(), || {
        format!("{} descriptors more after {CYCLES} lives: {}", left.len(), left.join(", "))
    });
}

fn one_life(bench: &Bench, before: &BTreeSet<String>) -> bool {
    let Some(subject) = bench.started("restart") else { return false };
    for request in routes::requests(bench).iter().take(4) {
        subject.calls().webhook(request);
    }
    subject.calls().event(&EventArgs::new("validate.event", "{}"));
    let answer = subject.stop();
    let mut good = expect("restart", answer.is_ok(), || format!("`stop`: {}", answer.show()));
    let answer = subject.start();
    good &= expect("restart", answer.is_ok(), || format!("`start` after `stop`: {}", answer.show()));
    if good {
        let answer = subject.stop();
        good = expect("restart", answer.is_ok(), || format!("the second `stop`: {}", answer.show()));
    }
    let settled = settles(SETTLE, || threads().is_subset(before));
    good &= expect("threads", settled, || {
        let left: BTreeSet<_> = threads().difference(before).cloned().collect();
        format!("{} threads are left after `stop`: {}", left.len(), thread_names(&left))
    });
    let answer = subject.cleanup();
    expect("restart", answer.is_ok(), || format!("`cleanup`: {}", answer.show())) && good
}
