//! What starts a workflow by itself, and how many of its runs there may be at once, as its author wrote it.
//!
//! Invariant: a trigger's [`TriggerDef::key`] depends on what it listens to and on nothing else, so that an edit of the
//! steps moves no schedule. Knows nothing of clocks, topics' indexes or stores.

use std::time::Duration;

use super::{Expr, Pos, Template, Text};

/// One entry of `triggers`.
#[derive(Clone, Debug, PartialEq)]
pub struct TriggerDef {
    /// Where it begins.
    pub pos: Pos,
    /// What it listens to.
    pub source: TriggerSource,
    /// Fires only when this holds; `event` is in scope.
    pub when: Option<Expr>,
    /// The run's inputs; `event` is in scope. `None` = `{}`.
    pub inputs: Option<Template>,
}

/// What a trigger listens to.
#[derive(Clone, Debug, PartialEq)]
pub enum TriggerSource {
    /// Times.
    Cron {
        /// Five or six fields.
        cron: String,
        /// IANA name.
        timezone: String,
        /// What becomes of times that passed while nothing ran.
        missed: Missed,
    },
    /// Events of the host's bus and of other runs.
    Event {
        /// `*` one segment, a last `#` the rest.
        pattern: String,
    },
    /// Requests to `/api/chainbot/hooks/{name}`.
    Webhook {
        /// Unique among all workflows.
        name: String,
        /// Name of the secret that signs; `None` = the API token is needed.
        secret: Option<String>,
    },
    /// Edges of a pin.
    Gpio {
        /// Number or configured name.
        pin: Pin,
        /// Which.
        edge: Edge,
        /// Changes within this time of the last one do not count.
        debounce: Duration,
    },
    /// The end of a run of another workflow.
    Workflow {
        /// Its name.
        workflow: String,
        /// Which ends.
        on: RunEnd,
    },
}

/// What becomes of times that passed while nothing ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missed {
    /// Nothing.
    Skip,
    /// One run, for the latest.
    One,
    /// A run for each, the latest [`crate::limits::MISSED_RUNS_MAX`] at most.
    All,
}

/// A pin of the machine.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Pin {
    /// By its Broadcom number.
    Number(u32),
    /// By its name in the configuration.
    Name(String),
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pin::Number(number) => number.fmt(f),
            Pin::Name(name) => name.fmt(f),
        }
    }
}

/// A change of a pin's level.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Edge {
    /// Low to high.
    Rising,
    /// High to low.
    Falling,
    /// Either.
    Both,
}

impl Edge {
    /// As written.
    pub fn as_str(self) -> &'static str {
        match self {
            Edge::Rising => "rising",
            Edge::Falling => "falling",
            Edge::Both => "both",
        }
    }
}

/// Which end of a run a trigger listens to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunEnd {
    /// `completed`
    Completed,
    /// `failed`
    Failed,
    /// `any`: cancelled ones too.
    Any,
}

impl RunEnd {
    /// As written.
    pub fn as_str(self) -> &'static str {
        match self {
            RunEnd::Completed => "completed",
            RunEnd::Failed => "failed",
            RunEnd::Any => "any",
        }
    }
}

impl TriggerSource {
    /// The word by which it is written.
    pub fn kind(&self) -> &'static str {
        match self {
            TriggerSource::Cron { .. } => "cron",
            TriggerSource::Event { .. } => "event",
            TriggerSource::Webhook { .. } => "webhook",
            TriggerSource::Gpio { .. } => "gpio",
            TriggerSource::Workflow { .. } => "workflow",
        }
    }

    /// In words, for lists.
    pub fn describe(&self) -> String {
        match self {
            TriggerSource::Cron { cron, timezone, .. } => format!("{cron} ({timezone})"),
            TriggerSource::Event { pattern } => pattern.clone(),
            TriggerSource::Webhook { name, .. } => format!("POST /api/chainbot/hooks/{name}"),
            TriggerSource::Gpio { pin, edge, .. } => format!("pin {pin}, {} edge", edge.as_str()),
            TriggerSource::Workflow { workflow, on } => format!("{workflow} {}", on.as_str()),
        }
    }
}

impl TriggerDef {
    /// What tells it from the other triggers of its workflow, over all versions: its kind and ten hexadecimal digits.
    pub fn key(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut part = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        };
        part(self.source.kind());
        part(&self.source.describe());
        part(self.when.as_ref().map_or("", |when| &when.source));
        part(&self.inputs.as_ref().map_or(String::new(), |inputs| inputs.to_json().to_string()));
        let hex = hasher.finalize().to_hex();
        format!("{}-{}", self.source.kind(), &hex[..10])
    }
}

/// How many runs of a workflow there may be at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Concurrency {
    /// What happens to one more.
    pub mode: ConcurrencyMode,
    /// At once; `None` = no bound but that of all runs.
    pub max: Option<u32>,
    /// Runs with different keys do not count for each other; `inputs` is in scope.
    pub key: Option<Text>,
}

/// What happens to a run that is one too many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConcurrencyMode {
    /// It is refused.
    Single,
    /// It takes the place of the others, which are cancelled.
    Restart,
    /// It waits until the one before it has ended.
    Queued,
    /// It waits until fewer than `max` are under way.
    Parallel,
}

impl ConcurrencyMode {
    /// As written.
    pub fn as_str(self) -> &'static str {
        match self {
            ConcurrencyMode::Single => "single",
            ConcurrencyMode::Restart => "restart",
            ConcurrencyMode::Queued => "queued",
            ConcurrencyMode::Parallel => "parallel",
        }
    }
}
