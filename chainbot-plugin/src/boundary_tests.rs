//! The promises of the boundary, one by one: which call is allowed when, what a panic does, how often a request is completed.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};

use chainbot_abi::{Health, Status, WebhookReply};

use crate::testing::{Bench, call_extension, describe, plant_panic_after};

/// The table of states, with what each allows beside what all do. Draining has two rows: at rest, and not yet there.
const STATES: [(&str, u32, &[&str]); 8] = [
    ("initialized", Health::STATE_INITIALIZED, &["start", "cleanup", "drain.import_state", CHECK]),
    // The start is a control call under way, so that even a check has to wait.
    ("starting", Health::STATE_STARTING, &[]),
    (
        "started",
        Health::STATE_STARTED,
        &["stop", "handle_event", "handle_webhook", "drain.begin", CHECK, "reconfigure.apply"],
    ),
    ("draining", Health::STATE_DRAINING, &["stop", "drain.begin", "drain.cancel", CHECK]),
    (
        "drained",
        Health::STATE_DRAINING,
        &["stop", "drain.begin", "drain.cancel", "drain.export_state", CHECK],
    ),
    ("stopping", Health::STATE_STOPPING, &["stop", CHECK]),
    ("stopped", Health::STATE_STOPPED, &["start", "cleanup", CHECK]),
    ("failed", Health::STATE_FAILED, &["stop", CHECK]),
];
const CHECK: &str = "reconfigure.check";
/// Functions of the module's struct.
const CALLS: [&str; 5] = ["start", "stop", "cleanup", "handle_event", "handle_webhook"];
/// Functions of its extensions.
const EXTENDED: [&str; 6] = [
    "drain.begin",
    "drain.cancel",
    "drain.export_state",
    "drain.import_state",
    "reconfigure.check",
    "reconfigure.apply",
];

fn every_call() -> impl Iterator<Item = &'static str> {
    CALLS.into_iter().chain(EXTENDED)
}

fn call(bench: &Bench, word: &str) -> Result<(), (Status, String)> {
    match word {
        "start" => bench.start(),
        "stop" => bench.stop(30_000),
        "cleanup" => bench.cleanup(),
        "handle_event" => bench.event("a.b", ""),
        "handle_webhook" => bench.webhook("/x", 0).map(drop),
        "drain.begin" => bench.drain(30_000),
        "drain.cancel" => bench.cancel(),
        "drain.export_state" => bench.export().map(drop),
        "drain.import_state" => bench.import("{}"),
        "reconfigure.check" => bench.reconfigure(true, "fine"),
        "reconfigure.apply" => bench.reconfigure(false, "fine"),
        other => panic!("no such call: {other}"),
    }
}

/// Runs `body` on an instance that is in a state, and ends the instance whatever state that leaves it in.
fn in_state(name: &str, body: impl Fn(&Bench)) {
    let mut bench = Bench::new();
    bench.initialize().unwrap();
    let block = |bench: &Bench| {
        drop(bench.webhook("/block", 0).unwrap());
        bench.wait_for("a blocked thread", |_| bench.plan.is_blocked.load(SeqCst));
    };
    match name {
        "initialized" => body(&bench),
        "starting" => {
            bench.plan.start_waits.store(true, SeqCst);
            std::thread::scope(|scope| {
                let starting = scope.spawn(|| bench.start());
                bench.wait_for("starting", |health| health.state == Health::STATE_STARTING);
                body(&bench);
                bench.plan.open_gate();
                starting.join().unwrap().unwrap();
            });
        }
        _ => {
            bench.start().unwrap();
            match name {
                "draining" => {
                    block(&bench);
                    assert_eq!(bench.drain(20).unwrap_err().0, Status::TIMEOUT);
                }
                "drained" => bench.drain(30_000).unwrap(),
                "stopping" => {
                    block(&bench);
                    assert_eq!(bench.stop(20).unwrap_err().0, Status::TIMEOUT);
                }
                "stopped" => bench.stop(30_000).unwrap(),
                "failed" => {
                    bench.plan.fail.notify_one();
                    bench.wait_for("failed", |health| health.state == Health::STATE_FAILED);
                }
                _ => {}
            }
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
        let word_of_state = if name == "drained" { "draining" } else { name };
        in_state(name, |bench| {
            for word in every_call().filter(|word| !allowed.contains(word)) {
                let (status, text) = call(bench, word).expect_err(&format!("{word} while {name}"));
                // Work that comes while draining is not refused but kept by the host for the next version.
                let is_work = word.starts_with("handle_") && state == Health::STATE_DRAINING;
                let expect = if is_work { (Status::BUSY, "CB-0712") } else { (Status::STATE, "CB-0702") };
                assert_eq!(status, expect.0, "{word} while {name}: {text}");
                assert!(text.starts_with(expect.1) && text.contains(word), "{word} while {name}: {text}");
                // A second control call is told that one runs; any other is told the state.
                let told = [word_of_state, "another control call", "hands over"];
                assert!(told.iter().any(|told| text.contains(told)), "{text}");
                assert_eq!(bench.state(), state, "{word} while {name} changed something");
            }
            let (status, health) = bench.health();
            assert_eq!((status, health.state), (Status::OK, state));
            bench.snapshots();
            assert!(call_extension(bench, "alex.nothing/1").is_null());
            assert_eq!(bench.state(), state, "a look while {name} changed something");
        });
        for word in allowed {
            in_state(name, |bench| {
                // What blocks it is let go before a call that must succeed.
                if ["stop", "drain.begin"].contains(word) {
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
    plant_panic_after(0);
    assert_eq!(describe().0, Status::PANIC);
    plant_panic_after(0);
    bench.instance = std::ptr::dangling_mut();
    let (status, text) = bench.initialize().unwrap_err();
    assert_eq!((status, bench.instance.is_null()), (Status::PANIC, true), "{text}");
    bench.initialize().unwrap();
    let mut panics = 0;
    let counted = |bench: &Bench, word: &str, panics: &mut u32| {
        *panics += 1;
        assert_eq!(bench.health().1.panics, *panics, "{word} is counted");
    };
    let refused = |bench: &Bench, word: &str, panics: &mut u32| {
        let state = bench.state();
        // An extension is asked for first, which is a call of its own.
        plant_panic_after(u32::from(EXTENDED.contains(&word)));
        let (status, text) = call(bench, word).expect_err(word);
        assert_eq!(status, Status::PANIC, "{word}: {text}");
        assert!(text.starts_with("CB-0706: ") && text.contains("planted"), "{word}: {text}");
        counted(bench, word, panics);
        assert_eq!(bench.state(), state, "{word}");
    };
    let silent = |bench: &Bench, panics: &mut u32| {
        plant_panic_after(0);
        assert_eq!(bench.health().0, Status::PANIC);
        counted(bench, "health", panics);
        plant_panic_after(0);
        assert!(call_extension(bench, "alex.metrics/1").is_null());
        counted(bench, "get_extension", panics);
        for of_metrics in [true, false] {
            plant_panic_after(1);
            assert_eq!(bench.snapshot(of_metrics), Err(Status::PANIC));
            counted(bench, "snapshot", panics);
        }
    };
    every_call().for_each(|word| refused(&bench, word, &mut panics));
    silent(&bench, &mut panics);
    bench.start().unwrap();
    every_call().for_each(|word| refused(&bench, word, &mut panics));
    silent(&bench, &mut panics);
    bench.drain(30_000).unwrap();
    every_call().for_each(|word| refused(&bench, word, &mut panics));
    bench.cancel().unwrap();
    bench.event("a.b", "seen").unwrap();
    let (status, reply) = bench.webhook("/x", 0).unwrap().recv().unwrap();
    assert_eq!((status, reply.unwrap().0), (Status::OK, 200), "it still serves");
    assert!(bench.snapshots().1.contains(&format!("chainbot_module_panics_total {panics}\n")));
    bench.stop(30_000).unwrap();
    assert_eq!(*bench.plan.events.lock().unwrap(), ["seen"]);
    refused(&bench, "cleanup", &mut panics);
    bench.cleanup().unwrap();
    assert_eq!(describe().0, Status::OK);
}

#[test]
fn a_panic_on_a_thread_that_an_extension_borrows_is_counted_like_one_on_the_caller_s() {
    let mut bench = Bench::new();
    bench.initialize().unwrap();
    let mut panics = 0;
    let mut refused = |bench: &Bench, word: &'static str| {
        *bench.plan.panics_in.lock().unwrap() = word;
        let (status, text) = call(bench, word).expect_err(word);
        assert_eq!(status, Status::PANIC, "{word}: {text}");
        assert!(text.starts_with("CB-0706: ") && text.contains("planted in"), "{word}: {text}");
        panics += 1;
        assert_eq!(bench.health().1.panics, panics, "{word} is counted");
        *bench.plan.panics_in.lock().unwrap() = "";
        call(bench, word).unwrap_or_else(|error| panic!("{word} after its panic: {error:?}"));
    };
    refused(&bench, "drain.import_state");
    refused(&bench, "reconfigure.check");
    bench.start().unwrap();
    refused(&bench, "reconfigure.apply");
    bench.drain(30_000).unwrap();
    refused(&bench, "drain.export_state");
    bench.cancel().unwrap();
    let (status, reply) = bench.webhook("/x", 0).unwrap().recv().unwrap();
    assert_eq!((status, reply.unwrap().0), (Status::OK, 200), "it still serves");
    bench.stop(30_000).unwrap();
    bench.cleanup().unwrap();
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
    let rounds = chainbot_core::env::proof::size(3, 100);
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
