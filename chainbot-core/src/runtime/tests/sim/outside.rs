//! The world outside: who answers effects, and the host's bus, each with a ledger of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::engine::tests::generate::Dice;
use crate::error::Result;
use crate::port::{EventBus, Published};
use crate::step::{Answer, Effect, Failure, Script};
use crate::time::Timestamp;

/// Effects that were sent and wait for their answer.
#[derive(Default)]
pub struct Outside {
    pub waiting: Mutex<Vec<Sent>>,
    /// Attempts at pins that began and were not looked at.
    pub at_pins: Mutex<Vec<Effect>>,
}

/// One attempt that was sent.
pub struct Sent {
    pub effect: Effect,
    answer: oneshot::Sender<std::result::Result<Value, Failure>>,
    /// Monotonic; `None` until the world has seen it.
    pub ready_at: Option<Duration>,
}

impl Sent {
    /// Nobody waits any more: the effect was given up, or its process died.
    pub fn is_given_up(&self) -> bool {
        self.answer.is_closed()
    }

    pub fn answer(self, result: std::result::Result<Value, Failure>) {
        // Nobody may be waiting any more.
        let _ = self.answer.send(result);
    }
}

impl Script for Outside {
    fn execute(&self, effect: Effect) -> Answer {
        let (answer, waits) = oneshot::channel();
        self.waiting.lock().push(Sent { effect, answer, ready_at: None });
        Box::pin(async move {
            match waits.await {
                Ok(result) => result,
                // The world is at its end.
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn begins(&self, effect: &Effect) {
        self.at_pins.lock().push(effect.clone());
    }
}

/// The host's bus. Has no room now and then, and remembers what it was told.
pub struct Host {
    dice: Mutex<Dice>,
    pub is_moody: Mutex<bool>,
    pub told: Mutex<BTreeMap<String, u32>>,
}

impl Host {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { dice: Mutex::new(Dice(seed)), is_moody: Mutex::new(true), told: Mutex::default() })
    }
}

impl EventBus for Host {
    fn publish(&self, _: &str, payload: &str, id: &str, _: Timestamp) -> Published {
        if *self.is_moody.lock() && self.dice.lock().one_in(6) {
            return Published::Busy;
        }
        assert!(payload.contains(id), "an event carries its id");
        *self.told.lock().entry(id.to_owned()).or_default() += 1;
        Published::Sent
    }

    fn subscribe(&self, _: &str) -> Result<()> {
        Ok(())
    }
}
