//! Stores with one fault each, which the suite must catch.

use parking_lot::Mutex;

use super::super::through::Through;
use super::super::*;
use crate::error::Result;
use crate::id::{InboxId, UserId};
use crate::model::event::Committed;
use crate::port::upkeep::{Tidied, Upkeep};
use crate::port::{
    AccountOp, IdempotencyHit, ItemScope, ListedWorkflow, MemoryOp, MessageFilter, Origin, Page,
    PendingMessage, RunFilter, StoredAccounts, StoredLogin, StoredMessage, StoredQuestion, StoredRun,
    StoredVersion, StoredWorkflow, WorkflowFilter,
};
use crate::store::memory::MemoryStore;

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Fault {
    AcknowledgesBeforeTheCommit,
    LosesTheOrderWithinABatch,
    ClaimsATimerTwice,
    DropsTheIdempotencyKey,
    ForgetsTheLastRecordOfAParkedRun,
    KeepsNothingInTheArchive,
    DeletesTheNewestRuns,
    DoublesARunAtTheEdgeOfAPage,
    AnswersAfterClosing,
    ForgetsAMessage,
    TakesASpentRefreshToken,
    KeepsTheLoginsOfAUserThatIsGone,
    /// In one question only, as it happens.
    ForgetsWhoAsksFor(&'static str),
    KeepsWhatAUserThatIsGoneOwned,
    WritesABlockOverWhatSomebodyElseWrote,
    KeepsWhatAnAgentWasToForget,
    TrustsWhatCameFromOutside,
    TellsAllAgentsWhatOneSaved,
    ForgetsWhichTaskSaidIt,
}

pub const FAULTS: &[Fault] = &[
    Fault::AcknowledgesBeforeTheCommit,
    Fault::LosesTheOrderWithinABatch,
    Fault::ClaimsATimerTwice,
    Fault::DropsTheIdempotencyKey,
    Fault::ForgetsTheLastRecordOfAParkedRun,
    Fault::KeepsNothingInTheArchive,
    Fault::DeletesTheNewestRuns,
    Fault::DoublesARunAtTheEdgeOfAPage,
    Fault::AnswersAfterClosing,
    Fault::ForgetsAMessage,
    Fault::TakesASpentRefreshToken,
    Fault::KeepsTheLoginsOfAUserThatIsGone,
    Fault::ForgetsWhoAsksFor("run"),
    Fault::ForgetsWhoAsksFor("records"),
    Fault::ForgetsWhoAsksFor("runs"),
    Fault::ForgetsWhoAsksFor("workflow"),
    Fault::ForgetsWhoAsksFor("workflow_named"),
    Fault::ForgetsWhoAsksFor("workflows"),
    Fault::ForgetsWhoAsksFor("definition"),
    Fault::ForgetsWhoAsksFor("idempotent"),
    Fault::ForgetsWhoAsksFor("inbox"),
    Fault::ForgetsWhoAsksFor("question"),
    Fault::ForgetsWhoAsksFor("versions"),
    Fault::ForgetsWhoAsksFor("outbox_message"),
    Fault::ForgetsWhoAsksFor("outbox"),
    Fault::KeepsWhatAUserThatIsGoneOwned,
    Fault::WritesABlockOverWhatSomebodyElseWrote,
    Fault::KeepsWhatAnAgentWasToForget,
    Fault::TrustsWhatCameFromOutside,
    Fault::TellsAllAgentsWhatOneSaved,
    Fault::ForgetsWhichTaskSaidIt,
];

/// A right store behind a fault.
pub struct Broken {
    inner: Arc<MemoryStore>,
    fault: Fault,
    /// A batch that was acknowledged and is not committed.
    held: Mutex<Option<Batch>>,
    was_tidied: Mutex<bool>,
    logins: Mutex<std::collections::BTreeMap<crate::id::LoginId, StoredLogin>>,
}

impl Broken {
    pub fn over(inner: Arc<MemoryStore>, fault: Fault) -> Arc<dyn Store> {
        Arc::new(Self {
            inner,
            fault,
            held: Mutex::new(None),
            was_tidied: Mutex::new(false),
            logins: Mutex::default(),
        })
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// What is remembered, otherwise than it was said.
    fn bend(&self, op: &mut MemoryOp) {
        match (self.fault, op) {
            (Fault::WritesABlockOverWhatSomebodyElseWrote, MemoryOp::BlockPut(put)) => put.if_version = None,
            (Fault::KeepsWhatAnAgentWasToForget, op @ MemoryOp::Purge(_)) => {
                *op = MemoryOp::ThreadRemove([0; 16].into());
            }
            (Fault::TrustsWhatCameFromOutside, MemoryOp::ItemSave { item, .. }) => {
                item.origin = Origin::Trusted
            }
            (Fault::TellsAllAgentsWhatOneSaved, MemoryOp::ItemSave { item, .. }) => {
                item.scope = ItemScope::Owner
            }
            (Fault::ForgetsWhichTaskSaidIt, MemoryOp::ThreadAppend { run, .. }) => {
                *run = RunId::from(crate::env::Env::system().bytes());
            }
            _ => {}
        }
    }

    /// Whose objects a question is about.
    fn scope(&self, scope: &Scope, what: &'static str) -> Scope {
        if self.has(Fault::ForgetsWhoAsksFor(what)) { Scope::All } else { *scope }
    }
}

impl Through for Broken {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }

    fn submit(&self, mut batch: Batch) -> Result<()> {
        if self.has(Fault::ForgetsWhoAsksFor("idempotent")) {
            for op in &mut batch.ops {
                if let Op::WorkflowInsert { idempotency: Some(key), .. } = op {
                    key.by = None;
                }
            }
        }
        if self.has(Fault::KeepsWhatAUserThatIsGoneOwned) {
            let is_end =
                |op: &Op| matches!(op, Op::Account(op) if matches!(**op, AccountOp::UserRemove { .. }));
            batch.ops.retain(|op| !is_end(op));
            batch.ops.push(Op::CursorSet { name: "nothing", lsn: Lsn(0) });
        }
        if self.has(Fault::DropsTheIdempotencyKey) {
            for op in &mut batch.ops {
                if let Op::RunInsert { idempotency, .. } = op {
                    *idempotency = None;
                }
            }
        }
        if self.has(Fault::ClaimsATimerTwice) {
            batch.ops.iter_mut().for_each(|op| {
                if let Op::TimerClear { seq, .. } = op {
                    *seq += 1_000;
                }
            });
        }
        for op in &mut batch.ops {
            if let Op::Memory(op) = op {
                self.bend(op);
            }
        }
        for op in &mut batch.ops {
            if let Op::Account(op) = op
                && let AccountOp::LoginRotate { id, from, .. } = op.as_mut()
                && self.has(Fault::TakesASpentRefreshToken)
                && let Some(login) = self.inner.accounts()?.logins.iter().find(|login| login.id == *id)
            {
                *from = login.refresh;
            }
        }
        if self.has(Fault::AcknowledgesBeforeTheCommit) {
            let ack = std::mem::replace(&mut batch.ack, Box::new(|_| {}));
            ack(Ok(Lsn(self.inner.newest_lsn()?.0 + 1)));
            if let Some(earlier) = self.held.lock().replace(batch) {
                self.inner.submit(earlier)?;
            }
            return Ok(());
        }
        self.inner.submit(batch)
    }

    fn run(&self, scope: &Scope, id: RunId) -> Result<Option<StoredRun>> {
        let mut run = self.inner.run(&self.scope(scope, "run"), id)?;
        if self.has(Fault::ForgetsTheLastRecordOfAParkedRun)
            && let Some(lsns) = run.as_mut().and_then(|run| run.lsns.as_mut())
        {
            lsns.pop();
        }
        Ok(run)
    }

    fn records(&self, scope: &Scope, run: RunId, lsns: &[Lsn]) -> Result<Vec<(Lsn, Record)>> {
        let is_over = self.inner.run(&Scope::All, run)?.is_some_and(|run| run.row.status.is_terminal());
        if self.has(Fault::KeepsNothingInTheArchive) && *self.was_tidied.lock() && is_over {
            return Ok(Vec::new());
        }
        self.inner.records(&self.scope(scope, "records"), run, lsns)
    }

    fn runs(&self, scope: &Scope, filter: &RunFilter) -> Result<Page<RunRow>> {
        let mut page = self.inner.runs(&self.scope(scope, "runs"), filter)?;
        if self.has(Fault::DoublesARunAtTheEdgeOfAPage) && page.more {
            page.items.extend(page.items.last().cloned());
        }
        Ok(page)
    }

    fn journal_after(&self, after: Lsn, limit: u32) -> Result<Vec<Committed>> {
        let mut page = self.inner.journal_after(after, limit)?;
        if self.has(Fault::LosesTheOrderWithinABatch) && page.len() > 2 {
            let last = page.len() - 1;
            page.swap(last, last - 1);
        }
        Ok(page)
    }

    fn newest_lsn(&self) -> Result<Lsn> {
        match self.inner.newest_lsn() {
            Err(_) if self.has(Fault::AnswersAfterClosing) => Ok(Lsn(0)),
            other => other,
        }
    }

    fn workflow(&self, scope: &Scope, id: WorkflowId) -> Result<Option<StoredWorkflow>> {
        self.inner.workflow(&self.scope(scope, "workflow"), id)
    }

    fn workflow_named(&self, scope: &Scope, name: &str) -> Result<Option<StoredWorkflow>> {
        self.inner.workflow_named(&self.scope(scope, "workflow_named"), name)
    }

    fn workflows(&self, scope: &Scope, filter: &WorkflowFilter) -> Result<Page<ListedWorkflow>> {
        self.inner.workflows(&self.scope(scope, "workflows"), filter)
    }

    fn definition(&self, scope: &Scope, hash: DefinitionHash) -> Result<Option<String>> {
        self.inner.definition(&self.scope(scope, "definition"), hash)
    }

    fn idempotent(&self, by: Option<UserId>, key: &str) -> Result<Option<IdempotencyHit>> {
        self.inner.idempotent(by.filter(|_| !self.has(Fault::ForgetsWhoAsksFor("idempotent"))), key)
    }

    fn inbox(&self, scope: &Scope) -> Result<Vec<StoredQuestion>> {
        self.inner.inbox(&self.scope(scope, "inbox"))
    }

    fn question(&self, scope: &Scope, id: InboxId) -> Result<Option<StoredQuestion>> {
        self.inner.question(&self.scope(scope, "question"), id)
    }

    fn versions(&self, scope: &Scope, id: WorkflowId) -> Result<Vec<StoredVersion>> {
        self.inner.versions(&self.scope(scope, "versions"), id)
    }

    fn outbox_pending(&self) -> Result<Vec<PendingMessage>> {
        let mut pending = self.inner.outbox_pending()?;
        if self.has(Fault::ForgetsAMessage) {
            pending.truncate(1);
        }
        Ok(pending)
    }

    fn outbox_message(&self, scope: &Scope, id: EffectKey) -> Result<Option<StoredMessage>> {
        self.inner.outbox_message(&self.scope(scope, "outbox_message"), id)
    }

    fn outbox(&self, scope: &Scope, filter: &MessageFilter) -> Result<Page<StoredMessage>> {
        self.inner.outbox(&self.scope(scope, "outbox"), filter)
    }

    fn accounts(&self) -> Result<StoredAccounts> {
        let mut all = self.inner.accounts()?;
        if self.has(Fault::KeepsTheLoginsOfAUserThatIsGone) {
            let mut seen = self.logins.lock();
            all.logins.iter().for_each(|login| drop(seen.insert(login.id, login.clone())));
            all.logins = seen.values().cloned().collect();
        }
        Ok(all)
    }

    fn tidy(&self, upkeep: &Upkeep<'_>) -> Result<Tidied> {
        *self.was_tidied.lock() = true;
        if self.has(Fault::DeletesTheNewestRuns) {
            let rules = crate::port::upkeep::Retention { runs_max: 0, ..upkeep.rules };
            return self.inner.tidy(&Upkeep { rules, ..*upkeep });
        }
        self.inner.tidy(upkeep)
    }
}
