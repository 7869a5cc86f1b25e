//! A listener's side of the bus: every committed record after a cursor, in order, without holes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::id::{Lsn, RunId, WorkflowId};
use crate::model::event::Committed;

use super::bus::Note;
use super::handle::Handle;

/// Records read from the journal at once.
const PAGE: u32 = 512;
/// Runs whose workflow a listener remembers, so that a record costs no look at the disk; 32 bytes each.
const RUNS_KNOWN_MAX: usize = 1_024;

/// Committed records as they come, after those missed since a cursor.
pub struct Subscription {
    /// For whom: what is not there for them is passed by.
    handle: Handle,
    receiver: Receiver<Note>,
    /// Everything up to here was given out or is in `read`.
    seen: Lsn,
    read: VecDeque<Arc<Committed>>,
    /// Everything up to here was given out or passed by.
    passed: Lsn,
    /// Of which workflows the runs were that came by.
    workflows: HashMap<RunId, WorkflowId>,
    /// The journal has records after `seen` that do not come through the receiver.
    is_behind: bool,
}

/// Records cannot be read; the listener should come again with its last cursor.
#[derive(Clone, Copy, Debug)]
pub struct Gap;

impl Subscription {
    pub(super) fn new(handle: Handle, receiver: Receiver<Note>, from: Lsn) -> Self {
        Self {
            handle,
            receiver,
            seen: from,
            read: VecDeque::new(),
            passed: from,
            workflows: HashMap::new(),
            is_behind: true,
        }
    }

    /// The next record. `None` when the runtime stops. `Some(Err(gap))` when the journal cannot be read: subscribe again from the
    /// last cursor seen. Safe to drop and call again.
    pub async fn next(&mut self) -> Option<Result<Arc<Committed>, Gap>> {
        loop {
            if let Some(next) = self.read.front().cloned() {
                // It stays in the queue until it is known whose it is: this future may be dropped meanwhile.
                let Ok(is_theirs) = self.is_theirs(&next).await else { return Some(Err(Gap)) };
                self.read.pop_front();
                (self.seen, self.passed) = (self.seen.max(next.lsn), next.lsn);
                if is_theirs {
                    return Some(Ok(next));
                }
                // A backlog that is nobody's here never waits.
                tokio::task::consume_budget().await;
                continue;
            }
            if self.is_behind {
                if self.catch_up().await.is_err() {
                    return Some(Err(Gap));
                }
                continue;
            }
            match self.receiver.recv().await {
                Ok(Note::Record(next)) if next.lsn > self.seen => {
                    self.seen = next.lsn;
                    self.read.push_back(next);
                    continue;
                }
                Ok(Note::Record(_)) => {}
                Ok(Note::Uncopied(lsn)) => self.is_behind = lsn > self.seen,
                Err(RecvError::Lagged(missed)) => {
                    self.handle.0.meters.bus_gaps.add(missed);
                    self.is_behind = true;
                }
                Err(RecvError::Closed) => return None,
            }
            if self.handle.0.is_over() {
                return None;
            }
        }
    }

    /// Everything up to here was given out, or is not for them.
    pub fn passed(&self) -> Lsn {
        self.passed
    }

    async fn is_theirs(&mut self, next: &Committed) -> Result<bool, Gap> {
        let (scope, run) = (self.handle.scope(), next.run);
        if scope.is_whole() {
            return Ok(true);
        }
        let known = self.workflows.get(&run).copied();
        // Whose a workflow is may change under an open stream; of which workflow a run is, does not.
        if let Some(of) = known.and_then(|workflow| self.handle.0.heads.possession(workflow)) {
            return Ok(of.is_some_and(|of| scope.sees(&of)));
        }
        let looked = self.handle.0.read(move |runtime| {
            let workflow = known.map_or_else(|| runtime.workflow_of_run(run), |known| Ok(Some(known)))?;
            let sees = workflow.map_or(Ok(false), |workflow| runtime.sees_workflow(&scope, workflow))?;
            Ok((workflow, sees))
        });
        let (workflow, sees) = looked.await.map_err(|error| {
            log::error!("it cannot be told whose run {run} is: {error}");
            Gap
        })?;
        if let Some(workflow) = workflow {
            if self.workflows.len() >= RUNS_KNOWN_MAX {
                self.workflows.clear();
            }
            self.workflows.insert(run, workflow);
        }
        Ok(sees)
    }

    async fn catch_up(&mut self) -> Result<(), Gap> {
        let from = self.seen;
        let page = self.handle.0.read(move |runtime| runtime.store.journal_after(from, PAGE)).await;
        let page = page.map_err(|error| {
            log::error!("a listener cannot be told what it missed: {error}");
            Gap
        })?;
        self.is_behind = page.len() == PAGE as usize;
        self.read.extend(page.into_iter().map(Arc::new));
        Ok(())
    }
}
