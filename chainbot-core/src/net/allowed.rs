//! Hosts that a secret may be sent to, and the far end of a request as it is compared with them. Pure.
//!
//! An entry names one host: `api.example.com` (any port, encrypted), `api.example.com:8443`, and with `http://`
//! before it a host to which the secret may travel in clear. There are no patterns: a list that grows by itself
//! allows what nobody thought of.

use super::EgressError;
use super::url::{Host, Target, parse_host};

/// Whom a request goes to, for comparing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name, or an address; in the one spelling of URLs.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether what is sent can be read on the way.
    pub is_encrypted: bool,
}

impl Endpoint {
    /// The far end of a URL.
    pub fn of_url(url: &str) -> Result<Self, EgressError> {
        let target = Target::parse(url)?;
        Ok(Self { host: target.host().to_string(), port: target.port(), is_encrypted: target.is_https() })
    }

    /// The entry that would allow it.
    pub fn entry(&self) -> String {
        let Self { host, port, is_encrypted } = self;
        match (*is_encrypted, *port) {
            (true, 443) => host.clone(),
            (true, port) => format!("{host}:{port}"),
            (false, port) => format!("http://{host}:{port}"),
        }
    }

    /// Whether one of the entries, in normal form, names it.
    pub fn is_allowed_by(&self, entries: &[String]) -> bool {
        entries.iter().filter_map(|entry| Entry::read(entry)).any(|entry| {
            entry.host.to_string() == self.host
                && entry.port.is_none_or(|port| port == self.port)
                && (self.is_encrypted || entry.in_clear)
        })
    }
}

/// The normal form of an entry; `None` when it does not name one host.
pub fn allowed_host(text: &str) -> Option<String> {
    Entry::read(text).map(|Entry { host, port, in_clear }| {
        let scheme = if in_clear { "http://" } else { "" };
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        format!("{scheme}{host}{port}")
    })
}

struct Entry {
    host: Host,
    port: Option<u16>,
    in_clear: bool,
}

impl Entry {
    fn read(text: &str) -> Option<Self> {
        let (in_clear, rest) = match text.strip_prefix("http://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("https://").unwrap_or(text)),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(host) = parse_host(rest) {
            return Some(Self { host, port: None, in_clear });
        }
        let (host, port) = rest.rsplit_once(':')?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port != 0)?;
        Some(Self { host: parse_host(host)?, port: Some(port), in_clear })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_one_spelling_and_names_one_host() {
        for (text, normal) in [
            ("API.Example.com.", "api.example.com"),
            ("https://api.example.com/", "api.example.com"),
            ("api.example.com:8443", "api.example.com:8443"),
            ("http://192.168.1.5:8123", "http://192.168.1.5:8123"),
            ("[::1]:25", "[::1]:25"),
            ("::1", "[::1]"),
        ] {
            assert_eq!(allowed_host(text).as_deref(), Some(normal), "{text}");
        }
        for text in
            ["", "*", "*.example.com", "a/b", "a:0", "a:70000", "a:+80", "ftp://a", "u@a", "a b", "http://"]
        {
            assert_eq!(allowed_host(text), None, "{text}");
        }
    }

    #[test]
    fn only_the_named_host_and_port_are_allowed_and_clear_text_only_when_said() {
        let allowed = |entry: &str, url: &str| {
            Endpoint::of_url(url).unwrap().is_allowed_by(&[allowed_host(entry).unwrap()])
        };
        assert!(allowed("api.example.com", "https://API.example.com./a"));
        assert!(allowed("api.example.com", "https://api.example.com:8443/"));
        assert!(!allowed("api.example.com", "http://api.example.com/"));
        assert!(!allowed("api.example.com", "https://api.example.com.evil.test/"));
        assert!(!allowed("api.example.com", "https://x.api.example.com/"));
        assert!(!allowed("api.example.com:8443", "https://api.example.com/"));
        assert!(allowed("http://127.0.0.1:80", "http://2130706433/"));
        assert!(!Endpoint::of_url("https://a.test/").unwrap().is_allowed_by(&[]));
        for url in ["https://a.test/", "https://a.test:8443/", "http://a.test/"] {
            let end = Endpoint::of_url(url).unwrap();
            assert!(end.is_allowed_by(&[allowed_host(&end.entry()).unwrap()]), "{url}: the remedy works");
        }
    }
}
