//! The records of a run's journal. A run's state is a fold over them and nothing else.
//!
//! Invariants: `seq` is dense from 0 within a run. A record says what has happened, never what to do. The
//! bytes on disk are the store's (`store/codec.rs`), so these types may change shape with care, and a
//! variant's meaning never changes.

use serde::{Deserialize, Serialize};

use super::{Ending, Json, Phase};
use crate::id::{DefinitionHash, InboxId, NodeId, RunId, WorkflowId};
use crate::time::Timestamp;

/// One record of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// From 0, without gaps.
    pub seq: u32,
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    pub body: RecordBody,
}

/// A step in one iteration: the node and the index of every loop around it, outermost first.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The node in the program.
    pub node: NodeId,
    /// Loop indexes, outermost first; empty outside of loops.
    pub path: Vec<u32>,
}

/// The key of an external effect: the same on every attempt, also after a crash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct EffectKey(pub [u8; 16]);

impl std::str::FromStr for EffectKey {
    type Err = ();

    /// From 32 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut out = [0; 16];
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(());
        }
        for (index, byte) in out.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| ())?;
        }
        Ok(Self(out))
    }
}

impl std::fmt::Display for EffectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What started a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Trigger {
    /// A request of the API or the CLI.
    Api,
    /// A `workflow` step of another run.
    Parent {
        /// The run that has the step.
        run: RunId,
        /// Its depth: 1 for a child of a run that nobody started but a person.
        depth: u32,
    },
    /// A person took the history of another run up to a step and went on from there.
    Fork {
        /// The run whose history it has.
        run: RunId,
        /// The step from which on it is its own.
        step: String,
    },
    /// A trigger of its workflow.
    Trigger {
        /// `cron`, `event`, `webhook`, `gpio` or `workflow`.
        by: String,
        /// Which: [`super::TriggerDef::key`].
        trigger: String,
        /// One more than that of the run that made the event; 0 when no run did.
        depth: u32,
        /// What happened: `id`, `type`, `time` and `data`. Expressions see it as `event`.
        event: serde_json::Value,
    },
}

impl Trigger {
    /// How many runs started one another before this one.
    pub fn depth(&self) -> u32 {
        match self {
            Trigger::Api | Trigger::Fork { .. } => 0,
            Trigger::Parent { depth, .. } | Trigger::Trigger { depth, .. } => *depth,
        }
    }

    /// The event that a trigger saw; null when a person or another run's step started it.
    pub fn event(&self) -> serde_json::Value {
        match self {
            Trigger::Trigger { event, .. } => event.clone(),
            _ => serde_json::Value::Null,
        }
    }
}

/// The step of a parent run that waits for this run.
#[derive(Clone, Debug, PartialEq)]
pub struct ParentStep {
    /// The parent.
    pub run: RunId,
    /// The `workflow` step.
    pub place: Place,
}

/// What a run is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct RunCreated {
    /// The workflow's id.
    pub workflow: WorkflowId,
    /// The workflow's name at that time.
    pub name: String,
    /// The version that this run stays with.
    pub definition: DefinitionHash,
    /// With defaults filled in.
    pub inputs: Json,
    /// What started it.
    pub trigger: Trigger,
    /// Who is told when it ends.
    pub parent: Option<ParentStep>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordBody {
    /// The run exists. Always seq 0.
    RunCreated(Box<RunCreated>),
    /// It got its permit for the first time.
    RunStarted,
    /// It ended well.
    RunCompleted { output: Json },
    /// It ended badly, because of the step at `place` where that is known.
    RunFailed { error: StepError, place: Option<Place> },
    /// It was ended by a person or a program.
    RunCancelled { reason: String },
    /// Somebody asked to end it.
    CancelRequested { reason: String },
    /// An effect is about to begin. On disk before the effect is sent. `input` is null when it is that of the try before.
    StepStarted { place: Place, attempt: u32, key: EffectKey, input: Json },
    /// It ended well. Also the only record of a pure step.
    StepCompleted { place: Place, attempt: u32, output: Json },
    /// This attempt failed, another follows at `due`.
    AttemptFailed { place: Place, attempt: u32, error: StepError, due: Timestamp },
    /// The last attempt failed.
    StepFailed { place: Place, attempt: u32, error: StepError },
    /// Its `when` was false, or its branch was not taken.
    StepSkipped { place: Place },
    /// It ended because the run, its loop or its siblings did.
    StepCancelled { place: Place },
    /// It waits: for a time, a signal or a child.
    StepWaiting { place: Place, wait: Waiting },
    /// A control step began, with what it goes over.
    ControlStarted { place: Place, plan: Plan },
    /// An iteration of the loop at `place` began; `place.path` is the loop's own.
    IterationStarted { place: Place, index: u32 },
    /// It ended; `error` when it failed and the loop goes on.
    IterationEnded { place: Place, index: u32, result: Json, error: Option<StepError> },
    /// A signal arrived. `key` makes a repeated one harmless.
    SignalReceived { name: String, data: Json, key: Option<String> },
    /// An event for the bus, with the data. Goes with the completion of the step in one transaction; its id on the
    /// bus is the run's id and this record's number.
    EventEmitted { place: Place, topic: String, data: Json },
    /// The process died in the middle of the effect and its rule is to ask: the step is parked.
    StepUncertain { place: Place, attempt: u32, key: EffectKey },
    /// The run's steps are over and something else follows before the run ends like this, unless that changes it.
    PhaseStarted { phase: Phase, ending: Ending },
    /// A person wants nothing new to begin.
    RunPaused { reason: String },
    /// It goes on.
    RunResumed,
    /// A person's answer to the question that the step asked. What comes of it follows in the same transaction.
    StepAnswered { place: Place, question: InboxId, action: String, data: Json, by: Option<String> },
    /// An event that the step waited for has come; the step's end follows. `id` makes a repeated one harmless.
    EventReceived { place: Place, topic: String, id: String },
    /// A person takes up a failed run again from what failed. `generation` counts these, from 1.
    RunRetried { generation: u32 },
    /// What came before is the history of another run; from here on it is this run's own. Always before it starts.
    RunForked { run: RunId, variables: Json },
}

impl RecordBody {
    /// The step it is about, when it is about one.
    pub fn place(&self) -> Option<&Place> {
        match self {
            RecordBody::RunFailed { place, .. } => place.as_ref(),
            RecordBody::StepStarted { place, .. }
            | RecordBody::StepCompleted { place, .. }
            | RecordBody::AttemptFailed { place, .. }
            | RecordBody::StepFailed { place, .. }
            | RecordBody::StepSkipped { place }
            | RecordBody::StepCancelled { place }
            | RecordBody::StepWaiting { place, .. }
            | RecordBody::ControlStarted { place, .. }
            | RecordBody::IterationStarted { place, .. }
            | RecordBody::IterationEnded { place, .. }
            | RecordBody::EventEmitted { place, .. }
            | RecordBody::StepUncertain { place, .. }
            | RecordBody::StepAnswered { place, .. }
            | RecordBody::EventReceived { place, .. } => Some(place),
            RecordBody::RunCreated(_)
            | RecordBody::RunStarted
            | RecordBody::RunCompleted { .. }
            | RecordBody::RunCancelled { .. }
            | RecordBody::CancelRequested { .. }
            | RecordBody::SignalReceived { .. }
            | RecordBody::PhaseStarted { .. }
            | RecordBody::RunPaused { .. }
            | RecordBody::RunResumed
            | RecordBody::RunRetried { .. }
            | RecordBody::RunForked { .. } => None,
        }
    }
}

/// What a waiting step waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Waiting {
    /// A time.
    Until { due: Timestamp },
    /// A signal, until `due` if set.
    Signal { name: String, due: Option<Timestamp> },
    /// A child run, until `due` if set.
    Child { run: RunId, due: Option<Timestamp> },
    /// An event on a topic that the pattern matches, until `due` if set.
    Event { topic: String, due: Option<Timestamp> },
    /// A person's answer, until `due` if set.
    Approval(Box<Approval>),
}

/// What a person is asked by a `wait` step.
#[derive(Clone, Debug, PartialEq)]
pub struct Approval {
    /// The question.
    pub message: String,
    /// Who may answer; empty = anybody who may answer at all.
    pub approvers: Vec<String>,
    /// The answers to choose from.
    pub actions: Vec<String>,
    /// What counts as the answer when nobody gave one in time.
    pub default: Option<String>,
    /// When it is no longer asked.
    pub due: Option<Timestamp>,
}

impl Waiting {
    /// When it ends by itself.
    pub fn due(&self) -> Option<Timestamp> {
        match self {
            Waiting::Until { due } => Some(*due),
            Waiting::Signal { due, .. } | Waiting::Child { due, .. } | Waiting::Event { due, .. } => *due,
            Waiting::Approval(approval) => approval.due,
        }
    }
}

/// What a control step goes over, decided once.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Branch of a condition: `then`, `else`, a case's name, `default`, or none.
    Branch { taken: Option<String> },
    /// The items of a loop.
    Items { items: Json },
    /// So many iterations.
    Times { count: u32 },
    /// As long as an expression says.
    Open,
    /// All branches of `parallel`.
    All,
}

/// Why a step or run failed; stored for good, read by later versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// A stable word that retry rules name: see [`class`].
    pub class: String,
    /// The error code, such as `CB-0310`.
    pub code: String,
    /// For people; names the place and the remedy. Never holds a secret.
    pub message: String,
}

impl StepError {
    /// An error of this class and code.
    pub fn new(class: &str, code: &crate::error::Code, message: impl Into<String>) -> Self {
        Self { class: class.to_owned(), code: code.id.to_owned(), message: message.into() }
    }

    /// Makes a core error part of the journal.
    pub fn from_error(class: &str, error: &crate::Error) -> Self {
        let mut message = error.message().to_owned();
        if let Some(help) = error.remedy() {
            message.push_str("; ");
            message.push_str(help);
        }
        Self { class: class.to_owned(), code: error.code().id.to_owned(), message }
    }
}

/// The classes of [`StepError`], as retry rules name them.
pub mod class {
    /// Not done within the step's or run's timeout.
    pub const TIMEOUT: &str = "timeout";
    /// No connection: refused, unreachable, name not found, TLS.
    pub const CONNECT: &str = "connect";
    /// The connection broke in the middle.
    pub const CUT: &str = "cut";
    /// Status 429.
    pub const HTTP_429: &str = "http_429";
    /// Another status of 400-499.
    pub const HTTP_4XX: &str = "http_4xx";
    /// Status 500-599.
    pub const HTTP_5XX: &str = "http_5xx";
    /// Another status that `expect` does not name.
    pub const HTTP_STATUS: &str = "http_status";
    /// An expression failed: undefined name, wrong type, fuel.
    pub const EXPRESSION: &str = "expression";
    /// Data over a bound.
    pub const LIMIT: &str = "limit";
    /// The address policy forbids it.
    pub const EGRESS: &str = "egress";
    /// Data is not of the shape asked for.
    pub const INVALID: &str = "invalid";
    /// The process died in the middle, and the rule is to fail.
    pub const UNCERTAIN: &str = "uncertain";
    /// A budget has no room for it.
    pub const BUDGET: &str = "budget";
    /// A child run failed or was cancelled.
    pub const CHILD: &str = "child_failed";
    /// The step was cancelled.
    pub const CANCELLED: &str = "cancelled";
    /// A bug in ChainBot.
    pub const INTERNAL: &str = "internal";
    /// Tried again when `retry.on` is not given: those that may pass by themselves.
    pub const TRANSIENT: &[&str] = &[TIMEOUT, CONNECT, CUT, HTTP_429, HTTP_5XX, "rate_limited", "overloaded"];
    /// Every word that `retry.on` takes.
    pub const RETRYABLE: &[&str] =
        &[TIMEOUT, CONNECT, CUT, HTTP_429, HTTP_5XX, "rate_limited", "overloaded", "model_invalid", "any"];
}
