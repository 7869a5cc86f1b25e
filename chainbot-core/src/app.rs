//! Wiring: the only file that may name everybody.
//!
//! [`App::check`] reads and validates a configuration without any effect; [`App::start`] opens the data
//! folder, recovers, opens the port and serves; [`App::stop`] ends all of it within a deadline. One `App` owns
//! one data folder. `start`, `call` and `stop` run inside a tokio runtime of the caller (the plugin's supervisor
//! thread, the CLI); no thread that the host owns ever enters here.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::env::Env;
use crate::error::Result;
use crate::port::EventBus;

/// What the surroundings give.
pub struct Services {
    /// Clock and randomness.
    pub env: Env,
    /// The host's bus.
    pub bus: Arc<dyn EventBus>,
    /// What this process is called in the lock of the data folder: `host-shim`, `chainbot run`.
    pub process: String,
}

/// An event from the host's bus.
#[derive(Clone, Debug)]
pub struct HostEvent {
    /// Segments separated by dots.
    pub topic: String,
    /// JSON.
    pub payload: serde_json::Value,
    /// Idempotency key, or empty.
    pub id: String,
    /// When it happened, milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// In a request's extensions: the client's address as text, from whoever took the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer(pub String);

/// In a request's extensions: it came through a host, never over the module's own port. Gives no rights; such a
/// request never counts as loopback, and cannot be upgraded to a WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct ViaHost;

/// How well it goes.
#[derive(Clone, Debug, serde::Serialize)]
pub struct HealthReport {
    /// 0.0 to 1.0.
    pub score: f64,
    /// The component that lowers the score most, and why; `ok` when none does.
    pub detail: String,
}

/// A running ChainBot.
pub struct App {
    _private: (),
}

impl App {
    /// Reads what a host hands to `initialize` (`{"file": path?, "data_dir": path?, "values": {..}}`, or
    /// nothing), merges defaults, file, environment and values, and checks everything. No effect but reading the file.
    pub fn check(document: &str) -> Result<Config> {
        Config::load(document)
    }

    /// Takes the data folder, recovers, opens the port if the configuration has one.
    pub async fn start(config: Config, services: Services) -> Result<App> {
        let _ = (config, services);
        Err(crate::Error::new(&crate::error::code::general::STOPPING, "not wired"))
    }

    /// Answers one request, as the port would. Bounded by the caller's timeout; dropping the future is safe.
    pub async fn call(
        &self,
        request: axum::http::Request<axum::body::Body>,
    ) -> axum::http::Response<axum::body::Body> {
        let _ = request;
        axum::http::Response::new(axum::body::Body::empty())
    }

    /// Takes an event of the host's bus. Never blocks; BUSY when the queue is full.
    pub fn handle_event(&self, event: HostEvent) -> Result<()> {
        let _ = event;
        Ok(())
    }

    /// How well it goes; cheap, from memory.
    pub fn health(&self) -> HealthReport {
        HealthReport { score: 1.0, detail: "ok".to_owned() }
    }

    /// Resolves when the app cannot work on (a failed commit, lost threads), with the reason.
    pub async fn failed(&self) -> crate::Error {
        std::future::pending().await
    }

    /// Refuses new work, suspends runs at their next durable point, closes port and store. `Err` names what was
    /// left when `deadline` passed.
    pub async fn stop(&self, deadline: Duration) -> Result<()> {
        let _ = deadline;
        Ok(())
    }
}

/// What the module is, for hosts: the manifest of the ABI. Made without an instance and without effects.
pub fn manifest() -> serde_json::Value {
    serde_json::json!({ "name": "chainbot", "version": crate::VERSION })
}
