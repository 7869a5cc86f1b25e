//! HTTP clients that can only connect to checked addresses: one for each scheme, port and way of pooling.
//!
//! A resolver hook is not told the port of the request, so a client belongs to one port and its resolver knows it.
//! TLS configurations are made once and shared. Nothing here follows redirects, reads proxy variables or retries.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::redirect;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::sync::OnceCell;

use super::EgressError;
use super::policy::InForce;
use super::resolve::{Checked, Resolver};
use super::url::Target;
use crate::error::code::net as code;
use crate::limits::{EGRESS_CLIENTS_MAX, EGRESS_CONNECT_S_MAX, EGRESS_HEADERS_MAX, EGRESS_PER_HOST_MAX};
use crate::model::class;

/// Shorter than the 5 s after which common servers close idle connections, so a request seldom meets a closing one.
const IDLE_S: u64 = 4;

/// Whether a request may go over a connection that was used before. A used one may be closing just as the request
/// is sent, and then nobody knows whether it arrived; a request that must not be repeated takes a fresh one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    Reuse,
    Fresh,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Slot {
    https: bool,
    port: u16,
    pooling: Pooling,
}

/// The clients, oldest first. The lock is held for one look-up, never over an await.
pub(crate) struct Clients {
    resolver: Arc<dyn Resolver>,
    rules: InForce,
    kept: Mutex<Vec<(Slot, reqwest::Client)>>,
    tls: OnceCell<ClientConfig>,
}

impl Clients {
    pub(crate) fn new(resolver: Arc<dyn Resolver>, rules: InForce) -> Self {
        Self { resolver, rules, kept: Mutex::default(), tls: OnceCell::new() }
    }

    pub(super) fn resolver(&self) -> &dyn Resolver {
        self.resolver.as_ref()
    }

    /// The client for a target.
    pub(crate) async fn get(
        &self,
        target: &Target,
        pooling: Pooling,
    ) -> Result<reqwest::Client, EgressError> {
        let slot = Slot { https: target.is_https(), port: target.port(), pooling };
        if let Some((_, client)) = self.kept.lock().iter().find(|(kept, _)| *kept == slot) {
            return Ok(client.clone());
        }
        let tls = if slot.https { self.tls().await?.clone() } else { tls_without_roots()? };
        let client = self.build(slot, tls)?;
        let mut kept = self.kept.lock();
        if let Some((_, first)) = kept.iter().find(|(other, _)| *other == slot) {
            // Another request made one meanwhile; two would have two pools.
            return Ok(first.clone());
        }
        if kept.len() >= EGRESS_CLIENTS_MAX {
            kept.remove(0);
        }
        kept.push((slot, client.clone()));
        Ok(client)
    }

    /// Trusts one authority in place of the system's.
    #[cfg(test)]
    pub(crate) fn trust(&self, authority: rustls::pki_types::CertificateDer<'static>) {
        let mut roots = RootCertStore::empty();
        roots.add(authority).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let config = builder.with_safe_default_protocol_versions().unwrap();
        self.tls.set(config.with_root_certificates(roots).with_no_client_auth()).unwrap();
    }

    fn build(&self, slot: Slot, tls: ClientConfig) -> Result<reqwest::Client, EgressError> {
        let checked = Checked { resolver: self.resolver.clone(), rules: self.rules.clone(), port: slot.port };
        let idle = if slot.pooling == Pooling::Reuse { EGRESS_PER_HOST_MAX } else { 0 };
        plain_builder(tls)
            .dns_resolver(Arc::new(checked))
            .connect_timeout(Duration::from_secs(EGRESS_CONNECT_S_MAX))
            .pool_max_idle_per_host(idle)
            .pool_idle_timeout(Duration::from_secs(IDLE_S))
            .build()
            .map_err(|error| unusable(&error))
    }

    /// The system's CA certificates are read at the first https request, off the async threads: it takes some 20 ms
    /// on a Pi, and a ChainBot without https needs none. A failure is not kept, so installing them helps at once.
    pub(super) async fn tls(&self) -> Result<&ClientConfig, EgressError> {
        self.tls
            .get_or_try_init(|| async {
                let made = tokio::task::spawn_blocking(tls_with_system_roots).await;
                made.map_err(|error| unusable(&error))?
            })
            .await
    }
}

/// What every client of this module has in common, the command line's too.
pub(crate) fn plain_builder(tls: ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .http1_max_headers(EGRESS_HEADERS_MAX)
}

/// For plain http: the client must have a TLS configuration, and this one trusts nobody.
pub(crate) fn tls_without_roots() -> Result<ClientConfig, EgressError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

pub(super) fn tls_with_system_roots() -> Result<ClientConfig, EgressError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .with_platform_verifier()
        .map_err(|error| {
            let message = format!(
                "the system's CA certificates cannot be used: {error}; install the package `ca-certificates`"
            );
            EgressError::new(class::CONNECT, &code::TLS, message)
        })?;
    Ok(builder.with_no_client_auth())
}

fn unusable(error: &dyn std::fmt::Display) -> EgressError {
    EgressError::new(class::INTERNAL, &code::TLS, format!("no HTTP client can be made: {error}"))
}
