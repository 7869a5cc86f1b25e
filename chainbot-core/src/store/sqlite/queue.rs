//! What waits for the writer: batches in the order in which they came, and pieces of upkeep. Bounded by who fills it.

use std::collections::VecDeque;
use std::sync::mpsc;

use super::chore::Chore;
use crate::error::Result;
use crate::limits;
use crate::store::batch::Work;

#[derive(Default)]
pub(super) struct Queue {
    pub(super) works: VecDeque<Work>,
    pub(super) records: usize,
    pub(super) bytes: usize,
    /// Upkeep, each with who waits for it.
    pub(super) chores: VecDeque<Errand>,
    pub(super) closing: bool,
}

/// A piece of upkeep and who waits for it.
pub(super) struct Errand {
    pub(super) chore: Chore,
    pub(super) done: mpsc::SyncSender<Result<u64>>,
}

impl Queue {
    /// What may be refused while there is no room.
    pub(super) fn take_new(&mut self) -> Vec<Work> {
        let (new, rest): (VecDeque<Work>, VecDeque<Work>) =
            std::mem::take(&mut self.works).into_iter().partition(Work::is_new);
        self.works = rest;
        self.records = self.works.iter().map(|work| work.record_count).sum();
        self.bytes = self.works.iter().map(|work| work.bytes).sum();
        new.into()
    }

    pub(super) fn push(&mut self, work: Work) {
        self.records += work.record_count;
        self.bytes += work.bytes;
        self.works.push_back(work);
    }

    /// Puts back what was taken and not written, before everything else.
    pub(super) fn put_back(&mut self, works: Vec<Work>) {
        for work in works.into_iter().rev() {
            self.records += work.record_count;
            self.bytes += work.bytes;
            self.works.push_front(work);
        }
    }

    /// Whether there is no room for one more.
    pub(super) fn is_full_for(&self, work: &Work) -> bool {
        self.works.len() >= limits::WRITER_QUEUE_MAX
            || (!self.works.is_empty() && self.bytes + work.bytes > limits::WRITER_QUEUE_BYTES_MAX)
    }

    pub(super) fn fills_a_commit(&self) -> bool {
        self.records >= limits::COMMIT_RECORDS_MAX || self.bytes >= limits::COMMIT_BYTES_MAX
    }

    /// At least one batch, then as many as fit.
    pub(super) fn drain(&mut self) -> Vec<Work> {
        let (mut taken, mut records, mut bytes) = (Vec::new(), 0, 0);
        while let Some(work) = self.works.front() {
            let fits = records + work.record_count <= limits::COMMIT_RECORDS_MAX
                && bytes + work.bytes <= limits::COMMIT_BYTES_MAX;
            if !fits && !taken.is_empty() {
                break;
            }
            records += work.record_count;
            bytes += work.bytes;
            taken.extend(self.works.pop_front());
        }
        self.records -= records;
        self.bytes -= bytes;
        taken
    }
}
