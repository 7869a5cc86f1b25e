//! The promises of the boundary, one by one: which call is allowed when, what a panic does, how often a request is completed.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};

use chainbot_abi::{Health, Status, WebhookReply};

use crate::testing::{Bench, call_extension, describe, plant_panic};

const STATES: [(&str, u32, &[&str]); 6] = [
    ("initialized", Health::STATE_INITIALIZED, &["start", "cleanup"]),
    ("starting", Health::STATE_STARTING, &[]),
    ("started", Health::STATE_STARTED, &["stop", "handle_event", "handle_webhook"]),
    ("stopping", Health::STATE_STOPPING, &["stop"]),
    ("stopped", Health::STATE_STOPPED, &["start", "cleanup"]),
    ("failed", Health::STATE_FAILED, &["stop"]),
];
const CALLS: [&str; 5] = ["start", "stop", "cleanup", "handle_event", "handle_webhook"];

fn call(bench: &Bench, word: &str) -> Result<(), (Status, String)> {
    match word {
        "start" => bench.start(),
        "stop" => bench.stop(30_000),
        "cleanup" => bench.cleanup(),
        "handle_event" => bench.event("a.b", ""),
        "handle_webhook" => bench.webhook("/x", 0).map(drop),
        other => panic!("no such call: {other}"),
    }
}

/// Runs `body` on an instance that is in a state, and ends the instance whatever state that leaves it in.
fn in_state(state: u32, body: impl Fn(&Bench)) {
    let mut bench = Bench::new();
    bench.initialize().unwrap();
    match state {
        Health::STATE_INITIALIZED => body(&bench),
        Health::STATE_STARTING => {
            bench.plan.start_waits.store(true, SeqCst);
            std::thread::scope(|scope| {
                let starting = scope.spawn(|| bench.start());
                bench.wait_for("starting", |health| health.state == state);
                body(&bench);
                bench.plan.open_gate();
                starting.join().unwrap().unwrap();
            });
        }
        _ => {
            bench.start().unwrap();
            match state {
                Health::STATE_STOPPING => {
                    drop(bench.webhook("/block", 0).unwrap());
                    bench.wait_for("a blocked thread", |_| bench.plan.is_blocked.load(SeqCst));
                    assert_eq!(bench.stop(20).unwrap_err().0, Status::TIMEOUT);
                }
                Health::STATE_STOPPED => bench.stop(30_000).unwrap(),
                Health::STATE_FAILED => {
                    bench.plan.fail.notify_one();
                    bench.wait_for("failed", |health| health.state == state);
                }
                _ => {}
            }
            // What blocks a stop is let go before a stop that must succeed.
            body(&bench);
        }
    }
    bench.plan.open_gate();
    let (status, health) = bench.health();
    if status.is_ok() {
        if ![Health::STATE_INITIALIZED, Health::STATE_STOPPED].contains(&health.state) {
            bench.stop(30_000).unwrap();
        }
        bench.cleanup().unwrap();
    }
}

#[test]
fn every_call_in_every_state_is_allowed_or_refused_as_the_contract_says() {
    for (name, state, allowed) in STATES {
        in_state(state, |bench| {
            for word in CALLS.into_iter().filter(|word| !allowed.contains(word)) {
                let (status, text) = call(bench, word).expect_err(&format!("{word} while {name}"));
                assert_eq!(status, Status::STATE, "{word} while {name}: {text}");
                assert!(text.starts_with("CB-0702: ") && text.contains(word), "{word} while {name}: {text}");
                // A second control call is told that one runs; any other is told the state.
                assert!(text.contains(name) || text.contains("another control call"), "{text}");
                assert_eq!(bench.state(), state, "{word} while {name} changed something");
            }
            let (status, health) = bench.health();
            assert_eq!((status, health.state), (Status::OK, state));
            assert!(call_extension(bench, "alex.nothing/1").is_null());
        });
        for word in allowed {
            in_state(state, |bench| {
                if *word == "stop" {
                    bench.plan.open_gate();
                }
                call(bench, word).unwrap_or_else(|error| panic!("{word} while {name}: {error:?}"));
            });
        }
    }
}

#[test]
fn every_call_on_null_or_on_a_released_instance_is_invalid() {
    let mut bench = Bench::new();
    let check = |bench: &Bench, which: &str| {
        for word in CALLS {
            let (status, text) = call(bench, word).expect_err(word);
            assert_eq!(status, Status::INVALID, "{word} on {which}: {text}");
            assert!(text.starts_with("CB-0704: "), "{word} on {which}: {text}");
        }
        assert_eq!(bench.health().0, Status::INVALID, "health on {which}");
        assert!(call_extension(bench, "alex.metrics/1").is_null(), "get_extension on {which}");
    };
    check(&bench, "null");
    bench.initialize().unwrap();
    bench.cleanup().unwrap();
    check(&bench, "a released one");
    let released = bench.instance;
    bench.initialize().unwrap();
    let live = std::mem::replace(&mut bench.instance, released);
    check(&bench, "a released one whose slot is taken again");
    bench.instance = live;
    bench.cleanup().unwrap();
}

#[test]
fn a_panic_behind_any_entry_becomes_a_status_is_counted_and_the_module_still_serves() {
    let mut bench = Bench::new();
    plant_panic();
    assert_eq!(describe().0, Status::PANIC);
    plant_panic();
    bench.instance = std::ptr::dangling_mut();
    let (status, text) = bench.initialize().unwrap_err();
    assert_eq!((status, bench.instance.is_null()), (Status::PANIC, true), "{text}");
    bench.initialize().unwrap();
    let mut panics = 0;
    let refused = |bench: &Bench, word: &str, panics: &mut u32| {
        plant_panic();
        let (status, text) = call(bench, word).expect_err(word);
        assert_eq!(status, Status::PANIC, "{word}: {text}");
        assert!(text.starts_with("CB-0706: ") && text.contains("planted"), "{word}: {text}");
        *panics += 1;
        assert_eq!(bench.health().1.panics, *panics, "{word} is counted");
    };
    refused(&bench, "start", &mut panics);
    assert_eq!(bench.state(), Health::STATE_INITIALIZED);
    bench.start().unwrap();
    for word in ["handle_event", "handle_webhook", "stop", "cleanup"] {
        refused(&bench, word, &mut panics);
        assert_eq!(bench.state(), Health::STATE_STARTED, "{word}");
    }
    plant_panic();
    assert_eq!(bench.health().0, Status::PANIC);
    panics += 1;
    bench.event("a.b", "seen").unwrap();
    let (status, reply) = bench.webhook("/x", 0).unwrap().recv().unwrap();
    assert_eq!((status, reply.unwrap().0), (Status::OK, 200), "it still serves");
    bench.stop(30_000).unwrap();
    assert_eq!(*bench.plan.events.lock().unwrap(), ["seen"]);
    assert_eq!(bench.health().1.panics, panics);
    refused(&bench, "cleanup", &mut panics);
    bench.cleanup().unwrap();
    assert_eq!(describe().0, Status::OK);
}

const IN_FLIGHT: usize = 10_000;
const CALLERS: usize = 4;

unsafe extern "C" fn count(ctx: *mut c_void, _: Status, _: *const WebhookReply) {
    // SAFETY: a counter of the test, which outlives the instance.
    unsafe { &*ctx.cast::<AtomicU32>() }.fetch_add(1, SeqCst);
}

/// Numbers from a seed (xorshift). `CHAINBOT_SEED` plays a run again.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let seed = std::env::var("CHAINBOT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(now);
        println!("CHAINBOT_SEED={seed}");
        Self(seed | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Sends the requests from several threads and stops when `stop_at` were accepted.
fn stop_among(paths: &[&str], stop_at: usize, deadline_ms: u32) -> usize {
    let bench = Bench::started();
    let counters: Vec<AtomicU32> = (0..paths.len()).map(|_| AtomicU32::new(0)).collect();
    let accepted: Vec<AtomicU32> = (0..paths.len()).map(|_| AtomicU32::new(0)).collect();
    let (so_far, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let (bench, counters, accepted, so_far, ended) = (&bench, &counters, &accepted, &so_far, &ended);
        for caller in 0..CALLERS {
            scope.spawn(move || {
                for at in (caller..paths.len()).step_by(CALLERS) {
                    let ctx = std::ptr::from_ref(&counters[at]).cast_mut().cast();
                    match bench.webhook_to(paths[at], ctx, count) {
                        Ok(()) => {
                            accepted[at].store(1, SeqCst);
                            so_far.fetch_add(1, SeqCst);
                        }
                        Err((Status::STATE, _)) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
                ended.fetch_add(1, SeqCst);
            });
        }
        while so_far.load(SeqCst) < stop_at && ended.load(SeqCst) < CALLERS {
            std::thread::yield_now();
        }
        match bench.stop(deadline_ms) {
            Ok(()) => {}
            Err((Status::TIMEOUT, text)) => {
                assert!(text.starts_with("CB-0705: ") && text.contains("threads are left"), "{text}");
            }
            Err(other) => panic!("{other:?}"),
        }
        // The promise is of this moment: whatever stop returned, none is left.
        assert_eq!(bench.health().1.in_flight, 0);
    });
    bench.plan.open_gate();
    if bench.state() != Health::STATE_STOPPED {
        bench.stop(30_000).unwrap();
    }
    for (at, (counter, accepted)) in counters.iter().zip(&accepted).enumerate() {
        assert_eq!(counter.load(SeqCst), accepted.load(SeqCst), "request {at} of `{}`", paths[at]);
    }
    bench.cleanup().unwrap();
    accepted.iter().filter(|accepted| accepted.load(SeqCst) == 1).count()
}

#[test]
fn ten_thousand_requests_in_flight_are_completed_once_each_by_a_stop() {
    let bench = Bench::started();
    let counters: Vec<AtomicU32> = (0..IN_FLIGHT).map(|_| AtomicU32::new(0)).collect();
    for counter in &counters {
        bench.webhook_to("/never", std::ptr::from_ref(counter).cast_mut().cast(), count).unwrap();
    }
    assert_eq!(bench.health().1.in_flight as usize, IN_FLIGHT);
    bench.stop(30_000).unwrap();
    assert!(counters.iter().all(|counter| counter.load(SeqCst) == 1));
    bench.cleanup().unwrap();
}

#[test]
fn a_stop_at_any_moment_completes_each_accepted_request_once() {
    let rounds = if std::env::var("CHAINBOT_PROOF").is_ok_and(|size| size == "long") { 100 } else { 3 };
    let mut dice = Dice::new();
    for _ in 0..rounds {
        let stop_at = dice.below(IN_FLIGHT);
        let deadline_ms = 20 + dice.below(400) as u32;
        let stuck = dice.below(3);
        let paths: Vec<_> = (0..IN_FLIGHT)
            .map(|at| match dice.below(100) {
                _ if at < stuck => "/block",
                0..50 => "/x",
                50..99 => "/never",
                _ => "/panic",
            })
            .collect();
        let accepted = stop_among(&paths, stop_at, deadline_ms);
        println!(
            "{accepted} of {IN_FLIGHT} accepted, stopped after {stop_at}, {stuck} stuck, {deadline_ms} ms"
        );
    }
}
