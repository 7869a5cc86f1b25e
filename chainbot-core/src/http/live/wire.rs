//! A WebSocket's bytes: a bounded queue of frames on the way out, and what comes in.
//!
//! Writing and reading are one poll, so that a client that does not read holds up nothing but its own queue. A newer state
//! of a run takes the place of an older one that still waits. The frames of RFC 6455 are tungstenite's.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error as WsError, Message, Utf8Bytes};

use crate::id::RunId;
use crate::limits::{SOCKET_QUEUE_BYTES_MAX, SOCKET_WRITE_BYTES};

/// One connection.
pub struct Wire<S> {
    stream: WebSocketStream<S>,
    queue: VecDeque<Waiting>,
    bytes: usize,
    frames_max: usize,
    was_full: bool,
    /// Since when the client has taken nothing of what waits.
    stuck: Option<Instant>,
    is_stuck_told: bool,
}

struct Waiting {
    message: Message,
    state_of: Option<RunId>,
}

/// What came of the connection.
pub enum Came {
    /// A frame of text.
    Text(Utf8Bytes),
    /// A sign of life.
    Alive,
    /// There is room in the queue again.
    Room,
    /// The client takes nothing at this moment, so somebody should look at the clock.
    Stuck,
    /// Bytes, which nothing here understands.
    Binary,
    /// A message over the bound.
    TooLarge,
    /// Text that is no text.
    NotText,
    /// What no WebSocket client sends.
    Broken,
    /// The client has left, or is gone.
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Of a connection whose handshake is done.
    pub async fn new(io: S, message_bytes: usize, frames_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(4 * 1024)
            .write_buffer_size(SOCKET_WRITE_BYTES)
            .max_message_size(Some(message_bytes))
            .max_frame_size(Some(message_bytes));
        let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        Self {
            stream,
            queue: VecDeque::new(),
            bytes: 0,
            frames_max,
            was_full: false,
            stuck: None,
            is_stuck_told: false,
        }
    }

    /// Puts a frame into the queue.
    pub fn send(&mut self, text: Utf8Bytes) {
        self.push(Message::Text(text), None);
    }

    /// Puts the state of a run into the queue, in the place of an older one that waits.
    pub fn send_state(&mut self, run: RunId, text: Utf8Bytes) {
        if let Some(at) = self.queue.iter().position(|waiting| waiting.state_of == Some(run))
            && let Some(old) = self.queue.remove(at)
        {
            self.bytes -= old.message.len();
        }
        self.push(Message::Text(text), Some(run));
    }

    /// Asks for a sign of life.
    pub fn ping(&mut self) {
        self.push(Message::Ping(Bytes::new()), None);
    }

    fn push(&mut self, message: Message, state_of: Option<RunId>) {
        self.bytes += message.len();
        self.queue.push_back(Waiting { message, state_of });
        self.was_full |= !self.has_room();
    }

    /// Whether more should be put into the queue. Answers and one record's events always may, which is little.
    pub fn has_room(&self) -> bool {
        self.queue.len() < self.frames_max && self.bytes < SOCKET_QUEUE_BYTES_MAX
    }

    /// Since when the client takes nothing although something waits.
    pub fn stuck(&self) -> Option<Instant> {
        self.stuck
    }

    /// What comes next. Loses nothing when the future is dropped before it is ready.
    pub async fn next(&mut self) -> Came {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Came> {
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(came_of(&error));
        }
        if self.stuck.is_none() {
            self.is_stuck_told = false;
        } else if !std::mem::replace(&mut self.is_stuck_told, true) {
            return Poll::Ready(Came::Stuck);
        }
        if self.was_full && self.has_room() {
            self.was_full = false;
            return Poll::Ready(Came::Room);
        }
        self.stream.poll_next_unpin(cx).map(|item| match item {
            Some(Ok(Message::Text(text))) => Came::Text(text),
            Some(Ok(Message::Binary(_))) => Came::Binary,
            Some(Ok(Message::Close(_))) | None => Came::Gone,
            Some(Ok(_)) => Came::Alive,
            Some(Err(error)) => came_of(&error),
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        while !self.queue.is_empty() {
            match self.stream.poll_ready_unpin(cx)? {
                Poll::Pending => {
                    self.stuck.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
                Poll::Ready(()) => {
                    let Some(waiting) = self.queue.pop_front() else { break };
                    self.bytes -= waiting.message.len();
                    self.stuck = None;
                    self.stream.start_send_unpin(waiting.message)?;
                }
            }
        }
        self.stream.poll_flush_unpin(cx)
    }

    /// Nothing of what waits is sent.
    pub fn drop_waiting(&mut self) {
        self.queue.clear();
        self.bytes = 0;
    }

    /// Sends what waits, says why it ends and waits for the client to agree, but not for long.
    pub async fn close(mut self, code: u16, reason: &'static str, time: Duration) {
        let end = async {
            if poll_fn(|cx| self.poll_write(cx)).await.is_err() {
                return;
            }
            let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::from_static(reason) };
            // The client may have closed before; then this is its answer, or too late.
            let _ = self.stream.close(Some(frame)).await;
            while let Some(Ok(_)) = self.stream.next().await {}
        };
        let _ = tokio::time::timeout(time, end).await;
    }
}

fn came_of(error: &WsError) -> Came {
    match error {
        WsError::Capacity(_) => Came::TooLarge,
        WsError::Utf8(_) => Came::NotText,
        WsError::Protocol(_) => Came::Broken,
        _ => Came::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u8) -> RunId {
        RunId::from([number; 16])
    }

    #[tokio::test]
    async fn a_slow_client_gets_the_last_state_of_each_run_and_everything_else() {
        // The pipe takes almost nothing, so everything waits in the queue.
        let (near, far) = tokio::io::duplex(64);
        let mut wire = Wire::new(near, 1_000, 1_000).await;
        let large = "x".repeat(SOCKET_WRITE_BYTES);
        wire.send(large.clone().into());
        wire.send("first".into());
        assert!(matches!(wire.next().await, Came::Stuck), "the pipe took it all");
        for round in 0..100 {
            wire.send_state(run(1), format!("one {round}").into());
            wire.send_state(run(2), format!("two {round}").into());
        }
        wire.send("last".into());
        assert_eq!(wire.queue.len(), 4, "one state of each run waits");
        let reading = async {
            let mut client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
            let mut texts = Vec::new();
            while texts.last().is_none_or(|text| text != "last") {
                if let Some(Ok(Message::Text(text))) = client.next().await {
                    texts.push(text.to_string());
                }
            }
            texts
        };
        let writing = async {
            loop {
                wire.next().await;
            }
        };
        let texts: Vec<String> = tokio::select! {
            texts = reading => texts,
            () = writing => unreachable!("it writes for ever"),
        };
        assert_eq!(texts, [large.as_str(), "first", "one 99", "two 99", "last"]);
        assert_eq!(wire.bytes, 0);
    }

    #[tokio::test]
    async fn a_full_queue_says_when_there_is_room_again() {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let mut wire = Wire::new(near, 1_000, 2).await;
        wire.send("a".into());
        assert!(wire.has_room());
        wire.send("b".into());
        assert!(!wire.has_room());
        assert!(matches!(wire.next().await, Came::Room));
        wire.send("c".repeat(SOCKET_QUEUE_BYTES_MAX).into());
        assert!(!wire.has_room(), "bytes count as well");
        wire.drop_waiting();
        assert!(wire.has_room());
        drop(far);
    }
}
