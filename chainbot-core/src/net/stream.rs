//! A reply that is read as it comes, for servers that speak for minutes.
//!
//! The same way out as [`Egress::send`]: URL, policy, gate, resolver, address table; no redirects. The place at the host is held until the
//! stream is dropped, and dropping it closes the connection, which tells a server to stop its work.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::egress::{Egress, Request, first_hop, late};
use super::error::EgressError;
use super::lines::Lines;
use super::resolve::is_this_machine;
use super::url::Target;
use super::{cause, header};
use crate::error::code::net as code;
use crate::limits::STREAM_LINE_BYTES_MAX;
use crate::model::class;

/// A reply whose head has come.
pub struct Stream {
    /// 200 to 599.
    pub status: u16,
    /// Names in lower case; repeated ones stay repeated.
    pub headers: Vec<(String, String)>,
    response: reqwest::Response,
    target: Target,
    /// Bytes that may still come.
    left: usize,
    max_bytes: usize,
    _place: OwnedSemaphorePermit,
}

impl Egress {
    /// Sends a request and waits for the head of its reply, `request.timeout` at most (30 s unless said) from the moment that it has a place
    /// at the host. `request.max_bytes` bounds the whole body; redirects are not followed.
    pub async fn open(&self, request: Request) -> Result<Stream, EgressError> {
        let max_bytes = request.max_bytes.unwrap_or(crate::limits::EGRESS_REPLY_BYTES_DEFAULT);
        let limit = request.timeout.unwrap_or(Duration::from_secs(crate::limits::EGRESS_TOTAL_S_DEFAULT));
        let hop = first_hop(request)?;
        self.rules().check_target(&hop.target, is_this_machine)?;
        let place = self.enter(&hop.target.host().to_string()).await?;
        let shown = format!("`{} {}`", hop.method, hop.target);
        let response = timeout(limit, self.dispatch(&hop)).await.map_err(|_| late(&shown, limit))??;
        let status = response.status().as_u16();
        let headers = header::of_reply(response.headers(), &hop.target.to_string())?;
        Ok(Stream {
            status,
            headers,
            response,
            target: hop.target,
            left: max_bytes,
            max_bytes,
            _place: place,
        })
    }
}

impl Stream {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The next bytes of the body; `None` at its end. Class `timeout` when nothing comes for `silence`, `limit` over the bound, `cut` when the
    /// connection breaks first.
    pub async fn chunk(&mut self, silence: Duration) -> Result<Option<Vec<u8>>, EgressError> {
        let next = timeout(silence, self.response.chunk()).await.map_err(|_| {
            let message = format!("{} sent nothing for {} s", self.target, silence.as_secs());
            EgressError::new(class::TIMEOUT, &code::TIMEOUT, message)
        })?;
        let Some(bytes) = next.map_err(|error| cause::of(&error, &self.target))? else { return Ok(None) };
        let Some(left) = self.left.checked_sub(bytes.len()) else {
            let message = format!("the reply of {} is over {} bytes", self.target, self.max_bytes);
            return Err(EgressError::new(class::LIMIT, &code::REPLY_TOO_LARGE, message));
        };
        self.left = left;
        Ok(Some(bytes.to_vec()))
    }

    /// The rest of the body, to its end. The request bounds it.
    pub async fn whole(&mut self, silence: Duration) -> Result<Vec<u8>, EgressError> {
        let mut body = Vec::new();
        while let Some(bytes) = self.chunk(silence).await? {
            body.extend_from_slice(&bytes);
        }
        Ok(body)
    }

    /// The body as lines.
    pub fn lines(self, silence: Duration) -> BodyLines {
        BodyLines { stream: self, lines: Lines::default(), silence, is_over: false }
    }

    /// The rest of the body, cut after `max` bytes without an error: for the text of a refusal.
    pub async fn excerpt(&mut self, max: usize, silence: Duration) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < max
            && let Ok(Some(bytes)) = self.chunk(silence).await
        {
            body.extend_from_slice(&bytes);
        }
        body.truncate(max);
        body
    }
}

/// A reply's body as lines.
pub struct BodyLines {
    stream: Stream,
    lines: Lines,
    silence: Duration,
    is_over: bool,
}

impl BodyLines {
    /// The next line; the last one may have no end. `None` when the server ended the body. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<String>, EgressError> {
        loop {
            if let Some(line) = self.lines.next() {
                return Ok(Some(line));
            }
            if self.is_over {
                return Ok(std::mem::take(&mut self.lines).rest());
            }
            if self.lines.is_over() {
                let message = format!(
                    "a line of the reply of {} is over {STREAM_LINE_BYTES_MAX} bytes",
                    self.stream.target
                );
                return Err(EgressError::new(class::LIMIT, &code::REPLY_TOO_LARGE, message));
            }
            match self.stream.chunk(self.silence).await? {
                Some(bytes) => self.lines.push(&bytes),
                None => self.is_over = true,
            }
        }
    }
}
