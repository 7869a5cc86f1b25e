//! What the host's bus is told of runs.

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::*;
use crate::port::{EventBus, Published};

/// A host with room for everything, and a memory.
#[derive(Default)]
pub(super) struct Heard {
    events: Mutex<Vec<Value>>,
    came: Notify,
}

impl EventBus for Heard {
    fn publish(&self, _: &str, payload: &str, _: &str, _: Timestamp) -> Published {
        self.events.lock().push(serde_json::from_str(payload).unwrap());
        self.came.notify_waiters();
        Published::Sent
    }

    fn subscribe(&self, _: &str) -> crate::Result<()> {
        Ok(())
    }
}

impl Heard {
    fn of(&self, topic: &str, run: RunId) -> Vec<Value> {
        let is_one =
            |event: &&Value| event["type"] == topic && event["data"]["execution_id"] == run.to_string();
        self.events.lock().iter().filter(is_one).cloned().collect()
    }

    /// Waits for the first event of a run on a topic.
    async fn first(&self, topic: &str, run: RunId) -> Value {
        let seen = async {
            loop {
                // Before the look, so that nothing comes unseen between the two.
                let came = self.came.notified();
                tokio::pin!(came);
                came.as_mut().enable();
                if let Some(event) = self.of(topic, run).pop() {
                    return event;
                }
                came.await;
            }
        };
        tokio::time::timeout(HANG, seen).await.expect("the host is told")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_is_told_what_a_run_waits_for_whatever_that_is() {
    let ask = "  - { id: a, type: wait, config: { approval: { message: \"Water?\" } } }";
    let event = "  - { id: a, type: wait, config: { event: user.done } }";
    let cases =
        [(WAIT, "signal `go`"), (HOUR, "until "), (ask, "a person's answer"), (event, "event `user.done`")];
    let bench = Bench::new(4, 10).await;
    for (number, (steps, words)) in cases.iter().enumerate() {
        let name = format!("w{number}");
        bench.workflow(&name, steps).await;
        let run = bench.start(&name).await;
        let told = bench.heard.first("chainbot.workflow.waiting", run).await;
        let waits = told["data"]["waiting_for"].as_str().unwrap();
        assert!(waits.starts_with(&format!("a: {words}")), "{told}");
        assert_eq!(told["data"]["status"], "waiting");
    }
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_is_told_once_that_a_run_waits_for_an_event_and_in_the_order_of_its_life() {
    let bench = Bench::new(4, 10).await;
    bench.workflow("w", "  - { id: a, type: wait, config: { event: user.done } }").await;
    let run = bench.start("w").await;
    bench.heard.first("chainbot.workflow.waiting", run).await;
    bench.handle.hear("user.done", "", json!({}), Timestamp(5)).unwrap();
    bench.heard.first("chainbot.workflow.completed", run).await;
    let told: Vec<String> = bench
        .heard
        .events
        .lock()
        .iter()
        .filter(|event| event["data"]["execution_id"] == run.to_string())
        .map(|event| event["type"].as_str().unwrap().trim_start_matches("chainbot.workflow.").to_owned())
        .collect();
    assert_eq!(told, ["started", "waiting", "completed"]);
    bench.end().await;
}
