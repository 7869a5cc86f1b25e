//! The keeper: a thread that has the store tidied in idle time, and looks whether a full disk has room again.
//!
//! Invariants: one piece of upkeep at a time, each bounded, so that commits of work never wait long; an error of upkeep is
//! logged and tried again later, and stops nobody.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::code::general;
use crate::error::{Error, Result};
use crate::id::{DefinitionHash, WorkflowId};
use crate::limits;
use crate::port::upkeep::{Keep, Retention, Room, Tidied, Upkeep};

use super::core::Runtime;

/// Between two pieces when there is more to do: others shall have the disk as well.
const PAUSE: Duration = Duration::from_millis(2);

/// The thread's side of things.
pub(super) struct Keeper {
    rules: Mutex<Retention>,
    is_closed: Mutex<bool>,
    closed: Condvar,
}

impl Keeper {
    pub(super) fn new(rules: Retention) -> Self {
        Self { rules: Mutex::new(rules), is_closed: Mutex::new(false), closed: Condvar::new() }
    }

    pub(super) fn close(&self) {
        *self.is_closed.lock() = true;
        self.closed.notify_all();
    }

    /// Other rules from the next piece on.
    pub(super) fn set_rules(&self, rules: Retention) {
        *self.rules.lock() = rules;
    }

    /// Waits; false when it is to end.
    fn wait(&self, time: Duration) -> bool {
        let mut is_closed = self.is_closed.lock();
        if !*is_closed {
            self.closed.wait_for(&mut is_closed, time);
        }
        !*is_closed
    }
}

impl Runtime {
    pub(super) fn spawn_keeper(self: &Arc<Self>) -> Result<()> {
        if self.keeper.is_none() {
            return Ok(());
        }
        let runtime = self.clone();
        let thread = std::thread::Builder::new()
            .name("cb-keeper".to_owned())
            .spawn(move || runtime.keep_house())
            .map_err(|error| Error::new(&general::INTERNAL, "no thread can be started").because(error))?;
        // Joined by `stop`.
        self.threads.lock().push(thread);
        Ok(())
    }

    fn keep_house(&self) {
        let Some(keeper) = &self.keeper else { return };
        let look = Duration::from_secs(limits::UPKEEP_LOOK_S);
        // Not at once: a start has better things to do.
        let mut pause = look;
        let mut round = Tidied::default();
        while keeper.wait(pause) && self.failure().is_none() {
            let room = self.look_for_room();
            let keep = |workflow| self.keep_of(workflow);
            let upkeep = Upkeep { now: self.env.now(), rules: *keeper.rules.lock(), keep: &keep };
            pause = match self.store.tidy(&upkeep) {
                Ok(done) => {
                    add(&mut round, done);
                    if done.more { PAUSE } else { look }
                }
                Err(error) => {
                    match room {
                        // That is said once, where it is found.
                        Room::None => log::debug!("upkeep: {error}"),
                        _ => log::warn!("upkeep of the database failed and is tried again: {error}"),
                    }
                    look
                }
            };
            if pause == look {
                told(&std::mem::take(&mut round));
            }
        }
    }

    /// What the current version of a workflow's definition says.
    fn keep_of(&self, workflow: WorkflowId) -> Keep {
        match self
            .current_hash(workflow)
            .and_then(|hash| hash.map(|hash| self.programs.get(hash).map(|program| program.keep)).transpose())
        {
            Ok(keep) => keep.map_or_else(Keep::default, |keep| Keep {
                completed: keep.completed,
                failed: keep.failed,
                runs_max: keep.max_runs,
            }),
            Err(error) => {
                log::warn!(
                    "`keep` of workflow {workflow} cannot be read, so the configuration counts: {error}"
                );
                Keep::default()
            }
        }
    }

    /// From memory when it is known there: upkeep asks for every workflow again and again.
    fn current_hash(&self, workflow: WorkflowId) -> Result<Option<DefinitionHash>> {
        let reference = workflow.to_string();
        if let Some(head) = self.heads.find(&reference) {
            return Ok(Some(head.hash));
        }
        let before = self.heads.before();
        let stored = self.store.workflow(workflow)?;
        // What is kept there can be started, and a deleted one cannot.
        if let Some(stored) = stored.as_ref().filter(|stored| stored.deleted_at.is_none()) {
            self.heads.keep(before, &reference, stored);
        }
        Ok(stored.map(|stored| stored.hash))
    }

    fn look_for_room(&self) -> Room {
        self.store.restore_room().unwrap_or_else(|error| {
            log::warn!("{error}");
            self.store.room()
        })
    }
}

fn add(round: &mut Tidied, done: Tidied) {
    round.archived += done.archived;
    round.deleted += done.deleted;
    round.keys += done.keys;
    round.workflows += done.workflows;
    round.pages += done.pages;
}

fn told(round: &Tidied) {
    if *round != Tidied::default() {
        log::info!(
            "upkeep: {} runs archived, {} deleted, {} keys and {} workflows removed, {} pages given back",
            round.archived,
            round.deleted,
            round.keys,
            round.workflows,
            round.pages
        );
    }
}
