//! A listener's side of the bus: every committed record after a cursor, in order, without holes.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::id::Lsn;
use crate::model::event::Committed;

use super::bus::Note;
use super::core::Runtime;

/// Records read from the journal at once.
const PAGE: u32 = 512;

/// Committed records as they come, after those missed since a cursor.
pub struct Subscription {
    runtime: Arc<Runtime>,
    receiver: Receiver<Note>,
    /// Everything up to here was given out or is in `read`.
    seen: Lsn,
    read: VecDeque<Arc<Committed>>,
    /// The journal has records after `seen` that do not come through the receiver.
    is_behind: bool,
}

/// Records cannot be read; the listener should come again with its last cursor.
#[derive(Clone, Copy, Debug)]
pub struct Gap;

impl Subscription {
    pub(super) fn new(runtime: Arc<Runtime>, receiver: Receiver<Note>, from: Lsn) -> Self {
        Self { runtime, receiver, seen: from, read: VecDeque::new(), is_behind: true }
    }

    /// The next record. `None` when the runtime stops. `Some(Err(gap))` when the journal cannot be read: subscribe again from the
    /// last cursor seen. Safe to drop and call again.
    pub async fn next(&mut self) -> Option<Result<Arc<Committed>, Gap>> {
        loop {
            if let Some(next) = self.read.pop_front() {
                self.seen = self.seen.max(next.lsn);
                return Some(Ok(next));
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
                    return Some(Ok(next));
                }
                Ok(Note::Record(_)) => {}
                Ok(Note::Uncopied(lsn)) => self.is_behind = lsn > self.seen,
                Err(RecvError::Lagged(missed)) => {
                    self.runtime.meters.bus_gaps.add(missed);
                    self.is_behind = true;
                }
                Err(RecvError::Closed) => return None,
            }
            if self.runtime.is_over() {
                return None;
            }
        }
    }

    async fn catch_up(&mut self) -> Result<(), Gap> {
        let from = self.seen;
        let page = self.runtime.read(move |runtime| runtime.store.journal_after(from, PAGE)).await;
        let page = page.map_err(|error| {
            log::error!("a listener cannot be told what it missed: {error}");
            Gap
        })?;
        self.is_behind = page.len() == PAGE as usize;
        self.read.extend(page.into_iter().map(Arc::new));
        Ok(())
    }
}
