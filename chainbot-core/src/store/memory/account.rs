//! The accounts of the memory store.

use crate::limits::REFRESH_SPENT_MAX;
use crate::port::{AccountOp, SpentRefresh, StoredAccounts, StoredApiToken, StoredLogin};
use crate::store::problem::AccountRefusal;

/// All accounts.
#[derive(Default)]
pub struct Accounts(StoredAccounts);

impl Accounts {
    /// Everything, in the order in which a store gives it.
    pub fn all(&self) -> StoredAccounts {
        let mut all = self.0.clone();
        all.users.sort_by(|a, b| a.name.cmp(&b.name));
        all.logins.sort_by_key(|one| one.id);
        all.spent.sort_by_key(|one| one.digest);
        all.tokens.sort_by_key(|one| one.id);
        all
    }

    /// Why a change does not fit what is stored.
    pub fn check(&self, op: &AccountOp) -> Option<AccountRefusal> {
        match op {
            AccountOp::UserPut(user) => {
                let is_taken = self.0.users.iter().any(|one| one.name == user.name && one.id != user.id);
                is_taken.then(|| AccountRefusal::NameTaken(user.name.clone()))
            }
            AccountOp::LoginPut(StoredLogin { user, .. })
            | AccountOp::TokenPut(StoredApiToken { user, .. }) => {
                (!self.0.users.iter().any(|one| one.id == *user)).then_some(AccountRefusal::NoUser)
            }
            AccountOp::LoginRotate { id, from, .. } => {
                let is_good = self.0.logins.iter().any(|one| one.id == *id && one.refresh == *from);
                (!is_good).then_some(AccountRefusal::Spent)
            }
            _ => None,
        }
    }

    /// Makes a change that was checked.
    pub fn apply(&mut self, op: &AccountOp) {
        let all = &mut self.0;
        match op.clone() {
            AccountOp::UserPut(user) => match all.users.iter_mut().find(|one| one.id == user.id) {
                Some(known) => {
                    let created_at = known.created_at;
                    *known = user;
                    known.created_at = created_at;
                }
                None => all.users.push(user),
            },
            AccountOp::UserRemove { id } => {
                all.users.retain(|one| one.id != id);
                all.tokens.retain(|one| one.user != id);
                all.logins.retain(|one| one.user != id);
                all.spent.retain(|one| all.logins.iter().any(|login| login.id == one.login));
            }
            AccountOp::LoginPut(login) => all.logins.push(login),
            AccountOp::LoginRotate { id, from, to, at, idle_until } => {
                if let Some(login) = all.logins.iter_mut().find(|one| one.id == id) {
                    (login.refresh, login.seen_at, login.idle_until) = (to, at, idle_until);
                }
                all.spent.push(SpentRefresh { digest: from, login: id, at });
                let mut own: Vec<_> = all.spent.iter().filter(|one| one.login == id).cloned().collect();
                own.sort_by_key(|one| (std::cmp::Reverse(one.at), one.digest));
                let old = own.split_off(own.len().min(REFRESH_SPENT_MAX as usize));
                all.spent.retain(|one| !old.contains(one));
            }
            AccountOp::LoginEnd { id } => {
                all.logins.retain(|one| one.id != id);
                all.spent.retain(|one| one.login != id);
            }
            AccountOp::TokenPut(token) => all.tokens.push(token),
            AccountOp::TokenUsed { id, at } => {
                let found = all.tokens.iter_mut().find(|one| one.id == id);
                if let Some(token) = found {
                    token.used_at = Some(at);
                }
            }
            AccountOp::TokenRemove { id } => all.tokens.retain(|one| one.id != id),
        }
    }
}
