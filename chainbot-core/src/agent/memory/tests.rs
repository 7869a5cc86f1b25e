//! Memory through its face, over the memory store.

use std::sync::Arc;

use serde_json::{Value, json};

use super::tool::MemoryTools;
use super::*;
use crate::agent::tool::{ToolFamily, ToolOutcome, ToolOwner, ToolRequest};
use crate::env::Env;
use crate::id::RunId;
use crate::model::EffectKey;
use crate::port::{
    Batch, ItemScope, MemoryItem, MemoryOp, NewThread, Op, Origin, Possession, Speaker, Store, ThreadMessage,
    ToolMark,
};
use crate::store::memory::MemoryStore;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn agent() -> WorkflowId {
    [1; 16].into()
}

fn thread() -> ThreadId {
    [2; 16].into()
}

fn write(store: &MemoryStore, op: Op) {
    let ack = Box::new(|result: std::result::Result<_, Arc<Error>>| assert!(result.is_ok(), "{result:?}"));
    store.submit(Batch { run: RunId::from([0; 16]), records: vec![], ops: vec![op], ack }).unwrap();
}

fn remember(store: &MemoryStore, op: MemoryOp) {
    write(store, Op::Memory(Box::new(op)));
}

/// A store with an agent and an empty thread.
fn store() -> Arc<MemoryStore> {
    let store = MemoryStore::without_thread();
    let (id, at, possession) = (agent(), NOW, Possession::HOUSE);
    let (name, source) = ("agent:a".to_owned(), "name: a".to_owned());
    write(&store, Op::WorkflowInsert { id, name, source, at, possession, idempotency: None });
    let new = NewThread { id: thread(), agent: agent(), possession, title: "t".into(), at: NOW };
    remember(&store, MemoryOp::ThreadPut(new));
    store
}

fn said(speaker: Speaker, text: &str) -> ThreadMessage {
    let tokens = u32::try_from(estimate_tokens(text)).unwrap();
    let (text, origin) = (text.to_owned(), Origin::Trusted);
    ThreadMessage { speaker, text, calls: None, tool: None, tokens, origin, at: NOW }
}

/// A question, a call with its result, an answer.
fn exchange(number: u8, result: &str) -> Vec<ThreadMessage> {
    let mark =
        ToolMark { call: "c".into(), name: "look".into(), is_error: false, digest: format!("d{number}") };
    vec![
        said(Speaker::User, &format!("question {number}")),
        ThreadMessage {
            calls: Some(json!([{ "id": "c", "name": "look", "arguments": "{}" }])),
            ..said(Speaker::Assistant, "")
        },
        ThreadMessage { tool: Some(mark), ..said(Speaker::Tool, result) },
        said(Speaker::Assistant, &format!("answer {number}")),
    ]
}

fn append(store: &MemoryStore, number: u8, messages: Vec<ThreadMessage>) {
    let (thread, run) = (thread(), RunId::from([number; 16]));
    remember(store, MemoryOp::ThreadAppend { thread, run, messages, summary: None });
}

fn gathered(store: &MemoryStore, task: &str, config: &MemoryConfig, tokens_max: u64) -> MemoryContext {
    let asked = Asked { agent: agent(), thread: Some(thread()), task, config, tokens_max, now: NOW };
    let context = gather(store.memory(), &Scope::All, &asked).unwrap();
    // It is journaled, so it reads back as it is.
    let text = serde_json::to_string(&context).unwrap();
    assert_eq!(serde_json::from_str::<MemoryContext>(&text).unwrap(), context);
    context
}

fn seqs(context: &MemoryContext) -> Vec<u32> {
    context.messages.iter().map(|one| one.seq).collect()
}

#[test]
fn the_newest_exchanges_are_in_the_window_whole() {
    let store = store();
    (1..=12).for_each(|number| append(&store, number, exchange(number, "{}")));
    let context = gathered(&store, "and now?", &MemoryConfig::default(), 100_000);
    assert_eq!(seqs(&context), (9..=48).collect::<Vec<_>>(), "ten exchanges of twelve");
    let Message::Assistant { calls, .. } = &context.conversation()[1] else { panic!("{context:?}") };
    assert_eq!(
        (calls[0].id.as_str(), calls[0].name.as_str(), calls[0].arguments.as_str()),
        ("c", "look", "{}")
    );
    assert!(matches!(&context.conversation()[2], Message::Tool { call, is_error: false, .. } if call == "c"));
    // The limit cuts through the middle of an exchange; its rest without a beginning does not go in.
    let few = MemoryConfig { conversation_history_limit: 6, ..MemoryConfig::default() };
    assert_eq!(seqs(&gathered(&store, "and now?", &few, 100_000)), [45, 46, 47, 48]);
    let one = MemoryConfig { context_window_size: 1, ..MemoryConfig::default() };
    assert_eq!(seqs(&gathered(&store, "and now?", &one, 100_000)), [45, 46, 47, 48]);
}

#[test]
fn what_does_not_fit_is_folded_and_never_splits_a_call_from_its_result() {
    let store = store();
    (1..=8).for_each(|number| append(&store, number, exchange(number, &"x".repeat(300))));
    for tokens_max in 1..1_500 {
        let context = gathered(&store, "go on", &MemoryConfig::default(), tokens_max);
        let kept = seqs(&context);
        assert!(kept.len().is_multiple_of(4), "{tokens_max}: {kept:?}");
        assert!(context.messages.first().is_none_or(|first| first.message.speaker == Speaker::User));
        assert!(context.tokens() <= tokens_max, "{tokens_max}: {}", context.tokens());
        let left = 32 - u32::try_from(kept.len()).unwrap();
        let fold = context.fold.as_ref().map(|fold| (fold.from_seq, fold.to_seq));
        assert_eq!(fold, (left > 0).then_some((1, left)), "{tokens_max}");
    }
    // Over three quarters of the budget it goes down to a half, so that the next tasks fit.
    let all: u64 = gathered(&store, "go on", &MemoryConfig::default(), 100_000).tokens();
    let tight = gathered(&store, "go on", &MemoryConfig::default(), all);
    assert!(tight.tokens() <= all / 2 && tight.fold.is_some(), "{} of {all}", tight.tokens());
    assert!(tight.fold.unwrap().prompt.contains("question 1"));
}

#[test]
fn payloads_go_before_the_exchange_and_leave_their_digest() {
    let store = store();
    append(&store, 1, exchange(1, &"payload ".repeat(2_000)));
    let context = gathered(&store, "go on", &MemoryConfig::default(), 1_000);
    assert_eq!(seqs(&context), [1, 2, 3, 4]);
    let result = &context.messages[2].message;
    assert_eq!(result.text, "[16000 bytes left out; digest d1]");
    assert_eq!(result.tool.as_ref().unwrap().digest, "d1");
}

#[test]
fn a_summary_takes_the_place_of_what_it_stands_for() {
    let store = store();
    (1..=4).for_each(|number| append(&store, number, exchange(number, "{}")));
    let one = MemoryConfig { context_window_size: 1, ..MemoryConfig::default() };
    let fold = gathered(&store, "go on", &one, 10_000).fold.unwrap();
    assert_eq!((fold.from_seq, fold.to_seq), (1, 12));
    let summary = fold.summary("They talked about three questions.".to_owned(), NOW);
    let (thread, run) = (thread(), RunId::from([5; 16]));
    let messages = exchange(5, "{}");
    remember(&store, MemoryOp::ThreadAppend { thread, run, messages, summary: Some(summary) });
    let context = gathered(&store, "go on", &MemoryConfig::default(), 10_000);
    assert_eq!(seqs(&context), (13..=20).collect::<Vec<_>>());
    assert_eq!(context.fold, None);
    assert!(context.remembered_text().contains("three questions"));
    // The next one stands for all that the one before did.
    let next = gathered(&store, "go on", &one, 10_000).fold.unwrap();
    assert_eq!((next.from_seq, next.to_seq), (1, 16));
    assert!(next.prompt.contains("three questions") && next.prompt.contains("question 4"));
}

#[test]
fn what_left_the_window_is_found_by_its_words() {
    let store = store();
    append(&store, 1, exchange(1, "the greenhouse key is under the pot"));
    (2..=12).for_each(|number| append(&store, number, exchange(number, "{}")));
    let context = gathered(&store, "where is the greenhouse key?", &MemoryConfig::default(), 100_000);
    assert!(context.recalled.iter().any(|one| one.text.contains("under the pot")), "{:?}", context.recalled);
    assert!(context.remembered_text().contains("under the pot"));
    let close = MemoryConfig { context_window_size: 99, ..MemoryConfig::default() };
    let context = gathered(&store, "where is the greenhouse key?", &close, 100_000);
    assert_eq!(context.recalled, [], "what is in the window is not recalled as well");
}

#[test]
fn one_untrusted_piece_taints_the_whole() {
    let item = |origin| MemoryItem {
        id: [9; 16].into(),
        scope: ItemScope::Agent,
        kind: "fact".into(),
        text: "the shed is red".into(),
        source: "a test".into(),
        origin,
        expires_at: None,
        at: NOW,
    };
    let save = |store: &MemoryStore, origin| {
        remember(store, MemoryOp::ItemSave { agent: agent(), item: item(origin) });
    };
    let config = MemoryConfig::default();
    let trusted = store();
    save(&trusted, Origin::Trusted);
    append(&trusted, 1, exchange(1, "{}"));
    assert!(!gathered(&trusted, "the shed", &config, 10_000).is_tainted);

    let recalled = store();
    save(&recalled, Origin::Untrusted);
    assert!(gathered(&recalled, "the shed", &config, 10_000).is_tainted);
    assert!(!gathered(&recalled, "a house", &config, 10_000).is_tainted, "it was not recalled");
    assert!(gathered(&recalled, "the shed", &config, 10_000).remembered_text().contains("from outside"));

    let seen = store();
    let mut messages = exchange(1, "{}");
    messages[2].origin = Origin::Untrusted;
    append(&seen, 1, messages);
    assert!(gathered(&seen, "go on", &config, 10_000).is_tainted);
    // Taint goes through a summary.
    let none = MemoryConfig { context_window_size: 0, ..MemoryConfig::default() };
    let fold = gathered(&seen, "go on", &none, 10_000).fold.unwrap();
    assert_eq!(fold.summary(String::new(), NOW).origin, Origin::Untrusted);
}

#[test]
fn another_agents_thread_is_not_there() {
    let store = store();
    let other = WorkflowId::from([7; 16]);
    let config = MemoryConfig::default();
    let asked =
        Asked { agent: other, thread: Some(thread()), task: "x", config: &config, tokens_max: 100, now: NOW };
    let refused = gather(store.memory(), &Scope::All, &asked).unwrap_err();
    assert_eq!(refused.code(), &code::NOT_FOUND);
}

// The tools.

struct Tools {
    store: Arc<MemoryStore>,
    family: MemoryTools,
    owner: ToolOwner,
}

impl Tools {
    fn new() -> Self {
        let store = store();
        let run = RunId::from([8; 16]);
        let owner = ToolOwner { agent: agent(), name: "a".into(), owner: None, run, depth: 0 };
        Self { family: MemoryTools::new(store.clone(), Env::system()), store, owner }
    }

    async fn call(&self, tool: &str, arguments: Value, key: u8, is_tainted: bool) -> ToolOutcome {
        let specs = self.family.offers(&Value::Null, &self.owner).await.unwrap();
        let spec = specs.into_iter().find(|spec| spec.name == tool).unwrap();
        jsonschema::validate(&spec.schema, &arguments).unwrap();
        let request = ToolRequest {
            spec,
            arguments,
            grant: Value::Null,
            key: EffectKey([key; 16]),
            attempt: 1,
            owner: self.owner.clone(),
            is_tainted,
            timeout: std::time::Duration::from_secs(60),
        };
        self.family.call(&request).await.unwrap()
    }
}

#[tokio::test]
async fn a_tool_saves_once_however_often_its_call_is_tried() {
    let tools = Tools::new();
    let fact = || json!({ "text": "The pump hums at night", "kind": "fact" });
    let first = tools.call("memory_save", fact(), 1, false).await;
    assert_eq!(first, tools.call("memory_save", fact(), 1, false).await);
    let found = tools.call("memory_search", json!({ "query": "pump" }), 2, false).await;
    assert_eq!(found.value["found"].as_array().unwrap().len(), 1);
    assert!(!found.is_tainted && !found.is_error);
    tools.call("memory_save", json!({ "text": "The pump is at 10.0.0.7" }), 3, true).await;
    assert!(tools.call("memory_search", json!({ "query": "pump" }), 4, false).await.is_tainted);
}

#[tokio::test]
async fn a_tool_writes_a_block_over_the_version_it_saw() {
    let tools = Tools::new();
    let write = |value: &str, version: u32| json!({ "label": "user", "value": value, "if_version": version });
    let first = tools.call("memory_block_replace", write("likes tomatoes", 0), 1, false).await;
    assert_eq!(first.value, json!({ "label": "user", "version": 1 }));
    // Tried again after a crash: the same answer, and still version 1.
    assert_eq!(tools.call("memory_block_replace", write("likes tomatoes", 0), 1, false).await, first);
    let late = tools.call("memory_block_replace", write("likes beans", 0), 2, false).await;
    assert!(late.is_error && late.value.as_str().unwrap().contains("version 1"), "{late:?}");
    let blocks = tools.store.memory().blocks(&Scope::All, agent()).unwrap();
    assert_eq!((blocks[0].value.as_str(), blocks[0].version), ("likes tomatoes", 1));
    let long = tools.call("memory_block_replace", write(&"x".repeat(3_000), 1), 3, false).await;
    assert!(long.is_error, "{long:?}");
}

#[tokio::test]
async fn a_grant_says_what_is_offered() {
    let tools = Tools::new();
    let names = async |grant: Value| {
        let specs = tools.family.offers(&grant, &tools.owner).await;
        specs.map(|specs| specs.into_iter().map(|spec| spec.name).collect::<Vec<_>>())
    };
    assert_eq!(names(json!({})).await.unwrap(), ["memory_block_replace", "memory_save", "memory_search"]);
    assert_eq!(names(json!({ "operations": ["search"] })).await.unwrap(), ["memory_search"]);
    for wrong in [json!({ "operations": ["forget"] }), json!({ "of": "others" }), json!([1])] {
        assert!(names(wrong).await.unwrap_err().message.contains("`tools.memory`"));
    }
}
