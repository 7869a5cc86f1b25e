//! Backups while the engine works: when somebody asks, and by schedule; one at a time, on a thread of its own.
//!
//! ```text
//! order (API) ──┐
//!               ├──► thread ──► store::backup ──► shelf ──► rotation (scheduled ones only)
//! schedule ─────┘                    └── failed: health, event, next try in an hour
//! ```
//!
//! Invariants: a backup that failed is told (health, event, log) until one succeeds; rotation deletes only after a success, and
//! only what the schedule made. What a backup is, and how it is made, is the store's.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use serde_json::json;

use crate::env::Env;
use crate::error::code::{backup as code, general};
use crate::error::{Error, Result};
use crate::id::SafeName;
use crate::limits;
use crate::port::{Action, Batch, EventBus, Op, Store};
use crate::runtime::{Component, Deed, Who, announce};
use crate::schedule::Schedule;
use crate::store::SqliteStore;
use crate::store::backup::{Kind, Manifest, Order, Progress, Shelf};
use crate::time::Timestamp;

#[cfg(test)]
mod tests;

/// When, and how many.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// `None`: only when somebody asks.
    pub schedule: Option<Schedule>,
    /// Of those that the schedule made.
    pub keep: usize,
}

/// What a keeper needs.
pub struct Options {
    /// What is backed up.
    pub store: Arc<SqliteStore>,
    /// Where to.
    pub shelf: Shelf,
    /// When.
    pub plan: Plan,
    /// Clock.
    pub env: Env,
    /// Told of each backup.
    pub bus: Option<Arc<dyn EventBus>>,
}

/// Makes backups. Closed by [`Backups::close`], which joins its thread.
pub struct Backups {
    store: Arc<SqliteStore>,
    shelf: Shelf,
    env: Env,
    bus: Option<Arc<dyn EventBus>>,
    /// A plain lock, held for some instructions; never while a backup is made.
    desk: Mutex<Desk>,
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Desk {
    plan: Plan,
    /// When the schedule's next one is due.
    due: Option<Timestamp>,
    ordered: Option<Ordered>,
    progress: Progress,
    /// The last one that failed, until one succeeds.
    failed: Option<Failed>,
    /// When the newest whole one was begun.
    last: Option<Timestamp>,
    is_closing: bool,
}

#[derive(Clone)]
struct Ordered {
    name: SafeName,
    kind: Kind,
    at: Timestamp,
    /// Who asked for it.
    who: Option<Who>,
}

/// A backup that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// What it was to be called.
    pub name: SafeName,
    /// Why it was made.
    pub kind: Kind,
    /// When it was begun.
    pub at: Timestamp,
    /// Its error's code.
    pub code: &'static str,
    /// What went wrong, and the remedy.
    pub message: String,
}

/// A backup, in whatever state.
pub enum Backup {
    /// Being made.
    UnderWay {
        /// Its name.
        name: SafeName,
        /// Why it is made.
        kind: Kind,
        /// Since when.
        at: Timestamp,
        /// How far it is.
        progress: Progress,
    },
    /// Whole.
    Made(Box<Manifest>),
    /// A folder on the shelf that is none.
    Unreadable(SafeName, Error),
    /// It could not be made.
    Failed(Failed),
}

impl Backup {
    /// Its name.
    pub fn name(&self) -> &SafeName {
        match self {
            Self::UnderWay { name, .. } | Self::Unreadable(name, _) => name,
            Self::Made(manifest) => &manifest.name,
            Self::Failed(failed) => &failed.name,
        }
    }

    /// Of when it is, where that is known.
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Self::UnderWay { at, .. } => Some(*at),
            Self::Made(manifest) => Some(manifest.created_at),
            Self::Failed(failed) => Some(failed.at),
            Self::Unreadable(..) => None,
        }
    }

    /// Length of the copy, of one that is whole.
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Self::Made(manifest) => Some(manifest.database.bytes),
            _ => None,
        }
    }
}

impl Backups {
    /// Looks at the shelf, and starts the thread.
    pub fn start(options: Options) -> Result<Arc<Self>> {
        let backups = Self::idle(options)?;
        let of_thread = backups.clone();
        let thread = std::thread::Builder::new()
            .name("cb-backup".to_owned())
            .spawn(move || of_thread.run())
            .map_err(|error| Error::new(&general::INTERNAL, "no thread for backups").because(error))?;
        *backups.thread.lock() = Some(thread);
        Ok(backups)
    }

    /// Without a thread: whoever calls does the work.
    fn idle(options: Options) -> Result<Arc<Self>> {
        let Options { store, shelf, plan, env, bus } = options;
        if let Err(error) = shelf.sweep() {
            log::warn!("what an interrupted backup left stays: {error}");
        }
        let due = next_due(&plan, &shelf, env.now())?;
        // A shelf that does not read is told when it is used; it must not keep the module from starting.
        let made = shelf.entries().unwrap_or_default().into_iter().filter_map(|entry| entry.manifest.ok());
        let last = made.map(|manifest| manifest.created_at).max();
        let progress = Progress::default();
        let desk = Desk { plan, due, ordered: None, progress, failed: None, last, is_closing: false };
        Ok(Arc::new(Self {
            store,
            shelf,
            env,
            bus,
            desk: Mutex::new(desk),
            changed: Condvar::new(),
            thread: Mutex::default(),
        }))
    }

    /// Orders a backup; its name. CB-0855 while one is made, CB-0851 when the name is taken.
    pub fn order(&self, name: Option<SafeName>, who: Option<Who>) -> Result<SafeName> {
        let at = self.env.now();
        let name = name.unwrap_or_else(|| self.shelf.free_name("", at));
        if self.shelf.path(&name).exists() {
            return Err(Error::new(&code::EXISTS, format!("there is a backup `{name}`"))
                .help("give another name, or leave it out"));
        }
        let mut desk = self.desk.lock();
        if desk.is_closing {
            return Err(Error::new(&general::STOPPING, "ChainBot is stopping"));
        }
        if let Some(other) = &desk.ordered {
            return Err(Error::new(&code::UNDER_WAY, format!("the backup `{}` is being made", other.name))
                .help("wait until it is done; GET /api/chainbot/backups shows how far it is"));
        }
        desk.ordered = Some(Ordered { name: name.clone(), kind: Kind::Manual, at, who });
        desk.progress = Progress::default();
        drop(desk);
        self.changed.notify_all();
        Ok(name)
    }

    /// All there are, newest first; one that is being made before them, and the last one that failed.
    pub fn list(&self) -> Result<Vec<Backup>> {
        let mut all = self.passing();
        all.extend(self.shelf.entries()?.into_iter().map(|entry| match entry.manifest {
            Ok(manifest) => Backup::Made(Box::new(Manifest { name: entry.name, ..manifest })),
            Err(error) => Backup::Unreadable(entry.name, error),
        }));
        Ok(all)
    }

    /// One of them. CB-0850.
    pub fn find(&self, name: &SafeName) -> Result<Backup> {
        let passing = self.passing().into_iter().find(|one| match one {
            Backup::UnderWay { name: of, .. } => of == name,
            Backup::Failed(failed) => failed.name == *name,
            _ => false,
        });
        if let Some(backup) = passing {
            return Ok(backup);
        }
        let path = self.shelf.path(name);
        if !path.exists() {
            return Err(Error::new(&code::NOT_FOUND, format!("there is no backup `{name}`"))
                .help("GET /api/chainbot/backups lists them"));
        }
        Ok(match Manifest::read(&path) {
            Ok(manifest) => Backup::Made(Box::new(Manifest { name: name.clone(), ..manifest })),
            Err(error) => Backup::Unreadable(name.clone(), error),
        })
    }

    fn passing(&self) -> Vec<Backup> {
        let desk = self.desk.lock();
        let under_way = desk.ordered.as_ref().map(|one| Backup::UnderWay {
            name: one.name.clone(),
            kind: one.kind,
            at: one.at,
            progress: desk.progress,
        });
        under_way.into_iter().chain(desk.failed.clone().map(Backup::Failed)).collect()
    }

    /// How well it goes: less than well from a failure to the next success.
    pub fn component(&self) -> Component {
        match &self.desk.lock().failed {
            None => Component::new(1.0, None),
            Some(failed) => {
                let reason = format!("the backup of {} failed: {}", failed.at, failed.message);
                Component::new(0.7, Some(reason))
            }
        }
    }

    /// When the newest whole backup was begun.
    pub fn last_success(&self) -> Option<Timestamp> {
        self.desk.lock().last
    }

    /// Another plan from here on.
    pub fn set_plan(&self, plan: Plan) -> Result<()> {
        let due = next_due(&plan, &self.shelf, self.env.now())?;
        let mut desk = self.desk.lock();
        (desk.plan, desk.due) = (plan, due);
        Ok(())
    }

    /// Ends a backup under way, of which nothing stays, and the thread.
    pub fn close(&self) {
        self.desk.lock().is_closing = true;
        self.changed.notify_all();
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread of backups ended with a panic");
        }
    }

    fn run(&self) {
        loop {
            {
                let mut desk = self.desk.lock();
                if !desk.is_closing && desk.ordered.is_none() {
                    // The first look at the schedule comes after a while too: a start has better things to do.
                    self.changed.wait_for(&mut desk, Duration::from_secs(limits::BACKUP_LOOK_S));
                }
                if desk.is_closing {
                    return;
                }
            }
            self.look();
        }
    }

    /// Makes what is ordered or due.
    fn look(&self) {
        let now = self.env.now();
        let ordered = {
            let mut desk = self.desk.lock();
            if desk.ordered.is_none() {
                // A clock that was set back must not put the next one off by years.
                let next = desk.plan.schedule.as_ref().and_then(|schedule| schedule.next(now));
                desk.due = desk.due.map(|due| next.map_or(due, |next| due.min(next)));
                if desk.due.is_some_and(|due| due <= now) {
                    let name = self.shelf.free_name("auto-", now);
                    desk.ordered = Some(Ordered { name, kind: Kind::Scheduled, at: now, who: None });
                    desk.progress = Progress::default();
                }
            }
            desk.ordered.clone()
        };
        let Some(ordered) = ordered else { return };
        let made = self.make(&ordered);
        self.done(&ordered, made);
    }

    fn make(&self, ordered: &Ordered) -> Result<Manifest> {
        let order = Order { name: &ordered.name, kind: ordered.kind, at: ordered.at };
        let mut on = |progress| {
            let mut desk = self.desk.lock();
            desk.progress = progress;
            match desk.is_closing {
                true => Err(Error::new(&general::STOPPING, "ChainBot stopped before the backup was whole")),
                false => Ok(()),
            }
        };
        self.store.backup(&self.shelf, &order, &mut on)
    }

    fn done(&self, ordered: &Ordered, made: Result<Manifest>) {
        let mut desk = self.desk.lock();
        desk.ordered = None;
        if ordered.kind == Kind::Scheduled {
            let now = self.env.now();
            let next = desk.plan.schedule.as_ref().and_then(|schedule| schedule.next(now));
            let again = now.after(Duration::from_secs(limits::BACKUP_RETRY_S));
            desk.due = if made.is_ok() { next } else { Some(next.map_or(again, |next| next.min(again))) };
        }
        let (topic, data) = match &made {
            Ok(manifest) => {
                desk.failed = None;
                desk.last = Some(ordered.at);
                log::info!("the backup `{}` is made: {} bytes", ordered.name, manifest.database.bytes);
                let data = json!({ "name": ordered.name, "kind": ordered.kind, "bytes": manifest.database.bytes,
                    "content": manifest.content });
                ("chainbot.backup.completed", data)
            }
            Err(error) => {
                log::error!("the backup `{}` failed: {error:?}", ordered.name);
                let message = match error.remedy() {
                    Some(remedy) => format!("{}; {remedy}", error.message()),
                    None => error.message().to_owned(),
                };
                let data = json!({ "name": ordered.name, "kind": ordered.kind, "code": error.code().id,
                    "error": message });
                desk.failed = Some(Failed {
                    name: ordered.name.clone(),
                    kind: ordered.kind,
                    at: ordered.at,
                    code: error.code().id,
                    message,
                });
                ("chainbot.backup.failed", data)
            }
        };
        let keep = desk.plan.keep;
        drop(desk);
        self.write_down(ordered, made.is_ok());
        announce(self.bus.as_deref(), &self.env, topic, &data);
        if made.is_ok() && ordered.kind == Kind::Scheduled {
            match self.shelf.prune(Kind::Scheduled, keep) {
                Ok(gone) if gone.is_empty() => {}
                Ok(gone) => log::info!("{} old backups are deleted", gone.len()),
                Err(error) => log::warn!("old backups stay: {error}"),
            }
        }
    }
}

impl Backups {
    /// That somebody asked for it, and what came of it.
    fn write_down(&self, ordered: &Ordered, is_made: bool) {
        let Some(who) = ordered.who.clone() else { return };
        let deed = Deed::new(Action::BackupMake, "backup", &ordered.name).with(json!({ "made": is_made }));
        let told = self.store.submit(Batch {
            run: [0; 16].into(),
            records: Vec::new(),
            ops: vec![Op::Audit(Box::new(deed.by(who, self.env.now())))],
            ack: Box::new(|result| {
                if let Err(error) = result {
                    log::error!("that a backup was made is not in the audit log: {error}");
                }
            }),
        });
        if let Err(error) = told {
            log::error!("that a backup was made is not in the audit log: {error}");
        }
    }
}

/// When the schedule's next one is due: at once, when the machine was off at its last time.
fn next_due(plan: &Plan, shelf: &Shelf, now: Timestamp) -> Result<Option<Timestamp>> {
    let Some(schedule) = &plan.schedule else { return Ok(None) };
    let scheduled = shelf.entries()?.into_iter().filter_map(|entry| entry.manifest.ok());
    let last = scheduled
        .filter(|manifest| manifest.kind == Kind::Scheduled)
        .map(|manifest| manifest.created_at)
        .max();
    Ok(schedule.next(last.map_or(now, |last| last.min(now))))
}
