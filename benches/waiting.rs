//! Runs that only wait: what each costs in memory and on the disk, and how long a start takes until the timers of all are
//! armed.
//!
//! Memory is told by a process that did nothing else, so the bench calls itself: once to start the runs, in batches of
//! clients in parallel, and once to begin anew on the folder that the first has left.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chainbot_core::app::App;
use chainbot_core::runtime::NewRun;
use serde_json::{Value, json};

use super::load::{self, Ends};
use super::{Outcome, machine};

/// Clients that start runs.
const CLIENTS: usize = 64;
/// Runs with a permit at once.
const PARALLEL: usize = 50;
/// What the last runs may take from their start to their wait.
const PARKED_MAX: Duration = Duration::from_secs(60);
/// What a process may do after its start before it counts as idle.
const SETTLED: Duration = Duration::from_secs(2);

/// Prints memory, disk and the time of a start with so many waiting runs.
pub fn measure(home: &Path, runs: usize) -> Outcome<()> {
    let folder = tempfile::tempdir_in(home)?;
    let empty = tempfile::tempdir_in(home)?;
    let idle = child(empty.path(), 0)?;
    let filled = child(folder.path(), runs)?;
    let begun = child(folder.path(), 0)?;
    let waiting = begun["waiting"].as_u64().unwrap_or(0);
    if waiting != runs as u64 {
        return Err(format!("{runs} runs were started, and {waiting} wait after the restart").into());
    }
    let (of, per_run) = (
        |seen: &Value, name: &str| seen[name].as_f64().unwrap_or(0.0),
        |bytes: f64| bytes / runs.max(1) as f64,
    );
    let mib = |kib: f64| kib / 1_024.0;
    println!("\n{runs} runs that wait for a time, each with its timer:\n");
    println!("| | |\n|---|---:|");
    println!("| starting them, {CLIENTS} clients | {:.0} runs/s |", runs as f64 / of(&filled, "fill_s"));
    println!("| RSS with none | {:.1} MiB |", mib(of(&idle, "rss_kib")));
    println!("| RSS after starting them | {:.1} MiB |", mib(of(&filled, "rss_kib")));
    println!("| RSS after a restart with them | {:.1} MiB |", mib(of(&begun, "rss_kib")));
    let added = (of(&begun, "rss_kib") - of(&idle, "rss_kib")).max(0.0) * 1_024.0;
    println!("| of which each | {:.0} bytes |", per_run(added));
    println!("| start until all timers are armed | {:.0} ms |", of(&begun, "start_ms"));
    println!("| start with none | {:.0} ms |", of(&idle, "start_ms"));
    println!("| on disk, each | {:.0} bytes |", per_run(of(&begun, "disk_bytes")));
    Ok(())
}

/// This program again, as one of the processes.
fn child(folder: &Path, runs: usize) -> Outcome<Value> {
    let done = Command::new(std::env::current_exe()?)
        .env("CB_BENCH_ONLY", "waiting-process")
        .env("CB_BENCH_FOLDER", folder)
        .env("CB_BENCH_WAITING", runs.to_string())
        .stderr(Stdio::inherit())
        .output()?;
    if !done.status.success() {
        return Err(format!("the process with {runs} runs ended with {}", done.status).into());
    }
    let said = String::from_utf8(done.stdout)?;
    Ok(serde_json::from_str(said.lines().last().ok_or("the process said nothing")?)?)
}

/// One process: starts the engine, adds runs that wait, and says what it sees.
pub fn process() -> Outcome<()> {
    let folder = std::env::var("CB_BENCH_FOLDER")?;
    let runs: usize = std::env::var("CB_BENCH_WAITING")?.parse()?;
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let seen = tokio.block_on(async {
        let begun = Instant::now();
        let app = Arc::new(
            load::start(Path::new(&folder), Arc::new(Ends::default()), PARALLEL, &json!([])).await?,
        );
        // A start arms every timer before it returns.
        let start_ms = begun.elapsed().as_secs_f64() * 1e3;
        let begun = Instant::now();
        fill(&app, runs).await?;
        let fill_s = begun.elapsed().as_secs_f64();
        tokio::time::sleep(SETTLED).await;
        let seen = json!({
            "start_ms": start_ms, "fill_s": fill_s, "waiting": app.handle().counts().waiting,
            "rss_kib": machine::field("/proc/self/status", "VmRSS:")?, "disk_bytes": machine::folder_bytes(Path::new(&folder))?,
        });
        app.stop(Duration::from_secs(30)).await?;
        Outcome::Ok(seen)
    })?;
    println!("{seen}");
    Ok(())
}

async fn fill(app: &Arc<App>, runs: usize) -> Outcome<()> {
    if runs == 0 {
        return Ok(());
    }
    let definition = json!({ "name": "wait", "steps": [
        { "id": "nap", "type": "wait", "config": { "duration": "30d" } },
    ] });
    app.handle().create_workflow(&definition.to_string(), None).await?;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let app = app.clone();
            let mine = runs / CLIENTS + usize::from(client < runs % CLIENTS);
            tokio::spawn(async move {
                for _ in 0..mine {
                    let new =
                        NewRun { workflow: "wait".to_owned(), inputs: json!({}), idempotency_key: None };
                    app.handle().start_run(new).await?;
                    // Runs wait for a permit in a queue with a bound.
                    while app.handle().counts().queued > 5_000 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                Outcome::Ok(())
            })
        })
        .collect();
    for client in clients {
        client.await??;
    }
    let until = Instant::now() + PARKED_MAX;
    while app.handle().counts().waiting < runs {
        if Instant::now() > until {
            return Err(format!("{:?} after all were started", app.handle().counts()).into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
