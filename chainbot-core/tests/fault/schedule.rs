//! One schedule: a life in which one place goes wrong, then a life without, and what must hold after it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chainbot_core::env::fault::{self, Kind, Passed, Plan};
use chainbot_core::id::RunId;
use chainbot_core::model::{RecordBody, RunStatus};
use chainbot_core::port::{Actor, RunFilter, Scope, SecretRows, Store};
use chainbot_core::runtime::{Who, acting};
use chainbot_core::store::check;
use tempfile::TempDir;

use super::scenario::Scenario;
use super::world::{Ledger, Life, World};

/// What a process that is to end is told: scenario, folder, port, number.
pub const CHILD: &str = "CHAINBOT_FAULT_CHILD";
/// Catches hangs only.
const HANG: Duration = Duration::from_secs(30);
/// A life in which nothing was committed for so long is given up: what is left is the next life's.
const PATIENCE: Duration = Duration::from_millis(500);

/// How a life with a fault ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The script came to its end all the same.
    Done,
    /// A call answered with an error, or the engine stopped.
    Refused,
    /// Nothing went on.
    Stuck,
    /// The process ended.
    Died,
}

/// A schedule, by which it can be repeated.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub plan: Plan,
    /// What goes wrong in the life after it.
    pub again: Option<Plan>,
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.plan)?;
        self.again.as_ref().map_or(Ok(()), |again| write!(f, ", {again}"))
    }
}

impl Schedule {
    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut plans = text.split(',').map(Plan::parse);
        Some(Self { plan: plans.next()??, again: plans.next().flatten() })
    }
}

/// A scenario without a fault: how often it passes each place.
pub async fn clean(scenario: &Scenario) -> BTreeMap<&'static str, Passed> {
    let folder = prepare(scenario);
    let world = Arc::new(World::new(folder.path(), Ledger::get().port, 0, 0));
    fault::arm(None);
    let end = live_for(scenario, &world, HANG).await;
    let (passed, _) = fault::passed();
    assert_eq!(end, End::Done, "{} without a fault", scenario.name);
    world.next_life();
    let wrong = last_life(scenario, &world, true).await;
    assert!(wrong.is_empty(), "{} without a fault: {wrong:?}", scenario.name);
    passed
}

/// Plays a schedule; how the first life ended, and everything that does not hold after it.
pub async fn play(scenario: &Scenario, schedule: &Schedule, number: u64) -> (End, Vec<String>) {
    let folder = prepare(scenario);
    let dies = schedule.plan.kind == Kind::Abort;
    let world = Arc::new(World::new(folder.path(), Ledger::get().port, number, 0));
    let end = if dies {
        die(scenario, schedule, folder.path(), number)
    } else {
        fault::arm(Some(schedule.plan.clone()));
        live(scenario, &world).await
    };
    if let Some(again) = &schedule.again {
        world.next_life();
        fault::arm(Some(again.clone()));
        live(scenario, &world).await;
    }
    fault::arm(None);
    world.next_life();
    (end, last_life(scenario, &world, !dies).await)
}

/// A folder in memory: processes end here, disks do not.
fn prepare(scenario: &Scenario) -> TempDir {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    if let Some(database) = scenario.database {
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("a folder");
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/databases").join(database);
        std::fs::copy(from, data.join("chainbot.db")).expect("a copy");
    }
    folder
}

/// A life up to its end: in order, or as far as the fault lets it come.
pub async fn live(scenario: &Scenario, world: &Arc<World>) -> End {
    live_for(scenario, world, PATIENCE).await
}

async fn live_for(scenario: &Scenario, world: &Arc<World>, patience: Duration) -> End {
    let Ok(life) = Life::open(world).await else { return End::Refused };
    let life = Arc::new(life);
    // By somebody, so that what the script does is in the audit log, which is checked as well.
    let who = Who { actor: Actor::Local, request: None };
    let mut script = tokio::spawn(acting(who, (scenario.play)(world.clone(), life.clone())));
    let (mut newest, mut since) = (None, Instant::now());
    let end = loop {
        tokio::select! {
            played = &mut script => break match played {
                Ok(Ok(())) => End::Done,
                refused => {
                    if fault::passed().1 == 0 {
                        println!("refused without a fault: {refused:?}");
                    }
                    End::Refused
                }
            },
            _ = life.runtime.failed() => break End::Refused,
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        // The place may be one that this thread passes.
        let now = std::panic::catch_unwind(AssertUnwindSafe(|| life.handle.newest_lsn())).unwrap_or_default();
        if now != newest {
            (newest, since) = (now, Instant::now());
        } else if since.elapsed() > patience {
            break End::Stuck;
        }
    };
    if !script.is_finished() {
        script.abort();
        let _ = script.await;
    }
    let life = Arc::into_inner(life).expect("the script is gone");
    // What a stop leaves after a fault is the process's to end; the folder is free all the same.
    let _ = life.close().await;
    end
}

/// The life of a process of its own, which ends at the fault.
fn die(scenario: &Scenario, schedule: &Schedule, folder: &Path, number: u64) -> End {
    let told = format!("{} {} {} {number}", scenario.name, folder.display(), Ledger::get().port);
    let output = Command::new(std::env::current_exe().expect("the test's own path"))
        .args(["--exact", "a_life_in_a_process_of_its_own", "--nocapture"])
        .env(CHILD, told)
        .env(fault::PLAN, schedule.plan.to_string())
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    match output.status.code() {
        None => End::Died,
        Some(0) => End::Done,
        Some(_) => panic!("{schedule}: {}", String::from_utf8_lossy(&output.stdout)),
    }
}

/// A life without a fault: everything comes to its end, and everything holds.
async fn last_life(scenario: &Scenario, world: &Arc<World>, knows_the_bus: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let life = match Life::open(world).await {
        Ok(life) => Arc::new(life),
        Err(error) => return vec![format!("the next start is refused: {error}")],
    };
    let acks = world.acks();
    missing(&life, &acks, &mut wrong);
    let script = tokio::spawn((scenario.play)(world.clone(), life.clone()));
    match tokio::time::timeout(HANG, script).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => wrong.push(format!("the script does not end: {error}")),
        Ok(Err(panic)) => wrong.push(format!("the script panics: {panic}")),
        Err(_) => wrong.push(format!("something is stuck: {}", runs_of(&life))),
    }
    missing(&life, &world.acks(), &mut wrong);
    let counted = Ledger::get().take(&world.prefix());
    compare(&life, &counted, !world.acks().contains("retention"), &mut wrong);
    match Arc::into_inner(life) {
        None => wrong.push("the script is still there".to_owned()),
        Some(life) => {
            let store = life.store.clone();
            if let Some(failure) = life.runtime.failure() {
                wrong.push(format!("the engine failed in a life without a fault: {failure}"));
            }
            let ends = ends(&life);
            // The host is told beside the script; what a stop leaves untold, the next start tells.
            let untold = || {
                let told = world.bus.0.lock().expect("no panic");
                ends.iter().filter(|end| knows_the_bus && !told.contains(*end)).cloned().collect::<Vec<_>>()
            };
            let begun = Instant::now();
            while !untold().is_empty() && begun.elapsed() < HANG {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            wrong.extend(untold().iter().map(|end| format!("the host was never told {end}")));
            match check(&store) {
                Ok(found) => wrong.extend(found.iter().map(ToString::to_string)),
                Err(error) => wrong.push(format!("the check: {error}")),
            }
            if let Err(left) = life.close().await {
                wrong.push(format!("the stop: {left}"));
            }
        }
    }
    wrong
}

fn runs_of(life: &Life) -> String {
    let runs = life.store.runs(&Scope::All, &RunFilter { limit: 50, ..RunFilter::default() });
    let open = runs.map(|page| {
        // Those that are over too: a run may be missing.
        let word = |row: chainbot_core::model::RunRow| {
            format!("{} of {} is {} ({:?})", row.id, row.name, row.status.as_str(), row.detail)
        };
        page.items.into_iter().map(word).collect()
    });
    open.map_or_else(|error| error.to_string(), |open: Vec<String>| open.join("; "))
}

/// Everything that was acknowledged is there.
fn missing(life: &Life, acks: &BTreeSet<String>, wrong: &mut Vec<String>) {
    let is_kept = !acks.contains("retention");
    let mut by_key: BTreeMap<&str, &str> = BTreeMap::new();
    for ack in acks {
        let words: Vec<&str> = ack.split(' ').collect();
        let row = |id: &str| {
            let id: RunId = id.parse().expect("an id");
            life.store.run(&Scope::All, id).ok().flatten().map(|stored| stored.row)
        };
        let holds = match words[..] {
            ["workflow", name] => {
                life.store.workflow_named(&Scope::All, name).is_ok_and(|found| found.is_some())
            }
            ["start", key, id] => {
                if by_key.insert(key, id).is_some_and(|before| before != id) {
                    wrong.push(format!("the start {key} made two runs"));
                }
                !is_kept || row(id).is_some()
            }
            ["over", id, status] => {
                // A run that failed may be taken up again.
                let fits = |now: RunStatus| now.as_str() == status || status == "failed";
                !is_kept || row(id).is_some_and(|row| fits(row.status))
            }
            ["signal", id, name] => {
                !is_kept
                    || has(life, id, |body| {
                        matches!(body, RecordBody::SignalReceived { name: other, .. } if *other == name)
                            || is_end(body)
                    })
            }
            // About a run that is held again the same is asked again.
            ["answer", _, "retry"] => true,
            ["answer", id, _] => {
                let id = id.parse().expect("an id");
                !is_kept
                    || life
                        .store
                        .question(&Scope::All, id)
                        .is_ok_and(|found| found.is_none_or(|found| found.answer.is_some()))
            }
            ["secret", name] => {
                life.store.secrets().is_ok_and(|rows| rows.iter().any(|row| row.name == name))
            }
            _ => true,
        };
        if !holds {
            wrong.push(format!("acknowledged and gone: {ack}"));
        }
    }
}

fn is_end(body: &RecordBody) -> bool {
    matches!(
        body,
        RecordBody::RunCompleted { .. } | RecordBody::RunFailed { .. } | RecordBody::RunCancelled { .. }
    )
}

fn has(life: &Life, id: &str, wanted: impl Fn(&RecordBody) -> bool) -> bool {
    records(life, id.parse().expect("an id")).iter().any(|(_, body)| wanted(body))
}

/// A run's records; none of one that is at work, whose places only memory knows.
fn records(life: &Life, run: RunId) -> Vec<(u32, RecordBody)> {
    let all = life.store.journal_after(chainbot_core::id::Lsn(0), 100_000).unwrap_or_default();
    all.into_iter().filter(|one| one.run == run).map(|one| (one.record.seq, one.record.body)).collect()
}

/// The ids of the events that tell of the ends of runs.
fn ends(life: &Life) -> Vec<String> {
    let all = life.store.journal_after(chainbot_core::id::Lsn(0), 100_000).unwrap_or_default();
    let ends = all.iter().filter(|one| is_end(&one.record.body));
    ends.map(|one| format!("{}-{}", one.run, one.record.seq)).collect()
}

/// One effect in the journals.
#[derive(Default)]
struct Effect {
    starts: usize,
    completed_by: Option<RunId>,
    began_again: bool,
}

/// The ledger against the journals.
fn compare(life: &Life, counted: &BTreeMap<String, Vec<String>>, is_kept: bool, wrong: &mut Vec<String>) {
    let mut effects: BTreeMap<String, Effect> = BTreeMap::new();
    let mut open: BTreeMap<(RunId, String), String> = BTreeMap::new();
    // Each time that a person takes a failed run up again, its effects are others.
    let mut generations = 1;
    for one in life.store.journal_after(chainbot_core::id::Lsn(0), 100_000).unwrap_or_default() {
        match one.record.body {
            RecordBody::StepStarted { place, key, .. } => {
                let effect = effects.entry(key.to_string()).or_default();
                effect.starts += 1;
                // A fork has the history of another run, with its keys.
                effect.began_again |= effect.completed_by == Some(one.run);
                open.insert((one.run, format!("{place:?}")), key.to_string());
            }
            RecordBody::RunRetried { .. } => generations += 1,
            RecordBody::StepCompleted { place, .. } => {
                if let Some(key) = open.remove(&(one.run, format!("{place:?}"))) {
                    effects.entry(key).or_default().completed_by = Some(one.run);
                }
            }
            _ => {}
        }
    }
    for (path, keys) in counted {
        let different: BTreeSet<&String> = keys.iter().collect();
        // That of a fork is another one, too.
        if different.len() > generations && !path.ends_with("last") {
            wrong.push(format!("{path} was sent with {} keys", different.len()));
        }
        if path.ends_with("/once") && keys.len() > generations {
            wrong.push(format!("{path} may be sent once and was sent {} times", keys.len()));
        }
        for key in different {
            let sent = keys.iter().filter(|other| *other == key).count();
            match effects.get(key) {
                Some(effect) if effect.began_again => wrong.push(format!("{path} began after its end")),
                Some(effect) if sent > effect.starts => {
                    wrong.push(format!("{path} was sent {sent} times and began {} times", effect.starts));
                }
                None if is_kept => wrong.push(format!("{path} was sent, and no journal says that it began")),
                _ => {}
            }
        }
    }
}
