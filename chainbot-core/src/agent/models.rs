//! The models of the configuration, as tasks call them: pinned once, then called with tries, waits and others in their place.
//!
//! ```text
//! name ─ resolve ─► Pinned (in the task's journal)
//! Pinned, request ─ call ─► fits? ─► rate ─► breaker ─► server ─► dialect ─► ModelAnswer
//!                             ▲         another try, another model ◄── class of the error
//! ```
//!
//! Invariants: a name that is not configured is an error, never another model; what does not fit in the context is refused with the sizes and never cut;
//! every wait is bounded by the time the caller has left; a key is opened for one try and goes to its server alone, which the egress of models
//! reaches although steps may not. Bounds: tries, waits, bytes, the models of a configuration.
//!
//! Must not know agents, budgets, journals. Retries of a task as a whole are its own.

mod breaker;
mod bucket;
mod call;
mod counted;
mod list;
mod pinned;
mod resolve;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;

pub use breaker::BreakerState;
pub use list::ModelInfo;
pub use pinned::{AfterResult, ModelAnswer, Pinned, Price};
pub use resolve::Needs;
pub use settings::{ModelSettings, ModelSetup, ProviderKind, ProviderLimits, ProviderSetup};

use self::server::Server;
use super::preset::Preset;
use super::provider::{ModelError, ModelErrorClass};
use crate::Result;
use crate::env::Env;
use crate::error::similar;
use crate::meter::Meters;
use crate::net::Egress;
use crate::port::{Secrets, Store, StoredProbe};

/// Waits. A test's lets its clock go on instead.
pub type Pause = Arc<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What the models are made of.
pub struct ModelsOptions {
    /// What the operator says of them.
    pub settings: ModelSettings,
    /// What agents are unless they say otherwise.
    pub presets: Vec<Preset>,
    /// What probes found before.
    pub probes: Vec<StoredProbe>,
    /// Where probes are kept; `None` keeps them in memory.
    pub store: Option<Arc<dyn Store>>,
    /// The way to their servers, and to nothing else.
    pub egress: Arc<Egress>,
    /// Where keys are.
    pub secrets: Arc<dyn Secrets>,
    /// Clock and randomness.
    pub env: Env,
    /// Counts calls and tokens.
    pub meters: Arc<Meters>,
    /// How waits are waited.
    pub pause: Pause,
}

/// The models.
pub struct Models {
    /// Replaced as a whole, so that one call sees one configuration.
    table: RwLock<Arc<Table>>,
    egress: Arc<Egress>,
    secrets: Arc<dyn Secrets>,
    env: Env,
    meters: Arc<Meters>,
    pause: Pause,
    /// What probes found, by model.
    found: Mutex<BTreeMap<String, StoredProbe>>,
    store: Option<Arc<dyn Store>>,
    /// One probe at a time: a small machine has one model to ask.
    probing: Semaphore,
    /// The model that is being asked what it can do.
    probed: Mutex<Option<String>>,
}

/// One configuration.
struct Table {
    settings: ModelSettings,
    presets: Vec<Preset>,
    servers: BTreeMap<String, Arc<Server>>,
}

impl Models {
    /// With what the operator says. CB-0503 for a script that does not read.
    pub fn new(options: ModelsOptions) -> Result<Self> {
        let ModelsOptions { settings, presets, probes, store, egress, secrets, env, meters, pause } = options;
        let table = Table::new(settings, presets, None, &env)?;
        Ok(Self {
            table: RwLock::new(Arc::new(table)),
            egress,
            secrets,
            env,
            meters,
            pause,
            found: Mutex::new(probes.into_iter().map(|probe| (probe.model.clone(), probe)).collect()),
            store,
            probing: Semaphore::new(1),
            probed: Mutex::default(),
        })
    }

    /// Another configuration, for every call from here on; calls under way end as they began. CB-0503 for a script that does not read;
    /// then the old one stays.
    pub fn set(&self, settings: ModelSettings, presets: Vec<Preset>) -> Result<()> {
        let old = self.table();
        *self.table.write() = Arc::new(Table::new(settings, presets, Some(&old), &self.env)?);
        Ok(())
    }

    /// The presets of agents.
    pub fn presets(&self) -> Vec<Preset> {
        self.table().presets.clone()
    }

    fn table(&self) -> Arc<Table> {
        self.table.read().clone()
    }
}

impl Table {
    /// Servers that are as they were keep what is known of them: a reload mends no broken server and gives no new allowance.
    fn new(settings: ModelSettings, presets: Vec<Preset>, old: Option<&Table>, env: &Env) -> Result<Self> {
        let kept = |setup: &ProviderSetup| {
            old.and_then(|old| old.servers.get(&setup.name)).filter(|server| server.setup == *setup).cloned()
        };
        let server = |setup: &ProviderSetup| {
            let server = match kept(setup) {
                Some(server) => server,
                None => Arc::new(Server::new(setup.clone(), env.monotonic())?),
            };
            Ok((setup.name.clone(), server))
        };
        let servers = settings.providers.iter().map(server).collect::<Result<_>>()?;
        Ok(Self { settings, presets, servers })
    }

    /// The model of a name; `default` is the operator's choice.
    fn model(&self, name: &str) -> std::result::Result<&ModelSetup, ModelError> {
        let named = match (name, &self.settings.default) {
            ("default", Some(named)) => named.as_str(),
            ("default", None) => {
                let message = "no model is the default one; set `models.default` in the configuration";
                return Err(ModelError::new(ModelErrorClass::Unknown, message));
            }
            (name, _) => name,
        };
        self.settings.models.iter().find(|model| model.name == named).ok_or_else(|| {
            let names: Vec<&str> = self.settings.models.iter().map(|model| model.name.as_str()).collect();
            let hint = match similar(named, names.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if names.is_empty() => "`models.models` in the configuration names none".to_owned(),
                None => format!("there are: {}", names.join(", ")),
            };
            ModelError::new(ModelErrorClass::Unknown, format!("no model is called `{named}`; {hint}"))
        })
    }

    fn server(&self, name: &str) -> std::result::Result<&Arc<Server>, ModelError> {
        self.servers.get(name).ok_or_else(|| {
            let message = format!("no server of models is called `{name}`; the configuration had it once");
            ModelError::new(ModelErrorClass::Unknown, message)
        })
    }
}
