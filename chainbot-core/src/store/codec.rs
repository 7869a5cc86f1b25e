//! Records to bytes and back.
//!
//! A body on disk is `format byte | postcard of [`wire::Body`] | 8 bytes of the run's checksum chain`.
//! This module
//! makes and reads the first two parts; [`super::chain`] adds and checks the third. Invariants: decoding
//! never
//! panics, whatever the bytes; a decoded record encodes to the same bytes; JSON nested deeper than the
//! reader takes
//! is refused when written, because it could never be read again. Knows nothing of SQL.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use super::problem;
use super::wire;
use crate::error::{Error, Result};
use crate::id::{DefinitionHash, InboxId, NodeId, RunId, WorkflowId};
use crate::limits;
use crate::model::{
    Approval, EffectKey, Ending, Json, ParentStep, Phase, Place, Plan, Record, RecordBody, RunCreated,
    StepError, Trigger, Waiting,
};
use crate::time::Timestamp;

/// The first byte of every body. Another shape of the whole gets another number.
const FORMAT: u8 = 1;

/// Room for a body without its JSON: place, key, numbers and link.
const BESIDE_JSON_BYTES: usize = 56;

/// A record as the writer needs it: all but the chain, which depends on what came before.
pub struct Encoded {
    /// From 0 within the run.
    pub seq: u32,
    /// When it was decided.
    pub at: Timestamp,
    /// The number of its kind: its variant's place in [`wire::Body`].
    pub kind: u8,
    /// The step, where it is about one.
    pub node: Option<u32>,
    /// Packed loop indexes of the step; `None` outside of loops.
    pub path: Option<Vec<u8>>,
    /// Format byte and payload.
    pub body: Vec<u8>,
    /// Start of blake3 of `body`: computed where the record was made, so that the writer hashes one block
    /// only.
    pub digest: [u8; 16],
}

/// Encodes a record of `run`. Refuses what is too large or too deep to be read back.
pub fn encode(run: RunId, record: &Record) -> Result<Encoded> {
    let text = Texts::new(run, record)?;
    let wire = text.body(&record.body);
    // What is beside the JSON seldom takes more, and the writer adds the link.
    let mut body = Vec::with_capacity(text.json.len() + BESIDE_JSON_BYTES);
    body.push(FORMAT);
    let body = postcard::to_extend(&wire, body).map_err(|error| {
        problem::refused(run, &format_args!("record {} cannot be encoded", record.seq)).because(error)
    })?;
    if body.len() > limits::RECORD_BYTES_MAX {
        return Err(problem::record_size(run, record.seq, body.len()));
    }
    let place = record.body.place();
    Ok(Encoded {
        seq: record.seq,
        at: record.at,
        // The variant's number is the first thing postcard writes, and all numbers are below 128.
        kind: body[1],
        node: place.map(|place| place.node.0),
        path: place.filter(|place| !place.path.is_empty()).map(|place| pack_path(&place.path)),
        digest: digest(&body),
        body,
    })
}

/// The part of blake3 of a body that goes into the chain.
pub fn digest(body: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&blake3::hash(body).as_bytes()[..16]);
    out
}

/// Decodes format byte and payload. The text says what is wrong with them.
pub fn decode(body: &[u8]) -> Result<RecordBody, Cow<'static, str>> {
    let payload = match body.split_first() {
        Some((&FORMAT, payload)) => payload,
        Some((format, _)) => {
            return Err(format_args!("its format is {format}, known is {FORMAT}").to_string().into());
        }
        None => return Err("it is empty".into()),
    };
    match postcard::take_from_bytes::<wire::Body<'_>>(payload) {
        Ok((wire, [])) => from_wire(wire),
        Ok((_, rest)) => Err(format_args!("{} bytes are left over", rest.len()).to_string().into()),
        Err(error) => Err(error.to_string().into()),
    }
}

/// Loop indexes as bytes: what the `path` columns hold.
pub fn pack_path(path: &[u32]) -> Vec<u8> {
    path.iter().flat_map(|index| index.to_be_bytes()).collect()
}

/// The record's JSON value as text; the wire shape borrows it. No kind of record has two.
struct Texts {
    json: Vec<u8>,
}

impl Texts {
    fn new(run: RunId, record: &Record) -> Result<Self> {
        let value = match &record.body {
            RecordBody::RunCreated(created) => &created.inputs,
            RecordBody::RunCompleted { output } | RecordBody::StepCompleted { output, .. } => output,
            RecordBody::StepStarted { input, .. } => input,
            RecordBody::ControlStarted { plan: Plan::Items { items }, .. } => items,
            RecordBody::IterationEnded { result, .. } => result,
            RecordBody::SignalReceived { data, .. }
            | RecordBody::EventEmitted { data, .. }
            | RecordBody::StepAnswered { data, .. } => data,
            RecordBody::RunForked { variables, .. } => variables,
            RecordBody::PhaseStarted { ending: Ending::Completed { output }, .. } => output,
            _ => return Ok(Self { json: Vec::new() }),
        };
        if !is_shallow(value, JSON_DEPTH_WRITTEN_MAX) {
            return Err(problem::record_depth(run, record.seq));
        }
        let json = serde_json::to_vec(&**value).map_err(|error| unencodable(run, record.seq, error))?;
        Ok(Self { json })
    }

    fn body<'a>(&'a self, body: &'a RecordBody) -> wire::Body<'a> {
        let json = self.json.as_slice();
        match body {
            RecordBody::RunCreated(created) => wire::Body::RunCreated {
                workflow: *created.workflow.as_bytes(),
                name: &created.name,
                definition: created.definition.0,
                inputs: json,
                trigger: trigger_to_wire(&created.trigger),
                parent: created.parent.as_ref().map(|parent| wire::Parent {
                    run: *parent.run.as_bytes(),
                    place: place_to_wire(&parent.place),
                }),
            },
            RecordBody::RunStarted => wire::Body::RunStarted,
            RecordBody::RunCompleted { .. } => wire::Body::RunCompleted { output: json },
            RecordBody::RunFailed { error, place } => wire::Body::RunFailed {
                error: error_to_wire(error),
                place: place.as_ref().map(place_to_wire),
            },
            RecordBody::RunCancelled { reason } => wire::Body::RunCancelled { reason },
            RecordBody::CancelRequested { reason } => wire::Body::CancelRequested { reason },
            RecordBody::SignalReceived { name, key, .. } => {
                wire::Body::SignalReceived { name, data: json, key: key.as_deref() }
            }
            RecordBody::PhaseStarted { phase, ending } => wire::Body::PhaseStarted {
                phase: phase_to_wire(*phase),
                ending: ending_to_wire(ending, json),
            },
            RecordBody::RunPaused { reason } => wire::Body::RunPaused { reason },
            RecordBody::RunResumed => wire::Body::RunResumed,
            RecordBody::RunRetried { generation } => wire::Body::RunRetried { generation: *generation },
            RecordBody::RunForked { run, .. } => {
                wire::Body::RunForked { run: *run.as_bytes(), variables: json }
            }
            step => self.step(step),
        }
    }

    /// The kinds that are about a step.
    fn step<'a>(&'a self, body: &'a RecordBody) -> wire::Body<'a> {
        let json = self.json.as_slice();
        let place = place_to_wire(body.place().expect("the caller has taken the kinds without a place"));
        match body {
            RecordBody::StepStarted { attempt, key, .. } => {
                wire::Body::StepStarted { place, attempt: *attempt, key: key.0, input: json }
            }
            RecordBody::StepCompleted { attempt, .. } => {
                wire::Body::StepCompleted { place, attempt: *attempt, output: json }
            }
            RecordBody::AttemptFailed { attempt, error, due, .. } => wire::Body::AttemptFailed {
                place,
                attempt: *attempt,
                error: error_to_wire(error),
                due: due.0,
            },
            RecordBody::StepFailed { attempt, error, .. } => {
                wire::Body::StepFailed { place, attempt: *attempt, error: error_to_wire(error) }
            }
            RecordBody::StepSkipped { .. } => wire::Body::StepSkipped { place },
            RecordBody::StepCancelled { .. } => wire::Body::StepCancelled { place },
            RecordBody::StepWaiting { wait, .. } => {
                wire::Body::StepWaiting { place, wait: waiting_to_wire(wait) }
            }
            RecordBody::ControlStarted { plan, .. } => {
                wire::Body::ControlStarted { place, plan: plan_to_wire(plan, json) }
            }
            RecordBody::IterationStarted { index, .. } => {
                wire::Body::IterationStarted { place, index: *index }
            }
            RecordBody::IterationEnded { index, error, .. } => wire::Body::IterationEnded {
                place,
                index: *index,
                result: json,
                error: error.as_ref().map(error_to_wire),
            },
            RecordBody::StepUncertain { attempt, key, .. } => {
                wire::Body::StepUncertain { place, attempt: *attempt, key: key.0 }
            }
            RecordBody::EventEmitted { topic, .. } => wire::Body::EventEmitted { place, topic, data: json },
            RecordBody::StepAnswered { question, action, by, .. } => wire::Body::StepAnswered {
                place,
                question: *question.as_bytes(),
                action,
                data: json,
                by: by.as_deref(),
            },
            RecordBody::EventReceived { topic, id, .. } => wire::Body::EventReceived { place, topic, id },
            RecordBody::RunCreated(_)
            | RecordBody::RunStarted
            | RecordBody::RunCompleted { .. }
            | RecordBody::RunFailed { .. }
            | RecordBody::RunCancelled { .. }
            | RecordBody::CancelRequested { .. }
            | RecordBody::SignalReceived { .. }
            | RecordBody::PhaseStarted { .. }
            | RecordBody::RunPaused { .. }
            | RecordBody::RunResumed
            | RecordBody::RunRetried { .. }
            | RecordBody::RunForked { .. } => unreachable!("the caller has taken the kinds of runs"),
        }
    }
}

fn unencodable(run: RunId, seq: u32, error: serde_json::Error) -> Error {
    problem::refused(run, &format_args!("record {seq} cannot be encoded")).because(error)
}

/// The JSON reader stops at 128 levels; values inside a run are at most half as deep, plus what steps wrap
/// them in.
const JSON_DEPTH_WRITTEN_MAX: usize = 2 * limits::JSON_DEPTH_MAX - 1;

/// Whether `value` nests at most `levels` deep. Recurses no deeper than that.
fn is_shallow(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| is_shallow(item, levels - 1)),
        Value::Object(map) => levels > 0 && map.values().all(|item| is_shallow(item, levels - 1)),
        _ => true,
    }
}

fn place_to_wire(place: &Place) -> wire::Place<'_> {
    wire::Place { node: place.node.0, path: Cow::Borrowed(&place.path) }
}

fn error_to_wire(error: &StepError) -> wire::StepError<'_> {
    wire::StepError { class: &error.class, code: &error.code, message: &error.message }
}

fn trigger_to_wire(trigger: &Trigger) -> wire::Trigger<'_> {
    match trigger {
        Trigger::Api => wire::Trigger::Api,
        Trigger::Parent { run, depth } => wire::Trigger::Parent { run: *run.as_bytes(), depth: *depth },
        Trigger::Fork { run, step } => wire::Trigger::Fork { run: *run.as_bytes(), step },
        Trigger::Trigger { by, trigger, depth, event } => wire::Trigger::Fired {
            by: by.clone(),
            trigger: trigger.clone(),
            depth: *depth,
            event: event.to_string().into_bytes(),
        },
    }
}

fn waiting_to_wire(wait: &Waiting) -> wire::Waiting<'_> {
    match wait {
        Waiting::Until { due } => wire::Waiting::Until { due: due.0 },
        Waiting::Signal { name, due } => wire::Waiting::Signal { name, due: due.map(|due| due.0) },
        Waiting::Child { run, due } => {
            wire::Waiting::Child { run: *run.as_bytes(), due: due.map(|due| due.0) }
        }
        Waiting::Event { topic, due } => wire::Waiting::Event { topic, due: due.map(|due| due.0) },
        Waiting::Approval(approval) => wire::Waiting::Approval(wire::Approval {
            message: &approval.message,
            approvers: approval.approvers.iter().map(String::as_str).collect(),
            actions: approval.actions.iter().map(String::as_str).collect(),
            default: approval.default.as_deref(),
            due: approval.due.map(|due| due.0),
        }),
    }
}

fn plan_to_wire<'a>(plan: &'a Plan, json: wire::Json<'a>) -> wire::Plan<'a> {
    match plan {
        Plan::Branch { taken } => wire::Plan::Branch { taken: taken.as_deref() },
        Plan::Items { .. } => wire::Plan::Items { items: json },
        Plan::Times { count } => wire::Plan::Times { count: *count },
        Plan::Open => wire::Plan::Open,
        Plan::All => wire::Plan::All,
    }
}

fn phase_to_wire(phase: Phase) -> wire::Phase {
    match phase {
        Phase::Stopping { due } => wire::Phase::Stopping { due: due.0 },
        Phase::Catch => wire::Phase::Catch,
        Phase::Compensate => wire::Phase::Compensate,
        Phase::Finally => wire::Phase::Finally,
    }
}

fn ending_to_wire<'a>(ending: &'a Ending, json: wire::Json<'a>) -> wire::Ending<'a> {
    match ending {
        Ending::Completed { .. } => wire::Ending::Completed { output: json },
        Ending::Failed { error, place } => {
            wire::Ending::Failed { error: error_to_wire(error), place: place.as_ref().map(place_to_wire) }
        }
        Ending::Cancelled { reason } => wire::Ending::Cancelled { reason },
    }
}

fn json(text: wire::Json<'_>) -> Result<Json, Cow<'static, str>> {
    serde_json::from_slice(text).map(Arc::new).map_err(|error| error.to_string().into())
}

fn place(wire: wire::Place<'_>) -> Place {
    Place { node: NodeId(wire.node), path: wire.path.into_owned() }
}

fn step_error(wire: wire::StepError<'_>) -> StepError {
    StepError { class: wire.class.to_owned(), code: wire.code.to_owned(), message: wire.message.to_owned() }
}

fn trigger(wire: wire::Trigger<'_>) -> Result<Trigger, Cow<'static, str>> {
    Ok(match wire {
        wire::Trigger::Api => Trigger::Api,
        wire::Trigger::Parent { run, depth } => Trigger::Parent { run: RunId::from(run), depth },
        wire::Trigger::Fork { run, step } => Trigger::Fork { run: RunId::from(run), step: step.to_owned() },
        wire::Trigger::Fired { by, trigger, depth, event } => Trigger::Trigger {
            by,
            trigger,
            depth,
            event: serde_json::from_slice(&event).map_err(|error| Cow::Owned(error.to_string()))?,
        },
    })
}

fn waiting(wire: wire::Waiting<'_>) -> Waiting {
    match wire {
        wire::Waiting::Until { due } => Waiting::Until { due: Timestamp(due) },
        wire::Waiting::Signal { name, due } => {
            Waiting::Signal { name: name.to_owned(), due: due.map(Timestamp) }
        }
        wire::Waiting::Child { run, due } => {
            Waiting::Child { run: RunId::from(run), due: due.map(Timestamp) }
        }
        wire::Waiting::Event { topic, due } => {
            Waiting::Event { topic: topic.to_owned(), due: due.map(Timestamp) }
        }
        wire::Waiting::Approval(approval) => Waiting::Approval(Box::new(Approval {
            message: approval.message.to_owned(),
            approvers: approval.approvers.into_iter().map(str::to_owned).collect(),
            actions: approval.actions.into_iter().map(str::to_owned).collect(),
            default: approval.default.map(str::to_owned),
            due: approval.due.map(Timestamp),
        })),
    }
}

fn plan(wire: wire::Plan<'_>) -> Result<Plan, Cow<'static, str>> {
    Ok(match wire {
        wire::Plan::Branch { taken } => Plan::Branch { taken: taken.map(str::to_owned) },
        wire::Plan::Items { items } => Plan::Items { items: json(items)? },
        wire::Plan::Times { count } => Plan::Times { count },
        wire::Plan::Open => Plan::Open,
        wire::Plan::All => Plan::All,
    })
}

fn phase(wire: wire::Phase) -> Phase {
    match wire {
        wire::Phase::Stopping { due } => Phase::Stopping { due: Timestamp(due) },
        wire::Phase::Catch => Phase::Catch,
        wire::Phase::Compensate => Phase::Compensate,
        wire::Phase::Finally => Phase::Finally,
    }
}

fn ending(wire: wire::Ending<'_>) -> Result<Ending, Cow<'static, str>> {
    Ok(match wire {
        wire::Ending::Completed { output } => Ending::Completed { output: json(output)? },
        wire::Ending::Failed { error, place: at } => {
            Ending::Failed { error: step_error(error), place: at.map(place) }
        }
        wire::Ending::Cancelled { reason } => Ending::Cancelled { reason: reason.to_owned() },
    })
}

fn from_wire(wire: wire::Body<'_>) -> Result<RecordBody, Cow<'static, str>> {
    use wire::Body as W;
    Ok(match wire {
        W::RunCreated { workflow, name, definition, inputs, trigger: by, parent } => {
            RecordBody::RunCreated(Box::new(RunCreated {
                workflow: WorkflowId::from(workflow),
                name: name.to_owned(),
                definition: DefinitionHash(definition),
                inputs: json(inputs)?,
                trigger: trigger(by)?,
                parent: parent
                    .map(|parent| ParentStep { run: RunId::from(parent.run), place: place(parent.place) }),
            }))
        }
        W::RunStarted => RecordBody::RunStarted,
        W::RunCompleted { output } => RecordBody::RunCompleted { output: json(output)? },
        W::RunFailed { error, place: at } => {
            RecordBody::RunFailed { error: step_error(error), place: at.map(place) }
        }
        W::RunCancelled { reason } => RecordBody::RunCancelled { reason: reason.to_owned() },
        W::CancelRequested { reason } => RecordBody::CancelRequested { reason: reason.to_owned() },
        W::StepStarted { place: at, attempt, key, input } => {
            RecordBody::StepStarted { place: place(at), attempt, key: EffectKey(key), input: json(input)? }
        }
        W::StepCompleted { place: at, attempt, output } => {
            RecordBody::StepCompleted { place: place(at), attempt, output: json(output)? }
        }
        W::AttemptFailed { place: at, attempt, error, due } => RecordBody::AttemptFailed {
            place: place(at),
            attempt,
            error: step_error(error),
            due: Timestamp(due),
        },
        W::StepFailed { place: at, attempt, error } => {
            RecordBody::StepFailed { place: place(at), attempt, error: step_error(error) }
        }
        W::StepSkipped { place: at } => RecordBody::StepSkipped { place: place(at) },
        W::StepCancelled { place: at } => RecordBody::StepCancelled { place: place(at) },
        W::StepWaiting { place: at, wait } => {
            RecordBody::StepWaiting { place: place(at), wait: waiting(wait) }
        }
        W::ControlStarted { place: at, plan: over } => {
            RecordBody::ControlStarted { place: place(at), plan: plan(over)? }
        }
        W::IterationStarted { place: at, index } => RecordBody::IterationStarted { place: place(at), index },
        W::IterationEnded { place: at, index, result, error } => RecordBody::IterationEnded {
            place: place(at),
            index,
            result: json(result)?,
            error: error.map(step_error),
        },
        W::SignalReceived { name, data, key } => RecordBody::SignalReceived {
            name: name.to_owned(),
            data: json(data)?,
            key: key.map(str::to_owned),
        },
        W::StepUncertain { place: at, attempt, key } => {
            RecordBody::StepUncertain { place: place(at), attempt, key: EffectKey(key) }
        }
        W::EventEmitted { place: at, topic, data } => {
            RecordBody::EventEmitted { place: place(at), topic: topic.to_owned(), data: json(data)? }
        }
        W::PhaseStarted { phase: begun, ending: end } => {
            RecordBody::PhaseStarted { phase: phase(begun), ending: ending(end)? }
        }
        W::RunPaused { reason } => RecordBody::RunPaused { reason: reason.to_owned() },
        W::RunResumed => RecordBody::RunResumed,
        W::StepAnswered { place: at, question, action, data, by } => RecordBody::StepAnswered {
            place: place(at),
            question: InboxId::from(question),
            action: action.to_owned(),
            data: json(data)?,
            by: by.map(str::to_owned),
        },
        W::EventReceived { place: at, topic, id } => {
            RecordBody::EventReceived { place: place(at), topic: topic.to_owned(), id: id.to_owned() }
        }
        W::RunRetried { generation } => RecordBody::RunRetried { generation },
        W::RunForked { run, variables } => {
            RecordBody::RunForked { run: RunId::from(run), variables: json(variables)? }
        }
    })
}
