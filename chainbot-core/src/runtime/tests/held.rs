//! Runs over which processes died.

use super::*;
use crate::id::NodeId;
use crate::store::note::{Note, NoteFile};

/// As a process that dies in a step leaves the folder.
fn die(folder: &Path, run: RunId, node: NodeId, deaths: u32) {
    NoteFile::open(&folder.join(NOTES)).unwrap().write(0, &Note { run, node, deaths });
}

/// The node of a run's first step.
async fn first_node(bench: &Bench, run: RunId) -> NodeId {
    let records = bench.handle.journal(run, None, 10).await.unwrap().items;
    let node = records.iter().find_map(|(_, record)| match &record.body {
        RecordBody::StepStarted { place, .. } | RecordBody::StepWaiting { place, .. } => Some(place.node),
        _ => None,
    });
    node.expect("a step began")
}

/// It waits for a person, who is asked once.
async fn assert_held(bench: &Bench, run: RunId) {
    let view = bench.handle.run(run).await.unwrap();
    assert_eq!(view.status, RunStatus::Waiting);
    let detail = view.waiting_for.expect("it says why");
    assert!(detail.starts_with("held: the process ended 2 times"), "{detail}");
    let questions = bench.handle.inbox().await.unwrap();
    assert_eq!(questions.len(), 1);
    assert_eq!((questions[0].run, questions[0].kind.as_str()), (run, "poison"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_at_work_is_held_when_two_processes_died_in_its_step() {
    let bench = Bench::new(4, 10).await;
    bench.workflow("slow", SLOW).await;
    let run = bench.start("slow").await;
    bench.server.until(|counts| counts.in_flight == 1).await;
    let node = first_node(&bench, run).await;
    let bench = bench.restart_busy(|folder| die(folder, run, node, 0)).await;
    // One death may have been chance.
    bench.server.until(|counts| counts.requests == 2).await;
    assert_eq!(bench.handle.inbox().await.unwrap().len(), 0);
    let bench = bench.restart_busy(|folder| die(folder, run, node, 1)).await;
    bench.until_asked().await;
    assert_held(&bench, run).await;
    // Others go on, also in the same step.
    let other = bench.start("slow").await;
    bench.gate.add_permits(3);
    assert_eq!(bench.ended(other).await.status, RunStatus::Completed);
    assert_eq!(bench.server.requests().len(), 3, "the held step is not entered");
    bench.handle.cancel(run, "enough").await.unwrap();
    assert_eq!(bench.ended(run).await.status, RunStatus::Cancelled);
    assert_eq!(bench.handle.inbox().await.unwrap().len(), 0);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_run_is_held_when_it_is_woken_after_two_deaths() {
    let bench = Bench::new(4, 10).await;
    bench.workflow("waits", WAIT).await;
    let run = bench.start("waits").await;
    bench.until(run, |body| matches!(body, RecordBody::StepWaiting { .. })).await;
    let node = first_node(&bench, run).await;
    let bench = bench.restart_after(|folder| die(folder, run, node, 1)).await;
    let refused = bench.handle.signal(run, "go", json!(1), None).await.unwrap_err();
    assert!(refused.message().contains("is held"), "{refused}");
    bench.until_asked().await;
    assert_held(&bench, run).await;
    // A second try neither helps nor asks again.
    bench.handle.signal(run, "go", json!(1), None).await.unwrap_err();
    assert_held(&bench, run).await;
    bench.handle.cancel(run, "enough").await.unwrap();
    assert_eq!(bench.ended(run).await.status, RunStatus::Cancelled);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_run_is_still_held_after_a_further_restart() {
    let bench = Bench::new(4, 10).await;
    bench.workflow("waits", WAIT).await;
    let run = bench.start("waits").await;
    bench.until(run, |body| matches!(body, RecordBody::StepWaiting { .. })).await;
    let node = first_node(&bench, run).await;
    let bench = bench.restart_after(|folder| die(folder, run, node, 1)).await;
    bench.handle.signal(run, "go", json!(1), None).await.unwrap_err();
    bench.until_asked().await;
    // The note counted once; the question says it from here on.
    let bench = bench.restart().await;
    let refused = bench.handle.signal(run, "go", json!(1), None).await.unwrap_err();
    assert!(refused.message().contains("is held"), "{refused}");
    assert_held(&bench, run).await;
    let bench = bench.restart().await;
    let question = bench.handle.inbox().await.unwrap()[0].id;
    let retry = NewAnswer { action: "retry".to_owned(), data: Value::Null, by: None };
    bench.handle.answer(question, retry).await.unwrap();
    // The answer survives as well.
    let bench = bench.restart().await;
    bench.handle.signal(run, "go", json!(2), None).await.unwrap();
    assert_eq!(bench.ended(run).await.output.unwrap()["signal"], 2);
    bench.end().await;
}

impl Bench {
    async fn until_asked(&self) {
        let asked = async {
            while self.handle.inbox().await.unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(HANG, asked).await.expect("a person is asked");
    }
}
