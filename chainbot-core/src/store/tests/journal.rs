//! Order, atomicity, durability and the checksum chain.

use std::sync::{Arc, Mutex, mpsc};

use super::*;
use crate::error::code::store;

#[test]
fn records_come_back_in_order_with_dense_places() {
    let bench = Bench::new();
    let (one, two) = (run_id(1), run_id(2));
    let first = bench.start(one);
    assert_eq!(first, Lsn(1));
    bench.start(two);
    let more = bench.write(one, steps(1, 4), vec![]);
    assert_eq!(more, Lsn(3));
    let lsns = [vec![first], places(more, 3)].concat();
    let read = bench.store.records(&Scope::All, one, &lsns).unwrap();
    let expected: Vec<_> = lsns.into_iter().zip([vec![created(one)], steps(1, 4)].concat()).collect();
    assert_eq!(read, expected);
    assert_eq!(bench.store.newest_lsn().unwrap(), Lsn(5));
    let after = bench.store.journal_after(Lsn(1), 2).unwrap();
    assert_eq!(after.iter().map(|c| (c.lsn, c.run)).collect::<Vec<_>>(), [(Lsn(2), two), (Lsn(3), one)]);
    bench.assert_sound();
}

#[test]
fn what_is_acknowledged_is_on_disk_already() {
    let bench = Bench::new();
    let run = run_id(1);
    bench.start(run);
    let (found, result) = mpsc::channel();
    let database = bench.database();
    let ack = Box::new(move |acked: Acked| {
        // Still on the writer's thread, so nothing later can have written it.
        let (_folder, copy) = open_copy(&database);
        let lsns = places(acked.unwrap(), 2);
        found.send(copy.records(&Scope::All, run, &lsns).map(|records| records.len())).unwrap();
    });
    bench.store.submit(Batch { run, records: steps(1, 3), ops: vec![], ack }).unwrap();
    assert_eq!(result.recv_timeout(HANG).unwrap().unwrap(), 2);
}

#[test]
fn acknowledgements_come_in_the_order_of_submission() {
    let bench = Bench::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let (done, all) = mpsc::channel();
    for number in 0..500 {
        let (run, order, done) = (run_id(number), order.clone(), done.clone());
        let ack = Box::new(move |acked: Acked| {
            order.lock().unwrap().push((number, acked.unwrap()));
            done.send(()).unwrap();
        });
        bench.store.submit(Batch { run, records: vec![created(run)], ops: vec![insert(run)], ack }).unwrap();
    }
    (0..500).for_each(|_| all.recv_timeout(HANG).unwrap());
    let order = order.lock().unwrap();
    assert!(order.iter().enumerate().all(|(i, (number, lsn))| i as u128 == *number && lsn.0 == i as i64 + 1));
}

#[test]
fn a_wrong_batch_is_refused_before_it_is_queued() {
    let bench = Bench::new();
    let run = run_id(1);
    bench.start(run);
    let wrong: Vec<(&str, Vec<Record>, Vec<Op>)> = vec![
        ("empty", vec![], vec![]),
        ("a gap", vec![step(1), step(3)], vec![]),
        ("out of order", vec![step(2), step(1)], vec![]),
        ("a first record without a row", vec![created(run)], vec![]),
        ("a row without a first record", vec![step(1)], vec![insert(run)]),
        ("a second beginning", vec![Record { seq: 1, ..created(run) }], vec![]),
        ("a list that does not grow", vec![step(1)], vec![park(run, vec![Lsn(2), Lsn(1)])]),
        (
            "a parked run that is over",
            vec![step(1)],
            vec![Op::RunPark { run, status: RunStatus::Failed, detail: None, lsns: vec![] }],
        ),
        ("another run's row without its record", vec![step(1)], vec![insert(run_id(2))]),
    ];
    for (what, records, ops) in wrong {
        let batch = Batch { run, records, ops, ack: Box::new(|_| panic!("it was queued")) };
        let error = bench.store.submit(batch).expect_err(what);
        assert_eq!(error.code(), &store::REFUSED, "{what}: {error}");
    }
    bench.assert_sound();
}

#[test]
fn a_batch_that_does_not_fit_the_journal_leaves_no_trace_and_harms_no_other() {
    let bench = Bench::new();
    let run = run_id(1);
    bench.start(run);
    // Queued together, so that they share a transaction: good, a repeated seq, a gap, an unknown run, good.
    let acks = [
        bench.send(run, steps(1, 3), vec![]),
        bench.send(run, steps(1, 3), vec![Op::TimerSet { run, seq: 1, due: at(5) }]),
        bench.send(run, steps(4, 5), vec![]),
        bench.send(run_id(9), steps(1, 2), vec![]),
        bench.send(run, steps(3, 4), vec![]),
    ];
    let acked: Vec<Acked> = acks.iter().map(|ack| ack.recv_timeout(HANG).unwrap()).collect();
    assert!(acked[0].is_ok() && acked[4].is_ok(), "{acked:?}");
    for refused in &acked[1..4] {
        assert_eq!(refused.as_ref().unwrap_err().code(), &store::REFUSED);
    }
    assert_eq!(bench.store.newest_lsn().unwrap(), Lsn(4));
    assert_eq!(bench.store.recover().unwrap().timers, []);
    bench.assert_sound();
}

#[test]
fn places_are_not_given_out_again_after_a_restart() {
    let mut bench = Bench::new();
    let run = run_id(1);
    bench.start(run);
    bench.write(run, steps(1, 3), vec![Op::CursorSet { name: "host", lsn: Lsn(3) }]);
    // A retention that took the newest records would do this.
    bench.tamper("DELETE FROM journal WHERE lsn = 3");
    bench.reopen();
    assert_eq!(bench.start(run_id(2)), Lsn(4));
}

#[test]
fn the_chain_goes_on_after_a_restart_with_and_without_recovery() {
    let mut bench = Bench::new();
    let (live, parked, back) = (run_id(1), run_id(2), run_id(3));
    for run in [live, parked, back] {
        bench.start(run);
    }
    bench.write(parked, steps(1, 2), vec![park(parked, vec![Lsn(2)])]);
    bench.write(back, steps(1, 2), vec![park(back, vec![Lsn(3)])]);
    bench.write(back, steps(2, 3), vec![Op::RunUnpark { run: back }]);
    for (seq, recover) in [(1, false), (2, true)] {
        bench.reopen();
        if recover {
            bench.store.recover().unwrap();
        }
        bench.write(live, steps(seq, seq + 1), vec![]);
        bench.write(back, steps(seq + 2, seq + 3), vec![]);
        bench.assert_sound();
    }
    bench.reopen();
    bench.write(parked, steps(2, 3), vec![Op::RunUnpark { run: parked }]);
    bench.assert_sound();
}

/// Everything that reads must see it.
fn check_tampering(sql: &str, expected: &str) {
    let mut bench = Bench::new();
    let run = run_id(1);
    bench.start(run);
    bench.write(run, steps(1, 6), vec![]);
    bench.start(run_id(2));
    bench.assert_sound();
    bench.tamper(sql);
    let lsns = places(Lsn(1), 6);
    let error = bench.store.records(&Scope::All, run, &lsns).expect_err(sql);
    assert_eq!(error.code(), &store::CORRUPT, "{sql}");
    assert!(error.message().contains(expected), "{sql}: {error}");
    let found = check(&bench.store).unwrap();
    assert!(found.iter().any(|v| v.invariant == "I1" && v.run == Some(run)), "{sql}: {found:?}");
    bench.reopen();
    assert_eq!(bench.store.recover().expect_err(sql).code(), &store::CORRUPT);
}

#[test]
fn a_changed_record_is_found() {
    check_tampering(
        "UPDATE journal SET body = CAST(substr(body, 1, 8) || x'ff' || substr(body, 10) AS BLOB) WHERE lsn = 4",
        "checksum",
    );
    check_tampering("UPDATE journal SET ts = ts + 1 WHERE lsn = 4", "checksum");
    check_tampering("UPDATE journal SET body = x'01' WHERE lsn = 4", "too short");
    check_tampering("UPDATE journal SET body = zeroblob(40) WHERE lsn = 4", "checksum");
}

#[test]
fn a_lost_swapped_or_stolen_record_is_found() {
    check_tampering("UPDATE journal SET seq = 4 WHERE lsn = 4", "number in the run");
    check_tampering(
        "UPDATE journal SET body = (SELECT body FROM journal WHERE lsn = 3) WHERE lsn = 4",
        "checksum",
    );
    check_tampering("DELETE FROM journal WHERE lsn = 4", "record 4");
    check_tampering(
        "UPDATE journal SET run = (SELECT run FROM journal WHERE lsn = 7) WHERE lsn = 4",
        "another run",
    );
}

#[test]
fn damage_of_one_run_does_not_stop_the_others() {
    let mut bench = Bench::new();
    let (broken, whole) = (run_id(1), run_id(2));
    bench.start(broken);
    bench.start(whole);
    bench.tamper("UPDATE journal SET body = x'01' WHERE lsn = 1");
    bench.reopen();
    let error = bench.try_write(broken, steps(1, 2), vec![]).unwrap_err();
    assert_eq!(error.code(), &store::CORRUPT);
    bench.write(whole, steps(1, 2), vec![]);
    assert!(bench.store.failed().is_none());
}
