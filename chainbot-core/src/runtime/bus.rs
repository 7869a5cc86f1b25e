//! Tells listeners what has been committed, in the order of the journal.
//!
//! Records are copied for listeners only while there are any. A listener that comes while records are on their way is told
//! of the gap and reads the journal, which is the truth; so nothing is missed and nothing is held for nobody.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::id::{Lsn, RunId};
use crate::limits;
use crate::model::Record;
use crate::model::event::Committed;

/// The inside bus.
pub(super) struct Bus {
    sender: broadcast::Sender<Note>,
}

/// What listeners get.
#[derive(Clone, Debug)]
pub(super) enum Note {
    /// A record.
    Record(Arc<Committed>),
    /// Records up to here were committed and not copied.
    Uncopied(Lsn),
}

impl Bus {
    pub(super) fn new() -> Self {
        Self { sender: broadcast::channel(limits::EVENTS_KEPT_MAX).0 }
    }

    /// Whether records should be copied for listeners.
    pub(super) fn has_listeners(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Called on the writer's thread, in the order of commits.
    pub(super) fn publish(&self, note: Note) {
        if self.has_listeners() {
            // Without listeners there is nobody to miss it; the journal has it.
            let _ = self.sender.send(note);
        }
    }

    /// The sending side, for acknowledgements that outlive a borrow.
    pub(super) fn sender(&self) -> BusSender {
        BusSender(self.sender.clone())
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Note> {
        self.sender.subscribe()
    }
}

/// The sending side of the bus.
pub(super) struct BusSender(broadcast::Sender<Note>);

impl BusSender {
    /// A run's first record is on disk; `copy` when there were listeners.
    pub(super) fn created(&self, lsn: Lsn, run: RunId, copy: Option<Record>) {
        let note = match copy {
            Some(record) => Note::Record(Arc::new(Committed { lsn, run, record })),
            None => Note::Uncopied(lsn),
        };
        // Without listeners there is nobody to miss it; the journal has it.
        let _ = self.0.send(note);
    }
}
