//! Archive and retention: reading is the same before and after, what is past its time goes, the file stays bounded.

use std::time::Duration;

use super::*;
use crate::port::upkeep::{Keep, Retention, Tidied, Upkeep};
use crate::port::{Idempotency, RunFilter};

const DAY: Duration = Duration::from_secs(86_400);

impl Bench {
    /// Upkeep until nothing is left to do.
    fn tidy_all(&self, now: Timestamp, rules: Retention, keep: &dyn Fn(WorkflowId) -> Keep) -> Tidied {
        self.tidy_told(now, rules, Lsn(i64::MAX), keep)
    }

    /// The same when the journal was told up to `told`.
    fn tidy_told(
        &self,
        now: Timestamp,
        rules: Retention,
        told: Lsn,
        keep: &dyn Fn(WorkflowId) -> Keep,
    ) -> Tidied {
        let mut all = Tidied::default();
        for _ in 0..100_000 {
            let one = self.store.tidy(&Upkeep { now, rules, told, keep }).unwrap();
            all.archived += one.archived;
            all.deleted += one.deleted;
            all.keys += one.keys;
            all.workflows += one.workflows;
            all.pages += one.pages;
            if !one.more {
                return all;
            }
        }
        panic!("upkeep does not come to an end");
    }

    pub(super) fn tidy(&self, now: Timestamp, rules: Retention) -> Tidied {
        self.tidy_all(now, rules, &|_| Keep::default())
    }

    /// A whole run; its places.
    fn finished(&self, run: RunId) -> Vec<Lsn> {
        let first = self.start(run);
        let mut records = steps(1, 4);
        records.push(completed(4));
        let next = self.write(run, records, vec![finish(run, vec![first])]);
        [vec![first], places(next, 4)].concat()
    }

    /// The database's size once its log is empty.
    fn bytes(&self) -> u64 {
        4_096 * count(self, "PRAGMA page_count").unsigned_abs()
    }

    fn listed(&self) -> Vec<RunId> {
        let page = self.store.runs(&Scope::All, &RunFilter { limit: 200, ..RunFilter::default() }).unwrap();
        assert_eq!(page.total, page.items.len() as u64);
        page.items.into_iter().map(|row| row.id).collect()
    }
}

fn soon() -> Retention {
    Retention { archive_after: Duration::ZERO, ..Retention::default() }
}

/// A moment after everything that the helpers write.
fn later() -> Timestamp {
    at(0).after(Duration::from_secs(3_600))
}

#[test]
fn a_run_reads_the_same_before_and_after_it_is_archived() {
    let mut bench = Bench::new();
    let lsns = bench.finished(run_id(1));
    let open = bench.start(run_id(2));
    let read = |bench: &Bench| {
        (
            bench.store.run(&Scope::All, run_id(1)).unwrap(),
            bench.store.records(&Scope::All, run_id(1), &lsns).unwrap(),
            bench.store.records(&Scope::All, run_id(1), &lsns[2..4]).unwrap(),
            bench.store.journal_after(Lsn(0), 100).unwrap(),
            bench.listed(),
            bench.store.newest_lsn().unwrap(),
        )
    };
    let before = read(&bench);
    assert_eq!(bench.tidy(later(), soon()).archived, 1);
    assert_eq!(read(&bench), before);
    let rows: i64 = count(&bench, "SELECT count(*) FROM journal");
    assert_eq!(rows, 1, "its records are still in the journal");
    bench.assert_sound();
    bench.reopen();
    assert_eq!(read(&bench), before);
    assert_eq!(bench.store.recover().unwrap().live.len(), 1);
    bench.write(run_id(2), steps(1, 2), vec![]);
    assert_eq!(bench.store.newest_lsn().unwrap(), Lsn(open.0 + 1));
    bench.assert_sound();
}

#[test]
fn a_reader_of_the_journal_finds_archived_records_in_order_on_every_page() {
    let bench = Bench::new();
    for number in 0..40 {
        // Two runs at a time, so that their records stand between each other.
        let (one, two) = (run_id(2 * number), run_id(2 * number + 1));
        let (a, b) = (bench.start(one), bench.start(two));
        let c = bench.write(one, steps(1, 3), vec![]);
        bench.write(two, vec![completed(1)], vec![finish(two, vec![b])]);
        if number % 3 > 0 {
            bench.write(one, vec![completed(3)], vec![finish(one, [vec![a], places(c, 2)].concat())]);
        }
    }
    let whole = bench.store.journal_after(Lsn(0), 10_000).unwrap();
    assert!(bench.tidy(later(), soon()).archived > 40);
    for limit in [1, 3, 7, 50, 10_000] {
        let (mut after, mut read) = (Lsn(0), Vec::new());
        loop {
            let page = bench.store.journal_after(after, limit).unwrap();
            let Some(last) = page.last() else { break };
            after = last.lsn;
            assert!(page.len() <= limit as usize);
            read.extend(page);
        }
        assert_eq!(read, whole, "pages of {limit}");
    }
    bench.assert_sound();
}

#[test]
fn a_young_run_and_the_newest_record_stay_in_the_journal() {
    let bench = Bench::new();
    bench.finished(run_id(1));
    bench.finished(run_id(2));
    assert_eq!(bench.tidy(at(10), Retention::default()).archived, 0, "none is old enough");
    assert_eq!(
        bench.tidy(later(), Retention::default()).archived,
        1,
        "all but the one with the newest record"
    );
    bench.finished(run_id(3));
    assert_eq!(bench.tidy(later(), Retention::default()).archived, 1, "the next record frees it");
    bench.assert_sound();
}

#[test]
fn runs_past_their_time_are_deleted_by_outcome() {
    let bench = Bench::new();
    for number in 0..3 {
        bench.finished(run_id(number));
    }
    let failed = run_id(5);
    let first = bench.start(failed);
    let body = RecordBody::RunFailed {
        error: crate::model::StepError { class: "x".into(), code: "CB-0001".into(), message: "no".into() },
        place: None,
    };
    let end =
        Op::RunFinish { run: failed, status: RunStatus::Failed, detail: None, at: at(99), lsns: vec![first] };
    bench.write(failed, vec![Record { seq: 1, at: at(1), body }], vec![end]);
    let late = Record { at: at(0).after(DAY * 40), ..created(run_id(9)) };
    let newest = RunRow { created_at: late.at, ..row(run_id(9)) };
    bench.write(run_id(9), vec![late], vec![Op::RunInsert { row: newest, idempotency: None, created: None }]);
    let done = bench.tidy(at(0).after(DAY * 40), soon());
    assert_eq!((done.archived, done.deleted), (4, 3));
    assert_eq!(bench.listed(), [run_id(9), failed]);
    assert_eq!(count(&bench, "SELECT count(*) FROM archive"), 1);
    bench.assert_sound();
    let keep = Keep { failed: Some(DAY), ..Keep::default() };
    let done = bench.tidy_all(at(0).after(DAY * 40), soon(), &|_| keep);
    assert_eq!(done.deleted, 1, "what the definition says comes before the configuration");
    assert_eq!(bench.listed(), [run_id(9)]);
    bench.assert_sound();
}

#[test]
fn a_clock_that_jumps_ahead_deletes_nothing() {
    let bench = Bench::new();
    bench.finished(run_id(1));
    bench.start(run_id(2));
    let done = bench.tidy(at(0).after(DAY * 3_650), soon());
    assert_eq!((done.archived, done.deleted), (1, 0));
}

#[test]
fn a_child_is_kept_as_long_as_its_parent_may_ask_for_it() {
    let bench = Bench::new();
    let (parent, child) = (run_id(1), run_id(2));
    let parent_first = bench.start(parent);
    let Record { body: RecordBody::RunCreated(mut body), .. } = created(child) else { panic!() };
    body.parent = Some(crate::model::ParentStep { run: parent, place: place(1) });
    let first = Record { seq: 0, at: at(0), body: RecordBody::RunCreated(body) };
    let first = bench.write(child, vec![first], vec![insert(child)]);
    bench.write(child, vec![completed(1)], vec![finish(child, vec![first])]);
    bench.start(run_id(3));
    let none = Retention { runs_max: 0, ..soon() };
    assert_eq!(bench.tidy(later(), none).deleted, 0);
    bench.write(parent, vec![completed(1)], vec![finish(parent, vec![parent_first])]);
    bench.start(run_id(4));
    assert_eq!(bench.tidy(later(), none).deleted, 2);
    bench.assert_sound();
}

#[test]
fn keys_expire_and_the_versions_of_a_deleted_workflow_go_with_its_last_run() {
    let bench = Bench::new();
    let key = |name: &str, days: u32| {
        Some(Idempotency { by: None, key: name.to_owned(), digest: [1; 32], at: at(0).after(DAY * days) })
    };
    let id = workflow_id(7);
    let insert_workflow = Op::WorkflowInsert {
        id,
        name: "water".to_owned(),
        source: "steps: []".to_owned(),
        at: at(0),
        possession: Possession::HOUSE,
        idempotency: key("deploy", 0),
    };
    bench.write(run_id(0), vec![], vec![insert_workflow]);
    bench.finished(run_id(1));
    bench.write(run_id(0), vec![], vec![Op::WorkflowDelete { id, at: at(50) }]);
    let other = RunRow { workflow: workflow_id(8), created_at: at(0).after(DAY * 8), ..row(run_id(2)) };
    let Record { body: RecordBody::RunCreated(mut body), .. } = created(run_id(2)) else { panic!() };
    body.workflow = workflow_id(8);
    let first = Record { seq: 0, at: at(0).after(DAY * 8), body: RecordBody::RunCreated(body) };
    let op = Op::RunInsert { row: other, idempotency: key("young", 8), created: None };
    bench.write(run_id(2), vec![first], vec![op]);
    let done = bench.tidy(at(0).after(DAY * 8), soon());
    assert_eq!((done.keys, done.workflows), (1, 0), "{done:?}");
    assert!(bench.store.idempotent(None, "deploy").unwrap().is_none());
    assert!(bench.store.idempotent(None, "young").unwrap().is_some());
    assert!(bench.store.workflow(&Scope::All, id).unwrap().is_some(), "a run of it is still there");
    let done = bench.tidy(at(0).after(DAY * 8), Retention { runs_max: 0, ..soon() });
    assert_eq!((done.deleted, done.workflows), (1, 1), "{done:?}");
    assert!(bench.store.workflow(&Scope::All, id).unwrap().is_none());
    assert!(bench.store.definition(&Scope::All, DefinitionHash::of("steps: []")).unwrap().is_none());
    bench.assert_sound();
}

#[test]
fn a_run_too_large_for_the_archive_stays_in_the_journal_and_is_deleted_from_there() {
    let bench = Bench::new();
    let run = run_id(1);
    let mut lsns = vec![bench.start(run)];
    for seq in 1..10 {
        // However well it compresses, the size before is what counts.
        let body = RecordBody::CancelRequested { reason: "x".repeat(2_000_000) };
        lsns.push(bench.write(run, vec![Record { seq, at: at(seq), body }], vec![]));
    }
    bench.write(run, vec![completed(10)], vec![finish(run, lsns.clone())]);
    bench.start(run_id(2));
    assert_eq!(bench.tidy(later(), soon()).archived, 1);
    assert_eq!(count(&bench, "SELECT count(*) FROM archive"), 0);
    assert_eq!(bench.store.records(&Scope::All, run, &lsns).unwrap().len(), 10);
    bench.assert_sound();
    assert_eq!(bench.tidy(later(), Retention { runs_max: 0, ..soon() }).deleted, 1);
    assert_eq!(count(&bench, "SELECT count(*) FROM journal"), 1);
    assert!(bench.bytes() < 4 * 1024 * 1024, "{} bytes are left", bench.bytes());
    bench.assert_sound();
}

#[test]
fn damage_in_the_archive_is_found_and_named() {
    let bench = Bench::new();
    let lsns = bench.finished(run_id(1));
    bench.start(run_id(2));
    bench.tidy(later(), soon());
    bench.tamper("UPDATE archive SET body = x'01ff'");
    assert_eq!(
        bench.store.records(&Scope::All, run_id(1), &lsns).unwrap_err().code(),
        &crate::error::code::store::CORRUPT
    );
    let found = check(&bench.store).unwrap();
    assert!(found.iter().any(|one| one.invariant == "I1" && one.run == Some(run_id(1))), "{found:?}");
}

/// 1,000,000 in the long run: with default retention the file is bounded by what is kept, not by what was run.
#[test]
fn many_short_runs_keep_the_file_bounded() {
    let runs = u128::from(crate::env::proof::size(3_000, 1_000_000));
    let runs_max = if runs > 60_000 { Retention::default().runs_max } else { 500 };
    let rules = Retention { archive_after: Duration::ZERO, runs_max, ..Retention::default() };
    let bench = Bench::new();
    let (mut sizes, part) = (Vec::new(), runs / 6);
    for number in 0..runs {
        let run = run_id(number);
        let mut records = vec![created(run)];
        records.extend(steps(1, 4));
        records.push(completed(4));
        let last = number % 64 == 63 || number + 1 == runs;
        let sent = bench.send(run, records, vec![insert(run), finish(run, vec![])]);
        if last {
            sent.recv_timeout(HANG).unwrap().unwrap();
        }
        if number % part == part - 1 {
            bench.tidy(later(), rules);
            sizes.push(bench.bytes());
        }
    }
    println!("{runs} runs, at most {} kept: file of {sizes:?} bytes", rules.runs_max);
    let kept = bench.store.runs(&Scope::All, &RunFilter { limit: 1, ..RunFilter::default() }).unwrap().total;
    assert!((1..=u64::from(rules.runs_max) + 64).contains(&kept), "{kept} runs are kept");
    let (second, last) = (sizes[1], sizes[5]);
    assert!(last <= second + second / 4, "the file grows: {sizes:?}");
    bench.assert_sound();
}

fn count(bench: &Bench, sql: &str) -> i64 {
    let conn = rusqlite::Connection::open(bench.database()).unwrap();
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn what_was_not_told_yet_is_kept_however_old_it_is() {
    let bench = Bench::new();
    let key = Some(Idempotency { by: None, key: "trigger".to_owned(), digest: [1; 32], at: at(0) });
    let insert = Op::RunInsert { row: row(run_id(1)), idempotency: key, created: None };
    let first = bench.write(run_id(1), vec![created(run_id(1))], vec![insert]);
    let last = bench.write(run_id(1), vec![completed(1)], vec![finish(run_id(1), vec![first])]);
    bench.start(run_id(2));
    let none = Retention { runs_max: 0, completed: DAY, keys: DAY, ..soon() };
    let years = at(0).after(DAY * 400);
    // The newest record says how far the clock is believed.
    bench.write(
        run_id(3),
        vec![Record { at: years, ..created(run_id(3)) }],
        vec![Op::RunInsert {
            row: RunRow { created_at: years, ..row(run_id(3)) },
            idempotency: None,
            created: None,
        }],
    );
    let keep = |_| Keep::default();
    let done = bench.tidy_told(years, none, Lsn(first.0 - 1), &keep);
    assert_eq!((done.archived, done.deleted, done.keys), (1, 0, 0), "an event may start it again: {done:?}");
    let told = bench.store.journal_after(Lsn(0), 100).unwrap();
    assert!(told.iter().any(|committed| committed.lsn == last), "it can be told from the archive");
    let done = bench.tidy_told(years, none, Lsn(last.0 - 1), &keep);
    assert_eq!((done.deleted, done.keys), (0, 1), "its end was not told: {done:?}");
    assert_eq!(bench.tidy_told(years, none, last, &keep).deleted, 1);
    bench.assert_sound();
}
