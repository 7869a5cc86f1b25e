//! Triggers on pins, on the simulated chip.

use super::*;
use crate::env::Clock;
use crate::model::Pin;

fn source(more: &str) -> String {
    format!(
        "name: bell\ninputs: {{ type: object, properties: {{ edge: {{ type: string }} }} }}\n\
         triggers:\n  - gpio: {{ pin: door, edge: both, debounce: 100ms }}\n    inputs: {{ edge: \"{{{{ event.data.edge }}}}\" }}\n{more}\
         steps:\n  - {{ id: a, type: set, config: {{ variables: {{ pin: event.data.pin, at: event.data.at, kind: event.type }} }} }}\n\
         output: \"{{{{ inputs.edge }}}} {{{{ vars.pin }}}} {{{{ vars.kind }}}}\"\n"
    )
}

impl Bench {
    fn drive(&self, level: bool) {
        let pins = self.runtime.pins.as_ref().unwrap();
        pins.set_by_hand(&Pin::Name("door".to_owned()), level, false).unwrap();
    }

    /// Waits for so many runs; gives them, the oldest first.
    async fn runs_of(&self, workflow: &str, count: usize) -> Vec<RunId> {
        let seen = async {
            loop {
                let page = self.handle.runs(RunQuery::newest(Some(workflow), 50)).await.unwrap();
                if page.items.len() >= count {
                    return page.items.iter().rev().map(|run| run.id).collect::<Vec<_>>();
                }
                tokio::task::yield_now().await;
            }
        };
        let runs: Vec<RunId> = tokio::time::timeout(HANG, seen).await.expect("the runs come");
        assert_eq!(runs.len(), count);
        runs
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_starts_a_run_that_knows_it_and_a_bounce_starts_none() {
    let bench = Bench::new(4, 10).await;
    bench.handle.create_workflow(&source(""), None).await.unwrap();
    bench.drive(true);
    let runs = bench.runs_of("bell", 1).await;
    assert_eq!(bench.ended(runs[0]).await.output.unwrap(), "rising door chainbot.gpio.edge");
    // Within the debounce time, and after it.
    bench.clock.advance(Duration::from_millis(99));
    bench.drive(false);
    bench.clock.advance(Duration::from_millis(1));
    bench.drive(true);
    let runs = bench.runs_of("bell", 2).await;
    assert_eq!(bench.ended(runs[1]).await.output.unwrap(), "rising door chainbot.gpio.edge");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_back_makes_no_trigger_deaf() {
    let bench = Bench::new(4, 10).await;
    bench.handle.create_workflow(&source(""), None).await.unwrap();
    bench.drive(true);
    bench.runs_of("bell", 1).await;
    let before = bench.clock.now();
    bench.clock.advance(Duration::from_secs(1));
    bench.clock.jump_to(Timestamp(before.0 - 1_000));
    bench.drive(false);
    // Its run is the older one by that clock.
    let runs = bench.runs_of("bell", 2).await;
    assert_eq!(bench.ended(runs[0]).await.output.unwrap(), "falling door chainbot.gpio.edge");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_after_a_restart_count_and_the_level_at_the_start_is_none() {
    let bench = Bench::new(4, 10).await;
    bench.handle.create_workflow(&source(""), None).await.unwrap();
    let bench = bench.restart().await;
    bench.drive(true);
    let runs = bench.runs_of("bell", 1).await;
    bench.ended(runs[0]).await;
    // The simulated chip is low again after it: an edge that nobody saw.
    let bench = bench.restart().await;
    bench.clock.advance(Duration::from_secs(1));
    bench.drive(true);
    let runs = bench.runs_of("bell", 2).await;
    assert_eq!(bench.ended(runs[1]).await.output.unwrap(), "rising door chainbot.gpio.edge");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrency_counts_runs_of_edges() {
    let bench = Bench::new(4, 10).await;
    let waits = source("concurrency: { mode: single }\n")
        .replace("  - { id: a,", "  - { id: w, type: wait, config: { signal: go } }\n  - { id: a,");
    bench.handle.create_workflow(&waits, None).await.unwrap();
    bench.drive(true);
    let runs = bench.runs_of("bell", 1).await;
    bench.until(runs[0], |body| matches!(body, RecordBody::StepWaiting { .. })).await;
    bench.clock.advance(Duration::from_secs(1));
    bench.drive(false);
    let noted = async {
        loop {
            let triggers = bench.handle.triggers("bell").await.unwrap();
            if let Some(note) = &triggers[0].note {
                return note.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let note = tokio::time::timeout(HANG, noted).await.expect("a note says why there is no run");
    assert!(note.contains("CB-0360") || note.contains("concurrency"), "{note}");
    bench.handle.signal(runs[0], "go", json!(1), None).await.unwrap();
    bench.ended(runs[0]).await;
    bench.clock.advance(Duration::from_secs(1));
    bench.drive(true);
    let runs = bench.runs_of("bell", 2).await;
    bench.handle.signal(runs[1], "go", json!(1), None).await.unwrap();
    assert!(bench.ended(runs[1]).await.output.unwrap().as_str().unwrap().starts_with("rising"));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_that_is_not_configured_is_refused_at_the_deploy() {
    let bench = Bench::new(4, 10).await;
    let wrong = source("").replace("pin: door", "pin: dor");
    let error = bench.handle.create_workflow(&wrong, None).await.unwrap_err();
    assert_eq!((error.code().id, error.remedy()), ("CB-1300", Some("did you mean `door`?")));
    bench.end().await;
}
