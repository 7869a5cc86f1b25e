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
        // Ended by itself, by its run's end (abort), or with the tokio runtime at stop.
        let task = self.tokio.spawn(async move {
            let result = match runtime.effects.acquire().await {
                Ok(_permit) => {
                    runtime.effects_running.fetch_add(1, Ordering::Relaxed);
                    let running = Running(&runtime);
                    let result = runtime.executors.execute(effect).await;
                    drop(running);
                    result
                }
                // The semaphore is closed at stop: the effect was not sent, the next start sends it.
                Err(_) => return,
            };
            runtime.post(&owner, Mail::Input(Input::EffectDone { place: at, attempt, result }));
        });
        body.effects.insert(place, task.abort_handle());
    }
}

/// Counts an effect for as long as it is under way, aborted ones too.
struct Running<'a>(&'a Runtime);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.effects_running.fetch_sub(1, Ordering::Relaxed);
    }
}
