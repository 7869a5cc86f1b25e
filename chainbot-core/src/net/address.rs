//! The address table: what kind of place an IP address is. Pure.
//!
//! Invariants: anything not known to be public is refused, so a range that is missing here fails closed. An
//! IPv6 address that carries an IPv4 one (mapped, compatible, 6to4, NAT64, Teredo) is judged by what it carries.
//! Must not know grants or names; those are [`super::policy`]'s.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of place an address is. The text says it for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Zone {
    /// The public internet.
    Public,
    /// This machine or its network: reached by a grant only.
    Local(&'static str),
    /// Link-local, cloud metadata among it: reached only by a grant that spells the address.
    LinkLocal(&'static str),
    /// Never a place for a request, whatever is granted.
    Never(&'static str),
}

/// Judges an address.
pub(crate) fn zone_of(ip: IpAddr) -> Zone {
    match ip {
        IpAddr::V4(ip) => zone_of_v4(ip),
        IpAddr::V6(ip) => zone_of_v6(ip),
    }
}

fn zone_of_v4(ip: Ipv4Addr) -> Zone {
    let [a, b, c, _] = ip.octets();
    match (a, b, c) {
        (0, ..) => Zone::Never("unspecified, it means this machine"),
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Zone::Local("private"),
        (100, 64..=127, _) => Zone::Local("shared (carrier NAT, VPN)"),
        (127, ..) => Zone::Local("loopback"),
        (169, 254, _) => Zone::LinkLocal("link-local"),
        (192, 0, 0) => Zone::Never("reserved for protocols"),
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => Zone::Never("documentation"),
        (192, 88, 99) => Zone::Never("a 6to4 relay"),
        (198, 18..=19, _) => Zone::Never("benchmark"),
        (224..=239, ..) => Zone::Never("multicast"),
        (240.., ..) => Zone::Never("reserved or broadcast"),
        _ => Zone::Public,
    }
}

fn zone_of_v6(ip: Ipv6Addr) -> Zone {
    let segments = ip.segments();
    if let Some(mapped) = ip.to_ipv4_mapped() {
        // The kernel connects to the IPv4 address itself, so it is that address in every respect.
        return zone_of_v4(mapped);
    }
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => return Zone::Never("unspecified, it means this machine"),
        [0, 0, 0, 0, 0, 0, 0, 1] => return Zone::Local("loopback"),
        [0, 0, 0, 0, 0, 0, ..] => return Zone::Never("an IPv4 address in a form given up long ago"),
        // Stateless translation: ::ffff:0:a.b.c.d.
        [0, 0, 0, 0, 0xffff, 0, high, low] => return carried(&[v4(high, low)]),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => return carried(&[v4(high, low)]),
        // RFC 8215: where the IPv4 address sits depends on the network's own prefix length, so none is trusted.
        [0x64, 0xff9b, 1, ..] => return Zone::Never("NAT64 of a local network"),
        [0x2002, high, low, ..] => return carried(&[v4(high, low)]),
        // Teredo holds the server in clear and the client inverted.
        [0x2001, 0, server_high, server_low, _, _, high, low] => {
            return carried(&[v4(server_high, server_low), v4(!high, !low)]);
        }
        _ => {}
    }
    match segments[0] {
        0xfe80..=0xfebf => Zone::LinkLocal("link-local"),
        0xfec0..=0xfeff => Zone::Never("site-local, given up long ago"),
        0xfc00..=0xfdff => Zone::Local("private"),
        0xff00.. => Zone::Never("multicast"),
        0x2001 if segments[1] < 0x0200 => Zone::Never("reserved for protocols"),
        0x2001 if segments[1] == 0x0db8 => Zone::Never("documentation"),
        0x3fff if segments[1] < 0x1000 => Zone::Never("documentation"),
        // Only 2000::/3 was ever given out as public.
        0x2000..=0x3fff => Zone::Public,
        _ => Zone::Never("reserved"),
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}

/// A tunnel to a public address is public; a tunnel to anything else has no honest use.
fn carried(inner: &[Ipv4Addr]) -> Zone {
    if inner.iter().all(|ip| zone_of_v4(*ip) == Zone::Public) {
        Zone::Public
    } else {
        Zone::Never("an IPv6 form of an IPv4 address that is not public")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(addresses: &[&str], wanted: impl Fn(Zone) -> bool) {
        for text in addresses {
            let zone = zone_of(text.parse().unwrap());
            assert!(wanted(zone), "{text} is {zone:?}");
        }
    }

    #[test]
    fn public_addresses_are_public() {
        check(
            &[
                "1.1.1.1",
                "8.8.8.8",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "126.255.255.255",
                "128.0.0.0",
                "169.253.255.255",
                "169.255.0.0",
                "172.15.255.255",
                "172.32.0.0",
                "192.0.1.0",
                "192.167.255.255",
                "192.169.0.0",
                "198.17.255.255",
                "198.20.0.0",
                "223.255.255.255",
                "2606:4700::1111",
                "2a00:1450:4001::1",
                "::ffff:8.8.8.8",
                "64:ff9b::8.8.8.8",
                "2002:808:808::1",
                "2001:0:808:808::f7f7:f7f7",
            ],
            |zone| zone == Zone::Public,
        );
    }

    #[test]
    fn everything_else_is_not() {
        check(
            &[
                "0.0.0.0",
                "0.1.2.3",
                "10.0.0.1",
                "10.255.255.255",
                "100.64.0.1",
                "100.127.255.255",
                "127.0.0.1",
                "127.255.255.254",
                "169.254.169.254",
                "172.16.0.1",
                "172.31.255.255",
                "192.0.0.1",
                "192.0.2.1",
                "192.88.99.1",
                "192.168.0.1",
                "198.18.0.1",
                "198.19.255.255",
                "198.51.100.1",
                "203.0.113.1",
                "224.0.0.1",
                "239.255.255.255",
                "240.0.0.1",
                "255.255.255.255",
                "::",
                "::1",
                "::127.0.0.1",
                "::8.8.8.8",
                "::ffff:127.0.0.1",
                "::ffff:10.0.0.1",
                "::ffff:0:127.0.0.1",
                "64:ff9b::127.0.0.1",
                "64:ff9b::a9fe:a9fe",
                "64:ff9b:1::7f00:1",
                "64:ff9b:1::808:808",
                "64:ff9b:2::1",
                "100::1",
                "2001::1",
                "2001:0:7f00:1::f7f7:f7f7",
                "2001:0:808:808::80ff:fffe",
                "2001:10::1",
                "2001:db8::1",
                "2002:7f00:1::",
                "2002:a00:1::1",
                "3fff::1",
                "4000::1",
                "5f00::1",
                "fc00::1",
                "fdff::1",
                "fe80::1",
                "febf::1",
                "fec0::1",
                "ff02::1",
            ],
            |zone| zone != Zone::Public,
        );
    }

    #[test]
    fn tunnels_to_local_places_cannot_be_granted() {
        check(&["64:ff9b::127.0.0.1", "2002:7f00:1::", "::127.0.0.1", "2001:0:808:808::80ff:fffe"], |zone| {
            matches!(zone, Zone::Never(_))
        });
    }
}
