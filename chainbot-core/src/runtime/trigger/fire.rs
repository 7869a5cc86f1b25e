//! One trigger and one occasion: decides whether a run is started, and starts it in one transaction with the trigger's row.

use std::sync::{Arc, mpsc};

use serde_json::{Value, json};

use crate::engine::inputs;
use crate::error::code::{general, run as run_code};
use crate::error::{Error, ErrorKind, Result};
use crate::expr::Volatile;
use crate::id::RunId;
use crate::limits;
use crate::model::Trigger;
use crate::port::{Batch, Firing, Idempotency, Op};
use crate::time::Timestamp;

use super::super::core::Runtime;
use super::super::launch::Launch;
use super::Event;
use super::table::Armed;

/// What a trigger may fire for.
pub(super) struct Occasion {
    pub(super) event: Event,
    /// Of the run that it starts.
    pub(super) depth: u32,
    /// What makes a repeat the same; the event's id unless said.
    pub(super) digest: [u8; 32],
    /// Whether a repeat can be told from another occasion.
    pub(super) has_id: bool,
    /// Of a schedule: its next time before and after.
    pub(super) moves: (Option<Timestamp>, Option<Timestamp>),
}

impl Occasion {
    /// Of an event that is known by its id.
    pub(super) fn of(event: Event, depth: u32) -> Self {
        let digest = *blake3::hash(event.id.as_bytes()).as_bytes();
        Self { event, depth, digest, has_id: true, moves: (None, None) }
    }
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Fired {
    /// A run was made, and is on disk.
    Started(RunId),
    /// The occasion had made this run before.
    Before(RunId),
    /// Its `when` does not hold, or it was switched off meanwhile.
    Unwanted,
    /// No run, for good: its row says why.
    Refused(Error),
    /// Not now: nothing has happened.
    Later(Error),
}

impl Runtime {
    /// Blocks until what follows is on disk.
    pub(super) fn fire(self: &Arc<Self>, armed: &Armed, occasion: Occasion) -> Fired {
        match self.try_fire(armed, &occasion) {
            Ok(fired) => {
                match &fired {
                    Fired::Started(run) => self.fired(armed, &occasion, Some(*run), None),
                    // The schedule goes on, whatever becomes of this time.
                    Fired::Before(_) | Fired::Unwanted if occasion.moves.0.is_some() => {
                        if let Err(error) = self.pass(armed, occasion.moves, None) {
                            return Fired::Later(error);
                        }
                    }
                    _ => {}
                }
                fired
            }
            Err(error) if is_passing(&error) => Fired::Later(error),
            Err(error) => {
                let by = armed.trigger.source.kind();
                log::warn!("workflow `{}`: its {by} trigger started no run: {error}", armed.name);
                if let Err(error) = self.pass(armed, occasion.moves, Some(error.to_string())) {
                    return Fired::Later(error);
                }
                self.tell_skipped(armed, &error);
                Fired::Refused(error)
            }
        }
    }

    fn try_fire(self: &Arc<Self>, armed: &Armed, occasion: &Occasion) -> Result<Fired> {
        let key = occasion.has_id.then(|| Idempotency {
            by: None,
            key: format!("trigger {} {} {}", armed.id.workflow, armed.id.key, occasion.event.id),
            digest: occasion.digest,
            at: self.aged(self.env.now()),
        });
        if let Some(key) = &key
            && let Some(hit) = self.store.idempotent(key.by, &key.key)?
        {
            if hit.digest != key.digest {
                let message = format!("the id `{}` came before with another event", occasion.event.id);
                return Err(Error::new(&general::IDEMPOTENCY, message).help("use a new id for a new event"));
            }
            return Ok(Fired::Before(RunId::from(hit.made)));
        }
        crate::fault!("trigger.decide", crate::error::Error::on_purpose);
        let event = occasion.event.to_json();
        let seed = *blake3::hash(occasion.event.id.as_bytes()).as_bytes();
        let volatile = Volatile { now: self.env.now(), seed };
        if !self.wants(armed, &event, &volatile)? {
            return Ok(Fired::Unwanted);
        }
        if occasion.depth > limits::RUN_DEPTH_MAX {
            let message = format!(
                "runs start one another by events more than {} deep; the last is by `{}`",
                limits::RUN_DEPTH_MAX,
                occasion.event.topic
            );
            let help = "give the trigger a `when` that ends the circle, or emit another topic";
            return Err(Error::new(&run_code::CHAIN, message).help(help));
        }
        let given = self.inputs_of(armed, &event, &volatile)?;
        let inputs = inputs::prepare(&armed.program, given)?;
        self.check_room()?;
        let launch = Launch {
            who: crate::runtime::Who::now(),
            workflow: armed.id.workflow,
            name: armed.name.clone(),
            program: armed.program.clone(),
            inputs,
            trigger: Trigger::Trigger {
                by: armed.trigger.source.kind().to_owned(),
                trigger: armed.id.key.clone(),
                depth: occasion.depth,
                event,
            },
            key,
            firing: Some(self.firing(armed, occasion.moves, None)),
        };
        let (done, waits) = mpsc::channel();
        let (row, _) = self.launch(launch, move |result| {
            // The receiver waits until it is told, or the store is gone and with it everybody.
            let _ = done.send(result);
        })?;
        match waits.recv() {
            Ok(Ok(())) => Ok(Fired::Started(row.id)),
            Ok(Err(error)) if *error.code() == run_code::NOT_FIRED => Ok(Fired::Unwanted),
            Ok(Err(error)) => Err(Error::new(error.code(), error.message())),
            Err(_) => Err(Error::new(&general::STOPPING, "ChainBot stopped before the run was on disk")),
        }
    }

    fn wants(&self, armed: &Armed, event: &Value, volatile: &Volatile) -> Result<bool> {
        if !armed.trigger.has_when() {
            return Ok(true);
        }
        let (trigger, event, volatile) = (armed.trigger.clone(), event.clone(), *volatile);
        let what = format!("`when` of the trigger {} of `{}`", armed.id.key, armed.name);
        self.evaluated(armed.program.hash, &what, move || trigger.wants(&event, &volatile))
    }

    fn inputs_of(&self, armed: &Armed, event: &Value, volatile: &Volatile) -> Result<Value> {
        if !armed.trigger.has_inputs() {
            return armed.trigger.inputs(event, volatile);
        }
        let (trigger, event, volatile) = (armed.trigger.clone(), event.clone(), *volatile);
        let what = format!("`inputs` of the trigger {} of `{}`", armed.id.key, armed.name);
        self.evaluated(armed.program.hash, &what, move || trigger.inputs(&event, &volatile))
    }

    fn firing(
        &self,
        armed: &Armed,
        (from, due): (Option<Timestamp>, Option<Timestamp>),
        note: Option<String>,
    ) -> Firing {
        Firing {
            workflow: armed.id.workflow,
            key: armed.id.key.clone(),
            from,
            due,
            at: self.env.now(),
            run: None,
            note,
        }
    }

    /// Lets an occasion go: the row moves on and says why, and no run is made.
    pub(super) fn pass(
        &self,
        armed: &Armed,
        moves: (Option<Timestamp>, Option<Timestamp>),
        note: Option<String>,
    ) -> Result<()> {
        let firing = self.firing(armed, moves, note);
        let (done, waits) = mpsc::channel();
        self.store.submit(Batch {
            run: RunId::from([0; 16]),
            records: Vec::new(),
            ops: vec![Op::TriggerFire(firing.clone())],
            ack: Box::new(move |result| {
                // As above.
                let _ = done.send(result.map(|_| ()));
            }),
        })?;
        match waits.recv() {
            Ok(Ok(())) => {
                self.moved(&firing);
                Ok(())
            }
            // It was switched off or replaced meanwhile: there is nothing to move.
            Ok(Err(error)) if *error.code() == run_code::NOT_FIRED => Ok(()),
            Ok(Err(error)) => Err(Error::new(error.code(), error.message())),
            Err(_) => Err(Error::new(&general::STOPPING, "ChainBot stopped")),
        }
    }

    fn fired(&self, armed: &Armed, occasion: &Occasion, run: Option<RunId>, note: Option<String>) {
        self.moved(&Firing { run, ..self.firing(armed, occasion.moves, note) });
    }

    /// The table says what the row says.
    fn moved(&self, firing: &Firing) {
        let mut table = self.triggers.table.lock();
        let id = super::table::Id { workflow: firing.workflow, key: firing.key.clone() };
        if let Some(armed) = table.all.get_mut(&id).filter(|armed| armed.due == firing.from) {
            armed.due = firing.due;
            armed.fired_at = Some(firing.at);
            armed.run = firing.run.or(armed.run);
            armed.note.clone_from(&firing.note);
        }
    }

    fn tell_skipped(&self, armed: &Armed, error: &Error) {
        let data = json!({
            "module_id": "chainbot",
            "workflow_id": armed.id.workflow,
            "workflow_name": armed.name,
            "trigger": armed.id.key,
            "by": armed.trigger.source.kind(),
            "error": { "code": error.code().id, "message": error.message() },
        });
        self.tell("chainbot.workflow.skipped", &data);
    }

    /// Tells the host what no journal holds. Told once: whoever must know later asks for the triggers.
    pub(in crate::runtime) fn tell(&self, topic: &str, data: &Value) {
        let Some(outbox) = &self.outbox else { return };
        let id = uuid::Builder::from_random_bytes(self.env.bytes()).into_uuid().to_string();
        outbox.tell(topic, &id, self.env.now(), data);
    }
}

/// Whether the same occasion may succeed later. A full disk passes too: an occasion that was let go for it would be lost for good.
fn is_passing(error: &Error) -> bool {
    use ErrorKind::{Busy, Full, Storage, Timeout, Unavailable};
    matches!(error.kind(), Busy | Full | Storage | Timeout | Unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::code::store;

    #[test]
    fn what_passes_is_tried_again_and_what_is_wrong_is_let_go() {
        for code in [&store::FULL, &general::STOPPING, &run_code::QUEUE_FULL] {
            assert!(is_passing(&Error::new(code, "")), "{}", code.id);
        }
        for code in [&general::IDEMPOTENCY, &run_code::CHAIN] {
            assert!(!is_passing(&Error::new(code, "")), "{}", code.id);
        }
    }
}
