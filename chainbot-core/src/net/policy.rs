//! Which hosts, ports and addresses may be reached. Pure.
//!
//! The public internet is reached on the usual ports where the policy says so. Everything else, this machine and its
//! network above all, needs a grant that names exactly that host and port; a name that resolves to a granted
//! address is not granted by it. ChainBot's own port is refused whatever is granted: a workflow that could call the
//! API that runs it would act with nobody's rights.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::RwLock;

use super::EgressError;
use super::Endpoint;
use super::address::{Zone, zone_of};
use super::url::{Host, Target, parse_host};
use crate::error::code::{config, net as code};
use crate::limits::EGRESS_GRANTS_MAX;
use crate::model::class;
use crate::{Error, Result};

/// Ports of the public internet that need no grant: HTTP's own and their customary doubles.
const PUBLIC_PORTS: &[u16] = &[80, 443, 8080, 8443];

/// The operator's leave to reach one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// A name or an address, never a pattern.
    pub host: String,
    /// At least one.
    pub ports: Vec<u16>,
    /// For people who read the configuration later.
    pub why: String,
}

/// What may be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Hosts beyond the public internet, or beyond its usual ports.
    pub grants: Vec<Grant>,
    /// Whether the public internet may be reached without a grant.
    pub public: bool,
    /// Where ChainBot itself listens; an unspecified address means every address of this machine.
    pub own_addresses: Vec<SocketAddr>,
}

impl Policy {
    /// To these servers and nowhere else, for those that the configuration names: whoever writes an address there means it to be called. Each
    /// has its URL and why it is called. CB-0503 says which URL is none.
    pub fn to_servers<'a>(
        servers: impl IntoIterator<Item = (&'a str, String)>,
        own_addresses: Vec<SocketAddr>,
    ) -> Result<Self> {
        let grant = |(url, why): (&str, String)| {
            let Endpoint { host, port, .. } =
                Endpoint::of_url(url).map_err(|error| Error::new(&config::VALUE, error.message))?;
            Ok(Grant { host, ports: vec![port], why })
        };
        let grants = servers.into_iter().map(grant).collect::<Result<_>>()?;
        Ok(Self { grants, public: false, own_addresses })
    }
}

/// A policy that was read: hosts are in the one spelling that URLs have too.
#[derive(Debug)]
pub(crate) struct Rules {
    grants: Vec<(Host, Vec<u16>)>,
    public: bool,
    public_ports: Vec<u16>,
    own: Vec<SocketAddr>,
}

/// The rules in force, shared by all who judge; an operator may replace them while requests are under way. Who judges a
/// request takes the rules at each step, so a grant that was taken back opens nothing any more.
#[derive(Clone, Debug)]
pub(crate) struct InForce(Arc<RwLock<Arc<Rules>>>);

impl InForce {
    pub(crate) fn new(rules: Rules) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(rules))))
    }

    pub(crate) fn get(&self) -> Arc<Rules> {
        self.0.read().clone()
    }

    pub(crate) fn set(&self, rules: Rules) {
        *self.0.write() = Arc::new(rules);
    }
}

impl Rules {
    /// Reads a policy. CB-0613 names the first grant that is wrong.
    pub(crate) fn new(policy: &Policy) -> Result<Self> {
        if policy.grants.len() > EGRESS_GRANTS_MAX {
            let message = format!("{} grants are over the bound of {EGRESS_GRANTS_MAX}", policy.grants.len());
            return Err(Error::new(&code::GRANT, message).help("remove grants that nothing needs"));
        }
        let grants = policy.grants.iter().map(read_grant).collect::<Result<_>>()?;
        let own =
            policy.own_addresses.iter().map(|a| SocketAddr::new(a.ip().to_canonical(), a.port())).collect();
        Ok(Self { grants, public: policy.public, public_ports: PUBLIC_PORTS.to_vec(), own })
    }

    /// Opens one more port to the public, so that a test's trap is guarded by its address alone.
    #[cfg(test)]
    pub(crate) fn open_port(&mut self, port: u16) {
        self.public_ports.push(port);
    }

    /// Whether a grant names this host and port.
    pub(crate) fn is_granted(&self, host: &Host, port: u16) -> bool {
        self.grants.iter().any(|(granted, ports)| granted == host && ports.contains(&port))
    }

    pub(super) fn is_public(&self) -> bool {
        self.public
    }

    /// Judges host and port, and the address when the URL spells it.
    pub(crate) fn check_target(
        &self,
        target: &Target,
        is_this_machine: impl Fn(IpAddr) -> bool,
    ) -> Result<(), EgressError> {
        let (host, port) = (target.host(), target.port());
        if let Host::Address(ip) = host {
            self.check_address(host, SocketAddr::new(*ip, port), is_this_machine)?;
        }
        if self.is_granted(host, port) {
            return Ok(());
        }
        let why = if !self.public {
            "the public internet is closed and no grant names it"
        } else if !self.public_ports.contains(&port) {
            "only ports 80, 443, 8080 and 8443 are open without a grant"
        } else {
            return Ok(());
        };
        let message = format!("{host} on port {port} may not be reached: {why}; {}", remedy(host, port));
        Err(EgressError::new(class::EGRESS, &code::NOT_GRANTED, message))
    }

    /// Judges an address that `host` stands for.
    pub(crate) fn check_address(
        &self,
        host: &Host,
        address: SocketAddr,
        is_this_machine: impl Fn(IpAddr) -> bool,
    ) -> Result<(), EgressError> {
        let (ip, port) = (address.ip(), address.port());
        if self.is_own(address, is_this_machine) {
            let message =
                format!("{host} on port {port} is ChainBot's own address; use a `workflow` step instead");
            return Err(EgressError::new(class::EGRESS, &code::OWN_ADDRESS, message));
        }
        let granted = self.is_granted(host, port);
        let spelt_out = matches!(host, Host::Address(_));
        let (what, remedy) = match zone_of(ip) {
            Zone::Public => return Ok(()),
            Zone::Local(_) if granted => return Ok(()),
            Zone::LinkLocal(_) if granted && spelt_out => return Ok(()),
            Zone::Local(what) => (what, remedy(host, port)),
            Zone::LinkLocal(what) => (what, remedy(&Host::Address(ip), port)),
            Zone::Never(what) => (what, "no grant can open it".to_owned()),
        };
        let leads = if spelt_out { String::new() } else { format!("{host} leads to ") };
        let message = format!("{leads}{ip} may not be reached: the address is {what}; {remedy}");
        Err(EgressError::new(class::EGRESS, &code::ADDRESS, message))
    }

    /// A redirect may not open doors: what only a grant opens is called directly or not at all, else any public
    /// server could steer a request to a granted device.
    pub(crate) fn check_redirect(&self, from: &Target, to: &Target) -> Result<(), EgressError> {
        let refuse = |why: &str| {
            let message = format!("{from} redirects to {to}: {why}");
            Err(EgressError::new(class::EGRESS, &code::REDIRECT, message))
        };
        if from.is_https() && !to.is_https() {
            return refuse("from https to http is not followed; the data would travel in clear");
        }
        if from.host() != to.host()
            && self.is_granted(to.host(), to.port())
            && !self.is_granted(from.host(), from.port())
        {
            return refuse("a host that is open by a grant is not entered by a redirect; call it directly");
        }
        Ok(())
    }

    fn is_own(&self, address: SocketAddr, is_this_machine: impl Fn(IpAddr) -> bool) -> bool {
        let ip = address.ip().to_canonical();
        self.own.iter().any(|own| {
            own.port() == address.port()
                && (own.ip() == ip || ip.is_unspecified() || own.ip().is_unspecified() && is_this_machine(ip))
        })
    }
}

fn remedy(host: &Host, port: u16) -> String {
    format!("an administrator can grant host `{host}` with port {port}")
}

fn read_grant(grant: &Grant) -> Result<(Host, Vec<u16>)> {
    let wrong = |why: &str| {
        Error::new(&code::GRANT, format!("the grant for host `{}` is wrong: {why}", grant.host))
            .help("name one host and its ports, as `{host: printer.lan, ports: [631]}`")
    };
    let host = parse_host(&grant.host)
        .ok_or_else(|| wrong("the host is not one name or address (no pattern, scheme, port or path)"))?;
    if grant.ports.is_empty() || grant.ports.contains(&0) {
        return Err(wrong("it needs at least one port, and 0 is none"));
    }
    if let Host::Address(ip) = host
        && let Zone::Never(what) = zone_of(ip)
    {
        return Err(wrong(&format!("the address is {what}, which nothing can open")));
    }
    Ok((host, grant.ports.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(host: &str, port: u16) -> Grant {
        Grant { host: host.into(), ports: vec![port], why: String::new() }
    }

    fn check(policy: &Policy, url: &str, address: &str) -> Option<&'static str> {
        let rules = Rules::new(policy).unwrap();
        let target = Target::parse(url).unwrap();
        let here = |ip: IpAddr| ip.is_loopback() || ip == IpAddr::from([192, 168, 1, 2]);
        let address = SocketAddr::new(address.parse().unwrap(), target.port());
        rules
            .check_target(&target, here)
            .and_then(|()| rules.check_address(target.host(), address, here))
            .err()
            .map(|error| error.code.id)
    }

    #[test]
    fn the_public_internet_is_open_on_the_usual_ports_only() {
        let open = Policy { public: true, ..Policy::default() };
        assert_eq!(check(&open, "https://example.com/", "1.1.1.1"), None);
        assert_eq!(check(&open, "https://example.com:8443/", "1.1.1.1"), None);
        assert_eq!(check(&open, "https://example.com:25/", "1.1.1.1"), Some("CB-0602"));
        assert_eq!(check(&open, "https://example.com/", "10.0.0.1"), Some("CB-0601"));
        let closed = Policy { grants: vec![grant("example.com", 25)], ..Policy::default() };
        assert_eq!(check(&closed, "https://example.com/", "1.1.1.1"), Some("CB-0602"));
        assert_eq!(check(&closed, "https://example.com:25/", "1.1.1.1"), None);
    }

    #[test]
    fn a_grant_opens_exactly_its_host_and_port() {
        let policy = Policy { grants: vec![grant("NAS.lan.", 8080)], public: true, ..Policy::default() };
        assert_eq!(check(&policy, "http://nas.lan:8080/", "192.168.1.9"), None);
        assert_eq!(check(&policy, "http://nas.lan/", "192.168.1.9"), Some("CB-0601"));
        assert_eq!(check(&policy, "http://other.lan:8080/", "192.168.1.9"), Some("CB-0601"));
        assert_eq!(check(&policy, "http://192.168.1.9:8080/", "192.168.1.9"), Some("CB-0601"));
        assert_eq!(check(&policy, "http://nas.lan:8080/", "169.254.169.254"), Some("CB-0601"));
        assert_eq!(check(&policy, "http://nas.lan:8080/", "224.0.0.1"), Some("CB-0601"));
    }

    #[test]
    fn the_own_address_is_refused_even_with_a_grant() {
        let mut policy = Policy {
            grants: vec![grant("127.0.0.1", 8000), grant("localhost", 8000), grant("192.168.1.2", 8000)],
            public: true,
            own_addresses: vec!["127.0.0.1:8000".parse().unwrap()],
        };
        assert_eq!(check(&policy, "http://localhost:8000/", "127.0.0.1"), Some("CB-0603"));
        assert_eq!(check(&policy, "http://localhost:8000/", "::ffff:127.0.0.1"), Some("CB-0603"));
        assert_eq!(check(&policy, "http://192.168.1.2:8000/", "192.168.1.2"), None);
        policy.own_addresses = vec!["0.0.0.0:8000".parse().unwrap()];
        assert_eq!(check(&policy, "http://192.168.1.2:8000/", "192.168.1.2"), Some("CB-0603"));
        policy.own_addresses = vec!["[::]:8000".parse().unwrap()];
        assert_eq!(check(&policy, "http://localhost:8000/", "127.0.0.1"), Some("CB-0603"));
    }

    #[test]
    fn a_redirect_enters_no_granted_host_from_outside() {
        let policy = Policy {
            grants: vec![grant("nas.lan", 80), grant("tv.lan", 80)],
            public: true,
            ..Policy::default()
        };
        let rules = Rules::new(&policy).unwrap();
        let follow = |from: &str, to: &str| {
            rules.check_redirect(&Target::parse(from).unwrap(), &Target::parse(to).unwrap()).is_ok()
        };
        assert!(follow("http://example.com/", "https://example.org/"));
        assert!(follow("http://nas.lan/", "http://nas.lan/b"));
        assert!(follow("http://nas.lan/", "http://tv.lan/"));
        assert!(!follow("http://example.com/", "http://nas.lan/"));
        assert!(!follow("https://example.com/", "http://example.com/"));
    }

    #[test]
    fn wrong_grants_are_named() {
        for (host, ports) in [
            ("*.lan", vec![80]),
            ("a.lan", vec![]),
            ("a.lan", vec![0]),
            ("0.0.0.0", vec![80]),
            ("a.lan:80", vec![80]),
        ] {
            let grants = vec![Grant { host: host.into(), ports, why: String::new() }];
            let error = Rules::new(&Policy { grants, ..Policy::default() }).expect_err(host);
            assert_eq!(error.code().id, "CB-0613");
            assert!(error.message().contains(host), "{error}");
        }
    }
}
