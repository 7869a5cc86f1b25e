//! The way to the collector of traces, where the operator names one.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::Config;
use crate::env::Env;
use crate::error::Result;
use crate::net::{Egress, Policy};
use crate::observe::{TraceOptions, Traces};
use crate::port::{Secrets, Store};
use crate::runtime::Handle;

/// A way out of its own, to the collector and to nobody else: what definitions may reach says nothing about it.
pub(super) fn egress(config: &Config, port: Option<SocketAddr>, env: &Env) -> Result<Option<Arc<Egress>>> {
    let Some(endpoint) = &config.traces.endpoint else { return Ok(None) };
    let collector = [(endpoint.as_str(), "the collector of traces".to_owned())];
    let policy = Policy::to_servers(collector, port.into_iter().collect())?;
    Ok(Some(Arc::new(Egress::new(policy, env.clone())?)))
}

/// Begins to send, where there is a way.
pub(super) fn start(
    config: &Config,
    egress: Option<Arc<Egress>>,
    store: Arc<dyn Store>,
    handle: Handle,
    secrets: Arc<dyn Secrets>,
) -> Option<Traces> {
    let (egress, endpoint) = egress.zip(config.traces.endpoint.clone())?;
    let token = config.traces.token.clone();
    Some(Traces::start(TraceOptions { store, handle, egress, endpoint, token, secrets }))
}
