//! Rows of runs: park, go on, finish, recover, lists.

use super::*;
use crate::model::Place;
use crate::port::{InboxKind, RunFilter, Timer};

#[test]
fn a_parked_run_keeps_the_list_of_its_records_and_a_working_one_does_not() {
    let bench = Bench::new();
    let run = run_id(1);
    let first = bench.start(run);
    assert_eq!(bench.store.run(&Scope::All, run).unwrap().unwrap().lsns, None);
    bench.start(run_id(2));
    bench.write(run, steps(1, 3), vec![park(run, vec![first])]);
    let stored = bench.store.run(&Scope::All, run).unwrap().unwrap();
    assert_eq!(stored.lsns, Some(vec![Lsn(1), Lsn(3), Lsn(4)]));
    assert_eq!((stored.row.status, stored.row.detail.as_deref()), (RunStatus::Waiting, Some("the sun")));
    bench.assert_sound();

    bench.write(run, vec![], vec![Op::RunUnpark { run }]);
    let stored = bench.store.run(&Scope::All, run).unwrap().unwrap();
    assert_eq!((stored.lsns, stored.row.status, stored.row.detail), (None, RunStatus::Pending, None));

    let lsns = vec![Lsn(1), Lsn(3), Lsn(4)];
    bench.write(run, vec![completed(3)], vec![finish(run, lsns)]);
    let stored = bench.store.run(&Scope::All, run).unwrap().unwrap();
    assert_eq!(stored.lsns, Some(vec![Lsn(1), Lsn(3), Lsn(4), Lsn(5)]));
    assert_eq!((stored.row.status, stored.row.finished_at), (RunStatus::Completed, Some(at(99))));
    bench.assert_sound();
}

#[test]
fn a_run_may_begin_and_end_in_one_batch() {
    let bench = Bench::new();
    let run = run_id(1);
    bench.write(run, vec![created(run), step(1), completed(2)], vec![insert(run), finish(run, vec![])]);
    assert_eq!(bench.store.run(&Scope::All, run).unwrap().unwrap().lsns, Some(places(Lsn(1), 3)));
    assert_eq!(bench.store.recover().unwrap().live, []);
    bench.assert_sound();
}

#[test]
fn a_child_begins_in_its_parents_batch_after_the_parents_records() {
    let bench = Bench::new();
    let (parent, child) = (run_id(1), run_id(2));
    bench.start(parent);
    let born = Op::RunInsert { row: row(child), idempotency: None, created: Some(Box::new(created(child))) };
    let lsn = bench.write(parent, steps(1, 3), vec![born, park(parent, vec![Lsn(1)])]);
    assert_eq!(lsn, Lsn(2));
    assert_eq!(bench.store.run(&Scope::All, child).unwrap().unwrap().first_lsn, Lsn(4));
    assert_eq!(bench.store.run(&Scope::All, parent).unwrap().unwrap().lsns, Some(places(Lsn(1), 3)));
    bench.write(child, vec![completed(1)], vec![finish(child, vec![Lsn(4)])]);
    bench.assert_sound();
}

#[test]
fn a_list_that_misses_records_is_refused() {
    let bench = Bench::new();
    let run = run_id(1);
    bench.start(run);
    bench.write(run, steps(1, 3), vec![]);
    let error = bench.try_write(run, vec![completed(3)], vec![finish(run, vec![Lsn(1)])]).unwrap_err();
    assert!(error.message().contains("2 places, it has 4 records"), "{error}");
    bench.write(run, vec![completed(3)], vec![finish(run, places(Lsn(1), 3))]);
    let error = bench.try_write(run, vec![step(4)], vec![]).unwrap_err();
    assert!(error.message().contains("it is over"), "{error}");
    bench.assert_sound();
}

#[test]
fn recovery_gives_working_runs_whole_and_counts_the_parked_ones() {
    let mut bench = Bench::new();
    let (live, parked, over, back) = (run_id(4), run_id(3), run_id(2), run_id(1));
    for run in [live, parked, over, back] {
        bench.start(run);
    }
    bench.write(live, steps(1, 3), vec![Op::TimerSet { run: live, seq: 2, due: at(70) }]);
    let timer = Op::TimerSet { run: parked, seq: 1, due: at(60) };
    bench.write(parked, steps(1, 2), vec![timer, park(parked, vec![Lsn(2)])]);
    bench.write(over, vec![completed(1)], vec![finish(over, vec![Lsn(3)])]);
    bench.write(back, steps(1, 2), vec![park(back, vec![Lsn(4)])]);
    bench.write(back, steps(2, 4), vec![Op::RunUnpark { run: back }]);
    bench.reopen();
    let recovery = bench.store.recover().unwrap();
    let seqs: Vec<_> =
        recovery.live.iter().map(|(run, records)| (*run, records.len(), records[0].0)).collect();
    assert_eq!(seqs, [(live, 3, Lsn(1)), (back, 4, Lsn(4))], "oldest first");
    assert_eq!(recovery.live[1].1.iter().map(|(_, r)| r.clone()).collect::<Vec<_>>()[1..], steps(1, 4));
    assert_eq!(
        recovery.timers,
        [Timer { due: at(60), run: parked, seq: 1 }, Timer { due: at(70), run: live, seq: 2 },]
    );
    assert_eq!((recovery.parked, recovery.newest), (1, Some(at(3))));
}

#[test]
fn the_end_of_a_run_clears_its_timers_and_questions() {
    let bench = Bench::new();
    let (run, other) = (run_id(1), run_id(2));
    for run in [run, other] {
        bench.start(run);
        let ask = Op::InboxPut {
            id: crate::id::InboxId(run.0),
            run,
            place: Place { path: vec![1], ..place(3) },
            kind: InboxKind::Poison,
            question: json!({ "sent": "?" }),
            at: at(1),
        };
        bench.write(run, steps(1, 2), vec![ask, Op::TimerSet { run, seq: 1, due: at(9) }]);
    }
    bench.write(run, vec![completed(2)], vec![finish(run, vec![Lsn(1), Lsn(2)])]);
    assert_eq!(bench.store.recover().unwrap().timers, [Timer { due: at(9), run: other, seq: 1 }]);
    let open = bench.store.inbox(&Scope::All).unwrap();
    assert_eq!((open.len(), open[0].run, &open[0].question["sent"]), (1, other, &json!("?")));
    bench.assert_sound();
}

#[test]
fn pages_of_runs_are_newest_first_without_gap_or_double() {
    let bench = Bench::new();
    for number in 0..25u128 {
        let run = run_id(number);
        let mut new = row(run);
        new.workflow = workflow_id(number % 2);
        let mut first = created(run);
        if let RecordBody::RunCreated(created) = &mut first.body {
            created.workflow = new.workflow;
        }
        let op = Op::RunInsert { row: new, idempotency: None, created: None };
        let lsn = bench.write(run, vec![first], vec![op]);
        if number % 3 == 0 {
            bench.write(run, vec![completed(1)], vec![finish(run, vec![lsn])]);
        } else if number % 3 == 1 {
            bench.write(run, steps(1, 2), vec![park(run, vec![lsn])]);
        }
    }
    bench.assert_sound();
    let statuses = [RunStatus::Completed, RunStatus::Waiting];
    type Keep = fn(u128) -> bool;
    let cases: [(RunFilter, Keep); 4] = [
        (RunFilter::default(), |_| true),
        (RunFilter { statuses: statuses.to_vec(), ..RunFilter::default() }, |n| n % 3 != 2),
        (RunFilter { workflow: Some(workflow_id(1)), ..RunFilter::default() }, |n| n % 2 == 1),
        (
            RunFilter {
                workflow: Some(workflow_id(0)),
                statuses: vec![RunStatus::Completed],
                ..RunFilter::default()
            },
            |n| n % 2 == 0 && n % 3 == 0,
        ),
    ];
    for (filter, keep) in cases {
        let expected: Vec<RunId> = (0..25).rev().filter(|n| keep(*n)).map(run_id).collect();
        let (mut seen, mut past) = (Vec::new(), None);
        loop {
            let page =
                bench.store.runs(&Scope::All, &RunFilter { past, limit: 4, ..filter.clone() }).unwrap();
            assert_eq!(page.total, expected.len() as u64);
            assert_eq!(page.more, seen.len() + page.items.len() < expected.len());
            seen.extend(page.items.iter().map(|row| row.id));
            past = seen.last().copied();
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_row_that_says_other_than_the_journal_is_found() {
    for sql in [
        "UPDATE run SET status = 5",
        "UPDATE run SET status = 0, finished_at = NULL",
        "UPDATE run SET lsns = x'01'",
        "UPDATE run SET name = 'wine'",
        "UPDATE journal SET node = 77 WHERE lsn = 2",
        "INSERT INTO timer VALUES ((SELECT id FROM run), 1, 1)",
        "INSERT INTO run SELECT x'00', workflow, name, definition, 0, 0, NULL, 0, NULL, 1, 1, NULL, 0 FROM run",
        "DELETE FROM run",
    ] {
        let bench = Bench::new();
        let run = run_id(1);
        bench.start(run);
        bench.write(run, vec![step(1), completed(2)], vec![finish(run, vec![Lsn(1)])]);
        bench.assert_sound();
        bench.tamper(sql);
        assert!(check(&bench.store).unwrap().iter().any(|v| v.invariant == "I3"), "{sql}");
    }
}
