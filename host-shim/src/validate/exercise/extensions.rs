//! The extensions of 1.0, when the module offers them: figures, hand-over, change of the configuration.

use std::time::Duration;

use chainbot_abi::{Health, Status};
use serde_json::Value;

use super::life::GRACE;
use crate::validate::arguments::{EventArgs, Field};
use crate::validate::bench::{Answer, Bench, Calls, STOP_MS, Subject};
use crate::validate::ledger;
use crate::validate::offered::{Drain, Metrics, Reconfigure};
use crate::validate::record::{self, expect, fail, skip};
use crate::validate::routes;
use crate::wire::state_name;

/// Requests that a drain meets under way, and as many events.
const UNDER_WAY: usize = 32;
/// The end of a call that must not block.
const BLOCKS: Duration = Duration::from_millis(250);

/// Uses each extension that is there.
pub fn extensions(bench: &Bench) {
    let Some(subject) = bench.subject() else {
        return fail("metrics", "`initialize` refuses the given configuration");
    };
    let calls = subject.calls();
    let (metrics, drain, reconfigure) = (Metrics::of(calls), Drain::of(calls), Reconfigure::of(calls));
    for (check, is_there) in
        [("metrics", metrics.is_some()), ("drain", drain.is_some()), ("reconfigure", reconfigure.is_some())]
    {
        if !is_there {
            skip(check, format!("the module does not offer the whole of alex.{check}/1"));
        }
    }
    before_start(calls, drain, reconfigure);
    let answer = subject.start();
    if !expect("metrics", answer.is_ok(), || format!("`start`: {}", answer.show())) {
        subject.cleanup();
        return;
    }
    if let Some(metrics) = metrics {
        figures(calls, metrics);
    }
    if let Some(reconfigure) = reconfigure {
        reconfigured(bench, calls, reconfigure);
    }
    match drain {
        Some(drain) => drained(bench, subject, drain, reconfigure),
        None => subject.finish("metrics"),
    }
}

/// STATE with a message, and nothing has changed.
fn refused(check: &'static str, calls: Calls<'_>, answer: &Answer, state: u32) {
    let word = state_name(state);
    expect(check, answer.status == Status::STATE && !answer.message.is_empty(), || {
        format!("`{}` while {word} returned {}, not STATE with a message", answer.call, answer.show())
    });
    is_in(check, calls, state, answer.call);
}

fn is_in(check: &'static str, calls: Calls<'_>, state: u32, after: &str) -> bool {
    let now = calls.state();
    expect(check, now == state, || {
        format!("the state is {} after `{after}`, not {}", state_name(now), state_name(state))
    })
}

fn before_start(calls: Calls<'_>, drain: Option<Drain>, reconfigure: Option<Reconfigure>) {
    let state = Health::STATE_INITIALIZED;
    if let Some(drain) = drain {
        record::at("drain");
        for answer in [drain.begin(calls, STOP_MS), drain.cancel(calls), drain.export(calls).0] {
            refused("drain", calls, &answer, state);
        }
    }
    if let Some(reconfigure) = reconfigure {
        record::at("reconfigure");
        refused("reconfigure", calls, &reconfigure.apply(calls, &Field::text("{}")), state);
    }
}

fn figures(calls: Calls<'_>, metrics: Metrics) {
    record::at("metrics");
    let (answer, text) = metrics.snapshot(calls);
    expect("metrics", answer.is_ok(), || format!("`snapshot`: {}", answer.show()));
    expect("metrics", answer.took < BLOCKS, || "`snapshot` blocks".to_owned());
    let text = String::from_utf8_lossy(&text).into_owned();
    expect("metrics", text.ends_with("# EOF\n"), || {
        "what `snapshot` writes does not end with `# EOF`, as OpenMetrics does".to_owned()
    });
}

/// `check` judges and changes nothing; `apply` refuses what `check` refuses.
fn reconfigured(bench: &Bench, calls: Calls<'_>, ext: Reconfigure) {
    let check = "reconfigure";
    record::at(check);
    let shown = || {
        let (answer, text) = ext.snapshot(calls);
        let is_json = matches!(serde_json::from_slice(&text), Ok(Value::Object(_)));
        expect(check, answer.is_ok() && is_json, || {
            format!("`snapshot`: {}, a JSON object: {is_json}", answer.show())
        });
        expect(check, answer.took < BLOCKS, || "`snapshot` blocks".to_owned());
        text
    };
    let before = shown();
    let judged = |answer: &Answer, text: &Field, expected: Status| {
        expect(check, answer.status == expected, || {
            format!("`{}` of `{:.60}` returned {}", answer.call, text.show(), answer.show())
        });
        expect(check, answer.is_ok() || !answer.message.is_empty(), || {
            format!("`{}` of `{:.60}` gave no message", answer.call, text.show())
        });
        is_in(check, calls, Health::STATE_STARTED, answer.call);
    };
    let good = Field::text(bench.config.to_string());
    let nonsense = [
        Field::text("{"),
        Field::text("no JSON"),
        Field::text("\u{0}"),
        Field::Null(3),
        Field::Bytes(b"{\"a\":\"\x80\"}".to_vec()),
    ];
    judged(&ext.check(calls, &good), &good, Status::OK);
    for text in &nonsense {
        judged(&ext.check(calls, text), text, Status::INVALID);
        judged(&ext.apply(calls, text), text, Status::INVALID);
    }
    expect(check, shown() == before, || {
        "a `check`, or an `apply` that was refused, changed what `snapshot` writes".to_owned()
    });
    judged(&ext.apply(calls, &good), &good, Status::OK);
}

/// Brought to rest, within two deadlines at most.
fn rests(calls: Calls<'_>, drain: Drain) -> bool {
    let mut answer = drain.begin(calls, STOP_MS);
    if answer.status == Status::TIMEOUT {
        answer = drain.begin(calls, STOP_MS);
    }
    expect("drain", answer.is_ok(), || {
        format!("`begin` does not come to rest within {} s: {}", STOP_MS / 500, answer.show())
    })
}

/// Started, draining, started again, draining, stopped; and what was exported goes into another instance.
fn drained(bench: &Bench, subject: Subject<'_>, ext: Drain, reconfigure: Option<Reconfigure>) {
    let check = "drain";
    record::at(check);
    let calls = subject.calls();
    refused(check, calls, &ext.cancel(calls), Health::STATE_STARTED);
    refused(check, calls, &ext.export(calls).0, Health::STATE_STARTED);
    refused(check, calls, &ext.import(calls, &Field::text("{}")), Health::STATE_STARTED);
    let (requests, topic) = (routes::requests(bench), routes::topics(bench).swap_remove(0));
    let (event, request) = (EventArgs::new(&topic, "{}"), &requests[0]);
    let mut exported = None;
    for round in 0..2 {
        let cancelled = ledger::cancelled_count();
        for at in 0..UNDER_WAY {
            calls.webhook(&requests[at % requests.len()]);
            calls.event(&event);
        }
        if round == 0 {
            // Too short for whoever has something to bring to rest.
            let answer = ext.begin(calls, 1);
            let is_told = answer.is_ok() || (answer.status == Status::TIMEOUT && !answer.message.is_empty());
            expect(check, is_told, || {
                format!("`begin` within 1 ms returned {}, not OK or TIMEOUT with what is left", answer.show())
            });
        }
        if !rests(calls, ext) || !is_in(check, calls, Health::STATE_DRAINING, "begin") {
            break;
        }
        let (open, given_up) = (ledger::open_count(), ledger::cancelled_count() - cancelled);
        expect(check, open + given_up == 0, || {
            format!(
                "`begin` returned OK, {open} requests are open and {given_up} were completed with CANCELLED"
            )
        });
        let queued = calls.health().1.queue_depth;
        expect(check, queued == 0, || format!("`begin` returned OK and queue_depth is {queued}"));
        for answer in [calls.event(&event), calls.webhook(request)] {
            expect(check, answer.status == Status::BUSY, || {
                format!("`{}` while draining returned {}, not BUSY", answer.call, answer.show())
            });
        }
        let nothing = Field::text("{}");
        let mut others = vec![calls.start(), calls.cleanup(), ext.import(calls, &nothing)];
        others.extend(reconfigure.map(|reconfigure| reconfigure.apply(calls, &nothing)));
        others.iter().for_each(|answer| refused(check, calls, answer, Health::STATE_DRAINING));
        let answer = ext.begin(calls, STOP_MS);
        expect(check, answer.is_ok(), || format!("`begin` when drained: {}", answer.show()));
        let (answer, state) = ext.export(calls);
        let is_json = serde_json::from_slice::<Value>(&state).is_ok();
        expect(check, answer.is_ok() && is_json, || {
            format!("`export_state`: {}, JSON: {is_json}", answer.show())
        });
        exported = Some(Field::Bytes(state));
        if round == 0 {
            let answer = ext.cancel(calls);
            let is_back = expect(check, answer.is_ok(), || format!("`cancel`: {}", answer.show()));
            if !is_back || !is_in(check, calls, Health::STATE_STARTED, "cancel") {
                break;
            }
            let answer = calls.webhook(request);
            expect(check, answer.is_ok(), || format!("a request after `cancel`: {}", answer.show()));
            ledger::wait(0, GRACE);
        }
    }
    subject.finish(check);
    if let Some(state) = exported {
        handed_over(bench, &state);
    }
}

/// Another instance takes what the first one wrote, before its start and not after.
fn handed_over(bench: &Bench, state: &Field) {
    let check = "drain";
    let Some(subject) = bench.subject() else { return };
    let calls = subject.calls();
    let Some(ext) = Drain::of(calls) else {
        subject.cleanup();
        return fail(check, "a second instance does not offer alex.drain/1");
    };
    let answer = ext.import(calls, state);
    expect(check, answer.is_ok(), || format!("`import_state` of what was exported: {}", answer.show()));
    is_in(check, calls, Health::STATE_INITIALIZED, "import_state");
    let answer = subject.start();
    if expect(check, answer.is_ok(), || format!("`start` after `import_state`: {}", answer.show())) {
        refused(check, calls, &ext.import(calls, state), Health::STATE_STARTED);
        let answer = subject.stop();
        expect(check, answer.is_ok(), || format!("`stop` of the second instance: {}", answer.show()));
    }
    subject.cleanup();
}
