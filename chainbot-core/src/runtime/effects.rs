//! Effects under way: tasks on tokio, bounded in number, each telling its run how it ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt;

use crate::engine::Input;
use crate::engine::decide::Execute;
use crate::error::code::general;
use crate::model::{StepError, class};
use crate::step::{Effect, Executors, Failure};

use super::cell::{Cell, Mail};
use super::core::Runtime;

impl Runtime {
    /// Carries an effect out. Its `StepStarted` is on disk.
    pub(super) fn execute(self: &Arc<Self>, cell: &Arc<Cell>, execute: Execute) {
        let Execute { kind, place, attempt, key, input, timeout } = execute;
        let step_type = kind.step_type();
        let (run, of) = (cell.id, self.acts_for(cell.workflow));
        let timeout = Some(timeout);
        let effect = Effect { kind, input, key, attempt, run, owner: of.owner, shared: of.shared, timeout };
        let (runtime, owner, at) = (self.clone(), cell.clone(), place.clone());
        // From here on, also while it waits for its turn: its start is on disk, so a stop waits for it.
        self.effects_running.fetch_add(1, Ordering::SeqCst);
        self.meters.effects.one();
        let running = Running(self.clone());
        // Ended by itself, by its run's end (abort), or with the tokio runtime at stop. The semaphore is closed when a stop
        // has run out of time: the next start decides.
        let task = self.tokio.spawn(async move {
            // Given back after the answer is in the mailbox, so that a stop sees the one or the other.
            let _running = running;
            let Ok(permit) = runtime.effects.acquire().await else { return };
            let begun = runtime.env.monotonic();
            let result = carry_out(&runtime.executors, effect).await;
            if let Some(meter) = runtime.meters.step_time(step_type) {
                meter.time(runtime.env.monotonic().saturating_sub(begun));
            }
            drop(permit);
            runtime.post_wherever(&owner, Mail::Input(Input::EffectDone { place: at, attempt, result }));
        });
        cell.effects.lock().began(place, attempt, task.abort_handle());
    }
}

/// A run must hear of the end of its effect, or it waits for it until the next start: also when the executor panics.
async fn carry_out(executors: &Executors, effect: Effect) -> Result<serde_json::Value, Failure> {
    let sent = async {
        crate::fault!("effect.before_send", Failure::on_purpose);
        let result = executors.execute(effect).await;
        // Its receiver has it, and whether it did something nobody heard.
        crate::fault!("effect.after_send", Failure::on_purpose);
        result
    };
    std::panic::AssertUnwindSafe(sent).catch_unwind().await.unwrap_or_else(|_| Err(panicked()))
}

/// What an executor did that panicked, nobody knows.
fn panicked() -> Failure {
    let message =
        "the step's executor panicked, and whether the effect happened is unknown; this is a bug in ChainBot";
    StepError::new(class::CUT, &general::INTERNAL, message).into()
}

/// Counts an effect for as long as it is under way, aborted ones too.
pub(super) struct Running(pub(super) Arc<Runtime>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.effects_running.fetch_sub(1, Ordering::SeqCst);
    }
}
