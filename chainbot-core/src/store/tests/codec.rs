//! Bytes of records: golden for every kind, reversible, and safe to read whatever they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{place, run_id};
use crate::error::code::store;
use crate::id::{DefinitionHash, InboxId, NodeId, WorkflowId};
use crate::limits;
use crate::model::{
    Approval, EffectKey, Ending, ParentStep, Phase, Place, Plan, Record, RecordBody, RunCreated, StepError,
    Trigger, Waiting,
};
use crate::store::codec::{decode, encode};
use crate::time::Timestamp;

fn error() -> StepError {
    StepError { class: "connect".to_owned(), code: "CB-0310".to_owned(), message: "no route".to_owned() }
}

fn deep_place() -> Place {
    Place { node: NodeId(300), path: vec![0, 7, 70_000] }
}

fn created(parent: bool) -> RecordBody {
    RecordBody::RunCreated(Box::new(RunCreated {
        workflow: WorkflowId::from([1; 16]),
        name: "water".to_owned(),
        definition: DefinitionHash([2; 32]),
        inputs: Arc::new(json!({ "litres": 2.5 })),
        trigger: if parent { Trigger::Parent { run: run_id(3), depth: 2 } } else { Trigger::Api },
        parent: parent.then(|| ParentStep { run: run_id(3), place: deep_place() }),
    }))
}

fn created_by_trigger() -> RecordBody {
    let RecordBody::RunCreated(mut created) = created(false) else { unreachable!("it makes that") };
    created.trigger = Trigger::Trigger {
        by: "event".to_owned(),
        trigger: "event-0123456789".to_owned(),
        depth: 1,
        event: json!({ "id": "e1", "data": { "level": 3 } }),
    };
    RecordBody::RunCreated(created)
}

/// One or more of every kind and every inner shape.
fn samples() -> Vec<(&'static str, RecordBody)> {
    let value = || Arc::new(json!({ "a": [1, null, "ü"] }));
    let control = |plan| RecordBody::ControlStarted { place: place(4), plan };
    let waiting = |wait| RecordBody::StepWaiting { place: place(4), wait };
    vec![
        ("run_created", created(false)),
        ("run_created_by_parent", created(true)),
        ("run_created_by_trigger", created_by_trigger()),
        ("run_started", RecordBody::RunStarted),
        ("run_completed", RecordBody::RunCompleted { output: value() }),
        ("run_failed", RecordBody::RunFailed { error: error(), place: None }),
        ("run_failed_at", RecordBody::RunFailed { error: error(), place: Some(deep_place()) }),
        ("run_cancelled", RecordBody::RunCancelled { reason: "rain".to_owned() }),
        ("cancel_requested", RecordBody::CancelRequested { reason: "rain".to_owned() }),
        (
            "step_started",
            RecordBody::StepStarted {
                place: deep_place(),
                attempt: 200,
                key: EffectKey([9; 16]),
                input: value(),
            },
        ),
        ("step_completed", RecordBody::StepCompleted { place: place(4), attempt: 1, output: value() }),
        (
            "attempt_failed",
            RecordBody::AttemptFailed { place: place(4), attempt: 1, error: error(), due: Timestamp(-5) },
        ),
        ("step_failed", RecordBody::StepFailed { place: place(4), attempt: 3, error: error() }),
        ("step_skipped", RecordBody::StepSkipped { place: place(4) }),
        ("step_cancelled", RecordBody::StepCancelled { place: place(4) }),
        ("waiting_until", waiting(Waiting::Until { due: Timestamp(1_700_000_000_000) })),
        ("waiting_signal", waiting(Waiting::Signal { name: "go".to_owned(), due: None })),
        ("waiting_event", waiting(Waiting::Event { topic: "a.#".to_owned(), due: Some(Timestamp(7)) })),
        (
            "waiting_approval",
            waiting(Waiting::Approval(Box::new(Approval {
                message: "open?".to_owned(),
                approvers: vec!["mia".to_owned()],
                actions: vec!["yes".to_owned(), "no".to_owned()],
                default: Some("no".to_owned()),
                due: Some(Timestamp(9)),
            }))),
        ),
        ("run_paused", RecordBody::RunPaused { reason: "to look".to_owned() }),
        ("run_resumed", RecordBody::RunResumed),
        (
            "step_answered",
            RecordBody::StepAnswered {
                place: deep_place(),
                question: InboxId::from([4; 16]),
                action: "yes".to_owned(),
                data: value(),
                by: Some("mia".to_owned()),
            },
        ),
        (
            "event_received",
            RecordBody::EventReceived { place: place(4), topic: "a.b".to_owned(), id: "7".to_owned() },
        ),
        ("run_retried", RecordBody::RunRetried { generation: 2 }),
        ("run_forked", RecordBody::RunForked { run: run_id(3), variables: value() }),
        ("waiting_child", waiting(Waiting::Child { run: run_id(5), due: Some(Timestamp(1)) })),
        ("control_branch", control(Plan::Branch { taken: Some("then".to_owned()) })),
        ("control_no_branch", control(Plan::Branch { taken: None })),
        ("control_items", control(Plan::Items { items: value() })),
        ("control_times", control(Plan::Times { count: 3 })),
        ("control_open", control(Plan::Open)),
        ("control_all", control(Plan::All)),
        ("iteration_started", RecordBody::IterationStarted { place: deep_place(), index: 8 }),
        (
            "iteration_ended",
            RecordBody::IterationEnded { place: place(4), index: 8, result: value(), error: Some(error()) },
        ),
        (
            "signal_received",
            RecordBody::SignalReceived { name: "go".to_owned(), data: value(), key: Some("k".to_owned()) },
        ),
        (
            "step_uncertain",
            RecordBody::StepUncertain { place: place(4), attempt: 2, key: EffectKey([8; 16]) },
        ),
        (
            "event_emitted",
            RecordBody::EventEmitted { place: place(4), topic: "user.done".to_owned(), data: value() },
        ),
        ("phase_stopping", phase(Phase::Stopping { due: Timestamp(9) }, cancelled())),
        ("phase_catch", phase(Phase::Catch, Ending::Failed { error: error(), place: Some(deep_place()) })),
        ("phase_compensate", phase(Phase::Compensate, Ending::Failed { error: error(), place: None })),
        ("phase_finally", phase(Phase::Finally, Ending::Completed { output: value() })),
    ]
}

fn phase(phase: Phase, ending: Ending) -> RecordBody {
    RecordBody::PhaseStarted { phase, ending }
}

fn cancelled() -> Ending {
    Ending::Cancelled { reason: "rain".to_owned() }
}

/// Grows when a kind is added, so that its sample is not forgotten.
fn number(body: &RecordBody) -> u8 {
    match body {
        RecordBody::RunCreated(_) => 0,
        RecordBody::RunStarted => 1,
        RecordBody::RunCompleted { .. } => 2,
        RecordBody::RunFailed { .. } => 3,
        RecordBody::RunCancelled { .. } => 4,
        RecordBody::CancelRequested { .. } => 5,
        RecordBody::StepStarted { .. } => 6,
        RecordBody::StepCompleted { .. } => 7,
        RecordBody::AttemptFailed { .. } => 8,
        RecordBody::StepFailed { .. } => 9,
        RecordBody::StepSkipped { .. } => 10,
        RecordBody::StepCancelled { .. } => 11,
        RecordBody::StepWaiting { .. } => 12,
        RecordBody::ControlStarted { .. } => 13,
        RecordBody::IterationStarted { .. } => 14,
        RecordBody::IterationEnded { .. } => 15,
        RecordBody::SignalReceived { .. } => 16,
        RecordBody::StepUncertain { .. } => 17,
        RecordBody::EventEmitted { .. } => 18,
        RecordBody::PhaseStarted { .. } => 19,
        RecordBody::RunPaused { .. } => 20,
        RecordBody::RunResumed => 21,
        RecordBody::StepAnswered { .. } => 22,
        RecordBody::EventReceived { .. } => 23,
        RecordBody::RunRetried { .. } => 24,
        RecordBody::RunForked { .. } => 25,
    }
}

const KINDS: u8 = 26;

fn bytes_of(body: &RecordBody) -> Vec<u8> {
    encode(run_id(1), &Record { seq: 0, at: Timestamp(0), body: body.clone() }).unwrap().body
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format_args!("{byte:02x}").to_string()).collect()
}

#[test]
fn the_bytes_of_every_kind_of_record_are_those_of_earlier_versions() {
    let samples = samples();
    for kind in 0..KINDS {
        assert!(samples.iter().any(|(_, body)| number(body) == kind), "kind {kind} has no sample");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/tests/records.golden");
    let mut golden: BTreeMap<String, String> = std::fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, hex)| (name.to_owned(), hex.to_owned()))
        .collect();
    let known = golden.len();
    for (name, body) in &samples {
        let bytes = bytes_of(body);
        // New kinds are added by `UPDATE_GOLDEN=1`; bytes that stand are never rewritten, for journals
        // hold them.
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            golden.entry((*name).to_owned()).or_insert_with(|| hex(&bytes));
        }
        assert_eq!(golden.get(*name), Some(&hex(&bytes)), "the bytes of {name}");
        assert_eq!(bytes[1], number(body), "the number of {name}");
        assert_eq!(decode(&bytes).as_ref(), Ok(body), "{name} read back");
    }
    assert_eq!(golden.len(), samples.len(), "a golden record has no sample any more");
    if golden.len() > known {
        let text: String = golden.iter().flat_map(|(name, hex)| [name, " ", hex, "\n"]).collect();
        std::fs::write(path, text).unwrap();
    }
}

#[test]
fn every_shortened_record_is_refused() {
    for (name, body) in samples() {
        let bytes = bytes_of(&body);
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "{name} cut to {end} bytes");
        }
        assert!(decode(&[&bytes[..], &[0]].concat()).is_err(), "{name} with a byte more");
    }
}

#[test]
fn data_that_could_not_be_read_back_is_refused_when_written() {
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let record = |value: Value| Record {
        seq: 3,
        at: Timestamp(0),
        body: RecordBody::RunCompleted { output: Arc::new(value) },
    };
    let deepest = encode(run_id(1), &record(nested(127))).unwrap();
    assert!(decode(&deepest.body).is_ok());
    let error = encode(run_id(1), &record(nested(128))).err().unwrap();
    assert_eq!(error.code(), &store::RECORD_SIZE);
    let error = encode(run_id(1), &record(json!("x".repeat(limits::RECORD_BYTES_MAX)))).err().unwrap();
    assert_eq!(error.code(), &store::RECORD_SIZE);
    assert!(error.message().contains("record 3 of run"), "{error}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_json_reads_back_as_it_was_written(value in any_json()) {
        let body = RecordBody::RunCompleted { output: Arc::new(value) };
        prop_assert_eq!(decode(&bytes_of(&body)), Ok(body));
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn a_changed_record_decodes_or_is_refused(
        sample in 0..samples().len(), index in any::<prop::sample::Index>(), to in any::<u8>()
    ) {
        let mut bytes = bytes_of(&samples()[sample].1);
        let index = index.index(bytes.len());
        bytes[index] = to;
        let _ = decode(&bytes);
    }
}
