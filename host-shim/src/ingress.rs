//! The HTTP ingress: forwards to the module and, on a loopback address, serves the host's own routes.
//!
//! It runs in its own small runtime on its own threads. `/host/...` gives whoever reaches it the module's events
//! and lets them publish, without any login: so those routes exist on loopback only, and refuse browsers that come
//! from another origin or under another name.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::bus::{Bus, Origin, Recent, Refusal};
use crate::current::Current;
use crate::error::{Error, Result, code};
use crate::forward::Forwarder;
use crate::health;
use crate::host::unix_ns;
use crate::limits::{EVENT_PAYLOAD_BYTES_MAX, EVENTS_WAIT_MAX, INGRESS_SETTLE_MAX};
use crate::module::EventOut;
use crate::pattern::Pattern;
use crate::problem::Problem;

/// A bound address, not yet served.
pub struct Bound {
    listener: TcpListener,
    /// The real address, with the port that was given when 0 was asked for.
    pub address: SocketAddr,
}

/// Binds before the module starts, so that an address in use stops nothing that had begun.
pub fn bind(address: &str) -> Result<Bound> {
    let fail = |why: String| Error::new(code::ADDRESS_UNUSABLE, format!("--http `{address}`: {why}"));
    let mut addresses = address
        .to_socket_addrs()
        .map_err(|error| fail(format!("{error}; write host:port, such as 127.0.0.1:8080")))?;
    let first = addresses.next().ok_or_else(|| fail("the name has no address".to_owned()))?;
    let listener = TcpListener::bind(first).map_err(|error| fail(error.to_string()))?;
    let address = listener.local_addr().map_err(|error| fail(error.to_string()))?;
    listener.set_nonblocking(true).map_err(|error| fail(error.to_string()))?;
    Ok(Bound { listener, address })
}

/// What the routes work on.
pub struct Shared {
    /// The version of the module that serves.
    pub current: Arc<Current>,
    /// The bus.
    pub bus: Arc<Bus>,
    /// What everything else goes to.
    pub forwarder: Forwarder,
}

/// A served ingress.
pub struct Ingress {
    runtime: Runtime,
    server: JoinHandle<std::io::Result<()>>,
    stop: oneshot::Sender<()>,
}

impl Ingress {
    /// Serves a bound address.
    pub fn serve(bound: Bound, shared: Shared) -> Result<Self> {
        let fail = |error: std::io::Error| {
            Error::new(code::HOST_SETUP, format!("the ingress cannot start: {error}"))
        };
        // Two threads: forwarding copies and waits, the work is the module's.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("ingress")
            .enable_all()
            .build()
            .map_err(fail)?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(bound.listener).map_err(fail)?
        };
        let router = router(shared, bound.address.ip().is_loopback());
        let (stop, stopped) = oneshot::channel();
        let server = runtime.spawn(async move {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, service).with_graceful_shutdown(async move { drop(stopped.await) }).await
        });
        Ok(Self { runtime, server, stop })
    }

    /// Accepts no further connection; requests under way go on. Gives what must be waited for.
    pub fn refuse(self) -> Closing {
        // The server may have ended by itself; then there is nobody to tell.
        let _ = self.stop.send(());
        Closing { runtime: self.runtime, server: self.server }
    }
}

/// An ingress that answers its last requests.
pub struct Closing {
    runtime: Runtime,
    server: JoinHandle<std::io::Result<()>>,
}

impl Closing {
    /// Waits within a bound until the last answers are sent, then ends the threads.
    pub fn finish(self) {
        let Self { runtime, mut server } = self;
        let ended = runtime.block_on(async { tokio::time::timeout(INGRESS_SETTLE_MAX, &mut server).await });
        if ended.is_err() {
            log::warn!("some HTTP clients had not taken their answers when the host ended");
        }
        runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

fn router(shared: Shared, is_loopback: bool) -> Router {
    let own = if is_loopback {
        Router::new()
            .route("/host/events/{topic}", post(publish))
            .route("/host/events", get(events))
            .route("/host/health", get(health_now))
            .route("/host/metrics", get(metrics_now))
            .layer(DefaultBodyLimit::max(EVENT_PAYLOAD_BYTES_MAX))
    } else {
        Router::new()
    };
    own.fallback(forward).with_state(Arc::new(shared))
}

type Everything = State<Arc<Shared>>;

async fn forward(
    State(shared): Everything,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response {
    shared.forwarder.forward(peer.ip().to_canonical().to_string(), request).await
}

/// `POST /host/events/{topic}`
async fn publish(
    State(shared): Everything,
    Path(topic): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    permitted(&headers)?;
    let wrong = |detail: String| Problem::new(StatusCode::BAD_REQUEST, code::EVENT_INVALID, detail);
    let header = |name: &str| match headers.get(name).map(|value| value.to_str()) {
        None => Ok(String::new()),
        Some(Ok(text)) => Ok(text.to_owned()),
        Some(Err(_)) => Err(wrong(format!("the header `{name}` is not text"))),
    };
    let payload = String::from_utf8(body.to_vec()).map_err(|_| wrong("the body is not UTF-8".to_owned()))?;
    let (id, trace) = (header("event-id")?, header("traceparent")?);
    match shared.bus.publish(Origin::Client, EventOut { topic, payload, id, trace, unix_ns: unix_ns() }) {
        Ok(delivered) => Ok((StatusCode::ACCEPTED, Json(json!({"routed": delivered}))).into_response()),
        Err(Refusal::Invalid(why)) => Err(wrong(why)),
        Err(Refusal::Busy) => {
            let detail = "the event queue is full; try again later";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, code::NO_ROOM, detail))
        }
    }
}

/// `GET /host/events?since=N&wait_ms=M&topic=PATTERN`
async fn events(
    State(shared): Everything,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    permitted(&headers)?;
    let wrong = |detail: String| Problem::new(StatusCode::BAD_REQUEST, code::EVENT_INVALID, detail);
    let number = |name: &str| {
        let text = query.get(name).map_or("0", String::as_str);
        text.parse::<u64>().map_err(|_| wrong(format!("`{name}={text}` is no number")))
    };
    if let Some(unknown) = query.keys().find(|key| !["since", "wait_ms", "topic"].contains(&key.as_str())) {
        return Err(wrong(format!("unknown parameter `{unknown}`; use since, wait_ms or topic")));
    }
    let pattern = Pattern::parse(query.get("topic").map_or("#", String::as_str)).map_err(wrong)?;
    let since = number("since")?;
    let deadline = Instant::now() + Duration::from_millis(number("wait_ms")?).min(EVENTS_WAIT_MAX);
    let mut newer = shared.bus.watch();
    loop {
        newer.mark_unchanged();
        let (recent, newest) = shared.bus.recent(since);
        // Numbers have no gaps, so a first number beyond the next one tells that older events were dropped.
        let oldest = recent.first().map_or(newest + 1, |first| first.number);
        let found: Vec<Value> =
            recent.iter().filter(|recent| pattern.matches(&recent.event.topic)).map(event_document).collect();
        if !found.is_empty() || timeout_at(deadline, newer.changed()).await.is_err() {
            return Ok(Json(
                json!({"events": found, "newest": newest, "dropped": oldest.saturating_sub(since.saturating_add(1))}),
            ));
        }
    }
}

/// `GET /host/health`
async fn health_now(State(shared): Everything, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    permitted(&headers)?;
    let version = shared.current.get();
    let health = version.instance.health().map_err(|error| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, code::NOT_ANSWERED, error.to_string())
    })?;
    let mut document = health::document(&health);
    document["module"] = version.document();
    Ok(Json(document))
}

/// `GET /host/metrics`: the module's figures and the host's own, as OpenMetrics text.
async fn metrics_now(State(shared): Everything, headers: HeaderMap) -> Result<Response, Problem> {
    permitted(&headers)?;
    let version = shared.current.get();
    let mut text = match version.instance.metrics() {
        None => String::new(),
        Some(Ok(text)) => text,
        Some(Err(error)) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Err(Problem::new(status, code::NOT_ANSWERED, error.to_string()));
        }
    };
    // The host's own come before the end.
    if let Some(open) = text.strip_suffix("# EOF\n") {
        text.truncate(open.len());
    }
    let (tally, queued) = shared.bus.figures();
    let counter = |text: &mut String, name: &str, help: &str, value: u64| {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} counter\n{name}_total {value}\n"));
    };
    counter(&mut text, "alex_host_events_delivered", "Events that the module took.", tally.delivered);
    counter(&mut text, "alex_host_events_given_up", "Events that the module never took.", tally.given_up);
    let (done, failed) = (&shared.current.upgraded, &shared.current.failed);
    counter(&mut text, "alex_host_upgrades", "Versions that took over.", done.load(Ordering::Relaxed));
    counter(&mut text, "alex_host_upgrades_failed", "Versions that did not.", failed.load(Ordering::Relaxed));
    let gauge = |text: &mut String, name: &str, help: &str, value: usize| {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"));
    };
    gauge(&mut text, "alex_host_events_queued", "Events that wait for the module.", queued);
    gauge(
        &mut text,
        "alex_host_requests_held",
        "Requests that wait for a version.",
        shared.current.waiting(),
    );
    text.push_str("# EOF\n");
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media)], text).into_response())
}

fn event_document(recent: &Recent) -> Value {
    let event = &recent.event;
    // Every payload was parsed when it was published.
    let payload = serde_json::from_str(&event.payload).unwrap_or(Value::Null);
    json!({
        "number": recent.number,
        "topic": event.topic,
        "payload": payload,
        "id": event.id,
        "trace": event.trace,
        "unix_ns": event.unix_ns,
    })
}

/// Refuses requests that a web page of another origin makes, directly or by a name that it points to loopback.
fn permitted(headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |detail: String| Problem::new(StatusCode::FORBIDDEN, code::CLIENT_REFUSED, detail);
    let local = |name: &str| headers.get(name).is_none_or(|value| value.to_str().is_ok_and(names_loopback));
    if !local(header::HOST.as_str()) {
        return Err(refuse(
            "the header `Host` names no loopback address; use 127.0.0.1, [::1] or localhost".to_owned(),
        ));
    }
    if !local(header::ORIGIN.as_str()) {
        return Err(refuse("pages of other origins may not use the host's routes".to_owned()));
    }
    Ok(())
}

/// Whether `host`, `host:port` or `http://host:port` names this machine's loopback.
fn names_loopback(text: &str) -> bool {
    let text = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or(text);
    let host = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => text.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_loopback_are_taken() {
        for text in
            ["127.0.0.1", "127.0.0.1:80", "localhost:1", "LOCALHOST", "[::1]:8080", "http://localhost:3"]
        {
            assert!(names_loopback(text), "{text}");
        }
        for text in [
            "",
            "null",
            "example.com",
            "127.0.0.1.example.com",
            "http://10.0.0.1",
            "localhost.evil:80",
            "[::2]",
        ] {
            assert!(!names_loopback(text), "{text}");
        }
    }

    #[test]
    fn an_address_in_use_is_named() {
        let bound = bind("127.0.0.1:0").unwrap();
        let again = bind(&bound.address.to_string()).err().expect("in use");
        assert_eq!(again.code, code::ADDRESS_UNUSABLE);
        assert!(again.message.contains(&bound.address.to_string()), "{again}");
        assert!(bind("nonsense").is_err());
    }
}
