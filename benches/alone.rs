//! One run alone: how long from the end of one effect to the beginning of the next, beside one fsync.
//!
//! A loopback server in this process answers at once and notes when it answered and when the next request came.
//! Between the two lie the reply's way to the engine, one commit, and the next request's way out.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::load::{self, Ends};
use super::stats::{median, percentile};
use super::{Outcome, machine};

/// Effects of the run.
const EFFECTS: usize = 100;

const REPLY: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";

/// When requests came and when their replies had been written.
type Times = Arc<Mutex<Vec<(Instant, Instant)>>>;

/// Prints the gap beside the fsync, several rounds of both in turn.
pub fn measure(home: &Path, rounds: usize) -> Outcome<()> {
    let (mut gaps, mut fsyncs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let before = machine::fsyncs(home, EFFECTS)?;
        let gap = round(home)?;
        let after = machine::fsyncs(home, EFFECTS)?;
        let fsync = [before, after].concat();
        ratios.push(median(&gap) / median(&fsync));
        gaps.extend(gap);
        fsyncs.extend(fsync);
    }
    let micros = |seconds: f64| seconds * 1e6;
    println!(
        "\nOne run alone, effect to effect ({EFFECTS} api_calls to a loopback server, {rounds} rounds):"
    );
    println!("gap p50 {:.0} us, p99 {:.0} us;", micros(median(&gaps)), micros(percentile(&gaps, 0.99)));
    println!(
        "one write and fsync p50 {:.0} us, p99 {:.0} us;",
        micros(median(&fsyncs)),
        micros(percentile(&fsyncs, 0.99))
    );
    println!("gap / fsync {:.2} (median of rounds)", median(&ratios));
    Ok(())
}

fn round(home: &Path) -> Outcome<Vec<f64>> {
    let folder = tempfile::tempdir_in(home)?;
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    tokio.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let times = Times::default();
        let server = tokio::spawn(serve(listener, times.clone()));
        let bus = Arc::new(Ends::default());
        let grants = json!([{ "host": "127.0.0.1", "ports": [port], "why": "the bench's own server" }]);
        let app = load::start(folder.path(), bus.clone(), 1, &grants).await?;
        app.handle().create_workflow(&definition(port), None).await?;
        load::one(&app, &bus, "alone").await?;
        app.stop(std::time::Duration::from_secs(30)).await?;
        server.abort();
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

async fn serve(listener: TcpListener, times: Times) -> Outcome<()> {
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
