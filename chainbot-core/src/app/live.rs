//! What a running app can be asked beside its work: other settings, its figures, and to hand over.

use std::time::Duration;

use super::{App, defaults, plan, policy};
use crate::config::{Changes, Config};
use crate::error::code::config as config_code;
use crate::error::{Error, Result};
use crate::observe::Metrics;
use crate::runtime::Tuning;

/// Whether a configuration can replace another without a restart: what it changes, or CB-0507 naming what it cannot.
pub fn check_change(old: &Config, new: &Config) -> Result<Changes> {
    let changes = old.changes(new);
    if changes.restart.is_empty() {
        return Ok(changes);
    }
    let keys = changes.restart.join(", ");
    Err(Error::new(&config_code::NEEDS_RESTART, format!("{keys} cannot change while the module runs"))
        .help("nothing was changed; restart the module, or take these keys back"))
}

impl App {
    /// Takes another configuration over: all of it, or nothing.
    pub fn reconfigure(&self, new: &Config) -> Result<Changes> {
        let mut config = self.config.lock();
        let changes = check_change(&config, new)?;
        // The parts that can refuse come first.
        self.egress.set_policy(&policy(new, self.port))?;
        self.backups.set_plan(plan(new))?;
        self.runtime.tune(Tuning {
            runs_max: new.workflow_engine.max_concurrent_workflows,
            queued_max: new.workflow_engine.max_queued,
            defaults: defaults(new),
            retention: new.retention,
        });
        log::set_max_level(new.log_level());
        *config = new.clone();
        drop(config);
        if !changes.live.is_empty() {
            log::info!("the configuration was changed: {}", changes.live.join(", "));
        }
        Ok(changes)
    }

    /// The figures as they are now.
    pub fn metrics(&self) -> Metrics {
        let uptime = self.env.monotonic().saturating_sub(self.begun).as_secs_f64();
        Metrics::take(&self.handle, &self.meters, self.health().score, uptime, self.live.seats.open())
    }

    /// First step of a hand-over: event streams end and events that were taken reach their runs; everything else goes
    /// on. Undone by [`App::resume`].
    pub async fn quiesce(&self, within: Duration) -> Result<()> {
        self.api.close();
        self.runtime.deliver_taken(within).await
    }

    /// After [`App::quiesce`]: work as before.
    pub fn resume(&self) {
        self.api.reopen();
    }

    /// Second step: new work is refused, and what is under way comes to its next durable point. Nothing is given up: `Err`
    /// names what is left, and it may be called again. [`App::stop`] comes next.
    pub async fn settle(&self, within: Duration) -> Result<()> {
        self.runtime.settle(within).await
    }
}
