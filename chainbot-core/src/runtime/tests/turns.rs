//! Runs that are taken up again and forks pass `concurrency` as starts do.

use super::*;
use crate::error::code::run as run_code;
use crate::runtime::NewFork;

/// Fails when nobody signals for an hour.
const HOLDS: &str = "steps:\n  - { id: a, type: set, config: { variables: { n: 1 } } }\n  \
    - { id: b, type: wait, timeout: 1h, config: { signal: go } }\n";

impl Bench {
    /// A run of `w` that has failed; `mode` as in the definition.
    async fn failed(&self, concurrency: &str) -> RunId {
        let source = format!("name: w\nconcurrency: {concurrency}\n{HOLDS}");
        self.handle.create_workflow(&source, None).await.unwrap();
        let run = self.holding(Value::Null).await;
        self.clock.advance(Duration::from_secs(3_601));
        assert_eq!(self.ended(run).await.status, RunStatus::Failed);
        run
    }

    /// One more run of `w`, which waits for its signal.
    async fn holding(&self, inputs: Value) -> RunId {
        let run = self.try_start_with("w", inputs, None).await.unwrap().run.id;
        self.until(run, is_waiting).await;
        run
    }

    async fn completed(&self, run: RunId) {
        self.handle.signal(run, "go", Value::Null, None).await.unwrap();
        self.until(run, |body| matches!(body, RecordBody::RunCompleted { .. })).await;
    }

    /// Waits until the run waits for its signal again.
    async fn holds_again(&self, run: RunId) {
        let again = async {
            loop {
                let view = self.handle.run(run).await.unwrap();
                let waits_for = view.waiting_for.unwrap_or_default();
                if view.status == RunStatus::Waiting && waits_for.starts_with("b: signal `go`") {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(HANG, again).await.expect("it goes on");
    }
}

fn is_waiting(body: &RecordBody) -> bool {
    matches!(body, RecordBody::StepWaiting { .. })
}

fn from_b() -> NewFork {
    NewFork {
        from: "b".to_owned(),
        path: Vec::new(),
        inputs: Value::Null,
        variables: Value::Null,
        idempotency_key: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_waits_for_its_turn_also_over_a_restart() {
    let bench = Bench::new(4, 10).await;
    let run = bench.failed("{ mode: queued }").await;
    let other = bench.holding(Value::Null).await;
    let view = bench.handle.retry(run).await.unwrap();
    assert_eq!(view.status, RunStatus::Paused);
    let turn = Some("it waits for its turn (`concurrency`)");
    assert_eq!(view.waiting_for.as_deref(), turn);
    assert_eq!(bench.handle.state_at(run, None).await.unwrap().waiting_for.as_deref(), turn);
    let refused = bench.handle.resume(run).await.unwrap_err();
    assert_eq!(refused.code(), &run_code::CONCURRENCY, "{refused}");
    assert_eq!(bench.handle.pause(run, "me").await.unwrap_err().code(), &run_code::CONCURRENCY);
    // It is kept, and does not let the run in.
    bench.handle.signal(run, "other", Value::Null, None).await.unwrap();
    assert_eq!(bench.handle.run(run).await.unwrap().waiting_for.as_deref(), turn, "it was in memory");
    let bench = bench.restart().await;
    let view = bench.handle.run(run).await.unwrap();
    assert_eq!((view.status, view.waiting_for.as_deref()), (RunStatus::Paused, turn));
    assert_eq!(bench.handle.counts().queued, 1);
    let third = bench.start("w").await;
    bench.completed(other).await;
    bench.holds_again(run).await;
    assert_eq!(bench.handle.run(third).await.unwrap().status, RunStatus::Pending, "it came after the retry");
    bench.completed(run).await;
    bench.until(third, is_waiting).await;
    bench.completed(third).await;
    assert!(bench.store.automation().unwrap().gates.is_empty());
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_finds_room_goes_on_at_once_and_keeps_its_place_over_a_restart() {
    let bench = Bench::new(4, 10).await;
    let run = bench.failed("{ mode: queued }").await;
    bench.handle.retry(run).await.unwrap();
    bench.holds_again(run).await;
    let bench = bench.restart().await;
    let next = bench.start("w").await;
    assert_eq!(bench.handle.run(next).await.unwrap().status, RunStatus::Pending, "the retry has the place");
    bench.completed(run).await;
    bench.completed(next).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_and_a_fork_of_a_single_workflow_are_refused_while_a_run_of_the_same_key_goes_on() {
    let bench = Bench::new(4, 10).await;
    let run = bench.failed("{ mode: single, key: \"{{ inputs.zone | default('') }}\" }").await;
    let elsewhere = bench.holding(json!({ "zone": "north" })).await;
    let other = bench.holding(Value::Null).await;
    let refused = bench.handle.retry(run).await.unwrap_err();
    assert_eq!(refused.code(), &run_code::CONCURRENCY);
    assert!(refused.to_string().contains(&other.to_string()), "it names the run: {refused}");
    assert_eq!(bench.handle.run(run).await.unwrap().status, RunStatus::Failed, "nothing has happened");
    let refused = bench.handle.fork(run, from_b()).await.unwrap_err();
    assert_eq!(refused.code(), &run_code::CONCURRENCY);
    bench.completed(other).await;
    bench.handle.retry(run).await.unwrap();
    bench.holds_again(run).await;
    bench.completed(run).await;
    let fork = bench.handle.fork(run, from_b()).await.unwrap().run.id;
    bench.until(fork, is_waiting).await;
    let refused = bench.try_start("w", None).await.unwrap_err();
    assert_eq!(refused.code(), &run_code::CONCURRENCY, "a fork counts: {refused}");
    bench.completed(fork).await;
    bench.completed(elsewhere).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_takes_the_place_of_the_run_before_it_where_the_newest_counts() {
    let bench = Bench::new(4, 10).await;
    let run = bench.failed("{ mode: restart }").await;
    let other = bench.holding(Value::Null).await;
    bench.handle.retry(run).await.unwrap();
    assert_eq!(bench.ended(other).await.status, RunStatus::Cancelled);
    bench.holds_again(run).await;
    let fork = bench.handle.fork(run, from_b()).await.unwrap().run.id;
    bench.until(run, |body| matches!(body, RecordBody::RunCancelled { .. })).await;
    bench.until(fork, is_waiting).await;
    bench.completed(fork).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_waits_for_its_turn_with_its_history_also_over_a_restart() {
    let bench = Bench::new(4, 10).await;
    let run = bench.failed("{ mode: queued }").await;
    let other = bench.holding(Value::Null).await;
    let fork = bench.handle.fork(run, from_b()).await.unwrap().run;
    assert_eq!(fork.status, RunStatus::Pending);
    let bench = bench.restart().await;
    assert_eq!(bench.handle.run(fork.id).await.unwrap().status, RunStatus::Pending);
    bench.completed(other).await;
    bench.until(fork.id, is_waiting).await;
    let steps = bench.handle.steps(fork.id).await.unwrap();
    assert_eq!(steps[0].status, crate::model::StepStatus::Completed, "it was copied");
    bench.completed(fork.id).await;
    bench.end().await;
}
