//! The engine with a clock of its own: decisions are "committed" at once, and what would leave the process is handed out.
//!
//! Invariants: records are kept in the order of their making and the state is their fold, as in a real run. Time moves only
//! when the caller moves it. Chance is fixed, so that a test gives the same twice: jitter is drawn as its least.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::engine::decide::NoWatch;
use crate::engine::{Agenda, Command, Context, Decision, Defaults, Input, Program, RunState, decide};
use crate::error::code::authoring as code;
use crate::error::{Error, Result};
use crate::id::{RunId, WorkflowId};
use crate::limits;
use crate::model::{Json, Place, Record, RecordBody, RunCreated, StepError, Trigger};
use crate::port::{Op, OutboxRoom};
use crate::time::Timestamp;

/// The run of a test; fixed, so that `uuid()` and `random()` give the same each time.
const RUN: [u8; 16] = [0x7e; 16];
/// Its workflow.
const WORKFLOW: [u8; 16] = [0x7d; 16];

/// A run without an outside.
pub(super) struct Drive {
    /// What it runs.
    pub(super) program: Arc<Program>,
    /// As its records tell it.
    pub(super) state: RunState,
    /// All of them.
    pub(super) journal: Vec<Record>,
    /// The virtual clock.
    pub(super) now: Timestamp,
    /// Put into the outbox and not yet taken by the caller.
    pub(super) queued: Vec<(Place, Json)>,
    /// Asked of the outside and not yet taken by the caller.
    pub(super) asked: VecDeque<Command>,
    agenda: Agenda,
    pending: Decision,
    defaults: Defaults,
    turns: u32,
    /// Somebody waits no longer.
    stop: Arc<AtomicBool>,
}

impl Drive {
    /// A run that has been made and not begun.
    pub(super) fn begin(
        program: Arc<Program>,
        inputs: Value,
        start: Timestamp,
        defaults: Defaults,
    ) -> Result<Self> {
        let created = RunCreated {
            workflow: WorkflowId::from(WORKFLOW),
            name: program.name.clone(),
            definition: program.hash,
            inputs: Json::new(inputs),
            trigger: Trigger::Api,
            parent: None,
        };
        let first = Record { seq: 0, at: start, body: RecordBody::RunCreated(Box::new(created)) };
        let state = RunState::begin(RunId::from(RUN), program.clone(), &first)?;
        Ok(Self {
            program,
            state,
            journal: vec![first],
            now: start,
            queued: Vec::new(),
            asked: VecDeque::new(),
            agenda: Agenda::default(),
            pending: Decision::default(),
            defaults,
            turns: 0,
            stop: Arc::default(),
        })
    }

    /// Given up when this becomes true.
    pub(super) fn until(self, stop: Arc<AtomicBool>) -> Self {
        Self { stop, ..self }
    }

    /// Tells the engine something, and works until nothing happens by itself. Gives the refusal, when it
    /// is not taken.
    pub(super) fn tell(&mut self, input: Input) -> Result<Option<StepError>> {
        let refused = self.decide(input)?;
        loop {
            if self.wants_commit() {
                self.commit();
            } else if !self.agenda.is_empty() {
                self.decide(Input::Continue)?;
            } else {
                return Ok(refused);
            }
        }
    }

    fn decide(&mut self, input: Input) -> Result<Option<StepError>> {
        self.turns += 1;
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::new(&code::ENDLESS, "it was given up before its end"));
        }
        if self.turns > limits::TEST_TURNS_MAX {
            let message = format!("the run took more than {} turns", limits::TEST_TURNS_MAX);
            return Err(Error::new(&code::ENDLESS, message).help(
                "give the loop or the wait that goes on for ever an end, with `max_iterations` or a mock",
            ));
        }
        let context = Context {
            watch: &NoWatch,
            now: self.now,
            random: 0,
            defaults: &self.defaults,
            outbox: OutboxRoom::EMPTY,
        };
        let decision = decide(&mut self.state, &mut self.agenda, input, &context)?;
        if let Some(refused) = decision.refused {
            return Ok(Some(refused));
        }
        self.queued.extend(queued(&decision));
        self.pending.records.extend(decision.records);
        self.pending.commands.extend(decision.commands);
        self.pending.is_durable |= decision.is_durable;
        Ok(None)
    }

    fn wants_commit(&self) -> bool {
        !self.pending.records.is_empty()
            || !self.pending.commands.is_empty()
            || self.pending.is_durable
            || Agenda::awaits_commit(&self.agenda)
    }

    fn commit(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        self.journal.extend(pending.records);
        self.asked.extend(pending.commands);
        self.agenda.committed();
    }

    /// `fetch`, or `fetch[0]` in a loop.
    pub(super) fn step_name(&self, place: &Place) -> String {
        step_name(&self.program.node(place.node).id, &place.path)
    }
}

/// The messages that a decision put into the outbox, each with its step, which the output of the step tells.
fn queued(decision: &Decision) -> Vec<(Place, Json)> {
    let messages = decision.ops.iter().filter_map(|op| match op {
        Op::OutboxPut(message) => Some(message),
        _ => None,
    });
    let place_of = |id: &str| {
        decision.records.iter().find_map(|record| match &record.body {
            RecordBody::StepCompleted { place, output, .. } => {
                let of_channels = output["queued"].as_object();
                let is_its = output["message_id"] == id
                    || of_channels.is_some_and(|queued| queued.values().any(|other| other == id));
                is_its.then(|| place.clone())
            }
            _ => None,
        })
    };
    messages.filter_map(|message| Some((place_of(&message.id.to_string())?, message.input.clone()))).collect()
}

/// A step with the indexes of its loops.
pub(super) fn step_name(id: &str, path: &[u32]) -> String {
    let indexes: String = path.iter().map(|index| format!("[{index}]")).collect();
    format!("{id}{indexes}")
}
