//! The extensions of 1.0, when the module offers them.

use std::time::Duration;

use chainbot_abi::{DrainExt, Health, MetricsExt, ReconfigureExt, Status, name};

use super::life::GRACE;
use crate::validate::arguments::{EventArgs, Field};
use crate::validate::bench::{Bench, Calls, Room, STOP_MS, Subject};
use crate::validate::ledger;
use crate::validate::record::{expect, fail, skip};
use crate::validate::routes;
use crate::wire::state_name;

/// Uses each extension that is there.
pub fn extensions(bench: &Bench) {
    let all =
        [("metrics", name::EXT_METRICS), ("drain", name::EXT_DRAIN), ("reconfigure", name::EXT_RECONFIGURE)];
    let Some(subject) = bench.started("metrics") else { return };
    let found = all.map(|(_, id)| subject.calls().extension(&Field::text(id)).1);
    for ((check, id), found) in all.iter().zip(found) {
        if found.is_null() {
            skip(check, format!("the module does not offer {id}"));
        }
    }
    // SAFETY: each id fixes the type of what it gives, which is valid until cleanup.
    let (metrics, drain, reconfigure) = unsafe {
        (
            found[0].cast::<MetricsExt>().as_ref(),
            found[1].cast::<DrainExt>().as_ref(),
            found[2].cast::<ReconfigureExt>().as_ref(),
        )
    };
    if let Some(snapshot) = metrics.and_then(|ext| ext.snapshot) {
        // SAFETY: a function of the module with a sink that is good for the call. So below.
        let (answer, text) = subject
            .calls()
            .room(Room::Nobody)
            .written("snapshot", |handle, sink, _| unsafe { snapshot(handle, sink) });
        expect("metrics", answer.is_ok(), || format!("`snapshot`: {}", answer.show()));
        expect("metrics", answer.took < Duration::from_millis(250), || "`snapshot` blocks".to_owned());
        let text = String::from_utf8_lossy(&text).into_owned();
        expect("metrics", text.ends_with("# EOF\n"), || {
            "what `snapshot` writes does not end with `# EOF`, as OpenMetrics does".to_owned()
        });
    }
    if let Some(ext) = reconfigure {
        checked(bench, subject.calls(), ext);
    }
    match drain {
        Some(ext) => drained(bench, &subject, ext),
        None => subject.finish("metrics"),
    }
}

/// `check` judges and changes nothing.
fn checked(bench: &Bench, calls: Calls<'_>, ext: &ReconfigureExt) {
    let Some(check) = ext.check else { return };
    let good = bench.config.to_string();
    for (text, expected) in [(good.as_str(), Status::OK), ("{", Status::INVALID), ("\u{0}", Status::INVALID)]
    {
        let mut loan = crate::validate::pages::Loan::default();
        let lent = Field::text(text).lend(&mut loan);
        // SAFETY: as above.
        let answer = calls.extended("reconfigure.check", |handle, err| unsafe { check(handle, lent, err) });
        expect("reconfigure", answer.status == expected, || {
            format!("`check` of {text:.60?}: {}", answer.show())
        });
        let state = calls.state();
        expect("reconfigure", state == Health::STATE_STARTED, || {
            format!("the state is {} after `check`", state_name(state))
        });
    }
}

/// Started, draining, started again, draining, stopped.
fn drained(bench: &Bench, subject: &Subject<'_>, ext: &DrainExt) {
    let (Some(begin), Some(cancel), Some(export)) = (ext.begin, ext.cancel, ext.export_state) else {
        return subject.finish("drain");
    };
    let calls = subject.calls();
    let is = |state, after: &str| {
        let now = calls.state();
        expect("drain", now == state, || format!("the state is {} after `{after}`", state_name(now)));
    };
    // SAFETY: as above.
    let begin = || calls.extended("drain.begin", |handle, err| unsafe { begin(handle, STOP_MS, err) });
    // SAFETY: as above.
    let cancel = || calls.extended("drain.cancel", |handle, err| unsafe { cancel(handle, err) });
    let answer = cancel();
    expect("drain", answer.status == Status::STATE, || format!("`cancel` while started: {}", answer.show()));
    for request in routes::requests(bench) {
        calls.webhook(&request);
    }
    for round in 0..2 {
        let answer = begin();
        if !expect("drain", answer.is_ok(), || format!("`begin`: {}", answer.show())) {
            break;
        }
        is(Health::STATE_DRAINING, "begin");
        expect("drain", ledger::open_count() == 0, || {
            "`begin` returned OK and left requests open".to_owned()
        });
        for answer in
            [calls.event(&EventArgs::new("validate.event", "{}")), calls.webhook(&routes::requests(bench)[0])]
        {
            expect("drain", answer.status == Status::BUSY, || {
                format!("`{}` while draining returned {}, not BUSY", answer.call, answer.show())
            });
        }
        for answer in [calls.start(), calls.cleanup()] {
            expect("drain", answer.status == Status::STATE, || {
                format!("`{}` while draining returned {}, not STATE", answer.call, answer.show())
            });
        }
        let answer = begin();
        expect("drain", answer.is_ok(), || format!("`begin` while draining: {}", answer.show()));
        // SAFETY: as above.
        let (answer, state) =
            calls.written("drain.export_state", |handle, sink, err| unsafe { export(handle, sink, err) });
        let json = serde_json::from_slice::<serde_json::Value>(&state).is_ok();
        expect("drain", answer.is_ok() && json, || {
            format!("`export_state`: {}, JSON: {json}", answer.show())
        });
        if round == 0 {
            let answer = cancel();
            if !expect("drain", answer.is_ok(), || format!("`cancel`: {}", answer.show())) {
                break;
            }
            is(Health::STATE_STARTED, "cancel");
            let answer = calls.webhook(&routes::requests(bench)[0]);
            expect("drain", answer.is_ok(), || format!("a request after `cancel`: {}", answer.show()));
            ledger::wait(0, GRACE);
        }
    }
    let answer = subject.stop();
    if !answer.is_ok() {
        fail("drain", format!("`stop` while draining: {}", answer.show()));
    }
    subject.cleanup();
}
