//! Events of our own runs, read from the journal behind a cursor: what steps emit, and what becomes of runs.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::error::Result;
use crate::id::{Lsn, RunId};
use crate::model::event::Committed;
use crate::model::{RecordBody, RunEnd};
use crate::port::{Batch, Op, Scope};

use super::super::core::Runtime;
use super::super::outbox;
use super::fire::{Fired, Occasion};
use super::table::Id;
use super::{CURSOR, Event, is_event};

/// The workflow of a run that is over, and how it ended.
type End = (String, RunEnd);

/// Records read from the journal at once.
const PAGE: u32 = 512;

impl Runtime {
    /// Offers one record to the triggers. False: not now; offer it again.
    pub(super) fn offer_own(self: &Arc<Self>, lsn: Lsn, run: RunId) -> Result<bool> {
        let records = self.store.records(&Scope::All, run, &[lsn])?;
        match records.into_iter().next() {
            Some((lsn, record)) => self.offer(&Committed { lsn, run, record }),
            None => Ok(true),
        }
    }

    /// Offers what the journal has after a place. Gives how far it came, and whether there is more.
    pub(super) fn catch_up_own(self: &Arc<Self>, from: Lsn) -> Result<(Lsn, bool)> {
        let page = self.store.journal_after(from, PAGE)?;
        let mut reached = from;
        for committed in &page {
            if is_event(&committed.record.body) && !self.offer(committed)? {
                return Ok((reached, true));
            }
            reached = committed.lsn;
        }
        Ok((reached, page.len() == PAGE as usize))
    }

    fn offer(self: &Arc<Self>, committed: &Committed) -> Result<bool> {
        let Some((event, end)) = self.own_event(committed)? else { return Ok(true) };
        let asking: Vec<Id> = {
            let table = self.triggers.table.lock();
            let mut asking = table.topics.matches(&event.topic);
            if let Some((workflow, end)) = &end {
                asking.extend(table.ends(workflow, *end));
            }
            asking
        };
        if asking.is_empty() {
            return Ok(true);
        }
        let depth = self.depth_of(committed.run)? + 1;
        // What a step emits is for the whole house; what becomes of a run is told where the run is seen.
        let is_for_all = matches!(committed.record.body, RecordBody::EventEmitted { .. });
        for id in asking {
            if !is_for_all && !self.may_hear(id.workflow, committed.run)? {
                continue;
            }
            let Some(armed) = self.triggers.table.lock().live(&id) else { continue };
            if let Fired::Later(error) = self.fire(&armed, Occasion::of(event.clone(), depth)) {
                log::debug!("an event waits for its triggers: {error}");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The event that a record makes, and the end of a run that it is.
    fn own_event(&self, committed: &Committed) -> Result<Option<(Event, Option<End>)>> {
        let Some((topic, id, at, mut data)) = outbox::event_of(&self.store, committed)? else {
            return Ok(None);
        };
        let end = match &committed.record.body {
            RecordBody::RunCompleted { output } => {
                data["output"] = (**output).clone();
                Some(RunEnd::Completed)
            }
            RecordBody::RunFailed { .. } => Some(RunEnd::Failed),
            RecordBody::RunCancelled { .. } => Some(RunEnd::Any),
            _ => None,
        };
        let end = end.and_then(|end| Some((data.get("workflow_name")?.as_str()?.to_owned(), end)));
        Ok(Some((Event { id, topic, at, data }, end)))
    }

    /// How many runs started one another before this one.
    fn depth_of(&self, run: RunId) -> Result<u32> {
        let Some(stored) = self.store.run(&Scope::All, run)? else { return Ok(0) };
        let records = self.store.records(&Scope::All, run, &[stored.first_lsn])?;
        Ok(match records.first().map(|(_, record)| &record.body) {
            Some(RecordBody::RunCreated(created)) => created.trigger.depth(),
            _ => 0,
        })
    }

    /// Keeps how far the triggers have seen the journal.
    pub(super) fn save_cursor(&self, lsn: Lsn) {
        let batch = Batch {
            run: RunId::from([0; 16]),
            records: Vec::new(),
            ops: vec![Op::CursorSet { name: CURSOR, lsn }],
            // Lost with a crash, and then some events are offered again and known by their ids.
            ack: Box::new(|_| {}),
        };
        match self.store.submit(batch) {
            // Whatever is handed to the writer after it finds it there.
            Ok(()) => self.triggers.queue.lock().saved = lsn,
            Err(error) => log::debug!("the cursor of the triggers was not saved: {error}"),
        }
    }
}

/// The event of a schedule's time.
pub(super) fn time_event(key: &str, time: crate::time::Timestamp, now: crate::time::Timestamp) -> Event {
    let data: Value = json!({ "due": time, "late_ms": now.since(time).as_millis() as u64 });
    Event { id: format!("{key}@{}", time.0), topic: "chainbot.schedule.due".to_owned(), at: time, data }
}
