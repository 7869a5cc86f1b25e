//! What a running app can be asked beside its work: other settings, its figures, and to hand over.

use std::time::Duration;

use super::{App, defaults, given, models_policy, plan, policy, rules};
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
    let held = match changes.live.as_slice() {
        [] => String::new(),
        live => format!("; {} could, and was held back with it", live.join(", ")),
    };
    Err(Error::new(&config_code::NEEDS_RESTART, format!("{keys} cannot change while the module runs{held}"))
        .help("nothing was changed; restart the module, or take these keys back"))
}

impl App {
    /// Takes another configuration over: all of it, or nothing.
    pub fn reconfigure(&self, new: &Config) -> Result<Changes> {
        let mut config = self.config.lock();
        let changes = check_change(&config, new)?;
        // The parts that can refuse come first.
        let credentials = crate::config::credentials();
        let secret_key = new.security.secret_key.as_ref();
        let secret_key = secret_key.map(|key| key.signing_key(credentials.as_deref())).transpose()?;
        let given = given(new, secret_key)?;
        let models_policy = models_policy(new, self.port)?;
        self.egress.set_policy(&policy(new, self.port))?;
        self.models_egress.set_policy(&models_policy)?;
        self.models.set(new.models.clone(), new.presets.clone())?;
        self.vault.set_given(given)?;
        self.backups.set_plan(plan(new))?;
        self.runtime.tune(Tuning {
            runs_max: new.workflow_engine.max_concurrent_workflows,
            queued_max: new.workflow_engine.max_queued,
            defaults: defaults(new),
            retention: new.retention,
        });
        self.monitor.set_rules(rules(new));
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
        self.figures.take()
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
