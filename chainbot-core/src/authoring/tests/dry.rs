//! Plans of runs, on placeholders.

use std::sync::Arc;

use serde_json::json;

use crate::authoring::dry::{DryRun, Known, dry_run};
use crate::engine::compile;
use crate::model::{RunStatus, StepStatus};

fn plan(source: &str, known: &Known) -> DryRun {
    let checked = crate::validate::check(source);
    let Some(definition) = checked.definition else { panic!("{:#?}", checked.diagnostics) };
    let program = Arc::new(compile(&definition, source).unwrap());
    dry_run(&program, source, json!({}), known).unwrap()
}

const ORDER: &str = "\
name: order
steps:
  - { id: make, type: api_call, config: { url: 'http://example.org/', method: POST, json: { n: 1 } } }
  - { id: pay, type: webhook, config: { url: 'http://example.org/{{ steps.make.output.data.id }}' } }
  - { id: go, type: wait, timeout: 9d, config: { signal: { name: go, schema: { type: object, required: [by] } } } }
  - { id: sum, type: set, config: { variables: { n: steps.make.output.data.list | sum } } }
  - { id: never, type: set, when: 'inputs.x is defined', config: { variables: { n: 1 } } }
";

#[test]
fn placeholders_have_the_shape_that_is_read() {
    let plan = plan(ORDER, &Known::new());
    assert_eq!(plan.steps[1].sends.as_ref().unwrap()["url"], "http://example.org/‹id of make›");
    assert!(plan.steps[0].is_placeholder);
    assert_eq!((plan.steps[2].status, plan.duration_ms), (StepStatus::Completed, 0), "waits end at once");
}

#[test]
fn a_step_that_needs_a_real_value_is_unknown_until_it_is_said() {
    let unsure = plan(ORDER, &Known::new());
    assert!(unsure.steps[3].is_unknown, "{:#?}", unsure.steps[3]);
    assert_eq!(unsure.not_reached, ["never"]);
    let known = Known::from([("make".to_owned(), json!({ "data": { "id": 4, "list": [1, 2] } }))]);
    let sure = plan(ORDER, &known);
    assert_eq!(sure.status, RunStatus::Completed, "{:#?}", sure.error);
    assert_eq!(sure.steps[3].output, Some(json!({ "n": 3 })));
    assert_eq!(sure.steps[4].status, StepStatus::Skipped);
    assert!(!sure.steps[0].is_placeholder);
}
