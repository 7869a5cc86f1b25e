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
        let stored = bench.store.run(&Scope::All, run).unwrap().unwrap();
        assert_eq!(
            (stored.row.status, stored.lsns.as_deref()),
            (RunStatus::Completed, Some(&*lsns)),
            "{sql}"
        );
        assert_eq!(bench.store.records(&Scope::All, run, &lsns).unwrap().len(), 3);
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

#[test]
fn timers_that_fire_early_twice_or_never_are_found() {
    let until = |seq, number, due| {
        let wait = crate::model::Waiting::Until { due: at(due) };
        Record { seq, at: at(seq), body: RecordBody::StepWaiting { place: place(number), wait } }
    };
    let over = |seq, number, at| {
        let (place, output) = (place(number), Arc::new(json!(null)));
        Record { seq, at, body: RecordBody::StepCompleted { place, attempt: 1, output } }
    };
    let failed = Record {
        seq: 1,
        at: at(1),
        body: RecordBody::AttemptFailed {
            place: place(2),
            attempt: 1,
            error: crate::model::StepError::new("cut", &crate::error::code::run::STATUS, "it broke"),
            due: at(50),
        },
    };
    // The timer that is armed when the run is parked, and what is found.
    type Case = (&'static str, Vec<Record>, Option<u32>, Option<&'static str>);
    let cases: [Case; 7] = [
        ("in time", vec![until(1, 2, 50), over(2, 2, at(50))], None, None),
        ("early", vec![until(1, 2, 50), over(2, 2, at(49))], None, Some("a timer fired before its time")),
        ("a try early", vec![failed.clone(), step(2)], None, Some("a timer fired before its time")),
        ("a try in time", vec![failed, Record { at: at(50), ..step(2) }], None, None),
        (
            "twice",
            vec![until(1, 2, 5), over(2, 2, at(5)), until(3, 2, 5), over(4, 2, at(6))],
            None,
            Some("a wait for a time ended twice"),
        ),
        ("armed", vec![until(1, 2, 50)], Some(50), None),
        ("late", vec![until(1, 2, 50)], Some(51), Some("no timer wakes it at the time that it waits for")),
    ];
    for (name, records, timer, expected) in cases {
        let bench = Bench::new();
        let run = run_id(1);
        bench.start(run);
        let ops = timer.map_or_else(Vec::new, |due| {
            vec![Op::TimerSet { run, seq: 2, due: at(due) }, park(run, vec![Lsn(1)])]
        });
        bench.write(run, records, ops);
        let found = check(&bench.store).unwrap();
        let seen: Vec<_> = found.iter().map(|one| (one.invariant, one.message.as_str())).collect();
        assert_eq!(seen, expected.map(|text| ("I6", text)).into_iter().collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn a_journal_that_does_not_fold_over_its_definition_is_found() {
    let source = "name: water\nsteps:\n  - { id: a, type: wait, config: { signal: go } }\n";
    let bench = Bench::new();
    let op = Op::WorkflowInsert {
        id: workflow_id(7),
        name: "water".to_owned(),
        source: source.to_owned(),
        at: at(0),
        possession: Possession::HOUSE,
        idempotency: None,
    };
    bench.write(run_id(0), vec![], vec![op]);
    let begin = |number| {
        let run = run_id(number);
        let definition = DefinitionHash::of(source);
        let Record { body: RecordBody::RunCreated(mut body), .. } = created(run) else { panic!() };
        body.definition = definition;
        let first = Record { seq: 0, at: at(0), body: RecordBody::RunCreated(body) };
        let row = RunRow { definition, ..row(run) };
        bench.write(run, vec![first], vec![Op::RunInsert { row, idempotency: None, created: None }]);
        run
    };
    let at_node = |node| Place { node: crate::id::NodeId(node), path: vec![] };
    let write = |run, seq, body| bench.write(run, vec![Record { seq, at: at(seq), body }], vec![]);
    let well = begin(1);
    write(well, 1, RecordBody::RunStarted);
    write(well, 2, RecordBody::StepSkipped { place: at_node(0) });
    assert_eq!(violations(&bench.store), []);
    let beyond = begin(2);
    let lsn = write(beyond, 1, RecordBody::StepSkipped { place: at_node(9) });
    write(beyond, 2, RecordBody::StepSkipped { place: at_node(9) });
    let no_loop = begin(3);
    let wrong = write(no_loop, 1, RecordBody::IterationStarted { place: at_node(0), index: 0 });
    let found = check(&bench.store).unwrap();
    let seen: Vec<_> = found.iter().map(|one| (one.invariant, one.run, one.lsn)).collect();
    assert_eq!(
        seen,
        [("I7", Some(beyond), Some(lsn)), ("I7", Some(no_loop), Some(wrong))],
        "once each: {found:?}"
    );
}
