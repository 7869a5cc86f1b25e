//! The runtime on a real database, with a clock that stands still and a server that answers when told.

mod broken;
mod courier;
mod cut;
mod edges;
mod held;
mod history;
mod host;
mod people;
mod queued;
mod sim;
mod stale;
mod stuck;
mod triggers;
mod tuned;
mod turns;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::*;
use crate::engine::Defaults;
use crate::env::{Env, SeededRandom, VirtualClock};
use crate::gpio::{Bcm, Bias, InputCfg, Mode, PinSetup, Pins, SimBackend};
use crate::id::RunId;
use crate::model::{RecordBody, RunStatus, RunView};
use crate::net::testing::{Act, Server, egress_to, reply};
use crate::port::Store;
use crate::step::{Channel, Executors, Way};
use crate::store::{DataDir, OpenOptions, SqliteStore, check};
use crate::time::Timestamp;

/// As the number of workers: nothing has a thread of its own, the test takes every step.
pub(super) const STEPPED: usize = usize::MAX;

/// Catches hangs only.
const HANG: Duration = Duration::from_secs(60);

/// The notes of steps under evaluation, in the folder.
const NOTES: &str = "poison";

/// One key, that of the specification's first vector.
struct Keys;

impl crate::port::SigningKeys for Keys {
    fn signing_key(&self, _: Option<crate::id::UserId>, name: &str) -> crate::Result<String> {
        match name {
            "known" => Ok("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
            _ => Err(crate::Error::new(
                &crate::error::code::definition::NO_SECRET,
                format!("there is no secret `{name}`"),
            )),
        }
    }
}

/// A runtime on a folder.
struct Bench {
    folder: TempDir,
    clock: Arc<VirtualClock>,
    runs_max: usize,
    queued_max: usize,
    server: Server,
    /// Lets one hanging request be answered.
    gate: Arc<Semaphore>,
    store: Arc<SqliteStore>,
    /// What the host was told, since the start or the restart.
    heard: Arc<host::Heard>,
    /// The store as the runtime has it.
    cut: Arc<cut::CutStore>,
    runtime: Arc<Runtime>,
    handle: Handle,
}

fn open(folder: &Path) -> Arc<SqliteStore> {
    SqliteStore::open(OpenOptions::new(Arc::new(DataDir::open(folder, "test").unwrap()))).unwrap()
}

impl Bench {
    async fn new(runs_max: usize, queued_max: usize) -> Self {
        Self::with_store(runs_max, queued_max, open).await
    }

    async fn with_store(
        runs_max: usize,
        queued_max: usize,
        open: impl FnOnce(&Path) -> Arc<SqliteStore>,
    ) -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let waits = gate.clone();
        let server = Server::start(move |_, request| {
            let bytes = reply(200, "Content-Type: application/json\r\n", r#"{"n":1}"#);
            if request.contains("/slow") { Act::Await(waits.clone(), bytes) } else { Act::Reply(bytes) }
        })
        .await;
        Self::before(server, gate, runs_max, queued_max, open)
    }

    /// Before a server that answers as the test says.
    async fn answering(answer: impl Fn(usize, &str) -> Act + Send + Sync + 'static) -> Self {
        let server = Server::start(answer).await;
        Self::before(server, Arc::new(Semaphore::new(0)), 4, 10, open)
    }

    fn before(
        server: Server,
        gate: Arc<Semaphore>,
        runs_max: usize,
        queued_max: usize,
        open: impl FnOnce(&Path) -> Arc<SqliteStore>,
    ) -> Self {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(VirtualClock::at(Timestamp(1_800_000_000_000)));
        let store = open(folder.path());
        let cut = cut::CutStore::new(store.clone());
        let heard = Arc::<host::Heard>::default();
        let runtime = start(folder.path(), cut.clone(), &heard, &clock, &server, (runs_max, queued_max), 1);
        let handle = Handle::new(runtime.clone());
        Self { folder, clock, runs_max, queued_max, server, gate, heard, store, cut, runtime, handle }
    }

    /// Stops and starts again on the same folder.
    async fn restart(self) -> Self {
        self.restart_after(|_| {}).await
    }

    /// Stops while effects are under way: the clock stands still, so the stop's patience is the test's to give.
    async fn restart_busy(self, between: impl FnOnce(&Path)) -> Self {
        let (clock, runtime) = (self.clock.clone(), self.runtime.clone());
        let passing = tokio::spawn(async move {
            // No further: the threads that end then have their time too.
            while !runtime.effects.is_closed() {
                clock.advance(Duration::from_millis(50));
                tokio::task::yield_now().await;
            }
        });
        let bench = self.restart_after(between).await;
        passing.await.unwrap();
        bench
    }

    /// What `between` does to the folder, no process sees happen.
    async fn restart_after(self, between: impl FnOnce(&Path)) -> Self {
        let Self { folder, clock, runs_max, queued_max, server, gate, heard: _, store, cut, runtime, handle } =
            self;
        runtime.stop(Duration::from_secs(20)).await.unwrap();
        assert_eq!(check(&store).unwrap(), []);
        store.close();
        cut.let_go();
        drop((handle, runtime, cut, store));
        between(folder.path());
        let store = open(folder.path());
        let cut = cut::CutStore::new(store.clone());
        let heard = Arc::<host::Heard>::default();
        let runtime = start(folder.path(), cut.clone(), &heard, &clock, &server, (runs_max, queued_max), 2);
        let handle = Handle::new(runtime.clone());
        Self { folder, clock, runs_max, queued_max, server, gate, heard, store, cut, runtime, handle }
    }

    async fn workflow(&self, name: &str, steps: &str) {
        let source = format!("name: {name}\nsteps:\n{steps}\n").replace("SERVER", &self.server.url(""));
        self.handle.create_workflow(&source, None).await.unwrap();
    }

    async fn start(&self, name: &str) -> RunId {
        self.try_start(name, None).await.unwrap().run.id
    }

    async fn try_start(&self, name: &str, key: Option<&str>) -> crate::Result<StartedRun> {
        self.try_start_with(name, Value::Null, key).await
    }

    async fn try_start_with(
        &self,
        name: &str,
        inputs: Value,
        key: Option<&str>,
    ) -> crate::Result<StartedRun> {
        let idempotency_key = key.map(str::to_owned);
        self.handle.start_run(NewRun { workflow: name.to_owned(), inputs, idempotency_key }).await
    }

    /// Waits until a run's journal has a record.
    async fn until(&self, run: RunId, wanted: impl Fn(&RecordBody) -> bool) {
        let seen = async {
            let mut records = self.handle.subscribe(Some(crate::id::Lsn(0))).await.unwrap();
            while let Some(next) = records.next().await {
                let next = next.unwrap();
                if next.run == run && wanted(&next.record.body) {
                    return;
                }
            }
            panic!("the runtime stopped");
        };
        tokio::time::timeout(HANG, seen).await.expect("the record comes");
    }

    /// Waits until a thread is written off. Nothing else is evaluated while the clock runs.
    async fn until_written_off(&self) {
        let lost = async {
            while self.handle.counts().written_off == 0 {
                self.clock.advance(Duration::from_millis(10));
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(HANG, lost).await.expect("the thread is written off");
    }

    async fn ended(&self, run: RunId) -> RunView {
        self.until(run, |body| {
            matches!(
                body,
                RecordBody::RunCompleted { .. }
                    | RecordBody::RunFailed { .. }
                    | RecordBody::RunCancelled { .. }
            )
        })
        .await;
        self.handle.run(run).await.unwrap()
    }

    async fn end(self) {
        self.runtime.stop(Duration::from_secs(5)).await.unwrap();
        assert_eq!(check(&self.store).unwrap(), []);
        self.store.close();
    }
}

fn start(
    folder: &Path,
    store: Arc<dyn Store>,
    heard: &Arc<host::Heard>,
    clock: &Arc<VirtualClock>,
    server: &Server,
    (runs_max, queued_max): (usize, usize),
    seed: u64,
) -> Arc<Runtime> {
    let env = Env::new(clock.clone(), Arc::new(SeededRandom::new(seed)));
    let egress = Arc::new(egress_to(&[("127.0.0.1", server.address)]));
    let mode = Mode::Input(InputCfg { bias: Bias::None, active_low: false, debounce: Duration::ZERO });
    let door = PinSetup { name: "door".to_owned(), pin: Bcm(24), mode };
    let pins = Pins::open(Arc::new(SimBackend::new(env.clone())), vec![door], env.clone()).unwrap();
    let phone = Way::Ntfy { url: server.url(""), topic: "garden".to_owned(), token: None, tags: Vec::new() };
    let channels = vec![Channel { name: "phone".to_owned(), way: phone }];
    Runtime::start(Options {
        store,
        executors: Arc::new(Executors::new(egress, env.clone()).with_channels(channels)),
        env,
        host_bus: Some(heard.clone()),
        defaults: Defaults::default(),
        runs_max,
        queued_max,
        workers: 2,
        poison_file: Some(folder.join(NOTES)),
        signing_keys: Arc::new(Keys),
        tokio: tokio::runtime::Handle::current(),
        known: crate::validate::Known::default(),
        pins: Some(pins),
        retention: None,
        meters: Arc::default(),
    })
    .unwrap()
}

const SLOW: &str = "  - { id: a, type: api_call, config: { url: \"SERVER/slow\", method: GET } }";
const WAIT: &str = "  - { id: a, type: wait, config: { signal: go } }";
const HOUR: &str = "  - { id: a, type: wait, config: { duration: 1h } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_to_a_queued_run_does_not_keep_its_permit() {
    let bench = Bench::new(1, 10).await;
    bench.workflow("slow", SLOW).await;
    bench.workflow("waits", WAIT).await;
    let first = bench.start("slow").await;
    bench.server.until(|counts| counts.in_flight == 1).await;
    let queued = bench.start("waits").await;
    assert_eq!(bench.handle.run(queued).await.unwrap().status, RunStatus::Pending);
    bench.handle.signal(queued, "go", json!(5), None).await.unwrap();
    bench.gate.add_permits(1);
    assert_eq!(bench.ended(first).await.status, RunStatus::Completed);
    let output = bench.ended(queued).await.output.unwrap();
    assert_eq!(output["signal"], 5);
    let third = bench.start("slow").await;
    bench.gate.add_permits(1);
    assert_eq!(bench.ended(third).await.status, RunStatus::Completed);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_cancelled_while_it_queues_again_gives_its_permit_back() {
    let bench = Bench::new(1, 10).await;
    bench.workflow("slow", SLOW).await;
    let again = HOUR.replace("id: a", "id: b");
    bench.workflow("hour", &format!("{HOUR}\n{again}")).await;
    let parked = bench.start("hour").await;
    bench.until(parked, |body| matches!(body, RecordBody::StepWaiting { .. })).await;
    let first = bench.start("slow").await;
    bench.server.until(|counts| counts.in_flight == 1).await;
    // Its time comes while somebody else has the permit.
    bench.clock.advance(Duration::from_secs(3_600));
    let queued = async {
        while bench.handle.counts().queued == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, queued).await.expect("it queues for a permit");
    bench.handle.cancel(parked, "enough").await.unwrap();
    assert_eq!(bench.ended(parked).await.status, RunStatus::Cancelled);
    bench.gate.add_permits(2);
    assert_eq!(bench.ended(first).await.status, RunStatus::Completed);
    let third = bench.start("slow").await;
    assert_eq!(bench.ended(third).await.status, RunStatus::Completed);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_signalled_while_it_queues_again_is_told_of_its_effects_end() {
    let bench = Bench::new(1, 10).await;
    bench.workflow("slow", SLOW).await;
    bench.workflow("hour", &format!("{HOUR}\n{}", SLOW.replace("id: a", "id: b"))).await;
    let parked = bench.start("hour").await;
    bench.until(parked, |body| matches!(body, RecordBody::StepWaiting { .. })).await;
    let first = bench.start("slow").await;
    bench.server.until(|counts| counts.in_flight == 1).await;
    bench.clock.advance(Duration::from_secs(3_600));
    let queued = async {
        while bench.handle.counts().queued == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, queued).await.expect("it queues for a permit");
    bench.handle.signal(parked, "anything", json!(1), None).await.unwrap();
    bench.server.until(|counts| counts.in_flight == 2).await;
    bench.gate.add_permits(2);
    assert_eq!(bench.ended(first).await.status, RunStatus::Completed);
    assert_eq!(bench.ended(parked).await.status, RunStatus::Completed);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_run_survives_a_restart_and_is_woken_by_its_time() {
    let bench = Bench::new(4, 10).await;
    bench.workflow("hour", HOUR).await;
    let run = bench.start("hour").await;
    bench.until(run, |body| matches!(body, RecordBody::StepWaiting { .. })).await;
    let bench = bench.restart().await;
    assert_eq!(bench.handle.run(run).await.unwrap().status, RunStatus::Waiting);
    bench.clock.advance(Duration::from_secs(3_600));
    assert_eq!(bench.ended(run).await.output.unwrap()["waited"], 3600.0);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_cut_by_a_stop_is_sent_again_with_its_key() {
    let bench = Bench::new(4, 10).await;
    bench.workflow("slow", SLOW).await;
    let run = bench.start("slow").await;
    bench.server.until(|counts| counts.in_flight == 1).await;
    let bench = bench.restart_busy(|_| {}).await;
    bench.server.until(|counts| counts.requests == 2).await;
    bench.gate.add_permits(2);
    assert_eq!(bench.ended(run).await.status, RunStatus::Completed);
    let keys: Vec<String> = bench
        .server
        .requests()
        .iter()
        .map(|request| {
            let line = request.lines().find(|line| line.to_lowercase().starts_with("idempotency-key"));
            line.expect("every try carries its key").to_owned()
        })
        .collect();
    assert_eq!(keys[0], keys[1]);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_with_a_known_key_is_the_same_run_and_the_queue_has_a_bound() {
    let bench = Bench::new(1, 1).await;
    bench.workflow("slow", SLOW).await;
    let first = bench.try_start("slow", Some("k")).await.unwrap();
    let again = bench.try_start("slow", Some("k")).await.unwrap();
    assert!(!first.replayed && again.replayed && first.run.id == again.run.id);
    bench.server.until(|counts| counts.in_flight == 1).await;
    let queued = bench.start("slow").await;
    let refused = bench.try_start("slow", None).await.unwrap_err();
    assert_eq!(refused.code().id, crate::error::code::run::QUEUE_FULL.id);
    bench.gate.add_permits(2);
    bench.ended(first.run.id).await;
    assert_eq!(bench.ended(queued).await.status, RunStatus::Completed);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_waits_for_its_child_with_one_permit_for_both() {
    let bench = Bench::new(1, 10).await;
    bench.workflow("child", WAIT).await;
    bench.workflow("parent", "  - { id: c, type: workflow, config: { workflow: child } }").await;
    let parent = bench.start("parent").await;
    let child = async {
        loop {
            let runs = bench
                .handle
                .runs(RunQuery { status: Some(RunStatus::Waiting), ..RunQuery::newest(Some("child"), 10) })
                .await
                .unwrap();
            if let Some(run) = runs.items.first() {
                return run.id;
            }
            tokio::task::yield_now().await;
        }
    };
    let child = tokio::time::timeout(HANG, child).await.expect("the child waits");
    let bench = bench.restart().await;
    bench.handle.signal(child, "go", json!(7), Some("once")).await.unwrap();
    let output = bench.ended(parent).await.output.unwrap();
    assert_eq!(output["signal"], 7);
    bench.end().await;
}
