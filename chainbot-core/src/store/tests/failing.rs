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
    assert_eq!(bench.store.run(&Scope::All, run_id(0)).unwrap_err().code(), &general::STOPPING);
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
fn a_thread_that_may_wait_commits_by_itself_and_in_order() {
    let bench = Bench::new();
    let run = run_id(1);
    bench.start(run);
    let own = std::thread::current().id();
    let (told, tells) = mpsc::channel();
    // The writer's thread may still be at the desk with what came before; then the batch is its work.
    let is_own = (1..1_000).any(|seq| {
        let told = told.clone();
        let ack = Box::new(move |result: std::result::Result<Lsn, _>| {
            told.send((std::thread::current().id(), result.unwrap())).unwrap();
        });
        bench.store.commit(Batch { run, records: vec![step(seq)], ops: vec![], ack }).unwrap();
        let (thread, lsn) = tells.recv_timeout(HANG).unwrap();
        assert_eq!(lsn, Lsn(i64::from(seq) + 1));
        thread == own
    });
    assert!(is_own, "every batch waited for the writer's thread");
    bench.assert_sound();
}

#[test]
fn many_threads_that_commit_and_submit_at_once_lose_nothing() {
    const THREADS: u128 = 6;
    const EACH: u32 = 200;
    let bench = Bench::new();
    let (told, tells) = mpsc::channel();
    std::thread::scope(|scope| {
        for thread in 1..=THREADS {
            let (bench, told) = (&bench, told.clone());
            scope.spawn(move || {
                bench.start(run_id(thread));
                for seq in 1..=EACH {
                    let told = told.clone();
                    let ack = Box::new(move |result: std::result::Result<Lsn, _>| {
                        told.send(result.unwrap()).unwrap();
                    });
                    let batch = Batch { run: run_id(thread), records: vec![step(seq)], ops: vec![], ack };
                    match thread % 2 {
                        0 => bench.store.commit(batch).unwrap(),
                        _ => bench.store.submit(batch).unwrap(),
                    }
                }
            });
        }
    });
    drop(told);
    let places: Vec<Lsn> = (0..THREADS as u32 * EACH).map(|_| tells.recv_timeout(HANG).unwrap()).collect();
    assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "acknowledged in the order of the journal");
    bench.assert_sound();
}

#[test]
fn an_acknowledgement_on_a_thread_that_commits_by_itself_may_close_the_store() {
    let bench = Bench::new();
    let run = run_id(1);
    bench.start(run);
    let store = bench.store.clone();
    let (closed, is_closed) = mpsc::channel();
    let ack = Box::new(move |_| {
        store.close();
        closed.send(()).unwrap();
    });
    bench.store.commit(Batch { run, records: vec![step(1)], ops: vec![], ack }).unwrap();
    is_closed.recv_timeout(HANG).unwrap();
    let late = Batch { run, records: vec![step(2)], ops: vec![], ack: Box::new(|_| {}) };
    let refused = bench.store.submit(late).unwrap_err();
    assert_eq!(refused.code(), &general::STOPPING);
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
