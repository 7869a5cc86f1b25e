//! The opening of a WebSocket as RFC 6455 has it: what the request must say, and the answer to its key.
//!
//! Knows nothing of credentials: the guard has looked at them before. A token in the URL or among the subprotocols is never
//! read: both end up in logs.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::upgrade::OnUpgrade;
use sha1::{Digest, Sha1};

use crate::error::code::{general, live as code};
use crate::error::{Error, Result};
use crate::http::request::{Call, is_websocket};

/// Our WebSocket.
const PATH: &str = "/api/chainbot/ws";
/// Where windows of the previous system are opened.
const WINDOWS: [&str; 2] = ["/api/ws/", "/api/workflows/ws/"];
/// What RFC 6455 adds to a key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The only subprotocol there is; browsers want one back when they offered some.
const PROTOCOL: &str = "chainbot.v1";

/// Whether a path is that of a WebSocket, which may say in its first frame who it is.
pub fn is_socket(path: &str) -> bool {
    path == PATH || WINDOWS.iter().any(|prefix| path.starts_with(prefix))
}

/// A request that opens a WebSocket.
pub struct Upgrade {
    on: OnUpgrade,
    accept: String,
    is_named: bool,
}

impl Upgrade {
    /// Takes it from its request.
    pub(in crate::http) fn of(call: &mut Call) -> Result<Self> {
        let refuse = |what: &str| {
            Err(Error::new(&code::UPGRADE, what).help(
            "open it with a WebSocket client; GET /api/chainbot/events has the same events as server-sent events",
        ))
        };
        let headers = call.headers();
        let has = |name: header::HeaderName, word: &str| {
            let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
        };
        if !is_websocket(headers) || !has(header::CONNECTION, "upgrade") {
            return refuse("the request has no `Connection: Upgrade` and `Upgrade: websocket`");
        }
        if !has(header::SEC_WEBSOCKET_VERSION, "13") {
            return refuse("Sec-WebSocket-Version is not 13");
        }
        let Some(accept) = accept(headers) else {
            return refuse("Sec-WebSocket-Key is not 16 bytes in base64");
        };
        let is_named = has(header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL);
        let on = call.take_upgrade().ok_or_else(|| {
            Error::new(&general::NOT_HERE, "there is no WebSocket over this way in")
                .help("GET /api/chainbot/events has the same events as server-sent events")
        })?;
        Ok(Self { on, accept, is_named })
    }

    /// The answer, and the connection that is there once it was sent.
    pub fn accept(self) -> Result<(Response, OnUpgrade)> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        let accept = HeaderValue::try_from(self.accept);
        let accept =
            accept.map_err(|error| Error::new(&general::INTERNAL, "base64 is no header").because(error))?;
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        if self.is_named {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
        }
        Ok((response, self.on))
    }
}

fn accept(headers: &HeaderMap) -> Option<String> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?.as_bytes();
    if STANDARD.decode(key).ok()?.len() != 16 {
        return None;
    }
    Some(STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_rfc_gets_the_answer_of_the_rfc() {
        let mut headers = HeaderMap::new();
        assert_eq!(accept(&headers), None);
        headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(accept(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static("c2hvcnQ="));
        assert_eq!(accept(&headers), None);
    }
}
