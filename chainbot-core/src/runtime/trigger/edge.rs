//! Edges of pins as occasions: one task a pin that any trigger watches.
//!
//! An edge is taken in memory, as an event of the host is; edges while nothing runs are not seen, and what the level is at
//! the start is no edge. Each trigger has its own debounce, on top of the pin's.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::AbortHandle;

use crate::error::code::gpio as code;
use crate::error::{Error, Result};
use crate::gpio::{Bcm, Change, PinView};
use crate::limits;
use crate::model::{Edge, Pin, TriggerSource};
use crate::time::Timestamp;

use super::super::core::Runtime;
use super::table::{Armed, Id};
use super::{Event, Inbound};

/// Tasks by the pin that they watch.
#[derive(Default)]
pub(super) struct Watched(HashMap<Bcm, AbortHandle>);

impl Watched {
    /// Watches nothing any more.
    pub(super) fn clear(&mut self) {
        self.0.drain().for_each(|(_, task)| task.abort());
    }
}

impl Runtime {
    /// Refuses a pin that no trigger can watch.
    pub(super) fn check_pin(&self, pin: &Pin) -> Result<()> {
        match &self.pins {
            Some(pins) => pins.changes(pin).map(drop),
            None => Err(Error::new(&code::NO_PIN, format!("the pin `{pin}` is not configured"))
                .help("add it under gpio.pins of the configuration")),
        }
    }

    /// Begins to watch what triggers ask for and is not watched, and lets go of the rest.
    pub(super) fn watch_pins(self: &Arc<Self>) {
        let Some(pins) = &self.pins else { return };
        let asked: Vec<(String, Pin)> = {
            let table = self.triggers.table.lock();
            let pin = |armed: &Armed| match &armed.trigger.source {
                TriggerSource::Gpio { pin, .. } => Some((armed.name.clone(), pin.clone())),
                _ => None,
            };
            table.all.values().filter_map(pin).collect()
        };
        let mut watched = self.triggers.watched.lock();
        let mut wanted = HashSet::new();
        for (workflow, pin) in asked {
            // The pin may have left the configuration since the deploy.
            let found = pins.view(&pin).and_then(|view| Ok((pins.changes(&pin)?, view)));
            let (changes, view) = match found {
                Ok(found) => found,
                Err(error) => {
                    log::error!("workflow `{workflow}`: its trigger does not watch the pin `{pin}`: {error}");
                    continue;
                }
            };
            wanted.insert(view.pin);
            watched.0.entry(view.pin).or_insert_with(|| {
                let (runtime, pin) = (self.clone(), view.pin);
                let task = self.tokio.spawn(async move { runtime.watch_pin(changes, view).await });
                log::debug!("GPIO{} is watched for triggers", pin.0);
                // Ended by `close`, or when no trigger asks for the pin.
                task.abort_handle()
            });
        }
        watched.0.retain(|pin, task| {
            let is_wanted = wanted.contains(pin);
            if !is_wanted {
                task.abort();
            }
            is_wanted
        });
    }

    async fn watch_pin(self: Arc<Self>, mut changes: Receiver<Change>, view: PinView) {
        // When each trigger saw its last edge.
        let mut seen: HashMap<Id, Timestamp> = HashMap::new();
        loop {
            match changes.recv().await {
                Ok(change) => self.edge(&view, change, &mut seen),
                Err(RecvError::Lagged(count)) => {
                    log::warn!("{count} edges of the pin `{}` came too fast and start nothing", view.name);
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn edge(&self, view: &PinView, change: Change, seen: &mut HashMap<Id, Timestamp>) {
        let edge = if change.level { Edge::Rising } else { Edge::Falling };
        let asking: Vec<Id> = {
            let table = self.triggers.table.lock();
            let asks = |armed: &&Armed| match &armed.trigger.source {
                TriggerSource::Gpio { pin, edge: wanted, debounce } => {
                    let is_pin = match pin {
                        Pin::Number(number) => view.pin.0 == *number,
                        Pin::Name(name) => view.name == *name,
                    };
                    // A clock that was set back since then is no bounce, or the trigger would be deaf for years.
                    let bounces = |last: &Timestamp| (*last..last.after(*debounce)).contains(&change.at);
                    let rests = seen.get(&armed.id).is_some_and(bounces);
                    is_pin && (*wanted == Edge::Both || *wanted == edge) && !rests
                }
                _ => false,
            };
            table.all.values().filter(asks).map(|armed| armed.id.clone()).collect()
        };
        for id in asking {
            seen.insert(id.clone(), change.at);
            let event = Event {
                // Numbers of edges begin anew with the process.
                id: format!("gpio{}-{}-{}", view.pin.0, change.at.0, change.seqno),
                topic: "chainbot.gpio.edge".to_owned(),
                at: change.at,
                data: json!({
                    "pin": view.name, "number": view.pin.0, "edge": edge.as_str(),
                    "level": u8::from(change.level), "at": change.at,
                }),
            };
            let mut queue = self.triggers.queue.lock();
            if queue.inbound.len() >= limits::EVENTS_QUEUED_MAX {
                log::warn!("an edge of the pin `{}` starts nothing: too many events wait", view.name);
                return;
            }
            queue.inbound.push_back(Inbound { event, to: Some(id) });
            self.triggers.changed.notify_one();
        }
    }
}
