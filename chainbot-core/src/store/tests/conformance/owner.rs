//! Whose things are: one workflow of every possession there is, with a run, a question and a message, and every scope there is.
//! What each question shows is compared with the rule of `port/scope.rs`, which no store uses as it is.

use super::super::*;
use super::case::{On, message, refused_with, same, told, user};
use crate::error::code::{definition, general};
use crate::id::{InboxId, UserId};
use crate::port::{
    AccountOp, Idempotency, InboxKind, MessageFilter, NewMessage, Role, RunFilter, WorkflowFilter,
};

/// Two people and the operator.
const OWNERS: [Option<u8>; 3] = [None, Some(1), Some(2)];

fn somebody(number: u8) -> UserId {
    [number; 16].into()
}

fn scopes() -> Vec<Scope> {
    let of = |user: Option<u8>| {
        Role::ALL.into_iter().map(move |role| Scope::Of { user: user.map(somebody), role })
    };
    std::iter::once(Scope::All).chain(OWNERS.into_iter().flat_map(of)).collect()
}

fn possessions() -> Vec<Possession> {
    let shared = || std::iter::once(None).chain(Role::ALL.map(Some));
    let of =
        |owner: Option<u8>| shared().map(move |shared| Possession { owner: owner.map(somebody), shared });
    OWNERS.into_iter().flat_map(of).collect()
}

/// What belongs to one workflow, by number.
struct Thing {
    number: u8,
    of: Possession,
}

impl Thing {
    fn workflow(&self) -> WorkflowId {
        workflow_id(1_000 + u128::from(self.number))
    }

    fn run(&self) -> RunId {
        run_id(1_000 + u128::from(self.number))
    }

    fn question(&self) -> InboxId {
        [self.number; 16].into()
    }

    fn message(&self) -> EffectKey {
        EffectKey([self.number; 16])
    }

    fn name(&self) -> String {
        ["w", &(100 + u32::from(self.number)).to_string()].concat()
    }

    /// No two have the same.
    fn source(&self) -> String {
        ["name: ", &self.name()].concat()
    }

    fn make(&self, on: &On) -> Result<(), String> {
        let (name, source, hash) = (self.name(), self.source(), DefinitionHash::of(&self.source()));
        let workflow = Op::WorkflowInsert {
            id: self.workflow(),
            name: name.clone(),
            source,
            at: at(1),
            possession: self.of,
            idempotency: None,
        };
        on.write(run_id(0), vec![], vec![workflow]).map_err(told)?;
        let row =
            RunRow { workflow: self.workflow(), name: name.clone(), definition: hash, ..row(self.run()) };
        let made = RunCreated {
            workflow: self.workflow(),
            name,
            definition: hash,
            inputs: Arc::new(json!({})),
            trigger: Trigger::Api,
            parent: None,
        };
        let first = Record { seq: 0, at: at(0), body: RecordBody::RunCreated(Box::new(made)) };
        let question = Op::InboxPut {
            id: self.question(),
            run: self.run(),
            place: place(1),
            kind: InboxKind::Approval,
            question: json!({ "number": self.number }),
            at: at(u32::from(self.number)),
        };
        let message = NewMessage { id: self.message(), run: self.run(), ..message(self.number) };
        let ops = vec![
            Op::RunInsert { row, idempotency: None, created: None },
            question,
            Op::OutboxPut(Box::new(message)),
        ];
        on.write(self.run(), vec![first], ops).map(drop).map_err(told)
    }
}

fn things(on: &On) -> Result<Vec<Thing>, String> {
    let all: Vec<Thing> = (1..).zip(possessions()).map(|(number, of)| Thing { number, of }).collect();
    all.iter().try_for_each(|thing| thing.make(on)).map(|()| all)
}

/// Everything that one scope shows, against the rule.
fn check(on: &On, things: &[Thing], scope: &Scope) -> Result<(), String> {
    let seen: Vec<&Thing> = things.iter().filter(|thing| scope.sees(&thing.of)).collect();
    let store = &on.0;
    for thing in things {
        let is_seen = scope.sees(&thing.of);
        let first = store.run(&Scope::All, thing.run()).map_err(told)?.ok_or("no run")?.first_lsn;
        let run = store.run(scope, thing.run()).map_err(told)?;
        let one = RunFilter { workflow: Some(thing.workflow()), limit: 9, ..RunFilter::default() };
        let of_workflow = store.runs(scope, &one).map_err(told)?;
        let got = [
            run.is_some(),
            !store.records(scope, thing.run(), &[first]).map_err(told)?.is_empty(),
            store.workflow(scope, thing.workflow()).map_err(told)?.is_some(),
            store.workflow_named(scope, &thing.name()).map_err(told)?.is_some(),
            store.definition(scope, DefinitionHash::of(&thing.source())).map_err(told)?.is_some(),
            !store.versions(scope, thing.workflow()).map_err(told)?.is_empty(),
            store.question(scope, thing.question()).map_err(told)?.is_some(),
            store.outbox_message(scope, thing.message()).map_err(told)?.is_some(),
            of_workflow.items.len() == 1 && of_workflow.total == 1,
        ];
        same(got, [is_seen; 9]).map_err(|why| format!("{scope:?} of {:?}: {why}", thing.of))?;
    }
    let listed = |numbers: Vec<u8>| same(numbers, seen.iter().map(|thing| thing.number).collect::<Vec<_>>());
    let said = |why: String| format!("{scope:?}: {why}");
    let list = WorkflowFilter { limit: 100, ..WorkflowFilter::default() };
    let workflows = store.workflows(scope, &list).map_err(told)?;
    let number = |id: &[u8; 16]| (u128::from_be_bytes(*id) & 0xffff) as u16;
    listed(workflows.items.iter().map(|one| (number(one.workflow.id.as_bytes()) - 1_000) as u8).collect())
        .map_err(said)?;
    same(workflows.total, seen.len() as u64).map_err(said)?;
    for statuses in [vec![], vec![RunStatus::Pending]] {
        let filter = RunFilter { statuses, limit: 100, ..RunFilter::default() };
        let runs = store.runs(scope, &filter).map_err(told)?;
        let newest_first = runs.items.iter().rev();
        listed(newest_first.map(|one| (number(one.id.as_bytes()) - 1_000) as u8).collect()).map_err(said)?;
        same(runs.total, seen.len() as u64).map_err(said)?;
    }
    let questions = store.inbox(scope).map_err(told)?;
    listed(questions.iter().map(|one| one.id.as_bytes()[0]).collect()).map_err(said)?;
    let messages = store.outbox(scope, &MessageFilter { limit: 100, ..Default::default() }).map_err(told)?;
    listed(messages.items.iter().rev().map(|one| one.message.id.0[0]).collect()).map_err(said)?;
    same(messages.total, seen.len() as u64).map_err(said)
}

pub fn scopes_are_kept(on: &On) -> Result<(), String> {
    let things = things(on)?;
    for scope in scopes() {
        check(on, &things, &scope)?;
        // Pages of what is seen follow each other without a hole where something is not.
        let mut left = things.iter().filter(|thing| scope.sees(&thing.of)).map(Thing::run).rev();
        let mut past = None;
        loop {
            let filter = RunFilter { past, limit: 2, ..RunFilter::default() };
            let page = on.0.runs(&scope, &filter).map_err(told)?;
            for row in &page.items {
                same(Some(row.id), left.next())?;
            }
            past = page.items.last().map(|row| row.id);
            if !page.more {
                break;
            }
        }
        same(left.next(), None)?;
    }
    // One text in two hands: either shows it.
    let source = things[0].source();
    let hash = DefinitionHash::of(&source);
    let (mia, tom) = (somebody(1), somebody(2));
    for (number, owner) in [(1, mia), (2, tom)] {
        let possession = Possession { owner: Some(owner), shared: None };
        let name = ["twin", if number == 1 { "a" } else { "b" }].concat();
        let twin = Op::WorkflowInsert {
            id: workflow_id(2_000 + number),
            name,
            source: "name: twin".to_owned(),
            at: at(1),
            possession,
            idempotency: None,
        };
        on.write(run_id(0), vec![], vec![twin]).map_err(told)?;
    }
    for user in [mia, tom] {
        let scope = Scope::Of { user: Some(user), role: Role::Editor };
        same(on.0.definition(&scope, DefinitionHash::of("name: twin")).map_err(told)?.is_some(), true)?;
    }
    let stranger = Scope::Of { user: Some(somebody(9)), role: Role::Editor };
    same(on.0.definition(&stranger, hash).map_err(told)?, None)
}

pub fn hands_are_changed(on: &On) -> Result<(), String> {
    on.account(vec![AccountOp::UserPut(user(1, "mia")), AccountOp::UserPut(user(2, "tom"))]).map_err(told)?;
    let mut things = things(on)?;
    let share = |thing: &Thing, possession| Op::WorkflowShare { id: thing.workflow(), possession };
    // Every possession goes on to the next one, and its run, question and message with it.
    let mut turned = possessions();
    turned.rotate_left(1);
    for (thing, of) in things.iter_mut().zip(turned) {
        on.write(run_id(0), vec![], vec![share(thing, of)]).map_err(told)?;
        thing.of = of;
    }
    for scope in scopes() {
        check(on, &things, &scope)?;
    }
    // A new version changes nothing of that.
    let first = &things[0];
    let version = Op::WorkflowVersion {
        id: first.workflow(),
        name: first.name(),
        source: "v: 2".to_owned(),
        at: at(9),
    };
    on.write(run_id(0), vec![], vec![version]).map_err(told)?;
    let stored = on.0.workflow(&Scope::All, first.workflow()).map_err(told)?.ok_or("no workflow")?;
    same((stored.version, stored.possession), (2, first.of))?;
    // What a user leaves behind is the operator's, and seen by nobody who did not see it before.
    let gone = somebody(1);
    on.account(vec![AccountOp::UserRemove { id: gone }]).map_err(told)?;
    for thing in things.iter_mut().filter(|thing| thing.of.owner == Some(gone)) {
        thing.of.owner = None;
    }
    for thing in &things {
        let stored = on.0.workflow(&Scope::All, thing.workflow()).map_err(told)?.ok_or("no workflow")?;
        same(stored.possession, thing.of)?;
    }
    let nobody = Op::WorkflowShare { id: workflow_id(9_999), possession: Possession::HOUSE };
    refused_with(on.write(run_id(0), vec![], vec![nobody]), &definition::NOT_FOUND)
}

pub fn keys_are_their_own(on: &On) -> Result<(), String> {
    let make = |number: u128, by: Option<u8>| {
        let key =
            Idempotency { by: by.map(somebody), key: "workflow k".to_owned(), digest: [3; 32], at: at(0) };
        let op = Op::WorkflowInsert {
            id: workflow_id(number),
            name: ["n", &number.to_string()].concat(),
            source: ["name: n", &number.to_string()].concat(),
            at: at(1),
            possession: Possession { owner: by.map(somebody), shared: None },
            idempotency: Some(key),
        };
        on.write(run_id(0), vec![], vec![op])
    };
    for (number, by) in [(1, Some(1)), (2, Some(2)), (3, None)] {
        same(on.0.idempotent(by.map(somebody), "workflow k").map_err(told)?, None)?;
        make(number, by).map_err(told)?;
        let hit = on.0.idempotent(by.map(somebody), "workflow k").map_err(told)?.ok_or("no key")?;
        same(hit.made, *workflow_id(number).as_bytes())?;
    }
    refused_with(make(4, Some(1)), &general::IDEMPOTENCY)
}
