//! The life of an instance, called as a host calls it, over the small program of `testing`.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use chainbot_abi::{Health, Status};

use crate::testing::{Bench, QUEUE_ITEMS, detail};

const LONG: Duration = Duration::from_secs(30);

#[test]
fn an_instance_goes_through_its_life_twice() {
    let mut bench = Bench::new();
    bench.initialize().unwrap();
    let health = bench.health().1;
    assert_eq!((health.state, health.score, health.live_threads), (Health::STATE_INITIALIZED, 0.5, 0));
    for round in 1..=2 {
        bench.start().unwrap();
        let health = bench.health().1;
        assert_eq!((health.state, health.score), (Health::STATE_STARTED, 0.9));
        assert_eq!(detail(&health), "echo");
        // A worker thread counts itself when it begins to run, which may be after `start` has returned.
        let until = Instant::now() + LONG;
        while bench.health().1.live_threads < 2 {
            assert!(Instant::now() < until, "the workers are counted");
            std::thread::yield_now();
        }
        assert_eq!(bench.seen.subscribed.load(SeqCst), round);
        let (status, reply) = bench.webhook("/x", 0).unwrap().recv_timeout(LONG).unwrap();
        assert_eq!((status, reply), (Status::OK, Some((200, b"hello".to_vec()))));
        bench.stop(30_000).unwrap();
        let health = bench.health().1;
        assert_eq!((health.state, health.score, health.live_threads), (Health::STATE_STOPPED, 0.0, 0));
        assert_eq!(bench.seen.unsubscribed.load(SeqCst), round);
    }
    bench.cleanup().unwrap();
    assert_eq!(bench.health().0, Status::INVALID, "a released instance is unknown");
}

#[test]
fn calls_out_of_order_get_state_and_change_nothing() {
    let mut bench = Bench::new();
    assert_eq!(bench.start().unwrap_err().0, Status::INVALID, "null");
    bench.initialize().unwrap();
    let illegal = |bench: &Bench, call: &str| match call {
        "start" => bench.start().unwrap_err(),
        "stop" => bench.stop(1).unwrap_err(),
        "cleanup" => bench.cleanup().unwrap_err(),
        "event" => bench.event("a.b", "").unwrap_err(),
        _ => bench.webhook("/x", 0).unwrap_err(),
    };
    let check = |bench: &Bench, calls: &[&str]| {
        let before = bench.state();
        for call in calls {
            let (status, text) = illegal(bench, call);
            assert_eq!(status, Status::STATE, "{call}: {text}");
            assert!(text.starts_with("CB-0702"), "{text}");
            assert_eq!(bench.state(), before, "{call}");
        }
    };
    check(&bench, &["stop", "event", "webhook"]);
    bench.start().unwrap();
    check(&bench, &["start", "cleanup"]);
    bench.stop(30_000).unwrap();
    check(&bench, &["stop", "event", "webhook"]);
    bench.cleanup().unwrap();
    for call in ["start", "stop", "cleanup", "event", "webhook"] {
        assert_eq!(illegal(&bench, call).0, Status::INVALID, "{call} after cleanup");
    }
}

#[test]
fn a_failed_initialize_leaves_null_and_nothing_to_clean_up() {
    let mut bench = Bench::new();
    bench.instance = std::ptr::dangling_mut();
    let (status, text) = bench.initialize_from("unknown").unwrap_err();
    assert_eq!((status, bench.instance.is_null()), (Status::INVALID, true), "{text}");
    let (status, text) = bench.initialize_from("panic").unwrap_err();
    assert_eq!((status, bench.instance.is_null()), (Status::PANIC, true));
    assert!(text.contains("planted in check"), "{text}");
    bench.host().publish = None;
    assert!(bench.initialize().unwrap_err().1.contains("publish"));
    bench.host().abi_version = 0x0002_0000;
    assert!(bench.initialize().unwrap_err().1.starts_with("CB-0708"));
}

#[test]
fn a_failed_start_leaves_the_state_it_came_from() {
    let mut bench = Bench::new();
    bench.initialize().unwrap();
    bench.plan.start_fails.store(true, SeqCst);
    assert_eq!(bench.start().unwrap_err().0, Status::FAILED);
    assert_eq!(bench.state(), Health::STATE_INITIALIZED);
    assert_eq!(bench.health().1.live_threads, 0);
    assert_eq!(bench.seen.unsubscribed.load(SeqCst), 1, "what it subscribed is undone");
    bench.plan.start_panics.store(true, SeqCst);
    let (status, text) = bench.start().unwrap_err();
    assert_eq!(status, Status::PANIC, "{text}");
    assert_eq!(bench.health().1.panics, 1);
    bench.plan.start_panics.store(false, SeqCst);
    bench.plan.start_fails.store(false, SeqCst);
    bench.start().unwrap();
    bench.stop(30_000).unwrap();
    bench.plan.start_fails.store(true, SeqCst);
    bench.start().unwrap_err();
    assert_eq!(bench.state(), Health::STATE_STOPPED);
    bench.cleanup().unwrap();
}

#[test]
fn a_panic_in_a_request_fails_that_request_alone() {
    let bench = Bench::started();
    let (status, reply) = bench.webhook("/panic", 0).unwrap().recv_timeout(LONG).unwrap();
    assert_eq!((status, reply), (Status::PANIC, None));
    assert_eq!(bench.webhook("/x", 0).unwrap().recv_timeout(LONG).unwrap().0, Status::OK);
    assert_eq!(bench.health().1.panics, 1);
    bench.stop(30_000).unwrap();
    bench.cleanup().unwrap();
}

#[test]
fn a_request_that_takes_too_long_times_out() {
    let bench = Bench::started();
    assert_eq!(bench.webhook("/never", 10).unwrap().recv_timeout(LONG).unwrap().0, Status::TIMEOUT);
    bench.stop(30_000).unwrap();
    bench.cleanup().unwrap();
}

#[test]
fn a_stop_cancels_what_is_left_and_says_so() {
    let bench = Bench::started();
    let stuck = bench.webhook("/never", 0).unwrap();
    bench.stop(1_000).unwrap();
    assert_eq!(stuck.try_recv().unwrap(), (Status::CANCELLED, None), "before stop returned");
    bench.cleanup().unwrap();
}

#[test]
fn a_stop_that_times_out_names_what_is_left_and_can_be_repeated() {
    let bench = Bench::started();
    let stuck = bench.webhook("/block", 0).unwrap();
    bench.wait_for("a blocked thread", |_| bench.plan.is_blocked.load(SeqCst));
    bench.plan.stop_left.store(true, SeqCst);
    let (status, text) = bench.stop(200).unwrap_err();
    assert_eq!(status, Status::TIMEOUT);
    assert!(text.starts_with("CB-0705") && text.contains("one run is not suspended"), "{text}");
    assert_eq!(stuck.try_recv().unwrap().0, Status::CANCELLED);
    assert_eq!(bench.state(), Health::STATE_STOPPING);
    assert_eq!(bench.cleanup().unwrap_err().0, Status::STATE);
    assert_eq!(bench.event("a.b", "").unwrap_err().0, Status::STATE);
    bench.plan.stop_left.store(false, SeqCst);
    let (status, text) = bench.stop(200).unwrap_err();
    assert_eq!(status, Status::TIMEOUT, "a thread is blocked: {text}");
    assert!(bench.health().1.live_threads > 0);
    bench.plan.open_gate();
    bench.stop(30_000).unwrap();
    assert_eq!(bench.health().1.live_threads, 0);
    bench.start().unwrap();
    bench.stop(30_000).unwrap();
    bench.cleanup().unwrap();
}

#[test]
fn a_full_queue_is_busy_and_nothing_accepted_is_lost() {
    let bench = Bench::started();
    bench.plan.events_busy.store(true, SeqCst);
    let mut accepted = Vec::new();
    let text = loop {
        let id = accepted.len().to_string();
        match bench.event("a.b", &id) {
            Ok(()) => accepted.push(id),
            Err((status, text)) => {
                assert_eq!(status, Status::BUSY);
                break text;
            }
        }
    };
    assert!(text.starts_with("CB-0703"), "{text}");
    assert!(accepted.len() >= QUEUE_ITEMS, "{}", accepted.len());
    bench.plan.events_busy.store(false, SeqCst);
    bench.stop(30_000).unwrap();
    assert_eq!(*bench.plan.events.lock().unwrap(), accepted, "in order, and all of them");
    bench.cleanup().unwrap();
}

#[test]
fn a_program_that_cannot_work_on_makes_the_state_failed_until_stop() {
    let bench = Bench::started();
    bench.plan.fail.notify_one();
    bench.wait_for("failed", |health| health.state == Health::STATE_FAILED);
    let health = bench.health().1;
    assert_eq!((health.score, detail(&health).as_str()), (0.0, "the disk is gone"));
    assert_eq!(bench.start().unwrap_err().0, Status::STATE);
    assert_eq!(bench.event("a.b", "").unwrap_err().0, Status::STATE);
    assert_eq!(bench.cleanup().unwrap_err().0, Status::STATE);
    bench.stop(30_000).unwrap();
    bench.start().unwrap();
    bench.stop(30_000).unwrap();
    bench.cleanup().unwrap();
}

#[test]
fn a_panic_of_the_supervisor_makes_the_state_failed_and_stop_still_works() {
    let bench = Bench::started();
    let stuck = bench.webhook("/never", 0).unwrap();
    bench.event("a.panic", "").unwrap();
    bench.wait_for("failed", |health| health.state == Health::STATE_FAILED);
    assert!(detail(&bench.health().1).contains("planted in handle_event"));
    bench.stop(2_000).unwrap();
    assert_eq!(stuck.try_recv().unwrap().0, Status::CANCELLED);
    assert_eq!(bench.health().1.live_threads, 0);
    bench.cleanup().unwrap();
}

#[test]
fn every_accepted_request_is_completed_once_when_stop_comes_in_between() {
    let bench = Bench::started();
    let (accepted, refused) = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut accepted, mut refused) = (Vec::new(), 0);
                    for number in 0..500 {
                        match bench.webhook(if number % 7 == 0 { "/never" } else { "/x" }, 0) {
                            Ok(answers) => accepted.push(answers),
                            Err((Status::BUSY | Status::STATE, _)) => refused += 1,
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                    (accepted, refused)
                })
            })
            .collect();
        bench.wait_for("requests in flight", |health| health.in_flight > 0);
        bench.stop(2_000).unwrap();
        let mut all = (Vec::new(), 0);
        for caller in callers {
            let (accepted, refused) = caller.join().unwrap();
            all.0.extend(accepted);
            all.1 += refused;
        }
        all
    });
    assert_eq!(accepted.len() + refused, 2_000);
    for answers in accepted {
        answers.try_recv().expect("completed before stop returned");
        assert!(answers.try_recv().is_err(), "completed twice");
    }
    bench.cleanup().unwrap();
}

#[test]
fn a_hundred_starts_leave_no_thread_and_no_descriptor() {
    // Other tests of this process come and go with threads of their own, so the counting happens in a child.
    const ALONE: &str = "CHAINBOT_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "lifecycle_tests::a_hundred_starts_leave_no_thread_and_no_descriptor";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name, "--test-threads=1"]).env(ALONE, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let count = |folder: &str| std::fs::read_dir(format!("/proc/self/{folder}")).unwrap().count();
    let mut bench = Bench::new();
    bench.initialize().unwrap();
    let round = || {
        bench.start().unwrap();
        bench.webhook("/x", 0).unwrap().recv_timeout(LONG).unwrap();
        bench.stop(30_000).unwrap();
    };
    round();
    let before = (count("task"), count("fd"));
    (0..100).for_each(|_| round());
    assert_eq!((count("task"), count("fd")), before);
    bench.cleanup().unwrap();
}
