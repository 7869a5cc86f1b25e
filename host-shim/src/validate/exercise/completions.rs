//! Requests and their answers: each once and in its time, also when there are more than the module takes.

use std::time::Duration;

use chainbot_abi::{Health, Status};

use super::life::{GRACE, taken};
use crate::validate::arguments::{EventArgs, Field, RequestArgs};
use crate::validate::bench::Bench;
use crate::validate::ledger;
use crate::validate::record::{expect, warn};
use crate::validate::routes;

/// Requests handed over, some of them to be refused.
const REQUESTS: usize = 200;
/// Calls of each kind in the flood: over the queue of any module that bounds it by the header's advice.
const FLOOD: usize = 4_000;

/// Requests of every route, from two threads, among them wrong ones.
pub fn completions(bench: &Bench) {
    let Some(subject) = bench.started("completion-once") else { return };
    let requests = routes::requests(bench);
    let handle = subject.handle;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let requests = &requests;
            scope.spawn(move || {
                let calls = bench.on(handle);
                for at in 0..REQUESTS / 2 {
                    if ledger::wait(32, GRACE) > 32 {
                        return;
                    }
                    taken("completion-once", &calls.webhook(&requests[at % requests.len()]));
                    if at % 8 == 0 {
                        calls.webhook(&RequestArgs { headers: Field::text("["), ..requests[0].clone() });
                        calls.webhook(&RequestArgs { body: Field::Null(4), ..requests[0].clone() });
                    }
                }
            });
        }
    });
    expect_all_done("completion-once");
    subject.finish("completion-once");
}

/// Every accepted request was completed, after its own time and a grace.
fn expect_all_done(check: &'static str) {
    let limit = Duration::from_secs(1) + GRACE;
    let open = ledger::wait(0, limit);
    expect(check, open == 0, || {
        let accepted = ledger::accepted_count();
        format!(
            "{open} of {accepted} accepted requests were not completed {} ms after the last; their timeout_ms is 1000",
            limit.as_millis()
        )
    });
}

/// More than the module takes. BUSY is the right answer, a lost request the wrong one.
pub fn pressure(bench: &Bench) {
    let Some(subject) = bench.started("pressure") else { return };
    let calls = subject.calls();
    let topic = routes::topics(bench).swap_remove(0);
    let event = EventArgs::new(&topic, &format!("\"{}\"", "x".repeat(1_000)));
    let request = routes::requests(bench).swap_remove(0);
    let mut busy = 0;
    for at in 0..FLOOD {
        let answer = if at % 2 == 0 { calls.event(&event) } else { calls.webhook(&request) };
        match answer.status {
            Status::OK => {}
            Status::BUSY => {
                busy += 1;
                expect("pressure", !answer.message.is_empty(), || {
                    format!("`{}` returned BUSY without a message", answer.call)
                });
                if busy >= 64 {
                    break;
                }
            }
            _ => {
                expect("pressure", false, || format!("`{}` in a flood: {}", answer.call, answer.show()));
                break;
            }
        }
    }
    expect_all_done("pressure");
    let drained =
        crate::validate::surroundings::settles(Duration::from_secs(10), || calls.health().1.queue_depth == 0);
    if !drained {
        warn(
            "pressure",
            format!("queue_depth is {} ten seconds after the flood", calls.health().1.queue_depth),
        );
    }
    let answer = calls.event(&event);
    expect("pressure", answer.is_ok(), || format!("an event after the flood: {}", answer.show()));
    expect("pressure", calls.state() == Health::STATE_STARTED, || {
        "the instance is not started any more".to_owned()
    });
    subject.finish("pressure");
}
