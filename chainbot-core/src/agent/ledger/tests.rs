//! Accounts of a day: held, settled, given back, refused with whose and how much, and new at midnight. Trees of real tasks are in
//! `tests/suite/budgets.rs`.

use std::time::Duration;

use super::*;
use crate::env::{SeededRandom, VirtualClock};
use crate::store::memory::MemoryStore;
use crate::time::Timestamp;

const MIA: UserId = UserId(uuid::Uuid::from_bytes([1; 16]));
const TOM: UserId = UserId(uuid::Uuid::from_bytes([2; 16]));

fn ledger(limits: DayLimits) -> (Arc<Ledger>, Arc<VirtualClock>) {
    let clock = Arc::new(VirtualClock::at(Timestamp(1_800_000_000_000)));
    let env = Env::new(clock.clone(), Arc::new(SeededRandom::new(1)));
    (Ledger::new(MemoryStore::new(), env, limits), clock)
}

fn most(tokens: u64) -> Most {
    Most { tokens: Some(tokens), cost: None }
}

fn of(agent: u8, owner: Option<UserId>, day: Most) -> Spender {
    Spender { agent: WorkflowId::from([agent; 16]), owner, run: RunId::from([agent; 16]), day }
}

fn tokens(tokens: u64) -> Sum {
    Sum { tokens, cost: 0 }
}

#[tokio::test]
async fn a_call_that_could_take_more_than_is_left_is_not_made() {
    let (ledger, _) = ledger(DayLimits::default());
    let who = of(1, None, most(100));
    let first = ledger.hold(who, tokens(80)).await.unwrap();
    let refused = ledger.hold(who, tokens(21)).await.map(drop).unwrap_err();
    assert_eq!((refused.class.as_str(), refused.code.as_str()), ("budget", "CB-1233"));
    assert!(
        refused.message.contains("80 of 100 tokens are used or held, and the call may take 21"),
        "{refused:?}"
    );
    // What it took is less, and the rest is free again.
    first.settle(tokens(30));
    let second = ledger.hold(who, tokens(70)).await.unwrap();
    drop(second);
    assert!(
        ledger.hold(who, tokens(71)).await.is_err(),
        "a call that failed took nothing, the first took 30"
    );
    assert!(ledger.hold(of(2, None, most(100)), tokens(100)).await.is_ok(), "another agent has its own");
}

#[tokio::test]
async fn owners_and_the_house_have_bounds_of_their_own() {
    let limits = DayLimits { house: most(150), owner: most(100) };
    let (ledger, _) = ledger(limits);
    ledger.hold(of(1, Some(MIA), Most::default()), tokens(60)).await.unwrap().settle(tokens(60));
    let why = |error: StepError| error.message;
    let refused = ledger.hold(of(2, Some(MIA), Most::default()), tokens(41)).await.map(drop).unwrap_err();
    assert!(why(refused).contains("this owner's agents today"));
    ledger.hold(of(3, Some(TOM), Most::default()), tokens(80)).await.unwrap().settle(tokens(80));
    let refused = ledger.hold(of(4, None, Most::default()), tokens(11)).await.map(drop).unwrap_err();
    assert!(why(refused).contains("all agents today"));
    let cost = DayLimits { house: Most { tokens: None, cost: Some(5) }, owner: Most::default() };
    let (ledger, _) = self::ledger(cost);
    assert!(ledger.hold(of(1, None, Most::default()), Sum { tokens: 1_000_000, cost: 6 }).await.is_err());
    assert!(ledger.hold(of(1, None, Most::default()), Sum { tokens: 1_000_000, cost: 5 }).await.is_ok());
}

#[tokio::test]
async fn a_new_day_begins_with_what_is_under_way_and_nothing_else() {
    let (ledger, clock) = ledger(DayLimits::default());
    let who = of(1, None, most(100));
    ledger.hold(who, tokens(50)).await.unwrap().settle(tokens(50));
    let over_midnight = ledger.hold(who, tokens(40)).await.unwrap();
    clock.advance(Duration::from_secs(86_400));
    assert!(ledger.hold(who, tokens(61)).await.is_err(), "40 are held");
    over_midnight.settle(tokens(40));
    assert!(ledger.hold(who, tokens(61)).await.is_err() && ledger.hold(who, tokens(60)).await.is_ok());
}
