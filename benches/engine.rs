//! How fast the engine is beside what the disk allows: `make bench` prints one table.
//!
//! Only ratios within one run count, because the disk's speed varies many times over with other load. So the
//! engine and two raw SQLite loops that write the same rows take turns, several rounds each, and the table shows
//! medians and the ratio of each round's pair. Nothing here is asserted: it is read by people.
//!
//! `CB_BENCH_ROUNDS` (5) and `CB_BENCH_RUNS` (1000) make it shorter; `CB_BENCH_ONLY` names one section of
//! `steps`, `pure`, `alone`, `abi`, `start`, `api`, `listeners`, `agents`, `waiting`, and `CB_BENCH_PARALLEL` one number of runs in
//! parallel; `CB_BENCH_WAITING` (100000) is how many runs wait, `CB_BENCH_LISTENERS` (500) how many WebSocket clients listen,
//! `CB_BENCH_TASKS` (50) how many tasks one agent does, `CB_BENCH_AGENTS` (50) how many agents are at work at once.
//! `CB_BENCH_ONLY=peer` is the part of `make bench-peers`.

mod abi;
mod agents;
mod alone;
mod api;
mod listeners;
mod load;
mod machine;
mod peer;
mod raw;
mod startup;
mod stats;
mod waiting;

use std::path::PathBuf;

use load::{Load, Shape};
use stats::{median, percentile, ratio};

/// What went wrong; a bench has nobody to handle it but the reader.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Runs in parallel that are measured.
const PARALLEL: [usize; 4] = [1, 8, 50, 256];

fn main() -> Outcome<()> {
    let rounds = setting("CB_BENCH_ROUNDS", 5);
    let runs = setting("CB_BENCH_RUNS", 1_000);
    let only = std::env::var("CB_BENCH_ONLY").ok();
    // In a process of its own, with nothing before it.
    match only.as_deref() {
        Some("peer") => return peer::drive(),
        Some("waiting-process") => return waiting::process(),
        _ => {}
    }
    let wants = |section: &str| only.as_deref().is_none_or(|only| only == section);
    // On the disk of the target folder: a temporary folder may be memory, where an fsync costs nothing.
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    print!("{}", machine::describe(&home)?);
    if wants("steps") {
        steps(&home, rounds, runs)?;
    }
    if wants("pure") {
        pure(&home, rounds, runs)?;
    }
    if wants("alone") {
        alone::measure(&home, rounds)?;
    }
    if wants("abi") {
        abi::measure(&home, rounds)?;
    }
    if wants("start") {
        startup::measure(&home, rounds)?;
    }
    if wants("api") {
        api::measure(&home, setting("CB_BENCH_SECONDS", 20))?;
    }
    if wants("listeners") {
        listeners::measure(
            &home,
            setting("CB_BENCH_LISTENERS", 500),
            setting("CB_BENCH_LISTENER_RUNS", 200),
        )?;
    }
    if wants("agents") {
        agents::measure(&home, setting("CB_BENCH_TASKS", 50), setting("CB_BENCH_AGENTS", 50))?;
    }
    if wants("waiting") {
        waiting::measure(&home, setting("CB_BENCH_WAITING", 100_000))?;
    }
    Ok(())
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default).max(1)
}

/// Journaled steps: each of ten `set` steps is on disk before the next begins.
fn steps(home: &std::path::Path, rounds: usize, runs: usize) -> Outcome<()> {
    println!(
        "\nJournaled steps: {runs} runs (a fifth of them at 1, ten for each client at 256) of ten `set` steps with `checkpoint: true`\n"
    );
    println!(
        "| in parallel | engine steps/s | raw, same submitters | ratio | raw, one loop | ratio | run p50 | run p99 | \
         WAL bytes/step | disk bytes/step |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let beginnings =
        raw::beginnings(&load::run(home, &Load { shape: Shape::Journaled, runs: 100, parallel: 8 })?)?;
    let mut commits = 0;
    let chosen = std::env::var("CB_BENCH_PARALLEL").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    for parallel in PARALLEL.into_iter().filter(|parallel| chosen == 0 || *parallel == chosen) {
        // Each client starts ten or more, so that the beginning, when all start at once, is not most of it.
        let runs = if parallel == 1 { runs.div_ceil(5) } else { runs.max(10 * parallel) };
        let load = Load { shape: Shape::Journaled, runs, parallel };
        let (mut engine, mut threaded, mut looped) = (Vec::new(), Vec::new(), Vec::new());
        let (mut latencies, mut wal, mut disk) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let done = load::run(home, &load)?;
            let script = raw::Script::of(&done, &beginnings)?;
            commits = script.batches_per_run();
            engine.push(done.steps_per_s());
            threaded.push(raw::submitters(home, &script, parallel)?);
            looped.push(raw::one_loop(home, &script, parallel)?);
            disk.push(done.disk_bytes as f64 / done.steps() as f64);
            latencies.extend(done.latencies_ms);
        }
        // Few enough steps that the log is never begun anew, so that its size is what was written, and as many runs as are to
        // be at work at once: a commit's own pages are shared by all that it holds.
        let short = load::run(home, &Load { runs: parallel.max(30), ..load })?;
        wal.push(short.wal_bytes as f64 / short.steps() as f64);
        println!(
            "| {parallel} | {:.0} | {:.0} | {:.0} % | {:.0} | {:.0} % | {:.2} ms | {:.2} ms | {:.0} | {:.0} |",
            median(&engine),
            median(&threaded),
            100.0 * ratio(&engine, &threaded),
            median(&looped),
            100.0 * ratio(&engine, &looped),
            percentile(&latencies, 0.5),
            percentile(&latencies, 0.99),
            median(&wal),
            median(&disk),
        );
    }
    println!("\nEach run waits for {commits} commits.");
    Ok(())
}

/// Ten steps that nothing outside depends on: one commit at a run's start and one at its end.
fn pure(home: &std::path::Path, rounds: usize, runs: usize) -> Outcome<()> {
    let load = Load { shape: Shape::Pure, runs, parallel: 50 };
    let (mut steps, mut latencies) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let done = load::run(home, &load)?;
        steps.push(done.steps_per_s());
        latencies.extend(done.latencies_ms);
    }
    println!(
        "\nTen pure steps x {runs} runs, 50 in parallel: {:.0} steps/s, {:.0} runs/s;",
        median(&steps),
        median(&steps) / 10.0
    );
    println!(
        "a run takes p50 {:.2} ms, p99 {:.2} ms",
        percentile(&latencies, 0.5),
        percentile(&latencies, 0.99)
    );
    Ok(())
}
