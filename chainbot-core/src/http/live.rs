//! What happens, as it happens: one source of events for server-sent events, WebSockets and the older windows.
//!
//! ```text
//! journal ──► runtime's bus ──► Source ─► Groups (a record's events, made once for all) ──┐
//! host's bus, health, log ────► signals ───────────────────────────────────────────────────┤
//!                                                     topics + Sight (who may see it) ◄────┘
//!                                                        ├──► sse: a stream, or a long poll
//!                                                        └──► socket: session ─► dialect ─► wire
//! ```
//!
//! Invariants: events of the journal come in its order and without holes, whatever the speed of a client, because what a
//! client was too slow for is read from the journal again; a client's queue is bounded; nothing is told to somebody who
//! may not see it, and what that means is asked at one place, [`Sight::sees`]. Signals are told once and never again: the
//! routes have the state that they are about.

mod agent;
mod deltas;
mod dialect;
mod event;
mod group;
mod handshake;
mod seats;
mod session;
mod sight;
mod signals;
mod source;
mod topics;
mod window;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::broadcast;

use super::backend::Backend;
use crate::env::Env;
use crate::limits;
use crate::model::event::Committed;
use crate::observe::Lines;

pub use deltas::Deltas;
pub use event::Event;
pub use group::Group;
pub use handshake::{Upgrade, is_socket};
pub use seats::{Seat, Seats};
pub use session::{Session, Speaks};
pub use sight::Sight;
pub use signals::{Tee, line_json, of_emitted, of_health, of_line, of_workflow};
pub use source::{Source, Told, is_foreign};
pub use topics::Topics;
pub use window::Window;

/// Bounds of WebSockets.
#[derive(Clone, Copy, Debug)]
pub struct SocketLimits {
    /// Open at once.
    pub connections: usize,
    /// Of one user.
    pub per_user: usize,
    /// Until who opened one has said who it is.
    pub auth_time: Duration,
    /// Between two pings.
    pub ping_interval: Duration,
    /// For the answer to one, and for taking at least something of what waits.
    pub ping_timeout: Duration,
    /// For the answer to the end.
    pub close_timeout: Duration,
    /// A client's message.
    pub message_bytes: usize,
    /// Between two looks whether the client may still listen.
    pub recheck: Duration,
    /// Frames that wait for a client.
    pub queue_frames: usize,
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self {
            connections: 100,
            per_user: limits::SOCKETS_PER_USER_MAX,
            auth_time: Duration::from_secs(limits::SOCKET_AUTH_S),
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(10),
            message_bytes: 1024 * 1024,
            recheck: Duration::from_secs(limits::SOCKET_RECHECK_S),
            queue_frames: limits::SOCKET_QUEUE_FRAMES_MAX,
        }
    }
}

/// What all listeners share.
pub struct Live {
    /// Places of WebSockets.
    pub seats: Arc<Seats>,
    /// The newest lines of the log.
    pub lines: Arc<Lines>,
    signals: broadcast::Sender<Arc<Event>>,
    groups: group::Groups,
    listeners: AtomicUsize,
}

impl Live {
    /// Nobody listens yet.
    pub fn new(sockets: SocketLimits, env: Env) -> Arc<Self> {
        Arc::new(Self {
            seats: Arc::new(Seats::new(sockets)),
            lines: Lines::open(env),
            signals: broadcast::channel(limits::SIGNALS_KEPT_MAX).0,
            groups: group::Groups::default(),
            listeners: AtomicUsize::new(0),
        })
    }

    /// Bounds of WebSockets.
    pub fn limits(&self) -> &SocketLimits {
        self.seats.limits()
    }

    /// Whether somebody would hear a signal.
    pub fn is_heard(&self) -> bool {
        self.signals.receiver_count() > 0
    }

    /// The events of a record.
    pub async fn events_of(&self, backend: &dyn Backend, committed: &Committed) -> Group {
        self.groups.of(backend, committed).await
    }

    /// Takes up what was logged, and tells it.
    pub fn settle_log(&self, redact: impl Fn(&str) -> Option<String>) {
        for line in self.lines.settle(redact) {
            self.signal(|| of_line(&line));
        }
    }

    /// Tells what no journal holds, to whoever listens at this moment.
    pub fn signal(&self, make: impl FnOnce() -> Event) {
        if self.is_heard() {
            // Without listeners there is nobody to miss it.
            let _ = self.signals.send(Arc::new(make()));
        }
    }

    fn enter(self: &Arc<Self>) -> Listening {
        self.listeners.fetch_add(1, Ordering::Relaxed);
        Listening(self.clone())
    }
}

/// Somebody listens. With the last one goes what was held ready.
struct Listening(Arc<Live>);

impl Drop for Listening {
    fn drop(&mut self) {
        if self.0.listeners.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.groups.clear();
        }
    }
}
