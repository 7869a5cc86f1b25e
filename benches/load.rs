//! The engine under load: the whole application in this process on a data folder of its own, clients that start a
//! run, wait for the host's event of its end, and start the next.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chainbot_core::app::{App, Services};
use chainbot_core::env::Env;
use chainbot_core::port::{EventBus, Published};
use chainbot_core::runtime::NewRun;
use chainbot_core::time::Timestamp;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Outcome, machine};

/// Steps of each run.
pub const STEPS: usize = 10;
/// Longer than any stop takes.
const STOP_MAX: Duration = Duration::from_secs(30);

/// What the steps are.
#[derive(Clone, Copy)]
pub enum Shape {
    /// Each is on disk before the next begins.
    Journaled,
    /// They ride on the run's end.
    Pure,
}

/// What is to be done.
#[derive(Clone, Copy)]
pub struct Load {
    pub shape: Shape,
    pub runs: usize,
    pub parallel: usize,
}

/// What was seen. The data folder lives as long as this.
pub struct Done {
    pub folder: tempfile::TempDir,
    pub runs: usize,
    pub seconds: f64,
    pub latencies_ms: Vec<f64>,
    pub wal_bytes: u64,
    pub disk_bytes: u64,
}

impl Done {
    pub fn steps(&self) -> usize {
        self.runs * STEPS
    }

    pub fn steps_per_s(&self) -> f64 {
        self.steps() as f64 / self.seconds
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("chainbot.db")
    }
}

/// Starts the engine, loads it, stops it.
pub fn run(home: &Path, load: &Load) -> Outcome<Done> {
    let folder = tempfile::tempdir_in(home)?;
    // As the plugin and the command line have it.
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (seconds, latencies_ms, wal_bytes, disk_bytes) = tokio.block_on(async {
        let bus = Arc::new(Ends::default());
        let app = Arc::new(start(folder.path(), bus.clone(), load.parallel, &json!([])).await?);
        app.handle().create_workflow(&definition("bench", load.shape), None).await?;
        let before = machine::field("/proc/self/io", "write_bytes:")?;
        let begun = Instant::now();
        let latencies = drive(&app, &bus, "bench", load).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let disk_bytes = machine::field("/proc/self/io", "write_bytes:")? - before;
        let wal_bytes = machine::log_bytes(&folder.path().join("chainbot.db-wal"))?;
        app.stop(STOP_MAX).await?;
        Outcome::Ok((seconds, latencies, wal_bytes, disk_bytes))
    })?;
    Ok(Done { folder, runs: load.runs, seconds, latencies_ms, wal_bytes, disk_bytes })
}

/// An application on a folder, with `parallel` permits and these grants for outbound requests.
pub async fn start(folder: &Path, bus: Arc<Ends>, parallel: usize, grants: &Value) -> Outcome<App> {
    let document = json!({ "data_dir": folder, "values": {
        "api": { "port": null },
        "workflow_engine": { "max_concurrent_workflows": parallel, "max_queued": 10_000 },
        "egress": { "grants": grants },
    }});
    let config = App::check(&document.to_string())?;
    let services = Services {
        env: Env::system(),
        bus: Some(bus),
        process: "bench".to_owned(),
        module_path: None,
        port_hint: None,
    };
    Ok(App::start(config, services).await?)
}

/// A workflow of [`STEPS`] steps.
pub fn definition(name: &str, shape: Shape) -> String {
    let checkpoint = matches!(shape, Shape::Journaled);
    let steps: Vec<Value> = (0..STEPS)
        .map(|n| {
            json!({
                "id": format!("step_{n}"), "type": "set", "checkpoint": checkpoint,
                "config": { "variables": { "count": n } },
            })
        })
        .collect();
    json!({ "name": name, "steps": steps }).to_string()
}

/// Clients that start runs of a workflow one after another until all were started. Milliseconds of each.
pub async fn drive(
    app: &Arc<App>,
    bus: &Arc<Ends>,
    workflow: &'static str,
    load: &Load,
) -> Outcome<Vec<f64>> {
    let left = Arc::new(AtomicUsize::new(load.runs));
    let clients: Vec<_> = (0..load.parallel)
        .map(|_| {
            let (app, bus, left) = (app.clone(), bus.clone(), left.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok()
                {
                    let begun = Instant::now();
                    one(&app, &bus, workflow).await?;
                    latencies.push(begun.elapsed().as_secs_f64() * 1e3);
                }
                Outcome::Ok(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::with_capacity(load.runs);
    for client in clients {
        latencies.extend(client.await??);
    }
    Ok(latencies)
}

/// One run from its start to its end.
pub async fn one(app: &App, bus: &Ends, workflow: &str) -> Outcome<()> {
    let new = NewRun { workflow: workflow.to_owned(), inputs: json!({}), idempotency_key: None };
    let started = app.handle().start_run(new).await?;
    let topic = bus.end_of(&started.run.id.to_string()).await?;
    if topic != "chainbot.workflow.completed" {
        return Err(format!("run {} ended with {topic}", started.run.id).into());
    }
    Ok(())
}

/// A host's bus that tells clients of the ends of runs.
#[derive(Default)]
pub struct Ends(Mutex<HashMap<String, End>>);

enum End {
    Awaited(oneshot::Sender<String>),
    /// It came before somebody waited; with the topic.
    Here(String),
}

impl Ends {
    /// The topic of the event that ends a run.
    async fn end_of(&self, run: &str) -> Outcome<String> {
        let ended = {
            let mut ends = self.0.lock().map_err(|_| "a thread panicked")?;
            if let Some(End::Here(topic)) = ends.remove(run) {
                return Ok(topic);
            }
            let (sender, ended) = oneshot::channel();
            ends.insert(run.to_owned(), End::Awaited(sender));
            ended
        };
        Ok(ended.await?)
    }
}

impl EventBus for Ends {
    fn publish(&self, topic: &str, _: &str, id: &str, _: Timestamp) -> Published {
        let is_end = ["completed", "failed", "cancelled"].iter().any(|end| topic.ends_with(end));
        // The id of a run's event is the run and the number of its record.
        if let (true, Some((run, _)), Ok(mut ends)) = (is_end, id.rsplit_once('-'), self.0.lock()) {
            match ends.remove(run) {
                Some(End::Awaited(sender)) => drop(sender.send(topic.to_owned())),
                _ => drop(ends.insert(run.to_owned(), End::Here(topic.to_owned()))),
            }
        }
        Published::Sent
    }

    fn subscribe(&self, _: &str) -> chainbot_core::Result<()> {
        Ok(())
    }
}
