//! The cases, by family. Each begins with an empty store and says why it is not content.

use super::super::*;
use crate::error::code::{account, definition, general, store as code};
use crate::id::InboxId;
use crate::model::EffectKey;
use crate::port::upkeep::{Keep, Retention, Upkeep};
use crate::port::{
    AccountOp, Action, Actor, AuditEntry, AuditFilter, Digest, HashText, Idempotency, InboxKind, LoginKind,
    MessageFilter, MessageKind, MessageMark, MessageState, NewMessage, Role, RunFilter, StoredApiToken,
    StoredLogin, StoredUser, Timer, Way, WorkflowFilter,
};

pub type Case = fn(&On) -> Result<(), String>;

pub const CASES: &[(&str, Case)] = &[
    ("atomicity: what is acknowledged can be read at once", acknowledged_is_readable),
    ("atomicity: a refused batch leaves nothing", refused_leaves_nothing),
    ("ordering: records of a batch follow each other", batches_keep_their_order),
    ("ordering: a gap in a run is refused", a_gap_is_refused),
    ("idempotency: a key is used once", a_key_is_used_once),
    ("timers: set, moved, cleared, gone with the run", timers_are_kept),
    ("parking: a parked run lists its records, a live one none", parking_lists_records),
    ("parking: a failed run is taken up again at its gate", failed_runs_are_reopened),
    ("inbox: a question is open until it is closed", questions_are_kept),
    ("pagination: pages are newest first, without gap or double", pages_are_whole),
    ("pagination: workflows by each column, both ways", super::order::workflows_are_listed_by_each_column),
    ("pagination: workflows come with their runs", super::order::workflows_are_listed_with_their_runs),
    ("journal: reading goes on after any place", the_journal_is_paged),
    ("workflows: names are unique, versions counted, sources kept", workflows_are_kept),
    ("cursors: the last value counts", cursors_are_kept),
    ("archive: a finished run reads the same after it", the_archive_reads_the_same),
    ("retention: what is past its time goes, the rest stays", retention_deletes),
    ("outbox: messages are kept with their state, once each", messages_are_kept),
    ("outbox: pages are newest first, and what is old or too many goes", messages_are_paged_and_pruned),
    ("accounts: users, logins and tokens are kept, and go with their user", accounts_are_kept),
    ("accounts: a name is given once, and a refresh token is good once", accounts_refuse),
    ("owners: every question shows what its scope sees, and nothing else", super::owner::scopes_are_kept),
    ("owners: a workflow changes hands with all that is its own", super::owner::hands_are_changed),
    ("owners: two people with one key do not meet", super::owner::keys_are_their_own),
    ("memory: a thread keeps its messages, once each", super::remembered::threads_are_kept),
    (
        "memory: a block is written over the version that was read",
        super::remembered::blocks_are_compared_and_set,
    ),
    ("memory: what was saved is recalled by its words", super::remembered::items_are_recalled),
    ("memory: nobody recalls what is another's", super::remembered::memory_is_its_owners),
    ("memory: what left the window is found", super::remembered::threads_are_recalled_before_the_window),
    ("memory: an archive takes each message once", super::remembered::archives_are_kept),
    ("audit: rows are kept in order, found by what they say, and hold", audit_is_kept),
    ("limits: an empty batch and a record over its bound are refused", limits_hold),
    ("closing: what was queued is there, later calls fail", closing_refuses),
];

/// A store under test.
pub struct On(pub Arc<dyn Store>);

impl On {
    pub fn write(&self, run: RunId, records: Vec<Record>, ops: Vec<Op>) -> Acked {
        let (ack, acked) = mpsc::channel();
        let ack = Box::new(move |result| drop(ack.send(result)));
        self.0.submit(Batch { run, records, ops, ack }).map_err(Arc::new)?;
        acked.recv_timeout(HANG).expect("an acknowledgement")
    }

    pub fn begin(&self, number: u128) -> Result<Lsn, String> {
        let run = run_id(number);
        self.write(run, vec![created(run)], vec![insert(run)]).map_err(told)
    }

    pub fn finish(&self, number: u128) -> Result<Vec<Lsn>, String> {
        let run = run_id(number);
        let first = self.begin(number)?;
        let next =
            self.write(run, vec![step(1), completed(2)], vec![finish(run, vec![first])]).map_err(told)?;
        Ok([vec![first], places(next, 2)].concat())
    }
}

pub fn told(error: impl ToString) -> String {
    error.to_string()
}

pub fn same<T: PartialEq + std::fmt::Debug>(got: T, wanted: T) -> Result<(), String> {
    if got == wanted { Ok(()) } else { Err(format!("got {got:?}, wanted {wanted:?}")) }
}

pub fn refused_with(result: Acked, wanted: &crate::error::Code) -> Result<(), String> {
    same(result.map_err(|error| error.code().id), Err(wanted.id))
}

fn acknowledged_is_readable(on: &On) -> Result<(), String> {
    for number in 1..20 {
        let first = on.begin(number)?;
        let stored = on.0.run(&Scope::All, run_id(number)).map_err(told)?.ok_or("no row")?;
        same((stored.first_lsn, stored.lsns), (first, None))?;
        same(
            on.0.records(&Scope::All, run_id(number), &[first]).map_err(told)?,
            vec![(first, created(run_id(number)))],
        )?;
        same(on.0.newest_lsn().map_err(told)?, first)?;
    }
    Ok(())
}

fn refused_leaves_nothing(on: &On) -> Result<(), String> {
    on.begin(1)?;
    let before = on.0.newest_lsn().map_err(told)?;
    let run = run_id(2);
    // The row is right, the wait is of nobody.
    let wait = Op::ListenSet { run: run_id(9), seq: 0, topic: "a.b".to_owned() };
    refused_with(on.write(run, vec![created(run)], vec![insert(run), wait]), &code::REFUSED)?;
    same(on.0.run(&Scope::All, run).map_err(told)?, None)?;
    same(on.0.newest_lsn().map_err(told)?, before)
}

fn batches_keep_their_order(on: &On) -> Result<(), String> {
    let run = run_id(1);
    let first = on.begin(1)?;
    let next = on.write(run, steps(1, 9), vec![]).map_err(told)?;
    same(next.0, first.0 + 1)?;
    let journal = on.0.journal_after(Lsn(0), 100).map_err(told)?;
    same(journal.iter().map(|one| one.record.seq).collect::<Vec<_>>(), (0..9).collect())?;
    same(journal.iter().map(|one| one.lsn).collect::<Vec<_>>(), places(first, 9))?;
    let recovery = on.0.recover().map_err(told)?;
    same(recovery.live[0].1.iter().map(|(_, record)| record.seq).collect::<Vec<_>>(), (0..9).collect())
}

fn failed_runs_are_reopened(on: &On) -> Result<(), String> {
    let (run, well) = (run_id(1), on.finish(2)?);
    let first = on.begin(1)?;
    let error = crate::model::StepError::new("cut", &crate::error::code::run::STATUS, "it broke");
    let failed = Record { seq: 1, at: at(1), body: RecordBody::RunFailed { error, place: None } };
    let over = Op::RunFinish { run, status: RunStatus::Failed, detail: None, at: at(1), lsns: vec![first] };
    let last = on.write(run, vec![failed], vec![over]).map_err(told)?;
    let again = |run, seq, lsns| {
        let body = RecordBody::RunRetried { generation: 1 };
        let status = RunStatus::Paused;
        let ops = vec![
            Op::RunReopen { run, status, detail: "its turn".to_owned(), lsns },
            Op::GateEnter { run, gate: "line".to_owned(), max: 1, ousts: false },
        ];
        on.write(run, vec![Record { seq, at: at(seq), body }], ops)
    };
    refused_with(again(run_id(2), 3, well), &code::REFUSED)?;
    let next = again(run, 2, vec![first, last]).map_err(told)?;
    let stored = on.0.run(&Scope::All, run).map_err(told)?.ok_or("no row")?;
    same((stored.row.status, stored.row.finished_at), (RunStatus::Paused, None))?;
    same((stored.row.detail.as_deref(), stored.lsns), (Some("its turn"), Some(vec![first, last, next])))?;
    let gates = on.0.automation().map_err(told)?.gates;
    same(gates.iter().map(|gate| (gate.run, gate.parked, gate.paused)).collect(), vec![(run, true, true)])
}

fn a_gap_is_refused(on: &On) -> Result<(), String> {
    on.begin(1)?;
    refused_with(on.write(run_id(1), steps(2, 3), vec![]), &code::REFUSED)?;
    refused_with(on.write(run_id(2), steps(1, 2), vec![]), &code::REFUSED)?;
    refused_with(on.write(run_id(1), vec![created(run_id(1))], vec![insert(run_id(1))]), &code::REFUSED)?;
    on.finish(3)?;
    refused_with(on.write(run_id(3), steps(3, 4), vec![]), &code::REFUSED)
}

fn a_key_is_used_once(on: &On) -> Result<(), String> {
    let key = Some(Idempotency { by: None, key: "run a".to_owned(), digest: [7; 32], at: at(1) });
    let op = |run| Op::RunInsert { row: row(run), idempotency: key.clone(), created: None };
    on.write(run_id(1), vec![created(run_id(1))], vec![op(run_id(1))]).map_err(told)?;
    let hit = on.0.idempotent(None, "run a").map_err(told)?.ok_or("the key is forgotten")?;
    same((hit.digest, hit.made), ([7; 32], *run_id(1).as_bytes()))?;
    refused_with(on.write(run_id(2), vec![created(run_id(2))], vec![op(run_id(2))]), &general::IDEMPOTENCY)?;
    same(on.0.idempotent(None, "run b").map_err(told)?, None)
}

fn timers_are_kept(on: &On) -> Result<(), String> {
    let run = run_id(1);
    let first = on.begin(1)?;
    let set = |seq, due| Op::TimerSet { run, seq, due: at(due) };
    on.write(run, vec![], vec![set(1, 50), set(2, 20), set(1, 10)]).map_err(told)?;
    let timer = |seq, due| Timer { due: at(due), run, seq };
    same(on.0.recover().map_err(told)?.timers, vec![timer(1, 10), timer(2, 20)])?;
    on.write(run, vec![], vec![Op::TimerClear { run, seq: 1 }, Op::TimerClear { run, seq: 9 }])
        .map_err(told)?;
    same(on.0.recover().map_err(told)?.timers, vec![timer(2, 20)])?;
    on.write(run, vec![completed(1)], vec![finish(run, vec![first])]).map_err(told)?;
    same(on.0.recover().map_err(told)?.timers, vec![])
}

fn parking_lists_records(on: &On) -> Result<(), String> {
    let run = run_id(1);
    let first = on.begin(1)?;
    refused_with(on.write(run, steps(1, 3), vec![park(run, vec![])]), &code::REFUSED)?;
    on.write(run, steps(1, 3), vec![park(run, vec![first])]).map_err(told)?;
    let stored = on.0.run(&Scope::All, run).map_err(told)?.ok_or("no row")?;
    same((stored.row.status, stored.row.detail.as_deref()), (RunStatus::Waiting, Some("the sun")))?;
    same(stored.lsns, Some(places(first, 3)))?;
    let recovery = on.0.recover().map_err(told)?;
    same((recovery.live.len(), recovery.parked), (0, 1))?;
    on.write(run, steps(3, 4), vec![Op::RunUnpark { run }]).map_err(told)?;
    let stored = on.0.run(&Scope::All, run).map_err(told)?.ok_or("no row")?;
    same((stored.row.status, stored.lsns), (RunStatus::Pending, None))?;
    let recovery = on.0.recover().map_err(told)?;
    same((recovery.live[0].1.len(), recovery.parked), (4, 0))
}

fn questions_are_kept(on: &On) -> Result<(), String> {
    let run = run_id(1);
    on.begin(1)?;
    let ask = |number: u8, seq| Op::InboxPut {
        id: InboxId::from([number; 16]),
        run,
        place: place(1),
        kind: InboxKind::Uncertain,
        question: json!({ "number": number }),
        at: at(seq),
    };
    on.write(run, vec![], vec![ask(1, 9), ask(2, 3)]).map_err(told)?;
    refused_with(on.write(run, vec![], vec![ask(1, 1)]), &code::REFUSED)?;
    let open = on.0.inbox(&Scope::All).map_err(told)?;
    same(open.iter().map(|one| one.question["number"].clone()).collect(), vec![json!(2), json!(1)])?;
    on.write(run, vec![], vec![Op::InboxCloseRun { run }]).map_err(told)?;
    same(on.0.inbox(&Scope::All).map_err(told)?, vec![])
}

fn pages_are_whole(on: &On) -> Result<(), String> {
    for number in 1..=23 {
        if number % 3 == 0 { on.finish(number).map(drop)? } else { on.begin(number).map(drop)? }
    }
    let statuses = [vec![], vec![RunStatus::Pending], vec![RunStatus::Completed, RunStatus::Pending]];
    for (statuses, way) in statuses.iter().flat_map(|statuses| [(statuses, Way::Down), (statuses, Way::Up)]) {
        let (mut past, mut seen) = (None, Vec::new());
        loop {
            let filter = RunFilter { past, way, limit: 4, statuses: statuses.clone(), workflow: None };
            let page = on.0.runs(&Scope::All, &filter).map_err(told)?;
            let wanted = if statuses.len() == 1 { 16 } else { 23 };
            same(page.total, wanted)?;
            past = page.items.last().map(|row| row.id);
            seen.extend(page.items.iter().map(|row| row.id));
            if !page.more {
                break;
            }
        }
        let mut all: Vec<RunId> =
            (1..=23).filter(|number| statuses.len() != 1 || number % 3 > 0).map(run_id).collect();
        if way == Way::Down {
            all.reverse();
        }
        same(seen, all)?;
    }
    Ok(())
}

fn the_journal_is_paged(on: &On) -> Result<(), String> {
    for number in 1..=10 {
        on.finish(number)?;
    }
    let whole = on.0.journal_after(Lsn(0), 1_000).map_err(told)?;
    same(whole.len(), 30)?;
    for (after, limit) in [(0, 7), (5, 1), (13, 100), (30, 5)] {
        let page = on.0.journal_after(Lsn(after), limit).map_err(told)?;
        same(page, whole.iter().skip(after as usize).take(limit as usize).cloned().collect())?;
    }
    Ok(())
}

fn workflows_are_kept(on: &On) -> Result<(), String> {
    let (id, name) = (workflow_id(1), "water".to_owned());
    let new = |id, source: &str| {
        let (name, source) = (name.clone(), source.to_owned());
        Op::WorkflowInsert { id, name, source, at: at(1), possession: Possession::HOUSE, idempotency: None }
    };
    on.write(run_id(0), vec![], vec![new(id, "one")]).map_err(told)?;
    refused_with(on.write(run_id(0), vec![], vec![new(workflow_id(2), "two")]), &definition::EXISTS)?;
    let version =
        |source: &str| Op::WorkflowVersion { id, name: name.clone(), source: source.to_owned(), at: at(2) };
    on.write(run_id(0), vec![], vec![version("two")]).map_err(told)?;
    on.write(run_id(0), vec![], vec![version("two")]).map_err(told)?;
    let stored = on.0.workflow_named(&Scope::All, "water").map_err(told)?.ok_or("not found")?;
    same(
        (stored.version, stored.source.as_str(), stored.created_at, stored.updated_at),
        (2, "two", at(1), at(2)),
    )?;
    same(on.0.definition(&Scope::All, DefinitionHash::of("one")).map_err(told)?.as_deref(), Some("one"))?;
    let list = WorkflowFilter { limit: 10, ..WorkflowFilter::default() };
    same(on.0.workflows(&Scope::All, &list).map_err(told)?.total, 1)?;
    on.write(run_id(0), vec![], vec![Op::WorkflowDelete { id, at: at(3) }]).map_err(told)?;
    same(on.0.workflow_named(&Scope::All, "water").map_err(told)?, None)?;
    same(on.0.workflow(&Scope::All, id).map_err(told)?.and_then(|one| one.deleted_at), Some(at(3)))?;
    refused_with(on.write(run_id(0), vec![], vec![version("three")]), &definition::NOT_FOUND)?;
    on.write(run_id(0), vec![], vec![new(workflow_id(2), "two")]).map(drop).map_err(told)
}

fn cursors_are_kept(on: &On) -> Result<(), String> {
    same(on.0.cursor("host").map_err(told)?, None)?;
    for lsn in [4, 9, 7] {
        on.write(run_id(0), vec![], vec![Op::CursorSet { name: "host", lsn: Lsn(lsn) }]).map_err(told)?;
        same(on.0.cursor("host").map_err(told)?, Some(Lsn(lsn)))?;
    }
    Ok(())
}

/// Upkeep until nothing is left; runs archived and deleted.
fn tidied(on: &On, rules: Retention) -> Result<(u64, u64), String> {
    let (now, mut all) = (at(0).after(Duration::from_secs(3_600)), (0, 0));
    for _ in 0..1_000 {
        let done =
            on.0.tidy(&Upkeep { now, rules, told: Lsn(i64::MAX), keep: &|_| Keep::default() })
                .map_err(told)?;
        all = (all.0 + done.archived, all.1 + done.deleted);
        if !done.more {
            return Ok(all);
        }
    }
    Err("upkeep does not end".to_owned())
}

fn the_archive_reads_the_same(on: &On) -> Result<(), String> {
    let lsns = on.finish(1)?;
    on.begin(2)?;
    let read = || {
        let page = on.0.runs(&Scope::All, &RunFilter { limit: 9, ..RunFilter::default() }).map_err(told)?;
        let (run, records) = (
            on.0.run(&Scope::All, run_id(1)).map_err(told)?,
            on.0.records(&Scope::All, run_id(1), &lsns).map_err(told)?,
        );
        Ok::<_, String>((run, records, on.0.journal_after(Lsn(0), 99).map_err(told)?, page.items))
    };
    let before = read()?;
    same(tidied(on, Retention::default())?, (1, 0))?;
    same(read()?, before)?;
    on.write(run_id(2), steps(1, 2), vec![]).map_err(told)?;
    same(on.0.newest_lsn().map_err(told)?, Lsn(5))
}

fn retention_deletes(on: &On) -> Result<(), String> {
    for number in 1..=5 {
        on.finish(number)?;
    }
    on.begin(6)?;
    same(tidied(on, Retention { runs_max: 2, ..Retention::default() })?, (5, 3))?;
    let page = on.0.runs(&Scope::All, &RunFilter { limit: 9, ..RunFilter::default() }).map_err(told)?;
    same(page.items.iter().map(|row| row.id).collect(), vec![run_id(6), run_id(5), run_id(4)])?;
    same(on.0.run(&Scope::All, run_id(1)).map_err(told)?, None)?;
    let now = Retention { completed: Duration::from_secs(60), ..Retention::default() };
    same(tidied(on, now)?, (0, 2))?;
    same(on.0.journal_after(Lsn(0), 99).map_err(told)?.len(), 1)
}

fn limits_hold(on: &On) -> Result<(), String> {
    on.begin(1)?;
    refused_with(on.write(run_id(1), vec![], vec![]), &code::REFUSED)?;
    let body = RecordBody::CancelRequested { reason: "x".repeat(crate::limits::RECORD_BYTES_MAX + 1) };
    refused_with(on.write(run_id(1), vec![Record { seq: 1, at: at(1), body }], vec![]), &code::RECORD_SIZE)
}

fn closing_refuses(on: &On) -> Result<(), String> {
    on.begin(1)?;
    on.0.close();
    refused_with(on.write(run_id(1), steps(1, 2), vec![]), &general::STOPPING)?;
    same(on.0.newest_lsn().map_err(|error| error.code().id), Err(general::STOPPING.id))
}

pub fn message(number: u8) -> NewMessage {
    NewMessage {
        id: EffectKey([number; 16]),
        kind: MessageKind::Webhook,
        run: run_id(1),
        step: "tell".to_owned(),
        target: "https://example.com/hook".to_owned(),
        input: std::sync::Arc::new(
            serde_json::json!({ "url": "https://example.com/hook", "payload": { "n": number } }),
        ),
        at: at(u32::from(number)),
    }
}

fn put(number: u8) -> Op {
    Op::OutboxPut(Box::new(message(number)))
}

fn mark(number: u8, state: MessageState, attempts: u32, time: u32) -> Op {
    let error = (state != MessageState::Delivered).then(|| "no answer".to_owned());
    Op::OutboxMark(MessageMark { id: EffectKey([number; 16]), state, attempts, at: at(time), error })
}

fn messages_are_kept(on: &On) -> Result<(), String> {
    on.begin(1)?;
    // With the step's completion, in one batch; a refused batch leaves no message.
    on.write(run_id(1), vec![step(1), completed(2)], vec![put(1), put(2)]).map_err(told)?;
    refused_with(on.write(run_id(1), vec![step(9)], vec![put(3)]), &code::REFUSED)?;
    let pending = || on.0.outbox_pending().map_err(told);
    same(
        pending()?.iter().map(|one| (one.id.0[0], one.due)).collect::<Vec<_>>(),
        vec![(1, at(1)), (2, at(2))],
    )?;
    same(pending()?[0].bytes, message(1).bytes())?;
    let find = |number: u8| on.0.outbox_message(&Scope::All, EffectKey([number; 16])).map_err(told);
    same(
        find(1)?.map(|stored| (stored.message, stored.state, stored.attempts)),
        Some((message(1), MessageState::Pending, 0)),
    )?;
    same(find(3)?, None)?;
    on.write(
        run_id(0),
        vec![],
        vec![mark(1, MessageState::Pending, 3, 90), mark(2, MessageState::Dead, 10, 50)],
    )
    .map_err(told)?;
    // The same again is the same message, whatever became of it.
    on.write(run_id(0), vec![], vec![put(1), put(2)]).map_err(told)?;
    let stored = find(1)?.ok_or("it is gone")?;
    same(
        (stored.attempts, stored.due, stored.finished_at, stored.error.as_deref()),
        (3, at(90), None, Some("no answer")),
    )?;
    let dead = find(2)?.ok_or("it is gone")?;
    same((dead.state, dead.attempts, dead.finished_at), (MessageState::Dead, 10, Some(at(50))))?;
    same(pending()?.len(), 1)?;
    on.write(run_id(0), vec![], vec![Op::OutboxRemove { id: EffectKey([1; 16]) }]).map_err(told)?;
    same(find(1)?, None)?;
    same(pending()?.len(), 0)
}

fn messages_are_paged_and_pruned(on: &On) -> Result<(), String> {
    on.begin(1)?;
    on.write(run_id(0), vec![], (1..=9).map(put).collect()).map_err(told)?;
    let marks = (1..=6).map(|number| mark(number, MessageState::Delivered, 1, u32::from(number) * 10));
    on.write(run_id(0), vec![], marks.collect()).map_err(told)?;
    let all = MessageFilter { limit: 4, ..MessageFilter::default() };
    let list = |state, past| on.0.outbox(&Scope::All, &MessageFilter { state, past, ..all }).map_err(told);
    let numbers = |page: &crate::port::Page<crate::port::StoredMessage>| {
        page.items.iter().map(|one| one.message.id.0[0]).collect::<Vec<_>>()
    };
    let first = list(None, None)?;
    same((numbers(&first), first.total, first.more), (vec![9, 8, 7, 6], 9, true))?;
    let second = list(None, first.items.last().map(|one| one.seq))?;
    same((numbers(&second), second.more), (vec![5, 4, 3, 2], true))?;
    let up = MessageFilter { way: Way::Up, ..all };
    let first = on.0.outbox(&Scope::All, &up).map_err(told)?;
    same((numbers(&first), first.more), (vec![1, 2, 3, 4], true))?;
    let past = first.items.last().map(|one| one.seq);
    let second = on.0.outbox(&Scope::All, &MessageFilter { past, ..up }).map_err(told)?;
    same((numbers(&second), second.total, second.more), (vec![5, 6, 7, 8], 9, true))?;
    let pending = list(Some(MessageState::Pending), None)?;
    same((numbers(&pending), pending.total, pending.more), (vec![9, 8, 7], 3, false))?;
    // 1 and 2 are old; of the others the newest three stay; what is pending stays whatever its age.
    on.write(run_id(0), vec![], vec![Op::OutboxPrune { before: at(25), keep: 3 }]).map_err(told)?;
    let left =
        on.0.outbox(&Scope::All, &MessageFilter { limit: 100, ..MessageFilter::default() }).map_err(told)?;
    same(numbers(&left), vec![9, 8, 7, 6, 5, 4])
}

pub fn user(number: u8, name: &str) -> StoredUser {
    StoredUser {
        id: [number; 16].into(),
        name: name.to_owned(),
        role: Role::Operator,
        is_active: true,
        password: HashText("$argon2id$".to_owned()),
        must_change: false,
        created_at: at(1),
        updated_at: at(2),
        seen_at: None,
    }
}

fn login(number: u8, user: u8, refresh: u8) -> StoredLogin {
    StoredLogin {
        id: [number; 16].into(),
        user: [user; 16].into(),
        kind: LoginKind::Browser,
        refresh: Digest([refresh; 32]),
        created_at: at(3),
        seen_at: at(4),
        idle_until: at(5),
        expires_at: at(6),
        address: "127.0.0.1".to_owned(),
        agent: "a browser".to_owned(),
    }
}

fn api_token(number: u8, user: u8) -> StoredApiToken {
    StoredApiToken {
        id: [number; 16].into(),
        user: [user; 16].into(),
        name: "ci".to_owned(),
        prefix: "cb_0123".to_owned(),
        digest: Digest([number; 32]),
        scopes: vec!["chainbot:read".to_owned(), "hook:bell".to_owned()],
        created_at: at(3),
        expires_at: at(9),
        used_at: None,
    }
}

fn rotate(number: u8, from: u8, to: u8, time: u32) -> AccountOp {
    let (from, to) = (Digest([from; 32]), Digest([to; 32]));
    AccountOp::LoginRotate { id: [number; 16].into(), from, to, at: at(time), idle_until: at(time + 5) }
}

impl On {
    pub fn account(&self, ops: Vec<AccountOp>) -> Acked {
        self.write(run_id(0), vec![], ops.into_iter().map(|op| Op::Account(Box::new(op))).collect())
    }
}

fn accounts_are_kept(on: &On) -> Result<(), String> {
    let (mia, tom) = (user(1, "mia"), user(2, "tom"));
    let first = [
        AccountOp::UserPut(tom.clone()),
        AccountOp::UserPut(mia.clone()),
        AccountOp::LoginPut(login(7, 1, 70)),
        AccountOp::LoginPut(login(8, 2, 80)),
        AccountOp::TokenPut(api_token(9, 1)),
        AccountOp::TokenPut(api_token(10, 2)),
    ];
    // A login comes with its user in one batch at the first start.
    on.account(first[..2].to_vec()).map_err(told)?;
    on.account(first[2..].to_vec()).map_err(told)?;
    let all = || on.0.accounts().map_err(told);
    same(all()?.users, vec![mia.clone(), tom])?;
    same(all()?.logins, vec![login(7, 1, 70), login(8, 2, 80)])?;
    same(all()?.tokens, vec![api_token(9, 1), api_token(10, 2)])?;
    on.account(vec![rotate(7, 70, 71, 20)]).map_err(told)?;
    on.account(vec![rotate(7, 71, 72, 30), AccountOp::TokenUsed { id: [9; 16].into(), at: at(44) }])
        .map_err(told)?;
    let now = all()?;
    same((now.logins[0].refresh, now.logins[0].seen_at), (Digest([72; 32]), at(30)))?;
    same((now.logins[0].idle_until, now.logins[0].expires_at), (at(35), at(6)))?;
    same(now.spent.iter().map(|one| (one.digest.0[0], one.at)).collect(), vec![(70, at(20)), (71, at(30))])?;
    same(now.tokens[0].used_at, Some(at(44)))?;
    let (mut renamed, made) = (mia, at(1));
    (renamed.name, renamed.role, renamed.is_active) = ("mia2".to_owned(), Role::Admin, false);
    (renamed.seen_at, renamed.must_change) = (Some(at(50)), true);
    on.account(vec![AccountOp::UserPut(renamed.clone())]).map_err(told)?;
    same(all()?.users.first().cloned(), Some(renamed))?;
    same(all()?.users[0].created_at, made)?;
    on.account(vec![AccountOp::UserRemove { id: [1; 16].into() }]).map_err(told)?;
    let left = all()?;
    same((left.users.len(), left.logins, left.spent.len()), (1, vec![login(8, 2, 80)], 0))?;
    same(left.tokens, vec![api_token(10, 2)])?;
    on.account(vec![
        AccountOp::LoginEnd { id: [8; 16].into() },
        AccountOp::TokenRemove { id: [10; 16].into() },
        AccountOp::TokenRemove { id: [11; 16].into() },
    ])
    .map_err(told)?;
    same((all()?.logins.len(), all()?.tokens.len()), (0, 0))
}

fn accounts_refuse(on: &On) -> Result<(), String> {
    on.account(vec![AccountOp::UserPut(user(1, "mia"))]).map_err(told)?;
    // Whole or not at all: nothing of a refused batch stays.
    let taken = vec![AccountOp::LoginPut(login(7, 1, 70)), AccountOp::UserPut(user(2, "mia"))];
    refused_with(on.account(taken), &account::EXISTS)?;
    refused_with(on.account(vec![AccountOp::LoginPut(login(7, 9, 70))]), &account::NOT_FOUND)?;
    refused_with(on.account(vec![AccountOp::TokenPut(api_token(7, 9))]), &account::NOT_FOUND)?;
    same(on.0.accounts().map_err(told)?.logins.len(), 0)?;
    on.account(vec![AccountOp::LoginPut(login(7, 1, 70))]).map_err(told)?;
    on.account(vec![rotate(7, 70, 71, 20)]).map_err(told)?;
    refused_with(on.account(vec![rotate(7, 70, 72, 21)]), &account::REFRESH)?;
    refused_with(on.account(vec![rotate(8, 71, 72, 21)]), &account::REFRESH)?;
    same(on.0.accounts().map_err(told)?.logins[0].refresh, Digest([71; 32]))
}

fn audit_is_kept(on: &On) -> Result<(), String> {
    let entry = |number: u32, action, id: &str| AuditEntry {
        at: at(number),
        action,
        actor: Actor::Local,
        target: "run",
        target_id: id.to_owned(),
        request: None,
        before: None,
        after: Some([7; 32]),
        meta: Some("{}".to_owned()),
    };
    for number in 0..150 {
        let action = if number % 3 == 0 { Action::RunStart } else { Action::RunCancel };
        let id = (number % 5).to_string();
        on.write(RunId::from([0; 16]), vec![], vec![Op::Audit(Box::new(entry(number, action, &id)))])
            .map_err(told)?;
    }
    let found = on.0.audit_verdict().map_err(|error| error.to_string())?;
    if (found.rows, found.head.seq, found.broken.len()) != (150, 150, 0) {
        return Err(format!("{found:?}"));
    }
    let seqs = |filter: AuditFilter| -> Result<(Vec<i64>, u64, bool), String> {
        let page = on.0.audit(&filter).map_err(|error| error.to_string())?;
        Ok((page.items.iter().map(|row| row.seq).collect(), page.total, page.more))
    };
    let starts = || AuditFilter { action: Some("run.start".to_owned()), limit: 3, ..AuditFilter::default() };
    let got = seqs(starts())?;
    if got != (vec![148, 145, 142], 50, true) {
        return Err(format!("{got:?}"));
    }
    let got = seqs(AuditFilter { past: Some(7), limit: 9, ..starts() })?;
    if got != (vec![4, 1], 50, false) {
        return Err(format!("{got:?}"));
    }
    let got = seqs(AuditFilter { way: Way::Up, past: Some(139), limit: 3, ..starts() })?;
    if got != (vec![142, 145, 148], 50, false) {
        return Err(format!("{got:?}"));
    }
    let got = seqs(AuditFilter {
        target_id: Some("2".to_owned()),
        since: Some(at(100)),
        until: Some(at(112)),
        limit: 9,
        ..AuditFilter::default()
    })?;
    match got == (vec![113, 108, 103], 3, false) {
        true => Ok(()),
        false => Err(format!("{got:?}")),
    }
}
