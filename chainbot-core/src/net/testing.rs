//! Doubles for tests: a loopback HTTP server that does as told and remembers, and a resolver with a script.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use super::{Egress, Grant, Lookup, Policy, Resolver};
use crate::env::Env;

/// What the server does with a request.
pub(crate) enum Act {
    /// Sends bytes and serves on.
    Reply(Vec<u8>),
    /// Sends bytes and closes.
    Close(Vec<u8>),
    /// Sends bytes, then waits for the client to go away.
    Hang(Vec<u8>),
    /// Waits for a permit of the test, then sends bytes.
    Await(Arc<Semaphore>, Vec<u8>),
}

/// What the server has seen.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Counts {
    pub(crate) connections: usize,
    pub(crate) requests: usize,
    pub(crate) in_flight: usize,
    pub(crate) in_flight_max: usize,
    /// Connections whose client went away while it was to wait.
    pub(crate) abandoned: usize,
}

/// A server on loopback that lives until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    counts: watch::Receiver<Counts>,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Answer = Box<dyn Fn(usize, &str) -> Act + Send + Sync>;

struct Shared {
    requests: Arc<Mutex<Vec<String>>>,
    counts: watch::Sender<Counts>,
    answer: Answer,
    number: AtomicUsize,
}

impl Server {
    /// `answer` is told the number of the request, from 0, and its text.
    pub(crate) async fn start(answer: impl Fn(usize, &str) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, counts) = watch::channel(Counts::default());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::new(Shared {
            requests: requests.clone(),
            counts: sender,
            answer: Box::new(answer),
            number: AtomicUsize::new(0),
        });
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.counts.send_modify(|counts| counts.connections += 1);
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Self { address, requests, counts, task: task.abort_handle() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The texts of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the server has seen enough; a bound turns a hang into a failure.
    pub(crate) async fn until(&self, enough: impl FnMut(&Counts) -> bool) {
        let mut counts = self.counts.clone();
        let seen = tokio::time::timeout(Duration::from_secs(30), counts.wait_for(enough)).await;
        seen.expect("the server sees it within 30 s").expect("the server lives as long as this value");
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    while let Some(request) = read_request(&mut stream).await {
        let number = shared.number.fetch_add(1, Ordering::SeqCst);
        shared.requests.lock().push(request.clone());
        shared.counts.send_modify(|counts| {
            counts.requests += 1;
            counts.in_flight += 1;
            counts.in_flight_max = counts.in_flight_max.max(counts.in_flight);
        });
        let act = (shared.answer)(number, &request);
        let serves_on = match act {
            Act::Reply(bytes) => {
                shared.counts.send_modify(|counts| counts.in_flight -= 1);
                stream.write_all(&bytes).await.is_ok()
            }
            Act::Close(bytes) => {
                shared.counts.send_modify(|counts| counts.in_flight -= 1);
                let _ = stream.write_all(&bytes).await;
                false
            }
            Act::Await(permits, bytes) => {
                permits.acquire().await.unwrap().forget();
                shared.counts.send_modify(|counts| counts.in_flight -= 1);
                stream.write_all(&bytes).await.is_ok()
            }
            Act::Hang(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let mut sink = [0; 64];
                while stream.read(&mut sink).await.is_ok_and(|count| count > 0) {}
                shared.counts.send_modify(|counts| counts.abandoned += 1);
                false
            }
        };
        if !serves_on {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some(end) = text.find("\r\n\r\n") {
            let head = text[..end].to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |text| text.trim().parse().unwrap());
            if bytes.len() >= end + 4 + length {
                return Some(text.into_owned());
            }
        }
        match stream.read(&mut chunk).await {
            Ok(count) if count > 0 => bytes.extend_from_slice(&chunk[..count]),
            _ => return None,
        }
    }
}

/// A reply with a length.
pub(crate) fn reply(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A resolver that gives prepared answers in order, the last one again and again.
pub(crate) struct Script {
    answers: Vec<Vec<IpAddr>>,
    asked: Mutex<Vec<String>>,
}

impl Script {
    pub(crate) fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Self { answers: answers.iter().map(parse).collect(), asked: Mutex::default() })
    }

    /// The names that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

impl Resolver for Script {
    fn lookup(&self, host: &str) -> Lookup {
        let mut asked = self.asked.lock();
        let answer = self.answers.get(asked.len()).or(self.answers.last()).cloned();
        asked.push(host.to_owned());
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
    }
}

/// A way out that may reach these hosts at these addresses' ports, and whose names all lead to loopback.
pub(crate) fn egress_to(grants: &[(&str, SocketAddr)]) -> Egress {
    let grants = grants
        .iter()
        .map(|(host, address)| Grant {
            host: (*host).into(),
            ports: vec![address.port()],
            why: "test".into(),
        })
        .collect();
    let policy = Policy { grants, public: true, own_addresses: Vec::new() };
    Egress::with_resolver(policy, Env::system(), Script::new(&[&["127.0.0.1"]])).unwrap()
}
