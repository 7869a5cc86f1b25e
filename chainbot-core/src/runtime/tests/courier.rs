//! Messages of the outbox: the whole schedule, restarts, receivers that refuse, and what people do with them.

use super::*;
use crate::model::EffectKey;
use crate::port::{MessageFilter, MessageState, StoredMessage};

const QUEUED: &str = "  - { id: tell, type: webhook, config: { url: \"SERVER/hook?k=1\", payload: { n: 1 }, delivery: outbox } }";

/// Before each try but the first, in seconds.
const DELAYS: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

impl Bench {
    async fn messages(&self) -> Vec<StoredMessage> {
        self.handle.outbox(MessageFilter { limit: 200, ..MessageFilter::default() }).await.unwrap().items
    }

    /// Waits until the only message is as wanted.
    async fn until_message(&self, wanted: impl Fn(&StoredMessage) -> bool) -> StoredMessage {
        let seen = async {
            loop {
                if let [message] = self.messages().await.as_slice()
                    && wanted(message)
                {
                    return message.clone();
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(HANG, seen).await.expect("the message comes to that")
    }

    /// Waits until nobody sends it: its mark is on disk a moment before it is let go.
    async fn let_go(&self, id: EffectKey) {
        let gone = async {
            while self.runtime.courier.is_taken(id) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(HANG, gone).await.expect("it is let go");
    }

    /// Lets time pass, and the courier see it.
    fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.runtime.courier.look();
    }

    fn ids(&self) -> Vec<String> {
        let id = |request: &String| {
            let line = request.lines().find(|line| line.to_lowercase().starts_with("webhook-id:"));
            line.expect("every try has an id").to_owned()
        };
        self.server.requests().iter().map(id).collect()
    }
}

fn status(code: u16, headers: &str) -> Act {
    Act::Reply(reply(code, headers, ""))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_tried_by_the_whole_schedule_and_then_given_up_where_people_see_it() {
    let bench = Bench::answering(|number, _| status(if number < 10 { 500 } else { 204 }, "")).await;
    bench.workflow("tell", QUEUED).await;
    let run = bench.start("tell").await;
    let output = bench.ended(run).await.output.unwrap();
    assert_eq!(output["queued"], true);
    for (number, delay) in DELAYS.into_iter().enumerate() {
        let tries = number as u32 + 1;
        let message = bench.until_message(|message| message.attempts == tries).await;
        assert_eq!(output["message_id"], message.message.id.to_string());
        assert_eq!((message.state, message.message.target.ends_with("/hook")), (MessageState::Pending, true));
        let wait = message.due.since(bench.handle.0.env.now());
        let (least, most) = (Duration::from_secs(delay), Duration::from_millis(delay * 1_100));
        assert!(
            wait >= least && wait <= most,
            "try {tries}: {wait:?} is not {least:?} and up to a tenth more"
        );
        // A moment before its time nothing is sent: that would be one request too many below.
        bench.pass(wait - Duration::from_millis(1));
        bench.pass(Duration::from_millis(1));
    }
    let dead = bench.until_message(|message| message.state == MessageState::Dead).await;
    assert_eq!((dead.attempts, bench.server.counts().requests), (10, 10));
    assert!(dead.error.unwrap().contains("CB-0310"), "the reason is kept");
    bench.let_go(dead.message.id).await;
    bench.handle.resend_message(dead.message.id).await.unwrap();
    let sent = bench.until_message(|message| message.state == MessageState::Delivered).await;
    assert_eq!((sent.attempts, sent.error), (1, None));
    let ids = bench.ids();
    assert_eq!(ids.len(), 11);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_was_sent_and_not_marked_is_sent_again_with_its_id() {
    let bench = Bench::new(4, 10).await;
    bench.workflow("tell", &QUEUED.replace("/hook", "/slow")).await;
    let run = bench.start("tell").await;
    // The step is done although nobody has the message yet.
    assert_eq!(bench.ended(run).await.status, RunStatus::Completed);
    bench.server.until(|counts| counts.in_flight == 1).await;
    let bench = bench.restart_busy(|_| {}).await;
    bench.server.until(|counts| counts.requests == 2).await;
    bench.gate.add_permits(2);
    let sent = bench.until_message(|message| message.state == MessageState::Delivered).await;
    assert_eq!(sent.attempts, 1);
    let ids = bench.ids();
    assert_eq!(ids[0], ids[1]);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_keeps_its_time_over_a_restart() {
    let bench =
        Bench::answering(|number, _| status(if number == 0 { 302 } else { 200 }, "Location: /x\r\n")).await;
    bench.workflow("tell", QUEUED).await;
    let run = bench.start("tell").await;
    bench.ended(run).await;
    let failed = bench.until_message(|message| message.attempts == 1).await;
    assert!(failed.error.unwrap().contains("302"), "a redirect is no success");
    let bench = bench.restart().await;
    assert_eq!(bench.messages().await[0].due, failed.due);
    bench.pass(failed.due.since(bench.handle.0.env.now()));
    let sent = bench.until_message(|message| message.state == MessageState::Delivered).await;
    assert_eq!((sent.attempts, bench.server.counts().requests), (2, 2));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_gone_gets_nothing_more() {
    let bench = Bench::answering(|_, _| status(410, "")).await;
    bench.workflow("tell", QUEUED).await;
    let run = bench.start("tell").await;
    bench.ended(run).await;
    let dead = bench.until_message(|message| message.state == MessageState::Dead).await;
    assert_eq!((dead.attempts, bench.server.counts().requests), (1, 1));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_asks_for_patience_is_left_alone_with_all_that_is_for_it() {
    let bench =
        Bench::answering(
            |number, _| if number == 0 { status(429, "Retry-After: 600\r\n") } else { status(200, "") },
        )
        .await;
    bench.workflow("tell", QUEUED).await;
    let run = bench.start("tell").await;
    bench.ended(run).await;
    let first = bench.until_message(|message| message.attempts == 1).await;
    assert_eq!(first.due.since(bench.handle.0.env.now()), Duration::from_secs(600));
    let second = bench.start("tell").await;
    bench.ended(second).await;
    bench.pass(Duration::from_secs(599));
    // It is due and for the same receiver.
    let both = async {
        while bench.runtime.courier.waiting() != 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, both).await.expect("both wait");
    bench.server.until(|counts| counts.requests == 1).await;
    bench.pass(Duration::from_secs(1));
    bench.server.until(|counts| counts.requests == 3).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_outbox_fails_the_step_with_its_code() {
    let bench = Bench::new(4, 10).await;
    bench.runtime.courier.fill();
    bench.workflow("tell", QUEUED).await;
    let run = bench.start("tell").await;
    let view = bench.ended(run).await;
    assert_eq!((view.status, view.error.unwrap().code.as_str()), (RunStatus::Failed, "CB-1110"));
    assert_eq!(bench.messages().await, []);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_removed_is_not_sent_and_one_under_way_is_not_touched() {
    let bench = Bench::new(4, 10).await;
    bench.workflow("tell", &QUEUED.replace("/hook", "/slow")).await;
    let run = bench.start("tell").await;
    bench.ended(run).await;
    bench.server.until(|counts| counts.in_flight == 1).await;
    let id = bench.messages().await[0].message.id;
    assert_eq!(bench.handle.remove_message(id).await.unwrap_err().code().id, "CB-1113");
    assert_eq!(bench.handle.resend_message(id).await.unwrap_err().code().id, "CB-1113");
    bench.gate.add_permits(1);
    bench.until_message(|message| message.state == MessageState::Delivered).await;
    bench.let_go(id).await;
    bench.handle.remove_message(id).await.unwrap();
    assert_eq!(bench.handle.resend_message(id).await.unwrap_err().code().id, "CB-1112");
    assert_eq!(bench.handle.remove_message(EffectKey([9; 16])).await.unwrap_err().code().id, "CB-1112");
    assert_eq!((bench.runtime.courier.waiting(), bench.server.counts().requests), (0, 1));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_goes_over_its_channels_after_the_step_and_to_the_gui_with_it() {
    let bench = Bench::answering(|_, _| status(200, "")).await;
    let step = "  - { id: tell, type: notification, config: { message: Dry, type: warning, channels: [gui, phone] } }";
    bench.workflow("tell", step).await;
    let run = bench.start("tell").await;
    bench
        .until(
            run,
            |body| matches!(body, RecordBody::EventEmitted { topic, .. } if topic == "chainbot.notification"),
        )
        .await;
    let output = bench.ended(run).await.output.unwrap();
    assert_eq!(output["channels"], json!(["gui", "phone"]));
    let sent = bench.until_message(|message| message.state == MessageState::Delivered).await;
    assert_eq!(output["queued"], json!({ "phone": sent.message.id.to_string() }));
    let request = &bench.server.requests()[0];
    assert!(request.starts_with("POST / ") && request.contains(r#""message":"Dry""#), "{request}");
    bench.end().await;
}
