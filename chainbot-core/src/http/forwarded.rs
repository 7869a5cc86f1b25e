//! What a proxy says about a request, and who is believed.
//!
//! Anybody can write `X-Forwarded-*`. On the port it counts from the proxies that the operator names, and from nobody unless some
//! are named; over the host's door the host says where the module is mounted. From everybody else it is taken away before anyone sees it.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName};

/// The client's address, the proxies' after it.
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Addresses of one chain that are looked at: more proxies are no house's.
const HOPS_MAX: usize = 16;

/// Takes the chain of addresses away, and gives the client's: the last one that is no proxy of ours. `None` when the request came from
/// somebody who is not believed, or does not say; then the address of the connection counts.
pub fn client(headers: &mut HeaderMap, peer: Option<IpAddr>, trusted: &[IpAddr]) -> Option<IpAddr> {
    let is_trusted = |address: &IpAddr| trusted.contains(&address.to_canonical());
    let lines: Vec<String> =
        headers.get_all(&FOR).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
    headers.remove(&FOR);
    if !peer.is_some_and(|peer| is_trusted(&peer)) {
        return None;
    }
    // Each proxy adds whom it saw at the end, so what is before the first stranger is that stranger's word.
    let hops = lines.iter().flat_map(|line| line.split(',')).map(str::trim).collect::<Vec<_>>();
    let mut last = None;
    for hop in hops.iter().rev().take(HOPS_MAX) {
        let address = address(hop)?;
        last = Some(address);
        if !is_trusted(&address) {
            break;
        }
    }
    last
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    bare.or_else(with_port).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(peer: &str, lines: &[&str], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FOR, HeaderValue::from_str(line).unwrap());
        }
        let trusted = ["127.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        let found = client(&mut headers, peer.parse().ok(), &trusted);
        assert_eq!(found, expected.map(|text| text.parse().unwrap()), "{peer} {lines:?}");
        assert!(headers.is_empty(), "nobody sees it after");
    }

    #[test]
    fn only_a_proxy_of_the_operator_is_believed_and_only_about_whom_it_saw() {
        check("127.0.0.1", &["203.0.113.7"], Some("203.0.113.7"));
        check("::ffff:127.0.0.1", &["203.0.113.7"], Some("203.0.113.7"));
        check("203.0.113.9", &["198.51.100.1"], None);
        check("unknown", &["198.51.100.1"], None);
        // What the client wrote itself comes before what the proxy saw.
        check("127.0.0.1", &["198.51.100.1, 203.0.113.7"], Some("203.0.113.7"));
        check("127.0.0.1", &["198.51.100.1", "203.0.113.7, 10.0.0.2"], Some("203.0.113.7"));
        check("127.0.0.1", &["10.0.0.2"], Some("10.0.0.2"));
        check("127.0.0.1", &["203.0.113.7:4711"], Some("203.0.113.7"));
        check("127.0.0.1", &["[2001:db8::1]"], Some("2001:db8::1"));
        check("127.0.0.1", &["[2001:db8::1]:80"], Some("2001:db8::1"));
        for nothing in [&[][..], &["nobody"], &["203.0.113.7, nobody"], &[""]] {
            check("127.0.0.1", nothing, None);
        }
    }
}
