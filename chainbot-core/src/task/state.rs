//! What is known of a task: a fold over the ends of its calls, kept in the run's state beside its step.
//!
//! Invariants: changed only by the run's fold; equal journals give equal states. A call is known by its number, which is the index of its steps in
//! the journal; numbers are given in order and never again.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::model::{StepError, class};
use crate::time::Timestamp;

use super::prepared::Prepared;
use super::reply::{Reply, ToolResult};

/// What sort of call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// Gathers what the task begins with.
    Prepare,
    /// Asks the model.
    Model,
    /// Uses a tool that may be used twice.
    Tool,
    /// Uses a tool of which nobody knows, after a crash, whether it did something.
    Act,
    /// Asks a person.
    Ask,
    /// Has the model put the older part of the conversation in short.
    Fold,
}

/// What came of putting a conversation in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Folded {
    /// This, in place of the messages.
    Text(String),
    /// Nothing: it was refused, or there was no answer. They leave the window all the same.
    Nothing,
}

impl CallKind {
    /// Whether somebody may have to pay for it.
    pub fn asks_model(self) -> bool {
        matches!(self, Self::Model | Self::Fold)
    }
}

/// A call under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// What sort.
    pub kind: CallKind,
    /// Of tools and questions: which call of which reply.
    pub of: Option<(usize, usize)>,
    /// When it began.
    pub since: Timestamp,
    /// Of the model: tokens and cost that it may take.
    pub hold: (u64, u64),
    /// Of the model: no tool was offered, and why.
    pub last: Option<String>,
    /// Of the model: what tries of it were charged of which nobody knows the price.
    pub charged: (u64, u64),
}

/// A person's word on a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It may be made.
    Approved,
    /// It may not; who said so, or `None` when nobody said anything in time.
    Denied(Option<String>),
}

/// A reply with what came of its calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// The number of the model's call.
    pub number: u32,
    /// What it said.
    pub reply: Reply,
    /// It was asked for without tools, and why: what it says is the answer, whatever it calls.
    pub last: Option<String>,
    /// Of each call, when it has been made.
    pub results: Vec<Option<ToolResult>>,
    /// Of each call, when a person was asked.
    pub words: Vec<Option<Word>>,
}

/// What a task has used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Tokens of prompts.
    pub input: u64,
    /// Of those, cached ones.
    pub cached: u64,
    /// Tokens of replies.
    pub output: u64,
    /// Millionths of the currency.
    pub cost: u64,
    /// Calls that were under way when the process ended, and may be paid twice. What they might have taken is counted.
    pub possibly_billed: u32,
    /// Some of it is an estimate.
    pub is_estimated: bool,
    /// Milliseconds at work.
    pub worked_ms: u64,
}

impl Spent {
    /// Prompts and replies together.
    pub fn tokens(&self) -> u64 {
        self.input + self.output
    }
}

/// A task, as its run's journal tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskState {
    /// What it began with.
    pub prepared: Option<Arc<Prepared>>,
    /// The model's replies, in order.
    pub turns: Vec<Turn>,
    /// Calls under way, by number.
    pub open: BTreeMap<u32, Open>,
    /// The next call's number.
    pub next_number: u32,
    /// What was used up.
    pub spent: Spent,
    /// It has seen what came from outside.
    pub is_tainted: bool,
    /// A call failed for good.
    pub failure: Option<(CallKind, StepError)>,
    /// Of an agent without a model: what the one call gave.
    pub direct: Option<ToolResult>,
    /// Somebody else's budget had no room for a call: the next one asks for the answer, and for a short one.
    pub is_refused: bool,
    /// The conversation was put in short, or that was tried.
    pub folded: Option<Folded>,
}

/// What is journaled of a call's start beside the call itself.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Started {
    turn: Option<usize>,
    call: Option<usize>,
    hold_tokens: u64,
    hold_cost: u64,
    last: Option<String>,
}

impl TaskState {
    /// A call began, or began again after a crash or a failed try.
    pub fn started(&mut self, kind: CallKind, number: u32, input: &Value, is_cut: bool, at: Timestamp) {
        self.next_number = self.next_number.max(number + 1);
        if is_cut && kind.asks_model() {
            self.charge(number);
        }
        if let Some(open) = self.open.get_mut(&number) {
            open.since = at;
            return;
        }
        let started: Started = Started::deserialize(input).unwrap_or_default();
        self.open.insert(
            number,
            Open {
                kind,
                of: started.turn.zip(started.call),
                since: at,
                hold: (started.hold_tokens, started.hold_cost),
                last: started.last,
                charged: (0, 0),
            },
        );
    }

    /// A try failed, and another follows. Its time was worked; the wait until the next one is not.
    pub fn try_failed(&mut self, number: u32, class: &str, at: Timestamp) {
        if let Some(open) = self.open.get(&number).filter(|open| open.kind != CallKind::Fold) {
            self.spent.worked_ms += u64::try_from(at.since(open.since).as_millis()).unwrap_or(u64::MAX);
        }
        let is_model = self.open.get(&number).is_some_and(|open| open.kind.asks_model());
        if is_model && [class::CUT, class::TIMEOUT].contains(&class) {
            self.charge(number);
        }
    }

    /// Nobody knows how far the server came: it is counted as if it had come to the end.
    fn charge(&mut self, number: u32) {
        let Some(open) = self.open.get_mut(&number) else { return };
        let (tokens, cost) = open.hold;
        open.charged.0 += tokens;
        open.charged.1 += cost;
        self.spent.output += tokens;
        self.spent.cost += cost;
        self.spent.possibly_billed += 1;
        self.spent.is_estimated = true;
    }

    /// As it was when a call that is under way began, when nothing else was.
    pub fn before(&self, number: u32) -> Self {
        let mut before = self.clone();
        if let Some(open) = before.open.remove(&number) {
            before.spent.output -= open.charged.0;
            before.spent.cost -= open.charged.1;
        }
        before.open.clear();
        before.next_number = number;
        before
    }

    /// A person is asked about the first call of the last reply that has no result.
    pub fn asked(&mut self, number: u32, at: Timestamp) {
        self.next_number = self.next_number.max(number + 1);
        let of = self.turns.last().and_then(|turn| {
            let call = turn
                .results
                .iter()
                .zip(&turn.words)
                .position(|(result, word)| result.is_none() && word.is_none())?;
            Some((self.turns.len() - 1, call))
        });
        self.open.insert(
            number,
            Open { kind: CallKind::Ask, of, since: at, hold: (0, 0), last: None, charged: (0, 0) },
        );
    }

    /// A call ended well.
    pub fn completed(&mut self, number: u32, output: &Value, at: Timestamp) {
        let Some(open) = self.open.remove(&number) else { return };
        // The task has its answer when it folds; that takes none of its time.
        if !matches!(open.kind, CallKind::Ask | CallKind::Fold) {
            self.spent.worked_ms += u64::try_from(at.since(open.since).as_millis()).unwrap_or(u64::MAX);
        }
        match open.kind {
            CallKind::Prepare => {
                let prepared = Prepared::deserialize(output).unwrap_or_default();
                self.is_tainted |= prepared.memory.is_tainted;
                self.prepared = Some(Arc::new(prepared));
            }
            CallKind::Fold => {
                let reply = Reply::deserialize(output).unwrap_or_default();
                self.spend(&reply);
                self.folded = Some(match reply.text.trim() {
                    "" => Folded::Nothing,
                    text => Folded::Text(text.to_owned()),
                });
            }
            CallKind::Model => {
                let reply = Reply::deserialize(output).unwrap_or_default();
                self.spend(&reply);
                let calls = reply.calls.len();
                let last = open.last;
                self.turns.push(Turn {
                    number,
                    reply,
                    last,
                    results: vec![None; calls],
                    words: vec![None; calls],
                });
            }
            CallKind::Tool | CallKind::Act => {
                // A person who says what came of it gives the bare value.
                let result = match output.get("value") {
                    Some(_) => ToolResult::deserialize(output).unwrap_or_default(),
                    None => ToolResult { value: output.clone(), ..ToolResult::default() },
                };
                self.result(open.of, result);
            }
            CallKind::Ask => {
                let approval = &output["approval"];
                let word = match approval["action"].as_str() {
                    Some("approve") => Word::Approved,
                    _ => Word::Denied(approval["by"].as_str().map(str::to_owned)),
                };
                if let Some(slot) =
                    open.of.and_then(|(turn, call)| self.turns.get_mut(turn)?.words.get_mut(call))
                {
                    *slot = Some(word);
                }
            }
        }
    }

    /// A call failed for good.
    pub fn failed(&mut self, number: u32, kind: CallKind, error: &StepError, at: Timestamp) {
        let open = self.open.remove(&number);
        self.next_number = self.next_number.max(number + 1);
        if let Some(open) = &open
            && kind != CallKind::Fold
        {
            self.spent.worked_ms += u64::try_from(at.since(open.since).as_millis()).unwrap_or(u64::MAX);
        }
        match kind {
            // The model is told, and may do something else.
            CallKind::Tool | CallKind::Act => {
                let text = format!("{}: {}", error.code, error.message);
                let result = ToolResult { value: Value::String(text), is_error: true, is_tainted: false };
                self.result(open.and_then(|open| open.of), result);
            }
            CallKind::Fold => self.folded = Some(Folded::Nothing),
            CallKind::Model
                if error.class == class::BUDGET && open.is_some_and(|open| open.last.is_none()) =>
            {
                self.is_refused = true;
            }
            CallKind::Prepare | CallKind::Model | CallKind::Ask => self.failure = Some((kind, error.clone())),
        }
    }

    fn spend(&mut self, reply: &Reply) {
        self.spent.input += reply.input;
        self.spent.cached += reply.cached;
        self.spent.output += reply.output;
        self.spent.cost += reply.cost;
        self.spent.is_estimated |= !reply.is_reported;
    }

    /// A call ended because the run did.
    pub fn cancelled(&mut self, number: u32) {
        self.open.remove(&number);
    }

    /// A person takes up the failed run again: what failed is called anew.
    pub fn reopened(&mut self) {
        self.failure = None;
        self.is_refused = false;
        self.open.clear();
    }

    fn result(&mut self, of: Option<(usize, usize)>, result: ToolResult) {
        self.is_tainted |= result.is_tainted;
        let Some((turn, call)) = of else {
            self.direct = Some(result);
            return;
        };
        if let Some(slot) = self.turns.get_mut(turn).and_then(|turn| turn.results.get_mut(call)) {
            *slot = Some(result);
        }
    }

    /// Calls of tools that were made.
    pub fn tool_calls(&self) -> u32 {
        let made = self.turns.iter().flat_map(|turn| &turn.results).filter(|result| result.is_some()).count();
        u32::try_from(made).unwrap_or(u32::MAX)
    }
}
