//! What agents remember, in the memory store. Full-text search is written a second time, over all rows: words without case and
//! accents, ranked as bm25 ranks them.

use std::collections::{BTreeMap, HashMap};

use crate::error::{Error, Result};
use crate::id::{ArchiveId, MemoryId, ThreadId, UserId, WorkflowId};
use crate::limits;
use crate::model::EffectKey;
use crate::port::{
    ArchiveFilter, ArchivedMessage, BlockPut, ItemScope, MemoryItem, MemoryOp, Origin, Page, Possession,
    Recall, RecallSource, Recalled, Role, Scope, StoredArchive, StoredBlock, StoredThread,
    StoredThreadMessage, Summary, Terms,
};
use crate::store::problem;
use crate::time::Timestamp;

struct Item {
    agent: Option<WorkflowId>,
    owner: Option<UserId>,
    item: MemoryItem,
}

/// Everything.
#[derive(Default)]
pub struct Remembered {
    threads: BTreeMap<ThreadId, StoredThread>,
    messages: Vec<(ThreadId, StoredThreadMessage)>,
    summaries: BTreeMap<(ThreadId, u32), Summary>,
    blocks: BTreeMap<(WorkflowId, String), (StoredBlock, Option<EffectKey>)>,
    items: Vec<Item>,
    archives: BTreeMap<ArchiveId, StoredArchive>,
    archived: Vec<(ArchiveId, ArchivedMessage)>,
}

/// Whose agent it is; `None` when there is none.
pub type Agents<'a> = &'a dyn Fn(WorkflowId) -> Option<Possession>;

impl Remembered {
    /// Why a change does not fit.
    pub fn check(&self, op: &MemoryOp, agents: Agents<'_>) -> Result<()> {
        let agent = match op {
            MemoryOp::ThreadPut(new) => new.agent,
            MemoryOp::BlockPut(put) => put.agent,
            MemoryOp::ItemSave { agent, .. } => *agent,
            _ => return Ok(()),
        };
        let Some(of) = agents(agent) else { return Err(problem::no_agent(agent)) };
        match op {
            MemoryOp::BlockPut(put) => {
                let count = self.blocks.keys().filter(|(of, _)| *of == agent).count();
                let is_new = !self.blocks.contains_key(&(agent, put.label.clone()));
                if is_new && count >= limits::MEMORY_BLOCKS_MAX as usize {
                    return Err(problem::memory_full("blocks", limits::MEMORY_BLOCKS_MAX));
                }
                self.written(put).map(drop)
            }
            MemoryOp::ItemSave { item, .. } => {
                let count = self.items.iter().filter(|one| recalls(one, agent, &of)).count();
                let is_new = !self.items.iter().any(|one| one.item.id == item.id);
                match is_new && count >= limits::MEMORY_ITEMS_MAX as usize {
                    true => Err(problem::memory_full("items", limits::MEMORY_ITEMS_MAX)),
                    false => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn written(&self, put: &BlockPut) -> Result<StoredBlock, Error> {
        match self.blocks.get(&(put.agent, put.label.clone())) {
            Some((block, key)) if put.key.is_some() && *key == put.key => Ok(block.clone()),
            stored => put.over(stored.map(|(block, _)| block)),
        }
    }

    /// Makes a change that was checked.
    pub fn apply(&mut self, op: &MemoryOp, agents: Agents<'_>) {
        match op {
            MemoryOp::ThreadPut(new) => {
                let stored = StoredThread { thread: new.clone(), updated_at: new.at, messages: 0 };
                self.threads.entry(new.id).or_insert(stored);
            }
            MemoryOp::ThreadAppend { thread, run, messages, summary } => {
                let was_there = self.messages.iter().any(|(of, one)| of == thread && one.run == *run);
                let Some(stored) = self.threads.get_mut(thread).filter(|_| !was_there) else { return };
                for message in messages {
                    stored.messages += 1;
                    stored.updated_at = stored.updated_at.max(message.at);
                    let (seq, message) = (stored.messages, message.clone());
                    self.messages.push((*thread, StoredThreadMessage { seq, run: *run, message }));
                }
                if let Some(summary) = summary {
                    self.summaries.entry((*thread, summary.to_seq)).or_insert(summary.clone());
                }
            }
            MemoryOp::ThreadRemove(id) => self.forget_threads(|of| of == *id),
            MemoryOp::BlockPut(put) => {
                if let Ok(block) = self.written(put) {
                    self.blocks.insert((put.agent, put.label.clone()), (block, put.key));
                }
            }
            MemoryOp::BlockRemove { agent, label } => drop(self.blocks.remove(&(*agent, label.clone()))),
            MemoryOp::ItemSave { agent, item } => {
                if self.items.iter().any(|one| one.item.id == item.id) {
                    return;
                }
                let owner = agents(*agent).and_then(|of| of.owner);
                let (agent, owner) = match item.scope {
                    ItemScope::Agent => (Some(*agent), None),
                    ItemScope::Owner => (None, owner),
                };
                self.items.push(Item { agent, owner, item: item.clone() });
            }
            MemoryOp::ItemRemove { agent, id } => self.remove_item(*agent, *id, agents),
            MemoryOp::Purge(agent) => {
                let of: Vec<ThreadId> = self
                    .threads
                    .values()
                    .filter(|one| one.thread.agent == *agent)
                    .map(|one| one.thread.id)
                    .collect();
                self.forget_threads(|id| of.contains(&id));
                self.blocks.retain(|(of, _), _| of != agent);
                self.items.retain(|one| one.agent != Some(*agent));
            }
            MemoryOp::ArchivePut(new) => {
                let same = |one: &StoredArchive| {
                    one.archive.id == new.id
                        || (one.archive.name == new.name
                            && one.archive.possession.owner == new.possession.owner)
                };
                if !self.archives.values().any(same) {
                    let archive = StoredArchive {
                        archive: new.clone(),
                        updated_at: new.at,
                        conversations: 0,
                        messages: 0,
                        first_at: None,
                        last_at: None,
                    };
                    self.archives.insert(new.id, archive);
                }
            }
            MemoryOp::ArchiveAdd { archive, messages, at } => self.add(*archive, messages, *at),
            MemoryOp::ArchiveRemove(id) => {
                let mut left = limits::ARCHIVE_FORGET_ROWS_MAX;
                self.archived.retain(|(of, _)| {
                    let goes = of == id && left > 0;
                    left -= u32::from(goes);
                    !goes
                });
                if !self.archived.iter().any(|(of, _)| of == id) {
                    self.archives.remove(id);
                }
            }
        }
    }

    fn add(&mut self, id: ArchiveId, messages: &[ArchivedMessage], at: Timestamp) {
        let Some(stored) = self.archives.get_mut(&id) else { return };
        for one in messages {
            let of = || self.archived.iter().filter(|(of, _)| *of == id).map(|(_, known)| known);
            let mut of_conversation = of().filter(|known| known.conversation == one.conversation);
            let is_known =
                of().any(|known| (&known.conversation, &known.message) == (&one.conversation, &one.message));
            if is_known {
                continue;
            }
            stored.conversations += u64::from(of_conversation.next().is_none());
            stored.messages += 1;
            stored.updated_at = at;
            if let Some(at) = one.at {
                stored.first_at = Some(stored.first_at.map_or(at, |first| first.min(at)));
                stored.last_at = Some(stored.last_at.map_or(at, |last| last.max(at)));
            }
            self.archived.push((id, one.clone()));
        }
    }

    fn forget_threads(&mut self, is_it: impl Fn(ThreadId) -> bool) {
        self.threads.retain(|id, _| !is_it(*id));
        self.messages.retain(|(id, _)| !is_it(*id));
        self.summaries.retain(|(id, _), _| !is_it(*id));
    }

    fn remove_item(&mut self, agent: WorkflowId, id: MemoryId, agents: Agents<'_>) {
        let of = agents(agent).unwrap_or(Possession { owner: None, shared: None });
        self.items.retain(|one| one.item.id != id || !recalls(one, agent, &of));
    }

    /// What was a user's.
    pub fn give_back(&mut self, user: UserId) {
        let theirs = |of: &mut Possession| {
            if of.owner == Some(user) {
                of.owner = None;
            }
        };
        self.threads.values_mut().for_each(|one| theirs(&mut one.thread.possession));
        let names: Vec<String> = self
            .archives
            .values()
            .filter(|one| one.archive.possession.owner.is_none())
            .map(|one| one.archive.name.clone())
            .collect();
        let free = |one: &&mut StoredArchive| !names.contains(&one.archive.name);
        self.archives.values_mut().filter(free).for_each(|one| theirs(&mut one.archive.possession));
        self.items.retain(|one| one.agent.is_some() || one.owner != Some(user));
    }

    pub fn expire(&mut self, now: Timestamp) {
        self.items.retain(|one| one.item.expires_at.is_none_or(|at| at > now));
    }

    pub fn thread(&self, scope: &Scope, id: ThreadId) -> Option<StoredThread> {
        self.threads.get(&id).filter(|one| scope.sees(&one.thread.possession)).cloned()
    }

    pub fn threads(
        &self,
        scope: &Scope,
        agent: WorkflowId,
        before: Option<ThreadId>,
        limit: u32,
    ) -> Page<StoredThread> {
        let of = |one: &&StoredThread| one.thread.agent == agent && scope.sees(&one.thread.possession);
        let total = self.threads.values().filter(of).count() as u64;
        let rest = self.threads.values().rev().filter(of);
        page(rest.filter(|one| before.is_none_or(|before| one.thread.id < before)).cloned(), total, limit)
    }

    pub fn thread_messages(
        &self,
        scope: &Scope,
        id: ThreadId,
        before: Option<u32>,
        limit: u32,
    ) -> Page<StoredThreadMessage> {
        let Some(thread) = self.thread(scope, id) else { return page(std::iter::empty(), 0, limit) };
        let of = self.messages.iter().rev().filter(|(of, _)| *of == id).map(|(_, one)| one);
        let rest = of.filter(|one| before.is_none_or(|before| one.seq < before)).cloned();
        let mut page = page(rest, u64::from(thread.messages), limit);
        page.items.reverse();
        page
    }

    pub fn summary(&self, scope: &Scope, id: ThreadId) -> Option<Summary> {
        self.thread(scope, id)?;
        self.summaries.range((id, 0)..=(id, u32::MAX)).next_back().map(|(_, one)| one.clone())
    }

    pub fn blocks(&self, scope: &Scope, agent: WorkflowId, agents: Agents<'_>) -> Vec<StoredBlock> {
        if !agents(agent).is_some_and(|of| scope.may_change(&of)) {
            return Vec::new();
        }
        self.blocks.iter().filter(|((of, _), _)| *of == agent).map(|(_, (block, _))| block.clone()).collect()
    }

    pub fn items(
        &self,
        scope: &Scope,
        agent: WorkflowId,
        (skip, limit): (u32, u32),
        now: Timestamp,
        agents: Agents<'_>,
    ) -> Page<MemoryItem> {
        let Some(of) = agents(agent).filter(|of| scope.may_change(of)) else {
            return page(std::iter::empty(), 0, limit);
        };
        let is_there = |one: &&Item| recalls(one, agent, &of) && is_current(one, now);
        let total = self.items.iter().filter(is_there).count() as u64;
        let all = self.items.iter().rev().filter(is_there).map(|one| one.item.clone());
        page(all.skip(skip as usize), total, limit)
    }

    pub fn recall(&self, scope: &Scope, recall: &Recall, agents: Agents<'_>) -> Vec<Recalled> {
        let Some(of) = agents(recall.agent).filter(|of| scope.may_change(of)) else { return Vec::new() };
        let texts = self.items.iter().map(|one| one.item.text.as_str());
        let mut found: Vec<(f64, usize, Recalled)> = Vec::new();
        for (rank, index) in ranked(texts, &recall.terms) {
            let one = &self.items[index];
            if recalls(one, recall.agent, &of) && is_current(one, recall.now) {
                let MemoryItem { kind, text, origin, at, .. } = one.item.clone();
                let from = RecallSource::Item;
                found.push((rank, index, Recalled { from, place: kind, text, origin, at: Some(at) }));
            }
        }
        if let Some((id, before)) = recall.thread
            && self.thread(scope, id).is_some_and(|one| one.thread.agent == recall.agent)
        {
            let texts = self.messages.iter().map(|(_, one)| one.message.text.as_str());
            for (rank, index) in ranked(texts, &recall.terms) {
                let (thread, one) = &self.messages[index];
                if *thread == id && one.seq < before {
                    let (from, place) = (RecallSource::Thread, one.seq.to_string());
                    let (text, origin, at) =
                        (one.message.text.clone(), one.message.origin, Some(one.message.at));
                    found.push((rank, index, Recalled { from, place, text, origin, at }));
                }
            }
        }
        let is_attached = |id: &ArchiveId| {
            self.archives.get(id).is_some_and(|one| {
                recall.archives.contains(&one.archive.name)
                    && Scope::Of { user: of.owner, role: Role::Editor }.sees(&one.archive.possession)
            })
        };
        let texts: Vec<String> =
            self.archived.iter().map(|(_, one)| [one.title.as_str(), " ", &one.text].concat()).collect();
        for (rank, index) in ranked(texts.iter().map(String::as_str), &recall.terms) {
            let (id, one) = &self.archived[index];
            if is_attached(id) {
                let (from, place, text) = (RecallSource::Archive, one.title.clone(), one.text.clone());
                let (origin, at) = (Origin::Untrusted, one.at);
                found.push((rank, index, Recalled { from, place, text, origin, at }));
            }
        }
        found.sort_by(|one, other| {
            one.0.total_cmp(&other.0).then(one.2.from.cmp(&other.2.from)).then(other.1.cmp(&one.1))
        });
        found.into_iter().take(recall.limit as usize).map(|(_, _, one)| one).collect()
    }

    pub fn archives(&self, scope: &Scope) -> Vec<StoredArchive> {
        let seen = self.archives.values().filter(|one| scope.sees(&one.archive.possession));
        let mut all: Vec<StoredArchive> = seen.cloned().collect();
        all.sort_by(|one, other| {
            (&one.archive.name, one.archive.id).cmp(&(&other.archive.name, other.archive.id))
        });
        all.truncate(limits::ARCHIVES_LISTED_MAX as usize);
        all
    }

    pub fn archive(&self, scope: &Scope, id: ArchiveId) -> Option<StoredArchive> {
        self.archives.get(&id).filter(|one| scope.sees(&one.archive.possession)).cloned()
    }

    pub fn archived(&self, scope: &Scope, id: ArchiveId, filter: &ArchiveFilter) -> Vec<ArchivedMessage> {
        if self.archive(scope, id).is_none() {
            return Vec::new();
        }
        let title = filter.title.as_ref().map(|title| title.to_lowercase());
        let fits = |(of, one): &(ArchiveId, ArchivedMessage)| {
            *of == id
                && filter.since.is_none_or(|since| one.at.is_some_and(|at| at >= since))
                && filter.until.is_none_or(|until| one.at.is_some_and(|at| at <= until))
                && title.as_ref().is_none_or(|title| one.title.to_lowercase().contains(title))
        };
        let limit = filter.limit as usize;
        if filter.terms.is_empty() {
            return self
                .archived
                .iter()
                .filter(|one| fits(one))
                .take(limit)
                .map(|(_, one)| one.clone())
                .collect();
        }
        let texts: Vec<String> =
            self.archived.iter().map(|(_, one)| [one.title.as_str(), " ", &one.text].concat()).collect();
        let mut found = ranked(texts.iter().map(String::as_str), &filter.terms);
        found.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        let fitting = found.into_iter().map(|(_, index)| &self.archived[index]).filter(|one| fits(one));
        fitting.take(limit).map(|(_, one)| one.clone()).collect()
    }
}

fn page<T>(all: impl Iterator<Item = T>, total: u64, limit: u32) -> Page<T> {
    let mut items: Vec<T> = all.take(limit as usize + 1).collect();
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    Page { items, total, more }
}

fn recalls(one: &Item, agent: WorkflowId, of: &Possession) -> bool {
    one.agent == Some(agent) || (one.agent.is_none() && one.owner == of.owner)
}

fn is_current(one: &Item, now: Timestamp) -> bool {
    one.item.expires_at.is_none_or(|at| at > now)
}

/// Words without case, and without the accents of western languages.
fn words(text: &str) -> Vec<String> {
    let plain = |c: char| match c {
        'à'..='å' => 'a',
        'è'..='ë' => 'e',
        'ì'..='ï' => 'i',
        'ò'..='ö' => 'o',
        'ù'..='ü' => 'u',
        'ç' => 'c',
        'ñ' => 'n',
        other => other,
    };
    let lower = text.to_lowercase();
    lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().map(plain).collect())
        .collect()
}

/// Places of the texts that have one of the words, each with its rank: the lower the better.
fn ranked<'a>(texts: impl Iterator<Item = &'a str>, terms: &Terms) -> Vec<(f64, usize)> {
    const K1: f64 = 1.2;
    const B: f64 = 0.75;
    let texts: Vec<Vec<String>> = texts.map(words).collect();
    let terms: Vec<String> = terms.words().iter().flat_map(|word| words(word)).collect();
    let average = texts.iter().map(Vec::len).sum::<usize>() as f64 / texts.len().max(1) as f64;
    let mut ranks: HashMap<usize, f64> = HashMap::new();
    for term in &terms {
        let holding = texts.iter().filter(|text| text.contains(term)).count() as f64;
        let idf = ((texts.len() as f64 - holding + 0.5) / (holding + 0.5)).ln().max(1e-6);
        for (index, text) in texts.iter().enumerate() {
            let times = text.iter().filter(|word| *word == term).count() as f64;
            if times > 0.0 {
                let long = K1 * (1.0 - B + B * text.len() as f64 / average);
                *ranks.entry(index).or_default() -= idf * times * (K1 + 1.0) / (times + long);
            }
        }
    }
    ranks.into_iter().map(|(index, rank)| (rank, index)).collect()
}
