//! A disk that fails, a store that closes, listeners that misbehave.

use std::sync::{Barrier, mpsc};

use super::*;
use crate::error::code::general;
use crate::limits;

fn large(seq: u32) -> Record {
    let body = RecordBody::CancelRequested { reason: "x".repeat(100_000) };
    Record { seq, at: at(seq), body }
}

#[test]
fn a_full_queue_is_busy() {
    let bench = Bench::new();
    let run = run_id(1);
    let gate = Arc::new(Barrier::new(2));
    let at_gate = gate.clone();
    let (entered, is_held) = mpsc::channel();
    let ack = Box::new(move |_| {
        entered.send(()).unwrap();
        at_gate.wait();
    });
    bench.store.submit(Batch { run, records: vec![created(run)], ops: vec![insert(run)], ack }).unwrap();
    is_held.recv_timeout(HANG).unwrap();
    let cursor = || Batch {
        run,
        records: vec![],
        ops: vec![Op::CursorSet { name: "host", lsn: Lsn(1) }],
        ack: Box::new(|_| {}),
    };
    for _ in 1..limits::WRITER_QUEUE_MAX {
        bench.store.submit(cursor()).unwrap();
    }
    let last = bench.send(run, steps(1, 2), vec![]);
    assert_eq!(bench.store.submit(cursor()).unwrap_err().code(), &general::BUSY);
    gate.wait();
    assert_eq!(last.recv_timeout(HANG).unwrap().unwrap(), Lsn(2));
    bench.store.submit(cursor()).unwrap();
}

#[test]
fn closing_commits_what_is_queued_and_refuses_what_comes_later() {
    let mut bench = Bench::new();
    let acks: Vec<_> = (0..100)
        .map(|number| bench.send(run_id(number), vec![created(run_id(number))], vec![insert(run_id(number))]))
        .collect();
    bench.store.close();
    assert!(acks.iter().all(|ack| ack.try_recv().expect("acknowledged before close returns").is_ok()));
    let batch = Batch { run: run_id(0), records: steps(1, 2), ops: vec![], ack: Box::new(|_| {}) };
    assert_eq!(bench.store.submit(batch).unwrap_err().code(), &general::STOPPING);
    assert_eq!(bench.store.run(run_id(0)).unwrap_err().code(), &general::STOPPING);
    assert!(bench.store.failed().is_none());
    assert!(!bench.folder.path().join("chainbot.db-wal").exists(), "the log was not emptied");
    bench.reopen();
    assert_eq!(bench.store.recover().unwrap().live.len(), 100);
}

#[test]
fn an_acknowledgement_that_panics_or_drops_the_store_harms_nobody() {
    let Bench { folder, store } = Bench::new();
    let run = run_id(1);
    let ack = Box::new(|_: Acked| panic!("a listener's mistake"));
    store.submit(Batch { run, records: vec![created(run)], ops: vec![insert(run)], ack }).unwrap();
    let (done, is_done) = mpsc::channel();
    let last = store.clone();
    let ack = Box::new(move |acked: Acked| {
        drop(last);
        done.send(acked).unwrap();
    });
    store.submit(Batch { run, records: steps(1, 2), ops: vec![], ack }).unwrap();
    drop(store);
    assert_eq!(is_done.recv_timeout(HANG).unwrap().unwrap(), Lsn(2));
    drop(folder);
}

#[test]
fn a_commit_delay_gathers_and_still_acknowledges() {
    let folder = TempDir::new().unwrap();
    let data_dir = Arc::new(DataDir::open(folder.path(), "test").unwrap());
    let options = OpenOptions { commit_delay: Duration::from_millis(5), ..OpenOptions::new(data_dir) };
    let bench = Bench { folder, store: SqliteStore::open(options).unwrap() };
    for number in 0..5 {
        bench.start(run_id(number));
    }
    bench.assert_sound();
}

#[test]
fn the_log_stays_within_its_bound_while_readers_come_and_go() {
    let bench = Bench::new();
    let run = run_id(1);
    bench.start(run);
    let wal = bench.folder.path().join("chainbot.db-wal");
    let mut largest = 0;
    for seq in 1..400 {
        bench.write(run, vec![large(seq)], vec![]);
        bench.store.newest_lsn().unwrap();
        largest = largest.max(std::fs::metadata(&wal).unwrap().len());
    }
    // 40 MB were written; the bound is the cap and what one commit may add.
    assert!(largest < 20 * 1024 * 1024, "the log grew to {largest} bytes");
    assert!(largest > 4 * 1024 * 1024, "the log was emptied at every commit");
}

#[test]
fn a_failed_write_is_final_and_loses_nothing_acknowledged() {
    let mut bench = Bench::new();
    let run = run_id(1);
    bench.start(run);
    bench.store.break_writes().unwrap();
    let error = bench.try_write(run, vec![step(1)], vec![]).unwrap_err();
    assert_eq!(error.code(), &crate::error::code::store::WRITE);
    let batch = Batch { run, records: vec![step(1)], ops: vec![], ack: Box::new(|_| panic!("acknowledged")) };
    let refused = bench.store.submit(batch).unwrap_err();
    assert!(refused.message().contains("nothing can be written any more"), "{refused}");
    bench.reopen();
    bench.write(run, vec![step(1)], vec![]);
    bench.assert_sound();
}
