//! Headers of requests and replies: what may be sent, what is kept over a redirect, how many are read.
//!
//! Invariant: a header that decides how bytes are framed or who is meant is never taken from outside.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::EgressError;
use crate::error::code::net as code;
use crate::limits::{EGRESS_HEADER_BYTES_MAX, EGRESS_HEADERS_MAX};
use crate::model::class;

/// They frame the message or name the host, which is the URL's business alone.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Kept when a redirect leads to another origin. A list of what may stay, since any other header may be a credential.
const KEPT_ACROSS_ORIGINS: &[&str] =
    &["accept", "accept-language", "content-type", "idempotency-key", "user-agent"];

/// Describe a body; gone when a redirect turns the request into a GET.
const OF_BODY: &[&str] = &["content-type", "content-encoding", "content-language", "content-location"];

/// Checks the headers of a request. Repeated names stay repeated.
pub(crate) fn read(headers: &[(String, String)]) -> Result<HeaderMap, EgressError> {
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if headers.len() > EGRESS_HEADERS_MAX || bytes > EGRESS_HEADER_BYTES_MAX {
        let message = format!(
            "{} headers of {bytes} bytes are over the bound of {EGRESS_HEADERS_MAX} headers and \
             {EGRESS_HEADER_BYTES_MAX} bytes; send the data in the body",
            headers.len()
        );
        return Err(EgressError::new(class::LIMIT, &code::REQUEST, message));
    }
    let mut out = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let refuse = |why: &str| {
            let name: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
            EgressError::new(
                class::INVALID,
                &code::REQUEST,
                format!("the header `{name}` cannot be sent: {why}"),
            )
        };
        let parsed =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| refuse("its name is not a header's"))?;
        if OURS.contains(&parsed.as_str()) {
            return Err(refuse("it is set by ChainBot from URL and body; leave it out"));
        }
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| refuse("its value holds a line break or another control character"))?;
        out.append(parsed, value);
    }
    Ok(out)
}

/// Leaves what another origin may see.
pub(crate) fn drop_credentials(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().cloned().collect();
    for name in names.iter().filter(|name| !KEPT_ACROSS_ORIGINS.contains(&name.as_str())) {
        headers.remove(name);
    }
}

/// Removes what described a body that is not sent again.
pub(crate) fn drop_body(headers: &mut HeaderMap) {
    for name in OF_BODY {
        headers.remove(*name);
    }
}

/// The headers of a reply, names in lower case, in the order they came.
pub(crate) fn of_reply(headers: &HeaderMap, from: &str) -> Result<Vec<(String, String)>, EgressError> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > EGRESS_HEADERS_MAX || bytes > EGRESS_HEADER_BYTES_MAX {
        return Err(too_many(from));
    }
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect())
}

/// The error of a reply whose head is too large, also when the HTTP reader says so.
pub(crate) fn too_many(from: &str) -> EgressError {
    let message = format!(
        "{from} answered with more than {EGRESS_HEADERS_MAX} headers or {EGRESS_HEADER_BYTES_MAX} bytes of them"
    );
    EgressError::new(class::LIMIT, &code::REPLY_TOO_LARGE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Result<HeaderMap, EgressError> {
        read(&[(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn line_breaks_and_framing_headers_are_refused_without_showing_values() {
        for (name, value) in [
            ("x", "a\r\nEvil: secret"),
            ("x", "a\nsecret"),
            ("x", "secret\0"),
            ("x\r\ny", "secret"),
            ("", "secret"),
            ("x y", "secret"),
            ("Host", "secret"),
            ("Content-Length", "secret"),
            ("transfer-encoding", "secret"),
        ] {
            let error = one(name, value).expect_err(name);
            assert_eq!((error.class, error.code.id), ("invalid", "CB-0610"));
            assert!(!error.message.contains("secret") && !error.message.contains('\n'), "{error}");
        }
        assert!(one("X-Ok", "grün").is_ok());
    }

    #[test]
    fn more_than_the_bound_is_an_error() {
        let many: Vec<_> = (0..=EGRESS_HEADERS_MAX).map(|i| (format!("x-{i}"), String::new())).collect();
        assert_eq!(read(&many).expect_err("many").class, "limit");
        assert!(read(&many[1..]).is_ok());
        assert_eq!(one("x", &"a".repeat(EGRESS_HEADER_BYTES_MAX)).expect_err("long").class, "limit");
    }

    #[test]
    fn another_origin_sees_only_harmless_headers() {
        let mut headers = read(&[
            ("Authorization".into(), "a".into()),
            ("Cookie".into(), "a".into()),
            ("Proxy-Authorization".into(), "a".into()),
            ("X-Api-Key".into(), "a".into()),
            ("Accept".into(), "a".into()),
            ("Idempotency-Key".into(), "a".into()),
        ])
        .unwrap();
        drop_credentials(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "idempotency-key"]);
    }
}
