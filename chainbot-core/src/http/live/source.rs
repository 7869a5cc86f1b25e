//! Where one client's events come from: the journal's, in order and without holes, and signals as they are.
//!
//! A listener that was too slow is taken up again from its last record, out of the journal; only where that is impossible it
//! is told of a gap.

use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::event::Event;
use super::group::Group;
use super::{Listening, Live};
use crate::error::Result;
use crate::http::backend::{Backend, Events};
use crate::id::Lsn;
use crate::model::event::Committed;

/// How often a listener is taken up again without one record in between, before it is told of a gap.
const RESUBSCRIBES_MAX: u32 = 3;

/// One client's events.
pub struct Source {
    live: Arc<Live>,
    backend: Arc<dyn Backend>,
    events: Box<dyn Events>,
    signals: broadcast::Receiver<Arc<Event>>,
    last: Option<Lsn>,
    resubscribes: u32,
    /// Taken from the journal, and not made ready yet.
    taken: Option<Arc<Committed>>,
    over: bool,
    _listening: Listening,
}

/// What is told next.
pub enum Told {
    /// A record.
    Record(Group),
    /// What no journal holds.
    Signal(Arc<Event>),
    /// Signals that came too fast; they are lost.
    SignalsLost(u64),
    /// Records after this place are missing, and nothing more comes.
    Gap(Option<Lsn>, &'static str),
    /// The runtime stops.
    End,
}

impl Source {
    /// From after `since` on, or from now on.
    pub async fn open(live: &Arc<Live>, backend: Arc<dyn Backend>, since: Option<Lsn>) -> Result<Self> {
        let listening = live.enter();
        let last = since.or(backend.newest_lsn());
        let signals = live.signals.subscribe();
        let events = backend.subscribe(last).await?;
        Ok(Self {
            live: live.clone(),
            backend,
            events,
            signals,
            last,
            resubscribes: 0,
            taken: None,
            over: false,
            _listening: listening,
        })
    }

    /// Everything up to here was given out, or is not for whoever listens.
    pub fn position(&self) -> Option<Lsn> {
        // What was taken is passed by the subscription, and not told yet.
        let passed = self.events.passed().filter(|_| self.taken.is_none());
        self.last.max(passed)
    }

    /// Goes back, to give out again what came after `since`.
    pub async fn go_back(&mut self, since: Lsn) -> Result<()> {
        self.events = self.backend.subscribe(Some(since)).await?;
        self.last = Some(since);
        self.taken = None;
        Ok(())
    }

    /// What comes next. Loses nothing when the future is dropped before it is ready.
    pub async fn next(&mut self) -> Told {
        loop {
            if let Some(committed) = &self.taken {
                let group = self.live.groups.of(&*self.backend, committed).await;
                self.last = Some(committed.lsn);
                self.taken = None;
                return Told::Record(group);
            }
            if self.over {
                return Told::End;
            }
            // A backlog in memory never waits; without this it would keep a worker of the runtime to itself.
            tokio::task::consume_budget().await;
            let item = tokio::select! {
                biased;
                signal = self.signals.recv() => match signal {
                    Ok(signal) => return Told::Signal(signal),
                    Err(RecvError::Lagged(lost)) => return Told::SignalsLost(lost),
                    // The sender lives as long as `live`, which this holds.
                    Err(RecvError::Closed) => return Told::End,
                },
                item = self.events.next() => item,
            };
            match item {
                None => return Told::End,
                Some(Ok(committed)) => {
                    self.resubscribes = 0;
                    self.taken = Some(committed);
                }
                Some(Err(_)) => {
                    if let Some(gap) = self.resubscribe().await {
                        self.over = true;
                        return gap;
                    }
                }
            }
        }
    }

    async fn resubscribe(&mut self) -> Option<Told> {
        self.resubscribes += 1;
        let Some(last) = self.last.filter(|_| self.resubscribes <= RESUBSCRIBES_MAX) else {
            return Some(Told::Gap(self.last, "events were missed"));
        };
        match self.backend.subscribe(Some(last)).await {
            Ok(events) => {
                self.events = events;
                None
            }
            Err(error) => {
                log::warn!(target: "chainbot::http", "an event stream cannot go on: {error:?}");
                Some(Told::Gap(Some(last), "the journal could not be read"))
            }
        }
    }
}

/// Whether a cursor belongs to another journal, such as one from before a restore.
pub fn is_foreign(backend: &dyn Backend, since: Option<Lsn>) -> Option<Lsn> {
    match (since, backend.newest_lsn()) {
        (Some(since), Some(newest)) if since > newest => Some(newest),
        _ => None,
    }
}
