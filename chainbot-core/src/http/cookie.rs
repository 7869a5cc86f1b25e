//! The cookies of a browser's login: both tokens, out of reach of scripts, for this origin alone.
//!
//! The names' prefixes make browsers refuse them from any other place. Over plain HTTP beyond this machine, which the operator
//! must allow, browsers take no such cookie, so there they lose prefix and `Secure`. A cookie is deleted with exactly the
//! attributes it was set with; else it would stay.

use axum::http::{HeaderMap, HeaderValue, header};

use super::request::Call;
use crate::auth::Pair;
use crate::error::code::{account as code, general};
use crate::error::{Error, Result};

/// Where the refresh token goes, and nowhere else.
pub const REFRESH_PATH: &str = "/api/chainbot/auth/refresh";

/// How cookies are called and kept.
#[derive(Clone, Copy, Debug)]
pub struct Cookies {
    /// Whether the module is reached over plain HTTP beyond this machine.
    pub insecure_lan: bool,
}

impl Cookies {
    fn access_name(self) -> &'static str {
        if self.insecure_lan { "cb" } else { "__Host-cb" }
    }

    fn refresh_name(self) -> &'static str {
        if self.insecure_lan { "cb-refresh" } else { "__Secure-cb-refresh" }
    }

    /// The access token.
    pub fn access(self, headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
        find(headers, self.access_name())
    }

    /// The refresh token.
    pub fn refresh(self, headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
        find(headers, self.refresh_name())
    }

    /// Sets both.
    pub fn set(self, call: &Call, pair: &Pair) -> Result<[HeaderValue; 2]> {
        self.both(call, (&pair.access, pair.access_s), (pair.refresh.reveal(), pair.refresh_s))
    }

    /// Deletes both.
    pub fn clear(self, call: &Call) -> Result<[HeaderValue; 2]> {
        self.both(call, ("", 0), ("", 0))
    }

    fn both(self, call: &Call, access: (&str, i64), refresh: (&str, i64)) -> Result<[HeaderValue; 2]> {
        let path = call.location(REFRESH_PATH);
        Ok([self.one(self.access_name(), access, "/")?, self.one(self.refresh_name(), refresh, &path)?])
    }

    fn one(self, name: &str, (value, life_s): (&str, i64), path: &str) -> Result<HeaderValue> {
        let secure = if self.insecure_lan { "" } else { "; Secure" };
        let text =
            format!("{name}={value}; Path={path}; Max-Age={life_s}; HttpOnly; SameSite=Strict{secure}");
        let mut value = HeaderValue::try_from(text)
            .map_err(|error| Error::new(&general::INTERNAL, "a cookie is no header").because(error))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Refuses a request that a page of another origin made a browser send: it has a cookie and changes something.
    pub fn check_origin(self, headers: &HeaderMap) -> Result<()> {
        let refuse = |why: &str| {
            Err(Error::new(&code::ORIGIN, why)
                .help("programs send `Authorization: Bearer ...` and no cookie; a proxy must pass Host on as it came"))
        };
        let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(origin) = text(header::ORIGIN) else { return refuse("the header Origin is missing") };
        let Some(host) = text(header::HOST) else { return refuse("the header Host is missing") };
        let own = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if !own.is_some_and(|own| own.eq_ignore_ascii_case(host)) {
            return refuse("the header Origin names another address than Host");
        }
        match headers.get("sec-fetch-site") {
            Some(site) if site == "same-origin" => Ok(()),
            Some(_) => refuse("the header Sec-Fetch-Site is not `same-origin`"),
            // Browsers send it to addresses that they trust only, which plain HTTP beyond this machine is not.
            None if self.insecure_lan => Ok(()),
            None => refuse("the header Sec-Fetch-Site is missing"),
        }
    }
}

/// A cookie that is there once; twice is somebody's attempt.
fn find<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, &'static str> {
    let mut found = None;
    for header in headers.get_all(header::COOKIE) {
        let text = header.to_str().map_err(|_| "the Cookie header is not ASCII text")?;
        for (key, value) in text.split(';').filter_map(|one| one.trim().split_once('=')) {
            if key == name && found.replace(value).is_some() {
                return Err("the request has the cookie twice");
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            map.append(header::HeaderName::try_from(name.to_lowercase()).unwrap(), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn a_cookie_is_found_among_others_and_never_twice() {
        let cookies = Cookies { insecure_lan: false };
        assert_eq!(cookies.access(&headers(&["Cookie: a=b; __Host-cb=x.y.z; cb=1"])), Ok(Some("x.y.z")));
        assert_eq!(cookies.access(&headers(&["Cookie: cb=1; Xcb=2"])), Ok(None));
        assert!(cookies.access(&headers(&["Cookie: __Host-cb=1", "Cookie: __Host-cb=2"])).is_err());
        assert_eq!(Cookies { insecure_lan: true }.access(&headers(&["Cookie: cb=1"])), Ok(Some("1")));
    }

    #[test]
    fn only_a_page_of_the_same_address_may_use_a_cookie_to_change_something() {
        let check = |insecure_lan: bool, lines: &[&str]| {
            Cookies { insecure_lan }.check_origin(&headers(lines)).is_ok()
        };
        let (host, own, site) =
            ("Host: pi.local:8000", "Origin: https://pi.local:8000", "Sec-Fetch-Site: same-origin");
        assert!(check(false, &[host, own, site]));
        assert!(check(false, &[host, "Origin: http://PI.local:8000", site]));
        assert!(!check(false, &[host, site]) && !check(false, &[own, site]) && !check(false, &[host, own]));
        assert!(check(true, &[host, own]));
        for origin in [
            "https://evil.example",
            "null",
            "https://pi.local",
            "https://pi.local:8000.evil.example",
            "pi.local:8000",
        ] {
            assert!(!check(true, &[host, &format!("Origin: {origin}"), site]), "{origin}");
        }
        for site in ["cross-site", "same-site", "none"] {
            assert!(!check(true, &[host, own, &format!("Sec-Fetch-Site: {site}")]), "{site}");
        }
    }
}
