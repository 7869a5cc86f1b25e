//! A store behind another one: whoever fakes a disk or a fault says what it changes, and the rest passes through.
//!
//! The methods are those of [`Store`], with the same names; a test store writes the few that it is about.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::id::{DefinitionHash, InboxId, Lsn, RunId, UserId, WorkflowId};
use crate::model::event::Committed;
use crate::model::{EffectKey, Record, RunRow};
use crate::port::upkeep::{Room, Tidied, Upkeep};
use crate::port::{
    AgentFilter, AgentMemory, AgentState, AuditFilter, AuditRow, AuditVerdict, Automation, Batch, DayUse,
    IdempotencyHit, ListedWorkflow, MessageFilter, Page, PendingMessage, Recovery, RunFilter, Scope, Store,
    StoredAccounts, StoredAgent, StoredListen, StoredMessage, StoredQuestion, StoredRun, StoredVersion,
    StoredWorkflow, UsageRow, WorkflowFilter,
};

/// What is a [`Store`] by being in front of one.
pub(crate) trait Through: Send + Sync {
    /// The store behind.
    fn inner(&self) -> &dyn Store;

    /// What is not passed on unasked: each wrapper is about what is written.
    fn submit(&self, batch: Batch) -> Result<()>;

    fn commit(&self, batch: Batch) -> Result<()> {
        self.submit(batch)
    }

    fn failed(&self) -> Option<Arc<Error>> {
        self.inner().failed()
    }

    fn recover(&self) -> Result<Recovery> {
        self.inner().recover()
    }

    fn run(&self, scope: &Scope, id: RunId) -> Result<Option<StoredRun>> {
        self.inner().run(scope, id)
    }

    fn records(&self, scope: &Scope, run: RunId, lsns: &[Lsn]) -> Result<Vec<(Lsn, Record)>> {
        self.inner().records(scope, run, lsns)
    }

    fn runs(&self, scope: &Scope, filter: &RunFilter) -> Result<Page<RunRow>> {
        self.inner().runs(scope, filter)
    }

    fn journal_after(&self, after: Lsn, limit: u32) -> Result<Vec<Committed>> {
        self.inner().journal_after(after, limit)
    }

    fn newest_lsn(&self) -> Result<Lsn> {
        self.inner().newest_lsn()
    }

    fn workflow(&self, scope: &Scope, id: WorkflowId) -> Result<Option<StoredWorkflow>> {
        self.inner().workflow(scope, id)
    }

    fn workflow_named(&self, scope: &Scope, name: &str) -> Result<Option<StoredWorkflow>> {
        self.inner().workflow_named(scope, name)
    }

    fn workflows(&self, scope: &Scope, filter: &WorkflowFilter) -> Result<Page<ListedWorkflow>> {
        self.inner().workflows(scope, filter)
    }

    fn definition(&self, scope: &Scope, hash: DefinitionHash) -> Result<Option<String>> {
        self.inner().definition(scope, hash)
    }

    fn idempotent(&self, by: Option<UserId>, key: &str) -> Result<Option<IdempotencyHit>> {
        self.inner().idempotent(by, key)
    }

    fn inbox(&self, scope: &Scope) -> Result<Vec<StoredQuestion>> {
        self.inner().inbox(scope)
    }

    fn question(&self, scope: &Scope, id: InboxId) -> Result<Option<StoredQuestion>> {
        self.inner().question(scope, id)
    }

    fn listens(&self) -> Result<Vec<StoredListen>> {
        self.inner().listens()
    }

    fn versions(&self, scope: &Scope, id: WorkflowId) -> Result<Vec<StoredVersion>> {
        self.inner().versions(scope, id)
    }

    fn cursor(&self, name: &str) -> Result<Option<Lsn>> {
        self.inner().cursor(name)
    }

    fn outbox_pending(&self) -> Result<Vec<PendingMessage>> {
        self.inner().outbox_pending()
    }

    fn outbox_message(&self, scope: &Scope, id: EffectKey) -> Result<Option<StoredMessage>> {
        self.inner().outbox_message(scope, id)
    }

    fn outbox(&self, scope: &Scope, filter: &MessageFilter) -> Result<Page<StoredMessage>> {
        self.inner().outbox(scope, filter)
    }

    fn automation(&self) -> Result<Automation> {
        self.inner().automation()
    }

    fn accounts(&self) -> Result<StoredAccounts> {
        self.inner().accounts()
    }

    fn audit(&self, filter: &AuditFilter) -> Result<Page<AuditRow>> {
        self.inner().audit(filter)
    }

    fn audit_verdict(&self) -> Result<AuditVerdict> {
        self.inner().audit_verdict()
    }

    fn close(&self) {
        self.inner().close();
    }

    fn tidy(&self, upkeep: &Upkeep<'_>) -> Result<Tidied> {
        self.inner().tidy(upkeep)
    }

    fn room(&self) -> Room {
        self.inner().room()
    }

    fn restore_room(&self) -> Result<Room> {
        self.inner().restore_room()
    }

    fn agents(&self, scope: &Scope, filter: &AgentFilter) -> Result<Page<StoredAgent>> {
        self.inner().agents(scope, filter)
    }

    fn usage(
        &self,
        scope: &Scope,
        agent: Option<WorkflowId>,
        since: u32,
        limit: u32,
    ) -> Result<Vec<UsageRow>> {
        self.inner().usage(scope, agent, since, limit)
    }

    fn agent_counts(&self) -> Result<Vec<(String, AgentState, u64)>> {
        self.inner().agent_counts()
    }

    fn day_usage(&self, day: u32) -> Result<Vec<DayUse>> {
        self.inner().day_usage(day)
    }

    fn tree_usage(&self, root: RunId) -> Result<(u64, u64)> {
        self.inner().tree_usage(root)
    }

    fn memory(&self) -> &dyn AgentMemory {
        self.inner().memory()
    }
}

impl<T: Through> Store for T {
    fn submit(&self, batch: Batch) -> Result<()> {
        Through::submit(self, batch)
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        Through::commit(self, batch)
    }

    fn failed(&self) -> Option<Arc<Error>> {
        Through::failed(self)
    }

    fn recover(&self) -> Result<Recovery> {
        Through::recover(self)
    }

    fn run(&self, scope: &Scope, id: RunId) -> Result<Option<StoredRun>> {
        Through::run(self, scope, id)
    }

    fn records(&self, scope: &Scope, run: RunId, lsns: &[Lsn]) -> Result<Vec<(Lsn, Record)>> {
        Through::records(self, scope, run, lsns)
    }

    fn runs(&self, scope: &Scope, filter: &RunFilter) -> Result<Page<RunRow>> {
        Through::runs(self, scope, filter)
    }

    fn journal_after(&self, after: Lsn, limit: u32) -> Result<Vec<Committed>> {
        Through::journal_after(self, after, limit)
    }

    fn newest_lsn(&self) -> Result<Lsn> {
        Through::newest_lsn(self)
    }

    fn workflow(&self, scope: &Scope, id: WorkflowId) -> Result<Option<StoredWorkflow>> {
        Through::workflow(self, scope, id)
    }

    fn workflow_named(&self, scope: &Scope, name: &str) -> Result<Option<StoredWorkflow>> {
        Through::workflow_named(self, scope, name)
    }

    fn workflows(&self, scope: &Scope, filter: &WorkflowFilter) -> Result<Page<ListedWorkflow>> {
        Through::workflows(self, scope, filter)
    }

    fn definition(&self, scope: &Scope, hash: DefinitionHash) -> Result<Option<String>> {
        Through::definition(self, scope, hash)
    }

    fn idempotent(&self, by: Option<UserId>, key: &str) -> Result<Option<IdempotencyHit>> {
        Through::idempotent(self, by, key)
    }

    fn inbox(&self, scope: &Scope) -> Result<Vec<StoredQuestion>> {
        Through::inbox(self, scope)
    }

    fn question(&self, scope: &Scope, id: InboxId) -> Result<Option<StoredQuestion>> {
        Through::question(self, scope, id)
    }

    fn listens(&self) -> Result<Vec<StoredListen>> {
        Through::listens(self)
    }

    fn versions(&self, scope: &Scope, id: WorkflowId) -> Result<Vec<StoredVersion>> {
        Through::versions(self, scope, id)
    }

    fn cursor(&self, name: &str) -> Result<Option<Lsn>> {
        Through::cursor(self, name)
    }

    fn outbox_pending(&self) -> Result<Vec<PendingMessage>> {
        Through::outbox_pending(self)
    }

    fn outbox_message(&self, scope: &Scope, id: EffectKey) -> Result<Option<StoredMessage>> {
        Through::outbox_message(self, scope, id)
    }

    fn outbox(&self, scope: &Scope, filter: &MessageFilter) -> Result<Page<StoredMessage>> {
        Through::outbox(self, scope, filter)
    }

    fn automation(&self) -> Result<Automation> {
        Through::automation(self)
    }

    fn accounts(&self) -> Result<StoredAccounts> {
        Through::accounts(self)
    }

    fn audit(&self, filter: &AuditFilter) -> Result<Page<AuditRow>> {
        Through::audit(self, filter)
    }

    fn audit_verdict(&self) -> Result<AuditVerdict> {
        Through::audit_verdict(self)
    }

    fn close(&self) {
        Through::close(self);
    }

    fn tidy(&self, upkeep: &Upkeep<'_>) -> Result<Tidied> {
        Through::tidy(self, upkeep)
    }

    fn room(&self) -> Room {
        Through::room(self)
    }

    fn restore_room(&self) -> Result<Room> {
        Through::restore_room(self)
    }

    fn agents(&self, scope: &Scope, filter: &AgentFilter) -> Result<Page<StoredAgent>> {
        Through::agents(self, scope, filter)
    }

    fn usage(
        &self,
        scope: &Scope,
        agent: Option<WorkflowId>,
        since: u32,
        limit: u32,
    ) -> Result<Vec<UsageRow>> {
        Through::usage(self, scope, agent, since, limit)
    }

    fn agent_counts(&self) -> Result<Vec<(String, AgentState, u64)>> {
        Through::agent_counts(self)
    }

    fn day_usage(&self, day: u32) -> Result<Vec<DayUse>> {
        Through::day_usage(self, day)
    }

    fn tree_usage(&self, root: RunId) -> Result<(u64, u64)> {
        Through::tree_usage(self, root)
    }

    fn memory(&self) -> &dyn AgentMemory {
        Through::memory(self)
    }
}
