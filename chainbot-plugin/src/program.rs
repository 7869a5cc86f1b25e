//! The seam between the supervisor and what it supervises: copied inputs, owned replies, two traits.
//!
//! The bridge implements it over the core; the tests over a small program of their own. Nothing here knows the ABI's
//! pointers, and of the core's types the configuration alone.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderName, HeaderValue, Method, Uri};
use chainbot_core::config::Config;

use crate::failure::Failure;
use crate::gate::Gate;
use crate::limits::QueueBounds;

/// A future on the module's runtime.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An event, copied from the host.
pub struct InEvent {
    /// Segments separated by dots.
    pub topic: String,
    /// JSON.
    pub payload: serde_json::Value,
    /// Idempotency key, or empty.
    pub id: String,
    /// When it happened, since the Unix epoch.
    pub unix_ns: u64,
}

/// A request, copied from the host.
pub struct InRequest {
    /// GET, POST, ...
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// What the host cut off in front of the path, or empty.
    pub mount: String,
    /// The client's address as text, or empty.
    pub peer: String,
    /// W3C traceparent, or empty.
    pub trace: String,
    /// As the host gave them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `None` when it is over the bound.
    pub body: Option<Vec<u8>>,
    /// When the answer is due.
    pub due: Instant,
}

/// An answer, ready for the host.
pub struct OutReply {
    /// The HTTP status.
    pub status: u16,
    /// A JSON object.
    pub headers: String,
    /// Any bytes.
    pub body: Vec<u8>,
}

/// What became of an event that was offered.
pub enum Taken {
    /// Taken over.
    Yes,
    /// No room; offer it again.
    Busy,
    /// Never; the reason for the log.
    Refused(String),
}

/// A checked configuration, ready to start any number of times, one after the other.
///
/// Everything but `start` is called on a short-lived thread of the module.
pub trait Program: Send + Sync {
    /// How much of the host's work may wait.
    fn queue_bounds(&self) -> QueueBounds;
    /// Starts. Runs on the module's runtime.
    fn start(&self, host: Arc<Gate>) -> Work<'_, Result<Arc<dyn Running>, Failure>>;
    /// Whether another configuration could replace this one without a restart; UNSUPPORTED names what could not.
    fn check(&self, document: &str) -> Result<(), Failure>;
    /// Replaces the configuration of what runs, and of later starts: all of it or nothing.
    fn apply(&self, document: &str, running: &dyn Running) -> Result<(), Failure>;
    /// The configuration in force, as JSON without secrets.
    fn config(&self) -> String;
    /// What the next version needs and the store does not hold, as JSON.
    fn export(&self) -> String;
    /// Takes what another version exported, for the next start.
    fn import(&self, state: &str) -> Result<(), Failure>;
}

/// What runs.
pub trait Running: Send + Sync {
    /// Answers one request. Dropping the future is safe.
    fn call(&self, request: InRequest) -> Work<'_, OutReply>;
    /// Takes an event. Never blocks.
    fn handle_event(&self, event: &InEvent) -> Taken;
    /// Score from 0.0 to 1.0, and what lowers it most.
    fn health(&self) -> (f64, String);
    /// Resolves with the reason when it cannot work on.
    fn failed(&self) -> Work<'_, String>;
    /// Takes another configuration over, or says why not.
    fn reconfigure(&self, config: &Config) -> Result<(), Failure>;
    /// The figures, as OpenMetrics text without its end.
    fn metrics(&self) -> String;
    /// First step of a hand-over: streams end, events that were taken are delivered; requests go on. Names what is left.
    fn quiesce(&self, within: Duration) -> Work<'_, Result<(), String>>;
    /// Undoes `quiesce`.
    fn resume(&self);
    /// Second step: takes no new work, and what is under way comes to rest. Gives nothing up; names what is left.
    fn settle(&self, within: Duration) -> Work<'_, Result<(), String>>;
    /// Stops within the time, or names what is left.
    fn stop(&self, within: Duration) -> Work<'_, Result<(), String>>;
}

/// Makes a program from a configuration, without effects.
pub type Factory = fn(&str) -> Result<Arc<dyn Program>, Failure>;
