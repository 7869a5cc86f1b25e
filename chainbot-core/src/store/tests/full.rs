//! A full disk: new work is refused, what is under way waits, reads go on, and it recovers by itself.

use super::*;
use crate::error::code::store;
use crate::port::upkeep::Room;
use crate::store::sqlite::Chore;

fn large(seq: u32) -> Record {
    let body = RecordBody::CancelRequested { reason: "x".repeat(100_000) };
    Record { seq, at: at(seq), body }
}

/// Writes until a batch is not acknowledged any more; it, and how many were.
fn fill(bench: &Bench, run: RunId) -> (mpsc::Receiver<Acked>, u32) {
    for seq in 1..200 {
        let ack = bench.send(run, vec![large(seq)], vec![]);
        // No clock: either it is acknowledged, or the room says that it is not going to be.
        loop {
            match ack.try_recv() {
                Ok(acked) => {
                    acked.unwrap();
                    break;
                }
                Err(_) if bench.store.room() == Room::None => return (ack, seq),
                Err(_) => std::thread::yield_now(),
            }
        }
    }
    panic!("the limit had no effect");
}

#[test]
fn a_full_disk_makes_work_wait_and_loses_nothing() {
    let mut bench = Bench::limited(Some(160));
    let run = run_id(1);
    bench.start(run);
    let (waiting, seq) = fill(&bench, run);
    assert!(seq > 2);
    let refused = Batch {
        run: run_id(2),
        records: vec![created(run_id(2))],
        ops: vec![insert(run_id(2))],
        ack: Box::new(|_| {}),
    };
    assert_eq!(bench.store.submit(refused).unwrap_err().code(), &store::FULL, "new work is refused");
    assert!(bench.store.failed().is_none(), "a full disk is no failure");
    let kept: Vec<Lsn> = (1..=i64::from(seq)).map(Lsn).collect();
    assert_eq!(bench.store.records(&Scope::All, run, &kept).unwrap().len(), kept.len(), "reading goes on");
    assert_eq!(waiting.try_recv().unwrap_err(), mpsc::TryRecvError::Empty, "acknowledged without room");
    assert_eq!(bench.store.restore_room().unwrap(), Room::None);
    bench.store.chore(Chore::PagesMax(100_000)).unwrap();
    assert_eq!(waiting.recv_timeout(HANG).unwrap().unwrap(), Lsn(i64::from(seq) + 1), "it goes on by itself");
    assert_eq!(bench.store.room(), Room::Enough);
    bench.start(run_id(2));
    bench.write(run, vec![step(seq + 1)], vec![]);
    bench.assert_sound();
    bench.reopen();
    assert_eq!(bench.store.recover().unwrap().live.len(), 2);
    bench.assert_sound();
}

#[test]
fn new_work_that_is_queued_when_the_disk_fills_is_refused_at_once() {
    let bench = Bench::limited(Some(60));
    let run = run_id(1);
    bench.start(run);
    let (waiting, _) = fill(&bench, run);
    // Parts of runs are taken and wait behind the first.
    let behind = bench.send(run_id(9), vec![], vec![Op::CursorSet { name: "host", lsn: Lsn(1) }]);
    bench.store.close();
    for acked in [waiting, behind] {
        let error = acked.recv_timeout(HANG).unwrap().unwrap_err();
        assert_eq!(error.code(), &store::FULL, "closing ends the wait, and nothing was acknowledged");
    }
}

#[test]
fn a_full_disk_gives_up_the_reserve_and_goes_on_with_it() {
    let folder = TempDir::new().unwrap();
    let data_dir = Arc::new(DataDir::open(folder.path(), "test").unwrap());
    let options = OpenOptions { reserve: true, ..OpenOptions::new(data_dir) };
    let bench = Bench { store: SqliteStore::open_limited(options, Some(60)).unwrap(), folder };
    let reserve = bench.folder.path().join("reserve");
    assert_eq!(bench.store.restore_room().unwrap(), Room::Enough);
    assert!(reserve.exists());
    let run = run_id(1);
    bench.start(run);
    let (waiting, seq) = fill(&bench, run);
    assert!(!reserve.exists(), "the reserve is still taken");
    bench.store.chore(Chore::PagesMax(100_000)).unwrap();
    waiting.recv_timeout(HANG).unwrap().unwrap();
    let ack = Box::new(|_: Acked| {});
    let new = Batch { run: run_id(2), records: vec![created(run_id(2))], ops: vec![insert(run_id(2))], ack };
    assert_eq!(bench.store.room(), Room::Low);
    assert_eq!(bench.store.submit(new).unwrap_err().code(), &store::FULL, "the reserve is not for new work");
    bench.write(run, vec![step(seq + 1)], vec![]);
    assert_eq!(bench.store.restore_room().unwrap(), Room::Enough);
    assert!(reserve.exists());
    bench.start(run_id(2));
    bench.assert_sound();
}
