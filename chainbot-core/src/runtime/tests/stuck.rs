//! An expression that does not end.

use std::sync::atomic::Ordering;

use super::*;
use crate::error::code::run;
use crate::model::{Place, class};
use crate::runtime::core::Slot;

/// Fuel counts a comparison once, however large what it compares.
const BOMB: &str = "  - { id: a, type: transform, config: { type: template, template: \
     \"{% for x in range(2000) %}{{ [[inputs.list]] == [[inputs.other]] }}{% endfor %}\" } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_that_does_not_end_fails_its_step_and_others_go_on() {
    let bench = Bench::new(4, 10).await;
    bench.workflow("bomb", BOMB).await;
    bench.workflow("waits", WAIT).await;
    let before = bench.start("waits").await;
    let bomb = bench.try_start_with("bomb", bomb_inputs(), None).await.unwrap().run.id;
    bench.handle.signal(before, "go", json!(1), None).await.unwrap();
    assert_eq!(bench.ended(before).await.status, RunStatus::Completed);
    bench.until_written_off().await;
    let view = bench.ended(bomb).await;
    assert_eq!(view.status, RunStatus::Failed);
    let steps = bench.handle.steps(bomb).await.unwrap();
    let error = steps[0].error.as_ref().expect("the step failed");
    assert_eq!((error.class.as_str(), error.code.as_str()), (class::LIMIT, run::STEP_LIMIT.id));
    assert_eq!(view.error.unwrap().code, run::STEP_LIMIT.id);
    // The place of the lost thread is taken, and so is its permit given back.
    let after = [bench.start("waits").await, bench.start("waits").await];
    for run in after {
        bench.handle.signal(run, "go", json!(2), None).await.unwrap();
        assert_eq!(bench.ended(run).await.status, RunStatus::Completed);
    }
    assert_eq!(bench.handle.counts().written_off, 1);
    assert!(bench.runtime.failure().is_none());
    let idle = async {
        while bench.handle.counts().running > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, idle).await.expect("every permit comes back");
    bench.end().await;
}

fn bomb_inputs() -> Value {
    let list: Vec<u32> = (0..50_000).collect();
    json!({ "list": list, "other": list })
}

/// The bomb as an inner line.
fn bomb_within(indent: &str) -> String {
    BOMB.replace("  - { id: a,", &format!("{indent}- {{ id: bomb,"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_that_ended_right_before_a_stuck_expression_has_ended() {
    let bench = Bench::new(4, 10).await;
    let steps = format!(
        "  - {{ id: sent, type: api_call, config: {{ url: \"SERVER/x\", method: POST }} }}\n{}",
        bomb_within("  ")
    );
    bench.workflow("after", &steps).await;
    let run = bench.try_start_with("after", bomb_inputs(), None).await.unwrap().run.id;
    bench.server.until(|counts| counts.requests == 1 && counts.in_flight == 0).await;
    bench.until_written_off().await;
    assert_eq!(bench.ended(run).await.status, RunStatus::Failed);
    assert_eq!(bench.handle.inbox().await.unwrap().len(), 0);
    let statuses: Vec<String> =
        bench.handle.steps(run).await.unwrap().iter().map(|step| step.status.as_str().to_owned()).collect();
    assert_eq!(statuses, ["completed", "failed"]);
    assert_eq!(bench.server.requests().len(), 1);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_that_does_not_end_in_a_loop_that_is_not_on_disk_costs_one_thread() {
    let bench = Bench::new(4, 10).await;
    let steps = format!(
        "  - id: each\n    type: loop\n    config:\n      times: 2\n      steps:\n{}",
        bomb_within("        ")
    );
    bench.workflow("looping", &steps).await;
    let run = bench.try_start_with("looping", bomb_inputs(), None).await.unwrap().run.id;
    bench.until_written_off().await;
    let view = bench.ended(run).await;
    assert_eq!((view.status, view.error.unwrap().code), (RunStatus::Failed, run::STEP_LIMIT.id.to_owned()));
    assert_eq!(bench.handle.counts().written_off, 1);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_comes_back_in_time_keeps_its_run_and_its_place() {
    use crate::engine::decide::Watch;

    let bench = Bench::new(4, 10).await;
    bench.workflow("slow", SLOW).await;
    let run = bench.start("slow").await;
    bench.server.until(|counts| counts.in_flight == 1).await;
    let cell = match bench.runtime.cells.lock().get(&run) {
        Some(Slot::Live(cell)) => cell.clone(),
        _ => panic!("the run is in memory"),
    };
    let worker = bench.runtime.worker_slot(7);
    let place = |node| Place { node: crate::id::NodeId(node), path: Vec::new() };
    worker.begin(&cell);
    worker.entering(&place(0));
    let looked_at = worker.entered();
    bench.clock.advance(Duration::from_millis(5));
    worker.entering(&place(1));
    assert!(bench.runtime.write_off(&worker, looked_at).is_none(), "it is in another step by now");
    let looked_at = worker.entered();
    worker.end();
    assert!(bench.runtime.write_off(&worker, looked_at).is_none(), "it is in no step");
    assert!(!worker.is_lost() && !cell.is_dead.load(Ordering::SeqCst));
    bench.gate.add_permits(1);
    assert_eq!(bench.ended(run).await.status, RunStatus::Completed);
    bench.end().await;
}
