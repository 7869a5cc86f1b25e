//! A conversation with one server, whatever the way to it: the greeting, requests with their replies, time and number of calls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::link::{Asked, Link, Lost, failed};
use super::wire;
use crate::error::code::tool as code;
use crate::limits::MCP_CALLS_MAX;
use crate::mcp::alone;
use crate::model::{StepError, class};

/// A server that has been greeted.
pub(super) struct Session {
    name: String,
    link: Box<dyn Link>,
    next: AtomicU64,
    /// Places of calls.
    calls: Semaphore,
    /// Whether each request speaks for itself, as 2026-07-28 has it.
    is_alone: bool,
}

impl Session {
    /// Greets a server. `limit`: for each of its answers.
    pub(super) async fn greet(name: &str, link: Box<dyn Link>, limit: Duration) -> Result<Self, StepError> {
        let (next, calls) = (AtomicU64::new(1), Semaphore::new(MCP_CALLS_MAX));
        let session = Self { name: name.to_owned(), link, next, calls, is_alone: false };
        let greeted = match session.request("initialize", wire::initialize(), &[], limit).await {
            Err(Lost::Refused(code, error)) if alone::knows_no_greeting(code) => {
                return session.discover(error, limit).await;
            }
            greeted => greeted.map_err(Lost::into_error)?,
        };
        let version = greeted.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
        let Some(version) = wire::VERSIONS.iter().find(|known| **known == version) else {
            let shown: String = version.chars().filter(|c| !c.is_control()).take(32).collect();
            let known = wire::VERSIONS.join(", ");
            let message =
                format!("the MCP server `{name}` speaks version `{shown}`, and {known} are spoken here");
            return Err(StepError::new(class::INVALID, &code::MCP_START, message));
        };
        session.link.agree(version);
        let told = wire::notification("notifications/initialized", json!({}));
        match timeout(limit, session.link.tell(&told)).await {
            Ok(told) => told.map_err(Lost::into_error)?,
            Err(_) => return Err(session.late("notifications/initialized", limit)),
        }
        Ok(session)
    }

    /// Asks a server that knows no greeting what it speaks. `error`: what it said to one.
    async fn discover(mut self, error: StepError, limit: Duration) -> Result<Self, StepError> {
        self.is_alone = true;
        self.link.agree(alone::VERSION);
        let Ok(found) = self.request("server/discover", json!({}), &[], limit).await else {
            return Err(error);
        };
        let spoken = found.get("supportedVersions").and_then(Value::as_array);
        match spoken.is_some_and(|spoken| spoken.iter().any(|version| version == alone::VERSION)) {
            true => Ok(self),
            false => Err(error),
        }
    }

    /// Whether it still talks.
    pub(super) fn is_alive(&self) -> bool {
        self.link.is_alive()
    }

    #[cfg(test)]
    pub(super) fn process_id(&self) -> u32 {
        self.link.process_id().unwrap()
    }

    /// Asks and waits for the reply. Dropping the future tells the server to stop its work.
    pub(super) async fn request(
        &self,
        method: &str,
        mut params: Value,
        headers: &[(String, String)],
        limit: Duration,
    ) -> Result<Value, Lost> {
        let Ok(_place) = self.calls.try_acquire() else {
            let what = "has as many calls under way as it may";
            return Err(Lost::Failed(failed(&self.name, class::LIMIT, what)));
        };
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        if self.is_alone {
            params["_meta"] = alone::about_client();
        }
        let message = wire::request(id, method, params);
        let mut waiting = Waiting { session: self, id, is_done: false };
        let reply = timeout(limit, self.link.ask(Asked { id, message: &message, headers, limit })).await;
        waiting.is_done = reply.is_ok();
        match reply {
            Err(_) => Err(Lost::Failed(self.late(method, limit))),
            Ok(Err(lost)) => Err(lost),
            Ok(Ok(Err(said))) => {
                let what = format!("refuses `{method}`: {}", crate::net::excerpt(said.text.as_bytes()));
                Err(Lost::Refused(said.code, failed(&self.name, class::INVALID, &what)))
            }
            Ok(Ok(Ok(result))) if result.get("resultType").is_some_and(|kind| kind == "input_required") => {
                let what = format!("wants to be told more before it answers `{method}`, which nobody does");
                Err(Lost::Failed(failed(&self.name, class::INVALID, &what)))
            }
            Ok(Ok(Ok(result))) => Ok(result),
        }
    }

    fn late(&self, method: &str, limit: Duration) -> StepError {
        let what = format!("did not answer `{method}` within {} ms", limit.as_millis());
        failed(&self.name, class::TIMEOUT, &what)
    }

    /// Says goodbye, for a time at most.
    pub(super) async fn close(&self, within: Duration) {
        if timeout(within, self.link.close()).await.is_err() {
            log::debug!("the MCP server `{}` did not take its leave in time", self.name);
        }
    }
}

/// A request under way; when it is given up, the server is told.
struct Waiting<'a> {
    session: &'a Session,
    id: u64,
    is_done: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.session.link.forget(self.id);
        }
    }
}
