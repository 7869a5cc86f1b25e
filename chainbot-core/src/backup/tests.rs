//! The keeper of backups with a clock that is set by hand.

use std::path::Path;

use parking_lot::Mutex as Lock;
use tempfile::TempDir;

use super::*;
use crate::env::{SeededRandom, VirtualClock};
use crate::port::Published;
use crate::store::{DataDir, OpenOptions};

const DAY: Duration = Duration::from_secs(86_400);
/// 2027-01-15 08:00.
const START: Timestamp = Timestamp(1_800_000_000_000);

#[derive(Default)]
struct Heard(Lock<Vec<String>>);

impl EventBus for Heard {
    fn publish(&self, topic: &str, _: &str, _: &str, _: Timestamp) -> Published {
        self.0.lock().push(topic.to_owned());
        Published::Sent
    }

    fn subscribe(&self, _: &str) -> Result<()> {
        Ok(())
    }
}

struct Bench {
    folder: TempDir,
    clock: Arc<VirtualClock>,
    heard: Arc<Heard>,
    backups: Arc<Backups>,
}

impl Bench {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let data = Arc::new(DataDir::open(&folder.path().join("data"), "test").unwrap());
        let store = SqliteStore::open(OpenOptions::new(data)).unwrap();
        let (clock, heard) = (Arc::new(VirtualClock::at(START)), Arc::new(Heard::default()));
        let backups = keeper(store, &clock, &heard, &folder.path().join("shelf"));
        Self { folder, clock, heard, backups }
    }

    fn after(&self, by: Duration) {
        self.clock.advance(by);
        self.backups.look();
    }

    fn names(&self) -> Vec<String> {
        let made = |backup| match backup {
            Backup::Made(manifest) => manifest.name.to_string(),
            Backup::UnderWay { name, .. } => format!("{name} under way"),
            Backup::Unreadable(name, _) => format!("{name} unreadable"),
            Backup::Failed(failed) => format!("{} failed", failed.name),
        };
        self.backups.list().unwrap().into_iter().map(made).collect()
    }
}

fn keeper(
    store: Arc<SqliteStore>,
    clock: &Arc<VirtualClock>,
    heard: &Arc<Heard>,
    shelf: &Path,
) -> Arc<Backups> {
    Backups::idle(Options {
        store,
        shelf: Shelf::new(shelf),
        plan: Plan { schedule: Some(Schedule::parse("17 3 * * *", "UTC").unwrap()), keep: 3 },
        env: Env::new(clock.clone(), Arc::new(SeededRandom::new(1))),
        bus: Some(heard.clone()),
    })
    .unwrap()
}

#[test]
fn the_schedule_makes_one_a_day_and_keeps_the_newest() {
    let bench = Bench::new();
    bench.after(Duration::from_secs(60));
    assert!(bench.names().is_empty(), "not before its time");
    bench.backups.order(Some("mine".parse().unwrap()), None).unwrap();
    bench.backups.look();
    for _ in 0..5 {
        bench.after(DAY);
        bench.backups.look();
    }
    let names = ["auto-20270120-080100", "auto-20270119-080100", "auto-20270118-080100", "mine"];
    assert_eq!(bench.names(), names, "three, and that of a person");
    assert_eq!(bench.heard.0.lock().len(), 6);
    // A machine that was off makes up for it once.
    bench.clock.advance(10 * DAY);
    let again = keeper(bench.backups.store.clone(), &bench.clock, &bench.heard, bench.backups.shelf.dir());
    again.look();
    again.look();
    assert_eq!(bench.names()[0], "auto-20270130-080100");
    assert_eq!(bench.heard.0.lock().len(), 7);
}

#[test]
fn a_clock_that_was_set_back_puts_no_backup_off_for_years() {
    let bench = Bench::new();
    bench.after(365 * DAY);
    bench.clock.jump_to(START);
    bench.backups.look();
    bench.after(DAY);
    assert_eq!(bench.names().len(), 2);
}

#[test]
fn a_backup_that_fails_is_told_and_tried_again() {
    let bench = Bench::new();
    // A file where the folder should be.
    std::fs::write(bench.folder.path().join("shelf"), "").unwrap();
    let name = bench.backups.order(None, None).unwrap();
    let other = bench.backups.order(None, None).unwrap_err();
    assert_eq!(other.code(), &code::UNDER_WAY);
    bench.backups.look();
    let component = bench.backups.component();
    assert!(component.score < 0.8 && component.reason.unwrap().contains("the folder of backups"));
    assert!(matches!(bench.backups.find(&name).unwrap(), Backup::Failed(failed) if failed.code == "CB-0853"));
    std::fs::remove_file(bench.folder.path().join("shelf")).unwrap();
    bench.backups.order(Some("well".parse().unwrap()), None).unwrap();
    bench.backups.look();
    assert_eq!(bench.names(), ["well"]);
    assert!((bench.backups.component().score - 1.0).abs() < f64::EPSILON);
    assert_eq!(*bench.heard.0.lock(), ["chainbot.backup.failed", "chainbot.backup.completed"]);
    let taken = bench.backups.order(Some("well".parse().unwrap()), None).unwrap_err();
    assert_eq!(taken.code(), &code::EXISTS);
}
