//! What may change while work goes on: bounds, defaults and retention; and the rest before a hand-over.
//!
//! Nothing here touches what is journaled: a decision that was made stays as it was, the next one is made under the
//! new values. So one step sees one set of constants, and a later step of the same run may see another. Invariants: a run that works keeps its permit under a lower bound; the key that tells markers of secrets
//! from data stays the process's own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::engine::Defaults;
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::port::upkeep::Retention;
use crate::validate::Known;

use super::core::Runtime;
use super::load::Source;

/// Between two looks whether all is quiet.
const LOOK: Duration = Duration::from_millis(5);

/// Values that take effect at once.
pub struct Tuning {
    /// Runs at work at once.
    pub runs_max: usize,
    /// Runs waiting for a permit.
    pub queued_max: usize,
    /// What definitions leave open; its `marker_key` is not taken.
    pub defaults: Defaults,
    /// What is kept for how long.
    pub retention: Retention,
}

impl Runtime {
    /// Works under other values from here on.
    pub fn tune(self: &Arc<Self>, tuning: Tuning) {
        let Tuning { runs_max, queued_max, defaults, retention } = tuning;
        {
            // Definitions are checked against the constants that steps will see.
            let mut known = self.known.write();
            if known.constants.is_some() {
                let constants = Some(defaults.constants.keys().cloned().collect());
                *known = Arc::new(Known { constants, ..(**known).clone() });
            }
        }
        {
            let mut inside = self.defaults.write();
            *inside = Arc::new(Defaults { marker_key: inside.marker_key, ..defaults });
        }
        if let Some(keeper) = &self.keeper {
            keeper.set_rules(retention);
        }
        for who in self.admission.set_bounds(runs_max, queued_max) {
            self.grant(who, Source::Queue);
        }
    }

    /// Waits until the events of the host that were taken are with the runs they are for. New work is still taken.
    pub async fn deliver_taken(&self, within: Duration) -> Result<()> {
        let begun = self.env.monotonic();
        while self.failure().is_none() {
            if self.ears.state.lock().inbound.is_delivered() && self.triggers.is_matched() {
                return Ok(());
            }
            if self.env.monotonic() - begun >= within {
                return Err(Error::new(
                    &general::TIMEOUT,
                    "events of the host are still on their way to runs",
                )
                .help("give it more time"));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Refuses new work and waits until no effect is under way and every decision is on disk. Unlike
    /// [`Runtime::stop`] it gives nothing up: `Err` names what is left, and it may be called again.
    pub async fn settle(&self, within: Duration) -> Result<()> {
        self.is_stopping.store(true, Ordering::SeqCst);
        let begun = self.env.monotonic();
        while self.failure().is_none() && self.is_busy() {
            if self.env.monotonic() - begun >= within {
                let effects = self.effects_running.load(Ordering::SeqCst);
                return Err(Error::new(&general::TIMEOUT, format!("{effects} effects are under way"))
                    .help("give it more time, or stop: the next start decides about them"));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}
