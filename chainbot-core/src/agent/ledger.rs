//! Who may still spend what: the budget of a tree of tasks, of an agent's day, of an owner's day, of the house's day.
//!
//! Invariants: before a model is asked, what the call may take at most is held in every scope, or the call is not made; at its end what it took stands in
//! place of the hold. What was taken is in the store with the record of the call's end; here it is known a moment earlier. So no scope is overdrawn by
//! more than the calls that a crash cut off, which the tasks count as possibly paid.
//!
//! A tree is a task that somebody gave, with the tasks of all runs that it began: they spend from the budget of the first. Days are of UTC. Must not know
//! models or tools.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::engine::agent_in;
use crate::env::Env;
use crate::error::code::agent as code;
use crate::error::{Error, Result, code::general};
use crate::id::{RunId, UserId, WorkflowId};
use crate::limits::{LEDGER_TREES_MAX, RUN_DEPTH_MAX};
use crate::model::{RecordBody, RunCreated, StepError, Trigger, class};
use crate::port::{AGENT_PREFIX, DayUse, Scope, Store, day_of};
use crate::task::TaskInput;

/// Tokens, and millionths of the currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Of prompts and replies.
    pub tokens: u64,
    /// What they cost.
    pub cost: u64,
}

/// The most of each; `None` is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Most {
    /// Tokens.
    pub tokens: Option<u64>,
    /// Cost in millionths.
    pub cost: Option<u64>,
}

/// Bounds of a day that the operator sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayLimits {
    /// Of all agents together.
    pub house: Most,
    /// Of the agents of each owner.
    pub owner: Most,
}

/// A call that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Spender {
    /// Whose call.
    pub agent: WorkflowId,
    /// Whose agent.
    pub owner: Option<UserId>,
    /// Its task.
    pub run: RunId,
    /// The agent's own bound of a day.
    pub day: Most,
}

/// Whose money it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Purse {
    House,
    Owner(Option<UserId>),
    Agent(WorkflowId),
    Tree(RunId),
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    spent: Sum,
    held: Sum,
}

#[derive(Default)]
struct Books {
    /// The day that accounts of days are of; `None` before the first look into the store.
    day: Option<u32>,
    accounts: HashMap<Purse, Account>,
    /// Bounds of trees that have an account.
    trees: HashMap<RunId, Most>,
    /// The first task of a task's tree.
    roots: HashMap<RunId, RunId>,
}

/// The accounts.
pub struct Ledger {
    store: Arc<dyn Store>,
    env: Env,
    limits: DayLimits,
    books: Mutex<Books>,
}

/// What may be taken by a call under way. Dropped, it is given back.
pub struct Hold {
    ledger: Arc<Ledger>,
    purses: [Purse; 4],
    sum: Sum,
    /// The first task of the tree.
    pub root: RunId,
}

impl Ledger {
    /// Over the store that has what was spent.
    pub fn new(store: Arc<dyn Store>, env: Env, limits: DayLimits) -> Arc<Self> {
        Arc::new(Self { store, env, limits, books: Mutex::default() })
    }

    /// Holds what a call may take. Class `budget` when a scope has not so much left: it says which, and how much.
    pub async fn hold(self: &Arc<Self>, who: Spender, sum: Sum) -> Result<Hold, StepError> {
        let ledger = self.clone();
        let opened = tokio::task::spawn_blocking(move || ledger.open(who.run));
        let ended = |_| StepError::new(class::INTERNAL, &general::INTERNAL, "reading budgets ended early");
        let root =
            opened.await.map_err(ended)?.map_err(|error| StepError::from_error(class::INTERNAL, &error))?;
        let tree = self.books.lock().trees.get(&root).copied().unwrap_or_default();
        let of = [
            (Purse::Tree(root), tree),
            (Purse::Agent(who.agent), who.day),
            (Purse::Owner(who.owner), self.limits.owner),
            (Purse::House, self.limits.house),
        ];
        let mut books = self.books.lock();
        for (purse, most) in of {
            let Account { spent, held } = books.accounts.get(&purse).copied().unwrap_or_default();
            let taken = Sum { tokens: spent.tokens + held.tokens, cost: spent.cost + held.cost };
            let is_over =
                |most: Option<u64>, taken: u64, more: u64| most.is_some_and(|most| taken + more > most);
            if is_over(most.tokens, taken.tokens, sum.tokens) || is_over(most.cost, taken.cost, sum.cost) {
                return Err(refused(purse, &most, taken, sum, who.run));
            }
        }
        let purses = of.map(|(purse, _)| purse);
        for purse in purses {
            let held = &mut books.accounts.entry(purse).or_default().held;
            *held = Sum { tokens: held.tokens + sum.tokens, cost: held.cost + sum.cost };
        }
        Ok(Hold { ledger: self.clone(), purses, sum, root })
    }

    /// Brings the accounts up to the day and has those of the tree; gives its first task. Reads the store where it must.
    fn open(&self, run: RunId) -> Result<RunId> {
        let today = day_of(self.env.now());
        if self.books.lock().day.is_none() {
            let used = self.store.day_usage(today)?;
            let mut books = self.books.lock();
            // Another call may have been faster.
            if books.day.is_none() {
                books.begin(today, &used);
            }
        }
        let known = {
            let mut books = self.books.lock();
            if books.day != Some(today) {
                books.begin(today, &[]);
            }
            books.roots.get(&run).copied()
        };
        let root = match known {
            Some(root) => root,
            None => self.root_of(run)?,
        };
        if self.books.lock().trees.contains_key(&root) {
            self.books.lock().roots.insert(run, root);
            return Ok(root);
        }
        let (most, (tokens, cost)) = (self.most_of(root)?, self.store.tree_usage(root)?);
        let mut books = self.books.lock();
        books.make_room();
        books.roots.insert(run, root);
        // Unless another call was faster, which may have settled meanwhile.
        if books.trees.insert(root, most).is_none() {
            books.accounts.entry(Purse::Tree(root)).or_default().spent = Sum { tokens, cost };
        }
        Ok(root)
    }

    /// The first task above: runs are followed to those that began them.
    fn root_of(&self, run: RunId) -> Result<RunId> {
        let (mut root, mut at) = (run, run);
        for _ in 0..=RUN_DEPTH_MAX {
            let Some((_, created)) = self.created(at)? else { break };
            if created.name.starts_with(AGENT_PREFIX) {
                root = at;
            }
            match created.trigger {
                Trigger::Parent { run, .. } => at = run,
                _ => break,
            }
        }
        Ok(root)
    }

    /// What the task that a tree begins with may spend.
    fn most_of(&self, root: RunId) -> Result<Most> {
        let Some((hash, created)) = self.created(root)? else { return Ok(Most::default()) };
        let Some(source) = self.store.definition(&Scope::All, hash)? else { return Ok(Most::default()) };
        let Some(spec) = agent_in(&source).transpose()? else { return Ok(Most::default()) };
        let input =
            TaskInput::read(&created.inputs).map_err(|why| Error::new(&code::TASK, why.to_string()))?;
        Ok(Most { tokens: input.tokens(&spec), cost: input.cost_micros(&spec) })
    }

    fn created(&self, run: RunId) -> Result<Option<(crate::id::DefinitionHash, RunCreated)>> {
        let Some(stored) = self.store.run(&Scope::All, run)? else { return Ok(None) };
        let records = self.store.records(&Scope::All, run, &[stored.first_lsn])?;
        Ok(records.into_iter().find_map(|(_, record)| match record.body {
            RecordBody::RunCreated(created) => Some((stored.row.definition, *created)),
            _ => None,
        }))
    }
}

impl Books {
    /// A new day; calls under way go over into it.
    fn begin(&mut self, day: u32, used: &[DayUse]) {
        self.day = Some(day);
        for (purse, account) in &mut self.accounts {
            if !matches!(purse, Purse::Tree(_)) {
                account.spent = Sum::default();
            }
        }
        for one in used {
            for purse in [Purse::House, Purse::Owner(one.owner), Purse::Agent(one.agent)] {
                let spent = &mut self.accounts.entry(purse).or_default().spent;
                *spent = Sum { tokens: spent.tokens + one.tokens, cost: spent.cost + one.cost };
            }
        }
    }

    /// Forgets trees that have no call under way; the store knows them.
    fn make_room(&mut self) {
        if self.roots.len() >= LEDGER_TREES_MAX {
            self.roots.clear();
        }
        if self.trees.len() >= LEDGER_TREES_MAX {
            self.accounts
                .retain(|purse, account| !matches!(purse, Purse::Tree(_)) || account.held != Sum::default());
            let accounts = &self.accounts;
            self.trees.retain(|root, _| accounts.contains_key(&Purse::Tree(*root)));
        }
    }
}

impl Hold {
    /// What the call took in place of what it might have taken.
    pub fn settle(self, took: Sum) {
        let mut books = self.ledger.books.lock();
        for purse in self.purses {
            let spent = &mut books.accounts.entry(purse).or_default().spent;
            *spent = Sum { tokens: spent.tokens + took.tokens, cost: spent.cost + took.cost };
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut books = self.ledger.books.lock();
        for purse in self.purses {
            let held = &mut books.accounts.entry(purse).or_default().held;
            held.tokens = held.tokens.saturating_sub(self.sum.tokens);
            held.cost = held.cost.saturating_sub(self.sum.cost);
        }
    }
}

fn refused(purse: Purse, most: &Most, taken: Sum, sum: Sum, run: RunId) -> StepError {
    let of = |most: Option<u64>, taken: u64, more: u64, what: &str| {
        most.filter(|most| taken + more > *most)
            .map(|most| format!("{taken} of {most} {what} are used or held, and the call may take {more}"))
    };
    let why = of(most.tokens, taken.tokens, sum.tokens, "tokens")
        .or_else(|| of(most.cost, taken.cost, sum.cost, "millionths of the currency"))
        .unwrap_or_default();
    let (code, whose, until) = match purse {
        Purse::Tree(root) if root == run => {
            (&code::BUDGET, "this task with the tasks that it began".to_owned(), "give it a larger budget")
        }
        Purse::Tree(root) => {
            (&code::BUDGET, format!("task {root}, for which this one works"), "give that one a larger budget")
        }
        Purse::Agent(_) => (
            &code::DAY,
            "this agent today".to_owned(),
            "wait until midnight UTC, or raise `budget` of the agent",
        ),
        Purse::Owner(_) => (
            &code::DAY,
            "this owner's agents today".to_owned(),
            "wait until midnight UTC, or raise agent_management.daily_budget_per_owner",
        ),
        Purse::House => (
            &code::DAY,
            "all agents today".to_owned(),
            "wait until midnight UTC, or raise agent_management.daily_budget",
        ),
    };
    StepError::new(class::BUDGET, code, format!("of the budget of {whose} {why}; {until}"))
}

#[cfg(test)]
mod tests;
