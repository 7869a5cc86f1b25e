//! A run as it stood at any of its records: the fold that recovery uses, stopped earlier.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::engine::{RunState, view};
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::model::{RunStatus, StepError, StepView};
use crate::port::Scope;
use crate::time::Timestamp;

use super::core::Runtime;
use super::handle::Handle;

/// A run as it stood after one of its records.
#[derive(Clone, Debug)]
pub struct StateView {
    /// Which run.
    pub run: RunId,
    /// The record.
    pub seq: u32,
    /// The run's newest record.
    pub last_seq: u32,
    /// When that record was decided.
    pub at: Timestamp,
    /// Where the run stood.
    pub status: RunStatus,
    /// With defaults filled in.
    pub inputs: Value,
    /// Its variables then.
    pub variables: BTreeMap<String, Value>,
    /// The result, when it had one.
    pub output: Option<Value>,
    /// Why it had failed.
    pub error: Option<StepError>,
    /// What it waited for, in words.
    pub waiting_for: Option<String>,
    /// Steps that had a record.
    pub steps: Vec<StepView>,
}

impl Handle {
    /// A run as it stood after its record `at`; `None` = as it stands.
    pub async fn state_at(&self, id: RunId, at: Option<u32>) -> Result<StateView> {
        let scope = self.1;
        self.0
            .read(move |runtime| {
                let (stored, lsns) = runtime.places(&scope, id)?;
                let last_seq = u32::try_from(lsns.len()).unwrap_or(u32::MAX).saturating_sub(1);
                let seq = place_of(at, last_seq)?;
                let records = runtime.store.records(&scope, id, &lsns[..=seq as usize])?;
                let program = runtime.programs.get(stored.row.definition)?;
                let records = || records.iter().map(|(_, record)| record);
                let steps = view::steps(&program, records());
                let state = RunState::fold(id, program, records())?;
                Ok(shown(&state, seq, last_seq, steps))
            })
            .await
    }
}

impl Runtime {
    /// A run as it stood after its record `at`, or as it stands.
    pub(super) fn stood(&self, scope: &Scope, id: RunId, at: Option<u32>) -> Result<RunState> {
        let (stored, lsns) = self.places(scope, id)?;
        let last_seq = u32::try_from(lsns.len()).unwrap_or(u32::MAX).saturating_sub(1);
        let seq = place_of(at, last_seq)?;
        let records = self.store.records(scope, id, &lsns[..=seq as usize])?;
        let program = self.programs.get(stored.row.definition)?;
        RunState::fold(id, program, records.iter().map(|(_, record)| record))
    }
}

/// The record after which a run is looked at.
fn place_of(at: Option<u32>, last_seq: u32) -> Result<u32> {
    let seq = at.unwrap_or(last_seq);
    if seq <= last_seq {
        return Ok(seq);
    }
    let message = format!("`at` is {seq}, the run's newest record is {last_seq}");
    Err(Error::new(&general::QUERY, message).help(format!("take 0 to {last_seq}")))
}

fn shown(state: &RunState, seq: u32, last_seq: u32, steps: Vec<StepView>) -> StateView {
    let waiting_for = state.waiting_for().filter(|_| !state.status.is_terminal());
    let status = match state.status {
        RunStatus::Running if state.is_idle() && waiting_for.is_some() => RunStatus::Waiting,
        status => status,
    };
    StateView {
        run: state.id,
        seq,
        last_seq,
        at: state.last_at,
        status,
        inputs: (**state.inputs.json()).clone(),
        variables: state.vars.iter().map(|(name, data)| (name.clone(), (**data.json()).clone())).collect(),
        output: state.output.as_ref().map(|data| (**data.json()).clone()),
        error: state.error.clone(),
        waiting_for,
        steps,
    }
}
