//! An ordinary life, watched: what services are given, what is left of the process, what health tells, how long calls
//! take.

use std::time::Duration;

use chainbot_abi::{DrainExt, Health, MetricsExt, ReconfigureExt, Status, name};
use serde_json::Value;

use crate::validate::arguments::{EventArgs, Field, wrong_texts};
use crate::validate::bench::{Answer, Bench, Calls, Room, STOP_MS};
use crate::validate::ledger;
use crate::validate::offered::{Drain, Metrics, Reconfigure};
use crate::validate::record::{expect, fail, skip, warn};
use crate::validate::routes;
use crate::validate::strict;
use crate::validate::surroundings::{Surroundings, settles};
use crate::wire::state_name;

/// How long a module may still be busy with what it must not do after cleanup.
const AFTER_CLEANUP: Duration = Duration::from_millis(150);
/// Longest wait for requests of an exercise, beyond their own time.
pub const GRACE: Duration = Duration::from_secs(2);

/// One life with a look at the process after every phase.
pub fn life(bench: &Bench) {
    let mut before = bench.before_load.clone();
    let mut look = |phase: &str| {
        let now = Surroundings::now();
        now.compare(&before, phase);
        before = now;
    };
    look("loading the library");
    bench.describe();
    look("describe");
    let Some(subject) = bench.subject() else {
        return fail("life", "`initialize` refuses the given configuration; give one with --config or --set");
    };
    let calls = subject.calls();
    look("initialize");
    let answer = subject.start();
    if !expect("life", answer.is_ok(), || format!("`start`: {}", answer.show())) {
        subject.cleanup();
        return;
    }
    look("start");
    extensions(bench, calls);
    look("get_extension");
    used(bench, calls);
    look("the figures and the change of the configuration");
    for topic in routes::topics(bench) {
        let answer = calls.event(&EventArgs::new(&topic, r#"{"validate":true}"#));
        expect("life", matches!(answer.status, Status::OK | Status::BUSY), || {
            format!("an event of `{topic}`: {}", answer.show())
        });
    }
    look("handle_event");
    for request in routes::requests(bench) {
        taken("life", &calls.webhook(&request));
    }
    ledger::wait(0, GRACE);
    look("handle_webhook");
    if let Some(drain) = Drain::of(calls) {
        for answer in [drain.begin(calls, STOP_MS), drain.export(calls).0, drain.cancel(calls)] {
            expect("life", answer.is_ok(), || format!("`{}`: {}", answer.call, answer.show()));
        }
        look("a drain and its way back");
    }
    // Wrong arguments with little room: what a careless copy of the message overruns.
    for cap in [0, 1, 2, 3, 5, 8, 13, 21, 34] {
        calls.room(Room::Bytes(cap)).null_event();
        calls.room(Room::Bytes(cap)).start();
    }
    calls.room(Room::Nobody).null_event();
    let answer = subject.stop();
    expect("life", answer.is_ok(), || format!("`stop`: {}", answer.show()));
    look("stop");
    let answer = subject.cleanup();
    expect("life", answer.is_ok(), || format!("`cleanup`: {}", answer.show()));
    look("cleanup");
    std::thread::sleep(AFTER_CLEANUP);
    look("the time after cleanup");
}

/// What the extensions have for an instance at work, with right arguments.
fn used(bench: &Bench, calls: Calls<'_>) {
    let mut answers = Vec::new();
    answers.extend(Metrics::of(calls).map(|metrics| metrics.snapshot(calls).0));
    if let Some(reconfigure) = Reconfigure::of(calls) {
        let config = Field::text(bench.config.to_string());
        answers.extend([
            reconfigure.check(calls, &config),
            reconfigure.apply(calls, &config),
            reconfigure.snapshot(calls).0,
        ]);
    }
    for answer in answers {
        expect("life", answer.is_ok(), || format!("`{}`: {}", answer.call, answer.show()));
    }
}

/// A request with right arguments is taken, or there is no room.
pub fn taken(check: &'static str, answer: &Answer) -> bool {
    expect(check, matches!(answer.status, Status::OK | Status::BUSY), || {
        format!("`{}` with right arguments: {}", answer.call, answer.show())
    }) && answer.is_ok()
}

/// What the manifest promises is there, and nothing else.
fn extensions(bench: &Bench, calls: Calls<'_>) {
    let promised: Vec<&str> =
        bench.manifest["extensions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for id in &promised {
        let (_, found) = calls.extension(&Field::text(*id));
        if expect("extensions-served", !found.is_null(), || {
            format!("the manifest names `{id}`, get_extension gives null")
        }) {
            // SAFETY: the id fixes the type; it is valid until cleanup.
            if let Some(missing) = unsafe { missing_function(id, found) } {
                fail("extensions-served", format!("`{missing}` of `{id}` is null"));
            }
        }
    }
    for id in [name::EXT_METRICS, name::EXT_DRAIN, name::EXT_RECONFIGURE] {
        if !promised.contains(&id) && !calls.extension(&Field::text(id)).1.is_null() {
            warn("extensions-served", format!("`{id}` is served, and the manifest does not name it"));
        }
    }
    let unknown = [
        "",
        "alex.nothing/1",
        "alex.metrics",
        "alex.metrics/",
        "alex.metrics/2",
        "ALEX.METRICS/1",
        "alex.drain/10",
    ];
    let unknown = unknown.map(|id| (id.to_owned(), Field::text(id)));
    let wrong = wrong_texts().map(|(what, field)| (what.to_owned(), field));
    for (what, id) in unknown.into_iter().chain(wrong) {
        let (_, found) = calls.extension(&id);
        expect("extension-unknown", found.is_null(), || format!("get_extension gave {found:p} for `{what}`"));
    }
}

/// # Safety
/// `found` is the extension of this id.
unsafe fn missing_function(id: &str, found: *const std::ffi::c_void) -> Option<&'static str> {
    // SAFETY: the caller's promise.
    unsafe {
        match id {
            name::EXT_METRICS => (*found.cast::<MetricsExt>()).snapshot.is_none().then_some("snapshot"),
            name::EXT_RECONFIGURE => {
                let ext = &*found.cast::<ReconfigureExt>();
                [
                    ("check", ext.check.is_none()),
                    ("apply", ext.apply.is_none()),
                    ("snapshot", ext.snapshot.is_none()),
                ]
                .into_iter()
                .find_map(|(name, missing)| missing.then_some(name))
            }
            name::EXT_DRAIN => {
                let ext = &*found.cast::<DrainExt>();
                [
                    ("begin", ext.begin.is_none()),
                    ("cancel", ext.cancel.is_none()),
                    ("export_state", ext.export_state.is_none()),
                    ("import_state", ext.import_state.is_none()),
                ]
                .into_iter()
                .find_map(|(name, missing)| missing.then_some(name))
            }
            _ => None,
        }
    }
}

/// What health tells in every state, with wrong arguments, and to many threads.
pub fn health(bench: &Bench) {
    let Some(subject) = bench.subject() else {
        return fail("health-fields", "`initialize` refuses the given configuration");
    };
    let calls = subject.calls();
    look(calls, Health::STATE_INITIALIZED);
    let answer = subject.start();
    if !expect("health-fields", answer.is_ok(), || format!("`start`: {}", answer.show())) {
        subject.cleanup();
        return skip("health-threads", "the module does not start");
    }
    look(calls, Health::STATE_STARTED);
    for (what, answer) in [
        ("a null pointer", calls.null_health()),
        ("a struct_size that is too small", calls.health_of(-8).0),
        ("a struct_size of 0", calls.health_of(-(size_of::<Health>() as i32)).0),
    ] {
        expect("health-fields", answer.status == Status::INVALID, || {
            format!("`health` with {what} returned {}, not INVALID", answer.show())
        });
    }
    let (answer, _) = calls.health_of(64);
    expect("health-fields", answer.is_ok(), || {
        format!("`health` with a larger struct_size, as of a later host: {}", answer.show())
    });
    let handle = subject.handle;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                for _ in 0..100 {
                    let (answer, health) = bench.on(handle).health();
                    let good =
                        answer.is_ok() && health.state == Health::STATE_STARTED && health.score.is_finite();
                    if !expect("health-threads", good, || {
                        format!("`health` from four threads: {}, {}", answer.show(), state_name(health.state))
                    }) {
                        return;
                    }
                }
            });
        }
        for topic in routes::topics(bench) {
            calls.event(&EventArgs::new(&topic, "{}"));
        }
    });
    subject.stop();
    look(calls, Health::STATE_STOPPED);
    subject.cleanup();
}

/// Checks every field, in a state that is known.
fn look(calls: Calls<'_>, state: u32) {
    let (answer, health) = calls.health();
    let word = state_name(state);
    if !expect("health-fields", answer.is_ok(), || format!("`health` while {word}: {}", answer.show())) {
        return;
    }
    expect("health-fields", health.state == state, || {
        format!("the state is {} ({}), not {word}", health.state, state_name(health.state))
    });
    expect("health-score", (0.0..=1.0).contains(&health.score), || {
        format!("the score is {} while {word}; it is a number from 0 to 1", health.score)
    });
    let len = health.detail_len as usize;
    if expect("health-fields", len <= health.detail.len(), || {
        format!("detail_len is {len}, over {}", health.detail.len())
    }) {
        expect("health-fields", std::str::from_utf8(&health.detail[..len]).is_ok(), || {
            "the detail is not UTF-8, or cut within a character".to_owned()
        });
    }
    expect("health-fields", health.struct_size as usize == size_of::<Health>(), || {
        "struct_size, which the caller sets, was changed".to_owned()
    });
    let threads = health.live_threads;
    if state != Health::STATE_STARTED {
        let quiet = settles(Duration::from_secs(1), || calls.health().1.live_threads == 0);
        if !quiet {
            warn("health-fields", format!("live_threads is {threads} while {word}"));
        }
        expect("health-fields", health.uptime_ms == 0, || {
            format!("uptime_ms is {} while {word}", health.uptime_ms)
        });
    }
}

/// The budget of a call that must not block, and where it is broken.
const WARN_OVER: Duration = Duration::from_millis(5);
const FAIL_OVER: Duration = Duration::from_millis(250);
/// Calls of each kind that are timed.
const TIMED: usize = 100;

/// Times of the calls that must not block. One slow call may be the machine's; a second one is the module's.
pub fn time(bench: &Bench) {
    let Some(subject) = bench.started("call-time") else { return };
    let calls = subject.calls();
    let topic = routes::topics(bench).swap_remove(0);
    let event = EventArgs::new(&topic, r#"{"validate":true}"#);
    let requests = routes::requests(bench);
    let id = Field::text(name::EXT_METRICS);
    timed(|_| calls.health().0);
    timed(|_| calls.extension(&id).0);
    timed(|_| calls.event(&event));
    timed(|at| {
        // Beside the clock: a full queue would only time its refusal.
        ledger::wait(8, Duration::from_millis(100));
        calls.webhook(&requests[at % requests.len()])
    });
    ledger::wait(0, GRACE);
    subject.finish("call-time");
}

fn timed(mut call: impl FnMut(usize) -> Answer) {
    let (mut slow, mut broken) = (0, 0);
    for at in 0..TIMED {
        let answer = call(at);
        slow += usize::from(answer.took > WARN_OVER);
        broken += usize::from(answer.took > FAIL_OVER);
        if broken == 2 {
            let ms = answer.took.as_millis();
            return fail(
                "call-time",
                format!("`{}` took {ms} ms; it must not block, and 250 ms is the end", answer.call),
            );
        }
        if at + 1 == TIMED && slow > TIMED / 20 {
            warn("call-time", format!("`{}` took over 5 ms {slow} times of {TIMED}", answer.call));
        }
    }
}

/// The mood of the host is as at the beginning, whatever an exercise did.
pub fn willing() {
    strict::set_mood(strict::Mood::Willing);
}
