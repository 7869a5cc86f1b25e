//! The contract of [`Store`] as cases that any store must pass: one body for memory and SQLite, and deliberately broken
//! stores that it must catch. Generated histories must read the same on both.

mod broken;
mod case;
mod order;
mod owner;
mod remembered;

use super::history::Model;
use super::*;
use crate::port::RunFilter;
use crate::store::memory::MemoryStore;
use case::CASES;

/// Batches of one generated history; the long run takes more.
const BATCHES: u32 = 600;

/// Names of the cases that a store fails.
fn failing(make: &dyn Fn() -> Arc<dyn Store>) -> Vec<(&'static str, String)> {
    let failed = |(name, case): &(&'static str, case::Case)| {
        let store = make();
        let result = case(&case::On(store.clone()));
        store.close();
        result.err().map(|why| (*name, why))
    };
    CASES.iter().filter_map(failed).collect()
}

#[test]
fn the_memory_store_keeps_the_contract() {
    assert_eq!(failing(&|| MemoryStore::new()), []);
}

#[test]
fn the_sqlite_store_keeps_the_contract() {
    let folders = parking_lot::Mutex::new(Vec::new());
    let make = || {
        let folder = TempDir::new().unwrap();
        let store = open(folder.path(), None).unwrap();
        folders.lock().push(folder);
        store as Arc<dyn Store>
    };
    assert_eq!(failing(&make), []);
}

#[test]
fn broken_stores_are_caught() {
    for fault in broken::FAULTS {
        let found = failing(&|| broken::Broken::over(MemoryStore::new(), *fault));
        assert!(!found.is_empty(), "a store that {fault:?} passes");
        println!("{fault:?}: {:?}", found.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}

#[test]
fn generated_histories_read_the_same_on_both_stores() {
    let seed = std::env::var("CHAINBOT_SEED").ok().and_then(|seed| seed.parse().ok());
    let first: u64 = seed.unwrap_or_else(|| u64::from_le_bytes(crate::env::Env::system().bytes()));
    for number in 0..crate::env::proof::size(4, 200) {
        let seed = first.wrapping_add(number);
        // Shown when the test fails; CHAINBOT_SEED repeats it.
        println!("CHAINBOT_SEED={seed}");
        let mut model = Model::new(seed);
        let (bench, memory) = (Bench::new(), MemoryStore::new());
        for number in 0..BATCHES {
            let (run, records, ops) = model.batch();
            let (one, two) = (
                case::On(bench.store.clone()).write(run, records.clone(), ops.clone()),
                case::On(memory.clone()).write(run, records, ops),
            );
            assert_eq!(one.map_err(|error| error.code().id), two.map_err(|error| error.code().id));
            if number % 100 == 99 {
                assert_eq!(seen(&*bench.store), seen(&*memory));
                let rules =
                    crate::port::upkeep::Retention { archive_after: Duration::ZERO, ..Default::default() };
                let now = at(0).after(Duration::from_secs(3_600));
                bench.tidy(now, rules);
                assert_eq!(seen(&*bench.store), seen(&*memory), "after the archive");
            }
        }
    }
}

/// All that can be read.
fn seen(store: &dyn Store) -> String {
    let recovery = store.recover().unwrap();
    let page = store.runs(&Scope::All, &RunFilter { limit: 10_000, ..RunFilter::default() }).unwrap();
    let runs: Vec<_> = page.items.iter().map(|row| store.run(&Scope::All, row.id).unwrap()).collect();
    let journal = store.journal_after(Lsn(0), 100_000).unwrap();
    format!(
        "{recovery:#?}\n{} {}\n{runs:#?}\n{journal:#?}\n{:?}",
        page.total,
        page.more,
        store.newest_lsn().unwrap()
    )
}
