//! Effects under way: tasks on tokio, bounded in number, each telling its run how it ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::engine::Input;
use crate::engine::decide::Execute;
use crate::step::Effect;

use super::cell::{Body, Cell, Mail};
use super::core::Runtime;

impl Runtime {
    /// Carries an effect out. Its `StepStarted` is on disk.
    pub(super) fn execute(self: &Arc<Self>, cell: &Arc<Cell>, body: &mut Body, execute: Execute) {
        let Execute { kind, place, attempt, key, input, timeout } = execute;
        let effect = Effect { kind, input, key, attempt, run: cell.id, timeout: Some(timeout) };
        let (runtime, owner, at) = (self.clone(), cell.clone(), place.clone());
        // From here on, also while it waits for its turn: its start is on disk, so a stop waits for it.
        self.effects_running.fetch_add(1, Ordering::SeqCst);
        self.meters.effects.one();
        let running = Running(self.clone());
        // Ended by itself, by its run's end (abort), or with the tokio runtime at stop.
        let task = self.tokio.spawn(async move {
            // Given back after the answer is in the mailbox, so that a stop sees the one or the other.
            let _running = running;
            let result = match runtime.effects.acquire().await {
                Ok(_permit) => runtime.executors.execute(effect).await,
                // The semaphore is closed when a stop has run out of time: the next start decides.
                Err(_) => return,
            };
            runtime.post(&owner, Mail::Input(Input::EffectDone { place: at, attempt, result }));
        });
        body.effects.insert(place, task.abort_handle());
    }
}

/// Counts an effect for as long as it is under way, aborted ones too.
struct Running(Arc<Runtime>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.effects_running.fetch_sub(1, Ordering::SeqCst);
    }
}
