//! The events of a record, made once however many listen: a ring of the newest records.
//!
//! A listener that is far behind makes its own and disturbs nobody: a place in the ring belongs to the newer record. Locks are
//! held while a record's events are made, so that two listeners do not make them twice, and never over an await.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::event::{Event, Head, of_record};
use crate::http::backend::Backend;
use crate::id::{Lsn, RunId};
use crate::limits::{EVENT_RUNS_MAX, EVENTS_READY_MAX};
use crate::model::RecordBody;
use crate::model::event::Committed;

/// The events of one record.
pub type Group = Arc<[Event]>;

/// A record's place, and its events.
type Ready = (Lsn, Group);

/// Those that are held ready.
pub struct Groups {
    ring: Box<[Mutex<Option<Ready>>]>,
    heads: Mutex<HashMap<RunId, Option<Arc<Head>>>>,
}

impl Default for Groups {
    fn default() -> Self {
        Self { ring: (0..EVENTS_READY_MAX).map(|_| Mutex::default()).collect(), heads: Mutex::default() }
    }
}

impl Groups {
    /// The events of a record.
    pub async fn of(&self, backend: &dyn Backend, committed: &Committed) -> Group {
        let place = &self.ring[committed.lsn.0.unsigned_abs() as usize % self.ring.len()];
        if let Some((lsn, group)) = &*place.lock()
            && *lsn == committed.lsn
        {
            return group.clone();
        }
        let head = self.head(backend, committed).await;
        let mut held = place.lock();
        match &*held {
            Some((lsn, group)) if *lsn == committed.lsn => group.clone(),
            Some((lsn, _)) if *lsn > committed.lsn => of_record(backend, head.as_deref(), committed).into(),
            _ => {
                let group: Group = of_record(backend, head.as_deref(), committed).into();
                *held = Some((committed.lsn, group.clone()));
                group
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.ring.iter().for_each(|place| *place.lock() = None);
        self.heads.lock().clear();
    }

    /// Whose the run is; `None` when it is not kept any more.
    async fn head(&self, backend: &dyn Backend, committed: &Committed) -> Option<Arc<Head>> {
        if let Some(head) = self.heads.lock().get(&committed.run) {
            return head.clone();
        }
        let head = match &committed.record.body {
            RecordBody::RunCreated(created) => {
                Some(Head { workflow_id: created.workflow.to_string(), workflow: created.name.clone() })
            }
            _ => match backend.run(committed.run).await {
                Ok(run) => {
                    Some(Head { workflow_id: run.workflow_id.to_string(), workflow: run.workflow_name })
                }
                // Deleted meanwhile, or out of reach: its records are told all the same.
                Err(error) => {
                    log::debug!(target: "chainbot::http", "events of run {}: {error}", committed.run);
                    None
                }
            },
        };
        let head = head.map(Arc::new);
        let mut heads = self.heads.lock();
        if heads.len() >= EVENT_RUNS_MAX {
            heads.clear();
        }
        heads.insert(committed.run, head.clone());
        head
    }
}
