//! What people do with runs, over the real store, with restarts in between.

use super::*;
use crate::model::StepStatus;
use crate::model::inbox::{DONE, RETRY};
use crate::runtime::{NewAnswer, NewFork};

const APPROVAL: &str =
    "  - { id: ok, type: wait, timeout: 1d, config: { approval: { message: Go?, approvers: [mia] } } }";
const TWO: &str = "  - { id: a, type: api_call, config: { url: \"SERVER/slow\", method: GET } }\n  \
    - { id: b, type: api_call, config: { url: \"SERVER/quick\", method: GET } }";

fn answer(action: &str, data: Value, by: Option<&str>) -> NewAnswer {
    NewAnswer { action: action.to_owned(), data, by: by.map(str::to_owned) }
}

fn is_waiting(body: &RecordBody) -> bool {
    matches!(body, RecordBody::StepWaiting { .. })
}

fn requests(bench: &Bench, path: &str) -> usize {
    bench.server.requests().iter().filter(|request| request.contains(path)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_survives_a_restart_and_is_answered_once() {
    let bench = Bench::new(2, 10).await;
    bench.workflow("w", APPROVAL).await;
    let run = bench.start("w").await;
    bench.until(run, is_waiting).await;
    let bench = bench.restart().await;
    let open = bench.handle.inbox().await.unwrap();
    assert_eq!(open.len(), 1);
    let (id, question) = (open[0].id, &open[0].question);
    assert_eq!((open[0].kind.as_str(), &question["message"]), ("approval", &json!("Go?")));
    assert_eq!(question["deadline"], json!(Timestamp(1_800_000_000_000 + 86_400_000)));

    let nobody = bench.handle.answer(id, answer("approve", Value::Null, None)).await.unwrap_err();
    assert_eq!(nobody.code().id, "CB-0341");
    let unknown = bench.handle.answer(id, answer("maybe", Value::Null, Some("mia"))).await.unwrap_err();
    assert_eq!(unknown.code().id, "CB-0341");
    let yes = answer("approve", json!("dry"), Some("mia"));
    let first = bench.handle.answer(id, yes.clone()).await.unwrap();
    assert_eq!(first.answer.as_ref().map(|answer| answer.action.as_str()), Some("approve"));
    let view = bench.ended(run).await;
    assert_eq!(view.output.unwrap()["approval"]["data"], json!("dry"));

    // Also after the end of the run, and after a restart.
    let bench = bench.restart().await;
    assert_eq!(bench.handle.answer(id, yes).await.unwrap(), first);
    let other = bench.handle.answer(id, answer("reject", Value::Null, Some("mia"))).await.unwrap_err();
    assert_eq!(other.code().id, "CB-0340");
    assert!(bench.handle.inbox().await.unwrap().is_empty());
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_in_doubt_is_sent_again_or_taken_for_done_as_a_person_says() {
    let bench = Bench::new(2, 10).await;
    bench
        .workflow("w", "  - { id: a, type: api_call, config: { url: \"SERVER/slow\", method: POST } }")
        .await;
    let (again, done) = (bench.start("w").await, bench.start("w").await);
    for run in [again, done] {
        bench.until(run, |body| matches!(body, RecordBody::StepStarted { .. })).await;
    }
    let bench = bench.restart_busy(|_| {}).await;
    for run in [again, done] {
        bench.until(run, |body| matches!(body, RecordBody::StepUncertain { .. })).await;
    }
    let open = bench.handle.inbox().await.unwrap();
    let of = |run| open.iter().find(|question| question.run == run).unwrap().id;
    bench.handle.answer(of(done), answer(DONE, json!({ "n": 5 }), None)).await.unwrap();
    assert_eq!(bench.ended(done).await.output, Some(json!({ "n": 5 })));
    bench.handle.answer(of(again), answer(RETRY, Value::Null, None)).await.unwrap();
    bench.gate.add_permits(10);
    assert_eq!(bench.ended(again).await.status, RunStatus::Completed);
    let steps = bench.handle.steps(again).await.unwrap();
    assert_eq!(steps[0].attempts, 2);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_run_survives_a_restart_and_begins_nothing_until_it_is_resumed() {
    let bench = Bench::new(1, 10).await;
    bench.workflow("w", TWO).await;
    let run = bench.start("w").await;
    bench.until(run, |body| matches!(body, RecordBody::StepStarted { .. })).await;
    let view = bench.handle.pause(run, "to look").await.unwrap();
    assert_eq!(view.status, RunStatus::Running, "its step is under way");
    bench.gate.add_permits(1);
    bench.until(run, |body| matches!(body, RecordBody::StepCompleted { .. })).await;
    // It holds no permit: another run passes.
    bench.workflow("other", "  - { id: x, type: set, config: { variables: { y: \"1\" } } }").await;
    let other = bench.start("other").await;
    bench.ended(other).await;
    let bench = bench.restart().await;
    let view = bench.handle.run(run).await.unwrap();
    assert_eq!((view.status, requests(&bench, "/quick")), (RunStatus::Paused, 0));
    assert_eq!(bench.handle.pause(run, "again").await.unwrap().status, RunStatus::Paused);
    let listed = bench
        .handle
        .runs(RunQuery { status: Some(RunStatus::Paused), ..RunQuery::newest(None, 10) })
        .await
        .unwrap();
    assert_eq!(listed.items.len(), 1);
    bench.handle.resume(run).await.unwrap();
    assert_eq!(bench.ended(run).await.status, RunStatus::Completed);
    assert_eq!((requests(&bench, "/slow"), requests(&bench, "/quick")), (1, 1));
    assert_eq!(bench.handle.resume(run).await.unwrap_err().code().id, "CB-0303");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queued_run_that_is_paused_does_not_begin() {
    let bench = Bench::new(1, 10).await;
    bench.workflow("slow", SLOW).await;
    bench.workflow("w", WAIT).await;
    let first = bench.start("slow").await;
    bench.until(first, |body| matches!(body, RecordBody::StepStarted { .. })).await;
    let queued = bench.start("w").await;
    bench.handle.pause(queued, "not yet").await.unwrap();
    bench.gate.add_permits(1);
    bench.ended(first).await;
    let bench = bench.restart().await;
    let view = bench.handle.run(queued).await.unwrap();
    assert_eq!((view.status, view.started_at), (RunStatus::Paused, None));
    bench.handle.resume(queued).await.unwrap();
    bench.until(queued, is_waiting).await;
    bench.handle.signal(queued, "go", Value::Null, None).await.unwrap();
    assert_eq!(bench.ended(queued).await.status, RunStatus::Completed);
    bench.end().await;
}

const FAILS_ONCE: &str = "  - { id: a, type: api_call, config: { url: \"SERVER/a\", method: GET } }\n  \
    - { id: gate, type: wait, config: { signal: go } }\n  \
    - { id: b, type: transform, config: { type: expression, expr: \"steps.gate.output.signal + vars.more | default(0)\" } }\n  \
    - { id: c, type: api_call, config: { url: \"SERVER/c\", method: GET } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_run_is_taken_up_again_and_keeps_what_was_done() {
    let bench = Bench::new(2, 10).await;
    let steps = "  - { id: a, type: api_call, config: { url: \"SERVER/a\", method: GET } }\n  \
        - { id: b, type: wait, timeout: 1m, config: { signal: go } }";
    bench.workflow("w", steps).await;
    let run = bench.start("w").await;
    bench.until(run, is_waiting).await;
    assert_eq!(bench.handle.retry(run).await.unwrap_err().code().id, "CB-0343");
    bench.clock.advance(Duration::from_secs(61));
    assert_eq!(bench.ended(run).await.status, RunStatus::Failed);
    let bench = bench.restart().await;
    let view = bench.handle.retry(run).await.unwrap();
    assert!(!view.status.is_terminal() && view.error.is_none(), "{view:?}");
    bench.until(run, |body| matches!(body, RecordBody::RunRetried { .. })).await;
    assert_eq!(bench.handle.retry(run).await.unwrap_err().code().id, "CB-0343");
    let bench = bench.restart().await;
    bench.handle.signal(run, "go", json!(1), None).await.unwrap();
    bench.until(run, |body| matches!(body, RecordBody::RunCompleted { .. })).await;
    let view = bench.handle.run(run).await.unwrap();
    assert_eq!((view.status, requests(&bench, "/a")), (RunStatus::Completed, 1));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_has_the_history_before_the_step_and_goes_its_own_way() {
    let bench = Bench::new(2, 10).await;
    bench.workflow("w", FAILS_ONCE).await;
    let run = bench.start("w").await;
    bench.until(run, is_waiting).await;
    bench.handle.signal(run, "go", json!(1), None).await.unwrap();
    assert_eq!(bench.ended(run).await.status, RunStatus::Completed);
    let fork = NewFork {
        from: "b".to_owned(),
        path: Vec::new(),
        inputs: Value::Null,
        variables: json!({ "more": 41 }),
        idempotency_key: Some("k".to_owned()),
    };
    let forked = bench.handle.fork(run, fork.clone()).await.unwrap();
    assert!(!forked.replayed);
    assert_eq!(bench.handle.fork(run, fork.clone()).await.unwrap().run.id, forked.run.id);
    let view = bench.ended(forked.run.id).await;
    assert_eq!(view.status, RunStatus::Completed, "{view:?}");
    assert_eq!(view.trigger, crate::model::Trigger::Fork { run, step: "b".to_owned() });
    let steps = bench.handle.steps(forked.run.id).await.unwrap();
    assert_eq!(steps.iter().find(|step| step.id == "b").unwrap().output, Some(json!({ "transformed": 42 })));
    assert!(steps.iter().all(|step| step.status == StepStatus::Completed));
    assert_eq!((requests(&bench, "/a"), requests(&bench, "/c")), (1, 2));
    let diff = bench.handle.diff_runs(run, forked.run.id).await.unwrap();
    let paths: Vec<&str> = diff.changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(paths, ["steps.b.output.transformed"]);

    let wrong = NewFork { from: "bb".to_owned(), idempotency_key: None, ..fork };
    assert_eq!(bench.handle.fork(run, wrong).await.unwrap_err().code().id, "CB-0345");
    let bench = bench.restart().await;
    bench.handle.delete_run(run).await.unwrap();
    assert_eq!(bench.handle.run(run).await.unwrap_err().code().id, "CB-0300");
    assert_eq!(bench.handle.run(forked.run.id).await.unwrap().status, RunStatus::Completed);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_not_over_is_not_deleted() {
    let bench = Bench::new(2, 10).await;
    bench.workflow("w", WAIT).await;
    let run = bench.start("w").await;
    bench.until(run, is_waiting).await;
    assert_eq!(bench.handle.delete_run(run).await.unwrap_err().code().id, "CB-0344");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_reaches_the_run_that_waits_for_it_and_no_other() {
    let bench = Bench::new(2, 10).await;
    bench.workflow("w", "  - { id: e, type: wait, config: { event: { topic: \"garden.*\", when: \"event.data.mm > 2\" } } }").await;
    bench.workflow("x", "  - { id: e, type: wait, config: { event: house.# } }").await;
    let (rain, house) = (bench.start("w").await, bench.start("x").await);
    for run in [rain, house] {
        bench.until(run, is_waiting).await;
    }
    let bench = bench.restart().await;
    let hear = |topic: &str, data: Value| bench.handle.hear(topic, "", data, Timestamp(5)).unwrap();
    hear("street.rain", json!({ "mm": 9 }));
    hear("garden.rain", json!({ "mm": 1 }));
    hear("garden.rain", json!({ "specversion": "1.0", "data": { "mm": 3 } }));
    let view = bench.ended(rain).await;
    assert_eq!(view.output.unwrap()["event"]["data"], json!({ "mm": 3 }));
    assert_eq!(bench.handle.run(house).await.unwrap().status, RunStatus::Waiting);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_a_run_emits_reaches_another_run() {
    let bench = Bench::new(2, 10).await;
    bench.workflow("w", "  - { id: e, type: wait, config: { event: user.done } }").await;
    bench.workflow("x", "  - { id: e, type: emit, config: { topic: user.done, data: { n: 7 } } }").await;
    let early = bench.start("x").await;
    bench.ended(early).await;
    let waits = bench.start("w").await;
    bench.until(waits, is_waiting).await;
    let emits = bench.start("x").await;
    let view = bench.ended(waits).await;
    assert_eq!(view.output.as_ref().unwrap()["event"]["data"], json!({ "n": 7 }));
    assert!(view.output.unwrap()["event"]["id"].as_str().unwrap().starts_with(&emits.to_string()));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_version_becomes_the_current_one_as_a_new_version() {
    let bench = Bench::new(2, 10).await;
    bench.workflow("w", WAIT).await;
    let old = bench.handle.workflow("w").await.unwrap();
    bench.handle.update_workflow("w", &old.source.replace("go", "come"), None).await.unwrap();
    let versions = bench.handle.versions("w").await.unwrap();
    assert_eq!(
        versions.iter().map(|v| (v.version, v.is_current)).collect::<Vec<_>>(),
        [(2, true), (1, false)]
    );
    let diff = bench.handle.diff_versions("w", 1, 2).await.unwrap();
    assert!(diff.text.contains("-  - { id: a, type: wait, config: { signal: go } }"), "{}", diff.text);
    assert_eq!(diff.changes[0].path, "steps[0].config.signal");
    let stale = bench.handle.rollback("w", 1, Some(&old.hash)).await.unwrap_err();
    assert_eq!(stale.code().id, "CB-0011");
    let back = bench.handle.rollback("w", 1, None).await.unwrap();
    assert_eq!((back.version, back.source), (3, old.source));
    assert_eq!(bench.handle.version("w", 9).await.unwrap_err().code().id, "CB-0190");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undoing_goes_on_after_a_restart_and_what_was_undone_is_not_taken_up_again() {
    let bench = Bench::new(2, 10).await;
    let steps = "  - id: a\n    type: api_call\n    config: { url: \"SERVER/a\", method: GET }\n    \
        compensate: { id: undo_a, type: api_call, config: { url: \"SERVER/undo\", method: GET } }\n  \
        - id: b\n    type: api_call\n    config: { url: \"SERVER/b\", method: GET }\n    \
        compensate: { id: undo_b, type: api_call, config: { url: \"SERVER/slow\", method: GET } }\n  \
        - { id: c, type: wait, timeout: 1m, config: { signal: go } }";
    bench.workflow("w", steps).await;
    let run = bench.start("w").await;
    bench.until(run, is_waiting).await;
    bench.clock.advance(Duration::from_secs(61));
    // The last step is undone first, and its answer does not come before the process is gone.
    bench.until(run, |body| matches!(body, RecordBody::PhaseStarted { .. })).await;
    let bench = bench.restart_busy(|_| {}).await;
    bench.gate.add_permits(2);
    let view = bench.ended(run).await;
    assert_eq!(view.status, RunStatus::Failed);
    assert_eq!((requests(&bench, "/a"), requests(&bench, "/b"), requests(&bench, "/undo")), (1, 1, 1));
    let steps = bench.handle.steps(run).await.unwrap();
    let undone = |id: &str| steps.iter().find(|step| step.id == id).map(|step| step.status);
    assert_eq!(
        (undone("undo_a"), undone("undo_b")),
        (Some(StepStatus::Completed), Some(StepStatus::Completed))
    );
    let refused = bench.handle.retry(run).await.unwrap_err();
    assert_eq!(refused.code().id, "CB-0343");
    assert!(refused.message().contains("undone"), "{refused}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_run_in_the_archive_is_brought_back_and_taken_up_again() {
    use crate::port::upkeep::{Keep, Retention, Upkeep};
    let bench = Bench::new(2, 10).await;
    bench.workflow("w", "  - { id: b, type: wait, timeout: 1m, config: { signal: go } }").await;
    let run = bench.start("w").await;
    bench.until(run, is_waiting).await;
    bench.clock.advance(Duration::from_secs(61));
    let view = bench.ended(run).await;
    assert_eq!(view.status, RunStatus::Failed);
    // The newest record keeps its run in the journal.
    let other = bench.start("w").await;
    bench.until(other, is_waiting).await;
    let now = view.finished_at.unwrap().after(Duration::from_secs(60));
    let rules = Retention { archive_after: Duration::ZERO, ..Retention::default() };
    let upkeep = Upkeep { now, rules, told: crate::id::Lsn(i64::MAX), keep: &|_| Keep::default() };
    let mut archived = 0;
    for _ in 0..10 {
        archived += bench.store.tidy(&upkeep).unwrap().archived;
    }
    assert_eq!(archived, 1);
    bench.handle.retry(run).await.unwrap();
    bench.until(run, |body| matches!(body, RecordBody::RunRetried { .. })).await;
    let bench = bench.restart().await;
    bench.handle.signal(run, "go", json!(1), None).await.unwrap();
    assert_eq!(bench.ended(run).await.status, RunStatus::Completed);
    assert_eq!(crate::store::check(&bench.store).unwrap(), []);
    bench.end().await;
}
