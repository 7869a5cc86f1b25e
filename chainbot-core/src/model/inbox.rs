//! Questions to people: how they are named.
//!
//! Invariant: the id of a question follows from the record that asks it, so whoever has the journal can tell the inbox.

use crate::id::{InboxId, RunId};
use crate::time::Timestamp;

/// The answers that an approval offers unless it says otherwise.
pub const APPROVAL_ACTIONS: [&str; 2] = ["approve", "reject"];

/// Send an effect of unknown outcome again, with the same key.
pub const RETRY: &str = "retry";
/// It happened; the answer's data is the step's output.
pub const DONE: &str = "done";
/// It did not happen, or nobody knows: the step fails.
pub const FAIL: &str = "fail";

/// The id of the question that record `seq` of a run asks. Ids sort by the time of asking, like other UUIDv7.
pub fn question_id(run: RunId, seq: u32, at: Timestamp) -> InboxId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"question").update(run.as_bytes()).update(&seq.to_le_bytes());
    let mut chance = [0; 10];
    hasher.finalize_xof().fill(&mut chance);
    let millis = u64::try_from(at.0).unwrap_or(0);
    InboxId(uuid::Builder::from_unix_timestamp_millis(millis, &chance).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_questions_sort_by_time_and_differ_by_run_and_record() {
        let run = |n| RunId::from([n; 16]);
        let early = question_id(run(1), 7, Timestamp(1_000));
        assert_eq!(early, question_id(run(1), 7, Timestamp(1_000)));
        assert!(early < question_id(run(1), 2, Timestamp(1_001)));
        assert_ne!(early, question_id(run(2), 7, Timestamp(1_000)));
        assert_ne!(early, question_id(run(1), 8, Timestamp(1_000)));
    }
}
