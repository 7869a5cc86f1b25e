//! The extensions, called as a host calls them, over the small program of `testing`.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use chainbot_abi::{Health, Status};

use crate::testing::{Bench, detail};

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_drained_instance_takes_no_work_and_stops_or_comes_back() {
    let bench = Bench::started();
    bench.drain(30_000).unwrap();
    let health = bench.health().1;
    assert_eq!((health.state, health.score, health.live_threads), (Health::STATE_DRAINING, 0.5, 0));
    assert_eq!(detail(&health), "drained");
    for error in [bench.event("a.b", "").unwrap_err(), bench.webhook("/x", 0).unwrap_err()] {
        assert_eq!(error.0, Status::BUSY, "{}", error.1);
        assert!(error.1.starts_with("CB-0712"), "{}", error.1);
    }
    bench.drain(1).unwrap();
    assert_eq!(bench.export().unwrap(), "exported");
    for error in [bench.start(), bench.cleanup(), bench.import("x"), bench.reconfigure(false, "x")] {
        assert_eq!(error.unwrap_err().0, Status::STATE);
    }
    // The host must hear of events for as long as it may have to give them to this instance again.
    assert_eq!(bench.seen.unsubscribed.load(SeqCst), 0);
    bench.cancel().unwrap();
    assert_eq!(bench.state(), Health::STATE_STARTED);
    assert_eq!((bench.seen.subscribed.load(SeqCst), bench.seen.unsubscribed.load(SeqCst)), (2, 1));
    assert_eq!(bench.webhook("/x", 0).unwrap().recv_timeout(LONG).unwrap().0, Status::OK);
    assert_eq!(bench.cancel().unwrap_err().0, Status::STATE);
    bench.drain(30_000).unwrap();
    bench.stop(30_000).unwrap();
    assert_eq!(bench.state(), Health::STATE_STOPPED);
    assert_eq!(bench.seen.unsubscribed.load(SeqCst), 2);
    bench.cleanup().unwrap();
}

#[test]
fn a_drain_waits_for_requests_and_gives_none_up() {
    let bench = Bench::started();
    let open = bench.webhook("/block", 0).unwrap();
    bench.wait_for("a request under way", |health| health.queue_depth == 0 && health.in_flight == 1);
    let (status, text) = bench.drain(100).unwrap_err();
    assert_eq!(status, Status::TIMEOUT);
    assert!(text.starts_with("CB-0705") && text.contains("1 requests are not answered"), "{text}");
    assert_eq!(bench.state(), Health::STATE_DRAINING);
    assert_eq!(bench.export().unwrap_err().0, Status::STATE, "it is not drained");
    assert!(open.try_recv().is_err(), "it is still under way");
    // Nothing was let go, so it comes back without a start.
    bench.cancel().unwrap();
    assert_eq!((bench.state(), bench.plan.resumed.load(SeqCst)), (Health::STATE_STARTED, 1));
    assert_eq!(bench.seen.subscribed.load(SeqCst), 1);
    bench.drain(100).unwrap_err();
    bench.plan.open_gate();
    bench.drain(30_000).unwrap();
    assert_eq!(open.recv_timeout(LONG).unwrap().0, Status::OK);
    bench.stop(30_000).unwrap();
    bench.cleanup().unwrap();
}

#[test]
fn a_drain_that_does_not_come_to_rest_can_be_taken_back_or_stopped() {
    for ends_by_stop in [false, true] {
        let bench = Bench::started();
        bench.plan.unsettled.store(true, SeqCst);
        let (status, text) = bench.drain(100).unwrap_err();
        assert_eq!(status, Status::TIMEOUT);
        assert!(text.contains("2 effects are under way"), "{text}");
        if ends_by_stop {
            bench.stop(30_000).unwrap();
        } else {
            bench.plan.unsettled.store(false, SeqCst);
            bench.cancel().unwrap();
            assert_eq!(bench.state(), Health::STATE_STARTED);
            assert_eq!(bench.webhook("/x", 0).unwrap().recv_timeout(LONG).unwrap().0, Status::OK);
            bench.stop(30_000).unwrap();
        }
        bench.cleanup().unwrap();
    }
}

#[test]
fn a_way_back_that_fails_stays_draining_and_can_be_tried_again() {
    let bench = Bench::started();
    bench.drain(30_000).unwrap();
    bench.plan.start_fails.store(true, SeqCst);
    assert_eq!(bench.cancel().unwrap_err().0, Status::FAILED);
    assert_eq!(bench.state(), Health::STATE_DRAINING);
    bench.plan.start_fails.store(false, SeqCst);
    bench.cancel().unwrap();
    bench.stop(30_000).unwrap();
    bench.cleanup().unwrap();
}

#[test]
fn what_was_accepted_before_a_drain_reaches_the_program() {
    let bench = Bench::started();
    bench.plan.events_busy.store(true, SeqCst);
    for id in 0..50 {
        bench.event("a.b", &id.to_string()).unwrap();
    }
    let (status, text) = bench.drain(200).unwrap_err();
    assert_eq!(status, Status::TIMEOUT);
    assert!(text.contains("accepted events are not stored"), "{text}");
    bench.plan.events_busy.store(false, SeqCst);
    bench.drain(30_000).unwrap();
    let ids: Vec<String> = (0..50).map(|id| id.to_string()).collect();
    assert_eq!(*bench.plan.events.lock().unwrap(), ids);
    bench.stop(30_000).unwrap();
    bench.cleanup().unwrap();
}

#[test]
fn a_state_is_imported_before_a_start_and_never_after_it() {
    let mut bench = Bench::new();
    bench.initialize().unwrap();
    bench.import("from another version").unwrap();
    assert_eq!(*bench.plan.imported.lock().unwrap(), "from another version");
    bench.start().unwrap();
    assert_eq!(bench.import("late").unwrap_err().0, Status::STATE);
    bench.stop(30_000).unwrap();
    bench.cleanup().unwrap();
}

#[test]
fn a_configuration_is_checked_in_every_state_and_applied_at_work_only() {
    let mut bench = Bench::new();
    bench.initialize().unwrap();
    let check = |bench: &Bench| {
        bench.reconfigure(true, "fine").unwrap();
        assert_eq!(bench.reconfigure(true, "restart").unwrap_err().0, Status::UNSUPPORTED);
    };
    check(&bench);
    assert_eq!(bench.reconfigure(false, "fine").unwrap_err().0, Status::STATE);
    bench.start().unwrap();
    check(&bench);
    assert_eq!(bench.snapshots().0, "", "a check changes nothing");
    bench.reconfigure(false, "fine").unwrap();
    assert_eq!(bench.reconfigure(false, "restart").unwrap_err().0, Status::UNSUPPORTED);
    assert_eq!(bench.snapshots().0, "fine");
    bench.drain(30_000).unwrap();
    check(&bench);
    bench.stop(30_000).unwrap();
    check(&bench);
    bench.cleanup().unwrap();
}

#[test]
fn figures_are_given_in_every_state_and_end_as_openmetrics_does() {
    let mut bench = Bench::new();
    bench.initialize().unwrap();
    let figures = |bench: &Bench| bench.snapshots().1;
    let before = figures(&bench);
    assert!(before.contains("chainbot_health_score 0.5\n") && before.ends_with("# EOF\n"), "{before}");
    bench.start().unwrap();
    let during = figures(&bench);
    assert!(during.contains("echo_up 1\n"), "the program's own: {during}");
    assert!(
        during.contains("chainbot_module_state 3\n") && during.contains("chainbot_module_panics_total 0\n")
    );
    assert_eq!(during.matches("# EOF").count(), 1);
    bench.stop(30_000).unwrap();
    assert!(!figures(&bench).contains("echo_up"));
    bench.cleanup().unwrap();
}

#[test]
fn a_control_call_on_another_thread_is_told_when_the_host_can_tell() {
    let bench = Bench::started();
    assert_eq!(bench.seen.warnings.load(SeqCst), 0);
    bench.seen.is_control_thread.store(0, SeqCst);
    bench.drain(30_000).unwrap();
    bench.reconfigure(true, "fine").unwrap();
    assert_eq!(bench.seen.warnings.load(SeqCst), 2);
    bench.health();
    bench.event("a.b", "").unwrap_err();
    assert_eq!(bench.seen.warnings.load(SeqCst), 2, "these may come on any thread");
    bench.seen.is_control_thread.store(1, SeqCst);
    bench.stop(30_000).unwrap();
    bench.cleanup().unwrap();
}
