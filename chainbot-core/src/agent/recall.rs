//! What a task is reminded of when it begins: the conversation that it goes on with, and what may help.

use super::tool::{ToolFuture, ToolOwner};
use crate::task::{MemorySpec, Remembered};

/// A memory, as the preparation of a task asks it.
pub trait Recall: Send + Sync {
    /// Blocks, summary, window and what was found for the task's words. `thread`: the conversation that it goes on with.
    fn remembered<'a>(
        &'a self,
        memory: &'a MemorySpec,
        thread: Option<&'a str>,
        task: &'a str,
        owner: &'a ToolOwner,
    ) -> ToolFuture<'a, Remembered>;
}
