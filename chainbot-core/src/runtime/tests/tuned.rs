//! Constants that change while runs are under way.

use super::*;
use crate::engine::Constants;
use crate::model::Json;
use crate::validate::Known;

impl Bench {
    fn constants(&self, pairs: &[(&str, Value)]) {
        let constants: Constants =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), Json::new(value.clone()))).collect();
        self.handle.0.tune(Tuning {
            runs_max: 4,
            queued_max: 10,
            defaults: Defaults { constants, ..Defaults::default() },
            retention: Default::default(),
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_under_way_sees_a_changed_constant_from_its_next_step_on() {
    let bench = Bench::new(4, 10).await;
    bench.constants(&[("zone", json!("north"))]);
    let steps = "  - { id: a, type: set, config: { variables: { x: config.zone } } }\n  \
        - { id: b, type: wait, config: { signal: go } }\n  \
        - { id: c, type: set, config: { variables: { y: \"[vars.x, config.zone]\" } } }";
    bench.workflow("zones", steps).await;
    let run = bench.start("zones").await;
    bench.until(run, |body| matches!(body, RecordBody::StepWaiting { .. })).await;
    bench.constants(&[("zone", json!("south"))]);
    // What was decided stays, also when it is read again from the journal.
    bench.handle.signal(run, "go", Value::Null, None).await.unwrap();
    assert_eq!(bench.ended(run).await.output.unwrap()["y"], json!(["north", "south"]));
    bench.constants(&[]);
    let run = bench.start("zones").await;
    let error = bench.ended(run).await.error.expect("there is no such constant any more");
    assert!(error.message.contains("zone"), "{}", error.message);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_sees_one_set_of_constants_however_often_they_change() {
    let bench = Bench::new(4, 10).await;
    bench.constants(&[("a", json!(0)), ("b", json!(0))]);
    let steps = "  - id: all\n    type: loop\n    config:\n      times: 300\n      steps:\n        \
        - { id: pair, type: set, checkpoint: true, config: { variables: { x: \"[config.a, config.b]\" } } }";
    bench.workflow("pairs", steps).await;
    let run = bench.start("pairs").await;
    for n in 1.. {
        bench.constants(&[("a", json!(n)), ("b", json!(n))]);
        if bench.handle.run(run).await.unwrap().status.is_terminal() {
            break;
        }
    }
    let output = bench.ended(run).await.output.unwrap();
    let pairs = output["loop_results"].as_array().unwrap();
    assert!(pairs.iter().all(|pair| pair["x"][0] == pair["x"][1]), "a mix: {pairs:?}");
    assert!(pairs.iter().any(|pair| pair["x"][0] != pairs[0]["x"][0]), "nothing changed meanwhile");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_is_checked_against_the_constants_as_they_are() {
    let bench = Bench::new(4, 10).await;
    *bench.runtime.known.write() = Arc::new(Known { constants: Some(Vec::new()), ..Known::default() });
    let source = "name: w\nsteps:\n  - { id: a, type: set, config: { variables: { x: config.zone } } }\n";
    bench.handle.create_workflow(source, None).await.expect_err("there is no constant");
    bench.constants(&[("zone", json!("north"))]);
    bench.handle.create_workflow(source, None).await.unwrap();
    bench.constants(&[]);
    bench.handle.create_workflow(&source.replace("name: w", "name: v"), None).await.expect_err("it is gone");
    bench.end().await;
}
