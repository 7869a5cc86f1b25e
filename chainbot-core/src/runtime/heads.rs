//! What a start needs to know of a workflow, by the text that names it: its id, name and current version; and whose it is.
//!
//! Invariant: nothing is kept that was read while a change of workflows was under way, and every change empties the cache;
//! so what is found here is what the store would say. Bounded: when full it is emptied.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::id::{DefinitionHash, WorkflowId};
use crate::port::{Possession, Scope, StoredWorkflow};

/// Names remembered. Each is some hundred bytes.
const HEADS_MAX: usize = 1_024;

/// A workflow without its source.
pub(super) struct Head {
    pub(super) id: WorkflowId,
    pub(super) name: String,
    pub(super) hash: DefinitionHash,
    pub(super) possession: Possession,
}

/// The cache.
#[derive(Default)]
pub(super) struct Heads(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    heads: HashMap<String, Arc<Head>>,
    /// Whose they are, deleted ones too; `None` for what was never there.
    possessions: HashMap<WorkflowId, Option<Possession>>,
    /// Grows with every change.
    generation: u64,
}

/// The state of the cache before something was read from the store.
#[derive(Clone, Copy)]
pub(super) struct Before(u64);

impl Heads {
    /// What is kept for whoever asked first is found by those alone who see it.
    pub(super) fn find(&self, scope: &Scope, reference: &str) -> Option<Arc<Head>> {
        self.0.lock().heads.get(reference).filter(|head| scope.sees(&head.possession)).cloned()
    }

    /// To be asked before the store is.
    pub(super) fn before(&self) -> Before {
        Before(self.0.lock().generation)
    }

    /// Keeps what was read, unless workflows have changed since `before`.
    pub(super) fn keep(&self, before: Before, reference: &str, stored: &StoredWorkflow) -> Arc<Head> {
        let (name, possession) = (stored.name.clone(), stored.possession);
        let head = Arc::new(Head { id: stored.id, name, hash: stored.hash, possession });
        let mut inner = self.0.lock();
        if inner.generation == before.0 {
            if inner.heads.len() >= HEADS_MAX {
                inner.heads.clear();
            }
            inner.heads.insert(reference.to_owned(), head.clone());
        }
        head
    }

    /// Whose a workflow is, as far as it is known here.
    pub(super) fn possession(&self, workflow: WorkflowId) -> Option<Option<Possession>> {
        self.0.lock().possessions.get(&workflow).copied()
    }

    /// As [`Self::keep`].
    pub(super) fn keep_possession(&self, before: Before, workflow: WorkflowId, of: Option<Possession>) {
        let mut inner = self.0.lock();
        if inner.generation == before.0 {
            if inner.possessions.len() >= HEADS_MAX {
                inner.possessions.clear();
            }
            inner.possessions.insert(workflow, of);
        }
    }

    /// A change of workflows begins or has ended. Called at both.
    pub(super) fn change(&self) {
        let mut inner = self.0.lock();
        inner.heads.clear();
        inner.possessions.clear();
        inner.generation += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn stored(version: u32) -> StoredWorkflow {
        let source = format!("version {version}");
        StoredWorkflow {
            id: WorkflowId::from([1; 16]),
            name: "a".to_owned(),
            hash: DefinitionHash::of(&source),
            version,
            source,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
            deleted_at: None,
            possession: Possession::HOUSE,
        }
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let heads = Heads::default();
        let before = heads.before();
        heads.change();
        heads.keep(before, "a", &stored(1));
        assert!(heads.find(&Scope::All, "a").is_none());
    }

    #[test]
    fn a_change_empties_the_cache() {
        let heads = Heads::default();
        heads.keep(heads.before(), "a", &stored(1));
        assert_eq!(heads.find(&Scope::All, "a").map(|head| head.hash), Some(stored(1).hash));
        heads.change();
        assert!(heads.find(&Scope::All, "a").is_none());
    }
}
