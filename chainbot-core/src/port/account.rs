//! Users, logins and API tokens as the store keeps them: plain data between the accounts, which decide, and the store.
//!
//! Invariant: nothing here lets anybody in. A password is the text of its hash, a token its SHA-256.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{LoginId, TokenId, UserId};
use crate::limits::REFRESH_SPENT_MAX;
use crate::time::Timestamp;

/// What a user may do, from least to most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Starts and steers runs, and answers.
    Operator,
    /// Writes definitions.
    Editor,
    /// Everything, accounts included.
    Admin,
}

impl Role {
    /// All of them, from least to most.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Operator, Role::Editor, Role::Admin];

    /// The word in store and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Editor => "editor",
            Role::Admin => "admin",
        }
    }

    /// From that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// A password's hash as text. Shows itself as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct HashText(pub String);

impl fmt::Debug for HashText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What is kept of a token: enough to know it again, not enough to use it. Shows itself as `***`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A user as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredUser {
    /// Stays when the name changes hands.
    pub id: UserId,
    /// In lower case; unique.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// Whether the user may come in.
    pub is_active: bool,
    /// argon2id as PHC text, or bcrypt.
    pub password: HashText,
    /// Whether nothing but a new password is taken from the user.
    pub must_change: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When the user last signed in.
    pub seen_at: Option<Timestamp>,
}

/// How a login keeps its tokens, which decides how long it lasts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LoginKind {
    /// In cookies of a browser.
    Browser,
    /// A program has them.
    Client,
}

impl LoginKind {
    /// The word in store and API.
    pub fn as_str(self) -> &'static str {
        match self {
            LoginKind::Browser => "browser",
            LoginKind::Client => "client",
        }
    }

    /// From that word.
    pub fn parse(word: &str) -> Option<Self> {
        [LoginKind::Browser, LoginKind::Client].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A login as stored: a family of refresh tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLogin {
    /// Its access tokens name it as `sid`.
    pub id: LoginId,
    /// Whose.
    pub user: UserId,
    /// How it keeps its tokens.
    pub kind: LoginKind,
    /// Of the refresh token that is good now.
    pub refresh: Digest,
    /// When it began.
    pub created_at: Timestamp,
    /// When its tokens were last renewed.
    pub seen_at: Timestamp,
    /// It ends then unless its tokens are renewed.
    pub idle_until: Timestamp,
    /// It ends then whatever happens.
    pub expires_at: Timestamp,
    /// Where it came from, for people.
    pub address: String,
    /// What the client called itself, for people.
    pub agent: String,
}

/// A refresh token that was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpentRefresh {
    /// Of the token.
    pub digest: Digest,
    /// Whose family.
    pub login: LoginId,
    /// When it was used.
    pub at: Timestamp,
}

/// An API token as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredApiToken {
    /// Its id.
    pub id: TokenId,
    /// For whom it acts.
    pub user: UserId,
    /// For people.
    pub name: String,
    /// Its first characters, so that people find it again.
    pub prefix: String,
    /// Of the whole.
    pub digest: Digest,
    /// What it may do, of what its user may.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it is refused.
    pub expires_at: Timestamp,
    /// When it was last used, to within an hour.
    pub used_at: Option<Timestamp>,
}

/// Everything about accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredAccounts {
    /// By name.
    pub users: Vec<StoredUser>,
    /// By id.
    pub logins: Vec<StoredLogin>,
    /// By digest.
    pub spent: Vec<SpentRefresh>,
    /// By id.
    pub tokens: Vec<StoredApiToken>,
}

/// A change of accounts.
#[derive(Clone, Debug, PartialEq)]
pub enum AccountOp {
    /// A new user, or another state of one. Refused when another user has the name.
    UserPut(StoredUser),
    /// The user is gone, with all logins and tokens.
    UserRemove { id: UserId },
    /// A new login. Refused when there is no such user.
    LoginPut(StoredLogin),
    /// The refresh token `from` is spent and `to` is good; refused unless `from` is the one that is good. Forgets all but
    /// the newest [`crate::limits::REFRESH_SPENT_MAX`] spent ones of the login.
    LoginRotate { id: LoginId, from: Digest, to: Digest, at: Timestamp, idle_until: Timestamp },
    /// The login is over. Does nothing when there is none.
    LoginEnd { id: LoginId },
    /// A new API token. Refused when there is no such user.
    TokenPut(StoredApiToken),
    /// When it was last used. Does nothing when there is none.
    TokenUsed { id: TokenId, at: Timestamp },
    /// The API token is gone. Does nothing when there is none.
    TokenRemove { id: TokenId },
}

/// Why a change of accounts does not fit what is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccountRefusal {
    /// Another user has the name.
    NameTaken(String),
    /// The user of the login or token is not there.
    NoUser,
    /// The refresh token is not the one that is good.
    Spent,
}

/// What the changes do, for whoever holds accounts in memory.
impl StoredAccounts {
    /// In the order in which a store gives them.
    pub fn sort(&mut self) {
        self.users.sort_by(|a, b| a.name.cmp(&b.name));
        self.logins.sort_by_key(|one| one.id);
        self.spent.sort_by_key(|one| one.digest);
        self.tokens.sort_by_key(|one| one.id);
    }

    /// Why a change does not fit what is stored.
    pub fn check(&self, op: &AccountOp) -> Option<AccountRefusal> {
        match op {
            AccountOp::UserPut(user) => {
                let is_taken = self.users.iter().any(|one| one.name == user.name && one.id != user.id);
                is_taken.then(|| AccountRefusal::NameTaken(user.name.clone()))
            }
            AccountOp::LoginPut(StoredLogin { user, .. })
            | AccountOp::TokenPut(StoredApiToken { user, .. }) => {
                (!self.users.iter().any(|one| one.id == *user)).then_some(AccountRefusal::NoUser)
            }
            AccountOp::LoginRotate { id, from, .. } => {
                let is_good = self.logins.iter().any(|one| one.id == *id && one.refresh == *from);
                (!is_good).then_some(AccountRefusal::Spent)
            }
            _ => None,
        }
    }

    /// Makes a change that was checked.
    pub fn apply(&mut self, op: &AccountOp) {
        let all = self;
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
