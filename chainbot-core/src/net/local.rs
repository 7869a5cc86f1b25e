//! The command line's way to a server: its own over loopback, or one elsewhere over TLS.
//!
//! The address policy would refuse loopback, so this client has its own, simpler rule: plain HTTP goes to what is spelt as
//! a loopback address or `localhost` and nowhere else, and `localhost` is never looked up; another machine is reached
//! by `https` with a certificate that the system trusts. No redirects, no proxies. The token goes into a header and into
//! no message.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response};
use tokio::time::timeout;

use super::client::{plain_builder, tls_with_system_roots, tls_without_roots};
use super::lines::Lines;
use super::url::{Host, Target};
use super::{EgressError, cause, header};
use crate::error::code::net as code;
use crate::limits::{
    EGRESS_CONNECT_S_MAX, EGRESS_TOTAL_S_DEFAULT, LOCAL_REPLY_BYTES_MAX, STREAM_LINE_BYTES_MAX,
};
use crate::model::class;

/// Status, headers (names in lower case) and body.
pub type LocalReply = (u16, Vec<(String, String)>, Vec<u8>);

/// A client of the server on this machine.
pub struct LocalClient {
    client: reqwest::Client,
    base: Target,
    token: HeaderValue,
}

impl LocalClient {
    /// For `http://127.0.0.1:8000` or another loopback address. CB-0614 when it is not on this machine.
    pub fn new(base_url: &str, token: &str) -> Result<Self, EgressError> {
        let base = Target::parse(base_url)?;
        let is_loopback = match base.host() {
            Host::Address(ip) => ip.is_loopback(),
            Host::Name(name) => name == "localhost",
        };
        if !is_loopback || base.is_https() {
            let message = format!(
                "`{base}` is not on this machine; use `http://127.0.0.1:<port>`, or `https` for another machine"
            );
            return Err(EgressError::new(class::EGRESS, &code::LOCAL_URL, message));
        }
        let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        let builder = plain_builder(tls_without_roots()?)
            .resolve_to_addrs("localhost", &addresses.map(|ip| SocketAddr::new(ip, base.port())));
        Self::with(base, token, builder)
    }

    /// For `https://pi.example`, whose certificate the system must trust; for this machine as [`new`](Self::new).
    pub fn elsewhere(base_url: &str, token: &str) -> Result<Self, EgressError> {
        let base = Target::parse(base_url)?;
        match base.is_https() {
            true => Self::with(base, token, plain_builder(tls_with_system_roots()?)),
            false => Self::new(base_url, token),
        }
    }

    fn with(base: Target, token: &str, builder: reqwest::ClientBuilder) -> Result<Self, EgressError> {
        let mut token = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
            let message = "the token holds a character that no header takes; read it from its file again";
            EgressError::new(class::INVALID, &code::REQUEST, message)
        })?;
        token.set_sensitive(true);
        let client = builder
            .connect_timeout(Duration::from_secs(EGRESS_CONNECT_S_MAX))
            .build()
            .map_err(|error| cause::of(&error, &base))?;
        Ok(Self { client, base, token })
    }

    /// Sends a request; `path` begins with `/` and may have a query, `body` is JSON. Any status is a reply.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<LocalReply, EgressError> {
        let json = body.map(|body| ("application/json", body.to_string().into_bytes()));
        self.request_with(method, path, &[], json).await
    }

    /// As [`request`](Self::request), with further headers and a body of any content type.
    pub async fn request_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<LocalReply, EgressError> {
        let limit = Duration::from_secs(EGRESS_TOTAL_S_DEFAULT);
        let exchange = async {
            let mut response = self.send(method, path, headers, body).await?;
            let status = response.status().as_u16();
            let headers = header::of_reply(response.headers(), &self.base.to_string())?;
            Ok((status, headers, self.read_body(&mut response).await?))
        };
        timeout(limit, exchange).await.unwrap_or_else(|_| Err(self.late()))
    }

    /// Opens a stream of events. A status that is not 200 comes back as `Err` of the inner result, with the reply.
    /// The stream has no time limit: a server that dies closes its socket, for it is on this machine.
    pub async fn events(
        &self,
        path: &str,
        headers: &[(String, String)],
    ) -> Result<Result<EventLines, LocalReply>, EgressError> {
        let mut all = headers.to_vec();
        all.push(("accept".to_owned(), "text/event-stream".to_owned()));
        let mut response = self.send("GET", path, &all, None).await?;
        if response.status().as_u16() == 200 {
            return Ok(Ok(EventLines { response, base: self.base.clone(), lines: Lines::default() }));
        }
        let status = response.status().as_u16();
        let headers = header::of_reply(response.headers(), &self.base.to_string())?;
        let limit = Duration::from_secs(EGRESS_TOTAL_S_DEFAULT);
        let body =
            timeout(limit, self.read_body(&mut response)).await.unwrap_or_else(|_| Err(self.late()))?;
        Ok(Err((status, headers, body)))
    }

    async fn read_body(&self, response: &mut Response) -> Result<Vec<u8>, EgressError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| cause::of(&error, &self.base))? {
            if bytes.len() + chunk.len() > LOCAL_REPLY_BYTES_MAX {
                let message =
                    format!("the reply of {} is over {LOCAL_REPLY_BYTES_MAX} bytes; ask for less", self.base);
                return Err(EgressError::new(class::LIMIT, &code::REPLY_TOO_LARGE, message));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Response, EgressError> {
        let invalid = |message: String| EgressError::new(class::INVALID, &code::REQUEST, message);
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| invalid(format!("`{}` is not a method", method.escape_debug())))?;
        let target = self.base.join(path)?;
        if !path.starts_with('/') || !target.same_origin(&self.base) {
            return Err(invalid(format!("`{}` is not a path on {}", path.escape_debug(), self.base)));
        }
        let mut all: HeaderMap = header::read(headers)?;
        all.insert(AUTHORIZATION, self.token.clone());
        let mut request = self.client.request(method, target.url().clone()).headers(all);
        if let Some((content_type, body)) = body {
            let content_type = HeaderValue::try_from(content_type)
                .map_err(|_| invalid(format!("`{}` is not a content type", content_type.escape_debug())))?;
            request = request.header(CONTENT_TYPE, content_type).body(body);
        }
        let limit = Duration::from_secs(EGRESS_TOTAL_S_DEFAULT);
        match timeout(limit, request.send()).await {
            Ok(sent) => sent.map_err(|error| cause::of(&error, &target)),
            Err(_) => Err(self.late()),
        }
    }

    fn late(&self) -> EgressError {
        let limit_s = EGRESS_TOTAL_S_DEFAULT;
        let message = format!("{} did not answer within {limit_s} s; look into its log", self.base);
        EgressError::new(class::TIMEOUT, &code::TIMEOUT, message)
    }
}

/// The lines of a stream of server-sent events, without their ends.
pub struct EventLines {
    response: Response,
    base: Target,
    lines: Lines,
}

impl EventLines {
    /// The next line; an empty one ends an event. `None` when the server ended the stream. Dropping the future
    /// loses nothing.
    pub async fn next(&mut self) -> Result<Option<String>, EgressError> {
        loop {
            if let Some(line) = self.lines.next() {
                return Ok(Some(line));
            }
            if self.lines.is_over() {
                let message = format!("a line of {} is over {STREAM_LINE_BYTES_MAX} bytes", self.base);
                return Err(EgressError::new(class::LIMIT, &code::REPLY_TOO_LARGE, message));
            }
            match self.response.chunk().await.map_err(|error| cause::of(&error, &self.base))? {
                Some(chunk) => self.lines.push(&chunk),
                None => return Ok(None),
            }
        }
    }
}
