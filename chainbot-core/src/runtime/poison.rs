//! Poison: a step whose evaluation ends the process. Noted before the step's first evaluation in this process, cleared
//! after it; a note found at start, twice for one run, holds that run instead of dying with it again and again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::id::{NodeId, RunId};
use crate::model::Place;
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

struct Inner {
    deaths: Mutex<HashMap<(RunId, NodeId), u32>>,
    proven: Mutex<HashSet<(RunId, NodeId)>>,
}

impl Poison {
    /// Reads what the last process left.
    pub(super) fn new(file: Option<Arc<NoteFile>>) -> Self {
        let mut deaths = HashMap::new();
        for note in file.as_ref().map(|file| file.found()).unwrap_or_default() {
            deaths.insert((note.run, note.node), note.deaths + 1);
        }
        Self { file, inner: Arc::new(Inner { deaths: Mutex::new(deaths), proven: Mutex::default() }) }
    }

    /// The step at which processes died over this run, often enough to hold it.
    pub(super) fn holds(&self, run: RunId) -> Option<(NodeId, u32)> {
        self.inner
            .deaths
            .lock()
            .iter()
            .find(|((held, _), deaths)| *held == run && **deaths >= DEATHS_MAX)
            .map(|((_, node), deaths)| (*node, *deaths))
    }

    /// A person lets the run try again.
    pub(super) fn forgive(&self, run: RunId) {
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
