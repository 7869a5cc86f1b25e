//! What people may know of the models: everything but keys.

use super::{BreakerState, ModelSetup, Models, ProviderKind};
use crate::agent::dialect::Dialect;
use crate::port::StoredProbe;

/// One model, its server and how it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// What the operator says of it.
    pub setup: ModelSetup,
    /// Whether `default` means it.
    pub is_default: bool,
    /// The wire of its server.
    pub kind: ProviderKind,
    /// Where its server is; empty for a script.
    pub base_url: String,
    /// Whether its server wants a key.
    pub has_key: bool,
    /// Whether its server is left alone.
    pub breaker: BreakerState,
    /// Whether it is being asked just now what it can do; then `probe` is of an earlier time.
    pub is_probing: bool,
    /// What it was found to be able to do.
    pub probe: Option<StoredProbe>,
    /// How it calls tools, as far as that is known.
    pub dialect: Option<Dialect>,
    /// Those that are asked in its place.
    pub fallback: Vec<String>,
}

impl Models {
    /// All models, by name.
    pub fn list(&self) -> Vec<ModelInfo> {
        let table = self.table();
        let now = self.env.monotonic();
        let info = |setup: &ModelSetup| {
            let server = table.servers.get(&setup.provider)?;
            let probe = self.known(&table, setup);
            let found = probe.as_ref().and_then(super::resolve::dialect_of);
            let found = found.or((server.setup.kind == ProviderKind::Scripted).then_some(Dialect::Native));
            Some(ModelInfo {
                dialect: setup.dialect.or(found),
                probe,
                is_probing: self.probed.lock().as_ref() == Some(&setup.name),
                is_default: table.settings.default.as_ref() == Some(&setup.name),
                kind: server.setup.kind,
                base_url: server.setup.base_url.clone(),
                has_key: server.setup.api_key.is_some(),
                breaker: server.breaker.state(now),
                fallback: table.settings.fallback.get(&setup.name).cloned().unwrap_or_default(),
                setup: setup.clone(),
            })
        };
        table.settings.models.iter().filter_map(info).collect()
    }

    /// How well it goes: 1 when every server is asked, and why not. A server that is left alone takes its share of the models with it.
    pub fn component(&self) -> (f64, Option<String>) {
        let all = self.list();
        let is_left = |info: &&ModelInfo| !matches!(info.breaker, BreakerState::Closed);
        let left: std::collections::BTreeSet<&str> =
            all.iter().filter(is_left).map(|info| info.setup.provider.as_str()).collect();
        if left.is_empty() {
            return (1.0, None);
        }
        let lost = all.iter().filter(is_left).count();
        let names: Vec<&str> = left.into_iter().collect();
        let why = format!("left alone after failures: {}", names.join(", "));
        (1.0 - lost as f64 / all.len() as f64 / 2.0, Some(why))
    }
}
