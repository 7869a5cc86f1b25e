//! At most so many requests at once to one host.
//!
//! A gate lives as long as somebody holds or awaits a place at it; idle ones are dropped when the table is full,
//! so its size is bounded by the requests under way.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{EGRESS_GATES_MAX, EGRESS_PER_HOST_MAX};

/// The gates by host. The lock is held for one look-up, never over an await.
#[derive(Default)]
pub(crate) struct Gates(Mutex<HashMap<String, Arc<Semaphore>>>);

impl Gates {
    /// Waits for a place at a host. First come, first served; dropping the future leaves the queue.
    pub(crate) async fn enter(&self, host: &str) -> OwnedSemaphorePermit {
        let gate = self.gate(host);
        gate.acquire_owned().await.expect("a gate is never closed: `close` is not called anywhere")
    }

    fn gate(&self, host: &str) -> Arc<Semaphore> {
        let mut gates = self.0.lock();
        if gates.len() >= EGRESS_GATES_MAX && !gates.contains_key(host) {
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        gates.entry(host.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(EGRESS_PER_HOST_MAX))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idle_gates_give_way_and_busy_ones_stay() {
        let gates = Gates::default();
        let held = gates.enter("busy").await;
        for i in 0..2 * EGRESS_GATES_MAX {
            drop(gates.enter(&format!("host{i}")).await);
        }
        assert!(gates.0.lock().len() <= EGRESS_GATES_MAX);
        assert_eq!(gates.gate("busy").available_permits(), EGRESS_PER_HOST_MAX - 1);
        drop(held);
    }
}
