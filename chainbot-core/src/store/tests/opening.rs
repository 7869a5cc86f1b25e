//! Opening: settings, versions, files that are not ours.

use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;

use super::*;
use crate::error::code::store;

fn open_error(folder: &Path) -> Error {
    match open(folder, None) {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

/// Written by the first schema: two completed runs, a failed one, one that waits for a signal, one for a time.
#[test]
fn a_database_of_the_first_schema_opens_and_says_the_same() {
    let folder = TempDir::new().unwrap();
    let old = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/databases/schema-1.db");
    std::fs::copy(old, folder.path().join("chainbot.db")).unwrap();
    let store = open(folder.path(), None).unwrap();
    let kept = folder.path().join("backups/schema-1/chainbot.db");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    let before = Connection::open(&kept).unwrap();
    let version: i64 = before.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    let runs: i64 = before.query_row("SELECT count(*) FROM run", [], |row| row.get(0)).unwrap();
    assert_eq!((version, runs), (1, 5), "it is kept as it was");
    assert_eq!(check(&store).unwrap(), []);
    let recovery = store.recover().unwrap();
    assert_eq!((recovery.parked, recovery.timers.len(), recovery.live.len()), (2, 1, 0));
    let page = store.runs(&Scope::All, &crate::port::RunFilter { limit: 10, ..Default::default() }).unwrap();
    let seen: Vec<_> = page.items.iter().map(|row| (row.name.as_str(), row.status.as_str())).collect();
    let names = ["sums", "later", "waits", "fails", "sums"];
    let statuses = ["completed", "waiting", "waiting", "failed", "completed"];
    assert_eq!(seen, names.into_iter().zip(statuses).collect::<Vec<_>>());
    for row in &page.items {
        let lsns = store.run(&Scope::All, row.id).unwrap().unwrap().lsns.unwrap();
        assert!(!store.records(&Scope::All, row.id, &lsns).unwrap().is_empty());
    }
    // What was there before anybody could own it is everybody's to see, and nobody's but the operator's.
    let viewer = Scope::Of { user: Some([1; 16].into()), role: crate::port::Role::Viewer };
    assert_eq!(
        store.runs(&viewer, &crate::port::RunFilter { limit: 10, ..Default::default() }).unwrap().total,
        5
    );
    let list = crate::port::WorkflowFilter { limit: 10, ..Default::default() };
    for workflow in store.workflows(&viewer, &list).unwrap().items {
        assert_eq!(workflow.workflow.possession, Possession::HOUSE, "{}", workflow.workflow.name);
    }
    let now = page.items[0].created_at.after(Duration::from_secs(3_600));
    let rules = crate::port::upkeep::Retention::default();
    let mut archived = 0;
    loop {
        let upkeep =
            crate::port::upkeep::Upkeep { now, rules, told: Lsn(i64::MAX), keep: &|_| Default::default() };
        let done = store.tidy(&upkeep).unwrap();
        archived += done.archived;
        if !done.more {
            break;
        }
    }
    assert_eq!(archived, 2, "all but the one with the newest record");
    assert_eq!(check(&store).unwrap(), []);
}

#[test]
fn the_settings_that_durability_needs_are_in_the_file() {
    let bench = Bench::new();
    let conn = Connection::open(bench.database()).unwrap();
    let mode: String = conn.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    let vacuum: i64 = conn.pragma_query_value(None, "auto_vacuum", |row| row.get(0)).unwrap();
    assert_eq!((mode.as_str(), vacuum), ("wal", 2));
    for name in ["chainbot.db", "chainbot.db-wal", "chainbot.db-shm", "lock"] {
        let mode = std::fs::metadata(bench.folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} is for its owner alone");
    }
}

#[test]
fn a_database_that_cannot_keep_its_settings_is_refused() {
    let folder = TempDir::new().unwrap();
    open(folder.path(), None).unwrap().close();
    // Without auto-vacuum, as a copy made by another tool may be; it cannot be turned on later.
    let conn = Connection::open(folder.path().join("chainbot.db")).unwrap();
    conn.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(())).unwrap();
    conn.execute_batch("PRAGMA auto_vacuum = NONE; VACUUM").unwrap();
    drop(conn);
    let error = open_error(folder.path());
    assert_eq!(error.code(), &store::SETTINGS);
    assert!(error.message().contains("auto_vacuum"), "{error}");
}

#[test]
fn a_newer_database_is_refused_and_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    open(folder.path(), None).unwrap().close();
    let path = folder.path().join("chainbot.db");
    let conn = Connection::open(&path).unwrap();
    conn.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(())).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let before = std::fs::read(&path).unwrap();
    let error = open_error(folder.path());
    assert_eq!(error.code(), &store::NEWER);
    assert!(error.message().contains("99") && error.remedy().unwrap().contains("backup"), "{error}");
    assert!(std::fs::read(&path).unwrap() == before, "the file was changed");
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("chainbot.db");
    let garbage = b"these are not the bytes you are looking for".repeat(100);
    std::fs::write(&path, &garbage).unwrap();
    let error = open_error(folder.path());
    assert_eq!(error.code(), &store::OPEN);
    assert!(error.message().contains("chainbot.db"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), garbage);
}

#[test]
fn the_database_of_another_program_is_refused() {
    let folder = TempDir::new().unwrap();
    let conn = Connection::open(folder.path().join("chainbot.db")).unwrap();
    conn.execute_batch("CREATE TABLE photos (id INTEGER)").unwrap();
    drop(conn);
    let error = open_error(folder.path());
    assert_eq!(error.code(), &store::OPEN);
    assert!(error.message().contains("another program"), "{error}");
}

#[test]
fn a_folder_in_place_of_the_database_is_refused() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("chainbot.db")).unwrap();
    assert_eq!(open_error(folder.path()).code(), &store::OPEN);
}

#[test]
fn recovery_finds_working_runs_through_an_index() {
    let bench = Bench::new();
    let conn = Connection::open(bench.database()).unwrap();
    for (sql, index) in [
        ("SELECT id, tail_lsn, lsns FROM run WHERE status < 4 AND parked = 0", "run_unfinished"),
        ("SELECT count(*) FROM run WHERE status < 4 AND parked = 1", "run_unfinished"),
        ("SELECT * FROM run WHERE status = 3 AND id < x'ff' ORDER BY id DESC LIMIT 3", "run_status"),
        (
            "SELECT * FROM run WHERE workflow = x'01' AND status = 3 AND id < x'ff' ORDER BY id DESC",
            "run_workflow",
        ),
    ] {
        let explain = ["EXPLAIN QUERY PLAN ", sql].concat();
        let plan: String = conn.query_row(&explain, [], |row| row.get(3)).unwrap();
        assert!(plan.contains("SEARCH") && plan.contains(index), "{sql}: {plan}");
    }
}
