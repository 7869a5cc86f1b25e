//! The outbox of the memory store.

use std::collections::BTreeMap;

use crate::id::RunId;
use crate::limits::OUTBOX_PRUNE_ROWS_MAX;
use crate::model::EffectKey;
use crate::port::{MessageFilter, MessageState, Op, Page, PendingMessage, StoredMessage};
use crate::time::Timestamp;

/// Messages by their order.
#[derive(Default)]
pub struct Messages {
    all: BTreeMap<i64, StoredMessage>,
    made: i64,
}

impl Messages {
    /// Makes a change; false when it is not one of messages.
    pub fn apply(&mut self, op: &Op) -> bool {
        match op {
            Op::OutboxPut(message) => {
                if self.find(message.id).is_none() {
                    self.made += 1;
                    let stored = StoredMessage {
                        seq: self.made,
                        message: (**message).clone(),
                        state: MessageState::Pending,
                        attempts: 0,
                        due: message.at,
                        finished_at: None,
                        error: None,
                    };
                    self.all.insert(self.made, stored);
                }
            }
            Op::OutboxMark(mark) => {
                if let Some(stored) = self.all.values_mut().find(|stored| stored.message.id == mark.id) {
                    (stored.state, stored.attempts, stored.due) = (mark.state, mark.attempts, mark.at);
                    stored.finished_at = (mark.state != MessageState::Pending).then_some(mark.at);
                    stored.error.clone_from(&mark.error);
                }
            }
            Op::OutboxRemove { id } => self.all.retain(|_, stored| stored.message.id != *id),
            Op::OutboxPrune { before, keep } => {
                self.prune(MessageState::Delivered, *before, *keep as usize);
                self.prune(MessageState::Dead, *before, *keep as usize);
            }
            _ => return false,
        }
        true
    }

    fn prune(&mut self, state: MessageState, before: Timestamp, keep: usize) {
        let mut ended: Vec<(Timestamp, i64)> = self
            .all
            .iter()
            .filter(|(_, stored)| stored.state == state)
            .map(|(seq, stored)| (stored.due, *seq))
            .collect();
        ended.sort_unstable();
        let most = OUTBOX_PRUNE_ROWS_MAX as usize;
        let (old, newer): (Vec<_>, Vec<_>) = ended.into_iter().partition(|(at, _)| *at < before);
        let mut left = newer;
        left.splice(0..0, old.iter().skip(most).copied());
        let many = left.iter().rev().skip(keep).take(most).copied().collect::<Vec<_>>();
        old.iter().take(most).chain(&many).for_each(|(_, seq)| drop(self.all.remove(seq)));
    }

    pub fn find(&self, id: EffectKey) -> Option<StoredMessage> {
        self.all.values().find(|stored| stored.message.id == id).cloned()
    }

    pub fn pending(&self) -> Vec<PendingMessage> {
        let pending = self.all.values().filter(|stored| stored.state == MessageState::Pending);
        let mut out: Vec<(i64, PendingMessage)> = pending
            .map(|stored| {
                let bytes = stored.message.bytes();
                let StoredMessage { message, due, seq, .. } = stored.clone();
                (seq, PendingMessage { id: message.id, due, target: message.target, bytes })
            })
            .collect();
        out.sort_by_key(|(seq, message)| (message.due, *seq));
        out.into_iter().map(|(_, message)| message).collect()
    }

    pub fn list(&self, filter: &MessageFilter, sees: impl Fn(RunId) -> bool) -> Page<StoredMessage> {
        let fits = |stored: &&StoredMessage| {
            filter.state.is_none_or(|state| state == stored.state) && sees(stored.message.run)
        };
        let total = self.all.values().filter(fits).count() as u64;
        let mut rest: Vec<&StoredMessage> = self.all.values().filter(fits).collect();
        rest.sort_by(|a, b| filter.way.turn(a.seq.cmp(&b.seq)));
        rest.retain(|stored| filter.past.is_none_or(|past| filter.way.turn(stored.seq.cmp(&past)).is_gt()));
        let limit = filter.limit as usize;
        let mut items: Vec<StoredMessage> = rest.into_iter().take(limit + 1).cloned().collect();
        let more = items.len() > limit;
        items.truncate(limit);
        Page { items, total, more }
    }
}
