//! One run alone: how long from the end of one effect to the beginning of the next, beside one fsync, and beside what no
//! engine that journals in SQLite and sends over TCP can leave out: one commit by SQLite alone, and one message each way.
//!
//! A loopback server on a thread of its own, as another process would have it, answers at once and notes when it answered
//! and when the next request came. Between the two lie the reply's way to the engine, one commit, and the next request's
//! way out. So a gap holds two threads that are woken by the kernel because bytes have come, and those of the engine.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::load::{self, Ends};
use super::stats::{median, percentile};
use super::{Outcome, machine, raw};

/// Effects of the run.
const EFFECTS: usize = 100;

const REPLY: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";

/// When requests came and when their replies had been written.
type Times = Arc<Mutex<Vec<(Instant, Instant)>>>;

/// Prints the gap beside the fsync and the floor, several rounds of all in turn.
pub fn measure(home: &Path, rounds: usize) -> Outcome<()> {
    let mut seen: [Vec<f64>; 4] = Default::default();
    let (mut ratios, mut over_floor) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let before = machine::fsyncs(home, EFFECTS)?;
        let gap = round(home)?;
        let commits = raw::commits(home, EFFECTS)?;
        let messages = messages()?;
        let fsync = [before, machine::fsyncs(home, EFFECTS)?].concat();
        ratios.push(median(&gap) / median(&fsync));
        over_floor.push(median(&gap) / (median(&commits) + median(&messages)));
        for (all, round) in seen.iter_mut().zip([gap, fsync, commits, messages]) {
            all.extend(round);
        }
    }
    println!(
        "\nOne run alone, effect to effect ({EFFECTS} api_calls to a loopback server, {rounds} rounds):\n"
    );
    println!("| | p50 | p99 |\n|---|---:|---:|");
    let names = [
        "gap: reply sent to next request received",
        "one write and fsync of a page that the file has",
        "one commit by SQLite alone, of two records",
        "one message each way over loopback TCP",
    ];
    for (name, seconds) in names.iter().zip(&seen) {
        println!("| {name} | {:.0} us | {:.0} us |", median(seconds) * 1e6, percentile(seconds, 0.99) * 1e6);
    }
    println!("\ngap / fsync {:.2}, gap / (commit + messages) {:.2}", median(&ratios), median(&over_floor));
    Ok(())
}

/// Times of one message there and one back between two threads with a small async runtime each.
fn messages() -> Outcome<Vec<f64>> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let echo = Aside::start(async move {
        let (mut server, _) = listen(listener)?.accept().await?;
        server.set_nodelay(true)?;
        let mut bytes = [0; 256];
        loop {
            let read = server.read(&mut bytes).await?;
            server.write_all(&bytes[..read]).await?;
        }
    })?;
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let times = tokio.block_on(async {
        let mut client = TcpStream::connect(address).await?;
        client.set_nodelay(true)?;
        let (mut bytes, mut times) = ([0; 256], Vec::with_capacity(EFFECTS));
        for _ in 0..EFFECTS {
            let begun = Instant::now();
            client.write_all(&[b'x'; 200]).await?;
            let mut left = 200;
            while left > 0 {
                left -= client.read(&mut bytes).await?;
            }
            times.push(begun.elapsed().as_secs_f64());
        }
        Outcome::Ok(times)
    })?;
    echo.end()?;
    Ok(times)
}

/// A thread with a small async runtime, as another process would have one.
struct Aside {
    stop: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Aside {
    fn start(work: impl Future<Output = Outcome<()>> + Send + 'static) -> Outcome<Self> {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            tokio.block_on(async {
                tokio::select! {
                    // Whoever calls it finds out that it does not answer.
                    _ = work => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { stop, thread })
    }

    fn end(self) -> Outcome<()> {
        drop(self.stop);
        self.thread.join().map_err(|_| "the other side panicked".into())
    }
}

fn listen(listener: std::net::TcpListener) -> Outcome<TcpListener> {
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener)?)
}

fn round(home: &Path) -> Outcome<Vec<f64>> {
    let folder = tempfile::tempdir_in(home)?;
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    tokio.block_on(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let times = Times::default();
        let server = Aside::start(serve(listener, times.clone()))?;
        let bus = Arc::new(Ends::default());
        let grants = json!([{ "host": "127.0.0.1", "ports": [port], "why": "the bench's own server" }]);
        let app = load::start(folder.path(), bus.clone(), 1, &grants).await?;
        app.handle().create_workflow(&definition(port), None).await?;
        load::one(&app, &bus, "alone").await?;
        app.stop(std::time::Duration::from_secs(30)).await?;
        server.end()?;
        let times = times.lock().map_err(|_| "the server panicked")?;
        // The first call opens the connection.
        Ok(times.windows(2).skip(1).map(|pair| (pair[1].0 - pair[0].1).as_secs_f64()).collect())
    })
}

fn definition(port: u16) -> String {
    let steps: Vec<Value> = (0..EFFECTS)
        .map(|n| {
            json!({
                "id": format!("call_{n}"), "type": "api_call",
                "config": { "url": format!("http://127.0.0.1:{port}/"), "method": "GET" },
            })
        })
        .collect();
    json!({ "name": "alone", "steps": steps }).to_string()
}

async fn serve(listener: std::net::TcpListener, times: Times) -> Outcome<()> {
    let listener = listen(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // Ends with its connection.
        tokio::spawn(answer(stream, times.clone()));
    }
}

async fn answer(mut stream: TcpStream, times: Times) -> Outcome<()> {
    let mut head = Vec::new();
    loop {
        let mut bytes = [0; 4_096];
        let read = stream.read(&mut bytes).await?;
        let came = Instant::now();
        if read == 0 {
            return Ok(());
        }
        head.extend_from_slice(&bytes[..read]);
        // GET requests have no body, and the engine sends the next one after the reply alone.
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            stream.write_all(REPLY).await?;
            times.lock().map_err(|_| "the measuring side panicked")?.push((came, Instant::now()));
        }
    }
}
