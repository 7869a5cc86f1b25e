//! Events that somebody emits by hand, and what of the journal is looked for by its meaning.

use serde_json::Value;

use crate::engine::check_topic;
use crate::error::code::{general, run as code};
use crate::error::{Error, Result};
use crate::expr;
use crate::id::Lsn;
use crate::limits;
use crate::model::RecordBody;
use crate::model::event::Committed;
use crate::port::Action;

use super::handle::Handle;
use super::trigger::Event;
use super::who::{Deed, Who};

/// Records read from the journal at once.
const PAGE: u32 = 512;

impl Handle {
    /// Tells the host's bus, our own triggers and waiting steps of an event. Once it is taken it is in memory and in the audit
    /// log; what it starts is on disk. Gives its id: the same one again makes a repeat harmless to triggers.
    pub fn emit(&self, topic: &str, data: Value, id: Option<String>) -> Result<Event> {
        self.0.check_open()?;
        let prefixes = self.0.defaults.read().emit_prefixes.clone();
        check_topic(topic, &prefixes).map_err(|error| {
            Error::new(&code::TOPIC, error.message)
                .help("`alex_os.emit_prefixes` of the configuration says which")
        })?;
        expr::check_json(&data, limits::EVENT_BYTES_MAX).map_err(|error| {
            Error::new(&general::BODY_TOO_LARGE, format!("the event's data: {}", error.message))
                .help(format!("send at most {} bytes", limits::EVENT_BYTES_MAX))
        })?;
        let at = self.0.env.now();
        let id = id
            .unwrap_or_else(|| uuid::Builder::from_random_bytes(self.0.env.bytes()).into_uuid().to_string());
        let event = Event { id, topic: topic.to_owned(), at, data };
        // First our own: what is not taken is told nobody.
        self.offer(event.clone())?;
        if let Some(outbox) = &self.0.outbox {
            outbox.tell(topic, &event.id, at, &event.data);
        }
        if let Some(who) = Who::now() {
            self.write_down(Deed::new(Action::EventEmit, "event", topic).by(who, at));
        }
        Ok(event)
    }

    /// The newest records of a kind, newest first, among the newest `EVENT_SEARCH_RECORDS_MAX` of the journal.
    pub async fn newest(&self, is_wanted: fn(&RecordBody) -> bool, most: usize) -> Result<Vec<Committed>> {
        let scope = self.scope();
        self.0
            .read(move |runtime| {
                let newest = runtime.store.newest_lsn()?;
                let mut after = Lsn((newest.0 - limits::EVENT_SEARCH_RECORDS_MAX).max(0));
                let mut found = std::collections::VecDeque::new();
                loop {
                    let page = runtime.store.journal_after(after, PAGE)?;
                    let Some(last) = page.last() else { break };
                    after = last.lsn;
                    for committed in page {
                        let is_one = is_wanted(&committed.record.body);
                        if is_one && (scope.is_whole() || runtime.sees_run(&scope, committed.run)?) {
                            found.push_back(committed);
                        }
                        if found.len() > most {
                            found.pop_front();
                        }
                    }
                }
                Ok(found.into_iter().rev().collect())
            })
            .await
    }
}
