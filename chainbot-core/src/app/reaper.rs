//! Terminates agents that nobody has given a task for a long time, where the operator wants that.
//!
//! An agent costs nothing while it is idle, so by default none is: whoever deploys one today finds it next year.

use std::time::Duration;

use crate::runtime::Handle;

/// Looks now and then; ends with the task that it is.
pub async fn reap(handle: Handle, idle: Duration, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        match handle.reap_agents(idle).await {
            Ok(names) if names.is_empty() => {}
            Ok(names) => log::info!(
                "agents without a task for {} s were terminated: {}",
                idle.as_secs(),
                names.join(", ")
            ),
            // What could not be looked at now is looked at the next time.
            Err(error) => log::warn!("idle agents could not be looked for: {error}"),
        }
    }
}
