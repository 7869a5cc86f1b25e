//! Repair: what follows from the journal is made anew, what does not is left alone and named.

use super::*;
use crate::store::doctor::{Level, examine};

fn ended(bench: &Bench, run: RunId) -> Vec<Lsn> {
    let first = bench.start(run);
    let next = bench.write(run, vec![step(1), completed(2)], vec![finish(run, vec![first])]);
    [vec![first], places(next, 2)].concat()
}

#[test]
fn rows_that_follow_from_the_journal_are_made_anew() {
    for sql in [
        "UPDATE run SET status = 5",
        "UPDATE run SET status = 0, finished_at = NULL",
        "UPDATE run SET lsns = x'01'",
        "UPDATE run SET name = 'wine'",
        "UPDATE run SET first_lsn = 2",
        "INSERT INTO timer VALUES ((SELECT id FROM run), 1, 1)",
        "INSERT INTO inbox (id, run, node, path, kind, question, at) VALUES (x'01010101010101010101010101010101', (SELECT id FROM run), 1, x'', 'uncertain', '{}', 1)",
        "INSERT INTO run SELECT zeroblob(16), workflow, name, definition, 0, 0, NULL, 0, NULL, 1, 1, NULL, 0 FROM run",
        "DELETE FROM run",
    ] {
        let bench = Bench::new();
        let run = run_id(1);
        let lsns = ended(&bench, run);
        bench.tamper(sql);
        assert_ne!(violations(&bench.store), [], "{sql}");
        let (repaired, left) = bench.store.repair().unwrap();
        assert!(repaired > 0 && left.is_empty(), "{sql}: {repaired} repaired, left {left:?}");
        let stored = bench.store.run(run).unwrap().unwrap();
        assert_eq!(
            (stored.row.status, stored.lsns.as_deref()),
            (RunStatus::Completed, Some(&*lsns)),
            "{sql}"
        );
        assert_eq!(bench.store.records(run, &lsns).unwrap().len(), 3);
    }
}

#[test]
fn an_unfinished_run_is_taken_up_from_its_records_after_its_row_is_lost() {
    let bench = Bench::new();
    let run = run_id(1);
    bench.start(run);
    bench.write(run, steps(1, 3), vec![park(run, vec![Lsn(1)])]);
    bench.tamper("DELETE FROM run");
    let (repaired, _) = bench.store.repair().unwrap();
    assert_eq!(repaired, 1);
    let recovery = bench.store.recover().unwrap();
    assert_eq!((recovery.live.len(), recovery.live[0].1.len(), recovery.parked), (1, 3, 0));
    bench.assert_sound();
}

#[test]
fn a_run_whose_records_are_damaged_is_named_and_left_alone() {
    let bench = Bench::new();
    let run = run_id(1);
    ended(&bench, run);
    bench.tamper("UPDATE journal SET body = x'0102' WHERE lsn = 2");
    bench.tamper("UPDATE run SET name = 'wine'");
    let (repaired, left) = bench.store.repair().unwrap();
    assert_eq!(repaired, 0);
    assert!(
        left.iter().any(|one| one.invariant == "I1" && one.run == Some(run) && one.lsn == Some(Lsn(2))),
        "{left:?}"
    );
    let text = left[0].to_string();
    assert!(text.starts_with("I1 run ") && text.contains(" record 2: "), "{text}");
}

#[test]
fn a_parked_run_that_nothing_wakes_and_an_effect_with_another_key_are_found() {
    let bench = Bench::new();
    let run = run_id(1);
    bench.start(run);
    let again = Record { seq: 2, ..step(1) };
    let RecordBody::StepStarted { place, attempt, input, .. } = again.body else { panic!() };
    let body = RecordBody::StepStarted { place, attempt, input, key: EffectKey([9; 16]) };
    bench.write(run, vec![step(1), Record { seq: 2, at: at(2), body }], vec![park(run, vec![Lsn(1)])]);
    let found = check(&bench.store).unwrap();
    let seen: Vec<_> = found.iter().map(|one| (one.invariant, one.lsn)).collect();
    assert_eq!(seen, [("I4", Some(Lsn(3))), ("I5", Some(Lsn(3)))]);
    bench.write(run, vec![], vec![Op::TimerSet { run, seq: 2, due: at(9) }]);
    assert_eq!(check(&bench.store).unwrap().len(), 1, "a timer wakes it");
}

#[test]
fn the_doctor_names_what_is_wrong_and_what_to_do() {
    let bench = Bench::new();
    ended(&bench, run_id(1));
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(bench.folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let now = Timestamp(1_800_000_000_000);
    let examined = |now| examine(bench.folder.path(), Path::new("chainbot.db"), now);
    let level = |found: &[crate::store::doctor::Finding], check: &str| {
        found.iter().filter(|one| one.check == check).map(|one| one.level).max()
    };
    let well = examined(now);
    for check in ["folder", "permissions", "settings", "integrity", "journal", "clock", "log"] {
        assert_eq!(level(&well, check), Some(Level::Ok), "{check}: {well:?}");
    }
    assert!(well.iter().any(|one| one.check == "flush"), "the disk was not measured");
    assert_eq!(level(&well, "reserve"), Some(Level::Warn));
    assert!(!bench.folder.path().join("doctor.probe").exists());
    assert_eq!(level(&examined(at(0)), "clock"), Some(Level::Fail), "a clock before the newest record");
    bench.tamper("UPDATE run SET name = 'wine'");
    let ill = examined(now);
    let journal = ill.iter().find(|one| one.check == "journal").unwrap();
    assert!(journal.level == Level::Fail && journal.message.contains("I3 run ") && journal.remedy.is_some());
    std::fs::set_permissions(bench.database(), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(level(&examined(now), "permissions"), Some(Level::Fail));
    let missing = examine(Path::new("/nonexistent/folder"), Path::new("chainbot.db"), now);
    assert_eq!(level(&missing, "folder"), Some(Level::Fail));
}
