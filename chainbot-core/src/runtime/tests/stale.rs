//! Ends of effects that are told too late.

use super::*;
use crate::engine::Input;
use crate::engine::decide::Failure;
use crate::model::{Place, StepError, class};
use crate::runtime::cell::Mail;

const TWICE: &str = "  - { id: a, type: api_call, timeout: 10m, retry: { attempts: 2, delay: 10s, backoff: fixed, jitter: none }, \
    config: { url: \"SERVER/x\", method: GET } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_of_an_earlier_try_leaves_the_try_that_is_under_way_to_a_cancel() {
    let gate = Arc::new(Semaphore::new(0));
    let waits = gate.clone();
    let bench = Bench::answering(move |number, _| match number {
        0 => Act::Reply(reply(503, "", "")),
        _ => Act::Await(waits.clone(), reply(200, "", "")),
    })
    .await;
    bench.workflow("twice", TWICE).await;
    let run = bench.start("twice").await;
    bench.until(run, |body| matches!(body, RecordBody::AttemptFailed { .. })).await;
    bench.clock.advance(Duration::from_secs(10));
    bench.server.until(|counts| counts.requests == 2 && counts.in_flight == 1).await;
    let cell = bench.runtime.live(run).expect("it is at work");
    let place = Place { node: crate::id::NodeId(0), path: Vec::new() };
    let error = StepError::new(class::CUT, &crate::error::code::run::STEP_INVALID, "told again");
    let result = Err(Failure { error, retry_after: None, status: None });
    bench.runtime.post(&cell, Mail::Input(Input::EffectDone { place, attempt: 1, result }));
    // Read after it.
    bench.handle.signal(run, "anything", Value::Null, None).await.unwrap();
    bench.handle.pause(run, "a look").await.unwrap();
    assert_ne!(bench.handle.run(run).await.unwrap().status, RunStatus::Paused, "its effect is under way");
    bench.handle.cancel(run, "enough").await.unwrap();
    bench.clock.advance(Duration::from_secs(11));
    assert_eq!(bench.ended(run).await.status, RunStatus::Cancelled);
    let given_up = async {
        while bench.handle.counts().effects > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, given_up).await.expect("the effect is given up with its run");
    bench.end().await;
}
