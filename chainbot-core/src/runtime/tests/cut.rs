//! A process that ends right after a commit: what follows a commit is done by the next one.
//!
//! The store is the real one behind a wrapper. When told, it commits one more batch, acknowledges it to nobody, and from then
//! on takes everything and does nothing: so ends a process as far as its disk can tell.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::*;
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::port::{Ack, Batch, Op};
use crate::store::tests::through::Through;

type Wanted = Box<dyn FnMut(&Batch) -> bool + Send>;

/// The wrapper.
pub(super) struct CutStore {
    inner: Arc<SqliteStore>,
    /// The last batch of this process.
    last: Mutex<Option<Wanted>>,
    /// A batch that is refused, as on a full disk.
    refused: Mutex<Option<Wanted>>,
    is_cut: AtomicBool,
    is_on_disk: watch::Sender<bool>,
    /// Of batches after the last one: whoever waits for them waits as long as the process is there.
    unheard: Mutex<Vec<Ack>>,
}

impl CutStore {
    pub(super) fn new(inner: Arc<SqliteStore>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            last: Mutex::default(),
            refused: Mutex::default(),
            is_cut: AtomicBool::new(false),
            is_on_disk: watch::Sender::new(false),
            unheard: Mutex::default(),
        })
    }

    /// The first batch that this holds for is the last one.
    fn after(&self, wanted: impl FnMut(&Batch) -> bool + Send + 'static) {
        *self.last.lock() = Some(Box::new(wanted));
    }

    /// The first batch that this holds for is refused.
    fn refuse(&self, wanted: impl FnMut(&Batch) -> bool + Send + 'static) {
        *self.refused.lock() = Some(Box::new(wanted));
    }

    /// The process is gone, and with it whoever waited.
    pub(super) fn let_go(&self) {
        self.unheard.lock().clear();
    }

    /// Resolves when the last batch is on disk.
    async fn fell(&self) {
        let mut fell = self.is_on_disk.subscribe();
        tokio::time::timeout(HANG, fell.wait_for(|fell| *fell)).await.expect("the batch comes").unwrap();
    }

    fn take(&self, mut batch: Batch) -> Option<Batch> {
        if self.is_cut.load(Ordering::SeqCst) {
            self.unheard.lock().push(batch.ack);
            return None;
        }
        let mut refused = self.refused.lock();
        if refused.as_mut().is_some_and(|wanted| wanted(&batch)) {
            *refused = None;
            (batch.ack)(Err(Arc::new(Error::new(&general::BUSY, "refused by the test"))));
            return None;
        }
        if self.last.lock().as_mut().is_some_and(|wanted| wanted(&batch)) {
            self.is_cut.store(true, Ordering::SeqCst);
            let on_disk = self.is_on_disk.clone();
            let written: Ack = Box::new(move |result| {
                result.expect("it is written");
                on_disk.send_replace(true);
            });
            self.unheard.lock().push(std::mem::replace(&mut batch.ack, written));
        }
        Some(batch)
    }
}

impl Through for CutStore {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }

    fn submit(&self, batch: Batch) -> Result<()> {
        self.take(batch).map_or(Ok(()), |batch| self.inner.submit(batch))
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        self.take(batch).map_or(Ok(()), |batch| self.inner.commit(batch))
    }
}

const CALLS: &str = "  - { id: c, type: workflow, config: { workflow: child } }";

fn says(batch: &Batch, run: RunId, wanted: impl Fn(&RecordBody) -> bool) -> bool {
    batch.run == run && batch.records.iter().any(|record| wanted(&record.body))
}

fn makes_a_child(batch: &Batch) -> bool {
    batch.ops.iter().any(|op| matches!(op, Op::RunInsert { created: Some(_), .. }))
}

fn is_waiting(body: &RecordBody) -> bool {
    matches!(body, RecordBody::StepWaiting { .. })
}

impl Bench {
    /// The process ends after the batch that was wanted, and another begins.
    async fn cut_and_restart(self) -> Self {
        self.cut.fell().await;
        // Another seed or the same moment would repeat ids.
        self.clock.advance(Duration::from_millis(5));
        self.restart_busy(|_| {}).await
    }

    /// The only run of a workflow.
    async fn only(&self, workflow: &str) -> RunId {
        let runs = self.handle.runs(RunQuery::newest(Some(workflow), 10)).await.unwrap().items;
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs[0].id
    }

    /// Asks for something that nobody will acknowledge.
    fn cancel_unheard(&self, run: RunId) {
        let handle = self.handle.clone();
        tokio::spawn(async move { handle.cancel(run, "enough").await.map(drop) });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_of_a_cancelled_parent_ends_though_the_process_did_before_it_was_told() {
    for (child, slow) in [(WAIT, false), (SLOW, true)] {
        let bench = Bench::new(4, 10).await;
        bench.workflow("child", child).await;
        bench.workflow("parent", CALLS).await;
        let parent = bench.start("parent").await;
        bench.until(parent, is_waiting).await;
        let child = bench.only("child").await;
        match slow {
            true => bench.server.until(|counts| counts.in_flight == 1).await,
            false => bench.until(child, is_waiting).await,
        }
        bench
            .cut
            .after(move |batch| says(batch, parent, |body| matches!(body, RecordBody::RunCancelled { .. })));
        bench.cancel_unheard(parent);
        let bench = bench.cut_and_restart().await;
        assert_eq!(bench.ended(child).await.status, RunStatus::Cancelled);
        assert_eq!(bench.handle.run(parent).await.unwrap().status, RunStatus::Cancelled);
        assert_eq!(bench.server.requests().len(), usize::from(slow), "nothing is sent again for it");
        bench.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_of_a_step_over_its_timeout_ends_though_the_process_did_before_it_was_told() {
    let bench = Bench::new(4, 10).await;
    bench.workflow("child", HOUR).await;
    let timed = CALLS.replace("id: c,", "id: c, timeout: 1m, on_error: continue,");
    bench.workflow("parent", &format!("{timed}\n{}", WAIT.replace("id: a", "id: then"))).await;
    let parent = bench.start("parent").await;
    bench.until(parent, is_waiting).await;
    let child = bench.only("child").await;
    bench.until(child, is_waiting).await;
    bench.cut.after(move |batch| says(batch, parent, |body| matches!(body, RecordBody::StepFailed { .. })));
    bench.clock.advance(Duration::from_secs(61));
    let bench = bench.cut_and_restart().await;
    assert_eq!(bench.ended(child).await.status, RunStatus::Cancelled);
    bench.handle.signal(parent, "go", json!(1), None).await.unwrap();
    assert_eq!(bench.ended(parent).await.status, RunStatus::Completed);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_its_gate_refused_ends_though_the_process_did_before_it_was_told() {
    let bench = Bench::new(4, 10).await;
    let single = "name: child\nconcurrency: { mode: single }\nsteps:\n";
    bench.handle.create_workflow(&format!("{single}{WAIT}\n"), None).await.unwrap();
    bench.workflow("parent", CALLS).await;
    let first = bench.start("child").await;
    bench.until(first, is_waiting).await;
    bench.cut.after(makes_a_child);
    let parent = bench.start("parent").await;
    let bench = bench.cut_and_restart().await;
    assert_eq!(bench.ended(parent).await.status, RunStatus::Failed);
    let runs = bench.handle.runs(RunQuery::newest(Some("child"), 10)).await.unwrap().items;
    let refused = runs.iter().find(|run| run.id != first).unwrap();
    assert_eq!(refused.status, RunStatus::Cancelled);
    let records = bench.handle.journal(refused.id, None, 10).await.unwrap().items;
    assert!(!records.iter().any(|(_, record)| matches!(record.body, RecordBody::RunStarted)), "{records:?}");
    assert_eq!(bench.handle.run(first).await.unwrap().status, RunStatus::Waiting);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_place_was_taken_ends_though_the_process_did_before_it_was_told() {
    let bench = Bench::new(8, 10).await;
    for (name, steps) in [("waits", WAIT), ("sends", SLOW)] {
        let source = format!("name: {name}\nconcurrency: {{ mode: restart }}\nsteps:\n{steps}\n");
        bench.handle.create_workflow(&source.replace("SERVER", &bench.server.url("")), None).await.unwrap();
    }
    let (waiting, sending) = (bench.start("waits").await, bench.start("sends").await);
    bench.until(waiting, is_waiting).await;
    bench.server.until(|counts| counts.in_flight == 1).await;
    // The other workflow's newcomer is on disk before the last batch, and its predecessor was not told either.
    let mut made = 0;
    bench.cut.after(move |batch| {
        made += usize::from(batch.ops.iter().any(|op| matches!(op, Op::GateEnter { .. })));
        made == 1
    });
    let handle = bench.handle.clone();
    let new = NewRun { workflow: "sends".to_owned(), inputs: Value::Null, idempotency_key: None };
    tokio::spawn(async move { handle.start_run(new).await.map(drop) });
    let bench = bench.cut_and_restart().await;
    assert_eq!(bench.ended(sending).await.status, RunStatus::Cancelled);
    // Sent by the one that took its place, and not once more by the one that ends.
    bench.server.until(|counts| counts.requests == 2).await;
    let newest = bench.start("waits").await;
    assert_eq!(bench.ended(waiting).await.status, RunStatus::Cancelled);
    bench.until(newest, is_waiting).await;
    assert_eq!(bench.server.requests().len(), 2);
    bench.gate.add_permits(2);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_could_not_be_made_takes_nobodys_place() {
    let bench = Bench::new(8, 10).await;
    let source = format!("name: newest\nconcurrency: {{ mode: restart }}\nsteps:\n{WAIT}\n");
    bench.handle.create_workflow(&source, None).await.unwrap();
    let old = bench.start("newest").await;
    bench.until(old, is_waiting).await;
    bench.cut.refuse(|batch| batch.ops.iter().any(|op| matches!(op, Op::GateEnter { .. })));
    bench.try_start("newest", None).await.unwrap_err();
    bench.handle.signal(old, "go", json!(1), None).await.unwrap();
    assert_eq!(bench.ended(old).await.status, RunStatus::Completed);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_ends_though_its_parent_is_forgotten() {
    let bench = Bench::new(4, 10).await;
    bench.workflow("child", SLOW).await;
    bench.workflow("parent", CALLS).await;
    let parent = bench.start("parent").await;
    bench.until(parent, is_waiting).await;
    let child = bench.only("child").await;
    bench.server.until(|counts| counts.in_flight == 1).await;
    // The child has its grace, and its parent is gone meanwhile.
    bench.handle.cancel(parent, "enough").await.unwrap();
    bench.ended(parent).await;
    bench.handle.delete_run(parent).await.unwrap();
    bench.gate.add_permits(1);
    assert_eq!(bench.ended(child).await.status, RunStatus::Cancelled);
    bench.end().await;
}

/// Whatever commit is the last one of a process: parent, child, event, undoing and gate come to the same end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_end_after_any_commit_of_a_family_of_runs() {
    let child = "  - { id: put, type: api_call, config: { url: \"SERVER/put\", method: PUT } }\n  \
        - { id: say, type: emit, config: { topic: user.said, data: 7 } }";
    let parent = "  - id: both\n    type: parallel\n    config:\n      branches:\n        hear:\n          \
        - { id: heard, type: wait, config: { event: user.said } }\n        call:\n          \
        - { id: c, type: workflow, config: { workflow: child } }\n  \
        - id: bad\n    type: transform\n    config: { type: expression, expr: \"1 / 0\" }";
    for last in 1.. {
        let bench = Bench::new(4, 10).await;
        bench.workflow("child", child).await;
        let source = format!(
            "name: parent\nconcurrency: {{ mode: queued }}\nsteps:\n{parent}\nfinally:\n  \
             - {{ id: end, type: api_call, config: {{ url: \"SERVER/finally\", method: PUT }} }}\n"
        );
        bench.handle.create_workflow(&source.replace("SERVER", &bench.server.url("")), None).await.unwrap();
        let mut seen = 0;
        bench.cut.after(move |batch| {
            seen += usize::from(!batch.records.is_empty());
            seen == last
        });
        let handle = bench.handle.clone();
        let new = NewRun {
            workflow: "parent".to_owned(),
            inputs: Value::Null,
            idempotency_key: Some("once".to_owned()),
        };
        let again = new.clone();
        let first = tokio::spawn(async move { handle.start_run(new).await.map(drop) });
        let all_done = async {
            first.await.unwrap().unwrap();
            let run = bench.only("parent").await;
            bench.ended(run).await;
        };
        let is_over = tokio::select! {
            () = bench.cut.fell() => false,
            () = all_done => true,
        };
        let bench = if is_over { bench } else { bench.cut_and_restart().await };
        let parent = bench.handle.start_run(again).await.unwrap().run.id;
        let view = bench.ended(parent).await;
        assert_eq!(view.status, RunStatus::Failed, "cut after commit {last}");
        let child = bench.only("child").await;
        assert_eq!(bench.ended(child).await.status, RunStatus::Completed, "cut after commit {last}");
        let heard = bench.handle.steps(parent).await.unwrap();
        let heard = heard.iter().find(|step| step.id == "heard").unwrap();
        assert_eq!(heard.output.as_ref().unwrap()["event"]["data"], 7, "cut after commit {last}");
        bench.end().await;
        if is_over {
            assert!(last > 6, "the family made {last} commits only");
            return;
        }
    }
}
