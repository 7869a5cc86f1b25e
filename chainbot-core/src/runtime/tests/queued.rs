//! What is sent to a run that stands in the queue.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_to_a_queued_run_survives_a_restart() {
    let bench = Bench::new(1, 10).await;
    bench.workflow("slow", SLOW).await;
    bench.workflow("waits", WAIT).await;
    let first = bench.start("slow").await;
    bench.server.until(|counts| counts.in_flight == 1).await;
    let queued = bench.start("waits").await;
    let untouched = bench.start("waits").await;
    for run in [queued, untouched] {
        bench.handle.signal(run, "go", json!(5), Some("once")).await.unwrap();
    }
    let bench = bench.restart_busy(|_| {}).await;
    bench.server.until(|counts| counts.requests == 2).await;
    assert_eq!(bench.handle.run(queued).await.unwrap().status, RunStatus::Pending);
    assert_eq!(bench.handle.counts().queued, 2);
    // Sent once more by a client that saw no answer.
    bench.handle.signal(queued, "go", json!(6), Some("once")).await.unwrap();
    bench.gate.add_permits(2);
    assert_eq!(bench.ended(first).await.status, RunStatus::Completed);
    for run in [queued, untouched] {
        assert_eq!(bench.ended(run).await.output.unwrap()["signal"], 5);
    }
    let third = bench.start("slow").await;
    bench.gate.add_permits(1);
    assert_eq!(bench.ended(third).await.status, RunStatus::Completed);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_higher_bound_of_a_running_engine_lets_in_who_waits() {
    let bench = Bench::new(1, 10).await;
    bench.workflow("slow", SLOW).await;
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(bench.start("slow").await);
    }
    bench.server.until(|counts| counts.in_flight == 1).await;
    assert_eq!(bench.handle.counts().queued, 3);
    let tuning = |runs_max| Tuning {
        runs_max,
        queued_max: 10,
        defaults: Defaults::default(),
        retention: Default::default(),
    };
    bench.handle.0.tune(tuning(3));
    bench.server.until(|counts| counts.in_flight == 3).await;
    assert_eq!(bench.handle.counts().queued, 1);
    bench.handle.0.tune(tuning(1));
    bench.gate.add_permits(4);
    for run in runs {
        assert_eq!(bench.ended(run).await.status, RunStatus::Completed);
    }
    bench.end().await;
}
