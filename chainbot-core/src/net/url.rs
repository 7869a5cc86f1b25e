//! One reading of a URL: what is checked is what is connected to.
//!
//! Invariants: scheme http or https, no user info, IPv4 in every spelling that a browser takes reduced to one
//! address, names in lower-case ASCII (IDNA) without a trailing dot. Pure. Must not know what is allowed.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use reqwest::Url;

use super::EgressError;
use crate::error::code::net as code;
use crate::limits::EGRESS_URL_BYTES_MAX;
use crate::model::class;

/// Who is called.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Host {
    /// A name, in lower-case ASCII without a trailing dot.
    Name(String),
    /// An address, spelt out in the URL.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(IpAddr::V4(ip)) => ip.fmt(f),
            Host::Address(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// A URL that was read, not yet allowed. Shows itself without its query, which may hold credentials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    url: Url,
    host: Host,
    port: u16,
}

impl Target {
    /// Reads an absolute URL.
    pub(crate) fn parse(text: &str) -> Result<Self, EgressError> {
        check_text(text)?;
        let url = Url::parse(text).map_err(|error| wrong(text, &error.to_string()))?;
        Self::from_url(url)
    }

    /// Reads a `Location`, absolute or relative to this URL.
    pub(crate) fn join(&self, location: &str) -> Result<Self, EgressError> {
        check_characters(location)?;
        let before_query = &location[..location.find(['/', '?', '#']).unwrap_or(location.len())];
        if before_query.contains(':') {
            check_text(location)?;
        }
        let url = self.url.join(location).map_err(|error| wrong(location, &error.to_string()))?;
        Self::from_url(url)
    }

    fn from_url(mut url: Url) -> Result<Self, EgressError> {
        let shown = url.as_str().to_owned();
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong(&shown, "only http and https are spoken"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong(&shown, "it carries a user name; put the credential into a header"));
        }
        let text = url.host_str().unwrap_or_default();
        let host = read_host(text).ok_or_else(|| wrong(&shown, "the host name is not a proper one"))?;
        if let Host::Name(name) = &host
            && name != text
        {
            // Without the dot the name is the same, and TLS certificates never have it.
            url.set_host(Some(name)).map_err(|error| wrong(&shown, &error.to_string()))?;
            if url.host_str() != Some(name.as_str()) {
                return Err(wrong(&shown, "the host name is not a proper one"));
            }
        }
        let port = url.port_or_known_default().filter(|port| *port != 0);
        let port = port.ok_or_else(|| wrong(&shown, "port 0 is no port"))?;
        url.set_fragment(None);
        Ok(Self { url, host, port })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether credentials for the one may be shown to the other.
    pub(crate) fn same_origin(&self, other: &Target) -> bool {
        self.is_https() == other.is_https() && self.host == other.host && self.port == other.port
    }

    /// Adds pairs to the query.
    pub(crate) fn with_query(mut self, pairs: &[(String, String)]) -> Result<Self, EgressError> {
        if !pairs.is_empty() {
            self.url.query_pairs_mut().extend_pairs(pairs);
        }
        if self.url.as_str().len() > EGRESS_URL_BYTES_MAX {
            return Err(too_long());
        }
        Ok(self)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self.url.as_str()))
    }
}

/// The URL that a page names as the next one: absolute or relative to `from`, and of the same origin, so that what is
/// sent along goes nowhere else.
pub fn next_url(from: &str, next: &str) -> Result<String, EgressError> {
    let from = Target::parse(from)?;
    let target = from.join(next)?;
    if !from.same_origin(&target) {
        let message = format!(
            "{from} names {target} as its next page, which is another origin; call that one in a step of its own"
        );
        return Err(EgressError::new(class::EGRESS, &code::REDIRECT, message));
    }
    Ok(target.url.to_string())
}

/// Where a redirect leads, when that is the same origin; `None` for everywhere else.
pub(crate) fn same_place(from: &str, location: &str) -> Option<String> {
    let from = Target::parse(from).ok()?;
    let to = from.join(location).ok()?;
    from.same_origin(&to).then(|| to.url.to_string())
}

/// Reads a host as a grant names it, with the same rules as in a URL.
pub(crate) fn parse_host(text: &str) -> Option<Host> {
    let bare = text.trim();
    let url = match bare.parse::<Ipv6Addr>() {
        Ok(ip) => format!("http://[{ip}]/"),
        Err(_) => format!("http://{bare}/"),
    };
    let target = Target::parse(&url).ok()?;
    // A port, a path or a query in the text would have moved out of the host.
    (target.port == 80
        && target.url.path() == "/"
        && target.url.query().is_none()
        && !bare.contains(['/', '?', '#']))
    .then_some(target.host)
    .filter(|_| !bare.ends_with(":80"))
}

fn read_host(text: &str) -> Option<Host> {
    if let Some(inner) = text.strip_prefix('[') {
        return inner.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(|ip| Host::Address(ip.into()));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(Host::Address(ip));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let label_is_fine = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    // A last label of digits is an IPv4 address to some resolvers and a name to others.
    let last_is_a_name =
        name.rsplit('.').next().is_some_and(|last| !last.bytes().all(|b| b.is_ascii_digit()));
    (name.len() <= 253 && last_is_a_name && name.split('.').all(label_is_fine))
        .then(|| Host::Name(name.to_owned()))
}

/// Spellings that parsers read in different ways are refused before any parser sees them.
fn check_text(text: &str) -> Result<(), EgressError> {
    check_characters(text)?;
    let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    let Some(scheme) = ["http://", "https://"].into_iter().find(|scheme| lower.starts_with(scheme)) else {
        return Err(wrong(text, "it must begin with `http://` or `https://`"));
    };
    let rest = &text[scheme.len()..];
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    if authority.is_empty() {
        return Err(wrong(text, "it names no host"));
    }
    if authority.contains('@') {
        return Err(wrong(text, "it carries a user name; put the credential into a header"));
    }
    Ok(())
}

fn check_characters(text: &str) -> Result<(), EgressError> {
    if text.len() > EGRESS_URL_BYTES_MAX {
        return Err(too_long());
    }
    let before_query = &text[..text.find(['?', '#']).unwrap_or(text.len())];
    if text.chars().any(char::is_control) || before_query.contains('\\') || text.trim() != text {
        return Err(wrong(text, "it holds a control character, a backslash or blanks around it"));
    }
    Ok(())
}

fn too_long() -> EgressError {
    let message = format!("a URL is over {EGRESS_URL_BYTES_MAX} bytes; send the data in the body");
    EgressError::new(class::INVALID, &code::URL, message)
}

fn wrong(text: &str, why: &str) -> EgressError {
    EgressError::new(class::INVALID, &code::URL, format!("`{}` is not a URL to call: {why}", shown(text)))
}

/// A URL for people: without query and user info, printable, short.
fn shown(text: &str) -> String {
    let text = &text[..text.find(['?', '#']).unwrap_or(text.len())];
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let rest = rest[..authority_end].rfind('@').map_or(rest, |at| &rest[at + 1..]);
    let separator = if scheme.is_empty() { "" } else { "://" };
    let whole = format!("{scheme}{separator}{rest}");
    let mut out: String =
        whole.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(200).collect();
    if whole.chars().nth(200).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_has_one_spelling() {
        for (text, host) in [
            ("http://EXAMPLE.com./a", "example.com"),
            ("http://2130706433/", "127.0.0.1"),
            ("http://0x7f.1/", "127.0.0.1"),
            ("http://0177.0.0.01/", "127.0.0.1"),
            ("http://127.0.0.1./", "127.0.0.1"),
            ("http://127。0。0。1/", "127.0.0.1"),
            ("http://[0:0:0:0:0:0:0:1]/", "[::1]"),
            ("https://bücher.example:444/", "xn--bcher-kva.example"),
        ] {
            assert_eq!(Target::parse(text).unwrap().host().to_string(), host, "{text}");
        }
    }

    #[test]
    fn doubtful_urls_are_refused() {
        for text in [
            "",
            "example.com",
            "ftp://example.com/",
            "file:///etc/passwd",
            "http:example.com",
            "http:/example.com",
            "http:///example.com",
            "http://",
            "http://user@example.com/",
            "http://user:pass@example.com/",
            "http://@example.com/",
            "http://exa mple.com/",
            "http://example.com\\@127.0.0.1/",
            "http://exam\tple.com/",
            "http://example.com/\r\nX: y",
            " http://example.com/",
            "http://example..com/",
            "http://example.com../",
            "http://[fe80::1%25eth0]/",
            "http://a.1.2.3.4/",
            "http://1.2.3.4.5/",
            "http://256.0.0.1/",
            "http://example.com:0/",
            "http://example.com:65536/",
            "http://ex!ample.com/",
        ] {
            let error = Target::parse(text).expect_err(text);
            assert_eq!((error.class, error.code.id), ("invalid", "CB-0600"), "{text}");
        }
    }

    #[test]
    fn messages_show_neither_query_nor_user() {
        let error = Target::parse("http://joe:secret@example.com/a?token=hidden").expect_err("user info");
        assert!(!error.message.contains("secret") && !error.message.contains("hidden"), "{error}");
        let target = Target::parse("https://example.com/a?token=hidden").unwrap();
        assert_eq!(target.to_string(), "https://example.com/a");
    }

    #[test]
    fn grants_name_hosts_as_urls_do() {
        assert_eq!(parse_host("Printer.LAN."), Some(Host::Name("printer.lan".into())));
        assert_eq!(parse_host("::1"), parse_host("[::1]"));
        assert_eq!(parse_host("192.168.1.5"), Some(Host::Address("192.168.1.5".parse().unwrap())));
        for text in ["", "*", "*.lan", "a:80", "a:81", "a/b", "a?b", "http://a", "a@b"] {
            assert_eq!(parse_host(text), None, "{text}");
        }
    }
}
