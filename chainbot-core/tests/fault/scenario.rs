//! What happens in a schedule: scripts over the engine's face. Each may be played again from its beginning in the next life,
//! as people and programs do that got no answer, and comes to the same end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chainbot_core::Result;
use chainbot_core::env::Clock;
use chainbot_core::error::code::run as run_code;
use chainbot_core::id::RunId;
use chainbot_core::model::RunStatus;
use chainbot_core::port::upkeep::{Keep, Retention, Upkeep};
use chainbot_core::port::{RunFilter, Scope, SecretText, Store};
use chainbot_core::runtime::{Event, NewAnswer, NewFork, NewRun, RunQuery};
use chainbot_core::secret::NewSecret;
use serde_json::{Value, json};

use super::world::{Life, World};

type Played = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// One script.
pub struct Scenario {
    pub name: &'static str,
    pub play: fn(Arc<World>, Arc<Life>) -> Played,
    /// A database that is there before the first life.
    pub database: Option<&'static str>,
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "effects", play: |world, life| Box::pin(effects(world, life)), database: None },
    Scenario { name: "waits", play: |world, life| Box::pin(waits(world, life)), database: None },
    Scenario { name: "people", play: |world, life| Box::pin(people(world, life)), database: None },
    Scenario { name: "children", play: |world, life| Box::pin(children(world, life)), database: None },
    Scenario { name: "triggers", play: |world, life| Box::pin(triggers(world, life)), database: None },
    Scenario { name: "upkeep", play: |world, life| Box::pin(upkeep(world, life)), database: None },
    Scenario {
        name: "upgrade",
        play: |world, life| Box::pin(upgrade(world, life)),
        database: Some("schema-1.db"),
    },
];

/// A script with what it is played on.
struct Stage {
    world: Arc<World>,
    life: Arc<Life>,
}

impl Stage {
    fn new(world: Arc<World>, life: Arc<Life>) -> Self {
        Self { world, life }
    }

    async fn deploy(&self, name: &str, body: &str) -> Result<()> {
        if self.life.handle.workflow(name).await.is_err() {
            let source = format!("name: {name}\nretry: {{ attempts: 3, delay: 1s }}\n{body}");
            let source = source.replace("LEDGER", &self.world.url());
            self.life.handle.create_workflow(&source, Some(&format!("deploy {name}"))).await?;
        }
        self.world.acknowledged(&format!("workflow {name}"));
        Ok(())
    }

    async fn start(&self, workflow: &str, key: &str) -> Result<RunId> {
        let new = NewRun {
            workflow: workflow.to_owned(),
            inputs: json!({ "n": key }),
            idempotency_key: Some(key.to_owned()),
        };
        let run = self.life.handle.start_run(new).await?.run.id;
        self.world.acknowledged(&format!("start {key} {run}"));
        Ok(run)
    }

    /// Lets time pass.
    async fn tick(&self) {
        self.world.clock.advance(Duration::from_millis(500));
        self.life.runtime.look_at_the_clock();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }

    async fn status(&self, run: RunId) -> Result<RunStatus> {
        Ok(self.life.handle.run(run).await?.status)
    }

    async fn ended(&self, run: RunId) -> Result<RunStatus> {
        let status = loop {
            match self.life.store.run(&Scope::All, run)?.map(|stored| stored.row.status) {
                Some(status) if status.is_terminal() => break status,
                // A panic in one turn of it; a person says that it may go on.
                Some(_) if self.is_held(run)? => {
                    answer_all(self).await?;
                    self.tick().await;
                }
                _ => {
                    // It may wait for another that is held.
                    if self.life.handle.inbox().await?.iter().any(|question| question.kind == "poison") {
                        answer_all(self).await?;
                    }
                    self.tick().await;
                }
            }
        };
        self.world.acknowledged(&format!("over {run} {}", status.as_str()));
        Ok(status)
    }

    /// Waits until a run is over or waits for something from outside.
    async fn rests(&self, run: RunId) -> Result<RunStatus> {
        loop {
            let status = self.status(run).await?;
            if status.is_terminal() || status == RunStatus::Waiting {
                return Ok(status);
            }
            self.tick().await;
        }
    }

    /// Signals a run that may be over, or held by a panic in a life before: then a person says that it may go on.
    async fn signal(&self, run: RunId, name: &str) -> Result<()> {
        let mut told = self.life.handle.signal(run, name, json!(7), Some("once")).await;
        for _ in 0..20 {
            if told.is_ok() || !self.is_held(run)? {
                break;
            }
            answer_all(self).await?;
            self.tick().await;
            told = self.life.handle.signal(run, name, json!(7), Some("once")).await;
        }
        match told {
            Err(error) if *error.code() != run_code::FINISHED => Err(error),
            _ => {
                self.world.acknowledged(&format!("signal {run} {name}"));
                Ok(())
            }
        }
    }

    fn is_held(&self, run: RunId) -> Result<bool> {
        let detail = self.life.store.run(&Scope::All, run)?.and_then(|stored| stored.row.detail);
        Ok(detail.is_some_and(|detail| detail.starts_with("held")))
    }

    /// Everything that is unfinished comes to its end by itself.
    async fn all_end(&self) -> Result<()> {
        let statuses = RunStatus::ALL.into_iter().filter(|status| !status.is_terminal()).collect();
        let filter = RunFilter { statuses, limit: 1, ..RunFilter::default() };
        loop {
            let open = self.life.store.runs(&Scope::All, &filter)?;
            let Some(row) = open.items.first() else { return Ok(()) };
            self.ended(row.id).await?;
        }
    }
}

const EFFECTS: &str = r#"
steps:
  - { id: put, type: api_call, config: { url: "LEDGER/{{ inputs.n }}/put", method: PUT, json: { n: 1 } } }
  - { id: keyed, type: api_call, config: { url: "LEDGER/{{ inputs.n }}/keyed", method: POST, idempotency: key } }
  - { id: flaky, type: api_call, config: { url: "LEDGER/{{ inputs.n }}/flaky", method: PUT } }
  - { id: once, type: api_call, on_uncertain: fail, on_error: continue, config: { url: "LEDGER/{{ inputs.n }}/once", method: POST } }
  - id: each
    type: loop
    config:
      for_each: "[0, 1]"
      max_concurrency: 2
      steps:
        - { id: item, type: webhook, config: { url: "LEDGER/{{ inputs.n }}/item.{{ item }}", payload: { i: "item" } } }
"#;

/// Effects of every kind, one that is tried again, one that may happen once only.
async fn effects(world: Arc<World>, life: Arc<Life>) -> Result<()> {
    let stage = Stage::new(world, life);
    stage.deploy("effects", EFFECTS).await?;
    let runs = [stage.start("effects", "a").await?, stage.start("effects", "b").await?];
    for run in runs {
        stage.ended(run).await?;
    }
    Ok(())
}

const WAITS: &str = r#"
steps:
  - { id: short, type: wait, config: { duration: 20ms } }
  - { id: before, type: api_call, config: { url: "LEDGER/{{ inputs.n }}/before", method: PUT } }
  - { id: long, type: wait, config: { duration: 5s } }
  - { id: between, type: api_call, config: { url: "LEDGER/{{ inputs.n }}/between", method: PUT } }
  - { id: gate, type: wait, config: { signal: go } }
  - { id: after, type: api_call, config: { url: "LEDGER/{{ inputs.n }}/after", method: PUT } }
"#;
const HEARS: &str = r#"
steps:
  - { id: hears, type: wait, config: { event: { topic: "user.rain.*" } } }
  - { id: heard, type: api_call, config: { url: "LEDGER/{{ inputs.n }}/heard", method: PUT } }
"#;
const TELLS: &str = r#"
steps:
  - { id: tells, type: emit, config: { topic: user.rain.north, data: { mm: 3 } } }
"#;

/// Events that a life tells of which none is heard: a deaf process is at its end, however busy it is.
const TOLD_MAX: u64 = 100;

/// Waits for a time, for a signal and for an event.
async fn waits(world: Arc<World>, life: Arc<Life>) -> Result<()> {
    let stage = Stage::new(world, life);
    stage.deploy("waits", WAITS).await?;
    stage.deploy("hears", HEARS).await?;
    stage.deploy("tells", TELLS).await?;
    let hears = stage.start("hears", "hears").await?;
    let waits = stage.start("waits", "waits").await?;
    stage.rests(hears).await?;
    stage.signal(waits, "go").await?;
    stage.ended(waits).await?;
    // An event that came before its step waits is not for it, so it is told again while nobody heard. Each life tells anew: a
    // key of one before would start nothing.
    let base = stage.life.handle.newest_lsn().map_or(0, |lsn| lsn.0);
    for told in 1.. {
        if stage.status(hears).await?.is_terminal() {
            break;
        }
        if told > TOLD_MAX {
            let message = format!("run {hears} heard none of {TOLD_MAX} events");
            return Err(chainbot_core::Error::new(&chainbot_core::error::code::general::TIMEOUT, message));
        }
        let tells = stage.start("tells", &format!("tells-{base}-{told}")).await?;
        stage.ended(tells).await?;
        stage.rests(hears).await?;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            if stage.status(hears).await?.is_terminal() {
                break;
            }
        }
    }
    stage.ended(hears).await.map(drop)
}

const ASKS: &str = r#"
steps:
  - { id: ok, type: wait, timeout: 30d, config: { approval: { message: "Go?" } } }
  - { id: goes, type: api_call, config: { url: "LEDGER/{{ inputs.n }}/goes", method: PUT } }
"#;
const DOUBTS: &str = r#"
steps:
  - { id: asked, type: api_call, config: { url: "LEDGER/{{ inputs.n }}/once", method: POST } }
  - { id: broken, type: api_call, config: { url: "LEDGER/{{ inputs.n }}/broken", method: PUT } }
  - { id: last, type: api_call, config: { url: "LEDGER/{{ inputs.n }}/last", method: PUT } }
"#;

/// An approval, an effect in doubt, a run that fails and is taken up again, a fork.
async fn people(world: Arc<World>, life: Arc<Life>) -> Result<()> {
    let stage = Stage::new(world, life);
    stage.deploy("asks", ASKS).await?;
    stage.deploy("doubts", DOUBTS).await?;
    let asks = stage.start("asks", "asks").await?;
    let doubts = stage.start("doubts", "doubts").await?;
    for run in [asks, doubts] {
        // A few times, and not for ever when everything that is sent fails.
        for _ in 0..20 {
            match stage.rests(run).await? {
                RunStatus::Failed => {
                    stage.world.acknowledged(&format!("failed {run}"));
                    stage.life.handle.retry(run).await?;
                }
                RunStatus::Waiting => {
                    answer_all(&stage).await?;
                    stage.tick().await;
                }
                _ => break,
            }
        }
        stage.ended(run).await?;
    }
    let fork = NewFork {
        from: "last".to_owned(),
        path: Vec::new(),
        inputs: Value::Null,
        variables: Value::Null,
        idempotency_key: Some("fork".to_owned()),
    };
    let forked = stage.life.handle.fork(doubts, fork).await?.run.id;
    stage.world.acknowledged(&format!("start fork {forked}"));
    stage.ended(forked).await.map(drop)
}

/// A person says yes to everything, and that what is in doubt has happened.
async fn answer_all(stage: &Stage) -> Result<()> {
    for question in stage.life.handle.inbox().await? {
        let action = match question.kind.as_str() {
            "approval" => "approve",
            "uncertain" => "done",
            _ => "retry",
        };
        let answer = NewAnswer { action: action.to_owned(), data: Value::Null, by: None };
        match stage.life.handle.answer(question.id, answer).await {
            // The run may have gone on a moment before.
            Err(error) if *error.code() == run_code::QUESTION => {}
            // Whether it may go on at all is asked as well, and comes first.
            Err(_) if question.kind != "poison" && stage.is_held(question.run)? => {}
            answered => {
                answered?;
                stage.world.acknowledged(&format!("answer {} {action}", question.id));
            }
        }
    }
    Ok(())
}

const CHILD: &str = r#"
concurrency: { mode: queued }
steps:
  - { id: works, type: api_call, config: { url: "LEDGER/{{ inputs.n }}/works", method: PUT } }
  - { id: rests, type: wait, config: { duration: 3s } }
"#;
const PARENT: &str = r#"
steps:
  - id: both
    type: parallel
    config:
      branches:
        left: [ { id: one, type: workflow, config: { workflow: child, inputs: { n: "{{ inputs.n }}-one" } } } ]
        right: [ { id: two, type: workflow, config: { workflow: child, inputs: { n: "{{ inputs.n }}-two" } } } ]
  - { id: after, type: api_call, config: { url: "LEDGER/{{ inputs.n }}/after", method: PUT } }
"#;

/// A parent with two children that must not run at once.
async fn children(world: Arc<World>, life: Arc<Life>) -> Result<()> {
    let stage = Stage::new(world, life);
    stage.deploy("child", CHILD).await?;
    stage.deploy("parent", PARENT).await?;
    let parent = stage.start("parent", "parent").await?;
    stage.ended(parent).await?;
    stage.all_end().await
}

const TRIGGERED: &str = r#"
triggers:
  - { event: user.door, inputs: { n: "{{ event.data.n }}" } }
  - { workflow: source, on: completed, inputs: { n: source } }
concurrency: { mode: queued, max: 1 }
steps:
  - { id: put, type: api_call, config: { url: "LEDGER/triggered-{{ inputs.n }}/put", method: PUT } }
  - { id: nap, type: wait, config: { duration: 3s } }
"#;
const SOURCE: &str = "steps:\n  - { id: a, type: set, config: { variables: { x: \"1\" } } }\n";
const RESTARTS: &str = r#"
concurrency: { mode: restart }
steps:
  - { id: put, type: api_call, config: { url: "LEDGER/{{ inputs.n }}/put", method: PUT } }
  - { id: nap, type: wait, config: { duration: 8s } }
"#;

/// Runs that events and other runs start, one after the other at their gate, and one that takes another's place.
async fn triggers(world: Arc<World>, life: Arc<Life>) -> Result<()> {
    let stage = Stage::new(world, life);
    stage.deploy("triggered", TRIGGERED).await?;
    stage.deploy("source", SOURCE).await?;
    stage.deploy("restarts", RESTARTS).await?;
    let first = stage.start("restarts", "first").await?;
    stage.rests(first).await?;
    let second = stage.start("restarts", "second").await?;
    let source = stage.start("source", "source").await?;
    stage.ended(source).await?;
    let event = |n: u32| Event {
        id: format!("door-{n}"),
        topic: "user.door".to_owned(),
        at: Clock::now(&*stage.world.clock),
        data: json!({ "n": n }),
    };
    // The host gives each again until its run is there; the id makes a repeat the same.
    let mut given = 0u32;
    while stage.life.handle.runs(RunQuery::newest(Some("triggered"), 50)).await?.total < 3 {
        if given.is_multiple_of(200) {
            stage.life.handle.take_event(event(1))?;
            stage.life.handle.take_event(event(2))?;
        }
        given += 1;
        stage.tick().await;
    }
    for run in [first, second] {
        stage.ended(run).await?;
    }
    stage.all_end().await
}

/// Runs that end and are archived, taken up out of the archive, and deleted; secrets; the reserve.
async fn upkeep(world: Arc<World>, life: Arc<Life>) -> Result<()> {
    let stage = Stage::new(world, life);
    if stage.world.acks().contains("retention") {
        return tidy(&stage, 1).await;
    }
    let secret = || NewSecret {
        value: SecretText::new("a secret of sixteen letters".to_owned()),
        hosts: vec!["example.org".to_owned()],
        description: None,
    };
    stage.life.vault.set(&Scope::All, "kept", secret()).await?;
    stage.world.acknowledged("secret kept");
    stage.life.vault.set(&Scope::All, "gone", secret()).await?;
    stage.life.vault.remove(&Scope::All, "gone").await?;
    stage.deploy("doubts", DOUBTS).await?;
    stage.deploy("source", SOURCE).await?;
    let doubts = stage.start("doubts", "doubts").await?;
    for n in 0..3 {
        let run = stage.start("source", &format!("source-{n}")).await?;
        stage.ended(run).await?;
    }
    while stage.rests(doubts).await? == RunStatus::Waiting {
        answer_all(&stage).await?;
        stage.tick().await;
    }
    let newest = stage.start("source", "newest").await?;
    stage.ended(newest).await?;
    tidy(&stage, 1_000).await?;
    for _ in 0..3 {
        if stage.status(doubts).await? == RunStatus::Failed {
            stage.life.handle.retry(doubts).await?;
            stage.ended(doubts).await?;
        }
    }
    let last = stage.start("source", "last").await?;
    stage.ended(last).await?;
    let (store, room) = (stage.life.store.clone(), tokio::task::spawn_blocking);
    room(move || store.restore_room()).await.map_err(panicked)??;
    // From here on runs go, so nothing about them is acknowledged any more.
    stage.world.acknowledged("retention");
    tidy(&stage, 1).await
}

/// Upkeep until nothing is left to do.
async fn tidy(stage: &Stage, runs_max: u32) -> Result<()> {
    let store = stage.life.store.clone();
    let now = Clock::now(&*stage.world.clock);
    // By number alone: the clocks of a database and of the test may be years apart.
    let ever = Duration::from_secs(1_000_000_000);
    let rules = Retention {
        archive_after: Duration::ZERO,
        completed: ever,
        failed: ever,
        cancelled: ever,
        keys: ever,
        outbox: ever,
        runs_max,
        audit: Duration::ZERO,
    };
    let work = move || -> Result<()> {
        for _ in 0..1_000 {
            let upkeep = Upkeep {
                told: chainbot_core::id::Lsn(i64::MAX),
                now: now.after(Duration::from_secs(60)),
                rules,
                keep: &|_| Keep::default(),
            };
            if !store.tidy(&upkeep)?.more {
                return Ok(());
            }
        }
        panic!("upkeep does not come to an end");
    };
    tokio::task::spawn_blocking(work).await.map_err(panicked)?
}

fn panicked(error: tokio::task::JoinError) -> chainbot_core::Error {
    chainbot_core::Error::new(&chainbot_core::error::code::general::INTERNAL, error.to_string())
}

/// A database of the first version, in which a run waits for a signal and one for a time.
async fn upgrade(world: Arc<World>, life: Arc<Life>) -> Result<()> {
    let stage = Stage::new(world, life);
    let filter = RunFilter { limit: 10, ..RunFilter::default() };
    let found = stage.life.store.runs(&Scope::All, &filter)?.items;
    assert_eq!(found.len(), 5, "the runs of the first version");
    for row in &found {
        let detail = row.detail.clone().unwrap_or_default();
        if row.name == "waits" {
            let name = detail.split('`').nth(1).unwrap_or("go").to_owned();
            stage.signal(row.id, &name).await?;
            stage.ended(row.id).await?;
        }
    }
    let later = found.iter().find(|row| row.name == "later").expect("one waits for a time");
    if !stage.status(later.id).await?.is_terminal() {
        stage.life.handle.cancel(later.id, "enough").await?;
    }
    stage.ended(later.id).await?;
    tidy(&stage, 1_000).await
}
