//! What a server is asked in a minute, and when it is left alone.

use super::*;
use crate::limits::{MODEL_BREAK_S_MIN, MODEL_FAILURES_MAX};

fn limited(limits: ProviderLimits, turns: usize) -> Bench {
    let mut settings = settings(&[("home", json!(vec![said("yes"); turns]))]);
    settings.providers[0].limits = limits;
    Bench::new(settings, egress_to(&[]), Keys::default())
}

#[tokio::test]
async fn requests_and_tokens_of_a_minute_wait_in_turn() {
    let bench = limited(ProviderLimits { requests_per_minute: Some(2), ..ProviderLimits::default() }, 9);
    for _ in 0..3 {
        bench.ask(&request("hi")).await.unwrap();
    }
    assert_eq!(bench.waits(), [Duration::from_secs(30)]);
    let pinned = bench.pinned("home").await;
    let error = bench.models.call(&pinned, &request("hi"), Duration::from_secs(10), &mut ()).await;
    let error = error.expect_err("30 s are over the time that is left");
    assert_eq!((error.class, error.usage), (ModelErrorClass::RateLimited, None));
    assert_eq!(bench.waits(), []);

    // 60 tokens are reserved for each, 15 are used: what is not used is given back.
    let bench = limited(ProviderLimits { tokens_per_minute: Some(120), ..ProviderLimits::default() }, 9);
    for _ in 0..4 {
        bench.ask(&request("hi")).await.unwrap();
    }
    assert_eq!(bench.waits(), []);
    for _ in 0..4 {
        bench.ask(&request("hi")).await.unwrap();
    }
    assert!(!bench.waits().is_empty());
}

#[tokio::test]
async fn a_server_that_fails_again_and_again_is_left_alone_and_tried_later() {
    let failures = vec![json!({ "error": "overloaded" }); MODEL_FAILURES_MAX as usize];
    let turns: Vec<Value> = failures.into_iter().chain([said("back")]).collect();
    let bench = Bench::scripts(&[("home", json!(turns)), ("spare", json!(vec![said("here"); 9]))]);
    for _ in 0..3 {
        assert_eq!(bench.ask(&request("hi")).await.unwrap().model, "spare");
    }
    let failed = [("overloaded", u64::from(MODEL_FAILURES_MAX))];
    assert_eq!(bench.counts("home").0, failed, "the third call did not reach it");
    assert!(matches!(bench.models.list()[0].breaker, BreakerState::Open(_)));
    let (score, why) = bench.models.component();
    assert!(score < 1.0 && why.unwrap().contains("home"));
    // A reload of the same configuration mends nothing.
    let same = bench.models.table().settings.clone();
    bench.models.set(same, Vec::new()).unwrap();
    assert_eq!(bench.ask(&request("hi")).await.unwrap().model, "spare");
    assert_eq!(bench.counts("home").0, failed);
    bench.clock.advance(Duration::from_secs(MODEL_BREAK_S_MIN));
    assert_eq!(bench.ask(&request("hi")).await.unwrap().reply.text, "back");
    assert_eq!((bench.models.list()[0].breaker, bench.models.component().0), (BreakerState::Closed, 1.0));
}

#[tokio::test]
async fn a_wrong_key_or_request_says_nothing_against_the_server() {
    let turns = vec![json!({ "error": "auth" }); 2 * MODEL_FAILURES_MAX as usize];
    let bench = Bench::scripts(&[("home", json!(turns))]);
    for _ in 0..2 * MODEL_FAILURES_MAX {
        assert_eq!(bench.ask(&request("hi")).await.expect_err("auth").class, ModelErrorClass::Auth);
    }
}
