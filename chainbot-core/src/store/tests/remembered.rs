//! What agents remember, on the disk: full-text indexes go with their rows, and memory goes with its agent.

use super::*;
use crate::port::{
    ArchivedMessage, ItemScope, MemoryItem, MemoryOp, NewArchive, NewThread, Origin, Recall, Speaker, Terms,
    ThreadMessage,
};

const CANARY: &str = "zanzibarine";

fn remember(bench: &Bench, ops: Vec<MemoryOp>) -> Acked {
    bench.try_write(run_id(0), vec![], ops.into_iter().map(|op| Op::Memory(Box::new(op))).collect())
}

fn agent(bench: &Bench) -> WorkflowId {
    let (id, at, possession) = (workflow_id(1), at(1), Possession::HOUSE);
    let (name, source) = ("agent:a".to_owned(), "name: a".to_owned());
    let op = Op::WorkflowInsert { id, name, source, at, possession, idempotency: None };
    bench.write(run_id(0), vec![], vec![op]);
    id
}

/// An agent that remembers the canary in every place there is.
fn fill(bench: &Bench, agent: WorkflowId) {
    let item = MemoryItem {
        id: [1; 16].into(),
        scope: ItemScope::Agent,
        kind: "fact".into(),
        text: CANARY.into(),
        source: "a test".into(),
        origin: Origin::Trusted,
        expires_at: None,
        at: at(1),
    };
    let message = ThreadMessage {
        speaker: Speaker::User,
        text: CANARY.into(),
        calls: None,
        tool: None,
        tokens: 1,
        origin: Origin::Trusted,
        at: at(1),
    };
    let thread = NewThread {
        id: [1; 16].into(),
        agent,
        possession: Possession::HOUSE,
        title: CANARY.into(),
        at: at(1),
    };
    let append =
        MemoryOp::ThreadAppend { thread: thread.id, run: run_id(1), messages: vec![message], summary: None };
    let ops = vec![MemoryOp::ThreadPut(thread), append, MemoryOp::ItemSave { agent, item }];
    remember(bench, ops).unwrap();
}

fn count(bench: &Bench, sql: &str) -> i64 {
    let conn = rusqlite::Connection::open(bench.database()).unwrap();
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Rows of the tables and their indexes, and whether the canary's letters stand in an index.
fn left(bench: &Bench) -> (i64, i64) {
    let rows = count(
        bench,
        "SELECT (SELECT count(*) FROM thread) + (SELECT count(*) FROM thread_message) + (SELECT count(*) FROM summary) \
         + (SELECT count(*) FROM memory_block) + (SELECT count(*) FROM memory_item) + (SELECT count(*) FROM thread_message_index_docsize) \
         + (SELECT count(*) FROM memory_item_index_docsize) + (SELECT count(*) FROM chat_archive_message_index_docsize)",
    );
    let words = count(
        bench,
        "SELECT count(*) FROM (SELECT block FROM thread_message_index_data UNION ALL SELECT block FROM memory_item_index_data \
         UNION ALL SELECT block FROM chat_archive_message_index_data) WHERE instr(block, CAST('zanzi' AS BLOB)) > 0",
    );
    (rows, words)
}

#[test]
fn a_purge_leaves_no_row_and_no_word_in_an_index() {
    let bench = Bench::new();
    let agent = agent(&bench);
    fill(&bench, agent);
    assert_eq!(left(&bench), (5, 2));
    remember(&bench, vec![MemoryOp::Purge(agent)]).unwrap();
    assert_eq!(left(&bench), (0, 0));
    bench.assert_sound();
}

#[test]
fn an_agent_that_is_forgotten_takes_its_memory_along() {
    let bench = Bench::new();
    let agent = agent(&bench);
    fill(&bench, agent);
    bench.write(run_id(0), vec![], vec![Op::WorkflowDelete { id: agent, at: at(2) }]);
    assert_eq!(left(&bench), (5, 2), "a deleted agent still has its runs");
    bench.store.chore(crate::store::sqlite::Chore::Workflows(vec![agent])).unwrap();
    assert_eq!(left(&bench), (0, 0));
}

#[test]
fn an_archive_goes_piece_by_piece_and_leaves_nothing() {
    let bench = Bench::new();
    let (archive, possession, at) = ([2; 16].into(), Possession::HOUSE, at(1));
    remember(
        &bench,
        vec![MemoryOp::ArchivePut(NewArchive { id: archive, name: "chats".into(), possession, at })],
    )
    .unwrap();
    let message = |number: u32| ArchivedMessage {
        conversation: "c".into(),
        message: number.to_string(),
        title: CANARY.into(),
        position: number,
        speaker: Speaker::User,
        at: None,
        is_branch: false,
        text: CANARY.into(),
    };
    let more_than_one_piece = crate::limits::ARCHIVE_FORGET_ROWS_MAX + 1;
    let messages = (0..more_than_one_piece).map(message).collect();
    remember(&bench, vec![MemoryOp::ArchiveAdd { archive, messages, at }]).unwrap();
    remember(&bench, vec![MemoryOp::ArchiveRemove(archive)]).unwrap();
    assert!(bench.store.memory().archive(&Scope::All, archive).unwrap().is_some());
    assert_eq!(left(&bench).0, 1);
    remember(&bench, vec![MemoryOp::ArchiveRemove(archive)]).unwrap();
    assert!(bench.store.memory().archive(&Scope::All, archive).unwrap().is_none());
    assert_eq!(left(&bench), (0, 0));
}

#[test]
fn what_is_remembered_survives_a_restart_and_a_repair_of_the_index_finds_nothing_wrong() {
    let mut bench = Bench::new();
    let agent = agent(&bench);
    fill(&bench, agent);
    bench.reopen();
    let (terms, now) = (Terms::of(CANARY), at(5));
    let recall = Recall { agent, thread: None, archives: vec![], terms, limit: 5, now };
    assert_eq!(bench.store.memory().recall(&Scope::All, &recall).unwrap().len(), 1);
    let conn = rusqlite::Connection::open(bench.database()).unwrap();
    for check in [
        "INSERT INTO thread_message_index (thread_message_index, rank) VALUES ('integrity-check', 1)",
        "INSERT INTO memory_item_index (memory_item_index, rank) VALUES ('integrity-check', 1)",
        "INSERT INTO chat_archive_message_index (chat_archive_message_index, rank) VALUES ('integrity-check', 1)",
    ] {
        conn.execute(check, []).unwrap();
    }
}
