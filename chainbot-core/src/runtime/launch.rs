//! Makes a run: its creation, the firing of its trigger and its place at the gate in one transaction.
//!
//! Invariant: what follows the creation (a permit is asked for, others are ousted) is done when it is on disk, by the
//! acknowledgement itself, so nothing depends on somebody waiting for it.

use std::sync::Arc;

use serde_json::Value;

use crate::engine::{CANCEL_TIMER_SEQ, Input, Program};
use crate::error::code::run as run_code;
use crate::error::{Error, Result};
use crate::expr::Volatile;
use crate::id::{RunId, WorkflowId};
use crate::limits;
use crate::model::{Json, Record, RecordBody, RunCreated, RunRow, RunStatus, Trigger};
use crate::port::{Action, Batch, Firing, Idempotency, Op};

use super::cell::Mail;
use super::core::Runtime;
use super::gates::{GateSpec, Moves, Taken};
use super::load::Source;
use super::who::{Deed, Who};

/// Why a run is cancelled that has to make room.
pub(super) const OUSTED: &str = "a newer run took its place (`concurrency: restart`)";

/// A run to make.
pub(super) struct Launch {
    pub(super) workflow: WorkflowId,
    pub(super) name: String,
    pub(super) program: Arc<Program>,
    /// Prepared: defaults are filled in and the schema holds.
    pub(super) inputs: Value,
    pub(super) trigger: Trigger,
    pub(super) key: Option<Idempotency>,
    pub(super) firing: Option<Firing>,
    /// The person who starts it.
    pub(super) who: Option<Who>,
}

impl Runtime {
    /// Whether one more run may be made; the error says what there is too much of.
    pub(super) fn check_room(&self) -> Result<()> {
        if self.parked_count() >= limits::RUNS_WAITING_MAX {
            let message = format!("{} runs wait for a time, a signal or a person", limits::RUNS_WAITING_MAX);
            return Err(Error::new(&run_code::QUEUE_FULL, message)
                .help("signal or cancel some: `GET /api/chainbot/runs?status=waiting` lists them"));
        }
        if !self.admission.has_room(self.gates.waiting()) {
            return Err(Error::new(&run_code::QUEUE_FULL, "too many runs wait for their turn")
                .help("wait for some to end, or raise workflow_engine.max_queued"));
        }
        Ok(())
    }

    /// Hands a new run to the writer. `done` is called on the writer's thread, when it is on disk or never will be.
    pub(super) fn launch(
        self: &Arc<Self>,
        launch: Launch,
        done: impl FnOnce(std::result::Result<(), Arc<Error>>) + Send + 'static,
    ) -> Result<(RunRow, Json)> {
        let (id, at) = (self.env.run_id(), self.env.now());
        let gate = self.gate_of(&launch.program, launch.workflow, id, &launch.inputs)?;
        let admit = match &gate {
            None => Vec::new(),
            Some(gate) => self.gates.enter(id, gate).map_err(|taken| no_room(&launch.name, &taken))?,
        };
        self.make(Moves { admit, oust: Vec::new() });
        let Launch { workflow, name, program, inputs, trigger, key, firing, who } = launch;
        let inputs = Json::new(inputs);
        let created = RunCreated {
            workflow,
            name: name.clone(),
            definition: program.hash,
            inputs: inputs.clone(),
            trigger,
            parent: None,
        };
        let row = RunRow {
            id,
            workflow,
            name,
            definition: program.hash,
            status: RunStatus::Pending,
            detail: None,
            created_at: at,
            finished_at: None,
        };
        let record = Record { seq: 0, at, body: RecordBody::RunCreated(Box::new(created)) };
        let copy = self.bus.has_listeners().then(|| record.clone());
        let notify = self.created_notifier(id, copy);
        let mut ops = vec![Op::RunInsert { row: row.clone(), idempotency: key, created: None }];
        ops.extend(gate.map(|gate| gate.op(id)));
        ops.extend(firing.map(|firing| Op::TriggerFire(Firing { run: Some(id), ..firing })));
        if let Some(who) = who {
            let deed = Deed::new(Action::RunStart, "run", id)
                .with(serde_json::json!({ "workflow": row.name, "definition": row.definition.to_string() }));
            ops.push(Op::Audit(Box::new(deed.by(who, at))));
        }
        let (runtime, kept) = (self.clone(), Box::new(record.clone()));
        let submitted = self.store.submit(Batch {
            run: id,
            records: vec![record],
            ops,
            ack: Box::new(move |result| {
                match &result {
                    Ok(first) => {
                        notify(*first);
                        runtime.entered(id, Source::New(*first, kept));
                    }
                    Err(_) => runtime.leave_gate(id),
                }
                done(result.map(|_| ()));
            }),
        });
        if let Err(error) = submitted {
            self.leave_gate(id);
            return Err(error);
        }
        Ok((row, inputs))
    }

    /// The gate that a run has to pass, when its workflow says how many there may be.
    pub(super) fn gate_of(
        &self,
        program: &Arc<Program>,
        workflow: WorkflowId,
        run: RunId,
        inputs: &Value,
    ) -> Result<Option<GateSpec>> {
        let Some(concurrency) = program.concurrency.as_ref().filter(|one| one.max != usize::MAX) else {
            return Ok(None);
        };
        let seed = *blake3::hash(run.as_bytes()).as_bytes();
        let volatile = Volatile { now: self.env.now(), seed };
        let (mode, max) = (concurrency.mode, concurrency.max);
        if !concurrency.has_key() {
            return Ok(Some(GateSpec { name: concurrency.gate(workflow, inputs, &volatile)?, mode, max }));
        }
        let what = format!("`concurrency.key` of `{}`", program.name);
        let (of, inputs) = (program.clone(), inputs.clone());
        let name = self.evaluated(program.hash, &what, move || match &of.concurrency {
            Some(concurrency) => concurrency.gate(workflow, &inputs, &volatile),
            None => Ok(workflow.to_string()),
        })?;
        Ok(Some(GateSpec { name, mode, max }))
    }

    /// A run is on disk: it asks for a permit, or waits at its gate. `source` serves when it may begin at once.
    pub(super) fn entered(self: &Arc<Self>, run: RunId, source: Source) {
        crate::fault!("run.entered");
        let mut moves = self.gates.stored(run);
        let count = moves.admit.len();
        moves.admit.retain(|other| *other != run);
        if moves.admit.len() < count {
            self.admit(run, source);
        }
        self.make(moves);
    }

    /// A run is over, or was never made.
    pub(super) fn leave_gate(self: &Arc<Self>, run: RunId) {
        let admit = self.gates.leave(run);
        self.make(Moves { admit, oust: Vec::new() });
    }

    pub(super) fn make(self: &Arc<Self>, moves: Moves) {
        for run in moves.admit {
            match self.gates.let_go(run) {
                true => self.deliver(run, Mail::Input(Input::Unpause)),
                false => self.admit(run, Source::Queue),
            }
        }
        for run in moves.oust {
            self.deliver(run, Mail::Input(Input::Cancel { reason: OUSTED.to_owned() }));
        }
    }
}

/// Why a run may not begin whose workflow is `single`.
pub(super) fn no_room(name: &str, taken: &Taken) -> Error {
    let message = format!("`{name}` runs already (run {}), and its `concurrency` is `single`", taken.0);
    Error::new(&run_code::CONCURRENCY, message).help("wait for that run to end, or cancel it")
}

impl GateSpec {
    /// The row that keeps the run's place.
    pub(super) fn op(self, run: RunId) -> Op {
        let ousts = self.mode == crate::model::ConcurrencyMode::Restart;
        Op::GateEnter { run, gate: self.name, max: self.max, ousts }
    }
}

/// What a batch's children found at the gates of their workflows.
#[derive(Default)]
pub(super) struct Children {
    entered: Vec<RunId>,
    refused: Vec<(RunId, String)>,
    admit: Vec<RunId>,
}

impl Runtime {
    /// Children that a batch makes pass the gates of their workflows, before it goes to the writer. A child whose workflow is
    /// `single` and runs already, or whose key cannot be told, is cancelled: its parent's step fails with the reason.
    pub(super) fn enter_children(&self, ops: &mut Vec<Op>) -> Children {
        let mut children = Children::default();
        let mut places = Vec::new();
        for op in ops.iter() {
            let Op::RunInsert { row, created: Some(created), .. } = op else { continue };
            let RecordBody::RunCreated(created) = &created.body else { continue };
            let gate = self
                .programs
                .get(row.definition)
                .and_then(|program| self.gate_of(&program, row.workflow, row.id, &created.inputs));
            let refusal = match gate {
                Ok(None) => continue,
                Ok(Some(gate)) => match self.gates.enter(row.id, &gate) {
                    Ok(admit) => {
                        children.entered.push(row.id);
                        children.admit.extend(admit);
                        places.push(gate.op(row.id));
                        continue;
                    }
                    Err(taken) => format!("`{}` runs already (run {}) and is `single`", row.name, taken.0),
                },
                Err(error) => error.to_string(),
            };
            // It is made and cancelled in one transaction, so it ends also when the process does.
            places.push(Op::TimerSet { run: row.id, seq: CANCEL_TIMER_SEQ, due: row.created_at });
            children.refused.push((row.id, refusal));
        }
        ops.extend(places);
        children
    }

    /// The batch is on disk. Before its commands are carried out, so that a refused child ends before it begins.
    pub(super) fn children_made(self: &Arc<Self>, children: Children) {
        self.make(Moves { admit: children.admit, oust: Vec::new() });
        for (run, reason) in children.refused {
            log::warn!("run {run} is cancelled before it begins: {reason}");
            self.deliver(run, Mail::Input(Input::Cancel { reason }));
        }
    }

    /// It never will be.
    pub(super) fn children_lost(self: &Arc<Self>, children: Children) {
        self.make(Moves { admit: children.admit, oust: Vec::new() });
        children.entered.into_iter().for_each(|child| self.leave_gate(child));
    }
}
