//! A plain connection for what is not HTTP: to an address that was checked for this very host and port.
//!
//! The same way as a request's: name, resolver, address table, connect. The host is one that the operator's
//! configuration names, so its port needs no grant; an address on this machine or its network still does.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::egress::Egress;
use super::error::EgressError;
use super::resolve::{is_this_machine, judge, no_address};
use super::url::{Host, parse_host};
use crate::error::code::net as code;
use crate::limits::EGRESS_CONNECT_S_MAX;
use crate::model::class;

/// A connection and how private its way is.
pub(crate) struct Dialed {
    pub(crate) stream: TcpStream,
    /// Whether what is sent in clear stays on this machine, or the operator granted the host.
    pub(crate) may_be_clear: bool,
}

impl Egress {
    /// Connects to a host that the configuration names.
    pub(crate) async fn dial(&self, host: &str, port: u16) -> Result<Dialed, EgressError> {
        let rules = self.rules();
        let parsed = parse_host(host).ok_or_else(|| {
            let message =
                format!("`{host}` is not the name or address of one host; correct the configuration");
            EgressError::new(class::INVALID, &code::URL, message)
        })?;
        let is_granted = rules.is_granted(&parsed, port);
        if !rules.is_public() && !is_granted {
            let message = format!(
                "{host} on port {port} may not be reached: the public internet is closed and no grant names it; an \
                 administrator can grant host `{host}` with port {port}"
            );
            return Err(EgressError::new(class::EGRESS, &code::NOT_GRANTED, message));
        }
        let addresses = match &parsed {
            Host::Address(ip) => {
                let address = SocketAddr::new(*ip, port);
                rules.check_address(&parsed, address, is_this_machine)?;
                vec![address]
            }
            Host::Name(name) => {
                let found =
                    timeout(Duration::from_secs(EGRESS_CONNECT_S_MAX), self.resolver().lookup(name)).await;
                let answer = match found {
                    Ok(answer) => answer.map_err(|error| no_address(name, &error.to_string()))?,
                    Err(_) => return Err(no_address(name, "the resolver did not answer")),
                };
                judge(&rules, &parsed, port, answer)?
            }
        };
        let mut why = String::new();
        for address in addresses {
            match timeout(Duration::from_secs(EGRESS_CONNECT_S_MAX), TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    return Ok(Dialed { stream, may_be_clear: is_granted || address.ip().is_loopback() });
                }
                Ok(Err(error)) => why = error.to_string(),
                Err(_) => why = format!("nothing answered within {EGRESS_CONNECT_S_MAX} s"),
            }
        }
        let message =
            format!("no connection to {host}:{port}: {why}; check that the server runs and can be reached");
        Err(EgressError::new(class::CONNECT, &code::CONNECT, message))
    }

    /// Makes a connection private; the certificate must be the host's.
    pub(crate) async fn encrypt(
        &self,
        stream: TcpStream,
        host: &str,
    ) -> Result<TlsStream<TcpStream>, EgressError> {
        let broken = |why: &dyn std::fmt::Display| {
            let message = format!("{host} has no proper TLS: {why}; check the server's certificate and name");
            EgressError::new(class::CONNECT, &code::TLS, message)
        };
        let name = match parse_host(host) {
            Some(Host::Name(name)) => ServerName::try_from(name).map_err(|error| broken(&error))?,
            Some(Host::Address(ip)) => ServerName::from(ip),
            None => return Err(broken(&"it is not a host's name")),
        };
        let mut config = self.tls_config().await?;
        config.alpn_protocols.clear();
        let connector = TlsConnector::from(std::sync::Arc::new(config));
        let done = timeout(Duration::from_secs(EGRESS_CONNECT_S_MAX), connector.connect(name, stream)).await;
        match done {
            Ok(done) => done.map_err(|error| broken(&error)),
            Err(_) => Err(broken(&format!("the handshake was not done within {EGRESS_CONNECT_S_MAX} s"))),
        }
    }
}
