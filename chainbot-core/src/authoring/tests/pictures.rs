//! Pictures of definitions.

use std::sync::Arc;

use super::{files, golden};
use crate::authoring::graph::{Picture, standing};
use crate::engine::{Program, compile};
use crate::model::{StepStatus, StepView};

fn program(source: &str) -> Arc<Program> {
    let checked = crate::validate::check(source);
    let Some(definition) = checked.definition else { panic!("{:#?}", checked.diagnostics) };
    Arc::new(compile(&definition, source).unwrap())
}

#[test]
fn every_shape_is_drawn_as_reviewed() {
    let all = files("graph");
    assert!(!all.is_empty());
    for path in all {
        let picture = Picture::of(&program(&std::fs::read_to_string(&path).unwrap()), None);
        golden(&path, &format!("{}\n{}", picture.mermaid(), picture.svg()));
    }
}

#[test]
fn a_picture_names_every_step_once() {
    for path in files("graph") {
        let program = program(&std::fs::read_to_string(&path).unwrap());
        let picture = Picture::of(&program, None);
        let flow = picture.flow();
        assert_eq!(flow.nodes.len(), program.step_count());
        for id in program.by_id.keys() {
            let touches = |end: &String| end == id;
            assert!(flow.edges.iter().any(|edge| touches(&edge.to)), "nothing leads to `{id}`");
            assert!(picture.svg().contains(&format!(">{id}")), "`{id}` is not drawn");
        }
    }
}

#[test]
fn a_run_colours_its_steps_and_the_worst_of_a_loop_counts() {
    let source = "name: x\nsteps:\n  - { id: a, type: wait, config: { duration: 1s } }\n  - { id: b, type: wait, config: { duration: 1s } }\n";
    let view = |id: &str, path: Vec<u32>, status| StepView {
        id: id.to_owned(),
        kind: "wait".to_owned(),
        path,
        status,
        attempts: 1,
        input: None,
        output: None,
        error: None,
        key: None,
        waiting_for: None,
        started_at: None,
        finished_at: None,
    };
    let colours = standing(&[
        view("a", vec![0], StepStatus::Completed),
        view("a", vec![1], StepStatus::Failed),
        view("a", vec![2], StepStatus::Completed),
    ]);
    let picture = Picture::of(&program(source), Some(&colours));
    let svg = picture.svg();
    assert!(svg.contains("class=\"box failed\"") && svg.contains("3×"), "{svg}");
    assert!(svg.contains("class=\"box pending\""), "{svg}");
    assert!(picture.mermaid().contains("class s_a failed"));
}
