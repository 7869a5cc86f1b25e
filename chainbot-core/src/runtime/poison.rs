//! Poison: a step whose evaluation ends the process. Noted before the step's first evaluation in this process, cleared
//! after it; a note found at start, twice for one run, holds that run instead of dying with it again and again. The note
//! counts once; from then on the open question to a person says that the run is held, over any number of restarts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::id::{NodeId, RunId};
use crate::model::Place;
use crate::port::{InboxKind, StoredQuestion};
use crate::store::note::{Note, NoteFile};

/// Times that a process may end in the same step of the same run.
const DEATHS_MAX: u32 = 2;
/// Runs and steps remembered as harmless. Forgetting them costs a write for each next evaluation.
const PROVEN_MAX: usize = 65_536;

/// The notes. Cheap to clone.
#[derive(Clone)]
pub(super) struct Poison {
    file: Option<Arc<NoteFile>>,
    inner: Arc<Inner>,
}

/// A run that waits for a person because processes died over it.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) run: RunId,
    /// Its step.
    pub(super) node: NodeId,
    /// In words.
    pub(super) reason: String,
}

impl Held {
    /// As its open question says.
    pub(super) fn of(question: &StoredQuestion) -> Option<Self> {
        if question.kind != InboxKind::Poison.as_str() {
            return None;
        }
        let node = question.question["node"].as_u64().and_then(|node| u32::try_from(node).ok());
        let reason = question.question["reason"].as_str();
        Some(Self {
            run: question.run,
            node: NodeId(node.unwrap_or_default()),
            reason: reason.unwrap_or("processes ended in a step of this run").to_owned(),
        })
    }
}

struct Inner {
    held: Mutex<HashMap<RunId, Held>>,
    deaths: Mutex<HashMap<(RunId, NodeId), u32>>,
    proven: Mutex<HashSet<(RunId, NodeId)>>,
}

impl Poison {
    /// Reads what the last process left. `held`: by the open questions.
    pub(super) fn new(file: Option<Arc<NoteFile>>, held: Vec<Held>) -> Self {
        let mut deaths = HashMap::new();
        for note in file.as_ref().map(|file| file.found()).unwrap_or_default() {
            deaths.insert((note.run, note.node), note.deaths + 1);
        }
        let held = held.into_iter().map(|held| (held.run, held)).collect();
        let (held, deaths) = (Mutex::new(held), Mutex::new(deaths));
        Self { file, inner: Arc::new(Inner { held, deaths, proven: Mutex::default() }) }
    }

    /// Whether processes died over this run often enough to hold it, and in which step.
    pub(super) fn holds(&self, run: RunId) -> Option<Held> {
        if let Some(held) = self.inner.held.lock().get(&run) {
            return Some(held.clone());
        }
        let deaths = self.inner.deaths.lock();
        let ((_, node), deaths) =
            deaths.iter().find(|((held, _), deaths)| *held == run && **deaths >= DEATHS_MAX)?;
        let reason = format!("the process ended {deaths} times in a step of this run");
        Some(Held { run, node: *node, reason })
    }

    /// A person lets the run try again.
    pub(super) fn forgive(&self, run: RunId) {
        self.inner.held.lock().remove(&run);
        self.inner.deaths.lock().retain(|(held, _), _| *held != run);
    }

    /// A step is about to be evaluated.
    pub(super) fn entering(&self, worker: usize, run: RunId, place: &Place) {
        let Some(file) = &self.file else { return };
        if self.inner.proven.lock().contains(&(run, place.node)) {
            return;
        }
        let deaths = self.inner.deaths.lock().get(&(run, place.node)).copied().unwrap_or(0);
        file.write(worker, &Note { run, node: place.node, deaths });
    }

    /// The step, and all before it in this turn, did no harm.
    pub(super) fn survived(&self, worker: usize, run: RunId, place: &Place) {
        let Some(file) = &self.file else { return };
        file.clear(worker);
        let mut proven = self.inner.proven.lock();
        if proven.len() >= PROVEN_MAX {
            proven.clear();
        }
        proven.insert((run, place.node));
    }
}
