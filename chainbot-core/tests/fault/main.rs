//! Faults on purpose: at every named place, at one hit after the other, something goes wrong, and then everything must hold.
//!
//! ```text
//! for each scenario, place, hit, kind (error, full, panic, stall, abort), once or ever after:
//!     a life with the fault  ──►  its end: done, refused, stuck, died
//!     a life without         ──►  the script to its end; acknowledgements, ledger, invariants, host's bus held against each other
//! ```
//!
//! The names of the places are in `tests/golden/fault-points.txt`. `CHAINBOT_PROOF=long` takes every hit, and a second fault in the life
//! after the first; a schedule that fails prints the line that repeats it alone. The faults are of the process, so the
//! schedules of one process follow each other.

mod scenario;
mod schedule;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chainbot_core::env::fault::{self, Kind, Mode, Passed, Plan};
use chainbot_core::env::proof;

use scenario::{SCENARIOS, Scenario};
use schedule::{CHILD, End, Schedule, clean, live, play};
use world::World;

/// One schedule alone: `SCENARIO: SCHEDULE`, as a failure prints it.
const ONLY: &str = "CHAINBOT_FAULT_ONLY";
/// The switch is one for the process.
static ONE: Mutex<()> = Mutex::new(());
/// Places where a disk without room is found.
const ROOM: [&str; 6] = [
    "journal.append.record",
    "journal.commit.before",
    "run.park",
    "run.finish",
    "chore.commit.before",
    "reserve.make",
];

fn is_long() -> bool {
    proof::is_long()
}

fn on_tokio<T>(work: impl Future<Output = T>) -> T {
    // Thousands of panics are meant; what they say is in the reports.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let said = info.payload().downcast_ref::<String>();
        if !said.is_some_and(|said| said.starts_with("a fault on purpose")) {
            hook(info);
        }
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

/// The hits of a place that are tried.
fn hits_of(passed: Passed, kind: Kind) -> Vec<u64> {
    let last = passed.hits;
    let hits: BTreeSet<u64> = match (is_long(), kind) {
        (true, _) => (1..=last.min(60)).collect(),
        (false, Kind::Error) => [1, last.div_ceil(2)].into(),
        (false, Kind::Full | Kind::Stall) => [1].into(),
        (false, Kind::Panic) => [last.div_ceil(3)].into(),
        (false, Kind::Abort) => [last.div_ceil(2)].into(),
    };
    hits.into_iter().filter(|hit| *hit > 0).collect()
}

fn schedules(passed: &BTreeMap<&'static str, Passed>) -> Vec<Schedule> {
    let mut all = Vec::new();
    for (name, passed) in passed {
        for kind in [Kind::Error, Kind::Full, Kind::Panic, Kind::Abort, Kind::Stall] {
            let fits = match kind {
                Kind::Error => passed.can_fail,
                Kind::Full => passed.can_fail && ROOM.contains(name),
                _ => true,
            };
            for hit in hits_of(*passed, kind).into_iter().filter(|_| fits) {
                let plan = |mode| Plan { name: (*name).to_owned(), hit, kind, mode };
                all.push(Schedule { plan: plan(Mode::Once), again: None });
                if matches!(kind, Kind::Error | Kind::Panic) && (hit == 1 || is_long()) {
                    all.push(Schedule { plan: plan(Mode::EverAfter), again: None });
                }
            }
        }
    }
    if is_long() {
        let firsts: Vec<Schedule> = all.iter().filter(|one| one.plan.hit == 1).cloned().collect();
        let seconds: Vec<Plan> =
            firsts.iter().map(|one| one.plan.clone()).filter(|plan| plan.kind == Kind::Error).collect();
        for first in &firsts {
            all.extend(
                seconds.iter().map(|second| Schedule { again: Some(second.clone()), ..first.clone() }),
            );
        }
    }
    all
}

fn check(name: &str) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let scenario = SCENARIOS.iter().find(|one| one.name == name).expect("a scenario");
    let only = std::env::var(ONLY).ok();
    let only = only.as_deref().map(|text| text.split_once(": ").expect("SCENARIO: SCHEDULE"));
    if only.is_some_and(|(other, _)| other != name) {
        return;
    }
    on_tokio(async {
        let passed = clean(scenario).await;
        let all = match only {
            Some((_, text)) => vec![Schedule::parse(text).expect("a schedule")],
            None => {
                let all = schedules(&passed);
                let count = all.len() as u64;
                // A part of the long run takes every so many.
                let every = if is_long() { count.div_ceil(proof::size(1, count).max(1)) } else { 1 };
                all.into_iter().step_by(every as usize).collect()
            }
        };
        let (mut ends, mut stuck): (BTreeMap<End, usize>, BTreeSet<String>) = Default::default();
        let mut wrong = Vec::new();
        for (schedule, number) in all.iter().zip(1..) {
            let begun = std::time::Instant::now();
            let (end, found) = play(scenario, schedule, number).await;
            if std::env::var_os("CHAINBOT_FAULT_TIMES").is_some() {
                println!("{:6} ms {end:?} {schedule} {found:?}", begun.elapsed().as_millis());
            }
            *ends.entry(end).or_default() += 1;
            if end == End::Stuck {
                stuck.insert(schedule.to_string());
            }
            wrong.extend(found.iter().map(|what| format!("{name}: {schedule}: {what}")));
        }
        println!("fault: {name}: {} places, {} schedules: {ends:?}", passed.len(), all.len());
        stuck.iter().for_each(|what| println!("fault: {name}: needed the next start: {what}"));
        assert!(
            wrong.is_empty(),
            "{} do not hold; {ONLY}=\"{name}: …\" repeats one:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    });
}

#[test]
fn effects_survive_a_fault_at_every_place() {
    check("effects");
}

#[test]
fn waits_survive_a_fault_at_every_place() {
    check("waits");
}

#[test]
fn people_are_asked_and_heard_through_a_fault_at_every_place() {
    check("people");
}

#[test]
fn children_survive_a_fault_at_every_place() {
    check("children");
}

#[test]
fn triggers_survive_a_fault_at_every_place() {
    check("triggers");
}

#[test]
fn archive_and_retention_survive_a_fault_at_every_place() {
    check("upkeep");
}

#[test]
fn an_upgrade_survives_a_fault_at_every_place() {
    check("upgrade");
}

/// The kernel may have dropped the pages, so a second flush of them would lie.
#[test]
fn after_a_failed_commit_none_is_tried_again() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    on_tokio(async {
        for name in ["journal.commit.before", "journal.commit.after"] {
            let plan = Plan { name: name.to_owned(), hit: 3, kind: Kind::Error, mode: Mode::Once };
            let folder = tempfile::tempdir().expect("a folder");
            let world = World::new(folder.path(), world::Ledger::get().port, 888_888, 0);
            fault::arm(Some(plan));
            assert_eq!(live(&SCENARIOS[0], &Arc::new(world)).await, End::Refused);
            let (passed, fired) = fault::passed();
            assert_eq!((passed["journal.commit.before"].hits, fired), (3, 1), "after {name}");
        }
    });
}

/// The process that a schedule ends. Alone it has nothing to do.
#[test]
fn a_life_in_a_process_of_its_own() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let words: Vec<&str> = told.split(' ').collect();
    let [name, folder, port, number] = words[..] else { panic!("four words") };
    let scenario: &Scenario = SCENARIOS.iter().find(|one| one.name == name).expect("a scenario");
    let world =
        World::new(Path::new(folder), port.parse().expect("a port"), number.parse().expect("a number"), 0);
    on_tokio(async { live(scenario, &Arc::new(world)).await });
}

#[test]
fn every_named_place_of_the_core_is_passed_by_a_scenario() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/fault-points.txt");
    let golden = std::fs::read_to_string(golden).expect("the list of names");
    let named: BTreeSet<&str> =
        golden.lines().filter(|line| !line.starts_with('#') && !line.starts_with("module.")).collect();
    assert!(named.len() >= 40, "{} places", named.len());
    let mut passed = BTreeSet::new();
    on_tokio(async {
        for scenario in SCENARIOS {
            passed.extend(clean(scenario).await.into_keys());
        }
        // Some places are reached on a disk without room only.
        let plan = Plan {
            name: "journal.append.record".to_owned(),
            hit: 5,
            kind: Kind::Full,
            mode: Mode::EverAfter,
        };
        let folder = tempfile::tempdir().expect("a folder");
        let world = World::new(folder.path(), world::Ledger::get().port, 999_999, 0);
        fault::arm(Some(plan));
        live(&SCENARIOS[0], &Arc::new(world)).await;
        passed.extend(fault::passed().0.into_keys());
        // And some when runs were at work as the last life ended.
        let folder = tempfile::tempdir().expect("a folder");
        let world = Arc::new(World::new(folder.path(), world::Ledger::get().port, 999_998, 0));
        let plan =
            Plan { name: "journal.commit.before".to_owned(), hit: 6, kind: Kind::Error, mode: Mode::Once };
        fault::arm(Some(plan));
        live(&SCENARIOS[0], &world).await;
        world.next_life();
        fault::arm(None);
        live(&SCENARIOS[0], &world).await;
        passed.extend(fault::passed().0.into_keys());
    });
    let never: Vec<_> = named.iter().filter(|name| !passed.contains(*name)).collect();
    assert!(never.is_empty(), "no scenario passes {never:?}");
}
