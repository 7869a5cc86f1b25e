//! Plays one run on a virtual clock: what it asks of the outside is answered by an [`Outside`], at once or later.
//!
//! Invariants: time jumps to the next thing that happens and never back. At one moment answers come before what is sent, and
//! that before timers. An answer that takes longer than the try may is that try's timeout, as it would be outside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::drive::Drive;
use super::mock::whole;
use super::suite::{Happening, Reply, Send};
use crate::engine::decide::{Execute, Failure, NewChild, Outcome};
use crate::engine::program::Op;
use crate::engine::{Answer, Command, Heard, Input};
use crate::error::code::run;
use crate::error::{Pos, Result};
use crate::id::{DefinitionHash, RunId, WorkflowId};
use crate::model::{Json, Place, RunStatus, StepError, Waiting, class};
use crate::time::Timestamp;

/// A step that calls out.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its id.
    pub step: String,
    /// Indexes of loops around it.
    pub path: Vec<u32>,
    /// Its type.
    pub kind: &'static str,
    /// Which try.
    pub attempt: u32,
    /// What it would send.
    pub input: Json,
    /// After the start of the run.
    pub at: Duration,
}

/// Everything that is not the run.
pub(super) trait Outside {
    /// What a call gets, or why it gets nothing, which ends the play.
    fn reply(&mut self, call: &Call) -> std::result::Result<Reply, String>;
    /// The run waits for somebody and nothing more is planned: what happens, if anything.
    fn idle(&mut self, drive: &Drive) -> Option<Happening>;
    /// Whether [`Self::idle`] is asked before time passes.
    fn is_eager(&self) -> bool {
        false
    }
}

/// Something that did not go as the test says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Where in the test file, when it is about one place of it.
    pub pos: Pos,
    /// What.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A run that was played.
pub(super) struct Played {
    pub(super) drive: Drive,
    pub(super) calls: Vec<Call>,
    pub(super) troubles: Vec<Trouble>,
    pub(super) status: RunStatus,
    pub(super) took: Duration,
}

/// An answer on its way.
enum Coming {
    Done { place: Place, attempt: u32, result: std::result::Result<Value, Failure> },
    Child { run: RunId, outcome: Outcome },
}

struct Player<'a> {
    drive: Drive,
    outside: &'a mut dyn Outside,
    start: Timestamp,
    /// By moment and order.
    coming: BTreeMap<(Timestamp, u64), Coming>,
    /// Waits for events, by the records that began them.
    listening: BTreeSet<u32>,
    calls: Vec<Call>,
    troubles: Vec<Trouble>,
    number: u64,
}

/// Plays a run from its start until it is over, or waits for what does not come.
pub(super) fn play(drive: Drive, outside: &mut dyn Outside, sends: &[Send]) -> Result<Played> {
    let start = drive.now;
    let mut player = Player {
        drive,
        outside,
        start,
        coming: BTreeMap::new(),
        listening: BTreeSet::new(),
        calls: Vec::new(),
        troubles: Vec::new(),
        number: 0,
    };
    let mut sends: Vec<&Send> = sends.iter().collect();
    sends.sort_by_key(|send| send.at);
    let mut sends = sends.into_iter().peekable();
    player.tell(Input::Admit)?;
    while player.troubles.is_empty() && !player.drive.state.status.is_terminal() {
        let answer = player.coming.first_key_value().map(|((at, _), _)| *at);
        let sent = sends.peek().map(|send| start.after(send.at));
        let due = player.drive.state.next_due().filter(|_| player.drive.state.paused.is_none());
        if answer.is_none()
            && sent.is_none()
            && player.outside.is_eager()
            && let Some(what) = player.outside.idle(&player.drive)
        {
            player.happen(&what, None, Pos::default())?;
            continue;
        }
        let Some(next) = [answer, sent, due].into_iter().flatten().min() else {
            match player.outside.idle(&player.drive) {
                Some(what) => player.happen(&what, None, Pos::default())?,
                None => break,
            }
            continue;
        };
        player.drive.now = player.drive.now.max(next);
        if answer == Some(next) {
            player.arrive()?;
        } else if sent == Some(next) {
            if let Some(send) = sends.next() {
                player.happen(&send.what, send.step.as_ref().map(|step| step.name.as_str()), send.pos)?;
            }
        } else {
            player.tell(Input::Tick)?;
        }
    }
    if let Some(send) = sends.next().filter(|_| player.troubles.is_empty()) {
        let over = player.drive.state.last_at.since(start);
        let message = format!("the run was over after {}, before this was sent", spoken(over));
        player.troubles.push(Trouble { pos: send.pos, message, hint: None });
    }
    Ok(player.played())
}

impl Player<'_> {
    fn played(self) -> Played {
        let state = &self.drive.state;
        let status = match state.status {
            status if status.is_terminal() => status,
            _ if state.paused.is_some() => RunStatus::Paused,
            _ => RunStatus::Waiting,
        };
        let took = state.last_at.since(self.start);
        Played { calls: self.calls, troubles: self.troubles, status, took, drive: self.drive }
    }

    /// Tells the engine, and deals with what it asks for.
    fn tell(&mut self, input: Input) -> Result<Option<StepError>> {
        let refused = self.drive.tell(input)?;
        for (place, input) in std::mem::take(&mut self.drive.queued) {
            let node = self.drive.program.node(place.node);
            let at = self.drive.now.since(self.start);
            // Done with the message on its way, so there is nothing to answer.
            self.calls.push(Call {
                step: node.id.clone(),
                path: place.path,
                kind: node.kind,
                attempt: 1,
                input,
                at,
            });
        }
        while let Some(command) = self.drive.asked.pop_front() {
            match command {
                Command::Execute(execute) => self.execute(execute),
                Command::ResolveChild { place, workflow, inputs } => self.child(place, workflow, inputs)?,
                Command::Abort { place } => {
                    self.coming.retain(
                        |_, coming| !matches!(coming, Coming::Done { place: of, .. } if *of == place),
                    );
                }
                Command::CancelChild { run, .. } => {
                    self.coming
                        .retain(|_, coming| !matches!(coming, Coming::Child { run: of, .. } if *of == run));
                    self.plan(Duration::ZERO, Coming::Child { run, outcome: Outcome::Cancelled });
                }
                Command::Listen { seq, .. } => drop(self.listening.insert(seq)),
                Command::Unlisten { seq } => drop(self.listening.remove(&seq)),
                // Children are answered here, and this run has no parent.
                Command::AdmitChild { .. } | Command::CheckChild { .. } | Command::NotifyParent { .. } => {}
            }
        }
        Ok(refused)
    }

    fn plan(&mut self, delay: Duration, coming: Coming) {
        self.number += 1;
        self.coming.insert((self.drive.now.after(delay), self.number), coming);
    }

    /// Notes a call and asks the outside for its reply.
    fn ask(&mut self, place: &Place, attempt: u32, input: Json) -> Option<Reply> {
        let node = self.drive.program.node(place.node);
        let at = self.drive.now.since(self.start);
        let call =
            Call { step: node.id.clone(), path: place.path.clone(), kind: node.kind, attempt, input, at };
        let reply = self.outside.reply(&call);
        let name = self.drive.step_name(place);
        if let Err(why) = &reply {
            self.troubles.push(Trouble {
                pos: Pos::default(),
                message: format!("step `{name}` {why}; it would have sent {}", brief(&call)),
                hint: Some(format!(
                    "add `{name}: {{output: ...}}` or `{{error: {{class: ...}}}}` to the case's `mocks`"
                )),
            });
        }
        self.calls.push(call);
        reply.ok()
    }

    fn execute(&mut self, execute: Execute) {
        let Execute { place, attempt, input, timeout, .. } = execute;
        let Some(reply) = self.ask(&place, attempt, input) else { return };
        let kind = self.drive.program.node(place.node).kind;
        let (delay, result) = if reply.delay > timeout {
            let message = format!("not done within {}", spoken(timeout));
            let error = StepError::new(class::TIMEOUT, &run::STEP_TIMEOUT, message);
            (timeout, Err(Failure { error, retry_after: None, status: None }))
        } else {
            let failure = |error| Failure { error, retry_after: reply.retry_after, status: None };
            (reply.delay, reply.result.map(|output| whole(kind, output)).map_err(failure))
        };
        self.plan(delay, Coming::Done { place, attempt, result });
    }

    fn child(&mut self, place: Place, workflow: String, inputs: Json) -> Result<()> {
        let input = Json::new(json!({ "workflow": workflow, "inputs": *inputs }));
        let Some(reply) = self.ask(&place, 1, input) else { return Ok(()) };
        self.number += 1;
        let mut id = [0x7c; 16];
        id[8..].copy_from_slice(&self.number.to_be_bytes());
        let run = RunId::from(id);
        let waits = matches!(&self.drive.program.node(place.node).op, Op::Child { wait: true, .. });
        let child = NewChild {
            run,
            workflow: WorkflowId::from([0x7b; 16]),
            name: workflow,
            definition: DefinitionHash::of("mock"),
            inputs,
        };
        let outcome = match reply.result {
            Ok(output) => Outcome::Completed(Json::new(output)),
            Err(error) => Outcome::Failed(error),
        };
        if waits {
            self.plan(reply.delay, Coming::Child { run, outcome });
        }
        // Never refused: refusals are for people's inputs.
        self.drive.tell(Input::ChildReady { place, child: Ok(child) })?;
        Ok(())
    }

    /// The first of the answers that are on their way.
    fn arrive(&mut self) -> Result<()> {
        let Some((_, coming)) = self.coming.pop_first() else { return Ok(()) };
        let input = match coming {
            Coming::Done { place, attempt, result } => Input::EffectDone { place, attempt, result },
            Coming::Child { run, outcome } => Input::ChildEnded { run, outcome },
        };
        self.tell(input)?;
        Ok(())
    }

    /// Something comes from outside. What nobody takes is a mistake of the test.
    fn happen(&mut self, what: &Happening, step: Option<&str>, pos: Pos) -> Result<()> {
        let input = match what {
            Happening::Signal { name, data } => {
                Input::Signal { name: name.clone(), data: data.clone(), key: None }
            }
            Happening::Cancel { reason } => Input::Cancel { reason: reason.clone() },
            Happening::Pause => Input::Pause { reason: "the test says so".to_owned() },
            Happening::Resume => Input::Unpause,
            Happening::Event { topic, data } => {
                let before = self.drive.journal.len();
                let waits: Vec<u32> = self.listening.iter().copied().collect();
                self.number += 1;
                let event = Heard {
                    topic: topic.clone(),
                    id: format!("test-{}", self.number),
                    data: data.clone(),
                    at: self.drive.now,
                };
                self.tell(Input::Heard { event, waits })?;
                if self.drive.journal.len() == before {
                    self.unheard(pos, format!("no step takes the event `{topic}` at this time"));
                }
                return Ok(());
            }
            Happening::Answer { action, data, by } => {
                let Some(input) = self.answer(step, action, data, by.clone(), pos) else { return Ok(()) };
                input
            }
        };
        if let Some(refused) = self.tell(input)? {
            self.unheard(pos, format!("this was refused: {}", refused.message));
        }
        Ok(())
    }

    fn answer(
        &mut self,
        step: Option<&str>,
        action: &str,
        data: &Json,
        by: Option<String>,
        pos: Pos,
    ) -> Option<Input> {
        let state = &self.drive.state;
        let mut asking: Vec<_> = state
            .instances()
            .filter(|(place, instance)| {
                let node = self.drive.program.node(place.node);
                instance.question.is_some()
                    && step.is_none_or(|step| step == node.id || step == self.drive.step_name(place))
            })
            .collect();
        asking.sort_by(|a, b| a.0.cmp(&b.0));
        let Some((_, instance)) = asking.first() else {
            let step = step.unwrap_or_default();
            self.unheard(pos, format!("step `{step}` does not ask anybody at this time"));
            return None;
        };
        let question = instance.question?;
        if let Some(Waiting::Approval(approval)) = &instance.waiting
            && !approval.actions.iter().any(|known| known == action)
        {
            let message = format!("`{action}` is no answer; it takes {}", approval.actions.join(", "));
            self.unheard(pos, message);
            return None;
        }
        Some(Input::Answer(Answer { question, action: action.to_owned(), data: data.clone(), by }))
    }

    fn unheard(&mut self, pos: Pos, message: String) {
        let waits = self.drive.state.waiting_for();
        let hint = waits.map(|waits| format!("the run waits for: {waits}"));
        self.troubles.push(Trouble { pos, message, hint });
    }
}

/// What a call would send, in a few words.
pub(super) fn brief(call: &Call) -> String {
    let text = |key: &str| call.input.get(key).and_then(Value::as_str);
    match (text("method"), text("url"), text("workflow")) {
        (Some(method), Some(url), _) => format!("{method} {url}"),
        (None, Some(url), _) => format!("POST {url}"),
        (_, _, Some(workflow)) => format!("the workflow `{workflow}`"),
        _ => super::compare::shown(&call.input),
    }
}

/// A duration as people say it, exact to the millisecond.
pub(super) fn spoken(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (unit, ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= ms {
            text.push_str(&format!("{}{unit}", rest / ms));
            rest %= ms;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}
