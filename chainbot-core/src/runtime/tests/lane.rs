//! Effects on the lane, and what follows them there.

use super::stuck::BOMB;
use super::*;
use crate::runtime::lane::Door;

fn is_taken(bench: &Bench) -> bool {
    matches!(&*bench.runtime.lane.lock(), Door::Behind(lane) if lane.is_taken())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_effect_is_on_the_lane_and_others_go_the_usual_way() {
    let bench = Bench::new(4, 10).await;
    let quick = "  - { id: q, type: api_call, config: { url: \"SERVER/quick\", method: GET } }";
    bench.workflow("slow", &format!("{quick}\n{SLOW}")).await;
    let first = bench.start("slow").await;
    bench.server.until(|counts| counts.requests == 2 && counts.in_flight == 1).await;
    assert!(is_taken(&bench), "the second effect of the run has the seat of the first");
    let second = bench.start("slow").await;
    bench.server.until(|counts| counts.requests == 4 && counts.in_flight == 2).await;
    bench.gate.add_permits(2);
    for run in [first, second] {
        assert_eq!(bench.ended(run).await.status, RunStatus::Completed);
    }
    assert!(!is_taken(&bench), "the seat is free when its run is over");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_that_is_cancelled_leaves_the_lane() {
    let bench = Bench::new(4, 10).await;
    bench.workflow("slow", SLOW).await;
    for _ in 0..2 {
        let run = bench.start("slow").await;
        bench.server.until(|counts| counts.in_flight == 1).await;
        assert!(is_taken(&bench));
        bench.handle.cancel(run, "enough").await.unwrap();
        bench.gate.add_permits(1);
        assert_eq!(bench.ended(run).await.status, RunStatus::Cancelled);
        bench.server.until(|counts| counts.in_flight == 0).await;
        let left = async {
            while is_taken(&bench) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(HANG, left).await.expect("the seat comes free");
    }
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_that_does_not_end_on_the_lane_costs_the_lane_and_the_next_effect_makes_another() {
    let bench = Bench::new(4, 10).await;
    let quick = "  - { id: q, type: api_call, config: { url: \"SERVER/quick\", method: GET } }";
    bench.workflow("bomb", &format!("{quick}\n{BOMB}")).await;
    bench.workflow("quick", quick).await;
    let list: Vec<u32> = (0..50_000).collect();
    let inputs = json!({ "list": list, "other": list });
    let bomb = bench.try_start_with("bomb", inputs, None).await.unwrap().run.id;
    bench.server.until(|counts| counts.requests == 1 && counts.in_flight == 0).await;
    bench.until_written_off().await;
    assert!(matches!(&*bench.runtime.lane.lock(), Door::Open), "it was the lane's thread that was lost");
    assert_eq!(bench.ended(bomb).await.status, RunStatus::Failed);
    let steps = bench.handle.steps(bomb).await.unwrap();
    assert_eq!(steps[1].error.as_ref().unwrap().code, crate::error::code::run::STEP_LIMIT.id);
    for _ in 0..2 {
        let next = bench.start("quick").await;
        assert_eq!(bench.ended(next).await.status, RunStatus::Completed);
    }
    bench.server.until(|counts| counts.requests == 3).await;
    assert!(matches!(&*bench.runtime.lane.lock(), Door::Behind(_)));
    bench.end().await;
}
