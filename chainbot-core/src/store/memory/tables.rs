//! The tables of the memory store: plain maps, each change checked before the first is made.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use crate::error::code::definition;
use crate::error::{Error, Result};
use crate::id::{DefinitionHash, InboxId, Lsn, RunId, UserId, WorkflowId};
use crate::model::event::Committed;
use crate::model::{EffectKey, Record, RecordBody, RunRow, RunStatus};
use crate::port::upkeep::{Tidied, Upkeep};
use crate::port::{
    AGENT_PREFIX, AccountOp, AgentFilter, Automation, DayUse, Idempotency, IdempotencyHit, ListedWorkflow,
    Op, Page, Possession, Recovery, RunFilter, Scope, StoredAccounts, StoredAgent, StoredListen,
    StoredMessage, StoredQuestion, StoredRun, StoredVersion, StoredWorkflow, Timer, UsageRow, WorkflowFilter,
    WorkflowPlace,
};
use crate::store::problem;

use super::agent::Agents;
use super::audit::Log;
use super::automation::Rules;
use super::outbox::Messages;
use super::remembered::Remembered;
use crate::time::Timestamp;

struct Run {
    row: RunRow,
    is_parked: bool,
    is_archived: bool,
    lsns: Vec<Lsn>,
    parent: Option<RunId>,
}

/// Everything.
#[derive(Default)]
pub struct Tables {
    journal: BTreeMap<Lsn, (RunId, Record)>,
    runs: BTreeMap<RunId, Run>,
    timers: BTreeMap<(RunId, u32), Timestamp>,
    inbox: BTreeMap<InboxId, StoredQuestion>,
    keys: BTreeMap<String, (IdempotencyHit, Timestamp)>,
    workflows: BTreeMap<WorkflowId, StoredWorkflow>,
    sources: BTreeMap<[u8; 32], String>,
    cursors: BTreeMap<&'static str, Lsn>,
    listens: BTreeMap<(RunId, u32), StoredListen>,
    versions: BTreeMap<(WorkflowId, u32), StoredVersion>,
    rules: Rules,
    pub messages: Messages,
    pub remembered: Remembered,
    accounts: StoredAccounts,
    pub audit: Log,
    pub agents: Agents,
    made: i64,
}

impl Tables {
    /// One batch, whole or not at all; the place of its first record.
    pub fn commit(&mut self, run: RunId, records: &[Record], ops: &[Op]) -> Result<Lsn> {
        let made = |id: RunId| ops.iter().any(|op| matches!(op, Op::RunInsert { row, .. } if row.id == id));
        let reopened = |id: RunId| ops.iter().any(|op| matches!(op, Op::RunReopen { run, .. } if *run == id));
        let open = |id: RunId| self.runs.get(&id).filter(|run| !run.row.status.is_terminal());
        if let Some(first) = records.first().filter(|first| first.seq > 0) {
            let failed = self.runs.get(&run).filter(|_| reopened(run));
            let known = open(run).or(failed).ok_or_else(|| problem::refused(run, &"there is no such run"))?;
            if known.lsns.len() != first.seq as usize {
                return Err(problem::refused(run, &"its records do not go on"));
            }
        }
        for op in ops {
            let is_there = match op {
                Op::RunInsert { row, idempotency, .. } => {
                    self.check_key(idempotency.as_ref())?;
                    !self.runs.contains_key(&row.id)
                }
                Op::RunPark { run: id, lsns, .. } | Op::RunFinish { run: id, lsns, .. } => {
                    // The list is that of the records before this batch.
                    lsns.len() == open(*id).map_or(0, |run| run.lsns.len())
                        && (made(*id) || open(*id).is_some())
                }
                Op::RunReopen { run: id, lsns, .. } => self
                    .runs
                    .get(id)
                    .is_some_and(|run| run.row.status == RunStatus::Failed && run.lsns.len() == lsns.len()),
                Op::RunDelete { run: id } => {
                    self.runs.get(id).is_some_and(|run| run.row.status.is_terminal())
                }
                Op::TriggerFire(firing) => self.rules.fits(firing),
                // Of another run, which may be over: then nobody is woken.
                Op::TimerSet { run: id, .. } if *id != run => true,
                Op::RunUnpark { run: id }
                | Op::TimerSet { run: id, .. }
                | Op::ListenSet { run: id, .. }
                | Op::GateEnter { run: id, .. } => made(*id) || reopened(*id) || open(*id).is_some(),
                Op::InboxPut { id, run, .. } => {
                    self.inbox.get(id).is_none_or(|known| known.answer.is_some())
                        && (made(*run) || open(*run).is_some())
                }
                _ => true,
            };
            if !is_there {
                return Err(problem::refused(run, &"it does not fit what is stored"));
            }
            self.check_workflow(op)?;
            if let Op::Memory(op) = op {
                self.remembered.check(op, &|id| self.possession(id))?;
            }
            if let Op::Account(op) = op {
                self.accounts.check(op).map_or(Ok(()), |refusal| Err(problem::account(refusal)))?;
            }
        }
        let first = Lsn(self.made + 1);
        for record in records {
            self.append(run, record);
        }
        for op in ops {
            if let Op::RunInsert { row, created: Some(record), .. } = op {
                self.append(row.id, record);
            }
        }
        let at_end = Lsn(self.made);
        ops.iter().for_each(|op| self.apply(op));
        Ok(if at_end.0 < first.0 { at_end } else { first })
    }

    fn check_key(&self, key: Option<&Idempotency>) -> Result<()> {
        match key {
            Some(key) if self.keys.contains_key(&Idempotency::kept_as(key.by, &key.key)) => {
                Err(problem::key_used(&key.key))
            }
            _ => Ok(()),
        }
    }

    fn check_workflow(&self, op: &Op) -> Result<()> {
        let (id, name) = match op {
            Op::WorkflowInsert { id, name, idempotency, .. } => {
                self.check_key(idempotency.as_ref())?;
                (id, name)
            }
            Op::WorkflowVersion { id, name, .. } => {
                let known = self.workflows.get(id).filter(|known| known.deleted_at.is_none());
                known.ok_or_else(|| Error::new(&definition::NOT_FOUND, "there is no such workflow"))?;
                (id, name)
            }
            Op::WorkflowDelete { id, .. } | Op::WorkflowShare { id, .. } => {
                let known = self.workflows.get(id);
                return known
                    .map(drop)
                    .ok_or_else(|| Error::new(&definition::NOT_FOUND, "there is no such workflow"));
            }
            _ => return Ok(()),
        };
        match self.workflow_named(&Scope::All, name).filter(|other| other.id != *id) {
            Some(_) => Err(Error::new(&definition::EXISTS, "the name is taken")),
            None => Ok(()),
        }
    }

    fn append(&mut self, run: RunId, record: &Record) {
        self.made += 1;
        self.journal.insert(Lsn(self.made), (run, record.clone()));
        match self.runs.get_mut(&run) {
            Some(known) => known.lsns.push(Lsn(self.made)),
            None => {
                let RecordBody::RunCreated(created) = &record.body else { return };
                let row = RunRow {
                    id: run,
                    workflow: created.workflow,
                    name: created.name.clone(),
                    definition: created.definition,
                    status: RunStatus::Pending,
                    detail: None,
                    created_at: record.at,
                    finished_at: None,
                };
                let (parent, lsns) = (created.parent.as_ref().map(|parent| parent.run), vec![Lsn(self.made)]);
                self.runs.insert(run, Run { row, is_parked: false, is_archived: false, lsns, parent });
            }
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::RunInsert { row, idempotency, .. } => {
                self.keep_key(idempotency.as_ref(), row.id.as_bytes());
                if let Some(run) = self.runs.get_mut(&row.id) {
                    run.row = row.clone();
                }
            }
            Op::RunPark { run, status, detail, .. } => self.stand(*run, *status, detail.clone(), true),
            Op::RunUnpark { run } => {
                if self.runs.get(run).is_some_and(|run| run.is_parked) {
                    self.stand(*run, RunStatus::Pending, None, false);
                }
            }
            Op::RunFinish { run, status, detail, at, .. } => {
                self.stand(*run, *status, detail.clone(), false);
                if let Some(run) = self.runs.get_mut(run) {
                    run.row.finished_at = Some(*at);
                }
                self.timers.retain(|(of, _), _| of != run);
                self.close_inbox(*run);
                self.listens.retain(|(of, _), _| of != run);
            }
            Op::RunReopen { run, status, detail, .. } => {
                self.stand(*run, *status, Some(detail.clone()), true);
                if let Some(run) = self.runs.get_mut(run) {
                    (run.row.finished_at, run.is_archived) = (None, false);
                }
            }
            Op::RunDelete { run } => {
                self.journal.retain(|_, (of, _)| of != run);
                self.inbox.retain(|_, question| question.run != *run);
                self.runs.remove(run);
                self.agents.trees.remove(run);
            }
            Op::ListenSet { run, seq, topic } => {
                let lsn = self.runs.get(run).and_then(|run| run.lsns.get(*seq as usize)).copied();
                let listen =
                    StoredListen { run: *run, seq: *seq, lsn: lsn.unwrap_or_default(), topic: topic.clone() };
                self.listens.insert((*run, *seq), listen);
            }
            Op::ListenClear { run, seq } => drop(self.listens.remove(&(*run, *seq))),
            Op::InboxClose { id } => self.inbox.retain(|of, question| of != id || question.answer.is_some()),
            Op::InboxAnswer(answer) => {
                if let Some(question) = self.inbox.get_mut(&answer.id) {
                    question.answer.get_or_insert(answer.clone());
                }
            }
            Op::TimerSet { run, seq, due } => {
                if self.runs.get(run).is_some_and(|run| !run.row.status.is_terminal()) {
                    self.timers.insert((*run, *seq), *due);
                }
            }
            Op::TimerClear { run, seq } => {
                self.timers.remove(&(*run, *seq));
            }
            Op::InboxPut { id, run, kind, question, at, .. } => {
                let (kind, question) = (kind.as_str().to_owned(), question.clone());
                self.inbox.insert(
                    *id,
                    StoredQuestion { id: *id, run: *run, kind, question, at: *at, answer: None },
                );
            }
            Op::InboxCloseRun { run } => self.close_inbox(*run),
            Op::WorkflowInsert { id, name, source, at, possession, idempotency } => {
                self.keep_key(idempotency.as_ref(), id.as_bytes());
                self.version(*id, name, source, *at);
                self.give(*id, *possession);
            }
            Op::WorkflowShare { id, possession } => self.give(*id, *possession),
            Op::WorkflowVersion { id, name, source, at } => self.version(*id, name, source, *at),
            Op::WorkflowDelete { id, at } => {
                if let Some(known) = self.workflows.get_mut(id) {
                    known.deleted_at.get_or_insert(*at);
                }
            }
            Op::KeyKeep { key, made } => self.keep_key(Some(key), made),
            Op::CursorSet { name, lsn } => {
                self.cursors.insert(name, *lsn);
            }
            // Secrets have a vault of their own, and probes the models, which are not asked here.
            Op::SecretPut(_) | Op::SecretRemove { .. } | Op::ProbePut(_) => {}
            Op::Account(op) => {
                self.accounts.apply(op);
                if let AccountOp::UserRemove { id } = **op {
                    self.remembered.give_back(id);
                    let of = |workflow: &&mut StoredWorkflow| workflow.possession.owner == Some(id);
                    self.workflows.values_mut().filter(of).for_each(|one| one.possession.owner = None);
                }
            }
            Op::Agent(op) => self.agents.apply(op),
            Op::Memory(op) => {
                let mut remembered = std::mem::take(&mut self.remembered);
                remembered.apply(op, &|id| self.possession(id));
                self.remembered = remembered;
            }
            Op::Audit(entry) => self.audit.append(entry),
            other if self.messages.apply(other) => {}
            rule => self.rules.apply(rule),
        }
    }

    fn close_inbox(&mut self, run: RunId) {
        self.inbox.retain(|_, question| question.run != run || question.answer.is_some());
    }

    fn stand(&mut self, run: RunId, status: RunStatus, detail: Option<String>, is_parked: bool) {
        if let Some(run) = self.runs.get_mut(&run) {
            (run.row.status, run.row.detail, run.is_parked) = (status, detail, is_parked);
        }
    }

    fn keep_key(&mut self, key: Option<&Idempotency>, made: &[u8; 16]) {
        if let Some(key) = key {
            let kept_as = Idempotency::kept_as(key.by, &key.key);
            self.keys.insert(kept_as, (IdempotencyHit { digest: key.digest, made: *made }, key.at));
        }
    }

    fn version(&mut self, id: WorkflowId, name: &str, source: &str, at: Timestamp) {
        let hash = DefinitionHash::of(source);
        let known = self.workflows.get(&id);
        if known.is_some_and(|known| known.hash == hash) {
            return;
        }
        let (version, created_at) = known.map_or((1, at), |known| (known.version + 1, known.created_at));
        self.versions.insert((id, version), StoredVersion { version, hash, created_at: at });
        self.sources.insert(hash.0, source.to_owned());
        let (name, source) = (name.to_owned(), source.to_owned());
        let possession = known.map_or(Possession::HOUSE, |known| known.possession);
        let (updated_at, deleted_at) = (at, None);
        let stored = StoredWorkflow {
            id,
            name,
            hash,
            version,
            source,
            created_at,
            updated_at,
            deleted_at,
            possession,
        };
        self.workflows.insert(id, stored);
    }

    fn give(&mut self, id: WorkflowId, possession: Possession) {
        if let Some(workflow) = self.workflows.get_mut(&id) {
            workflow.possession = possession;
        }
    }

    /// Whose a workflow is, deleted ones too.
    pub fn possession(&self, id: WorkflowId) -> Option<Possession> {
        self.workflows.get(&id).map(|one| one.possession)
    }

    fn sees(&self, scope: &Scope, workflow: WorkflowId) -> bool {
        scope.is_whole() || self.workflows.get(&workflow).is_some_and(|one| scope.sees(&one.possession))
    }

    /// Whether a run is there for them.
    pub fn sees_run(&self, scope: &Scope, run: RunId) -> bool {
        scope.is_whole() || self.runs.get(&run).is_some_and(|run| self.sees(scope, run.row.workflow))
    }

    pub fn question(&self, scope: &Scope, id: InboxId) -> Option<StoredQuestion> {
        self.inbox.get(&id).filter(|question| self.sees_run(scope, question.run)).cloned()
    }

    pub fn message(&self, scope: &Scope, id: EffectKey) -> Option<StoredMessage> {
        self.messages.find(id).filter(|stored| self.sees_run(scope, stored.message.run))
    }

    pub fn listens(&self) -> Vec<StoredListen> {
        self.listens.values().cloned().collect()
    }

    pub fn versions(&self, scope: &Scope, id: WorkflowId) -> Vec<StoredVersion> {
        if !self.sees(scope, id) {
            return Vec::new();
        }
        self.versions.range((id, 0)..=(id, u32::MAX)).rev().map(|(_, version)| version.clone()).collect()
    }

    pub fn accounts(&self) -> StoredAccounts {
        let mut all = self.accounts.clone();
        all.sort();
        all
    }

    pub fn automation(&self) -> Automation {
        let stands = |run: &Run| (run.is_parked, run.row.status == RunStatus::Paused);
        self.rules.all(|run| self.runs.get(&run).map_or((false, false), stands))
    }

    pub fn recover(&self) -> Recovery {
        let unfinished = || self.runs.values().filter(|run| !run.row.status.is_terminal());
        let mut live: Vec<_> = unfinished().filter(|run| !run.is_parked).collect();
        live.sort_by_key(|run| run.lsns[0]);
        let mut timers: Vec<Timer> =
            self.timers.iter().map(|((run, seq), due)| Timer { due: *due, run: *run, seq: *seq }).collect();
        timers.sort_by_key(|timer| (timer.due, timer.run, timer.seq));
        let records = |run: &Run| run.lsns.iter().map(|lsn| (*lsn, self.journal[lsn].1.clone())).collect();
        Recovery {
            live: live.into_iter().map(|run| (run.row.id, records(run))).collect(),
            timers,
            parked: unfinished().filter(|run| run.is_parked).count(),
            newest: self.journal.last_key_value().map(|(_, (_, record))| record.at),
        }
    }

    pub fn run(&self, scope: &Scope, id: RunId) -> Option<StoredRun> {
        self.runs.get(&id).filter(|_| self.sees_run(scope, id)).map(|run| StoredRun {
            row: run.row.clone(),
            lsns: (run.is_parked || run.row.status.is_terminal()).then(|| run.lsns.clone()),
            first_lsn: run.lsns[0],
        })
    }

    pub fn records(&self, scope: &Scope, run: RunId, lsns: &[Lsn]) -> Result<Vec<(Lsn, Record)>> {
        if !self.sees_run(scope, run) {
            return Ok(Vec::new());
        }
        lsns.iter()
            .map(|lsn| match self.journal.get(lsn) {
                Some((of, record)) if *of == run => Ok((*lsn, record.clone())),
                _ => Err(problem::corrupt(run, *lsn, "it is missing, or of another run")),
            })
            .collect()
    }

    pub fn runs(&self, scope: &Scope, filter: &RunFilter) -> Page<RunRow> {
        let fits = |row: &&RunRow| {
            self.sees(scope, row.workflow)
                && filter.workflow.is_none_or(|workflow| row.workflow == workflow)
                && (filter.statuses.is_empty() || filter.statuses.contains(&row.status))
        };
        let mut all: Vec<&RunRow> = self.runs.values().map(|run| &run.row).filter(fits).collect();
        let total = all.len() as u64;
        all.sort_by(|a, b| filter.way.turn(a.id.cmp(&b.id)));
        let is_past =
            |row: &&RunRow| filter.past.is_none_or(|past| filter.way.turn(row.id.cmp(&past)).is_gt());
        let limit = filter.limit as usize;
        let mut items: Vec<RunRow> = all.into_iter().filter(is_past).take(limit + 1).cloned().collect();
        let more = items.len() > limit;
        items.truncate(limit);
        Page { items, total, more }
    }

    pub fn journal_after(&self, after: Lsn, limit: u32) -> Vec<Committed> {
        let rest = self.journal.range(Lsn(after.0 + 1)..).take(limit as usize);
        rest.map(|(lsn, (run, record))| Committed { lsn: *lsn, run: *run, record: record.clone() }).collect()
    }

    pub fn newest(&self) -> Lsn {
        self.journal.last_key_value().map_or(Lsn(0), |(lsn, _)| *lsn)
    }

    pub fn workflow(&self, scope: &Scope, id: WorkflowId) -> Option<StoredWorkflow> {
        self.workflows.get(&id).filter(|one| scope.sees(&one.possession)).cloned()
    }

    pub fn workflow_named(&self, scope: &Scope, name: &str) -> Option<StoredWorkflow> {
        let is_it = |one: &&StoredWorkflow| {
            one.deleted_at.is_none() && one.name == name && scope.sees(&one.possession)
        };
        self.workflows.values().find(is_it).cloned()
    }

    pub fn workflows(&self, scope: &Scope, filter: &WorkflowFilter) -> Page<ListedWorkflow> {
        let is_one = |one: &&StoredWorkflow| {
            one.deleted_at.is_none() && scope.sees(&one.possession) && !one.name.starts_with(AGENT_PREFIX)
        };
        let mut all: Vec<_> = self.workflows.values().filter(is_one).collect();
        let total = all.len() as u64;
        let place = |one: &StoredWorkflow| WorkflowPlace::of(one, filter.by);
        all.sort_by(|a, b| filter.way.turn(place(a).cmp(&place(b))));
        let is_past = |one: &StoredWorkflow, past| filter.way.turn(place(one).cmp(past)).is_gt();
        all.retain(|one| filter.past.as_ref().is_none_or(|past| is_past(one, past)));
        let limit = filter.limit as usize;
        let more = all.len() > limit;
        let items = all.into_iter().take(limit).map(|one| self.listed(one)).collect();
        Page { items, total, more }
    }

    fn listed(&self, one: &StoredWorkflow) -> ListedWorkflow {
        let of = |run: &&Run| run.row.workflow == one.id;
        let newest = self.runs.values().rfind(of);
        ListedWorkflow {
            workflow: one.clone(),
            runs: self.runs.values().filter(of).count() as u64,
            last_run_at: newest.map(|run| run.row.created_at),
        }
    }

    pub fn agents(&self, scope: &Scope, filter: &AgentFilter) -> Page<StoredAgent> {
        let mut all: Vec<StoredAgent> = self
            .agents
            .rows
            .iter()
            .filter_map(|(id, row)| {
                let workflow = self.workflows.get(id)?.clone();
                let is_one = workflow.deleted_at.is_none() && scope.sees(&workflow.possession);
                is_one.then(|| StoredAgent {
                    workflow,
                    kind: row.kind.clone(),
                    state: row.state,
                    reason: row.reason.clone(),
                    failed_in_row: row.failed_in_row,
                    done: row.done,
                    failed: row.failed,
                    last_at: row.last_at,
                })
            })
            .collect();
        all.sort_by(|a, b| a.workflow.name.cmp(&b.workflow.name));
        let total = all.len() as u64;
        let after = filter.after.as_deref().unwrap_or("");
        all.retain(|one| {
            one.workflow.name.as_str() > after && filter.id.is_none_or(|id| id == one.workflow.id)
        });
        let more = all.len() > filter.limit as usize;
        all.truncate(filter.limit as usize);
        Page { items: all, total, more }
    }

    pub fn day_usage(&self, day: u32) -> Vec<DayUse> {
        let mut by_agent: BTreeMap<WorkflowId, DayUse> = BTreeMap::new();
        for row in self.agents.usage.iter().filter(|row| row.day == day) {
            let Some(workflow) = self.workflows.get(&row.agent) else { continue };
            let (agent, owner) = (row.agent, workflow.possession.owner);
            let sum = by_agent.entry(agent).or_insert(DayUse { agent, owner, tokens: 0, cost: 0 });
            sum.tokens += row.input + row.output;
            sum.cost += row.cost;
        }
        by_agent.into_values().collect()
    }

    pub fn usage(&self, scope: &Scope, agent: Option<WorkflowId>, since: u32, limit: u32) -> Vec<UsageRow> {
        let of = |row: &&UsageRow| {
            row.day >= since && agent.is_none_or(|id| id == row.agent) && self.sees(scope, row.agent)
        };
        let mut rows: Vec<UsageRow> = self.agents.usage.iter().filter(of).cloned().collect();
        rows.sort_by_key(|row| (std::cmp::Reverse(row.day), std::cmp::Reverse(row.cost)));
        rows.truncate(limit as usize);
        rows
    }

    pub fn definition(&self, scope: &Scope, hash: DefinitionHash) -> Option<String> {
        // The same text may be several people's.
        let of = |(id, _): &&(WorkflowId, u32)| self.sees(scope, *id);
        let mut seen = self.versions.iter().filter(|(key, one)| one.hash == hash && of(key));
        seen.next().and_then(|_| self.sources.get(&hash.0)).cloned()
    }

    pub fn idempotent(&self, by: Option<UserId>, key: &str) -> Option<IdempotencyHit> {
        self.keys.get(&Idempotency::kept_as(by, key)).map(|(hit, _)| hit.clone())
    }

    pub fn inbox(&self, scope: &Scope) -> Vec<StoredQuestion> {
        let open = self.inbox.values().filter(|question| question.answer.is_none());
        let open = open.filter(|question| self.sees_run(scope, question.run));
        let mut all: Vec<_> = open.cloned().collect();
        all.sort_by_key(|question| (question.at, question.id));
        all
    }

    pub fn cursor(&self, name: &str) -> Option<Lsn> {
        self.cursors.get(name).copied()
    }

    /// Workflows that have runs.
    pub fn workflows_with_runs(&self) -> Vec<WorkflowId> {
        self.runs.values().map(|run| run.row.workflow).collect()
    }

    /// A whole round at once. There is no room to save here, so a run in the archive only gets its mark.
    pub fn tidy(&mut self, upkeep: &Upkeep<'_>) -> Tidied {
        let (newest, mut done) = (self.newest(), Tidied::default());
        let ago = |time: std::time::Duration| Timestamp(upkeep.now.0.saturating_sub(time.as_millis() as i64));
        let before = ago(upkeep.rules.archive_after);
        for run in self.runs.values_mut().filter(|run| run.row.status.is_terminal() && !run.is_archived) {
            let is_old =
                run.lsns.last().is_some_and(|last| *last < newest && self.journal[last].1.at < before);
            run.is_archived = is_old;
            done.archived += u64::from(is_old);
        }
        let unfinished: HashSet<RunId> =
            self.runs.values().filter(|run| !run.row.status.is_terminal()).map(|run| run.row.id).collect();
        let mut kept: BTreeMap<WorkflowId, Vec<(Timestamp, RunId)>> = BTreeMap::new();
        let mut old = Vec::new();
        let is_told = |run: &Run| run.lsns.last().is_none_or(|last| *last <= upkeep.told);
        for run in self.runs.values().filter(|run| run.is_archived && is_told(run)) {
            if run.parent.is_some_and(|parent| unfinished.contains(&parent)) {
                continue;
            }
            let rules = upkeep.rules.with((upkeep.keep)(run.row.workflow));
            let time = match run.row.status {
                RunStatus::Completed => rules.completed,
                RunStatus::Failed => rules.failed,
                _ => rules.cancelled,
            };
            let finished = run.row.finished_at.unwrap_or_default();
            match finished < ago(time) {
                true => old.push(run.row.id),
                false => kept.entry(run.row.workflow).or_default().push((finished, run.row.id)),
            }
        }
        for (workflow, mut runs) in kept {
            let most = upkeep.rules.with((upkeep.keep)(workflow)).runs_max as usize;
            runs.sort_unstable_by_key(|run| Reverse(*run));
            old.extend(runs.into_iter().skip(most).map(|(_, id)| id));
        }
        for id in old {
            self.agents.trees.remove(&id);
            if let Some(run) = self.runs.remove(&id) {
                run.lsns.iter().for_each(|lsn| drop(self.journal.remove(lsn)));
                done.deleted += 1;
            }
        }
        let keys = self.keys.len();
        let runs = &self.runs;
        let is_told = |made| runs.get(&RunId::from(made)).is_none_or(|run| run.lsns[0] <= upkeep.told);
        self.keys.retain(|_, (hit, at)| *at >= ago(upkeep.rules.keys) || !is_told(hit.made));
        done.keys = (keys - self.keys.len()) as u64;
        self.remembered.expire(upkeep.now);
        done.audit = self.audit.drop_before(ago(upkeep.rules.audit), upkeep.now);
        done
    }
}
