//! A host that refuses, fails or is slow.

use chainbot_abi::{Health, Status};

use super::life::{GRACE, willing};
use crate::validate::arguments::EventArgs;
use crate::validate::bench::{Answer, Bench};
use crate::validate::ledger;
use crate::validate::record::{expect, fail};
use crate::validate::routes;
use crate::validate::strict::{self, Mood};

/// Services fail while a module starts, works and stops; then they are slow.
pub fn hosting(bench: &Bench) {
    for mood in [Mood::Busy, Mood::Failing] {
        let Some(subject) = bench.subject() else {
            return fail("host-refusals", "`initialize` refuses the given configuration");
        };
        let calls = subject.calls();
        strict::set_mood(mood);
        let mut answer = subject.start();
        if !answer.is_ok() {
            let state = calls.state();
            expect("host-refusals", state == Health::STATE_INITIALIZED, || {
                format!("`start` with {mood:?} services failed, and the state is {state}, not as before")
            });
            expect("host-refusals", !answer.message.is_empty(), || {
                "`start` failed without a message".to_owned()
            });
            willing();
            answer = subject.start();
        }
        if expect("host-refusals", answer.is_ok(), || {
            format!("`start` after services were {mood:?}: {}", answer.show())
        }) {
            strict::set_mood(mood);
            work(bench, subject.handle);
            let state = calls.state();
            expect("host-refusals", state == Health::STATE_STARTED, || {
                format!("the state is {state} while services are {mood:?}, not started")
            });
            let answer = subject.stop();
            expect("host-refusals", answer.is_ok(), || {
                format!("`stop` while services are {mood:?}: {}", answer.show())
            });
        }
        willing();
        subject.cleanup();
    }
    let Some(subject) = bench.started("host-slow") else { return };
    strict::set_mood(Mood::Slow);
    let late: Vec<Answer> =
        work(bench, subject.handle).into_iter().filter(|answer| answer.took >= strict::SLOW / 2).collect();
    // One may have met a lock; two of a few waited for the service.
    expect("host-slow", late.len() < 2, || {
        format!("`{}` took {} ms while services are slow", late[0].call, late[0].took.as_millis())
    });
    willing();
    subject.finish("host-slow");
}

fn work(bench: &Bench, handle: usize) -> Vec<Answer> {
    let calls = bench.on(handle);
    let topic = routes::topics(bench).swap_remove(0);
    let mut answers = Vec::new();
    for request in routes::requests(bench).iter().take(8) {
        answers.push(calls.event(&EventArgs::new(&topic, "{}")));
        answers.push(calls.webhook(request));
        answers.push(calls.health().0);
    }
    for answer in &answers {
        expect("host-refusals", matches!(answer.status, Status::OK | Status::BUSY), || {
            format!("`{}` while services fail or are slow: {}", answer.call, answer.show())
        });
    }
    let open = ledger::wait(0, GRACE * 4);
    expect("host-refusals", open == 0, || {
        format!("{open} requests were not completed while services fail or are slow")
    });
    answers
}
