//! What people do to a run under way: hold it, let it go on, answer what its steps ask.
//!
//! Invariants: while a run is paused nothing of the agenda is worked off and no moment counts, but what is under way
//! ends and is recorded. A question is answered once. What a step asks and which events it listens for are derived
//! from its record in one place ([`Stepper::asks`]), so that the store's rows say what the journal says.

use serde_json::{Value, json};

use crate::error::Result;
use crate::error::code::run;
use crate::expr::Data;
use crate::id::InboxId;
use crate::model::inbox::{DONE, FAIL, RETRY};
use crate::model::{Approval, Json, Place, RecordBody, StepError, StepStatus, Waiting, class};
use crate::port::{InboxAnswer, InboxKind, Op as StoreOp};

use super::decide::{Command, Stepper, Todo};
use super::program::{ApprovalOp, Op};

/// A person's answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// To which question.
    pub question: InboxId,
    /// One of its choices.
    pub action: String,
    /// What goes with it.
    pub data: Json,
    /// Who says so.
    pub by: Option<String>,
}

/// What a step has asked for outside of the run's own records.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) struct Asked {
    question: Option<InboxId>,
    listens: Option<u32>,
}

impl Stepper<'_> {
    pub(super) fn pause(&mut self, reason: String) -> Result<()> {
        if self.state.cancelling.is_some() {
            self.out.refused =
                Some(StepError::new(class::CANCELLED, &run::FINISHED, "the run is about to end"));
            return Ok(());
        }
        if self.state.paused.is_none() {
            self.record(RecordBody::RunPaused { reason })?;
            self.out.is_durable = true;
        }
        Ok(())
    }

    /// The opposite of [`Self::pause`]: what waited for it goes on, and what became due meanwhile happens.
    pub(super) fn unpause(&mut self) -> Result<()> {
        if self.state.paused.is_none() {
            return Ok(());
        }
        self.record(RecordBody::RunResumed)?;
        self.out.is_durable = true;
        // Not begun yet: the permit that it waited for may have come and gone while it was held.
        self.admit()?;
        self.tick()
    }

    /// Takes an answer to an open question; any other is refused.
    pub(super) fn answer(&mut self, answer: Answer) -> Result<()> {
        let open = self
            .state
            .instances()
            .find(|(_, instance)| instance.question == Some(answer.question))
            .map(|(place, _)| place);
        let Some(place) = open else {
            let message = "the question is no longer open";
            self.out.refused = Some(StepError::new(class::INVALID, &run::ANSWERED, message));
            return Ok(());
        };
        let is_uncertain = self.state.at(&place).is_some_and(|instance| instance.is_uncertain);
        let at = self.context.now.max(self.state.last_at);
        let Answer { question, action, data, by } = answer;
        self.out.ops.push(StoreOp::InboxAnswer(InboxAnswer {
            id: question,
            action: action.clone(),
            data: data.clone(),
            by: by.clone(),
            at,
        }));
        self.out.is_durable = true;
        self.record(RecordBody::StepAnswered {
            place: place.clone(),
            question,
            action: action.clone(),
            data: data.clone(),
            by: by.clone(),
        })?;
        if !is_uncertain {
            let approval = json!({ "action": action, "data": *data, "by": by, "at": at });
            return self.approval_over(place, approval, false);
        }
        match action.as_str() {
            RETRY if self.state.paused.is_some() => Ok(()),
            RETRY => self.repeat_effect(place),
            DONE => self.complete_step(place, Data::from_json(data)),
            _ => {
                let message = match data.as_str() {
                    Some(why) if !why.is_empty() => format!("a person let the step fail: {why}"),
                    _ => {
                        "a person let the step fail, since whether its effect happened is unknown".to_owned()
                    }
                };
                self.fail_step(place, StepError::new(class::UNCERTAIN, &run::UNCERTAIN, message))
            }
        }
    }

    /// The wait of an `approval` step, as it is rendered for this run.
    pub(super) fn approval(&self, op: &ApprovalOp, place: &Place) -> Result<Waiting, StepError> {
        let timeout = self.state.program.node(place.node).timeout;
        Ok(Waiting::Approval(Box::new(Approval {
            message: self.render_text(&op.message, place, b'd')?,
            approvers: op.approvers.clone(),
            actions: op.actions.clone(),
            default: op.default.clone(),
            due: timeout.map(|timeout| self.context.now.after(timeout)),
        })))
    }

    /// Nobody answered in time: the default counts. False when there is none.
    pub(super) fn default_answer(&mut self, place: &Place) -> Result<bool> {
        let Some(Waiting::Approval(approval)) =
            self.state.at(place).and_then(|instance| instance.waiting.as_ref())
        else {
            return Ok(false);
        };
        let Some(action) = approval.default.clone() else { return Ok(false) };
        let at = self.context.now.max(self.state.last_at);
        let approval = json!({ "action": action, "data": null, "by": null, "at": at });
        self.approval_over(place.clone(), approval, true)?;
        Ok(true)
    }

    fn approval_over(&mut self, place: Place, approval: Value, timed_out: bool) -> Result<()> {
        let output = json!({ "waited": self.waited(&place), "approval": approval, "timed_out": timed_out });
        self.complete_step(place, Data::new(output))
    }

    /// An effect in doubt, or the start of a child, is made again; a paused run keeps it for later.
    pub(super) fn repeat(&mut self, place: Place) -> Result<()> {
        if self.state.paused.is_some() {
            self.push(Todo::Repeat { place });
            return Ok(());
        }
        let Some(instance) = self.state.at(&place).filter(|instance| instance.is_busy()) else {
            return Ok(());
        };
        let program = self.program;
        match (&program.node(place.node).op, instance.input.clone()) {
            (Op::Child { .. }, Some(input)) => {
                self.out.is_durable = true;
                self.resolve_child(place, &input);
                Ok(())
            }
            (Op::Child { .. }, None) => Ok(()),
            _ => self.repeat_effect(place),
        }
    }

    /// What the step of a record asks for at this moment.
    pub(super) fn asks(&self, body: &RecordBody) -> Asked {
        let waiting = |place| self.state.at(place).filter(|instance| instance.status == StepStatus::Waiting);
        match body.place().and_then(waiting) {
            Some(instance) => Asked { question: instance.question, listens: instance.listens },
            None => Asked::default(),
        }
    }

    /// Brings the store's rows in line with what a record has changed.
    pub(super) fn follow_asked(&mut self, before: Asked, body: &RecordBody, seq: u32) {
        let now = self.asks(body);
        if now == before {
            return;
        }
        let run = self.state.id;
        if let Some(id) = before.question.filter(|id| now.question != Some(*id))
            && !matches!(body, RecordBody::StepAnswered { .. })
        {
            self.out.ops.push(StoreOp::InboxClose { id });
        }
        if let Some(seq) = before.listens.filter(|seq| now.listens != Some(*seq)) {
            self.out.ops.push(StoreOp::ListenClear { run, seq });
            self.out.commands.push(Command::Unlisten { seq });
        }
        match body {
            RecordBody::StepWaiting { place, wait: Waiting::Approval(approval) } => {
                self.ask_approval(place, approval, now.question);
            }
            RecordBody::StepWaiting { wait: Waiting::Event { topic, .. }, .. } => {
                self.out.ops.push(StoreOp::ListenSet { run, seq, topic: topic.clone() });
                self.out.commands.push(Command::Listen { topic: topic.clone(), seq });
            }
            RecordBody::StepUncertain { place, .. } => self.ask_uncertain(place, now.question),
            _ => {}
        }
    }

    fn ask_approval(&mut self, place: &Place, approval: &Approval, id: Option<InboxId>) {
        let node = self.state.program.node(place.node);
        let question = json!({
            "step": node.id, "type": node.kind, "path": place.path, "workflow": self.state.created.name,
            "message": approval.message, "approvers": approval.approvers, "choices": approval.actions,
            "default": approval.default, "deadline": approval.due,
        });
        self.ask(place, InboxKind::Approval, id, question);
    }

    fn ask_uncertain(&mut self, place: &Place, id: Option<InboxId>) {
        let node = self.state.program.node(place.node);
        let Some(instance) = self.state.at(place) else { return };
        let question = json!({
            "step": node.id, "type": node.kind, "path": place.path, "workflow": self.state.created.name,
            "attempt": instance.attempts, "key": instance.key.map(|key| key.to_string()),
            "sent": instance.input.as_deref(), "sent_at": instance.since,
            "message": format!(
                "step `{}` was under way when the process ended; did its effect happen?", node.id
            ),
            "choices": [RETRY, DONE, FAIL],
        });
        self.ask(place, InboxKind::Uncertain, id, question);
    }

    fn ask(&mut self, place: &Place, kind: InboxKind, id: Option<InboxId>, question: Value) {
        let Some(id) = id else { return };
        self.out.is_durable = true;
        let (run, place, at) = (self.state.id, place.clone(), self.state.last_at);
        self.out.ops.push(StoreOp::InboxPut { id, run, place, kind, question, at });
    }
}
