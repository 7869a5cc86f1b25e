//! The shapes of journal records as they are on disk.
//!
//! Invariants: variants and fields are in the order of their numbers and are never moved, removed or
//! changed; a new kind of record is appended. `tests/records.golden` holds the bytes of each. A changed shape
//! is a new variant, or a new format byte in [`super::codec`].

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// JSON as text bytes.
pub type Json<'a> = &'a [u8];

/// [`crate::model::Place`].
#[derive(Serialize, Deserialize)]
pub struct Place<'a> {
    pub node: u32,
    pub path: Cow<'a, [u32]>,
}

/// [`crate::model::StepError`].
#[derive(Serialize, Deserialize)]
pub struct StepError<'a> {
    pub class: &'a str,
    pub code: &'a str,
    pub message: &'a str,
}

/// [`crate::model::Trigger`].
#[derive(Serialize, Deserialize)]
pub enum Trigger<'a> {
    Api,
    Parent {
        run: [u8; 16],
        depth: u32,
    },
    Fork {
        run: [u8; 16],
        step: &'a str,
    },
    /// `event` is JSON as text bytes.
    Fired {
        by: String,
        trigger: String,
        depth: u32,
        event: Vec<u8>,
    },
}

/// [`crate::model::ParentStep`].
#[derive(Serialize, Deserialize)]
pub struct Parent<'a> {
    pub run: [u8; 16],
    #[serde(borrow)]
    pub place: Place<'a>,
}

/// [`crate::model::Waiting`].
#[derive(Serialize, Deserialize)]
pub enum Waiting<'a> {
    Until { due: i64 },
    Signal { name: &'a str, due: Option<i64> },
    Child { run: [u8; 16], due: Option<i64> },
    Event { topic: &'a str, due: Option<i64> },
    Approval(#[serde(borrow)] Approval<'a>),
}

/// [`crate::model::Approval`].
#[derive(Serialize, Deserialize)]
pub struct Approval<'a> {
    pub message: &'a str,
    #[serde(borrow)]
    pub approvers: Vec<&'a str>,
    #[serde(borrow)]
    pub actions: Vec<&'a str>,
    #[serde(borrow)]
    pub default: Option<&'a str>,
    pub due: Option<i64>,
}

/// [`crate::model::Plan`].
#[derive(Serialize, Deserialize)]
pub enum Plan<'a> {
    Branch {
        #[serde(borrow)]
        taken: Option<&'a str>,
    },
    Items {
        #[serde(borrow)]
        items: Json<'a>,
    },
    Times {
        count: u32,
    },
    Open,
    All,
}

/// [`crate::model::RecordBody`].
#[derive(Serialize, Deserialize)]
pub enum Body<'a> {
    RunCreated {
        workflow: [u8; 16],
        name: &'a str,
        definition: [u8; 32],
        inputs: Json<'a>,
        #[serde(borrow)]
        trigger: Trigger<'a>,
        #[serde(borrow)]
        parent: Option<Parent<'a>>,
    },
    RunStarted,
    RunCompleted {
        output: Json<'a>,
    },
    RunFailed {
        #[serde(borrow)]
        error: StepError<'a>,
        #[serde(borrow)]
        place: Option<Place<'a>>,
    },
    RunCancelled {
        reason: &'a str,
    },
    CancelRequested {
        reason: &'a str,
    },
    StepStarted {
        #[serde(borrow)]
        place: Place<'a>,
        attempt: u32,
        key: [u8; 16],
        input: Json<'a>,
    },
    StepCompleted {
        #[serde(borrow)]
        place: Place<'a>,
        attempt: u32,
        output: Json<'a>,
    },
    AttemptFailed {
        #[serde(borrow)]
        place: Place<'a>,
        attempt: u32,
        #[serde(borrow)]
        error: StepError<'a>,
        due: i64,
    },
    StepFailed {
        #[serde(borrow)]
        place: Place<'a>,
        attempt: u32,
        #[serde(borrow)]
        error: StepError<'a>,
    },
    StepSkipped {
        #[serde(borrow)]
        place: Place<'a>,
    },
    StepCancelled {
        #[serde(borrow)]
        place: Place<'a>,
    },
    StepWaiting {
        #[serde(borrow)]
        place: Place<'a>,
        #[serde(borrow)]
        wait: Waiting<'a>,
    },
    ControlStarted {
        #[serde(borrow)]
        place: Place<'a>,
        #[serde(borrow)]
        plan: Plan<'a>,
    },
    IterationStarted {
        #[serde(borrow)]
        place: Place<'a>,
        index: u32,
    },
    IterationEnded {
        #[serde(borrow)]
        place: Place<'a>,
        index: u32,
        result: Json<'a>,
        #[serde(borrow)]
        error: Option<StepError<'a>>,
    },
    SignalReceived {
        name: &'a str,
        data: Json<'a>,
        #[serde(borrow)]
        key: Option<&'a str>,
    },
    StepUncertain {
        #[serde(borrow)]
        place: Place<'a>,
        attempt: u32,
        key: [u8; 16],
    },
    EventEmitted {
        #[serde(borrow)]
        place: Place<'a>,
        topic: &'a str,
        data: Json<'a>,
    },
    PhaseStarted {
        phase: Phase,
        #[serde(borrow)]
        ending: Ending<'a>,
    },
    RunPaused {
        reason: &'a str,
    },
    RunResumed,
    StepAnswered {
        #[serde(borrow)]
        place: Place<'a>,
        question: [u8; 16],
        action: &'a str,
        data: Json<'a>,
        #[serde(borrow)]
        by: Option<&'a str>,
    },
    EventReceived {
        #[serde(borrow)]
        place: Place<'a>,
        topic: &'a str,
        id: &'a str,
    },
    RunRetried {
        generation: u32,
    },
    RunForked {
        run: [u8; 16],
        variables: Json<'a>,
    },
}

/// [`crate::model::Phase`].
#[derive(Serialize, Deserialize)]
pub enum Phase {
    Stopping { due: i64 },
    Catch,
    Compensate,
    Finally,
}

/// [`crate::model::Ending`].
#[derive(Serialize, Deserialize)]
pub enum Ending<'a> {
    Completed {
        output: Json<'a>,
    },
    Failed {
        #[serde(borrow)]
        error: StepError<'a>,
        #[serde(borrow)]
        place: Option<Place<'a>>,
    },
    Cancelled {
        reason: &'a str,
    },
}
