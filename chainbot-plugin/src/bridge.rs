//! The core as a program: the only file that names `chainbot_core::app`.
//!
//! Invariants: everything here runs on threads of the module; the core's clock is the host's wall clock; forwarding gives
//! no rights, so a request carries the client's address and the mark that it came through the host.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, StatusCode};
use chainbot_abi::Status;
use chainbot_core::app::{self, App, HostEvent, Peer, Routes, Services, ViaHost};
use chainbot_core::config::{Config, is_live};
use chainbot_core::env::{Clock, Env, SystemClock, SystemRandom};
use chainbot_core::error::code::general;
use chainbot_core::observe::Dialect;
use chainbot_core::port::{EventBus, Published};
use chainbot_core::time::Timestamp;
use chainbot_core::{Error, ErrorKind};

use crate::extension::{HANDOVER_FORMAT, read_handover};
use crate::failure::{BAD_HANDOVER, Failure};
use crate::gate::Gate;
use crate::limits::{BODY_BYTES_MAX, QueueBounds};
use crate::program::{InEvent, InRequest, OutReply, Program, Running, Taken, Work};
use crate::reply;

const NS_PER_MS: u64 = 1_000_000;

/// Checks a configuration and makes a program of it.
pub fn make(document: &str) -> Result<Arc<dyn Program>, Failure> {
    let config = App::check(document)?;
    let routes = Routes::new()?;
    Ok(Arc::new(Core { config: Mutex::new(config), routes, port: Mutex::new(None) }))
}

// `std` locks, though only threads of the module come here: the rule of this crate.
struct Core {
    config: Mutex<Config>,
    /// Made with the program, so that a start is short: in an upgrade nothing is served meanwhile.
    routes: Routes,
    /// Where the last start listened, or the version before.
    port: Mutex<Option<u16>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Program for Core {
    fn queue_bounds(&self) -> QueueBounds {
        let config = lock(&self.config);
        QueueBounds { items: config.alex_os.queue_items, bytes: config.alex_os.queue_bytes }
    }

    fn start(&self, host: Arc<Gate>) -> Work<'_, Result<Arc<dyn Running>, Failure>> {
        let config = lock(&self.config).clone();
        let (routes, port_hint) = (self.routes.clone(), *lock(&self.port));
        // From here on; what was said while the configuration was checked went out at the default level.
        log::set_max_level(config.log_level());
        Box::pin(async move {
            let clock = HostClock { gate: Arc::clone(&host), system: SystemClock::default() };
            let services = Services {
                env: Env::new(Arc::new(clock), Arc::new(SystemRandom)),
                bus: Some(Arc::new(HostBus(host))),
                process: "module of an ALEX OS host".to_owned(),
                module_path: own_path(),
                port_hint,
            };
            let app = App::start_with(routes, config, services).await?;
            *lock(&self.port) = app.port().map(|address| address.port());
            Ok(Arc::new(RunningCore(app)) as Arc<dyn Running>)
        })
    }

    fn check(&self, document: &str) -> Result<(), Failure> {
        let new = App::check(document)?;
        app::check_change(&lock(&self.config), &new)?;
        Ok(())
    }

    fn apply(&self, document: &str, running: &dyn Running) -> Result<(), Failure> {
        let new = App::check(document)?;
        running.reconfigure(&new)?;
        *lock(&self.config) = new;
        Ok(())
    }

    fn config(&self) -> String {
        let config = lock(&self.config);
        let keys = config.settings().iter().map(|setting| {
            let path = setting.key.path;
            let entry = serde_json::json!({
                "value": setting.value, "origin": setting.origin.to_string(),
                "change": if is_live(path) { "live" } else { "restart" },
            });
            (path.to_owned(), entry)
        });
        let keys: serde_json::Map<_, _> = keys.collect();
        serde_json::json!({ "file": config.file(), "keys": keys }).to_string()
    }

    fn export(&self) -> String {
        let port = *lock(&self.port);
        serde_json::json!({
            "format": HANDOVER_FORMAT, "module": "chainbot", "version": chainbot_core::VERSION, "port": port,
        })
        .to_string()
    }

    fn import(&self, state: &str) -> Result<(), Failure> {
        let document = read_handover(state)?;
        if document["module"] != "chainbot" {
            let text = format!("it is of the module {}, not of chainbot", document["module"]);
            return Err(Failure::new(Status::INVALID, BAD_HANDOVER, text));
        }
        *lock(&self.port) = document["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        Ok(())
    }
}

struct RunningCore(App);

impl Running for RunningCore {
    fn call(&self, request: InRequest) -> Work<'_, OutReply> {
        Box::pin(async move {
            let due = request.due;
            match to_http(request) {
                Ok(request) => reply::collect(self.0.call(request).await, due).await,
                Err(reply) => reply,
            }
        })
    }

    fn handle_event(&self, event: &InEvent) -> Taken {
        let event = HostEvent {
            topic: event.topic.clone(),
            payload: event.payload.clone(),
            id: event.id.clone(),
            at_ms: i64::try_from(event.unix_ns / NS_PER_MS).unwrap_or(i64::MAX),
        };
        match self.0.handle_event(event) {
            Ok(()) => Taken::Yes,
            Err(error) if error.kind() == ErrorKind::Busy => Taken::Busy,
            Err(error) => Taken::Refused(error.to_string()),
        }
    }

    fn health(&self) -> (f64, String) {
        let report = self.0.health();
        (report.score, report.detail)
    }

    fn reconfigure(&self, config: &Config) -> Result<(), Failure> {
        self.0.reconfigure(config)?;
        Ok(())
    }

    fn metrics(&self) -> String {
        let text = self.0.metrics().text(Dialect::OpenMetrics);
        // This layer adds its own figures before the end.
        text.strip_suffix("# EOF\n").map(str::to_owned).unwrap_or(text)
    }

    fn quiesce(&self, within: Duration) -> Work<'_, Result<(), String>> {
        Box::pin(async move { self.0.quiesce(within).await.map_err(|error| error.to_string()) })
    }

    fn resume(&self) {
        self.0.resume();
    }

    fn settle(&self, within: Duration) -> Work<'_, Result<(), String>> {
        Box::pin(async move { self.0.settle(within).await.map_err(|error| error.to_string()) })
    }

    fn failed(&self) -> Work<'_, String> {
        Box::pin(async { self.0.failed().await.to_string() })
    }

    fn stop(&self, within: Duration) -> Work<'_, Result<(), String>> {
        Box::pin(async move { self.0.stop(within).await.map_err(|error| error.to_string()) })
    }
}

/// Where this library lies, as the host loaded it.
fn own_path() -> Option<String> {
    let mut found = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: the address is of a function of this library; `found` is filled when the call says so.
    let known = unsafe { libc::dladdr(own_path as *const std::ffi::c_void, found.as_mut_ptr()) } != 0;
    if !known {
        return None;
    }
    // SAFETY: filled, as the call succeeded.
    let name = unsafe { found.assume_init() }.dli_fname;
    // SAFETY: null, or a text of the loader that stays as long as the library is mapped.
    (!name.is_null()).then(|| unsafe { std::ffi::CStr::from_ptr(name) }.to_string_lossy().into_owned())
}

/// The request as the module's own port would make it.
fn to_http(request: InRequest) -> Result<Request<Body>, OutReply> {
    let Some(body) = request.body else {
        let text = format!("the body is over {BODY_BYTES_MAX} bytes");
        return Err(reply::problem(&general::BODY_TOO_LARGE, StatusCode::PAYLOAD_TOO_LARGE, &text));
    };
    let left = request.due.saturating_duration_since(std::time::Instant::now());
    let timeout_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
    let mut made = Request::new(Body::from(body));
    *made.method_mut() = request.method;
    *made.uri_mut() = request.uri;
    let headers = made.headers_mut();
    for (name, value) in request.headers {
        // Only the host knows these; a client's word about them is worth nothing.
        if name != "x-forwarded-prefix" && name != "x-forwarded-for" {
            headers.append(name, value);
        }
    }
    // Both were checked or are refused here: a header value takes what a path and an id may have.
    for (name, value) in [("x-forwarded-prefix", request.mount), ("traceparent", request.trace)] {
        if let Ok(value) = HeaderValue::from_str(&value)
            && !value.is_empty()
        {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    made.extensions_mut().insert(ViaHost { timeout_ms });
    if !request.peer.is_empty() {
        made.extensions_mut().insert(Peer(request.peer));
    }
    Ok(made)
}

struct HostClock {
    gate: Arc<Gate>,
    /// The monotonic clock, and the wall clock once the host is gone.
    system: SystemClock,
}

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        match self.gate.now() {
            Some(unix_ns) => Timestamp(i64::try_from(unix_ns / NS_PER_MS).unwrap_or(i64::MAX)),
            None => self.system.now(),
        }
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }
}

struct HostBus(Arc<Gate>);

impl EventBus for HostBus {
    fn publish(&self, topic: &str, payload: &str, id: &str, at: Timestamp) -> Published {
        let unix_ns = u64::try_from(at.0).unwrap_or(0).saturating_mul(NS_PER_MS);
        chainbot_core::fault!("module.host.publish" => return Published::Refused);
        match self.0.publish(topic, payload, id, unix_ns) {
            Some(Status::OK) => Published::Sent,
            // After cleanup the next instance publishes what is still in the outbox.
            Some(Status::BUSY) | None => Published::Busy,
            Some(_) => Published::Refused,
        }
    }

    fn subscribe(&self, pattern: &str) -> chainbot_core::Result<()> {
        self.0.subscribe(pattern).map_err(|failure| {
            let code = if failure.status == Status::BUSY { &general::BUSY } else { &general::NOT_HERE };
            Error::new(code, failure.text)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn request(headers: &[(&'static str, &'static str)], body: Option<Vec<u8>>) -> InRequest {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        InRequest {
            method: "POST".parse().unwrap(),
            uri: "/api/x?y=%20".parse().unwrap(),
            mount: "/m".to_owned(),
            peer: "10.0.0.7".to_owned(),
            trace: String::new(),
            headers: headers.iter().map(pair).collect(),
            body,
            due: Instant::now(),
        }
    }

    #[test]
    fn what_a_client_says_about_forwarding_is_dropped() {
        let lies = [("x-forwarded-prefix", "/lie"), ("x-forwarded-for", "127.0.0.1"), ("accept", "*/*")];
        let made = to_http(request(&lies, Some(Vec::new()))).ok().unwrap();
        assert_eq!(made.headers()["x-forwarded-prefix"], "/m");
        assert!(!made.headers().contains_key("x-forwarded-for"));
        assert_eq!(made.headers()["accept"], "*/*");
        assert_eq!(made.uri(), "/api/x?y=%20");
        assert_eq!(made.extensions().get::<Peer>().unwrap().0, "10.0.0.7");
        assert!(made.extensions().get::<ViaHost>().is_some());
    }

    #[test]
    fn a_body_over_the_bound_is_answered_413() {
        let reply = to_http(request(&[], None)).err().unwrap();
        assert_eq!(reply.status, 413);
        assert!(String::from_utf8(reply.body).unwrap().contains("CB-0005"));
    }
}
