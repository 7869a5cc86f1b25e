//! Workflows, idempotency keys, cursors, timers.

use super::*;
use crate::error::code::{definition, general};
use crate::port::{Idempotency, IdempotencyHit, WorkflowFilter, WorkflowPlace};

const NOBODY: u128 = 0;

fn key(key: &str) -> Option<Idempotency> {
    Some(Idempotency { by: None, key: key.to_owned(), digest: [5; 32], at: at(0) })
}

fn new_workflow(number: u128, name: &str, key: Option<Idempotency>) -> Op {
    Op::WorkflowInsert {
        id: workflow_id(number),
        name: name.to_owned(),
        source: [name, ": 1"].concat(),
        at: at(1),
        possession: Possession::HOUSE,
        idempotency: key,
    }
}

fn version(number: u128, name: &str, source: &str) -> Op {
    Op::WorkflowVersion {
        id: workflow_id(number),
        name: name.to_owned(),
        source: source.to_owned(),
        at: at(2),
    }
}

fn write(bench: &Bench, op: Op) -> Acked {
    bench.try_write(run_id(NOBODY), vec![], vec![op])
}

#[test]
fn a_start_with_a_used_key_makes_nothing_and_harms_no_other() {
    let bench = Bench::new();
    let insert = |run| Op::RunInsert { row: row(run), idempotency: key("runs/k"), created: None };
    let (one, two, three) = (run_id(1), run_id(2), run_id(3));
    // Queued together: the second sees the first's key before it is committed.
    let acks = [
        bench.send(one, vec![created(one)], vec![insert(one)]),
        bench.send(two, vec![created(two)], vec![insert(two)]),
        bench.send(three, vec![created(three)], vec![super::insert(three)]),
    ];
    let acked: Vec<Acked> = acks.iter().map(|ack| ack.recv_timeout(HANG).unwrap()).collect();
    assert_eq!(acked[0].as_ref().unwrap(), &Lsn(1));
    assert_eq!(acked[1].as_ref().unwrap_err().code(), &general::IDEMPOTENCY);
    assert_eq!(acked[2].as_ref().unwrap(), &Lsn(2));
    assert_eq!(bench.store.run(&Scope::All, two).unwrap(), None);
    let hit = IdempotencyHit { digest: [5; 32], made: *one.as_bytes() };
    assert_eq!(bench.store.idempotent(None, "runs/k").unwrap(), Some(hit));
    assert_eq!(bench.store.idempotent(None, "runs/other").unwrap(), None);
    bench.assert_sound();
}

#[test]
fn a_run_of_the_same_id_is_not_made_twice() {
    let bench = Bench::new();
    bench.start(run_id(1));
    assert!(bench.try_write(run_id(1), vec![created(run_id(1))], vec![insert(run_id(1))]).is_err());
    bench.assert_sound();
}

#[test]
fn a_workflow_has_versions_and_the_same_source_makes_none() {
    let mut bench = Bench::new();
    write(&bench, new_workflow(1, "water", key("k"))).unwrap();
    write(&bench, version(1, "water", "water: 2")).unwrap();
    write(&bench, version(1, "water", "water: 2")).unwrap();
    bench.reopen();
    let stored = bench.store.workflow_named(&Scope::All, "water").unwrap().unwrap();
    assert_eq!((stored.version, stored.source.as_str()), (2, "water: 2"));
    assert_eq!((stored.created_at, stored.updated_at), (at(1), at(2)));
    assert_eq!(stored.hash, DefinitionHash::of("water: 2"));
    assert_eq!(bench.store.workflow(&Scope::All, workflow_id(1)).unwrap(), Some(stored));
    let old = bench.store.definition(&Scope::All, DefinitionHash::of("water: 1")).unwrap();
    assert_eq!(old.as_deref(), Some("water: 1"));
    assert_eq!(bench.store.idempotent(None, "k").unwrap().unwrap().made, *workflow_id(1).as_bytes());
    // Back to an earlier source is a version too.
    write(&bench, version(1, "water", "water: 1")).unwrap();
    assert_eq!(bench.store.workflow(&Scope::All, workflow_id(1)).unwrap().unwrap().version, 3);
}

#[test]
fn a_name_belongs_to_one_workflow_until_it_is_deleted() {
    let bench = Bench::new();
    write(&bench, new_workflow(1, "water", None)).unwrap();
    let taken = write(&bench, new_workflow(2, "water", None)).unwrap_err();
    assert_eq!(taken.code(), &definition::EXISTS);
    write(&bench, Op::WorkflowDelete { id: workflow_id(1), at: at(5) }).unwrap();
    assert_eq!(bench.store.workflow_named(&Scope::All, "water").unwrap(), None);
    assert_eq!(bench.store.workflow(&Scope::All, workflow_id(1)).unwrap().unwrap().deleted_at, Some(at(5)));
    assert!(bench.store.definition(&Scope::All, DefinitionHash::of("water: 1")).unwrap().is_some());
    write(&bench, new_workflow(2, "water", None)).unwrap();
    for op in
        [version(1, "water", "x"), version(9, "y", "y"), Op::WorkflowDelete { id: workflow_id(9), at: at(1) }]
    {
        assert_eq!(write(&bench, op).unwrap_err().code(), &definition::NOT_FOUND);
    }
}

#[test]
fn workflows_are_listed_by_name_a_page_at_a_time() {
    let bench = Bench::new();
    for (number, name) in ["e", "a", "d", "c", "b"].into_iter().enumerate() {
        write(&bench, new_workflow(number as u128, name, None)).unwrap();
    }
    write(&bench, Op::WorkflowDelete { id: workflow_id(3), at: at(1) }).unwrap();
    let list = |past: Option<&str>| {
        let past = past.map(|name| WorkflowPlace::Name(name.to_owned()));
        let filter = WorkflowFilter { past, limit: 3, ..WorkflowFilter::default() };
        let page = bench.store.workflows(&Scope::All, &filter).unwrap();
        let names: String = page.items.iter().map(|one| one.workflow.name.as_str()).collect();
        (names, page.total, page.more)
    };
    assert_eq!(list(None), ("abd".to_owned(), 4, true));
    assert_eq!(list(Some("d")), ("e".to_owned(), 4, false));
}

#[test]
fn a_cursor_stays_where_it_was_put() {
    let mut bench = Bench::new();
    assert_eq!(bench.store.cursor("host").unwrap(), None);
    for lsn in [Lsn(3), Lsn(8)] {
        write(&bench, Op::CursorSet { name: "host", lsn }).unwrap();
    }
    bench.reopen();
    assert_eq!(bench.store.cursor("host").unwrap(), Some(Lsn(8)));
}

#[test]
fn a_timer_is_moved_cleared_and_cleared_again_in_peace() {
    let bench = Bench::new();
    let run = run_id(1);
    bench.start(run);
    let set = |seq, due| Op::TimerSet { run, seq, due };
    bench.write(run, vec![], vec![set(0, at(5)), set(1, at(7)), set(0, at(9))]);
    let due = |bench: &Bench| {
        bench.store.recover().unwrap().timers.iter().map(|t| (t.seq, t.due)).collect::<Vec<_>>()
    };
    assert_eq!(due(&bench), [(1, at(7)), (0, at(9))]);
    for _ in 0..2 {
        bench.write(run, vec![], vec![Op::TimerClear { run, seq: 1 }]);
    }
    assert_eq!(due(&bench), [(0, at(9))]);
    assert!(
        bench
            .try_write(run_id(2), vec![], vec![Op::TimerSet { run: run_id(2), seq: 0, due: at(1) }])
            .is_err()
    );
}
