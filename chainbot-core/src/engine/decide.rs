//! The entry of the engine: one input, one decision.
//!
//! `decide` takes an input, works off the agenda that follows from it, and returns the records that came of it together
//! with what is to be done. The agenda is not journaled: it can be derived from the state at any time (`resume.rs`).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::Value;

use crate::error::code::{definition, run};
use crate::error::{Error, Result};
use crate::expr::Data;
use crate::id::{DefinitionHash, RunId, WorkflowId};
use crate::limits;
use crate::model::{EffectKey, Json, ParentStep, Place, Record, RecordBody, RunStatus, StepError, class};
use crate::port::{Op as StoreOp, OutboxRoom};
use crate::time::Timestamp;

use super::program::{BlockId, EffectKind, Program};
use super::state::RunState;

/// Told of every step that is about to be evaluated, so that a thread that does not come back can be explained.
pub trait Watch: Sync {
    /// The step at this place is next.
    fn entering(&self, place: &Place);
}

/// Watches nothing.
pub struct NoWatch;

impl Watch for NoWatch {
    fn entering(&self, _: &Place) {}
}

/// The surroundings of one decision.
#[derive(Clone)]
pub struct Context<'a> {
    /// Told of every step.
    pub watch: &'a dyn Watch,
    /// The moment.
    pub now: Timestamp,
    /// A random number, for jitter alone.
    pub random: u64,
    /// What definitions leave open.
    pub defaults: &'a Defaults,
    /// How many more messages are taken for later.
    pub outbox: OutboxRoom,
}

/// The operator's constants by name: `config` in expressions.
pub type Constants = BTreeMap<String, Json>;

/// What definitions leave open, from the configuration.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// Tries of an effect that may be repeated.
    pub retry_attempts: u32,
    /// Before its second try.
    pub retry_delay: Duration,
    /// One try of an effect.
    pub effect_timeout: Duration,
    /// Topics that `emit` may name begin with one of these.
    pub emit_prefixes: Vec<String>,
    /// How long effects under way may go on in a cancelled run.
    pub cancel_grace: Duration,
    /// Working time of an agent's task.
    pub task_time: Duration,
    /// How many agents there may be.
    pub agents: AgentRules,
    /// `config` in expressions.
    pub constants: Constants,
    /// Drawn by the process: no data from outside can look like a secret's marker.
    pub marker_key: [u8; 32],
}

/// How many agents there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRules {
    /// Of all types together.
    pub max_agents: usize,
    /// Of `assistant`, `data_processor`, `api`, `workflow`.
    pub max_of: [usize; 4],
}

impl Default for AgentRules {
    fn default() -> Self {
        Self { max_agents: limits::AGENTS_MAX_DEFAULT, max_of: [20, 15, 10, 5] }
    }
}

impl AgentRules {
    /// Of one type.
    pub fn max_of(&self, kind: &str) -> usize {
        let at = crate::task::AgentKind::ALL.iter().position(|own| own.as_str() == kind);
        at.map_or(0, |at| self.max_of[at])
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            retry_attempts: 3,
            retry_delay: Duration::from_secs(5),
            effect_timeout: Duration::from_secs(30),
            emit_prefixes: vec!["chainbot.user.".to_owned(), "user.".to_owned()],
            cancel_grace: Duration::from_secs(10),
            task_time: Duration::from_secs(300),
            agents: AgentRules::default(),
            constants: Constants::new(),
            marker_key: [0; 32],
        }
    }
}

/// What happens to a run.
#[derive(Clone, Debug)]
pub enum Input {
    /// It got its first permit.
    Admit,
    /// It was read from the journal. `under_way`: effects that go on all the same, because only the run's thread was lost.
    Resume { under_way: Vec<Place> },
    /// Time has passed.
    Tick,
    /// What it decided before is on disk, or it used up its turn.
    Continue,
    /// An effect's try is over.
    EffectDone { place: Place, attempt: u32, result: std::result::Result<Value, Failure> },
    /// Somebody sends a signal.
    Signal { name: String, data: Json, key: Option<String> },
    /// Somebody wants it to end.
    Cancel { reason: String },
    /// The workflow of a `workflow` step was looked up.
    ChildReady { place: Place, child: std::result::Result<NewChild, StepError> },
    /// A child run is over.
    ChildEnded { run: RunId, outcome: Outcome },
    /// A step could not be evaluated within the limit and its thread was given up.
    Stuck { place: Place },
    /// It ends here: nothing of it is evaluated any more, so nothing is undone and `finally` does not run.
    Abandon { reason: String },
    /// Somebody wants nothing new to begin.
    Pause { reason: String },
    /// Somebody wants it to go on.
    Unpause,
    /// A person answers a question.
    Answer(super::people::Answer),
    /// An event has come, for the waits that these records began.
    Heard { event: super::hear::Heard, waits: Vec<u32> },
}

/// Why a try failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is journaled.
    pub error: StepError,
    /// What the other side asked for.
    pub retry_after: Option<Duration>,
    /// Its status, when it answered over HTTP.
    pub status: Option<u16>,
}

/// A child run about to be made.
#[derive(Clone, Debug)]
pub struct NewChild {
    /// Its id.
    pub run: RunId,
    /// Its workflow.
    pub workflow: WorkflowId,
    /// Its workflow's name.
    pub name: String,
    /// The version it stays with.
    pub definition: DefinitionHash,
    /// With defaults filled in.
    pub inputs: Json,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Well.
    Completed(Json),
    /// Badly.
    Failed(StepError),
    /// By somebody's wish.
    Cancelled,
}

/// What is to be done, after the records of the same decision are on disk.
#[derive(Debug)]
pub enum Command {
    /// Carry out an effect.
    Execute(Execute),
    /// Give up an effect; its answer will be ignored.
    Abort { place: Place },
    /// Look up a workflow for a child run; answer with `ChildReady`.
    ResolveChild { place: Place, workflow: String, inputs: Json },
    /// A child run was made in this decision.
    AdmitChild { run: RunId },
    /// Say whether a child is over; answer with `ChildEnded` when it is.
    CheckChild { run: RunId },
    /// End a child.
    CancelChild { run: RunId, reason: String },
    /// Tell the parent.
    NotifyParent { parent: ParentStep, outcome: Outcome },
    /// The wait that record `seq` began wants events of this topic.
    Listen { topic: String, seq: u32 },
    /// It no longer does.
    Unlisten { seq: u32 },
}

/// An effect to carry out.
#[derive(Clone, Debug)]
pub struct Execute {
    /// Which executor.
    pub kind: EffectKind,
    /// Whose.
    pub place: Place,
    /// Which try.
    pub attempt: u32,
    /// The same on every try.
    pub key: EffectKey,
    /// What was rendered.
    pub input: Json,
    /// For this try.
    pub timeout: Duration,
}

/// What comes of an input.
#[derive(Debug, Default)]
pub struct Decision {
    /// Already applied to the state.
    pub records: Vec<Record>,
    /// Changes of derived tables, in the same transaction.
    pub ops: Vec<StoreOp>,
    /// After that transaction.
    pub commands: Vec<Command>,
    /// Nothing of the run goes on before the records are on disk.
    pub is_durable: bool,
    /// Why the input was not taken; then nothing else is set.
    pub refused: Option<StepError>,
}

/// Work that follows from the state and is not done yet.
#[derive(Debug, Default)]
pub struct Agenda {
    pub(super) todo: VecDeque<Todo>,
    /// Goes on when what was decided is on disk.
    pub(super) after_commit: Vec<Todo>,
}

impl Agenda {
    /// Whether a `Continue` would do something now.
    pub fn is_empty(&self) -> bool {
        self.todo.is_empty()
    }

    /// Whether a commit would let something go on.
    pub fn awaits_commit(&self) -> bool {
        !self.after_commit.is_empty()
    }

    /// The records decided so far are on disk.
    pub fn committed(&mut self) {
        self.todo.extend(self.after_commit.drain(..));
    }
}

/// One piece of work.
#[derive(Debug, Clone)]
pub(super) enum Todo {
    /// Begin with the node at `slot`, or end the block.
    Enter { block: BlockId, path: Vec<u32>, slot: usize },
    /// A step is over; what follows?
    Ended { place: Place },
    /// A block came to its end.
    BlockDone { block: BlockId, path: Vec<u32> },
    /// A step of the block failed and nothing handled it.
    BlockFailed { block: BlockId, path: Vec<u32>, error: StepError, place: Place },
    /// A fork may begin branches or end.
    Fork { place: Place },
    /// A loop may begin iterations or end.
    Loop { place: Place },
    /// The next completed step is undone, or all are.
    Undo,
    /// Something in doubt is to be made again once the run goes on.
    Repeat { place: Place },
    /// A task may begin calls or end.
    Task { place: Place },
}

/// Decides. An error means a damaged journal or a bug: the run cannot go on in this process.
pub fn decide(
    state: &mut RunState,
    agenda: &mut Agenda,
    input: Input,
    context: &Context<'_>,
) -> Result<Decision> {
    // Once for a decision: threads that work on runs of one workflow share this count.
    let program = state.program.clone();
    let mut stepper = Stepper {
        program: &program,
        state,
        agenda,
        context,
        under_way: Vec::new(),
        out: Decision::default(),
    };
    stepper.take(input)?;
    stepper.work()?;
    Ok(stepper.out)
}

/// Takes what has happened and begins nothing: for a process that is about to end. The agenda stays as it is; the next
/// process derives it again.
pub fn settle(
    state: &mut RunState,
    agenda: &mut Agenda,
    input: Input,
    context: &Context<'_>,
) -> Result<Decision> {
    let program = state.program.clone();
    let mut stepper = Stepper {
        program: &program,
        state,
        agenda,
        context,
        under_way: Vec::new(),
        out: Decision::default(),
    };
    match input {
        // These only begin something.
        Input::Admit | Input::Resume { .. } | Input::Tick | Input::Continue => {}
        happened => stepper.take(happened)?,
    }
    stepper.out.is_durable |= !stepper.out.records.is_empty();
    Ok(stepper.out)
}

/// One decision in the making.
pub(super) struct Stepper<'a> {
    /// That of the state, so that it can be read while the state changes.
    pub(super) program: &'a Program,
    pub(super) state: &'a mut RunState,
    pub(super) agenda: &'a mut Agenda,
    pub(super) context: &'a Context<'a>,
    /// Effects that are not in doubt though the run is read anew.
    pub(super) under_way: Vec<Place>,
    pub(super) out: Decision,
}

impl Stepper<'_> {
    fn take(&mut self, input: Input) -> Result<()> {
        if self.state.status.is_terminal() {
            return Ok(());
        }
        match input {
            Input::Admit => self.admit(),
            Input::Resume { under_way } => self.resume(&under_way),
            Input::Tick => self.tick(),
            Input::Continue => Ok(()),
            Input::EffectDone { place, attempt, result } => self.effect_done(place, attempt, result),
            Input::Signal { name, data, key } => self.signal(name, data, key),
            Input::Cancel { reason } => self.cancel_run(reason),
            Input::ChildReady { place, child } => self.child_ready(place, child),
            Input::ChildEnded { run, outcome } => self.child_ended(run, outcome),
            Input::Stuck { place } => self.stuck(place),
            Input::Abandon { reason } => self.abandon(reason),
            Input::Pause { reason } => self.pause(reason),
            Input::Unpause => self.unpause(),
            Input::Answer(answer) => self.answer(answer),
            Input::Heard { event, waits } => self.hear(event, &waits),
        }
    }

    /// Works off the agenda, within the bound on one decision.
    fn work(&mut self) -> Result<()> {
        if self.state.paused.is_some() {
            return Ok(());
        }
        while self.out.records.len() < limits::DECISION_RECORDS_MAX && !self.state.status.is_terminal() {
            if self.is_stopping() && !self.stop_more()? {
                return Ok(());
            }
            let Some(todo) = self.agenda.todo.pop_front() else { return Ok(()) };
            match todo {
                Todo::Enter { block, path, slot } => self.enter(block, path, slot)?,
                Todo::Ended { place } => self.ended(place)?,
                Todo::BlockDone { block, path } => self.block_done(block, path)?,
                Todo::BlockFailed { block, path, error, place } => {
                    self.block_failed(block, path, error, place)?
                }
                Todo::Fork { place } => self.fork_more(place)?,
                Todo::Loop { place } => self.loop_more(place)?,
                Todo::Undo => self.undo_more()?,
                Todo::Repeat { place } => self.repeat(place)?,
                Todo::Task { place } => self.task_more(place)?,
            }
        }
        if self.state.status.is_terminal() {
            *self.agenda = Agenda::default();
        }
        Ok(())
    }

    /// Makes a record and applies it.
    pub(super) fn record(&mut self, body: RecordBody) -> Result<()> {
        let at = self.context.now.max(self.state.last_at);
        let record = Record { seq: self.state.next_seq, at, body };
        let asked = self.asks(&record.body);
        self.state.apply(&record)?;
        self.follow_asked(asked, &record.body, record.seq);
        self.out.records.push(record);
        Ok(())
    }

    pub(super) fn push(&mut self, todo: Todo) {
        self.agenda.todo.push_back(todo);
    }

    pub(super) fn admit(&mut self) -> Result<()> {
        if self.state.status != RunStatus::Pending || self.state.paused.is_some() {
            return Ok(());
        }
        self.record(RecordBody::RunStarted)?;
        // A fork has a history already, and goes on after it.
        self.resume_block(super::Program::ROOT, Vec::new())
    }

    fn signal(&mut self, name: String, data: Json, key: Option<String>) -> Result<()> {
        if key.as_ref().is_some_and(|key| self.state.signal_keys.contains(key)) {
            return Ok(());
        }
        if let Some(place) = self.first_waiting(&name)
            && let Err(error) = self.check_signal(&place, &data)
        {
            self.out.refused = Some(error);
            return Ok(());
        }
        if self.state.signals.len() >= limits::SIGNALS_BUFFERED_MAX {
            let message =
                format!("the run holds {} signals that no step has taken", self.state.signals.len());
            self.out.refused = Some(StepError::new(class::LIMIT, &run::SIGNAL, message));
            return Ok(());
        }
        self.record(RecordBody::SignalReceived { name: name.clone(), data, key })?;
        self.out.is_durable = true;
        self.deliver_signal(&name)
    }

    /// What every end of a run has in common.
    pub(super) fn run_over(&mut self, outcome: Outcome) {
        self.out.is_durable = true;
        self.out.ops.push(StoreOp::InboxCloseRun { run: self.state.id });
        self.task_over(&outcome);
        if let Some(parent) = self.state.created.parent.clone() {
            self.out.ops.push(StoreOp::TimerSet {
                run: parent.run,
                seq: child_timer_seq(self.state.id),
                due: self.context.now,
            });
            self.out.commands.push(Command::NotifyParent { parent, outcome });
        }
    }

    /// A child that nobody waits for any more is to end.
    pub(super) fn cancel_child(&mut self, run: RunId, reason: String) {
        self.out.ops.push(StoreOp::TimerSet { run, seq: CANCEL_TIMER_SEQ, due: self.context.now });
        self.out.commands.push(Command::CancelChild { run, reason });
    }

    /// The output of the last completed step of a block, or null.
    pub(super) fn last_output(&self, block: BlockId, path: &[u32]) -> Data {
        let nodes = &self.state.program.block(block).nodes;
        nodes
            .iter()
            .rev()
            .find_map(|node| self.state.instance(*node, path).and_then(|instance| instance.output.clone()))
            .unwrap_or_else(Data::null)
    }

    /// An evaluation took a thread with it.
    fn stuck(&mut self, place: Place) -> Result<()> {
        let error = StepError::new(
            class::LIMIT,
            &run::STEP_LIMIT,
            format!("an expression did not end within {} ms", limits::EVALUATION_MS_MAX),
        );
        if self.state.status == RunStatus::Pending {
            // Its beginning was lost with the thread.
            self.record(RecordBody::RunStarted)?;
        }
        if self.state.at(&place).is_some_and(|instance| instance.status.is_terminal()) {
            return self.fail_run(error, Some(place));
        }
        self.fail_step(place, error)
    }
}

/// The timer row that says that a run is to be cancelled, kept from the transaction that decides it until the run is over:
/// a process that ends before it has told the run leaves it to the next. No record has this number, and no child's row.
pub const CANCEL_TIMER_SEQ: u32 = 0x7fff_ffff;

/// The timer row by which a child's end wakes its parent after a crash: one for each child, apart from the record numbers.
pub fn child_timer_seq(child: RunId) -> u32 {
    let bytes = child.as_bytes();
    u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]) | 0x8000_0000
}

pub(super) fn prefixed(what: &str, error: StepError) -> StepError {
    StepError { message: format!("{what}: {}", error.message), ..error }
}

/// A decision met something that validation should have refused.
pub(super) fn bug(what: &str) -> Error {
    Error::new(&definition::INVALID, format!("the compiled definition is inconsistent: {what}"))
}
