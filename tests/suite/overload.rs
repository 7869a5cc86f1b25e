//! Ten times more than a server takes: it sheds with 429 and 503, keeps every promise it made, serves others meanwhile, and is as it was
//! afterwards. `make proof` floods for a minute; each run of the tests for as many requests as a few seconds hold.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use chainbot_core::env::proof::{is_long, size};
use serde_json::{Value, json};

use crate::crash::client::Client;
use crate::crash::host::{Host, Module};
use crate::support::rss_kib;

/// Clients that do nothing but ask.
const CLIENTS: u64 = 16;
/// What the flood may add to the process, in KiB. A build with debug assertions keeps larger frames and futures.
const GROWTH_KIB_MAX: u64 = if cfg!(debug_assertions) { 48 * 1024 } else { 20 * 1024 };
const JSON: &str = "content-type: application/json\r\n";
const QUICK: &str = "name: quick\nsteps: [{ id: a, type: set, config: { variables: { x: \"1\" } } }]\n";

/// A server with its client and its process.
struct Place {
    host: Host,
    client: Client,
    pid: u32,
}

fn place(data: &Path, set: &[&str]) -> Place {
    let mut host = Host::spawn(&Module::shipped(), data, set, &[]);
    let Some(client) = host.ready(data) else { panic!("{}", host.end().1) };
    let pid = host.pid();
    let yaml = "content-type: application/yaml\r\n";
    assert_eq!(client.send("POST", "/api/chainbot/workflows", yaml, QUICK).unwrap().status, 201);
    Place { host, client, pid }
}

/// A credential of its own, which has a rate of its own.
fn another(client: &Client, name: &str, role: &str) -> Client {
    let user = json!({ "name": name, "role": role, "password": "a long word of nobody's" }).to_string();
    let made = client.send("POST", "/api/chainbot/users", JSON, &user).unwrap();
    assert_eq!(made.status, 201, "{}", made.body);
    let token = json!({ "name": "t", "user": name, "days": 1, "scopes": ["chainbot:read", "chainbot:workflow:execute"] });
    let made = client.send("POST", "/api/chainbot/tokens", JSON, &token.to_string()).unwrap();
    assert_eq!(made.status, 201, "{}", made.body);
    client.with_token(made.body["token"].as_str().unwrap())
}

/// What a flood brought.
#[derive(Default)]
struct Flood {
    /// Runs that the server said it has.
    promised: BTreeSet<String>,
    shed: u64,
    /// Statuses that nobody should see, and broken connections.
    others: Vec<String>,
}

/// All clients start runs as fast as answers come, for so many requests each, or for a minute.
fn flood(client: &Client, each: u64) -> Flood {
    let (barrier, all) = (Barrier::new(CLIENTS as usize), Mutex::new(Flood::default()));
    let until = is_long().then(|| Instant::now() + Duration::from_secs(60));
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (barrier, all, client) = (&barrier, &all, client.clone());
            scope.spawn(move || {
                barrier.wait();
                let mut mine = Flood::default();
                let mut n = 0;
                while until.map_or(n < each, |until| Instant::now() < until) {
                    n += 1;
                    let headers = format!("{JSON}idempotency-key: {number}-{n}\r\n");
                    match client.send("POST", "/api/chainbot/workflows/quick/runs", &headers, "{}") {
                        Ok(reply) if reply.status == 201 => {
                            mine.promised.insert(reply.body["id"].as_str().unwrap().to_owned());
                        }
                        Ok(reply) if matches!(reply.status, 429 | 503) => mine.shed += 1,
                        Ok(reply) => mine.others.push(format!("{} {}", reply.status, reply.body)),
                        Err(error) => mine.others.push(error.to_string()),
                    }
                }
                let mut all = all.lock().unwrap();
                all.promised.extend(mine.promised);
                all.shed += mine.shed;
                all.others.extend(mine.others);
            });
        }
    });
    all.into_inner().unwrap()
}

/// Waits until a start is taken again, then until every promised run has ended. How long the first took.
fn recovers(client: &Client, flood: &Flood) -> Duration {
    let begun = Instant::now();
    while client.send("POST", "/api/chainbot/workflows/quick/runs", JSON, "{}").unwrap().status != 201 {
        assert!(begun.elapsed() < Duration::from_secs(60), "a minute after the flood nothing is taken");
        std::thread::yield_now();
    }
    let taken = begun.elapsed();
    let cursor = |run: &Value| run["id"].as_str().unwrap().to_owned();
    client.wait_until(|| {
        let runs = client.list("/api/chainbot/runs", cursor).unwrap();
        let ended: BTreeSet<&str> = runs
            .iter()
            .filter(|run| run["status"] == "completed")
            .map(|run| run["id"].as_str().unwrap())
            .collect();
        flood.promised.iter().all(|run| ended.contains(run.as_str()))
    });
    taken
}

#[test]
fn a_flood_over_the_rate_is_shed_and_others_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder.path().join("data"), &["api.port=0", "retention.max_runs=1000000"]);
    // The first user must be an admin.
    let (loud, quiet) =
        (another(&place.client, "loud", "admin"), another(&place.client, "quiet", "operator"));
    let before = rss_kib(place.pid);
    let (over, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let flood = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Within its own rate: it waits for each answer, and for the flood between them.
            while !over.load(Ordering::Acquire) {
                let reply = quiet.send("GET", "/api/chainbot/runs?limit=1", "", "").unwrap();
                assert!(matches!(reply.status, 200 | 429 | 503), "{}", reply.body);
                if reply.status == 200 {
                    served.fetch_add(1, Ordering::AcqRel);
                }
            }
        });
        let flood = flood(&loud, size(400, 1));
        over.store(true, Ordering::Release);
        flood
    });
    let after = rss_kib(place.pid);
    let took = recovers(&place.client, &flood);
    println!(
        "overload: {} promised, {} shed, {} of another served meanwhile, RSS +{} KiB, taken again after {took:?}",
        flood.promised.len(),
        flood.shed,
        served.load(Ordering::Acquire),
        after.saturating_sub(before)
    );
    assert_eq!(flood.others, Vec::<String>::new());
    assert!(flood.shed > flood.promised.len() as u64, "nothing was shed to speak of");
    assert!(served.load(Ordering::Acquire) > 0, "nobody else was served");
    assert!(after.saturating_sub(before) <= GROWTH_KIB_MAX, "{before} KiB became {after} KiB");
    place.host.terminate();
    assert_eq!(place.host.end().0, Some(0));
}

#[test]
fn a_flood_over_the_queue_is_shed_and_every_promise_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let set = [
        "api.port=0",
        "api.rate_limit_per_token=0",
        "workflow_engine.max_concurrent_workflows=1",
        "workflow_engine.max_queued=4",
        "retention.max_runs=1000000",
    ];
    let data = folder.path().join("data");
    let place = place(&data, &set);
    let before = rss_kib(place.pid);
    let flood = flood(&place.client, size(200, 1));
    let after = rss_kib(place.pid);
    let took = recovers(&place.client, &flood);
    println!(
        "overload: {} promised, {} shed, RSS +{} KiB, taken again after {took:?}",
        flood.promised.len(),
        flood.shed,
        after.saturating_sub(before)
    );
    assert_eq!(flood.others, Vec::<String>::new());
    assert!(after.saturating_sub(before) <= GROWTH_KIB_MAX, "{before} KiB became {after} KiB");
    // What was promised is on disk, not only in memory.
    place.host.killer().kill();
    place.host.end();
    let mut host = Host::spawn(&Module::shipped(), &data, &set, &[]);
    let client = host.ready(&data).unwrap();
    let runs = client.list("/api/chainbot/runs", |run| run["id"].as_str().unwrap().to_owned()).unwrap();
    let there: BTreeSet<&str> = runs.iter().map(|run| run["id"].as_str().unwrap()).collect();
    let lost: Vec<_> = flood.promised.iter().filter(|run| !there.contains(run.as_str())).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn connections_that_say_nothing_and_large_bodies_leave_room_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder.path().join("data"), &["api.port=0", "api.rate_limit_per_token=0"]);
    let before = rss_kib(place.pid);
    let address = place.client.address().to_owned();
    // Half of the connections that the port takes at once, each in the middle of a head.
    let mut silent = Vec::new();
    for _ in 0..128 {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(b"POST /api/chainbot/workflows HTTP/1.1\r\nhost: x\r\n").unwrap();
        silent.push(stream);
    }
    // Bodies at the bound, and announced ones that never come.
    let body = json!({ "inputs": { "text": "x".repeat(900 * 1024) } }).to_string();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..size(10, 500) {
                    let reply =
                        place.client.send("POST", "/api/chainbot/workflows/quick/runs", JSON, &body).unwrap();
                    assert!(matches!(reply.status, 201 | 422 | 429 | 503), "{}", reply.body);
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..size(100, 5_000) {
                let mut stream = TcpStream::connect(&address).unwrap();
                let _ = stream.write_all(
                    b"POST /api/chainbot/workflows HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nx",
                );
            }
        });
    });
    for _ in 0..20 {
        assert_eq!(place.client.send("GET", "/api/chainbot/health/live", "", "").unwrap().status, 200);
    }
    let after = rss_kib(place.pid);
    println!(
        "overload: RSS +{} KiB by large bodies and {} silent connections",
        after.saturating_sub(before),
        silent.len()
    );
    assert!(after.saturating_sub(before) <= GROWTH_KIB_MAX + 20 * 1024, "{before} KiB became {after} KiB");
    drop(silent);
    place.host.terminate();
    assert_eq!(place.host.end().0, Some(0));
}
