//! Triggers and concurrency on a real database, with a clock that is set by hand.

use super::*;
use crate::id::Lsn;
use crate::model::Trigger;
use crate::runtime::trigger::HookCall;

const HOUR_S: u64 = 3_600;
const QUICK: &str =
    "steps:\n  - { id: a, type: set, config: { variables: { x: 1 } } }\noutput: \"{{ event }}\"\n";
const HOLDS: &str = "steps:\n  - { id: a, type: wait, config: { signal: go } }\n";

impl Bench {
    async fn deploy(&self, source: &str) {
        self.handle.create_workflow(source, None).await.unwrap();
    }

    /// The runs of a workflow in the order in which they were made, when there are so many.
    async fn made(&self, workflow: &str, count: usize) -> Vec<RunId> {
        let seen = async {
            let mut records = self.handle.subscribe(Some(Lsn(0))).await.unwrap();
            let mut made = Vec::new();
            while made.len() < count {
                let next = records.next().await.expect("the runtime goes on").unwrap();
                if let RecordBody::RunCreated(created) = &next.record.body
                    && created.name == workflow
                {
                    made.push(next.run);
                }
            }
            made
        };
        tokio::time::timeout(HANG, seen)
            .await
            .unwrap_or_else(|_| panic!("{count} runs of {workflow} are made"))
    }

    /// How many runs of a workflow there are. What was told before the call has had its effect.
    async fn count(&self, workflow: &str) -> u64 {
        self.settled().await;
        self.handle.runs(RunQuery::newest(Some(workflow), 1)).await.unwrap().total
    }

    /// The triggers have done what there was to do: one more event, told last, has its run.
    async fn settled(&self) {
        if self.handle.workflow("barrier").await.is_err() {
            self.deploy(&format!("name: barrier\ntriggers: [ {{ event: test.barrier }} ]\n{QUICK}")).await;
        }
        // Two looks at the clock, the first of which may have begun before it was set; then whatever came in before.
        self.runtime.looks_at_the_clock(2).await;
        let before = self.handle.runs(RunQuery::newest(Some("barrier"), 1)).await.unwrap().total;
        self.event("test.barrier", &format!("barrier {before}"), json!({}));
        self.made("barrier", before as usize + 1).await;
    }

    fn event(&self, topic: &str, id: &str, data: Value) {
        let (topic, id) = (topic.to_owned(), id.to_owned());
        let at = Timestamp(1_800_000_000_000);
        self.handle.take_event(Event { id, topic, at, data }).unwrap();
    }

    fn hours(&self, hours: u64) {
        self.clock.advance(Duration::from_secs(hours * HOUR_S));
    }

    async fn event_of(&self, run: RunId) -> Value {
        match self.handle.run(run).await.unwrap().trigger {
            Trigger::Trigger { event, .. } => event,
            other => panic!("started by {other:?}"),
        }
    }
}

fn cron(name: &str, more: &str) -> String {
    format!("name: {name}\ntriggers: [ {{ cron: \"0 * * * *\"{more} }} ]\n{QUICK}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_starts_one_run_at_each_time_and_none_early() {
    let bench = Bench::new(4, 100).await;
    bench.deploy(&cron("hourly", "")).await;
    let next = async |bench: &Bench| bench.handle.schedules().await.unwrap()[0].next_at.unwrap().to_string();
    assert_eq!(next(&bench).await, "2027-01-15T09:00:00.000Z");
    bench.clock.advance(Duration::from_millis(HOUR_S * 1_000 - 1));
    assert_eq!(bench.count("hourly").await, 0);
    bench.clock.advance(Duration::from_millis(1));
    let run = bench.made("hourly", 1).await[0];
    let view = bench.ended(run).await;
    assert_eq!(view.status, RunStatus::Completed);
    assert_eq!(view.output.unwrap()["data"]["due"], "2027-01-15T09:00:00.000Z", "steps see the event");
    assert_eq!(bench.count("hourly").await, 1);
    let shown = bench.handle.triggers("hourly").await.unwrap();
    assert_eq!((shown[0].last_run, next(&bench).await), (Some(run), "2027-01-15T10:00:00.000Z".to_owned()));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_catches_up_by_the_policy() {
    let mut bench = Bench::new(4, 100).await;
    for missed in ["skip", "one", "all"] {
        bench.deploy(&cron(missed, &format!(", missed: {missed}"))).await;
    }
    let clock = bench.clock.clone();
    bench = bench.restart_after(|_| clock.advance(Duration::from_secs(5 * HOUR_S + 600))).await;
    bench.made("all", 5).await;
    for (workflow, runs) in [("skip", 0), ("one", 1), ("all", 5)] {
        assert_eq!(bench.count(workflow).await, runs, "{workflow}");
    }
    let due = bench.handle.schedules().await.unwrap();
    assert!(
        due.iter()
            .filter(|one| one.kind == "cron")
            .all(|one| { one.next_at.unwrap().to_string() == "2027-01-15T14:00:00.000Z" })
    );
    // The randomness of a restart repeats, so the ids need another moment.
    bench.clock.advance(Duration::from_secs(1));
    bench = bench.restart().await;
    assert_eq!(bench.count("all").await, 5, "nothing is caught up twice");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_ten_years_either_way_makes_no_run_early_or_twice() {
    let bench = Bench::new(4, 200).await;
    bench.deploy(&cron("hourly", ", missed: one")).await;
    let start = Timestamp(1_800_000_000_000);
    bench.hours(1);
    bench.made("hourly", 1).await;
    let ten_years = 10 * 365 * 24 * HOUR_S as i64 * 1_000;
    bench.clock.jump_to(Timestamp(start.0 + ten_years));
    bench.made("hourly", 2).await;
    bench.clock.jump_to(start);
    assert_eq!(bench.count("hourly").await, 2, "the clock stands before nine again");
    assert_eq!(
        bench.handle.schedules().await.unwrap()[0].next_at.unwrap().to_string(),
        "2027-01-15T09:00:00.000Z"
    );
    bench.hours(1);
    assert_eq!(bench.count("hourly").await, 2, "nine had its run");
    bench.hours(1);
    bench.made("hourly", 3).await;
    assert_eq!(bench.count("hourly").await, 3);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_starts_one_run_of_each_workflow_that_asks_for_it() {
    let mut bench = Bench::new(4, 100).await;
    let hot = "name: hot\ninputs: { type: object, required: [cpu], properties: { cpu: { type: number } } }\n\
        triggers: [ { event: \"alex_os.*.status\", when: \"event.data.cpu > 90\", inputs: { cpu: \"{{ event.data.cpu }}\" } } ]\n";
    bench.deploy(&format!("{hot}{QUICK}")).await;
    bench.deploy(&format!("name: all\ntriggers: [ {{ event: \"alex_os.#\" }} ]\n{QUICK}")).await;
    bench.event("alex_os.system.status", "e1", json!({ "cpu": 95 }));
    bench.event("alex_os.system.status", "e2", json!({ "cpu": 5 }));
    bench.event("alex_os.system.status", "e1", json!({ "cpu": 95 }));
    bench.event("other.system.status", "e3", json!({ "cpu": 95 }));
    assert_eq!((bench.count("hot").await, bench.count("all").await), (1, 2));
    let run = bench.made("hot", 1).await[0];
    assert_eq!(bench.ended(run).await.inputs, json!({ "cpu": 95 }));
    bench = bench.restart().await;
    bench.event("alex_os.system.status", "e1", json!({ "cpu": 95 }));
    bench.event("alex_os.system.status", "e4", json!({ "cpu": "much" }));
    assert_eq!(bench.count("hot").await, 1, "known after a restart, and what does not fit starts nothing");
    let note = bench.handle.triggers("hot").await.unwrap()[0].note.clone();
    assert!(note.unwrap().contains("CB-"), "it says why");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_own_runs_go_to_their_listeners_and_a_circle_ends() {
    let bench = Bench::new(4, 100).await;
    let circle = "name: circle\ntriggers: [ { event: user.again } ]\n\
        steps:\n  - { id: e, type: emit, config: { topic: user.again, data: { n: 1 } } }\n";
    bench.deploy(circle).await;
    bench.event("user.again", "first", json!({}));
    let made = bench.made("circle", 17).await;
    bench.ended(made[16]).await;
    assert_eq!(bench.count("circle").await, 17, "the first and sixteen more");
    let event = bench.event_of(made[1]).await;
    assert_eq!((&event["type"], &event["data"]["n"]), (&json!("user.again"), &json!(1)));
    let note = bench.handle.triggers("circle").await.unwrap()[0].note.clone();
    assert!(note.unwrap().contains("CB-0361"));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_run_starts_what_waits_for_it_also_over_a_stop() {
    let mut bench = Bench::new(4, 100).await;
    bench.deploy(&format!("name: first\n{HOLDS}")).await;
    bench.deploy(&format!("name: then\ntriggers: [ {{ workflow: first, on: completed }} ]\n{QUICK}")).await;
    bench.deploy(&format!("name: oops\ntriggers: [ {{ workflow: first, on: failed }} ]\n{QUICK}")).await;
    bench.deploy(&format!("name: either\ntriggers: [ {{ workflow: first, on: any }} ]\n{QUICK}")).await;
    let run = bench.start("first").await;
    bench.until(run, |body| matches!(body, RecordBody::StepWaiting { .. })).await;
    bench = bench.restart().await;
    bench.handle.signal(run, "go", Value::Null, None).await.unwrap();
    let then = bench.made("then", 1).await[0];
    assert_eq!(bench.event_of(then).await["data"]["execution_id"], json!(run));
    let other = bench.start("first").await;
    bench.handle.cancel(other, "enough").await.unwrap();
    bench.made("either", 2).await;
    assert_eq!((bench.count("then").await, bench.count("oops").await), (1, 0));
    bench.end().await;
}

/// Also with `missed: all`: nobody knows which of those times had their runs after the backup was made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_fires_for_no_time_before_a_restore() {
    use crate::store::backup::{Kind, Order, Restore, Shelf, take_file};

    let bench = Bench::new(4, 100).await;
    bench.deploy(&cron("hourly", ", missed: all")).await;
    bench.hours(1);
    bench.made("hourly", 1).await;
    bench.settled().await;
    let clock = bench.clock.clone();
    let bench = bench
        .restart_after(move |folder| {
            let (shelf, name) = (Shelf::new(folder.join("backups")), "then".parse().unwrap());
            let order = Order { name: &name, kind: Kind::Manual, at: crate::env::Clock::now(&*clock) };
            take_file(&folder.join("chainbot.db"), &shelf, &order, &mut |_| Ok(())).unwrap();
            clock.advance(Duration::from_secs(5 * HOUR_S));
            let data_dir = crate::store::DataDir::open(folder, "restore").unwrap();
            let restore = Restore {
                from: &shelf.path(&name),
                data_dir: &data_dir,
                database: Path::new("chainbot.db"),
                shelf: &shelf,
                at: crate::env::Clock::now(&*clock),
                keep_as: &"before".parse().unwrap(),
                is_damaged: false,
            };
            restore.prepare(&mut |_| Ok(())).unwrap().put_in_place(&mut |_| Ok(())).unwrap();
        })
        .await;
    assert_eq!(bench.count("hourly").await, 1, "five times passed, and none is made up for");
    let note = bench.handle.triggers("hourly").await.unwrap()[0].note.clone();
    assert!(note.is_some_and(|note| note.contains("a backup was put in place")));
    bench.hours(1);
    bench.made("hourly", 2).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_switched_off_does_not_fire_and_is_not_caught_up() {
    let mut bench = Bench::new(4, 100).await;
    bench.deploy(&cron("hourly", ", missed: all")).await;
    let off = bench.handle.switch_workflow("hourly", false).await.unwrap();
    assert_eq!((off.status.as_str(), off.triggers[0].next_at), ("disabled", None));
    assert_eq!(bench.handle.workflow("hourly").await.unwrap().status, "disabled");
    bench.hours(3);
    assert_eq!(bench.count("hourly").await, 0);
    bench = bench.restart().await;
    assert_eq!(bench.handle.workflow("hourly").await.unwrap().status, "disabled");
    bench.start("hourly").await;
    bench.handle.switch_workflow("hourly", true).await.unwrap();
    let key = bench.handle.triggers("hourly").await.unwrap()[0].key.clone();
    bench.hours(1);
    bench.made("hourly", 2).await;
    bench.handle.switch_trigger("hourly", &key, false).await.unwrap();
    bench.hours(1);
    assert_eq!(bench.count("hourly").await, 2, "a person's, and that of the hour in which it was on");
    let wrong = bench.handle.switch_trigger("hourly", "cron-0", true).await.unwrap_err();
    assert_eq!(wrong.code().id, "CB-0197");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_of_the_steps_moves_no_schedule_and_a_trigger_that_is_gone_is_quiet() {
    let bench = Bench::new(4, 100).await;
    bench.deploy(&cron("hourly", "")).await;
    bench.clock.advance(Duration::from_secs(1_800));
    let edited = cron("hourly", "").replace("x: 1", "x: 2");
    bench.handle.update_workflow("hourly", &edited, None).await.unwrap();
    bench.clock.advance(Duration::from_secs(1_800));
    bench.made("hourly", 1).await;
    bench
        .handle
        .update_workflow("hourly", &format!("name: hourly\n{}", QUICK.replace("{{ event }}", "x")), None)
        .await
        .unwrap();
    bench.hours(1);
    assert_eq!(bench.count("hourly").await, 1);
    assert!(bench.handle.triggers("hourly").await.unwrap().is_empty());
    bench.end().await;
}

fn call(id: &str, signature: &str, body: &str) -> HookCall {
    HookCall {
        name: "water".to_owned(),
        body: body.as_bytes().to_vec(),
        content_type: Some("application/json".to_owned()),
        id: Some(id.to_owned()),
        timestamp: Some("1614265330".to_owned()),
        signature: Some(signature.to_owned()),
        has_token: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_webhook_starts_one_run_however_often_it_comes() {
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const BODY: &str = r#"{"test": 2432232314}"#;
    let bench = Bench::new(4, 100).await;
    bench.clock.jump_to(Timestamp(1_614_265_330_000));
    bench.deploy(&format!("name: water\ntriggers: [ {{ webhook: water, secret: known }} ]\n{QUICK}")).await;
    let first = bench.handle.hook(call(ID, SIGNED, BODY)).await.unwrap();
    let again = bench.handle.hook(call(ID, SIGNED, BODY)).await.unwrap();
    assert_eq!((again.run, first.replayed, again.replayed), (first.run, false, true));
    assert_eq!(bench.event_of(first.run).await["data"], json!({ "test": 2432232314u32 }));
    for wrong in [
        call(ID, SIGNED, r#"{"test":2432232314}"#),
        call("msg_other", SIGNED, BODY),
        HookCall { signature: None, ..call(ID, SIGNED, BODY) },
        HookCall { name: "none".to_owned(), ..call(ID, SIGNED, BODY) },
        HookCall { has_token: true, signature: None, ..call(ID, SIGNED, BODY) },
    ] {
        assert_eq!(bench.handle.hook(wrong).await.unwrap_err().code().id, "CB-0004");
    }
    for (source, code) in [("secret: unknown", "CB-0196"), ("secret: known", "CB-0195")] {
        let source = format!("name: other\ntriggers: [ {{ webhook: water, {source} }} ]\n{QUICK}");
        let source = if code == "CB-0196" { source.replace("webhook: water", "webhook: w2") } else { source };
        assert_eq!(bench.handle.create_workflow(&source, None).await.unwrap_err().code().id, code);
    }
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_refuses_a_second_run_and_tells_triggers_apart_from_people() {
    let bench = Bench::new(4, 100).await;
    bench
        .deploy(&format!(
            "name: one\nconcurrency: {{ mode: single, key: \"{{{{ inputs.zone }}}}\" }}\n\
             triggers: [ {{ event: user.go, inputs: {{ zone: north }} }} ]\n{HOLDS}"
        ))
        .await;
    let first = bench.try_start_with("one", json!({ "zone": "north" }), None).await.unwrap().run.id;
    let refused = bench.try_start_with("one", json!({ "zone": "north" }), None).await.unwrap_err();
    assert_eq!(refused.code().id, "CB-0360");
    bench.try_start_with("one", json!({ "zone": "south" }), None).await.unwrap();
    bench.event("user.go", "e1", json!({}));
    assert_eq!(bench.count("one").await, 2);
    assert!(bench.handle.triggers("one").await.unwrap()[0].note.as_ref().unwrap().contains("CB-0360"));
    bench.handle.signal(first, "go", Value::Null, None).await.unwrap();
    bench.ended(first).await;
    bench.event("user.go", "e2", json!({}));
    assert_eq!(bench.count("one").await, 3);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_runs_follow_each_other_in_order_also_over_a_restart() {
    let mut bench = Bench::new(4, 100).await;
    bench.deploy(&format!("name: line\nconcurrency: {{ mode: queued }}\n{HOLDS}")).await;
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(bench.start("line").await);
    }
    bench.until(runs[0], |body| matches!(body, RecordBody::StepWaiting { .. })).await;
    assert_eq!(bench.handle.counts().queued, 3);
    // One that waits in the line can be cancelled like any other.
    bench.handle.cancel(runs[2], "not needed").await.unwrap();
    assert_eq!(bench.ended(runs[2]).await.status, RunStatus::Cancelled);
    bench = bench.restart().await;
    assert_eq!(bench.handle.counts().queued, 2);
    for run in [runs[0], runs[1], runs[3]] {
        bench.until(run, |body| matches!(body, RecordBody::StepWaiting { .. })).await;
        bench.handle.signal(run, "go", Value::Null, None).await.unwrap();
        assert_eq!(bench.ended(run).await.status, RunStatus::Completed);
    }
    let started = |run| {
        let handle = bench.handle.clone();
        async move { handle.run(run).await.unwrap() }
    };
    let (first, second) = (started(runs[0]).await, started(runs[1]).await);
    assert!(first.finished_at.unwrap() <= second.started_at.unwrap());
    assert_eq!(bench.handle.counts().queued, 0);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_cancels_the_run_that_is_there_and_parallel_has_its_bound() {
    let bench = Bench::new(8, 100).await;
    bench.deploy(&format!("name: newest\nconcurrency: {{ mode: restart }}\n{HOLDS}")).await;
    let old = bench.start("newest").await;
    bench.until(old, |body| matches!(body, RecordBody::StepWaiting { .. })).await;
    let new = bench.start("newest").await;
    assert_eq!(bench.ended(old).await.status, RunStatus::Cancelled);
    bench.until(new, |body| matches!(body, RecordBody::StepWaiting { .. })).await;
    bench.deploy(&format!("name: two\nconcurrency: {{ mode: parallel, max: 2 }}\n{HOLDS}")).await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(bench.start("two").await);
    }
    for run in &runs[..2] {
        bench.until(*run, |body| matches!(body, RecordBody::StepWaiting { .. })).await;
    }
    assert_eq!(bench.handle.counts().queued, 1);
    bench.handle.signal(runs[1], "go", Value::Null, None).await.unwrap();
    bench.until(runs[2], |body| matches!(body, RecordBody::StepWaiting { .. })).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_of_a_single_workflow_that_runs_is_refused_and_its_parent_told() {
    let bench = Bench::new(8, 100).await;
    bench.deploy(&format!("name: one\nconcurrency: {{ mode: single }}\n{HOLDS}")).await;
    bench.workflow("parent", "  - { id: c, type: workflow, config: { workflow: one } }").await;
    let first = bench.start("one").await;
    let parent = bench.start("parent").await;
    assert_eq!(bench.ended(parent).await.status, RunStatus::Failed);
    bench.handle.signal(first, "go", Value::Null, None).await.unwrap();
    bench.ended(first).await;
    let parent = bench.start("parent").await;
    bench.until(parent, |body| matches!(body, RecordBody::StepWaiting { .. })).await;
    // Made in the same moment, so not by the order of ids.
    let all = bench.handle.runs(RunQuery::newest(Some("one"), 10)).await.unwrap().items;
    let open: Vec<RunId> = all.iter().filter(|run| !run.status.is_terminal()).map(|run| run.id).collect();
    let [child] = open[..] else { panic!("{all:?}") };
    bench.until(child, |body| matches!(body, RecordBody::StepWaiting { .. })).await;
    bench.handle.signal(child, "go", Value::Null, None).await.unwrap();
    assert_eq!(bench.ended(parent).await.status, RunStatus::Completed);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_when_that_does_not_end_costs_its_own_firing_and_is_said() {
    let bench = Bench::new(4, 10).await;
    // Fuel counts a comparison once, however large what it compares.
    let same = "[event.data.list] == [event.data.other]";
    let when = vec![same; 14].join(" and ");
    bench
        .deploy(&format!("name: big\ntriggers: [ {{ event: test.list, when: \"{when}\" }} ]\n{QUICK}"))
        .await;
    bench.deploy(&format!("name: fine\ntriggers: [ {{ event: \"test.#\" }} ]\n{QUICK}")).await;
    let list = vec![1; 60_000];
    bench.event("test.list", "big one", json!({ "list": list, "other": list }));
    bench.until_written_off().await;
    bench.made("fine", 1).await;
    let note = async {
        loop {
            let shown = bench.handle.triggers("big").await.unwrap();
            if let Some(note) = &shown[0].note {
                return note.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let note = tokio::time::timeout(HANG, note).await.expect("its row says why");
    assert!(note.contains("does not end") && note.contains("`big`"), "{note}");
    assert!(bench.runtime.failure().is_none(), "the engine goes on");
    // While it has not come back, and after it.
    bench.event("test.other", "another", json!({}));
    bench.made("fine", 2).await;
    let back = async {
        while bench.handle.counts().written_off > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, back).await.expect("it comes to its end");
    bench.event("test.list", "small one", json!({ "list": [1], "other": [1] }));
    bench.made("big", 1).await;
    assert_eq!(bench.handle.runs(RunQuery::newest(Some("big"), 1)).await.unwrap().total, 1);
    bench.end().await;
}
