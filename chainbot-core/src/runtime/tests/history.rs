//! A run as it stood at each of its records, before and after it is archived.

use super::*;
use crate::error::code::{general, run as run_code};
use crate::id::Lsn;
use crate::port::Store;
use crate::port::upkeep::{Keep, Retention, Upkeep};

const THREE: &str = "  - { id: a, type: set, checkpoint: true, config: { variables: { x: \"1\" } } }\n  \
    - { id: b, type: wait, config: { signal: go } }\n  \
    - { id: c, type: set, config: { variables: { x: \"2\" } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_seen_as_it_stood_after_each_record_and_the_same_from_the_archive() {
    let bench = Bench::new(10, 10).await;
    bench.workflow("three", THREE).await;
    let run = bench.start("three").await;
    bench.until(run, |body| matches!(body, RecordBody::StepWaiting { .. })).await;
    bench.handle.signal(run, "go", json!(5), None).await.unwrap();
    bench.ended(run).await;
    // The newest record keeps its run in the journal.
    let other = bench.start("three").await;
    bench.until(other, |body| matches!(body, RecordBody::StepWaiting { .. })).await;
    let last = bench.handle.state_at(run, None).await.unwrap().last_seq;
    let mut before = Vec::new();
    for seq in 0..=last {
        let state = bench.handle.state_at(run, Some(seq)).await.unwrap();
        assert_eq!((state.seq, state.last_seq), (seq, last));
        before.push(state);
    }
    assert_eq!((before[0].status, before[0].steps.len()), (RunStatus::Pending, 0));
    let waited = before.iter().find(|state| state.status == RunStatus::Waiting).expect("it waited");
    assert_eq!(waited.variables.get("x"), Some(&json!(1)));
    assert_eq!(waited.waiting_for.as_deref(), Some("b: signal `go`"));
    let end = before.last().unwrap();
    assert_eq!((end.status, end.variables.get("x")), (RunStatus::Completed, Some(&json!(2))));
    assert_eq!(end.steps, bench.handle.steps(run).await.unwrap());
    let beyond = bench.handle.state_at(run, Some(last + 1)).await.unwrap_err();
    assert_eq!(beyond.code(), &general::QUERY, "{beyond}");
    let unknown = bench.handle.state_at(RunId::from([1; 16]), None).await.unwrap_err();
    assert_eq!(unknown.code(), &run_code::NOT_FOUND);

    let read = async |bench: &Bench| {
        let journal = bench.handle.journal(run, None, 200).await.unwrap().items;
        let list = bench
            .handle
            .runs(RunQuery { status: Some(RunStatus::Completed), ..RunQuery::newest(Some("three"), 10) })
            .await
            .unwrap();
        let list: Vec<RunId> = list.items.iter().map(|row| row.id).collect();
        (bench.handle.run(run).await.unwrap(), bench.handle.steps(run).await.unwrap(), journal, list)
    };
    let shown = read(&bench).await;
    let rules = Retention { archive_after: Duration::ZERO, ..Retention::default() };
    let now = end.at.after(Duration::from_secs(60));
    let done =
        bench.store.tidy(&Upkeep { now, rules, told: Lsn(i64::MAX), keep: &|_| Keep::default() }).unwrap();
    assert_eq!(done.archived, 1);
    assert_eq!(read(&bench).await, shown);
    for state in &before {
        let again = bench.handle.state_at(run, Some(state.seq)).await.unwrap();
        assert_eq!(
            (again.status, &again.variables, &again.steps),
            (state.status, &state.variables, &state.steps)
        );
    }
    bench.end().await;
}
