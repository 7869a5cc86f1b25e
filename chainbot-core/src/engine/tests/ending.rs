//! What a journal must tell of the end of its run, whatever happened: read from the records alone, without the fold.

use std::collections::HashSet;

use serde_json::Value;

use super::driver::Driver;
use crate::engine::program::{Owner, Program};
use crate::id::NodeId;
use crate::model::{Phase, Place, RecordBody};

/// Which part of a definition a step is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Steps,
    Catch,
    Finally,
    Undo,
}

fn part(program: &Program, node: NodeId) -> Part {
    match program.block(program.node(node).block).owner {
        Owner::Run => Part::Steps,
        Owner::Catch => Part::Catch,
        Owner::Finally => Part::Finally,
        Owner::Compensation { .. } => Part::Undo,
        Owner::Fork { node, .. }
        | Owner::Loop { node }
        | Owner::Condition { node }
        | Owner::Task { node } => part(program, node),
    }
}

/// Checks a run that is over; says whether something was undone.
pub fn assert_put_right(driver: &Driver) -> bool {
    let program = &driver.program;
    let (mut to_undo, mut undone, mut phases) = (Vec::new(), Vec::new(), Vec::new());
    let mut entered: HashSet<&Place> = HashSet::new();
    let mut is_bad = None;
    for record in &driver.journal {
        assert!(is_bad.is_none(), "a record after the end: {record:?}");
        if let Some(place) =
            record.body.place().filter(|_| !matches!(record.body, RecordBody::RunFailed { .. }))
        {
            assert_in_its_phase(part(program, place.node), phases.last().copied(), &record.body);
            entered.insert(place);
        }
        match &record.body {
            RecordBody::PhaseStarted { phase, .. } => phases.push(*phase),
            RecordBody::StepCompleted { place, output, .. } => {
                if program.node(place.node).compensate.is_some() {
                    to_undo.push(place.clone());
                }
                undone.extend(undoes(program, place));
                assert_its_own_iteration(program, place, output);
            }
            RecordBody::StepFailed { place, .. } | RecordBody::StepSkipped { place } => {
                undone.extend(undoes(program, place));
            }
            RecordBody::RunCompleted { .. } => is_bad = Some(false),
            RecordBody::RunFailed { .. } | RecordBody::RunCancelled { .. } => is_bad = Some(true),
            _ => {}
        }
    }
    let Some(is_bad) = is_bad else { return false };
    let expected: Vec<Place> = if is_bad { to_undo.into_iter().rev().collect() } else { Vec::new() };
    assert_eq!(undone, expected, "undone are others than those that completed, or in another order");
    let finals = phases.iter().filter(|phase| **phase == Phase::Finally).count();
    let began = driver.state.started_at.is_some();
    assert_eq!(finals, usize::from(program.finally.is_some() && began), "`finally` ran {finals} times");
    if let Some(finally) = program.finally.filter(|_| began) {
        let first = Place { node: program.block(finally).nodes[0], path: Vec::new() };
        assert!(entered.contains(&first), "`finally` began and nothing of it ran");
    }
    !undone.is_empty()
}

/// The step that a compensating step undoes.
fn undoes(program: &Program, place: &Place) -> Option<Place> {
    match program.block(program.node(place.node).block).owner {
        Owner::Compensation { node } => Some(Place { node, path: place.path.clone() }),
        _ => None,
    }
}

/// In generated definitions a compensating transform gives the index of its loop.
fn assert_its_own_iteration(program: &Program, place: &Place, output: &Value) {
    let node = program.node(place.node);
    if undoes(program, place).is_some() && node.kind == "transform" {
        let index = place.path.last().map_or(7, |index| u64::from(*index));
        assert_eq!(output["transformed"], index, "{} undoes another iteration", node.id);
    }
}

/// Nothing begins outside of the phase that it belongs to.
fn assert_in_its_phase(part: Part, phase: Option<Phase>, body: &RecordBody) {
    let ends = matches!(
        body,
        RecordBody::StepCompleted { .. } | RecordBody::StepFailed { .. } | RecordBody::StepCancelled { .. }
    );
    let fits = match phase {
        None => part == Part::Steps,
        Some(Phase::Catch) => part == Part::Catch,
        Some(Phase::Compensate) => part == Part::Undo,
        Some(Phase::Finally) => part == Part::Finally,
        Some(Phase::Stopping { .. }) => ends,
    };
    assert!(fits, "{body:?} in {phase:?}");
}
