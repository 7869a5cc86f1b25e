//! duroxide with its SQLite store, under the work of `make bench-peers` (see README.md beside the folder of the peers).
//!
//! The runtime and its clients live in this process, as its own examples have it. Options are its defaults but for a log
//! that is silent and a shorter pause of its dispatchers (10 ms for 100), which makes it faster.

use std::env::var;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use duroxide::providers::sqlite::SqliteProvider;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::runtime::{ObservabilityConfig, OrchestrationStatus, Runtime, RuntimeOptions};
use duroxide::{ActivityContext, Client, OrchestrationContext, OrchestrationRegistry};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const STEPS: usize = 10;
const LONGEST: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Outcome<()> {
    let file = format!("{}/duroxide.db", var("PEER_FOLDER")?);
    std::fs::File::create(&file)?;
    let store = Arc::new(SqliteProvider::new(&format!("sqlite:{file}"), None).await?);
    let activities = ActivityRegistry::builder()
        .register("step", |_: ActivityContext, n: String| async move { Ok(n) })
        .build();
    let steps = |ctx: OrchestrationContext, _: String| async move {
        for n in 0..STEPS {
            ctx.schedule_activity("step", n.to_string()).await?;
        }
        Ok("done".to_owned())
    };
    let fan = |ctx: OrchestrationContext, width: String| async move {
        let width: usize = width.parse().map_err(|_| "the width is no number".to_owned())?;
        let all = (0..width).map(|n| ctx.schedule_activity("step", n.to_string())).collect();
        let ended = ctx.join(all).await;
        Ok(ended.len().to_string())
    };
    let pure = |_: OrchestrationContext, _: String| async move {
        let mut count = 0;
        for n in 0..STEPS {
            count = std::hint::black_box(n);
        }
        Ok(count.to_string())
    };
    let orchestrations = OrchestrationRegistry::builder()
        .register("steps", steps)
        .register("fan", fan)
        .register("pure", pure)
        .build();
    let options = RuntimeOptions {
        dispatcher_min_poll_interval: Duration::from_millis(10),
        observability: ObservabilityConfig { log_level: "off".to_owned(), ..ObservabilityConfig::default() },
        ..RuntimeOptions::default()
    };
    let runtime = Runtime::start_with_options(store.clone(), activities, orchestrations, options).await;
    let client = Arc::new(Client::new(store));
    let next = Arc::new(AtomicUsize::new(0));
    let one = Work { client, next };

    one.run("steps", "").await?;
    say(&json!({
        "event": "first", "name": "duroxide", "version": "0.1.32", "store": "SQLite",
        "durability": "WAL; it asks for `synchronous=WAL`, which SQLite takes as NORMAL: a power cut loses acknowledged steps",
    }))?;
    let mut alone = Vec::new();
    for _ in 0..20 {
        alone.push(one.run("steps", "").await?);
    }
    say(&json!({ "event": "w2", "latencies_ms": alone }))?;
    say(&one.load("w1", "steps").await?)?;
    say(&fan_out(&one).await?)?;
    say(&one.load("w4", "pure").await?)?;
    say(&json!({ "event": "done" }))?;
    runtime.shutdown(Some(5_000)).await;
    Ok(())
}

async fn fan_out(work: &Work) -> Outcome<Value> {
    let width: usize = var("PEER_FAN")?.parse()?;
    let mut latencies = Vec::new();
    for _ in 0..3 {
        latencies.push(work.run("fan", &width.to_string()).await?);
    }
    Ok(json!({ "event": "w3", "latencies_ms": latencies, "steps": width }))
}

#[derive(Clone)]
struct Work {
    client: Arc<Client>,
    next: Arc<AtomicUsize>,
}

impl Work {
    /// One workflow from start to end, in milliseconds.
    async fn run(&self, orchestration: &str, input: &str) -> Outcome<f64> {
        let id = format!("run-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let begun = Instant::now();
        self.client.start_orchestration(&id, orchestration, input).await.map_err(|error| error.to_string())?;
        match self.client.wait_for_orchestration(&id, LONGEST).await.map_err(|error| format!("{error:?}"))? {
            OrchestrationStatus::Completed { .. } => Ok(begun.elapsed().as_secs_f64() * 1e3),
            other => Err(format!("{id} ended as {other:?}").into()),
        }
    }

    /// Clients in a closed loop until the number of workflows or the time is used up.
    async fn load(&self, event: &str, orchestration: &'static str) -> Outcome<Value> {
        let (workflows, parallel): (usize, usize) = (var("PEER_WORKFLOWS")?.parse()?, var("PEER_PARALLEL")?.parse()?);
        let until = Instant::now() + Duration::from_secs(var("PEER_SECONDS")?.parse()?);
        let left = Arc::new(AtomicUsize::new(workflows));
        let failed = Arc::new(tokio::sync::Mutex::new(0));
        let begun = Instant::now();
        let clients: Vec<_> = (0..parallel)
            .map(|_| {
                let (work, left, failed) = (self.clone(), left.clone(), failed.clone());
                tokio::spawn(async move {
                    let mut latencies = Vec::new();
                    while Instant::now() < until
                        && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
                    {
                        // Its store answers "database is locked" under load, and gives such a workflow up as failed.
                        match work.run(orchestration, "").await {
                            Ok(latency) => latencies.push(latency),
                            Err(_) => *failed.lock().await += 1,
                        }
                    }
                    Outcome::Ok(latencies)
                })
            })
            .collect();
        let mut latencies = Vec::new();
        for client in clients {
            latencies.extend(client.await??);
        }
        let (seconds, failed) = (begun.elapsed().as_secs_f64(), *failed.lock().await);
        Ok(json!({ "event": event, "seconds": seconds, "latencies_ms": latencies, "failed": failed }))
    }
}

/// Tells the harness, and waits until it has looked.
fn say(event: &Value) -> Outcome<()> {
    println!("{event}");
    std::io::stdout().flush()?;
    std::io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}
