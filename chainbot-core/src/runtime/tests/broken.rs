//! A disk that fails under a runtime at work.

use super::*;
use crate::error::code::{general, store};

/// The largest database of the test: some 400 KiB of runs beside the tables.
const PAGES_MAX: u32 = 150;

fn open_small(folder: &Path) -> Arc<SqliteStore> {
    let options = OpenOptions::new(Arc::new(DataDir::open(folder, "test").unwrap()));
    SqliteStore::open_limited(options, Some(PAGES_MAX)).unwrap()
}

fn open_whole(folder: &Path) -> Arc<SqliteStore> {
    SqliteStore::open(OpenOptions::new(Arc::new(DataDir::open(folder, "test").unwrap()))).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_commit_stops_everything_and_keeps_what_was_acknowledged() {
    let bench = Bench::with_store(100, 100, open_whole).await;
    bench.workflow("waits", WAIT).await;
    let mut kept = Vec::new();
    for _ in 0..5 {
        kept.push(bench.try_start("waits", None).await.unwrap().run.id);
    }
    bench.store.break_writes().unwrap();
    let error = bench.try_start("waits", None).await.unwrap_err();
    // A run's own write may have failed before this one was made.
    assert!([&store::WRITE, &general::STOPPING].contains(&error.code()), "{error}");
    let failed = tokio::time::timeout(HANG, bench.runtime.failed()).await.expect("everything stops");
    assert_eq!(failed.code(), &store::WRITE);
    let components = bench.handle.components();
    let database = &components.iter().find(|(name, _)| *name == "database").unwrap().1;
    assert_eq!((database.score, database.status), (0.0, "unhealthy"));
    assert!(database.reason.as_ref().unwrap().contains(store::WRITE.id));

    let newest = bench.store.newest_lsn().unwrap();
    let refused = bench.try_start("waits", None).await.unwrap_err();
    assert_eq!(refused.code(), &general::STOPPING);
    bench.handle.signal(kept[0], "go", json!(1), None).await.unwrap_err();
    bench.handle.cancel(kept[0], "enough").await.unwrap_err();
    bench
        .handle
        .create_workflow("name: more\nsteps:\n  - { id: a, type: wait, config: { duration: 1s } }\n", None)
        .await
        .unwrap_err();
    assert_eq!(bench.store.newest_lsn().unwrap(), newest, "nothing is written any more");

    // On a disk that works every acknowledged run is there and nothing else.
    let bench = bench.restart().await;
    for run in &kept {
        bench.handle.signal(*run, "go", json!(1), None).await.unwrap();
        assert_eq!(bench.ended(*run).await.status, RunStatus::Completed);
    }
    let runs = bench.handle.runs(RunQuery::newest(None, 100)).await.unwrap();
    assert_eq!(runs.total as usize, kept.len());
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_new_runs_and_everything_goes_on_when_there_is_room() {
    let bench = Bench::with_store(100, 100, open_small).await;
    bench.workflow("waits", WAIT).await;
    let mut kept = Vec::new();
    let error = loop {
        assert!(kept.len() < 50, "the limit had no effect");
        let inputs = json!({ "text": "x".repeat(100_000) });
        match bench.try_start_with("waits", inputs, None).await {
            Ok(started) => kept.push(started.run.id),
            Err(error) => break error,
        }
    };
    assert!(!kept.is_empty());
    assert_eq!(error.code(), &store::FULL, "{error}");
    assert!(bench.runtime.failure().is_none(), "a full disk stops nothing");
    bench.handle.run(kept[0]).await.expect("reading goes on");
    bench.store.set_pages_max(100_000).unwrap();
    for run in &kept {
        bench.handle.signal(*run, "go", json!(1), None).await.unwrap();
        assert_eq!(bench.ended(*run).await.status, RunStatus::Completed);
    }
    bench.try_start("waits", None).await.expect("new work is taken again, without a restart");
    bench.end().await;
}
