//! The state of a run as its records make it, over the definition that its first record names. For I7.
//!
//! A run whose definition is not there, or is none by the rules of this version, is not folded: whoever takes it up says so.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::Connection;

use crate::engine::{Program, RunState, compile};
use crate::error::{Error, Result};
use crate::id::{DefinitionHash, RunId};
use crate::model::{Record, RecordBody, RunStatus};
use crate::port::Scope;
use crate::store::problem;
use crate::store::sqlite::workflow;
use crate::validate;

/// Compiled definitions kept; one is some tens of kilobytes.
const PROGRAMS_MAX: usize = 256;

/// Definitions by their hash; `None` for one that cannot be had.
#[derive(Default)]
pub struct Programs(HashMap<DefinitionHash, Option<Arc<Program>>>);

impl Programs {
    fn get(&mut self, conn: &Connection, hash: DefinitionHash) -> Result<Option<Arc<Program>>> {
        if let Some(known) = self.0.get(&hash) {
            return Ok(known.clone());
        }
        let source = workflow::source(conn, &Scope::All, hash).map_err(problem::read)?;
        let program = source.and_then(|source| {
            let definition = validate::check(&source).definition?;
            compile(&definition, &source).ok().map(Arc::new)
        });
        if self.0.len() >= PROGRAMS_MAX {
            self.0.clear();
        }
        self.0.insert(hash, program.clone());
        Ok(program)
    }
}

/// How far a run is folded.
#[derive(Default)]
pub struct Folded(Option<Box<RunState>>);

impl Folded {
    /// Takes one more record. The inner error: the journal does not fold, which is said once.
    pub fn take(
        &mut self,
        conn: &Connection,
        programs: &mut Programs,
        run: RunId,
        record: &Record,
    ) -> Result<std::result::Result<(), Error>> {
        if let RecordBody::RunCreated(created) = &record.body
            && record.seq == 0
        {
            let Some(program) = programs.get(conn, created.definition)? else { return Ok(Ok(())) };
            return Ok(RunState::begin(run, program, record).map(|state| self.0 = Some(Box::new(state))));
        }
        let Some(mut state) = self.0.take() else { return Ok(Ok(())) };
        Ok(state.apply(record).map(|()| self.0 = Some(state)))
    }

    /// Where the run stands; `None` when it was not folded.
    pub fn status(&self) -> Option<RunStatus> {
        self.0.as_ref().map(|state| state.status)
    }
}
