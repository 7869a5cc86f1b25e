//! What agents remember: threads, blocks, items, recall and archives, and whose they are.

use super::super::*;
use super::case::{On, refused_with, same, told};
use crate::error::code::memory as code;
use crate::id::{ArchiveId, ThreadId, UserId};
use crate::port::upkeep::{Keep, Retention, Upkeep};
use crate::port::{
    AccountOp, ArchiveFilter, ArchivedMessage, BlockPut, ItemScope, MemoryItem, MemoryOp, NewArchive,
    NewThread, Origin, Recall, RecallSource, Recalled, Role, Speaker, Summary, Terms, ThreadMessage,
    ToolMark,
};

fn somebody(number: u8) -> UserId {
    [number; 16].into()
}

fn of(owner: Option<u8>) -> Possession {
    Possession { owner: owner.map(somebody), shared: None }
}

fn editor(number: u8) -> Scope {
    Scope::Of { user: Some(somebody(number)), role: Role::Editor }
}

impl On {
    fn remember(&self, ops: Vec<MemoryOp>) -> Acked {
        let ops = ops.into_iter().map(|op| Op::Memory(Box::new(op))).collect();
        self.write(run_id(0), vec![], ops)
    }

    /// An agent, which is a workflow.
    fn agent(&self, number: u128, possession: Possession) -> Result<WorkflowId, String> {
        let name = ["agent:", &number.to_string()].concat();
        let source = ["name: ", &name].concat();
        let (id, at) = (workflow_id(number), at(1));
        let op = Op::WorkflowInsert { id, name, source, at, possession, idempotency: None };
        self.write(run_id(0), vec![], vec![op]).map(|_| id).map_err(told)
    }

    fn recalled(&self, scope: &Scope, agent: WorkflowId, text: &str) -> Result<Vec<String>, String> {
        Ok(self.found(scope, agent, text)?.into_iter().map(|one| one.text).collect())
    }

    fn found(&self, scope: &Scope, agent: WorkflowId, text: &str) -> Result<Vec<Recalled>, String> {
        let recall = Recall {
            agent,
            thread: None,
            archives: vec!["chats".to_owned()],
            terms: Terms::of(text),
            limit: 5,
            now: at(100),
        };
        self.0.memory().recall(scope, &recall).map_err(told)
    }
}

fn thread(number: u8, agent: WorkflowId, possession: Possession) -> NewThread {
    NewThread { id: [number; 16].into(), agent, possession, title: "Garden".to_owned(), at: at(2) }
}

fn said(speaker: Speaker, text: &str, at_seq: u32) -> ThreadMessage {
    ThreadMessage {
        speaker,
        text: text.to_owned(),
        calls: None,
        tool: None,
        tokens: 7,
        origin: Origin::Trusted,
        at: at(at_seq),
    }
}

fn item(number: u8, scope: ItemScope, text: &str) -> MemoryItem {
    MemoryItem {
        id: [number; 16].into(),
        scope,
        kind: "fact".to_owned(),
        text: text.to_owned(),
        source: "a test".to_owned(),
        origin: Origin::Trusted,
        expires_at: None,
        at: at(u32::from(number)),
    }
}

fn block(agent: WorkflowId, value: &str, if_version: Option<u32>, key: Option<u8>) -> MemoryOp {
    MemoryOp::BlockPut(BlockPut {
        agent,
        label: "user".to_owned(),
        description: None,
        value: value.to_owned(),
        chars_max: Some(20),
        if_version,
        key: key.map(|byte| EffectKey([byte; 16])),
        origin: Origin::Trusted,
        at: at(5),
    })
}

fn archived(conversation: &str, message: &str, text: &str, at_seq: Option<u32>) -> ArchivedMessage {
    ArchivedMessage {
        conversation: conversation.to_owned(),
        message: message.to_owned(),
        title: ["On ", conversation].concat(),
        position: 0,
        speaker: Speaker::User,
        at: at_seq.map(at),
        is_branch: false,
        text: text.to_owned(),
    }
}

pub fn threads_are_kept(on: &On) -> Result<(), String> {
    let memory = || on.0.memory();
    let agent = on.agent(1, of(Some(1)))?;
    let mark = ToolMark { call: "c1".into(), name: "get".into(), is_error: false, digest: "d".into() };
    let call = ThreadMessage {
        calls: Some(json!([{ "id": "c1", "name": "get", "arguments": "{}" }])),
        ..said(Speaker::Assistant, "", 4)
    };
    let result = ThreadMessage {
        tool: Some(mark),
        origin: Origin::Untrusted,
        ..said(Speaker::Tool, "{\"temperature\":21}", 5)
    };
    let messages =
        vec![said(Speaker::User, "How warm is it?", 3), call, result, said(Speaker::Assistant, "21", 6)];
    let id: ThreadId = [7; 16].into();
    let append = |run, messages: &[ThreadMessage], summary| MemoryOp::ThreadAppend {
        thread: id,
        run: run_id(run),
        messages: messages.to_vec(),
        summary,
    };
    // To a thread that is not there: the task ended all the same.
    on.remember(vec![append(1, &messages, None)]).map_err(told)?;
    same(memory().thread(&Scope::All, id).map_err(told)?, None)?;
    let new = thread(7, agent, of(Some(2)));
    on.remember(vec![MemoryOp::ThreadPut(new.clone()), append(1, &messages, None)]).map_err(told)?;
    on.remember(vec![
        MemoryOp::ThreadPut(NewThread { title: "Other".into(), ..new.clone() }),
        append(1, &messages, None),
    ])
    .map_err(told)?;
    let summary = Summary {
        from_seq: 1,
        to_seq: 4,
        text: "It was 21 degrees.".into(),
        tokens: 6,
        origin: Origin::Untrusted,
        at: at(8),
    };
    on.remember(vec![append(2, &messages[..1], Some(summary.clone()))]).map_err(told)?;
    let stored = memory().thread(&Scope::All, id).map_err(told)?.ok_or("no thread")?;
    same((stored.thread, stored.messages, stored.updated_at), (new, 5, at(6)))?;
    same(memory().summary(&Scope::All, id).map_err(told)?, Some(summary))?;
    let page = memory().thread_messages(&Scope::All, id, None, 2).map_err(told)?;
    same(page.items.iter().map(|one| one.seq).collect(), vec![4, 5])?;
    same((page.total, page.more), (5, true))?;
    let page = memory().thread_messages(&Scope::All, id, Some(5), 9).map_err(told)?;
    same(page.more, false)?;
    same(
        page.items.iter().map(|one| (one.seq, one.run)).collect::<Vec<_>>(),
        (1..5).map(|seq| (seq, run_id(1))).collect(),
    )?;
    same(page.items.into_iter().map(|one| one.message).collect(), messages)?;
    // Its own person's; not the agent's owner's.
    same(memory().thread(&editor(2), id).map_err(told)?.is_some(), true)?;
    for stranger in [editor(1), editor(3)] {
        same(memory().thread(&stranger, id).map_err(told)?, None)?;
        same(memory().summary(&stranger, id).map_err(told)?, None)?;
        same(memory().thread_messages(&stranger, id, None, 9).map_err(told)?.items, vec![])?;
        same(memory().threads(&stranger, agent, None, 9).map_err(told)?.total, 0)?;
    }
    on.remember(vec![
        MemoryOp::ThreadPut(thread(9, agent, of(Some(2)))),
        MemoryOp::ThreadPut(thread(8, agent, of(Some(2)))),
    ])
    .map_err(told)?;
    let page = memory().threads(&editor(2), agent, None, 2).map_err(told)?;
    let firsts = |page: &crate::port::Page<crate::port::StoredThread>| {
        page.items.iter().map(|one| one.thread.id.as_bytes()[0]).collect::<Vec<_>>()
    };
    same((firsts(&page), page.total, page.more), (vec![9, 8], 3, true))?;
    let page = memory().threads(&editor(2), agent, Some([8; 16].into()), 2).map_err(told)?;
    same((firsts(&page), page.more), (vec![7], false))?;
    on.remember(vec![MemoryOp::ThreadRemove(id)]).map_err(told)?;
    same(memory().thread_messages(&Scope::All, id, None, 9).map_err(told)?.items, vec![])?;
    same(memory().summary(&Scope::All, id).map_err(told)?, None)?;
    refused_with(
        on.remember(vec![MemoryOp::ThreadPut(thread(3, workflow_id(99), of(None)))]),
        &code::NOT_FOUND,
    )
}

pub fn blocks_are_compared_and_set(on: &On) -> Result<(), String> {
    let agent = on.agent(1, of(Some(1)))?;
    let now = |scope: &Scope| -> Result<Vec<(String, u32)>, String> {
        let blocks = on.0.memory().blocks(scope, agent).map_err(told)?;
        Ok(blocks.into_iter().map(|one| (one.value, one.version)).collect())
    };
    on.remember(vec![block(agent, "likes tomatoes", Some(0), Some(1))]).map_err(told)?;
    refused_with(on.remember(vec![block(agent, "x", Some(0), Some(2))]), &code::CHANGED)?;
    // The same call again is no conflict, and no second version.
    on.remember(vec![block(agent, "likes tomatoes", Some(0), Some(1))]).map_err(told)?;
    same(now(&Scope::All)?, vec![("likes tomatoes".to_owned(), 1)])?;
    on.remember(vec![block(agent, "likes beans", Some(1), Some(2))]).map_err(told)?;
    refused_with(on.remember(vec![block(agent, "likes tomatoes", Some(0), Some(1))]), &code::CHANGED)?;
    refused_with(on.remember(vec![block(agent, &"x".repeat(21), None, None)]), &code::BLOCK)?;
    let twice = vec![block(agent, "a", None, None), block(agent, "b", None, None)];
    same(on.remember(twice).is_err(), true)?;
    same(now(&editor(1))?, vec![("likes beans".to_owned(), 2)])?;
    same(now(&editor(2))?, vec![])?;
    on.remember(vec![MemoryOp::BlockRemove { agent, label: "user".into() }]).map_err(told)?;
    same(now(&Scope::All)?, vec![])?;
    refused_with(on.remember(vec![block(workflow_id(99), "x", None, None)]), &code::NOT_FOUND)
}

pub fn items_are_recalled(on: &On) -> Result<(), String> {
    let agent = on.agent(1, of(Some(1)))?;
    let save = |item: MemoryItem| MemoryOp::ItemSave { agent, item };
    let tomatoes = item(1, ItemScope::Agent, "The tomatoes stand in the greenhouse and want water daily");
    let cafe = item(2, ItemScope::Agent, "Their favourite café is called Zürich");
    let cafe = MemoryItem { origin: Origin::Untrusted, ..cafe };
    let old =
        MemoryItem { expires_at: Some(at(50)), ..item(3, ItemScope::Agent, "The greenhouse door is open") };
    on.remember([tomatoes.clone(), cafe.clone(), old.clone()].map(save).to_vec()).map_err(told)?;
    // The same call again saves nothing, whatever it says.
    on.remember(vec![save(item(1, ItemScope::Agent, "Something else about tomatoes"))]).map_err(told)?;
    for (text, wanted) in [
        ("when did the TOMATOES get water?", vec![tomatoes.text.clone()]),
        ("cafe zurich", vec![cafe.text.clone()]),
        ("greenhouse", vec![tomatoes.text.clone()]),
        ("nothing of this", vec![]),
        ("", vec![]),
        ("text:* \"OR\" NEAR(\" --", vec![]),
    ] {
        same(on.recalled(&Scope::All, agent, text)?, wanted).map_err(|why| format!("{text}: {why}"))?;
    }
    let origins = |text| on.found(&Scope::All, agent, text).map(|found| found[0].origin);
    same((origins("cafe")?, origins("tomatoes")?), (Origin::Untrusted, Origin::Trusted))?;
    for number in 10..20 {
        on.remember(vec![save(item(
            number,
            ItemScope::Agent,
            "There are pears in the cellar, and pears in the shed of pears",
        ))])
        .map_err(told)?;
    }
    same(on.recalled(&Scope::All, agent, "pears tomatoes water")?.len(), 5)?;
    same(on.recalled(&Scope::All, agent, "pears tomatoes water")?[0].clone(), tomatoes.text.clone())?;
    let page = on.0.memory().items(&editor(1), agent, 1, 2, at(100)).map_err(told)?;
    same(page.items.iter().map(|one| one.id.as_bytes()[0]).collect(), vec![18, 17])?;
    same((page.total, page.more), (12, true))?;
    same(on.0.memory().items(&editor(1), agent, 0, 99, at(49)).map_err(told)?.total, 13)?;
    same(on.0.memory().items(&editor(1), agent, 10, 9, at(100)).map_err(told)?.items, vec![cafe, tomatoes])?;
    on.remember(vec![MemoryOp::ItemRemove { agent: workflow_id(2), id: [1; 16].into() }]).map_err(told)?;
    same(on.recalled(&Scope::All, agent, "water")?.len(), 1)?;
    on.remember(vec![MemoryOp::ItemRemove { agent, id: [1; 16].into() }]).map_err(told)?;
    same(on.recalled(&Scope::All, agent, "water")?, vec![])?;
    // What has expired goes with the upkeep, to where nobody can look before its time.
    let keep = |_| Keep::default();
    on.begin(1)?;
    let upkeep = Upkeep { now: at(60), rules: Retention::default(), told: Lsn(0), keep: &keep };
    while on.0.tidy(&upkeep).map_err(told)?.more {}
    same(on.0.memory().items(&Scope::All, agent, 0, 99, at(1)).map_err(told)?.total, 11)?;
    for bad in [
        MemoryItem { kind: "A fact".into(), ..item(4, ItemScope::Agent, "x") },
        item(4, ItemScope::Agent, "  "),
        item(4, ItemScope::Agent, &"x".repeat(crate::limits::MEMORY_ITEM_BYTES_MAX + 1)),
    ] {
        refused_with(on.remember(vec![save(bad)]), &code::ITEM)?;
    }
    let strange = MemoryOp::ItemSave { agent: workflow_id(99), item: item(4, ItemScope::Agent, "x") };
    refused_with(on.remember(vec![strange]), &code::NOT_FOUND)
}

pub fn memory_is_its_owners(on: &On) -> Result<(), String> {
    // Two agents of one person, one of another, one of the house.
    let (one, two) = (on.agent(1, of(Some(1)))?, on.agent(2, of(Some(1)))?);
    let (other, house) = (on.agent(3, of(Some(2)))?, on.agent(4, Possession::HOUSE)?);
    let shared = on.agent(5, Possession { owner: Some(somebody(1)), shared: Some(Role::Viewer) })?;
    let save =
        |agent, number, scope, text: &str| MemoryOp::ItemSave { agent, item: item(number, scope, text) };
    on.remember(vec![
        save(one, 1, ItemScope::Agent, "canary of agent one"),
        save(one, 2, ItemScope::Owner, "canary of owner one"),
        save(other, 3, ItemScope::Agent, "canary of agent three"),
        save(other, 4, ItemScope::Owner, "canary of owner two"),
        save(house, 5, ItemScope::Owner, "canary of the house"),
    ])
    .map_err(told)?;
    let sorted = |scope: &Scope, agent| {
        on.recalled(scope, agent, "canary").map(|mut found| {
            found.sort();
            found
        })
    };
    same(
        sorted(&Scope::All, one)?,
        vec!["canary of agent one".to_owned(), "canary of owner one".to_owned()],
    )?;
    same(sorted(&Scope::All, two)?, vec!["canary of owner one".to_owned()])?;
    same(
        sorted(&Scope::All, other)?,
        vec!["canary of agent three".to_owned(), "canary of owner two".to_owned()],
    )?;
    same(sorted(&Scope::All, house)?, vec!["canary of the house".to_owned()])?;
    // Who asks: whoever may change the agent.
    same(sorted(&editor(1), one)?.len(), 2)?;
    same(sorted(&editor(2), one)?, vec![])?;
    same(sorted(&editor(2), shared)?, vec![])?;
    same(sorted(&editor(1), shared)?.len(), 1)?;
    same(sorted(&editor(2), house)?.len(), 1)?;
    same(on.0.memory().items(&editor(2), shared, 0, 9, at(1)).map_err(told)?.total, 0)?;
    same(on.0.memory().items(&editor(1), shared, 0, 9, at(1)).map_err(told)?.total, 1)?;
    // A person goes: what was for all agents of theirs is for nobody, also not for the house's.
    on.remember(vec![MemoryOp::ThreadPut(thread(1, one, of(Some(1))))]).map_err(told)?;
    let gone = Op::Account(Box::new(AccountOp::UserRemove { id: somebody(1) }));
    on.write(run_id(0), vec![], vec![gone]).map_err(told)?;
    same(sorted(&Scope::All, house)?, vec!["canary of the house".to_owned()])?;
    let left = on.0.memory().thread(&Scope::All, [1; 16].into()).map_err(told)?.ok_or("no thread")?;
    same(left.thread.possession, of(None))?;
    // An agent is purged.
    on.remember(vec![
        block(other, "x", None, None),
        MemoryOp::ThreadPut(thread(2, other, of(Some(2)))),
        MemoryOp::ThreadAppend {
            thread: [2; 16].into(),
            run: run_id(1),
            messages: vec![said(Speaker::User, "canary", 1)],
            summary: None,
        },
        MemoryOp::Purge(other),
    ])
    .map_err(told)?;
    same(sorted(&Scope::All, other)?, vec!["canary of owner two".to_owned()])?;
    same(on.0.memory().blocks(&Scope::All, other).map_err(told)?, vec![])?;
    same(on.0.memory().threads(&Scope::All, other, None, 9).map_err(told)?.total, 0)
}

pub fn threads_are_recalled_before_the_window(on: &On) -> Result<(), String> {
    let (agent, other) = (on.agent(1, of(Some(1)))?, on.agent(2, of(Some(1)))?);
    let messages: Vec<_> =
        (1..=6).map(|n| said(Speaker::User, &["needle ", &n.to_string()].concat(), n)).collect();
    let append = |thread, run| MemoryOp::ThreadAppend {
        thread,
        run: run_id(run),
        messages: messages.clone(),
        summary: None,
    };
    on.remember(vec![
        MemoryOp::ThreadPut(thread(1, agent, of(Some(1)))),
        MemoryOp::ThreadPut(thread(2, agent, of(Some(2)))),
        append([1; 16].into(), 1),
        append([2; 16].into(), 2),
    ])
    .map_err(told)?;
    let recall = |scope: &Scope, agent, thread: u8| {
        let thread = Some(([thread; 16].into(), 4));
        let terms = Terms::of("needle");
        let recall = Recall { agent, thread, archives: vec![], terms, limit: 5, now: at(9) };
        on.0.memory().recall(scope, &recall).map_err(told)
    };
    let found = recall(&Scope::All, agent, 1)?;
    let mut places: Vec<&str> = found.iter().map(|one| one.place.as_str()).collect();
    places.sort_unstable();
    same(places, vec!["1", "2", "3"])?;
    same(found[0].from, RecallSource::Thread)?;
    same(recall(&Scope::All, other, 1)?.len(), 0)?;
    same(recall(&editor(1), agent, 2)?.len(), 0)
}

pub fn archives_are_kept(on: &On) -> Result<(), String> {
    let memory = || on.0.memory();
    let (mine, houses) = (on.agent(1, of(Some(1)))?, on.agent(2, Possession::HOUSE)?);
    let id: ArchiveId = [1; 16].into();
    let new = NewArchive { id, name: "chats".to_owned(), possession: of(Some(1)), at: at(1) };
    let add =
        |messages: Vec<ArchivedMessage>, seq| MemoryOp::ArchiveAdd { archive: id, messages, at: at(seq) };
    let messages = vec![
        archived("garden", "m1", "Which soil do tomatoes like?", Some(30)),
        ArchivedMessage {
            is_branch: true,
            speaker: Speaker::Assistant,
            position: 1,
            ..archived("garden", "m2", "Loose soil.", Some(20))
        },
        archived("kitchen", "m1", "Boil the beans", None),
    ];
    // To nothing, nothing is added.
    on.remember(vec![add(messages.clone(), 2)]).map_err(told)?;
    on.remember(vec![MemoryOp::ArchivePut(new.clone()), add(messages.clone(), 2)]).map_err(told)?;
    let first = memory().archive(&Scope::All, id).map_err(told)?.ok_or("no archive")?;
    same((first.conversations, first.messages), (2, 3))?;
    same((first.first_at, first.last_at, first.updated_at), (Some(at(20)), Some(at(30)), at(2)))?;
    // Importing again adds nothing, under whichever id.
    on.remember(vec![
        MemoryOp::ArchivePut(NewArchive { id: [9; 16].into(), ..new.clone() }),
        add(messages.clone(), 3),
    ])
    .map_err(told)?;
    same(memory().archives(&Scope::All).map_err(told)?, vec![first])?;
    // A later export adds what is new.
    on.remember(vec![add(vec![archived("garden", "m3", "And water?", Some(40))], 4)]).map_err(told)?;
    let later = memory().archive(&editor(1), id).map_err(told)?.ok_or("no archive")?;
    same((later.conversations, later.messages, later.last_at), (2, 4, Some(at(40))))?;
    let find = |scope: &Scope, filter: ArchiveFilter| -> Result<Vec<String>, String> {
        let found = memory().archived(scope, id, &filter).map_err(told)?;
        Ok(found.into_iter().map(|one| one.message).collect())
    };
    let all = ArchiveFilter { limit: 10, ..ArchiveFilter::default() };
    same(
        find(&editor(1), all.clone())?,
        vec!["m1", "m2", "m1", "m3"].into_iter().map(str::to_owned).collect::<Vec<_>>(),
    )?;
    same(find(&editor(1), ArchiveFilter { limit: 1, ..all.clone() })?.len(), 1)?;
    let soil = ArchiveFilter { terms: Terms::of("soil"), ..all.clone() };
    same(find(&editor(1), soil.clone())?.len(), 2)?;
    same(find(&editor(1), ArchiveFilter { since: Some(at(25)), ..soil.clone() })?, vec!["m1".to_owned()])?;
    same(find(&editor(1), ArchiveFilter { until: Some(at(25)), ..soil })?, vec!["m2".to_owned()])?;
    same(
        find(&editor(1), ArchiveFilter { title: Some("KITCH".into()), ..all.clone() })?,
        vec!["m1".to_owned()],
    )?;
    same(find(&editor(2), all.clone())?, Vec::new())?;
    same(memory().archives(&editor(2)).map_err(told)?, vec![])?;
    // It is a source for agents of its owner, and always tainted.
    let found = on.recalled(&Scope::All, mine, "tomatoes")?;
    same(found, vec!["Which soil do tomatoes like?".to_owned()])?;
    same(on.recalled(&Scope::All, houses, "tomatoes")?, vec![])?;
    let recall = |archives: &[&str]| {
        let archives = archives.iter().map(|name| (*name).to_owned()).collect();
        let terms = Terms::of("tomatoes");
        memory()
            .recall(&Scope::All, &Recall { agent: mine, thread: None, archives, terms, limit: 5, now: at(9) })
            .map_err(told)
    };
    same(recall(&["chats"])?[0].origin, Origin::Untrusted)?;
    same(recall(&["others"])?, vec![])?;
    on.remember(vec![MemoryOp::ArchiveRemove(id)]).map_err(told)?;
    same(memory().archive(&Scope::All, id).map_err(told)?, None)?;
    same(on.recalled(&Scope::All, mine, "tomatoes")?, vec![])
}
