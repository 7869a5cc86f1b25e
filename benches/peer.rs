//! This engine as one of the drivers of `make bench-peers` (benches/peers/README.md): the same work as the others, told to the
//! harness in the same words, in a process that begins with it. After that the raw loop writes the same rows.

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chainbot_core::app::App;
use serde_json::{Value, json};

use super::load::{self, Ends, Load, STEPS, Shape};
use super::{Outcome, raw};

/// Runs of the one that is measured alone, and of the fan-out.
const ALONE: usize = 20;
const FANS: usize = 3;
/// Pairs of engine and raw loop.
const PAIRS: usize = 3;

/// Does the work in the folder that the harness gave.
pub fn drive() -> Outcome<()> {
    let folder = std::env::var("PEER_FOLDER")?;
    let folder = Path::new(&folder);
    let work =
        Load { shape: Shape::Journaled, runs: given("PEER_WORKFLOWS")?, parallel: given("PEER_PARALLEL")? };
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    tokio.block_on(engine(&folder.join("chainbot"), &work))?;
    raw_loop(folder, &work)
}

fn given(name: &str) -> Outcome<usize> {
    Ok(std::env::var(name).map_err(|_| format!("{name} is not set: `make bench-peers` sets it"))?.parse()?)
}

async fn engine(folder: &Path, work: &Load) -> Outcome<()> {
    let (bus, fan) = (Arc::new(Ends::default()), given("PEER_FAN")?);
    let app = Arc::new(load::start(folder, bus.clone(), work.parallel, &json!([])).await?);
    let definitions =
        [load::definition("steps", Shape::Journaled), load::definition("pure", Shape::Pure), fan_out(fan)];
    for definition in &definitions {
        app.handle().create_workflow(definition, None).await?;
    }
    load::one(&app, &bus, "steps").await?;
    say(&json!({
        "event": "first", "name": "ChainBot", "version": chainbot_core::VERSION,
        "store": format!("SQLite {}", rusqlite::version()),
        "durability": "journal_mode=WAL, synchronous=FULL: nothing acknowledged is lost in a power cut",
    }))?;
    say(&json!({ "event": "w2", "latencies_ms": in_turn(&app, &bus, "steps", ALONE).await? }))?;
    say(&loaded(&app, &bus, "w1", "steps", work).await?)?;
    let latencies = in_turn(&app, &bus, "fan", FANS).await?;
    say(&json!({ "event": "w3", "steps": fan, "latencies_ms": latencies }))?;
    say(&loaded(&app, &bus, "w4", "pure", work).await?)?;
    say(&json!({ "event": "done" }))?;
    Ok(app.stop(Duration::from_secs(30)).await?)
}

/// One step for each of so many iterations, all at once. A definition has at most 1,000 steps, so they are one in a loop.
fn fan_out(width: usize) -> String {
    json!({ "name": "fan", "steps": [{
        "id": "all", "type": "loop", "config": {
            "times": width, "max_concurrency": width,
            "steps": [{
                "id": "each", "type": "set", "checkpoint": true, "config": { "variables": { "count": "index" } },
            }],
        },
    }] })
    .to_string()
}

async fn in_turn(app: &App, bus: &Ends, workflow: &str, times: usize) -> Outcome<Vec<f64>> {
    let mut latencies = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Instant::now();
        load::one(app, bus, workflow).await?;
        latencies.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(latencies)
}

async fn loaded(
    app: &Arc<App>,
    bus: &Arc<Ends>,
    event: &str,
    workflow: &'static str,
    work: &Load,
) -> Outcome<Value> {
    let begun = Instant::now();
    let latencies = load::drive(app, bus, workflow, work).await?;
    Ok(json!({ "event": event, "seconds": begun.elapsed().as_secs_f64(), "latencies_ms": latencies }))
}

/// What SQLite alone does with the rows of W1, each time right after an engine that has just written them.
fn raw_loop(folder: &Path, work: &Load) -> Outcome<()> {
    let beginnings =
        raw::beginnings(&load::run(folder, &Load { runs: work.runs.min(100), parallel: 8, ..*work })?)?;
    let (mut engine, mut group, mut single) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let done = load::run(folder, work)?;
        let script = raw::Script::of(&done, &beginnings)?;
        engine.push(done.steps_per_s());
        group.push(raw::submitters(folder, &script, work.parallel)?);
        single.push(raw::one_loop(folder, &script, work.parallel)?);
    }
    say(&json!({
        "event": "raw", "workflows": work.runs, "steps": STEPS,
        "engine_steps_per_s": engine, "group_commit_steps_per_s": group, "one_loop_steps_per_s": single,
    }))
}

/// Tells the harness, and waits until it has looked.
fn say(event: &Value) -> Outcome<()> {
    // The bench prints lines of its own; those of the harness are objects of JSON.
    println!("{event}");
    std::io::stdout().flush()?;
    std::io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}
