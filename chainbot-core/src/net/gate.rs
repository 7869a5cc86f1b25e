//! At most so many requests at once to one host.
//!
//! A gate lives as long as somebody holds or awaits a place at it; idle ones are dropped when the table is full,
//! so its size is bounded by the requests under way.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::EGRESS_GATES_MAX;

/// The gates by host. The lock is held for one look-up, never over an await.
pub(crate) struct Gates {
    by_host: Mutex<HashMap<String, Arc<Semaphore>>>,
    places: usize,
}

impl Gates {
    /// With so many places at each host.
    pub(crate) fn with_places(places: usize) -> Self {
        Self { by_host: Mutex::default(), places }
    }

    /// Waits for a place at a host. First come, first served; dropping the future leaves the queue.
    pub(crate) async fn enter(&self, host: &str) -> OwnedSemaphorePermit {
        let gate = self.gate(host);
        gate.acquire_owned().await.expect("a gate is never closed: `close` is not called anywhere")
    }

    fn gate(&self, host: &str) -> Arc<Semaphore> {
        let mut gates = self.by_host.lock();
        if gates.len() >= EGRESS_GATES_MAX && !gates.contains_key(host) {
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        gates.entry(host.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.places))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idle_gates_give_way_and_busy_ones_stay() {
        let gates = Gates::with_places(4);
        let held = gates.enter("busy").await;
        for i in 0..2 * EGRESS_GATES_MAX {
            drop(gates.enter(&format!("host{i}")).await);
        }
        assert!(gates.by_host.lock().len() <= EGRESS_GATES_MAX);
        assert_eq!(gates.gate("busy").available_permits(), 3);
        drop(held);
    }
}
