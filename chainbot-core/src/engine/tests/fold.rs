//! What the fold makes of records, one by one.

use serde_json::Value;

use super::driver::{Driver, START, program};
use crate::engine::RunState;
use crate::engine::state::{BranchState, Control};
use crate::error::code::run;
use crate::id::NodeId;
use crate::model::{Place, Plan, Record, RecordBody, StepError, class};

const FORK: &str = "name: w\nsteps:\n  - id: f\n    type: parallel\n    config:\n      on_error: wait\n      branches:\n\
    \x20       x:\n          - { id: a, type: wait, config: { signal: go } }\n\
    \x20         - { id: b, type: wait, config: { signal: go } }\n\
    \x20       y:\n          - { id: c, type: wait, config: { signal: go } }\n";

#[test]
fn a_branch_that_failed_stays_failed_whatever_its_other_steps_do() {
    let program = program(FORK);
    let at = |id: &str| Place { node: NodeId(program.by_id[id].0), path: Vec::new() };
    let error = StepError::new(class::INVALID, &run::STEP_INVALID, "it broke");
    let first = Driver::with(program.clone(), FORK, Value::Null, 0).journal.remove(0);
    let begun = [
        RecordBody::RunStarted,
        RecordBody::ControlStarted { place: at("f"), plan: Plan::All },
        RecordBody::StepFailed { place: at("a"), attempt: 1, error },
    ];
    for after in [
        RecordBody::StepSkipped { place: at("b") },
        RecordBody::StepCancelled { place: at("b") },
        RecordBody::StepStarted {
            place: at("b"),
            attempt: 1,
            key: crate::model::EffectKey([1; 16]),
            input: crate::model::Json::new(Value::Null),
        },
    ] {
        let bodies = begun.iter().chain([&after]);
        let rest = bodies.zip(1..).map(|(body, seq)| Record { seq, at: START, body: body.clone() });
        let records: Vec<Record> = std::iter::once(first.clone()).chain(rest).collect();
        let state = RunState::fold(super::driver::run_id(), program.clone(), &records).unwrap();
        match &state.at(&at("f")).unwrap().control {
            Some(Control::Fork(branches)) => {
                assert_eq!(branches[..], [BranchState::Failed, BranchState::Pending], "after {after:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}
