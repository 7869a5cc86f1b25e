//! The port: real connections over loopback.

use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Bench;
use crate::http::ApiLimits;
use crate::id::NodeId;
use crate::model::{Place, RecordBody};

pub struct Port {
    pub bench: Bench,
    pub address: std::net::SocketAddr,
    pub stop: oneshot::Sender<()>,
    pub task: JoinHandle<()>,
}

impl Port {
    async fn open(limits: ApiLimits) -> Self {
        Self::of(Bench::with(limits)).await
    }

    pub async fn of(bench: Bench) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let api = bench.api.clone();
        let task = tokio::spawn(async move {
            api.serve(listener, async { drop(stopped.await) }).await;
        });
        Self { bench, address, stop, task }
    }

    async fn connect(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// What the server sends until it closes the connection.
    async fn exchange(&self, text: &str) -> String {
        let mut stream = self.connect(text).await;
        let mut reply = Vec::new();
        // A server that closes with unread bytes may reset; what it sent before counts.
        let _ = stream.read_to_end(&mut reply).await;
        String::from_utf8_lossy(&reply).into_owned()
    }

    fn get(&self, path: &str, rest: &str) -> String {
        let token = &self.bench.token;
        format!("GET /api/chainbot/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{rest}\r\n")
    }
}

async fn read_until(stream: &mut TcpStream, needle: &str) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !text.contains(needle) {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "closed before {needle:?}: {text}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    text
}

#[tokio::test]
async fn the_port_answers_as_the_service_does() {
    let port = Port::open(ApiLimits::default()).await;
    let reply = port.exchange(&port.get("health", "Connection: close\r\n")).await;
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    assert!(reply.contains("\"status\":\"healthy\""), "{reply}");
    port.stop.send(()).unwrap();
    port.task.await.unwrap();
    assert!(TcpStream::connect(port.address).await.is_err());
}

#[tokio::test]
async fn a_stranger_gets_a_refusal_and_no_second_try_on_the_connection() {
    let port = Port::open(ApiLimits::default()).await;
    let reply = port.exchange("GET /api/chainbot/runs HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 401 "), "{reply}");
    assert!(reply.contains("application/problem+json") && reply.contains("connection: close"), "{reply}");
}

#[tokio::test]
async fn a_head_that_never_ends_loses_its_connection() {
    let port = Port::open(ApiLimits { head_time: Duration::from_millis(50), ..Default::default() }).await;
    let slow = port.exchange("GET /api/chainbot/health/live HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    // hyper has a bound of its own, of 30 s; ours must be the one that ends this.
    let reply = tokio::time::timeout(Duration::from_secs(20), slow).await.unwrap();
    assert!(!reply.contains(" 200 "), "{reply}");
    // An idle connection goes the same way.
    assert_eq!(port.exchange("").await, "");
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let limits = ApiLimits { request_time: Duration::from_millis(50), ..Default::default() };
    let port = Port::open(limits).await;
    let head = port.get("workflows/validate", "Content-Type: text/yaml\r\nContent-Length: 100\r\n");
    let reply = port.exchange(&format!("{}name", head.replacen("GET", "POST", 1))).await;
    assert!(reply.starts_with("HTTP/1.1 504 ") && reply.contains("CB-0013"), "{reply}");
}

#[tokio::test]
async fn a_head_over_its_bound_is_refused() {
    let port = Port::open(ApiLimits::default()).await;
    let reply = port.exchange(&port.get("health", &format!("X-Large: {}\r\n", "x".repeat(64 * 1024)))).await;
    assert!(!reply.contains(" 200 "), "{reply}");
}

#[tokio::test]
async fn beyond_the_bound_of_connections_a_client_waits_for_its_turn() {
    let port = Port::open(ApiLimits { connections: 1, ..Default::default() }).await;
    let mut first = port.connect(&port.get("health", "")).await;
    read_until(&mut first, "healthy").await;
    let mut second = port.connect(&port.get("health", "")).await;
    let mut reply = Box::pin(read_until(&mut second, "healthy"));
    assert!((&mut reply).now_or_never().is_none());
    drop(first);
    reply.await;
}

#[tokio::test]
async fn a_stream_over_the_port_ends_with_the_port() {
    let port = Port::open(ApiLimits::default()).await;
    let run = port.bench.run("a").await.parse().unwrap();
    let mut stream = port.connect(&port.get("events", "")).await;
    read_until(&mut stream, "retry: 1000\nid: 1\n\n").await;
    let (place, output) = (Place { node: NodeId(1), path: vec![] }, json!(1).into());
    port.bench.engine.record(run, RecordBody::StepCompleted { place, attempt: 1, output });
    read_until(&mut stream, "event: step.completed\n").await;
    port.stop.send(()).unwrap();
    port.task.await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
}
