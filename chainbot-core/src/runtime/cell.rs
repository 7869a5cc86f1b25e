//! A run in memory: a mailbox that anybody fills, and a body that one worker at a time works on.
//!
//! Lock order: the map of cells, then a mailbox, or the effects, or what was taken, then nothing. A body is locked by workers alone and for one turn; nobody
//! else waits for it, because a turn may evaluate an expression that does not end.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::engine::{Agenda, Command, Input, RunState};
use crate::error::{Error, Result};
use crate::id::{Lsn, RunId, WorkflowId};
use crate::model::{Place, Record, RunStatus, StepError};
use crate::port::Op;
use crate::time::Timestamp;

/// What is put into a mailbox.
pub(super) enum Mail {
    /// For the engine.
    Input(Input),
    /// For the engine; the answer comes when it is durable, or when it is refused.
    Asked(Input, Answer),
    /// For the engine, which begins nothing for it: more is to be told before the run is taken up.
    Settled(Input),
}

/// Effects under way, by their steps.
#[derive(Default)]
pub(super) struct Effects(HashMap<Place, UnderWay>);

/// A try that is under way.
struct UnderWay {
    attempt: u32,
    task: AbortHandle,
}

impl Effects {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose effects they are.
    pub(super) fn places(&self) -> Vec<Place> {
        self.0.keys().cloned().collect()
    }

    /// A try has begun.
    pub(super) fn began(&mut self, place: Place, attempt: u32, task: AbortHandle) {
        self.0.insert(place, UnderWay { attempt, task });
    }

    /// A try has ended. An earlier one may be told of again, and says nothing of the one that is under way.
    pub(super) fn ended(&mut self, place: &Place, attempt: u32) {
        if self.0.get(place).is_some_and(|under_way| under_way.attempt == attempt) {
            self.0.remove(place);
        }
    }

    /// Gives up what a step has under way.
    pub(super) fn abort(&mut self, place: &Place) {
        if let Some(under_way) = self.0.remove(place) {
            under_way.task.abort();
        }
    }

    /// Gives up everything.
    pub(super) fn abort_all(&mut self) {
        self.0.drain().for_each(|(_, under_way)| under_way.task.abort());
    }
}

/// Tells whoever asked.
pub(super) struct Answer {
    done: oneshot::Sender<Result<(), Refusal>>,
    /// What is written down of it in the transaction that it leads to.
    pub(super) audit: Option<Box<Op>>,
}

impl Answer {
    pub(super) fn new(done: oneshot::Sender<Result<(), Refusal>>, audit: Option<Op>) -> Self {
        Self { done, audit: audit.map(Box::new) }
    }

    /// Given back when nobody waits any more.
    pub(super) fn send(self, result: Result<(), Refusal>) -> Result<(), Result<(), Refusal>> {
        self.done.send(result)
    }
}

/// Why an input was not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The engine does not take it.
    Refused(StepError),
    /// The run is over.
    Over,
    /// The runtime cannot go on.
    Failed(Error),
}

/// A run in memory.
pub(super) struct Cell {
    pub(super) id: RunId,
    /// Of which workflow.
    pub(super) workflow: WorkflowId,
    pub(super) mailbox: Mutex<Mailbox>,
    pub(super) body: Mutex<Body>,
    /// Places of all records that are on disk, in order.
    pub(super) lsns: Mutex<Vec<Lsn>>,
    /// What views say: a [`RunStatus`] by its number.
    status: AtomicU8,
    pub(super) waiting_for: Mutex<Option<String>>,
    /// Effects under way. Apart from the body, because they go on when the body's thread is lost.
    pub(super) effects: Mutex<Effects>,
    /// What was taken and is not at the writer, of that which nobody can tell again: ends of effects and events. A lost
    /// thread takes the records of it along.
    pub(super) taken: Mutex<Vec<Input>>,
    /// Given up: what it still says is ignored.
    pub(super) is_dead: AtomicBool,
}

/// What came and was not worked on.
#[derive(Default)]
pub(super) struct Mailbox {
    pub(super) mail: VecDeque<Mail>,
    /// The batch that was at the writer is on disk; the place of its first record.
    pub(super) committed: Option<Lsn>,
    /// A permit that was waited for has come.
    pub(super) permits: u32,
    /// It stands in the queue of the workers, or one works on it.
    pub(super) is_scheduled: bool,
    /// It stands in the queue for a permit and nothing is urgent.
    pub(super) is_queued: bool,
    /// A batch is at the writer: mail waits until it is on disk.
    pub(super) is_committing: bool,
}

/// What a worker works on.
pub(super) struct Body {
    pub(super) state: RunState,
    pub(super) agenda: Agenda,
    /// Decided and not at the writer.
    pub(super) pending: Pending,
    /// Commands that wait for the batch at the writer; `Some` while one is there.
    pub(super) committing: Option<Committing>,
    /// Whether this run counts against the permits.
    pub(super) has_permit: bool,
    /// Its row says that it is parked, with this timer.
    pub(super) parked: Option<Parked>,
    /// The moment for which the timer thread was last asked.
    pub(super) armed: Option<Timestamp>,
}

/// How the row of a parked run can be found by time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parked {
    pub(super) timer_seq: Option<u32>,
}

/// Decided, applied to the state, and only in memory.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) records: Vec<Record>,
    pub(super) ops: Vec<Op>,
    pub(super) commands: Vec<Command>,
    pub(super) answers: Vec<Answer>,
    pub(super) is_durable: bool,
}

/// At the writer.
pub(super) struct Committing {
    pub(super) records: u32,
    pub(super) commands: Vec<Command>,
    pub(super) answers: Vec<Answer>,
    /// The batch parks the run.
    pub(super) parks: Option<Parked>,
    /// The batch unparked the run.
    pub(super) unparks: bool,
}

impl Mail {
    /// Whether it is worked on without a permit of its own: somebody waits for the answer.
    pub(super) fn is_urgent(&self) -> bool {
        matches!(
            self,
            Mail::Asked(..) | Mail::Input(Input::Cancel { .. } | Input::Stuck { .. } | Input::Abandon { .. })
        )
    }
}

impl Mailbox {
    /// Whether a worker would find something to do.
    pub(super) fn wants_worker(&self) -> bool {
        let is_held = self.is_committing || (self.is_queued && !self.mail.iter().any(Mail::is_urgent));
        self.committed.is_some() || self.permits > 0 || (!self.mail.is_empty() && !is_held)
    }
}

impl Cell {
    pub(super) fn new(state: RunState, lsns: Vec<Lsn>, parked: Option<Parked>, has_permit: bool) -> Self {
        let status = match (&state.paused, parked) {
            (Some(_), _) => RunStatus::Paused,
            (None, Some(_)) => RunStatus::Waiting,
            (None, None) => state.status,
        };
        let cell = Self {
            id: state.id,
            workflow: state.created.workflow,
            mailbox: Mutex::new(Mailbox::default()),
            body: Mutex::new(Body {
                state,
                agenda: Agenda::default(),
                pending: Pending::default(),
                committing: None,
                has_permit,
                parked,
                armed: None,
            }),
            lsns: Mutex::new(lsns),
            status: AtomicU8::new(0),
            waiting_for: Mutex::new(None),
            effects: Mutex::default(),
            taken: Mutex::default(),
            is_dead: AtomicBool::new(false),
        };
        cell.show(status);
        cell
    }

    /// Gives up every effect under way.
    pub(super) fn abort_effects(&self) {
        self.effects.lock().abort_all();
    }

    /// What views say from now on.
    pub(super) fn show(&self, status: RunStatus) {
        let number = RunStatus::ALL.iter().position(|other| *other == status).unwrap_or(0);
        self.status.store(number as u8, Ordering::Relaxed);
    }

    /// What views say.
    pub(super) fn status(&self) -> RunStatus {
        let number = usize::from(self.status.load(Ordering::Relaxed));
        RunStatus::ALL.get(number).copied().unwrap_or(RunStatus::Pending)
    }
}
