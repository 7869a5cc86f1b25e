//! What stops a model that goes round in circles.
//!
//! The same tool with the same arguments: the first repeat gets the result of before with a hint, the second withdraws the tools. Three errors alike
//! end the task.

use serde_json::Value;

use super::reply::ToolResult;
use super::state::TaskState;

/// Errors alike that end a task.
const EQUAL_ERRORS: usize = 3;

/// Calls before this one that were made, or are about to be.
pub(super) fn made_before(state: &TaskState, turn: usize, index: usize) -> u32 {
    let before = state
        .turns
        .iter()
        .take(turn)
        .flat_map(|turn| &turn.results)
        .filter(|result| result.is_some())
        .count();
    u32::try_from(before + index).unwrap_or(u32::MAX)
}

/// What a call that was made before with the same arguments gave, with a hint.
pub(super) fn repeated(
    state: &TaskState,
    turn: usize,
    index: usize,
    arguments: &Value,
) -> Option<ToolResult> {
    let name = &state.turns.get(turn)?.reply.calls.get(index)?.name;
    let earlier = earlier(state, turn, index, name, arguments).next()?;
    let text =
        format!("You made this call before, with the same arguments. Its result was: {}", earlier.text());
    Some(ToolResult {
        value: Value::String(text),
        is_error: earlier.is_error,
        is_tainted: earlier.is_tainted,
    })
}

/// Whether some call was made a third time, so that tools are withdrawn.
pub(super) fn is_circling(state: &TaskState) -> bool {
    let Some(last) = state.turns.len().checked_sub(1) else { return false };
    state.turns[last].reply.calls.iter().enumerate().any(|(index, call)| {
        let arguments = parsed(&call.arguments);
        // What counts is how often it was said, whether it was made or answered from before.
        said_before(state, last, index, &call.name, &arguments) >= 2
    })
}

/// The last results of calls are errors, all alike.
pub(super) fn is_stalled(results: &[&ToolResult]) -> bool {
    let Some(tail) = results.len().checked_sub(EQUAL_ERRORS).map(|from| &results[from..]) else {
        return false;
    };
    tail.iter().all(|result| result.is_error && result.value == tail[0].value)
}

fn said_before(state: &TaskState, turn: usize, index: usize, name: &str, arguments: &Value) -> usize {
    let in_turn = |at: usize, until: Option<usize>| {
        state.turns[at]
            .reply
            .calls
            .iter()
            .take(until.unwrap_or(usize::MAX))
            .filter(|call| call.name == name && parsed(&call.arguments) == *arguments)
            .count()
    };
    (0..turn).map(|at| in_turn(at, None)).sum::<usize>() + in_turn(turn, Some(index))
}

fn earlier<'a>(
    state: &'a TaskState,
    turn: usize,
    index: usize,
    name: &'a str,
    arguments: &'a Value,
) -> impl Iterator<Item = &'a ToolResult> {
    state.turns.iter().take(turn + 1).enumerate().flat_map(move |(at, earlier)| {
        let until = if at == turn { index } else { usize::MAX };
        let calls = earlier.reply.calls.iter().zip(&earlier.results).take(until);
        calls.filter_map(move |(call, result)| {
            let is_same = call.name == name && parsed(&call.arguments) == *arguments;
            result.as_ref().filter(|_| is_same)
        })
    })
}

fn parsed(arguments: &str) -> Value {
    serde_json::from_str(arguments).unwrap_or_else(|_| Value::String(arguments.to_owned()))
}
