//! The least client of the API: one request on a connection of its own, with the token of the data folder.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Turns a hang into a failure; nothing is asserted about speed.
const HANG: Duration = Duration::from_secs(60);

/// Where the API is and what it wants to see.
#[derive(Clone)]
pub struct Client {
    address: String,
    token: String,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
}

impl Client {
    /// As the folder's files say. `None` when they are not there: the process ended.
    pub fn of(data: &Path) -> Option<Self> {
        let server = std::fs::read(data.join("server.json")).ok()?;
        let server: Value = serde_json::from_slice(&server).ok()?;
        let token = std::fs::read_to_string(data.join("token")).ok()?;
        let address = server["url"].as_str()?.strip_prefix("http://")?.to_owned();
        Some(Self { address, token: token.trim().to_owned() })
    }

    /// The same API by another door.
    pub fn at(&self, address: &str) -> Self {
        Self { address: address.to_owned(), token: self.token.clone() }
    }

    /// The same API with another credential.
    pub fn with_token(&self, token: &str) -> Self {
        Self { address: self.address.clone(), token: token.to_owned() }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A GET that must be answered with 200.
    pub fn get(&self, path: &str) -> Value {
        let reply = self.send("GET", path, "", "").unwrap_or_else(|error| panic!("GET {path}: {error}"));
        assert_eq!(reply.status, 200, "GET {path}: {}", reply.body);
        reply.body
    }

    /// All items of a list, page by page. `cursor` makes the next cursor from the last item.
    pub fn list(&self, path: &str, cursor: impl Fn(&Value) -> String) -> Result<Vec<Value>> {
        let (mut items, mut after) = (Vec::new(), String::new());
        loop {
            let reply = self.send("GET", &format!("{path}?limit=200{after}"), "", "")?;
            let Value::Array(page) = reply.body else {
                return Err(Error::new(ErrorKind::InvalidData, format!("{}: {}", reply.status, reply.body)));
            };
            let is_last = page.len() < 200;
            items.extend(page);
            match items.last() {
                Some(last) if !is_last => after = format!("&cursor={}", cursor(last)),
                _ => return Ok(items),
            }
        }
    }

    /// One request. An error means that no whole answer came.
    pub fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Result<Reply> {
        let mut stream = self.open(method, path, headers, body)?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        let cut = || Error::new(ErrorKind::UnexpectedEof, "the answer is cut");
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(cut)?;
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(cut)?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let body = &bytes[end + 4..];
        // An answer without content has no length.
        if status != 204 && length.is_none_or(|length: usize| body.len() < length) {
            return Err(cut());
        }
        Ok(Reply { status, body: serde_json::from_slice(body).unwrap_or(Value::Null) })
    }

    /// Waits, woken by every event, until `done` holds.
    pub fn wait_until(&self, mut done: impl FnMut() -> bool) {
        // Opened before the first look, so that nothing falls between the two.
        let stream = self.open("GET", "/api/chainbot/events", "", "").expect("the event stream opens");
        let (mut lines, begun) = (BufReader::new(stream), Instant::now());
        let mut line = String::new();
        loop {
            if done() {
                return;
            }
            assert!(begun.elapsed() < 2 * HANG, "nothing ends");
            line.clear();
            // A heartbeat line wakes as well.
            let read = lines.read_line(&mut line).expect("an event or a heartbeat");
            assert!(read > 0, "the event stream ended");
        }
    }

    /// Sends a request and leaves the answer to the caller.
    pub fn open(&self, method: &str, path: &str, headers: &str, body: &str) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(HANG))?;
        stream.set_write_timeout(Some(HANG))?;
        let (token, host, length) = (&self.token, &self.address, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
             content-length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(head.as_bytes())?;
        Ok(stream)
    }
}
