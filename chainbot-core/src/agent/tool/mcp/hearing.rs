//! What comes by the streams of one request: events out of lines, messages out of events, bounds over all of them. Pure.

use std::time::Duration;

use serde_json::Value;

use super::link::Reply;
use super::wire::{self, Message};
use crate::limits::{
    MCP_ASKED_MAX, MCP_BYTES_MAX, MCP_NOISE_LINES_MAX, MCP_RESUME_MS_DEFAULT, MCP_RESUME_MS_MIN,
    MCP_RESUMES_MAX,
};
use crate::net::Events;

/// What a line brought.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    /// Nothing that anything is done about.
    Nothing,
    /// What was waited for.
    Reply(Reply),
    /// The server wants something; this is the answer.
    Asked(Value),
}

/// The streams of one request.
#[derive(Default)]
pub(super) struct Hearing {
    events: Events,
    bytes: usize,
    asked: usize,
    noise: usize,
    streams: usize,
    /// From where to go on. Of a whole event: what a cut stream ends with is not it.
    last: Option<String>,
}

impl Hearing {
    /// Takes a line, or the end of a stream, for the request with this id. An error says which bound was passed.
    pub(super) fn take(&mut self, line: Option<&str>, id: u64) -> Result<Heard, String> {
        let event = match line {
            Some(line) => {
                self.bytes += line.len() + 1;
                if self.bytes > MCP_BYTES_MAX {
                    return Err(format!("sent more than {MCP_BYTES_MAX} bytes for one request"));
                }
                let event = self.events.line(line);
                self.last = self.events.last_id().map(str::to_owned);
                event
            }
            None => self.events.end(),
        };
        // An event without text says from where to go on, and is no message.
        let Some(event) = event.filter(|event| !event.data.is_empty()) else { return Ok(Heard::Nothing) };
        match wire::read(&event.data) {
            Message::Reply { id: of, outcome } if of == id => return Ok(Heard::Reply(outcome)),
            Message::Request { id, method } => {
                self.asked += 1;
                if self.asked > MCP_ASKED_MAX {
                    return Err(format!("asks more than {MCP_ASKED_MAX} times for one request"));
                }
                return Ok(Heard::Asked(wire::answer(&id, &method)));
            }
            Message::Notification => {}
            // To another request, which belongs into another stream.
            Message::Reply { .. } | Message::Noise => {
                self.noise += 1;
                if self.noise > MCP_NOISE_LINES_MAX {
                    return Err("sends what are no messages".to_owned());
                }
            }
        }
        Ok(Heard::Nothing)
    }

    /// Forgets what was cut, and says from where to go on. An error says why that cannot be.
    pub(super) fn next_stream(&mut self) -> Result<String, String> {
        self.events.cut(self.last.clone());
        self.streams += 1;
        if self.streams > MCP_RESUMES_MAX {
            return Err(format!("broke its answer off more than {MCP_RESUMES_MAX} times"));
        }
        self.last.clone().ok_or_else(|| "ended its answer before the reply".to_owned())
    }

    /// How long to wait before the next stream.
    pub(super) fn pause(&self) -> Duration {
        let wanted = self.events.retry().unwrap_or(Duration::from_millis(MCP_RESUME_MS_DEFAULT));
        wanted.max(Duration::from_millis(MCP_RESUME_MS_MIN))
    }

    /// Bytes that may still come.
    pub(super) fn left(&self) -> usize {
        MCP_BYTES_MAX.saturating_sub(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Takes lines for the request 7, and gives what they brought besides nothing.
    fn heard(hearing: &mut Hearing, text: &str) -> Vec<Heard> {
        let taken = text.split_terminator('\n').map(|line| hearing.take(Some(line), 7).unwrap());
        taken.filter(|heard| *heard != Heard::Nothing).collect()
    }

    #[test]
    fn a_reply_is_told_from_what_else_comes() {
        let mut hearing = Hearing::default();
        let text = "id: 1\nretry: 700\ndata:\n\n: comment\n\
            data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n\
            data: {\"jsonrpc\":\"2.0\",\"id\":8,\"result\":{}}\n\n\
            id: 2\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"ping\"}\n\n\
            data: {\"jsonrpc\":\"2.0\",\"id\":7,\ndata: \"result\":{\"x\":1}}\n\n";
        let pong = json!({ "jsonrpc": "2.0", "id": "a", "result": {} });
        assert_eq!(heard(&mut hearing, text), [Heard::Asked(pong), Heard::Reply(Ok(json!({ "x": 1 })))]);
        assert_eq!(hearing.pause(), Duration::from_millis(700));
    }

    #[test]
    fn a_stream_goes_on_after_the_last_whole_event() {
        let mut hearing = Hearing::default();
        assert!(hearing.next_stream().is_err());
        assert_eq!(hearing.pause(), Duration::from_millis(MCP_RESUME_MS_DEFAULT));
        assert_eq!(
            heard(&mut hearing, "id: 1\nretry: 0\ndata:\n\nid: 2\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,"),
            []
        );
        // The end of a stream is the end of its last event, which is not whole here.
        assert_eq!(hearing.take(None, 7), Ok(Heard::Nothing));
        assert_eq!(hearing.next_stream().as_deref(), Ok("1"));
        assert_eq!(hearing.pause(), Duration::from_millis(MCP_RESUME_MS_MIN));
        let rest = "id: 2\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\n\n";
        assert_eq!(heard(&mut hearing, rest), [Heard::Reply(Ok(json!({})))]);
        // Some servers leave the last empty line out.
        let mut hearing = Hearing::default();
        assert_eq!(heard(&mut hearing, "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}"), []);
        assert_eq!(hearing.take(None, 7), Ok(Heard::Reply(Ok(json!({})))));
    }

    #[test]
    fn what_comes_is_bounded_over_all_streams() {
        let over = |event: &str, most: usize| {
            let mut hearing = Hearing::default();
            let lines = event.split_terminator('\n').map(Some);
            for _ in 0..most {
                lines.clone().for_each(|line| drop(hearing.take(line, 7).unwrap()));
                drop(hearing.next_stream());
            }
            lines.map(|line| hearing.take(line, 7)).find_map(Result::err).unwrap_or_default()
        };
        let asks = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"roots/list\"}\n\n";
        assert!(over(asks, MCP_ASKED_MAX).contains("asks more"));
        assert!(over("data: hello\n\n", MCP_NOISE_LINES_MAX).contains("no messages"));
        let large = format!(": {}", "x".repeat(1024 * 1024 - 3));
        assert!(over(&large, 16).contains("bytes"));
        assert_eq!(over(&large, 15), "");
        let mut hearing = Hearing::default();
        for _ in 0..MCP_RESUMES_MAX {
            heard(&mut hearing, "id: 1\ndata:\n\n");
            assert!(hearing.next_stream().is_ok());
        }
        assert!(hearing.next_stream().unwrap_err().contains("times"));
    }
}
