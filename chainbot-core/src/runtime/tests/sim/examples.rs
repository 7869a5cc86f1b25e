//! Every example, with every effect repeated, and with each of its effects going wrong in each way.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::model::{OnError, OnUncertain, RunStatus, StepStatus};

use super::flows::Flows;
use super::service::Service;
use super::world::{Plan, World, Wrong};

/// How an example ended.
struct Ended {
    status: RunStatus,
    output: Value,
    /// Effects that were sent, by step.
    sent: BTreeSet<String>,
    /// Of one step: whether it failed, and what its definition says to that and to a doubt.
    step: Option<(bool, OnError, OnUncertain)>,
    /// How often something went wrong.
    wrongs: usize,
}

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/workflows");
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(found.len() >= 9, "{found:?}");
    found
}

fn read_json(path: &Path) -> Option<Value> {
    Some(serde_json::from_str(&std::fs::read_to_string(path).ok()?).unwrap())
}

/// Runs an example to its end, in a world in which the plan happens.
fn play(example: &Path, plan: Option<Plan>) -> Ended {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(example).unwrap().map(|entry| entry.unwrap().path()).collect();
    // A child's definition comes before that of its parent.
    files.sort_by_key(|path| (path.ends_with("workflow.yaml"), path.clone()));
    let sources = files
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .filter(|path| !path.to_string_lossy().ends_with(".test.yaml"))
        .map(|path| std::fs::read_to_string(path).unwrap());
    let name = example.file_name().unwrap().to_str().unwrap().to_owned();
    let mut world = World::over(7, Flows::of(sources.collect()), 4);
    world.service = Some(Service::default());
    world.plan = plan.clone();
    world.signal_data = read_json(&example.join("signal.json")).map(|signal| signal["data"].clone());
    let inputs = read_json(&example.join("inputs.json")).unwrap_or(Value::Null);
    let run = world.start_and_wait(&name, inputs);
    world.calm();
    let state = world.fold(run);
    let step = plan.and_then(|plan| plan.step).map(|id| {
        let node = state.program.by_id[&id];
        let failed = state
            .instances()
            .any(|(place, instance)| place.node == node && instance.status == StepStatus::Failed);
        (failed, state.program.node(node).on_error, state.program.node(node).on_uncertain)
    });
    let output = state.output.as_ref().map_or(Value::Null, |output| (**output.json()).clone());
    let (sent, wrongs) = (world.steps_sent(), world.wrongs());
    world.judge();
    Ended { status: state.status, output, sent, step, wrongs }
}

/// What must be the same however often an effect was carried out. How often it was tried is not.
fn result(example: &Path, mut output: Value) -> Value {
    if example.ends_with("retry-flaky")
        && let Some(output) = output.as_object_mut()
    {
        output.remove("tries");
        output["said"] = json!(output["said"]["ok"]);
    }
    output
}

#[test]
fn every_example_with_every_effect_carried_out_twice_ends_the_same() {
    let mut repeated = 0;
    for example in examples() {
        let expected = read_json(&example.join("expected.json")).unwrap();
        let plain = play(&example, None);
        assert_eq!(json!(plain.status.as_str()), expected["status"], "{example:?}");
        let should = result(&example, expected["output"].clone());
        assert_eq!(result(&example, plain.output.clone()), should, "{example:?}");
        for wrong in [Wrong::DiesBetween, Wrong::DiesBefore, Wrong::Doubled] {
            let ended = play(&example, Some(Plan { step: None, wrong }));
            assert_eq!(ended.status, plain.status, "{example:?} {wrong:?}");
            let (is, should) = (result(&example, ended.output), result(&example, plain.output.clone()));
            assert_eq!(is, should, "{example:?} {wrong:?}");
            assert!(ended.wrongs >= plain.sent.len(), "{example:?} {wrong:?}: {}", ended.wrongs);
            repeated += ended.wrongs;
        }
    }
    assert!(repeated > 300, "too few: {repeated}");
}

#[test]
fn whatever_goes_wrong_with_a_step_of_an_example_its_run_ends_as_the_definition_says() {
    let mut cases = 0;
    for example in examples() {
        let plain = play(&example, None);
        for step in &plain.sent {
            for wrong in
                [Wrong::Error, Wrong::TimesOut, Wrong::DiesBefore, Wrong::DiesBetween, Wrong::Doubled]
            {
                let ended = play(&example, Some(Plan { step: Some(step.clone()), wrong }));
                let what = format!("{example:?} {step} {wrong:?}");
                let (failed, on_error, on_uncertain) = ended.step.expect("a step");
                assert!(ended.wrongs > 0, "{what}: nothing went wrong");
                match wrong {
                    Wrong::Error | Wrong::TimesOut => {
                        assert!(failed, "{what}: the step did not fail");
                        if on_error == OnError::Fail {
                            assert_eq!(ended.status, RunStatus::Failed, "{what}");
                        }
                    }
                    _ if on_uncertain == OnUncertain::Retry => {
                        let (is, should) =
                            (result(&example, ended.output), result(&example, plain.output.clone()));
                        assert_eq!((ended.status, is), (plain.status, should), "{what}");
                    }
                    // A person was asked, or it failed; that it was sent once is looked at when it is sent.
                    _ => assert!(ended.status.is_terminal(), "{what}"),
                }
                cases += 1;
            }
        }
    }
    assert!(cases >= 40, "too few: {cases}");
}
