//! From names to addresses, and the check that stands between an answer and a connection.
//!
//! Invariant: [`Checked`] is the only resolver a client has, and belongs to one port, so every address that is
//! connected to was judged for the very host and port of the request. Address literals never pass here; the policy
//! judges them with the URL.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;

use super::EgressError;
use super::policy::{InForce, Rules};
use super::url::Host;
use crate::error::code::net as code;
use crate::limits::EGRESS_ADDRESSES_MAX;
use crate::model::class;

/// An answer under way.
pub type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Where names become addresses; tests script it.
pub trait Resolver: Send + Sync + 'static {
    /// Every address of a name. Nothing in the answer is trusted.
    fn lookup(&self, host: &str) -> Lookup;
}

/// The operating system's resolver.
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn lookup(&self, host: &str) -> Lookup {
        let host = host.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Whether an address is one of this machine's: only those can be bound. Sends nothing.
pub(crate) fn is_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// The resolver of the clients of one port: asks, judges every address, hands out those that passed.
pub(crate) struct Checked {
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) rules: InForce,
    pub(crate) port: u16,
}

impl reqwest::dns::Resolve for Checked {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let (rules, port) = (self.rules.clone(), self.port);
        let name = name.as_str().trim_end_matches('.').to_ascii_lowercase();
        let lookup = self.resolver.lookup(&name);
        Box::pin(async move {
            let answer = lookup.await.map_err(|error| no_address(&name, &error.to_string()))?;
            let passed = judge(&rules.get(), &Host::Name(name), port, answer)?;
            Ok(Box::new(passed.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// One forbidden address spoils the answer for a host that nobody granted: honest names do not mix. A granted host
/// may well have a link-local address beside its usable ones; those are left out.
pub(super) fn judge(
    rules: &Rules,
    host: &Host,
    port: u16,
    answer: Vec<IpAddr>,
) -> Result<Vec<SocketAddr>, EgressError> {
    let granted = rules.is_granted(host, port);
    let mut passed = Vec::new();
    let mut refused = None;
    for ip in answer {
        let address = SocketAddr::new(ip, port);
        match rules.check_address(host, address, is_this_machine) {
            Ok(()) => passed.push(address),
            Err(error) if granted => refused = refused.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    passed.truncate(EGRESS_ADDRESSES_MAX);
    match refused {
        Some(error) if passed.is_empty() => Err(error),
        _ if passed.is_empty() => Err(no_address(&host.to_string(), "the answer is empty")),
        _ => Ok(passed),
    }
}

pub(super) fn no_address(host: &str, why: &str) -> EgressError {
    let message =
        format!("the name `{host}` has no address: {why}; check its spelling and this machine's DNS");
    EgressError::new(class::CONNECT, &code::NAME, message)
}
